//! `perf`: what the CPUs' performance counters count, over all processes, from perf_event_open(2).
//!
//! | metric | type | profilers |
//! | --- | --- | --- |
//! | `node_perf_cpucycles_total`, `_instructions_total`, `_cache_misses_total` and so on | counter | hardware |
//! | `node_perf_page_faults_total`, `_context_switches_total`, `_cpu_migrations_total`, `_minor_faults_total`, `_major_faults_total` | counter | software |
//! | `node_perf_cache_l1d_read_hits_total`, `_cache_ll_read_misses_total` and so on | counter | cache |
//! | `node_perf_SUBSYSTEM_EVENT` | counter | each `tracepoint` |
//!
//! All are labelled `cpu`. They begin at 0 when the agent starts. What the CPU or the virtual machine does not count is
//! absent. A CPU has few counters: where more are wanted, the kernel lets them take turns, and each counts during its own
//! turns only, as with node_exporter; choose the profilers to be exact.
//!
//! Needs CAP_PERFMON (before Linux 5.8 CAP_SYS_ADMIN), or `kernel.perf_event_paranoid` at 0 or below.
//!
//! Configuration: `cpus`, `tracepoint`, `disable_hardware_profilers`, `hardware_profilers`, `disable_software_profilers`,
//! `software_profilers`, `disable_cache_profilers`, `cache_profilers`.

mod events;
mod kernel;
mod options;

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

pub use self::events::{CACHE, HARDWARE, SOFTWARE};
pub use self::options::{Chosen, CpuList, Tracepoint, Tracepoints};

use self::kernel::{Counters, Kernel};
use super::{CollectError, Collector, KernelFile, Roots, cpulist, number, read_small};
use crate::model::Writer;

crate::section! {
    /// `collectors.perf`.
    pub struct PerfConfig {
        /// The CPUs whose counters are read, such as `0-3,8` or `0-63:8`, which is every eighth; all when not said.
        pub cpus: Option<CpuList> = None,
        /// Tracepoints that are counted, as SUBSYSTEM:EVENT, such as `sched:sched_process_exec`; one or a list.
        pub tracepoint: Tracepoints = Tracepoints::default(),
        /// Whether to leave out the hardware profilers, of which virtual machines often have none.
        pub disable_hardware_profilers: bool = false,
        /// The hardware profilers, such as CpuCycles and CpuInstr; all when not said. Few enough for the CPU are exact.
        pub hardware_profilers: Chosen<HARDWARE> = Chosen::default(),
        /// Whether to leave out the software profilers.
        pub disable_software_profilers: bool = false,
        /// The software profilers, such as ContextSwitch; all when not said.
        pub software_profilers: Chosen<SOFTWARE> = Chosen::default(),
        /// Whether to leave out the cache profilers.
        pub disable_cache_profilers: bool = false,
        /// The cache profilers, such as LLReadMiss; all when not said. Few enough for the CPU are exact.
        pub cache_profilers: Chosen<CACHE> = Chosen::default(),
    }
}

/// `PERF_TYPE_TRACEPOINT`.
const TRACEPOINT: u32 = 2;

/// The `perf` collector.
pub struct Perf<K: Counters = Kernel> {
    /// `None` where the tree is not the running kernel's.
    kernel: Option<K>,
    chosen: Option<Vec<u32>>,
    online: KernelFile,
    wanted: Vec<Wanted>,
    cpus: Vec<Cpu<K::Counter>>,
    tracing: [PathBuf; 2],
    paranoid: PathBuf,
}

/// A counter that is to be read on each CPU.
struct Wanted {
    metric: String,
    help: String,
    source: Source,
}

enum Source {
    Event { kind: u32, config: u64 },
    Tracepoint(Tracepoint),
}

/// A CPU and its counters, as they are wanted; `None`: it has not this one.
struct Cpu<C> {
    number: u32,
    label: String,
    counters: Vec<Option<C>>,
    /// Why one of them could not be opened.
    fault: Option<String>,
}

impl Perf {
    pub fn new(config: &PerfConfig, roots: &Roots) -> Perf {
        Perf::with(roots.is_live().then_some(Kernel), config, roots)
    }
}

impl<K: Counters> Perf<K> {
    fn with(kernel: Option<K>, config: &PerfConfig, roots: &Roots) -> Perf<K> {
        let groups = [
            (!config.disable_hardware_profilers, config.hardware_profilers.events()),
            (!config.disable_software_profilers, config.software_profilers.events()),
            (!config.disable_cache_profilers, config.cache_profilers.events()),
        ];
        let events = groups.into_iter().filter(|(enabled, _)| *enabled).flat_map(|(_, events)| events);
        let events = events.map(|event| Wanted {
            metric: format!("node_perf_{}", event.metric),
            help: event.help.to_string(),
            source: Source::Event { kind: event.kind, config: event.config },
        });
        let tracepoints = config.tracepoint.0.iter().map(|point| Wanted {
            metric: format!("node_perf_{}_{}", point.subsystem, point.event),
            help: format!("Perf tracepoint {point}"),
            source: Source::Tracepoint(point.clone()),
        });
        Perf {
            kernel,
            chosen: config.cpus.as_ref().map(|list| list.0.clone()),
            online: KernelFile::new(roots.sys("devices/system/cpu/online")),
            wanted: events.chain(tracepoints).collect(),
            cpus: Vec::new(),
            tracing: ["kernel/tracing/events", "kernel/debug/tracing/events"].map(|path| roots.sys(path)),
            paranoid: roots.proc("sys/kernel/perf_event_paranoid"),
        }
    }

    /// Opens the counters of CPUs that have come, and closes those of CPUs that have gone. An error when not one counter is
    /// open; then all is tried again in the next run.
    fn follow_cpus(&mut self, kernel: &K) -> Result<(), CollectError> {
        let online: Vec<u32> = cpulist::numbers(self.online.read()?).collect();
        let wanted: Vec<u32> = match &self.chosen {
            Some(chosen) => chosen.iter().copied().filter(|cpu| online.contains(cpu)).collect(),
            None => online,
        };
        self.cpus.retain(|cpu| wanted.contains(&cpu.number));
        let (files, limit) = (wanted.len() * self.wanted.len(), getrlimit(Resource::Nofile).current);
        // The other half is for the rest of the agent.
        if let Some(limit) = limit.filter(|limit| files as u64 > limit / 2) {
            return Err(CollectError::Other(format!(
                "{files} counters want an open file each, and the limit for all is {limit}: choose cpus or profilers, or \
                 raise LimitNOFILE"
            )));
        }
        for number in wanted {
            if !self.cpus.iter().any(|cpu| cpu.number == number) {
                let cpu = self.open(kernel, number);
                self.cpus.push(cpu);
            }
        }
        self.cpus.sort_unstable_by_key(|cpu| cpu.number);
        if self.cpus.iter().all(|cpu| cpu.counters.iter().all(Option::is_none)) {
            let fault = self.cpus.drain(..).find_map(|cpu| cpu.fault);
            let nothing = || CollectError::NoData("the CPUs have none of the counters".to_string());
            return Err(fault.map_or_else(nothing, CollectError::Other));
        }
        Ok(())
    }

    fn open(&self, kernel: &K, number: u32) -> Cpu<K::Counter> {
        let mut cpu =
            Cpu { number, label: number.to_string(), counters: Vec::with_capacity(self.wanted.len()), fault: None };
        for wanted in &self.wanted {
            let opened = match &wanted.source {
                Source::Event { kind, config } => match kernel.open(*kind, *config, number) {
                    Err(error) if is_unknown(&error) => Ok(None),
                    opened => opened.map(Some).map_err(|e| self.failure(&wanted.metric, &e)),
                },
                Source::Tracepoint(point) => self.tracepoint_id(point).and_then(|id| {
                    kernel.open(TRACEPOINT, id, number).map(Some).map_err(|e| self.failure(&wanted.metric, &e))
                }),
            };
            cpu.counters.push(opened.unwrap_or_else(|fault| {
                cpu.fault.get_or_insert(fault);
                None
            }));
        }
        cpu
    }

    /// What the kernel calls a tracepoint.
    fn tracepoint_id(&self, point: &Tracepoint) -> Result<u64, String> {
        let mut buffer = Vec::new();
        let mut failed = None;
        for folder in &self.tracing {
            match read_small(&folder.join(&point.subsystem).join(&point.event).join("id"), &mut buffer) {
                Ok(text) => {
                    return number(text).map(|id| id as u64).ok_or_else(|| no_tracepoint(point, "its id is no number"));
                }
                Err(CollectError::NoData(why)) => failed = failed.or(Some(why)),
                Err(error) => failed = failed.or(Some(error.to_string())),
            }
        }
        Err(no_tracepoint(point, &failed.unwrap_or_default()))
    }

    fn failure(&self, metric: &str, error: &io::Error) -> String {
        let mut buffer = Vec::new();
        let advice = match (error.kind(), read_small(&self.paranoid, &mut buffer)) {
            (io::ErrorKind::PermissionDenied, Ok(level)) => format!(
                ": it needs CAP_PERFMON, or kernel.perf_event_paranoid at 0 or below (it is {})",
                String::from_utf8_lossy(level)
            ),
            _ => String::new(),
        };
        format!("{metric}: perf_event_open: {error}{advice}")
    }
}

fn no_tracepoint(point: &Tracepoint, why: &str) -> String {
    format!("no tracepoint {point}, or tracefs is not mounted: {why}")
}

/// Whether the CPU, or its driver, has no such counter.
fn is_unknown(error: &io::Error) -> bool {
    let unknown = [Errno::NOENT, Errno::OPNOTSUPP, Errno::NODEV, Errno::INVAL];
    unknown.iter().any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}

impl<K: Counters> Collector for Perf<K> {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let Some(kernel) = self.kernel.clone() else {
            return Err(CollectError::NoData("the counters of a captured tree are not known".to_string()));
        };
        let followed = self.follow_cpus(&kernel);
        for (i, wanted) in self.wanted.iter().enumerate() {
            let mut family = out.counter(&wanted.metric, &wanted.help, ["cpu"]);
            for cpu in &self.cpus {
                // One that cannot be read has none at the moment: its CPU goes off line.
                let counter = cpu.counters.get(i).and_then(Option::as_ref);
                if let Some(count) = counter.and_then(|counter| kernel.read(counter).ok()) {
                    family.put([cpu.label.as_bytes()], count as f64);
                }
            }
        }
        followed?;
        let fault = self.cpus.iter().find_map(|cpu| cpu.fault.clone());
        fault.map_or(Ok(()), |fault| Err(CollectError::Other(fault)))
    }
}

#[cfg(test)]
mod tests;
