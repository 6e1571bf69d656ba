//! The tree of an expression, as it was written.

use crate::promql::plan::{At, BinaryOp};

/// A part of an expression.
pub struct Expr {
    pub kind: ExprKind,
    /// Where it begins, in bytes.
    pub start: usize,
}

pub enum ExprKind {
    Number(f64),
    Text(String),
    Paren(Box<Expr>),
    /// With a sign before it; of a number the sign is a part.
    Unary {
        negative: bool,
        expr: Box<Expr>,
    },
    Selector(VectorSelector),
    Matrix {
        selector: VectorSelector,
        range: DurationExpr,
    },
    Subquery(Box<Subquery>),
    Binary(Box<Binary>),
    Aggregate(Box<Aggregate>),
    Call(Call),
}

/// What stands behind a selector or a subquery.
#[derive(Default)]
pub struct Modifiers {
    pub offset: Option<DurationExpr>,
    pub at: Option<At>,
}

pub struct VectorSelector {
    /// The metric name before the braces.
    pub name: Option<String>,
    pub matchers: Vec<LabelMatcher>,
    pub modifiers: Modifiers,
    pub anchored: bool,
    pub smoothed: bool,
}

pub struct LabelMatcher {
    pub name: String,
    pub op: MatchOp,
    pub value: String,
    /// Where the value stands.
    pub value_at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MatchOp {
    Equal,
    NotEqual,
    Regex,
    NotRegex,
}

pub struct Subquery {
    pub expr: Expr,
    pub range: DurationExpr,
    pub step: Option<DurationExpr>,
    pub modifiers: Modifiers,
}

pub struct Binary {
    pub op: BinaryOp,
    /// As it is written, and where.
    pub op_text: String,
    pub op_at: usize,
    pub lhs: Expr,
    pub rhs: Expr,
    pub modifier: BinaryModifier,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Side {
    #[default]
    Neither,
    Left,
    Right,
}

#[derive(Default)]
pub struct BinaryModifier {
    pub return_bool: bool,
    /// `on` or `ignoring`: whether it is `on`, and the labels.
    pub matching: Option<(bool, Vec<String>)>,
    /// Which side has many elements to one of the other.
    pub group: Side,
    pub include: Vec<String>,
    pub fill_left: Option<f64>,
    pub fill_right: Option<f64>,
}

pub struct Aggregate {
    /// In lower case.
    pub op: String,
    /// `by` or `without`: whether it is `without`, and the labels.
    pub grouping: Option<(bool, Vec<String>)>,
    pub arguments: Vec<Expr>,
}

pub struct Call {
    pub name: String,
    pub arguments: Vec<Expr>,
}

/// A duration, or how it comes of others. Seconds.
pub enum DurationExpr {
    Number(f64),
    Step,
    Range,
    Negate(Box<DurationExpr>),
    Pair(DurationOp, Box<(DurationExpr, DurationExpr)>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DurationOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Min,
    Max,
}
