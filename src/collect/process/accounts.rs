//! What processes that have ended used, to the last clock tick.
//!
//! The report of an exit does not tell all of it: the kernel writes it before it takes the process apart, and counts
//! what ran since the last timer tick only when it next looks. Of a process of one millisecond a tenth is missing, of
//! one shorter than that, most. The rest is known to the parent: when it waits for a child, the child's time and that
//! of the child's own children is added to `cutime` and `cstime` of the parent's /proc/PID/stat. So each parent has an
//! account here: on one side what its children are known to have used, on the other what its `stat` says they did, and
//! the difference goes to the groups of those that have ended, by their number.
//!
//! This holds whatever was lost on the way: reports that overflowed leave a larger difference.

use hashbrown::HashMap;

use super::groups::GroupId;

/// How many passes an account may owe: children that nobody waits for, because the parent ignores `SIGCHLD`, never
/// show in its `stat`.
const PASSES: u8 = 3;

/// Accounts at most; on a host where so many parents lose children in a second the rest is as the reports say.
const MOST: usize = 50_000;

/// The accounts of parents whose children have ended.
#[derive(Default)]
pub(super) struct Accounts {
    parents: HashMap<u32, Account>,
}

/// Nanoseconds, as all here.
#[derive(Default, Debug)]
struct Account {
    /// What children that have ended used, with their own children, as far as it has been counted.
    counted: u64,
    /// What their parent's `stat` says of that.
    waited: u64,
    /// The same in the kernel alone, to share out the difference.
    waited_system: u64,
    /// What the coarser count of reports has above the finer one, for children that nobody waits for.
    coarse: u64,
    /// How many have ended, by group.
    ended: Vec<(GroupId, u32)>,
    /// The group of the parent itself.
    group: GroupId,
    /// Whether a child may be in `waited` but not yet in `counted`.
    uncertain: bool,
    passes: u8,
}

/// A process that has ended, or several of one group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub group: GroupId,
    pub processes: u32,
    /// Nanoseconds that have been counted of their time and their children's.
    pub counted: u64,
    /// How much more the coarser count says.
    pub coarse: u64,
}

impl Accounts {
    fn account(&mut self, parent: u32) -> Option<&mut Account> {
        if self.parents.len() >= MOST && !self.parents.contains_key(&parent) {
            return None;
        }
        let account = self.parents.entry(parent).or_default();
        account.passes = 0;
        Some(account)
    }

    /// A child of `parent` has ended.
    pub fn ended(&mut self, parent: u32, ended: Ended) {
        let Some(account) = self.account(parent) else { return };
        account.counted = account.counted.saturating_add(ended.counted);
        account.coarse = account.coarse.saturating_add(ended.coarse);
        account.weigh(ended.group, ended.processes);
    }

    /// `process` has ended itself: what its children used is now for `parent` to wait for.
    pub fn inherit(&mut self, process: u32, parent: u32) {
        let Some(own) = self.parents.remove(&process) else { return };
        let Some(account) = self.account(parent) else { return };
        account.counted = account.counted.saturating_add(own.counted.saturating_sub(own.waited));
        account.coarse = account.coarse.saturating_add(own.coarse);
        own.ended.iter().for_each(|(group, processes)| account.weigh(*group, *processes));
    }

    /// The `stat` of `parent`, which is of `group`, shows that children have used so much more, in all and in the
    /// kernel.
    pub fn waited(&mut self, parent: u32, group: GroupId, more: u64, system: u64) {
        let Some(account) = self.account(parent) else { return };
        account.waited = account.waited.saturating_add(more);
        account.waited_system = account.waited_system.saturating_add(system.min(more));
        account.group = group;
    }

    /// A child of `parent` has ended of which it is not known whether the last reading of the parent's `stat` was
    /// before: its account is settled with the next pass.
    pub fn uncertain(&mut self, parent: u32) {
        if let Some(account) = self.account(parent) {
            account.uncertain = true;
        }
    }

    /// At the end of a pass: what was used and not counted goes to `credit`, group by group, as nanoseconds in user mode
    /// and in the kernel. No more than `most` nanoseconds an account: what all CPUs can have done since the last pass.
    pub fn settle(&mut self, most: u64, mut credit: impl FnMut(GroupId, u64, u64)) {
        self.parents.retain(|_, account| {
            if std::mem::take(&mut account.uncertain) {
                return true;
            }
            let rest = account.waited.saturating_sub(account.counted);
            if account.waited >= account.counted && account.waited > 0 {
                account.share(rest.min(most), &mut credit);
                return false;
            }
            account.counted -= std::mem::take(&mut account.waited);
            account.passes += 1;
            if account.passes < PASSES {
                return true;
            }
            account.share(account.coarse.min(most), &mut credit);
            false
        });
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.parents.len()
    }
}

impl Account {
    fn weigh(&mut self, group: GroupId, processes: u32) {
        match self.ended.iter_mut().find(|(g, _)| *g == group) {
            Some((_, n)) => *n = n.saturating_add(processes),
            None => self.ended.push((group, processes)),
        }
    }

    fn share(&self, rest: u64, credit: &mut impl FnMut(GroupId, u64, u64)) {
        if rest == 0 {
            return;
        }
        let in_kernel = match self.waited {
            0 => 0.5,
            waited => self.waited_system as f64 / waited as f64,
        };
        let own = [(self.group, 1)];
        let ended = if self.ended.is_empty() { &own[..] } else { &self.ended };
        let all: u64 = ended.iter().map(|(_, n)| u64::from(*n)).sum::<u64>().max(1);
        let mut left = rest;
        for (i, (group, n)) in ended.iter().enumerate() {
            let part = match i + 1 == ended.len() {
                true => left,
                false => (u128::from(rest) * u128::from(*n) / u128::from(all)) as u64,
            };
            left = left.saturating_sub(part);
            let system = (part as f64 * in_kernel) as u64;
            credit(*group, part.saturating_sub(system), system.min(part));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const A: GroupId = GroupId(1);
    const B: GroupId = GroupId(2);

    fn settle(accounts: &mut Accounts, most: u64) -> Vec<(GroupId, u64)> {
        let mut credits = Vec::new();
        accounts.settle(most, |group, user, system| credits.push((group, user + system)));
        credits
    }

    fn ended(group: GroupId, processes: u32, counted: u64) -> Ended {
        Ended { group, processes, counted, coarse: 0 }
    }

    #[test]
    fn what_reports_do_not_tell_goes_to_those_that_ended_by_their_number() {
        let mut accounts = Accounts::default();
        accounts.ended(7, ended(A, 30, 20 * MS));
        accounts.ended(7, ended(B, 10, 10 * MS));
        accounts.waited(7, GroupId(9), 70 * MS, 35 * MS);
        assert_eq!(settle(&mut accounts, u64::MAX), [(A, 30 * MS), (B, 10 * MS)]);
        assert_eq!(accounts.len(), 0);
    }

    #[test]
    fn children_that_are_waited_for_later_are_not_counted_twice() {
        let mut accounts = Accounts::default();
        accounts.ended(7, ended(A, 1, 500 * MS));
        assert_eq!(settle(&mut accounts, u64::MAX), []);
        accounts.waited(7, B, 510 * MS, 0);
        assert_eq!(settle(&mut accounts, u64::MAX), [(A, 10 * MS)]);
    }

    #[test]
    fn a_parent_that_waits_for_nobody_owes_nothing_in_the_end() {
        let mut accounts = Accounts::default();
        accounts.ended(7, Ended { coarse: 8 * MS, ..ended(A, 2, 4 * MS) });
        assert_eq!(settle(&mut accounts, u64::MAX), []);
        assert_eq!(settle(&mut accounts, u64::MAX), []);
        assert_eq!(settle(&mut accounts, u64::MAX), [(A, 8 * MS)], "the coarser count, which is right in the mean");
        accounts.waited(7, B, 10 * MS, 0);
        assert_eq!(settle(&mut accounts, u64::MAX), [(B, 10 * MS)], "nothing is owed any more");
    }

    #[test]
    fn children_of_one_that_has_ended_itself_are_its_parents_to_wait_for() {
        let mut accounts = Accounts::default();
        accounts.ended(8, ended(A, 5, 5 * MS));
        accounts.ended(7, ended(B, 1, 2 * MS));
        accounts.inherit(8, 7);
        accounts.waited(7, B, 13 * MS, 13 * MS);
        assert_eq!(settle(&mut accounts, u64::MAX), [(B, MS), (A, 5 * MS)]);
    }

    #[test]
    fn without_any_report_it_is_the_parents_own() {
        let mut accounts = Accounts::default();
        accounts.waited(7, B, 40 * MS, 10 * MS);
        let mut credits = Vec::new();
        accounts.settle(u64::MAX, |group, user, system| credits.push((group, user, system)));
        assert_eq!(credits, [(B, 30 * MS, 10 * MS)]);
    }

    #[test]
    fn an_uncertain_account_waits_for_the_next_pass() {
        let mut accounts = Accounts::default();
        accounts.waited(7, B, 3_600_000 * MS, 0);
        accounts.uncertain(7);
        assert_eq!(settle(&mut accounts, u64::MAX), []);
        accounts.ended(7, ended(A, 1, 3_599_995 * MS));
        assert_eq!(settle(&mut accounts, u64::MAX), [(A, 5 * MS)]);
    }

    #[test]
    fn nobody_gets_more_than_all_cpus_can_do() {
        let mut accounts = Accounts::default();
        accounts.waited(7, B, 3_600_000 * MS, 0);
        assert_eq!(settle(&mut accounts, 2000 * MS), [(B, 2000 * MS)]);
    }

    #[test]
    fn accounts_are_bounded() {
        let mut accounts = Accounts::default();
        for parent in 0..2 * MOST as u32 {
            accounts.ended(parent, ended(A, 1, 1));
        }
        assert_eq!(accounts.len(), MOST);
    }
}
