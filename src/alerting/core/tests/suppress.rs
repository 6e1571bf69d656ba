//! What silences, inhibition and times leave out.

use super::*;
use crate::alerting::{GroupView, PostedAlert, Silence};

const SUPPRESSING: &str = r#"
route:
  receiver: ops
  group_by: [alertname]
  group_wait: 10s
  group_interval: 1m
  repeat_interval: 1h
  routes:
    - matchers: [alertname="Muted"]
      mute_time_intervals: [first-hour]
    - matchers: [alertname="Active"]
      active_time_intervals: [first-hour]
receivers:
  - name: ops
    webhook_configs: [{url: 'http://x'}]
inhibit_rules:
  - source_matchers: [alertname="Down"]
    target_matchers: [alertname!="Down"]
    equal: [instance]
time_intervals:
  # The simulated time begins on 1970-01-12T13:46:40Z.
  - name: first-hour
    time_intervals: [{times: [{start_time: '13:00', end_time: '14:00'}]}]
"#;

fn silence(matchers: &str, from: u64, until: u64) -> Silence {
    Silence {
        id: String::new(),
        matchers: crate::alerting::parse_matchers(matchers).unwrap(),
        starts_at: time(from).wall,
        ends_at: time(until).wall,
        updated_at: time(from).wall,
        created_by: String::new(),
        comment: String::new(),
    }
}

impl Agent {
    fn silence(&mut self, matchers: &str, from: u64, until: u64) -> String {
        let (id, actions) = self.core.set_silence(silence(matchers, from, until), time(self.seconds));
        self.act(actions);
        id.unwrap()
    }
}

#[test]
fn what_is_silenced_is_left_out_until_the_silence_ends() {
    let mut agent = Agent::new(CONFIG);
    agent.silence("instance=a", 0, 100);
    agent.tell("Disk", &["a", "b"]);
    agent.until(10);
    assert_eq!(agent.deliver(), ["b"]);
    assert_eq!(agent.suppressed.get(&Suppressed::Silence), Some(&1));
    agent.until(99);
    assert!(agent.deliver().is_empty());
    agent.until(130);
    assert_eq!(agent.deliver(), ["a b"]);
}

#[test]
fn a_silence_survives_a_restart_and_can_be_expired() {
    let mut agent = Agent::new(CONFIG);
    let id = agent.silence("alertname=Disk", 0, 10_000);
    agent.tell("Disk", &["a"]);
    agent.restart(5);
    agent.tell("Disk", &["a"]);
    agent.until(100);
    assert!(agent.deliver().is_empty());
    assert_eq!(agent.view()[0].silenced_by, std::slice::from_ref(&id));
    let (expired, actions) = agent.core.expire_silence(&id, time(100));
    assert_eq!(expired, Ok(()));
    agent.act(actions);
    agent.until(160);
    assert_eq!(agent.deliver(), ["a"]);
}

#[test]
fn an_alert_that_ends_while_silenced_is_news_when_it_fires_again() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a"]);
    agent.until(10);
    assert_eq!(agent.deliver(), ["a"]);
    agent.silence("instance=a", 10, 100);
    agent.tell("Disk", &["-a"]);
    agent.until(100);
    assert!(agent.deliver().is_empty(), "as in Alertmanager, its end is not told");
    agent.restart(1);
    agent.tell("Disk", &["a"]);
    agent.until(200);
    assert_eq!(agent.deliver(), ["a"]);
}

#[test]
fn the_end_of_what_was_silenced_for_days_is_told_to_who_knows_that_it_fired() {
    let mut agent = Agent::new(CONFIG);
    agent.valid_for = Duration::from_secs(1_000_000);
    agent.tell("Disk", &["a"]);
    agent.until(10);
    assert_eq!(agent.deliver(), ["a"]);
    agent.silence("instance=a", 10, 300_000);
    agent.until(300_000);
    agent.tell("Disk", &["-a"]);
    agent.until(300_060);
    assert_eq!(agent.deliver(), ["-a"]);
}

#[test]
fn what_is_inhibited_is_left_out_as_long_as_the_source_fires() {
    let mut agent = Agent::new(SUPPRESSING);
    agent.tell("Down", &["a"]);
    agent.tell("Disk", &["a", "b"]);
    agent.until(10);
    assert_eq!(agent.deliver(), ["b", "a"], "of Disk only b; Down inhibits no Down");
    let disk =
        agent.view().into_iter().find(|v| v.alert.labels.get("alertname") == "Disk" && !v.inhibited_by.is_empty());
    assert_eq!(disk.map(|view| view.alert.labels.get("instance").to_string()), Some("a".to_string()));
    agent.tell("Down", &["-a"]);
    agent.until(75);
    assert_eq!(agent.deliver(), ["a b", "-a"]);
    assert!(agent.view().iter().all(|view| view.inhibited_by.is_empty()));
}

#[test]
fn a_source_that_nobody_tells_of_any_more_inhibits_no_longer() {
    let mut agent = Agent::new(SUPPRESSING);
    agent.tell("Down", &["a"]);
    agent.valid_for = Duration::from_secs(10_000);
    agent.tell("Disk", &["a"]);
    agent.until(10);
    assert_eq!(agent.deliver(), ["a"], "Down");
    agent.until(310);
    let mut said = agent.deliver();
    said.sort();
    assert_eq!(said, ["-a", "a"]);
}

#[test]
fn an_alert_is_muted_only_if_no_route_tells_it_and_a_group_if_its_own_route_does_not() {
    let config = SUPPRESSING.replace(
        "  routes:\n",
        "  routes:\n    - {matchers: [team=\"x\"], mute_time_intervals: [first-hour], group_by: [team], continue: true}\n    \
         - {matchers: [alertname=\"Told\"]}\n",
    );
    let mut agent = Agent::new(&config);
    let posted = |name: &str| PostedAlert {
        labels: Labels::from_pairs([("alertname", name), ("team", "x")]),
        annotations: Labels::empty(),
        starts_at: None,
        ends_at: None,
        generator_url: String::new(),
    };
    let (_, actions) = agent.core.post(vec![posted("Told"), posted("Muted")], time(0));
    agent.act(actions);
    let muted = |view: &AlertView| (view.alert.labels.get("alertname").to_string(), view.muted_by.len());
    let mut alerts: Vec<_> = agent.view().iter().map(muted).collect();
    alerts.sort();
    assert_eq!(alerts, [("Muted".to_string(), 1), ("Told".to_string(), 0)]);
    let groups = agent.core.view_groups(time(0));
    let muted =
        |group: &GroupView| (group.labels.iter().map(|(_, value)| value).collect(), group.alerts[0].muted_by.len());
    let groups: Vec<(String, usize)> = groups.iter().map(muted).collect();
    assert_eq!(groups, [("x".to_string(), 1), ("Muted".to_string(), 1), ("Told".to_string(), 0)]);
}

#[test]
fn a_route_tells_nothing_in_its_mute_times_and_outside_of_its_active_ones() {
    let mut agent = Agent::new(SUPPRESSING);
    agent.tell("Muted", &["a"]);
    agent.tell("Active", &["b"]);
    agent.until(10);
    assert_eq!(agent.deliver(), ["b"]);
    assert_eq!(agent.view().iter().map(|view| view.muted_by.clone()).collect::<Vec<_>>().concat(), ["first-hour"]);
    // 14:00 is 800 s after the start.
    agent.valid_for = Duration::from_secs(10_000);
    agent.tell("Muted", &["a"]);
    agent.tell("Active", &["b", "c"]);
    agent.until(130);
    assert_eq!(agent.deliver(), ["b c"]);
    agent.until(799);
    assert!(agent.deliver().is_empty());
    agent.tell("Active", &["b", "c", "d"]);
    agent.until(860);
    assert_eq!(agent.deliver(), ["a"]);
    assert_eq!(agent.suppressed.get(&Suppressed::MuteTime), Some(&14));
    assert!(agent.suppressed.contains_key(&Suppressed::ActiveTime));
}
