use serde_json::json;

use super::super::message::testing::{body, context, deliver, entry, read, resolved, with_empty};
use super::super::notification::tests::example;
use super::super::testing::far_side;
use super::*;
use crate::sinks::Reason;

/// An entry whose texts are given, but for those of the test.
fn slack(more: &str) -> SlackConfig {
    slack_with(more, "")
}

fn slack_with(more: &str, global: &str) -> SlackConfig {
    const KEYS: [&str; 11] = [
        "username",
        "color",
        "title",
        "title_link",
        "pretext",
        "text",
        "footer",
        "fallback",
        "callback_id",
        "icon_emoji",
        "icon_url",
    ];
    entry(&with_empty(&KEYS, more), global)
}

#[tokio::test]
async fn a_message_has_all_that_the_configuration_says() {
    let (address, seen) = far_side(vec![(200, vec![], "ok")]).await;
    let config = slack(&format!(
        r##"
api_url: http://{address}/services/T0/B0/SECRET
channel: "#ops"
username: Wächter
color: danger
title: A <title> & more
title_link: http://host:9100/
pretext: above
text: the text
message_text: the message
footer: below
fallback: short
callback_id: call
icon_emoji: ":fire:"
icon_url: http://x/icon.png
image_url: http://x/image.png
thumb_url: http://x/thumb.png
link_names: true
short_fields: true
fields:
- {{title: a, value: b}}
- {{title: c, value: d, short: false}}
actions:
- {{type: button, text: Runbook, url: http://x/runbook, style: primary, name: gone}}
- {{type: button, text: Ack, name: ack, value: "1", confirm: {{text: Sure?, title: T, ok_text: y, dismiss_text: n}}}}
"##
    ));
    let delivered = deliver(&config).await.unwrap();
    assert_eq!(delivered.answer, "200 OK");
    let seen = seen.lock().unwrap()[0].clone();
    assert_eq!(seen.path, "/services/T0/B0/SECRET");
    assert_eq!(seen.header("content-type"), "application/json");
    assert_eq!(seen.header("idempotency-key"), "s-7");
    let expected = json!({
        "channel": "#ops",
        "username": "Wächter",
        "icon_emoji": ":fire:",
        "icon_url": "http://x/icon.png",
        "link_names": true,
        "text": "the message",
        "attachments": [{
            "title": "A <title> & more",
            "title_link": "http://host:9100/",
            "pretext": "above",
            "text": "the text",
            "fallback": "short",
            "callback_id": "call",
            "fields": [
                {"title": "a", "value": "b", "short": true},
                {"title": "c", "value": "d", "short": false},
            ],
            "actions": [
                {"type": "button", "text": "Runbook", "url": "http://x/runbook", "style": "primary"},
                {
                    "type": "button", "text": "Ack", "name": "ack", "value": "1",
                    "confirm": {"title": "T", "text": "Sure?", "ok_text": "y", "dismiss_text": "n"},
                },
            ],
            "image_url": "http://x/image.png",
            "thumb_url": "http://x/thumb.png",
            "footer": "below",
            "color": "danger",
            "mrkdwn_in": ["fallback", "pretext", "text"],
        }],
    });
    assert_eq!(body(&seen), expected);
}

#[tokio::test]
async fn what_is_empty_is_left_out_and_long_titles_are_cut() {
    let (address, seen) = far_side(vec![(200, vec![], "ok")]).await;
    let title = "ü".repeat(2000);
    let config = slack(&format!("api_url: http://{address}/\ntitle: {title}\nmrkdwn_in: [text]\n"));
    config.build(&context(None)).deliver(&resolved()).await.unwrap();
    let body = body(&seen.lock().unwrap()[0]);
    let cut = format!("{}…", "ü".repeat(1023));
    let attachment =
        json!({"title": cut, "text": "", "fallback": "", "callback_id": "", "footer": "", "mrkdwn_in": ["text"]});
    assert_eq!(body, json!({"attachments": [attachment]}));
}

#[tokio::test]
async fn an_app_posts_with_its_token_which_is_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("token"), "xoxb-hunter2\n").unwrap();
    let json = vec![("Content-Type", "application/json; charset=utf-8".to_string())];
    let answers = vec![
        (200, json.clone(), r#"{"ok":true,"ts":"1"}"#),
        (200, json, r#"{"ok":false,"error":"not with xoxb-hunter2"}"#),
    ];
    let (address, seen) = far_side(answers).await;
    let global = format!("slack_app_url: http://{address}/api/chat.postMessage\nslack_app_token_file: token");
    let mut config = slack_with("channel: C1", &global);
    config.resolve_paths(dir.path());
    deliver(&config).await.unwrap();
    assert_eq!(seen.lock().unwrap()[0].path, "/api/chat.postMessage");
    assert_eq!(seen.lock().unwrap()[0].header("authorization"), "Bearer xoxb-hunter2");
    let error = deliver(&config).await.unwrap_err();
    assert!(!error.retry);
    assert_eq!(error.message, format!("channel \"C1\": {address} answered 200 OK, but refused: not with <secret>"));
    assert!(!format!("{:?}", slack("app_token: xoxb-hunter2")).contains("hunter2"));
}

#[tokio::test]
async fn a_refusal_may_come_with_a_status_of_success() {
    for (answer, retry, said) in [
        ("no_text", false, "no_text"),
        ("", false, ""),
        (r#"{"ok":false,"error":"channel_not_found"}"#, false, "channel_not_found"),
        (r#"{"ok":false,"error":"ratelimited"}"#, true, "ratelimited"),
        (r#"{"ok":false,"error":"service_unavailable"}"#, true, "service_unavailable"),
        (r#"{}"#, false, "{}"),
    ] {
        let (address, _) = far_side(vec![(200, vec![], answer)]).await;
        let error = deliver(&slack(&format!("api_url: http://{address}/"))).await.unwrap_err();
        assert_eq!((error.retry, error.reason), (retry, Reason::ClientError), "{answer}");
        assert_eq!(error.message, format!("{address} answered 200 OK, but refused: {said}"));
    }
    let (address, _) = far_side(vec![(200, vec![], r#"{"success":true}"#)]).await;
    deliver(&slack(&format!("api_url: http://{address}/"))).await.unwrap();
}

#[tokio::test]
async fn a_status_says_whether_it_may_pass_and_the_webhook_is_not_shown() {
    let wait = vec![("Retry-After", "30".to_string())];
    for (status, headers, retry) in [(429, wait, true), (503, vec![], true), (403, vec![], false)] {
        let (address, _) = far_side(vec![(status, headers, "no: SECRETHOOK")]).await;
        let config = slack(&format!("api_url: http://{address}/services/SECRETHOOK\nchannel: ops"));
        let error = deliver(&config).await.unwrap_err();
        assert_eq!((error.retry, error.retry_after.is_some()), (retry, status == 429), "{status}");
        assert!(error.message.starts_with("channel \"ops\": ") && error.message.ends_with("no: <secret>"), "{error}");
    }
}

#[tokio::test]
async fn an_entry_takes_the_webhook_of_all_if_it_has_none() {
    let config: SlackConfig = entry("{}", "slack_api_url: http://a/");
    assert_eq!(config.api_url.as_ref().unwrap().expose(), "http://a/");
    let config: SlackConfig = entry("api_url_file: x", "slack_api_url: http://a/");
    assert!(config.api_url.is_none());
    let config: SlackConfig = entry("app_token: x", "slack_api_url: http://a/");
    assert!(config.api_url.is_none());
    assert_eq!(config.app_url.as_deref(), Some("https://slack.com/api/chat.postMessage"));
    assert!(!config.send_resolved(), "as in Alertmanager");
    assert_eq!(example().id, "s-7");
}

#[test]
fn what_is_wrong_is_said() {
    let said = |text: &str| read::<SlackConfig>(text, "").1;
    assert_eq!(
        said("channel: x"),
        ["entry.yaml:1:1: slack_configs needs an api_url, an api_url_file or an app_token, or slack_api_url or \
             slack_app_token under global"]
    );
    assert_eq!(
        said("{api_url: ftp://x, api_url_file: y, app_token: z}"),
        [
            "entry.yaml:1:34: api_url and api_url_file exclude each other: give one",
            "entry.yaml:1:11: api_url is not an http or https URL",
            "entry.yaml:1:48: a webhook's api_url and an app's token exclude each other: give one",
        ]
    );
    assert_eq!(
        said("app_token: z\nhttp_config: {authorization: {credentials: x}}\nupdate_message: true"),
        [
            "entry.yaml:3:1: \"update_message\" is a key of Alertmanager's that this version does not support: each \
             notification is a message of its own; leave it out",
            "entry.yaml:1:1: app_token is sent as authorization: http_config cannot have another",
        ]
    );
    assert_eq!(
        said("{api_url: http://x, fields: [{title: a}], actions: [{text: b, confirm: {title: x}}], timeout: 0s}"),
        [
            "entry.yaml:1:30: a field needs a value",
            "entry.yaml:1:72: a confirmation needs a text",
            "entry.yaml:1:53: an action needs a type",
            "entry.yaml:1:53: an action needs a url, or a name for the app that handles it",
            "entry.yaml:1:95: warning: timeout is 0, which is taken for the default, 10s: nothing may wait for ever",
        ]
    );
}
