//! What the evaluation of rules says of itself, a series per group.

use prometheus::core::Collector;
use prometheus::{Gauge, Result};
use prometheus::{GaugeVec, IntCounter, IntCounterVec, Opts, Registry};

/// The instruments, for all groups.
#[derive(Debug, Clone)]
pub struct Metrics {
    evaluations: IntCounterVec,
    failures: IntCounterVec,
    template_failures: IntCounterVec,
    iterations: IntCounterVec,
    missed: IntCounterVec,
    interval: GaugeVec,
    last_duration: GaugeVec,
    last_evaluation: GaugeVec,
    last_samples: GaugeVec,
    rules: GaugeVec,
}

/// The instruments of one group.
#[derive(Debug)]
pub struct GroupMetrics {
    all: Metrics,
    name: String,
    /// Rules evaluated.
    pub evaluations: IntCounter,
    /// Rules whose evaluation failed.
    pub failures: IntCounter,
    /// Labels and annotations that could not be expanded.
    pub template_failures: IntCounter,
    /// Evaluations of the group that should have been.
    pub iterations: IntCounter,
    /// Those of them that were not.
    pub missed: IntCounter,
    /// Seconds.
    pub last_duration: Gauge,
    /// Seconds since the epoch.
    pub last_evaluation: Gauge,
    /// Samples given by all of the rules.
    pub last_samples: Gauge,
}

const LABEL: &str = "rule_group";

fn registered<C: Collector + Clone + 'static>(registry: &Registry, made: Result<C>) -> Result<C> {
    let collector = made?;
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

impl Metrics {
    /// Makes the instruments and registers them; an error if that was done before.
    pub fn new(registry: &Registry) -> Result<Metrics> {
        let counter =
            |name: &str, help: &str| registered(registry, IntCounterVec::new(Opts::new(name, help), &[LABEL]));
        let gauge = |name: &str, help: &str| registered(registry, GaugeVec::new(Opts::new(name, help), &[LABEL]));
        Ok(Metrics {
            evaluations: counter("watchfire_rule_evaluations_total", "Rules evaluated.")?,
            failures: counter("watchfire_rule_evaluation_failures_total", "Rules whose evaluation failed.")?,
            template_failures: counter(
                "watchfire_rule_template_failures_total",
                "Labels and annotations of alerts that could not be expanded.",
            )?,
            iterations: counter(
                "watchfire_rule_group_iterations_total",
                "Evaluations of a rule group that were due, missed ones too.",
            )?,
            missed: counter(
                "watchfire_rule_group_iterations_missed_total",
                "Evaluations of a rule group that were due but not made: the tick came late, or rules took too long.",
            )?,
            interval: gauge("watchfire_rule_group_interval_seconds", "Interval of a rule group.")?,
            last_duration: gauge(
                "watchfire_rule_group_last_duration_seconds",
                "How long the last evaluation of a rule group took.",
            )?,
            last_evaluation: gauge(
                "watchfire_rule_group_last_evaluation_timestamp_seconds",
                "When a rule group was last evaluated.",
            )?,
            last_samples: gauge(
                "watchfire_rule_group_last_evaluation_samples",
                "Samples that the last evaluation of a rule group gave.",
            )?,
            rules: gauge("watchfire_rule_group_rules", "Rules in a rule group.")?,
        })
    }

    /// The instruments of a group.
    pub fn group(&self, name: &str, rules: usize, interval_seconds: f64) -> GroupMetrics {
        let label = &[name];
        self.rules.with_label_values(label).set(rules as f64);
        self.interval.with_label_values(label).set(interval_seconds);
        GroupMetrics {
            evaluations: self.evaluations.with_label_values(label),
            failures: self.failures.with_label_values(label),
            template_failures: self.template_failures.with_label_values(label),
            iterations: self.iterations.with_label_values(label),
            missed: self.missed.with_label_values(label),
            last_duration: self.last_duration.with_label_values(label),
            last_evaluation: self.last_evaluation.with_label_values(label),
            last_samples: self.last_samples.with_label_values(label),
            all: self.clone(),
            name: name.to_string(),
        }
    }
}

impl GroupMetrics {
    /// Ends the series of a group that is gone.
    pub fn remove(&self) {
        let label = &[self.name.as_str()];
        let m = &self.all;
        for counter in [&m.evaluations, &m.failures, &m.template_failures, &m.iterations, &m.missed] {
            // It is only not there if two groups have one name, and then it is gone already.
            let _ = counter.remove_label_values(label);
        }
        for gauge in [&m.interval, &m.last_duration, &m.last_evaluation, &m.last_samples, &m.rules] {
            let _ = gauge.remove_label_values(label);
        }
    }
}
