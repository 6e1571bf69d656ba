//! What a command line must match: a regular expression of an item's `cmdline`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};

use crate::re2::{reason, translate};
use crate::template::Value;
use crate::yaml::{Faults, FromYaml, Node};

/// Bytes that a search may keep of what it has learned; past it, it is slower.
const SEARCH_BYTES: usize = 256 << 10;

/// A regular expression in Go's syntax, found anywhere in the command line.
#[derive(Clone)]
pub struct CommandPattern {
    text: Arc<str>,
    regex: Regex,
    /// Of each group, the whole first; empty for one without a name.
    names: Arc<[Arc<str>]>,
}

impl CommandPattern {
    pub(super) fn new(text: &str) -> Result<CommandPattern, String> {
        let bad = |why: &str| format!("not a regular expression: {why}");
        let translated = translate(text).map_err(|why| bad(&why))?;
        let built = RegexBuilder::new(&translated.pattern).dfa_size_limit(SEARCH_BYTES).build();
        let regex = built.map_err(|e| bad(&reason(&e)))?;
        Ok(CommandPattern {
            text: text.into(),
            regex,
            names: translated.names.iter().map(|name| name.as_str().into()).collect(),
        })
    }

    pub(super) fn is_match(&self, line: &str) -> bool {
        self.regex.is_match(line.as_bytes())
    }

    /// Names of groups; empty for the whole and for groups without a name.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// Adds what the groups have matched. As in process-exporter, those without a name share the empty one: the last of
    /// them stands, and the whole where there is none.
    pub(super) fn captures(&self, line: &str, into: &mut BTreeMap<Arc<str>, Value>) {
        for (name, text) in self.names.iter().zip(self.groups(line).unwrap_or_default()) {
            into.insert(name.clone(), text.into());
        }
    }

    /// What each group has matched, the whole first; empty for one that took no part.
    pub(super) fn groups(&self, line: &str) -> Option<Vec<String>> {
        let found = self.regex.captures(line.as_bytes())?;
        let text = |group| found.get(group).map_or(&b""[..], |m| m.as_bytes());
        Some((0..self.names.len()).map(|group| String::from_utf8_lossy(text(group)).into_owned()).collect())
    }
}

impl fmt::Debug for CommandPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl FromYaml for CommandPattern {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Some(text) = node.as_str() else {
            faults.unexpected(node, "a regular expression");
            return None;
        };
        CommandPattern::new(text).map_err(|e| faults.error(node.at, e)).ok()
    }
}
