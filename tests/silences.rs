//! `watchfire alerts` and `watchfire silence`, against a running agent.

mod common;

use serde_json::Value;

use common::{Behaviour, Receiver, SOON, Setup, eventually, run};

/// Runs a subcommand against an agent: exit status, output, errors.
fn ask(port: u16, args: &[&str]) -> (Option<i32>, String, String) {
    let url = format!("--url=http://127.0.0.1:{port}");
    let output = run(&[args, &[&url]].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn people_see_what_fires_and_silence_it_for_a_while() {
    let web = Receiver::start();
    let agent = Setup::new(&format!(
        r#"
global: {{instance: 'db1:9100'}}
stock_rules: false
groups:
- name: g
  interval: 1s
  rules:
  - {{alert: DiskFull, expr: vector(0.9375), labels: {{severity: page, mountpoint: /}}}}
  - {{alert: Slow, expr: vector(2), labels: {{severity: warning}}}}
alerting:
  route: {{receiver: web, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
  receivers: [{{name: web, webhook_configs: [{{url: '{}'}}]}}]
"#,
        web.url("/")
    ))
    .start();
    let says = |args: &[&str]| {
        let (code, out, err) = ask(agent.port, args);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{args:?}");
        out
    };
    let said =
        eventually("both alerts fire", SOON, || Some(says(&["alerts"])).filter(|said| said.lines().count() == 3));
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("ALERT") && lines[0].contains("RECEIVERS"), "{said}");
    let disk = lines.iter().find(|line| line.starts_with("DiskFull")).expect("it is there");
    for part in ["page", "0.9375", "firing", "web", "mountpoint=/"] {
        assert!(disk.contains(part), "{part} is not in {disk}");
    }
    assert_eq!(says(&["alerts", "DiskFull"]).lines().count(), 2);
    assert_eq!(says(&["alerts", "severity=~\"page|warning\"", "mountpoint=", "--receiver=w.*"]).lines().count(), 2);
    assert_eq!(says(&["alerts", "severity=none"]), "no alerts\n");
    let json: Value = serde_json::from_str(&says(&["alerts", "--json", "Slow"])).expect("JSON");
    assert_eq!((&json[0]["labels"]["alertname"], &json[0]["value"]), (&"Slow".into(), &"2".into()));

    assert_eq!(says(&["silence", "list"]), "no silences\n");
    let id = says(&["silence", "add", "DiskFull", "mountpoint=/", "-d", "2h", "-c", "cleaning up", "--author", "ada"]);
    let id = id.trim();
    let list = says(&["silence", "list"]);
    for part in [id, "active", "ends in 1h 59m", "ada", "alertname=\"DiskFull\" mountpoint=\"/\"", "cleaning up"] {
        assert!(list.contains(part), "{part} is not in {list}");
    }
    assert_eq!(says(&["silence", "list", "-q", "mountpoint=/"]).trim(), id);
    assert_eq!(says(&["silence", "list", "-q", "Slow"]), "");
    let alerts = says(&["alerts"]);
    let last = alerts.lines().last().unwrap_or_default();
    assert!(last.starts_with("DiskFull") && last.contains("silenced"), "what is silenced comes last: {alerts}");

    let later = says(&[
        "silence",
        "add",
        "Slow",
        "--start",
        "2990-01-01T00:00:00Z",
        "--end",
        "2991-01-01T00:00:00Z",
        "-c",
        "x",
    ]);
    assert!(says(&["silence", "list", "Slow"]).contains("begins in "));
    says(&["silence", "expire", id]);
    assert_eq!(says(&["silence", "list", "-q"]), later);
    assert!(says(&["silence", "list", "--expired"]).contains("ended "));
    let json: Value = serde_json::from_str(&says(&["silence", "list", "--expired", "--json"])).expect("JSON");
    assert_eq!((&json[0]["id"], &json[0]["createdBy"]), (&id.into(), &"ada".into()));
    assert_eq!(says(&["silence", "expire", "--all", "DiskFull"]), "no silence is active or begins later\n");
    assert_eq!(says(&["silence", "expire", "--all"]), later);
    assert_eq!(says(&["silence", "list"]), "no silences\n");
}

#[test]
fn what_is_wrong_is_said_and_the_exit_status_tells_whose_fault_it_is() {
    let agent = Setup::new("stock_rules: false\n").start();
    for (args, code, says) in [
        (&["alerts", "a=~("][..], 2, "regular expression"),
        (&["alerts", "A", "B"], 2, "alertname=~\"A|B\""),
        (&["alerts", "--receiver", "("], 2, "failed to parse receiver param"),
        (&["alerts", "--retry", "7"], 1, "no notification 7 was given up"),
        (&["alerts", "--undelivered", "X"], 2, "cannot be used with"),
        (&["silence", "add", "X"], 2, "--comment"),
        (&["silence", "add", "a=", "-c", "x"], 2, "must not match the empty string"),
        (&["silence", "add", "X", "-c", "x", "--end", "2020-01-01T00:00:00Z"], 2, "before it begins"),
        (&["silence", "expire"], 2, "<ID>"),
        (&["silence", "expire", "DiskFull"], 2, "is not the ID of a silence"),
        (&["silence", "expire", "d6c5a9d0-0000-4000-8000-000000000000"], 1, "silence not found (d6c5a9d0-"),
    ] {
        let (status, out, err) = ask(agent.port, args);
        assert_eq!((status, out.as_str()), (Some(code), ""), "{args:?}: {err}");
        assert!(err.contains(says), "{args:?}: {says} is not in {err}");
    }
    let (status, _, err) = ask(1, &["alerts"]);
    assert!(status == Some(1) && err.contains("no answer from 127.0.0.1:1"), "{err}");
}

#[test]
fn what_is_not_delivered_is_listed_with_the_reason() {
    let web = Receiver::start();
    web.behave(Behaviour::Answer(503));
    let agent = Setup::new(&format!(
        "stock_rules: false\ngroups: [{{name: g, interval: 1s, rules: [{{alert: A, expr: vector(1)}}]}}]\nalerting:\n\
         \x20 route: {{receiver: web, group_by: [alertname]}}\n\
         \x20 receivers: [{{name: web, webhook_configs: [{{url: '{}'}}]}}]\n",
        web.url("/hidden")
    ))
    .start();
    let (_, said, err) = eventually("it waits", SOON, || {
        Some(ask(agent.port, &["alerts", "--undelivered"])).filter(|(_, said, _)| said.contains("503"))
    });
    assert_eq!(err, "");
    assert!(said.contains("NUMBER") && said.contains("waiting") && said.contains("web/webhook[0]"), "{said}");
    assert!(!said.contains("hidden"), "{said}");
    web.behave(Behaviour::Answer(200));
    eventually("it is delivered", SOON, || {
        Some(ask(agent.port, &["alerts", "--undelivered"]).1).filter(|said| said == "everything is delivered\n")
    });
    let json = ask(agent.port, &["alerts", "--undelivered", "--json"]).1;
    assert_eq!(json, "[]\n");
}
