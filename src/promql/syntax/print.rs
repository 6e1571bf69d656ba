//! An expression as text again, laid out over lines where it is long.

use std::fmt::Write as _;
use std::time::Duration;

use super::ast::*;
use crate::history::{MatchOp as Operator, Matcher};
use crate::model::{METRIC_NAME, format_duration};
use crate::promql::math::format_value;
use crate::promql::plan::At;

/// What is longer than this goes over several lines, as Prometheus has it.
const MAX_WIDTH: usize = 100;

const INDENT: &str = "  ";

/// The expression, each of its lines no longer than 100 characters where that can be.
pub fn pretty(expr: &Expr) -> String {
    let mut out = String::new();
    lay_out(expr, 0, &mut out);
    out
}

fn lay_out(expr: &Expr, level: usize, out: &mut String) {
    let indent = INDENT.repeat(level);
    let line = one_line(expr);
    let list = |parts: &[&Expr], out: &mut String| {
        for (i, part) in parts.iter().enumerate() {
            lay_out(part, level + 1, out);
            out.push_str(if i + 1 < parts.len() { ",\n" } else { "\n" });
        }
    };
    match &expr.kind {
        _ if line.chars().count() <= MAX_WIDTH => _ = write!(out, "{indent}{line}"),
        ExprKind::Paren(inner) => {
            let _ = writeln!(out, "{indent}(");
            list(&[inner], out);
            let _ = write!(out, "{indent})");
        }
        ExprKind::Unary { negative, expr } => {
            let mut inner = String::new();
            lay_out(expr, level, &mut inner);
            let _ = write!(out, "{indent}{}{}", sign(*negative), inner.trim_start());
        }
        ExprKind::Binary(b) => {
            lay_out(&b.lhs, level + 1, out);
            let _ = write!(out, "\n{indent}{}\n", operator(b));
            lay_out(&b.rhs, level + 1, out);
        }
        ExprKind::Aggregate(a) if !a.arguments.is_empty() => {
            let _ = writeln!(out, "{indent}{}(", aggregation(a));
            list(&a.arguments.iter().collect::<Vec<_>>(), out);
            let _ = write!(out, "{indent})");
        }
        ExprKind::Call(c) if !c.arguments.is_empty() => {
            let _ = writeln!(out, "{indent}{}(", c.name);
            list(&c.arguments.iter().collect::<Vec<_>>(), out);
            let _ = write!(out, "{indent})");
        }
        ExprKind::Subquery(s) => {
            lay_out(&s.expr, level, out);
            out.push_str(&behind_subquery(s));
        }
        _ => _ = write!(out, "{indent}{line}"),
    }
}

/// The expression in one line, however long.
pub fn one_line(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Number(v) => format_value(*v),
        ExprKind::Text(text) => quoted(text),
        ExprKind::Paren(inner) => format!("({})", one_line(inner)),
        ExprKind::Unary { negative, expr } => format!("{}{}", sign(*negative), one_line(expr)),
        ExprKind::Selector(s) => format!("{}{}", selector(s), behind_selector(s)),
        ExprKind::Matrix { selector: s, range } => {
            format!("{}[{}]{}", selector(s), duration(range), behind_selector(s))
        }
        ExprKind::Subquery(s) => format!("{}{}", one_line(&s.expr), behind_subquery(s)),
        ExprKind::Binary(b) => format!("{} {} {}", one_line(&b.lhs), operator(b), one_line(&b.rhs)),
        ExprKind::Aggregate(a) => format!("{}({})", aggregation(a), arguments(&a.arguments)),
        ExprKind::Call(c) => format!("{}({})", c.name, arguments(&c.arguments)),
    }
}

fn arguments(arguments: &[Expr]) -> String {
    arguments.iter().map(one_line).collect::<Vec<_>>().join(", ")
}

fn sign(negative: bool) -> &'static str {
    if negative { "-" } else { "+" }
}

fn aggregation(a: &Aggregate) -> String {
    match &a.grouping {
        None => a.op.clone(),
        Some((without, names)) => format!("{} {} ({}) ", a.op, if *without { "without" } else { "by" }, labels(names)),
    }
}

fn operator(b: &Binary) -> String {
    let m = &b.modifier;
    let mut out = b.op_text.clone();
    if m.return_bool {
        out.push_str(" bool");
    }
    // `ignoring ()` says nothing, unless a group stands behind it.
    if let Some((on, names)) = &m.matching
        && (*on || !names.is_empty() || m.group != Side::Neither)
    {
        let _ = write!(out, " {} ({})", if *on { "on" } else { "ignoring" }, labels(names));
    }
    match m.group {
        Side::Neither => {}
        Side::Left => _ = write!(out, " group_left ({})", labels(&m.include)),
        Side::Right => _ = write!(out, " group_right ({})", labels(&m.include)),
    }
    match (m.fill_left, m.fill_right) {
        (Some(left), Some(right)) if left.to_bits() == right.to_bits() => {
            let _ = write!(out, " fill ({})", format_value(left));
        }
        (left, right) => {
            for (word, value) in [("fill_left", left), ("fill_right", right)] {
                if let Some(value) = value {
                    let _ = write!(out, " {word} ({})", format_value(value));
                }
            }
        }
    }
    out
}

fn selector(s: &VectorSelector) -> String {
    let mut matchers: Vec<String> = Vec::new();
    let plain = s.name.as_deref().filter(|name| is_metric_name(name));
    if let (Some(name), None) = (&s.name, plain) {
        matchers.push(quoted(name));
    }
    let op = |op| match op {
        MatchOp::Equal => "=",
        MatchOp::NotEqual => "!=",
        MatchOp::Regex => "=~",
        MatchOp::NotRegex => "!~",
    };
    matchers.extend(s.matchers.iter().map(|m| match m.op {
        MatchOp::Equal if m.name == METRIC_NAME && !is_metric_name(&m.value) => quoted(&m.value),
        _ => format!("{}{}{}", label(&m.name), op(m.op), quoted(&m.value)),
    }));
    match (plain, matchers.is_empty()) {
        (Some(name), true) => name.to_string(),
        (name, _) => format!("{}{{{}}}", name.unwrap_or(""), matchers.join(",")),
    }
}

fn behind_selector(s: &VectorSelector) -> String {
    let extent = match (s.anchored, s.smoothed) {
        (true, _) => " anchored",
        (_, true) => " smoothed",
        _ => "",
    };
    format!("{extent}{}", modifiers(&s.modifiers))
}

fn behind_subquery(s: &Subquery) -> String {
    let step = s.step.as_ref().map_or(String::new(), duration);
    format!("[{}:{step}]{}", duration(&s.range), modifiers(&s.modifiers))
}

fn modifiers(m: &Modifiers) -> String {
    let mut out = match m.at {
        None => String::new(),
        Some(At::Start) => " @ start()".to_string(),
        Some(At::End) => " @ end()".to_string(),
        Some(At::Time(millis)) => format!(" @ {:.3}", millis as f64 / 1000.0),
    };
    if let Some(offset) = &m.offset {
        // Without brackets only the first of its parts would be the offset.
        let _ = write!(out, " offset {}", operand(offset));
    }
    out
}

fn duration(d: &DurationExpr) -> String {
    if let Some(inner) = bracketed(d) {
        return format!("({})", duration(inner));
    }
    match d {
        DurationExpr::Number(seconds) => {
            let text = format_duration(Duration::try_from_secs_f64(seconds.abs()).unwrap_or(Duration::MAX));
            if *seconds < 0.0 { format!("-{text}") } else { text }
        }
        DurationExpr::Step => "step()".to_string(),
        DurationExpr::Range => "range()".to_string(),
        DurationExpr::Negate(inner) => format!("-{}", operand(inner)),
        DurationExpr::Pair(op @ (DurationOp::Min | DurationOp::Max), pair) => {
            let name = if *op == DurationOp::Min { "min_of" } else { "max_of" };
            format!("{name}({}, {})", duration(&pair.0), duration(&pair.1))
        }
        DurationExpr::Pair(op, pair) => {
            let op = match op {
                DurationOp::Add => "+",
                DurationOp::Sub => "-",
                DurationOp::Mul => "*",
                DurationOp::Div => "/",
                DurationOp::Mod => "%",
                _ => "^",
            };
            format!("{} {op} {}", operand(&pair.0), operand(&pair.1))
        }
    }
}

/// In brackets where it is made of others: the tree does not know where the writer had them.
fn operand(d: &DurationExpr) -> String {
    match d {
        DurationExpr::Pair(op, _) if bracketed(d).is_none() && !matches!(op, DurationOp::Min | DurationOp::Max) => {
            format!("({})", duration(d))
        }
        _ => duration(d),
    }
}

/// What the parser has put a zero before because it stood in brackets.
fn bracketed(d: &DurationExpr) -> Option<&DurationExpr> {
    match d {
        DurationExpr::Pair(DurationOp::Add, pair) if matches!(pair.0, DurationExpr::Number(0.0)) => Some(&pair.1),
        _ => None,
    }
}

fn labels(names: &[String]) -> String {
    names.iter().map(|n| label(n)).collect::<Vec<_>>().join(", ")
}

fn label(name: &str) -> String {
    if name == METRIC_NAME || is_name(name, |b| b.is_ascii_alphanumeric() || b == b'_') {
        name.to_string()
    } else {
        quoted(name)
    }
}

fn is_metric_name(name: &str) -> bool {
    is_name(name, |b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

fn is_name(name: &str, is_part: impl Fn(u8) -> bool) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty() && name.bytes().all(is_part)
}

/// Matchers as a selector: `{__name__="up",job=~"n.*"}`.
pub fn selector_of(matchers: &[Matcher]) -> String {
    let one = |m: &Matcher| {
        let op = match m.op {
            Operator::Equal => "=",
            Operator::NotEqual => "!=",
            Operator::Regex(_) => "=~",
            Operator::NotRegex(_) => "!~",
        };
        format!("{}{op}{}", label(&m.name), quoted(&m.value))
    };
    format!("{{{}}}", matchers.iter().map(one).collect::<Vec<_>>().join(","))
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => _ = write!(out, "\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn printed(text: &str) -> String {
        pretty(&parse(text).unwrap_or_else(|e| panic!("{text}: {e}")))
    }

    #[test]
    fn what_is_short_stands_in_one_line_as_prometheus_writes_it() {
        for (text, expected) in [
            ("sum  by(a,b)(rate( up[5m] ) )", "sum by (a, b) (rate(up[5m]))"),
            ("up{ b = 'x' , a=~\"y\\\\d\" }offset 90s", "up{b=\"x\",a=~\"y\\\\d\"} offset 1m30s"),
            ("a>bool on()group_left(c)b", "a > bool on () group_left (c) b"),
            ("-(1e3+Inf)", "-(1000 + +Inf)"),
            ("x[1h:]@end() offset -5m", "x[1h:] @ end() offset -5m"),
            ("x @ 1.5", "x @ 1.500"),
            ("{\"a.b\",\"c d\"=\"e\\n\"}", "{\"a.b\",\"c d\"=\"e\\n\"}"),
            ("topk(3,x)without(a)", "topk without (a) (3, x)"),
        ] {
            assert_eq!(printed(text), expected);
        }
    }

    #[test]
    fn an_offset_that_is_reckoned_keeps_its_brackets() {
        for (text, expected) in [
            ("x offset (5m + 5m)", "x offset (5m + 5m)"),
            ("x offset (5m)", "x offset (5m)"),
            ("x offset -(5m * step())", "x offset -(5m * step())"),
            ("x offset max_of(step(), 5m)", "x offset max_of(step(), 5m)"),
            ("x[(5m)] offset -5m", "x[(5m)] offset -5m"),
            ("x[(1m + 2m) * step()]", "x[(1m + 2m) * step()]"),
        ] {
            assert_eq!(printed(text), expected);
            assert_eq!(printed(expected), expected, "what is printed means the same");
        }
    }

    #[test]
    fn what_is_long_goes_over_lines_and_stays_what_it_was() {
        let name = "a_metric_of_quite_a_long_name_total{with=\"labels\"}";
        let text = format!("sum by (x) (rate({name}[5m])) / (sum(rate({name}[5m]) + 1))");
        let expected = format!("  sum by (x) (rate({name}[5m]))\n/\n  (sum(rate({name}[5m]) + 1))");
        assert_eq!(printed(&text), expected);
        assert_eq!(printed(&printed(&text)), expected);
    }
}
