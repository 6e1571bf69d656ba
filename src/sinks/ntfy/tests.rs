use serde_json::json;

use super::super::notification::tests::example;
use super::super::service::tests::{drawn, read, resolved};
use super::super::testing::{Answer, Seen, far_side};
use super::*;

const ENTRY: &str = "topic: ops-x7, title: Disk full, message: 'sda is at 97 %', tags: [warning, '', '{{ \"disk\" }}'], \
     icon: 'http://i/i.png', click: 'http://host:9100', actions: [{label: Look, url: 'http://l'}, {label: Hide, url: '{{ \"\" }}'}, \
     {action: http, label: Ack, url: 'http://a', method: PUT, body: b, clear: true}]";

async fn deliver(
    answers: Vec<Answer>,
    more: &str,
    chart: bool,
    about: &Notification,
) -> (Result<Delivered, DeliveryError>, Vec<Seen>) {
    let (address, seen) = far_side(answers).await;
    let entry = format!("{{{ENTRY}, url: 'http://{address}/push/'{more}}}");
    let (config, faults) = read::<NtfyConfig>(&entry, "{}");
    assert_eq!(faults, "");
    let charts = chart.then(|| drawn(b"PNG"));
    let result = NtfySink::new(&config, Arc::default(), charts).deliver(about).await;
    let seen = seen.lock().unwrap().clone();
    (result, seen)
}

fn ok() -> Answer {
    (200, vec![], r#"{"id":"x","event":"message"}"#)
}

#[tokio::test]
async fn a_message_is_json_to_the_server() {
    let (result, seen) = deliver(vec![ok()], ", token: tk_hunter2", false, &example()).await;
    assert_eq!(result.unwrap().answer, "200 OK");
    assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("POST", "/push/"));
    assert_eq!(seen[0].header("content-type"), "application/json");
    assert_eq!(seen[0].header("idempotency-key"), "s-7");
    assert_eq!(seen[0].header("authorization"), "Bearer tk_hunter2");
    let mut expected = json!({
        "topic": "ops-x7", "title": "Disk full", "message": "sda is at 97 %", "priority": 5,
        "tags": ["warning", "disk"], "click": "http://host:9100", "icon": "http://i/i.png",
        "actions": [
            {"action": "view", "label": "Look", "url": "http://l", "clear": false},
            {"action": "http", "label": "Ack", "url": "http://a", "method": "PUT", "body": "b", "clear": true},
        ],
        "markdown": false, "sequence_id": "s-7",
    });
    assert_eq!(serde_json::from_slice::<Value>(&seen[0].body).unwrap(), expected);

    let (result, seen) = deliver(vec![ok()], ", markdown: true", false, &resolved()).await;
    result.unwrap();
    expected["priority"] = 2.into();
    expected["markdown"] = true.into();
    assert_eq!(serde_json::from_slice::<Value>(&seen[0].body).unwrap(), expected);
    assert_eq!(seen[0].header("authorization"), "");
}

#[tokio::test]
async fn with_a_chart_the_picture_is_the_body_and_the_text_stands_in_headers() {
    let more = ", message: \"82 °C\\nnow\", markdown: true, priority: high, http_config: {basic_auth: {username: me, password: p}}";
    let entry = ENTRY.replace(", message: 'sda is at 97 %'", "");
    let (address, seen) = far_side(vec![ok()]).await;
    let (config, faults) = read::<NtfyConfig>(&format!("{{{entry}{more}, url: 'http://{address}'}}"), "{}");
    assert_eq!(faults, "");
    NtfySink::new(&config, Arc::default(), Some(drawn(b"PNG"))).deliver(&example()).await.unwrap();
    let seen = seen.lock().unwrap()[0].clone();
    assert_eq!((seen.method.as_str(), seen.path.as_str(), seen.body.as_slice()), ("PUT", "/ops-x7", b"PNG".as_slice()));
    for (name, value) in [
        ("x-filename", "chart.png"),
        ("x-title", "Disk full"),
        ("x-message", "=?UTF-8?B?ODIgwrBDCm5vdw==?="),
        ("x-priority", "4"),
        ("x-tags", "warning,disk"),
        ("x-click", "http://host:9100"),
        ("x-icon", "http://i/i.png"),
        ("x-markdown", "yes"),
        ("x-sequence-id", "s-7"),
        ("idempotency-key", "s-7"),
        ("authorization", "Basic bWU6cA=="),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    let actions: Value = serde_json::from_str(seen.header("x-actions")).unwrap();
    assert_eq!(actions[1]["label"], "Ack");
}

#[tokio::test]
async fn a_server_that_does_not_take_pictures_gets_the_text_alone() {
    for status in [400, 413, 429, 507] {
        let (result, seen) =
            deliver(vec![(status, vec![], "attachments not allowed"), ok()], "", true, &example()).await;
        assert_eq!(result.unwrap().answer, "200 OK");
        assert_eq!((seen[0].method.as_str(), seen[1].method.as_str(), seen.len()), ("PUT", "POST", 2));
    }
    let (result, seen) = deliver(vec![ok()], ", chart: false", true, &example()).await;
    assert_eq!((result.is_ok(), seen[0].method.as_str()), (true, "POST"));
}

#[tokio::test]
async fn a_long_message_is_cut_before_ntfy_makes_a_file_of_it() {
    let (address, seen) = far_side(vec![ok()]).await;
    let config = NtfyConfig {
        url: Address::new(&format!("http://{address}")).unwrap(),
        topic: Text::new("t"),
        title: Text::new("ä".repeat(300)),
        message: Text::new("🔥".repeat(2000)),
        tags: Vec::new(),
        click: Text::default(),
        ..NtfyConfig::default()
    };
    NtfySink::new(&config, Arc::default(), Some(drawn(b"PNG"))).deliver(&example()).await.unwrap();
    NtfySink::new(&config, Arc::default(), None).deliver(&example()).await.unwrap();
    let seen = seen.lock().unwrap().clone();
    assert!(seen[0].headers.iter().all(|(_, value)| value.len() < 6000));
    let body: Value = serde_json::from_slice(&seen[1].body).unwrap();
    assert_eq!(body["title"], format!("{}…", "ä".repeat(249)));
    let message = body["message"].as_str().unwrap();
    assert!((4090..=4096).contains(&message.len()) && message.ends_with("🔥…"), "{}", message.len());
}

#[tokio::test]
async fn errors_say_why_and_do_not_show_the_token() {
    let answers = vec![(403, vec![], "{\"error\":\"tk_hunter2 is forbidden\"}")];
    let (result, _) = deliver(answers, ", token: tk_hunter2", true, &example()).await;
    let error = result.unwrap_err();
    assert!(!error.retry && error.message.contains("<secret> is forbidden"), "{error}");
    let answers = vec![(429, vec![("Retry-After", "5".to_string())], "limit reached")];
    let (result, _) = deliver(answers, "", false, &example()).await;
    let error = result.unwrap_err();
    assert_eq!((error.retry, error.retry_after), (true, Some(Duration::from_secs(5))));
    let (config, _) = read::<NtfyConfig>("{topic: t, token: tk_hunter2}", "{}");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn headers_hold_any_text() {
    assert_eq!(header("plain: text, 100 %"), "plain: text, 100 %");
    for text in ["ä", "a\nb", " a", "a ", "=?x"] {
        let encoded = header(text);
        let base64 = encoded.strip_prefix("=?UTF-8?B?").and_then(|rest| rest.strip_suffix("?="));
        assert_eq!(BASE64_STANDARD.decode(base64.unwrap()).unwrap(), text.as_bytes());
    }
}

#[test]
fn what_is_wrong_is_said() {
    let faults = |entry: &str| read::<NtfyConfig>(entry, "{}").1;
    assert_eq!(
        faults("{url: 'ftp://x', priority: 7, token: a, token_file: b, actions: [{action: call}]}"),
        "not an http or https URL\n\
         an action is view or http\n\
         an action needs a label and a url\n\
         token and token_file exclude each other: give one\n\
         ntfy_configs needs a topic\n\
         priority is a number from 1 to 5, or min, low, default, high, max"
    );
    assert_eq!(faults("{topic: '{{ 1 }}', priority: '{{ 1 }}'}"), "");
}
