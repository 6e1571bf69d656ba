//! Very many tasks, and a host that lacks what they need.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::leaks::{alone, leaves_nothing};
use super::*;
use crate::fuzz::peak_of;

const MANY: usize = 10_000;

/// A check as people configure them.
fn check(number: usize) -> Task {
    Task::command([
        "/usr/lib/nagios/plugins/check_http",
        "-H",
        "www.example.org",
        "-u",
        "/health",
        "-w",
        "2",
        "-c",
        "5",
    ])
    .name("check_http")
    .id(format!("check-{number}"))
    .env("LANG", "C.UTF-8")
    .env("WATCHFIRE_CHECK", format!("check-{number}"))
    .timeout(Duration::from_secs(10))
    .deadline(Duration::from_secs(60))
    .retries(2, Backoff::default())
    .then(move |outcome| drop((Arc::clone(outcome), number)))
}

#[tokio::test]
async fn ten_thousand_waiting_tasks_take_at_most_20_megabytes() {
    let pool = pool_with(PoolConfig { queue: MANY, ..config(1) }, &Registry::new());
    let _first = pool.submit(Task::command(["sleep", "1000"])).unwrap();
    let (handles, peak) = peak_of(|| (0..MANY).map(|number| pool.submit(check(number)).unwrap()).collect::<Vec<_>>());
    println!("{} bytes for each", peak / MANY);
    assert!(peak < 20_000_000, "{peak}");
    assert_eq!(handles.len(), MANY);
    let (_, peak) = peak_of(|| pool.view());
    assert!(peak < 20_000_000, "{peak}");
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
}

#[tokio::test]
async fn results_of_ever_new_ids_do_not_add_up() {
    let pool = pool(1);
    let first = pool.submit(Task::command(["sleep", "1000"])).unwrap();
    let used = |from: usize| {
        peak_of(|| {
            for number in from..from + 12_000 {
                let task = pool.submit(Task::command(["true"]).id(format!("once-{number}"))).unwrap();
                task.cancel();
            }
        })
        .1
    };
    let filled = used(0);
    let more = used(12_000);
    assert!(more < filled / 2, "{filled} {more}");
    assert!(pool.latest("once-0").is_none() && pool.latest("once-23999").is_some());
    first.cancel();
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
}

#[test]
fn ten_thousand_tasks_cancelled_at_once_leave_nothing() {
    alone(module_path!(), "ten_thousand_tasks_cancelled_at_once_leave_nothing", || {
        leaves_nothing(async |pool: Pool| {
            pool.reconfigure(PoolConfig { queue: MANY, ..config(8) });
            let told = Arc::new(AtomicUsize::new(0));
            let task = || {
                let told = Arc::clone(&told);
                Task::command(["sleep", "1000"]).then(move |_| {
                    told.fetch_add(1, Ordering::SeqCst);
                })
            };
            let handles: Vec<Handle> = (0..MANY).map(|_| pool.submit(task()).unwrap()).collect();
            let dependent = pool.submit(task().after(&handles.iter().collect::<Vec<_>>())).unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            let began = Instant::now();
            assert!(dependent.cancel());
            handles.iter().for_each(|handle| assert!(handle.cancel()));
            for handle in &handles {
                assert!(matches!(handle.wait().await.status, Status::Cancelled));
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
            assert_eq!(told.load(Ordering::SeqCst), MANY + 1);
        });
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_while_tasks_run_loses_none() {
    let registry = Registry::new();
    let pool = pool_with(PoolConfig { queue: 1000, ..config(4) }, &registry);
    let every = Schedule::Every { interval: Duration::from_millis(15), jitter: Duration::ZERO };
    pool.schedule("tick", every.clone(), || Task::command(["true"])).unwrap();
    let task = |number: usize| match number % 4 {
        0 => sh("sleep 0.01"),
        1 => Task::call("x", |_| Ok(Vec::new())),
        2 => Task::future("x", async { Ok(Vec::new()) }).class(Class::Sink),
        _ => Task::command(["true"]).class(Class::Sink),
    };
    let handles: Vec<Handle> = (0..200).map(|number| pool.submit(task(number)).unwrap()).collect();
    let mut reloads = 0;
    while handles.iter().any(|handle| handle.outcome().is_none()) {
        reloads += 1;
        let places = reloads % 7;
        let config = PoolConfig { max_threads: places, max_futures: places, queue: places, ..config(places) };
        pool.reconfigure(config);
        pool.schedule("tick", every.clone(), || Task::command(["true"])).unwrap();
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    for handle in &handles {
        assert!(handle.wait().await.success(), "{}", handle.wait().await.status);
    }
    pool.shutdown(Queued::Drain, LONG).await;
    assert_eq!(metric(&registry, "watchfire_pool_tasks_running"), 0.0);
    assert_eq!(metric(&registry, "watchfire_pool_tasks_failed_total"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_end_at_the_very_moment_of_their_time_limit_have_one_end() {
    let pool = pool(4);
    let tasks = (0..60).map(|number| {
        sh("exec sleep 0.05").timeout(Duration::from_micros(50_000 + 100 * number)).kill_grace(Duration::ZERO)
    });
    for outcome in pool.batch(tasks, 4).await {
        assert!(matches!(outcome.status, Status::Exited(0) | Status::TimedOut { .. }), "{}", outcome.status);
    }
    pool.shutdown(Queued::Drain, LONG).await;
}

#[test]
fn without_free_memory_a_thread_is_not_begun_and_the_pool_recovers() {
    alone(module_path!(), "without_free_memory_a_thread_is_not_begun_and_the_pool_recovers", || {
        leaves_nothing(async |pool: Pool| {
            let call = || Task::call("x", |_| Ok(Vec::new()));
            assert!(pool.submit(sh("true")).unwrap().wait().await.success());
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
            let size: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
            let limits = rustix::process::getrlimit(rustix::process::Resource::As);
            let full = rustix::process::Rlimit { current: Some((size + 1024) * 1024), ..limits };
            rustix::process::setrlimit(rustix::process::Resource::As, full).unwrap();
            let outcome = pool.submit(call()).unwrap().wait().await;
            let small = pool.submit(sh("true")).unwrap().wait().await;
            rustix::process::setrlimit(rustix::process::Resource::As, limits).unwrap();
            let Status::NotStarted(error) = &outcome.status else { panic!("{}", outcome.status) };
            assert_eq!(error.step, StartStep::Worker);
            // It inherits the agent's limit, which is enough for a shell or is not.
            assert!(matches!(small.status, Status::Exited(_) | Status::Signaled(_)), "{}", small.status);
            assert!(pool.submit(call()).unwrap().wait().await.success());
            assert!(pool.submit(sh("true")).unwrap().wait().await.success());
        });
    });
}
