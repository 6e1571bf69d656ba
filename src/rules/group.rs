//! A group of rules: when it is due, and its evaluation, rule by rule.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::alert::Moment;
use super::engine::{Patience, Settings};
use super::event::Alert;
use super::metrics::{GroupMetrics, Metrics};
use super::rule::{Environment, Failure, Outcome, Rule};
use super::saved::{Changed, StateChanges};
use super::spec::{GroupSpec, RuleSpec};
use super::view::{GroupView, RuleView};
use crate::history::History;
use crate::model::{SeriesTable, Timestamp};
use crate::promql::EvalOptions;

/// When a group is due.
///
/// On the grid of its interval, counted from the epoch: a group of 15 s at :00, :15, :30 and :45. Prometheus adds an
/// offset of each group's own, to spread thousands of groups over the interval; here there are few, and what they look
/// at arrives on the same grid, so that an offset would only make alerts late.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    interval: Duration,
    last: Option<Moment>,
    /// Milliseconds after the last evaluation in which there is no other.
    rest: i64,
}

/// For so many times as long as it took, a group is not evaluated again: no rule takes all of a core, and others have
/// their turn.
const REST: u32 = 4;

impl Schedule {
    fn new(interval: Duration) -> Schedule {
        Schedule { interval, last: None, rest: 0 }
    }

    fn slot(&self, at: Moment) -> i64 {
        at.wall.as_millis().div_euclid(self.interval_millis())
    }

    fn interval_millis(&self) -> i64 {
        i64::try_from(self.interval.as_millis()).unwrap_or(i64::MAX).max(1)
    }

    /// The evaluation that has just ended took so long.
    fn took(&mut self, duration: Duration) {
        self.rest = i64::try_from(duration.saturating_mul(REST).as_millis()).unwrap_or(i64::MAX);
    }

    /// Whether the group is due, and if so how many evaluations were missed since its last.
    fn due(&mut self, now: Moment) -> Option<u64> {
        let Some(last) = self.last else {
            self.last = Some(now);
            return Some(0);
        };
        let elapsed = now.since(last.mono);
        let same_slot = self.slot(now) == self.slot(last) && elapsed < self.interval_millis();
        if same_slot || elapsed < self.rest {
            return None;
        }
        self.last = Some(now);
        // By the monotonic clock: a step of the wall clock misses nothing. Half an interval for the place in the slots.
        let intervals = (elapsed + self.interval_millis() / 2) / self.interval_millis();
        Some(u64::try_from(intervals.saturating_sub(1)).unwrap_or(0))
    }
}

/// An evaluation that waits for its turn, or is under way.
#[derive(Clone, Copy, Debug)]
struct Run {
    now: Moment,
    /// The place of the rule that comes next.
    next: usize,
    /// The tick came before that rule was done, and before it had all the time that a rule may take.
    interrupted: bool,
    /// Ticks that have come since a rule was evaluated.
    waited: u32,
    /// How long the rules so far took.
    took: Duration,
    /// How many samples they gave.
    samples: usize,
}

impl Run {
    fn new(now: Moment) -> Run {
        Run { now, next: 0, interrupted: false, waited: 0, took: Duration::ZERO, samples: 0 }
    }
}

/// A group whose last evaluation was longer comes after the others.
const LONG: Duration = Duration::from_millis(20);

/// But not when it has waited for so many ticks.
const LONGEST_WAIT: u32 = 3;

/// A group with what it remembers.
#[derive(Debug)]
pub struct Group {
    pub file: Arc<str>,
    pub name: Arc<str>,
    pub rules: Vec<Rule>,
    /// The rules' identities, in their order.
    pub keys: Vec<RuleKey>,
    query_offset: Duration,
    limit: usize,
    schedule: Schedule,
    run: Option<Run>,
    /// How long the last evaluation took.
    took: Duration,
    /// When that was.
    last: Option<Timestamp>,
    /// As it was shown last; nothing when something has changed since.
    view: Option<Arc<GroupView>>,
    pub metrics: GroupMetrics,
}

/// What the evaluation of a group came to.
#[derive(Default)]
pub struct GroupOutcome {
    /// Alerts to be told.
    pub alerts: Vec<Alert>,
    /// An alert came, went or changed its state.
    pub changed: bool,
}

impl Group {
    pub fn new(spec: GroupSpec, settings: &Settings, metrics: &Metrics) -> Group {
        let interval = spec.interval.unwrap_or(settings.interval).max(Duration::from_millis(1));
        let slack = (interval / 2).min(settings.slack);
        let label = format!("{};{}", spec.file, spec.name);
        Group {
            metrics: metrics.group(&label, spec.rules.len(), interval.as_secs_f64()),
            file: spec.file.into(),
            name: spec.name.into(),
            keys: keys(&spec.rules),
            rules: spec.rules.into_iter().map(|rule| Rule::new(rule, slack)).collect(),
            query_offset: spec.query_offset.unwrap_or(settings.query_offset),
            limit: spec.limit,
            schedule: Schedule::new(interval),
            run: None,
            took: Duration::ZERO,
            last: None,
            view: None,
        }
    }

    /// The group as it stands, to be shown elsewhere.
    pub fn view(&mut self) -> Arc<GroupView> {
        if let Some(view) = &self.view {
            return view.clone();
        }
        let view = Arc::new(GroupView {
            file: self.file.clone(),
            name: self.name.clone(),
            interval: self.schedule.interval,
            limit: self.limit,
            took: self.took,
            last_evaluation: self.last,
            rules: self.rules.iter().map(RuleView::of).collect(),
        });
        self.view = Some(view.clone());
        view
    }

    /// What is shown of it is not what it was.
    pub fn touch(&mut self) {
        self.view = None;
    }

    /// Takes over what the rules of a group that this one replaces remember.
    pub fn take_over(&mut self, old: &mut Group) {
        if self.schedule.interval == old.schedule.interval {
            self.schedule = old.schedule;
            // What is under way is not the evaluation of these rules.
            self.run = old.run.filter(|run| run.next == 0);
        }
        (self.took, self.last) = (old.took, old.last);
        let places: HashMap<&RuleKey, usize> = old.keys.iter().zip(0..).collect();
        for (key, rule) in self.keys.iter().zip(&mut self.rules) {
            if let Some(old) = places.get(key).and_then(|n| old.rules.get_mut(*n)) {
                rule.alerts.take_over(&mut old.alerts);
                rule.outputs.take_over(&mut old.outputs);
                rule.error = old.error.take();
                rule.last = old.last;
                rule.failed = old.failed;
            }
        }
    }

    /// Begins an evaluation, due or not.
    pub fn begin(&mut self, now: Moment) {
        self.run = Some(Run::new(now));
    }

    /// A tick has come: whether the group is due, and was not waiting for its turn already.
    ///
    /// A group that waits is evaluated at the time of the latest tick at which it was due, one that is under way at the
    /// time at which it began; what falls out thereby is counted as missed.
    pub fn tick(&mut self, now: Moment) -> bool {
        let waiting = self.run.is_some();
        if let Some(run) = &mut self.run {
            run.waited = run.waited.saturating_add(1);
            if run.next > 0 {
                return false;
            }
        }
        let Some(missed) = self.schedule.due(now) else { return false };
        self.metrics.iterations.inc_by(missed.saturating_add(1));
        self.metrics.missed.inc_by(missed.saturating_add(u64::from(waiting)));
        match &mut self.run {
            Some(run) => run.now = now,
            None => self.run = Some(Run::new(now)),
        }
        !waiting
    }

    /// Whether it waits for its turn, or is under way.
    pub fn has_work(&self) -> bool {
        self.run.is_some()
    }

    /// Whether it has its turn after the groups that are quickly done.
    pub fn comes_last(&self) -> bool {
        self.took > LONG && self.run.is_none_or(|run| run.waited < LONGEST_WAIT)
    }

    /// Gives up the evaluation that waits or is under way.
    pub fn abandon(&mut self) {
        if self.run.take().is_some() {
            self.metrics.missed.inc();
        }
    }

    /// Evaluates the next rule, on what those before it gave. Nothing if the tick came before it was done, so that it
    /// is to be evaluated anew.
    pub fn evaluate_next(
        &mut self,
        history: &RwLock<History>,
        table: &SeriesTable,
        settings: &Settings,
        patience: Option<Patience>,
    ) -> Option<GroupOutcome> {
        let mut run = self.run.take()?;
        let mut total = GroupOutcome::default();
        let Some(rule) = self.rules.get_mut(run.next) else {
            self.finish(run, patience.is_some());
            return Some(total);
        };
        self.view = None;
        let began = Instant::now();
        let given_up = patience.map(|p| began + p.budget);
        // The second time the tick waits: a rule that is always interrupted would never be evaluated.
        let tick = patience.filter(|_| !run.interrupted).map(|p| p.next_tick);
        let deadline = given_up.map(|at| tick.map_or(at, |tick| at.min(tick)));
        let options = EvalOptions {
            subquery_step: settings.interval,
            lookback: settings.lookback,
            deadline,
            ..EvalOptions::default()
        };
        let at = run.now.wall - self.query_offset;
        let result = rule.evaluate(&Environment {
            history: &history.read().unwrap_or_else(PoisonError::into_inner),
            external_labels: &settings.external_labels,
            external_url: &settings.external_url,
            now: run.now,
            at,
            limit: self.limit,
            options: &options,
            culprits: &settings.culprits,
        });
        let (outcome, error) = match result {
            Ok(outcome) => (outcome, None),
            Err(Failure::Failed(error, outcome)) => (outcome, Some(error)),
            Err(Failure::TimedOut) if deadline != given_up => {
                run.interrupted = true;
                run.took += began.elapsed();
                self.run = Some(run);
                return None;
            }
            Err(Failure::TimedOut) => {
                let budget = patience.map(|p| p.budget).unwrap_or_default();
                (Outcome::default(), Some(too_long(budget)))
            }
        };
        rule.last = Some((run.now.wall, began.elapsed()));
        self.metrics.evaluations.inc();
        self.metrics.template_failures.inc_by(outcome.template_failures.len() as u64);
        total.changed |= outcome.changed;
        total.alerts.extend(outcome.ended);
        let failed = error.is_some();
        let mut refused = None;
        if failed {
            self.metrics.failures.inc();
            rule.outputs.fail();
        } else {
            run.samples += outcome.samples.len();
            if !outcome.samples.is_empty() || !rule.outputs.is_empty() {
                let mut history = history.write().unwrap_or_else(PoisonError::into_inner);
                refused = rule.outputs.replace(outcome.samples, at, &mut history, table);
            }
            // Between evaluations nothing is told.
            let resend = settings.resend_delay.max(self.schedule.interval);
            total.alerts.extend(rule.alerts.due(run.now, resend, rule.spec.expr()));
        }
        rule.failed = failed || refused.is_some();
        let trouble = error.or(refused).or(outcome.template_failures.into_iter().next());
        if trouble != rule.error {
            // Said once, not at every tick.
            match &trouble {
                Some(error) => tracing::warn!(group = &*self.name, rule = rule.spec.name(), error, "rule failed"),
                None => tracing::info!(group = &*self.name, rule = rule.spec.name(), "rule works again"),
            }
            rule.error = trouble;
        }
        run = Run {
            next: run.next.saturating_add(1),
            interrupted: false,
            waited: 0,
            took: run.took + began.elapsed(),
            ..run
        };
        if run.next < self.rules.len() {
            self.run = Some(run);
        } else {
            self.finish(run, patience.is_some());
        }
        Some(total)
    }

    /// All rules are evaluated. `rests`: somebody waits for the time that they take.
    fn finish(&mut self, run: Run, rests: bool) {
        self.metrics.last_samples.set(run.samples as f64);
        self.metrics.last_evaluation.set(run.now.wall.as_secs_f64());
        self.metrics.last_duration.set(run.took.as_secs_f64());
        if rests {
            self.schedule.took(run.took);
        }
        self.took = run.took;
        self.last = Some(run.now.wall);
        self.view = None;
    }

    /// Adds the alerts that came, went or changed their state since the last call; `next` is the first number that is
    /// free.
    pub fn take_changes(&mut self, next: &mut u64, changes: &mut StateChanges) {
        for (key, rule) in self.keys.iter().zip(&mut self.rules) {
            let (changed, gone) = rule.alerts.take_changes(next);
            changes.changed.extend(changed.into_iter().map(|(number, labels, alert)| Changed {
                number,
                file: self.file.clone(),
                group: self.name.clone(),
                rule: key.name.clone(),
                nth: key.nth,
                labels,
                alert,
            }));
            changes.gone.extend(gone);
        }
    }
}

/// Why a rule failed that took too long, and what to do.
fn too_long(budget: Duration) -> String {
    format!(
        "it took longer than {budget:?} and was given up: more would hold up the sampling; let it look at fewer series or \
         a shorter range, or have other rules record parts of it"
    )
}

/// A rule's identity within its group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RuleKey {
    pub alert: bool,
    pub name: Arc<str>,
    /// Which of those of that kind and name it is.
    pub nth: usize,
}

fn keys(rules: &[RuleSpec]) -> Vec<RuleKey> {
    let mut seen: HashMap<(bool, &str), usize> = HashMap::new();
    let key = |rule| {
        let (alert, name) = (matches!(rule, &RuleSpec::Alerting(_)), RuleSpec::name(rule));
        let next = seen.entry((alert, name)).or_default();
        let nth = *next;
        *next += 1;
        RuleKey { alert, name: name.into(), nth }
    };
    rules.iter().map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: i64, mono: i64) -> Moment {
        Moment { wall: Timestamp::from_millis(wall), mono }
    }

    #[test]
    fn a_group_is_due_on_the_grid_of_its_interval() {
        let mut schedule = Schedule::new(Duration::from_secs(15));
        let due: Vec<i64> = (0..50).filter(|s| schedule.due(at((1_000_007 + s) * 1000, s * 1000)).is_some()).collect();
        // The first at once, then where the seconds divide by 15: 1,000,020 and so on.
        assert_eq!(due, [0, 13, 28, 43]);
    }

    #[test]
    fn late_ticks_are_counted_as_missed() {
        let mut schedule = Schedule::new(Duration::from_secs(1));
        let missed = [0, 1000, 2003, 2998, 4001, 9000].map(|ms| schedule.due(at(ms, ms)));
        assert_eq!(missed, [Some(0), Some(0), Some(0), None, Some(1), Some(4)]);
    }

    #[test]
    fn a_group_that_takes_long_leaves_most_of_the_time_to_others_and_counts_as_late() {
        let mut schedule = Schedule::new(Duration::from_secs(1));
        assert_eq!(schedule.due(at(0, 0)), Some(0));
        schedule.took(Duration::from_millis(200));
        assert_eq!(schedule.due(at(1000, 1000)), Some(0), "it keeps up");
        schedule.took(Duration::from_millis(900));
        let due = [2000, 3000, 4000, 5000].map(|ms| schedule.due(at(ms, ms)));
        assert_eq!(due, [None, None, None, Some(3)]);
    }

    #[test]
    fn a_step_of_the_wall_clock_misses_nothing_and_stops_nothing() {
        let mut schedule = Schedule::new(Duration::from_secs(10));
        assert_eq!(schedule.due(at(0, 0)), Some(0));
        assert_eq!(schedule.due(at(86_400_000, 10_000)), Some(0));
        assert_eq!(schedule.due(at(1_000, 20_000)), Some(0));
        let stuck = [25_000, 29_999, 30_000].map(|mono| schedule.due(at(1_000, mono)));
        assert_eq!(stuck, [None, None, Some(0)]);
    }
}
