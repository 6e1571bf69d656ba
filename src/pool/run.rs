//! One run of a command, from the pipes to the outcome.
//!
//! The order at the end matters. The command's exit is awaited but not taken yet: until it is, its number is also the
//! number of its process group and of nothing else. So what is left of the group can be killed safely first, and only
//! then is the command reaped.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, timeout};

use super::capture::{Capture, Source};
use super::child::Child;
use super::group::{self, Rest};
use super::job::Control;
use super::launch::{ChildEnds, Image};
use super::outcome::{Outcome, StartStep, Status, Usage};
use super::remains::{Keeper, Remains};
use super::spawner::Spawners;
use super::task::Command;
use crate::model::Timestamp;

/// How long output may still come from processes that a command left behind (a shell does not wait for the `tee` it
/// writes to), before these are killed.
const LINGER: Duration = Duration::from_millis(100);

/// How long a process may take to vanish after SIGKILL. One that waits in the kernel for a dead disk takes longer; it
/// does not hold up the pool any further.
const DEATH: Duration = Duration::from_secs(2);

/// What a run may take of time and memory.
pub(super) struct Bounds {
    pub(super) timeout: Duration,
    pub(super) kill_grace: Duration,
    pub(super) output: usize,
}

/// What a command gets while it runs.
pub(super) enum Feed<'a> {
    /// This on standard input, which then ends.
    Input(&'a [u8]),
    /// A newline on standard input, at once and again and again.
    Newlines(Duration),
    /// A signal again and again.
    Signals(Duration, Signal),
}

impl Feed<'_> {
    fn needs_stdin(&self) -> bool {
        match self {
            Feed::Input(input) => !input.is_empty(),
            Feed::Newlines(_) => true,
            Feed::Signals(..) => false,
        }
    }
}

/// Who is shown the output as it comes.
pub(super) type Shown<'a> = &'a mut (dyn FnMut(Source, &[u8]) + Send);

/// Runs a command to its end, whatever that is, and says what lives on all the same. `waited` is the time the task spent in
/// the queue.
pub(super) async fn run(
    command: &Command,
    bounds: &Bounds,
    spawners: &Spawners,
    control: &Control,
    waited: Duration,
) -> (Outcome, Option<Remains>) {
    let feed = Feed::Input(&command.stdin);
    let mut shown = |source, bytes: &[u8]| control.tap.tell(source, bytes);
    let (outcome, remains) = run_fed(command, feed, &mut shown, bounds, spawners, control).await;
    (Outcome { waited, ..outcome }, remains)
}

/// Runs a command that is fed so to its end, and shows its output as it comes.
pub(super) async fn run_fed(
    command: &Command,
    feed: Feed<'_>,
    shown: Shown<'_>,
    bounds: &Bounds,
    spawners: &Spawners,
    control: &Control,
) -> (Outcome, Option<Remains>) {
    let (started_at, began) = (Timestamp::now(), Instant::now());
    let prepared = Image::new(command).and_then(|image| match Streams::new(feed.needs_stdin(), bounds.output) {
        Ok(streams) => Ok((image, streams)),
        Err(error) => Err(image.error(StartStep::Pipes, error)),
    });
    let (image, (ends, mut streams)) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return (Outcome::without_run(Status::NotStarted(error), Duration::ZERO), None),
    };
    let mut start = pin!(spawners.start(image, ends));
    let mut stop = pin!(reason_to_stop(bounds.timeout, control));
    let started = tokio::select! {
        biased;
        started = &mut start => started.map(|child| (child, None)).map_err(Status::NotStarted),
        // A start is a matter of a millisecond unless it hangs: it can nearly always be had, and ended in good order.
        reason = &mut stop => match timeout(bounds.kill_grace, &mut start).await {
            Ok(Ok(child)) => Ok((child, Some(reason))),
            Ok(Err(_)) | Err(_) => Err(reason),
        },
    };
    let (status, usage, remains) = match started {
        Ok((child, Some(reason))) => {
            supervise(child, &mut streams, &feed, shown, std::future::ready(reason), bounds.kill_grace).await
        }
        Ok((child, None)) => supervise(child, &mut streams, &feed, shown, stop, bounds.kill_grace).await,
        Err(status) => return (Outcome::without_run(status, Duration::ZERO), None),
    };
    let Streams { stdout, stderr, .. } = streams;
    let outcome = Outcome {
        status,
        stdout: stdout.kept,
        stderr: stderr.kept,
        usage,
        started: Some(started_at),
        waited: Duration::ZERO,
        ran: began.elapsed(),
        tries: 1,
    };
    (outcome, remains)
}

/// Waits until the command has to be ended.
async fn reason_to_stop(limit: Duration, control: &Control) -> Status {
    tokio::select! {
        () = control.cancelled() => Status::Cancelled,
        () = sleep(limit) => Status::TimedOut { limit },
    }
}

/// Takes a running command to its end, or to where it cannot be taken further.
async fn supervise(
    child: Child,
    streams: &mut Streams,
    feed: &Feed<'_>,
    shown: Shown<'_>,
    stop: impl Future<Output = Status>,
    grace: Duration,
) -> (Status, Usage, Option<Remains>) {
    let Streams { stdin, stdout, stderr } = streams;
    // Both are read by this one task, so neither has to wait for the other.
    let shown = Mutex::new(shown);
    let show = |source| {
        let shown = &shown;
        move |bytes: &[u8]| shown.lock().unwrap_or_else(PoisonError::into_inner)(source, bytes)
    };
    // Done when no process holds the other ends any more.
    let mut drain =
        pin!(async { tokio::join!(stdout.drain(show(Source::Stdout)), stderr.drain(show(Source::Stderr))) });
    let mut drained = false;

    let reason = {
        let mut life = pin!(live(&child, stop, grace));
        let mut feed = pin!(give(&child, stdin.take(), feed));
        let mut fed = false;
        loop {
            tokio::select! {
                biased;
                reason = &mut life => break reason,
                _ = &mut drain, if !drained => drained = true,
                () = &mut feed, if !fed => fed = true,
            }
        }
    };
    let leader = child.pid();
    let reason = match reason {
        Ok(None) => None,
        Ok(Some((status, left))) => {
            // Who shares the fate of a command that is being ended shares its grace period, too.
            let mut others = pin!(group::members_ended(leader, left));
            loop {
                tokio::select! {
                    biased;
                    () = &mut others => break,
                    _ = &mut drain, if !drained => drained = true,
                }
            }
            Some(status)
        }
        Err(error) => return (Status::Lost(error.into()), Usage::default(), None),
    };
    if !drained {
        drained = timeout(LINGER, &mut drain).await.is_ok();
    }
    child.kill_all();
    let (keeper, patience) =
        if group::is_out_of_reach(leader) { (Keeper::OtherUser, LINGER) } else { (Keeper::Kernel, DEATH) };
    if timeout(patience, child.exited()).await.is_err() {
        let remains = Remains { leader, child: Some(child), keeper };
        return (reason.unwrap_or(Status::Cancelled), Usage::default(), Some(remains));
    }
    if !drained {
        // What the killed ones had written. A process that left the group may hold the pipe for ever.
        let _given_up = timeout(LINGER, &mut drain).await;
    }
    let (status, usage) = child.reap();
    let remains = match group::gone(leader, LINGER).await {
        Rest::Killed => None,
        Rest::OtherUsers => Some(Remains { leader, child: None, keeper: Keeper::OtherUser }),
    };
    (reason.unwrap_or(status), usage, remains)
}

/// Waits for the end of the command, and brings it about when there is a reason to: that reason and what is left of the
/// grace period, or `None` when the command ended by itself.
async fn live(
    child: &Child,
    stop: impl Future<Output = Status>,
    grace: Duration,
) -> io::Result<Option<(Status, Duration)>> {
    let reason = tokio::select! {
        biased;
        ended = child.exited() => return ended.map(|()| None),
        reason = stop => reason,
    };
    let began = Instant::now();
    child.signal_group(Signal::TERM);
    if let Ok(ended) = timeout(grace, child.exited()).await {
        ended?;
    }
    Ok(Some((reason, grace.saturating_sub(began.elapsed()))))
}

/// Gives the command what it is fed. That it does not read it is its own affair.
async fn give(child: &Child, stdin: Option<pipe::Sender>, feed: &Feed<'_>) {
    match (feed, stdin) {
        (Feed::Input(input), Some(mut stdin)) => {
            let _unread = stdin.write_all(input).await;
        }
        (Feed::Newlines(interval), Some(mut stdin)) => {
            // The first waits in the pipe until the command reads it. A signal before it is prepared for one would end it.
            let mut ticks = ticks(Instant::now(), *interval);
            loop {
                ticks.tick().await;
                if stdin.write_all(b"\n").await.is_err() {
                    return;
                }
            }
        }
        (Feed::Signals(interval, signal), _) => {
            let mut ticks = ticks(Instant::now() + *interval, *interval);
            loop {
                ticks.tick().await;
                child.signal(*signal);
            }
        }
        (Feed::Input(_) | Feed::Newlines(_), None) => {}
    }
}

/// Those that were missed do not come in a burst.
fn ticks(first: Instant, interval: Duration) -> Interval {
    let mut ticks = interval_at(first, interval.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The agent's ends of the pipes.
struct Streams {
    stdin: Option<pipe::Sender>,
    stdout: Capture,
    stderr: Capture,
}

impl Streams {
    fn new(has_input: bool, output_limit: usize) -> io::Result<(ChildEnds, Streams)> {
        let (stdin_child, stdin) = if has_input {
            let (child, stdin) = pipe_with(PipeFlags::CLOEXEC)?;
            // Only this end becomes non-blocking: the command's end is another open file description.
            (child, Some(pipe::Sender::from_owned_fd(stdin)?))
        } else {
            (nothing_to_read()?, None)
        };
        let (stdout, stdout_child) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, stderr_child) = pipe_with(PipeFlags::CLOEXEC)?;
        let ends = ChildEnds {
            stdin: above_standard(stdin_child)?,
            stdout: above_standard(stdout_child)?,
            stderr: above_standard(stderr_child)?,
        };
        let streams =
            Streams { stdin, stdout: Capture::new(stdout, output_limit)?, stderr: Capture::new(stderr, output_limit)? };
        Ok((ends, streams))
    }
}

/// What a command reads that is given nothing: cheaper than a pipe that ends at once.
fn nothing_to_read() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The descriptor itself, or a copy above the three standard ones, which may be free in a badly started agent.
fn above_standard(fd: OwnedFd) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    if fd.as_raw_fd() > 2 { Ok(fd) } else { Ok(fcntl_dupfd_cloexec(&fd, 3)?) }
}
