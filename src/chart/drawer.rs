//! Who draws: one picture at a time, within limits, over copies, on a thread of its own; a tick waits for none of it.
//!
//! That thread has the priority of any other: it has some hundredths of a second to work, and a message about a host that
//! has no CPU left is the one that most needs its picture.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;
use tokio::sync::{Semaphore, oneshot};

use super::draw::draw;
use super::read::{Subject, figure};
use crate::history::SharedHistory;
use crate::promql::{EvalOptions, STACK};

/// How long a picture may take, with the time that it waits for its turn.
const TIME: Duration = Duration::from_secs(2);
/// Samples that its evaluation may hold at once.
const MAX_SAMPLES: usize = 1_000_000;
/// Memory that they and the labels may take, in bytes.
const MAX_BYTES: usize = 16 << 20;
/// The last pictures, for several sinks that are told of one alert and for links in messages.
const KEPT: usize = 16;

/// A picture as it is sent: a PNG file.
pub type Png = Arc<Vec<u8>>;

/// Draws pictures of what alerts are about. Takes neither a thread nor memory before the first.
pub struct Drawer {
    /// Set once there is one.
    history: OnceLock<SharedHistory>,
    settings: ArcSwap<Settings>,
    /// The newest last.
    kept: Mutex<VecDeque<(Subject, Png)>>,
    turn: Arc<Semaphore>,
    /// How long a picture may take.
    time: Duration,
}

/// How expressions are evaluated.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Settings {
    /// `query.lookback_delta`
    pub lookback: Duration,
    /// `global.evaluation_interval`: the step of subqueries that name none.
    pub subquery_step: Duration,
}

impl Default for Drawer {
    fn default() -> Drawer {
        let EvalOptions { lookback, subquery_step, .. } = EvalOptions::default();
        Drawer {
            history: OnceLock::new(),
            settings: ArcSwap::from_pointee(Settings { lookback, subquery_step }),
            kept: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
            time: TIME,
        }
    }
}

impl Drawer {
    /// Pictures are of this history from now on.
    pub fn set_history(&self, history: SharedHistory) {
        let _ = self.history.set(history);
    }

    /// Other settings, from the next picture on.
    pub fn set(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// The picture; `None` where there is nothing to show, or where it would take too long.
    pub async fn picture(self: &Arc<Self>, subject: Subject) -> Option<Png> {
        let deadline = Instant::now() + self.time;
        tokio::time::timeout_at(deadline.into(), self.on_a_thread(subject, deadline)).await.ok()?
    }

    async fn on_a_thread(self: &Arc<Self>, subject: Subject, deadline: Instant) -> Option<Png> {
        if let Some(kept) = self.kept(&subject) {
            return Some(kept);
        }
        let turn = self.turn.clone().acquire_owned().await.ok()?;
        let (done, picture) = oneshot::channel();
        let given_up = GivenUp::default();
        let (drawer, canceled) = (self.clone(), given_up.0.clone());
        let thread = std::thread::Builder::new().name("watchfire-chart".to_string()).stack_size(STACK);
        let spawned = thread.spawn(move || {
            // A panic drops `done`: there is no picture, and the message goes without.
            let _ = done.send(drawer.picture_now(&subject, deadline, canceled));
            drop(turn);
        });
        if let Err(error) = spawned {
            tracing::debug!(%error, "no thread for a chart");
        }
        picture.await.ok()?
    }

    /// The picture, drawn on this thread, which is to have the [`STACK`] for it. Given up at the deadline,
    /// in no case later than two seconds from now, and when `canceled` is set.
    pub fn picture_now(&self, subject: &Subject, deadline: Instant, canceled: Arc<AtomicBool>) -> Option<Png> {
        if let Some(kept) = self.kept(subject) {
            return Some(kept);
        }
        let settings = self.settings.load();
        let options = EvalOptions {
            lookback: settings.lookback,
            subquery_step: settings.subquery_step,
            max_samples: MAX_SAMPLES,
            max_bytes: MAX_BYTES,
            deadline: Some(deadline.min(Instant::now() + self.time)),
            canceled: Some(canceled.clone()),
        };
        let figure = figure(self.history.get()?, subject, &options, || canceled.load(Ordering::Relaxed))?;
        let picture = Arc::new(draw(subject, &figure, &TimeZone::system())?);
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        all.truncate(KEPT - 1);
        all.push_front((subject.clone(), picture.clone()));
        Some(picture)
    }

    fn kept(&self, subject: &Subject) -> Option<Png> {
        let all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|(of, _)| of == subject).map(|(_, picture)| picture.clone())
    }
}

/// Tells the thread when nobody waits any more.
#[derive(Default)]
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::tests::{subject, up};

    /// For builds without optimisation on busy machines.
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_picture_is_drawn_once_for_all_who_ask_for_it() {
        let drawer = Arc::new(Drawer { time: LONG, ..Drawer::default() });
        assert!(drawer.picture(subject("use_ratio > 0.8", &[])).await.is_none(), "there is no history yet");
        drawer.set_history(up());
        let first = drawer.picture(subject("use_ratio > 0.8", &[])).await.unwrap();
        let again = drawer.picture(subject("use_ratio > 0.8", &[])).await.unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let kept = (0..KEPT).map(|n| (subject(&n.to_string(), &[]), first.clone()));
        *drawer.kept.lock().unwrap() = kept.collect();
        assert!(!Arc::ptr_eq(&first, &drawer.picture(subject("use_ratio > 0.8", &[])).await.unwrap()));
        assert_eq!(drawer.kept.lock().unwrap().len(), KEPT);
    }

    #[tokio::test]
    async fn what_takes_too_long_is_given_up_and_gives_its_turn_back() {
        let drawer = Drawer { time: Duration::from_millis(100), ..Drawer::default() };
        drawer.set_history(up());
        let shared = Arc::new(drawer);
        let turn = shared.turn.acquire().await.unwrap();
        assert!(shared.picture(subject("use_ratio > 0.8", &[])).await.is_none(), "it waits for its turn");
        drop(turn);
        let heavy = "sum_over_time(max_over_time(use_ratio[1h:1s])[1h:1s]) > 1";
        let began = Instant::now();
        assert!(shared.picture(subject(heavy, &[])).await.is_none());
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        let turn = tokio::time::timeout(LONG, shared.turn.acquire()).await;
        assert!(turn.is_ok(), "the thread has ended");
    }
}
