//! Groups of rules over a history, tick by tick.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use prometheus::Registry;

use super::*;
use crate::fuzz::Fuzz;
use crate::history::{History, HistoryLimits};
use crate::model::{Labels, METRIC_NAME, Section, SeriesTable, Timestamp, TopProcess};
use crate::yaml::Faults;

/// A host whose metrics are set by hand, with an agent that ticks once a second.
struct Host {
    engine: RuleEngine,
    history: RwLock<History>,
    table: Arc<SeriesTable>,
    registry: Registry,
    /// Milliseconds.
    wall: i64,
    mono: u64,
}

const START: i64 = 1_700_000_000_000;

fn groups(text: &str) -> Vec<GroupSpec> {
    let mut faults = Faults::default();
    let groups = read_file("r.yaml", text, &mut faults);
    assert!(!faults.has_errors(), "{faults}");
    groups
}

fn history() -> History {
    let limits = HistoryLimits { retention: Duration::from_secs(7200), max_bytes: 1 << 30, max_series: 10_000 };
    History::new(limits)
}

impl Host {
    fn new(rules: &str) -> Host {
        let table = Arc::new(SeriesTable::new(Labels::from_pairs([("job", "node"), ("instance", "h:9100")])));
        let registry = Registry::new();
        let settings = Settings {
            external_labels: Labels::from_pairs([("site", "here")]),
            external_url: "http://h:9100".into(),
            ..Settings::default()
        };
        let engine = RuleEngine::new(groups(rules), settings, table.clone(), &registry).unwrap();
        Host { engine, history: RwLock::new(history()), table, registry, wall: START, mono: 0 }
    }

    fn now(&self) -> (Timestamp, Duration) {
        (Timestamp::from_millis(self.wall), Duration::from_millis(self.mono))
    }

    /// One tick with these samples, `name` or `name,label=value,...`.
    fn tick(&mut self, samples: &[(&str, f64)]) -> Evaluation {
        let (now, mono) = self.now();
        for (series, value) in samples {
            let mut labels = self.table.target().builder();
            for (i, part) in series.split(',').enumerate() {
                match part.split_once('=') {
                    Some((n, v)) => labels.set(n, v),
                    None => labels.set(if i == 0 { METRIC_NAME } else { part }, part),
                };
            }
            let series = self.table.intern(labels.build());
            self.history.write().unwrap().append(&series, now, *value);
        }
        let evaluation = self.engine.evaluate(&self.history, now, mono);
        self.wall += 1000;
        self.mono += 1000;
        evaluation
    }

    /// What history has of a metric at the time of the last tick, by its labels.
    fn value(&self, selector: &str) -> BTreeMap<String, f64> {
        let at = Timestamp::from_millis(self.wall - 1000);
        let query = crate::promql::Query::parse(selector).unwrap();
        match query.instant(&self.history.read().unwrap(), at, &Default::default()).unwrap() {
            crate::promql::Value::Vector(v) => v.into_iter().map(|s| (s.labels.to_string(), s.value)).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn restore(&mut self, rows: BTreeMap<u64, String>) {
        let (now, mono) = self.now();
        let rows = rows.into_iter().map(|(number, row)| (number, serde_json::from_str(&row).unwrap()));
        self.engine.restore(rows, now, mono, None);
    }

    /// The lines of the rules on /metrics.
    fn exposed(&mut self) -> Vec<String> {
        lines(&self.engine.section())
    }

    fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|f| f.name() == name).unwrap_or_else(|| panic!("no {name}"));
        family.get_metric().iter().map(|m| m.get_counter().value() + m.get_gauge().value()).sum()
    }
}

/// Brings the rows in which alerts are kept up to date.
fn keep(host: &mut Host, rows: &mut BTreeMap<u64, String>) -> BTreeMap<u64, String> {
    for (number, row) in host.engine.take_changes().into_rows() {
        match row {
            Some(row) => drop(rows.insert(number, serde_json::to_string(&row).unwrap())),
            None => drop(rows.remove(&number)),
        }
    }
    rows.clone()
}

fn lines(section: &Section) -> Vec<String> {
    let line = |i| format!("{}{}", String::from_utf8_lossy(section.layout.prefix(i)), section.values[i]);
    (0..section.layout.len()).map(line).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

const HOT: &str = "groups:
- name: g
  rules:
  - alert: Hot
    expr: temperature > 80
    for: 2s
    labels: {severity: page, core: \"core {{ $labels.cpu }}\"}
    annotations:
      summary: \"{{ $labels.instance }} at {{ $externalLabels.site }}: {{ $value | humanize }} degrees\"
      link: \"{{ externalURL }}\"
";

#[test]
fn an_alert_is_pending_then_firing_then_resolved() {
    let mut host = Host::new(HOT);
    let hot = [("temperature,cpu=0", 91.5), ("temperature,cpu=1", 40.0)];
    assert_eq!(host.tick(&hot), Evaluation { alerts: vec![], changed: true });
    let alert = |name: &str, state: &str| {
        let state = if state.is_empty() { String::new() } else { format!(", alertstate=\"{state}\"") };
        format!(
            "{name}{{alertname=\"Hot\"{state}, core=\"core 0\", cpu=\"0\", instance=\"h:9100\", job=\"node\", severity=\"page\"}}"
        )
    };
    assert_eq!(host.value("ALERTS"), BTreeMap::from([(alert("ALERTS", "pending"), 1.0)]));
    assert_eq!(host.tick(&hot), Evaluation::default());
    let firing = host.tick(&[("temperature,cpu=0", 99.0)]);
    let expected = Alert {
        labels: pairs(&[
            ("alertname", "Hot"),
            ("core", "core 0"),
            ("cpu", "0"),
            ("instance", "h:9100"),
            ("job", "node"),
            ("severity", "page"),
        ]),
        annotations: pairs(&[("summary", "h:9100 at here: 99 degrees"), ("link", "http://h:9100")]),
        starts_at: Timestamp::from_millis(START + 2000),
        ends_at: None,
        valid_for: Duration::from_secs(240),
        value: 99.0,
        expr: "temperature > 80".into(),
        threshold: Some(80.0),
        top: vec![],
        actions: Arc::default(),
    };
    assert_eq!(firing, Evaluation { alerts: vec![expected.clone()], changed: true });
    assert_eq!(host.value("ALERTS"), BTreeMap::from([(alert("ALERTS", "firing"), 1.0)]));
    assert_eq!(host.value("ALERTS_FOR_STATE"), BTreeMap::from([(alert("ALERTS_FOR_STATE", ""), 1_700_000_000.0)]));
    let resolved = host.tick(&[("temperature,cpu=0", 20.0)]);
    let expected = Alert { ends_at: Some(Timestamp::from_millis(START + 3000)), ..expected };
    assert_eq!(resolved, Evaluation { alerts: vec![expected], changed: true });
    assert_eq!(host.value("ALERTS"), BTreeMap::new());
    assert_eq!(host.value("ALERTS_FOR_STATE"), BTreeMap::new());
}

#[test]
fn a_firing_alert_is_told_again_every_resend_delay() {
    let mut host = Host::new("groups: [{name: g, rules: [{alert: A, expr: x > 0}]}]");
    let told: Vec<usize> = (0..125).filter(|_| !host.tick(&[("x", 1.0)]).alerts.is_empty()).collect();
    assert_eq!(told, [0, 60, 120]);
}

#[test]
fn an_alert_of_a_group_that_is_seldom_evaluated_is_told_as_valid_for_long_enough() {
    let mut host = Host::new("groups: [{name: g, interval: 10m, rules: [{alert: A, expr: x > 0}]}]");
    let told: Vec<Alert> = (0..1300).flat_map(|_| host.tick(&[("x", 1.0)]).alerts).collect();
    assert!(told.len() >= 2, "at every evaluation: {told:?}");
    assert!(told.iter().all(|alert| alert.valid_for == Duration::from_secs(2400)), "{told:?}");
}

#[test]
fn a_recording_rule_gives_series_that_later_rules_see_in_the_same_tick() {
    let mut host = Host::new(
        "groups:
- name: g
  labels: {team: host}
  rules:
  - {record: a:copy, expr: x, labels: {cpu: \"\", extra: 'yes'}}
  - {record: b:copy, expr: \"a:copy\"}
  - {alert: High, expr: b:copy > 5}
",
    );
    let alerts = host.tick(&[("x,cpu=0", 7.0)]).alerts;
    assert_eq!(alerts.len(), 1);
    let labels = "{extra=\"yes\", instance=\"h:9100\", job=\"node\", team=\"host\"}";
    assert_eq!(host.value("a:copy"), BTreeMap::from([(format!("a:copy{labels}"), 7.0)]));
    assert_eq!(host.value("b:copy"), BTreeMap::from([(format!("b:copy{labels}"), 7.0)]));
}

#[test]
fn a_series_that_is_not_given_any_more_ends_at_once() {
    let mut host = Host::new("groups: [{name: g, rules: [{record: high, expr: x > 5}]}]");
    host.tick(&[("x", 7.0)]);
    assert_eq!(host.value("high").len(), 1);
    host.tick(&[("x", 1.0)]);
    assert_eq!(host.value("high").len(), 0);
    host.tick(&[("x", 8.0)]);
    assert_eq!(host.value("high").into_values().collect::<Vec<_>>(), [8.0]);
}

#[test]
fn a_scalar_is_recorded_as_a_series_without_labels() {
    let mut host = Host::new("groups: [{name: g, query_offset: 10s, rules: [{record: clock, expr: time()}]}]");
    host.tick(&[]);
    let then = Timestamp::from_millis(START - 10_000);
    assert_eq!(host.value("clock"), BTreeMap::from([("clock".to_string(), then.as_secs_f64())]));
}

#[test]
fn a_group_without_an_offset_has_that_of_the_configuration() {
    let rules = "groups: [{name: g, rules: [{record: a, expr: time()}]}, {name: h, query_offset: 0s, rules: [{record: b, expr: time()}]}]";
    let mut host = Host::new("");
    host.engine.replace(groups(rules), Settings { query_offset: Duration::from_secs(5), ..Settings::default() });
    host.tick(&[]);
    let seconds = |name: &str| host.value(name).get(name).copied().unwrap_or_default() - START as f64 / 1000.0;
    assert_eq!((seconds("a"), seconds("b")), (-5.0, 0.0));
}

#[test]
fn names_that_the_text_format_does_not_have_are_recorded_and_not_exposed() {
    let mut host = Host::new(
        "groups: [{name: g, rules: [{record: my.name, expr: x}, {record: y, expr: x, labels: {a.b: c}}, {record: z, expr: x}]}]",
    );
    host.tick(&[("x", 1.0)]);
    assert_eq!(host.value("{__name__=\"my.name\"}").len(), 1);
    assert_eq!(host.exposed(), ["z 1"]);
}

#[test]
fn what_the_rules_give_is_exposed_without_the_labels_of_the_target() {
    let mut host = Host::new(
        "groups:
- name: g
  rules:
  - {record: x:copy, expr: x}
  - {record: x:copy, expr: x, labels: {instance: other, job: \"\"}}
  - {alert: A, expr: x > 5}
",
    );
    host.tick(&[("x,cpu=1", 7.0), ("x,cpu=0", 3.0)]);
    let expected = [
        "ALERTS{alertname=\"A\",alertstate=\"firing\",cpu=\"1\"} 1",
        "ALERTS_FOR_STATE{alertname=\"A\",cpu=\"1\"} 1700000000",
        "x:copy{cpu=\"0\"} 3",
        "x:copy{cpu=\"1\"} 7",
        "x:copy{cpu=\"0\",instance=\"other\"} 3",
        "x:copy{cpu=\"1\",instance=\"other\"} 7",
    ];
    assert_eq!(host.exposed(), expected);
    let layout = host.engine.section().layout.clone();
    host.tick(&[("x,cpu=1", 7.0), ("x,cpu=0", 3.0)]);
    assert!(Arc::ptr_eq(&layout, &host.engine.section().layout), "a steady tick keeps the layout");
}

#[test]
fn groups_run_at_their_own_interval() {
    let mut host = Host::new(
        "groups:
- {name: fast, rules: [{record: fast, expr: x}]}
- {name: slow, interval: 5s, rules: [{record: slow, expr: x}]}
",
    );
    let mut slow = Vec::new();
    for i in 0..11 {
        host.tick(&[("x", f64::from(i))]);
        slow.extend(host.value("slow").into_values());
    }
    assert_eq!(slow, [0.0, 0.0, 0.0, 0.0, 0.0, 5.0, 5.0, 5.0, 5.0, 5.0, 10.0]);
    assert_eq!(host.metric("watchfire_rule_group_iterations_total"), 11.0 + 3.0);
    assert_eq!(host.metric("watchfire_rule_evaluations_total"), 14.0);
    assert_eq!(host.metric("watchfire_rule_group_rules"), 2.0);
    assert_eq!(host.metric("watchfire_rule_group_iterations_missed_total"), 0.0);
}

#[test]
fn an_annotation_that_fails_does_not_lose_the_alert() {
    let mut host = Host::new(
        "groups: [{name: g, rules: [{alert: A, expr: x > 0, annotations: {summary: '{{ .Nope }}', ok: 'fine'}}]}]",
    );
    let alert = host.tick(&[("x", 1.0)]).alerts.remove(0);
    assert_eq!(alert.annotations.get("ok"), "fine");
    let summary = alert.annotations.get("summary");
    assert!(summary.starts_with("<error expanding template: error executing template __alert_A: 1:4:"), "{summary}");
    assert_eq!(host.metric("watchfire_rule_template_failures_total"), 1.0);
    assert_eq!(host.metric("watchfire_rule_evaluation_failures_total"), 0.0);
}

#[test]
fn an_annotation_can_query() {
    let mut host = Host::new(
        "groups: [{name: g, rules: [{alert: A, expr: x > 0, annotations: {s: '{{ range query \"y\" }}{{ .Labels.d }}={{ .Value }};{{ end }}'}}]}]",
    );
    let alert = host.tick(&[("x", 1.0), ("y,d=a", 2.0), ("y,d=b", 3.0)]).alerts.remove(0);
    assert_eq!(alert.annotations.get("s"), "a=2;b=3;");
}

#[test]
fn results_with_the_same_labels_fail_the_rule_and_keep_its_alerts() {
    let mut host = Host::new(
        "groups: [{name: g, rules: [{alert: A, expr: x > 0, labels: {cpu: all}}, {record: r, expr: x, labels: {cpu: all}}]}]",
    );
    assert_eq!(host.tick(&[("x,cpu=0", 1.0)]).alerts.len(), 1);
    let both = [("x,cpu=0", 1.0), ("x,cpu=1", 1.0)];
    assert_eq!(host.tick(&both), Evaluation::default());
    assert_eq!(host.metric("watchfire_rule_evaluation_failures_total"), 2.0);
    assert_eq!(
        host.engine.rule_errors(),
        [
            "g/A: vector contains metrics with the same labelset after applying alert labels",
            "g/r: vector contains metrics with the same labelset after applying rule labels",
        ]
    );
    assert_eq!(host.exposed(), [""; 0], "what is not evaluated is not shown");
}

#[test]
fn a_group_may_limit_the_results_of_its_rules() {
    let mut host = Host::new("groups: [{name: g, limit: 1, rules: [{alert: A, expr: x > 0}, {record: r, expr: x}]}]");
    assert_eq!(host.tick(&[("x,cpu=0", 1.0)]).alerts.len(), 1);
    let told = host.tick(&[("x,cpu=0", 1.0), ("x,cpu=1", 1.0)]).alerts;
    assert!(told.iter().all(Alert::is_resolved) && told.len() == 1, "{told:?}");
    assert_eq!(
        host.engine.rule_errors(),
        ["g/A: exceeded limit of 1 with 2 alerts", "g/r: exceeded limit of 1 with 2 series"]
    );
}

#[test]
fn a_reload_keeps_the_alerts_of_the_rules_that_stay_and_resolves_those_of_the_rules_that_go() {
    let mut host = Host::new(
        "groups:
- name: g
  rules:
  - {alert: Stays, expr: x > 0, for: 3s}
  - {alert: Goes, expr: x > 0}
  - {record: gone, expr: x}
",
    );
    assert_eq!(host.tick(&[("x", 1.0)]).alerts.len(), 1);
    host.tick(&[("x", 1.0)]);
    assert_eq!(host.value("gone").len(), 1);
    let new = "groups:
- name: g
  rules:
  - {record: new, expr: x}
  - {alert: Stays, expr: x > 0.5, for: 3s}
";
    host.engine.replace(groups(new), Settings::default());
    let told = host.tick(&[("x", 1.0)]).alerts;
    let names: Vec<_> = told.iter().map(|a| (a.labels.get("alertname"), a.is_resolved(), a.expr.as_str())).collect();
    assert_eq!(names, [("Goes", true, "x > 0")]);
    assert_eq!(host.value("gone").len(), 0);
    let told = host.tick(&[("x", 1.0)]).alerts;
    let names: Vec<_> = told.iter().map(|a| (a.labels.get("alertname"), a.is_resolved())).collect();
    assert_eq!(names, [("Stays", false)], "it went on waiting where it was");
    assert_eq!(host.metric("watchfire_rule_group_rules"), 2.0);
}

#[test]
fn alerts_go_on_after_a_restart() {
    let rules = "groups:
- name: g
  rules:
  - {alert: Waits, expr: x > 0, for: 5s}
  - {alert: Fires, expr: x > 0, annotations: {a: '{{ $value }}'}}
  - {alert: Waits, expr: x > 10, for: 5s}
";
    let mut host = Host::new(rules);
    for _ in 0..4 {
        host.tick(&[("x", 11.0)]);
    }
    let kept = keep(&mut host, &mut BTreeMap::new());
    assert_eq!(kept.len(), 3);

    let mut after = Host::new(rules);
    after.wall = host.wall + 3_600_000;
    after.mono = host.mono;
    after.restore(kept);
    let fires = after.tick(&[("x", 11.0)]).alerts;
    let [fires] = fires.as_slice() else { panic!("{fires:?}") };
    assert_eq!((fires.labels.get("alertname"), fires.starts_at), ("Fires", Timestamp::from_millis(START)));
    let told = after.tick(&[("x", 9.0)]).alerts;
    let names: Vec<_> = told.iter().map(|a| a.labels.get("alertname")).collect();
    assert_eq!(names, ["Waits"], "four seconds before and one after");
}

/// Names one process, whose pid says how often somebody has asked.
fn counted() -> (Culprits, Arc<std::sync::atomic::AtomicU32>) {
    let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = asked.clone();
    let name = move || {
        let pid = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        vec![TopProcess { pid, name: "stress".into(), cpu: 1.5, memory: 7 }]
    };
    (Culprits::new(name), asked)
}

#[test]
fn the_processes_of_the_moment_in_which_it_began_to_fire_go_with_each_telling_of_an_alert() {
    let rules = "groups: [{name: g, rules: [{alert: A, expr: x > 5, for: 2s}]}]";
    let mut host = Host::new(rules);
    let (culprits, asked) = counted();
    let settings = Settings { resend_delay: Duration::from_secs(1), culprits, ..Settings::default() };
    host.engine.replace(groups(rules), settings);
    let hot = [("x,n=1", 9.0), ("x,n=2", 9.0)];
    let cooler = [("x,n=1", 9.0), ("x,n=2", 1.0)];
    for _ in 0..2 {
        assert_eq!(host.tick(&hot).alerts, []);
    }
    let told = |evaluation: Evaluation| -> Vec<_> {
        evaluation.alerts.iter().map(|a| (a.threshold, a.top.first().map(|p| p.pid))).collect()
    };
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 0, "nobody asks before");
    assert_eq!(told(host.tick(&hot)), [(Some(5.0), Some(1)); 2]);
    assert_eq!(told(host.tick(&hot)), [(Some(5.0), Some(1)); 2], "told again");
    assert_eq!(told(host.tick(&cooler)), [(Some(5.0), Some(1)); 2], "one told again, one resolved");
    let kept = keep(&mut host, &mut BTreeMap::new());

    let mut after = Host::new(rules);
    (after.wall, after.mono) = (host.wall, host.mono);
    after.restore(kept);
    assert_eq!(told(after.tick(&cooler)), [(Some(5.0), Some(1)); 2], "after a restart");
    for _ in 0..3 {
        host.tick(&hot);
    }
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 2, "the one that began again has those of then");
}

#[test]
fn a_collector_that_is_late_at_the_start_loses_no_alert() {
    let rules = "groups: [{name: g, rules: [{alert: Waits, expr: x > 0, for: 5s}, {alert: Fires, expr: x > 0}]}]";
    let mut host = Host::new(rules);
    for _ in 0..4 {
        host.tick(&[("x", 1.0)]);
    }
    let kept = keep(&mut host, &mut BTreeMap::new());
    let mut after = Host::new(rules);
    (after.wall, after.mono) = (host.wall, host.mono);
    after.restore(kept);
    let told = |e: Evaluation| -> Vec<_> {
        e.alerts.iter().map(|a| (a.labels.get("alertname").to_string(), a.is_resolved())).collect()
    };
    assert_eq!(told(after.tick(&[])), [("Fires".to_string(), false)]);
    assert_eq!(told(after.tick(&[("x", 1.0)])), [("Waits".to_string(), false)]);
    // One whose condition has ended while nobody looked is resolved all the same.
    let kept = keep(&mut host, &mut BTreeMap::new());
    assert!(kept.is_empty(), "nothing has changed since: {kept:?}");
    let mut ended: Vec<_> = (0..20).flat_map(|_| told(after.tick(&[("x", 0.0)]))).collect();
    ended.sort();
    assert_eq!(ended, [("Fires".to_string(), true), ("Waits".to_string(), true)]);
}

#[test]
fn an_alert_is_kept_anew_only_when_it_comes_goes_or_changes_its_state() {
    let mut host = Host::new(
        "groups: [{name: g, rules: [{alert: A, expr: x > 0, for: 2s, keep_firing_for: 2s, annotations: {a: '{{ $value }}'}}]}]",
    );
    let mut seen = Vec::new();
    // Pending, firing, kept, firing again, kept, resolved, pending anew under the same number, gone.
    for (i, x) in [1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0].into_iter().enumerate() {
        host.tick(&[("x", x * (1.0 + i as f64))]);
        let rows: Vec<_> = host.engine.take_changes().into_rows().collect();
        assert!(rows.iter().all(|(number, _)| *number == 0) && rows.len() <= 1, "{rows:?}");
        seen.push(match rows.into_iter().next() {
            None => '.',
            Some((_, None)) => '-',
            Some((_, Some(row))) => match row.state {
                SavedState::Pending => 'p',
                SavedState::Firing { kept_mono: None, .. } => 'F',
                SavedState::Firing { .. } => 'k',
                SavedState::Resolved { .. } => 'r',
            },
        });
    }
    assert_eq!(seen.into_iter().collect::<String>(), "p.F.kF.k.r.p-.");
}

#[test]
fn alerts_of_rules_that_are_gone_after_a_restart_are_resolved() {
    let mut host = Host::new("groups: [{name: g, rules: [{alert: A, expr: x > 0}]}]");
    host.tick(&[("x", f64::INFINITY)]);
    let mut rows = keep(&mut host, &mut BTreeMap::new());
    assert_eq!(rows.len(), 1);
    let mut after = Host::new("groups: []");
    after.restore(rows.clone());
    let told = after.tick(&[]).alerts;
    assert_eq!(told.iter().map(|a| (a.is_resolved(), a.value)).collect::<Vec<_>>(), [(true, f64::INFINITY)]);
    assert!(keep(&mut after, &mut rows).is_empty(), "its row goes with it");
}

#[test]
fn no_stored_row_makes_it_panic() {
    const RULES: &str = "groups: [{name: g, rules: [{alert: Waits, expr: m > 1, for: 1h, keep_firing_for: 1m}]}]";
    let mut host = Host::new(RULES);
    host.tick(&[("m", 2.0)]);
    let saved: Vec<_> = host.engine.take_changes().into_rows().filter_map(|(_, row)| row).collect();
    let waits = serde_json::to_string(&saved[0]).unwrap();
    let fires = waits.replace("\"pending\"", "{\"firing\":{\"since\":1,\"kept_mono\":2}}");
    let ended = waits.replace("\"pending\"", "{\"resolved\":{\"since\":1,\"at\":2,\"at_mono\":3}}");
    assert!(serde_json::from_str::<SavedAlert>(&fires).is_ok() && serde_json::from_str::<SavedAlert>(&ended).is_ok());
    Fuzz::of(&[waits, fires, ended]).heap(4 << 20).bytes(|row| {
        let Ok(saved) = serde_json::from_slice::<SavedAlert>(row) else { return };
        let mut host = Host::new(RULES);
        let (now, mono) = host.now();
        host.engine.restore([(7, saved.clone()), (u64::MAX, saved)], now, mono, None);
        for value in [2.0, 0.0, 0.0] {
            host.tick(&[("m", value)]);
            host.engine.active_alerts();
            host.engine.take_changes().into_rows().for_each(drop);
        }
    });
}
