//! Alerts from elsewhere on the host.

use super::*;
use crate::alerting::PostedAlert;

/// As it is posted by others: `from` and `until` in seconds of the simulated time.
fn posted(instance: &str, from: Option<u64>, until: Option<u64>) -> PostedAlert {
    PostedAlert {
        labels: Labels::from_pairs([("alertname", "Disk"), ("instance", instance)]),
        annotations: Labels::empty(),
        starts_at: from.map(|seconds| time(seconds).wall),
        ends_at: until.map(|seconds| time(seconds).wall),
        generator_url: "http://elsewhere/".to_string(),
    }
}

impl Agent {
    fn post(&mut self, alerts: Vec<PostedAlert>) -> usize {
        let (refused, actions) = self.core.post(alerts, time(self.seconds));
        self.act(actions);
        refused
    }
}

#[test]
fn a_posted_alert_ends_when_it_was_said_to_unless_it_is_told_again() {
    let mut agent = Agent::new(CONFIG);
    agent.post(vec![posted("a", Some(0), Some(100)), posted("b", None, None)]);
    let ends = |agent: &Agent| agent.view().iter().map(|view| view.ends_at).collect::<Vec<_>>();
    let mut expected = vec![time(100).wall, time(300).wall];
    expected.sort();
    let mut said = ends(&agent);
    said.sort();
    assert_eq!(said, expected);
    agent.until(10);
    assert_eq!(agent.deliver(), ["a b"]);
    agent.until(90);
    agent.post(vec![posted("a", Some(0), Some(200))]);
    agent.until(199);
    assert!(agent.deliver().is_empty());
    agent.until(250);
    assert_eq!(agent.deliver(), ["-a b"]);
    // Nobody said until when: resolve_timeout.
    agent.until(310);
    assert_eq!(agent.deliver(), ["-b"]);
    assert!(agent.view().is_empty() && agent.rows.borrow().is_empty());
}

#[test]
fn an_end_that_is_posted_is_told_and_one_of_what_nobody_knows_is_not() {
    let mut agent = Agent::new(CONFIG);
    agent.post(vec![posted("a", Some(0), None), posted("b", None, Some(0))]);
    agent.until(20);
    let n = Arc::clone(&agent.attempts[0].notification);
    assert_eq!((n.alerts[0].generator_url.as_str(), n.alerts[0].value.is_nan()), ("http://elsewhere/", true));
    assert_eq!(agent.deliver(), ["a"]);
    agent.post(vec![posted("a", Some(15), Some(20))]);
    agent.until(70);
    let n = Arc::clone(&agent.attempts[0].notification);
    assert_eq!((n.alerts[0].starts_at, n.alerts[0].ends_at), (time(0).wall, Some(time(20).wall)), "they overlap");
    assert_eq!(agent.deliver(), ["-a"]);
}

#[test]
fn a_posted_alert_survives_a_restart_with_its_end() {
    let mut agent = Agent::new(CONFIG);
    agent.post(vec![posted("a", Some(0), Some(100)), posted("b", Some(0), None)]);
    agent.until(10);
    agent.deliver();
    agent.restart(30);
    agent.until(99);
    assert_eq!(agent.core.alerts(), (2, 0));
    agent.until(130);
    assert_eq!(agent.deliver(), ["-a b"]);
    // It has the time to be told again that everything has.
    agent.until(339);
    assert_eq!(agent.core.alerts(), (1, 0));
    agent.until(400);
    assert_eq!(agent.deliver(), ["-b"]);
}

#[test]
fn rules_and_others_may_tell_of_the_same_alert_and_the_last_counts() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a"]);
    agent.post(vec![posted("a", None, Some(30))]);
    agent.until(30);
    assert_eq!(agent.deliver(), ["a"]);
    assert_eq!(agent.core.alerts(), (0, 1));
    agent.tell("Disk", &["a"]);
    assert_eq!(agent.core.alerts(), (1, 0));
}

#[test]
fn what_is_beyond_the_limit_of_known_alerts_is_refused() {
    let mut agent = Agent::new(CONFIG);
    let many = |from: usize, to: usize| (from..to).map(|i| posted(&i.to_string(), None, None)).collect::<Vec<_>>();
    assert_eq!(agent.post(many(0, 100_000)), 0);
    assert_eq!(agent.post(many(99_990, 100_010)), 10);
    assert_eq!(agent.core.alerts(), (100_000, 0));
}

#[test]
fn the_end_of_what_was_not_posted_again_survives_a_restart() {
    let mut agent = Agent::new(CONFIG);
    agent.post(vec![posted("a", Some(0), Some(100))]);
    agent.until(10);
    assert_eq!(agent.deliver(), ["a"]);
    agent.until(100);
    assert_eq!(agent.core.alerts(), (0, 1));
    agent.restart(1);
    assert_eq!(agent.deliver(), ["-a"]);
}
