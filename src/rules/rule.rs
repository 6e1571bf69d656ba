//! A rule as it is evaluated: its expression's result becomes samples, and for an alerting rule alerts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashSet;

use super::alert::{Alerts, Finding, Moment, State, Timing};
use super::event::{Alert, Culprits};
use super::outputs::Outputs;
use super::spec::{AlertingSpec, RecordingSpec, RuleSpec};
use crate::history::History;
use crate::model::{Labels, METRIC_NAME, Timestamp};
use crate::promql::{EvalError, EvalOptions, Query, Sample, Value};
use crate::template::{self, QuerySample, Template, prometheus::rule_data};

/// The label with the name of the rule in an alert.
pub const ALERT_NAME: &str = "alertname";
/// Name of the series that says which alerts are pending or firing.
pub const ALERTS: &str = "ALERTS";
/// Name of the series that says since when.
pub const ALERTS_FOR_STATE: &str = "ALERTS_FOR_STATE";

/// What an evaluation works on.
pub struct Environment<'a> {
    pub history: &'a History,
    pub external_labels: &'a Labels,
    pub external_url: &'a str,
    pub now: Moment,
    /// The time at which expressions are evaluated: now, less the group's offset.
    pub at: Timestamp,
    /// Most results; 0 for no limit.
    pub limit: usize,
    pub options: &'a EvalOptions,
    /// Who is named with an alert that begins to fire.
    pub culprits: &'a Culprits,
}

/// What an evaluation came to.
#[derive(Default)]
pub struct Outcome {
    /// Samples for history.
    pub samples: Vec<(Labels, f64)>,
    /// An alert came, went or changed its state.
    pub changed: bool,
    /// Texts that could not be expanded.
    pub template_failures: Vec<String>,
    /// Alerts that ended in another way than by their condition.
    pub ended: Vec<Alert>,
}

/// Why an evaluation gave nothing.
pub enum Failure {
    /// It was not done by the deadline, and left everything as it was.
    TimedOut,
    /// Something went wrong; what came of it all the same.
    Failed(String, Outcome),
}

impl From<String> for Failure {
    fn from(error: String) -> Failure {
        Failure::Failed(error, Outcome::default())
    }
}

impl From<EvalError> for Failure {
    fn from(error: EvalError) -> Failure {
        match error {
            EvalError::TimedOut => Failure::TimedOut,
            error => error.to_string().into(),
        }
    }
}

/// A rule with what it remembers.
#[derive(Debug)]
pub struct Rule {
    pub spec: Arc<RuleSpec>,
    /// Nothing for a recording rule.
    pub alerts: Alerts,
    pub outputs: Outputs,
    /// What went wrong in the last evaluation.
    pub error: Option<String>,
    /// When it was evaluated last, and how long that took.
    pub last: Option<(Timestamp, Duration)>,
    /// Whether that left its result unused, in whole or in part; otherwise only a text could not be expanded.
    pub failed: bool,
}

impl Rule {
    /// `slack`: see [`Timing`].
    pub fn new(spec: RuleSpec, slack: Duration) -> Rule {
        let timing = match &spec {
            RuleSpec::Recording(_) => Timing::default(),
            RuleSpec::Alerting(a) => Timing { hold: a.hold, keep_firing: a.keep_firing, slack },
        };
        let (threshold, actions) = match &spec {
            RuleSpec::Recording(_) => (None, Arc::default()),
            RuleSpec::Alerting(a) => (a.query.compared().threshold, a.actions.clone()),
        };
        Rule {
            spec: Arc::new(spec),
            alerts: Alerts::new(timing).over(threshold).acted_upon(actions),
            outputs: Outputs::default(),
            error: None,
            failed: false,
            last: None,
        }
    }

    /// Evaluates the rule. After a failure alerts are as they were.
    pub fn evaluate(&mut self, env: &Environment<'_>) -> Result<Outcome, Failure> {
        let samples = instant(self.spec.query(), env.history, env.at, env.options)?;
        match &*self.spec {
            RuleSpec::Recording(spec) => {
                Ok(Outcome { samples: record(spec, samples, env.limit)?, ..Outcome::default() })
            }
            RuleSpec::Alerting(spec) => alert(spec, &mut self.alerts, samples, env),
        }
    }
}

/// The instant vector of an expression; a scalar is a sample without labels.
fn instant(query: &Query, history: &History, at: Timestamp, options: &EvalOptions) -> Result<Vec<Sample>, EvalError> {
    match query.instant(history, at, options)? {
        Value::Vector(samples) => Ok(samples),
        Value::Scalar(value) => Ok(vec![Sample { labels: Labels::empty(), value, time: at }]),
        _ => Err(EvalError::Failed("rule result is not a vector or scalar".into())),
    }
}

fn record(spec: &RecordingSpec, samples: Vec<Sample>, limit: usize) -> Result<Vec<(Labels, f64)>, String> {
    let mut seen = HashSet::with_capacity(samples.len());
    let mut out = Vec::with_capacity(samples.len());
    for sample in samples {
        let mut labels = sample.labels.builder();
        labels.set(METRIC_NAME, &spec.record);
        for (name, value) in &spec.labels {
            labels.set(name, value);
        }
        let labels = labels.build();
        if !seen.insert(labels.clone()) {
            return Err("vector contains metrics with the same labelset after applying rule labels".into());
        }
        out.push((labels, sample.value));
    }
    if limit > 0 && out.len() > limit {
        return Err(format!("exceeded limit of {limit} with {} series", out.len()));
    }
    Ok(out)
}

fn alert(
    spec: &AlertingSpec,
    alerts: &mut Alerts,
    samples: Vec<Sample>,
    env: &Environment<'_>,
) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    let mut findings = Vec::with_capacity(samples.len());
    for sample in &samples {
        findings.push(finding(spec, sample, env, &mut outcome.template_failures));
        if env.options.deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Err(Failure::TimedOut);
        }
    }
    outcome.changed = match alerts.step(env.now, findings) {
        Ok(changed) => changed,
        Err(_) => {
            let error = "vector contains metrics with the same labelset after applying alert labels";
            return Err(Failure::Failed(error.into(), outcome));
        }
    };
    if outcome.changed {
        alerts.note_top(env.now, || env.culprits.find());
    }
    let active = alerts.pending_or_firing().count();
    if env.limit > 0 && active > env.limit {
        outcome.ended = alerts.end_all(env.now, spec.query.text().trim());
        outcome.changed = true;
        return Err(Failure::Failed(format!("exceeded limit of {} with {active} alerts", env.limit), outcome));
    }
    for (labels, alert) in alerts.pending_or_firing() {
        let state = if alert.state == State::Pending { "pending" } else { "firing" };
        let mut builder = labels.builder();
        builder.set(METRIC_NAME, ALERTS).set("alertstate", state);
        outcome.samples.push((builder.build(), 1.0));
        let mut builder = labels.builder();
        builder.set(METRIC_NAME, ALERTS_FOR_STATE);
        // Whole seconds, as a server that restores from them expects.
        let since = alert.active_at.wall.as_millis().div_euclid(1000) as f64;
        outcome.samples.push((builder.build(), since));
    }
    Ok(outcome)
}

/// A sample with the texts of the rule expanded for it.
fn finding(spec: &AlertingSpec, sample: &Sample, env: &Environment<'_>, failures: &mut Vec<String>) -> Finding {
    let shown = sample.labels.without_name();
    let data = rule_data(&shown, env.external_labels, env.external_url, sample.value);
    let query = HistoryQuery { history: env.history, at: env.at, options: env.options };
    let context = template::Context {
        query: Some(&query),
        external_url: env.external_url,
        now: env.at,
        limits: template::Limits::default(),
    };
    let mut expand = |name: &str, text: &Template| match text.execute(&data, &context) {
        Ok(text) => text,
        Err(e) => {
            failures.push(format!("{name}: {e}"));
            format!("<error expanding template: error executing template __alert_{}: {e}>", spec.alert)
        }
    };
    let mut labels = shown.builder();
    for (name, text) in &spec.labels {
        labels.set(name, &expand(name, text));
    }
    labels.set(ALERT_NAME, &spec.alert);
    let annotations = spec.annotations.iter().map(|(name, text)| (name.as_str(), expand(name, text)));
    Finding { annotations: Labels::from_pairs(annotations), labels: labels.build(), value: sample.value }
}

/// Answers the queries of templates from history.
struct HistoryQuery<'a> {
    history: &'a History,
    at: Timestamp,
    options: &'a EvalOptions,
}

impl template::Query for HistoryQuery<'_> {
    fn query(&self, expr: &str) -> Result<Vec<QuerySample>, String> {
        let query = Query::parse(expr).map_err(|e| e.to_string())?;
        let samples = instant(&query, self.history, self.at, self.options).map_err(|e| e.to_string())?;
        Ok(samples.into_iter().map(|s| QuerySample { labels: s.labels, value: s.value }).collect())
    }
}
