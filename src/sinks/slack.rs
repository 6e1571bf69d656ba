//! The `slack` sink: a message with one attachment, by an incoming webhook or as a Slack app.
//!
//! `api_url` is posted to as it is; with `app_token` instead, `app_url` is, with the token. Webhooks answer `ok`, the API
//! `{"ok": true}`; what else they say with a status of success is a failure: one that may pass where Slack says that it
//! is busy, else a lasting one. A title is cut to 1024 characters.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::http::{Answer, HttpClient, Outgoing, one_of};
use super::message::{
    Field, FieldConfig, Message, TIMEOUT, check_secret_url, check_timeout, check_url, client, cut, has_token,
    in_channel, is_false, json, resolve, secret_now, template,
};
use super::{
    Delivered, Delivery, DeliveryError, GlobalConfig, HttpConfig, Notification, Sink, SinkConfig, SinkContext, Text,
    not_supported,
};
use crate::section;
use crate::yaml::{Faults, Node, Secret};

section! {
    check = check;
    foreign = not_yet;
    /// A message to a channel of Slack.
    pub struct SlackConfig {
        /// Whether resolved alerts are sent too.
        pub send_resolved: bool = false,
        /// The incoming webhook, or what else takes the same.
        pub api_url: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub api_url_file: Option<PathBuf> = None,
        /// The token of a Slack app, which posts to app_url; instead of a webhook.
        pub app_token: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub app_token_file: Option<PathBuf> = None,
        /// Where a Slack app posts to.
        pub app_url: Option<String> = None,
        /// The channel, where it is not the webhook's own.
        pub channel: Text = Text::default(),
        /// Who the message is from.
        pub username: Text = template("slack.default.username"),
        /// The colour beside the message: good, warning, danger or #RRGGBB.
        pub color: Text = Text::new(r#"{{ if eq .Status "firing" }}danger{{ else }}good{{ end }}"#),
        /// The title.
        pub title: Text = template("slack.default.title"),
        /// Where the title leads.
        pub title_link: Text = template("slack.default.titlelink"),
        /// What stands above the attachment.
        pub pretext: Text = template("slack.default.pretext"),
        /// The text of the attachment.
        pub text: Text = template("slack.default.text"),
        /// The text of the message itself, above the attachment.
        pub message_text: Text = Text::default(),
        /// A table below the text.
        pub fields: Vec<FieldConfig> = Vec::new(),
        /// Whether fields that do not say are short enough to stand beside another.
        pub short_fields: bool = false,
        /// What stands below the attachment.
        pub footer: Text = template("slack.default.footer"),
        /// What shows where attachments cannot, such as on a telephone's lock screen.
        pub fallback: Text = template("slack.default.fallback"),
        /// What an app that handles the actions knows the message by.
        pub callback_id: Text = template("slack.default.callbackid"),
        /// An emoji as the sender's picture.
        pub icon_emoji: Text = template("slack.default.iconemoji"),
        /// The URL of the sender's picture.
        pub icon_url: Text = template("slack.default.iconurl"),
        /// The URL of a picture below the text.
        pub image_url: Text = Text::default(),
        /// The URL of a small picture beside the text.
        pub thumb_url: Text = Text::default(),
        /// Whether names and channels in the text become links.
        pub link_names: bool = false,
        /// The parts in which Slack's markup is read.
        pub mrkdwn_in: Vec<String> = Vec::new(),
        /// Buttons and menus.
        pub actions: Vec<SlackActionConfig> = Vec::new(),
        /// The time for one request, the answer included.
        pub timeout: Duration = TIMEOUT,
        /// How requests are made.
        pub http_config: Option<HttpConfig> = None,
    }
}

section! {
    check = check_action;
    /// A button or menu.
    pub struct SlackActionConfig {
        /// What it is.
        pub kind: Text as "type" = Text::default(),
        /// What stands on it.
        pub text: Text = Text::default(),
        /// Where it leads.
        pub url: Text = Text::default(),
        /// How it looks: default, primary, danger.
        pub style: Text = Text::default(),
        /// What the app is told was pressed; without a url.
        pub name: Text = Text::default(),
        /// What the app is told with it.
        pub value: Text = Text::default(),
        /// A question before the app is told.
        pub confirm: Option<SlackConfirmConfig> = None,
    }
}

section! {
    check = |confirm: &mut SlackConfirmConfig, node: &Node, faults: &mut Faults| {
        if confirm.text.is_empty() {
            faults.error(node.at, "a confirmation needs a text");
        }
    };
    /// A question before an action.
    pub struct SlackConfirmConfig {
        /// Its title.
        pub title: Text = Text::default(),
        /// The question.
        pub text: Text = Text::default(),
        /// What stands on the button that goes on.
        pub ok_text: Text = Text::default(),
        /// What stands on the button that does not.
        pub dismiss_text: Text = Text::default(),
    }
}

fn check(config: &mut SlackConfig, node: &Node, faults: &mut Faults) {
    check_secret_url(node, faults, "api_url", &config.api_url, &config.api_url_file);
    let token = (config.app_token.is_some(), config.app_token_file.is_some());
    one_of(node, faults, "app_token", "app_token_file", token.0, token.1);
    if config.has_url() && config.has_token() {
        let at = node.get("app_token").or(node.get("app_token_file")).map_or(node.at, |n| n.at);
        faults.error(at, "a webhook's api_url and an app's token exclude each other: give one");
    }
    if let Some(url) = &config.app_url {
        check_url(node, faults, "app_url", url);
    }
    check_timeout(node, faults, &mut config.timeout, TIMEOUT);
}

fn check_action(action: &mut SlackActionConfig, node: &Node, faults: &mut Faults) {
    for (key, text) in [("type", &action.kind), ("text", &action.text)] {
        if text.is_empty() {
            faults.error(node.at, format!("an action needs a {key}"));
        }
    }
    if !action.url.is_empty() {
        // A link tells the app nothing.
        action.name = Text::default();
        action.value = Text::default();
        action.confirm = None;
    } else if action.name.is_empty() {
        faults.error(node.at, "an action needs a url, or a name for the app that handles it");
    }
}

fn not_yet(key: &str) -> Option<String> {
    matches!(key, "update_message" | "post_updates_to_thread")
        .then(|| not_supported(key, "each notification is a message of its own; leave it out"))
}

impl SlackConfig {
    fn has_url(&self) -> bool {
        self.api_url.is_some() || self.api_url_file.is_some()
    }

    fn has_token(&self) -> bool {
        self.app_token.is_some() || self.app_token_file.is_some()
    }
}

impl SinkConfig for SlackConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn inherit(&mut self, global: &GlobalConfig, node: &Node, faults: &mut Faults) {
        let http = self.http_config.get_or_insert_with(|| global.http_config.clone());
        let authorized = http.basic_auth.is_some() || has_token(http);
        if !self.has_url() && !self.has_token() {
            self.api_url.clone_from(&global.slack_api_url);
            self.api_url_file.clone_from(&global.slack_api_url_file);
            // A webhook for all may stand beside a token for all, of which one is enough.
            if !self.has_url() {
                self.app_token.clone_from(&global.slack_app_token);
                self.app_token_file.clone_from(&global.slack_app_token_file);
            }
        }
        self.app_url.get_or_insert_with(|| global.slack_app_url.clone());
        if !self.has_url() && !self.has_token() {
            let or_global = "or slack_api_url or slack_app_token under global";
            faults.error(
                node.at,
                format!("slack_configs needs an api_url, an api_url_file or an app_token, {or_global}"),
            );
        }
        if self.has_token() && authorized {
            faults.error(node.at, "app_token is sent as authorization: http_config cannot have another");
        }
    }

    fn resolve_paths(&mut self, dir: &Path) {
        resolve(dir, [&mut self.api_url_file, &mut self.app_token_file], &mut self.http_config);
    }

    fn build(&self, context: &SinkContext) -> Arc<dyn Sink> {
        let client = client(self.http_config.as_ref(), self.timeout);
        Arc::new(SlackSink { config: self.clone(), client, context: context.clone() })
    }
}

struct SlackSink {
    config: SlackConfig,
    client: HttpClient,
    context: SinkContext,
}

#[derive(Serialize)]
struct Request<'a> {
    #[serde(skip_serializing_if = "String::is_empty")]
    channel: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon_emoji: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon_url: String,
    #[serde(skip_serializing_if = "is_false")]
    link_names: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    attachments: [Attachment<'a>; 1],
}

#[derive(Serialize)]
struct Attachment<'a> {
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title_link: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pretext: String,
    text: String,
    fallback: String,
    callback_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Action>,
    #[serde(skip_serializing_if = "String::is_empty")]
    image_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thumb_url: String,
    footer: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    color: String,
    mrkdwn_in: Vec<&'a str>,
}

#[derive(Serialize)]
struct Action {
    r#type: String,
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    style: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm: Option<Confirm>,
}

#[derive(Serialize)]
struct Confirm {
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    ok_text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    dismiss_text: String,
}

/// Slack counts titles longer than this as errors.
const MAX_TITLE: usize = 1024;
/// The parts in which Slack's markup is read where the configuration does not say.
const MARKUP_IN: [&str; 3] = ["fallback", "pretext", "text"];

impl SlackSink {
    fn request(&self, message: &Message<'_>) -> Result<Request<'_>, DeliveryError> {
        let config = &self.config;
        let action = |action: &SlackActionConfig| {
            let confirm = |confirm: &SlackConfirmConfig| {
                Ok::<_, DeliveryError>(Confirm {
                    title: message.plain(&confirm.title)?,
                    text: message.plain(&confirm.text)?,
                    ok_text: message.plain(&confirm.ok_text)?,
                    dismiss_text: message.plain(&confirm.dismiss_text)?,
                })
            };
            Ok(Action {
                r#type: message.plain(&action.kind)?,
                text: message.plain(&action.text)?,
                url: message.plain(&action.url)?,
                style: message.plain(&action.style)?,
                name: message.plain(&action.name)?,
                value: message.plain(&action.value)?,
                confirm: action.confirm.as_ref().map(confirm).transpose()?,
            })
        };
        let mrkdwn_in = match config.mrkdwn_in.is_empty() {
            true => MARKUP_IN.to_vec(),
            false => config.mrkdwn_in.iter().map(String::as_str).collect(),
        };
        let attachment = Attachment {
            title: cut(message.plain(&config.title)?, MAX_TITLE),
            title_link: message.plain(&config.title_link)?,
            pretext: message.plain(&config.pretext)?,
            text: message.plain(&config.text)?,
            fallback: message.plain(&config.fallback)?,
            callback_id: message.plain(&config.callback_id)?,
            fields: message.fields(&config.fields, Some(config.short_fields))?,
            actions: config.actions.iter().map(action).collect::<Result<_, DeliveryError>>()?,
            image_url: message.plain(&config.image_url)?,
            thumb_url: message.plain(&config.thumb_url)?,
            footer: message.plain(&config.footer)?,
            color: message.plain(&config.color)?,
            mrkdwn_in,
        };
        Ok(Request {
            channel: message.plain(&config.channel)?,
            username: message.plain(&config.username)?,
            icon_emoji: message.plain(&config.icon_emoji)?,
            icon_url: message.plain(&config.icon_url)?,
            link_names: config.link_names,
            text: message.plain(&config.message_text)?,
            attachments: [attachment],
        })
    }

    async fn send(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let config = &self.config;
        let request = self.request(&Message::new(&self.context.texts, notification))?;
        let body = json(&request)?;
        let outgoing = if config.has_url() {
            Outgoing::json(secret_now(config.api_url.as_ref(), config.api_url_file.as_deref())?, body)
        } else {
            let token = secret_now(config.app_token.as_ref(), config.app_token_file.as_deref())?;
            let url = config.app_url.clone().unwrap_or_default();
            Outgoing::json(url, body).secret_header("Authorization", format!("Bearer {token}"), &token)
        };
        let sent = self.client.send(outgoing.header("Idempotency-Key", &notification.id)).await;
        sent.and_then(|answer| judge(&answer)).map_err(|e| in_channel(&request.channel, e))
    }
}

impl Sink for SlackSink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(self.send(notification))
    }
}

/// What the API answers, with a status of success, when it is its own fault.
const BUSY: [&str; 6] =
    ["fatal_error", "internal_error", "service_unavailable", "request_timeout", "ratelimited", "rate_limited"];

/// Reads an answer with a status of success.
fn judge(answer: &Answer) -> Result<Delivered, DeliveryError> {
    let text = String::from_utf8_lossy(&answer.body);
    let Ok(Value::Object(json)) = serde_json::from_slice(&answer.body) else {
        return if text.trim() == "ok" { Ok(answer.delivered()) } else { Err(answer.refused(false, &text)) };
    };
    // The second is what Rocket.Chat answers, which takes the same requests.
    if ["ok", "success"].iter().any(|key| json.get(*key) == Some(&Value::Bool(true))) {
        return Ok(answer.delivered());
    }
    let error = json.get("error").and_then(Value::as_str).unwrap_or(&text);
    Err(answer.refused(BUSY.contains(&error), error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::message::testing::{body, context, deliver, entry, read, resolved};
    use super::super::notification::tests::example;
    use super::super::testing::far_side;
    use super::*;
    use crate::sinks::Reason;

    /// An entry whose texts are given, but for those of the test.
    fn slack(more: &str) -> SlackConfig {
        slack_with(more, "")
    }

    fn slack_with(more: &str, global: &str) -> SlackConfig {
        let keys = ["username", "color", "title", "title_link", "pretext", "text", "footer", "fallback"];
        let keys = keys.iter().chain(&["callback_id", "icon_emoji", "icon_url"]);
        let texts: String = keys
            .filter(|key| !more.lines().any(|line| line.starts_with(&format!("{key}:"))))
            .map(|key| format!("{key}: ''\n"))
            .collect();
        entry(&format!("{texts}{more}"), global)
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
            assert!(
                error.message.starts_with("channel \"ops\": ") && error.message.ends_with("no: <secret>"),
                "{error}"
            );
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
}
