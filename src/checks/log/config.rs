//! `log:` of a check.

use std::collections::BTreeSet;

use crate::checks::State;
use crate::checks::local::{Bytes, LinePattern, Severity};
use crate::yaml::{Faults, FromYaml, Node, Value};

crate::section! {
    check = check;
    /// Log files that are followed, and what is looked for in them.
    pub struct LogConfig {
        /// The file, a pattern of several (`*`, `?`, `[a-z]` within a part of the path), or a list of these. Compressed
        /// files that a pattern matches are left out.
        pub path: LogPaths = LogPaths::default(),
        /// What is looked for; each counts by itself.
        pub patterns: Vec<LogPattern> = Vec::new(),
        /// Critical when so many lines of a run match; one or a list.
        pub critical: Triggers = Triggers::default(),
        /// A warning when so many lines of a run match; one or a list.
        pub warning: Triggers = Triggers::default(),
        /// Where the files that are there at first are begun: at their `end` or at their `beginning`. Files that come
        /// later are read from their beginning.
        pub start: Start = Start::End,
        /// What it means that there is no file.
        pub missing: Severity = Severity(State::Critical),
        /// Of a longer line only so much is looked at.
        pub max_line: Bytes = Bytes(16 << 10),
        /// How much is read in a run; what a flood has beyond is read in the next ones.
        pub max_per_run: Bytes = Bytes(16 << 20),
        /// How many files are followed, each with a descriptor: those that were changed last.
        pub max_files: usize = 50,
        /// How many sets of labels each pattern may have from its named groups; further ones count as `other`.
        pub max_label_sets: usize = 50,
    }
}

crate::section! {
    check = check_pattern;
    /// Lines that are counted.
    pub struct LogPattern {
        /// What they are called: the label `pattern`.
        pub name: String = String::new(),
        /// A regular expression found anywhere in the line; its named groups become labels.
        pub regex: Option<LinePattern> as "match" = None,
        /// Lines that match this too do not count.
        pub except: Option<LinePattern> = None,
    }
}

crate::section! {
    check = |trigger: &mut Trigger, node: &Node, faults: &mut Faults| {
        if trigger.at_least == 0 {
            faults.error(node.place("at_least"), "at_least must be 1 or more");
        }
    };
    /// How many lines are too many.
    pub struct Trigger {
        /// The pattern that they match; any where none is given.
        pub pattern: Option<String> = None,
        /// From so many lines in a run on.
        pub at_least: u64 = 1,
    }
}

fn check_pattern(pattern: &mut LogPattern, node: &Node, faults: &mut Faults) {
    if pattern.name.is_empty() {
        faults.error(node.at, "a pattern needs a name");
    }
    // One that cannot be read has been told already.
    if pattern.regex.is_none() && node.get("match").is_none_or(|n| n.as_str() == Some("")) {
        faults.error(node.at, "a pattern needs a match: a regular expression");
    }
    let Some(regex) = &pattern.regex else { return };
    let at = node.place("match");
    let mut names = BTreeSet::new();
    for (_, name) in regex.groups() {
        if ["pattern", "check"].contains(&name) || name.starts_with("__") {
            faults.error(at, format!("a group cannot be called {name}: it would be the label of something else"));
        } else if name.starts_with(|c: char| c.is_ascii_digit()) {
            faults.error(at, format!("{name:?} cannot be a label name: letters, digits and _"));
        } else if !names.insert(name) {
            faults.error(at, format!("two groups are called {name}"));
        }
    }
}

fn check(config: &mut LogConfig, node: &Node, faults: &mut Faults) {
    let at = |key: &str| node.place(key);
    if config.path.0.is_empty() || config.path.0.iter().any(|path| !path.starts_with('/')) {
        faults.error(at("path"), "a log check needs a path, from / on, or a list of paths");
    }
    if config.patterns.is_empty() && node.get("patterns").is_none() {
        faults.error(node.at, "a log check needs patterns");
    }
    let mut names = BTreeSet::new();
    for pattern in config.patterns.iter().filter(|pattern| !pattern.name.is_empty()) {
        if !names.insert(pattern.name.as_str()) {
            faults.error(at("patterns"), format!("two patterns are called {}", pattern.name));
        }
    }
    for (key, triggers) in [("critical", &config.critical), ("warning", &config.warning)] {
        for name in triggers.0.iter().filter_map(|trigger| trigger.pattern.as_ref()) {
            if !names.contains(name.as_str()) {
                faults.error(at(key), format!("no pattern is called {name}"));
            }
        }
    }
    if !(64..=1 << 20).contains(&config.max_line.0) {
        faults.error(at("max_line"), "max_line must be from 64 bytes to 1MiB");
    }
    if config.max_per_run < config.max_line {
        faults.error(at("max_per_run"), "max_per_run must be at least max_line");
    }
    if !(1..=1000).contains(&config.max_files) {
        faults.error(at("max_files"), "max_files must be from 1 to 1000");
    }
}

/// Paths: a text or a list of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPaths(pub Vec<String>);

impl FromYaml for LogPaths {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        match node.as_str() {
            Some(text) => Some(LogPaths(vec![text.to_string()])),
            None => Vec::from_yaml(node, faults).map(LogPaths),
        }
    }

    fn as_yaml(&self) -> Option<Value> {
        self.0.as_yaml()
    }
}

/// Triggers: one or a list of them.
#[derive(Clone, Debug, Default)]
pub struct Triggers(pub Vec<Trigger>);

impl FromYaml for Triggers {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        match &node.value {
            Value::Mapping(_) => Trigger::from_yaml(node, faults).map(|trigger| Triggers(vec![trigger])),
            _ => Vec::from_yaml(node, faults).map(Triggers),
        }
    }

    fn key_paths(path: &str, paths: &mut Vec<String>) {
        Trigger::key_paths(path, paths);
    }

    fn as_yaml(&self) -> Option<Value> {
        self.0.as_yaml()
    }
}

/// Where a file is begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    End,
    Beginning,
}

impl FromYaml for Start {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        match node.as_str() {
            Some("end") => Some(Start::End),
            Some("beginning") => Some(Start::Beginning),
            _ => {
                faults.unexpected(node, "end or beginning");
                None
            }
        }
    }

    fn as_yaml(&self) -> Option<Value> {
        Some(Value::plain(match self {
            Start::End => "end",
            Start::Beginning => "beginning",
        }))
    }
}
