//! What is evaluated: an expression whose types are checked, whose functions are found, whose regular expressions are
//! compiled.

use std::sync::{Arc, OnceLock};

use super::annotations::Place;
use super::functions::Function;
use super::query::fixed_name;
use super::reads::Shared;
use super::select::Remembered;
use crate::history::Matcher;
use crate::model::Labels;
use crate::re2::Re2;

/// What an expression evaluates to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    Scalar,
    Vector,
    Matrix,
    Text,
}

impl Type {
    /// As Prometheus names it in errors.
    pub fn name(self) -> &'static str {
        match self {
            Type::Scalar => "scalar",
            Type::Vector => "instant vector",
            Type::Matrix => "range vector",
            Type::Text => "string",
        }
    }
}

/// The query that an expression is evaluated for, as far as `start()`, `end()`, `step()` and `range()` speak of it.
/// Milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Context {
    pub start: i64,
    pub end: i64,
    pub step: i64,
}

/// `@`: where in time a selector looks, instead of the time of evaluation.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum At {
    Time(i64),
    Start,
    End,
}

/// What shifts a selector in time. Milliseconds.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Shift {
    pub offset: i64,
    pub at: Option<At>,
}

/// Which samples beside those in its range a selector takes into account.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Extent {
    #[default]
    Range,
    /// `anchored`: also the last one before the range.
    Anchored,
    /// `smoothed`: also the last one before and the first one after it.
    Smoothed,
}

pub struct Selector {
    pub matchers: Vec<Matcher>,
    pub shift: Shift,
    pub extent: Extent,
    /// The series that it selected last.
    pub remembered: Remembered,
    /// What it reads is read for other queries too.
    pub shared: OnceLock<Arc<Shared>>,
}

pub enum RangeSource {
    Selector(Selector),
    /// `step` in milliseconds; without one, the evaluation interval.
    Subquery {
        node: Node,
        step: Option<i64>,
        shift: Shift,
    },
}

pub struct Range {
    pub source: RangeSource,
    /// Milliseconds.
    pub range: i64,
}

impl Range {
    /// Whether all series have the same metric name.
    pub fn has_one_name(&self) -> bool {
        match &self.source {
            RangeSource::Selector(selector) => fixed_name(&selector.matchers).is_some(),
            RangeSource::Subquery { .. } => false,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Eq,
    Ne,
    Gt,
    Lt,
    Ge,
    Le,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    pub fn is_comparison(self) -> bool {
        use BinaryOp::*;
        matches!(self, Eq | Ne | Gt | Lt | Ge | Le)
    }

    pub fn is_set(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cardinality {
    OneToOne,
    ManyToOne,
    OneToMany,
}

/// Which labels make samples of two vectors belong together.
pub struct Matching {
    /// `on`: by these labels alone; else by all but these and the metric name.
    pub on: bool,
    pub labels: Vec<Box<str>>,
    pub cardinality: Cardinality,
    /// Labels that the "many" side takes from the "one" side.
    pub include: Vec<Box<str>>,
    /// `fill`: what an element that is missing on this side counts as.
    pub fill_left: Option<f64>,
    pub fill_right: Option<f64>,
}

pub struct Binary {
    pub op: BinaryOp,
    pub lhs: Node,
    pub rhs: Node,
    pub lhs_scalar: bool,
    pub rhs_scalar: bool,
    pub bool_modifier: bool,
    pub matching: Matching,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AggregateOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    Quantile,
    CountValues,
    Limitk,
    LimitRatio,
}

pub struct Aggregate {
    pub op: AggregateOp,
    pub parameter: Option<Node>,
    /// Where the parameter stands.
    pub place: Place,
    pub node: Node,
    /// `without`: by all labels but these and the metric name; else by these alone.
    pub without: bool,
    pub labels: Vec<Box<str>>,
}

pub struct Call {
    pub function: &'static Function,
    pub arguments: Vec<Node>,
    pub place: Place,
    /// Where each argument stands.
    pub places: Vec<Place>,
    pub extra: Extra,
}

/// What some functions have besides their arguments.
pub enum Extra {
    None,
    /// `absent` and `absent_over_time`: the labels of the result.
    Labels(Labels),
    /// `label_replace`: the compiled expression.
    Regex(Re2),
    /// Sorting: at each step of a query there is the same to sort.
    Invariant,
    /// `info`: which series it reads, and when.
    Info(InfoSelector),
}

/// The series that `info` takes labels from.
pub struct InfoSelector {
    /// On the metric name.
    pub name: Vec<Matcher>,
    /// On other labels: those that are taken.
    pub data: Vec<Matcher>,
    /// All of them, and the time.
    pub selector: Selector,
}

pub enum Node {
    Number(f64),
    Text(String),
    Selector(Box<Selector>),
    Range(Box<Range>),
    Negate(Box<Node>),
    Binary(Box<Binary>),
    Aggregate(Box<Aggregate>),
    Call(Box<Call>),
}

impl Node {
    pub fn is_scalar(&self) -> bool {
        self.type_of() == Type::Scalar
    }

    /// Whether the value is the same at each step of a query: all that it reads is at a time of its own.
    pub fn is_invariant(&self) -> bool {
        match self {
            Node::Number(_) | Node::Text(_) => true,
            Node::Selector(selector) => selector.shift.at.is_some(),
            Node::Range(range) => match &range.source {
                RangeSource::Selector(selector) => selector.shift.at.is_some(),
                RangeSource::Subquery { shift, .. } => shift.at.is_some(),
            },
            Node::Negate(inner) => inner.is_invariant(),
            Node::Binary(b) => b.lhs.is_invariant() && b.rhs.is_invariant(),
            Node::Aggregate(a) => a.node.is_invariant(),
            Node::Call(call) => {
                let arguments = call.arguments.iter().all(Node::is_invariant);
                let selected = matches!(call.arguments.as_slice(), [Node::Selector(_)]);
                arguments && (!call.function.asks_for_time() || (call.function.name == "timestamp" && selected))
            }
        }
    }

    pub fn type_of(&self) -> Type {
        match self {
            Node::Number(_) => Type::Scalar,
            Node::Text(_) => Type::Text,
            Node::Selector(_) | Node::Aggregate(_) => Type::Vector,
            Node::Range(_) => Type::Matrix,
            Node::Negate(inner) => inner.type_of(),
            Node::Binary(b) if b.lhs_scalar && b.rhs_scalar => Type::Scalar,
            Node::Binary(_) => Type::Vector,
            Node::Call(call) => call.function.returns,
        }
    }
}
