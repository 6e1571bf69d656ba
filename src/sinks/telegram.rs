//! The `telegram` sink: a message of a bot, by the Bot API. The chart comes with the text as its caption where the text is
//! short enough for that, else after it.
//!
//! A message is cut to 4096 characters; with `parse_mode: HTML` without breaking a tag, since Telegram refuses what it
//! cannot parse. What it still cannot parse is sent as plain text. Telegram says `{"ok": true}`; 429 and 5xx are tried
//! again, after `parameters.retry_after` where it is given.

mod html;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::multipart;
use serde_json::{Map, Value};

use super::http::{Answer, HttpClient, Outgoing, one_of};
use super::message::{
    Message, TIMEOUT, chart, check_secret, check_timeout, check_url, client, cut, inherit_needed, json, resolve,
    secret_now, settled, template,
};
use super::{
    Delivered, Delivery, DeliveryError, GlobalConfig, HttpConfig, Notification, Reason, Sink, SinkConfig, SinkContext,
    Text,
};
use crate::section;
use crate::yaml::{Faults, Node, Secret};

section! {
    check = check;
    /// A message of a Telegram bot.
    pub struct TelegramConfig {
        /// Whether resolved alerts are sent too.
        pub send_resolved: bool = true,
        /// The Bot API.
        pub api_url: Option<String> = None,
        /// The bot's token.
        pub bot_token: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub bot_token_file: Option<PathBuf> = None,
        /// The chat's number.
        pub chat_id: i64 = 0,
        /// A file that holds it; read for every notification.
        pub chat_id_file: Option<PathBuf> = None,
        /// The number of a topic in the chat.
        pub message_thread_id: i64 = 0,
        /// The text.
        pub message: Text = template("telegram.default.message"),
        /// Whether it comes without a sound.
        pub disable_notifications: bool = false,
        /// The markup of the text: HTML, MarkdownV2, Markdown, or empty for none.
        pub parse_mode: String = "HTML".to_string(),
        /// Whether a chart of the alert comes with the message.
        pub chart: bool = true,
        /// The time for one request, the answer included.
        pub timeout: Duration = TIMEOUT,
        /// How requests are made.
        pub http_config: Option<HttpConfig> = None,
    }
}

fn check(config: &mut TelegramConfig, node: &Node, faults: &mut Faults) {
    let at = |key: &str| node.place(key);
    check_secret(node, faults, "bot_token", &config.bot_token, &config.bot_token_file);
    one_of(node, faults, "chat_id", "chat_id_file", config.chat_id != 0, config.chat_id_file.is_some());
    if config.chat_id == 0 && config.chat_id_file.is_none() {
        faults.error(node.at, "telegram_configs needs a chat_id or a chat_id_file");
    }
    if !["", "HTML", "Markdown", "MarkdownV2"].contains(&config.parse_mode.as_str()) {
        faults.error(at("parse_mode"), "parse_mode is one of HTML, MarkdownV2, Markdown, or empty");
    }
    if config.parse_mode != "HTML" && node.get("message").is_none() {
        // The default text has tags.
        config.message = template("__plain");
    }
    if let Some(url) = &config.api_url {
        check_url(node, faults, "api_url", url);
    }
    check_timeout(node, faults, &mut config.timeout, TIMEOUT);
}

impl SinkConfig for TelegramConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn inherit(&mut self, global: &GlobalConfig, node: &Node, faults: &mut Faults) {
        self.http_config.get_or_insert_with(|| global.http_config.clone());
        self.api_url.get_or_insert_with(|| global.telegram_api_url.clone());
        let own = (&mut self.bot_token, &mut self.bot_token_file);
        let all = (&global.telegram_bot_token, &global.telegram_bot_token_file);
        inherit_needed(node, faults, ("telegram", "bot_token"), own, all);
    }

    fn resolve_paths(&mut self, dir: &Path) {
        resolve(dir, [&mut self.bot_token_file, &mut self.chat_id_file], &mut self.http_config);
    }

    fn build(&self, context: &SinkContext) -> Arc<dyn Sink> {
        let client = client(self.http_config.as_ref(), self.timeout);
        Arc::new(TelegramSink { config: self.clone(), client, context: context.clone() })
    }
}

struct TelegramSink {
    config: TelegramConfig,
    client: HttpClient,
    context: SinkContext,
}

/// The characters of a message.
const MAX_MESSAGE: usize = 4096;
/// The characters of a picture's caption.
const MAX_CAPTION: usize = 1024;

/// What a method of the Bot API is called with, but for the text.
struct Call<'a> {
    token: String,
    parameters: Vec<(&'static str, String)>,
    notification: &'a Notification,
}

impl TelegramSink {
    fn call<'a>(&self, notification: &'a Notification) -> Result<Call<'a>, DeliveryError> {
        let config = &self.config;
        let token = secret_now(config.bot_token.as_ref(), config.bot_token_file.as_deref())?;
        let chat = match config.chat_id_file.as_deref() {
            Some(file) => secret_now(None, Some(file))?,
            None => config.chat_id.to_string(),
        };
        let mut parameters = vec![("chat_id", chat)];
        if config.message_thread_id != 0 {
            parameters.push(("message_thread_id", config.message_thread_id.to_string()));
        }
        if config.disable_notifications {
            parameters.push(("disable_notification", "true".to_string()));
        }
        Ok(Call { token, parameters, notification })
    }

    async fn send(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let config = &self.config;
        let message = Message::new(&self.context.texts, notification);
        let html = config.parse_mode == "HTML";
        let text = match html {
            true => html::cut(message.html(&config.message)?, MAX_MESSAGE),
            false => cut(message.plain(&config.message)?, MAX_MESSAGE),
        };
        let length = if html { html::length(&text) } else { text.chars().count() };
        let call = self.call(notification)?;
        let chart = chart(config.chart, self.context.charts.as_ref(), notification).await;
        match chart {
            Some(chart) if length <= MAX_CAPTION => match settled(self.photo(&call, chart, &text).await) {
                Some(result) => result,
                None => self.text(&call, &text, &message).await,
            },
            Some(chart) => {
                let delivered = self.text(&call, &text, &message).await?;
                // What it is about has arrived: another try would repeat it.
                if let Err(error) = self.photo(&call, chart, "").await {
                    tracing::debug!("a chart was not taken: {error}");
                }
                Ok(delivered)
            }
            None => self.text(&call, &text, &message).await,
        }
    }

    async fn text(&self, call: &Call<'_>, text: &str, message: &Message<'_>) -> Result<Delivered, DeliveryError> {
        match self.send_message(call, text, &self.config.parse_mode).await {
            Err(error) if !self.config.parse_mode.is_empty() && error.message.contains("parse entities") => {
                tracing::warn!("a message for Telegram is sent as plain text: {error}");
                let text = cut(message.plain(&self.config.message)?, MAX_MESSAGE);
                self.send_message(call, &text, "").await
            }
            other => other,
        }
    }

    async fn send_message(&self, call: &Call<'_>, text: &str, parse_mode: &str) -> Result<Delivered, DeliveryError> {
        let fixed = [("text", text), ("parse_mode", parse_mode), ("disable_web_page_preview", "true")];
        let fixed = fixed.into_iter().filter(|(_, value)| !value.is_empty());
        let own = call.parameters.iter().map(|(name, value)| (*name, value.as_str()));
        let body: Map<String, Value> = fixed.chain(own).map(|(name, value)| (name.to_string(), value.into())).collect();
        self.request(call, Outgoing::json(self.url(call, "sendMessage"), json(&body)?)).await
    }

    async fn photo(&self, call: &Call<'_>, chart: multipart::Part, caption: &str) -> Result<Delivered, DeliveryError> {
        let mut form = multipart::Form::new();
        for (name, value) in &call.parameters {
            form = form.text(*name, value.clone());
        }
        if !caption.is_empty() {
            form = form.text("caption", caption.to_string());
            if !self.config.parse_mode.is_empty() {
                form = form.text("parse_mode", self.config.parse_mode.clone());
            }
        }
        self.request(call, Outgoing::multipart(self.url(call, "sendPhoto"), form.part("photo", chart))).await
    }

    fn url(&self, call: &Call<'_>, method: &str) -> String {
        let api = self.config.api_url.as_deref().unwrap_or_default().trim_end_matches('/');
        format!("{api}/bot{}/{method}", call.token)
    }

    async fn request(&self, call: &Call<'_>, outgoing: Outgoing) -> Result<Delivered, DeliveryError> {
        let outgoing = outgoing.secret(&call.token).header("Idempotency-Key", &call.notification.id);
        judge(&self.client.send(outgoing).await?)
    }
}

impl Sink for TelegramSink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(self.send(notification))
    }
}

/// Reads an answer with a status of success.
fn judge(answer: &Answer) -> Result<Delivered, DeliveryError> {
    let text = String::from_utf8_lossy(&answer.body);
    let Ok(Value::Object(json)) = serde_json::from_slice(&answer.body) else {
        // It is not Telegram that answers.
        return Err(DeliveryError { reason: Reason::Other, ..answer.refused(true, &text) });
    };
    match json.get("ok") {
        Some(Value::Bool(true)) => Ok(answer.delivered()),
        _ => Err(answer.refused(false, json.get("description").and_then(Value::as_str).unwrap_or(&text))),
    }
}

#[cfg(test)]
mod tests;
