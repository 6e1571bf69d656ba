//! Parameters of a request: of its query, and of a form in its body.

use jiff::fmt::temporal::Pieces;

use crate::history::Matcher;
use crate::model::{Timestamp, parse_duration};
use crate::promql::Query;

use super::error::{ApiError, parse_error};

/// How the first and the last time that there is in Go are written: clients send them for "whatever there is".
const FIRST: &str = "-292273086-05-16T16:47:06Z";
const LAST: &str = "292277025-08-18T07:12:54.999999999Z";

/// Parameters by name. Those of the body come first.
#[derive(Clone, Default, Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    pub fn of(query: Option<&str>, form: &[u8]) -> Params {
        let query = query.unwrap_or_default().as_bytes();
        let pairs = form_urlencoded::parse(form).chain(form_urlencoded::parse(query));
        Params(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The first value; empty when there is none.
    pub fn get(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The parameters whose names begin so, with what follows that and the values.
    pub fn beginning<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// A time that must be there.
    pub fn time(&self, name: &str) -> Result<Timestamp, ApiError> {
        time(self.get(name)).map_err(|why| ApiError::parameter(name, why))
    }

    /// A time, or what holds without it.
    pub fn time_or(&self, name: &str, default: Timestamp) -> Result<Timestamp, ApiError> {
        match self.get(name) {
            "" => Ok(default),
            text => {
                time(text).map_err(|why| ApiError::parameter(name, format!("invalid time value for '{name}': {why}")))
            }
        }
    }

    /// From `start` to `end`; all time there is without them.
    pub fn span(&self) -> Result<(Timestamp, Timestamp), ApiError> {
        Ok((self.time_or("start", Timestamp::MIN)?, self.time_or("end", Timestamp::MAX)?))
    }

    /// How many results at most; nothing for as many as there are.
    pub fn limit(&self, name: &str) -> Result<Option<usize>, ApiError> {
        match self.get(name) {
            "" => Ok(None),
            text => match text.parse::<i64>() {
                Ok(limit) if limit < 0 => Err(ApiError::parameter(name, "limit must be non-negative")),
                Ok(limit) => Ok(usize::try_from(limit).ok().filter(|limit| *limit > 0)),
                Err(_) => Err(ApiError::parameter(name, format!("{text:?} is not a whole number"))),
            },
        }
    }

    /// A number that is a limit if it is not negative.
    pub fn number(&self, name: &str) -> Result<Option<usize>, ApiError> {
        match self.get(name) {
            "" => Ok(None),
            text => match text.parse::<i64>() {
                Ok(number) => Ok(usize::try_from(number).ok()),
                Err(_) => Err(ApiError::bad_data(format!("{name} must be a number"))),
            },
        }
    }

    /// The matchers of each `match[]`.
    pub fn selectors(&self) -> Result<Vec<Vec<Matcher>>, String> {
        self.all("match[]").map(selector).collect()
    }
}

/// The matchers of a selector of series.
pub(super) fn selector(text: &str) -> Result<Vec<Matcher>, String> {
    let query = Query::parse(text).map_err(|e| parse_error(&e))?;
    match query.as_selector() {
        Some(matchers) if matchers.iter().all(|m| m.matches("")) => {
            Err("match[] must contain at least one non-empty matcher".to_string())
        }
        Some(matchers) => Ok(matchers.to_vec()),
        None => Err(format!("{text:?} is not a selector of series, such as up or {{job=\"node\"}}")),
    }
}

/// Seconds since the epoch, or a time as RFC 3339 writes it.
fn time(text: &str) -> Result<Timestamp, String> {
    if let Some(seconds) = text.parse::<f64>().ok().filter(|s| s.is_finite()) {
        return Ok(Timestamp::from_secs_f64(seconds));
    }
    match text {
        FIRST => return Ok(Timestamp::MIN),
        LAST => return Ok(Timestamp::MAX),
        _ => {}
    }
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    match parsed {
        Ok(time) => Ok(Timestamp::from_millis(time.as_millisecond())),
        Err(_) => beyond(text).ok_or_else(|| format!("cannot parse {text:?} to a valid timestamp")),
    }
}

/// The ends of the year 9999 and of the first one, which clients write for "ever": jiff's times end a day before.
fn beyond(text: &str) -> Option<Timestamp> {
    let pieces = Pieces::parse(text).ok()?;
    pieces.time().and(pieces.to_numeric_offset())?;
    Some(if pieces.date().year() > 0 { Timestamp::MAX } else { Timestamp::MIN })
}

/// Milliseconds: a number of seconds, or a duration such as `1m30s`.
pub(super) fn duration(text: &str) -> Result<i64, String> {
    /// What Go's nanoseconds hold.
    const LONGEST: f64 = 9.2e9;
    if let Ok(seconds) = text.parse::<f64>() {
        if seconds.is_nan() || seconds.abs() >= LONGEST {
            return Err(format!("cannot parse {text:?} to a valid duration. It overflows int64"));
        }
        return Ok((seconds * 1000.0) as i64);
    }
    match parse_duration(text) {
        Ok(duration) => Ok(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        Err(_) => Err(format!("cannot parse {text:?} to a valid duration")),
    }
}

/// `U__node_2e_x` as it stands for `node.x`: how a name that is no plain word is written where only plain words can be.
pub(super) fn unescape_name(name: &str) -> String {
    let Some(escaped) = name.strip_prefix("U__") else { return name.to_string() };
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((plain, tail)) = rest.split_once('_') {
        out.push_str(plain);
        if let Some(tail) = tail.strip_prefix('_') {
            out.push('_');
            rest = tail;
            continue;
        }
        let code = tail.split_once('_').filter(|(code, _)| code.bytes().all(|b| b.is_ascii_hexdigit()));
        let character =
            code.and_then(|(code, tail)| Some((char::from_u32(u32::from_str_radix(code, 16).ok()?)?, tail)));
        // What is not written so is taken as it stands.
        let Some((character, tail)) = character else { return name.to_string() };
        out.push(character);
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    fn millis(text: &str) -> Result<i64, String> {
        time(text).map(Timestamp::as_millis)
    }

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        assert_eq!(millis("1435781451.7814"), Ok(1_435_781_451_781));
        assert_eq!(millis("-1"), Ok(-1000));
        assert_eq!(millis("2015-07-01T20:10:51.781Z"), Ok(1_435_781_451_781));
        assert_eq!(millis("2015-07-01T22:10:51+02:00"), Ok(1_435_781_451_000));
        assert_eq!(time(FIRST), Ok(Timestamp::MIN));
        assert_eq!(time(LAST), Ok(Timestamp::MAX));
        assert_eq!(time("9999-12-31T23:59:59Z"), Ok(Timestamp::MAX));
        assert!(time("9999-12-31").is_err() && time("9999-12-32T00:00:00Z").is_err());
        for wrong in ["", "now", "NaN", "inf", "2015-07-01"] {
            assert_eq!(time(wrong), Err(format!("cannot parse {wrong:?} to a valid timestamp")));
        }
    }

    #[test]
    fn durations_are_seconds_or_have_units() {
        assert_eq!(duration("1.5"), Ok(1500));
        assert_eq!(duration("-2"), Ok(-2000));
        assert_eq!(duration("1m30s"), Ok(90_000));
        assert!(duration("1e300").unwrap_err().contains("overflows"));
        assert!(duration("NaN").is_err() && duration("5x").is_err() && duration("").is_err());
    }

    #[test]
    fn parameters_of_the_body_come_before_those_of_the_query() {
        let params = Params::of(Some("query=b&match[]=x&limit=3"), b"query=a%20%2B+1&match%5B%5D=y");
        assert_eq!(params.get("query"), "a + 1");
        assert_eq!(params.all("match[]").collect::<Vec<_>>(), ["y", "x"]);
        assert_eq!((params.limit("limit"), params.limit("none"), params.get("none")), (Ok(Some(3)), Ok(None), ""));
        assert!(Params::of(Some("limit=-1"), b"").limit("limit").unwrap_err().message.contains("non-negative"));
    }

    #[test]
    fn a_match_is_a_selector_that_does_not_match_everything() {
        assert_eq!(selector("up{job=\"node\"}").map(|m| m.len()), Ok(2));
        for (wrong, says) in [
            ("sum(up)", "is not a selector"),
            ("up[5m]", "is not a selector"),
            ("up offset 5m", "is not a selector"),
            ("{job=~\".*\"}", "at least one non-empty matcher"),
            ("up{", "parse error"),
        ] {
            let said = selector(wrong).unwrap_err();
            assert!(said.contains(says), "{wrong}: {said}");
        }
    }

    #[test]
    fn names_of_any_characters_can_stand_in_a_path() {
        for (name, meant) in [
            ("job", "job"),
            ("U__node_2e_x", "node.x"),
            ("U___5f_a__b", "_a_b"),
            ("U__a_20ac_b", "a€b"),
            ("U__a_zz_", "U__a_zz_"),
            ("U__a_d800_", "U__a_d800_"),
        ] {
            assert_eq!(unescape_name(name), meant);
        }
    }

    #[test]
    fn no_request_makes_it_panic() {
        let good = [
            "query=up&time=1435781451.781&timeout=5s&limit=10&lookback_delta=5m",
            "query=rate(x[5m])&start=2015-07-01T20:10:51.781Z&end=-292273086-05-16T16:47:06Z&step=1m30s&stats=all",
            "match[]=up%7Bjob%3D%22node%22%7D&match%5B%5D=%7B__name__%3D~%22a.*%22%7D&name=U__node_2e_x",
        ];
        Fuzz::of(&good).heap(8 << 20).texts(|text| {
            let params = Params::of(Some(text), text.as_bytes());
            let _ = (params.span(), params.time("time"), params.limit("limit"), params.number("limit"));
            let _ = (duration(params.get("step")), duration(params.get("timeout")), params.selectors());
            unescape_name(params.get("name"));
            unescape_name(text);
        });
    }
}
