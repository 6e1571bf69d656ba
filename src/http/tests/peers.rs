//! A real Prometheus scrapes us.

use std::process::{Child, Command, Stdio};

use super::*;

/// Ends the program when dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// True when Debian's Prometheus is there; it must be if `WATCHFIRE_REQUIRE_PEERS` is set.
fn prometheus_is_installed() -> bool {
    let mut version = Command::new("prometheus");
    if version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok() {
        return true;
    }
    assert!(std::env::var_os("WATCHFIRE_REQUIRE_PEERS").is_none(), "prometheus is not installed");
    eprintln!("skipped: prometheus is not installed (apt-get install prometheus)");
    false
}

/// Prometheus asks for OpenMetrics first, and for protobuf when it takes native histograms.
#[tokio::test]
async fn prometheus_scrapes_openmetrics_and_protobuf() {
    if !prometheus_is_installed() {
        return;
    }
    let server = start();
    let directory = tempfile::tempdir().unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         scrape_configs: [{{job_name: node, static_configs: [{{targets: ['{}']}}]}}]\n",
        server.address
    );
    let file = directory.path().join("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    let start = |name: &str, feature: &[&str]| {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join(name).display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(feature)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        (port, Program(child.unwrap()))
    };
    let programs = [start("openmetrics", &[]), start("protobuf", &["--enable-feature=native-histograms"])];
    for (port, _program) in &programs {
        let started = Instant::now();
        loop {
            let said = query(*port, "count(node_forks_total)*min(up)").await;
            if said.contains(",\"50\"]") {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "not scraped: {said}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Prometheus' answer to an instant query; nothing while it does not answer.
async fn query(port: u16, expression: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { return String::new() };
    send(&mut stream, "GET", &format!("/api/v1/query?query={expression}"), "").await;
    receive(&mut stream, "GET").await.map_or(String::new(), |answer| answer.text().to_string())
}
