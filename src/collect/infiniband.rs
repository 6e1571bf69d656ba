//! `infiniband`: InfiniBand and RoCE adapters, from `/sys/class/infiniband/DEVICE/` and, of each port,
//! `ports/PORT/{state,phys_state,rate}` and the folders `counters`, `counters_ext` and `hw_counters`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_infiniband_info` | gauge, always 1 | `device`, `board_id`, `firmware_version`, `hca_type` |
//! | `node_infiniband_state_id`, `_physical_state_id` | gauge | `device`, `port` |
//! | `node_infiniband_rate_bytes_per_second` | gauge | `device`, `port` |
//! | `node_infiniband_lifespan_seconds` | gauge | `device`, `port` |
//! | `node_infiniband_*_total` | counter, see `counters.rs` | `device`, `port` |
//!
//! A counter that the adapter has not is absent.
//!
//! Configuration: `device_include`, `device_exclude`. A device left out is not read at all: reading the counters of a
//! port that firmware keeps to itself floods the kernel's log.

mod counters;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use counters::{COUNTERS, Counter};

use super::search::{DeviceFilter, Search};
use super::sysfs::{Attributes, names};
use super::{CollectError, Collector, Roots, first_field, number, split_once};
use crate::model::Writer;
use crate::yaml::{Faults, Node};

crate::section! {
    check = |section: &mut InfinibandConfig, node: &Node, faults: &mut Faults| {
        DeviceFilter::check(&section.device_include, &section.device_exclude, node, faults);
    };
    /// `collectors.infiniband`.
    pub struct InfinibandConfig {
        /// The only devices read; not together with `device_exclude`.
        pub device_include: Option<Search> = None,
        /// Devices that are not read, because their firmware refuses it.
        pub device_exclude: Option<Search> = None,
    }
}

/// More ports than any adapter has; what a broken tree holds beyond is not looked at.
const MAX_PORTS: usize = 1024;

/// The `infiniband` collector.
pub struct Infiniband {
    class: PathBuf,
    devices: DeviceFilter,
    attributes: Attributes,
    fault: Option<CollectError>,
}

struct Device {
    name: OsString,
    /// Board, firmware, type.
    texts: [Vec<u8>; 3],
    ports: Vec<Port>,
}

struct Port {
    name: OsString,
    state: Option<f64>,
    physical_state: Option<f64>,
    rate: Option<f64>,
    counters: [Option<f64>; COUNTERS.len()],
}

impl Infiniband {
    pub fn new(config: &InfinibandConfig, roots: &Roots) -> Infiniband {
        Infiniband {
            class: roots.sys("class/infiniband"),
            devices: DeviceFilter::new(&config.device_include, &config.device_exclude),
            attributes: Attributes::default(),
            fault: None,
        }
    }

    /// `None`, and the first fault is kept, where something cannot be read.
    fn kept<T>(&mut self, read: Result<T, CollectError>) -> Option<T> {
        read.map_err(|error| self.fault.get_or_insert(error)).ok()
    }

    fn device(&mut self, name: OsString) -> Device {
        let folder = self.class.join(&name);
        let mut texts = <[Vec<u8>; 3]>::default();
        for (text, file) in texts.iter_mut().zip(["board_id", "fw_ver", "hca_type"]) {
            let read = self.attributes.text(&folder.join(file)).map(|t| t.unwrap_or_default().to_vec());
            *text = self.kept(read).unwrap_or_default();
        }
        let ports = folder.join("ports");
        // Some adapters have none.
        let mut listed = names(&ports).unwrap_or_default();
        listed.truncate(MAX_PORTS);
        let ports = listed.into_iter().map(|port| self.port(&ports.join(&port), port)).collect();
        Device { name, texts, ports }
    }

    fn port(&mut self, folder: &Path, name: OsString) -> Port {
        let state = |text: &[u8]| number(split_once(text, b':')?.0);
        let mut port = Port {
            name,
            state: self.parsed(&folder.join("state"), state),
            physical_state: self.parsed(&folder.join("phys_state"), state),
            // `2.5 Gb/sec (1X SDR)`.
            rate: self.parsed(&folder.join("rate"), |text| number(first_field(text)).map(|g| g * 125_000_000.0)),
            counters: [None; COUNTERS.len()],
        };
        for kind in ["counters", "counters_ext", "hw_counters"] {
            let folder = folder.join(kind);
            for file in names(&folder).unwrap_or_default() {
                let known = |c: &Counter| c.folder == kind && c.file.as_bytes() == file.as_bytes();
                let Some(at) = COUNTERS.iter().position(known) else { continue };
                port.counters[at] = self.counter(&folder.join(&file)).map(|count| COUNTERS[at].scaled(count));
            }
        }
        port
    }

    fn parsed(&mut self, path: &Path, parse: impl Fn(&[u8]) -> Option<f64>) -> Option<f64> {
        let read = match self.attributes.text(path) {
            Ok(Some(text)) => parse(text).map(Some).ok_or_else(|| unexpected(path, text)),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        self.kept(read).flatten()
    }

    fn counter(&mut self, path: &Path) -> Option<f64> {
        let read = match self.attributes.text(path) {
            // `N/A (no PMA)`: the adapter does not count this.
            Ok(Some(text)) if text.starts_with(b"N/A") => Ok(None),
            Ok(Some(text)) => number(text).map(Some).ok_or_else(|| unexpected(path, text)),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        self.kept(read).flatten()
    }
}

fn unexpected(path: &Path, text: &[u8]) -> CollectError {
    CollectError::parse(path, 0, format!("{:?} is not understood", String::from_utf8_lossy(text)))
}

impl Collector for Infiniband {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut listed = names(&self.class)?;
        listed.retain(|name| self.devices.wants(name.as_bytes()));
        let devices: Vec<Device> = listed.into_iter().map(|name| self.device(name)).collect();
        write(&devices, out);
        self.fault.take().map_or(Ok(()), Err)
    }
}

fn write(devices: &[Device], out: &mut Writer) {
    let help = "Non-numeric data from /sys/class/infiniband/<device>, value is always 1.";
    let labels = ["device", "board_id", "firmware_version", "hca_type"];
    let mut info = out.gauge("node_infiniband_info", help, labels);
    for device in devices {
        let [board, firmware, kind] = &device.texts;
        info.put([device.name.as_bytes(), board, firmware, kind], 1.0);
    }
    type Value = fn(&Port) -> Option<f64>;
    let gauges: [(&str, &str, Value); 3] = [
        (
            "node_infiniband_state_id",
            "State of the port (0: no change, 1: down, 2: init, 3: armed, 4: active, 5: act defer)",
            |port| port.state,
        ),
        (
            "node_infiniband_physical_state_id",
            "Physical state of the port (0: no change, 1: sleep, 2: polling, 3: disable, 4: shift, 5: link up, 6: link \
             error recover, 7: phytest)",
            |port| port.physical_state,
        ),
        ("node_infiniband_rate_bytes_per_second", "Maximum signal transfer rate", |port| port.rate),
    ];
    let ports = || devices.iter().flat_map(|d| d.ports.iter().map(move |p| (d.name.as_bytes(), p.name.as_bytes(), p)));
    for (name, help, value) in gauges {
        let mut family = out.gauge(name, help, ["device", "port"]);
        for (device, port, values) in ports() {
            if let Some(value) = value(values) {
                family.put([device, port], value);
            }
        }
    }
    for (i, counter) in COUNTERS.iter().enumerate() {
        let mut family = out.family(counter.kind(), counter.name, counter.help, ["device", "port"]);
        for (device, port, values) in ports() {
            if let Some(value) = values.counters.get(i).copied().flatten() {
                family.put([device, port], value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics, starting};

    const FILES: [(&str, &str); 8] = [
        ("sys/class/infiniband/mlx5_0/fw_ver", "20.1\n"),
        ("sys/class/infiniband/mlx5_0/ports/1/state", "4: ACTIVE\n"),
        ("sys/class/infiniband/mlx5_0/ports/1/rate", "2.5 Gb/sec (1X SDR)\n"),
        ("sys/class/infiniband/mlx5_0/ports/1/counters/port_rcv_data", "10\n"),
        ("sys/class/infiniband/mlx5_0/ports/1/counters/VL15_dropped", "N/A (no PMA)\n"),
        ("sys/class/infiniband/mlx5_0/ports/1/hw_counters/lifespan", "1500\n"),
        ("sys/class/infiniband/mlx5_0/ports/1/hw_counters/out_of_buffer", "7\n"),
        ("sys/class/infiniband/mlx5_1/ports/1/state", "1: DOWN\n"),
    ];

    fn build(roots: &Roots) -> Infiniband {
        Infiniband::new(&InfinibandConfig::default(), roots)
    }

    #[test]
    fn a_port_has_its_state_and_what_its_adapter_counts() {
        let tree = Tree::new(&FILES);
        let config = InfinibandConfig { device_exclude: Some(Search::fixed("_1$")), ..InfinibandConfig::default() };
        let expected = [
            "node_infiniband_info{device=\"mlx5_0\",board_id=\"\",firmware_version=\"20.1\",hca_type=\"\"} 1",
            "node_infiniband_state_id{device=\"mlx5_0\",port=\"1\"} 4",
            "node_infiniband_rate_bytes_per_second{device=\"mlx5_0\",port=\"1\"} 312500000",
            "node_infiniband_port_data_received_bytes_total{device=\"mlx5_0\",port=\"1\"} 40",
            "node_infiniband_lifespan_seconds{device=\"mlx5_0\",port=\"1\"} 1",
            "node_infiniband_out_of_buffer_drops_total{device=\"mlx5_0\",port=\"1\"} 7",
        ];
        assert_eq!(Runner::new(Infiniband::new(&config, &tree.roots())).lines(), expected);
    }

    #[test]
    fn a_wrong_value_is_named_and_the_rest_is_served() {
        let tree = Tree::new(&FILES);
        tree.write("sys/class/infiniband/mlx5_0/ports/1/state", "ACTIVE\n");
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert!(error.ends_with("mlx5_0/ports/1/state: \"ACTIVE\" is not understood"), "{error}");
        assert_eq!(starting(&lines, "node_infiniband_state_id").len(), 1, "the other device's: {lines:?}");
    }

    #[test]
    fn damaged_files_never_panic() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["sys/class/infiniband"], |name| name.starts_with("node_infiniband_"), build);
    }
}
