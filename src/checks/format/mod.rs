//! What a command's output means: its exit code and text become a [`Verdict`], its numbers [`Families`].
//!
//! | format | state | metrics |
//! | --- | --- | --- |
//! | [`nagios`] | the exit code: 0 ok, 1 warning, 2 critical, others unknown | performance data |
//! | [`prometheus`] | exit code 0 ok, others critical | the exposition on standard output |
//! | [`json`] | a value of the document, else as `prometheus` | values of the document, as configured |
//! | [`influx`] | as `prometheus` | the points of line protocol on standard output |
//! | [`exit`] | as `prometheus` | none |
//!
//! Output that does not keep to its format is unknown and gives no metrics: half of it would pass for the whole.

mod exit;
pub mod influx;
pub mod json;
mod json_path;
mod nagios;
mod perfdata;
mod prometheus;

use super::families::Families;
use super::verdict::Verdict;
use crate::yaml::{Faults, FromYaml, Node, nearest};

/// The longest summary, in characters; what is longer is cut.
const MAX_SUMMARY: usize = 1000;

/// What a command has given that ended by itself.
#[derive(Clone, Copy, Debug)]
pub struct Given<'o> {
    pub stdout: &'o [u8],
    pub stderr: &'o [u8],
    /// Whether standard output was longer than is kept.
    pub truncated: bool,
    /// Its exit code.
    pub code: i32,
}

/// The key `format`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FormatName {
    Nagios,
    Prometheus,
    Json,
    Influx,
    Exit,
}

impl FormatName {
    const ALL: [(&'static str, FormatName); 5] = [
        ("nagios", FormatName::Nagios),
        ("prometheus", FormatName::Prometheus),
        ("json", FormatName::Json),
        ("influx", FormatName::Influx),
        ("exit", FormatName::Exit),
    ];

    /// The names, for people.
    pub const NAMES: &'static str = "nagios, prometheus, json, influx or exit";

    /// Whether it says how things stand by the command's exit code alone.
    pub fn needs_exit_code(self) -> bool {
        matches!(self, FormatName::Nagios | FormatName::Exit)
    }
}

impl FromYaml for FormatName {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Some(text) = node.as_str() else {
            faults.unexpected(node, FormatName::NAMES);
            return None;
        };
        let found = FormatName::ALL.iter().find(|(name, _)| *name == text).map(|(_, format)| *format);
        if found.is_none() {
            let hint = match nearest(text, FormatName::ALL.iter().map(|(name, _)| *name)) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("there are {}", FormatName::NAMES),
            };
            faults.error(node.at, format!("unknown format {text:?}, {hint}"));
        }
        found
    }
}

/// How the output of a command is read.
#[derive(Clone, Debug)]
pub enum Format {
    Nagios,
    Prometheus,
    Json(json::JsonConfig),
    Influx,
    Exit,
}

impl Format {
    /// Reads what a command has given.
    pub fn read(&self, given: &Given<'_>, out: &mut Families) -> Verdict {
        // What Nagios' plugins say for people comes first and is short: a list of numbers that is cut harms less.
        if given.truncated && !matches!(self, Format::Nagios | Format::Exit) {
            let kept = given.stdout.len();
            return Verdict::unknown(format!("more than {kept} bytes on standard output: raise output_limit"));
        }
        match self {
            Format::Nagios => nagios::read(given, out),
            Format::Prometheus => prometheus::read(given, out),
            Format::Json(config) => json::read(config, given, out),
            Format::Influx => influx::read(given, out),
            Format::Exit => exit::read(given),
        }
    }
}

/// The verdict of what only knows right and wrong; `found` is the summary when all is right.
fn by_code(given: &Given<'_>, found: impl FnOnce() -> String) -> Verdict {
    match given.code {
        0 => Verdict::ok(found()),
        code => Verdict::critical(why(given, code)),
    }
}

/// The code, and what the command says of it. Programs complain on standard error.
fn why(given: &Given<'_>, code: i32) -> String {
    let said = Some(first_line(given.stderr)).filter(|line| !line.is_empty());
    match said.unwrap_or_else(|| first_line(given.stdout)) {
        line if line.is_empty() => format!("exited with code {code}"),
        line => format!("exited with code {code}: {line}"),
    }
}

/// The first line that is not empty, fit to be shown anywhere.
fn first_line(bytes: &[u8]) -> String {
    a_line(bytes.split(|b| *b == b'\n'))
}

/// The last line that is not empty, fit to be shown anywhere.
pub(super) fn last_line(bytes: &[u8]) -> String {
    a_line(bytes.rsplit(|b| *b == b'\n'))
}

fn a_line<'b>(mut lines: impl Iterator<Item = &'b [u8]>) -> String {
    let line = lines.find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    // Four bytes are the most that a character takes; the rest of a very long line is not looked at.
    let line = line.get(..4 * (MAX_SUMMARY + 1)).unwrap_or(line);
    as_summary(&String::from_utf8_lossy(line))
}

/// A text as a summary: one line without control characters, not too long.
fn as_summary(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = text.trim().chars().map(shown).take(MAX_SUMMARY).collect();
    if text.trim().chars().nth(MAX_SUMMARY).is_some() {
        line.push('…');
    }
    line
}

/// `text` as the name of a label. Names that begin with `__` are not for others to give.
fn label_name(text: &str) -> String {
    let name = sanitized(text);
    match name.strip_prefix("__") {
        Some(rest) => format!("_{}", rest.trim_start_matches('_')),
        None => name,
    }
}

/// `text` as a part of a metric's or label's name: what may not stand there becomes `_`.
fn sanitized(text: &str) -> String {
    let part = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let name: String = text.chars().map(part).collect();
    match name.starts_with(|c: char| c.is_ascii_digit()) {
        true => format!("_{name}"),
        false => name,
    }
}

/// The number of samples, for a summary.
pub(super) fn counted(samples: usize) -> String {
    match samples {
        1 => "1 sample".to_string(),
        n => format!("{n} samples"),
    }
}

#[cfg(test)]
mod testing {
    use std::sync::Arc;

    use super::*;
    use crate::exposition::families;
    use crate::model::{Labels, SeriesTable, Writer};

    /// What a check named `c` that gives this is found to say: its verdict, and its samples as lines.
    pub fn read(format: &Format, given: Given<'_>) -> (Verdict, Vec<String>) {
        let mut families = Families::new(Arc::new(Labels::from_pairs([("check", "c")])));
        let verdict = format.read(&given, &mut families);
        let kept = [("c", families.into_kept())];
        let files: Vec<_> = kept.iter().map(|(name, kept)| (*name, kept.as_slice())).collect();
        let (merged, conflicts) = families::merge(&files);
        assert_eq!(conflicts, []);
        let mut writer = Writer::new("checks", Arc::new(SeriesTable::new(Labels::empty())), 100_000);
        families::write(&merged, |i| files.get(i).map_or(&[], |(_, kept)| kept), &mut writer);
        let (section, _) = writer.finish();
        let line = |i: usize| {
            let value = section.values.get(i).copied().unwrap_or(f64::NAN);
            format!("{}{value}", String::from_utf8_lossy(section.layout.prefix(i)))
        };
        (verdict, (0..section.layout.len()).map(line).collect())
    }

    /// The same for a command that exits with this code and writes this.
    pub fn read_text(format: &Format, code: i32, stdout: &str) -> (Verdict, Vec<String>) {
        read(format, Given { stdout: stdout.as_bytes(), stderr: b"", truncated: false, code })
    }

    /// A sample as [`read`] gives it, its labels followed by that of the check.
    pub fn sample(name: &str, labels: &str, value: &str) -> String {
        let comma = if labels.is_empty() { "" } else { "," };
        format!("{name}{{{labels}{comma}check=\"c\"}} {value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::verdict::State;
    use crate::yaml::Document;

    #[test]
    fn a_format_that_is_not_known_is_named_with_the_nearest() {
        let read = |text: &str| {
            let mut faults = Faults::default();
            let node = Document::parse("c.yaml", text, &mut faults).root;
            (FormatName::from_yaml(&node, &mut faults), faults.to_string())
        };
        assert_eq!(read("influx"), (Some(FormatName::Influx), String::new()));
        assert!(read("nagos").1.contains("unknown format \"nagos\", did you mean \"nagios\"?"));
        assert!(read("xml").1.contains("there are nagios, prometheus, json, influx or exit"));
        assert!(read("[json]").1.contains("expected nagios, prometheus"));
    }

    #[test]
    fn a_summary_is_one_line_that_can_be_shown_anywhere() {
        assert_eq!(first_line(b"\n  \n  all \x1b[31mred\tnow  \nmore\n"), "all  [31mred now");
        assert_eq!((first_line(b""), last_line(b"\n")), (String::new(), String::new()));
        assert_eq!(last_line(b"one\ntwo\r\n \n"), "two");
        assert_eq!(first_line(b"caf\xe9"), "caf\u{fffd}");
        let long = first_line("ä".repeat(5000).as_bytes());
        assert_eq!((long.chars().count(), long.chars().last()), (MAX_SUMMARY + 1, Some('…')));
    }

    #[test]
    fn output_that_was_cut_is_not_taken_for_the_whole() {
        let given = Given { stdout: b"a 1\n", stderr: b"", truncated: true, code: 0 };
        for format in [Format::Prometheus, Format::Influx, Format::Json(json::JsonConfig::default())] {
            let (verdict, samples) = testing::read(&format, given);
            assert_eq!(verdict.state, State::Unknown);
            assert!(verdict.summary.contains("more than 4 bytes") && samples.is_empty(), "{}", verdict.summary);
        }
        let cut = Given { stdout: b"fine | a=1 b=2", ..given };
        assert_eq!(testing::read(&Format::Nagios, cut).1.len(), 1, "of b only a part may be there");
    }

    #[test]
    fn names_are_made_of_what_may_stand_in_them() {
        assert_eq!(sanitized("disk/used %"), "disk_used__");
        assert_eq!(sanitized("5min"), "_5min");
        assert_eq!(sanitized("größe"), "gr__e");
        assert_eq!((label_name("__name__"), label_name("_a")), ("_name__".to_string(), "_a".to_string()));
    }
}
