//! The store's own instruments.

use prometheus::{IntCounter, IntGauge, Registry};

#[derive(Clone)]
pub(super) struct Metrics {
    pub(super) up: IntGauge,
    pub(super) errors: IntCounter,
    pub(super) damaged: IntCounter,
    pub(super) transactions: IntCounter,
    pub(super) unwritten: IntGauge,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Metrics> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone())).map(|()| gauge)
        };
        Ok(Metrics {
            up: gauge(
                "watchfire_storage_up",
                "Whether the store can be written. While it cannot, the agent goes on from memory.",
            )?,
            errors: counter("watchfire_storage_errors_total", "Attempts to open or write the store that failed.")?,
            damaged: counter(
                "watchfire_storage_damaged_total",
                "Stores that were found damaged, set aside and begun afresh.",
            )?,
            transactions: counter("watchfire_storage_transactions_total", "Transactions written to the store.")?,
            unwritten: gauge(
                "watchfire_storage_unwritten_rows",
                "Rows that are in memory only, because the store cannot be written or has not been yet.",
            )?,
        })
    }
}
