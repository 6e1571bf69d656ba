//! The running kernel's own reports. Other processes of the machine are in them too: each test looks for its own.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use super::*;

const BOTH: AtExec = AtExec { cmdline: true, cgroup: true };

/// Both sources, or a word on why the test is skipped.
fn started(at_exec: AtExec) -> Option<Events> {
    let events = Events::start(at_exec, &Roots::default());
    let status = events.status();
    if (&status.connector, &status.taskstats) == (&Source::Up, &Source::Up) {
        return Some(events);
    }
    eprintln!("skipped: {status:?}");
    None
}

/// A pass that takes no time: what has ended since the last.
fn pass(events: &mut Events) -> (Vec<u32>, Batch) {
    let (mut execs, mut batch) = (Vec::new(), Batch::default());
    events.execs(&mut execs);
    events.exits(Instant::now(), &mut batch);
    (execs, batch)
}

fn sh(script: &str) -> (u32, std::process::ExitStatus) {
    let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::null()).spawn().unwrap();
    (child.id(), child.wait().unwrap())
}

fn of(batch: &Batch, pid: u32) -> &Exit {
    batch.exits.iter().find(|exit| exit.pid == pid).unwrap_or_else(|| panic!("{pid} is not in {batch:?}"))
}

#[test]
fn how_a_process_ended_what_it_was_and_what_it_used_is_reported() {
    let Some(mut events) = started(BOTH) else { return };
    let (failed, status) = sh("sleep 0.02; exit 3");
    assert_eq!(status.code(), Some(3));
    let (killed, status) = sh("kill -9 $$");
    assert_eq!(status.signal(), Some(9));
    let (worked, _) = sh("i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done");
    let (execs, batch) = pass(&mut events);
    assert!([failed, killed, worked].iter().all(|pid| execs.contains(pid)), "{execs:?}");
    let failed = of(&batch, failed);
    assert_eq!((failed.status, failed.comm.as_bytes(), failed.count), (ExitStatus::Code(3), &b"sh"[..], 1));
    assert_eq!((failed.ppid, failed.uid), (std::process::id(), Some(rustix::process::getuid().as_raw())));
    assert!((failed.executed, failed.kernel_thread, failed.unlisted) == (true, false, false));
    assert!(failed.age >= Duration::from_millis(20) && failed.age < Duration::from_secs(10), "{failed:?}");
    assert!(failed.peak_bytes > 100 << 10 && failed.used.minor_faults > 10 && failed.used.voluntary > 0);
    assert_eq!(failed.cmdline.as_deref(), Some(&b"sh\0-c\0sleep 0.02; exit 3\0"[..]));
    assert_eq!(failed.cgroup.as_deref(), std::fs::read("/proc/self/cgroup").ok().as_deref());
    assert_eq!(of(&batch, killed).status, ExitStatus::Signal { number: 9, core_dumped: false });
    assert!(of(&batch, worked).used.run_ns > 1_000_000, "{:?}", of(&batch, worked));
}
