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

/// What processes have used.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Counts {
    /// CPU time in user mode and in the kernel, nanoseconds.
    pub user: u64,
    pub system: u64,
    pub minor_faults: u64,
    pub major_faults: u64,
    pub voluntary: u64,
    pub nonvoluntary: u64,
    pub read_bytes: u64,
    pub write_bytes: u64,
}

impl Counts {
    pub fn add(&mut self, more: &Counts) {
        let add = |sum: &mut u64, more| *sum = sum.saturating_add(more);
        add(&mut self.user, more.user);
        add(&mut self.system, more.system);
        add(&mut self.minor_faults, more.minor_faults);
        add(&mut self.major_faults, more.major_faults);
        add(&mut self.voluntary, more.voluntary);
        add(&mut self.nonvoluntary, more.nonvoluntary);
        add(&mut self.read_bytes, more.read_bytes);
        add(&mut self.write_bytes, more.write_bytes);
    }

    /// Nanoseconds of CPU time.
    pub fn cpu(&self) -> u64 {
        self.user.saturating_add(self.system)
    }
}

/// Nanoseconds in a clock tick, the unit of CPU times in /proc/PID/stat.
pub(super) const TICK_NS: u64 = 10_000_000;

/// The kernel's counters of a process as they were last read, as small as they can be: of those that a process does not
/// take past 2^31 between two readings, the low bits tell what has come.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Reading {
    /// Clock ticks.
    pub user: u64,
    pub system: u64,
    pub read_bytes: u64,
    pub write_bytes: u64,
    pub minor_faults: Low,
    pub major_faults: Low,
    /// Of the main thread: what /proc/PID/status says.
    pub voluntary: Low,
    pub nonvoluntary: Low,
}

impl Reading {
    /// Nanoseconds of CPU time.
    pub fn cpu(&self) -> u64 {
        self.user.saturating_add(self.system).saturating_mul(TICK_NS)
    }
}

/// The low bits of a counter.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Low(u32);

impl Low {
    /// Takes a new reading, and says what has come since the last one; all of it, if it is the first. The kernel's numbers
    /// can go back, as the context switches do when a thread other than the main one executes a program: that is nothing,
    /// not less.
    pub fn take(&mut self, now: u64, first: bool) -> u64 {
        let low = now as u32;
        let more = low.wrapping_sub(std::mem::replace(&mut self.0, low));
        match first {
            true => now,
            false if more > i32::MAX as u32 => 0,
            false => more.into(),
        }
    }
}

/// The same for a counter that is kept whole.
pub(super) fn take(counter: &mut u64, now: u64, first: bool) -> u64 {
    let last = std::mem::replace(counter, now);
    if first { now } else { now.saturating_sub(last) }
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
    pub const SMAPS: Files = Files(64);

    pub fn has(self, file: Files) -> bool {
        self.0 & file.0 != 0
    }

    /// Adds one file, or all of another set.
    pub fn insert(&mut self, file: Files) {
        self.0 |= file.0;
    }
}

/// What the kernel has reported of a process since it was last read.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Reported {
    #[default]
    Nothing,
    /// It has executed a program.
    Exec,
    /// It has ended, and that is counted, though it may still be there, to be waited for.
    Exit,
}

/// A process.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub read: Reading,
    /// Clock ticks since boot; with the pid, what tells one process from all others.
    pub start: u64,
    pub virtual_bytes: u64,
    /// Nanoseconds on a CPU, of a process with one thread, as far as the kernel counts them; else 0.
    pub ran: u64,
    /// CPU time of the children that it has waited for, and of theirs: clock ticks.
    pub children: u64,
    pub resident_pages: u32,
    pub swapped_kib: u32,
    /// Its share of what it has in memory and in swap, where each page counts by how many processes have it.
    pub proportional_kib: u32,
    pub proportional_swapped_kib: u32,
    pub pid: u32,
    pub ppid: u32,
    pub group: GroupId,
    pub threads: u32,
    pub open_files: u32,
    /// Soft limit of open files; `u32::MAX` for that and more.
    pub max_files: u32,
    pub uid: u32,
    /// When `io` was last read: milliseconds, which wrap around.
    pub io_at: u32,
    /// Since when it waits in the kernel and cannot be interrupted, while it is in state `D`: likewise.
    pub waiting_since: u32,
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
    /// What the kernel has reported of it.
    pub reported: Reported,
    /// How often it has taken another name by itself.
    pub renames: u8,
}

impl Process {
    pub fn new(pid: u32) -> Process {
        Process { pid, ..Process::default() }
    }

    /// Resident memory, in bytes, where a page has so many.
    pub fn resident_bytes(&self, page_size: u64) -> u64 {
        u64::from(self.resident_pages).saturating_mul(page_size)
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

    pub fn rows_mut(&mut self) -> &mut [Process] {
        &mut self.rows
    }

    pub fn get(&self, pid: u32) -> Option<&Process> {
        self.rows.get(self.rows.binary_search_by_key(&pid, |p| p.pid).ok()?)
    }

    pub fn get_mut(&mut self, pid: u32) -> Option<&mut Process> {
        let at = self.rows.binary_search_by_key(&pid, |p| p.pid).ok()?;
        self.rows.get_mut(at)
    }

    /// Brings the table to the processes `pids` (ascending): `visit` updates each row, a new one where `true` is said,
    /// and tells whether its process is still there. Those that are not go to `gone`.
    pub fn update(
        &mut self,
        pids: &[u32],
        mut visit: impl FnMut(&mut Process, bool) -> bool,
        gone: impl FnMut(Process),
    ) {
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
                // A row is large: growing by a little instead of doubling keeps what is spare small.
                if self.rows.len() == self.rows.capacity() {
                    self.rows.reserve_exact(self.rows.len() / 32 + 16);
                }
                self.rows.push(new);
            }
        }
        self.rows.drain(kept..known).for_each(gone);
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
        let mut low = Low::default();
        assert_eq!([low.take(9, true), low.take(2, false), low.take(5, false)], [9, 0, 3]);
        let mut whole = 0;
        assert_eq!([take(&mut whole, 7, true), take(&mut whole, 5, false), take(&mut whole, 6, false)], [7, 0, 1]);
    }

    #[test]
    fn a_counter_past_32_bits_goes_on() {
        let mut low = Low::default();
        assert_eq!(low.take((7 << 32) - 2, true), (7 << 32) - 2);
        assert_eq!(low.take((7 << 32) + 3, false), 5);
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
                let mut left = Vec::new();
                table.update(
                    &pids,
                    |p, new| {
                        assert_eq!(new, !last.contains(&p.pid));
                        !gone.contains(&p.pid)
                    },
                    |p| left.push(p.pid),
                );
                left.sort_unstable();
                let expected: Vec<u32> =
                    last.iter().copied().filter(|pid| gone.contains(pid) || !pids.contains(pid)).collect();
                prop_assert_eq!(left, expected);
                last = pids.into_iter().filter(|p| !gone.contains(p)).collect();
                prop_assert_eq!(table.rows().iter().map(|p| p.pid).collect::<Vec<_>>(), last.clone());
                prop_assert!(last.iter().all(|p| table.get(*p).is_some()));
            }
        }
    }
}
