//! The runner: has the configured checks run on schedule, and follows a reload.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::board::{Board, Placed, Standing};
use super::config::Checks;
use super::places::Places;
use super::run::{Kind, Ready, Underway};
use crate::collect::Roots;
use crate::pool::{Pool, Schedule};
use crate::state::Store;

/// A check with a longer interval runs at once when it is new: nobody waits an hour to see whether it works.
const SOON: Duration = Duration::from_secs(60);

/// Runs checks in the pool; what they find is on its board.
pub struct Runner {
    pool: Pool,
    roots: Roots,
    board: Arc<Board>,
    /// Where logs have been read to; not kept without a store.
    places: Option<Arc<Places>>,
    /// What is on schedule: by name, what it was configured from. Held through a change.
    scheduled: Mutex<HashMap<String, u64>>,
}

/// Under what the pool knows a check.
pub fn task_id(check: &str) -> String {
    format!("check:{check}")
}

impl Runner {
    pub fn new(pool: Pool, roots: Roots) -> Runner {
        Runner { pool, roots, board: Arc::default(), places: None, scheduled: Mutex::default() }
    }

    /// With a store for what checks keep over a restart.
    pub fn keeping_in(self, store: Store) -> Runner {
        Runner { places: Some(Places::load(store)), ..self }
    }

    pub fn board(&self) -> Arc<Board> {
        self.board.clone()
    }

    /// Has these checks run from now on, and no others. Those that are as they were go on as they were, in their phase
    /// and with what they have found; a run of another that is under way is ended, and counts for nothing.
    pub fn set(&self, checks: &Checks) {
        let mut scheduled = self.scheduled.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *scheduled);
        let mut placed = Vec::with_capacity(checks.0.len());
        let mut new = Vec::new();
        for check in &checks.0 {
            let name = &check.config.name;
            let same = before.get(name) == Some(&check.fingerprint);
            if same {
                before.remove(name);
                placed.push(Placed::Same(name.as_str().into()));
            } else if let Some(kind) = Kind::of(check, &self.roots, self.places.as_ref()) {
                let labels = check.labels();
                let (interval, timeout) = (check.config.interval, check.config.timeout);
                let keep_failing_for = check.config.keep_failing_for();
                let mut standing = Standing::new(name.as_str().into(), labels.clone(), interval, timeout);
                standing.keep_failing_for = keep_failing_for;
                placed.push(Placed::New(standing));
                new.push((check.clone(), kind, labels));
            }
            scheduled.insert(name.clone(), check.fingerprint);
        }
        if let Some(places) = &self.places {
            let logs = checks.0.iter().filter(|check| check.config.log.is_some());
            places.retain(&logs.map(|check| check.config.name.as_str()).collect::<HashSet<_>>());
        }
        for name in before.keys() {
            let id = task_id(name);
            self.pool.unschedule(&id);
            self.pool.cancel_id(&id);
        }
        let tickets = self.board.set(placed);
        for ((check, kind, labels), ticket) in new.into_iter().zip(tickets) {
            let (id, interval) = (task_id(&check.config.name), check.config.interval);
            let ready = Arc::new(Ready {
                check,
                kind,
                labels,
                ticket,
                board: self.board.clone(),
                underway: Underway::default(),
            });
            let every = Schedule::Every { interval, jitter: Duration::ZERO };
            if let Err(error) = self.pool.schedule(&id, every, move || ready.task()) {
                tracing::warn!(task = id, "not put on schedule: {error}");
            } else if interval > SOON
                && let Err(error) = self.pool.run_now(&id)
            {
                tracing::debug!(task = id, "not run at once: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests;
