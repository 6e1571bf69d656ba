//! A real Prometheus scrapes us in each of its formats.

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

#[tokio::test]
async fn prometheus_scrapes_every_format() {
    if !prometheus_is_installed() {
        return;
    }
    let server = start();
    let directory = tempfile::tempdir().unwrap();
    let mut config = "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n".to_string();
    let formats = ["PrometheusText0.0.4", "OpenMetricsText1.0.0", "PrometheusProto"];
    for format in formats {
        config.push_str(&format!(
            "- {{job_name: {format}, scrape_protocols: [{format}], static_configs: [{{targets: ['{}']}}]}}\n",
            server.address
        ));
    }
    let file = directory.path().join("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _prometheus = Program(child.unwrap());

    let started = Instant::now();
    loop {
        let said = query(port, "count%20by%20(job)(node_forks_total)").await;
        if formats.iter().all(|format| said.contains(&format!("\"job\":\"{format}\"")))
            && said.matches(",\"50\"]").count() == formats.len()
        {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "not all formats were scraped: {said}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Prometheus' answer to an instant query; nothing while it does not answer.
async fn query(port: u16, expression: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { return String::new() };
    send(&mut stream, "GET", &format!("/api/v1/query?query={expression}"), "").await;
    receive(&mut stream, "GET").await.map_or(String::new(), |answer| answer.text().to_string())
}
