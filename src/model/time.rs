//! Points in time and Prometheus' way of writing spans of it.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time: milliseconds since the Unix epoch, as Prometheus keeps it.
///
/// Arithmetic saturates; a `Timestamp` never wraps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    pub const fn from_millis(ms: i64) -> Self {
        Timestamp(ms)
    }

    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// From seconds since the epoch; what does not fit saturates, NaN is the epoch.
    pub fn from_secs_f64(secs: f64) -> Self {
        Timestamp((secs * 1000.0).round() as i64)
    }

    /// Seconds since the epoch.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// The wall clock now.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// `self - earlier` in milliseconds, negative when `earlier` is later.
    pub fn millis_since(self, earlier: Timestamp) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(t: SystemTime) -> Self {
        match t.duration_since(UNIX_EPOCH) {
            Ok(d) => Timestamp(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
            Err(e) => Timestamp(-i64::try_from(e.duration().as_millis()).unwrap_or(i64::MAX)),
        }
    }
}

fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, d: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(millis(d)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, d: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(millis(d)))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds where there are any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => t.fmt(f),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// How long something has lasted, from the first to the second, in its two largest units: `5s`, `2m 13s`, `3d 4h`.
pub struct Age(pub Timestamp, pub Timestamp);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Age(since, now) = *self;
        match now.millis_since(since).max(0) / 1000 {
            s @ 0..60 => write!(f, "{s}s"),
            s @ 60..3600 => write!(f, "{}m {}s", s / 60, s % 60),
            s @ 3600..86_400 => write!(f, "{}h {}m", s / 3600, s / 60 % 60),
            s => write!(f, "{}d {}h", s / 86_400, s / 3600 % 24),
        }
    }
}

const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3600 * 1000),
    ("w", 7 * 24 * 3600 * 1000),
    ("d", 24 * 3600 * 1000),
    ("h", 3600 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// Parses a duration as Prometheus' configuration writes it: `1h30m`, `15s`, `500ms`, `0`.
///
/// Units y w d h m s ms, each at most once and from large to small. The error says what is wrong with the text.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const HOW: &str = "write a number with a unit, such as 500ms, 15s, 5m, 1h30m or 2d";
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(format!("empty duration: {HOW}"));
    }
    let mut rest = text;
    let mut next_unit = 0;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let Ok(number) = number.parse::<u64>() else {
            return Err(format!("{text:?} is not a duration: {HOW}"));
        };
        if unit.is_empty() {
            let what = if tail.is_empty() { "a duration without a unit" } else { "not a duration" };
            return Err(format!("{text:?} is {what}: {HOW}"));
        }
        let Some(index) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(format!("{text:?} is not a duration, {unit:?} is not a unit: {HOW}"));
        };
        if index < next_unit {
            return Err(format!(
                "{text:?} is not a duration: units go from large to small, each once (y w d h m s ms)"
            ));
        }
        next_unit = index + 1;
        total = number
            .checked_mul(UNITS[index].1)
            .and_then(|ms| total.checked_add(ms))
            .filter(|ms| *ms <= i64::MAX as u64 / 1_000_000)
            .ok_or_else(|| format!("{text:?} is too long a duration (at most some 292 years)"))?;
        rest = tail;
    }
    Ok(Duration::from_millis(total))
}

/// Writes a duration as Prometheus does: `1h30m`, `15s`, `1d`, `0s`; parts of a millisecond are dropped.
pub fn format_duration(d: Duration) -> String {
    let mut ms = u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 {
        return "0s".to_string();
    }
    let mut out = String::new();
    for (unit, size) in UNITS {
        // Years and weeks only where they are whole: 90d reads better than 12w6d.
        if matches!(unit, "y" | "w") && !ms.is_multiple_of(size) {
            continue;
        }
        if ms >= size {
            out.push_str(&format!("{}{unit}", ms / size));
            ms %= size;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    #[test]
    fn durations_read_and_print_as_prometheus_writes_them() {
        for (text, ms) in [
            ("0", 0),
            ("0s", 0),
            ("1ms", 1),
            ("15s", 15_000),
            ("1h30m", 5_400_000),
            ("2w", 14 * 86_400_000),
            ("1d12h", 129_600_000),
            ("90d", 90 * 86_400_000),
        ] {
            let d = parse_duration(text).unwrap();
            assert_eq!(d.as_millis(), ms, "{text}");
            if ms > 0 {
                assert_eq!(format_duration(d), text);
            }
        }
    }

    #[test]
    fn wrong_durations_are_refused_with_a_reason() {
        for text in ["", "5", "s", "5x", "1m1h", "1s1s", "-5s", "1.5h", "99999999999999999999s", "999999y", "5 s", "µs"]
        {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn ages_have_two_units() {
        let age = |seconds: i64| Age(Timestamp::default(), Timestamp::from_millis(seconds * 1000)).to_string();
        assert_eq!([5, 133, 7500, 273_600, -1].map(age), ["5s", "2m 13s", "2h 5m", "3d 4h", "0s"]);
    }

    #[test]
    fn timestamps_saturate() {
        assert_eq!(Timestamp::MAX + Duration::from_secs(1), Timestamp::MAX);
        assert_eq!(Timestamp::MIN - Duration::from_secs(1), Timestamp::MIN);
        assert_eq!(Timestamp::from_secs_f64(f64::INFINITY), Timestamp::MAX);
    }

    #[test]
    fn no_duration_makes_it_panic() {
        Fuzz::of(&["1h30m", "500ms", "292y", "1d0s"]).texts(|text| {
            if let Ok(duration) = parse_duration(text) {
                assert_eq!(parse_duration(&format_duration(duration)), Ok(duration), "{text:?}");
            }
        });
    }
}
