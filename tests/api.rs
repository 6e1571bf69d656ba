//! The HTTP API as its clients use it: promtool, Grafana's data source, a real Prometheus in comparison, and many at a
//! time.

mod common;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use common::{Agent, Prometheus, SOON, Setup, eventually, form, peer, post_form, request};

const RULES: &str = "
stock_rules: false
groups:
  - name: test
    interval: 1s
    limit: 7
    rules:
      - {record: 'test:up', expr: up * 2, labels: {kind: recorded}}
      - alert: Always
        expr: up == 1
        for: 1h
        labels: {severity: info}
        annotations: {summary: 'up is {{ $value }}'}
      - {alert: Firing, expr: vector(2.5), keep_firing_for: 5m}
      - {alert: Never, expr: up == 0}
";

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

/// An agent that has sampled for some seconds and evaluated its rules.
fn started() -> Agent {
    let agent = Setup::new(RULES).start();
    eventually("some seconds of history", SOON, || {
        let answer = get(&agent, "query", &[("query", "count_over_time(up[1m]) >= 4 and on() test:up")]);
        (!answer["result"].as_array()?.is_empty()).then_some(())
    });
    agent
}

/// The data of a good answer.
fn get(agent: &Agent, path: &str, pairs: &[(&str, &str)]) -> Value {
    let answer = agent.get(&format!("/api/v1/{path}?{}", form(pairs)));
    assert_eq!(answer.status, 200, "{path} {pairs:?}: {}", answer.text());
    answer.json()["data"].clone()
}

#[test]
fn queries_see_what_is_sampled_and_what_rules_make_of_it() {
    let agent = started();
    let value = |query: &str| get(&agent, "query", &[("query", query)])["result"][0]["value"][1].clone();
    assert_eq!(value("up"), "1");
    assert_eq!(value("test:up{kind=\"recorded\"}"), "2");
    assert_eq!(value("ALERTS{alertname=\"Firing\",alertstate=\"firing\"}"), "1");
    assert_eq!(value("count(node_cpu_seconds_total{mode=\"idle\"}) > bool 0"), "1");
    let start = format!("{}", now() - 3.0);
    let range = get(
        &agent,
        "query_range",
        &[("query", "sum(up)"), ("start", &start), ("end", &now().to_string()), ("step", "500ms")],
    );
    assert!(range["result"][0]["values"].as_array().unwrap().len() >= 6, "{range}");
}

#[test]
fn rules_and_alerts_are_listed_as_prometheus_lists_them() {
    let agent = started();
    let groups = get(&agent, "rules", &[])["groups"].clone();
    let group = &groups[0];
    assert_eq!((&group["name"], &group["interval"], &group["limit"]), (&json!("test"), &json!(1.0), &json!(7)));
    let rules = group["rules"].as_array().unwrap();
    let of = |name: &str| rules.iter().find(|r| r["name"] == name).unwrap();
    let recorded = of("test:up");
    assert_eq!((&recorded["type"], &recorded["health"]), (&json!("recording"), &json!("ok")));
    assert_eq!(recorded["labels"], json!({"kind": "recorded"}));
    let always = of("Always");
    assert_eq!(
        (&always["type"], &always["state"], &always["duration"]),
        (&json!("alerting"), &json!("pending"), &json!(3600.0))
    );
    assert_eq!(always["query"], "up == 1");
    assert_eq!(always["annotations"], json!({"summary": "up is {{ $value }}"}));
    let alert = &always["alerts"][0];
    assert_eq!((&alert["state"], &alert["value"]), (&json!("pending"), &json!("1e+00")));
    assert_eq!(alert["annotations"], json!({"summary": "up is 1"}));
    assert!(alert["activeAt"].as_str().unwrap().ends_with('Z') && alert["labels"]["job"] == "node");
    assert_eq!((&of("Firing")["state"], &of("Firing")["keepFiringFor"]), (&json!("firing"), &json!(300.0)));
    assert_eq!((&of("Never")["state"], &of("Never")["alerts"]), (&json!("inactive"), &json!([])));

    let alerts = get(&agent, "alerts", &[])["alerts"].clone();
    let values: BTreeSet<&str> = alerts.as_array().unwrap().iter().filter_map(|a| a["value"].as_str()).collect();
    assert_eq!(values, BTreeSet::from(["1e+00", "2.5e+00"]));

    let names = |pairs: &[(&str, &str)]| -> Vec<Value> {
        let groups = get(&agent, "rules", pairs)["groups"].clone();
        let rules = groups.as_array().unwrap().iter().flat_map(|g| g["rules"].as_array().unwrap().clone());
        rules.map(|r| r["name"].clone()).collect()
    };
    assert_eq!(names(&[("type", "record")]), ["test:up"]);
    assert_eq!(names(&[("type", "alert"), ("rule_name[]", "Never"), ("rule_name[]", "test:up")]), ["Never"]);
    assert_eq!(names(&[("match[]", "{severity=\"info\"}")]), ["Always"]);
    assert_eq!(names(&[("rule_group[]", "other")]), Vec::<Value>::new());
    assert_eq!(get(&agent, "rules", &[("exclude_alerts", "true")])["groups"][0]["rules"][1]["alerts"], Value::Null);
}

#[test]
fn groups_of_rules_come_in_pages() {
    let groups: String =
        (0..5).map(|n| format!("  - {{name: g{n}, rules: [{{record: 'r:{n}', expr: vector({n})}}]}}\n")).collect();
    let agent = Setup::new(&format!("stock_rules: false\ngroups:\n{groups}")).start();
    eventually("the rules are shown", SOON, || {
        (get(&agent, "rules", &[])["groups"].as_array()?.len() == 5).then_some(())
    });
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let page = match token.as_str() {
            "" => get(&agent, "rules", &[("group_limit", "2")]),
            token => get(&agent, "rules", &[("group_limit", "2"), ("group_next_token", token)]),
        };
        seen.extend(page["groups"].as_array().unwrap().iter().map(|g| g["name"].clone()));
        match page["groupNextToken"].as_str() {
            Some(next) => token = next.to_string(),
            None => break,
        }
    }
    assert_eq!(seen, ["g0", "g1", "g2", "g3", "g4"]);
    let wrong = agent.get("/api/v1/rules?group_limit=2&group_next_token=zz");
    assert_eq!((wrong.status, &wrong.json()["errorType"]), (400, &json!("bad_data")));
}

#[test]
fn an_expression_as_deep_as_may_be_does_no_harm() {
    let agent = Setup::new("stock_rules: false\n").start();
    for (before, within, behind) in [("(", "1", ")"), ("abs(", "x", ")"), ("sum(", "x", ")"), ("-(", "x", ")")] {
        for depth in [45, 90, 20_000] {
            let text = format!("{}{within}{}", before.repeat(depth), behind.repeat(depth));
            for endpoint in ["query", "format_query", "query_exemplars"] {
                let answer = post_form(agent.port, &format!("/api/v1/{endpoint}"), &form(&[("query", &text)])).unwrap();
                assert!(answer.status == 200 || (depth > 45 && answer.status == 400), "{}", answer.text());
            }
        }
    }
}

#[test]
fn promtool_asks_an_agent() {
    let Some(promtool) = peer("promtool") else { return };
    let agent = started();
    let url = format!("http://127.0.0.1:{}", agent.port);
    let ask = |args: &[&str]| {
        let (first, rest) = args.split_at(2);
        let output = Command::new(&promtool).args(first).arg(&url).args(rest).output().expect("promtool starts");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "promtool {args:?}: {err}");
        out.into_owned()
    };
    let instant = ask(&["query", "instant", "up"]);
    assert!(instant.starts_with("up{") && instant.contains("job=\"node\"} => 1 @["), "{instant}");
    let range = ask(&["query", "range", "--step=1s", "test:up"]);
    assert!(range.contains("kind=\"recorded\"") && range.contains("\n2 @["), "{range}");
    let series = ask(&["query", "series", "--match=up", "--match=test:up"]);
    assert_eq!(series.lines().count(), 2, "{series}");
    let labels = ask(&["query", "labels", "alertname"]);
    assert_eq!(labels, "Always\nFiring\n");
    let wrong = Command::new(&promtool).args(["query", "instant", &url, "up +"]).output().expect("promtool starts");
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("bad_data"));
}

/// What Grafana's Prometheus data source asks (versions 10 to 12): method, path, parameters, and whether the data is
/// what it wants.
type Asked<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>, fn(&Value) -> bool);

#[test]
fn grafana_takes_an_agent_as_a_data_source() {
    let agent = started();
    let (start, end) = ((now() - 60.0).floor().to_string(), now().ceil().to_string());
    let (from, to) = (("start", start.as_str()), ("end", end.as_str()));
    let requests: Vec<Asked<'_>> = vec![
        // "Save & test", and what kind of server it is.
        ("POST", "query", vec![("query", "1+1"), ("time", &end)], |d| d["result"][1] == "2"),
        ("GET", "status/buildinfo", vec![], |d| {
            let version = d["version"].as_str().unwrap_or_default();
            let major = version.split('.').next().and_then(|v| v.parse::<u32>().ok());
            major.is_some_and(|v| v >= 3) && d["features"].is_null() && d["application"].is_null()
        }),
        // Panels and Explore: a table, a graph, exemplars beside it.
        ("POST", "query", vec![("query", "up{job=\"node\"}"), ("time", &end)], |d| d["resultType"] == "vector"),
        (
            "POST",
            "query_range",
            vec![("query", "rate(node_cpu_seconds_total{mode=\"idle\"}[1m])"), from, to, ("step", "15")],
            |d| d["resultType"] == "matrix" && d["result"][0]["metric"]["cpu"].is_string(),
        ),
        ("GET", "query_exemplars", vec![("query", "up"), from, to], |d| d.as_array().is_some_and(Vec::is_empty)),
        ("POST", "query_exemplars", vec![("query", "up"), from, to], |d| d.as_array().is_some_and(Vec::is_empty)),
        // The query editor and variables: names, values, series, help texts.
        ("GET", "labels", vec![from, to], |d| has_item(d, "__name__")),
        ("POST", "labels", vec![from, to, ("match[]", "up"), ("limit", "40000")], |d| {
            *d == json!(["__name__", "instance", "job"])
        }),
        ("GET", "label/__name__/values", vec![from, to, ("limit", "40000")], |d| has_item(d, "node_load1")),
        ("GET", "label/mode/values", vec![from, to, ("match[]", "{__name__=\"node_cpu_seconds_total\"}")], |d| {
            has_item(d, "idle")
        }),
        ("GET", "label/U__job/values", vec![from, to], |d| has_item(d, "node")),
        ("GET", "series", vec![from, to, ("match[]", "up")], |d| d[0]["__name__"] == "up"),
        ("POST", "series", vec![from, to, ("match[]", "{__name__=~\"node_load.*\"}")], |d| {
            d.as_array().is_some_and(|l| l.len() == 3)
        }),
        ("GET", "metadata", vec![("limit", "40000")], |d| d["node_load1"][0]["type"] == "gauge"),
        ("GET", "metadata", vec![("metric", "node_forks_total")], |d| d["node_forks_total"][0]["type"] == "counter"),
        // The list of alert rules.
        ("GET", "rules", vec![], |d| d["groups"][0]["rules"][0]["type"] == "recording"),
        ("GET", "alerts", vec![], |d| d["alerts"].is_array()),
    ];
    for (method, path, pairs, is_wanted) in &requests {
        let target = format!("/api/v1/{path}");
        let answer = match *method {
            "POST" => post_form(agent.port, &target, &form(pairs)).expect("an answer"),
            _ => agent.get(&format!("{target}?{}", form(pairs))),
        };
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        let answer = answer.json();
        assert!(answer["status"] == "success" && is_wanted(&answer["data"]), "{method} {path} {pairs:?}: {answer}");
    }
}

fn has_item(list: &Value, item: &str) -> bool {
    list.as_array().is_some_and(|list| list.iter().any(|v| v == item))
}

/// Every path of an answer with the type of what is there; elements of a list are one, as are the values of a map whose
/// keys are data.
fn structure(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    const MAPS: [&str; 7] =
        ["metric", "labels", "annotations", "discoveredLabels", "target", "droppedTargetCounts", "flags"];
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    };
    found.insert(format!("{path}: {kind}"));
    match value {
        Value::Array(list) => list.iter().for_each(|item| structure(item, &format!("{path}[]"), found)),
        Value::Object(map) => {
            let last = path.rsplit(['.', '[']).next().unwrap_or_default();
            for (key, item) in map {
                let key = if MAPS.contains(&last) || path.ends_with("metadata") { "*" } else { key };
                structure(item, &format!("{path}.{key}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn every_answer_has_the_structure_of_a_real_prometheus() {
    let Some(program) = peer("prometheus") else { return };
    let agent = started();
    let rules = std::env::temp_dir().join(format!("watchfire-api-{}.yml", agent.port));
    let groups = RULES.split_once("groups:").expect("rules").1;
    std::fs::write(&rules, format!("groups:{groups}")).expect("a file is written");
    let prometheus = Prometheus::start_with(program, &agent, &format!("rule_files: ['{}']\n", rules.display()));
    let with_alerts = "count(ALERTS) >= 2 and on() test:up and on() (count_over_time(up[1m]) > 3)";
    eventually("Prometheus has scraped and evaluated", Duration::from_secs(60), || prometheus.value(with_alerts));
    let _ = std::fs::remove_file(rules);
    // Added by later versions than Debian's, or of the server's own.
    let extra = [
        "rules.groups[].rules[].keepFiringFor: number",
        "buildinfo.watchfireVersion: string",
        "runtimeinfo.CWD: string",
        "runtimeinfo.hostname: string",
        "runtimeinfo.serverTime: string",
        "runtimeinfo.GOMEMLIMIT: number",
        "targets.droppedTargetCounts: null",
        "targets.droppedTargetCounts: object",
        "targets.droppedTargetCounts.*: number",
    ];
    let time = now().to_string();
    let start = (now() - 3.0).to_string();
    let range = format!("start={start}&end={time}&step=1");
    for (name, target) in [
        ("vector", "query?query=up".to_string()),
        ("matrix", "query?query=up%5B5s%5D".to_string()),
        ("scalar", format!("query?query=1&time={time}")),
        ("string", "query?query=%22a%22".to_string()),
        ("range", format!("query_range?query=up&{range}")),
        ("nothing", "query?query=none".to_string()),
        ("series", "series?match[]=up".to_string()),
        ("labels", "labels".to_string()),
        ("values", "label/job/values".to_string()),
        ("rules", "rules".to_string()),
        ("alerts", "alerts".to_string()),
        ("metadata", "metadata?metric=node_load1".to_string()),
        ("targets", "targets?state=active".to_string()),
        ("targetmetadata", "targets/metadata?metric=node_load1".to_string()),
        ("alertmanagers", "alertmanagers".to_string()),
        ("exemplars", format!("query_exemplars?query=up&{range}")),
        ("format", "format_query?query=up".to_string()),
        ("buildinfo", "status/buildinfo".to_string()),
        ("runtimeinfo", "status/runtimeinfo".to_string()),
        ("config", "status/config".to_string()),
        ("tsdb", "status/tsdb".to_string()),
        ("walreplay", "status/walreplay".to_string()),
        ("badquery", "query?query=up%2B".to_string()),
        ("badtime", "query?query=up&time=x".to_string()),
        ("badstep", "query_range?query=up&start=0&end=1&step=0".to_string()),
        ("badmatch", "series".to_string()),
        ("execution", "query?query=up+%2B+on(x)+group_left()+(up+or+test:up)".to_string()),
    ] {
        let target = format!("/api/v1/{target}");
        let (ours, theirs) = (agent.get(&target), prometheus.get(&target));
        assert_eq!(ours.status, theirs.status, "{target}: {} {}", ours.text(), theirs.text());
        let of = |answer: Value| {
            let mut found = BTreeSet::new();
            structure(&answer["data"], name, &mut found);
            let keys = answer.as_object().expect("an object").keys().map(|k| format!("{k} of the answer"));
            found.extend(keys);
            found.insert(format!("errorType {}", answer["errorType"]));
            found
        };
        let (ours, theirs) = (of(ours.json()), of(theirs.json()));
        let missing: Vec<&String> = theirs.difference(&ours).collect();
        let beyond: Vec<&String> = ours.difference(&theirs).filter(|path| !extra.contains(&path.as_str())).collect();
        assert!(missing.is_empty() && beyond.is_empty(), "{target}: not there {missing:?}, beyond {beyond:?}");
    }
}

#[test]
fn ticks_are_on_time_while_many_clients_ask_for_much() {
    let agent = started();
    let missed = |agent: &Agent| agent.metrics().value("watchfire_ticks_missed_total", &[]).expect("it is served");
    let before = missed(&agent);
    let stop = AtomicBool::new(false);
    let heavy = "count(last_over_time(last_over_time({__name__=~\".+\"}[30s])[1m:1s]))";
    let target = format!("/api/v1/query?{}", form(&[("query", heavy), ("timeout", "5s")]));
    let began = Instant::now();
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let ask = || {
            let mut statuses = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let answer = request(agent.port, "GET", &target, &[]).expect("an answer");
                assert!(answer.json()["status"].is_string());
                statuses.push(answer.status);
            }
            statuses
        };
        let clients: Vec<_> = (0..20).map(|_| scope.spawn(ask)).collect();
        std::thread::sleep(Duration::from_secs(8));
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|c| c.join().expect("no panic")).collect()
    });
    assert!(answers.len() >= 20 && answers.iter().all(|s| matches!(s, 200 | 503)), "{answers:?}");
    // Machines that build while they test may lose one all the same.
    assert!(missed(&agent) - before <= 1.0, "{} ticks missed", missed(&agent) - before);
    let seconds = began.elapsed().as_secs();
    let up = get(&agent, "query", &[("query", &format!("count_over_time(up[{seconds}s])"))]);
    let samples: f64 = up["result"][0]["value"][1].as_str().and_then(|v| v.parse().ok()).expect("a count");
    assert!(samples >= seconds as f64 - 2.0, "{samples} samples in {seconds} s");
}

#[test]
fn a_query_ends_when_its_client_goes_away() {
    let agent = started();
    let endless = "count(last_over_time(last_over_time({__name__=~\".+\"}[1m])[5m:10ms]))";
    let target = format!("/api/v1/query?{}", form(&[("query", endless)]));
    let gone = common::request_to(agent.port, "GET", &target, &[], Duration::from_millis(500));
    assert!(gone.is_err(), "it takes longer than the client waits");
    agent.wait_for("watchfire_queries_total", &[("outcome", "canceled")], |n| n == 1.0);
    agent.wait_for("watchfire_queries_running", &[], |n| n == 0.0);
}
