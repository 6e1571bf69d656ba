//! The core with a store in memory and sinks that answer as they are told to.

mod checks;
mod flapping;
mod given_up;
mod group;
mod posted;
mod restart;
mod storm;
mod suppress;

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;
use crate::alerting::{AlertView, AlertingConfig};
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
    /// By how many seconds the wall clock is wrong.
    skew: i64,
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
            skew: 0,
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

    fn now(&self) -> Now {
        let Now { mono, wall } = time(self.seconds);
        Now { mono, wall: Timestamp::from_millis(wall.as_millis() + self.skew * 1000) }
    }

    fn handle(&mut self, event: Event) {
        let actions = self.core.handle(event, self.now());
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
        let now = self.now().wall;
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
        let (core, actions) = Core::restore(plan(config), 8, self.now(), load);
        self.core = core;
        self.attempts.clear();
        self.act(actions);
    }

    fn view(&self) -> Vec<AlertView> {
        self.core.view_alerts(time(self.seconds))
    }
}
