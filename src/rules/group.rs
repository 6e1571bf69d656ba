//! A group of rules: when it is due, and its evaluation.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::alert::Moment;
use super::engine::Settings;
use super::event::Alert;
use super::metrics::{GroupMetrics, Metrics};
use super::rule::{Environment, Rule};
use super::spec::{GroupSpec, RuleSpec};
use crate::history::History;
use crate::model::SeriesTable;
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

/// For so many times as long as it took, a group is not evaluated again: nothing is sampled meanwhile, and no other
/// rule evaluated.
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

/// A group with what it remembers.
#[derive(Debug)]
pub struct Group {
    pub file: String,
    pub name: String,
    pub rules: Vec<Rule>,
    /// The rules' identities, in their order.
    pub keys: Vec<RuleKey>,
    query_offset: Duration,
    limit: usize,
    schedule: Schedule,
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
        let slack = (interval / 2).min(Duration::from_millis(500));
        let label = format!("{};{}", spec.file, spec.name);
        Group {
            metrics: metrics.group(&label, spec.rules.len(), interval.as_secs_f64()),
            file: spec.file,
            name: spec.name,
            keys: keys(&spec.rules),
            rules: spec.rules.into_iter().map(|rule| Rule::new(rule, slack)).collect(),
            query_offset: spec.query_offset,
            limit: spec.limit,
            schedule: Schedule::new(interval),
        }
    }

    /// Takes over what the rules of a group that this one replaces remember.
    pub fn take_over(&mut self, old: &mut Group) {
        if self.schedule.interval == old.schedule.interval {
            self.schedule = old.schedule;
        }
        let places: HashMap<&RuleKey, usize> = old.keys.iter().zip(0..).collect();
        for (key, rule) in self.keys.iter().zip(&mut self.rules) {
            if let Some(old) = places.get(key).and_then(|n| old.rules.get_mut(*n)) {
                rule.alerts.take_over(&mut old.alerts);
                rule.outputs.take_over(&mut old.outputs);
                rule.error = old.error.take();
            }
        }
    }

    /// Evaluates the rules in their order, each on what those before it gave, if the group is due.
    pub fn evaluate(
        &mut self,
        history: &RwLock<History>,
        table: &SeriesTable,
        settings: &Settings,
        now: Moment,
    ) -> Option<GroupOutcome> {
        let missed = self.schedule.due(now)?;
        let began = Instant::now();
        self.metrics.iterations.inc_by(missed.saturating_add(1));
        self.metrics.missed.inc_by(missed);
        // A rule that takes longer than that could not be evaluated in time the next time either.
        let patience = self.schedule.interval.clamp(Duration::from_secs(1), Duration::from_secs(10));
        let options = EvalOptions {
            subquery_step: settings.interval,
            deadline: began.checked_add(patience),
            ..EvalOptions::default()
        };
        let mut total = GroupOutcome::default();
        let mut samples = 0;
        let at = now.wall - self.query_offset;
        for rule in &mut self.rules {
            self.metrics.evaluations.inc();
            let outcome = rule.evaluate(&Environment {
                history: &history.read().unwrap_or_else(PoisonError::into_inner),
                external_labels: &settings.external_labels,
                external_url: &settings.external_url,
                now,
                at,
                limit: self.limit,
                options: &options,
            });
            let (outcome, error) = match outcome {
                Ok(outcome) => (outcome, None),
                Err((error, outcome)) => (outcome, Some(error)),
            };
            total.changed |= outcome.changed;
            total.alerts.extend(outcome.ended);
            self.metrics.template_failures.inc_by(outcome.template_failures.len() as u64);
            let failed = error.is_some();
            let trouble = error.or(outcome.template_failures.into_iter().next());
            if trouble != rule.error {
                // Said once, not at every tick.
                match &trouble {
                    Some(error) => tracing::warn!(group = self.name, rule = rule.spec.name(), error, "rule failed"),
                    None => tracing::info!(group = self.name, rule = rule.spec.name(), "rule works again"),
                }
                rule.error = trouble;
            }
            if failed {
                self.metrics.failures.inc();
                rule.outputs.fail();
                continue;
            }
            samples += outcome.samples.len();
            if !outcome.samples.is_empty() || !rule.outputs.is_empty() {
                let mut history = history.write().unwrap_or_else(PoisonError::into_inner);
                rule.outputs.replace(outcome.samples, at, &mut history, table);
            }
            // Between evaluations nothing is told.
            let resend = settings.resend_delay.max(self.schedule.interval);
            total.alerts.extend(rule.alerts.due(now, resend, rule.spec.expr()));
        }
        self.metrics.last_samples.set(samples as f64);
        self.metrics.last_evaluation.set(now.wall.as_secs_f64());
        let took = began.elapsed();
        self.schedule.took(took);
        self.metrics.last_duration.set(took.as_secs_f64());
        Some(total)
    }
}

/// A rule's identity within its group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RuleKey {
    pub alert: bool,
    pub name: String,
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
        RuleKey { alert, name: name.to_string(), nth }
    };
    rules.iter().map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

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
