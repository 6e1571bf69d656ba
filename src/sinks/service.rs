//! What the sinks of incident services and of servers of one's own have in common, beside what
//! [`message`](super::message) has for all: names of groups, how urgent a notification is, and clients with a key of
//! their own.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::aws::sha256;
use super::message::{Message, client, secret_now};
use super::{DeliveryError, HttpClient, HttpConfig, Notification, Reason, Status, Text};
use crate::yaml::Secret;

impl Message<'_> {
    /// # Errors
    /// As [`Texts::plain`](super::Texts::plain).
    pub fn map(&self, texts: &BTreeMap<String, Text>) -> Result<BTreeMap<String, String>, DeliveryError> {
        texts.iter().map(|(name, text)| Ok((name.clone(), self.plain(text)?))).collect()
    }

    /// A secret or what its file holds, which Alertmanager takes as a template too.
    ///
    /// # Errors
    /// The file cannot be read, the template fails, or nothing comes of it: then what `key` names is missing.
    pub fn secret(&self, key: &str, value: Option<&Secret>, file: Option<&Path>) -> Result<String, DeliveryError> {
        let text = secret_now(value, file)?;
        // What a template's error says may quote the text.
        let failed = |e: DeliveryError| DeliveryError { message: format!("the template of {key} fails"), ..e };
        let filled = self.plain(&Text::new(&text)).map_err(failed)?;
        match filled.is_empty() {
            true => Err(DeliveryError::lasting(Reason::Other, format!("{key} is empty"))),
            false => Ok(filled),
        }
    }
}

/// As [`client`](super::message::client), for a service whose key or token goes into the header `Authorization`: what `http_config`, which may
/// be that of all receivers, puts there would be a second one.
pub(super) fn client_with_own_key(http: Option<&HttpConfig>, timeout: Duration) -> HttpClient {
    let http = HttpConfig {
        basic_auth: None,
        authorization: None,
        oauth2: None,
        bearer_token: None,
        bearer_token_file: None,
        ..http.cloned().unwrap_or_default()
    };
    client(Some(&http), timeout)
}

/// The name of the notification's group for far sides that limit its length: SHA-256 of the group key, as Alertmanager
/// has it, so that what it opened is closed by this program after a move.
pub(super) fn group_hash(notification: &Notification) -> String {
    sha256(notification.group_key.as_bytes())
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

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::super::message::testing::chart_of;
    use super::super::notification::tests::example;
    use super::*;
    use crate::model::{Labels, Timestamp};
    use crate::sinks::{Charts, Texts};

    /// The example when all of it is over.
    pub fn resolved() -> Notification {
        let mut notification = example();
        notification.alerts.iter_mut().for_each(|a| a.ends_at = Some(Timestamp::from_millis(1_700_000_030_000)));
        notification
    }

    /// Of the example's group key, by `sha256sum`.
    pub const GROUP: &str = "17c4e445d234645c9e547ff6d32a864af0ebdadcd1902771c24c8d366637ff41";

    /// Draws this for an alert that fires.
    pub fn drawn(png: &'static [u8]) -> Arc<dyn Charts> {
        chart_of(move |alert, at| {
            assert_eq!((alert.status(), at), (Status::Firing, example().at));
            Some(png.to_vec())
        })
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
        let fill = Message::new(&texts, &notification);
        let secret = |text: &str| fill.secret("api_key", Some(&Secret::new(text)), None);
        assert_eq!(secret("k{{ 7 }}"), Ok("k7".to_string()));
        assert_eq!(secret("").unwrap_err().message, "api_key is empty");
        let error = secret("hunter2{{ index \"a\" 9 }}").unwrap_err();
        assert_eq!((error.retry, error.message.as_str()), (false, "the template of api_key fails"));
    }

    #[tokio::test]
    async fn without_texts_of_the_configuration_each_service_is_told_what_it_is_about() {
        use super::super::message::testing::{context, entry};
        use super::super::testing::far_side;
        use super::super::{
            GotifyConfig, JiraConfig, MatrixConfig, NtfyConfig, OpsgenieConfig, PagerdutyConfig, SinkConfig,
            VictoropsConfig,
        };
        let (address, seen) = far_side(vec![(200, vec![], r#"{"issues":[],"key":"A-1"}"#)]).await;
        let far = format!("url: 'http://{address}'");
        let configs: [Box<dyn SinkConfig>; 7] = [
            Box::new(entry::<PagerdutyConfig>(&format!("{{routing_key: r, {far}}}"), "{}")),
            Box::new(entry::<OpsgenieConfig>(&format!("{{api_key: a, api_{far}}}"), "{}")),
            Box::new(entry::<VictoropsConfig>(&format!("{{api_key: a, routing_key: r, api_{far}}}"), "{}")),
            Box::new(entry::<JiraConfig>(&format!("{{project: A, issue_type: Task, api_{far}}}"), "{}")),
            Box::new(entry::<NtfyConfig>(&format!("{{topic: t, {far}}}"), "{}")),
            Box::new(entry::<GotifyConfig>(&format!("{{token: t, {far}}}"), "{}")),
            Box::new(entry::<MatrixConfig>(&format!("{{access_token: t, room_id: '!r:x', homeserver_{far}}}"), "{}")),
        ];
        for config in configs {
            seen.lock().unwrap().clear();
            config.build(&context(None)).deliver(&example()).await.unwrap_or_else(|e| panic!("{e}: {config:?}"));
            let seen = seen.lock().unwrap();
            let body = String::from_utf8_lossy(&seen.last().unwrap().body);
            assert!(body.contains("FIRING") && body.contains("DiskFull"), "{config:?} {body}");
            assert!(!body.contains("template failed"), "{body}");
        }
    }
}
