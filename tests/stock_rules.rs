//! Prometheus' own tool on the rules that Watchfire brings along. Without promtool there is nothing to see here.

use std::process::Command;

fn promtool(args: [&str; 3]) {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/rules");
    match Command::new("promtool").args(args).current_dir(dir).output() {
        Err(e) => eprintln!("promtool is not installed: {e}"),
        Ok(output) => {
            let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            assert!(output.status.success(), "promtool {args:?}: {}", said.concat());
        }
    }
}

#[test]
fn promtool_finds_nothing_wrong_with_the_stock_rules() {
    promtool(["check", "rules", "stock.yaml"]);
}

#[test]
fn the_cases_of_the_stock_rules_hold_in_promtool_too() {
    promtool(["test", "rules", "testdata/stock_test.yaml"]);
}
