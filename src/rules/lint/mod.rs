//! What in rules is probably not as it was meant: told as warnings, each with its place.
//!
//! A [`Linter`] is first told of all groups of rules that are evaluated together ([`Linter::add`]), as rules use what
//! others record, and then looks at them ([`Linter::check`]). It knows the agent's own metrics, their types and labels
//! from a list that a test holds against the program.

mod expr;
mod metrics;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

pub use metrics::METRICS;

use crate::model::{format_duration, parse_duration};
use crate::promql::Query;
use crate::yaml::{Faults, Node, Position};

/// What rules are evaluated with.
#[derive(Clone, Debug)]
pub struct LintSettings {
    /// `global.scrape_interval`
    pub scrape_interval: Duration,
    /// `global.evaluation_interval`
    pub evaluation_interval: Duration,
    /// The label `job` of all series, where it is known.
    pub job: Option<String>,
    /// The label `instance` of all series, where it is known.
    pub instance: Option<String>,
}

impl Default for LintSettings {
    fn default() -> LintSettings {
        let second = Duration::from_secs(1);
        LintSettings { scrape_interval: second, evaluation_interval: second, job: None, instance: None }
    }
}

/// Looks for what is probably not as it was meant.
pub struct Linter {
    settings: LintSettings,
    /// Names of the series that rules record.
    recorded: HashSet<String>,
    /// What was meant by names that are not known.
    meant: HashMap<String, Option<String>>,
}

/// A rule as far as it can be read; what cannot was told by whoever read it as a rule.
struct Rule<'n> {
    alert: bool,
    name: &'n str,
    node: &'n Node,
    expr: &'n Node,
    text: &'n str,
}

fn rules(groups: &Node) -> impl Iterator<Item = (&Node, Rule<'_>)> {
    let rules = groups.items().iter().flat_map(|group| {
        let rules = group.get("rules").map(Node::items).unwrap_or_default();
        rules.iter().map(move |rule| (group, rule))
    });
    rules.filter_map(|(group, node)| {
        let name = |key| node.get(key).and_then(Node::as_str).filter(|name| !name.is_empty());
        let expr = node.get("expr")?;
        let name_and_kind = name("record").map(|n| (n, false)).or_else(|| name("alert").map(|n| (n, true)));
        let (name, alert) = name_and_kind?;
        Some((group, Rule { alert, name, node, expr, text: expr.as_str()? }))
    })
}

fn duration(node: &Node, key: &str) -> Option<Duration> {
    parse_duration(node.get(key)?.as_str()?).ok()
}

impl Linter {
    pub fn new(settings: LintSettings) -> Linter {
        Linter { settings, recorded: HashSet::new(), meant: HashMap::new() }
    }

    /// Takes note of what groups of rules record. `groups` is the list of a rule file or of the configuration.
    pub fn add(&mut self, groups: &Node) {
        let recorded = rules(groups).filter(|(_, rule)| !rule.alert);
        self.recorded.extend(recorded.map(|(_, rule)| rule.name.to_string()));
    }

    /// Adds warnings to `faults`, which must have been told of the file.
    pub fn check(&mut self, groups: &Node, faults: &mut Faults) {
        for (group, rule) in rules(groups) {
            let interval = duration(group, "interval").filter(|d| !d.is_zero());
            self.check_hold(&rule, interval.unwrap_or(self.settings.evaluation_interval), faults);
            let Ok(query) = Query::parse(rule.text) else { continue };
            let mut said: Vec<String> = Vec::new();
            for remark in self.remarks(&query) {
                if !said.contains(&remark.message) {
                    faults.warn(place(faults, rule.expr, rule.text, &remark.word), remark.message.clone());
                    said.push(remark.message);
                }
            }
        }
    }

    fn check_hold(&self, rule: &Rule<'_>, interval: Duration, faults: &mut Faults) {
        for key in ["for", "keep_firing_for"] {
            let Some(node) = rule.node.get(key).filter(|_| rule.alert) else { continue };
            let Some(hold) = duration(rule.node, key).filter(|hold| !hold.is_zero() && *hold < interval) else {
                continue;
            };
            let (hold, interval) = (format_duration(hold), format_duration(interval));
            faults.warn(
                node.at,
                format!("{key}: {hold} is shorter than the interval of the group, {interval}: it lasts {interval} all the same"),
            );
        }
    }
}

/// Something in an expression that is probably not as it was meant.
struct Remark {
    message: String,
    /// The word in the expression that it is about.
    word: String,
}

/// Where a word of an expression stands in the file.
fn place(faults: &Faults, node: &Node, text: &str, word: &str) -> Position {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let found = text.match_indices(word).map(|(at, _)| at).find(|at| {
        let before = text.get(..*at).and_then(|t| t.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|t| t.chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    });
    let before = text.get(..found.unwrap_or(0)).unwrap_or("");
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    faults.place(node, line, column)
}
