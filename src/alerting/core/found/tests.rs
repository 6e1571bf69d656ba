use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::alerting::AlertingConfig;
use crate::alerting::core::{Ended, Ending, Event, TABLES};
use crate::alerting::queue::Attempt;
use crate::alerting::view::Silence;
use crate::model::{Labels, Timestamp};
use crate::rules::Alert;
use crate::sinks::{DeliveryError, Reason};
use crate::yaml::{Document, Faults};

type File = BTreeMap<(Table, String), Vec<u8>>;

fn plan(receiver: &str) -> Plan {
    let text = format!(
        "route: {{receiver: {receiver}, group_by: [team], group_wait: 0s, group_interval: 10s, repeat_interval: 1h}}\n\
         receivers: [{{name: {receiver}, webhook_configs: [{{url: 'http://x'}}]}}]\n"
    );
    let mut faults = Faults::default();
    let config: AlertingConfig = Document::parse("t.yaml", &text, &mut faults).read(&mut faults);
    assert!(!faults.has_errors(), "{faults}");
    Plan::new(&config, Labels::empty(), "")
}

/// A run of the agent.
struct Run {
    core: Core,
    /// What it wants written, in order; of a run that could not read the store, what waits for that.
    file: File,
    /// All that it has written or removed.
    changed: BTreeSet<(Table, String)>,
    /// The wall clock when it began.
    began: i64,
    seconds: u64,
    attempts: Vec<Attempt>,
    endings: Vec<Ending>,
}

impl Run {
    /// One that can read this file; without one, it is not there to be read.
    fn start(file: Option<&File>, began: i64, plan: Plan) -> Run {
        let now = Now { mono: Duration::ZERO, wall: Timestamp::from_millis(began) };
        let (core, actions) = match file {
            Some(file) => Core::restore(plan, 1, now, |table| {
                let of_table = file.iter().filter(|((t, _), _)| *t == table);
                of_table.map(|((_, key), row)| (key.clone(), row.clone())).collect()
            }),
            None => Core::unread(plan, 2, now),
        };
        let file = file.cloned().unwrap_or_default();
        let (changed, endings) = (BTreeSet::new(), Vec::new());
        let mut run = Run { core, file, changed, began, seconds: 0, attempts: Vec::new(), endings };
        run.act(actions);
        run
    }

    fn now(&self) -> Now {
        let wall = Timestamp::from_millis(self.began + self.seconds as i64 * 1000);
        Now { mono: Duration::from_secs(self.seconds), wall }
    }

    fn act(&mut self, actions: Actions) {
        self.core.assert_counted();
        for change in actions.batch.changes() {
            let at = (change.table, change.key.clone());
            self.changed.insert(at.clone());
            match &change.row {
                Some(row) => drop(self.file.insert(at, row.clone())),
                None => drop(self.file.remove(&at)),
            }
        }
        self.attempts.extend(actions.attempts);
        self.endings.extend(actions.endings.into_iter().map(|report| report.ending));
    }

    fn handle(&mut self, event: Event) {
        let actions = self.core.handle(event, self.now());
        self.act(actions);
    }

    /// Rules tell of alerts of one group, by name; `-` before it: it has ended.
    fn tell(&mut self, alerts: &[&str]) {
        let ended = self.now().wall;
        let alert = |name: &&str| Alert {
            labels: Labels::from_pairs([("team", "t"), ("alertname", name.trim_start_matches('-'))]),
            annotations: Labels::empty(),
            starts_at: Timestamp::from_millis(1_000),
            ends_at: name.starts_with('-').then_some(ended),
            valid_for: Duration::from_secs(3600),
            value: 1.0,
            expr: String::new(),
            threshold: None,
            top: Vec::new(),
            actions: Default::default(),
        };
        self.handle(Event::Alerts(alerts.iter().map(alert).collect()));
    }

    fn wait(&mut self, seconds: u64) {
        let until = Duration::from_secs(self.seconds + seconds);
        while let Some(due) = self.core.next_due().filter(|due| *due <= until) {
            self.seconds = self.seconds.max(due.as_millis().div_ceil(1000) as u64);
            self.handle(Event::Time);
        }
        self.seconds = until.as_secs();
    }

    /// Ends the deliveries that are under way, and those that follow; what they said, `-` before an alert: it has ended.
    fn deliver(&mut self) -> Vec<String> {
        self.end(|| Ok(()))
    }

    fn end(&mut self, result: impl Fn() -> Result<(), DeliveryError>) -> Vec<String> {
        let mut said = Vec::new();
        while !self.attempts.is_empty() {
            let attempt = self.attempts.remove(0);
            let alert = |a: &crate::sinks::NotifiedAlert| {
                format!("{}{}", if a.ends_at.is_some() { "-" } else { "" }, a.labels.get("alertname"))
            };
            said.push(attempt.notification.alerts.iter().map(alert).collect::<Vec<_>>().join(" "));
            self.handle(Event::Ended(Ended { attempt, result: result() }));
        }
        said
    }

    /// The file can be read at last.
    fn find(&mut self, old: &File) {
        let of = |table: Table| {
            let rows = old.iter().filter(|((t, _), _)| *t == table);
            let row = |(at, row): (&(Table, String), &Vec<u8>)| StoredRow {
                key: at.1.clone(),
                row: row.clone(),
                overtaken: self.changed.contains(at),
            };
            (table, rows.map(row).collect())
        };
        let rows: StoredRows = TABLES.into_iter().map(of).collect();
        // What this run has changed is written over what lies there.
        let mut file = old.clone();
        for at in &self.changed {
            match self.file.get(at) {
                Some(row) => drop(file.insert(at.clone(), row.clone())),
                None => drop(file.remove(at)),
            }
        }
        self.file = file;
        self.handle(Event::Read(rows));
    }

    fn silence(&mut self, name: &str) {
        let now = self.now();
        let silence = Silence {
            id: String::new(),
            matchers: crate::alerting::parse_matchers(&format!("alertname={name}")).unwrap(),
            starts_at: now.wall,
            ends_at: now.wall + Duration::from_secs(3600),
            updated_at: now.wall,
            created_by: String::new(),
            comment: String::new(),
        };
        let (id, actions) = self.core.set_silence(silence, now);
        id.unwrap();
        self.act(actions);
    }

    /// The numbers of notifications that are stored, those that were given up included.
    fn numbers(&self) -> Vec<u64> {
        let numbered = |table: &Table| matches!(table, Table::Queue | Table::DeadLetters);
        let mut numbers: Vec<u64> =
            self.file.keys().filter(|(t, _)| numbered(t)).map(|(_, key)| key.parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }
}

fn refused() -> Result<(), DeliveryError> {
    Err(DeliveryError::lasting(Reason::ClientError, "403"))
}

const BEGAN: i64 = 1_700_000_000_000;

#[test]
fn what_waits_from_before_goes_in_front_of_what_waits_and_behind_what_is_under_way() {
    let mut first = Run::start(Some(&File::new()), BEGAN, plan("ops"));
    first.tell(&["A"]);
    first.wait(20);
    first.tell(&["-A", "B"]);
    first.wait(20);

    let mut second = Run::start(None, BEGAN + 100_000, plan("ops"));
    second.tell(&["C"]);
    assert_eq!(second.attempts.len(), 1, "under way");
    second.wait(20);
    second.tell(&["D"]);
    second.wait(20);
    second.find(&first.file);
    second.core.assert_counted();
    let waiting = second.core.view_undelivered();
    assert_eq!(waiting.iter().map(|u| u.firing).collect::<Vec<_>>(), [1, 1, 1, 2]);
    assert_eq!(second.deliver(), ["C", "A", "-A B", "C D"]);
    // B was known from before, and nobody tells of it any more.
    second.tell(&["C", "D"]);
    second.wait(400);
    assert_eq!(second.deliver(), ["-B C D"]);
    second.tell(&["-C", "-D"]);
    second.wait(20);
    assert_eq!(second.deliver(), ["-C -D"]);
    assert!(second.numbers().is_empty());
}

#[test]
fn silences_and_what_was_given_up_come_back() {
    let mut first = Run::start(Some(&File::new()), BEGAN, plan("ops"));
    first.silence("S");
    first.tell(&["A"]);
    for _ in 0..5 {
        first.end(refused);
        first.wait(400);
    }
    assert_eq!(first.core.dead_letters(), 1);
    let mut second = Run::start(None, BEGAN + 2_500_000, plan("ops"));
    second.silence("T");
    second.find(&first.file);
    assert_eq!((second.core.view_silences().len(), second.core.dead_letters()), (2, 1));
    let dead = second.core.view_undelivered().remove(0);
    let (there, actions) = second.core.retry(dead.number, second.now());
    second.act(actions);
    assert!(there);
    assert_eq!(second.deliver(), ["A", "A"], "what waited, and what was tried again");
    assert_eq!(second.core.dead_letters(), 0);
    second.tell(&["S"]);
    second.wait(60);
    assert!(second.deliver().iter().all(|said| !said.contains('S')));
}

#[test]
fn numbers_do_not_collide_even_where_the_clock_was_set_back() {
    // Two runs before this one could not read the store either, and what they left is newer by the clock.
    for (began, again) in [(BEGAN, BEGAN), (BEGAN + 1, BEGAN), (BEGAN + 5_000_000, BEGAN), (-7, -7), (7, 3)] {
        let mut first = Run::start(None, began, plan("ops"));
        first.tell(&["A"]);
        for _ in 0..5 {
            first.end(refused);
            first.wait(400);
        }
        first.tell(&["A", "B"]);
        first.wait(20);
        let mut second = Run::start(None, again, plan("ops"));
        second.tell(&["C"]);
        for _ in 0..5 {
            second.end(refused);
            second.wait(400);
        }
        second.tell(&["C", "D"]);
        second.wait(20);
        let (old, new) = (first.numbers(), second.numbers());
        assert!(old.len() >= 2 && new.len() >= 2, "{old:?} {new:?}");
        second.find(&first.file);
        assert_eq!(second.numbers().len(), old.len() + new.len(), "{began} {again}");
        let said = second.core.view_undelivered();
        assert_eq!(said.len(), old.len() + new.len());
        // So they are after the next start, in the order in which they became due.
        let mut third = Run::start(Some(&second.file), again + 10_000_000, plan("ops"));
        let numbers = |run: &Run| run.core.view_undelivered().iter().map(|u| u.number).collect::<Vec<_>>();
        assert_eq!(numbers(&third), numbers(&second));
        let told = third.deliver();
        let place = |what: &str| told.iter().position(|said| said == what);
        assert!(place("A B").is_some() && place("A B") < place("C D"), "{told:?}");
    }
}

#[test]
fn an_alert_of_which_this_run_has_told_the_end_is_told_to_have_ended_again() {
    let mut first = Run::start(Some(&File::new()), BEGAN, plan("ops"));
    first.tell(&["A"]);
    let mut second = Run::start(None, BEGAN + 100_000, plan("ops"));
    second.tell(&["A"]);
    assert_eq!(second.deliver(), ["A"]);
    second.wait(20);
    second.tell(&["-A"]);
    second.wait(20);
    assert_eq!(second.deliver(), ["-A"]);
    second.find(&first.file);
    second.wait(20);
    assert_eq!(second.deliver(), ["A", "-A"], "the last word is how it stands");
    second.wait(7200);
    assert!(second.deliver().is_empty());
    assert_eq!(second.core.alerts(), (0, 0));
}

#[test]
fn an_alert_that_had_ended_and_fires_again_is_told_to_fire_again() {
    let mut first = Run::start(Some(&File::new()), BEGAN, plan("ops"));
    first.tell(&["A"]);
    first.deliver();
    first.wait(20);
    first.tell(&["-A"]);
    first.wait(20);
    let mut second = Run::start(None, BEGAN + 100_000, plan("ops"));
    second.tell(&["A"]);
    assert_eq!(second.deliver(), ["A"]);
    second.find(&first.file);
    assert_eq!(second.deliver(), ["-A"]);
    second.wait(20);
    assert_eq!(second.deliver(), ["A"]);
}

#[test]
fn what_waits_for_a_receiver_that_is_gone_is_given_up() {
    let mut first = Run::start(Some(&File::new()), BEGAN, plan("ops"));
    first.tell(&["A"]);
    let mut second = Run::start(None, BEGAN + 100_000, plan("others"));
    second.find(&first.file);
    assert!(matches!(second.endings[..], [Ending::NoTarget(1)]), "{:?}", second.endings);
    assert_eq!((second.core.dead_letters(), second.core.waiting()), (1, 1));
    assert_eq!(second.deliver(), ["A"], "the alert itself goes where alerts go now");
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

const NAMES: [&str; 3] = ["A", "B", "C"];

/// What fires, and what the receiver believes to.
#[derive(Default)]
struct Truth {
    fires: BTreeMap<&'static str, bool>,
    heard: BTreeMap<String, bool>,
}

impl Truth {
    fn hear(&mut self, attempt: &Attempt) {
        for alert in &attempt.notification.alerts {
            self.heard.insert(alert.labels.get("alertname").to_string(), alert.ends_at.is_none());
        }
    }

    /// Things happen: alerts come and end, time passes, deliveries go well or not.
    fn go_on(&mut self, run: &mut Run, random: &mut Random, steps: u64) {
        for _ in 0..steps {
            match random.below(3) {
                0 => {
                    let name = NAMES[random.below(3) as usize];
                    let fires = self.fires.entry(name).or_default();
                    *fires = !*fires;
                    run.tell(&[&if *fires { name.to_string() } else { format!("-{name}") }]);
                }
                1 => run.wait(1 + random.below(30)),
                _ if run.attempts.is_empty() => {}
                _ => {
                    let attempt = run.attempts.remove(0);
                    let goes_well = random.below(2) == 0;
                    if goes_well || random.below(2) == 0 {
                        self.hear(&attempt);
                    }
                    let error = DeliveryError::passing(Reason::Timeout, "slow");
                    let result = if goes_well { Ok(()) } else { Err(error) };
                    run.handle(Event::Ended(Ended { attempt, result }));
                }
            }
        }
    }

    fn crash(&mut self, run: &mut Run, random: &mut Random) {
        for attempt in std::mem::take(&mut run.attempts) {
            if random.below(2) == 0 {
                self.hear(&attempt);
            }
        }
    }

    /// Nothing happens any more, and rules tell on.
    fn settle(&mut self, run: &mut Run) {
        for _ in 0..50 {
            let firing: Vec<&str> = self.fires.iter().filter(|(_, fires)| **fires).map(|(name, _)| *name).collect();
            run.tell(&firing);
            while !run.attempts.is_empty() {
                let attempt = run.attempts.remove(0);
                self.hear(&attempt);
                run.handle(Event::Ended(Ended { attempt, result: Ok(()) }));
            }
            // Long enough for what flaps to be calm.
            run.wait(30);
        }
    }
}

#[test]
fn whatever_two_runs_have_told_the_receiver_knows_in_the_end_how_things_stand() {
    for seed in 0..500 {
        let mut random = Random(seed);
        let mut truth = Truth::default();
        // The earlier run could not read the store either, now and then.
        let mut first = Run::start((seed % 2 == 0).then_some(&File::new()), BEGAN, plan("ops"));
        let steps = random.below(30);
        truth.go_on(&mut first, &mut random, steps);
        truth.crash(&mut first, &mut random);
        let began = if random.below(4) == 0 { BEGAN } else { BEGAN + 1_000_000 };
        let mut second = Run::start(None, began, plan("ops"));
        let steps = random.below(30);
        truth.go_on(&mut second, &mut random, steps);
        second.find(&first.file);
        let steps = random.below(10);
        truth.go_on(&mut second, &mut random, steps);
        let stored: BTreeSet<u64> = second.numbers().into_iter().collect();
        let known: BTreeSet<u64> = second.core.view_undelivered().iter().map(|u| u.number).collect();
        assert_eq!(stored, known, "seed {seed}");
        truth.settle(&mut second);
        for name in NAMES {
            let (fires, heard) = (truth.fires.get(name).copied(), truth.heard.get(name).copied());
            assert!(heard.unwrap_or_default() == fires.unwrap_or_default(), "seed {seed}: {name} {fires:?} {heard:?}");
        }
        assert!(second.numbers().is_empty(), "seed {seed}");
        let firing = truth.fires.values().filter(|fires| **fires).count();
        assert_eq!(second.core.alerts(), (firing, 0), "seed {seed}");
    }
}
