//! A group of rules: when it is due, and its evaluation.

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

/// When a group is due.
///
/// On the grid of its interval, counted from the epoch: a group of 15 s at :00, :15, :30 and :45. Prometheus adds an
/// offset of each group's own, to spread thousands of groups over the interval; here there are few, and what they look
/// at arrives on the same grid, so that an offset would only make alerts late.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    interval: Duration,
    last: Option<Moment>,
}

impl Schedule {
    fn slot(&self, at: Moment) -> i64 {
        at.wall.as_millis().div_euclid(self.interval_millis())
    }

    fn interval_millis(&self) -> i64 {
        i64::try_from(self.interval.as_millis()).unwrap_or(i64::MAX).max(1)
    }

    /// Whether the group is due, and if so how many evaluations were missed since its last.
    fn due(&mut self, now: Moment) -> Option<u64> {
        let Some(last) = self.last else {
            self.last = Some(now);
            return Some(0);
        };
        let elapsed = now.since(last.mono);
        if self.slot(now) == self.slot(last) && elapsed < self.interval_millis() {
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
            rules: spec.rules.into_iter().map(|rule| Rule::new(rule, slack)).collect(),
            query_offset: spec.query_offset,
            limit: spec.limit,
            schedule: Schedule { interval, last: None },
        }
    }

    /// The rules' identities within the group: kind, name, and which of those of that name it is.
    pub fn keys(&self) -> Vec<RuleKey> {
        let mut keys: Vec<RuleKey> = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            let alert = matches!(rule.spec, RuleSpec::Alerting(_));
            let name = rule.spec.name().to_string();
            let nth = keys.iter().filter(|k| k.alert == alert && k.name == name).count();
            keys.push(RuleKey { alert, name, nth });
        }
        keys
    }

    /// Takes over what the rules of a group that this one replaces remember.
    pub fn take_over(&mut self, old: &mut Group) {
        if self.schedule.interval == old.schedule.interval {
            self.schedule = old.schedule;
        }
        let old_keys = old.keys();
        for (key, rule) in self.keys().iter().zip(&mut self.rules) {
            if let Some(old) = old_keys.iter().position(|k| k == key).and_then(|n| old.rules.get_mut(n)) {
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
            total.alerts.extend(rule.alerts.due(now, settings.resend_delay, rule.spec.query().text()));
        }
        self.metrics.last_samples.set(samples as f64);
        self.metrics.last_evaluation.set(now.wall.as_secs_f64());
        self.metrics.last_duration.set(began.elapsed().as_secs_f64());
        Some(total)
    }
}

/// A rule's identity within its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleKey {
    pub alert: bool,
    pub name: String,
    pub nth: usize,
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
        let mut schedule = Schedule { interval: Duration::from_secs(15), last: None };
        let due: Vec<i64> = (0..50).filter(|s| schedule.due(at((1_000_007 + s) * 1000, s * 1000)).is_some()).collect();
        // The first at once, then where the seconds divide by 15: 1,000,020 and so on.
        assert_eq!(due, [0, 13, 28, 43]);
    }

    #[test]
    fn late_ticks_are_counted_as_missed() {
        let mut schedule = Schedule { interval: Duration::from_secs(1), last: None };
        let missed = [0, 1000, 2003, 2998, 4001, 9000].map(|ms| schedule.due(at(ms, ms)));
        assert_eq!(missed, [Some(0), Some(0), Some(0), None, Some(1), Some(4)]);
    }

    #[test]
    fn a_step_of_the_wall_clock_misses_nothing_and_stops_nothing() {
        let mut schedule = Schedule { interval: Duration::from_secs(10), last: None };
        assert_eq!(schedule.due(at(0, 0)), Some(0));
        assert_eq!(schedule.due(at(86_400_000, 10_000)), Some(0));
        assert_eq!(schedule.due(at(1_000, 20_000)), Some(0));
        let stuck = [25_000, 29_999, 30_000].map(|mono| schedule.due(at(1_000, mono)));
        assert_eq!(stuck, [None, None, Some(0)]);
    }
}
