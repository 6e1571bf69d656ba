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

#[cfg(test)]
mod tests {
    use super::*;

    fn task(pid: u32, process: u32) -> Task {
        Task {
            pid,
            process,
            ppid: 1,
            uid: 7,
            comm: Comm::new(if pid == process { b"main" } else { b"worker" }),
            wait_status: if pid == process { 3 << 8 } else { 0 },
            kernel_thread: false,
            executed: true,
            last: false,
            age: Duration::from_secs(u64::from(pid)),
            peak_bytes: 1_000_000 - u64::from(pid),
            used: Used { user_ns: 100, run_ns: 90, read_bytes: 5, ..Used::default() },
        }
    }

    fn report(task: Task) -> Report {
        Report { task, group: Used::default() }
    }

    #[test]
    fn a_process_ends_with_its_last_thread_as_its_main_thread_did() {
        let mut tasks = Tasks::default();
        assert_eq!(tasks.ended(report(task(11, 10))), None);
        assert_eq!(tasks.ended(report(task(10, 10))), None);
        assert_eq!(tasks.ended(report(task(21, 20))), None, "another process");
        let exit = tasks.ended(report(Task { last: true, ..task(12, 10) })).unwrap();
        assert_eq!((exit.pid, exit.comm.as_bytes(), exit.status), (10, &b"main"[..], ExitStatus::Code(3)));
        assert_eq!((exit.used.user_ns, exit.used.run_ns, exit.used.read_bytes), (300, 270, 15));
        assert_eq!((exit.age, exit.peak_bytes), (Duration::from_secs(12), 999_990));
        let alone = tasks.ended(report(Task { last: true, ..task(10, 10) })).unwrap();
        assert_eq!(alone.used.user_ns, 100, "the next with this pid");
    }

    #[test]
    fn threads_that_ended_before_we_listened_are_in_what_the_kernel_adds_up() {
        let group = Used { user_ns: 1000, run_ns: 2000, ..Used::default() };
        let exit = Tasks::default().ended(Report { task: Task { last: true, ..task(10, 10) }, group }).unwrap();
        assert_eq!((exit.used.user_ns, exit.used.run_ns, exit.used.read_bytes), (1000, 2000, 5));
    }

    #[test]
    fn memory_is_bounded_and_what_may_be_another_is_forgotten() {
        let mut tasks = Tasks::default();
        for process in 0..2 * MOST as u32 {
            tasks.ended(report(task(process + 1, process)));
        }
        assert_eq!(tasks.processes.len(), MOST);
        tasks.clear();
        let exit = tasks.ended(report(Task { last: true, ..task(10, 10) })).unwrap();
        assert_eq!(exit.used.user_ns, 100);
    }
}
