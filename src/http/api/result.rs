//! The answer to a query, made piece by piece as the client takes it: neither the text of a large result nor its
//! compressed form is ever in memory as a whole.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::OwnedSemaphorePermit;

use super::json;
use crate::history::Point;
use crate::model::Timestamp;
use crate::promql::Value;

/// Bytes of a piece, about.
const PIECE: usize = 32 << 10;

/// What stands around the samples.
#[derive(Default)]
pub(super) struct Frame {
    /// The member `stats` of the data, where it is asked for.
    pub stats: Option<String>,
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
}

/// A query's answer.
pub(super) struct QueryAnswer {
    rest: Rest,
    /// What is written, and not yet given away.
    out: Vec<u8>,
    /// Whether what comes next is not the first of its list.
    separate: bool,
    frame: Frame,
    /// Room that the result takes.
    _room: OwnedSemaphorePermit,
}

/// What is still to be written.
enum Rest {
    Vector(std::vec::IntoIter<crate::promql::Sample>),
    Matrix {
        series: std::vec::IntoIter<crate::promql::RangeSeries>,
        /// Of the series that is being written.
        points: std::vec::IntoIter<Point>,
    },
    /// Only what stands behind the samples.
    End,
    Nothing,
}

impl QueryAnswer {
    /// `at`: the time of evaluation, of a scalar or a string.
    pub fn new(value: Value, at: Timestamp, frame: Frame, room: OwnedSemaphorePermit) -> QueryAnswer {
        let mut out = br#"{"status":"success","data":{"resultType":""#.to_vec();
        let mut begin = |kind: &str, open: &str| {
            out.extend_from_slice(kind.as_bytes());
            out.extend_from_slice(br#"","result":"#);
            out.extend_from_slice(open.as_bytes());
        };
        let rest = match value {
            Value::Vector(samples) => {
                begin("vector", "[");
                Rest::Vector(samples.into_iter())
            }
            Value::Matrix(series) => {
                begin("matrix", "[");
                Rest::Matrix { series: series.into_iter(), points: Vec::new().into_iter() }
            }
            Value::Scalar(value) => {
                begin("scalar", "");
                point(&mut out, Point { time: at.as_millis(), value });
                Rest::End
            }
            Value::String(text) => {
                begin("string", "[");
                json::timestamp(&mut out, at.as_millis());
                out.push(b',');
                json::string(&mut out, &text);
                out.push(b']');
                Rest::End
            }
        };
        QueryAnswer { rest, out, separate: false, frame, _room: room }
    }

    /// Writes the next sample or a row of points.
    fn write_some(&mut self) {
        let out = &mut self.out;
        match &mut self.rest {
            Rest::Vector(samples) => match samples.next() {
                Some(sample) => {
                    comma(out, &mut self.separate);
                    out.extend_from_slice(br#"{"metric":"#);
                    json::labels(out, &sample.labels);
                    out.extend_from_slice(br#","value":"#);
                    point(out, Point { time: sample.time.as_millis(), value: sample.value });
                    out.push(b'}');
                }
                None => self.end_list(),
            },
            Rest::Matrix { series, points } if points.as_slice().is_empty() => match series.next() {
                Some(next) => {
                    comma(out, &mut self.separate);
                    out.extend_from_slice(br#"{"metric":"#);
                    json::labels(out, &next.labels);
                    if next.points.is_empty() {
                        out.push(b'}');
                    } else {
                        out.extend_from_slice(br#","values":["#);
                        *points = next.points.into_iter();
                        self.separate = false;
                    }
                }
                None => self.end_list(),
            },
            Rest::Matrix { points, .. } => {
                for each in points.by_ref().take(PIECE / 32) {
                    comma(out, &mut self.separate);
                    point(out, each);
                }
                if points.as_slice().is_empty() {
                    out.extend_from_slice(b"]}");
                }
            }
            Rest::End => {
                if let Some(stats) = &self.frame.stats {
                    self.out.extend_from_slice(br#","stats":"#);
                    self.out.extend_from_slice(stats.as_bytes());
                }
                self.out.push(b'}');
                notes(&mut self.out, &self.frame.warnings, &self.frame.infos);
                self.out.push(b'}');
                self.rest = Rest::Nothing;
            }
            Rest::Nothing => {}
        }
    }

    fn end_list(&mut self) {
        self.out.push(b']');
        self.rest = Rest::End;
    }
}

impl Iterator for QueryAnswer {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while self.out.len() < PIECE && !matches!(self.rest, Rest::Nothing) {
            self.write_some();
        }
        (!self.out.is_empty()).then(|| std::mem::take(&mut self.out).into())
    }
}

/// Separates what comes from what is before it in its list.
fn comma(out: &mut Vec<u8>, separate: &mut bool) {
    if std::mem::replace(separate, true) {
        out.push(b',');
    }
}

/// `[seconds,"value"]`
fn point(out: &mut Vec<u8>, point: Point) {
    out.push(b'[');
    json::timestamp(out, point.time);
    out.push(b',');
    json::value(out, point.value);
    out.push(b']');
}

/// The members `warnings` and `infos`, where there are any.
pub(super) fn notes(out: &mut Vec<u8>, warnings: &[String], infos: &[String]) {
    for (name, texts) in [("warnings", warnings), ("infos", infos)] {
        if !texts.is_empty() {
            out.push(b',');
            json::string(out, name);
            out.push(b':');
            json::array(out, texts, |out, text| json::string(out, text));
        }
    }
}

/// Compresses an answer on its way.
pub(in crate::http) struct Gzip<I> {
    pieces: I,
    /// Nothing once it is finished.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl<I: Iterator<Item = Bytes>> Gzip<I> {
    pub fn new(pieces: I) -> Gzip<I> {
        Gzip { pieces, encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())) }
    }
}

impl<I: Iterator<Item = Bytes>> Iterator for Gzip<I> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        loop {
            let encoder = self.encoder.as_mut()?;
            match self.pieces.next() {
                // Writing to memory does not fail.
                Some(piece) => {
                    let _ = encoder.write_all(&piece);
                    if encoder.get_ref().len() >= PIECE / 4 {
                        return Some(std::mem::take(encoder.get_mut()).into());
                    }
                }
                None => return self.encoder.take()?.finish().ok().map(Bytes::from),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::model::Labels;
    use crate::promql::{RangeSeries, Sample};

    fn answer(value: Value, frame: Frame) -> QueryAnswer {
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        QueryAnswer::new(value, Timestamp::from_millis(1500), frame, room)
    }

    fn text(value: Value, frame: Frame) -> String {
        let pieces: Vec<Bytes> = answer(value, frame).collect();
        String::from_utf8(pieces.concat()).unwrap()
    }

    fn series(n: usize, points: usize) -> RangeSeries {
        let labels = Labels::from_pairs([("n", n.to_string())]);
        RangeSeries { labels, points: (0..points).map(|p| Point { time: p as i64 * 1000, value: 0.5 }).collect() }
    }

    #[test]
    fn every_type_of_value_is_shaped_as_prometheus_shapes_it() {
        let none = Frame::default;
        assert_eq!(
            text(Value::Scalar(2.0), none()),
            r#"{"status":"success","data":{"resultType":"scalar","result":[1.500,"2"]}}"#
        );
        assert_eq!(
            text(Value::String("a\"".into()), none()),
            r#"{"status":"success","data":{"resultType":"string","result":[1.500,"a\""]}}"#
        );
        assert_eq!(
            text(Value::Vector(Vec::new()), none()),
            r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#
        );
        let sample = |n: &str| Sample {
            labels: Labels::from_pairs([("__name__", "up"), ("n", n)]),
            value: 1.0,
            time: Timestamp::from_millis(2000),
        };
        assert_eq!(
            text(Value::Vector(vec![sample("1"), sample("2")]), none()),
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","n":"1"},"value":[2,"1"]},{"metric":{"__name__":"up","n":"2"},"value":[2,"1"]}]}}"#
        );
        let frame = Frame { stats: Some("{}".into()), warnings: vec!["w".into()], infos: vec!["i".into()] };
        assert_eq!(
            text(Value::Matrix(vec![series(1, 2), series(2, 1)]), frame),
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"n":"1"},"values":[[0,"0.5"],[1,"0.5"]]},{"metric":{"n":"2"},"values":[[0,"0.5"]]}],"stats":{}},"warnings":["w"],"infos":["i"]}"#
        );
    }

    #[test]
    fn a_large_result_is_made_in_pieces_that_are_one_text() {
        for (many, points) in [(3, 20_000), (20_000, 1), (1000, 1024), (500, 0)] {
            let value = Value::Matrix((0..many).map(|n| series(n, points)).collect());
            let pieces: Vec<Bytes> = answer(value, Frame::default()).collect();
            assert!(pieces.iter().all(|piece| piece.len() < 3 * PIECE) && (points == 0 || pieces.len() > 5));
            let parsed: serde_json::Value = serde_json::from_slice(&pieces.concat()).unwrap();
            let result = parsed["data"]["result"].as_array().unwrap();
            assert_eq!(result.len(), many);
            assert!(result.iter().all(|s| s["values"].as_array().map_or(0, Vec::len) == points));
        }
        let value = (0..5000).map(|n| Sample { labels: series(n, 0).labels, value: 1.0, time: Timestamp::default() });
        let pieces: Vec<Bytes> = answer(Value::Vector(value.collect()), Frame::default()).collect();
        let parsed: serde_json::Value = serde_json::from_slice(&pieces.concat()).unwrap();
        assert!(parsed["data"]["result"].as_array().unwrap().len() == 5000 && pieces.len() > 3);
    }

    #[test]
    fn it_is_compressed_on_its_way() {
        let value = || Value::Matrix((0..300).map(|n| series(n, 300)).collect());
        let compressed: Vec<Bytes> = Gzip::new(answer(value(), Frame::default())).collect();
        let mut plain = String::new();
        flate2::read::GzDecoder::new(&*compressed.concat()).read_to_string(&mut plain).unwrap();
        assert_eq!(plain, text(value(), Frame::default()));
        assert!(compressed.concat().len() < plain.len() / 5);
    }
}
