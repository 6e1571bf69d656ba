//! What is known of sealed chunks without reading them again, for ranges so long that many chunks lie in them.
//!
//! A summary is made when a long range first goes over a chunk, and stands beside the chunks of that series: those that
//! are never asked for so much pay nothing for it, and nothing of it is written to the disk.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::chunk::Chunk;
use super::is_stale_marker;

/// What the samples of one chunk have in common.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// Time of the chunk's first sample, by which it is known.
    start: i64,
    pub first: f64,
    pub last: f64,
    /// NaN only when there is nothing else.
    pub least: f64,
    pub greatest: f64,
    pub course: Course,
}

/// How the values go on from one to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Course {
    /// All have the same bits.
    Constant,
    /// None is less than the one before, and none is NaN.
    Rising,
    Any,
    /// There is a staleness marker among them: the chunk must be read.
    Marked,
}

impl Summary {
    fn of(chunk: &Chunk) -> Summary {
        let mut values = chunk.iter().map(|(_, value)| value);
        let first = values.next().unwrap_or(f64::NAN);
        let mut summary =
            Summary { start: chunk.start, first, last: first, least: first, greatest: first, course: Course::Constant };
        let (mut constant, mut rising, mut marked) = (true, !first.is_nan(), is_stale_marker(first));
        for value in values {
            constant &= value.to_bits() == first.to_bits();
            rising &= summary.last <= value;
            marked |= is_stale_marker(value);
            summary.least = least(summary.least, value);
            summary.greatest = greatest(summary.greatest, value);
            summary.last = value;
        }
        summary.course = match (marked, constant, rising) {
            (true, ..) => Course::Marked,
            (_, true, _) => Course::Constant,
            (.., true) => Course::Rising,
            _ => Course::Any,
        };
        summary
    }
}

/// The smaller of two values, of equal ones the first; NaN only when both are.
#[inline]
pub fn least(a: f64, b: f64) -> f64 {
    if b < a || a.is_nan() { b } else { a }
}

/// The larger of two values, of equal ones the first; NaN only when both are.
#[inline]
pub fn greatest(a: f64, b: f64) -> f64 {
    if b > a || a.is_nan() { b } else { a }
}

/// Summaries of some chunks of a series, in order of time.
///
/// Who reads a history makes them, so they have a lock of their own; it is held while one range is gone over.
#[derive(Default, Debug)]
pub struct Summaries(Mutex<VecDeque<Summary>>);

impl Summaries {
    /// Calls `see` with each chunk and its summary.
    pub fn each<'c>(&self, chunks: impl Iterator<Item = &'c Chunk>, mut see: impl FnMut(&Chunk, &Summary)) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = None;
        for chunk in chunks {
            let mut place = at.unwrap_or_else(|| known.partition_point(|s| s.start < chunk.start));
            while known.get(place).is_some_and(|s| s.start < chunk.start) {
                place += 1;
            }
            match known.get(place) {
                Some(summary) if summary.start == chunk.start => see(chunk, summary),
                _ => {
                    let summary = Summary::of(chunk);
                    see(chunk, &summary);
                    known.insert(place, summary);
                }
            }
            at = Some(place + 1);
        }
    }

    /// The chunks before the one that begins at `start` are no more.
    pub fn forget_before(&mut self, start: i64) {
        let known = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        while known.front().is_some_and(|s| s.start < start) {
            known.pop_front();
        }
        if known.capacity() > 2 * known.len() + 8 {
            known.shrink_to(known.len() + 4);
        }
    }

    pub fn heap_size(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).capacity() * size_of::<Summary>()
    }
}
