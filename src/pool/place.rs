//! A place where tasks run: the way of a job from getting it to giving it back.

use std::sync::Arc;

use super::agenda::Due;
use super::config::PoolConfig;
use super::job::{Job, Ticket};
use super::lanes::Seat;
use super::outcome::Outcome;
use super::remains::Remains;
use super::run::Bounds;
use super::shared::{Aftermath, Shared, State, call_out, is_bad};
use super::task::Work;
use super::{futures, run};

/// One of the places where tasks run, and the job that has it. It is given back by [`Place::finish`], or when this is
/// dropped because the runtime drops the work half done.
pub(super) struct Place {
    job: Option<Box<Job>>,
    seat: Seat,
    ticket: Ticket,
    /// The configuration in force when the job got the place.
    config: PoolConfig,
    shared: Arc<Shared>,
}

/// Runs the job that has this place, then those that get it after.
pub(super) async fn work(place: Place) {
    let mut next = Some(place);
    while let Some(mut place) = next {
        let Some((outcome, remains)) = place.run().await else { return };
        next = place.finish(outcome, remains);
    }
}

impl Place {
    pub(super) fn new(seat: Seat, job: Box<Job>, config: PoolConfig, shared: &Arc<Shared>) -> Place {
        Place { seat, ticket: job.ticket, job: Some(job), config, shared: Arc::clone(shared) }
    }

    async fn run(&mut self) -> Option<(Outcome, Option<Remains>)> {
        let Place { job, config, shared, .. } = self;
        let job = job.as_mut()?;
        if let Some(begun) = job.task.begun.take() {
            call_out(&job.task.name, "when it began", begun);
        }
        let bounds = Bounds {
            timeout: job.time(config.timeout),
            kill_grace: job.task.kill_grace.unwrap_or(config.kill_grace),
            output: job.task.output_limit.unwrap_or(config.output_limit),
        };
        let waited = job.queued.elapsed();
        let mut remains = None;
        let outcome = match job.task.work.take() {
            Work::Command(command) => {
                let (outcome, left) = run::run(&command, &bounds, &shared.spawners, &job.control, waited).await;
                remains = left;
                outcome
            }
            Work::Call(call) => shared.workers.run(&job.task.name, call, &bounds, &job.control, waited).await,
            Work::Calls(call) => {
                let call = Box::new(move |running: &_| call(running));
                shared.workers.run(&job.task.name, call, &bounds, &job.control, waited).await
            }
            Work::Future(future) => futures::run(future, &bounds, &job.control, waited).await,
            // Made where a panic is caught.
            Work::Futures(make) => {
                let future = Box::pin(async move { make().await });
                futures::run(future, &bounds, &job.control, waited).await
            }
            // There is no second try of what there was only one of.
            Work::Spent(_) => return None,
        };
        tracing::debug!(task = &*job.task.name, number = job.ticket.number, ran = ?outcome.ran, "task {}", outcome.status);
        Some((outcome, remains))
    }

    /// Has the job tried again, or makes its outcome known; gives the place to the next who waits.
    fn finish(mut self, mut outcome: Outcome, remains: Option<Remains>) -> Option<Place> {
        let mut job = self.job.take()?;
        let shared = Arc::clone(&self.shared);
        job.tries += 1;
        outcome.tries = job.tries;
        let Ticket { lane, class, .. } = self.ticket;
        shared.metrics.stopped(lane, class, (!outcome.ran.is_zero()).then_some(outcome.ran));
        shared.metrics.used(class, &outcome.usage);
        let lives_on = remains.is_some();
        if let Some(remains) = remains {
            // Before the outcome is known, on which another may be submitted.
            let end = shared.keep_books(&job.task.name, job.task.id.as_ref(), class, remains);
            shared.runtime.spawn(end);
        }
        let mut after = Aftermath::default();
        let is_to_be_repeated = !lives_on && job.tries <= job.task.retries && is_bad(&job.task, &outcome);
        let mut state = shared.state();
        let again = if is_to_be_repeated { state.another_try(&job) } else { None };
        if let Some(at) = again {
            self.give_back(&mut state);
            job.last = Some(Box::new(outcome));
            job.due = Some(shared.plan(&mut state, at, Due::Retry(self.ticket)));
            state.held.pause(job);
        } else {
            drop(state);
            let outcome = shared.tell(&mut job, outcome);
            state = shared.state();
            // One step for all who look: the outcome is there when the place is free, and the other way round.
            self.give_back(&mut state);
            state.conclude(job, outcome, &mut after);
        }
        // This very task of the runtime goes on with the next: no other has to be begun and woken.
        let next = state.next_for(lane).map(|(seat, job)| shared.occupy(&mut state, seat, job));
        shared.fill(&mut state, &mut after);
        drop(state);
        shared.settle(after);
        next
    }

    fn give_back(&self, state: &mut State) {
        state.running.remove(&self.ticket.number);
        state.lanes.give_back(self.ticket.lane, self.seat);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.job.is_some() {
            self.shared.metrics.stopped(self.ticket.lane, self.ticket.class, None);
            self.give_back(&mut self.shared.state());
            self.shared.freed.notify_waiters();
        }
    }
}
