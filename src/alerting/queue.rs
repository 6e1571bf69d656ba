//! The fourth stage: the durable queue. A lane per target and group keeps order; targets do not wait for each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::core::Mono;
use super::log::Told;
use super::plan::Target;
use crate::sinks::{DeliveryError, Notification, Status};
use crate::state::{Batch, Table};

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
mod shared {
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

struct Waiting {
    number: u64,
    notification: Arc<Notification>,
    since: Mono,
    failures: u32,
    refusals: u32,
    not_before: Mono,
    in_flight: bool,
}

#[derive(Default)]
struct Lanes {
    /// By log key.
    lanes: BTreeMap<String, VecDeque<Waiting>>,
    /// The first of each lane, unless it is in flight: when it may be tried, its number, its lane.
    ready: BTreeSet<(Mono, u64, String)>,
    in_flight: usize,
    /// The target asked to be left alone until then.
    hold: Mono,
}

#[derive(Default)]
pub(super) struct Queue {
    targets: BTreeMap<Target, Lanes>,
    next_number: u64,
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
    /// It is given up; `last`: no other of its group waits.
    GivenUp { last: bool },
    /// It is not in the queue any more.
    Unknown,
}

pub(super) fn row_key(number: u64) -> String {
    format!("{number:020}")
}

impl Waiting {
    fn key(&self, lane: &str) -> (Mono, u64, String) {
        (self.not_before, self.number, lane.to_string())
    }
}

impl Queue {
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Takes over a stored row.
    pub fn restore(&mut self, number: u64, lane: String, row: Row, now: Mono) {
        self.next_number = self.next_number.max(number.saturating_add(1));
        self.append(&row.target, lane, number, row.notification, now);
    }

    fn append(&mut self, target: &Target, lane: String, number: u64, notification: Arc<Notification>, now: Mono) {
        let waiting =
            Waiting { number, notification, since: now, failures: 0, refusals: 0, not_before: now, in_flight: false };
        let lanes = self.targets.entry(target.clone()).or_default();
        let rows = lanes.lanes.entry(lane.clone()).or_default();
        if rows.is_empty() {
            lanes.ready.insert(waiting.key(&lane));
        }
        rows.push_back(waiting);
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
        let mut tries = None;
        if let Some(last) = rows.back().filter(|last| !last.in_flight && includes(&notification, &last.notification)) {
            batch.remove(Table::Queue, row_key(last.number));
            lanes.ready.remove(&last.key(&lane));
            tries = Some((last.since, last.failures, last.refusals, last.not_before));
            add_resolved(&mut notification, &last.notification);
            rows.pop_back();
        }
        let mut dropped = 0;
        while rows.len() >= MAX_LANE {
            // The first may be in flight; it is confirmed or not, but not tried again.
            let Some(oldest) = rows.pop_front() else { break };
            lanes.in_flight -= usize::from(oldest.in_flight);
            lanes.ready.remove(&oldest.key(&lane));
            batch.remove(Table::Queue, row_key(oldest.number));
            dropped += 1;
        }
        if dropped > 0
            && let Some(first) = rows.front()
        {
            lanes.ready.insert(first.key(&lane));
        }
        let notification = Arc::new(notification);
        batch.put(
            Table::Queue,
            row_key(number),
            &Row { target: target.clone(), notification: Arc::clone(&notification) },
        );
        self.append(target, lane.clone(), number, notification, now);
        if let Some((since, failures, refusals, not_before)) = tries
            && let Some(lanes) = self.targets.get_mut(target)
            && let Some(waiting) = lanes.lanes.get_mut(&lane).and_then(VecDeque::back_mut)
        {
            let was_ready = lanes.ready.remove(&waiting.key(&lane));
            (waiting.since, waiting.failures, waiting.refusals, waiting.not_before) =
                (since, failures, refusals, not_before);
            if was_ready {
                lanes.ready.insert(waiting.key(&lane));
            }
        }
        dropped
    }

    /// Whether something waits in a lane.
    pub fn waits(&self, target: &Target, lane: &str) -> bool {
        self.targets.get(target).is_some_and(|lanes| lanes.lanes.contains_key(lane))
    }

    /// Takes what can be tried now.
    pub fn tries(&mut self, now: Mono) -> Vec<Attempt> {
        let mut tries = Vec::new();
        for (target, lanes) in &mut self.targets {
            while lanes.in_flight < MAX_IN_FLIGHT && lanes.hold <= now {
                let Some((_, number, lane)) = lanes.ready.first().filter(|(at, _, _)| *at <= now).cloned() else {
                    break;
                };
                lanes.ready.pop_first();
                let Some(first) = lanes.lanes.get_mut(&lane).and_then(VecDeque::front_mut) else { continue };
                first.in_flight = true;
                lanes.in_flight += 1;
                let notification = Arc::clone(&first.notification);
                tries.push(Attempt { target: target.clone(), lane, number, notification });
            }
        }
        tries
    }

    /// When something can be tried next.
    pub fn next_try(&self) -> Option<Mono> {
        self.targets
            .values()
            .filter(|lanes| lanes.in_flight < MAX_IN_FLIGHT)
            .filter_map(|lanes| Some(lanes.ready.first()?.0.max(lanes.hold)))
            .min()
    }

    /// A notification has been confirmed. Gives what it told, and whether it was the last of its lane; `None` when it is
    /// not in the queue any more.
    pub fn confirmed(&mut self, attempt: &Attempt, batch: &mut Batch) -> Option<(Told, bool)> {
        let waiting = self.take_first(attempt, batch)?;
        Some((Told::of(&waiting.notification.alerts), !self.waits(&attempt.target, &attempt.lane)))
    }

    fn take_first(&mut self, attempt: &Attempt, batch: &mut Batch) -> Option<Waiting> {
        let Attempt { target, lane, number, .. } = attempt;
        let lanes = self.targets.get_mut(target)?;
        let rows = lanes.lanes.get_mut(lane)?;
        rows.front().filter(|first| first.number == *number && first.in_flight)?;
        let taken = rows.pop_front()?;
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
        let wait = if !error.retry {
            first.refusals += 1;
            REFUSED.wait(first.refusals, jitter)
        } else {
            first.failures = first.failures.saturating_add(1);
            FAILED.wait(first.failures, jitter)
        };
        if first.refusals >= MAX_REFUSALS {
            let _ = self.take_first(attempt, batch);
            return Verdict::GivenUp { last: !self.waits(target, lane) };
        }
        first.in_flight = false;
        first.not_before = now.after(wait);
        lanes.in_flight -= 1;
        lanes.ready.insert(first.key(lane));
        if let Some(hold) = error.retry_after {
            lanes.hold = lanes.hold.max(now.after(hold.min(LONGEST_HOLD)));
        }
        Verdict::Again
    }

    /// Removes what waits for targets that are not `kept`, and says for which and how many.
    pub fn retain(&mut self, kept: impl Fn(&Target) -> bool, batch: &mut Batch) -> Vec<(Target, usize)> {
        let gone: Vec<Target> = self.targets.keys().filter(|target| !kept(target)).cloned().collect();
        let mut removed = Vec::new();
        for target in gone {
            let Some(lanes) = self.targets.remove(&target) else { continue };
            let rows: Vec<u64> = lanes.lanes.values().flatten().map(|waiting| waiting.number).collect();
            rows.iter().for_each(|number| batch.remove(Table::Queue, row_key(*number)));
            if !rows.is_empty() {
                removed.push((target, rows.len()));
            }
        }
        removed
    }

    pub fn len(&self) -> usize {
        self.targets.values().flat_map(|lanes| lanes.lanes.values()).map(VecDeque::len).sum()
    }

    /// Since when the oldest notification waits.
    pub fn oldest(&self) -> Option<Mono> {
        self.targets.values().flat_map(|lanes| lanes.lanes.values()).flatten().map(|waiting| waiting.since).min()
    }
}

/// Whether `new` says all that `old` says, so that `old` need not be told: what fires in it still does, and what was
/// resolved in it has not fired again. (What was resolved may have to be added: [`add_resolved`].)
fn includes(new: &Notification, old: &Notification) -> bool {
    let (new, old) = (Told::of(&new.alerts), Told::of(&old.alerts));
    old.firing.is_subset(&new.firing) && old.resolved.is_disjoint(&new.firing)
}

fn add_resolved(new: &mut Notification, old: &Notification) {
    let there = Told::of(&new.alerts);
    let missing = old
        .alerts
        .iter()
        .filter(|a| a.status() == Status::Resolved && !there.resolved.contains(&a.fingerprint()))
        .cloned();
    new.alerts.extend(missing);
    new.alerts.sort_by(super::group::alert_order);
}

#[cfg(test)]
mod tests;
