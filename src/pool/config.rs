//! The configuration section `pool`.

use std::time::Duration;

/// How commands are run; every limit that a [`Task`](super::Task) does not set itself comes from here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolConfig {
    /// The number of commands that run at the same time, at least 1. Raise it when commands mostly wait, for a network
    /// for instance.
    pub max_concurrent: usize,
    /// The number of tasks of each class that may wait for a free place; past it a submission is refused.
    pub queue: usize,
    /// The time a command may run, counted from its start.
    pub timeout: Duration,
    /// The time between SIGTERM and SIGKILL for a command that has to end.
    pub kill_grace: Duration,
    /// The number of bytes kept of standard output, and of standard error; the rest is read and thrown away.
    pub output_limit: usize,
}

impl Default for PoolConfig {
    fn default() -> Self {
        PoolConfig {
            max_concurrent: std::thread::available_parallelism().map_or(1, usize::from),
            queue: 1000,
            timeout: Duration::from_secs(30),
            kill_grace: Duration::from_secs(5),
            output_limit: 64 * 1024,
        }
    }
}
