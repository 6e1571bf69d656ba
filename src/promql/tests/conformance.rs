//! The unit-test files in promtool's format that the conformance directory holds, where it is there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::notation::{Store, difference, elements, labels};
use crate::model::{Timestamp, parse_duration};
use crate::promql::{EvalOptions, Query};

#[derive(Deserialize)]
struct File {
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    interval: String,
    #[serde(default)]
    input_series: Vec<Input>,
    promql_expr_test: Vec<Case>,
}

#[derive(Deserialize)]
struct Input {
    series: String,
    values: String,
}

#[derive(Deserialize)]
struct Case {
    expr: String,
    eval_time: String,
    #[serde(default)]
    exp_samples: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    labels: String,
    value: f64,
}

/// `$WATCHFIRE_CONFORMANCE/promql`, or the directory beside the checkout.
fn directory() -> Option<PathBuf> {
    let base = std::env::var_os("WATCHFIRE_CONFORMANCE")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance"), PathBuf::from);
    Some(base.join("promql")).filter(|d| d.is_dir())
}

/// What became of one expression.
#[derive(PartialEq, Debug)]
enum Outcome {
    Passed,
    /// By [`Query::parse`].
    Refused(String),
    Failed(String),
    Wrong(String),
}

fn run(test: &Test) -> Vec<(String, Outcome)> {
    let mut store = Store::new();
    let interval = duration(&test.interval);
    for input in &test.input_series {
        store.load(&input.series, &input.values, interval);
    }
    let case = |case: &Case| {
        let query = match Query::parse(&case.expr) {
            Ok(query) => query,
            Err(e) => return Outcome::Refused(e.to_string()),
        };
        let at = Timestamp::default() + duration(&case.eval_time);
        match query.instant(&store.history, at, &EvalOptions::default()) {
            Err(e) => Outcome::Failed(e.to_string()),
            Ok(value) => {
                let expected = case.exp_samples.iter().map(|e| (labels(&e.labels), e.value)).collect();
                difference(expected, &elements(&value)).map_or(Outcome::Passed, Outcome::Wrong)
            }
        }
    };
    test.promql_expr_test.iter().map(|c| (c.expr.clone(), case(c))).collect()
}

fn duration(text: &str) -> Duration {
    parse_duration(text)
        .or_else(|e| text.trim_end_matches('s').parse().map(Duration::from_secs_f64).map_err(|_| e))
        .unwrap()
}

/// What an expression calls: each word before a parenthesis.
fn called(expr: &str) -> Vec<String> {
    let mut names: Vec<String> = expr
        .match_indices('(')
        .map(|(at, _)| expr[..at].trim_end().rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or(""))
        .filter(|name| name.starts_with(char::is_alphabetic))
        .map(str::to_lowercase)
        .collect();
    names.sort();
    names.dedup();
    if names.is_empty() { vec!["(neither function nor modifier)".into()] } else { names }
}

#[test]
fn what_evaluates_gives_what_prometheus_gives() {
    let Some(directory) = directory() else {
        eprintln!("skipped: there is no conformance directory (WATCHFIRE_CONFORMANCE)");
        return;
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let mut passed: BTreeMap<String, usize> = BTreeMap::new();
    let mut refused = Vec::new();
    let mut wrong = Vec::new();
    let (mut ok, mut fail) = (0, 0);
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let file: File = serde_yaml::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        for (expr, outcome) in file.tests.iter().flat_map(run) {
            let must_fail = name.ends_with(".fail.yaml");
            match outcome {
                Outcome::Refused(_) | Outcome::Failed(_) if must_fail => fail += 1,
                Outcome::Passed if !must_fail => {
                    ok += 1;
                    called(&expr).into_iter().for_each(|f| *passed.entry(f).or_default() += 1);
                }
                Outcome::Refused(why) => refused.push(format!("{name}: {expr}: {why}")),
                other => wrong.push(format!("{name}: {expr}\n     {other:?}")),
            }
        }
    }
    println!("{ok} evaluated as expected, {fail} refused as expected, {} refused besides", refused.len());
    println!("by function: {passed:?}");
    refused.iter().for_each(|r| println!("refused: {r}"));
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(refused.is_empty(), "{refused:#?}");
}
