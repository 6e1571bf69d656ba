//! The ways in which a command ends, and what its outcome says.

use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use super::*;

#[tokio::test]
async fn the_outcome_has_the_exit_code_and_both_streams() {
    let outcome = outcome(sh("echo out; echo err >&2; exit 3")).await;
    assert!(matches!(outcome.status, Status::Exited(3)), "{}", outcome.status);
    assert!(!outcome.success());
    assert_eq!((&*outcome.stdout.text(), &*outcome.stderr.text()), ("out\n", "err\n"));
    assert!(!outcome.stdout.truncated && !outcome.stderr.truncated);
    assert!(!outcome.ran.is_zero());
}

#[tokio::test]
async fn arguments_reach_the_command_as_they_are_without_a_shell() {
    let outcome = outcome(Task::command(["printf", "%s|", "$HOME", "a b", "*", ""])).await;
    assert_eq!(outcome.stdout.text(), "$HOME|a b|*||");
}

#[tokio::test]
async fn the_environment_is_the_few_inherited_variables_and_the_tasks_own() {
    let outcome = outcome(Task::command(["env"]).env("WATCHED", "a=b").env("LANG", "C")).await;
    let text = outcome.stdout.text();
    assert!(text.lines().any(|line| line == "WATCHED=a=b") && text.lines().any(|line| line == "LANG=C"), "{text}");
    assert!(text.lines().all(|line| {
        line.split('=').next().is_some_and(|name| ["PATH", "HOME", "LANG", "TZ", "WATCHED"].contains(&name))
    }));
}

#[tokio::test]
async fn the_command_starts_in_its_directory_and_a_relative_program_is_found_there() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("here");
    std::fs::write(&script, "#!/bin/sh\npwd\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let outcome = outcome(Task::command(["./here"]).current_dir(dir.path())).await;
    assert_eq!(
        outcome.stdout.text().trim(),
        dir.path().canonicalize().unwrap().to_str().unwrap(),
        "{}",
        outcome.status
    );
}

#[tokio::test]
async fn standard_input_is_fed_and_then_ends() {
    let input = vec![b'x'; 300_000];
    let outcome = outcome(Task::command(["wc", "-c"]).stdin(input)).await;
    assert_eq!(outcome.stdout.text().trim(), "300000");
}

#[tokio::test]
async fn a_command_that_does_not_read_its_input_succeeds_all_the_same() {
    let input = vec![b'x'; 1_000_000];
    for script in ["true", "exec <&-; sleep 0.05", "sleep 0.05"] {
        let outcome = outcome(sh(script).stdin(input.clone())).await;
        assert!(outcome.success(), "{script}: {}", outcome.status);
    }
}

#[tokio::test]
async fn output_is_kept_up_to_the_limit_and_the_command_never_blocks_on_the_rest() {
    let outcome = outcome(sh("head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2").output_limit(1000)).await;
    assert!(outcome.success(), "{}", outcome.status);
    for stream in [&outcome.stdout, &outcome.stderr] {
        assert_eq!(stream.bytes.len(), 1000);
        assert!(stream.truncated);
    }
}

#[tokio::test]
async fn output_of_exactly_the_limit_is_not_truncated() {
    let outcome = outcome(Task::command(["printf", "12345"]).output_limit(5)).await;
    assert_eq!(outcome.stdout, Output { bytes: b"12345".to_vec(), truncated: false });
}

#[tokio::test]
async fn with_a_limit_of_nothing_all_output_is_thrown_away() {
    let outcome = outcome(sh("echo x").output_limit(0)).await;
    assert_eq!(outcome.stdout, Output { bytes: vec![], truncated: true });
    assert_eq!(outcome.stderr, Output::default());
}

#[tokio::test]
async fn a_command_that_a_signal_kills_says_which() {
    let outcome = outcome(sh("kill -SEGV $$")).await;
    assert!(matches!(outcome.status, Status::Signaled(libc::SIGSEGV)), "{}", outcome.status);
    assert_eq!(outcome.status.to_string(), "was killed by SIGSEGV");
}

#[tokio::test]
async fn a_missing_command_is_an_outcome_that_names_it_and_where_it_was_looked_for() {
    let outcome = outcome(Task::command(["no-such-command"]).env("PATH", "/bin:/sbin")).await;
    assert_eq!(outcome.status.to_string(), "could not be started: \"no-such-command\": not found in PATH=/bin:/sbin");
    assert!(outcome.ran.is_zero());
}

#[tokio::test]
async fn a_command_that_may_not_be_executed_is_an_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "#!/bin/sh\n").unwrap();
    let outcome = outcome(Task::command([&plain])).await;
    let Status::NotStarted(error) = &outcome.status else { panic!("{}", outcome.status) };
    assert_eq!((error.step.clone(), error.source.raw_os_error()), (StartStep::Execute, Some(libc::EACCES)));
}

#[tokio::test]
async fn a_file_that_is_no_program_is_not_given_to_a_shell() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("data");
    std::fs::write(&file, "echo hello\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    let outcome = outcome(Task::command([&file])).await;
    let Status::NotStarted(error) = &outcome.status else { panic!("{}", outcome.status) };
    assert_eq!(error.source.raw_os_error(), Some(libc::ENOEXEC));
}

#[tokio::test]
async fn a_missing_directory_is_an_outcome_that_names_it() {
    let outcome = outcome(Task::command(["true"]).current_dir("/no/such/place")).await;
    assert_eq!(
        outcome.status.to_string(),
        "could not be started: \"true\": cannot enter the directory \"/no/such/place\": No such file or directory (os \
         error 2)"
    );
}

#[tokio::test]
async fn what_no_process_could_be_given_is_an_outcome() {
    let impossible = [
        Task::command(Vec::<String>::new()),
        Task::command([""]),
        Task::command(["true", "a\0b"]),
        Task::command(["true"]).env("A=B", "x"),
        Task::command(["true"]).env("A", "x\0"),
    ];
    for task in impossible {
        let outcome = outcome(task).await;
        let Status::NotStarted(error) = &outcome.status else { panic!("{}", outcome.status) };
        assert_eq!(error.step, StartStep::Arguments);
    }
}

#[tokio::test]
async fn a_command_that_overruns_its_time_is_ended_with_all_its_group() {
    let began = Instant::now();
    let outcome = outcome(sh("sleep 1000 & echo $!; sleep 1000").timeout(Duration::from_millis(200))).await;
    assert!(matches!(outcome.status, Status::TimedOut { limit } if limit == Duration::from_millis(200)));
    assert!(began.elapsed() < Duration::from_secs(4), "SIGTERM was enough: the grace period is not waited out");
    let background = outcome.stdout.text().trim().to_owned();
    assert!(!background.is_empty() && !alive(&background));
}

#[tokio::test]
async fn a_command_that_ignores_sigterm_is_killed_after_its_grace_period() {
    let task = sh("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    let began = Instant::now();
    let outcome = outcome(task.timeout(Duration::from_millis(200)).kill_grace(Duration::from_millis(300))).await;
    assert!(matches!(outcome.status, Status::TimedOut { .. }), "{}", outcome.status);
    assert_eq!(outcome.stdout.text(), "ready\n");
    let took = began.elapsed();
    assert!((Duration::from_millis(500)..Duration::from_secs(5)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_command_may_clean_up_when_it_is_told_to_end() {
    let task = sh("trap 'echo cleaned; exit 0' TERM; echo ready; while :; do sleep 0.02; done");
    let outcome = outcome(task.timeout(Duration::from_millis(300))).await;
    assert!(matches!(outcome.status, Status::TimedOut { .. }), "{}", outcome.status);
    assert_eq!(outcome.stdout.text(), "ready\ncleaned\n");
}

#[tokio::test]
async fn the_rest_of_the_group_keeps_its_grace_period_when_the_command_ends_first() {
    let helper = "trap 'sleep 0.3; echo saved; exit' TERM; echo ready; while :; do sleep 0.02; done";
    let task = sh("sh -c \"$HELPER\" & wait").env("HELPER", helper).timeout(Duration::from_millis(400));
    let outcome = outcome(task).await;
    assert_eq!(outcome.stdout.text(), "ready\nsaved\n");
}

#[tokio::test]
async fn the_rest_of_the_group_keeps_its_grace_period_although_it_holds_no_output_open() {
    let dir = tempfile::tempdir().unwrap();
    let helper = "trap 'sleep 0.3; echo saved > state; exit' TERM; while :; do sleep 0.02; done";
    let task = sh("sh -c \"$HELPER\" > /dev/null 2>&1 & wait").env("HELPER", helper).current_dir(dir.path());
    let outcome = outcome(task.timeout(Duration::from_millis(400))).await;
    assert!(matches!(outcome.status, Status::TimedOut { .. }), "{}", outcome.status);
    assert_eq!(std::fs::read_to_string(dir.path().join("state")).unwrap(), "saved\n");
    assert!(outcome.ran < Duration::from_secs(4), "nobody is waited for who has ended: {:?}", outcome.ran);
}

#[tokio::test]
async fn a_stranger_that_holds_the_output_open_does_not_draw_out_the_grace_period() {
    let task = sh("setsid sleep 30 & echo $!; sleep 1000").timeout(Duration::from_millis(300));
    let outcome = outcome(task).await;
    assert!(outcome.ran < Duration::from_secs(4), "{:?}", outcome.ran);
    let stranger = rustix::process::Pid::from_raw(outcome.stdout.text().trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(stranger, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn resource_use_is_that_of_the_command_and_its_children() {
    let outcome = outcome(sh("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")).await;
    assert!(outcome.usage.user > Duration::from_millis(20), "{:?}", outcome.usage);
    assert!(outcome.usage.user + outcome.usage.system < LONG);
    assert!(outcome.usage.minor_faults > 10, "{:?}", outcome.usage);
}

#[tokio::test]
async fn a_large_command_shows_its_memory_and_a_small_one_is_not_credited_with_the_agents() {
    let large = outcome(Task::command(["dd", "if=/dev/zero", "of=/dev/null", "bs=600M", "count=1"])).await;
    let max_rss = large.usage.max_rss.expect("more than this test process");
    assert!((600_000_000..1_000_000_000).contains(&max_rss), "{max_rss}");
    let small = outcome(Task::command(["true"])).await;
    assert_eq!(small.usage.max_rss, None);
}
