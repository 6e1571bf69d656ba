//! The running kernel's own reports. Other processes of the machine are in them too: each test looks for its own.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use super::sources::Sources;
use super::*;

const BOTH: AtExec = AtExec { cmdline: true, cgroup: true };

/// Whether both sources are there; a word on why the test is skipped where that is for who runs it, not for the code.
fn up(status: &Status) -> bool {
    let mut up = true;
    for source in [&status.connector, &status.taskstats] {
        if let Source::Down(why) = source {
            assert!(
                ["CAP_NET_ADMIN", "namespace", "CONFIG_CONNECTOR", "Linux 5.19"].iter().any(|w| why.contains(w)),
                "{why}"
            );
            eprintln!("skipped: {why}");
            up = false;
        }
    }
    up
}

fn started(at_exec: AtExec) -> Option<Events> {
    let events = Events::start(at_exec, &Roots::default());
    up(&events.status()).then_some(events)
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
    let (failed, status) = sh("sleep 0.3; exit 3");
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
    assert!(failed.age >= Duration::from_millis(300) && failed.age < Duration::from_secs(10), "{failed:?}");
    assert!(failed.peak_bytes > 100 << 10 && failed.used.minor_faults > 10 && failed.used.voluntary > 0);
    assert_eq!(failed.cmdline.as_deref(), Some(&b"sh\0-c\0sleep 0.3; exit 3\0"[..]));
    assert_eq!(failed.cgroup.as_deref(), std::fs::read("/proc/self/cgroup").ok().as_deref());
    assert_eq!(of(&batch, killed).status, ExitStatus::Signal { number: 9, core_dumped: false });
    assert!(of(&batch, worked).used.run_ns > 1_000_000, "{:?}", of(&batch, worked));
}

/// A program under a name that no other process has.
fn named(folder: &tempfile::TempDir, name: &str, program: &str) -> String {
    let link = folder.path().join(name);
    std::os::unix::fs::symlink(format!("/bin/{program}"), &link).unwrap();
    link.to_str().unwrap().to_string()
}

#[test]
fn two_thousand_processes_in_a_burst_are_all_counted_in_few_entries() {
    let Some(mut events) = started(AtExec::default()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let program = named(&folder, "wf-test-burst", "true");
    let before = events.status().totals;
    pass(&mut events);
    // The end of a process is known to a tenth of a second, and with it the birth.
    std::thread::sleep(Duration::from_millis(300));
    let (shell, _) = sh(&format!("i=0; while [ $i -lt 2000 ]; do {program}; i=$((i+1)); done"));
    let (execs, batch) = pass(&mut events);
    assert!(!batch.lost);
    let ours: Vec<_> = batch.exits.iter().filter(|exit| exit.comm.as_bytes() == b"wf-test-burst").collect();
    assert_eq!(ours.iter().map(|exit| exit.count).sum::<u32>(), 2000, "{ours:?}");
    // Where the machine is busy, the first may have been born before the list for all that is known.
    assert!(ours.len() < 20, "{ours:?}");
    // The shell was as short-lived: what it left is its parent's.
    let merged = ours.iter().find(|exit| exit.unlisted && exit.ppid == std::process::id());
    let merged = merged.unwrap_or_else(|| panic!("{ours:?}"));
    assert!(merged.count > 1900 && merged.used.minor_faults >= u64::from(merged.count) * 10, "{ours:?}");
    assert!(execs.contains(&shell) && execs.len() >= 2001);
    let totals = events.status().totals;
    for (after, before) in [(totals.forks, before.forks), (totals.execs, before.execs), (totals.exits, before.exits)] {
        assert!(after - before >= 2001, "{totals:?}");
    }
}

#[test]
fn a_child_of_a_shell_that_lives_for_a_millisecond_is_its_grandparents() {
    let Some(mut events) = started(BOTH) else { return };
    let folder = tempfile::tempdir().unwrap();
    let program = named(&folder, "wf-test-short", "sleep");
    pass(&mut events);
    // The end of a process is known to a tenth of a second, and with it the birth.
    std::thread::sleep(Duration::from_millis(300));
    sh(&format!("{program} 0.001; exit 0"));
    let (_, batch) = pass(&mut events);
    let short = batch.exits.iter().find(|exit| exit.comm.as_bytes() == b"wf-test-short").unwrap();
    assert_eq!(short.count, 1);
    assert!(short.ppid == std::process::id() || !short.unlisted, "{short:?}");
    assert!(short.age >= Duration::from_millis(1));
    // Read in time or not.
    let cmdline = format!("{program}\0{}\0", "0.001");
    assert!(short.cmdline.as_deref().is_none_or(|read| read == cmdline.as_bytes()), "{short:?}");
}

/// What the next test runs itself as.
const AS_A_CHILD: &str = "WATCHFIRE_TEST_THREADS";

#[test]
fn the_threads_of_a_process_are_one_process() {
    if std::env::var_os(AS_A_CHILD).is_some() {
        let work = || {
            let until = Instant::now() + Duration::from_millis(20);
            while Instant::now() < until {}
        };
        for _ in 0..2 {
            let threads = [(); 2].map(|()| std::thread::spawn(work));
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
        // Not from the main thread, and with it alive: who is the last is open.
        std::process::exit(7);
    }
    let Some(mut events) = started(AtExec::default()) else { return };
    let name = "collect::process::events::tests::the_threads_of_a_process_are_one_process";
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", name]).env(AS_A_CHILD, "").stdout(Stdio::null());
    let mut child = child.spawn().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
    let (_, batch) = pass(&mut events);
    let exit = of(&batch, child.id());
    assert_eq!(batch.exits.iter().filter(|other| other.comm == exit.comm).map(|exit| exit.count).sum::<u32>(), 1);
    assert_eq!((exit.status, exit.ppid), (ExitStatus::Code(7), std::process::id()));
    // Four threads for 20 ms each, on however few CPUs: each had its part of the time.
    assert!(exit.used.run_ns >= 20_000_000 && exit.age >= Duration::from_millis(40), "{exit:?}");
}

#[test]
fn what_finds_no_room_in_a_socket_is_noticed_and_counted() {
    let mut sources = Sources::open_sized(&Roots::default(), 1);
    if !up(&sources.status()) {
        return;
    }
    for _ in 0..30 {
        sh(":");
    }
    let mut batch = Batch::default();
    let mut pass = |sources: &mut Sources| {
        sources.receive_births(&mut Vec::new());
        sources.receive_ends();
        sources.begin_pass(&mut Vec::new());
        sources.end_pass(Instant::now(), &mut batch);
        batch.lost
    };
    assert!(pass(&mut sources));
    let totals = sources.status().totals;
    assert!(totals.connector_lost > 10 && totals.taskstats_lost > 10, "{totals:?}");
    // What other tests do meanwhile is lost as well: sooner or later there is a moment without.
    assert!((0..1000).any(|_| !pass(&mut sources)));
}

#[test]
fn without_permission_it_says_what_is_missing() {
    let status = std::thread::spawn(|| {
        let user = rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65534));
        user.map(|()| Events::start(AtExec::default(), &Roots::default()).status())
    });
    match status.join().unwrap() {
        // The connector is there for everybody since Linux 6.6.
        Ok(status) => assert_eq!(status.taskstats, Source::Down("it takes CAP_NET_ADMIN".into())),
        Err(error) => eprintln!("skipped: {error}"),
    }
}
