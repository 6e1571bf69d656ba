//! `format: influx`: points in InfluxDB's line protocol on standard output, as scripts for Telegraf write them.
//!
//! `measurement,tag=value field=1.5,other=2i 1556813561098000000` becomes untyped metrics by the names
//! `measurement_field` and `measurement_other`, the tags their labels; of a field `value` the metric has the name of the
//! measurement alone, as in Telegraf's own output for Prometheus. What may not stand in a name becomes `_`. Booleans are
//! 1 and 0; strings are left out, and times too: a sample has that of the tick.
//!
//! Exit code 0 is ok, others are critical. Text that is not well-formed is unknown and gives no metrics: the summary
//! names the line.

use std::borrow::Cow;

use super::{Given, by_code, counted, label_name, sanitized};
use crate::checks::families::Families;
use crate::checks::verdict::Verdict;
use crate::model::MetricType;

/// More tags or fields than any point has; they are compared with one another.
const MAX_PAIRS: usize = 1000;

pub fn read(given: &Given<'_>, out: &mut Families) -> Verdict {
    let mut samples = 0;
    let read = for_each(given.stdout, |name, labels, value| {
        out.add(MetricType::Untyped, name, "", "", labels, value);
        samples += 1;
    });
    match read {
        // A command that has failed says itself why there is nothing to read.
        Err(_) if given.code != 0 => by_code(given, String::new),
        Err(fault) => Verdict::unknown(format!("standard output, line {}: {}", fault.line, fault.reason)),
        Ok(_) => by_code(given, || counted(samples)),
    }
}

/// Calls `each` with the metric's name, the labels and the value of each sample of the points in a text, and says how many
/// points there were. Of a text with a fault nothing is given.
pub fn for_each(text: &[u8], mut each: impl FnMut(&str, &[(&str, &str)], f64)) -> Result<usize, Fault> {
    let points = parse(text)?;
    for point in &points {
        let measurement = sanitized(&point.measurement);
        let mut labels: Vec<(String, &str)> = Vec::with_capacity(point.tags.len());
        for (tag, value) in &point.tags {
            let name = label_name(tag);
            if !labels.iter().any(|(known, _)| *known == name) {
                labels.push((name, value));
            }
        }
        let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        for (field, value) in &point.fields {
            let name = match field.as_ref() {
                "value" => measurement.clone(),
                field => format!("{measurement}_{}", sanitized(field).trim_start_matches('_')),
            };
            each(&name, &labels, *value);
        }
    }
    Ok(points.len())
}

/// A point, without its time and the fields that are no numbers.
#[derive(PartialEq, Debug)]
struct Point<'t> {
    measurement: Cow<'t, str>,
    tags: Vec<(Cow<'t, str>, Cow<'t, str>)>,
    fields: Vec<(Cow<'t, str>, f64)>,
}

/// What is not well-formed.
#[derive(PartialEq, Debug)]
pub struct Fault {
    /// From 1.
    pub line: usize,
    pub reason: String,
}

fn parse(text: &[u8]) -> Result<Vec<Point<'_>>, Fault> {
    let text = str::from_utf8(text).map_err(|error| {
        let before = text.get(..error.valid_up_to()).unwrap_or_default();
        Fault { line: 1 + memchr::memchr_iter(b'\n', before).count(), reason: "the text is not UTF-8".to_string() }
    })?;
    let mut parser = Parser { text, at: 0 };
    let mut points = Vec::new();
    let (mut line, mut counted_to) = (1, 0);
    while parser.at < text.len() {
        // Strings may go over several lines, so lines are counted by what has been read.
        let read = text.as_bytes().get(counted_to..parser.at).unwrap_or_default();
        line += memchr::memchr_iter(b'\n', read).count();
        counted_to = parser.at;
        parser.blanks();
        match parser.peek() {
            None => break,
            Some(b'\n') => parser.at += 1,
            Some(b'#') => parser.line_end(),
            Some(_) => points.push(parser.point().map_err(|reason| Fault { line, reason })?),
        }
    }
    Ok(points)
}

struct Parser<'t> {
    text: &'t str,
    /// In bytes; always between two characters.
    at: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'t str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest.bytes().position(|b| !wanted(b)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn blanks(&mut self) {
        self.take_while(|b| matches!(b, b' ' | b'\t' | b'\r'));
    }

    fn line_end(&mut self) {
        self.take_while(|b| b != b'\n');
    }

    fn point(&mut self) -> Result<Point<'t>, String> {
        let measurement = self.name(b", ");
        if measurement.is_empty() {
            return Err("expected the name of a measurement".to_string());
        }
        let mut tags = Vec::new();
        while self.peek() == Some(b',') {
            self.at += 1;
            let name = self.pair("tag")?;
            let value = self.name(b", =");
            if value.is_empty() {
                return Err(format!("the tag {name:?} has no value"));
            }
            tags.push((name, value));
            bounded(&tags)?;
        }
        if self.peek() != Some(b' ') {
            return Err(format!("expected a blank and fields behind {measurement:?}"));
        }
        self.blanks();
        let mut fields = Vec::new();
        loop {
            let name = self.pair("field")?;
            if let Some(value) = self.value(&name)? {
                fields.push((name, value));
                bounded(&fields)?;
            }
            if self.peek() != Some(b',') {
                break;
            }
            self.at += 1;
        }
        self.blanks();
        let time = self.take_while(|b| !matches!(b, b'\n' | b' ' | b'\r'));
        if !time.is_empty() && time.parse::<i64>().is_err() {
            return Err(format!("expected a time in whole nanoseconds, found {:?}", excerpt(time)));
        }
        self.blanks();
        match self.peek() {
            None | Some(b'\n') => Ok(Point { measurement, tags, fields }),
            Some(_) => Err("expected nothing behind the time".to_string()),
        }
    }

    /// The name of a tag or field, and the `=` behind it.
    fn pair(&mut self, what: &str) -> Result<Cow<'t, str>, String> {
        let name = self.name(b", =");
        if name.is_empty() || self.peek() != Some(b'=') {
            return Err(match name.is_empty() {
                true => format!("expected the name of a {what}"),
                false => format!("the {what} {:?} has no value", excerpt(&name)),
            });
        }
        self.at += 1;
        Ok(name)
    }

    /// Text up to one of `ends`, or the line's end. A backslash takes the meaning from `,`, `=`, blanks and itself; before
    /// anything else it is a character as others.
    fn name(&mut self, ends: &[u8]) -> Cow<'t, str> {
        let start = self.at;
        let mut owned: Option<String> = None;
        loop {
            let plain = self.take_while(|b| b != b'\\' && b != b'\n' && !ends.contains(&b));
            if let Some(owned) = &mut owned {
                owned.push_str(plain);
            }
            if self.peek() != Some(b'\\') {
                break;
            }
            let owned = owned.get_or_insert_with(|| plain.to_string());
            match self.text.as_bytes().get(self.at + 1) {
                Some(escaped @ (b',' | b'=' | b' ' | b'\\')) => {
                    owned.push(char::from(*escaped));
                    self.at += 2;
                }
                _ => {
                    owned.push('\\');
                    self.at += 1;
                }
            }
        }
        match owned {
            Some(owned) => Cow::Owned(owned),
            None => Cow::Borrowed(self.text.get(start..self.at).unwrap_or_default()),
        }
    }

    /// The value of a field; `None` for a string.
    fn value(&mut self, field: &str) -> Result<Option<f64>, String> {
        if self.peek() == Some(b'"') {
            self.at += 1;
            loop {
                self.take_while(|b| b != b'"' && b != b'\\');
                match self.peek() {
                    None => return Err(format!("the string in the field {:?} has no end", excerpt(field))),
                    Some(b'"') => break,
                    // It takes the meaning from what follows, which may be of several bytes: none of them is a quote.
                    Some(_) if matches!(self.text.as_bytes().get(self.at + 1), Some(b'"' | b'\\')) => self.at += 2,
                    Some(_) => self.at += 1,
                }
            }
            self.at += 1;
            return Ok(None);
        }
        let written = self.take_while(|b| !matches!(b, b',' | b' ' | b'\n' | b'\r'));
        let value = match written {
            "t" | "T" | "true" | "True" | "TRUE" => Some(1.0),
            "f" | "F" | "false" | "False" | "FALSE" => Some(0.0),
            _ => match written.as_bytes().last() {
                Some(b'i') => written.strip_suffix('i').and_then(|n| n.parse::<i64>().ok()).map(|n| n as f64),
                Some(b'u') => written.strip_suffix('u').and_then(|n| n.parse::<u64>().ok()).map(|n| n as f64),
                Some(b'0'..=b'9' | b'.') => written.parse().ok().filter(|n: &f64| n.is_finite()),
                _ => None,
            },
        };
        let wrong = || format!("the field {:?} has the value {:?}, which is none", excerpt(field), excerpt(written));
        value.map(Some).ok_or_else(wrong)
    }
}

fn bounded<T>(pairs: &[T]) -> Result<(), String> {
    if pairs.len() > MAX_PAIRS { Err(format!("more than {MAX_PAIRS} tags or fields")) } else { Ok(()) }
}

/// What an error shows of a text.
fn excerpt(text: &str) -> &str {
    text.char_indices().nth(40).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::Format;
    use super::super::testing::{read_text, sample};
    use super::*;
    use crate::checks::verdict::State;
    use crate::fuzz::Fuzz;
    use crate::model::Labels;

    fn samples(text: &str) -> Vec<String> {
        let (verdict, samples) = read_text(&Format::Influx, 0, text);
        assert_eq!(verdict.state, State::Ok, "{}", verdict.summary);
        samples
    }

    #[test]
    fn the_documented_example_becomes_a_metric_a_field() {
        let text = "myMeasurement,tag1=value1,tag2=value2 fieldKey=\"fieldValue\" 1556813561098000000\n\
                    weather,location=us-midwest,season=summer temperature=82,wind=3.5 1465839830100400200\n";
        let labels = "location=\"us-midwest\",season=\"summer\"";
        let expected = [sample("weather_temperature", labels, "82"), sample("weather_wind", labels, "3.5")];
        assert_eq!(samples(text), expected);
        assert_eq!(read_text(&Format::Influx, 0, text).0, Verdict::ok("2 samples"));
    }

    #[test]
    fn numbers_of_all_kinds_and_booleans_are_values_and_strings_are_left_out() {
        let text = "m a=1,b=1.0,c=-1.234456e+78,d=1i,e=-9223372036854775808i,f=18446744073709551615u,g=t,h=FALSE,i=1.e78\n\
                    m s=\"\",s2=\"a, b=1 \\\"c\\\" \\\\\",j=2i\n# a comment\n\n   m2 value=3 \r\n";
        let expected = [
            sample("m_a", "", "1"),
            sample("m_b", "", "1"),
            sample("m_c", "", &format!("{}", -1.234456e78)),
            sample("m_d", "", "1"),
            sample("m_e", "", "-9223372036854776000"),
            sample("m_f", "", "18446744073709552000"),
            sample("m_g", "", "1"),
            sample("m_h", "", "0"),
            sample("m_i", "", &format!("{}", 1e78)),
            sample("m_j", "", "2"),
            sample("m2", "", "3"),
        ];
        assert_eq!(samples(text), expected);
    }

    #[test]
    fn escapes_take_the_meaning_from_commas_blanks_and_equal_signs() {
        let text = "my\\ Mea\\,sure=1,tag\\ Key1=tag\\ Value1,tag\\,Key2=a\\=b\\\\c\\d my\\=Field=1\n";
        let labels = "tag_Key1=\"tag Value1\",tag_Key2=\"a=b\\\\c\\\\d\"";
        assert_eq!(samples(text), [sample("my_Mea_sure_1_my_Field", labels, "1")]);
        // A string may go over several lines.
        assert_eq!(samples("m s=\"one\ntwo\",a=1\n").len(), 1);
    }

    #[test]
    fn what_is_not_well_formed_is_unknown_and_the_line_is_named() {
        let said = |text: &str| {
            let (verdict, samples) = read_text(&Format::Influx, 0, text);
            assert!(verdict.state == State::Unknown && samples.is_empty(), "{text:?}: {}", verdict.summary);
            verdict.summary.strip_prefix("standard output, ").unwrap_or_default().to_string()
        };
        assert_eq!(
            said("m a=1\nm s=\"x\ny\",b=2\nm a=x\n"),
            "line 4: the field \"a\" has the value \"x\", which is none"
        );
        assert_eq!(said("m\n"), "line 1: expected a blank and fields behind \"m\"");
        assert_eq!(said("m,a= b=1\n"), "line 1: the tag \"a\" has no value");
        assert_eq!(said("m,=1 b=1\n"), "line 1: expected the name of a tag");
        assert_eq!(said("m b\n"), "line 1: the field \"b\" has no value");
        assert_eq!(said("m \n"), "line 1: expected the name of a field");
        assert_eq!(said("m a=1,\n"), "line 1: expected the name of a field");
        assert_eq!(said("m a=1 soon\n"), "line 1: expected a time in whole nanoseconds, found \"soon\"");
        assert_eq!(said("m a=1 1 2\n"), "line 1: expected nothing behind the time");
        assert_eq!(said("m a=\"x\n"), "line 1: the string in the field \"a\" has no end");
        for value in ["NaN", "inf", "1e999", "1.5i", "-1u", "", "infinity", "1_000"] {
            assert!(said(&format!("m a={value}\n")).contains("which is none"), "{value}");
        }
        assert_eq!(read_text(&Format::Influx, 2, "no such database\n").0.state, State::Critical);
    }

    #[test]
    fn no_output_makes_it_panic() {
        let good = [
            "my\\ Mea\\,sure,tag\\ Key=a\\=b\\\\c f=1,g=-2.5e3,h=3i,i=4u,j=t,k=\"a \\\"b\\\"\nc\" 1556813561098000000\n",
            "# comment\n\nm2 value=3 \r\nm,a=b c=1\n",
        ];
        Fuzz::of(&good).bytes(|stdout| {
            let mut families = Families::new(Arc::new(Labels::from_pairs([("check", "c")])));
            read(&Given { stdout, stderr: b"", truncated: false, code: 0 }, &mut families);
        });
    }

    fn escaped(text: &str) -> String {
        text.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=").replace(' ', "\\ ")
    }

    proptest! {
        #[test]
        fn what_is_escaped_is_read_back(tag in "[a-z]{1,4}", label in "[ -~]{1,12}", value in -1e9..1e9_f64) {
            let text = format!("m,{tag}={} f={value}\n", escaped(&label));
            let points = parse(text.as_bytes()).map_err(|fault| TestCaseError::fail(fault.reason))?;
            let expected = Point {
                measurement: Cow::Borrowed("m"),
                tags: vec![(Cow::Borrowed(tag.as_str()), Cow::Borrowed(label.as_str()))],
                fields: vec![(Cow::Borrowed("f"), value)],
            };
            prop_assert_eq!(points, [expected]);
        }
    }
}
