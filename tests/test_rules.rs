//! `watchfire test rules`: the real program on unit tests of rules, beside promtool.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::{binary, run};

/// The unit tests of Prometheus' own query tests, where they are: `$WATCHFIRE_CONFORMANCE/promql`, or the directory beside
/// the checkout.
fn conformance(suffix: &str) -> Vec<String> {
    let base = std::env::var_os("WATCHFIRE_CONFORMANCE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance"), PathBuf::from);
    let Ok(entries) = fs::read_dir(base.join("promql")) else {
        eprintln!("skipped: there is no conformance directory (WATCHFIRE_CONFORMANCE)");
        return Vec::new();
    };
    let names = entries.map(|e| e.expect("an entry").path().display().to_string());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(suffix)).collect();
    names.sort();
    names
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn what_prometheus_evaluates_gives_what_it_gives_there() {
    let files = conformance(".ok.yaml");
    if files.is_empty() {
        return;
    }
    let began = Instant::now();
    let output = binary().args(["test", "rules"]).args(&files).output().expect("the program runs");
    let said = said(&output);
    let wrong: Vec<&str> = said.lines().filter(|line| !line.ends_with(" tests passed")).collect();
    assert!(output.status.success(), "{} files, exit {:?}:\n{}", files.len(), output.status.code(), wrong.join("\n"));
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[test]
fn what_prometheus_refuses_is_refused() {
    for file in conformance(".fail.yaml") {
        let output = run(&["test", "rules", &file]);
        assert_eq!(output.status.code(), Some(1), "{file}: {}", said(&output));
    }
}

/// A case of `unit_tests.txt`.
struct Case {
    name: String,
    passes: bool,
    /// Whether the promtool of Prometheus 2 does not agree, or does not know what the case uses.
    new: bool,
    path: PathBuf,
}

/// Writes the cases and the rule files into a folder.
fn cases(folder: &Path) -> Vec<Case> {
    let text = include_str!("fixtures/unit_tests.txt");
    let mut cases = Vec::new();
    for part in text.split("\n=== ").skip(1) {
        let (heading, body) = part.split_once('\n').expect("a heading");
        let (verdict, name) = heading.split_once(' ').expect("a verdict and a name");
        let path = match verdict {
            "rules" => folder.join(name),
            _ => folder.join(format!("case-{}.test.yml", cases.len())),
        };
        fs::write(&path, format!("{body}\n")).expect("a file is written");
        if verdict != "rules" {
            let (passes, new) = (verdict.starts_with("pass"), verdict.ends_with('3'));
            assert!(["pass", "fail"].contains(&verdict.trim_end_matches('3')), "{heading}");
            cases.push(Case { name: name.to_string(), passes, new, path });
        }
    }
    cases
}

#[test]
fn each_case_has_its_verdict_and_promtool_says_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases = cases(folder.path());
    assert!(cases.len() >= 60, "{}", cases.len());
    let old = common::peer("promtool");
    // Debian has none of Prometheus 3: who has one says where.
    let new = std::env::var_os("WATCHFIRE_PROMTOOL3").map(PathBuf::from);
    let mut wrong = Vec::new();
    for case in &cases {
        let programs = [
            Some(("watchfire", binary().get_program().into())),
            old.clone().filter(|_| !case.new).map(|path| ("promtool", path)),
            new.clone().map(|path| ("promtool 3", path)),
        ];
        for (name, program) in programs.into_iter().flatten() {
            let mut command = Command::new(program);
            let output = command.args(["test", "rules"]).arg(&case.path).output().expect("it runs");
            if output.status.success() != case.passes {
                wrong.push(format!("{}: {name} says: {}", case.name, said(&output)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_failure_is_shown_with_its_place_and_written_for_other_tools() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("t.yml");
    let junit = folder.path().join("junit.xml");
    fs::write(
        &file,
        "tests:\n- name: some <test>\n  interval: 1m\n  input_series: [{series: up, values: 1x5}]\n  promql_expr_test:\n  \
         - expr: up > 0\n    eval_time: 3m\n    exp_samples: [{labels: up, value: 2}]\n- name: other\n",
    )
    .expect("a file is written");
    let name = file.display().to_string();
    let output = run(&["test", "rules", "--junit", &junit.display().to_string(), &name]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        said(&output),
        format!(
            "{name}:6:11: test \"some <test>\": expr \"up > 0\" at 3m is not as expected\n    - up 2\n    + up 1\n\
             {name}: 1 of 2 tests failed (- expected, + got)\n"
        )
    );
    let xml = fs::read_to_string(&junit).expect("the results");
    for part in [
        "tests=\"2\" failures=\"1\" errors=\"0\"",
        "<testcase name=\"some &lt;test&gt;\"><failure>6:11: expr &#34;up &gt; 0&#34; at 3m is not as expected\n- up 2\n+ up 1</failure></testcase>",
        "<testcase name=\"other\"></testcase></testsuite></testsuites>",
    ] {
        assert!(xml.contains(part), "{part}\n{xml}");
    }
    assert_eq!(run(&["test", "rules", "--run", "other", &name]).status.code(), Some(0));
    assert_eq!(run(&["test", "rules", "--run", "(", &name]).status.code(), Some(2));
    let missing = run(&["test", "rules", &name, "/nowhere/t.yml"]);
    assert!(missing.status.code() == Some(2) && said(&missing).contains("/nowhere/t.yml: cannot read the test file"));
}

/// Rules whose alerts wait, are kept and come again.
const STATES: &str = "groups:
- name: g
  rules:
  - {alert: AtOnce, expr: x > 0}
  - {alert: Held, expr: x > 0, for: 90s}
  - {alert: Kept, expr: x > 0, keep_firing_for: 75s}
  - {alert: HeldAndKept, expr: x > 1, for: 1m, keep_firing_for: 2m, labels: {level: '{{ if gt $value 2.0 }}high{{ else }}low{{ end }}'}}
  - {alert: Summed, expr: sum by (job) (x) > 3, for: 45s, keep_firing_for: 30s}
  - {alert: Other, expr: 'ALERTS{alertname=\"Held\",alertstate=\"firing\"} unless on (i) ALERTS{alertname=\"HeldAndKept\"}', for: 15s}
  - {record: firing, expr: 'count by (alertname, alertstate) (ALERTS)'}
";

/// A test file over random series: what fires, and what is recorded of it, at every evaluation. `expected` gives the lines
/// that are expected at a time, by the name that is asked for.
fn random_states(seed: u64, expected: impl Fn(&str, u64) -> Vec<String>) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) % below
    };
    let mut text =
        "rule_files: [states.yml]\nevaluation_interval: 15s\ntests:\n- interval: 15s\n  input_series:\n".to_string();
    for i in 0..4 {
        let runs = (0..20).map(|_| match random(8) {
            // No gap is as long as a sample counts: where that ends is another instant in Prometheus 2.
            0 => format!("_x{} {}", 1 + random(15), random(4)),
            1 => "stale".to_string(),
            2 => "NaN".to_string(),
            _ => format!("{}x{}", random(4), random(12)),
        });
        let values = runs.collect::<Vec<_>>().join(" ") + " 0x100";
        text += &format!("  - {{series: 'x{{job=\"j\",i=\"{i}\"}}', values: '{values}'}}\n");
    }
    text += "  alert_rule_test:\n";
    for step in 0..100 {
        for name in ["AtOnce", "Held", "Kept", "HeldAndKept", "Summed", "Other"] {
            let alerts: Vec<String> = expected(name, step * 15)
                .iter()
                .map(|labels| {
                    let pairs =
                        labels.trim_matches(['{', '}']).split(", ").filter(|pair| !pair.starts_with("alertname="));
                    let pairs: Vec<String> = pairs.map(|pair| pair.replacen('=', ": ", 1)).collect();
                    format!("{{exp_labels: {{{}}}}}", pairs.join(", "))
                })
                .collect();
            text +=
                &format!("  - {{eval_time: {}s, alertname: {name}, exp_alerts: [{}]}}\n", step * 15, alerts.join(", "));
        }
    }
    text += "  promql_expr_test:\n";
    for step in 0..100 {
        for name in ["ALERTS", "ALERTS_FOR_STATE", "firing"] {
            let samples: Vec<String> = expected(name, step * 15)
                .iter()
                .filter_map(|line| line.rsplit_once(' '))
                .map(|(labels, value)| format!("{{labels: '{labels}', value: {value}}}"))
                .collect();
            text +=
                &format!("  - {{expr: {name}, eval_time: {}s, exp_samples: [{}]}}\n", step * 15, samples.join(", "));
        }
    }
    text
}

#[test]
fn alerts_wait_fire_and_are_kept_at_the_same_instants_as_in_prometheus() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("states.test.yml");
    fs::write(folder.path().join("states.yml"), STATES).expect("the rules");
    let new = std::env::var_os("WATCHFIRE_PROMTOOL3").map(PathBuf::from);
    let peers: Vec<PathBuf> = common::peer("promtool").into_iter().chain(new).collect();
    for seed in 1..=6 {
        // What there is, as the complaints that nothing was expected say it.
        fs::write(&file, random_states(seed, |_, _| Vec::new())).expect("the tests");
        let said = said(&run(&["test", "rules", &file.display().to_string()]));
        let mut found: std::collections::BTreeMap<(String, u64), Vec<String>> = Default::default();
        let mut at = None;
        for line in said.lines() {
            if let Some((_, what)) = line.split_once("test \"unnamed#0\": ") {
                let mut words = what.split(' ').skip(1);
                let name = words.next().unwrap_or_default().trim_matches('"').to_string();
                let time = words.nth(1).and_then(|t| watchfire::model::parse_duration(t).ok()).expect(line);
                at = Some((name, time.as_secs()));
            } else if let (Some(line), Some(at)) = (line.strip_prefix("    + "), &at) {
                found.entry(at.clone()).or_default().push(line.to_string());
            }
        }
        let count = |name: &str| found.keys().filter(|(n, _)| n == name).count();
        assert!(count("HeldAndKept") > 5 && count("Other") > 0 && count("firing") > 50, "seed {seed}: {found:#?}");
        let expected = |name: &str, time: u64| found.get(&(name.to_string(), time)).cloned().unwrap_or_default();
        fs::write(&file, random_states(seed, expected)).expect("the tests");
        for program in peers.iter().cloned().chain([binary().get_program().into()]) {
            let output = Command::new(&program).args(["test", "rules"]).arg(&file).output().expect("it runs");
            assert!(output.status.success(), "seed {seed}: {}: {}", program.display(), self::said(&output));
        }
    }
}

#[test]
fn the_rules_of_the_world_are_valid_for_promtool_too() {
    let Some(promtool) = common::peer("promtool") else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rules/testdata/world");
    let files = fs::read_dir(folder).expect("the rules").map(|e| e.expect("a file").path().display().to_string());
    let files: Vec<String> = files.collect();
    let output = Command::new(promtool).args(["check", "rules"]).args(&files).output().expect("promtool runs");
    assert!(output.status.success(), "{}", said(&output));
    let mut ours = vec!["check", "rules"];
    ours.extend(files.iter().map(String::as_str));
    assert_eq!(run(&ours).status.code(), Some(0));
}

#[test]
fn a_running_agent_evaluates_the_rules_of_the_world_over_its_own_host() {
    let world = concat!(env!("CARGO_MANIFEST_DIR"), "/src/rules/testdata/world/*.yml");
    let agent = common::Setup::new(&format!("rule_files: ['{world}']\n")).start();
    let sum = |metrics: &common::Metrics, name| metrics.samples(name, &[]).map(|(_, value)| value).sum::<f64>();
    common::eventually("thousands of rules are evaluated", common::SOON, || {
        Some(agent.metrics()).filter(|metrics| sum(metrics, "watchfire_rule_evaluations_total") > 2_000.0)
    });
    // A machine that does much else may be too slow for a rule.
    let log = agent.log();
    let failed = |line: &&str| line.contains("rule failed") && !line.contains("it took longer than");
    assert_eq!(log.lines().find(failed), None);
}

#[test]
fn what_is_probably_wrong_with_rules_is_a_warning_and_a_failure_only_where_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).expect("a file is written");
        folder.path().join(name).display().to_string()
    };
    let slips = file(
        "slips.yml",
        "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: node_laod1 > 5 and on (instance) busy > 1\n  - alert: A\n    \
         expr: node_laod1 > 5 and on (instance) busy > 1\n",
    );
    let records = file("records.yml", "groups: [{name: g, rules: [{record: busy, expr: node_load1}]}]\n");
    let checked = run(&["check", "rules", &slips, &records]);
    let text = said(&checked);
    assert!(checked.status.success(), "{text}");
    let place = format!("{slips}:5:11: warning: no collector and no rule gives node_laod1");
    assert!(text.contains(&place) && text.contains("did you mean node_load1?\n    5 |     expr: node_laod1"), "{text}");
    assert!(text.contains("6:5: warning: duplicate rule: alert A") && !text.contains("gives busy"), "{text}");

    for (flags, code, part, without) in [
        (&["--lint-fatal"][..], 3, "node_laod1", "never"),
        (&["--strict", "--lint=all"], 3, "node_laod1", "never"),
        (&["--lint=none", "--lint-fatal"], 0, "valid, 2 rules", "warning"),
        (&["--lint=duplicate-rules", "--lint-fatal"], 3, "duplicate rule", "no collector"),
        (&["--lint=duplicate-rules,all"], 0, "no collector", "never"),
    ] {
        let checked = run(&[&["check", "rules"], flags, &[&slips, &records]].concat());
        let text = said(&checked);
        assert!(
            checked.status.code() == Some(code) && text.contains(part) && !text.contains(without),
            "{flags:?}: {text}"
        );
    }

    let more = file("more.yml", "groups: [{name: g, owner: me, rules: [{record: a, expr: up, note: x}]}]\n");
    assert_eq!(run(&["check", "rules", &more]).status.code(), Some(2));
    assert_eq!(run(&["check", "rules", "--ignore-unknown-fields", &more]).status.code(), Some(0));

    let config = file(
        "watchfire.yaml",
        "global: {job: host, scrape_interval: 15s, evaluation_interval: 15s}\nrule_files: [records.yml]\ngroups:\n- name: own\n  \
         rules:\n  - {alert: B, expr: 'rate(node_context_switches_total{job=\"node\"}[20s]) > busy'}\n",
    );
    let text = said(&run(&["check", "config", &config]));
    for part in
        ["job=\"node\" never matches: job is \"host\" here", "a range of 20s holds at most one: they come every 15s"]
    {
        assert!(text.contains(part) && text.contains("watchfire.yaml:6:"), "{part}: {text}");
    }
}
