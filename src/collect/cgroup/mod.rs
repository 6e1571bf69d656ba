//! `cgroup`: what slices, services, scopes and containers use, from the cgroup trees of versions 1 and 2.
//!
//! | metric | type | v2 file | v1 file |
//! | --- | --- | --- | --- |
//! | `watchfire_cgroup_cpu_{usage,user,system}_seconds_total` | counter | `cpu.stat` | `cpuacct.usage`, `cpuacct.stat` |
//! | `watchfire_cgroup_cpu_periods_total`, `_cpu_throttled_periods_total`, `_cpu_throttled_seconds_total` | counter | `cpu.stat` | `cpu.stat` |
//! | `watchfire_cgroup_memory_usage_bytes` | gauge | `memory.current` | `memory.usage_in_bytes` |
//! | `watchfire_cgroup_memory_limit_bytes` | gauge; absent without a limit | `memory.max` | `memory.limit_in_bytes` |
//! | `watchfire_cgroup_memory_swap_bytes` | gauge | `memory.swap.current` | `memory.stat` |
//! | `watchfire_cgroup_memory_working_set_bytes` | gauge: usage without inactive file pages | `memory.stat` | `memory.stat` |
//! | `watchfire_cgroup_oom_kills_total` | counter | `memory.events` | `memory.oom_control` |
//! | `watchfire_cgroup_io_{read,written}_bytes_total`, `_io_{read,write}_operations_total` | counter, over all devices | `io.stat` | `blkio.throttle.io_{service_bytes,serviced}_recursive` |
//! | `watchfire_cgroup_pids`, `_pids_limit` | gauge; the limit absent without one | `pids.{current,max}` | the same |
//! | `watchfire_cgroup_pressure_{cpu,memory,io}_{waiting,stalled}_seconds_total` | counter | `{cpu,memory,io}.pressure` | `unified` |
//! | `watchfire_cgroups`, `watchfire_cgroups_dropped` | gauge: how many are exported, how many are beyond `max_cgroups` | | |
//!
//! All but the last two are labelled `cgroup` (its path), `slice`, `unit` (service or scope) and `container` (its short
//! id); each of the last three is empty where the cgroup is in none. A cgroup's numbers are with those below it, and the
//! root, which is the host, is left out. What the kernel does not say of a cgroup, because a controller is off for it,
//! is absent. I/O to a device that lies on another (LVM, RAID) is counted for both.
//!
//! **How many.** Up to 23 series a cgroup. Of more than `max_cgroups` the shallowest are exported, by name within a
//! depth: slices before services, services before what they contain; the rest is counted. So with the default of 200
//! there are at most 4,602 series. A host of 500 containers wants `max_cgroups` raised, or `include` to name some. On a
//! host of more than `max_cgroups_unasked`, 50 by default (1,150 series), nothing but their number is exported, unless
//! somebody has switched the collector on by name: nobody is surprised by the series of hundreds of containers.
//!
//! The tree is looked through when the kernel's count of cgroups changes, one that was exported is gone, or a minute has
//! passed; otherwise only the files are read, 256 of which stay open.
//!
//! Configuration: `include`, `exclude`, `max_cgroups`, `max_cgroups_unasked`.

mod names;
mod sources;
mod tree;

use std::time::{Duration, Instant};

pub(in crate::collect) use self::names::Place;

use self::sources::Metric;
use self::tree::{Groups, Hierarchies};
use super::search::Search;
use super::{CollectError, Collector, KernelFile, Roots};
use crate::model::{MetricType, Writer};

crate::section! {
    /// `collectors.cgroup`.
    pub struct CgroupConfig {
        /// The only cgroups exported, by their path (such as `^/system.slice/`), as long as `exclude` leaves them.
        pub include: Option<Search> = None,
        /// Cgroups left out, by their path: by default those of mounts, swaps and sockets, in which nothing runs.
        pub exclude: Search = Search::fixed("\\.(automount|device|mount|swap|socket)$"),
        /// How many are exported at most, the shallowest first; raise it on a host of many containers (23 series each).
        pub max_cgroups: usize = 200,
        /// Beyond so many, nothing but their number is exported unless the collector is switched on by name; raise it to
        /// have the services of a larger host without that.
        pub max_cgroups_unasked: usize = 50,
    }
}

/// After this time the tree is looked through even if nothing seems to have changed.
const RESCAN: Duration = Duration::from_secs(60);
const LABELS: [&str; 4] = ["cgroup", "slice", "unit", "container"];

const FAMILIES: [(Metric, MetricType, &str, &str); 23] = {
    use Metric::*;
    use MetricType::{Counter, Gauge};
    macro_rules! family {
        ($metric:ident, $kind:ident, $name:literal, $help:literal) => {
            ($metric, $kind, concat!("watchfire_cgroup_", $name), $help)
        };
    }
    [
        family!(CpuUsage, Counter, "cpu_usage_seconds_total", "CPU time that the cgroup has used, in seconds."),
        family!(
            CpuUser,
            Counter,
            "cpu_user_seconds_total",
            "CPU time that the cgroup has used in user mode, in seconds."
        ),
        family!(
            CpuSystem,
            Counter,
            "cpu_system_seconds_total",
            "CPU time that the cgroup has used in the kernel, in seconds."
        ),
        family!(CpuPeriods, Counter, "cpu_periods_total", "Periods of the CPU limit in which the cgroup has run."),
        family!(
            CpuThrottledPeriods,
            Counter,
            "cpu_throttled_periods_total",
            "Periods in which the CPU limit has stopped the cgroup."
        ),
        family!(
            CpuThrottled,
            Counter,
            "cpu_throttled_seconds_total",
            "Time for which the CPU limit has stopped the cgroup, in seconds."
        ),
        family!(MemoryUsage, Gauge, "memory_usage_bytes", "Memory of the cgroup, with its page cache."),
        family!(MemoryLimit, Gauge, "memory_limit_bytes", "Memory that the cgroup may have; absent without a limit."),
        family!(MemorySwap, Gauge, "memory_swap_bytes", "Swap space of the cgroup."),
        family!(
            MemoryWorkingSet,
            Gauge,
            "memory_working_set_bytes",
            "Memory of the cgroup without inactive file pages, which the kernel can take back."
        ),
        family!(OomKills, Counter, "oom_kills_total", "Processes of the cgroup that were killed for want of memory."),
        family!(IoReadBytes, Counter, "io_read_bytes_total", "Bytes that the cgroup has read, over all block devices."),
        family!(
            IoWrittenBytes,
            Counter,
            "io_written_bytes_total",
            "Bytes that the cgroup has written, over all block devices."
        ),
        family!(IoReads, Counter, "io_read_operations_total", "Reads of the cgroup, over all block devices."),
        family!(IoWrites, Counter, "io_write_operations_total", "Writes of the cgroup, over all block devices."),
        family!(Pids, Gauge, "pids", "Tasks of the cgroup: processes and threads."),
        family!(PidsLimit, Gauge, "pids_limit", "Tasks that the cgroup may have; absent without a limit."),
        family!(
            CpuWaiting,
            Counter,
            "pressure_cpu_waiting_seconds_total",
            "Time in which a task of the cgroup has waited for a CPU, in seconds."
        ),
        family!(
            CpuStalled,
            Counter,
            "pressure_cpu_stalled_seconds_total",
            "Time in which all tasks of the cgroup have waited for a CPU, in seconds."
        ),
        family!(
            MemoryWaiting,
            Counter,
            "pressure_memory_waiting_seconds_total",
            "Time in which a task of the cgroup has waited for memory, in seconds."
        ),
        family!(
            MemoryStalled,
            Counter,
            "pressure_memory_stalled_seconds_total",
            "Time in which all tasks of the cgroup have waited for memory, in seconds."
        ),
        family!(
            IoWaiting,
            Counter,
            "pressure_io_waiting_seconds_total",
            "Time in which a task of the cgroup has waited for I/O, in seconds."
        ),
        family!(
            IoStalled,
            Counter,
            "pressure_io_stalled_seconds_total",
            "Time in which all tasks of the cgroup have waited for I/O, in seconds."
        ),
    ]
};

/// The `cgroup` collector.
pub struct Cgroup {
    config: CgroupConfig,
    roots: Roots,
    groups: Groups,
    /// Somebody has switched the collector on by name.
    asked_for: bool,
    /// Where they were found, and the count by which changes are noticed.
    found: Option<(Hierarchies, KernelFile)>,
    /// What the count said at the last scan, and when that was; `None`: to be scanned.
    scanned: Option<(Vec<u8>, Instant)>,
}

impl Cgroup {
    pub fn new(config: &CgroupConfig, roots: &Roots) -> Cgroup {
        Cgroup {
            config: config.clone(),
            roots: roots.clone(),
            groups: Groups::default(),
            asked_for: false,
            found: None,
            scanned: None,
        }
    }
}

impl Collector for Cgroup {
    fn asked_for(&mut self) {
        self.asked_for = true;
    }

    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        if self.found.is_none() {
            let hierarchies = Hierarchies::find(&self.roots).ok_or_else(|| {
                CollectError::NoData(format!("{}: no cgroups", self.roots.sys("fs/cgroup").display()))
            })?;
            let counts = KernelFile::new(hierarchies.counts(&self.roots));
            self.found = Some((hierarchies, counts));
        }
        let Some((hierarchies, counts)) = &mut self.found else { return Ok(()) };
        // Without a count, it is looked through each time.
        let count = counts.read().ok();
        let same = match (&self.scanned, count) {
            (Some((before, at)), Some(now)) => **before == *now && at.elapsed() < RESCAN,
            _ => false,
        };
        if !same {
            // The count is older than the scan: what comes in between is seen the next time.
            self.scanned = count.map(|c| (c.to_vec(), Instant::now()));
            let config = &self.config;
            let wants = |path: &str| {
                config.include.as_ref().is_none_or(|i| i.is_match(path.as_bytes()))
                    && !config.exclude.is_match(path.as_bytes())
            };
            self.groups.rescan(hierarchies, config.max_cgroups, wants);
            if !self.asked_for && self.groups.list.len() + self.groups.dropped > config.max_cgroups_unasked {
                self.groups.drop_all();
            }
        }
        let (gone, result) = self.groups.read(hierarchies);
        if gone {
            self.scanned = None;
            // Trees may have been mounted otherwise; looked for again only when nothing is left here.
            if !hierarchies.base.is_dir() {
                self.found = None;
            }
        }
        self.write(out);
        result
    }
}

impl Cgroup {
    fn write(&mut self, out: &mut Writer) {
        for group in &mut self.groups.list {
            let value = |m: Metric| group.values.get(m as usize).copied().flatten();
            // As cAdvisor and the kubelet have it.
            if let (Some(usage), Some(inactive)) = (value(Metric::MemoryUsage), value(Metric::InactiveFile))
                && let Some(slot) = group.values.get_mut(Metric::MemoryWorkingSet as usize)
            {
                *slot = Some((usage - inactive).max(0.0));
            }
        }
        for (metric, kind, name, help) in &FAMILIES {
            let mut family = out.family(*kind, name, help, LABELS);
            for group in &self.groups.list {
                let Some(value) = group.values.get(*metric as usize).copied().flatten() else { continue };
                let place = &group.place;
                let labels = [group.path.as_str(), &place.slice, &place.unit, &place.container];
                family.put(labels.map(str::as_bytes), value);
            }
        }
        out.gauge("watchfire_cgroups", "Cgroups that are exported.", []).put([], self.groups.list.len() as f64);
        out.gauge(
            "watchfire_cgroups_dropped",
            "Cgroups that are not exported because there are more than collectors.cgroup.max_cgroups, or than \
             max_cgroups_unasked where the collector is not switched on by name.",
            [],
        )
        .put([], self.groups.dropped as f64);
    }
}

#[cfg(test)]
mod tests;
