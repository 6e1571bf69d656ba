//! The server's own metrics.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::exposition::LeftOut;

/// Seconds: from a page out of the cache to one that waited for a sampling or a login.
const BUCKETS: [f64; 6] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5];

pub(super) struct Instruments {
    /// By handler (a route of the table, or `other`) and status code.
    requests: IntCounterVec,
    duration: HistogramVec,
    pub connections: IntGauge,
    pub rejected: IntCounter,
    pub failed_logins: IntCounter,
    left_out: IntGaugeVec,
}

impl Instruments {
    pub fn new(registry: &Registry) -> prometheus::Result<Instruments> {
        let requests = Opts::new("watchfire_http_requests_total", "Requests answered, by handler and status code.");
        let duration = HistogramOpts::new(
            "watchfire_http_request_duration_seconds",
            "Time from a request's complete header to its answer, by handler.",
        );
        let left_out = Opts::new(
            "watchfire_exposition_left_out_samples",
            "Samples that /metrics does not show because they contradict others: duplicate series, conflicting types.",
        );
        let instruments = Instruments {
            requests: IntCounterVec::new(requests, &["handler", "code"])?,
            duration: HistogramVec::new(duration.buckets(BUCKETS.to_vec()), &["handler"])?,
            connections: IntGauge::new("watchfire_http_connections", "Connections that are open.")?,
            rejected: IntCounter::new(
                "watchfire_http_connections_rejected_total",
                "Connections refused because all places were taken.",
            )?,
            failed_logins: IntCounter::new(
                "watchfire_http_failed_logins_total",
                "Requests with a wrong or missing user or password.",
            )?,
            left_out: IntGaugeVec::new(left_out, &["reason"])?,
        };
        registry.register(Box::new(instruments.requests.clone()))?;
        registry.register(Box::new(instruments.duration.clone()))?;
        registry.register(Box::new(instruments.connections.clone()))?;
        registry.register(Box::new(instruments.rejected.clone()))?;
        registry.register(Box::new(instruments.failed_logins.clone()))?;
        registry.register(Box::new(instruments.left_out.clone()))?;
        Ok(instruments)
    }

    pub fn answered(&self, handler: &str, code: &str, took: Duration) {
        self.requests.with_label_values(&[handler, code]).inc();
        self.duration.with_label_values(&[handler]).observe(took.as_secs_f64());
    }

    pub fn page_left_out(&self, left_out: LeftOut) {
        let set = |reason, n| self.left_out.with_label_values(&[reason]).set(i64::try_from(n).unwrap_or(i64::MAX));
        set("duplicate", left_out.duplicates);
        set("type_conflict", left_out.type_conflicts);
    }
}
