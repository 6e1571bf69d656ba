//! What runs on schedule.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::model::Timestamp;

fn every(millis: u64) -> Schedule {
    Schedule::Every { interval: Duration::from_millis(millis), jitter: Duration::ZERO }
}

/// Counts its runs.
fn counted(runs: &Arc<AtomicUsize>) -> impl Fn() -> Task + Send + Sync + use<> {
    let runs = Arc::clone(runs);
    move || {
        let runs = Arc::clone(&runs);
        Task::future("counted", async move {
            runs.fetch_add(1, Ordering::SeqCst);
            Ok(Vec::new())
        })
    }
}

#[tokio::test]
async fn a_task_runs_every_interval_until_it_is_taken_off_the_schedule() {
    let (pool, runs) = (pool(1), Arc::new(AtomicUsize::new(0)));
    pool.schedule("a", every(50), counted(&runs)).unwrap();
    tokio::time::sleep(Duration::from_millis(525)).await;
    let count = runs.load(Ordering::SeqCst);
    assert!((2..=11).contains(&count), "{count}");
    assert!(pool.latest("a").unwrap().outcome.success());
    assert!(pool.unschedule("a") && !pool.unschedule("a"));
    assert!(pool.latest("a").is_none());
    tokio::time::sleep(Duration::from_millis(20)).await;
    let count = runs.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert_eq!(runs.load(Ordering::SeqCst), count);
}

#[tokio::test]
async fn a_run_that_is_due_while_the_last_goes_on_is_left_out_and_counted() {
    let registry = Registry::new();
    let pool = pool_with(config(4), &registry);
    pool.schedule("slow", every(20), || sh("sleep 0.3")).unwrap();
    until("some are left out", || metric(&registry, "watchfire_pool_runs_skipped_total") >= 3.0).await;
    assert!(metric(&registry, "watchfire_pool_tasks_running") <= 1.0);
    assert!(matches!(pool.run_now("slow").map(|handle| handle.number()), Ok(_) | Err(RunError::Running)));
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
    assert_eq!(pool.schedule("x", every(20), || sh("true")), Err(ScheduleError::ShuttingDown));
}

#[tokio::test]
async fn a_run_that_the_pool_refuses_is_an_outcome() {
    let pool = pool_with(PoolConfig { queue: 0, ..config(1) }, &Registry::new());
    let _long = pool.submit(Task::command(["sleep", "1000"])).unwrap();
    pool.schedule("a", every(20), || Task::command(["true"])).unwrap();
    until("it is refused", || pool.latest("a").is_some()).await;
    let status = pool.latest("a").unwrap().outcome.status.to_string();
    assert_eq!(status, "was not run: the pool's queue is full: 0 tasks wait (class check, lane command)");
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
}

#[tokio::test]
async fn a_moment_that_has_passed_is_due_at_once_and_a_later_one_once() {
    let (pool, runs) = (pool(1), Arc::new(AtomicUsize::new(0)));
    pool.schedule("past", Schedule::At(Timestamp::from_millis(0)), counted(&runs)).unwrap();
    until("it has run", || runs.load(Ordering::SeqCst) == 1).await;
    let at = Timestamp::now() + Duration::from_millis(200);
    pool.schedule("soon", Schedule::At(at), counted(&runs)).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    until("it has run", || runs.load(Ordering::SeqCst) == 2).await;
    assert!(Timestamp::now() >= at);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert!(pool.run_now("soon").unwrap().wait().await.success(), "it can be run again");
}

#[tokio::test]
async fn one_runs_whenever_another_has_ended_and_none_after_itself() {
    let (pool, runs) = (pool(1), Arc::new(AtomicUsize::new(0)));
    let after = |id: &str| Schedule::After(id.to_owned());
    pool.schedule("b", after("a"), counted(&runs)).unwrap();
    pool.schedule("c", after("b"), counted(&runs)).unwrap();
    let circle = Err(ScheduleError::Circle("a".into()));
    assert_eq!(pool.schedule("a", after("c"), || sh("true")), circle);
    assert_eq!(pool.schedule("a", after("a"), || sh("true")), circle);
    for code in [0, 1] {
        pool.submit(sh(&format!("exit {code}")).id("a")).unwrap().wait().await;
        until("both have run", || runs.load(Ordering::SeqCst) == 2 * (code + 1)).await;
    }
    assert!(pool.unschedule("b"));
    pool.submit(sh("true").id("a")).unwrap().wait().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn what_makes_a_task_may_panic_and_the_others_run_on() {
    let (pool, runs) = (pool(1), Arc::new(AtomicUsize::new(0)));
    pool.schedule("bad", every(10), || panic!("cannot make it")).unwrap();
    pool.schedule("good", every(20), counted(&runs)).unwrap();
    until("the good one runs", || runs.load(Ordering::SeqCst) >= 3).await;
    assert_eq!(pool.run_now("bad").map(|handle| handle.number()), Err(RunError::Panicked));
    assert_eq!(pool.run_now("none").map(|handle| handle.number()), Err(RunError::Unknown));
}

#[tokio::test]
async fn a_schedule_that_is_replaced_lets_its_run_go_on_and_does_not_overlap_it() {
    let registry = Registry::new();
    let pool = pool_with(config(4), &registry);
    pool.schedule("a", Schedule::At(Timestamp::from_millis(0)), || Task::command(["sleep", "1000"])).unwrap();
    until("it runs", || metric(&registry, "watchfire_pool_tasks_running") == 1.0).await;
    pool.schedule("a", every(10), || Task::command(["sleep", "1000"])).unwrap();
    until("some are left out", || metric(&registry, "watchfire_pool_runs_skipped_total") >= 2.0).await;
    assert_eq!(metric(&registry, "watchfire_pool_tasks_running"), 1.0);
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
}

#[tokio::test]
async fn what_is_taken_off_the_schedule_while_it_runs_leaves_no_result() {
    let pool = pool(1);
    for waits in [false, true] {
        let before = waits.then(|| pool.submit(Task::command(["sleep", "1000"])).unwrap());
        pool.schedule("gone", every(3_600_000), || Task::command(["sleep", "1000"])).unwrap();
        let run = pool.run_now("gone").unwrap();
        assert!(pool.unschedule("gone"));
        assert_eq!(pool.cancel_id("gone"), 1);
        assert!(matches!(run.wait().await.status, Status::Cancelled));
        assert!(pool.latest("gone").is_none());
        assert_eq!(pool.retry("gone").map(|handle| handle.number()), Err(RunError::Unknown));
        before.iter().for_each(|before| assert!(before.cancel()));
    }
}
