//! `watchfire backtest`, against a running agent: what is replayed is what the agent itself did.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use common::{Agent, SOON, Setup, eventually, run};

/// Evaluated by the agent, and replayed.
const RULES: &str = "\
groups:
- name: g
  rules:
  - {record: 'temperature:double', expr: temperature * 2}
  - {alert: Hot, expr: 'temperature:double > 100', for: 2s, labels: {severity: page}}
  - {alert: Gone, expr: 'absent(temperature{sensor=\"b\"})', for: 1s}
  - {alert: Cold, expr: 'temperature < -100'}
";

/// An agent that samples every second, and whose metrics a test writes.
struct Host {
    setup: Setup,
    agent: Agent,
}

impl Host {
    fn new(config: &str) -> Host {
        let setup = Setup::new(&format!(
            "stock_rules: false\ncollectors: {{textfile: {{directory: text}}}}\nrule_files: ['*.yml']\n{config}"
        ));
        setup.write("rules.yml", RULES);
        let host = Host { agent: start(&setup), setup };
        host.agent.wait_for("temperature", &[("sensor", "a")], |v| v == 20.0);
        host
    }

    /// The temperatures from now on; the sensor b may be gone.
    fn write(&self, a: i64, b: Option<i64>) {
        write(&self.setup, a, b);
    }

    fn ask(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let url = format!("http://127.0.0.1:{}", self.agent.port);
        let output = run(&[&["backtest", "--url", &url], args].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    fn rules(&self) -> String {
        self.setup.path("rules.yml").display().to_string()
    }

    fn json(&self, args: &[&str]) -> Value {
        let (code, out, err) = self.ask(&[args, &["-o", "json"]].concat());
        assert_eq!(code, Some(0), "{err}");
        serde_json::from_str(&out).expect("JSON")
    }

    /// The times, in milliseconds, at which the agent's own ALERTS say that an alert was in a state.
    fn live(&self, alert: &str, state: &str, until: &str) -> Vec<i64> {
        let query = format!("ALERTS{{alertname=\"{alert}\",alertstate=\"{state}\"}}[10m]");
        let form = form_urlencoded::Serializer::new(String::new()).append_pair("query", &query).finish();
        let answer = self.agent.get(&format!("/api/v1/query?{form}&time={until}"));
        let answer: Value = serde_json::from_str(&answer.text()).expect("JSON");
        let points = answer["data"]["result"][0]["values"].as_array().cloned().unwrap_or_default();
        points.iter().map(|p| (p[0].as_f64().expect("a time") * 1000.0).round() as i64).collect()
    }
}

fn start(setup: &Setup) -> Agent {
    write(setup, 20, Some(20));
    setup.start()
}

fn write(setup: &Setup, a: i64, b: Option<i64>) {
    let b = b.map(|b| format!("temperature{{sensor=\"b\"}} {b}\n")).unwrap_or_default();
    setup.write("text/t.prom", &format!("temperature{{sensor=\"a\"}} {a}\n{b}"));
}

fn millis(time: &Value) -> i64 {
    time.as_str().and_then(|t| t.parse::<jiff::Timestamp>().ok()).expect("a time").as_millisecond()
}

/// The spans of each alert, by its name: state, start, end.
fn spans(json: &Value) -> BTreeMap<String, Vec<(String, i64, i64)>> {
    let mut all: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for rule in json["rules"].as_array().expect("rules") {
        let name = rule["name"].as_str().expect("a name").to_string();
        let spans = all.entry(name).or_default();
        for alert in rule["alerts"].as_array().expect("alerts") {
            for span in alert["spans"].as_array().expect("spans") {
                let state = span["state"].as_str().expect("a state").to_string();
                spans.push((state, millis(&span["start"]), millis(&span["end"])));
            }
        }
    }
    all
}

/// Replays the rules, and holds what comes of it against what the agent did. How many spans there were.
fn agrees(host: &Host) -> (Value, usize) {
    let json = host.json(&[&host.rules(), "--last", "5m"]);
    let ticks: Vec<i64> = json["covered"].as_array().expect("times").iter().map(|c| millis(&c["end"])).collect();
    let end = *ticks.last().expect("a tick");
    let until = format!("{}.{:03}", end / 1000, end % 1000);
    let spans = spans(&json);
    let mut seen = 0;
    for (alert, state) in [("Hot", "pending"), ("Hot", "firing"), ("Gone", "pending"), ("Gone", "firing")] {
        let live = host.live(alert, state, &until);
        let within = |at: &i64| spans[alert].iter().any(|(s, from, to)| s == state && from <= at && at < to);
        let missing: Vec<&i64> = live.iter().filter(|at| !within(at)).collect();
        assert!(missing.is_empty(), "{alert} was {state} at {missing:?}, and not in the replay: {spans:?}");
        for (_, from, to) in spans[alert].iter().filter(|(s, ..)| s == state) {
            assert!(live.contains(from), "{alert} became {state} at {from}, live at {live:?}");
            assert!(!live.contains(to), "{alert} was no longer {state} at {to}, live at {live:?}");
            seen += 1;
        }
    }
    assert_eq!(spans["Cold"], []);
    (json, seen)
}

#[test]
fn a_replay_shows_what_the_agent_did_itself() {
    let host = Host::new("");
    for (a, b, seconds) in [(20, Some(20), 3), (90, Some(20), 5), (20, None, 4), (70, Some(20), 1), (20, Some(20), 3)] {
        host.write(a, b);
        std::thread::sleep(Duration::from_secs(seconds));
    }
    let (json, seen) = agrees(&host);
    assert!(seen >= 5, "each was pending and fired, and Hot was pending once more: {json}");
    assert_eq!(json["rules"][1]["alerts"][0]["worst"]["value"], "180");

    let (code, out, err) = host.ask(&[&host.rules(), "--last", "5m"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("history reaches back to ") && err.contains("not 5m"), "{err}");
    assert!(out.contains("Hot {sensor=\"a\", severity=\"page\"}  for 2s"), "{out}");
    assert!(out.contains('█') && out.contains('▒') && out.contains("|"), "{out}");
    assert!(
        out.ends_with("1 rule was never pending (--all names them)\n2 of 3 rules would have fired, 2 times in all\n"),
        "{out}"
    );
}

#[test]
fn no_sample_is_lost_or_there_twice_where_one_answer_ends_and_the_next_begins() {
    // An answer has 60 ticks at first.
    let host = Host::new("global: {scrape_interval: 100ms, evaluation_interval: 100ms}\n");
    for (a, b) in [(20, Some(20)), (90, Some(20)), (20, None), (20, Some(20)), (90, None), (20, Some(20))] {
        host.write(a, b);
        std::thread::sleep(Duration::from_millis(3500));
    }
    let (json, seen) = agrees(&host);
    assert!(seen >= 8 && json["ticks"].as_u64() > Some(120), "{json}");
    let whole = host.ask(&["--expr", "absent(temperature{sensor=\"a\"})", "--expr", "changes(up[5m]) > 0"]).1;
    assert!(whole.contains("0 of 2 rules would have fired"), "{whole}");
}

#[test]
fn a_threshold_is_tried_at_the_command_line() {
    let host = Host::new("");
    host.write(90, Some(20));
    host.agent.wait_for("temperature", &[("sensor", "a")], |v| v == 90.0);
    let fired = eventually("the hot sensor is in history", SOON, || {
        let (code, out, err) = host.ask(&["--expr", "temperature > 80", "--expr", "temperature > 100", "--for", "1s"]);
        assert_eq!(code, Some(0), "{err}");
        out.contains("1 of 2 rules would have fired, once").then_some(out)
    });
    assert!(fired.contains("temperature > 80 {sensor=\"a\"}  for 1s"), "{fired}");

    let (code, _, err) = host.ask(&["--expr", "rat(temperature[1m])"]);
    assert!(code == Some(2) && err.contains("unknown function rat()") && err.contains("    1 | rat(temp"), "{err}");
    let (code, _, err) = host.ask(&[]);
    assert!(code == Some(2) && err.contains("no rules are named"), "{err}");
    let (code, _, err) = host.ask(&["--stock", "--start", "-10m", "--end", "-20m"]);
    assert!(code == Some(2) && err.contains("nothing lies between"), "{err}");
    let (code, _, err) = host.ask(&["--stock", "--start", "-20m", "--end", "-10m"]);
    assert!(code == Some(1) && err.contains("no samples between"), "{err}");
    let (code, out, err) = host.ask(&["--stock", "--all"]);
    assert!(code == Some(0) && out.contains("HostMemoryLow"), "{out}{err}");
    let config = host.setup.config_file();
    let (code, out, err) = host.ask(&["--config.file", &config]);
    assert!(code == Some(0) && out.contains("of 3 rules would have fired"), "{out}{err}");
}

#[test]
fn faults_of_a_rule_file_are_said_as_the_check_says_them() {
    let setup = Setup::new("");
    setup.write(
        "bad.yml",
        "groups:\n- name: g\n  rules:\n  - {alert: A, expr: 'rat(up)'}\n  - {alert: B, expr: up, fro: 1m}\n",
    );
    let path = setup.path("bad.yml").display().to_string();
    let check = run(&["check", "rules", &path]);
    let backtest = run(&["backtest", "--url", "http://127.0.0.1:1", &path]);
    assert_eq!((check.status.code(), backtest.status.code()), (Some(2), Some(2)));
    assert_eq!(String::from_utf8_lossy(&backtest.stderr).trim(), String::from_utf8_lossy(&check.stderr).trim());
    let nobody = run(&["backtest", "--url", "http://127.0.0.1:1", "--expr", "up == 0"]);
    let said = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(nobody.status.code() == Some(1) && said.contains("no answer from 127.0.0.1:1"), "{said}");
}
