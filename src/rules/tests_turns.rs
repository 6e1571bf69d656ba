//! Groups taking turns, with ticks in between.

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use prometheus::Registry;

use super::*;
use crate::history::{History, HistoryConfig};
use crate::model::{Labels, SeriesTable, Timestamp};
use crate::yaml::Faults;

const START: i64 = 1_700_000_000_000;

/// Rules over the one series `x`, which is 1.
struct Host {
    engine: RuleEngine,
    history: RwLock<History>,
    table: Arc<SeriesTable>,
    registry: Registry,
    seconds: u64,
}

impl Host {
    fn new(rules: &str) -> Host {
        let mut faults = Faults::default();
        let rules = read_file("r.yaml", rules, &mut faults);
        assert!(faults.is_empty(), "{faults}");
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        let registry = Registry::new();
        let engine = RuleEngine::new(rules, Settings::default(), table.clone(), &registry).unwrap();
        let history = RwLock::new(History::new(HistoryConfig::default().limits()));
        Host { engine, history, table, registry, seconds: 0 }
    }

    fn tick(&mut self) {
        let now = Timestamp::from_millis(START) + Duration::from_secs(self.seconds);
        let x = self.table.intern(Labels::from_pairs([("__name__", "x")]));
        self.history.write().unwrap().append(&x, now, 1.0);
        self.engine.tick(&self.history, now, Duration::from_secs(self.seconds));
        self.seconds += 1;
    }

    /// A turn at the end of which the next tick is due already: one rule, if it does not look at the clock.
    fn turn(&mut self, budget: Duration) -> Evaluation {
        let next_tick = Instant::now().checked_sub(Duration::from_millis(1)).unwrap();
        self.engine.work(&self.history, Some(Patience { next_tick, budget }))
    }

    /// What the rules give on `/metrics`.
    fn given(&mut self) -> Vec<String> {
        let section = self.engine.section();
        let line = |i: usize| {
            let value = section.values[i] - if section.values[i] > 1e9 { START as f64 / 1000.0 } else { 0.0 };
            format!("{}{value}", String::from_utf8_lossy(section.layout.prefix(i)))
        };
        (0..section.layout.len()).map(line).collect()
    }

    fn missed(&self, group: &str) -> f64 {
        let families = self.registry.gather();
        let name = "watchfire_rule_group_iterations_missed_total";
        let family = families.iter().find(|f| f.name() == name).unwrap();
        let of = |m: &&prometheus::proto::Metric| m.get_label()[0].value() == format!("r.yaml;{group}");
        family.get_metric().iter().find(of).unwrap().get_counter().value()
    }
}

const ENOUGH: Duration = Duration::from_secs(60);

#[test]
fn a_long_group_lets_others_go_ahead_and_keeps_its_time() {
    let mut host = Host::new(
        "groups:
- {name: long, rules: [{record: a, expr: time()}, {record: b, expr: time()}, {record: c, expr: time()}]}
- {name: short, rules: [{record: z, expr: time()}]}
",
    );
    host.tick();
    for given in [vec!["a 0"], vec!["a 0", "z 0"], vec!["a 0", "b 0", "z 0"]] {
        host.turn(ENOUGH);
        assert_eq!(host.given(), given);
    }
    host.tick();
    host.turn(ENOUGH);
    assert_eq!(host.given(), ["a 0", "b 0", "c 0", "z 0"], "what is under way goes on as of when it began");
    host.turn(ENOUGH);
    assert_eq!(host.given(), ["a 0", "b 0", "c 0", "z 1"]);
    assert!(!host.engine.has_work());
    host.tick();
    assert_eq!((host.missed("long"), host.missed("short")), (1.0, 0.0));
}

#[test]
fn groups_that_are_not_reached_go_first_and_then_at_the_time_of_the_tick() {
    let mut host = Host::new(
        "groups:
- {name: one, rules: [{record: a, expr: time()}]}
- {name: two, rules: [{record: b, expr: time()}]}
- {name: seldom, interval: 10s, rules: [{record: c, expr: time()}]}
",
    );
    host.tick();
    host.turn(ENOUGH);
    assert_eq!(host.given(), ["a 0"]);
    host.tick();
    host.turn(ENOUGH);
    assert_eq!(host.given(), ["a 0", "b 1"], "what it should have said before is old");
    host.turn(ENOUGH);
    assert_eq!(host.given(), ["a 0", "b 1", "c 0"], "this one is not due again: it is late");
    host.turn(ENOUGH);
    assert_eq!(host.given(), ["a 1", "b 1", "c 0"]);
    assert_eq!((host.missed("one"), host.missed("two"), host.missed("seldom")), (0.0, 1.0, 0.0));
}

#[test]
fn a_group_that_took_long_comes_after_the_others_but_is_not_starved_by_them() {
    let mut host = Host::new(
        "groups:
- {name: long, rules: [{record: a, expr: 'time() + 0 * scalar(count_over_time(vector(1)[2d:1s]))'}]}
- {name: short, rules: [{record: z, expr: time()}]}
",
    );
    host.tick();
    for _ in 0..3 {
        host.turn(ENOUGH);
    }
    assert_eq!(host.given(), ["a 0", "z 0"], "nothing was known of either");
    // Never time for more than one turn in a tick. The long one rests for some of them, and is interrupted once.
    for second in 1..100 {
        host.tick();
        host.turn(ENOUGH);
        if second <= 3 {
            assert_eq!(host.given(), ["a 0", &format!("z {second}")]);
        }
    }
    assert_ne!(host.given()[0], "a 0", "the long one was never evaluated again");
}

#[test]
fn a_rule_that_a_tick_interrupts_is_evaluated_after_it() {
    let mut host = Host::new("groups: [{name: g, rules: [{alert: A, expr: x > 0}]}]");
    host.tick();
    assert_eq!(host.turn(ENOUGH), Evaluation::default());
    assert!(host.engine.has_work());
    host.tick();
    let told = host.turn(ENOUGH).alerts;
    assert_eq!(told.iter().map(|a| a.starts_at.as_millis()).collect::<Vec<_>>(), [START + 1000]);
    assert!(!host.engine.has_work());
    assert_eq!(host.missed("g"), 1.0);
    assert_eq!(host.engine.rule_errors(), [""; 0]);
}

#[test]
fn a_rule_that_takes_longer_than_it_may_fails_and_says_what_to_do() {
    let mut host = Host::new("groups: [{name: g, rules: [{alert: A, expr: x > 0}, {record: r, expr: time()}]}]");
    host.tick();
    host.turn(Duration::ZERO);
    host.tick();
    host.turn(Duration::ZERO);
    let [error] = &host.engine.rule_errors()[..] else { panic!("{:?}", host.engine.rule_errors()) };
    assert!(error.starts_with("g/A: it took longer than 0ns and was given up"), "{error}");
    assert!(error.contains("fewer series or a shorter range"), "{error}");
    host.turn(Duration::ZERO);
    assert_eq!(host.given(), ["r 1"], "the rules after it are evaluated");
}

#[test]
fn what_waits_is_given_up_when_the_clock_is_set_back() {
    let mut host = Host::new("groups: [{name: g, rules: [{record: a, expr: time()}, {record: b, expr: time()}]}]");
    host.tick();
    host.turn(ENOUGH);
    host.engine.abandon();
    assert!(!host.engine.has_work());
    assert_eq!(host.missed("g"), 1.0);
    host.tick();
    host.turn(ENOUGH);
    assert_eq!(host.given(), ["a 1"]);
}
