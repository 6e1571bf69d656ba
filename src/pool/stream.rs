//! Commands that stay and say something again and again.
//!
//! A stream takes no place of the pool's: it is there for as long as the agent. It is started again when it ends, sooner
//! at first, ever later when it goes on ending, and stands among the latest results like every other task, each time it
//! ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, timeout};

use super::backoff::Backoff;
use super::capture::Source;
use super::frames::{Frame, Framer, Framing};
use super::handle::Handle;
use super::job::{Control, Ticket};
use super::latest::shown;
use super::outcome::{Outcome, Output, Status};
use super::remains::Remains;
use super::run::{Bounds, Feed, run_fed};
use super::shared::{Aftermath, Shared, State, call_out};
use super::supervisor::{Pool, SubmitError};
use super::task::{Class, Command, Lane, Task, Work};
use crate::model::Timestamp;

/// A stream that has lasted so long is well, and what was before is forgotten.
const WELL: Duration = Duration::from_secs(60);

/// Pauses between a stream's end and its next start.
const PAUSES: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(5 * 60) };

/// How a stream is asked to say something, where it has to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tick {
    /// It speaks by itself.
    None,
    /// An empty line on its standard input, so often.
    Newline(Duration),
    /// SIGHUP, so often.
    Hup(Duration),
    /// SIGUSR1, so often.
    Usr1(Duration),
    /// SIGUSR2, so often.
    Usr2(Duration),
}

type OnFrame = Box<dyn FnMut(Frame<'_>) + Send>;
type OnEnd = Box<dyn FnMut(&Arc<Outcome>) + Send>;

/// A command that stays, and what becomes of what it says.
pub struct Stream {
    task: Task,
    framing: Framing,
    tick: Tick,
    pauses: Backoff,
    on_frame: OnFrame,
    on_end: OnEnd,
}

impl Stream {
    /// Runs the command of a task, and gives each line or block of its standard output to `on_frame`, which must not
    /// block. Of the task's other settings those count that shape a command, its id and its output limit, which is the most
    /// that is kept of a line or block, and of the last that it writes to standard error.
    pub fn new(task: Task, framing: Framing, on_frame: impl FnMut(Frame<'_>) + Send + 'static) -> Stream {
        Stream {
            task,
            framing,
            tick: Tick::None,
            pauses: PAUSES,
            on_frame: Box::new(on_frame),
            on_end: Box::new(|_| {}),
        }
    }

    /// Asks the command to say something.
    pub fn tick(mut self, tick: Tick) -> Stream {
        self.tick = tick;
        self
    }

    /// The pauses before it is started again; by default from a second to five minutes.
    pub fn pauses(mut self, pauses: Backoff) -> Stream {
        self.pauses = pauses;
        self
    }

    /// Is called each time the command has ended.
    pub fn on_end(mut self, callback: impl FnMut(&Arc<Outcome>) + Send + 'static) -> Stream {
        self.on_end = Box::new(callback);
        self
    }
}

/// A stream in the pool's books.
pub(super) struct Streaming {
    pub(super) ticket: Ticket,
    pub(super) name: Arc<str>,
    pub(super) id: Option<Arc<str>>,
    pub(super) control: Arc<Control>,
    pub(super) since: Timestamp,
    pub(super) starts: u64,
    /// Whether it has ended and waits for its next start.
    pub(super) pauses: bool,
}

impl Pool {
    /// Starts a stream, which runs until it is cancelled through its handle or the pool is shut down. Its outcome is then
    /// that of its last run; those before are among the latest results if it has an id. Tasks that wait for the handle wait
    /// for that last end; what is on [`Schedule::After`](super::Schedule::After) its id runs each time it ends.
    ///
    /// # Errors
    /// When the task is no command, or the pool is stopping.
    pub fn stream(&self, stream: Stream) -> Result<Handle, SubmitError> {
        let Work::Command(command) = &stream.task.work else { return Err(SubmitError::NoCommand) };
        let command = Arc::clone(command);
        let mut state = self.shared.state();
        if state.closed {
            return Err(SubmitError::ShuttingDown);
        }
        let ticket = Ticket { number: state.number(), lane: Lane::Command, class: Class::Check, priority: 0 };
        let control = Arc::new(Control::new());
        let (name, id) = (Arc::clone(&stream.task.name), stream.task.id.clone());
        let streaming = Streaming {
            ticket,
            name,
            id: id.clone(),
            control: Arc::clone(&control),
            since: Timestamp::now(),
            starts: 0,
            pauses: false,
        };
        let bounds = Bounds {
            timeout: Duration::MAX,
            kill_grace: stream.task.kill_grace.unwrap_or(state.config.kill_grace),
            output: stream.task.output_limit.unwrap_or(state.config.output_limit),
        };
        state.streams.insert(ticket.number, streaming);
        self.shared.count_streams(&state);
        drop(state);
        let kept = Kept { shared: Arc::clone(&self.shared), number: ticket.number, control: Arc::clone(&control) };
        self.shared.runtime.spawn(keep(kept, command, stream, bounds));
        Ok(Handle { pool: self.clone(), ticket, id, control })
    }
}

/// A stream's entry in the books, which goes when the stream does.
struct Kept {
    shared: Arc<Shared>,
    number: u64,
    control: Arc<Control>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.streams.remove(&self.number);
        self.shared.count_streams(&state);
        drop(state);
        // Unless it has one: the runtime has been shut down.
        self.control.publish(Arc::new(Outcome::without_run(Status::Cancelled, Duration::ZERO)));
        self.shared.freed.notify_waiters();
    }
}

impl Kept {
    /// `false` when the stream was cancelled first; the wait goes on by itself then.
    async fn wait_for(&self, end: impl Future<Output = ()> + Send + 'static) -> bool {
        let end = self.shared.runtime.spawn(end);
        tokio::select! {
            _ended = end => true,
            () = self.control.cancelled() => false,
        }
    }

    fn starts(&self) {
        let mut state = self.shared.state();
        if let Some(streaming) = state.streams.get_mut(&self.number) {
            streaming.starts += 1;
            streaming.pauses = false;
        }
        self.shared.count_streams(&state);
    }

    /// It has ended, and is started again unless this was `last`: those that run after it run, and those that wait for its
    /// last end are told of that.
    fn ended(&self, id: Option<&Arc<str>>, last: Option<Arc<Outcome>>) {
        let mut after = Aftermath::default();
        let mut state = self.shared.state();
        if let Some(streaming) = state.streams.get_mut(&self.number) {
            streaming.pauses = true;
        }
        self.shared.count_streams(&state);
        if let Some(id) = id {
            after.runs.extend(state.schedules.followers(id));
        }
        if let Some(outcome) = last {
            self.control.publish(outcome);
            state.release(self.number, &mut after);
            self.shared.fill(&mut state, &mut after);
        }
        drop(state);
        self.shared.settle(after);
    }
}

impl Shared {
    fn count_streams(&self, state: &State) {
        let pause = state.streams.values().filter(|stream| stream.pauses).count();
        self.metrics.set_streams(state.streams.len() - pause, pause);
    }
}

/// Runs a stream again and again.
async fn keep(kept: Kept, command: Arc<Command>, mut stream: Stream, bounds: Bounds) {
    let mut failures = 0;
    loop {
        kept.starts();
        let began = Instant::now();
        let (outcome, remains) = run(&kept, &command, &mut stream, &bounds).await;
        let outcome = Arc::new(outcome);
        let Task { id, name, work, .. } = &stream.task;
        kept.shared.metrics.used(Class::Check, &outcome.usage);
        if let Some(id) = id {
            kept.shared.results.record(id, name, shown(&outcome, work.secrets()), None, || true);
        }
        call_out(name, "after it", || (stream.on_end)(&outcome));
        let end = remains.map(|remains| kept.shared.keep_books(name, id.as_ref(), Class::Check, remains));
        if kept.control.is_cancelled() {
            end.into_iter().for_each(|end| drop(kept.shared.runtime.spawn(end)));
            return kept.ended(id.as_ref(), Some(outcome));
        }
        kept.ended(id.as_ref(), None);
        if let Some(end) = end
            && !kept.wait_for(end).await
        {
            return kept.ended(None, Some(outcome));
        }
        failures = if began.elapsed() >= WELL { 1 } else { failures + 1 };
        let pause = stream.pauses.pause(failures);
        tracing::warn!(stream = &*stream.task.name, ?pause, "{}; it is started again", outcome.status);
        if timeout(pause, kept.control.cancelled()).await.is_ok() {
            return kept.ended(None, Some(outcome));
        }
        kept.shared.metrics.stream_restarted();
    }
}

/// Runs a stream once.
async fn run(kept: &Kept, command: &Command, stream: &mut Stream, bounds: &Bounds) -> (Outcome, Option<Remains>) {
    let Stream { framing, tick, on_frame, task, .. } = stream;
    let feed = match *tick {
        Tick::None => Feed::Input(&command.stdin),
        Tick::Newline(interval) => Feed::Newlines(interval),
        Tick::Hup(interval) => Feed::Signals(interval, Signal::HUP),
        Tick::Usr1(interval) => Feed::Signals(interval, Signal::USR1),
        Tick::Usr2(interval) => Feed::Signals(interval, Signal::USR2),
    };
    let metrics = &kept.shared.metrics;
    let mut panicked = false;
    let mut each = |frame: Frame<'_>| {
        if frame.cut {
            metrics.frame_cut();
        }
        // The stream goes on. Told once, for it may panic at every line.
        if catch_unwind(AssertUnwindSafe(|| on_frame(frame))).is_err() && !std::mem::replace(&mut panicked, true) {
            tracing::error!(stream = &*task.name, "what reads a stream panicked (a bug: please report it)");
        }
    };
    let mut framer = Framer::new(*framing, bounds.output);
    let mut errors = Tail { bytes: Vec::new(), limit: bounds.output, cut: false };
    let (outcome, remains) = {
        let mut shown = |source, bytes: &[u8]| {
            kept.control.tap.tell(source, bytes);
            match source {
                Source::Stdout => framer.push(bytes, &mut each),
                Source::Stderr => errors.push(bytes),
            }
        };
        // Nothing is kept beside: it would be the first that the stream ever said.
        let bounds = Bounds { output: 0, ..*bounds };
        run_fed(command, feed, &mut shown, &bounds, &kept.shared.spawners, &kept.control).await
    };
    framer.finish(outcome.success(), each);
    (Outcome { stdout: Output::default(), stderr: errors.output(), ..outcome }, remains)
}

/// The end of what was written.
struct Tail {
    bytes: Vec<u8>,
    limit: usize,
    cut: bool,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // Not at every piece, which would move all the bytes each time.
        if self.bytes.len() > self.limit.saturating_mul(2) {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        let over = self.bytes.len().saturating_sub(self.limit);
        self.bytes.drain(..over);
        self.cut |= over > 0;
    }

    fn output(mut self) -> Output {
        self.shorten();
        Output { bytes: self.bytes, truncated: self.cut }
    }
}
