//! `watchfire test route`: held against Debian's `amtool config routes test`, and as people read it.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use common::{peer, run};

const TREE: &str = r#"
route:
  receiver: everybody
  group_by: [alertname, instance]
  group_wait: 30s
  routes:
  - receiver: on-call
    matchers: [severity="page"]
    continue: true
    group_by: ['...']
    routes:
    - {receiver: dba, match: {team: db}, continue: true}
    - {receiver: dba-night, match_re: {team: 'd.*'}, mute_time_intervals: [day], repeat_interval: 1h}
    - {receiver: web, matchers: ['team=~"web|shop"', 'env!~"test.*"']}
  - {receiver: nobody, matchers: [severity=~"info|none"]}
  - receiver: tickets
    matchers: ['env!=test']
    routes:
    - matchers: [team=""]
    - {receiver: web, matchers: [team="web"], continue: true}
    - {receiver: dba, matchers: ['team=~".+"']}
  - {receiver: on-call, matchers: [team="web"], continue: true}
receivers:
- name: everybody
  webhook_configs: [{url: 'http://127.0.0.1:1/hidden'}, {url: 'http://127.0.0.1:1/'}]
- name: on-call
  pagerduty_configs: [{routing_key: hidden}]
- {name: dba}
- {name: dba-night}
- {name: web}
- {name: nobody}
- {name: tickets}
inhibit_rules:
- {source_matchers: [severity="page"], target_matchers: ['severity=~"warning|info"'], equal: [instance]}
time_intervals:
- {name: day, time_intervals: [{times: [{start_time: '08:00', end_time: '20:00'}]}]}
"#;

/// The tree as an Alertmanager's file, and a configuration that names it.
fn files() -> (TempDir, String, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).expect("a file is written");
        path.display().to_string()
    };
    let theirs = file("alertmanager.yml", TREE);
    let ours = file("watchfire.yaml", "alerting: {config_file: alertmanager.yml}\n");
    (dir, theirs, ours)
}

/// Runs it: exit status, output, errors.
fn route(file: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let output = run(&[&["test", "route", "--config.file", file], args].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn receivers(file: &str, labels: &[&str]) -> String {
    let (code, out, err) = route(file, &[&["--json"], labels].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""), "{labels:?}");
    let said: Value = serde_json::from_str(&out).expect("JSON");
    let names = said["receivers"].as_array().expect("receivers").iter();
    names.map(|name| name.as_str().expect("a name")).collect::<Vec<_>>().join(",")
}

#[test]
fn alerts_go_where_amtool_says_that_they_go() {
    let Some(amtool) = peer("amtool") else { return };
    let (_dir, theirs, ours) = files();
    let mut seen = Vec::new();
    for severity in ["", "page", "info", "warning"] {
        for team in ["", "db", "dx", "web", "shop", "x"] {
            for env in ["", "test", "testing"] {
                let labels = [("severity", severity), ("team", team), ("env", env)];
                let mut labels: Vec<String> =
                    labels.iter().filter(|(_, v)| !v.is_empty()).map(|(n, v)| format!("{n}={v}")).collect();
                labels.push("alertname=A".to_string());
                let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
                let output = Command::new(&amtool)
                    .args(["config", "routes", "test", "--config.file", &theirs])
                    .args(&labels)
                    .env("HOME", Path::new(&theirs).parent().expect("a directory"))
                    .output()
                    .expect("amtool runs");
                assert!(output.status.success(), "{output:?}");
                let said = String::from_utf8_lossy(&output.stdout).trim().to_string();
                assert_eq!(receivers(&ours, &labels), said, "{labels:?}");
                seen.push(said);
            }
        }
    }
    seen.sort();
    seen.dedup();
    assert!(seen.len() >= 7, "too few different ways: {seen:?}");
}

#[test]
fn people_see_the_way_of_an_alert_and_when_it_is_told() {
    let (_dir, _, ours) = files();
    let (code, out, err) = route(
        &ours,
        &["DiskFull", "severity=page", "team=dx", "env=test", "instance=a", "--time", "2026-01-05T10:00:00Z"],
    );
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let wanted = r#"{alertname="DiskFull", env="test", instance="a", severity="page", team="dx"} goes to dba-night
but dba-night is told nothing at 2026-01-05T10:00:00Z

○ every alert → everybody
├─ ○ severity="page" → on-call, continue
│  ├─ × team="db" → dba, continue   (team is "dx")
│  ├─ ● team=~"^(?:d.*)$" → dba-night
│  │      no sinks: nothing is told
│  │      each alert on its own: {alertname="DiskFull", env="test", instance="a", severity="page", team="dx"}
│  │      told 30s after it fires, changes of its group every 5m, again every 1h while it fires
│  │      muted in day: it is that time until 2026-01-05T20:00:00Z
│  └─   env!~"test.*", team=~"web|shop" → web
├─ × severity=~"info|none" → nobody   (severity is "page")
├─ × env!="test" → tickets   (env is "test")
│  ├─   team="" → tickets
│  ├─   team="web" → web, continue
│  └─   team=~".+" → dba
└─ × team="web" → on-call, continue   (team is "dx")

while it fires, severity=~"warning|info" with instance="a" is not told
"#;
    assert_eq!(out, wanted);
}

#[test]
fn without_labels_it_is_the_whole_tree() {
    let (_dir, _, ours) = files();
    let (code, out, _) = route(&ours, &[]);
    assert_eq!(code, Some(0));
    for part in
        ["every alert → everybody", "team=\"db\" → dba, continue", "pagerduty[0]", "while severity=\"page\" fires"]
    {
        assert!(out.contains(part), "{part}: {out}");
    }
    // Without a file it is the default: all to the log.
    let output = run(&["test", "route", "X"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("log[0]"), "{output:?}");
}

#[test]
fn scripts_ask_whether_the_receivers_are_the_right_ones() {
    let (_dir, _, ours) = files();
    let code = |args: &[&str]| route(&ours, args).0;
    assert_eq!(code(&["severity=info", "--verify.receivers=nobody"]), Some(0));
    assert_eq!(code(&["severity=page", "team=db", "--verify.receivers", "dba,dba-night,dba"]), Some(0));
    let (status, _, err) = route(&ours, &["severity=info", "--verify.receivers=on-call,nobody"]);
    assert_eq!((status, err.as_str()), (Some(1), "watchfire: it goes to nobody, not to on-call,nobody\n"));
    for wrong in [&["a=~b"][..], &["a=b", "a=c"], &["a=b", "--time=noon"], &["--verify.receivers=a"]] {
        assert_eq!(code(wrong), Some(2), "{wrong:?}");
    }
    let (status, _, err) = route("/nowhere/x.yaml", &[]);
    assert!(status == Some(2) && err.contains("cannot read the configuration file"), "{err}");
}
