//! What is asked and what is answered, over a pool that runs real commands.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Request;
use prometheus::Registry;
use serde_json::Value;

use super::*;
use crate::checks::{Checks, Runner};
use crate::collect::Roots;
use crate::fuzz::Fuzz;
use crate::http::Overview;
use crate::pool::{PoolConfig, Schedule, Task};
use crate::yaml::{Document, Faults, FromYaml};

const ALL: Rights = Rights { change: Ok(()), sees_output: true };
const LITTLE: Rights = Rights { change: Err("Refused: no.\n"), sees_output: false };

fn parties() -> Parties {
    let pool = Pool::new(PoolConfig::default(), &Registry::new(), tokio::runtime::Handle::current()).unwrap();
    Parties { pool, checks: Arc::default() }
}

async fn ask(parties: &Parties, rights: &Rights, method: &str, path: &str) -> (u16, Value) {
    let (request, ()) = Request::builder().method(method).uri(path).body(()).unwrap().into_parts();
    let response = answer(Some(parties), rights, &request, None);
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

fn never() -> Schedule {
    Schedule::Every { interval: Duration::from_secs(86_400 * 365), jitter: Duration::ZERO }
}

async fn until(what: &str, is: impl AsyncFn() -> bool) {
    for _ in 0..3000 {
        if is().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within half a minute");
}

#[tokio::test]
async fn a_task_is_run_ended_and_repeated_by_its_id_which_may_have_blanks_and_slashes() {
    let parties = parties();
    let (id, path) = ("check:root disk/1", "/api/pool/check%3Aroot%20disk%2F1");
    parties.pool.schedule(id, never(), || Task::command(["sh", "-c", "echo out; echo err >&2; exit 3"])).unwrap();
    let one = async || ask(&parties, &ALL, "GET", path).await.1;
    assert_eq!(one().await["scheduled"]["schedule"], "every 1y");
    assert_eq!(one().await["last"], Value::Null);

    assert_eq!(ask(&parties, &ALL, "POST", &format!("{path}/run")).await.0, 200);
    until("it has run", async || one().await["last"].is_object()).await;
    let task = one().await;
    let last = &task["last"];
    assert_eq!((&last["stdout"], &last["stderr"], &last["code"]), (&"out\n".into(), &"err\n".into(), &3.into()));
    assert_eq!((&task["id"], &last["text"]), (&id.into(), &"exited with code 3".into()));
    assert_eq!(ask(&parties, &ALL, "POST", &format!("{path}/retry")).await.0, 200);
    until("it has run again", async || one().await["before"].as_array().is_some_and(|before| before.len() == 1)).await;

    parties.pool.submit(Task::command(["sleep", "100"]).id("long")).unwrap();
    until("it runs", async || ask(&parties, &ALL, "GET", "/api/pool").await.1["running"][0]["id"] == "long").await;
    assert_eq!(ask(&parties, &ALL, "POST", "/api/pool/long/cancel").await.0, 200);
    until("it is cancelled", async || {
        ask(&parties, &ALL, "GET", "/api/pool/long").await.1["last"]["status"] == "cancelled"
    })
    .await;
    let (status, why) = ask(&parties, &ALL, "POST", "/api/pool/long/run").await;
    assert_eq!(status, 409);
    assert!(why.as_str().is_some_and(|why| why.contains("retry runs once more")), "{why}");
    let ids = ask(&parties, &ALL, "GET", "/api/pool").await.1;
    assert_eq!((&ids["ended"][0]["id"], &ids["scheduled"][0]["id"]), (&"long".into(), &id.into()));
}

#[tokio::test]
async fn who_may_change_nothing_sees_what_runs_but_not_what_it_wrote() {
    let parties = parties();
    let task =
        Task::command(["sh", "-c", "echo the-output; sh -c 'exit 1'", "an-argument"]).env("KEY", "the-environment");
    parties.pool.submit(task.id("t")).unwrap().wait().await;
    for path in ["/api/pool", "/api/pool/t"] {
        let said = ask(&parties, &LITTLE, "GET", path).await.1.to_string();
        assert!(said.contains("exited with code 1") && !said.contains("the-output"), "{said}");
    }
    let seen = ask(&parties, &ALL, "GET", "/api/pool/t").await.1.to_string();
    assert!(
        seen.contains("the-output") && !seen.contains("an-argument") && !seen.contains("the-environment"),
        "{seen}"
    );
    for what in ["run", "cancel", "retry"] {
        assert_eq!(ask(&parties, &LITTLE, "POST", &format!("/api/pool/t/{what}")).await, (403, "Refused: no.".into()));
    }
}

#[tokio::test]
async fn what_is_not_there_or_not_a_way_to_ask_is_said_to_be_so() {
    let parties = parties();
    for (method, path, wanted, says) in [
        ("GET", "/api/pool/x", 404, "nothing with the id \"x\" is known"),
        ("POST", "/api/pool/x/run", 404, "nothing with the id \"x\" is known"),
        ("POST", "/api/pool/x/retry", 404, "nothing with the id \"x\" is known"),
        ("POST", "/api/pool/x/cancel", 404, "nothing with the id \"x\" runs or waits"),
        ("GET", "/api/pool/x/run", 405, "[POST]"),
        ("DELETE", "/api/pool", 405, "[GET,HEAD]"),
        ("GET", "/api/checks/x", 404, "was not found"),
    ] {
        let (status, why) = ask(&parties, &ALL, method, path).await;
        assert!(
            status == wanted && why.to_string().replace('\\', "").contains(says),
            "{method} {path}: {status} {why}"
        );
    }
    let (request, ()) = Request::builder().uri("/api/pool").body(()).unwrap().into_parts();
    assert_eq!(answer(None, &ALL, &request, None).status(), 503);
}

fn configured(text: &str) -> Checks {
    let mut faults = Faults::default();
    let node = Document::parse("watchfire.yaml", text, &mut faults).root;
    let checks = Checks::from_yaml(&node, &mut faults);
    assert!(!faults.has_errors(), "{faults}");
    checks.unwrap()
}

#[tokio::test]
async fn checks_are_told_with_their_states_and_commands_are_quoted_to_few() {
    let Parties { pool, .. } = parties();
    let runner = Runner::new(pool.clone(), Roots::default());
    let parties = Parties { pool, checks: runner.board() };
    runner.set(&configured(
        "[{name: fine, command: ['true'], format: exit, interval: 1h},\n\
          {name: bad, command: [sh, -c, 'echo the-output; exit 2'], format: nagios, interval: 1h, labels: {team: db}},\n\
          {name: gone, file: {path: /nonexistent/file}, interval: 1h}]",
    ));
    let all = async |rights| ask(&parties, rights, "GET", "/api/checks").await.1;
    until("all have run", async || {
        all(&ALL).await.as_array().is_some_and(|all| all.len() == 3 && all.iter().all(|c| c["last_run"].is_object()))
    })
    .await;
    let told = all(&ALL).await;
    let states: Vec<&Value> = told.as_array().unwrap().iter().map(|check| &check["state"]).collect();
    assert_eq!(states, ["ok", "critical", "critical"]);
    let bad = &told[1];
    assert_eq!(
        (&bad["labels"]["team"], &bad["runs"]["critical"], &bad["interval"]),
        (&"db".into(), &1.into(), &3600.0.into())
    );
    assert_eq!((&bad["last_run"]["summary"], &bad["last_run"]["exit_code"]), (&"the-output".into(), &2.into()));
    assert_eq!(bad["late"], false);
    let little = all(&LITTLE).await;
    assert!(little[1]["last_run"]["summary"].is_null() && little[2]["last_run"]["summary"].is_string(), "{little}");

    let mut overview = Overview::default();
    add_checks(&mut overview, &parties.checks.all(), true);
    let failing: Vec<_> = overview.failing.iter().map(|check| (check.name.as_str(), check.state)).collect();
    assert_eq!((failing.as_slice(), overview.checks), (&[("bad", "critical"), ("gone", "critical")][..], 3));
    assert_eq!(overview.failing[0].summary, "the-output");
    add_checks(&mut overview, &parties.checks.all(), false);
    assert_eq!(overview.failing[0].summary, "");
}

#[tokio::test]
async fn a_stream_is_shown_with_what_it_says_and_started_anew_or_stopped() {
    let Parties { pool, .. } = parties();
    let runner = Runner::new(pool.clone(), Roots::default());
    let parties = Parties { pool, checks: runner.board() };
    runner.set(&configured(
        "[{name: s, command: [sh, -c, 'echo m value=1; exec sleep 1000'], format: influx, stream: {}, interval: 10s}]",
    ));
    let check = async || ask(&parties, &ALL, "GET", "/api/checks").await.1[0].clone();
    let stream = async |rights| ask(&parties, rights, "GET", "/api/pool/check%3As").await.1;
    let post = async |what: &str| ask(&parties, &ALL, "POST", &format!("/api/pool/check%3As/{what}")).await.0;
    until("it has said something", async || check().await["state"] == "ok").await;
    let shown = check().await;
    assert!(shown["stream"] == true && shown["timeout"].is_null() && shown["last_run"]["ran"].is_null(), "{shown}");
    assert_eq!(shown["last_run"]["summary"], "1 sample");
    assert_eq!(ask(&parties, &LITTLE, "GET", "/api/checks").await.1[0]["last_run"]["summary"], Value::Null);
    let shown = stream(&ALL).await;
    assert_eq!((&shown["streams"][0]["state"], &shown["said"]["stdout"]), (&"runs".into(), &"m value=1\n".into()));
    assert_eq!(stream(&LITTLE).await["said"], Value::Null);

    assert_eq!(post("run").await, 200);
    until("it is started anew", async || stream(&ALL).await["streams"][0]["starts"] == 2).await;
    assert_eq!(post("cancel").await, 200);
    until("it is stopped", async || stream(&ALL).await["streams"][0]["state"] == "stopped").await;
    until("the check says so", async || check().await["state"] == "unknown").await;
    assert_eq!(post("cancel").await, 404);
    let mut overview = Overview::default();
    add_checks(&mut overview, &parties.checks.all(), true);
    assert!(overview.failing[0].summary.contains("watchfire pool run 'check:s' starts it again"));
    assert_eq!(post("retry").await, 200);
    until("it says something again", async || check().await["state"] == "ok").await;
    parties.pool.shutdown(crate::pool::Queued::Cancel, Duration::ZERO).await;
}

#[test]
fn no_path_makes_it_panic() {
    Fuzz::of(&["/api/pool/check%3Aa/run", "/api/pool/%zz", "/api/checks"]).texts(|text| {
        owns(text);
        label(text);
    });
}
