//! A thread between two readings.

use std::borrow::Cow;

use crate::collect::process::parse::{Stat, Status};
use crate::collect::process::table::{Comm, Counts, Files, Low, TICK_NS, take};

/// A thread as it was last read.
#[derive(Clone, Debug, Default)]
pub(super) struct Thread {
    /// Clock ticks since boot; with the id, what tells it from all others.
    start: u64,
    /// Nanoseconds on a CPU; 0 where the kernel does not count them.
    pub ran: u64,
    read_bytes: u64,
    write_bytes: u64,
    user: Low,
    system: Low,
    minor_faults: Low,
    major_faults: Low,
    voluntary: Low,
    nonvoluntary: Low,
    pub tid: u32,
    /// Where in the kernel it waits: its place in [`super::Places`], 0 for nowhere.
    pub wchan: u16,
    comm: Comm,
    /// The letter of the state; 0 if `stat` is not read.
    pub state: u8,
    pub known: Files,
}

/// What has been read of a thread that has run.
pub(super) struct Seen<'a> {
    pub ran: u64,
    pub stat: Stat<'a>,
}

impl Thread {
    pub fn new(tid: u32) -> Thread {
        Thread { tid, ..Thread::default() }
    }

    pub fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.comm.as_bytes())
    }

    /// Whether it cannot have changed since it was last read, if it has been on a CPU for so long now.
    pub fn has_slept(&self, ran: Option<u64>) -> bool {
        self.ran != 0 && ran == Some(self.ran)
    }

    /// Takes what was read: what it has used since the last time, of `stat`. One that is read for the first time has used
    /// what it has since its birth, if that was not before `since` (clock ticks since boot); else nothing.
    pub fn take(&mut self, seen: Seen<'_>, since: u64) -> (Counts, bool) {
        let Seen { ran, stat } = seen;
        if self.known.has(Files::STAT) && self.start != stat.start {
            *self = Thread::new(self.tid);
        }
        let fresh = !self.known.has(Files::STAT);
        self.known.insert(Files::STAT);
        self.start = stat.start;
        self.ran = ran;
        self.comm = Comm::new(stat.comm);
        self.state = stat.state;
        let counts = Counts {
            user: self.user.take(stat.user, fresh).saturating_mul(TICK_NS),
            system: self.system.take(stat.system, fresh).saturating_mul(TICK_NS),
            minor_faults: self.minor_faults.take(stat.minor_faults, fresh),
            major_faults: self.major_faults.take(stat.major_faults, fresh),
            ..Counts::default()
        };
        let counted = !fresh || stat.start >= since;
        (if counted { counts } else { Counts::default() }, fresh && counted)
    }

    /// The same of `status`. `newborn`: whether all it has used is new, when it is read for the first time.
    pub fn take_switches(&mut self, status: &Status, newborn: bool, used: &mut Counts) {
        let fresh = !self.known.has(Files::STATUS);
        self.known.insert(Files::STATUS);
        let voluntary = self.voluntary.take(status.voluntary, fresh);
        let nonvoluntary = self.nonvoluntary.take(status.nonvoluntary, fresh);
        if !fresh || newborn {
            (used.voluntary, used.nonvoluntary) = (voluntary, nonvoluntary);
        }
    }

    /// The same of `io`.
    pub fn take_io(&mut self, (read, write): (u64, u64), newborn: bool, used: &mut Counts) {
        let fresh = !self.known.has(Files::IO);
        self.known.insert(Files::IO);
        let read = take(&mut self.read_bytes, read, fresh);
        let write = take(&mut self.write_bytes, write, fresh);
        if !fresh || newborn {
            (used.read_bytes, used.write_bytes) = (read, write);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(start: u64, user: u64) -> Stat<'static> {
        let text = b"9 (work) S 1 1 1 0 -1 0 3 0 4 0 5 6 0 0 20 0 2 0 7 40960 3 0\n";
        Stat { start, user, ..crate::collect::process::parse::stat(text).unwrap() }
    }

    fn used(thread: &mut Thread, start: u64, user: u64) -> u64 {
        thread.take(Seen { ran: 1, stat: stat(start, user) }, 100).0.user / TICK_NS
    }

    #[test]
    fn a_thread_is_small() {
        assert!(size_of::<Thread>() <= 96, "{}", size_of::<Thread>());
    }

    #[test]
    fn one_that_was_there_counts_from_now_on_and_a_new_one_from_its_birth() {
        let (mut old, mut new) = (Thread::new(9), Thread::new(10));
        assert_eq!([used(&mut old, 99, 50), used(&mut old, 99, 53)], [0, 3]);
        assert_eq!([used(&mut new, 100, 50), used(&mut new, 100, 53)], [50, 3]);
    }

    #[test]
    fn another_thread_with_the_same_id_is_another() {
        let mut thread = Thread::new(9);
        used(&mut thread, 99, 50);
        thread.take_io((1000, 1000), false, &mut Counts::default());
        assert_eq!(used(&mut thread, 200, 4), 4);
        let mut more = Counts::default();
        thread.take_io((10, 20), true, &mut more);
        assert_eq!((more.read_bytes, more.write_bytes), (10, 20));
    }

    #[test]
    fn a_kernel_that_does_not_count_says_nothing_of_sleep() {
        let thread = Thread { ran: 7, ..Thread::new(9) };
        assert!(thread.has_slept(Some(7)) && !thread.has_slept(Some(8)) && !thread.has_slept(None));
        assert!(!Thread::new(9).has_slept(Some(0)) && !Thread::new(9).has_slept(None));
    }
}
