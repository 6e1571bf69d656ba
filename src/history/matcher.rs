//! Label matchers, as selectors use them.

use std::fmt;

use regex::Regex;

use crate::model::Labels;

/// How a label's value is compared.
#[derive(Clone, Debug)]
pub enum MatchOp {
    Equal,
    NotEqual,
    /// Anchored at both ends; a dot matches line feeds too.
    Regex(Regex),
    NotRegex(Regex),
}

/// A condition on one label's value; a label that is not there has the value `""`.
#[derive(Clone, Debug)]
pub struct Matcher {
    pub name: Box<str>,
    pub op: MatchOp,
    /// The value or the text of the regular expression, as it was written.
    pub value: Box<str>,
}

impl Matcher {
    pub fn equal(name: &str, value: &str) -> Matcher {
        Matcher { name: name.into(), op: MatchOp::Equal, value: value.into() }
    }

    pub fn not_equal(name: &str, value: &str) -> Matcher {
        Matcher { name: name.into(), op: MatchOp::NotEqual, value: value.into() }
    }

    /// `=~`. The error says what is wrong with the expression.
    pub fn regex(name: &str, value: &str) -> Result<Matcher, regex::Error> {
        Ok(Matcher { name: name.into(), op: MatchOp::Regex(anchored(value)?), value: value.into() })
    }

    /// `!~`. The error says what is wrong with the expression.
    pub fn not_regex(name: &str, value: &str) -> Result<Matcher, regex::Error> {
        Ok(Matcher { name: name.into(), op: MatchOp::NotRegex(anchored(value)?), value: value.into() })
    }

    /// Whether a value passes.
    pub fn matches(&self, value: &str) -> bool {
        match &self.op {
            MatchOp::Equal => *self.value == *value,
            MatchOp::NotEqual => *self.value != *value,
            MatchOp::Regex(r) => r.is_match(value),
            MatchOp::NotRegex(r) => !r.is_match(value),
        }
    }

    /// Whether a label set passes.
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name))
    }
}

/// A regular expression as Prometheus reads it: it must match the whole, and a dot matches line feeds.
pub fn anchored(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(&format!("^(?s:{pattern})$")).or_else(|e| {
        // In Go a brace that begins no repetition stands for itself.
        Regex::new(&format!("^(?s:{})$", escape_braces(pattern))).map_err(|_| e)
    })
}

fn escape_braces(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 4);
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let (this, tail) = rest.split_at(c.len_utf8());
        rest = tail;
        if c == '\\' {
            out.push(c);
            if let Some(next) = rest.chars().next() {
                out.push(next);
                rest = rest.get(next.len_utf8()..).unwrap_or("");
                // `\p{Greek}` and `\x{10FFFF}`: the braces belong to the escape.
                if matches!(next, 'p' | 'P' | 'x') && rest.starts_with('{') {
                    let end = rest.find('}').map_or(rest.len(), |i| i + 1);
                    out.push_str(rest.get(..end).unwrap_or(""));
                    rest = rest.get(end..).unwrap_or("");
                }
            }
            continue;
        }
        if c == '{' && !is_repetition(rest) {
            out.push('\\');
        }
        out.push_str(this);
    }
    out
}

/// Whether the text after a brace is that of `{3}`, `{3,}` or `{3,5}`.
fn is_repetition(after: &str) -> bool {
    let Some((inside, _)) = after.split_once('}') else { return false };
    let (low, high) = inside.split_once(',').unwrap_or((inside, ""));
    !low.is_empty() && low.bytes().chain(high.bytes()).all(|b| b.is_ascii_digit())
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = match self.op {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex(_) => "=~",
            MatchOp::NotRegex(_) => "!~",
        };
        write!(f, "{}{op}{:?}", self.name, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_the_whole_value_and_line_feeds() {
        let m = Matcher::regex("a", "b|c.d").unwrap();
        assert!(m.matches("b") && m.matches("c\nd") && !m.matches("bb") && !m.matches("xc.d"));
        assert!(Matcher::regex("a", "x{y}z").unwrap().matches("x{y}z"));
        assert!(Matcher::regex("a", r"x{2}\p{Lu}{y").unwrap().matches("xxA{y"));
        assert!(Matcher::regex("a", "(").is_err());
    }
}
