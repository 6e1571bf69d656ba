//! Processes as the running kernel shows them to the agent: those that live for a millisecond too.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Metrics, SOON, Setup, eventually};

/// A shell under another name, so that its processes are a group of their own.
fn shell(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    fs::copy("/bin/sh", &path).expect("a copy of the shell");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be executed");
    path
}

/// Runs a command to its end: the CPU seconds that it and all its descendants have used, as the kernel counts them.
fn cpu_seconds(command: &mut Command) -> f64 {
    #[allow(clippy::zombie_processes, reason = "it is waited for by wait4, which tells what it used")]
    let child = command.stdin(Stdio::null()).spawn().expect("it starts");
    let mut status = 0;
    // SAFETY: a rusage is numbers alone, for which all bits 0 are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to values that live as long as the call, and nobody else waits for this child.
    let waited = unsafe { libc::wait4(child.id() as i32, &mut status, 0, &mut usage) };
    assert_eq!((waited, status), (child.id() as i32, 0));
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn group(metrics: &Metrics, name: &str, group: &str) -> f64 {
    let name = format!("namedprocess_namegroup_{name}");
    metrics.samples(&name, &[("groupname", group)]).map(|(_, value)| value).sum()
}

fn exits(metrics: &Metrics, group: &str, reason: &str) -> f64 {
    metrics.value("watchfire_process_exits_total", &[("groupname", group), ("reason", reason)]).unwrap_or(0.0)
}

#[test]
fn no_process_is_unseen_however_short() {
    const SHORT: u32 = 20_000;
    let agent = Setup::new("rule_files: []\nstock_rules: false\n").start();
    if !agent.is_told("no_process_is_unseen_however_short") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [parent, short, deep] = ["wf-parent", "wf-short", "wf-deep"].map(|name| shell(dir.path(), name));
    let (short, deep) = (short.display(), deep.display());
    // A child of a child of a child...; `true` lest the shell replaces itself by the last one.
    let deeper = dir.path().join("deeper");
    fs::write(&deeper, format!("[ $1 = 0 ] || {deep} {} $(($1 - 1))\ntrue\n", deeper.display())).unwrap();
    let script = format!(
        "i=0
        while [ $i -lt {SHORT} ]; do
            {short} -c 'j=0; while [ $j -lt 1500 ]; do j=$((j+1)); done'
            i=$((i+1))
        done &
        i=0
        while [ $i -lt 10 ]; do {deep} {} 100; i=$((i+1)); done
        wait",
        deeper.display()
    );
    let kernel = cpu_seconds(Command::new(&parent).args(["-c", &script]));
    let groups = ["wf-parent", "wf-short", "wf-deep"];
    eventually("all ends are counted", SOON, || (exits(&agent.metrics(), "wf-parent", "success") >= 1.0).then_some(()));
    // One more tick: what a parent has waited for during the last one.
    std::thread::sleep(Duration::from_millis(1500));
    let metrics = agent.metrics();
    let seen: f64 = groups.iter().map(|name| group(&metrics, "cpu_seconds_total", name)).sum();
    println!("the kernel counts {kernel:.3} s, the groups {seen:.3} s: {:+.2} %", 100.0 * (seen / kernel - 1.0));
    for name in groups {
        println!("{name}: {:.3} s", group(&metrics, "cpu_seconds_total", name));
    }
    assert!((seen / kernel - 1.0).abs() < 0.02, "{seen} s of {kernel} s");
    assert_eq!(exits(&metrics, "wf-short", "success"), f64::from(SHORT));
    assert_eq!(exits(&metrics, "wf-deep", "success"), 1010.0);
}
