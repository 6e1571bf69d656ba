//! Our formats held against their peers: the `prometheus` crate's encoder and decoder types, and promtool.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use prometheus::proto::{self, LabelPair, Metric, MetricFamily};
use prometheus::{Encoder, TextEncoder};
use proptest::prelude::*;

use super::{Format, Pages};
use crate::model::{Labels, MetricType, SeriesTable, Snapshot, Timestamp, Writer};

#[derive(Clone, Debug)]
struct RandomFamily {
    name: String,
    help: String,
    counter: bool,
    samples: Vec<(String, String, f64)>,
}

fn families() -> impl Strategy<Value = Vec<RandomFamily>> {
    let text = "[a-z \\\\\"\n{},=µ]{0,12}";
    let value = prop_oneof![any::<f64>(), (-1000i64..1_000_000).prop_map(|n| n as f64 / 100.0)];
    let samples = prop::collection::vec((text, text, value), 1..6);
    let family = ("[a-z_][a-z0-9_]{0,10}", text, any::<bool>(), samples)
        .prop_map(|(name, help, counter, samples)| RandomFamily { name, help, counter, samples });
    prop::collection::vec(family, 0..8).prop_map(|mut families| {
        families.sort_by(|a, b| a.name.cmp(&b.name));
        families.dedup_by(|a, b| a.name == b.name);
        for family in &mut families {
            let mut seen = Vec::new();
            family.samples.retain(|(a, b, _)| {
                !seen.contains(&(a.clone(), b.clone())) && {
                    seen.push((a.clone(), b.clone()));
                    true
                }
            });
        }
        families
    })
}

/// The families as one collector reports them.
fn snapshot_of(families: &[RandomFamily]) -> Snapshot {
    snapshot_of_several(families, 1)
}

/// The families as `collectors` report them: of each family, each has a part of the samples and the first of them all.
fn snapshot_of_several(families: &[RandomFamily], collectors: usize) -> Snapshot {
    let table = Arc::new(SeriesTable::new(Labels::empty()));
    let section = |collector: usize| {
        let mut writer = Writer::new("random", table.clone(), 1000);
        for family in families {
            let kind = if family.counter { MetricType::Counter } else { MetricType::Gauge };
            let mut out = writer.family(kind, &family.name, &family.help, ["a", "b"]);
            for (i, (a, b, value)) in family.samples.iter().enumerate() {
                if i == 0 || i * collectors / family.samples.len() == collector {
                    out.put([a.as_bytes(), b.as_bytes()], *value);
                }
            }
        }
        writer.finish().0
    };
    let sections = (0..collectors).map(section).collect();
    Snapshot { time: Timestamp::default(), taken: Instant::now(), sections }
}

fn messages_of(families: &[RandomFamily]) -> Vec<MetricFamily> {
    let message = |family: &RandomFamily| {
        let mut message = MetricFamily::default();
        message.set_name(family.name.clone());
        message.set_help(family.help.clone());
        let kind = if family.counter { proto::MetricType::COUNTER } else { proto::MetricType::GAUGE };
        message.set_field_type(kind);
        let metrics = family.samples.iter().map(|(a, b, value)| {
            let mut metric = Metric::from_label(vec![pair("a", a), pair("b", b)]);
            let (mut counter, mut gauge) = (proto::Counter::default(), proto::Gauge::default());
            counter.set_value(*value);
            gauge.set_value(*value);
            if family.counter {
                metric.set_counter(counter)
            } else {
                metric.set_gauge(gauge)
            }
            metric
        });
        message.set_metric(metrics.collect());
        message
    };
    families.iter().map(message).collect()
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_string());
    pair.set_value(value.to_string());
    pair
}

/// Lines, with the value of each sample read: the two encoders print the same number differently.
fn lines(text: &str) -> Vec<(String, Option<u64>)> {
    let read = |line: &str| match line.rsplit_once(' ') {
        Some((start, value)) if !line.starts_with('#') => {
            let value: f64 = value.parse().unwrap();
            let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
            (start.to_string(), Some(value.to_bits()))
        }
        _ => (line.to_string(), None),
    };
    text.lines().map(read).collect()
}

proptest! {
    #[test]
    fn our_text_says_what_the_prometheus_crate_says(families in families()) {
        let ours = Pages::new().encode(&snapshot_of(&families), Format::Text).unwrap();
        let mut theirs = Vec::new();
        TextEncoder::new().encode(&messages_of(&families), &mut theirs).unwrap();
        let (ours, theirs) = (String::from_utf8(ours).unwrap(), String::from_utf8(theirs).unwrap());
        prop_assert_eq!(lines(&ours), lines(&theirs));
    }

    #[test]
    fn families_that_several_collectors_share_are_as_if_one_had_them(families in families(), collectors in 2usize..5) {
        let pages = Pages::new();
        let one = pages.encode(&snapshot_of(&families), Format::Text).unwrap();
        let several = pages.encode(&snapshot_of_several(&families, collectors), Format::Text).unwrap();
        prop_assert_eq!(String::from_utf8(several).unwrap(), String::from_utf8(one).unwrap());
    }

    #[test]
    fn our_protobuf_is_what_the_prometheus_crate_sends(families in families()) {
        let ours = Pages::new().encode(&snapshot_of(&families), Format::Protobuf).unwrap();
        let mut messages = messages_of(&families);
        for message in &mut messages {
            if message.help().is_empty() {
                message.clear_help();
            }
        }
        let mut theirs = Vec::new();
        prometheus::ProtobufEncoder::new().encode(&messages, &mut theirs).unwrap();
        prop_assert_eq!(ours, theirs);
    }
}

#[test]
fn histograms_and_summaries_are_whole_again_in_protobuf() {
    use prometheus::{Histogram, HistogramOpts, Registry};
    let registry = Registry::new();
    for (name, part) in [("took_seconds", "a\"b\\"), ("took_seconds", "c")] {
        let opts = HistogramOpts::new(name, "Time.").const_label("part", part).buckets(vec![0.1, 1.0, f64::INFINITY]);
        let histogram = Histogram::with_opts(opts).unwrap();
        histogram.observe(0.5);
        registry.register(Box::new(histogram)).unwrap();
    }
    let mut expected = registry.gather();
    for metric in expected[0].mut_metric() {
        // The crate leaves the last bucket implicit, we send it.
        let mut last = proto::Bucket::default();
        last.set_upper_bound(f64::INFINITY);
        last.set_cumulative_count(1);
        metric.histogram.mut_or_insert_default().bucket.push(last);
    }
    let mut theirs = Vec::new();
    prometheus::ProtobufEncoder::new().encode(&expected, &mut theirs).unwrap();

    let mut writer = Writer::new("self", Arc::new(SeriesTable::new(Labels::empty())), 100);
    super::copy_registry(&registry, &mut writer);
    let snapshot = Snapshot { time: Timestamp::default(), taken: Instant::now(), sections: vec![writer.finish().0] };
    assert_eq!(Pages::new().encode(&snapshot, Format::Protobuf).unwrap(), theirs);
}

/// Debian's promtool, or `None` when it is not there and need not be.
fn promtool() -> Option<Command> {
    let mut version = Command::new("promtool");
    if version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok() {
        return Some(Command::new("promtool"));
    }
    assert!(std::env::var_os("WATCHFIRE_REQUIRE_PEERS").is_none(), "promtool is not installed");
    eprintln!("skipped: promtool is not installed (apt-get install prometheus)");
    None
}

#[test]
fn promtool_has_no_complaint() {
    let Some(mut promtool) = promtool() else { return };
    let mut writer = Writer::new("test", Arc::new(SeriesTable::new(Labels::empty())), 1000);
    let strange: &[u8] = b"a\\b\n\"c\" \xc2\xb5";
    writer.counter("node_cpu_seconds_total", "Seconds.", ["cpu"]).put([b"0"], 1.5).put([strange], 1e-9);
    let mut values = writer.gauge("node_values", "One of each.", ["kind"]);
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -5e-324, 9_007_199_254_740_993.0, 0.1 + 0.2] {
        values.put([value.to_string().as_bytes()], value);
    }
    let mut took = writer.family(MetricType::Histogram, "took_seconds", "With \"quotes\" and \\.", []);
    took.put_labels("_bucket", &[(b"le", b"0.5")], 1.0).put_labels("_bucket", &[(b"le", b"+Inf")], 2.0);
    took.put_labels("_sum", &[], 1.5).put_labels("_count", &[], 2.0);
    let snapshot = Snapshot { time: Timestamp::default(), taken: Instant::now(), sections: vec![writer.finish().0] };
    let text = Pages::new().encode(&snapshot, Format::Text).unwrap();

    let mut child = promtool
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&text).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim().is_empty(), "{said}\n{}", String::from_utf8_lossy(&text));
}
