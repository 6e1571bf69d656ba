//! Series in memory: what the rules look back on.
//!
//! A [`History`] is an array of series by [`SeriesId`]. A tick is appended by index: the [`Snapshot`]'s layouts name
//! the series, and in a steady tick nothing is hashed or allocated. Each series has a *head*, a small stream that is
//! cheap to append to, and *sealed chunks*, compressed by the shortest of several encodings. Beside them stands the
//! label index, by which selectors find series.
//!
//! A history is plain data; whoever shares it puts it behind one [`RwLock`](std::sync::RwLock)
//! ([`SharedHistory`]). The tick thread holds the write lock while it appends (a fraction of a millisecond) and read
//! locks while it evaluates rules; who has more to do takes an [`excerpt`] and works on that, so that no request can hold
//! up a tick.
//!
//! What is in memory is what counts. If it is given a place on the disk ([`History::open`]), it is read from there at the
//! start and written there as it comes, by a thread that nobody waits for.

mod chunk;
mod codec;
mod config;
mod decimal;
mod disk;
mod excerpt;
mod head;
mod index;
mod matcher;
mod retention;
mod series;
mod summary;
mod thin;
mod times;

#[cfg(test)]
mod tests;

use std::sync::{Arc, RwLock};
use std::time::Duration;

pub use config::HistoryConfig;
pub use disk::{DiskMetrics, Place};
pub use excerpt::{Wanted, excerpt, visit};
pub use matcher::{MatchOp, Matcher};
pub use retention::{Keep, Shortage};
pub use series::SeriesRef;
pub use summary::{greatest, least};
pub use thin::Thinning;

use disk::Journal;
use head::Scratch;
use index::Index;
use series::Slot;

use crate::model::{Layout, Series, SeriesId, Snapshot, Timestamp};

/// A history that the tick thread writes and others read.
pub type SharedHistory = Arc<RwLock<History>>;

/// Prometheus' staleness marker: the NaN that says that a series has ended.
pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_BITS)
}

/// Whether a value is the staleness marker, by its bits.
#[inline]
pub fn is_stale_marker(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// A sample: time in milliseconds since the epoch, and value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Point {
    pub time: i64,
    pub value: f64,
}

/// What a history may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HistoryLimits {
    /// Samples older than this are forgotten.
    pub retention: Duration,
    /// When all takes more than this, the oldest samples are forgotten earlier.
    pub max_bytes: usize,
    /// Further series are refused, and counted.
    pub max_series: usize,
}

/// What became of a sample.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Appended {
    Stored,
    /// The series has a sample of a later time.
    OutOfOrder,
    /// The series has a sample of this time.
    Duplicate,
    TooManySeries,
}

/// Figures about a history.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct HistoryStats {
    pub series: usize,
    pub chunks: usize,
    pub samples: u64,
    /// Memory held, near enough; the part that is not in sealed chunks is counted anew by each [`History::gc`].
    pub bytes: usize,
    /// Samples ever stored.
    pub appended: u64,
    /// Samples refused, ever.
    pub out_of_order: u64,
    pub duplicates: u64,
    /// Samples refused because there were too many series, ever.
    pub dropped_series: u64,
    /// Time of the oldest sample, milliseconds since the epoch; found anew by each [`History::gc`].
    pub oldest: Option<i64>,
}

/// All series with data.
pub struct History {
    limits: HistoryLimits,
    slots: Vec<Option<Box<Slot>>>,
    index: Index,
    /// The layouts of the last snapshot.
    layouts: Vec<Arc<Layout>>,
    last_snapshot: Timestamp,
    /// See [`History::version`].
    version: u64,
    scratch: Scratch,
    stats: HistoryStats,
    sealed_bytes: usize,
    other_bytes: usize,
    /// What rules look further back on than the retention.
    keeps: Vec<Keep>,
    /// Writes everything to the disk.
    journal: Option<Journal>,
    /// The series that were not stale when history was read from the disk, with the times of their newest samples.
    restored: Vec<(Arc<Series>, i64)>,
}

impl History {
    pub fn new(limits: HistoryLimits) -> History {
        History {
            limits,
            slots: Vec::new(),
            index: Index::new(),
            layouts: Vec::new(),
            last_snapshot: Timestamp::MIN,
            version: index::next_generation(),
            scratch: Scratch::default(),
            stats: HistoryStats::default(),
            sealed_bytes: 0,
            other_bytes: 0,
            keeps: Vec::new(),
            journal: None,
            restored: Vec::new(),
        }
    }

    /// Other limits from now on; the next [`History::gc`] enforces them.
    pub fn set_limits(&mut self, limits: HistoryLimits) {
        self.limits = limits;
    }

    /// Appends all values of a tick. A series that the last snapshot had and this one has not gets a staleness marker
    /// at this snapshot's time.
    ///
    /// When the clock has been set back, so that this snapshot is older than the last, the samples after its time are
    /// forgotten first: an alerting agent must go on, and times that have not come yet are worth nothing.
    pub fn append_snapshot(&mut self, snapshot: &Snapshot) {
        if snapshot.time < self.last_snapshot {
            self.forget_after(snapshot.time - Duration::from_millis(1));
        }
        self.last_snapshot = snapshot.time;
        self.version = index::next_generation();
        if let Some(journal) = &mut self.journal {
            journal.advance();
        }
        let time = snapshot.time.as_millis();
        for section in &snapshot.sections {
            for (series, value) in section.layout.series().iter().zip(&section.values) {
                if let Some(series) = series {
                    self.push(series, time, *value);
                }
            }
        }

        self.end_missing(snapshot);
        if let Some(journal) = &mut self.journal {
            journal.flush();
        }
    }

    /// Ends the series that the last snapshot had and this one has not.
    fn end_missing(&mut self, snapshot: &Snapshot) {
        let mut current = snapshot.sections.iter().map(|s| &s.layout);
        if self.layouts.len() == snapshot.sections.len()
            && self.layouts.iter().all(|old| current.next().is_some_and(|new| Arc::ptr_eq(old, new)))
        {
            return;
        }
        let layouts = snapshot.sections.iter().map(|s| s.layout.clone()).collect();
        for old in std::mem::replace(&mut self.layouts, layouts) {
            if self.layouts.iter().any(|new| Arc::ptr_eq(&old, new)) {
                continue;
            }
            for series in old.series().iter().flatten() {
                self.mark_stale(series, snapshot.time);
            }
        }
    }

    /// Appends one sample, of a rule for instance.
    pub fn append(&mut self, series: &Arc<Series>, time: Timestamp, value: f64) -> Appended {
        self.push(series, time.as_millis(), value)
    }

    /// Appends a staleness marker, unless the series has no samples, is stale already, or has a sample at or after this
    /// time.
    pub fn mark_stale(&mut self, series: &Arc<Series>, time: Timestamp) {
        let slot = self.slots.get(series.id.index()).and_then(|s| s.as_ref());
        if slot.is_some_and(|slot| !slot.is_empty() && slot.last.time < time.as_millis() && !slot.is_stale()) {
            self.push(series, time.as_millis(), stale_marker());
        }
    }

    #[inline]
    fn push(&mut self, series: &Arc<Series>, time: i64, value: f64) -> Appended {
        if !matches!(self.slots.get(series.id.index()), Some(Some(_))) && !self.insert(series) {
            self.stats.dropped_series += 1;
            return Appended::TooManySeries;
        }
        let Some(Some(slot)) = self.slots.get_mut(series.id.index()) else { return Appended::TooManySeries };
        match slot.append(time, value, &mut self.scratch) {
            Ok(delta) => {
                self.stats.appended += 1;
                self.stats.samples += 1;
                self.stats.oldest.get_or_insert(time);
                self.stats.chunks += delta.chunks;
                self.sealed_bytes += delta.bytes;
                if let Some(journal) = &mut self.journal {
                    journal.sample(&mut slot.mark, &slot.series.labels, time, value);
                }
                Appended::Stored
            }
            Err(refused) => {
                match refused {
                    Appended::OutOfOrder => self.stats.out_of_order += 1,
                    Appended::Duplicate => self.stats.duplicates += 1,
                    Appended::Stored | Appended::TooManySeries => {}
                }
                refused
            }
        }
    }

    /// Makes room for a series; false if there are too many.
    #[cold]
    fn insert(&mut self, series: &Arc<Series>) -> bool {
        if self.stats.series >= self.limits.max_series {
            return false;
        }
        let at = series.id.index();
        if at >= self.slots.len() {
            self.slots.resize_with(at + 1, || None);
        }
        self.index.insert(series.id, &series.labels);
        self.stats.series += 1;
        self.other_bytes += size_of::<Slot>() + size_of_series(series);
        let mut slot = Slot::new(series.clone());
        slot.keep = retention::keep_of(&self.keeps, &series.labels);
        if let Some(place) = self.slots.get_mut(at) {
            *place = Some(Box::new(slot));
        }
        true
    }

    /// The time of the newest sample.
    pub fn newest(&self) -> Timestamp {
        self.slots.iter().flatten().map(|slot| Timestamp::from_millis(slot.last.time)).max().unwrap_or(Timestamp::MIN)
    }

    /// Forgets all samples.
    pub fn forget_all(&mut self) {
        self.forget_after(Timestamp::MIN);
        self.last_snapshot = Timestamp::MIN;
    }

    /// Forgets all samples later than `time`.
    fn forget_after(&mut self, time: Timestamp) {
        self.version = index::next_generation();
        if let Some(journal) = &mut self.journal {
            journal.cut(time.as_millis());
        }
        for slot in self.slots.iter_mut().flatten() {
            let (gone, come) = slot.forget_after(time.as_millis(), &mut self.scratch);
            self.stats.chunks += come.chunks;
            self.stats.samples += come.samples;
            self.sealed_bytes += come.bytes;
            self.stats.chunks -= gone.chunks;
            self.stats.samples -= gone.samples;
            self.sealed_bytes -= gone.bytes;
        }
    }

    pub fn stats(&self) -> HistoryStats {
        HistoryStats { bytes: self.sealed_bytes + self.other_bytes, ..self.stats }
    }

    /// A series with data.
    pub fn get(&self, id: SeriesId) -> Option<SeriesRef<'_>> {
        let slot = self.slots.get(id.index())?.as_deref()?;
        Some(SeriesRef { slot })
    }

    /// The series that pass all matchers, sorted by their labels.
    pub fn select(&self, matchers: &[Matcher]) -> Vec<SeriesRef<'_>> {
        let passes = |s: &SeriesRef<'_>| matchers.iter().all(|m| m.matches_labels(s.labels()));
        let mut found: Vec<SeriesRef<'_>> = match self.index.candidates(matchers) {
            Some(ids) => ids.into_iter().filter_map(|id| self.get(id)).filter(passes).collect(),
            None => self.all().filter(passes).collect(),
        };
        found.sort_unstable_by(|a, b| a.labels().cmp(b.labels()));
        found
    }

    /// All series, in no particular order.
    pub fn all(&self) -> impl Iterator<Item = SeriesRef<'_>> {
        self.slots.iter().flatten().map(|slot| SeriesRef { slot })
    }

    /// A number that changes whenever [`History::select`] of these matchers may give other series. It is unique among
    /// all histories, so the series of a selector can be remembered under it; zero means that there are none.
    pub fn generation(&self, matchers: &[Matcher]) -> u64 {
        self.index.generation(matchers)
    }

    /// A number that changes with every snapshot and whenever samples are forgotten, and that no other history has: as
    /// long as it is the same, only series that samples have been appended to one by one are not as they were.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Names of all labels, in no particular order.
    pub fn label_names(&self) -> impl Iterator<Item = &str> {
        self.index.label_names()
    }

    /// Values of a label, in no particular order.
    pub fn label_values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.index.label_values(name)
    }
}

/// What a series takes besides its samples.
fn size_of_series(series: &Series) -> usize {
    size_of::<Series>() + series.labels.heap_size() + Index::size_of(&series.labels)
}
