//! The ends of processes: what they used since they were last read, or ever, if they were born and ended between two
//! ticks, and why they ended.
//!
//! A pass marks what has executed a program since the last one before it reads, and takes the reports of exits when it
//! has read: the kernel writes the report before anybody can wait for the process, so that whatever a parent's `stat`
//! says of its children, their reports are there by then. A process may be reported passes before it is gone: a zombie,
//! whose `stat` still tells the rest.

mod reports;
mod used;

use std::time::{Duration, Instant};

use hashbrown::HashMap;
use rustix::time::{ClockId, clock_gettime};

use self::reports::Reports;
use self::used::{counts, rest, whole};
use super::accounts::{Accounts, Ended};
use super::events::{Batch, Exit, ExitStatus};
use super::exits::Reason;
use super::groups::{GroupId, Groups};
use super::namer::Namer;
use super::oom::OomKills;
use super::pass::{CLOCK_TICKS, ancestors_group};
use super::table::{Counts, Process, Reported, TICK_NS, Table};
use crate::collect::{Roots, cpulist, read_small};

/// CPU time from which on a process that ends during a pass leaves its parent's account open until the next one, ns: less
/// than that does no harm in the wrong place.
const UNCERTAIN: u64 = 5 * TICK_NS;

/// Generations that are followed of processes that have gone together.
const MOST_GENERATIONS: u32 = 1000;

/// How much later than it ended a report may be taken, and still be of the process that has this pid in the table.
const LATE: Duration = Duration::from_secs(5);

/// A parent whose `stat` shows that children have used more, nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waited {
    pub pid: u32,
    pub ns: u64,
    /// Of that, in the kernel.
    pub system: u64,
}

/// Takes account of processes that end, as far as the kernel reports them.
pub(super) struct Ends {
    pub reports: Reports,
    accounts: Accounts,
    /// The processes that the pass at hand has not found any more.
    gone: HashMap<u32, Process>,
    batch: Batch,
    executed: Vec<u32>,
    oom: OomKills,
    /// Whether reports have been lost since the last pass began.
    lost: bool,
    finished: Option<Instant>,
    /// Of the host, not those that the agent may use.
    cpus: u32,
}

impl Ends {
    pub fn new(roots: &Roots) -> Ends {
        Ends {
            reports: Reports::default(),
            accounts: Accounts::default(),
            gone: HashMap::new(),
            batch: Batch::default(),
            executed: Vec::new(),
            oom: OomKills::new(roots),
            lost: false,
            finished: None,
            cpus: online_cpus(roots),
        }
    }

    /// Begins a pass: marks what has executed a program. Whether all has to be read anew, since reports were lost.
    pub fn begin(&mut self, table: &mut Table) -> bool {
        self.reports.take_opened();
        self.reports.say_what_is_down();
        if let Some(events) = self.reports.on() {
            self.executed.clear();
            events.execs(&mut self.executed);
            for pid in &self.executed {
                if let Some(process) = table.get_mut(*pid)
                    && process.reported == Reported::Nothing
                {
                    process.reported = Reported::Exec;
                }
            }
        }
        std::mem::take(&mut self.lost)
    }

    /// Ends a pass. `gone`: the processes that were not there any more; `waited`: what parents' `stat` showed; `listed`:
    /// when the list of processes had been read.
    pub fn finish(
        &mut self,
        table: &mut Table,
        groups: &mut Groups,
        namer: &mut Namer,
        gone: &mut Vec<Process>,
        waited: &mut Vec<Waited>,
        listed: Instant,
    ) {
        let Some(events) = self.reports.on().filter(|events| events.tells_exits()) else {
            gone.clear();
            waited.clear();
            return;
        };
        let mut batch = std::mem::take(&mut self.batch);
        events.exits(listed, &mut batch);
        self.count(&mut batch, table, groups, namer, gone, waited);
        self.batch = batch;
    }

    /// Counts what has been reported.
    fn count(
        &mut self,
        batch: &mut Batch,
        table: &mut Table,
        groups: &mut Groups,
        namer: &mut Namer,
        gone: &mut Vec<Process>,
        waited: &mut Vec<Waited>,
    ) {
        self.lost |= batch.lost;
        for process in gone.drain(..).filter(Process::is_known) {
            // A pid that was given out twice since the last pass.
            if let Some(last) = self.gone.insert(process.pid, process) {
                enter(&mut self.accounts, &last, last.ppid);
            }
        }
        self.oom.update(batch.exits.iter().any(is_kill));
        // Of those that the kernel killed for lack of memory, which it does not tell, the largest are taken.
        batch.exits.sort_by_key(|exit| std::cmp::Reverse(if is_kill(exit) { exit.peak_bytes } else { 0 }));
        let now = boot_clock();
        for exit in batch.exits.drain(..) {
            self.ended(&exit, now, table, groups, namer);
        }
        for process in self.gone.values() {
            enter(&mut self.accounts, process, reaper(&self.gone, process.ppid));
        }
        self.gone.clear();
        for Waited { pid, ns, system } in waited.drain(..) {
            let group = table.get(pid).map_or(GroupId::NONE, |p| p.group);
            self.accounts.waited(pid, group, ns, system);
        }
        let since = self.finished.map_or(Duration::ZERO, |last| last.elapsed());
        self.finished = Some(Instant::now());
        let most = since.saturating_add(Duration::from_millis(100)).as_nanos() as u64;
        self.accounts.settle(most.saturating_mul(self.cpus.into()), |group, user, system| {
            groups.add(group, &Counts { user, system, ..Counts::default() });
        });
    }

    /// The end of a process, or of several of which none was ever read, is reported.
    fn ended(&mut self, exit: &Exit, now: Duration, table: &mut Table, groups: &mut Groups, namer: &mut Namer) {
        let reason = self.reason(exit);
        let is_of = |p: &Process| -> bool {
            exit.count == 1 && !exit.unlisted && p.reported != Reported::Exit && p.is_known() && {
                let started = Duration::from_millis(p.start.saturating_mul(1000 / CLOCK_TICKS as u64));
                exit.age.saturating_add(LATE) >= now.saturating_sub(started)
            }
        };
        let listed = table.get(exit.pid).is_some_and(is_of);
        let row = if listed { table.get(exit.pid) } else { self.gone.get(&exit.pid).filter(|p| is_of(p)) };
        // It may have executed another program since it was read.
        let known = row.map(|p| (p.comm == exit.comm || p.kernel_thread).then_some(p.group));
        let group = known.flatten().unwrap_or_else(|| self.group_of(exit, table, groups, namer));
        groups.ended(group, reason, exit.count, exit.peak_bytes);
        let row = if listed { table.get_mut(exit.pid) } else { self.gone.get_mut(&exit.pid) };
        if let Some(process) = row.filter(|_| known.is_some()) {
            process.reported = Reported::Exit;
            process.group = group;
            groups.add(group, &rest(process, exit));
            // One that has ended after it was read may have been waited for before its parent was read.
            if listed && whole(process) >= UNCERTAIN {
                self.accounts.uncertain(process.ppid);
            }
            return;
        }
        let used = counts(exit);
        groups.add(group, &used);
        let coarse = exit.used.user_ns.saturating_add(exit.used.system_ns).saturating_sub(exit.used.run_ns);
        let ended = Ended { group, processes: exit.count, counted: used.cpu(), coarse };
        self.accounts.ended(exit.ppid, ended);
        if exit.count == 1 {
            self.accounts.inherit(exit.pid, exit.ppid);
        }
    }

    /// The group of a process that was never read.
    fn group_of(&self, exit: &Exit, table: &Table, groups: &mut Groups, namer: &mut Namer) -> GroupId {
        if exit.comm.as_bytes().is_empty() {
            return groups.other();
        }
        let parent = table.get(exit.ppid).or_else(|| self.gone.get(&exit.ppid));
        // A copy of its parent, which never became anything else.
        if let Some(parent) = parent.filter(|parent| !exit.executed && parent.comm == exit.comm) {
            return parent.group;
        }
        match namer.name_ended(exit) {
            Some(name) => groups.named(&name),
            None if !namer.children() => GroupId::NONE,
            None => match parent {
                Some(parent) if parent.group != GroupId::NONE => parent.group,
                Some(parent) => ancestors_group(table, parent.ppid),
                None => GroupId::NONE,
            },
        }
    }

    fn reason(&mut self, exit: &Exit) -> Reason {
        match exit.status {
            ExitStatus::Success => Reason::Success,
            ExitStatus::Code(_) => Reason::ExitCode,
            ExitStatus::Signal { .. } if is_kill(exit) && self.oom.take(exit.count) => Reason::OomKill,
            ExitStatus::Signal { number, .. } => Reason::Signal(number),
        }
    }
}

/// Whose `stat` has what a child of the process `pid` used: its own, or that of the next ancestor that is still there.
fn reaper(gone: &HashMap<u32, Process>, mut pid: u32) -> u32 {
    for _ in 0..MOST_GENERATIONS {
        match gone.get(&pid) {
            Some(process) => pid = process.ppid,
            None => break,
        }
    }
    pid
}

/// A process is not there any more: `parent` has waited for it, or will be found to ignore it.
fn enter(accounts: &mut Accounts, process: &Process, parent: u32) {
    let ended = Ended { group: process.group, processes: 1, counted: whole(process), coarse: 0 };
    accounts.ended(parent, ended);
    accounts.inherit(process.pid, parent);
}

fn is_kill(exit: &Exit) -> bool {
    matches!(exit.status, ExitStatus::Signal { number: 9, .. })
}

fn online_cpus(roots: &Roots) -> u32 {
    let mut list = Vec::new();
    let _ = read_small(&roots.sys("devices/system/cpu/online"), &mut list);
    let usable = || std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    match cpulist::numbers(&list).count() {
        0 => usable(),
        online => online as u32,
    }
}

/// Time since boot, as `starttime` in /proc/PID/stat counts it.
pub(super) fn boot_clock() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests;
