//! `/api/pool`: what the pool runs, and has run.

use serde::Serialize;

use crate::http::api2::{Refusal, json};
use crate::pool::{
    LogView, Pool, QueuedView, RunError, RunView, RunningView, SaidView, ScheduledView, StreamView, View,
};

/// All that is known of an id.
#[derive(Serialize)]
struct Task<'a> {
    id: &'a str,
    running: Vec<RunningView>,
    streams: Vec<StreamView>,
    /// What a stream that runs has last written, for who may see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    said: Option<SaidView>,
    queued: Vec<QueuedView>,
    scheduled: Option<ScheduledView>,
    last: Option<Last>,
    /// The runs before the last, the newest first.
    before: Vec<RunView>,
}

/// The last run, to each what he may see of it.
#[derive(Serialize)]
#[serde(untagged)]
enum Last {
    WithOutput(LogView),
    InShort(RunView),
}

pub(super) fn all(pool: &Pool) -> Vec<u8> {
    json(&pool.view())
}

pub(super) fn one(pool: &Pool, id: &str, sees_output: bool) -> Result<Vec<u8>, Refusal> {
    let View { running, streams, queued, scheduled, ended } = pool.view();
    let latest = pool.latest(id).map(|latest| LogView::from(&latest));
    let is = |other: &str| other == id;
    let task = Task {
        id,
        running: running.into_iter().filter(|task| is(&task.id)).collect(),
        streams: streams.into_iter().filter(|task| is(&task.id)).collect(),
        said: pool.said(id).filter(|_| sees_output),
        queued: queued.into_iter().filter(|task| is(&task.id)).collect(),
        scheduled: scheduled.into_iter().find(|task| is(&task.id)),
        last: latest.map(|last| if sees_output { Last::WithOutput(last) } else { Last::InShort(last.run) }),
        before: ended.into_iter().find(|task| is(&task.id)).map(|task| task.before).unwrap_or_default(),
    };
    let Task { running, streams, queued, scheduled, last, .. } = &task;
    if running.is_empty() && streams.is_empty() && queued.is_empty() && scheduled.is_none() && last.is_none() {
        return Err(unknown(id));
    }
    Ok(json(&task))
}

pub(super) fn run(pool: &Pool, id: &str) -> Result<(), Refusal> {
    if pool.restart(id) {
        return Ok(());
    }
    match pool.run_now(id) {
        Ok(_) => Ok(()),
        // There may be one all the same that has ended, but nothing that says what to do.
        Err(RunError::Unknown) if pool.latest(id).is_some() => {
            Err(Refusal::said(409, format!("{id:?} is not on schedule; retry runs once more what has ended")))
        }
        Err(error) => Err(refusal(id, error)),
    }
}

pub(super) fn cancel(pool: &Pool, id: &str) -> Result<(), Refusal> {
    match pool.cancel_id(id) {
        0 => Err(Refusal::said(404, format!("nothing with the id {id:?} runs or waits"))),
        _ => Ok(()),
    }
}

pub(super) fn retry(pool: &Pool, id: &str) -> Result<(), Refusal> {
    if pool.restart(id) {
        return Ok(());
    }
    pool.retry(id).map(drop).map_err(|error| refusal(id, error))
}

fn unknown(id: &str) -> Refusal {
    Refusal::said(404, format!("nothing with the id {id:?} is known"))
}

fn refusal(id: &str, error: RunError) -> Refusal {
    let status = match error {
        RunError::Unknown => return unknown(id),
        RunError::Running | RunError::Once => 409,
        RunError::Panicked => 500,
        RunError::Refused(_) => 503,
    };
    Refusal::said(status, format!("{id:?} was not run: {error}"))
}
