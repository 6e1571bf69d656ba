//! `netclass`: what the network devices are, from `/sys/class/net/DEVICE/`.
//!
//! | metric | type | file |
//! | --- | --- | --- |
//! | `node_network_up` | gauge, 1 when `operstate` is `up` | `operstate` |
//! | `node_network_info` | gauge, always 1 | `address`, `broadcast`, `duplex`, `operstate`, `flags`, `ifalias` |
//! | `node_network_address_assign_type`, `_carrier`, `_device_id`, `_dormant`, `_flags`, `_iface_id`, `_iface_link`, `_iface_link_mode`, `_name_assign_type`, `_net_dev_group`, `_protocol_type`, `_transmit_queue_length` | gauge | `addr_assign_type`, `carrier`, `dev_id` and so on: see `NUMBERS` |
//! | `node_network_carrier_changes_total`, `_carrier_up_changes_total`, `_carrier_down_changes_total` | counter | |
//! | `node_network_mtu_bytes` | gauge, bytes | `mtu` |
//! | `node_network_speed_bytes` | gauge, bytes a second | `speed` |
//! | `node_network_altnames_info` | gauge, always 1, labelled `device`, `altname` | only over rtnetlink |
//! | with `with_stats`, what netdev has with `enable_detailed_metrics` | gauge, as in node_exporter | only over rtnetlink |
//!
//! All are labelled `device`; the info also `address`, `broadcast`, `duplex`, `operstate`, `adminstate` and `ifalias`.
//! An attribute that the kernel will not give (the speed of a device that is down) is absent.
//!
//! On the running kernel most of this comes in one answer over rtnetlink, and only what that has not (`speed`, `duplex`,
//! `addr_assign_type`, `dev_id`, `name_assign_type`) from files: opening one costs 4 us, and there are 22 for each device.
//! Where all must come from files, see `files`, seven are read of each device in each run, which say whether the others
//! can have changed.
//!
//! Configuration: `ignored_devices`, `ignore_invalid_speed`, `netlink`, `with_stats`.

mod files;
mod live;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;

use files::open_folder;

use super::file::may_keep;
use super::rtnetlink::{Rtnetlink, STATS};
use super::search::Search;
use super::{CollectError, Collector, Roots};
use crate::model::{MetricType, Writer};

crate::section! {
    /// `collectors.netclass`.
    pub struct NetclassConfig {
        /// Devices left out.
        pub ignored_devices: Search = Search::fixed("^$"),
        /// Whether a speed below zero, which means that it is not known, is left out.
        pub ignore_invalid_speed: bool = false,
        /// Whether the running kernel is asked over rtnetlink for most of it; if not, all is read from sysfs.
        pub netlink: bool = true,
        /// Whether the devices' counters are exported too, in place of the netdev collector, which is then to be off.
        pub with_stats: bool = false,
    }
}

/// Descriptors that stay open: a folder of each device, or the files that the live reader takes. A look-up below a folder
/// costs half of one by its whole path (5.4 us against 11.2 us), a read of an open file 1.1 us. Those of further devices
/// are opened in each run.
const MAX_OPEN: usize = 256;
/// The share of the agent's descriptors that these may be: a 16th.
const OPEN_PART: u64 = 16;
/// The kernel gives an attribute in one page.
const MAX_ATTRIBUTE: usize = 4096;

/// Attributes that are numbers: the file, and what it is exported as.
const NUMBERS: [(&str, MetricType, &str, &str); 17] = {
    use MetricType::{Counter, Gauge};
    macro_rules! property {
        ($file:literal, $kind:ident, $name:literal) => {
            ($file, $kind, concat!("node_network_", $name), concat!("Network device property: ", $name))
        };
    }
    [
        property!("addr_assign_type", Gauge, "address_assign_type"),
        property!("carrier", Gauge, "carrier"),
        property!("carrier_changes", Counter, "carrier_changes_total"),
        property!("carrier_up_count", Counter, "carrier_up_changes_total"),
        property!("carrier_down_count", Counter, "carrier_down_changes_total"),
        property!("dev_id", Gauge, "device_id"),
        property!("dormant", Gauge, "dormant"),
        property!("flags", Gauge, "flags"),
        property!("ifindex", Gauge, "iface_id"),
        property!("iflink", Gauge, "iface_link"),
        property!("link_mode", Gauge, "iface_link_mode"),
        property!("mtu", Gauge, "mtu_bytes"),
        property!("name_assign_type", Gauge, "name_assign_type"),
        property!("netdev_group", Gauge, "net_dev_group"),
        property!("speed", Gauge, "speed_bytes"),
        property!("tx_queue_len", Gauge, "transmit_queue_length"),
        property!("type", Gauge, "protocol_type"),
    ]
};
/// Of these.
const CARRIER_CHANGES: usize = 2;
const FLAGS: usize = 7;
const MTU: usize = 11;
const SPEED: usize = 14;
/// `IFF_UP` of the flags.
const UP: i64 = 1;

/// Attributes that are texts.
const TEXTS: [&str; 5] = ["address", "broadcast", "duplex", "operstate", "ifalias"];
/// Of these.
const ADDRESS: usize = 0;
const OPERSTATE: usize = 3;
const ALIAS: usize = 4;

/// What does not change while the device stays as it is, is read again after so many runs. A device has its turn where
/// others have not, so that no run has them all.
const REFRESH: u8 = 20;
/// How many devices that have gone may have stood one behind the other for those behind them to be known again.
const LOOK_AHEAD: usize = 256;

/// The `netclass` collector.
pub struct Netclass {
    ignored: Search,
    ignore_invalid_speed: bool,
    with_stats: bool,
    path: PathBuf,
    /// Of the running kernel; `None` when it is not to be asked.
    netlink: Option<Rtnetlink>,
    list_buffer: Vec<u8>,
    buffer: Vec<u8>,
    /// Descriptors that may stay open.
    keep: usize,
    devices: Devices,
}

/// Devices in the kernel's order, in which they stay while others come and go. Those behind `length` are of the last run.
#[derive(Default)]
struct Devices {
    #[allow(clippy::vec_box, reason = "one that comes or goes moves 8 bytes for each behind it, not 1 KB")]
    list: Vec<Box<Device>>,
    length: usize,
}

/// A device; what is read of it stays in its memory from run to run.
#[derive(Default)]
struct Device {
    name: Vec<u8>,
    /// Differs when another device has taken the name: the inode of its entry in `class/net`, or its index.
    identity: u64,
    ignored: bool,
    present: bool,
    /// Runs until all is read again.
    due: u8,
    /// Whether rtnetlink has just said that it is new or has another address.
    changed: bool,
    /// The attribute that is no number, and what it is.
    fault: Option<(&'static str, String)>,
    folder: Option<OwnedFd>,
    /// Of the attributes that the live reader takes from files.
    files: [Option<OwnedFd>; live::FILES.len()],
    numbers: [Option<i64>; NUMBERS.len()],
    texts: [Vec<u8>; TEXTS.len()],
    /// Other names of the device; only the live reader knows them, and the counters.
    alternatives: Vec<Vec<u8>>,
    stats: [Option<u64>; STATS],
}

impl Netclass {
    pub fn new(config: &NetclassConfig, roots: &Roots) -> Netclass {
        let live = config.netlink && roots.is_live() && roots.sysfs == Path::new("/sys");
        Netclass {
            ignored: config.ignored_devices.clone(),
            ignore_invalid_speed: config.ignore_invalid_speed,
            with_stats: config.with_stats,
            path: roots.sys("class/net"),
            netlink: live.then(Rtnetlink::new),
            list_buffer: Vec::with_capacity(8192),
            buffer: vec![0; MAX_ATTRIBUTE],
            keep: may_keep(MAX_OPEN, OPEN_PART),
            devices: Devices::default(),
        }
    }

    fn write(&self, out: &mut Writer) {
        let mut up = out.gauge("node_network_up", "Value is 1 if operstate is 'up', 0 otherwise.", ["device"]);
        for device in self.devices.present() {
            up.put([&device.name], f64::from(u8::from(device.texts[OPERSTATE] == b"up")));
        }
        let mut info = out.gauge(
            "node_network_info",
            "Non-numeric data from /sys/class/net/<iface>, value is always 1.",
            ["device", "address", "broadcast", "duplex", "operstate", "adminstate", "ifalias"],
        );
        for device in self.devices.present() {
            let [address, broadcast, duplex, operstate, alias] = &device.texts;
            let admin: &[u8] = match device.numbers[FLAGS] {
                None => b"unknown",
                Some(flags) if flags & UP != 0 => b"up",
                Some(_) => b"down",
            };
            info.put([&device.name, address, broadcast, duplex, operstate, admin, alias], 1.0);
        }
        for (i, (_, kind, name, help)) in NUMBERS.iter().enumerate() {
            let mut family = out.family(*kind, name, help, ["device"]);
            for device in self.devices.present() {
                let Some(number) = device.numbers.get(i).copied().flatten() else { continue };
                let value = match i {
                    SPEED if number < 0 && self.ignore_invalid_speed => continue,
                    // From megabits.
                    SPEED => number.saturating_mul(1_000_000 / 8) as f64,
                    _ => number as f64,
                };
                family.put([&device.name], value);
            }
        }
        self.write_live(out);
    }
}

impl Collector for Netclass {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let class = open_folder(CWD, &self.path).map_err(|e| CollectError::read(&self.path, e.into()))?;
        let asked = match &mut self.netlink {
            Some(netlink) => {
                self.devices.read_live(netlink, &class, &self.ignored, self.keep, &mut self.buffer).is_ok()
            }
            None => false,
        };
        let result = if asked { Ok(()) } else { self.read_sysfs(&class) };
        self.write(out);
        result
    }
}

impl Devices {
    fn clear(&mut self) {
        self.length = 0;
    }

    /// The next device; all that is known of it stays.
    fn next(&mut self, name: &[u8], identity: u64, ignored: &Search) -> &mut Device {
        let place = self.length;
        self.length += 1;
        let mut ahead = self.list.iter().skip(place).take(LOOK_AHEAD);
        match ahead.position(|device| device.name == name && device.identity == identity) {
            Some(gone) => drop(self.list.drain(place..place + gone)),
            None => self.list.insert(
                place,
                Box::new(Device {
                    name: name.to_vec(),
                    identity,
                    ignored: ignored.is_match(name),
                    due: (place % (usize::from(REFRESH) + 1)) as u8,
                    ..Device::default()
                }),
            ),
        }
        &mut self.list[place]
    }

    /// The devices that are not ignored, with their place; those that are gone are dropped.
    fn wanted_mut(&mut self) -> impl Iterator<Item = (usize, &mut Device)> {
        self.list.truncate(self.length);
        self.list.iter_mut().map(|d| &mut **d).enumerate().filter(|(_, d)| !d.ignored)
    }

    fn present(&self) -> impl Iterator<Item = &Device> {
        self.list.iter().map(|d| &**d).take(self.length).filter(|d| !d.ignored && d.present)
    }
}

impl Device {
    fn close(&mut self) {
        self.folder = None;
        self.files = Default::default();
    }

    /// Whether it is this device's turn to have all read again; counts the run.
    fn is_due(&mut self) -> bool {
        let due = self.due == 0;
        self.due = self.due.checked_sub(1).unwrap_or(REFRESH);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics, starting};

    const ETH0: [(&str, &str); 10] = [
        ("address", "01:01:01:01:01:01\n"),
        ("broadcast", "ff:ff:ff:ff:ff:ff\n"),
        ("carrier_changes", "2\n"),
        ("dev_id", "0x20\n"),
        ("duplex", "full\n"),
        ("flags", "0x1303\n"),
        ("ifalias", ""),
        ("ifindex", "2\n"),
        ("operstate", "up\n"),
        ("speed", "1000\n"),
    ];

    #[test]
    fn however_many_devices_there_are_a_bounded_number_of_descriptors_stays_open() {
        let tree = Tree::new::<&str>(&[]);
        (0..20).for_each(|n| put(&tree, &format!("veth{n}"), &ETH0));
        let mut netclass = Netclass::new(&NetclassConfig::default(), &tree.roots());
        netclass.keep = 8;
        let mut run = Runner::new(netclass);
        for _ in 0..2 {
            assert_eq!(starting(&run.lines(), "node_network_up").len(), 20);
            assert_eq!(tree.open_files(), 8);
        }
    }

    fn put(tree: &Tree, device: &str, attributes: &[(&str, &str)]) {
        for (name, content) in attributes {
            tree.write(&format!("sys/class/net/{device}/{name}"), content);
        }
    }

    fn runner(tree: &Tree, config: NetclassConfig) -> Runner<Netclass> {
        Runner::new(Netclass::new(&config, &tree.roots()))
    }

    #[test]
    fn attributes_that_are_there_are_exported() {
        let tree = Tree::new(&[("sys/class/net/bonding_masters", "bond0\n")]);
        put(&tree, "eth0", &ETH0);
        let mut runner = runner(&tree, NetclassConfig::default());
        for _ in 0..2 {
            assert_eq!(
                runner.lines(),
                [
                    "node_network_up{device=\"eth0\"} 1",
                    "node_network_info{device=\"eth0\",address=\"01:01:01:01:01:01\",broadcast=\"ff:ff:ff:ff:ff:ff\",\
                     duplex=\"full\",operstate=\"up\",adminstate=\"up\",ifalias=\"\"} 1",
                    "node_network_carrier_changes_total{device=\"eth0\"} 2",
                    "node_network_device_id{device=\"eth0\"} 32",
                    "node_network_flags{device=\"eth0\"} 4867",
                    "node_network_iface_id{device=\"eth0\"} 2",
                    "node_network_speed_bytes{device=\"eth0\"} 125000000",
                ]
            );
        }
    }

    #[test]
    fn a_change_is_seen_in_the_next_run() {
        let tree = Tree::new::<&str>(&[]);
        put(&tree, "eth0", &ETH0);
        let mut runner = runner(&tree, NetclassConfig::default());
        runner.lines();
        put(&tree, "eth0", &[("operstate", "down\n"), ("flags", "0x1302\n")]);
        let lines = runner.lines().join("\n");
        assert!(lines.contains("node_network_up{device=\"eth0\"} 0"), "{lines}");
        assert!(lines.contains("operstate=\"down\",adminstate=\"down\""), "{lines}");
    }

    #[test]
    fn a_device_that_takes_the_name_of_another_is_read_itself() {
        let tree = Tree::new::<&str>(&[]);
        put(&tree, "eth0", &ETH0);
        let mut runner = runner(&tree, NetclassConfig::default());
        runner.lines();
        let net = tree.path("sys/class/net");
        put(&tree, "new", &[("ifindex", "9\n")]);
        std::fs::rename(net.join("eth0"), net.join("eth1")).unwrap();
        std::fs::rename(net.join("new"), net.join("eth0")).unwrap();
        let lines = runner.lines();
        for expected in ["node_network_iface_id{device=\"eth0\"} 9", "node_network_iface_id{device=\"eth1\"} 2"] {
            assert!(lines.iter().any(|l| l == expected), "{lines:?}");
        }
        std::fs::remove_dir_all(net.join("eth0")).unwrap();
        assert!(!runner.lines().iter().any(|l| l.contains("eth0")));
    }

    #[test]
    fn an_unknown_speed_is_negative_unless_it_is_ignored() {
        let tree = Tree::new::<&str>(&[]);
        put(&tree, "tap0", &[("speed", "-1\n")]);
        let speed = |ignore_invalid_speed| {
            let config = NetclassConfig { ignore_invalid_speed, ..NetclassConfig::default() };
            runner(&tree, config).lines().into_iter().find(|l| l.contains("_speed_"))
        };
        assert_eq!(speed(false).as_deref(), Some("node_network_speed_bytes{device=\"tap0\"} -125000"));
        assert_eq!(speed(true), None);
    }

    #[test]
    fn an_attribute_that_is_no_number_is_named_and_the_others_are_served() {
        let tree = Tree::new::<&str>(&[]);
        put(&tree, "eth0", &[("mtu", "big\n"), ("ifindex", "2\n")]);
        let (lines, result) = runner(&tree, NetclassConfig::default()).run();
        assert_eq!(lines.len(), 3);
        let error = result.unwrap_err().to_string();
        assert!(error.ends_with("class/net/eth0/mtu: \"big\" is not a number"), "{error}");
    }

    #[test]
    fn the_capture_of_node_exporter_gives_what_it_gives() {
        let counters = |name: &str| {
            name.starts_with("receive_") || (name.starts_with("transmit_") && name != "transmit_queue_length")
        };
        conforms(
            &["sys"],
            |name| name.strip_prefix("node_network_").is_some_and(|n| !counters(n)),
            |roots| {
                let ignored_devices = Search::fixed("(dmz|int)");
                let config =
                    NetclassConfig { ignored_devices, ignore_invalid_speed: true, netlink: false, with_stats: false };
                Netclass::new(&config, roots)
            },
        );
    }

    #[test]
    fn on_a_live_host_netlink_and_sysfs_agree() {
        if !Path::new("/sys/class/net/lo").exists() {
            return;
        }
        let runner = |netlink| {
            let config = NetclassConfig { netlink, ..NetclassConfig::default() };
            Runner::new(Netclass::new(&config, &Roots::default()))
        };
        let mut live = runner(true);
        for run in ["first", "second"] {
            let mut lines = [live.lines(), runner(false).lines()];
            lines.iter_mut().for_each(|l| l.sort_unstable());
            assert_eq!(lines[0], lines[1], "in the {run} run");
        }
    }

    #[test]
    fn garbage_in_any_attribute_never_panics() {
        let files: Vec<_> = ETH0.iter().map(|(name, text)| (format!("sys/class/net/eth0/{name}"), *text)).collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        never_panics(&files, |roots| Netclass::new(&NetclassConfig::default(), roots));
    }
}
