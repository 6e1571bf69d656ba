//! The `pushover` sink: a message to telephones, by Pushover's API; the chart is its attachment.
//!
//! What is sent is a form, so that tokens stand in no URL. The title is cut to 250 characters, the message to 1024, the
//! URL to 512 and its title to 100. Pushover says `{"status": 1}`; what else it says with a status of success is a
//! lasting failure. Of emergencies (priority 2) Pushover reminds every `retry` for `expire` by itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, multipart};
use serde_json::Value;

use super::http::{Answer, HttpClient, Outgoing};
use super::message::{
    Message, TIMEOUT, chart, check_secret, check_timeout, client, cut, is_given, need_secret, resolve, settled,
    template,
};
use super::{
    Delivered, Delivery, DeliveryError, GlobalConfig, HttpConfig, Notification, Reason, Sink, SinkConfig, SinkContext,
    Text,
};
use crate::section;
use crate::yaml::{Faults, Node, Secret};

section! {
    check = check;
    /// A message to telephones by Pushover.
    pub struct PushoverConfig {
        /// Whether resolved alerts are sent too.
        pub send_resolved: bool = true,
        /// The key of the user or group.
        pub user_key: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub user_key_file: Option<PathBuf> = None,
        /// The token of the application.
        pub token: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub token_file: Option<PathBuf> = None,
        /// The title.
        pub title: Text = template("pushover.default.title"),
        /// The text.
        pub message: Text = template("pushover.default.message"),
        /// A link below the text.
        pub url: Text = template("pushover.default.url"),
        /// What the link is called.
        pub url_title: Text = Text::default(),
        /// The user's device, where it is not all of them.
        pub device: Text = Text::default(),
        /// The sound.
        pub sound: Text = Text::default(),
        /// From -2, no alert at all, to 2, an emergency.
        pub priority: Text = Text::new(r#"{{ if eq .Status "firing" }}2{{ else }}0{{ end }}"#),
        /// How often an emergency is told until somebody acknowledges it.
        pub retry: Duration = Duration::from_secs(60),
        /// For how long an emergency is told.
        pub expire: Duration = Duration::from_secs(60 * 60),
        /// After how long the message goes away by itself; 0: never.
        pub ttl: Duration = Duration::ZERO,
        /// Whether the text is HTML.
        pub html: bool = false,
        /// Whether the text is shown in a font with letters of one width.
        pub monospace: bool = false,
        /// Whether a chart of the alert is attached.
        pub chart: bool = true,
        /// The time for one request, the answer included.
        pub timeout: Duration = TIMEOUT,
        /// How requests are made.
        pub http_config: Option<HttpConfig> = None,
    }
}

fn check(config: &mut PushoverConfig, node: &Node, faults: &mut Faults) {
    for (key, value, file) in
        [("user_key", &config.user_key, &config.user_key_file), ("token", &config.token, &config.token_file)]
    {
        check_secret(node, faults, key, value, file);
        need_secret(node, faults, "pushover_configs", key, is_given(value, file), "");
    }
    if config.html && config.monospace {
        faults.error(node.place("monospace"), "html and monospace exclude each other");
    }
    if config.retry < Duration::from_secs(30) {
        let at = node.place("retry");
        faults.warn(at, "Pushover takes no emergency with a retry of less than 30s");
    }
    check_timeout(node, faults, &mut config.timeout, TIMEOUT);
}

impl SinkConfig for PushoverConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn inherit(&mut self, global: &GlobalConfig, _: &Node, _: &mut Faults) {
        self.http_config.get_or_insert_with(|| global.http_config.clone());
    }

    fn resolve_paths(&mut self, dir: &Path) {
        resolve(dir, [&mut self.user_key_file, &mut self.token_file], &mut self.http_config);
    }

    fn build(&self, context: &SinkContext) -> Arc<dyn Sink> {
        Arc::new(PushoverSink::new(self, context, "https://api.pushover.net/1/messages.json"))
    }
}

struct PushoverSink {
    config: PushoverConfig,
    client: HttpClient,
    context: SinkContext,
    url: String,
}

// What Pushover's documentation says of messages, in characters.
const MAX_TITLE: usize = 250;
const MAX_MESSAGE: usize = 1024;
const MAX_URL: usize = 512;
const MAX_URL_TITLE: usize = 100;

impl PushoverSink {
    fn new(config: &PushoverConfig, context: &SinkContext, url: &str) -> PushoverSink {
        let client = client(config.http_config.as_ref(), config.timeout);
        PushoverSink { config: config.clone(), client, context: context.clone(), url: url.to_string() }
    }

    /// The fields that are not secret.
    fn fields(&self, message: &Message<'_>) -> Result<Vec<(&'static str, String)>, DeliveryError> {
        let config = &self.config;
        let text = if config.html { message.html(&config.message)? } else { message.plain(&config.message)? };
        let text = cut(text, MAX_MESSAGE).trim().to_string();
        let flag = |flag: bool| if flag { "1".to_string() } else { String::new() };
        let seconds = |duration: Duration| duration.as_secs().to_string();
        let all = vec![
            ("title", cut(message.plain(&config.title)?, MAX_TITLE)),
            // Pushover refuses an empty message.
            ("message", if text.is_empty() { "(no text)".to_string() } else { text }),
            ("html", flag(config.html)),
            ("monospace", flag(config.monospace)),
            ("url", cut(message.plain(&config.url)?, MAX_URL)),
            ("url_title", cut(message.plain(&config.url_title)?, MAX_URL_TITLE)),
            ("priority", message.plain(&config.priority)?),
            ("retry", seconds(config.retry)),
            ("expire", seconds(config.expire)),
            ("device", message.plain(&config.device)?),
            ("sound", message.plain(&config.sound)?),
            ("ttl", if config.ttl.as_secs() == 0 { String::new() } else { seconds(config.ttl) }),
        ];
        Ok(all.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    async fn send(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let config = &self.config;
        let message = Message::new(&self.context.texts, notification);
        let mut fields = self.fields(&message)?;
        // Templates in these, as in Alertmanager: who is told may depend on a label.
        let token = message.secret("token", config.token.as_ref(), config.token_file.as_deref())?;
        let user = message.secret("user_key", config.user_key.as_ref(), config.user_key_file.as_deref())?;
        fields.extend([("token", token.clone()), ("user", user.clone())]);
        let finished =
            |outgoing: Outgoing| outgoing.secret(&token).secret(&user).header("Idempotency-Key", &notification.id);
        if let Some(chart) = chart(config.chart, self.context.charts.as_ref(), notification).await {
            let form =
                fields.iter().fold(multipart::Form::new(), |form, (name, value)| form.text(*name, value.clone()));
            let outgoing = finished(Outgoing::multipart(&self.url, form.part("attachment", chart)));
            let sent = self.client.send(outgoing).await.and_then(|answer| judge(&answer));
            if let Some(result) = settled(sent) {
                return result;
            }
        }
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
        let outgoing = Outgoing::new(Method::POST, &self.url, body.into_bytes())
            .header("Content-Type", "application/x-www-form-urlencoded");
        judge(&self.client.send(finished(outgoing)).await?)
    }
}

impl Sink for PushoverSink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(self.send(notification))
    }
}

/// Reads an answer with a status of success.
fn judge(answer: &Answer) -> Result<Delivered, DeliveryError> {
    let text = String::from_utf8_lossy(&answer.body);
    match serde_json::from_slice::<Value>(&answer.body) {
        Ok(json) if json.get("status") == Some(&Value::from(1)) => Ok(answer.delivered()),
        Ok(_) => Err(answer.refused(false, &text)),
        // It is not Pushover that answers.
        Err(_) => Err(DeliveryError { reason: Reason::Other, ..answer.refused(true, &text) }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    use super::super::message::testing::{PNG, chart_of, context, entry, parts_of, read, with_empty};
    use super::super::notification::tests::example;
    use super::super::testing::{Seen, far_side};
    use super::*;

    const OK: &str = r#"{"status":1,"request":"x"}"#;

    fn pushover(more: &str) -> PushoverConfig {
        let texts = with_empty(&["title", "message", "url", "priority"], more);
        entry(&format!("user_key: hunter1\ntoken: hunter2\n{texts}"), "")
    }

    async fn deliver(config: &PushoverConfig, to: SocketAddr, charts: bool) -> Result<Delivered, DeliveryError> {
        let context = context(charts.then(|| chart_of(|_, _| Some(PNG.to_vec()))));
        PushoverSink::new(config, &context, &format!("http://{to}/1/messages.json")).deliver(&example()).await
    }

    fn fields(seen: &Seen) -> BTreeMap<String, String> {
        assert_eq!(seen.header("content-type"), "application/x-www-form-urlencoded");
        form_urlencoded::parse(&seen.body).into_owned().collect()
    }

    #[tokio::test]
    async fn a_message_is_a_form_with_all_that_the_configuration_says() {
        let (address, seen) = far_side(vec![(200, vec![], OK)]).await;
        let config = pushover(
            "title: A <t> & more\nmessage: the text\nurl: http://host:9100/\nurl_title: Agent\ndevice: phone\n\
             sound: siren\npriority: '2'\nretry: 90s\nexpire: 2h\nttl: 1d\nmonospace: true",
        );
        assert_eq!(deliver(&config, address, false).await.unwrap().answer, "200 OK");
        let seen = seen.lock().unwrap()[0].clone();
        assert_eq!((seen.path.as_str(), seen.header("idempotency-key")), ("/1/messages.json", "s-7"));
        let expected = [
            ("device", "phone"),
            ("expire", "7200"),
            ("message", "the text"),
            ("monospace", "1"),
            ("priority", "2"),
            ("retry", "90"),
            ("sound", "siren"),
            ("title", "A <t> & more"),
            ("token", "hunter2"),
            ("ttl", "86400"),
            ("url", "http://host:9100/"),
            ("url_title", "Agent"),
            ("user", "hunter1"),
        ];
        assert_eq!(fields(&seen), expected.map(|(n, v)| (n.to_string(), v.to_string())).into());
    }

    #[tokio::test]
    async fn long_texts_are_cut_and_an_empty_message_says_so() {
        let (address, seen) = far_side(vec![(200, vec![], OK)]).await;
        let long = "ü".repeat(2000);
        let config = pushover(&format!("title: {long}\nmessage: {long}\nurl: {long}\nurl_title: {long}\nhtml: true"));
        deliver(&config, address, false).await.unwrap();
        deliver(&pushover(""), address, false).await.unwrap();
        let seen = seen.lock().unwrap().clone();
        let cut = fields(&seen[0]);
        let lengths = ["title", "message", "url", "url_title"].map(|key| cut[key].chars().count());
        assert_eq!((lengths, cut["html"].as_str()), ([250, 1024, 512, 100], "1"));
        assert!(cut["message"].ends_with('…'));
        let empty = fields(&seen[1]);
        assert_eq!((empty["message"].as_str(), empty.contains_key("ttl")), ("(no text)", false));
    }

    #[tokio::test]
    async fn the_chart_is_attached_and_does_not_hinder_the_text() {
        let refused = r#"{"attachment":"too large","status":0}"#;
        let (address, seen) = far_side(vec![(200, vec![], OK), (413, vec![], refused), (200, vec![], OK)]).await;
        let config = pushover("title: T");
        deliver(&config, address, true).await.unwrap();
        deliver(&config, address, true).await.unwrap();
        let seen = seen.lock().unwrap().clone();
        let parts = parts_of(&seen[0]);
        assert!(parts.contains(&("title".to_string(), String::new(), b"T".to_vec())));
        assert!(parts.contains(&("token".to_string(), String::new(), b"hunter2".to_vec())));
        assert_eq!(parts.last(), Some(&("attachment".to_string(), "chart.png".to_string(), PNG.to_vec())));
        assert_eq!((seen.len(), fields(&seen[2])["title"].as_str()), (3, "T"));
    }

    #[tokio::test]
    async fn refusals_last_and_show_no_key() {
        let invalid = r#"{"user":"invalid","errors":["user hunter1 is invalid for hunter2"],"status":0}"#;
        let answers = vec![(400, vec![], invalid), (200, vec![], invalid), (200, vec![], "<html>"), (429, vec![], "")];
        let (address, _) = far_side(answers).await;
        let config = pushover("");
        for retry in [false, false, true, true] {
            let error = deliver(&config, address, false).await.unwrap_err();
            assert_eq!(error.retry, retry, "{error}");
            assert!(!error.message.contains("hunter"), "{error}");
        }
        assert!(!format!("{config:?}").contains("hunter"));
    }

    #[tokio::test]
    async fn keys_can_come_from_files_and_have_templates() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("user"), "{{ \"from\" | toUpper }}\n").unwrap();
        std::fs::write(dir.path().join("token"), "t\n").unwrap();
        let (address, seen) = far_side(vec![(200, vec![], OK)]).await;
        let texts = "title: x\nmessage: x\nurl: x\npriority: x";
        let mut config: PushoverConfig = entry(&format!("user_key_file: user\ntoken_file: token\n{texts}"), "");
        config.resolve_paths(dir.path());
        deliver(&config, address, false).await.unwrap();
        let fields = fields(&seen.lock().unwrap()[0]);
        assert_eq!((fields["user"].as_str(), fields["token"].as_str()), ("FROM", "t"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(
            read::<PushoverConfig>("{user_key: a, user_key_file: b, html: true, monospace: true, retry: 5s}", "").1,
            [
                "entry.yaml:1:30: user_key and user_key_file exclude each other: give one",
                "entry.yaml:1:1: pushover_configs needs a token or a token_file",
                "entry.yaml:1:56: html and monospace exclude each other",
                "entry.yaml:1:69: warning: Pushover takes no emergency with a retry of less than 30s",
            ]
        );
    }
}
