//! Ranges with the samples beside them: `anchored` and `smoothed`. Nothing is extrapolated; at the ends of the range
//! stand the last value before it or, smoothed, what lies between the neighbours.

use crate::history::Point;
use crate::promql::functions::Window;
use crate::promql::plan::Extent;

/// The places of the first and the last sample that count.
fn bounds(w: &Window<'_>) -> Option<(usize, usize)> {
    let before_last = w.points.get(..w.points.len().checked_sub(1)?)?;
    let first = before_last.partition_point(|p| p.time <= w.start).saturating_sub(1);
    let last = match w.extent {
        Extent::Smoothed => before_last.partition_point(|p| p.time < w.end),
        _ => before_last.len(),
    };
    (w.points.get(last)?.time > w.start).then_some((first, last))
}

fn interpolated(a: &Point, b: &Point, time: i64, counter: bool) -> f64 {
    // A counter that is less than it was has begun at 0.
    let from = if counter && b.value < a.value { 0.0 } else { a.value };
    let (part, whole) = (time.saturating_sub(a.time) as f64, b.time.saturating_sub(a.time) as f64);
    from + (b.value - from) * part / whole
}

/// The value where the range begins.
fn left(w: &Window<'_>, first: usize, counter: bool) -> Option<f64> {
    let point = w.points.get(first)?;
    match w.points.get(first + 1) {
        Some(next) if point.time < w.start && w.extent == Extent::Smoothed => {
            Some(interpolated(point, next, w.start, counter))
        }
        _ => Some(point.value),
    }
}

/// The value where the range ends.
fn right(w: &Window<'_>, last: usize, counter: bool) -> Option<f64> {
    let point = w.points.get(last)?;
    match last.checked_sub(1).and_then(|i| w.points.get(i)) {
        Some(previous) if point.time > w.end && w.extent == Extent::Smoothed => {
            Some(interpolated(previous, point, w.end, counter))
        }
        Some(previous) if point.time > w.end => Some(previous.value),
        _ => Some(point.value),
    }
}

/// The samples from `first` to `last` that lie within the range, its ends left out.
fn within<'w>(w: &Window<'w>, first: usize, last: usize) -> &'w [Point] {
    let points = w.points.get(first..=last).unwrap_or(&[]);
    let from = points.partition_point(|p| p.time <= w.start);
    let to = points.partition_point(|p| p.time < w.end);
    points.get(from..to).unwrap_or(&[])
}

/// How much the value has changed over the range.
pub fn difference(w: &Window<'_>, counter: bool) -> Option<f64> {
    let (first, last) = bounds(w)?;
    if w.extent == Extent::Smoothed && w.points.get(first)?.time > w.end {
        return None;
    }
    let (from, to) = (left(w, first, counter)?, right(w, last, counter)?);
    let mut result = to - from;
    if counter {
        let mut previous = from;
        let mut resets = 0.0;
        for value in within(w, first, last).iter().map(|p| p.value).chain([to]) {
            if value < previous {
                resets += previous;
            }
            previous = value;
        }
        result += resets;
    }
    Some(result)
}

/// From the last sample before the range on; none where there is none in it.
pub fn anchored<'w>(w: &Window<'w>) -> Option<&'w [Point]> {
    let inside = w.points.partition_point(|p| p.time <= w.start);
    if inside >= w.points.len() {
        return None;
    }
    w.points.get(inside.saturating_sub(1)..)
}

/// The samples in the range, and one at each of its ends; as they are for a plain range.
pub fn matrix(w: &Window<'_>) -> Vec<Point> {
    if w.extent == Extent::Range {
        return w.points.to_vec();
    }
    let ends = bounds(w).and_then(|(first, last)| {
        let (from, to) = (left(w, first, false)?, right(w, last, false)?);
        Some((first, last, from, to))
    });
    let Some((first, last, from, to)) = ends else { return Vec::new() };
    let mut out = vec![Point { time: w.start, value: from }];
    out.extend_from_slice(within(w, first, last));
    out.push(Point { time: w.end, value: to });
    out
}
