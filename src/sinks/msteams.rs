//! The `msteams` sink: a message to a channel of Microsoft Teams by an incoming webhook ("connector"), which Microsoft
//! replaces by workflows: see `msteamsv2`.
//!
//! Teams takes 28 KB, so the text is cut to that. A connector answers 200 even where Teams behind it does not take the
//! message, and says so in the body: that is a failure, which passes if Teams was busy.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::http::{Answer, HttpClient, Outgoing};
use super::message::{Message, TIMEOUT, check_timeout, check_webhook, client, fitting, resolve, secret_now, template};
use super::{
    Delivered, Delivery, DeliveryError, GlobalConfig, HttpConfig, Notification, Sink, SinkConfig, SinkContext, Status,
    Text,
};
use crate::section;
use crate::yaml::{Faults, Node, Secret};

section! {
    check = |config: &mut MsTeamsConfig, node: &Node, faults: &mut Faults| {
        check_webhook(node, faults, "msteams_configs", &config.webhook_url, &config.webhook_url_file);
        check_timeout(node, faults, &mut config.timeout, TIMEOUT);
    };
    /// A message to a channel of Microsoft Teams by an old connector.
    pub struct MsTeamsConfig {
        /// Whether resolved alerts are sent too.
        pub send_resolved: bool = true,
        /// The channel's webhook.
        pub webhook_url: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub webhook_url_file: Option<PathBuf> = None,
        /// The title.
        pub title: Text = template("msteams.default.title"),
        /// What a list of messages shows.
        pub summary: Text = template("msteams.default.summary"),
        /// The text, as Markdown.
        pub text: Text = template("msteams.default.text"),
        /// The time for one request, the answer included.
        pub timeout: Duration = TIMEOUT,
        /// How requests are made.
        pub http_config: Option<HttpConfig> = None,
    }
}

impl SinkConfig for MsTeamsConfig {
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
        Arc::new(MsTeamsSink { config: self.clone(), client, context: context.clone() })
    }
}

struct MsTeamsSink {
    config: MsTeamsConfig,
    client: HttpClient,
    context: SinkContext,
}

#[derive(Serialize)]
struct Card<'a> {
    #[serde(rename = "@context")]
    context: &'static str,
    r#type: &'static str,
    title: &'a str,
    summary: &'a str,
    text: String,
    #[serde(rename = "themeColor")]
    theme_color: &'static str,
}

/// The bytes that Teams takes of a message.
pub(super) const MAX_BODY: usize = 28 * 1024;

const RED: &str = "8C1A1A";
const GREEN: &str = "2DC72D";

impl MsTeamsSink {
    async fn send(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let config = &self.config;
        let message = Message::new(&self.context.texts, notification);
        let (title, summary) = (message.plain(&config.title)?, message.plain(&config.summary)?);
        let body = fitting(&message.plain(&config.text)?, MAX_BODY, |text| Card {
            context: "http://schema.org/extensions",
            r#type: "MessageCard",
            title: &title,
            summary: &summary,
            text,
            theme_color: if notification.status() == Status::Firing { RED } else { GREEN },
        })?;
        let url = secret_now(config.webhook_url.as_ref(), config.webhook_url_file.as_deref())?;
        let outgoing = Outgoing::json(url, body).header("Idempotency-Key", &notification.id);
        judge(&self.client.send(outgoing).await?)
    }
}

impl Sink for MsTeamsSink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(self.send(notification))
    }
}

/// Reads an answer with a status of success: `1`, or `Webhook message delivery failed with error: Microsoft Teams endpoint
/// returned HTTP error 429 with ContextId ...`.
fn judge(answer: &Answer) -> Result<Delivered, DeliveryError> {
    let text = String::from_utf8_lossy(&answer.body);
    if !text.contains("delivery failed") {
        return Ok(answer.delivered());
    }
    let status = text.split_once("HTTP error ").and_then(|(_, rest)| rest.get(..3)?.parse::<u16>().ok());
    let passes = status.is_none_or(|status| status == 429 || status >= 500);
    Err(answer.refused(passes, &text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::message::testing::{body, context, deliver, entry, read, resolved};
    use super::super::testing::far_side;
    use super::*;

    fn teams(address: impl std::fmt::Display, text: &str) -> MsTeamsConfig {
        entry(&format!("webhook_url: http://{address}/webhookb2/SECRETHOOK\ntitle: T\nsummary: S\ntext: {text}"), "")
    }

    #[tokio::test]
    async fn a_message_is_a_card_red_while_it_fires_and_green_after() {
        let (address, seen) = far_side(vec![(200, vec![], "1")]).await;
        let config = teams(address, "the <text>");
        assert_eq!(deliver(&config).await.unwrap().answer, "200 OK");
        config.build(&context(None)).deliver(&resolved()).await.unwrap();
        let seen = seen.lock().unwrap().clone();
        assert_eq!((seen[0].path.as_str(), seen[0].header("idempotency-key")), ("/webhookb2/SECRETHOOK", "s-7"));
        let mut expected = json!({
            "@context": "http://schema.org/extensions", "type": "MessageCard", "title": "T", "summary": "S",
            "text": "the <text>", "themeColor": "8C1A1A",
        });
        assert_eq!(body(&seen[0]), expected);
        expected["themeColor"] = "2DC72D".into();
        assert_eq!(body(&seen[1]), expected);
    }

    #[tokio::test]
    async fn a_text_is_cut_to_what_teams_takes() {
        let (address, seen) = far_side(vec![(200, vec![], "1")]).await;
        deliver(&teams(address, &"ü".repeat(40_000))).await.unwrap();
        let seen = seen.lock().unwrap()[0].clone();
        assert!((28_000..=28 * 1024).contains(&seen.body.len()), "{}", seen.body.len());
        assert!(body(&seen)["text"].as_str().unwrap().ends_with("ü…"));
    }

    #[tokio::test]
    async fn a_connector_may_fail_with_a_status_of_success() {
        const FAILED: &str =
            "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429";
        const REFUSED: &str =
            "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 403 SECRETHOOK";
        let answers = [FAILED, REFUSED].map(|said| (200, vec![], said));
        let (address, _) = far_side(answers.to_vec()).await;
        assert!(deliver(&teams(address, "x")).await.unwrap_err().retry);
        let error = deliver(&teams(address, "x")).await.unwrap_err();
        assert!(!error.retry && error.message.ends_with("HTTP error 403 <secret>"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |text: &str| read::<MsTeamsConfig>(text, "").1;
        assert_eq!(said("title: x"), ["entry.yaml:1:1: msteams_configs needs a webhook_url or a webhook_url_file"]);
        assert_eq!(
            said("{webhook_url: x, webhook_url_file: y}"),
            [
                "entry.yaml:1:36: webhook_url and webhook_url_file exclude each other: give one",
                "entry.yaml:1:15: webhook_url is not an http or https URL",
            ]
        );
    }
}
