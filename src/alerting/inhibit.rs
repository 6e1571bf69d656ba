//! Inhibition: alerts that are not told while others fire. The rules are Alertmanager's.
//!
//! `inhibit_rules` is a list of:
//!
//! | key | what it says |
//! | --- | --- |
//! | `source_matchers`, `source_match`, `source_match_re` | what must fire |
//! | `target_matchers`, `target_match`, `target_match_re` | what is not told then |
//! | `equal` | labels that must be the same on both |
//!
//! Each rule keeps its firing sources by the values of its equal labels, so that asking for one alert does not depend on
//! how many fire.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::matcher::{MatchOp, Matcher, Matchers};
use crate::model::Labels;
use crate::section;
use crate::sinks::Fingerprint;
use crate::yaml::{Faults, Node, Pattern};

section! {
    check = check;
    /// While an alert that meets the source's matchers fires, alerts that meet the target's are not told.
    pub struct InhibitRuleConfig {
        /// What must fire: `alertname="HostDown"`.
        pub source_matchers: Matchers = Matchers::default(),
        /// What is not told then.
        pub target_matchers: Matchers = Matchers::default(),
        /// Labels that must have the same value on both; one that neither has is the same.
        pub equal: Vec<String> = Vec::new(),
        /// The older way to write source_matchers with =.
        pub source_match: BTreeMap<String, String> = BTreeMap::new(),
        /// The older way to write source_matchers with =~.
        pub source_match_re: BTreeMap<String, Pattern> = BTreeMap::new(),
        /// The older way to write target_matchers with =.
        pub target_match: BTreeMap<String, String> = BTreeMap::new(),
        /// The older way to write target_matchers with =~.
        pub target_match_re: BTreeMap<String, Pattern> = BTreeMap::new(),
    }
}

fn check(rule: &mut InhibitRuleConfig, node: &Node, faults: &mut Faults) {
    let InhibitRule { source, target, .. } = InhibitRule::new(rule);
    // It is valid in Alertmanager, and what it does there is hardly what was meant.
    if source.is_empty() {
        faults.warn(node.at, "without source_matchers, every alert that fires keeps the targets from being told");
    }
    if target.is_empty() {
        faults.warn(node.at, "without target_matchers, no alert is told while a source fires");
    }
}

/// A rule as it is applied.
#[derive(Debug)]
pub struct InhibitRule {
    /// What an alert must meet to keep others from being told.
    pub source: Vec<Matcher>,
    /// What an alert must meet to be kept from being told.
    pub target: Vec<Matcher>,
    /// Labels that must be the same on both.
    pub equal: Vec<String>,
}

pub(super) fn meets(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name)))
}

impl InhibitRule {
    pub fn new(config: &InhibitRuleConfig) -> InhibitRule {
        let all = |equal: &BTreeMap<String, String>, regex: &BTreeMap<String, Pattern>, more: &Matchers| {
            let equal = equal.iter().map(|(name, value)| Matcher::new(name, MatchOp::Equal, value));
            let regex = regex.iter().map(|(name, pattern)| Matcher::new(name, MatchOp::Regex, pattern.as_str()));
            equal.chain(regex).flatten().chain(more.0.iter().cloned()).collect()
        };
        InhibitRule {
            source: all(&config.source_match, &config.source_match_re, &config.source_matchers),
            target: all(&config.target_match, &config.target_match_re, &config.target_matchers),
            equal: config.equal.clone(),
        }
    }

    fn key(&self, labels: &Labels) -> Vec<String> {
        self.equal.iter().map(|name| labels.get(name).to_string()).collect()
    }
}

/// The firing sources of a rule that have the same values of its equal labels.
#[derive(Default, Debug)]
struct Sources {
    /// Those that are no targets.
    plain: BTreeSet<Fingerprint>,
    /// Those that are targets too: they do not inhibit what is a source too, themselves first of all.
    both: BTreeSet<Fingerprint>,
}

/// A rule's firing sources by the values of its equal labels.
type ByEqual = HashMap<Vec<String>, Sources>;

/// All rules, and which alerts inhibit now.
#[derive(Default, Debug)]
pub(super) struct Inhibitor {
    rules: Vec<(Arc<InhibitRule>, ByEqual)>,
}

impl Inhibitor {
    pub fn new(rules: &[Arc<InhibitRule>]) -> Inhibitor {
        Inhibitor { rules: rules.iter().map(|rule| (Arc::clone(rule), HashMap::new())).collect() }
    }

    /// An alert fires, or does not any more.
    pub fn update(&mut self, fingerprint: Fingerprint, labels: &Labels, fires: bool) {
        for (rule, sources) in self.rules.iter_mut().filter(|(rule, _)| meets(&rule.source, labels)) {
            let key = rule.key(labels);
            let both = meets(&rule.target, labels);
            if fires {
                let sources = sources.entry(key).or_default();
                let set = if both { &mut sources.both } else { &mut sources.plain };
                set.insert(fingerprint);
            } else if let Some(of_key) = sources.get_mut(&key) {
                let set = if both { &mut of_key.both } else { &mut of_key.plain };
                set.remove(&fingerprint);
                if of_key.plain.is_empty() && of_key.both.is_empty() {
                    sources.remove(&key);
                }
            }
        }
    }

    /// An alert that keeps one with these labels from being told.
    pub fn inhibiting(&self, labels: &Labels) -> Option<Fingerprint> {
        self.rules.iter().filter(|(rule, sources)| !sources.is_empty() && meets(&rule.target, labels)).find_map(
            |(rule, sources)| {
                let sources = sources.get(&rule.key(labels))?;
                let both = if meets(&rule.source, labels) { None } else { sources.both.first() };
                sources.plain.first().or(both).copied()
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Document;

    fn inhibitor(rule: &str) -> (Inhibitor, String) {
        let mut faults = Faults::default();
        let config: InhibitRuleConfig = Document::parse("i.yaml", rule, &mut faults).read(&mut faults);
        assert!(!faults.has_errors(), "{faults}");
        (Inhibitor::new(&[Arc::new(InhibitRule::new(&config))]), faults.to_string())
    }

    fn labels(text: &str) -> Labels {
        Labels::from_pairs(text.split(' ').filter_map(|pair| pair.split_once('=')))
    }

    fn set(inhibitor: &mut Inhibitor, text: &str, fires: bool) -> Fingerprint {
        let labels = labels(text);
        inhibitor.update(Fingerprint::of(&labels), &labels, fires);
        Fingerprint::of(&labels)
    }

    #[test]
    fn a_target_is_inhibited_while_a_source_with_equal_labels_fires() {
        for rule in [
            "{source_matchers: ['s=critical'], target_matchers: ['s=~warn.*'], equal: [host, disk]}",
            "{source_match: {s: critical}, target_match_re: {s: warn.*}, equal: [host, disk]}",
        ] {
            let (mut inhibitor, said) = inhibitor(rule);
            assert_eq!(said, "");
            let source = set(&mut inhibitor, "s=critical host=a", true);
            assert_eq!(inhibitor.inhibiting(&labels("s=warning host=a")), Some(source));
            // Another host; a label that only one has; not a target.
            for other in ["s=warning host=b", "s=warning host=a disk=x", "s=info host=a", "s=critical host=a"] {
                assert_eq!(inhibitor.inhibiting(&labels(other)), None, "{other}");
            }
            set(&mut inhibitor, "s=critical host=a", false);
            assert_eq!(inhibitor.inhibiting(&labels("s=warning host=a")), None);
            assert!(inhibitor.rules[0].1.is_empty(), "nothing is kept of what is over");
        }
    }

    #[test]
    fn what_is_source_and_target_inhibits_neither_itself_nor_its_like() {
        let (mut inhibitor, _) = inhibitor("{source_matchers: ['a=1'], target_matchers: ['b=1']}");
        let both = set(&mut inhibitor, "a=1 b=1 n=1", true);
        assert_eq!(inhibitor.inhibiting(&labels("a=1 b=1 n=1")), None);
        assert_eq!(inhibitor.inhibiting(&labels("a=1 b=1 n=2")), None);
        assert_eq!(inhibitor.inhibiting(&labels("b=1")), Some(both));
        let plain = set(&mut inhibitor, "a=1", true);
        assert_eq!(inhibitor.inhibiting(&labels("a=1 b=1 n=1")), Some(plain));
    }

    #[test]
    fn a_rule_that_says_nothing_of_one_side_is_warned_of() {
        let (_, said) = inhibitor("{equal: [a]}");
        assert!(said.contains("without source_matchers") && said.contains("without target_matchers"), "{said}");
    }

    #[test]
    fn asking_for_one_alert_does_not_depend_on_how_many_fire() {
        let (mut inhibitor, _) = inhibitor("{source_matchers: ['s=1'], target_matchers: ['t=1'], equal: [n]}");
        for n in 0..10_000 {
            set(&mut inhibitor, &format!("s=1 n={n}"), true);
            set(&mut inhibitor, &format!("t=1 n={n}"), true);
        }
        assert_eq!(inhibitor.rules[0].1.len(), 10_000);
        assert!(inhibitor.rules[0].1.values().all(|sources| sources.plain.len() + sources.both.len() == 1));
        assert!((0..10_000).all(|n| inhibitor.inhibiting(&labels(&format!("t=1 n={n}"))).is_some()));
    }
}
