//! What a run has found, in the making.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::exposition::families::Kept;
use crate::exposition::parse::Family;
use crate::model::{Labels, MetricType};

/// A run that has more samples is cut short: it is a fault of the check, and memory is shared.
pub(super) const MAX_SAMPLES: usize = 10_000;

/// Whether only the agent gives families of this name.
fn is_reserved(name: &str) -> bool {
    let own = name.strip_prefix("watchfire").and_then(|rest| rest.strip_prefix('_'));
    ["up", "ALERTS", "ALERTS_FOR_STATE"].contains(&name) || own.is_some_and(|rest| !rest.starts_with("check_perfdata_"))
}

/// The families of one run, in the order in which they were begun. Every sample gets the labels of the check.
pub struct Families {
    /// `check` and what is configured. A sample's own label of the same name is kept as `exported_NAME`, as Prometheus does
    /// with what it scrapes.
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
        let own: Vec<(Cow<'_, str>, &str)> = labels.iter().map(|(name, value)| (self.own_name(name), *value)).collect();
        if let Some(family) = self.list.get_mut(place) {
            family.add(suffix, own.iter().map(|(name, value)| (&**name, *value)).chain(self.labels.iter()), value);
        }
    }

    /// How a label of the sample's own is called beside those of the check.
    fn own_name<'n>(&self, name: &'n str) -> Cow<'n, str> {
        match self.labels.has(name) {
            true => format!("exported_{name}").into(),
            false => name.into(),
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

    /// Leaves out what would pass for what the agent itself says, and gives the name of the first such family.
    pub fn drop_reserved(&mut self) -> Option<String> {
        let first = self.list.iter().map(|family| family.name.to_string()).find(|name| is_reserved(name));
        if first.is_some() {
            self.list.retain(|family| !is_reserved(&family.name));
            self.places.clear();
            self.places.extend(self.list.iter().enumerate().map(|(place, family)| (family.name.clone(), place)));
        }
        first
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing;
    use crate::exposition::families::{merge, write};
    use crate::exposition::parse::parse;
    use crate::model::{SeriesTable, Writer};

    #[test]
    fn a_label_of_the_samples_own_never_takes_the_place_of_one_of_the_check() {
        let labels = Labels::from_pairs([("check", "web"), ("team", "shop")]);
        let mut families = Families::new(Arc::new(labels));
        let text = b"a{check=\"other\",x=\"1\"} 1\nb{team=\"none\"} 2\n";
        parse(text).unwrap().iter().for_each(|family| families.add_family(family));
        let kept = families.into_kept();
        let (merged, _) = merge(&[("web", &kept)]);
        let mut writer = Writer::new("checks", Arc::new(SeriesTable::new(Labels::empty())), 10);
        write(&merged, |_| &kept, &mut writer);
        assert_eq!(
            testing::lines(&writer.finish().0),
            [
                "a{exported_check=\"other\",x=\"1\",check=\"web\",team=\"shop\"} 1",
                "b{exported_team=\"none\",check=\"web\",team=\"shop\"} 2"
            ]
        );
    }
}
