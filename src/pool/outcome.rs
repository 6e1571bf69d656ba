//! What became of a task: every end is a value.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::supervisor::SubmitError;
use super::task::Answer;
use crate::model::{Timestamp, format_duration, signal_name};

/// The result of a task; of its last try where it was tried again.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// What the command wrote to standard output, or what the call or future answered.
    pub stdout: Output,
    /// What the command wrote to standard error.
    pub stderr: Output,
    /// What the command used; all zero when it never ran, and for calls and futures.
    pub usage: Usage,
    /// When it was started; `None` when it never ran.
    pub started: Option<Timestamp>,
    /// How long the task waited for a free place.
    pub waited: Duration,
    /// From the start of the command to the end of the last process of its group, and of a call or future to its
    /// answer; zero when it never ran.
    pub ran: Duration,
    /// How often it ran.
    pub tries: u32,
}

impl Outcome {
    /// Whether the command ran to its end and exited with 0, or the call or future answered.
    pub fn success(&self) -> bool {
        matches!(self.status, Status::Exited(0) | Status::Succeeded)
    }

    /// The outcome of a task that never ran.
    pub(super) fn without_run(status: Status, waited: Duration) -> Outcome {
        Outcome {
            status,
            stdout: Output::default(),
            stderr: Output::default(),
            usage: Usage::default(),
            started: None,
            waited,
            ran: Duration::ZERO,
            tries: 0,
        }
    }

    /// The outcome of a call or future that came to an end, or was brought to it.
    pub(super) fn of_answer(
        answer: Result<Answer, Status>,
        started: Timestamp,
        waited: Duration,
        ran: Duration,
    ) -> Outcome {
        let (status, bytes) = match answer {
            Ok(Ok(bytes)) => (Status::Succeeded, bytes),
            Ok(Err(mut text)) => {
                cut(&mut text);
                (Status::Failed(text), Vec::new())
            }
            Err(status) => (status, Vec::new()),
        };
        let stdout = Output { bytes, truncated: false };
        Outcome { stdout, started: Some(started), ran, ..Outcome::without_run(status, waited) }
    }
}

/// The longest text of an error that is kept.
const MAX_TEXT: usize = 4096;

fn cut(text: &mut String) {
    if text.len() > MAX_TEXT {
        text.truncate((0..=MAX_TEXT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0));
    }
}

/// How a task ended. `Display` makes it the end of a sentence: "exec:ops" + "exited with code 3".
#[derive(Clone, Debug)]
pub enum Status {
    /// The command exited by itself with this code.
    Exited(i32),
    /// The call or future has answered.
    Succeeded,
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
    Lost(Arc<io::Error>),
    /// The call or future says that it failed, and why.
    Failed(String),
    /// The call or future panicked, with this message: a bug in it.
    Panicked(String),
    /// Nobody wanted the result any more when it could have begun.
    Late {
        /// The time after which that was so, counted from the submission.
        deadline: Duration,
    },
    /// The task needed another to succeed, which did not.
    Skipped {
        /// The other's id.
        after: String,
    },
    /// The pool did not take the task, which was to be run on schedule or as one of many.
    Refused(SubmitError),
}

impl Status {
    /// Whether the task did, or tried to do, what it should, and that did not go well: not whether it was called off.
    pub fn is_failure(&self) -> bool {
        match self {
            Status::Exited(code) => *code != 0,
            Status::Signaled(_)
            | Status::TimedOut { .. }
            | Status::NotStarted(_)
            | Status::Lost(_)
            | Status::Failed(_)
            | Status::Panicked(_) => true,
            Status::Succeeded
            | Status::Cancelled
            | Status::Late { .. }
            | Status::Skipped { .. }
            | Status::Refused(_) => false,
        }
    }

    /// The exit code, where there is one.
    pub fn code(&self) -> Option<i32> {
        match self {
            Status::Exited(code) => Some(*code),
            _ => None,
        }
    }

    /// The status in one word, for labels and interfaces.
    pub fn as_str(&self) -> &'static str {
        match self {
            Status::Exited(_) => "exited",
            Status::Succeeded => "succeeded",
            Status::Signaled(_) => "signaled",
            Status::TimedOut { .. } => "timed_out",
            Status::Cancelled => "cancelled",
            Status::NotStarted(_) => "not_started",
            Status::Lost(_) => "lost",
            Status::Failed(_) => "failed",
            Status::Panicked(_) => "panicked",
            Status::Late { .. } => "late",
            Status::Skipped { .. } => "skipped",
            Status::Refused(_) => "refused",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Exited(code) => write!(f, "exited with code {code}"),
            Status::Succeeded => write!(f, "succeeded"),
            Status::Signaled(libc::SIGXCPU) => write!(f, "was killed by SIGXCPU: it had used up its CPU time"),
            Status::Signaled(number) => match signal_name(*number) {
                Some(name) => write!(f, "was killed by {name}"),
                None => write!(f, "was killed by signal {number}"),
            },
            Status::TimedOut { limit } => write!(f, "timed out after {}", format_duration(*limit)),
            Status::Cancelled => write!(f, "was cancelled"),
            Status::NotStarted(error) => write!(f, "could not be started: {error}"),
            Status::Lost(error) => write!(f, "ended, but its exit status was lost: {error}"),
            Status::Failed(text) => write!(f, "failed: {text}"),
            Status::Panicked(text) => write!(f, "panicked: {text}"),
            Status::Late { deadline } => write!(f, "had not begun after {}", format_duration(*deadline)),
            Status::Skipped { after } => write!(f, "was skipped: {after:?}, which it needs, did not succeed"),
            Status::Refused(error) => write!(f, "was not run: {error}"),
        }
    }
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
    /// The largest resident memory of any one process, in bytes. `None` when it stayed below the agent's own peak: the
    /// kernel counts what a process held before its `execve`, and that was the agent's memory. So it is with small
    /// commands; a limit of memory is put on them all the same.
    pub max_rss: Option<u64>,
    /// Page faults that had to read from a disk.
    pub major_faults: u64,
    /// Page faults that had not.
    pub minor_faults: u64,
}

/// Why a task could not be started.
#[derive(Clone, Debug)]
pub struct StartError {
    /// The program, or the name of the call.
    pub program: String,
    /// What was being done.
    pub step: StartStep,
    /// Why it failed.
    pub source: Arc<io::Error>,
}

/// What has to be done to start a task.
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
    /// To put this one of the task's limits in force.
    Limit(&'static str),
    /// To execute the program.
    Execute,
    /// To get a worker thread for a call.
    Worker,
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
            StartStep::Search(path) => write!(f, "{program:?}: not found in PATH={path}"),
            StartStep::Limit(limit) => write!(f, "{program:?}: cannot limit it ({limit}): {source}"),
            StartStep::Execute => write!(f, "{program:?}: {source}"),
            StartStep::Worker => write!(f, "{program:?}: no thread for it: {source}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
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
            source: io::Error::from_raw_os_error(libc::ENOENT).into(),
        };
        assert_eq!(said(Status::NotStarted(error)), "could not be started: \"page\": not found in PATH=/bin:/sbin");
    }
}
