//! Pictures of alerts, as sinks ask for them.

use std::sync::Arc;

use crate::chart::{Drawer, Subject};
use crate::model::Timestamp;
use crate::sinks::{Chart, Charts, NotifiedAlert};

/// Has a drawer draw what alerts are about.
pub struct OfAlerts(pub Arc<Drawer>);

impl Charts for OfAlerts {
    fn chart<'a>(&'a self, alert: &'a NotifiedAlert, at: Timestamp) -> Chart<'a> {
        Box::pin(async move {
            // One that came from elsewhere has no expression.
            let picture = match alert.expr.as_str() {
                "" => None,
                _ => self.0.picture(subject(alert, at)).await,
            };
            picture.map(|picture| picture.to_vec())
        })
    }
}

/// The same as the one that [`NotifiedAlert::chart_url`] asks for.
fn subject(alert: &NotifiedAlert, at: Timestamp) -> Subject {
    Subject {
        labels: alert.labels.clone(),
        expr: alert.expr.clone(),
        threshold: alert.details.threshold,
        starts_at: Some(alert.starts_at),
        ends_at: alert.ends_at,
        at,
    }
}
