//! Functions of the samples of a range: rates, regressions, and what the `_over_time` family says.

use super::functions::Window;
use super::math::{self, KahanSum, Mean, Variance};
use crate::history::Point;

fn first_and_last<'w>(w: &Window<'w>) -> Option<(&'w Point, &'w Point)> {
    match w.points {
        [first, .., last] => Some((first, last)),
        _ => None,
    }
}

/// The difference over the whole range, from the samples within it: what is missing at either end is extrapolated,
/// up to half an interval where the series seems to begin or end inside the range, and never below zero for counters.
fn extrapolated(w: &Window<'_>, counter: bool) -> Option<f64> {
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
    let interval = sampled / (w.points.len() - 1) as f64;
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
    Some(result * ((sampled + to_start + to_end) / sampled))
}

pub fn rate(w: &Window<'_>) -> Option<f64> {
    let range = w.end.saturating_sub(w.start) as f64 / 1000.0;
    extrapolated(w, true).map(|v| v / range)
}

pub fn increase(w: &Window<'_>) -> Option<f64> {
    extrapolated(w, true)
}

pub fn delta(w: &Window<'_>) -> Option<f64> {
    extrapolated(w, false)
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

fn pairs<'w>(w: &Window<'w>) -> impl Iterator<Item = (f64, f64)> + use<'w> {
    w.points.windows(2).map(|p| (p[0].value, p[1].value))
}

pub fn changes(w: &Window<'_>) -> Option<f64> {
    Some(pairs(w).filter(|(a, b)| a != b && !(a.is_nan() && b.is_nan())).count() as f64)
}

pub fn resets(w: &Window<'_>) -> Option<f64> {
    Some(pairs(w).filter(|(a, b)| b < a).count() as f64)
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
    Some(w.points.len() as f64)
}

/// The smallest value; NaN only when there is nothing else.
pub fn min(w: &Window<'_>) -> Option<f64> {
    w.points.iter().map(|p| p.value).reduce(|a, b| if b < a || a.is_nan() { b } else { a })
}

/// The largest value; NaN only when there is nothing else.
pub fn max(w: &Window<'_>) -> Option<f64> {
    w.points.iter().map(|p| p.value).reduce(|a, b| if b > a || a.is_nan() { b } else { a })
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

pub fn median_absolute_deviation(w: &Window<'_>) -> Option<f64> {
    let mut values: Vec<f64> = w.points.iter().map(|p| p.value).collect();
    let median = math::quantile(0.5, &mut values);
    values.iter_mut().for_each(|v| *v = (*v - median).abs());
    Some(math::quantile(0.5, &mut values))
}
