//! `format: json`: a JSON document on standard output, from which the configuration picks values.
//!
//! A metric is the value at its `path`: a number, a boolean (1 or 0) or a text that is a number. Where there is nothing,
//! or `null`, there is no sample. With `each`, a path to a list or an object, there is a sample for each of its items, and
//! the other paths begin there. A label is a text; one that begins with `$` is a path, and `$key` the item's key in its
//! object or its place in its list.
//!
//! The state is what the value at `state.path` says: one of the list `ok`, one of the list `warning`, else critical, and
//! unknown where it is missing. Without `state`, or when the exit code is not 0, it is the exit code's: 0 ok, others
//! critical. What is no JSON, or no number where one should be, is unknown and gives no metrics.

use std::collections::BTreeMap;

use serde_json::Value;

use super::json_path::{Found, JsonPath, Place};
use super::{Given, by_code, counted};
use crate::checks::families::Families;
use crate::checks::verdict::{State, Verdict};
use crate::exposition::parse::parse_value;
use crate::model::MetricType;
use crate::yaml::{Faults, FromYaml, Node};

crate::section! {
    check = check;
    /// `checks[].json`.
    #[derive(PartialEq)]
    pub struct JsonConfig {
        /// What the state is read from.
        pub state: Option<JsonState> = None,
        /// What becomes metrics.
        pub metrics: Vec<JsonMetric> = Vec::new(),
    }
}

crate::section! {
    /// `checks[].json.state`.
    #[derive(PartialEq)]
    pub struct JsonState {
        /// Where the document says how things stand.
        pub path: JsonPath = JsonPath::default(),
        /// What is there when all is well.
        pub ok: Vec<String> = Vec::new(),
        /// What is there when something is to be looked at.
        pub warning: Vec<String> = Vec::new(),
    }
}

crate::section! {
    check = check_metric;
    /// `checks[].json.metrics[]`.
    #[derive(PartialEq)]
    pub struct JsonMetric {
        /// The metric's name.
        pub name: String = String::new(),
        /// What it is, for people.
        pub help: String = String::new(),
        /// gauge, counter or untyped.
        pub kind: JsonType as "type" = JsonType(MetricType::Gauge),
        /// A list or object: there is a sample for each of its items.
        pub each: Option<JsonPath> = None,
        /// Where the value is.
        pub path: JsonPath = JsonPath::default(),
        /// Labels: constants, or paths.
        pub labels: BTreeMap<String, JsonLabel> = BTreeMap::new(),
    }
}

/// The type of a metric of single values.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct JsonType(pub MetricType);

impl FromYaml for JsonType {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        match node.as_str() {
            Some("gauge") => Some(JsonType(MetricType::Gauge)),
            Some("counter") => Some(JsonType(MetricType::Counter)),
            Some("untyped") => Some(JsonType(MetricType::Untyped)),
            _ => {
                faults.unexpected(node, "gauge, counter or untyped");
                None
            }
        }
    }
}

/// Where the value of a label is from.
#[derive(Clone, PartialEq, Debug)]
pub enum JsonLabel {
    Constant(String),
    Path(JsonPath),
    /// The item's key in its object, or place in its list.
    Key,
}

impl FromYaml for JsonLabel {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let text = String::from_yaml(node, faults)?;
        match text.as_str() {
            "$key" => Some(JsonLabel::Key),
            path if path.starts_with('$') => match JsonPath::parse(path) {
                Ok(path) if path.is_many() => {
                    faults.error(node.at, "a label has one value: a path with * has several");
                    None
                }
                Ok(path) => Some(JsonLabel::Path(path)),
                Err(fault) => {
                    faults.error(node.at, fault);
                    None
                }
            },
            _ => Some(JsonLabel::Constant(text)),
        }
    }
}

fn check(json: &mut JsonConfig, node: &Node, faults: &mut Faults) {
    if let Some(state) = &json.state {
        let at = node.place("state");
        if state.ok.is_empty() {
            faults.error(at, "ok is missing: the texts that say that all is well");
        }
        if state.path.is_many() {
            faults.error(at, "the state is one value: a path with * leads to several");
        }
    } else if json.metrics.is_empty() {
        faults.error(node.at, "neither state nor metrics: nothing would be read of the document");
    }
}

fn check_metric(metric: &mut JsonMetric, node: &Node, faults: &mut Faults) {
    let at = |key: &str| node.place(key);
    if metric.name.is_empty() {
        faults.error(at("name"), "name is missing: how the metric is to be called");
    } else if !is_metric_name(&metric.name) {
        faults.error(at("name"), format!("{:?} cannot be a metric's name: letters, digits, _ and :", metric.name));
    }
    for (key, _) in node.get("labels").map(Node::entries).unwrap_or_default() {
        let good = is_metric_name(&key.name) && !key.name.contains(':') && !key.name.starts_with("__");
        if !good {
            faults.error(key.at, format!("{:?} cannot be a label name: letters, digits and _", key.name));
        }
    }
    if metric.path.is_many() {
        faults.error(at("path"), "leads to several values: say what there is a sample for with each");
    }
    if metric.each.is_none() && metric.labels.values().any(|label| *label == JsonLabel::Key) {
        faults.error(at("labels"), "$key is the key of an item, and without each there is none");
    }
}

fn is_metric_name(name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty() && name.chars().all(part)
}

pub fn read(config: &JsonConfig, given: &Given<'_>, out: &mut Families) -> Verdict {
    let document: Value = match serde_json::from_slice(given.stdout) {
        Ok(document) => document,
        // A command that has failed says itself why there is nothing to read.
        Err(_) if given.code != 0 => return by_code(given, String::new),
        Err(error) => return Verdict::unknown(format!("standard output is not JSON: {error}")),
    };
    let mut samples = Vec::new();
    for metric in &config.metrics {
        if let Err(fault) = take(metric, &document, &mut samples) {
            return Verdict::unknown(format!("{}: {fault}", metric.name));
        }
    }
    for Sample { metric, labels, value } in &samples {
        let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        out.add(metric.kind.0, &metric.name, &metric.help, "", &labels, *value);
    }
    match &config.state {
        Some(state) if given.code == 0 => verdict(state, &document),
        _ => by_code(given, || counted(samples.len())),
    }
}

struct Sample<'c> {
    metric: &'c JsonMetric,
    labels: Vec<(&'c str, String)>,
    value: f64,
}

fn take<'c>(metric: &'c JsonMetric, document: &Value, samples: &mut Vec<Sample<'c>>) -> Result<(), String> {
    let items = match &metric.each {
        Some(each) => each.clone().items().all(document),
        None => vec![Found { value: document, place: Place::None }],
    };
    for item in items {
        let Some(value) = metric.path.one(item.value).filter(|value| !value.is_null()) else { continue };
        let value = number(value).ok_or_else(|| format!("{} is {}, not a number", metric.path, excerpt(value)))?;
        let mut labels = Vec::with_capacity(metric.labels.len());
        for (name, label) in &metric.labels {
            labels.push((name.as_str(), label_value(label, &item)?));
        }
        samples.push(Sample { metric, labels, value });
    }
    Ok(())
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Bool(yes) => Some(f64::from(u8::from(*yes))),
        Value::String(text) => parse_value(text.trim()),
        _ => None,
    }
}

/// What stands for a value in a label; nothing for one that is not there.
fn label_value(label: &JsonLabel, item: &Found<'_>) -> Result<String, String> {
    match label {
        JsonLabel::Constant(text) => Ok(text.clone()),
        JsonLabel::Key => Ok(match item.place {
            Place::Key(key) => key.to_string(),
            Place::Index(index) => index.to_string(),
            Place::None => String::new(),
        }),
        JsonLabel::Path(path) => match path.one(item.value) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(value) => {
                text(value).ok_or_else(|| format!("{path} is {}, which is no text for a label", excerpt(value)))
            }
        },
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        _ => None,
    }
}

/// What an error shows of a value.
fn excerpt(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_string(),
        Value::Object(_) => "an object".to_string(),
        value => {
            let shown = value.to_string();
            match shown.char_indices().nth(40) {
                Some((end, _)) => format!("{}…", shown.get(..end).unwrap_or_default()),
                None => shown,
            }
        }
    }
}

fn verdict(state: &JsonState, document: &Value) -> Verdict {
    let Some(value) = state.path.one(document).filter(|value| !value.is_null()) else {
        return Verdict::unknown(format!("nothing at {} says how things stand", state.path));
    };
    let found = text(value);
    let is = |list: &[String]| found.as_ref().is_some_and(|found| list.contains(found));
    let summary = format!("{} is {}", state.path, excerpt(value));
    let state = match () {
        () if is(&state.ok) => State::Ok,
        () if is(&state.warning) => State::Warning,
        () => State::Critical,
    };
    Verdict::new(state, summary)
}

#[cfg(test)]
mod tests;
