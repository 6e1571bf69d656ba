//! Calls and futures, and what each kind of task means to the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use super::*;

const SLEEP: [&str; 2] = ["sleep", "1000"];

fn blocked(until: mpsc::Receiver<()>) -> Task {
    Task::call("blocked", move |_| {
        let _ = until.recv();
        Ok(b"at last".to_vec())
    })
}

#[tokio::test]
async fn what_a_call_or_a_future_answers_is_its_output_and_its_error_the_status() {
    let called = outcome(Task::call("x", |_| Ok(b"hello".to_vec()))).await;
    assert!(called.success() && called.started.is_some());
    assert_eq!((&*called.stdout.text(), called.tries), ("hello", 1));
    let failed = outcome(Task::call("x", |_| Err("no route".into()))).await;
    assert_eq!(failed.status.to_string(), "failed: no route");
    let awaited = outcome(Task::future("x", async { Ok(b"hello".to_vec()) })).await;
    assert!(awaited.success());
    assert_eq!(awaited.stdout.text(), "hello");
    let failed = outcome(Task::future("x", async { Err("no route".into()) })).await;
    assert!(matches!(&failed.status, Status::Failed(text) if text == "no route"), "{}", failed.status);
}

#[tokio::test]
async fn a_panic_is_an_outcome_and_the_place_is_free_again() {
    let pool = pool(1);
    pool.reconfigure(PoolConfig { max_threads: 1, max_futures: 1, ..config(1) });
    for _ in 0..3 {
        let call = pool.submit(Task::call("x", |_| panic!("by {}", "call"))).unwrap();
        assert_eq!(call.wait().await.status.to_string(), "panicked: by call");
        let future = pool.submit(Task::future("x", async { panic!("by future") })).unwrap();
        assert_eq!(future.wait().await.status.to_string(), "panicked: by future");
    }
    pool.shutdown(Queued::Drain, LONG).await;
}

#[tokio::test]
async fn a_future_that_overruns_its_time_or_is_cancelled_is_dropped() {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let forever = || {
        let dropped = Dropped(Arc::clone(&drops));
        Task::future("x", async move {
            let _dropped = dropped;
            std::future::pending().await
        })
    };
    let pool = pool(1);
    let late = pool.submit(forever().timeout(Duration::from_millis(30))).unwrap();
    assert!(matches!(late.wait().await.status, Status::TimedOut { .. }));
    let cancelled = pool.submit(forever()).unwrap();
    tokio::task::yield_now().await;
    assert!(cancelled.cancel());
    assert!(matches!(cancelled.wait().await.status, Status::Cancelled));
    assert_eq!(drops.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_call_that_overruns_its_time_is_left_behind_and_another_thread_takes_its_place() {
    let registry = Registry::new();
    let pool = pool_with(PoolConfig { max_threads: 1, ..config(1) }, &registry);
    let (release, until_released) = mpsc::channel();
    let began = Instant::now();
    let hanging = pool.submit(blocked(until_released).timeout(Duration::from_millis(50))).unwrap();
    let next = pool.submit(Task::call("x", |_| Ok(Vec::new()))).unwrap();
    assert!(matches!(hanging.wait().await.status, Status::TimedOut { .. }));
    assert!(next.wait().await.success());
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(metric(&registry, "watchfire_pool_threads_replaced_total"), 1.0);
    assert_eq!(metric(&registry, "watchfire_pool_threads_hanging"), 1.0);
    drop(release);
    until("it ends", || metric(&registry, "watchfire_pool_threads_hanging") == 0.0).await;
    assert!(matches!(hanging.wait().await.status, Status::TimedOut { .. }), "what it said too late is not heard");
    pool.shutdown(Queued::Drain, LONG).await;
}

#[tokio::test]
async fn when_too_many_calls_hang_further_ones_are_refused_until_they_end() {
    let pool = pool_with(PoolConfig { max_threads: 20, ..config(1) }, &Registry::new());
    let mut releases = Vec::new();
    let mut handles = Vec::new();
    for _ in 0..8 {
        let (release, until_released) = mpsc::channel();
        handles.push(pool.submit(blocked(until_released).timeout(Duration::from_millis(50))).unwrap());
        releases.push(release);
    }
    for handle in handles {
        handle.wait().await;
    }
    let call = || Task::call("x", |_| Ok(Vec::new()));
    let refused = pool.submit(call()).map(|handle| handle.number()).unwrap_err();
    assert_eq!(refused, SubmitError::ThreadsHang { threads: 8 });
    assert!(pool.submit(Task::command(["true"])).unwrap().wait().await.success(), "that is no matter to commands");
    releases.pop();
    let mut taken = pool.submit(call());
    while taken.is_err() {
        tokio::time::sleep(Duration::from_millis(2)).await;
        taken = pool.submit(call());
    }
    assert!(taken.unwrap().wait().await.success());
}

#[tokio::test]
async fn a_call_is_told_that_it_is_cancelled_and_may_end_by_itself() {
    let pool = pool(1);
    let told = Arc::new(AtomicBool::new(false));
    let call = Task::call("x", {
        let told = Arc::clone(&told);
        move |running| {
            while !running.is_cancelled() {
                std::thread::sleep(Duration::from_millis(1));
            }
            told.store(!running.left().is_zero(), Ordering::SeqCst);
            Ok(Vec::new())
        }
    });
    let handle = pool.submit(call).unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(handle.cancel());
    assert!(matches!(handle.wait().await.status, Status::Cancelled));
    assert!(told.load(Ordering::SeqCst));
}

#[tokio::test]
async fn lanes_have_places_of_their_own() {
    let pool = pool_with(PoolConfig { max_threads: 1, max_futures: 1, ..config(1) }, &Registry::new());
    let command = pool.submit(Task::command(SLEEP)).unwrap();
    let pending = pool.submit(Task::future("x", std::future::pending())).unwrap();
    assert!(pool.submit(Task::call("x", |_| Ok(Vec::new()))).unwrap().wait().await.success());
    let waits = pool.submit(Task::future("x", async { Ok(Vec::new()) })).unwrap();
    assert!(waits.wait_timeout(Duration::from_millis(30)).await.is_none());
    pending.cancel();
    assert!(waits.wait().await.success());
    command.cancel();
    pool.shutdown(Queued::Drain, LONG).await;
}

#[tokio::test]
async fn a_flood_of_long_checks_does_not_hold_up_notifications_and_these_do_not_keep_out_checks() {
    let pool = pool(1);
    let check = pool.submit(Task::command(SLEEP)).unwrap();
    let waiting = pool.submit(Task::command(["true"])).unwrap();
    let sinks: Vec<Handle> = (0..5).map(|_| pool.submit(sh("sleep 0.02").class(Class::Sink)).unwrap()).collect();
    for sink in &sinks {
        assert!(sink.wait().await.success());
    }
    assert!(check.outcome().is_none());
    let more: Vec<Handle> = (0..10).map(|_| pool.submit(sh("sleep 0.1").class(Class::Sink)).unwrap()).collect();
    check.cancel();
    assert!(waiting.wait().await.success());
    assert!(more.iter().any(|sink| sink.outcome().is_none()), "it did not have to wait for all of them");
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
}

#[tokio::test]
async fn long_checks_and_notifications_do_not_hold_up_an_action() {
    let pool = pool(1);
    let check = pool.submit(Task::command(SLEEP)).unwrap();
    let sink = pool.submit(Task::command(SLEEP).class(Class::Sink)).unwrap();
    let actions: Vec<Handle> = (0..3).map(|_| pool.submit(sh("true").class(Class::Action)).unwrap()).collect();
    for action in &actions {
        assert!(action.wait().await.success());
    }
    assert!(check.outcome().is_none() && sink.outcome().is_none());
    let first = pool.submit(Task::command(SLEEP).class(Class::Action)).unwrap();
    let second = pool.submit(sh("true").class(Class::Action)).unwrap();
    assert!(second.wait_timeout(Duration::from_millis(50)).await.is_none(), "there is one place more, not two");
    first.cancel();
    assert!(second.wait().await.success());
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
}

#[tokio::test]
async fn who_waits_sees_what_the_callback_did_and_a_panic_in_it_is_its_own() {
    let pool = pool(1);
    let seen = Arc::new(AtomicUsize::new(0));
    let count = || {
        let seen = Arc::clone(&seen);
        move |outcome: &Arc<Outcome>| {
            seen.fetch_add(if outcome.success() { 1 } else { 100 }, Ordering::SeqCst);
        }
    };
    let handle = pool.submit(Task::command(["true"]).then(count()).then(count())).unwrap();
    handle.wait().await;
    assert_eq!(seen.load(Ordering::SeqCst), 2);
    let first = pool.submit(Task::command(SLEEP).then(|_| panic!("in a callback"))).unwrap();
    let second = pool.submit(Task::command(["true"]).then(count())).unwrap();
    second.cancel();
    assert_eq!(seen.load(Ordering::SeqCst), 102);
    first.cancel();
    assert!(matches!(first.wait().await.status, Status::Cancelled));
    assert!(pool.submit(Task::command(["true"])).unwrap().wait().await.success());
}

#[tokio::test]
async fn a_callback_may_submit_the_next_task() {
    let pool = pool(1);
    let (next, begun) = mpsc::channel();
    let submit = pool.clone();
    let first = Task::command(["true"]).then(move |_| {
        let _ = next.send(submit.submit(Task::command(["echo", "second"])));
    });
    pool.submit(first).unwrap().wait().await;
    assert_eq!(begun.recv().unwrap().unwrap().wait().await.stdout.text(), "second\n");
}

#[tokio::test]
async fn the_latest_results_are_kept_by_id() {
    let pool = pool(1);
    assert!(pool.latest("disk").is_none());
    for code in 0..12 {
        let script = format!("head -c 5000 /dev/zero; exit {code}");
        pool.submit(sh(&script).id("disk")).unwrap().wait().await;
    }
    pool.submit(sh("exit 0")).unwrap().wait().await;
    let latest = pool.latest("disk").unwrap();
    assert!(matches!(latest.outcome.status, Status::Exited(11)));
    assert_eq!((latest.outcome.stdout.bytes.len(), latest.outcome.stdout.truncated), (4096, true));
    let codes: Vec<String> = latest.before.iter().map(|run| run.status.to_string()).collect();
    let expected: Vec<String> = (1..11).rev().map(|code| format!("exited with code {code}")).collect();
    assert_eq!(codes, expected);
    assert!(latest.before.windows(2).all(|pair| pair[0].ended >= pair[1].ended));
}

#[tokio::test]
async fn what_is_shown_of_an_output_has_no_secrets() {
    let pool = pool(1);
    let script = "echo \"$TOKEN and $PLAIN\"; echo \"+ curl -u $TOKEN\" >&2";
    let task = sh(script).id("curl").secret_env("TOKEN", "hunter2").env("PLAIN", "rabbit").once();
    let outcome = pool.submit(task).unwrap().wait().await;
    assert_eq!(outcome.stdout.text(), "hunter2 and rabbit\n", "whoever asked for the run reads what it wrote");
    let latest = pool.latest("curl").unwrap().outcome;
    assert_eq!((latest.stdout.text(), latest.stderr.text()), ("*** and rabbit\n".into(), "+ curl -u ***\n".into()));
    assert!(pool.retry("curl").is_err(), "it is run once");
}

#[tokio::test]
async fn a_call_that_answers_has_succeeded() {
    let outcome = pool(1).submit(Task::call("x", |_| Ok(b"it".to_vec()))).unwrap().wait().await;
    assert_eq!(
        (outcome.status.to_string(), outcome.success(), outcome.status.code()),
        ("succeeded".into(), true, None)
    );
}

#[tokio::test]
async fn what_makes_a_future_may_panic() {
    let pool = pool(1);
    pool.reconfigure(PoolConfig { max_futures: 1, ..config(1) });
    let make = || -> std::future::Ready<Answer> { panic!("cannot make it") };
    let bad = pool.submit(Task::repeatable_future("x", make)).unwrap();
    let next = pool.submit(Task::future("x", async { Ok(Vec::new()) })).unwrap();
    assert_eq!(bad.wait().await.status.to_string(), "panicked: cannot make it");
    assert!(next.wait().await.success());
}
