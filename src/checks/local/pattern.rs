//! Regular expressions as people write them for lines of logs and commands.

use std::fmt;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use crate::re2::{reason, translate};
use crate::yaml::{Faults, FromYaml, Node, Value};

/// Bytes that a search may keep of what it has learned, on each thread of the pool; past it, it is slower.
const SEARCH_BYTES: usize = 256 << 10;

/// A regular expression in Go's syntax, found anywhere in a line.
#[derive(Clone)]
pub struct LinePattern {
    text: Arc<str>,
    regex: Regex,
    /// Of each group, the whole first; empty for one without a name.
    names: Arc<[String]>,
}

impl LinePattern {
    pub fn new(text: &str) -> Result<LinePattern, String> {
        let bad = |why: &str| format!("not a regular expression: {why}");
        let translated = translate(text).map_err(|why| bad(&why))?;
        let built = RegexBuilder::new(&translated.pattern).dfa_size_limit(SEARCH_BYTES).build();
        let regex = built.map_err(|e| bad(&reason(&e)))?;
        Ok(LinePattern { text: text.into(), regex, names: translated.names.into() })
    }

    pub fn is_match(&self, line: &str) -> bool {
        self.regex.is_match(line)
    }

    pub fn regex(&self) -> &Regex {
        &self.regex
    }

    /// The groups that have a name, and their places.
    pub fn groups(&self) -> impl Iterator<Item = (usize, &str)> {
        self.names.iter().enumerate().filter(|(_, name)| !name.is_empty()).map(|(place, name)| (place, name.as_str()))
    }
}

impl fmt::Debug for LinePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl fmt::Display for LinePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromYaml for LinePattern {
    // What matches every line is not meant.
    const EMPTY_IS_NONE: bool = true;

    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Some(text) = node.as_str() else {
            faults.unexpected(node, "a regular expression");
            return None;
        };
        LinePattern::new(text).map_err(|e| faults.error(node.at, e)).ok()
    }

    fn as_yaml(&self) -> Option<Value> {
        Some(Value::text(&*self.text))
    }
}
