//! Why the processes of a group have ended, and how large they were.

use std::time::{Duration, Instant};

use crate::model::signal_name;

/// How long the largest process that has ended is remembered, at least.
const PEAK_FOR: Duration = Duration::from_secs(300);

/// Why a process has ended, in systemd's words for the results of a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    /// Exit code 0.
    Success,
    /// Any other.
    ExitCode,
    /// The kernel was out of memory.
    OomKill,
    Signal(u8),
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::Success => "success",
            Reason::ExitCode => "exit-code",
            Reason::OomKill => "oom-kill",
            // The real-time signals have numbers only.
            Reason::Signal(number) => signal_name(number.into()).unwrap_or("SIGRT"),
        }
    }
}

/// The ends of a group's processes.
#[derive(Default, Debug)]
pub(super) struct Exits {
    /// By the name of the reason.
    reasons: Vec<Counted>,
    peaks: Option<Peaks>,
}

#[derive(Debug)]
struct Counted {
    reason: Reason,
    count: u64,
    shown: u64,
}

/// Bytes, of the time since `began` and of as long before.
#[derive(Clone, Copy, Debug)]
struct Peaks {
    began: Instant,
    current: u64,
    last: u64,
}

impl Exits {
    pub fn add(&mut self, reason: Reason, processes: u32, peak_bytes: u64, now: Instant) {
        let at = self.reasons.partition_point(|counted| counted.reason.name() < reason.name());
        match self.reasons.get_mut(at).filter(|counted| counted.reason.name() == reason.name()) {
            Some(counted) => counted.count = counted.count.saturating_add(processes.into()),
            None => self.reasons.insert(at, Counted { reason, count: processes.into(), shown: 0 }),
        }
        let mut peaks = self.peaks_at(now).unwrap_or(Peaks { began: now, current: 0, last: 0 });
        peaks.current = peaks.current.max(peak_bytes);
        self.peaks = Some(peaks);
    }

    fn peaks_at(&self, now: Instant) -> Option<Peaks> {
        let peaks = self.peaks?;
        match now.saturating_duration_since(peaks.began) {
            age if age < PEAK_FOR => Some(peaks),
            age if age < 2 * PEAK_FOR => Some(Peaks { began: now, current: 0, last: peaks.current }),
            _ => None,
        }
    }

    /// The most resident memory that a process had that has ended in the last five to ten minutes, bytes.
    pub fn peak(&self, now: Instant) -> Option<u64> {
        self.peaks_at(now).map(|peaks| peaks.current.max(peaks.last))
    }

    /// How many have ended, by reason. What is served of a reason for the first time is 0, so that the first end of its
    /// kind is an increase, as `rate` and `increase` see it.
    pub fn shown(&mut self) -> impl Iterator<Item = (&'static str, u64)> {
        self.reasons
            .iter_mut()
            .map(|counted| (counted.reason.name(), std::mem::replace(&mut counted.shown, counted.count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_begins_at_zero() {
        let mut exits = Exits::default();
        let now = Instant::now();
        exits.add(Reason::Success, 2, 0, now);
        assert_eq!(exits.shown().collect::<Vec<_>>(), [("success", 0)]);
        exits.add(Reason::Signal(11), 1, 0, now);
        exits.add(Reason::Success, 1, 0, now);
        assert_eq!(exits.shown().collect::<Vec<_>>(), [("SIGSEGV", 0), ("success", 2)]);
        assert_eq!(exits.shown().collect::<Vec<_>>(), [("SIGSEGV", 1), ("success", 3)]);
    }

    #[test]
    fn the_largest_is_remembered_for_a_while() {
        let mut exits = Exits::default();
        let start = Instant::now();
        assert_eq!(exits.peak(start), None);
        exits.add(Reason::Success, 1, 900, start);
        exits.add(Reason::Success, 1, 100, start);
        assert_eq!(exits.peak(start + PEAK_FOR / 2), Some(900));
        exits.add(Reason::Success, 1, 300, start + PEAK_FOR * 3 / 2);
        assert_eq!(exits.peak(start + PEAK_FOR * 3 / 2), Some(900));
        assert_eq!(exits.peak(start + PEAK_FOR * 3), Some(300));
        assert_eq!(exits.peak(start + PEAK_FOR * 4), None);
    }

    #[test]
    fn real_time_signals_are_one_kind() {
        assert_eq!(Reason::Signal(34).name(), "SIGRT");
        let mut exits = Exits::default();
        exits.add(Reason::Signal(34), 1, 0, Instant::now());
        exits.add(Reason::Signal(64), 1, 0, Instant::now());
        assert_eq!(exits.shown().count(), 1);
    }
}
