//! Reading values from nodes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use super::{Faults, Node, Value};
use crate::model::{Labels, format_duration, parse_duration};
use crate::re2::Re2;

/// What can be read from a node.
pub trait FromYaml: Sized {
    /// Whether it is on or off, so that a flag for it needs no value.
    const SWITCH: bool = false;
    /// Whether an empty text says that there is none, where there may be none.
    const EMPTY_IS_NONE: bool = false;

    /// Reads the value; what is wrong is added to `faults`, and `None` given where nothing can be made of it.
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self>;

    /// Adds the paths of all keys below `path` (`groups[].rules[].expr`, `checks.*.interval`), for the documentation's
    /// test. A plain value has none.
    fn key_paths(_path: &str, _paths: &mut Vec<String>) {}

    /// The value as it would stand in a file, with `<secret>` for what is secret; `None` where there is nothing, and for
    /// types that say nothing of it.
    fn as_yaml(&self) -> Option<Value> {
        None
    }
}

/// A mapping with keys that are known: what [`section!`](crate::section) declares.
pub trait Section: FromYaml + Default {
    /// The keys in the order of their declaration.
    const OPTIONS: &'static [KeyInfo];

    /// Reads the value of one key; `false` when there is no such key.
    fn read_key(&mut self, key: &str, value: &Node, faults: &mut Faults) -> bool;
}

/// What the documentation and the flags say of a key.
#[derive(Clone, Copy, Debug)]
pub struct KeyInfo {
    pub key: &'static str,
    /// Its documentation as it stands in the source: each line begins with a space.
    pub about: &'static str,
    /// Whether it is on or off.
    pub switch: bool,
}

/// Reads a key's value into its field; nothing (`key:`) leaves the default.
pub fn read_field<T: FromYaml>(field: &mut T, node: &Node, faults: &mut Faults) {
    if !node.is_null()
        && let Some(value) = T::from_yaml(node, faults)
    {
        *field = value;
    }
}

impl FromYaml for Node {
    fn from_yaml(node: &Node, _: &mut Faults) -> Option<Self> {
        Some(node.clone())
    }
}

impl FromYaml for bool {
    const SWITCH: bool = true;

    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        match (&node.value, node.as_str()) {
            (Value::Scalar { plain: true, .. }, Some("true" | "True" | "TRUE" | "yes" | "on")) => Some(true),
            (Value::Scalar { plain: true, .. }, Some("false" | "False" | "FALSE" | "no" | "off")) => Some(false),
            _ => {
                faults.unexpected(node, "true or false");
                None
            }
        }
    }

    fn as_yaml(&self) -> Option<Value> {
        Some(Value::plain(self.to_string()))
    }
}

macro_rules! whole_numbers {
    ($($t:ty),*) => {$(
        impl FromYaml for $t {
            fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
                let read = node.as_str().and_then(|s| s.replace('_', "").parse().ok());
                if read.is_none() {
                    faults.unexpected(node, &format!("a whole number from {} to {}", <$t>::MIN, <$t>::MAX));
                }
                read
            }

            fn as_yaml(&self) -> Option<Value> {
                Some(Value::plain(self.to_string()))
            }
        }
    )*};
}
whole_numbers!(u16, u32, u64, usize, i64);

impl FromYaml for f64 {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let read = node.as_str().and_then(|s| s.parse().ok()).filter(|n: &f64| n.is_finite());
        if read.is_none() {
            faults.unexpected(node, "a number");
        }
        read
    }

    fn as_yaml(&self) -> Option<Value> {
        Some(Value::plain(self.to_string()))
    }
}

impl FromYaml for String {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        if node.as_str().is_none() {
            faults.unexpected(node, "a text");
        }
        node.as_str().map(str::to_string)
    }

    fn as_yaml(&self) -> Option<Value> {
        Some(Value::text(self))
    }
}

impl FromYaml for PathBuf {
    // As in the files of Prometheus and Alertmanager, which are often generated.
    const EMPTY_IS_NONE: bool = true;

    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        match node.as_str().filter(|s| !s.is_empty()) {
            Some(s) => Some(s.into()),
            None => {
                faults.unexpected(node, "a path");
                None
            }
        }
    }

    fn as_yaml(&self) -> Option<Value> {
        Some(Value::text(self.display().to_string()))
    }
}

impl FromYaml for Duration {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Some(text) = node.as_str() else {
            faults.unexpected(node, "a duration, such as 15s");
            return None;
        };
        parse_duration(text).map_err(|e| faults.error(node.at, e)).ok()
    }

    fn as_yaml(&self) -> Option<Value> {
        Some(Value::plain(format_duration(*self)))
    }
}

impl<T: FromYaml> FromYaml for Option<T> {
    const SWITCH: bool = T::SWITCH;

    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        if node.is_null() || T::EMPTY_IS_NONE && node.as_str() == Some("") {
            return Some(None);
        }
        T::from_yaml(node, faults).map(Some)
    }

    fn key_paths(path: &str, paths: &mut Vec<String>) {
        T::key_paths(path, paths);
    }

    fn as_yaml(&self) -> Option<Value> {
        self.as_ref()?.as_yaml()
    }
}

impl<T: FromYaml> FromYaml for Box<T> {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        T::from_yaml(node, faults).map(Box::new)
    }

    fn key_paths(path: &str, paths: &mut Vec<String>) {
        T::key_paths(path, paths);
    }

    fn as_yaml(&self) -> Option<Value> {
        T::as_yaml(self)
    }
}

impl<T: FromYaml> FromYaml for Vec<T> {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Value::Sequence(items) = &node.value else {
            faults.unexpected(node, "a list");
            return None;
        };
        Some(items.iter().filter_map(|item| T::from_yaml(item, faults)).collect())
    }

    fn key_paths(path: &str, paths: &mut Vec<String>) {
        T::key_paths(&format!("{path}[]"), paths);
    }

    fn as_yaml(&self) -> Option<Value> {
        Value::list(self.iter().filter_map(T::as_yaml))
    }
}

impl<T: FromYaml> FromYaml for BTreeMap<String, T> {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Value::Mapping(entries) = &node.value else {
            faults.unexpected(node, "a mapping");
            return None;
        };
        Some(entries.iter().filter_map(|(k, v)| Some((k.name.clone(), T::from_yaml(v, faults)?))).collect())
    }

    fn key_paths(path: &str, paths: &mut Vec<String>) {
        T::key_paths(&format!("{path}.*"), paths);
    }

    fn as_yaml(&self) -> Option<Value> {
        Value::mapping(self.iter().map(|(name, value)| (name, value.as_yaml())))
    }
}

impl FromYaml for Labels {
    /// A mapping of label names to values.
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        for (key, _) in node.entries() {
            let mut bytes = key.name.bytes();
            let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
            if !first || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') || key.name.starts_with("__") {
                faults.error(key.at, format!("{:?} cannot be a label name: letters, digits and _", key.name));
            }
        }
        BTreeMap::<String, String>::from_yaml(node, faults).map(Labels::from_pairs)
    }

    fn as_yaml(&self) -> Option<Value> {
        Value::mapping(self.iter().map(|(name, value)| (name, Some(Value::text(value)))))
    }
}

/// A regular expression, anchored at both ends as all of Prometheus' are.
#[derive(Clone)]
pub struct Pattern {
    text: Arc<str>,
    regex: Regex,
}

impl Pattern {
    pub fn new(text: &str) -> Result<Pattern, String> {
        let regex = Re2::whole_line(text).map_err(|why| format!("not a regular expression: {why}"))?;
        Ok(Pattern { text: text.into(), regex: regex.into() })
    }

    /// From a text in the program itself, which its tests show to be well-formed; one that is not matches nothing.
    pub fn fixed(text: &'static str) -> Pattern {
        Pattern::new(text).unwrap_or_else(|e| unreachable!("{text}: {e}"))
    }

    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    pub fn regex(&self) -> &Regex {
        &self.regex
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl FromYaml for Pattern {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Some(text) = node.as_str() else {
            faults.unexpected(node, "a regular expression");
            return None;
        };
        Pattern::new(text).map_err(|e| faults.error(node.at, e)).ok()
    }

    fn as_yaml(&self) -> Option<Value> {
        Some(Value::text(self.as_str()))
    }
}

/// A text that is never shown: not in logs, metrics, `/api` or errors.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl FromYaml for Secret {
    // As to Alertmanager: one that is empty is not given, and what holds for all counts.
    const EMPTY_IS_NONE: bool = true;

    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        match node.as_str() {
            Some(s) => Some(Secret(s.to_string())),
            None => {
                faults.error(node.at, "expected a text");
                None
            }
        }
    }

    fn as_yaml(&self) -> Option<Value> {
        Some(Value::text("<secret>"))
    }
}
