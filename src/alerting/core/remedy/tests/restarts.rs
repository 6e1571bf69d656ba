use super::*;
use crate::state::{StoredRow, StoredRows};

#[test]
fn what_still_fires_after_a_restart_is_not_acted_upon_again_and_the_limits_hold_on() {
    let mut agent = Agent::new(RESTART);
    agent.fires("Down", 0);
    agent.until(2);
    agent.ran();
    agent.restart(5, ROUTE, RESTART);
    agent.fires("Down", 0);
    agent.until(100);
    assert!(agent.orders.is_empty());
    assert_eq!(agent.told().last().unwrap(), &["restart: exit 0 after 1.2 s"], "what was done is known");
    agent.ends("Down", 0);
    agent.until(200);
    agent.told();
    agent.fires("Down", 200);
    agent.until(299);
    assert!(agent.orders.is_empty(), "it cools down");
    agent.until(300);
    assert_eq!(agent.ordered(), ["restart firing"]);
}

#[test]
fn what_was_run_before_a_restart_is_answered_after_it() {
    let both = "[{name: valve, command: [x], matchers: [alertname=Down], on: both, max_per_hour: 1}]";
    let mut agent = Agent::new(both);
    agent.fires("Down", 0);
    agent.ran();
    agent.restart(5, ROUTE, both);
    agent.fires("Down", 0);
    agent.ends("Down", 0);
    assert_eq!(agent.ordered(), ["valve resolved"]);
}

#[test]
fn what_was_under_way_when_the_agent_died_is_told_to_be_interrupted_and_is_not_run_again() {
    let mut agent = Agent::new(RESTART);
    agent.fires("Down", 0);
    assert_eq!(agent.orders.len(), 1);
    agent.restart(5, ROUTE, RESTART);
    agent.fires("Down", 0);
    agent.until(100);
    assert!(agent.orders.is_empty());
    assert_eq!(agent.log(), ["firing interrupted the agent ended while it ran"]);
    assert_eq!(agent.told().last().unwrap(), &["restart: interrupted: the agent ended while it ran"]);
    assert_eq!(agent.deeds.last().unwrap().result, Outcome::Interrupted);
}

#[test]
fn what_waited_for_a_place_when_the_agent_died_may_have_begun_and_is_not_run_again() {
    let mut agent = Agent::new(RESTART);
    agent.full = true;
    agent.fires("Down", 0);
    agent.restart(5, ROUTE, RESTART);
    agent.fires("Down", 0);
    agent.until(100);
    assert!(agent.orders.is_empty());
    assert_eq!(agent.log(), ["firing interrupted the agent ended when it was to be run"]);
}

#[test]
fn a_reload_keeps_what_waits_for_a_place_and_when_it_is_repeated() {
    let actions = "[{name: a, command: [x], matchers: [alertname=Down], cool_down: 1m, repeat: 5m}]";
    let mut agent = Agent::new(actions);
    agent.full = true;
    agent.fires("Down", 0);
    agent.handle(Event::Plan(Box::new(plan(ROUTE, actions))));
    assert_eq!(agent.log(), ["firing waiting waits for a place"]);
    agent.full = false;
    agent.begin();
    agent.ran();
    agent.until(300);
    assert_eq!(agent.ordered(), ["a repeat"]);
}

#[test]
fn what_waited_waits_on_after_a_restart() {
    let named = "[{name: restart, command: [x]}]";
    let mut agent = Agent::new(named);
    agent.silence("alertname=Down", 100);
    agent.tell_named("Down", 0, true, &["restart"]);
    agent.restart(5, ROUTE, named);
    agent.until(99);
    assert!(agent.orders.is_empty());
    agent.until(106);
    assert_eq!(agent.ordered(), ["restart firing"]);
}

#[test]
fn what_is_repeated_goes_on_after_a_restart_where_it_was() {
    let actions = "[{name: a, command: [x], matchers: [alertname=Down], cool_down: 1m, repeat: 5m}]";
    let mut agent = Agent::new(actions);
    agent.fires("Down", 0);
    agent.ran();
    agent.until(100);
    agent.restart(50, ROUTE, actions);
    agent.fires("Down", 0);
    agent.until(299);
    assert!(agent.orders.is_empty());
    agent.until(300);
    assert_eq!(agent.ordered(), ["a repeat"]);
}

#[test]
fn a_reload_lets_run_what_runs_and_forgets_what_waits_for_an_action_that_is_gone() {
    let actions =
        "[{name: a, command: [x], matchers: [alertname=Down]}, {name: b, command: [x], matchers: [alertname=Down]}]";
    let mut agent = Agent::new(actions);
    agent.silence("alertname=Down", 50);
    agent.fires("Down", 0);
    agent.until(60);
    assert_eq!(agent.ordered(), ["a firing", "b firing"]);
    agent.until(70);
    agent.silence("alertname=Down", 5000);
    agent.ends("Down", 0);
    agent.fires("Down", 70);
    agent.handle(Event::Plan(Box::new(plan(ROUTE, "[{name: b, command: [x], matchers: [alertname=Down]}]"))));
    agent.ran();
    assert_eq!(
        agent.log(),
        [
            "firing ok exit 0",
            "firing ok exit 0",
            "firing skipped it is no longer configured",
            "firing waiting the alert is silenced"
        ]
    );
    let otherwise = "[{name: b, command: [x], matchers: [alertname=Other]}]";
    agent.handle(Event::Plan(Box::new(plan(ROUTE, otherwise))));
    assert_eq!(agent.log()[3], "firing skipped it is no longer for this alert");
    // One that is new does not act upon what fires already.
    agent.handle(Event::Plan(Box::new(plan(ROUTE, "[{name: c, command: [x], matchers: [alertname=Down]}]"))));
    agent.until(6000);
    assert!(agent.orders.is_empty());
}

#[test]
fn what_waits_is_not_begun_once_its_action_is_a_dry_run() {
    let mut agent = Agent::new(RESTART);
    agent.silence("alertname=Down", 50);
    agent.fires("Down", 0);
    let dry = "[{name: restart, command: [x], matchers: [alertname=Down], dry_run: true}]";
    agent.handle(Event::Plan(Box::new(plan(ROUTE, dry))));
    agent.until(60);
    assert_eq!((agent.log(), agent.orders.len()), (vec!["firing dry_run".to_string()], 0));
}

#[test]
fn rows_that_are_found_late_are_taken_over_and_their_runs_count() {
    let mut before = Agent::new(RESTART);
    before.fires("Down", 0);
    let mut found = StoredRows::new();
    for ((table, key), row) in &before.rows {
        found.entry(*table).or_default().push(StoredRow { key: key.clone(), row: row.clone(), overtaken: false });
    }
    let (core, _) = Core::unread(plan(ROUTE, RESTART), 9, time(10));
    let mut agent = Agent { core, seconds: 10, ..Agent::new(RESTART) };
    agent.handle(Event::Read(found));
    assert_eq!(agent.log(), ["firing interrupted the agent ended while it ran"]);
    agent.fires("Down", 0);
    assert!(agent.orders.is_empty());
    agent.ends("Down", 0);
    agent.until(100);
    agent.told();
    agent.fires("Down", 100);
    agent.until(299);
    assert!(agent.orders.is_empty());
    agent.until(300);
    assert_eq!(agent.ordered(), ["restart firing"]);
}
