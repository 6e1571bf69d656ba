//! Selectors: from matchers to samples. Each remembers the series it found for as long as they are the same.

use std::sync::{Arc, PoisonError};

use super::error::EvalError;
use super::eval::Eval;
use super::functions::Window;
use super::plan::{At, Extent, Range, RangeSource, Selector, Shift};
use super::value::{RangeSeries, Sample};
use crate::history::{History, Matcher, Point};
use crate::model::{Labels, SeriesId, Timestamp};

/// The series of a selector, and the generation of the index under which they were found.
#[derive(Default)]
pub struct Remembered {
    found: Option<(u64, Arc<[Entry]>)>,
}

/// One series of a selector.
pub struct Entry {
    id: SeriesId,
    labels: Labels,
    without_name: Labels,
}

impl Selector {
    fn series(&self, history: &History) -> Arc<[Entry]> {
        let generation = history.generation(&self.matchers);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, entries)) = &remembered.found
            && *of == generation
        {
            return entries.clone();
        }
        let entry = |s: &crate::history::SeriesRef<'_>| Entry {
            id: s.series().id,
            labels: s.labels().clone(),
            without_name: s.labels().without_name(),
        };
        let entries: Arc<[Entry]> = history.select(&self.matchers).iter().map(entry).collect();
        remembered.found = Some((generation, entries.clone()));
        entries
    }
}

impl Eval<'_> {
    /// The time a selector looks at.
    fn reference(&self, shift: Shift, now: i64) -> i64 {
        let base = match shift.at {
            None => now,
            Some(At::Time(t)) => t,
            Some(At::Start) => self.start,
            Some(At::End) => self.end,
        };
        base.saturating_sub(shift.offset)
    }

    /// The newest sample of each series, with its own time.
    fn newest(&mut self, selector: &Selector, now: i64, mut take: impl FnMut(&Entry, Point)) -> Result<(), EvalError> {
        self.check_deadline()?;
        let at = self.reference(selector.shift, now);
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
        self.newest(selector, now, |e, p| out.push(Sample { labels: e.labels.clone(), value: p.value, time }))?;
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

    /// The series that these matchers find, with the newest sample of each.
    pub(super) fn newest_of(
        &mut self,
        matchers: &[Matcher],
        shift: Shift,
        now: i64,
    ) -> Result<Vec<(Labels, Point)>, EvalError> {
        let at = self.reference(shift, now);
        let (after, at) = (Timestamp::from_millis(at.saturating_sub(self.lookback)), Timestamp::from_millis(at));
        let mut out = Vec::new();
        for series in self.history.select(matchers) {
            if let Some(point) = series.newest(after, at) {
                self.load(1)?;
                out.push((series.labels().clone(), point));
            }
        }
        Ok(out)
    }

    /// As [`Eval::instant_vector`], the values being the times of the samples, in seconds.
    pub(super) fn timestamps(&mut self, selector: &Selector, now: i64) -> Result<Vec<Sample>, EvalError> {
        let mut out = Vec::new();
        let time = Timestamp::from_millis(now);
        self.newest(selector, now, |e, p| {
            out.push(Sample { labels: e.without_name.clone(), value: p.time as f64 / 1000.0, time });
        })?;
        Ok(out)
    }

    /// Calls `take` with the labels, the labels without the name, and the samples of each series that has any.
    pub(super) fn windows(
        &mut self,
        range: &Range,
        now: i64,
        parameter: f64,
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
                let beside = |asked: bool| if asked { self.lookback } else { 0 };
                let after = start.saturating_sub(beside(extent != Extent::Range));
                let until = end.saturating_add(beside(extent == Extent::Smoothed));
                let (after, until) = (Timestamp::from_millis(after), Timestamp::from_millis(until));
                let mut points = std::mem::take(&mut self.points);
                for entry in selector.series(self.history).iter() {
                    let Some(series) = self.history.get(entry.id) else { continue };
                    points.clear();
                    series.read(after, until, &mut points);
                    if points.is_empty() {
                        continue;
                    }
                    self.load(points.len())?;
                    self.check_deadline()?;
                    let window = Window { points: &points, extent, start, end, now, parameter };
                    take(self, &entry.labels, &entry.without_name, &window)?;
                    self.unload(points.len());
                }
                self.points = points;
            }
            RangeSource::Subquery { node, step, .. } => {
                let step = step.unwrap_or(self.default_step).max(1);
                // Steps lie on multiples of the step, whatever the range begins with.
                let first = start.div_euclid(step).saturating_add(1).saturating_mul(step);
                for RangeSeries { labels, points } in self.steps(node, first, end, step)? {
                    self.check_deadline()?;
                    let window = Window { points: &points, extent: Extent::Range, start, end, now, parameter };
                    let nameless = self.nameless(&labels)?;
                    take(self, &labels, &nameless, &window)?;
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
