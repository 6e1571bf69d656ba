//! How many processes the kernel has killed for lack of memory: `oom_kill` of /proc/vmstat, which counts those of a
//! cgroup's limit too.
//!
//! The kernel tells which ones they were only in its log, which a service does not get to see. It ends them with SIGKILL,
//! so as many of the next ones that end by it are taken to be them.

use super::parse;
use crate::collect::{KernelFile, Roots};

/// After how many passes the count is read though nothing was killed.
const EVERY: u32 = 15;

pub(super) struct OomKills {
    vmstat: KernelFile,
    /// The count when it was last read.
    last: Option<u64>,
    /// Kills whose victims have not ended yet.
    pending: u64,
    pass: u32,
    /// The pass in which `pending` grew.
    grew: u32,
}

/// After how many passes victims are not waited for any more.
const PASSES: u32 = 60;

impl OomKills {
    pub fn new(roots: &Roots) -> OomKills {
        OomKills { vmstat: KernelFile::new(roots.proc("vmstat")), last: None, pending: 0, pass: 0, grew: 0 }
    }

    /// Looks for kills, in every pass in which something was `killed`.
    pub fn update(&mut self, killed: bool) {
        if killed || self.last.is_none() || self.pass.is_multiple_of(EVERY) {
            let now = self.vmstat.read().ok().and_then(|text| parse::value_of(text, b"oom_kill"));
            let new = self.last.zip(now).map_or(0, |(last, now)| now.saturating_sub(last));
            if new > 0 {
                self.pending = self.pending.saturating_add(new);
                self.grew = self.pass;
            }
            self.last = now.or(self.last);
        }
        if self.pass.wrapping_sub(self.grew) > PASSES {
            self.pending = 0;
        }
        self.pass = self.pass.wrapping_add(1);
    }

    /// Whether so many that ended by SIGKILL are victims, which are then done with.
    pub fn take(&mut self, processes: u32) -> bool {
        let there = self.pending >= u64::from(processes.max(1));
        if there {
            self.pending -= u64::from(processes);
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_victims_as_the_kernel_has_counted() {
        let dir = tempfile::tempdir().unwrap();
        let write =
            |count: u64| std::fs::write(dir.path().join("vmstat"), format!("nr_free 1\noom_kill {count}\n")).unwrap();
        write(7);
        let mut kills = OomKills::new(&Roots { procfs: dir.path().into(), ..Roots::default() });
        kills.update(true);
        assert!(!kills.take(1), "those of before are not ours");
        write(9);
        kills.update(true);
        assert!(!kills.take(3) && kills.take(1) && kills.take(1) && !kills.take(1));
    }

    #[test]
    fn a_victim_that_is_never_seen_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("vmstat"), "oom_kill 1\n").unwrap();
        let mut kills = OomKills::new(&Roots { procfs: dir.path().into(), ..Roots::default() });
        kills.update(false);
        std::fs::write(dir.path().join("vmstat"), "oom_kill 2\n").unwrap();
        (0..2 * PASSES).for_each(|_| kills.update(false));
        assert!(!kills.take(1));
    }
}
