//! `netdev`: what the network devices have sent and received, over rtnetlink, or from `/proc/net/dev`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_network_receive_bytes_total`, `_packets_`, `_errs_`, `_drop_`, `_fifo_`, `_frame_`, `_compressed_`, `_multicast_`, `_nohandler_` | counter | `device` |
//! | `node_network_transmit_bytes_total`, `_packets_`, `_errs_`, `_drop_`, `_fifo_`, `_colls_`, `_carrier_`, `_compressed_` | counter | `device` |
//! | `node_network_address_info` (with `address_info`) | gauge, always 1 | `device`, `address`, `netmask`, `scope` |
//!
//! rtnetlink answers for the network namespace that the agent itself runs in. It is asked where procfs is the running
//! kernel's own; otherwise, and where a sandbox forbids such sockets, `net/dev` of procfs is read, which has no
//! `nohandler` counter. A tree without that file (a bind mount of the host's procfs whose `self` leads nowhere) says
//! nothing of the network: there the running kernel is asked all the same, as node_exporter always does.
//!
//! Configuration: `device_include`, `device_exclude`, `address_info`, `netlink`.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::rtnetlink::{Address, Link, Rtnetlink};
use super::search::Search;
use super::{CollectError, Collector, KernelFile, Roots, fields, number};
use crate::model::Writer;
use crate::yaml::{Faults, Node};

crate::section! {
    check = |section: &mut NetdevConfig, node: &Node, faults: &mut Faults| {
        if section.device_include.is_some() && section.device_exclude.is_some() {
            faults.error(node.at, "device_include and device_exclude exclude each other");
        }
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
    }
}

/// Families in the order of the columns of `/proc/net/dev`, and the one that only rtnetlink gives.
const FAMILIES: [(&str, &str); 17] = [
    ("node_network_receive_bytes_total", "Network device statistic receive_bytes."),
    ("node_network_receive_packets_total", "Network device statistic receive_packets."),
    ("node_network_receive_errs_total", "Network device statistic receive_errs."),
    ("node_network_receive_drop_total", "Network device statistic receive_drop."),
    ("node_network_receive_fifo_total", "Network device statistic receive_fifo."),
    ("node_network_receive_frame_total", "Network device statistic receive_frame."),
    ("node_network_receive_compressed_total", "Network device statistic receive_compressed."),
    ("node_network_receive_multicast_total", "Network device statistic receive_multicast."),
    ("node_network_transmit_bytes_total", "Network device statistic transmit_bytes."),
    ("node_network_transmit_packets_total", "Network device statistic transmit_packets."),
    ("node_network_transmit_errs_total", "Network device statistic transmit_errs."),
    ("node_network_transmit_drop_total", "Network device statistic transmit_drop."),
    ("node_network_transmit_fifo_total", "Network device statistic transmit_fifo."),
    ("node_network_transmit_colls_total", "Network device statistic transmit_colls."),
    ("node_network_transmit_carrier_total", "Network device statistic transmit_carrier."),
    ("node_network_transmit_compressed_total", "Network device statistic transmit_compressed."),
    ("node_network_receive_nohandler_total", "Network device statistic receive_nohandler."),
];

/// For each family the counters of `struct rtnl_link_stats64` that it is the sum of, as `/proc/net/dev` sums them.
const LINK_STATS: [&[usize]; FAMILIES.len()] = [
    &[2],
    &[0],
    &[4],
    // Dropped by the host, and missed by the card.
    &[6, 15],
    &[14],
    // Frame, length, over and CRC errors.
    &[13, 10, 11, 12],
    &[21],
    &[8],
    &[3],
    &[1],
    &[5],
    &[7],
    &[18],
    &[9],
    // Carrier, aborted, heartbeat and window errors.
    &[17, 16, 19, 20],
    &[22],
    &[23],
];
const PROC_COLUMNS: usize = 16;

/// The `netdev` collector.
pub struct Netdev {
    devices: Devices,
    /// Of the running kernel.
    netlink: Rtnetlink,
    /// Whether it is asked first.
    ask: bool,
    file: KernelFile,
    addresses: Option<Vec<(u32, IpAddr, u8)>>,
}

impl Netdev {
    pub fn new(config: &NetdevConfig, roots: &Roots) -> Netdev {
        let devices = Devices {
            include: config.device_include.clone(),
            exclude: config.device_exclude.clone(),
            list: Vec::new(),
            length: 0,
        };
        Netdev {
            devices,
            netlink: Rtnetlink::new(),
            ask: config.netlink && roots.is_live(),
            file: KernelFile::new(roots.proc("net/dev")),
            addresses: (config.address_info && config.netlink && roots.is_live()).then(Vec::new),
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
                Err(CollectError::NoData(_)) if self.devices.read_kernel(&mut self.netlink) => {}
                Err(error) => return Err(error),
            }
        }
        self.devices.write(out);
        if let Some(addresses) = &mut self.addresses {
            let add = |list: &mut Vec<_>, a: &Address| list.push((a.index, a.address, a.prefix_length));
            self.netlink
                .addresses(addresses, Vec::clear, add)
                .map_err(|e| CollectError::Other(format!("cannot list network addresses: {e}")))?;
            write_addresses(addresses, &self.devices, out);
        }
        result
    }
}

/// Devices in the kernel's order; the entries behind `length` are kept for their memory.
struct Devices {
    include: Option<Search>,
    exclude: Option<Search>,
    list: Vec<Device>,
    length: usize,
}

#[derive(Default)]
struct Device {
    index: u32,
    name: Vec<u8>,
    wanted: bool,
    values: [Option<f64>; FAMILIES.len()],
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
            device.wanted = self.include.as_ref().is_none_or(|p| p.is_match(name))
                && self.exclude.as_ref().is_none_or(|p| !p.is_match(name));
        }
        device
    }

    fn add_link(&mut self, link: &Link) {
        let device = self.next(link.name);
        device.index = link.index;
        for (value, parts) in device.values.iter_mut().zip(LINK_STATS) {
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
        let mut values = [None; FAMILIES.len()];
        let mut columns = 0;
        for (value, field) in values.iter_mut().take(PROC_COLUMNS).zip(fields(&counters[1..])) {
            columns += 1;
            *value = Some(number(field).ok_or_else(|| format!("counter {columns} is not a number"))?);
        }
        if columns < PROC_COLUMNS {
            return Err(format!("{columns} counters, expected {PROC_COLUMNS}"));
        }
        self.next(super::trim(name)).values = values;
        Ok(())
    }

    fn write(&self, out: &mut Writer) {
        for (i, (name, help)) in FAMILIES.iter().enumerate() {
            let mut family = out.counter(name, help, ["device"]);
            for device in self.present().iter().filter(|d| d.wanted) {
                if let Some(value) = device.values.get(i).copied().flatten() {
                    family.put([&device.name], value);
                }
            }
        }
    }
}

fn write_addresses(addresses: &[(u32, IpAddr, u8)], devices: &Devices, out: &mut Writer) {
    let mut by_index: Vec<(u32, &Device)> = devices.present().iter().map(|d| (d.index, d)).collect();
    by_index.sort_unstable_by_key(|(index, _)| *index);
    let labels = ["device", "address", "netmask", "scope"];
    let mut family = out.gauge("node_network_address_info", "node network address by device", labels);
    let mut text = String::new();
    for (index, address, prefix_length) in addresses {
        let Ok(at) = by_index.binary_search_by_key(index, |(i, _)| *i) else { continue };
        text.clear();
        let _ = write!(text, "{address}");
        let mut prefix = itoa::Buffer::new();
        let prefix = prefix.format(*prefix_length).as_bytes();
        family.put([&by_index[at].1.name, text.as_bytes(), prefix, scope(address)], 1.0);
    }
}

/// The scope as Go's `net` package, and so node_exporter, names it.
fn scope(address: &IpAddr) -> &'static [u8] {
    let (link_local, global) = match address {
        IpAddr::V4(a) => (a.is_link_local() || a.octets().starts_with(&[224, 0, 0]), !a.is_broadcast()),
        IpAddr::V6(a) => (a.is_unicast_link_local() || a.octets().starts_with(&[0xff, 2]), true),
    };
    match () {
        () if address.is_loopback() || link_local => b"link-local",
        () if matches!(address, IpAddr::V6(a) if a.octets().starts_with(&[0xff, 1])) => b"interface-local",
        () if global && !address.is_unspecified() && !address.is_multicast() => b"global",
        () => b"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::rtnetlink;
    use crate::collect::testing::{Runner, never_panics};

    const CAPTURE: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0
eth0:305235150    9123    1    2    3     4          5         6   636712    5878    7    8    9    10      11         12
";

    fn devices(include: Option<&'static str>, exclude: Option<&'static str>) -> Devices {
        let pattern = |p: Option<&'static str>| p.map(Search::fixed);
        Devices { include: pattern(include), exclude: pattern(exclude), list: Vec::new(), length: 0 }
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
        let mut stats = [None; rtnetlink::STATS];
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
    fn scopes_are_named_as_go_names_them() {
        for (address, expected) in [
            ("127.0.0.1", "link-local"),
            ("169.254.1.1", "link-local"),
            ("10.0.0.1", "global"),
            ("0.0.0.0", ""),
            ("::1", "link-local"),
            ("fe80::1", "link-local"),
            ("ff01::1", "interface-local"),
            ("fd00::1", "global"),
        ] {
            assert_eq!(str::from_utf8(scope(&address.parse().unwrap())), Ok(expected), "{address}");
        }
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
    fn addresses_are_exported_when_asked_for() {
        let config = NetdevConfig { address_info: true, ..NetdevConfig::default() };
        let (lines, result) = Runner::new(Netdev::new(&config, &Roots::default())).run();
        let loopback =
            "node_network_address_info{device=\"lo\",address=\"127.0.0.1\",netmask=\"8\",scope=\"link-local\"} 1";
        if result.is_ok() && std::net::TcpListener::bind("127.0.0.1:0").is_ok() {
            assert!(lines.iter().any(|l| l == loopback), "{lines:?}");
        }
    }

    #[test]
    fn damaged_files_never_panic() {
        never_panics(&[("proc/net/dev", CAPTURE)], |roots| Netdev::new(&NetdevConfig::default(), roots));
    }
}
