//! Programs that the agent is held against.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;

use super::http::percent_encoded;
use super::{Agent, Child, Response, SOON, eventually, free_port, request};

/// Where this program is. When it is not installed the test that asks is to return: that is said on standard error,
/// and is a failure where `WATCHFIRE_REQUIRE_PEERS` is set.
pub fn peer(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    found(name, env::split_paths(&path))
}

/// Where this plugin of Debian's `monitoring-plugins-basic` is; else as [`peer`].
pub fn plugin(name: &str) -> Option<PathBuf> {
    found(name, ["/usr/lib/nagios/plugins".into()])
}

fn found(name: &str, folders: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    let found = folders.into_iter().map(|dir| dir.join(name)).find(|p| p.is_file());
    if found.is_none() {
        assert!(env::var_os("WATCHFIRE_REQUIRE_PEERS").is_none(), "{name} is not installed, and peers are required");
        eprintln!("skipped: {name} is not installed");
    }
    found
}

/// Debian's Alertmanager with this configuration, and its port; no cluster.
pub fn alertmanager(program: PathBuf, config: &str, dir: &Path) -> (Child, u16) {
    let port = free_port();
    let file = dir.join("alertmanager.yml");
    fs::write(&file, config).expect("a file is written");
    let mut child = Child::spawn(
        Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", dir.join("alertmanager").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address="),
    );
    eventually("Alertmanager is ready", SOON, || {
        assert!(child.ended().is_none(), "Alertmanager has ended: {}", child.log());
        request(port, "GET", "/-/ready", &[]).ok().filter(|r| r.status == 200)
    });
    (child, port)
}

/// A Prometheus that scrapes an agent every second.
pub struct Prometheus {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl Prometheus {
    pub fn start(program: PathBuf, agent: &Agent) -> Prometheus {
        Prometheus::start_with(program, agent, "")
    }

    /// The same, with more in its configuration.
    pub fn start_with(program: PathBuf, agent: &Agent, more: &str) -> Prometheus {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n{more}\
             scrape_configs:\n- {{job_name: node, static_configs: [{{targets: ['127.0.0.1:{}']}}]}}\n",
            agent.port
        );
        let file = dir.path().join("prometheus.yml");
        fs::write(&file, config).expect("a file is written");
        let child = Child::spawn(
            Command::new(program)
                .arg(format!("--config.file={}", file.display()))
                .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .arg("--log.level=debug"),
        );
        let prometheus = Prometheus { child, port, _dir: dir };
        eventually("Prometheus is ready", SOON, || {
            request(port, "GET", "/-/ready", &[]).ok().filter(|r| r.status == 200)
        });
        prometheus
    }

    pub fn log(&self) -> String {
        self.child.log()
    }

    /// The whole answer to a request.
    pub fn get(&self, target: &str) -> Response {
        request(self.port, "GET", target, &[]).unwrap_or_else(|e| panic!("GET {target}: {e}"))
    }

    fn api(&self, target: &str) -> Result<Value, String> {
        let answer = request(self.port, "GET", target, &[]).map_err(|e| e.to_string())?.json();
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].clone()),
            _ => Err(answer["error"].as_str().unwrap_or("no status").to_string()),
        }
    }

    pub fn targets(&self) -> Value {
        self.api("/api/v1/targets?state=active").expect("its targets")
    }

    /// What it knows of a metric: type and help.
    pub fn metadata(&self, metric: &str) -> Value {
        self.api(&format!("/api/v1/metadata?metric={metric}")).expect("metadata")
    }

    /// The result of a query over the last five minutes, as a graph draws it: an entry a series.
    pub fn query_range(&self, expr: &str) -> Result<Vec<Value>, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let target =
            format!("/api/v1/query_range?query={}&start={}&end={now}&step=1", percent_encoded(expr), now - 300);
        Ok(self.api(&target)?["result"].as_array().cloned().unwrap_or_default())
    }

    /// The result of an instant query: an entry a series.
    pub fn query(&self, expr: &str) -> Result<Vec<Value>, String> {
        let data = self.api(&format!("/api/v1/query?query={}", percent_encoded(expr)))?;
        Ok(match data["resultType"].as_str() {
            Some("scalar") => vec![serde_json::json!({"metric": {}, "value": data["result"]})],
            _ => data["result"].as_array().cloned().unwrap_or_default(),
        })
    }

    /// The value of the first series of an instant query.
    pub fn value(&self, expr: &str) -> Option<f64> {
        let result = self.query(expr).unwrap_or_else(|e| panic!("{expr}: {e}"));
        result.first()?["value"][1].as_str()?.parse().ok()
    }

    /// Values of a label over the series that a selector names.
    pub fn label_values(&self, selector: &str, label: &str) -> Result<Vec<String>, String> {
        let target = format!("/api/v1/label/{label}/values?match%5B%5D={}", percent_encoded(selector));
        let data = self.api(&target)?;
        let values = data.as_array().cloned().unwrap_or_default();
        Ok(values.iter().filter_map(|v| v.as_str().map(str::to_string)).collect())
    }
}

/// What a node_exporter with these flags serves.
pub fn node_exporter_page(program: PathBuf, flags: &[&str]) -> Response {
    let port = free_port();
    let mut child =
        Child::spawn(Command::new(program).arg(format!("--web.listen-address=127.0.0.1:{port}")).args(flags));
    eventually("node_exporter answers", SOON, || {
        assert!(child.ended().is_none(), "node_exporter has ended: {}", child.log());
        request(port, "GET", "/metrics", &[]).ok()
    })
}
