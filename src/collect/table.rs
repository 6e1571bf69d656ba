//! The list of collectors, and their part of the configuration.

use std::time::Duration;

use super::process::{Processes, ProcessesCollectorConfig, ProcessesConfig};
use super::{Collector, LaneKind, Planned, Roots};
use crate::yaml::{Faults, FromYaml, Node, Value};

/// What the portable collector gives under the same names.
const REPLACED_BY_PORTABLE: [&str; 8] =
    ["cpu", "loadavg", "meminfo", "diskstats", "filesystem", "netdev", "uname", "processes"];

/// What the documentation and the flags say of a collector.
#[derive(Clone, Copy, Debug)]
pub struct CollectorInfo {
    /// Its name in `collectors:`, `--collector.NAME` and the label `collector`.
    pub name: &'static str,
    /// What it gives, in a line.
    pub about: &'static str,
    /// Whether it runs when nothing is said.
    pub default: bool,
    /// How often it runs when nothing is said; zero: at each tick.
    pub interval: Duration,
    pub lane: LaneKind,
}

impl CollectorInfo {
    /// How long a run may take when nothing is said.
    ///
    /// Short on the shared lane, where the tick waits for it; long on a lane of its own, where a slow run only means
    /// older numbers.
    pub fn timeout(&self) -> Duration {
        match self.lane {
            LaneKind::Shared => Duration::from_millis(500),
            LaneKind::Own => Duration::from_secs(10),
        }
    }
}

/// A collector's key: whether and how often it runs, beside its own options.
#[derive(Clone, Debug, Default)]
pub struct Entry<T> {
    /// Whether it runs; its default when not said.
    pub enabled: Option<bool>,
    /// How often it runs; at each tick when shorter than `global.scrape_interval`.
    pub interval: Option<Duration>,
    /// How long a run may take before it is left out.
    pub timeout: Option<Duration>,
    pub options: T,
}

impl<T> Entry<T> {
    fn plan(&self, info: &CollectorInfo, collector: Box<dyn Collector>) -> Planned {
        Planned {
            name: info.name,
            collector,
            interval: self.interval.unwrap_or(info.interval),
            timeout: self.timeout.unwrap_or_else(|| info.timeout()),
            lane: info.lane,
        }
    }
}

impl<T: FromYaml + Default> FromYaml for Entry<T> {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Value::Mapping(entries) = &node.value else {
            faults.unexpected(node, "a mapping, such as {enabled: true}");
            return None;
        };
        let mut known = vec!["enabled".to_string(), "interval".to_string(), "timeout".to_string()];
        T::key_paths("", &mut known);
        known.retain(|k| !k.contains('.') && !k.contains('['));
        let mut entry = Entry::default();
        let mut own = Vec::new();
        for (key, value) in entries {
            match key.name.as_str() {
                "enabled" => crate::yaml::read_field(&mut entry.enabled, value, faults),
                "interval" => crate::yaml::read_field(&mut entry.interval, value, faults),
                "timeout" => crate::yaml::read_field(&mut entry.timeout, value, faults),
                name if known.iter().any(|k| k == name) => own.push((key.clone(), value.clone())),
                name => {
                    let known: Vec<&str> = known.iter().map(String::as_str).collect();
                    faults.unknown_key(key.at, name, &known);
                }
            }
        }
        entry.options = T::from_yaml(&Node { at: node.at, value: Value::Mapping(own) }, faults).unwrap_or_default();
        Some(entry)
    }

    fn key_paths(path: &str, paths: &mut Vec<String>) {
        for key in ["enabled", "interval", "timeout"] {
            paths.push(format!("{path}.{key}"));
        }
        T::key_paths(path, paths);
    }
}

/// Declares all collectors: options, how it is made, default, lane, interval in seconds, and what it gives.
macro_rules! collectors {
    ($( $name:ident: $config:path => $type:path, $default:literal, $lane:ident, $seconds:literal, $about:literal; )*) => {
        crate::section! {
            /// `collectors`: one key a collector.
            pub struct CollectorsConfig {
                $( #[doc = $about] pub $name: Entry<$config> = Entry::default(), )*
                #[doc = "Processes and threads by state, with their limits."]
                pub processes: Entry<ProcessesCollectorConfig> = Entry::default(),
            }
        }

        const PROCESSES: CollectorInfo = CollectorInfo {
            name: "processes",
            about: "Processes and threads by state, with their limits; by the pass that `processes` configures.",
            default: true,
            interval: Duration::ZERO,
            lane: LaneKind::Own,
        };

        /// All collectors, in the order in which they run.
        pub const COLLECTORS: &[CollectorInfo] = &[$(
            CollectorInfo {
                name: stringify!($name),
                about: $about,
                default: $default,
                interval: Duration::from_secs($seconds),
                lane: LaneKind::$lane,
            },
        )* PROCESSES];

        impl CollectorsConfig {
            /// The switch of a collector by its name, for the flags.
            pub fn switch(&mut self, name: &str) -> Option<&mut Option<bool>> {
                match name {
                    $( stringify!($name) => Some(&mut self.$name.enabled), )*
                    "processes" => Some(&mut self.processes.enabled),
                    _ => None,
                }
            }

            /// Whether a collector by this name is to run.
            pub fn is_enabled(&self, name: &str) -> bool {
                match name {
                    $( stringify!($name) => self.$name.enabled.unwrap_or($default), )*
                    "processes" => self.processes.enabled.unwrap_or(PROCESSES.default),
                    _ => false,
                }
            }

            /// The collectors that are to run, made and ready; the process pass is one of them.
            pub fn plan(&self, processes: &ProcessesConfig, roots: &Roots) -> Vec<Planned> {
                let portable = self.is_enabled("portable") || !roots.proc("stat").exists();
                let mut planned = Vec::new();
                for info in COLLECTORS {
                    if portable && REPLACED_BY_PORTABLE.contains(&info.name) {
                        continue;
                    }
                    match info.name {
                        $( stringify!($name) if self.is_enabled(info.name) || portable && info.name == "portable" => {
                            let collector = Box::new(<$type>::new(&self.$name.options, roots));
                            planned.push(self.$name.plan(info, collector));
                        } )*
                        "processes" if processes.enabled || self.is_enabled("processes") => {
                            let node = self.is_enabled("processes").then_some(&self.processes.options);
                            let collector = Box::new(Processes::new(processes, node, roots));
                            planned.push(self.processes.plan(info, collector));
                        }
                        _ => {}
                    }
                }
                planned
            }
        }
    };
}

collectors! {
    stat: super::stat::StatConfig => super::stat::Stat, true, Shared, 0,
        "Boot time, forks, context switches, interrupts, running and blocked processes.";
    cpu: super::cpu::CpuConfig => super::cpu::Cpu, true, Shared, 0,
        "CPU time by mode, thermal throttling, CPUs online.";
    loadavg: super::loadavg::LoadavgConfig => super::loadavg::Loadavg, true, Shared, 0,
        "Load averages.";
    meminfo: super::meminfo::MeminfoConfig => super::meminfo::Meminfo, true, Shared, 0,
        "Memory by kind.";
    vmstat: super::vmstat::VmstatConfig => super::vmstat::Vmstat, true, Shared, 0,
        "Paging, swapping, page faults, OOM kills.";
    pressure: super::pressure::PressureConfig => super::pressure::Pressure, true, Shared, 0,
        "Pressure stall information: time lost waiting for CPU, memory and I/O.";
    filefd: super::filefd::FilefdConfig => super::filefd::Filefd, true, Shared, 0,
        "File descriptors allocated, and the limit.";
    diskstats: super::diskstats::DiskstatsConfig => super::diskstats::Diskstats, true, Shared, 0,
        "Disk operations, bytes and times by device.";
    netdev: super::netdev::NetdevConfig => super::netdev::Netdev, true, Shared, 0,
        "Bytes, packets, errors and drops by network interface.";
    netstat: super::netstat::NetstatConfig => super::netstat::Netstat, true, Shared, 0,
        "Protocol statistics: IP, ICMP, TCP, UDP.";
    sockstat: super::sockstat::SockstatConfig => super::sockstat::Sockstat, true, Shared, 0,
        "Sockets in use and their memory.";
    softnet: super::softnet::SoftnetConfig => super::softnet::Softnet, true, Shared, 0,
        "Packets processed and dropped by CPU before the protocols see them.";
    time: super::time::TimeConfig => super::time::Time, true, Shared, 0,
        "System time, time zone, clock sources.";
    uname: super::uname::UnameConfig => super::uname::Uname, true, Shared, 0,
        "Kernel release, machine, host name.";
    os: super::os::OsConfig => super::os::Os, true, Shared, 60,
        "The distribution, from os-release.";
    netclass: super::netclass::NetclassConfig => super::netclass::Netclass, true, Own, 5,
        "Network interfaces' properties from sysfs: state, speed, MTU, carrier changes.";
    textfile: super::textfile::TextfileConfig => super::textfile::Textfile, true, Own, 0,
        "Metrics from *.prom files that other programs write.";
    portable: super::portable::PortableConfig => super::portable::Portable, false, Own, 0,
        "The host by the sysinfo library instead of the kernel's files.";
}
