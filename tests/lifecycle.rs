//! Reloads and the end: all or nothing, and nothing lost.

mod common;

use std::time::Duration;

use common::{Behaviour, Receiver, SOON, Setup, always_firing, eventually, request};
use rustix::process::Signal;

#[test]
fn a_reload_swaps_all_or_keeps_the_old_and_says_why() {
    let setup = Setup::new(&(always_firing("Inline") + "rule_files: ['rules/*.yaml']\n"));
    setup.write("rules/a.yaml", "groups: [{name: f, interval: 1s, rules: [{alert: FromFile, expr: vector(1)}]}]\n");
    let agent = setup.start();
    let fires = |name: &str| agent.wait_for("ALERTS", &[("alertname", name), ("alertstate", "firing")], |v| v == 1.0);
    let gone = |name: &str| {
        eventually(&format!("{name} is gone"), SOON, || {
            agent.metrics().value("ALERTS", &[("alertname", name)]).is_none().then_some(())
        });
    };
    fires("Inline");
    fires("FromFile");

    // A rule file that is wrong: over HTTP, and by SIGHUP.
    setup.write("rules/a.yaml", "groups:\n- name: f\n  rules:\n  - {alert: Broken, expr: 'vector(1'}\n");
    let refused = agent.reload();
    assert_eq!(refused.status, 500, "{}", refused.text());
    assert!(refused.text().contains("a.yaml:4:") && refused.text().contains("vector(1"), "{}", refused.text());
    agent.wait_for("watchfire_config_last_reload_successful", &[], |v| v == 0.0);
    let before = agent.log().len();
    agent.signal(Signal::HUP);
    eventually("the log says why", SOON, || agent.log()[before..].contains("a.yaml:4:").then_some(()));
    fires("FromFile");
    fires("Inline");

    // A main file that is wrong.
    setup.write("watchfire.yaml", "globl: {}\n");
    let refused = agent.reload();
    assert_eq!(refused.status, 500);
    assert!(refused.text().contains("watchfire.yaml:1:1: unknown key \"globl\""), "{}", refused.text());
    fires("Inline");

    // One that is right.
    setup.write("watchfire.yaml", &always_firing("Renamed"));
    let taken = agent.reload();
    assert_eq!(taken.status, 200, "{}", taken.text());
    fires("Renamed");
    gone("Inline");
    gone("FromFile");
    agent.wait_for("watchfire_config_last_reload_successful", &[], |v| v == 1.0);
    setup.write("watchfire.yaml", &always_firing("BySignal"));
    agent.signal(Signal::HUP);
    fires("BySignal");
    gone("Renamed");

    // What only a restart can change is said, and the rest is taken.
    setup.write("watchfire.yaml", &(always_firing("Last") + "web: {max_connections: 7}\nglobal: {job: other}\n"));
    assert_eq!(agent.reload().status, 200);
    fires("Last");
    for key in ["web.max_connections", "global.job"] {
        let said = agent.log().lines().any(|l| l.contains(key) && l.contains("restart"));
        assert!(said, "{key}: {}", agent.log());
    }
    assert!(!agent.log().contains("storage.path"), "{}", agent.log());

    assert_eq!(agent.get("/-/reload").status, 405, "a link cannot reload");
    let from_elsewhere = request(agent.port, "POST", "/-/reload", &[("Origin", "https://evil.example")]).unwrap();
    assert_eq!(from_elsewhere.status, 403);
}

#[test]
fn sigterm_finishes_the_delivery_that_is_under_way() {
    let web = Receiver::start();
    let delay = Duration::from_secs(2);
    web.behave(Behaviour::Delay(delay));
    let setup = Setup::new(&format!(
        "{}alerting:\n  route: {{receiver: web, group_wait: 0s}}\n  \
         receivers: [{{name: web, webhook_configs: [{{url: '{}'}}]}}]\n",
        always_firing("Slow"),
        web.url("/")
    ));
    let agent = setup.start();
    let asked = web.wait_for("a delivery is under way", |_| true);
    let (code, log) = agent.terminate(SOON);
    assert_eq!(code, Some(0), "{log}");
    assert!(asked.at.elapsed() >= delay - Duration::from_millis(200), "the answer was not waited for: {log}");
    assert!(asked.at.elapsed() < Duration::from_secs(12), "that was longer than the grace period: {log}");

    // It is confirmed: the next agent does not send it again.
    let agent = setup.start();
    let count = agent.metrics().value("watchfire_tick_duration_seconds_count", &[]).unwrap_or(0.0);
    agent.wait_for("watchfire_tick_duration_seconds_count", &[], |v| v >= count + 3.0);
    assert_eq!(web.posts().len(), 1);
}

#[test]
fn sigterm_does_not_wait_for_ever_and_what_is_not_delivered_is_kept() {
    let web = Receiver::start();
    web.behave(Behaviour::Answer(503));
    let setup = Setup::new(&format!(
        "{}alerting:\n  route: {{receiver: web, group_wait: 0s}}\n  \
         receivers: [{{name: web, webhook_configs: [{{url: '{}'}}]}}]\n",
        always_firing("Refused"),
        web.url("/")
    ));
    let agent = setup.start();
    web.wait_for("a try", |_| true);
    let (code, log) = agent.terminate(Duration::from_secs(20));
    assert_eq!(code, Some(0), "{log}");
    web.behave(Behaviour::Answer(200));
    let _agent = setup.start();
    web.wait_for_alert("Refused", "firing");
}
