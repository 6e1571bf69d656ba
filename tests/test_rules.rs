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
