//! The metrics that an agent has of itself: what the collectors and the agent give.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use crate::model::MetricType;
use crate::yaml::nearest;

/// The list of them, a line each.
pub const METRICS: &str = include_str!("metrics.txt");

/// What is known of a metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub kind: MetricType,
    /// Labels besides those of the target; `None` where they are not known.
    pub labels: Option<&'static str>,
}

impl Metric {
    /// Whether it may have a label besides those of the target.
    pub fn may_have(&self, label: &str) -> bool {
        self.labels.is_none_or(|labels| labels.split(',').any(|l| l == label))
    }
}

/// All metrics that are known.
pub struct Known {
    metrics: HashMap<&'static str, Metric>,
    /// Beginnings of names whose rest the kernel gives.
    open: Vec<&'static str>,
}

pub fn known() -> &'static Known {
    static KNOWN: LazyLock<Known> = LazyLock::new(|| {
        let mut known = Known { metrics: HashMap::new(), open: Vec::new() };
        for line in METRICS.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split(' ');
            let (name, kind, labels) = (words.next(), words.next(), words.next());
            let (Some(name), Some(kind), Some(labels)) = (name, kind, labels) else { continue };
            if let Some(beginning) = name.strip_suffix('*') {
                known.open.push(beginning);
                continue;
            }
            let kind = match kind {
                "counter" => MetricType::Counter,
                "gauge" => MetricType::Gauge,
                "histogram" => MetricType::Histogram,
                "summary" => MetricType::Summary,
                _ => MetricType::Untyped,
            };
            known.metrics.insert(name, Metric { kind, labels: (labels != "*").then_some(labels) });
        }
        known
    });
    &KNOWN
}

impl Known {
    /// What is known of a series' name: that of a metric, or of the parts of a histogram.
    pub fn get(&self, name: &str) -> Option<Metric> {
        if let Some(metric) = self.metrics.get(name) {
            return Some(*metric);
        }
        let (base, _) = ["_bucket", "_sum", "_count"].iter().find_map(|s| Some((name.strip_suffix(s)?, s)))?;
        let metric = self.metrics.get(base)?;
        let parts = matches!(metric.kind, MetricType::Histogram | MetricType::Summary);
        parts.then_some(Metric { kind: MetricType::Counter, labels: None })
    }

    /// Whether the kernel may give a metric of this name.
    pub fn is_open(&self, name: &str) -> bool {
        self.open.iter().any(|beginning| name.starts_with(beginning))
    }

    /// The metric that is meant, if one is near; of what the kernel names, only one that is very near.
    pub fn nearest<'n>(&'n self, name: &str, recorded: &'n HashSet<String>) -> Option<&'n str> {
        let names = self.metrics.keys().copied().chain(recorded.iter().map(String::as_str));
        let mut sorted: Vec<&str> = names.filter(|n| n.len().abs_diff(name.len()) <= 8).collect();
        sorted.sort_unstable();
        let near = nearest(name, sorted)?;
        let likeness = strsim::normalized_damerau_levenshtein(name, near);
        (likeness >= if self.is_open(name) { 0.93 } else { 0.75 }).then_some(near)
    }
}

/// Labels that have only so many values: metrics whose names begin so, label, values.
const VALUES: &[(&str, &str, &[&str])] = &[
    ("node_cpu_seconds_total", "mode", &["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"]),
    ("node_cpu_guest_seconds_total", "mode", &["user", "nice"]),
    ("node_systemd_unit_state", "state", &["active", "activating", "deactivating", "failed", "inactive"]),
    ("node_md_disks", "state", &["active", "failed", "spare"]),
    ("namedprocess_namegroup_states", "state", &["Running", "Sleeping", "Waiting", "Zombie", "Other"]),
    ("namedprocess_namegroup_cpu_seconds_total", "mode", &["user", "system"]),
    ("namedprocess_namegroup_context_switches_total", "ctxswitchtype", &["voluntary", "nonvoluntary"]),
    (
        "namedprocess_namegroup_memory_bytes",
        "memtype",
        &["resident", "virtual", "swapped", "proportionalResident", "proportionalSwapped"],
    ),
    ("ALERTS", "alertstate", &["pending", "firing"]),
];

/// The only values that a label of a metric has, where they are few.
pub fn values_of(metric: &str, label: &str) -> Option<&'static [&'static str]> {
    let found = VALUES.iter().find(|(name, l, _)| *l == label && *name == metric);
    found.map(|(_, _, values)| *values)
}
