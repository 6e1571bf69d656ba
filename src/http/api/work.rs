//! Where queries run: on threads of their own, few at a time, each within its limits and only while its client waits.
//!
//! They have less claim to the CPU than the rest of the agent, and what they look at is a copy (see
//! [`history::excerpt`](crate::history::excerpt)): a tick neither waits for them nor has to share with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::config::QueryConfig;
use super::error::{ApiError, Kind};
use crate::promql::STACK;

/// How much less than the agent's own threads those of queries count for the scheduler.
const NICE: i32 = 10;
/// Requests that wait for their turn, at most.
const MAX_WAITING: usize = 100;
/// Samples of results for which memory is counted together.
const UNIT: usize = 1024;

/// Runs queries.
pub(super) struct Workers {
    limits: ArcSwap<Limits>,
    waiting: AtomicUsize,
    /// How many may wait.
    max_waiting: usize,
    instruments: Instruments,
}

struct Limits {
    config: QueryConfig,
    places: Arc<Semaphore>,
    /// Units of samples that results may take while clients fetch them.
    results: Arc<Semaphore>,
}

impl Limits {
    fn new(config: QueryConfig) -> Limits {
        let units = config.max_samples.saturating_mul(2) / UNIT + MAX_WAITING;
        Limits {
            places: Arc::new(Semaphore::new(config.max_concurrency)),
            results: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))),
            config,
        }
    }
}

/// Metrics about queries.
struct Instruments {
    running: IntGauge,
    /// By how they ended.
    ended: IntCounterVec,
}

impl Instruments {
    fn new(registry: &Registry) -> prometheus::Result<Instruments> {
        let ended = Opts::new("watchfire_queries_total", "Queries over HTTP, by how they ended.");
        let instruments = Instruments {
            running: IntGauge::new("watchfire_queries_running", "Queries over HTTP that are being evaluated.")?,
            ended: IntCounterVec::new(ended, &["outcome"])?,
        };
        registry.register(Box::new(instruments.running.clone()))?;
        registry.register(Box::new(instruments.ended.clone()))?;
        Ok(instruments)
    }
}

/// Says to a thread at work that nobody waits for its result any more.
#[derive(Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub fn flag(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }
}

/// Sets it when the request is answered or given up.
struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// Counts a query when it has ended.
struct Ended<'a> {
    counter: &'a IntCounterVec,
    outcome: &'static str,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.counter.with_label_values(&[self.outcome]).inc();
    }
}

/// Counts one that waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// `connections`: how many the server takes. Those that wait leave half of them to others.
    pub fn new(registry: &Registry, connections: usize) -> prometheus::Result<Workers> {
        Ok(Workers {
            limits: ArcSwap::from_pointee(Limits::new(QueryConfig::default())),
            waiting: AtomicUsize::new(0),
            max_waiting: MAX_WAITING.min(connections / 2),
            instruments: Instruments::new(registry)?,
        })
    }

    /// Other limits from the next query on.
    pub fn set(&self, config: QueryConfig) {
        self.limits.store(Arc::new(Limits::new(config)));
    }

    pub fn config(&self) -> QueryConfig {
        self.limits.load().config.clone()
    }

    /// Runs one piece of work, and gives the time for which it waited besides. It is to look at its [`Stop`] now and
    /// then.
    pub async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&Stop) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<(T, Duration), ApiError> {
        // A request that is given up ends here, in the middle.
        let mut ended = Ended { counter: &self.instruments.ended, outcome: "canceled" };
        let result = self.run_uncounted(deadline, work).await;
        ended.outcome = match &result {
            Ok(_) => "success",
            Err(error) => match error.kind {
                Kind::Timeout => "timeout",
                Kind::Canceled => "canceled",
                Kind::Unavailable => "rejected",
                _ => "error",
            },
        };
        result
    }

    async fn run_uncounted<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&Stop) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<(T, Duration), ApiError> {
        let asked = Instant::now();
        let place = self.place(deadline).await?;
        let waited = asked.elapsed();
        let (done, result) = oneshot::channel();
        let stop = Stop::default();
        let _given_up = StopOnDrop(stop.clone());
        let running = self.instruments.running.clone();
        let thread = std::thread::Builder::new().name("watchfire-query".to_string()).stack_size(STACK);
        let spawned = thread.spawn(move || {
            running.inc();
            // Where it is refused the thread counts as any other.
            let _ = rustix::process::setpriority_process(None, NICE);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&stop)));
            running.dec();
            drop(place);
            if let Ok(result) = result {
                let _ = done.send(result);
            }
        });
        spawned.map_err(|e| ApiError::new(Kind::Unavailable, format!("no thread for the query: {e}")))?;
        match result.await {
            Ok(result) => Ok((result?, waited)),
            Err(_) => Err(ApiError::new(Kind::Internal, "the evaluation panicked (a bug: please report it)")),
        }
    }

    /// A place among those that run, when there is one.
    async fn place(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, ApiError> {
        let places = self.limits.load().places.clone();
        if let Ok(place) = places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let _waiting = Waiting(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.max_waiting {
            return Err(ApiError::new(Kind::Unavailable, "too many queries are waiting, try again later"));
        }
        match tokio::time::timeout_at(deadline.into(), places.acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(ApiError::new(Kind::Timeout, "query timed out in query queue")),
        }
    }

    /// Room for a result of so many samples until the client has it.
    pub fn keep(&self, samples: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let units = u32::try_from(samples / UNIT + 1).unwrap_or(u32::MAX);
        let results = self.limits.load().results.clone();
        results
            .try_acquire_many_owned(units)
            .map_err(|_| ApiError::new(Kind::Unavailable, "too many large results are being fetched, try again later"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(config: QueryConfig) -> Arc<Workers> {
        let workers = Workers::new(&Registry::new(), 4).unwrap();
        workers.set(config);
        Arc::new(workers)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[tokio::test]
    async fn only_so_many_run_at_a_time_and_who_waits_too_long_is_told() {
        let workers = workers(QueryConfig { max_concurrency: 1, ..QueryConfig::default() });
        let (release, held) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn({
            let workers = workers.clone();
            async move { workers.run(soon(), move |_| Ok(held.recv().is_ok())).await }
        });
        while workers.instruments.running.get() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let deadline = Instant::now() + Duration::from_millis(50);
        let second = workers.run(deadline, |_| Ok(())).await.unwrap_err();
        assert_eq!((second.kind, second.message.as_str()), (Kind::Timeout, "query timed out in query queue"));
        release.send(()).unwrap();
        assert!(first.await.unwrap().unwrap().0);
        assert!(workers.run(soon(), |_| Ok(())).await.is_ok(), "the place is free again");
    }

    #[tokio::test]
    async fn those_that_wait_leave_half_of_the_connections_to_others() {
        let workers = workers(QueryConfig { max_concurrency: 1, ..QueryConfig::default() });
        let place = workers.place(soon()).await.unwrap();
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let workers = workers.clone();
                tokio::spawn(async move { workers.place(soon()).await.map(drop) })
            })
            .collect();
        while workers.waiting.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(workers.place(soon()).await.unwrap_err().kind, Kind::Unavailable);
        drop(place);
        for each in waiting {
            assert!(each.await.unwrap().is_ok());
        }
        assert_eq!(workers.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn work_whose_client_has_gone_is_told_to_stop() {
        let workers = workers(QueryConfig::default());
        let (said, seen) = std::sync::mpsc::channel();
        let work = move |stop: &Stop| {
            while !stop.is_set() {
                std::thread::sleep(Duration::from_millis(1));
            }
            said.send(()).unwrap();
            Ok(())
        };
        let request = workers.run(soon(), work);
        assert!(tokio::time::timeout(Duration::from_millis(50), request).await.is_err());
        seen.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(workers.instruments.ended.with_label_values(&["canceled"]).get(), 1);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_gives_its_place_back() {
        let workers = workers(QueryConfig { max_concurrency: 1, ..QueryConfig::default() });
        for _ in 0..2 {
            let error = workers.run::<()>(soon(), |_| panic!("on purpose")).await.unwrap_err();
            assert_eq!(error.kind, Kind::Internal);
        }
    }

    #[test]
    fn results_that_clients_do_not_fetch_take_no_more_than_their_room() {
        let workers = workers(QueryConfig { max_samples: 1_000_000, ..QueryConfig::default() });
        let first = workers.keep(1_000_000).unwrap();
        let _second = workers.keep(1_000_000).unwrap();
        assert_eq!(workers.keep(1_000_000).unwrap_err().kind, Kind::Unavailable);
        assert!(workers.keep(10).is_ok(), "small ones have room");
        drop(first);
        assert!(workers.keep(1_000_000).is_ok());
    }
}
