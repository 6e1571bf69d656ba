//! A part of a history as a history of its own, for a query that may take long.
//!
//! Samples are copied as they are compressed, at some gigabytes a second, and the lock is given back again and again in
//! between: the whole of a usual history is copied within some milliseconds, of which the thread that writes waits for a
//! fraction of one. What works on the copy holds up nobody.

use std::collections::VecDeque;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use super::series::{SeriesRef, Slot};
use super::{History, Matcher};
use crate::model::{SeriesId, Timestamp};

/// How long the lock is held at a time.
const HOLD: Duration = Duration::from_micros(200);
/// Series between two looks at the clock.
const BATCH: usize = 64;

/// What of a history is wanted: series that pass all matchers, with the samples later than `after`.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'m> {
    pub matchers: &'m [Matcher],
    pub after: Timestamp,
}

/// Copies what is wanted; a little more than that may come with it. `None` if `stop` says so in between.
///
/// All series end with the same tick, the last before it began.
pub fn excerpt(history: &RwLock<History>, wanted: &[Wanted<'_>], stop: impl Fn() -> bool) -> Option<History> {
    let (mut part, until) = {
        let history = read(history);
        (History::new(history.limits), history.last_snapshot)
    };
    for Wanted { matchers, after } in wanted {
        let mut copies = Vec::new();
        if !visit(history, matchers, &stop, |series| copies.push(series.slot.copy_after(after.as_millis()))) {
            return None;
        }
        for mut copy in copies {
            // A tick that came meanwhile is in the copies that were made after it.
            if until > Timestamp::MIN {
                copy.forget_after(until.as_millis(), &mut part.scratch);
            }
            if !copy.is_empty() {
                part.adopt(copy);
            }
        }
    }
    Some(part)
}

/// Shows the series that pass all matchers, in no particular order, and gives the lock back again and again in between.
/// False if `stop` ended it.
pub fn visit(
    history: &RwLock<History>,
    matchers: &[Matcher],
    stop: impl Fn() -> bool,
    mut take: impl FnMut(SeriesRef<'_>),
) -> bool {
    let ids = read(history).candidates(matchers);
    let mut rest = ids.as_slice();
    while !rest.is_empty() {
        if stop() {
            return false;
        }
        let history = read(history);
        let began = Instant::now();
        while !rest.is_empty() && began.elapsed() < HOLD {
            let (batch, later) = rest.split_at(BATCH.min(rest.len()));
            let series = batch.iter().filter_map(|id| history.get(*id));
            series.filter(|s| matchers.iter().all(|m| m.matches_labels(s.labels()))).for_each(&mut take);
            rest = later;
        }
    }
    true
}

fn read(history: &RwLock<History>) -> RwLockReadGuard<'_, History> {
    history.read().unwrap_or_else(PoisonError::into_inner)
}

impl History {
    /// The series among which all are that the matchers match.
    fn candidates(&self, matchers: &[Matcher]) -> Vec<SeriesId> {
        self.index.candidates(matchers).unwrap_or_else(|| self.all().map(|s| s.series().id).collect())
    }

    /// Takes a copied series in, or what it has more than is there already.
    fn adopt(&mut self, copy: Slot) {
        let at = copy.series.id.index();
        if at >= self.slots.len() {
            self.slots.resize_with(at + 1, || None);
        }
        let Some(entry) = self.slots.get_mut(at) else { return };
        if entry.is_none() {
            self.stats.series += 1;
            self.index.insert(copy.series.id, &copy.series.labels);
        }
        // Of two selectors of one series, one may look further back.
        let reaches = |slot: &Slot| slot.sealed.front().map_or(i64::MAX, |c| c.start);
        if entry.as_ref().is_none_or(|there| reaches(&copy) < reaches(there)) {
            *entry = Some(Box::new(copy));
        }
    }
}

impl Slot {
    /// A copy without the sealed chunks that end before `after`.
    fn copy_after(&self, after: i64) -> Slot {
        let first = self.sealed.partition_point(|c| c.end() <= after);
        let sealed: VecDeque<_> = self.sealed.range(first..).cloned().collect();
        Slot { sealed, head: self.head.clone(), last: self.last, ..Slot::new(self.series.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::history::{HistoryLimits, Point};
    use crate::model::{Labels, SeriesTable};

    fn history(series: usize, seconds: i64) -> (Arc<RwLock<History>>, SeriesTable) {
        let table = SeriesTable::new(Labels::empty());
        let mut history = History::new(HistoryLimits::default());
        for n in 0..series {
            let number = n.to_string();
            let name = if n % 2 == 0 { "even" } else { "odd" };
            let series = table.intern(Labels::from_pairs([("__name__", name), ("n", &number)]));
            for s in 0..seconds {
                history.append(&series, Timestamp::from_millis(s * 1000), (s * 7 % 11) as f64);
            }
        }
        (Arc::new(RwLock::new(history)), table)
    }

    fn points(history: &History, name: &str, n: &str, after: i64) -> Vec<Point> {
        let matchers = [Matcher::equal("__name__", name), Matcher::equal("n", n)];
        let mut out = Vec::new();
        for series in history.select(&matchers) {
            series.read(Timestamp::from_millis(after), Timestamp::MAX, &mut out);
        }
        out
    }

    #[test]
    fn an_excerpt_has_what_is_wanted_and_not_much_more() {
        let (whole, _table) = history(300, 2000);
        let matchers = [Matcher::equal("__name__", "even"), Matcher::not_equal("n", "4")];
        let after = Timestamp::from_millis(1_500_000);
        let part = excerpt(&whole, &[Wanted { matchers: &matchers, after }], || false).unwrap();
        assert_eq!(part.all().count(), 149);
        let whole = whole.read().unwrap();
        assert_eq!(points(&part, "even", "8", 1_500_000), points(&whole, "even", "8", 1_500_000));
        assert!(points(&part, "even", "8", 0).len() < 1500, "old chunks are left out");
        assert!(points(&part, "even", "4", 0).is_empty() && points(&part, "odd", "3", 0).is_empty());
    }

    #[test]
    fn a_series_that_two_selectors_want_reaches_as_far_back_as_either_looks() {
        let (whole, _table) = history(4, 2000);
        let matchers = [Matcher::equal("__name__", "even")];
        let near = Wanted { matchers: &matchers, after: Timestamp::from_millis(1_900_000) };
        let far = Wanted { matchers: &matchers, after: Timestamp::from_millis(100_000) };
        for wanted in [[near, far], [far, near]] {
            let part = excerpt(&whole, &wanted, || false).unwrap();
            assert_eq!(points(&part, "even", "2", 100_000).len(), 1899);
            assert_eq!(part.all().count(), 2);
        }
    }

    #[test]
    fn a_tick_that_comes_while_an_excerpt_is_made_is_in_no_series_of_it() {
        let (whole, table) = history(200, 100);
        let tick =
            |time| crate::model::Snapshot { time: Timestamp::from_millis(time), ..crate::model::Snapshot::empty() };
        whole.write().unwrap().append_snapshot(&tick(99_000));
        let looks = std::cell::Cell::new(0);
        let come = || {
            looks.set(looks.get() + 1);
            let mut history = whole.write().unwrap();
            history.append_snapshot(&tick(100_000));
            for n in 0..200 {
                let name = if n % 2 == 0 { "even" } else { "odd" };
                let labels = Labels::from_pairs([("__name__", name), ("n", &n.to_string())]);
                history.append(&table.intern(labels), Timestamp::from_millis(100_000), 1.0);
            }
            let new = table.intern(Labels::from_pairs([("__name__", "new")]));
            history.append(&new, Timestamp::from_millis(100_000), 1.0);
            false
        };
        let (even, all) = ([Matcher::equal("__name__", "even")], [Matcher::equal("other", "")]);
        let wanted = [&even[..], &all[..]].map(|matchers| Wanted { matchers, after: Timestamp::MIN });
        let part = excerpt(&whole, &wanted, come).unwrap();
        assert!(looks.get() >= 2 && part.all().count() == 200);
        assert!(part.all().all(|series| series.last().time == 99_000));
    }

    #[test]
    fn an_excerpt_that_nobody_wants_any_more_ends() {
        let (whole, _table) = history(10, 10);
        assert!(excerpt(&whole, &[Wanted { matchers: &[], after: Timestamp::MIN }], || true).is_none());
    }
}
