//! The `msteamsv2` sink: a message to a channel of Microsoft Teams by a workflow, as an adaptive card.
//!
//! Teams takes 28 KB, so the text is cut to that: a workflow accepts more, and then loses it. Any 2xx confirms.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::http::{HttpClient, Outgoing};
use super::message::{Message, TIMEOUT, check_timeout, check_webhook, client, fitting, resolve, secret_now, template};
use super::msteams::MAX_BODY;
use super::{
    Delivered, Delivery, DeliveryError, GlobalConfig, HttpConfig, Notification, Sink, SinkConfig, SinkContext, Status,
    Text,
};
use crate::section;
use crate::yaml::{Faults, Node, Secret};

section! {
    check = |config: &mut MsTeamsV2Config, node: &Node, faults: &mut Faults| {
        check_webhook(node, faults, "msteamsv2_configs", &config.webhook_url, &config.webhook_url_file);
        check_timeout(node, faults, &mut config.timeout, TIMEOUT);
    };
    /// A message to a channel of Microsoft Teams by a workflow.
    pub struct MsTeamsV2Config {
        /// Whether resolved alerts are sent too.
        pub send_resolved: bool = true,
        /// The workflow's webhook.
        pub webhook_url: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub webhook_url_file: Option<PathBuf> = None,
        /// The title.
        pub title: Text = template("msteamsv2.default.title"),
        /// The text, as Markdown.
        pub text: Text = template("msteamsv2.default.text"),
        /// The time for one request, the answer included.
        pub timeout: Duration = TIMEOUT,
        /// How requests are made.
        pub http_config: Option<HttpConfig> = None,
    }
}

impl SinkConfig for MsTeamsV2Config {
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
        Arc::new(MsTeamsV2Sink { config: self.clone(), client, context: context.clone() })
    }
}

struct MsTeamsV2Sink {
    config: MsTeamsV2Config,
    client: HttpClient,
    context: SinkContext,
}

impl MsTeamsV2Sink {
    async fn send(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let config = &self.config;
        let message = Message::new(&self.context.texts, notification);
        let title = message.plain(&config.title)?;
        let color = if notification.status() == Status::Firing { "Attention" } else { "Good" };
        let heading = json!({
            "type": "TextBlock", "text": title, "weight": "Bolder", "size": "Medium", "wrap": true, "style": "heading",
            "color": color,
        });
        let body = fitting(&message.plain(&config.text)?, MAX_BODY, |text| {
            let card = json!({
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.2",
                "body": [heading, {"type": "TextBlock", "text": text, "wrap": true}],
                "msteams": {"width": "full"},
            });
            let attachment = json!({
                "contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null, "content": card,
            });
            json!({"type": "message", "attachments": [attachment]})
        })?;
        let url = secret_now(config.webhook_url.as_ref(), config.webhook_url_file.as_deref())?;
        let outgoing = Outgoing::json(url, body).header("Idempotency-Key", &notification.id);
        self.client.send(outgoing).await.map(|answer| answer.delivered())
    }
}

impl Sink for MsTeamsV2Sink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(self.send(notification))
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::testing::{body, context, deliver, entry, read, resolved};
    use super::super::testing::far_side;
    use super::*;

    fn teams(address: impl std::fmt::Display, text: &str) -> MsTeamsV2Config {
        entry(&format!("webhook_url: http://{address}/workflows/1?sig=SECRETSIG\ntitle: T\ntext: {text}"), "")
    }

    #[tokio::test]
    async fn a_message_is_an_adaptive_card() {
        let (address, seen) = far_side(vec![(202, vec![], "")]).await;
        let config = teams(address, "the text");
        assert_eq!(deliver(&config).await.unwrap().answer, "202 Accepted");
        config.build(&context(None)).deliver(&resolved()).await.unwrap();
        let seen = seen.lock().unwrap().clone();
        assert_eq!((seen[0].path.as_str(), seen[0].header("idempotency-key")), ("/workflows/1?sig=SECRETSIG", "s-7"));
        let mut expected = json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": null,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.2",
                    "body": [
                        {
                            "type": "TextBlock", "text": "T", "weight": "Bolder", "size": "Medium", "wrap": true,
                            "style": "heading", "color": "Attention",
                        },
                        {"type": "TextBlock", "text": "the text", "wrap": true},
                    ],
                    "msteams": {"width": "full"},
                },
            }],
        });
        assert_eq!(body(&seen[0]), expected);
        expected["attachments"][0]["content"]["body"][0]["color"] = "Good".into();
        assert_eq!(body(&seen[1]), expected);
    }

    #[tokio::test]
    async fn a_text_is_cut_to_what_teams_takes() {
        let (address, seen) = far_side(vec![(202, vec![], "")]).await;
        deliver(&teams(address, &"ü".repeat(40_000))).await.unwrap();
        let length = seen.lock().unwrap()[0].body.len();
        assert!((28_000..=28 * 1024).contains(&length), "{length}");
    }

    #[tokio::test]
    async fn errors_say_what_the_workflow_said_and_not_its_signature() {
        let (address, _) = far_side(vec![(401, vec![], "SECRETSIG is not valid"), (502, vec![], "")]).await;
        let error = deliver(&teams(address, "x")).await.unwrap_err();
        assert!(!error.retry && error.message.ends_with(": <secret> is not valid"), "{error}");
        assert!(deliver(&teams(address, "x")).await.unwrap_err().retry);
    }

    #[test]
    fn it_needs_a_webhook() {
        let said = read::<MsTeamsV2Config>("title: x", "").1;
        assert_eq!(said, ["entry.yaml:1:1: msteamsv2_configs needs a webhook_url or a webhook_url_file"]);
    }
}
