//! Checks whose command stays (`stream`) and says something again and again: for what is costly to start, or hears of
//! things when they happen.
//!
//! What comes at once, within a tenth of the interval (at least 0.1 s, at most 1 s), is one result, which stands on the
//! board as a run does:
//!
//! | format | what is said | what is served |
//! | --- | --- | --- |
//! | `json` | a document in a line | the last document |
//! | `prometheus` | metrics up to an empty line or `# EOF` | the last block |
//! | `influx` | a point in a line | of each series what was last said of it, unless that is 3 intervals ago |
//!
//! What does not keep to its format, or is longer than `output_limit`, makes the check unknown: a document or block until
//! the next, and takes the place of what was found before; a point for an interval, and no other with it. When the command
//! ends, nothing of what it said is served any more: the check is critical, or unknown when the command cannot be started
//! or somebody has stopped it, until the next result. Without one for 3 intervals it is late.

mod config;
mod gathered;
mod hearing;

pub use config::{StreamConfig, StreamSignal};

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::board::{CommandUse, Ended, Report};
use super::families::Families;
use super::format::last_line;
use super::run::{Ready, used};
use super::runner::task_id;
use super::verdict::Verdict;
use crate::model::format_duration;
use crate::pool::{Frame, Handle, Next, Outcome, Pool, Status, Stream, SubmitError};
use hearing::Hearing;

/// A check's stream.
struct Streamed {
    ready: Ready,
    /// How long what comes at once may take to come.
    burst: Duration,
    /// A plain mutex: it is held while something is taken in or put on the board, and never across an await. The board's
    /// is taken within it, so that results and ends stand there in their order.
    hearing: Mutex<Hearing>,
}

/// Starts the stream of a check, when that before it has ended.
///
/// # Errors
/// When the pool is stopping.
pub(super) fn start(
    pool: &Pool,
    ready: Ready,
    config: &StreamConfig,
    before: Option<&Handle>,
) -> Result<Handle, SubmitError> {
    let (id, interval) = (task_id(&ready.check.config.name), ready.check.config.interval);
    let hearing = Hearing::new(ready.check.format(), interval);
    let framing = hearing.framing();
    let task = ready.command().id(id).after(before.as_slice());
    let burst = (interval / 10).clamp(Duration::from_millis(100), Duration::from_secs(1));
    let streamed = Arc::new(Streamed { ready, burst, hearing: Mutex::new(hearing) });
    let heard = streamed.clone();
    let stream = Stream::new(task, framing, move |frame| heard.hear(frame))
        .tick(config.tick(interval))
        .pauses(config.pauses())
        .on_end(move |outcome, next| streamed.end(outcome, next));
    pool.stream(stream)
}

impl Streamed {
    /// Takes in a line or block; a moment later it is a result, with all that has come until then.
    fn hear(self: &Arc<Self>, frame: Frame<'_>) {
        let begins = self.hearing.lock().unwrap_or_else(PoisonError::into_inner).hear(frame, Instant::now());
        if begins {
            let streamed = self.clone();
            // It is over in a moment, and counts for nothing when the check is no longer what it was.
            tokio::spawn(async move {
                tokio::time::sleep(streamed.burst).await;
                streamed.publish();
            });
        }
    }

    fn publish(&self) {
        let mut hearing = self.hearing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut families = Families::new(self.ready.labels.clone());
        if let Some(verdict) = hearing.result(Instant::now(), &mut families) {
            let (ended, verdict, families) = self.ready.read(verdict, families);
            self.record(ended, verdict, families, CommandUse::default());
        }
    }

    fn end(&self, outcome: &Outcome, next: Next) {
        let mut hearing = self.hearing.lock().unwrap_or_else(PoisonError::into_inner);
        hearing.clear();
        if let Some(verdict) = self.said_of_end(outcome, next) {
            self.record(Ended::Failed, verdict, Families::new(self.ready.labels.clone()), used(outcome));
        }
    }

    /// What the end of the command means; `None` where it is as somebody wants it.
    fn said_of_end(&self, outcome: &Outcome, next: Next) -> Option<Verdict> {
        let pause = match next {
            Next::Restart | Next::Nothing => return None,
            Next::Stopped => {
                let id = task_id(&self.ready.check.config.name);
                return Some(Verdict::unknown(format!("stopped by hand: watchfire pool run '{id}' starts it again")));
            }
            Next::Start(pause) => format_duration(pause),
        };
        let said = match last_line(&outcome.stderr.bytes) {
            line if line.is_empty() => line,
            line => format!(": {}", self.ready.masked(&line)),
        };
        Some(match &outcome.status {
            status @ Status::NotStarted(_) => Verdict::unknown(format!("{status}; tried again in {pause}")),
            status => Verdict::critical(format!("ended: {status}{said}; started again in {pause}")),
        })
    }

    fn record(&self, ended: Ended, verdict: Verdict, families: Families, used: CommandUse) {
        let report = Report { ended, verdict, ran: None, command: Some(used), families };
        self.ready.board.record(&self.ready.ticket, report);
    }
}

#[cfg(test)]
mod tests;
