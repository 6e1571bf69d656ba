//! What sinks that tell people something in words have in common: texts filled in and cut to what the far side takes, the
//! chart as a part of a form, and keys that stand in the entry, in a file or under `global`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::multipart;
use serde::Serialize;

use super::http::{HttpClient, is_http, is_set, one_of, secret};
use super::payload::escape_as_go;
use super::{Charts, DeliveryError, HttpConfig, Notification, Reason, Status, Text, Texts};
use crate::section;
use crate::template::Value;
use crate::yaml::{Faults, Node, Secret};

/// How long a request may take where the configuration does not say.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

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

/// Fills in the texts for one notification.
pub(super) struct Message<'a> {
    texts: &'a Texts,
    data: Value,
}

impl<'a> Message<'a> {
    pub fn new(texts: &'a Texts, notification: &Notification) -> Message<'a> {
        Message { texts, data: texts.data(notification) }
    }

    /// As [`Texts::plain`].
    pub fn plain(&self, text: &Text) -> Result<String, DeliveryError> {
        self.texts.plain(text, &self.data)
    }

    /// As [`Texts::html`].
    pub fn html(&self, text: &Text) -> Result<String, DeliveryError> {
        self.texts.html(text, &self.data)
    }

    /// The fields; `short` is for those that do not say.
    pub fn fields(&self, fields: &[FieldConfig], short: Option<bool>) -> Result<Vec<Field>, DeliveryError> {
        let one = |field: &FieldConfig| {
            let (title, value) = (self.plain(&field.title)?, self.plain(&field.value)?);
            Ok(Field { title, value, short: field.short.or(short) })
        };
        fields.iter().map(one).collect()
    }
}

/// The text that calls the template of this name.
pub(super) fn template(name: &str) -> Text {
    Text::new(format!("{{{{ template \"{name}\" . }}}}"))
}

/// What shows that a text has been cut, as in Alertmanager.
pub(super) const ELLIPSIS: char = '…';

/// The text, cut to this many characters.
pub(super) fn cut(text: String, max: usize) -> String {
    if text.chars().nth(max).is_none() {
        return text;
    }
    text.chars().take(max.saturating_sub(1)).chain([ELLIPSIS]).collect()
}

/// The text, cut to this many bytes.
pub(super) fn cut_bytes(mut text: String, max: usize) -> String {
    if text.len() > max {
        let room = max.saturating_sub(ELLIPSIS.len_utf8());
        let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push(ELLIPSIS);
    }
    text
}

/// A body as JSON, byte for byte as Go's encoder writes it.
pub(super) fn json(body: &impl Serialize) -> Result<Vec<u8>, DeliveryError> {
    let no_json = |e| DeliveryError::lasting(Reason::Other, format!("the message is no JSON: {e}"));
    let json = serde_json::to_vec(body).map_err(no_json)?;
    let mut out = Vec::with_capacity(json.len().saturating_add(64));
    escape_as_go(&json, &mut out);
    out.push(b'\n');
    Ok(out)
}

/// The body that `with` makes of the text, which is cut so that the body has at most `max` bytes if that can be.
pub(super) fn fitting<T: Serialize>(
    text: &str,
    max: usize,
    with: impl Fn(String) -> T,
) -> Result<Vec<u8>, DeliveryError> {
    let cut_to = |bytes: usize| json(&with(cut_bytes(text.to_string(), bytes)));
    let whole = cut_to(text.len())?;
    if whole.len() <= max {
        return Ok(whole);
    }
    // How much longer a text gets when it is escaped is only known afterwards.
    let (mut fits, mut is_too_long) = (0, text.len());
    while is_too_long - fits > 1 {
        let middle = usize::midpoint(fits, is_too_long);
        if cut_to(middle)?.len() <= max {
            fits = middle;
        } else {
            is_too_long = middle;
        }
    }
    cut_to(fits)
}

/// The chart of a notification (PNG): that of the first alert that fires, else of the first; an alert that came from
/// elsewhere has none.
pub(super) async fn picture(
    wanted: bool,
    charts: Option<&Arc<dyn Charts>>,
    notification: &Notification,
) -> Option<Vec<u8>> {
    let charts = charts.filter(|_| wanted)?;
    let drawable = || notification.alerts.iter().filter(|alert| !alert.expr.is_empty());
    let alert = drawable().find(|alert| alert.status() == Status::Firing).or_else(|| drawable().next())?;
    charts.chart(alert, notification.at).await
}

/// The same as a file of a form.
pub(super) async fn chart(
    wanted: bool,
    charts: Option<&Arc<dyn Charts>>,
    notification: &Notification,
) -> Option<multipart::Part> {
    let png = picture(wanted, charts, notification).await?;
    multipart::Part::bytes(png).file_name(CHART).mime_str("image/png").ok()
}

/// How the chart's file is called.
pub(super) const CHART: &str = "chart.png";

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

/// Whether a secret is given, as a value or in a file.
pub(super) fn is_given(value: &Option<Secret>, file: &Option<PathBuf>) -> bool {
    value.is_some() || file.is_some()
}

/// Says when a secret is given both as a value and in a file.
pub(super) fn check_secret(
    node: &Node,
    faults: &mut Faults,
    key: &str,
    value: &Option<Secret>,
    file: &Option<PathBuf>,
) {
    one_of(node, faults, key, &format!("{key}_file"), value.is_some(), file.is_some());
}

/// Says that `who` needs a secret which is not given; `more` is said behind that.
pub(super) fn need_secret(node: &Node, faults: &mut Faults, who: &str, key: &str, given: bool, more: &str) {
    // The fault of a value that is none has been said.
    if !given && !is_set(node, key) {
        let a = if key.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
        faults.error(node.at, format!("{who} needs {a} {key} or {a} {key}_file{more}"));
    }
}

/// Takes a secret from `global` where the entry has none.
pub(super) fn inherit_secret(
    own: (&mut Option<Secret>, &mut Option<PathBuf>),
    global: (&Option<Secret>, &Option<PathBuf>),
) {
    if !is_given(own.0, own.1) {
        own.0.clone_from(global.0);
        own.1.clone_from(global.1);
    }
}

/// The same for a secret that the sink needs. Under `global` its key has the sink's name before it.
pub(super) fn inherit_needed(
    node: &Node,
    faults: &mut Faults,
    (sink, key): (&str, &str),
    own: (&mut Option<Secret>, &mut Option<PathBuf>),
    global: (&Option<Secret>, &Option<PathBuf>),
) {
    let given = is_given(own.0, own.1) || is_given(global.0, global.1);
    inherit_secret(own, global);
    let more = format!(", or {sink}_{key} under global");
    need_secret(node, faults, &format!("{sink}_configs"), key, given, &more);
}

/// Makes relative paths start at `dir`.
pub(super) fn resolve<const N: usize>(dir: &Path, files: [&mut Option<PathBuf>; N], http: &mut Option<HttpConfig>) {
    for file in files.into_iter().flatten() {
        *file = dir.join(&file);
    }
    if let Some(http) = http {
        http.resolve_paths(dir);
    }
}

/// Says what is wrong with a secret that is a URL.
pub(super) fn check_secret_url(
    node: &Node,
    faults: &mut Faults,
    key: &str,
    url: &Option<Secret>,
    file: &Option<PathBuf>,
) {
    check_secret(node, faults, key, url, file);
    if let Some(url) = url {
        check_url(node, faults, key, url.expose());
    }
}

/// Says what is wrong with the webhook of an entry of `section`, or that it has none.
pub(super) fn check_webhook(
    node: &Node,
    faults: &mut Faults,
    section: &str,
    url: &Option<Secret>,
    file: &Option<PathBuf>,
) {
    check_secret_url(node, faults, "webhook_url", url, file);
    need_secret(node, faults, section, "webhook_url", is_given(url, file), "");
}

/// Says when the value of a key is no URL; without showing it.
pub(super) fn check_url(node: &Node, faults: &mut Faults, key: &str, url: &str) {
    if !is_http(url) {
        faults.error(node.place(key), format!("{key} is not an http or https URL"));
    }
}

/// Takes a timeout of 0, which in Alertmanager's configurations says that there is none, for the default: a delivery
/// without end would hold up all that wait behind it.
pub(crate) fn check_timeout(node: &Node, faults: &mut Faults, timeout: &mut Duration, default: Duration) {
    if timeout.is_zero() {
        *timeout = default;
        let shown = crate::model::format_duration(default);
        let message = format!("timeout is 0, which is taken for the default, {shown}: nothing may wait for ever");
        faults.warn(node.place("timeout"), message);
    }
}

/// The client of a sink.
pub(super) fn client(http: Option<&HttpConfig>, timeout: Duration) -> HttpClient {
    HttpClient::new(&http.cloned().unwrap_or_default(), timeout)
}

#[cfg(test)]
pub(super) mod testing;

#[cfg(test)]
mod tests {
    use super::testing::{body, chart_of, deliver, entry, parts, read};
    use super::*;
    use crate::fuzz::Fuzz;
    use crate::sinks::notification::tests::example;
    use crate::sinks::testing::far_side;
    use crate::sinks::{
        DiscordConfig, GotifyConfig, MattermostConfig, MsTeamsConfig, MsTeamsV2Config, RocketchatConfig, SlackConfig,
        TelegramConfig, WebexConfig, WebhookConfig,
    };

    #[test]
    fn texts_are_cut_by_characters_with_an_ellipsis() {
        assert_eq!(cut("äöü".into(), 3), "äöü");
        assert_eq!(cut("äöüß".into(), 3), "äö…");
        assert_eq!(cut(String::new(), 3), "");
    }

    #[test]
    fn texts_are_cut_by_bytes_without_breaking_a_character() {
        assert_eq!(cut_bytes("äöü".into(), 6), "äöü");
        assert_eq!(cut_bytes("äöüß".into(), 6), "ä…");
        assert_eq!(cut_bytes("abcdefg".into(), 6), "abc…");
        Fuzz::of(&["äöüß🔥 and some words", "…"]).texts(|text| {
            for max in 3..20 {
                assert!(cut_bytes(text.to_string(), max).len() <= max);
            }
        });
    }

    #[test]
    fn a_body_is_cut_to_fit_whatever_its_escaping_costs() {
        for text in ["\"\n\u{1}".repeat(1000), "🔥".repeat(1000), "x".repeat(1001)] {
            let body = fitting(&text, 500, |text| serde_json::json!({ "text": text })).unwrap();
            assert!((490..=500).contains(&body.len()), "{}", body.len());
            let back: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert!(back["text"].as_str().unwrap().ends_with('…'));
        }
        let whole = fitting("short", 500, |text| serde_json::json!(text)).unwrap();
        assert_eq!(whole, b"\"short\"\n");
    }

    #[test]
    fn what_is_needed_may_not_be_empty_and_what_is_wrong_is_said_once() {
        let missing = "entry.yaml:1:1: discord_configs needs a webhook_url or a webhook_url_file";
        for text in ["webhook_url: ''", "webhook_url:", "title: x"] {
            assert_eq!(read::<DiscordConfig>(text, "").1, [missing], "{text}");
        }
        assert_eq!(read::<DiscordConfig>("webhook_url: [x]", "").1, ["entry.yaml:1:14: expected a text"]);
        assert_eq!(read::<MattermostConfig>("webhook_url: [x]", "").1, ["entry.yaml:1:14: expected a text"]);
        assert_eq!(read::<WebhookConfig>("url: ''", "").1, ["entry.yaml:1:1: a webhook needs a url or a url_file"]);
        assert_eq!(
            read::<GotifyConfig>("{url: '', token: x}", "").1,
            ["entry.yaml:1:1: gotify_configs needs a url: the server"]
        );
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
            assert!(
                said.contains("DiskFull") && said.contains("FIRING") && !said.contains("template failed"),
                "{said}"
            );
        }
    }

    #[tokio::test]
    async fn the_chart_is_that_of_the_first_alert_that_fires() {
        let charts = chart_of(|alert, at| Some(format!("{} {at}", alert.labels.get("instance")).into_bytes()));
        let drawn = async |n: &Notification| {
            let part = chart(true, Some(&charts), n).await.unwrap();
            parts(multipart::Form::new().part("x", part)).await.remove(0).2
        };
        let mut n = example();
        n.alerts.reverse();
        assert_eq!(drawn(&n).await, format!("a {}", n.at).into_bytes());
        n.alerts.pop();
        assert_eq!(drawn(&n).await, format!("b {}", n.at).into_bytes());
        // One that came from elsewhere has no expression to draw.
        n = example();
        n.alerts[0].expr.clear();
        assert_eq!(drawn(&n).await, format!("b {}", n.at).into_bytes());
        assert!(chart(false, Some(&charts), &n).await.is_none());
        assert!(chart(true, None, &n).await.is_none());
    }
}
