//! Selectors: from matchers to samples. Each remembers the series it found for as long as they are the same.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::ahead::{Grid, Reduction, address};
use super::error::EvalError;
use super::eval::Eval;
use super::functions::Window;
use super::plan::{At, Extent, Range, RangeSource, Selector, Shift};
use super::reads::Shared;
use super::value::{RangeSeries, Sample};
use crate::history::{History, Matcher, Point, Thinning};
use crate::model::{Labels, SeriesId, Timestamp};

/// The series of a selector, and the generation of the index under which they were found.
#[derive(Debug, Default)]
pub struct Remembered {
    found: Mutex<Option<(u64, Arc<[Entry]>)>>,
}

/// One series of a selector.
#[derive(Debug)]
pub struct Entry {
    pub id: SeriesId,
    pub labels: Labels,
    pub without_name: Labels,
}

impl Remembered {
    fn series(&self, history: &History, matchers: &[Matcher]) -> Arc<[Entry]> {
        let generation = history.generation(matchers);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, entries)) = &*found
            && *of == generation
        {
            return entries.clone();
        }
        let entry = |s: &crate::history::SeriesRef<'_>| Entry {
            id: s.series().id,
            labels: s.labels().clone(),
            without_name: s.labels().without_name(),
        };
        let entries: Arc<[Entry]> = history.select(matchers).iter().map(entry).collect();
        *found = Some((generation, entries.clone()));
        entries
    }
}

impl Selector {
    pub fn new(matchers: Vec<Matcher>, shift: Shift, extent: Extent) -> Selector {
        Selector { matchers, shift, extent, remembered: Remembered::default(), shared: OnceLock::new() }
    }

    pub(super) fn series(&self, history: &History) -> Arc<[Entry]> {
        self.shared.get().map_or(&self.remembered, |place| &place.remembered).series(history, &self.matchers)
    }

    /// What it reads is read once for all selectors of this place.
    pub fn share(&self, place: Arc<Shared>) {
        // A second time it would be the same place, or a smaller one that does as well.
        let _ = self.shared.set(place);
    }
}

impl Eval<'_> {
    /// The time a selector looks at.
    pub(super) fn reference(&self, shift: Shift, now: i64) -> i64 {
        let base = match shift.at {
            None => now,
            Some(At::Time(t)) => t,
            Some(At::Start) => self.start,
            Some(At::End) => self.end,
        };
        base.saturating_sub(shift.offset)
    }

    /// Where other queries may have read already what the selector reads: at the one time of an instant query.
    fn shared<'s>(&self, selector: &'s Selector, at: i64) -> Option<&'s Shared> {
        let place = selector.shared.get()?;
        (at == self.end && !self.in_range).then_some(place)
    }

    /// The newest sample of each series, with its own time.
    fn newest(
        &mut self,
        selector: &Selector,
        shift: Shift,
        now: i64,
        mut take: impl FnMut(&Entry, Point),
    ) -> Result<(), EvalError> {
        self.check_deadline()?;
        let at = self.reference(shift, now);
        if let Some(place) = self.shared(selector, at) {
            let (history, lookback) = (self.history, self.lookback);
            return place.newest(history, &selector.series(history), (at, lookback), |entry, point| {
                self.load(1)?;
                take(entry, point);
                Ok(())
            });
        }
        if self.newest_ahead(selector, shift, now, &mut take)? {
            return Ok(());
        }
        let after = Timestamp::from_millis(at.saturating_sub(self.lookback));
        let at = Timestamp::from_millis(at);
        for entry in selector.series(self.history).iter() {
            if let Some(point) = self.history.get(entry.id).and_then(|s| s.newest(after, at)) {
                self.load(1)?;
                take(entry, point);
            }
        }
        Ok(())
    }

    pub(super) fn instant_vector(&mut self, selector: &Selector, now: i64) -> Result<Vec<Sample>, EvalError> {
        let mut out = Vec::new();
        let time = Timestamp::from_millis(now);
        if selector.extent == Extent::Smoothed {
            return self.smoothed(selector, now);
        }
        self.newest(selector, selector.shift, now, |e, p| {
            out.push(Sample { labels: e.labels.clone(), value: p.value, time })
        })?;
        Ok(out)
    }

    /// Of each series what lies between the samples before and after the time; the last one where none follows.
    fn smoothed(&mut self, selector: &Selector, now: i64) -> Result<Vec<Sample>, EvalError> {
        let at = self.reference(selector.shift, now);
        let (after, until) = (at.saturating_sub(self.lookback), at.saturating_add(self.lookback));
        let mut out = Vec::new();
        let mut points = Vec::new();
        for entry in selector.series(self.history).iter() {
            self.check_deadline()?;
            points.clear();
            let Some(series) = self.history.get(entry.id) else { continue };
            series.read(Timestamp::from_millis(after), Timestamp::from_millis(until), &mut points);
            self.load(points.len())?;
            if let Some(value) = interpolate_at(&points, at) {
                out.push(Sample { labels: entry.labels.clone(), value, time: Timestamp::from_millis(now) });
            }
            self.unload(points.len());
        }
        Ok(out)
    }

    /// The series of a selector, with the newest sample of each.
    pub(super) fn newest_points(&mut self, selector: &Selector, now: i64) -> Result<Vec<(Labels, Point)>, EvalError> {
        let mut out = Vec::new();
        self.newest(selector, selector.shift, now, |e, p| out.push((e.labels.clone(), p)))?;
        Ok(out)
    }

    /// As [`Eval::instant_vector`], the values being the times of the samples, in seconds.
    pub(super) fn timestamps(&mut self, selector: &Selector, now: i64) -> Result<Vec<Sample>, EvalError> {
        let mut out = Vec::new();
        let time = Timestamp::from_millis(now);
        // With `@`, Prometheus leaves out the offset here.
        let shift = selector.shift;
        let shift = if shift.at.is_some() { Shift { offset: 0, ..shift } } else { shift };
        self.newest(selector, shift, now, |e, p| {
            out.push(Sample { labels: e.without_name.clone(), value: p.time as f64 / 1000.0, time });
        })?;
        Ok(out)
    }

    /// How far before and behind a range the samples lie that it asks for besides.
    pub(super) fn beside(&self, extent: Extent) -> (i64, i64) {
        match extent {
            Extent::Range => (0, 0),
            Extent::Anchored => (self.lookback, 0),
            Extent::Smoothed => (self.lookback, self.lookback),
        }
    }

    /// Calls `take` with the labels, the labels without the name, and the result of each series that has any.
    pub(super) fn reduced(
        &mut self,
        range: &Range,
        now: i64,
        reduction: &Reduction<'_>,
        mut take: impl FnMut(&mut Self, &Labels, &Labels, f64) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        if let RangeSource::Selector(selector) = &range.source {
            self.check_deadline()?;
            let take = |eval: &mut Self, entry: &Entry, v| take(eval, &entry.labels, &entry.without_name, v);
            if self.results_ahead(range, selector, now, reduction, take)? {
                return Ok(());
            }
        }
        self.windows(range, now, reduction.parameter, reduction.thinning, |eval, labels, without_name, window| {
            match (reduction.function)(window) {
                Some(value) => take(eval, labels, without_name, value),
                None => Ok(()),
            }
        })
    }

    /// Calls `take` with the labels, the labels without the name, and the samples of each series that has any, if need
    /// be without those that may be left out.
    pub(super) fn windows(
        &mut self,
        range: &Range,
        now: i64,
        parameter: f64,
        thinning: Thinning,
        mut take: impl FnMut(&mut Self, &Labels, &Labels, &Window<'_>) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        self.check_deadline()?;
        let shift = match &range.source {
            RangeSource::Selector(selector) => selector.shift,
            RangeSource::Subquery { shift, .. } => *shift,
        };
        let end = self.reference(shift, now);
        let start = end.saturating_sub(range.range);
        match &range.source {
            RangeSource::Selector(selector) => {
                let extent = selector.extent;
                if let Some(place) = self.shared(selector, end) {
                    let (history, lookback) = (self.history, self.lookback);
                    let entries = selector.series(history);
                    let done = place.range(history, &entries, (start, end, lookback), |entry, points| {
                        self.load(points.len())?;
                        self.check_deadline()?;
                        let window = Window { points, count: points.len(), extent, start, end, now, parameter };
                        take(self, &entry.labels, &entry.without_name, &window)?;
                        self.unload(points.len());
                        Ok(())
                    });
                    if let Some(done) = done {
                        return done;
                    }
                }
                let (before, behind) = self.beside(extent);
                let (after, until) = (start.saturating_sub(before), end.saturating_add(behind));
                let thinning = if extent == Extent::Range { thinning } else { Thinning::No };
                let (after, until) = (Timestamp::from_millis(after), Timestamp::from_millis(until));
                let mut points = std::mem::take(&mut self.points);
                for entry in selector.series(self.history).iter() {
                    let Some(series) = self.history.get(entry.id) else { continue };
                    points.clear();
                    let count = series.read_thinned(after, until, thinning, &mut points);
                    if points.is_empty() {
                        continue;
                    }
                    self.load(points.len())?;
                    self.check_deadline()?;
                    let window = Window { points: &points, count, extent, start, end, now, parameter };
                    take(self, &entry.labels, &entry.without_name, &window)?;
                    self.unload(points.len());
                }
                self.points = points;
            }
            RangeSource::Subquery { node, step, .. } => {
                let step = step.unwrap_or(self.default_step).max(1);
                // Steps lie on multiples of the step, whatever the range begins with.
                let first = start.div_euclid(step).saturating_add(1).saturating_mul(step);
                let mut each = |eval: &mut Self, labels: &Labels, points: &[Point]| {
                    eval.check_deadline()?;
                    let count = points.len();
                    let window = Window { points, count, extent: Extent::Range, start, end, now, parameter };
                    let nameless = eval.nameless(labels)?;
                    take(eval, labels, &nameless, &window)
                };
                let is_seen_again = shift.at.is_some() || self.grid.step <= range.range;
                if self.grid.until > now && is_seen_again {
                    let grid = Grid { step, until: self.reference(shift, self.grid.until) };
                    let mut past = self.ahead.past.remove(&address(range)).unwrap_or_default();
                    self.go_on(&mut past, node, (first, end), grid)?;
                    past.series().try_for_each(|(labels, points)| each(self, labels, points))?;
                    self.ahead.past.insert(address(range), past);
                } else {
                    for RangeSeries { labels, points } in self.steps(node, first, end, step)? {
                        each(self, &labels, &points)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The value at a time, from the samples around it.
fn interpolate_at(points: &[Point], at: i64) -> Option<f64> {
    let next = points.partition_point(|p| p.time < at);
    let before = next.checked_sub(1).and_then(|i| points.get(i));
    match (before, points.get(next)) {
        (_, Some(p)) if p.time == at => Some(p.value),
        (Some(a), Some(b)) => {
            let (part, whole) = (at.saturating_sub(a.time) as f64, b.time.saturating_sub(a.time) as f64);
            Some(a.value + (b.value - a.value) * part / whole)
        }
        (before, _) => before.map(|p| p.value),
    }
}
