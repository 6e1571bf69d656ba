//! What holds for every sink that speaks HTTP: how answers are read, what far sides that misbehave do to it, that no secret
//! is ever shown, and that a repetition can be told.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::message::testing::context;
use super::notification::tests::example;
use super::{DeliveryError, GlobalConfig, Reason, ReceiverConfig, Sink};
use crate::yaml::{Document, Faults, FromYaml};

/// Each sink with all the kinds of secrets that it can have, for a far side at `ADDRESS`. `SECRET` is one.
const ENTRIES: &[(&str, &str)] = &[
    (
        "webhook",
        "{url: 'http://ADDRESS/hook/SECRET?k=SECRET', http_config: {basic_auth: {username: me, password: SECRET}}}",
    ),
    ("webhook", "{url: 'http://ADDRESS/', http_config: {http_headers: {X-Key: {secrets: [SECRET]}}}}"),
    ("slack", "{api_url: 'http://ADDRESS/services/T0/SECRET', channel: c}"),
    ("slack", "{app_token: SECRET, app_url: 'http://ADDRESS/api', channel: c}"),
    ("discord", "{webhook_url: 'http://ADDRESS/api/webhooks/1/SECRET'}"),
    ("telegram", "{api_url: 'http://ADDRESS', bot_token: '1:SECRET', chat_id: 7}"),
    ("mattermost", "{webhook_url: 'http://ADDRESS/hooks/SECRET'}"),
    ("rocketchat", "{api_url: 'http://ADDRESS', token: SECRET, token_id: SECRET, channel: c}"),
    ("msteams", "{webhook_url: 'http://ADDRESS/x/SECRET'}"),
    ("msteamsv2", "{webhook_url: 'http://ADDRESS/x?sig=SECRET'}"),
    ("webex", "{api_url: 'http://ADDRESS/v1', room_id: r, http_config: {authorization: {credentials: SECRET}}}"),
    ("pushover", "{user_key: SECRET, token: SECRET, http_config: {proxy_url: 'http://me:SECRET@ADDRESS'}}"),
    ("pagerduty", "{url: 'http://ADDRESS/v2/enqueue', routing_key: SECRET}"),
    ("pagerduty", "{service_key: SECRET, http_config: {proxy_url: 'http://me:SECRET@ADDRESS'}}"),
    ("opsgenie", "{api_url: 'http://ADDRESS/', api_key: SECRET}"),
    ("victorops", "{api_url: 'http://ADDRESS/', api_key: SECRET, routing_key: team}"),
    (
        "jira",
        "{api_url: 'http://ADDRESS/rest/api/2', project: P, issue_type: Task,
        http_config: {basic_auth: {username: me, password: SECRET}}}",
    ),
    ("ntfy", "{url: 'http://ADDRESS/', topic: t, token: SECRET}"),
    ("ntfy", "{url: 'http://me:SECRET@ADDRESS/', topic: t}"),
    ("gotify", "{url: 'http://ADDRESS/', token: SECRET}"),
    ("matrix", "{homeserver_url: 'http://ADDRESS/', access_token: SECRET, room_id: '!r:a'}"),
    ("alertmanager", "{static_configs: [{targets: ['ADDRESS']}], basic_auth: {username: me, password: SECRET}}"),
    (
        "sns",
        "{api_url: 'http://ADDRESS/', topic_arn: 'arn:aws:sns:r:1:t',
        sigv4: {region: r, access_key: AKID, secret_key: SECRET}}",
    ),
];

/// A secret with what is escaped in JSON, in forms, in URLs. Whatever is left of it has the first part.
const SECRET: &str = "hunter2+x<y%25z";
/// How a password begins in a header: base64 of `me:hunter2`, as far as that is sure.
const BASIC: &str = "bWU6aHVudGVyM";

/// What came of a delivery.
struct Tried {
    name: &'static str,
    /// Where the address of the service is fixed, the far side is a proxy that is to lead there.
    by_proxy: bool,
    result: Result<String, DeliveryError>,
    took: Duration,
    /// The requests as they came.
    seen: Vec<String>,
}

fn receiver(sink: &str, entry: &str, address: SocketAddr, more: &str) -> ReceiverConfig {
    let entry = entry.replace("ADDRESS", &address.to_string()).replace("SECRET", SECRET);
    let entry = format!("{}{more}}}", entry.strip_suffix('}').unwrap());
    let text = format!("name: r\n{sink}_configs:\n  - {entry}\n");
    let mut faults = Faults::default();
    let document = Document::parse("r", &text, &mut faults);
    let mut config: ReceiverConfig = document.read(&mut faults);
    config.inherit(&GlobalConfig::default(), &document.root, &mut faults);
    assert!(!faults.has_errors(), "{sink}: {faults}");
    config
}

fn sink(config: &ReceiverConfig) -> Arc<dyn Sink> {
    let entries = config.entries();
    assert_eq!(entries.len(), 1);
    entries[0].2.build(&context(None))
}

/// How a far side behaves.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    /// Answers with this status, and as body what it was sent.
    Echo(u16),
    /// The same, with the words in which services that answer 200 say that they refuse.
    Refuse,
    /// Never answers.
    Hang,
    /// Begins an answer, and never ends it.
    Stop,
    /// Answers 200 with 10 MB.
    Huge(u16),
    /// What is not HTTP.
    Garbage,
    /// Hangs up.
    HangUp,
}

/// A request as it came: its head, and all of it.
type Requests = Arc<Mutex<Vec<String>>>;

async fn far_side(way: Way) -> (SocketAddr, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Requests::default();
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, way, Arc::clone(&seen)));
        }
    });
    (address, requests)
}

async fn answer(mut stream: TcpStream, way: Way, seen: Requests) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    let is_whole = |request: &[u8]| {
        let text = String::from_utf8_lossy(request).to_ascii_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        request.len() >= head.len() + 4 + length.parse::<usize>().unwrap()
    };
    while !is_whole(&request) {
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => request.extend_from_slice(&buffer[..n]),
            _ => return,
        }
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    seen.lock().unwrap().push(text.clone());
    let head = |status: u16, length: usize| {
        format!("HTTP/1.1 {status} So\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
    };
    // The secrets first: of what is long only the beginning is shown.
    let short: String = text.lines().filter(|line| line.contains("hunter2") || line.contains("Basic")).collect();
    let body = match way {
        Way::Echo(_) => format!("{short} {text}"),
        Way::Refuse => serde_json::json!({
            "ok": false, "success": false, "status": 0, "error": short, "description": short, "errors": [short],
        })
        .to_string(),
        _ => String::new(),
    };
    let said = match way {
        Way::Echo(status) => head(status, body.len()) + &body,
        Way::Refuse => head(200, body.len()) + &body,
        Way::Stop => head(200, 100) + "begun",
        Way::Huge(status) => head(status, 10 << 20) + &"x".repeat(10 << 20),
        Way::Garbage => "SSH-2.0-OpenSSH_9.9\r\n\0\u{1}\r\n\r\n".to_string(),
        Way::Hang | Way::HangUp => String::new(),
    };
    // Who has read enough hangs up.
    let _ = stream.write_all(said.as_bytes()).await;
    if matches!(way, Way::Hang | Way::Stop) {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}

/// Delivers by each sink to a far side that behaves so. `more`: more keys.
async fn deliver_each(way: Way, more: &str) -> Vec<Tried> {
    let mut all = JoinSet::new();
    for (name, entry) in ENTRIES {
        let (address, requests) = far_side(way).await;
        let config = receiver(name, entry, address, more);
        assert!(!format!("{config:?}").contains("hunter2"), "{name}: {config:?}");
        let sink = sink(&config);
        all.spawn(async move {
            let began = Instant::now();
            let result = sink.deliver(&example()).await.map(|delivered| delivered.answer);
            let seen = requests.lock().unwrap().clone();
            let said = format!("{result:?}");
            assert!(!said.contains("hunter2"), "{name}, {way:?}: {said}");
            Tried { name, by_proxy: entry.contains("proxy_url"), result, took: began.elapsed(), seen }
        });
    }
    all.join_all().await
}

#[tokio::test]
async fn no_secret_is_shown_whatever_the_far_side_quotes() {
    for way in [Way::Echo(400), Way::Echo(401), Way::Echo(500), Way::Echo(200), Way::Refuse] {
        for Tried { name, by_proxy, result, seen, .. } in deliver_each(way, "").await {
            // Otherwise nothing would be tested.
            let seen = seen.join("\n");
            let is_sent = seen.contains("hunter2") || seen.contains(BASIC);
            assert!(is_sent || name == "sns" || by_proxy, "{name}: {seen}");
            // Nor what it can be made from again.
            assert!(!format!("{result:?}").contains(BASIC), "{name}, {way:?}: {result:?}");
        }
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
    for status in [302, 400, 401, 403, 404, 408, 413, 429, 500, 502, 503] {
        for Tried { name, by_proxy, result, .. } in deliver_each(Way::Echo(status), "").await {
            let error = result.expect_err(name);
            if !by_proxy {
                assert_eq!(error.retry, status >= 500 || [408, 429].contains(&status), "{name}: {error:?}");
                let reason = if status >= 500 { Reason::ServerError } else { Reason::ClientError };
                assert_eq!(error.reason, reason, "{name}: {error:?}");
                assert!(error.message.contains("127.0.0.1:"), "{name} does not say where: {error}");
                assert!(error.message.contains(&format!("answered {status}")), "{name}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn a_far_side_that_hangs_or_talks_nonsense_is_left_in_time() {
    const LIMIT: Duration = Duration::from_millis(300);
    for way in [Way::Hang, Way::Stop, Way::Garbage, Way::HangUp, Way::Huge(500), Way::Huge(200)] {
        for Tried { name, by_proxy, result, took, seen } in deliver_each(way, ", timeout: 300ms").await {
            // A delivery may be several requests.
            let requests = u32::try_from(seen.len()).unwrap();
            assert!(took < LIMIT * requests + Duration::from_secs(5), "{name}, {way:?}: {took:?}");
            match (way, result) {
                // What follows a success is of no matter to those who need none of it.
                (Way::Stop | Way::Huge(200), Ok(_)) => {}
                (_, Ok(answer)) => panic!("{name}, {way:?}: {answer}"),
                (Way::Hang, Err(error)) => assert_eq!(error.reason, Reason::Timeout, "{name}: {error}"),
                (Way::Huge(_), Err(error)) => assert!(error.message.chars().count() < 500, "{name}: {error}"),
                (_, Err(error)) => assert!(error.retry || way == Way::Stop || by_proxy, "{name}, {way:?}: {error:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_far_side_that_is_away_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for (name, entry) in ENTRIES {
        let error = sink(&receiver(name, entry, address, "")).deliver(&example()).await.expect_err(name);
        assert!(error.retry && error.reason == Reason::Other, "{name}: {error:?}");
        assert!(error.message.contains("refused") && !error.message.contains("hunter2"), "{name}: {error}");
    }
}

#[tokio::test]
async fn every_delivery_can_be_told_from_its_repetition() {
    for Tried { name, by_proxy, seen, .. } in deliver_each(Way::Refuse, "").await {
        let seen = seen.join("\n").to_ascii_lowercase();
        assert!(seen.contains("\r\nidempotency-key: s-7\r\n") || by_proxy, "{name}: {seen}");
    }
}

#[test]
fn a_timeout_of_zero_is_the_default_everywhere() {
    for (name, entry) in ENTRIES {
        let config = receiver(name, entry, ([127, 0, 0, 1], 1).into(), ", timeout: 0s");
        assert!(format!("{config:?}").contains("timeout: 10s"), "{name}: {config:?}");
    }
}

#[test]
fn every_path_starts_at_the_directory_of_the_configuration() {
    let mut paths = Vec::new();
    ReceiverConfig::key_paths("", &mut paths);
    paths.retain(|path| path.ends_with("_file"));
    assert!(paths.len() > 40, "{paths:?}");
    for path in paths {
        let nested = path.split('.').rev().fold("not/there".to_string(), |inner, part| match part.strip_suffix("[]") {
            Some(key) => format!("{{{key}: [{inner}]}}"),
            None => format!("{{{}: {inner}}}", part.replace('*', "x")),
        });
        let mut faults = Faults::default();
        let mut config: ReceiverConfig = Document::parse("r", &nested, &mut faults).read(&mut faults);
        config.resolve_paths(Path::new("/etc/agent"));
        let said = format!("{config:?}");
        assert!(said.contains("\"/etc/agent/not/there\""), "{path}: {nested}");
    }
}
