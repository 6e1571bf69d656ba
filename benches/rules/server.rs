//! A Prometheus server with these samples and these rules.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use watchfire::model::Timestamp;

use super::common::{Running, cpu_seconds};
use super::samples::Samples;

const NO_RULES: &str = "groups: []";

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
        let directory = self.directory(samples);
        let (idle, _) = self.run(directory.path(), NO_RULES).used(seconds, 1.0);
        let groups = rules.matches("\"interval\"").count().max(1) as f64;
        let (busy, evaluations) = self.run(directory.path(), rules).used(seconds, groups);
        (busy - idle).max(0.0) / evaluations * f64::from(seconds)
    }

    /// A server that is ready.
    pub fn start(&self, samples: &Samples) -> Ready {
        let directory = self.directory(samples);
        let mut ready = self.run(directory.path(), NO_RULES);
        ready._directory = Some(directory);
        ready
    }

    /// With the samples.
    fn directory(&self, samples: &Samples) -> TempDir {
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
        directory
    }

    fn run(&self, directory: &Path, rules: &str) -> Ready {
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
        Ready { child, port, _directory: None }
    }
}

/// A server that answers.
pub struct Ready {
    child: Running,
    port: u16,
    /// Removed with the server.
    _directory: Option<TempDir>,
}

impl Ready {
    fn cpu(&self) -> f64 {
        cpu_seconds(self.child.0.id())
    }

    /// The CPU of a second, and the evaluations of each group in the seconds.
    fn used(&self, seconds: u32, groups: f64) -> (f64, f64) {
        let (cpu, before, began) = (self.cpu(), evaluations(self.port), Instant::now());
        std::thread::sleep(Duration::from_secs(seconds.into()));
        let used = (self.cpu() - cpu) / began.elapsed().as_secs_f64();
        (used, (evaluations(self.port) - before).max(1.0) / groups)
    }

    /// CPU seconds of a range query that is asked so often.
    pub fn cpu_of_a_range(&self, query: &str, (start, end, step): (Timestamp, Timestamp, Duration), times: u32) -> f64 {
        let seconds = |time: Timestamp| (time.as_millis() as f64 / 1000.0).to_string();
        let path: String = form_urlencoded::Serializer::new("/api/v1/query_range?".to_string())
            .append_pair("query", query)
            .append_pair("start", &seconds(start))
            .append_pair("end", &seconds(end))
            .append_pair("step", &step.as_secs().to_string())
            .finish();
        let ask = || {
            let answer = get(self.port, &path).expect("an answer");
            assert!(answer.contains("\"device149\""), "all series have a result");
        };
        // The first finds everything cold.
        ask();
        let before = self.cpu();
        (0..times).for_each(|_| ask());
        (self.cpu() - before) / f64::from(times)
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
