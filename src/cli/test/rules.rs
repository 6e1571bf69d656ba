//! `watchfire test rules`: do rules do what they are meant to?

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use regex::Regex;

use super::super::EXIT_INVALID;
use crate::model::Timestamp;
use crate::rules::unit::{DiffLine, FileReport, Options, run_file};
use crate::yaml::Severity;

#[derive(Args)]
pub struct RuleTests {
    /// Only tests whose names match this regular expression; may be repeated.
    #[arg(long, value_name = "REGEX")]
    run: Vec<String>,
    /// Colours in what is expected and what there is, even where the output is no terminal.
    #[arg(long)]
    diff: bool,
    /// Shows all series, with those of rules, as they are after each test.
    #[arg(long)]
    debug: bool,
    /// Passes over keys that are not known, in test files and in rule files.
    #[arg(long)]
    ignore_unknown_fields: bool,
    /// Writes the results to a file too, in JUnit's XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Test files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl RuleTests {
    pub fn run(&self) -> ExitCode {
        let run = match (!self.run.is_empty()).then(|| Regex::new(&self.run.join("|"))).transpose() {
            Ok(run) => run,
            Err(error) => {
                eprintln!("watchfire: --run is not a regular expression: {error}");
                return ExitCode::from(EXIT_INVALID);
            }
        };
        let options = Options { run, ignore_unknown_keys: self.ignore_unknown_fields, dump: self.debug };
        let colours = self.diff || std::io::stdout().is_terminal();
        let mut xml = String::from("<testsuites>");
        let (mut failed, mut unreadable) = (false, false);
        for file in &self.files {
            let report = run_file(file, &options);
            let name = file.display().to_string();
            eprint!("{}", report.faults);
            print!("{}", shown(&name, &report, colours));
            junit(&name, &report, &mut xml);
            failed |= !report.passed();
            unreadable |= report.faults.has_errors();
        }
        xml += "</testsuites>\n";
        if let Some(path) = &self.junit
            && let Err(error) = std::fs::write(path, xml)
        {
            eprintln!("watchfire: cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
        match (unreadable, failed) {
            (true, _) => ExitCode::from(EXIT_INVALID),
            (false, true) => ExitCode::FAILURE,
            (false, false) => ExitCode::SUCCESS,
        }
    }
}

/// What came of a file, for people.
fn shown(name: &str, report: &FileReport, colours: bool) -> String {
    let mut out = String::new();
    if report.faults.has_errors() {
        return out;
    }
    let (mut passed, mut failed) = (0, 0);
    for test in &report.tests {
        if test.failures.is_empty() {
            passed += 1
        } else {
            failed += 1
        }
        for failure in &test.failures {
            let _ = writeln!(out, "{name}:{}: test {:?}: {}", failure.at, test.name, failure.message);
            for line in &failure.diff {
                let (mark, colour, text) = match line {
                    DiffLine::Both(text) => (' ', "", text),
                    DiffLine::Expected(text) => ('-', "\x1b[31m", text),
                    DiffLine::Got(text) => ('+', "\x1b[32m", text),
                };
                let (colour, end) = if colours && !colour.is_empty() { (colour, "\x1b[0m") } else { ("", "") };
                let _ = writeln!(out, "    {colour}{mark} {text}{end}");
            }
        }
        for remark in &test.remarks {
            let _ = writeln!(out, "{name}: test {:?}: warning: rule {remark}", test.name);
        }
        if let Some(dump) = &test.dump {
            let _ = write!(out, "{name}: test {:?}: all series after it:\n{dump}", test.name);
        }
    }
    let _ = match failed {
        0 => writeln!(out, "{name}: {passed} tests passed"),
        _ => writeln!(out, "{name}: {failed} of {} tests failed (- expected, + got)", passed + failed),
    };
    out
}

/// What came of a file, as a suite of JUnit's.
fn junit(name: &str, report: &FileReport, out: &mut String) {
    let failures: usize = report.tests.iter().map(|t| t.failures.len()).sum();
    let unreadable = report.faults.has_errors();
    let tests = if unreadable { 1 } else { report.tests.len() };
    let _ = write!(
        out,
        "<testsuite name=\"{}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{}\" skipped=\"0\" timestamp=\"{}\">",
        escaped(name),
        u8::from(unreadable),
        Timestamp::now()
    );
    if unreadable {
        let errors = report.faults.iter().filter(|f| f.severity == Severity::Error);
        let text: String = errors.map(ToString::to_string).collect();
        let _ = write!(out, "<testcase name=\"unknown\"><error>{}</error></testcase>", escaped(&text));
    }
    for test in &report.tests {
        let _ = write!(out, "<testcase name=\"{}\">", escaped(&test.name));
        for failure in &test.failures {
            let mut text = format!("{}: {}", failure.at, failure.message);
            for line in &failure.diff {
                let (mark, line) = match line {
                    DiffLine::Both(line) => (' ', line),
                    DiffLine::Expected(line) => ('-', line),
                    DiffLine::Got(line) => ('+', line),
                };
                let _ = write!(text, "\n{mark} {line}");
            }
            let _ = write!(out, "<failure>{}</failure>", escaped(&text));
        }
        *out += "</testcase>";
    }
    *out += "</testsuite>";
}

/// For XML, which knows no other control characters than white space.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&#34;"),
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_xml_is_escaped() {
        assert_eq!(escaped("a<b> & \"c\"\n\u{1}"), "a&lt;b&gt; &amp; &#34;c&#34;\n\u{fffd}");
    }
}
