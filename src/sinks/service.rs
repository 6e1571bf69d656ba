//! What the sinks of services have in common: texts filled in and cut to what a service takes, the name of a group, JSON
//! as Go writes it, how urgent a notification is, and its chart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::multipart::{Form, Part};
use serde::Serialize;

use super::http::secret;
use super::payload::escape_as_go;
use super::{Charts, DeliveryError, HttpClient, HttpConfig, Notification, Reason, Status, Text, Texts};
use crate::template::Value;
use crate::yaml::Secret;

/// Fills in the texts of one notification.
pub(super) struct Fill<'a> {
    texts: &'a Texts,
    data: Value,
}

impl<'a> Fill<'a> {
    pub fn new(texts: &'a Texts, notification: &Notification) -> Fill<'a> {
        Fill { texts, data: texts.data(notification) }
    }

    /// # Errors
    /// As [`Texts::plain`].
    pub fn text(&self, text: &Text) -> Result<String, DeliveryError> {
        self.texts.plain(text, &self.data)
    }

    /// # Errors
    /// As [`Texts::html`].
    pub fn html(&self, text: &Text) -> Result<String, DeliveryError> {
        self.texts.html(text, &self.data)
    }

    /// # Errors
    /// As [`Texts::plain`].
    pub fn map(&self, texts: &BTreeMap<String, Text>) -> Result<BTreeMap<String, String>, DeliveryError> {
        texts.iter().map(|(name, text)| Ok((name.clone(), self.text(text)?))).collect()
    }

    /// A secret or what its file holds, which Alertmanager takes as a template too.
    ///
    /// # Errors
    /// The file cannot be read, the template fails, or nothing comes of it: then what `key` names is missing.
    pub fn secret(&self, key: &str, value: Option<&Secret>, file: Option<&Path>) -> Result<String, DeliveryError> {
        let text = secret(value, file).map_err(|e| DeliveryError::passing(Reason::Other, e))?;
        // What a template's error says may quote the text.
        let failed = |e: DeliveryError| match text.contains("{{") {
            true => DeliveryError { message: format!("the template of {key} fails"), ..e },
            false => e,
        };
        let filled = self.text(&Text::new(&text)).map_err(failed)?;
        match filled.is_empty() {
            true => Err(DeliveryError::lasting(Reason::Other, format!("{key} is empty"))),
            false => Ok(filled),
        }
    }
}

/// The time for one request where nothing else is said.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// The client of a sink. A `timeout` of 0, which in Alertmanager's configurations says that there is none, is
/// [`TIMEOUT`]: a request without end would hold up all that wait behind it.
pub(super) fn client(http: Option<&HttpConfig>, timeout: Duration) -> HttpClient {
    HttpClient::new(&http.cloned().unwrap_or_default(), if timeout.is_zero() { TIMEOUT } else { timeout })
}

/// As [`client`], for a service whose key or token goes into the header `Authorization`: what `http_config`, which may
/// be that of all receivers, puts there would be a second one.
pub(super) fn client_with_own_key(http: Option<&HttpConfig>, timeout: Duration) -> HttpClient {
    let http = HttpConfig { basic_auth: None, authorization: None, ..http.cloned().unwrap_or_default() };
    client(Some(&http), timeout)
}

/// Makes relative paths start at `dir`.
pub(super) fn resolve<'a>(
    dir: &Path,
    files: impl IntoIterator<Item = &'a mut Option<PathBuf>>,
    http: Option<&mut HttpConfig>,
) {
    for path in files.into_iter().flatten() {
        *path = dir.join(&path);
    }
    if let Some(http) = http {
        http.resolve_paths(dir);
    }
}

/// The first `max` characters, the last of them an ellipsis where there are more. As Alertmanager cuts.
pub(super) fn cut(mut text: String, max: usize) -> String {
    if text.chars().nth(max).is_some() {
        let end = text.char_indices().nth(max.saturating_sub(1)).map_or(0, |(at, _)| at);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The beginning of at most `max` bytes, with an ellipsis where there is more.
pub(super) fn cut_bytes(mut text: String, max: usize) -> String {
    if text.len() > max {
        let mut end = max.saturating_sub('…'.len_utf8());
        while !text.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The name of the notification's group for far sides that limit its length: SHA-256 of the group key, as Alertmanager
/// has it, so that what it opened is closed by this program after a move.
pub(super) fn group_hash(notification: &Notification) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, notification.group_key.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// JSON, byte for byte as Go's encoder writes it.
pub(super) fn go_json(value: &impl Serialize) -> Vec<u8> {
    // Texts, numbers, and lists and maps of them always have a JSON form.
    let json = serde_json::to_vec(value).unwrap_or_default();
    let mut out = Vec::with_capacity(json.len().saturating_add(64));
    escape_as_go(&json, &mut out);
    out.push(b'\n');
    out
}

/// How urgent a notification is: the most urgent of what fires, by the label `severity`. What is over wakes nobody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Urgency {
    Low,
    Normal,
    High,
    Highest,
}

impl Urgency {
    pub fn of(notification: &Notification) -> Urgency {
        let firing = notification.alerts.iter().filter(|alert| alert.status() == Status::Firing);
        let urgency = |severity: &str| match severity.to_ascii_lowercase().as_str() {
            "critical" | "page" | "emergency" | "fatal" | "disaster" => Urgency::Highest,
            "error" | "high" | "major" => Urgency::High,
            "info" | "information" | "notice" | "low" | "debug" | "none" => Urgency::Low,
            _ => Urgency::Normal,
        };
        firing.map(|alert| urgency(alert.labels.get("severity"))).max().unwrap_or(Urgency::Low)
    }
}

/// A chart of the first alert that fires, else of the first; `None` where there is none to be had.
pub(super) async fn chart(charts: Option<&Arc<dyn Charts>>, notification: &Notification) -> Option<Vec<u8>> {
    let alerts = &notification.alerts;
    let alert = alerts.iter().find(|alert| alert.status() == Status::Firing).or(alerts.first())?;
    charts?.chart(alert, notification.at).await
}

/// The name that charts have as files.
pub(super) const CHART_NAME: &str = "chart.png";

/// A chart as the one file of a form.
pub(super) fn chart_form(field: &'static str, png: Vec<u8>) -> Option<Form> {
    let part = Part::bytes(png).file_name(CHART_NAME).mime_str("image/png").ok()?;
    Some(Form::new().part(field, part))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::notification::tests::example;
    use super::*;
    use crate::fuzz::Fuzz;
    use crate::model::{Labels, Timestamp};
    use crate::sinks::NotifiedAlert;
    use crate::sinks::context::Chart;

    /// The example when all of it is over.
    pub fn resolved() -> Notification {
        let mut notification = example();
        notification.alerts.iter_mut().for_each(|a| a.ends_at = Some(Timestamp::from_millis(1_700_000_030_000)));
        notification
    }

    /// Of the example's group key, by `sha256sum`.
    pub const GROUP: &str = "17c4e445d234645c9e547ff6d32a864af0ebdadcd1902771c24c8d366637ff41";

    /// Draws these bytes, whatever is asked for.
    pub struct Drawn(pub &'static [u8]);

    impl Charts for Drawn {
        fn chart<'a>(&'a self, alert: &'a NotifiedAlert, at: Timestamp) -> Chart<'a> {
            assert_eq!((alert.status(), at), (Status::Firing, example().at));
            Box::pin(async { Some(self.0.to_vec()) })
        }
    }

    /// Reads an entry of a receiver as it stands in a file, with what it inherits; what is wrong with it, as text.
    pub fn read<T: crate::yaml::FromYaml + Default + super::super::SinkConfig>(
        entry: &str,
        global: &str,
    ) -> (T, String) {
        use crate::yaml::{Document, Faults};
        let mut faults = Faults::default();
        let global = Document::parse("global", global, &mut faults).read(&mut faults);
        let document = Document::parse("t", entry, &mut faults);
        let mut config: T = document.read(&mut faults);
        config.inherit(&global, &document.root, &mut faults);
        (config, faults.iter().map(|fault| fault.message.clone()).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn a_groups_name_is_that_of_alertmanager() {
        assert_eq!(group_hash(&example()), GROUP);
    }

    #[test]
    fn texts_are_cut_where_a_character_ends_and_say_so() {
        assert_eq!(cut("äöü".into(), 3), "äöü");
        assert_eq!(cut("äöüß".into(), 3), "äö…");
        assert_eq!(cut_bytes("äöü".into(), 6), "äöü");
        assert_eq!(cut_bytes("äöüß".into(), 7), "äö…");
        assert_eq!(cut_bytes("äöüß".into(), 6), "ä…");
        Fuzz::of(&["äöü 🔥 x"]).texts(|text| {
            assert!(cut(text.to_string(), 5).chars().count() <= 5);
            assert!(cut_bytes(text.to_string(), 9).len() <= 9);
        });
    }

    #[test]
    fn what_fires_is_as_urgent_as_its_most_severe_alert_and_what_is_over_is_not() {
        let mut notification = example();
        assert_eq!(Urgency::of(&notification), Urgency::Highest);
        assert_eq!(Urgency::of(&resolved()), Urgency::Low);
        for (severity, urgency) in
            [("Critical", Urgency::Highest), ("error", Urgency::High), ("", Urgency::Normal), ("info", Urgency::Low)]
        {
            notification.alerts[0].labels = Labels::from_pairs([("severity", severity)]);
            assert_eq!(Urgency::of(&notification), urgency, "{severity}");
        }
    }

    #[test]
    fn a_secret_may_be_a_template_and_its_error_does_not_show_it() {
        let (texts, notification) = (Texts::default(), example());
        let fill = Fill::new(&texts, &notification);
        let secret = |text: &str| fill.secret("api_key", Some(&Secret::new(text)), None);
        assert_eq!(secret("k{{ 7 }}"), Ok("k7".to_string()));
        assert_eq!(secret("").unwrap_err().message, "api_key is empty");
        let error = secret("hunter2{{ index \"a\" 9 }}").unwrap_err();
        assert_eq!((error.retry, error.message.as_str()), (false, "the template of api_key fails"));
    }
}
