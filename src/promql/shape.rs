//! The shape of an expression: what a linter looks at, whatever it is evaluated by.

use std::time::Duration;

use super::plan::{AggregateOp, BinaryOp, Node, RangeSource, Selector};
use super::query::Query;
use crate::history::Matcher;

/// An expression and those within it.
#[derive(Debug)]
pub enum Shape<'q> {
    Number(f64),
    Text(&'q str),
    Selector {
        matchers: &'q [Matcher],
        /// Of a range selector.
        range: Option<Duration>,
    },
    Subquery(Box<Shape<'q>>),
    Negation(Box<Shape<'q>>),
    Binary {
        kind: BinaryKind,
        lhs: Box<Shape<'q>>,
        rhs: Box<Shape<'q>>,
        matching: Matching<'q>,
    },
    Aggregation {
        /// Whether the result says how many there are, whatever their values.
        counts: bool,
        /// `by` these labels; `None` for `without`.
        by: Option<&'q [Box<str>]>,
        inner: Box<Shape<'q>>,
    },
    Call {
        name: &'static str,
        arguments: Vec<Shape<'q>>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BinaryKind {
    Difference,
    Ratio,
    OtherArithmetic,
    Comparison,
    /// A comparison with `bool`.
    Truth,
    Or,
    /// `and` and `unless`: of the right side only the labels count.
    Restriction,
}

/// Which labels make elements of two vectors belong together.
#[derive(Clone, Copy, Debug)]
pub enum Matching<'q> {
    On(&'q [Box<str>]),
    /// All but these.
    Ignoring(&'q [Box<str>]),
}

impl Query {
    pub fn shape(&self) -> Shape<'_> {
        shape(self.root())
    }

    /// Whether what it gives is the worse the smaller it is: it asks for what is below something.
    pub fn asks_for_less(&self) -> bool {
        let mut node = self.root();
        loop {
            node = match node {
                Node::Binary(b) if b.op.is_set() => &b.lhs,
                Node::Binary(b) if matches!(b.op, BinaryOp::Lt | BinaryOp::Le) => return !b.lhs_scalar,
                Node::Binary(b) if matches!(b.op, BinaryOp::Gt | BinaryOp::Ge) => return b.lhs_scalar,
                Node::Aggregate(a) => &a.node,
                _ => return false,
            }
        }
    }
}

fn selector(selector: &Selector, range: Option<i64>) -> Shape<'_> {
    let range = range.map(|millis| Duration::from_millis(millis.max(0).unsigned_abs()));
    Shape::Selector { matchers: &selector.matchers, range }
}

fn shape(node: &Node) -> Shape<'_> {
    let boxed = |node| Box::new(shape(node));
    match node {
        Node::Number(number) => Shape::Number(*number),
        Node::Text(text) => Shape::Text(text),
        Node::Selector(s) => selector(s, None),
        Node::Range(range) => match &range.source {
            RangeSource::Selector(s) => selector(s, Some(range.range)),
            RangeSource::Subquery { node, .. } => Shape::Subquery(boxed(node)),
        },
        Node::Negate(inner) => Shape::Negation(boxed(inner)),
        Node::Binary(b) => {
            let kind = match b.op {
                BinaryOp::Sub => BinaryKind::Difference,
                BinaryOp::Div => BinaryKind::Ratio,
                BinaryOp::Or => BinaryKind::Or,
                op if op.is_set() => BinaryKind::Restriction,
                op if op.is_comparison() && b.bool_modifier => BinaryKind::Truth,
                op if op.is_comparison() => BinaryKind::Comparison,
                _ => BinaryKind::OtherArithmetic,
            };
            let labels = &b.matching.labels;
            let matching = if b.matching.on { Matching::On(labels) } else { Matching::Ignoring(labels) };
            Shape::Binary { kind, lhs: boxed(&b.lhs), rhs: boxed(&b.rhs), matching }
        }
        Node::Aggregate(a) => Shape::Aggregation {
            counts: matches!(a.op, AggregateOp::Count | AggregateOp::CountValues | AggregateOp::Group),
            by: (!a.without).then_some(&*a.labels),
            inner: boxed(&a.node),
        },
        Node::Call(call) => {
            Shape::Call { name: call.function.name, arguments: call.arguments.iter().map(shape).collect() }
        }
    }
}
