//! Long ranges, read without the samples that cannot matter.
//!
//! Over a week at a second there are 604,800 samples; for their minimum it is enough to know that of each chunk. What a
//! reader must see is told by a [`Thinning`], and its result is to the bit the one that all samples would give.

use super::series::SeriesRef;
use super::summary::{Course, Summary};
use super::{Point, is_stale_marker};
use crate::model::Timestamp;

/// Which samples of a range may be left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Thinning {
    /// None.
    No,
    /// All but the first and the last.
    Ends,
    /// All but the first of the least ones; those of NaN while there are others. Times do not matter.
    Least,
    /// All but the first of the greatest ones; those of NaN while there are others. Times do not matter.
    Greatest,
    /// Those between two others, from the first to the second of which no value falls and none is NaN.
    Rises,
    /// Those between two others, from the first to the second of which all values have the same bits.
    Constants,
}

/// Where fewer chunks than this lie wholly in a range, reading them costs less than knowing summaries of them.
const MANY: usize = 16;

impl Thinning {
    /// Adds what must be seen of chunks that lie wholly in the range; false where their samples must be.
    fn add(self, summary: &Summary, out: &mut Vec<Point>) -> bool {
        let Summary { count, course, first, last, least, greatest, .. } = *summary;
        match self {
            _ if count == 0 => {}
            Thinning::No => return false,
            Thinning::Least => out.push(Point { value: least, ..first }),
            Thinning::Greatest => out.push(Point { value: greatest, ..first }),
            Thinning::Rises if course == Course::Any => return false,
            Thinning::Constants if course != Course::Constant => return false,
            // Of NaN alone both ends are seen, so that nothing seems to fall over it.
            Thinning::Ends | Thinning::Rises | Thinning::Constants => {
                out.push(first);
                out.extend((count > 1).then_some(last));
            }
        }
        true
    }
}

impl SeriesRef<'_> {
    /// As [`SeriesRef::read`], but for samples that may be left out; returns how many there are with these.
    pub fn read_thinned(self, after: Timestamp, until: Timestamp, thinning: Thinning, out: &mut Vec<Point>) -> usize {
        let before = out.len();
        let (from, to) = (after.as_millis(), until.as_millis());
        let sealed = &self.slot.sealed;
        let first = sealed.partition_point(|c| c.start <= from);
        let end = sealed.partition_point(|c| c.end() <= to).max(first);
        if thinning == Thinning::No || end - first < MANY {
            self.read(after, until, out);
            return out.len() - before;
        }
        // What of the first chunk lies before those that are wholly in the range, and what of the last lies after them.
        if let Some(chunk) = first.checked_sub(1).and_then(|i| sealed.get(i)).filter(|c| c.end() > from) {
            chunk.iter().read(from, |time, value| keep(time, value, to, out));
        }
        let mut left_out = 0;
        self.slot.summaries.each(sealed, first..end, |chunks, summary| {
            let there = out.len();
            match summary.filter(|summary| thinning.add(summary, out)) {
                Some(summary) => left_out += (summary.count as usize).saturating_sub(out.len() - there),
                None => chunks.for_each(|chunk| {
                    chunk.iter().read(i64::MIN, |time, value| keep(time, value, to, out));
                }),
            }
        });
        let rest = end.checked_sub(1).and_then(|i| sealed.get(i)).map_or(from, |c| c.end());
        self.read(Timestamp::from_millis(rest), until, out);
        out.len() - before + left_out
    }
}

fn keep(time: i64, value: f64, until: i64, out: &mut Vec<Point>) -> bool {
    if time <= until && !is_stale_marker(value) {
        out.push(Point { time, value });
    }
    time <= until
}
