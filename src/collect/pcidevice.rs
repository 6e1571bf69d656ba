//! `pcidevice`: PCI devices, from `/sys/bus/pci/devices/SEGMENT:BUS:DEVICE.FUNCTION/`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_pcidevice_info` | gauge, always 1 | `parent_{segment,bus,device,function}`: of the bridge, or `*`; `class_id`, `vendor_id`, `device_id`, `subsystem_vendor_id`, `subsystem_device_id`, `revision`; with `names` also `vendor_name`, `device_name`, `subsystem_vendor_name`, `subsystem_device_name`, `class_name` |
//! | `node_pcidevice_{max,current}_link_transfers_per_second`, `_{max,current}_link_width` | gauge; -1: not known | |
//! | `node_pcidevice_d3cold_allowed`, `_sriov_drivers_autoprobe`, `_sriov_numvfs`, `_sriov_totalvfs`, `_sriov_vf_total_msix` | gauge; 0 where there is no such file | |
//! | `node_pcidevice_power_state` | gauge, 1 for the one it is in | `state` |
//! | `node_pcidevice_numa_node` | gauge, where the machine says it | |
//!
//! All are labelled `segment`, `bus`, `device`, `function`.
//!
//! Configuration: `names`, `idsfile`.

mod names;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use self::names::{Ids, Names};
use super::devices::{Reading, devices};
use super::{CollectError, Collector, Roots, first_field, number, split_once};
use crate::model::Writer;

crate::section! {
    /// `collectors.pcidevice`.
    pub struct PcideviceConfig {
        /// Whether the info has the names of vendors, devices and classes too, from a pci.ids file.
        pub names: bool = false,
        /// The pci.ids file for the names; when empty, the one of the distribution in /usr/share/misc or /usr/share/hwdata.
        pub idsfile: String = String::new(),
    }
}

/// Segment, bus, device and function, as in the folder's name.
type Location = [Vec<u8>; 4];

const LOCATION: [&str; 4] = ["segment", "bus", "device", "function"];
const STATES: [&str; 7] = ["D0", "D1", "D2", "D3hot", "D3cold", "unknown", "error"];

/// Metric, help, and what stands for a file that is not there.
const NUMBERS: [(&str, &str, f64); 9] = [
    (
        "node_pcidevice_max_link_transfers_per_second",
        "Value of maximum link's transfers per second (T/s)",
        UNKNOWN_LINK,
    ),
    ("node_pcidevice_max_link_width", "Value of maximum link's width (number of lanes)", UNKNOWN_LINK),
    (
        "node_pcidevice_current_link_transfers_per_second",
        "Value of current link's transfers per second (T/s)",
        UNKNOWN_LINK,
    ),
    ("node_pcidevice_current_link_width", "Value of current link's width (number of lanes)", UNKNOWN_LINK),
    ("node_pcidevice_d3cold_allowed", "Whether the PCIe device supports D3cold power state (0/1).", 0.0),
    (
        "node_pcidevice_sriov_drivers_autoprobe",
        "Whether SR-IOV drivers autoprobe is enabled for the device (0/1).",
        0.0,
    ),
    ("node_pcidevice_sriov_numvfs", "Number of Virtual Functions (VFs) currently enabled for SR-IOV.", 0.0),
    ("node_pcidevice_sriov_totalvfs", "Total number of Virtual Functions (VFs) supported by the device.", 0.0),
    ("node_pcidevice_sriov_vf_total_msix", "Total number of MSI-X vectors for Virtual Functions.", 0.0),
];
const UNKNOWN_LINK: f64 = -1.0;

/// The `pcidevice` collector.
pub struct Pcidevice {
    folder: PathBuf,
    names: Option<Names>,
    reading: Reading,
}

/// A device as its files describe it.
struct Device {
    location: Location,
    parent: Option<Location>,
    ids: Ids,
    revision: u8,
    /// By [`NUMBERS`].
    numbers: [Option<f64>; NUMBERS.len()],
    power_state: Option<Vec<u8>>,
    numa_node: Option<f64>,
}

impl Pcidevice {
    pub fn new(config: &PcideviceConfig, roots: &Roots) -> Pcidevice {
        Pcidevice {
            folder: roots.sys("bus/pci/devices"),
            names: config.names.then(|| Names::new(&config.idsfile, roots)),
            reading: Reading::default(),
        }
    }
}

impl Device {
    /// `None`: no device, or one that has vanished since the folder was listed.
    fn read(name: &[u8], folder: &Path, reading: &mut Reading) -> Option<Device> {
        let location = location(name)?;
        let mut id = |file: &str| Some(reading.number(&folder.join(file))? as u32);
        let ids = Ids {
            class: id("class")?,
            vendor: id("vendor")? as u16,
            device: id("device")? as u16,
            subsystem_vendor: id("subsystem_vendor")? as u16,
            subsystem_device: id("subsystem_device")? as u16,
        };
        let revision = id("revision")? as u8;
        let mut link = |which: &str| {
            let speed = reading.text(&folder.join(format!("{which}_link_speed"))).and_then(transfers);
            // Newer kernels say "Unknown" where there is no width either.
            let width = reading.text(&folder.join(format!("{which}_link_width"))).and_then(number);
            [speed, width]
        };
        let [max_speed, max_width] = link("max");
        let [speed, width] = link("current");
        let files =
            ["d3cold_allowed", "sriov_drivers_autoprobe", "sriov_numvfs", "sriov_totalvfs", "sriov_vf_total_msix"];
        let [d3cold, autoprobe, numvfs, totalvfs, msix] = reading.numbers(folder, files);
        let target = std::fs::read_link(folder).ok();
        let parent = target.as_deref().and_then(Path::parent).and_then(Path::file_name);
        Some(Device {
            location,
            parent: parent.and_then(|p| self::location(p.as_bytes())),
            ids,
            revision,
            numbers: [max_speed, max_width, speed, width, d3cold, autoprobe, numvfs, totalvfs, msix],
            power_state: reading.text(&folder.join("power_state")).filter(|s| !s.is_empty()).map(<[u8]>::to_vec),
            numa_node: reading.number(&folder.join("numa_node")).filter(|n| *n >= 0.0),
        })
    }

    fn location(&self) -> [&[u8]; 4] {
        self.location.each_ref().map(Vec::as_slice)
    }
}

impl Collector for Pcidevice {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let reading = &mut self.reading;
        let read = |(name, folder): (Vec<u8>, PathBuf)| Device::read(&name, &folder, reading);
        let found: Vec<Device> = devices(&self.folder)?.into_iter().filter_map(read).collect();
        let named = match &mut self.names {
            Some(names) => names.resolve(found.iter().map(|d| d.ids)),
            None => Ok(()),
        };
        if let Err(error) = named {
            reading.keep(error);
        }
        self.write_info(&found, out);
        for (i, (metric, help, absent)) in NUMBERS.iter().enumerate() {
            let mut family = out.gauge(metric, help, LOCATION);
            for device in &found {
                family.put(device.location(), device.numbers[i].unwrap_or(*absent));
            }
        }
        let [segment, bus, device, function] = LOCATION;
        let help = "PCIe device power state, one of: D0, D1, D2, D3hot, D3cold, unknown or error.";
        let labels = [segment, bus, device, function, "state"];
        let mut family = out.gauge("node_pcidevice_power_state", help, labels);
        for device in &found {
            let Some(now) = &device.power_state else { continue };
            let [segment, bus, slot, function] = device.location();
            for state in STATES {
                let labels = [segment, bus, slot, function, state.as_bytes()];
                family.put(labels, f64::from(u8::from(state.as_bytes() == now)));
            }
        }
        let help = "NUMA node number for the PCI device. -1 indicates unknown or not available.";
        let mut family = out.gauge("node_pcidevice_numa_node", help, LOCATION);
        for device in &found {
            if let Some(node) = device.numa_node {
                family.put(device.location(), node);
            }
        }
        self.reading.finish()
    }
}

impl Pcidevice {
    fn write_info(&self, found: &[Device], out: &mut Writer) {
        let help = "Non-numeric data from /sys/bus/pci/devices/<location>, value is always 1.";
        let mut family = out.gauge("node_pcidevice_info", help, []);
        for device in found {
            let parent: [&[u8]; 4] = match &device.parent {
                Some(parent) => parent.each_ref().map(Vec::as_slice),
                None => [b"*"; 4],
            };
            let ids = device.ids;
            let hexadecimal = [
                ("class_id", format!("0x{:06x}", ids.class)),
                ("vendor_id", format!("0x{:04x}", ids.vendor)),
                ("device_id", format!("0x{:04x}", ids.device)),
                ("subsystem_vendor_id", format!("0x{:04x}", ids.subsystem_vendor)),
                ("subsystem_device_id", format!("0x{:04x}", ids.subsystem_device)),
                ("revision", format!("0x{:02x}", device.revision)),
            ];
            let named = self.names.as_ref().map(|names| names.of(ids));
            let parents = ["parent_segment", "parent_bus", "parent_device", "parent_function"];
            let mut labels: Vec<(&[u8], &[u8])> = Vec::with_capacity(19);
            labels.extend(LOCATION.iter().map(|l| l.as_bytes()).zip(device.location()));
            labels.extend(parents.iter().map(|l| l.as_bytes()).zip(parent));
            let ids = hexadecimal.iter().chain(named.iter().flatten());
            labels.extend(ids.map(|(label, value)| (label.as_bytes(), value.as_bytes())));
            family.put_labels("", &labels, 1.0);
        }
    }
}

/// The parts of `0000:00:02.1`.
fn location(name: &[u8]) -> Option<Location> {
    let (segment, rest) = split_once(name, b':')?;
    let (bus, rest) = split_once(rest, b':')?;
    let (device, function) = split_once(rest, b'.')?;
    let parts = [segment, bus, device, function];
    let hexadecimal = |part: &&[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_hexdigit);
    parts.iter().all(hexadecimal).then(|| parts.map(<[u8]>::to_vec))
}

/// Of `8.0 GT/s PCIe`; there is no number in `Unknown`.
fn transfers(text: &[u8]) -> Option<f64> {
    Some(number(first_field(text))? * 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics, starting};
    use crate::fuzz::Fuzz;

    const IDS: &str = "# a comment\n8086  Intel Corporation\n\t1521  I350 Gigabit\n\t\t8086 00a3  Ethernet I350-T4\n\
        \t1522  Other\nC 02  Network controller\n\t00  Ethernet controller\nC 06  Bridge\n\t04  PCI bridge\n\t\t01  Subtractive\n";

    const DEVICE: &str = "sys/devices/pci0000:40/0000:40:01.3/0000:45:00.0";

    fn files(device: &str) -> Vec<(String, &'static str)> {
        let files = [
            ("class", "0x020000\n"),
            ("vendor", "0x8086\n"),
            ("device", "0x1521\n"),
            ("subsystem_vendor", "0x8086\n"),
            ("subsystem_device", "0x00a3\n"),
            ("revision", "0x01\n"),
            ("max_link_speed", "5.0 GT/s PCIe\n"),
            ("max_link_width", "4\n"),
            ("current_link_speed", "Unknown\n"),
            ("power_state", "D3hot\n"),
            ("numa_node", "-1\n"),
        ];
        files.map(|(file, text)| (format!("{device}/{file}"), text)).to_vec()
    }

    fn tree() -> Tree {
        let tree = Tree::new(&[("root/usr/share/misc/pci.ids", IDS)]);
        files(DEVICE).iter().for_each(|(path, text)| tree.write(path, text));
        let bus = tree.path("sys/bus/pci/devices");
        std::fs::create_dir_all(&bus).unwrap();
        let target = "../../../devices/pci0000:40/0000:40:01.3/0000:45:00.0";
        std::os::unix::fs::symlink(target, bus.join("0000:45:00.0")).unwrap();
        tree
    }

    fn run(tree: &Tree, config: &PcideviceConfig) -> (Vec<String>, Result<(), CollectError>) {
        Runner::new(Pcidevice::new(config, &tree.roots())).run()
    }

    const AT: &str = "segment=\"0000\",bus=\"45\",device=\"00\",function=\"0\"";

    #[test]
    fn what_a_device_is_and_how_it_is_linked() {
        let (lines, result) = run(&tree(), &PcideviceConfig::default());
        result.unwrap();
        let info = format!(
            "node_pcidevice_info{{{AT},parent_segment=\"0000\",parent_bus=\"40\",parent_device=\"01\",\
             parent_function=\"3\",class_id=\"0x020000\",vendor_id=\"0x8086\",device_id=\"0x1521\",\
             subsystem_vendor_id=\"0x8086\",subsystem_device_id=\"0x00a3\",revision=\"0x01\"}} 1"
        );
        let speed = |which, value: &str| format!("node_pcidevice_{which}_link_transfers_per_second{{{AT}}} {value}");
        let state = |state, value| format!("node_pcidevice_power_state{{{AT},state=\"{state}\"}} {value}");
        let expected = [info, speed("max", "5000000000"), speed("current", "-1"), state("D0", 0), state("D3hot", 1)];
        for expected in expected {
            assert!(lines.contains(&expected), "{expected}: {lines:#?}");
        }
        assert!(starting(&lines, "node_pcidevice_numa_node").is_empty());
    }

    #[test]
    fn names_from_the_distributions_list() {
        let tree = tree();
        let config = PcideviceConfig { names: true, ..PcideviceConfig::default() };
        let (lines, result) = run(&tree, &config);
        result.unwrap();
        let names = "vendor_name=\"Intel Corporation\",device_name=\"I350 Gigabit\",\
                     subsystem_vendor_name=\"Intel Corporation\",subsystem_device_name=\"Ethernet I350-T4\",\
                     class_name=\"Ethernet controller\"} 1";
        assert!(lines[0].ends_with(names), "{}", lines[0]);
        tree.write(&format!("{DEVICE}/vendor"), "0xABCD\n");
        tree.write(&format!("{DEVICE}/class"), "0x130000\n");
        let (lines, _) = run(&tree, &config);
        let ids = "vendor_name=\"abcd\",device_name=\"1521\",subsystem_vendor_name=\"Intel Corporation\",\
                   subsystem_device_name=\"00a3\",class_name=\"Unknown class (130000)\"} 1";
        assert!(lines[0].ends_with(ids), "{}", lines[0]);
    }

    #[test]
    fn a_list_that_was_named_must_be_there() {
        let config = PcideviceConfig { names: true, idsfile: "/nowhere/pci.ids".to_string() };
        let (lines, result) = run(&tree(), &config);
        assert!(lines[0].contains("vendor_name=\"8086\""), "{}", lines[0]);
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with("idsfile: ") && error.contains("/nowhere/pci.ids"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        let mut files = files("sys/bus/pci/devices/0000:45:00.0");
        files.push(("root/usr/share/misc/pci.ids".to_string(), IDS));
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let config = PcideviceConfig { names: true, ..PcideviceConfig::default() };
        never_panics(&files, |roots| Pcidevice::new(&config, roots));
    }

    #[test]
    fn as_node_exporter() {
        let paths = ["sys/bus/pci", "sys/devices/pci0000:00", "sys/devices/pci0000:40"];
        conforms(
            &paths,
            |name| name.starts_with("node_pcidevice_"),
            |roots| Pcidevice::new(&PcideviceConfig::default(), roots),
        );
    }

    #[test]
    fn no_name_or_speed_makes_it_panic() {
        Fuzz::of(&["0000:00:02.1", "8.0 GT/s PCIe", "Unknown"]).bytes(|text| {
            let _ = (location(text), transfers(text));
        });
    }
}
