//! An agent's core with actions, told of alerts second by second.

mod decisions;
mod deliveries;
mod random;
mod restarts;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::alerting::config::AlertingConfig;
use crate::alerting::core::{Actions, Core, Deed, Ended, Event, Now};
use crate::alerting::plan::Plan;
use crate::alerting::queue::{Attempt, row_key};
use crate::alerting::remedy::{ActionConfig, Done, Order, Result as Outcome};
use crate::alerting::view::Silence;
use crate::alerting::{Matcher, parse_matchers};
use crate::model::{Labels, Timestamp};
use crate::rules::Alert;
use crate::state::Table;
use crate::yaml::{Document, Faults};

const ROUTE: &str = "route: {receiver: ops, group_by: [alertname], group_wait: 10s, group_interval: 1m}\n\
                     receivers: [{name: ops, webhook_configs: [{url: 'http://x'}]}]\n";
/// For the alert `Down`, five minutes, three times an hour.
const RESTART: &str = "[{name: restart, command: [systemctl, restart, x], matchers: [alertname=Down]}]";

fn plan(alerting: &str, actions: &str) -> Plan {
    let mut faults = Faults::default();
    let alerting: AlertingConfig = Document::parse("t.yaml", alerting, &mut faults).read(&mut faults);
    let items = Document::parse("a.yaml", actions, &mut faults);
    let read = |node| <ActionConfig as crate::yaml::FromYaml>::from_yaml(node, &mut faults);
    let actions: Vec<ActionConfig> = items.root.items().iter().filter_map(read).collect();
    assert!(!faults.has_errors(), "{faults}");
    Plan::new(&alerting, Labels::empty(), "http://h:9100").acting(&actions)
}

fn time(seconds: u64) -> Now {
    Now { mono: Duration::from_secs(seconds), wall: Timestamp::from_millis(1_000_000_000 + seconds as i64 * 1000) }
}

struct Agent {
    core: Core,
    rows: BTreeMap<(Table, String), Vec<u8>>,
    seconds: u64,
    orders: Vec<Order>,
    /// Whether the pool has no place for now.
    full: bool,
    /// What it has not begun.
    queued: Vec<u64>,
    attempts: Vec<Attempt>,
    deeds: Vec<Deed>,
}

impl Agent {
    fn new(actions: &str) -> Agent {
        Agent::with(ROUTE, actions)
    }

    fn with(alerting: &str, actions: &str) -> Agent {
        let (core, _) = Core::restore(plan(alerting, actions), 7, time(0), |_| Vec::new());
        Agent {
            core,
            rows: BTreeMap::new(),
            seconds: 0,
            orders: Vec::new(),
            full: false,
            queued: Vec::new(),
            attempts: Vec::new(),
            deeds: Vec::new(),
        }
    }

    fn act(&mut self, actions: Actions) {
        for change in actions.batch.changes() {
            let key = (change.table, change.key.clone());
            match &change.row {
                Some(row) => self.rows.insert(key, row.clone()),
                None => self.rows.remove(&key),
            };
        }
        for order in &actions.orders {
            let row = &self.rows[&(Table::Actions, row_key(order.number))];
            let row: serde_json::Value = serde_json::from_slice(row).unwrap();
            let standing = (&row["result"], &row["ordered"]);
            assert_eq!(standing, (&"waiting".into(), &true.into()), "it is written down before it is run");
        }
        self.queued.extend(actions.orders.iter().map(|order| order.number));
        self.orders.extend(actions.orders);
        self.attempts.extend(actions.attempts);
        self.deeds.extend(actions.deeds);
        if !self.full {
            self.begin();
        }
    }

    /// The pool begins what waits for a place.
    fn begin(&mut self) {
        for number in std::mem::take(&mut self.queued) {
            self.handle(Event::Begun(number));
        }
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

    /// Tells of an alert of a rule that names these actions: since when it fires, and whether it still does.
    fn tell_named(&mut self, name: &str, since: u64, fires: bool, actions: &[&str]) {
        let now = time(self.seconds).wall;
        let alert = Alert {
            labels: Labels::from_pairs([("alertname", name), ("instance", "i")]),
            annotations: Labels::empty(),
            starts_at: time(since).wall,
            ends_at: (!fires).then_some(now),
            valid_for: Duration::from_secs(100_000),
            value: 1.0,
            expr: "up == 0".to_string(),
            threshold: None,
            top: Vec::new(),
            actions: actions.iter().map(ToString::to_string).collect(),
        };
        self.handle(Event::Alerts(vec![alert]));
    }

    fn fires(&mut self, name: &str, since: u64) {
        self.tell_named(name, since, true, &[]);
    }

    fn ends(&mut self, name: &str, since: u64) {
        self.tell_named(name, since, false, &[]);
    }

    /// What is to be run: action and trigger.
    fn ordered(&mut self) -> Vec<String> {
        let say = |order: &Order| format!("{} {}", order.action.name, order.trigger.as_str());
        self.orders.iter().map(say).collect()
    }

    /// All that runs ends well after 1.2 s.
    fn ran(&mut self) {
        for order in std::mem::take(&mut self.orders) {
            self.done(order.number, Outcome::Ok, "exit 0");
        }
    }

    fn done(&mut self, number: u64, result: Outcome, said: &str) {
        if self.queued.contains(&number) {
            self.begin();
        }
        let took = Some(Duration::from_millis(1200));
        let done = Done { result, said: said.to_string(), took, output: "out".to_string() };
        self.handle(Event::Done(number, done));
    }

    /// Ends all deliveries well; what they said of the actions of each alert.
    fn told(&mut self) -> Vec<Vec<String>> {
        let mut said = Vec::new();
        for attempt in std::mem::take(&mut self.attempts) {
            said.extend(attempt.notification.alerts.iter().map(|alert| alert.details.actions.clone()));
            self.handle(Event::Ended(Ended { attempt, result: Ok(()) }));
        }
        said
    }

    fn silence(&mut self, matcher: &str, until: u64) {
        let matchers: Vec<Matcher> = parse_matchers(matcher).unwrap();
        let (starts_at, ends_at) = (time(self.seconds).wall, time(until).wall);
        let (id, created_by, comment) = (String::new(), String::new(), String::new());
        let silence = Silence { id, matchers, starts_at, ends_at, updated_at: starts_at, created_by, comment };
        let (set, actions) = self.core.set_silence(silence, time(self.seconds));
        set.unwrap();
        self.act(actions);
    }

    /// The agent is killed and started again after so many seconds.
    fn restart(&mut self, down: u64, alerting: &str, actions: &str) {
        self.seconds += down;
        let rows = &self.rows;
        let load = |table: Table| {
            rows.iter().filter(|((t, _), _)| *t == table).map(|((_, k), row)| (k.clone(), row.clone())).collect()
        };
        let (core, actions) = Core::restore(plan(alerting, actions), self.seconds, time(self.seconds), load);
        self.core = core;
        self.orders.clear();
        self.queued.clear();
        self.attempts.clear();
        self.act(actions);
    }

    /// The audit log, the oldest first: trigger, result and what is said.
    fn log(&self) -> Vec<String> {
        let entries = self.core.view_actions();
        let say = |(_, entry): &(u64, crate::alerting::remedy::Entry)| {
            format!("{} {} {}", entry.trigger.as_str(), entry.result.as_str(), entry.said).trim().to_string()
        };
        entries.iter().rev().map(say).collect()
    }
}
