//! Who runs when: places, queues, cancellation, shutdown.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::*;

const SLEEP: [&str; 2] = ["sleep", "1000"];

#[tokio::test]
async fn no_more_commands_run_at_a_time_than_there_are_places() {
    let registry = Registry::new();
    let pool = pool_with(config(2), &registry);
    let handles: Vec<Handle> = (0..6).map(|_| pool.submit(sh("sleep 0.1")).unwrap()).collect();
    assert_eq!(metric(&registry, "watchfire_pool_tasks_running"), 2.0);
    assert_eq!(metric(&registry, "watchfire_pool_tasks_queued"), 4.0);
    let began = Instant::now();
    for handle in &handles {
        assert!(handle.wait().await.success());
        assert!(metric(&registry, "watchfire_pool_tasks_running") <= 2.0);
    }
    assert!(began.elapsed() >= Duration::from_millis(250), "three rounds of two");
    assert!(handles[5].wait().await.waited >= Duration::from_millis(150));
    assert_eq!(metric(&registry, "watchfire_pool_tasks_running"), 0.0);
}

#[tokio::test]
async fn places_waiting_and_cpu_time_are_measured() {
    let registry = Registry::new();
    let pool = pool_with(PoolConfig { max_concurrent: 1, max_threads: 3, max_futures: 7, ..config(1) }, &registry);
    let first = pool.submit(sh("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")).unwrap();
    let second = pool.submit(sh("exit 0")).unwrap();
    let third = pool.submit(sh("exit 0").after(&[&first])).unwrap();
    let text = || prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let has = |line: &str| assert!(text().lines().any(|one| one == line), "{line} in {}", text());
    has("watchfire_pool_tasks_held{class=\"check\",lane=\"command\",waits_for=\"tasks\"} 1");
    second.wait().await;
    assert!(third.wait().await.success());
    has("watchfire_pool_task_wait_seconds_count{class=\"check\"} 3");
    has("watchfire_pool_tasks_held{class=\"check\",lane=\"command\",waits_for=\"tasks\"} 0");
    for line in
        ["slots{lane=\"command\"} 1", "slots{lane=\"thread\"} 3", "slots{lane=\"future\"} 7", "queue_capacity 1000"]
    {
        has(&format!("watchfire_pool_{line}"));
    }
    assert!(metric(&registry, "watchfire_pool_command_cpu_seconds_total") > 0.01);
    pool.reconfigure(PoolConfig { queue: 5, ..config(2) });
    has("watchfire_pool_slots{lane=\"command\"} 2");
    has("watchfire_pool_queue_capacity 5");
}

#[tokio::test]
async fn a_full_queue_is_an_error_with_a_name_and_does_not_keep_out_the_other_class() {
    let registry = Registry::new();
    let pool = pool_with(PoolConfig { queue: 2, ..config(1) }, &registry);
    let handles: Vec<Handle> = (0..3).map(|_| pool.submit(Task::command(SLEEP)).unwrap()).collect();
    let refused = pool.submit(Task::command(SLEEP)).map(|handle| handle.number()).unwrap_err();
    assert_eq!(refused, SubmitError::QueueFull { lane: Lane::Command, class: Class::Check, capacity: 2 });
    assert_eq!(refused.to_string(), "the pool's queue is full: 2 tasks wait (class check, lane command)");
    assert_eq!(metric(&registry, "watchfire_pool_tasks_rejected_total"), 1.0);
    let sink = pool.submit(Task::command(["true"]).class(Class::Sink)).unwrap();
    assert!(sink.wait().await.success(), "it has a place of its own, while the check goes on");
    assert!(handles[0].outcome().is_none());
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
}

#[tokio::test]
async fn who_asks_is_told_once_when_a_task_leaves_the_queue_and_never_of_one_that_does_not() {
    let pool = pool(1);
    let begun = Arc::new(Mutex::new(Vec::new()));
    let tell = |what: &'static str| {
        let begun = Arc::clone(&begun);
        move || begun.lock().unwrap().push(what)
    };
    let first = pool.submit(Task::command(SLEEP)).unwrap();
    let again = Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(1) };
    let second = sh("exit 1").retries(2, again).on_start(tell("second")).on_start(tell("and another"));
    let second = pool.submit(second.on_start(|| panic!("in a callback"))).unwrap();
    let third = pool.submit(Task::command(["true"]).on_start(tell("third"))).unwrap();
    let ends = pool.submit(Task::command(["true"]).after(&[&first]).on_start(tell("fourth"))).unwrap();
    assert!(third.cancel());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(*begun.lock().unwrap(), [""; 0], "they wait for a place");
    first.cancel();
    assert_eq!(second.wait().await.tries, 3);
    ends.wait().await;
    let mut begun = begun.lock().unwrap().clone();
    begun.sort_unstable();
    assert_eq!(begun, ["and another", "fourth", "second"]);
}

#[tokio::test]
async fn a_waiting_task_that_is_cancelled_never_runs() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let pool = pool(1);
    let first = pool.submit(Task::command(SLEEP)).unwrap();
    let second = pool.submit(Task::command(["touch".as_ref(), trace.as_os_str()])).unwrap();
    assert!(second.cancel());
    assert!(matches!(second.outcome().unwrap().status, Status::Cancelled));
    assert!(!second.cancel(), "it has ended");
    first.cancel();
    assert!(matches!(first.wait().await.status, Status::Cancelled));
    assert!(!first.cancel(), "it has ended");
    pool.shutdown(Queued::Drain, LONG).await;
    assert!(!trace.exists());
}

#[tokio::test]
async fn cancelling_a_running_task_ends_its_whole_group() {
    let pool = pool(1);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let handle = pool.submit(sh("sleep 1000 & echo $! > pid; wait").current_dir(dir.path())).unwrap();
    until("the pid is written", || std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n'))).await;
    let pid = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    assert!(alive(&pid));
    assert!(handle.cancel());
    assert!(matches!(handle.wait().await.status, Status::Cancelled));
    assert!(!alive(&pid));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_may_be_cancelled_at_any_moment_of_its_start() {
    let pool = pool(4);
    for delay in 0..60 {
        let handle = pool.submit(Task::command(SLEEP)).unwrap();
        tokio::task::spawn_blocking(move || std::thread::sleep(Duration::from_micros(delay * 40))).await.unwrap();
        assert!(handle.cancel());
        let outcome = handle.wait_timeout(LONG).await.expect("it ends");
        assert!(matches!(outcome.status, Status::Cancelled), "{}", outcome.status);
    }
}

#[tokio::test]
async fn waiting_with_a_limit_gives_up_and_can_be_repeated() {
    let pool = pool(1);
    let handle = pool.submit(sh("sleep 0.2; echo done")).unwrap();
    assert!(handle.wait_timeout(Duration::from_millis(10)).await.is_none());
    assert!(handle.outcome().is_none());
    let outcome = handle.wait_timeout(LONG).await.unwrap();
    assert_eq!(outcome.stdout.text(), "done\n");
    assert!(std::sync::Arc::ptr_eq(&outcome, &handle.wait().await));
}

#[tokio::test]
async fn a_task_whose_handle_is_dropped_runs_on() {
    let registry = Registry::new();
    let pool = pool_with(config(1), &registry);
    drop(pool.submit(Task::command(["true"])).unwrap());
    pool.shutdown(Queued::Drain, LONG).await;
    assert_eq!(metric(&registry, "watchfire_pool_tasks_started_total"), 1.0);
    assert_eq!(metric(&registry, "watchfire_pool_tasks_cancelled_total"), 0.0);
}

#[tokio::test]
async fn shutdown_may_drain_the_queue() {
    let pool = pool(1);
    let handles: Vec<Handle> = (0..3).map(|_| pool.submit(sh("sleep 0.03")).unwrap()).collect();
    pool.shutdown(Queued::Drain, LONG).await;
    assert!(handles.iter().all(|handle| handle.outcome().is_some_and(|outcome| outcome.success())));
}

#[tokio::test]
async fn shutdown_may_cancel_the_queue_and_lets_running_tasks_finish_within_the_grace_period() {
    let pool = pool(1);
    let handles: Vec<Handle> = (0..3).map(|_| pool.submit(sh("sleep 0.1")).unwrap()).collect();
    pool.shutdown(Queued::Cancel, LONG).await;
    let ends: Vec<String> = handles.iter().map(|handle| handle.outcome().unwrap().status.to_string()).collect();
    assert_eq!(ends, ["exited with code 0", "was cancelled", "was cancelled"]);
    assert!(matches!(pool.submit(Task::command(["true"])), Err(SubmitError::ShuttingDown)));
}

#[tokio::test]
async fn what_outlives_the_grace_period_is_killed_and_the_rest_of_the_queue_cancelled() {
    let pool = pool_with(PoolConfig { kill_grace: Duration::from_millis(200), ..config(2) }, &Registry::new());
    let stubborn = "trap '' TERM; while :; do sleep 0.02; done";
    let handles: Vec<Handle> = (0..4).map(|_| pool.submit(sh(stubborn)).unwrap()).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    pool.shutdown(Queued::Drain, Duration::from_millis(100)).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(handles.iter().all(|handle| matches!(handle.outcome().unwrap().status, Status::Cancelled)));
    pool.shutdown(Queued::Drain, LONG).await;
}

#[tokio::test]
async fn a_new_configuration_starts_those_who_wait_if_there_are_more_places() {
    let registry = Registry::new();
    let pool = pool_with(config(1), &registry);
    let handles: Vec<Handle> = (0..3).map(|_| pool.submit(Task::command(SLEEP)).unwrap()).collect();
    pool.reconfigure(config(3));
    assert_eq!(metric(&registry, "watchfire_pool_tasks_running"), 3.0);
    assert_eq!(metric(&registry, "watchfire_pool_tasks_queued"), 0.0);
    handles.iter().for_each(|handle| assert!(handle.cancel()));
    pool.reconfigure(config(0));
    let one = pool.submit(Task::command(["true"])).unwrap();
    assert!(one.wait().await.success(), "there is always one place");
}

#[tokio::test]
async fn every_end_is_counted_once_and_promtool_has_no_complaint() {
    let registry = Registry::new();
    let pool = pool_with(config(8), &registry);
    let tasks = [
        sh("true"),
        sh("exit 1"),
        sh("kill -KILL $$"),
        Task::command(["no-such-command"]),
        Task::command(SLEEP).timeout(Duration::from_millis(50)),
    ];
    let cancelled = pool.submit(Task::command(SLEEP)).unwrap();
    cancelled.cancel();
    for task in tasks {
        pool.submit(task).unwrap().wait().await;
    }
    cancelled.wait().await;
    let count = |name: &str| metric(&registry, &format!("watchfire_pool_tasks_{name}"));
    assert_eq!(count("started_total"), 6.0);
    assert_eq!(count("failed_total"), 3.0);
    assert_eq!(count("timed_out_total"), 1.0);
    assert_eq!(count("cancelled_total"), 1.0);
    assert_eq!((count("running"), count("queued"), count("rejected_total")), (0.0, 0.0, 0.0));
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    // The command that could not be started has no duration.
    assert!(text.contains("watchfire_pool_task_duration_seconds_count{lane=\"command\"} 5\n"), "{text}");

    let check = pool.submit(Task::command(["promtool", "check", "metrics"]).stdin(text)).unwrap().wait().await;
    match &check.status {
        // It is not everywhere.
        Status::NotStarted(error) if error.source.kind() == std::io::ErrorKind::NotFound => {}
        _ => assert!(check.success() && check.stderr.bytes.is_empty(), "{}", check.stderr.text()),
    }
}

#[tokio::test]
async fn two_pools_cannot_share_a_registry() {
    let registry = Registry::new();
    let _first = pool_with(config(1), &registry);
    assert!(Pool::new(config(1), &registry, tokio::runtime::Handle::current()).is_err());
}

#[test]
fn when_the_runtime_ends_its_commands_are_killed_and_the_handle_says_cancelled() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let first = runtime();
    let pool = Pool::new(config(1), &Registry::new(), first.handle().clone()).unwrap();
    let handle = pool.submit(sh("echo $$ > pid; exec sleep 1000").current_dir(dir.path())).unwrap();
    let waits = pool.submit(Task::command(SLEEP)).unwrap();
    let second = runtime();
    let written = || std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n'));
    second.block_on(until("the pid is written", written));
    drop(first);
    let pid = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    second.block_on(until("the command is gone", || !std::path::Path::new(&format!("/proc/{pid}")).exists()));
    assert!(matches!(second.block_on(handle.wait()).status, Status::Cancelled));
    assert!(waits.cancel());
    assert!(matches!(second.block_on(waits.wait()).status, Status::Cancelled));
}
