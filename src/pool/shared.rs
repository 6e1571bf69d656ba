//! The pool's inside: who has a place, who waits, and what the end of one means to others.
//!
//! Nothing that is not the pool's own (a callback, what makes a scheduled task) is called while the state is locked. So
//! a change is made in two steps: under the lock it is noted in an [`Aftermath`] what else has to happen, and
//! [`Shared::settle`] does that afterwards.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::agenda::{Agenda, Due, DueKey};
use super::config::PoolConfig;
use super::held::{Held, Released, Wait};
use super::job::{Control, Ended, Job, Ticket};
use super::lanes::{Lanes, Seat};
use super::latest::{Results, shown};
use super::metrics::Metrics;
use super::outcome::{Outcome, Status};
use super::place::{Place, work};
use super::schedule::Schedules;
use super::spawner::Spawners;
use super::stream::Streaming;
use super::supervisor::SubmitError;
use super::task::{Class, Lane, Task};
use super::threads::Workers;
use super::timekeeper;
use crate::model::Timestamp;

pub(super) struct Shared {
    pub(super) runtime: runtime::Handle,
    pub(super) metrics: Metrics,
    pub(super) spawners: Spawners,
    pub(super) workers: Arc<Workers>,
    pub(super) results: Results,
    /// A plain mutex: it is held for a few instructions, and never across an await.
    state: Mutex<State>,
    /// Told whenever a task has given back its place or left a queue.
    pub(super) freed: Notify,
    /// Told when the agenda has a new first entry.
    pub(super) clock: Arc<Notify>,
}

pub(super) struct State {
    pub(super) config: PoolConfig,
    pub(super) lanes: Lanes,
    pub(super) held: Held,
    pub(super) agenda: Agenda,
    pub(super) schedules: Schedules,
    /// The tasks that hold a place.
    pub(super) running: HashMap<u64, Active>,
    /// The commands that stay, which hold none.
    pub(super) streams: HashMap<u64, Streaming>,
    /// The ids of which something lives that cannot be ended, and how much.
    pub(super) living: HashMap<Arc<str>, usize>,
    /// When it was said last that a queue is full.
    full: HashMap<(Lane, Class), Instant>,
    next_number: u64,
    pub(super) closed: bool,
    keeps_time: bool,
}

/// It is said at most so often that a queue is full.
pub(super) const TOLD: Duration = Duration::from_secs(60);

/// A task that holds a place.
pub(super) struct Active {
    pub(super) ticket: Ticket,
    pub(super) name: Arc<str>,
    pub(super) id: Option<Arc<str>>,
    pub(super) control: Arc<Control>,
    pub(super) since: Timestamp,
}

/// What has to happen when the state is unlocked.
#[derive(Default)]
pub(super) struct Aftermath {
    /// Tasks that come to their end without a (further) run.
    pub(super) ends: VecDeque<(Box<Job>, Status)>,
    /// Tasks that have got a place.
    places: Vec<Place>,
    /// Scheduled tasks that are due.
    pub(super) runs: Vec<Arc<str>>,
}

impl State {
    pub(super) fn new(config: PoolConfig) -> State {
        State {
            config,
            lanes: Lanes::new(),
            held: Held::default(),
            agenda: Agenda::default(),
            schedules: Schedules::default(),
            running: HashMap::new(),
            streams: HashMap::new(),
            living: HashMap::new(),
            full: HashMap::new(),
            next_number: 0,
            closed: false,
            keeps_time: false,
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    /// Takes a place for a task that has just come, if there is one for it.
    pub(super) fn take_place(&mut self, ticket: Ticket) -> Option<Seat> {
        self.lanes.take(&self.config, ticket)
    }

    /// Takes a place for the next who waits, if there is one for him.
    pub(super) fn next_for(&mut self, lane: Lane) -> Option<(Seat, Box<Job>)> {
        self.lanes.next(&self.config, lane)
    }

    /// Takes a task out of those that wait, wherever it does.
    pub(super) fn withdraw(&mut self, ticket: Ticket) -> Option<Box<Job>> {
        let mut job = self.lanes.remove(ticket).or_else(|| self.held.remove(ticket))?;
        self.forget_due(&mut job);
        Some(job)
    }

    pub(super) fn forget_due(&mut self, job: &mut Job) {
        if let Some(due) = job.due.take() {
            self.agenda.remove(due);
        }
    }

    /// Makes an outcome known, which has been recorded, and finds those that waited for it.
    pub(super) fn conclude(&mut self, job: Box<Job>, outcome: Arc<Outcome>, after: &mut Aftermath) {
        let number = job.ticket.number;
        if let Some(id) = &job.task.id {
            after.runs.extend(self.schedules.followers(id));
        }
        job.publish(outcome);
        self.release(number, after);
    }

    /// Takes in those that waited only for this task, whose outcome has been published.
    pub(super) fn release(&mut self, number: u64, after: &mut Aftermath) {
        for released in self.held.release(number) {
            self.take_in(released, after);
        }
    }

    /// Takes in a task that need not wait for others any more.
    pub(super) fn take_in(&mut self, released: Released, after: &mut Aftermath) {
        match released {
            Released::Ready(mut job) => {
                job.queued = Instant::now();
                self.lanes.push(job);
            }
            Released::Skipped(mut job, status) => {
                self.forget_due(&mut job);
                after.ends.push_back((job, status));
            }
        }
    }

    /// Whether it is to be said that the queue for such a task is full.
    pub(super) fn queue_is_full(&mut self, task: &Task) -> bool {
        let (key, now) = ((task.work.lane(), task.class), Instant::now());
        let is_news = self.full.get(&key).is_none_or(|told| now.duration_since(*told) >= TOLD);
        if is_news {
            self.full.insert(key, now);
        }
        is_news
    }

    /// When a task whose try did not go well is tried again, if it is.
    pub(super) fn another_try(&self, job: &Job) -> Option<Instant> {
        if self.closed || job.control.is_cancelled() || job.task.work.again().is_none() {
            return None;
        }
        let at = Instant::now().checked_add(job.task.backoff.pause(job.tries))?;
        job.deadline.is_none_or(|deadline| at < deadline).then_some(at)
    }
}

/// Whether an outcome is such that the task is tried again where it may be.
pub(super) fn is_bad(task: &Task, outcome: &Outcome) -> bool {
    let judge = task.is_bad.as_ref().filter(|_| outcome.success());
    let judged = judge.is_some_and(|judge| catch_unwind(AssertUnwindSafe(|| judge(outcome))).unwrap_or(false));
    outcome.status.is_failure() || judged
}

impl Shared {
    pub(super) fn new(config: PoolConfig, metrics: Metrics, runtime: runtime::Handle) -> Shared {
        metrics.set_places(&config);
        Shared {
            runtime,
            spawners: Spawners::new(),
            workers: Workers::new(metrics.clone()),
            metrics,
            results: Results::default(),
            state: Mutex::new(State::new(config)),
            freed: Notify::new(),
            clock: Arc::new(Notify::new()),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, so the state behind a poisoned lock is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has something happen at a moment.
    pub(super) fn plan(self: &Arc<Self>, state: &mut State, at: Instant, due: Due) -> DueKey {
        let first = state.agenda.first().is_none_or(|first| at < first);
        let key = state.agenda.insert(at, due);
        if !state.keeps_time {
            state.keeps_time = true;
            self.runtime.spawn(timekeeper::keep_time(Arc::downgrade(self), Arc::clone(&self.clock)));
        } else if first {
            self.clock.notify_one();
        }
        key
    }

    /// Gives places to those who wait, as long as there are any for them.
    pub(super) fn fill(self: &Arc<Self>, state: &mut State, after: &mut Aftermath) {
        for lane in Lane::ALL {
            while let Some((seat, job)) = state.next_for(lane) {
                let place = self.occupy(state, seat, job);
                after.places.push(place);
            }
            self.count_queued(state, lane);
        }
    }

    /// Has a task that has just come run in the place that was taken for it.
    pub(super) fn begin(self: &Arc<Self>, state: &mut State, seat: Seat, job: Box<Job>, after: &mut Aftermath) {
        let place = self.occupy(state, seat, job);
        after.places.push(place);
    }

    /// Gives a job a place.
    pub(super) fn occupy(self: &Arc<Self>, state: &mut State, seat: Seat, mut job: Box<Job>) -> Place {
        state.forget_due(&mut job);
        let Ticket { number, lane, class, .. } = job.ticket;
        let active = Active {
            ticket: job.ticket,
            name: Arc::clone(&job.task.name),
            id: job.task.id.clone(),
            control: Arc::clone(&job.control),
            since: Timestamp::now(),
        };
        state.running.insert(number, active);
        self.metrics.started(lane, class, job.queued.elapsed());
        Place::new(seat, job, state.config, self)
    }

    pub(super) fn count_queued(&self, state: &State, lane: Lane) {
        for class in Class::ALL {
            self.metrics.set_queued(lane, class, state.lanes.waiting(lane, class));
            for wait in Wait::ALL {
                self.metrics.set_held(lane, class, wait, state.held.count(wait, lane, class));
            }
        }
    }

    /// Does what is left to do after a change.
    pub(super) fn settle(self: &Arc<Self>, mut after: Aftermath) {
        loop {
            after.places.drain(..).for_each(|place| drop(self.runtime.spawn(work(place))));
            for id in std::mem::take(&mut after.runs) {
                self.run_due(&id);
            }
            let Some((mut job, status)) = after.ends.pop_front() else { break };
            let outcome = job.without_run(status);
            let outcome = self.tell(&mut job, outcome);
            let mut state = self.state();
            state.conclude(job, outcome, &mut after);
            self.fill(&mut state, &mut after);
        }
        self.freed.notify_waiters();
    }

    /// Records an outcome and tells the callback.
    pub(super) fn tell(&self, job: &mut Job, outcome: Outcome) -> Arc<Outcome> {
        let outcome = Arc::new(outcome);
        self.metrics.ended(job.ticket.class, &outcome.status);
        let then = job.task.then.take();
        if let Some(id) = &job.task.id {
            let again = if job.task.once { None } else { job.task.again() };
            let outcome = shown(&outcome, job.task.work.secrets());
            self.results.record(id, &job.task.name, outcome, again, || !job.control.is_forgotten());
        }
        call_back(then, &job.task.name, &outcome);
        outcome
    }

    /// A task was not taken that somebody waits for.
    pub(super) fn refuse(&self, task: Task, error: SubmitError) -> Arc<Outcome> {
        let Task { id, name, then, .. } = task;
        let outcome = Arc::new(Outcome::without_run(Status::Refused(error), Duration::ZERO));
        if let Some(id) = &id {
            self.results.record(id, &name, Arc::clone(&outcome), None, || true);
        }
        call_back(then, &name, &outcome);
        outcome
    }

    /// Does what is due, and says when there is something to do next; `None` when there never will be.
    pub(super) fn act(self: &Arc<Self>) -> Option<Instant> {
        let mut after = Aftermath::default();
        let mut state = self.state();
        let now = Instant::now();
        while let Some(due) = state.agenda.pop(now) {
            match due {
                Due::Late(ticket) => {
                    if let Some(mut job) = state.withdraw(ticket) {
                        job.due = None;
                        let deadline = job.task.deadline.unwrap_or_default();
                        after.ends.push_back((job, Status::Late { deadline }));
                        self.count_queued(&state, ticket.lane);
                    }
                }
                Due::Retry(ticket) => {
                    if let Some(mut job) = state.held.remove(ticket) {
                        job.queued = now;
                        job.due = job.deadline.map(|deadline| self.plan(&mut state, deadline, Due::Late(ticket)));
                        self.metrics.retried(ticket.class);
                        state.lanes.push(job);
                    }
                }
                Due::Run(id) => self.come_round(&mut state, &id, now, &mut after),
            }
        }
        self.fill(&mut state, &mut after);
        drop(state);
        self.settle(after);
        let mut state = self.state();
        let next = state.agenda.first();
        if next.is_none() && state.closed {
            state.keeps_time = false;
            return None;
        }
        // With nothing to do it sleeps until it is told.
        Some(next.unwrap_or_else(|| now + Duration::from_secs(24 * 3600)))
    }

    /// Waits until nothing runs and nothing waits.
    pub(super) async fn idle(&self) {
        loop {
            // Made before the look, so that no change in between is missed.
            let freed = self.freed.notified();
            {
                let state = self.state();
                if state.running.is_empty()
                    && state.streams.is_empty()
                    && state.lanes.nobody_waits()
                    && state.held.is_empty()
                {
                    return;
                }
            }
            freed.await;
        }
    }

    /// Cancels all who wait.
    pub(super) fn cancel_waiting(self: &Arc<Self>) {
        let mut after = Aftermath::default();
        let mut state = self.state();
        let State { lanes, held, .. } = &mut *state;
        let jobs: Vec<_> = lanes.drain().chain(held.drain()).collect();
        for mut job in jobs {
            state.forget_due(&mut job);
            after.ends.push_back((job, Status::Cancelled));
        }
        Lane::ALL.iter().for_each(|lane| self.count_queued(&state, *lane));
        drop(state);
        self.settle(after);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Those that wait for the pool find that it is gone.
        self.clock.notify_one();
        self.workers.close();
    }
}

/// Calls what is not the pool's own. A panic in it is its own affair.
pub(super) fn call_out(name: &str, when: &str, callback: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(callback)).is_err() {
        tracing::error!(task = name, "what was to be done {when} panicked (a bug: please report it)");
    }
}

fn call_back(then: Option<Ended>, name: &str, outcome: &Arc<Outcome>) {
    if let Some(then) = then {
        call_out(name, "after it", || then(outcome));
    }
}
