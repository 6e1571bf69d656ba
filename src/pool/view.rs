//! All that the pool does, has done and will do, as interfaces show it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::handle::Handle;
use super::job::{Job, Ticket};
use super::latest::{Kept, Latest, Run};
use super::outcome::Outcome;
use super::schedule::{RunError, Schedule};
use super::shared::State;
use super::stream::{Phase, Streaming};
use super::supervisor::Pool;
use super::tail::Said;
use crate::model::{Timestamp, format_duration};

/// The whole of the pool. Times are RFC 3339, durations seconds.
#[derive(Serialize, Deserialize, Debug)]
pub struct View {
    /// What runs, the oldest first.
    pub running: Vec<RunningView>,
    /// The commands that stay.
    pub streams: Vec<StreamView>,
    /// What waits, by number.
    pub queued: Vec<QueuedView>,
    /// What is on schedule, the next first.
    pub scheduled: Vec<ScheduledView>,
    /// What has ended and has an id, the newest first.
    pub ended: Vec<EndedView>,
}

/// A task that runs.
#[derive(Serialize, Deserialize, Debug)]
pub struct RunningView {
    /// Its id, or `#` and its number.
    pub id: String,
    /// What logs call it.
    pub name: String,
    /// Whose it is.
    pub class: String,
    /// What kind of place it has.
    pub lane: String,
    /// When it began.
    pub started: String,
}

/// A command that stays.
#[derive(Serialize, Deserialize, Debug)]
pub struct StreamView {
    /// Its id, or `#` and its number.
    pub id: String,
    /// What logs call it.
    pub name: String,
    /// When it was begun for the first time.
    pub since: String,
    /// How often it has been started.
    pub starts: u64,
    /// What it does: it `runs`, `pauses` before it is started again, is `stopped` until somebody has it started, or
    /// `waits` for others to end.
    pub state: String,
    /// When its command was started that runs.
    pub started: Option<String>,
    /// When it is started again.
    pub next: Option<String>,
}

/// The last that a stream has written since it was started.
#[derive(Serialize, Deserialize, Debug)]
pub struct SaidView {
    /// The last 4 KiB of its standard output.
    pub stdout: String,
    /// Whether there was more.
    pub stdout_truncated: bool,
    /// The last 4 KiB of its standard error.
    pub stderr: String,
    /// Whether there was more.
    pub stderr_truncated: bool,
}

impl SaidView {
    fn of(said: &Said) -> SaidView {
        let [stdout, stderr] = said.outputs();
        SaidView {
            stdout: stdout.text().into_owned(),
            stdout_truncated: stdout.truncated,
            stderr: stderr.text().into_owned(),
            stderr_truncated: stderr.truncated,
        }
    }
}

/// A task that waits.
#[derive(Serialize, Deserialize, Debug)]
pub struct QueuedView {
    /// Its id, or `#` and its number.
    pub id: String,
    /// What logs call it.
    pub name: String,
    /// Whose it is.
    pub class: String,
    /// What kind of place it wants.
    pub lane: String,
    /// Its priority within the class.
    pub priority: i8,
    /// What it waits for: a `place`, other `tasks`, or another `try`.
    pub waits_for: String,
    /// How long it has been known.
    pub waited: f64,
    /// How often it has run already.
    pub tries: u32,
}

/// A task on schedule.
#[derive(Serialize, Deserialize, Debug)]
pub struct ScheduledView {
    /// Its id.
    pub id: String,
    /// When it is run, in words.
    pub schedule: String,
    /// When it is run next; `None` when that does not depend on the clock, or there is no next time.
    pub next: Option<String>,
    /// Whether it runs or waits now.
    pub running: bool,
}

/// A task that has ended.
#[derive(Serialize, Deserialize, Debug)]
pub struct EndedView {
    /// Its id.
    pub id: String,
    /// What logs call it.
    pub name: String,
    /// Its last run.
    pub last: RunView,
    /// Those before, the newest first.
    pub before: Vec<RunView>,
}

/// A run that has ended.
#[derive(Serialize, Deserialize, Debug)]
pub struct RunView {
    /// When that was.
    pub ended: String,
    /// How, in one word.
    pub status: String,
    /// How, as the end of a sentence.
    pub text: String,
    /// The exit code, where it has one.
    pub code: Option<i32>,
    /// Whether it went well.
    pub success: bool,
    /// How long it waited for a place.
    pub waited: f64,
    /// How long it ran.
    pub ran: f64,
    /// How often it was tried.
    pub tries: u32,
}

/// The last run of an id with its outputs.
#[derive(Serialize, Deserialize, Debug)]
pub struct LogView {
    /// The run.
    #[serde(flatten)]
    pub run: RunView,
    /// The first 4 KiB of its standard output; of a stream the last.
    pub stdout: String,
    /// Whether there was more.
    pub stdout_truncated: bool,
    /// The first 4 KiB of its standard error; of a stream the last.
    pub stderr: String,
    /// Whether there was more.
    pub stderr_truncated: bool,
    /// CPU time that it used.
    pub cpu: f64,
    /// The most memory it had, in bytes; `None` when that was less than the agent's own peak, which the kernel cannot tell
    /// from it.
    pub max_rss: Option<u64>,
    /// Page faults that had to read from a disk.
    pub major_faults: u64,
    /// Page faults that had not.
    pub minor_faults: u64,
}

impl From<&Run> for RunView {
    fn from(run: &Run) -> RunView {
        let Run { ended, status, waited, ran, tries } = run;
        RunView {
            ended: ended.to_string(),
            status: status.as_str().to_owned(),
            text: status.to_string(),
            code: status.code(),
            success: status.code() == Some(0),
            waited: waited.as_secs_f64(),
            ran: ran.as_secs_f64(),
            tries: *tries,
        }
    }
}

impl From<&Latest> for LogView {
    fn from(latest: &Latest) -> LogView {
        let Outcome { stdout, stderr, usage, .. } = &*latest.outcome;
        LogView {
            run: RunView::from(&Run::of(&latest.outcome, latest.ended)),
            stdout: stdout.text().into_owned(),
            stdout_truncated: stdout.truncated,
            stderr: stderr.text().into_owned(),
            stderr_truncated: stderr.truncated,
            cpu: (usage.user + usage.system).as_secs_f64(),
            max_rss: usage.max_rss,
            major_faults: usage.major_faults,
            minor_faults: usage.minor_faults,
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Every { interval, jitter: Duration::ZERO } => write!(f, "every {}", format_duration(*interval)),
            Schedule::Every { interval, jitter } => {
                write!(f, "every {} and up to {} later", format_duration(*interval), format_duration(*jitter))
            }
            Schedule::Cron(cron) => write!(f, "{cron}"),
            Schedule::At(moment) => write!(f, "at {moment}"),
            Schedule::After(id) => write!(f, "after {id}"),
        }
    }
}

fn stream(stream: &Streaming) -> StreamView {
    let (state, started, next) = match stream.phase {
        Phase::Waits => ("waits", None, None),
        Phase::Runs(since) => ("runs", Some(since), None),
        Phase::Pauses(until) => ("pauses", None, Some(until)),
        Phase::Stopped => ("stopped", None, None),
    };
    StreamView {
        id: stream.ticket.id(stream.id.as_ref()).to_string(),
        name: stream.name.to_string(),
        since: stream.since.to_string(),
        starts: stream.starts,
        state: state.to_owned(),
        started: started.map(|started| started.to_string()),
        next: next.map(|next| next.to_string()),
    }
}

fn queued(job: &Job, waits_for: &'static str, now: Instant) -> QueuedView {
    let Ticket { class, lane, priority, .. } = job.ticket;
    QueuedView {
        id: job.ticket.id(job.task.id.as_ref()).to_string(),
        name: job.task.name.to_string(),
        class: class.as_str().to_owned(),
        lane: lane.as_str().to_owned(),
        priority,
        waits_for: waits_for.to_owned(),
        waited: now.saturating_duration_since(job.submitted).as_secs_f64(),
        tries: job.tries,
    }
}

impl Pool {
    /// All that the pool does, has done and will do.
    pub fn view(&self) -> View {
        let mut view = self.view_of_state();
        self.shared.results.for_each(|id, kept| view.ended.push(ended(id, kept)));
        view
    }

    fn view_of_state(&self) -> View {
        let state = self.shared.state();
        let now = Instant::now();
        let mut active: Vec<_> = state.running.values().collect();
        active.sort_unstable_by_key(|active| (active.since, active.ticket.number));
        let running = active.into_iter().map(|active| RunningView {
            id: active.ticket.id(active.id.as_ref()).to_string(),
            name: active.name.to_string(),
            class: active.ticket.class.as_str().to_owned(),
            lane: active.ticket.lane.as_str().to_owned(),
            started: active.since.to_string(),
        });
        let streams = state.streams.values().map(stream);
        let held = state.held.iter().map(|(job, wait)| (job, wait.as_str()));
        let waiting = state.lanes.iter().map(|job| (job, "place")).chain(held);
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_unstable_by_key(|(job, _)| job.ticket.number);
        let mut scheduled: Vec<_> = state.schedules.iter().collect();
        // Those that have no next time come last.
        scheduled.sort_unstable_by_key(|(id, entry)| (entry.next().unwrap_or(Timestamp::MAX), Arc::clone(id)));
        let scheduled = scheduled.into_iter().map(|(id, entry)| ScheduledView {
            id: id.to_string(),
            schedule: entry.schedule.to_string(),
            next: entry.next().map(|next| next.to_string()),
            running: !entry.has_ended(),
        });
        View {
            running: running.collect(),
            streams: streams.collect(),
            queued: waiting.into_iter().map(|(job, waits_for)| queued(job, waits_for, now)).collect(),
            scheduled: scheduled.collect(),
            ended: Vec::new(),
        }
    }

    /// Cancels whatever runs or waits under this id (or `#` and a number), and says how many that were. A stream is
    /// stopped: [`Pool::restart`] starts it again.
    pub fn cancel_id(&self, id: &str) -> usize {
        let (tickets, stopped) = {
            let state = self.shared.state();
            let streams = state.streams.values().filter(|stream| is(stream.ticket, stream.id.as_ref(), id));
            (tickets(&state, id), streams.filter(|stream| stream.stop()).count())
        };
        stopped + tickets.into_iter().filter(|ticket| self.cancel(*ticket)).count()
    }

    /// The last that the stream with this id has written since it was started; `None` when none runs.
    pub fn said(&self, id: &str) -> Option<SaidView> {
        let state = self.shared.state();
        let runs = |stream: &&Streaming| matches!(stream.phase, Phase::Runs(_));
        let found = state.streams.values().filter(runs).find(|stream| is(stream.ticket, stream.id.as_ref(), id));
        found.map(|stream| SaidView::of(&stream.said))
    }

    /// Runs once more what has this id: what is on schedule, else the last task that ended under it, without what was to
    /// follow it.
    ///
    /// # Errors
    /// When nothing of that id is known, it runs already (if it is on schedule) or can be run only once, or the pool does
    /// not take it.
    pub fn retry(&self, id: &str) -> Result<Handle, RunError> {
        match self.run_now(id) {
            Err(RunError::Unknown) => {
                let again = self.shared.results.again(id).ok_or(RunError::Unknown)?;
                self.submit(again.ok_or(RunError::Once)?).map_err(RunError::Refused)
            }
            done => done,
        }
    }
}

/// Whether a task is called so.
pub(super) fn is(ticket: Ticket, given: Option<&Arc<str>>, id: &str) -> bool {
    match given {
        Some(given) => **given == *id,
        None => id.strip_prefix('#').and_then(|number| number.parse().ok()) == Some(ticket.number),
    }
}

/// All that run or wait under an id, but for streams.
fn tickets(state: &State, id: &str) -> Vec<Ticket> {
    let running = state.running.values().map(|active| (active.ticket, active.id.as_ref()));
    let waiting = state.lanes.iter().chain(state.held.iter().map(|(job, _)| job));
    let all = running.chain(waiting.map(|job| (job.ticket, job.task.id.as_ref())));
    all.filter(|(ticket, given)| is(*ticket, *given, id)).map(|(ticket, _)| ticket).collect()
}

fn ended(id: &str, kept: &Kept) -> EndedView {
    EndedView {
        id: id.to_owned(),
        name: kept.name.to_string(),
        last: RunView::from(&Run::of(&kept.outcome, kept.ended)),
        before: kept.before.iter().map(RunView::from).collect(),
    }
}
