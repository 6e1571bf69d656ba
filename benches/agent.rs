//! What the whole agent costs.
//!
//! `cargo bench --bench agent` starts the real binary on embedded defaults and measures, from outside: start to first
//! answer on /metrics, threshold crossed to webhook called, CPU over a minute of 1 s ticks, resident memory after it.
//!
//! `WATCHFIRE_BENCH_SECONDS` sets how long the agent runs (default 60).

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Running, cpu_seconds};
use watchfire::model::Timestamp;

fn main() {
    let seconds = std::env::var("WATCHFIRE_BENCH_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(60);
    first_answer();
    threshold_to_webhook();
    whole_agent(seconds);
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

fn start_agent(state: &Path, port: u16, more: &[String]) -> Running {
    let child = Command::new(env!("CARGO_BIN_EXE_watchfire"))
        .args(["--web.listen-address", &format!("127.0.0.1:{port}"), "--log.level", "error", "--storage.path"])
        .arg(state)
        .args(more)
        .stdout(Stdio::null())
        .spawn()
        .expect("the agent starts");
    Running(child)
}

/// One GET; the whole answer, or nothing.
fn get(port: u16, path: &str) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    answer.starts_with(b"HTTP/1.1 200").then_some(answer)
}

fn wait_for(port: u16, path: &str) -> Vec<u8> {
    let started = Instant::now();
    loop {
        if let Some(answer) = get(port, path) {
            return answer;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "no answer on port {port}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn first_answer() {
    let mut times: Vec<f64> = (0..15)
        .map(|_| {
            let (state, port) = (scratch(), free_port());
            let started = Instant::now();
            let _agent = start_agent(state.path(), port, &[]);
            wait_for(port, "/metrics");
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("start to first answer      median {:.1} ms, worst {:.1} ms (aim 50 ms)", times[7], times[14]);
}

/// A metric crosses its threshold in a textfile; how long until the webhook has the alert.
fn threshold_to_webhook() {
    const TIMES: usize = 15;
    let (dir, port) = (scratch(), free_port());
    let receiver = TcpListener::bind("127.0.0.1:0").expect("a port for the receiver");
    let url = format!("http://{}/", receiver.local_addr().expect("its address"));
    let config = dir.path().join("watchfire.yaml");
    let textfile = dir.path().join("crossed.prom");
    let text = format!(
        "stock_rules: false\ngroups: [{{name: g, rules: [{{alert: Crossed, expr: crossed > 0}}]}}]\nalerting:\n  \
         route: {{receiver: r, group_by: ['...']}}\n  receivers: [{{name: r, webhook_configs: [{{url: '{url}'}}]}}]\n"
    );
    std::fs::write(&config, text).expect("the configuration");
    let flags = [
        format!("--config.file={}", config.display()),
        format!("--collector.textfile.directory={}", dir.path().display()),
    ];
    let _agent = start_agent(&dir.path().join("state"), port, &flags);
    wait_for(port, "/-/ready");
    let mut whole = Vec::new();
    let mut after_tick = Vec::new();
    for i in 0..TIMES {
        // At all places between two ticks.
        std::thread::sleep(Duration::from_millis(1000 + 70 * i as u64));
        let crossed = Instant::now();
        let new = dir.path().join("new");
        std::fs::write(&new, format!("crossed{{n=\"{i}\"}} 1\n")).expect("the metric");
        std::fs::rename(&new, &textfile).expect("the metric");
        let starts_at = next_alert(&receiver, i);
        whole.push(crossed.elapsed().as_secs_f64() * 1e3);
        after_tick.push(Timestamp::now().millis_since(starts_at) as f64);
    }
    whole.sort_by(f64::total_cmp);
    after_tick.sort_by(f64::total_cmp);
    println!(
        "threshold to webhook       median {:.0} ms, worst {:.0} ms; after the tick that saw it: median {:.0} ms, worst {:.0} ms (aim one tick + 50 ms)",
        whole[TIMES / 2],
        whole[TIMES - 1],
        after_tick[TIMES / 2],
        after_tick[TIMES - 1]
    );
}

/// Waits for the notification that alert `n` fires, answering all that come; when it began to fire.
fn next_alert(receiver: &TcpListener, n: usize) -> Timestamp {
    loop {
        let (mut stream, _) = receiver.accept().expect("a notification");
        let (mut request, mut buffer) = (Vec::new(), [0; 16384]);
        let json = loop {
            let read = stream.read(&mut buffer).expect("a request");
            request.extend_from_slice(&buffer[..read]);
            let body = request.windows(4).position(|w| w == b"\r\n\r\n").map(|at| &request[at + 4..]);
            if let Some(json) = body.and_then(|b| serde_json::from_slice::<serde_json::Value>(b).ok()) {
                break json;
            }
            assert!(read > 0, "a whole request");
        };
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").expect("an answer");
        let alert = &json["alerts"][0];
        if alert["labels"]["n"] == n.to_string().as_str() && alert["status"] == "firing" {
            let starts_at: jiff::Timestamp = alert["startsAt"].as_str().unwrap_or_default().parse().expect("a time");
            return Timestamp::from_millis(starts_at.as_millisecond());
        }
    }
}

/// A field of `/proc/PID/status` in MB.
fn megabytes(pid: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find(|l| l.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}

fn whole_agent(seconds: u64) {
    let (state, port) = (scratch(), free_port());
    let agent = start_agent(state.path(), port, &[]);
    let pid = agent.0.id();
    let page = wait_for(port, "/metrics");
    std::thread::sleep(Duration::from_secs(3));
    let (cpu, started) = (cpu_seconds(pid), Instant::now());
    std::thread::sleep(Duration::from_secs(seconds));
    let share = (cpu_seconds(pid) - cpu) / started.elapsed().as_secs_f64();
    let series = page.split(|b| *b == b'\n').filter(|l| l.first().is_some_and(|b| b.is_ascii_alphabetic())).count();
    println!(
        "whole agent, 1 s ticks     {:.2} % of a core over {seconds} s, {series} series (aim 0.6 %, at most 1 %)",
        share * 100.0
    );
    println!(
        "resident memory after it   {:.1} MB, of that {:.1} MB its own and {:.1} MB the program file (aim 13 MB after a minute, at most 20)",
        megabytes(pid, "VmRSS:"),
        megabytes(pid, "RssAnon:"),
        megabytes(pid, "RssFile:")
    );
}
