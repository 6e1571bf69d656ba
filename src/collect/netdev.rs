//! `netdev`: what the network devices have sent and received, over rtnetlink, or from `/proc/net/dev`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_network_receive_bytes_total`, `_packets_`, `_errs_`, `_drop_`, `_fifo_`, `_frame_`, `_compressed_`, `_multicast_`, `_nohandler_` | counter | `device` |
//! | `node_network_transmit_bytes_total`, `_packets_`, `_errs_`, `_drop_`, `_fifo_`, `_colls_`, `_carrier_`, `_compressed_` | counter | `device` |
//! | with `enable_detailed_metrics` instead: the kernel's counters one by one, such as `node_network_receive_crc_errors_total` | counter | `device` |
//! | `node_network_address_info` (with `address_info`) | gauge, always 1 | `device`, `address`, `netmask`, `scope` |
//!
//! With `label_ifalias` the counters also carry `ifalias`.
//!
//! rtnetlink answers for the network namespace that the agent itself runs in. It is asked where procfs is the running
//! kernel's own; otherwise, and where a sandbox forbids such sockets, `net/dev` of procfs is read, which has no
//! `nohandler` counter, and no others than these with `enable_detailed_metrics`. A tree without that file says nothing of
//! the network: there the running kernel is asked all the same, as node_exporter always does.
//!
//! Configuration: `device_include`, `device_exclude`, `address_info`, `netlink`, `enable_detailed_metrics`,
//! `label_ifalias`.

mod addresses;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use addresses::Addresses;

use super::netlink::{attribute, text};
use super::rtnetlink::{IFLA_IFALIAS, Link, Rtnetlink, STATS};
use super::search::{DeviceFilter, Search};
use super::{CollectError, Collector, KernelFile, Roots, fields, number, read_small};
use crate::model::Writer;
use crate::yaml::{Faults, Node};

crate::section! {
    check = |section: &mut NetdevConfig, node: &Node, faults: &mut Faults| {
        DeviceFilter::check(&section.device_include, &section.device_exclude, node, faults);
    };
    /// `collectors.netdev`.
    pub struct NetdevConfig {
        /// The only devices exported; not together with `device_exclude`.
        pub device_include: Option<Search> = None,
        /// Devices left out.
        pub device_exclude: Option<Search> = None,
        /// Whether addresses are exported, one series each.
        pub address_info: bool = false,
        /// Whether the kernel is asked over rtnetlink; if not, /proc/net/dev is read.
        pub netlink: bool = true,
        /// Whether the kernel's counters are exported one by one, under names that other dashboards do not know.
        pub enable_detailed_metrics: bool = false,
        /// Whether counters carry the alias that an administrator gave the device.
        pub label_ifalias: bool = false,
    }
}

/// A family: its name, its help, and the counters of `struct rtnl_link_stats64` that it is the sum of.
pub(super) type Family = (&'static str, &'static str, &'static [usize]);

macro_rules! families {
    ($( $key:literal = [$($part:literal),*]; )*) => {
        &[$( (
            concat!("node_network_", $key, "_total"),
            concat!("Network device statistic ", $key, "."),
            &[$($part),*],
        ), )*]
    };
}

/// In the order of the columns of `/proc/net/dev`, which the kernel sums so, and the one that only rtnetlink gives.
const PLAIN: &[Family] = families! {
    "receive_bytes" = [2];
    "receive_packets" = [0];
    "receive_errs" = [4];
    // Dropped by the host, and missed by the card.
    "receive_drop" = [6, 15];
    "receive_fifo" = [14];
    // Frame, length, over and CRC errors.
    "receive_frame" = [13, 10, 11, 12];
    "receive_compressed" = [21];
    "receive_multicast" = [8];
    "transmit_bytes" = [3];
    "transmit_packets" = [1];
    "transmit_errs" = [5];
    "transmit_drop" = [7];
    "transmit_fifo" = [18];
    "transmit_colls" = [9];
    // Carrier, aborted, heartbeat and window errors.
    "transmit_carrier" = [17, 16, 19, 20];
    "transmit_compressed" = [22];
    "receive_nohandler" = [23];
};

/// The counters of `struct rtnl_link_stats64` one by one, in their order.
pub(super) const DETAILED: &[Family] = families! {
    "receive_packets" = [0];
    "transmit_packets" = [1];
    "receive_bytes" = [2];
    "transmit_bytes" = [3];
    "receive_errors" = [4];
    "transmit_errors" = [5];
    "receive_dropped" = [6];
    "transmit_dropped" = [7];
    "multicast" = [8];
    "collisions" = [9];
    "receive_length_errors" = [10];
    "receive_over_errors" = [11];
    "receive_crc_errors" = [12];
    "receive_frame_errors" = [13];
    "receive_fifo_errors" = [14];
    "receive_missed_errors" = [15];
    "transmit_aborted_errors" = [16];
    "transmit_carrier_errors" = [17];
    "transmit_fifo_errors" = [18];
    "transmit_heartbeat_errors" = [19];
    "transmit_window_errors" = [20];
    "receive_compressed" = [21];
    "transmit_compressed" = [22];
    "receive_nohandler" = [23];
};

/// The columns of `/proc/net/dev` by the names that they have beside [`DETAILED`].
const DETAILED_PROC: &[Family] = families! {
    "receive_bytes" = [];
    "receive_packets" = [];
    "receive_errors" = [];
    "receive_dropped" = [];
    "receive_fifo" = [];
    "receive_frame" = [];
    "receive_compressed" = [];
    "receive_multicast" = [];
    "transmit_bytes" = [];
    "transmit_packets" = [];
    "transmit_errors" = [];
    "transmit_dropped" = [];
    "transmit_fifo" = [];
    "transmit_colls" = [];
    "transmit_carrier" = [];
    "transmit_compressed" = [];
};
const PROC_COLUMNS: usize = 16;

/// The `netdev` collector.
pub struct Netdev {
    devices: Devices,
    /// Of the running kernel.
    netlink: Rtnetlink,
    /// Whether it is asked first.
    ask: bool,
    /// Whether it is asked where there is no file.
    ask_after_all: bool,
    file: KernelFile,
    /// When they are wanted. Only rtnetlink tells of them, whatever tells of counters.
    addresses: Option<Addresses>,
}

impl Netdev {
    pub fn new(config: &NetdevConfig, roots: &Roots) -> Netdev {
        let live = roots.is_procfs();
        Netdev {
            devices: Devices {
                filter: DeviceFilter::new(&config.device_include, &config.device_exclude),
                detailed: config.enable_detailed_metrics,
                from_proc: false,
                aliases: config.label_ifalias.then(|| roots.sys("class/net")),
                list: Vec::new(),
                length: 0,
            },
            netlink: Rtnetlink::new(),
            ask: config.netlink && live,
            // A path that leads nowhere is a slip, and this machine's numbers would hide it.
            ask_after_all: roots.procfs.is_dir(),
            file: KernelFile::new(roots.proc("net/dev")),
            addresses: (config.address_info && live).then(Addresses::new),
        }
    }
}

impl Collector for Netdev {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut result = Ok(());
        if !self.ask || !self.devices.read_kernel(&mut self.netlink) {
            match self.file.read() {
                Ok(text) => {
                    let read = self.devices.read_proc(text);
                    result = read.map_err(|(line, what)| CollectError::parse(self.file.path(), line, what));
                }
                Err(CollectError::NoData(_)) if self.ask_after_all && self.devices.read_kernel(&mut self.netlink) => {}
                Err(error) => return Err(error),
            }
        }
        self.devices.write(out);
        if let Some(addresses) = &mut self.addresses {
            let by_index = self.devices.present().iter().map(|d| (d.index, &*d.name)).collect();
            addresses.write(by_index, out)?;
        }
        result
    }
}

/// Devices in the kernel's order; the entries behind `length` are kept for their memory.
struct Devices {
    filter: DeviceFilter,
    detailed: bool,
    /// Whether the values are columns of `/proc/net/dev`.
    from_proc: bool,
    /// `/sys/class/net`, when aliases are wanted.
    aliases: Option<PathBuf>,
    list: Vec<Device>,
    length: usize,
}

#[derive(Default)]
struct Device {
    index: u32,
    name: Vec<u8>,
    wanted: bool,
    alias: Vec<u8>,
    /// In the order of the families.
    values: [Option<f64>; STATS],
}

impl Devices {
    fn clear(&mut self) {
        self.length = 0;
    }

    fn present(&self) -> &[Device] {
        self.list.get(..self.length).unwrap_or_default()
    }

    /// Whether the running kernel gave the devices with their counters: some sandboxes answer with names alone.
    fn read_kernel(&mut self, netlink: &mut Rtnetlink) -> bool {
        netlink.links(self, Devices::clear, Devices::add_link).is_ok() && self.have_counters()
    }

    fn have_counters(&self) -> bool {
        self.present().iter().any(|device| device.values.iter().any(Option::is_some))
    }

    /// The next device's entry. Whether it is wanted is asked anew only where another device stood at its place.
    fn next(&mut self, name: &[u8]) -> &mut Device {
        if self.length == self.list.len() {
            self.list.push(Device::default());
        }
        let device = &mut self.list[self.length];
        self.length += 1;
        if device.name != name || device.name.is_empty() {
            device.name.clear();
            device.name.extend_from_slice(name);
            device.wanted = self.filter.wants(name);
        }
        device
    }

    /// What the values are of.
    fn families(&self) -> &'static [Family] {
        match (self.detailed, self.from_proc) {
            (false, _) => PLAIN,
            (true, false) => DETAILED,
            (true, true) => DETAILED_PROC,
        }
    }

    fn add_link(&mut self, link: &Link) {
        self.from_proc = false;
        let (families, aliases) = (self.families(), self.aliases.is_some());
        let device = self.next(link.name);
        device.index = link.index;
        if aliases {
            device.alias.clear();
            device.alias.extend_from_slice(attribute(link.attributes, IFLA_IFALIAS).map(text).unwrap_or_default());
        }
        for (value, (_, _, parts)) in device.values.iter_mut().zip(families) {
            *value = parts
                .iter()
                .map(|part| link.stats.get(*part).copied().flatten())
                .try_fold(0u64, |sum, part| Some(sum.wrapping_add(part?)))
                .map(|sum| sum as f64);
        }
    }

    /// Takes all lines of `/proc/net/dev` that can be read; the first that cannot is the error.
    fn read_proc(&mut self, text: &[u8]) -> Result<(), (usize, String)> {
        self.clear();
        self.from_proc = true;
        let mut result = Ok(());
        // Two lines of headings come first.
        for (i, line) in text.split(|b| *b == b'\n').enumerate().skip(2).filter(|(_, l)| !l.is_empty()) {
            let read = self.read_line(line).map_err(|what| (i + 1, what));
            result = result.and(read);
        }
        result
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), String> {
        let colon = memchr::memrchr(b':', line).ok_or("expected a device and a colon")?;
        let (name, counters) = line.split_at(colon);
        let mut values = [None; STATS];
        let mut columns = 0;
        for (value, field) in values.iter_mut().take(PROC_COLUMNS).zip(fields(&counters[1..])) {
            columns += 1;
            *value = Some(number(field).ok_or_else(|| format!("counter {columns} is not a number"))?);
        }
        if columns < PROC_COLUMNS {
            return Err(format!("{columns} counters, expected {PROC_COLUMNS}"));
        }
        let name = super::trim(name);
        let alias = self.aliases.as_ref().map(|class| class.join(OsStr::from_bytes(name)).join("ifalias"));
        let device = self.next(name);
        device.values = values;
        if let Some(alias) = alias
            && read_small(&alias, &mut device.alias).is_err()
        {
            device.alias.clear();
        }
        Ok(())
    }

    fn write(&self, out: &mut Writer) {
        for (i, (name, help, _)) in self.families().iter().enumerate() {
            let values = self.present().iter().filter(|d| d.wanted);
            let values = values.filter_map(|d| Some((d, d.values.get(i).copied().flatten()?)));
            if self.aliases.is_some() {
                let mut family = out.counter(name, help, ["device", "ifalias"]);
                for (device, value) in values {
                    family.put([&device.name, super::trim(&device.alias)], value);
                }
            } else {
                let mut family = out.counter(name, help, ["device"]);
                for (device, value) in values {
                    family.put([&device.name], value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::netlink::testing::in_namespace;
    use crate::collect::testing::{Runner, Tree, never_panics};

    const CAPTURE: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0
eth0:305235150    9123    1    2    3     4          5         6   636712    5878    7    8    9    10      11         12
";

    fn devices(include: Option<&'static str>, exclude: Option<&'static str>) -> Devices {
        let pattern = |p: Option<&'static str>| p.map(Search::fixed);
        let config = NetdevConfig {
            device_include: pattern(include),
            device_exclude: pattern(exclude),
            ..NetdevConfig::default()
        };
        Netdev::new(&config, &Roots::default()).devices
    }

    #[test]
    fn proc_net_dev_is_read_whether_or_not_a_space_follows_the_colon() {
        let mut devices = devices(None, None);
        assert_eq!(devices.read_proc(CAPTURE.as_bytes()), Ok(()));
        let eth0 = &devices.present()[1];
        let values: Vec<f64> = eth0.values.iter().flatten().copied().collect();
        assert_eq!(eth0.name, b"eth0");
        assert_eq!(
            values,
            [305235150., 9123., 1., 2., 3., 4., 5., 6., 636712., 5878., 7., 8., 9., 10., 11., 12.],
            "and no nohandler counter"
        );
    }

    #[test]
    fn include_and_exclude_choose_the_devices() {
        for (include, exclude, expected) in [
            (None, None, "lo eth0"),
            (Some("eth.*"), None, "eth0"),
            (None, Some("lo"), "eth0"),
            (Some("^e$"), None, ""),
        ] {
            let mut devices = devices(include, exclude);
            devices.read_proc(CAPTURE.as_bytes()).unwrap();
            let wanted: Vec<_> =
                devices.present().iter().filter(|d| d.wanted).map(|d| String::from_utf8_lossy(&d.name)).collect();
            assert_eq!(wanted.join(" "), expected);
        }
    }

    #[test]
    fn a_bad_line_is_named_and_the_others_are_read() {
        let mut devices = devices(None, None);
        let text = CAPTURE.replace("    3193      29", "    3193      x");
        assert_eq!(devices.read_proc(text.as_bytes()), Err((3, "counter 2 is not a number".to_string())));
        assert_eq!(devices.present().len(), 1);
        let text = format!("{CAPTURE}bad: 1 2\n");
        assert_eq!(devices.read_proc(text.as_bytes()), Err((5, "2 counters, expected 16".to_string())));
        assert_eq!(devices.present().len(), 2);
    }

    #[test]
    fn netlink_counters_are_summed_as_the_kernel_sums_them_for_proc_net_dev() {
        let mut devices = devices(None, None);
        let mut stats = [None; STATS];
        for (i, stat) in stats.iter_mut().enumerate().take(23) {
            *stat = Some(1 << i);
        }
        devices.add_link(&Link { name: b"eth0", stats, ..Link::default() });
        let values = devices.present()[0].values;
        assert_eq!(values[3], Some(f64::from(1 << 6 | 1 << 15)), "drop is dropped and missed");
        assert_eq!(values[5], Some(f64::from(1 << 10 | 1 << 11 | 1 << 12 | 1 << 13)), "frame");
        assert_eq!(values[16], None, "a kernel before 4.6 has no nohandler counter");
        assert!(devices.have_counters());
        devices.clear();
        devices.add_link(&Link { name: b"eth0", ..Link::default() });
        assert!(!devices.have_counters(), "so that /proc/net/dev is asked");
    }

    #[test]
    fn detailed_metrics_are_the_kernels_counters_one_by_one() {
        let mut devices = devices(None, None);
        devices.detailed = true;
        let mut stats = [None; STATS];
        for (i, stat) in stats.iter_mut().enumerate() {
            *stat = Some(100 + i as u64);
        }
        devices.add_link(&Link { name: b"eth0", stats, ..Link::default() });
        assert_eq!(devices.families().len(), STATS);
        let at = devices.families().iter().position(|f| f.0 == "node_network_receive_crc_errors_total").unwrap();
        assert_eq!(devices.present()[0].values[at], Some(112.0));
        devices.read_proc(CAPTURE.as_bytes()).unwrap();
        let names: Vec<_> = devices.families().iter().map(|f| f.0).collect();
        assert!(names.len() == PROC_COLUMNS && names[3] == "node_network_receive_dropped_total", "{names:?}");
    }

    #[test]
    fn the_alias_is_a_label_when_asked_for() {
        let tree = Tree::new(&[("proc/net/dev", CAPTURE), ("sys/class/net/eth0/ifalias", "uplink\n")]);
        let config = NetdevConfig { label_ifalias: true, ..NetdevConfig::default() };
        let lines = Runner::new(Netdev::new(&config, &tree.roots())).lines();
        for line in ["{device=\"lo\",ifalias=\"\"} 3193", "{device=\"eth0\",ifalias=\"uplink\"} 305235150"] {
            assert!(lines.contains(&format!("node_network_receive_bytes_total{line}")), "{lines:?}");
        }
        let commands = ["ip link add dev wf0 type veth peer name wf1", "ip link set dev wf0 alias uplink"];
        in_namespace(&commands, || {
            let lines = Runner::new(Netdev::new(&config, &Roots::default())).lines();
            let line = "node_network_receive_nohandler_total{device=\"wf0\",ifalias=\"uplink\"} 0";
            assert!(lines.iter().any(|l| l == line), "{lines:?}");
        });
    }

    #[test]
    fn on_a_live_host_netlink_and_proc_net_dev_agree() {
        let names = |netlink| {
            let config = NetdevConfig { netlink, ..NetdevConfig::default() };
            let mut lines = Runner::new(Netdev::new(&config, &Roots::default())).lines();
            lines.retain(|l| !l.contains("_nohandler_"));
            lines.iter().map(|l| l.split(' ').next().unwrap_or_default().to_string()).collect::<Vec<_>>()
        };
        if std::path::Path::new("/proc/net/dev").exists() {
            assert_eq!(names(true), names(false));
        }
    }

    #[test]
    fn damaged_files_never_panic() {
        never_panics(&[("proc/net/dev", CAPTURE)], |roots| Netdev::new(&NetdevConfig::default(), roots));
    }
}
