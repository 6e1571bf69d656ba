//! `fibrechannel`: Fibre Channel host adapters, from `/sys/class/fc_host/HOST/`.
//!
//! | metric | type | file |
//! | --- | --- | --- |
//! | `node_fibrechannel_info` | gauge, always 1 | `speed`, `port_state`, `port_type` and so on, each a label |
//! | `node_fibrechannel_seconds_since_last_reset_total` | counter, seconds | `statistics/seconds_since_last_reset` |
//! | `node_fibrechannel_*_total` | counter | `statistics/*`, see `COUNTERS` |
//!
//! All are labelled `fc_host`. A counter that the adapter's firmware has not (all bits set) is absent.
//!
//! No configuration keys.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::parse::hexadecimal;
use super::sysfs::{Attributes, names};
use super::{CollectError, Collector, Roots};
use crate::model::Writer;

crate::section! {
    /// `collectors.fibrechannel`.
    pub struct FibrechannelConfig {}
}

/// Labels of the info, which are named as their files are.
const TEXTS: [&str; 10] = [
    "speed",
    "port_state",
    "port_type",
    "port_id",
    "port_name",
    "fabric_name",
    "symbolic_name",
    "supported_classes",
    "supported_speeds",
    "dev_loss_tmo",
];
/// Those of them that are numbers with the base 16; node_exporter shows them without `0x`.
const NUMBERED: [&str; 3] = ["port_id", "port_name", "fabric_name"];

/// File, name, help.
const COUNTERS: [(&str, &str, &str); 14] = {
    macro_rules! counter {
        ($file:literal, $name:literal, $help:literal) => {
            ($file, concat!("node_fibrechannel_", $name, "_total"), $help)
        };
    }
    [
        counter!("dumped_frames", "dumped_frames", "Number of dumped frames"),
        counter!("error_frames", "error_frames", "Number of errors in frames"),
        counter!("invalid_crc_count", "invalid_crc", "Number of frames with an invalid checksum"),
        counter!("rx_frames", "rx_frames", "Number of frames received"),
        counter!("rx_words", "rx_words", "Number of words received by the host port"),
        counter!("tx_frames", "tx_frames", "Number of frames sent by the host port"),
        counter!("tx_words", "tx_words", "Number of words sent by the host port"),
        counter!("seconds_since_last_reset", "seconds_since_last_reset", "Seconds since the host port was reset"),
        counter!("invalid_tx_word_count", "invalid_tx_words", "Number of invalid words sent by the host port"),
        counter!("link_failure_count", "link_failure", "Number of times the link of the host port has failed"),
        counter!("loss_of_sync_count", "loss_of_sync", "Number of times bit or word synchronisation was lost"),
        counter!("loss_of_signal_count", "loss_of_signal", "Number of times the signal was lost"),
        counter!("nos_count", "nos", "Number of Not_Operational primitive sequences received by the host port"),
        counter!("fcp_packet_aborts", "fcp_packet_aborts", "Number of aborted packets"),
    ]
};

/// The `fibrechannel` collector.
pub struct Fibrechannel {
    class: PathBuf,
    attributes: Attributes,
}

struct Host {
    name: OsString,
    texts: [Vec<u8>; TEXTS.len()],
    counters: [Option<u64>; COUNTERS.len()],
}

impl Fibrechannel {
    pub fn new(_: &FibrechannelConfig, roots: &Roots) -> Fibrechannel {
        Fibrechannel { class: roots.sys("class/fc_host"), attributes: Attributes::default() }
    }

    /// What of the host cannot be read is absent, and the first such thing is `fault`.
    fn read(&mut self, name: OsString, fault: &mut Result<(), CollectError>) -> Host {
        let folder = self.class.join(&name);
        let mut host = Host { name, texts: Default::default(), counters: Default::default() };
        for (text, file) in host.texts.iter_mut().zip(TEXTS) {
            match self.attributes.text(&folder.join(file)) {
                Ok(read) => {
                    let read = read.unwrap_or_default();
                    let prefix: &[u8] = if NUMBERED.contains(&file) { b"0x" } else { b"" };
                    text.extend_from_slice(read.strip_prefix(prefix).unwrap_or(read));
                }
                Err(error) => keep_first(fault, error),
            }
        }
        let statistics = folder.join("statistics");
        for (counter, (file, ..)) in host.counters.iter_mut().zip(COUNTERS) {
            match self.count(&statistics.join(file)) {
                Ok(count) => *counter = count.filter(|c| *c != u64::MAX),
                Err(error) => keep_first(fault, error),
            }
        }
        host
    }

    fn count(&mut self, path: &Path) -> Result<Option<u64>, CollectError> {
        let Some(text) = self.attributes.text(path)? else { return Ok(None) };
        match hexadecimal(text.strip_prefix(b"0x").unwrap_or(text)) {
            Some(count) => Ok(Some(count)),
            None => {
                let what = format!("{:?} is no number with the base 16", String::from_utf8_lossy(text));
                Err(CollectError::parse(path, 0, what))
            }
        }
    }
}

fn keep_first(fault: &mut Result<(), CollectError>, error: CollectError) {
    if fault.is_ok() {
        *fault = Err(error);
    }
}

impl Collector for Fibrechannel {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut fault = Ok(());
        let hosts: Vec<Host> = names(&self.class)?.into_iter().map(|name| self.read(name, &mut fault)).collect();
        let [a, b, c, d, e, f, g, h, i, j] = TEXTS;
        let labels = ["fc_host", a, b, c, d, e, f, g, h, i, j];
        let help = "Non-numeric data from /sys/class/fc_host/<host>, value is always 1.";
        let mut info = out.gauge("node_fibrechannel_info", help, labels);
        for host in &hosts {
            let [a, b, c, d, e, f, g, h, i, j] = &host.texts;
            info.put([host.name.as_bytes(), a, b, c, d, e, f, g, h, i, j], 1.0);
        }
        for (at, (_, name, help)) in COUNTERS.into_iter().enumerate() {
            let mut family = out.counter(name, help, ["fc_host"]);
            for host in &hosts {
                if let Some(count) = host.counters.get(at).copied().flatten() {
                    family.put([host.name.as_bytes()], count as f64);
                }
            }
        }
        fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const FILES: [(&str, &str); 4] = [
        ("sys/class/fc_host/host0/speed", "16 Gbit\n"),
        ("sys/class/fc_host/host0/port_id", "0x000002\n"),
        ("sys/class/fc_host/host0/statistics/rx_frames", "0x1f\n"),
        ("sys/class/fc_host/host0/statistics/dumped_frames", "0xffffffffffffffff\n"),
    ];

    fn build(roots: &Roots) -> Fibrechannel {
        Fibrechannel::new(&FibrechannelConfig::default(), roots)
    }

    #[test]
    fn an_adapter_has_its_properties_and_the_counters_that_it_counts() {
        let tree = Tree::new(&FILES);
        let lines = Runner::new(build(&tree.roots())).lines();
        assert!(lines[0].starts_with("node_fibrechannel_info{fc_host=\"host0\",speed=\"16 Gbit\""), "{lines:?}");
        assert!(lines[0].contains("port_id=\"000002\""), "{lines:?}");
        assert_eq!(lines[1..], ["node_fibrechannel_rx_frames_total{fc_host=\"host0\"} 31"]);
    }

    #[test]
    fn a_wrong_counter_is_named_and_the_rest_is_served() {
        let tree = Tree::new(&FILES);
        tree.write("sys/class/fc_host/host0/statistics/tx_frames", "many\n");
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(lines.len(), 2);
        assert!(error.ends_with("statistics/tx_frames: \"many\" is no number with the base 16"), "{error}");
    }

    #[test]
    fn damaged_files_never_panic() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["sys/class/fc_host"], |name| name.starts_with("node_fibrechannel_"), build);
    }
}
