//! The same attributes as sysfs has, from rtnetlink, with the few that it has not from files that stay open.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::files::{open_attribute, parse, read_attribute};
use super::{ADDRESS, ALIAS, Device, Devices, FLAGS, Netclass, OPERSTATE, SPEED, UP};
use crate::collect::netdev::DETAILED;
use crate::collect::netlink::{attributes, text};
use crate::collect::rtnetlink::{IFLA_IFALIAS, Link, Rtnetlink};
use crate::collect::search::Search;
use crate::model::Writer;

/// Attributes that only files have.
pub(super) const FILES: [(&str, When); 4] = [
    ("speed", When::Up),
    ("duplex", When::Up),
    ("addr_assign_type", When::Addressed),
    ("name_assign_type", When::Addressed),
];

/// When a file is worth opening.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum When {
    /// While the device is up: the kernel does not give it for others.
    Up,
    /// When the device is new, has another address, or has its turn.
    Addressed,
}

/// Of `NUMBERS` and `TEXTS`.
const ADDRESS_ASSIGN_TYPE: usize = 0;
const DEVICE_ID: usize = 5;
const NAME_ASSIGN_TYPE: usize = 12;
const BROADCAST: usize = 1;
const DUPLEX: usize = 2;

const IFLA_ADDRESS: u16 = 1;
const IFLA_BROADCAST: u16 = 2;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_TXQLEN: u16 = 13;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKMODE: u16 = 17;
const IFLA_GROUP: u16 = 27;
const IFLA_PROMISCUITY: u16 = 30;
const IFLA_CARRIER: u16 = 33;
const IFLA_CARRIER_CHANGES: u16 = 35;
const IFLA_CARRIER_UP_COUNT: u16 = 47;
const IFLA_CARRIER_DOWN_COUNT: u16 = 48;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_ALLMULTI: u16 = 61;

const IFF_PROMISC: i64 = 0x100;
const IFF_ALLMULTI: i64 = 0x200;
const IFF_DORMANT: i64 = 0x2_0000;
/// Flags that the kernel works out for the answer (running, lower up, dormant); sysfs shows those that are set.
const IFF_VOLATILE: i64 = 0x40 | 0x1_0000 | IFF_DORMANT;

/// `RFC 2863` states, by their number.
const OPERSTATES: [&[u8]; 7] = [b"unknown", b"notpresent", b"down", b"lowerlayerdown", b"testing", b"dormant", b"up"];

impl Devices {
    /// Reads all devices of the running kernel; `class` is the open `/sys/class/net`. At most `keep` files stay open.
    pub(super) fn read_live(
        &mut self,
        netlink: &mut Rtnetlink,
        class: &OwnedFd,
        ignored: &Search,
        keep: usize,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        netlink.links(self, Devices::clear, |devices, link| {
            let device = devices.next(link.name, u64::from(link.index), ignored);
            if !device.ignored {
                device.changed = device.take(link);
            }
        })?;
        for (i, device) in self.wanted_mut() {
            device.read_files(class, buffer);
            if i >= keep / FILES.len() {
                device.close();
            }
        }
        Ok(())
    }
}

impl Netclass {
    /// Writes what only rtnetlink tells.
    pub(super) fn write_live(&self, out: &mut Writer) {
        let help = "Alternative names of a network device, value is always 1.";
        let mut alternatives = out.gauge("node_network_altnames_info", help, ["device", "altname"]);
        for device in self.devices.present() {
            for name in &device.alternatives {
                alternatives.put([&device.name, name], 1.0);
            }
        }
        for (i, (name, help, _)) in DETAILED.iter().enumerate().filter(|_| self.with_stats) {
            let mut family = out.gauge(name, help, ["device"]);
            for device in self.devices.present() {
                if let Some(count) = device.stats.get(i).copied().flatten() {
                    family.put([&device.name], count as f64);
                }
            }
        }
    }
}

impl Device {
    /// Takes over what the link says; what files have is left as it is. Whether the device is new or has another address.
    fn take(&mut self, link: &Link) -> bool {
        let mut differs = !self.present;
        self.present = true;
        self.stats = link.stats;
        self.alternatives.clear();
        let (mut address, mut broadcast): (&[u8], &[u8]) = (&[], &[]);
        self.texts[ALIAS].clear();
        let mut answer = i64::from(link.flags) & !IFF_VOLATILE;
        let is_up = answer & UP != 0;
        let mut link_index = i64::from(link.index);
        let [mut carrier, mut changes, mut up_count, mut down_count] = [None; 4];
        let [mut link_mode, mut mtu, mut group, mut queue_length] = [None; 4];
        for (kind, content) in attributes(link.attributes) {
            let number = || content.first_chunk().map(|b| i64::from(u32::from_ne_bytes(*b)));
            let byte = || content.first().map(|b| i64::from(*b));
            match kind {
                IFLA_ADDRESS => address = content,
                IFLA_BROADCAST => broadcast = content,
                IFLA_IFALIAS => self.texts[ALIAS].extend_from_slice(text(content)),
                IFLA_PROP_LIST => {
                    let names = attributes(content).filter(|(kind, _)| *kind == IFLA_ALT_IFNAME);
                    self.alternatives.extend(names.map(|(_, name)| text(name).to_vec()));
                }
                IFLA_OPERSTATE => {
                    let state = content.first().and_then(|b| OPERSTATES.get(usize::from(*b)));
                    self.texts[OPERSTATE].clear();
                    self.texts[OPERSTATE].extend_from_slice(state.unwrap_or(&OPERSTATES[0]));
                }
                IFLA_LINK => link_index = number().unwrap_or(link_index),
                IFLA_MTU => mtu = number(),
                IFLA_TXQLEN => queue_length = number(),
                IFLA_GROUP => group = number(),
                IFLA_LINKMODE => link_mode = byte(),
                // sysfs gives it, and whether the device is dormant, only of a device that is up.
                IFLA_CARRIER if is_up => carrier = byte(),
                IFLA_CARRIER_CHANGES => changes = number(),
                IFLA_CARRIER_UP_COUNT => up_count = number(),
                IFLA_CARRIER_DOWN_COUNT => down_count = number(),
                // The answer's flags say what users have asked for; sysfs what holds, be it for a bridge.
                IFLA_PROMISCUITY => answer = with_flag(answer, IFF_PROMISC, number()),
                IFLA_ALLMULTI => answer = with_flag(answer, IFF_ALLMULTI, number()),
                _ => {}
            }
        }
        differs |= format_address(address, &mut self.texts[ADDRESS]);
        format_address(broadcast, &mut self.texts[BROADCAST]);
        let dormant = is_up.then_some(i64::from(i64::from(link.flags) & IFF_DORMANT != 0));
        let [assigned, device_id, name_assigned, speed] =
            [ADDRESS_ASSIGN_TYPE, DEVICE_ID, NAME_ASSIGN_TYPE, SPEED].map(|i| self.numbers[i]);
        // In the order of `NUMBERS`.
        self.numbers = [
            assigned,
            carrier,
            changes,
            up_count,
            down_count,
            device_id,
            dormant,
            Some(answer),
            Some(i64::from(link.index)),
            Some(link_index),
            link_mode,
            mtu,
            name_assigned,
            group,
            speed,
            queue_length,
            Some(i64::from(link.kind)),
        ];
        differs
    }

    fn read_files(&mut self, class: &OwnedFd, buffer: &mut [u8]) {
        let is_up = self.numbers[FLAGS].is_some_and(|flags| flags & UP != 0);
        let all = self.is_due() | self.changed;
        let mut path = PathBuffer::default();
        if self.numbers[DEVICE_ID].is_none() {
            // It belongs to the port, and never changes.
            let read = open_attribute(class, path.of(&self.name, "dev_id"))
                .and_then(|f| read_attribute(&f, buffer).map(parse));
            self.numbers[DEVICE_ID] = read.ok().flatten();
        }
        for (i, (file, when)) in FILES.into_iter().enumerate() {
            let text = match when {
                When::Up if !is_up => None,
                // A read of an open file is all it costs.
                When::Addressed if !all && self.files[i].is_none() => continue,
                _ => {
                    if self.files[i].is_none() {
                        self.files[i] = open_attribute(class, path.of(&self.name, file)).ok();
                    }
                    self.files[i].as_ref().and_then(|f| read_attribute(f, buffer).ok())
                }
            };
            match i {
                0 => self.numbers[SPEED] = text.and_then(parse),
                1 => {
                    self.texts[DUPLEX].clear();
                    self.texts[DUPLEX].extend_from_slice(text.unwrap_or_default());
                }
                2 => self.numbers[ADDRESS_ASSIGN_TYPE] = text.and_then(parse),
                _ => self.numbers[NAME_ASSIGN_TYPE] = text.and_then(parse),
            }
        }
    }
}

/// The place of a path, so that none is allocated for each file of each device.
struct PathBuffer([u8; 64]);

impl Default for PathBuffer {
    fn default() -> Self {
        PathBuffer([0; 64])
    }
}

impl PathBuffer {
    /// `DEVICE/FILE`; nothing, which cannot be opened, where the kernel has let a name be longer than it does.
    fn of(&mut self, device: &[u8], file: &str) -> &Path {
        let pieces = device.iter().chain(b"/").chain(file.as_bytes());
        let length = device.len() + 1 + file.len();
        self.0.iter_mut().zip(pieces).for_each(|(to, from)| *to = *from);
        Path::new(OsStr::from_bytes(self.0.get(..length).unwrap_or_default()))
    }
}

/// `flags` with or without `flag`, as the count is above 0 or not.
fn with_flag(flags: i64, flag: i64, count: Option<i64>) -> i64 {
    match count {
        None => flags,
        Some(0) => flags & !flag,
        Some(_) => flags | flag,
    }
}

/// `01:23:45:67:89:ab`; whether it is not what it was.
fn format_address(bytes: &[u8], text: &mut Vec<u8>) -> bool {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)], b':'];
    let length = (3 * bytes.len()).saturating_sub(1);
    let mut differs = text.len() != length;
    text.resize(length, 0);
    for (to, from) in text.iter_mut().zip(bytes.iter().flat_map(digits)) {
        differs |= std::mem::replace(to, from) != from;
    }
    differs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::netclass::NetclassConfig;
    use crate::collect::netlink::testing::in_namespace;
    use crate::collect::testing::Runner;
    use crate::collect::{Roots, testing::starting};

    #[test]
    fn alternative_names_and_counters_come_over_rtnetlink() {
        let commands = [
            "ip link add dev wf0 type veth peer name wf1",
            "ip link property add dev wf0 altname wf0-with-a-longer-name altname wf0b",
        ];
        in_namespace(&commands, || {
            // /sys is of the namespace in which it was mounted: only what needs no file is looked at.
            let run = |with_stats| {
                let config = NetclassConfig { with_stats, ..NetclassConfig::default() };
                Runner::new(Netclass::new(&config, &Roots::default())).lines()
            };
            let lines = run(false);
            let expected = [
                "node_network_altnames_info{device=\"wf0\",altname=\"wf0-with-a-longer-name\"} 1",
                "node_network_altnames_info{device=\"wf0\",altname=\"wf0b\"} 1",
            ];
            assert_eq!(starting(&lines, "node_network_altnames_info"), expected);
            let counted = |lines: &[String]| lines.iter().any(|l| l.starts_with("node_network_receive_bytes_total"));
            assert!(!counted(&lines) && counted(&run(true)));
        });
    }
}
