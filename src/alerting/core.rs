//! The whole of alerting as a function of what happens and when: no clock, no files, no network.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::dead::DeadLetters;
use super::flapping::Flaps;
use super::group::{Group, Groups};
use super::inhibit::Inhibitor;
use super::known::{Alerts, Known, Stored};
use super::log::{Entry, Log, Told, log_key};
use super::plan::{Plan, Target};
use super::queue::{Attempt, Queue, Row, Verdict};
use super::remedy::{Done, Order};
use super::route::Route;
use super::silence::Silences;
use crate::model::{Labels, Timestamp};
use crate::rules::Alert;
use crate::sinks::{DeliveryError, Fingerprint, Status};
use crate::state::{Batch, StoredRows, Table};
pub use remedy::Deed;
use remedy::Remedies;

/// The tables in which alerting keeps what has to survive a restart.
pub(super) const TABLES: [Table; 7] = [
    Table::NotificationLog,
    Table::Queue,
    Table::Alerts,
    Table::Silences,
    Table::Flapping,
    Table::DeadLetters,
    Table::Actions,
];

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

    /// How long after this a later moment is.
    pub fn until(self, later: Mono) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }

    /// The first multiple of a distance after it.
    pub fn next_multiple_of(self, distance: Duration) -> Mono {
        let distance = millis(distance).max(1);
        Mono(self.0.saturating_add(distance.saturating_sub(self.0.rem_euclid(distance))))
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
    /// The pool has begun the command of an action: its number.
    Begun(u64),
    /// The command of an action has ended: its number, and how.
    Done(u64, Done),
    /// The store can be read at last: what lies in it from before ([`Core::unread`]).
    Read(StoredRows),
    /// Another configuration is in force.
    Plan(Box<Plan>),
    /// The agent ends: what is due is tried a last time. After it, only [`Event::Ended`], [`Event::Begun`] and
    /// [`Event::Done`] count.
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
    /// Actions to run, as the deliveries once the rows are stored.
    pub orders: Vec<Order>,
    /// What became of actions, for metrics and the log.
    pub deeds: Vec<Deed>,
    /// What became of notifications, for metrics and the log.
    pub endings: Vec<Report>,
    /// Alerts that were not taken because too many are known.
    pub refused: usize,
    /// How many alerts were left out of notifications, and why.
    pub suppressed: BTreeMap<Suppressed, usize>,
}

/// Why an alert is left out of a notification.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Suppressed {
    Inhibition,
    ActiveTime,
    MuteTime,
    Silence,
}

impl Suppressed {
    pub const ALL: [Suppressed; 4] =
        [Suppressed::Inhibition, Suppressed::ActiveTime, Suppressed::MuteTime, Suppressed::Silence];

    /// As Alertmanager calls it in its metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Suppressed::Inhibition => "inhibition",
            Suppressed::ActiveTime => "active_time_interval",
            Suppressed::MuteTime => "mute_time_interval",
            Suppressed::Silence => "silence",
        }
    }
}

/// What became of a notification, or of several of one target.
#[derive(Debug)]
pub struct Report {
    pub target: Target,
    /// Its lane of the queue. Empty where it is several.
    pub lane: String,
    /// What it was about: the names of its alerts. Where it is several, of the first.
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
    alerts: Alerts,
    groups: Groups,
    silences: Silences,
    inhibitor: Inhibitor,
    flaps: Flaps,
    log: Log,
    queue: Queue,
    dead: DeadLetters,
    remedies: Remedies,
    /// No alert has to be given up on, and no log entry forgotten, before.
    next_look: Mono,
    /// When groups that have become empty are forgotten.
    next_sweep: Mono,
    has_empty_groups: bool,
    /// The number of the first notification of this run.
    first_number: u64,
    /// Distinguishes the notifications of this run from those of others.
    run: u64,
    random: u64,
}

impl Core {
    /// With what was stored before: `load` gives the rows of a table. `seed` should differ from run to run.
    pub fn restore(plan: Plan, seed: u64, now: Now, load: impl Fn(Table) -> Vec<(String, Vec<u8>)>) -> (Core, Actions) {
        let mut random = seed | 1;
        let run = next_random(&mut random);
        let mut core = Core {
            inhibitor: Inhibitor::default(),
            plan,
            alerts: Alerts::default(),
            groups: Groups::default(),
            silences: Silences::default(),
            flaps: Flaps::default(),
            log: Log::default(),
            queue: Queue::default(),
            dead: DeadLetters::default(),
            remedies: Remedies::default(),
            next_look: Mono::default(),
            next_sweep: Mono::default(),
            has_empty_groups: false,
            first_number: 0,
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
        for (key, row) in read(Table::Flapping, &load) {
            core.flaps.restore(&key, row, now);
        }
        for (key, letter) in read(Table::DeadLetters, &load) {
            let Ok(number) = key.parse() else { continue };
            core.queue.skip(number);
            core.dead.restore(number, letter);
        }
        for (key, entry) in read(Table::Actions, &load) {
            let Ok(number) = key.parse() else { continue };
            core.remedies.restore(number, entry, now);
        }
        core.first_number = core.queue.next_number();
        let mut actions = Actions::default();
        core.settle_actions(now, &mut actions);
        core.regroup(&HashMap::new(), now, &mut actions);
        core.finish(now, &mut actions);
        (core, actions)
    }

    /// Takes in what has happened, and says what to do.
    pub fn handle(&mut self, event: Event, now: Now) -> Actions {
        let mut actions = Actions::default();
        match event {
            Event::Alerts(alerts) => actions.refused = self.told_by_rules(alerts, now, &mut actions.batch),
            Event::Ended(ended) => self.ended(ended, now, &mut actions),
            Event::Begun(number) => self.begun(number, now, &mut actions),
            Event::Done(number, done) => self.done(number, done, now, &mut actions),
            Event::Read(rows) => self.take_over(rows, now, &mut actions),
            Event::Plan(plan) => self.replan(*plan, now, &mut actions),
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
        let nothing = self.alerts.len() == 0
            && self.log.is_empty()
            && self.silences.is_empty()
            && self.flaps.is_empty()
            && self.dead.is_empty()
            && self.remedies.is_empty();
        let look = (!nothing).then_some(self.next_look);
        let sweep = self.has_empty_groups.then_some(self.next_sweep);
        let decision = self.remedies.next().filter(|_| !self.queue.is_stopping());
        [look, sweep, decision, self.groups.next_flush(), self.queue.next_try()]
            .into_iter()
            .flatten()
            .min()
            .map(Mono::since_start)
    }

    /// The number of alerts that fire, and of those that are resolved and not yet told.
    pub fn alerts(&self) -> (usize, usize) {
        (self.alerts.firing(), self.alerts.len() - self.alerts.firing())
    }

    /// The number of notifications that wait to be confirmed.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// For each target how many notifications wait to be confirmed, and since when (after the run began) the oldest does.
    /// For targets that are not configured none waits.
    pub fn queues(&self) -> impl Iterator<Item = (&Arc<Target>, usize, Option<Duration>)> {
        self.plan.recipients.values().flatten().map(|recipient| {
            let (waiting, oldest) = self.queue.of(&recipient.target);
            (&recipient.target, waiting, oldest.map(Mono::since_start))
        })
    }

    /// Holds the counts that are kept against what is there.
    #[cfg(test)]
    pub fn assert_counted(&self) {
        let firing = self.alerts.iter().filter(|(_, known)| known.alert.status() == Status::Firing).count();
        assert_eq!(self.alerts(), (firing, self.alerts.len() - firing));
        let counted = self.queue.counted();
        assert_eq!(self.waiting(), counted.values().map(|(waiting, _)| waiting).sum::<usize>());
        for (target, (waiting, oldest)) in &counted {
            assert_eq!(self.queue.of(target), (*waiting, *oldest), "{target}");
            assert!(*waiting == 0 || self.plan.has(target), "{target} is gone");
        }
    }

    /// Puts an alert into its group of a route.
    fn join(
        &mut self,
        route: &Arc<Route>,
        labels: &Labels,
        fingerprint: Fingerprint,
        first_flush: impl FnOnce(&str) -> (Mono, bool),
    ) {
        if self.groups.of(route, labels, first_flush).members.insert(fingerprint) {
            self.alerts.change(&fingerprint, |known| known.groups += 1);
        }
    }

    /// Puts all alerts into the groups of the plan. Of groups in `before` (by receiver and key) it is known when they
    /// have to be looked at; of others, what the log says.
    fn regroup(&mut self, before: &HashMap<(String, String), (Mono, bool)>, now: Now, actions: &mut Actions) {
        for (target, rows) in self.queue.retain(|target| self.plan.has(target), &mut actions.batch) {
            let names: BTreeSet<String> = rows.iter().take(10).map(|row| row.notification.alert_names()).collect();
            actions.endings.push(Report {
                target: target.clone(),
                lane: String::new(),
                alerts: Vec::from_iter(names).join(", "),
                ending: Ending::NoTarget(rows.len()),
            });
            for row in rows {
                // What it has not been told is news to it, should it come back.
                let tried = row.notification.alerts.iter().filter(|_| row.may_have_arrived);
                self.log.given_up(&row.lane, Told::of(tried), true, &mut actions.batch);
                let why = ("its receiver is no longer configured".to_string(), row.failures);
                self.bury(row.number, target.clone(), row.notification, why, now, &mut actions.batch);
            }
        }
        let rates = self.plan.recipients.values().flatten();
        self.queue.limit(rates.filter_map(|r| Some(((*r.target).clone(), r.rate?))).collect());
        self.inhibitor = Inhibitor::new(&self.plan.inhibit_rules);
        let now = Mono::of(now.mono);
        self.groups = Groups::default();
        let mut alerts: Vec<(Fingerprint, Labels)> =
            self.alerts.iter().map(|(fingerprint, known)| (*fingerprint, known.alert.labels.clone())).collect();
        // The hash map's order must not decide anything.
        alerts.sort_unstable();
        self.alerts.leave_groups();
        for (fingerprint, labels) in alerts {
            self.index(fingerprint);
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

    /// Keeps what inhibits up to date with an alert that has changed.
    fn index(&mut self, fingerprint: Fingerprint) {
        if let Some(known) = self.alerts.get(&fingerprint) {
            self.inhibitor.update(fingerprint, &known.alert.labels, known.alert.status() == Status::Firing);
        }
    }

    fn replan(&mut self, plan: Plan, now: Now, actions: &mut Actions) {
        let before = self.looks();
        self.plan = plan;
        self.settle_actions(now, actions);
        self.regroup(&before, now, actions);
    }

    /// When groups, by receiver and key, have to be looked at, and whether they have been.
    fn looks(&self) -> HashMap<(String, String), (Mono, bool)> {
        let of =
            |group: &Group| ((group.route.receiver.clone(), group.key.clone()), (group.next_flush(), group.flushed));
        self.groups.iter().map(of).collect()
    }

    fn ended(&mut self, ended: Ended, now: Now, actions: &mut Actions) {
        self.delivered(&ended, now, actions);
        let Ended { attempt, result } = ended;
        let batch = &mut actions.batch;
        let ending = match result {
            Ok(()) => {
                if let Some((told, last)) = self.queue.confirmed(&attempt, Mono::of(now.mono), batch) {
                    self.log.confirmed(&attempt.lane, told, last, now, batch);
                    self.dead.supersede(&attempt.target, &attempt.notification, batch);
                }
                Ending::Delivered
            }
            Err(error) => {
                let jitter = self.jitter();
                match self.queue.failed(&attempt, &error, jitter, Mono::of(now.mono), batch) {
                    Verdict::Again => Ending::Retried(error),
                    Verdict::GivenUp { last, may_have_arrived, failures } => {
                        let alerts = attempt.notification.alerts.iter().filter(|_| may_have_arrived);
                        self.log.given_up(&attempt.lane, Told::of(alerts), last, batch);
                        if last {
                            self.tell_ends_again(&attempt, Mono::of(now.mono), batch);
                        }
                        let notification = Arc::clone(&attempt.notification);
                        let why = (error.message.clone(), failures);
                        self.bury(attempt.number, attempt.target.clone(), notification, why, now, batch);
                        Ending::GivenUp(error)
                    }
                    Verdict::Unknown => return,
                }
            }
        };
        let alerts = attempt.notification.alert_names();
        actions.endings.push(Report { target: attempt.target, lane: attempt.lane, alerts, ending });
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

/// A row, if it can be read.
fn parse<V: serde::de::DeserializeOwned>(table: Table, key: &str, row: &[u8]) -> Option<V> {
    serde_json::from_slice(row)
        .inspect_err(|error| tracing::warn!(?table, key, %error, "a stored row is not understood: left out"))
        .ok()
}

/// The rows of a table that can be read.
fn read<V: serde::de::DeserializeOwned>(
    table: Table,
    load: &impl Fn(Table) -> Vec<(String, Vec<u8>)>,
) -> Vec<(String, V)> {
    let parse = |(key, row): (String, Vec<u8>)| {
        let value = parse(table, &key, &row)?;
        Some((key, value))
    };
    load(table).into_iter().filter_map(parse).collect()
}

mod ask;
mod flush;
mod found;
mod given_up;
mod remedy;
mod told;

#[cfg(test)]
mod tests;
