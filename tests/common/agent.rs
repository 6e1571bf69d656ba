//! The agent itself, as its users start it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::{Child, Metrics, Response, SOON, eventually, free_port, request};

/// The binary under test.
pub fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_watchfire"))
}

/// Runs it to its end.
pub fn run(args: &[&str]) -> Output {
    binary().args(args).stdin(Stdio::null()).output().expect("the binary starts")
}

/// A directory with a configuration and the state; an agent may be started on it again and again.
#[derive(Clone)]
pub struct Setup {
    dir: Arc<TempDir>,
    flags: Vec<String>,
    pub port: u16,
}

impl Setup {
    /// An agent with this configuration, in a directory of its own.
    pub fn new(config: &str) -> Setup {
        let dir = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let setup = Setup { dir, flags: Vec::new(), port: free_port() };
        setup.write("watchfire.yaml", config);
        setup
    }

    pub fn flag(mut self, flag: impl Into<String>) -> Setup {
        self.flags.push(flag.into());
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file beside the configuration, in one step as careful programs do.
    pub fn write(&self, name: &str, text: &str) {
        let (new, path) = (self.path(&format!("{name}.new")), self.path(name));
        fs::create_dir_all(path.parent().expect("it is in a directory")).expect("a directory");
        fs::write(&new, text).and_then(|()| fs::rename(&new, &path)).expect("a file is written");
    }

    pub fn config_file(&self) -> String {
        self.path("watchfire.yaml").display().to_string()
    }

    pub fn command(&self) -> Command {
        let mut command = binary();
        command
            .arg(format!("--config.file={}", self.config_file()))
            .arg(format!("--web.listen-address=127.0.0.1:{}", self.port))
            .arg(format!("--storage.path={}", self.path("state").display()))
            .arg("--log.format=json")
            .args(&self.flags);
        command
    }

    /// Starts it, and waits until it is ready.
    pub fn start(&self) -> Agent {
        let mut agent = Agent::start(&mut self.command(), self.port);
        agent.dir = Some(self.dir.clone());
        agent
    }

    /// Starts it where it cannot run: its exit code, and what it says.
    pub fn fails(&self) -> (Option<i32>, String) {
        let mut child = Child::spawn(&mut self.command());
        let status = child.wait(SOON);
        (status.code(), child.log())
    }
}

/// A running agent; killed when dropped.
pub struct Agent {
    child: Child,
    pub port: u16,
    /// Held so that it is there as long as the agent.
    dir: Option<Arc<TempDir>>,
}

impl Agent {
    /// Starts an agent that is told to listen on this port, and waits until it is ready.
    pub fn start(command: &mut Command, port: u16) -> Agent {
        Agent::started(Child::spawn(command), port)
    }

    /// The agent that this child is or will be, when it is ready.
    pub fn started(child: Child, port: u16) -> Agent {
        let mut agent = Agent { child, port, dir: None };
        eventually("the agent is ready", SOON, || {
            if let Some(status) = agent.child.ended() {
                panic!("the agent has ended with {status}");
            }
            request(port, "GET", "/-/ready", &[]).ok().filter(|r| r.status == 200)
        });
        agent
    }

    pub fn get(&self, target: &str) -> Response {
        request(self.port, "GET", target, &[]).unwrap_or_else(|e| panic!("GET {target}: {e}"))
    }

    pub fn metrics(&self) -> Metrics {
        let page = self.get("/metrics");
        assert_eq!(page.status, 200, "{}", page.text());
        Metrics::of(&page)
    }

    /// Waits until a metric is as wanted.
    pub fn wait_for(&self, name: &str, labels: &[(&str, &str)], wanted: impl Fn(f64) -> bool) -> f64 {
        eventually(&format!("{name}{labels:?} is as wanted"), SOON, || {
            self.metrics().samples(name, labels).map(|(_, value)| value).find(|v| wanted(*v))
        })
    }

    /// Whether the kernel reports on processes; a test that needs that says what it skips.
    pub fn is_told(&self, test: &str) -> bool {
        let up = eventually("the agent says whether it is told", SOON, || {
            let metrics = self.metrics();
            let up = |source| metrics.value("watchfire_process_events_up", &[("source", source)]);
            Some((up("connector")?, up("taskstats")?))
        });
        let told = up == (1.0, 1.0);
        if !told {
            eprintln!(
                "{test}: skipped, the kernel does not report on processes here (it takes CAP_NET_ADMIN, on the host)"
            );
        }
        told
    }

    pub fn reload(&self) -> Response {
        request(self.port, "POST", "/-/reload", &[]).unwrap_or_else(|e| panic!("POST /-/reload: {e}"))
    }

    pub fn log(&self) -> String {
        self.child.log()
    }

    pub fn wait_for_log(&self, part: &str) -> String {
        eventually(&format!("the log says {part:?}"), SOON, || Some(self.log()).filter(|l| l.contains(part)))
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        self.child.signal(signal);
    }

    /// SIGTERM, and the end that it comes to: the exit code and the log.
    pub fn terminate(self, within: Duration) -> (Option<i32>, String) {
        self.child.signal(Signal::TERM);
        self.wait(within)
    }

    /// Waits for its end: the exit code and the log.
    pub fn wait(mut self, within: Duration) -> (Option<i32>, String) {
        let status = self.child.wait(within);
        (status.code(), self.log())
    }

    /// SIGKILL: no last word.
    pub fn kill(mut self) {
        self.child.kill();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the agent's last lines:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

/// A configuration whose one rule, of this name, always fires.
pub fn always_firing(alertname: &str) -> String {
    format!(
        "stock_rules: false\ngroups: [{{name: g, interval: 1s, rules: [{{alert: {alertname}, expr: vector(1)}}]}}]\n"
    )
}
