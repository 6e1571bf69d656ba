//! What rules look at: which series, and how far back.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use crate::history::Matcher;
use crate::model::{Labels, METRIC_NAME};
use crate::promql::{Query, SelectorInfo, selector_of};
use crate::rules::rule::{ALERT_NAME, ALERTS, ALERTS_FOR_STATE};
use crate::rules::{GroupSpec, RuleSpec};

/// Series that are to be read.
#[derive(Clone, Debug)]
pub struct Read {
    /// As a selector in PromQL.
    pub selector: String,
    /// The name, where the selector fixes one.
    name: Option<String>,
    /// Nothing but the name.
    bare: bool,
    /// How far before the first evaluation; nothing for as far as there is something.
    pub reach: Option<Duration>,
    /// The same without the lookback, which in a series that has a sample at every tick finds nothing else.
    depth: Duration,
}

impl Read {
    /// Reads as far back as another does.
    fn take_in(&mut self, other: &Read) {
        self.reach = self.reach.zip(other.reach).map(|(a, b)| a.max(b));
        self.depth = self.depth.max(other.depth);
    }
}

/// What the rules give themselves.
#[derive(Clone, Default, Debug)]
pub struct Own {
    records: HashSet<String>,
    alerts: HashSet<String>,
}

impl Own {
    pub fn gives(&self, labels: &Labels) -> bool {
        match labels.metric_name() {
            ALERTS | ALERTS_FOR_STATE => self.alerts.contains(labels.get(ALERT_NAME)),
            name => self.records.contains(name),
        }
    }
}

/// What rules look at.
#[derive(Clone, Debug)]
pub struct Needs {
    reads: Vec<Read>,
    own: Own,
    warm_up: Duration,
}

impl Needs {
    /// `interval`: that of groups which say nothing of it. `offset`: likewise how far back they are evaluated.
    pub fn of(groups: &[GroupSpec], interval: Duration, offset: Duration, lookback: Duration) -> Needs {
        let mut own = Own::default();
        for rule in groups.iter().flat_map(|group| &group.rules) {
            let names = if matches!(rule, RuleSpec::Recording(_)) { &mut own.records } else { &mut own.alerts };
            names.insert(rule.name().to_string());
        }
        let mut reads: BTreeMap<String, Read> = BTreeMap::new();
        for group in groups {
            let offset = group.query_offset.unwrap_or(offset);
            for query in group.rules.iter().flat_map(queries) {
                for selector in query.selectors() {
                    add(&mut reads, read(&query, &selector, offset, lookback));
                }
            }
        }
        reads.retain(|_, read| {
            let only_own = read.name.as_ref().is_some_and(|name| own.records.contains(name));
            !only_own && Query::parse(&read.selector).is_ok()
        });
        let warm_up = warm_up(groups, interval);
        Needs { reads: without_parts(reads), own, warm_up }
    }

    /// What is to be read.
    pub fn reads(&self) -> &[Read] {
        &self.reads
    }

    /// How long before the time that is asked about evaluations must begin, so that then all is as it would be: alerts
    /// have been pending by then, and what is recorded is there as far back as it is looked at.
    pub fn warm_up(&self) -> Duration {
        self.warm_up
    }

    /// How far back any selector looks; nothing where there is no telling.
    pub fn furthest(&self) -> Option<Duration> {
        let reaches = self.reads.iter().map(|read| read.reach);
        reaches.reduce(|a, b| Some(a?.max(b?))).unwrap_or(Some(Duration::ZERO)).map(|reach| reach.max(self.warm_up))
    }

    /// How much of the past decides what the rules give at a time; by it they know more with a longer memory.
    pub fn depth(&self) -> Duration {
        self.reads.iter().map(|read| read.depth).max().unwrap_or_default().saturating_add(self.warm_up)
    }

    pub(super) fn own(&self) -> &Own {
        &self.own
    }
}

fn add(reads: &mut BTreeMap<String, Read>, read: Read) {
    match reads.get_mut(&read.selector) {
        Some(there) => there.take_in(&read),
        None => drop(reads.insert(read.selector.clone(), read)),
    }
}

fn read(query: &Query, selector: &SelectorInfo<'_>, offset: Duration, lookback: Duration) -> Read {
    // A value that a template formats is known only when it is expanded.
    let mut matchers: Vec<Matcher> = selector.matchers.iter().filter(|m| !m.value.contains('%')).cloned().collect();
    matchers.sort_by(|a, b| (&a.name, &a.value).cmp(&(&b.name, &b.value)));
    // With `@` it may look anywhere, and where durations are reckoned from the times nobody knows yet.
    let anywhere = query.text().contains('@') || query.is_contextual();
    let reach = selector.reach.saturating_add(offset).saturating_add(lookback);
    Read {
        selector: selector_of(&matchers),
        name: selector.name.map(str::to_string),
        bare: matchers.len() == 1 && selector.name.is_some(),
        reach: (!anywhere).then_some(reach),
        depth: selector.reach.saturating_add(offset),
    }
}

/// Without those of which others read all.
fn without_parts(reads: BTreeMap<String, Read>) -> Vec<Read> {
    let (mut whole, mut others): (Vec<Read>, Vec<Read>) = reads.into_values().partition(|read| read.bare);
    others.retain(|read| match whole.iter_mut().find(|whole| whole.name == read.name) {
        Some(whole) => {
            whole.take_in(read);
            false
        }
        None => true,
    });
    whole.append(&mut others);
    whole
}

/// What a rule evaluates: its expression, and what its texts query.
fn queries(rule: &RuleSpec) -> Vec<Query> {
    let mut texts = vec![rule.query().text().to_string()];
    if let RuleSpec::Alerting(alert) = rule {
        let uses = alert.labels.iter().chain(&alert.annotations).map(|(_, template)| template.uses());
        texts.extend(uses.flat_map(|uses| uses.quoted).map(|text| text.to_string()));
    }
    texts.iter().filter_map(|text| Query::parse(text).ok()).collect()
}

/// Passes over all rules in the search for what depends on what; in a circle there is no end.
const PASSES: usize = 10;

fn warm_up(groups: &[GroupSpec], interval: Duration) -> Duration {
    let rules: Vec<(Duration, &RuleSpec)> = groups
        .iter()
        .flat_map(|group| group.rules.iter().map(move |rule| (group.interval.unwrap_or(interval), rule)))
        .collect();
    let held = |rule: &RuleSpec| match rule {
        RuleSpec::Alerting(alert) => alert.hold.saturating_add(alert.keep_firing),
        RuleSpec::Recording(_) => Duration::ZERO,
    };
    // How long before the time that is asked about each rule must have given what it gives.
    let mut before = vec![Duration::ZERO; rules.len()];
    for _ in 0..PASSES {
        let mut changed = false;
        for (n, (every, rule)) in rules.iter().enumerate() {
            let needed = before.get(n).copied().unwrap_or_default().saturating_add(held(rule));
            for selector in rule.query().selectors() {
                let reach = needed.saturating_add(selector.reach).saturating_add(*every);
                // A rule that looks at itself goes on as it began.
                let others =
                    rules.iter().enumerate().filter(|(other, (_, rule))| *other != n && gives(rule, &selector));
                for (other, _) in others {
                    if let Some(there) = before.get_mut(other).filter(|there| **there < reach) {
                        *there = reach;
                        changed = true;
                    }
                }
            }
        }
        if !changed {
            break;
        }
    }
    let all = rules.iter().zip(before).map(|((every, rule), before)| match held(rule) {
        held if held.is_zero() => before,
        held => before.saturating_add(held).saturating_add(*every),
    });
    all.max().unwrap_or_default()
}

/// Whether a selector may find what a rule gives.
fn gives(rule: &RuleSpec, selector: &SelectorInfo<'_>) -> bool {
    let passes =
        |label: &str, value: &str| selector.matchers.iter().filter(|m| *m.name == *label).all(|m| m.matches(value));
    match rule {
        RuleSpec::Recording(spec) => passes(METRIC_NAME, &spec.record),
        RuleSpec::Alerting(spec) => {
            (passes(METRIC_NAME, ALERTS) || passes(METRIC_NAME, ALERTS_FOR_STATE)) && passes(ALERT_NAME, &spec.alert)
        }
    }
}
