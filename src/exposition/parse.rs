//! A parser of the text exposition format, version 0.0.4.
//!
//! It takes what the parser of Prometheus' Go libraries takes, with the same grouping of histograms and summaries into
//! families; names are letters, digits, `_` and `:` (quoted names belong to later versions of the format). Stricter in
//! two things: texts must be UTF-8, and a sample that a histogram or summary has no place for is an error, where there
//! it is dropped without a word.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use crate::model::{METRIC_NAME, MetricType};

/// More labels than any sample has; they are compared with one another.
const MAX_LABELS: usize = 1000;

/// A metric family with its samples, borrowed from the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Family<'t> {
    pub name: &'t str,
    /// `None` when there was no TYPE line, which means untyped.
    pub kind: Option<MetricType>,
    /// `None` when there was no HELP line, or an empty one.
    pub help: Option<Cow<'t, str>>,
    /// In the order of the text. Never empty.
    pub samples: Vec<Sample<'t>>,
}

impl Family<'_> {
    /// The type, with `untyped` for none.
    pub fn metric_type(&self) -> MetricType {
        self.kind.unwrap_or(MetricType::Untyped)
    }
}

/// A line with a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'t> {
    /// What the sample's name has behind the family's: `_bucket`, `_sum`, `_count` or nothing.
    pub suffix: &'t str,
    /// In the order of the text; `le` and `quantile` are among them.
    pub labels: Vec<(&'t str, Cow<'t, str>)>,
    pub value: f64,
    /// Milliseconds since 1970.
    pub timestamp: Option<i64>,
    /// From 1.
    pub line: usize,
}

/// Where a text is not well-formed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// From 1.
    pub line: usize,
    /// In bytes, from 1.
    pub column: usize,
    pub reason: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.reason)
    }
}

impl std::error::Error for ParseError {}

/// Parses a whole exposition: the families in the order in which they first appear, without those that have no sample.
pub fn parse(text: &[u8]) -> Result<Vec<Family<'_>>, ParseError> {
    let mut parser = Parser::default();
    let mut lines = text.split(|b| *b == b'\n').enumerate().peekable();
    while let Some((i, line)) = lines.next() {
        let mut cursor = Cursor { line, at: 0 };
        let at_end = lines.peek().is_none();
        let parsed = parser.line(&mut cursor, i + 1).and_then(|()| {
            // A writer that was stopped in the middle leaves such a line, and half a number is a number too.
            let cut = at_end && !line.trim_ascii().is_empty();
            if cut { Err("the last line does not end with a line feed: is the text cut off?".into()) } else { Ok(()) }
        });
        parsed.map_err(|reason| ParseError { line: i + 1, column: cursor.at + 1, reason })?;
    }
    parser.families.retain(|f| !f.samples.is_empty());
    Ok(parser.families)
}

/// A number as the format has it: Go's decimal notation, `Inf` with a sign or without, `NaN`.
pub fn parse_value(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    let digits = text.bytes().any(|b| b.is_ascii_digit());
    // Too large for a number, or a sign before NaN, which Go takes for no number.
    if (digits && value.is_infinite()) || (value.is_nan() && text.len() != 3) { None } else { Some(value) }
}

#[derive(Default)]
struct Parser<'t> {
    families: Vec<Family<'t>>,
    by_name: HashMap<&'t str, usize>,
    /// Whether a family's type is fixed: by a TYPE line, or by samples before there was one.
    typed: Vec<bool>,
}

impl<'t> Parser<'t> {
    fn line(&mut self, cursor: &mut Cursor<'t>, number: usize) -> Result<(), String> {
        cursor.skip_blanks();
        match cursor.peek() {
            None => Ok(()),
            Some(b'#') => self.comment(cursor),
            Some(b'{') => Err("a metric name in braces belongs to a later version of the format".to_string()),
            Some(_) => self.sample(cursor, number),
        }
    }

    fn comment(&mut self, cursor: &mut Cursor<'t>) -> Result<(), String> {
        cursor.at += 1;
        cursor.skip_blanks();
        let is_help = match cursor.word() {
            b"HELP" => true,
            b"TYPE" => false,
            _ => {
                cursor.at = cursor.line.len();
                return Ok(());
            }
        };
        cursor.skip_blanks();
        let start = cursor.at;
        let name = cursor.name(true);
        if !matches!(cursor.peek(), None | Some(b' ' | b'\t')) || (name.is_empty() && cursor.peek().is_some()) {
            cursor.at = start;
            return Err("not a metric name".to_string());
        }
        cursor.skip_blanks();
        if cursor.peek().is_none() {
            // Nothing is said, which is no fault.
            return Ok(());
        }
        let (index, _) = self.family(name);
        let (Some(family), Some(typed)) = (self.families.get_mut(index), self.typed.get_mut(index)) else {
            return Ok(());
        };
        if is_help {
            if family.help.is_some() {
                return Err(format!("a second HELP line for {name}"));
            }
            family.help = Some(cursor.text(None)?);
        } else {
            if *typed {
                return Err(match family.samples.is_empty() {
                    true => format!("a second TYPE line for {name}"),
                    false => format!("the TYPE of {name} stands behind its samples"),
                });
            }
            let word = cursor.line.get(cursor.at..).unwrap_or_default();
            let kinds = [
                MetricType::Counter,
                MetricType::Gauge,
                MetricType::Histogram,
                MetricType::Summary,
                MetricType::Untyped,
            ];
            let kind = kinds.into_iter().find(|k| word.eq_ignore_ascii_case(k.as_str().as_bytes()));
            family.kind = Some(kind.ok_or_else(|| format!("unknown metric type {:?}", String::from_utf8_lossy(word)))?);
            *typed = true;
            cursor.at = cursor.line.len();
        }
        Ok(())
    }

    fn sample(&mut self, cursor: &mut Cursor<'t>, line: usize) -> Result<(), String> {
        let start = cursor.at;
        let name = cursor.name(true);
        if name.is_empty() {
            return Err("not a metric name".to_string());
        }
        if !matches!(cursor.peek(), None | Some(b' ' | b'\t' | b'{')) {
            return Err("a metric name has letters, digits, _ and : only".to_string());
        }
        cursor.skip_blanks();
        let labels = if cursor.peek() == Some(b'{') { cursor.labels()? } else { Vec::new() };
        cursor.skip_blanks();
        let value_at = cursor.at;
        let word = cursor.word();
        let value = str::from_utf8(word).ok().and_then(parse_value).ok_or_else(|| {
            cursor.at = value_at;
            match word.is_empty() {
                true => "expected a value".to_string(),
                false => format!("expected a number as the value, found {:?}", String::from_utf8_lossy(word)),
            }
        })?;
        cursor.skip_blanks();
        let timestamp = match cursor.peek() {
            None => None,
            Some(_) => Some(cursor.timestamp()?),
        };

        let (index, suffix) = self.family(name);
        let (Some(family), Some(typed)) = (self.families.get_mut(index), self.typed.get_mut(index)) else {
            return Ok(());
        };
        *typed = true;
        if let Err(reason) = check_place(family.metric_type(), suffix, &labels) {
            cursor.at = start;
            return Err(reason);
        }
        family.samples.push(Sample { suffix, labels, value, timestamp, line });
        Ok(())
    }

    /// The family that a name belongs to, made if it is new, and what the name has behind the family's.
    fn family(&mut self, name: &'t str) -> (usize, &'t str) {
        // Most often it is that of the line before.
        let last = self.families.len().wrapping_sub(1);
        if self.families.get(last).is_some_and(|f| f.name == name) {
            return (last, "");
        }
        if let Some(index) = self.by_name.get(name) {
            return (*index, "");
        }
        for suffix in ["_count", "_sum", "_bucket"] {
            let Some(stem) = name.strip_suffix(suffix).filter(|s| !s.is_empty()) else { continue };
            let Some(index) = self.by_name.get(stem) else { continue };
            match self.families.get(*index).map(Family::metric_type) {
                Some(MetricType::Histogram) => return (*index, &name[stem.len()..]),
                Some(MetricType::Summary) if suffix != "_bucket" => return (*index, &name[stem.len()..]),
                _ => {}
            }
        }
        self.by_name.insert(name, self.families.len());
        self.families.push(Family { name, kind: None, help: None, samples: Vec::new() });
        self.typed.push(false);
        (self.families.len() - 1, "")
    }
}

/// Whether a family of this type has a place for such a sample.
fn check_place(kind: MetricType, suffix: &str, labels: &[(&str, Cow<'_, str>)]) -> Result<(), String> {
    let needed = match (kind, suffix) {
        (MetricType::Histogram, "_bucket") => "le",
        (MetricType::Histogram, "") => return Err("a histogram has only _bucket, _sum and _count".to_string()),
        (MetricType::Summary, "") => "quantile",
        _ => return Ok(()),
    };
    match labels.iter().find(|(n, _)| *n == needed) {
        None => Err(format!("the label {needed} is missing")),
        Some((_, value)) if parse_value(value).is_none() => {
            Err(format!("expected a number in the label {needed}, found {value:?}"))
        }
        Some(_) => Ok(()),
    }
}

/// A place in a line.
struct Cursor<'t> {
    line: &'t [u8],
    at: usize,
}

impl<'t> Cursor<'t> {
    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'t [u8] {
        let rest = self.line.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|b| !wanted(*b)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        self.take_while(|b| matches!(b, b' ' | b'\t'));
    }

    fn word(&mut self) -> &'t [u8] {
        self.take_while(|b| !matches!(b, b' ' | b'\t'))
    }

    /// A name of a label, or with colons of a metric; empty when there is none.
    fn name(&mut self, colons: bool) -> &'t str {
        if self.peek().is_none_or(|b| b.is_ascii_digit()) {
            return "";
        }
        let name = self.take_while(|b| b.is_ascii_alphanumeric() || b == b'_' || (colons && b == b':'));
        // Always text, for it is ASCII.
        str::from_utf8(name).unwrap_or_default()
    }

    /// `{name="value",...}`, a comma behind the last allowed.
    fn labels(&mut self) -> Result<Vec<(&'t str, Cow<'t, str>)>, String> {
        let mut labels: Vec<(&'t str, Cow<'t, str>)> = Vec::new();
        self.at += 1;
        loop {
            self.skip_blanks();
            if self.peek() == Some(b'}') {
                self.at += 1;
                return Ok(labels);
            }
            let start = self.at;
            let name = self.name(false);
            if name.is_empty() {
                return Err(self.expected("a label name or }"));
            }
            if name == METRIC_NAME || labels.iter().any(|(n, _)| *n == name) {
                self.at = start;
                return Err(match name {
                    METRIC_NAME => format!("the label name {METRIC_NAME} is reserved"),
                    _ => format!("the label {name} is there twice"),
                });
            }
            if labels.len() == MAX_LABELS {
                return Err(format!("more than {MAX_LABELS} labels"));
            }
            self.skip_blanks();
            self.expect(b'=', "= behind a label name")?;
            self.skip_blanks();
            self.expect(b'"', "a value in double quotes")?;
            let value = self.text(Some(b'"'))?;
            self.expect(b'"', "a double quote at the end of the label's value")?;
            labels.push((name, value));
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {}
                _ => return Err(self.expected(", or }")),
            }
        }
    }

    /// Text with `\\`, `\n` and `\"` resolved, up to and without `end`, or to the line's end.
    fn text(&mut self, end: Option<u8>) -> Result<Cow<'t, str>, String> {
        let start = self.at;
        let mut owned: Option<Vec<u8>> = None;
        loop {
            let plain = self.take_while(|b| b != b'\\' && Some(b) != end);
            if let Some(owned) = &mut owned {
                owned.extend_from_slice(plain);
            }
            if self.peek() != Some(b'\\') {
                break;
            }
            let owned = owned.get_or_insert_with(|| plain.to_vec());
            owned.push(match self.line.get(self.at + 1) {
                Some(b'\\') => b'\\',
                Some(b'n') => b'\n',
                Some(b'"') => b'"',
                _ => return Err("\\ stands only before \\, n and \"".to_string()),
            });
            self.at += 2;
        }
        let text = match owned {
            None => str::from_utf8(self.line.get(start..self.at).unwrap_or_default()).map(Cow::Borrowed).ok(),
            Some(owned) => String::from_utf8(owned).map(Cow::Owned).ok(),
        };
        text.ok_or_else(|| {
            self.at = start;
            "the text is not UTF-8".to_string()
        })
    }

    fn timestamp(&mut self) -> Result<i64, String> {
        let start = self.at;
        let word = self.word();
        let Some(timestamp) = str::from_utf8(word).ok().and_then(|w| w.parse().ok()) else {
            self.at = start;
            let word = String::from_utf8_lossy(word);
            return Err(format!("expected a whole number of milliseconds as the timestamp, found {word:?}"));
        };
        self.skip_blanks();
        match self.peek() {
            None => Ok(timestamp),
            Some(_) => Err(self.expected("nothing behind the timestamp")),
        }
    }

    fn expect(&mut self, byte: u8, what: &str) -> Result<(), String> {
        if self.peek() != Some(byte) {
            return Err(self.expected(what));
        }
        self.at += 1;
        Ok(())
    }

    fn expected(&self, what: &str) -> String {
        let rest = self.line.get(self.at..).unwrap_or_default();
        match String::from_utf8_lossy(rest).chars().next() {
            None => format!("expected {what}, found the end of the line"),
            Some(c) => format!("expected {what}, found {c:?}"),
        }
    }
}

#[cfg(test)]
mod tests;
