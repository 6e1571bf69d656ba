//! The pool's own instruments.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry,
};

use super::config::PoolConfig;
use super::held::Wait;
use super::outcome::{Status, Usage};
use super::remains::Keeper;
use super::task::{Class, Lane};

/// From a call that only looks to a backup.
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 600.0];

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
    held: [ByLane<ByClass<IntGauge>>; Wait::ALL.len()],
    places: ByLane<IntGauge>,
    queue_capacity: IntGauge,
    unkillable: [IntGauge; Keeper::ALL.len()],
    streams_running: IntGauge,
    streams_paused: IntGauge,
    streams_restarted: IntCounter,
    frames_cut: IntCounter,
    duration: ByLane<Histogram>,
    wait: ByClass<Histogram>,
    cpu: ByClass<Counter>,
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// One instrument for each lane and class, made from the values of the labels `class` and `lane`.
fn by_lane_and_class<T>(make: impl Fn(&str, &str) -> T) -> ByLane<ByClass<T>> {
    ByLane(Lane::ALL.map(|lane| ByClass(Class::ALL.map(|class| make(class.as_str(), lane.as_str())))))
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
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, IntGaugeVec::new(Opts::new(name, help), labels))
        };
        let gauge = |name: &str, help: &str| {
            let vec = gauges(name, help, &["class", "lane"])?;
            Ok::<_, prometheus::Error>(by_lane_and_class(|class, lane| vec.with_label_values(&[class, lane])))
        };
        let histograms = |name: &str, help: &str, label: &str| {
            let opts = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
            registered(registry, HistogramVec::new(opts, &[label]))
        };
        // A counter that is there from the start lets rate() see its first increment.
        let counter = |name: &str, help: &str| {
            let vec = registered(registry, IntCounterVec::new(Opts::new(name, help), &["class"]))?;
            Ok::<_, prometheus::Error>(ByClass(Class::ALL.map(|class| vec.with_label_values(&[class.as_str()]))))
        };
        let durations = histograms(
            "watchfire_pool_task_duration_seconds",
            "Time from the start of a command to the end of the last process of its group, and of other tasks to their \
             answer.",
            "lane",
        )?;
        let waits = histograms(
            "watchfire_pool_task_wait_seconds",
            "Time that tasks waited for a free place in the pool before they were started; each try counts.",
            "class",
        )?;
        let held = gauges(
            "watchfire_pool_tasks_held",
            "Tasks that do not wait for a place in the pool yet: for others to end, or for the moment of another try.",
            &["class", "lane", "waits_for"],
        )?;
        let places = gauges(
            "watchfire_pool_slots",
            "Places for tasks in the pool; notifications and actions have one more each when all are taken.",
            &["lane"],
        )?;
        let unkillable = gauges(
            "watchfire_pool_commands_unkillable",
            "Commands that live on because the kernel holds them, or because they run as another user whom the agent may \
             not signal.",
            &["reason"],
        )?;
        let streams = gauges(
            "watchfire_pool_streams",
            "Commands that stay and say something again and again; paused are those that wait for a start or were stopped.",
            &["state"],
        )?;
        let cpu = Opts::new("watchfire_pool_command_cpu_seconds_total", "CPU time of commands that have ended.");
        let cpu = registered(registry, CounterVec::new(cpu, &["class"]))?;
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
                "Tasks not taken because the queue was full, their last run lives on, or the pool was stopping.",
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
            held: Wait::ALL
                .map(|wait| by_lane_and_class(|class, lane| held.with_label_values(&[class, lane, wait.as_str()]))),
            places: ByLane(Lane::ALL.map(|lane| places.with_label_values(&[lane.as_str()]))),
            queue_capacity: registered(
                registry,
                IntGauge::new(
                    "watchfire_pool_queue_capacity",
                    "Tasks of each class and lane that may wait for a place in the pool; more are rejected.",
                ),
            )?,
            unkillable: Keeper::ALL.map(|keeper| unkillable.with_label_values(&[keeper.as_str()])),
            streams_running: streams.with_label_values(&["running"]),
            streams_paused: streams.with_label_values(&["paused"]),
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
            wait: ByClass(Class::ALL.map(|class| waits.with_label_values(&[class.as_str()]))),
            cpu: ByClass(Class::ALL.map(|class| cpu.with_label_values(&[class.as_str()]))),
        })
    }

    pub(super) fn rejected(&self, class: Class) {
        self.rejected.of(class).inc();
    }

    pub(super) fn set_queued(&self, lane: Lane, class: Class, tasks: usize) {
        self.queued.of(lane).of(class).set(whole(tasks));
    }

    pub(super) fn set_held(&self, lane: Lane, class: Class, wait: Wait, tasks: usize) {
        let [others, moment] = &self.held;
        let gauge = match wait {
            Wait::Others => others,
            Wait::Moment => moment,
        };
        gauge.of(lane).of(class).set(whole(tasks));
    }

    /// What the configuration allows.
    pub(super) fn set_places(&self, config: &PoolConfig) {
        for lane in Lane::ALL {
            self.places.of(lane).set(whole(config.places(lane)));
        }
        self.queue_capacity.set(whole(config.queue));
    }

    /// So many more cannot be ended, or fewer.
    pub(super) fn unkillable(&self, keeper: Keeper, more: i64) {
        let [kernel, user] = &self.unkillable;
        let gauge = match keeper {
            Keeper::Kernel => kernel,
            Keeper::OtherUser => user,
        };
        gauge.add(more);
    }

    /// What a command has used.
    pub(super) fn used(&self, class: Class, usage: &Usage) {
        self.cpu.of(class).inc_by((usage.user + usage.system).as_secs_f64());
    }

    pub(super) fn started(&self, lane: Lane, class: Class, waited: Duration) {
        self.wait.of(class).observe(waited.as_secs_f64());
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
        self.threads_hanging.set(whole(hanging));
    }

    pub(super) fn set_streams(&self, running: usize, paused: usize) {
        self.streams_running.set(whole(running));
        self.streams_paused.set(whole(paused));
    }

    pub(super) fn stream_restarted(&self) {
        self.streams_restarted.inc();
    }

    pub(super) fn frame_cut(&self) {
        self.frames_cut.inc();
    }
}
