//! Points in time as Alertmanager reads and prints them.

use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::model::Timestamp;

/// Go's zero time, which clients write for a time that they do not give.
const ZERO: i64 = -62_135_596_800_000;

/// RFC 3339 in UTC with milliseconds, whether there are any or not.
pub(super) fn printed(at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.as_millis()) {
        Ok(at) if at.as_millisecond() >= ZERO => at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
        _ if at > Timestamp::default() => "9999-12-31T23:59:59.999Z".to_string(),
        _ => "0001-01-01T00:00:00.000Z".to_string(),
    }
}

/// A point in time that is printed so.
pub(super) struct Printed(pub Timestamp);

impl Serialize for Printed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&printed(self.0))
    }
}

/// A point in time of a body; `None` for Go's zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Given(pub Option<Timestamp>);

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Given, D::Error> {
        let text = String::deserialize(from)?;
        read(&text).map(Given).ok_or_else(|| {
            de::Error::custom(format!("parsing time {text:?} as \"2006-01-02T15:04:05.000Z\": cannot parse it"))
        })
    }
}

/// RFC 3339, in UTC where no zone is given. The outer `None`: it is no time.
fn read(text: &str) -> Option<Option<Timestamp>> {
    if text.is_empty() {
        return Some(None);
    }
    let millis = match text.parse::<jiff::Timestamp>() {
        Ok(at) => at.as_millisecond(),
        Err(_) => without_zone(text)?,
    };
    Some((millis > ZERO).then(|| Timestamp::from_millis(millis)))
}

fn without_zone(text: &str) -> Option<i64> {
    let pieces = Pieces::parse(text).ok()?;
    let time = pieces.time()?;
    if pieces.to_numeric_offset().is_some() {
        // The end of the year 9999, which clients write for "ever": jiff's times end a day before.
        return Some(if pieces.date().year() > 0 { i64::MAX } else { ZERO });
    }
    let at = TimeZone::UTC.to_timestamp(pieces.date().to_datetime(time)).ok()?;
    Some(at.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    #[test]
    fn times_are_printed_with_milliseconds_in_any_case() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_435_781_451_781, "2015-07-01T20:10:51.781Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
            (i64::MIN, "0001-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(printed(Timestamp::from_millis(millis)), text);
        }
    }

    #[test]
    fn times_are_read_as_clients_write_them() {
        let millis = |text: &str| read(text).map(|at| at.map(Timestamp::as_millis));
        assert_eq!(millis("2015-07-01T20:10:51.781Z"), Some(Some(1_435_781_451_781)));
        assert_eq!(millis("2015-07-01T22:10:51.781123456+02:00"), Some(Some(1_435_781_451_781)));
        assert_eq!(millis("2015-07-01T20:10:51"), Some(Some(1_435_781_451_000)));
        assert_eq!(millis("9999-12-31T23:59:59Z"), Some(Some(i64::MAX)));
        assert_eq!(millis("0001-01-01T00:00:00Z"), Some(None), "what Go writes for no time");
        assert_eq!(millis(""), Some(None));
        for wrong in ["soon", "2015-07-01", "1435781451", "2015-13-01T00:00:00Z"] {
            assert_eq!(millis(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn no_time_makes_it_panic() {
        Fuzz::of(&["2015-07-01T20:10:51.781Z", "2015-07-01 22:10:51+02:00", "0001-01-01T00:00:00"]).texts(|text| {
            if let Some(Some(at)) = read(text) {
                assert!(read(&printed(at)).is_some(), "{text}");
            }
        });
    }
}
