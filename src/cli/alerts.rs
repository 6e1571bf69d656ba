//! `watchfire alerts`: what fires, and what is not delivered.

use std::fmt::Write;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::api2::{ask, end, filter, list, matchers, table, text, time};
use super::client::{Client, ClientFlags, Failure};
use super::query::table::{printable, rounded};
use crate::model::{Age, Labels, Timestamp};
use crate::sinks::Question;

const EXAMPLES: &str = "\
Examples:
  watchfire alerts
  watchfire alerts DiskFull                      a word alone is the name of an alert
  watchfire alerts 'severity=~\"page|critical\"' team!=test
  watchfire alerts --undelivered                 notifications that wait, and those that were given up
  watchfire alerts --retry 17                    tries one again that was given up

Exit status: 0 when there is an answer, 2 when a matcher or a flag is wrong, 1 for any other failure.";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct AlertsFlags {
    /// Only alerts whose labels match: name=value, !=, =~ or !~ with a regular expression.
    #[arg(value_name = "MATCHER")]
    matchers: Vec<String>,
    /// Only alerts that go to receivers whose names match this regular expression.
    #[arg(long, value_name = "REGEX")]
    receiver: Option<String>,
    /// Print what the API answers.
    #[arg(long)]
    json: bool,
    /// List notifications that are not delivered instead.
    #[arg(long, conflicts_with_all = ["matchers", "receiver"])]
    undelivered: bool,
    /// Put a notification that was given up back into the queue; may be repeated.
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["matchers", "receiver", "json", "undelivered"])]
    retry: Vec<u64>,
    /// Forget a notification that was given up; may be repeated.
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["matchers", "receiver", "json", "undelivered"])]
    discard: Vec<u64>,
    #[command(flatten)]
    client: ClientFlags,
}

pub fn run(flags: &AlertsFlags) -> ExitCode {
    end(flags.said())
}

impl AlertsFlags {
    fn said(&self) -> Result<String, Failure> {
        let matchers = matchers(&self.matchers)?;
        let client = self.client.client()?;
        if !self.retry.is_empty() || !self.discard.is_empty() {
            return self.change(&client);
        }
        let path = match self.undelivered {
            true => "api/notifications".to_string(),
            false => {
                let receiver = self.receiver.as_deref().map(|pattern| ("receiver", pattern));
                filter("api/v2/alerts", &matchers, receiver.as_slice())
            }
        };
        let answer = ask(&client, &path, Question::Get)?;
        if self.json {
            return Ok(format!("{answer}\n"));
        }
        let items = list(&client, answer)?;
        let width = std::io::stdout().is_terminal().then(super::width);
        let now = Timestamp::now();
        Ok(if self.undelivered { notifications(&items, now, width) } else { alerts(&items, now, width) })
    }

    fn change(&self, client: &Client) -> Result<String, Failure> {
        let mut said = String::new();
        for number in &self.retry {
            ask(client, &format!("api/notifications/{number}/retry"), Question::Post)?;
            // Writing to a string does not fail.
            let _ = writeln!(said, "{number} is in the queue again");
        }
        for number in &self.discard {
            ask(client, &format!("api/notifications/{number}"), Question::Delete)?;
            let _ = writeln!(said, "{number} is forgotten");
        }
        Ok(said)
    }
}

fn labels(alert: &Value) -> Labels {
    let labels = alert["labels"].as_object().into_iter().flatten();
    Labels::from_pairs(labels.map(|(name, value)| (name, value.as_str().unwrap_or_default())))
}

/// Where it is, as rules and scripts say it.
fn host(labels: &Labels) -> &str {
    let all = ["instance", "host", "node"].map(|name| labels.get(name));
    all.into_iter().find(|host| !host.is_empty()).unwrap_or_default()
}

/// What the columns before it do not say.
fn others(labels: &Labels) -> String {
    let said = |name: &str, value: &str| {
        matches!(name, "alertname" | "instance" | "severity" | "job") || value == host(labels)
    };
    let others = labels.iter().filter(|(name, value)| !said(name, value));
    let others: Vec<String> = others.map(|(name, value)| format!("{name}={}", printable(value))).collect();
    others.join(" ")
}

/// How an alert stands.
fn state(alert: &Value) -> String {
    let status = &alert["status"];
    let has = |key: &str| status[key].as_array().is_some_and(|list| !list.is_empty());
    let mut states = Vec::new();
    for (key, state) in [("silencedBy", "silenced"), ("inhibitedBy", "inhibited"), ("mutedBy", "muted")] {
        if has(key) {
            states.push(state);
        }
    }
    if states.is_empty() {
        states.push("firing");
    }
    if !alert["flapping"].is_null() {
        states.push("flapping");
    }
    states.join(", ")
}

fn alerts(alerts: &[Value], now: Timestamp, width: Option<usize>) -> String {
    if alerts.is_empty() {
        return "no alerts\n".to_string();
    }
    let names = ["ALERT", "SEVERITY", "HOST", "FOR", "VALUE", "STATE", "RECEIVERS", "LABELS"];
    let mut sorted: Vec<(bool, Timestamp, Vec<String>)> = alerts
        .iter()
        .map(|alert| {
            let (labels, since) = (labels(alert), time(&alert["startsAt"]));
            let receivers = alert["receivers"].as_array().into_iter().flatten();
            let state = state(alert);
            let row = vec![
                printable(labels.get("alertname")),
                printable(labels.get("severity")),
                printable(host(&labels)),
                Age(since, now).to_string(),
                rounded(alert["value"].as_str().unwrap_or_default()),
                state.clone(),
                receivers.map(|receiver| text(&receiver["name"])).collect::<Vec<_>>().join(", "),
                others(&labels),
            ];
            (!state.starts_with("firing"), since, row)
        })
        .collect();
    // What people are told of first, the newest first.
    sorted.sort_by(|a, b| (a.0, b.1, &a.2).cmp(&(b.0, a.1, &b.2)));
    let rows: Vec<Vec<String>> =
        std::iter::once(names.map(str::to_string).to_vec()).chain(sorted.into_iter().map(|(_, _, row)| row)).collect();
    let (rows, kept) = without_empty(rows);
    let numbers: Vec<usize> = kept.iter().enumerate().filter(|(_, was)| matches!(was, 3 | 4)).map(|(n, _)| n).collect();
    table(&rows, &numbers, width)
}

/// Columns in which something stands below the name, and which those are.
fn without_empty(rows: Vec<Vec<String>>) -> (Vec<Vec<String>>, Vec<usize>) {
    let columns = rows.first().map_or(0, Vec::len);
    let is_used = |n: &usize| rows.iter().skip(1).any(|row| row.get(*n).is_some_and(|cell| !cell.is_empty()));
    let kept: Vec<usize> = (0..columns).filter(is_used).collect();
    let narrowed = rows.iter().map(|row| kept.iter().filter_map(|n| row.get(*n).cloned()).collect()).collect();
    (narrowed, kept)
}

fn notifications(notifications: &[Value], now: Timestamp, width: Option<usize>) -> String {
    if notifications.is_empty() {
        return "everything is delivered\n".to_string();
    }
    let names = ["NUMBER", "STATE", "RECEIVER", "ALERTS", "FIRING", "RESOLVED", "DUE FOR", "TRIES", "ERROR"];
    let mut rows = vec![names.map(str::to_string).to_vec()];
    for notification in notifications {
        let number = |key: &str| notification[key].as_u64().unwrap_or(0).to_string();
        rows.push(vec![
            number("number"),
            text(&notification["state"]),
            format!("{}/{}[{}]", text(&notification["receiver"]), text(&notification["integration"]), number("index")),
            text(&notification["alerts"]),
            number("firing"),
            number("resolved"),
            Age(time(&notification["at"]), now).to_string(),
            number("failures"),
            text(&notification["error"]),
        ]);
    }
    table(&rows, &[0, 4, 5, 6, 7], width)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn alerts_are_a_table_with_those_that_people_are_told_of_first() {
        let list = [
            json!({
                "labels": {"alertname": "Quiet", "instance": "h:1"}, "startsAt": "1970-01-01T00:01:00.000Z",
                "receivers": [{"name": "web"}], "status": {"silencedBy": ["x"], "inhibitedBy": ["y"]}
            }),
            json!({
                "labels": {"alertname": "Disk\u{1b}", "instance": "h:1", "severity": "page", "mountpoint": "/", "job": "node"},
                "startsAt": "1970-01-01T00:00:10.000Z", "receivers": [{"name": "web"}, {"name": "db"}],
                "status": {"silencedBy": [], "inhibitedBy": []}, "value": "0.93333333333", "flapping": 6
            }),
            json!({}),
        ];
        let said = alerts(&list, Timestamp::from_millis(70_000), None);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(
            lines,
            [
                "ALERT       SEVERITY  HOST    FOR     VALUE  STATE                RECEIVERS  LABELS",
                "                               0s            firing",
                "Disk\\u{1b}  page      h:1   1m 0s  0.933333  firing, flapping     web, db    mountpoint=/",
                "Quiet                 h:1     10s            silenced, inhibited  web",
            ]
        );
        let bare = [json!({"labels": {"alertname": "A"}, "startsAt": "1970-01-01T00:01:00.000Z", "receivers": []})];
        assert_eq!(alerts(&bare, Timestamp::from_millis(70_000), None), "ALERT  FOR  STATE\nA      10s  firing\n");
        assert_eq!(alerts(&[], Timestamp::default(), None), "no alerts\n");
    }

    #[test]
    fn notifications_say_why_they_are_not_delivered() {
        let list = [json!({
            "number": 7, "state": "waiting", "receiver": "web", "integration": "webhook", "index": 0, "alerts": "Disk",
            "firing": 1, "resolved": 2, "at": "1970-01-01T00:00:01.000Z", "failures": 3, "error": "refused",
        })];
        assert_eq!(
            notifications(&list, Timestamp::from_millis(61_000), None),
            "NUMBER  STATE    RECEIVER        ALERTS  FIRING  RESOLVED  DUE FOR  TRIES  ERROR\n\
             \x20    7  waiting  web/webhook[0]  Disk         1         2    1m 0s      3  refused\n"
        );
        assert_eq!(notifications(&[], Timestamp::default(), None), "everything is delivered\n");
    }
}
