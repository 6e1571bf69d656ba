//! Instruments of actions.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use super::entry::Result;

/// From a signal that is sent to a service that takes its time.
const DURATION: [f64; 8] = [0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0];

#[derive(Clone)]
pub struct Metrics {
    actions: IntCounterVec,
    duration: HistogramVec,
}

impl Metrics {
    pub fn register(registry: &Registry) -> prometheus::Result<Metrics> {
        let actions = IntCounterVec::new(
            Opts::new("watchfire_actions_total", "Commands run because of an alert, or not run though one was due."),
            &["action", "result"],
        )?;
        let duration = HistogramVec::new(
            HistogramOpts::new("watchfire_action_duration_seconds", "Time that commands run because of an alert took.")
                .buckets(DURATION.to_vec()),
            &["action"],
        )?;
        registry.register(Box::new(actions.clone()))?;
        registry.register(Box::new(duration.clone()))?;
        Ok(Metrics { actions, duration })
    }

    /// Makes the series of an action be there, so that rate() sees the first increment.
    pub fn begin(&self, action: &str) {
        for result in Result::ENDS {
            self.actions.with_label_values(&[action, result.as_str()]).inc_by(0);
        }
        self.duration.with_label_values(&[action]);
    }

    /// An action has ended; `took`: where it was run.
    pub fn ended(&self, action: &str, result: Result, took: Option<Duration>) {
        self.actions.with_label_values(&[action, result.as_str()]).inc();
        if let Some(took) = took {
            self.duration.with_label_values(&[action]).observe(took.as_secs_f64());
        }
    }
}
