//! Times as people read them: local, as short as is clear.

use jiff::tz::TimeZone;

use crate::model::Timestamp;

/// Prints times of one stretch of time.
pub struct Clock {
    zone: TimeZone,
    /// They are not all of one day.
    dated: bool,
}

fn zoned(at: Timestamp, zone: &TimeZone) -> Option<jiff::ZonedDateTime> {
    Some(jiff::Timestamp::from_millisecond(at.as_millis()).ok()?.to_zoned_datetime(zone.clone()))
}

fn printed(at: Timestamp, zone: &TimeZone, format: &str) -> String {
    zoned(at, zone).map_or_else(|| at.to_string(), |at| at.strftime(format).to_string())
}

/// Date and time here.
pub fn local(at: Timestamp) -> String {
    printed(at, &TimeZone::system(), "%Y-%m-%d %H:%M:%S")
}

impl Clock {
    pub fn new(start: Timestamp, end: Timestamp, zone: TimeZone) -> Clock {
        let day = |at| zoned(at, &zone).map(|at| at.date());
        Clock { dated: day(start) != day(end), zone }
    }

    /// The time, with the day where that is not clear.
    pub fn time(&self, at: Timestamp) -> String {
        printed(at, &self.zone, if self.dated { "%b %d %H:%M:%S" } else { "%H:%M:%S" })
    }

    /// Date and time.
    pub fn whole(&self, at: Timestamp) -> String {
        printed(at, &self.zone, "%Y-%m-%d %H:%M:%S")
    }

    /// A mark of a scale whose marks are so many milliseconds apart.
    pub fn mark(&self, at: Timestamp, step: i64) -> String {
        let format = match step {
            step if step >= 86_400_000 => "%b %d",
            step if step >= 60_000 => "%H:%M",
            _ => "%H:%M:%S",
        };
        printed(at, &self.zone, format)
    }

    /// How many milliseconds the clock here is ahead of UTC.
    pub fn offset(&self, at: Timestamp) -> i64 {
        zoned(at, &self.zone).map_or(0, |at| i64::from(at.offset().seconds()) * 1000)
    }
}
