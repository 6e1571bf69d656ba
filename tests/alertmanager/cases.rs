//! Configurations in Alertmanager's words. `<1.5>` is a time: so many seconds for Alertmanager, minutes for the core.
//! `HOOK` is where webhooks go; what follows it is the receiver and the place of the webhook among its own. `NOON` is a time
//! zone in which it is about noon.

/// A configuration.
pub struct Case {
    pub name: &'static str,
    /// What the script does beside firing and resolving.
    pub with: With,
    /// So many seeds have been seen not to do: a saving of time.
    pub skip: u64,
    /// An alertmanager.yml.
    pub config: &'static str,
}

/// What a script does beside firing and resolving.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum With {
    Alerts,
    /// Silences are set, for now and for later, and expired.
    Silences,
    /// Alerts are not told again, and time out.
    Timeouts,
}

pub const CASES: &[Case] = &[
    Case {
        name: "all_in_one_group",
        with: With::Alerts,
        skip: 18,
        config: r#"
route: {receiver: ops, group_wait: <1>, group_interval: <5>, repeat_interval: <1000>}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}]
"#,
    },
    Case {
        name: "by_name",
        with: With::Alerts,
        skip: 127,
        config: r#"
route: {receiver: ops, group_by: [alertname], group_wait: <1>, group_interval: <5>, repeat_interval: <1000>}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}]
"#,
    },
    Case {
        name: "by_two_labels_of_which_one_is_often_missing",
        with: With::Alerts,
        skip: 0,
        config: r#"
route: {receiver: ops, group_by: [alertname, cluster], group_wait: <1>, group_interval: <5>, repeat_interval: <1000>}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}]
"#,
    },
    Case {
        name: "each_on_its_own",
        with: With::Alerts,
        skip: 20,
        config: r#"
route: {receiver: ops, group_by: ['...'], group_wait: <1>, group_interval: <5>, repeat_interval: <1000>}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}]
"#,
    },
    Case {
        name: "at_once",
        with: With::Alerts,
        skip: 81,
        config: r#"
route: {receiver: ops, group_by: [alertname], group_wait: 0s, group_interval: <3>, repeat_interval: <1000>}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}]
"#,
    },
    Case {
        name: "a_long_wait",
        with: With::Alerts,
        skip: 4,
        config: r#"
route: {receiver: ops, group_by: [team], group_wait: <9>, group_interval: <7>, repeat_interval: <1000>}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}]
"#,
    },
    Case {
        name: "repeated_while_it_fires",
        with: With::Alerts,
        skip: 30,
        config: r#"
route: {receiver: ops, group_by: [alertname], group_wait: <1>, group_interval: <4>, repeat_interval: <10>}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}]
"#,
    },
    Case {
        name: "repeated_more_often_than_the_interval",
        with: With::Alerts,
        skip: 1,
        config: r#"
route: {receiver: ops, group_by: [team], group_wait: <1>, group_interval: <6>, repeat_interval: <2>}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}]
"#,
    },
    Case {
        name: "resolved_is_not_told",
        with: With::Alerts,
        skip: 0,
        config: r#"
route: {receiver: ops, group_by: [alertname], group_wait: <1>, group_interval: <5>, repeat_interval: <1000>}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0', send_resolved: false}]}]
"#,
    },
    Case {
        name: "resolved_is_not_told_and_it_repeats",
        with: With::Alerts,
        skip: 22,
        config: r#"
route: {receiver: ops, group_by: [alertname], group_wait: <1>, group_interval: <3>, repeat_interval: <8>}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0', send_resolved: false}]}]
"#,
    },
    Case {
        name: "two_alerts_at_most",
        with: With::Alerts,
        skip: 10,
        config: r#"
route: {receiver: ops, group_wait: <1>, group_interval: <5>, repeat_interval: <1000>}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0', max_alerts: 2}]}]
"#,
    },
    Case {
        name: "several_sinks_of_one_receiver",
        with: With::Alerts,
        skip: 25,
        config: r#"
route: {receiver: ops, group_by: [alertname], group_wait: <1>, group_interval: <5>, repeat_interval: <1000>}
receivers:
- name: ops
  webhook_configs:
  - {url: 'HOOK/ops/0'}
  - {url: 'HOOK/ops/1', send_resolved: false}
  - {url: 'HOOK/ops/2', max_alerts: 1}
"#,
    },
    Case {
        name: "the_first_that_matches",
        with: With::Alerts,
        skip: 66,
        config: r#"
route:
  {receiver: ops, group_by: [alertname], group_wait: <1>, group_interval: <5>, repeat_interval: <1000>, routes: [
    {receiver: db, matchers: ['team="db"']},
    {receiver: page, matchers: [severity=page]},
    {receiver: web, matchers: ['team=~"web|w<b>"']}]}
receivers:
- {name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}
- {name: db, webhook_configs: [{url: 'HOOK/db/0'}]}
- {name: page, webhook_configs: [{url: 'HOOK/page/0'}]}
- {name: web, webhook_configs: [{url: 'HOOK/web/0'}]}
"#,
    },
    Case {
        name: "continue_takes_several",
        with: With::Alerts,
        skip: 17,
        config: r#"
route:
  {receiver: ops, group_by: [alertname], group_wait: <1>, group_interval: <5>, repeat_interval: <1000>, routes: [
    {receiver: db, matchers: ['team="db"'], continue: true},
    {receiver: page, matchers: [severity=page], continue: true, group_by: [instance]},
    {receiver: web, matchers: ['severity!~"page|info"']}]}
receivers:
- {name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}
- {name: db, webhook_configs: [{url: 'HOOK/db/0'}]}
- {name: page, webhook_configs: [{url: 'HOOK/page/0'}]}
- {name: web, webhook_configs: [{url: 'HOOK/web/0'}]}
"#,
    },
    Case {
        name: "nested_routes_inherit",
        with: With::Alerts,
        skip: 114,
        config: r#"
route:
  receiver: ops
  group_by: [alertname]
  group_wait: <2>
  group_interval: <5>
  repeat_interval: <1000>
  routes:
  - matchers: [team=db]
    receiver: db
    group_wait: <1>
    routes:
    - matchers: [severity=page, alertname!=Mem]
      receiver: page
      group_interval: <3>
    - matchers: [alertname=Mem]
      group_by: ['...']
  - matchers: ['severity=~"warn.*"']
    group_by: [severity]
receivers:
- {name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}
- {name: db, webhook_configs: [{url: 'HOOK/db/0'}]}
- {name: page, webhook_configs: [{url: 'HOOK/page/0'}]}
"#,
    },
    Case {
        name: "the_older_matchers",
        with: With::Alerts,
        skip: 0,
        config: r#"
route:
  receiver: ops
  group_wait: <1>
  group_interval: <5>
  repeat_interval: <1000>
  routes:
  - match: {severity: page}
    match_re: {team: 'd.|web'}
    receiver: db
  - match_re: {instance: '[a-b]'}
    group_by: [instance]
    receiver: page
receivers:
- {name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}
- {name: db, webhook_configs: [{url: 'HOOK/db/0'}]}
- {name: page, webhook_configs: [{url: 'HOOK/page/0'}]}
"#,
    },
    Case {
        name: "matchers_of_both_kinds_in_one_route",
        with: With::Alerts,
        skip: 1,
        config: r#"
route:
  receiver: ops
  group_wait: <1>
  group_interval: <5>
  repeat_interval: <1000>
  routes:
  - match: {severity: page}
    matchers: ['{team=~"d.+", instance!="b"}', note=""]
    receiver: db
receivers:
- {name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}
- {name: db, webhook_configs: [{url: 'HOOK/db/0'}]}
"#,
    },
    Case {
        name: "two_routes_to_one_receiver",
        with: With::Alerts,
        skip: 93,
        config: r#"
route:
  {receiver: ops, group_wait: <1>, group_interval: <5>, repeat_interval: <1000>, routes: [
    {receiver: ops, matchers: [severity=page], group_by: [alertname], continue: true},
    {receiver: ops, matchers: ['alertname=~"Disk|Cpu"'], group_by: [alertname]}]}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}]
"#,
    },
    Case {
        name: "a_receiver_without_sinks",
        with: With::Alerts,
        skip: 5,
        config: r#"
route:
  {receiver: ops, group_wait: <1>, group_interval: <5>, repeat_interval: <1000>, routes: [{receiver: blackhole, matchers: [severity=info]}, {receiver: blackhole, matchers: [team=web]}]}
receivers:
- {name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}
- name: blackhole
"#,
    },
    Case {
        name: "inhibited_by_what_is_worse",
        with: With::Alerts,
        skip: 7,
        config: r#"
route: {receiver: ops, group_by: [alertname], group_wait: <1>, group_interval: <5>, repeat_interval: <1000>}
inhibit_rules:
- {source_matchers: [severity=critical], target_matchers: ['severity=~"warning|info"'], equal: [instance]}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}]
"#,
    },
    Case {
        name: "inhibited_in_the_older_words",
        with: With::Alerts,
        skip: 20,
        config: r#"
route: {receiver: ops, group_by: [alertname], group_wait: <1>, group_interval: <5>, repeat_interval: <1000>}
inhibit_rules:
- {source_match: {alertname: HostDown}, target_match_re: {severity: 'page|warning'}, equal: [instance, cluster]}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}]
"#,
    },
    Case {
        name: "inhibited_everywhere",
        with: With::Alerts,
        skip: 3,
        config: r#"
route: {receiver: ops, group_wait: <1>, group_interval: <5>, repeat_interval: <1000>}
inhibit_rules:
- {source_matchers: [alertname=HostDown], target_matchers: [alertname!=HostDown]}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}]
"#,
    },
    Case {
        name: "none_inhibits_itself",
        with: With::Alerts,
        skip: 38,
        config: r#"
route: {receiver: ops, group_by: [alertname], group_wait: <1>, group_interval: <5>, repeat_interval: <1000>}
inhibit_rules:
- {source_matchers: [severity=page], target_matchers: [severity=page], equal: [team]}
- {source_matchers: ['severity=~"page|critical"'], target_matchers: ['severity=~"page|warning"'], equal: [instance]}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}]
"#,
    },
    Case {
        name: "inhibited_by_labels_that_are_missing",
        with: With::Alerts,
        skip: 3,
        config: r#"
route: {receiver: ops, group_by: [instance], group_wait: <1>, group_interval: <5>, repeat_interval: <1000>}
inhibit_rules:
- {source_matchers: [severity=critical], target_matchers: [severity!=critical], equal: [cluster, nowhere]}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}]
"#,
    },
    Case {
        name: "several_rules_inhibit",
        with: With::Alerts,
        skip: 226,
        config: r#"
route: {receiver: ops, group_by: [alertname], group_wait: 0s, group_interval: <3>, repeat_interval: <8>}
inhibit_rules:
- {source_matchers: [alertname=Disk], target_matchers: [alertname=Cpu], equal: [instance]}
- {source_matchers: [alertname=Mem], target_matchers: [alertname=Disk], equal: [team]}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}]
"#,
    },
    Case {
        name: "silenced",
        with: With::Silences,
        skip: 15,
        config: r#"
route: {receiver: ops, group_by: [alertname], group_wait: <1>, group_interval: <5>, repeat_interval: <1000>}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}]
"#,
    },
    Case {
        name: "silenced_and_repeated",
        with: With::Silences,
        skip: 15,
        config: r#"
route: {receiver: ops, group_by: [alertname], group_wait: <1>, group_interval: <3>, repeat_interval: <7>}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}]
"#,
    },
    Case {
        name: "silenced_one_by_one",
        with: With::Silences,
        skip: 1,
        config: r#"
route: {receiver: ops, group_by: ['...'], group_wait: 0s, group_interval: <4>, repeat_interval: <1000>}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}]
"#,
    },
    Case {
        name: "silenced_on_some_routes_and_inhibited",
        with: With::Silences,
        skip: 3,
        config: r#"
route:
  {receiver: ops, group_by: [alertname], group_wait: <1>, group_interval: <5>, repeat_interval: <1000>, routes: [{receiver: db, matchers: [team=db], continue: true}, {receiver: page, matchers: [severity=page]}]}
inhibit_rules:
- {source_matchers: [severity=critical], target_matchers: [severity=warning], equal: [instance]}
receivers:
- {name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}
- {name: db, webhook_configs: [{url: 'HOOK/db/0'}]}
- {name: page, webhook_configs: [{url: 'HOOK/page/0'}]}
"#,
    },
    Case {
        name: "times_out",
        with: With::Timeouts,
        skip: 156,
        config: r#"
global: {resolve_timeout: <8>}
route: {receiver: ops, group_by: [alertname], group_wait: <1>, group_interval: <4>, repeat_interval: <1000>}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}]
"#,
    },
    Case {
        name: "times_out_in_one_group",
        with: With::Timeouts,
        skip: 87,
        config: r#"
global: {resolve_timeout: <5>}
route: {receiver: ops, group_wait: 0s, group_interval: <3>, repeat_interval: <8>}
receivers: [{name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}]
"#,
    },
    Case {
        name: "muted_at_times",
        with: With::Alerts,
        skip: 6,
        config: r#"
route:
  {receiver: ops, group_by: [alertname], group_wait: <1>, group_interval: <5>, repeat_interval: <1000>, routes: [
    {receiver: db, matchers: [team=db], mute_time_intervals: [around_noon]},
    {receiver: page, matchers: [severity=critical], mute_time_intervals: [never, at_night]},
    {receiver: web, matchers: [team=web], mute_time_intervals: [at_night, always]}]}
time_intervals:
- name: always
  time_intervals: [{times: [{start_time: '00:00', end_time: '24:00'}]}]
- name: never
  time_intervals: [{years: ['1999']}]
- name: around_noon
  time_intervals: [{times: [{start_time: '09:00', end_time: '15:00'}], location: NOON}]
- name: at_night
  time_intervals: [{times: [{start_time: '00:00', end_time: '06:00'}, {start_time: '20:00', end_time: '24:00'}], location: NOON}]
- name: this_year
  time_intervals: [{years: ['2020:2099'], months: ['january:december', '1:12'], days_of_month: ['1:31'], weekdays: ['sunday:saturday'], location: NOON}]
- name: the_end_of_months
  time_intervals: [{days_of_month: ['-31:-1']}]
receivers:
- {name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}
- {name: db, webhook_configs: [{url: 'HOOK/db/0'}]}
- {name: page, webhook_configs: [{url: 'HOOK/page/0'}]}
- {name: web, webhook_configs: [{url: 'HOOK/web/0'}]}
"#,
    },
    Case {
        name: "active_at_times",
        with: With::Alerts,
        skip: 34,
        config: r#"
route:
  {receiver: ops, group_by: [alertname], group_wait: <1>, group_interval: <5>, repeat_interval: <1000>, routes: [
    {receiver: db, matchers: [team=db], active_time_intervals: [around_noon]},
    {receiver: page, matchers: [severity=critical], active_time_intervals: [never, at_night]},
    {receiver: web, matchers: [team=web], active_time_intervals: [this_year], mute_time_intervals: [at_night]}]}
time_intervals:
- name: always
  time_intervals: [{times: [{start_time: '00:00', end_time: '24:00'}]}]
- name: never
  time_intervals: [{years: ['1999']}]
- name: around_noon
  time_intervals: [{times: [{start_time: '09:00', end_time: '15:00'}], location: NOON}]
- name: at_night
  time_intervals: [{times: [{start_time: '00:00', end_time: '06:00'}, {start_time: '20:00', end_time: '24:00'}], location: NOON}]
- name: this_year
  time_intervals: [{years: ['2020:2099'], months: ['january:december', '1:12'], days_of_month: ['1:31'], weekdays: ['sunday:saturday'], location: NOON}]
- name: the_end_of_months
  time_intervals: [{days_of_month: ['-31:-1']}]
receivers:
- {name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}
- {name: db, webhook_configs: [{url: 'HOOK/db/0'}]}
- {name: page, webhook_configs: [{url: 'HOOK/page/0'}]}
- {name: web, webhook_configs: [{url: 'HOOK/web/0'}]}
"#,
    },
    Case {
        name: "times_pass_to_routes_that_go_on",
        with: With::Silences,
        skip: 10,
        config: r#"
route:
  {receiver: ops, group_by: [alertname], group_wait: <1>, group_interval: <5>, repeat_interval: <1000>, routes: [
    {receiver: db, matchers: [severity=page], mute_time_intervals: [the_end_of_months], continue: true},
    {receiver: page, matchers: [severity=page], active_time_intervals: [around_noon, never], routes: [{matchers: [team=db]}]}]}
time_intervals:
- name: always
  time_intervals: [{times: [{start_time: '00:00', end_time: '24:00'}]}]
- name: never
  time_intervals: [{years: ['1999']}]
- name: around_noon
  time_intervals: [{times: [{start_time: '09:00', end_time: '15:00'}], location: NOON}]
- name: at_night
  time_intervals: [{times: [{start_time: '00:00', end_time: '06:00'}, {start_time: '20:00', end_time: '24:00'}], location: NOON}]
- name: this_year
  time_intervals: [{years: ['2020:2099'], months: ['january:december', '1:12'], days_of_month: ['1:31'], weekdays: ['sunday:saturday'], location: NOON}]
- name: the_end_of_months
  time_intervals: [{days_of_month: ['-31:-1']}]
receivers:
- {name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}
- {name: db, webhook_configs: [{url: 'HOOK/db/0'}]}
- {name: page, webhook_configs: [{url: 'HOOK/page/0'}]}
"#,
    },
    Case {
        name: "times_in_the_older_words",
        with: With::Alerts,
        skip: 4,
        config: r#"
route:
  {receiver: ops, group_wait: <1>, group_interval: <5>, repeat_interval: <1000>, routes: [{receiver: db, matchers: [team=db], mute_time_intervals: [around_noon]}, {receiver: page, matchers: [severity=page], mute_time_intervals: [at_night]}]}
mute_time_intervals:
- name: always
  time_intervals: [{times: [{start_time: '00:00', end_time: '24:00'}]}]
- name: never
  time_intervals: [{years: ['1999']}]
- name: around_noon
  time_intervals: [{times: [{start_time: '09:00', end_time: '15:00'}], location: NOON}]
- name: at_night
  time_intervals: [{times: [{start_time: '00:00', end_time: '06:00'}, {start_time: '20:00', end_time: '24:00'}], location: NOON}]
- name: this_year
  time_intervals: [{years: ['2020:2099'], months: ['january:december', '1:12'], days_of_month: ['1:31'], weekdays: ['sunday:saturday'], location: NOON}]
- name: the_end_of_months
  time_intervals: [{days_of_month: ['-31:-1']}]
receivers:
- {name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}
- {name: db, webhook_configs: [{url: 'HOOK/db/0'}]}
- {name: page, webhook_configs: [{url: 'HOOK/page/0'}]}
"#,
    },
    Case {
        name: "everything",
        with: With::Silences,
        skip: 6,
        config: r#"
global: {resolve_timeout: <20>}
route:
  receiver: ops
  group_by: [alertname]
  group_wait: <1>
  group_interval: <4>
  repeat_interval: <11>
  routes:
  - {matchers: [team=db], receiver: db, continue: true, group_by: [team]}
  - {matchers: ['severity=~"page|critical"'], receiver: page, group_by: ['...'], group_wait: 0s}
  - {matchers: [team=web], receiver: web, mute_time_intervals: [at_night], repeat_interval: <7>}
inhibit_rules:
- {source_matchers: [alertname=HostDown], target_matchers: [severity!=critical], equal: [instance]}
time_intervals:
- name: always
  time_intervals: [{times: [{start_time: '00:00', end_time: '24:00'}]}]
- name: never
  time_intervals: [{years: ['1999']}]
- name: around_noon
  time_intervals: [{times: [{start_time: '09:00', end_time: '15:00'}], location: NOON}]
- name: at_night
  time_intervals: [{times: [{start_time: '00:00', end_time: '06:00'}, {start_time: '20:00', end_time: '24:00'}], location: NOON}]
- name: this_year
  time_intervals: [{years: ['2020:2099'], months: ['january:december', '1:12'], days_of_month: ['1:31'], weekdays: ['sunday:saturday'], location: NOON}]
- name: the_end_of_months
  time_intervals: [{days_of_month: ['-31:-1']}]
receivers:
- {name: ops, webhook_configs: [{url: 'HOOK/ops/0'}]}
- {name: db, webhook_configs: [{url: 'HOOK/db/0', send_resolved: false}, {url: 'HOOK/db/1', max_alerts: 2}]}
- {name: page, webhook_configs: [{url: 'HOOK/page/0'}]}
- {name: web, webhook_configs: [{url: 'HOOK/web/0'}]}
"#,
    },
];
