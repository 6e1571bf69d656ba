//! The runner: has the configured checks run on schedule or stay, and follows a reload.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::board::{Board, Placed, Standing};
use super::config::{CheckConfig, Checks};
use super::places::Places;
use super::run::{Kind, Ready, Underway};
use super::stream;
use crate::collect::Roots;
use crate::pool::{Handle, Pool, RunError, Schedule};
use crate::state::Store;

/// A check with a longer interval runs within this time when it is new: nobody waits an hour to see whether it works.
const SOON: Duration = Duration::from_secs(60);

/// The pauses between the first runs of many checks, so that they are not all in the pool's queue at once.
const GAP: Duration = Duration::from_millis(200);

/// Runs checks in the pool; what they find is on its board.
pub struct Runner {
    pool: Pool,
    roots: Roots,
    board: Arc<Board>,
    /// Where logs have been read to; not kept without a store.
    places: Option<Arc<Places>>,
    /// By name, what is on schedule or stays. Held through a change.
    kept: Mutex<HashMap<String, Kept>>,
}

/// A check that is in force.
struct Kept {
    /// Of what it was configured from.
    fingerprint: u64,
    /// By which its command is ended, if it stays.
    stream: Option<Handle>,
}

/// Under what the pool knows a check.
pub fn task_id(check: &str) -> String {
    format!("check:{check}")
}

impl Runner {
    pub fn new(pool: Pool, roots: Roots) -> Runner {
        Runner { pool, roots, board: Arc::default(), places: None, kept: Mutex::default() }
    }

    /// With a store for what checks keep over a restart.
    pub fn keeping_in(self, store: Store) -> Runner {
        Runner { places: Some(Places::load(store)), ..self }
    }

    pub fn board(&self) -> Arc<Board> {
        self.board.clone()
    }

    /// Has these checks run from now on, and no others. Those that are as they were go on as they were, in their phase
    /// and with what they have found; a run of another that is under way, or a stream, is ended, and counts for nothing.
    pub fn set(&self, checks: &Checks) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *kept);
        let mut placed = Vec::with_capacity(checks.0.len());
        let mut new = Vec::new();
        for check in &checks.0 {
            let (name, fingerprint) = (&check.config.name, check.fingerprint);
            if before.get(name).is_some_and(|before| before.fingerprint == fingerprint) {
                kept.extend(before.remove_entry(name));
                placed.push(Placed::Same(name.as_str().into()));
            } else if let Some(kind) = Kind::of(check, &self.roots, self.places.as_ref()) {
                let CheckConfig { interval, timeout, stream, .. } = &check.config;
                let labels = check.labels();
                let mut standing = Standing::new(name.as_str().into(), labels.clone(), *interval, *timeout);
                standing.keep_failing_for = check.config.keep_failing_for();
                placed.push(Placed::New(standing.streaming(stream.is_some())));
                new.push((check.clone(), kind, labels));
            }
        }
        if let Some(places) = &self.places {
            let logs = checks.0.iter().filter(|check| check.config.log.is_some());
            places.retain(&logs.map(|check| check.config.name.as_str()).collect::<HashSet<_>>());
        }
        let tickets = self.board.set(placed);
        let mut soon = Vec::new();
        for ((check, kind, labels), ticket) in new.into_iter().zip(tickets) {
            let CheckConfig { name, interval, stream, schedule, .. } = &check.config;
            let (name, fingerprint) = (name.clone(), check.fingerprint);
            if stream.is_none() && schedule.is_none() && *interval > SOON {
                soon.push(task_id(&name));
            }
            let (board, underway) = (self.board.clone(), Underway::default());
            let ready = Ready { check, kind, labels, ticket, board, underway };
            let before = before.remove(&name);
            let stream = self.begin(ready, before.as_ref());
            kept.insert(name, Kept { fingerprint, stream });
        }
        for (name, gone) in &before {
            self.end(name, gone);
        }
        if !soon.is_empty() {
            self.pool.runtime().spawn(first_runs(self.pool.clone(), soon));
        }
    }

    fn end(&self, name: &str, gone: &Kept) {
        if let Some(stream) = &gone.stream {
            stream.cancel();
        } else {
            let id = task_id(name);
            self.pool.unschedule(&id);
            self.pool.cancel_id(&id);
        }
    }

    /// Puts a check in force, in the place of another. Gives the handle of a stream.
    fn begin(&self, ready: Ready, before: Option<&Kept>) -> Option<Handle> {
        let CheckConfig { name, interval, stream, schedule, .. } = &ready.check.config;
        let id = task_id(name);
        if let Some(stream) = stream.clone() {
            before.into_iter().for_each(|before| self.end(name, before));
            let before = before.and_then(|before| before.stream.as_ref());
            let begun = stream::start(&self.pool, ready, &stream, before);
            return begun.inspect_err(|error| tracing::warn!(task = id, "not started: {error}")).ok();
        }
        if let Some(Kept { stream: Some(stream), .. }) = before {
            stream.cancel();
        } else if before.is_some() {
            // It stays on schedule, so that it does not run beside what is ended.
            self.pool.cancel_id(&id);
        }
        let when = match schedule.as_ref().and_then(|schedule| schedule.cron().ok()) {
            Some(cron) => Schedule::Cron(cron),
            None => Schedule::Every { interval: *interval, jitter: Duration::ZERO },
        };
        let ready = Arc::new(ready);
        if let Err(error) = self.pool.schedule(&id, when, move || ready.task()) {
            tracing::warn!(task = id, "not put on schedule: {error}");
        }
        None
    }
}

/// Runs checks for the first time, one after the other; one of which a run is still ending, or for which the pool has no
/// room, later again.
async fn first_runs(pool: Pool, ids: Vec<String>) {
    let gap = (SOON / u32::try_from(ids.len()).unwrap_or(u32::MAX)).min(GAP);
    let end = Instant::now() + 2 * SOON;
    let mut ids = VecDeque::from(ids);
    while let Some(id) = ids.pop_front() {
        if let Err(error @ (RunError::Running | RunError::Refused(_))) = pool.run_now(&id) {
            if Instant::now() >= end {
                tracing::debug!(task = id, "not run before its time: {error}");
            } else {
                ids.push_back(id);
            }
        }
        tokio::time::sleep(gap).await;
    }
}

#[cfg(test)]
mod tests;
