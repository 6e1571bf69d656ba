//! What the expression of an alert compares with what: the number is the alert's threshold, and the other side is what a
//! picture of it shows, since that goes on where the condition does not hold.

use super::query::{EvalOptions, Query};
use super::syntax::{self, Binary, Expr, ExprKind};
use super::value::Value;
use crate::history::{History, HistoryLimits};
use crate::model::Timestamp;
use crate::promql::plan::BinaryOp;

/// Bytes of an expression that is taken apart; a longer one is left whole.
const MAX_LENGTH: usize = 8 * 1024;

/// An expression taken apart.
#[derive(Clone, PartialEq, Debug)]
pub struct Compared {
    /// The side that is compared, as an expression in one line; all of it where nothing is.
    pub subject: String,
    /// The number that it is compared with.
    pub threshold: Option<f64>,
}

impl Query {
    /// What the expression compares with what. Of `and` and `unless` the left side counts, whose values the result has;
    /// `or` compares with two things, and a comparison with `bool` asks for nothing. What `absent()` looks for is its
    /// subject.
    pub fn compared(&self) -> Compared {
        let text = self.text().trim();
        let whole = || Compared { subject: text.split_whitespace().collect::<Vec<_>>().join(" "), threshold: None };
        if text.len() > MAX_LENGTH {
            return whole();
        }
        let Ok(expr) = syntax::parse(text) else { return whole() };
        let (subject, threshold) = take_apart(&expr);
        Compared { subject: syntax::one_line(subject), threshold }
    }
}

fn take_apart(expr: &Expr) -> (&Expr, Option<f64>) {
    let mut subject = expr;
    let mut threshold = None;
    loop {
        subject = match &subject.kind {
            ExprKind::Paren(inner) => inner,
            ExprKind::Binary(b) if matches!(b.op, BinaryOp::And | BinaryOp::Unless) => &b.lhs,
            ExprKind::Binary(b) if b.op.is_comparison() && !b.modifier.return_bool => {
                let (side, number) = sides(b);
                // Of `1 < x < 5` what is compared last.
                threshold = threshold.or(number);
                side
            }
            ExprKind::Call(c) if c.name == "absent" && c.arguments.len() == 1 && threshold.is_none() => {
                return (c.arguments.first().unwrap_or(subject), None);
            }
            _ => return (subject, threshold),
        }
    }
}

/// The side of a comparison that is looked at, and the number on the other.
fn sides(b: &Binary) -> (&Expr, Option<f64>) {
    match (constant(&b.lhs), constant(&b.rhs)) {
        (Some(number), None) => (&b.rhs, Some(number)),
        (_, number) => (&b.lhs, number),
    }
}

/// The value of what is made of numbers alone.
fn constant(expr: &Expr) -> Option<f64> {
    if !is_constant(expr) {
        return None;
    }
    let query = Query::parse(&syntax::one_line(expr)).ok()?;
    let nothing = History::new(HistoryLimits::default());
    match query.instant(&nothing, Timestamp::default(), &EvalOptions::default()) {
        Ok(Value::Scalar(value)) => Some(value).filter(|v| v.is_finite()),
        _ => None,
    }
}

fn is_constant(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number(_) => true,
        ExprKind::Paren(inner) | ExprKind::Unary { expr: inner, .. } => is_constant(inner),
        ExprKind::Binary(b) => is_constant(&b.lhs) && is_constant(&b.rhs),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    fn compared(text: &str) -> (String, Option<f64>) {
        let Compared { subject, threshold } = Query::parse(text).unwrap().compared();
        (subject, threshold)
    }

    #[test]
    fn a_comparison_with_a_number_has_it_as_threshold_and_its_other_side_as_subject() {
        for (text, subject, threshold) in [
            ("x / y > 0.9", "x / y", Some(0.9)),
            ("0.1 > x", "x", Some(0.1)),
            ("(x) >= (2 * 1024 ^ 3)", "x", Some(2_147_483_648.0)),
            ("x == 0", "x", Some(0.0)),
            ("x < -5", "x", Some(-5.0)),
            ("rate(x[5m]) > 5 and y < 3", "rate(x[5m])", Some(5.0)),
            ("((a > 5) unless on (b) c) and d", "a", Some(5.0)),
            ("1 < x < 5", "x", Some(5.0)),
            ("count(x > 5) > 0", "count(x > 5)", Some(0.0)),
            ("x # it grows\n  > 1e3 # too much\n", "x", Some(1000.0)),
            ("x > y", "x", None),
            ("absent(up{job=\"a\"})", "up{job=\"a\"}", None),
            ("-(x > 5)", "-(x > 5)", None),
            ("x > bool 5", "x > bool 5", None),
            ("x > 5 or y > 3", "x > 5 or y > 3", None),
            ("sum(x > 5)", "sum(x > 5)", None),
            ("x > scalar(y)", "x", None),
            ("x > Inf", "x", None),
            ("x", "x", None),
        ] {
            assert_eq!(compared(text), (subject.to_string(), threshold), "{text}");
        }
    }

    #[test]
    fn the_subject_of_every_expression_can_be_evaluated() {
        Fuzz::of(&["a{b=\"c\"} / on (d) e > 5 and f < 3", "absent(up) == 1", "-1 < (x[5m:1m] offset 5m)"])
            .words(&[" > ", " and ", " bool ", "absent(", "(", ")", "1e3"])
            .texts(|text| {
                if let Ok(query) = Query::parse(text) {
                    let subject = query.compared().subject;
                    assert!(Query::parse(&subject).is_ok(), "{text:?}: {subject:?}");
                }
            });
    }
}
