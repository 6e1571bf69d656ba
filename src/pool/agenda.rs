//! What the clock has in store: moments, in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::job::Ticket;

/// What is due at a moment.
pub(super) enum Due {
    /// A task that waits is wanted no more.
    Late(Ticket),
    /// A task that failed is tried again.
    Retry(Ticket),
    /// The scheduled task with this id.
    Run(Arc<str>),
}

/// Where something stands in the agenda.
pub(super) type DueKey = (Instant, u64);

/// Moments and what is due at them.
#[derive(Default)]
pub(super) struct Agenda {
    dues: BTreeMap<DueKey, Due>,
    next: u64,
}

impl Agenda {
    pub(super) fn insert(&mut self, at: Instant, due: Due) -> DueKey {
        let key = (at, self.next);
        self.next += 1;
        self.dues.insert(key, due);
        key
    }

    pub(super) fn remove(&mut self, key: DueKey) {
        self.dues.remove(&key);
    }

    /// The next moment.
    pub(super) fn first(&self) -> Option<Instant> {
        self.dues.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes what is due by now.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Due> {
        let first = self.dues.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}
