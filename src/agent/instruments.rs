//! The agent's own instruments of the tick.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

/// Counters and gauges of the tick thread and the configuration.
pub struct Instruments {
    /// How long a tick took: sampling and history.
    pub tick_seconds: Histogram,
    /// Ticks that were due and could not be held.
    pub ticks_missed: IntCounter,
    /// Times that the wall clock was set.
    pub clock_jumps: IntCounter,
    /// Whether the last reload was taken: 1 or 0.
    pub reload_successful: IntGauge,
    /// When the configuration in force was loaded, seconds since the epoch.
    pub reload_success_time: IntGauge,
    /// Series, samples and bytes in history.
    pub history_series: IntGauge,
    pub history_samples: IntGauge,
    pub history_bytes: IntGauge,
    /// Time of the oldest sample, seconds since the epoch.
    pub history_oldest: IntGauge,
    pub history_refused: IntCounter,
    pub history_dropped: IntCounter,
}

impl Instruments {
    pub fn new(registry: &Registry) -> prometheus::Result<Instruments> {
        let gauge = |name: &str, help: &str| -> prometheus::Result<IntGauge> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let counter = |name: &str, help: &str| -> prometheus::Result<IntCounter> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let buckets = vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
        let opts = HistogramOpts::new(
            "watchfire_tick_duration_seconds",
            "How long a tick took: sampling and history; rules come after.",
        );
        let tick_seconds = Histogram::with_opts(opts.buckets(buckets))?;
        registry.register(Box::new(tick_seconds.clone()))?;
        Ok(Instruments {
            tick_seconds,
            ticks_missed: counter("watchfire_ticks_missed_total", "Ticks that were due and could not be held.")?,
            clock_jumps: counter(
                "watchfire_clock_jumps_total",
                "Times that the wall clock was set by half a second or more.",
            )?,
            reload_successful: gauge(
                "watchfire_config_last_reload_successful",
                "Whether the last attempt to load the configuration succeeded.",
            )?,
            reload_success_time: gauge(
                "watchfire_config_last_reload_success_timestamp_seconds",
                "When the configuration in force was loaded.",
            )?,
            history_series: gauge("watchfire_history_series", "Series kept in memory.")?,
            history_samples: gauge("watchfire_history_samples", "Samples kept in memory.")?,
            history_bytes: gauge("watchfire_history_bytes", "Memory that history takes, in bytes.")?,
            history_oldest: gauge(
                "watchfire_history_oldest_sample_timestamp_seconds",
                "Time of the oldest sample kept, seconds since the epoch.",
            )?,
            history_refused: counter(
                "watchfire_history_refused_samples_total",
                "Samples refused because they were out of order or there already.",
            )?,
            history_dropped: counter(
                "watchfire_history_dropped_samples_total",
                "Samples refused because history has as many series as it may.",
            )?,
        })
    }
}
