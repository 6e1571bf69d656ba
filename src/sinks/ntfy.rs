//! The `ntfy` sink: messages to a topic of ntfy.sh or a server of one's own, on phones and desktops.
//!
//! Without a chart a message goes as JSON to the server's address; with one, the picture is PUT to the topic and the text
//! goes along in headers, which is how ntfy takes attachments. A server that does not take the picture (no attachments
//! there, too large, no room) gets the text alone at once. Every try carries the notification's id as `X-Sequence-ID`:
//! from version 2.16 on ntfy shows a repetition in place of what it repeats; older ones do not look at it.
//!
//! ntfy takes 4096 bytes of a message and makes a file of a longer one: it is cut.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use reqwest::Method;
use serde::Serialize;
use serde_json::{Map, Value};

use super::address::Address;
use super::http::Outgoing;
use super::message::{
    CHART, Message, TIMEOUT, check_secret, check_timeout, client, cut, cut_bytes, picture, resolve, template,
};
use super::service::{Urgency, client_with_own_key};
use super::{
    Charts, Delivered, Delivery, DeliveryError, GlobalConfig, HttpClient, HttpConfig, Notification, Reason, Sink,
    SinkConfig, SinkContext, Text, Texts,
};
use crate::section;
use crate::yaml::{Faults, Node, Secret};

/// Bytes of a message that are taken as one.
const MAX_MESSAGE: usize = 4096;
/// Characters of a title: ntfy takes more, phones show less, and headers are limited.
const MAX_TITLE: usize = 250;

section! {
    check = check;
    /// Messages by ntfy.
    pub struct NtfyConfig {
        /// The server.
        pub url: Address = Address::fixed("https://ntfy.sh"),
        /// The topic. On a public server who knows it can read it: take one that cannot be guessed.
        pub topic: Text = Text::default(),
        /// An access token; instead of it `http_config` may have `basic_auth`.
        pub token: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub token_file: Option<PathBuf> = None,
        /// The title.
        pub title: Text = template("ntfy.default.title"),
        /// The message.
        pub message: Text = template("ntfy.default.message"),
        /// From 1 to 5, or `min`, `low`, `default`, `high`, `max`. Else by the label `severity` of what fires: critical 5,
        /// error 4, warning 3, info 2; what is resolved has 2.
        pub priority: Text = Text::default(),
        /// Tags; those that are names of emojis are shown as such.
        pub tags: Vec<Text> = vec![template("ntfy.default.tags")],
        /// The URL that a tap opens.
        pub click: Text = template("ntfy.default.click"),
        /// The URL of an icon.
        pub icon: Text = Text::default(),
        /// Up to three buttons.
        pub actions: Vec<NtfyAction> = Vec::new(),
        /// Whether the message is Markdown.
        pub markdown: bool = false,
        /// Whether a chart goes along.
        pub chart: bool = true,
        /// Whether resolved alerts are told too.
        pub send_resolved: bool = true,
        /// The time for one request, the answer included; with a chart there may be two.
        pub timeout: Duration = TIMEOUT,
        /// How requests are made.
        pub http_config: Option<HttpConfig> = None,
    }
}

section! {
    check = check_action;
    /// A button below a message.
    pub struct NtfyAction {
        /// `view` opens the URL, `http` makes a request to it.
        pub action: String = "view".to_string(),
        /// What the button says.
        pub label: Text = Text::default(),
        /// The URL; a button whose URL comes out empty is left out.
        pub url: Text = Text::default(),
        /// The method of an `http` request. Default POST.
        pub method: String = String::new(),
        /// Its body.
        pub body: Text = Text::default(),
        /// Whether the message goes away when the button is used.
        pub clear: bool = false,
    }
}

fn check(config: &mut NtfyConfig, node: &Node, faults: &mut Faults) {
    check_timeout(node, faults, &mut config.timeout, TIMEOUT);
    check_secret(node, faults, "token", &config.token, &config.token_file);
    if config.topic.is_empty() {
        faults.error(node.at, "ntfy_configs needs a topic");
    }
    let priority = config.priority.as_str();
    if !priority.is_empty() && !priority.contains("{{") && read_priority(priority).is_none() {
        let at = node.place("priority");
        faults.error(at, "priority is a number from 1 to 5, or min, low, default, high, max");
    }
    if config.actions.len() > 3 {
        let at = node.place("actions");
        faults.error(at, "ntfy shows at most three actions");
    }
}

fn check_action(action: &mut NtfyAction, node: &Node, faults: &mut Faults) {
    if !["view", "http"].contains(&action.action.as_str()) {
        faults.error(node.place("action"), "an action is view or http");
    }
    if action.label.is_empty() || action.url.is_empty() {
        faults.error(node.at, "an action needs a label and a url");
    }
}

impl SinkConfig for NtfyConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn inherit(&mut self, global: &GlobalConfig, _: &Node, _: &mut Faults) {
        self.http_config.get_or_insert_with(|| global.http_config.clone());
    }

    fn resolve_paths(&mut self, dir: &Path) {
        resolve(dir, [&mut self.token_file], &mut self.http_config);
    }

    fn build(&self, context: &SinkContext) -> Arc<dyn Sink> {
        Arc::new(NtfySink::new(self, Arc::clone(&context.texts), context.charts.clone()))
    }
}

struct NtfySink {
    config: NtfyConfig,
    client: HttpClient,
    texts: Arc<Texts>,
    charts: Option<Arc<dyn Charts>>,
}

/// A message as ntfy takes it in JSON.
#[derive(Serialize)]
struct Push {
    topic: String,
    title: String,
    message: String,
    priority: u8,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    click: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Value>,
    markdown: bool,
    sequence_id: String,
}

impl NtfySink {
    fn new(config: &NtfyConfig, texts: Arc<Texts>, charts: Option<Arc<dyn Charts>>) -> NtfySink {
        let token = config.token.is_some() || config.token_file.is_some();
        let client = if token { client_with_own_key } else { client };
        NtfySink { client: client(config.http_config.as_ref(), config.timeout), charts, config: config.clone(), texts }
    }

    async fn send(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let fill = Message::new(&self.texts, notification);
        let message = self.message(&fill, notification)?;
        let (token, file) = (self.config.token.as_ref(), self.config.token_file.as_deref());
        let token = match (token, file) {
            (None, None) => None,
            _ => Some(fill.secret("token", token, file)?),
        };
        if let Some(png) = picture(self.config.chart, self.charts.as_ref(), notification).await {
            match self.request(with_picture(&self.config.url, &message, png), token.as_deref()).await {
                // Who cannot be reached at all will not take the text either.
                Err(error) if error.reason != Reason::Other => {
                    tracing::debug!(%error, "ntfy does not take the chart");
                }
                result => return result,
            }
        }
        // Texts, numbers and lists of them always have a JSON form.
        let body = serde_json::to_vec(&message).unwrap_or_default();
        let request = Outgoing::json(self.config.url.as_str(), body).header("Idempotency-Key", &notification.id);
        self.request(request, token.as_deref()).await
    }

    async fn request(&self, request: Outgoing, token: Option<&str>) -> Result<Delivered, DeliveryError> {
        let request = match token {
            Some(token) => request.secret_header("Authorization", format!("Bearer {token}"), token),
            None => request,
        };
        let answer = self.client.send(request).await?;
        Ok(answer.delivered())
    }

    fn message(&self, fill: &Message<'_>, about: &Notification) -> Result<Push, DeliveryError> {
        let config = &self.config;
        let mut tags = Vec::new();
        for tag in &config.tags {
            tags.push(fill.plain(tag)?);
        }
        tags.retain(|tag| !tag.is_empty());
        let priority = read_priority(&fill.plain(&config.priority)?).unwrap_or(match Urgency::of(about) {
            Urgency::Low => 2,
            Urgency::Normal => 3,
            Urgency::High => 4,
            Urgency::Highest => 5,
        });
        let mut actions = Vec::new();
        for action in &config.actions {
            actions.extend(action.filled(fill)?);
        }
        Ok(Push {
            topic: fill.plain(&config.topic)?,
            title: cut(fill.plain(&config.title)?, MAX_TITLE),
            message: cut_bytes(fill.plain(&config.message)?, MAX_MESSAGE),
            priority,
            tags,
            click: fill.plain(&config.click)?,
            icon: fill.plain(&config.icon)?,
            actions,
            markdown: config.markdown,
            sequence_id: about.id.clone(),
        })
    }
}

impl NtfyAction {
    fn filled(&self, fill: &Message<'_>) -> Result<Option<Value>, DeliveryError> {
        let url = fill.plain(&self.url)?;
        if url.is_empty() {
            return Ok(None);
        }
        let mut action = Map::new();
        let mut add = |key: &str, value: String| {
            if !value.is_empty() {
                action.insert(key.to_string(), value.into());
            }
        };
        add("action", self.action.clone());
        add("label", fill.plain(&self.label)?);
        add("url", url);
        add("method", self.method.clone());
        add("body", fill.plain(&self.body)?);
        action.insert("clear".to_string(), self.clear.into());
        Ok(Some(Value::Object(action)))
    }
}

fn read_priority(text: &str) -> Option<u8> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "min" => Some(1),
        "2" | "low" => Some(2),
        "3" | "default" => Some(3),
        "4" | "high" => Some(4),
        "5" | "max" | "urgent" => Some(5),
        _ => None,
    }
}

/// The picture as the body, the message in headers.
fn with_picture(server: &Address, message: &Push, png: Vec<u8>) -> Outgoing {
    let url = server.below([message.topic.as_str()]);
    let mut request = Outgoing::new(Method::PUT, url, png)
        .header("Idempotency-Key", &message.sequence_id)
        .header("X-Sequence-ID", header(&message.sequence_id))
        .header("X-Filename", CHART)
        .header("X-Title", header(&message.title))
        .header("X-Message", header(&message.message))
        .header("X-Priority", message.priority.to_string());
    let actions =
        if message.actions.is_empty() { String::new() } else { Value::from(message.actions.clone()).to_string() };
    let markdown = if message.markdown { "yes" } else { "" };
    let tags = message.tags.join(",");
    let rest =
        [("X-Tags", tags.as_str()), ("X-Click", &message.click), ("X-Icon", &message.icon), ("X-Actions", &actions)];
    for (name, value) in rest.into_iter().chain([("X-Markdown", markdown)]).filter(|(_, value)| !value.is_empty()) {
        request = request.header(name, header(value));
    }
    request
}

/// A text as the value of a header: as it is where it may stand there, else encoded by RFC 2047, which ntfy decodes.
fn header(text: &str) -> String {
    let plain = |c: char| c == ' ' || c.is_ascii_graphic();
    if text.chars().all(plain) && text.trim() == text && !text.contains("=?") {
        return text.to_string();
    }
    // Not by quoted-printable: a text of emojis would be three times as long, and proxies limit headers.
    format!("=?UTF-8?B?{}?=", BASE64_STANDARD.encode(text))
}

impl Sink for NtfySink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(self.send(notification))
    }
}

#[cfg(test)]
mod tests;
