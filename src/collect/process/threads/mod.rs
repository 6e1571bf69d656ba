//! The threads of groups, by the names that they have, and where in the kernel they wait: as process-exporter gives them.
//!
//! Reads /proc/PID/task/TID/{schedstat,stat,status,io,wchan} of processes that are in a group and have several threads,
//! and /proc/PID/wchan of those with one, once in `processes.threads_interval`. A thread costs six times as much as
//! a look at its `schedstat`, and one whose time on a CPU is what it was has not run and changed nothing, but for its
//! name, which others may change: each is read in full at times all the same.
//!
//! At most [`MOST_THREADS`] are read in a round: a process that has more than is left is left out and its threads
//! counted as unread.
//!
//! What a thread used after the last round before its end is known of its process alone, and so are threads that live for
//! less than that.

mod families;
mod names;
mod thread;

use std::iter::Peekable;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use self::names::Names;
use self::thread::{Seen, Thread};
use super::groups::{GroupId, Groups, STATES, state_index};
use super::parse;
use super::pass::CLOCK_TICKS;
use super::procfs::{ProcFs, Unread};
use super::table::{Counts, Files, Process, Table};

/// Threads that are read in a round: some 300 ms of a CPU if all have run, 50 ms if none has.
const MOST_THREADS: usize = 10_000;

/// After how many rounds a thread is read in full even though it has not run.
const REREAD_ROUNDS: u32 = 12;

/// Places in the kernel at most that are told apart; all others are [`super::groups::OTHER`].
const MOST_PLACES: usize = 1000;

/// What is read, and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// Whether what threads use is read.
    pub threads: bool,
    /// Whether where they wait is read.
    pub wchan: bool,
    pub interval: Duration,
}

/// What the threads of a group are and use.
#[derive(Debug, Default)]
pub(super) struct OfGroup {
    names: Names<OfName>,
    /// Threads by where they wait.
    wchans: Names<u32>,
    /// Threads by [`STATES`].
    pub states: [u32; STATES.len()],
}

/// Those of one name.
#[derive(Debug, Default)]
struct OfName {
    threads: u32,
    counts: Counts,
    known: Files,
}

/// All threads of processes that are in a group, as far as they can be read.
pub(super) struct Threads {
    options: Options,
    /// In order of pid.
    members: Vec<Member>,
    places: Places,
    tids: Vec<u32>,
    unread: u64,
    /// When the last round was, and clock ticks from boot to then.
    last: Option<(Instant, u64)>,
    rounds: u32,
}

/// A process.
struct Member {
    pid: u32,
    start: u64,
    group: GroupId,
    /// Where its main thread waits: its place in [`Places`].
    wchan: u16,
    /// If it has several, in order of id.
    threads: Vec<Thread>,
}

impl Member {
    fn is(&self, p: &Process) -> bool {
        self.pid == p.pid && self.start == p.start
    }
}

impl Threads {
    pub fn new(options: Options) -> Threads {
        Threads {
            options,
            members: Vec::new(),
            places: Places::default(),
            tids: Vec::new(),
            unread: 0,
            last: None,
            rounds: 0,
        }
    }

    /// After a pass: reads the threads if it is time to, and counts those of the processes that are there.
    pub fn run(&mut self, table: &Table, procfs: &mut ProcFs, groups: &mut Groups, now: Instant) {
        let due = self.last.is_none_or(|(last, _)| now.saturating_duration_since(last) >= self.options.interval);
        if due {
            let began = ticks_since_boot();
            let since = self.last.replace((now, began)).map_or(u64::MAX, |(_, began)| began);
            self.read_all(table, procfs, groups, since, now);
            self.rounds = self.rounds.wrapping_add(1);
        } else if !self.follow(table) {
            return;
        }
        self.count(groups, now);
    }

    /// One round. Threads that were born after `since`, clock ticks since boot, count from their birth.
    fn read_all(&mut self, table: &Table, procfs: &mut ProcFs, groups: &mut Groups, since: u64, now: Instant) {
        let mut old = std::mem::take(&mut self.members).into_iter().peekable();
        let mut left = MOST_THREADS;
        self.unread = 0;
        for p in table.rows().iter().filter(|p| p.is_known() && p.group != GroupId::NONE) {
            if p.threads <= 1 && !self.options.wchan {
                continue;
            }
            let several = p.threads > 1;
            // Its folder of threads is not even listed.
            if p.threads as usize > left {
                self.unread += u64::from(p.threads);
                continue;
            }
            let mut threads = 1;
            if several {
                if procfs.tasks(p.pid, &mut self.tids).is_err() {
                    continue;
                }
                threads = self.tids.len();
            }
            let Some(rest) = left.checked_sub(threads) else {
                self.unread += threads as u64;
                continue;
            };
            left = rest;
            // Of two, one may have ended since.
            let several = threads > 1;
            let mut member = Member { pid: p.pid, start: p.start, group: p.group, wchan: 0, threads: Vec::new() };
            if several {
                let before = known(&mut old, p).map(|before| before.threads).unwrap_or_default();
                member.threads = self.read_several(p, before, procfs, groups, since, now);
            }
            if self.options.wchan {
                let main = member.threads.iter().find(|thread| thread.tid == p.pid);
                member.wchan = main.map_or_else(|| self.places.of(procfs.read(p.pid, "wchan")), |main| main.wchan);
            }
            self.members.push(member);
        }
        if self.members.capacity() > 2 * self.members.len() + 64 {
            self.members.shrink_to_fit();
        }
    }

    /// Reads the threads `tids` of a process, of which these are known.
    fn read_several(
        &mut self,
        p: &Process,
        before: Vec<Thread>,
        procfs: &mut ProcFs,
        groups: &mut Groups,
        since: u64,
        now: Instant,
    ) -> Vec<Thread> {
        let mut old = before.into_iter().peekable();
        let mut threads = Vec::with_capacity(self.tids.len());
        for at in 0..self.tids.len() {
            let Some(tid) = self.tids.get(at).copied() else { break };
            while old.next_if(|thread| thread.tid < tid).is_some() {}
            let mut thread = old.next_if(|thread| thread.tid == tid).unwrap_or_else(|| Thread::new(tid));
            let mut used = Counts::default();
            match self.read(p, &mut thread, &mut used, procfs, since) {
                Ok(()) => {}
                Err(Unread::Gone) => continue,
                // What it was in the last round is better than nothing.
                Err(_) if thread.known.has(Files::STAT) => {}
                Err(_) => continue,
            }
            if used != Counts::default() {
                add(groups, p, &thread, &used, now);
            }
            threads.push(thread);
        }
        threads
    }

    /// Brings a thread up to date, and says what it has used.
    fn read(
        &mut self,
        p: &Process,
        thread: &mut Thread,
        used: &mut Counts,
        procfs: &mut ProcFs,
        since: u64,
    ) -> Result<(), Unread> {
        let tid = thread.tid;
        let ran = procfs.read_thread(p.pid, tid, "schedstat").ok().and_then(parse::schedstat);
        if thread.has_slept(ran) && !tid.wrapping_add(self.rounds).is_multiple_of(REREAD_ROUNDS) {
            return Ok(());
        }
        if self.options.threads {
            let text = procfs.read_thread(p.pid, tid, "stat")?;
            let stat = parse::stat(text).ok_or(Unread::Failed)?;
            let newborn;
            (*used, newborn) = thread.take(Seen { ran: ran.unwrap_or(0), stat }, since);
            // A file that is not for us of one thread is not for us of any.
            if !p.closed.has(Files::STATUS) {
                let status = procfs.read_thread(p.pid, tid, "status").ok().and_then(parse::status);
                status.inspect(|status| thread.take_switches(status, newborn, used));
            }
            if !p.closed.has(Files::IO) {
                let io = procfs.read_thread(p.pid, tid, "io").ok().and_then(parse::io);
                io.inspect(|io| thread.take_io(*io, newborn, used));
            }
        }
        if self.options.wchan {
            thread.wchan = self.places.of(procfs.read_thread(p.pid, tid, "wchan"));
            thread.ran = ran.unwrap_or(0);
        }
        Ok(())
    }

    /// Between rounds: drops what has ended, and follows processes into other groups. Whether there was any.
    fn follow(&mut self, table: &Table) -> bool {
        let (mut changed, mut rows) = (false, table.rows().iter().peekable());
        self.members.retain_mut(|member| {
            while rows.next_if(|p| p.pid < member.pid).is_some() {}
            let group = rows.peek().filter(|p| member.is(p) && p.group != GroupId::NONE).map(|p| p.group);
            changed |= group != Some(member.group);
            member.group = group.unwrap_or_default();
            group.is_some()
        });
        changed
    }

    /// Counts the threads that there are.
    fn count(&self, groups: &mut Groups, now: Instant) {
        groups.each_in_order(|group| {
            if let Some(of) = &mut group.threads {
                of.names.values_mut().for_each(|name| name.threads = 0);
                of.wchans.values_mut().for_each(|threads| *threads = 0);
                of.states = Default::default();
            }
        });
        for member in &self.members {
            let Some(of) = groups.threads_mut(member.group) else { continue };
            for thread in &member.threads {
                if thread.known.has(Files::STAT) {
                    let name = of.names.at(&thread.name(), now);
                    name.threads += 1;
                    name.known.insert(thread.known);
                    if let Some(state) = of.states.get_mut(state_index(thread.state)) {
                        *state += 1;
                    }
                }
            }
            // As process-exporter has it, a process with several threads waits where its main one does, and both count.
            let waiting = member.threads.iter().map(|thread| thread.wchan).chain([member.wchan]);
            for place in waiting.filter_map(|wchan| self.places.get(wchan)) {
                *of.wchans.at(place, now) += 1;
            }
        }
    }

    /// Bytes on the heap that grow with the number of threads.
    pub fn heap_size(&self) -> usize {
        let threads: usize = self.members.iter().map(|m| m.threads.capacity()).sum();
        threads * size_of::<Thread>()
            + self.members.capacity() * size_of::<Member>()
            + self.tids.capacity() * size_of::<u32>()
    }
}

/// What is known of a process from the round before; `old` is in order of pid, and so are the processes that are asked for.
fn known(old: &mut Peekable<impl Iterator<Item = Member>>, p: &Process) -> Option<Member> {
    while old.next_if(|member| member.pid < p.pid).is_some() {}
    old.next_if(|member| member.is(p))
}

/// Adds what a thread has used to its name, and to its group what is not in there yet: the pass knows the context
/// switches of main threads alone.
fn add(groups: &mut Groups, p: &Process, thread: &Thread, used: &Counts, now: Instant) {
    if thread.tid != p.pid {
        let Counts { voluntary, nonvoluntary, .. } = *used;
        groups.add(p.group, &Counts { voluntary, nonvoluntary, ..Counts::default() });
    }
    if let Some(of) = groups.threads_mut(p.group) {
        of.names.at(&thread.name(), now).counts.add(used);
    }
}

/// Time since boot in clock ticks, as `starttime` in `stat` counts it.
fn ticks_since_boot() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let nanoseconds = now.tv_nsec as f64 / 1e9 * CLOCK_TICKS;
    u64::try_from(now.tv_sec).unwrap_or(0).saturating_mul(CLOCK_TICKS as u64).saturating_add(nanoseconds as u64)
}

/// Places in the kernel where threads wait, each once.
#[derive(Default)]
struct Places(Vec<Box<str>>);

impl Places {
    /// The number of a place, which a file says; 0 if it says none.
    fn of(&mut self, text: Result<&[u8], Unread>) -> u16 {
        let Some(place) = text.ok().and_then(parse::wchan) else { return 0 };
        let at = match self.0.iter().position(|known| **known == *place) {
            Some(at) => at,
            None if self.0.len() >= MOST_PLACES => MOST_PLACES,
            None => {
                self.0.push(place.into());
                self.0.len() - 1
            }
        };
        at as u16 + 1
    }

    fn get(&self, number: u16) -> Option<&str> {
        let at = usize::from(number).checked_sub(1)?;
        Some(self.0.get(at).map_or(super::groups::OTHER, |place| place))
    }
}
