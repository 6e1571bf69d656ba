//! A world with a seed: alerts fire and resolve, sinks fail and refuse, the agent crashes or is stopped, clocks jump.
//! After the last fault, all that was due must have arrived, in order, and everybody must know how things stand.
//!
//! A run that fails prints its seed; `WATCHFIRE_SIMULATION_SEED=n` replays it, `WATCHFIRE_SIMULATION_RUNS=n` makes more.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use super::config::AlertingConfig;
use super::core::{Actions, Core, Ended, Ending, Event, Now};
use super::plan::{Plan, Target};
use super::queue::{Attempt, Row};
use crate::model::{Labels, Timestamp};
use crate::rules::Alert;
use crate::sinks::{DeliveryError, Fingerprint, Notification, NotifiedAlert, Reason, Status};
use crate::state::{Batch, Table};
use crate::yaml::{Document, Faults};

const RUNS: u64 = 100;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// True once in `n` times.
    fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// An alert of the world and what rules do about it.
struct Rule {
    labels: Labels,
    starts_at: Timestamp,
    ends_at: Option<Timestamp>,
    ever_fired: bool,
    told: u64,
    /// When it last changed, by the true time.
    changed: u64,
}

/// A delivery that the sink is busy with.
struct Flight {
    attempt: Attempt,
    ends: u64,
    arrives: bool,
    result: Result<(), DeliveryError>,
}

struct World {
    random: Random,
    faults: bool,
    /// Seconds since the world began: the true time.
    clock: u64,
    /// By how much the wall clock is wrong, in seconds.
    skew: i64,
    /// When the agent was started, by the true time.
    started: u64,
    config: AlertingConfig,
    core: Option<Core>,
    /// While the agent is down: when it comes back.
    back: u64,
    /// While the agent stops: until when at most, and what it has tried since.
    stopping: Option<(u64, BTreeSet<u64>)>,
    /// Targets that refuse all they get, and until when.
    refusing: BTreeMap<Target, u64>,
    rows: BTreeMap<(Table, String), Vec<u8>>,
    flights: Vec<Flight>,
    rules: Vec<Rule>,
    /// What arrived at which target.
    arrived: Vec<(Target, Notification)>,
    /// The identifiers of all notifications that were due, in the order in which they became so.
    became_due: BTreeMap<String, usize>,
    /// What was due: which target had to be told of which alert that it fires or is resolved.
    due: BTreeSet<Due>,
    /// What a target refused so often that it was given up.
    refused: BTreeSet<Due>,
}

/// A target that has to be told of an alert (since when it fires) that it fires, or `true`: is resolved.
type Due = (Target, Fingerprint, Timestamp, bool);

fn told(target: &Target, notification: &Notification) -> Vec<Due> {
    let due = |alert: &NotifiedAlert| {
        (target.clone(), alert.fingerprint(), alert.starts_at, alert.status() == Status::Resolved)
    };
    notification.alerts.iter().map(due).collect()
}

fn config(random: &mut Random) -> AlertingConfig {
    let text = format!(
        r#"
route:
  receiver: all
  group_by: {}
  group_wait: {}s
  group_interval: {}s
  repeat_interval: {}m
  routes:
    - matchers: [severity="page"]
      receiver: pager
      continue: {}
      group_by: ['...']
    - matchers: [team="a"]
      receiver: quiet
receivers:
  - name: all
    webhook_configs: [{{url: 'http://a'}}, {{url: 'http://b'}}]
  - name: pager
    webhook_configs: [{{url: 'http://p'}}]
  - name: quiet
    webhook_configs: [{{url: 'http://q', send_resolved: false}}]
"#,
        ["[]", "[alertname]", "[team, alertname]", "['...']"][random.below(4) as usize],
        [0, 5, 30][random.below(3) as usize],
        [10, 60, 300][random.below(3) as usize],
        [5, 30, 240][random.below(3) as usize],
        random.once_in(2),
    );
    let mut faults = Faults::default();
    let document = Document::parse("simulation.yaml", &format!("alerting:{}", text.replace('\n', "\n  ")), &mut faults);
    let config = document.root.get("alerting").cloned().unwrap();
    let config = <AlertingConfig as crate::yaml::FromYaml>::from_yaml(&config, &mut faults).unwrap();
    assert!(!faults.has_errors(), "{faults}");
    config
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random(seed);
        let config = config(&mut random);
        let rules = (0..2 + random.below(6)).map(|i| Rule {
            labels: Labels::from_pairs([
                ("alertname", ["Cpu", "Disk"][(i % 2) as usize]),
                ("team", ["a", "b", "c"][(i % 3) as usize]),
                ("severity", if i % 4 == 0 { "page" } else { "info" }),
                ("instance", &i.to_string()),
            ]),
            starts_at: Timestamp::default(),
            ends_at: Some(Timestamp::default()),
            ever_fired: false,
            told: 0,
            changed: 0,
        });
        let mut world = World {
            rules: rules.collect(),
            random,
            faults: true,
            clock: 1_000_000,
            skew: 0,
            started: 1_000_000,
            config,
            core: None,
            back: 0,
            stopping: None,
            refusing: BTreeMap::new(),
            rows: BTreeMap::new(),
            flights: Vec::new(),
            arrived: Vec::new(),
            became_due: BTreeMap::new(),
            due: BTreeSet::new(),
            refused: BTreeSet::new(),
        };
        world.start();
        world
    }

    fn now(&self) -> Now {
        let wall = i64::try_from(self.clock).unwrap() + self.skew;
        Now { mono: Duration::from_secs(self.clock - self.started), wall: Timestamp::from_millis(wall * 1000) }
    }

    fn plan(&self) -> Plan {
        Plan::new(&self.config, Labels::from_pairs([("host", "h")]), "http://h:9100/")
    }

    fn start(&mut self) {
        self.started = self.clock;
        let seed = self.random.next();
        let load = |table: Table| {
            let of_table = self.rows.iter().filter(|((t, _), _)| *t == table);
            of_table.map(|((_, key), row)| (key.clone(), row.clone())).collect()
        };
        let (core, actions) = Core::restore(self.plan(), seed, self.now(), load);
        self.core = Some(core);
        self.act(actions);
        // Rules know their states from the store too, and tell them with their first evaluation.
        self.rules.iter_mut().for_each(|rule| rule.told = 0);
    }

    fn handle(&mut self, event: Event) {
        let now = self.now();
        let Some(core) = &mut self.core else { return };
        let attempt = match &event {
            Event::Ended(ended) => Some(ended.attempt.clone()),
            _ => None,
        };
        let actions = core.handle(event, now);
        if let Some(attempt) = attempt
            && actions.endings.iter().any(|report| matches!(report.ending, Ending::GivenUp(_)))
        {
            self.refused.extend(told(&attempt.target, &attempt.notification));
        }
        if self.faults && self.random.once_in(400) {
            // A crash: before the rows are stored, or after that and before the sinks are called.
            if self.random.once_in(2) {
                self.store(&actions.batch);
            }
            self.crash();
        } else {
            self.act(actions);
        }
    }

    fn crash(&mut self) {
        self.core = None;
        self.stopping = None;
        // What is under way may still arrive, but nobody waits for the answer.
        for flight in std::mem::take(&mut self.flights) {
            if self.random.once_in(2) {
                self.arrive(&flight.attempt);
            }
        }
        self.back = self.clock + self.random.below(600);
    }

    fn store(&mut self, batch: &Batch) {
        for change in batch.changes() {
            let key = (change.table, change.key.clone());
            let Some(row) = &change.row else {
                self.rows.remove(&key);
                continue;
            };
            if change.table == Table::Queue {
                let row: Row = serde_json::from_slice(row).unwrap();
                let serial = self.became_due.len();
                self.became_due.entry(row.notification.id.clone()).or_insert(serial);
                self.due.extend(told(&row.target, &row.notification));
            }
            self.rows.insert(key, row.clone());
        }
    }

    fn act(&mut self, actions: Actions) {
        self.store(&actions.batch);
        for attempt in actions.attempts {
            assert!(
                self.rows.contains_key(&(Table::Queue, super::queue::row_key(attempt.number))),
                "not stored before"
            );
            if let Some((_, tried)) = &mut self.stopping {
                assert!(tried.insert(attempt.number), "more than a last try");
            }
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
                ends: self.clock + if self.faults { self.random.below(20) } else { 0 },
                // A sink may take a notification and fail to say so.
                arrives: !fails || (!refuses && self.random.once_in(3)),
                result: if fails { Err(error) } else { Ok(()) },
            });
        }
    }

    fn arrive(&mut self, attempt: &Attempt) {
        self.arrived.push((attempt.target.clone(), (*attempt.notification).clone()));
    }

    /// One second.
    fn step(&mut self) {
        self.clock += 1;
        if self.faults && self.random.once_in(2000) {
            self.skew += i64::try_from(self.random.below(7200)).unwrap() - 3600;
        }
        let wall = self.now().wall;
        for rule in &mut self.rules {
            if self.faults && self.random.once_in(300) {
                match rule.ends_at {
                    Some(_) => (rule.starts_at, rule.ends_at, rule.ever_fired) = (wall, None, true),
                    None => rule.ends_at = Some(wall.max(rule.starts_at)),
                }
                rule.told = 0;
                rule.changed = self.clock;
            }
        }
        if self.core.is_none() {
            if self.clock >= self.back {
                self.start();
            }
            return;
        }
        let ended: Vec<Flight> = {
            let (ended, flying) = std::mem::take(&mut self.flights).into_iter().partition(|f| f.ends <= self.clock);
            self.flights = flying;
            ended
        };
        for flight in ended {
            if flight.arrives {
                self.arrive(&flight.attempt);
            }
            self.handle(Event::Ended(Ended { attempt: flight.attempt, result: flight.result }));
        }
        if let Some((until, _)) = &self.stopping {
            if self.flights.is_empty() || self.clock >= *until {
                self.crash();
            }
            return;
        }
        let clock = self.clock;
        let mut tell = Vec::new();
        // As `rules/` does: what is resolved is told for 15 minutes.
        let told = |rule: &&mut Rule| rule.ever_fired && (rule.ends_at.is_none() || clock < rule.changed + 900);
        for rule in self.rules.iter_mut().filter(told).filter(|rule| clock >= rule.told + 60) {
            rule.told = clock;
            tell.push(Alert {
                labels: rule.labels.clone(),
                annotations: Labels::empty(),
                starts_at: rule.starts_at,
                ends_at: rule.ends_at,
                valid_for: Duration::from_secs(240),
                value: 1.0,
                expr: "x > 1".to_string(),
                threshold: Some(1.0),
                top: Vec::new(),
            });
        }
        if !tell.is_empty() {
            self.handle(Event::Alerts(tell));
        }
        if self.faults && self.random.once_in(1000) {
            let targets: Vec<_> = self.plan().recipients.into_values().flatten().map(|r| (*r.target).clone()).collect();
            let target = targets[self.random.below(targets.len() as u64) as usize].clone();
            self.refusing.insert(target, self.clock + 1200);
        }
        if self.faults && self.random.once_in(1000) {
            self.stopping = Some((self.clock + 10, BTreeSet::new()));
            self.handle(Event::Stop);
            return;
        }
        if self.faults && self.random.once_in(3000) {
            let plan = Box::new(self.plan());
            self.handle(Event::Plan(plan));
        }
        let due = self.core.as_ref().and_then(Core::next_due);
        if due.is_some_and(|due| due <= self.now().mono) {
            self.handle(Event::Time);
        }
    }

    fn check(&self) {
        let core = self.core.as_ref().unwrap();
        assert_eq!(core.queue().0, 0, "the queue is empty in the end");
        assert!(self.rows.keys().all(|(table, _)| *table != Table::Queue), "and so is the stored one");

        // All that was due has arrived, or was refused again and again.
        let arrived: BTreeSet<Due> = self.arrived.iter().flat_map(|(target, n)| told(target, n)).collect();
        let missing: Vec<_> = self.due.difference(&arrived).filter(|due| !self.refused.contains(due)).collect();
        assert!(missing.is_empty(), "due and not delivered: {missing:?}");

        // In order per target and group; a repetition may come, but nothing older than what has come.
        let mut last: BTreeMap<(&Target, &str), usize> = BTreeMap::new();
        for (target, notification) in &self.arrived {
            let serial = self.became_due[&notification.id];
            let before = last.insert((target, &notification.group_key), serial).unwrap_or(0);
            assert!(before <= serial, "{target} got notification {serial} after {before}");
        }

        // To the right receivers.
        let root = self.plan().root;
        for (target, notification) in &self.arrived {
            assert_eq!(target.receiver, notification.receiver);
            for alert in &notification.alerts {
                assert!(root.dispatch(&alert.labels).iter().any(|route| route.receiver == target.receiver));
            }
        }

        // What each target heard last of an alert is how the alert stands.
        for rule in self.rules.iter().filter(|rule| rule.ever_fired) {
            let mut labels = rule.labels.builder();
            labels.set("host", "h");
            let labels = labels.build();
            for route in root.dispatch(&labels) {
                let quiet = route.receiver == "quiet";
                let targets: BTreeSet<&Target> =
                    self.arrived.iter().map(|(target, _)| target).filter(|t| t.receiver == route.receiver).collect();
                assert!(rule.ends_at.is_some() || !targets.is_empty(), "nobody heard of {labels}");
                for target in targets {
                    let key = route.group_key(&route.group_labels(&labels));
                    let last = self
                        .arrived
                        .iter()
                        .filter(|(t, n)| t == target && n.group_key == key)
                        .flat_map(|(_, n)| &n.alerts)
                        .rfind(|alert| alert.labels == labels);
                    match (rule.ends_at, last.map(|alert| alert.status())) {
                        (None, last) => assert_eq!(last, Some(Status::Firing), "{target}: {labels}"),
                        (Some(_), Some(last)) if !quiet => assert_eq!(last, Status::Resolved, "{target}: {labels}"),
                        (Some(_), _) => {}
                    }
                }
            }
        }

        // Nothing is kept that nobody needs.
        let firing = self.rules.iter().filter(|rule| rule.ends_at.is_none()).count();
        assert_eq!(core.alerts(), (firing, 0));
        assert_eq!(self.rows.keys().filter(|(table, _)| *table == Table::Alerts).count(), firing);
    }
}

fn run(seed: u64) -> usize {
    let mut world = World::new(seed);
    for _ in 0..2500 {
        world.step();
    }
    world.faults = false;
    // Long enough for the longest backoff, group interval and time-out.
    for _ in 0..2000 {
        world.step();
    }
    // A repetition may just have become due.
    while !world.flights.is_empty() {
        world.step();
    }
    world.check();
    world.arrived.len()
}

#[test]
fn after_any_faults_all_that_was_due_has_arrived_in_order() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("WATCHFIRE_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..number("WATCHFIRE_SIMULATION_RUNS").unwrap_or(RUNS) + 1,
    };
    let mut arrived = 0;
    for seed in seeds {
        match catch_unwind(AssertUnwindSafe(|| run(seed))) {
            Ok(notifications) => arrived += notifications,
            Err(panic) => {
                eprintln!("replay with WATCHFIRE_SIMULATION_SEED={seed}");
                resume_unwind(panic);
            }
        }
    }
    assert!(arrived > 0, "nothing was simulated");
}
