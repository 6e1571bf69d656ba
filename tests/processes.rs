//! Processes as the running kernel shows them to the agent: those that live for a millisecond too.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Agent, Metrics, SOON, Setup, eventually};

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

/// The binary where whoever is not root can execute it too.
fn binary_for_all(dir: &Path) -> PathBuf {
    let path = dir.join("watchfire");
    fs::copy(env!("CARGO_BIN_EXE_watchfire"), &path).expect("a copy of the binary");
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("others may enter");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be executed");
    path
}

/// What a user who is not root sees in one sampling, in a mount namespace of its own that `setup` changes.
fn scraped_by_nobody(setup: &str, setpriv: &str) -> Result<Metrics, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("it takes root to become nobody".to_string());
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let scrape = format!(
        "{setup} exec setpriv --reuid=65534 --regid=65534 --clear-groups {setpriv} {} scrape \
         --collector.disable-defaults --collector.processes",
        binary_for_all(dir.path()).display()
    );
    let output = Command::new("unshare").args(["--mount", "sh", "-c", &scrape]).output().map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
    if said.contains("unshare") || said.contains("setpriv") || said.contains("mount:") {
        return Err(said);
    }
    assert!(output.status.success(), "{said}");
    Ok(Metrics(String::from_utf8_lossy(&output.stdout).into_owned()))
}

#[test]
fn with_hidepid_ones_own_processes_are_all_that_there_are() {
    match scraped_by_nobody("mount -t proc -o hidepid=2 proc /proc &&", "") {
        Ok(metrics) => {
            assert_eq!(metrics.value("node_processes_pids", &[]), Some(1.0));
            assert_eq!(group(&metrics, "num_procs", "watchfire"), 1.0);
            assert!(metrics.samples("watchfire_process_read_errors_total", &[]).all(|(_, errors)| errors == 0.0));
        }
        Err(why) => eprintln!("with_hidepid_ones_own_processes_are_all_that_there_are: skipped, {why}"),
    }
}

#[test]
fn what_is_closed_to_the_agent_is_counted_and_the_rest_of_a_process_is_served() {
    match scraped_by_nobody("", "") {
        Ok(metrics) => {
            let errors = |file| metrics.value("watchfire_process_read_errors_total", &[("file", file)]);
            assert!(errors("io") > Some(0.0) && errors("status") == Some(0.0) && errors("stat") == Some(0.0));
            assert!(metrics.value("node_processes_pids", &[]) > Some(1.0));
            assert!(group(&metrics, "memory_bytes", "watchfire") > 0.0);
        }
        Err(why) => eprintln!("what_is_closed_to_the_agent_is_counted: skipped, {why}"),
    }
}

/// As the README's unit has it.
#[test]
fn a_service_with_the_units_capabilities_sees_all_and_one_without_says_what_it_cannot() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("a_service_with_the_units_capabilities: skipped, it takes root to become nobody");
    }
    let config = "stock_rules: false\nglobal: {scrape_interval: 200ms}\n";
    for (capabilities, told) in [("+dac_read_search,+sys_ptrace,+net_admin", true), ("-all", false)] {
        let setup = Setup::new(config);
        if told && !setup.start().is_told("a_service_with_the_units_capabilities") {
            return;
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        let binary = binary_for_all(dir.path());
        let config = dir.path().join("watchfire.yaml");
        fs::write(&config, "stock_rules: false\nglobal: {scrape_interval: 200ms}\n").expect("a configuration");
        let state = dir.path().join("state");
        fs::create_dir(&state).expect("a directory");
        fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).expect("it can be written");
        let port = common::free_port();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(format!("--inh-caps={capabilities}")).arg(format!("--ambient-caps={capabilities}"));
        command.arg(&binary).arg(format!("--config.file={}", config.display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command.arg(format!("--storage.path={}", state.display()));
        let agent = Agent::start(&mut command, port);
        let metrics = eventually("a page with processes", SOON, || {
            let metrics = agent.metrics();
            metrics.value("watchfire_process_events_up", &[("source", "taskstats")])?;
            Some(metrics)
        });
        let up = |source| metrics.value("watchfire_process_events_up", &[("source", source)]) == Some(1.0);
        assert_eq!(up("taskstats"), told, "{capabilities}");
        // A process that is just ending can be closed to everybody.
        let errors = metrics.value("watchfire_process_read_errors_total", &[("file", "io")]).unwrap_or(0.0);
        let share = errors / metrics.value("node_processes_pids", &[]).unwrap_or(1.0);
        assert_eq!(share < 0.1, told, "{errors}");
        // Processes are read in turn, fewer at a time where each takes long.
        eventually("its own proportional memory is read", 3 * SOON, || {
            let memory = [("groupname", "watchfire"), ("memtype", "proportionalResident")];
            agent.metrics().value("namedprocess_namegroup_memory_bytes", &memory).filter(|bytes| *bytes > 0.0)
        });
        let said = agent.log().matches("processes that live for less than a tick are not seen").count();
        assert_eq!(said > 0, !told, "{}", agent.log());
    }
}
