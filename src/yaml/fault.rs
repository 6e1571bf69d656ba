//! What is wrong with a file, said so that it can be mended.

use std::fmt;
use std::sync::Arc;

use super::{Node, Position, Source, Value};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but probably not as it was meant.
    Warning,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug)]
pub struct Fault {
    pub severity: Severity,
    pub source: Arc<Source>,
    pub at: Position,
    /// What is wrong and what to do; one line.
    pub message: String,
}

impl Fault {
    /// The file, and the place in it where there is one.
    fn place(&self) -> String {
        match self.at {
            Position { line: 0, .. } => self.source.name().to_string(),
            Position { line, column } => format!("{}:{line}:{column}", self.source.name()),
        }
    }

    /// `FILE:LINE:COLUMN: message`, for where its severity is said beside it.
    pub fn in_a_line(&self) -> String {
        format!("{}: {}", self.place(), self.message)
    }
}

impl fmt::Display for Fault {
    /// `FILE:LINE:COLUMN: message`, then the line with a mark under the column.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.at;
        let warning = if self.severity == Severity::Warning { "warning: " } else { "" };
        writeln!(f, "{}: {warning}{}", self.place(), self.message)?;
        let Some(text) = self.source.line(line) else { return Ok(()) };
        let number = line.to_string();
        let (text, column) = excerpt(&without_secret(text), column as usize);
        writeln!(f, "    {number} | {text}")?;
        writeln!(f, "    {:1$} | {2:>3$}", "", number.len(), "^", column.max(1))
    }
}

/// The part of a long line around the column, and the column in it.
fn excerpt(line: &str, column: usize) -> (String, usize) {
    const WIDTH: usize = 160;
    let line = line.trim_end();
    let length = line.chars().count();
    if length <= WIDTH {
        // The place may lie in white space behind the text, however far.
        return (line.replace('\t', " "), column.min(length + 1));
    }
    let start = column.saturating_sub(WIDTH / 2);
    let text: String = line.chars().skip(start).take(WIDTH).collect();
    (text.replace('\t', " "), column - start)
}

/// The line with the value of a key that may hold a secret left out, and what follows it.
fn without_secret(line: &str) -> String {
    const SECRET: [&str; 10] = [
        "password",
        "secret",
        "token",
        "credentials",
        "_key",
        "url",
        "bearer",
        "authorization",
        "connect_header",
        "endpoint_params",
    ];
    for (colon, _) in line.match_indices(':') {
        // Several keys may stand in a line: {name: a, password: b}.
        let (before, value) = (&line[..colon], line[colon + 1..].trim());
        let key = before.rsplit(['{', ',', '[', ' ', '\t']).next().unwrap_or_default();
        let key = key.trim_matches(['"', '\'', '-']).to_ascii_lowercase();
        let may_hold = key == "key" || SECRET.iter().any(|s| key.contains(s));
        if !value.is_empty() && !key.ends_with("_file") && may_hold {
            return format!("{before}: <not shown>");
        }
    }
    line.to_string()
}

/// A name that is used and must be defined elsewhere, which can be said only when all has been read.
#[derive(Clone, Debug)]
pub struct Reference {
    pub name: String,
    source: Arc<Source>,
    at: Position,
}

/// All that is wrong with one or several files.
#[derive(Clone, Default, Debug)]
pub struct Faults {
    list: Vec<Fault>,
    references: Vec<Reference>,
    source: Arc<Source>,
    any_key: bool,
}

impl Faults {
    /// Without those of keys that are not known.
    pub fn of_known_keys() -> Faults {
        Faults { any_key: true, ..Faults::default() }
    }

    /// None yet, for other files that are read in the same way.
    pub fn begin_anew(&self) -> Faults {
        Faults { any_key: self.any_key, ..Faults::default() }
    }

    /// Names the file that the following faults are in.
    pub fn enter(&mut self, source: Arc<Source>) {
        self.source = source;
    }

    fn push(&mut self, severity: Severity, at: Position, message: String) {
        self.list.push(Fault { severity, source: self.source.clone(), at, message });
    }

    pub fn error(&mut self, at: Position, message: impl Into<String>) {
        self.push(Severity::Error, at, message.into());
    }

    pub fn warn(&mut self, at: Position, message: impl Into<String>) {
        self.push(Severity::Warning, at, message.into());
    }

    /// Notes that a name is used here, for who knows later whether it is defined.
    pub fn refer(&mut self, at: Position, name: impl Into<String>) {
        self.references.push(Reference { name: name.into(), source: self.source.clone(), at });
    }

    /// The names that were used, in their order; they are not given again.
    pub fn take_references(&mut self) -> Vec<Reference> {
        std::mem::take(&mut self.references)
    }

    /// Something is wrong with a name where it is used.
    pub fn error_at(&mut self, reference: &Reference, message: impl Into<String>) {
        let (severity, source, at) = (Severity::Error, reference.source.clone(), reference.at);
        self.list.push(Fault { severity, source, at, message: message.into() });
    }

    /// The node is not what is expected here.
    pub fn unexpected(&mut self, node: &Node, expected: &str) {
        self.error(node.at, format!("expected {expected}, found {}", node.describe()));
    }

    /// A key that is not one of `known`; the nearest of them is named.
    pub fn unknown_key(&mut self, at: Position, key: &str, known: &[&str]) {
        if self.any_key {
            return;
        }
        let hint = match nearest(key, known.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None if known.len() <= 16 => format!("known here: {}", known.join(", ")),
            None => "see config.example.yaml".to_string(),
        };
        self.error(at, format!("unknown key {key:?}, {hint}"));
    }

    /// Where a place in the text of a scalar (line and column from 1) is in the file.
    pub fn place(&self, node: &Node, line: usize, column: usize) -> Position {
        let (Some(text), Value::Scalar { block, .. }) = (node.as_str(), &node.value) else { return node.at };
        let Some(wanted) = text.lines().nth(line.saturating_sub(1)) else { return node.at };
        // The parser gives a block's place as its first line, or as the line of its mark when it begins with empty lines.
        let first = text.lines().next().unwrap_or_default();
        let begins = |n: &u32| self.source.line(*n).is_some_and(|written| written.trim() == first.trim());
        let begin = (node.at.line..=node.at.line + 1).find(|n| *block && begins(n)).unwrap_or(node.at.line);
        let number = begin as usize + line - 1;
        let Some(written) = u32::try_from(number).ok().and_then(|n| self.source.line(n)) else { return node.at };
        // Folded and escaped texts do not stand in the file as they are; the place of the whole must do for them.
        let from = if line == 1 && !block { node.at.column as usize - 1 } else { 0 };
        let skipped: usize = written.chars().take(from).map(char::len_utf8).sum();
        let Some(found) = written.get(skipped..).and_then(|rest| rest.find(wanted)) else { return node.at };
        let before = written.get(..skipped + found).map_or(0, |b| b.chars().count());
        Position { line: number as u32, column: (before + column) as u32 }
    }

    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|f| f.severity == Severity::Error)
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.list.iter()
    }

    /// Takes over the faults of another reading.
    pub fn extend(&mut self, other: Faults) {
        self.list.extend(other.list);
        self.references.extend(other.references);
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.list.iter().try_for_each(|fault| fault.fmt(f))
    }
}

/// The known word that `word` is most likely a slip of, if any is near.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // What is longer is no slip, and comparing takes the product of both lengths.
    if word.len() > 100 {
        return None;
    }
    let near = |k: &str| strsim::normalized_damerau_levenshtein(&word.to_lowercase(), &k.to_lowercase());
    known
        .into_iter()
        .map(|k| (near(k), k))
        .filter(|(score, k)| *score >= 0.6 || (word.len() >= 4 && k.starts_with(word)))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_a_far_one_is_not() {
        let known = ["scrape_interval", "evaluation_interval", "external_labels"];
        assert_eq!(nearest("scrape_intervall", known), Some("scrape_interval"));
        assert_eq!(nearest("Scrape-Interval", known), Some("scrape_interval"));
        assert_eq!(nearest("extrenal_labels", known), Some("external_labels"));
        assert_eq!(nearest("banana", known), None);
    }

    #[test]
    fn a_line_that_may_hold_a_secret_is_not_shown() {
        assert_eq!(without_secret("  - url: http://x/token"), "  - url: <not shown>");
        assert_eq!(without_secret("    bot_token: abc"), "    bot_token: <not shown>");
        assert_eq!(without_secret("    password_file: /etc/p"), "    password_file: /etc/p");
        assert_eq!(without_secret("  interval: 5s"), "  interval: 5s");
        assert_eq!(without_secret("  - {name: a, url: 'http://x/'}"), "  - {name: a, url: <not shown>");
        assert_eq!(without_secret("a: {ca_file: x, key: abc}"), "a: {ca_file: x, key: <not shown>");
        assert_eq!(without_secret("endpoint_params: {a: b}"), "endpoint_params: <not shown>");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let line = format!("{}x{}", "a".repeat(500), "b".repeat(500));
        let (text, column) = excerpt(&line, 501);
        assert_eq!(text.chars().nth(column - 1), Some('x'));
        assert!(text.len() <= 160);
    }

    #[test]
    fn a_place_far_behind_a_short_line_is_marked_at_its_end() {
        let mut faults = Faults::default();
        faults.enter(Arc::new(Source::new("f", format!("a: b{}\n", " ".repeat(70_000)))));
        faults.error(Position { line: 1, column: 70_000 }, "wrong");
        assert_eq!(faults.to_string(), "f:1:70000: wrong\n    1 | a: b\n      |     ^\n");
    }

    #[test]
    fn very_many_faults_are_said_in_good_time() {
        let text = "y: 3\n".repeat(50_000);
        let mut faults = Faults::default();
        let began = std::time::Instant::now();
        crate::yaml::Document::parse("f", &text, &mut faults);
        let said = faults.to_string();
        assert!(faults.len() == 49_999 && began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
        assert!(said.ends_with("f:50000:1: the key \"y\" is here twice\n    50000 | y: 3\n          | ^\n"));
    }
}
