//! All groups of rules, evaluated tick by tick.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus::Registry;

use super::alert::{Alerts, Moment, Timing};
use super::event::Alert;
use super::group::Group;
use super::metrics::Metrics;
use super::outputs::Outputs;
use super::rule::{ALERTS, ALERTS_FOR_STATE};
use super::saved::{RulesState, SavedAlert};
use super::spec::GroupSpec;
use crate::history::History;
use crate::model::{Labels, METRIC_NAME, MetricType, Section, SeriesTable, Timestamp, Writer};

/// Most series that rules may put on `/metrics`.
const MAX_EXPOSED: usize = 10_000;

/// What holds for all groups.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How often a group is evaluated that says nothing of it (`global.evaluation_interval`).
    pub interval: Duration,
    /// How soon an alert that goes on firing is told again.
    pub resend_delay: Duration,
    /// For templates (`global.external_labels`).
    pub external_labels: Labels,
    /// For templates: where people reach this program.
    pub external_url: String,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            interval: Duration::from_secs(1),
            resend_delay: Duration::from_secs(60),
            external_labels: Labels::empty(),
            external_url: String::new(),
        }
    }
}

/// What a tick came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Alerts to be told now.
    pub alerts: Vec<Alert>,
    /// An alert came, went or changed its state: the state is worth saving.
    pub changed: bool,
}

/// All groups of rules with what they remember.
pub struct RuleEngine {
    groups: Vec<Group>,
    settings: Settings,
    table: Arc<SeriesTable>,
    metrics: Metrics,
    writer: Writer,
    /// Series of rules that are gone, to be ended at the next tick.
    orphans: Vec<Outputs>,
    /// Alerts of rules that are gone, with the rules' expressions, to be resolved at the next tick.
    orphan_alerts: Vec<(Alerts, String)>,
}

impl RuleEngine {
    /// The groups, nothing evaluated yet. The error is that of registering instruments twice.
    pub fn new(
        groups: Vec<GroupSpec>,
        settings: Settings,
        table: Arc<SeriesTable>,
        registry: &Registry,
    ) -> prometheus::Result<RuleEngine> {
        let metrics = Metrics::new(registry)?;
        Ok(RuleEngine {
            groups: groups.into_iter().map(|spec| Group::new(spec, &settings, &metrics)).collect(),
            settings,
            writer: Writer::new("rules", table.clone(), MAX_EXPOSED),
            table,
            metrics,
            orphans: Vec::new(),
            orphan_alerts: Vec::new(),
        })
    }

    /// Puts other groups in the place of the present ones, at a reload. A rule of the same name, in a group of the same
    /// name and file, goes on where it was; alerts of rules that are gone are resolved at the next tick.
    pub fn replace(&mut self, groups: Vec<GroupSpec>, settings: Settings) {
        let mut old = std::mem::take(&mut self.groups);
        // Before the new ones are made: an old group and a new one share their series of instruments.
        old.iter().for_each(|group| group.metrics.remove());
        self.settings = settings;
        for spec in groups {
            let mut group = Group::new(spec, &self.settings, &self.metrics);
            if let Some(old) = old.iter_mut().find(|o| o.file == group.file && o.name == group.name) {
                group.take_over(old);
            }
            self.groups.push(group);
        }
        for rule in old.into_iter().flat_map(|group| group.rules) {
            self.orphan_alerts.push((rule.alerts, rule.spec.query().text().to_string()));
            self.orphans.push(rule.outputs);
        }
    }

    /// Rules in all groups.
    pub fn rules(&self) -> usize {
        self.groups.iter().map(|g| g.rules.len()).sum()
    }

    /// The rules whose last evaluation failed, as `group/rule: why`.
    pub fn rule_errors(&self) -> Vec<String> {
        let all = self.groups.iter().flat_map(|g| g.rules.iter().map(move |r| (g, r)));
        all.filter_map(|(g, r)| Some(format!("{}/{}: {}", g.name, r.spec.name(), r.error.as_ref()?))).collect()
    }

    /// Evaluates the groups that are due. `now` is the tick's time, on its grid; `mono` the same moment on the monotonic
    /// clock, as time since any fixed moment.
    ///
    /// The lock is taken for reading while an expression is evaluated, and for writing only while its result is
    /// appended.
    pub fn evaluate(&mut self, history: &RwLock<History>, now: Timestamp, mono: Duration) -> Evaluation {
        let now = Moment::new(now, mono);
        let mut total = Evaluation::default();
        if !self.orphans.is_empty() {
            let mut history = history.write().unwrap_or_else(PoisonError::into_inner);
            for mut outputs in std::mem::take(&mut self.orphans) {
                outputs.replace(Vec::new(), now.wall, &mut history, &self.table);
            }
        }
        for (mut alerts, expr) in std::mem::take(&mut self.orphan_alerts) {
            total.changed |= alerts.iter().next().is_some();
            total.alerts.extend(alerts.end_all(now, &expr));
        }
        for group in &mut self.groups {
            if let Some(outcome) = group.evaluate(history, &self.table, &self.settings, now) {
                total.alerts.extend(outcome.alerts);
                total.changed |= outcome.changed;
            }
        }
        total
    }

    /// What the rules put on `/metrics`: recorded series, `ALERTS` and `ALERTS_FOR_STATE`, without the target labels
    /// where they are those of this target, as a server that scrapes them adds its own.
    ///
    /// History has these samples already: the section is for exposition alone.
    pub fn section(&mut self) -> Arc<Section> {
        let mut families: BTreeMap<&str, Vec<(&Labels, f64)>> = BTreeMap::new();
        for rule in self.groups.iter().flat_map(|group| &group.rules) {
            for (labels, value) in rule.outputs.iter() {
                families.entry(labels.metric_name()).or_default().push((labels, value));
            }
        }
        let target = self.table.target();
        let mut pairs: Vec<(&[u8], &[u8])> = Vec::new();
        for (name, samples) in &families {
            let help = match *name {
                ALERTS => "Alerts that are pending or firing.",
                ALERTS_FOR_STATE => "When the condition of an alert began to hold, in seconds since the epoch.",
                _ => "Result of a recording rule.",
            };
            let mut family = self.writer.family(MetricType::Gauge, name, help, []);
            for (labels, value) in samples {
                pairs.clear();
                let shown = labels.iter().filter(|(n, v)| *n != METRIC_NAME && target.get(n) != *v);
                pairs.extend(shown.map(|(n, v)| (n.as_bytes(), v.as_bytes())));
                family.put_labels("", &pairs, *value);
            }
        }
        self.writer.finish().0
    }

    /// All alerts, to be kept over a restart. `mono` is on the clock of [`RuleEngine::evaluate`].
    pub fn snapshot_state(&self, now: Timestamp, mono: Duration) -> RulesState {
        let now = Moment::new(now, mono);
        let mut alerts = Vec::new();
        for group in &self.groups {
            for (key, rule) in group.keys().into_iter().zip(&group.rules) {
                alerts.extend(rule.alerts.iter().map(|(labels, alert)| SavedAlert {
                    file: group.file.clone(),
                    group: group.name.clone(),
                    rule: key.name.clone(),
                    nth: key.nth,
                    ..SavedAlert::of(labels, alert, now)
                }));
            }
        }
        RulesState { alerts }
    }

    /// Puts back the alerts of a [`RulesState`], before the first evaluation. What had lasted goes on lasting; the time
    /// in between is not counted, as nobody knows what was then. Alerts of rules that are gone are resolved at the next
    /// tick.
    pub fn restore_state(&mut self, state: &RulesState, now: Timestamp, mono: Duration) {
        let now = Moment::new(now, mono);
        for saved in &state.alerts {
            let (labels, alert) = saved.restored(now);
            let rule = self.groups.iter_mut().find(|g| g.file == saved.file && g.name == saved.group).and_then(|g| {
                let nth = g.keys().iter().position(|k| k.alert && k.name == saved.rule && k.nth == saved.nth)?;
                g.rules.get_mut(nth)
            });
            match rule {
                Some(rule) => {
                    let grace = rule.spec.query().window();
                    rule.alerts.restore(labels, alert, now, grace);
                }
                None => {
                    let mut alerts = Alerts::new(Timing::default());
                    alerts.restore(labels, alert, now, Duration::ZERO);
                    self.orphan_alerts.push((alerts, String::new()));
                }
            }
        }
    }
}
