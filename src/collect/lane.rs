//! Lanes: the threads that collectors run on, and how one that hangs is left behind.
//!
//! A lane's thread runs the collectors that are due, one after the other. The tick thread hands it the work and waits
//! with a limit. A collector that overruns its deadline keeps the thread it is stuck in; the lane gets a new one for the
//! rest. When the stuck call returns at last, its thread sees that it has been replaced, gives the collector back and
//! ends.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Collector, Sampling};
use crate::model::{Section, SeriesTable, Writer, WriterStats};

/// How long a tick waits for a lane of its own; what is not there by then comes with the next tick.
pub(super) const PATIENCE: Duration = Duration::from_millis(40);

/// A collector with all that its runs need.
pub(super) struct Unit {
    pub name: &'static str,
    pub collector: Box<dyn Collector>,
    pub writer: Writer,
    pub table: Arc<SeriesTable>,
}

/// What a collector's runs must keep to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How long one may take.
    pub deadline: Duration,
    pub series: usize,
}

/// What a collector's last run gave.
#[derive(Clone)]
pub(super) struct Outcome {
    pub section: Arc<Section>,
    pub stats: WriterStats,
    pub began: Instant,
    pub duration: Duration,
    /// What went wrong, and whether that is only that there is nothing to report.
    pub error: Option<Failure>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Failure {
    pub message: String,
    pub no_data: bool,
}

struct Slot {
    name: &'static str,
    limits: Limits,
    /// What its next run is for.
    sampling: Sampling,
    /// `None` while a thread has it.
    unit: Option<Box<Unit>>,
    last: Option<Outcome>,
    /// It has overrun its deadline and is not back.
    stuck: bool,
}

struct State {
    slots: Vec<Slot>,
    queue: VecDeque<usize>,
    current: Option<(usize, Instant)>,
    /// Which thread is the lane's: one that finds another number here has been replaced.
    thread: u64,
    stop: bool,
}

struct Shared {
    /// Guards all of a lane; held for moments only, never while a collector runs.
    state: Mutex<State>,
    work: Condvar,
    done: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the lane's thread to be done with all it was given.
    fn sleep<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.done.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }
}

/// A thread and the collectors that it runs.
pub(super) struct Lane {
    name: String,
    shared: Arc<Shared>,
    /// The collectors did not finish in the time that the last tick waited for them.
    late: bool,
}

impl Lane {
    /// A lane of these collectors, each with its limits.
    pub fn new(name: &str, units: Vec<(Unit, Limits)>) -> Lane {
        let slots = units
            .into_iter()
            .map(|(unit, limits)| Slot {
                name: unit.name,
                limits,
                sampling: Sampling::Tick,
                unit: Some(Box::new(unit)),
                last: None,
                stuck: false,
            })
            .collect();
        let state = State { slots, queue: VecDeque::new(), current: None, thread: 0, stop: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), work: Condvar::new(), done: Condvar::new() });
        let lane = Lane { name: name.to_string(), shared, late: false };
        lane.spawn(0);
        lane
    }

    fn spawn(&self, number: u64) {
        let shared = self.shared.clone();
        // Fifteen bytes are what the kernel keeps of a thread's name.
        let name: String = format!("collect-{}", self.name).chars().take(15).collect();
        let spawned =
            std::thread::Builder::new().name(name).stack_size(512 * 1024).spawn(move || run_thread(&shared, number));
        if let Err(e) = spawned {
            tracing::error!(lane = self.name, error = %e, "cannot start a collector thread; its metrics are missing");
        }
    }

    /// Hands the collectors at `due` to the lane's thread. Those that still wait or run are not handed over again.
    pub fn start(&mut self, due: impl Iterator<Item = usize>, sampling: Sampling) {
        let mut state = self.shared.lock();
        if state.current.is_none() && state.queue.is_empty() {
            let runs = state.slots.iter().filter_map(|s| s.last.as_ref());
            self.late &= runs.map(|o| o.duration).max().is_some_and(|d| d > PATIENCE);
        }
        for index in due {
            let waits = state.queue.contains(&index);
            let Some(slot) = state.slots.get_mut(index).filter(|s| s.unit.is_some() && !waits) else { continue };
            slot.sampling = sampling;
            state.queue.push_back(index);
        }
        if !state.queue.is_empty() {
            self.shared.work.notify_one();
        }
    }

    /// Waits until all that was handed over is done or overdue, at most until `limit`.
    ///
    /// A lane that was still busy at its limit the last time, and has not been quicker since, is not waited for.
    pub fn wait(&mut self, limit: Instant) {
        let patient = !self.late;
        let shared = self.shared.clone();
        let mut state = shared.lock();
        loop {
            let now = Instant::now();
            if let Some((index, started)) = state.current {
                let deadline = started + state.slots.get(index).map_or(Duration::ZERO, |s| s.limits.deadline);
                if now >= deadline {
                    let number = Self::leave_behind(&mut state, index);
                    drop(state);
                    self.spawn(number);
                    state = shared.lock();
                    continue;
                }
                if now >= limit || !patient {
                    break;
                }
                state = shared.sleep(state, deadline.min(limit) - now);
            } else if state.queue.is_empty() {
                self.late = false;
                return;
            } else if now >= limit || !patient {
                break;
            } else {
                // Not until the limit: nobody says when the first one begins, and it may hang.
                let next =
                    state.queue.front().and_then(|i| state.slots.get(*i)).map_or(PATIENCE, |s| s.limits.deadline);
                state = shared.sleep(state, next.min(limit - now));
            }
        }
        self.late = state.current.is_some() || !state.queue.is_empty();
    }

    /// Other limits for its collectors; that of series counts from each one's next run on.
    pub fn set_limits(&self, limits: Limits) {
        for slot in &mut self.shared.lock().slots {
            slot.limits = limits;
        }
    }

    /// Takes the lane from the thread that is stuck; the number of the one to come.
    fn leave_behind(state: &mut State, index: usize) -> u64 {
        state.current = None;
        state.thread += 1;
        if let Some(slot) = state.slots.get_mut(index) {
            slot.stuck = true;
            tracing::warn!(
                collector = slot.name,
                timeout = ?slot.limits.deadline,
                "collector hangs: left out until it comes back"
            );
        }
        state.thread
    }

    /// Each collector's name, whether it hangs, and what its last run gave.
    pub fn outcomes(&self, mut each: impl FnMut(&'static str, bool, Option<&Outcome>)) {
        for slot in &self.shared.lock().slots {
            each(slot.name, slot.stuck, slot.last.as_ref());
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.work.notify_all();
    }
}

fn run_thread(shared: &Shared, number: u64) {
    let mut state = shared.lock();
    loop {
        if state.stop || state.thread != number {
            return;
        }
        let Some(index) = state.queue.pop_front() else {
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let Some(slot) = state.slots.get_mut(index) else { continue };
        let (sampling, limits) = (slot.sampling, slot.limits);
        let Some(mut unit) = slot.unit.take() else { continue };
        state.current = Some((index, Instant::now()));
        drop(state);

        let outcome = run(&mut unit, sampling, limits.series);

        state = shared.lock();
        let replaced = state.thread != number;
        if let Some(slot) = state.slots.get_mut(index) {
            if slot.stuck {
                tracing::info!(collector = slot.name, after = ?outcome.duration, "collector is back");
            }
            slot.unit = Some(unit);
            slot.last = Some(outcome);
            slot.stuck = false;
        }
        if replaced {
            return;
        }
        state.current = None;
        if state.queue.is_empty() {
            shared.done.notify_all();
        }
    }
}

/// Runs the collector once. A panic in it is a failure like another: its writer is made anew.
fn run(unit: &mut Unit, sampling: Sampling, series: usize) -> Outcome {
    let started = Instant::now();
    unit.writer.set_limit(series);
    let result = catch_unwind(AssertUnwindSafe(|| {
        unit.collector.begin(sampling);
        unit.collector.collect(&mut unit.writer)
    }));
    let error = match result {
        Ok(Ok(())) => None,
        Ok(Err(e)) => Some(Failure { no_data: matches!(e, super::CollectError::NoData(_)), message: e.to_string() }),
        Err(_) => {
            unit.writer = Writer::new(unit.name, unit.table.clone(), series);
            Some(Failure { no_data: false, message: "the collector panicked (a bug: please report it)".to_string() })
        }
    };
    let (section, stats) = unit.writer.finish();
    Outcome { section, stats, began: started, duration: started.elapsed(), error }
}
