//! Alertmanager's webhook JSON, version 4, as its receivers in the world parse it.
//!
//! The same fields in the same order and with the same escaping, so the bytes are those that Alertmanager sends. Two
//! peculiarities are kept because receivers rely on them: an alert that fires ends in the year 1, and the receiver's
//! name is escaped as for a regular expression (`web.hook` is sent as `web\.hook`).

use serde::Serialize;

use super::notification::{CheckSaid, Notification, NotifiedAlert, as_map};
use crate::model::{Labels, Timestamp};

/// Go's zero time: the end of an alert that fires.
const NO_END: &str = "0001-01-01T00:00:00Z";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    receiver: String,
    status: &'static str,
    alerts: Vec<MessageAlert<'a>>,
    #[serde(with = "as_map")]
    group_labels: Labels,
    #[serde(with = "as_map")]
    common_labels: Labels,
    #[serde(with = "as_map")]
    common_annotations: Labels,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    version: &'static str,
    group_key: &'a str,
    truncated_alerts: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageAlert<'a> {
    status: &'static str,
    #[serde(with = "as_map")]
    labels: Labels,
    #[serde(with = "as_map")]
    annotations: Labels,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: String,
    /// Ours: what has been done about it; those who have no actions get Alertmanager's bytes.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    actions: &'a [String],
    /// Ours: what the check that it is about said last.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<&'a CheckSaid>,
}

/// The message, with a line feed at its end. At most `max_alerts` alerts are in it (0: all); how many are not, it says.
pub fn webhook_version_4(notification: &Notification, max_alerts: usize) -> Vec<u8> {
    let all = notification.alerts.len();
    let kept = if max_alerts == 0 { all } else { all.min(max_alerts) };
    // What alerts have in common is counted over those that are sent.
    let sent =
        Notification { alerts: notification.alerts.iter().take(kept).cloned().collect(), ..notification.clone() };
    let message = Message {
        receiver: quote_meta(&sent.receiver),
        status: sent.status().as_str(),
        alerts: sent.alerts.iter().map(message_alert).collect(),
        group_labels: sent.group_labels.clone(),
        common_labels: sent.common_labels(),
        common_annotations: sent.common_annotations(),
        external_url: &sent.external_url,
        version: "4",
        group_key: &sent.group_key,
        truncated_alerts: all - kept,
    };
    // Texts and lists of texts always have a JSON form.
    let json = serde_json::to_vec(&message).unwrap_or_default();
    let mut out = Vec::with_capacity(json.len() + 64);
    escape_as_go(&json, &mut out);
    out.push(b'\n');
    out
}

fn message_alert(alert: &NotifiedAlert) -> MessageAlert<'_> {
    MessageAlert {
        status: alert.status().as_str(),
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        starts_at: alert.starts_at.to_string(),
        ends_at: alert.ends_at.as_ref().map_or_else(|| NO_END.to_string(), Timestamp::to_string),
        generator_url: &alert.generator_url,
        fingerprint: alert.fingerprint().to_string(),
        actions: &alert.details.actions,
        check: alert.details.check.as_ref(),
    }
}

/// Escapes what Go's encoder escapes beyond JSON's needs: `<`, `>`, `&` and the two line separators of Unicode. In JSON
/// they stand in strings only, so this is right for every byte of it.
pub(super) fn escape_as_go(json: &[u8], out: &mut Vec<u8>) {
    let mut rest = json;
    while let Some((&byte, tail)) = rest.split_first() {
        let (escaped, length): (&[u8], usize) = match (byte, tail) {
            (b'<', _) => (b"\\u003c", 1),
            (b'>', _) => (b"\\u003e", 1),
            (b'&', _) => (b"\\u0026", 1),
            (0xe2, [0x80, 0xa8, ..]) => (b"\\u2028", 3),
            (0xe2, [0x80, 0xa9, ..]) => (b"\\u2029", 3),
            _ => (std::slice::from_ref(&byte), 1),
        };
        out.extend_from_slice(escaped);
        rest = rest.get(length..).unwrap_or_default();
    }
}

/// Escapes a text as Go's `regexp.QuoteMeta`.
pub(super) fn quote_meta(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::notification::tests::example;
    use super::*;

    #[test]
    fn the_bytes_are_those_that_alertmanager_sends() {
        let url = r"http://host:9100/graph?g0.expr=up\u0026g0.tab=1";
        let summary = r#""summary":"disk \u003cfull\u003e \u0026 \"loud\"""#;
        let expected = format!(
            concat!(
                r#"{{"receiver":"ops\\.team","status":"firing","alerts":["#,
                r#"{{"status":"firing","labels":{{"alertname":"DiskFull","instance":"a","severity":"page"}},"#,
                r#""annotations":{{"description":"a",{s}}},"startsAt":"2023-11-14T22:13:20.5Z","#,
                r#""endsAt":"0001-01-01T00:00:00Z","generatorURL":"{u}","fingerprint":"{a}"}},"#,
                r#"{{"status":"resolved","labels":{{"alertname":"DiskFull","instance":"b","severity":"page"}},"#,
                r#""annotations":{{"description":"b",{s}}},"startsAt":"2023-11-14T22:13:20.5Z","#,
                r#""endsAt":"2023-11-14T22:13:50Z","generatorURL":"{u}","fingerprint":"{b}"}}],"#,
                r#""groupLabels":{{"alertname":"DiskFull"}},"#,
                r#""commonLabels":{{"alertname":"DiskFull","severity":"page"}},"commonAnnotations":{{{s}}},"#,
                r#""externalURL":"http://host:9100","version":"4","#,
                r#""groupKey":"{{}}:{{alertname=\"DiskFull\"}}","truncatedAlerts":0}}"#,
                "\n"
            ),
            s = summary,
            u = url,
            a = example().alerts[0].fingerprint(),
            b = example().alerts[1].fingerprint(),
        );
        assert_eq!(String::from_utf8(webhook_version_4(&example(), 0)).unwrap(), expected);
    }

    #[test]
    fn what_was_done_about_an_alert_and_what_its_check_said_is_said_of_it_and_of_no_other() {
        let mut n = example();
        n.alerts[0].details.actions = vec!["restart-nginx: exit 0 after 1.2 s".to_string()];
        n.alerts[0].details.check = Some(CheckSaid { state: "critical".to_string(), summary: "a<b".to_string() });
        let json: serde_json::Value = serde_json::from_slice(&webhook_version_4(&n, 0)).unwrap();
        assert_eq!(json["alerts"][0]["actions"], serde_json::json!(["restart-nginx: exit 0 after 1.2 s"]));
        assert_eq!(json["alerts"][0]["check"], serde_json::json!({"state": "critical", "summary": "a<b"}));
        assert!(["actions", "check"].iter().all(|key| json["alerts"][1].get(key).is_none()));
    }

    #[test]
    fn alerts_beyond_the_limit_are_counted_and_do_not_count() {
        let mut n = example();
        n.alerts.reverse();
        let json: serde_json::Value = serde_json::from_slice(&webhook_version_4(&n, 1)).unwrap();
        assert_eq!(json["truncatedAlerts"], 1);
        assert_eq!(json["alerts"].as_array().unwrap().len(), 1);
        assert_eq!(json["status"], "resolved");
        assert_eq!(json["commonLabels"]["instance"], "b");
    }

    #[test]
    fn every_text_survives_the_escaping() {
        let mut n = example();
        let odd = "a\u{2028}b\u{2029}c<d>&é\u{1f525}\n\t\"\\\u{1}";
        n.alerts[0].annotations = Labels::from_pairs([("odd", odd)]);
        let bytes = webhook_version_4(&n, 0);
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(json["alerts"][0]["annotations"]["odd"], odd);
        assert!(!String::from_utf8(bytes).unwrap().contains(['\u{2028}', '\u{2029}', '<', '&']));
    }
}
