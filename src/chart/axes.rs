//! The axes of a chart: how far they reach, and where their lines and labels stand.

use jiff::tz::TimeZone;

use super::read::{Figure, Line};
use super::unit::Unit;
use crate::model::Timestamp;

/// The vertical axis.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Axis {
    pub low: f64,
    pub high: f64,
    /// Between two lines of the grid.
    pub step: f64,
}

impl Axis {
    /// So that all own values and the threshold are seen, from 0 on where that does not flatten them.
    pub fn of(figure: &Figure) -> Axis {
        let values = || figure.own.iter().flat_map(Line::values).chain(figure.threshold);
        let (mut low, mut high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        if low >= high {
            // A flat line in the middle, or 0 at the bottom.
            let room = if low == 0.0 { 1.0 } else { low.abs() / 2.0 };
            (low, high) = (low - if low == 0.0 { 0.0 } else { room }, high + room);
        }
        let span = high - low;
        if low > 0.0 && low < span * 2.0 {
            low = 0.0;
        } else if high < 0.0 && -high < span * 2.0 {
            high = 0.0;
        }
        let full = match figure.unit {
            Unit::Ratio => 1.0,
            Unit::Percent => 100.0,
            _ => f64::NAN,
        };
        let is_share = low >= 0.0 && high <= full;
        let step = figure.unit.step(high - low, 5);
        // A little room, but a share does not go beyond the whole.
        let room = (high - low) * 0.04;
        let low = if low == 0.0 { 0.0 } else { ((low - room) / step).floor() * step };
        let high = if high == 0.0 { 0.0 } else { ((high + room) / step).ceil() * step };
        Axis { low, high: if is_share { high.min(full) } else { high }, step }
    }

    /// Where the lines of the grid stand.
    pub fn ticks(&self) -> Vec<f64> {
        let first = (self.low / self.step - 1e-6).ceil();
        let ticks = (0..20).map(|n| (first + f64::from(n)) * self.step);
        ticks.take_while(|tick| *tick <= self.high + self.step * 1e-6).collect()
    }
}

/// Seconds between two labels of the time axis.
const STEPS: &[i64] = &[10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];

/// The least room that a label of the time axis needs, as a part of it.
const LABELS: i64 = 7;

/// Distance of labels, for so many milliseconds.
fn time_step(span: i64) -> i64 {
    let step = STEPS.iter().map(|s| s * 1000).find(|step| *step * LABELS >= span);
    step.unwrap_or(3_600_000)
}

/// Milliseconds at which the time axis has a label: round times of the zone.
pub fn time_marks(from: Timestamp, until: Timestamp, zone: &TimeZone) -> Vec<f64> {
    let step = time_step(until.millis_since(from));
    let offset = instant(from).map_or(0, |at| i64::from(zone.to_offset(at).seconds()) * 1000);
    let first = (from.as_millis() + offset + step - 1).div_euclid(step) * step - offset;
    (0..20).map(|n| first + n * step).take_while(|t| *t <= until.as_millis()).map(|t| t as f64).collect()
}

/// A label of the time axis: `14:05`, or with seconds where marks of a chart over `span` milliseconds are that close.
pub fn clock(millis: f64, span: i64, zone: &TimeZone) -> String {
    let Some(at) = instant(Timestamp::from_millis(millis as i64)) else { return String::new() };
    let form = if time_step(span) < 60_000 { "%H:%M:%S" } else { "%H:%M" };
    at.to_zoned_datetime(zone.clone()).strftime(form).to_string()
}

/// The day and the zone: `26 Nov 2026, UTC`.
pub fn date(at: Timestamp, zone: &TimeZone) -> String {
    instant(at).map(|at| at.to_zoned_datetime(zone.clone()).strftime("%-d %b %Y, %Z").to_string()).unwrap_or_default()
}

fn instant(at: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(at.as_millis()).ok()
}
