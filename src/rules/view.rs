//! Groups and rules as they stand, for those who show them: immutable, so that nobody who looks holds up an evaluation.

use std::sync::Arc;
use std::time::Duration;

use super::alert::{ActiveAlert, State};
use super::rule::Rule;
use super::spec::RuleSpec;
use crate::model::{Labels, Timestamp};

/// A group after an evaluation.
#[derive(Debug)]
pub struct GroupView {
    pub file: Arc<str>,
    pub name: Arc<str>,
    pub interval: Duration,
    /// Most results a rule may have; 0 for no limit.
    pub limit: usize,
    /// How long the last evaluation took.
    pub took: Duration,
    /// Nothing before the first one.
    pub last_evaluation: Option<Timestamp>,
    pub rules: Vec<RuleView>,
}

/// A rule after an evaluation.
#[derive(Debug)]
pub struct RuleView {
    pub spec: Arc<RuleSpec>,
    /// Why the last evaluation failed.
    pub error: Option<String>,
    /// When it was evaluated last, and how long that took.
    pub last: Option<(Timestamp, Duration)>,
    /// Those that are pending or firing, in order of their labels; none for a recording rule.
    pub alerts: Vec<AlertView>,
}

/// An alert that is pending or firing.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertView {
    pub labels: Labels,
    pub annotations: Labels,
    /// Else it is pending.
    pub firing: bool,
    /// When the condition began to hold.
    pub active_at: Timestamp,
    /// Since when it fires only because of `keep_firing_for`.
    pub kept_since: Option<Timestamp>,
    pub value: f64,
}

impl RuleView {
    pub(super) fn of(rule: &Rule) -> RuleView {
        RuleView {
            spec: rule.spec.clone(),
            error: rule.error.clone(),
            last: rule.last,
            alerts: rule.alerts.pending_or_firing().map(|(labels, alert)| AlertView::of(labels, alert)).collect(),
        }
    }
}

impl AlertView {
    fn of(labels: &Labels, alert: &ActiveAlert) -> AlertView {
        let kept_since = match alert.state {
            State::Firing { kept_since: Some(mono), .. } => {
                let after = u64::try_from(mono.saturating_sub(alert.active_at.mono)).unwrap_or(0);
                Some(alert.active_at.wall + Duration::from_millis(after))
            }
            _ => None,
        };
        AlertView {
            labels: labels.clone(),
            annotations: alert.annotations.clone(),
            firing: alert.state != State::Pending,
            active_at: alert.active_at.wall,
            kept_since,
            value: alert.value,
        }
    }
}
