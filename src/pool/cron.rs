//! Cron expressions, as crontab(5) has them, in a time zone.
//!
//! Five fields: minute (0-59), hour (0-23), day of the month (1-31), month (1-12 or names), day of the week (0-7 or
//! names; 0 and 7 are Sunday). A field is `*`, a value, a range `a-b`, any of these with a step `/n`, or several of these
//! with commas. When both days are restricted, either may fit. `@hourly`, `@daily` (`@midnight`), `@weekly`, `@monthly`
//! and `@yearly` (`@annually`) are short for what they say.
//!
//! Where clocks are changed: what is to run at a fixed hour runs once on such a day, after the gap if its hour falls into
//! one, the first time if its hour comes twice. What runs every hour follows the real time.
//!
//! Ours, because the crates that are kept well bring another time zone library into the program (chrono, or an older jiff
//! beside the one that is here), which is many times as large as this.

use std::fmt;
use std::str::FromStr;

use jiff::ToSpan;
use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::model::Timestamp;

/// How many days are searched for the next moment: the rarest that is ever to come, the 29th of February on one day of
/// the week (`*/7`), is forty years away over 2100.
const DAYS: i32 = 40 * 366;

/// Clocks are never set by more than this at once, but where a whole day is left out or comes twice.
const CHANGE: i8 = 4;

/// A cron expression and its time zone.
#[derive(Clone, Debug)]
pub struct Cron {
    text: String,
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
    zone: TimeZone,
}

/// The values of a field, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Field {
    values: u64,
    /// Whether it begins with `*`: then it restricts nothing, as the rule for days has it.
    any: bool,
}

impl Field {
    fn has(self, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|value| 1_u64.checked_shl(value).is_some_and(|bit| self.values & bit != 0))
    }
}

/// What a field is called, its least and greatest value, and the names of values from the least on.
struct Kind {
    name: &'static str,
    range: (u32, u32),
    names: &'static [&'static str],
}

const MINUTE: Kind = Kind { name: "minute", range: (0, 59), names: &[] };
const HOUR: Kind = Kind { name: "hour", range: (0, 23), names: &[] };
const DAY: Kind = Kind { name: "day of the month", range: (1, 31), names: &[] };
const MONTH: Kind = Kind {
    name: "month",
    range: (1, 12),
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAY: Kind =
    Kind { name: "day of the week", range: (0, 7), names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

impl Kind {
    fn value(&self, text: &str) -> Result<u32, String> {
        let (least, greatest) = self.range;
        if let Some(index) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(least + u32::try_from(index).unwrap_or(0));
        }
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let value = if digits { text.parse().ok() } else { None };
        value
            .filter(|value| (least..=greatest).contains(value))
            .ok_or_else(|| format!("{}: {text:?} is not from {least} to {greatest}", self.name))
    }

    fn parse(&self, text: &str) -> Result<Field, String> {
        let (least, greatest) = self.range;
        let mut values = 0_u64;
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => {
                    let number = step.parse().ok().filter(|step| (1..=greatest).contains(step));
                    (range, Some(number.ok_or_else(|| format!("{}: {step:?} is no step", self.name))?))
                }
                None => (part, None),
            };
            let (from, to) = match (range, range.split_once('-')) {
                ("*", _) => (least, greatest),
                (_, Some((from, to))) => (self.value(from)?, self.value(to)?),
                // `5/15` is from 5 on, as most crons have it.
                (_, None) => (self.value(range)?, if step.is_some() { greatest } else { self.value(range)? }),
            };
            if from > to {
                return Err(format!("{}: {range:?} ends before it begins", self.name));
            }
            let step = usize::try_from(step.unwrap_or(1)).unwrap_or(1);
            values |= (from..=to).step_by(step).fold(0, |values, value| values | 1 << value);
        }
        Ok(Field { values, any: text.starts_with('*') })
    }
}

impl Cron {
    /// Reads an expression that is meant in this time zone (an IANA name such as `Europe/Berlin`); without one, in that
    /// of the host.
    ///
    /// # Errors
    /// What is wrong with the expression or the zone, in words.
    pub fn new(text: &str, zone: Option<&str>) -> Result<Cron, String> {
        let zone = match zone {
            None => TimeZone::system(),
            Some(name) => TimeZone::get(name).map_err(|_| format!("there is no time zone {name:?}"))?,
        };
        let long = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            text if text.starts_with('@') => return Err(format!("{text:?} is not known")),
            text => text,
        };
        let fields: Vec<&str> = long.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(format!("{text:?} has {} fields, not five", fields.len()));
        };
        let mut weekdays = WEEKDAY.parse(weekdays)?;
        weekdays.values |= weekdays.values >> 7 & 1;
        let cron = Cron {
            text: text.trim().to_owned(),
            minutes: MINUTE.parse(minutes)?,
            hours: HOUR.parse(hours)?,
            days: DAY.parse(days)?,
            months: MONTH.parse(months)?,
            weekdays,
            zone,
        };
        match cron.next(Timestamp::from_millis(0)) {
            Some(_) => Ok(cron),
            None => Err(format!("{text:?} never comes: no such month has such a day")),
        }
    }

    /// The first moment after this one, in whole minutes.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after = jiff::Timestamp::from_millisecond(after.as_millis()).ok()?;
        let local = self.zone.to_datetime(after);
        // A clock that is set back shows what it has shown before, and what falls into a gap comes later than it says: so
        // not the clock decides, but the moment, from some hours before on.
        let from = local.checked_sub(i64::from(CHANGE).hours()).ok()?;
        let (mut date, mut hour) = (from.date(), from.hour());
        for _ in 0..DAYS {
            if self.fits(date)
                && let Some(moment) = self.first_of_day(date, hour, after)
            {
                return Some(Timestamp::from_millis(moment.as_millisecond()));
            }
            (date, hour) = (date.checked_add(1.day()).ok()?, 0);
        }
        None
    }

    fn fits(&self, date: Date) -> bool {
        let day = self.days.has(date.day());
        let weekday = self.weekdays.has(date.weekday().to_sunday_zero_offset());
        let fits = if self.days.any || self.weekdays.any { day && weekday } else { day || weekday };
        fits && self.months.has(date.month())
    }

    /// The first moment of a day, from this hour on, that is after another.
    fn first_of_day(&self, date: Date, from: i8, after: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let mut first: Option<jiff::Timestamp> = None;
        let mut to = 24;
        for hour in (from..24).filter(|hour| self.hours.has(*hour)) {
            if hour > to {
                break;
            }
            for minute in (0..60).filter(|minute| self.minutes.has(*minute)) {
                let Ok(time) = Time::new(hour, minute, 0, 0) else { continue };
                for moment in self.moments(date, time).into_iter().flatten() {
                    if moment > after && first.is_none_or(|first| moment < first) {
                        first = Some(moment);
                        to = hour.saturating_add(CHANGE);
                    }
                }
            }
        }
        first
    }

    /// The moments at which the clock shows this.
    fn moments(&self, date: Date, time: Time) -> [Option<jiff::Timestamp>; 2] {
        let local = date.to_datetime(time);
        match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => [offset.to_timestamp(local).ok(), None],
            // The clock never shows it. With the offset from before the change, it is as long after it as it would have
            // been.
            AmbiguousOffset::Gap { before, .. } if !self.hours.any => [before.to_timestamp(local).ok(), None],
            AmbiguousOffset::Gap { .. } => [None, None],
            AmbiguousOffset::Fold { before, after } => {
                let second = if self.hours.any { after.to_timestamp(local).ok() } else { None };
                [before.to_timestamp(local).ok(), second]
            }
        }
    }
}

impl FromStr for Cron {
    type Err = String;

    /// An expression in the time zone of the host, or in the one it is given first: `CRON_TZ=Europe/Berlin 30 6 * * *`.
    fn from_str(text: &str) -> Result<Cron, String> {
        let text = text.trim();
        let zoned = text.strip_prefix("CRON_TZ=").or_else(|| text.strip_prefix("TZ="));
        match zoned.and_then(|zoned| zoned.split_once(char::is_whitespace)) {
            Some((zone, rest)) => Cron::new(rest, Some(zone)),
            None => Cron::new(text, None),
        }
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.zone.iana_name() {
            Some(name) => write!(f, "{} ({name})", self.text),
            None => write!(f, "{}", self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    /// The next moments of an expression.
    fn next(text: &str, after: &str, count: usize) -> Vec<String> {
        let cron: Cron = text.parse().unwrap();
        let moments = std::iter::successors(cron.next(at(after)), |last| cron.next(*last));
        moments.take(count).map(|moment| moment.to_string()).collect()
    }

    fn utc(text: &str, after: &str, count: usize) -> Vec<String> {
        next(&format!("CRON_TZ=UTC {text}"), after, count)
    }

    #[test]
    fn the_next_moment_is_after_the_given_one_and_on_the_minute() {
        assert_eq!(utc("* * * * *", "2026-03-01T12:00:00Z", 1), ["2026-03-01T12:01:00Z"]);
        assert_eq!(utc("* * * * *", "2026-03-01T12:00:59.999Z", 1), ["2026-03-01T12:01:00Z"]);
        assert_eq!(
            utc("*/20 6-7 * * *", "2026-03-01T06:30:00Z", 4),
            ["2026-03-01T06:40:00Z", "2026-03-01T07:00:00Z", "2026-03-01T07:20:00Z", "2026-03-01T07:40:00Z"]
        );
        assert_eq!(
            utc("5/25,3 23 31 12 *", "2026-12-31T23:04:00Z", 3),
            ["2026-12-31T23:05:00Z", "2026-12-31T23:30:00Z", "2026-12-31T23:55:00Z"]
        );
    }

    #[test]
    fn days_of_month_and_week_are_either_or_when_both_are_restricted() {
        let both = utc("0 0 13 * fri", "2026-01-01T00:00:00Z", 3);
        assert_eq!(both, ["2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z", "2026-01-13T00:00:00Z"]);
        assert_eq!(utc("0 0 */2 * mon", "2026-01-01T00:00:00Z", 2), ["2026-01-05T00:00:00Z", "2026-01-19T00:00:00Z"]);
        assert_eq!(utc("0 0 * * 7", "2026-01-01T00:00:00Z", 1), utc("@weekly", "2026-01-01T00:00:00Z", 1));
    }

    #[test]
    fn a_leap_day_is_found_over_a_century_without_one() {
        assert_eq!(utc("0 12 29 feb *", "2096-03-01T00:00:00Z", 1), ["2104-02-29T12:00:00Z"]);
        assert_eq!(utc("0 12 29 feb */7", "2088-03-01T00:00:00Z", 1), ["2128-02-29T12:00:00Z"]);
    }

    #[test]
    fn an_hour_that_does_not_exist_runs_after_the_gap_and_what_is_hourly_leaves_it_out() {
        // Berlin, 29 March 2026: from 2:00 to 3:00, which is 1:00 UTC.
        let fixed = next("CRON_TZ=Europe/Berlin 30 2 * * *", "2026-03-28T12:00:00Z", 2);
        assert_eq!(fixed, ["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]);
        let hourly = next("CRON_TZ=Europe/Berlin 30 * * * *", "2026-03-29T00:00:00Z", 3);
        assert_eq!(hourly, ["2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z"]);
    }

    #[test]
    fn an_hour_that_comes_twice_runs_once_and_what_is_hourly_runs_in_both() {
        // Berlin, 25 October 2026: from 3:00 back to 2:00, which is 1:00 UTC.
        let fixed = next("CRON_TZ=Europe/Berlin 30 2 * * *", "2026-10-24T12:00:00Z", 2);
        assert_eq!(fixed, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        let often = next("CRON_TZ=Europe/Berlin */30 * * * *", "2026-10-24T23:45:00Z", 5);
        let expected = ["00:00", "00:30", "01:00", "01:30", "02:00"].map(|time| format!("2026-10-25T{time}:00Z"));
        assert_eq!(often, expected);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |text: &str| text.parse::<Cron>().unwrap_err();
        assert_eq!(wrong("* * * *"), "\"* * * *\" has 4 fields, not five");
        assert_eq!(wrong("60 * * * *"), "minute: \"60\" is not from 0 to 59");
        assert_eq!(wrong("* 5-3 * * *"), "hour: \"5-3\" ends before it begins");
        assert_eq!(wrong("*/0 * * * *"), "minute: \"0\" is no step");
        assert_eq!(wrong("* * * foo *"), "month: \"foo\" is not from 1 to 12");
        assert_eq!(wrong("* * 0 * *"), "day of the month: \"0\" is not from 1 to 31");
        assert_eq!(wrong("@often"), "\"@often\" is not known");
        assert_eq!(wrong("CRON_TZ=Mars/Olympus * * * * *"), "there is no time zone \"Mars/Olympus\"");
        assert_eq!(wrong("0 0 31 feb *"), "\"0 0 31 feb *\" never comes: no such month has such a day");
        for text in ["", "+5 * * * *", ", * * * *", "- * * * *", "1- * * * *", "/5 * * * *", "* * * * 8"] {
            assert!(text.parse::<Cron>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn no_damaged_expression_panics() {
        let good = ["*/5 0-6,22 1,15 jan-mar mon-fri", "CRON_TZ=UTC 0 0 29 2 *", "@daily", "5/25,3 23 31 12 7"];
        Fuzz::of(&good).texts(|text| {
            if let Ok(cron) = text.parse::<Cron>() {
                assert!(cron.next(Timestamp::from_millis(1_700_000_000_000)).is_some(), "{cron}");
                cron.next(Timestamp::MIN);
                cron.next(Timestamp::MAX);
            }
        });
    }
}
