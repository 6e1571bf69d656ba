//! process-exporter on the same processes.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Running, cpu_seconds, get};

/// All processes, by the name that the kernel has of them.
const CONFIG: &str = "process_names:\n- name: '{{.Comm}}'\n  cmdline: ['.+']\n";

/// `prometheus-process-exporter`, if it is installed.
pub struct Peer(PathBuf);

impl Peer {
    pub fn find() -> Option<Peer> {
        let mut dirs = std::env::split_paths(&std::env::var_os("PATH")?).collect::<Vec<_>>().into_iter();
        dirs.find_map(|dir| Some(dir.join("prometheus-process-exporter")).filter(|p| p.is_file())).map(Peer)
    }

    /// CPU seconds of one scrape, the least of `scrapes`, a second apart.
    pub fn cpu_of_a_scrape(&self, flags: &[&str], scrapes: usize) -> f64 {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let config = std::env::temp_dir().join(format!("watchfire-bench-{}.yml", std::process::id()));
        std::fs::write(&config, CONFIG).expect("a file of groups");
        let child = Command::new(&self.0)
            .arg(format!("-web.listen-address=127.0.0.1:{port}"))
            .arg("-config.path")
            .arg(&config)
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("process-exporter starts");
        let child = Running(child);
        let started = Instant::now();
        // It reads all processes before it listens.
        while !get(port) {
            assert!(started.elapsed() < Duration::from_secs(300), "process-exporter does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        let mut least = f64::INFINITY;
        for _ in 0..scrapes {
            std::thread::sleep(Duration::from_secs(1));
            let before = cpu_seconds(child.0.id());
            assert!(get(port), "process-exporter does not answer");
            least = least.min(cpu_seconds(child.0.id()) - before);
        }
        let _ = std::fs::remove_file(config);
        least
    }
}
