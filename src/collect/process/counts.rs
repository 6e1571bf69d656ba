//! How many processes and threads there are: `node_processes_*` as node_exporter's `processes` collector gives them, and
//! `watchfire_processes`.

use std::time::{Duration, Instant};

use super::config::ProcessesCollectorConfig;
use super::parse;
use super::procfs::{ProcFs, Unread};
use super::table::Table;
use crate::collect::{CollectError, KernelFile, Roots};
use crate::model::Writer;

/// Threads of processes with more than one that are read for `node_processes_threads_state`. On a host that has more the
/// family is left out: a part of them would be a wrong number.
const MOST_THREADS: usize = 10_000;

/// By the letter of the state.
type ByState = [u64; 128];

/// The states in which something has been.
type Seen = [bool; 128];

/// Counts of all processes, of one pass.
pub(super) struct Counts {
    processes: u64,
    threads: u64,
    states: ByState,
}

impl Counts {
    pub fn of(table: &Table) -> Counts {
        let mut counts = Counts { processes: 0, threads: 0, states: [0; 128] };
        for p in table.rows().iter().filter(|p| p.is_known()) {
            counts.processes += 1;
            counts.threads += u64::from(p.threads);
            if let Some(state) = counts.states.get_mut(usize::from(p.state)) {
                *state += 1;
            }
        }
        counts
    }

    /// `watchfire_processes`: every state, whether there is a process in it or not.
    pub fn write_states(&self, out: &mut Writer) {
        let mut family = out.gauge("watchfire_processes", "Processes by state.", ["state"]);
        let count = |letters: &[u8]| letters.iter().filter_map(|l| self.states.get(usize::from(*l))).sum::<u64>();
        let mut rest = self.processes;
        for (name, letters) in [
            ("running", &b"R"[..]),
            ("sleeping", b"S"),
            ("uninterruptible", b"D"),
            ("idle", b"I"),
            ("stopped", b"Tt"),
            ("zombie", b"Z"),
        ] {
            rest = rest.saturating_sub(count(letters));
            family.put([name.as_bytes()], count(letters) as f64);
        }
        family.put([b"other"], rest as f64);
    }
}

/// The `processes` collector.
pub(super) struct NodeProcesses {
    threads_max: KernelFile,
    pid_max: KernelFile,
    thread_states: Option<ThreadStates>,
    seen: Seen,
    seen_of_threads: Seen,
}

impl NodeProcesses {
    pub fn new(config: &ProcessesCollectorConfig, roots: &Roots) -> NodeProcesses {
        NodeProcesses {
            threads_max: KernelFile::new(roots.proc("sys/kernel/threads-max")),
            pid_max: KernelFile::new(roots.proc("sys/kernel/pid_max")),
            thread_states: config.thread_states.then(|| ThreadStates::new(config.thread_states_interval)),
            seen: [false; 128],
            seen_of_threads: [false; 128],
        }
    }

    pub fn write(
        &mut self,
        out: &mut Writer,
        counts: &Counts,
        table: &Table,
        procfs: &mut ProcFs,
        now: Instant,
    ) -> Result<(), CollectError> {
        let mut gauge = |name, help, value: f64| {
            out.gauge(name, help, []).put([], value);
        };
        gauge("node_processes_threads", "Allocated threads in system", counts.threads as f64);
        gauge("node_processes_pids", "Number of PIDs", counts.processes as f64);
        let threads_max = limit(&mut self.threads_max).map(|max| {
            gauge("node_processes_max_threads", "Limit of threads in the system", max);
        });
        let pid_max = limit(&mut self.pid_max).map(|max| {
            gauge("node_processes_max_processes", "Number of max PIDs limit", max);
        });
        let name = "node_processes_state";
        write_letters(out, name, "Number of processes in each state.", "state", &counts.states, &mut self.seen);
        if let Some(states) = self.thread_states.as_mut().and_then(|states| states.get(table, procfs, now)) {
            let name = "node_processes_threads_state";
            let help = "Number of threads in each state.";
            write_letters(out, name, help, "thread_state", states, &mut self.seen_of_threads);
        }
        threads_max.and(pid_max)
    }
}

fn limit(file: &mut KernelFile) -> Result<f64, CollectError> {
    let value = crate::collect::number(crate::collect::trim(file.read()?));
    value.ok_or_else(|| CollectError::parse(file.path(), 1, "not a number"))
}

/// A state is served from the first time that something is in it, and then stays, with 0 (node_exporter leaves it out in
/// between): with ticks of a second, `R` and `D` would come and go all the time, and all that knows series with them.
fn write_letters(out: &mut Writer, name: &str, help: &str, label: &str, states: &ByState, seen: &mut Seen) {
    let mut family = out.gauge(name, help, [label]);
    for ((letter, count), seen) in (0u8..).zip(states).zip(seen) {
        *seen |= *count > 0;
        if *seen {
            family.put([&[letter]], *count as f64);
        }
    }
}

/// Threads by state. The only thread of a process is in its process' state, which is known; those of processes with
/// several are read now and then, since one costs as much as a process.
struct ThreadStates {
    interval: Duration,
    /// Of the processes with several threads.
    read: Option<Instant>,
    states: Option<ByState>,
    /// What is served.
    total: ByState,
    tids: Vec<u32>,
}

impl ThreadStates {
    fn new(interval: Duration) -> ThreadStates {
        ThreadStates { interval, read: None, states: None, total: [0; 128], tids: Vec::new() }
    }

    fn get(&mut self, table: &Table, procfs: &mut ProcFs, now: Instant) -> Option<&ByState> {
        if self.read.is_none_or(|read| now.saturating_duration_since(read) >= self.interval) {
            self.read = Some(now);
            self.states = self.read_all(table, procfs);
        }
        self.total = self.states?;
        for p in table.rows().iter().filter(|p| p.is_known() && p.threads == 1) {
            if let Some(state) = self.total.get_mut(usize::from(p.state)) {
                *state += 1;
            }
        }
        Some(&self.total)
    }

    fn read_all(&mut self, table: &Table, procfs: &mut ProcFs) -> Option<ByState> {
        let mut states = [0; 128];
        let mut left = MOST_THREADS;
        // A tree without the folders of threads (a captured one) says nothing about them.
        let single = table.rows().iter().find(|p| p.threads == 1);
        if single.is_some_and(|p| !procfs.has(p.pid, "task")) {
            return None;
        }
        for p in table.rows().iter().filter(|p| p.threads > 1) {
            left = left.checked_sub(p.threads as usize)?;
            if procfs.tasks(p.pid, &mut self.tids).is_err() {
                continue;
            }
            for tid in &self.tids {
                // The main thread's state is the process'.
                let state = match *tid == p.pid {
                    true => Some(p.state),
                    false => thread_state(procfs, p.pid, *tid).ok(),
                };
                if let Some(state) = state.and_then(|state| states.get_mut(usize::from(state))) {
                    *state += 1;
                }
            }
        }
        Some(states)
    }
}

fn thread_state(procfs: &mut ProcFs, pid: u32, tid: u32) -> Result<u8, Unread> {
    let text = procfs.read_thread(pid, tid, "stat")?;
    parse::stat(text).map(|stat| stat.state).ok_or(Unread::Failed)
}
