//! From a process that misbehaves to the people who are told: rules, routing, delivery, and what a crash must not lose.

mod common;

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Behaviour, Named, Receiver, SOON, Setup, eventually, free_port};

/// An agent whose alerts come from textfiles: `Raised` fires while `test_level` is above 0, `Other` while `test_other` is.
fn raised_by_textfile(alerting: &str) -> Setup {
    let config = format!(
        r#"
stock_rules: false
groups:
- name: test
  interval: 1s
  rules:
  - {{alert: Raised, expr: test_level > 0, labels: {{severity: page}}, annotations: {{summary: 'level {{{{ $value }}}}'}}}}
  - {{alert: Other, expr: test_other > 0}}
alerting:
{alerting}
"#
    );
    let setup = Setup::new(&config);
    setup.write("textfiles/level.prom", "test_level 0\n");
    let directory = setup.path("textfiles").display().to_string();
    setup.flag(format!("--collector.textfile.directory={directory}"))
}

/// One webhook for everything, told at once.
fn one_webhook(url: &str) -> String {
    format!(
        "  route: {{receiver: web, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
         \x20 receivers: [{{name: web, webhook_configs: [{{url: '{url}'}}]}}]\n"
    )
}

#[test]
fn a_process_burns_cpu_and_every_receiver_is_told_when_it_begins_and_when_it_ends() {
    let (web, broken) = (Receiver::start(), Receiver::start());
    broken.behave(Behaviour::Answer(503));
    let setup = Setup::new("");
    let dir = setup.path("").display().to_string();
    setup.write(
        "watchfire.yaml",
        &format!(
            r#"
global:
  external_labels: {{site: lab}}
stock_rules: false
groups:
- name: test
  interval: 1s
  rules:
  - alert: GroupIsHungry
    expr: sum by (groupname) (rate(namedprocess_namegroup_cpu_seconds_total{{groupname="wfburner"}}[5s])) > 0.02
    for: 2s
    labels: {{severity: page}}
    annotations:
      summary: '{{{{ $labels.groupname }}}} takes {{{{ $value | humanizePercentage }}}} of a CPU'
      description: '{{{{ if gt $value 0.02 }}}}Look at {{{{ printf "%q" $labels.groupname }}}}.{{{{ else }}}}?{{{{ end }}}}'
alerting:
  route:
    receiver: nobody
    group_by: [alertname]
    group_wait: 0s
    group_interval: 1s
    repeat_interval: 1h
    routes:
    - {{matchers: ['severity="page"'], receiver: all.hands}}
  receivers:
  - name: nobody
  - name: all.hands
    webhook_configs: [{{url: '{}'}}, {{url: '{}'}}]
    exec_configs:
    - command: [/bin/sh, -c, 'cat > {dir}stdin.$WATCHFIRE_STATUS; env > {dir}env.$WATCHFIRE_STATUS']
    log_configs: [{{path: '{dir}alerts.log'}}]
"#,
            web.url("/hook"),
            broken.url("/broken"),
        ),
    );
    let agent = setup.start();
    assert!(web.posts().is_empty(), "nothing is wrong yet");

    let burner = Named::burning("wfburner");
    let told = web.wait_for_alert("GroupIsHungry", "firing");
    assert!(told.header("content-type").is_some_and(|t| t.starts_with("application/json")), "{}", told.head);
    let message = &told.json;
    assert_eq!(message["version"], "4");
    assert_eq!(message["status"], "firing");
    assert_eq!(message["receiver"], "all\\.hands", "escaped, as Alertmanager sends it");
    assert_eq!(message["groupLabels"], serde_json::json!({"alertname": "GroupIsHungry"}));
    assert_eq!(message["truncatedAlerts"], 0);
    let labels = serde_json::json!({
        "alertname": "GroupIsHungry", "groupname": "wfburner", "severity": "page", "site": "lab"
    });
    assert_eq!(message["commonLabels"], labels);
    assert_eq!(message["alerts"].as_array().map(Vec::len), Some(1));
    let firing = &message["alerts"][0];
    assert_eq!(firing["labels"], labels);
    let summary = firing["annotations"]["summary"].as_str().expect("a summary");
    let percent = summary.strip_prefix("wfburner takes ").and_then(|s| s.strip_suffix("% of a CPU"));
    assert!(percent.is_some_and(|p| p.parse::<f64>().is_ok_and(|p| p > 2.0 && p < 400.0)), "{summary}");
    assert_eq!(firing["annotations"]["description"], "Look at \"wfburner\".");
    assert_eq!(firing["endsAt"], "0001-01-01T00:00:00Z");

    let shown = agent.metrics();
    assert_eq!(shown.value("ALERTS", &[("alertname", "GroupIsHungry"), ("alertstate", "firing")]), Some(1.0));
    eventually("the receiver that fails is tried again", SOON, || (broken.posts().len() >= 2).then_some(()));
    let tries = broken.posts();
    let keys: Vec<_> = tries.iter().map(|p| p.header("idempotency-key").expect("a key")).collect();
    assert_eq!(keys[0], keys[1], "a try of the same notification says so");

    drop(burner);
    let told = web.wait_for_alert("GroupIsHungry", "resolved");
    assert_eq!(told.status(), "resolved");
    let resolved = &told.json["alerts"][0];
    assert_eq!(resolved["labels"], labels);
    for same in ["fingerprint", "startsAt"] {
        assert_eq!(resolved[same], firing[same], "{same}");
    }
    assert!(resolved["endsAt"].as_str() > resolved["startsAt"].as_str(), "{resolved}");

    // The other receivers' words are the same.
    for status in ["firing", "resolved"] {
        let stdin = eventually(&format!("the command is run when {status}"), SOON, || {
            let text = fs::read(setup.path(&format!("stdin.{status}"))).ok()?;
            serde_json::from_slice::<serde_json::Value>(&text).ok()
        });
        assert_eq!(stdin["alerts"][0]["status"], status);
        assert_eq!(stdin["alerts"][0]["labels"], labels);
        let env = eventually("its environment is written", SOON, || {
            let env = fs::read_to_string(setup.path(&format!("env.{status}"))).ok()?;
            env.contains("WATCHFIRE_SEVERITY").then_some(env)
        });
        for line in
            ["WATCHFIRE_ALERTNAME=GroupIsHungry", "WATCHFIRE_SEVERITY=page", &format!("WATCHFIRE_STATUS={status}")]
        {
            assert!(env.lines().any(|l| l == line), "{line} is not in\n{env}");
        }
    }
    let lines = eventually("the log receiver has both", SOON, || {
        let text = fs::read_to_string(setup.path("alerts.log")).ok()?;
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        lines.iter().any(|l| l["status"] == "resolved").then_some(lines)
    });
    assert_eq!(lines[0]["status"], "firing");
    assert_eq!(lines[0]["labels"], labels);
    assert!(lines[0]["value"].as_f64().is_some_and(|v| v > 0.02), "{}", lines[0]);

    // All the while one receiver failed; when it is well again, it learns how things stand.
    assert!(agent.metrics().samples("watchfire_notifications_retried_total", &[]).any(|(_, v)| v >= 2.0));
    broken.behave(Behaviour::Answer(200));
    broken.wait_for_alert("GroupIsHungry", "resolved");
}

#[test]
fn a_receiver_that_hangs_delays_no_other() {
    let (slow, quick) = (Receiver::start(), Receiver::start());
    let hang = Duration::from_secs(20);
    slow.behave(Behaviour::Delay(hang));
    let setup = raised_by_textfile(&format!(
        "  route:\n    receiver: quick\n    group_by: [alertname]\n    group_wait: 0s\n    group_interval: 1s\n    \
         routes: [{{matchers: [alertname=Raised], receiver: slow}}]\n  \
         receivers:\n  - {{name: slow, webhook_configs: [{{url: '{}'}}, {{url: '{}'}}]}}\n  \
         - {{name: quick, webhook_configs: [{{url: '{}'}}]}}\n",
        slow.url("/"),
        quick.url("/same-receiver"),
        quick.url("/other-receiver"),
    ));
    let agent = setup.start();
    setup.write("textfiles/level.prom", "test_level 1\n");
    let hanging = slow.wait_for("the slow receiver is asked", |_| true);
    setup.write("textfiles/level.prom", "test_level 1\ntest_other 1\n");
    for (path, alertname) in [("/same-receiver", "Raised"), ("/other-receiver", "Other")] {
        let told = quick.wait_for(path, |p| p.path == path && !p.alerts(alertname).is_empty());
        let after = told.at.saturating_duration_since(hanging.at);
        assert!(after < hang / 2, "{alertname} came {after:?} after the other receiver began to hang");
    }
    drop(agent);
}

#[test]
fn a_notification_that_was_not_delivered_when_the_agent_was_killed_arrives_after_the_restart() {
    let web = Receiver::start();
    web.behave(Behaviour::Answer(503));
    let setup = raised_by_textfile(&one_webhook(&web.url("/")));
    let agent = setup.start();
    setup.write("textfiles/level.prom", "test_level 7\n");
    let refused = web.wait_for("a first try", |_| true);
    agent.kill();

    web.behave(Behaviour::Answer(200));
    let agent = setup.start();
    let told = web.wait_for_alert("Raised", "firing");
    assert_eq!(told.alerts("Raised")[0]["startsAt"], refused.alerts("Raised")[0]["startsAt"]);
    assert_eq!(told.alerts("Raised")[0]["annotations"]["summary"], "level 7");

    // Neither is it forgotten over a restart that it fires: its end is told, and its beginning not told again.
    let firing = web.posts().iter().filter(|p| p.behaviour == Behaviour::Answer(200) && p.status() == "firing").count();
    assert_eq!(firing, 1);
    // A kill between the answer and its record would rightly send it again.
    agent.wait_for("watchfire_notifications_total", &[("integration", "webhook")], |v| v == 1.0);
    agent.wait_for("watchfire_storage_unwritten_rows", &[], |v| v == 0.0);
    agent.kill();
    let agent = setup.start();
    setup.write("textfiles/level.prom", "test_level 0\n");
    web.wait_for_alert("Raised", "resolved");
    let delivered: Vec<_> = web.posts().into_iter().filter(|p| p.behaviour == Behaviour::Answer(200)).collect();
    let statuses: Vec<_> = delivered.iter().map(|p| p.status()).collect();
    assert_eq!(statuses, ["firing", "resolved"], "what was confirmed is not sent again");
    drop(agent);
}

#[test]
fn a_stop_does_not_wait_for_a_receiver_that_is_gone_and_the_next_start_tells_it_once() {
    let port = free_port();
    let setup = raised_by_textfile(&one_webhook(&format!("http://127.0.0.1:{port}/TOKEN")));
    let agent = setup.start();
    setup.write("textfiles/level.prom", "test_level 7\n");
    // By the fourth the pauses are long enough that the stop falls into one.
    agent.wait_for("watchfire_notifications_retried_total", &[("reason", "other")], |v| v >= 4.0);
    let stopped = Instant::now();
    let (code, log) = agent.terminate(SOON);
    let took = stopped.elapsed();
    eprintln!("the agent ended after {took:?}");
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(5), "it ended after {took:?}: {log}");
    assert!(log.contains("kept for the next start"), "{log}");
    let said: Vec<_> = log.lines().filter(|line| line.contains("a notification failed")).collect();
    assert_eq!(said.len(), 1, "a line for the first of five tries: {log}");
    assert!(said[0].contains("WARN") && said[0].contains("refused") && !log.contains("TOKEN"), "{log}");

    let web = Receiver::start_on(port);
    let agent = setup.start();
    web.wait_for_alert("Raised", "firing");
    agent.wait_for("watchfire_notification_queue_length", &[], |v| v == 0.0);
    let ticks = agent.metrics().value("watchfire_tick_duration_seconds_count", &[]).unwrap_or(0.0);
    agent.wait_for("watchfire_tick_duration_seconds_count", &[], |v| v >= ticks + 3.0);
    assert_eq!(web.posts().len(), 1, "once, and the alert still fires");
}

#[test]
fn a_stop_tries_at_once_what_waits_and_ends_in_time_when_nobody_answers() {
    let web = Receiver::start();
    web.behave(Behaviour::Answer(503));
    let setup = raised_by_textfile(&one_webhook(&web.url("/")));
    let agent = setup.start();
    setup.write("textfiles/level.prom", "test_level 7\n");
    agent.wait_for("watchfire_notifications_retried_total", &[("reason", "serverError")], |v| v >= 4.0);
    // The receiver is well again in time for the last try.
    web.behave(Behaviour::Answer(200));
    let before = web.posts().len();
    let (code, log) = agent.terminate(SOON);
    let over = log.lines().find(|line| line.contains("notifications are delivered again"));
    assert!(over.is_some_and(|line| line.contains("INFO") && line.contains("failed_tries")), "{log}");
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(web.posts().len(), before + 1, "{log}");
    assert!(!log.contains("kept for the next start"), "{log}");

    // It takes the next one and never answers.
    web.behave(Behaviour::Delay(Duration::from_secs(120)));
    let agent = setup.start();
    setup.write("textfiles/level.prom", "test_level 0\n");
    web.wait_for("the end is told", |p| p.status() == "resolved");
    let stopped = Instant::now();
    let (code, log) = agent.terminate(Duration::from_secs(60));
    let took = stopped.elapsed();
    eprintln!("the agent ended after {took:?}");
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(14), "that was longer than the grace period: {took:?}: {log}");
    assert!(log.contains("kept for the next start"), "{log}");
}

#[test]
fn the_time_that_an_alert_has_been_pending_survives_a_restart() {
    const FOR: Duration = Duration::from_secs(14);
    let web = Receiver::start();
    let setup = Setup::new(&format!(
        "stock_rules: false\ngroups:\n- name: test\n  interval: 1s\n  rules: \
         [{{alert: Slow, expr: vector(1), for: {}s}}]\nalerting:\n{}",
        FOR.as_secs(),
        one_webhook(&web.url("/")),
    ));
    let agent = setup.start();
    agent.wait_for("ALERTS", &[("alertname", "Slow"), ("alertstate", "pending")], |v| v == 1.0);
    let pending = Instant::now();
    let since = agent.wait_for("ALERTS_FOR_STATE", &[("alertname", "Slow")], |v| v > 1e9);
    eventually("it has been pending for half its time", FOR, || (pending.elapsed() > FOR / 2).then_some(()));
    assert!(web.posts().is_empty());
    let (code, _) = agent.terminate(SOON);
    assert_eq!(code, Some(0));

    let restarted = Instant::now();
    let agent = setup.start();
    web.wait_for_alert("Slow", "firing");
    assert!(restarted.elapsed() < FOR, "it waited all of its time again: {:?}", restarted.elapsed());
    assert!(pending.elapsed() > FOR - Duration::from_secs(2), "it fired too early: {:?}", pending.elapsed());
    let still = agent.wait_for("ALERTS_FOR_STATE", &[("alertname", "Slow")], |v| v > 1e9);
    assert!(still >= since && still < since + FOR.as_secs_f64(), "{since} {still}");
}

#[test]
fn kills_at_random_moments_leave_every_receiver_with_the_truth() {
    const ALERTS: usize = 4;
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
    eprintln!("seed {seed}");
    let mut state = seed | 1;
    let mut random = move |below: u64| {
        // xorshift64: any will do.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let web = Receiver::start();
    let setup = Setup::new(&format!(
        "stock_rules: false\ngroups: [{{name: g, interval: 1s, rules: [{{alert: Level, expr: level > 0}}]}}]\n\
         alerting:\n  route: {{receiver: web, group_by: [n], group_wait: 0s, group_interval: 1s}}\n  \
         receivers: [{{name: web, webhook_configs: [{{url: '{}'}}]}}]\n",
        web.url("/")
    ));
    let directory = setup.path("textfiles").display().to_string();
    let setup = setup.flag(format!("--collector.textfile.directory={directory}"));
    let mut levels = [0; ALERTS];
    let write = |levels: &[u8]| {
        let lines = levels.iter().enumerate().map(|(n, level)| format!("level{{n=\"{n}\"}} {level}\n"));
        setup.write("textfiles/levels.prom", &lines.collect::<String>());
    };
    write(&levels);
    let mut agent = setup.start();
    for _ in 0..8 {
        for _ in 0..2 {
            let n = random(ALERTS as u64) as usize;
            levels[n] = 1 - levels[n];
            write(&levels);
            std::thread::sleep(Duration::from_millis(random(900)));
        }
        web.behave(Behaviour::Answer(if random(3) == 0 { 503 } else { 200 }));
        agent.kill();
        agent = setup.start();
    }
    web.behave(Behaviour::Answer(200));
    let told = || {
        let mut told = vec!["resolved".to_string(); ALERTS];
        for post in web.posts().iter().filter(|p| p.behaviour == Behaviour::Answer(200)) {
            for alert in post.alerts("Level") {
                let n: usize = alert["labels"]["n"].as_str().and_then(|n| n.parse().ok()).expect("a number");
                told[n] = alert["status"].as_str().unwrap_or_default().to_string();
            }
        }
        told
    };
    let truth = levels.map(|level| if level == 1 { "firing" } else { "resolved" });
    // A retry may be as far away as the backoff has grown.
    let within = Duration::from_secs(60);
    eventually(&format!("with seed {seed} the receiver knows {truth:?}"), within, || (told() == truth).then_some(()));
    drop(agent);
}
