//! What has ended since the last pass, in bounded memory: no input or output here.
//!
//! One that may have a row in the table is kept as it is. One that has certainly none, because it was born after the list
//! of processes was read, is merged with those like it: of a storm of short processes a few entries are left. When the
//! parent of such entries ends and had no row either, they pass to its own parent, as the processes themselves would, so
//! that what is left is under parents that are alive or have a row.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use hashbrown::{HashMap, HashTable};

use super::{Exit, Used};
use crate::collect::process::table::Comm;

/// Entries that may have a row.
const MOST_SINGLE: usize = 8_000;
/// Merged entries up to which all is told apart; up to which names are.
const MOST_EXACT: usize = 8_000;
const MOST_NAMED: usize = 10_000;
/// Ended parents that are remembered until the end of a pass: what a child reports can come after its parent's end.
const MOST_PARENTS: usize = 10_000;
/// How far such a memory is followed.
const MOST_STEPS: usize = 64;
/// A task can be held up between the moment up to which its age counts and its report: so much, for all that is known.
const HELD_UP: Duration = Duration::from_millis(10);

/// The entries under one parent.
type Siblings = HashTable<Exit>;

/// What has ended since the last pass.
#[derive(Default)]
pub(super) struct Ledger {
    hasher: RandomState,
    /// When the list of processes had been read; `None` while a pass reads it.
    listed: Option<Instant>,
    single: Vec<Exit>,
    /// By parent. Their own `ppid` is of no meaning.
    merged: HashMap<u32, Siblings>,
    /// Merged entries in all.
    distinct: usize,
    /// Processes without a row that have ended, and their parents.
    parents: HashMap<u32, u32>,
}

impl Ledger {
    /// Begins a pass: what ends from now on may have been listed by it.
    pub fn begin_pass(&mut self) {
        self.listed = None;
    }

    /// Ends a pass, which had read the list at `listed`: gives what has ended.
    pub fn end_pass(&mut self, listed: Instant, into: &mut Vec<Exit>) {
        self.listed = Some(listed);
        for (ppid, siblings) in std::mem::take(&mut self.merged) {
            into.extend(siblings.into_iter().map(|exit| Exit { ppid, ..exit }));
        }
        into.append(&mut self.single);
        self.single.shrink_to(256);
        self.distinct = 0;
        self.parents = HashMap::new();
    }

    /// Adds one process that did not end before `emptied`, when nothing more was to be received.
    pub fn add(&mut self, mut exit: Exit, emptied: Instant) {
        exit.ppid = self.alive(exit.ppid);
        // The age counts up to its end, of which only this is known: the birth was then or later.
        let born = emptied.checked_sub(exit.age.saturating_add(HELD_UP));
        exit.unlisted = matches!((self.listed, born), (Some(listed), Some(born)) if born > listed);
        if exit.unlisted {
            self.hand_over(exit.pid, exit.ppid);
        } else if self.single.len() < MOST_SINGLE {
            self.single.push(exit);
            return;
        } else {
            // What it used before it was last read has been counted with its row, which cannot be found from here.
            exit.used = Used::default();
        }
        self.merge(exit);
    }

    /// Whom a process without a row has left its children to, if this is one.
    fn alive(&self, pid: u32) -> u32 {
        let mut pid = pid;
        for _ in 0..MOST_STEPS {
            match self.parents.get(&pid) {
                Some(parent) => pid = *parent,
                None => break,
            }
        }
        pid
    }

    /// What ended under `pid`, which has ended now, is its parent's from now on.
    fn hand_over(&mut self, pid: u32, parent: u32) {
        if pid == parent {
            return;
        }
        if self.parents.len() < MOST_PARENTS {
            self.parents.insert(pid, parent);
        }
        let Some(children) = self.merged.remove(&pid) else { return };
        let others = self.merged.remove(&parent).unwrap_or_default();
        // The fewer move to the more: whatever a long chain of parents carries along moves rarely.
        let (few, many) = if children.len() < others.len() { (children, others) } else { (others, children) };
        self.distinct -= few.len();
        self.merged.insert(parent, many);
        for exit in few {
            self.merge(Exit { ppid: parent, ..exit });
        }
    }

    fn merge(&mut self, mut exit: Exit) {
        if self.join(&exit) {
            return;
        }
        if self.distinct >= MOST_EXACT {
            exit = Exit { uid: None, cmdline: None, cgroup: None, ..exit };
            if self.join(&exit) {
                return;
            }
        }
        if self.distinct >= MOST_NAMED {
            exit = Exit { ppid: 0, comm: Comm::default(), kernel_thread: false, executed: false, ..exit };
            if self.join(&exit) {
                return;
            }
        }
        let hash = likeness(&self.hasher, &exit);
        let siblings = self.merged.entry(exit.ppid).or_default();
        siblings.insert_unique(hash, exit, |exit| likeness(&self.hasher, exit));
        self.distinct += 1;
    }

    /// Adds to an entry that is alike, if there is one.
    fn join(&mut self, exit: &Exit) -> bool {
        let Some(siblings) = self.merged.get_mut(&exit.ppid) else { return false };
        let hash = likeness(&self.hasher, exit);
        let Some(entry) = siblings.find_mut(hash, |other| alike(other, exit)) else { return false };
        entry.pid = exit.pid;
        entry.count = entry.count.saturating_add(exit.count);
        entry.age = entry.age.max(exit.age);
        entry.peak_bytes = entry.peak_bytes.max(exit.peak_bytes);
        entry.used.add(&exit.used);
        true
    }
}

/// Whether two entries under one parent need not be told apart.
fn alike(a: &Exit, b: &Exit) -> bool {
    a.comm == b.comm
        && a.status == b.status
        && a.uid == b.uid
        && (a.unlisted, a.executed, a.kernel_thread) == (b.unlisted, b.executed, b.kernel_thread)
        && a.cmdline == b.cmdline
        && a.cgroup == b.cgroup
}

/// The same for all that are alike.
fn likeness(hasher: &RandomState, exit: &Exit) -> u64 {
    let mut state = hasher.build_hasher();
    exit.comm.as_bytes().hash(&mut state);
    (exit.status, exit.uid, exit.unlisted, exit.executed, exit.kernel_thread).hash(&mut state);
    (&exit.cmdline, &exit.cgroup).hash(&mut state);
    state.finish()
}

#[cfg(test)]
mod tests;
