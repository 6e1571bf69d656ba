//! What restarts, stops and reloads leave as it was, and rows that make no sense.

use super::*;
use crate::fuzz::Fuzz;

#[test]
fn a_notification_that_is_due_survives_the_agent() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a"]);
    agent.until(10);
    assert_eq!(agent.attempts.len(), 1);
    let before = Arc::clone(&agent.attempts[0].notification);
    agent.restart(30);
    assert_eq!(agent.attempts.len(), 1);
    assert_eq!(agent.attempts[0].notification, before, "with its identifier");
    assert_eq!(agent.deliver(), ["a"]);
    // And is not told again.
    agent.tell("Disk", &["a"]);
    agent.until(200);
    assert!(agent.deliver().is_empty());
}

#[test]
fn what_was_told_as_firing_is_told_as_resolved_after_a_restart() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a", "b"]);
    agent.until(10);
    agent.deliver();
    agent.tell("Disk", &["-a"]);
    agent.restart(3);
    agent.tell("Disk", &["b"]);
    agent.until(69);
    assert!(agent.deliver().is_empty(), "the group interval goes on where it was");
    agent.until(70);
    assert_eq!(agent.deliver(), ["-a b"]);
    // The rule of b is taken away while the agent is down: nobody tells of it again.
    agent.restart(100_000);
    agent.until(agent.seconds + 400);
    assert_eq!(agent.deliver(), ["b"], "the repetition that is due");
    assert_eq!(agent.deliver(), ["-b"], "then its end");
}

#[test]
fn after_the_last_call_nothing_new_becomes_due() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a"]);
    agent.until(9);
    agent.handle(Event::Stop);
    agent.seconds = 19;
    agent.handle(Event::Time);
    assert!(agent.attempts.is_empty(), "it waits for its group");
    agent.restart(0);
    agent.until(29);
    assert_eq!(agent.deliver(), ["a"]);
}

#[test]
fn what_has_become_due_at_the_last_call_is_part_of_it() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a"]);
    agent.seconds = 10;
    agent.handle(Event::Stop);
    assert_eq!(agent.deliver(), ["a"]);
}

#[test]
fn a_reload_keeps_times_and_gives_up_what_has_no_receiver() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a"]);
    agent.until(10);
    agent.deliver();
    agent.tell("Disk", &["b"]);
    agent.until(40);
    agent.handle(Event::Plan(Box::new(plan(CONFIG))));
    agent.until(69);
    assert!(agent.deliver().is_empty());
    agent.until(70);
    assert_eq!(agent.attempts.len(), 1);
    agent.handle(Event::Plan(Box::new(plan(""))));
    assert_eq!(agent.endings.last(), Some(&Ending::NoTarget(1)));
    agent.attempts.remove(0);
    assert_eq!(agent.deliver(), ["a b"], "and the new receiver is told");
}

#[test]
fn rows_that_are_not_understood_are_left_out() {
    let load = |table: Table| match table {
        Table::Queue => vec![("x".to_string(), b"{}".to_vec()), ("1".to_string(), b"garbage".to_vec())],
        _ => vec![("k".to_string(), b"[]".to_vec())],
    };
    let (core, actions) = Core::restore(plan(CONFIG), 1, time(0), load);
    assert_eq!((core.waiting(), core.alerts()), (0, (0, 0)));
    assert!(actions.attempts.is_empty());
}

#[test]
fn no_stored_row_makes_it_panic() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a", "b"]);
    agent.until(10);
    agent.deliver();
    agent.tell("Disk", &["-a", "c"]);
    agent.until(80);
    let rows = agent.rows.into_inner();
    let good: Vec<_> = rows.values().cloned().collect();
    let tables: BTreeSet<_> = rows.keys().map(|(table, _)| *table).collect();
    assert_eq!(tables.len(), 3, "{tables:?}");
    Fuzz::of(&good).heap(4 << 20).bytes(|row| {
        let load = |table| {
            let kept =
                rows.iter().filter(|((of, _), _)| *of == table).map(|((_, key), row)| (key.clone(), row.clone()));
            let keys = ["0", "18446744073709551615", "k"].map(|key| (key.to_string(), row.to_vec()));
            kept.chain(keys).collect()
        };
        let (mut core, mut actions) = Core::restore(plan(CONFIG), 1, time(90), load);
        for (event, seconds) in [(Event::Time, 100), (Event::Plan(Box::new(plan(""))), 5000), (Event::Stop, 5001)] {
            for attempt in std::mem::take(&mut actions.attempts) {
                core.handle(Event::Ended(Ended { attempt, result: Ok(()) }), time(seconds));
            }
            actions = core.handle(event, time(seconds));
            let _ = core.next_due();
        }
    });
}

#[test]
fn a_group_that_waits_when_the_configuration_is_loaded_again_does_not_wait_longer() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a"]);
    agent.until(6);
    agent.handle(Event::Plan(Box::new(plan(CONFIG))));
    agent.until(10);
    assert_eq!(agent.deliver(), ["a"]);
}

#[test]
fn the_end_of_an_alert_whose_row_is_lost_is_told_to_who_knows_that_it_fired() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a"]);
    agent.until(10);
    assert_eq!(agent.deliver(), ["a"]);
    agent.rows.get_mut().retain(|(table, _), _| *table != Table::Alerts);
    agent.restart(1);
    agent.tell("Disk", &["-a"]);
    agent.until(agent.seconds + 60);
    assert_eq!(agent.deliver(), ["-a"]);
}
