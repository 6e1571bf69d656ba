//! `wifi`: wireless devices and the stations that they talk to, over generic netlink (nl80211).
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_wifi_interface_frequency_hertz` | gauge; 0 when the device uses none | `device` |
//! | `node_wifi_station_info` | gauge, always 1 | `device`, `bssid`, `ssid`, `mode`: `client`, `ad-hoc` or `unknown` |
//! | `node_wifi_station_connected_seconds_total` | counter | `device`, `mac_address` |
//! | `node_wifi_station_inactive_seconds`, `_signal_dbm` | gauge | the same |
//! | `node_wifi_station_receive_bits_per_second`, `_transmit_bits_per_second` | gauge | the same |
//! | `node_wifi_station_receive_bytes_total`, `_transmit_bytes_total`, `_received_packets_total`, `_transmitted_packets_total`, `_transmit_retries_total`, `_transmit_failed_total`, `_beacon_loss_total` | counter | the same |
//!
//! What a driver does not tell of a station is absent. A kernel without nl80211 has no wireless devices: no data.
//!
//! No configuration keys.

use std::io;

use rustix::io::Errno;

use super::netlink::{GENL_HEADER, Netlink, attribute, text, u16_at, u32_at, u64_at};
use super::{CollectError, Collector, Roots};
use crate::model::{MetricType, Writer};

crate::section! {
    /// `collectors.wifi`.
    pub struct WifiConfig {}
}

const NL80211_CMD_GET_INTERFACE: u8 = 5;
const NL80211_CMD_GET_STATION: u8 = 17;
const NL80211_CMD_GET_SCAN: u8 = 32;
const NL80211_ATTR_IFINDEX: u16 = 3;
const NL80211_ATTR_IFNAME: u16 = 4;
const NL80211_ATTR_MAC: u16 = 6;
const NL80211_ATTR_STA_INFO: u16 = 21;
const NL80211_ATTR_WIPHY_FREQ: u16 = 38;
const NL80211_ATTR_BSS: u16 = 47;
const NL80211_BSS_BSSID: u16 = 1;
const NL80211_BSS_INFORMATION_ELEMENTS: u16 = 6;
const NL80211_BSS_STATUS: u16 = 9;
/// Of an information element (IEEE 802.11, 9.4.2.2): its number.
const SSID: u8 = 0;
const NL80211_RATE_INFO_BITRATE: u16 = 1;
const NL80211_RATE_INFO_BITRATE32: u16 = 5;

/// More devices, and stations of one, than there can be; what lies beyond is not looked at.
const MAX_DEVICES: usize = 1024;
const MAX_STATIONS: usize = 4096;

/// How a station's attribute is read.
#[derive(Clone, Copy)]
enum Reading {
    U32,
    /// 64 bits, and an older attribute with 32.
    U64(u16),
    Milliseconds,
    /// A signed byte.
    Signal,
    /// Nested, in 100 kbit/s.
    Rate,
}

/// Attribute of `NL80211_ATTR_STA_INFO`, reading, type, name, help.
const FAMILIES: [(u16, Reading, MetricType, &str, &str); 12] = {
    use MetricType::{Counter, Gauge};
    macro_rules! family {
        ($attribute:literal, $reading:expr, $kind:ident, $name:literal, $help:literal) => {
            ($attribute, $reading, $kind, concat!("node_wifi_station_", $name), $help)
        };
    }
    [
        family!(
            16,
            Reading::U32,
            Counter,
            "connected_seconds_total",
            "Seconds for which a station has been connected."
        ),
        family!(1, Reading::Milliseconds, Gauge, "inactive_seconds", "Seconds since a station was last active."),
        family!(14, Reading::Rate, Gauge, "receive_bits_per_second", "Bit rate at which a station is received."),
        family!(8, Reading::Rate, Gauge, "transmit_bits_per_second", "Bit rate at which a station is sent to."),
        family!(23, Reading::U64(2), Counter, "receive_bytes_total", "Bytes received from a station."),
        family!(24, Reading::U64(3), Counter, "transmit_bytes_total", "Bytes sent to a station."),
        family!(7, Reading::Signal, Gauge, "signal_dbm", "Strength of the signal, in decibel-milliwatts (dBm)."),
        family!(
            11,
            Reading::U32,
            Counter,
            "transmit_retries_total",
            "Times that a packet to a station was sent again."
        ),
        family!(12, Reading::U32, Counter, "transmit_failed_total", "Packets that could not be sent to a station."),
        family!(18, Reading::U32, Counter, "beacon_loss_total", "Times that a station's beacons were missed."),
        family!(10, Reading::U32, Counter, "transmitted_packets_total", "Packets sent to a station."),
        family!(9, Reading::U32, Counter, "received_packets_total", "Packets received from a station."),
    ]
};

/// The `wifi` collector.
pub struct Wifi {
    netlink: Netlink,
}

#[derive(Debug)]
struct Device {
    index: u32,
    name: Vec<u8>,
    megahertz: u32,
    bss: Option<Bss>,
    stations: Vec<Station>,
}

/// The network that a device belongs to.
#[derive(Debug)]
struct Bss {
    id: String,
    ssid: Vec<u8>,
    mode: &'static str,
}

#[derive(Debug)]
struct Station {
    address: String,
    /// In the order of [`FAMILIES`].
    values: [Option<f64>; FAMILIES.len()],
}

impl Wifi {
    pub fn new(_: &WifiConfig, _: &Roots) -> Wifi {
        Wifi { netlink: Netlink::new(Some(rustix::net::netlink::GENERIC)) }
    }

    /// A list by a command of generic netlink; `each` makes an entry of a message's attributes.
    fn list<T>(
        &mut self,
        family: u16,
        command: u8,
        device: Option<u32>,
        limit: usize,
        each: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        let mut request = vec![command, 1, 0, 0];
        if let Some(index) = device {
            request.extend(8u16.to_ne_bytes());
            request.extend(NL80211_ATTR_IFINDEX.to_ne_bytes());
            request.extend(index.to_ne_bytes());
        }
        let mut list = Vec::new();
        self.netlink.dump(family, &request, &mut list, Vec::clear, |list, kind, body| {
            if kind == family
                && list.len() < limit
                && let Some(entry) = body.get(GENL_HEADER..).and_then(&each)
            {
                list.push(entry);
            }
        })?;
        Ok(list)
    }

    /// The number of nl80211; `None` when the kernel has none.
    fn family(&mut self) -> io::Result<Option<u16>> {
        self.netlink.family(b"nl80211")
    }

    fn devices(&mut self, family: u16) -> io::Result<Vec<Device>> {
        let mut devices = self.list(family, NL80211_CMD_GET_INTERFACE, None, MAX_DEVICES, parse_device)?;
        for device in &mut devices {
            let networks = self.list(family, NL80211_CMD_GET_SCAN, Some(device.index), 1, parse_bss);
            device.bss = present(networks)?.into_iter().next();
            device.stations =
                present(self.list(family, NL80211_CMD_GET_STATION, Some(device.index), MAX_STATIONS, parse_station))?;
        }
        Ok(devices)
    }
}

/// What a device of this kind has not (an access point scans for no networks), and what has gone meanwhile, is none.
fn present<T>(list: io::Result<Vec<T>>) -> io::Result<Vec<T>> {
    const NONE: [Errno; 4] = [Errno::OPNOTSUPP, Errno::NOENT, Errno::NODEV, Errno::NETDOWN];
    match list {
        Err(e) if NONE.iter().any(|errno| e.raw_os_error() == Some(errno.raw_os_error())) => Ok(Vec::new()),
        list => list,
    }
}

impl Collector for Wifi {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::PermissionDenied => CollectError::NoData(format!("nl80211: {e}")),
            _ => CollectError::Other(format!("cannot ask the kernel about wireless devices: {e}")),
        };
        let Some(family) = self.family().map_err(failed)? else {
            return Err(CollectError::NoData("this kernel has no nl80211, and so no wireless devices".to_string()));
        };
        write(&self.devices(family).map_err(failed)?, out);
        Ok(())
    }
}

fn write(devices: &[Device], out: &mut Writer) {
    let help = "The current frequency a WiFi interface is operating at, in hertz.";
    let mut frequency = out.gauge("node_wifi_interface_frequency_hertz", help, ["device"]);
    for device in devices {
        frequency.put([&device.name], f64::from(device.megahertz) * 1e6);
    }
    let help = "The network that a WiFi interface belongs to, value is always 1.";
    let mut info = out.gauge("node_wifi_station_info", help, ["device", "bssid", "ssid", "mode"]);
    for device in devices {
        if let Some(bss) = &device.bss {
            info.put([&device.name, bss.id.as_bytes(), &bss.ssid, bss.mode.as_bytes()], 1.0);
        }
    }
    for (i, (_, _, kind, name, help)) in FAMILIES.into_iter().enumerate() {
        let mut family = out.family(kind, name, help, ["device", "mac_address"]);
        for device in devices {
            for station in &device.stations {
                if let Some(value) = station.values.get(i).copied().flatten() {
                    family.put([&device.name, station.address.as_bytes()], value);
                }
            }
        }
    }
}

/// `None` for a virtual device without a name.
fn parse_device(message: &[u8]) -> Option<Device> {
    let name = text(attribute(message, NL80211_ATTR_IFNAME)?).to_vec();
    let index = u32_at(attribute(message, NL80211_ATTR_IFINDEX)?, 0)?;
    let megahertz = attribute(message, NL80211_ATTR_WIPHY_FREQ).and_then(|f| u32_at(f, 0)).unwrap_or(0);
    (!name.is_empty()).then_some(Device { index, name, megahertz, bss: None, stations: Vec::new() })
}

/// `None` for a network that was only heard.
fn parse_bss(message: &[u8]) -> Option<Bss> {
    let bss = attribute(message, NL80211_ATTR_BSS)?;
    let mode = match u32_at(attribute(bss, NL80211_BSS_STATUS)?, 0)? {
        // Authenticated, associated.
        0 | 1 => "client",
        2 => "ad-hoc",
        _ => "unknown",
    };
    let id = mac_address(attribute(bss, NL80211_BSS_BSSID)?);
    let mut elements = attribute(bss, NL80211_BSS_INFORMATION_ELEMENTS).unwrap_or_default();
    let mut ssid = Vec::new();
    // Number, length, content.
    while let [number, length, rest @ ..] = elements {
        let Some((content, rest)) = rest.split_at_checked(usize::from(*length)) else { break };
        if *number == SSID {
            ssid = content.to_vec();
            break;
        }
        elements = rest;
    }
    Some(Bss { id, ssid, mode })
}

fn parse_station(message: &[u8]) -> Option<Station> {
    let address = mac_address(attribute(message, NL80211_ATTR_MAC)?);
    let info = attribute(message, NL80211_ATTR_STA_INFO)?;
    let values = FAMILIES.map(|(kind, reading, ..)| read(info, kind, reading));
    Some(Station { address, values })
}

fn read(info: &[u8], kind: u16, reading: Reading) -> Option<f64> {
    let of = |kind| attribute(info, kind);
    match reading {
        Reading::U32 => u32_at(of(kind)?, 0).map(f64::from),
        Reading::Milliseconds => u32_at(of(kind)?, 0).map(|ms| f64::from(ms) / 1000.0),
        Reading::U64(older) => match of(kind) {
            Some(content) => u64_at(content, 0).map(|n| n as f64),
            None => u32_at(of(older)?, 0).map(f64::from),
        },
        Reading::Signal => of(kind)?.first().map(|b| f64::from(b.cast_signed())),
        Reading::Rate => {
            let rate = of(kind)?;
            // Rates above 6.5 Gbit/s do not fit into the older attribute.
            let of_32_bits = attribute(rate, NL80211_RATE_INFO_BITRATE32).and_then(|r| u32_at(r, 0));
            let of_16_bits = || attribute(rate, NL80211_RATE_INFO_BITRATE).and_then(|r| u16_at(r, 0)).map(u32::from);
            of_32_bits.or_else(of_16_bits).map(|r| f64::from(r) * 100_000.0)
        }
    }
}

/// `01:23:45:67:89:ab`.
fn mac_address(bytes: &[u8]) -> String {
    bytes.iter().take(32).map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::netlink::testing::{answer, answering, attribute as attribute_of, refusal};
    use crate::collect::netlink::{CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME, CTRL_CMD_GETFAMILY, GENL_ID_CTRL};
    use crate::collect::testing::Runner;
    use crate::fuzz::Fuzz;

    const FAMILY: u16 = 35;

    fn message(family: u16, attributes: &[Vec<u8>]) -> (u16, Vec<u8>) {
        (family, [vec![0, 1, 0, 0], attributes.concat()].concat())
    }

    fn number(kind: u16, value: u32) -> Vec<u8> {
        attribute_of(kind, &value.to_ne_bytes())
    }

    fn family(id: u16, name: &str) -> (u16, Vec<u8>) {
        let name = attribute_of(CTRL_ATTR_FAMILY_NAME, format!("{name}\0").as_bytes());
        message(GENL_ID_CTRL, &[name, attribute_of(CTRL_ATTR_FAMILY_ID, &id.to_ne_bytes())])
    }

    fn device() -> (u16, Vec<u8>) {
        let name = attribute_of(NL80211_ATTR_IFNAME, b"wlan0\0");
        message(FAMILY, &[number(NL80211_ATTR_IFINDEX, 3), name, number(NL80211_ATTR_WIPHY_FREQ, 2412)])
    }

    fn bss(status: Option<u32>) -> (u16, Vec<u8>) {
        let mut own = vec![
            attribute_of(NL80211_BSS_BSSID, &[0, 0x11, 0x22, 0x33, 0x44, 0x55]),
            attribute_of(NL80211_BSS_INFORMATION_ELEMENTS, b"\x01\x02ab\x00\x07Example"),
        ];
        own.extend(status.map(|s| number(NL80211_BSS_STATUS, s)));
        message(FAMILY, &[attribute_of(NL80211_ATTR_BSS | 0x8000, &own.concat())])
    }

    fn station() -> (u16, Vec<u8>) {
        let info = [
            number(16, 30),
            number(1, 400),
            attribute_of(14, &attribute_of(NL80211_RATE_INFO_BITRATE, &1280u16.to_ne_bytes())),
            attribute_of(8, &number(NL80211_RATE_INFO_BITRATE32, 164_000)),
            attribute_of(23, &(1u64 << 40).to_ne_bytes()),
            number(3, 77),
            attribute_of(7, &[0xcc]),
            number(12, 2),
        ];
        let mac = attribute_of(NL80211_ATTR_MAC, &[0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff]);
        message(FAMILY, &[mac, attribute_of(NL80211_ATTR_STA_INFO, &info.concat())])
    }

    fn runner(datagrams: &[Vec<u8>]) -> (Runner<Wifi>, std::os::fd::OwnedFd) {
        let (netlink, kernel) = answering(datagrams);
        (Runner::new(Wifi { netlink }), kernel)
    }

    #[test]
    fn a_device_has_its_network_and_stations() {
        let answers = [
            answer(1, &[family(17, "ethtool"), family(FAMILY, "nl80211")]),
            answer(2, &[device()]),
            answer(3, &[bss(None), bss(Some(1))]),
            answer(4, &[station()]),
        ];
        let (mut run, _kernel) = runner(&answers.concat());
        let labels = "{device=\"wlan0\",mac_address=\"aa:bb:cc:dd:ee:ff\"}";
        let expected = [
            "node_wifi_interface_frequency_hertz{device=\"wlan0\"} 2412000000".to_string(),
            "node_wifi_station_info{device=\"wlan0\",bssid=\"00:11:22:33:44:55\",ssid=\"Example\",mode=\"client\"} 1"
                .into(),
            format!("node_wifi_station_connected_seconds_total{labels} 30"),
            format!("node_wifi_station_inactive_seconds{labels} 0.4"),
            format!("node_wifi_station_receive_bits_per_second{labels} 128000000"),
            format!("node_wifi_station_transmit_bits_per_second{labels} 16400000000"),
            format!("node_wifi_station_receive_bytes_total{labels} 1099511627776"),
            format!("node_wifi_station_transmit_bytes_total{labels} 77"),
            format!("node_wifi_station_signal_dbm{labels} -52"),
            format!("node_wifi_station_transmit_failed_total{labels} 2"),
        ];
        assert_eq!(run.lines(), expected);
    }

    #[test]
    fn a_device_that_scans_for_nothing_is_served_and_another_failure_is_said() {
        let start =
            [answer(1, &[family(FAMILY, "nl80211")]), answer(2, &[device()]), refusal(3, Errno::OPNOTSUPP)].concat();
        // After a refusal the socket is opened anew, and this one's other end is lost: the running kernel answers.
        let (mut run, _kernel) = runner(&start);
        let family = run.collector.family().unwrap().unwrap();
        let mut devices = run.collector.list(family, NL80211_CMD_GET_INTERFACE, None, 9, parse_device).unwrap();
        let scan = run.collector.list(family, NL80211_CMD_GET_SCAN, Some(3), 1, parse_bss);
        devices[0].bss = present(scan).unwrap().into_iter().next();
        assert!(devices[0].bss.is_none());
        assert!(present::<()>(Err(Errno::PERM.into())).is_err());
    }

    #[test]
    fn a_kernel_without_nl80211_has_no_data() {
        let (mut run, _kernel) = runner(&answer(1, &[family(17, "ethtool")]));
        assert!(run.failure().1.starts_with("no data: this kernel has no nl80211"));
    }

    #[test]
    fn the_running_kernel_knows_generic_netlink() {
        let mut wifi = Wifi::new(&WifiConfig::default(), &Roots::default());
        match wifi
            .list(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, None, 100, |f| attribute(f, CTRL_ATTR_FAMILY_NAME).map(text_of))
        {
            Ok(families) => assert!(families.contains(&b"nlctrl".to_vec()), "{families:?}"),
            Err(e) => eprintln!("skipped: generic netlink: {e}"),
        }
        // With wireless devices or without: an answer, or no data.
        let (_, result) = Runner::new(wifi).run();
        assert!(matches!(result, Ok(()) | Err(CollectError::NoData(_))), "{result:?}");
    }

    fn text_of(content: &[u8]) -> Vec<u8> {
        text(content).to_vec()
    }

    #[test]
    fn no_answer_makes_it_panic() {
        let good = [family(FAMILY, "nl80211"), device(), bss(Some(1)), station()].map(|(_, body)| body);
        Fuzz::of(&good).bytes(|body| {
            let message = body.get(GENL_HEADER..).unwrap_or_default();
            let _ = (parse_device(message), parse_bss(message), parse_station(message));
        });
    }
}
