//! The agent's own instruments as one more collector.

use prometheus::Registry;
use prometheus::proto::{self, MetricFamily};

use super::value::write_value;
use crate::model::{FamilyWriter, MetricType, Writer};

/// Writes everything that the registry gathers: counters, gauges, histograms and summaries, each with its labels.
///
/// Gathering and copying allocate; the agent has a hundred instruments or so, not thousands.
pub fn copy_registry(registry: &Registry, writer: &mut Writer) {
    for family in registry.gather() {
        copy_family(&family, writer);
    }
}

fn copy_family(family: &MetricFamily, writer: &mut Writer) {
    let kind = match family.get_field_type() {
        proto::MetricType::COUNTER => MetricType::Counter,
        proto::MetricType::GAUGE => MetricType::Gauge,
        proto::MetricType::HISTOGRAM => MetricType::Histogram,
        proto::MetricType::SUMMARY => MetricType::Summary,
        proto::MetricType::UNTYPED => MetricType::Untyped,
    };
    let mut out = writer.family(kind, family.name(), family.help(), []);
    for metric in family.get_metric() {
        let labels: Vec<(&[u8], &[u8])> =
            metric.get_label().iter().map(|l| (l.name().as_bytes(), l.value().as_bytes())).collect();
        match kind {
            MetricType::Counter => put(&mut out, &labels, metric.get_counter().value()),
            MetricType::Gauge => put(&mut out, &labels, metric.get_gauge().value()),
            MetricType::Untyped => put(&mut out, &labels, metric.untyped.value()),
            MetricType::Histogram => copy_histogram(&mut out, labels, metric.get_histogram()),
            MetricType::Summary => copy_summary(&mut out, labels, metric.get_summary()),
        }
    }
}

fn put(out: &mut FamilyWriter<'_, 0>, labels: &[(&[u8], &[u8])], value: f64) {
    out.put_labels("", labels, value);
}

fn copy_histogram(out: &mut FamilyWriter<'_, 0>, labels: Vec<(&[u8], &[u8])>, histogram: &proto::Histogram) {
    let count = histogram.sample_count();
    let finite = histogram.bucket.iter().filter(|b| b.upper_bound() != f64::INFINITY);
    let bounds = finite.map(|b| (b.upper_bound(), b.cumulative_count())).chain([(f64::INFINITY, count)]);
    for (bound, cumulative) in bounds {
        put_with(out, "_bucket", &labels, "le", bound, cumulative as f64);
    }
    out.put_labels("_sum", &labels, histogram.sample_sum());
    out.put_labels("_count", &labels, count as f64);
}

fn copy_summary(out: &mut FamilyWriter<'_, 0>, labels: Vec<(&[u8], &[u8])>, summary: &proto::Summary) {
    for quantile in summary.get_quantile() {
        put_with(out, "", &labels, "quantile", quantile.quantile(), quantile.value());
    }
    out.put_labels("_sum", &labels, summary.sample_sum());
    out.put_labels("_count", &labels, summary.sample_count() as f64);
}

/// Puts a sample with one more label, whose value is a number.
fn put_with(
    out: &mut FamilyWriter<'_, 0>,
    suffix: &str,
    labels: &[(&[u8], &[u8])],
    name: &str,
    number: f64,
    value: f64,
) {
    let mut text = Vec::with_capacity(24);
    write_value(&mut text, number);
    let labels: Vec<_> = labels.iter().copied().chain([(name.as_bytes(), text.as_slice())]).collect();
    out.put_labels(suffix, &labels, value);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use prometheus::{CounterVec, Gauge, Histogram, HistogramOpts, Opts};

    use super::super::{Format, Pages};
    use super::*;
    use crate::model::{Labels, SeriesTable, Snapshot, Timestamp};

    #[test]
    fn instruments_are_served_like_any_other_series() {
        let registry = Registry::new();
        let requests = CounterVec::new(Opts::new("requests_total", "Requests."), &["code", "handler"]).unwrap();
        let size = Gauge::new("size_bytes", "Size.").unwrap();
        let took = Histogram::with_opts(HistogramOpts::new("took_seconds", "Time.").buckets(vec![0.1, 1.0])).unwrap();
        registry.register(Box::new(requests.clone())).unwrap();
        registry.register(Box::new(size.clone())).unwrap();
        registry.register(Box::new(took.clone())).unwrap();
        requests.with_label_values(&["200", "/metrics"]).inc_by(2.0);
        size.set(-1.5);
        for seconds in [0.05, 0.5, 5.0] {
            took.observe(seconds);
        }

        let mut writer = Writer::new("self", Arc::new(SeriesTable::new(Labels::empty())), 100);
        copy_registry(&registry, &mut writer);
        let snapshot =
            Snapshot { time: Timestamp::default(), taken: Instant::now(), sections: vec![writer.finish().0] };
        assert_eq!(
            String::from_utf8(Pages::new().encode(&snapshot, Format::Text).unwrap()).unwrap(),
            "# HELP requests_total Requests.\n# TYPE requests_total counter\n\
             requests_total{code=\"200\",handler=\"/metrics\"} 2\n\
             # HELP size_bytes Size.\n# TYPE size_bytes gauge\nsize_bytes -1.5\n\
             # HELP took_seconds Time.\n# TYPE took_seconds histogram\n\
             took_seconds_bucket{le=\"0.1\"} 1\ntook_seconds_bucket{le=\"1\"} 2\ntook_seconds_bucket{le=\"+Inf\"} 3\n\
             took_seconds_sum 5.55\ntook_seconds_count 3\n"
        );
    }
}
