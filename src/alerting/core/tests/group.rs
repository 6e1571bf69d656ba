//! When a group is told, and of what.

use super::*;

#[test]
fn a_new_group_waits_and_is_then_told_as_one() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a"]);
    agent.until(5);
    agent.tell("Disk", &["b"]);
    agent.until(9);
    assert!(agent.deliver().is_empty());
    agent.until(10);
    let n = Arc::clone(&agent.attempts[0].notification);
    assert_eq!(agent.deliver(), ["a b"]);
    assert_eq!(n.group_key, "{}:{alertname=\"Disk\"}");
    assert_eq!(n.alerts[0].labels.to_string(), "{alertname=\"Disk\", host=\"h\", instance=\"a\"}");
    assert_eq!(n.alerts[0].generator_url, "http://h:9100/graph?g0.expr=up+%3D%3D+0&g0.tab=1");
    assert_eq!((n.at, n.external_url.as_str()), (time(10).wall, "http://h:9100"));
}

#[test]
fn changes_are_told_after_the_group_interval_and_nothing_else_is() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a"]);
    agent.until(10);
    assert_eq!(agent.deliver(), ["a"]);
    agent.until(20);
    agent.tell("Disk", &["a", "b"]);
    agent.until(69);
    assert!(agent.deliver().is_empty());
    agent.until(70);
    assert_eq!(agent.deliver(), ["a b"]);
    agent.tell("Disk", &["-a", "b"]);
    agent.until(130);
    assert_eq!(agent.deliver(), ["-a b"]);
    agent.until(190);
    assert!(agent.deliver().is_empty());
    agent.tell("Disk", &["-b"]);
    agent.until(250);
    assert_eq!(agent.deliver(), ["-b"]);
    assert!(agent.rows.borrow().is_empty(), "nothing is left: {:?}", agent.rows.borrow().keys());
}

#[test]
fn an_alert_with_no_group_wait_goes_out_at_once() {
    let mut agent = Agent::new("");
    agent.tell("Disk", &["a", "b"]);
    agent.tell("Cpu", &["a"]);
    assert_eq!(agent.deliver(), ["a b", "a"]);
}

#[test]
fn what_still_fires_is_repeated_and_what_is_told_again_writes_nothing() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a"]);
    agent.until(10);
    agent.deliver();
    let writes = agent.writes;
    let mut repeated = Vec::new();
    for minute in 1..=62 {
        agent.until(minute * 60);
        agent.tell("Disk", &["a"]);
        if repeated.is_empty() {
            assert_eq!(agent.writes, writes + usize::from(!agent.attempts.is_empty()) * 2);
        }
        repeated.extend(agent.deliver().iter().map(|said| format!("{said} {minute}")));
    }
    assert_eq!(repeated, ["a 62"], "one hour after 10 s, at the next group interval past it");
}

#[test]
fn an_alert_that_is_not_told_any_more_is_resolved() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a"]);
    agent.until(10);
    agent.deliver();
    agent.until(299);
    assert!(agent.deliver().is_empty());
    agent.until(310);
    assert_eq!(agent.deliver(), ["-a"]);
    assert_eq!(agent.core.alerts(), (0, 0));
}

#[test]
fn an_alert_that_is_told_seldom_is_not_resolved_between() {
    // As of a group that is evaluated every ten minutes, and a resolve_timeout as short as the distance at most.
    let mut agent = Agent::new(&format!("global: {{resolve_timeout: 1m}}\n{CONFIG}"));
    agent.valid_for = Duration::from_secs(2400);
    for seconds in [0, 600, 1200] {
        agent.until(seconds);
        agent.tell("A", &["a"]);
    }
    agent.until(1800);
    assert_eq!(agent.deliver(), ["a"]);
    agent.until(4000);
    assert_eq!(agent.deliver(), ["-a"]);
}

#[test]
fn what_was_never_told_as_firing_is_not_told_as_resolved() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["-a"]);
    assert_eq!(agent.writes, 0);
    agent.tell("Disk", &["b"]);
    agent.tell("Disk", &["-b"]);
    agent.until(3600);
    assert!(agent.deliver().is_empty());
    assert!(agent.rows.borrow().is_empty());
}

#[test]
fn a_receiver_that_does_not_want_to_know_of_ends_is_not_told() {
    let config = CONFIG.replace("'http://x'", "'http://x', send_resolved: false");
    let mut agent = Agent::new(&config);
    agent.tell("Disk", &["a", "b"]);
    agent.until(10);
    assert_eq!(agent.deliver(), ["a b"]);
    agent.tell("Disk", &["-a", "b", "c"]);
    agent.until(70);
    assert_eq!(agent.deliver(), ["b c"]);
    agent.tell("Disk", &["b", "-c"]);
    agent.until(130);
    assert!(agent.deliver().is_empty(), "nor of what still fires, because of an end");
    agent.tell("Disk", &["-b"]);
    agent.until(200);
    assert!(agent.deliver().is_empty());
    agent.tell("Disk", &["a"]);
    agent.until(300);
    assert_eq!(agent.deliver(), ["a"], "it fires anew");
}

#[test]
fn what_has_fired_for_longer_than_a_group_waits_is_told_at_once() {
    let mut agent = Agent::new(CONFIG);
    agent.until(100);
    agent.tell_since("Disk", "a", 80, None);
    assert_eq!(agent.deliver(), ["a"]);
    agent.tell_since("Cpu", "b", 95, None);
    agent.until(109);
    assert!(agent.deliver().is_empty());
    agent.until(110);
    assert_eq!(agent.deliver(), ["b"]);
}

#[test]
fn what_is_still_under_way_is_not_repeated() {
    let mut agent = Agent::new(CONFIG);
    agent.valid_for = Duration::from_secs(100_000);
    agent.tell("Disk", &["a"]);
    agent.until(10_000);
    assert_eq!(agent.core.waiting(), 1);
    assert_eq!(agent.deliver(), ["a"]);
    assert!(agent.deliver().is_empty());
}

#[test]
fn a_clock_that_is_set_back_or_forward_changes_no_waiting() {
    let mut agent = Agent::new(CONFIG);
    agent.valid_for = Duration::from_secs(100_000);
    agent.tell("Disk", &["a"]);
    agent.until(5);
    agent.skew = -3600;
    agent.until(9);
    assert!(agent.deliver().is_empty());
    agent.until(10);
    assert_eq!(agent.deliver(), ["a"]);
    agent.skew = 36_000;
    agent.tell("Disk", &["a", "b"]);
    agent.until(69);
    assert!(agent.deliver().is_empty());
    agent.until(70);
    assert_eq!(agent.deliver(), ["a b"]);
    agent.until(3700);
    assert!(agent.deliver().is_empty());
    agent.until(3730);
    assert_eq!(agent.deliver(), ["a b"], "the repetition");
}
