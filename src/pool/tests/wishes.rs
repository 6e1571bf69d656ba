//! Priorities, deadlines, further tries, dependencies, many at once, and output as it comes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::*;

const SLEEP: [&str; 2] = ["sleep", "1000"];

fn at_once() -> Backoff {
    Backoff::fixed(Duration::from_millis(5))
}

#[tokio::test]
async fn among_those_who_wait_the_higher_priority_goes_first() {
    let pool = pool(1);
    let order = Arc::new(Mutex::new(Vec::new()));
    let first = pool.submit(Task::command(SLEEP)).unwrap();
    let submit = |priority: i8| {
        let order = Arc::clone(&order);
        let task = Task::command(["true"]).priority(priority).then(move |_| order.lock().unwrap().push(priority));
        pool.submit(task).unwrap()
    };
    let handles = [0, -3, 7, 0, 100].map(submit);
    first.cancel();
    for handle in handles {
        handle.wait().await;
    }
    assert_eq!(*order.lock().unwrap(), [100, 7, 0, 0, -3]);
}

#[tokio::test]
async fn what_has_not_begun_by_its_deadline_is_not_begun() {
    let registry = Registry::new();
    let pool = pool_with(config(1), &registry);
    let first = pool.submit(Task::command(SLEEP)).unwrap();
    let began = Instant::now();
    let late = pool.submit(Task::command(["true"]).deadline(Duration::from_millis(100))).unwrap();
    let in_time = pool.submit(Task::command(["true"]).deadline(LONG)).unwrap();
    let outcome = late.wait().await;
    assert_eq!(outcome.status.to_string(), "had not begun after 100ms");
    assert!(began.elapsed() >= Duration::from_millis(100) && outcome.ran.is_zero() && outcome.tries == 0);
    assert_eq!(metric(&registry, "watchfire_pool_tasks_late_total"), 1.0);
    assert_eq!(metric(&registry, "watchfire_pool_tasks_queued"), 1.0);
    first.cancel();
    assert!(in_time.wait().await.success());
    pool.shutdown(Queued::Drain, LONG).await;
}

#[tokio::test]
async fn what_has_not_ended_by_its_deadline_is_ended() {
    let outcome = outcome(Task::command(SLEEP).deadline(Duration::from_millis(100))).await;
    assert!(matches!(outcome.status, Status::TimedOut { .. }), "{}", outcome.status);
    assert!(outcome.ran >= Duration::from_millis(90));
}

#[tokio::test]
async fn what_fails_is_tried_again_and_the_outcome_says_how_often() {
    let registry = Registry::new();
    let pool = pool_with(config(1), &registry);
    let dir = tempfile::tempdir().unwrap();
    let script = "echo x >> tries; [ $(wc -l < tries) = 3 ]";
    let callbacks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&callbacks);
    let task = sh(script).current_dir(dir.path()).retries(5, at_once()).then(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let outcome = pool.submit(task).unwrap().wait().await;
    assert!(outcome.success());
    assert_eq!((outcome.tries, callbacks.load(Ordering::SeqCst)), (3, 1));
    assert_eq!(metric(&registry, "watchfire_pool_tasks_retried_total"), 2.0);
    assert_eq!(metric(&registry, "watchfire_pool_tasks_started_total"), 3.0);
    assert_eq!(metric(&registry, "watchfire_pool_tasks_failed_total"), 0.0, "in the end it did not");

    let outcome = pool.submit(sh("exit 4").retries(2, at_once())).unwrap().wait().await;
    assert!(matches!(outcome.status, Status::Exited(4)));
    assert_eq!(outcome.tries, 3);
    let slow = Task::command(SLEEP).timeout(Duration::from_millis(20)).retries(1, at_once());
    let outcome = pool.submit(slow).unwrap().wait().await;
    assert!(matches!(outcome.status, Status::TimedOut { .. }));
    assert_eq!(outcome.tries, 2);
    pool.shutdown(Queued::Drain, LONG).await;
}

#[tokio::test]
async fn calls_and_futures_are_tried_again_if_they_can_be() {
    let pool = pool(1);
    let tries = Arc::new(AtomicUsize::new(0));
    let third = |tries: &Arc<AtomicUsize>| {
        if tries.fetch_add(1, Ordering::SeqCst) % 3 == 2 { Ok(Vec::new()) } else { Err("not yet".to_owned()) }
    };
    let call = Task::repeatable_call("x", {
        let tries = Arc::clone(&tries);
        move |_| third(&tries)
    });
    assert_eq!(pool.submit(call.retries(5, at_once())).unwrap().wait().await.tries, 3);
    let future = Task::repeatable_future("x", {
        let tries = Arc::clone(&tries);
        move || {
            let tries = Arc::clone(&tries);
            async move { third(&tries) }
        }
    });
    assert_eq!(pool.submit(future.retries(5, at_once())).unwrap().wait().await.tries, 3);
    let once = Task::call("x", |_| Err("no".into())).retries(5, at_once());
    assert_eq!(pool.submit(once).unwrap().wait().await.tries, 1);
}

#[tokio::test]
async fn a_task_that_waits_for_another_try_holds_no_place_and_can_be_cancelled() {
    let pool = pool(1);
    let patient = pool.submit(sh("exit 1").retries(9, Backoff::fixed(LONG))).unwrap();
    assert!(pool.submit(Task::command(["true"])).unwrap().wait().await.success());
    assert!(patient.outcome().is_none() && patient.cancel());
    let outcome = patient.outcome().unwrap();
    assert!(matches!(outcome.status, Status::Cancelled));
    assert_eq!(outcome.tries, 1);
    let last = pool.submit(sh("exit 1").retries(9, Backoff::fixed(LONG))).unwrap();
    pool.submit(Task::command(["true"])).unwrap().wait().await;
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
    assert!(last.outcome().is_some());
}

#[tokio::test]
async fn tasks_that_wait_for_another_try_do_not_pile_up_past_the_queue() {
    let registry = Registry::new();
    let pool = pool_with(PoolConfig { queue: 3, ..config(1) }, &registry);
    let failing = || sh("exit 1").retries(1, Backoff::fixed(LONG));
    let held = || metric(&registry, "watchfire_pool_tasks_held");
    for number in 1..=3_u8 {
        pool.submit(failing()).unwrap();
        until("it waits for another try", || held() >= f64::from(number)).await;
    }
    let refused = pool.submit(failing()).map(|handle| handle.number()).unwrap_err();
    assert_eq!(refused, SubmitError::QueueFull { lane: Lane::Command, class: Class::Check, capacity: 3 });
    assert!(pool.submit(sh("true")).unwrap().wait().await.success(), "what adds nothing up is run");
    assert!(pool.submit(failing().class(Class::Action)).is_ok(), "to each class its own");
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
    assert_eq!(held(), 0.0);
}

#[tokio::test]
async fn no_further_try_is_made_past_the_deadline() {
    let pool = pool(1);
    let hopeless = sh("exit 3").retries(9, Backoff::fixed(LONG)).deadline(Duration::from_secs(10));
    let outcome = pool.submit(hopeless).unwrap().wait().await;
    assert!(matches!(outcome.status, Status::Exited(3)), "{}", outcome.status);
    // The try after that waits for a place until it is too late: what became of the one before is what is known.
    let blocking = Task::command(SLEEP).priority(1);
    let deadline = Duration::from_secs(1);
    let task = sh("exit 3").retries(9, Backoff::fixed(Duration::from_millis(50))).deadline(deadline);
    let first = pool.submit(task).unwrap();
    let second = pool.submit(blocking).unwrap();
    let outcome = first.wait().await;
    assert!(matches!(outcome.status, Status::Exited(3)), "{}", outcome.status);
    assert_eq!(outcome.tries, 1);
    assert!(second.cancel());
    second.wait().await;
}

#[tokio::test]
async fn a_task_waits_for_others_without_a_place_in_the_queue() {
    let pool = pool_with(PoolConfig { queue: 1, ..config(1) }, &Registry::new());
    let first = pool.submit(Task::command(SLEEP)).unwrap();
    let failing = pool.submit(sh("exit 1")).unwrap();
    let after_any = pool.submit(sh("true").after(&[&first, &failing])).unwrap();
    let refused = pool.submit(sh("true").after(&[&first])).map(|handle| handle.number());
    assert_eq!(refused, Err(SubmitError::QueueFull { lane: Lane::Command, class: Class::Check, capacity: 1 }));
    first.cancel();
    failing.wait().await;
    assert!(after_any.wait().await.success());
    let after_that = pool.submit(sh("true").after_success(&[&after_any])).unwrap();
    assert!(after_that.wait().await.success(), "what it waits for had ended");
    let other = super::pool(1);
    let foreign = other.submit(sh("true").after(&[&after_any])).map(|handle| handle.number());
    assert_eq!(foreign, Err(SubmitError::OtherPool));
}

#[tokio::test]
async fn what_needs_a_task_that_fails_is_skipped_and_so_is_what_needs_that() {
    let registry = Registry::new();
    let pool = pool_with(config(2), &registry);
    let first = pool.submit(sh("sleep 0.05; exit 1").id("first")).unwrap();
    let slow = pool.submit(Task::command(SLEEP)).unwrap();
    let second = pool.submit(sh("true").id("second").after_success(&[&first, &slow])).unwrap();
    let third = pool.submit(sh("true").after_success(&[&second])).unwrap();
    let whatever = pool.submit(sh("true").after(&[&third])).unwrap();
    assert_eq!(second.wait().await.status.to_string(), "was skipped: \"first\", which it needs, did not succeed");
    assert!(slow.outcome().is_none(), "it need not wait for the rest");
    assert!(matches!(&third.wait().await.status, Status::Skipped { after } if after == "second"));
    assert!(whatever.wait().await.success());
    assert_eq!(metric(&registry, "watchfire_pool_tasks_skipped_total"), 2.0);
    let late = pool.submit(sh("true").after_success(&[&first])).unwrap();
    assert!(matches!(late.wait().await.status, Status::Skipped { .. }));
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
}

#[tokio::test]
async fn a_chain_of_a_thousand_runs_in_order() {
    let pool = pool_with(PoolConfig { queue: 2000, ..config(8) }, &Registry::new());
    let order = Arc::new(Mutex::new(Vec::new()));
    let first = pool.submit(Task::command(["sleep", "0.2"])).unwrap();
    let mut last = first;
    for number in 0..1000 {
        let order = Arc::clone(&order);
        let task = Task::future("link", async { Ok(Vec::new()) }).after_success(&[&last]);
        last = pool.submit(task.then(move |_| order.lock().unwrap().push(number))).unwrap();
    }
    assert!(last.wait().await.success());
    assert_eq!(*order.lock().unwrap(), (0..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn outcomes_of_many_inputs_come_in_their_order_and_no_more_run_at_a_time_than_asked_for() {
    let registry = Registry::new();
    let pool = pool_with(PoolConfig { queue: 0, ..config(4) }, &registry);
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let outcomes = pool
        .map(0..40, 3, |number| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let script = format!("sleep 0.0{}; echo {number}; exit {}", number % 3, number % 2);
            sh(&script).then(move |_| {
                running.fetch_sub(1, Ordering::SeqCst);
            })
        })
        .await;
    let said: Vec<String> = outcomes.iter().map(|outcome| outcome.stdout.text().trim().to_owned()).collect();
    assert_eq!(said, (0..40).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(outcomes.iter().enumerate().all(|(number, outcome)| outcome.success() == (number % 2 == 0)));
    assert!(most.load(Ordering::SeqCst) <= 3);
    assert!(metric(&registry, "watchfire_pool_tasks_running") == 0.0);
}

#[tokio::test]
async fn a_full_queue_is_waited_for_and_a_pool_that_stops_refuses_the_rest() {
    let pool = pool_with(PoolConfig { queue: 0, ..config(1) }, &Registry::new());
    let outcomes = pool.batch((0..20).map(|_| Task::command(["true"])), 10).await;
    assert!(outcomes.iter().all(|outcome| outcome.success()));
    let batch = tokio::spawn({
        let pool = pool.clone();
        async move { pool.batch((0..5).map(|_| Task::command(SLEEP)), 2).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
    let ends: Vec<String> = batch.await.unwrap().iter().map(|outcome| outcome.status.to_string()).collect();
    assert_eq!(ends[0], "was cancelled");
    assert_eq!(ends[4], "was not run: the pool is shutting down");
}

#[tokio::test]
async fn output_is_seen_as_it_comes_and_ends_with_the_task() {
    let pool = pool(1);
    let handle = pool.submit(sh("read line; echo out; sleep 0.1; echo err >&2").stdin(vec![b'x'; 100])).unwrap();
    let mut chunks = handle.output();
    let first = chunks.next().await.unwrap();
    assert_eq!((first.source, &*first.bytes), (Source::Stdout, &b"out\n"[..]));
    assert!(handle.outcome().is_none(), "it runs on");
    let second = chunks.next().await.unwrap();
    assert_eq!((second.source, &*second.bytes), (Source::Stderr, &b"err\n"[..]));
    assert!(chunks.next().await.is_none() && chunks.lost() == 0);
    assert!(handle.output().next().await.is_none(), "there will be no more");
    assert_eq!(handle.wait().await.stdout.text(), "out\n");
}

#[tokio::test]
async fn a_reader_of_output_that_is_slow_loses_some_and_never_slows_the_command() {
    let pool = pool(1);
    let handle = pool.submit(sh("sleep 0.1; head -c 20000000 /dev/zero").output_limit(10)).unwrap();
    let mut chunks = handle.output();
    assert!(handle.wait().await.success());
    let mut seen = 0;
    while let Some(chunk) = chunks.next().await {
        seen += chunk.bytes.len();
    }
    assert!(chunks.lost() > 0 && seen > 0 && seen <= 64 * 64 * 1024, "{} {seen}", chunks.lost());
}
