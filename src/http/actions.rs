//! `GET /api/actions`: the audit log of actions, the newest first; `?last=N`: the last N.
//!
//! There is no way to change anything of it, or to have anything run: what is run stands in the configuration alone.

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
    command: &'a [String],
    result: ActionResult,
    #[serde(skip_serializing_if = "str::is_empty")]
    said: &'a str,
    /// How long the command ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    output: &'a str,
}

fn shown((number, entry): &(u64, ActionEntry)) -> Shown<'_> {
    Shown {
        number: *number,
        at: Timestamp::from_millis(entry.at).to_string(),
        action: &entry.action,
        trigger: entry.trigger,
        alert: &entry.alert,
        command: &entry.command,
        result: entry.result,
        said: &entry.said,
        seconds: entry.took.map(|millis| millis as f64 / 1000.0),
        output: &entry.output,
    }
}

pub(super) async fn answer(alerting: Option<Alerting>, query: &str) -> Response<Reply> {
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
    let rows: Vec<Shown<'_>> = entries.iter().take(last).map(shown).collect();
    // Texts and numbers always have a JSON form.
    let mut body = serde_json::to_vec(&rows).unwrap_or_default();
    body.push(b'\n');
    reply(StatusCode::OK, "application/json", body)
}
