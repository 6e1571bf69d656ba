//! What becomes of each alert, as spans of time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Labels, Timestamp};
use crate::rules::{GroupView, RuleSpec, RuleView};

/// Alerts of one rule that are kept apart; one whose labels hold a value has others at each evaluation.
const MAX_INSTANCES: usize = 10_000;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    Pending,
    Firing,
}

/// For how long an alert was in one state.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Span {
    pub stage: Stage,
    pub from: Timestamp,
    /// The evaluation at which that was over, or the end of the whole.
    pub to: Timestamp,
}

impl Span {
    pub fn length(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.to.millis_since(self.from)).unwrap_or(0))
    }
}

/// One alert through all its ups and downs.
#[derive(Clone, PartialEq, Debug)]
pub struct Instance {
    pub labels: Labels,
    /// In order of time.
    pub spans: Vec<Span>,
    /// How often it began to fire.
    pub fired: usize,
    /// The largest value that it had, or the smallest where the expression asks for little; and when.
    pub worst: Option<(f64, Timestamp)>,
    /// It was there at the last evaluation.
    open: bool,
}

impl Instance {
    /// How long it was in a state, over all.
    pub fn total(&self, stage: Stage) -> Duration {
        self.spans.iter().filter(|span| span.stage == stage).map(Span::length).sum()
    }

    /// The longest time in a state without a break.
    pub fn longest(&self, stage: Stage) -> Duration {
        self.spans.iter().filter(|span| span.stage == stage).map(Span::length).max().unwrap_or_default()
    }
}

/// An error of a rule.
#[derive(Clone, PartialEq, Debug)]
pub struct Trouble {
    /// How many evaluations had one.
    pub times: u64,
    /// When the first was, and what was said.
    pub first: Timestamp,
    pub error: String,
}

/// One alerting or recording rule, replayed.
#[derive(Clone, Debug)]
pub struct Replayed {
    pub file: Arc<str>,
    pub group: Arc<str>,
    pub spec: Arc<RuleSpec>,
    pub evaluations: u64,
    pub trouble: Option<Trouble>,
    /// The longest that an evaluation took.
    pub slowest: Duration,
    /// In order of labels.
    pub instances: Vec<Instance>,
    /// Findings that belong to alerts beyond those.
    pub left_out: u64,
}

#[derive(Default)]
struct Track {
    evaluations: u64,
    trouble: Option<Trouble>,
    slowest: Duration,
    previous: Option<Timestamp>,
    instances: BTreeMap<Labels, Instance>,
    left_out: u64,
}

/// Looks at the rules after each tick.
#[derive(Default)]
pub struct Tracker {
    /// By the places of the group and of the rule in it.
    tracks: HashMap<(usize, usize), Track>,
}

impl Tracker {
    /// `pause`: evaluations that are further apart have nothing to do with each other.
    pub fn see(&mut self, at: Timestamp, pause: Duration, views: &[Arc<GroupView>]) {
        for (group, view) in views.iter().enumerate().filter(|(_, view)| view.last_evaluation == Some(at)) {
            for (nth, rule) in view.rules.iter().enumerate() {
                self.tracks.entry((group, nth)).or_default().see(at, view.interval, pause, rule);
            }
        }
    }

    /// All rules, in their order. `last`: the last tick, up to which what was there at the last evaluation has lasted.
    pub fn finish(&mut self, last: Timestamp, views: &[Arc<GroupView>]) -> Vec<Replayed> {
        let mut all = Vec::new();
        for (group, view) in views.iter().enumerate() {
            for (nth, rule) in view.rules.iter().enumerate() {
                let mut track = self.tracks.remove(&(group, nth)).unwrap_or_default();
                if let Some(previous) = track.previous {
                    track.lasted_until(last.min(previous + view.interval));
                }
                all.push(Replayed {
                    file: view.file.clone(),
                    group: view.name.clone(),
                    spec: rule.spec.clone(),
                    evaluations: track.evaluations,
                    trouble: track.trouble,
                    slowest: track.slowest,
                    instances: track.instances.into_values().collect(),
                    left_out: track.left_out,
                });
            }
        }
        all
    }
}

impl Track {
    /// What was there at the last evaluation was so until then.
    fn lasted_until(&mut self, until: Timestamp) {
        let open = self.instances.values_mut().filter(|instance| instance.open);
        open.filter_map(|instance| instance.spans.last_mut()).for_each(|span| span.to = until);
    }

    fn see(&mut self, at: Timestamp, interval: Duration, pause: Duration, rule: &RuleView) {
        self.evaluations += 1;
        if let Some((_, took)) = rule.last {
            self.slowest = self.slowest.max(took);
        }
        if let Some(error) = &rule.error {
            let first = || Trouble { times: 0, first: at, error: error.clone() };
            self.trouble.get_or_insert_with(first).times += 1;
        }
        let pause = pause.max(interval * 2);
        // Where a state that was there at the last evaluation has lasted until.
        let (until, unbroken) = match self.previous {
            Some(previous) if at > previous + pause => (previous + interval, false),
            _ => (at, true),
        };
        self.lasted_until(until);
        for instance in self.instances.values_mut().filter(|instance| instance.open) {
            let labels = &instance.labels;
            instance.open = rule.alerts.binary_search_by(|alert| alert.labels.cmp(labels)).is_ok();
        }
        let low = rule.spec.query().asks_for_less();
        for alert in &rule.alerts {
            let full = self.instances.len() >= MAX_INSTANCES;
            let instance = match self.instances.get_mut(&alert.labels) {
                Some(instance) => instance,
                None if full => {
                    self.left_out += 1;
                    continue;
                }
                None => self.instances.entry(alert.labels.clone()).or_insert(Instance {
                    labels: alert.labels.clone(),
                    spans: Vec::new(),
                    fired: 0,
                    worst: None,
                    open: false,
                }),
            };
            let stage = if alert.firing { Stage::Firing } else { Stage::Pending };
            let before = instance.spans.last().filter(|_| instance.open).map(|span| span.stage);
            if before != Some(stage) || !unbroken {
                instance.spans.push(Span { stage, from: at, to: at });
                instance.fired += usize::from(stage == Stage::Firing && before != Some(Stage::Firing));
            }
            instance.open = true;
            let worse = |worst: f64| if low { alert.value < worst } else { alert.value > worst };
            if alert.kept_since.is_none() && instance.worst.is_none_or(|(worst, _)| worst.is_nan() || worse(worst)) {
                instance.worst = Some((alert.value, at));
            }
        }
        self.previous = Some(at);
    }
}
