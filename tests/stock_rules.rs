//! Prometheus' own tool on the rules that Watchfire brings along.

mod common;

use std::process::Command;

/// Runs promtool where the rules are. It must have no complaint.
fn promtool(args: &[&str]) {
    let Some(program) = common::peer("promtool") else { return };
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/src/rules");
    let output = Command::new(program).args(args).current_dir(rules).output().expect("promtool runs");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {args:?}: {said}");
    assert!(said.contains("SUCCESS") && output.stderr.is_empty(), "promtool {args:?}: {said}");
}

#[test]
fn promtool_finds_nothing_wrong_with_the_stock_rules() {
    promtool(&["check", "rules", "stock.yaml"]);
}

#[test]
fn the_cases_of_the_stock_rules_hold_in_promtool_too() {
    promtool(&["test", "rules", "testdata/stock_test.yaml"]);
}
