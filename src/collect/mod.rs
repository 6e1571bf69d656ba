//! Collectors: one file each, what it reads, what it exports, its options and its default together.
//!
//! A collector reads from its [`Roots`] and writes all it has, every time it runs, through a
//! [`Writer`](crate::model::Writer). The [`Sampler`] runs collectors in *lanes*, threads of their own: the
//! ordinary ones in turn on one lane, those that may block each on a lane of its own. One that overruns its deadline is
//! left out, and the rest of its lane goes on, until it comes back.

mod columns;
mod cpulist;
mod devices;
mod error;
mod file;
mod gathered;
mod lane;
mod memo;
mod netlink;
mod parse;
mod roots;
mod rtnetlink;
mod sampler;
mod sysfs;
mod table;
#[cfg(test)]
pub mod testing;
mod usage;
mod window;

pub mod arp;
pub mod bcache;
pub mod bcachefs;
pub mod bonding;
pub mod btrfs;
pub mod buddyinfo;
pub mod cgroup;
pub mod cgroups;
pub mod conntrack;
pub mod cpu;
pub mod cpu_vulnerabilities;
pub mod cpufreq;
pub mod diskstats;
pub mod dmi;
pub mod dmmultipath;
pub mod drbd;
pub mod drm;
pub mod edac;
pub mod entropy;
pub mod errors;
pub mod ethtool;
pub mod fibrechannel;
pub mod filefd;
pub mod filesystem;
pub mod hwmon;
pub mod infiniband;
pub mod interrupts;
pub mod ipvs;
pub mod kernel_hung;
pub mod ksmd;
pub mod lnstat;
pub mod loadavg;
pub mod mdadm;
pub mod meminfo;
pub mod meminfo_numa;
pub mod mountstats;
pub mod netclass;
pub mod netdev;
pub mod netstat;
pub mod network_route;
pub mod nfs;
pub mod nfsd;
pub mod nvme;
pub mod nvmesubsystem;
pub mod os;
pub mod pcidevice;
pub mod perf;
pub mod portable;
pub mod powersupplyclass;
pub mod pressure;
pub mod process;
pub mod qdisc;
pub mod rapl;
pub mod schedstat;
pub mod search;
pub mod selinux;
pub mod slabinfo;
pub mod sockstat;
pub mod softirqs;
pub mod softnet;
pub mod stat;
pub mod swap;
pub mod sysctl;
pub mod systemd;
pub mod tapestats;
pub mod tcpstat;
pub mod textfile;
pub mod thermal_zone;
pub mod time;
pub mod timex;
pub mod udp_queues;
pub mod uname;
pub mod vmstat;
pub mod watchdog;
pub mod wifi;
pub mod xfrm;
pub mod xfs;
pub mod zfs;
pub mod zoneinfo;

pub use error::CollectError;
pub use file::{KernelFile, read_small};
pub use parse::{fields, first_field, lines, number, split_once, trim};
pub use roots::Roots;
pub use sampler::{CollectorStatus, Planned, Sampler};
pub use table::{COLLECTORS, CollectorInfo, CollectorsConfig, Entry};

use crate::model::Writer;

/// Reads a part of the host and writes its samples.
pub trait Collector: Send {
    /// Writes all samples of this moment to `out`, in an order that changes only when the host does.
    ///
    /// What has been written when an error is returned is served all the same.
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError>;

    /// Says that somebody has switched it on by name, before its first run.
    fn asked_for(&mut self) {}

    /// Says before each run what it is for, to a collector that gives rates.
    fn begin(&mut self, _sampling: Sampling) {}
}

/// What a sampling is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sampling {
    /// A tick: the collectors that are due run, and history keeps what they give. Rates count from here.
    Tick,
    /// A request between two ticks that finds the last samples too old: as a tick, but rates still count from the last
    /// tick.
    Request,
    /// The agent does not run: all collectors run, and each is waited for until its deadline.
    Once,
}

/// Which thread a collector runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LaneKind {
    /// In turn with the others: for what reads kernel memory and cannot block.
    Shared,
    /// In turn with the others like it, on a thread that no tick waits for: for what reads many files of sysfs, or asks
    /// hardware that takes its time.
    Slow,
    /// A thread of its own: for what reads disks, mounts or people's files and may hang, or takes long.
    Own,
}
