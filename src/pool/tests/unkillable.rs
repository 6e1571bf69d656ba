//! Commands that the agent may not end.

use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use super::rights::as_nobody;
use super::*;
use crate::model::Timestamp;

/// Names a program that makes its caller root, as sudo does.
const SUDO: &str = "WATCHFIRE_TEST_SUDO";

/// Runs a command that becomes root, overruns its time and lives on for a while.
async fn lives_on(command: &'static str) {
    let registry = Registry::new();
    let pool = pool_with(config(1), &registry);
    let living = || metric(&registry, "watchfire_pool_commands_unkillable");
    let make = move || {
        let task = sh(command).env("SUDO", std::env::var_os(SUDO).unwrap());
        task.timeout(Duration::from_millis(300)).kill_grace(Duration::from_millis(50))
    };
    pool.schedule("root", Schedule::At(Timestamp::now() + LONG * 100), make).unwrap();
    let began = Instant::now();
    let outcome = pool.run_now("root").unwrap().wait().await;
    assert!(matches!(outcome.status, Status::TimedOut { .. }), "{outcome:?}");
    assert!(began.elapsed() < Duration::from_secs(3), "it holds up nobody: {:?}", began.elapsed());
    assert_eq!(living(), 1.0);

    let again = pool.run_now("root").map(|handle| handle.number());
    assert_eq!(again, Err(RunError::Refused(SubmitError::LivesOn)));
    let status = pool.latest("root").unwrap().outcome.status.to_string();
    assert_eq!(status, "was not run: its last run could not be ended and lives on");
    let sink = pool.submit(Task::command(["true"]).id("root").class(Class::Sink)).unwrap();
    assert!(sink.wait().await.success(), "people are told all the same");

    until("it has ended", || living() == 0.0).await;
    assert!(began.elapsed() >= Duration::from_millis(3500), "by itself");
    let last = pool.run_now("root").unwrap();
    until("it runs", || last.outcome().is_some()).await;
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
}

fn as_nobody_with_sudo(test: &str, inner: impl Future<Output = ()>) {
    let dir = tempfile::tempdir().unwrap();
    let sudo = dir.path().join("sudo");
    std::fs::copy("/usr/bin/setpriv", &sudo).unwrap();
    std::fs::set_permissions(&sudo, std::fs::Permissions::from_mode(0o4755)).unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    as_nobody(module_path!(), test, Some((SUDO, &sudo)), inner);
}

#[test]
fn a_command_that_becomes_root_is_not_run_again_before_it_has_ended() {
    let test = "a_command_that_becomes_root_is_not_run_again_before_it_has_ended";
    as_nobody_with_sudo(test, lives_on("exec \"$SUDO\" --reuid=0 sleep 4"));
}

#[test]
fn a_script_of_which_a_part_becomes_root_is_not_run_again_before_that_has_ended() {
    let test = "a_script_of_which_a_part_becomes_root_is_not_run_again_before_that_has_ended";
    as_nobody_with_sudo(test, lives_on("\"$SUDO\" --reuid=0 sleep 4; echo done"));
}

#[test]
fn a_stream_of_which_a_part_becomes_root_is_not_started_again_before_that_has_ended() {
    let test = "a_stream_of_which_a_part_becomes_root_is_not_started_again_before_that_has_ended";
    as_nobody_with_sudo(test, async {
        let pool = pool(1);
        let task = sh("\"$SUDO\" --reuid=0 sleep 1.5 & sleep 0.2").env("SUDO", std::env::var_os(SUDO).unwrap());
        let (stream, began) = (Stream::new(task, Framing::Lines, |_| {}), Instant::now());
        pool.stream(stream.pauses(Backoff::fixed(Duration::from_millis(1)))).unwrap();
        until("it is started again", || pool.view().streams[0].starts == 2).await;
        assert!(began.elapsed() >= Duration::from_millis(1500), "{:?}", began.elapsed());
        pool.shutdown(Queued::Cancel, Duration::ZERO).await;
    });
}
