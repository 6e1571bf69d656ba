//! Unit tests of rules, in the file format of Prometheus' own tool.
//!
//! [`run_file`] reads a test file and the rule files it names, and runs each of its tests: series are written to a history
//! of its own, all groups are evaluated at every `evaluation_interval` by the agent's own [`RuleEngine`](super::RuleEngine),
//! and what is expected is held against the alerts that fire and against queries.
//!
//! Where it differs from Prometheus' tool: NaN is equal to NaN; expressions see all samples of the series, where there
//! those after the last evaluation are left out; `fuzzy_compare` looks at six digits, as Prometheus' own query tests do,
//! where there neighbouring numbers are equal; and a rule file that is named without a pattern must be there.

mod diff;
mod file;
mod run;

#[cfg(test)]
mod tests;

use std::path::Path;

use regex::Regex;

use crate::glob;
use crate::yaml::{Document, Faults, Position, read_text};
use file::TestFile;

/// What to run, and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only the tests whose names match.
    pub run: Option<Regex>,
    /// Keys that are not known are passed over, in test files and in rule files.
    pub ignore_unknown_keys: bool,
    /// All series are shown, with those of rules, as they are after each test.
    pub dump: bool,
}

/// What came of a test file.
#[derive(Debug)]
pub struct FileReport {
    /// What is wrong with the file or a rule file. Nothing was run if there are errors.
    pub faults: Faults,
    pub tests: Vec<TestReport>,
}

/// What came of one test.
#[derive(Debug)]
pub struct TestReport {
    pub name: String,
    pub failures: Vec<Failure>,
    /// What went wrong and is no failure by itself: texts of rules that could not be expanded.
    pub remarks: Vec<String>,
    /// All series, where that was asked for.
    pub dump: Option<String>,
}

/// Something that is not as expected.
#[derive(Debug)]
pub struct Failure {
    pub at: Position,
    /// One line.
    pub message: String,
    pub diff: Vec<DiffLine>,
}

/// A line of what was expected, of what there is, or of both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DiffLine {
    Both(String),
    Expected(String),
    Got(String),
}

impl FileReport {
    /// Whether all tests were run, and all is as expected.
    pub fn passed(&self) -> bool {
        !self.faults.has_errors() && self.tests.iter().all(|t| t.failures.is_empty())
    }
}

/// A rule file as it was read: its name and text.
struct RuleFile {
    name: String,
    text: String,
}

/// Runs the tests of a file.
pub fn run_file(path: &Path, options: &Options) -> FileReport {
    let mut faults = if options.ignore_unknown_keys { Faults::of_known_keys() } else { Faults::default() };
    let name = path.display().to_string();
    let text = match read_text(path) {
        Ok(text) => text,
        Err(error) => {
            faults.enter(std::sync::Arc::new(crate::yaml::Source::new(name, "")));
            faults.error(Position::default(), format!("cannot read the test file: {error}"));
            return FileReport { faults, tests: Vec::new() };
        }
    };
    let document = Document::parse(&name, &text, &mut faults);
    let file: TestFile = document.read(&mut faults);
    let rules = rule_files(&file, path.parent().unwrap_or(Path::new("")), &mut faults);
    if faults.has_errors() {
        return FileReport { faults, tests: Vec::new() };
    }
    let named = file.tests.iter().enumerate().map(|(i, test)| (test.value.name_or(i), test));
    let chosen = named.filter(|(_, test)| options.run.as_ref().is_none_or(|run| run.is_match(&test.value.name)));
    let tests = chosen.map(|(name, test)| run::run(name, test, &file, &rules, options)).collect();
    FileReport { faults, tests }
}

/// The rule files that a test file names, relative to its own folder. What is wrong with them is added to `faults`.
fn rule_files(file: &TestFile, base: &Path, faults: &mut Faults) -> Vec<RuleFile> {
    let mut found: Vec<RuleFile> = Vec::new();
    let mut within = faults.begin_anew();
    for pattern in &file.rule_files {
        let wanted = base.join(&pattern.value).to_string_lossy().into_owned();
        let paths = glob::expand(&wanted);
        if glob::has_meta(&wanted) && paths.iter().all(|p| p.as_os_str() == wanted.as_str() && !p.exists()) {
            faults.warn(pattern.at, format!("no rule file is named {:?}", pattern.value));
            continue;
        }
        for path in paths {
            let name = path.display().to_string();
            if found.iter().any(|f| f.name == name) {
                continue;
            }
            match read_text(&path) {
                Ok(text) => {
                    super::read_file(&name, &text, &mut within);
                    found.push(RuleFile { name, text });
                }
                Err(error) => faults.error(pattern.at, format!("rule file {name}: {error}")),
            }
        }
    }
    faults.extend(within);
    found
}
