//! The `webhook` sink: POSTs Alertmanager's version-4 JSON.
//!
//! 2xx confirms. 408, 429 and 5xx are tried again until they go well, `Retry-After` is honoured; other answers are tried
//! a few more times and then given up. Every try of one notification carries the same `Idempotency-Key` header.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::http::{HttpClient, is_http};
use super::message::{TIMEOUT, check_secret, check_timeout, client, is_given, need_secret, resolve, secret_now};
use super::{
    Delivered, Delivery, DeliveryError, GlobalConfig, HttpConfig, Notification, Sink, SinkConfig, SinkContext, Text,
    Texts, webhook_version_4,
};
use crate::section;
use crate::yaml::{Faults, FromYaml, Node, Secret};

section! {
    check = check;
    /// A POST for each notification.
    pub struct WebhookConfig {
        /// Where to; may have a template in it.
        pub url: Option<Secret> = None,
        /// A file that holds the URL, a template in it included; read for every notification.
        pub url_file: Option<PathBuf> = None,
        /// Whether resolved alerts are sent too.
        pub send_resolved: bool = true,
        /// At most this many alerts are in one message, the rest is only counted; 0: all are.
        pub max_alerts: usize = 0,
        /// The time for one request, the answer included.
        pub timeout: Duration = TIMEOUT,
        /// How requests are made.
        pub http_config: Option<HttpConfig> = None,
    }
}

fn check(config: &mut WebhookConfig, node: &Node, faults: &mut Faults) {
    check_timeout(node, faults, &mut config.timeout, TIMEOUT);
    check_secret(node, faults, "url", &config.url, &config.url_file);
    need_secret(node, faults, "a webhook", "url", is_given(&config.url, &config.url_file), "");
    let Some(url) = &config.url else { return };
    let at = node.get("url").unwrap_or(node);
    if url.expose().contains("{{") {
        // What it becomes is known only when it is filled in.
        let _ = Text::from_yaml(at, faults);
    } else if !is_http(url.expose()) {
        faults.error(at.at, "url is not an http or https URL");
    }
}

impl SinkConfig for WebhookConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn inherit(&mut self, global: &GlobalConfig, _: &Node, _: &mut Faults) {
        self.http_config.get_or_insert_with(|| global.http_config.clone());
    }

    fn resolve_paths(&mut self, dir: &Path) {
        resolve(dir, [&mut self.url_file], &mut self.http_config);
    }

    fn build(&self, context: &SinkContext) -> Arc<dyn Sink> {
        Arc::new(WebhookSink::new(self, &context.texts))
    }
}

struct WebhookSink {
    config: WebhookConfig,
    client: HttpClient,
    texts: Arc<Texts>,
}

impl WebhookSink {
    fn new(config: &WebhookConfig, texts: &Arc<Texts>) -> WebhookSink {
        WebhookSink {
            client: client(config.http_config.as_ref(), config.timeout),
            config: config.clone(),
            texts: Arc::clone(texts),
        }
    }

    async fn post(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let mut url = secret_now(self.config.url.as_ref(), self.config.url_file.as_deref())?;
        if url.contains("{{") {
            let filled = self.texts.unshown(&url, &self.texts.data(notification));
            url = filled.map_err(|error| DeliveryError { message: format!("the URL: {error}"), ..error })?;
        }
        let body = webhook_version_4(notification, self.config.max_alerts);
        self.client.post_json(url.trim(), &notification.id, body).await
    }
}

impl Sink for WebhookSink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(self.post(notification))
    }
}

#[cfg(test)]
mod tests;
