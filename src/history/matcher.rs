//! Label matchers, as selectors use them.

use std::fmt;

use regex::Regex;

use crate::model::Labels;
use crate::re2::Re2;

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
    pub fn regex(name: &str, value: &str) -> Result<Matcher, String> {
        Ok(Matcher { name: name.into(), op: MatchOp::Regex(Re2::whole(value)?.into()), value: value.into() })
    }

    /// `!~`. The error says what is wrong with the expression.
    pub fn not_regex(name: &str, value: &str) -> Result<Matcher, String> {
        Ok(Matcher { name: name.into(), op: MatchOp::NotRegex(Re2::whole(value)?.into()), value: value.into() })
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
        assert!(Matcher::regex("a", "b)(c").is_err(), "what is put around it stays around it");
    }

    #[test]
    fn expressions_are_read_as_go_reads_them() {
        let matches = |pattern, value| Matcher::regex("a", pattern).map(|m| m.matches(value));
        // Of ASCII only.
        assert_eq!((matches(r"\d", "5"), matches(r"\d", "\u{0665}")), (Ok(true), Ok(false)));
        assert_eq!((matches(r"\w+", "ae"), matches(r"\w+", "\u{e9}")), (Ok(true), Ok(false)));
        assert_eq!(matches(r"[\w-.]+", "web-1.example"), Ok(true), "a dash behind a class is a dash");
        assert_eq!(matches(r"\Qa.b\E", "a.b"), Ok(true));
        assert_eq!(matches(r"[a&&b]+", "a&b"), Ok(true));
        assert!(matches("a**", "a").is_err() && matches("a{1001}", "a").is_err() && matches("(?x) a", "a").is_err());
    }
}
