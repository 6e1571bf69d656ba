//! What became of a task: every end is a value.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::model::format_duration;

/// The result of a task.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// What the command wrote to standard output.
    pub stdout: Output,
    /// What the command wrote to standard error.
    pub stderr: Output,
    /// What the command used; all zero when it never ran.
    pub usage: Usage,
    /// How long the task waited for a free place.
    pub waited: Duration,
    /// From the start of the command to the end of the last process of its group; zero when it never ran.
    pub ran: Duration,
}

impl Outcome {
    /// Whether the command ran to its end and exited with 0.
    pub fn success(&self) -> bool {
        matches!(self.status, Status::Exited(0))
    }

    /// The outcome of a task that never ran.
    pub(super) fn without_run(status: Status, waited: Duration) -> Outcome {
        Outcome {
            status,
            stdout: Output::default(),
            stderr: Output::default(),
            usage: Usage::default(),
            waited,
            ran: Duration::ZERO,
        }
    }
}

/// How a task ended. `Display` makes it the end of a sentence: "exec:ops" + "exited with code 3".
#[derive(Debug)]
pub enum Status {
    /// The command exited by itself with this code.
    Exited(i32),
    /// A signal that did not come from the pool ended the command: its number.
    Signaled(i32),
    /// The command overran its time and was ended.
    TimedOut {
        /// The time it had.
        limit: Duration,
    },
    /// The task was cancelled, through its handle or because the pool stopped, before or while it ran.
    Cancelled,
    /// The command could not be started.
    NotStarted(StartError),
    /// The command ran, but its exit status could not be had: another part of this process took it.
    Lost(io::Error),
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Exited(code) => write!(f, "exited with code {code}"),
            Status::Signaled(number) => match signal_name(*number) {
                Some(name) => write!(f, "was killed by {name}"),
                None => write!(f, "was killed by signal {number}"),
            },
            Status::TimedOut { limit } => write!(f, "timed out after {}", format_duration(*limit)),
            Status::Cancelled => write!(f, "was cancelled"),
            Status::NotStarted(error) => write!(f, "could not be started: {error}"),
            Status::Lost(error) => write!(f, "ended, but its exit status was lost: {error}"),
        }
    }
}

fn signal_name(number: i32) -> Option<&'static str> {
    const NAMES: [&str; 15] = [
        "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGKILL", "SIGUSR1",
        "SIGSEGV", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM",
    ];
    let index = usize::try_from(number).ok()?.checked_sub(1)?;
    // Signals 1 to 15 have these numbers on most machines, not on all (SIGUSR1 is 16 on MIPS).
    if cfg!(any(target_arch = "mips", target_arch = "mips64", target_arch = "sparc64")) {
        return None;
    }
    NAMES.get(index).copied()
}

/// What a command wrote to one stream.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Output {
    /// The first bytes, as many as the limit allows.
    pub bytes: Vec<u8>,
    /// Whether there were more.
    pub truncated: bool,
}

impl Output {
    /// The bytes as text, for people: what is not UTF-8 becomes U+FFFD.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

/// What a command and the children it waited for used, from `wait4(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    /// CPU time in user mode.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// The largest resident memory of any one process, in bytes. `None` when it stayed below the agent's own: the
    /// kernel counts what a process held before its `execve`, and that was the agent's memory.
    pub max_rss: Option<u64>,
    /// Page faults that had to read from a disk.
    pub major_faults: u64,
}

/// Why a command could not be started.
#[derive(Debug)]
pub struct StartError {
    /// The program, as the task named it.
    pub program: String,
    /// What was being done.
    pub step: StartStep,
    /// Why it failed.
    pub source: io::Error,
}

/// What has to be done to start a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StartStep {
    /// To make sense of the program, its arguments and its environment: no program, or a NUL byte within.
    Arguments,
    /// To create the pipes.
    Pipes,
    /// To get at the thread that starts commands.
    Thread,
    /// To create the process.
    Process,
    /// To prepare the new process: its session, signals, descriptors.
    Prepare,
    /// To enter this working directory.
    Directory(String),
    /// To find the program in this `PATH`.
    Search(String),
    /// To execute the program.
    Execute,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StartError { program, step, source } = self;
        match step {
            StartStep::Arguments => write!(f, "{program:?}: {source}"),
            StartStep::Pipes => write!(f, "{program:?}: cannot create pipes: {source}"),
            StartStep::Thread => write!(f, "{program:?}: cannot start a thread that starts commands: {source}"),
            StartStep::Process => write!(f, "{program:?}: cannot create a process: {source}"),
            StartStep::Prepare => write!(f, "{program:?}: cannot prepare the process: {source}"),
            StartStep::Directory(dir) => write!(f, "{program:?}: cannot enter the directory {dir:?}: {source}"),
            StartStep::Search(path) => write!(f, "{program:?}: not found in PATH={path}: {source}"),
            StartStep::Execute => write!(f, "{program:?}: {source}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_reads_as_the_end_of_a_sentence() {
        let said = |status: Status| status.to_string();
        assert_eq!(said(Status::Exited(3)), "exited with code 3");
        assert_eq!(said(Status::Signaled(11)), "was killed by SIGSEGV");
        assert_eq!(said(Status::Signaled(0)), "was killed by signal 0");
        assert_eq!(said(Status::Signaled(34)), "was killed by signal 34");
        assert_eq!(said(Status::TimedOut { limit: Duration::from_secs(90) }), "timed out after 1m30s");
        let error = StartError {
            program: "page".into(),
            step: StartStep::Search("/bin:/sbin".into()),
            source: io::Error::from_raw_os_error(libc::ENOENT),
        };
        assert_eq!(
            said(Status::NotStarted(error)),
            "could not be started: \"page\": not found in PATH=/bin:/sbin: No such file or directory (os error 2)"
        );
    }
}
