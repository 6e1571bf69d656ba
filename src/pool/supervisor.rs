//! The pool as others see it.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tokio::runtime;
use tokio::time::{Instant, timeout};

use super::agenda::Due;
use super::cgroup::ControlGroups;
use super::config::PoolConfig;
use super::guard::Guarding;
use super::handle::Handle;
use super::held::{Released, Wait};
use super::job::{Control, Job, Ticket};
use super::latest::Latest;
use super::metrics::Metrics;
use super::outcome::Status;
use super::shared::{Aftermath, Shared, State, TOLD};
use super::task::{Class, Lane, Task};

/// Runs tasks, at most so many at a time as [`PoolConfig`] says. Clones are the same pool.
///
/// A pool that is no longer needed is ended with [`Pool::shutdown`]. If the runtime ends before, running commands are
/// killed.
#[derive(Clone)]
pub struct Pool {
    pub(super) shared: Arc<Shared>,
}

/// Why a task was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SubmitError {
    /// As many tasks of its class wait as may.
    QueueFull {
        /// What they wait for.
        lane: Lane,
        /// Whose they are.
        class: Class,
        /// How many that is.
        capacity: usize,
    },
    /// So many calls do not end that no further one is begun.
    ThreadsHang {
        /// How many that is.
        threads: usize,
    },
    /// Its last run cannot be ended, and lives on. Notifications are delivered all the same.
    LivesOn,
    /// The task is to run after one of another pool.
    OtherPool,
    /// Only a command can be a stream.
    NoCommand,
    /// The pool is stopping or has stopped.
    ShuttingDown,
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubmitError::QueueFull { lane, class, capacity } => {
                let (class, lane) = (class.as_str(), lane.as_str());
                write!(f, "the pool's queue is full: {capacity} tasks wait (class {class}, lane {lane})")
            }
            SubmitError::ThreadsHang { threads } => write!(f, "the pool's threads hang: {threads} calls do not end"),
            SubmitError::LivesOn => write!(f, "its last run could not be ended and lives on"),
            SubmitError::OtherPool => write!(f, "it is to run after a task of another pool"),
            SubmitError::NoCommand => write!(f, "it is no command"),
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

impl Pool {
    /// A pool whose tasks run on `runtime` and whose instruments stand in `registry`. It costs nothing until the first
    /// task: the threads that start commands and make calls are begun then.
    ///
    /// # Errors
    /// When `registry` already holds a pool's instruments.
    pub fn new(config: PoolConfig, registry: &Registry, runtime: runtime::Handle) -> prometheus::Result<Pool> {
        Ok(Pool { shared: Arc::new(Shared::new(config, Metrics::register(registry)?, runtime)) })
    }

    /// Has a guard (see [`guard`](super::guard)) see to it that what commands start in turn does not outlive the agent
    /// when it is killed. `argv` is the command line of a program that does nothing but [`guard::run`](super::guard::run).
    ///
    /// # Errors
    /// When the memory cannot be had that the agent and its guard share. The pool works without.
    pub fn with_guard<I, S>(&self, argv: I) -> io::Result<()>
    where
        I: IntoIterator<Item = S>,
        S: Into<OsString>,
    {
        let argv = argv.into_iter().map(Into::into).collect();
        self.shared.spawners.guard(Guarding::new(argv)?);
        Ok(())
    }

    /// Has commands whose memory is limited run in control groups of their own, where the agent's is delegated to it (as
    /// systemd does with `Delegate=yes`): then the limit is that of all their processes together, and none of these gets
    /// away. The agent itself moves into a group below its own for that. Returns whether it is so.
    ///
    /// # Errors
    /// When the group is delegated, but cannot be used. The pool works without.
    pub fn with_control_groups(&self) -> io::Result<bool> {
        let groups = ControlGroups::find()?;
        let found = groups.is_some();
        groups.into_iter().for_each(|groups| self.shared.spawners.contain(groups));
        Ok(found)
    }

    /// Where the pool's tasks run.
    pub fn runtime(&self) -> &runtime::Handle {
        &self.shared.runtime
    }

    /// Takes a task: it starts at once if a place is free, and waits otherwise. Never blocks.
    ///
    /// # Errors
    /// When too many tasks of its class wait, the threads for calls hang, or the pool is stopping.
    pub fn submit(&self, task: Task) -> Result<Handle, SubmitError> {
        self.try_submit(Box::new(task)).map_err(|(error, _)| error)
    }

    /// As [`Pool::submit`], and gives the task back that is not taken.
    pub(super) fn try_submit(&self, task: Box<Task>) -> Result<Handle, (SubmitError, Box<Task>)> {
        let shared = &self.shared;
        let mut after = Aftermath::default();
        let mut state = shared.state();
        if let Some(error) = self.refusal(&state, &task) {
            let is_news = matches!(error, SubmitError::QueueFull { .. }) && state.queue_is_full(&task);
            drop(state);
            if is_news {
                let pause = TOLD.as_secs();
                tracing::warn!(task = &*task.name, "not run: {error} (said at most once in {pause}s; see pool.queue)");
            }
            shared.metrics.rejected(task.class);
            return Err((error, task));
        }
        let Task { class, priority, id, deadline, .. } = &*task;
        let ticket = Ticket { number: state.number(), lane: task.work.lane(), class: *class, priority: *priority };
        let control = Arc::new(Control::new());
        let handle = Handle { pool: self.clone(), ticket, id: id.clone(), control: Arc::clone(&control) };
        let now = Instant::now();
        let deadline = deadline.and_then(|limit| now.checked_add(limit));
        let mut job = Box::new(Job {
            ticket,
            task: *task,
            control,
            submitted: now,
            queued: now,
            deadline,
            due: None,
            tries: 0,
            last: None,
        });
        if job.task.after.is_empty()
            && let Some(seat) = state.take_place(ticket)
        {
            shared.begin(&mut state, seat, job, &mut after);
        } else {
            job.due = deadline.map(|deadline| shared.plan(&mut state, deadline, Due::Late(ticket)));
            let released = if job.task.after.is_empty() { Some(Released::Ready(job)) } else { state.held.block(job) };
            if let Some(released) = released {
                state.take_in(released, &mut after);
                shared.fill(&mut state, &mut after);
            } else {
                shared.count_queued(&state, ticket.lane);
            }
        }
        drop(state);
        shared.settle(after);
        Ok(handle)
    }

    /// Why this task cannot be taken, if it cannot.
    fn refusal(&self, state: &State, task: &Task) -> Option<SubmitError> {
        let (lane, class, capacity) = (task.work.lane(), task.class, state.config.queue);
        let waiting = if task.after.is_empty() {
            let trying = state.held.count(Wait::Moment, lane, class);
            let free = state.lanes.is_free(&state.config, lane, class);
            match free {
                // Those that fail at once and are tried again add up although they find a place each time.
                true => (task.retries > 0 && trying > 0).then_some(trying),
                false => Some(state.lanes.waiting(lane, class) + trying),
            }
        } else {
            Some(state.held.blocked(class))
        };
        if state.closed {
            Some(SubmitError::ShuttingDown)
        } else if class != Class::Sink && task.id.as_ref().is_some_and(|id| state.living.contains_key(id)) {
            Some(SubmitError::LivesOn)
        } else if task.after.iter().any(|other| other.pool != self.identity()) {
            Some(SubmitError::OtherPool)
        } else if waiting.is_some_and(|waiting| waiting >= capacity) {
            Some(SubmitError::QueueFull { lane, class, capacity })
        } else if lane == Lane::Thread {
            let threads = self.shared.workers.hanging();
            (threads >= super::threads::MAX_HANGING).then_some(SubmitError::ThreadsHang { threads })
        } else {
            None
        }
    }

    /// Puts another configuration in force: for tasks that start from now on, those that wait included. Who waits stays
    /// even if fewer may.
    pub fn reconfigure(&self, config: PoolConfig) {
        let mut after = Aftermath::default();
        let mut state = self.shared.state();
        state.config = config;
        self.shared.metrics.set_places(&config);
        self.shared.fill(&mut state, &mut after);
        drop(state);
        self.shared.settle(after);
    }

    /// The latest results under this id.
    pub fn latest(&self, id: &str) -> Option<Latest> {
        self.shared.results.get(id)
    }

    pub(super) fn cancel(&self, ticket: Ticket) -> bool {
        let mut after = Aftermath::default();
        let mut state = self.shared.state();
        if let Some(job) = state.withdraw(ticket) {
            after.ends.push_back((job, Status::Cancelled));
            self.shared.count_queued(&state, ticket.lane);
            drop(state);
            self.shared.settle(after);
            return true;
        }
        let State { running, streams, .. } = &*state;
        let running = running.get(&ticket.number).map(|active| &active.control);
        match running.or_else(|| streams.get(&ticket.number).map(|stream| &stream.control)) {
            Some(control) => {
                control.cancel();
                true
            }
            None => false,
        }
    }

    /// What tells this pool from another.
    pub(super) fn identity(&self) -> usize {
        Arc::as_ptr(&self.shared).addr()
    }

    /// Stops the pool and returns when nothing of it is left running. From now on no task is taken and nothing is run on
    /// schedule; those that wait are treated as `queued` says; those that run have `grace` to end by themselves and are
    /// then cancelled, which takes each at most its kill grace and a little.
    pub async fn shutdown(&self, queued: Queued, grace: Duration) {
        {
            let mut state = self.shared.state();
            state.closed = true;
            state.forget_schedules();
            // These have no end to wait for.
            state.streams.values().for_each(|stream| stream.control.cancel());
        }
        if queued == Queued::Cancel {
            self.shared.cancel_waiting();
        }
        if timeout(grace, self.shared.idle()).await.is_err() {
            self.shared.cancel_waiting();
            self.shared.state().running.values().for_each(|active| active.control.cancel());
            self.shared.idle().await;
        }
        self.shared.clock.notify_one();
        self.shared.workers.close();
        self.shared.spawners.close().await;
    }
}
