//! The `discord` sink: a message with one embed, by a webhook of a channel; the chart is the embed's picture.
//!
//! The title is cut to 256 characters, the message to 4096, the content to 2000. Any 2xx confirms; how long Discord wants
//! to be left alone after a 429 stands in the header and in the body.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Url, multipart};
use serde::Serialize;

use super::http::{HttpClient, Outgoing};
use super::message::{
    CHART, Message, TIMEOUT, chart, check_timeout, check_webhook, client, cut, json, resolve, secret_now, settled,
    template,
};
use super::{
    Delivered, Delivery, DeliveryError, GlobalConfig, HttpConfig, Notification, Sink, SinkConfig, SinkContext, Status,
    Text,
};
use crate::section;
use crate::yaml::{Faults, Node, Secret};

section! {
    check = check;
    /// A message to a channel of Discord.
    pub struct DiscordConfig {
        /// Whether resolved alerts are sent too.
        pub send_resolved: bool = true,
        /// The channel's webhook.
        pub webhook_url: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub webhook_url_file: Option<PathBuf> = None,
        /// What stands above the embed; mentions notify only here.
        pub content: Text = template("discord.default.content"),
        /// The title.
        pub title: Text = template("discord.default.title"),
        /// The text.
        pub message: Text = template("discord.default.message"),
        /// Who the message is from, where it is not the webhook's own name.
        pub username: String = String::new(),
        /// The URL of the sender's picture.
        pub avatar_url: String = String::new(),
        /// Whether a chart of the alert is in the message.
        pub chart: bool = true,
        /// The time for one request, the answer included.
        pub timeout: Duration = TIMEOUT,
        /// How requests are made.
        pub http_config: Option<HttpConfig> = None,
    }
}

fn check(config: &mut DiscordConfig, node: &Node, faults: &mut Faults) {
    check_webhook(node, faults, "discord_configs", &config.webhook_url, &config.webhook_url_file);
    if !config.avatar_url.is_empty() && Url::parse(&config.avatar_url).is_err() {
        faults.error(node.place("avatar_url"), "avatar_url is not a URL");
    }
    check_timeout(node, faults, &mut config.timeout, TIMEOUT);
}

impl SinkConfig for DiscordConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn inherit(&mut self, global: &GlobalConfig, _: &Node, _: &mut Faults) {
        self.http_config.get_or_insert_with(|| global.http_config.clone());
    }

    fn resolve_paths(&mut self, dir: &Path) {
        resolve(dir, [&mut self.webhook_url_file], &mut self.http_config);
    }

    fn build(&self, context: &SinkContext) -> Arc<dyn Sink> {
        let client = client(self.http_config.as_ref(), self.timeout);
        Arc::new(DiscordSink { config: self.clone(), client, context: context.clone() })
    }
}

struct DiscordSink {
    config: DiscordConfig,
    client: HttpClient,
    context: SinkContext,
}

#[derive(Serialize)]
struct Request<'a> {
    content: String,
    embeds: [Embed; 1],
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    avatar_url: &'a str,
}

#[derive(Serialize)]
struct Embed {
    title: String,
    description: String,
    color: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Image>,
}

#[derive(Serialize)]
struct Image {
    url: String,
}

// What Discord's documentation says of messages and embeds.
const MAX_CONTENT: usize = 2000;
const MAX_TITLE: usize = 256;
const MAX_DESCRIPTION: usize = 4096;

const RED: u32 = 0x99_2d22;
const GREEN: u32 = 0x2e_cc71;

impl DiscordSink {
    fn request(&self, notification: &Notification) -> Result<Request<'_>, DeliveryError> {
        let message = Message::new(&self.context.texts, notification);
        let embed = Embed {
            title: cut(message.plain(&self.config.title)?, MAX_TITLE),
            description: cut(message.plain(&self.config.message)?, MAX_DESCRIPTION),
            color: if notification.status() == Status::Firing { RED } else { GREEN },
            image: None,
        };
        Ok(Request {
            content: cut(message.plain(&self.config.content)?, MAX_CONTENT),
            embeds: [embed],
            username: &self.config.username,
            avatar_url: &self.config.avatar_url,
        })
    }

    async fn send(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let config = &self.config;
        let mut request = self.request(notification)?;
        let url = secret_now(config.webhook_url.as_ref(), config.webhook_url_file.as_deref())?;
        let plain = Outgoing::json(&url, json(&request)?).header("Idempotency-Key", &notification.id);
        if let Some(chart) = chart(config.chart, self.context.charts.as_ref(), notification).await {
            for embed in &mut request.embeds {
                embed.image = Some(Image { url: format!("attachment://{CHART}") });
            }
            let form = multipart::Form::new()
                .part("payload_json", multipart::Part::bytes(json(&request)?))
                .part("files[0]", chart);
            let outgoing = Outgoing::multipart(&url, form).header("Idempotency-Key", &notification.id);
            if let Some(result) = settled(self.client.send(outgoing).await) {
                return result.map(|answer| answer.delivered());
            }
        }
        self.client.send(plain).await.map(|answer| answer.delivered())
    }
}

impl Sink for DiscordSink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(self.send(notification))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::message::testing::{
        PNG, body, context, deliver, deliver_with_chart, entry, parts_of, read, resolved, with_empty,
    };
    use super::super::testing::far_side;
    use super::*;

    fn discord(more: &str) -> DiscordConfig {
        entry(&with_empty(&["content", "title", "message"], more), "")
    }

    #[tokio::test]
    async fn a_message_is_an_embed_red_while_it_fires_and_green_after() {
        let (address, seen) = far_side(vec![(204, vec![], "")]).await;
        let config = discord(&format!(
            "webhook_url: http://{address}/api/webhooks/1/TOKEN\ntitle: A <title>\nmessage: the text\n\
             content: '@here'\nusername: Wächter\navatar_url: http://x/a.png"
        ));
        assert_eq!(deliver(&config).await.unwrap().answer, "204 No Content");
        config.build(&context(None)).deliver(&resolved()).await.unwrap();
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen[0].path, "/api/webhooks/1/TOKEN");
        assert_eq!((seen[0].header("content-type"), seen[0].header("idempotency-key")), ("application/json", "s-7"));
        let mut expected = json!({
            "content": "@here",
            "embeds": [{"title": "A <title>", "description": "the text", "color": 10_038_562}],
            "username": "Wächter",
            "avatar_url": "http://x/a.png",
        });
        assert_eq!(body(&seen[0]), expected);
        expected["embeds"][0]["color"] = json!(3_066_993);
        assert_eq!(body(&seen[1]), expected);
    }

    #[tokio::test]
    async fn the_chart_is_uploaded_as_the_embeds_picture() {
        let (address, seen) = far_side(vec![(200, vec![], "{}")]).await;
        let config = discord(&format!("webhook_url: http://{address}/x\ntitle: T"));
        deliver_with_chart(&config).await.unwrap();
        deliver_with_chart(&DiscordConfig { chart: false, ..config }).await.unwrap();
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen[0].header("idempotency-key"), "s-7");
        let parts = parts_of(&seen[0]);
        assert_eq!((parts[0].0.as_str(), parts.len()), ("payload_json", 2));
        let payload: serde_json::Value = serde_json::from_slice(&parts[0].2).unwrap();
        assert_eq!(payload["embeds"][0]["title"], "T");
        assert_eq!(payload["embeds"][0]["image"], json!({"url": "attachment://chart.png"}));
        assert_eq!(parts[1], ("files[0]".to_string(), "chart.png".to_string(), PNG.to_vec()));
        assert_eq!(body(&seen[1])["embeds"][0].get("image"), None);
    }

    #[tokio::test]
    async fn a_chart_that_is_not_taken_does_not_hinder_the_text() {
        for status in [400, 413, 500] {
            let (address, seen) = far_side(vec![(status, vec![], "no pictures"), (204, vec![], "")]).await;
            deliver_with_chart(&discord(&format!("webhook_url: http://{address}/\ntitle: T"))).await.unwrap();
            let seen = seen.lock().unwrap().clone();
            assert_eq!((seen.len(), body(&seen[1])["embeds"][0]["title"].as_str()), (2, Some("T")));
        }
        let limited =
            (429, vec![], r#"{"message": "You are being rate limited.", "retry_after": 2.5, "global": false}"#);
        let (address, seen) = far_side(vec![limited]).await;
        let error = deliver_with_chart(&discord(&format!("webhook_url: http://{address}/"))).await.unwrap_err();
        assert_eq!((error.retry, error.retry_after), (true, Some(Duration::from_millis(2500))));
        assert_eq!(seen.lock().unwrap().len(), 1, "it is left alone");
    }

    #[tokio::test]
    async fn texts_are_cut_to_what_discord_takes() {
        let (address, seen) = far_side(vec![(204, vec![], "")]).await;
        let long = "ü".repeat(5000);
        let url = format!("webhook_url: http://{address}/");
        deliver(&discord(&format!("{url}\ntitle: {long}\nmessage: {long}\ncontent: {long}"))).await.unwrap();
        let body = body(&seen.lock().unwrap()[0]);
        let length = |text: &serde_json::Value| {
            assert!(text.as_str().unwrap().ends_with("ü…"));
            text.as_str().unwrap().chars().count()
        };
        let embed = &body["embeds"][0];
        assert_eq!(
            (length(&embed["title"]), length(&embed["description"]), length(&body["content"])),
            (256, 4096, 2000)
        );
    }

    #[tokio::test]
    async fn a_refusal_lasts_and_the_webhook_is_not_shown() {
        let (address, _) = far_side(vec![(404, vec![], r#"{"message": "Unknown Webhook SECRETTOKEN"}"#)]).await;
        let config = discord(&format!("webhook_url: http://{address}/api/webhooks/1/SECRETTOKEN"));
        let error = deliver(&config).await.unwrap_err();
        assert!(!error.retry);
        assert!(error.message.ends_with(r#"{"message": "Unknown Webhook <secret>"}"#), "{error}");
        assert!(!format!("{config:?}").contains("SECRET"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |text: &str| read::<DiscordConfig>(text, "").1;
        assert_eq!(said("title: x"), ["entry.yaml:1:1: discord_configs needs a webhook_url or a webhook_url_file"]);
        assert_eq!(
            said("{webhook_url: x, webhook_url_file: y, avatar_url: z}"),
            [
                "entry.yaml:1:36: webhook_url and webhook_url_file exclude each other: give one",
                "entry.yaml:1:15: webhook_url is not an http or https URL",
                "entry.yaml:1:51: avatar_url is not a URL",
            ]
        );
    }
}
