//! The configurations of the world.

use std::sync::OnceLock;

use super::Random;
use crate::alerting::config::AlertingConfig;
use crate::alerting::plan::Plan;
use crate::model::Labels;
use crate::yaml::{Document, Faults, FromYaml};

/// How many there are: reading one takes longer than a run.
const CONFIGS: u64 = 96;

/// Plans in pairs: the second of each pair has another routing tree, and not all receivers of the first.
pub(super) fn plans() -> &'static Vec<(Plan, Plan)> {
    static PLANS: OnceLock<Vec<(Plan, Plan)>> = OnceLock::new();
    PLANS.get_or_init(|| (0..CONFIGS).map(|seed| pair(&mut Random(seed))).collect())
}

fn pair(random: &mut Random) -> (Plan, Plan) {
    let suppress = random.once_in(2);
    let times = if suppress {
        *random.one_of(&["", "mute_time_intervals: [noon]", "active_time_intervals: [day]"])
    } else {
        ""
    };
    let inhibit = if suppress && random.once_in(2) {
        "inhibit_rules: [{source_matchers: [severity=page], target_matchers: [alertname=Disk], equal: [team]}]"
    } else {
        ""
    };
    let rate = *random.one_of(&["", "", "rate_limit: {notifications: 3, per: 30s}"]);
    let rest = format!(
        "  group_wait: {}s\n  group_interval: {}s\n  repeat_interval: {}m\n",
        random.one_of(&[0, 3, 10]),
        random.one_of(&[5, 10, 30]),
        random.one_of(&[1, 5, 240]),
    );
    let group_by = *random.one_of(&["[]", "[alertname]", "[team, alertname]", "['...']"]);
    let goes_on = random.once_in(2);
    let flapping = *random.one_of(&["{times: 0}", "{times: 3, within: 1m, calm: 20s}", "{}"]);
    let common = format!(
        r#"
flapping: {flapping}
{inhibit}
time_intervals:
  - name: noon
    time_intervals: [{{times: [{{start_time: '12:03', end_time: '12:06'}}]}}]
  - name: day
    time_intervals: [{{times: [{{start_time: '12:03', end_time: '24:00'}}]}}]
"#
    );
    let first = format!(
        r#"
route:
  receiver: all
  group_by: {group_by}
{rest}
  routes:
    - matchers: [severity="page"]
      receiver: pager
      continue: {goes_on}
      group_by: ['...']
    - matchers: [team="a"]
      receiver: quiet
      {times}
receivers:
  - name: all
    webhook_configs: [{{url: 'http://a'}}, {{url: 'http://b'}}]
    {rate}
  - name: pager
    webhook_configs: [{{url: 'http://p'}}]
  - name: quiet
    webhook_configs: [{{url: 'http://q', send_resolved: false}}]
{common}
"#
    );
    let second = format!(
        r#"
route:
  receiver: all
  group_by: [team]
{rest}
  routes:
    - matchers: [team!="a"]
      receiver: pager
receivers:
  - name: all
    webhook_configs: [{{url: 'http://a'}}]
    {rate}
  - name: pager
    webhook_configs: [{{url: 'http://p'}}]
{common}
"#
    );
    (plan(&first), plan(&second))
}

fn plan(text: &str) -> Plan {
    let mut faults = Faults::default();
    let document = Document::parse("simulation.yaml", text, &mut faults);
    let config = AlertingConfig::from_yaml(&document.root, &mut faults).unwrap();
    assert!(!faults.has_errors(), "{faults}");
    Plan::new(&config, Labels::from_pairs([("host", "h")]), "http://h:9100/")
}
