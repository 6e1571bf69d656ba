//! What is asked and what is answered, over an agent that remembers what it was told.

use std::sync::Mutex;

use http_body_util::BodyExt;
use hyper::Request;
use serde_json::{Value, json};

use super::*;
use crate::alerting::{AlertView, GroupView, PostedAlert, Silence, SilenceError, Target, Undelivered};
use crate::fuzz::Fuzz;
use crate::sinks::{Details, Fingerprint, NotifiedAlert};

#[derive(Default)]
struct Agent {
    alerts: Vec<AlertView>,
    groups: Vec<GroupView>,
    silences: Mutex<Vec<Silence>>,
    posted: Mutex<Vec<PostedAlert>>,
    full: bool,
}

impl Brain for &Agent {
    async fn alerts(&self) -> Vec<AlertView> {
        self.alerts.clone()
    }

    async fn groups(&self) -> Vec<GroupView> {
        self.groups.clone()
    }

    async fn receivers(&self) -> Vec<String> {
        vec!["web".to_string(), "db".to_string()]
    }

    async fn post(&self, alerts: Vec<PostedAlert>) -> bool {
        self.posted.lock().unwrap().extend(alerts);
        !self.full
    }

    async fn silences(&self) -> Vec<Silence> {
        self.silences.lock().unwrap().clone()
    }

    async fn set_silence(&self, mut silence: Silence) -> Result<String, SilenceError> {
        let mut all = self.silences.lock().unwrap();
        if silence.matchers.iter().all(|m| m.matches("")) {
            return Err(SilenceError::Invalid(
                "silence invalid: at least one matcher must not match the empty string".to_string(),
            ));
        }
        if silence.id.is_empty() {
            silence.id = id(all.len());
        } else if all.iter().all(|s| s.id != silence.id) {
            return Err(SilenceError::NotFound);
        }
        all.push(silence);
        Ok(all[all.len() - 1].id.clone())
    }

    async fn expire_silence(&self, id: &str) -> Result<(), SilenceError> {
        let mut all = self.silences.lock().unwrap();
        let found = all.iter_mut().find(|s| s.id == id).ok_or(SilenceError::NotFound)?;
        found.ends_at = Timestamp::now();
        Ok(())
    }

    async fn undelivered(&self) -> Vec<Undelivered> {
        let waits = Undelivered {
            number: 7,
            target: Target { receiver: "web".into(), integration: "webhook".into(), index: 0 },
            group_key: "{}:{}".into(),
            alerts: "Disk".into(),
            firing: 1,
            resolved: 0,
            at: Timestamp::from_millis(1000),
            failures: 3,
            error: "refused".into(),
            given_up: None,
        };
        let dead = Undelivered { number: 2, given_up: Some(Timestamp::from_millis(2000)), ..waits.clone() };
        let of_gone = Undelivered { number: 3, given_up: Some(Timestamp::from_millis(3000)), ..waits.clone() };
        vec![dead, of_gone, waits]
    }

    async fn retry(&self, number: u64) -> bool {
        number == 2
    }

    async fn discard(&self, number: u64) -> bool {
        number == 2
    }
}

fn id(n: usize) -> String {
    format!("d6c5a9d0-0000-4000-8000-{n:012}")
}

fn alert(labels: &[(&str, &str)], receivers: &[&str]) -> AlertView {
    AlertView {
        alert: NotifiedAlert {
            labels: Labels::from_pairs(labels.iter().copied()),
            annotations: Labels::from_pairs([("summary", "it <is> so")]),
            starts_at: Timestamp::from_millis(1000),
            ends_at: None,
            value: f64::NAN,
            generator_url: String::new(),
            expr: String::new(),
            details: Details::default(),
        },
        ends_at: Timestamp::MAX,
        updated_at: Timestamp::from_millis(2000),
        receivers: receivers.iter().map(ToString::to_string).collect(),
        silenced_by: Vec::new(),
        inhibited_by: Vec::new(),
        muted_by: Vec::new(),
    }
}

/// Plain, silenced, inhibited and over.
fn agent() -> Agent {
    let plain = alert(&[("alertname", "Disk"), ("team", "db")], &["db", "web"]);
    let mut silenced = alert(&[("alertname", "Cpu"), ("team", "db")], &["web"]);
    silenced.silenced_by.push(id(1));
    let mut inhibited = alert(&[("alertname", "Mem")], &["web"]);
    inhibited.inhibited_by.push(Fingerprint(26));
    inhibited.alert.value = f64::INFINITY;
    inhibited.alert.generator_url = "http://h/graph".to_string();
    let mut over = alert(&[("alertname", "Old")], &["web"]);
    over.ends_at = Timestamp::from_millis(5000);
    Agent { alerts: vec![plain, silenced, inhibited, over], ..Agent::default() }
}

struct Answer {
    status: u16,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }
}

async fn ask_with(agent: Option<&Agent>, method: &str, path: &str, kind: &str, body: &str, may: bool) -> Answer {
    let request = Request::builder().method(method).uri(path).header("content-type", kind).body(()).unwrap();
    let (request, ()) = request.into_parts();
    let about = About { alertmanager_config: "route: {}\n".into(), ..About::default() };
    let response = match admit(&request, || if may { Ok(()) } else { Err("Refused: no.\n") }) {
        Ok(found) => answer(&found, agent, &about, &request, body.as_bytes(), None).await,
        Err(refusal) => *refusal,
    };
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Answer { status, text: String::from_utf8(body.to_vec()).unwrap() }
}

async fn get(agent: &Agent, path: &str) -> Answer {
    ask_with(Some(agent), "GET", path, "", "", false).await
}

async fn post(agent: &Agent, path: &str, body: impl ToString) -> Answer {
    ask_with(Some(agent), "POST", path, "application/json; charset=utf-8", &body.to_string(), true).await
}

/// The names of the alerts that a request lists.
async fn names(agent: &Agent, query: &str) -> Vec<String> {
    let answer = get(agent, &format!("/api/v2/alerts{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let list = answer.json();
    let mut names: Vec<String> =
        list.as_array().unwrap().iter().map(|a| a["labels"]["alertname"].as_str().unwrap().to_string()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn alerts_are_listed_as_alertmanager_lists_them() {
    let agent = agent();
    let list = get(&agent, "/api/v2/alerts").await.json();
    let mem = list.as_array().unwrap().iter().find(|a| a["labels"]["alertname"] == "Mem").unwrap();
    assert_eq!(
        *mem,
        json!({
            "annotations": {"summary": "it <is> so"},
            "endsAt": "9999-12-31T23:59:59.999Z",
            "fingerprint": agent.alerts[2].alert.fingerprint().to_string(),
            "receivers": [{"name": "web"}],
            "startsAt": "1970-01-01T00:00:01.000Z",
            "status": {"inhibitedBy": ["000000000000001a"], "mutedBy": [], "silencedBy": [], "state": "suppressed"},
            "updatedAt": "1970-01-01T00:00:02.000Z",
            "generatorURL": "http://h/graph",
            "labels": {"alertname": "Mem"},
            "value": "+Inf",
        })
    );
    let disk = list.as_array().unwrap().iter().find(|a| a["labels"]["alertname"] == "Disk").unwrap();
    assert!(disk.get("generatorURL").is_none() && disk.get("value").is_none(), "{disk}");
    assert_eq!(disk["status"]["state"], "active");
}

#[tokio::test]
async fn alerts_are_filtered_by_state_receiver_and_labels() {
    let agent = agent();
    for (query, listed) in [
        ("", &["Cpu", "Disk", "Mem"][..]),
        ("?active=false", &["Cpu", "Mem"]),
        ("?silenced=false", &["Disk", "Mem"]),
        ("?inhibited=false&silenced=0", &["Disk"]),
        ("?active=maybe", &["Cpu", "Mem"]),
        ("?active=", &["Cpu", "Disk", "Mem"]),
        ("?unprocessed=false&active=true", &["Cpu", "Disk", "Mem"]),
        ("?receiver=d.", &["Disk"]),
        ("?receiver=d", &[]),
        ("?filter=team%3D%22db%22", &["Cpu", "Disk"]),
        ("?filter=team%3Ddb&filter=alertname%3D~%22D.*%22", &["Disk"]),
        ("?filter=team%3D%22%22", &["Mem"]),
    ] {
        assert_eq!(names(&agent, query).await, listed, "{query}");
    }
    for (query, says) in [
        ("?filter=x", "bad matcher format: "),
        ("?filter=", "bad matcher format: "),
        ("?filter=a%3D~(", "regular expression"),
        ("?receiver=(", "failed to parse receiver param: "),
    ] {
        for path in ["/api/v2/alerts", "/api/v2/alerts/groups"] {
            let answer = get(&agent, &format!("{path}{query}")).await;
            assert_eq!(answer.status, 400, "{query}");
            assert!(answer.json().as_str().unwrap().contains(says), "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn groups_come_with_the_alerts_that_are_asked_for() {
    let mut agent = agent();
    let group = |labels: &[(&str, &str)], receiver: &str, alerts: &[AlertView]| GroupView {
        labels: Labels::from_pairs(labels.iter().copied()),
        receiver: receiver.to_string(),
        key: String::new(),
        alerts: alerts.to_vec(),
    };
    let mut muted = agent.alerts[0].clone();
    muted.muted_by.push("night".to_string());
    agent.groups = vec![
        group(&[("alertname", "Disk")], "web", &[muted]),
        group(&[("alertname", "Old")], "web", &agent.alerts[3..]),
        group(&[("team", "db")], "db", &agent.alerts[..1]),
        group(&[("team", "db")], "web", &agent.alerts[..2]),
        group(&[("alertname", "Disk"), ("team", "db")], "web", &agent.alerts[..1]),
    ];
    let list = async |query: &str| {
        let list = get(&agent, &format!("/api/v2/alerts/groups{query}")).await.json();
        let line = |g: &Value| {
            format!(
                "{} {} {}",
                g["labels"],
                g["receiver"]["name"].as_str().unwrap(),
                g["alerts"].as_array().unwrap().len()
            )
        };
        list.as_array().unwrap().iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(
        list("").await,
        [
            r#"{"alertname":"Disk"} web 1"#,
            r#"{"team":"db"} db 1"#,
            r#"{"team":"db"} web 2"#,
            r#"{"alertname":"Disk","team":"db"} web 1"#,
        ]
    );
    assert_eq!(list("?muted=false&receiver=web&silenced=false").await.len(), 2);
    let one = get(&agent, "/api/v2/alerts/groups?receiver=db").await.json();
    assert_eq!(one[0]["alerts"][0]["receivers"], json!([{"name": "db"}]));
    assert_eq!(list("?active=false").await, [r#"{"team":"db"} web 1"#]);
    let all = get(&agent, "/api/v2/alerts/groups").await.json();
    assert_eq!(all[0]["alerts"][0]["status"]["mutedBy"], json!(["night"]));
    assert_eq!(all[0]["alerts"][0]["status"]["state"], "suppressed");
}

#[tokio::test]
async fn posted_alerts_are_checked_and_the_valid_ones_taken() {
    let agent = Agent::default();
    let answer = post(
        &agent,
        "/api/v2/alerts",
        json!([
            {"labels": {"alertname": "Up", "empty": ""}, "annotations": {"a": "b"}, "generatorURL": "http://x/"},
            {"labels": {"empty": ""}},
            {"labels": {"a": "b"}, "startsAt": "2030-01-01T00:00:00Z", "endsAt": "2029-01-01T00:00:00Z"},
            {"labels": {"a": "b"}, "startsAt": "0001-01-01T00:00:00.000Z", "endsAt": "2020-01-01T00:00:00Z", "more": 1},
        ]),
    )
    .await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json(), "at least one label pair required; start time must be before end time");
    let posted = agent.posted.lock().unwrap().clone();
    assert_eq!(posted.len(), 2);
    assert_eq!(posted[0].labels, Labels::from_pairs([("alertname", "Up")]));
    assert_eq!((posted[0].starts_at, posted[0].ends_at, posted[0].generator_url.as_str()), (None, None, "http://x/"));
    assert_eq!((posted[1].starts_at, posted[1].ends_at), (None, Some(Timestamp::from_millis(1_577_836_800_000))));
    let answer = post(&agent, "/api/v2/alerts", json!([{"labels": {"a": "b"}}])).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    assert_eq!(post(&agent, "/api/v2/alerts", "null").await.status, 200);
}

#[tokio::test]
async fn what_is_no_list_of_alerts_is_refused_with_alertmanagers_codes() {
    let agent = Agent::default();
    let url = json!([{"labels": {"a": "1"}, "generatorURL": "not a url"}]).to_string();
    for (body, status, code, says) in [
        ("", 422, 602, "alerts in body is required"),
        ("{", 400, 400, "parsing alerts body from \"\" failed, because "),
        ("{}", 400, 400, "parsing alerts body"),
        ("[{}]", 422, 602, "0.labels in body is required"),
        ("[null]", 422, 602, "0.labels in body is required"),
        (r#"[{"labels":{"a":1}}]"#, 400, 400, "parsing alerts body"),
        (r#"[{"labels":{"a":"1"},"startsAt":"x"}]"#, 400, 400, "parsing time"),
        (&url, 422, 601, "0.generatorURL in body must be of type uri: \"not a url\""),
    ] {
        let answer = post(&agent, "/api/v2/alerts", body).await;
        let json = answer.json();
        assert_eq!((answer.status, json["code"].as_u64()), (status, Some(code)), "{body}: {}", answer.text);
        assert!(json["message"].as_str().unwrap().contains(says), "{body}: {json}");
    }
    let many = vec![json!({"labels": {"a": "b"}}); 10_001];
    let answer = post(&agent, "/api/v2/alerts", Value::from(many)).await;
    assert!(answer.status == 413 && answer.text.contains("at most 10000"), "{}", answer.text);
    let full = Agent { full: true, ..Agent::default() };
    let answer = post(&full, "/api/v2/alerts", json!([{"labels": {"a": "b"}}])).await;
    assert!(answer.status == 503 && answer.text.contains("send them again"), "{}", answer.text);
}

fn silence(starts_at: &str, ends_at: &str, matchers: &Value) -> Value {
    json!({"matchers": matchers, "startsAt": starts_at, "endsAt": ends_at, "comment": "c", "createdBy": "m"})
}

const SOON: &str = "2990-01-01T00:00:00Z";
const LATER: &str = "2991-01-01T00:00:00Z";

#[tokio::test]
async fn a_silence_is_set_read_and_ended() {
    let agent = Agent::default();
    let matchers = json!([
        {"name": "a", "value": "x", "isRegex": false},
        {"name": "b", "value": "y|z", "isRegex": true, "isEqual": false},
    ]);
    let set = post(&agent, "/api/v2/silences", silence("2020-01-01T00:00:00Z", LATER, &matchers)).await;
    assert_eq!((set.status, set.json()), (200, json!({"silenceID": id(0)})));
    let path = format!("/api/v2/silence/{}", id(0));
    let one = get(&agent, &path).await.json();
    let updated = one["updatedAt"].clone();
    let shown = json!({
        "id": id(0),
        "status": {"state": "active"},
        "updatedAt": updated,
        "comment": "c",
        "createdBy": "m",
        "endsAt": "2991-01-01T00:00:00.000Z",
        "matchers": [
            {"isEqual": true, "isRegex": false, "name": "a", "value": "x"},
            {"isEqual": false, "isRegex": true, "name": "b", "value": "y|z"},
        ],
        "startsAt": "2020-01-01T00:00:00.000Z",
    });
    assert_eq!(one, shown);
    assert_eq!(get(&agent, "/api/v2/silences").await.json(), json!([shown]));
    let ended = ask_with(Some(&agent), "DELETE", &path, "", "", true).await;
    assert_eq!((ended.status, ended.text.as_str()), (200, ""));
    assert_eq!(get(&agent, &path).await.json()["status"]["state"], "expired");
    for (method, path, status) in [
        ("GET", format!("/api/v2/silence/{}", id(9)), 404),
        ("DELETE", format!("/api/v2/silence/{}", id(9)), 404),
        ("GET", "/api/v2/silence/abc".to_string(), 422),
        ("DELETE", "/api/v2/silence/abc".to_string(), 422),
    ] {
        let answer = ask_with(Some(&agent), method, &path, "", "", true).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
    }
}

#[tokio::test]
async fn silences_are_sorted_by_what_comes_next_and_found_by_the_same_matcher() {
    let agent = Agent::default();
    let matcher = |name: &str| json!([{"name": name, "value": "x", "isRegex": true}]);
    for (name, starts_at, ends_at) in [
        ("pending2", LATER, "2999-01-01T00:00:00Z"),
        ("pending1", SOON, LATER),
        ("active2", "", LATER),
        ("active1", "", SOON),
    ] {
        let answer = post(&agent, "/api/v2/silences", silence(starts_at, ends_at, &matcher(name))).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    for (name, ended) in [("old", 1000), ("recent", 2000)] {
        let mut all = agent.silences.lock().unwrap();
        let mut silence = all[2].clone();
        silence.matchers[0].name = name.to_string();
        (silence.starts_at, silence.ends_at) = (Timestamp::default(), Timestamp::from_millis(ended));
        all.push(silence);
    }
    let list = async |query: &str| {
        let list = get(&agent, &format!("/api/v2/silences{query}")).await.json();
        let names = list.as_array().unwrap().iter().map(|s| s["matchers"][0]["name"].as_str().unwrap().to_string());
        names.collect::<Vec<_>>()
    };
    assert_eq!(list("").await, ["active1", "active2", "pending1", "pending2", "recent", "old"]);
    assert_eq!(list("?filter=active1%3D~x").await, ["active1"]);
    assert!(list("?filter=active1%3Dx").await.is_empty(), "another operator is another matcher");
    assert_eq!(get(&agent, "/api/v2/silences?filter=x").await.status, 400);
}

#[tokio::test]
async fn a_silence_that_is_not_valid_is_refused_with_alertmanagers_words() {
    let agent = Agent::default();
    let a = json!([{"name": "a", "value": "x", "isRegex": false}]);
    let with_id = |id: &str| {
        let mut silence = silence(SOON, LATER, &a);
        silence["id"] = id.into();
        silence
    };
    for (body, status, says) in [
        (String::new(), 422, "silence in body is required"),
        ("{".to_string(), 400, "parsing silence body"),
        ("[]".to_string(), 400, "parsing silence body"),
        ("{}".to_string(), 422, "comment in body is required"),
        (silence(SOON, LATER, &json!([])).to_string(), 422, "matchers in body should have at least 1 items"),
        (silence(SOON, LATER, &json!([{"name": "a"}])).to_string(), 422, "matchers.0.isRegex in body is required"),
        (
            silence(SOON, LATER, &json!([{"name": "a", "value": "", "isRegex": false}])).to_string(),
            400,
            "the empty string",
        ),
        (
            silence(SOON, LATER, &json!([{"name": "a", "value": "(", "isRegex": true}])).to_string(),
            400,
            "silence invalid: invalid label matcher 0: not a regular expression",
        ),
        (
            silence(SOON, LATER, &json!([{"name": "", "value": "x", "isRegex": true}])).to_string(),
            400,
            "silence invalid: invalid label matcher 0: invalid label name",
        ),
        (silence(LATER, SOON, &a).to_string(), 400, "Failed to create silence: start time must be before end time"),
        (silence(SOON, SOON, &a).to_string(), 400, "start time must be before end time"),
        (
            silence("2020-01-01T00:00:00Z", "2020-02-01T00:00:00Z", &a).to_string(),
            400,
            "Failed to create silence: end time can't be in the past",
        ),
        (silence("soon", LATER, &a).to_string(), 400, "parsing time"),
        (with_id("x").to_string(), 404, "silence not found"),
    ] {
        let answer = post(&agent, "/api/v2/silences", &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
        let json = answer.json();
        let said = json["message"].as_str().or(json.as_str()).unwrap();
        assert!(said.contains(says), "{body}: {said}");
    }
}

#[tokio::test]
async fn only_who_may_change_something_does() {
    let agent = agent();
    let ask = async |method: &str, path: &str| {
        let body = json!([{"labels": {"a": "b"}}]).to_string();
        ask_with(Some(&agent), method, path, "application/json", &body, false).await
    };
    for (method, path) in [
        ("POST", "/api/v2/alerts".to_string()),
        ("POST", "/api/v2/silences".to_string()),
        ("DELETE", format!("/api/v2/silence/{}", id(0))),
        ("DELETE", "/api/notifications/2".to_string()),
        ("POST", "/api/notifications/2/retry".to_string()),
    ] {
        let answer = ask(method, &path).await;
        assert_eq!((answer.status, answer.json()), (403, json!("Refused: no.")), "{method} {path}");
    }
    assert!(agent.posted.lock().unwrap().is_empty());
    assert_eq!(ask("GET", "/api/v2/alerts").await.status, 200, "who may read is another matter");
}

#[tokio::test]
async fn a_browser_cannot_send_alerts_unasked() {
    let agent = Agent::default();
    for kind in ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let answer = ask_with(Some(&agent), "POST", "/api/v2/alerts", kind, "[]", true).await;
        assert_eq!((answer.status, answer.json()["code"].as_u64()), (415, Some(415)), "{kind}");
    }
}

#[tokio::test]
async fn what_is_not_there_and_an_agent_that_starts_say_so() {
    let agent = agent();
    let answer = get(&agent, "/api/v2/nothing").await;
    assert_eq!(answer.json(), json!({"code": 404, "message": "path /api/v2/nothing was not found"}));
    let answer = ask_with(Some(&agent), "PUT", "/api/v2/silences", "", "", true).await;
    let message = "method PUT is not allowed, but [GET,HEAD,POST] are";
    assert_eq!((answer.status, answer.json()["message"].as_str()), (405, Some(message)));
    let answer = ask_with(None, "GET", "/api/v2/alerts", "", "", true).await;
    assert_eq!((answer.status, answer.json()), (503, json!("the agent is still starting")));
}

#[tokio::test]
async fn status_and_receivers_are_told() {
    let agent = agent();
    let status = get(&agent, "/api/v2/status").await.json();
    assert_eq!(status["cluster"], json!({"peers": [], "status": "disabled"}));
    assert_eq!(status["config"]["original"], "route: {}\n");
    assert_eq!(status["uptime"], "1970-01-01T00:00:00.000Z");
    assert_eq!(status["versionInfo"]["watchfireVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(get(&agent, "/api/v2/receivers").await.json(), json!([{"name": "web"}, {"name": "db"}]));
}

#[tokio::test]
async fn what_is_not_delivered_is_listed_tried_again_and_forgotten() {
    let agent = agent();
    let list = get(&agent, "/api/notifications").await.json();
    assert_eq!(
        list[0],
        json!({
            "number": 7, "state": "waiting", "receiver": "web", "integration": "webhook", "index": 0,
            "groupKey": "{}:{}", "alerts": "Disk", "firing": 1, "resolved": 0, "at": "1970-01-01T00:00:01.000Z",
            "failures": 3, "error": "refused",
        })
    );
    assert_eq!((&list[1]["state"], &list[1]["givenUpAt"]), (&json!("dead"), &json!("1970-01-01T00:00:02.000Z")));
    for (method, path, status) in [
        ("POST", "/api/notifications/2/retry", 200),
        ("DELETE", "/api/notifications/2", 200),
        ("POST", "/api/notifications/3/retry", 409),
        ("POST", "/api/notifications/7/retry", 404),
        ("DELETE", "/api/notifications/7", 404),
        ("DELETE", "/api/notifications/x", 400),
        ("GET", "/api/notifications/2/retry", 405),
        ("GET", "/api/notifications/", 404),
    ] {
        let answer = ask_with(Some(&agent), method, path, "", "", true).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
    }
}

#[test]
fn paths_find_their_endpoints() {
    assert_eq!(label("/api/v2/alerts"), Some("/api/v2/alerts"));
    assert_eq!(label("/api/v2/alerts/groups"), Some("/api/v2/alerts/groups"));
    assert_eq!(label("/api/v2/silence/x"), Some("/api/v2/silence/:id"));
    assert_eq!(label("/api/notifications/1/retry"), Some("/api/notifications/:number/retry"));
    for none in ["/api/v2", "/api/v2/silence/", "/api/v2/silence/a/b", "/api/v2/alerts/", "/api/notifications//retry"] {
        assert_eq!(label(none), None, "{none}");
    }
    assert!(owns("/api/v2") && owns("/api/v2/x") && owns("/api/notifications") && !owns("/api/v20") && !owns("/api"));
}

#[test]
fn no_request_makes_it_panic() {
    let good = [
        r#"[{"labels":{"a":"b"},"annotations":{"c":"d"},"startsAt":"2030-01-01T00:00:00Z","endsAt":null,"generatorURL":"http://x/"}]"#,
        r#"{"id":"x","matchers":[{"name":"a","value":"b.*","isRegex":true,"isEqual":false}],"startsAt":"2030-01-01T00:00:00Z","endsAt":"2031-01-01T00:00:00Z","comment":"c","createdBy":"m"}"#,
        "active=false&filter=a%3D~b&receiver=x.*&silenced=1",
        "/api/v2/silence/d6c5a9d0-0000-4000-8000-000000000000",
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let agent = agent();
    Fuzz::of(&good).heap(16 << 20).texts(|text| {
        let _ = (label(text), owns(text));
        let params = Params::of(Some(text));
        runtime.block_on(async {
            let now = Timestamp::default();
            let _ = alerts::list(&&agent, &params, now).await;
            let _ = silences::list(&&agent, &params, now).await;
            let _ = alerts::post(&&Agent::default(), text.as_bytes(), now).await;
            let _ = silences::post(&&Agent::default(), text.as_bytes(), now).await;
            let _ = silences::one(&&agent, text, now).await;
            let _ = notifications::retry(&&agent, text).await;
        });
    });
}
