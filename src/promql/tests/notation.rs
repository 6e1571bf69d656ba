//! How Prometheus' tests write series: `name{labels}` and `0+10x5 _ NaN stale`.

use std::time::Duration;

use crate::history::{History, HistoryLimits, stale_marker};
use crate::model::{Labels, METRIC_NAME, SeriesTable, Timestamp};
use crate::promql::syntax::{ExprKind, parse};
use crate::promql::{Value, almost_equal};

pub fn labels(text: &str) -> Labels {
    if text.trim() == "{}" {
        return Labels::empty();
    }
    let Ok(ExprKind::Selector(v)) = parse(text).map(|e| e.kind) else { panic!("no series: {text}") };
    let name = v.name.map(|n| (METRIC_NAME.to_string(), n));
    let pairs = v.matchers.into_iter().map(|m| (m.name, m.value));
    Labels::from_pairs(name.into_iter().chain(pairs))
}

pub fn number(text: &str) -> Option<f64> {
    match text.trim_start_matches(['+', '-']).to_ascii_lowercase().as_str() {
        "inf" if text.starts_with('-') => Some(f64::NEG_INFINITY),
        "inf" => Some(f64::INFINITY),
        "nan" => Some(f64::NAN),
        _ => text.parse().ok(),
    }
}

/// The values; `None` where there is no sample.
pub fn values(text: &str) -> Vec<Option<f64>> {
    let mut out = Vec::new();
    for item in text.split_whitespace() {
        if let Some(v) = number(item) {
            out.push(Some(v));
            continue;
        }
        let (base, repeats) = match item.rsplit_once('x') {
            Some((base, n)) => (base, n.parse::<usize>().unwrap()),
            None => (item, 0),
        };
        match base {
            "_" => out.extend(std::iter::repeat_n(None, repeats.max(1))),
            "stale" => out.extend(std::iter::repeat_n(Some(stale_marker()), repeats + 1)),
            _ => {
                let (start, step) = number(base).map_or_else(|| start_and_step(base), |v| (v, 0.0));
                // The step is added again and again, as promtool does, so that rounding is the same.
                let mut value = start;
                for _ in 0..=repeats {
                    out.push(Some(value));
                    value += step;
                }
            }
        }
    }
    out
}

fn start_and_step(text: &str) -> (f64, f64) {
    let sign = (1..text.len()).rev().find(|i| {
        matches!(text.as_bytes()[*i], b'+' | b'-') && !matches!(text.as_bytes()[*i - 1], b'e' | b'E' | b'+' | b'-')
    });
    let (start, step) = text.split_at(sign.unwrap_or_else(|| panic!("no value: {text}")));
    (number(start).unwrap(), number(step).unwrap())
}

/// A history with these series, the samples of each from the epoch on.
pub struct Store {
    table: SeriesTable,
    pub history: History,
}

impl Store {
    pub fn new() -> Store {
        let limits = HistoryLimits { retention: Duration::MAX, max_bytes: usize::MAX, max_series: usize::MAX };
        Store { table: SeriesTable::new(Labels::empty()), history: History::new(limits) }
    }

    pub fn load(&mut self, series: &str, samples: &str, interval: Duration) {
        let series = self.table.intern(labels(series));
        let mut time = Timestamp::default();
        for value in values(samples) {
            if let Some(value) = value {
                self.history.append(&series, time, value);
            }
            time = time + interval;
        }
    }
}

/// The elements of an instant value, sorted by labels.
pub fn elements(value: &Value) -> Vec<(Labels, f64)> {
    let mut out = match value {
        Value::Scalar(v) => vec![(Labels::empty(), *v)],
        Value::Vector(v) => v.iter().map(|s| (s.labels.clone(), s.value)).collect(),
        other => panic!("not an instant value: {other:?}"),
    };
    out.sort_by(|a, b| a.0.cmp(&b.0));
    out
}

/// What is different, if anything.
pub fn difference(mut expected: Vec<(Labels, f64)>, got: &[(Labels, f64)]) -> Option<String> {
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    let same = |(e, g): (&(Labels, f64), &(Labels, f64))| e.0 == g.0 && almost_equal(e.1, g.1, 1e-6);
    let equal = expected.len() == got.len() && expected.iter().zip(got).all(same);
    (!equal).then(|| format!("expected {expected:?}\n     got {got:?}"))
}
