//! What the kernel itself reports of processes: births, programs executed, ends.
//!
//! Two sources, either of which may be missing; `Events::status` says why:
//!
//! - The process connector (`linux/cn_proc.h`) tells of each fork and exec. `connector.rs`
//! - Taskstats (`linux/taskstats.h`, Documentation/accounting/taskstats.rst) tells what each task that ended had used, so
//!   that one that lived between two passes over /proc is not lost. `taskstats.rs`, and `tasks.rs`, which adds up the
//!   threads of a process
//!
//! Both take CAP_NET_ADMIN and the host's own pid, user and network namespace. A thread (`thread.rs`) empties the sockets
//! when something has come, so that nothing overflows and the command line of a process that has just begun can be read
//! (`texts.rs`) before it ends; the pass over /proc empties them too, so that it never looks at an older state than /proc
//! shows. What has ended waits in the ledger (`ledger.rs`) for the pass.

mod connector;
mod ledger;
mod socket;
mod sources;
mod tasks;
mod taskstats;
mod texts;
mod thread;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::table::Comm;
use crate::collect::Roots;
use thread::Thread;

pub(super) use texts::AtExec;

/// One ended process, or several alike that were born and ended since the last list of processes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Exit {
    /// Of the process; of several, one's.
    pub pid: u32,
    /// Who has to wait for it; 0 where too many parents had to be told apart. For one that was born after the list, a
    /// parent that has ended since is replaced by its own.
    pub ppid: u32,
    /// The real user; `None` where too many had to be told apart.
    pub uid: Option<u32>,
    /// Empty where too many had to be told apart.
    pub comm: Comm,
    pub status: ExitStatus,
    pub kernel_thread: bool,
    /// Whether it executed a program, and did not end as a copy of its parent.
    pub executed: bool,
    /// Whether it was certainly born after the last list of processes was read, so that no row can be of it.
    pub unlisted: bool,
    /// How many processes these are.
    pub count: u32,
    /// How long it lived; of several, the longest.
    pub age: Duration,
    /// Of all of them together, each from its birth.
    pub used: Used,
    /// The most memory that it, or one of them, had resident at once.
    pub peak_bytes: u64,
    /// /proc/PID/cmdline as it was at its last exec, or at that of the parent that it was a copy of; `None` where it was
    /// not asked for, or not read in time.
    pub cmdline: Option<Arc<[u8]>>,
    /// /proc/PID/cgroup, likewise.
    pub cgroup: Option<Arc<[u8]>>,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum ExitStatus {
    Success,
    /// Not 0.
    Code(u8),
    Signal {
        number: u8,
        core_dumped: bool,
    },
}

impl ExitStatus {
    /// From the status that wait(2) gives for a process that has ended.
    fn of(wait_status: u32) -> ExitStatus {
        match (wait_status & 0x7f, (wait_status >> 8) as u8) {
            (0, 0) => ExitStatus::Success,
            (0, code) => ExitStatus::Code(code),
            (number, _) => ExitStatus::Signal { number: number as u8, core_dumped: wait_status & 0x80 != 0 },
        }
    }
}

/// What a process used while it lived.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Used {
    /// As the clock's ticks found it running: of a process that lives for less than a tick 0, as a rule.
    pub user_ns: u64,
    pub system_ns: u64,
    /// On a CPU, to the nanosecond, without what came after its last change of state: at most what it really was.
    pub run_ns: u64,
    pub minor_faults: u64,
    pub major_faults: u64,
    /// Context switches, of all threads.
    pub voluntary: u64,
    pub nonvoluntary: u64,
    /// From and to disks.
    pub read_bytes: u64,
    pub write_bytes: u64,
}

impl Used {
    fn add(&mut self, more: &Used) {
        *self = self.each(more, u64::saturating_add);
    }

    /// `f` of each number and its like.
    fn each(&self, other: &Used, f: fn(u64, u64) -> u64) -> Used {
        Used {
            user_ns: f(self.user_ns, other.user_ns),
            system_ns: f(self.system_ns, other.system_ns),
            run_ns: f(self.run_ns, other.run_ns),
            minor_faults: f(self.minor_faults, other.minor_faults),
            major_faults: f(self.major_faults, other.major_faults),
            voluntary: f(self.voluntary, other.voluntary),
            nonvoluntary: f(self.nonvoluntary, other.nonvoluntary),
            read_bytes: f(self.read_bytes, other.read_bytes),
            write_bytes: f(self.write_bytes, other.write_bytes),
        }
    }
}

/// What has ended between two passes.
#[derive(Default, Debug)]
pub(super) struct Batch {
    /// Those that may have a row one by one, in the order in which they ended, after those that were merged.
    pub exits: Vec<Exit>,
    /// Whether reports were lost: what is here is not all, and processes may have executed programs unnoticed.
    pub lost: bool,
}

/// Whether a source works.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Source {
    Up,
    /// Why not, for the log.
    Down(Arc<str>),
}

/// What has been reported since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Totals {
    /// Processes, without threads.
    pub forks: u64,
    pub execs: u64,
    /// Processes.
    pub exits: u64,
    /// Reports that found no room in the socket.
    pub connector_lost: u64,
    pub taskstats_lost: u64,
}

/// How the sources do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Status {
    pub connector: Source,
    pub taskstats: Source,
    pub totals: Totals,
}

/// The reports of the kernel.
pub(super) struct Events {
    thread: Thread,
}

impl Events {
    /// Opens what can be opened, which takes up to a second where the kernel does not answer, and starts the thread.
    pub fn start(at_exec: AtExec, roots: &Roots) -> Events {
        Events { thread: Thread::start(at_exec, roots) }
    }

    /// Begins a pass, before it reads the list of processes: the processes that have executed a program since the last
    /// call, each once. Some have ended since.
    pub fn execs(&mut self, into: &mut Vec<u32>) {
        self.thread.empty();
        self.thread.lock().begin_pass(into);
    }

    /// Ends a pass: what has ended since the last call. What was born after `listed`, the moment at which the list of
    /// processes had been read, can have no row in the table: such are merged from now on, where they are alike.
    pub fn exits(&mut self, listed: Instant, into: &mut Batch) {
        self.thread.empty();
        self.thread.lock().end_pass(listed, into);
    }

    /// Whether ends are reported with what was used.
    pub fn tells_exits(&self) -> bool {
        matches!(self.status().taskstats, Source::Up)
    }

    pub fn status(&self) -> Status {
        self.thread.lock().status()
    }
}

#[cfg(test)]
mod tests;
