//! `drbd`: disks that are mirrored over the network (DRBD 8), from `/proc/drbd`.
//!
//! | metric | type | key |
//! | --- | --- | --- |
//! | `node_drbd_connected` | gauge | `cs` |
//! | `node_drbd_node_role_is_primary`, `_disk_state_is_up_to_date` | gauge, also labelled `node`: `local`, `remote` | `ro`, `ds` |
//! | `node_drbd_network_{sent,received}_bytes_total`, `_disk_{written,read}_bytes_total` | counter, bytes | `ns`, `nr`, `dw`, `dr` |
//! | `node_drbd_activitylog_writes_total`, `_bitmap_writes_total` | counter | `al`, `bm` |
//! | `node_drbd_local_pending`, `_remote_pending`, `_remote_unacknowledged`, `_application_pending`, `_epochs` | gauge | `lo`, `pe`, `ua`, `ap`, `ep` |
//! | `node_drbd_out_of_sync_bytes` | gauge, bytes | `oos` |
//!
//! All are labelled `device`. DRBD 9 does not list its devices there.
//!
//! Configuration: none.

use super::memo::Memo;
use super::{CollectError, Collector, KernelFile, Roots, fields, number, split_once};
use crate::model::MetricType::{self, Counter, Gauge};
use crate::model::Writer;

crate::section! {
    /// `collectors.drbd`.
    pub struct DrbdConfig {}
}

const KIBIBYTE: f64 = 1024.0;

/// Key, type, name, help and scale.
const NUMBERS: [(&[u8], MetricType, &str, &str, f64); 12] = [
    (b"ns", Counter, "node_drbd_network_sent_bytes_total", "Total number of bytes sent via the network.", KIBIBYTE),
    // In KiB too, but node_exporter has it so.
    (b"nr", Counter, "node_drbd_network_received_bytes_total", "Total number of bytes received via the network.", 1.0),
    (b"dw", Counter, "node_drbd_disk_written_bytes_total", "Net data written on local hard disk; in bytes.", KIBIBYTE),
    (b"dr", Counter, "node_drbd_disk_read_bytes_total", "Net data read from local hard disk; in bytes.", KIBIBYTE),
    (
        b"al",
        Counter,
        "node_drbd_activitylog_writes_total",
        "Number of updates of the activity log area of the meta data.",
        1.0,
    ),
    (b"bm", Counter, "node_drbd_bitmap_writes_total", "Number of updates of the bitmap area of the meta data.", 1.0),
    (b"lo", Gauge, "node_drbd_local_pending", "Number of open requests to the local I/O sub-system.", 1.0),
    (
        b"pe",
        Gauge,
        "node_drbd_remote_pending",
        "Number of requests sent to the peer that it has not answered yet.",
        1.0,
    ),
    (
        b"ua",
        Gauge,
        "node_drbd_remote_unacknowledged",
        "Number of requests received from the peer that have not been answered yet.",
        1.0,
    ),
    (
        b"ap",
        Gauge,
        "node_drbd_application_pending",
        "Number of block I/O requests forwarded to DRBD, but not yet answered by DRBD.",
        1.0,
    ),
    (b"ep", Gauge, "node_drbd_epochs", "Number of Epochs currently on the fly.", 1.0),
    (b"oos", Gauge, "node_drbd_out_of_sync_bytes", "Amount of data known to be out of sync; in bytes.", KIBIBYTE),
];

/// Key, the state that counts as good, name and help; of this node and of the other.
const PAIRS: [(&[u8], &[u8], &str, &str); 2] = [
    (b"ro", b"Primary", "node_drbd_node_role_is_primary", "Whether the role of the node is in the primary state."),
    (b"ds", b"UpToDate", "node_drbd_disk_state_is_up_to_date", "Whether the disk of the node is up to date."),
];

/// The `drbd` collector.
pub struct Drbd {
    file: KernelFile,
    /// By name.
    devices: Memo<Device>,
    name: Vec<u8>,
}

#[derive(Default)]
struct Device {
    connected: Option<bool>,
    numbers: [Option<f64>; NUMBERS.len()],
    pairs: [Option<[bool; 2]>; PAIRS.len()],
}

impl Device {
    /// Takes a field; an error when it should be a number and is none.
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), ()> {
        if key == b"cs" {
            self.connected = Some(value == b"Connected");
        } else if let Some(i) = NUMBERS.iter().position(|n| n.0 == key) {
            self.numbers[i] = Some(number(value).ok_or(())?);
        } else if let Some(i) = PAIRS.iter().position(|p| p.0 == key) {
            let good = PAIRS[i].1;
            self.pairs[i] = split_once(value, b'/').map(|(local, remote)| [local == good, remote == good]);
        }
        Ok(())
    }
}

impl Drbd {
    pub fn new(_: &DrbdConfig, roots: &Roots) -> Drbd {
        Drbd { file: KernelFile::new(roots.proc("drbd")), devices: Memo::new(), name: Vec::new() }
    }

    /// Reads all devices. What is wrong with a field of one of them, if anything; the others count.
    fn read(&mut self) -> Result<Option<String>, CollectError> {
        let mut fault = None;
        let mut device = None;
        self.devices.begin();
        for field in fields(self.file.read()?) {
            let Some((key, value)) = split_once(field, b':') else { continue };
            if value.is_empty() && !key.is_empty() && key.iter().all(u8::is_ascii_digit) {
                self.name.clear();
                self.name.extend_from_slice(b"drbd");
                self.name.extend_from_slice(key);
                device = self.devices.next(&self.name, Device::default);
                if let Some(device) = &mut device {
                    **device = Device::default();
                }
            } else if let Some(device) = &mut device
                && device.take(key, value).is_err()
            {
                fault.get_or_insert_with(|| format!("{}: not a number", String::from_utf8_lossy(field)));
            }
        }
        self.devices.end();
        Ok(fault)
    }
}

impl Collector for Drbd {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let fault = self.read()?;
        let mut family = out.gauge("node_drbd_connected", "Whether DRBD is connected to the peer.", ["device"]);
        for (name, device) in self.devices.iter() {
            if let Some(connected) = device.connected {
                family.put([name], f64::from(connected));
            }
        }
        for (i, (_, _, metric, help)) in PAIRS.iter().enumerate() {
            let mut family = out.gauge(metric, help, ["device", "node"]);
            for (name, device) in self.devices.iter() {
                if let Some([local, remote]) = device.pairs[i] {
                    family.put([name, b"local"], f64::from(local));
                    family.put([name, b"remote"], f64::from(remote));
                }
            }
        }
        for (i, (_, kind, metric, help, scale)) in NUMBERS.iter().enumerate() {
            let mut family = out.family(*kind, metric, help, ["device"]);
            for (name, device) in self.devices.iter() {
                if let Some(value) = device.numbers[i] {
                    family.put([name], value * scale);
                }
            }
        }
        fault.map_or(Ok(()), |what| Err(CollectError::parse(self.file.path(), 0, what)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics, starting};

    const TWO: &str = "version: 8.4.3 (api:1/proto:86-101)\nsrcversion: 1A9F77B1CA5FF92235C2213\n\n\
        \x20 0: cs:WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C r-----\n    ns:0 dr:12 oos:2\n\
        \x20 1: cs:Connected ro:Secondary/Primary ds:UpToDate/UpToDate C r-----\n    ns:3 nr:4 ep:1 wo:d oos:0\n";
    const FILES: [(&str, &str); 1] = [("proc/drbd", TWO)];

    fn build(roots: &Roots) -> Drbd {
        Drbd::new(&DrbdConfig::default(), roots)
    }

    #[test]
    fn a_mirror_without_its_peer_and_one_with() {
        let lines = Runner::new(build(&Tree::new(&FILES).roots())).lines();
        let expected = [
            "node_drbd_connected{device=\"drbd0\"} 0",
            "node_drbd_connected{device=\"drbd1\"} 1",
            "node_drbd_node_role_is_primary{device=\"drbd0\",node=\"local\"} 1",
            "node_drbd_node_role_is_primary{device=\"drbd0\",node=\"remote\"} 0",
            "node_drbd_node_role_is_primary{device=\"drbd1\",node=\"local\"} 0",
            "node_drbd_node_role_is_primary{device=\"drbd1\",node=\"remote\"} 1",
            "node_drbd_disk_state_is_up_to_date{device=\"drbd0\",node=\"local\"} 1",
            "node_drbd_disk_state_is_up_to_date{device=\"drbd0\",node=\"remote\"} 0",
            "node_drbd_disk_state_is_up_to_date{device=\"drbd1\",node=\"local\"} 1",
            "node_drbd_disk_state_is_up_to_date{device=\"drbd1\",node=\"remote\"} 1",
            "node_drbd_network_sent_bytes_total{device=\"drbd0\"} 0",
            "node_drbd_network_sent_bytes_total{device=\"drbd1\"} 3072",
            "node_drbd_network_received_bytes_total{device=\"drbd1\"} 4",
            "node_drbd_disk_read_bytes_total{device=\"drbd0\"} 12288",
            "node_drbd_epochs{device=\"drbd1\"} 1",
            "node_drbd_out_of_sync_bytes{device=\"drbd0\"} 2048",
            "node_drbd_out_of_sync_bytes{device=\"drbd1\"} 0",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_device_that_goes_and_a_bad_number() {
        let tree = Tree::new(&FILES);
        let mut run = Runner::new(build(&tree.roots()));
        assert_eq!(run.lines().len(), 17);
        tree.write("proc/drbd", " 1: cs:Connected ns:x dw:1\n");
        let (lines, error) = run.failure();
        assert_eq!(lines.len(), 2);
        assert_eq!(starting(&lines, "node_drbd_disk").len(), 1);
        assert!(error.ends_with("drbd: ns:x: not a number"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/drbd"], |name| name.starts_with("node_drbd_"), build);
    }
}
