use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use prometheus::Registry;

use super::*;
use crate::checks::board::{Placed, Standing};
use crate::checks::{Checks, Probing};
use crate::pool::{Pool, PoolConfig, Queued};
use crate::yaml::{Document, Faults};

/// Returns when it is told to; counts how often it began.
struct Stuck {
    begun: AtomicUsize,
    told: Mutex<Receiver<()>>,
}

impl Look for Stuck {
    fn look(&self, _: &mut Families) -> Verdict {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let _ = self.told.lock().unwrap().recv();
        Verdict::ok("here again")
    }
}

fn stuck() -> (Arc<Stuck>, Sender<()>) {
    let (tell, told) = channel();
    (Arc::new(Stuck { begun: AtomicUsize::new(0), told: Mutex::new(told) }), tell)
}

/// A check of this kind, with this time for a run.
fn ready(kind: Kind, timeout: &str) -> Arc<Ready> {
    let yaml = format!("- {{name: nfs, file: {{path: /mnt/x}}, timeout: {timeout}, interval: 1h}}\n");
    let mut faults = Faults::default();
    let checks: Checks = Document::parse("c.yaml", &yaml, &mut faults).read(&mut faults);
    assert!(faults.is_empty(), "{faults}");
    let check = checks.0.into_iter().next().unwrap();
    let (labels, board) = (check.labels(), Arc::new(Board::default()));
    let standing = Standing::new("nfs".into(), labels.clone(), check.config.interval, check.config.timeout);
    let ticket = board.set(vec![Placed::New(standing)]).remove(0);
    Arc::new(Ready { check, kind, labels, ticket, board, underway: Underway::default() })
}

/// What the board says after a run.
async fn run(pool: &Pool, ready: &Arc<Ready>) -> (Ended, String) {
    let before = ready.board.all()[0].runs;
    pool.submit(ready.task()).unwrap().wait().await;
    let standing = ready.board.all().remove(0);
    let counted = standing.runs.iter().zip(before).position(|(now, before)| *now > before).unwrap();
    (Ended::ALL[counted], standing.last.as_ref().unwrap().verdict.summary.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_look_hangs_the_next_runs_say_so_and_take_no_thread_and_when_it_returns_all_is_as_before() {
    let pool = Pool::new(PoolConfig::default(), &Registry::new(), tokio::runtime::Handle::current()).unwrap();
    let (look, tell) = stuck();
    let ready = ready(Kind::Look(look.clone()), "100ms");
    assert_eq!(run(&pool, &ready).await, (Ended::Timeout, "timed out after 100ms".to_string()));
    // More than the pool would leave behind.
    for _ in 0..12 {
        let (ended, summary) = run(&pool, &ready).await;
        assert_eq!(ended, Ended::With(State::Critical));
        assert!(summary.starts_with("the run of ") && summary.ends_with("s ago has not returned"), "{summary}");
    }
    assert_eq!(look.begun.load(Ordering::SeqCst), 1);

    tell.send(()).unwrap();
    let begun = Instant::now();
    while ready.underway.since().is_some() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not return");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tell.send(()).unwrap();
    assert_eq!(run(&pool, &ready).await, (Ended::With(State::Ok), "here again".to_string()));
    pool.shutdown(Queued::Cancel, Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_that_panics_does_not_count_as_one_that_hangs() {
    struct Broken;
    impl Look for Broken {
        fn look(&self, _: &mut Families) -> Verdict {
            panic!("a bug");
        }
    }
    let pool = Pool::new(PoolConfig::default(), &Registry::new(), tokio::runtime::Handle::current()).unwrap();
    let ready = ready(Kind::Look(Arc::new(Broken)), "1m");
    for _ in 0..2 {
        assert_eq!(run(&pool, &ready).await.0, Ended::Failed);
    }
    pool.shutdown(Queued::Cancel, Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_that_is_cut_off_has_not_succeeded() {
    struct Endless;
    impl Probe for Endless {
        fn probe<'a>(&'a self, _: Duration, _: &'a mut Families) -> Probing<'a> {
            Box::pin(std::future::pending())
        }
    }
    let pool = Pool::new(PoolConfig::default(), &Registry::new(), tokio::runtime::Handle::current()).unwrap();
    let ready = ready(Kind::Probe(Arc::new(Endless)), "100ms");
    assert_eq!(run(&pool, &ready).await.0, Ended::Timeout);
    let standing = ready.board.all().remove(0);
    let names: Vec<_> = standing.found(Instant::now()).iter().map(|family| &*family.name).collect();
    assert_eq!(names, ["probe_success"]);
    pool.shutdown(Queued::Cancel, Duration::from_secs(1)).await;
}
