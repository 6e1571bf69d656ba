//! The world, and what happens in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Random;
use super::config::plans;
use super::counts::Counts;
use super::source::Source;
use crate::alerting::core::{Actions, Core, Ended, Ending, Event, Now};
use crate::alerting::plan::{Plan, Target};
use crate::alerting::queue::{Attempt, Row, row_key};
use crate::alerting::view::Silence;
use crate::model::Timestamp;
use crate::sinks::{DeliveryError, Fingerprint, Notification, NotifiedAlert, Reason, Status};
use crate::state::Table;

/// How often alerts are told again.
pub(super) const RESEND: u64 = 120_000;
/// The true time when a world begins: 2025-01-01T12:02:50Z, in milliseconds; ten seconds before times of the configurations
/// begin.
pub(super) const BEGIN: u64 = 1_735_732_970_000;

/// A delivery that the sink is busy with.
pub(super) struct Flight {
    pub attempt: Attempt,
    pub ends: u64,
    pub arrives: bool,
    pub result: Result<(), DeliveryError>,
}

/// A notification that has arrived.
pub(super) struct Arrived {
    pub target: Target,
    pub notification: Arc<Notification>,
    /// Its place in the order in which notifications became due.
    pub serial: usize,
}

/// A target that has to be told of an alert (since when it fires) that it fires, or `true`: is resolved.
pub(super) type Due = (Target, Fingerprint, Timestamp, bool);

fn said(target: &Target, notification: &Notification) -> String {
    let alert = |a: &NotifiedAlert| format!("{}{}", a.status().as_str(), a.labels.get("instance"));
    let alerts: Vec<String> = notification.alerts.iter().map(alert).collect();
    format!("{} {target} {} {}", notification.id, notification.group_key, alerts.join(" "))
}

pub(super) fn told(target: &Target, notification: &Notification) -> Vec<Due> {
    let due = |alert: &NotifiedAlert| {
        (target.clone(), alert.fingerprint(), alert.starts_at, alert.status() == Status::Resolved)
    };
    notification.alerts.iter().map(due).collect()
}

pub(super) struct World {
    pub random: Random,
    /// Says what happens, for who looks for a fault.
    pub talks: bool,
    pub faults: bool,
    /// The true time, in milliseconds.
    pub clock: u64,
    /// By how much the wall clock is wrong.
    pub skew: i64,
    /// When the agent was started, by the true time.
    pub started: u64,
    /// The two configurations, and which is in force.
    pub plans: &'static (Plan, Plan),
    pub second_plan: bool,
    /// Whether the routing tree changes in this run, and whether people set silences: where not, more can be asked of it.
    pub replans: bool,
    pub silences_are_set: bool,
    /// There was another routing tree than the one in force at the end.
    pub replanned: bool,
    pub core: Option<Core>,
    /// While the agent is down: when it comes back.
    pub back: u64,
    /// While the agent stops: until when at most, and what it has tried since.
    pub stopping: Option<(u64, BTreeSet<u64>)>,
    /// Targets that refuse all they get, and until when.
    pub refusing: BTreeMap<Target, u64>,
    pub rows: BTreeMap<(Table, String), Vec<u8>>,
    pub flights: Vec<Flight>,
    pub sources: Vec<Source>,
    /// When the next thing happens of its own.
    pub next_event: u64,
    pub next_resend: u64,
    /// The silences that are known to be set.
    pub silences: Vec<Silence>,
    pub arrived: Vec<Arrived>,
    /// The identifiers of all notifications that were due, with their number in the queue and their place in the order.
    pub became_due: BTreeMap<String, (String, usize)>,
    pub next_serial: usize,
    /// What was due: which target had to be told of which alert that it fires or is resolved.
    pub due: BTreeSet<Due>,
    /// What a target refused so often that it was given up, or whose target went.
    pub given_up: BTreeSet<Due>,
    /// When tries were made, by the monotonic clock of this run, by target.
    pub tries: BTreeMap<Target, Vec<Duration>>,
    pub counts: Counts,
}

impl World {
    pub fn new(seed: u64, talks: bool) -> World {
        let mut random = Random(seed);
        let plans = random.one_of(plans());
        let sources = (0..2 + random.below(4)).map(Source::new).collect();
        let mut world = World {
            sources,
            replans: random.once_in(2),
            silences_are_set: random.once_in(2),
            random,
            talks,
            faults: true,
            clock: BEGIN,
            skew: 0,
            started: BEGIN,
            plans,
            second_plan: false,
            replanned: false,
            core: None,
            back: 0,
            stopping: None,
            refusing: BTreeMap::new(),
            rows: BTreeMap::new(),
            flights: Vec::new(),
            next_event: BEGIN,
            next_resend: BEGIN + RESEND,
            silences: Vec::new(),
            arrived: Vec::new(),
            became_due: BTreeMap::new(),
            next_serial: 0,
            due: BTreeSet::new(),
            given_up: BTreeSet::new(),
            tries: BTreeMap::new(),
            counts: Counts::default(),
        };
        world.start();
        world
    }

    pub fn say(&self, what: impl FnOnce() -> String) {
        if self.talks {
            eprintln!("{:>9.3} {}", (self.clock - BEGIN) as f64 / 1000.0, what());
        }
    }

    pub fn now(&self) -> Now {
        let wall = i64::try_from(self.clock).unwrap() + self.skew;
        Now { mono: Duration::from_millis(self.clock - self.started), wall: Timestamp::from_millis(wall) }
    }

    pub fn plan(&self) -> &'static Plan {
        if self.second_plan { &self.plans.1 } else { &self.plans.0 }
    }

    fn start(&mut self) {
        self.started = self.clock;
        self.tries.clear();
        self.say(|| format!("start with the second plan: {}", self.second_plan));
        let seed = self.random.next();
        let load = |table: Table| {
            let of_table = self.rows.iter().filter(|((t, _), _)| *t == table);
            of_table.map(|((_, key), row)| (key.clone(), row.clone())).collect()
        };
        let (core, actions) = Core::restore(self.plan().clone(), seed, self.now(), load);
        let kept = core.view_silences();
        for silence in &self.silences {
            let kept = kept.iter().find(|kept| kept.id == silence.id);
            assert_eq!(kept.map(|kept| (kept.starts_at, kept.ends_at)), Some((silence.starts_at, silence.ends_at)));
        }
        self.core = Some(core);
        self.note(&actions);
        self.act(actions);
        // Rules know their states from the store too, and tell them with their first evaluation.
        self.sources.iter_mut().for_each(|source| source.told = false);
    }

    pub fn handle(&mut self, event: Event) {
        let now = self.now();
        let Some(core) = &mut self.core else { return };
        let actions = core.handle(event, now);
        self.done(actions);
    }

    /// Does what the core wants done, or crashes before or after it is stored. Whether it was stored.
    pub fn done(&mut self, actions: Actions) -> bool {
        self.note(&actions);
        if !self.faults || !self.random.once_in(150) {
            self.act(actions);
            return true;
        }
        let stored = self.random.once_in(2);
        if stored {
            self.store(&actions);
        }
        self.crash();
        stored
    }

    fn note(&mut self, actions: &Actions) {
        for (why, alerts) in &actions.suppressed {
            self.counts.suppressed[*why as usize] += alerts;
        }
    }

    pub fn crash(&mut self) {
        self.say(|| "crash".to_string());
        self.counts.crashes += 1;
        self.core = None;
        self.stopping = None;
        // What is under way may still arrive, but nobody waits for the answer.
        for flight in std::mem::take(&mut self.flights) {
            if self.random.once_in(2) {
                self.arrive(flight.attempt);
            }
        }
        let longest = if self.random.once_in(8) { 300_000 } else { 10_000 };
        self.back = self.clock + self.random.below(longest);
    }

    fn store(&mut self, actions: &Actions) {
        let tried: BTreeMap<String, &Attempt> =
            actions.attempts.iter().map(|attempt| (row_key(attempt.number), attempt)).collect();
        for change in actions.batch.changes() {
            let key = (change.table, change.key.clone());
            let Some(row) = &change.row else {
                self.rows.remove(&key);
                continue;
            };
            if change.table == Table::Queue {
                match tried.get(&change.key) {
                    Some(attempt) => self.becomes_due(&change.key, &attempt.target, &attempt.notification),
                    None => {
                        let row: Row = serde_json::from_slice(row).unwrap();
                        self.becomes_due(&change.key, &row.target, &row.notification);
                    }
                }
            }
            if change.table == Table::DeadLetters {
                let letter: Row = serde_json::from_slice(row).unwrap();
                self.given_up.extend(told(&letter.target, &letter.notification));
                self.counts.given_up += 1;
            }
            self.rows.insert(key, row.clone());
        }
    }

    fn becomes_due(&mut self, key: &str, target: &Target, notification: &Notification) {
        let serial = self.next_serial;
        self.next_serial += 1;
        self.say(|| format!("due {key} {serial} {}", said(target, notification)));
        let place = self.became_due.entry(notification.id.clone()).or_insert_with(|| (key.to_string(), serial));
        let mut again = false;
        if place.0 != key {
            // One that was given up is tried again: behind all that was due since.
            *place = (key.to_string(), serial);
            again = true;
        }
        for due in told(target, notification) {
            if !again && !self.due.contains(&due) {
                self.check_due(target, notification, &due);
            }
            self.due.insert(due);
        }
        self.counts.flapping += notification.alerts.iter().filter(|a| a.details.flapping.is_some()).count();
    }

    fn act(&mut self, actions: Actions) {
        self.core.as_ref().unwrap().assert_counted();
        self.store(&actions);
        for attempt in actions.attempts {
            let stored = self.rows.contains_key(&(Table::Queue, row_key(attempt.number)));
            assert!(stored, "not stored before");
            if let Some((_, tried)) = &mut self.stopping {
                assert!(tried.insert(attempt.number), "more than a last try");
            }
            self.check_rate(&attempt.target);
            let refuses = self.faults && self.refusing.get(&attempt.target).is_some_and(|until| self.clock < *until);
            let fails = refuses || (self.faults && self.random.once_in(2));
            let error = DeliveryError {
                retry: !refuses,
                retry_after: (!refuses && self.random.once_in(4)).then(|| Duration::from_secs(30)),
                reason: Reason::Timeout,
                message: "simulated".to_string(),
            };
            self.flights.push(Flight {
                attempt,
                ends: self.clock + if self.faults { self.random.below(12_000) } else { 0 },
                // A sink may take a notification and fail to say so.
                arrives: !fails || (!refuses && self.random.once_in(3)),
                result: if fails { Err(error) } else { Ok(()) },
            });
        }
        for report in actions.endings {
            assert!(!matches!(report.ending, Ending::TooMany(_)), "no lane is so long here");
        }
    }

    /// There may be no more tries than the rate allows.
    fn check_rate(&mut self, target: &Target) {
        let Some(rate) = self
            .plan()
            .recipients
            .values()
            .flatten()
            .find(|r| *r.target == *target)
            .and_then(|recipient| recipient.rate)
        else {
            return;
        };
        let now = self.now().mono;
        let tries = self.tries.entry(target.clone()).or_default();
        tries.push(now);
        let of_late = tries.iter().filter(|t| **t + rate.per > now).count();
        assert!(of_late <= rate.tries, "{of_late} tries of {target}");
        if of_late == rate.tries {
            self.counts.held_back_by_rate += 1;
        }
    }

    pub fn arrive(&mut self, attempt: Attempt) {
        self.say(|| format!("arrives {}", said(&attempt.target, &attempt.notification)));
        let Attempt { target, notification, .. } = attempt;
        let serial = self.became_due[&notification.id].1;
        self.arrived.push(Arrived { target, notification, serial });
        self.counts.arrived += 1;
    }

    /// Goes on for so long, from event to event.
    pub fn go_on(&mut self, millis: u64) {
        let end = self.clock + millis;
        while let Some(at) = self.next().filter(|at| *at <= end) {
            self.clock = self.clock.max(at);
            self.step();
        }
        self.clock = end;
    }

    /// When something happens next.
    fn next(&self) -> Option<u64> {
        let core = match (&self.core, &self.stopping) {
            (None, _) => Some(self.back),
            (_, Some((until, _))) => Some(if self.flights.is_empty() { self.clock } else { *until }),
            (Some(core), None) => core.next_due().map(|due| self.started + due.as_millis() as u64),
        };
        let news = self.sources.iter().any(|source| source.is_news(self.clock));
        let untold = news && self.core.is_some() && self.stopping.is_none();
        let flights = self.flights.iter().map(|flight| flight.ends).min();
        let event = self.faults.then_some(self.next_event);
        [core, flights, event, Some(self.next_resend), untold.then_some(self.clock)].into_iter().flatten().min()
    }

    /// What happens at this moment.
    fn step(&mut self) {
        self.counts.steps += 1;
        if self.faults && self.clock >= self.next_event {
            self.next_event = self.clock + self.random.below(6_000);
            self.happen();
        }
        if self.clock >= self.next_resend {
            self.next_resend = self.clock + RESEND;
            self.sources.iter_mut().for_each(|source| source.told = false);
        }
        if self.core.is_none() {
            if self.clock >= self.back {
                self.start();
            }
            return;
        }
        self.end_flights();
        if let Some((until, _)) = &self.stopping {
            if self.flights.is_empty() || self.clock >= *until {
                self.crash();
            }
            return;
        }
        self.tell();
        let due = self.core.as_ref().and_then(Core::next_due);
        if due.is_some_and(|due| due <= self.now().mono) {
            self.handle(Event::Time);
        }
    }

    fn end_flights(&mut self) {
        while let Some(place) = self.flights.iter().position(|flight| flight.ends <= self.clock) {
            let flight = self.flights.remove(place);
            if flight.arrives {
                self.arrive(flight.attempt.clone());
            }
            self.handle(Event::Ended(Ended { attempt: flight.attempt, result: flight.result }));
        }
    }

    /// From now on nothing fails, and nothing is silenced or muted.
    pub fn end_faults(&mut self) {
        self.faults = false;
        if self.stopping.is_some() {
            self.crash();
        }
        self.back = self.clock;
        if self.core.is_none() {
            self.start();
        }
        // Six in the evening: a time in which all is told.
        self.skew = 6 * 3_600_000 - i64::try_from(self.clock - BEGIN).unwrap();
        let now = self.now();
        for place in 0..self.silences.len() {
            let core = self.core.as_mut().unwrap();
            let (expired, actions) = core.expire_silence(&self.silences[place].id, now);
            expired.unwrap();
            self.silences[place].ends_at = Timestamp::MIN;
            self.act(actions);
        }
    }

    /// Goes on until nothing is under way any more.
    pub fn settle(&mut self) {
        let root = &self.plan().root;
        let interval = u64::try_from(root.group_interval.as_millis()).unwrap() + 1_000;
        self.go_on(root.group_wait.as_millis() as u64 + interval);
        self.go_on_while(|world| world.waits() || world.flaps());
        // What was let go, or has had to wait for what was before it, has to be told yet. An end that is told again may be
        // known again until the next look at its group.
        self.next_resend = u64::MAX;
        self.go_on(interval);
        // A repetition that has just become due may have to wait because of the rate.
        self.go_on_while(World::waits);
    }

    /// Goes on from event to event, for an hour at most: what does not come to an end by then is a fault.
    fn go_on_while(&mut self, goes_on: impl Fn(&World) -> bool) {
        let limit = self.clock + 3_600_000;
        while goes_on(self) {
            let Some(at) = self.next().filter(|at| *at <= limit) else { return };
            self.clock = self.clock.max(at);
            self.step();
        }
    }

    /// Whether something is not confirmed.
    fn waits(&self) -> bool {
        self.core.as_ref().is_some_and(|core| core.waiting() > 0) || !self.flights.is_empty()
    }

    /// Whether an end is held back.
    fn flaps(&self) -> bool {
        let firing = self.sources.iter().filter(|s| s.ever_fired && s.ends_at.is_none()).count();
        self.core.as_ref().is_some_and(|core| core.alerts().0 > firing)
    }
}
