//! The process pass: all that is known of processes, from one pass over /proc a tick.
//!
//! Reads /proc/PID/{schedstat,stat,status,io,limits,smaps_rollup}, the number of entries of /proc/PID/fd, cmdline and
//! cgroup of new processes where names need them, oom_score, cgroup and the schedstat of threads of the top ones, now
//! and then /proc/PID/task/*/stat, where threads are wanted their {schedstat,stat,status,io,wchan}, and
//! /proc/{stat,meminfo,vmstat}, /proc/sys/kernel/{threads-max,pid_max,task_delayacct}, /etc/passwd; and listens to the
//! process connector and taskstats. How little of /proc an ordinary tick needs stands in `pass.rs`, how the ends of
//! processes are accounted for in `ends.rs` and `accounts.rs`. Gives, in the order of writing:
//!
//! | metrics | labels | switched by |
//! | --- | --- | --- |
//! | `namedprocess_namegroup_*`: process-exporter's families | `groupname` | `processes.enabled`, `processes.smaps` |
//! | `watchfire_process_group_{longest_uninterruptible_seconds,zombie_children}`: once there is something to tell | `groupname` | `processes.enabled` |
//! | `watchfire_process_group_wanted_processes` | `groupname` | `processes.wanted` |
//! | `watchfire_process_exits_total` (and, without `reason`, `watchfire_process_exit_peak_memory_bytes`) | `groupname`, `reason` | `processes.events` |
//! | `watchfire_process_groups`, `watchfire_process_groups_overflow_processes` | | `processes.enabled` |
//! | `watchfire_process_read_errors_total`, `watchfire_process_group_name_errors_total` | `file` | `processes.enabled` |
//! | `watchfire_process_events_{up,lost_total}`, `watchfire_process_events_total` | `source`; `event` | `processes.events` |
//! | `watchfire_processes`: processes by state | `state` | `processes.enabled` |
//! | `node_processes_{threads,pids,max_threads,max_processes}`, `node_processes_state`, `node_processes_threads_state`: node_exporter's `processes` | `state`, `thread_state` | `collectors.processes` |
//! | `namedprocess_namegroup_thread_*`: process-exporter's, of processes with several threads | `groupname`, `threadname` | `processes.threads` |
//! | `namedprocess_namegroup_threads_wchan` | `groupname`, `wchan` | `processes.wchan` |
//! | `watchfire_process_threads_unread` | | either |
//! | `watchfire_process_{cpu_usage_ratio,memory_usage_ratio,resident_memory_bytes,proportional_memory_bytes,io_read_bytes_per_second,io_written_bytes_per_second,open_fds,threads,start_time_seconds,run_queue_delay_ratio,block_io_delay_ratio,oom_score,uninterruptible,stopped,zombie}`: the top processes | `pid`, `comm`, `user`, `groupname`, `cgroup`, `unit`, `container`, `cmdline` | `processes.enabled`, `processes.top`, `processes.command_lines` |
//!
//! Where the values of groups are not process-exporter's: without `processes.threads`, `context_switches_total` is of the
//! main threads and `states` counts processes, both from what is read anyway, where it reads every thread whether it serves
//! them or not. With it, both agree: `context_switches_total` is the sum over all threads (but does not go back when one
//! ends), and `states` counts each process and, of those with several threads, each thread besides, so that the main one
//! counts twice. What cannot be known is left out, where it says 0 (I/O that is closed to the agent) or the year 1 (the
//! oldest start in an empty group); a process that executes another program or changes its name is named anew, where it stays in the group it was first
//! seen in; processes that lived between two readings count; without items, kernel threads, which its usual configuration
//! leaves out, are one group.
//!
//! `collectors.processes` has the keys of [`ProcessesCollectorConfig`], `processes` those of [`ProcessesConfig`].

mod accounts;
mod config;
mod counts;
mod ends;
mod events;
mod exits;
mod families;
mod find;
mod groups;
mod namer;
mod naming;
mod oom;
mod parse;
mod pass;
mod procfs;
mod smaps;
mod table;
mod threads;
mod top;
mod users;

use std::time::Instant;

pub use config::{ProcessesCollectorConfig, ProcessesConfig};
pub use find::{Finder, Process};
pub use naming::{CommandPattern, GroupItem, GroupItems, GroupName};
pub use table::Comm;
pub use top::{TopProcess, TopProcesses};

use counts::{Counts, NodeProcesses};
use ends::Ends;
use events::{Source, Status};
use groups::Groups;
use namer::Namer;
use pass::{Options, Pass, ReadErrors};
use procfs::ProcFs;
use smaps::Smaps;
use threads::Threads;
use top::{CommandLines, Terms, Top};

use super::file::may_keep;
use super::{CollectError, Collector, KernelFile, Roots, Sampling};
use crate::model::Writer;

/// After how many ticks the time of boot (which moves when the clock is set) and the size of memory are read again.
const HOST_TICKS: u32 = 60;

/// The process pass.
pub struct Processes {
    pass: Pass,
    groups: Groups,
    top: Top,
    smaps: Option<Smaps>,
    threads: Option<Threads>,
    /// Where the kernel's reports on processes belong to, as long as nobody listens to them.
    events: Option<Roots>,
    host: Host,
    /// `collectors.processes`.
    node: Option<NodeProcesses>,
    /// `processes.enabled`.
    details: bool,
    /// What this run is for.
    sampling: Sampling,
}

impl Processes {
    /// `node`: the section of `collectors.processes` where that is enabled.
    pub fn new(config: &ProcessesConfig, node: Option<&ProcessesCollectorConfig>, roots: &Roots) -> Processes {
        let options = Options {
            details: config.enabled,
            refresh_ticks: config.refresh_ticks.max(1),
            kept_files: may_keep(config.kept_files, 4),
        };
        let mut groups = Groups::new(config.max_groups);
        config.wanted.iter().for_each(|(name, processes)| groups.want(name, *processes));
        let threads =
            threads::Options { threads: config.threads, wchan: config.wchan, interval: config.threads_interval };
        let terms = Terms { n: config.top, after: config.top_after, grace: config.top_grace };
        Processes {
            pass: Pass::new(roots, options, Ends::new(roots), Namer::new(config, roots)),
            groups,
            events: (config.enabled && config.events).then(|| roots.clone()),
            top: Top::new(terms, CommandLines::new(config.command_lines.then(|| config.redact.regex().clone())), roots),
            smaps: (config.enabled && config.smaps).then(|| Smaps::new(config.smaps_interval)),
            threads: (config.enabled && (config.threads || config.wchan)).then(|| Threads::new(threads)),
            host: Host::new(roots),
            node: node.map(|node| NodeProcesses::new(node, roots)),
            details: config.enabled,
            sampling: Sampling::Tick,
        }
    }

    /// The top processes, of each last tick.
    pub fn top(&self) -> TopProcesses {
        self.top.list()
    }

    /// Processes that are tracked.
    pub fn len(&self) -> usize {
        self.pass.table.rows().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on the heap that grow with the number of processes.
    pub fn heap_size(&self) -> usize {
        self.pass.heap_size() + self.threads.as_ref().map_or(0, Threads::heap_size)
    }
}

impl Collector for Processes {
    fn begin(&mut self, sampling: Sampling) {
        self.sampling = sampling;
    }

    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let now = Instant::now();
        if self.sampling != Sampling::Once
            && let Some(roots) = self.events.take()
            && ProcFs::is_real(&roots)
        {
            self.pass.ends.reports.listen(self.pass.namer.at_exec(), &roots);
        }
        if self.details {
            self.host.update();
            self.pass.namer.set_boot_time(self.host.boot_time.unwrap_or(0));
        }
        self.groups.begin(now);
        self.pass.run(&mut self.groups, self.sampling)?;
        let counts = Counts::of(&self.pass.table);
        if self.details {
            // Whoever starts the agent waits for the first pass.
            let early = self.pass.is_first() && self.sampling != Sampling::Once;
            let Pass { table, procfs, .. } = &mut self.pass;
            if let Some(smaps) = self.smaps.as_mut().filter(|_| !early) {
                smaps.run(table, procfs, now, ends::boot_clock());
            }
            self.groups.begin_count();
            // Not before the time of the pass, since which a process may have been waiting.
            let ms = self.pass.ms(Instant::now());
            for process in self.pass.table.rows().iter().filter(|p| p.is_known()) {
                self.groups.count(process, self.pass.page_size, ms);
                if process.state == b'Z'
                    && let Some(parent) = self.pass.table.get(process.ppid)
                {
                    self.groups.count_zombie_child(parent.group);
                }
            }
            if let Some(threads) = &mut self.threads {
                threads.run(&self.pass.table, &mut self.pass.procfs, &mut self.groups, now);
            }
            self.top.update(&self.pass.table, &mut self.pass.procfs, self.pass.page_size, now);
            // What seldom comes or goes stands first: from the first change on, the layout is made anew.
            let status = self.pass.ends.reports.status();
            let exits = status.as_ref().is_some_and(|status| matches!(status.taskstats, Source::Up));
            self.groups.write(out, self.host.boot_time, exits);
            write_errors(out, &self.pass.errors, self.pass.namer.failures());
            if let Some(status) = status {
                write_events(out, &status);
            }
            counts.write_states(out);
        }
        let written = match &mut self.node {
            Some(node) => node.write(out, &counts, &self.pass.table, &mut self.pass.procfs, now),
            None => Ok(()),
        };
        if self.details {
            if let Some(threads) = &self.threads {
                threads.write(out, &self.groups);
            }
            let host =
                top::Host { memory: self.host.memory, page_size: self.pass.page_size, boot_time: self.host.boot_time };
            self.top.write(out, &self.pass.table, &self.groups, host);
        }
        written
    }
}

/// What the kernel's reports say of themselves.
fn write_events(out: &mut Writer, status: &Status) {
    let help = "Whether the kernel reports on processes: births and programs executed (connector), ends (taskstats).";
    let mut up = out.gauge("watchfire_process_events_up", help, ["source"]);
    for (source, state) in [("connector", &status.connector), ("taskstats", &status.taskstats)] {
        up.put([source.as_bytes()], f64::from(u8::from(matches!(state, Source::Up))));
    }
    let totals = &status.totals;
    let help = "Processes that have been born, have executed a program, have ended.";
    let mut events = out.counter("watchfire_process_events_total", help, ["event"]);
    for (event, count) in [("exec", totals.execs), ("exit", totals.exits), ("fork", totals.forks)] {
        events.put([event.as_bytes()], count as f64);
    }
    let help = "Reports that came faster than they were read: then all processes are read anew.";
    let mut lost = out.counter("watchfire_process_events_lost_total", help, ["source"]);
    for (source, count) in [("connector", totals.connector_lost), ("taskstats", totals.taskstats_lost)] {
        lost.put([source.as_bytes()], count as f64);
    }
}

fn write_errors(out: &mut Writer, errors: &ReadErrors, naming: u64) {
    let name = "watchfire_process_read_errors_total";
    let help = "Reads of a file of a process that failed; one that is not for the agent counts once a process.";
    let mut family = out.counter(name, help, ["file"]);
    for (file, count) in [
        ("fd", errors.fd),
        ("io", errors.io),
        ("limits", errors.limits),
        ("stat", errors.stat),
        ("status", errors.status),
    ] {
        family.put([file.as_bytes()], count as f64);
    }
    if naming > 0 {
        let help = "Processes that are in no group because the template of its name failed on them.";
        out.counter("watchfire_process_group_name_errors_total", help, []).put([], naming as f64);
    }
}

/// Facts of the host that hardly change.
struct Host {
    stat: KernelFile,
    meminfo: KernelFile,
    ticks: u32,
    /// Seconds since 1970.
    boot_time: Option<u64>,
    /// Bytes.
    memory: Option<u64>,
}

impl Host {
    fn new(roots: &Roots) -> Host {
        Host {
            stat: KernelFile::new(roots.proc("stat")),
            meminfo: KernelFile::new(roots.proc("meminfo")),
            ticks: 0,
            boot_time: None,
            memory: None,
        }
    }

    fn update(&mut self) {
        if self.ticks.is_multiple_of(HOST_TICKS) {
            let value = |file: &mut KernelFile, key: &[u8]| parse::value_of(file.read().ok()?, key);
            self.boot_time = value(&mut self.stat, b"btime").or(self.boot_time);
            let kilobytes = value(&mut self.meminfo, b"MemTotal:");
            self.memory = kilobytes.and_then(|kilobytes| kilobytes.checked_mul(1024)).or(self.memory);
        }
        self.ticks = self.ticks.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests;
