//! What the rules hand to alerting: one alert as it stands now.

use crate::model::{Labels, Timestamp};

/// An alert that fires or has stopped firing, as it is told to `alerting/`.
///
/// Told when it begins to fire, again every resend delay while it fires, and when it is resolved (for 15 minutes
/// again, so that a notification lost in a crash is made up for).
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Identity: the result's labels without its name, the rule's labels, `alertname`. External labels are not in it:
    /// they belong to the sender.
    pub labels: Labels,
    /// Expanded annotations. An annotation that expands to nothing is not there.
    pub annotations: Labels,
    /// When it began to fire, by the wall clock.
    pub starts_at: Timestamp,
    /// When it stopped firing; `None` while it fires.
    pub ends_at: Option<Timestamp>,
    /// The expression's value at the last evaluation that gave one.
    pub value: f64,
    /// The rule's expression, for a link to a graph of it.
    pub expr: String,
}

impl Alert {
    /// Whether it has stopped firing.
    pub fn is_resolved(&self) -> bool {
        self.ends_at.is_some()
    }
}
