//! Label matchers in both of Alertmanager's syntaxes: the classic one and the UTF-8 one.
//!
//! A text that both accept is read as the classic syntax reads it, one that only the UTF-8 syntax accepts as that does:
//! Alertmanager's own behaviour while it supports both.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::yaml::{Faults, FromYaml, Node, Pattern, Value};

/// Declared in the order in which Alertmanager sorts matchers of the same name and value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum MatchOp {
    Equal,
    NotEqual,
    Regex,
    NotRegex,
}

impl MatchOp {
    /// `!=` and `!~`.
    pub fn is_negative(self) -> bool {
        matches!(self, MatchOp::NotEqual | MatchOp::NotRegex)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        }
    }

    /// The operator that a text begins with, and what follows it.
    fn parse(text: &str) -> Option<(MatchOp, &str)> {
        // The longer ones first: `=~` begins with `=`.
        [MatchOp::Regex, MatchOp::NotRegex, MatchOp::NotEqual, MatchOp::Equal]
            .into_iter()
            .find_map(|op| Some((op, text.strip_prefix(op.as_str())?)))
    }
}

/// One condition on a label's value; a label that is not there has the value `""`.
#[derive(Clone, PartialEq, Debug)]
pub struct Matcher {
    pub name: String,
    pub op: MatchOp,
    pub value: String,
    /// For the two operators that have one.
    pattern: Option<Pattern>,
}

impl Matcher {
    /// # Errors
    /// When `value` has to be a regular expression and is not.
    pub fn new(name: &str, op: MatchOp, value: &str) -> Result<Matcher, String> {
        let pattern = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(Pattern::new(value)?),
        };
        Ok(Matcher { name: name.to_string(), op, value: value.to_string(), pattern })
    }

    /// Whether a label's value meets the condition.
    pub fn matches(&self, value: &str) -> bool {
        let is_match = || self.pattern.as_ref().is_some_and(|p| p.is_match(value));
        match self.op {
            MatchOp::Equal => value == self.value,
            MatchOp::NotEqual => value != self.value,
            MatchOp::Regex => is_match(),
            MatchOp::NotRegex => !is_match(),
        }
    }
}

/// As it is stored: the name, the operator, the value.
impl Serialize for Matcher {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (&self.name, self.op.as_str(), &self.value).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Matcher {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (name, op, value) = <(String, String, String)>::deserialize(from)?;
        let (op, _) =
            MatchOp::parse(&op).filter(|(_, rest)| rest.is_empty()).ok_or_else(|| D::Error::custom("no operator"))?;
        Matcher::new(&name, op, &value).map_err(D::Error::custom)
    }
}

impl fmt::Display for Matcher {
    /// As Alertmanager prints it, in group keys for instance.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = crate::model::escape_label_value(&self.value);
        if self.name.contains(is_reserved) {
            let name = crate::model::escape_label_value(&self.name);
            write!(f, "\"{name}\"{}\"{value}\"", self.op.as_str())
        } else {
            write!(f, "{}{}\"{value}\"", self.name, self.op.as_str())
        }
    }
}

/// The list under `matchers:`; each text may hold several conditions.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Matchers(pub Vec<Matcher>);

impl FromYaml for Matchers {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Value::Sequence(items) = &node.value else {
            faults.unexpected(node, "a list of matchers, such as [ severity=\"page\" ]");
            return None;
        };
        let mut all = Vec::new();
        for item in items {
            match item.as_str().map(parse_matchers) {
                None => faults.unexpected(item, "a matcher, such as severity=\"page\""),
                Some(Ok(matchers)) => all.extend(matchers),
                Some(Err(error)) => faults.error(item.at, error),
            }
        }
        Some(Matchers(all))
    }

    fn as_yaml(&self) -> Option<Value> {
        Value::list(self.0.iter().map(|matcher| Value::text(matcher.to_string())))
    }
}

/// Parses `a="b"`, `a=~"b.*",c!=d` or the same in braces.
///
/// # Errors
/// What is wrong, and how it should look.
pub fn parse_matchers(text: &str) -> Result<Vec<Matcher>, String> {
    classic(text)
        .or_else(|_| utf8(text))
        .map_err(|error| format!("{text:?} is not a matcher: {error}; write name=\"value\", with one of = != =~ !~"))
}

/// The classic syntax: names of letters, digits, `_` and `:`; values with or without quotes.
fn classic(text: &str) -> Result<Vec<Matcher>, String> {
    let text = text.strip_prefix('{').unwrap_or(text);
    let text = text.strip_suffix('}').unwrap_or(text);
    let mut matchers = Vec::new();
    let mut start = 0;
    let (mut quoted, mut escaped) = (false, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                matchers.push(classic_one(text.get(start..i).unwrap_or_default())?);
                start = i + 1;
            }
            _ => {}
        }
    }
    let last = text.get(start..).unwrap_or_default();
    // A comma may stand at the end, and nothing at all matches everything.
    if !last.trim().is_empty() {
        matchers.push(classic_one(last)?);
    }
    Ok(matchers)
}

fn classic_one(text: &str) -> Result<Matcher, String> {
    let text = text.trim();
    let length = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':')).count();
    let (name, rest) = text.split_at(length);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("it does not begin with a label name".to_string());
    }
    let (op, raw) = MatchOp::parse(rest.trim_start()).ok_or("there is no operator after the name")?;
    let raw = raw.trim();
    let (mut inner, quoted) = match raw.strip_prefix('"') {
        Some(inner) => (inner.chars(), true),
        None => (raw.chars(), false),
    };
    let mut value = String::new();
    let mut closed = false;
    while let Some(c) = inner.next() {
        match c {
            '\\' => match inner.next() {
                Some('n') => value.push('\n'),
                Some(c @ ('"' | '\\')) => value.push(c),
                Some(c) => value.extend(['\\', c]),
                None => value.push('\\'),
            },
            '"' if quoted && inner.as_str().is_empty() => closed = true,
            '"' => return Err("a quote within the value must be escaped".to_string()),
            c => value.push(c),
        }
    }
    if quoted && !closed {
        return Err("the closing quote is missing".to_string());
    }
    Matcher::new(name, op, &value)
}

/// What ends an unquoted name or value of the UTF-8 syntax.
fn is_reserved(c: char) -> bool {
    c.is_whitespace() || "{}!=~,\\\"'`".contains(c)
}

/// The UTF-8 syntax: names and values are words without reserved characters, or quoted as in Go.
fn utf8(text: &str) -> Result<Vec<Matcher>, String> {
    let mut rest = text.trim();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner.strip_suffix('}').ok_or("the closing brace is missing")?.trim();
    }
    let mut matchers = Vec::new();
    while !rest.is_empty() {
        let (name, after) = word(rest)?;
        let (op, after) = MatchOp::parse(after.trim_start()).ok_or("there is no operator after the name")?;
        let (value, after) = word(after.trim_start())?;
        if name.is_empty() {
            return Err("the name is empty".to_string());
        }
        matchers.push(Matcher::new(&name, op, &value)?);
        rest = match (after.trim_start(), after.trim_start().strip_prefix(',')) {
            ("", _) => "",
            (_, Some(next)) => next.trim_start(),
            (other, None) => return Err(format!("expected a comma before {other:?}")),
        };
    }
    Ok(matchers)
}

/// A word or a quoted text, and what follows it.
fn word(text: &str) -> Result<(String, &str), String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(is_reserved).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        return if word.is_empty() { Err("a name or value is missing".to_string()) } else { Ok((word.into(), rest)) };
    };
    let mut out = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next().ok_or("the closing quote is missing")? {
            '"' => return Ok((out, chars.as_str())),
            '\\' => match chars.next().ok_or("the closing quote is missing")? {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                c @ ('"' | '\\') => out.push(c),
                c @ ('x' | 'u' | 'U') => {
                    let digits = match c {
                        'x' => 2,
                        'u' => 4,
                        _ => 8,
                    };
                    let hex: String = chars.by_ref().take(digits).collect();
                    let code = u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == digits);
                    out.push(code.and_then(char::from_u32).ok_or_else(|| format!("\\{c}{hex} is no character"))?);
                }
                c => return Err(format!("\\{c} is not an escape")),
            },
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    fn read(text: &str) -> String {
        parse_matchers(text).unwrap().iter().map(Matcher::to_string).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn both_syntaxes_are_read() {
        for (text, read_as) in [
            ("severity=page", r#"severity="page""#),
            (r#"severity = "page""#, r#"severity="page""#),
            (r#"{severity="page",team!~"a|b"}"#, r#"severity="page",team!~"a|b""#),
            (r#"a=~"x.*", b != y,"#, r#"a=~"x.*",b!="y""#),
            (r#"a="b,c""#, r#"a="b,c""#),
            (r#"a="b\"c\\d\ne""#, r#"a="b\"c\\d\ne""#),
            ("a=", r#"a="""#),
            ("a=x y z", r#"a="x y z""#),
            ("a=b=c", r#"a="b=c""#),
            ("", ""),
            ("{}", ""),
            // The UTF-8 syntax only.
            ("straße=🔥", r#"straße="🔥""#),
            (r#""foo bar"="x""#, r#""foo bar"="x""#),
            (r#"{"a.b"=~"c",d="\u00e9"}"#, r#"a.b=~"c",d="\u00e9""#),
            (r#"a.b="\u00e9""#, r#"a.b="é""#),
        ] {
            assert_eq!(read(text), read_as.replace(r#"d="\u00e9""#, r#"d="é""#), "{text}");
        }
    }

    #[test]
    fn what_is_no_matcher_is_refused_with_the_reason() {
        for (text, reason) in [
            ("severity", "no operator"),
            (r#"a="b"#, "closing quote"),
            (r#"a="b"c""#, "expected a comma"),
            ("a=~(", "regular expression"),
            ("=b", "a name or value is missing"),
            (r#""a"="b" "c"="d""#, "expected a comma"),
            (r#""a"="\q""#, "is not an escape"),
        ] {
            let error = parse_matchers(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn regular_expressions_match_the_whole_value_and_absent_labels_are_empty() {
        let m = |text: &str| parse_matchers(text).unwrap().remove(0);
        assert!(m("a=~b|c").matches("c") && !m("a=~b|c").matches("cc"));
        assert!(m("a!~b.+").matches("b") && !m("a!~b.+").matches("bb"));
        assert!(m("a=").matches("") && !m("a!=").matches(""));
    }

    #[test]
    fn no_matcher_makes_it_panic() {
        let good =
            [r#"{severity="page",team!~"a|b"}"#, r#"a=~"x.*", b != y,"#, r#"{"a b"="\u00fc\x41\n\"",ü!=z}"#, "a=b"];
        Fuzz::of(&good).words(&["=~", "!~", "!=", "\\U0010ffff", "(?i)", "{1,9}", "\\p{L}"]).heap(32 << 20).texts(
            |text| {
                for matcher in parse_matchers(text).unwrap_or_default() {
                    matcher.matches("page");
                    assert_eq!(parse_matchers(&matcher.to_string()), Ok(vec![matcher]));
                }
            },
        );
    }
}
