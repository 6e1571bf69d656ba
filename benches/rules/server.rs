//! A Prometheus server with these samples and these rules.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::common::{Running, cpu_seconds};
use super::samples::Samples;

pub struct Server {
    prometheus: PathBuf,
    promtool: PathBuf,
}

impl Server {
    pub fn find() -> Option<Server> {
        let find = |variable: &str, name: &str| {
            let named = std::env::var_os(variable).map(PathBuf::from);
            let in_path =
                || std::env::split_paths(&std::env::var_os("PATH")?).map(|d| d.join(name)).find(|p| p.is_file());
            named.or_else(in_path)
        };
        Some(Server { prometheus: find("PROMETHEUS", "prometheus")?, promtool: find("PROMTOOL", "promtool")? })
    }

    /// CPU seconds, evaluating once a second for so many seconds.
    pub fn cpu_of_an_evaluation(&self, rules: &str, samples: &Samples, seconds: u32) -> f64 {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let text = directory.path().join("samples.om");
        samples.write_openmetrics(&text).expect("the samples");
        let data = directory.path().join("data");
        let made = Command::new(&self.promtool)
            .args(["tsdb", "create-blocks-from", "openmetrics", "--quiet"])
            .args([&text, &data])
            .output()
            .expect("promtool starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let (idle, _) = self.run(directory.path(), "groups: []", seconds);
        let (busy, evaluations) = self.run(directory.path(), rules, seconds);
        (busy - idle).max(0.0) / evaluations * f64::from(seconds)
    }

    /// The CPU of a second, and the evaluations in the seconds, of all groups together.
    fn run(&self, directory: &Path, rules: &str, seconds: u32) -> (f64, f64) {
        std::fs::write(directory.join("rules.yml"), rules).expect("the rules");
        let config = directory.join("prometheus.yml");
        std::fs::write(&config, "global: {evaluation_interval: 1s}\nrule_files: [rules.yml]\n")
            .expect("the configuration");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let child = Command::new(&self.prometheus)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--storage.tsdb.retention.time=10y", "--log.level=error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus starts");
        let child = Running(child);
        let started = Instant::now();
        while get(port, "/-/ready").is_none() {
            assert!(started.elapsed() < Duration::from_secs(60), "prometheus does not become ready");
            std::thread::sleep(Duration::from_millis(50));
        }
        // Groups begin spread over the first interval, and the first evaluations find everything cold.
        std::thread::sleep(Duration::from_secs(4));
        let (cpu, before, began) = (cpu_seconds(child.0.id()), evaluations(port), Instant::now());
        std::thread::sleep(Duration::from_secs(seconds.into()));
        let groups = rules.matches("\"interval\"").count().max(1) as f64;
        let used = (cpu_seconds(child.0.id()) - cpu) / began.elapsed().as_secs_f64();
        (used, (evaluations(port) - before).max(1.0) / groups)
    }
}

fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let mut answer = String::new();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.1 200").then_some(answer)
}

/// Evaluations of groups so far.
fn evaluations(port: u16) -> f64 {
    let text = get(port, "/metrics").expect("metrics of prometheus");
    let lines = text.lines().filter(|l| l.starts_with("prometheus_rule_group_iterations_total{"));
    lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
