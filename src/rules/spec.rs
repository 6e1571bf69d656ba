//! Rules as they stand in a file, checked: what could not be evaluated is not here.

use std::sync::Arc;
use std::time::Duration;

use crate::promql::Query;
use crate::template::Template;

/// A group of rules, which are evaluated together and in order.
#[derive(Debug)]
pub struct GroupSpec {
    /// The file it stands in, or how else it is called.
    pub file: String,
    /// Unique within its file.
    pub name: String,
    /// How often it is evaluated; the evaluation interval of the configuration for `None`.
    pub interval: Option<Duration>,
    /// How far back in time it is evaluated; the offset of the configuration for `None`.
    pub query_offset: Option<Duration>,
    /// Most results a rule may have; 0 for no limit.
    pub limit: usize,
    pub rules: Vec<RuleSpec>,
}

/// A rule. Labels of the group are already in its own.
#[derive(Debug)]
pub enum RuleSpec {
    Recording(RecordingSpec),
    Alerting(AlertingSpec),
}

/// Keeps the result of an expression as series of its own.
#[derive(Debug)]
pub struct RecordingSpec {
    /// The name of the series.
    pub record: String,
    pub query: Query,
    /// Set on every result; an empty value removes the label.
    pub labels: Vec<(String, String)>,
}

/// Raises an alert for each result of an expression.
#[derive(Debug)]
pub struct AlertingSpec {
    pub alert: String,
    pub query: Query,
    /// `for`: how long a result must be there before its alert fires.
    pub hold: Duration,
    /// `keep_firing_for`: how long an alert fires on after its result is gone.
    pub keep_firing: Duration,
    pub labels: Vec<(String, Template)>,
    pub annotations: Vec<(String, Template)>,
    /// `actions`: the names of what is run when an alert fires or ends. Ours: Prometheus has no such key.
    pub actions: Arc<[String]>,
}

impl RuleSpec {
    /// The name of the alert or of the recorded series.
    pub fn name(&self) -> &str {
        match self {
            RuleSpec::Recording(r) => &r.record,
            RuleSpec::Alerting(a) => &a.alert,
        }
    }

    /// The text of the expression, without the line end that a block in YAML leaves.
    pub fn expr(&self) -> &str {
        self.query().text().trim()
    }

    pub fn query(&self) -> &Query {
        match self {
            RuleSpec::Recording(r) => &r.query,
            RuleSpec::Alerting(a) => &a.query,
        }
    }
}
