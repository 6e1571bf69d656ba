//! The protobuf format: length-delimited `io.prometheus.client.MetricFamily` messages.
//!
//! Histograms and summaries, which are several series in the model, are put together again. Only clients that ask for
//! it by name get it, so it is built from the text prefixes when asked for and nothing is kept for it.

use std::collections::HashMap;

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType as ProtoType, Quantile, Summary,
    Untyped,
};
use prometheus::{Encoder, ProtobufEncoder};

use super::page::Page;
use crate::model::{Family, MetricType, Section};

pub(super) fn encode(page: &Page, sections: &[&Section]) -> Result<Vec<u8>, prometheus::Error> {
    let mut families = Vec::new();
    for (family, runs) in page.families() {
        let samples = runs.iter().flat_map(|run| {
            let section = sections.get(run.section);
            (run.start..run.end).filter_map(move |position| {
                let section = section?;
                Some(Sample::parse(section.layout.prefix(position), *section.values.get(position)?))
            })
        });
        families.push(message(family, samples));
    }
    let mut out = Vec::with_capacity(page.text_size);
    ProtobufEncoder::new().encode(&families, &mut out)?;
    Ok(out)
}

fn message<'a>(family: &Family, samples: impl Iterator<Item = Sample<'a>>) -> MetricFamily {
    let mut message = MetricFamily::default();
    message.set_name(family.name.to_string());
    if !family.help.is_empty() {
        message.set_help(family.help.to_string());
    }
    message.set_field_type(match family.kind {
        MetricType::Counter => ProtoType::COUNTER,
        MetricType::Gauge => ProtoType::GAUGE,
        MetricType::Histogram => ProtoType::HISTOGRAM,
        MetricType::Summary => ProtoType::SUMMARY,
        MetricType::Untyped => ProtoType::UNTYPED,
    });
    message.set_metric(match family.kind {
        MetricType::Counter | MetricType::Gauge | MetricType::Untyped => {
            samples.map(|s| single(family.kind, s)).collect()
        }
        MetricType::Histogram => grouped(family, "le", samples, |metric, suffix, bound, value| {
            let histogram = metric.histogram.mut_or_insert_default();
            add_to_histogram(histogram, suffix, bound, value);
        }),
        MetricType::Summary => grouped(family, "quantile", samples, |metric, suffix, rank, value| {
            let summary = metric.summary.mut_or_insert_default();
            add_to_summary(summary, suffix, rank, value);
        }),
    });
    message
}

fn single(kind: MetricType, sample: Sample<'_>) -> Metric {
    let mut metric = Metric::from_label(sample.labels);
    match kind {
        MetricType::Counter => {
            let mut counter = Counter::default();
            counter.set_value(sample.value);
            metric.set_counter(counter);
        }
        MetricType::Gauge => {
            let mut gauge = Gauge::default();
            gauge.set_value(sample.value);
            metric.set_gauge(gauge);
        }
        _ => {
            let mut untyped = Untyped::default();
            untyped.set_value(sample.value);
            metric.untyped = Some(untyped).into();
        }
    }
    metric
}

/// Puts the samples that differ only in the label `by` and the suffix of their name into one metric each.
fn grouped<'a>(
    family: &Family,
    by: &str,
    samples: impl Iterator<Item = Sample<'a>>,
    add: impl Fn(&mut Metric, &str, Option<f64>, f64),
) -> Vec<Metric> {
    let mut metrics: Vec<Metric> = Vec::new();
    let mut by_labels: HashMap<Vec<(String, String)>, usize> = HashMap::new();
    for mut sample in samples {
        let number = sample.labels.iter().position(|l| l.name() == by).map(|i| sample.labels.remove(i));
        let number = number.and_then(|l| l.value().parse().ok());
        let mut key: Vec<_> = sample.labels.iter().map(|l| (l.name().to_string(), l.value().to_string())).collect();
        key.sort_unstable();
        let index = *by_labels.entry(key).or_insert(metrics.len());
        if index == metrics.len() {
            metrics.push(Metric::from_label(std::mem::take(&mut sample.labels)));
        }
        if let Some(metric) = metrics.get_mut(index) {
            let suffix = sample.name.strip_prefix(&*family.name).unwrap_or("");
            add(metric, suffix, number, sample.value);
        }
    }
    metrics
}

fn add_to_histogram(histogram: &mut Histogram, suffix: &str, bound: Option<f64>, value: f64) {
    match (suffix, bound) {
        ("_bucket", Some(bound)) => {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(value as u64);
            histogram.bucket.push(bucket);
        }
        ("_sum", _) => histogram.set_sample_sum(value),
        ("_count", _) => histogram.set_sample_count(value as u64),
        _ => {}
    }
}

fn add_to_summary(summary: &mut Summary, suffix: &str, rank: Option<f64>, value: f64) {
    match (suffix, rank) {
        ("", Some(rank)) => {
            let mut quantile = Quantile::default();
            quantile.set_quantile(rank);
            quantile.set_value(value);
            summary.quantile.push(quantile);
        }
        ("_sum", _) => summary.set_sample_sum(value),
        ("_count", _) => summary.set_sample_count(value as u64),
        _ => {}
    }
}

/// A sample line, taken apart again.
struct Sample<'a> {
    name: &'a str,
    labels: Vec<LabelPair>,
    value: f64,
}

impl<'a> Sample<'a> {
    /// From a prefix as the model writes it: `name ` or `name{label="value",...} `.
    fn parse(prefix: &'a [u8], value: f64) -> Sample<'a> {
        let line = std::str::from_utf8(prefix).unwrap_or_default().trim_end();
        let (name, mut rest) = line.split_once('{').unwrap_or((line, ""));
        let mut labels = Vec::new();
        while let Some((label, quoted)) = rest.split_once("=\"") {
            let (text, after) = unescape(quoted);
            let mut pair = LabelPair::default();
            pair.set_name(label.to_string());
            pair.set_value(text);
            labels.push(pair);
            rest = after.trim_start_matches(',');
        }
        Sample { name, labels, value }
    }
}

/// A label value up to its closing quote, and what follows that.
fn unescape(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, text.get(at + 1..).unwrap_or("")),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c)) => value.push(c),
                None => break,
            },
            c => value.push(c),
        }
    }
    (value, "")
}
