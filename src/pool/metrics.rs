//! The pool's own instruments.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::outcome::Status;
use super::task::Class;

/// From a command that only answers to one that runs into the default timeout and beyond.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

#[derive(Clone)]
pub(super) struct Metrics {
    running: IntGaugeVec,
    queued: IntGaugeVec,
    started: IntCounterVec,
    failed: IntCounterVec,
    timed_out: IntCounterVec,
    cancelled: IntCounterVec,
    rejected: IntCounterVec,
    duration: Histogram,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Metrics> {
        let gauge = |name: &str, help: &str| {
            let vec = IntGaugeVec::new(Opts::new(name, help), &["class"])?;
            Class::ALL.iter().for_each(|class| vec.with_label_values(&[class.as_str()]).set(0));
            registry.register(Box::new(vec.clone())).map(|()| vec)
        };
        let counter = |name: &str, help: &str| {
            let vec = IntCounterVec::new(Opts::new(name, help), &["class"])?;
            // A counter that is there from the start lets rate() see its first increment.
            Class::ALL.iter().for_each(|class| vec.with_label_values(&[class.as_str()]).reset());
            registry.register(Box::new(vec.clone())).map(|()| vec)
        };
        let duration = Histogram::with_opts(
            HistogramOpts::new(
                "watchfire_pool_task_duration_seconds",
                "Time from the start of a command to the end of the last process of its group.",
            )
            .buckets(BUCKETS.to_vec()),
        )?;
        registry.register(Box::new(duration.clone()))?;
        Ok(Metrics {
            running: gauge("watchfire_pool_tasks_running", "Commands that run now.")?,
            queued: gauge("watchfire_pool_tasks_queued", "Tasks that wait for a free place in the pool.")?,
            started: counter(
                "watchfire_pool_tasks_started_total",
                "Tasks that left the queue to be run, those included whose command could not be started.",
            )?,
            failed: counter(
                "watchfire_pool_tasks_failed_total",
                "Tasks whose command exited with another code than 0, was killed by a signal that the agent did not \
                 send, or could not be started.",
            )?,
            timed_out: counter(
                "watchfire_pool_tasks_timed_out_total",
                "Tasks whose command overran its time and was ended.",
            )?,
            cancelled: counter(
                "watchfire_pool_tasks_cancelled_total",
                "Tasks cancelled while they waited or ran, also because the agent stopped.",
            )?,
            rejected: counter(
                "watchfire_pool_tasks_rejected_total",
                "Tasks not taken because the queue was full or the pool was stopping.",
            )?,
            duration,
        })
    }

    pub(super) fn rejected(&self, class: Class) {
        self.rejected.with_label_values(&[class.as_str()]).inc();
    }

    pub(super) fn set_queued(&self, class: Class, tasks: usize) {
        self.queued.with_label_values(&[class.as_str()]).set(i64::try_from(tasks).unwrap_or(i64::MAX));
    }

    pub(super) fn started(&self, class: Class) {
        self.started.with_label_values(&[class.as_str()]).inc();
        self.running.with_label_values(&[class.as_str()]).inc();
    }

    /// A task that had been started holds its place no longer.
    pub(super) fn stopped(&self, class: Class) {
        self.running.with_label_values(&[class.as_str()]).dec();
    }

    /// A task came to its end; `ran` is `None` when there was no process.
    pub(super) fn ended(&self, class: Class, status: &Status, ran: Option<Duration>) {
        if let Some(ran) = ran {
            self.duration.observe(ran.as_secs_f64());
        }
        let counter = match status {
            Status::Exited(0) => return,
            Status::Exited(_) | Status::Signaled(_) | Status::NotStarted(_) | Status::Lost(_) => &self.failed,
            Status::TimedOut { .. } => &self.timed_out,
            Status::Cancelled => &self.cancelled,
        };
        counter.with_label_values(&[class.as_str()]).inc();
    }
}
