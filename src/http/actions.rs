//! `GET /api/actions`: the audit log of actions, the newest first; `?last=N`: the last N.
//!
//! There is no way to change anything of it, or to have anything run: what is run stands in the configuration alone. The
//! commands and what they wrote are shown to those alone who may change things: others need not know.

use hyper::{Response, StatusCode};
use serde::Serialize;

use super::reply::{Reply, reply, text};
use crate::alerting::{ActionEntry, ActionResult, Alerting, Trigger};
use crate::model::Timestamp;

pub(super) const PATH: &str = "/api/actions";

/// A row as it is answered.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    number: u64,
    at: String,
    action: &'a str,
    trigger: Trigger,
    alert: &'a std::collections::BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a [String]>,
    result: ActionResult,
    #[serde(skip_serializing_if = "str::is_empty")]
    said: &'a str,
    /// How long the command ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a str>,
}

/// `whole`: with the command and what it wrote.
fn shown((number, entry): &(u64, ActionEntry), whole: bool) -> Shown<'_> {
    Shown {
        number: *number,
        at: Timestamp::from_millis(entry.at).to_string(),
        action: &entry.action,
        trigger: entry.trigger,
        alert: &entry.alert,
        command: whole.then_some(&entry.command),
        result: entry.result,
        said: &entry.said,
        seconds: entry.took.map(|millis| millis as f64 / 1000.0),
        output: Some(entry.output.as_str()).filter(|output| whole && !output.is_empty()),
    }
}

pub(super) async fn answer(alerting: Option<Alerting>, query: &str, whole: bool) -> Response<Reply> {
    let last = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "last");
    let last = match last.map(|(_, last)| last.parse::<usize>()) {
        None => usize::MAX,
        Some(Ok(last)) => last,
        Some(Err(_)) => return text(StatusCode::BAD_REQUEST, "last is not a number of rows.\n"),
    };
    let Some(alerting) = alerting else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "Watchfire is not ready.\n");
    };
    let entries = alerting.actions().await;
    let rows: Vec<Shown<'_>> = entries.iter().take(last).map(|row| shown(row, whole)).collect();
    // Texts and numbers always have a JSON form.
    let mut body = serde_json::to_vec(&rows).unwrap_or_default();
    body.push(b'\n');
    reply(StatusCode::OK, "application/json", body)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn commands_and_what_they_wrote_are_shown_to_those_alone_who_may_change_things() {
        let row = serde_json::json!({
            "at": 60_000, "action": "mend", "alert": {"alertname": "Down"}, "subject": "00", "command": ["mend", "-v"],
            "trigger": "firing", "result": "ok", "said": "exit 0", "took": 1234, "output": "mended",
        });
        let row: (u64, ActionEntry) = (7, serde_json::from_value(row).unwrap());
        let json = |whole| serde_json::to_value(shown(&row, whole)).unwrap();
        let mut expected = serde_json::json!({
            "number": 7, "at": "1970-01-01T00:01:00Z", "action": "mend", "alert": BTreeMap::from([("alertname", "Down")]),
            "trigger": "firing", "result": "ok", "said": "exit 0", "seconds": 1.234,
        });
        assert_eq!(json(false), expected);
        expected["command"] = serde_json::json!(["mend", "-v"]);
        expected["output"] = "mended".into();
        assert_eq!(json(true), expected);
    }
}
