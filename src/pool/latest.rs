//! The latest results, by id, for every part to read.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::outcome::{Outcome, Output, Status};
use super::secrets::Secrets;
use super::task::Task;
use crate::model::Timestamp;

/// The bytes of each output that are kept.
const OUTPUT: usize = 4096;
/// The results that are kept in short, beside the last.
const BEFORE: usize = 10;
/// The ids that are remembered. Then those whose last result is the oldest are forgotten.
const IDS: usize = 4096;

/// What is known of the runs of one id.
#[derive(Clone, Debug)]
pub struct Latest {
    /// The last outcome, with the first 4 KiB of each output.
    pub outcome: Arc<Outcome>,
    /// When that was.
    pub ended: Timestamp,
    /// What was before that, in short; the newest first, up to ten.
    pub before: Vec<Run>,
}

/// A run in short.
#[derive(Clone, Debug)]
pub struct Run {
    /// When it ended.
    pub ended: Timestamp,
    /// How it ended.
    pub status: Status,
    /// How long it waited for a place.
    pub waited: Duration,
    /// How long it ran.
    pub ran: Duration,
    /// How often it was tried.
    pub tries: u32,
}

impl Run {
    pub(super) fn of(outcome: &Outcome, ended: Timestamp) -> Run {
        let Outcome { status, waited, ran, tries, .. } = outcome;
        Run { ended, status: status.clone(), waited: *waited, ran: *ran, tries: *tries }
    }
}

pub(super) struct Kept {
    pub(super) name: Arc<str>,
    pub(super) outcome: Arc<Outcome>,
    pub(super) ended: Timestamp,
    pub(super) before: VecDeque<Run>,
    /// The task once more, for whoever wants it repeated; not of those on schedule, which are made anew.
    again: Option<Box<Task>>,
    age: u64,
}

/// The results of all ids.
#[derive(Default)]
pub(super) struct Results(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    by_id: HashMap<Arc<str>, Kept>,
    /// The ids by the age of their last result.
    ages: BTreeMap<u64, Arc<str>>,
    next: u64,
}

impl Results {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it is held, so what is behind a poisoned lock is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a result, unless whoever is asked, while nothing else can be remembered or forgotten, says that it is not
    /// wanted any more.
    pub(super) fn record(
        &self,
        id: &Arc<str>,
        name: &Arc<str>,
        outcome: Arc<Outcome>,
        again: Option<Task>,
        is_wanted: impl FnOnce() -> bool,
    ) {
        let ended = Timestamp::now();
        let again = again.map(Box::new);
        let mut inner = self.lock();
        if !is_wanted() {
            return;
        }
        let age = inner.next;
        inner.next += 1;
        let before = match inner.by_id.remove(id) {
            Some(kept) => {
                inner.ages.remove(&kept.age);
                let mut before = kept.before;
                before.truncate(BEFORE - 1);
                before.push_front(Run::of(&kept.outcome, kept.ended));
                before
            }
            None => VecDeque::new(),
        };
        inner.ages.insert(age, Arc::clone(id));
        inner.by_id.insert(Arc::clone(id), Kept { name: Arc::clone(name), outcome, ended, before, again, age });
        if inner.by_id.len() > IDS
            && let Some((_, oldest)) = inner.ages.pop_first()
        {
            inner.by_id.remove(&oldest);
        }
    }

    pub(super) fn get(&self, id: &str) -> Option<Latest> {
        let inner = self.lock();
        let Kept { outcome, ended, before, .. } = inner.by_id.get(id)?;
        Some(Latest { outcome: Arc::clone(outcome), ended: *ended, before: before.iter().cloned().collect() })
    }

    /// The task of this id once more: `None` when it is not known, `Some(None)` when it cannot be repeated.
    pub(super) fn again(&self, id: &str) -> Option<Option<Task>> {
        Some(self.lock().by_id.get(id)?.again.as_ref().and_then(|task| task.again()))
    }

    pub(super) fn forget(&self, id: &str) {
        let mut inner = self.lock();
        if let Some(kept) = inner.by_id.remove(id) {
            inner.ages.remove(&kept.age);
        }
    }

    /// Calls `each` with all, the newest first.
    pub(super) fn for_each(&self, mut each: impl FnMut(&str, &Kept)) {
        let inner = self.lock();
        for id in inner.ages.values().rev() {
            if let Some(kept) = inner.by_id.get(id) {
                each(id, kept);
            }
        }
    }
}

/// The outcome with so much of its outputs as may be shown.
pub(super) fn shown(outcome: &Arc<Outcome>, secrets: Option<&Secrets>) -> Arc<Outcome> {
    let Outcome { status, stdout, stderr, usage, started, waited, ran, tries } = &**outcome;
    if stdout.bytes.len() <= OUTPUT && stderr.bytes.len() <= OUTPUT && secrets.is_none() {
        return Arc::clone(outcome);
    }
    let first = |output: &Output| {
        let mut bytes = secrets.map_or_else(|| output.bytes.clone(), |secrets| secrets.masked_bytes(&output.bytes));
        let truncated = output.truncated || bytes.len() > OUTPUT;
        bytes.truncate(OUTPUT);
        bytes.shrink_to_fit();
        Output { bytes, truncated }
    };
    Arc::new(Outcome {
        status: status.clone(),
        stdout: first(stdout),
        stderr: first(stderr),
        usage: *usage,
        started: *started,
        waited: *waited,
        ran: *ran,
        tries: *tries,
    })
}
