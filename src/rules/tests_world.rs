//! Rules of the kinds that the world has, a few hundred of them, and very many in one file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use prometheus::Registry;

use super::lint::{LintSettings, Linter};
use super::*;
use crate::history::{History, HistoryLimits, MatchOp};
use crate::model::{Labels, METRIC_NAME, Series, SeriesTable, Timestamp};
use crate::yaml::{Document, Faults};

/// A machine that builds at the same time, and a build without optimizations.
const SLOW: u32 = if cfg!(debug_assertions) { 20 } else { 1 };

fn files() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rules/testdata/world");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

fn groups(name: &str, text: &str) -> Vec<GroupSpec> {
    let mut faults = Faults::default();
    let groups = read_file(name, text, &mut faults);
    assert!(!faults.has_errors(), "{faults}");
    groups
}

struct Host {
    table: Arc<SeriesTable>,
    history: RwLock<History>,
    engine: RuleEngine,
    registry: Registry,
}

impl Host {
    fn new(groups: Vec<GroupSpec>) -> Host {
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        let limits = HistoryLimits { retention: Duration::from_secs(86_400), max_bytes: 1 << 30, max_series: 100_000 };
        let registry = Registry::new();
        let settings = Settings { external_url: "http://h:9100/p".into(), ..Settings::default() };
        let engine = RuleEngine::new(groups, settings, table.clone(), &registry).unwrap();
        Host { history: RwLock::new(History::new(limits)), table, engine, registry }
    }

    fn counted(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|f| f.name() == name).unwrap_or_else(|| panic!("no {name}"));
        family.get_metric().iter().map(|m| m.get_counter().value()).sum()
    }
}

/// Two instances of every series that a rule asks for, with the labels that it asks for.
fn wanted(groups: &[GroupSpec], table: &SeriesTable) -> BTreeMap<Labels, Arc<Series>> {
    let mut series = BTreeMap::new();
    for selector in groups.iter().flat_map(|g| &g.rules).flat_map(|rule| rule.query().selectors()) {
        let Some(name) =
            selector.name.filter(|n| !n.contains(':') && *n != "nothing_at_all" && !n.starts_with("ALERTS"))
        else {
            continue;
        };
        for (instance, node) in [("a:9100", "a"), ("b:9100", "b")] {
            let mut labels =
                Labels::from_pairs([(METRIC_NAME, name), ("job", "node"), ("instance", instance), ("nodename", node)])
                    .builder();
            if name.contains("filesystem") || name.contains("disk") {
                labels.set("device", "sda").set("mountpoint", "/").set("fstype", "ext4");
            }
            if name.starts_with("kube_") || name.contains("hwmon") {
                labels.set("node", node).set("pod", node).set("chip", node);
            }
            // A host is up once, whatever it is asked by.
            let once = |m: &&crate::history::Matcher| name != "up" || *m.name != *"job";
            for m in selector.matchers.iter().filter(|m| matches!(m.op, MatchOp::Equal)).filter(once) {
                labels.set(&m.name, &m.value);
            }
            if selector.matchers.iter().any(|m| *m.name == *"quantile" || *m.name == *"instance") {
                labels.set("instance", instance);
            }
            let labels = labels.build();
            series.insert(labels.clone(), table.intern(labels));
        }
    }
    series
}

#[test]
fn the_rules_of_the_world_are_loaded_and_evaluated_without_an_error() {
    let (mut count, mut active) = (0, 0);
    for (path, text) in files() {
        let name = path.display().to_string();
        let all = groups(&name, &text);
        count += all.iter().map(|g| g.rules.len()).sum::<usize>();
        let mut host = Host::new(Vec::new());
        let series = wanted(&all, &host.table);
        host.engine.replace(all, Settings::default());
        for tick in 0..40_i64 {
            let at = Timestamp::from_millis(1_700_000_000_000 + tick * 30_000);
            for (n, series) in series.values().enumerate() {
                host.history.write().unwrap().append(series, at, (tick * 7 % 50) as f64 * (n + 1) as f64);
            }
            host.engine.evaluate_all(&host.history, at, Duration::from_secs(tick as u64 * 30));
            assert_eq!(host.engine.rule_errors(), [""; 0], "{name} at tick {tick}");
        }
        assert_eq!(host.counted("watchfire_rule_template_failures_total"), 0.0, "{name}");
        active += host.engine.active_alerts().len();
    }
    assert!(count >= 200 && active >= 50, "{count} rules, {active} alerts");
}

#[test]
fn of_the_rules_on_hosts_and_processes_nothing_is_warned_of_but_what_this_host_cannot_know() {
    // From scripts, from other exporters; and slips that are in the collections themselves.
    let others = [
        "smartmon_",
        "node_reboot_required",
        "probe_",
        "backup_",
        "node_textfile_",
        "node_bonding",
        "instance:node_num_cpu",
    ];
    for (path, text) in files() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if ["self.yml", "k8s_node.yml"].contains(&&*name) {
            continue;
        }
        let mut faults = Faults::default();
        let document = Document::parse(&name, &text, &mut faults);
        let mut linter = Linter::new(LintSettings { job: Some("node".into()), ..LintSettings::default() });
        let list = document.root.get("groups").unwrap();
        linter.add(list);
        linter.check(list, &mut faults);
        let said = faults.iter().map(ToString::to_string);
        let said: Vec<String> = said.filter(|m| !others.iter().any(|o| m.contains(o))).collect();
        assert_eq!(said, [""; 0], "{name}");
    }
}

#[test]
fn an_alert_names_the_five_processes_that_use_most_cpu() {
    let rules = "groups:
- name: g
  rules:
  - alert: Busy
    expr: node_load1 > 4
    annotations:
      top: '{{ range query \"topk(5, watchfire_process_cpu_usage_ratio)\" }}{{ .Labels.comm }} {{ .Value | humanizePercentage }}, {{ end }}'
";
    let mut host = Host::new(groups("r.yml", rules));
    let set = |pairs: &[(&str, &str)], value: f64| {
        let series = host.table.intern(Labels::from_pairs(pairs.iter().copied()));
        host.history.write().unwrap().append(&series, Timestamp::from_millis(1_000_000), value);
    };
    set(&[(METRIC_NAME, "node_load1")], 9.0);
    for (n, comm) in ["cron", "java", "rustc", "sshd", "nginx", "postgres", "ld"].into_iter().enumerate() {
        set(&[(METRIC_NAME, "watchfire_process_cpu_usage_ratio"), ("comm", comm), ("pid", "7")], n as f64 / 8.0);
    }
    let alerts = host.engine.evaluate(&host.history, Timestamp::from_millis(1_000_000), Duration::ZERO).alerts;
    assert_eq!(alerts[0].annotations.get("top"), "ld 75%, postgres 62.5%, nginx 50%, sshd 37.5%, rustc 25%, ");
}

#[test]
fn ten_thousand_rules_are_loaded_in_a_second_linted_in_seconds_and_evaluated() {
    let mut text = String::from("groups:\n");
    for group in 0..100 {
        text += &format!("- name: g{group}\n  rules:\n");
        for rule in 0..50 {
            text += &format!(
                "  - record: r{group}:{rule}\n    expr: sum by (instance) (rate(node_cpu_seconds_total{{mode=\"idle\"}}[5m])) * {rule}\n  \
                 - alert: A{group}x{rule}\n    expr: node_load1 > {rule} and node_memory_MemFreee_bytes < {group}\n    for: 5m\n    \
                 labels: {{severity: page}}\n    annotations: {{summary: '{{{{ $labels.instance }}}}: {{{{ $value | humanize }}}}'}}\n"
            );
        }
    }
    let began = Instant::now();
    let all = groups("many.yml", &text);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1) * SLOW, "loaded in {took:?}");
    assert_eq!(all.iter().map(|g| g.rules.len()).sum::<usize>(), 10_000);

    let began = Instant::now();
    let mut faults = Faults::default();
    let document = Document::parse("many.yml", &text, &mut faults);
    let mut linter = Linter::new(LintSettings::default());
    linter.add(document.root.get("groups").unwrap());
    linter.check(document.root.get("groups").unwrap(), &mut faults);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(3) * SLOW, "linted in {took:?}");
    assert_eq!(faults.len(), 5_000);

    let mut host = Host::new(all);
    for cpu in 0..8 {
        let cpu = cpu.to_string();
        let labels = [(METRIC_NAME, "node_cpu_seconds_total"), ("cpu", &cpu), ("mode", "idle"), ("instance", "i")];
        let series = host.table.intern(Labels::from_pairs(labels));
        for second in 0..300 {
            let at = Timestamp::from_millis(second * 1000);
            host.history.write().unwrap().append(&series, at, second as f64);
        }
    }
    let began = Instant::now();
    host.engine.evaluate(&host.history, Timestamp::from_millis(300_000), Duration::from_secs(300));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2) * SLOW, "evaluated in {took:?}");
    assert_eq!(host.counted("watchfire_rule_evaluations_total"), 10_000.0);
    assert_eq!(host.engine.rule_errors(), [""; 0]);
}
