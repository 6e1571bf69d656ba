//! Alerting's own instruments, named as Alertmanager names its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::core::{Deed, Ending, Suppressed};
use super::plan::{Plan, Recipient, Target};
use super::remedy;
use crate::sinks::Reason;

/// As Alertmanager's, finer at the lower end, where local commands and files are.
const LATENCY: [f64; 8] = [0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0];

/// Why a notification was given up to which nothing had happened: too many of its group waited.
const QUEUE_FULL: &str = "queueFull";

#[derive(Clone)]
pub(super) struct Metrics {
    received: IntCounterVec,
    dropped: IntCounter,
    alerts: IntGaugeVec,
    notifications: IntCounterVec,
    failed: IntCounterVec,
    retried: IntCounterVec,
    latency: HistogramVec,
    suppressed: IntCounterVec,
    dead_letters: IntGauge,
    queues: Queues,
    actions: remedy::Metrics,
}

/// How many notifications wait for each target, and since when the oldest does.
type Waiting = BTreeMap<Arc<Target>, (usize, Option<Instant>)>;

/// What waits for each target. Made into series when it is asked for: the age of the oldest grows by itself, and targets
/// go.
#[derive(Clone)]
struct Queues {
    length: IntGaugeVec,
    oldest: GaugeVec,
    targets: Arc<Mutex<Waiting>>,
}

impl Queues {
    fn new() -> prometheus::Result<Queues> {
        let labels = ["receiver", "integration"];
        Ok(Queues {
            length: IntGaugeVec::new(
                Opts::new("watchfire_notification_queue_length", "Notifications that wait to be confirmed."),
                &labels,
            )?,
            oldest: GaugeVec::new(
                Opts::new(
                    "watchfire_notification_queue_oldest_seconds",
                    "How long the oldest notification has waited in this run of the agent; 0 when none waits.",
                ),
                &labels,
            )?,
            targets: Arc::default(),
        })
    }

    fn targets(&self) -> MutexGuard<'_, Waiting> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Queues {
    fn desc(&self) -> Vec<&Desc> {
        let mut both = self.length.desc();
        both.extend(self.oldest.desc());
        both
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Held to the end, so that who else collects does not see the gauges half made.
        let targets = self.targets();
        self.length.reset();
        self.oldest.reset();
        for (target, (waiting, since)) in targets.iter() {
            // Several webhooks of a receiver are one series.
            let labels = [target.receiver.as_str(), target.integration.as_str()];
            self.length.with_label_values(&labels).add(i64::try_from(*waiting).unwrap_or(i64::MAX));
            let oldest = self.oldest.with_label_values(&labels);
            oldest.set(since.map_or(0.0, |since| since.elapsed().as_secs_f64()).max(oldest.get()));
        }
        let mut both = self.length.collect();
        both.extend(self.oldest.collect());
        both
    }
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Metrics> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vec.clone())).map(|()| vec)
        };
        let metrics = Metrics {
            received: counters(
                "watchfire_alerts_received_total",
                "Alerts that rules and others told of.",
                &["status"],
            )?,
            dropped: IntCounter::new(
                "watchfire_alerts_dropped_total",
                "Alerts not taken because alerting was too busy or knew too many; who told of them tells again.",
            )?,
            alerts: IntGaugeVec::new(
                Opts::new(
                    "watchfire_alerts",
                    "Alerts that are known: active, or resolved with a notification to come.",
                ),
                &["state"],
            )?,
            notifications: counters(
                "watchfire_notifications_total",
                "Notifications confirmed or given up.",
                &["receiver", "integration"],
            )?,
            failed: counters(
                "watchfire_notifications_failed_total",
                "Notifications given up.",
                &["receiver", "integration", "reason"],
            )?,
            retried: counters(
                "watchfire_notifications_retried_total",
                "Tries of notifications that failed and are made again.",
                &["receiver", "integration", "reason"],
            )?,
            latency: HistogramVec::new(
                HistogramOpts::new("watchfire_notification_latency_seconds", "Time that tries of notifications took.")
                    .buckets(LATENCY.to_vec()),
                &["integration"],
            )?,
            suppressed: counters(
                "watchfire_notifications_suppressed_total",
                "Alerts left out of notifications.",
                &["reason"],
            )?,
            dead_letters: IntGauge::new(
                "watchfire_notification_dead_letters",
                "Notifications given up and kept, to be tried again or thrown away.",
            )?,
            queues: Queues::new()?,
            actions: remedy::Metrics::register(registry)?,
        };
        registry.register(Box::new(metrics.dropped.clone()))?;
        registry.register(Box::new(metrics.alerts.clone()))?;
        registry.register(Box::new(metrics.latency.clone()))?;
        registry.register(Box::new(metrics.dead_letters.clone()))?;
        registry.register(Box::new(metrics.queues.clone()))?;
        // A counter that is there from the start lets rate() see its first increment.
        for status in ["firing", "resolved"] {
            metrics.received.with_label_values(&[status]).reset();
        }
        for why in Suppressed::ALL {
            metrics.suppressed.with_label_values(&[why.as_str()]).reset();
        }
        Ok(metrics)
    }

    /// Makes the series of all targets of a plan be there, so that rate() sees the first increment of a counter.
    pub(super) fn begin(&self, plan: &Plan) {
        plan.actions.iter().for_each(|action| self.actions.begin(&action.name));
        for Recipient { target, command, .. } in plan.recipients.values().flatten() {
            if command.is_some() {
                self.actions.begin(&target.to_string());
            }
            self.queues.targets().entry(Arc::clone(target)).or_default();
            let (receiver, integration) = (target.receiver.as_str(), target.integration.as_str());
            self.notifications.with_label_values(&[receiver, integration]).inc_by(0);
            self.latency.with_label_values(&[integration]);
            self.failed.with_label_values(&[receiver, integration, QUEUE_FULL]).inc_by(0);
            for reason in Reason::ALL {
                self.failed.with_label_values(&[receiver, integration, reason.as_str()]).inc_by(0);
                self.retried.with_label_values(&[receiver, integration, reason.as_str()]).inc_by(0);
            }
        }
    }

    pub(super) fn acted(&self, deed: &Deed) {
        self.actions.ended(&deed.action, deed.result, deed.took);
    }

    pub(super) fn received(&self, resolved: bool) {
        self.received.with_label_values(&[if resolved { "resolved" } else { "firing" }]).inc();
    }

    pub(super) fn suppressed(&self, why: Suppressed, alerts: usize) {
        self.suppressed.with_label_values(&[why.as_str()]).inc_by(alerts as u64);
    }

    pub(super) fn dead_letters(&self, letters: usize) {
        self.dead_letters.set(i64::try_from(letters).unwrap_or(i64::MAX));
    }

    pub(super) fn dropped(&self, alerts: usize) {
        self.dropped.inc_by(alerts as u64);
    }

    pub(super) fn tried(&self, target: &Target, took: Duration) {
        self.latency.with_label_values(&[&target.integration]).observe(took.as_secs_f64());
    }

    pub(super) fn ended(&self, target: &Target, ending: &Ending) {
        let of = [target.receiver.as_str(), target.integration.as_str()];
        let failed = |reason: &str, times: usize| {
            self.notifications.with_label_values(&of).inc_by(times as u64);
            self.failed.with_label_values(&[of[0], of[1], reason]).inc_by(times as u64);
        };
        match ending {
            Ending::Delivered => self.notifications.with_label_values(&of).inc(),
            Ending::Retried(error) => {
                self.retried.with_label_values(&[of[0], of[1], error.reason.as_str()]).inc();
            }
            Ending::GivenUp(error) => failed(error.reason.as_str(), 1),
            Ending::NoTarget(times) => failed("noReceiver", *times),
            Ending::TooMany(times) => failed(QUEUE_FULL, *times),
        }
    }

    /// How things stand: alerts that fire, alerts that are resolved, and for each target that there is how many
    /// notifications wait and since when the oldest does.
    pub(super) fn stand<'t>(
        &self,
        (firing, resolved): (usize, usize),
        queues: impl Iterator<Item = (&'t Arc<Target>, usize, Option<Instant>)>,
    ) {
        for (state, alerts) in [("active", firing), ("resolved", resolved)] {
            self.alerts.with_label_values(&[state]).set(i64::try_from(alerts).unwrap_or(i64::MAX));
        }
        *self.queues.targets() =
            queues.map(|(target, waiting, since)| (Arc::clone(target), (waiting, since))).collect();
    }
}
