//! The list of collectors, and their part of the configuration.

use std::fmt::Debug;
use std::time::Duration;

use super::process::{Processes, ProcessesCollectorConfig, ProcessesConfig};
use super::{Collector, LaneKind, Planned, Roots};
use crate::yaml::{Faults, FromYaml, KeyInfo, Node, Section, Value};

/// What the portable collector gives under the same names.
const REPLACED_BY_PORTABLE: [&str; 10] =
    ["stat", "cpu", "loadavg", "meminfo", "diskstats", "filesystem", "netdev", "time", "uname", "processes"];

/// A collector of the shared lane that hangs holds up one tick for so long, and no longer, whatever is configured.
const MAX_SHARED_TIMEOUT: Duration = Duration::from_secs(1);

/// What the documentation and the flags say of a collector.
#[derive(Clone, Copy, Debug)]
pub struct CollectorInfo {
    /// Its name in `collectors:`, `--collector.NAME` and the label `collector`.
    pub name: &'static str,
    /// `collector.NAME` and `no-collector.NAME`.
    pub flag: &'static str,
    pub no_flag: &'static str,
    /// What it gives, in a line.
    pub about: &'static str,
    /// Where it has it from.
    pub reads: &'static str,
    /// Its own keys.
    pub options: &'static [KeyInfo],
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
            LaneKind::Slow | LaneKind::Own => Duration::from_secs(10),
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
    /// How long a run may take before it is left out; at most 1s for those that the tick waits for.
    pub timeout: Option<Duration>,
    pub options: T,
}

/// The keys that every collector has.
const COMMON: [&str; 3] = ["enabled", "interval", "timeout"];

impl<T: Debug> Entry<T> {
    fn plan(&self, info: &CollectorInfo, collector: Box<dyn Collector>, made_from: &dyn Debug) -> Planned {
        Planned {
            name: info.name,
            collector,
            made_from: format!("{:?} {made_from:?}", self.options),
            interval: self.interval.unwrap_or(info.interval),
            timeout: match info.lane {
                LaneKind::Shared => self.timeout.unwrap_or_else(|| info.timeout()).min(MAX_SHARED_TIMEOUT),
                LaneKind::Slow | LaneKind::Own => self.timeout.unwrap_or_else(|| info.timeout()),
            },
            lane: info.lane,
            wanted: self.enabled == Some(true) && !info.default,
            top: None,
        }
    }
}

impl<T: Section> FromYaml for Entry<T> {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Value::Mapping(entries) = &node.value else {
            faults.unexpected(node, "a mapping, such as {enabled: true}");
            return None;
        };
        let mut entry = Entry::default();
        let mut own = Vec::new();
        for (key, value) in entries {
            match key.name.as_str() {
                "enabled" => crate::yaml::read_field(&mut entry.enabled, value, faults),
                "interval" => crate::yaml::read_field(&mut entry.interval, value, faults),
                "timeout" => {
                    crate::yaml::read_field(&mut entry.timeout, value, faults);
                    if entry.timeout.is_some_and(|t| t.is_zero()) {
                        faults.error(value.at, "must be longer than 0: no run would be in time");
                    }
                }
                name if T::OPTIONS.iter().any(|o| o.key == name) => own.push((key.clone(), value.clone())),
                name => {
                    let known: Vec<&str> = COMMON.into_iter().chain(T::OPTIONS.iter().map(|o| o.key)).collect();
                    faults.unknown_key(key.at, name, &known);
                }
            }
        }
        entry.options = T::from_yaml(&Node { at: node.at, value: Value::Mapping(own) }, faults).unwrap_or_default();
        Some(entry)
    }

    fn key_paths(path: &str, paths: &mut Vec<String>) {
        for key in COMMON {
            paths.push(format!("{path}.{key}"));
        }
        T::key_paths(path, paths);
    }
}

/// Declares all collectors: options, how it is made, default, lane, interval in seconds, and what it gives.
macro_rules! collectors {
    ($( $name:ident: $config:path => $type:path, $default:literal, $lane:ident, $seconds:literal, $about:literal,
        $reads:literal; )*) => {
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
            flag: "collector.processes",
            no_flag: "no-collector.processes",
            about: "Processes and threads by state, with their limits; by the pass that `processes` configures.",
            reads: "`/proc/PID/stat`, `/proc/sys/kernel/{pid_max,threads-max}`",
            options: <ProcessesCollectorConfig as Section>::OPTIONS,
            default: true,
            interval: Duration::ZERO,
            lane: LaneKind::Own,
        };

        /// All collectors, in the order in which they run.
        pub const COLLECTORS: &[CollectorInfo] = &[$(
            CollectorInfo {
                name: stringify!($name),
                flag: concat!("collector.", stringify!($name)),
                no_flag: concat!("no-collector.", stringify!($name)),
                about: $about,
                reads: $reads,
                options: <$config as Section>::OPTIONS,
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

            /// Reads a value into a collector's own key, for the flags; `false` when there is no such collector or key.
            pub fn read_option(&mut self, name: &str, key: &str, value: &Node, faults: &mut Faults) -> bool {
                match name {
                    $( stringify!($name) => self.$name.options.read_key(key, value, faults), )*
                    "processes" => self.processes.options.read_key(key, value, faults),
                    _ => false,
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
                let kernel_files = roots.proc("stat").exists();
                if !kernel_files {
                    tracing::warn!(path = %roots.procfs.display(), "no kernel files there: is procfs mounted elsewhere?");
                }
                // A tree that was named is the one to read: what sysinfo reads is this machine (in a container, the
                // container), and its numbers must not pass for those of the host.
                let portable = self.is_enabled("portable") || !kernel_files && roots.is_live();
                let config = self.without_doubles();
                let mut planned = Vec::new();
                for info in COLLECTORS {
                    if portable && REPLACED_BY_PORTABLE.contains(&info.name) {
                        continue;
                    }
                    match info.name {
                        $( stringify!($name) if self.is_enabled(info.name) || portable && info.name == "portable" => {
                            let mut collector = Box::new(<$type>::new(&config.$name.options, roots));
                            let asked_for = config.$name.enabled == Some(true);
                            if asked_for {
                                collector.asked_for();
                            }
                            planned.push(config.$name.plan(info, collector, &(asked_for, roots)));
                        } )*
                        "processes" if processes.enabled || self.is_enabled("processes") => {
                            let node = self.is_enabled("processes").then_some(&self.processes.options);
                            let collector = Box::new(Processes::new(processes, node, roots));
                            let top = Some(collector.top());
                            let plan = self.processes.plan(info, collector, &(processes, node, roots));
                            planned.push(Planned { top, ..plan });
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
        "Boot time, forks, context switches, interrupts, running and blocked processes.", "`/proc/stat`";
    cpu: super::cpu::CpuConfig => super::cpu::Cpu, true, Shared, 0,
        "CPU time by mode, thermal throttling, CPUs online.", "`/proc/stat`, `/sys/devices/system/cpu`";
    loadavg: super::loadavg::LoadavgConfig => super::loadavg::Loadavg, true, Shared, 0,
        "Load averages.", "`/proc/loadavg`";
    meminfo: super::meminfo::MeminfoConfig => super::meminfo::Meminfo, true, Shared, 0,
        "Memory by kind.", "`/proc/meminfo`";
    vmstat: super::vmstat::VmstatConfig => super::vmstat::Vmstat, true, Shared, 0,
        "Paging, swapping, page faults, OOM kills.", "`/proc/vmstat`";
    pressure: super::pressure::PressureConfig => super::pressure::Pressure, true, Shared, 0,
        "Pressure stall information: time lost waiting for CPU, memory and I/O.", "`/proc/pressure`";
    filefd: super::filefd::FilefdConfig => super::filefd::Filefd, true, Shared, 0,
        "File descriptors allocated, and the limit.", "`/proc/sys/fs/file-nr`";
    diskstats: super::diskstats::DiskstatsConfig => super::diskstats::Diskstats, true, Shared, 0,
        "Disk operations, bytes and times by device.", "`/proc/diskstats`, `/sys/block`, udev's data";
    netdev: super::netdev::NetdevConfig => super::netdev::Netdev, true, Shared, 0,
        "Bytes, packets, errors and drops by network interface.", "rtnetlink, else `/proc/net/dev`";
    netstat: super::netstat::NetstatConfig => super::netstat::Netstat, true, Shared, 0,
        "Protocol statistics: IP, ICMP, TCP, UDP.", "`/proc/net/{netstat,snmp,snmp6}`";
    sockstat: super::sockstat::SockstatConfig => super::sockstat::Sockstat, true, Shared, 0,
        "Sockets in use and their memory.", "`/proc/net/{sockstat,sockstat6}`";
    softnet: super::softnet::SoftnetConfig => super::softnet::Softnet, true, Shared, 0,
        "Packets processed and dropped by CPU before the protocols see them.", "`/proc/net/softnet_stat`";
    time: super::time::TimeConfig => super::time::Time, true, Shared, 0,
        "System time, time zone, clock sources.", "the clock, `/sys/devices/system/clocksource`";
    timex: super::timex::TimexConfig => super::timex::Timex, true, Shared, 0,
        "How far the clock is off, and whether anything keeps it right.", "adjtimex(2)";
    uname: super::uname::UnameConfig => super::uname::Uname, true, Shared, 0,
        "Kernel release, machine, host name.", "uname(2)";
    os: super::os::OsConfig => super::os::Os, true, Shared, 60,
        "The distribution, from os-release.", "`/etc/os-release`, `/usr/lib/os-release`";
    netclass: super::netclass::NetclassConfig => super::netclass::Netclass, true, Own, 5,
        "Network interfaces' properties from sysfs: state, speed, MTU, carrier changes.", "rtnetlink and `/sys/class/net`";
    filesystem: super::filesystem::FilesystemConfig => super::filesystem::Filesystem, true, Own, 5,
        "Space and inodes by mount point.", "`/proc/1/mountinfo`, statvfs(2)";
    textfile: super::textfile::TextfileConfig => super::textfile::Textfile, true, Own, 0,
        "Metrics from *.prom files that other programs write.", "`*.prom` files";
    bcache: super::bcache::BcacheConfig => super::bcache::Bcache, true, Slow, 5,
        "Caches of block devices (bcache): hits, dirty data, writeback.", "`/sys/fs/bcache`";
    bcachefs: super::bcachefs::BcachefsConfig => super::bcachefs::Bcachefs, true, Slow, 10,
        "bcachefs filesystems: compression, errors, counters, devices.", "`/sys/fs/bcachefs`";
    btrfs: super::btrfs::BtrfsConfig => super::btrfs::Btrfs, true, Slow, 10,
        "btrfs filesystems: allocation, commits, errors of devices.", "`/sys/fs/btrfs`, ioctl(2) on a mount of each";
    dmmultipath: super::dmmultipath::DmmultipathConfig => super::dmmultipath::Dmmultipath, false, Slow, 5,
        "Multipath disks and the state of their paths.", "`/sys/block/dm-*`";
    drbd: super::drbd::DrbdConfig => super::drbd::Drbd, false, Shared, 0,
        "Disks mirrored over the network (DRBD 8).", "`/proc/drbd`";
    mdadm: super::mdadm::MdadmConfig => super::mdadm::Mdadm, true, Slow, 5,
        "Software RAID: state, disks, synchronisation.", "`/proc/mdstat`, `/sys/block/md*/md`";
    nvme: super::nvme::NvmeConfig => super::nvme::Nvme, true, Slow, 10,
        "NVMe controllers and namespaces.", "`/sys/class/nvme`";
    nvmesubsystem: super::nvmesubsystem::NvmesubsystemConfig => super::nvmesubsystem::Nvmesubsystem, false, Slow, 10,
        "Subsystems of NVMe over fabrics, and the state of the paths to them.", "`/sys/class/nvme-subsystem`";
    tapestats: super::tapestats::TapestatsConfig => super::tapestats::Tapestats, true, Slow, 5,
        "SCSI tape drives: operations, bytes and times.", "`/sys/class/scsi_tape`";
    xfs: super::xfs::XfsConfig => super::xfs::Xfs, true, Slow, 5,
        "XFS filesystems: allocation, directories, inodes, calls.", "`/sys/fs/xfs`";
    zfs: super::zfs::ZfsConfig => super::zfs::Zfs, true, Slow, 5,
        "OpenZFS: its caches and logs, pools and datasets.", "`/proc/spl/kstat/zfs`";
    entropy: super::entropy::EntropyConfig => super::entropy::Entropy, true, Shared, 0,
        "Bits of entropy the kernel has, and the size of its pool.", "`/proc/sys/kernel/random`";
    conntrack: super::conntrack::ConntrackConfig => super::conntrack::Conntrack, true, Shared, 0,
        "Connections tracked by netfilter, the limit, and what went wrong.", "`/proc/sys/net/netfilter`, `/proc/net/stat/nf_conntrack`";
    schedstat: super::schedstat::SchedstatConfig => super::schedstat::Schedstat, true, Shared, 0,
        "Time that tasks ran on and waited for each CPU.", "`/proc/schedstat`";
    kernel_hung: super::kernel_hung::KernelHungConfig => super::kernel_hung::KernelHung, true, Shared, 0,
        "Tasks that the kernel found hung.", "`/proc/sys/kernel/hung_task_detect_count`";
    selinux: super::selinux::SelinuxConfig => super::selinux::Selinux, true, Slow, 5,
        "SELinux' mode and its access vector cache.", "`/sys/fs/selinux`, `/etc/selinux/config`";
    buddyinfo: super::buddyinfo::BuddyinfoConfig => super::buddyinfo::Buddyinfo, false, Shared, 0,
        "Free blocks of memory by size: how fragmented it is.", "`/proc/buddyinfo`";
    cgroups: super::cgroups::CgroupsConfig => super::cgroups::Cgroups, false, Shared, 0,
        "Control groups by subsystem (version 1).", "`/proc/cgroups`";
    interrupts: super::interrupts::InterruptsConfig => super::interrupts::Interrupts, false, Shared, 0,
        "Interrupts by CPU, number and device.", "`/proc/interrupts`";
    softirqs: super::softirqs::SoftirqsConfig => super::softirqs::Softirqs, false, Shared, 0,
        "Soft interrupts by CPU and kind.", "`/proc/softirqs`";
    lnstat: super::lnstat::LnstatConfig => super::lnstat::Lnstat, false, Shared, 0,
        "The network stack's caches by CPU: ARP, routes, connection tracking.", "`/proc/net/stat`";
    sysctl: super::sysctl::SysctlConfig => super::sysctl::Sysctl, false, Shared, 0,
        "Kernel settings, as you choose.", "`/proc/sys`";
    swap: super::swap::SwapConfig => super::swap::Swap, false, Shared, 0,
        "Size, use and priority by swap device.", "`/proc/swaps`";
    ksmd: super::ksmd::KsmdConfig => super::ksmd::Ksmd, false, Slow, 5,
        "Memory shared by kernel samepage merging.", "`/sys/kernel/mm/ksm`";
    meminfo_numa: super::meminfo_numa::MeminfoNumaConfig => super::meminfo_numa::MeminfoNuma, false, Slow, 5,
        "Memory by use and NUMA node.", "`/sys/devices/system/node/nodeN/{meminfo,numastat}`";
    slabinfo: super::slabinfo::SlabinfoConfig => super::slabinfo::Slabinfo, false, Slow, 5,
        "The kernel's own objects by slab.", "`/proc/slabinfo`, which only root may read";
    zoneinfo: super::zoneinfo::ZoneinfoConfig => super::zoneinfo::Zoneinfo, false, Slow, 5,
        "Memory zones: pages by use, watermarks, NUMA hits.", "`/proc/zoneinfo`";
    cpufreq: super::cpufreq::CpufreqConfig => super::cpufreq::Cpufreq, true, Slow, 15,
        "CPU frequencies and governors.", "`/sys/devices/system/cpu/cpuN/cpufreq`";
    cpu_vulnerabilities: super::cpu_vulnerabilities::CpuVulnerabilitiesConfig
        => super::cpu_vulnerabilities::CpuVulnerabilities, false, Slow, 60,
        "Known faults of the CPUs, and what the kernel does about them.", "`/sys/devices/system/cpu/vulnerabilities`";
    dmi: super::dmi::DmiConfig => super::dmi::Dmi, true, Slow, 60,
        "Vendor, product, serial numbers and BIOS of the machine.", "`/sys/class/dmi/id`";
    drm: super::drm::DrmConfig => super::drm::Drm, false, Slow, 5,
        "Graphics cards of the amdgpu driver: use and memory.", "`/sys/class/drm`";
    edac: super::edac::EdacConfig => super::edac::Edac, true, Slow, 15,
        "Memory errors, corrected and not.", "`/sys/devices/system/edac/mc`";
    errors: super::errors::ErrorsConfig => super::errors::Errors, true, Slow, 15,
        "What disks, filesystems and CPUs have got wrong.", "`/sys/block`, `/sys/class/nvme`, `/sys/fs/ext4`, `/proc/interrupts`";
    hwmon: super::hwmon::HwmonConfig => super::hwmon::Hwmon, true, Slow, 10,
        "Hardware sensors: temperatures, fans, voltages, currents, power.", "`/sys/class/hwmon`";
    pcidevice: super::pcidevice::PcideviceConfig => super::pcidevice::Pcidevice, false, Slow, 60,
        "PCI devices: what they are, their links, power states and virtual functions.",
        "`/sys/bus/pci/devices`, `pci.ids`";
    perf: super::perf::PerfConfig => super::perf::Perf, false, Slow, 5,
        "The CPUs' performance counters, and tracepoints (needs CAP_PERFMON).", "perf_event_open(2)";
    powersupplyclass: super::powersupplyclass::PowersupplyclassConfig => super::powersupplyclass::Powersupplyclass,
        true, Slow, 15,
        "Batteries, chargers and mains.", "`/sys/class/power_supply`";
    rapl: super::rapl::RaplConfig => super::rapl::Rapl, true, Slow, 5,
        "Energy that packages, cores and memory have used (root only).", "`/sys/class/powercap`";
    thermal_zone: super::thermal_zone::ThermalZoneConfig => super::thermal_zone::ThermalZone, true, Slow, 10,
        "Temperatures of thermal zones, states of cooling devices.", "`/sys/class/thermal`";
    watchdog: super::watchdog::WatchdogConfig => super::watchdog::Watchdog, true, Slow, 30,
        "Watchdog timers and their settings.", "`/sys/class/watchdog`";
    bonding: super::bonding::BondingConfig => super::bonding::Bonding, true, Slow, 5,
        "Devices of each bond, and how many of them carry traffic.", "`/sys/class/net`";
    fibrechannel: super::fibrechannel::FibrechannelConfig => super::fibrechannel::Fibrechannel, true, Slow, 10,
        "Fibre Channel host adapters: state, frames, errors.", "`/sys/class/fc_host`";
    infiniband: super::infiniband::InfinibandConfig => super::infiniband::Infiniband, true, Slow, 10,
        "InfiniBand and RoCE adapters: state, traffic, errors.", "`/sys/class/infiniband`";
    ipvs: super::ipvs::IpvsConfig => super::ipvs::Ipvs, true, Slow, 5,
        "The kernel's load balancer: its connections and backends.", "`/proc/net/{ip_vs,ip_vs_stats}`";
    mountstats: super::mountstats::MountstatsConfig => super::mountstats::Mountstats, false, Own, 5,
        "Each NFS mount's operations, bytes, events and transports.", "`/proc/self/{mountstats,mountinfo}`";
    nfs: super::nfs::NfsConfig => super::nfs::Nfs, true, Shared, 0,
        "The NFS client: RPCs and requests by method.", "`/proc/net/rpc/nfs`";
    nfsd: super::nfsd::NfsdConfig => super::nfsd::Nfsd, true, Shared, 0,
        "The NFS server: threads, bytes, requests by method.", "`/proc/net/rpc/nfsd`";
    udp_queues: super::udp_queues::UdpQueuesConfig => super::udp_queues::UdpQueues, true, Slow, 5,
        "Memory of UDP datagrams that wait to be read or sent.", "`/proc/net/{udp,udp6}`";
    xfrm: super::xfrm::XfrmConfig => super::xfrm::Xfrm, false, Shared, 0,
        "Packets lost in IPsec, by reason.", "`/proc/net/xfrm_stat`";
    arp: super::arp::ArpConfig => super::arp::Arp, true, Slow, 5,
        "IPv4 neighbours of each device.", "rtnetlink, else `/proc/net/arp`";
    network_route: super::network_route::NetworkRouteConfig => super::network_route::NetworkRoute, false, Slow, 10,
        "The routing tables: routes, and how many lead through each device.", "rtnetlink, `/etc/iproute2`";
    qdisc: super::qdisc::QdiscConfig => super::qdisc::Qdisc, false, Slow, 5,
        "The queues through which devices send: bytes, packets, drops, backlog.", "rtnetlink";
    tcpstat: super::tcpstat::TcpstatConfig => super::tcpstat::Tcpstat, false, Slow, 5,
        "TCP connections by state.", "sock_diag(7), else `/proc/net/{tcp,tcp6}`";
    wifi: super::wifi::WifiConfig => super::wifi::Wifi, false, Slow, 10,
        "Wireless devices, their networks and stations.", "generic netlink (nl80211)";
    ethtool: super::ethtool::EthtoolConfig => super::ethtool::EthtoolCollector, false, Own, 10,
        "What the drivers of network devices count and can do.", "ioctl `SIOCETHTOOL`, `/sys/class/net`";
    systemd: super::systemd::SystemdConfig => super::systemd::Systemd, false, Own, 15,
        "The units of systemd and their states.", "D-Bus: `org.freedesktop.systemd1`";
    cgroup: super::cgroup::CgroupConfig => super::cgroup::Cgroup, true, Own, 5,
        "CPU, memory, I/O, tasks and pressure by slice, service, scope and container.", "`/sys/fs/cgroup`";
    portable: super::portable::PortableConfig => super::portable::Portable, false, Own, 0,
        "The host by the sysinfo library instead of the kernel's files.", "the sysinfo library";
}

impl CollectorsConfig {
    /// What two collectors have under one name is left to one of them, as in node_exporter.
    fn without_doubles(&self) -> CollectorsConfig {
        let mut config = self.clone();
        config.cpufreq.options.current &= !(self.is_enabled("cpu") && self.cpu.options.has_info());
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Document;

    #[test]
    fn a_timeout_that_no_run_can_keep_is_refused() {
        let mut faults = Faults::default();
        Document::parse("t.yaml", "cpu: {timeout: 0s, interval: 0s}\n", &mut faults)
            .read::<CollectorsConfig>(&mut faults);
        let said = faults.to_string();
        assert!(said.starts_with("t.yaml:1:16: must be longer than 0") && faults.len() == 1, "{said}");
    }

    #[test]
    fn a_tree_without_kernel_files_is_not_replaced_by_the_numbers_of_this_machine() {
        let empty = tempfile::tempdir().unwrap();
        let roots = Roots { procfs: empty.path().into(), ..Roots::default() };
        let names = |config: CollectorsConfig| -> Vec<&str> {
            config.plan(&ProcessesConfig::default(), &roots).iter().map(|p| p.name).collect()
        };
        let planned = names(CollectorsConfig::default());
        assert!(planned.contains(&"meminfo") && !planned.contains(&"portable"), "{planned:?}");
        let mut asked_for = CollectorsConfig::default();
        asked_for.portable.enabled = Some(true);
        let planned = names(asked_for);
        assert!(!planned.contains(&"meminfo") && planned.contains(&"portable"), "{planned:?}");
    }
    #[test]
    fn current_frequencies_come_from_one_collector() {
        let made_from = |config: &CollectorsConfig| -> String {
            let planned = config.plan(&ProcessesConfig::default(), &Roots::default());
            planned.into_iter().find(|p| p.name == "cpufreq").unwrap().made_from
        };
        let mut config = CollectorsConfig::default();
        assert!(made_from(&config).contains("current: true"));
        config.cpu.options.info = true;
        assert!(made_from(&config).contains("current: false"));
        config.cpu.enabled = Some(false);
        assert!(made_from(&config).contains("current: true"));
    }
}
