//! What the points of a stream have said: the last value of each series, as long as it is not too old.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::checks::families::{Families, MAX_SAMPLES};
use crate::model::MetricType;

/// The bytes of names and labels that are kept: far more than so many samples have as a rule.
const MAX_TEXT: usize = 16 << 20;

/// A metric's name and its labels, by name.
type Series = (String, Vec<(String, String)>);

struct Value {
    value: f64,
    said: Instant,
}

/// The last value of each series.
#[derive(Default)]
pub(super) struct Gathered {
    /// In an order that stays, so that what is served keeps its shape.
    series: BTreeMap<Series, Value>,
    /// Bytes of their names and labels.
    text: usize,
}

fn length((name, labels): &Series) -> usize {
    name.len() + labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
}

impl Gathered {
    /// Takes in a value, in place of what was known of its series. `false` when there is no room for another series.
    #[must_use]
    pub(super) fn say(&mut self, name: &str, labels: &[(&str, &str)], value: f64, said: Instant) -> bool {
        let mut labels: Vec<_> = labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        labels.sort_unstable();
        let series = (name.to_string(), labels);
        let said = Value { value, said };
        if let Some(known) = self.series.get_mut(&series) {
            *known = said;
            return true;
        }
        let text = self.text + length(&series);
        if self.series.len() == MAX_SAMPLES || text > MAX_TEXT {
            return false;
        }
        self.text = text;
        self.series.insert(series, said);
        true
    }

    /// Forgets what was said longer ago than `age`.
    pub(super) fn forget(&mut self, now: Instant, age: Duration) {
        let text = &mut self.text;
        self.series.retain(|series, value| {
            let stays = now.saturating_duration_since(value.said) <= age;
            *text -= if stays { 0 } else { length(series) };
            stays
        });
    }

    /// The number of series.
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    pub(super) fn write(&self, out: &mut Families) {
        for ((name, labels), Value { value, .. }) in &self.series {
            let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
            out.add(MetricType::Untyped, name, "", "", &labels, *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_replaces_that_of_its_series_whatever_the_order_of_its_labels() {
        let (mut gathered, now) = (Gathered::default(), Instant::now());
        assert!(gathered.say("m", &[("a", "1"), ("b", "2")], 1.0, now));
        assert!(gathered.say("m", &[("b", "2"), ("a", "1")], 2.0, now));
        assert!(gathered.say("m", &[("a", "1")], 3.0, now));
        assert_eq!(gathered.len(), 2);
        assert!(gathered.series.values().any(|value| value.value == 2.0));
    }

    #[test]
    fn what_was_not_said_for_long_makes_room() {
        let (mut gathered, now) = (Gathered::default(), Instant::now());
        let age = Duration::from_secs(30);
        for number in 0..MAX_SAMPLES {
            assert!(gathered.say("m", &[("n", &number.to_string())], 1.0, now));
        }
        assert!(!gathered.say("m", &[("n", "one more")], 1.0, now));
        assert!(gathered.say("m", &[("n", "7")], 1.0, now + age), "it is known");
        gathered.forget(now + age + Duration::from_secs(1), age);
        assert_eq!((gathered.len(), gathered.text), (1, 3));
        let long = "x".repeat(MAX_TEXT);
        assert!(!gathered.say("m", &[("n", &long)], 1.0, now), "memory is bounded too");
    }
}
