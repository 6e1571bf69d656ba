//! Reads that queries share: what several of them select at one time is looked up and decoded once.
//!
//! Rules of one host ask for the same series again and again. [`SharedReads`] is told of all queries that are evaluated
//! together ([`SharedReads::new`]), and gives a place to each selector that stands in more than one spot: the first
//! evaluation at a time fills it, the others look there. What the rules themselves give is never shared, as it changes
//! while they are evaluated.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::plan::{Extent, Selector, Shift};
use super::query::{Query, fixed_name};
use super::select::{Entry, Remembered};
use crate::history::{History, Point};
use crate::model::Timestamp;

/// Samples that all places may keep of one time: half a megabyte.
const MAX_POINTS: usize = 32 * 1024;

/// Milliseconds of the longest range that is kept; in longer ones most samples need not be read at all.
const MAX_RANGE: i64 = 3_600_000;

/// The places of one set of queries.
#[derive(Debug, Default)]
pub struct SharedReads {
    places: Vec<Arc<Shared>>,
}

/// What one selector reads at one time.
#[derive(Debug)]
pub struct Shared {
    /// The series, for as long as they are the same.
    pub remembered: Remembered,
    /// The longest range that is read of it, in milliseconds; 0 where it is only asked for the newest samples.
    longest: i64,
    /// How many samples more may be kept, in all places.
    left: Arc<AtomicUsize>,
    /// Taken for as long as a query goes through the samples. Queries that share a place are evaluated by one thread.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub struct State {
    /// The version of the history that was read.
    version: u64,
    at: i64,
    lookback: i64,
    /// With the newest sample of each series that has one.
    newest: Option<Vec<(usize, Point)>>,
    range: Option<Samples>,
}

/// Samples of all series, one series after the other.
#[derive(Debug, Default)]
struct Samples {
    points: Vec<Point>,
    ends: Vec<usize>,
    /// They were too many to be kept.
    too_many: bool,
}

impl SharedReads {
    /// Looks through queries that are evaluated together. `own`: names of the series that come of them.
    pub fn new<'q>(queries: impl Iterator<Item = &'q Query> + Clone, own: &HashSet<&str>) -> SharedReads {
        let mut uses: HashMap<String, (usize, i64)> = HashMap::new();
        for query in queries.clone() {
            query.each_selector(&mut |selector, range| {
                if let Some(key) = key(selector, own) {
                    let (count, longest) = uses.entry(key).or_default();
                    *count += 1;
                    if range <= MAX_RANGE {
                        *longest = (*longest).max(range);
                    }
                }
            });
        }
        let shared = uses.into_iter().filter(|(_, (count, _))| *count > 1);
        let left = Arc::new(AtomicUsize::new(MAX_POINTS));
        let place = |longest| Shared {
            remembered: Remembered::default(),
            longest,
            left: left.clone(),
            state: Mutex::default(),
        };
        let places: HashMap<String, Arc<Shared>> =
            shared.map(|(key, (_, longest))| (key, Arc::new(place(longest)))).collect();
        for query in queries {
            query.each_selector(&mut |selector, _| {
                if let Some(place) = key(selector, own).and_then(|key| places.get(&key)) {
                    selector.share(place.clone());
                }
            });
        }
        SharedReads { places: places.into_values().collect() }
    }

    /// Lets go of all samples: no query will be evaluated at the time of the last one again.
    pub fn release(&self) {
        for place in &self.places {
            place.reset(&mut place.lock(), State::default());
        }
    }
}

/// What tells selectors of the same series apart from others; nothing for one that cannot be shared.
fn key(selector: &Selector, own: &HashSet<&str>) -> Option<String> {
    let name = fixed_name(&selector.matchers)?;
    if selector.shift != Shift::default() || selector.extent != Extent::Range || own.contains(name) {
        return None;
    }
    let mut matchers: Vec<String> = selector.matchers.iter().map(|m| m.to_string()).collect();
    matchers.sort_unstable();
    matchers.dedup();
    let mut key = String::new();
    matchers.iter().for_each(|m| _ = writeln!(key, "{m}"));
    Some(key)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, without what was read of another version of history or at another time.
    fn state_at(&self, history: &History, at: i64, lookback: i64) -> MutexGuard<'_, State> {
        let version = history.version();
        let mut state = self.lock();
        if (state.version, state.at, state.lookback) != (version, at, lookback) {
            self.reset(&mut state, State { version, at, lookback, ..State::default() });
        }
        state
    }

    fn reset(&self, state: &mut State, new: State) {
        let old = std::mem::replace(state, new);
        self.left.fetch_add(old.range.map_or(0, |samples| samples.points.len()), Ordering::Relaxed);
    }

    /// Calls `take` with each series that has a sample within the lookback, and the newest one.
    pub fn newest<E>(
        &self,
        history: &History,
        entries: &[Entry],
        (at, lookback): (i64, i64),
        mut take: impl FnMut(&Entry, Point) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut state = self.state_at(history, at, lookback);
        let newest = state.newest.get_or_insert_with(|| {
            let after = Timestamp::from_millis(at.saturating_sub(lookback));
            let newest = |e: &Entry| history.get(e.id)?.newest(after, Timestamp::from_millis(at));
            entries.iter().enumerate().filter_map(|(i, e)| Some((i, newest(e)?))).collect()
        });
        for (i, point) in newest {
            if let Some(entry) = entries.get(*i) {
                take(entry, *point)?;
            }
        }
        Ok(())
    }

    /// Calls `take` with each series that has samples later than `start`, and these up to `at`. `None` where that is not
    /// shared, because it would be too much to keep.
    pub fn range<E>(
        &self,
        history: &History,
        entries: &[Entry],
        (start, at, lookback): (i64, i64, i64),
        mut take: impl FnMut(&Entry, &[Point]) -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        if start < at.saturating_sub(self.longest) {
            return None;
        }
        let mut state = self.state_at(history, at, lookback);
        let samples = state.range.get_or_insert_with(|| {
            // An eighth of all at most, as there are others.
            let most = self.left.load(Ordering::Relaxed).min(MAX_POINTS / 8);
            let samples = Samples::read(history, entries, (at.saturating_sub(self.longest), at), most);
            self.left.fetch_sub(samples.points.len(), Ordering::Relaxed);
            samples
        });
        if samples.too_many {
            return None;
        }
        let mut from = 0;
        for (entry, end) in entries.iter().zip(&samples.ends) {
            let points = samples.points.get(from..*end).unwrap_or(&[]);
            from = *end;
            let points = points.get(points.partition_point(|p| p.time <= start)..).unwrap_or(&[]);
            if !points.is_empty()
                && let Err(error) = take(entry, points)
            {
                return Some(Err(error));
            }
        }
        Some(Ok(()))
    }
}

impl Samples {
    /// Reads no more than `most` samples.
    fn read(history: &History, entries: &[Entry], (after, until): (i64, i64), most: usize) -> Samples {
        let (after, until) = (Timestamp::from_millis(after), Timestamp::from_millis(until));
        let mut samples = Samples::default();
        for entry in entries {
            if let Some(series) = history.get(entry.id) {
                series.read(after, until, &mut samples.points);
            }
            samples.ends.push(samples.points.len());
            if samples.points.len() > most {
                return Samples { too_many: true, ..Samples::default() };
            }
        }
        samples
    }
}
