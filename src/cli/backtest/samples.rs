//! The samples of a range vector, out of an answer that may be large.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use crate::history::Point;
use crate::model::{Labels, Timestamp};

#[derive(Deserialize)]
struct Body<'b> {
    #[serde(borrow)]
    status: Cow<'b, str>,
    #[serde(borrow)]
    data: Data<'b>,
}

#[derive(Deserialize)]
struct Data<'b> {
    #[serde(borrow, rename = "resultType")]
    kind: Cow<'b, str>,
    #[serde(borrow)]
    result: Vec<Row<'b>>,
}

#[derive(Deserialize)]
struct Row<'b> {
    #[serde(borrow)]
    metric: BTreeMap<Cow<'b, str>, Cow<'b, str>>,
    #[serde(borrow)]
    values: Vec<Sample<'b>>,
}

#[derive(Deserialize)]
struct Sample<'b>(f64, #[serde(borrow)] Cow<'b, str>);

/// A series with its samples, in order of time.
pub type Samples = (Labels, Vec<Point>);

/// Series with their samples; nothing where the answer is not such a one.
pub fn samples(body: &[u8]) -> Option<Vec<Samples>> {
    let body: Body<'_> = serde_json::from_slice(body).ok()?;
    if body.status != "success" || body.data.kind != "matrix" {
        return None;
    }
    let row = |row: Row<'_>| {
        let point = |Sample(time, value): &Sample<'_>| {
            Some(Point { time: Timestamp::from_secs_f64(*time).as_millis(), value: value.parse().ok()? })
        };
        let mut points: Vec<Point> = row.values.iter().map(point).collect::<Option<_>>()?;
        points.sort_by_key(|p| p.time);
        Some((Labels::from_pairs(row.metric), points))
    };
    body.data.result.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    const MATRIX: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[
        {"metric":{"__name__":"a","b":"c\"d"},"values":[[1.5,"2"],[2.501,"+Inf"],[3,"NaN"]]}]}}"#;

    #[test]
    fn samples_have_their_times_to_the_millisecond_and_their_values_exactly() {
        let all = samples(MATRIX.as_bytes()).unwrap();
        assert_eq!(all[0].0.to_string(), r#"a{b="c\"d"}"#);
        let times: Vec<i64> = all[0].1.iter().map(|p| p.time).collect();
        assert_eq!(times, [1500, 2501, 3000]);
        assert!(all[0].1[1].value == f64::INFINITY && all[0].1[2].value.is_nan());
        assert!(samples(br#"{"status":"error","error":"x"}"#).is_none());
        assert!(samples(MATRIX.replace("matrix", "vector").as_bytes()).is_none());
    }

    #[test]
    fn no_answer_makes_it_panic() {
        Fuzz::of(&[MATRIX]).bytes(|body| {
            let _ = samples(body);
        });
    }
}
