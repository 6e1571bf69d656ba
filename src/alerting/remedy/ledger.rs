//! How often commands have been run, and whether one may be run again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::alerting::core::Mono;
use crate::sinks::RunLimits;

const HOUR: Duration = Duration::from_secs(3600);
/// No cool-down is longer.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// Whether a command is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    Run,
    /// It would be run.
    DryRun,
    /// Its last run for this was too short a time ago; from then on it may be run.
    CoolsDown(Mono),
    /// It has been run too often within an hour; from then on it may be run.
    TooMany(Mono),
}

/// What is known of the runs of one command.
#[derive(Default)]
struct Runs {
    /// When each within the last hour began, in order.
    began: VecDeque<Mono>,
    /// By what it was run for (an alert, a group): when the last run began, and what it was.
    last: BTreeMap<String, (Mono, Option<u64>)>,
}

/// The runs of all commands, by name.
#[derive(Default)]
pub struct Ledger(BTreeMap<String, Runs>);

impl Ledger {
    /// Whether a command may be run now for a subject. `what`: what is tried again if the last try failed (a notification);
    /// it does not have to wait for its own last try to cool down.
    pub fn decide(&self, limits: &RunLimits, command: &str, subject: &str, what: Option<u64>, now: Mono) -> Decision {
        let go = if limits.dry_run { Decision::DryRun } else { Decision::Run };
        let Some(runs) = self.0.get(command) else { return go };
        if let Some((last, _)) = runs.last.get(subject).filter(|(_, last)| what.is_none() || *last != what) {
            let cool = last.after(limits.cool_down);
            if cool > now {
                return Decision::CoolsDown(cool);
            }
        }
        // The run that must be an hour old before there is room for one more.
        let oldest = runs.began.len().checked_sub(limits.max_per_hour).and_then(|place| runs.began.get(place));
        match oldest.map(|began| began.after(HOUR)).filter(|free| limits.max_per_hour > 0 && *free > now) {
            Some(free) => Decision::TooMany(free),
            None => go,
        }
    }

    /// A run begins, or would.
    pub fn count(&mut self, command: &str, subject: &str, what: Option<u64>, at: Mono) {
        let runs = self.0.entry(command.to_string()).or_default();
        while runs.began.front().is_some_and(|began| began.after(HOUR) <= at) {
            runs.began.pop_front();
        }
        // One of an earlier run of the agent may be counted after one of this.
        let place = runs.began.partition_point(|began| *began <= at);
        runs.began.insert(place, at);
        let last = runs.last.entry(subject.to_string()).or_insert((at, what));
        if last.0 <= at {
            *last = (at, what);
        }
    }

    /// Forgets what no limit asks for any more.
    pub fn purge(&mut self, now: Mono) {
        for runs in self.0.values_mut() {
            runs.last.retain(|_, (last, _)| last.after(RETENTION) > now);
            runs.began.retain(|began| began.after(HOUR) > now);
        }
        self.0.retain(|_, runs| !runs.last.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::of(Duration::from_secs(seconds))
    }

    const LIMITS: RunLimits = RunLimits { cool_down: Duration::from_secs(300), max_per_hour: 3, dry_run: false };

    #[test]
    fn between_two_runs_for_one_alert_there_is_the_cool_down() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.decide(&LIMITS, "a", "x", Some(0), at(0)), Decision::Run);
        ledger.count("a", "x", Some(0), at(10));
        assert_eq!(ledger.decide(&LIMITS, "a", "x", Some(1), at(309)), Decision::CoolsDown(at(310)));
        assert_eq!(ledger.decide(&LIMITS, "a", "x", Some(1), at(310)), Decision::Run);
        assert_eq!(ledger.decide(&LIMITS, "a", "y", Some(1), at(11)), Decision::Run, "another alert does not wait");
        assert_eq!(ledger.decide(&LIMITS, "b", "x", Some(1), at(11)), Decision::Run, "nor does another command");
        assert_eq!(ledger.decide(&LIMITS, "a", "x", Some(0), at(11)), Decision::Run, "nor what is tried again");
        assert_eq!(ledger.decide(&LIMITS, "a", "x", None, at(11)), Decision::CoolsDown(at(310)));
    }

    #[test]
    fn there_are_no_more_runs_in_an_hour_than_there_may_be_whatever_they_are_for() {
        let mut ledger = Ledger::default();
        for i in 0..3 {
            assert_eq!(ledger.decide(&LIMITS, "a", &i.to_string(), Some(i), at(i * 60)), Decision::Run);
            ledger.count("a", &i.to_string(), Some(i), at(i * 60));
        }
        assert_eq!(ledger.decide(&LIMITS, "a", "y", Some(9), at(200)), Decision::TooMany(at(3600)));
        assert_eq!(ledger.decide(&LIMITS, "a", "y", Some(9), at(3600)), Decision::Run);
        ledger.count("a", "y", Some(9), at(3600));
        assert_eq!(ledger.decide(&LIMITS, "a", "z", Some(10), at(3601)), Decision::TooMany(at(3660)));
        let free = RunLimits { max_per_hour: 0, ..LIMITS };
        assert_eq!(ledger.decide(&free, "a", "z", Some(10), at(3601)), Decision::Run);
    }

    #[test]
    fn a_dry_run_is_held_to_the_same_limits() {
        let dry = RunLimits { dry_run: true, ..LIMITS };
        let mut ledger = Ledger::default();
        assert_eq!(ledger.decide(&dry, "a", "x", Some(0), at(0)), Decision::DryRun);
        ledger.count("a", "x", Some(0), at(0));
        assert_eq!(ledger.decide(&dry, "a", "x", Some(1), at(1)), Decision::CoolsDown(at(300)));
    }

    #[test]
    fn what_no_limit_asks_for_is_forgotten() {
        let mut ledger = Ledger::default();
        ledger.count("a", "x", Some(0), at(0));
        ledger.purge(at(7 * 24 * 3600 - 1));
        assert!(!ledger.0.is_empty());
        ledger.purge(at(7 * 24 * 3600));
        assert!(ledger.0.is_empty());
    }
}
