//! `tapestats`: what the SCSI tape drives do, from `/sys/class/scsi_tape/stN/stats/`.
//!
//! | metric | type |
//! | --- | --- |
//! | `node_tape_io_now` | gauge |
//! | `node_tape_io_time_seconds_total`, `_read_time_seconds_total`, `_write_time_seconds_total` | counter, seconds |
//! | `node_tape_read_bytes_total`, `_written_bytes_total` | counter, bytes |
//! | `node_tape_reads_completed_total`, `_writes_completed_total`, `_io_others_total`, `_residual_total` | counter |
//!
//! All are labelled `device`. A drive's other names (`nst0`, `st0a`) are left out.
//!
//! Configuration: `ignored_devices`.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::gathered::Gathered;
use super::search::Search;
use super::sysfs::{Attributes, names};
use super::{CollectError, Collector, Roots};
use crate::model::MetricType::{self, Counter, Gauge};
use crate::model::Writer;

crate::section! {
    /// `collectors.tapestats`.
    pub struct TapestatsConfig {
        /// Tape drives left out.
        pub ignored_devices: Search = Search::fixed("^$"),
    }
}

/// Times are in nanoseconds.
const NANOSECOND: f64 = 1e-9;

/// File, type, name, help and scale.
const STATS: [(&str, MetricType, &str, &str, f64); 10] = [
    ("in_flight", Gauge, "node_tape_io_now", "The number of I/Os currently outstanding to this device.", 1.0),
    (
        "io_ns",
        Counter,
        "node_tape_io_time_seconds_total",
        "The amount of time spent waiting for all I/O to complete: reads, writes, and what moves the tape.",
        NANOSECOND,
    ),
    (
        "other_cnt",
        Counter,
        "node_tape_io_others_total",
        "The number of I/Os issued to the tape drive other than read or write commands.",
        1.0,
    ),
    ("read_byte_cnt", Counter, "node_tape_read_bytes_total", "The number of bytes read from the tape drive.", 1.0),
    (
        "read_cnt",
        Counter,
        "node_tape_reads_completed_total",
        "The number of read requests issued to the tape drive.",
        1.0,
    ),
    (
        "read_ns",
        Counter,
        "node_tape_read_time_seconds_total",
        "The amount of time spent waiting for read requests to complete.",
        NANOSECOND,
    ),
    (
        "resid_cnt",
        Counter,
        "node_tape_residual_total",
        "The number of reads or writes that left a rest: larger than the block on tape, or not all written.",
        1.0,
    ),
    ("write_byte_cnt", Counter, "node_tape_written_bytes_total", "The number of bytes written to the tape drive.", 1.0),
    (
        "write_cnt",
        Counter,
        "node_tape_writes_completed_total",
        "The number of write requests issued to the tape drive.",
        1.0,
    ),
    (
        "write_ns",
        Counter,
        "node_tape_write_time_seconds_total",
        "The amount of time spent waiting for write requests to complete.",
        NANOSECOND,
    ),
];

/// The `tapestats` collector.
pub struct Tapestats {
    path: PathBuf,
    ignored: Search,
    attributes: Attributes,
}

impl Tapestats {
    pub fn new(config: &TapestatsConfig, roots: &Roots) -> Tapestats {
        Tapestats {
            path: roots.sys("class/scsi_tape"),
            ignored: config.ignored_devices.clone(),
            attributes: Attributes::default(),
        }
    }
}

impl Collector for Tapestats {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut gathered = Gathered::default();
        for name in names(&self.path)? {
            let device = name.as_bytes();
            if !is_drive(device) || self.ignored.is_match(device) {
                continue;
            }
            let folder = self.path.join(&name).join("stats");
            for (file, kind, name, help, scale) in &STATS {
                if let Some(Some(value)) = gathered.keep(self.attributes.number(&folder.join(file))) {
                    gathered.add(*kind, name, help, &[("device", device)], value * scale);
                }
            }
        }
        gathered.write(out)
    }
}

/// `st0`, and not the names of its other modes.
fn is_drive(name: &[u8]) -> bool {
    name.strip_prefix(b"st").is_some_and(|rest| !rest.is_empty() && rest.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const FILES: [(&str, &str); 5] = [
        ("sys/class/scsi_tape/st0/stats/in_flight", "1\n"),
        ("sys/class/scsi_tape/st0/stats/io_ns", "9247011087720\n"),
        ("sys/class/scsi_tape/st0a/stats/in_flight", "1\n"),
        ("sys/class/scsi_tape/nst0/stats/in_flight", "1\n"),
        ("sys/class/scsi_tape/st12/stats/read_cnt", "3741\n"),
    ];

    fn build(roots: &Roots) -> Tapestats {
        Tapestats::new(&TapestatsConfig::default(), roots)
    }

    #[test]
    fn each_drive_once() {
        let expected = [
            "node_tape_io_now{device=\"st0\"} 1",
            "node_tape_io_time_seconds_total{device=\"st0\"} 9247.01108772",
            "node_tape_reads_completed_total{device=\"st12\"} 3741",
        ];
        assert_eq!(Runner::new(build(&Tree::new(&FILES).roots())).lines(), expected);
    }

    #[test]
    fn an_ignored_drive() {
        let config = TapestatsConfig { ignored_devices: Search::fixed("^st0$") };
        let lines = Runner::new(Tapestats::new(&config, &Tree::new(&FILES).roots())).lines();
        assert_eq!(lines, ["node_tape_reads_completed_total{device=\"st12\"} 3741"]);
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["sys/class/scsi_tape", "sys/devices"], |name| name.starts_with("node_tape_"), build);
    }
}
