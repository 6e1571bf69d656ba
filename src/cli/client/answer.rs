//! What the API answers, taken apart.

use std::collections::BTreeMap;

use serde_json::Value;

/// A good answer.
#[derive(Debug)]
pub struct Answer {
    /// As it came.
    pub data: Value,
    pub result: Result,
    /// Warnings and infos, each with its kind.
    pub notes: Vec<String>,
}

/// The result of a query.
#[derive(Debug, PartialEq)]
pub enum Result {
    /// A scalar's or a string's text.
    One(Point),
    /// A sample a series.
    Vector(Vec<Series>),
    Matrix(Vec<Series>),
}

/// One series, with what it has.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub labels: BTreeMap<String, String>,
    pub points: Vec<Point>,
}

/// A value as it was printed, and its time in seconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub time: f64,
    pub value: String,
}

/// Why there is no result.
#[derive(Debug, PartialEq)]
pub enum Refusal {
    /// The query is wrong; line and column, where they are said.
    Query {
        message: String,
        place: Option<(usize, usize)>,
    },
    Other(String),
}

impl Answer {
    pub fn read(status: u16, body: &[u8]) -> std::result::Result<Answer, Refusal> {
        let mut answer = success(status, body)?;
        let notes = [("warnings", "warning"), ("infos", "info")].iter().flat_map(|(key, kind)| {
            let list = answer[*key].as_array().into_iter().flatten();
            list.filter_map(Value::as_str).map(|text| format!("{kind}: {text}")).collect::<Vec<_>>()
        });
        let notes = notes.collect();
        let data = answer["data"].take();
        let Some(result) = result(&data) else {
            return Err(Refusal::Other("the answer is not that of a query".to_string()));
        };
        Ok(Answer { data, result, notes })
    }
}

/// Any answer of the API that is a good one, whole.
pub fn success(status: u16, body: &[u8]) -> std::result::Result<Value, Refusal> {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        let text = String::from_utf8_lossy(body);
        let line = text.lines().next().unwrap_or_default().trim();
        return Err(Refusal::Other(match status {
            401 | 403 => format!("{status}: {line} (--http.config.file names credentials)"),
            _ => format!("{status}, and no answer of Prometheus' API: {line}"),
        }));
    };
    if answer["status"] != "success" { Err(refusal(&answer)) } else { Ok(answer) }
}

fn refusal(answer: &Value) -> Refusal {
    let message = answer["error"].as_str().unwrap_or("an error without a text").to_string();
    if answer["errorType"] != "bad_data" {
        return Refusal::Other(message);
    }
    let query = message.strip_prefix("invalid parameter \"query\": ").unwrap_or(&message);
    let placed = || {
        let (line, rest) = query.split_once(':')?;
        let (column, rest) = rest.split_once(": ")?;
        let rest = rest.strip_prefix("parse error: ").unwrap_or(rest);
        Some((rest.to_string(), (line.parse().ok()?, column.parse().ok()?)))
    };
    match placed() {
        Some((message, place)) => Refusal::Query { message, place: Some(place) },
        None => {
            let message = query.strip_prefix("unknown position: parse error: ").unwrap_or(query);
            Refusal::Query { message: message.to_string(), place: None }
        }
    }
}

fn result(data: &Value) -> Option<Result> {
    let list = || data["result"].as_array();
    Some(match data["resultType"].as_str()? {
        "scalar" | "string" => Result::One(point(&data["result"])?),
        "vector" => {
            let series = list()?.iter().map(|s| Some(Series { labels: labels(s)?, points: vec![point(&s["value"])?] }));
            Result::Vector(series.collect::<Option<_>>()?)
        }
        "matrix" => {
            let points = |s: &Value| s["values"].as_array()?.iter().map(point).collect::<Option<Vec<Point>>>();
            let series = list()?.iter().map(|s| Some(Series { labels: labels(s)?, points: points(s)? }));
            Result::Matrix(series.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

fn labels(series: &Value) -> Option<BTreeMap<String, String>> {
    let labels = series["metric"].as_object()?.iter();
    labels.map(|(name, value)| Some((name.clone(), value.as_str()?.to_string()))).collect()
}

fn point(value: &Value) -> Option<Point> {
    Some(Point { time: value[0].as_f64()?, value: value[1].as_str()?.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    const VECTOR: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"1"},"value":[1.5,"2"]}]},"warnings":["w"],"infos":["i"]}"#;
    const WRONG: &str = r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:5: parse error: unknown function x()"}"#;

    #[test]
    fn an_answer_is_taken_apart() {
        let answer = Answer::read(200, VECTOR.as_bytes()).unwrap();
        assert_eq!(answer.notes, ["warning: w", "info: i"]);
        let Result::Vector(series) = &answer.result else { panic!("{answer:?}") };
        assert_eq!(series[0].labels["a"], "1");
        assert_eq!(series[0].points, [Point { time: 1.5, value: "2".into() }]);
    }

    #[test]
    fn a_refusal_says_what_and_where() {
        let wrong = Answer::read(400, WRONG.as_bytes()).unwrap_err();
        assert_eq!(wrong, Refusal::Query { message: "unknown function x()".into(), place: Some((1, 5)) });
        let other = Answer::read(503, br#"{"status":"error","errorType":"timeout","error":"query timed out"}"#);
        assert_eq!(other.unwrap_err(), Refusal::Other("query timed out".into()));
        let Refusal::Other(text) = Answer::read(401, b"Unauthorized: user\n").unwrap_err() else { panic!() };
        assert!(text.contains("401: Unauthorized: user (--http.config.file"), "{text}");
        assert!(matches!(Answer::read(200, b"<html>"), Err(Refusal::Other(_))));
        assert!(matches!(Answer::read(200, br#"{"status":"success","data":[]}"#), Err(Refusal::Other(_))));
    }

    #[test]
    fn no_answer_makes_it_panic() {
        let matrix = VECTOR.replace("vector", "matrix").replace("value\":[1.5,\"2\"]", "values\":[[1.5,\"2\"]]");
        Fuzz::of(&[VECTOR, WRONG, &matrix]).bytes(|body| {
            let _ = Answer::read(200, body).map(|answer| {
                let range = Some((
                    crate::model::Timestamp::MIN,
                    crate::model::Timestamp::MAX,
                    std::time::Duration::from_millis(body.len() as u64),
                ));
                crate::cli::query::table::table(&answer, range, Some(body.len() % 100));
                crate::cli::query::table::csv(&answer) + &crate::cli::query::table::raw(&answer)
            });
        });
    }
}
