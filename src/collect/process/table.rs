//! What is kept of each process between ticks: one compact row, in one array in order of pid.

use std::os::fd::OwnedFd;

use super::groups::GroupId;

/// The name of a process, up to the 15 bytes that the kernel keeps for all but kernel threads.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Comm {
    bytes: [u8; 15],
    length: u8,
}

impl Comm {
    pub(super) fn new(name: &[u8]) -> Comm {
        let mut comm = Comm::default();
        for (to, from) in comm.bytes.iter_mut().zip(name) {
            *to = *from;
            comm.length += 1;
        }
        comm
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&self.bytes)
    }
}

impl std::fmt::Debug for Comm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        String::from_utf8_lossy(self.as_bytes()).fmt(f)
    }
}

/// What a process has used since it began.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Counts {
    /// Clock ticks.
    pub user: u64,
    pub system: u64,
    pub minor_faults: u64,
    pub major_faults: u64,
    /// Of the main thread: what /proc/PID/status says.
    pub voluntary: u64,
    pub nonvoluntary: u64,
    pub read_bytes: u64,
    pub write_bytes: u64,
}

impl Counts {
    /// What has come since `before`. The kernel's numbers can go back, as the context switches do when a thread other
    /// than the main one executes a program: that is nothing, not less.
    pub fn since(&self, before: &Counts) -> Counts {
        self.each(before, u64::saturating_sub)
    }

    pub fn add(&mut self, more: &Counts) {
        *self = self.each(more, u64::saturating_add);
    }

    fn each(&self, other: &Counts, f: fn(u64, u64) -> u64) -> Counts {
        Counts {
            user: f(self.user, other.user),
            system: f(self.system, other.system),
            minor_faults: f(self.minor_faults, other.minor_faults),
            major_faults: f(self.major_faults, other.major_faults),
            voluntary: f(self.voluntary, other.voluntary),
            nonvoluntary: f(self.nonvoluntary, other.nonvoluntary),
            read_bytes: f(self.read_bytes, other.read_bytes),
            write_bytes: f(self.write_bytes, other.write_bytes),
        }
    }
}

/// What a process has used since the last tick.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Used {
    /// Seconds.
    pub cpu: f32,
    pub read_bytes: f32,
    pub write_bytes: f32,
}

/// A set of the files of a process.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Files(u8);

impl Files {
    pub const STAT: Files = Files(1);
    pub const STATUS: Files = Files(2);
    pub const IO: Files = Files(4);
    pub const FD: Files = Files(8);
    pub const LIMITS: Files = Files(16);
    pub const SCHEDSTAT: Files = Files(32);

    pub fn has(self, file: Files) -> bool {
        self.0 & file.0 != 0
    }

    /// Adds one file, or all of another set.
    pub fn insert(&mut self, file: Files) {
        self.0 |= file.0;
    }
}

/// A process.
#[derive(Debug)]
pub(super) struct Process {
    pub counts: Counts,
    /// Clock ticks since boot; with the pid, what tells one process from all others.
    pub start: u64,
    pub virtual_bytes: u64,
    pub resident_bytes: u64,
    pub swapped_bytes: u64,
    /// Nanoseconds on a CPU, of a process with one thread, as far as the kernel counts them; else 0.
    pub ran: u64,
    pub pid: u32,
    pub group: GroupId,
    pub threads: u32,
    pub open_files: u32,
    /// Soft limit of open files; `u32::MAX` for that and more.
    pub max_files: u32,
    pub uid: u32,
    /// When `io` was last read: milliseconds, which wrap around.
    pub io_at: u32,
    /// Over the time since the last tick: CPUs used, bytes a second.
    pub cpu_ratio: f32,
    pub read_rate: f32,
    pub write_rate: f32,
    /// What they are made of.
    pub used: Used,
    /// A file that stays open: `schedstat` of a process with one thread, else `stat`.
    pub kept: Option<OwnedFd>,
    pub comm: Comm,
    /// The letter of the state; 0 as long as `stat` could not be read.
    pub state: u8,
    pub kernel_thread: bool,
    /// What has been read, so that a number that is not known is not taken for 0.
    pub known: Files,
    /// What is not for us, or not there: not tried again.
    pub closed: Files,
    /// What is not for us, and has been counted.
    pub denied: Files,
    /// Which file `kept` is.
    pub kept_schedstat: bool,
}

impl Process {
    pub fn new(pid: u32) -> Process {
        Process {
            counts: Counts::default(),
            start: 0,
            virtual_bytes: 0,
            resident_bytes: 0,
            swapped_bytes: 0,
            ran: 0,
            pid,
            group: GroupId::default(),
            threads: 0,
            open_files: 0,
            max_files: 0,
            uid: 0,
            io_at: 0,
            cpu_ratio: 0.0,
            read_rate: 0.0,
            write_rate: 0.0,
            used: Used::default(),
            kept: None,
            comm: Comm::default(),
            state: 0,
            kernel_thread: false,
            known: Files::default(),
            closed: Files::default(),
            denied: Files::default(),
            kept_schedstat: false,
        }
    }

    /// Whether anything is known of it; not so where `stat` is hidden from us.
    pub fn is_known(&self) -> bool {
        self.state != 0
    }
}

/// All processes, in order of pid.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Process>,
}

impl Table {
    pub fn rows(&self) -> &[Process] {
        &self.rows
    }

    pub fn get(&self, pid: u32) -> Option<&Process> {
        self.rows.get(self.rows.binary_search_by_key(&pid, |p| p.pid).ok()?)
    }

    /// Brings the table to the processes `pids` (ascending): `visit` updates each row, a new one where `true` is said,
    /// and tells whether its process is still there.
    pub fn update(&mut self, pids: &[u32], mut visit: impl FnMut(&mut Process, bool) -> bool) {
        let known = self.rows.len();
        // Rows before `kept` stay; those from there to `at` have gone.
        let (mut kept, mut at) = (0, 0);
        for pid in pids {
            while at < known && self.rows[at].pid < *pid {
                at += 1;
            }
            if at < known && self.rows[at].pid == *pid {
                if visit(&mut self.rows[at], false) {
                    self.rows.swap(kept, at);
                    kept += 1;
                }
                at += 1;
                continue;
            }
            let mut new = Process::new(*pid);
            if visit(&mut new, true) {
                // A row is large: growing by a sixteenth instead of doubling keeps what is spare small.
                if self.rows.len() == self.rows.capacity() {
                    self.rows.reserve_exact(self.rows.len() / 16 + 16);
                }
                self.rows.push(new);
            }
        }
        self.rows.drain(kept..known);
        if !self.rows.is_sorted_by_key(|p| p.pid) {
            self.rows.sort_unstable_by_key(|p| p.pid);
        }
        if self.rows.capacity() > 2 * self.rows.len() + 256 {
            self.rows.shrink_to(self.rows.len() + 32);
        }
    }

    /// Bytes of the array.
    pub fn heap_size(&self) -> usize {
        self.rows.capacity() * size_of::<Process>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_row_leaves_room_for_the_rest_in_200_bytes() {
        assert!(size_of::<Process>() <= 184, "{}", size_of::<Process>());
    }

    #[test]
    fn what_goes_back_is_no_progress() {
        let (mut a, mut b) = (Counts::default(), Counts::default());
        (a.voluntary, a.user) = (5, 7);
        (b.voluntary, b.user) = (9, 2);
        assert_eq!(a.since(&b), Counts { user: 5, ..Counts::default() });
    }

    proptest! {
        #[test]
        fn the_table_holds_exactly_those_that_are_there(
            ticks in prop::collection::vec(prop::collection::btree_set(1u32..40, 0..30), 1..8),
            gone in prop::collection::btree_set(1u32..40, 0..10),
        ) {
            let mut table = Table::default();
            let mut last: Vec<u32> = Vec::new();
            for pids in ticks {
                let pids: Vec<u32> = pids.into_iter().collect();
                table.update(&pids, |p, new| {
                    assert_eq!(new, !last.contains(&p.pid));
                    !gone.contains(&p.pid)
                });
                last = pids.into_iter().filter(|p| !gone.contains(p)).collect();
                prop_assert_eq!(table.rows().iter().map(|p| p.pid).collect::<Vec<_>>(), last.clone());
                prop_assert!(last.iter().all(|p| table.get(*p).is_some()));
            }
        }
    }
}
