//! Alerts forwarded to real Alertmanagers.

mod common;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use common::{Child, SOON, Setup, eventually, free_port, peer, request};

/// A Debian's Alertmanager that forgets in a second what it does not hear of, if it is not told for how long it is valid.
struct Alertmanager {
    _child: Child,
    _dir: TempDir,
    port: u16,
}

impl Alertmanager {
    fn start(program: &PathBuf) -> Alertmanager {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (file, port) = (dir.path().join("am.yml"), free_port());
        std::fs::write(&file, "global: {resolve_timeout: 1s}\nroute: {receiver: none}\nreceivers: [{name: none}]\n")
            .expect("a file is written");
        let child = Child::spawn(
            Command::new(program)
                .arg(format!("--config.file={}", file.display()))
                .arg(format!("--storage.path={}", dir.path().join("data").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .args(["--web.route-prefix=/am", "--cluster.listen-address="]),
        );
        eventually("Alertmanager is ready", SOON, || {
            request(port, "GET", "/am/-/ready", &[]).ok().filter(|r| r.status == 200)
        });
        Alertmanager { _child: child, _dir: dir, port }
    }

    /// The alerts that fire.
    fn alerts(&self) -> Vec<Value> {
        let answer = request(self.port, "GET", "/am/api/v2/alerts", &[]).unwrap_or_else(|e| panic!("{e}"));
        answer.json().as_array().cloned().unwrap_or_default()
    }

    fn wait_for(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} alerts are there"), SOON, || Some(self.alerts()).filter(|a| a.len() == count))
    }
}

/// An agent with the alert `Raised` while `test_level` is above 0.
fn agent(alerting: &str) -> Setup {
    let config = format!(
        "global: {{external_labels: {{site: lab}}}}\n\
         stock_rules: false\n\
         groups:\n\
         - name: test\n  interval: 1s\n  rules:\n\
         \x20 - {{alert: Raised, expr: 'test_level > 0', labels: {{severity: page}}, annotations: {{summary: 'a <b>'}}}}\n\
         alerting:\n{alerting}\n"
    );
    let setup = Setup::new(&config);
    setup.write("textfiles/level.prom", "test_level 1\n");
    let directory = setup.path("textfiles").display().to_string();
    setup.flag(format!("--collector.textfile.directory={directory}"))
}

#[test]
fn what_fires_is_in_the_alertmanagers_as_long_as_it_fires_and_one_that_is_down_does_not_matter() {
    let Some(program) = peer("prometheus-alertmanager") else { return };
    let alertmanager = Alertmanager::start(&program);
    let setup = agent(&format!(
        "  alertmanagers:\n  - static_configs: [{{targets: ['127.0.0.1:{}', '127.0.0.1:{}']}}]\n    path_prefix: /am\n\
         \x20   resend_delay: 2s\n",
        alertmanager.port,
        free_port()
    ));
    let running = setup.start();
    let alert = alertmanager.wait_for(1).remove(0);
    let labels: Vec<(&str, &str)> = alert["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(n, v)| (n.as_str(), v.as_str().unwrap_or("")))
        .collect();
    let instance = labels.iter().find(|(name, _)| *name == "instance").map_or("", |(_, value)| value);
    let expected =
        [("alertname", "Raised"), ("instance", instance), ("job", "node"), ("severity", "page"), ("site", "lab")];
    assert_eq!(labels, expected);
    assert_eq!(alert["annotations"]["summary"], "a <b>");
    assert!(
        alert["generatorURL"].as_str().is_some_and(|url| url.contains("/graph?g0.expr=test_level+%3E+0")),
        "{alert}"
    );

    // Longer than what it was told it is valid for: four times two seconds.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(12) {
        assert_eq!(alertmanager.alerts().len(), 1, "after {:?}", began.elapsed());
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(alertmanager.alerts()[0]["startsAt"], alert["startsAt"], "it is the same one");

    // An agent that dies and comes back makes no difference.
    running.kill();
    let running = setup.start();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(12) {
        assert_eq!(alertmanager.alerts().len(), 1, "after {:?}", began.elapsed());
        std::thread::sleep(Duration::from_millis(200));
    }
    running.wait_for_log("one of the Alertmanagers does not take alerts, others do");

    setup.write("textfiles/level.prom", "test_level 0\n");
    let began = Instant::now();
    alertmanager.wait_for(0);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let (status, log) = running.terminate(SOON);
    assert_eq!(status, Some(0), "{log}");
}

#[test]
fn a_receiver_forwards_what_its_route_takes_and_an_agent_that_dies_is_forgotten() {
    let Some(program) = peer("prometheus-alertmanager") else { return };
    let alertmanager = Alertmanager::start(&program);
    let entry = format!(
        "{{static_configs: [{{targets: ['127.0.0.1:{}']}}], path_prefix: am, resend_delay: 1s}}",
        alertmanager.port
    );
    let setup = agent(&format!(
        "  route: {{receiver: none, routes: [{{matchers: ['severity=page'], receiver: central}}]}}\n\
         \x20 receivers: [{{name: none}}, {{name: central, alertmanager_configs: [{entry}]}}]\n"
    ));
    let running = setup.start();
    alertmanager.wait_for(1);
    running.kill();
    let began = Instant::now();
    alertmanager.wait_for(0);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}
