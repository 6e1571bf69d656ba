//! Regular expressions of checks.

use std::fmt;
use std::sync::Arc;

use regex::Regex;

use crate::re2::Re2;
use crate::yaml::{Faults, FromYaml, Node, Value};

/// A regular expression in Go's syntax that is found anywhere in a text, as all of blackbox_exporter's are.
#[derive(Clone)]
pub struct Regexp {
    text: Arc<str>,
    re2: Re2,
}

impl Regexp {
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Regexp, String> {
        let re2 = Re2::new(text).map_err(|why| format!("not a regular expression: {why}"))?;
        Ok(Regexp { text: text.into(), re2 })
    }

    pub fn is_match(&self, text: &str) -> bool {
        self.regex().is_match(text)
    }

    pub fn regex(&self) -> &Regex {
        self.re2.regex()
    }

    pub fn re2(&self) -> &Re2 {
        &self.re2
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Regexp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl FromYaml for Regexp {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Some(text) = node.as_str() else {
            faults.unexpected(node, "a regular expression");
            return None;
        };
        Regexp::new(text).map_err(|e| faults.error(node.at, e)).ok()
    }

    fn as_yaml(&self) -> Option<Value> {
        Some(Value::text(self.as_str()))
    }
}
