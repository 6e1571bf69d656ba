//! Series on their way into history, tick by tick; and where they end.
//!
//! The staleness markers that say where a series ended are in no answer to a query. They can be told all the same: a
//! series that is sampled has a sample at every tick, so it ended at the first tick that it has none at; and one that a
//! rule recorded has one at every evaluation.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use crate::history::{History, Point};
use crate::model::{Labels, Series, SeriesTable, Timestamp};
use crate::rules::rule::{ALERT_NAME, ALERTS, ALERTS_FOR_STATE};

/// The intervals at which rules gave series, by what they record and by the names of their alerts.
#[derive(Clone, Default, Debug)]
pub struct Recorders {
    pub records: HashMap<String, Duration>,
    pub alerts: HashMap<String, Duration>,
    /// Of alerts whose rule is gone.
    pub otherwise: Duration,
}

impl Recorders {
    /// In milliseconds; nothing for a series that no rule gave.
    fn interval(&self, labels: &Labels) -> Option<i64> {
        let interval = match labels.metric_name() {
            ALERTS | ALERTS_FOR_STATE => *self.alerts.get(labels.get(ALERT_NAME)).unwrap_or(&self.otherwise),
            name => *self.records.get(name)?,
        };
        Some(i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1))
    }
}

struct Feed {
    series: Arc<Series>,
    /// Of the rule that recorded it.
    recorded_every: Option<i64>,
    points: Vec<Point>,
    /// The place of the next point.
    next: usize,
    /// When it had its last sample; nothing before the first, and once it has ended.
    last: Option<i64>,
}

pub struct Feeds {
    table: Arc<SeriesTable>,
    recorders: Recorders,
    feeds: Vec<Feed>,
    places: HashMap<Labels, usize>,
}

impl Feeds {
    pub fn new(table: Arc<SeriesTable>, recorders: Recorders) -> Feeds {
        Feeds { table, recorders, feeds: Vec::new(), places: HashMap::new() }
    }

    /// Takes samples, in order of time; some of them may be there already.
    pub fn take(&mut self, labels: Labels, points: Vec<Point>) {
        let place = match self.places.entry(labels) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let labels = entry.key().clone();
                self.feeds.push(Feed {
                    recorded_every: self.recorders.interval(&labels),
                    series: self.table.intern(labels),
                    points: Vec::new(),
                    next: 0,
                    last: None,
                });
                *entry.insert(self.feeds.len() - 1)
            }
        };
        let Some(feed) = self.feeds.get_mut(place) else { return };
        feed.points.drain(..feed.next);
        feed.next = 0;
        if feed.points.is_empty() {
            feed.points = points;
        } else {
            // Two selectors may have found it.
            feed.points.extend(points);
            feed.points.sort_by_key(|p| p.time);
            feed.points.dedup_by_key(|p| p.time);
        }
    }

    /// Has the samples up to a tick appended, and none of later ones: a rule must not see what is to come.
    pub fn append_until(&mut self, tick: Timestamp, history: &mut History) {
        let at = tick.as_millis();
        for feed in &mut self.feeds {
            while let Some(point) = feed.points.get(feed.next).copied().filter(|p| p.time <= at) {
                feed.end_before(point.time, history);
                history.append(&feed.series, Timestamp::from_millis(point.time), point.value);
                feed.last = Some(point.time);
                feed.next += 1;
            }
            feed.end_before(at.saturating_add(1), history);
            if feed.last.is_some_and(|last| last < at) && feed.recorded_every.is_none() {
                feed.end(at, history);
            }
        }
    }
}

impl Feed {
    /// Ends a recorded series that had no sample at an evaluation before this time.
    fn end_before(&mut self, time: i64, history: &mut History) {
        let (Some(last), Some(interval)) = (self.last, self.recorded_every) else { return };
        // Half an interval for an evaluation that was late.
        if time.saturating_sub(last) > interval.saturating_add(interval / 2) {
            self.end(last.saturating_add(interval), history);
        }
    }

    fn end(&mut self, at: i64, history: &mut History) {
        history.mark_stale(&self.series, Timestamp::from_millis(at));
        self.last = None;
    }
}
