//! Functions of civil time, in UTC. What is no time within the years -9999 to 9999 gives NaN.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

fn civil(seconds: f64, part: impl FnOnce(DateTime) -> f64) -> f64 {
    if !seconds.is_finite() {
        return f64::NAN;
    }
    // As everywhere in the language, parts of a second are cut off.
    jiff::Timestamp::from_second(seconds as i64).map_or(f64::NAN, |t| part(TimeZone::UTC.to_datetime(t)))
}

pub fn day_of_month(seconds: f64) -> f64 {
    civil(seconds, |t| t.day().into())
}

/// 0 is Sunday.
pub fn day_of_week(seconds: f64) -> f64 {
    civil(seconds, |t| t.weekday().to_sunday_zero_offset().into())
}

pub fn day_of_year(seconds: f64) -> f64 {
    civil(seconds, |t| t.day_of_year().into())
}

pub fn days_in_month(seconds: f64) -> f64 {
    civil(seconds, |t| t.days_in_month().into())
}

pub fn hour(seconds: f64) -> f64 {
    civil(seconds, |t| t.hour().into())
}

pub fn minute(seconds: f64) -> f64 {
    civil(seconds, |t| t.minute().into())
}

pub fn month(seconds: f64) -> f64 {
    civil(seconds, |t| t.month().into())
}

pub fn year(seconds: f64) -> f64 {
    civil(seconds, |t| t.year().into())
}
