//! Patterns as node_exporter's flags take them: found anywhere in the text, unless they say otherwise.

use std::fmt;
use std::sync::Arc;

use regex::bytes::Regex;

use crate::yaml::{Faults, FromYaml, Node};

/// A regular expression that matches where it is found, unlike [`Pattern`](crate::yaml::Pattern).
///
/// node_exporter does not anchor its patterns, and people bring the values of its flags along: `^/(dev|proc)($|/)`
/// leaves out `/dev/shm` too.
#[derive(Clone)]
pub struct Search {
    text: Arc<str>,
    regex: Regex,
}

impl Search {
    pub fn new(text: &str) -> Result<Search, String> {
        match Regex::new(text) {
            Ok(regex) => Ok(Search { text: text.into(), regex }),
            Err(e) => Err(format!("not a regular expression: {}", e.to_string().replace('\n', " "))),
        }
    }

    /// From a text in the program itself, which its tests show to be well-formed.
    pub fn fixed(text: &'static str) -> Search {
        Search::new(text).unwrap_or_else(|e| unreachable!("{text}: {e}"))
    }

    /// Whether it is the empty pattern, by which node_exporter's flags mean none: `--collector.X.device-exclude=`.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub fn regex(&self) -> &Regex {
        &self.regex
    }

    pub fn is_match(&self, text: &[u8]) -> bool {
        self.regex.is_match(text)
    }
}

impl PartialEq for Search {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl FromYaml for Search {
    const EMPTY_IS_NONE: bool = true;

    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Some(text) = node.as_str() else {
            faults.unexpected(node, "a regular expression");
            return None;
        };
        Search::new(text).map_err(|e| faults.error(node.at, e)).ok()
    }
}

/// What is exported of a list: what `include` matches, if there is such a pattern, or else what `exclude` does not; an
/// empty `exclude` leaves nothing out.
#[derive(Clone, Debug)]
pub struct Filter {
    pub include: Option<Search>,
    pub exclude: Search,
}

impl Filter {
    pub fn wants(&self, name: &[u8]) -> bool {
        match &self.include {
            Some(include) => include.is_match(name),
            None => self.exclude.is_empty() || !self.exclude.is_match(name),
        }
    }
}

/// Whether a name is exported where an include and an exclude pattern may be set together, and both count.
pub(super) fn passes(include: Option<&Search>, exclude: Option<&Search>, name: &[u8]) -> bool {
    include.is_none_or(|p| p.is_match(name)) && !exclude.is_some_and(|p| p.is_match(name))
}

/// Which devices are exported: those that `include` matches, if there is such a pattern, and `exclude` does not.
#[derive(Clone, Debug)]
pub(super) struct DeviceFilter {
    include: Option<Search>,
    exclude: Option<Search>,
}

impl DeviceFilter {
    pub fn new(include: &Option<Search>, exclude: &Option<Search>) -> DeviceFilter {
        DeviceFilter { include: include.clone(), exclude: exclude.clone() }
    }

    pub fn wants(&self, device: &[u8]) -> bool {
        passes(self.include.as_ref(), self.exclude.as_ref(), device)
    }

    /// Reports a `device_include` and a `device_exclude` that are both set.
    pub fn check(include: &Option<Search>, exclude: &Option<Search>, node: &Node, faults: &mut Faults) {
        if include.is_some() && exclude.is_some() {
            faults.error(node.at, "device_include and device_exclude exclude each other");
        }
    }
}

/// Reports an include and an exclude pattern that are both set: the exclude pattern's default gives way, another does not.
pub(super) fn check_pair(
    (include_key, include): (&str, &Option<Search>),
    (exclude_key, exclude, default): (&str, &Search, &Search),
    node: &Node,
    faults: &mut Faults,
) {
    if include.is_some() && exclude != default && !exclude.is_empty() {
        faults.error(node.at, format!("{include_key} and {exclude_key} exclude each other"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_found_anywhere() {
        let search = Search::fixed("^/(dev|proc)($|/)");
        assert!(search.is_match(b"/dev/shm") && search.is_match(b"/proc") && !search.is_match(b"/device"));
        assert!(Search::new("(").is_err());
    }

    #[test]
    fn include_replaces_exclude() {
        let mut filter = Filter { include: None, exclude: Search::fixed("^sd") };
        assert!(!filter.wants(b"sda") && filter.wants(b"vda"));
        filter.include = Some(Search::fixed("a$"));
        assert!(filter.wants(b"sda") && !filter.wants(b"vdb"));
        filter = Filter { include: None, exclude: Search::fixed("") };
        assert!(filter.wants(b"sda"));
    }

    #[test]
    fn both_patterns_count_where_both_may_be_set() {
        let (disk, first) = (Search::fixed("^sd"), Search::fixed("a$"));
        assert!(passes(None, None, b"sda") && passes(Some(&disk), None, b"sda") && !passes(None, Some(&disk), b"sda"));
        assert!(passes(Some(&disk), Some(&first), b"sdb") && !passes(Some(&disk), Some(&first), b"sda"));
    }
}
