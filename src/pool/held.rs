//! Tasks that wait for something else than a place: for others to end, or for the moment of another try.

use std::collections::HashMap;

use super::job::{Dependency, Job, Ticket};
use super::outcome::Status;
use super::task::{Class, Lane};

/// What a task waits for.
enum Hold {
    /// So many others, each at its own time.
    Others(usize),
    /// A moment, which is in the agenda.
    Moment,
}

/// The same, for people.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Others,
    Moment,
}

impl Wait {
    pub(super) const ALL: [Wait; 2] = [Wait::Others, Wait::Moment];

    /// The value of the label `waits_for`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Wait::Others => "tasks",
            Wait::Moment => "try",
        }
    }
}

impl Hold {
    fn wait(&self) -> Wait {
        match self {
            Hold::Others(_) => Wait::Others,
            Hold::Moment => Wait::Moment,
        }
    }
}

const COUNTS: usize = Wait::ALL.len() * Lane::ALL.len() * Class::ALL.len();

#[derive(Default)]
pub(super) struct Held {
    jobs: HashMap<u64, (Box<Job>, Hold)>,
    /// By the number of a task, who waits for its end. Those that were cancelled meanwhile stay until then.
    dependents: HashMap<u64, Vec<u64>>,
    counts: [usize; COUNTS],
}

/// What the end of a task means to another that waited for it.
pub(super) enum Released {
    /// Nothing else keeps it.
    Ready(Box<Job>),
    /// It needed the other to succeed.
    Skipped(Box<Job>, Status),
}

fn index(wait: Wait, lane: Lane, class: Class) -> usize {
    (wait as usize * Lane::ALL.len() + lane as usize) * Class::ALL.len() + class as usize
}

impl Dependency {
    /// Why a task that waits for this is not run, if it is not: `None` when this succeeded or need not.
    fn forbids(&self) -> Option<Status> {
        let failed = self.success && self.control.outcome().is_some_and(|outcome| !outcome.success());
        failed.then(|| Status::Skipped { after: self.id.to_string() })
    }
}

impl Held {
    /// How many tasks of a class, in all lanes, wait for others.
    pub(super) fn blocked(&self, class: Class) -> usize {
        Lane::ALL.iter().map(|lane| self.count(Wait::Others, *lane, class)).sum()
    }

    /// How many tasks wait so.
    pub(super) fn count(&self, wait: Wait, lane: Lane, class: Class) -> usize {
        self.counts.get(index(wait, lane, class)).copied().unwrap_or(0)
    }

    /// Takes a task in until those it waits for have ended; gives it back when that is so already.
    pub(super) fn block(&mut self, job: Box<Job>) -> Option<Released> {
        if let Some(status) = job.task.after.iter().find_map(Dependency::forbids) {
            return Some(Released::Skipped(job, status));
        }
        let number = job.ticket.number;
        let others = job.task.after.iter().filter(|other| other.control.outcome().is_none());
        let others: Vec<u64> = others.map(|other| other.number).collect();
        if others.is_empty() {
            return Some(Released::Ready(job));
        }
        others.iter().for_each(|other| self.dependents.entry(*other).or_default().push(number));
        self.insert(job, Hold::Others(others.len()));
        None
    }

    /// Takes a task in until its moment has come.
    pub(super) fn pause(&mut self, job: Box<Job>) {
        self.insert(job, Hold::Moment);
    }

    /// Gives back those that waited only for this task, whose outcome has been published.
    pub(super) fn release(&mut self, number: u64) -> Vec<Released> {
        let mut released = Vec::new();
        for dependent in self.dependents.remove(&number).unwrap_or_default() {
            let Some((job, Hold::Others(left))) = self.jobs.get_mut(&dependent) else { continue };
            let forbidden = job.task.after.iter().find_map(Dependency::forbids);
            *left = left.saturating_sub(1);
            if *left > 0 && forbidden.is_none() {
                continue;
            }
            let Some(job) = self.take(dependent) else { continue };
            released.push(match forbidden {
                Some(status) => Released::Skipped(job, status),
                None => Released::Ready(job),
            });
        }
        released
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Box<Job>> {
        self.take(ticket.number)
    }

    fn take(&mut self, number: u64) -> Option<Box<Job>> {
        let (job, hold) = self.jobs.remove(&number)?;
        if let Some(count) = self.counts.get_mut(index(hold.wait(), job.ticket.lane, job.ticket.class)) {
            *count = count.saturating_sub(1);
        }
        Some(job)
    }

    fn insert(&mut self, job: Box<Job>, hold: Hold) {
        if let Some(count) = self.counts.get_mut(index(hold.wait(), job.ticket.lane, job.ticket.class)) {
            *count += 1;
        }
        self.jobs.insert(job.ticket.number, (job, hold));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Job, Wait)> {
        self.jobs.values().map(|(job, hold)| (&**job, hold.wait()))
    }

    /// Takes all.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Box<Job>> {
        self.dependents.clear();
        self.counts = Default::default();
        self.jobs.drain().map(|(_, (job, _))| job)
    }
}
