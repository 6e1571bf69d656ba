//! Performance data of Nagios' plugins: `'label'=value[unit];[warn];[crit];[min];[max]`, with blanks in between.
//!
//! Plugins in the world differ from the guidelines in small things, which are read as they are meant: decimals with a
//! comma, labels with blanks but without quotes (their last word), thresholds that repeat the unit.

use std::borrow::Cow;

/// One item, in base units.
#[derive(Clone, PartialEq, Debug)]
pub struct Perfdata<'t> {
    pub label: Cow<'t, str>,
    /// `seconds`, `bytes`, `ratio`, nothing, or what the plugin has written.
    pub unit: &'t str,
    /// Its unit was `c`.
    pub counter: bool,
    /// `None` for `U`: the plugin could not find out.
    pub value: Option<f64>,
    pub warning: Option<Range>,
    pub critical: Option<Range>,
    pub min: Option<f64>,
    pub max: Option<f64>,
}

/// A threshold: the values that are right, or with `inside` those that are wrong.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Range {
    /// `None` where it is not written, or infinite.
    pub lower: Option<f64>,
    pub upper: Option<f64>,
    pub inside: bool,
}

impl Range {
    /// Its ends, each with its name.
    pub fn bounds(&self) -> impl Iterator<Item = (&'static str, f64)> + use<> {
        let names = if self.inside { ["inside-lower", "inside-upper"] } else { ["lower", "upper"] };
        let ends = [self.lower, self.upper];
        names.into_iter().zip(ends).filter_map(|(name, end)| Some((name, end?)))
    }
}

/// The items of a text; `None` for what is none.
pub struct Items<'t> {
    rest: &'t str,
}

impl<'t> Items<'t> {
    pub fn of(text: &'t str) -> Items<'t> {
        Items { rest: text }
    }

    /// Takes the label and the `=`.
    fn label(&mut self) -> Option<Cow<'t, str>> {
        let Some(quoted) = self.rest.strip_prefix('\'') else {
            let end = self.rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(self.rest.len());
            let (label, rest) = self.rest.split_at(end);
            self.rest = rest;
            self.rest = self.rest.strip_prefix('=')?;
            return (!label.is_empty()).then_some(Cow::Borrowed(label));
        };
        // A quote within is written twice.
        let mut end = 0;
        loop {
            let Some(quote) = quoted.get(end..).and_then(|rest| rest.find('\'')) else {
                // It is not closed: nothing of what follows can be told apart.
                self.rest = "";
                return None;
            };
            end += quote;
            match quoted.get(end + 1..) {
                Some(rest) if rest.starts_with('\'') => end += 2,
                rest => {
                    self.rest = rest.unwrap_or_default();
                    break;
                }
            }
        }
        let label = quoted.get(..end).unwrap_or_default();
        self.rest = self.rest.strip_prefix('=')?;
        let label = if label.contains('\'') { Cow::Owned(label.replace("''", "'")) } else { Cow::Borrowed(label) };
        (!label.is_empty()).then_some(label)
    }

    /// Takes all up to the next blank.
    fn word(&mut self) -> &'t str {
        let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }
}

impl<'t> Iterator for Items<'t> {
    type Item = Option<Perfdata<'t>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest = self.rest.trim_start();
        if self.rest.is_empty() {
            return None;
        }
        let label = self.label();
        let text = self.word();
        Some(label.and_then(|label| Perfdata::parse(label, text)))
    }
}

impl<'t> Perfdata<'t> {
    fn parse(label: Cow<'t, str>, text: &'t str) -> Option<Perfdata<'t>> {
        let mut parts = text.split(';');
        let first = parts.next()?;
        let (value, written) = match first {
            "U" => (None, ""),
            _ => number(first).map(|(value, unit)| (Some(value), unit))?,
        };
        let (unit, scale) = base(written);
        // What is not a number there is no reason to lose the value.
        let mut next = || parts.next().map(str::trim).filter(|part| !part.is_empty());
        let (warning, critical) = (next(), next());
        let (min, max) = (next(), next());
        Some(Perfdata {
            label,
            unit,
            counter: written == "c",
            value: value.map(|value| scale.apply(value)),
            warning: warning.and_then(|text| range(text, scale)),
            critical: critical.and_then(|text| range(text, scale)),
            min: min.and_then(|text| scaled(text, scale)),
            max: max.and_then(|text| scaled(text, scale)),
        })
    }
}

/// How a written number becomes one in base units.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Scale {
    Times(f64),
    /// Dividing keeps decimals that a factor below one would not: 5.5 / 1000 is 0.0055.
    Over(f64),
}

impl Scale {
    fn apply(self, value: f64) -> f64 {
        match self {
            Scale::Times(factor) => value * factor,
            Scale::Over(divisor) => value / divisor,
        }
    }
}

/// The base unit of a written one, and how to get there.
///
/// The plugins count in steps of 1024 where they write KB or MB, check_disk and check_swap among them.
fn base(written: &str) -> (&str, Scale) {
    const SECONDS: &str = "seconds";
    match written {
        "" | "c" => return ("", Scale::Times(1.0)),
        "%" => return ("ratio", Scale::Over(100.0)),
        "s" => return (SECONDS, Scale::Times(1.0)),
        "ms" => return (SECONDS, Scale::Over(1e3)),
        "us" | "µs" | "μs" => return (SECONDS, Scale::Over(1e6)),
        "ns" => return (SECONDS, Scale::Over(1e9)),
        _ => {}
    }
    let step = match written.strip_suffix('B').map(|prefix| prefix.strip_suffix('i').unwrap_or(prefix)) {
        Some("") if written == "B" => 0,
        Some("k" | "K") => 1,
        Some("M") => 2,
        Some("G") => 3,
        Some("T") => 4,
        Some("P") => 5,
        Some("E") => 6,
        _ => return (written, Scale::Times(1.0)),
    };
    ("bytes", Scale::Times((1_u64 << (10 * step)) as f64))
}

/// A number at the beginning of a text, and what follows it.
fn number(text: &str) -> Option<(f64, &str)> {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        let is_part = |b: &u8| b.is_ascii_digit() || matches!(b, b'.' | b',');
        from + bytes.iter().skip(from).take_while(|b| is_part(b)).count()
    };
    let sign = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let mut end = digits(sign);
    // An exponent, not the prefix of a unit.
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let first = end + 1 + sign;
        let exponent = bytes.iter().skip(first).take_while(|b| b.is_ascii_digit()).count();
        if exponent > 0 {
            end = first + exponent;
        }
    }
    let (written, rest) = text.split_at_checked(end)?;
    let value: f64 = match written.contains(',') && !written.contains('.') {
        true => written.replacen(',', ".", 1).parse().ok()?,
        false => written.parse().ok()?,
    };
    value.is_finite().then_some((value, rest))
}

/// A number in base units: by its own unit if it has one, else by that of the value.
fn scaled(text: &str, scale: Scale) -> Option<f64> {
    let (value, unit) = number(text)?;
    let scale = if unit.is_empty() { scale } else { base(unit).1 };
    Some(scale.apply(value))
}

/// `10`, `10:`, `~:10`, `10:20`, and each of them behind an `@`.
fn range(text: &str, scale: Scale) -> Option<Range> {
    let (inside, text) = match text.strip_prefix('@') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let end = |text: &str| scaled(text, scale);
    let (lower, upper) = match text.split_once(':') {
        None => (None, Some(end(text)?)),
        Some((lower, upper)) => {
            let lower = if matches!(lower, "~" | "") { None } else { Some(end(lower)?) };
            (lower, if upper.is_empty() { None } else { Some(end(upper)?) })
        }
    };
    Some(Range { lower, upper, inside })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> Perfdata<'_> {
        let mut items = Items::of(text);
        let item = items.next().flatten().unwrap_or_else(|| panic!("{text}"));
        assert_eq!(items.next(), None, "{text}");
        item
    }

    fn labels(text: &str) -> Vec<Option<String>> {
        Items::of(text).map(|item| item.map(|item| item.label.into_owned())).collect()
    }

    #[test]
    fn labels_may_be_quoted_and_hold_anything() {
        let named = |names: &[&str]| -> Vec<Option<String>> { names.iter().map(|n| Some(n.to_string())).collect() };
        assert_eq!(labels("/=1 load1=2;; rta=3ms"), named(&["/", "load1", "rta"]));
        assert_eq!(labels("'C:\\ %'=1 'it''s = this'=2 ''''=3"), named(&["C:\\ %", "it's = this", "'"]));
        assert_eq!(labels("\t a=1\r\n  b=2\r\n"), named(&["a", "b"]));
        assert_eq!(labels(""), named(&[]));
    }

    #[test]
    fn what_is_no_item_is_passed_over_and_counted() {
        let good = Some("good".to_string());
        assert_eq!(labels("free space=5 good=1"), [None, Some("space".to_string()), good.clone()]);
        assert_eq!(labels("=5 a= b=x 'c'd=1 ''=2 good=1"), [None, None, None, None, None, good.clone()]);
        assert_eq!(labels("good=1 'open=2 x=3"), [good, None]);
        assert_eq!(labels("a=1.2.3 b=- c=1e999 d=1,2,3"), [None, None, None, None]);
    }

    #[test]
    fn units_become_base_units() {
        let read = |text: &str| {
            let text = format!("a={text}");
            let item = one(&text);
            (item.value.unwrap_or(f64::NAN), item.unit.to_string())
        };
        let is = |value: f64, unit: &str| (value, unit.to_string());
        assert_eq!(read("5"), is(5.0, ""));
        assert_eq!(read("0.25s"), is(0.25, "seconds"));
        assert_eq!(read("5.5ms"), is(0.0055, "seconds"));
        assert_eq!(read("7us"), is(0.000_007, "seconds"));
        assert_eq!(read("7µs"), is(0.000_007, "seconds"));
        assert_eq!(read("12%"), is(0.12, "ratio"));
        assert_eq!(read("3B"), is(3.0, "bytes"));
        assert_eq!(read("3KB"), is(3072.0, "bytes"));
        assert_eq!(read("3kB"), is(3072.0, "bytes"));
        assert_eq!(read("3MiB"), is(3.0 * 1048576.0, "bytes"));
        assert_eq!(read("2EB"), is(2.0 * (1_u64 << 60) as f64, "bytes"));
        assert_eq!(read("21C"), is(21.0, "C"));
        assert_eq!(read("4iB"), is(4.0, "iB"));
        assert_eq!(read("1.5e3"), is(1500.0, ""));
        assert_eq!(read("1E-2s"), is(0.01, "seconds"));
        assert_eq!(read("-0,5"), is(-0.5, ""));
        assert_eq!(read("+.5"), is(0.5, ""));
        assert!(one("a=9c").counter && !one("a=9C").counter);
    }

    #[test]
    fn ranges_are_read_as_the_guidelines_have_them() {
        let read = |text: &str| {
            let text = format!("a=1;{text}");
            let range = one(&text).warning;
            range.map(|range| range.bounds().collect::<Vec<_>>()).unwrap_or_default()
        };
        assert_eq!(read("10"), [("upper", 10.0)]);
        assert_eq!(read("10:"), [("lower", 10.0)]);
        assert_eq!(read("~:10"), [("upper", 10.0)]);
        assert_eq!(read(":10"), [("upper", 10.0)]);
        assert_eq!(read("10:20"), [("lower", 10.0), ("upper", 20.0)]);
        assert_eq!(read("@10:20"), [("inside-lower", 10.0), ("inside-upper", 20.0)]);
        assert_eq!(read("@10"), [("inside-upper", 10.0)]);
        assert_eq!(read("-5:-1,5"), [("lower", -5.0), ("upper", -1.5)]);
        for none in ["", "~:", ":", "x", "1:x", "@"] {
            assert_eq!(read(none), [], "{none:?}");
        }
    }

    #[test]
    fn thresholds_and_limits_have_the_unit_of_the_value_or_their_own() {
        let item = one("a=500ms;1000;2s;0;60000");
        assert_eq!(item.warning.and_then(|r| r.upper), Some(1.0));
        assert_eq!(item.critical.and_then(|r| r.upper), Some(2.0));
        assert_eq!((item.min, item.max), (Some(0.0), Some(60.0)));
        let item = one("a=U;;;0;");
        assert_eq!((item.value, item.warning, item.min, item.max), (None, None, Some(0.0), None));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(label in "[^=\\r\\n|]{1,12}", value in -1e9..1e9_f64, warn in 0.0..1e6_f64) {
            let written = format!("'{}'={value}ms;{warn}", label.replace('\'', "''"));
            let item = one(&written);
            prop_assert_eq!(&*item.label, label.as_str());
            prop_assert_eq!(item.value, Some(value / 1000.0));
            prop_assert_eq!(item.warning.and_then(|r| r.upper), Some(warn / 1000.0));
        }
    }
}
