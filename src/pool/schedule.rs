//! Tasks that are run again and again, or at their time.
//!
//! The moment of the next run is kept on the wall clock, as people mean it, and waited for on the monotonic one. Where
//! the wall clock itself is meant (cron, at), it is looked at again every [`LOOK`]: it may be set, and the monotonic clock
//! stands still while the host is suspended.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::agenda::{Due, DueKey};
use super::cron::Cron;
use super::handle::Handle;
use super::job::Control;
use super::shared::{Aftermath, Shared, State};
use super::supervisor::{Pool, SubmitError};
use super::task::Task;
use crate::model::Timestamp;

/// How often the wall clock is looked at when it is what counts.
const LOOK: Duration = Duration::from_secs(10);

/// A clock that is set back by more than this was wrong before; by less, what has run does not run again.
const SET_RIGHT: Duration = Duration::from_secs(3 * 3600);

/// Below, the milliseconds in which moments are kept would be too coarse.
const SHORTEST: Duration = Duration::from_millis(10);

/// When a task is run.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// At the same distance in time. When exactly follows from the id, so that many spread evenly over their interval,
    /// and stays so over restarts.
    Every {
        /// The distance; at least ten milliseconds.
        interval: Duration,
        /// The most that is added to each moment, at random; no more than the interval counts.
        jitter: Duration,
    },
    /// When the clock and the calendar show what the expression says.
    Cron(Cron),
    /// Once, at this moment; at once if it has passed.
    At(Timestamp),
    /// Whenever the task with this id has ended, however it did.
    After(String),
}

/// Why a task cannot be put on schedule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ScheduleError {
    /// It would run after itself, through those it runs after: this is one of them.
    Circle(String),
    /// The pool is stopping or has stopped.
    ShuttingDown,
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScheduleError::Circle(id) => write!(f, "it would run after {id:?}, which runs after it"),
            ScheduleError::ShuttingDown => write!(f, "the pool is shutting down"),
        }
    }
}

impl std::error::Error for ScheduleError {}

/// Why a task was not run that somebody asked for by its id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RunError {
    /// Nothing of that id is known.
    Unknown,
    /// It runs already.
    Running,
    /// It was a call or future that can be run only once.
    Once,
    /// What makes the task panicked.
    Panicked,
    /// The pool did not take it.
    Refused(SubmitError),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Unknown => write!(f, "there is no task of that id"),
            RunError::Running => write!(f, "it runs already"),
            RunError::Once => write!(f, "it can be run only once"),
            RunError::Panicked => write!(f, "what makes the task panicked (a bug: please report it)"),
            RunError::Refused(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RunError {}

type Make = Arc<dyn Fn() -> Task + Send + Sync>;

/// A task on schedule.
pub(super) struct Entry {
    pub(super) schedule: Schedule,
    make: Make,
    due: Option<DueKey>,
    /// The moment of the next run, or of the last when there is no next.
    moment: Option<Timestamp>,
    /// The same moment on the clock that is waited on, without jitter.
    slot: Option<Instant>,
    run: LastRun,
}

/// The last run of a task on schedule.
enum LastRun {
    None,
    /// It is being made.
    Begins,
    Begun(Arc<Control>),
}

impl LastRun {
    fn has_ended(&self) -> bool {
        match self {
            LastRun::None => true,
            LastRun::Begins => false,
            LastRun::Begun(control) => control.outcome().is_some(),
        }
    }
}

/// All that is on schedule.
#[derive(Default)]
pub(super) struct Schedules {
    entries: HashMap<Arc<str>, Entry>,
    /// By id, who runs after it.
    followers: HashMap<Arc<str>, Vec<Arc<str>>>,
}

impl Schedules {
    pub(super) fn followers(&self, id: &str) -> Vec<Arc<str>> {
        self.followers.get(id).cloned().unwrap_or_default()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Entry)> {
        self.entries.iter()
    }

    /// `false` when there is none of this id.
    fn set_run(&mut self, id: &str, run: LastRun) -> bool {
        self.entries.get_mut(id).map(|entry| entry.run = run).is_some()
    }

    fn circle(&self, id: &str, schedule: &Schedule) -> Option<ScheduleError> {
        let mut schedule = schedule;
        while let Schedule::After(before) = schedule {
            if before == id {
                return Some(ScheduleError::Circle(before.clone()));
            }
            schedule = &self.entries.get(before.as_str())?.schedule;
        }
        None
    }

    fn remove(&mut self, id: &str) -> Option<Entry> {
        let entry = self.entries.remove(id)?;
        if let Schedule::After(before) = &entry.schedule
            && let Some(followers) = self.followers.get_mut(before.as_str())
        {
            followers.retain(|follower| **follower != *id);
            if followers.is_empty() {
                self.followers.remove(before.as_str());
            }
        }
        Some(entry)
    }
}

impl Entry {
    /// The moment of the next run, if the schedule is by time.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.due.and(self.moment)
    }

    /// Whether the last run has ended, or there was none.
    pub(super) fn has_ended(&self) -> bool {
        self.run.has_ended()
    }

    /// Finds the next moment after the last one, and when to look at the clock for it.
    fn advance(&mut self, id: &str, now: Instant) -> Option<Instant> {
        let wall = Timestamp::now();
        match &self.schedule {
            Schedule::Every { interval, jitter } => {
                let interval = (*interval).max(SHORTEST);
                // The last moment on today's wall clock, whatever that has been through. Half an interval further is
                // nearer to the next moment than to this one, so that none is met twice.
                let last = self.slot.map(|slot| wall - now.saturating_duration_since(slot) + interval / 2);
                let next = on_grid(id, interval, last.map_or(wall, |last| last.max(wall)));
                let slot = now.checked_add(from_to(wall, next))?;
                self.moment = Some(next);
                self.slot = Some(slot);
                slot.checked_add((*jitter).min(interval).mul_f64(random()))
            }
            Schedule::Cron(cron) => {
                let last = self.moment.filter(|last| *last < wall + SET_RIGHT);
                let next = cron.next(last.map_or(wall, |last| last.max(wall)))?;
                self.moment = Some(next);
                now.checked_add(from_to(wall, next).min(LOOK))
            }
            Schedule::At(moment) => {
                let first = self.moment.is_none();
                self.moment = Some(*moment);
                first.then(|| now.checked_add(from_to(wall, *moment).min(LOOK)))?
            }
            Schedule::After(_) => None,
        }
    }

    /// When to look at the clock again because the moment, which is the wall clock's, has not come yet.
    fn not_yet(&self, now: Instant) -> Option<Instant> {
        if matches!(self.schedule, Schedule::Every { .. } | Schedule::After(_)) {
            return None;
        }
        let left = from_to(Timestamp::now(), self.moment?);
        if left.is_zero() { None } else { now.checked_add(left.min(LOOK)) }
    }
}

fn from_to(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(to.millis_since(from)).unwrap_or(0))
}

/// The first moment from `from` on that an id has in this interval.
fn on_grid(id: &str, interval: Duration, from: Timestamp) -> Timestamp {
    let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1);
    // FNV-1a: the same in every version and on every host, unlike the hashes of the standard library.
    let hash = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    // Its low bits are alike for ids that end alike; mixed, all count.
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1;
    let phase = i64::try_from(mixed).unwrap_or(0) % interval;
    let since = from.as_millis().saturating_sub(phase).rem_euclid(interval);
    let left = if since == 0 { 0 } else { interval.saturating_sub(since) };
    Timestamp::from_millis(from.as_millis().saturating_add(left))
}

/// From 0 to 1.
fn random() -> f64 {
    // The keys of each such hasher are random.
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

impl State {
    pub(super) fn forget_schedules(&mut self) {
        for (_, entry) in self.schedules.entries.drain() {
            if let Some(due) = entry.due {
                self.agenda.remove(due);
            }
        }
        self.schedules.followers.clear();
    }
}

impl Shared {
    /// The moment of a scheduled task has come, as far as the clock that is waited on knows.
    pub(super) fn come_round(self: &Arc<Self>, state: &mut State, id: &Arc<str>, now: Instant, after: &mut Aftermath) {
        let Some(entry) = state.schedules.entries.get_mut(id) else { return };
        entry.due = None;
        let again = match entry.not_yet(now) {
            Some(at) => Some(at),
            None => {
                after.runs.push(Arc::clone(id));
                entry.advance(id, now)
            }
        };
        self.plan_run(state, id, again);
    }

    fn plan_run(self: &Arc<Self>, state: &mut State, id: &Arc<str>, at: Option<Instant>) {
        let due = at.map(|at| self.plan(state, at, Due::Run(Arc::clone(id))));
        if let Some(entry) = state.schedules.entries.get_mut(id) {
            entry.due = due;
        }
    }

    /// Runs a scheduled task that is due.
    pub(super) fn run_due(self: &Arc<Self>, id: &str) {
        match (Pool { shared: Arc::clone(self) }).run_scheduled(id) {
            Err(RunError::Running) => self.metrics.run_skipped(),
            Err(error) => tracing::debug!(task = id, "not run on schedule: {error}"),
            Ok(_) => {}
        }
    }
}

impl Pool {
    /// Has the task that `make` makes run on schedule, under this id; what was scheduled under it before is replaced,
    /// and a run of it goes on. A run that is due while the one before has not ended is left out and counted, and after a
    /// pause of the whole host there is one run, not all that were missed. A run that the pool refuses has the outcome
    /// [`Status::Refused`](super::Status::Refused).
    ///
    /// # Errors
    /// When the task would run after itself, or the pool is stopping.
    pub fn schedule(
        &self,
        id: &str,
        schedule: Schedule,
        make: impl Fn() -> Task + Send + Sync + 'static,
    ) -> Result<(), ScheduleError> {
        let mut state = self.shared.state();
        if state.closed {
            return Err(ScheduleError::ShuttingDown);
        }
        if let Some(error) = state.schedules.circle(id, &schedule) {
            return Err(error);
        }
        let before = state.schedules.remove(id);
        let due = before.as_ref().and_then(|before| before.due);
        let run = before.map_or(LastRun::None, |before| before.run);
        due.into_iter().for_each(|due| state.agenda.remove(due));
        let id: Arc<str> = id.into();
        if let Schedule::After(before) = &schedule {
            state.schedules.followers.entry(before.as_str().into()).or_default().push(Arc::clone(&id));
        }
        let mut entry = Entry { schedule, make: Arc::new(make), due: None, moment: None, slot: None, run };
        let first = entry.advance(&id, Instant::now());
        state.schedules.entries.insert(Arc::clone(&id), entry);
        self.shared.plan_run(&mut state, &id, first);
        Ok(())
    }

    /// Ends a schedule and forgets the results under its id; `false` when there is none. A run of it goes on, and is not
    /// remembered.
    pub fn unschedule(&self, id: &str) -> bool {
        let mut state = self.shared.state();
        let Some(entry) = state.schedules.remove(id) else { return false };
        if let Some(due) = entry.due {
            state.agenda.remove(due);
        }
        drop(state);
        // Marked before the rest is forgotten, so that it is not recorded after.
        if let LastRun::Begun(control) = &entry.run {
            control.forget();
        }
        self.shared.results.forget(id);
        true
    }

    /// Runs a scheduled task now, and on schedule as before.
    ///
    /// # Errors
    /// When there is none of that id, it runs already, or the pool does not take it.
    pub fn run_now(&self, id: &str) -> Result<Handle, RunError> {
        self.run_scheduled(id)
    }

    fn run_scheduled(&self, id: &str) -> Result<Handle, RunError> {
        let make = {
            let mut state = self.shared.state();
            let entry = state.schedules.entries.get_mut(id).ok_or(RunError::Unknown)?;
            if !entry.run.has_ended() {
                return Err(RunError::Running);
            }
            entry.run = LastRun::Begins;
            Arc::clone(&entry.make)
        };
        let made = catch_unwind(AssertUnwindSafe(|| make())).map_err(|_| {
            tracing::error!(task = id, "what makes the task panicked (a bug: please report it)");
            RunError::Panicked
        });
        let begun = made.and_then(|task| {
            let task = Task { once: true, ..task.id(id) };
            self.try_submit(Box::new(task)).map_err(|(error, task)| {
                self.shared.refuse(*task, error);
                RunError::Refused(error)
            })
        });
        let run = begun.as_ref().map_or(LastRun::None, |handle| LastRun::Begun(Arc::clone(&handle.control)));
        if !self.shared.state().schedules.set_run(id, run) {
            // It was taken off the schedule while it was being made.
            begun.iter().for_each(|handle| handle.control.forget());
            self.shared.results.forget(id);
        }
        begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_ids_spread_evenly_over_their_interval() {
        let interval = Duration::from_secs(10);
        for make in [|n| format!("check-{n}"), |n| format!("{n}:disk"), |n| format!("{n:04}")] {
            let mut tenths = [0; 10];
            for number in 0..1000 {
                let at = on_grid(&make(number), interval, Timestamp::from_millis(0)).as_millis();
                tenths[usize::try_from(at / 1000).unwrap()] += 1;
            }
            assert!(tenths.iter().all(|count| (60..140).contains(count)), "{tenths:?}");
        }
    }

    #[test]
    fn the_phase_of_an_id_stays_and_moments_are_an_interval_apart() {
        let interval = Duration::from_millis(7000);
        let first = on_grid("disk", interval, Timestamp::from_millis(1_000_000));
        assert_eq!(on_grid("disk", interval, first), first);
        assert_eq!(on_grid("disk", interval, first + Duration::from_millis(1)), first + interval);
        assert_eq!(on_grid("disk", interval, first + interval * 1000), first + interval * 1000);
        assert_eq!(on_grid("disk", interval, first - Duration::from_millis(6999)), first);
    }

    fn entry(schedule: Schedule) -> Entry {
        let make: Make = Arc::new(|| Task::command(["true"]));
        Entry { schedule, make, due: None, moment: None, slot: None, run: LastRun::None }
    }

    #[tokio::test]
    async fn no_moment_is_met_twice_and_after_a_pause_there_is_one_run() {
        let interval = Duration::from_secs(3600);
        let mut hourly = entry(Schedule::Every { interval, jitter: Duration::ZERO });
        let now = Instant::now();
        let first = hourly.advance("a", now).unwrap();
        assert!(first - now <= interval);
        // A little too early by the wall clock, which has not moved in this test: it is nearly an hour too early.
        let second = hourly.advance("a", first).unwrap();
        assert!(second > first);
        // Days later on the clock that is waited on.
        let late = second + interval * 50;
        let third = hourly.advance("a", late).unwrap();
        assert!(third >= late && third - late <= interval * 2, "{:?}", third - late);
    }

    #[tokio::test]
    async fn jitter_is_added_and_no_more_than_was_asked_for() {
        let interval = Duration::from_secs(3600);
        let jitter = Duration::from_secs(60);
        let mut different = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let mut hourly = entry(Schedule::Every { interval, jitter });
            let at = hourly.advance("a", Instant::now()).unwrap();
            let added = at - hourly.slot.unwrap();
            assert!(added <= jitter, "{added:?}");
            different.insert(added);
        }
        assert!(different.len() > 15);
    }
}
