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

mod chunk;
mod codec;
mod config;
mod decimal;
mod excerpt;
mod head;
mod index;
mod matcher;
mod series;
mod summary;
mod thin;
mod times;

#[cfg(test)]
mod tests;

use std::sync::{Arc, RwLock};
use std::time::Duration;

pub use config::HistoryConfig;
pub use excerpt::{Wanted, excerpt, visit};
pub use matcher::{MatchOp, Matcher, anchored};
pub use series::SeriesRef;
pub use summary::{greatest, least};
pub use thin::Thinning;

use head::Scratch;
use index::Index;
use series::{Delta, Slot};

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
        let time = snapshot.time.as_millis();
        for section in &snapshot.sections {
            for (series, value) in section.layout.series().iter().zip(&section.values) {
                if let Some(series) = series {
                    self.push(series, time, *value);
                }
            }
        }

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

    /// Appends a staleness marker, unless the series has none but older data, is stale already, or has a sample at
    /// or after this time.
    pub fn mark_stale(&mut self, series: &Arc<Series>, time: Timestamp) {
        let slot = self.slots.get(series.id.index()).and_then(|s| s.as_ref());
        if slot.is_some_and(|slot| slot.last.time < time.as_millis() && !slot.is_stale()) {
            self.push(series, time.as_millis(), stale_marker());
        }
    }

    #[inline]
    fn push(&mut self, series: &Arc<Series>, time: i64, value: f64) -> Appended {
        let outcome = match self.slots.get_mut(series.id.index()) {
            Some(Some(slot)) => slot.append(time, value, &mut self.scratch),
            _ => match self.insert(series) {
                Some(slot) => slot.append(time, value, &mut Scratch::default()),
                None => Err(Appended::TooManySeries),
            },
        };
        match outcome {
            Ok(delta) => {
                self.stats.appended += 1;
                self.stats.samples += 1;
                self.stats.chunks += delta.chunks;
                self.sealed_bytes += delta.bytes;
                Appended::Stored
            }
            Err(refused) => {
                match refused {
                    Appended::Stored => {}
                    Appended::OutOfOrder => self.stats.out_of_order += 1,
                    Appended::Duplicate => self.stats.duplicates += 1,
                    Appended::TooManySeries => self.stats.dropped_series += 1,
                }
                refused
            }
        }
    }

    #[cold]
    fn insert(&mut self, series: &Arc<Series>) -> Option<&mut Slot> {
        if self.stats.series >= self.limits.max_series {
            return None;
        }
        let at = series.id.index();
        if at >= self.slots.len() {
            self.slots.resize_with(at + 1, || None);
        }
        self.index.insert(series.id, &series.labels);
        self.stats.series += 1;
        self.other_bytes += size_of::<Slot>() + size_of_series(series);
        let slot = self.slots.get_mut(at)?;
        Some(slot.insert(Box::new(Slot::new(series.clone()))))
    }

    /// Forgets what is older than the retention and, while there is too much, what is oldest; then the series that
    /// have no samples left. To be called about once a minute.
    pub fn gc(&mut self, now: Timestamp) {
        let mut cutoff = (now - self.limits.retention).as_millis();
        self.forget_before(cutoff);
        self.count_other_bytes();
        let excess = (self.sealed_bytes + self.other_bytes).saturating_sub(self.limits.max_bytes);
        if excess > 0 {
            // A tenth more than must be, so that this is not every minute's work.
            cutoff = self.cutoff_to_free(excess + self.limits.max_bytes / 10);
            self.forget_before(cutoff);
            self.count_other_bytes();
        }
        self.stats.bytes = self.sealed_bytes + self.other_bytes;
    }

    fn count_other_bytes(&mut self) {
        let slots = self.slots.iter().flatten();
        self.other_bytes = self.slots.capacity() * size_of::<Option<Box<Slot>>>()
            + slots.map(|s| s.overhead() + size_of_series(&s.series)).sum::<usize>();
    }

    /// The time before which sealed chunks of that many bytes end.
    fn cutoff_to_free(&self, bytes: usize) -> i64 {
        let mut chunks: Vec<(i64, usize)> =
            self.slots.iter().flatten().flat_map(|s| s.sealed.iter().map(|c| (c.end(), c.size()))).collect();
        chunks.sort_unstable();
        let mut freed = 0;
        for (end, size) in &chunks {
            freed += size;
            if freed >= bytes {
                return end.saturating_add(1);
            }
        }
        chunks.last().map_or(i64::MIN, |(end, _)| end.saturating_add(1))
    }

    fn forget_before(&mut self, cutoff: i64) {
        self.version = index::next_generation();
        let mut total = Delta::default();
        let mut gone: Vec<Arc<Series>> = Vec::new();
        for entry in &mut self.slots {
            let Some(slot) = entry else { continue };
            let delta = slot.forget_before(cutoff);
            total.chunks += delta.chunks;
            total.bytes += delta.bytes;
            total.samples += delta.samples;
            if slot.is_empty() {
                gone.push(slot.series.clone());
                *entry = None;
            }
        }
        self.subtract(total);
        if !gone.is_empty() {
            self.stats.series -= gone.len();
            self.index.remove(gone.iter().map(|s| (s.id, &s.labels)));
        }
    }

    /// Forgets all samples later than `time`.
    fn forget_after(&mut self, time: Timestamp) {
        self.version = index::next_generation();
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

    fn subtract(&mut self, delta: Delta) {
        self.stats.chunks -= delta.chunks;
        self.stats.samples -= delta.samples;
        self.sealed_bytes -= delta.bytes;
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
