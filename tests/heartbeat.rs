//! The heartbeat: an outside service hears that all is well, and others hear when it does not.

mod common;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use common::{Behaviour, Receiver, SOON, Setup, eventually};

fn setup(heartbeat: &Receiver, hook: &Receiver, more: &str) -> Setup {
    let mut config = format!(
        "stock_rules: false\nalerting:\n  heartbeat: {{url: '{}', interval: 1s, timeout: 1s}}\n",
        heartbeat.url("/ping/TOKEN123")
    );
    let _ = write!(
        config,
        "  route: {{receiver: web, group_by: [alertname], group_interval: 1s{more}}}\n\
         \x20 receivers: [{{name: web, webhook_configs: [{{url: '{}'}}]}}]\n",
        hook.url("/hook")
    );
    Setup::new(&config)
}

#[test]
fn an_outside_service_is_called_and_when_it_does_not_acknowledge_others_hear_of_it() {
    let (service, hook) = (Receiver::start(), Receiver::start());
    let setup = setup(&service, &hook, "");
    let agent = setup.start();
    eventually("three calls", SOON, || (service.posts_to("/ping/TOKEN123").len() >= 3).then_some(()));
    assert!(service.posts().iter().all(|post| post.head.starts_with("POST ")));
    agent.wait_for("watchfire_heartbeat_last_success_timestamp_seconds", &[], |at| at > 1e9);
    agent.wait_for("watchfire_heartbeat_sent_total", &[], |sent| sent >= 3.0);
    let metrics = agent.metrics();
    assert_eq!(metrics.value("watchfire_heartbeat_failed_total", &[]), Some(0.0));
    let fires = [("alertname", "Watchdog"), ("alertstate", "firing")];
    assert_eq!(metrics.value("ALERTS", &fires), Some(1.0));

    service.behave(Behaviour::Answer(500));
    let told = hook.wait_for_alert("WatchfireHeartbeatNotAcknowledged", "firing");
    assert_eq!(told.json["commonLabels"]["severity"], "critical");
    agent.wait_for("watchfire_heartbeat_failed_total", &[], |failed| failed >= 3.0);
    service.behave(Behaviour::Answer(200));
    hook.wait_for_alert("WatchfireHeartbeatNotAcknowledged", "resolved");
    assert!(hook.posts().iter().all(|post| post.alerts("Watchdog").is_empty()), "it goes no further");
    let log = agent.log();
    assert!(log.contains("the heartbeat is not acknowledged") && log.contains("acknowledged again"), "{log}");
    assert!(!log.contains("TOKEN123"), "{log}");
    agent.kill();
}

#[test]
fn one_that_was_never_acknowledged_is_told_and_a_route_can_ask_for_the_watchdog() {
    let (service, hook) = (Receiver::start(), Receiver::start());
    service.behave(Behaviour::Answer(404));
    let agent = setup(&service, &hook, ", routes: [{matchers: ['alertname=Watchdog']}]").start();
    hook.wait_for_alert("Watchdog", "firing");
    hook.wait_for_alert("WatchfireHeartbeatNotAcknowledged", "firing");
    // Without a heartbeat there is nothing of it.
    agent.kill();
    let agent = Setup::new("stock_rules: false\n").start();
    assert!(!agent.get("/metrics").text().contains("watchfire_heartbeat"), "no heartbeat, no metrics");
    assert!(!agent.get("/api/v1/rules").text().contains("Watchdog"));
}

#[test]
fn an_agent_that_stands_still_is_missed() {
    let (service, hook) = (Receiver::start(), Receiver::start());
    let agent = setup(&service, &hook, "").start();
    eventually("a call", SOON, || (!service.posts().is_empty()).then_some(()));
    agent.signal(Signal::STOP);
    std::thread::sleep(Duration::from_millis(500));
    let (before, began) = (service.posts().len(), Instant::now());
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(service.posts().len(), before);
    agent.signal(Signal::CONT);
    eventually("it goes on", SOON, || (service.posts().len() > before).then_some(()));
    assert!(began.elapsed() < SOON);
}
