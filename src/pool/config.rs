//! The configuration section `pool`.

use std::time::Duration;

use super::task::Lane;
use crate::section;
use crate::yaml::{Faults, Node};

section! {
    check = check;
    /// How tasks are run; every limit that a [`Task`](super::Task) does not set itself comes from here.
    #[derive(Copy, PartialEq, Eq)]
    pub struct PoolConfig {
        /// The number of commands that run at the same time. Raise it when commands mostly wait, for a network for
        /// instance; the default is the number of CPUs.
        pub max_concurrent: usize = std::thread::available_parallelism().map_or(1, usize::from),
        /// The number of calls that run on worker threads at the same time. Raise it when many checks of files,
        /// processes or units hang.
        pub max_threads: usize = 4,
        /// The number of tasks that wait for a network at the same time. Raise it for many slow peers.
        pub max_futures: usize = 64,
        /// The number of tasks of each class that may wait for a free place; past it a task is refused.
        pub queue: usize = 1000,
        /// The time a command may run, counted from its start.
        pub timeout: Duration = Duration::from_secs(30),
        /// The time between SIGTERM and SIGKILL for a command that has to end.
        pub kill_grace: Duration = Duration::from_secs(5),
        /// The number of bytes kept of standard output, and of standard error; the rest is read and thrown away.
        pub output_limit: usize = 64 * 1024,
    }
}

impl PoolConfig {
    /// The number of places of a lane. There is always one.
    pub(super) fn places(&self, lane: Lane) -> usize {
        match lane {
            Lane::Command => self.max_concurrent.max(1),
            Lane::Thread => self.max_threads.max(1),
            Lane::Future => self.max_futures.max(1),
        }
    }
}

/// With nothing of one of these, no task could ever run.
fn check(pool: &mut PoolConfig, node: &Node, faults: &mut Faults) {
    let nothing = [
        ("max_concurrent", pool.max_concurrent == 0),
        ("max_threads", pool.max_threads == 0),
        ("max_futures", pool.max_futures == 0),
        ("timeout", pool.timeout.is_zero()),
    ];
    for (key, _) in nothing.iter().filter(|(_, nothing)| *nothing) {
        let at = node.place(key);
        faults.error(at, format!("{key} is 0: no task could ever run"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Document;

    fn read(text: &str) -> (PoolConfig, String) {
        let mut faults = Faults::default();
        let config = Document::parse("watchfire.yaml", text, &mut faults).read(&mut faults);
        (config, faults.to_string())
    }

    #[test]
    fn every_key_is_read_and_what_is_not_given_has_its_default() {
        let text = "max_concurrent: 3\nmax_threads: 2\nmax_futures: 9\nqueue: 0\ntimeout: 1m\nkill_grace: 0s\n";
        let (config, faults) = read(text);
        assert_eq!(faults, "");
        let (timeout, kill_grace) = (Duration::from_secs(60), Duration::ZERO);
        let expected = PoolConfig {
            max_concurrent: 3,
            max_threads: 2,
            max_futures: 9,
            queue: 0,
            timeout,
            kill_grace,
            output_limit: 65_536,
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn limits_under_which_nothing_could_run_are_refused_where_they_stand() {
        let (_, faults) = read("timeout: 0s\nqueue: 5\nmax_concurrent: 0\n");
        assert!(faults.contains("watchfire.yaml:1:10: timeout is 0: no task could ever run"), "{faults}");
        assert!(faults.contains("watchfire.yaml:3:17: max_concurrent is 0: no task could ever run"), "{faults}");
    }
}
