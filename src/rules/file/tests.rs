//! What is read from rule files, and what is said of them.

use super::*;
use crate::fuzz::Fuzz;

fn read(text: &str) -> (Vec<GroupSpec>, Vec<String>) {
    let mut faults = Faults::default();
    let groups = read_file("r.yaml", text, &mut faults);
    let first_lines = faults.iter().map(|f| f.to_string().lines().next().unwrap_or_default().to_string()).collect();
    (groups, first_lines)
}

#[test]
fn a_file_is_read_with_all_its_keys() {
    let (groups, faults) = read(
        "groups:
- name: one
  interval: 30s
  query_offset: 5s
  limit: 10
  labels: {team: host, severity: none}
  rules:
  - record: a:b
    expr: sum(up)
    labels: {x: 1}
  - alert: Down
    expr: up == 0
    for: 5m
    keep_firing_for: 1h
    labels: {severity: page}
    annotations: {summary: \"{{ $labels.instance }} is down\"}
- name: two
",
    );
    assert_eq!(faults, [""; 0]);
    let [one, two] = groups.as_slice() else { panic!("{groups:?}") };
    assert_eq!((one.file.as_str(), one.limit, two.rules.len()), ("r.yaml", 10, 0));
    assert_eq!((one.interval, one.query_offset), (Some(Duration::from_secs(30)), Some(Duration::from_secs(5))));
    let [RuleSpec::Recording(r), RuleSpec::Alerting(a)] = one.rules.as_slice() else { panic!("{groups:?}") };
    let pair = |n: &str, v: &str| (n.to_string(), v.to_string());
    assert_eq!(r.labels, [pair("team", "host"), pair("severity", "none"), pair("x", "1")]);
    let labels: Vec<_> = a.labels.iter().map(|(n, t)| pair(n, t.text())).collect();
    assert_eq!(labels, [pair("team", "host"), pair("severity", "page")]);
    assert_eq!((a.hold, a.keep_firing), (Duration::from_secs(300), Duration::from_secs(3600)));
}

#[test]
fn everything_that_is_wrong_is_said_in_one_go_with_its_place() {
    let (groups, faults) = read(
        "groups:
- name: g
  intervall: 5s
  interval: soon
  limit: many
  rules:
  - record: a
    alert: B
    expr: up
  - expr: up
  - alert: NoExpr
  - record: \"sum(up)\"
    expr: up
  - record: up{job=\"x\"}
    expr: up
  - record: ok
    expr: up
    for: 5m
    annotations: {a: b}
  - alert: C
    expr: sum(raate(up[5m]))
    for: 5 minutes
    lables: {a: b}
    labels:
      bad-name: x
      alertname: y
      severity: \"{{ $label.x }}\"
    annotations:
      summary: |
        first
        then {{ humanise $value }}
  - just text
- name: g
- [1]
extra: 1
",
    );
    assert_eq!(
        faults,
        [
            "r.yaml:35:1: unknown key \"extra\", known here: groups",
            "r.yaml:3:3: unknown key \"intervall\", did you mean \"interval\"?",
            "r.yaml:4:13: \"soon\" is not a duration: write a number with a unit, such as 500ms, 15s, 5m, 1h30m or 2d",
            "r.yaml:5:10: expected a whole number from -9223372036854775808 to 9223372036854775807, found many",
            "r.yaml:7:5: a rule has either record or alert, not both",
            "r.yaml:10:5: a rule needs either record or alert",
            "r.yaml:11:5: a rule needs expr",
            "r.yaml:12:13: warning: \"sum(up)\" is a name only for Prometheus 3, in quotes, and not on /metrics: others have letters, digits, _ and, in metrics, :",
            "r.yaml:14:13: \"up{job=\\\"x\\\"}\" cannot be a metric name: a selector with braces belongs into expr",
            "r.yaml:18:5: for has no meaning in a recording rule",
            "r.yaml:19:5: annotations has no meaning in a recording rule",
            "r.yaml:23:5: unknown key \"lables\", did you mean \"labels\"?",
            "r.yaml:21:15: expr: unknown function raate(), did you mean rate()?",
            "r.yaml:25:7: warning: \"bad-name\" is a name only for Prometheus 3, in quotes, and not on /metrics: others have letters, digits, _ and, in metrics, :",
            "r.yaml:26:7: warning: the label alertname is the name of the alert, whatever is said here",
            "r.yaml:22:10: \"5 minutes\" is not a duration: write a number with a unit, such as 500ms, 15s, 5m, 1h30m or 2d",
            "r.yaml:27:21: template of \"severity\": undefined variable \"$label\"",
            "r.yaml:31:17: template of \"summary\": function \"humanise\" not defined, did you mean \"humanize\"?",
            "r.yaml:32:5: expected a rule: a mapping with record or alert, and expr, found just text",
            "r.yaml:33:9: the group name \"g\" is repeated in the same file",
            "r.yaml:34:3: expected a group: a mapping with name and rules, found a list",
        ]
    );
    assert_eq!(groups[0].rules.len(), 1, "the one whose name is unusual");
}

#[test]
fn a_duplicate_rule_is_named_with_its_first_place() {
    let (groups, faults) = read(
        "groups:
- name: a
  rules:
  - record: x
    expr: up
  - record: x
    expr:  up
  - alert: A
    expr: up == 0
  - alert: A
    expr: up == 1
  - alert: A
    expr: up == 1
    labels: {severity: page}
- name: b
  rules:
  - record: x
    expr: up
",
    );
    assert_eq!(
        faults,
        [
            "r.yaml:6:5: warning: duplicate rule: record x with the same expression and labels is in line 4 already",
            "r.yaml:10:5: warning: duplicate rule: alert A with the same labels is in line 8 already; give one a label of its own",
            "r.yaml:17:5: warning: duplicate rule: record x with the same labels is in line 4 already; give one a label of its own",
        ]
    );
    assert_eq!(groups.len(), 2);
}

#[test]
fn what_prometheus_takes_is_taken() {
    let (groups, faults) = read(
        "groups:
- name: g
  limit: -1
  rules:
  - {record: a, expr: up, for: 0s, annotations: {}, labels: {alertname: x}}
  - {alert: B, expr: up, labels: {alertname: other, a.b: '{{ $value }}'}, annotations: {run-book: x}}
",
    );
    assert!(faults.len() == 3 && faults.iter().all(|f| f.contains(": warning: ")), "{faults:#?}");
    assert_eq!((groups[0].limit, groups[0].rules.len()), (0, 2));
}

#[test]
fn what_is_not_a_rule_file_is_said() {
    for (text, fault) in [
        ("just text", "r.yaml:1:1: expected a mapping with the key groups, found just text"),
        ("groups: 5", "r.yaml:1:9: expected a list of groups, found 5"),
        ("groups: [{name: a, rules: 5}]", "r.yaml:1:27: expected a list of rules, found 5"),
        ("groups: [{name: a, rules: [{record: a, expr: [1]}]}]", "r.yaml:1:46: expected an expression, found a list"),
    ] {
        assert_eq!(read(text).1, [fault], "{text}");
    }
    for empty in ["", "groups:", "groups: []", "# nothing"] {
        assert_eq!(read(empty).1, [""; 0], "{empty}");
    }
}

#[test]
fn the_place_within_an_expression_or_a_text_of_several_lines_is_found() {
    let (_, faults) = read(
        "groups:
- name: g
  rules:
  - alert: A
    expr: |
      sum(
        rate(x[5m]) +
        raate(y[5m])
      )
    annotations:
      plain: \"é {{ $nope }}\"
      folded: >
        one
        {{ $nope }}
  - record: r
    expr: x[5m]
",
    );
    assert_eq!(
        faults,
        [
            "r.yaml:8:9: expr: unknown function raate(), did you mean rate()?",
            "r.yaml:11:20: template of \"plain\": undefined variable \"$nope\"",
            "r.yaml:13:9: template of \"folded\": undefined variable \"$nope\"",
            "r.yaml:16:11: expr: a rule needs an instant vector or a scalar, this is a range vector",
        ]
    );
}

#[test]
fn no_file_makes_it_panic() {
    let whole = include_str!("../testdata/collection.yaml");
    // Each rule's expression and texts are parsed too.
    let good: Vec<String> = (0..8).map(|i| whole.chars().skip(600 * i).take(700).collect()).collect();
    let good: Vec<String> = good
        .iter()
        .enumerate()
        .map(|(i, part)| match i {
            0 => part.clone(),
            _ => format!("groups:\n- name: g\n  rules:\n{}", part.split_once("\n").map_or("", |(_, rest)| rest)),
        })
        .collect();
    Fuzz::of(&good).heap(16 << 20).texts(|text| {
        read(text);
    });
}
