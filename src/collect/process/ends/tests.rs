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
