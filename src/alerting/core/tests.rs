use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;
use crate::alerting::{AlertView, AlertingConfig, Ending, GroupView, PostedAlert, Silence, Suppressed};
use crate::fuzz::Fuzz;
use crate::sinks::Reason;
use crate::yaml::{Document, Faults};

const CONFIG: &str = r#"
route:
  receiver: ops
  group_by: [alertname]
  group_wait: 10s
  group_interval: 1m
  repeat_interval: 1h
receivers:
  - name: ops
    webhook_configs: [{url: 'http://x'}]
"#;

struct Agent {
    core: Core,
    rows: RefCell<BTreeMap<(Table, String), Vec<u8>>>,
    seconds: u64,
    writes: usize,
    attempts: Vec<Attempt>,
    endings: Vec<Ending>,
    suppressed: BTreeMap<Suppressed, usize>,
    /// Of the alerts that are told.
    valid_for: Duration,
}

fn plan(config: &str) -> Plan {
    let mut faults = Faults::default();
    let config: AlertingConfig = Document::parse("t.yaml", config, &mut faults).read(&mut faults);
    assert!(!faults.has_errors(), "{faults}");
    Plan::new(&config, Labels::from_pairs([("host", "h")]), "http://h:9100/")
}

fn time(seconds: u64) -> Now {
    Now { mono: Duration::from_secs(seconds), wall: Timestamp::from_millis(1_000_000_000 + seconds as i64 * 1000) }
}

impl Agent {
    fn new(config: &str) -> Agent {
        let (core, _) = Core::restore(plan(config), 7, time(0), |_| Vec::new());
        Agent {
            core,
            rows: RefCell::default(),
            seconds: 0,
            writes: 0,
            attempts: Vec::new(),
            endings: Vec::new(),
            suppressed: BTreeMap::new(),
            valid_for: Duration::from_secs(240),
        }
    }

    fn act(&mut self, actions: Actions) {
        for change in actions.batch.changes() {
            self.writes += 1;
            let key = (change.table, change.key.clone());
            match &change.row {
                Some(row) => self.rows.get_mut().insert(key, row.clone()),
                None => self.rows.get_mut().remove(&key),
            };
        }
        self.attempts.extend(actions.attempts);
        actions.suppressed.into_iter().for_each(|(why, alerts)| *self.suppressed.entry(why).or_default() += alerts);
        self.endings.extend(actions.endings.into_iter().map(|report| report.ending));
    }

    fn handle(&mut self, event: Event) {
        let actions = self.core.handle(event, time(self.seconds));
        self.act(actions);
    }

    /// Goes to a time, waking the core when it wants to be.
    fn until(&mut self, seconds: u64) {
        let due = |core: &Core| core.next_due().map(|due| due.as_millis().div_ceil(1000) as u64);
        while let Some(due) = due(&self.core).filter(|due| *due <= seconds) {
            self.seconds = self.seconds.max(due);
            self.handle(Event::Time);
        }
        self.seconds = seconds;
    }

    /// Tells alerts by instance; `-` before it: it is resolved.
    fn tell(&mut self, name: &str, instances: &[&str]) {
        let now = time(self.seconds).wall;
        let alert = |instance: &&str| Alert {
            labels: Labels::from_pairs([("alertname", name), ("instance", instance.trim_start_matches('-'))]),
            annotations: Labels::from_pairs([("summary", "s")]),
            starts_at: Timestamp::from_millis(1_000_000_000),
            ends_at: instance.starts_with('-').then_some(now),
            valid_for: self.valid_for,
            value: 1.5,
            expr: "up == 0".to_string(),
            threshold: Some(0.0),
            top: Vec::new(),
            actions: Arc::default(),
        };
        self.handle(Event::Alerts(instances.iter().map(alert).collect()));
    }

    /// Ends all deliveries under way; what they said: alerts by instance, `-` before it: resolved.
    fn deliver(&mut self) -> Vec<String> {
        self.end(|| Ok(()))
    }

    fn end(&mut self, result: impl Fn() -> Result<(), DeliveryError>) -> Vec<String> {
        let mut said = Vec::new();
        for attempt in std::mem::take(&mut self.attempts) {
            let alerts = attempt
                .notification
                .alerts
                .iter()
                .map(|a| format!("{}{}", if a.ends_at.is_some() { "-" } else { "" }, a.labels.get("instance")));
            said.push(alerts.collect::<Vec<_>>().join(" "));
            self.handle(Event::Ended(Ended { attempt, result: result() }));
        }
        said
    }

    /// Tells one alert: since when it fires, and when it ended.
    fn tell_since(&mut self, name: &str, instance: &str, from: u64, until: Option<u64>) {
        let alert = Alert {
            labels: Labels::from_pairs([("alertname", name), ("instance", instance)]),
            annotations: Labels::empty(),
            starts_at: time(from).wall,
            ends_at: until.map(|seconds| time(seconds).wall),
            valid_for: self.valid_for,
            value: 1.0,
            expr: "up == 0".to_string(),
            threshold: None,
            top: Vec::new(),
            actions: Arc::default(),
        };
        self.handle(Event::Alerts(vec![alert]));
    }

    /// The agent is killed and started again after so many seconds.
    fn restart(&mut self, down: u64) {
        self.restart_with(CONFIG, down);
    }

    fn restart_with(&mut self, config: &str, down: u64) {
        self.seconds += down;
        let rows = self.rows.borrow().clone();
        let load = |table: Table| {
            rows.iter().filter(|((t, _), _)| *t == table).map(|((_, k), row)| (k.clone(), row.clone())).collect()
        };
        let (core, actions) = Core::restore(plan(config), 8, time(self.seconds), load);
        self.core = core;
        self.attempts.clear();
        self.act(actions);
    }
}

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
fn what_is_refused_for_good_is_told_again_as_long_as_it_fires() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a"]);
    let refuse =
        || Err(DeliveryError { retry: false, retry_after: None, reason: Reason::ClientError, message: "400".into() });
    let mut tries = 0;
    for second in 1..1000 {
        agent.until(second);
        if second % 60 == 0 {
            agent.tell("Disk", &["a"]);
        }
        tries += agent.end(refuse).len();
        if agent.endings.iter().any(|e| matches!(e, Ending::GivenUp(_))) {
            break;
        }
    }
    assert_eq!(tries, 5);
    agent.tell("Disk", &["a"]);
    agent.until(agent.seconds + 60);
    assert_eq!(agent.deliver(), ["a"]);
}

#[test]
fn the_end_of_what_a_target_knows_is_told_until_it_listens() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a"]);
    agent.until(10);
    assert_eq!(agent.deliver(), ["a"]);
    agent.tell("Disk", &["-a"]);
    let refuse =
        || Err(DeliveryError { retry: false, retry_after: None, reason: Reason::ClientError, message: "401".into() });
    let mut tries = 0;
    // The password has expired, and is mended after the weekend.
    while agent.seconds < 200_000 {
        agent.until(agent.seconds + 1);
        tries += agent.end(refuse).len();
    }
    assert!((1000..10_000).contains(&tries), "{tries}");
    agent.until(agent.seconds + 400);
    assert_eq!(agent.deliver(), ["-a"]);
    agent.until(agent.seconds + 1000);
    assert!(agent.deliver().is_empty());
    assert!(agent.rows.borrow().is_empty(), "nothing is left: {:?}", agent.rows.borrow().keys());
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
fn a_receiver_that_does_not_want_to_know_of_ends_is_not_told() {
    let config = CONFIG.replace("'http://x'", "'http://x', send_resolved: false");
    let mut agent = Agent::new(&config);
    agent.tell("Disk", &["a", "b"]);
    agent.until(10);
    assert_eq!(agent.deliver(), ["a b"]);
    agent.tell("Disk", &["-a", "b", "c"]);
    agent.until(70);
    assert_eq!(agent.deliver(), ["b c"]);
    agent.tell("Disk", &["-b", "-c"]);
    agent.until(200);
    assert!(agent.deliver().is_empty());
    agent.tell("Disk", &["a"]);
    agent.until(300);
    assert_eq!(agent.deliver(), ["a"], "it fires anew");
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
    let tables: std::collections::BTreeSet<_> = rows.keys().map(|(table, _)| *table).collect();
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
fn ten_thousand_alerts_at_once_are_grouped_and_taken_in_in_good_time() {
    let mut agent = Agent::new("");
    let instances: Vec<String> = (0..10_000).map(|i| i.to_string()).collect();
    let began = std::time::Instant::now();
    agent.tell("Storm", &instances.iter().map(String::as_str).collect::<Vec<_>>());
    agent.tell("Storm", &instances.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(agent.attempts.len(), 1);
    assert_eq!(agent.attempts[0].notification.alerts.len(), 10_000);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

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

    fn view(&self) -> Vec<AlertView> {
        self.core.view_alerts(time(self.seconds))
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
    agent.tell("Disk", &["a"]);
    agent.until(200);
    assert_eq!(agent.deliver(), ["a"]);
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

fn refusal() -> Result<(), DeliveryError> {
    Err(DeliveryError { retry: false, retry_after: None, reason: Reason::ClientError, message: "403".to_string() })
}

impl Agent {
    /// Lets a sink refuse what is due until it is given up.
    fn refuse(&mut self) {
        for _ in 0..5 {
            self.end(refusal);
            self.until(self.seconds + 300);
        }
    }
}

#[test]
fn what_is_given_up_is_kept_and_can_be_tried_again_or_thrown_away() {
    let mut agent = Agent::new(CONFIG);
    agent.valid_for = Duration::from_secs(100_000);
    agent.tell("Disk", &["a"]);
    agent.until(10);
    agent.refuse();
    agent.end(refusal);
    agent.tell("Disk", &["-a"]);
    agent.until(agent.seconds + 60);
    agent.refuse();
    agent.attempts.clear();
    agent.restart(1);
    let seen = agent.core.view_undelivered();
    let dead: Vec<_> =
        seen.iter().filter(|u| u.given_up.is_some()).map(|u| (u.number, u.firing, u.error.clone())).collect();
    assert_eq!(dead.len(), 1, "{seen:#?}");
    assert_eq!((dead[0].1, dead[0].2.as_str(), agent.core.dead_letters()), (1, "403", 1));

    // What waits goes on; the other is told as it was, and since it has ended by now, that is told after it.
    assert_eq!(agent.deliver(), ["-a"]);
    let (retried, actions) = agent.core.retry(dead[0].0, time(agent.seconds));
    assert!(retried && agent.core.dead_letters() == 0);
    agent.act(actions);
    assert_eq!(agent.deliver(), ["a"]);
    agent.until(agent.seconds + 60);
    assert_eq!(agent.deliver(), ["-a"]);
    assert!(!agent.core.retry(dead[0].0, time(agent.seconds)).0 && !agent.core.discard(dead[0].0).0);
    agent.until(agent.seconds + 60);
    assert!(agent.rows.borrow().is_empty(), "{:?}", agent.rows.borrow().keys());
}

#[test]
fn what_waits_for_a_receiver_that_goes_is_kept_too() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a"]);
    agent.until(10);
    agent.handle(Event::Plan(Box::new(plan(&CONFIG.replace("ops", "others")))));
    let dead = agent.core.view_undelivered().remove(0);
    assert_eq!((dead.target.receiver.as_str(), dead.error.as_str()), ("ops", "its receiver is no longer configured"));
    assert!(!agent.core.retry(dead.number, time(10)).0, "there is nobody to tell");
    assert!(agent.core.discard(dead.number).0 && agent.core.dead_letters() == 0);
    // When it is back, it has still to be told.
    agent.attempts.clear();
    agent.handle(Event::Plan(Box::new(plan(CONFIG))));
    agent.until(80);
    assert_eq!(agent.deliver(), ["a"]);
}

#[test]
fn ten_thousand_alerts_at_once_are_grouped_in_good_time_and_make_as_many_rows_as_groups() {
    for (group_by, groups) in [("[alertname]", 1), ("['...']", 10_000)] {
        let config = CONFIG.replace("[alertname]", group_by)
            + "inhibit_rules: [{source_matchers: [alertname=Disk], \
             target_matchers: [alertname=Disk, x=y], equal: [instance]}]\n";
        let mut agent = Agent::new(&config);
        let names: Vec<String> = (0..10_000).map(|i| i.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let began = std::time::Instant::now();
        agent.tell("Disk", &names);
        agent.until(10);
        let count = |table: Table| agent.rows.borrow().keys().filter(|(t, _)| *t == table).count();
        assert_eq!(
            (count(Table::Alerts), count(Table::Queue), count(Table::NotificationLog)),
            (10_000, groups, groups)
        );
        // Without optimisation, on a machine that does much else.
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    }
}
