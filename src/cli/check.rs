//! `watchfire check`: what is wrong with a configuration, rule files or metrics.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};

use super::EXIT_INVALID;
use crate::config::{Config, ConfigFile};
use crate::exposition::{lint, parse};
use crate::http::Access;
use crate::rules;
use crate::rules::lint::{LintSettings, Linter};
use crate::yaml::{Document, Faults, Position, Severity, Source};

#[derive(Subcommand)]
pub enum Check {
    /// Say all that is wrong with configuration files and the rule files they name, and what probably is.
    Config {
        #[command(flatten)]
        lint: LintFlags,
        /// What the agent is given with --config.file.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Say all that is wrong with rule files, and what probably is.
    ///
    /// Files that are named together are taken to be loaded together: what one records, another may use.
    Rules {
        #[command(flatten)]
        lint: LintFlags,
        /// Passes over keys that are not known.
        #[arg(long)]
        ignore_unknown_fields: bool,
        /// Rule files in Prometheus' format.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Say what is wrong with metrics in the text format, as promtool does.
    Metrics {
        /// A file with metrics; standard input when not given.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// What is said besides errors.
#[derive(Args)]
pub struct LintFlags {
    /// Which warnings are given.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "all")]
    lint: Vec<Lint>,
    /// Warnings are failures: exit status 3.
    #[arg(long, alias = "strict")]
    lint_fatal: bool,
}

/// promtool's words for its own.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Lint {
    All,
    /// Only those of what is read, such as rules that are there twice.
    DuplicateRules,
    None,
}

impl LintFlags {
    fn all(&self) -> bool {
        self.lint.contains(&Lint::All)
    }

    /// Prints what is wrong with the files.
    fn report(&self, faults: impl IntoIterator<Item = Faults>) -> ExitCode {
        let (mut failed, mut warned) = (false, false);
        let quiet = !self.all() && !self.lint.contains(&Lint::DuplicateRules);
        for fault in faults.into_iter().flat_map(|faults| faults.iter().cloned().collect::<Vec<_>>()) {
            let is_error = fault.severity == Severity::Error;
            if is_error || !quiet {
                eprint!("{fault}");
                failed |= is_error;
                warned |= !is_error;
            }
        }
        match (failed, warned && self.lint_fatal) {
            (true, _) => ExitCode::from(EXIT_INVALID),
            (false, true) => ExitCode::from(EXIT_LINT),
            (false, false) => ExitCode::SUCCESS,
        }
    }
}

impl Check {
    pub fn run(&self) -> ExitCode {
        match self {
            Check::Config { lint, files } => lint.report(files.iter().map(|file| {
                let (rules, faults) = config(file, lint.all());
                if !faults.has_errors() {
                    println!("{}: valid, {rules} rules", file.display());
                }
                faults
            })),
            Check::Rules { lint, ignore_unknown_fields, files } => {
                let none = || if *ignore_unknown_fields { Faults::of_known_keys() } else { Faults::default() };
                lint.report(rules(files, lint.all(), none))
            }
            Check::Metrics { file } => metrics(file.as_ref()),
        }
    }
}

/// All that is wrong with rule files, one after the other.
fn rules(files: &[PathBuf], lint: bool, none: impl Fn() -> Faults) -> Vec<Faults> {
    let mut linter = Linter::new(LintSettings::default());
    let mut read = Vec::with_capacity(files.len());
    for file in files {
        let mut faults = none();
        let name = file.display().to_string();
        let document = match std::fs::read_to_string(file) {
            Ok(text) => Document::parse(&name, &text, &mut faults),
            Err(error) => {
                faults.enter(Arc::new(Source::new(name, "")));
                faults.error(Position::default(), format!("cannot read the rule file: {error}"));
                read.push((faults, None));
                continue;
            }
        };
        let groups = rules::read_document(&document, &mut faults);
        if !faults.has_errors() {
            let rules: usize = groups.iter().map(|g| g.rules.len()).sum();
            println!("{}: valid, {rules} rules", file.display());
        }
        document.root.get("groups").into_iter().for_each(|groups| linter.add(groups));
        read.push((faults, Some(document)));
    }
    let all = read.into_iter().map(|(mut faults, document)| {
        if let Some(groups) = document.as_ref().and_then(|d| d.root.get("groups")).filter(|_| lint) {
            linter.check(groups, &mut faults);
        }
        faults
    });
    all.collect()
}

/// The number of rules and all that is wrong, with what the start would look at too: the web configuration that the file
/// names, and the certificates that this one names.
fn config(file: &Path, lint: bool) -> (usize, Faults) {
    let config = match Config::load(Some(file), |_| {}) {
        Ok(config) => config,
        Err(faults) => return (0, faults),
    };
    let rules = config.rule_count();
    let mut faults = config.warnings;
    if lint {
        lint_rules(file, &config.file, &mut faults);
    }
    if let Some(Err(wrong)) = config.file.web.config_file.as_deref().map(Access::load) {
        faults.extend(wrong);
    }
    (rules, faults)
}

/// Looks at the groups in a configuration and in the rule files that it names.
fn lint_rules(path: &Path, file: &ConfigFile, faults: &mut Faults) {
    let global = &file.global;
    let given = |value: &String| Some(value.clone()).filter(|v| !v.is_empty());
    let mut linter = Linter::new(LintSettings {
        scrape_interval: global.scrape_interval,
        evaluation_interval: global.evaluation_interval,
        job: given(&global.job),
        instance: given(&global.instance),
    });
    let mut documents = Vec::new();
    if let Ok(text) = std::fs::read_to_string(path) {
        documents.push(Document::parse(&path.display().to_string(), &text, &mut Faults::default()));
    }
    documents.extend(rules::rule_documents(&file.rule_files, path.parent().unwrap_or(Path::new(""))));
    documents.iter().filter_map(|d| d.root.get("groups")).for_each(|groups| linter.add(groups));
    for document in &documents {
        if let Some(groups) = document.root.get("groups") {
            faults.enter(document.source.clone());
            linter.check(groups, faults);
        }
    }
}

/// Exit status when the metrics are well-formed but not as they should be, as promtool has it.
const EXIT_LINT: u8 = 3;

fn metrics(file: Option<&PathBuf>) -> ExitCode {
    let mut text = Vec::new();
    let name = file.map_or("standard input".to_string(), |f| f.display().to_string());
    let read = match file {
        Some(file) => std::fs::read(file).map(|bytes| text = bytes),
        None => std::io::stdin().lock().read_to_end(&mut text).map(drop),
    };
    if let Err(error) = read {
        eprintln!("watchfire: cannot read {name}: {error}");
        return ExitCode::FAILURE;
    }
    let families = match parse::parse(&text) {
        Ok(families) => families,
        Err(error) => {
            eprintln!("{name}:{}:{}: {}", error.line, error.column, error.reason);
            return ExitCode::from(EXIT_INVALID);
        }
    };
    let problems = lint::lint(&families);
    for problem in &problems {
        eprintln!("{name}:{}: {} {}", problem.line, problem.metric, problem.text);
    }
    if !problems.is_empty() {
        return ExitCode::from(EXIT_LINT);
    }
    let samples: usize = families.iter().map(|f| f.samples.len()).sum();
    println!("{name}: valid, {} families, {samples} samples", families.len());
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_valid_only_with_the_web_configuration_that_it_names() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("watchfire.yaml");
        std::fs::write(&path, "web: {config_file: web.yml}\n").unwrap();
        let (_, faults) = config(&path, true);
        assert!(faults.to_string().contains("web.yml: cannot read the web configuration"), "{faults}");
        std::fs::write(directory.path().join("web.yml"), "basic_auth_users: {a: b}\n").unwrap();
        let (_, faults) = config(&path, true);
        assert!(faults.to_string().contains("is not a bcrypt hash"), "{faults}");
        std::fs::write(directory.path().join("web.yml"), "{}\n").unwrap();
        let (rules, faults) = config(&path, true);
        assert!(rules > 0 && faults.is_empty(), "{faults}");
    }
}
