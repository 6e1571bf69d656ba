//! The ends of processes: what they used since they were last read, or ever, if they were born and ended between two
//! ticks, and why they ended.
//!
//! A pass marks what has executed a program since the last one before it reads, and takes the reports of exits when it
//! has read: the kernel writes the report before anybody can wait for the process, so that whatever a parent's `stat`
//! says of its children, their reports are there by then. A process may be reported passes before it is gone: a zombie,
//! whose `stat` still tells the rest.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use rustix::time::{ClockId, clock_gettime};

use super::accounts::{Accounts, Ended};
use super::events::{AtExec, Batch, Events, Exit, ExitStatus, Source, Status};
use super::exits::Reason;
use super::groups::{GroupId, Groups};
use super::namer::Namer;
use super::oom::OomKills;
use super::pass::{CLOCK_TICKS, ancestors_group};
use super::table::{Counts, Files, Process, Reported, TICK_NS, Table};
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

/// Where the kernel's reports come from.
enum Reports {
    /// Nothing is reported, or nobody wants to know.
    Off,
    /// Being opened, by a thread of its own: that takes milliseconds, and a second where the kernel does not answer.
    Opening(JoinHandle<Events>),
    On(Box<Events>),
}

/// Takes account of processes that end, as far as the kernel reports them.
pub(super) struct Ends {
    events: Reports,
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
    /// Of each source, whether it has been said that it does not report.
    said: [bool; 2],
}

impl Ends {
    pub fn new(roots: &Roots) -> Ends {
        Ends {
            events: Reports::Off,
            accounts: Accounts::default(),
            gone: HashMap::new(),
            batch: Batch::default(),
            executed: Vec::new(),
            oom: OomKills::new(roots),
            lost: false,
            finished: None,
            cpus: online_cpus(roots),
            said: [false; 2],
        }
    }

    /// Begins to listen to what the kernel reports, from one of the next passes on: the first one has to be quick.
    pub fn listen(&mut self, at_exec: AtExec, roots: &Roots) {
        let roots = roots.clone();
        let open = move || Events::start(at_exec, &roots);
        match std::thread::Builder::new().name("process-events".to_string()).spawn(open) {
            Ok(opening) => self.events = Reports::Opening(opening),
            Err(error) => tracing::warn!(%error, "the kernel's reports on processes are not listened to: no thread"),
        }
    }

    /// Takes the reports when they are open.
    fn take_opened(&mut self) {
        if let Reports::Opening(opening) = &self.events
            && opening.is_finished()
            && let Reports::Opening(opening) = std::mem::replace(&mut self.events, Reports::Off)
            && let Ok(events) = opening.join()
        {
            self.events = Reports::On(Box::new(events));
        }
    }

    /// Says once of each source that it does not report, or does not any more, and what that means.
    fn say_what_is_down(&mut self) {
        let Some(Status { connector, taskstats, .. }) = self.status() else { return };
        let sources = [
            ("connector", connector, "births of processes are not counted, and new programs are noticed a tick later"),
            ("taskstats", taskstats, "processes that live for less than a tick are not seen, and ends are not counted"),
        ];
        for ((source, state, consequence), said) in sources.into_iter().zip(&mut self.said) {
            if let Source::Down(why) = state
                && !std::mem::replace(said, true)
            {
                tracing::warn!(source, %why, "{consequence}");
            }
        }
    }

    /// What the kernel's reports say of themselves; `None` where nobody listens.
    pub fn status(&self) -> Option<Status> {
        match &self.events {
            Reports::On(events) => Some(events.status()),
            _ => None,
        }
    }

    /// Begins a pass: marks what has executed a program. Whether all has to be read anew, since reports were lost.
    pub fn begin(&mut self, table: &mut Table) -> bool {
        self.take_opened();
        self.say_what_is_down();
        if let Reports::On(events) = &mut self.events {
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
        let mut batch = std::mem::take(&mut self.batch);
        match &mut self.events {
            Reports::On(events) if events.tells_exits() => events.exits(listed, &mut batch),
            _ => {
                gone.clear();
                waited.clear();
                return;
            }
        }
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

/// All that a process and the children that it has waited for are known to have used, nanoseconds.
fn whole(process: &Process) -> u64 {
    process.read.cpu().saturating_add(process.children.saturating_mul(TICK_NS))
}

/// What a process used after it was last read, in whole clock ticks: a zombie's `stat` or its parent's has the rest. The
/// row is as if it had been read.
fn rest(p: &mut Process, exit: &Exit) -> Counts {
    let used = &exit.used;
    let all = used.run_ns / TICK_NS;
    let more = all.saturating_sub(p.read.user.saturating_add(p.read.system));
    let in_user = share(all, used.user_ns, used.system_ns).saturating_sub(p.read.user).min(more);
    p.read.user = p.read.user.saturating_add(in_user);
    p.read.system = p.read.system.saturating_add(more - in_user);
    let mut rest = Counts {
        user: in_user.saturating_mul(TICK_NS),
        system: (more - in_user).saturating_mul(TICK_NS),
        minor_faults: p.read.minor_faults.take(used.minor_faults, false),
        major_faults: p.read.major_faults.take(used.major_faults, false),
        ..Counts::default()
    };
    // Of several threads only the main one's are counted.
    if p.known.has(Files::STATUS) && p.threads == 1 {
        rest.voluntary = p.read.voluntary.take(used.voluntary, false);
        rest.nonvoluntary = p.read.nonvoluntary.take(used.nonvoluntary, false);
    }
    if p.known.has(Files::IO) {
        rest.read_bytes = super::table::take(&mut p.read.read_bytes, used.read_bytes, false);
        rest.write_bytes = super::table::take(&mut p.read.write_bytes, used.write_bytes, false);
    }
    rest
}

/// What processes that were never read have used.
fn counts(exit: &Exit) -> Counts {
    let used = &exit.used;
    let user = share(used.run_ns, used.user_ns, used.system_ns);
    Counts {
        user,
        system: used.run_ns.saturating_sub(user),
        minor_faults: used.minor_faults,
        major_faults: used.major_faults,
        voluntary: used.voluntary,
        nonvoluntary: used.nonvoluntary,
        read_bytes: used.read_bytes,
        write_bytes: used.write_bytes,
    }
}

/// The part of `all` that was in user mode, by the kernel's coarse count; as there, all of it where that says nothing.
fn share(all: u64, user: u64, system: u64) -> u64 {
    match user.saturating_add(system) {
        0 => all,
        both => (u128::from(all) * u128::from(user) / u128::from(both)) as u64,
    }
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
mod tests {
    use super::*;
    use crate::collect::process::config::ProcessesConfig;
    use crate::collect::process::events::Used;
    use crate::collect::process::table::{Comm, Reading};

    const MS: u64 = 1_000_000;
    /// A shell, whose children end.
    const SHELL: u32 = 100;

    struct World {
        table: Table,
        groups: Groups,
        namer: Namer,
        ends: Ends,
        batch: Batch,
        gone: Vec<Process>,
        waited: Vec<Waited>,
    }

    impl World {
        /// The shell, and these processes with the CPU time of each in clock ticks, all in groups by their names.
        fn new(processes: &[(u32, &str, u64)]) -> World {
            let mut world = World {
                table: Table::default(),
                groups: Groups::new(10),
                namer: Namer::new(&ProcessesConfig::default(), &Roots::default()),
                ends: Ends::new(&Roots::default()),
                batch: Batch::default(),
                gone: Vec::new(),
                waited: Vec::new(),
            };
            let start = (boot_clock().as_secs() - 60) * CLOCK_TICKS as u64;
            let all: Vec<_> = [(SHELL, "sh", 0)].iter().chain(processes).copied().collect();
            let pids: Vec<u32> = all.iter().map(|(pid, ..)| *pid).collect();
            let World { table, groups, .. } = &mut world;
            table.update(
                &pids,
                |p, _| {
                    let (_, comm, ticks) = all.iter().find(|(pid, ..)| *pid == p.pid).unwrap();
                    (p.state, p.start, p.threads) = (b'S', start, 1);
                    p.ppid = if p.pid == SHELL { 1 } else { SHELL };
                    p.group = groups.named(comm);
                    p.read = Reading { user: *ticks, ..Reading::default() };
                    true
                },
                drop,
            );
            world
        }

        /// A pass after which only these are left of the table.
        fn pass(&mut self, left: &[u32]) {
            let World { table, gone, .. } = self;
            table.update(left, |_, _| true, |p| gone.push(p));
            let World { table, groups, namer, ends, batch, gone, waited } = self;
            ends.finished = Some(Instant::now() - Duration::from_secs(10));
            ends.count(batch, table, groups, namer, gone, waited);
        }

        /// Milliseconds of CPU time that a group has used.
        fn used(&self, group: &str) -> u64 {
            self.groups.in_order().find(|g| &*g.name == group).map_or(0, |g| g.counts.cpu() / MS)
        }

        fn exits(&mut self, group: &str) -> Vec<(&'static str, u64)> {
            let mut exits = Vec::new();
            self.groups.each_in_order(|g| {
                if &*g.name == group {
                    g.exits.shown().for_each(drop);
                    exits.extend(g.exits.shown());
                }
            });
            exits
        }
    }

    /// A child of the shell has ended after so many milliseconds of CPU time.
    fn exit(pid: u32, comm: &str, age: u64, ms: u64) -> Exit {
        Exit {
            pid,
            ppid: SHELL,
            uid: Some(0),
            comm: Comm::new(comm.as_bytes()),
            status: ExitStatus::Success,
            kernel_thread: false,
            executed: true,
            unlisted: age == 0,
            count: 1,
            age: Duration::from_secs(age),
            used: Used { run_ns: ms * MS, ..Used::default() },
            peak_bytes: 0,
            cmdline: None,
            cgroup: None,
        }
    }

    #[test]
    fn a_process_that_was_never_read_counts_in_its_group() {
        let mut world = World::new(&[]);
        world.batch.exits.push(Exit { count: 20, ..exit(7, "true", 0, 13) });
        world.pass(&[SHELL]);
        assert_eq!(world.used("true"), 13);
        assert_eq!(world.exits("true"), [("success", 20)]);
    }

    #[test]
    fn what_only_the_parent_knows_is_counted_too() {
        let mut world = World::new(&[]);
        world.batch.exits.push(Exit { count: 10, ..exit(7, "true", 0, 5) });
        world.waited.push(Waited { pid: SHELL, ns: 30 * MS, system: 10 * MS });
        world.pass(&[SHELL]);
        assert_eq!((world.used("true"), world.used("sh")), (30, 0));
    }

    #[test]
    fn of_one_that_was_read_the_rest_is_counted() {
        let mut world = World::new(&[(200, "job", 50)]);
        world.batch.exits.push(exit(200, "job", 60, 632));
        world.waited.push(Waited { pid: SHELL, ns: 640 * MS, system: 0 });
        world.pass(&[SHELL]);
        assert_eq!(world.used("job"), 640 - 500);
        assert_eq!(world.exits("job"), [("success", 1)]);
    }

    #[test]
    fn one_that_executed_another_program_since_it_was_read_ends_in_the_group_of_that() {
        let mut world = World::new(&[(200, "sh", 1)]);
        world.batch.exits.push(exit(200, "job", 60, 632));
        world.pass(&[SHELL]);
        assert_eq!((world.used("job"), world.exits("job"), world.exits("sh")), (620, vec![("success", 1)], vec![]));
    }

    #[test]
    fn a_zombie_is_counted_once_though_it_is_reported_long_before_it_is_gone() {
        let mut world = World::new(&[(200, "job", 50)]);
        world.batch.exits.push(exit(200, "job", 60, 632));
        (0..10).for_each(|_| world.pass(&[SHELL, 200]));
        assert_eq!(world.used("job"), 130);
        world.waited.push(Waited { pid: SHELL, ns: 640 * MS, system: 0 });
        world.pass(&[SHELL]);
        assert_eq!(world.used("job"), 140);
        assert_eq!(world.exits("job"), [("success", 1)]);
    }

    #[test]
    fn one_that_is_waited_for_while_a_pass_reads_is_settled_with_the_next() {
        let mut world = World::new(&[(99, "job", 360_000)]);
        world.batch.exits.push(exit(99, "job", 60, 3_600_005));
        world.waited.push(Waited { pid: SHELL, ns: 3_600_005 * MS, system: 0 });
        world.pass(&[99, SHELL]);
        world.pass(&[SHELL]);
        assert_eq!((world.used("job"), world.used("sh")), (5, 0));
    }

    #[test]
    fn a_long_lived_child_is_not_counted_twice_though_its_report_is_lost() {
        let mut world = World::new(&[(200, "job", 360_000)]);
        world.waited.push(Waited { pid: SHELL, ns: 3_600_010 * MS, system: 0 });
        world.pass(&[SHELL]);
        assert_eq!((world.used("job"), world.used("sh")), (10, 0));
    }

    #[test]
    fn a_pid_that_is_given_out_again_is_another_process() {
        let mut world = World::new(&[(200, "job", 50)]);
        world.batch.exits.push(exit(200, "new", 1, 700));
        world.pass(&[SHELL, 200]);
        assert_eq!((world.used("job"), world.used("new")), (0, 700));
        assert_eq!(world.table.get(200).unwrap().reported, Reported::Nothing);
    }

    #[test]
    fn children_of_one_that_has_gone_are_in_its_parents_account() {
        let mut world = World::new(&[(200, "make", 10)]);
        world.batch.exits.push(Exit { ppid: 200, ..exit(7, "cc", 0, 40) });
        world.batch.exits.push(exit(200, "make", 60, 100));
        world.waited.push(Waited { pid: SHELL, ns: 160 * MS, system: 0 });
        world.pass(&[SHELL]);
        let (cc, make) = (world.used("cc"), world.used("make"));
        // 100 ms of make itself had been read before.
        assert_eq!(cc + make, 60);
        assert!(cc >= 40, "{cc} {make}");
    }

    #[test]
    fn generations_that_have_gone_together_are_in_the_account_of_who_is_left() {
        let mut world = World::new(&[(300, "a", 100), (200, "b", 200), (400, "c", 300)]);
        world.table.get_mut(300).unwrap().ppid = 200;
        world.table.get_mut(200).unwrap().ppid = 400;
        world.batch.exits.push(Exit { ppid: 300, ..exit(7, "d", 0, 40) });
        world.waited.push(Waited { pid: SHELL, ns: (6000 + 45) * MS, system: 0 });
        world.pass(&[SHELL]);
        let used: u64 = ["a", "b", "c", "d", "sh"].iter().map(|name| world.used(name)).sum();
        assert!((44..=45).contains(&used), "{used}");
    }

    #[test]
    fn after_a_loss_all_is_read_anew_once() {
        let mut world = World::new(&[]);
        world.batch.lost = true;
        world.pass(&[SHELL]);
        assert!(world.ends.begin(&mut world.table));
        assert!(!world.ends.begin(&mut world.table));
    }

    #[test]
    fn why_they_ended_is_told_apart() {
        let mut world = World::new(&[]);
        for (status, count) in [
            (ExitStatus::Code(3), 2),
            (ExitStatus::Signal { number: 11, core_dumped: true }, 1),
            (ExitStatus::Signal { number: 9, core_dumped: false }, 1),
        ] {
            world.batch.exits.push(Exit { status, count, ..exit(7, "x", 0, 0) });
        }
        world.pass(&[SHELL]);
        assert_eq!(world.exits("x"), [("SIGKILL", 1), ("SIGSEGV", 1), ("exit-code", 2)]);
    }

    #[test]
    fn what_is_not_known_goes_to_the_group_of_the_others() {
        let mut world = World::new(&[]);
        world.batch.exits.push(exit(7, "", 0, 9));
        world.pass(&[SHELL]);
        assert_eq!(world.used("other"), 9);
    }
}
