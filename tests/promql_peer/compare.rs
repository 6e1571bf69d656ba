//! What two engines make of a query, and whether it is the same.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::Value as Json;
use watchfire::history::History;
use watchfire::model::{Labels, Timestamp};
use watchfire::promql::{EvalOptions, Query, Value};

use super::peer::Request;

/// Differences in proportion that come of mathematical functions.
const TOLERANCE: f64 = 1e-12;

#[derive(Clone, PartialEq, Debug, Default)]
pub struct Answer {
    pub kind: String,
    /// Times and values by labels; a text instead of values where it is one.
    pub series: BTreeMap<String, Vec<(i64, Number)>>,
    pub text: String,
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
    pub error: String,
}

/// A number that is itself also where it is NaN.
#[derive(Clone, Copy, Debug)]
pub struct Number(f64);

impl PartialEq for Number {
    fn eq(&self, other: &Number) -> bool {
        self.0.to_bits() == other.0.to_bits() || self.0 == other.0 || (self.0.is_nan() && other.0.is_nan())
    }
}

impl Number {
    fn is_near(self, other: Number) -> bool {
        self == other || (self.0 - other.0).abs() <= TOLERANCE * self.0.abs().max(other.0.abs())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Same,
    BothFail,
    Different,
    Undetermined,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.error.is_empty() {
            write!(f, "error: {}", self.error)?;
        }
        write!(f, "{}{}", self.kind, self.text)?;
        for (labels, points) in self.series.iter().take(40) {
            let points: Vec<String> = points.iter().map(|(t, v)| format!("{v:?}@{t}", v = v.0)).collect();
            write!(f, "\n    {labels} {}", points.join(" "))?;
        }
        for text in self.warnings.iter().chain(&self.infos) {
            write!(f, "\n    {text}")?;
        }
        Ok(())
    }
}

impl Answer {
    pub fn of_json(json: &Json) -> Answer {
        let texts = |key: &str| -> Vec<String> {
            let mut texts: Vec<String> =
                json[key].as_array().into_iter().flatten().filter_map(|t| t.as_str().map(str::to_string)).collect();
            texts.sort();
            texts
        };
        let kind = json["type"].as_str().unwrap_or_default().to_string();
        let mut answer = Answer {
            kind,
            warnings: texts("warnings"),
            infos: texts("infos"),
            error: json["error"].as_str().unwrap_or_default().to_string(),
            ..Answer::default()
        };
        for s in json["series"].as_array().into_iter().flatten() {
            let labels = s["labels"].as_object().into_iter().flatten();
            let labels = Labels::from_pairs(labels.map(|(n, v)| (n.as_str(), v.as_str().unwrap_or_default())));
            let value = |p: &Json| p["v"].as_str().unwrap_or_default().to_string();
            if answer.kind == "string" {
                answer.text = value(&s["points"][0]);
                continue;
            }
            let points = s["points"].as_array().into_iter().flatten();
            let points = points.map(|p| {
                let number = value(p).replace("Inf", "inf").parse().unwrap_or_else(|_| panic!("no number: {p}"));
                (p["t"].as_i64().unwrap_or_default(), Number(number))
            });
            answer.series.insert(format!("{labels:?}"), points.collect());
        }
        answer
    }
}

/// What the agent's engine makes of it.
pub fn evaluate(history: &History, request: &Request) -> Answer {
    let query = match Query::parse(&request.expr) {
        Ok(query) => query,
        Err(e) => return Answer { error: e.to_string(), ..Answer::default() },
    };
    let options = EvalOptions::default();
    let (start, end) = (Timestamp::from_millis(request.start), Timestamp::from_millis(request.end));
    let (value, annotations) = if request.step == 0 {
        query.instant_annotated(history, start, &options)
    } else {
        let step = Duration::from_millis(request.step.unsigned_abs());
        query.range_annotated(history, start, end, step, &options)
    };
    let sorted = |mut texts: Vec<String>| {
        texts.sort();
        texts
    };
    let mut answer =
        Answer { warnings: sorted(annotations.warnings()), infos: sorted(annotations.infos()), ..Answer::default() };
    let at = request.start;
    match value {
        Err(e) => answer.error = e.to_string(),
        Ok(Value::Scalar(v)) => {
            answer.kind = "scalar".into();
            answer.series.insert(format!("{:?}", Labels::empty()), vec![(at, Number(v))]);
        }
        Ok(Value::String(s)) => {
            answer.kind = "string".into();
            answer.text = s;
        }
        Ok(Value::Vector(v)) => {
            answer.kind = "vector".into();
            let of = |s: watchfire::promql::Sample| (format!("{:?}", s.labels), vec![(at, Number(s.value))]);
            answer.series = v.into_iter().map(of).collect();
        }
        Ok(Value::Matrix(m)) => {
            answer.kind = "matrix".into();
            let points = |s: watchfire::promql::RangeSeries| {
                let points = s.points.iter().map(|p| (p.time, Number(p.value))).collect();
                (format!("{:?}", s.labels), points)
            };
            answer.series = m.into_iter().map(points).collect();
        }
    }
    answer
}

pub fn compare(ours: &Answer, theirs: &Answer) -> Verdict {
    match (ours.error.is_empty(), theirs.error.is_empty()) {
        (false, false) => return Verdict::BothFail,
        (true, true) => {}
        _ => return Verdict::Different,
    }
    let near = |a: &[(i64, Number)], b: &[(i64, Number)]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && a.1.is_near(b.1))
    };
    let same = ours.kind == theirs.kind
        && ours.text == theirs.text
        && ours.series.len() == theirs.series.len()
        && ours.series.iter().zip(&theirs.series).all(|(a, b)| a.0 == b.0 && near(a.1, b.1))
        && placed(ours) == placed(theirs)
        && normal(&ours.infos) == normal(&theirs.infos);
    if same { Verdict::Same } else { Verdict::Different }
}

/// Warnings. Over several steps it hangs on the order of evaluation which one of two places the same warning is told of.
fn placed(answer: &Answer) -> Vec<&str> {
    let without_place = |text: &'_ str| text.rfind(" (").unwrap_or(text.len());
    let texts = answer.warnings.iter().map(|w| if answer.kind == "matrix" { &w[..without_place(w)] } else { w });
    texts.collect()
}

/// Without what hangs on how often Prometheus evaluates what is the same at each step: of how many samples an info
/// tells; and without the place of a subquery's range, which it does not know.
fn normal(infos: &[String]) -> Vec<String> {
    let before = |text: &str, mark: &str| text.split_once(mark).map_or(text, |(before, _)| before).to_string();
    let normal = |text: &String| match text.contains("not be a counter") {
        true => before(text, " ("),
        false => before(text, ", over "),
    };
    infos.iter().map(normal).collect()
}
