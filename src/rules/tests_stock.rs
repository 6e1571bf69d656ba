//! The stock rules and a collection of rules like those in the world, over series written in promtool's notation.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use prometheus::Registry;

use super::*;
use crate::history::{History, HistoryLimits, MatchOp};
use crate::model::{Labels, METRIC_NAME, Series, SeriesTable, Timestamp};
use crate::yaml::Faults;

const CASES: &str = include_str!("testdata/stock_test.yaml");
const COLLECTION: &str = include_str!("testdata/collection.yaml");

fn engine(groups: Vec<GroupSpec>, table: &Arc<SeriesTable>) -> (RuleEngine, Registry) {
    let registry = Registry::new();
    let table = table.clone();
    (RuleEngine::new(groups, Settings::default(), table, &registry).unwrap(), registry)
}

fn history() -> RwLock<History> {
    let limits = HistoryLimits { retention: Duration::from_secs(86_400), max_bytes: 1 << 30, max_series: 100_000 };
    RwLock::new(History::new(limits))
}

fn stock() -> Vec<GroupSpec> {
    let mut faults = Faults::default();
    let groups = stock_groups(&mut faults);
    assert!(faults.is_empty(), "{faults}");
    groups
}

fn table() -> Arc<SeriesTable> {
    Arc::new(SeriesTable::new(Labels::empty()))
}

#[test]
fn each_stock_rule_fires_where_it_must_and_not_where_it_nearly_would_and_all_its_texts_expand() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/rules/testdata/stock_test.yaml");
    let report = unit::run_file(Path::new(path), &unit::Options::default());
    assert!(report.faults.is_empty(), "{}", report.faults);
    for test in &report.tests {
        assert!(test.failures.is_empty(), "{}: {:#?}", test.name, test.failures);
        assert_eq!(test.remarks, [""; 0], "{}", test.name);
    }
    assert!(report.tests.len() > 20, "{}", report.tests.len());
}

#[test]
fn every_stock_alert_has_a_case_a_severity_a_summary_and_a_description() {
    for rule in stock().iter().flat_map(|g| &g.rules) {
        let RuleSpec::Alerting(alert) = rule else { panic!("{rule:?}") };
        let has = |pairs: &[(String, crate::template::Template)], name: &str| pairs.iter().any(|(n, _)| n == name);
        assert!(has(&alert.labels, "severity"), "{}", alert.alert);
        assert!(has(&alert.annotations, "summary") && has(&alert.annotations, "description"), "{}", alert.alert);
        // The name itself, or the pattern of names that a case for several of them asks for.
        let shared = ["HostNetwork", "HostTooMany", "HostMemory", "HostClock", "Watchfire"];
        let patterned = shared.iter().any(|p| alert.alert.starts_with(p) && CASES.contains(&format!("{p}.*")));
        let fires = CASES.contains(&format!("alertname=\"{}\"", alert.alert));
        assert!(fires || patterned, "{} has no case", alert.alert);
    }
}

#[test]
fn an_idle_history_fires_nothing() {
    let (mut engine, _) = engine(stock(), &table());
    let history = history();
    for second in 0..120 {
        let at = Timestamp::from_millis(1_700_000_000_000 + second * 1000);
        assert_eq!(engine.evaluate(&history, at, Duration::from_secs(second as u64)), Evaluation::default());
    }
    assert_eq!(engine.rule_errors(), [""; 0]);
}

#[test]
fn a_collection_of_rules_loads_and_is_evaluated_without_error() {
    let mut faults = Faults::default();
    let groups = read_file("collection.yaml", COLLECTION, &mut faults);
    assert!(faults.is_empty(), "{faults}");
    let count: usize = groups.iter().map(|g| g.rules.len()).sum();
    assert!(count >= 60, "{count}");
    // Two instances of every series that any rule asks for, with the labels it asks for.
    let table = table();
    let mut series: HashMap<Labels, Arc<Series>> = HashMap::new();
    for rule in groups.iter().flat_map(|g| &g.rules) {
        for selector in rule.query().selectors() {
            let name = selector.name.unwrap();
            if name.contains(':') {
                continue;
            }
            for instance in ["a:9100", "b:9100"] {
                let mut labels = Labels::from_pairs([
                    (METRIC_NAME, name),
                    ("job", "node"),
                    ("instance", instance),
                    ("device", if name.contains("_md_") { "md0" } else { "sda" }),
                    ("mountpoint", "/"),
                    ("fstype", "ext4"),
                ])
                .builder();
                if name.contains("chip") || name.contains("hwmon_temp_celsius") {
                    labels.set("chip", instance);
                }
                for m in selector.matchers.iter().filter(|m| matches!(m.op, MatchOp::Equal)) {
                    labels.set(&m.name, &m.value);
                }
                let labels = labels.build();
                series.insert(labels.clone(), table.intern(labels));
            }
        }
    }
    let (mut engine, _) = engine(groups, &table);
    let history = history();
    for tick in 0..60_i64 {
        let at = Timestamp::from_millis(1_700_000_000_000 + tick * 60_000);
        for (n, series) in series.values().enumerate() {
            history.write().unwrap().append(series, at, (tick * 7 % 50) as f64 + n as f64);
        }
        engine.evaluate(&history, at, Duration::from_secs(tick as u64 * 60));
        assert_eq!(engine.rule_errors(), [""; 0], "tick {tick}");
    }
}
