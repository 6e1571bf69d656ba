//! `/api/v1` over a history of its own: shapes, codes, limits.

use std::sync::PoisonError;

use serde_json::{Value, json};

use super::*;
use crate::http::QueryConfig;

const NOW: i64 = 1_700_000_000_000;

/// A server over a history in which `up`, `requests_total` by code and `quiet` have samples of the last ten minutes.
fn filled() -> Running {
    let running = start();
    let table = SeriesTable::new(Labels::empty());
    let mut history = running.agent.history.write().unwrap_or_else(PoisonError::into_inner);
    let mut series = |pairs: &[(&str, &str)], value: fn(i64) -> f64, from: i64, to: i64| {
        let series = table.intern(Labels::from_pairs(pairs.iter().copied()));
        for second in from..=to {
            history.append(&series, Timestamp::from_millis(NOW - 600_000 + second * 1000), value(second));
        }
    };
    series(&[("__name__", "up"), ("job", "node")], |_| 1.0, 0, 600);
    series(&[("__name__", "requests_total"), ("code", "200")], |s| (s * 10) as f64, 0, 600);
    series(&[("__name__", "requests_total"), ("code", "500")], |s| s as f64, 0, 600);
    series(&[("__name__", "quiet"), ("a.b", "x y")], |_| f64::NAN, 0, 10);
    drop(history);
    running
}

/// Percent-encoded as a client does it.
fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

impl Running {
    async fn api(&self, path: &str, pairs: &[(&str, &str)]) -> (u16, Value) {
        let answer = self.get(&format!("/api/v1/{path}?{}", form(pairs))).await;
        assert_eq!(answer.header("content-type"), Some("application/json"), "{}", answer.head);
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    /// The data of an answer that must be a good one.
    async fn data(&self, path: &str, pairs: &[(&str, &str)]) -> Value {
        let (status, answer) = self.api(path, pairs).await;
        assert_eq!((status, &answer["status"]), (200, &json!("success")), "{path} {pairs:?}: {answer}");
        answer["data"].clone()
    }

    async fn error(&self, path: &str, pairs: &[(&str, &str)]) -> (u16, String, String) {
        let (status, answer) = self.api(path, pairs).await;
        assert_eq!(answer["status"], "error", "{path} {pairs:?}: {answer}");
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_string();
        (status, text("errorType"), text("error"))
    }
}

#[tokio::test]
async fn an_instant_query_gives_its_vector_at_the_time_that_is_asked_for() {
    let server = filled();
    let at = ("time", "1700000000");
    assert_eq!(
        server.data("query", &[("query", "up"), at]).await,
        json!({"resultType": "vector", "result": [
            {"metric": {"__name__": "up", "job": "node"}, "value": [1_700_000_000, "1"]}
        ]})
    );
    let rates = server.data("query", &[("query", "rate(requests_total[1m])"), at]).await;
    let values: Vec<_> = rates["result"].as_array().unwrap().iter().map(|r| r["value"][1].clone()).collect();
    assert_eq!(values, [json!("10"), json!("1")]);
    let rfc = server.data("query", &[("query", "up"), ("time", "2023-11-14T22:13:20Z")]).await;
    assert_eq!(rfc["result"][0]["value"][0], 1_700_000_000);
    assert_eq!(server.data("query", &[("query", "1 + 1"), at]).await["result"], json!([1_700_000_000, "2"]));
    let range = server.data("query", &[("query", "up[3s]"), at]).await;
    assert_eq!(range["resultType"], "matrix");
    assert_eq!(range["result"][0]["values"].as_array().unwrap().len(), 3);
    let early = server.data("query", &[("query", "up @ 1699999500 offset 1m"), at]).await;
    assert_eq!(early["result"][0]["value"], json!([1_700_000_000, "1"]));
}

#[tokio::test]
async fn a_range_query_gives_a_matrix_by_get_and_by_post() {
    let server = filled();
    let pairs = [("query", "sum(requests_total)"), ("start", "1699999990"), ("end", "1700000000"), ("step", "5s")];
    let expected = json!({"resultType": "matrix", "result": [{"metric": {}, "values": [
        [1_699_999_990, "6490"], [1_699_999_995, "6545"], [1_700_000_000, "6600"]
    ]}]});
    assert_eq!(server.data("query_range", &pairs).await, expected);
    let body = form(&pairs);
    let headers = format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n", body.len());
    let mut stream = server.connect().await;
    send(&mut stream, "POST", "/api/v1/query_range", &headers).await;
    stream.write_all(body.as_bytes()).await.unwrap();
    let answer = receive(&mut stream, "POST").await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["data"], expected);
}

#[tokio::test]
async fn a_query_sees_all_that_it_looks_back_on() {
    let server = filled();
    let value = async |query: &str| {
        let pairs = [("query", query), ("time", "1700000000"), ("lookback_delta", "1")];
        server.data("query", &pairs).await["result"][0]["value"][1].clone()
    };
    assert_eq!(value("count_over_time(up[10m])").await, "600");
    assert_eq!(value("count_over_time(up[1m] @ 1699999500)").await, "60");
    assert_eq!(value("up offset 599s").await, "1");
    assert_eq!(value("max_over_time(count_over_time(up[4m])[5m:1m])").await, "240");
    let range = [("start", "1700000000"), ("end", "1700000000"), ("step", "100"), ("lookback_delta", "1")];
    let query = [("query", "count_over_time(up[5 * step()])")];
    let data = server.data("query_range", &[&query[..], &range[..]].concat()).await;
    assert_eq!(data["result"][0]["values"][0][1], "500", "{data}");
    let warned = server.api("query", &[("query", "rate(up[1m])"), ("time", "1700000000")]).await.1;
    assert!(warned["infos"][0].as_str().unwrap().contains("might not be a counter"), "{warned}");
}

#[tokio::test]
async fn what_is_asked_wrongly_is_answered_in_prometheus_words() {
    let server = filled();
    let range = |start, end, step| [("query", "up"), ("start", start), ("end", end), ("step", step)];
    let bad = |error: (u16, String, String), says: &str| {
        assert_eq!((error.0, error.1.as_str()), (400, "bad_data"), "{}", error.2);
        assert!(error.2.contains(says), "{says}: {}", error.2);
    };
    bad(server.error("query", &[]).await, r#"invalid parameter "query": unknown position: parse error: no expression"#);
    bad(
        server.error("query", &[("query", "foo(up)")]).await,
        r#"invalid parameter "query": 1:1: parse error: unknown function"#,
    );
    bad(server.error("query", &[("query", "up"), ("time", "soon")]).await, "invalid time value for 'time'");
    bad(server.error("query", &[("query", "up"), ("timeout", "-1")]).await, r#"invalid parameter "timeout""#);
    bad(server.error("query", &[("query", "up"), ("limit", "x")]).await, r#"invalid parameter "limit""#);
    bad(server.error("query_range", &range("10", "5", "1")).await, "end timestamp must not be before start time");
    bad(server.error("query_range", &range("0", "5", "0")).await, "zero or negative query resolution step widths");
    bad(server.error("query_range", &range("0", "11002", "1")).await, "exceeded maximum resolution of 11,000 points");
    bad(server.error("query_range", &range("", "5", "1")).await, r#"invalid parameter "start": cannot parse "" to"#);
    let text = [("query", "up[5m]"), ("start", "0"), ("end", "1"), ("step", "1")];
    bad(server.error("query_range", &text).await, "must be Scalar or instant Vector");
    bad(server.error("series", &[]).await, "no match[] parameter provided");
    bad(server.error("series", &[("match[]", "{job=~\".*\"}")]).await, "at least one non-empty matcher");
    let (status, kind, _) =
        server.error("query", &[("query", "up + on() requests_total"), ("time", "1700000000")]).await;
    assert_eq!((status, kind.as_str()), (422, "execution"));
    for unknown in ["nothing", "write", "admin/tsdb/delete_series"] {
        let (status, kind, _) = server.error(unknown, &[]).await;
        assert_eq!((status, kind.as_str()), (404, "not_found"));
    }
}

#[tokio::test]
async fn series_and_labels_are_found_by_matchers_and_times() {
    let server = filled();
    let all =
        server.data("series", &[("match[]", "requests_total"), ("match[]", "up"), ("match[]", "{code=\"200\"}")]).await;
    assert_eq!(all.as_array().unwrap().len(), 3, "each once: {all}");
    let late = ("start", "1699999500");
    assert_eq!(server.data("series", &[("match[]", "quiet"), late]).await, json!([]));
    assert_eq!(server.data("series", &[("match[]", "quiet")]).await, json!([{"__name__": "quiet", "a.b": "x y"}]));
    assert_eq!(server.data("labels", &[]).await, json!(["__name__", "a.b", "code", "job"]));
    assert_eq!(server.data("labels", &[("match[]", "up")]).await, json!(["__name__", "job"]));
    assert_eq!(server.data("label/__name__/values", &[]).await, json!(["quiet", "requests_total", "up"]));
    assert_eq!(server.data("label/code/values", &[("match[]", "requests_total{code=~\"5..\"}")]).await, json!(["500"]));
    assert_eq!(server.data("label/U__a_2e_b/values", &[]).await, json!(["x y"]));
    assert_eq!(server.data("label/a.b/values", &[("match[]", "up")]).await, json!([]));
}

#[tokio::test]
async fn a_limit_cuts_and_says_so() {
    let server = filled();
    for (path, pairs) in [
        ("query", vec![("query", "requests_total"), ("time", "1700000000")]),
        ("series", vec![("match[]", "requests_total")]),
        ("labels", vec![]),
        ("label/code/values", vec![]),
    ] {
        let with = |limit| pairs.iter().copied().chain([("limit", limit)]).collect::<Vec<_>>();
        let (_, answer) = server.api(path, &with("1")).await;
        let list = if path == "query" { &answer["data"]["result"] } else { &answer["data"] };
        assert_eq!(list.as_array().unwrap().len(), 1, "{answer}");
        assert_eq!(answer["warnings"], json!(["results truncated due to limit"]));
        let (_, answer) = server.api(path, &with("100")).await;
        assert_eq!(answer.get("warnings"), None);
    }
}

#[tokio::test]
async fn timings_come_to_who_asks_for_them() {
    let server = filled();
    let data = server.data("query", &[("query", "up"), ("stats", "all")]).await;
    assert!(data["stats"]["timings"]["execTotalTime"].as_f64().unwrap() > 0.0, "{data}");
    let (_, answer) = server.api("query", &[("query", "up"), ("stats", "yes")]).await;
    assert!(answer["warnings"][0].as_str().unwrap().contains("deprecated"), "{answer}");
}

#[tokio::test]
async fn limits_of_queries_hold() {
    let server = filled();
    let limits = |change: fn(&mut QueryConfig)| {
        let mut config = QueryConfig::default();
        change(&mut config);
        server.web.set_query_limits(config);
    };
    let query = [("query", "count_over_time(requests_total[10m])"), ("time", "1700000000")];
    limits(|c| c.max_samples = 100);
    let (status, kind, error) = server.error("query", &query).await;
    assert_eq!((status, kind.as_str()), (422, "execution"));
    assert!(error.contains("too many samples"), "{error}");
    limits(|c| c.timeout = Duration::from_nanos(1));
    let (status, kind, _) = server.error("query", &query).await;
    assert_eq!((status, kind.as_str()), (503, "timeout"));
    limits(|c| c.lookback_delta = Duration::from_secs(5));
    let old = [("query", "quiet"), ("time", "1699999416")];
    assert_eq!(server.data("query", &old).await["result"], json!([]));
    let found = server.data("query", &[old[0], old[1], ("lookback_delta", "1m")]).await;
    assert_eq!(found["result"][0]["value"][1], "NaN");
}

#[tokio::test]
async fn an_expression_is_laid_out() {
    let server = start();
    let text = server.data("format_query", &[("query", "sum  by(a)(rate( up[5m] ) )")]).await;
    assert_eq!(text, "sum by (a) (rate(up[5m]))");
    let (status, kind, _) = server.error("format_query", &[("query", "sum(")]).await;
    assert_eq!((status, kind.as_str()), (400, "bad_data"));
}

#[tokio::test]
async fn a_large_answer_is_sent_in_pieces_and_compressed_for_who_takes_that() {
    use std::io::Read;
    let server = filled();
    let range = form(&[
        ("query", "{__name__=~\"up|requests_total\"}"),
        ("start", "1699999400"),
        ("end", "1700000000"),
        ("step", "1"),
    ]);
    let target = format!("/api/v1/query_range?{range}");
    let fetch = async |headers: &str| {
        let mut stream = server.connect().await;
        send(&mut stream, "GET", &target, &format!("Connection: close\r\n{headers}")).await;
        let mut raw = Vec::new();
        stream.read_to_end(&mut raw).await.unwrap();
        raw
    };
    let plain = String::from_utf8(fetch("").await).unwrap();
    assert!(plain.to_lowercase().contains("transfer-encoding: chunked"), "{}", &plain[..300]);
    assert!(plain.len() > 30_000 && plain.trim_end().ends_with('0'), "the whole has come");
    let raw = fetch("Accept-Encoding: gzip\r\n").await;
    assert!(raw.len() < plain.len() / 3, "{} of {}", raw.len(), plain.len());
    let body = raw.windows(2).position(|w| w == [0x1f, 0x8b]).unwrap();
    let mut begin = [0; 40];
    flate2::read::GzDecoder::new(&raw[body..]).read_exact(&mut begin).unwrap();
    assert!(begin.starts_with(br#"{"status":"success","data":{"result"#));
}

#[tokio::test]
async fn pages_from_elsewhere_may_not_read_it_unless_they_are_allowed() {
    let closed = start();
    let answer = closed.request("GET", "/api/v1/labels", "Origin: https://a.example\r\n").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
    let open = WebConfig { cors_origin: Some(crate::yaml::Pattern::new("https://a.*").unwrap()), ..config() };
    let open = start_with(&open, Access::default(), Agent::new(1, Duration::ZERO));
    let answer = open.request("OPTIONS", "/api/v1/query", "Origin: https://a.example\r\n").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("https://a.example")));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, POST, OPTIONS"));
}

#[tokio::test]
async fn what_is_no_request_of_the_api_is_refused() {
    let server = start();
    for (method, path, allowed) in [("PUT", "/api/v1/query", "GET, HEAD, POST"), ("POST", "/api/v1/rules", "GET, HEAD")]
    {
        let answer = server.request(method, path, "Content-Length: 0\r\n").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{method} {path}");
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["errorType"], "bad_data");
    }
    let (status, kind, why) = server.error("query_exemplars", &[("query", "up"), ("start", "2"), ("end", "1")]).await;
    assert_eq!((status, kind.as_str()), (400, "bad_data"), "{why}");
    let headers = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 2000000\r\n";
    assert_eq!(server.request("POST", "/api/v1/query", headers).await.status, 413);
}

#[tokio::test]
async fn a_chart_is_a_picture_within_the_limits_of_queries() {
    let server = filled();
    let chart = async |pairs: &[(&str, &str)]| server.get(&format!("/chart.png?{}", form(pairs))).await;
    let at = ("at", "1700000000");
    let answer =
        chart(&[("expr", "rate(requests_total[1m]) > 5"), ("l.code", "200"), ("start", "1699999800"), at]).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/png")), "{}", answer.head);
    assert!(answer.body.starts_with(b"\x89PNG\r\n\x1a\n"));
    for (expr, status) in [("nothing > 5", 404), ("up >", 400), ("", 400)] {
        assert_eq!(chart(&[("expr", expr), at]).await.status, status, "{expr}");
    }
    assert_eq!(server.request("POST", "/chart.png?expr=up", "").await.status, 405);
}
