//! What is told of the check that an alert is about.

use std::fmt;
use std::sync::Arc;

use crate::sinks::{CheckSaid, NotifiedAlert};

/// The label by which an alert of a rule names the check that it is about.
const CHECK: &str = "check";

/// Finds what a check said.
type Find = Arc<dyn Fn(&str) -> Option<CheckSaid> + Send + Sync>;

/// Tells what checks have said last; asked when somebody is about to be told of an alert.
#[derive(Clone, Default)]
pub struct ChecksSaid(Option<Find>);

impl ChecksSaid {
    pub fn new(find: impl Fn(&str) -> Option<CheckSaid> + Send + Sync + 'static) -> ChecksSaid {
        ChecksSaid(Some(Arc::new(find)))
    }

    /// What the check of an alert says now. In an alert that came from elsewhere the label means something else.
    pub(super) fn of(&self, alert: &NotifiedAlert) -> Option<CheckSaid> {
        let find = self.0.as_ref().filter(|_| !alert.expr.is_empty())?;
        find(Some(alert.labels.get(CHECK)).filter(|check| !check.is_empty())?)
    }
}

impl fmt::Debug for ChecksSaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChecksSaid")
    }
}
