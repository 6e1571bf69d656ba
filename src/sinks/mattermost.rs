//! The `mattermost` sink: a message to a channel of Mattermost by an incoming webhook.
//!
//! Without `attachments` of its own the message is one attachment, which the keys from `text` to `image_url` make. With
//! them, `text` is the message's and they stand below it. The text is cut to 16383 characters, the message's and each
//! attachment's. Any 2xx confirms.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::http::{HttpClient, Outgoing};
use super::message::{
    Field, FieldConfig, Message, TIMEOUT, check_secret_url, check_timeout, client, cut, in_channel, inherit_needed,
    is_false, json, resolve, secret_now, template,
};
use super::{
    Delivered, Delivery, DeliveryError, GlobalConfig, HttpConfig, Notification, Sink, SinkConfig, SinkContext, Text,
};
use crate::section;
use crate::yaml::{Faults, Node, Secret};

section! {
    check = |config: &mut MattermostConfig, node: &Node, faults: &mut Faults| {
        check_secret_url(node, faults, "webhook_url", &config.webhook_url, &config.webhook_url_file);
        check_timeout(node, faults, &mut config.timeout, TIMEOUT);
    };
    /// A message to a channel of Mattermost.
    pub struct MattermostConfig {
        /// Whether resolved alerts are sent too.
        pub send_resolved: bool = true,
        /// The incoming webhook.
        pub webhook_url: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub webhook_url_file: Option<PathBuf> = None,
        /// The channel, where it is not the webhook's own.
        pub channel: Text = Text::default(),
        /// Who the message is from.
        pub username: Text = template("mattermost.default.username"),
        /// The text, as Markdown.
        pub text: Text = template("mattermost.default.text"),
        /// What shows where attachments cannot.
        pub fallback: Text = template("mattermost.default.fallback"),
        /// The colour beside the attachment: #RRGGBB, good, warning or danger.
        pub color: Text = template("mattermost.default.color"),
        /// What stands above the attachment.
        pub pretext: Text = Text::default(),
        /// A name above the title.
        pub author_name: Text = Text::default(),
        /// Where the name leads.
        pub author_link: Text = Text::default(),
        /// The URL of a small picture before the name.
        pub author_icon: Text = Text::default(),
        /// The title.
        pub title: Text = template("mattermost.default.title"),
        /// Where the title leads.
        pub title_link: Text = template("mattermost.default.titlelink"),
        /// A table below the text.
        pub fields: Vec<FieldConfig> = Vec::new(),
        /// The URL of a small picture beside the text.
        pub thumb_url: Text = Text::default(),
        /// What stands below the attachment.
        pub footer: Text = Text::default(),
        /// The URL of a small picture before the footer.
        pub footer_icon: Text = Text::default(),
        /// The URL of a picture below the text.
        pub image_url: Text = Text::default(),
        /// The URL of the sender's picture.
        pub icon_url: Text = Text::default(),
        /// An emoji as the sender's picture.
        pub icon_emoji: Text = Text::default(),
        /// Attachments instead of the one that the keys above make.
        pub attachments: Vec<MattermostAttachmentConfig> = Vec::new(),
        /// The type of the post, for plugins: custom_ and a name.
        pub kind: Text as "type" = Text::default(),
        /// More of the post.
        pub props: MattermostPropsConfig = MattermostPropsConfig::default(),
        /// How urgent the post is.
        pub priority: MattermostPriorityConfig = MattermostPriorityConfig::default(),
        /// The time for one request, the answer included.
        pub timeout: Duration = TIMEOUT,
        /// How requests are made.
        pub http_config: Option<HttpConfig> = None,
    }
}

section! {
    /// An attachment: a block with a colour beside it.
    pub struct MattermostAttachmentConfig {
        /// What shows where attachments cannot.
        pub fallback: Text = Text::default(),
        /// The colour beside it.
        pub color: Text = Text::default(),
        /// What stands above it.
        pub pretext: Text = Text::default(),
        /// The text, as Markdown.
        pub text: Text = Text::default(),
        /// A name above the title.
        pub author_name: Text = Text::default(),
        /// Where the name leads.
        pub author_link: Text = Text::default(),
        /// The URL of a small picture before the name.
        pub author_icon: Text = Text::default(),
        /// The title.
        pub title: Text = Text::default(),
        /// Where the title leads.
        pub title_link: Text = Text::default(),
        /// A table below the text.
        pub fields: Vec<FieldConfig> = Vec::new(),
        /// The URL of a small picture beside the text.
        pub thumb_url: Text = Text::default(),
        /// What stands below it.
        pub footer: Text = Text::default(),
        /// The URL of a small picture before the footer.
        pub footer_icon: Text = Text::default(),
        /// The URL of a picture below the text.
        pub image_url: Text = Text::default(),
    }
}

section! {
    /// More of a post.
    pub struct MattermostPropsConfig {
        /// What the sidebar shows when the post's info is opened.
        pub card: Text = Text::default(),
    }
}

section! {
    /// How urgent a post is.
    pub struct MattermostPriorityConfig {
        /// urgent, important or standard.
        pub priority: Text = Text::default(),
        /// Whether readers are asked to acknowledge it; not for standard.
        pub requested_ack: bool = false,
        /// Whether those it mentions are told again until they do; for urgent.
        pub persistent_notifications: bool = false,
    }
}

impl SinkConfig for MattermostConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn inherit(&mut self, global: &GlobalConfig, node: &Node, faults: &mut Faults) {
        self.http_config.get_or_insert_with(|| global.http_config.clone());
        let own = (&mut self.webhook_url, &mut self.webhook_url_file);
        let all = (&global.mattermost_webhook_url, &global.mattermost_webhook_url_file);
        inherit_needed(node, faults, ("mattermost", "webhook_url"), own, all);
    }

    fn resolve_paths(&mut self, dir: &Path) {
        resolve(dir, [&mut self.webhook_url_file], &mut self.http_config);
    }

    fn build(&self, context: &SinkContext) -> Arc<dyn Sink> {
        let client = client(self.http_config.as_ref(), self.timeout);
        Arc::new(MattermostSink { config: self.clone(), client, context: context.clone() })
    }
}

struct MattermostSink {
    config: MattermostConfig,
    client: HttpClient,
    context: SinkContext,
}

#[derive(Serialize)]
struct Request {
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    channel: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon_emoji: String,
    attachments: Vec<Attachment>,
    #[serde(skip_serializing_if = "String::is_empty")]
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    props: Option<Props>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
}

#[derive(Serialize)]
struct Attachment {
    #[serde(skip_serializing_if = "String::is_empty")]
    fallback: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    color: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pretext: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    author_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    author_link: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    author_icon: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title_link: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field>,
    #[serde(skip_serializing_if = "String::is_empty")]
    thumb_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    footer: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    footer_icon: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    image_url: String,
}

#[derive(Serialize)]
struct Props {
    card: String,
}

#[derive(Serialize)]
struct Priority {
    priority: &'static str,
    #[serde(skip_serializing_if = "is_false")]
    requested_ack: bool,
    #[serde(skip_serializing_if = "is_false")]
    persistent_notifications: bool,
}

/// The characters that Mattermost takes of a text.
const MAX_TEXT: usize = 16383;

impl MattermostConfig {
    /// The attachment that the configuration's own keys make.
    fn attachment(&self) -> MattermostAttachmentConfig {
        MattermostAttachmentConfig {
            fallback: self.fallback.clone(),
            color: self.color.clone(),
            pretext: self.pretext.clone(),
            text: self.text.clone(),
            author_name: self.author_name.clone(),
            author_link: self.author_link.clone(),
            author_icon: self.author_icon.clone(),
            title: self.title.clone(),
            title_link: self.title_link.clone(),
            fields: self.fields.clone(),
            thumb_url: self.thumb_url.clone(),
            footer: self.footer.clone(),
            footer_icon: self.footer_icon.clone(),
            image_url: self.image_url.clone(),
        }
    }
}

fn attachment(config: &MattermostAttachmentConfig, message: &Message<'_>) -> Result<Attachment, DeliveryError> {
    Ok(Attachment {
        fallback: message.plain(&config.fallback)?,
        color: message.plain(&config.color)?,
        pretext: message.plain(&config.pretext)?,
        text: cut(message.plain(&config.text)?, MAX_TEXT),
        author_name: message.plain(&config.author_name)?,
        author_link: message.plain(&config.author_link)?,
        author_icon: message.plain(&config.author_icon)?,
        title: message.plain(&config.title)?,
        title_link: message.plain(&config.title_link)?,
        fields: message.fields(&config.fields, None)?,
        thumb_url: message.plain(&config.thumb_url)?,
        footer: message.plain(&config.footer)?,
        footer_icon: message.plain(&config.footer_icon)?,
        image_url: message.plain(&config.image_url)?,
    })
}

/// What Mattermost takes of a priority: others are standard, of which it asks nothing.
fn priority(config: &MattermostPriorityConfig, message: &Message<'_>) -> Result<Option<Priority>, DeliveryError> {
    let said = message.plain(&config.priority)?.to_lowercase();
    let priority = match said.as_str() {
        "" => return Ok(None),
        "urgent" => "urgent",
        "important" => "important",
        _ => "standard",
    };
    Ok(Some(Priority {
        priority,
        requested_ack: config.requested_ack && priority != "standard",
        persistent_notifications: config.persistent_notifications && priority == "urgent",
    }))
}

impl MattermostSink {
    fn request(&self, message: &Message<'_>) -> Result<Request, DeliveryError> {
        let config = &self.config;
        let (text, attachments) = if config.attachments.is_empty() {
            (String::new(), vec![attachment(&config.attachment(), message)?])
        } else {
            let attachments = config.attachments.iter().map(|config| attachment(config, message));
            (cut(message.plain(&config.text)?, MAX_TEXT), attachments.collect::<Result<_, _>>()?)
        };
        let card = message.plain(&config.props.card)?;
        Ok(Request {
            text,
            channel: message.plain(&config.channel)?,
            username: message.plain(&config.username)?,
            icon_url: message.plain(&config.icon_url)?,
            icon_emoji: message.plain(&config.icon_emoji)?,
            attachments,
            r#type: message.plain(&config.kind)?,
            props: (!card.is_empty()).then_some(Props { card }),
            priority: priority(&config.priority, message)?,
        })
    }

    async fn send(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let request = self.request(&Message::new(&self.context.texts, notification))?;
        let url = secret_now(self.config.webhook_url.as_ref(), self.config.webhook_url_file.as_deref())?;
        let outgoing = Outgoing::json(url, json(&request)?).header("Idempotency-Key", &notification.id);
        let sent = self.client.send(outgoing).await;
        sent.map(|answer| answer.delivered()).map_err(|e| in_channel(&request.channel, e))
    }
}

impl Sink for MattermostSink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(self.send(notification))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::message::testing::{body, deliver, entry, read, with_empty};
    use super::super::testing::far_side;
    use super::*;

    fn mattermost(address: impl std::fmt::Display, more: &str) -> MattermostConfig {
        let texts = with_empty(&["username", "text", "fallback", "color", "title", "title_link"], more);
        entry(&format!("webhook_url: http://{address}/hooks/SECRETHOOK\n{texts}"), "")
    }

    #[tokio::test]
    async fn without_attachments_the_keys_make_one() {
        let (address, seen) = far_side(vec![(200, vec![], "ok")]).await;
        let config = mattermost(
            address,
            r##"
channel: ops
username: Wächter
text: the text
fallback: short
color: "#ff0000"
pretext: above
author_name: an
author_link: al
author_icon: ai
title: A <title>
title_link: http://host:9100/
fields: [{title: a, value: b, short: true}, {title: c, value: d}]
thumb_url: tu
footer: below
footer_icon: fi
image_url: http://x/image.png
icon_url: iu
icon_emoji: fire
type: custom_x
props: {card: more}
priority: {priority: Urgent, requested_ack: true, persistent_notifications: true}
"##,
        );
        assert_eq!(deliver(&config).await.unwrap().answer, "200 OK");
        let seen = seen.lock().unwrap()[0].clone();
        assert_eq!((seen.path.as_str(), seen.header("idempotency-key")), ("/hooks/SECRETHOOK", "s-7"));
        let expected = json!({
            "channel": "ops",
            "username": "Wächter",
            "icon_url": "iu",
            "icon_emoji": "fire",
            "attachments": [{
                "fallback": "short", "color": "#ff0000", "pretext": "above", "text": "the text", "author_name": "an",
                "author_link": "al", "author_icon": "ai", "title": "A <title>", "title_link": "http://host:9100/",
                "fields": [{"title": "a", "value": "b", "short": true}, {"title": "c", "value": "d"}],
                "thumb_url": "tu", "footer": "below", "footer_icon": "fi", "image_url": "http://x/image.png",
            }],
            "type": "custom_x",
            "props": {"card": "more"},
            "priority": {"priority": "urgent", "requested_ack": true, "persistent_notifications": true},
        });
        assert_eq!(body(&seen), expected);
    }

    #[tokio::test]
    async fn with_attachments_the_text_stands_above_them() {
        let (address, seen) = far_side(vec![(200, vec![], "ok")]).await;
        let more =
            "text: T\nattachments: [{title: A, text: B}, {title: C}]\npriority: {priority: high, requested_ack: true}";
        deliver(&mattermost(address, more)).await.unwrap();
        let expected = json!({
            "text": "T", "attachments": [{"title": "A", "text": "B"}, {"title": "C"}], "priority": {"priority": "standard"},
        });
        assert_eq!(body(&seen.lock().unwrap()[0]), expected);
    }

    #[tokio::test]
    async fn texts_are_cut_to_what_mattermost_takes() {
        let (address, seen) = far_side(vec![(200, vec![], "ok")]).await;
        let long = "ü".repeat(20_000);
        deliver(&mattermost(address, &format!("text: {long}"))).await.unwrap();
        deliver(&mattermost(address, &format!("text: {long}\nattachments: [{{text: a}}]"))).await.unwrap();
        let seen = seen.lock().unwrap().clone();
        let cut = format!("{}…", "ü".repeat(16382));
        assert!(body(&seen[0])["attachments"][0]["text"] == cut && body(&seen[1])["text"] == cut);
    }

    #[tokio::test]
    async fn errors_name_the_channel_and_show_no_webhook() {
        let (address, _) = far_side(vec![(404, vec![], "no such channel at SECRETHOOK"), (500, vec![], "")]).await;
        let config = mattermost(address, "channel: ops");
        let error = deliver(&config).await.unwrap_err();
        assert!(!error.retry && error.message.starts_with("channel \"ops\": "), "{error}");
        assert!(error.message.ends_with("no such channel at <secret>"), "{error}");
        assert!(deliver(&config).await.unwrap_err().retry);
    }

    #[test]
    fn the_webhook_may_stand_under_global() {
        let config: MattermostConfig = entry("title: x", "mattermost_webhook_url: http://a/");
        assert_eq!(config.webhook_url.unwrap().expose(), "http://a/");
        assert_eq!(
            read::<MattermostConfig>("title: x", "").1,
            [
                "entry.yaml:1:1: mattermost_configs needs a webhook_url or a webhook_url_file, or mattermost_webhook_url \
                 under global"
            ]
        );
    }
}
