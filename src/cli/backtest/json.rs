//! The result for programs.

use serde_json::{Value, json};

use super::Backtest;
use crate::model::{Labels, Timestamp};
use crate::rules::RuleSpec;
use crate::rules::replay::{Instance, Replayed, Span, Stage};

pub fn json(backtest: &Backtest) -> Value {
    let covered = |(from, to): &(Timestamp, Timestamp)| json!({"start": from.to_string(), "end": to.to_string()});
    json!({
        "start": backtest.start.to_string(),
        "end": backtest.end.to_string(),
        "ticks": backtest.ticks,
        "covered": backtest.covered.iter().map(covered).collect::<Vec<_>>(),
        "notes": backtest.notes,
        "rules": backtest.rules.iter().map(rule).collect::<Vec<_>>(),
    })
}

fn rule(rule: &Replayed) -> Value {
    let (kind, hold, keep_firing) = match &*rule.spec {
        RuleSpec::Recording(_) => ("recording", None, None),
        RuleSpec::Alerting(a) => ("alerting", Some(a.hold.as_secs_f64()), Some(a.keep_firing.as_secs_f64())),
    };
    json!({
        "file": &*rule.file,
        "group": &*rule.group,
        "name": rule.spec.name(),
        "type": kind,
        "query": rule.spec.expr(),
        "duration": hold,
        "keepFiringFor": keep_firing,
        "evaluations": rule.evaluations,
        "slowestSeconds": rule.slowest.as_secs_f64(),
        "errors": rule.trouble.as_ref().map_or(0, |trouble| trouble.times),
        "firstError": rule.trouble.as_ref().map(|trouble| &trouble.error),
        "alerts": rule.instances.iter().map(instance).collect::<Vec<_>>(),
    })
}

fn instance(instance: &Instance) -> Value {
    let span = |span: &Span| {
        let state = if span.stage == Stage::Firing { "firing" } else { "pending" };
        json!({"state": state, "start": span.from.to_string(), "end": span.to.to_string()})
    };
    // As text, as JSON has no NaN.
    let worst = |(value, at): (f64, Timestamp)| json!({"value": value.to_string(), "time": at.to_string()});
    json!({
        "labels": labels(&instance.labels),
        "fired": instance.fired,
        "firingSeconds": instance.total(Stage::Firing).as_secs_f64(),
        "pendingSeconds": instance.total(Stage::Pending).as_secs_f64(),
        "worst": instance.worst.map(worst),
        "spans": instance.spans.iter().map(span).collect::<Vec<_>>(),
    })
}

fn labels(labels: &Labels) -> Value {
    labels.iter().map(|(name, value)| (name.to_string(), Value::from(value))).collect::<serde_json::Map<_, _>>().into()
}
