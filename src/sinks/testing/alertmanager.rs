//! Debian's Alertmanager, for the tests that compare with it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{client, missing};

const PROGRAM: &str = "prometheus-alertmanager";

/// A running Alertmanager, which ends with this.
pub(crate) struct Alertmanager {
    child: Child,
    log: PathBuf,
    /// Where it answers, without a path.
    pub api: String,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Alertmanager {
    /// Starts it with this configuration and waits until it is ready; `None` where it is not installed.
    pub async fn start(dir: &Path, config: &str) -> Option<Alertmanager> {
        std::fs::write(dir.join("am.yml"), config).unwrap();
        // Another may take the port before it does.
        for _ in 0..5 {
            let mut peer = Alertmanager::begin(dir)?;
            if peer.gets_ready().await {
                return Some(peer);
            }
        }
        panic!("{PROGRAM} does not start: {}", std::fs::read_to_string(dir.join("am.log")).unwrap())
    }

    fn begin(dir: &Path) -> Option<Alertmanager> {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = dir.join("am.log");
        let started = Command::new(PROGRAM)
            .arg(format!("--config.file={}", dir.join("am.yml").display()))
            .arg(format!("--storage.path={}", dir.join("am").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--web.external-url=http://host.example:9093", "--web.route-prefix=/", "--log.level=debug"])
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn();
        match started {
            Ok(child) => Some(Alertmanager { child, log, api: format!("http://127.0.0.1:{port}") }),
            Err(_) => {
                missing(PROGRAM);
                None
            }
        }
    }

    /// Whether it, and not another at its address, has become ready.
    async fn gets_ready(&mut self) -> bool {
        for _ in 0..3000 {
            let answer = client().get(format!("{}/-/ready", self.api)).send().await;
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if answer.is_ok_and(|answer| answer.status().is_success()) && self.log().contains("Listening on") {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{PROGRAM} does not get ready: {}", self.log())
    }

    /// Tells it of alerts, in JSON.
    pub async fn post(&self, alerts: String) {
        let post = client().post(format!("{}/api/v2/alerts", self.api)).header("Content-Type", "application/json");
        let answer = post.body(alerts).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    /// What it has written.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}
