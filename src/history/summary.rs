//! What is known of sealed chunks without reading them again, for ranges so long that many chunks lie in them.
//!
//! A summary is of some chunks in a row. It is made when a long range first goes over these, and stands beside the chunks
//! of that series: those that are never asked for so much pay nothing for it, and nothing of it is written to the disk.

use std::collections::VecDeque;
use std::collections::vec_deque::Iter;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::chunk::Chunk;
use super::{Point, is_stale_marker};

/// Chunks of one summary: some thousand samples, which those at either end of a range are read of.
const CHUNKS: usize = 8;

/// What the samples of some chunks have in common, staleness markers left out.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// Time of the first sample of the first chunk, by which the summary is known.
    start: i64,
    /// Time of the last sample of the last chunk.
    end: i64,
    pub count: u32,
    pub course: Course,
    pub first: Point,
    pub last: Point,
    /// NaN only when there is nothing else.
    pub least: f64,
    pub greatest: f64,
}

/// How the values go on from one to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Course {
    /// All have the same bits.
    Constant,
    /// None is less than the one before, and none is NaN.
    Rising,
    Any,
}

impl Summary {
    fn of(chunks: Iter<'_, Chunk>) -> Summary {
        let start = chunks.clone().next().map_or(i64::MIN, |chunk| chunk.start);
        let end = chunks.clone().next_back().map_or(i64::MIN, Chunk::end);
        let none = Point { time: start, value: f64::NAN };
        let mut summary = Summary {
            start,
            end,
            count: 0,
            course: Course::Any,
            first: none,
            last: none,
            least: f64::NAN,
            greatest: f64::NAN,
        };
        let (mut constant, mut rising) = (true, true);
        for point in chunks.flat_map(Chunk::iter).map(Point::from) {
            if is_stale_marker(point.value) {
                continue;
            }
            let value = point.value;
            if summary.count == 0 {
                summary = Summary { first: point, last: point, least: value, greatest: value, ..summary };
            }
            constant &= value.to_bits() == summary.first.value.to_bits();
            // Of NaN this holds not even by itself.
            rising &= summary.last.value <= value;
            summary.least = least(summary.least, value);
            summary.greatest = greatest(summary.greatest, value);
            summary.last = point;
            summary.count += 1;
        }
        summary.course = match (constant, rising) {
            (true, _) => Course::Constant,
            (_, true) => Course::Rising,
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

/// Summaries of a series, in order of time.
///
/// Who reads a history makes them, so they have a lock of their own; it is held while one range is gone over.
#[derive(Default, Debug)]
pub struct Summaries(Mutex<VecDeque<Summary>>);

impl Summaries {
    /// Goes over some of the sealed chunks of the series: calls `see` with those in a row that have a summary, and with
    /// each of the others by itself.
    pub fn each(
        &self,
        sealed: &VecDeque<Chunk>,
        among: Range<usize>,
        mut see: impl FnMut(Iter<'_, Chunk>, Option<&Summary>),
    ) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = among.start;
        let mut place = sealed.get(at).map_or(0, |chunk| known.partition_point(|s| s.end < chunk.start));
        while let Some(chunk) = sealed.get(at).filter(|_| at < among.end) {
            while known.get(place).is_some_and(|s| s.end < chunk.start) {
                place += 1;
            }
            let these = at..at + CHUNKS;
            let end = sealed.get(these.end - 1).filter(|_| these.end <= among.end).map(Chunk::end);
            let next = known.get(place).copied();
            let summary = match (next, end) {
                (Some(next), Some(end)) if (next.start, next.end) == (chunk.start, end) => Some(next),
                // None of these is in another summary.
                (next, Some(end)) if next.is_none_or(|next| end < next.start) => {
                    let summary = Summary::of(sealed.range(these.clone()));
                    known.insert(place, summary);
                    Some(summary)
                }
                _ => None,
            };
            let these = if summary.is_some() { these } else { at..at + 1 };
            at = these.end;
            see(sealed.range(these), summary.as_ref());
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
