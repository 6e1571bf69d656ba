//! What hangs (a file, a mount, a command) delays nothing else, and does not hold up the end.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Agent, Child, Receiver, SOON, Setup, always_firing, eventually};
use rustix::process::{Pid, Signal};

/// Watches ticks for some seconds: they go on, and a request is answered at once.
fn assert_ticks_go_on(agent: &Agent) {
    const WATCHED: f64 = 4.0;
    let ticks = || agent.metrics().value("watchfire_tick_duration_seconds_count", &[]).expect("ticks are counted");
    let (began, first) = (Instant::now(), ticks());
    let mut last_time = 0.0;
    let mut longest = Duration::ZERO;
    while began.elapsed().as_secs_f64() < WATCHED {
        let asked = Instant::now();
        let now = agent.metrics().value("node_time_seconds", &[]).expect("the time");
        longest = longest.max(asked.elapsed());
        assert!(now >= last_time, "samples go backwards");
        last_time = now;
        std::thread::sleep(Duration::from_millis(100));
    }
    let ticked = ticks() - first;
    assert!(ticked >= WATCHED - 2.0, "{ticked} ticks in {WATCHED} s");
    assert!(longest < Duration::from_secs(2), "a request took {longest:?}");
}

fn make_fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o644.into(), 0).expect("a FIFO");
}

#[test]
fn a_textfile_that_is_a_fifo_delays_no_tick_and_is_named() {
    let setup = Setup::new("");
    setup.write("textfiles/good.prom", "test_good 1\n");
    make_fifo(&setup.path("textfiles/hung.prom"));
    let directory = setup.path("textfiles").display().to_string();
    let agent = setup.flag(format!("--collector.textfile.directory={directory}")).start();
    assert_ticks_go_on(&agent);
    let metrics = agent.metrics();
    assert_eq!(metrics.value("test_good", &[]), Some(1.0));
    assert_eq!(metrics.value("node_textfile_scrape_error", &[]), Some(1.0));
    agent.wait_for_log("hung.prom");
}

#[test]
fn a_kernel_file_that_hangs_takes_its_collector_out_and_no_other() {
    // A tree in which one file never answers, as files of a dead network mount do.
    let setup = Setup::new("");
    let proc = setup.path("proc");
    fs::create_dir_all(proc.join("net")).unwrap();
    for file in ["stat", "meminfo", "uptime", "net/dev"] {
        fs::copy(Path::new("/proc").join(file), proc.join(file)).unwrap_or_else(|e| panic!("/proc/{file}: {e}"));
    }
    make_fifo(&proc.join("loadavg"));
    let agent = setup.clone().flag(format!("--path.procfs={}", proc.display())).start();
    assert_ticks_go_on(&agent);
    agent.wait_for("node_scrape_collector_success", &[("collector", "loadavg")], |v| v == 0.0);
    let metrics = agent.metrics();
    assert_eq!(metrics.value("node_load1", &[]), None);
    assert_eq!(metrics.value("node_scrape_collector_success", &[("collector", "meminfo")]), Some(1.0));
    let total = fs::read_to_string("/proc/meminfo").unwrap();
    let total: f64 = total.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(metrics.value("node_memory_MemTotal_bytes", &[]), Some(total * 1024.0));
    assert!(agent.log().contains("loadavg"), "the log names it: {}", agent.log());

    // A mount that comes back: what hung ends in an error, and the next reading finds the file.
    setup.write("proc/back", "1.50 0.75 0.25 1/100 1234\n");
    let fifo = fs::OpenOptions::new().write(true).open(proc.join("loadavg")).expect("somebody reads");
    fs::rename(proc.join("back"), proc.join("loadavg")).unwrap();
    drop(fifo);
    assert_eq!(agent.wait_for("node_load1", &[], |_| true), 1.5);
    agent.wait_for("node_scrape_collector_success", &[("collector", "loadavg")], |v| v == 1.0);
}

/// Whether this user may make namespaces with mounts of their own.
fn may_mount() -> bool {
    let tried = Command::new("unshare").args(["-m", "-p", "-f", "--mount-proc", "true"]).output();
    tried.is_ok_and(|output| output.status.success())
}

#[test]
fn a_mount_whose_server_is_dead_delays_no_tick_and_is_reported() {
    // A FUSE file system whose server never answers: what asks for it hangs in the kernel, as with a dead NFS server.
    // It is mounted in a namespace of the agent's own, so that it hangs nobody else.
    let fuse = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    let (Ok(fuse), true) = (fuse, may_mount()) else {
        eprintln!("skipped: it takes root and /dev/fuse to make a mount that hangs");
        return;
    };
    let setup = Setup::new("collectors: {filesystem: {interval: 1s, mount_timeout: 1s}}\n");
    let mount = setup.path("dead");
    fs::create_dir(&mount).unwrap();
    let agent = setup.command();
    let mut command = Command::new("unshare");
    command
        .args(["-m", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-c"])
        .arg("mount -i -t fuse server \"$0\" -o fd=0,rootmode=40000,user_id=0,group_id=0 && exec \"$@\"")
        .arg(&mount)
        .arg(agent.get_program())
        .args(agent.get_args());
    let agent = Agent::started(Child::spawn_with(&mut command, fuse.into()), setup.port);
    assert_ticks_go_on(&agent);
    let of = mount.display().to_string();
    let hangs = [("mountpoint", &*of), ("device_error", "mountpoint timeout")];
    agent.wait_for("node_filesystem_device_error", &hangs, |v| v == 1.0);
    let metrics = agent.metrics();
    assert_eq!(metrics.samples("node_filesystem_size_bytes", &[("mountpoint", &of)]).count(), 0);
    assert!(metrics.value("node_filesystem_size_bytes", &[("mountpoint", "/")]).is_some_and(|size| size > 0.0));
    assert!(metrics.value("watchfire_filesystem_usage_ratio", &[("mountpoint", "/")]).is_some());

    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", agent.id())).unwrap();
    let pid = children.trim().parse().ok().and_then(Pid::from_raw).expect("the agent is the one child");
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    let (code, log) = agent.wait(SOON);
    assert_eq!(code, Some(0), "what hangs in the kernel does not hold up the end: {log}");
    assert_eq!(log.matches("mount does not answer").count(), 1, "{log}");
}

#[test]
fn an_agent_whose_collector_hangs_still_stops() {
    let setup = Setup::new("");
    let proc = setup.path("proc");
    fs::create_dir_all(&proc).unwrap();
    fs::copy("/proc/stat", proc.join("stat")).unwrap();
    make_fifo(&proc.join("loadavg"));
    let agent = setup.clone().flag(format!("--path.procfs={}", proc.display())).start();
    agent.wait_for("node_scrape_collector_success", &[("collector", "loadavg")], |v| v == 0.0);
    let (code, log) = agent.terminate(SOON);
    assert_eq!(code, Some(0), "{log}");
}

/// Whether a process with this in its command line is there.
fn runs(part: &str) -> bool {
    let processes = fs::read_dir("/proc").expect("it is there on Linux").flatten();
    processes
        .filter_map(|p| fs::read(p.path().join("cmdline")).ok())
        .any(|c| String::from_utf8_lossy(&c).contains(part))
}

#[test]
fn a_command_that_hangs_delays_nobody_and_ends_with_the_agent() {
    let web = Receiver::start();
    // A number of seconds that nobody else sleeps.
    let sleep = format!("{}.25", 300 + std::process::id());
    let setup = Setup::new(&format!(
        "{}alerting:\n  route: {{receiver: all, group_wait: 0s}}\n  receivers:\n  - name: all\n    \
         exec_configs: [{{command: [/bin/sh, -c, 'sleep {sleep} & sleep {sleep}'], timeout: 1h}}]\n    \
         webhook_configs: [{{url: '{}'}}]\n",
        always_firing("Hangs"),
        web.url("/")
    ));
    let agent = setup.start();
    web.wait_for_alert("Hangs", "firing");
    eventually("the command runs", SOON, || runs(&sleep).then_some(()));
    agent.wait_for("watchfire_pool_tasks_running", &[("class", "sink"), ("lane", "command")], |v| v == 1.0);
    assert_ticks_go_on(&agent);
    let (code, log) = agent.terminate(SOON);
    assert_eq!(code, Some(0), "{log}");
    assert!(!runs(&sleep), "what the command started is still there");
}
