//! Alertmanager's side: a process for each case.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::cases::Case;
use super::common::{Child, Receiver, SOON, eventually, free_port, post_json, request};
use super::payload::Message;
use super::script::{AGE, LENGTH, Script, Step, labels};

pub struct Peer {
    port: u16,
    /// When it was ready.
    born: Instant,
    _child: Child,
    _dir: TempDir,
}

/// The configuration with times in units of `unit` seconds.
pub fn filled(case: &Case, hook: &str, unit: f64) -> String {
    // The default is in minutes, whoever's they are.
    let whole = match case.config.contains("resolve_timeout") {
        true => case.config.to_string(),
        false => format!("global: {{resolve_timeout: <300>}}\n{}", case.config),
    };
    let mut out = String::new();
    let mut rest = whole.as_str();
    while let Some((before, after)) = rest.split_once('<') {
        out += before;
        match after.split_once('>').and_then(|(time, rest)| Some((time.parse::<f64>().ok()?, rest))) {
            Some((time, after)) => {
                out += &format!("{}ms", (time * unit * 1000.0).round());
                rest = after;
            }
            None => {
                out.push('<');
                rest = after;
            }
        }
    }
    out += rest;
    // "Etc/GMT-3" is three hours east.
    let hour = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() / 3600 % 24;
    let zone = if hour <= 12 { format!("Etc/GMT-{}", 12 - hour) } else { format!("Etc/GMT+{}", hour - 12) };
    out.replace("HOOK", hook).replace("NOON", &zone)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

fn rfc3339(seconds: f64) -> String {
    jiff::Timestamp::from_millisecond((seconds * 1000.0).round() as i64).expect("a time of our days").to_string()
}

impl Peer {
    pub fn start(program: &Path, case: &Case, hook: &Receiver) -> Peer {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("alertmanager.yml");
        fs::write(&file, filled(case, &hook.url(&format!("/{}", case.name)), 1.0)).expect("a file is written");
        let port = free_port();
        let mut child = Child::spawn(
            Command::new(program)
                .arg(format!("--config.file={}", file.display()))
                .arg(format!("--storage.path={}", dir.path().join("data").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .args(["--web.external-url=http://host.example:9093", "--web.route-prefix=/"])
                .arg("--cluster.listen-address="),
        );
        eventually("Alertmanager is ready", SOON, || {
            assert!(child.ended().is_none(), "{}: Alertmanager has ended: {}", case.name, child.log());
            request(port, "GET", "/-/ready", &[]).ok().filter(|r| r.status == 200)
        });
        Peer { port, born: Instant::now(), _child: child, _dir: dir }
    }

    fn post(&self, target: &str, body: &Value) -> Value {
        let answer = post_json(self.port, target, &body.to_string()).expect("Alertmanager answers");
        assert_eq!(answer.status, 200, "{target} {body}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
    }

    /// Plays a script in real time; what came at the webhooks.
    pub fn play(&self, case: &Case, script: &Script, hook: &Receiver) -> Vec<Message> {
        std::thread::sleep(Duration::from_secs_f64(AGE).saturating_sub(self.born.elapsed()));
        let (began, epoch) = (Instant::now(), now());
        let wait = |until: f64| std::thread::sleep((Duration::from_secs_f64(until)).saturating_sub(began.elapsed()));
        let mut silences: Vec<String> = Vec::new();
        for (at, step) in &script.steps {
            wait(*at);
            match step {
                Step::Tell(alerts) => {
                    let alert = |(which, starts, ends): &(usize, f64, Option<f64>)| {
                        let labels: serde_json::Map<String, Value> =
                            labels(*which).into_iter().map(|(n, v)| (n.to_string(), Value::from(v))).collect();
                        let mut alert = json!({
                            "labels": labels,
                            "annotations": {"summary": format!("alert {which}")},
                            "generatorURL": "http://host.example:9093/graph?g0.expr=up&g0.tab=1",
                            "startsAt": rfc3339(epoch + starts),
                        });
                        if let Some(ends) = ends {
                            alert["endsAt"] = rfc3339(epoch + ends).into();
                        }
                        alert
                    };
                    self.post("/api/v2/alerts", &alerts.iter().map(alert).collect());
                }
                Step::Silence(number, matchers, from, to) => {
                    assert_eq!(*number, silences.len());
                    let matcher = |(name, value, is_regex, is_equal): &(&str, &str, bool, bool)| json!({"name": name, "value": value, "isRegex": is_regex, "isEqual": is_equal});
                    let set = self.post(
                        "/api/v2/silences",
                        &json!({
                            "matchers": matchers.iter().map(matcher).collect::<Vec<_>>(),
                            "startsAt": rfc3339(epoch + from), "endsAt": rfc3339(epoch + to),
                            "createdBy": "test", "comment": "test",
                        }),
                    );
                    silences.push(set["silenceID"].as_str().expect("its id").to_string());
                }
                Step::Expire(number) => {
                    let target = format!("/api/v2/silence/{}", silences[*number]);
                    // One that has expired by itself is not found, or is: it makes no difference.
                    request(self.port, "DELETE", &target, &[]).expect("Alertmanager answers");
                }
            }
        }
        wait(f64::from(LENGTH));
        let prefix = format!("/{}", case.name);
        let message = |post: super::common::Post| {
            let path = post.path.strip_prefix(&prefix).filter(|path| path.starts_with('/'))?;
            let at = post.at.saturating_duration_since(began).as_secs_f64();
            (at <= f64::from(LENGTH)).then(|| Message::new(at, path, post.json, |seconds| seconds - epoch))
        };
        hook.posts().into_iter().filter_map(message).collect()
    }
}
