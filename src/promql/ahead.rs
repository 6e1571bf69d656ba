//! Reading ahead: what selectors give at the steps to come, so that samples are decoded once and not at each step.
//!
//! Steps are evaluated one after the other, but samples are best read series by series. So the first step that asks for a
//! selector computes what it gives at some steps more, a [`Table`] of bounded size, and the steps after it look there. What
//! is kept is not samples but what comes of them: the newest one, or the result of the function over the range.

use std::sync::Arc;

use hashbrown::HashMap;

use super::error::EvalError;
use super::eval::{Eval, Held};
use super::functions::Window;
use super::past::Past;
use super::plan::{Extent, Range, Selector, Shift};
use super::select::Entry;
use super::slide::Slide;
use crate::history::{Point, SeriesRef, Thinning, is_stale_marker};
use crate::model::Timestamp;

/// Bytes that one table may take.
const MAX_TABLE: usize = 1 << 20;
/// Milliseconds that are read at once, at least; those at either end of them are decoded twice.
const SPAN: i64 = 2 * 3_600_000;
/// As many samples are better read thinned at each step than gone over.
const LONG: usize = 4096;
/// Samples that are gone over between two looks at the clock.
const UNCHECKED: usize = 64 * 1024;

/// The steps that an expression is evaluated at, the present one and those after it. Milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// 0 where there is but one.
    pub step: i64,
    /// No step is later.
    pub until: i64,
}

/// What is kept from one step to the next, by the address of the part of the plan that it is of.
#[derive(Default)]
pub struct Ahead {
    newest: HashMap<usize, Table<Point>>,
    results: HashMap<usize, Table<f64>>,
    pub past: HashMap<usize, Past>,
    /// What all that takes.
    pub held: Held,
}

/// What each series of a selector gives at some steps.
struct Table<T> {
    entries: Arc<[Entry]>,
    first: i64,
    /// 0 where it is the same at all steps.
    step: i64,
    /// Step by step, of all series.
    cells: Vec<Option<T>>,
}

impl<T> Table<T> {
    /// What the series give at this time; nothing where that is not known.
    fn row(&self, now: i64) -> Option<impl Iterator<Item = (&Entry, &T)>> {
        let after = now.checked_sub(self.first)?;
        let row = match self.step {
            0 => 0,
            step if after % step == 0 => usize::try_from(after / step).ok()?,
            _ => return None,
        };
        let width = self.entries.len();
        let from = row.checked_mul(width)?;
        let cells = self.cells.get(from..from.checked_add(width)?)?;
        Some(self.entries.iter().zip(cells).filter_map(|(entry, cell)| Some((entry, cell.as_ref()?))))
    }

    fn bytes(&self) -> usize {
        self.cells.capacity().saturating_mul(size_of::<Option<T>>())
    }
}

/// A function of the samples of a range.
pub(super) struct Reduction<'f> {
    pub function: &'f dyn Fn(&Window<'_>) -> Option<f64>,
    pub thinning: Thinning,
    pub parameter: f64,
    /// Whether the parameters are the same at each step.
    pub is_steady: bool,
    /// Whether the time of evaluation matters besides the samples.
    pub asks_for_time: bool,
}

/// By what a part of the plan is known; the plan stays where it is as long as it is evaluated.
pub(super) fn address<T>(part: &T) -> usize {
    std::ptr::from_ref(part).addr()
}

impl Eval<'_> {
    /// Calls `take` with the newest samples, if they are those of steps that are looked at ahead; says whether.
    pub(super) fn newest_ahead(
        &mut self,
        selector: &Selector,
        shift: Shift,
        now: i64,
        mut take: impl FnMut(&Entry, Point),
    ) -> Result<bool, EvalError> {
        if self.grid.step == 0 {
            return Ok(false);
        }
        let mut table = self.ahead.newest.remove(&address(selector));
        if table.as_ref().is_none_or(|t| t.row(now).is_none()) {
            self.let_go(table.take());
            table = self.table_of_newest(selector, shift, now)?;
            self.keep(table.as_ref());
        }
        let Some(table) = table else { return Ok(false) };
        for (entry, point) in table.row(now).into_iter().flatten() {
            self.load(1)?;
            take(entry, *point);
        }
        self.ahead.newest.insert(address(selector), table);
        Ok(true)
    }

    /// Calls `take` with the results of each series that has any, if these are looked at ahead; says whether.
    pub(super) fn results_ahead(
        &mut self,
        range: &Range,
        selector: &Selector,
        now: i64,
        reduction: &Reduction<'_>,
        mut take: impl FnMut(&mut Self, &Entry, f64) -> Result<(), EvalError>,
    ) -> Result<bool, EvalError> {
        if self.grid.step == 0 || !reduction.is_steady {
            return Ok(false);
        }
        let mut table = self.ahead.results.remove(&address(range));
        if table.as_ref().is_none_or(|t| t.row(now).is_none()) {
            self.let_go(table.take());
            table = self.table_of_results(range, selector, now, reduction)?;
            self.keep(table.as_ref());
        }
        let Some(table) = table else { return Ok(false) };
        for (entry, value) in table.row(now).into_iter().flatten() {
            take(self, entry, *value)?;
        }
        self.ahead.results.insert(address(range), table);
        Ok(true)
    }

    fn keep<T>(&mut self, table: Option<&Table<T>>) {
        self.ahead.held.add(0, table.map_or(0, Table::bytes));
    }

    fn let_go<T>(&mut self, table: Option<Table<T>>) {
        self.ahead.held.subtract(0, table.as_ref().map_or(0, Table::bytes));
    }

    /// How many steps are worth to be looked at from now on, where each looks back by `reach`. One is none ahead.
    fn steps_ahead(&self, now: i64, reach: i64, series: usize, cell: usize) -> usize {
        let Grid { step, until } = self.grid;
        if step <= 0 || step >= reach {
            // No sample is seen twice.
            return 1;
        }
        let left = until.saturating_sub(now).max(0) / step;
        let span = reach.saturating_mul(4).max(SPAN) / step;
        let bytes = MAX_TABLE.min(self.room() / 8);
        let most = bytes / series.saturating_mul(cell).max(1);
        usize::try_from(left.min(span)).unwrap_or(usize::MAX).saturating_add(1).min(most).max(1)
    }

    /// An empty table for so many steps, and their times. `is_same`: at all steps there is the same.
    fn table<T: Clone>(&self, entries: Arc<[Entry]>, now: i64, steps: usize, is_same: bool) -> (Table<T>, Vec<i64>) {
        let step = self.grid.step;
        let times = (0..steps).scan(now, |next, _| Some(std::mem::replace(next, next.saturating_add(step)))).collect();
        let cells = vec![None; steps.saturating_mul(entries.len())];
        (Table { entries, first: now, step: if is_same { 0 } else { step }, cells }, times)
    }

    /// None where nothing is to be looked at ahead.
    fn table_of_newest(
        &mut self,
        selector: &Selector,
        shift: Shift,
        now: i64,
    ) -> Result<Option<Table<Point>>, EvalError> {
        let entries = selector.series(self.history);
        let is_same = shift.at.is_some();
        let steps = match is_same {
            true => 1,
            false => self.steps_ahead(now, self.lookback, entries.len(), size_of::<Option<Point>>()),
        };
        if steps == 1 && !is_same {
            return Ok(None);
        }
        let (mut table, mut times) = self.table(entries.clone(), now, steps, is_same);
        times.iter_mut().for_each(|time| *time = self.reference(shift, *time));
        for (i, entry) in entries.iter().enumerate() {
            self.check_deadline()?;
            if let Some(series) = self.history.get(entry.id) {
                let cells = table.cells.iter_mut().skip(i).step_by(entries.len());
                newest_at(series, &times, self.lookback, cells);
            }
        }
        Ok(Some(table))
    }

    /// None where nothing is to be looked at ahead.
    fn table_of_results(
        &mut self,
        range: &Range,
        selector: &Selector,
        now: i64,
        reduction: &Reduction<'_>,
    ) -> Result<Option<Table<f64>>, EvalError> {
        let entries = selector.series(self.history);
        let is_same = selector.shift.at.is_some() && !reduction.asks_for_time;
        let (before, behind) = self.beside(selector.extent);
        let reach = range.range.saturating_add(before).saturating_add(behind);
        let steps = match is_same {
            true => 1,
            false => self.steps_ahead(now, reach, entries.len(), size_of::<Option<f64>>()),
        };
        if steps == 1 && !is_same {
            return Ok(None);
        }
        let (mut table, times) = self.table(entries.clone(), now, steps, is_same);
        let span = |now: i64| {
            let end = self.reference(selector.shift, now);
            Span { now, start: end.saturating_sub(range.range), end }
        };
        let spans: Vec<Span> = times.into_iter().map(span).collect();
        let (Some(first), Some(last)) = (spans.first(), spans.last()) else { return Ok(None) };
        let after = Timestamp::from_millis(first.start.saturating_sub(before));
        let until = Timestamp::from_millis(last.end.saturating_add(behind));
        // The samples of one series at a time are held; where there is no room for them, each step reads its own.
        let history = self.history;
        let each = || entries.iter().map(|entry| history.get(entry.id));
        let most = each().flatten().map(|s| s.about(after, until)).max().unwrap_or(0);
        let has_room = self.load(most).is_ok();
        if has_room {
            let mut points = std::mem::take(&mut self.points);
            for (i, series) in each().enumerate() {
                let Some(series) = series.filter(|s| s.last().time > after.as_millis()) else { continue };
                let cells = table.cells.iter_mut().skip(i).step_by(entries.len());
                let long = Timestamp::from_millis(first.start);
                if reduction.thinning != Thinning::No
                    && selector.extent == Extent::Range
                    && series.about(long, Timestamp::from_millis(first.end)) >= LONG
                {
                    self.reduce_long(series, &spans, reduction, &mut points, cells)?;
                } else {
                    points.clear();
                    series.read(after, until, &mut points);
                    self.reduce(&points, &spans, selector.extent, reduction, cells)?;
                }
            }
            self.points = points;
        }
        self.unload(most);
        Ok(has_room.then_some(table))
    }

    /// The function's results over spans of one series' samples.
    fn reduce<'c>(
        &self,
        points: &[Point],
        spans: &[Span],
        extent: Extent,
        reduction: &Reduction<'_>,
        cells: impl Iterator<Item = &'c mut Option<f64>>,
    ) -> Result<(), EvalError> {
        self.check_deadline()?;
        let (before, behind) = self.beside(extent);
        let thinning = if extent == Extent::Range { reduction.thinning } else { Thinning::No };
        let mut slide = Slide::new(points, thinning);
        let mut seen = 0;
        for (span, cell) in spans.iter().zip(cells) {
            let (points, count) = slide.to(span.start.saturating_sub(before), span.end.saturating_add(behind));
            if points.is_empty() {
                continue;
            }
            *cell = (reduction.function)(&span.window(points, count, extent, reduction.parameter));
            seen += points.len();
            if seen > UNCHECKED {
                seen = 0;
                self.check_deadline()?;
            }
        }
        Ok(())
    }

    /// As [`Eval::reduce`], over spans in which most samples need not be seen.
    fn reduce_long<'c>(
        &self,
        series: SeriesRef<'_>,
        spans: &[Span],
        reduction: &Reduction<'_>,
        points: &mut Vec<Point>,
        cells: impl Iterator<Item = &'c mut Option<f64>>,
    ) -> Result<(), EvalError> {
        for (span, cell) in spans.iter().zip(cells) {
            self.check_deadline()?;
            points.clear();
            let (after, until) = (Timestamp::from_millis(span.start), Timestamp::from_millis(span.end));
            let count = series.read_thinned(after, until, reduction.thinning, points);
            if !points.is_empty() {
                *cell = (reduction.function)(&span.window(points, count, Extent::Range, reduction.parameter));
            }
        }
        Ok(())
    }
}

/// The range of one step.
struct Span {
    now: i64,
    start: i64,
    end: i64,
}

impl Span {
    fn window<'w>(&self, points: &'w [Point], count: usize, extent: Extent, parameter: f64) -> Window<'w> {
        Window { points, count, extent, start: self.start, end: self.end, now: self.now, parameter }
    }
}

/// The newest sample of a series at each of some times, which are in order.
fn newest_at<'c>(
    series: SeriesRef<'_>,
    times: &[i64],
    lookback: i64,
    mut cells: impl Iterator<Item = &'c mut Option<Point>>,
) {
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return };
    let mut times = times.iter().copied().peekable();
    let mut newest: Option<Point> = None;
    let mut settle = |time: i64, newest: Option<Point>| {
        if let Some(cell) = cells.next() {
            *cell = newest.filter(|p| p.time > time.saturating_sub(lookback) && !is_stale_marker(p.value));
        }
    };
    series.follow(Timestamp::from_millis(*first), Timestamp::from_millis(*last), |point| {
        while let Some(time) = times.next_if(|time| *time < point.time) {
            settle(time, newest);
        }
        newest = Some(point);
    });
    times.for_each(|time| settle(time, newest));
}
