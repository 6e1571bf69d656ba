//! The running kernel's own processes.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::*;

/// A child that is ended with the test.
struct Running(Child);

impl Running {
    fn start(program: &str, arguments: &[&str]) -> Running {
        let child = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Running(child.unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn live_processes_are_seen_to_work_and_to_end() {
    let config = ProcessesConfig { top: 1000, top_after: Duration::ZERO, ..ProcessesConfig::default() };
    let mut watch = Watch::on(Roots::default(), config);
    watch.tick();
    // A name that no other process has.
    let child = Running::start("sh", &["-c", "printf wf-test-burner > /proc/$$/comm; while :; do :; done"]);
    let pid = child.0.id();
    let list = watch.processes.top();
    let mut ticks = 0;
    while watch.cpu_user("wf-test-burner").unwrap_or(0.0) < 0.1 {
        std::thread::sleep(Duration::from_millis(100));
        watch.tick();
        ticks += 1;
        assert!(ticks < 600, "{:?}", watch.values);
    }
    assert_eq!(watch.get("num_procs{groupname=\"wf-test-burner\"}"), Some(1.0));
    assert!(watch.get("memory_bytes{groupname=\"wf-test-burner\",memtype=\"resident\"}").unwrap() > 4096.0);
    assert!(watch.get("open_filedesc{groupname=\"wf-test-burner\"}").unwrap() >= 3.0);
    let listed = list.load().iter().find(|p| p.pid == pid).copied().unwrap();
    assert!(listed.cpu_ratio > 0.0 && listed.comm.as_bytes() == b"wf-test-burner");
    let ratio = format!("watchfire_process_cpu_usage_ratio{{pid=\"{pid}\",comm=\"wf-test-burner\"");
    assert!(watch.values.iter().any(|(k, v)| k.starts_with(&ratio) && *v > 0.0 && *v < 3.0));

    let used = watch.cpu_user("wf-test-burner").unwrap();
    drop(child);
    watch.tick();
    assert_eq!(watch.get("num_procs{groupname=\"wf-test-burner\"}"), Some(0.0));
    assert!(watch.cpu_user("wf-test-burner").unwrap() >= used);
    assert!(!watch.values.keys().any(|k| k.starts_with(&ratio)));
    assert!(watch.values.keys().any(|k| k.starts_with("node_processes_threads_state")));
}
