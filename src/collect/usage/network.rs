//! The gauges of network interfaces.

use std::collections::HashMap;
use std::sync::Arc;

use super::source::{Rates, Source};
use super::{ratio, round, write_each};
use crate::collect::Sampling;
use crate::model::{Section, Writer};

pub const NETWORK: [&str; 8] = [
    "node_network_receive_bytes_total",
    "node_network_transmit_bytes_total",
    "node_network_receive_packets_total",
    "node_network_transmit_packets_total",
    "node_network_receive_errs_total",
    "node_network_transmit_errs_total",
    "node_network_receive_drop_total",
    "node_network_transmit_drop_total",
];
const RATES: [(&str, &str); 4] = [
    ("watchfire_network_receive_bytes_per_second", "Bytes received per second, since the last tick."),
    ("watchfire_network_transmit_bytes_per_second", "Bytes sent per second, since the last tick."),
    ("watchfire_network_receive_packets_per_second", "Packets received per second, since the last tick."),
    ("watchfire_network_transmit_packets_per_second", "Packets sent per second, since the last tick."),
];
const USAGE: (&str, &str) = (
    "watchfire_network_usage_ratio",
    "Share of the link's speed that the busier direction has used since the last tick; absent where no speed is known.",
);
const ERRORS: (&str, &str) =
    ("watchfire_network_errors_per_second", "Packets received or sent with errors per second, since the last tick.");
const DROPS: (&str, &str) =
    ("watchfire_network_drops_per_second", "Packets dropped in either direction per second, since the last tick.");

#[derive(Default)]
pub struct Network {
    rates: Rates,
    speeds: Source,
    /// For each device of the rates, its place among the speeds.
    places: Vec<Option<usize>>,
}

impl Network {
    /// From the counters of all devices, and their properties where these are known.
    pub fn write(
        &mut self,
        counters: &Arc<Section>,
        properties: Option<&Section>,
        sampling: Sampling,
        out: &mut Writer,
    ) {
        let others = self.rates.is_new(counters);
        let devices = self.rates.update(counters, &NETWORK, &["device"], sampling);
        for (column, metric) in RATES.into_iter().enumerate() {
            write_each(metric, devices, out, |_, e| Some(round(e.rate(column)?, 10.0)));
        }
        write_each(ERRORS, devices, out, |_, e| Some(round(e.rate_of(&[4, 5])?, 1e3)));
        write_each(DROPS, devices, out, |_, e| Some(round(e.rate_of(&[6, 7])?, 1e3)));
        let Some(properties) = properties else { return };
        if self.speeds.update(properties, &["node_network_speed_bytes"], &["device"]) || others {
            let known: HashMap<_, usize> = self.speeds.entries.iter().zip(0..).map(|(e, i)| (&e.labels, i)).collect();
            self.places = devices.iter().map(|e| known.get(&e.labels).copied()).collect();
        }
        write_each(USAGE, devices, out, |i, e| {
            let speed = self.speeds.entries.get((*self.places.get(i)?)?)?.value(properties, 0);
            // Zero, or below it: the driver does not know.
            let speed = speed.filter(|s| *s > 0.0)?;
            Some(ratio(e.rate(0)?.max(e.rate(1)?) / speed))
        });
    }
}
