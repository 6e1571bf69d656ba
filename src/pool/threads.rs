//! The worker threads, for calls that block.
//!
//! A call cannot be ended from outside. So one that overruns its time is left behind together with its thread, and
//! another thread takes the place; the one left behind ends when its call does. With [`MAX_HANGING`] of them there is
//! something wrong that more threads do not cure: then calls are refused.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::job::Control;
use super::metrics::Metrics;
use super::outcome::{Outcome, StartError, StartStep, Status};
use super::run::Bounds;
use super::task::{Answer, CallOnce};
use crate::model::Timestamp;

/// With this many calls that do not end no further one is begun.
pub(super) const MAX_HANGING: usize = 8;

/// How long a thread waits for another call before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// What a call can ask about its own run.
pub struct Running {
    control: Arc<Control>,
    began: Instant,
    limit: Duration,
}

impl Running {
    /// Whether the call should end: it was cancelled, or its time is over.
    pub fn is_cancelled(&self) -> bool {
        self.control.is_cancelled() || self.left().is_zero()
    }

    /// The time it still has.
    pub fn left(&self) -> Duration {
        self.limit.saturating_sub(self.began.elapsed())
    }
}

/// The threads that make calls.
pub(super) struct Workers {
    inner: Mutex<Inner>,
    /// Told when there is a call to make, or no more to wait for.
    more: Condvar,
    metrics: Metrics,
}

#[derive(Default)]
struct Inner {
    calls: VecDeque<Call>,
    /// Threads that wait for a call.
    idle: usize,
    /// Calls left behind that have not ended.
    hanging: usize,
    closed: bool,
}

/// A call to make. Its stage is only changed under the lock.
struct Call {
    stage: Arc<Mutex<Stage>>,
    make: Box<dyn FnOnce() + Send>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Running,
    LeftBehind,
    /// Whoever gives the call up from now on leaves nobody behind.
    Ended,
}

impl Workers {
    pub(super) fn new(metrics: Metrics) -> Arc<Workers> {
        Arc::new(Workers { inner: Mutex::default(), more: Condvar::new(), metrics })
    }

    /// How many calls that were left behind have not ended.
    pub(super) fn hanging(&self) -> usize {
        lock(&self.inner).hanging
    }

    /// Lets the threads end that have nothing to do. Those that hang cannot be helped.
    pub(super) fn close(&self) {
        lock(&self.inner).closed = true;
        self.more.notify_all();
    }

    /// Makes a call and waits for its end, its time limit or its cancellation.
    pub(super) async fn run(
        self: &Arc<Self>,
        name: &str,
        call: CallOnce,
        bounds: &Bounds,
        control: &Arc<Control>,
        waited: Duration,
    ) -> Outcome {
        let running = Running { control: Arc::clone(control), began: Instant::now(), limit: bounds.timeout };
        let (reply, mut result) = oneshot::channel();
        let make = move || {
            let answer = catch_unwind(AssertUnwindSafe(|| call(&running)));
            // Nobody waits when it was left behind.
            let _ = reply.send(answer.map_err(|panic| Status::Panicked(panic_message(&*panic))));
        };
        let started = Timestamp::now();
        let began = Instant::now();
        let stage = match self.begin(Box::new(make)) {
            Ok(stage) => stage,
            Err(source) => {
                let error = StartError { program: name.into(), step: StartStep::Worker, source: source.into() };
                return Outcome::without_run(Status::NotStarted(error), waited);
            }
        };
        let answer: Result<Answer, Status> = tokio::select! {
            biased;
            answer = &mut result => answer.unwrap_or(Err(Status::Cancelled)),
            () = control.cancelled() => match timeout(bounds.kill_grace, &mut result).await {
                Ok(_answer) => Err(Status::Cancelled),
                Err(_) => {
                    self.leave(name, &stage);
                    Err(Status::Cancelled)
                }
            },
            () = sleep(bounds.timeout) => {
                self.leave(name, &stage);
                Err(Status::TimedOut { limit: bounds.timeout })
            }
        };
        // One that ends as soon as it is told to did not end by itself.
        let answer = if control.is_cancelled() { Err(Status::Cancelled) } else { answer };
        Outcome::of_answer(answer, started, waited, began.elapsed())
    }

    /// Hands a call to a thread that has nothing to do, or to a new one.
    fn begin(self: &Arc<Self>, make: Box<dyn FnOnce() + Send>) -> io::Result<Arc<Mutex<Stage>>> {
        let stage = Arc::new(Mutex::new(Stage::Waiting));
        let mut inner = lock(&self.inner);
        if inner.hanging >= MAX_HANGING {
            let message = format!("{MAX_HANGING} calls hang");
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
        }
        inner.calls.push_back(Call { stage: Arc::clone(&stage), make });
        if inner.calls.len() > inner.idle {
            let workers = Arc::clone(self);
            let begun = std::thread::Builder::new().name("pool-worker".into()).spawn(move || workers.serve());
            if let Err(error) = begun {
                inner.calls.pop_back();
                return Err(error);
            }
        }
        drop(inner);
        self.more.notify_one();
        Ok(stage)
    }

    /// Leaves a call to itself.
    fn leave(&self, name: &str, stage: &Mutex<Stage>) {
        let mut inner = lock(&self.inner);
        let mut stage = lock(stage);
        if *stage == Stage::Running {
            inner.hanging += 1;
            self.metrics.thread_replaced(inner.hanging);
            tracing::warn!(task = name, "a call does not end; its thread is left behind and another takes its place");
        }
        *stage = Stage::LeftBehind;
    }

    fn serve(&self) {
        let mut inner = lock(&self.inner);
        loop {
            if let Some(Call { stage, make }) = inner.calls.pop_front() {
                let wanted = std::mem::replace(&mut *lock(&stage), Stage::Running) == Stage::Waiting;
                drop(inner);
                if wanted {
                    make();
                } else {
                    drop(make);
                }
                inner = lock(&self.inner);
                if wanted && std::mem::replace(&mut *lock(&stage), Stage::Ended) == Stage::LeftBehind {
                    inner.hanging = inner.hanging.saturating_sub(1);
                    self.metrics.thread_ended(inner.hanging);
                    return;
                }
            } else if inner.closed {
                return;
            } else {
                inner.idle += 1;
                let (back, waited) = self.more.wait_timeout(inner, IDLE).unwrap_or_else(PoisonError::into_inner);
                inner = back;
                inner.idle -= 1;
                if waited.timed_out() && inner.calls.is_empty() {
                    return;
                }
            }
        }
    }
}

/// What a panic says.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message").to_owned()
}

/// Nothing panics while one of these locks is held, so a poisoned one still guards whole values.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use prometheus::Registry;

    use super::*;

    #[test]
    fn a_call_that_ends_in_the_moment_in_which_it_is_given_up_does_not_hang() {
        let workers = Workers::new(Metrics::register(&Registry::new()).unwrap());
        for _ in 0..2 * MAX_HANGING {
            let (done, ended) = mpsc::channel();
            let stage = workers.begin(Box::new(move || done.send(()).unwrap())).unwrap();
            ended.recv().unwrap();
            while lock(&workers.inner).idle == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            workers.leave("x", &stage);
            assert_eq!(workers.hanging(), 0);
        }
        workers.close();
    }
}
