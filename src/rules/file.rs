//! Reads groups of rules, in Prometheus' format, and finds everything that is wrong with them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use super::rule::ALERT_NAME;
use super::spec::{AlertingSpec, GroupSpec, RecordingSpec, RuleSpec};
use crate::model::METRIC_NAME;
use crate::promql::{Query, Type};
use crate::template::prometheus::parse_rule_text;
use crate::yaml::{Document, Faults, FromYaml, Key, Node, Position, Source, Value, nearest};

const FILE_KEYS: &[&str] = &["groups"];
const GROUP_KEYS: &[&str] = &["name", "interval", "query_offset", "limit", "labels", "rules"];
/// `actions` is ours.
const RULE_KEYS: &[&str] = &["record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations", "actions"];

/// Reads a rule file from its text. What is wrong is added to `faults`; rules with a fault are not in the result.
pub fn read_file(name: &str, text: &str, faults: &mut Faults) -> Vec<GroupSpec> {
    read_document(&Document::parse(name, text, faults), faults)
}

/// Reads a rule file that was parsed, and that `faults` has been told of.
pub fn read_document(document: &Document, faults: &mut Faults) -> Vec<GroupSpec> {
    read_document_for(document, None, faults)
}

/// As [`read_document`], for a configuration that has these actions.
pub(super) fn read_document_for(
    document: &Document,
    actions: Option<&BTreeSet<&str>>,
    faults: &mut Faults,
) -> Vec<GroupSpec> {
    let root = &document.root;
    if !matches!(root.value, Value::Mapping(_) | Value::Null) {
        faults.unexpected(root, "a mapping with the key groups");
    }
    for (key, _) in root.entries() {
        if !FILE_KEYS.contains(&key.name.as_str()) {
            faults.unknown_key(key.at, &key.name, FILE_KEYS);
        }
    }
    root.get("groups").map(|groups| read_groups(groups, &document.source, actions, faults)).unwrap_or_default()
}

/// Reads the list of groups of a rule file, or of the main configuration. `source` is the file it stands in, and the
/// one that `faults` has been told of. `actions`: the names of those that there are; where that is not known, rules may
/// name any.
pub fn read_groups(
    groups: &Node,
    source: &Source,
    actions: Option<&BTreeSet<&str>>,
    faults: &mut Faults,
) -> Vec<GroupSpec> {
    if groups.is_null() {
        return Vec::new();
    }
    let Value::Sequence(items) = &groups.value else {
        faults.unexpected(groups, "a list of groups");
        return Vec::new();
    };
    let mut reader = Reader { source, actions, faults, seen: HashMap::new() };
    let mut names = HashSet::new();
    items.iter().enumerate().filter_map(|(i, item)| reader.group(item, i, &mut names)).collect()
}

struct Reader<'a> {
    source: &'a Source,
    /// The actions that there are, where that is known.
    actions: Option<&'a BTreeSet<&'a str>>,
    faults: &'a mut Faults,
    /// By kind, name and labels: the first such rule.
    seen: HashMap<(String, BTreeMap<String, String>), First>,
}

/// A rule that has been read, to tell its duplicates by.
struct First {
    /// Place of its group in the file.
    group: usize,
    at: Position,
    /// Its expression, with white space evened out.
    expr: String,
}

impl Reader<'_> {
    fn group(&mut self, node: &Node, index: usize, names: &mut HashSet<String>) -> Option<GroupSpec> {
        let Value::Mapping(entries) = &node.value else {
            self.faults.unexpected(node, "a group: a mapping with name and rules");
            return None;
        };
        self.known_keys(entries, GROUP_KEYS);
        let name = node.get("name").and_then(|n| self.read::<String>(n)).unwrap_or_default();
        let at = node.place("name");
        if name.is_empty() {
            self.faults.error(at, "a group needs a name");
        } else if !names.insert(name.clone()) {
            self.faults.error(at, format!("the group name {name:?} is repeated in the same file"));
        }
        let interval = node.get("interval").and_then(|n| self.read::<Duration>(n)).filter(|d| !d.is_zero());
        let query_offset = node.get("query_offset").and_then(|n| self.read(n));
        // As in Prometheus, less than none is no limit either.
        let limit = node.get("limit").and_then(|n| self.read::<i64>(n)).unwrap_or(0);
        let limit = usize::try_from(limit).unwrap_or(0);
        let labels = node.get("labels").map(|n| self.labels(n)).unwrap_or_default();
        let mut rules = Vec::new();
        match node.get("rules").map(|n| (n, &n.value)) {
            Some((_, Value::Sequence(items))) => {
                rules.extend(items.iter().filter_map(|item| self.rule(item, index, &labels)));
            }
            None | Some((_, Value::Null)) => {}
            Some((other, _)) => self.faults.unexpected(other, "a list of rules"),
        }
        Some(GroupSpec { file: self.source.name().to_string(), name, interval, query_offset, limit, rules })
    }

    fn rule(&mut self, node: &Node, group: usize, group_labels: &[Pair<'_>]) -> Option<RuleSpec> {
        let Value::Mapping(entries) = &node.value else {
            self.faults.unexpected(node, "a rule: a mapping with record or alert, and expr");
            return None;
        };
        let before = self.faults.iter().filter(|f| f.severity == crate::yaml::Severity::Error).count();
        self.known_keys(entries, RULE_KEYS);
        let record = self.text(node, "record");
        let alert = self.text(node, "alert");
        let at = entries.first().map_or(node.at, |(k, _)| k.at);
        match (&record, &alert) {
            (Some(_), Some(_)) => self.faults.error(at, "a rule has either record or alert, not both"),
            (None, None) => self.faults.error(at, "a rule needs either record or alert"),
            _ => {}
        }
        let query = self.query(node, at);
        let own_labels = node.get("labels").map(|n| self.labels(n)).unwrap_or_default();
        let mut labels: Vec<Pair<'_>> = group_labels.to_vec();
        for pair in own_labels {
            labels.retain(|p| p.key.name != pair.key.name);
            labels.push(pair);
        }
        let rule = if let Some(record) = record {
            self.recording(node, entries, record, &labels, query)
        } else {
            self.alerting(node, alert.unwrap_or_default(), &labels, query)
        };
        let failed = self.faults.iter().filter(|f| f.severity == crate::yaml::Severity::Error).count() > before;
        let rule = rule.filter(|_| !failed)?;
        self.duplicate(&rule, at, group, &labels);
        Some(rule)
    }

    fn recording(
        &mut self,
        node: &Node,
        entries: &[(Key, Node)],
        record: String,
        labels: &[Pair<'_>],
        query: Option<Query>,
    ) -> Option<RuleSpec> {
        let at = node.place("record");
        if record.contains(['{', '}']) {
            let hint = "a selector with braces belongs into expr";
            self.faults.error(at, format!("{record:?} cannot be a metric name: {hint}"));
        } else if !is_metric_name(&record) {
            self.faults.warn(at, format!("{record:?} {UNUSUAL_NAME}"));
        }
        for (key, value) in entries {
            let empty = match key.name.as_str() {
                "for" | "keep_firing_for" => self.read::<Duration>(value).is_none_or(|d| d.is_zero()),
                "annotations" => value.entries().is_empty(),
                "actions" => value.items().is_empty(),
                _ => true,
            };
            if !empty {
                self.faults.error(key.at, format!("{} has no meaning in a recording rule", key.name));
            }
        }
        let labels = labels.iter().map(|p| (p.key.name.clone(), p.text.to_string())).collect();
        Some(RuleSpec::Recording(RecordingSpec { record, query: query?, labels }))
    }

    fn alerting(&mut self, node: &Node, alert: String, labels: &[Pair<'_>], query: Option<Query>) -> Option<RuleSpec> {
        if let Some(pair) = labels.iter().find(|pair| pair.key.name == ALERT_NAME) {
            self.faults.warn(pair.key.at, "the label alertname is the name of the alert, whatever is said here");
        }
        let hold = node.get("for").and_then(|n| self.read(n)).unwrap_or_default();
        let keep_firing = node.get("keep_firing_for").and_then(|n| self.read(n)).unwrap_or_default();
        let annotations = node.get("annotations").map(|n| self.pairs(n, true)).unwrap_or_default();
        let labels = self.templates(&alert, labels);
        let annotations = self.templates(&alert, &annotations);
        let actions = node.get("actions").map(|n| self.action_names(n)).unwrap_or_default();
        let spec =
            AlertingSpec { alert, query: query?, hold, keep_firing, labels, annotations, actions: actions.into() };
        Some(RuleSpec::Alerting(spec))
    }

    /// The names of the actions of a rule.
    fn action_names(&mut self, node: &Node) -> Vec<String> {
        let names: Vec<String> = self.read(node).unwrap_or_default();
        let Some(known) = self.actions else { return names };
        for (name, node) in names.iter().zip(node.items()).filter(|(name, _)| !known.contains(name.as_str())) {
            let hint = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None if known.is_empty() => "there are no actions".to_string(),
                None => format!("there are: {}", known.iter().copied().collect::<Vec<_>>().join(", ")),
            };
            self.faults.error(node.at, format!("the action {name:?} is not defined, {hint}"));
        }
        names
    }

    fn templates(&mut self, alert: &str, pairs: &[Pair<'_>]) -> Vec<(String, crate::template::Template)> {
        let mut templates = Vec::with_capacity(pairs.len());
        for pair in pairs {
            match parse_rule_text(alert, pair.text) {
                Ok(template) => templates.push((pair.key.name.clone(), template)),
                Err(e) => {
                    let at = self.faults.place(pair.node, e.line, e.column);
                    self.faults.error(at, format!("template of {:?}: {}", pair.key.name, e.message));
                }
            }
        }
        templates
    }

    fn query(&mut self, node: &Node, rule_at: Position) -> Option<Query> {
        let Some(expr) = node.get("expr").filter(|n| n.as_str().is_none_or(|s| !s.trim().is_empty())) else {
            self.faults.error(rule_at, "a rule needs expr");
            return None;
        };
        let Some(text) = expr.as_str() else {
            self.faults.unexpected(expr, "an expression");
            return None;
        };
        match Query::parse(text) {
            Ok(query) if matches!(query.value_type(), Type::Scalar | Type::Vector) => Some(query),
            Ok(query) => {
                let found = query.value_type().name();
                self.faults
                    .error(expr.at, format!("expr: a rule needs an instant vector or a scalar, this is a {found}"));
                None
            }
            Err(e) => {
                let (line, column) = e.position.unwrap_or((1, 1));
                let at = self.faults.place(expr, line, column);
                self.faults.error(at, format!("expr: {}", e.message));
                None
            }
        }
    }

    /// Two rules that give the same series, or the same alerts, overwrite one another.
    fn duplicate(&mut self, rule: &RuleSpec, at: Position, group: usize, labels: &[Pair<'_>]) {
        let kind = if matches!(rule, RuleSpec::Recording(_)) { "record" } else { "alert" };
        let name = format!("{kind} {}", rule.name());
        let labels = labels.iter().map(|p| (p.key.name.clone(), p.text.to_string())).collect();
        let expr = rule.query().text().split_whitespace().collect::<Vec<_>>().join(" ");
        match self.seen.entry((name, labels)) {
            Entry::Vacant(entry) => {
                entry.insert(First { group, at, expr });
            }
            Entry::Occupied(entry) => {
                let (name, first) = (&entry.key().0, entry.get());
                let line = first.at.line;
                if first.group == group && first.expr == expr {
                    let same = "with the same expression and labels is in line";
                    self.faults.warn(at, format!("duplicate rule: {name} {same} {line} already"));
                } else {
                    let same = "with the same labels is in line";
                    self.faults
                        .warn(at, format!("duplicate rule: {name} {same} {line} already; give one a label of its own"));
                }
            }
        }
    }

    fn known_keys(&mut self, entries: &[(Key, Node)], known: &[&str]) {
        for (key, _) in entries {
            if !known.contains(&key.name.as_str()) {
                self.faults.unknown_key(key.at, &key.name, known);
            }
        }
    }

    fn read<T: FromYaml>(&mut self, node: &Node) -> Option<T> {
        if node.is_null() { None } else { T::from_yaml(node, self.faults) }
    }

    /// A text that is there and not empty.
    fn text(&mut self, node: &Node, key: &str) -> Option<String> {
        node.get(key).and_then(|n| self.read::<String>(n)).filter(|s| !s.is_empty())
    }

    fn labels<'n>(&mut self, node: &'n Node) -> Vec<Pair<'n>> {
        self.pairs(node, false)
    }

    /// The pairs of labels or annotations whose names can be.
    fn pairs<'n>(&mut self, node: &'n Node, annotations: bool) -> Vec<Pair<'n>> {
        let what = if annotations { "an annotation" } else { "a label" };
        if !matches!(node.value, Value::Mapping(_) | Value::Null) {
            self.faults.unexpected(node, "a mapping of names to texts");
        }
        let mut pairs = Vec::new();
        for (key, value) in node.entries() {
            if key.name.is_empty() || (!annotations && key.name == METRIC_NAME) {
                self.faults.error(key.at, format!("{:?} cannot be {what} name", key.name));
                continue;
            }
            if !is_label_name(&key.name) {
                self.faults.warn(key.at, format!("{:?} {UNUSUAL_NAME}", key.name));
            }
            if let Some(text) = value.as_str().or(value.is_null().then_some("")) {
                pairs.push(Pair { key, node: value, text });
            } else {
                self.faults.unexpected(value, "a text");
            }
        }
        pairs
    }
}

/// A label or annotation of a rule.
#[derive(Clone, Copy)]
struct Pair<'n> {
    key: &'n Key,
    node: &'n Node,
    text: &'n str,
}

/// Why a name that Prometheus 3 takes is more often a slip.
const UNUSUAL_NAME: &str = "is a name only for Prometheus 3, in quotes, and not on /metrics: others have letters, digits, _ \
                            and, in metrics, :";

/// Prometheus' classic names: what every tool can read.
pub(super) fn is_label_name(name: &str) -> bool {
    is_metric_name(name) && !name.contains(':')
}

pub(super) fn is_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b':'))
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'))
}

#[cfg(test)]
mod tests;
