//! Functions of the samples of a range: rates, regressions, and what the `_over_time` family says.

use super::functions::Window;
use super::math::{self, KahanSum, Mean, Variance};
use super::plan::Extent;
use crate::history::{Point, greatest, least};

mod extended;

pub use extended::matrix;

fn first_and_last<'w>(w: &Window<'w>) -> Option<(&'w Point, &'w Point)> {
    match w.points {
        [first, .., last] => Some((first, last)),
        _ => None,
    }
}

/// The difference over the whole range, from the samples within it: what is missing at either end is extrapolated,
/// up to half an interval where the series seems to begin or end inside the range, and never below zero for counters.
/// By `divisor` the result is divided.
fn extrapolated(w: &Window<'_>, counter: bool, divisor: f64) -> Option<f64> {
    if w.extent != Extent::Range {
        return extended::difference(w, counter).map(|v| v / divisor);
    }
    let (first, last) = first_and_last(w)?;
    let mut result = last.value - first.value;
    if counter {
        let mut previous = first.value;
        for point in w.points.get(1..)? {
            if point.value < previous {
                result += previous;
            }
            previous = point.value;
        }
    }
    let seconds = |from: i64, to: i64| to.saturating_sub(from) as f64 / 1000.0;
    let mut to_start = seconds(w.start, first.time);
    let mut to_end = seconds(last.time, w.end);
    let sampled = seconds(first.time, last.time);
    let interval = sampled / w.count.saturating_sub(1) as f64;
    let threshold = interval * 1.1;
    if to_start >= threshold {
        to_start = interval / 2.0;
    }
    if counter {
        let mut to_zero = to_start;
        if result > 0.0 && first.value >= 0.0 {
            to_zero = sampled * (first.value / result);
        }
        to_start = to_start.min(to_zero);
    }
    if to_end >= threshold {
        to_end = interval / 2.0;
    }
    Some(result * ((sampled + to_start + to_end) / sampled / divisor))
}

pub fn rate(w: &Window<'_>) -> Option<f64> {
    extrapolated(w, true, math::seconds(w.end.saturating_sub(w.start)))
}

pub fn increase(w: &Window<'_>) -> Option<f64> {
    extrapolated(w, true, 1.0)
}

pub fn delta(w: &Window<'_>) -> Option<f64> {
    extrapolated(w, false, 1.0)
}

pub fn irate(w: &Window<'_>) -> Option<f64> {
    let [.., previous, last] = w.points else { return None };
    let difference = if last.value < previous.value { last.value } else { last.value - previous.value };
    Some(difference / (last.time.saturating_sub(previous.time) as f64 / 1000.0))
}

pub fn idelta(w: &Window<'_>) -> Option<f64> {
    let [.., previous, last] = w.points else { return None };
    Some(last.value - previous.value)
}

/// Least squares: slope per second, and the value at `origin`.
fn linear_regression(points: &[Point], origin: i64) -> (f64, f64) {
    let first = points.first().map_or(f64::NAN, |p| p.value);
    if points.iter().all(|p| p.value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let (mut x, mut y, mut xy, mut xx) =
        (KahanSum::default(), KahanSum::default(), KahanSum::default(), KahanSum::default());
    for p in points {
        let seconds = p.time.saturating_sub(origin) as f64 / 1000.0;
        x.add(seconds);
        y.add(p.value);
        xy.add(seconds * p.value);
        xx.add(seconds * seconds);
    }
    let total = |s: KahanSum| s.sum + s.compensation;
    let n = points.len() as f64;
    let (x, y, xy, xx) = (total(x), total(y), total(xy), total(xx));
    let slope = (xy - x * y / n) / (xx - x * x / n);
    (slope, y / n - slope * x / n)
}

pub fn deriv(w: &Window<'_>) -> Option<f64> {
    let (first, _) = first_and_last(w)?;
    Some(linear_regression(w.points, first.time).0)
}

/// The value in `parameter` seconds.
pub fn predict_linear(w: &Window<'_>) -> Option<f64> {
    first_and_last(w)?;
    let (slope, now) = linear_regression(w.points, w.now);
    Some(slope * w.parameter + now)
}

/// Values and their successors; none where there is nothing to tell of.
fn pairs<'w>(w: &Window<'w>) -> Option<impl Iterator<Item = (f64, f64)> + use<'w>> {
    let points = match w.extent {
        Extent::Range => w.points,
        _ => extended::anchored(w)?,
    };
    Some(points.windows(2).map(|p| (p[0].value, p[1].value)))
}

pub fn changes(w: &Window<'_>) -> Option<f64> {
    Some(pairs(w)?.filter(|(a, b)| a != b && !(a.is_nan() && b.is_nan())).count() as f64)
}

pub fn resets(w: &Window<'_>) -> Option<f64> {
    Some(pairs(w)?.filter(|(a, b)| b < a).count() as f64)
}

pub fn avg(w: &Window<'_>) -> Option<f64> {
    let mut mean = Mean::default();
    w.points.iter().for_each(|p| mean.add(p.value));
    Some(mean.value())
}

pub fn sum(w: &Window<'_>) -> Option<f64> {
    let mut sum = KahanSum::default();
    w.points.iter().for_each(|p| sum.add(p.value));
    Some(sum.total())
}

pub fn count(w: &Window<'_>) -> Option<f64> {
    Some(w.count as f64)
}

/// The smallest value; NaN only when there is nothing else.
pub fn min(w: &Window<'_>) -> Option<f64> {
    w.points.iter().map(|p| p.value).reduce(least)
}

/// The largest value; NaN only when there is nothing else.
pub fn max(w: &Window<'_>) -> Option<f64> {
    w.points.iter().map(|p| p.value).reduce(greatest)
}

pub fn first(w: &Window<'_>) -> Option<f64> {
    w.points.first().map(|p| p.value)
}

pub fn last(w: &Window<'_>) -> Option<f64> {
    w.points.last().map(|p| p.value)
}

pub fn variance(w: &Window<'_>) -> Option<f64> {
    let mut variance = Variance::default();
    w.points.iter().for_each(|p| variance.add(p.value));
    Some(variance.value())
}

pub fn quantile(w: &Window<'_>) -> Option<f64> {
    let mut values: Vec<f64> = w.points.iter().map(|p| p.value).collect();
    Some(math::quantile(w.parameter, &mut values))
}

/// NaN where a value is.
pub fn median_absolute_deviation(w: &Window<'_>) -> Option<f64> {
    let mut values: Vec<f64> = w.points.iter().map(|p| p.value).collect();
    if values.iter().any(|v| v.is_nan()) {
        return Some(f64::NAN);
    }
    let median = math::quantile(0.5, &mut values);
    values.iter_mut().for_each(|v| *v = (*v - median).abs());
    Some(math::quantile(0.5, &mut values))
}

fn time_of(point: Option<&Point>) -> Option<f64> {
    point.map(|p| p.time as f64 / 1000.0)
}

pub fn time_of_first(w: &Window<'_>) -> Option<f64> {
    time_of(w.points.first())
}

pub fn time_of_last(w: &Window<'_>) -> Option<f64> {
    time_of(w.points.last())
}

/// Of equal ones the last.
pub fn time_of_max(w: &Window<'_>) -> Option<f64> {
    time_of(w.points.iter().reduce(|a, b| if b.value >= a.value || a.value.is_nan() { b } else { a }))
}

/// Of equal ones the last.
pub fn time_of_min(w: &Window<'_>) -> Option<f64> {
    time_of(w.points.iter().reduce(|a, b| if b.value <= a.value || a.value.is_nan() { b } else { a }))
}

/// Holt's double exponential smoothing; `parameter` is the factor of the values, `trend` that of the trend.
pub fn smoothing(w: &Window<'_>, trend: f64) -> Option<f64> {
    let (first, _) = first_and_last(w)?;
    let rest = w.points.get(1..)?;
    let factor = w.parameter;
    let (mut before, mut smoothed) = (0.0, first.value);
    let mut slope = rest.first()?.value - first.value;
    for (i, point) in rest.iter().enumerate() {
        let scaled = factor * point.value;
        if i > 0 {
            slope = trend * (smoothed - before) + (1.0 - trend) * slope;
        }
        (before, smoothed) = (smoothed, scaled + (1.0 - factor) * (smoothed + slope));
    }
    Some(smoothed)
}

/// How a value stands for the time between two samples.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quadrature {
    Left,
    Right,
    Trapezoid,
}

/// The area under the samples; a value that is NaN counts as 0.
pub fn integral(w: &Window<'_>, quadrature: Quadrature) -> Option<f64> {
    let known = |p: &Point| if p.value.is_nan() { 0.0 } else { p.value };
    let mut total = KahanSum::default();
    for pair in w.points.windows(2) {
        let [previous, current] = pair else { continue };
        let (a, b) = (known(previous), known(current));
        let height = match quadrature {
            Quadrature::Left => KahanSum::of(a),
            Quadrature::Right => KahanSum::of(b),
            Quadrature::Trapezoid if a == 0.0 && b == 0.0 => continue,
            Quadrature::Trapezoid => {
                let mut sum = KahanSum::of(a);
                sum.add(b);
                if sum.sum.is_infinite() && a.is_finite() && b.is_finite() {
                    // Halves of numbers do not overflow.
                    sum = KahanSum::of(a / 2.0);
                    sum.add(b / 2.0);
                    sum
                } else {
                    KahanSum { sum: sum.sum / 2.0, compensation: sum.compensation / 2.0 }
                }
            }
        };
        if height.sum != 0.0 || height.compensation != 0.0 {
            let width = current.time.saturating_sub(previous.time) as f64 / 1000.0;
            total.compensation += height.compensation * width;
            total.add(height.sum * width);
        }
    }
    Some(total.total())
}
