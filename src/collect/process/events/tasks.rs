//! From the ends of tasks to the ends of processes: what the threads of a process had used is added up.

use std::time::Duration;

use hashbrown::HashMap;

use super::{Exit, ExitStatus, Used};
use crate::collect::process::table::Comm;

/// Processes that live and have lost threads, of which the sums are kept; more are a sign of reports that were lost.
const MOST: usize = 16_384;

/// A task that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Task {
    pub pid: u32,
    /// The pid of its main thread.
    pub process: u32,
    pub ppid: u32,
    pub uid: u32,
    pub comm: Comm,
    /// Of the main thread alone; of others 0.
    pub wait_status: u32,
    pub kernel_thread: bool,
    /// Of the main thread: not so where it ended as a copy of its parent.
    pub executed: bool,
    /// Whether it was the last of its process.
    pub last: bool,
    /// Of the process.
    pub age: Duration,
    /// Of the process up to then.
    pub peak_bytes: u64,
    pub used: Used,
}

/// What the kernel tells when a task ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Report {
    pub task: Task,
    /// What all tasks of the process have used, with those that ended before we began to listen; only with the last one of
    /// several, and only in those numbers that this kernel adds up.
    pub group: Used,
}

/// What is known of a process by its threads that have ended.
#[derive(Default)]
struct Ended {
    used: Used,
    peak_bytes: u64,
    /// Its main thread, if that is among them.
    main: Option<Task>,
}

/// The processes that have lost threads.
#[derive(Default)]
pub(super) struct Tasks {
    processes: HashMap<u32, Ended>,
}

impl Tasks {
    /// The process that has ended with this task, if it was the last one.
    pub fn ended(&mut self, report: Report) -> Option<Exit> {
        let Report { task, group } = report;
        let is_main = task.pid == task.process;
        if !task.last {
            if self.processes.len() >= MOST
                && !self.processes.contains_key(&task.process)
                && let Some(any) = self.processes.keys().next().copied()
            {
                self.processes.remove(&any);
            }
            let ended = self.processes.entry(task.process).or_default();
            ended.used.add(&task.used);
            ended.peak_bytes = ended.peak_bytes.max(task.peak_bytes);
            if is_main {
                ended.main = Some(task);
            }
            return None;
        }
        // Most processes have one thread: nothing to look up where no other has any.
        let before = if self.processes.is_empty() { None } else { self.processes.remove(&task.process) };
        let before = before.unwrap_or_default();
        let main = if is_main { task } else { before.main.unwrap_or(task) };
        let mut used = task.used;
        used.add(&before.used);
        Some(Exit {
            pid: task.process,
            ppid: task.ppid,
            uid: Some(task.uid),
            comm: main.comm,
            status: ExitStatus::of(main.wait_status),
            kernel_thread: task.kernel_thread,
            executed: main.executed,
            unlisted: false,
            count: 1,
            age: task.age,
            used: used.each(&group, u64::max),
            peak_bytes: task.peak_bytes.max(before.peak_bytes),
            cmdline: None,
            cgroup: None,
        })
    }

    /// Forgets all: reports were lost, and with them perhaps the end of a process whose pid another has by now.
    pub fn clear(&mut self) {
        self.processes = HashMap::new();
    }
}
