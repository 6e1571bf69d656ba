//! Commands that do not behave.

use std::time::Instant;

use super::*;

#[tokio::test]
async fn a_command_that_closes_its_streams_and_stays_is_waited_for() {
    let outcome = outcome(sh("exec >&- 2>&- <&-; sleep 0.2; exit 7").stdin("unread")).await;
    assert!(matches!(outcome.status, Status::Exited(7)), "{}", outcome.status);
    assert!(outcome.ran >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_command_that_closes_its_streams_and_hangs_is_ended_by_its_time() {
    let outcome = outcome(sh("exec >&- 2>&- <&-; exec sleep 1000").timeout(Duration::from_millis(100))).await;
    assert!(matches!(outcome.status, Status::TimedOut { .. }), "{}", outcome.status);
}

#[tokio::test]
async fn a_grandchild_that_holds_the_pipe_open_delays_nothing_and_is_killed() {
    let began = Instant::now();
    let outcome = outcome(sh("sleep 1000 & echo $!")).await;
    assert!(outcome.success(), "{}", outcome.status);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(!alive(outcome.stdout.text().trim()));
}

#[tokio::test]
async fn what_a_helper_left_behind_still_writes_soon_after_is_kept() {
    let outcome = outcome(sh("{ sleep 0.03; echo late; } & echo early")).await;
    assert_eq!(outcome.stdout.text(), "early\nlate\n");
}

#[tokio::test]
async fn a_daemon_that_leaves_the_group_delays_nothing_and_lives_on() {
    let began = Instant::now();
    let outcome = outcome(sh("setsid sleep 1000 & echo $!; sleep 0.1")).await;
    assert!(outcome.success() && began.elapsed() < Duration::from_secs(5), "{}", outcome.status);
    let daemon = outcome.stdout.text().trim().to_owned();
    assert!(alive(&daemon));
    let pid = rustix::process::Pid::from_raw(daemon.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn binary_garbage_without_end_is_cut_off_by_the_limits() {
    let task = Task::command(["cat", "/dev/urandom"]).timeout(Duration::from_millis(300)).output_limit(10_000);
    let outcome = outcome(task).await;
    assert!(matches!(outcome.status, Status::TimedOut { .. }), "{}", outcome.status);
    assert_eq!(outcome.stdout.bytes.len(), 10_000);
    assert!(outcome.stdout.truncated);
}

#[tokio::test]
async fn a_command_that_stops_itself_is_ended_by_its_time() {
    let task = sh("kill -STOP $$").timeout(Duration::from_millis(100)).kill_grace(Duration::from_millis(100));
    let outcome = outcome(task).await;
    assert!(matches!(outcome.status, Status::TimedOut { .. }), "{}", outcome.status);
}

#[tokio::test]
async fn a_task_without_any_time_is_ended_at_once() {
    let outcome = outcome(Task::command(["sleep", "1000"]).timeout(Duration::ZERO)).await;
    assert!(matches!(outcome.status, Status::TimedOut { .. }), "{}", outcome.status);
}

#[tokio::test]
async fn a_task_with_endless_time_runs() {
    assert!(outcome(Task::command(["true"]).timeout(Duration::MAX).kill_grace(Duration::MAX)).await.success());
}

#[tokio::test]
async fn a_command_gets_three_descriptors_its_own_session_no_blocked_signal_and_no_ignored_one() {
    // Not close-on-exec, as something the agent inherited would be.
    let inherited = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    let script = "ls /proc/self/fd; grep SigBlk /proc/self/status; grep SigIgn /proc/self/status >&2; \
                  read pid comm state ppid pgrp session rest < /proc/$$/stat; [ $$ = $pgrp -a $$ = $session ] && echo own";
    let outcome = outcome(sh(script)).await;
    drop(inherited);
    let lines: Vec<String> =
        outcome.stdout.text().lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    // 3 is the directory that ls itself reads.
    assert_eq!(lines, ["0", "1", "2", "3", "SigBlk: 0000000000000000", "own"]);
    let ignored = outcome.stderr.text().split_whitespace().nth(1).map(|mask| u64::from_str_radix(mask, 16));
    // Signals 32 and 33 are the C library's, which has whoever it starts ignore them.
    assert_eq!(ignored.unwrap().unwrap() & !(0b11 << 31), 0);
}

#[tokio::test]
async fn a_start_that_hangs_holds_up_nobody_else_and_ends_with_its_time() {
    // Executing a file under a lease waits until the lease is given back: a hanging file system in small.
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("leased");
    std::fs::write(&path, "#!/bin/sh\necho never seen\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    // <linux/fcntl.h>; the same on all architectures but PA-RISC, and not in libc.
    const F_SETSIG: libc::c_int = 10;
    // SAFETY: plain system calls on an open descriptor. SIGURG, which is ignored, says that somebody waits.
    let leased = unsafe {
        libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG) == 0
            && libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) == 0
    };
    if !leased {
        return eprintln!("not tried: no leases in {dir:?}: {}", std::io::Error::last_os_error());
    }

    let pool = pool(4);
    let hanging = Task::command([&path]).timeout(Duration::from_secs(2)).kill_grace(Duration::from_millis(100));
    let hanging = pool.submit(hanging).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let began = Instant::now();
    let others: Vec<Handle> = (0..3).map(|_| pool.submit(Task::command(["true"])).unwrap()).collect();
    for other in others {
        let outcome = other.wait().await;
        assert!(outcome.success(), "{} {:?}", outcome.status, began.elapsed());
    }
    assert!(began.elapsed() < Duration::from_millis(1900), "{:?}", began.elapsed());
    let outcome = hanging.wait().await;
    assert!(matches!(outcome.status, Status::TimedOut { .. }), "{}", outcome.status);
    assert!(began.elapsed() < Duration::from_secs(10));
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
}
