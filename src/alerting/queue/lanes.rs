//! What waits for one target.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::Rate;
use crate::alerting::core::Mono;
use crate::sinks::Notification;

/// A notification that waits.
pub(super) struct Waiting {
    pub number: u64,
    pub notification: Arc<Notification>,
    pub since: Mono,
    pub failures: u32,
    pub refusals: u32,
    pub not_before: Mono,
    pub in_flight: bool,
    /// What the last failure was.
    pub error: String,
    /// A try has failed in a way, or may have been cut short by the agent's end, that leaves open whether it arrived.
    pub may_have_arrived: bool,
}

/// The lanes of a target.
#[derive(Default)]
pub(super) struct Lanes {
    /// By log key.
    pub lanes: BTreeMap<String, VecDeque<Waiting>>,
    /// The first of each lane, unless it is in flight: when it may be tried, its number, its lane.
    pub ready: BTreeSet<(Mono, u64, String)>,
    pub in_flight: usize,
    /// All that wait, the oldest first: since when, and its number. To be counted after each event, when there may be
    /// tens of thousands.
    pub ages: BTreeSet<(Mono, u64)>,
    /// When the last tries were made, where there is a limit to their number.
    pub tried: VecDeque<Mono>,
    /// The target asked to be left alone until then.
    pub hold: Mono,
}

impl Waiting {
    pub fn new(number: u64, notification: Arc<Notification>, now: Mono) -> Waiting {
        Waiting {
            number,
            notification,
            since: now,
            failures: 0,
            refusals: 0,
            not_before: now,
            in_flight: false,
            error: String::new(),
            may_have_arrived: false,
        }
    }

    pub fn key(&self, lane: &str) -> (Mono, u64, String) {
        (self.not_before, self.number, lane.to_string())
    }

    pub fn age(&self) -> (Mono, u64) {
        (self.since, self.number)
    }
}

impl Lanes {
    /// When the rate allows the next try.
    pub fn free(&self, rate: Option<&Rate>) -> Mono {
        let of_rate = |rate: &Rate| {
            let back = self.tried.len().checked_sub(rate.tries)?;
            Some(self.tried.get(back)?.after(rate.per))
        };
        rate.and_then(of_rate).unwrap_or_default()
    }

    /// Counts a try.
    pub fn count(&mut self, rate: Option<&Rate>, now: Mono) {
        let Some(rate) = rate else { return self.tried.clear() };
        while self.tried.len() >= rate.tries {
            self.tried.pop_front();
        }
        self.tried.push_back(now);
    }

    /// Ends the waiting of the first of some lanes: of `at_most` of those that `which` chooses, the earliest first.
    pub fn release(&mut self, now: Mono, at_most: usize, which: impl Fn(&Waiting) -> bool) {
        let later = (now.after(Duration::from_millis(1)), 0, String::new());
        let chosen: Vec<_> = self
            .ready
            .range(later..)
            .filter(|(_, _, lane)| self.lanes.get(lane).and_then(VecDeque::front).is_some_and(&which))
            .take(at_most)
            .cloned()
            .collect();
        chosen.iter().for_each(|(_, _, lane)| self.hurry(lane, now));
    }

    /// Ends the waiting of the first of a lane, unless it is under way.
    pub fn hurry(&mut self, lane: &str, now: Mono) {
        if let Some(first) = self.lanes.get_mut(lane).and_then(VecDeque::front_mut)
            && self.ready.remove(&first.key(lane))
        {
            first.not_before = first.not_before.min(now);
            self.ready.insert(first.key(lane));
        }
    }

    /// Puts a notification at the end of its lane.
    pub fn append(&mut self, lane: String, waiting: Waiting) {
        self.ages.insert(waiting.age());
        let rows = self.lanes.entry(lane.clone()).or_default();
        if rows.is_empty() {
            self.ready.insert(waiting.key(&lane));
        }
        rows.push_back(waiting);
    }

    /// Puts notifications, in their order, in front of all that waits in a lane. The one that is in flight stays before
    /// them: if another were sent beside it, that could arrive before it.
    pub fn put_in_front(&mut self, lane: &str, older: Vec<Waiting>) {
        let rows = self.lanes.entry(lane.to_string()).or_default();
        let place = usize::from(rows.front().is_some_and(|first| first.in_flight));
        if let Some(first) = rows.front() {
            self.ready.remove(&first.key(lane));
        }
        for (nth, waiting) in older.into_iter().enumerate() {
            self.ages.insert(waiting.age());
            rows.insert(place + nth, waiting);
        }
        if let Some(first) = rows.front().filter(|first| !first.in_flight) {
            self.ready.insert(first.key(lane));
        }
    }
}
