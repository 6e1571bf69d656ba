//! The agent's /api/v2 beside that of Debian's Alertmanager: the same alerts and silences told to both, the same answers.

mod common;

use std::collections::BTreeMap;

use serde_json::Value;

use common::{SOON, Setup, alertmanager, eventually, peer, post_json, request};

const CONFIG: &str = r#"
route:
  receiver: everybody
  group_by: [alertname]
  group_wait: 1s
  group_interval: 1s
  routes:
  - {matchers: ['team="db"'], receiver: db, continue: true}
  - {match_re: {team: 'd.*'}, receiver: night, group_by: ['...']}
receivers:
- {name: everybody, webhook_configs: [{url: 'http://127.0.0.1:1/'}]}
- name: db
- name: night
"#;

const ALERTS: &str = r#"[
  {"labels":{"alertname":"Disk","instance":"a","team":"db"},"annotations":{"summary":"a <b> & \"c\""},
   "startsAt":"2026-01-01T00:00:00Z","endsAt":"2990-01-01T00:00:00.5Z","generatorURL":"http://x/graph?a=b&c"},
  {"labels":{"alertname":"Disk","instance":"b","team":"dx"},"startsAt":"2026-01-01T00:00:00Z","endsAt":"2990-01-01T00:00:00Z"},
  {"labels":{"alertname":"Cpu","instance":"a","empty":""},"startsAt":"2026-01-01T00:00:00+01:00","endsAt":"2990-01-01T00:00:00Z"},
  {"labels":{"alertname":"Mem","job":"node"},"startsAt":"2026-01-01T00:00:00.123456789Z","endsAt":"2990-01-01T00:00:00Z"},
  {"labels":{"alertname":"Over"},"startsAt":"2020-01-01T00:00:00Z","endsAt":"2021-01-01T00:00:00Z"}
]"#;

const SILENCES: [&str; 4] = [
    r#"{"matchers":[{"name":"alertname","value":"Cpu","isRegex":false}],"startsAt":"2026-01-01T00:00:00Z","endsAt":"2990-01-01T00:00:00Z","comment":"one","createdBy":"ada"}"#,
    r#"{"matchers":[{"name":"team","value":"dx|y","isRegex":true,"isEqual":true},{"name":"instance","value":"a","isRegex":false,"isEqual":false}],"startsAt":"2026-01-01T00:00:00Z","endsAt":"2980-01-01T00:00:00Z","comment":"two","createdBy":"ada"}"#,
    r#"{"matchers":[{"name":"a","value":"b","isRegex":false}],"startsAt":"2985-01-01T00:00:00Z","endsAt":"2990-01-01T00:00:00Z","comment":"three","createdBy":""}"#,
    r#"{"matchers":[{"name":"a","value":"b.*","isRegex":true}],"startsAt":"2984-01-01T00:00:00Z","endsAt":"2990-01-01T00:00:00Z","comment":"","createdBy":"eve"}"#,
];

/// What has to be equal: without what is ours, and what is chosen anew by everyone.
fn normal(value: &Value, ids: &BTreeMap<String, String>) -> Value {
    match value {
        Value::Object(entries) => {
            let ours = ["mutedBy", "value", "flapping", "actions", "updatedAt"];
            // A silence that has begun begins when it was set.
            let began = value["status"]["state"] == "active" && value.get("matchers").is_some();
            let kept = entries.iter().filter(|(key, _)| !(ours.contains(&key.as_str()) || began && *key == "startsAt"));
            kept.map(|(key, value)| (key.clone(), normal(value, ids))).collect()
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(|item| normal(item, ids)).collect();
            if items.iter().all(|item| item.as_object().is_some_and(|o| o.len() == 1 && o.contains_key("name"))) {
                // Receivers of an alert: those of Alertmanager are in no order where they are many.
                items.sort_by_key(ToString::to_string);
            }
            Value::Array(items)
        }
        Value::String(text) => match text.parse::<jiff::Timestamp>() {
            // Alertmanager keeps the zone in which it was told.
            Ok(time) => time.as_millisecond().into(),
            Err(_) => ids.get(text).unwrap_or(text).as_str().into(),
        },
        other => other.clone(),
    }
}

#[test]
fn questions_are_answered_as_alertmanager_answers_them() {
    let Some(program) = peer("prometheus-alertmanager") else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (_child, theirs) = alertmanager(program, CONFIG, dir.path());
    let indented: String = CONFIG.lines().map(|line| format!("  {line}\n")).collect();
    let agent = Setup::new(&format!("stock_rules: false\nalerting:\n{indented}")).start();
    let both = [theirs, agent.port];

    let mut ids = BTreeMap::new();
    for port in both {
        let posted = post_json(port, "/api/v2/alerts", ALERTS).expect("an answer");
        assert_eq!((posted.status, posted.text().as_str()), (200, ""));
        for (i, silence) in SILENCES.iter().enumerate() {
            let set = post_json(port, "/api/v2/silences", silence).expect("an answer");
            assert_eq!(set.status, 200, "{}", set.text());
            ids.insert(set.json()["silenceID"].as_str().expect("an id").to_string(), format!("silence {i}"));
        }
    }
    let answers = |method: &str, target: &str| {
        both.map(|port| {
            let answer = request(port, method, target, &[("Content-Type", "application/json")]).expect("an answer");
            let json = if answer.body.is_empty() { Value::Null } else { normal(&answer.json(), &ids) };
            (answer.status, json)
        })
    };
    // Both have groups once the routes have seen the alerts.
    eventually("both have all alerts in groups", SOON, || {
        let count = |json: &Value| json.as_array().map(Vec::len);
        let [theirs, ours] = answers("GET", "/api/v2/alerts/groups");
        (count(&theirs.1) == count(&ours.1) && count(&ours.1) == Some(5)).then_some(())
    });
    for target in [
        "receivers",
        "alerts",
        "alerts?active=false",
        "alerts?silenced=false",
        "alerts?inhibited=false&active=maybe",
        "alerts?filter=alertname%3DDisk",
        "alerts?filter=team%3D~%22d.*%22&filter=instance!%3D%22a%22",
        "alerts?filter=team%3D%22%22",
        "alerts?filter=team!%3D%22%22",
        "alerts?receiver=night%7Cdb",
        "alerts?receiver=nigh",
        "alerts/groups",
        "alerts/groups?active=false",
        "alerts/groups?silenced=false&receiver=n.*",
        "alerts/groups?filter=instance%3Da",
        "silences",
        "silences?filter=a%3Db",
        "silences?filter=a%3D~%22b.*%22",
        "silences?filter=alertname%3D%22Cpu%22&filter=a%3Db",
    ] {
        let [theirs, ours] = answers("GET", &format!("/api/v2/{target}"));
        assert_eq!(ours, theirs, "GET {target}");
        assert_eq!(ours.0, 200, "GET {target}");
    }
    // What is wrong is wrong in the same way, if not in the same words.
    for (method, target) in [
        ("GET", "alerts?filter=x"),
        ("GET", "alerts?filter=a%3D~("),
        ("GET", "alerts?receiver=("),
        ("GET", "silences?filter=x"),
        ("GET", "alerts/groups?filter="),
        ("GET", "silence/abc"),
        ("GET", "silence/d6c5a9d0-0000-4000-8000-000000000000"),
        ("DELETE", "silence/abc"),
        ("GET", "nothing"),
        ("PUT", "alerts"),
        ("POST", "alerts"),
        ("POST", "silences"),
    ] {
        let [theirs, ours] = answers(method, &format!("/api/v2/{target}"));
        assert_eq!((ours.0, &ours.1["code"]), (theirs.0, &theirs.1["code"]), "{method} {target}: {ours:?} {theirs:?}");
    }
    for (target, body) in [
        ("alerts", "{"),
        ("alerts", "{}"),
        ("alerts", "null"),
        ("alerts", "[{}]"),
        ("alerts", r#"[{"labels":{"a":""}}]"#),
        ("alerts", r#"[{"labels":{"a":1}}]"#),
        ("alerts", r#"[{"labels":{"a":"b"},"startsAt":"x"}]"#),
        ("alerts", r#"[{"labels":{"a":"b"},"startsAt":"2030-01-01T00:00:00Z","endsAt":"2020-01-01T00:00:00Z"}]"#),
        ("alerts", r#"[{"labels":{"a":"b"},"generatorURL":"no url"}]"#),
        ("silences", "{"),
        ("silences", "[]"),
        ("silences", "{}"),
        ("silences", "null"),
        (
            "silences",
            r#"{"matchers":[],"startsAt":"2985-01-01T00:00:00Z","endsAt":"2990-01-01T00:00:00Z","comment":"","createdBy":""}"#,
        ),
        (
            "silences",
            r#"{"matchers":[{"name":"a"}],"startsAt":"2985-01-01T00:00:00Z","endsAt":"2990-01-01T00:00:00Z","comment":"","createdBy":""}"#,
        ),
        (
            "silences",
            r#"{"matchers":[{"name":"a","value":"","isRegex":false}],"startsAt":"2985-01-01T00:00:00Z","endsAt":"2990-01-01T00:00:00Z","comment":"","createdBy":""}"#,
        ),
        (
            "silences",
            r#"{"matchers":[{"name":"a","value":"(","isRegex":true}],"startsAt":"2985-01-01T00:00:00Z","endsAt":"2990-01-01T00:00:00Z","comment":"","createdBy":""}"#,
        ),
        (
            "silences",
            r#"{"matchers":[{"name":"a","value":"b","isRegex":true}],"startsAt":"2995-01-01T00:00:00Z","endsAt":"2990-01-01T00:00:00Z","comment":"","createdBy":""}"#,
        ),
        (
            "silences",
            r#"{"id":"x","matchers":[{"name":"a","value":"b","isRegex":true}],"startsAt":"2985-01-01T00:00:00Z","endsAt":"2990-01-01T00:00:00Z","comment":"","createdBy":""}"#,
        ),
    ] {
        let [theirs, ours] = both.map(|port| {
            let answer = post_json(port, &format!("/api/v2/{target}"), body).expect("an answer");
            let json = if answer.body.is_empty() { Value::Null } else { answer.json() };
            (answer.status, json["code"].clone())
        });
        assert_eq!(ours, theirs, "POST {target} {body}");
    }
}
