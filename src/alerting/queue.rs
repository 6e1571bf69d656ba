//! The fourth stage: the durable queue. A lane per target and group keeps order; targets do not wait for each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::core::Mono;
use super::log::Told;
use super::plan::Target;
use super::view::Undelivered;
use crate::sinks::{DeliveryError, Fingerprint, Notification, NotifiedAlert};
use crate::state::{Batch, Table};
use lanes::{Lanes, Waiting};
use merge::{add_resolved, hand_on, includes};

/// Deliveries to one target at the same time, each of another group.
const MAX_IN_FLIGHT: usize = 4;
/// Notifications of one group that may wait for one target. A target that is down for weeks while alerts flap reaches
/// this; then the oldest go.
const MAX_LANE: usize = 100;
/// How often a notification that is refused is tried before it is given up: some seven minutes with [`REFUSED`].
const MAX_REFUSALS: u32 = 5;

/// The waiting times between tries: the first, by how much each is longer than the one before, the longest.
struct Backoff {
    first: Duration,
    factor: u32,
    longest: Duration,
}

const FAILED: Backoff = Backoff { first: Duration::from_secs(1), factor: 2, longest: Duration::from_secs(300) };
/// People have to mend something: that takes longer.
const REFUSED: Backoff = Backoff { first: Duration::from_secs(10), factor: 3, longest: Duration::from_secs(300) };
/// How long a target can ask to be left alone.
const LONGEST_HOLD: Duration = Duration::from_secs(3600);

impl Backoff {
    /// The time before try `tries + 1`, `jitter` from 0 to 1: from half of it to all of it, so that many that failed
    /// together do not come back together.
    fn wait(&self, tries: u32, jitter: f64) -> Duration {
        let growth = self.factor.saturating_pow(tries.saturating_sub(1));
        self.first.saturating_mul(growth).min(self.longest).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

/// A notification as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub target: Target,
    #[serde(with = "shared")]
    pub notification: Arc<Notification>,
}

/// Through the pointer.
pub(super) mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::sinks::Notification;

    pub fn serialize<S: Serializer>(notification: &Arc<Notification>, to: S) -> Result<S::Ok, S::Error> {
        notification.as_ref().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Notification>, D::Error> {
        Notification::deserialize(from).map(Arc::new)
    }
}

/// How many tries there may be in any span of so much time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    pub tries: usize,
    pub per: Duration,
}

#[derive(Default)]
pub(super) struct Queue {
    targets: BTreeMap<Target, Lanes>,
    /// What the tries of targets are limited to.
    rates: BTreeMap<Target, Rate>,
    next_number: u64,
    /// The agent ends: what fails now is not tried again in this run.
    stopping: bool,
}

/// A delivery to try.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub target: Target,
    /// The lane of the queue: the target and the group.
    pub lane: String,
    /// The notification's number in the queue.
    pub number: u64,
    pub notification: Arc<Notification>,
}

/// What a failure leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It is tried again.
    Again,
    /// It is given up; `last`: no other of its group waits. A try that failed before may still have arrived.
    GivenUp { last: bool, may_have_arrived: bool, failures: u32 },
    /// It is not in the queue any more.
    Unknown,
}

/// A row that was removed.
#[derive(Debug)]
pub(super) struct Removed {
    pub number: u64,
    pub lane: String,
    pub notification: Arc<Notification>,
    /// Tries that failed.
    pub failures: u32,
    pub may_have_arrived: bool,
}

pub(super) fn row_key(number: u64) -> String {
    format!("{number:020}")
}

impl Queue {
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Sets what the tries of targets are limited to. What is over waits.
    pub fn limit(&mut self, rates: BTreeMap<Target, Rate>) {
        self.rates = rates;
    }

    /// A number that is not to be given again.
    pub fn skip(&mut self, number: u64) {
        self.next_number = self.next_number.max(number.saturating_add(1));
    }

    /// Puts a notification that was given up at the end of its lane, as it is.
    pub fn put_back(
        &mut self,
        target: &Target,
        lane: String,
        notification: Arc<Notification>,
        now: Mono,
        batch: &mut Batch,
    ) {
        let number = self.next_number;
        self.next_number += 1;
        let row = Row { target: target.clone(), notification: Arc::clone(&notification) };
        batch.put(Table::Queue, row_key(number), &row);
        let lanes = self.targets.entry(target.clone()).or_default();
        let waiting = Waiting { may_have_arrived: true, ..Waiting::new(number, notification, now) };
        lanes.append(lane.clone(), waiting);
        // Who asks for it has mended what was wrong: what it waits behind need not wait on.
        lanes.hurry(&lane, now);
    }

    /// Takes over a stored row.
    pub fn restore(&mut self, number: u64, lane: String, row: Row, now: Mono) {
        self.skip(number);
        let waiting = Waiting { may_have_arrived: true, ..Waiting::new(number, row.notification, now) };
        self.targets.entry(row.target).or_default().append(lane, waiting);
    }

    /// Takes over stored rows that are older than all that waits, in order of their numbers.
    pub fn restore_older(&mut self, rows: impl IntoIterator<Item = (u64, String, Row)>, now: Mono) {
        let mut by_lane: BTreeMap<(Target, String), Vec<Waiting>> = BTreeMap::new();
        for (number, lane, row) in rows {
            let waiting = Waiting { may_have_arrived: true, ..Waiting::new(number, row.notification, now) };
            by_lane.entry((row.target, lane)).or_default().push(waiting);
        }
        for ((target, lane), older) in by_lane {
            self.targets.entry(target).or_default().put_in_front(&lane, older);
        }
    }

    /// Puts a notification at the end of its lane. One that waits there and says nothing that the new one does not say is
    /// replaced by it. The result is the number of notifications that had to go because the lane was too long.
    pub fn push(
        &mut self,
        target: &Target,
        lane: String,
        mut notification: Notification,
        now: Mono,
        batch: &mut Batch,
    ) -> usize {
        let number = self.next_number;
        self.next_number += 1;
        let lanes = self.targets.entry(target.clone()).or_default();
        let rows = lanes.lanes.entry(lane.clone()).or_default();
        let mut replaced = None;
        if rows.back().is_some_and(|last| !last.in_flight && includes(&notification, &last.notification))
            && let Some(last) = rows.pop_back()
        {
            batch.remove(Table::Queue, row_key(last.number));
            lanes.ready.remove(&last.key(&lane));
            lanes.ages.remove(&last.age());
            add_resolved(&mut notification, &last.notification);
            replaced = Some(last);
        }
        let mut dropped = 0;
        while rows.len() >= MAX_LANE {
            // The one that is in flight stays: if another were sent beside it, that could arrive before it.
            let place = usize::from(rows.front().is_some_and(|first| first.in_flight));
            let Some(oldest) = rows.remove(place) else { break };
            lanes.ready.remove(&oldest.key(&lane));
            lanes.ages.remove(&oldest.age());
            batch.remove(Table::Queue, row_key(oldest.number));
            hand_on(rows, place, &oldest.notification, target, batch);
            dropped += 1;
        }
        if dropped > 0
            && let Some(first) = rows.front().filter(|first| !first.in_flight)
        {
            lanes.ready.insert(first.key(&lane));
        }
        let notification = Arc::new(notification);
        batch.put(
            Table::Queue,
            row_key(number),
            &Row { target: target.clone(), notification: Arc::clone(&notification) },
        );
        // Behind one that may not be tried yet it does not wait any longer than that one.
        let since = rows.front().filter(|first| !first.in_flight).map_or(now, |first| first.since.max(now));
        let waiting = match replaced {
            // It takes over the tries and the backoff.
            Some(old) => Waiting { number, notification, ..old },
            None => Waiting { since, ..Waiting::new(number, notification, now) },
        };
        lanes.append(lane, waiting);
        dropped
    }

    /// Whether something waits in a lane.
    pub fn waits(&self, target: &Target, lane: &str) -> bool {
        self.targets.get(target).is_some_and(|lanes| lanes.lanes.contains_key(lane))
    }

    /// The alerts that are told of by what waits in a lane and is not under way.
    pub fn tells_of(&self, target: &Target, lane: &str) -> BTreeSet<Fingerprint> {
        let rows = self.targets.get(target).and_then(|lanes| lanes.lanes.get(lane));
        let waiting = rows.into_iter().flatten().filter(|waiting| !waiting.in_flight);
        waiting.flat_map(|waiting| &waiting.notification.alerts).map(NotifiedAlert::fingerprint).collect()
    }

    /// Takes what can be tried now.
    pub fn tries(&mut self, now: Mono) -> Vec<Attempt> {
        let mut tries = Vec::new();
        for (target, lanes) in &mut self.targets {
            let rate = self.rates.get(target);
            while lanes.in_flight < MAX_IN_FLIGHT && lanes.hold.max(lanes.free(rate)) <= now {
                let Some((_, number, lane)) = lanes.ready.first().filter(|(at, _, _)| *at <= now).cloned() else {
                    break;
                };
                lanes.ready.pop_first();
                lanes.count(rate, now);
                let Some(first) = lanes.lanes.get_mut(&lane).and_then(VecDeque::front_mut) else { continue };
                first.in_flight = true;
                lanes.in_flight += 1;
                let notification = Arc::clone(&first.notification);
                tries.push(Attempt { target: target.clone(), lane, number, notification });
            }
        }
        tries
    }

    /// What was taken to be tried may not be before then; it waits from then on.
    pub fn postpone(&mut self, attempt: &Attempt, until: Mono) {
        let Some(lanes) = self.targets.get_mut(&attempt.target) else { return };
        let Some(rows) = lanes.lanes.get_mut(&attempt.lane) else { return };
        let Some(first) = rows.front_mut().filter(|first| first.number == attempt.number && first.in_flight) else {
            return;
        };
        first.in_flight = false;
        first.not_before = until;
        if !self.stopping {
            lanes.ready.insert(first.key(&attempt.lane));
        }
        lanes.in_flight -= 1;
        lanes.tried.pop_back();
        for waiting in rows {
            lanes.ages.remove(&waiting.age());
            waiting.since = waiting.since.max(until);
            lanes.ages.insert(waiting.age());
        }
    }

    /// When something can be tried next.
    pub fn next_try(&self) -> Option<Mono> {
        self.targets
            .iter()
            .filter(|(_, lanes)| lanes.in_flight < MAX_IN_FLIGHT)
            .filter_map(|(target, lanes)| {
                Some(lanes.ready.first()?.0.max(lanes.hold).max(lanes.free(self.rates.get(target))))
            })
            .min()
    }

    /// A notification has been confirmed. Gives what it told, and whether it was the last of its lane; `None` when it is
    /// not in the queue any more.
    pub fn confirmed(&mut self, attempt: &Attempt, now: Mono, batch: &mut Batch) -> Option<(Told, bool)> {
        // The target is well: what waits because it was not need not wait on. Not all of it at once, since it may be well
        // only now and then: each that goes well brings a few more. What the target itself refused has to wait.
        if let Some(lanes) = self.targets.get_mut(&attempt.target) {
            lanes.release(now, MAX_IN_FLIGHT, |first| first.refusals == 0);
        }
        let waiting = self.take_first(attempt, batch)?;
        Some((Told::of(&waiting.notification.alerts), !self.waits(&attempt.target, &attempt.lane)))
    }

    /// The agent ends: all that waits out its backoff is tried once more, now, and then not again. What is under way has
    /// its last try already; a target that asked to be left alone still is.
    pub fn last_call(&mut self, now: Mono) {
        self.stopping = true;
        self.targets.values_mut().for_each(|lanes| lanes.release(now, usize::MAX, |_| true));
    }

    /// Whether there has been a last call.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    fn take_first(&mut self, attempt: &Attempt, batch: &mut Batch) -> Option<Waiting> {
        let Attempt { target, lane, number, .. } = attempt;
        let lanes = self.targets.get_mut(target)?;
        let rows = lanes.lanes.get_mut(lane)?;
        rows.front().filter(|first| first.number == *number && first.in_flight)?;
        let taken = rows.pop_front()?;
        lanes.ages.remove(&taken.age());
        lanes.in_flight -= 1;
        batch.remove(Table::Queue, row_key(*number));
        match rows.front() {
            Some(next) => {
                lanes.ready.insert(next.key(lane));
            }
            None => {
                lanes.lanes.remove(lane);
            }
        }
        Some(taken)
    }

    /// A try has failed.
    pub fn failed(
        &mut self,
        attempt: &Attempt,
        error: &DeliveryError,
        jitter: f64,
        now: Mono,
        batch: &mut Batch,
    ) -> Verdict {
        let Attempt { target, lane, number, .. } = attempt;
        let Some(lanes) = self.targets.get_mut(target) else { return Verdict::Unknown };
        let first = lanes.lanes.get_mut(lane).and_then(VecDeque::front_mut);
        let Some(first) = first.filter(|first| first.number == *number && first.in_flight) else {
            return Verdict::Unknown;
        };
        first.error.clone_from(&error.message);
        let wait = if !error.retry {
            first.refusals += 1;
            REFUSED.wait(first.refusals, jitter)
        } else {
            first.failures = first.failures.saturating_add(1);
            first.may_have_arrived = true;
            FAILED.wait(first.failures, jitter)
        };
        if first.refusals >= MAX_REFUSALS {
            let Some(gone) = self.take_first(attempt, batch) else { return Verdict::Unknown };
            let rows = self.targets.get_mut(target).and_then(|lanes| lanes.lanes.get_mut(lane));
            let handed_on = rows.is_some_and(|rows| hand_on(rows, 0, &gone.notification, target, batch));
            return Verdict::GivenUp {
                last: !handed_on,
                may_have_arrived: gone.may_have_arrived,
                failures: gone.failures.saturating_add(gone.refusals),
            };
        }
        first.in_flight = false;
        first.not_before = now.after(wait);
        lanes.in_flight -= 1;
        if !self.stopping {
            lanes.ready.insert(first.key(lane));
        }
        if let Some(hold) = error.retry_after {
            lanes.hold = lanes.hold.max(now.after(hold.min(LONGEST_HOLD)));
        }
        Verdict::Again
    }

    /// Removes what waits for targets that are not `kept`, and gives it.
    pub fn retain(&mut self, kept: impl Fn(&Target) -> bool, batch: &mut Batch) -> Vec<(Target, Vec<Removed>)> {
        let gone: Vec<Target> = self.targets.keys().filter(|target| !kept(target)).cloned().collect();
        let mut removed = Vec::new();
        for target in gone {
            let Some(mut lanes) = self.targets.remove(&target) else { continue };
            let tried = std::mem::take(&mut lanes.tried);
            if !tried.is_empty() {
                // Should it come back, its rate holds on.
                self.targets.insert(target.clone(), Lanes { tried, ..Lanes::default() });
            }
            let mut rows: Vec<Removed> = Vec::new();
            for (lane, waiting) in lanes.lanes {
                rows.extend(waiting.into_iter().map(|waiting| Removed {
                    number: waiting.number,
                    lane: lane.clone(),
                    notification: waiting.notification,
                    failures: waiting.failures.saturating_add(waiting.refusals),
                    may_have_arrived: waiting.may_have_arrived || waiting.in_flight,
                }));
            }
            rows.sort_unstable_by_key(|row| row.number);
            rows.iter().for_each(|row| batch.remove(Table::Queue, row_key(row.number)));
            if !rows.is_empty() {
                removed.push((target, rows));
            }
        }
        removed
    }

    pub fn len(&self) -> usize {
        self.targets.values().map(|lanes| lanes.ages.len()).sum()
    }

    /// How many notifications wait for a target, and since when the oldest does.
    pub fn of(&self, target: &Target) -> (usize, Option<Mono>) {
        let ages = self.targets.get(target).map(|lanes| &lanes.ages);
        ages.map_or((0, None), |ages| (ages.len(), ages.first().map(|(since, _)| *since)))
    }

    /// What waits, in the order in which it became due.
    pub fn view(&self) -> Vec<Undelivered> {
        let mut all: Vec<Undelivered> = Vec::new();
        for (target, lanes) in &self.targets {
            all.extend(lanes.lanes.values().flatten().map(|waiting| Undelivered {
                failures: waiting.failures.saturating_add(waiting.refusals),
                error: waiting.error.clone(),
                ..Undelivered::of(waiting.number, target, &waiting.notification)
            }));
        }
        all.sort_unstable_by_key(|waiting| waiting.number);
        all
    }

    /// Counts all that waits, one by one: what the counts that are kept have to be.
    #[cfg(test)]
    pub fn counted(&self) -> BTreeMap<Target, (usize, Option<Mono>)> {
        let of = |lanes: &Lanes| {
            let all = || lanes.lanes.values().flatten();
            (all().count(), all().map(|waiting| waiting.since).min())
        };
        self.targets.iter().map(|(target, lanes)| (target.clone(), of(lanes))).collect()
    }
}

mod lanes;
mod merge;

#[cfg(test)]
mod tests;
