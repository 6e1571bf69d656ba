//! The pool's own instruments.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::outcome::Status;
use super::task::{Class, Lane};

/// From a command that only answers to one that runs into the default timeout and beyond.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// One instrument for each class.
#[derive(Clone)]
struct ByClass<T>([T; Class::ALL.len()]);

impl<T> ByClass<T> {
    fn of(&self, class: Class) -> &T {
        let ByClass([sink, check, action]) = self;
        match class {
            Class::Sink => sink,
            Class::Check => check,
            Class::Action => action,
        }
    }
}

/// One instrument for each lane.
#[derive(Clone)]
struct ByLane<T>([T; Lane::ALL.len()]);

impl<T> ByLane<T> {
    fn of(&self, lane: Lane) -> &T {
        let ByLane([command, thread, future]) = self;
        match lane {
            Lane::Command => command,
            Lane::Thread => thread,
            Lane::Future => future,
        }
    }
}

#[derive(Clone)]
pub(super) struct Metrics {
    running: ByLane<ByClass<IntGauge>>,
    queued: ByLane<ByClass<IntGauge>>,
    started: ByClass<IntCounter>,
    failed: ByClass<IntCounter>,
    timed_out: ByClass<IntCounter>,
    cancelled: ByClass<IntCounter>,
    late: ByClass<IntCounter>,
    skipped: ByClass<IntCounter>,
    retried: ByClass<IntCounter>,
    rejected: ByClass<IntCounter>,
    runs_skipped: IntCounter,
    threads_replaced: IntCounter,
    threads_hanging: IntGauge,
    streams: IntGauge,
    streams_restarted: IntCounter,
    frames_cut: IntCounter,
    duration: ByLane<Histogram>,
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    made: prometheus::Result<C>,
) -> prometheus::Result<C> {
    let made = made?;
    registry.register(Box::new(made.clone())).map(|()| made)
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Metrics> {
        let gauge =
            |name: &str, help: &str| {
                let vec = registered(registry, IntGaugeVec::new(Opts::new(name, help), &["class", "lane"]))?;
                Ok::<_, prometheus::Error>(ByLane(Lane::ALL.map(|lane| {
                    ByClass(Class::ALL.map(|class| vec.with_label_values(&[class.as_str(), lane.as_str()])))
                })))
            };
        // A counter that is there from the start lets rate() see its first increment.
        let counter = |name: &str, help: &str| {
            let vec = registered(registry, IntCounterVec::new(Opts::new(name, help), &["class"]))?;
            Ok::<_, prometheus::Error>(ByClass(Class::ALL.map(|class| vec.with_label_values(&[class.as_str()]))))
        };
        let durations = HistogramOpts::new(
            "watchfire_pool_task_duration_seconds",
            "Time from the start of a command to the end of the last process of its group, and of other tasks to their \
             answer.",
        );
        let durations = registered(registry, HistogramVec::new(durations.buckets(BUCKETS.to_vec()), &["lane"]))?;
        Ok(Metrics {
            running: gauge("watchfire_pool_tasks_running", "Tasks that run now.")?,
            queued: gauge("watchfire_pool_tasks_queued", "Tasks that wait for a free place in the pool.")?,
            started: counter(
                "watchfire_pool_tasks_started_total",
                "Tasks that left the queue to be run, those included that could not be started; each try counts.",
            )?,
            failed: counter(
                "watchfire_pool_tasks_failed_total",
                "Tasks whose command exited with another code than 0, was killed by a signal that the agent did not \
                 send, or could not be started, and calls that failed.",
            )?,
            timed_out: counter(
                "watchfire_pool_tasks_timed_out_total",
                "Tasks that overran their time and were ended.",
            )?,
            cancelled: counter(
                "watchfire_pool_tasks_cancelled_total",
                "Tasks cancelled while they waited or ran, also because the agent stopped.",
            )?,
            late: counter(
                "watchfire_pool_tasks_late_total",
                "Tasks not run because their deadline passed while they waited.",
            )?,
            skipped: counter(
                "watchfire_pool_tasks_skipped_total",
                "Tasks not run because another that they needed did not succeed.",
            )?,
            retried: counter("watchfire_pool_tasks_retried_total", "Tries of tasks after the first.")?,
            rejected: counter(
                "watchfire_pool_tasks_rejected_total",
                "Tasks not taken because the queue was full or the pool was stopping.",
            )?,
            runs_skipped: registered(
                registry,
                IntCounter::new(
                    "watchfire_pool_runs_skipped_total",
                    "Runs of scheduled tasks left out because the run before had not ended.",
                ),
            )?,
            threads_replaced: registered(
                registry,
                IntCounter::new(
                    "watchfire_pool_threads_replaced_total",
                    "Worker threads left behind because their call did not end in its time.",
                ),
            )?,
            threads_hanging: registered(
                registry,
                IntGauge::new("watchfire_pool_threads_hanging", "Worker threads left behind whose call has not ended."),
            )?,
            streams: registered(
                registry,
                IntGauge::new("watchfire_pool_streams", "Commands that stay and say something again and again."),
            )?,
            streams_restarted: registered(
                registry,
                IntCounter::new("watchfire_pool_streams_restarted_total", "Streams started again after they ended."),
            )?,
            frames_cut: registered(
                registry,
                IntCounter::new(
                    "watchfire_pool_frames_cut_total",
                    "Lines or blocks of streams that were longer than is kept, or not finished.",
                ),
            )?,
            duration: ByLane(Lane::ALL.map(|lane| durations.with_label_values(&[lane.as_str()]))),
        })
    }

    pub(super) fn rejected(&self, class: Class) {
        self.rejected.of(class).inc();
    }

    pub(super) fn set_queued(&self, lane: Lane, class: Class, tasks: usize) {
        self.queued.of(lane).of(class).set(i64::try_from(tasks).unwrap_or(i64::MAX));
    }

    pub(super) fn started(&self, lane: Lane, class: Class) {
        self.started.of(class).inc();
        self.running.of(lane).of(class).inc();
    }

    /// A task that had been started holds its place no longer; `ran` is `None` when nothing was run.
    pub(super) fn stopped(&self, lane: Lane, class: Class, ran: Option<Duration>) {
        if let Some(ran) = ran {
            self.duration.of(lane).observe(ran.as_secs_f64());
        }
        self.running.of(lane).of(class).dec();
    }

    pub(super) fn retried(&self, class: Class) {
        self.retried.of(class).inc();
    }

    /// A task came to its end.
    pub(super) fn ended(&self, class: Class, status: &Status) {
        let counter = match status {
            Status::TimedOut { .. } => &self.timed_out,
            Status::Cancelled => &self.cancelled,
            Status::Late { .. } => &self.late,
            Status::Skipped { .. } => &self.skipped,
            failed if failed.is_failure() => &self.failed,
            _ => return,
        };
        counter.of(class).inc();
    }

    pub(super) fn run_skipped(&self) {
        self.runs_skipped.inc();
    }

    pub(super) fn thread_replaced(&self, hanging: usize) {
        self.threads_replaced.inc();
        self.thread_ended(hanging);
    }

    pub(super) fn thread_ended(&self, hanging: usize) {
        self.threads_hanging.set(i64::try_from(hanging).unwrap_or(i64::MAX));
    }

    pub(super) fn set_streams(&self, streams: usize) {
        self.streams.set(i64::try_from(streams).unwrap_or(i64::MAX));
    }

    pub(super) fn stream_restarted(&self) {
        self.streams_restarted.inc();
    }

    pub(super) fn frame_cut(&self) {
        self.frames_cut.inc();
    }
}
