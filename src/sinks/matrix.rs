//! The `matrix` sink: messages to a room, by the client-server API of Matrix.
//!
//! A message is PUT with the notification's id as its transaction: a server that has taken it once gives the same answer
//! to a repetition, and the room sees it once. A chart follows as a picture of its own, with the id and `-chart`; it may
//! fail, the text has been said then. An event may have 64 KiB: where that is too little, the HTML is left out, and then
//! the text cut.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, Url};
use serde_json::{Value, json};

use super::address::Address;
use super::http::{Answer, Outgoing, is_set};
use super::message::{
    CHART, Message, TIMEOUT, check_secret, check_timeout, cut_bytes, is_given, need_secret, picture, resolve, template,
};
use super::service::client_with_own_key;
use super::{
    Charts, Delivered, Delivery, DeliveryError, GlobalConfig, HttpClient, HttpConfig, Notification, Reason, Sink,
    SinkConfig, SinkContext, Text, Texts,
};
use crate::section;
use crate::yaml::{Faults, Node, Secret};

/// Bytes of an event's content: of 64 KiB the server needs some for what it adds.
const MAX_CONTENT: usize = 60 * 1024;
/// Bytes of a text that fit however much JSON escapes in them.
const MAX_TEXT: usize = MAX_CONTENT / 6 - 100;

section! {
    check = check;
    /// Messages to a room of Matrix.
    pub struct MatrixConfig {
        /// The server of the user who writes.
        pub homeserver_url: Option<Address> = None,
        /// The access token of the user who writes. It is sent in place of what `http_config` authorizes with.
        pub access_token: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub access_token_file: Option<PathBuf> = None,
        /// The room, by its id (`!abc:example.org`), not an alias. The user must be in it.
        pub room_id: Text = Text::default(),
        /// The message.
        pub text: Text = template("matrix.default.text"),
        /// The message in HTML, for those who see it; none when it comes out empty.
        pub html: Text = template("matrix.default.html"),
        /// `m.text`, or `m.notice`, with which most apps make no sound.
        pub msgtype: Text = Text::new("m.text"),
        /// Whether a chart follows.
        pub chart: bool = true,
        /// Whether resolved alerts are told too.
        pub send_resolved: bool = true,
        /// The time for one request, the answer included; with a chart there are three.
        pub timeout: Duration = TIMEOUT,
        /// How requests are made.
        pub http_config: Option<HttpConfig> = None,
    }
}

fn check(config: &mut MatrixConfig, node: &Node, faults: &mut Faults) {
    check_timeout(node, faults, &mut config.timeout, TIMEOUT);
    check_secret(node, faults, "access_token", &config.access_token, &config.access_token_file);
    // The URL's own fault has been said already if it is there.
    if config.homeserver_url.is_none() && !is_set(node, "homeserver_url") {
        faults.error(node.at, "matrix_configs needs a homeserver_url");
    }
    let given = is_given(&config.access_token, &config.access_token_file);
    need_secret(node, faults, "matrix_configs", "access_token", given, "");
    let room = config.room_id.as_str();
    if !room.starts_with('!') && !room.contains("{{") {
        let at = node.place("room_id");
        faults.error(at, "room_id is the room's id, which begins with ! (in Element: room settings, Advanced)");
    }
    let kind = config.msgtype.as_str();
    if !["m.text", "m.notice"].contains(&kind) && !kind.contains("{{") {
        faults.error(node.place("msgtype"), "msgtype is m.text or m.notice");
    }
}

impl SinkConfig for MatrixConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn inherit(&mut self, global: &GlobalConfig, _: &Node, _: &mut Faults) {
        self.http_config.get_or_insert_with(|| global.http_config.clone());
    }

    fn resolve_paths(&mut self, dir: &Path) {
        resolve(dir, [&mut self.access_token_file], &mut self.http_config);
    }

    fn build(&self, context: &SinkContext) -> Arc<dyn Sink> {
        Arc::new(MatrixSink::new(self, Arc::clone(&context.texts), context.charts.clone()))
    }
}

struct MatrixSink {
    config: MatrixConfig,
    client: HttpClient,
    texts: Arc<Texts>,
    charts: Option<Arc<dyn Charts>>,
}

/// Where to write, and as whom.
struct Room<'a> {
    server: &'a Address,
    id: String,
    token: String,
}

impl MatrixSink {
    fn new(config: &MatrixConfig, texts: Arc<Texts>, charts: Option<Arc<dyn Charts>>) -> MatrixSink {
        MatrixSink {
            client: client_with_own_key(config.http_config.as_ref(), config.timeout),
            charts,
            config: config.clone(),
            texts,
        }
    }

    async fn send(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let config = &self.config;
        let Some(server) = &config.homeserver_url else {
            return Err(DeliveryError::lasting(Reason::Other, "no homeserver_url"));
        };
        let fill = Message::new(&self.texts, notification);
        let token = fill.secret("access_token", config.access_token.as_ref(), config.access_token_file.as_deref())?;
        let room = Room { server, id: fill.plain(&config.room_id)?, token };
        let answer = self.put(&room, &notification.id, &self.message(&fill)?).await?;
        if let Some(png) = picture(self.config.chart, self.charts.as_ref(), notification).await
            && let Err(error) = self.put_picture(&room, &notification.id, png).await
        {
            tracing::debug!(%error, "the room does not get the chart");
        }
        Ok(answer.delivered())
    }

    /// The content of the event.
    fn message(&self, fill: &Message<'_>) -> Result<Value, DeliveryError> {
        let config = &self.config;
        let (kind, text) = (fill.plain(&config.msgtype)?, fill.plain(&config.text)?);
        let plain = |text: &str| json!({ "msgtype": kind, "body": text });
        let html = fill.html(&config.html)?;
        let formatted = json!({
            "msgtype": kind, "body": text, "format": "org.matrix.custom.html", "formatted_body": html,
        });
        let fits = |content: &Value| content.to_string().len() <= MAX_CONTENT;
        // HTML that is cut is no longer well-formed.
        Ok(if !html.is_empty() && fits(&formatted) {
            formatted
        } else if fits(&plain(&text)) {
            plain(&text)
        } else {
            plain(&cut_bytes(text, MAX_TEXT))
        })
    }

    async fn put(&self, room: &Room<'_>, transaction: &str, content: &Value) -> Result<Answer, DeliveryError> {
        let path = ["_matrix", "client", "v3", "rooms", room.id.as_str(), "send", "m.room.message", transaction];
        let body = content.to_string().into_bytes();
        let request = Outgoing::new(Method::PUT, room.server.below(path), body).header("Idempotency-Key", transaction);
        self.ask(room, request.header("Content-Type", "application/json")).await
    }

    async fn put_picture(&self, room: &Room<'_>, id: &str, png: Vec<u8>) -> Result<(), DeliveryError> {
        let size = png.len();
        let mut url: Url = room.server.below(["_matrix", "media", "v3", "upload"]);
        url.query_pairs_mut().append_pair("filename", CHART);
        let upload = Outgoing::new(Method::POST, url, png).header("Content-Type", "image/png");
        let answer = self.ask(room, upload).await?;
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let Some(uri) = said.get("content_uri").and_then(Value::as_str) else {
            return Err(DeliveryError::lasting(Reason::ServerError, "no content_uri in the answer to an upload"));
        };
        let content = json!({
            "msgtype": "m.image", "body": CHART, "url": uri, "info": { "mimetype": "image/png", "size": size },
        });
        self.put(room, &format!("{id}-chart"), &content).await.map(drop)
    }

    async fn ask(&self, room: &Room<'_>, request: Outgoing) -> Result<Answer, DeliveryError> {
        let authorization = format!("Bearer {}", room.token);
        let request = request.secret_header("Authorization", authorization, &room.token);
        self.client.send(request).await
    }
}

impl Sink for MatrixSink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(self.send(notification))
    }
}

#[cfg(test)]
mod tests;
