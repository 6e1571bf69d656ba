//! What is warned of, and what is not.

use super::*;
use crate::fuzz::Fuzz;
use crate::yaml::Document;

fn lint_with(settings: LintSettings, texts: &[&str]) -> Vec<String> {
    let mut linter = Linter::new(settings);
    let mut faults = Faults::default();
    let documents: Vec<Document> = texts.iter().map(|text| Document::parse("r.yml", text, &mut faults)).collect();
    assert!(faults.is_empty(), "{faults}");
    let groups = || documents.iter().filter_map(|d| Some((d, d.root.get("groups")?)));
    groups().for_each(|(_, groups)| linter.add(groups));
    for (document, groups) in groups() {
        faults.enter(document.source.clone());
        linter.check(groups, &mut faults);
    }
    faults.iter().map(|f| f.to_string().lines().next().unwrap_or_default().replace("r.yml:", "")).collect()
}

/// What is said of one expression, without its place.
fn said(expr: &str) -> Vec<String> {
    said_with(LintSettings::default(), expr)
}

fn said_with(settings: LintSettings, expr: &str) -> Vec<String> {
    let text = format!("groups:\n- name: g\n  rules:\n  - alert: A\n    expr: |\n      {expr}\n");
    let lines = lint_with(settings, &[&text]);
    lines.iter().map(|line| line.split_once("warning: ").map_or(line.clone(), |(_, m)| m.to_string())).collect()
}

#[test]
fn a_metric_that_nothing_gives_is_named_with_the_one_that_is_meant() {
    assert_eq!(
        said("node_memory_MemAvialable_bytes / node_memory_MemTotal_bytes < 0.1"),
        [
            "no collector and no rule gives node_memory_MemAvialable_bytes, unless a textfile or a check does, did you mean node_memory_MemAvailable_bytes?"
        ]
    );
    assert_eq!(
        said("rate(node_cpu_secs_total[5m]) > 1"),
        [
            "no collector and no rule gives node_cpu_secs_total, unless a textfile or a check does, did you mean node_cpu_seconds_total?"
        ]
    );
    assert_eq!(
        said("my_queue_length > 5"),
        ["no collector and no rule gives my_queue_length, unless a textfile or a check does"]
    );
    for fine in [
        "node_memory_SomethingThatTheNextKernelCounts_bytes > 5",
        "node_netstat_TcpExt_TCPNewCounter > 5",
        "absent(my_queue_length)",
        "absent_over_time(my_queue_length[5m])",
        "up == 0",
        "ALERTS{alertstate=\"firing\"} > 0",
        "{__name__=~\"node_.*\"} > 0",
        "histogram_quantile(0.9, rate(watchfire_http_request_duration_seconds_bucket[5m])) > 1",
    ] {
        assert_eq!(said(fine), [""; 0], "{fine}");
    }
}

#[test]
fn what_a_rule_records_is_known_in_all_files() {
    let records = "groups: [{name: a, rules: [{record: my_queue_length, expr: node_load1}]}]";
    let uses =
        "groups: [{name: b, rules: [{alert: A, expr: my_queue_length > 5}, {alert: B, expr: my_queue_lenth > 5}]}]";
    assert_eq!(
        lint_with(LintSettings::default(), &[uses, records]),
        [
            "1:84: warning: no collector and no rule gives my_queue_lenth, unless a textfile or a check does, did you mean my_queue_length?"
        ]
    );
}

#[test]
fn a_counter_is_compared_by_how_it_grows() {
    let only_grows = |name: &str| {
        format!(
            "{name} is a counter, which only grows until the host or the program starts anew: compare its rate() or increase()"
        )
    };
    for (expr, name) in [
        ("node_network_receive_errs_total > 100", "node_network_receive_errs_total"),
        ("sum by (instance) (node_network_receive_errs_total) / 1024 > 100", "node_network_receive_errs_total"),
        ("5 < abs(node_context_switches_total)", "node_context_switches_total"),
    ] {
        assert_eq!(said(expr), [only_grows(name)], "{expr}");
    }
    assert_eq!(
        said("avg_over_time(node_context_switches_total[5m]) > 5"),
        [
            "node_context_switches_total is a counter, which only grows: take rate() or increase() instead of avg_over_time()"
        ]
    );
    assert_eq!(
        said("rate(node_load1[5m]) > 5"),
        ["node_load1 is a gauge: rate() takes each fall for a restart; take delta() or deriv()"]
    );
    for fine in [
        "rate(node_network_receive_errs_total[5m]) > 5",
        "node_edac_uncorrectable_errors_total > 0",
        "node_disk_written_bytes_total - node_disk_written_bytes_total offset 1h > 5",
        "node_softnet_dropped_total / node_softnet_processed_total > 0.1",
        "count by (instance) (node_cpu_seconds_total{mode=\"idle\"}) > 4",
        "node_load1 > 5 and node_context_switches_total",
        "increase(node_vmstat_oom_kill[5m]) > 0",
        "max_over_time(node_load1[5m]) > 5",
        "max_over_time(rate(node_context_switches_total[1m])[5m:]) > 5",
        "deriv(node_memory_MemFree_bytes[5m]) < 0",
        "timestamp(node_context_switches_total) < 5",
    ] {
        assert_eq!(said(fine), [""; 0], "{fine}");
    }
}

#[test]
fn a_time_or_a_range_that_is_too_short_is_told() {
    let text = "groups:
- name: g
  interval: 1m
  rules:
  - alert: A
    expr: node_load1 > 5
    for: 30s
    keep_firing_for: 10s
  - alert: B
    expr: node_load1 > 5
    for: 1m
- name: h
  rules:
  - alert: C
    expr: node_load1 > 5
    for: 500ms
";
    assert_eq!(
        lint_with(LintSettings::default(), &[text]),
        [
            "7:10: warning: for: 30s is shorter than the interval of the group, 1m: it lasts 1m all the same",
            "8:22: warning: keep_firing_for: 10s is shorter than the interval of the group, 1m: it lasts 1m all the same",
            "16:10: warning: for: 500ms is shorter than the interval of the group, 1s: it lasts 1s all the same",
        ]
    );
    let slow = LintSettings { scrape_interval: Duration::from_secs(15), ..LintSettings::default() };
    assert_eq!(
        said_with(slow.clone(), "irate(node_context_switches_total[20s]) > 5"),
        ["irate() needs two samples, and a range of 20s holds at most one: they come every 15s"]
    );
    assert_eq!(said_with(slow.clone(), "irate(node_context_switches_total[30s]) > 5"), [""; 0]);
    assert_eq!(said_with(slow, "max_over_time(node_load1[10s]) > 5"), [""; 0]);
}

#[test]
fn a_label_that_never_matches_is_told() {
    for (expr, message) in [
        (
            "rate(node_cpu_seconds_total{mode=\"idel\"}[5m]) > 5",
            "mode=\"idel\" never matches: mode of node_cpu_seconds_total has no such value, did you mean \"idle\"?",
        ),
        (
            "rate(node_cpu_seconds_total{mode=~\"busy|used\"}[5m]) > 5",
            "mode=~\"busy|used\" never matches: mode of node_cpu_seconds_total has no such value, its values: user, nice, system, idle, iowait, irq, softirq, steal",
        ),
        (
            "node_filesystem_avail_bytes{mountpiont=\"/\"} < 5",
            "mountpiont=\"/\" never matches: node_filesystem_avail_bytes has no label mountpiont, did you mean mountpoint?",
        ),
        (
            "node_load1{cpu!=\"\"} > 5",
            "cpu!=\"\" never matches: node_load1 has no label cpu, its labels: none but job and instance",
        ),
        (
            "sum by (devise) (node_filesystem_avail_bytes) < 5",
            "by (devise): nothing here has the label devise, did you mean device?",
        ),
        (
            "sum by (instance) (node_filesystem_avail_bytes) / on (device) sum by (device) (node_filesystem_size_bytes) < 5",
            "on (device) never matches: the left side has no label device, which the other has",
        ),
        (
            "sum by (instance) (node_filesystem_avail_bytes) / sum by (instance, device) (node_filesystem_size_bytes) < 5",
            "the sides never match: the left one has no label device, which the other has; write on (...) or ignoring (device)",
        ),
    ] {
        assert_eq!(said(expr), [message], "{expr}");
    }
    for fine in [
        "node_load1{cluster!=\"a\"} > 5",
        "node_load1{cluster=\"\"} > 5",
        "node_load1{job=\"other\", instance=~\"web.*\"} > 5",
        "rate(node_cpu_seconds_total{mode!=\"idle\"}[5m]) > 5",
        "sum by (cluster, instance) (node_filesystem_avail_bytes) < 5",
        "sum by (instance) (node_filesystem_avail_bytes) / on (instance) group_right () node_filesystem_size_bytes < 5",
        "node_filesystem_avail_bytes / node_filesystem_size_bytes < 5",
        "node_load1 / on (cluster, instance) node_load5 > 2",
        "node_hwmon_temp_celsius * on (chip) group_left (chip_name) node_hwmon_chip_names > 80",
        "my:own{any=\"label\"} > 5 or absent(my:own)",
    ] {
        let said: Vec<String> = said(fine).into_iter().filter(|m| !m.contains("my:own")).collect();
        assert_eq!(said, [""; 0], "{fine}");
    }
}

#[test]
fn a_rule_for_another_host_is_told_where_the_host_is_known() {
    let settings =
        LintSettings { job: Some("node".into()), instance: Some("web-1:9100".into()), ..LintSettings::default() };
    assert_eq!(
        said_with(settings.clone(), "node_load1{job=\"node-exporter\", instance=~\"db.*\"} > 5"),
        [
            "job=\"node-exporter\" never matches: job is \"node\" here, as global.job says",
            "instance=~\"db.*\" never matches: instance is \"web-1:9100\" here, as global.instance says",
        ]
    );
    assert_eq!(said_with(settings, "node_load1{job=~\"node.*\", instance=\"web-1:9100\"} > 5"), [""; 0]);
}

#[test]
fn the_place_is_that_of_the_word_in_the_expression() {
    let text = "groups:
- name: g
  rules:
  - record: a
    expr: |
      sum(
        node_load1
        + node_load2
      )
  - {record: b, expr: 'node_load15 + node_laod1'}
";
    let places: Vec<String> = lint_with(LintSettings::default(), &[text])
        .iter()
        .map(|line| line.split(": ").next().unwrap_or_default().to_string())
        .collect();
    assert_eq!(places, ["8:11", "10:38"]);
}

#[test]
fn nothing_is_said_of_the_stock_rules_and_of_a_collection_but_what_is_so() {
    let settings = LintSettings { job: Some("node".into()), ..LintSettings::default() };
    assert_eq!(lint_with(settings.clone(), &[super::super::STOCK_RULES]), [""; 0]);
    let said = lint_with(settings, &[include_str!("../testdata/collection.yaml")]);
    let unknown = |line: &&String| line.contains("no collector and no rule gives ");
    let names: Vec<&str> = said.iter().filter(unknown).filter_map(|line| line.split([' ', ',']).nth(8)).collect();
    assert_eq!(
        names,
        [
            "node_reboot_required",
            "maintenance",
            "prometheus_config_last_reload_successful",
            "http_request_duration_seconds_bucket",
            "http_requests_total",
            "backup_last_success_timestamp_seconds",
        ]
    );
    let others: Vec<&String> = said.iter().filter(|line| !unknown(line)).collect();
    assert!(others.len() == 3, "another job, twice, and delta() of a counter: {others:#?}");
}

#[test]
fn no_rule_file_makes_it_panic() {
    let good = [
        "groups:\n- name: g\n  interval: 1m\n  rules:\n  - {alert: A, expr: 'node_cpu_seconds_total{mode=\"idel\"} > 5', for: 5s}\n",
        "groups: [{rules: [{record: a:b, expr: 'sum by (devise) (rate(node_load1[1ms])) / on (cpu) a:b offset -5m'}]}]\n",
    ];
    Fuzz::of(&good).words(&["job=", "without", "absent(", "[5m:]", "bool", "é"]).heap(32 << 20).texts(|text| {
        let document = Document::parse("r.yml", text, &mut Faults::default());
        let mut faults = Faults::default();
        faults.enter(document.source.clone());
        let mut linter = Linter::new(LintSettings { job: Some("x".into()), ..LintSettings::default() });
        if let Some(groups) = document.root.get("groups") {
            linter.add(groups);
            linter.check(groups, &mut faults);
        }
        let _ = faults.to_string();
    });
}
