//! A task on its way through the pool.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::agenda::DueKey;
use super::capture::Tap;
use super::outcome::{Outcome, Status};
use super::task::{Class, Lane, Task};

/// What is called when a task begins.
pub(super) type Begun = Box<dyn FnOnce() + Send>;

/// What is called when a task has ended.
pub(super) type Ended = Box<dyn FnOnce(&Arc<Outcome>) + Send>;

/// What the pool and those who hold a handle share of one task. One allocation, as ten thousand may wait.
pub(super) struct Control {
    cancelled: AtomicBool,
    forgotten: AtomicBool,
    cancel: Notify,
    outcome: OnceLock<Arc<Outcome>>,
    ended: Notify,
    pub(super) tap: Tap,
}

impl Control {
    pub(super) fn new() -> Control {
        Control {
            cancelled: AtomicBool::new(false),
            forgotten: AtomicBool::new(false),
            cancel: Notify::new(),
            outcome: OnceLock::new(),
            ended: Notify::new(),
            tap: Tap::default(),
        }
    }

    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.cancel.notify_one();
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Has its outcome not be remembered.
    pub(super) fn forget(&self) {
        self.forgotten.store(true, Ordering::Release);
    }

    pub(super) fn is_forgotten(&self) -> bool {
        self.forgotten.load(Ordering::Acquire)
    }

    /// Waits until the task has to end. At most one waits at a time.
    pub(super) async fn cancelled(&self) {
        while !self.is_cancelled() {
            self.cancel.notified().await;
        }
    }

    pub(super) fn outcome(&self) -> Option<&Arc<Outcome>> {
        self.outcome.get()
    }

    /// Waits for the outcome.
    pub(super) async fn ended(&self) -> Arc<Outcome> {
        loop {
            // Made before the look, so that no change in between is missed.
            let ended = self.ended.notified();
            if let Some(outcome) = self.outcome() {
                return Arc::clone(outcome);
            }
            ended.await;
        }
    }

    /// Tells those who wait; the first outcome counts.
    pub(super) fn publish(&self, outcome: Arc<Outcome>) {
        self.tap.close();
        if self.outcome.set(outcome).is_ok() {
            self.ended.notify_waiters();
        }
    }
}

/// Where a task is found among those that wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ticket {
    pub(super) number: u64,
    pub(super) lane: Lane,
    pub(super) class: Class,
    pub(super) priority: i8,
}

impl Ticket {
    /// The order within a class: priority first, then age.
    pub(super) fn rank(self) -> (Reverse<i8>, u64) {
        (Reverse(self.priority), self.number)
    }

    /// What people call the task: the id it was given, or its number.
    pub(super) fn id(self, given: Option<&Arc<str>>) -> Arc<str> {
        given.map_or_else(|| format!("#{}", self.number).into(), Arc::clone)
    }
}

/// Another task that has to end first.
#[derive(Clone)]
pub(super) struct Dependency {
    /// Whose it is: numbers mean nothing in another pool.
    pub(super) pool: usize,
    pub(super) number: u64,
    pub(super) id: Arc<str>,
    pub(super) control: Arc<Control>,
    /// Whether it has to succeed.
    pub(super) success: bool,
}

/// A task on its way.
pub(super) struct Job {
    pub(super) ticket: Ticket,
    pub(super) task: Task,
    pub(super) control: Arc<Control>,
    pub(super) submitted: Instant,
    /// When it last began to wait for a place.
    pub(super) queued: Instant,
    pub(super) deadline: Option<Instant>,
    /// What the clock has in store for it: the deadline, or another try.
    pub(super) due: Option<DueKey>,
    /// How often it has run.
    pub(super) tries: u32,
    /// What became of the last try.
    pub(super) last: Option<Box<Outcome>>,
}

impl Job {
    /// Tells those who wait. The callback has been called before, without any lock held.
    pub(super) fn publish(self, outcome: Arc<Outcome>) {
        self.control.publish(outcome);
    }

    /// The outcome when there will be no (further) run.
    pub(super) fn without_run(&mut self, status: Status) -> Outcome {
        match (self.last.take(), status) {
            // What is late for another try has had one.
            (Some(last), Status::Late { .. }) => *last,
            (_, status) => Outcome { tries: self.tries, ..Outcome::without_run(status, self.queued.elapsed()) },
        }
    }

    /// How long it may run if it is started now.
    pub(super) fn time(&self, timeout: Duration) -> Duration {
        let timeout = self.task.timeout.unwrap_or(timeout);
        self.deadline.map_or(timeout, |deadline| timeout.min(deadline.saturating_duration_since(Instant::now())))
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // The runtime has been shut down and took the task with it: nobody shall wait for ever.
        if self.control.outcome().is_none() {
            self.control.publish(Arc::new(Outcome::without_run(Status::Cancelled, Duration::ZERO)));
        }
    }
}
