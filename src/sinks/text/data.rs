//! What templates see of a notification: Alertmanager's data, and what helps beside it.
//!
//! | field | what |
//! | --- | --- |
//! | `.Receiver`, `.Status`, `.GroupLabels`, `.CommonLabels`, `.CommonAnnotations`, `.ExternalURL` | as Alertmanager's |
//! | `.Alerts` | the alerts; `.Alerts.Firing` and `.Alerts.Resolved` those that are |
//! | `.GroupKey` | the group, as in the webhook's message |
//! | `.NotificationReason` | always empty: Alertmanager's reasons are not told apart here |
//! | `.Host` | the name of this host |
//! | `.Chart` | whether a picture is attached, which HTML shows with `<img src="cid:chart">` |
//!
//! Of an alert, beside Alertmanager's `Status`, `Labels`, `Annotations`, `StartsAt`, `EndsAt`, `GeneratorURL` and
//! `Fingerprint`:
//!
//! | field | what |
//! | --- | --- |
//! | `.Value` | the expression's value, a number; NaN for an alert that came from elsewhere |
//! | `.Threshold` | the number that the expression compares with, or nil |
//! | `.ValueText`, `.ThresholdText` | both as people read them: `97%`, `1.5GiB`; empty where there is none |
//! | `.Expr` | the expression |
//! | `.Top` | the processes that used most of the host, each with `Pid`, `Name`, `Cpu` (of one core), `Memory` (bytes) |
//! | `.ChartURL` | a link to a picture of the expression over the last hour; empty for an alert that came from elsewhere |
//! | `.Flapping` | how often it began to fire of late, where that is too often; else nil |
//! | `.Actions` | what has been done about it, a line each: `restart-nginx: exit 0 after 1.2 s` |
//! | `.Check` | the check that it is about and what that said last, with `Name`, `State`, `Summary`; else nil |

use crate::model::{Labels, Timestamp};
use crate::sinks::payload::quote_meta;
use crate::sinks::{CheckSaid, Details, Notification, NotifiedAlert, TopProcess};
use crate::template::Value;
use crate::template::alertmanager::{alerts, kv, time, zero_time};

use super::readable::readable;

pub(super) fn of(notification: &Notification) -> Value {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Value::structure(
        "template.Data",
        vec![
            ("Receiver", quote_meta(&notification.receiver).into()),
            ("Status", notification.status().as_str().into()),
            ("Alerts", alerts(notification.alerts.iter().map(|a| alert(a, notification)).collect())),
            ("GroupLabels", kv(&notification.group_labels)),
            ("CommonLabels", kv(&notification.common_labels())),
            ("CommonAnnotations", kv(&notification.common_annotations())),
            ("ExternalURL", notification.external_url.as_str().into()),
            ("GroupKey", notification.group_key.as_str().into()),
            ("NotificationReason", "".into()),
            ("Host", host.into()),
            ("Chart", false.into()),
        ],
    )
}

/// What templates see of an alert that fires and one that is resolved, to try them with.
pub(super) fn example() -> Value {
    let now = Timestamp::now();
    let example = |ends_at: Option<Timestamp>| NotifiedAlert {
        labels: Labels::from_pairs([("alertname", "Example"), ("severity", "warning")]),
        annotations: Labels::from_pairs([("summary", "an example")]),
        starts_at: now,
        ends_at,
        value: 1.0,
        generator_url: String::new(),
        expr: String::new(),
        details: Details::default(),
    };
    of(&Notification {
        id: String::new(),
        receiver: "example".to_string(),
        group_key: String::new(),
        group_labels: Labels::from_pairs([("alertname", "Example")]),
        at: now,
        external_url: String::new(),
        alerts: vec![example(None), example(Some(now))],
    })
}

fn alert(alert: &NotifiedAlert, of: &Notification) -> Value {
    let threshold = alert.details.threshold;
    let labels = |labels: &Labels| kv(labels);
    let time_of = |at: Timestamp| time(at).unwrap_or_else(|_| zero_time());
    Value::structure(
        "template.Alert",
        vec![
            ("Status", alert.status().as_str().into()),
            ("Labels", labels(&alert.labels)),
            ("Annotations", labels(&alert.annotations)),
            ("StartsAt", time_of(alert.starts_at)),
            ("EndsAt", alert.ends_at.map_or_else(zero_time, time_of)),
            ("GeneratorURL", alert.generator_url.as_str().into()),
            ("Fingerprint", alert.fingerprint().to_string().into()),
            ("Value", alert.value.into()),
            ("Threshold", threshold.map_or(Value::Nil, Value::from)),
            ("ValueText", readable(alert.value, threshold, &alert.expr).into()),
            ("ThresholdText", threshold.map_or(String::new(), |t| readable(t, threshold, &alert.expr)).into()),
            ("Expr", alert.expr.as_str().into()),
            ("ChartURL", alert.chart_url(&of.external_url, of.at).into()),
            ("Top", Value::List(alert.details.top.iter().map(process).collect())),
            ("Flapping", alert.details.flapping.map_or(Value::Nil, |n| Value::Int(n.into()))),
            ("Actions", Value::List(alert.details.actions.iter().map(|line| line.as_str().into()).collect())),
            ("Check", alert.details.check.as_ref().map_or(Value::Nil, |said| check(said, alert))),
        ],
    )
}

fn check(said: &CheckSaid, alert: &NotifiedAlert) -> Value {
    Value::structure(
        "template.Check",
        vec![
            ("Name", alert.labels.get("check").into()),
            ("State", said.state.as_str().into()),
            ("Summary", said.summary.as_str().into()),
        ],
    )
}

fn process(process: &TopProcess) -> Value {
    Value::structure(
        "template.Process",
        vec![
            ("Pid", Value::Int(process.pid.into())),
            ("Name", process.name.as_str().into()),
            ("Cpu", process.cpu.into()),
            ("Memory", Value::Int(i64::try_from(process.memory).unwrap_or(i64::MAX))),
        ],
    )
}
