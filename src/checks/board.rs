//! The board: how each check stands, and what its last run has found.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::families::Families;
use super::verdict::{State, Verdict};
use crate::exposition::families::Kept;
use crate::model::{Labels, Timestamp, format_duration};

/// A check whose last run is older than so many intervals is late: what it found then says nothing of now.
pub(super) const LATE: u32 = 3;

/// What became of a run: the label `result`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// It has a verdict of its own.
    With(State),
    /// It took too long.
    Timeout,
    /// It could not be started, was killed, or its end was lost.
    Failed,
}

impl Ended {
    pub const ALL: [Ended; 6] = [
        Ended::With(State::Ok),
        Ended::With(State::Warning),
        Ended::With(State::Critical),
        Ended::With(State::Unknown),
        Ended::Timeout,
        Ended::Failed,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Ended::With(state) => state.as_str(),
            Ended::Timeout => "timeout",
            Ended::Failed => "failed",
        }
    }
}

/// What a command has used; of one that goes on, nothing is known.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct CommandUse {
    /// `None` when it did not exit by itself.
    pub exit_code: Option<i32>,
    /// In user mode and in the kernel.
    pub cpu: Option<Duration>,
    /// Bytes; `None` when it is not known.
    pub max_rss: Option<u64>,
}

/// The end of a run, or a result of a stream.
pub struct Report {
    pub ended: Ended,
    pub verdict: Verdict,
    /// `None` for a stream, which goes on.
    pub ran: Option<Duration>,
    /// Of a check that is a command.
    pub command: Option<CommandUse>,
    pub families: Families,
}

/// The last run of a check.
pub struct LastRun {
    pub verdict: Verdict,
    /// When it ended.
    pub at: Timestamp,
    /// Since when every run has ended in this state.
    pub since: Timestamp,
    /// `None` for a stream, which goes on.
    pub ran: Option<Duration>,
    pub command: Option<CommandUse>,
    ended: Instant,
    found: Vec<Kept>,
}

/// How a check stands.
pub struct Standing {
    pub name: Arc<str>,
    /// Of all its metrics; `check` is among them.
    pub labels: Arc<Labels>,
    pub interval: Duration,
    /// How long a run may take; zero for a stream.
    pub timeout: Duration,
    /// How long a bad state stays when the runs that follow are better.
    pub keep_failing_for: Duration,
    /// Whether its command stays: then runs are its results and its ends.
    pub stream: bool,
    /// When it was put in force as it is now.
    pub since: Timestamp,
    /// Runs, in the order of [`Ended::ALL`].
    pub runs: [u64; Ended::ALL.len()],
    pub last: Option<Arc<LastRun>>,
    /// CPU time that its command has used in all its runs.
    pub cpu: Duration,
    /// The last run that ended badly, for as long as its state is kept.
    bad: Option<Arc<Bad>>,
    /// [`Standing::since`] on the monotonic clock.
    placed: Instant,
    /// Which of the checks that have had this name it is.
    version: u64,
}

/// A verdict that stays for a while.
struct Bad {
    verdict: Verdict,
    at: Instant,
}

impl Bad {
    /// What the check says when a run after this one ends with `now`.
    fn or(&self, now: &Verdict) -> Verdict {
        let Bad { verdict: Verdict { state, summary }, at } = self;
        let ago = format_duration(Duration::from_secs(at.elapsed().as_secs()));
        Verdict::new(*state, format!("{summary} ({ago} ago; since then: {})", now.summary))
    }
}

impl Standing {
    /// A check that has not run yet.
    pub fn new(name: Arc<str>, labels: Arc<Labels>, interval: Duration, timeout: Duration) -> Standing {
        Standing {
            name,
            labels,
            interval,
            timeout,
            keep_failing_for: Duration::ZERO,
            stream: false,
            since: Timestamp::now(),
            runs: [0; Ended::ALL.len()],
            last: None,
            cpu: Duration::ZERO,
            bad: None,
            placed: Instant::now(),
            version: 0,
        }
    }

    /// What the check says after a run that ended with this, and the bad end that it keeps.
    fn judge(&self, verdict: Verdict) -> (Verdict, Option<Arc<Bad>>) {
        let kept = self.bad.clone().filter(|bad| bad.at.elapsed() < self.keep_failing_for);
        match (verdict.state, kept) {
            // What could not be found out is said, and does not end what is known.
            (State::Unknown, kept) => (verdict, kept),
            (state, Some(bad)) if state < bad.verdict.state => (bad.or(&verdict), Some(bad)),
            (State::Ok, _) => (verdict, None),
            (State::Warning | State::Critical, _) => {
                let bad = Bad { verdict: verdict.clone(), at: Instant::now() };
                (verdict, (!self.keep_failing_for.is_zero()).then(|| Arc::new(bad)))
            }
        }
    }

    /// The same for a check whose command stays, or not.
    pub fn streaming(self, stream: bool) -> Standing {
        Standing { stream, ..self }
    }

    /// What the last run has found, unless that is too old.
    pub fn found(&self, now: Instant) -> &[Kept] {
        if self.is_late(now) { &[] } else { self.found_last() }
    }

    /// Whether the last run is too old, or the first should have been long ago.
    pub fn is_late(&self, now: Instant) -> bool {
        let last = self.last.as_ref().map_or(self.placed, |last| last.ended);
        now.saturating_duration_since(last) > self.interval * LATE + self.timeout
    }

    /// What the last run has found, however old it is.
    pub fn found_last(&self) -> &[Kept] {
        self.last.as_ref().map_or(&[], |last| &last.found)
    }
}

/// Stands for a check in the state in which it was put on the board: a run of what the check was before says nothing of
/// what it is now.
#[derive(Clone, Debug)]
pub struct Ticket {
    name: Arc<str>,
    version: u64,
}

/// A check that is to stand on the board.
pub enum Placed {
    /// As it stands there already.
    Same(Arc<str>),
    /// New, or not as it was before: what was counted under its name goes on.
    New(Standing),
}

/// How all checks stand, in the order of the configuration.
#[derive(Default)]
pub struct Board {
    /// A plain mutex: it is held for moments, in which nothing is read or written of what the checks have found.
    rows: Mutex<Rows>,
}

#[derive(Default)]
struct Rows {
    list: Vec<Arc<Standing>>,
    places: HashMap<Arc<str>, usize>,
    versions: u64,
}

impl Rows {
    fn get(&self, name: &str) -> Option<&Arc<Standing>> {
        self.list.get(*self.places.get(name)?)
    }
}

impl Board {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        // Nothing panics while it is held, so what is behind a poisoned lock is still whole.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts these checks on the board and takes all others off. Gives tickets for those that are new, in their order.
    pub fn set(&self, checks: Vec<Placed>) -> Vec<Ticket> {
        let mut rows = self.rows();
        let mut list = Vec::with_capacity(checks.len());
        let mut tickets = Vec::new();
        for placed in checks {
            match placed {
                Placed::Same(name) => list.extend(rows.get(&name).cloned()),
                Placed::New(mut standing) => {
                    rows.versions += 1;
                    standing.version = rows.versions;
                    if let Some(before) = rows.get(&standing.name) {
                        (standing.runs, standing.cpu) = (before.runs, before.cpu);
                    }
                    tickets.push(Ticket { name: standing.name.clone(), version: standing.version });
                    list.push(Arc::new(standing));
                }
            }
        }
        rows.places = list.iter().enumerate().map(|(i, standing)| (standing.name.clone(), i)).collect();
        rows.list = list;
        tickets
    }

    /// Takes in the end of a run.
    pub fn record(&self, ticket: &Ticket, report: Report) {
        let Report { ended, verdict, ran, command, families } = report;
        let (found, at, now) = (families.into_kept(), Timestamp::now(), Instant::now());
        let mut rows = self.rows();
        let place = rows.places.get(&ticket.name).copied();
        let Some(row) = place.and_then(|place| rows.list.get_mut(place)) else { return };
        if row.version != ticket.version {
            return;
        }
        let mut runs = row.runs;
        if let Some(count) = Ended::ALL.iter().position(|e| *e == ended).and_then(|i| runs.get_mut(i)) {
            *count += 1;
        }
        let (verdict, bad) = row.judge(verdict);
        let cpu = row.cpu + command.and_then(|used| used.cpu).unwrap_or_default();
        let before = row.last.as_ref().map(|last| last.verdict.state);
        let same = row.last.as_ref().filter(|last| last.verdict.state == verdict.state);
        let since = same.map_or(at, |last| last.since);
        let last = Arc::new(LastRun { verdict, at, since, ran, command, ended: now, found });
        *row = Arc::new(Standing {
            name: row.name.clone(),
            labels: row.labels.clone(),
            last: Some(last.clone()),
            runs,
            cpu,
            bad,
            ..**row
        });
        drop(rows);
        log_change(&ticket.name, before, &last.verdict);
    }

    /// How a check stands at this moment.
    pub fn get(&self, name: &str) -> Option<Arc<Standing>> {
        self.rows().get(name).cloned()
    }

    /// How all checks stand at this moment.
    pub fn all(&self) -> Vec<Arc<Standing>> {
        self.rows().list.clone()
    }
}

fn log_change(check: &str, before: Option<State>, now: &Verdict) {
    match (before, now.state) {
        (before, state) if before == Some(state) => {}
        (None, State::Ok) => tracing::debug!(check, "{}", now.summary),
        (Some(_), State::Ok) => tracing::info!(check, "ok again: {}", now.summary),
        (_, state) => tracing::warn!(check, "{}: {}", state.as_str(), now.summary),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(name: &str) -> Standing {
        let labels = Arc::new(Labels::from_pairs([("check", name)]));
        Standing::new(name.into(), labels, Duration::from_secs(60), Duration::from_secs(10))
    }

    fn report(state: State) -> Report {
        let mut families = Families::new(Arc::new(Labels::empty()));
        families.gauge("found", "", &[], 1.0);
        let verdict = Verdict::new(state, "so it is");
        Report { ended: Ended::With(state), verdict, ran: Some(Duration::from_millis(5)), command: None, families }
    }

    fn runs(board: &Board) -> Vec<(String, u64)> {
        board.all().iter().map(|s| (s.name.to_string(), s.runs.iter().sum())).collect()
    }

    #[test]
    fn a_run_counts_for_its_check_and_is_what_it_has_found_until_it_is_too_old() {
        let board = Board::default();
        let tickets = board.set(vec![Placed::New(standing("a")), Placed::New(standing("b"))]);
        let now = Instant::now();
        assert!(board.all()[1].found(now).is_empty());
        board.record(&tickets[1], report(State::Warning));
        let standing = board.all().remove(1);
        assert_eq!(standing.runs, [0, 1, 0, 0, 0, 0]);
        assert_eq!(standing.last.as_ref().map(|last| last.verdict.state), Some(State::Warning));
        assert_eq!(standing.found(now + Duration::from_secs(180)).len(), 1);
        assert_eq!(standing.found(now + Duration::from_secs(200)).len(), 0);
        let late =
            |seconds| board.all().iter().map(|s| s.is_late(now + Duration::from_secs(seconds))).collect::<Vec<_>>();
        assert_eq!((late(180), late(200)), (vec![false, false], vec![true, true]), "what never runs is late, too");
        assert_eq!((standing.found_last().len(), board.all()[0].runs), (1, [0; 6]));
        let said = |name| board.get(name).map(|standing| standing.last.as_ref().map(|last| last.verdict.state));
        assert_eq!((said("b"), said("a"), said("c")), (Some(Some(State::Warning)), Some(None), None));
    }

    #[test]
    fn a_state_lasts_from_the_first_run_that_ended_in_it() {
        let board = Board::default();
        let ticket = board.set(vec![Placed::New(standing("a"))]).remove(0);
        let since = |state| {
            board.record(&ticket, report(state));
            board.all()[0].last.as_ref().map(|last| (last.since, last.at)).unwrap()
        };
        let (first, _) = since(State::Critical);
        std::thread::sleep(Duration::from_millis(3));
        let (second, at) = since(State::Critical);
        assert!(second == first && at > first);
        std::thread::sleep(Duration::from_millis(3));
        assert!(since(State::Ok).0 > at);
    }

    #[test]
    fn a_bad_state_is_kept_for_a_while_with_what_it_said() {
        let board = Board::default();
        let kept = Standing { keep_failing_for: Duration::from_millis(400), ..standing("a") };
        let ticket = board.set(vec![Placed::New(kept)]).remove(0);
        let record = |state, summary: &str| {
            board.record(&ticket, Report { verdict: Verdict::new(state, summary), ..report(state) });
            let last = board.all()[0].last.clone().unwrap();
            (last.verdict.state, last.verdict.summary.clone())
        };
        let begun = Instant::now();
        record(State::Critical, "1 line matches");
        let said = record(State::Ok, "no match");
        assert!(begun.elapsed() >= Duration::from_millis(400) || said.0 == State::Critical);
        assert!(said.0 == State::Ok || said.1 == "1 line matches (0s ago; since then: no match)", "{said:?}");
        assert_eq!(record(State::Unknown, "cannot read it").0, State::Unknown, "which must be seen");
        let said = record(State::Warning, "late");
        assert!(begun.elapsed() >= Duration::from_millis(400) || said.0 == State::Critical);
        std::thread::sleep(Duration::from_millis(420));
        assert_eq!(record(State::Ok, "no match"), (State::Ok, "no match".to_string()));
        assert_eq!(board.all()[0].runs[..2], [2, 1], "runs are counted as they end");
    }

    #[test]
    fn what_stays_keeps_how_it_stands_and_what_changes_keeps_what_was_counted() {
        let board = Board::default();
        let old = board.set(vec![Placed::New(standing("a")), Placed::New(standing("b")), Placed::New(standing("c"))]);
        old.iter().for_each(|ticket| board.record(ticket, report(State::Ok)));
        let new = board.set(vec![Placed::New(standing("d")), Placed::Same("b".into()), Placed::New(standing("a"))]);
        assert_eq!(runs(&board), [("d".to_string(), 0), ("b".to_string(), 1), ("a".to_string(), 1)]);
        let all = board.all();
        assert!(all[1].last.is_some() && all[2].last.is_none(), "what it was before has found");
        // Runs that were under way: of what it was before, of what is gone, of what stays.
        old.iter().for_each(|ticket| board.record(ticket, report(State::Ok)));
        assert_eq!(runs(&board), [("d".to_string(), 0), ("b".to_string(), 2), ("a".to_string(), 1)]);
        new.iter().for_each(|ticket| board.record(ticket, report(State::Ok)));
        assert_eq!(runs(&board), [("d".to_string(), 1), ("b".to_string(), 2), ("a".to_string(), 2)]);
    }
}
