//! The `gotify` sink: messages on a Gotify server.
//!
//! Gotify takes no files: the link to a chart stands in the text. Nor does it know a repetition; the header
//! `Idempotency-Key` is for what may stand before it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::address::Address;
use super::http::{Outgoing, is_set};
use super::message::{
    Message, TIMEOUT, check_secret, check_timeout, client, cut, is_given, need_secret, resolve, template,
};
use super::service::Urgency;
use super::{
    Delivered, Delivery, DeliveryError, GlobalConfig, HttpClient, HttpConfig, Notification, Sink, SinkConfig,
    SinkContext, Text, Texts,
};
use crate::section;
use crate::yaml::{Faults, Node, Secret};

/// Characters of a title: more is not shown anywhere.
const MAX_TITLE: usize = 250;
/// Characters of a message: Gotify has no limit, the apps that load all messages do.
const MAX_MESSAGE: usize = 20_000;

section! {
    check = check;
    /// Messages on a Gotify server.
    pub struct GotifyConfig {
        /// The server.
        pub url: Option<Address> = None,
        /// The token of an application.
        pub token: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub token_file: Option<PathBuf> = None,
        /// The title.
        pub title: Text = template("gotify.default.title"),
        /// The message.
        pub message: Text = template("gotify.default.message"),
        /// From 0 to 10; phones make a sound from 4 on and insist from 8 on. Else by the label `severity` of what fires:
        /// critical 10, error 8, warning 5, info 2; what is resolved has 2.
        pub priority: Text = Text::default(),
        /// The URL that a tap opens.
        pub click: Text = template("gotify.default.click"),
        /// Whether the message is Markdown.
        pub markdown: bool = false,
        /// Whether resolved alerts are told too.
        pub send_resolved: bool = true,
        /// The time for one request, the answer included.
        pub timeout: Duration = TIMEOUT,
        /// How requests are made.
        pub http_config: Option<HttpConfig> = None,
    }
}

fn check(config: &mut GotifyConfig, node: &Node, faults: &mut Faults) {
    check_timeout(node, faults, &mut config.timeout, TIMEOUT);
    check_secret(node, faults, "token", &config.token, &config.token_file);
    // The URL's own fault has been said already if it is there.
    if config.url.is_none() && !is_set(node, "url") {
        faults.error(node.at, "gotify_configs needs a url: the server");
    }
    let given = is_given(&config.token, &config.token_file);
    need_secret(node, faults, "gotify_configs", "token", given, ": those of an application");
    let priority = config.priority.as_str();
    if !priority.is_empty() && !priority.contains("{{") && read_priority(priority).is_none() {
        faults.error(node.place("priority"), "priority is a number from 0 to 10");
    }
}

impl SinkConfig for GotifyConfig {
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
        Arc::new(GotifySink::new(self, Arc::clone(&context.texts)))
    }
}

struct GotifySink {
    config: GotifyConfig,
    client: HttpClient,
    texts: Arc<Texts>,
}

impl GotifySink {
    fn new(config: &GotifyConfig, texts: Arc<Texts>) -> GotifySink {
        GotifySink { client: client(config.http_config.as_ref(), config.timeout), config: config.clone(), texts }
    }

    async fn send(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let fill = Message::new(&self.texts, notification);
        let message = self.message(&fill, notification)?;
        let token = fill.secret("token", self.config.token.as_ref(), self.config.token_file.as_deref())?;
        let url = self.config.url.as_ref().map(|server| server.below(["message"]).to_string()).unwrap_or_default();
        let request = Outgoing::json(url, message.to_string().into_bytes())
            .header("Idempotency-Key", &notification.id)
            // Not in `Authorization`, which may be for a proxy before it.
            .secret_header("X-Gotify-Key", &token, &token);
        let answer = self.client.send(request).await?;
        Ok(answer.delivered())
    }

    fn message(&self, fill: &Message<'_>, about: &Notification) -> Result<Value, DeliveryError> {
        let config = &self.config;
        let priority = read_priority(&fill.plain(&config.priority)?).unwrap_or(match Urgency::of(about) {
            Urgency::Low => 2,
            Urgency::Normal => 5,
            Urgency::High => 8,
            Urgency::Highest => 10,
        });
        let kind = if config.markdown { "text/markdown" } else { "text/plain" };
        let mut extras = json!({ "client::display": { "contentType": kind } });
        let click = fill.plain(&config.click)?;
        if let (false, Some(extras)) = (click.is_empty(), extras.as_object_mut()) {
            extras.insert("client::notification".to_string(), json!({ "click": { "url": click } }));
        }
        Ok(json!({
            "title": cut(fill.plain(&config.title)?, MAX_TITLE),
            "message": cut(fill.plain(&config.message)?, MAX_MESSAGE),
            "priority": priority,
            "extras": extras,
        }))
    }
}

fn read_priority(text: &str) -> Option<u8> {
    text.trim().parse().ok().filter(|priority| *priority <= 10)
}

impl Sink for GotifySink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(self.send(notification))
    }
}

#[cfg(test)]
mod tests {
    use super::super::notification::tests::example;
    use super::super::service::tests::{read, resolved};
    use super::super::testing::far_side;
    use super::*;

    fn sink(address: std::net::SocketAddr, more: &str) -> GotifySink {
        let entry = format!("{{url: 'http://{address}/gotify', token: Ahunter2, title: disk, message: full{more}}}");
        let (config, faults) = read::<GotifyConfig>(&entry, "{}");
        assert_eq!(faults, "");
        GotifySink::new(&config, Arc::default())
    }

    #[tokio::test]
    async fn a_message_has_a_priority_and_a_link() {
        let (address, seen) = far_side(vec![(200, vec![], r#"{"id":1}"#)]).await;
        let first = sink(address, ", click: 'http://host:9100'");
        assert_eq!(first.deliver(&example()).await.unwrap().answer, "200 OK");
        let more = ", markdown: true, click: 'http://c', priority: '{{ 7 }}'";
        sink(address, more).deliver(&example()).await.unwrap();
        sink(address, ", click: ''").deliver(&resolved()).await.unwrap();
        let seen = seen.lock().unwrap().clone();
        assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("POST", "/gotify/message"));
        assert_eq!(seen[0].header("content-type"), "application/json");
        assert_eq!(seen[0].header("x-gotify-key"), "Ahunter2");
        assert_eq!(seen[0].header("idempotency-key"), "s-7");
        let body = |i: usize| serde_json::from_slice::<Value>(&seen[i].body).unwrap();
        let message = |kind: &str, click: &str, priority: u8| {
            json!({
                "title": "disk", "message": "full", "priority": priority, "extras": {
                    "client::display": {"contentType": kind}, "client::notification": {"click": {"url": click}},
                },
            })
        };
        assert_eq!(body(0), message("text/plain", "http://host:9100", 10));
        assert_eq!(body(1), message("text/markdown", "http://c", 7));
        let plain = json!({"client::display": {"contentType": "text/plain"}});
        assert_eq!((&body(2)["priority"], &body(2)["extras"]), (&json!(2), &plain));
    }

    #[tokio::test]
    async fn long_texts_are_cut() {
        let (address, seen) = far_side(vec![(200, vec![], "")]).await;
        let mut sink = sink(address, ", click: ''");
        sink.config.title = Text::new("ä".repeat(300));
        sink.config.message = Text::new("ö".repeat(30_000));
        sink.deliver(&example()).await.unwrap();
        let body: Value = serde_json::from_slice(&seen.lock().unwrap()[0].body).unwrap();
        assert_eq!(body["title"], format!("{}…", "ä".repeat(249)));
        assert_eq!(body["message"].as_str().unwrap().chars().count(), 20_000);
    }

    #[tokio::test]
    async fn errors_say_why_and_do_not_show_the_token() {
        let answers = vec![(401, vec![], "Ahunter2: no such application"), (502, vec![], "")];
        let (address, _) = far_side(answers).await;
        let sink = sink(address, ", click: ''");
        let error = sink.deliver(&example()).await.unwrap_err();
        assert!(!error.retry && error.message.ends_with(": <secret>: no such application"), "{error}");
        assert!(sink.deliver(&example()).await.unwrap_err().retry);
        assert!(!format!("{:?}", sink.config).contains("hunter2"));
    }

    #[test]
    fn what_is_needed_is_said() {
        assert_eq!(
            read::<GotifyConfig>("{priority: 11}", "{}").1,
            "gotify_configs needs a url: the server\n\
             gotify_configs needs a token or a token_file: those of an application\n\
             priority is a number from 0 to 10"
        );
    }
}
