//! `watchfire check`: what is wrong with a configuration, rule files or metrics.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;

use super::EXIT_INVALID;
use crate::config::Config;
use crate::exposition::{lint, parse};
use crate::http::Access;
use crate::rules;
use crate::yaml::{Faults, Position, Source};

#[derive(Subcommand)]
pub enum Check {
    /// Say all that is wrong with configuration files and the rule files they name.
    Config {
        /// What the agent is given with --config.file.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Say all that is wrong with rule files.
    Rules {
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

impl Check {
    pub fn run(&self) -> ExitCode {
        match self {
            Check::Config { files } => all(files, |file| {
                let (rules, faults) = config(file);
                if !faults.has_errors() {
                    println!("{}: valid, {rules} rules", file.display());
                }
                faults
            }),
            Check::Rules { files } => all(files, |file| {
                let mut faults = Faults::default();
                let groups = match std::fs::read_to_string(file) {
                    Ok(text) => rules::read_file(&file.display().to_string(), &text, &mut faults),
                    Err(error) => {
                        faults.enter(Arc::new(Source::new(file.display().to_string(), "")));
                        faults.error(Position::default(), format!("cannot read the rule file: {error}"));
                        Vec::new()
                    }
                };
                if !faults.has_errors() {
                    let rules: usize = groups.iter().map(|g| g.rules.len()).sum();
                    println!("{}: valid, {rules} rules", file.display());
                }
                faults
            }),
            Check::Metrics { file } => metrics(file.as_ref()),
        }
    }
}

/// The number of rules and all that is wrong, with what the start would look at too: the web configuration that the file
/// names, and the certificates that this one names.
fn config(file: &Path) -> (usize, Faults) {
    let config = match Config::load(Some(file), |_| {}) {
        Ok(config) => config,
        Err(faults) => return (0, faults),
    };
    let rules = config.rule_count();
    let mut faults = config.warnings;
    if let Some(Err(wrong)) = config.file.web.config_file.as_deref().map(Access::load) {
        faults.extend(wrong);
    }
    (rules, faults)
}

/// Checks each file and prints what is wrong with it.
fn all(files: &[PathBuf], check: impl Fn(&PathBuf) -> Faults) -> ExitCode {
    let mut failed = false;
    for file in files {
        let faults = check(file);
        eprint!("{faults}");
        failed |= faults.has_errors();
    }
    if failed { ExitCode::from(EXIT_INVALID) } else { ExitCode::SUCCESS }
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
        let (_, faults) = config(&path);
        assert!(faults.to_string().contains("web.yml: cannot read the web configuration"), "{faults}");
        std::fs::write(directory.path().join("web.yml"), "basic_auth_users: {a: b}\n").unwrap();
        let (_, faults) = config(&path);
        assert!(faults.to_string().contains("is not a bcrypt hash"), "{faults}");
        std::fs::write(directory.path().join("web.yml"), "{}\n").unwrap();
        let (rules, faults) = config(&path);
        assert!(rules > 0 && faults.is_empty(), "{faults}");
    }
}
