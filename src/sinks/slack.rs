//! The `slack` sink: a message with one attachment, by an incoming webhook or as a Slack app.
//!
//! `api_url` is posted to as it is; with `app_token` instead, `app_url` is, with the token. Webhooks answer `ok`, the API
//! `{"ok": true}`; what else they say with a status of success is a failure: one that may pass where Slack says that it
//! is busy, else a lasting one. A title is cut to 1024 characters.

mod attachment;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use self::attachment::{Attachment, SlackActionConfig};
use super::http::{Answer, HttpClient, Outgoing};
use super::message::{
    FieldConfig, Message, TIMEOUT, check_secret, check_secret_url, check_timeout, check_url, client, in_channel,
    is_false, is_given, json, resolve, secret_now, template,
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

fn check(config: &mut SlackConfig, node: &Node, faults: &mut Faults) {
    check_secret_url(node, faults, "api_url", &config.api_url, &config.api_url_file);
    check_secret(node, faults, "app_token", &config.app_token, &config.app_token_file);
    if config.has_url() && config.has_token() {
        let at = node.get("app_token").or(node.get("app_token_file")).map_or(node.at, |n| n.at);
        faults.error(at, "a webhook's api_url and an app's token exclude each other: give one");
    }
    if let Some(url) = &config.app_url {
        check_url(node, faults, "app_url", url);
    }
    check_timeout(node, faults, &mut config.timeout, TIMEOUT);
}

fn not_yet(key: &str) -> Option<String> {
    matches!(key, "update_message" | "post_updates_to_thread")
        .then(|| not_supported(key, "each notification is a message of its own; leave it out"))
}

impl SlackConfig {
    fn has_url(&self) -> bool {
        is_given(&self.api_url, &self.api_url_file)
    }

    fn has_token(&self) -> bool {
        is_given(&self.app_token, &self.app_token_file)
    }
}

impl SinkConfig for SlackConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn inherit(&mut self, global: &GlobalConfig, node: &Node, faults: &mut Faults) {
        let http = self.http_config.get_or_insert_with(|| global.http_config.clone());
        let authorized = http.basic_auth.is_some() || http.authorization.is_some() || http.oauth2.is_some();
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

impl SlackSink {
    fn request(&self, message: &Message<'_>) -> Result<Request<'_>, DeliveryError> {
        let config = &self.config;
        Ok(Request {
            channel: message.plain(&config.channel)?,
            username: message.plain(&config.username)?,
            icon_emoji: message.plain(&config.icon_emoji)?,
            icon_url: message.plain(&config.icon_url)?,
            link_names: config.link_names,
            text: message.plain(&config.message_text)?,
            attachments: [Attachment::new(config, message)?],
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
mod tests;
