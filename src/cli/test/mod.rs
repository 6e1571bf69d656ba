//! `watchfire test`: do rules, routes and receivers do what they are meant to?

mod notify;
mod route;
mod rules;

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;

use crate::config::Config;
use crate::model::Labels;

#[derive(Subcommand)]
pub enum Test {
    /// Run unit tests of rules, in the file format of promtool test rules.
    ///
    /// Exit status: 0 when all is as expected, 1 when something is not, 2 when a test file or a rule file cannot be read.
    Rules(rules::RuleTests),
    /// Send a real test alert to receivers, and say what the far side answered.
    ///
    /// The alert fires and ends, and goes the way of every alert: the configuration's texts, external labels, credentials
    /// and proxies are used, commands run. Each sink is tried once for each; a running agent and its state are not touched.
    Notify(Box<notify::NotifyFlags>),
    /// Show where an alert with given labels goes, and when.
    ///
    /// Prints the routing tree with the way of the alert, why the other routes do not take it, how it is grouped, the
    /// times that mute it, and the inhibition rules that concern it. Without labels, the whole tree.
    Route(Box<route::RouteFlags>),
}

impl Test {
    pub fn run(&self) -> ExitCode {
        match self {
            Test::Rules(tests) => tests.run(),
            Test::Notify(flags) => notify::run(flags),
            Test::Route(flags) => route::run(flags),
        }
    }
}

/// What is wrong with what was asked: said already.
struct Invalid;

/// The configuration, as the agent would read it.
fn load(file: Option<&Path>) -> Result<Config, Invalid> {
    Config::load(file, |_| {}).map_err(|faults| {
        eprint!("{faults}");
        eprintln!("watchfire: the configuration is not valid");
        Invalid
    })
}

/// Labels as `name=value`; a word alone is the name of an alert.
fn labels(texts: &[String]) -> Result<Vec<(String, String)>, String> {
    let mut all: Vec<(String, String)> = Vec::new();
    for text in texts {
        let (name, value) = text.split_once('=').unwrap_or(("alertname", text));
        let name = name.trim();
        // As in a matcher that was copied.
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        if name.is_empty() || name.ends_with(['!', '~']) || value.starts_with('~') && text.contains("=~") {
            return Err(format!("{text:?} is not a label: write NAME=VALUE"));
        }
        if all.iter().any(|(known, _)| known == name) {
            return Err(format!("the label {name:?} is given twice"));
        }
        all.push((name.to_string(), value.to_string()));
    }
    Ok(all)
}

/// As [`labels`], with what is wrong said.
fn label_set(texts: &[String]) -> Result<Labels, Invalid> {
    let read = labels(texts).map_err(|why| {
        eprintln!("watchfire: {why}");
        Invalid
    })?;
    // An empty label is none.
    Ok(Labels::from_pairs(read.into_iter().filter(|(_, value)| !value.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    fn read(texts: &[&str]) -> Result<Vec<(String, String)>, String> {
        labels(&texts.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn labels_are_names_with_values_and_a_word_alone_is_an_alerts_name() {
        let pairs = [("alertname", "DiskFull"), ("mountpoint", "/"), ("expr", "a==b"), ("team", "web"), ("x", "")];
        let read_as = pairs.map(|(name, value)| (name.to_string(), value.to_string())).to_vec();
        assert_eq!(read(&["DiskFull", "mountpoint=/", "expr=a==b", "team=\"web\"", "x="]), Ok(read_as));
        for (text, why) in [("=b", "is not a label"), ("a!=b", "is not a label"), ("a=~b", "is not a label")] {
            assert!(read(&[text]).unwrap_err().contains(why), "{text}");
        }
        assert!(read(&["a=b", "a=c"]).unwrap_err().contains("twice"));
    }

    #[test]
    fn no_label_makes_it_panic() {
        Fuzz::of(&["a=\"b\"", "DiskFull", "a=~b", "ü=1"]).texts(|text| {
            let _ = read(&[text]);
        });
    }
}
