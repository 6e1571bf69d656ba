//! Durations, and what they come to.

use super::{Planned, Planner};
use crate::promql::syntax::{DurationExpr, DurationOp};

/// 2^63 nanoseconds, in seconds: some 292 years.
const MAX_SECONDS: f64 = 9_223_372_036.854_775;

impl Planner<'_> {
    /// A duration that has to be more than nothing, in milliseconds.
    pub(super) fn positive_millis(&mut self, duration: &DurationExpr, at: usize) -> Planned<i64> {
        if let DurationExpr::Number(seconds) = duration {
            return Ok(literal_millis(*seconds));
        }
        match self.computed(duration, at)? {
            Some(seconds) if seconds <= 0.0 => self.refuse(at, "duration must be greater than 0"),
            seconds => Ok(seconds.map_or(1, computed_millis)),
        }
    }

    /// A duration of either sign, in milliseconds.
    pub(super) fn millis(&mut self, duration: &DurationExpr, at: usize) -> Planned<i64> {
        match duration {
            DurationExpr::Number(seconds) => Ok(literal_millis(*seconds)),
            _ => Ok(self.computed(duration, at)?.map_or(0, computed_millis)),
        }
    }

    /// Seconds; none where they hang on a context that is not known.
    fn computed(&mut self, duration: &DurationExpr, at: usize) -> Planned<Option<f64>> {
        let Some(seconds) = self.seconds(duration, at)? else { return Ok(None) };
        if !seconds.is_finite() {
            return self.refuse(at, "duration is NaN or infinite");
        }
        if seconds.abs() > MAX_SECONDS {
            return self.refuse(at, "duration is out of range");
        }
        Ok(Some(seconds))
    }

    fn seconds(&mut self, duration: &DurationExpr, at: usize) -> Planned<Option<f64>> {
        let of_context = |millis: Option<i64>| millis.map(|m| m as f64 / 1000.0);
        Ok(match duration {
            DurationExpr::Number(seconds) => Some(*seconds),
            DurationExpr::Step => {
                self.contextual = true;
                of_context(self.context.map(|c| c.step))
            }
            DurationExpr::Range => {
                self.contextual = true;
                of_context(self.context.map(|c| c.end.saturating_sub(c.start)))
            }
            DurationExpr::Negate(inner) => self.seconds(inner, at)?.map(|s| -s),
            DurationExpr::Pair(op, pair) => {
                let (Some(a), Some(b)) = (self.seconds(&pair.0, at)?, self.seconds(&pair.1, at)?) else {
                    return Ok(None);
                };
                Some(match op {
                    DurationOp::Add => a + b,
                    DurationOp::Sub => a - b,
                    DurationOp::Mul => a * b,
                    DurationOp::Div if b == 0.0 => return self.refuse(at, "division by zero"),
                    DurationOp::Div => a / b,
                    DurationOp::Mod if b == 0.0 => return self.refuse(at, "modulo by zero"),
                    DurationOp::Mod => a % b,
                    DurationOp::Pow => a.powf(b),
                    DurationOp::Min => a.min(b),
                    DurationOp::Max => a.max(b),
                })
            }
        })
    }
}

/// As Prometheus takes a number: to the nearest nanosecond, and then what is left of a millisecond is dropped.
fn literal_millis(seconds: f64) -> i64 {
    (seconds * 1e9).round() as i64 / 1_000_000
}

/// What is left of a millisecond is dropped.
fn computed_millis(seconds: f64) -> i64 {
    (seconds * 1000.0) as i64
}
