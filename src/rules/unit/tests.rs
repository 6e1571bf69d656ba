//! What a test file says, and what comes of it.

use std::path::Path;

use super::*;
use crate::fuzz::Fuzz;

const RULES: &str = "groups:
- name: g
  limit: 10
  rules:
  - record: half
    expr: x / 2
  - alert: High
    expr: half > 2
    for: 2m
    keep_firing_for: 2m
    labels: {severity: page, site: '{{ $externalLabels.site }}'}
    annotations: {summary: '{{ $labels.host }} is at {{ $value }}, see {{ externalURL }}'}
";

/// Runs a test file that stands beside `rules.yml`.
fn run(text: &str, options: &Options) -> (FileReport, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("rules.yml"), RULES).unwrap();
    std::fs::write(dir.path().join("test.yml"), text).unwrap();
    let report = run_file(&dir.path().join("test.yml"), options);
    let faults = report.faults.to_string().replace(&format!("{}/", dir.path().display()), "");
    (report, faults)
}

fn failures(text: &str) -> Vec<String> {
    let (report, faults) = run(text, &Options::default());
    assert!(!report.faults.has_errors(), "{faults}");
    let failures = report.tests.iter().flat_map(|t| &t.failures);
    failures
        .map(|f| {
            let lines = f.diff.iter().map(|line| match line {
                DiffLine::Both(text) => format!("\n  {text}"),
                DiffLine::Expected(text) => format!("\n- {text}"),
                DiffLine::Got(text) => format!("\n+ {text}"),
            });
            format!("{}: {}{}", f.at, f.message, lines.collect::<String>())
        })
        .collect()
}

fn refused(text: &str) -> String {
    let (report, faults) = run(text, &Options::default());
    assert!(report.faults.has_errors() && report.tests.is_empty() && !report.passed(), "{text}");
    faults.lines().next().unwrap_or_default().to_string()
}

#[test]
fn alerts_and_expressions_are_held_against_what_is_expected() {
    let text = "
rule_files: ['rul*.yml']
tests:
- name: high
  interval: 1m
  external_labels: {site: here}
  external_url: http://h/
  input_series:
  - {series: 'x{host=\"a\"}', values: '2 6x5 0x9'}
  - {series: 'x{host=\"b\"}', values: '1x20'}
  alert_rule_test:
  - {eval_time: 2m59s, alertname: High}
  - &fires
    eval_time: 3m
    alertname: High
    exp_alerts:
    - exp_labels: {host: a, severity: page, site: here}
      exp_annotations: {summary: 'a is at 3, see http://h/'}
  - {<<: *fires, eval_time: 8m}
  - {eval_time: 9m, alertname: High, exp_alerts: []}
  - {eval_time: 3m, alertname: Other}
  promql_expr_test:
  - expr: half
    eval_time: 5m
    exp_samples: [{labels: 'half{host=\"b\"}', value: 0.5}, {labels: 'half{host=\"a\"}', value: 3}]
  - {expr: vector(time()), eval_time: 90s, exp_samples: [{labels: '{}', value: 90}]}
  - {expr: 1 + 1, exp_samples: [{labels: '{}', value: 2}]}
  - {expr: x / 0 - x / 0, eval_time: 90s, exp_samples: [{labels: '{host=\"a\"}', value: .nan}, {labels: '{host=\"b\"}', value: .NaN}]}
  - {expr: -x / 0, exp_samples: [{labels: '{host=\"a\"}', value: -.inf}, {labels: '{host=\"b\"}', value: -Inf}]}
  - {expr: 'count_over_time(ALERTS{alertname=\"High\"}[9m])', eval_time: 9m, exp_samples: [
      {labels: '{alertname=\"High\", alertstate=\"pending\", host=\"a\", severity=\"page\", site=\"here\"}', value: 2},
      {labels: '{alertname=\"High\", alertstate=\"firing\", host=\"a\", severity=\"page\", site=\"here\"}', value: 6}]}
";
    assert_eq!(failures(text), [""; 0]);
}

#[test]
fn what_differs_is_shown_with_its_place() {
    let text = "
rule_files: [rules.yml]
tests:
- interval: 1m
  input_series:
  - {series: 'x{host=\"a\"}', values: '6x5'}
  - {series: 'x{host=\"b\"}', values: '8x5'}
  alert_rule_test:
  - eval_time: 3m
    alertname: High
    exp_alerts:
    - exp_labels: {host: a, severity: page}
      exp_annotations: {summary: a is high}
    - exp_labels: {host: c}
  promql_expr_test:
  - expr: half
    eval_time: 5m
    exp_samples: [{labels: 'half{host=\"b\"}', value: 4}, {labels: 'half{host=\"a\"}', value: 2}]
  - expr: rat(x[5m])
";
    assert_eq!(
        failures(text),
        [
            "9:5: alert High at 3m is not as expected
  {alertname=\"High\", host=\"a\", severity=\"page\"}
-     summary: a is high
+     summary: a is at 3, see 
+ {alertname=\"High\", host=\"b\", severity=\"page\"}
+     summary: b is at 4, see 
- {alertname=\"High\", host=\"c\"}",
            "16:11: expr \"half\" at 5m is not as expected
- half{host=\"a\"} 2
+ half{host=\"a\"} 3
  half{host=\"b\"} 4",
            "19:11: expr \"rat(x[5m])\" at 0s: 1:1: unknown function rat(), did you mean rate()?",
        ]
    );
}

#[test]
fn the_start_is_the_epoch_or_what_the_test_says() {
    for (start, seconds) in [("0", 0.0), ("2024-05-01T12:00:00Z", 1_714_564_800.0), ("1714564800.5", 1_714_564_800.5)] {
        let text = format!(
            "tests:\n- start_timestamp: {start}\n  interval: 1m\n  input_series: [{{series: x, values: '1 2 3'}}]\n  \
             promql_expr_test:\n  - {{expr: timestamp(x) - {seconds}, eval_time: 60s, exp_samples: [{{labels: '{{}}', value: 60}}]}}\n",
        );
        assert_eq!(failures(&text), [""; 0], "{start}");
    }
}

#[test]
fn a_rule_does_not_see_what_is_to_come_and_groups_are_evaluated_in_the_order_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let rules = "groups:\n- {name: late, interval: 1h, rules: [{record: c, expr: b + 1}]}\n\
                 - {name: early, rules: [{record: b, expr: a + 1}, {record: n, expr: a offset -3m}]}\n";
    let test = "rule_files: [rules.yml]\ngroup_eval_order: [early, late]\nevaluation_interval: 1m\ntests:\n- interval: 30s\n  \
                input_series: [{series: a, values: '0+1x9'}, {series: a, values: '1+1x9'}]\n  promql_expr_test:\n  \
                - {expr: c, eval_time: 90s, exp_samples: [{labels: c, value: 5}]}\n  \
                - {expr: n, eval_time: 1m, exp_samples: [{labels: n, value: 3}]}\n  \
                - {expr: a, eval_time: 90s, exp_samples: [{labels: a, value: 4}]}\n";
    std::fs::write(dir.path().join("rules.yml"), rules).unwrap();
    std::fs::write(dir.path().join("test.yml"), test).unwrap();
    let report = run_file(&dir.path().join("test.yml"), &Options::default());
    assert!(report.passed(), "{report:?}");
}

#[test]
fn a_rule_that_fails_ends_its_test_and_a_text_that_fails_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let rules = "groups:\n- name: g\n  rules:\n  - {alert: A, expr: x, annotations: {a: '{{ query \"nothing\" | first }}'}}\n  \
                 - {record: r, expr: x * on() y}\n";
    let test = "rule_files: [rules.yml]\ntests:\n- interval: 1m\n  input_series: [{series: x, values: 1x9}, {series: 'y{a=\"1\"}', values: \
                _ _ 1x9}, {series: 'y{a=\"2\"}', values: _ _ 1x9}]\n  alert_rule_test:\n  - {eval_time: 5m, alertname: A}\n";
    std::fs::write(dir.path().join("rules.yml"), rules).unwrap();
    std::fs::write(dir.path().join("test.yml"), test).unwrap();
    let report = run_file(&dir.path().join("test.yml"), &Options::default());
    let [failure] = report.tests[0].failures.as_slice() else { panic!("{report:?}") };
    assert!(failure.message.starts_with("at 2m the rule g/r fails: "), "{}", failure.message);
    let [remark] = report.tests[0].remarks.as_slice() else { panic!("{report:?}") };
    assert!(remark.starts_with("g/A: a: ") && remark.contains("no elements"), "{remark}");
}

#[test]
fn two_things_that_give_one_series_are_found() {
    let text = "rule_files: [rules.yml]\ntests:\n- interval: 1m\n  input_series: [{series: x, values: 2x9}, {series: half, values: 7x9}]\n  \
                promql_expr_test:\n  - {expr: half, eval_time: 1m}\n";
    let [failure] = &failures(text)[..] else { panic!("{:?}", failures(text)) };
    assert!(
        failure.contains("the rule g/half fails: half is not kept: there is another value of that time"),
        "{failure}"
    );
}

#[test]
fn numbers_that_agree_in_six_digits_are_equal_only_where_that_is_asked_for() {
    let test = |fuzzy: bool, value: &str| {
        failures(&format!(
            "fuzzy_compare: {fuzzy}\ntests:\n- promql_expr_test:\n  - {{expr: 0.1 + 0.2, exp_samples: [{{labels: '{{}}', value: {value}}}]}}\n"
        ))
        .len()
    };
    assert_eq!((test(true, "0.3"), test(false, "0.3"), test(true, "0.3001")), (0, 1, 1));
}

#[test]
fn only_the_tests_that_are_asked_for_are_run_and_all_series_can_be_shown() {
    let text = "tests:\n- {name: one}\n- {name: two, input_series: [{series: up, values: '1 _ 2.5 stale'}], \
                promql_expr_test: [{expr: up, eval_time: 5m}]}\n- {}\n";
    let options = Options { run: Regex::new("tw|x").ok(), dump: true, ..Options::default() };
    let (report, _) = run(text, &options);
    let [test] = report.tests.as_slice() else { panic!("{report:?}") };
    assert_eq!((test.name.as_str(), test.dump.as_deref()), ("two", Some("up => 1@0 2.5@120\n")));
    let (report, _) = run(text, &Options::default());
    assert_eq!(report.tests.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["one", "two", "unnamed#2"]);
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_place() {
    for (text, message) in [
        ("test: []", "test.yml:1:1: unknown key \"test\", did you mean \"tests\"?"),
        ("tests: [{intervall: 5s}]", "test.yml:1:10: unknown key \"intervall\", did you mean \"interval\"?"),
        (
            "tests: [{input_series: [{series: up, values: 1 x}]}]",
            "test.yml:1:48: \"x\" is not a sample: write a number, NaN, Inf, _ or stale",
        ),
        (
            "tests:\n- input_series:\n  - series: up{a=~'b'}\n    values: 1",
            "test.yml:3:18: expected \"=\" after the label a: a series has values, not patterns",
        ),
        ("tests: [{input_series: [{values: '1'}]}]", "test.yml:1:25: series is missing here"),
        ("tests: [{alert_rule_test: [{eval_time: 1m}]}]", "test.yml:1:28: alertname is missing here"),
        ("tests: [{promql_expr_test: [{eval_time: 1m}]}]", "test.yml:1:29: expr is missing here"),
        (
            "tests: [{promql_expr_test: [{expr: x, exp_samples: [{histogram: '{{}}'}]}]}]",
            "test.yml:1:65: native histograms are not supported: an expression gives plain numbers",
        ),
        ("group_eval_order: [a, b, a]", "test.yml:1:26: the group \"a\" is here twice"),
        (
            "tests: [{start_timestamp: soon}]",
            "test.yml:1:27: expected a time, such as 2024-05-01T12:00:00Z or seconds since the epoch, found soon",
        ),
    ] {
        assert_eq!(refused(text), message, "{text}");
    }
    assert!(refused("rule_files: [none.yml]").starts_with("test.yml:1:14: rule file none.yml: "));
    let (report, faults) = run(
        "rule_files: ['none*.yml']\ntests: [{colour: red}]",
        &Options { ignore_unknown_keys: true, ..Options::default() },
    );
    assert!(
        report.passed() && faults.starts_with("test.yml:1:14: warning: no rule file is named \"none*.yml\""),
        "{faults}"
    );
    let report = run_file(Path::new("/nowhere/test.yml"), &Options::default());
    assert!(report.faults.to_string().starts_with("/nowhere/test.yml: cannot read the test file: "));
}

#[test]
fn a_test_without_end_is_refused() {
    let text = "evaluation_interval: 1ms\ntests: [{input_series: [{series: up, values: 1x99999999999}], \
                promql_expr_test: [{expr: up, eval_time: 100y}]}]";
    let [failure] = &failures(text)[..] else { panic!("{:?}", failures(text)) };
    assert!(failure.contains("let it end sooner"), "{failure}");
    let [failure] = &failures("tests: [{input_series: [{series: up, values: 1x99999999999}]}]")[..] else { panic!() };
    assert!(failure.contains("have 100000000000 samples"), "{failure}");
}

#[test]
fn no_test_file_makes_it_panic() {
    let good = [
        "evaluation_interval: 1m\nfuzzy_compare: true\ngroup_eval_order: [a, b]\ntests:\n- name: x\n  start_timestamp: 5\n",
        "tests:\n- input_series:\n  - {series: 'up{a=\"b\"}', values: '0+1x5 _ stale'}\n  external_labels: {a: b}\n",
        "tests:\n- alert_rule_test:\n  - {eval_time: 5m, alertname: A, exp_alerts: [{exp_labels: {a: b}, exp_annotations: {c: d}}]}\n",
        "tests:\n- promql_expr_test:\n  - {expr: rate(up[5m]), eval_time: 5m, exp_samples: [{labels: 'up{}', value: .nan}]}\n",
    ];
    Fuzz::of(&good).words(&["9999999999", "1ms", "100y", "start_timestamp", "-.inf", "1e300"]).heap(64 << 20).texts(
        |text| {
            let mut faults = Faults::default();
            let file: TestFile = Document::parse("t.yml", text, &mut faults).read(&mut faults);
            for (i, test) in file.tests.iter().enumerate() {
                let few = file.evaluation_interval.as_secs() >= 1
                    && test.value.input_series.iter().all(|s| s.values.total() < 1000);
                if few {
                    run::run(test.value.name_or(i), test, &file, &[], &Options { dump: true, ..Options::default() });
                }
            }
        },
    );
}
