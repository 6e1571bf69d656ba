//! Methods of times and durations, and Go's layouts of time.

use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, ZonedDateTime};

use super::Value;

/// A field of a value, or a method of it that takes no arguments.
pub(super) fn field(value: &Value, name: &str) -> Result<Value, String> {
    match value {
        Value::Map(map) => Ok(map.field(name)),
        Value::Struct(s) => match s.get(name) {
            Some(value) => Ok(value.clone()),
            None => Err(format!("can't evaluate field {name} in type {}", s.name)),
        },
        Value::Named(named) => match (named.of.method)(&named.value, name, &[]) {
            Some(result) => result,
            None if matches!(named.value.plain(), Value::Map(_) | Value::Struct(_)) => field(&named.value, name),
            None => Err(format!("can't evaluate field {name} in type {}", named.of.name)),
        },
        other => call(other, name, &[]),
    }
}

/// Calls a method of a value; the error is what a field or method that is not there gives.
pub(super) fn call(value: &Value, name: &str, args: &[Value]) -> Result<Value, String> {
    if let Value::Named(named) = value {
        return (named.of.method)(&named.value, name, args).unwrap_or_else(|| call(&named.value, name, args));
    }
    if let Value::Time(time) = value
        && let Some(result) = time_method(time, name, args)
    {
        return result;
    }
    if let Value::Duration(nanos) = value
        && let Some(result) = duration_method(*nanos, name, args)
    {
        return result;
    }
    match (value, args) {
        (Value::Nil, _) => Err(format!("nil pointer evaluating interface {{}}.{name}")),
        (Value::Map(_) | Value::Struct(_), _) => Err(format!("{name} is not a method but has arguments")),
        (other, []) => Err(format!("can't evaluate field {name} in type {}", other.type_name())),
        (other, _) => Err(format!("{} has no method {name} that takes these arguments", other.type_name())),
    }
}

/// A number of nanoseconds: a duration, or a whole number written in the template.
fn nanoseconds(value: &Value) -> Option<i64> {
    match value.plain() {
        Value::Duration(n) | Value::Int(n) => Some(*n),
        Value::Float(f) if f.fract() == 0.0 && f.abs() < 9.2e18 => Some(*f as i64),
        _ => None,
    }
}

fn time_method(t: &Arc<ZonedDateTime>, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let other = match args.first().map(Value::plain) {
        Some(Value::Time(other)) => Some(other.timestamp()),
        _ => None,
    };
    let this = t.timestamp();
    Some(Ok(match (name, args) {
        ("Format", [layout]) => match layout.plain() {
            Value::String(layout) => format_layout(t, layout).into(),
            _ => return None,
        },
        // Go's year 1 is the time that is not set.
        ("IsZero", []) => Value::Bool(this.as_second() == ZERO_SECONDS && this.subsec_nanosecond() == 0),
        (_, []) => return time_property(t, name).map(Ok),
        ("Sub", [_]) => Value::Duration(clamp(this.as_nanosecond() - other?.as_nanosecond())),
        ("Before", [_]) => Value::Bool(this < other?),
        ("After", [_]) => Value::Bool(this > other?),
        ("Equal", [_]) => Value::Bool(this == other?),
        ("Compare", [_]) => Value::Int(this.cmp(&other?) as i64),
        ("Add", [by]) => return Some(shifted(t, nanoseconds(by)?.into())),
        ("AddDate", [years, months, days]) => {
            let number = |value: &Value| match value.plain() {
                Value::Int(n) => Some(*n),
                _ => None,
            };
            let (years, months, days) = (number(years)?, number(months)?, number(days)?);
            return Some(add_date(t, years, months, days).ok_or_else(|| "no such date".to_string()));
        }
        ("Truncate" | "Round", [to]) => {
            let unit = i128::from(nanoseconds(to)?);
            // Go counts from its zero time.
            let since = this.as_nanosecond() - i128::from(ZERO_SECONDS) * 1_000_000_000;
            return Some(shifted(t, rounded(since, unit, name == "Round") - since));
        }
        _ => return None,
    }))
}

/// As in Go a day that the month does not have is counted on into the next one.
fn add_date(t: &ZonedDateTime, years: i64, months: i64, days: i64) -> Option<Value> {
    let month = i64::from(t.month()).checked_add(months)?.checked_sub(1)?;
    let year = i64::from(t.year()).checked_add(years)?.checked_add(month.div_euclid(12))?;
    let first = Date::new(i16::try_from(year).ok()?, i8::try_from(month.rem_euclid(12) + 1).ok()?, 1).ok()?;
    let days = Span::new().try_days(i64::from(t.day()).checked_sub(1)?.checked_add(days)?).ok()?;
    let date = first.checked_add(days).ok()?;
    let time = date.to_datetime(t.time()).to_zoned_datetime(t.time_zone().clone()).ok()?;
    Some(Value::Time(time.into()))
}

/// The first second of the year 1, Go's zero time, in seconds since 1970.
const ZERO_SECONDS: i64 = -62_135_596_800;

fn clamp(nanos: i128) -> i64 {
    nanos.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

fn shifted(t: &ZonedDateTime, by: i128) -> Result<Value, String> {
    let moved = t.timestamp().as_nanosecond().saturating_add(by);
    match jiff::Timestamp::from_nanosecond(moved) {
        Ok(time) => Ok(Value::Time(time.to_zoned_datetime(t.time_zone().clone()).into())),
        Err(e) => Err(format!("no such time: {e}")),
    }
}

/// To a multiple of `unit`: towards zero, or to the nearest with halves away from zero.
fn rounded(n: i128, unit: i128, nearest: bool) -> i128 {
    if unit <= 0 {
        return n;
    }
    let down = n - n % unit;
    if nearest && (n % unit).abs() * 2 >= unit { down + n.signum() * unit } else { down }
}

fn duration_method(nanos: i64, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let value = match (name, args) {
        (_, []) => duration_property(nanos, name)?,
        ("Round" | "Truncate", [to]) => {
            Value::Duration(clamp(rounded(nanos.into(), nanoseconds(to)?.into(), name == "Round")))
        }
        _ => return None,
    };
    Some(Ok(value))
}

fn time_property(t: &ZonedDateTime, name: &str) -> Option<Value> {
    let int = |n: i64| Some(Value::Int(n));
    match name {
        "Unix" => int(t.timestamp().as_second()),
        "UnixMilli" => int(t.timestamp().as_millisecond()),
        "UnixMicro" => int(t.timestamp().as_microsecond()),
        "UnixNano" => int(i64::try_from(t.timestamp().as_nanosecond()).unwrap_or(i64::MAX)),
        "Nanosecond" => int(t.subsec_nanosecond().into()),
        "Year" => int(t.year().into()),
        "Month" => Some(MONTHS[usize::from(t.month().unsigned_abs() - 1) % 12].into()),
        "Day" => int(t.day().into()),
        "Hour" => int(t.hour().into()),
        "Minute" => int(t.minute().into()),
        "Second" => int(t.second().into()),
        "YearDay" => int(t.day_of_year().into()),
        "Weekday" => Some(DAYS[weekday(t)].into()),
        "UTC" => Some(Value::Time(t.with_time_zone(TimeZone::UTC).into())),
        "Local" => Some(Value::Time(t.with_time_zone(TimeZone::system()).into())),
        "String" => Some(time_string(t).into()),
        _ => None,
    }
}

fn duration_property(nanos: i64, name: &str) -> Option<Value> {
    Some(match name {
        "Seconds" => Value::Float(nanos as f64 / 1e9),
        "Minutes" => Value::Float(nanos as f64 / 60e9),
        "Hours" => Value::Float(nanos as f64 / 3600e9),
        "Milliseconds" => Value::Int(nanos / 1_000_000),
        "Microseconds" => Value::Int(nanos / 1_000),
        "Nanoseconds" => Value::Int(nanos),
        "Abs" => Value::Duration(nanos.saturating_abs()),
        "String" => duration_string(nanos).into(),
        _ => return None,
    })
}

/// A duration as Go prints it: `1h2m3.5s`, `1.5ms`, `0s`.
pub(super) fn duration_string(nanos: i64) -> String {
    let total = nanos.unsigned_abs();
    let sign = if nanos < 0 { "-" } else { "" };
    let part = |unit: u64| {
        let fraction = format!("{:0width$}", total % unit, width = unit.ilog10() as usize);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() || unit == 1 { String::new() } else { format!(".{fraction}") };
        (total / unit, point)
    };
    if total == 0 {
        return "0s".into();
    }
    for (unit, name, below) in [(1, "ns", 1_000), (1_000, "µs", 1_000_000), (1_000_000, "ms", 1_000_000_000)] {
        if total < below {
            let (whole, fraction) = part(unit);
            return format!("{sign}{whole}{fraction}{name}");
        }
    }
    let (seconds, fraction) = part(1_000_000_000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}{fraction}s"),
        (0, _) => format!("{sign}{minutes}m{seconds}{fraction}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

/// A time as Go prints it: `2006-01-02 15:04:05.999999999 -0700 MST`.
pub(super) fn time_string(t: &ZonedDateTime) -> String {
    format_layout(t, "2006-01-02 15:04:05.999999999 -0700 MST")
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

fn weekday(t: &ZonedDateTime) -> usize {
    usize::from(t.weekday().to_sunday_zero_offset().unsigned_abs()) % 7
}

/// Pieces of a layout, longest first where one begins another.
const PIECES: [&str; 33] = [
    "January", "Monday", "Z07:00", "-07:00", "Z0700", "-0700", "2006", "Jan", "Mon", "MST", "002", "__2", "-07", "01",
    "02", "03", "04", "05", "06", "15", "PM", "pm", "_2", "1", "2", "3", "4", "5", ".0", ",0", ".9", ",9", "Z07",
];

/// Go's `Time.Format`: the layout is how Monday, January 2, 15:04:05 2006 at UTC-7 would be written.
pub(super) fn format_layout(t: &ZonedDateTime, layout: &str) -> String {
    let mut out = String::new();
    let mut rest = layout;
    while let Some(c) = rest.chars().next() {
        let piece = PIECES.iter().find(|p| rest.starts_with(**p)).copied();
        let Some(piece) = piece else {
            out.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or("");
            continue;
        };
        if piece.starts_with(['.', ',']) {
            let digit = piece.as_bytes().get(1).copied().unwrap_or(b'0');
            let tail = rest.get(1..).unwrap_or("");
            let digits = tail.bytes().take_while(|b| *b == digit).count();
            rest = tail.get(digits..).unwrap_or("");
            // More digits than that are not a fraction of a second.
            if rest.starts_with(|c: char| c.is_ascii_digit()) || digits > 9 {
                out.push_str(piece.get(..1).unwrap_or(""));
                out.extend(std::iter::repeat_n(char::from(digit), digits));
                continue;
            }
            let nanos = format!("{:09}", t.subsec_nanosecond());
            let shown = nanos.get(..digits).unwrap_or(&nanos);
            let shown = if digit == b'9' { shown.trim_end_matches('0') } else { shown };
            if !shown.is_empty() {
                out.push_str(piece.get(..1).unwrap_or(""));
                out.push_str(shown);
            }
            continue;
        }
        out.push_str(&layout_piece(t, piece));
        rest = rest.get(piece.len()..).unwrap_or("");
    }
    out
}

fn layout_piece(t: &ZonedDateTime, piece: &str) -> String {
    let month = MONTHS[usize::from(t.month().unsigned_abs() - 1) % 12];
    let day = DAYS[weekday(t)];
    let hour12 = (t.hour() + 11) % 12 + 1;
    let offset = t.offset().seconds();
    let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs() / 60);
    let (oh, om) = (minutes / 60, minutes % 60);
    match piece {
        "January" => month.to_string(),
        "Jan" => month.chars().take(3).collect(),
        "Monday" => day.to_string(),
        "Mon" => day.chars().take(3).collect(),
        "MST" => t.time_zone().to_offset_info(t.timestamp()).abbreviation().to_string(),
        "2006" => format!("{:04}", t.year()),
        "06" => format!("{:02}", t.year().rem_euclid(100)),
        "01" => format!("{:02}", t.month()),
        "1" => t.month().to_string(),
        "02" => format!("{:02}", t.day()),
        "_2" => format!("{:>2}", t.day()),
        "2" => t.day().to_string(),
        "002" => format!("{:03}", t.day_of_year()),
        "__2" => format!("{:>3}", t.day_of_year()),
        "15" => format!("{:02}", t.hour()),
        "03" => format!("{hour12:02}"),
        "3" => hour12.to_string(),
        "04" => format!("{:02}", t.minute()),
        "4" => t.minute().to_string(),
        "05" => format!("{:02}", t.second()),
        "5" => t.second().to_string(),
        "PM" => if t.hour() < 12 { "AM" } else { "PM" }.to_string(),
        "pm" => if t.hour() < 12 { "am" } else { "pm" }.to_string(),
        "Z07:00" | "Z0700" | "Z07" if offset == 0 => "Z".to_string(),
        "Z07:00" | "-07:00" => format!("{sign}{oh:02}:{om:02}"),
        "Z0700" | "-0700" => format!("{sign}{oh:02}{om:02}"),
        _ => format!("{sign}{oh:02}"),
    }
}
