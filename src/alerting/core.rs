//! The whole of alerting as a function of what happens and when: no clock, no files, no network.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::group::{GroupId, Groups, alert_order};
use super::known::{Known, Stored};
use super::log::{Entry, Log, Need, Told, log_key, need};
use super::plan::{Plan, Target};
use super::queue::{Attempt, Queue, Row, Verdict};
use super::route::Route;
use super::silence::Silences;
use crate::model::{Labels, Timestamp};
use crate::rules::Alert;
use crate::sinks::{DeliveryError, Fingerprint, Notification, NotifiedAlert, Status};
use crate::state::{Batch, Table};

/// The time: everything is counted by the monotonic clock; the wall clock is for messages, and for what is stored.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Now {
    /// Since some fixed moment of this run.
    pub mono: Duration,
    pub wall: Timestamp,
}

/// A moment by the monotonic clock in milliseconds; negative before the run began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(super) struct Mono(i64);

fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}

impl Mono {
    pub fn of(since_start: Duration) -> Mono {
        Mono(millis(since_start))
    }

    pub fn after(self, d: Duration) -> Mono {
        Mono(self.0.saturating_add(millis(d)))
    }

    pub fn before(self, d: Duration) -> Mono {
        Mono(self.0.saturating_sub(millis(d)))
    }

    /// As the time since the run began.
    pub fn since_start(self) -> Duration {
        Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }
}

/// What can happen.
#[derive(Debug)]
pub enum Event {
    /// Rules tell how alerts stand.
    Alerts(Vec<Alert>),
    /// A delivery that was tried has ended.
    Ended(Ended),
    /// Another configuration is in force.
    Plan(Box<Plan>),
    /// The agent ends: what is due is tried a last time. After it, only [`Event::Ended`] counts.
    Stop,
    /// Nothing but time has passed.
    Time,
}

/// How a delivery that was tried has ended.
#[derive(Debug)]
pub struct Ended {
    pub attempt: Attempt,
    pub result: Result<(), DeliveryError>,
}

/// What has to be done: first the rows are stored, then the deliveries tried.
#[derive(Default, Debug)]
pub struct Actions {
    pub batch: Batch,
    pub attempts: Vec<Attempt>,
    /// What became of notifications, for metrics and the log.
    pub endings: Vec<Report>,
    /// Alerts that were not taken because too many are known.
    pub refused: usize,
}

/// What became of a notification, or of several of one target.
#[derive(Debug)]
pub struct Report {
    pub target: Target,
    /// Its lane of the queue. Empty where it is several.
    pub lane: String,
    /// What it was about: the names of its alerts. Empty where it is several.
    pub alerts: String,
    pub ending: Ending,
}

/// What became of a notification.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    Delivered,
    /// A try failed; it is tried again.
    Retried(DeliveryError),
    /// It is not tried any more.
    GivenUp(DeliveryError),
    /// So many had to go: the target is no longer configured.
    NoTarget(usize),
    /// So many had to go: too many of one group waited.
    TooMany(usize),
}

pub struct Core {
    plan: Plan,
    alerts: HashMap<Fingerprint, Known>,
    groups: Groups,
    silences: Silences,
    log: Log,
    queue: Queue,
    /// No alert has to be given up on, and no log entry forgotten, before.
    next_look: Mono,
    /// Distinguishes the notifications of this run from those of others.
    run: u64,
    random: u64,
}

/// How often old log entries are looked for while there are any.
const PURGE_INTERVAL: Duration = Duration::from_secs(15 * 60);

impl Core {
    /// With what was stored before: `load` gives the rows of a table. `seed` should differ from run to run.
    pub fn restore(plan: Plan, seed: u64, now: Now, load: impl Fn(Table) -> Vec<(String, Vec<u8>)>) -> (Core, Actions) {
        let mut random = seed | 1;
        let run = next_random(&mut random);
        let mut core = Core {
            plan,
            alerts: HashMap::new(),
            groups: Groups::default(),
            silences: Silences::default(),
            log: Log::default(),
            queue: Queue::default(),
            next_look: Mono::default(),
            run,
            random,
        };
        let at = Mono::of(now.mono);
        for (key, entry) in read::<Entry>(Table::NotificationLog, &load) {
            core.log.restore(key, entry, now);
        }
        for (key, row) in read::<Row>(Table::Queue, &load) {
            let lane = log_key(&row.target, &row.notification.group_key);
            match key.parse() {
                Ok(number) => core.queue.restore(number, lane, row, at),
                Err(_) => tracing::warn!(key, "a row of the queue has no number: left out"),
            }
        }
        for (_, stored) in read::<Stored>(Table::Alerts, &load) {
            let known = Known::restore(stored, core.plan.resolve_timeout, now);
            core.alerts.insert(known.alert.fingerprint(), known);
        }
        for (id, row) in read(Table::Silences, &load) {
            core.silences.restore(id, row);
        }
        let mut actions = Actions::default();
        core.regroup(&HashMap::new(), at, &mut actions);
        core.finish(now, &mut actions);
        (core, actions)
    }

    /// Takes in what has happened, and says what to do.
    pub fn handle(&mut self, event: Event, now: Now) -> Actions {
        let mut actions = Actions::default();
        match event {
            Event::Alerts(alerts) => actions.refused = self.told_by_rules(alerts, now, &mut actions.batch),
            Event::Ended(ended) => self.ended(ended, now, &mut actions),
            Event::Plan(plan) => self.replan(*plan, Mono::of(now.mono), &mut actions),
            Event::Stop => {
                // What has become due by now is part of it.
                self.finish(now, &mut actions);
                self.queue.last_call(Mono::of(now.mono));
            }
            Event::Time => {}
        }
        self.finish(now, &mut actions);
        actions
    }

    /// When [`Core::handle`] has to be called even if nothing happens, as the time since the run began.
    pub fn next_due(&self) -> Option<Duration> {
        let any = !self.alerts.is_empty() || !self.log.is_empty() || !self.silences.is_empty();
        let look = any.then_some(self.next_look);
        [look, self.groups.next_flush(), self.queue.next_try()].into_iter().flatten().min().map(Mono::since_start)
    }

    /// The number of alerts that fire, and of those that are resolved and not yet told.
    pub fn alerts(&self) -> (usize, usize) {
        let firing = self.alerts.values().filter(|known| known.alert.status() == Status::Firing).count();
        (firing, self.alerts.len() - firing)
    }

    /// The number of notifications that wait to be confirmed, and since when (after the run began) the oldest does.
    pub fn queue(&self) -> (usize, Option<Duration>) {
        (self.queue.len(), self.queue.oldest().map(Mono::since_start))
    }

    /// Puts an alert into its group of a route.
    fn join(
        &mut self,
        route: &Arc<Route>,
        labels: &Labels,
        fingerprint: Fingerprint,
        first_flush: impl FnOnce(&str) -> (Mono, bool),
    ) {
        if self.groups.of(route, labels, first_flush).members.insert(fingerprint)
            && let Some(known) = self.alerts.get_mut(&fingerprint)
        {
            known.groups += 1;
        }
    }

    /// Puts all alerts into the groups of the plan. Of groups in `before` (by receiver and key) it is known when they
    /// have to be looked at; of others, what the log says.
    fn regroup(&mut self, before: &HashMap<(String, String), (Mono, bool)>, now: Mono, actions: &mut Actions) {
        let gone = self.queue.retain(|target| self.plan.has(target), &mut actions.batch);
        let report = |(target, rows)| Report {
            target,
            lane: String::new(),
            alerts: String::new(),
            ending: Ending::NoTarget(rows),
        };
        actions.endings.extend(gone.into_iter().map(report));
        self.groups = Groups::default();
        let mut alerts: Vec<(Fingerprint, Labels)> =
            self.alerts.iter().map(|(fingerprint, known)| (*fingerprint, known.alert.labels.clone())).collect();
        // The hash map's order must not decide anything.
        alerts.sort_unstable();
        self.alerts.values_mut().for_each(|known| known.groups = 0);
        for (fingerprint, labels) in alerts {
            for route in self.plan.root.dispatch(&labels) {
                let key = route.group_key(&route.group_labels(&labels));
                let notified =
                    self.plan.recipients.get(&route.receiver).and_then(|all| {
                        all.iter().filter_map(|r| Some(self.log.get(&log_key(&r.target, &key))?.at)).max()
                    });
                let first = match (before.get(&(route.receiver.clone(), key)), notified) {
                    (Some(known), _) => *known,
                    // It goes on with its interval where it was.
                    (None, Some(notified)) => (notified.after(route.group_interval).max(now), true),
                    (None, None) => (now.after(route.group_wait), false),
                };
                self.join(&route, &labels, fingerprint, |_| first);
            }
        }
        self.next_look = now;
    }

    fn replan(&mut self, plan: Plan, now: Mono, actions: &mut Actions) {
        let before = self
            .groups
            .iter()
            .map(|group| ((group.route.receiver.clone(), group.key.clone()), (group.next_flush(), group.flushed)))
            .collect();
        self.plan = plan;
        self.regroup(&before, now, actions);
    }

    fn ended(&mut self, ended: Ended, now: Now, actions: &mut Actions) {
        let Ended { attempt, result } = ended;
        let batch = &mut actions.batch;
        let ending = match result {
            Ok(()) => {
                if let Some((told, last)) = self.queue.confirmed(&attempt, Mono::of(now.mono), batch) {
                    self.log.confirmed(&attempt.lane, told, last, now, batch);
                }
                Ending::Delivered
            }
            Err(error) => {
                let jitter = self.jitter();
                match self.queue.failed(&attempt, &error, jitter, Mono::of(now.mono), batch) {
                    Verdict::Again => Ending::Retried(error),
                    Verdict::GivenUp { last, may_have_arrived } => {
                        let alerts = attempt.notification.alerts.iter().filter(|_| may_have_arrived);
                        self.log.given_up(&attempt.lane, Told::of(alerts), last, batch);
                        if last {
                            self.tell_ends_again(&attempt, Mono::of(now.mono), batch);
                        }
                        Ending::GivenUp(error)
                    }
                    Verdict::Unknown => return,
                }
            }
        };
        let alerts = attempt.notification.alert_names();
        actions.endings.push(Report { target: attempt.target, lane: attempt.lane, alerts, ending });
    }

    /// A target that knows that an alert fires has refused, for good, to hear of its end: as Alertmanager does, it is told
    /// again when the group would be looked at next, and so on until it listens.
    fn tell_ends_again(&mut self, refused: &Attempt, now: Mono, batch: &mut Batch) {
        let Notification { group_key, alerts, .. } = refused.notification.as_ref();
        for alert in alerts.iter().filter(|alert| alert.status() == Status::Resolved) {
            let fingerprint = alert.fingerprint();
            if !self.log.get(&refused.lane).is_some_and(|entry| entry.told.firing.contains(&fingerprint)) {
                continue;
            }
            for route in self.plan.root.dispatch(&alert.labels) {
                let key = route.group_key(&route.group_labels(&alert.labels));
                if route.receiver != refused.target.receiver || key != *group_key {
                    continue;
                }
                self.alerts.entry(fingerprint).or_insert_with(|| {
                    batch.put(Table::Alerts, fingerprint.to_string(), alert);
                    Known {
                        alert: alert.clone(),
                        told: now,
                        updated: alert.ends_at.unwrap_or_default(),
                        valid_for: Duration::ZERO,
                        posted: None,
                        groups: 0,
                    }
                });
                self.join(&route, &alert.labels, fingerprint, |_| (now.after(route.group_interval), true));
            }
        }
    }

    /// What time brings: alerts that are not told any more, groups to look at, deliveries to try.
    fn finish(&mut self, now: Now, actions: &mut Actions) {
        let at = Mono::of(now.mono);
        // What becomes due after the last call is found by the next start, from the alerts in the store.
        if !self.queue.is_stopping() {
            if self.next_look <= at {
                self.look(now, &mut actions.batch);
            }
            while let Some(id) = self.groups.due(at) {
                self.flush(&id, now, actions);
            }
        }
        actions.attempts.extend(self.queue.tries(at));
    }

    /// Resolves alerts that rules have not told of for too long, and forgets what is old.
    fn look(&mut self, now: Now, batch: &mut Batch) {
        let at = Mono::of(now.mono);
        self.log.purge(at, |fingerprint| self.alerts.contains_key(fingerprint), batch);
        self.silences.purge(now.wall, batch);
        let mut next = at.after(PURGE_INTERVAL);
        for (fingerprint, known) in &mut self.alerts {
            let limit = known.limit(self.plan.resolve_timeout);
            if known.alert.ends_at.is_some() {
                continue;
            }
            if limit <= at {
                let ends_at = known.posted.map_or(now.wall, |posted| Timestamp::from_millis(posted.until));
                known.alert.ends_at = Some(ends_at.max(known.alert.starts_at));
                batch.put(Table::Alerts, fingerprint.to_string(), &known.row());
            } else {
                next = next.min(limit);
            }
        }
        self.next_look = next;
    }

    /// Looks at a group: whom is it news?
    fn flush(&mut self, id: &GroupId, now: Now, actions: &mut Actions) {
        let at = Mono::of(now.mono);
        let Some(group) = self.groups.get_mut(id) else { return };
        group.flushed = true;
        let route = Arc::clone(&group.route);
        let mut alerts: Vec<NotifiedAlert> =
            group.members.iter().filter_map(|f| Some(self.alerts.get(f)?.alert.clone())).collect();
        alerts.sort_by(alert_order);
        let key = group.key.clone();
        let labels = group.labels.clone();
        self.groups.reschedule(id, at.after(route.group_interval));
        let told = Told::of(&alerts);
        let recipients = self.plan.recipients.get(&route.receiver).cloned().unwrap_or_default();
        for recipient in &recipients {
            let lane = log_key(&recipient.target, &key);
            let repeat = recipient.resend.map_or(route.repeat_interval, |resend| resend.min(route.repeat_interval));
            let need = need(self.log.get(&lane), &told, recipient.send_resolved, repeat, at);
            // A repetition of what still waits to be told at all is none.
            if need == Need::No || (need == Need::Repeat && self.queue.waits(&recipient.target, &lane)) {
                continue;
            }
            let mut sent = alerts.clone();
            if !recipient.send_resolved {
                sent.retain(|alert| alert.status() == Status::Firing);
            }
            if sent.is_empty() {
                // All is resolved, and this target does not want to know.
                self.log.forget(&lane, &mut actions.batch);
                continue;
            }
            let notification = Notification {
                id: format!("{:016x}-{}", self.run, self.queue.next_number()),
                receiver: route.receiver.clone(),
                group_key: key.clone(),
                group_labels: labels.clone(),
                at: now.wall,
                external_url: self.plan.external_url.clone(),
                alerts: sent,
            };
            self.log.due(&lane, told.clone(), route.repeat_interval, now, &mut actions.batch);
            let about = notification.alert_names();
            let dropped = self.queue.push(&recipient.target, lane.clone(), notification, at, &mut actions.batch);
            if dropped > 0 {
                let target = (*recipient.target).clone();
                actions.endings.push(Report { target, lane, alerts: about, ending: Ending::TooMany(dropped) });
            }
        }
        self.leave(id, &told, &mut actions.batch);
    }

    /// Takes resolved alerts, which have been told now, out of their group, and forgets those that are in no other.
    fn leave(&mut self, id: &GroupId, told: &Told, batch: &mut Batch) {
        let Some(group) = self.groups.get_mut(id) else { return };
        group.members.retain(|fingerprint| !told.resolved.contains(fingerprint));
        if group.members.is_empty() {
            self.groups.remove(id);
        }
        for fingerprint in &told.resolved {
            let Some(known) = self.alerts.get_mut(fingerprint) else { continue };
            known.groups = known.groups.saturating_sub(1);
            if known.groups == 0 {
                self.alerts.remove(fingerprint);
                batch.remove(Table::Alerts, fingerprint.to_string());
            }
        }
    }

    /// From 0 to 1.
    fn jitter(&mut self) -> f64 {
        next_random(&mut self.random) as f64 / u64::MAX as f64
    }
}

/// xorshift64*: spreads retries, and makes identifiers; nothing that has to be secret.
fn next_random(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

/// The rows of a table that can be read.
fn read<V: serde::de::DeserializeOwned>(
    table: Table,
    load: &impl Fn(Table) -> Vec<(String, Vec<u8>)>,
) -> Vec<(String, V)> {
    let parse = |(key, row): (String, Vec<u8>)| match serde_json::from_slice(&row) {
        Ok(value) => Some((key, value)),
        Err(error) => {
            tracing::warn!(?table, key, %error, "a stored row is not understood: left out");
            None
        }
    };
    load(table).into_iter().filter_map(parse).collect()
}

mod ask;
mod told;

#[cfg(test)]
mod tests;
