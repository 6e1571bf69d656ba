//! Commands that stay and say something again and again.
//!
//! A stream takes no place of the pool's: it is there for as long as the agent. It is started again when it ends, sooner
//! at first, ever later when it goes on ending, and stands among the latest results like every other task, each time it
//! ends. Who knows its id can have it started anew at once, or stopped until then; its handle ends it for good.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::backoff::Backoff;
use super::capture::Source;
use super::frames::{Frame, Framer, Framing};
use super::handle::Handle;
use super::job::{Control, Ticket};
use super::latest::shown;
use super::outcome::{Outcome, Status};
use super::remains::Remains;
use super::run::{Bounds, Feed, run_fed};
use super::shared::{Aftermath, Shared, State, call_out};
use super::supervisor::{Pool, SubmitError};
use super::tail::Said;
use super::task::{Class, Command, Lane, Task, Work};
use super::view::is;
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
    /// An empty line on its standard input, at once and so often.
    Newline(Duration),
    /// SIGHUP, so often; the first after that time.
    Hup(Duration),
    /// SIGUSR1, so often.
    Usr1(Duration),
    /// SIGUSR2, so often.
    Usr2(Duration),
}

type OnFrame = Box<dyn FnMut(Frame<'_>) + Send>;
type OnEnd = Box<dyn FnMut(&Arc<Outcome>, Next) + Send>;

/// What comes after the end of a stream's command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// It ended, and is started again after this time.
    Start(Duration),
    /// Somebody had it ended to be started anew, which is done now.
    Restart,
    /// Somebody had it ended ([`Pool::cancel_id`]): it is started again when that is asked for ([`Pool::restart`]).
    Stopped,
    /// Nothing: the stream was cancelled through its handle, or the pool stops.
    Nothing,
}

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
    /// block. Of the task's other settings those count that shape a command, its id, what it waits for (whose success does
    /// not matter) and its output limit, which is the most that is kept of a line or block.
    pub fn new(task: Task, framing: Framing, on_frame: impl FnMut(Frame<'_>) + Send + 'static) -> Stream {
        Stream {
            task,
            framing,
            tick: Tick::None,
            pauses: PAUSES,
            on_frame: Box::new(on_frame),
            on_end: Box::new(|_, _| {}),
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

    /// Is called each time the command has ended, with its outcome and what comes next; and once more when that changes
    /// because somebody stops what was to be started again. It must not block.
    pub fn on_end(mut self, callback: impl FnMut(&Arc<Outcome>, Next) + Send + 'static) -> Stream {
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
    pub(super) phase: Phase,
    pub(super) said: Arc<Said>,
    wishes: watch::Sender<Wish>,
}

impl Streaming {
    /// Has it stopped; `false` when it is.
    pub(super) fn stop(&self) -> bool {
        self.phase != Phase::Stopped && self.wishes.send(Wish::Stop).is_ok()
    }
}

/// What a stream does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// It waits for others to end.
    Waits,
    /// Its command runs, since then.
    Runs(Timestamp),
    /// Its command has ended, and is started again then.
    Pauses(Timestamp),
    /// Somebody has stopped it.
    Stopped,
}

/// What is wanted of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    Restart,
    Stop,
    End,
}

impl Pool {
    /// Starts a stream, which runs until it is cancelled through its handle or the pool is shut down. Its outcome is then
    /// that of its last run. Until then each is among the latest results if the stream has an id. Tasks that wait for the
    /// handle wait for that last end; what is on [`Schedule::After`](super::Schedule::After) its id runs each time it ends.
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
        let (wishes, wish) = watch::channel(Wish::Restart);
        let said = Arc::<Said>::default();
        let streaming = Streaming {
            ticket,
            name,
            id: id.clone(),
            control: Arc::clone(&control),
            since: Timestamp::now(),
            starts: 0,
            phase: Phase::Waits,
            said: Arc::clone(&said),
            wishes,
        };
        let bounds = Bounds {
            timeout: Duration::MAX,
            kill_grace: stream.task.kill_grace.unwrap_or(state.config.kill_grace),
            output: stream.task.output_limit.unwrap_or(state.config.output_limit),
        };
        state.streams.insert(ticket.number, streaming);
        self.shared.count_streams(&state);
        drop(state);
        let (shared, number) = (Arc::clone(&self.shared), ticket.number);
        let kept = Kept { shared, number, control: Arc::clone(&control), said, wishes: wish };
        self.shared.runtime.spawn(keep(kept, command, stream, bounds));
        Ok(Handle { pool: self.clone(), ticket, id, control })
    }

    /// Starts the command of a stream anew, at once: one that runs is ended first. `false` when there is no stream with
    /// this id (or `#` and a number).
    pub fn restart(&self, id: &str) -> bool {
        let state = self.shared.state();
        let of_id = state
            .streams
            .values()
            .filter(|stream| is(stream.ticket, stream.id.as_ref(), id) && !stream.control.is_cancelled());
        of_id.filter(|stream| stream.wishes.send(Wish::Restart).is_ok()).count() > 0
    }
}

/// A stream's entry in the books, which goes when the stream does.
struct Kept {
    shared: Arc<Shared>,
    number: u64,
    control: Arc<Control>,
    said: Arc<Said>,
    wishes: watch::Receiver<Wish>,
}

impl Kept {
    fn enter(&self, phase: Phase) {
        let mut state = self.shared.state();
        if let Some(streaming) = state.streams.get_mut(&self.number) {
            streaming.starts += u64::from(matches!(phase, Phase::Runs(_)));
            streaming.phase = phase;
        }
        self.shared.count_streams(&state);
    }

    /// Its command has ended: those that run after it run.
    fn ended(&self, id: Option<&Arc<str>>) {
        let Some(id) = id else { return };
        let mut after = Aftermath::default();
        after.runs.extend(self.shared.state().schedules.followers(id));
        self.shared.settle(after);
    }

    /// It is over: those that wait for that are told.
    fn over(&self, outcome: Arc<Outcome>) {
        let mut after = Aftermath::default();
        let mut state = self.shared.state();
        self.control.publish(outcome);
        state.release(self.number, &mut after);
        self.shared.fill(&mut state, &mut after);
        drop(state);
        self.shared.settle(after);
    }

    /// Waits until nothing of its last run lives on; `false` when the stream is to end first, the wait then goes on by
    /// itself.
    async fn wait_for(&self, end: impl Future<Output = ()> + Send + 'static) -> bool {
        let end = self.shared.runtime.spawn(end);
        tokio::select! {
            _ended = end => true,
            () = self.control.cancelled() => false,
        }
    }

    /// Waits until something is wanted of it.
    async fn wish(&mut self) -> Wish {
        tokio::select! {
            biased;
            () = self.control.cancelled() => Wish::End,
            told = self.wishes.changed() => told.map_or(Wish::End, |()| *self.wishes.borrow_and_update()),
        }
    }

    /// The wish that comes within this time.
    async fn wish_within(&mut self, limit: Duration) -> Option<Wish> {
        timeout(limit, self.wish()).await.ok()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.streams.remove(&self.number);
        self.shared.count_streams(&state);
        drop(state);
        // Unless it has one: the runtime has been shut down, or it never ran.
        self.over(Arc::new(Outcome::without_run(Status::Cancelled, Duration::ZERO)));
        self.shared.freed.notify_waiters();
    }
}

impl Shared {
    fn count_streams(&self, state: &State) {
        let running = state.streams.values().filter(|stream| matches!(stream.phase, Phase::Runs(_))).count();
        self.metrics.set_streams(running, state.streams.len() - running);
    }
}

/// Runs a stream again and again.
async fn keep(mut kept: Kept, command: Arc<Command>, mut stream: Stream, bounds: Bounds) {
    // Also when it is cancelled meanwhile: who waits for this one waits for those too.
    for other in std::mem::take(&mut stream.task.after) {
        other.control.ended().await;
    }
    if kept.control.is_cancelled() {
        return;
    }
    let mut failures = 0;
    loop {
        let began = Instant::now();
        let (outcome, remains, wish) = run(&mut kept, &command, &mut stream, &bounds).await;
        let outcome = Arc::new(outcome);
        failures = match wish {
            Some(_) => 0,
            None if began.elapsed() >= WELL => 1,
            None => failures + 1,
        };
        let next = match wish {
            _ if kept.control.is_cancelled() => Next::Nothing,
            None => Next::Start(stream.pauses.pause(failures)),
            Some(Wish::Restart) => Next::Restart,
            Some(Wish::Stop) => Next::Stopped,
            Some(Wish::End) => Next::Nothing,
        };
        let Task { id, name, work, .. } = &stream.task;
        kept.shared.metrics.used(Class::Check, &outcome.usage);
        if let Some(id) = id {
            kept.shared.results.record(id, name, shown(&outcome, work.secrets()), None, || true);
        }
        tracing::debug!(stream = &**name, ?next, "{}", outcome.status);
        call_out(name, "after it", || (stream.on_end)(&outcome, next));
        let end = remains.map(|remains| kept.shared.keep_books(name, id.as_ref(), Class::Check, remains));
        kept.ended(id.as_ref());
        let is_clear = match end {
            Some(end) => kept.wait_for(end).await,
            None => true,
        };
        if !is_clear || !rest(&mut kept, &mut stream, &outcome, next).await {
            if let Some(id) = &stream.task.id {
                kept.shared.results.forget(id);
            }
            return kept.over(outcome);
        }
        kept.shared.metrics.stream_restarted();
    }
}

/// Waits until a stream's command is to be started again; `false` when it is not to be.
async fn rest(kept: &mut Kept, stream: &mut Stream, outcome: &Arc<Outcome>, mut next: Next) -> bool {
    loop {
        let wish = match next {
            Next::Nothing => return false,
            Next::Restart => return !kept.control.is_cancelled(),
            Next::Start(pause) => {
                kept.enter(Phase::Pauses(Timestamp::now() + pause));
                kept.wish_within(pause).await
            }
            Next::Stopped => {
                kept.enter(Phase::Stopped);
                Some(kept.wish().await)
            }
        };
        match wish {
            None | Some(Wish::Restart) => return true,
            Some(Wish::End) => return false,
            Some(Wish::Stop) if next == Next::Stopped => {}
            Some(Wish::Stop) => {
                next = Next::Stopped;
                call_out(&stream.task.name, "after it", || (stream.on_end)(outcome, next));
            }
        }
    }
}

/// Runs a stream once, until it ends or something is wanted of it that ends it.
async fn run(
    kept: &mut Kept,
    command: &Command,
    stream: &mut Stream,
    bounds: &Bounds,
) -> (Outcome, Option<Remains>, Option<Wish>) {
    kept.enter(Phase::Runs(Timestamp::now()));
    let Stream { framing, tick, on_frame, task, .. } = stream;
    let feed = match *tick {
        Tick::None => Feed::Input(&command.stdin),
        Tick::Newline(interval) => Feed::Newlines(interval),
        Tick::Hup(interval) => Feed::Signals(interval, Signal::HUP),
        Tick::Usr1(interval) => Feed::Signals(interval, Signal::USR1),
        Tick::Usr2(interval) => Feed::Signals(interval, Signal::USR2),
    };
    let (shared, control, said) = (Arc::clone(&kept.shared), Arc::clone(&kept.control), Arc::clone(&kept.said));
    let mut panicked = false;
    let mut each = |frame: Frame<'_>| {
        if frame.cut {
            shared.metrics.frame_cut();
        }
        // The stream goes on. Told once, for it may panic at every line.
        if catch_unwind(AssertUnwindSafe(|| on_frame(frame))).is_err() && !std::mem::replace(&mut panicked, true) {
            tracing::error!(stream = &*task.name, "what reads a stream panicked (a bug: please report it)");
        }
    };
    let mut framer = Framer::new(*framing, bounds.output);
    said.clear();
    let ((outcome, remains), wish) = {
        let mut shown = |source, bytes: &[u8]| {
            control.tap.tell(source, bytes);
            said.push(source, bytes);
            if source == Source::Stdout {
                framer.push(bytes, &mut each);
            }
        };
        // Nothing is kept beside: it would be the first that the stream ever said.
        let bounds = Bounds { output: 0, ..*bounds };
        // Of this run alone: after it the stream may go on.
        let once = Control::new();
        let mut running = pin!(run_fed(command, feed, &mut shown, &bounds, &shared.spawners, &once));
        tokio::select! {
            biased;
            outcome = &mut running => (outcome, None),
            wish = kept.wish() => {
                once.cancel();
                (running.await, Some(wish))
            }
        }
    };
    framer.finish(outcome.success(), each);
    let [stdout, stderr] = said.outputs();
    (Outcome { stdout, stderr, ..outcome }, remains, wish)
}
