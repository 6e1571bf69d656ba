//! What checks say goes into the alerts about them.

use std::sync::Mutex;

use super::*;
use crate::alerting::{ChecksSaid, PostedAlert};
use crate::sinks::{CheckSaid, NotifiedAlert};

/// An alert of a rule about a check.
fn about(check: &str) -> Alert {
    Alert {
        labels: Labels::from_pairs([("alertname", "CheckFailing"), ("check", check)]),
        annotations: Labels::empty(),
        starts_at: time(0).wall,
        ends_at: None,
        valid_for: Duration::from_secs(240),
        value: 2.0,
        expr: "watchfire_check_state >= 2".to_string(),
        threshold: Some(2.0),
        top: Vec::new(),
        actions: Arc::default(),
    }
}

#[test]
fn an_alert_of_a_rule_tells_what_its_check_says_at_that_time_and_others_tell_nothing() {
    let mut agent = Agent::new(CONFIG);
    let said = Arc::new(Mutex::new("90% used"));
    let last = said.clone();
    let checks = ChecksSaid::new(move |check| {
        let summary = last.lock().unwrap().to_string();
        (check == "disk").then(|| CheckSaid { state: "critical".to_string(), summary })
    });
    agent.handle(Event::Plan(Box::new(plan(CONFIG).citing(checks))));
    agent.handle(Event::Alerts(vec![about("disk"), about("gone")]));
    agent.tell("CheckFailing", &["of something else"]);
    let posted = PostedAlert {
        labels: Labels::from_pairs([("alertname", "CheckFailing"), ("check", "disk"), ("by", "others")]),
        annotations: Labels::empty(),
        starts_at: None,
        ends_at: None,
        generator_url: String::new(),
    };
    let (_, actions) = agent.core.post(vec![posted], time(0));
    agent.act(actions);
    *said.lock().unwrap() = "99% used";
    agent.until(10);

    let told = |agent: &Agent| {
        let alerts = agent.attempts[0].notification.alerts.iter();
        let summary = |alert: &NotifiedAlert| alert.details.check.as_ref().map(|check| check.summary.clone());
        alerts.map(|alert| (alert.labels.get("by").to_string(), summary(alert))).collect::<Vec<_>>()
    };
    let mut expected = vec![(String::new(), Some("99% used".to_string()))];
    expected.extend(["", "", "others"].map(|by| (by.to_string(), None)));
    let mut found = told(&agent);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    agent.deliver();

    *said.lock().unwrap() = "all is well";
    agent.handle(Event::Alerts(vec![Alert { ends_at: Some(time(20).wall), ..about("disk") }]));
    agent.until(70);
    let ended = told(&agent).into_iter().filter_map(|(_, summary)| summary).collect::<Vec<_>>();
    assert_eq!(ended, ["all is well"]);
}
