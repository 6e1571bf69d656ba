//! The stock rules and a collection of rules like those in the world, over series written in promtool's notation.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use prometheus::Registry;

use super::*;
use crate::history::{History, HistoryLimits, MatchOp};
use crate::model::{Labels, METRIC_NAME, Series, SeriesTable, Timestamp, parse_duration};
use crate::promql::{Query, Value};
use crate::yaml::{Document, Faults, Node};

const CASES: &str = include_str!("testdata/stock_test.yaml");
const COLLECTION: &str = include_str!("testdata/collection.yaml");
const MINUTE: i64 = 60_000;

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

/// The labels of `name{a="b"}`.
fn labels(selector: &str) -> Labels {
    let query = Query::parse(selector).unwrap_or_else(|e| panic!("{selector}: {e}"));
    let selectors = query.selectors();
    Labels::from_pairs(selectors[0].matchers.iter().map(|m| (&*m.name, &*m.value)))
}

/// Samples in promtool's notation: `1+2x3` is 1 3 5 7, `5x2` is 5 5 5, `_x2` is nothing twice.
fn values(notation: &str) -> Vec<Option<f64>> {
    let mut out = Vec::new();
    for word in notation.split_whitespace() {
        let (body, times) = match word.split_once('x') {
            Some((body, times)) => (body, times.parse().unwrap()),
            None => (word, 0),
        };
        if body == "_" {
            out.extend(std::iter::repeat_n(None, times.max(1)));
            continue;
        }
        let sign = body.char_indices().skip(1).find(|(i, c)| matches!(c, '+' | '-') && !body[..*i].ends_with('e'));
        let (start, step) = match sign {
            Some((i, _)) => (&body[..i], body[i..].parse().unwrap()),
            None => (body, 0.0),
        };
        let start: f64 = start.parse().unwrap();
        out.extend((0..=times).map(|n| Some(start + step * n as f64)));
    }
    out
}

struct Case {
    name: String,
    series: Vec<(Arc<Series>, Vec<Option<f64>>)>,
    node: Node,
}

fn table() -> Arc<SeriesTable> {
    Arc::new(SeriesTable::new(Labels::empty()))
}

fn cases(table: &SeriesTable) -> Vec<Case> {
    let mut faults = Faults::default();
    let document = Document::parse("stock_test.yaml", CASES, &mut faults);
    assert!(faults.is_empty(), "{faults}");
    let text = |node: &Node, key: &str| node.get(key).and_then(Node::as_str).unwrap().to_string();
    let tests = document.root.get("tests").unwrap();
    let case = |node: &Node| Case {
        name: text(node, "name"),
        series: node
            .get("input_series")
            .unwrap()
            .items()
            .iter()
            .map(|s| (table.intern(labels(&text(s, "series"))), values(&text(s, "values"))))
            .collect(),
        node: node.clone(),
    };
    tests.items().iter().map(case).collect()
}

fn minutes(node: &Node) -> i64 {
    let time = parse_duration(node.get("eval_time").and_then(Node::as_str).unwrap()).unwrap();
    time.as_millis() as i64 / MINUTE
}

fn texts(node: &Node) -> BTreeMap<String, String> {
    node.entries().iter().map(|(k, v)| (k.name.clone(), v.as_str().unwrap_or_default().to_string())).collect()
}

#[test]
fn each_stock_rule_fires_where_it_must_and_not_where_it_nearly_would() {
    let table = table();
    for case in cases(&table) {
        let (mut engine, _) = engine(stock(), &table);
        let history = history();
        let expressions = case.node.get("promql_expr_test").map(Node::items).unwrap_or_default();
        let alerts = case.node.get("alert_rule_test").map(Node::items).unwrap_or_default();
        let last = expressions.iter().chain(alerts).map(minutes).max().unwrap();
        for minute in 0..=last {
            let at = Timestamp::from_millis(minute * MINUTE);
            for (series, values) in &case.series {
                match values.get(minute as usize) {
                    Some(Some(value)) => {
                        history.write().unwrap().append(series, at, *value);
                    }
                    // As an agent does for a series that is gone; in promtool its last sample counts for five minutes.
                    _ => history.write().unwrap().mark_stale(series, at),
                }
            }
            engine.evaluate(&history, at, Duration::from_secs(minute as u64 * 60));
            assert_eq!(engine.rule_errors(), [""; 0], "{}", case.name);
            for test in expressions.iter().filter(|t| minutes(t) == minute) {
                let query = Query::parse(test.get("expr").and_then(Node::as_str).unwrap()).unwrap();
                let Value::Vector(mut got) = query.instant(&history.read().unwrap(), at, &Default::default()).unwrap()
                else {
                    panic!("{}: not a vector", case.name)
                };
                got.sort_by(|a, b| a.labels.cmp(&b.labels));
                let got: Vec<_> = got.into_iter().map(|s| (s.labels, s.value)).collect();
                let number = |node: &Node| node.as_str().and_then(|s| s.parse::<f64>().ok()).unwrap();
                let expected = test.get("exp_samples").unwrap().items().iter();
                let mut expected: Vec<_> = expected
                    .map(|s| (labels(s.get("labels").and_then(Node::as_str).unwrap()), number(s.get("value").unwrap())))
                    .collect();
                expected.sort_by(|a, b| a.0.cmp(&b.0));
                assert_eq!(got, expected, "{} at {minute}m", case.name);
            }
            for test in alerts.iter().filter(|t| minutes(t) == minute) {
                let name = test.get("alertname").and_then(Node::as_str).unwrap();
                let active = engine.active_alerts().into_iter();
                let firing =
                    active.filter(|(l, a)| l.get("alertname") == name && matches!(a.state, State::Firing { .. }));
                let pairs = |labels: &Labels| -> BTreeMap<String, String> {
                    labels.iter().filter(|(n, _)| *n != "alertname").map(|(n, v)| (n.into(), v.into())).collect()
                };
                let got: Vec<_> = firing.map(|(labels, alert)| (pairs(&labels), pairs(&alert.annotations))).collect();
                let expected = test.get("exp_alerts").unwrap().items().iter();
                let expected: Vec<_> = expected
                    .map(|a| (texts(a.get("exp_labels").unwrap()), texts(a.get("exp_annotations").unwrap())))
                    .collect();
                assert_eq!(got, expected, "{}", case.name);
            }
        }
    }
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
fn no_text_of_a_stock_rule_fails_to_expand() {
    let table = table();
    let (mut engine, registry) = engine(stock(), &table);
    let history = history();
    for case in cases(&table) {
        for (series, values) in &case.series {
            for (minute, value) in values.iter().enumerate() {
                if let Some(value) = value {
                    let at = Timestamp::from_millis(minute as i64 * MINUTE);
                    history.write().unwrap().append(series, at, *value);
                }
            }
        }
    }
    for minute in 0..240 {
        engine.evaluate(&history, Timestamp::from_millis(minute * MINUTE), Duration::from_secs(minute as u64 * 60));
    }
    let families = registry.gather();
    let family = families.iter().find(|f| f.name() == "watchfire_rule_template_failures_total").unwrap();
    assert!(family.get_metric().iter().all(|m| m.get_counter().value() == 0.0));
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
