use super::*;
use crate::yaml::Document;

fn read(text: &str) -> (AlertingConfig, Faults) {
    let mut faults = Faults::default();
    let config = Document::parse("a.yaml", text, &mut faults).read(&mut faults);
    (config, faults)
}

/// The first lines of the faults, without the excerpts.
fn said(text: &str) -> Vec<String> {
    read(text).1.iter().map(|f| f.to_string().lines().next().unwrap_or_default().to_string()).collect()
}

#[test]
fn an_alertmanager_file_is_read_as_it_is() {
    let (config, faults) = read(
        r#"
global:
  resolve_timeout: 10m
route:
  receiver: web.hook
  group_by: ['alertname']
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 1h
  routes:
    - matchers: [ severity="page", team=~"db|web" ]
      receiver: pager
      continue: true
receivers:
  - name: web.hook
    webhook_configs:
      - url: 'http://127.0.0.1:5001/'
        max_alerts: 5
        http_config:
          basic_auth: {username: me, password: hunter2}
          tls_config: {insecure_skip_verify: true}
  - name: pager
    exec_configs:
      - command: [page, ops]
"#,
    );
    assert!(faults.is_empty(), "{faults}");
    assert_eq!(config.global.resolve_timeout, Duration::from_secs(600));
    let (route, receivers) = config.effective();
    assert_eq!(route.routes.0[0].matchers.0.len(), 2);
    assert_eq!(receivers[0].webhook_configs[0].max_alerts, 5);
    assert!(!format!("{config:?}").contains("hunter2") && !format!("{config:?}").contains("5001"));
}

#[test]
fn without_a_route_everything_goes_to_the_log_at_once() {
    let (route, receivers) = AlertingConfig::default().effective();
    assert_eq!(route.receiver.as_deref(), Some("log"));
    assert_eq!((receivers.len(), receivers[0].log_configs.len()), (1, 1));
    assert_eq!(super::super::route::Route::root(&route).group_wait, Duration::ZERO);
}

#[test]
fn every_fault_is_said_in_one_go_with_its_place() {
    let text = r#"
route:
  receiver: opz
  matchers: [a=b]
  group_by: [x, x]
  group_interval: 0s
  routes:
    - receiver: ops
      matchers: [severity]
      group_wait: 5
      match_re: {a: '('}
    - reciever: ops
receivers:
  - name: ops
    webhook_configs:
      - url: ftp://secret-host/x
      - {}
  - name: ops
  - name: idle
  - log_configs: [{pth: x}]
"#;
    assert_eq!(
        said(text),
        [
            "a.yaml:5:17: \"x\" is in group_by twice",
            "a.yaml:9:18: \"severity\" is not a matcher: there is no operator after the name; write name=\"value\", \
             with one of = != =~ !~",
            "a.yaml:10:19: \"5\" is a duration without a unit: write a number with a unit, such as 500ms, 15s, 5m, \
             1h30m or 2d",
            "a.yaml:11:21: not a regular expression: a parenthesis is not closed",
            "a.yaml:12:7: unknown key \"reciever\", did you mean \"receiver\"?",
            "a.yaml:16:14: url is not an http or https URL",
            "a.yaml:17:9: a webhook needs a url or a url_file",
            "a.yaml:20:20: unknown key \"pth\", did you mean \"path\"?",
            "a.yaml:18:11: there are two receivers named \"ops\"",
            "a.yaml:20:5: a receiver needs a name",
            "a.yaml:4:3: the root route takes every alert, so it cannot have \"matchers\"",
            "a.yaml:3:13: the receiver \"opz\" is not defined, did you mean \"ops\"?",
            "a.yaml:6:19: group_interval cannot be 0",
            "a.yaml:19:11: warning: no route leads to the receiver \"idle\"",
        ]
    );
    assert!(!read(text).1.to_string().contains("secret-host"));
}

#[test]
fn receivers_and_routes_need_each_other() {
    assert_eq!(
        said("receivers: [{name: a}]"),
        ["a.yaml:1:12: receivers without a route are never told: add a route that names one"]
    );
    assert_eq!(
        said("route: {group_wait: 1s}"),
        ["a.yaml:1:8: the root route needs a receiver: every alert must go somewhere"]
    );
    assert_eq!(
        said("route: {receiver: a}"),
        ["a.yaml:1:19: the receiver \"a\" is not defined, there are no receivers"]
    );
}

#[test]
fn what_only_alertmanager_has_is_said_to_be_so_with_what_to_do() {
    let text = r#"
global:
  smtp: x
route:
  receiver: a
receivers:
  - name: a
    wechat_configs: [{channel: x}]
    wechad_configs: []
"#;
    let said = said(text);
    assert_eq!(
        said.get(1).map(String::as_str),
        Some(
            "a.yaml:8:5: \"wechat_configs\" is a key of Alertmanager's that this version does not support: use \
             exec_configs with a command that tells wechat, or webhook_configs with a bridge to it"
        )
    );
    assert!(said[0].starts_with("a.yaml:3:3: unknown key \"smtp\""), "{said:?}");
    assert!(said[2].starts_with("a.yaml:9:5: unknown key \"wechad_configs\""), "{said:?}");
}

#[test]
fn times_and_inhibition_are_read_as_in_alertmanager() {
    let (config, faults) = read(
        r#"
route:
  receiver: a
  routes:
    - matchers: [severity="info"]
      mute_time_intervals: [night, weekend]
      active_time_intervals: [office]
receivers:
  - name: a
inhibit_rules:
  - source_matchers: [severity="critical"]
    target_match: {severity: info}
    target_match_re: {job: 'a|b'}
    equal: [instance]
time_intervals:
  - name: night
    time_intervals:
      - times: [{start_time: 22:00, end_time: 24:00}, {start_time: 00:00, end_time: 06:00}]
        location: Europe/Vienna
  - name: office
    time_intervals: [{weekdays: ['monday:friday']}]
mute_time_intervals:
  - name: weekend
    time_intervals: [{weekdays: [saturday, sunday]}]
"#,
    );
    assert!(faults.is_empty(), "{faults}");
    assert_eq!(config.inhibit_rules[0].equal, ["instance"]);
    assert_eq!((config.time_intervals.len(), config.mute_time_intervals[0].name.as_str()), (2, "weekend"));
}

#[test]
fn faults_of_times_are_said_with_their_place() {
    assert_eq!(
        said(
            r#"
route:
  receiver: a
  mute_time_intervals: [night]
  routes:
    - mute_time_intervals: [nigth]
      routes:
        - active_time_intervals: [office]
receivers:
  - name: a
time_intervals:
  - name: night
    time_intervals: [{weekday: [x]}]
  - name: night
  - time_intervals: []
"#
        ),
        [
            "a.yaml:13:23: unknown key \"weekday\", did you mean \"weekdays\"?",
            "a.yaml:15:5: a time interval needs a name",
            "a.yaml:14:11: there are two time intervals named \"night\"",
            "a.yaml:4:3: the root route always tells, so it cannot have \"mute_time_intervals\"",
            "a.yaml:6:29: the time interval \"nigth\" is not defined, did you mean \"night\"?",
            "a.yaml:8:35: the time interval \"office\" is not defined, there are: night",
        ]
    );
}

/// The section as it is once the file that it names has been read, and the first lines of all faults.
fn with_file(section: &str, file: &str) -> (AlertingConfig, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("am").join("alertmanager.yml");
    std::fs::create_dir(dir.path().join("am")).unwrap();
    std::fs::write(&path, file).unwrap();
    let mut faults = Faults::default();
    let document = Document::parse("w.yaml", section, &mut faults);
    let mut config: AlertingConfig = document.read(&mut faults);
    config.resolve_paths(dir.path());
    config.read_config_file(Some(&document.root), &mut faults);
    // The next fault is one of the configuration again.
    faults.warn(Default::default(), "next");
    let shorten = |text: String| text.replace(&format!("{}/", dir.path().display()), "");
    let said = faults.iter().map(|f| shorten(f.to_string().lines().next().unwrap_or_default().to_string()));
    let said: Vec<String> = said.collect();
    assert_eq!(said.last().map(String::as_str), Some("w.yaml: warning: next"));
    if let Some(log) = config.receivers.first().and_then(|r| r.log_configs.first()) {
        assert_eq!(log.path, Some(dir.path().join("am").join("x.log")));
    }
    (config, said[..said.len() - 1].to_vec())
}

#[test]
fn an_alertmanagers_file_can_be_named_and_its_paths_start_where_it_is() {
    let file = "route: {receiver: a}\nreceivers: [{name: a, log_configs: [{path: x.log}]}]\n";
    let (config, said) = with_file("config_file: am/alertmanager.yml\nflapping: {times: 7}\n", file);
    assert!(said.is_empty(), "{said:?}");
    assert_eq!((config.receivers.len(), config.flapping.times), (1, 7));
    assert_eq!(config.effective().0.receiver.as_deref(), Some("a"));
}

#[test]
fn what_is_wrong_with_the_named_file_names_it_and_nothing_may_be_said_twice() {
    let (_, said) = with_file(
        "config_file: am/alertmanager.yml\nroute: {receiver: b}\nreceivers: [{name: b}]\n",
        "global: {resolve_timout: 1m}\nflapping: {}\n",
    );
    assert_eq!(
        said,
        [
            "w.yaml:2:1: \"route\" is read from am/alertmanager.yml: say it there",
            "w.yaml:3:1: \"receivers\" is read from am/alertmanager.yml: say it there",
            "am/alertmanager.yml:2:1: \"flapping\" is no key of an Alertmanager's file: say it beside config_file",
            "am/alertmanager.yml:1:1: an Alertmanager's file needs a route",
            "am/alertmanager.yml:1:10: unknown key \"resolve_timout\", did you mean \"resolve_timeout\"?",
        ]
    );
    let (_, said) = with_file("config_file: am/none.yml\n", "");
    assert_eq!(said, ["w.yaml:1:14: cannot read am/none.yml: No such file or directory (os error 2)"]);
}

#[test]
fn an_exec_without_a_command_and_two_ways_to_authorize_are_faults() {
    let text = "route: {receiver: a}\nreceivers:\n  - name: a\n    exec_configs: [{timeout: 0s}]\n    webhook_configs:\n      \
                - url: http://x\n        http_config: {authorization: {credentials: a, credentials_file: b}, \
                basic_auth: {username: u}}\n";
    let said = said(text).join("\n");
    for part in ["exec_configs needs a command", "timeout is 0", "exclude each other: give one"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
