//! Time intervals by name, in which routes are muted or active. Format and meaning are Alertmanager's.
//!
//! `time_intervals` (or the older `mute_time_intervals`) is a list of `name` and `time_intervals`, a list of:
//!
//! | key | what it says |
//! | --- | --- |
//! | `times` | of the day: `start_time: 09:00`, `end_time: 17:00`; the end is outside, 24:00 is the day's end |
//! | `weekdays` | `monday:friday`, `sunday` |
//! | `days_of_month` | `1:7`, `15`, `-3:-1`: from the month's end |
//! | `months` | `january:march`, `5:8`, `12` |
//! | `years` | `2026:2028`, `2030` |
//! | `location` | the time zone: `Europe/Vienna`, `Local`; UTC when not said |
//!
//! A moment is in the interval when it meets all that is said, and of each list one item.

use jiff::tz::TimeZone;

use crate::model::Timestamp;
use crate::section;
use crate::yaml::{Faults, FromYaml, Node, Value, nearest};

section! {
    check = check_name;
    /// Times that have a name.
    pub struct TimeIntervalConfig {
        /// The name by which routes mean it.
        pub name: String = String::new(),
        /// The times: one of these is enough.
        pub time_intervals: Vec<TimeInterval> = Vec::new(),
    }
}

fn check_name(config: &mut TimeIntervalConfig, node: &Node, faults: &mut Faults) {
    if config.name.is_empty() {
        faults.error(node.at, "a time interval needs a name");
    }
}

section! {
    /// Times: what is not said is always met.
    pub struct TimeInterval {
        /// Times of the day.
        pub times: Option<Vec<TimeRange>> = None,
        /// Days of the week, from sunday to saturday.
        pub weekdays: Option<Vec<Weekdays>> = None,
        /// Days of the month; negative ones from its end: -1 is the last.
        pub days_of_month: Option<Vec<DaysOfMonth>> = None,
        /// Months by name or number.
        pub months: Option<Vec<Months>> = None,
        /// Years.
        pub years: Option<Vec<Years>> = None,
        /// The time zone in which all of this is meant; `Local` is the host's, UTC when it is not said.
        pub location: Option<Location> = None,
    }
}

/// Times of a day in minutes since its start, the end outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeRange {
    start: u16,
    end: u16,
}

section! {
    /// As it is written.
    pub struct TimeRangeConfig {
        /// The first minute: `09:00`.
        pub start_time: String = String::new(),
        /// The minute after the last: `17:00`.
        pub end_time: String = String::new(),
    }
}

impl FromYaml for TimeRange {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let before = faults.len();
        let written = TimeRangeConfig::from_yaml(node, faults)?;
        if faults.len() > before {
            return None;
        }
        let mut minute = |key: &str, text: &str| {
            let at = node.place(key);
            match text {
                "" => faults.error(at, format!("{key} is missing: both ends must be said")),
                _ => match minute_of_day(text) {
                    Some(minute) => return Some(minute),
                    None => {
                        faults.error(at, format!("{text:?} is not a time of the day: write it as 09:00, up to 24:00"))
                    }
                },
            }
            None
        };
        let (start, end) = (minute("start_time", &written.start_time), minute("end_time", &written.end_time));
        let (start, end) = (start?, end?);
        if start >= end {
            faults
                .error(node.at, "start_time must be before end_time; for a night, write two: to 24:00, and from 00:00");
            return None;
        }
        Some(TimeRange { start, end })
    }

    fn as_yaml(&self) -> Option<Value> {
        let minute = |n: u16| Some(Value::text(format!("{:02}:{:02}", n / 60, n % 60)));
        Value::mapping([("start_time", minute(self.start)), ("end_time", minute(self.end))])
    }

    fn key_paths(path: &str, paths: &mut Vec<String>) {
        TimeRangeConfig::key_paths(path, paths);
    }
}

fn minute_of_day(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |digits: &str| {
        let valid = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| valid)
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (hours < 24 && minutes < 60 || (hours, minutes) == (24, 0)).then_some(hours * 60 + minutes)
}

/// From one number to another, both inside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    first: i32,
    last: i32,
}

impl Range {
    /// Reads `a` or `a:b`, each from `lowest` to `highest` or one of `names`, the first of which is `lowest`.
    fn read(
        node: &Node,
        faults: &mut Faults,
        what: &str,
        names: &[&str],
        (lowest, highest): (i32, i32),
        numbers: bool,
    ) -> Option<Range> {
        let Some(text) = node.as_str().map(str::to_lowercase) else {
            faults.unexpected(node, &format!("{what}, or two with a colon between"));
            return None;
        };
        let mut end = |text: &str| {
            let named = names.iter().position(|name| *name == text).and_then(|place| i32::try_from(place).ok());
            let number = text.parse().ok().filter(|n: &i32| numbers && (lowest..=highest).contains(n) && *n != 0);
            let found = named.map(|place| place + lowest).or(number);
            if found.is_none() {
                let hint = match nearest(text, names.iter().copied()) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None if !numbers => format!("there are {}", names.join(", ")),
                    None => format!("it is a number from {lowest} to {highest}"),
                };
                faults.error(node.at, format!("{text:?} is not {what}: {hint}"));
            }
            found
        };
        let (first, last) = match text.split_once(':') {
            Some((first, last)) => (end(first), end(last)),
            None => {
                let only = end(&text);
                (only, only)
            }
        };
        let range = Range { first: first?, last: last? };
        // Days from the month's end are checked by who knows of them.
        if range.first > range.last && lowest >= 0 {
            faults.error(
                node.at,
                format!("{text:?} ends before it begins: write two items, up to the end and from the start"),
            );
            return None;
        }
        Some(range)
    }

    /// As it is written; `names`: those of the numbers from `lowest` on.
    fn as_yaml(self, names: &[&str], lowest: i32) -> Option<Value> {
        let end = |n: i32| {
            let place = n.checked_sub(lowest).and_then(|place| usize::try_from(place).ok());
            let name = place.and_then(|place| names.get(place)).map(|name| name.to_string());
            name.unwrap_or_else(|| n.to_string())
        };
        let (first, last) = (end(self.first), end(self.last));
        Some(Value::text(if first == last { first } else { format!("{first}:{last}") }))
    }

    fn contains(self, n: i32) -> bool {
        (self.first..=self.last).contains(&n)
    }
}

const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Days of the week, from 0: sunday.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Weekdays(Range);

impl FromYaml for Weekdays {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        Range::read(node, faults, "a day of the week", &WEEKDAYS, (0, 6), false).map(Weekdays)
    }

    fn as_yaml(&self) -> Option<Value> {
        self.0.as_yaml(&WEEKDAYS, 0)
    }
}

/// Months from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Months(Range);

impl FromYaml for Months {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        Range::read(node, faults, "a month", &MONTHS, (1, 12), true).map(Months)
    }

    fn as_yaml(&self) -> Option<Value> {
        self.0.as_yaml(&MONTHS, 1)
    }
}

/// Years.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Years(Range);

impl FromYaml for Years {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        Range::read(node, faults, "a year", &[], (1, 9999), true).map(Years)
    }

    fn as_yaml(&self) -> Option<Value> {
        self.0.as_yaml(&[], 0)
    }
}

/// Days of the month from 1, or from -1 backwards from its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DaysOfMonth(Range);

impl FromYaml for DaysOfMonth {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let range = Range::read(node, faults, "a day of the month", &[], (-31, 31), true)?;
        if range.first < 0 && range.last > 0 {
            faults.error(node.at, "a range that begins at the month's end must end there: write -3:-1");
            return None;
        }
        // In the shortest month.
        let day = |n: i32| if n < 0 { 28 + n } else { n };
        if day(range.first) > day(range.last) {
            faults.error(node.at, format!("day {} is always before day {}", range.last, range.first));
            return None;
        }
        Some(DaysOfMonth(range))
    }

    fn as_yaml(&self) -> Option<Value> {
        self.0.as_yaml(&[], 0)
    }
}

impl DaysOfMonth {
    fn contains(self, day: i32, days_in_month: i32) -> bool {
        let from_start = |n: i32| if n < 0 { days_in_month + n + 1 } else { n };
        let (first, last) = (from_start(self.0.first), from_start(self.0.last));
        first <= days_in_month && Range { first, last }.contains(day)
    }
}

/// A time zone.
#[derive(Clone, PartialEq, Debug)]
pub struct Location(TimeZone);

impl FromYaml for Location {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Some(name) = node.as_str() else {
            faults.unexpected(node, "a time zone, such as Europe/Vienna");
            return None;
        };
        let zone = match name {
            "" | "UTC" => Ok(TimeZone::UTC),
            "Local" => Ok(TimeZone::system()),
            name => TimeZone::get(name),
        };
        let unknown = |_| {
            let how = "write it as Europe/Vienna, Local or UTC; the host needs its time zone database";
            faults.error(node.at, format!("the time zone {name:?} is not known: {how}"));
        };
        zone.map_err(unknown).ok().map(Location)
    }

    fn as_yaml(&self) -> Option<Value> {
        // The host's may have no name.
        Some(Value::text(self.0.iana_name().unwrap_or("Local")))
    }
}

impl TimeInterval {
    /// Whether a moment is in it.
    pub(super) fn contains(&self, t: Timestamp) -> bool {
        let zone = self.location.as_ref().map_or(TimeZone::UTC, |location| location.0.clone());
        let Ok(moment) = jiff::Timestamp::from_millisecond(t.as_millis()) else { return false };
        let moment = zone.to_datetime(moment);
        let minute = i32::from(moment.hour()) * 60 + i32::from(moment.minute());
        let weekday = i32::from(moment.weekday().to_sunday_zero_offset());
        let (day, days) = (i32::from(moment.day()), i32::from(moment.days_in_month()));
        let (month, year) = (i32::from(moment.month()), i32::from(moment.year()));
        one_of(&self.times, |r| (i32::from(r.start)..i32::from(r.end)).contains(&minute))
            && one_of(&self.weekdays, |r| r.0.contains(weekday))
            && one_of(&self.days_of_month, |r| r.contains(day, days))
            && one_of(&self.months, |r| r.0.contains(month))
            && one_of(&self.years, |r| r.0.contains(year))
    }
}

/// A list that is said must have an item that is met; an empty one has none, as in Alertmanager.
fn one_of<T>(items: &Option<Vec<T>>, met: impl Fn(&T) -> bool) -> bool {
    items.as_ref().is_none_or(|items| items.iter().any(met))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Document;

    fn read(text: &str) -> (TimeInterval, Vec<String>) {
        let mut faults = Faults::default();
        let interval = Document::parse("t.yaml", text, &mut faults).read(&mut faults);
        let said = faults.to_string();
        let said = said.lines().filter(|line| line.starts_with("t.yaml:")).map(str::to_string).collect();
        (interval, said)
    }

    fn contains(text: &str, at: &str) -> bool {
        let (interval, said) = read(text);
        assert!(said.is_empty(), "{said:?}");
        let at: jiff::Timestamp = at.parse().unwrap();
        interval.contains(Timestamp::from_millis(at.as_millisecond()))
    }

    #[test]
    fn a_moment_must_meet_all_that_is_said_and_of_each_list_one() {
        let office = "{times: [{start_time: 09:00, end_time: 12:00}, {start_time: '13:00', end_time: '17:00'}], \
                      weekdays: ['monday:friday']}";
        // A Thursday.
        for (at, expected) in [
            ("2026-11-26T08:59:59Z", false),
            ("2026-11-26T09:00:00Z", true),
            ("2026-11-26T12:00:00Z", false),
            ("2026-11-26T16:59:59Z", true),
            ("2026-11-28T10:00:00Z", false),
        ] {
            assert_eq!(contains(office, at), expected, "{at}");
        }
        assert!(contains("{}", "2026-11-26T08:59:59Z"));
        assert!(contains("{times: [{start_time: 23:00, end_time: 24:00}]}", "2026-11-26T23:59:59Z"));
        assert!(!contains("{weekdays: []}", "2026-11-26T23:59:59Z"));
    }

    #[test]
    fn days_of_the_month_count_from_its_end_too() {
        for (days, inside, outside) in [
            ("['1:7']", ["2026-02-01", "2026-02-07"], "2026-02-08"),
            ("['-3:-1']", ["2026-02-26", "2026-02-28"], "2026-02-25"),
            ("['-3:-1']", ["2028-02-27", "2028-02-29"], "2028-02-26"),
            ("['15']", ["2026-02-15", "2026-03-15"], "2026-02-16"),
            ("['20:-1']", ["2026-02-20", "2026-02-28"], "2026-02-19"),
            ("['29:31']", ["2026-03-29", "2026-03-31"], "2026-02-28"),
        ] {
            let text = format!("{{days_of_month: {days}}}");
            assert!(inside.iter().all(|day| contains(&text, &format!("{day}T12:00:00Z"))), "{text}");
            assert!(!contains(&text, &format!("{outside}T12:00:00Z")), "{text} {outside}");
        }
    }

    #[test]
    fn months_and_years_are_written_by_name_or_number() {
        for months in ["['november:december']", "[11]", "['10:11']", "['January', 'November']"] {
            let text = format!("{{months: {months}, years: ['2026:2027', 2030]}}");
            assert!(contains(&text, "2026-11-26T12:00:00Z") && contains(&text, "2030-11-26T12:00:00Z"), "{text}");
            assert!(!contains(&text, "2026-09-26T12:00:00Z") && !contains(&text, "2029-11-26T12:00:00Z"), "{text}");
        }
    }

    #[test]
    fn the_time_is_that_of_the_location_with_its_summer_time() {
        let text = "{times: [{start_time: 09:00, end_time: 10:00}], location: Europe/Vienna}";
        assert!(contains(text, "2026-07-01T07:30:00Z") && !contains(text, "2026-07-01T09:30:00Z"));
        assert!(contains(text, "2026-12-01T08:30:00Z") && !contains(text, "2026-12-01T07:30:00Z"));
        assert!(contains("{location: Local}", "2026-12-01T08:30:00Z"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let (_, said) = read(
            "times:\n- {start_time: 9:00, end_time: 17:00}\n- {start_time: 17:00, end_time: 09:00}\n- {start_time: 01:00}\n\
             weekdays: [mondy, 'friday:monday', 3]\ndays_of_month: [0, '-1:3', '9:2', 32]\nmonths: [13, juli]\n\
             years: ['2027:2026', x]\nlocation: Europe/Wien\nday: 1\n",
        );
        let expected = [
            "2:16: \"9:00\" is not a time of the day: write it as 09:00, up to 24:00",
            "3:3: start_time must be before end_time; for a night, write two: to 24:00, and from 00:00",
            "4:3: end_time is missing: both ends must be said",
            "5:12: \"mondy\" is not a day of the week: did you mean \"monday\"?",
            "5:19: \"friday:monday\" ends before it begins: write two items, up to the end and from the start",
            "5:36: \"3\" is not a day of the week: there are sunday, monday, tuesday, wednesday, thursday, friday, saturday",
            "6:17: \"0\" is not a day of the month: it is a number from -31 to 31",
            "6:20: a range that begins at the month's end must end there: write -3:-1",
            "6:28: day 2 is always before day 9",
            "6:35: \"32\" is not a day of the month: it is a number from -31 to 31",
            "7:10: \"13\" is not a month: it is a number from 1 to 12",
            "7:14: \"juli\" is not a month: did you mean \"july\"?",
            "8:9: \"2027:2026\" ends before it begins: write two items, up to the end and from the start",
            "8:22: \"x\" is not a year: it is a number from 1 to 9999",
            "9:11: the time zone \"Europe/Wien\" is not known: write it as Europe/Vienna, Local or UTC; the host needs its \
             time zone database",
            "10:1: unknown key \"day\", known here: times, weekdays, days_of_month, months, years, location",
        ];
        for (said, expected) in said.iter().zip(expected) {
            assert_eq!(said.trim_start_matches("t.yaml:"), expected);
        }
        assert_eq!(said.len(), expected.len(), "{said:#?}");
    }
}
