//! Ten thousand alerts at once: what the agent takes for them, and what its ticks feel of it.
//!
//! `cargo bench --bench storm` starts the real binary with a rule over 10,000 series of a textfile, lets all of them cross
//! their threshold in one tick, and measures from outside: until the last alert is delivered, how many notifications that
//! took, the memory that was needed at most, the longest tick and the ticks that were missed; then the same for their end.
//! Once with all of them in a few groups, as the default route makes them, and once with each on its own.

mod common;
#[path = "../tests/common/server.rs"]
mod server;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::Running;
use serde_json::Value;
use server::Server;

const ALERTS: usize = 10_000;

fn main() {
    storm("in groups by name", "[alertname]");
    storm("each on its own", "['...']");
}

/// What a webhook has heard.
#[derive(Default)]
struct Heard {
    notifications: usize,
    largest: usize,
    firing: std::collections::BTreeSet<String>,
    resolved: std::collections::BTreeSet<String>,
}

impl Heard {
    fn take(&mut self, json: &Value, bytes: usize) {
        self.notifications += 1;
        self.largest = self.largest.max(bytes);
        for alert in json["alerts"].as_array().into_iter().flatten() {
            let name = alert["labels"]["n"].as_str().unwrap_or_default().to_string();
            match alert["status"].as_str() {
                Some("firing") => self.firing.insert(name),
                _ => self.resolved.insert(name),
            };
        }
    }
}

fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.1 200").then_some(answer)
}

fn metric(page: &str, name: &str) -> f64 {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let value = |line: &str| line.strip_prefix(name)?.trim_start_matches(|c| c != ' ').trim().parse::<f64>().ok();
    lines.filter_map(value).sum()
}

/// The most memory that was resident, in MB.
fn peak(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}

fn storm(what: &str, group_by: &str) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    let heard = Arc::new(Mutex::new(Heard::default()));
    let ours = heard.clone();
    let hook = Server::start(0, move |_, body| {
        let json = serde_json::from_slice(body).expect("a notification");
        ours.lock().expect("no panic").take(&json, body.len());
        Some(200)
    });
    let config = format!(
        "stock_rules: false\n\
         groups: [{{name: g, rules: [{{alert: Level, expr: level > 0, annotations: {{summary: 'level of {{{{ $labels.n }}}} is {{{{ $value }}}}'}}}}]}}]\n\
         alerting:\n  route: {{receiver: r, group_by: {group_by}, group_interval: 5s}}\n  \
         receivers: [{{name: r, webhook_configs: [{{url: 'http://127.0.0.1:{}/'}}]}}]\n",
        hook.port
    );
    std::fs::write(dir.path().join("watchfire.yaml"), config).expect("the configuration");
    let levels = |level: u8| {
        let text: String = (0..ALERTS).map(|n| format!("level{{n=\"{n}\"}} {level}\n")).collect();
        let new = dir.path().join("new");
        std::fs::write(&new, text).expect("the metrics");
        std::fs::rename(&new, dir.path().join("level.prom")).expect("the metrics");
    };
    levels(0);
    let child = Command::new(env!("CARGO_BIN_EXE_watchfire"))
        .arg(format!("--config.file={}", dir.path().join("watchfire.yaml").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg(format!("--storage.path={}", dir.path().join("state").display()))
        .arg(format!("--collector.textfile.directory={}", dir.path().display()))
        .arg("--log.level=error")
        .stdout(Stdio::null())
        .spawn()
        .expect("the agent starts");
    let agent = Running(child);
    let started = Instant::now();
    while get(port, "/-/ready").is_none() {
        assert!(started.elapsed() < Duration::from_secs(20), "it does not start");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_secs(10));
    let before = peak(agent.0.id());
    println!("{ALERTS} alerts, {what}: {before:.0} MB before them");
    for (level, status) in [(1, "firing"), (0, "resolved")] {
        let page = get(port, "/metrics").expect("its metrics");
        let (ticks, began) = (metric(&page, "watchfire_tick_duration_seconds_count"), Instant::now());
        let missed = metric(&page, "watchfire_ticks_missed_total");
        let told = heard.lock().expect("no panic").notifications;
        let cpu = common::cpu_seconds(agent.0.id());
        levels(level);
        loop {
            let heard = heard.lock().expect("no panic");
            let all = if level == 1 { heard.firing.len() } else { heard.resolved.len() };
            if all == ALERTS {
                break;
            }
            drop(heard);
            assert!(began.elapsed() < Duration::from_secs(120), "{all} of them have arrived");
            std::thread::sleep(Duration::from_millis(5));
        }
        let took = began.elapsed();
        let page = get(port, "/metrics").expect("its metrics");
        let heard = heard.lock().expect("no panic");
        println!(
            "  {status}: all delivered after {:.2} s in {} notifications ({} KB the largest); {:.2} s of CPU, {:.0} ticks of {:.0}, {:.0} missed; {:.0} MB at most",
            took.as_secs_f64(),
            heard.notifications - told,
            heard.largest / 1024,
            common::cpu_seconds(agent.0.id()) - cpu,
            metric(&page, "watchfire_tick_duration_seconds_count") - ticks,
            took.as_secs_f64().ceil(),
            metric(&page, "watchfire_ticks_missed_total") - missed,
            peak(agent.0.id()),
        );
    }
}
