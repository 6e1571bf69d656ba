//! Rules over a past that is over: what they would have done, evaluation by evaluation.
//!
//! [`Needs`] says which series rules look at and how far back. A [`Replay`] is given their samples, and then every tick
//! that there was; at each it appends what came at that tick, ends the series that ended, and has the agent's own
//! [`RuleEngine`] evaluate what is due, as the agent did when it was live. Of what rules record it sees what they record
//! in the replay.

mod feed;
mod needs;
mod track;

#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus::Registry;

use super::{GroupSpec, RuleEngine, Settings};
use crate::history::{History, HistoryLimits, Point};
use crate::model::{Labels, SeriesTable, Timestamp};

pub use feed::Recorders;
pub use needs::{Needs, Read};
pub use track::{Instance, Replayed, Span, Stage, Trouble};

use feed::Feeds;
use needs::Own;
use track::Tracker;

/// When ticks are further apart than this, the agent was not running in between: what has lasted has not lasted on, as
/// over a restart.
pub fn longest_pause(scrape_interval: Duration) -> Duration {
    (scrape_interval * 5).max(Duration::from_secs(60))
}

/// Rules and what they look at, on their way through the past.
pub struct Replay {
    engine: RuleEngine,
    history: RwLock<History>,
    table: Arc<SeriesTable>,
    feeds: Feeds,
    own: Own,
    tracker: Tracker,
    pause: Duration,
    scrape_interval: Duration,
    /// The last tick, and the monotonic clock at it.
    last: Option<(Timestamp, Duration)>,
}

impl Replay {
    /// `needs` are those of the groups. `recorders`: what the agent's own rules gave, which is not sampled at every tick.
    /// The error is that of registering instruments twice.
    pub fn new(
        groups: Vec<GroupSpec>,
        needs: &Needs,
        settings: Settings,
        scrape_interval: Duration,
        recorders: Recorders,
    ) -> Result<Replay, String> {
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        let limits = HistoryLimits {
            // What a window begins with may have been appended a pause ago.
            retention: needs.furthest().unwrap_or(Duration::MAX).saturating_add(Duration::from_secs(3600)),
            max_bytes: usize::MAX,
            max_series: usize::MAX,
        };
        let engine = RuleEngine::new(groups, settings, table.clone(), &Registry::new()).map_err(|e| e.to_string())?;
        Ok(Replay {
            engine,
            history: RwLock::new(History::new(limits)),
            feeds: Feeds::new(table.clone(), recorders),
            table,
            own: needs.own().clone(),
            tracker: Tracker::default(),
            pause: longest_pause(scrape_interval),
            scrape_interval,
            last: None,
        })
    }

    /// Takes samples of a series, in order of time and later than the last tick. What the rules give themselves is left
    /// out.
    pub fn take(&mut self, labels: Labels, points: Vec<Point>) {
        if !self.own.gives(&labels) {
            self.feeds.take(labels, points);
        }
    }

    /// A tick at which nothing is evaluated yet.
    pub fn fill(&mut self, at: Timestamp) {
        self.feeds.append_until(at, self.history.get_mut().unwrap_or_else(PoisonError::into_inner));
    }

    /// A tick at which rules are evaluated; `shown`: whether what comes of it is part of the result.
    pub fn tick(&mut self, at: Timestamp, shown: bool) {
        self.fill(at);
        let mono = match self.last {
            None => Duration::ZERO,
            Some((last, mono)) => {
                let elapsed = Duration::from_millis(u64::try_from(at.millis_since(last)).unwrap_or(0));
                mono + if elapsed > self.pause { self.scrape_interval } else { elapsed }
            }
        };
        self.last = Some((at, mono));
        self.engine.evaluate(&self.history, at, mono);
        if shown {
            self.tracker.see(at, self.pause, &self.engine.view());
        }
    }

    /// Lets go of what no rule looks back on any more.
    pub fn forget(&mut self) {
        if let Some((last, _)) = self.last {
            self.history.get_mut().unwrap_or_else(PoisonError::into_inner).gc(last);
            self.table.sweep();
        }
    }

    /// What became of the alerts, in the order of the rules.
    pub fn finish(mut self) -> Vec<Replayed> {
        let last = self.last.map_or(Timestamp::MIN, |(last, _)| last);
        self.tracker.finish(last, &self.engine.view())
    }
}
