//! `/api/v2/alerts` and `/api/v2/alerts/groups`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::{NOT_OF_TYPE, Refusal};
use super::time::{Given, Printed};
use super::{Brain, Map, Name, Params};
use crate::alerting::{AlertView, GroupView, Matcher, PostedAlert};
use crate::http::api::json;
use crate::model::{Labels, Timestamp};
use crate::yaml::Pattern;

/// Alerts that one request may bring.
const MAX_POSTED: usize = 10_000;

/// An alert as it is answered; the keys in Alertmanager's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    annotations: Map<'a>,
    ends_at: Printed,
    fingerprint: String,
    receivers: Vec<Name<'a>>,
    starts_at: Printed,
    status: Status<'a>,
    updated_at: Printed,
    #[serde(rename = "generatorURL", skip_serializing_if = "str::is_empty")]
    generator_url: &'a str,
    labels: Map<'a>,
    /// Ours: the expression's value, as a text since JSON has no NaN. Alerts from elsewhere have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// Ours: how often it has begun to fire of late, where it flaps.
    #[serde(skip_serializing_if = "Option::is_none")]
    flapping: Option<u32>,
    /// Ours: what has been done about it.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    actions: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    inhibited_by: Vec<String>,
    muted_by: &'a [String],
    silenced_by: &'a [String],
    state: &'static str,
}

/// Alertmanager says only of the alerts of groups what mutes them. Here it is said of an alert alone too, if no route
/// tells it: who wonders why nobody was told looks there.
fn shown(view: &AlertView) -> Shown<'_> {
    let suppressed = is_suppressed(view) || !view.muted_by.is_empty();
    Shown {
        annotations: Map(&view.alert.annotations),
        ends_at: Printed(view.ends_at),
        fingerprint: view.alert.fingerprint().to_string(),
        receivers: view.receivers.iter().map(|name| Name { name }).collect(),
        starts_at: Printed(view.alert.starts_at),
        status: Status {
            inhibited_by: view.inhibited_by.iter().map(ToString::to_string).collect(),
            muted_by: &view.muted_by,
            silenced_by: &view.silenced_by,
            state: if suppressed { "suppressed" } else { "active" },
        },
        updated_at: Printed(view.updated_at),
        generator_url: &view.alert.generator_url,
        labels: Map(&view.alert.labels),
        value: (!view.alert.value.is_nan()).then(|| number(view.alert.value)),
        flapping: view.alert.details.flapping,
        actions: &view.alert.details.actions,
    }
}

/// As the other API prints values.
fn number(value: f64) -> String {
    let mut out = Vec::new();
    json::number(&mut out, value);
    String::from_utf8(out).unwrap_or_default()
}

fn is_suppressed(view: &AlertView) -> bool {
    !view.silenced_by.is_empty() || !view.inhibited_by.is_empty()
}

/// Which alerts are asked for.
struct Wanted {
    matchers: Vec<Matcher>,
    receiver: Option<Pattern>,
    active: bool,
    silenced: bool,
    inhibited: bool,
    muted: bool,
}

impl Wanted {
    fn of(params: &Params) -> Result<Wanted, Refusal> {
        Ok(Wanted {
            matchers: params.filter()?,
            receiver: params.receiver()?,
            active: params.shows("active"),
            silenced: params.shows("silenced"),
            inhibited: params.shows("inhibited"),
            muted: params.shows("muted"),
        })
    }

    fn has_receiver(&self, name: &str) -> bool {
        self.receiver.as_ref().is_none_or(|pattern| pattern.is_match(name))
    }

    fn has(&self, view: &AlertView, now: Timestamp) -> bool {
        view.ends_at >= now
            && (self.active || is_suppressed(view))
            && (self.silenced || view.silenced_by.is_empty())
            && (self.inhibited || view.inhibited_by.is_empty())
            && self.matchers.iter().all(|m| m.matches(view.alert.labels.get(&m.name)))
    }
}

pub(super) async fn list<B: Brain>(brain: &B, params: &Params, now: Timestamp) -> Result<Vec<u8>, Refusal> {
    let wanted = Wanted::of(params)?;
    let mut alerts = brain.alerts().await;
    let has_receiver = |view: &AlertView| view.receivers.iter().any(|name| wanted.has_receiver(name));
    alerts.retain(|view| (wanted.receiver.is_none() || has_receiver(view)) && wanted.has(view, now));
    Ok(super::json(&alerts.iter().map(shown).collect::<Vec<_>>()))
}

#[derive(Serialize)]
struct ShownGroup<'a> {
    alerts: Vec<Shown<'a>>,
    labels: Map<'a>,
    receiver: Name<'a>,
}

pub(super) async fn groups<B: Brain>(brain: &B, params: &Params, now: Timestamp) -> Result<Vec<u8>, Refusal> {
    let wanted = Wanted::of(params)?;
    let mut groups = brain.groups().await;
    groups.retain_mut(|group| {
        let muted = group.alerts.first().is_some_and(|view| !view.muted_by.is_empty());
        group.alerts.retain(|view| wanted.has(view, now));
        // As Alertmanager: here only those that are asked for, in the list of alerts all of them.
        group.alerts.iter_mut().for_each(|view| view.receivers.retain(|name| wanted.has_receiver(name)));
        wanted.has_receiver(&group.receiver) && !group.alerts.is_empty() && (wanted.muted || !muted)
    });
    fn shown_group(group: &GroupView) -> ShownGroup<'_> {
        ShownGroup {
            alerts: group.alerts.iter().map(shown).collect(),
            labels: Map(&group.labels),
            receiver: Name { name: &group.receiver },
        }
    }
    Ok(super::json(&groups.iter().map(shown_group).collect::<Vec<_>>()))
}

/// An alert of a body.
#[derive(Deserialize)]
struct Posted {
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    #[serde(rename = "startsAt")]
    starts_at: Option<Given>,
    #[serde(rename = "endsAt")]
    ends_at: Option<Given>,
    #[serde(rename = "generatorURL")]
    generator_url: Option<String>,
}

/// Takes the alerts that are valid, and says what is wrong with the others.
pub(super) async fn post<B: Brain>(brain: &B, body: &[u8], now: Timestamp) -> Result<(), Refusal> {
    if body.is_empty() {
        return Err(Refusal::required("alerts"));
    }
    let posted = read(body)?.unwrap_or_default();
    if posted.len() > MAX_POSTED {
        let why = format!("{} alerts are too many for one request: send at most {MAX_POSTED}", posted.len());
        return Err(Refusal::said(413, why));
    }
    for (i, alert) in posted.iter().enumerate() {
        let url = alert.as_ref().and_then(|alert| alert.generator_url.as_deref()).unwrap_or_default();
        if alert.as_ref().is_none_or(|alert| alert.labels.is_none()) {
            return Err(Refusal::required(&format!("{i}.labels")));
        }
        if !url.is_empty() && !is_uri(url) {
            let message = format!("{i}.generatorURL in body must be of type uri: {url:?}");
            return Err(Refusal::coded(422, NOT_OF_TYPE, message));
        }
    }
    let (mut alerts, mut faults) = (Vec::new(), Vec::new());
    for alert in posted.into_iter().flatten() {
        match checked(alert, now) {
            Ok(alert) => alerts.push(alert),
            Err(why) => faults.push(why),
        }
    }
    if !alerts.is_empty() && !brain.post(alerts).await {
        return Err(Refusal::said(
            503,
            "the alerts are not taken: the agent has too many, or ends; send them again later",
        ));
    }
    if faults.is_empty() { Ok(()) } else { Err(Refusal::said(400, faults.join("; "))) }
}

type Body = Option<Vec<Option<Posted>>>;

fn read(body: &[u8]) -> Result<Body, Refusal> {
    serde_json::from_slice(body).map_err(|why| Refusal::unreadable("alerts", &why))
}

fn checked(alert: Posted, now: Timestamp) -> Result<PostedAlert, String> {
    let starts_at = alert.starts_at.and_then(|at| at.0);
    let ends_at = alert.ends_at.and_then(|at| at.0);
    let labels = Labels::from_pairs(alert.labels.unwrap_or_default());
    let annotations = alert.annotations.unwrap_or_default();
    if ends_at.is_some_and(|end| starts_at.unwrap_or(if end < now { end } else { now }) > end) {
        return Err("start time must be before end time".to_string());
    }
    if labels.iter().any(|(name, _)| name.is_empty()) {
        return Err("invalid label set: invalid name \"\"".to_string());
    }
    if labels.is_empty() {
        return Err("at least one label pair required".to_string());
    }
    if annotations.contains_key("") {
        return Err("invalid annotations: invalid name \"\"".to_string());
    }
    Ok(PostedAlert {
        labels,
        annotations: Labels::from_pairs(annotations),
        starts_at,
        ends_at,
        generator_url: alert.generator_url.unwrap_or_default(),
    })
}

/// A path, or something with a scheme.
fn is_uri(text: &str) -> bool {
    let has_scheme = || {
        let Some((scheme, rest)) = text.split_once(':') else { return false };
        let word = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(word) && !rest.is_empty()
    };
    !text.contains(|c: char| c.is_control()) && (text.starts_with('/') || has_scheme())
}
