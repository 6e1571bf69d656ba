//! Rules that are too much for the host, and alerts by the thousand: sampling, serving and other rules go on.

mod common;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use common::{Agent, Receiver, SOON, Setup, eventually};

/// An agent with textfiles: `test_level`, and so many series of `test_series`.
fn setup(config: &str, series: usize) -> Setup {
    let setup = Setup::new(config);
    let lines: String = (0..series).map(|n| format!("test_series{{n=\"{n}\"}} 1\n")).collect();
    setup.write("textfiles/series.prom", &lines);
    setup.write("textfiles/level.prom", "test_level 0\n");
    let directory = setup.path("textfiles").display().to_string();
    setup.flag(format!("--collector.textfile.directory={directory}"))
}

/// Everything to one webhook, by name of the alert.
fn alerting(web: &Receiver) -> String {
    format!(
        "alerting:\n  route: {{receiver: web, group_by: [alertname], group_wait: 0s, group_interval: 1s, \
         repeat_interval: 1h}}\n  receivers: [{{name: web, webhook_configs: [{{url: '{}'}}]}}]\n",
        web.url("/")
    )
}

fn value(agent: &Agent, name: &str, labels: &[(&str, &str)]) -> f64 {
    agent.metrics().value(name, labels).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn a_rule_that_is_too_heavy_delays_neither_ticks_nor_requests_nor_other_alerts() {
    let web = Receiver::start();
    let config = format!(
        "stock_rules: false
groups:
- name: heavy
  interval: 1s
  rules:
  - {{alert: Heavy, expr: 'quantile_over_time(0.9, (test_series * 2)[2h:100ms]) > 100'}}
  - {{record: beside:heavy, expr: time()}}
- name: light
  interval: 1s
  rules:
  - {{alert: Light, expr: test_level > 0}}
{}",
        alerting(&web)
    );
    let setup = setup(&config, 2000);
    let agent = setup.start();

    let began = Instant::now();
    let ticks = value(&agent, "watchfire_tick_duration_seconds_count", &[]);
    let missed = value(&agent, "watchfire_ticks_missed_total", &[]);
    let mut took = Vec::new();
    let mut level = 0;
    while began.elapsed() < Duration::from_secs(15) {
        let asked = Instant::now();
        assert_eq!(agent.get("/metrics").status, 200);
        took.push(asked.elapsed());
        if took.len().is_multiple_of(40) {
            level = 1 - level;
            setup.write("textfiles/level.prom", &format!("test_level {level}\n"));
            let wanted = if level == 1 { "firing" } else { "resolved" };
            let (written, posts) = (Instant::now(), web.posts().len());
            eventually("the light rule's alert arrives", SOON, || {
                let new = web.posts().into_iter().skip(posts);
                new.flat_map(|p| p.alerts("Light").into_iter().cloned().collect::<Vec<_>>())
                    .any(|a| a["status"] == wanted)
                    .then_some(())
            });
            assert!(written.elapsed() < Duration::from_secs(4), "{wanted} took {:?}", written.elapsed());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(level == 1 || took.len() >= 80, "the alert was never tried");

    let ticked = value(&agent, "watchfire_tick_duration_seconds_count", &[]) - ticks;
    let due = began.elapsed().as_secs_f64();
    assert!(ticked >= due - 2.0, "{ticked} ticks in {due} s");
    assert!(value(&agent, "watchfire_ticks_missed_total", &[]) - missed <= 1.0, "ticks were missed");
    took.sort_unstable();
    let (usual, longest) = (took[took.len() * 9 / 10], took[took.len() - 1]);
    assert!(usual < Duration::from_millis(200) && longest < Duration::from_millis(800), "{usual:?}, {longest:?}");

    agent.wait_for_log("it took longer than 500ms and was given up");
    let group = |group: &str| format!("{};{group}", setup.config_file());
    let failures =
        |name: &str| value(&agent, "watchfire_rule_evaluation_failures_total", &[("rule_group", &group(name))]);
    assert!(failures("heavy") >= 1.0);
    assert_eq!(failures("light"), 0.0);
    let missed =
        |name: &str| value(&agent, "watchfire_rule_group_iterations_missed_total", &[("rule_group", &group(name))]);
    assert!(missed("heavy") >= 3.0, "what is not evaluated is counted");
    assert!(missed("light") <= 1.0, "{}", missed("light"));
    // What comes after the heavy rule in its group is evaluated whenever that group is.
    assert!(value(&agent, "beside:heavy", &[]) > 1e9);
}

const FIRING: usize = 2000;
const WAITING: usize = 3000;

/// `Fires` at once, `Waits` for so many seconds.
fn many(seconds: u64, web: &Receiver) -> Setup {
    let config = format!(
        "global: {{scrape_interval: 2s}}
stock_rules: false
groups:
- name: many
  interval: 1s
  rules:
  - {{alert: Fires, expr: 'test_series{{n=~\"1...\"}} > 0 or test_series{{n=~\"2...\"}} > 0'}}
  - {{alert: Waits, expr: 'test_series{{n!~\"1...\"}} > 0 unless test_series{{n=~\"2...\"}}', for: {seconds}s}}
{}",
        alerting(web)
    );
    setup(&config, FIRING + WAITING)
}

/// Counts the alerts by name and status that came to the webhook.
fn told(web: &Receiver, alertname: &str) -> HashSet<String> {
    let posts = web.posts();
    let alerts = posts.iter().flat_map(|p| p.alerts(alertname));
    alerts.map(|a| format!("{} {}", a["labels"]["n"], a["status"])).collect()
}

fn active(agent: &Agent, alertname: &str, state: &str) -> usize {
    agent.metrics().samples("ALERTS", &[("alertname", alertname), ("alertstate", state)]).count()
}

/// Since when an alert that waits does so, in seconds since the epoch.
fn waits_since(agent: &Agent) -> f64 {
    agent.wait_for("ALERTS_FOR_STATE", &[("alertname", "Waits"), ("n", "3")], |_| true)
}

/// Starts the agent again, and watches that alerts go on where they were: those that wait fire in less than `at_most`.
fn goes_on(setup: &Setup, web: &Receiver, since: f64, at_most: Duration) {
    let posts = web.posts_to("/").len();
    let began = Instant::now();
    let agent = setup.start();
    assert!(began.elapsed() < Duration::from_secs(5), "the start took {:?}", began.elapsed());
    eventually("those that fired do", SOON, || (active(&agent, "Fires", "firing") == FIRING).then_some(()));
    eventually("those that waited do", SOON, || (active(&agent, "Waits", "pending") == WAITING).then_some(()));
    assert_eq!(waits_since(&agent), since);
    eventually("all of those that wait fire", at_most, || (active(&agent, "Waits", "firing") == WAITING).then_some(()));
    eventually("all of them are told", SOON, || (told(web, "Waits").len() == WAITING).then_some(()));
    let again = web.posts().into_iter().skip(posts).filter(|p| !p.alerts("Fires").is_empty()).count();
    assert_eq!(again, 0, "who fired before is not told anew");
    assert_eq!(told(web, "Fires").len(), FIRING, "nor was any resolved");
}

#[test]
fn thousands_of_alerts_go_on_after_a_stop() {
    let web = Receiver::start();
    let hold = Duration::from_secs(25);
    let setup = many(hold.as_secs(), &web);
    let agent = setup.start();
    eventually("those that fire are told", SOON, || (told(&web, "Fires").len() == FIRING).then_some(()));
    eventually("the others wait", SOON, || (active(&agent, "Waits", "pending") == WAITING).then_some(()));
    let since = waits_since(&agent);
    let waited = Duration::from_secs(12);
    std::thread::sleep(waited);
    let (code, log) = agent.terminate(SOON);
    assert_eq!(code, Some(0), "{log}");
    goes_on(&setup, &web, since, hold - waited + Duration::from_secs(6));
}

#[test]
fn thousands_of_alerts_go_on_after_a_crash_and_lose_a_quarter_of_a_minute_at_most() {
    let web = Receiver::start();
    let hold = Duration::from_secs(36);
    let setup = many(hold.as_secs(), &web);
    let agent = setup.start();
    eventually("those that fire are told", SOON, || (told(&web, "Fires").len() == FIRING).then_some(()));
    let began = Instant::now();
    let since = waits_since(&agent);
    // Nothing changes any more; only the clock is saved, every quarter of a minute.
    std::thread::sleep(Duration::from_secs(20));
    assert!(began.elapsed() < Duration::from_secs(25), "too slow a machine for this test");
    agent.kill();
    goes_on(&setup, &web, since, hold - Duration::from_secs(5));
}
