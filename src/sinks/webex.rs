//! The `webex` sink: a message to a room of Webex, as a bot; the chart is the message's file.
//!
//! The bot's token is the `authorization` of `http_config`. A message is cut to 7439 bytes. Any 2xx confirms.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::multipart;
use serde::Serialize;

use super::http::{HttpClient, Outgoing};
use super::message::{
    Message, TIMEOUT, chart, check_timeout, check_url, client, cut_bytes, json, resolve, settled, template,
};
use super::{
    Delivered, Delivery, DeliveryError, GlobalConfig, HttpConfig, Notification, Sink, SinkConfig, SinkContext, Text,
};
use crate::section;
use crate::yaml::{Faults, Node};

section! {
    check = check;
    /// A message to a room of Webex.
    pub struct WebexConfig {
        /// Whether resolved alerts are sent too.
        pub send_resolved: bool = true,
        /// The messages endpoint.
        pub api_url: Option<String> = None,
        /// The room.
        pub room_id: Text = Text::default(),
        /// The text, as Markdown.
        pub message: Text = template("webex.default.message"),
        /// Whether a chart of the alert is in the message.
        pub chart: bool = true,
        /// The time for one request, the answer included.
        pub timeout: Duration = TIMEOUT,
        /// How requests are made; its authorization has the bot's token.
        pub http_config: Option<HttpConfig> = None,
    }
}

fn check(config: &mut WebexConfig, node: &Node, faults: &mut Faults) {
    if config.room_id.is_empty() {
        faults.error(node.at, "webex_configs needs a room_id");
    }
    if let Some(url) = &config.api_url {
        check_url(node, faults, "api_url", url);
    }
    check_timeout(node, faults, &mut config.timeout, TIMEOUT);
}

impl SinkConfig for WebexConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn inherit(&mut self, global: &GlobalConfig, node: &Node, faults: &mut Faults) {
        self.api_url.get_or_insert_with(|| global.webex_api_url.clone());
        if self.http_config.get_or_insert_with(|| global.http_config.clone()).authorization.is_none() {
            let what = "http_config: {authorization: {credentials: TOKEN}}, or credentials_file";
            faults.error(node.at, format!("webex_configs needs the bot's token: {what}"));
        }
    }

    fn resolve_paths(&mut self, dir: &Path) {
        resolve(dir, [], &mut self.http_config);
    }

    fn build(&self, context: &SinkContext) -> Arc<dyn Sink> {
        let client = client(self.http_config.as_ref(), self.timeout);
        Arc::new(WebexSink { config: self.clone(), client, context: context.clone() })
    }
}

struct WebexSink {
    config: WebexConfig,
    client: HttpClient,
    context: SinkContext,
}

#[derive(Serialize)]
struct Request {
    markdown: String,
    #[serde(rename = "roomId")]
    room_id: String,
}

/// The bytes that Webex takes of a message, before it encrypts them.
const MAX_MESSAGE: usize = 7439;

impl WebexSink {
    async fn send(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let config = &self.config;
        let message = Message::new(&self.context.texts, notification);
        let request = Request {
            markdown: cut_bytes(message.plain(&config.message)?, MAX_MESSAGE),
            room_id: message.plain(&config.room_id)?,
        };
        let url = config.api_url.as_deref().unwrap_or_default();
        if let Some(chart) = chart(config.chart, self.context.charts.as_ref(), notification).await {
            let form = multipart::Form::new()
                .text("roomId", request.room_id.clone())
                .text("markdown", request.markdown.clone())
                .part("files", chart);
            let outgoing = Outgoing::multipart(url, form).header("Idempotency-Key", &notification.id);
            if let Some(result) = settled(self.client.send(outgoing).await) {
                return result.map(|answer| answer.delivered());
            }
        }
        let outgoing = Outgoing::json(url, json(&request)?).header("Idempotency-Key", &notification.id);
        self.client.send(outgoing).await.map(|answer| answer.delivered())
    }
}

impl Sink for WebexSink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(self.send(notification))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::message::testing::{PNG, body, deliver, deliver_with_chart, entry, parts_of, read};
    use super::super::testing::far_side;
    use super::*;

    fn webex(address: impl std::fmt::Display, message: &str) -> WebexConfig {
        let text = format!(
            "api_url: http://{address}/v1/messages\nroom_id: ROOM\nmessage: '{message}'\n\
             http_config: {{authorization: {{credentials: hunter2}}}}"
        );
        entry(&text, "")
    }

    #[tokio::test]
    async fn a_message_goes_to_the_room_as_the_bot() {
        let (address, seen) = far_side(vec![(200, vec![], "{}")]).await;
        assert_eq!(deliver(&webex(address, "**text**")).await.unwrap().answer, "200 OK");
        deliver(&webex(address, &"ü".repeat(4000))).await.unwrap();
        let seen = seen.lock().unwrap().clone();
        assert_eq!((seen[0].path.as_str(), seen[0].header("idempotency-key")), ("/v1/messages", "s-7"));
        assert_eq!(seen[0].header("authorization"), "Bearer hunter2");
        assert_eq!(body(&seen[0]), json!({"markdown": "**text**", "roomId": "ROOM"}));
        assert_eq!(body(&seen[1])["markdown"], format!("{}…", "ü".repeat(3718)));
    }

    #[tokio::test]
    async fn the_chart_is_a_file_and_does_not_hinder_the_text() {
        let (address, seen) = far_side(vec![(200, vec![], "{}"), (415, vec![], "no"), (200, vec![], "{}")]).await;
        for _ in 0..2 {
            deliver_with_chart(&webex(address, "text")).await.unwrap();
        }
        let seen = seen.lock().unwrap().clone();
        let part = |name: &str, file: &str, bytes: &[u8]| (name.to_string(), file.to_string(), bytes.to_vec());
        let expected = [part("roomId", "", b"ROOM"), part("markdown", "", b"text"), part("files", "chart.png", PNG)];
        assert_eq!(parts_of(&seen[0]), expected);
        assert_eq!(body(&seen[2])["markdown"], "text");
    }

    #[tokio::test]
    async fn errors_say_what_webex_said_and_not_the_token() {
        let wait = vec![("Retry-After", "20".to_string())];
        let (address, _) = far_side(vec![(429, wait, ""), (401, vec![], "hunter2 is not valid")]).await;
        let error = deliver(&webex(address, "text")).await.unwrap_err();
        assert_eq!((error.retry, error.retry_after), (true, Some(Duration::from_secs(20))));
        let error = deliver(&webex(address, "text")).await.unwrap_err();
        assert!(!error.retry && error.message.ends_with(": <secret> is not valid"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(
            read::<WebexConfig>("api_url: x", "").1,
            [
                "entry.yaml:1:1: webex_configs needs a room_id",
                "entry.yaml:1:10: api_url is not an http or https URL",
                "entry.yaml:1:1: webex_configs needs the bot's token: http_config: {authorization: {credentials: \
                 TOKEN}}, or credentials_file",
            ]
        );
        let global = "http_config: {authorization: {credentials_file: x}}";
        assert!(read::<WebexConfig>("room_id: x", global).1.is_empty());
    }
}
