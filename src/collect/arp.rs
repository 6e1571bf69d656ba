//! `arp`: how many IPv4 neighbours each device has, over rtnetlink, or from `/proc/net/arp`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_arp_entries` | gauge | `device` |
//!
//! rtnetlink is asked where procfs is the running kernel's own, and `net/arp` of procfs is read otherwise and where a
//! sandbox forbids such sockets. Entries of devices that need no ARP are left out, as `net/arp` leaves them out.
//!
//! Configuration: `device_include`, `device_exclude`, `netlink`.

use std::collections::BTreeMap;

use super::netlink::{DeviceNames, Netlink, u16_at, u32_at};
use super::search::{DeviceFilter, Search};
use super::{CollectError, Collector, KernelFile, Roots, fields, lines};
use crate::model::Writer;
use crate::yaml::{Faults, Node};

crate::section! {
    check = |section: &mut ArpConfig, node: &Node, faults: &mut Faults| {
        DeviceFilter::check(&section.device_include, &section.device_exclude, node, faults);
    };
    /// `collectors.arp`.
    pub struct ArpConfig {
        /// The only devices exported; not together with `device_exclude`.
        pub device_include: Option<Search> = None,
        /// Devices left out.
        pub device_exclude: Option<Search> = None,
        /// Whether the kernel is asked over rtnetlink; if not, /proc/net/arp is read, which is slow with many neighbours.
        pub netlink: bool = true,
    }
}

const RTM_NEWNEIGH: u16 = 28;
const RTM_GETNEIGH: u16 = 30;
const AF_INET: u8 = 2;
const NUD_NOARP: u16 = 0x40;
/// `struct ndmsg`: the family, three bytes of padding, the device's index, the state.
const HEADER: usize = 12;
/// More devices than a host has; the neighbours of others are not counted.
const MAX_DEVICES: usize = 65_536;

/// The `arp` collector.
pub struct Arp {
    devices: DeviceFilter,
    /// Of the running kernel; `None` when it is not to be asked.
    netlink: Option<Netlink>,
    file: KernelFile,
}

impl Arp {
    pub fn new(config: &ArpConfig, roots: &Roots) -> Arp {
        Arp {
            devices: DeviceFilter::new(&config.device_include, &config.device_exclude),
            netlink: (config.netlink && roots.is_procfs()).then(|| Netlink::new(None)),
            file: KernelFile::new(roots.proc("net/arp")),
        }
    }
}

impl Collector for Arp {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut entries = BTreeMap::new();
        let asked = self.netlink.as_mut().is_some_and(|netlink| ask(netlink, &mut entries).is_ok());
        if !asked {
            entries.clear();
            count(self.file.read()?, &mut entries);
        }
        let mut family = out.gauge("node_arp_entries", "ARP entries by device", ["device"]);
        for (device, count) in entries.iter().filter(|(device, _)| self.devices.wants(device)) {
            family.put([device], *count as f64);
        }
        Ok(())
    }
}

fn ask(netlink: &mut Netlink, entries: &mut BTreeMap<Vec<u8>, u64>) -> std::io::Result<()> {
    let mut request = [0; HEADER];
    request[0] = AF_INET;
    let mut counts = BTreeMap::new();
    netlink.dump(RTM_GETNEIGH, &request, &mut counts, BTreeMap::clear, |counts, kind, body| {
        if kind == RTM_NEWNEIGH
            && let Some(index) = neighbour(body)
            && (counts.len() < MAX_DEVICES || counts.contains_key(&index))
        {
            *counts.entry(index).or_insert(0) += 1;
        }
    })?;
    let mut names = DeviceNames::default();
    for (index, count) in counts {
        if let Some(name) = names.name(index, netlink) {
            entries.insert(name.as_bytes().to_vec(), count);
        }
    }
    Ok(())
}

/// The device of an IPv4 neighbour that ARP is needed for.
fn neighbour(body: &[u8]) -> Option<u32> {
    let (family, index, state) = (*body.first()?, u32_at(body, 4)?, u16_at(body, 8)?);
    (family == AF_INET && state & NUD_NOARP == 0).then_some(index)
}

/// Counts the lines of `net/arp`, whose last field is the device; a line of headings comes first.
fn count(text: &[u8], entries: &mut BTreeMap<Vec<u8>, u64>) {
    for line in lines(text).skip(1) {
        let Some(device) = fields(line).nth(5) else { continue };
        if entries.len() < MAX_DEVICES || entries.contains_key(device) {
            *entries.entry(device.to_vec()).or_insert(0) += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::netlink::testing::{answer, answering, in_namespace};
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};
    use crate::fuzz::Fuzz;

    const CAPTURE: &str = "\
IP address       HW type     Flags       HW address            Mask     Device
192.168.1.1      0x1         0x2         cc:aa:dd:ee:aa:bb     *        eth0
192.168.1.2      0x1         0x2         bb:cc:dd:ee:ff:aa     *        eth0
10.0.0.1         0x1         0x2         de:ad:be:ef:00:00     *        nope
";
    const FILES: [(&str, &str); 1] = [("proc/net/arp", CAPTURE)];

    fn build(roots: &Roots) -> Arp {
        let config = ArpConfig { device_exclude: Some(Search::fixed("nope")), ..ArpConfig::default() };
        Arp::new(&config, roots)
    }

    fn message(family: u8, index: u32, state: u16) -> (u16, Vec<u8>) {
        let mut body = vec![family, 0, 0, 0];
        body.extend(index.to_ne_bytes());
        body.extend(state.to_ne_bytes());
        body.extend([0, 1]);
        (RTM_NEWNEIGH, body)
    }

    #[test]
    fn the_lines_of_each_device_wanted_are_counted() {
        let tree = Tree::new(&FILES);
        assert_eq!(Runner::new(build(&tree.roots())).lines(), ["node_arp_entries{device=\"eth0\"} 2"]);
    }

    #[test]
    fn netlink_neighbours_are_counted_but_for_ipv6_and_those_that_need_no_arp() {
        const REACHABLE: u16 = 2;
        const GONE: u32 = 0x7fff_0000;
        let messages = [
            message(AF_INET, 1, REACHABLE),
            message(AF_INET, 1, REACHABLE),
            message(AF_INET, 1, NUD_NOARP),
            message(10, 1, REACHABLE),
            message(AF_INET, GONE, REACHABLE),
        ];
        let (mut netlink, _kernel) = answering(&answer(1, &messages));
        let mut entries = BTreeMap::new();
        ask(&mut netlink, &mut entries).unwrap();
        assert_eq!(entries, BTreeMap::from([(b"lo".to_vec(), 2)]), "and a device that is gone is left out");
    }

    #[test]
    fn the_running_kernel_says_the_same_over_netlink_and_in_procfs() {
        let commands = [
            "ip link add dev wf0 type veth peer name wf1",
            "ip addr add 10.99.0.1/24 dev wf0",
            "ip link set wf0 up",
            "ip neigh add 10.99.0.2 lladdr 02:00:00:00:00:02 nud permanent dev wf0",
            "ip neigh add 10.99.0.3 lladdr 02:00:00:00:00:03 nud permanent dev wf0",
            "ip neigh add 10.99.0.4 lladdr 02:00:00:00:00:04 nud noarp dev wf0",
        ];
        in_namespace(&commands, || {
            let mut entries = BTreeMap::new();
            ask(&mut Netlink::new(None), &mut entries).unwrap();
            assert_eq!(entries, BTreeMap::from([(b"wf0".to_vec(), 2)]));
            // `/proc/net` is of the process's first thread, which has stayed where it was.
            let text = std::fs::read("/proc/thread-self/net/arp").unwrap();
            let mut counted = BTreeMap::new();
            count(&text, &mut counted);
            assert_eq!(counted, entries);
        });
    }

    #[test]
    fn no_answer_makes_it_panic() {
        Fuzz::of(&[message(AF_INET, 1, 2).1]).bytes(|body| {
            let _ = neighbour(body);
        });
    }

    #[test]
    fn damaged_files_never_panic() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/net/arp"], |name| name.starts_with("node_arp_"), build);
    }
}
