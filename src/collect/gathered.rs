//! For collectors that go from device to device: their samples are put together, and written family by family.

use std::collections::HashMap;

use super::CollectError;
use crate::model::{MetricType, Writer};

/// Far more than a collector may write; what a broken or hostile tree has beyond is not kept.
const MAX_SAMPLES: usize = 1 << 18;

/// A label's name and value.
pub(super) type Label<'l> = (&'static str, &'l [u8]);

/// One run's samples, and the first thing that went wrong in it.
///
/// It allocates for each sample: for collectors that run every few seconds, not at each tick.
#[derive(Default)]
pub(super) struct Gathered {
    families: Vec<Family>,
    /// Where in `families` each name is.
    places: HashMap<String, usize>,
    samples: usize,
    fault: Option<CollectError>,
}

struct Family {
    kind: MetricType,
    name: String,
    help: String,
    samples: Vec<Sample>,
}

struct Sample {
    labels: Vec<(&'static str, Box<[u8]>)>,
    value: f64,
}

impl Gathered {
    /// Adds a sample to the family of this name, which comes behind those that were named before it.
    pub fn add(&mut self, kind: MetricType, name: &str, help: &str, labels: &[Label], value: f64) {
        if self.samples == MAX_SAMPLES {
            self.fault.get_or_insert_with(|| CollectError::Other(format!("more than {MAX_SAMPLES} samples")));
            return;
        }
        self.samples += 1;
        let place = match self.places.get(name) {
            Some(place) => *place,
            None => {
                self.places.insert(name.to_string(), self.families.len());
                self.families.push(Family {
                    kind,
                    name: name.to_string(),
                    help: help.to_string(),
                    samples: Vec::new(),
                });
                self.families.len() - 1
            }
        };
        if let Some(family) = self.families.get_mut(place) {
            family.samples.push(Sample { labels: labels.iter().map(|(n, v)| (*n, (*v).into())).collect(), value });
        }
    }

    pub fn gauge(&mut self, name: &str, help: &str, labels: &[Label], value: f64) {
        self.add(MetricType::Gauge, name, help, labels, value);
    }

    pub fn counter(&mut self, name: &str, help: &str, labels: &[Label], value: f64) {
        self.add(MetricType::Counter, name, help, labels, value);
    }

    /// What was read; a failure is kept for the end of the run, so that the rest is served.
    pub fn keep<T>(&mut self, read: Result<T, CollectError>) -> Option<T> {
        read.map_err(|error| self.fault.get_or_insert(error)).ok()
    }

    /// Writes all families. The error is the run's first.
    pub fn write(self, out: &mut Writer) -> Result<(), CollectError> {
        for family in &self.families {
            let mut writer = out.family(family.kind, &family.name, &family.help, []);
            for Sample { labels, value } in &family.samples {
                let labels: Vec<(&[u8], &[u8])> = labels.iter().map(|(n, v)| (n.as_bytes(), &**v)).collect();
                writer.put_labels("", &labels, *value);
            }
        }
        self.fault.map_or(Ok(()), Err)
    }
}

/// A name that others made as a part of a metric's name: what such a name must not have is an underscore.
pub(super) fn metric_name(text: &[u8]) -> String {
    text.iter().map(|b| if b.is_ascii_alphanumeric() { char::from(*b) } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::Collector;
    use crate::collect::testing::Runner;

    struct TwoDevices;

    impl Collector for TwoDevices {
        fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
            let mut gathered = Gathered::default();
            for device in [&b"a"[..], b"b"] {
                gathered.gauge("size", "Size.", &[("device", device)], 1.0);
                gathered.counter("reads_total", "Reads.", &[("device", device), ("kind", b"x")], 2.0);
                assert_eq!(gathered.keep(Err::<(), _>(CollectError::Other(format!("{device:?}")))), None);
            }
            assert_eq!(gathered.keep(Ok(1)), Some(1));
            gathered.write(out)
        }
    }

    #[test]
    fn what_was_found_by_device_is_served_by_family() {
        let (lines, error) = Runner::new(TwoDevices).failure();
        let expected = [
            "size{device=\"a\"} 1",
            "size{device=\"b\"} 1",
            "reads_total{device=\"a\",kind=\"x\"} 2",
            "reads_total{device=\"b\",kind=\"x\"} 2",
        ];
        assert_eq!(lines, expected);
        assert_eq!(error, "[97]");
        assert_eq!(metric_name(b"erpt-dropped.\xff2"), "erpt_dropped__2");
    }
}
