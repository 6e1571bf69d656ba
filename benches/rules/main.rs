//! What the evaluation of rules costs, beside a Prometheus server that evaluates the same rules over the same samples.
//!
//! `cargo bench --bench rules` measures the CPU of one evaluation of
//!
//! - *an hour*: `rate`, `quantile_over_time`, `predict_linear` and others over the last hour of 50 series with a sample a
//!   second, each as a rule of its own;
//! - *1,000 rules*: the stock rules and a collection of such as people have, in variants of their ranges and thresholds,
//!   over ten minutes of this host's series;
//! - *a week*: the minimum of a week of one series with a sample a second;
//! - *ranges*: [range queries](ranges) over an hour, which the server is asked for over HTTP.
//!
//! The samples go into a [`History`] and, by `promtool tsdb create-blocks-from openmetrics`, into the server's storage. Both
//! evaluate once a second; the server's CPU is that of its process, less what the same server uses without rules.
//! `PROMETHEUS` and `PROMTOOL` name other programs than those in the path; without a server, or with `-- --alone`, ours
//! alone is measured. Arguments choose by a part of the names: `cargo bench --bench rules -- 1,000`.

#[path = "../common/mod.rs"]
mod common;
mod ranges;
mod samples;
mod server;

use std::sync::{Arc, RwLock};
use std::time::Duration;

use prometheus::Registry;
use rustix::time::{ClockId, clock_gettime};
use samples::Samples;
use server::Server;
use watchfire::history::{History, HistoryLimits};
use watchfire::model::{Labels, SeriesTable, Timestamp};
use watchfire::rules::{RuleEngine, STOCK_RULES, Settings, read_file};
use watchfire::yaml::Faults;

/// Seconds over which CPU is measured: so many evaluations.
const SECONDS: u32 = 20;

const WEEK: u32 = 7 * 86_400;

/// Rules of the kinds that public collections have.
const COLLECTION: &str = include_str!("../../src/rules/testdata/collection.yaml");

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let alone = arguments.iter().any(|a| a == "--alone");
    let server = if alone { None } else { Server::find() };
    if server.is_none() && !alone {
        println!("prometheus and promtool are not installed: no comparison");
    }
    let wanted: Vec<&String> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str()));
    let measure = |name: &str, rules: &str, samples: &Samples, now| {
        if is_wanted(name) {
            measure(name, rules, samples, now, server.as_ref());
        }
    };
    // Whole seconds; the samples reach past now, so that the server has some as long as it runs.
    let now = Timestamp::from_millis(Timestamp::now().as_millis() / 1000 * 1000);
    let hour = Samples::counters_and_gauges(now - Duration::from_secs(3700), 3700 + 180, 50);
    for (name, expr) in HOUR {
        let rules = format!("groups: [{{name: g, interval: 1s, rules: [{{record: r, expr: '{expr}'}}]}}]");
        measure(name, &rules, &hour, now);
    }
    let all: Vec<String> = (0..).zip(HOUR).map(|(i, (_, expr))| format!("{{record: r{i}, expr: '{expr}'}}")).collect();
    let rules = format!("groups: [{{name: g, interval: 1s, rules: [{}]}}]", all.join(", "));
    measure("all of these", &rules, &hour, now);

    let host = Samples::of_this_host(now - Duration::from_secs(600), 600 + 180);
    measure("1,000 rules", &typical_rules(1000), &host, now);

    let rules = "groups: [{name: g, interval: 1s, rules: [{record: r, expr: 'min_over_time(memory_bytes[1w])'}]}]";
    let week = Samples::one_gauge(now - Duration::from_secs(WEEK.into()), WEEK + 180);
    measure("a week", rules, &week, now);
    if is_wanted("ranges") {
        ranges::measure(now, server.as_ref());
    }
}

const HOUR: &[(&str, &str)] = &[
    ("rate", "rate(requests_total[1h])"),
    ("quantile_over_time", "quantile_over_time(0.95, memory_bytes[1h])"),
    ("predict_linear", "predict_linear(memory_bytes[1h], 4 * 3600)"),
    ("max_over_time", "max_over_time(memory_bytes[1h])"),
    ("avg_over_time", "avg_over_time(memory_bytes[1h])"),
];

/// So many rules: those of the stock and of the collection, again and again with other ranges and thresholds.
fn typical_rules(count: usize) -> String {
    let mut rules = Vec::new();
    for text in [STOCK_RULES, COLLECTION] {
        let file: serde_json::Value = serde_yaml::from_str(text).expect("a rule file");
        let groups = file["groups"].as_array().expect("groups");
        rules.extend(groups.iter().flat_map(|g| g["rules"].as_array().expect("rules").clone()));
    }
    let numbers = regex::Regex::new(r"([<>]=? *)(\d+(?:\.\d+)?)\b").expect("a pattern");
    let groups: Vec<serde_json::Value> = (0..count.div_ceil(rules.len()))
        .map(|variant| {
            let left = count - (variant * rules.len()).min(count);
            let rules: Vec<serde_json::Value> = rules
                .iter()
                .take(left)
                .map(|rule| {
                    let mut rule = rule.clone();
                    let expr = rule["expr"].as_str().unwrap_or_default();
                    let range = ["[5m]", "[2m]", "[1m]", "[10m]"][variant % 4];
                    let expr = expr.replace("[5m]", range);
                    let expr = numbers.replace_all(&expr, |c: &regex::Captures<'_>| {
                        let number: f64 = c[2].parse().unwrap_or(0.0);
                        format!("{}{}", &c[1], number * (1.0 + variant as f64 / 100.0))
                    });
                    rule["expr"] = expr.into_owned().into();
                    let kind = if rule.get("alert").is_some() { "alert" } else { "record" };
                    if kind == "alert" && variant > 0 {
                        rule[kind] = format!("{}{variant}", rule[kind].as_str().unwrap_or_default()).into();
                    }
                    if kind == "record" && variant > 0 {
                        rule["labels"]["variant"] = variant.to_string().into();
                    }
                    rule
                })
                .collect();
            serde_json::json!({"name": format!("variant {variant}"), "interval": "1s", "rules": rules})
        })
        .collect();
    serde_json::json!({ "groups": groups }).to_string()
}

/// CPU of one evaluation, ours and the server's.
fn measure(name: &str, rules: &str, samples: &Samples, now: Timestamp, server: Option<&Server>) {
    let theirs = server.map(|server| server.cpu_of_an_evaluation(rules, samples, SECONDS));
    let (ours, first, failed) = cpu_of_an_evaluation(rules, samples, now);
    print!("{name:<20} {:>8.3} ms (the first {:.3} ms)", ours * 1e3, first * 1e3);
    match theirs {
        Some(theirs) => println!("; Prometheus {:>8.3} ms; ratio {:.3} (aim 0.5)", theirs * 1e3, ours / theirs),
        None => println!(),
    }
    for error in failed {
        println!("    failed: {error}");
    }
}

fn cpu_of_an_evaluation(rules: &str, samples: &Samples, now: Timestamp) -> (f64, f64, Vec<String>) {
    let table = Arc::new(SeriesTable::new(Labels::empty()));
    let day = Duration::from_secs(86_400);
    let mut history = History::new(HistoryLimits { retention: day, max_bytes: 1 << 30, max_series: 1 << 20 });
    samples.fill(&mut history, &table, now);
    let history = RwLock::new(history);
    let mut faults = Faults::default();
    let groups = read_file("rules.yaml", rules, &mut faults);
    assert!(!faults.has_errors(), "{faults}");
    let mut engine = RuleEngine::new(groups, Settings::default(), table, &Registry::new()).expect("instruments");
    let mut evaluate = |second: u32| {
        let after = Duration::from_secs(second.into());
        let before = thread_cpu();
        engine.evaluate(&history, now + after, after);
        thread_cpu() - before
    };
    let first = evaluate(0);
    let mut total = 0.0;
    for second in 1..=SECONDS {
        total += evaluate(second);
    }
    (total / f64::from(SECONDS), first, engine.rule_errors())
}

/// CPU seconds of this thread.
fn thread_cpu() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
