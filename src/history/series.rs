//! One series' samples: sealed chunks in order of time, and the head.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::chunk::Chunk;
use super::disk::Mark;
use super::head::{Head, Scratch};
use super::summary::Summaries;
use super::{Appended, Point, is_stale_marker};
use crate::model::{Labels, Series, Timestamp};

/// What history keeps of one series.
pub(super) struct Slot {
    pub series: Arc<Series>,
    pub sealed: VecDeque<Chunk>,
    pub head: Head,
    /// The newest sample, which stands in the head or, after a staleness marker, in the last sealed chunk.
    pub last: Point,
    /// What the log on the disk remembers of it.
    pub mark: Mark,
    /// For so many seconds a rule looks back on it; its samples are kept at least as long.
    pub keep: u32,
    /// Of sealed chunks that long ranges have gone over.
    pub summaries: Summaries,
}

/// What an append or a removal changed.
#[derive(Default, Clone, Copy)]
pub(super) struct Delta {
    pub chunks: usize,
    pub bytes: usize,
    pub samples: u64,
}

impl Slot {
    pub fn new(series: Arc<Series>) -> Slot {
        Slot {
            series,
            sealed: VecDeque::new(),
            head: Head::default(),
            last: Point { time: i64::MIN, value: 0.0 },
            mark: Mark::default(),
            keep: 0,
            summaries: Summaries::default(),
        }
    }

    /// The time before which its samples are forgotten.
    pub fn cutoff(&self, now: Timestamp, retention: Duration) -> i64 {
        (now - retention.max(Duration::from_secs(self.keep.into()))).as_millis()
    }

    /// Appends a sample that is later than the last; returns what was sealed on the way.
    #[inline]
    pub fn append(&mut self, time: i64, value: f64, scratch: &mut Scratch) -> Result<Delta, Appended> {
        if time <= self.last.time {
            return Err(if time == self.last.time { Appended::Duplicate } else { Appended::OutOfOrder });
        }
        let mut delta = Delta::default();
        if !self.head.fits(time) || self.head.is_full(self.series.id.0) || is_stale_marker(value) {
            delta = self.seal(scratch);
        }
        self.head.push(time, value);
        self.last = Point { time, value };
        if is_stale_marker(value) {
            // A marker is a chunk of its own: it would spoil the encoding of those before it, and what is stale often
            // never comes back.
            let more = self.seal(scratch);
            delta.chunks += more.chunks;
            delta.bytes += more.bytes;
            self.head.release();
        }
        Ok(delta)
    }

    fn seal(&mut self, scratch: &mut Scratch) -> Delta {
        if self.head.is_empty() {
            return Delta::default();
        }
        let chunk = self.head.seal(scratch);
        let delta = Delta { chunks: 1, bytes: chunk.size(), samples: 0 };
        self.sealed.push_back(chunk);
        delta
    }

    pub fn is_stale(&self) -> bool {
        is_stale_marker(self.last.value)
    }

    /// Forgets the sealed chunks that end before `cutoff`, and the head if its last sample lies before it.
    pub fn forget_before(&mut self, cutoff: i64) -> Delta {
        let mut delta = Delta::default();
        while let Some(chunk) = self.sealed.front().filter(|c| c.end() < cutoff) {
            delta.chunks += 1;
            delta.bytes += chunk.size();
            delta.samples += u64::from(chunk.count);
            self.sealed.pop_front();
        }
        if self.sealed.capacity() > 2 * self.sealed.len() + 8 {
            self.sealed.shrink_to(self.sealed.len() + 4);
        }
        if delta.chunks > 0 {
            self.summaries.forget_before(self.sealed.front().map_or(i64::MAX, |chunk| chunk.start));
        }
        if !self.head.is_empty() && self.last.time < cutoff {
            delta.samples += u64::from(self.head.len());
            self.head.release();
        }
        delta
    }

    /// Forgets the samples after `time`, and says what has gone and what has come.
    pub fn forget_after(&mut self, time: i64, scratch: &mut Scratch) -> (Delta, Delta) {
        let (mut gone, mut come) = (Delta::default(), Delta::default());
        if self.last.time <= time {
            return (gone, come);
        }
        come = self.seal(scratch);
        self.head.release();
        self.summaries = Summaries::default();
        while let Some(chunk) = self.sealed.back().filter(|c| c.end() > time) {
            gone.chunks += 1;
            gone.bytes += chunk.size();
            gone.samples += u64::from(chunk.count);
            let kept: Vec<(i64, f64)> = chunk.iter().take_while(|(t, _)| *t <= time).collect();
            self.sealed.pop_back();
            for (t, v) in &kept {
                self.head.push(*t, *v);
            }
            come.samples += kept.len() as u64;
        }
        self.find_last();
        (gone, come)
    }

    /// Sets what the newest sample is, from the head and the sealed chunks.
    pub fn find_last(&mut self) {
        self.last = match self.head.is_empty() {
            false => self.head.last().into(),
            true => self
                .sealed
                .back()
                .and_then(|c| c.iter().last())
                .map_or(Point { time: i64::MIN, value: 0.0 }, Point::from),
        };
    }

    /// Time of the oldest sample.
    pub fn first(&self) -> Option<i64> {
        let head = (!self.head.is_empty()).then(|| self.head.start());
        self.sealed.front().map(|chunk| chunk.start).or(head)
    }

    pub fn is_empty(&self) -> bool {
        self.head.is_empty() && self.sealed.is_empty()
    }

    /// Bytes besides those of the sealed chunks.
    pub fn overhead(&self) -> usize {
        let spare = self.sealed.capacity().saturating_sub(self.sealed.len()) * size_of::<Chunk>();
        size_of::<Slot>() + spare + self.head.heap_size() + self.summaries.heap_size()
    }
}

impl From<(i64, f64)> for Point {
    fn from((time, value): (i64, f64)) -> Point {
        Point { time, value }
    }
}

/// A series of history, for reading.
#[derive(Clone, Copy)]
pub struct SeriesRef<'h> {
    pub(super) slot: &'h Slot,
}

impl<'h> SeriesRef<'h> {
    pub fn series(self) -> &'h Arc<Series> {
        &self.slot.series
    }

    pub fn labels(self) -> &'h Labels {
        &self.slot.series.labels
    }

    /// Bytes its samples take.
    pub fn size(self) -> usize {
        self.slot.overhead() + self.slot.sealed.iter().map(Chunk::size).sum::<usize>()
    }

    /// Time of the oldest sample, milliseconds since the epoch.
    pub fn first_time(self) -> i64 {
        self.slot.sealed.front().map_or_else(|| self.slot.head.start(), |chunk| chunk.start)
    }

    /// The newest sample; it may be a staleness marker.
    pub fn last(self) -> Point {
        self.slot.last
    }

    /// The newest sample that is later than `after` and not later than `at`, unless it is a staleness marker.
    pub fn newest(self, after: Timestamp, at: Timestamp) -> Option<Point> {
        let at = at.as_millis();
        let slot = self.slot;
        let point = if slot.last.time <= at {
            slot.last
        } else if !slot.head.is_empty() && slot.head.start() <= at {
            newest_of(slot.head.iter(), at)?
        } else {
            let after_it = slot.sealed.partition_point(|c| c.start <= at);
            let chunk = slot.sealed.get(after_it.checked_sub(1)?)?;
            newest_of(chunk.iter(), at)?
        };
        (point.time > after.as_millis() && !is_stale_marker(point.value)).then_some(point)
    }

    /// Appends to `out` the samples later than `after` and not later than `until`, in order, without staleness
    /// markers.
    pub fn read(self, after: Timestamp, until: Timestamp, out: &mut Vec<Point>) {
        let (after, until) = (after.as_millis(), until.as_millis());
        let slot = self.slot;
        if slot.last.time <= after {
            return;
        }
        let mut take = |time: i64, value: f64| {
            if time > until {
                return false;
            }
            if time > after && !is_stale_marker(value) {
                out.push(Point { time, value });
            }
            true
        };
        let first = slot.sealed.partition_point(|c| c.end() <= after);
        for chunk in slot.sealed.range(first..) {
            if chunk.start > until {
                return;
            }
            if !chunk.iter().read(after, &mut take) {
                return;
            }
        }
        if !slot.head.is_empty() && slot.head.start() <= until {
            slot.head.iter().read(after, &mut take);
        }
    }
}

impl SeriesRef<'_> {
    /// Gives `take` in order the newest sample at or before `at`, if there is one, and those after it up to `until`,
    /// staleness markers included. Some samples older than these may come first.
    pub fn follow(self, at: Timestamp, until: Timestamp, mut take: impl FnMut(Point)) {
        let (at, until) = (at.as_millis(), until.as_millis());
        let slot = self.slot;
        let mut each = |time: i64, value: f64| {
            if time <= until {
                take(Point { time, value });
            }
            time <= until
        };
        if slot.head.is_empty() || slot.head.start() > at {
            let first = slot.sealed.partition_point(|c| c.start <= at).saturating_sub(1);
            for chunk in slot.sealed.range(first..) {
                if chunk.start > until || !chunk.iter().read(i64::MIN, &mut each) {
                    return;
                }
            }
        }
        if !slot.head.is_empty() && slot.head.start() <= until {
            slot.head.iter().read(i64::MIN, &mut each);
        }
    }

    /// No fewer than the samples later than `after` and not later than `until`, and not many more.
    pub fn about(self, after: Timestamp, until: Timestamp) -> usize {
        let (after, until) = (after.as_millis(), until.as_millis());
        let slot = self.slot;
        let first = slot.sealed.partition_point(|c| c.end() <= after);
        let sealed = slot.sealed.range(first..).take_while(|c| c.start <= until).map(|c| c.count as usize);
        let in_head = !slot.head.is_empty() && slot.head.start() <= until && slot.last.time > after;
        sealed.sum::<usize>() + if in_head { slot.head.len() as usize } else { 0 }
    }
}

/// The last sample at or before `at`.
fn newest_of(iter: impl Iterator<Item = (i64, f64)>, at: i64) -> Option<Point> {
    iter.take_while(|(t, _)| *t <= at).last().map(Point::from)
}
