use std::sync::Arc;

use proptest::prelude::*;

use super::super::ExitStatus;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// One that lived for a millisecond.
fn exit(pid: u32, ppid: u32, comm: &str) -> Exit {
    Exit {
        pid,
        ppid,
        uid: Some(0),
        comm: Comm::new(comm.as_bytes()),
        status: ExitStatus::Success,
        kernel_thread: false,
        executed: true,
        unlisted: false,
        count: 1,
        age: Duration::from_millis(1),
        used: Used { run_ns: 10, ..Used::default() },
        peak_bytes: u64::from(pid),
        cmdline: None,
        cgroup: None,
    }
}

/// A ledger a second after a pass, and the time.
fn after_a_pass() -> (Ledger, Instant) {
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    ledger.end_pass(now, &mut Vec::new());
    (ledger, now + SECOND)
}

fn all(ledger: &mut Ledger) -> Vec<Exit> {
    let mut exits = Vec::new();
    ledger.begin_pass();
    ledger.end_pass(Instant::now(), &mut exits);
    exits
}

fn count(exits: &[Exit]) -> u32 {
    exits.iter().map(|exit| exit.count).sum()
}

fn run_ns(exits: &[Exit]) -> u64 {
    exits.iter().map(|exit| exit.used.run_ns).sum()
}

#[test]
fn what_was_born_after_the_list_is_merged_where_it_is_alike() {
    let (mut ledger, now) = after_a_pass();
    let cmdline = Some(Arc::from(&b"x\0"[..]));
    for pid in 10..20 {
        ledger.add(exit(pid, 1, "true"), now);
        ledger.add(Exit { age: SECOND / 2, ..exit(pid + 100, 1, "true") }, now);
        ledger.add(exit(pid + 200, 2, "true"), now);
        ledger.add(Exit { cmdline: cmdline.clone(), ..exit(pid + 300, 1, "true") }, now);
        ledger.add(Exit { status: ExitStatus::Code(1), ..exit(pid + 400, 1, "true") }, now);
    }
    let mut exits = all(&mut ledger);
    exits.sort_by_key(|exit| exit.pid);
    assert!(exits.iter().all(|exit| exit.unlisted));
    let of = |pid| exits.iter().find(|exit| exit.pid == pid).unwrap();
    assert_eq!((exits.len(), count(&exits)), (4, 50));
    let both = of(119);
    assert_eq!((both.count, both.used.run_ns, both.age, both.peak_bytes), (20, 200, SECOND / 2, 119));
    assert_eq!((of(219).ppid, of(219).count), (2, 10));
    assert_eq!((&of(319).cmdline, of(319).count), (&cmdline, 10));
    assert_eq!((of(419).status, of(419).count), (ExitStatus::Code(1), 10));
    assert_eq!(all(&mut ledger), [], "each is given once");
}

#[test]
fn what_may_have_a_row_is_kept_one_by_one() {
    let (mut ledger, now) = after_a_pass();
    ledger.add(Exit { age: SECOND - HELD_UP, ..exit(1, 9, "a") }, now);
    ledger.add(Exit { age: Duration::MAX, ..exit(2, 9, "a") }, now);
    ledger.begin_pass();
    ledger.add(exit(3, 9, "a"), now);
    let mut exits = Vec::new();
    ledger.end_pass(now, &mut exits);
    assert_eq!(
        exits.iter().map(|exit| (exit.pid, exit.unlisted)).collect::<Vec<_>>(),
        [(1, false), (2, false), (3, false)]
    );
    let mut fresh = Ledger::default();
    fresh.add(exit(1, 9, "a"), now);
    assert!(!all(&mut fresh)[0].unlisted, "before the first list");
}

#[test]
fn a_chain_of_a_hundred_thousand_forks_leaves_one_entry() {
    for children_first in [true, false] {
        let (mut ledger, now) = after_a_pass();
        for step in 0..100_000 {
            let pid = if children_first { 200_000 - step } else { 100_000 + step };
            ledger.add(exit(pid, pid - 1, "fork"), now);
        }
        // Whether a report says so or not, those whose parents ended first are the children of the chain's own parent.
        let exits = all(&mut ledger);
        let expected = if children_first { 100_000 } else { 99_999 };
        assert_eq!((count(&exits), run_ns(&exits)), (100_000, 1_000_000));
        assert!(exits.iter().any(|exit| exit.ppid == expected), "{exits:?}");
        assert!(exits.len() == 1 || !children_first);
    }
}

#[test]
fn nothing_makes_it_grow_without_bound_and_none_is_forgotten() {
    let (mut ledger, now) = after_a_pass();
    for n in 0..40_000 {
        ledger.add(exit(n, 100_000 + n % 5000, &format!("name-{n}")), now);
        ledger.add(Exit { uid: Some(n), ..exit(n, 100_000 + n % 5000, "one") }, now);
    }
    let exits = all(&mut ledger);
    assert_eq!((count(&exits), run_ns(&exits)), (80_000, 800_000));
    assert!(exits.len() <= MOST_NAMED + 1000, "{}", exits.len());
    assert!(exits.iter().any(|exit| exit.uid.is_none() && exit.comm.as_bytes() == b"one"));
    assert!(exits.iter().any(|exit| exit.ppid == 0 && exit.comm.as_bytes().is_empty()));

    for n in 0..40_000 {
        ledger.add(Exit { age: 2 * SECOND, ..exit(n, 1, &format!("name-{n}")) }, now);
    }
    let exits = all(&mut ledger);
    assert_eq!(count(&exits), 40_000);
    assert!(exits.len() <= MOST_SINGLE + MOST_NAMED + 1000);
    assert_eq!(run_ns(&exits), 10 * MOST_SINGLE as u64, "what has been counted with a row is not counted again");
}

/// Processes that are born of each other, and end in some order, each by its number from 1; 0 lives on.
#[derive(Clone, Debug)]
struct Family {
    parents: Vec<u32>,
    ends: Vec<u32>,
    /// Which of them tell of a parent that has just ended.
    late: Vec<bool>,
}

fn families() -> impl Strategy<Value = Family> {
    (1..60u32).prop_flat_map(|n| {
        let parents: Vec<_> = (0..n).map(|i| 0..=i).collect();
        let ends = Just((1..=n).collect::<Vec<_>>()).prop_shuffle();
        (parents, ends, prop::collection::vec(any::<bool>(), n as usize), 0..=n).prop_map(
            |(parents, mut ends, late, left)| {
                ends.truncate(left as usize);
                Family { parents, ends, late }
            },
        )
    })
}

proptest! {
    #[test]
    fn what_is_left_is_under_parents_that_live(family in families()) {
        let (mut ledger, now) = after_a_pass();
        let mut parent: Vec<u32> = std::iter::once(0).chain(family.parents).collect();
        let born_of = parent.clone();
        let mut ended = Vec::new();
        for pid in &family.ends {
            let late = family.late[*pid as usize - 1];
            let ppid = if late { born_of[*pid as usize] } else { parent[*pid as usize] };
            ledger.add(exit(*pid, ppid, ["a", "b", "c"][*pid as usize % 3]), now);
            let heir = parent[*pid as usize];
            for other in &mut parent {
                if *other == *pid {
                    *other = heir;
                }
            }
            ended.push(*pid);
        }
        let exits = all(&mut ledger);
        prop_assert_eq!(count(&exits) as usize, ended.len());
        prop_assert_eq!(run_ns(&exits), 10 * ended.len() as u64);
        prop_assert_eq!(exits.iter().map(|exit| exit.peak_bytes).max(), ended.iter().map(|pid| u64::from(*pid)).max());
        for exit in &exits {
            prop_assert!(!ended.contains(&exit.ppid), "{exit:?} of {ended:?}");
        }
        let mut keys: Vec<_> = exits.iter().map(|exit| (exit.ppid, exit.comm.as_bytes().to_vec())).collect();
        keys.sort();
        keys.dedup();
        prop_assert_eq!(keys.len(), exits.len(), "like ones are merged");
    }
}
