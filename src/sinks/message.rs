//! What sinks that write into a chat have in common: fields of a message, a chart in a form, and keys that stand in the
//! entry, in a file or under `global`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::multipart::Form;
use serde::Serialize;

use super::http::{is_http, one_of, secret};
use super::service::{Fill, chart, chart_form, cut_bytes, go_json};
use super::{Charts, DeliveryError, HttpConfig, Notification, Reason, Text};
use crate::section;
use crate::yaml::{Faults, Node, Secret};

section! {
    check = |field: &mut FieldConfig, node: &Node, faults: &mut Faults| {
        for (key, text) in [("title", &field.title), ("value", &field.value)] {
            if text.is_empty() {
                faults.error(node.at, format!("a field needs a {key}"));
            }
        }
    };
    /// A title and a value in the table below a message.
    pub struct FieldConfig {
        /// What stands above the value.
        pub title: Text = Text::default(),
        /// The value.
        pub value: Text = Text::default(),
        /// Whether it is short enough to stand beside another.
        pub short: Option<bool> = None,
    }
}

/// A [`FieldConfig`] filled in.
#[derive(Serialize)]
pub(super) struct Field {
    title: String,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    short: Option<bool>,
}

/// The fields filled in; `short` is for those that do not say.
pub(super) fn fields(
    fill: &Fill<'_>,
    fields: &[FieldConfig],
    short: Option<bool>,
) -> Result<Vec<Field>, DeliveryError> {
    let one = |field: &FieldConfig| {
        let (title, value) = (fill.text(&field.title)?, fill.text(&field.value)?);
        Ok(Field { title, value, short: field.short.or(short) })
    };
    fields.iter().map(one).collect()
}

/// The text that calls the template of this name.
pub(super) fn template(name: &str) -> Text {
    Text::new(format!("{{{{ template \"{name}\" . }}}}"))
}

/// The JSON that `with` makes of the text, which is cut so that the JSON has at most `max` bytes if that can be.
pub(super) fn fitting<T: Serialize>(text: &str, max: usize, with: impl Fn(String) -> T) -> Vec<u8> {
    let cut_to = |bytes: usize| go_json(&with(cut_bytes(text.to_string(), bytes)));
    let whole = cut_to(text.len());
    if whole.len() <= max {
        return whole;
    }
    // How much longer a text gets when it is escaped is only known afterwards.
    let (mut fits, mut is_too_long) = (0, text.len());
    while is_too_long - fits > 1 {
        let middle = usize::midpoint(fits, is_too_long);
        if cut_to(middle).len() <= max {
            fits = middle;
        } else {
            is_too_long = middle;
        }
    }
    cut_to(fits)
}

/// The notification's chart as the one file of a form, in this field; `None` where none is wanted or to be had.
pub(super) async fn chart_in_form(
    wanted: bool,
    charts: Option<&Arc<dyn Charts>>,
    notification: &Notification,
    field: &'static str,
) -> Option<Form> {
    let png = chart(charts.filter(|_| wanted), notification).await?;
    chart_form(field, png)
}

/// How a message that was sent with a chart went; `None` where it is to be sent without. That is after each failure, as what
/// is wrong may be the chart, unless the far side asks to be left alone.
pub(super) fn settled<T>(result: Result<T, DeliveryError>) -> Option<Result<T, DeliveryError>> {
    match result {
        Err(error) if !error.retry || error.reason != Reason::ClientError => {
            tracing::debug!("a message with a chart failed, it is sent without: {error}");
            None
        }
        other => Some(other),
    }
}

/// For what is left out of JSON unless it is set.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
pub(super) fn is_false(value: &bool) -> bool {
    !value
}

/// A secret at the time of a request; a file that cannot be read may be there later.
pub(super) fn secret_now(value: Option<&Secret>, file: Option<&Path>) -> Result<String, DeliveryError> {
    secret(value, file).map_err(|e| DeliveryError::passing(Reason::Other, e))
}

/// Names the channel in an error: the far side's answer is most often about it.
pub(super) fn in_channel(channel: &str, mut error: DeliveryError) -> DeliveryError {
    if !channel.is_empty() {
        error.message = format!("channel {channel:?}: {}", error.message);
    }
    error
}

/// Takes a secret from `global`, as a value or a file, where the entry has neither.
pub(super) fn inherit_secret(
    own: (&mut Option<Secret>, &mut Option<PathBuf>),
    global: (&Option<Secret>, &Option<PathBuf>),
) {
    if own.0.is_none() && own.1.is_none() {
        own.0.clone_from(global.0);
        own.1.clone_from(global.1);
    }
}

/// Whether requests carry a token of the configuration in their header `Authorization`.
pub(super) fn has_token(http: &HttpConfig) -> bool {
    http.authorization.is_some()
        || http.bearer_token.is_some()
        || http.bearer_token_file.is_some()
        || http.oauth2.is_some()
}

/// Says what is wrong with a key that holds a URL, and with its `_file`; without showing it.
pub(super) fn check_secret_url(
    node: &Node,
    faults: &mut Faults,
    key: &str,
    url: &Option<Secret>,
    file: &Option<PathBuf>,
) {
    one_of(node, faults, key, &format!("{key}_file"), url.is_some(), file.is_some());
    if url.as_ref().is_some_and(|url| !is_http(url.expose())) {
        faults.error(node.get(key).map_or(node.at, |n| n.at), format!("{key} is not an http or https URL"));
    }
}

/// The same for a webhook that the entry must have.
pub(super) fn check_webhook(
    node: &Node,
    faults: &mut Faults,
    section: &str,
    url: &Option<Secret>,
    file: &Option<PathBuf>,
) {
    check_secret_url(node, faults, "webhook_url", url, file);
    // The URL's own fault has been said already if it is there but not a text.
    if node.get("webhook_url").is_none() && file.is_none() {
        faults.error(node.at, format!("{section} needs a webhook_url or a webhook_url_file"));
    }
}

#[cfg(test)]
pub(super) mod testing;

#[cfg(test)]
mod tests {
    use super::super::context::Chart;
    use super::super::notification::tests::example;
    use super::super::testing::far_side;
    use super::super::{
        DiscordConfig, MattermostConfig, MsTeamsConfig, MsTeamsV2Config, NotifiedAlert, RocketchatConfig, SlackConfig,
        Status, TelegramConfig, WebexConfig,
    };
    use super::testing::{body, deliver, entry};
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn a_body_is_cut_to_fit_whatever_its_escaping_costs() {
        for text in ["\"\n\u{1}<".repeat(1000), "🔥".repeat(1000), "x".repeat(1001)] {
            let body = fitting(&text, 500, |text| serde_json::json!({ "text": text }));
            assert!((490..=500).contains(&body.len()), "{}", body.len());
            let back: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert!(back["text"].as_str().unwrap().ends_with('…'));
        }
        assert_eq!(fitting("short", 500, |text| serde_json::json!(text)), b"\"short\"\n");
    }

    #[tokio::test]
    async fn the_chart_is_that_of_the_first_alert_that_fires_else_of_the_first() {
        struct Last(std::sync::Mutex<Vec<Status>>);
        impl Charts for Last {
            fn chart<'a>(&'a self, alert: &'a NotifiedAlert, _: Timestamp) -> Chart<'a> {
                self.0.lock().unwrap().push(alert.status());
                Box::pin(async { Some(vec![1]) })
            }
        }
        let last = Arc::new(Last(std::sync::Mutex::default()));
        let charts: Arc<dyn Charts> = last.clone();
        let mut n = example();
        n.alerts.reverse();
        assert!(chart_in_form(true, Some(&charts), &n, "x").await.is_some());
        n.alerts.pop();
        assert!(chart_in_form(true, Some(&charts), &n, "x").await.is_some());
        assert!(chart_in_form(false, Some(&charts), &n, "x").await.is_none());
        assert!(chart_in_form(true, None, &n, "x").await.is_none());
        assert_eq!(*last.0.lock().unwrap(), [Status::Firing, Status::Resolved]);
    }

    #[tokio::test]
    async fn without_a_word_of_configuration_every_chat_is_told_what_fires() {
        let answer = r#"{"ok":true,"success":true}"#;
        let (address, seen) = far_side(vec![(200, vec![], answer)]).await;
        let global = format!(
            "{{slack_api_url: 'http://{address}/', mattermost_webhook_url: 'http://{address}/', telegram_bot_token: x, \
              telegram_api_url: 'http://{address}/', rocketchat_api_url: 'http://{address}/', rocketchat_token: x, \
              rocketchat_token_id: x, webex_api_url: 'http://{address}/', \
              http_config: {{authorization: {{credentials: x}}}}}}"
        );
        let webhook = format!("webhook_url: http://{address}/");
        deliver(&entry::<SlackConfig>("{}", &global)).await.unwrap();
        deliver(&entry::<MattermostConfig>("{}", &global)).await.unwrap();
        deliver(&entry::<RocketchatConfig>("{}", &global)).await.unwrap();
        deliver(&entry::<TelegramConfig>("chat_id: 1", &global)).await.unwrap();
        deliver(&entry::<WebexConfig>("room_id: x", &global)).await.unwrap();
        deliver(&entry::<DiscordConfig>(&webhook, &global)).await.unwrap();
        deliver(&entry::<MsTeamsConfig>(&webhook, &global)).await.unwrap();
        deliver(&entry::<MsTeamsV2Config>(&webhook, &global)).await.unwrap();
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen.len(), 8);
        for seen in seen {
            let said = body(&seen).to_string();
            assert!(said.contains("DiskFull") && said.contains("FIRING") && !said.contains("{{"), "{said}");
        }
    }
}
