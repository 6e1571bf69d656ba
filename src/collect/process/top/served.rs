//! What is read of a process because it is served by itself: where it runs, and what it waits for.

use std::time::{Duration, Instant};

use super::cmdline::CommandLines;
use crate::collect::cgroup::Place;
use crate::collect::process::parse;
use crate::collect::process::procfs::ProcFs;
use crate::collect::process::table::{Comm, Process};

/// After this time a process may be in another cgroup.
const LABELS_FOR: Duration = Duration::from_secs(60);

/// How often its waiting is read: a file for each thread.
const DELAYS_FOR: Duration = Duration::from_secs(5);

/// Threads of a process whose waiting is added up at most; of one that has more it is not known.
const MOST_THREADS: u32 = 64;

/// A state that is served once a process has been in it: its family, help, and letters in /proc/PID/stat.
pub(super) type State = (&'static str, &'static str, &'static [u8]);

pub(super) const STATES: [State; 3] = [
    (
        "watchfire_process_uninterruptible",
        "Whether a top process waits in the kernel and cannot be interrupted (state D); absent until it does.",
        b"D",
    ),
    (
        "watchfire_process_stopped",
        "Whether a top process is stopped by a signal or a debugger; absent until it is.",
        b"Tt",
    ),
    ("watchfire_process_zombie", "Whether a top process has ended and is not waited for; absent until it has.", b"Z"),
];

/// A process that is served, or will be.
#[derive(Debug)]
pub(super) struct Served {
    pub pid: u32,
    pub start: u64,
    /// When it got to the top.
    pub since: Instant,
    pub last_in: Instant,
    /// Whether it has been there for long enough.
    pub shown: bool,
    pub labels: Labels,
    labels_read: Option<(Instant, Comm)>,
    pub delays: Delays,
    /// Of [`STATES`], whether it has been in it.
    pub states: [bool; STATES.len()],
    /// 0 to 2000: how likely it is to be chosen when the kernel is out of memory.
    pub oom_score: Option<u64>,
}

/// What does not change as a rule; empty where it is not known.
#[derive(Default, Debug)]
pub(super) struct Labels {
    /// The path of its cgroup.
    pub cgroup: Box<str>,
    pub place: Place,
    /// Where command lines are asked for.
    pub cmdline: Box<str>,
}

/// Shares of time that its threads have been kept waiting, 1 is one thread all of the time.
#[derive(Default, Debug)]
pub(super) struct Delays {
    read: Option<Instant>,
    run_queue_ns: Option<u64>,
    block_io_ticks: Option<u64>,
    /// For a CPU.
    pub run_queue: Option<f64>,
    /// For a disk; of the main thread.
    pub block_io: Option<f64>,
}

impl Served {
    pub fn new(process: &Process, now: Instant, shown: bool) -> Served {
        Served {
            pid: process.pid,
            start: process.start,
            since: now,
            last_in: now,
            shown,
            labels: Labels::default(),
            labels_read: None,
            delays: Delays::default(),
            states: Default::default(),
            oom_score: None,
        }
    }

    /// Reads what is due of it. `delay_accounting`: whether the kernel counts waiting for disks.
    pub fn read(
        &mut self,
        process: &Process,
        procfs: &mut ProcFs,
        command_lines: &CommandLines,
        delay_accounting: bool,
        now: Instant,
    ) {
        let known =
            |(at, comm): (Instant, Comm)| comm == process.comm && now.saturating_duration_since(at) < LABELS_FOR;
        if !self.labels_read.is_some_and(known) {
            self.labels_read = Some((now, process.comm));
            self.labels = read_labels(process, procfs, command_lines);
        }
        for (seen, (_, _, letters)) in self.states.iter_mut().zip(STATES) {
            *seen |= letters.contains(&process.state);
        }
        let due = self.delays.read.is_none_or(|read| now.saturating_duration_since(read) >= DELAYS_FOR);
        if due && !process.kernel_thread {
            self.delays.update(process, procfs, delay_accounting, now);
            let score =
                procfs.read(process.pid, "oom_score").ok().and_then(|text| parse::integer(crate::collect::trim(text)));
            self.oom_score = score.or(self.oom_score);
        }
    }
}

fn read_labels(process: &Process, procfs: &mut ProcFs, command_lines: &CommandLines) -> Labels {
    let mut labels = Labels::default();
    if process.kernel_thread {
        return labels;
    }
    if let Ok(text) = procfs.read(process.pid, "cgroup") {
        let path = String::from_utf8_lossy(parse::cgroup(text));
        labels.place = Place::of(&path);
        labels.cgroup = path.into();
    }
    if let Some(cmdline) = command_lines.read(process.pid, procfs) {
        labels.cmdline = cmdline.into();
    }
    labels
}

impl Delays {
    fn update(&mut self, process: &Process, procfs: &mut ProcFs, delay_accounting: bool, now: Instant) {
        let seconds = self.read.map(|read| now.saturating_duration_since(read).as_secs_f64()).filter(|s| *s > 0.0);
        self.read = Some(now);
        let share = |last: Option<u64>, total: Option<u64>, unit: f64| {
            // Threads that have ended take their waiting with them.
            Some(total?.saturating_sub(last?) as f64 * unit / seconds?)
        };
        let run_queue = run_queue_ns(process, procfs);
        self.run_queue = share(self.run_queue_ns, run_queue, 1e-9);
        self.run_queue_ns = run_queue;
        let block_io = match delay_accounting {
            true => procfs.read(process.pid, "stat").ok().and_then(parse::block_io_ticks),
            false => None,
        };
        self.block_io = share(self.block_io_ticks, block_io, 1.0 / crate::collect::process::pass::CLOCK_TICKS);
        self.block_io_ticks = block_io;
    }
}

/// How long the threads have been able to run and had no CPU.
fn run_queue_ns(process: &Process, procfs: &mut ProcFs) -> Option<u64> {
    if process.threads <= 1 {
        return procfs.read(process.pid, "schedstat").ok().and_then(parse::run_queue_ns);
    }
    if process.threads > MOST_THREADS {
        return None;
    }
    let mut tids = Vec::new();
    procfs.tasks(process.pid, &mut tids).ok()?;
    let mut sum = 0u64;
    for tid in tids {
        // One that has just ended is no reason to know nothing.
        let waited = procfs.read_thread(process.pid, tid, "schedstat").ok().and_then(parse::run_queue_ns);
        sum = sum.saturating_add(waited.unwrap_or(0));
    }
    Some(sum)
}
