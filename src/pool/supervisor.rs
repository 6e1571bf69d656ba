//! The pool itself: who runs, who waits, and how it all stops.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::Registry;
use tokio::runtime;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::config::PoolConfig;
use super::handle::Handle;
use super::metrics::Metrics;
use super::outcome::{Outcome, Status};
use super::queue::FairQueue;
use super::run::{Limits, run};
use super::spawner::Spawners;
use super::task::{Class, Task};

/// Runs tasks, at most [`PoolConfig::max_concurrent`] at a time. Clones are the same pool.
///
/// A pool that is no longer needed is ended with [`Pool::shutdown`]. If the runtime ends before, running commands are
/// killed.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

/// Why a task was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SubmitError {
    /// As many tasks of its class wait as may.
    QueueFull {
        /// How many that is.
        capacity: usize,
    },
    /// The pool is stopping or has stopped.
    ShuttingDown,
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubmitError::QueueFull { capacity } => write!(f, "the pool's queue is full: {capacity} tasks wait"),
            SubmitError::ShuttingDown => write!(f, "the pool is shutting down"),
        }
    }
}

impl std::error::Error for SubmitError {}

/// What becomes of waiting tasks when the pool shuts down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Queued {
    /// They are cancelled at once.
    Cancel,
    /// They may run during the grace period; those that still wait at its end are cancelled.
    Drain,
}

struct Shared {
    runtime: runtime::Handle,
    metrics: Metrics,
    spawners: Spawners,
    /// A plain mutex: it is held for a few instructions, and never across an await.
    state: Mutex<State>,
    /// Told whenever a task has given back its place.
    freed: Notify,
}

struct State {
    config: PoolConfig,
    queue: FairQueue<Job>,
    /// The tasks that hold a place, with the means to cancel them. As long as somebody waits, all places are taken.
    running: HashMap<u64, Arc<Notify>>,
    next_number: u64,
    closed: bool,
}

/// A task on its way.
struct Job {
    number: u64,
    task: Task,
    submitted: Instant,
    cancel: Arc<Notify>,
    outcome: watch::Sender<Option<Arc<Outcome>>>,
}

impl Pool {
    /// A pool whose tasks run on `runtime` and whose instruments stand in `registry`. It costs nothing until the first
    /// task: the thread that starts commands is begun then.
    ///
    /// # Errors
    /// When `registry` already holds a pool's instruments.
    pub fn new(config: PoolConfig, registry: &Registry, runtime: runtime::Handle) -> prometheus::Result<Pool> {
        let state = State { config, queue: FairQueue::new(), running: HashMap::new(), next_number: 0, closed: false };
        Ok(Pool {
            shared: Arc::new(Shared {
                runtime,
                metrics: Metrics::register(registry)?,
                spawners: Spawners::new(),
                state: Mutex::new(state),
                freed: Notify::new(),
            }),
        })
    }

    /// Takes a task: it starts at once if a place is free, and waits otherwise. Never blocks.
    ///
    /// # Errors
    /// When too many tasks of its class wait, or the pool is stopping.
    pub fn submit(&self, task: Task) -> Result<Handle, SubmitError> {
        let class = task.class;
        let mut state = self.shared.state();
        let capacity = state.config.queue;
        let free = state.free();
        let refused = if state.closed {
            Some(SubmitError::ShuttingDown)
        } else if !free && state.queue.len(class) >= capacity {
            Some(SubmitError::QueueFull { capacity })
        } else {
            None
        };
        if let Some(error) = refused {
            self.shared.metrics.rejected(class);
            return Err(error);
        }
        let number = state.next_number;
        state.next_number += 1;
        let (sender, outcome) = watch::channel(None);
        let cancel = Arc::new(Notify::new());
        let job = Job { number, task, submitted: Instant::now(), cancel, outcome: sender };
        if free {
            let place = self.shared.occupy(&mut state, job);
            drop(state);
            self.shared.runtime.spawn(work(place));
        } else {
            state.queue.push(class, number, job);
            self.shared.count_queued(&mut state);
        }
        Ok(Handle { pool: self.clone(), number, class, outcome })
    }

    /// Puts another configuration in force: for tasks that start from now on, those that wait included. Who waits stays
    /// even if fewer may.
    pub fn reconfigure(&self, config: PoolConfig) {
        let mut state = self.shared.state();
        state.config = config;
        let mut places = Vec::new();
        while state.free() {
            let Some(job) = state.queue.pop() else { break };
            places.push(self.shared.occupy(&mut state, job));
        }
        self.shared.count_queued(&mut state);
        drop(state);
        places.into_iter().for_each(|place| drop(self.shared.runtime.spawn(work(place))));
    }

    pub(super) fn cancel(&self, class: Class, number: u64) -> bool {
        let mut state = self.shared.state();
        if let Some(job) = state.queue.remove(class, number) {
            self.shared.count_queued(&mut state);
            drop(state);
            self.shared.cancelled(job);
            return true;
        }
        match state.running.get(&number) {
            Some(cancel) => {
                cancel.notify_one();
                true
            }
            None => false,
        }
    }

    /// Stops the pool and returns when nothing of it is left running. From now on no task is taken; those that wait are
    /// treated as `queued` says; those that run have `grace` to end by themselves and are then cancelled, which takes
    /// each at most its kill grace and a little.
    pub async fn shutdown(&self, queued: Queued, grace: Duration) {
        self.shared.state().closed = true;
        if queued == Queued::Cancel {
            self.shared.cancel_queued();
        }
        if timeout(grace, self.shared.idle()).await.is_err() {
            self.shared.cancel_queued();
            self.shared.state().running.values().for_each(|cancel| cancel.notify_one());
            self.shared.idle().await;
        }
        self.shared.spawners.close();
    }
}

impl State {
    fn free(&self) -> bool {
        self.running.len() < self.config.max_concurrent.max(1)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, so the state behind a poisoned lock is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a job a place.
    fn occupy(self: &Arc<Self>, state: &mut State, job: Job) -> Place {
        state.running.insert(job.number, Arc::clone(&job.cancel));
        self.metrics.started(job.task.class);
        let config = state.config;
        Place { number: job.number, class: job.task.class, job: Some(job), config, shared: Arc::clone(self) }
    }

    fn count_queued(&self, state: &mut State) {
        for class in Class::ALL {
            self.metrics.set_queued(class, state.queue.len(class));
        }
    }

    fn cancel_queued(&self) {
        let mut state = self.state();
        let jobs = state.queue.drain();
        self.count_queued(&mut state);
        drop(state);
        jobs.into_iter().for_each(|job| self.cancelled(job));
    }

    /// A job left the queue without having run.
    fn cancelled(&self, job: Job) {
        self.metrics.ended(job.task.class, &Status::Cancelled, None);
        job.publish(Outcome::without_run(Status::Cancelled, job.submitted.elapsed()));
    }

    /// Waits until nothing runs and nothing waits.
    async fn idle(&self) {
        loop {
            // Made before the look, so that no change in between is missed.
            let freed = self.freed.notified();
            {
                let state = self.state();
                if state.running.is_empty() && state.queue.is_empty() {
                    return;
                }
            }
            freed.await;
        }
    }
}

impl Job {
    fn publish(&self, outcome: Outcome) {
        self.outcome.send_replace(Some(Arc::new(outcome)));
    }
}

/// One of the places where tasks run, and the job that has it. It is given back by [`Place::finish`], or when this is
/// dropped because the runtime drops the work half done.
struct Place {
    job: Option<Job>,
    number: u64,
    class: Class,
    /// The configuration in force when the job got the place.
    config: PoolConfig,
    shared: Arc<Shared>,
}

/// Runs the job that has this place, then those that get it after.
async fn work(place: Place) {
    let mut next = Some(place);
    while let Some(place) = next {
        let Some(job) = &place.job else { return };
        let limits = Limits {
            timeout: job.task.timeout.unwrap_or(place.config.timeout),
            kill_grace: job.task.kill_grace.unwrap_or(place.config.kill_grace),
            output: job.task.output_limit.unwrap_or(place.config.output_limit),
        };
        let waited = job.submitted.elapsed();
        let outcome = run(&job.task, &limits, &place.shared.spawners, &job.cancel, waited).await;
        tracing::debug!(task = job.task.name, id = job.number, ran = ?outcome.ran, "command {}", outcome.status);
        next = place.finish(outcome);
    }
}

impl Place {
    /// Makes the outcome known and gives the place to the next who waits.
    fn finish(mut self, outcome: Outcome) -> Option<Place> {
        let job = self.job.take()?;
        let ran = (!outcome.ran.is_zero()).then_some(outcome.ran);
        self.shared.metrics.ended(self.class, &outcome.status, ran);
        // One step for all who look: the outcome is there when the place is free, and the other way round.
        let mut state = self.shared.state();
        self.give_back(&mut state);
        job.publish(outcome);
        let next = if state.free() { state.queue.pop() } else { None };
        let next = next.map(|job| self.shared.occupy(&mut state, job));
        self.shared.count_queued(&mut state);
        drop(state);
        self.shared.freed.notify_waiters();
        next
    }

    fn give_back(&self, state: &mut State) {
        state.running.remove(&self.number);
        self.shared.metrics.stopped(self.class);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.job.is_some() {
            self.give_back(&mut self.shared.state());
            self.shared.freed.notify_waiters();
        }
    }
}
