//! How Prometheus' tests write series: `name{labels}` and `0+10x5 _ NaN stale`.

use std::time::Duration;

use crate::history::{History, HistoryLimits};
use crate::model::{Labels, SeriesTable, Timestamp};
use crate::promql::{Value, Values, almost_equal, parse_metric};

pub fn labels(text: &str) -> Labels {
    parse_metric(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// A result as the tests write it.
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
    Values::parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).collect()
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
