//! Regular expressions in Go's syntax (RE2), in which all of Prometheus' rule files, Alertmanager's routes and the exporters'
//! configurations are written.

mod translate;

use std::fmt;
use std::sync::Arc;

use regex::{Captures, Regex};

pub use translate::{Translated, translate};

/// A regular expression, and what its groups are called.
#[derive(Clone)]
pub struct Re2 {
    regex: Regex,
    /// Of each group, the whole first; empty for one without a name.
    names: Arc<[String]>,
}

impl Re2 {
    /// One that is found anywhere in a text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(pattern: &str) -> Result<Re2, String> {
        Re2::within("", pattern, "")
    }

    /// One that must match the whole of a text, and whose dot matches line feeds: what Prometheus makes of those in
    /// selectors and of that of `label_replace`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn whole(pattern: &str) -> Result<Re2, String> {
        Re2::within("^(?s:", pattern, ")$")
    }

    /// One that must match the whole of a text, and whose dot matches no line feed: what Alertmanager makes of those in
    /// its matchers.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn whole_line(pattern: &str) -> Result<Re2, String> {
        Re2::within("^(?:", pattern, ")$")
    }

    fn within(before: &str, pattern: &str, behind: &str) -> Result<Re2, String> {
        let Translated { pattern, names } = translate(pattern)?;
        let regex = Regex::new(&format!("{before}{pattern}{behind}")).map_err(|e| reason(&e))?;
        Ok(Re2 { regex, names: names.into() })
    }

    pub fn regex(&self) -> &Regex {
        &self.regex
    }

    /// What the first group of this name that took part has matched.
    fn named<'t>(&self, name: &str, captures: &Captures<'t>) -> Option<regex::Match<'t>> {
        let groups = self.names.iter().enumerate().filter(|(_, n)| *n == name);
        groups.filter_map(|(group, _)| captures.get(group)).next()
    }

    /// Puts groups in the place of `$1`, `$name`, `${name}` and `$$`, as Go's regexp does: a dollar sign before anything
    /// else stands for itself, a group that is not there for nothing. None where that takes more than `limit` bytes.
    pub fn expand(&self, template: &str, captures: &Captures<'_>, limit: usize) -> Option<String> {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            rest = after;
            if let Some(tail) = after.strip_prefix('$') {
                out.push('$');
                rest = tail;
                continue;
            }
            let is_part = |c: char| c.is_alphanumeric() || c == '_';
            let braced = after.strip_prefix('{');
            let from = braced.unwrap_or(after);
            let (name, tail) = from.split_at(from.find(|c| !is_part(c)).unwrap_or(from.len()));
            let tail = if braced.is_some() { tail.strip_prefix('}') } else { Some(tail) };
            let Some(tail) = tail.filter(|_| !name.is_empty()) else {
                out.push('$');
                continue;
            };
            let is_number = name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
            let group =
                if is_number { name.parse().ok().and_then(|n| captures.get(n)) } else { self.named(name, captures) };
            out.push_str(group.map_or("", |m| m.as_str()));
            if out.len() > limit {
                return None;
            }
            rest = tail;
        }
        out.push_str(rest);
        Some(out)
    }
}

impl From<Re2> for Regex {
    fn from(re2: Re2) -> Regex {
        re2.regex
    }
}

impl fmt::Debug for Re2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.regex.fmt(f)
    }
}

/// Why the crate refuses an expression: it shows the expression first, which is not the one that was written.
pub fn reason(error: &regex::Error) -> String {
    let said = error.to_string();
    let last = said.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    #[test]
    fn templates_are_expanded_as_go_expands_them() {
        let re2 = Re2::whole("(?P<a>x+)(y)?(.*)").unwrap();
        let captures = re2.regex().captures("xxzz").unwrap();
        for (template, wanted) in [
            ("$1-$3", "xx-zz"),
            ("${1}1", "xx1"),
            ("$1a", ""),
            ("$a/${a}", "xx/xx"),
            ("[$2$9$none]", "[]"),
            ("$$1 $- $", "$1 $- $"),
            ("${a-b} ${", "${a-b} ${"),
            ("$0", "xxzz"),
        ] {
            assert_eq!(re2.expand(template, &captures, 100).as_deref(), Some(wanted), "{template}");
        }
    }

    #[test]
    fn what_is_put_around_a_pattern_stays_around_it() {
        assert!(Re2::whole("a)|(b").is_err() && Re2::whole_line("a)(?:b").is_err() && Re2::new("(a").is_err());
        let line = Re2::whole_line("a|b.").unwrap();
        assert!(line.regex().is_match("bc") && !line.regex().is_match("ac") && !line.regex().is_match("b\n"));
        assert!(Re2::whole("b.").unwrap().regex().is_match("b\n"));
    }

    #[test]
    fn no_template_makes_it_panic() {
        let re2 = Re2::whole("(?P<a>x+)(?P<a>y)?(.*)").unwrap();
        let captures = re2.regex().captures("xxzz").unwrap();
        Fuzz::of(&["$1-${a}$$ $99999999999999999999 ${b-c} ${", "${1}1$0"]).texts(|template| {
            assert!(re2.expand(template, &captures, 64).is_none_or(|value| value.len() <= 64 + template.len()));
        });
    }
}
