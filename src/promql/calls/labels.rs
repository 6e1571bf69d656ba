//! `label_replace` and `label_join`.

use regex::Captures;

use super::text_argument;
use crate::promql::error::EvalError;
use crate::promql::eval::{Eval, unique};
use crate::promql::plan::{Call, Extra};
use crate::promql::value::Sample;

impl Eval<'_> {
    /// `label_replace(v, destination, replacement, source, pattern)`.
    pub(super) fn label_replace(&mut self, call: &Call, now: i64) -> Result<Vec<Sample>, EvalError> {
        let (destination, replacement, source) =
            (text_argument(call, 1), text_argument(call, 2), text_argument(call, 3));
        let mut vector = self.vector_argument(call, 0, now)?;
        let Extra::Regex(regex) = &call.extra else { return Ok(vector) };
        for s in &mut vector {
            self.check_deadline()?;
            let Some(captures) = regex.captures(s.labels.get(source)) else { continue };
            let mut builder = s.labels.builder();
            builder.set(destination, &expand(replacement, &captures));
            s.labels = builder.build();
            self.built(&s.labels)?;
        }
        unique(vector)
    }

    /// `label_join(v, destination, separator, source...)`.
    pub(super) fn label_join(&mut self, call: &Call, now: i64) -> Result<Vec<Sample>, EvalError> {
        let (destination, separator) = (text_argument(call, 1), text_argument(call, 2));
        let mut vector = self.vector_argument(call, 0, now)?;
        for s in &mut vector {
            let values: Vec<&str> = (3..call.arguments.len()).map(|i| s.labels.get(text_argument(call, i))).collect();
            let mut builder = s.labels.builder();
            builder.set(destination, &values.join(separator));
            s.labels = builder.build();
            self.built(&s.labels)?;
        }
        unique(vector)
    }
}

/// Puts groups in the place of `$1`, `$name`, `${name}` and `$$`, as Go's regexp does: a dollar sign before anything
/// else stands for itself, a group that is not there for nothing.
fn expand(template: &str, captures: &Captures<'_>) -> String {
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
        let group = if is_number { name.parse().ok().and_then(|n| captures.get(n)) } else { captures.name(name) };
        out.push_str(group.map_or("", |m| m.as_str()));
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_expanded_as_go_expands_them() {
        let regex = regex::Regex::new("^(?P<a>x+)(y)?(.*)$").unwrap();
        let captures = regex.captures("xxzz").unwrap();
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
            assert_eq!(expand(template, &captures), wanted, "{template}");
        }
    }
}
