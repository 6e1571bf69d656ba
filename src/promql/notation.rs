//! How unit tests of rules write series: a metric, `up{job="a"}`, and its samples, `0+10x5 _ NaN stale`.

use super::QueryError;
use crate::history::stale_marker;
use crate::model::{Labels, LabelsBuilder, METRIC_NAME};

/// Reads a metric, `name{label="value"}`: what a selector would be that knows only `=`.
///
/// # Errors
///
/// What is not a metric, with its place.
pub fn parse_metric(text: &str) -> Result<Labels, QueryError> {
    let mut reader = Reader { text, at: 0 };
    let metric = reader.metric()?;
    reader.skip_spaces();
    match reader.peek() {
        None => Ok(metric),
        Some(c) => Err(reader.wrong(format!("unexpected {c:?} after the metric"))),
    }
}

/// The samples of a series at equal distances; `None` where there is none.
#[derive(Clone, Debug, Default)]
pub struct Values {
    runs: std::vec::IntoIter<Run>,
    current: Run,
}

/// Values that each differ from the one before by the same step.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    value: Option<f64>,
    step: Option<f64>,
    count: u64,
}

impl Values {
    /// Reads samples as unit tests write them: `1`, `-2.5e3`, `NaN`, `+Inf`, `1x3` (1 1 1 1), `1+2x3` (1 3 5 7), `1-2x3`,
    /// `_` (no sample), `_x3`, `stale`.
    ///
    /// # Errors
    ///
    /// What cannot be read, with its place.
    pub fn parse(text: &str) -> Result<Values, QueryError> {
        let mut reader = Reader { text, at: 0 };
        let mut runs = Vec::new();
        loop {
            reader.skip_spaces();
            if reader.peek().is_none() {
                return Ok(Values { runs: runs.into_iter(), current: Run::default() });
            }
            runs.push(reader.run()?);
        }
    }

    /// How many they are, those without a sample too.
    pub fn total(&self) -> u64 {
        let left = self.runs.as_slice().iter().map(|run| run.count);
        left.fold(self.current.count, u64::saturating_add)
    }
}

impl Iterator for Values {
    type Item = Option<f64>;

    fn next(&mut self) -> Option<Option<f64>> {
        while self.current.count == 0 {
            self.current = self.runs.next()?;
        }
        let Run { value, step, count } = &mut self.current;
        *count -= 1;
        let this = *value;
        // Added again and again, so that it is rounded as Prometheus' tools round it; a marker must keep its bits.
        if let (Some(value), Some(step)) = (value, step) {
            *value += *step;
        }
        Some(this)
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += if found { wanted.len_utf8() } else { 0 };
        found
    }

    fn take_while(&mut self, test: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c| !test(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or("")
    }

    fn skip_spaces(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn wrong(&self, message: impl Into<String>) -> QueryError {
        QueryError::at(message, self.text, self.at)
    }

    fn metric(&mut self) -> Result<Labels, QueryError> {
        let mut labels = LabelsBuilder::default();
        self.skip_spaces();
        let name = self.name(true);
        if !name.is_empty() {
            labels.set(METRIC_NAME, name);
        }
        self.skip_spaces();
        let mut seen: Vec<String> = Vec::new();
        if !self.take('{') {
            return match name {
                "" => Err(self.wrong("expected a metric, such as up{job=\"node\"}")),
                _ => Ok(labels.build()),
            };
        }
        loop {
            self.skip_spaces();
            if self.take('}') {
                return Ok(labels.build());
            }
            let start = self.at;
            let (label, value) = self.label()?;
            if seen.contains(&label) {
                self.at = start;
                return Err(self.wrong(format!("the label {label:?} is here twice")));
            }
            labels.set(&label, &value);
            seen.push(label);
            self.skip_spaces();
            if !self.take(',') && self.peek() != Some('}') {
                return Err(self.wrong("expected \",\" or \"}\" after a label"));
            }
        }
    }

    /// `name="value"`, or the metric name in quotes.
    fn label(&mut self) -> Result<(String, String), QueryError> {
        let quoted = matches!(self.peek(), Some('"' | '\'' | '`'));
        let name = if quoted { self.quoted()? } else { self.name(false).to_string() };
        if name.is_empty() {
            return Err(self.wrong("expected the name of a label"));
        }
        self.skip_spaces();
        if quoted && matches!(self.peek(), Some(',' | '}')) {
            return Ok((METRIC_NAME.to_string(), name));
        }
        if !self.take('=') || matches!(self.peek(), Some('~')) {
            return Err(self.wrong(format!("expected \"=\" after the label {name}: a series has values, not patterns")));
        }
        self.skip_spaces();
        Ok((name, self.quoted()?))
    }

    fn name(&mut self, metric: bool) -> &'t str {
        if self.peek().is_some_and(|c| c.is_ascii_digit()) {
            return "";
        }
        self.take_while(|c| c.is_ascii_alphanumeric() || c == '_' || (metric && c == ':'))
    }

    fn quoted(&mut self) -> Result<String, QueryError> {
        let start = self.at;
        let Some(quote) = self.peek().filter(|c| matches!(c, '"' | '\'' | '`')) else {
            return Err(self.wrong("expected a text in quotes"));
        };
        self.take(quote);
        let mut out = String::new();
        loop {
            let Some(c) = self.peek() else {
                self.at = start;
                return Err(self.wrong("a quoted text has no end"));
            };
            self.at += c.len_utf8();
            match c {
                c if c == quote => return Ok(out),
                '\\' if quote != '`' => out.push(self.escape(quote)?),
                c => out.push(c),
            }
        }
    }

    /// What stands behind a backslash, as Go has it.
    fn escape(&mut self, quote: char) -> Result<char, QueryError> {
        let start = self.at;
        let c = self.peek().unwrap_or(' ');
        self.at += c.len_utf8();
        let (digits, radix) = match c {
            'a' => return Ok('\x07'),
            'b' => return Ok('\x08'),
            'f' => return Ok('\x0c'),
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            'v' => return Ok('\x0b'),
            '\\' => return Ok('\\'),
            c if c == quote => return Ok(c),
            'x' => (2, 16),
            'u' => (4, 16),
            'U' => (8, 16),
            '0'..='7' => {
                self.at = start;
                (3, 8)
            }
            _ => (0, 10),
        };
        let number = self.rest().get(..digits).and_then(|text| u32::from_str_radix(text, radix).ok());
        match number.and_then(char::from_u32).filter(|_| digits > 0) {
            Some(c) => {
                self.at += digits;
                Ok(c)
            }
            None => {
                self.at = start;
                Err(self.wrong("not an escape sequence: write \\\\ for a backslash"))
            }
        }
    }

    /// One word of samples.
    fn run(&mut self) -> Result<Run, QueryError> {
        let run = if self.rest().starts_with("{{") {
            return Err(self.wrong("native histograms are not supported: samples are plain numbers"));
        } else if self.take('_') {
            Run { value: None, step: None, count: self.times()?.unwrap_or(1) }
        } else {
            let value = self.value()?;
            let signed = matches!(self.peek(), Some('+' | '-'));
            let step = if signed { Some(self.value()?) } else { None };
            let times = self.times()?;
            if signed && times.is_none() {
                return Err(self.wrong("expected x and how often the step is taken, as in 1+2x3"));
            }
            Run { value: Some(value), step, count: times.unwrap_or(0).saturating_add(1) }
        };
        match self.peek() {
            Some(c) if !c.is_whitespace() => Err(self.wrong(format!("unexpected {c:?} in a sample"))),
            _ => Ok(run),
        }
    }

    /// `x5`
    fn times(&mut self) -> Result<Option<u64>, QueryError> {
        if !self.take('x') {
            return Ok(None);
        }
        let start = self.at;
        match self.take_while(|c| c.is_ascii_digit()).parse() {
            Ok(times) => Ok(Some(times)),
            Err(_) => {
                self.at = start;
                Err(self.wrong("expected a whole number after x"))
            }
        }
    }

    fn value(&mut self) -> Result<f64, QueryError> {
        let start = self.at;
        let negative = self.peek() == Some('-');
        let signed = self.take('-') || self.take('+');
        let word = match self.peek() {
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            _ => self.take_while(|c| c.is_ascii_alphanumeric() || c == '_'),
        };
        let value = match word.to_ascii_lowercase().as_str() {
            "stale" if word == "stale" && !signed => return Ok(stale_marker()),
            "inf" => Some(f64::INFINITY),
            "nan" => Some(f64::NAN),
            _ if word.starts_with(|c: char| c.is_ascii_digit() || c == '.') => decimal(word),
            _ => None,
        };
        match value {
            Some(value) => Ok(if negative { -value } else { value }),
            None => {
                self.at = start;
                let word = self.take_while(|c| !c.is_whitespace());
                self.at = start;
                let shown: String = word.chars().take(40).collect();
                Err(self.wrong(format!("{shown:?} is not a sample: write a number, NaN, Inf, _ or stale")))
            }
        }
    }

    /// Digits, a point, an exponent. Without hexadecimal numbers: the `x` stands for a repetition.
    fn number(&mut self) -> &'t str {
        let start = self.at;
        loop {
            self.take_while(|c| c.is_ascii_digit() || matches!(c, '.' | '_'));
            if !self.take('e') && !self.take('E') {
                break;
            }
            let _ = self.take('+') || self.take('-');
        }
        self.text.get(start..self.at).unwrap_or("")
    }
}

/// A number as Go reads it: whole ones with a leading zero are octal, and may have `_` between digits.
fn decimal(word: &str) -> Option<f64> {
    if !word.contains('_') {
        let octal = word.len() > 1 && word.starts_with('0');
        let whole = if octal { i64::from_str_radix(word, 8) } else { word.parse() };
        return whole.map(|n| n as f64).or_else(|_| word.parse()).ok();
    }
    let whole = word.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let separates = !word.contains("__") && !word.ends_with('_') && !word.starts_with('0');
    (whole && separates).then(|| word.replace('_', "").parse::<i64>().ok().map(|n| n as f64)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;
    use crate::history::is_stale_marker;

    fn values(text: &str) -> Vec<Option<f64>> {
        Values::parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).collect()
    }

    fn refused(text: &str) -> String {
        Values::parse(text).err().unwrap_or_else(|| panic!("{text}")).to_string()
    }

    #[test]
    fn samples_are_read_as_promtool_reads_them() {
        let some = |values: &[f64]| values.iter().copied().map(Some).collect::<Vec<_>>();
        for (text, expected) in [
            ("", &[][..]),
            (" 1  2\n3 ", &[1.0, 2.0, 3.0]),
            ("1x2", &[1.0; 3]),
            ("1+2x3", &[1.0, 3.0, 5.0, 7.0]),
            ("1-2x2 -1-1x1 -3+1.5x1", &[1.0, -1.0, -3.0, -1.0, -2.0, -3.0, -1.5]),
            ("0x2 .5 1.5e3 1e-2+1E+1x1", &[0.0, 0.0, 0.0, 0.5, 1500.0, 0.01, 10.01]),
            ("+Inf -inf inf +1", &[f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY, 1.0]),
            ("010 08 1_000", &[8.0, 8.0, 1000.0]),
            ("0+0.1x3", &[0.0, 0.1, 0.2, 0.1 + 0.1 + 0.1]),
        ] {
            assert_eq!(values(text), some(expected), "{text}");
        }
        assert_eq!(values("_ 1 _x3"), [None, Some(1.0), None, None, None]);
        assert_eq!(values("_x0"), []);
        let stale = values("stale NaN NaN+1x1");
        assert!(stale[0].is_some_and(is_stale_marker) && stale.len() == 4);
        assert!(stale[1..].iter().all(|v| v.is_some_and(|v| v.is_nan() && !is_stale_marker(v))));
        assert_eq!(Values::parse("1x99999999999 _x5").unwrap().total(), 100_000_000_005);
    }

    #[test]
    fn what_is_no_sample_is_named_with_its_place() {
        for (text, message) in [
            ("1 abc", "1:3: \"abc\" is not a sample: write a number, NaN, Inf, _ or stale"),
            ("1 {{sum:1}}", "1:3: native histograms are not supported: samples are plain numbers"),
            ("1+1", "1:4: expected x and how often the step is taken, as in 1+2x3"),
            ("1x", "1:3: expected a whole number after x"),
            ("1x-5", "1:3: expected a whole number after x"),
            ("1,2", "1:2: unexpected ',' in a sample"),
            ("_1", "1:2: unexpected '1' in a sample"),
        ] {
            assert_eq!(refused(text), message, "{text}");
        }
        for text in ["stalex5", "NaNx2", "-stale", "1.2.3", "1e", "--1", "1+x3", "5m", "Stale", "1e5e5", "1__0", "é"] {
            refused(text);
        }
    }

    #[test]
    fn a_metric_is_read_with_its_labels() {
        for (text, expected) in [
            ("up", "up"),
            ("a:b{}", "a:b"),
            ("{}", "{}"),
            (" up { a = \"1\" , b='x\"y', } ", "up{a=\"1\", b=\"x\\\"y\"}"),
            ("sum{by=`raw\\n`}", "sum{by=\"raw\\\\n\"}"),
            ("{\"my.metric\", \"a b\"=\"c\"}", "my.metric{a b=\"c\"}"),
            ("up{a=\"\\x41\\101\\u00e9\\n\"}", "up{a=\"AAé\\n\"}"),
            ("up{a=\"\"}", "up"),
        ] {
            let metric = parse_metric(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(metric.to_string(), expected, "{text}");
        }
        for (text, message) in [
            ("", "1:1: expected a metric, such as up{job=\"node\"}"),
            ("1up", "1:1: expected a metric, such as up{job=\"node\"}"),
            ("up{a=~\"x\"}", "1:6: expected \"=\" after the label a: a series has values, not patterns"),
            ("up{a!=\"x\"}", "1:5: expected \"=\" after the label a: a series has values, not patterns"),
            ("up{a=\"x\" b=\"y\"}", "1:10: expected \",\" or \"}\" after a label"),
            ("up{a=x}", "1:6: expected a text in quotes"),
            ("up{a=\"x", "1:6: a quoted text has no end"),
            ("up{a=\"x\", a=\"y\"}", "1:11: the label \"a\" is here twice"),
            ("up{a=\"\\q\"}", "1:8: not an escape sequence: write \\\\ for a backslash"),
            ("up{} 5", "1:6: unexpected '5' after the metric"),
            ("up[5m]", "1:3: unexpected '[' after the metric"),
        ] {
            assert_eq!(parse_metric(text).err().map(|e| e.to_string()).as_deref(), Some(message), "{text}");
        }
    }

    #[test]
    fn no_series_makes_it_panic() {
        let good = ["up{job=\"a\\n\",b='c'}", "{\"m.n\", `a`=\"\\u00e9\"}", "0+10x5 _x3 -1.5e3-NaNx2 stale +Inf 1_0"];
        Fuzz::of(&good).words(&["x", "_", "{{", "\\x", "e+", "99999999999999999999"]).texts(|text| {
            let _ = parse_metric(text);
            if let Ok(values) = Values::parse(text) {
                assert!(values.total() >= values.take(1000).count() as u64);
            }
        });
    }
}
