use serde_json::json;

use super::super::message::testing::{
    PNG, body, context, deliver, deliver_with_chart, entry, parts_of, read, resolved,
};
use super::super::testing::{Seen, far_side};
use super::*;

const OK: &str = r#"{"ok":true,"result":{"message_id":1,"chat":{"id":-100}}}"#;

fn telegram(address: impl std::fmt::Display, more: &str) -> TelegramConfig {
    entry(&format!("api_url: http://{address}/\nbot_token: 12:hunter2\nchat_id: -100123\n{more}"), "")
}

fn text_parts(seen: &Seen) -> Vec<(String, String)> {
    let parts = parts_of(seen).into_iter().filter(|(_, file, _)| file.is_empty());
    parts.map(|(name, _, value)| (name, String::from_utf8(value).unwrap())).collect()
}

#[tokio::test]
async fn a_message_goes_to_the_chat_as_the_bot() {
    let (address, seen) = far_side(vec![(200, vec![], OK)]).await;
    assert_eq!(deliver(&telegram(address, "message: <b>text</b>")).await.unwrap().answer, "200 OK");
    let more = "message: \"*text*\"\nparse_mode: MarkdownV2\ndisable_notifications: true\nmessage_thread_id: 5";
    telegram(address, more).build(&context(None)).deliver(&resolved()).await.unwrap();
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen[0].path, "/bot12:hunter2/sendMessage");
    assert_eq!((seen[0].header("content-type"), seen[0].header("idempotency-key")), ("application/json", "s-7"));
    let expected = json!({
        "chat_id": "-100123", "text": "<b>text</b>", "parse_mode": "HTML", "disable_web_page_preview": "true",
    });
    assert_eq!(body(&seen[0]), expected);
    let expected = json!({
        "chat_id": "-100123", "text": "*text*", "parse_mode": "MarkdownV2", "disable_web_page_preview": "true",
        "disable_notification": "true", "message_thread_id": "5",
    });
    assert_eq!(body(&seen[1]), expected);
}

#[tokio::test]
async fn a_chart_has_a_short_text_as_its_caption() {
    let (address, seen) = far_side(vec![(200, vec![], OK)]).await;
    deliver_with_chart(&telegram(address, "message: <b>text</b>")).await.unwrap();
    let seen = seen.lock().unwrap().clone();
    assert_eq!((seen.len(), seen[0].path.as_str()), (1, "/bot12:hunter2/sendPhoto"));
    let expected = [("chat_id", "-100123"), ("caption", "<b>text</b>"), ("parse_mode", "HTML")];
    assert_eq!(text_parts(&seen[0]), expected.map(|(n, v)| (n.to_string(), v.to_string())));
    let photo = ("photo".to_string(), "chart.png".to_string(), PNG.to_vec());
    assert_eq!(parts_of(&seen[0]).last(), Some(&photo));
}

#[tokio::test]
async fn a_chart_follows_a_long_text_and_may_fail() {
    let (address, seen) = far_side(vec![(200, vec![], OK), (400, vec![], r#"{"ok":false}"#)]).await;
    let text = "x".repeat(1025);
    deliver_with_chart(&telegram(address, &format!("message: {text}"))).await.unwrap();
    let seen = seen.lock().unwrap().clone();
    let paths: Vec<&str> = seen.iter().map(|s| s.path.as_str()).collect();
    assert_eq!(paths, ["/bot12:hunter2/sendMessage", "/bot12:hunter2/sendPhoto"]);
    assert_eq!(body(&seen[0])["text"], text);
    assert_eq!(text_parts(&seen[1]), [("chat_id".to_string(), "-100123".to_string())]);
}

#[tokio::test]
async fn a_chart_that_is_not_taken_does_not_hinder_the_text() {
    for answer in [(400, vec![], r#"{"ok":false,"description":"IMAGE_PROCESS_FAILED"}"#), (502, vec![], "")] {
        let (address, seen) = far_side(vec![answer, (200, vec![], OK)]).await;
        deliver_with_chart(&telegram(address, "message: text")).await.unwrap();
        assert_eq!(body(&seen.lock().unwrap()[1])["text"], "text");
    }
}

#[tokio::test]
async fn what_telegram_cannot_parse_is_sent_as_plain_text() {
    let said =
        r#"{"ok":false,"error_code":400,"description":"Bad Request: can't parse entities: Unsupported start tag"}"#;
    let (address, seen) = far_side(vec![(400, vec![], said), (200, vec![], OK)]).await;
    deliver(&telegram(address, "message: 'a <odd> tag'")).await.unwrap();
    let expected = json!({"chat_id": "-100123", "text": "a <odd> tag", "disable_web_page_preview": "true"});
    assert_eq!(body(&seen.lock().unwrap()[1]), expected);
}

#[tokio::test]
async fn long_messages_are_cut_and_tags_are_closed() {
    let (address, seen) = far_side(vec![(200, vec![], OK)]).await;
    let long = format!("<b>{}</b>", "ü".repeat(5000));
    deliver(&telegram(address, &format!("message: {long}"))).await.unwrap();
    deliver(&telegram(address, &format!("message: {long}\nparse_mode: ''"))).await.unwrap();
    let texts: Vec<String> =
        seen.lock().unwrap().iter().map(|s| body(s)["text"].as_str().unwrap().to_string()).collect();
    assert_eq!(texts[0], format!("<b>{}…</b>", "ü".repeat(4095)));
    assert_eq!(texts[1], format!("<b>{}…", "ü".repeat(4092)));
}

#[tokio::test]
async fn errors_say_what_telegram_said_and_not_the_token() {
    let flood = r#"{"ok":false,"error_code":429,"description":"Too Many Requests","parameters":{"retry_after":9}}"#;
    let (address, _) = far_side(vec![(429, vec![], flood)]).await;
    let error = deliver(&telegram(address, "message: x")).await.unwrap_err();
    assert_eq!((error.retry, error.retry_after), (true, Some(Duration::from_secs(9))));

    let gone = r#"{"ok":false,"error_code":403,"description":"Forbidden: 12:hunter2 was kicked"}"#;
    let (address, _) = far_side(vec![(403, vec![], gone), (200, vec![], gone), (200, vec![], "<html>")]).await;
    let config = telegram(address, "message: x");
    let error = deliver(&config).await.unwrap_err();
    assert!(!error.retry && error.message.contains("Forbidden: <secret> was kicked"), "{error}");
    let error = deliver(&config).await.unwrap_err();
    assert!(!error.retry);
    assert_eq!(error.message, format!("{address} answered 200 OK, but refused: Forbidden: <secret> was kicked"));
    let error = deliver(&config).await.unwrap_err();
    assert!(error.retry, "{error}");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[tokio::test]
async fn token_and_chat_can_come_from_files() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("token"), "12:x\n").unwrap();
    std::fs::write(dir.path().join("chat"), "-77\n").unwrap();
    let (address, seen) = far_side(vec![(200, vec![], OK)]).await;
    let global = format!("telegram_api_url: http://{address}\ntelegram_bot_token_file: token");
    let mut config: TelegramConfig = entry("chat_id_file: chat\nmessage: x", &global);
    config.resolve_paths(dir.path());
    deliver(&config).await.unwrap();
    let seen = seen.lock().unwrap()[0].clone();
    assert_eq!((seen.path.as_str(), body(&seen)["chat_id"].as_str()), ("/bot12:x/sendMessage", Some("-77")));
}

#[test]
fn the_default_text_has_tags_only_where_they_are_understood() {
    let message = |more: &str| {
        let config: TelegramConfig = entry(&format!("bot_token: x\nchat_id: 1\n{more}"), "");
        config.message.as_str().to_string()
    };
    assert!(message("").contains("telegram.default.message"));
    assert!(message("parse_mode: ''").contains("__plain"));
    assert_eq!(message("parse_mode: MarkdownV2\nmessage: x"), "x");
}

#[test]
fn what_is_wrong_is_said() {
    let said = |text: &str| read::<TelegramConfig>(text, "").1;
    assert_eq!(
        said("parse_mode: html"),
        [
            "entry.yaml:1:1: telegram_configs needs a chat_id or a chat_id_file",
            "entry.yaml:1:13: parse_mode is one of HTML, MarkdownV2, Markdown, or empty",
            "entry.yaml:1:1: telegram_configs needs a bot_token or a bot_token_file, or telegram_bot_token under global",
        ]
    );
    assert_eq!(
        said("{chat_id: 1, chat_id_file: x, bot_token: a, bot_token_file: b, api_url: x}"),
        [
            "entry.yaml:1:61: bot_token and bot_token_file exclude each other: give one",
            "entry.yaml:1:28: chat_id and chat_id_file exclude each other: give one",
            "entry.yaml:1:73: api_url is not an http or https URL",
        ]
    );
}
