//! All groups of rules, evaluated tick by tick.
//!
//! A tick says which groups are due ([`RuleEngine::tick`]); their rules are then evaluated a few at a time
//! ([`RuleEngine::work`]), so that whoever samples the host can do so in between. Groups take turns: those that are
//! quickly done come first, and none waits for ever.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use prometheus::Registry;

use super::alert::{ActiveAlert, Alerts, Moment, Timing};
use super::event::{Alert, Culprits};
use super::file::{is_label_name, is_metric_name};
use super::group::Group;
use super::metrics::Metrics;
use super::outputs::Outputs;
use super::rule::{ALERTS, ALERTS_FOR_STATE};
use super::saved::{SavedAlert, StateChanges};
use super::spec::{GroupSpec, RuleSpec};
use super::view::GroupView;
use crate::history::History;
use crate::model::{Labels, METRIC_NAME, MetricType, Section, SeriesTable, Timestamp, Writer};
use crate::promql::EvalOptions;
use crate::promql::SharedReads;

/// Most series that rules may put on `/metrics`.
const MAX_EXPOSED: usize = 10_000;

/// How long a group may go on before others have their turn.
const TURN: Duration = Duration::from_millis(10);

/// For so long at least a restored alert is left alone that is not given: at the first ticks a slow collector may have
/// nothing yet.
const LEAST_GRACE: Duration = Duration::from_secs(15);

/// What holds for all groups.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How often a group is evaluated that says nothing of it (`global.evaluation_interval`).
    pub interval: Duration,
    /// How far back in time a group is evaluated that says nothing of it (`global.rule_query_offset`).
    pub query_offset: Duration,
    /// How far an instant selector looks back (`query.lookback_delta`).
    pub lookback: Duration,
    /// How soon an alert that goes on firing is told again.
    pub resend_delay: Duration,
    /// For templates (`global.external_labels`).
    pub external_labels: Labels,
    /// For templates: where people reach this program.
    pub external_url: String,
    /// How much earlier than exactly on time an evaluation may come and still count as on time, but no more than half an
    /// interval: ticks are on a grid of the wall clock, and their distance on the monotonic clock varies.
    pub slack: Duration,
    /// Who is named with an alert that begins to fire.
    pub culprits: Culprits,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            interval: Duration::from_secs(1),
            query_offset: Duration::ZERO,
            lookback: EvalOptions::default().lookback,
            resend_delay: Duration::from_secs(60),
            external_labels: Labels::empty(),
            external_url: String::new(),
            slack: Duration::from_millis(500),
            culprits: Culprits::default(),
        }
    }
}

/// How long one who waits for the rules can wait.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// When the host is to be sampled next: a rule that is not done then is interrupted, once, to be evaluated anew.
    pub next_tick: Instant,
    /// How long one rule may take in any case; then it has failed.
    pub budget: Duration,
}

/// What an evaluation came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Alerts to be told now.
    pub alerts: Vec<Alert>,
    /// An alert came, went or changed its state: the state is worth saving.
    pub changed: bool,
}

/// Has the rules share what they read; what they give themselves changes while they are evaluated.
fn share(groups: &[Group]) -> SharedReads {
    let rules = || groups.iter().flat_map(|group| &group.rules);
    let recorded = rules().filter_map(|rule| match &*rule.spec {
        RuleSpec::Recording(r) => Some(r.record.as_str()),
        RuleSpec::Alerting(_) => None,
    });
    let own = recorded.chain([ALERTS, ALERTS_FOR_STATE]).collect();
    SharedReads::new(rules().map(|rule| rule.spec.query()), &own)
}

/// All groups of rules with what they remember.
pub struct RuleEngine {
    groups: Vec<Group>,
    /// The places of the groups that wait for their turn.
    queue: VecDeque<usize>,
    settings: Settings,
    table: Arc<SeriesTable>,
    metrics: Metrics,
    writer: Writer,
    /// What several rules read.
    shared: SharedReads,
    /// Series of rules that are gone, to be ended at the next tick.
    orphans: Vec<Outputs>,
    /// Alerts of rules that are gone, with the rules' expressions, to be resolved at the next tick.
    orphan_alerts: Vec<(Alerts, String)>,
    /// The numbers under which alerts were kept that are gone with their rules.
    gone: Vec<u64>,
    /// The first number that no alert was kept under.
    next_number: u64,
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
        let groups: Vec<Group> = groups.into_iter().map(|spec| Group::new(spec, &settings, &metrics)).collect();
        Ok(RuleEngine {
            shared: share(&groups),
            groups,
            queue: VecDeque::new(),
            settings,
            writer: Writer::new("rules", table.clone(), MAX_EXPOSED),
            table,
            metrics,
            orphans: Vec::new(),
            orphan_alerts: Vec::new(),
            gone: Vec::new(),
            next_number: 0,
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
        self.shared = share(&self.groups);
        self.queue = (0..).zip(&self.groups).filter(|(_, group)| group.has_work()).map(|(place, _)| place).collect();
        for rule in old.into_iter().flat_map(|group| group.rules) {
            self.orphan_alerts.push((rule.alerts, rule.spec.expr().to_string()));
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

    /// The rules whose last evaluation gave nothing because of an error: group, rule and why. A text of an alert that
    /// could not be expanded is no such error.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let all = self.groups.iter().flat_map(|g| g.rules.iter().map(move |r| (g, r)));
        let failed = all.filter(|(_, r)| r.failed);
        failed.filter_map(|(g, r)| Some((&*g.name, r.spec.name(), r.error.as_deref()?)))
    }

    /// A tick: the groups that are due are evaluated from now on, by [`RuleEngine::work`]. `now` is the tick's time, on
    /// its grid; `mono` the same moment on the monotonic clock, as time since any fixed moment.
    pub fn tick(&mut self, history: &RwLock<History>, now: Timestamp, mono: Duration) -> Evaluation {
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
            self.gone.extend(alerts.take_changes(&mut self.next_number).1);
        }
        for (place, group) in self.groups.iter_mut().enumerate() {
            if group.tick(now) {
                self.queue.push_back(place);
            }
        }
        // Those that were not reached before stay in front of those that have become due.
        let groups = &self.groups;
        self.queue.make_contiguous().sort_by_key(|place| groups.get(*place).is_some_and(Group::comes_last));
        total
    }

    /// Whether groups wait for their turn.
    pub fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Evaluates rules of the group whose turn it is, for some milliseconds or the time of one rule.
    ///
    /// The lock is taken for reading while an expression is evaluated, and for writing only while its result is
    /// appended.
    pub fn work(&mut self, history: &RwLock<History>, patience: Option<Patience>) -> Evaluation {
        let mut total = Evaluation::default();
        let Some(place) = self.queue.pop_front() else { return total };
        let Some(group) = self.groups.get_mut(place) else { return total };
        let began = Instant::now();
        while group.has_work() {
            let Some(outcome) = group.evaluate_next(history, &self.table, &self.settings, patience) else {
                self.queue.push_front(place);
                break;
            };
            total.alerts.extend(outcome.alerts);
            total.changed |= outcome.changed;
            let out_of_time = |p: Patience| began.elapsed() >= TURN || Instant::now() >= p.next_tick;
            if group.has_work() && patience.is_some_and(out_of_time) {
                self.queue.push_back(place);
                break;
            }
        }
        if self.queue.is_empty() {
            self.shared.release();
        }
        total
    }

    /// A tick and all evaluations that are due, however long they take.
    pub fn evaluate(&mut self, history: &RwLock<History>, now: Timestamp, mono: Duration) -> Evaluation {
        let mut total = self.tick(history, now, mono);
        self.work_all(history, &mut total);
        total
    }

    /// Evaluates all groups in their order, due or not: a unit test of rules says itself when they are.
    pub fn evaluate_all(&mut self, history: &RwLock<History>, now: Timestamp, mono: Duration) -> Evaluation {
        let mut total = Evaluation::default();
        self.groups.iter_mut().for_each(|group| group.begin(Moment::new(now, mono)));
        self.queue = (0..self.groups.len()).collect();
        self.work_all(history, &mut total);
        total
    }

    fn work_all(&mut self, history: &RwLock<History>, total: &mut Evaluation) {
        while self.has_work() {
            let more = self.work(history, None);
            total.alerts.extend(more.alerts);
            total.changed |= more.changed;
        }
    }

    /// Gives up the evaluations that wait or are under way, when the clock was set back: history has forgotten what
    /// they would look at.
    pub fn abandon(&mut self) {
        self.queue.clear();
        self.groups.iter_mut().for_each(Group::abandon);
    }

    /// What the rules put on `/metrics`: recorded series, `ALERTS` and `ALERTS_FOR_STATE`, without the target labels
    /// where they are those of this target, as a server that scrapes them adds its own.
    ///
    /// History has these samples already: the section is for exposition alone.
    pub fn section(&mut self) -> Arc<Section> {
        let mut families: BTreeMap<&str, Vec<(&Labels, f64)>> = BTreeMap::new();
        for rule in self.groups.iter().flat_map(|group| &group.rules) {
            for (labels, value) in rule.outputs.iter() {
                // The text format that every scraper can read has no other names.
                if is_metric_name(labels.metric_name()) && labels.iter().all(|(n, _)| is_label_name(n)) {
                    families.entry(labels.metric_name()).or_default().push((labels, value));
                }
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

    /// The alerts that came, went or changed their state since the last call, to be kept over a restart.
    pub fn take_changes(&mut self) -> StateChanges {
        let mut changes = StateChanges { gone: std::mem::take(&mut self.gone), ..StateChanges::default() };
        for group in &mut self.groups {
            group.take_changes(&mut self.next_number, &mut changes);
        }
        changes
    }

    /// Whether there are alerts of which the time that something has lasted decides: it must be known after a restart.
    pub fn is_waiting(&self) -> bool {
        self.groups.iter().flat_map(|group| &group.rules).any(|rule| rule.alerts.is_waiting())
    }

    /// All groups as they stand, to be shown elsewhere; what has not changed is what was shown before.
    pub fn view(&mut self) -> Vec<Arc<GroupView>> {
        self.groups.iter_mut().map(Group::view).collect()
    }

    /// Alerts that are pending or firing.
    pub fn active_alerts(&self) -> Vec<(Labels, ActiveAlert)> {
        let rules = self.groups.iter().flat_map(|group| &group.rules);
        let active = rules.flat_map(|rule| rule.alerts.pending_or_firing());
        active.map(|(labels, alert)| (labels.clone(), alert.clone())).collect()
    }

    /// Puts back the alerts that were kept under these numbers, before the first evaluation. `mono` is where the clock of
    /// [`RuleEngine::tick`] stood, and goes on: what had lasted goes on lasting; the time in between is not counted, as
    /// nobody knows what was then. Alerts of rules that are gone are resolved at the next tick.
    ///
    /// An alert that its rule does not give at first is left alone for as long as the rule looks back, or for the time
    /// that history lacks before now (`gap`) where that is known and shorter.
    pub fn restore(
        &mut self,
        kept: impl IntoIterator<Item = (u64, SavedAlert)>,
        now: Timestamp,
        mono: Duration,
        gap: Option<Duration>,
    ) {
        self.put_back(kept, Moment::new(now, mono), gap, Alerts::restore);
    }

    /// As [`RuleEngine::restore`], where rules have been evaluated before it was known what was kept: alerts that they have
    /// found to fire, or to have ended, stay as they are. All that is put back is to be kept anew.
    pub fn restore_late(&mut self, kept: impl IntoIterator<Item = (u64, SavedAlert)>, now: Timestamp, mono: Duration) {
        self.put_back(kept, Moment::new(now, mono), None, Alerts::restore_late);
    }

    fn put_back(
        &mut self,
        kept: impl IntoIterator<Item = (u64, SavedAlert)>,
        now: Moment,
        gap: Option<Duration>,
        restore: impl Fn(&mut Alerts, Labels, ActiveAlert, Moment, Duration),
    ) {
        let mut places = HashMap::new();
        for (at, group) in self.groups.iter().enumerate() {
            for (nth, key) in group.keys.iter().enumerate().filter(|(_, key)| key.alert) {
                places.insert((group.file.clone(), group.name.clone(), key.name.clone(), key.nth), (at, nth));
            }
        }
        for (number, saved) in kept {
            self.next_number = self.next_number.max(number.saturating_add(1));
            let (labels, alert) = saved.restored(number, now);
            let key = (saved.file.into(), saved.group.into(), saved.rule.into(), saved.nth);
            let place = places.get(&key);
            if let Some(group) = place.and_then(|(at, _)| self.groups.get_mut(*at)) {
                group.touch();
            }
            match place.and_then(|(at, nth)| self.groups.get_mut(*at)?.rules.get_mut(*nth)) {
                Some(rule) => {
                    let reach = rule.spec.query().selectors().iter().map(|s| s.reach).max().unwrap_or_default();
                    let lacking = gap.map_or(reach, |gap| gap.min(reach));
                    restore(&mut rule.alerts, labels, alert, now, lacking.max(LEAST_GRACE));
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
