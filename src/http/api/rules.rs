//! `rules` and `alerts`: the rules as they stood after their last evaluation.

use serde::{Serialize, Serializer};

use super::error::ApiError;
use super::params::Params;
use super::{Body, json, json_data};
use crate::history::Matcher;
use crate::model::Labels;
use crate::rules::{AlertView, GroupView, RuleSpec, RuleView};

/// Labels as an object, in order of their names.
struct Object(Vec<(String, String)>);

impl Object {
    fn of(labels: &Labels) -> Object {
        Object(labels.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect())
    }

    fn sorted(mut pairs: Vec<(String, String)>) -> Object {
        pairs.sort();
        Object(pairs)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[derive(Serialize)]
struct Discovery<'v> {
    groups: Vec<Group<'v>>,
    #[serde(rename = "groupNextToken", skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Group<'v> {
    name: &'v str,
    file: &'v str,
    rules: Vec<Rule<'v>>,
    interval: f64,
    limit: usize,
    evaluation_time: f64,
    last_evaluation: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule<'v> {
    #[serde(flatten)]
    alerting: Option<Alerting>,
    name: &'v str,
    query: &'v str,
    labels: Object,
    health: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<&'v str>,
    evaluation_time: f64,
    last_evaluation: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

/// What an alerting rule has besides.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alerting {
    state: &'static str,
    duration: f64,
    keep_firing_for: f64,
    annotations: Object,
    /// Nothing where alerts are not asked for.
    alerts: Option<Vec<Alert>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    labels: Object,
    annotations: Object,
    state: &'static str,
    active_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_firing_since: Option<String>,
    value: String,
}

impl Alert {
    fn of(alert: &AlertView) -> Alert {
        Alert {
            labels: Object::of(&alert.labels),
            annotations: Object::of(&alert.annotations),
            state: state(alert),
            active_at: alert.active_at.to_string(),
            keep_firing_since: alert.kept_since.map(|at| at.to_string()),
            value: json::exponential(alert.value),
        }
    }
}

fn state(alert: &AlertView) -> &'static str {
    if alert.firing { "firing" } else { "pending" }
}

impl<'v> Rule<'v> {
    fn of(rule: &'v RuleView, with_alerts: bool) -> Rule<'v> {
        let texts = |pairs: &[(String, crate::template::Template)]| {
            Object::sorted(pairs.iter().map(|(name, text)| (name.clone(), text.text().to_string())).collect())
        };
        let (labels, alerting) = match &*rule.spec {
            RuleSpec::Recording(spec) => (Object::sorted(spec.labels.clone()), None),
            RuleSpec::Alerting(spec) => {
                let states = rule.alerts.iter().map(state);
                let alerting = Alerting {
                    state: states.fold("inactive", |worst, state| if worst == "firing" { worst } else { state }),
                    duration: spec.hold.as_secs_f64(),
                    keep_firing_for: spec.keep_firing.as_secs_f64(),
                    annotations: texts(&spec.annotations),
                    alerts: with_alerts.then(|| rule.alerts.iter().map(Alert::of).collect()),
                };
                (texts(&spec.labels), Some(alerting))
            }
        };
        Rule {
            kind: if alerting.is_some() { "alerting" } else { "recording" },
            alerting,
            name: rule.spec.name(),
            query: rule.spec.expr(),
            labels,
            health: match (&rule.error, rule.last) {
                (Some(_), _) => "err",
                (None, Some(_)) => "ok",
                (None, None) => "unknown",
            },
            last_error: rule.error.as_deref(),
            evaluation_time: rule.last.map_or(0.0, |(_, took)| took.as_secs_f64()),
            last_evaluation: json::time(rule.last.map(|(at, _)| at)),
        }
    }
}

/// Which rules are asked for.
struct Selection<'p> {
    names: Vec<&'p str>,
    groups: Vec<&'p str>,
    files: Vec<&'p str>,
    selectors: Vec<Vec<Matcher>>,
    alerting: bool,
    recording: bool,
}

impl<'p> Selection<'p> {
    fn of(params: &'p Params) -> Result<Selection<'p>, ApiError> {
        let kind = params.get("type").to_lowercase();
        if !matches!(kind.as_str(), "" | "alert" | "record") {
            return Err(ApiError::parameter("type", format!("not supported value {kind:?}")));
        }
        Ok(Selection {
            names: params.all("rule_name[]").collect(),
            groups: params.all("rule_group[]").collect(),
            files: params.all("file[]").collect(),
            selectors: params.selectors().map_err(|why| ApiError::parameter("match[]", why))?,
            alerting: kind != "record",
            recording: kind != "alert",
        })
    }

    fn has_group(&self, group: &GroupView) -> bool {
        let named = |names: &[&str], name: &str| names.is_empty() || names.contains(&name);
        named(&self.groups, &group.name) && named(&self.files, &group.file)
    }

    fn has_rule(&self, rule: &RuleView) -> bool {
        let (kind, labels) = match &*rule.spec {
            RuleSpec::Recording(spec) => (self.recording, Labels::from_pairs(spec.labels.clone())),
            // As in Prometheus: labels that a template makes are looked at as they are written.
            RuleSpec::Alerting(spec) => {
                (self.alerting, Labels::from_pairs(spec.labels.iter().map(|(n, text)| (n.as_str(), text.text()))))
            }
        };
        let passes = |matchers: &Vec<Matcher>| matchers.iter().all(|m| m.matches_labels(&labels));
        kind && (self.names.is_empty() || self.names.contains(&rule.spec.name()))
            && (self.selectors.is_empty() || self.selectors.iter().any(passes))
    }
}

/// A page of the groups.
struct Page<'p> {
    /// Groups at most; nothing for all.
    size: Option<usize>,
    /// The group with which it begins.
    token: &'p str,
}

impl<'p> Page<'p> {
    fn of(params: &'p Params) -> Result<Page<'p>, ApiError> {
        let (size, token) = (params.get("group_limit"), params.get("group_next_token"));
        if size.is_empty() {
            return match token {
                "" => Ok(Page { size: None, token }),
                _ => Err(ApiError::parameter(
                    "group_next_token",
                    "group_limit needs to be present in order to paginate over the groups",
                )),
            };
        }
        match size.parse::<i32>() {
            Ok(n) => match usize::try_from(n) {
                Ok(n) if n > 0 => Ok(Page { size: Some(n), token }),
                _ => Err(ApiError::parameter("group_limit", "group_limit needs to be greater than 0")),
            },
            Err(e) => Err(ApiError::parameter("group_limit", format!("group_limit needs to be a valid number: {e}"))),
        }
    }
}

/// By what a client asks for the groups from this one on: its file and name, in hexadecimal digits.
fn token(group: &GroupView) -> String {
    format!("{};{}", group.file, group.name).bytes().map(|b| format!("{b:02x}")).collect()
}

pub(super) fn rules(groups: &[std::sync::Arc<GroupView>], params: &Params) -> Result<Body, ApiError> {
    let (selection, page) = (Selection::of(params)?, Page::of(params)?);
    let exclude = match params.get("exclude_alerts").to_lowercase().as_str() {
        "" | "0" | "f" | "false" => false,
        "1" | "t" | "true" => true,
        other => {
            let why = format!("error converting exclude_alerts: {other:?} is neither true nor false");
            return Err(ApiError::parameter("exclude_alerts", why));
        }
    };
    let mut found = Discovery { groups: Vec::new(), next_token: None };
    let from = match page.token {
        "" => 0,
        wanted => groups.iter().position(|group| token(group) == wanted).ok_or_else(|| {
            let why = format!("invalid group_next_token '{wanted}'. were rule groups changed?");
            ApiError::parameter("group_next_token", why)
        })?,
    };
    for group in groups.iter().skip(from).filter(|group| selection.has_group(group)) {
        let rules = group.rules.iter().filter(|rule| selection.has_rule(rule));
        let rules: Vec<Rule<'_>> = rules.map(|rule| Rule::of(rule, !exclude)).collect();
        if rules.is_empty() {
            continue;
        }
        if page.size.is_some_and(|size| found.groups.len() >= size) {
            found.next_token = Some(token(group));
            break;
        }
        found.groups.push(Group {
            name: &group.name,
            file: &group.file,
            rules,
            interval: group.interval.as_secs_f64(),
            limit: group.limit,
            evaluation_time: group.took.as_secs_f64(),
            last_evaluation: json::time(group.last_evaluation),
        });
    }
    Ok(json_data(&found))
}

pub(super) fn alerts(groups: &[std::sync::Arc<GroupView>]) -> Body {
    #[derive(Serialize)]
    struct Alerts {
        alerts: Vec<Alert>,
    }
    let alerts = groups.iter().flat_map(|group| &group.rules).flat_map(|rule| &rule.alerts);
    json_data(&Alerts { alerts: alerts.map(Alert::of).collect() })
}
