//! The series that a rule gives: appended to history, ended with a staleness marker when they are not given any more.

use std::collections::HashMap;
use std::sync::Arc;

use crate::history::{Appended, History};
use crate::model::{Labels, Series, SeriesTable, Timestamp};

/// A rule's samples of its last evaluation.
#[derive(Debug, Default)]
pub struct Outputs {
    series: HashMap<Labels, (Arc<Series>, f64)>,
    /// The labels of `series` in order.
    order: Vec<Labels>,
    /// The last evaluation failed: what is here is old.
    failed: bool,
}

impl Outputs {
    /// Takes the samples of an evaluation, no two with the same labels, and appends them to history at `at`. Why history
    /// refused one of them, if it did.
    pub fn replace(
        &mut self,
        samples: Vec<(Labels, f64)>,
        at: Timestamp,
        history: &mut History,
        table: &SeriesTable,
    ) -> Option<String> {
        let mut refused = None;
        let mut old = std::mem::take(&mut self.series);
        let mut same = samples.len() == old.len();
        for (labels, value) in samples {
            let series = match old.remove(&labels) {
                Some((series, _)) => series,
                None => {
                    same = false;
                    table.intern(labels.clone())
                }
            };
            let appended = history.append(&series, at, value);
            refused = refused.or_else(|| refusal(appended, &series, value, history));
            self.series.insert(labels, (series, value));
        }
        for (series, _) in old.into_values() {
            history.mark_stale(&series, at);
        }
        if !same {
            self.order = self.series.keys().cloned().collect();
            self.order.sort_unstable();
        }
        self.failed = false;
        refused
    }

    /// The evaluation failed: the series are neither continued nor ended.
    pub fn fail(&mut self) {
        self.failed = true;
    }

    /// Takes over the series of a rule that this one replaces.
    pub fn take_over(&mut self, old: &mut Outputs) {
        *self = std::mem::take(old);
    }

    /// Samples as they stand, in order of their labels; none after an evaluation that failed.
    pub fn iter(&self) -> impl Iterator<Item = (&Labels, f64)> {
        let shown = if self.failed { &[] } else { self.order.as_slice() };
        shown.iter().filter_map(|labels| Some((labels, self.series.get(labels)?.1)))
    }

    /// Whether the last evaluation that did not fail gave nothing.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }
}

/// Why a sample is not in history, unless the same sample was there before.
fn refusal(appended: Appended, series: &Series, value: f64, history: &History) -> Option<String> {
    let why = match appended {
        Appended::Stored => return None,
        Appended::Duplicate => {
            let last = history.get(series.id)?.last().value;
            if last.to_bits() == value.to_bits() {
                return None;
            }
            "there is another value of that time already: something else gives the same series"
        }
        Appended::OutOfOrder => "there is a later value already",
        Appended::TooManySeries => "history has as many series as it may (history.max_series)",
    };
    Some(format!("{} is not kept: {why}", series.labels))
}
