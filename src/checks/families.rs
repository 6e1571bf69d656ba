//! What a run has found, in the making.

use std::collections::HashMap;
use std::sync::Arc;

use crate::exposition::families::Kept;
use crate::exposition::parse::Family;
use crate::model::{Labels, MetricType};

/// A run that has more samples is cut short: it is a fault of the check, and memory is shared.
const MAX_SAMPLES: usize = 10_000;

/// The families of one run, in the order in which they were begun. Every sample gets the labels of the check.
pub struct Families {
    /// `check` and what is configured; a sample's own label of the same name goes before.
    labels: Arc<Labels>,
    list: Vec<Kept>,
    /// Where in `list` each name is.
    places: HashMap<Box<str>, usize>,
    samples: usize,
    dropped: usize,
}

impl Families {
    pub fn new(labels: Arc<Labels>) -> Families {
        Families { labels, list: Vec::new(), places: HashMap::new(), samples: 0, dropped: 0 }
    }

    /// Adds a sample to a gauge.
    pub fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add(MetricType::Gauge, name, help, "", labels, value);
    }

    /// Adds a sample to a counter.
    pub fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add(MetricType::Counter, name, help, "", labels, value);
    }

    /// Adds a sample; `suffix` is what its name has behind the family's (`_bucket`). The type and the help are those of
    /// the family's first sample.
    pub fn add(&mut self, kind: MetricType, name: &str, help: &str, suffix: &str, labels: &[(&str, &str)], value: f64) {
        if self.samples == MAX_SAMPLES {
            self.dropped += 1;
            return;
        }
        self.samples += 1;
        let place = match self.places.get(name) {
            Some(place) => *place,
            None => {
                self.places.insert(name.into(), self.list.len());
                self.list.push(Kept::empty(name, kind, help));
                self.list.len() - 1
            }
        };
        let own = |label: &str| labels.iter().any(|(name, _)| *name == label);
        if let Some(family) = self.list.get_mut(place) {
            let of_check = self.labels.iter().filter(|(name, _)| !own(name));
            family.add(suffix, labels.iter().copied().chain(of_check), value);
        }
    }

    /// Adds a family of an exposition.
    pub fn add_family(&mut self, family: &Family<'_>) {
        let help = family.help.as_deref().unwrap_or_default();
        for sample in &family.samples {
            let labels: Vec<(&str, &str)> = sample.labels.iter().map(|(name, value)| (*name, &**value)).collect();
            self.add(family.metric_type(), family.name, help, sample.suffix, &labels, sample.value);
        }
    }

    /// Samples that were one too many.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// All of them.
    pub fn into_kept(self) -> Vec<Kept> {
        self.list
    }
}
