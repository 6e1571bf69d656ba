//! The `rocketchat` sink: a message to a channel of Rocket.Chat by its REST API.
//!
//! The title is cut to 1024 characters. Rocket.Chat says `{"success": true}`; what else it says with a status of success
//! is a lasting failure.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::http::{Answer, HttpClient, Outgoing};
use super::message::{
    Field, FieldConfig, Message, TIMEOUT, check_secret, check_timeout, check_url, client, cut, in_channel,
    inherit_needed, json, resolve, secret_now, template,
};
use super::{
    Delivered, Delivery, DeliveryError, GlobalConfig, HttpConfig, Notification, Reason, Sink, SinkConfig, SinkContext,
    Text,
};
use crate::section;
use crate::yaml::{Faults, Node, Secret};

section! {
    check = check;
    /// A message to a channel of Rocket.Chat.
    pub struct RocketchatConfig {
        /// Whether resolved alerts are sent too.
        pub send_resolved: bool = false,
        /// The server.
        pub api_url: Option<String> = None,
        /// The access token.
        pub token: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub token_file: Option<PathBuf> = None,
        /// The user ID that belongs to the token.
        pub token_id: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub token_id_file: Option<PathBuf> = None,
        /// The channel: #NAME, or @USER.
        pub channel: Text = Text::default(),
        /// The colour beside the message.
        pub color: Text = Text::new(r#"{{ if eq .Status "firing" }}red{{ else }}green{{ end }}"#),
        /// The title.
        pub title: Text = template("rocketchat.default.title"),
        /// Where the title leads.
        pub title_link: Text = template("rocketchat.default.titlelink"),
        /// The text.
        pub text: Text = template("rocketchat.default.text"),
        /// A table below the text.
        pub fields: Vec<FieldConfig> = Vec::new(),
        /// Whether fields that do not say are short enough to stand beside another.
        pub short_fields: bool = false,
        /// An emoji as the sender's picture.
        pub emoji: Text = template("rocketchat.default.emoji"),
        /// The URL of the sender's picture.
        pub icon_url: Text = template("rocketchat.default.iconurl"),
        /// The URL of a picture below the text.
        pub image_url: Text = Text::default(),
        /// The URL of a small picture beside the text.
        pub thumb_url: Text = Text::default(),
        /// Changes nothing, here as in Alertmanager: names always become links.
        pub link_names: bool = false,
        /// Buttons.
        pub actions: Vec<RocketchatActionConfig> = Vec::new(),
        /// The time for one request, the answer included.
        pub timeout: Duration = TIMEOUT,
        /// How requests are made.
        pub http_config: Option<HttpConfig> = None,
    }
}

section! {
    /// A button.
    pub struct RocketchatActionConfig {
        /// Changes nothing: Rocket.Chat knows buttons only.
        pub kind: Text as "type" = Text::default(),
        /// What stands on it.
        pub text: Text = Text::default(),
        /// Where it leads.
        pub url: Text = Text::default(),
        /// What is said in the channel when it is pressed.
        pub msg: Text = Text::default(),
    }
}

fn check(config: &mut RocketchatConfig, node: &Node, faults: &mut Faults) {
    check_secret(node, faults, "token", &config.token, &config.token_file);
    check_secret(node, faults, "token_id", &config.token_id, &config.token_id_file);
    if let Some(url) = &config.api_url {
        check_url(node, faults, "api_url", url);
    }
    check_timeout(node, faults, &mut config.timeout, TIMEOUT);
}

impl SinkConfig for RocketchatConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn inherit(&mut self, global: &GlobalConfig, node: &Node, faults: &mut Faults) {
        self.http_config.get_or_insert_with(|| global.http_config.clone());
        self.api_url.get_or_insert_with(|| global.rocketchat_api_url.clone());
        let own = (&mut self.token, &mut self.token_file);
        let all = (&global.rocketchat_token, &global.rocketchat_token_file);
        inherit_needed(node, faults, ("rocketchat", "token"), own, all);
        let own = (&mut self.token_id, &mut self.token_id_file);
        let all = (&global.rocketchat_token_id, &global.rocketchat_token_id_file);
        inherit_needed(node, faults, ("rocketchat", "token_id"), own, all);
    }

    fn resolve_paths(&mut self, dir: &Path) {
        resolve(dir, [&mut self.token_file, &mut self.token_id_file], &mut self.http_config);
    }

    fn build(&self, context: &SinkContext) -> Arc<dyn Sink> {
        let client = client(self.http_config.as_ref(), self.timeout);
        Arc::new(RocketchatSink { config: self.clone(), client, context: context.clone() })
    }
}

struct RocketchatSink {
    config: RocketchatConfig,
    client: HttpClient,
    context: SinkContext,
}

#[derive(Serialize)]
struct Request {
    #[serde(skip_serializing_if = "String::is_empty")]
    channel: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    emoji: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    avatar: String,
    attachments: [Attachment; 1],
}

#[derive(Serialize)]
struct Attachment {
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title_link: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    image_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thumb_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    color: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Action>,
}

#[derive(Serialize)]
struct Action {
    r#type: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    msg: String,
}

/// Alertmanager's limit, in characters.
const MAX_TITLE: usize = 1024;

impl RocketchatSink {
    fn request(&self, message: &Message<'_>) -> Result<Request, DeliveryError> {
        let config = &self.config;
        let action = |action: &RocketchatActionConfig| {
            let (text, url) = (message.plain(&action.text)?, message.plain(&action.url)?);
            Ok(Action { r#type: "button", text, url, msg: message.plain(&action.msg)? })
        };
        let attachment = Attachment {
            title: cut(message.plain(&config.title)?, MAX_TITLE),
            title_link: message.plain(&config.title_link)?,
            text: message.plain(&config.text)?,
            image_url: message.plain(&config.image_url)?,
            thumb_url: message.plain(&config.thumb_url)?,
            color: message.plain(&config.color)?,
            fields: message.fields(&config.fields, Some(config.short_fields))?,
            actions: config.actions.iter().map(action).collect::<Result<_, DeliveryError>>()?,
        };
        Ok(Request {
            channel: message.plain(&config.channel)?,
            emoji: message.plain(&config.emoji)?,
            avatar: message.plain(&config.icon_url)?,
            attachments: [attachment],
        })
    }

    async fn send(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let config = &self.config;
        let request = self.request(&Message::new(&self.context.texts, notification))?;
        let token = secret_now(config.token.as_ref(), config.token_file.as_deref())?;
        let id = secret_now(config.token_id.as_ref(), config.token_id_file.as_deref())?;
        let server = config.api_url.as_deref().unwrap_or_default().trim_end_matches('/');
        let outgoing = Outgoing::json(format!("{server}/api/v1/chat.postMessage"), json(&request)?)
            .secret_header("X-Auth-Token", token.clone(), &token)
            .secret_header("X-User-Id", id.clone(), &id)
            .header("Idempotency-Key", &notification.id);
        let sent = self.client.send(outgoing).await;
        sent.and_then(|answer| judge(&answer)).map_err(|e| in_channel(&request.channel, e))
    }
}

impl Sink for RocketchatSink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(self.send(notification))
    }
}

/// Reads an answer with a status of success.
fn judge(answer: &Answer) -> Result<Delivered, DeliveryError> {
    let text = String::from_utf8_lossy(&answer.body);
    let Ok(json) = serde_json::from_slice::<Value>(&answer.body) else {
        // It is not Rocket.Chat that answers.
        return Err(DeliveryError { reason: Reason::Other, ..answer.refused(true, &text) });
    };
    match json.get("success") {
        Some(Value::Bool(true)) => Ok(answer.delivered()),
        _ => Err(answer.refused(false, json.get("error").and_then(Value::as_str).unwrap_or(&text))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::message::testing::{body, deliver, entry, read, with_empty};
    use super::super::testing::far_side;
    use super::*;

    const OK: &str = r#"{"success":true}"#;

    fn rocketchat(address: impl std::fmt::Display, more: &str) -> RocketchatConfig {
        let texts = with_empty(&["color", "title", "title_link", "text", "emoji", "icon_url"], more);
        entry(&format!("api_url: http://{address}/chat/\ntoken: hunter2\ntoken_id: hunter1\n{texts}"), "")
    }

    #[tokio::test]
    async fn a_message_has_all_that_the_configuration_says() {
        let (address, seen) = far_side(vec![(200, vec![], OK)]).await;
        let config = rocketchat(
            address,
            r##"
channel: "#ops"
color: red
title: A <title>
title_link: http://host:9100/
text: the text
emoji: ":fire:"
icon_url: http://x/icon.png
image_url: http://x/image.png
thumb_url: http://x/thumb.png
fields: [{title: a, value: b}, {title: c, value: d, short: true}]
actions: [{type: menu, text: Go, url: http://x/}, {text: Say, msg: hello}]
"##,
        );
        assert_eq!(deliver(&config).await.unwrap().answer, "200 OK");
        let seen = seen.lock().unwrap()[0].clone();
        assert_eq!((seen.path.as_str(), seen.header("idempotency-key")), ("/chat/api/v1/chat.postMessage", "s-7"));
        assert_eq!((seen.header("x-auth-token"), seen.header("x-user-id")), ("hunter2", "hunter1"));
        let expected = json!({
            "channel": "#ops",
            "emoji": ":fire:",
            "avatar": "http://x/icon.png",
            "attachments": [{
                "title": "A <title>", "title_link": "http://host:9100/", "text": "the text", "color": "red",
                "image_url": "http://x/image.png", "thumb_url": "http://x/thumb.png",
                "fields": [
                    {"title": "a", "value": "b", "short": false},
                    {"title": "c", "value": "d", "short": true},
                ],
                "actions": [
                    {"type": "button", "text": "Go", "url": "http://x/"},
                    {"type": "button", "text": "Say", "msg": "hello"},
                ],
            }],
        });
        assert_eq!(body(&seen), expected);
    }

    #[tokio::test]
    async fn a_long_title_is_cut() {
        let (address, seen) = far_side(vec![(200, vec![], OK)]).await;
        deliver(&rocketchat(address, &format!("title: {}", "ü".repeat(2000)))).await.unwrap();
        let title = format!("{}…", "ü".repeat(1023));
        assert_eq!(body(&seen.lock().unwrap()[0]), json!({"attachments": [{"title": title}]}));
    }

    #[tokio::test]
    async fn a_refusal_may_come_with_a_status_of_success_and_shows_no_token() {
        let refused = r#"{"success":false,"error":"invalid-channel for hunter2"}"#;
        let answers =
            vec![(200, vec![], refused), (200, vec![], "<html>"), (401, vec![], "hunter1"), (429, vec![], "")];
        let (address, _) = far_side(answers).await;
        let config = rocketchat(address, "channel: x");
        let error = deliver(&config).await.unwrap_err();
        let said = format!("channel \"x\": {address} answered 200 OK, but refused: invalid-channel for <secret>");
        assert_eq!((error.retry, error.message), (false, said));
        for retry in [true, false, true] {
            let error = deliver(&config).await.unwrap_err();
            assert!(error.retry == retry && !error.message.contains("hunter"), "{error}");
        }
        assert!(!format!("{config:?}").contains("hunter"));
    }

    #[tokio::test]
    async fn server_and_tokens_may_stand_under_global_and_in_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), "t\n").unwrap();
        std::fs::write(dir.path().join("id"), "i\n").unwrap();
        let (address, seen) = far_side(vec![(200, vec![], OK)]).await;
        let global =
            format!("rocketchat_api_url: http://{address}\nrocketchat_token_file: token\nrocketchat_token_id_file: id");
        let texts = "color: x\ntitle: x\ntitle_link: x\ntext: x\nemoji: x\nicon_url: x";
        let mut config: RocketchatConfig = entry(texts, &global);
        config.resolve_paths(dir.path());
        deliver(&config).await.unwrap();
        let seen = seen.lock().unwrap()[0].clone();
        assert_eq!((seen.header("x-auth-token"), seen.header("x-user-id")), ("t", "i"));
        assert_eq!(
            read::<RocketchatConfig>("token: x", "").1,
            [
                "entry.yaml:1:1: rocketchat_configs needs a token_id or a token_id_file, or rocketchat_token_id under global"
            ]
        );
    }
}
