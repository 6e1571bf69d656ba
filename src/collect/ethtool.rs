//! `ethtool`: what the drivers of network devices count and can do, by `SIOCETHTOOL` (`man 8 ethtool`, `-S` and `-i`).
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_ethtool_info` | gauge, always 1 | `device`, `bus_info`, `driver`, `expansion_rom_version`, `firmware_version`, `version` |
//! | `node_ethtool_STATISTIC` | untyped | `device` |
//! | `node_network_supported_port_info` | gauge, always 1 | `device`, `type` |
//! | `node_network_supported_speed_bytes`, `node_network_advertised_speed_bytes` | gauge, bytes a second | `device`, `duplex`, `mode` |
//! | `node_network_autonegotiate`, `node_network_{autonegotiate,pause,asymmetricpause}_{supported,advertised}` | gauge, 0 or 1 | `device` |
//!
//! The name of a statistic is the driver's own, with `rx` spelt `received` and `tx` `transmitted`, and `_` for what no
//! metric's name may have. Of a device whose driver has two statistics by the same name, neither is shown. Asking a
//! driver can take its time, and may wake a sleeping device.
//!
//! Configuration: `device_include`, `device_exclude`, `metrics_include`.

mod ioctl;
mod link_modes;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use ioctl::{Driver, Ethtool, Link};
use link_modes::{ASYMMETRIC_PAUSE, AUTONEGOTIATE, PAUSE, PORTS, SPEEDS};

use super::search::{DeviceFilter, Search};
use super::sysfs::names;
use super::{CollectError, Collector, Roots};
use crate::model::{MetricType, Writer};
use crate::yaml::{Faults, Node};

crate::section! {
    check = |section: &mut EthtoolConfig, node: &Node, faults: &mut Faults| {
        DeviceFilter::check(&section.device_include, &section.device_exclude, node, faults);
    };
    /// `collectors.ethtool`.
    pub struct EthtoolConfig {
        /// The only devices asked; not together with `device_exclude`.
        pub device_include: Option<Search> = None,
        /// Devices that are not asked.
        pub device_exclude: Option<Search> = None,
        /// Which of the drivers' statistics are exported; they can be hundreds for each queue.
        pub metrics_include: Search = Search::fixed(".*"),
    }
}

/// The `ethtool` collector.
pub struct EthtoolCollector {
    devices: DeviceFilter,
    metrics: Search,
    class: PathBuf,
    ethtool: Ethtool,
}

/// What a driver says of its device.
#[derive(Default)]
struct Device {
    name: Vec<u8>,
    link: Option<Link>,
    driver: Option<Driver>,
    /// By name, as the driver names them.
    statistics: Vec<(Vec<u8>, u64)>,
}

impl EthtoolCollector {
    pub fn new(config: &EthtoolConfig, roots: &Roots) -> EthtoolCollector {
        EthtoolCollector {
            devices: DeviceFilter::new(&config.device_include, &config.device_exclude),
            metrics: config.metrics_include.clone(),
            class: roots.sys("class/net"),
            ethtool: Ethtool::new(),
        }
    }
}

impl Collector for EthtoolCollector {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut devices = Vec::new();
        for name in names(&self.class)?.iter().map(|n| n.as_bytes()).filter(|n| self.devices.wants(n)) {
            let failed = |e| CollectError::Other(format!("ethtool {}: {e}", String::from_utf8_lossy(name)));
            let asked = self.ethtool.ask(name);
            devices.push(Device {
                name: name.to_vec(),
                link: asked.link.map_err(failed)?,
                driver: asked.driver.map_err(failed)?,
                statistics: asked.statistics.map_err(failed)?,
            });
        }
        write(&devices, &self.metrics, out);
        Ok(())
    }
}

fn write(devices: &[Device], wanted: &Search, out: &mut Writer) {
    write_links(devices, out);
    let labels = ["bus_info", "device", "driver", "expansion_rom_version", "firmware_version", "version"];
    let mut info = out.gauge("node_ethtool_info", "The driver of a network device, value is always 1.", labels);
    for device in devices {
        if let Some(d) = &device.driver {
            let versions = [&d.expansion_rom_version, &d.firmware_version, &d.version];
            let [rom, firmware, version] = versions.map(Vec::as_slice);
            info.put([&d.bus_info, &device.name, &d.driver, rom, firmware, version], 1.0);
        }
    }
    // By the metric's name: the driver's name for it, and of each device the value; `None` where there were several.
    let mut families = BTreeMap::<String, (String, BTreeMap<&[u8], Option<u64>>)>::new();
    for device in devices {
        for (name, value) in &device.statistics {
            let name = sanitized(name);
            if !wanted.is_match(name.as_bytes()) {
                continue;
            }
            let (_, values) = families.entry(metric_name(&name)).or_insert_with(|| (name, BTreeMap::new()));
            values.entry(&device.name).and_modify(|v| *v = None).or_insert(Some(*value));
        }
    }
    for (metric, (name, values)) in &families {
        let help = format!("Network interface {name}");
        let mut family = out.family(MetricType::Untyped, metric, &help, ["device"]);
        for (device, value) in values.iter().filter_map(|(device, value)| Some((device, (*value)?))) {
            family.put([device], value as f64);
        }
    }
}

fn write_links(devices: &[Device], out: &mut Writer) {
    type Modes = fn(&Link) -> u32;
    const KINDS: [(&str, Modes); 2] = [("supported", |l| l.supported), ("advertised", |l| l.advertised)];
    let links = || devices.iter().filter_map(|d| Some((&d.name, d.link.as_ref()?)));
    for (kind, modes) in KINDS {
        let (name, help) = (
            format!("node_network_{kind}_speed_bytes"),
            format!("Speeds in bytes a second that are {kind} by a network device, with their modes"),
        );
        let mut family = out.gauge(&name, &help, ["device", "duplex", "mode"]);
        for (device, link) in links() {
            for (_, megabits, duplex, physical) in SPEEDS.iter().filter(|(bit, ..)| modes(link) & 1 << bit != 0) {
                let mode = format!("{megabits}base{physical}");
                family.put([device, duplex.as_bytes(), mode.as_bytes()], f64::from(*megabits) * 1e6 / 8.0);
            }
        }
    }
    let help = "Type of ports or PHYs supported by network device";
    let mut family = out.gauge("node_network_supported_port_info", help, ["device", "type"]);
    for (device, link) in links() {
        for (_, port) in PORTS.iter().filter(|(bit, _)| link.supported & 1 << bit != 0) {
            family.put([device, port.as_bytes()], 1.0);
        }
    }
    for (feature, bit) in [("autonegotiate", AUTONEGOTIATE), ("pause", PAUSE), ("asymmetricpause", ASYMMETRIC_PAUSE)] {
        for (kind, modes) in KINDS {
            let name = format!("node_network_{feature}_{kind}");
            let help = format!("Whether {feature} is {kind} by a network device");
            let mut family = out.gauge(&name, &help, ["device"]);
            for (device, link) in links() {
                family.put([device], f64::from(modes(link) >> bit & 1));
            }
        }
    }
    let mut family = out.gauge("node_network_autonegotiate", "If this port is using autonegotiate", ["device"]);
    for (device, link) in links() {
        family.put([device], f64::from(link.autonegotiate));
    }
}

/// With one `_` for each run of what no metric's name may have, and the `_` around it.
fn sanitized(name: &[u8]) -> String {
    let mut sane = String::new();
    let mut rest = name;
    while !rest.is_empty() {
        let invalid = |b: &u8| !b.is_ascii_alphanumeric() && *b != b'_';
        // A run of `_` is kept as it is, unless something else is in it.
        let run = rest.iter().take_while(|b| invalid(b) || **b == b'_').count();
        let (run, tail) = rest.split_at_checked(run.max(1)).unwrap_or((rest, &[]));
        if run.iter().any(invalid) {
            sane.push('_');
        } else {
            sane.extend(run.iter().map(|b| char::from(*b)));
        }
        rest = tail;
    }
    sane
}

/// `rx_bytes` is `received_bytes_total`, as are the other usual ones; of the rest only the words are spelt out.
fn metric_name(name: &str) -> String {
    const TOTALS: [&str; 7] =
        ["rx_bytes", "rx_dropped", "rx_errors", "rx_packets", "tx_bytes", "tx_errors", "tx_packets"];
    let total = if TOTALS.contains(&name) { "_total" } else { "" };
    let lower = name.to_ascii_lowercase();
    let received = spelt_out(lower.trim_start_matches('_'), "rx", "received");
    format!("node_ethtool_{}{total}", spelt_out(&received, "tx", "transmitted"))
}

/// Of words that follow one another only every second is spelt out (`tx_tx_timeouts` of virtio is
/// `transmitted_tx_timeouts`): node_exporter looks for a word with the `_` around it, which two of them share.
fn spelt_out(name: &str, word: &str, long: &str) -> String {
    let mut was = false;
    let words = name.split('_').map(|w| {
        was = w == word && !was;
        if was { long } else { w }
    });
    words.collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::netlink::testing::in_namespace;
    use crate::collect::testing::{Runner, starting};
    use crate::fuzz::Fuzz;

    /// A collector that was told what drivers say.
    struct Told(Vec<Device>, Search);

    impl Collector for Told {
        fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
            write(&self.0, &self.1, out);
            Ok(())
        }
    }

    fn device(name: &str, statistics: &[(&str, u64)]) -> Device {
        let statistics = statistics.iter().map(|(n, v)| (n.as_bytes().to_vec(), *v)).collect();
        Device { name: name.as_bytes().to_vec(), statistics, ..Device::default() }
    }

    #[test]
    fn statistics_are_named_as_node_exporter_names_them() {
        for (name, expected) in [
            ("rx_bytes", "received_bytes_total"),
            ("tx_packets", "transmitted_packets_total"),
            ("rx_queue_0_drops", "received_queue_0_drops"),
            ("port.rx_dropped", "port_received_dropped"),
            ("TX queue-1: (frames)", "transmitted_queue_1_frames_"),
            ("rx__a", "received__a"),
            (" _ align_errors", "align_errors"),
            ("rxq_rx", "rxq_received"),
            ("rx_tx_x", "received_transmitted_x"),
            ("tx_tx_timeouts", "transmitted_tx_timeouts"),
            ("tx_tx_tx", "transmitted_tx_transmitted"),
        ] {
            assert_eq!(metric_name(&sanitized(name.as_bytes())), format!("node_ethtool_{expected}"), "{name}");
        }
    }

    #[test]
    fn statistics_of_all_devices_are_families_and_a_name_given_twice_is_none() {
        let devices = vec![
            device("eth0", &[("rx_bytes", 5), ("a b", 1), ("a.b", 2), ("other", 3)]),
            device("eth1", &[("rx_bytes", 6), ("a b", 7)]),
        ];
        let lines = Runner::new(Told(devices, Search::fixed("^(rx|a_)"))).lines();
        let expected = [
            "node_ethtool_a_b{device=\"eth1\"} 7",
            "node_ethtool_received_bytes_total{device=\"eth0\"} 5",
            "node_ethtool_received_bytes_total{device=\"eth1\"} 6",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_link_has_speeds_ports_and_features() {
        let mut eth0 = device("eth0", &[]);
        let supported = 1 << 5 | 1 << 2 | 1 << 7 | 1 << AUTONEGOTIATE | 1 << PAUSE;
        eth0.link = Some(Link { supported, advertised: 1 << 5, autonegotiate: true });
        let lines = Runner::new(Told(vec![eth0], Search::fixed(""))).lines();
        let expected = [
            "node_network_supported_speed_bytes{device=\"eth0\",duplex=\"half\",mode=\"100baseT\"} 12500000",
            "node_network_supported_speed_bytes{device=\"eth0\",duplex=\"full\",mode=\"1000baseT\"} 125000000",
            "node_network_advertised_speed_bytes{device=\"eth0\",duplex=\"full\",mode=\"1000baseT\"} 125000000",
            "node_network_supported_port_info{device=\"eth0\",type=\"TP\"} 1",
            "node_network_autonegotiate_supported{device=\"eth0\"} 1",
            "node_network_autonegotiate_advertised{device=\"eth0\"} 0",
            "node_network_pause_supported{device=\"eth0\"} 1",
            "node_network_pause_advertised{device=\"eth0\"} 0",
            "node_network_asymmetricpause_supported{device=\"eth0\"} 0",
            "node_network_asymmetricpause_advertised{device=\"eth0\"} 0",
            "node_network_autonegotiate{device=\"eth0\"} 1",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn the_running_kernel_tells_of_its_drivers() {
        in_namespace(&["ip link add dev wf0 type veth peer name wf1"], || {
            let asked = Ethtool::new().ask(b"wf0");
            assert_eq!(asked.driver.unwrap().unwrap().driver, b"veth");
            let statistics = asked.statistics.unwrap();
            assert!(statistics.iter().any(|(name, _)| name == b"peer_ifindex"), "{statistics:?}");
            assert!(asked.link.unwrap().is_some(), "a veth says how fast it is");
            let gone = Ethtool::new().ask(b"wf9");
            assert!(gone.driver.unwrap().is_none() && gone.statistics.unwrap().is_empty());
        });
        let (lines, result) = Runner::new(EthtoolCollector::new(&EthtoolConfig::default(), &Roots::default())).run();
        assert!(matches!(result, Ok(()) | Err(CollectError::NoData(_))), "{result:?}");
        assert!(result.is_err() || !starting(&lines, "node_ethtool_").is_empty() || lines.is_empty(), "{lines:?}");
    }

    #[test]
    fn a_long_run_is_passed_over_once() {
        let began = std::time::Instant::now();
        assert_eq!(sanitized(&[b'_'; 200_000]).len(), 200_000);
        assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    }

    #[test]
    fn no_name_panics_and_any_makes_a_valid_metric() {
        Fuzz::of(&["rx_bytes", "port.rx_dropped", "TX queue-1: (frames)", "tx_tx_tx"]).bytes(|name| {
            let metric = metric_name(&sanitized(name));
            assert!(metric.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{metric}");
        });
    }
}
