//! Alerts that begin again and again.

use super::*;

#[test]
fn the_end_of_what_flaps_is_held_back_until_it_is_calm_and_the_notification_says_so() {
    let mut agent = Agent::new("");
    agent.valid_for = Duration::from_secs(10_000);
    let (mut said, mut flaps) = (Vec::new(), Vec::new());
    for i in 0..5u64 {
        agent.until(i * 300);
        agent.tell_since("Disk", "a", i * 300, None);
        while !agent.attempts.is_empty() {
            flaps.push(agent.attempts[0].notification.alerts[0].details.flapping);
            said.extend(agent.deliver());
        }
        agent.until(i * 300 + 299);
        agent.tell_since("Disk", "a", i * 300, Some(i * 300 + 299));
    }
    assert_eq!(said.join(" "), "a -a a -a a -a a -a a");
    assert_eq!((flaps[8], flaps[..8].iter().flatten().count()), (Some(5), 0));
    // It is away from 1499 on; the agent is killed meanwhile.
    agent.until(1700);
    assert!(agent.deliver().is_empty());
    let rows = agent.rows.borrow().clone();
    assert!(rows.keys().any(|(table, _)| *table == Table::Flapping));
    agent.restart_with("", 60);
    agent.tell_since("Disk", "a", 1200, Some(1499));
    agent.until(1499 + 599);
    assert!(agent.deliver().is_empty());
    agent.until(1499 + 1200);
    let n = Arc::clone(&agent.attempts[0].notification);
    assert_eq!((n.alerts[0].ends_at, n.alerts[0].details.flapping), (Some(time(1499).wall), Some(5)));
    assert_eq!(agent.deliver(), ["-a"]);
    agent.until(10_000);
    assert!(agent.rows.borrow().is_empty(), "{:?}", agent.rows.borrow().keys());
}

#[test]
fn a_change_into_flapping_is_told_once_even_if_nobody_saw_it_end() {
    let mut agent = Agent::new(CONFIG);
    agent.valid_for = Duration::from_secs(10_000);
    agent.tell_since("Disk", "a", 0, None);
    agent.until(10);
    assert_eq!(agent.deliver(), ["a"]);
    for i in 1..5u64 {
        agent.tell_since("Disk", "a", 10 + i, Some(10 + i));
        agent.tell_since("Disk", "a", 11 + i, None);
    }
    agent.until(500);
    assert_eq!(agent.deliver(), ["a"]);
    // It fires on: after ten minutes it flaps no more, and its next end is told as usual.
    agent.until(700);
    agent.tell_since("Disk", "a", 15, None);
    agent.tell_since("Disk", "a", 15, Some(700));
    agent.until(760);
    assert_eq!(agent.deliver(), ["-a"]);
}

#[test]
fn what_flaps_is_resolved_when_its_rule_goes_away() {
    let mut agent = Agent::new(CONFIG);
    agent.valid_for = Duration::from_secs(60);
    for i in 0..5u64 {
        agent.tell_since("Disk", "a", i, None);
        if i < 4 {
            agent.tell_since("Disk", "a", i, Some(i));
        }
    }
    agent.until(10);
    assert_eq!(agent.deliver(), ["a"]);
    // resolve_timeout, and then the next look at the group.
    agent.until(370);
    assert_eq!(agent.deliver(), ["-a"]);
}

#[test]
fn what_flaps_has_fired_all_the_time_since_it_was_told() {
    let mut agent = Agent::new("");
    agent.valid_for = Duration::from_secs(10_000);
    for i in 0..7u64 {
        agent.until(i * 10);
        agent.tell_since("Disk", "a", i * 10, None);
        // From the fifth time on it flaps.
        assert_eq!(agent.view()[0].alert.starts_at, time(i.min(4) * 10).wall);
        agent.until(i * 10 + 5);
        agent.tell_since("Disk", "a", i * 10, Some(i * 10 + 5));
    }
}
