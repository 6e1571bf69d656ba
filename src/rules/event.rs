//! What the rules hand to alerting: one alert as it stands now.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Labels, Timestamp, TopProcess};

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
    /// How long it may be taken to fire without being told again. Four times the distance at which it is, as Prometheus
    /// has it: one message that is late or lost ends nothing.
    pub valid_for: Duration,
    /// The expression's value at the last evaluation that gave one.
    pub value: f64,
    /// The rule's expression, for a link to a graph of it.
    pub expr: String,
    /// The number that the expression compares with, where it compares with one.
    pub threshold: Option<f64>,
    /// The processes that used most of the host when it began to fire, as [`Culprits`] named them.
    pub top: Vec<TopProcess>,
    /// The names of the actions that the rule wants run.
    pub actions: Arc<[String]>,
}

/// Names the processes that use most of the host at this moment; asked only when an alert begins to fire.
#[derive(Clone, Default)]
pub struct Culprits(Option<Arc<dyn Fn() -> Vec<TopProcess> + Send + Sync>>);

impl Culprits {
    pub fn new(find: impl Fn() -> Vec<TopProcess> + Send + Sync + 'static) -> Culprits {
        Culprits(Some(Arc::new(find)))
    }

    /// The greatest first; none where nobody looks at processes.
    pub fn find(&self) -> Vec<TopProcess> {
        self.0.as_ref().map(|find| find()).unwrap_or_default()
    }
}

impl fmt::Debug for Culprits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Culprits")
    }
}

impl Alert {
    /// Whether it has stopped firing.
    pub fn is_resolved(&self) -> bool {
        self.ends_at.is_some()
    }
}
