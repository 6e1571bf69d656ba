//! The gauges of errors of disks, CPUs and memory, and of what heat does to CPUs.

use std::sync::Arc;

use super::round;
use super::source::{Entry, Rates};
use crate::collect::Sampling;
use crate::model::{Section, Writer};

const DISK: &str = "watchfire_disk_errors_total";
const CPU: &str = "watchfire_cpu_errors_total";
const MEMORY: [&str; 2] = ["node_edac_correctable_errors_total", "node_edac_uncorrectable_errors_total"];
const THROTTLES: &str = "node_cpu_core_throttles_total";

#[derive(Default)]
pub struct Errors {
    disks: Rates,
    cpus: Rates,
    memory: Rates,
    throttles: Rates,
}

impl Errors {
    /// Of disks and CPUs, from the section of `errors`.
    pub fn write(&mut self, section: &Arc<Section>, sampling: Sampling, out: &mut Writer) {
        let help = "Errors of a disk per second, by where they were noticed, as of the collector's last run.";
        let mut family = out.gauge("watchfire_disk_errors_per_second", help, ["device", "kind"]);
        for entry in self.disks.update(section, &[DISK], &["device", "kind"], sampling) {
            if let ([device, kind], Some(rate)) = (&entry.labels[..], entry.rate(0)) {
                family.put([device, kind], round(rate, 1e3));
            }
        }
        let help =
            "Hardware errors that the CPUs have reported per second, by severity, as of the collector's last run.";
        let mut family = out.gauge("watchfire_cpu_errors_per_second", help, ["kind"]);
        for entry in self.cpus.update(section, &[CPU], &["kind"], sampling) {
            if let ([kind], Some(rate)) = (&entry.labels[..], entry.rate(0)) {
                family.put([kind], round(rate, 1e3));
            }
        }
    }

    /// Of memory, over all controllers, from the section of `edac`.
    pub fn write_memory(&mut self, section: &Arc<Section>, sampling: Sampling, out: &mut Writer) {
        let controllers = self.memory.update(section, &MEMORY, &["controller"], sampling);
        let help = "Memory errors per second, by whether they were corrected, as of the collector's last run.";
        let mut family = out.gauge("watchfire_memory_errors_per_second", help, ["kind"]);
        for (column, kind) in [&b"correctable"[..], b"uncorrectable"].into_iter().enumerate() {
            if let Some(rate) = sum(controllers, column) {
                family.put([kind], round(rate, 1e3));
            }
        }
    }

    /// Of CPUs that were too hot, over all cores, from the section of `cpu`.
    pub fn write_throttles(&mut self, section: &Arc<Section>, sampling: Sampling, out: &mut Writer) {
        let cores = self.throttles.update(section, &[THROTTLES], &["package", "core"], sampling);
        if let Some(rate) = sum(cores, 0) {
            let help = "How often per second a core was slowed down because of heat, since the last tick.";
            out.gauge("watchfire_cpu_throttles_per_second", help, []).put([], round(rate, 1e3));
        }
    }
}

/// The rates of a column together; `None` where none is known.
fn sum(entries: &[Entry], column: usize) -> Option<f64> {
    entries.iter().filter_map(|e| e.rate(column)).reduce(|a, b| a + b)
}
