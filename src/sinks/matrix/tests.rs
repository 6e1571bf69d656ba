use super::super::notification::tests::example;
use super::super::service::tests::{drawn, read, resolved};
use super::super::testing::{Answer, Seen, far_side};
use super::*;

async fn deliver(
    answers: Vec<Answer>,
    more: &str,
    chart: bool,
    about: &Notification,
) -> (Result<Delivered, DeliveryError>, Vec<Seen>) {
    let (address, seen) = far_side(answers).await;
    let entry = format!(
        "{{homeserver_url: 'http://{address}/', access_token: syt_hunter2, room_id: '!a/b:example.org', text: disk full, \
          html: '<b>disk</b> full'{more}}}"
    );
    let global = "{http_config: {basic_auth: {username: other, password: x}}}";
    let (config, faults) = read::<MatrixConfig>(&entry, global);
    assert_eq!(faults, "");
    let charts = chart.then(|| drawn(b"PNG"));
    let result = MatrixSink::new(&config, Arc::default(), charts).deliver(about).await;
    let seen = seen.lock().unwrap().clone();
    (result, seen)
}

fn ok() -> Answer {
    (200, vec![], r#"{"event_id":"$x"}"#)
}

const ROOM: &str = "/_matrix/client/v3/rooms/!a%2Fb:example.org/send/m.room.message";

fn body(seen: &Seen) -> Value {
    serde_json::from_slice(&seen.body).unwrap()
}

#[tokio::test]
async fn a_message_is_an_event_whose_transaction_is_the_notification() {
    let (result, seen) = deliver(vec![ok()], "", false, &example()).await;
    assert_eq!(result.unwrap().answer, "200 OK");
    assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("PUT", format!("{ROOM}/s-7").as_str()));
    assert_eq!(seen[0].header("content-type"), "application/json");
    assert_eq!(seen[0].header("idempotency-key"), "s-7");
    let authorizations: Vec<&(String, String)> = seen[0].headers.iter().filter(|h| h.0 == "authorization").collect();
    assert_eq!(authorizations, [&("authorization".to_string(), "Bearer syt_hunter2".to_string())]);
    let formatted = json!({
        "msgtype": "m.text", "body": "disk full", "format": "org.matrix.custom.html",
        "formatted_body": "<b>disk</b> full",
    });
    assert_eq!(body(&seen[0]), formatted);

    let (result, seen) = deliver(vec![ok()], ", msgtype: m.notice", false, &resolved()).await;
    result.unwrap();
    assert_eq!(body(&seen[0])["msgtype"], "m.notice");
}

#[tokio::test]
async fn a_chart_is_uploaded_and_follows_as_a_picture() {
    let uploaded = (200, vec![], r#"{"content_uri":"mxc://example.org/p"}"#);
    let (result, seen) = deliver(vec![ok(), uploaded, ok()], "", true, &example()).await;
    result.unwrap();
    assert_eq!(
        (seen[1].method.as_str(), seen[1].path.as_str()),
        ("POST", "/_matrix/media/v3/upload?filename=chart.png")
    );
    assert_eq!((seen[1].header("content-type"), seen[1].body.as_slice()), ("image/png", b"PNG".as_slice()));
    assert_eq!((seen[2].method.as_str(), seen[2].path.as_str()), ("PUT", format!("{ROOM}/s-7-chart").as_str()));
    assert_eq!(
        body(&seen[2]),
        json!({"msgtype": "m.image", "body": "chart.png", "url": "mxc://example.org/p",
               "info": {"mimetype": "image/png", "size": 3}})
    );
}

#[tokio::test]
async fn a_chart_that_fails_or_is_not_wanted_hinders_nothing() {
    for upload in [(413, vec![], "{}"), (200, vec![], "no json"), (500, vec![], "")] {
        let (result, seen) = deliver(vec![ok(), upload], "", true, &example()).await;
        assert_eq!((result.unwrap().answer.as_str(), seen.len()), ("200 OK", 2));
    }
    let (result, seen) = deliver(vec![ok()], ", chart: false", true, &example()).await;
    assert_eq!((result.is_ok(), seen.len()), (true, 1));
}

#[tokio::test]
async fn an_event_stays_below_its_limit() {
    let (address, seen) = far_side(vec![ok()]).await;
    let config = MatrixConfig {
        homeserver_url: Address::new(&format!("http://{address}")),
        access_token: Some(Secret::new("t")),
        room_id: Text::new("!r:x"),
        text: Text::new("\u{1}".repeat(100_000)),
        html: Text::new("<b>x</b>"),
        ..MatrixConfig::default()
    };
    MatrixSink::new(&config, Arc::default(), None).deliver(&example()).await.unwrap();
    let long_html = MatrixConfig { html: Text::new("x".repeat(100_000)), text: Text::new("a"), ..config };
    MatrixSink::new(&long_html, Arc::default(), None).deliver(&example()).await.unwrap();
    let seen = seen.lock().unwrap().clone();
    assert!((50_000..64 * 1024).contains(&seen[0].body.len()), "{}", seen[0].body.len());
    assert!(body(&seen[0]).get("formatted_body").is_none());
    assert!(body(&seen[0])["body"].as_str().unwrap().ends_with("\u{1}…"));
    assert_eq!(body(&seen[1]), json!({"msgtype": "m.text", "body": "a"}));
}

#[tokio::test]
async fn a_limit_says_how_long_and_no_error_shows_the_token() {
    let limited = r#"{"errcode":"M_LIMIT_EXCEEDED","error":"Too many","retry_after_ms": 2500}"#;
    let (result, _) = deliver(vec![(429, vec![], limited)], "", true, &example()).await;
    let error = result.unwrap_err();
    assert_eq!((error.retry, error.retry_after), (true, Some(Duration::from_millis(2500))));
    let answers = vec![(429, vec![("Retry-After", "7".to_string())], limited)];
    let (result, _) = deliver(answers, "", true, &example()).await;
    assert_eq!(result.unwrap_err().retry_after, Some(Duration::from_secs(7)));
    let unknown = r#"{"errcode":"M_UNKNOWN_TOKEN","error":"syt_hunter2 is not known"}"#;
    let (result, seen) = deliver(vec![(401, vec![], unknown)], "", true, &example()).await;
    let error = result.unwrap_err();
    assert!(
        !error.retry && error.message.contains("M_UNKNOWN_TOKEN") && error.message.contains("<secret> is not known"),
        "{error}"
    );
    assert_eq!(seen.len(), 1);
}

#[test]
fn what_is_needed_is_said() {
    assert_eq!(
        read::<MatrixConfig>("{room_id: '#ops:example.org', msgtype: m.emote}", "{}").1,
        "matrix_configs needs a homeserver_url\n\
         matrix_configs needs an access_token or an access_token_file\n\
         room_id is the room's id, which begins with ! (in Element: room settings, Advanced)\n\
         msgtype is m.text or m.notice"
    );
    let (config, faults) =
        read::<MatrixConfig>("{homeserver_url: 'https://m', access_token: hunter2, room_id: '{{ 1 }}'}", "{}");
    assert_eq!(faults, "");
    assert!(!format!("{config:?}").contains("hunter2"));
}
