//! From the parser's tree to one that can be evaluated: types are checked, functions found, expressions compiled.
//! What cannot be evaluated is refused here.

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use promql_parser::label as their_label;
use promql_parser::parser::{self as theirs, Expr};

use super::error::QueryError;
use super::functions::{self, Function, Kind};
use super::scan;
use super::select::Remembered;
use crate::history::{Matcher, anchored};
use crate::model::{Labels, LabelsBuilder, METRIC_NAME};

/// Levels of the tree, so that no evaluation runs out of stack.
const MAX_DEPTH: usize = 150;

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

pub struct Selector {
    pub matchers: Vec<Matcher>,
    pub shift: Shift,
    /// The series that it selected last.
    pub remembered: Mutex<Remembered>,
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
}

pub struct Aggregate {
    pub op: AggregateOp,
    pub parameter: Option<Node>,
    pub node: Node,
    /// `without`: by all labels but these and the metric name; else by these alone.
    pub without: bool,
    pub labels: Vec<Box<str>>,
}

pub struct Call {
    pub function: &'static Function,
    pub arguments: Vec<Node>,
    /// For `absent`: the labels of its result. For `label_replace`: the compiled expression.
    pub labels: Labels,
    pub regex: Option<regex::Regex>,
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

/// Plans the parsed expression; `text` serves to find places.
pub fn plan(expr: &Expr, text: &str) -> Result<Node, QueryError> {
    Planner { text }.node(expr, 0)
}

struct Planner<'t> {
    text: &'t str,
}

type Planned<T> = Result<T, QueryError>;

impl Planner<'_> {
    fn refuse<T>(&self, offset: Option<usize>, message: String) -> Planned<T> {
        Err(match offset {
            Some(offset) => QueryError::at(message, self.text, offset),
            None => QueryError::new(message),
        })
    }

    fn node(&self, expr: &Expr, depth: usize) -> Planned<Node> {
        if depth > MAX_DEPTH {
            return self.refuse(None, format!("the expression is nested more than {MAX_DEPTH} levels deep"));
        }
        match expr {
            Expr::NumberLiteral(n) => Ok(Node::Number(n.val)),
            Expr::StringLiteral(s) => Ok(Node::Text(s.val.clone())),
            Expr::Paren(p) => self.node(&p.expr, depth + 1),
            Expr::Unary(u) => {
                let inner = self.node(&u.expr, depth + 1)?;
                match inner.type_of() {
                    Type::Scalar | Type::Vector => Ok(Node::Negate(Box::new(inner))),
                    other => self.refuse(
                        None,
                        format!(
                            "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
                            other.name()
                        ),
                    ),
                }
            }
            Expr::VectorSelector(v) => Ok(Node::Selector(Box::new(self.selector(v)?))),
            Expr::MatrixSelector(m) => Ok(Node::Range(Box::new(Range {
                source: RangeSource::Selector(self.selector(&m.vs)?),
                range: millis(m.range),
            }))),
            Expr::Subquery(s) => {
                let node = self.node(&s.expr, depth + 1)?;
                if node.type_of() != Type::Vector && node.type_of() != Type::Scalar {
                    let message =
                        format!("subquery is only allowed on instant vector, got {} instead", node.type_of().name());
                    return self.refuse(None, message);
                }
                let shift = Shift { offset: offset(s.offset.as_ref()), at: at(s.at.as_ref()) };
                let step = s.step.map(millis);
                if step.is_some_and(|s| s <= 0) {
                    return self.refuse(None, "the step of a subquery must be greater than 0".into());
                }
                Ok(Node::Range(Box::new(Range {
                    source: RangeSource::Subquery { node, step, shift },
                    range: millis(s.range),
                })))
            }
            Expr::Binary(b) => self.binary(b, depth),
            Expr::Aggregate(a) => self.aggregate(a, depth),
            Expr::Call(c) => self.call(c, depth),
            Expr::Extension(_) => self.refuse(None, "extensions of the language are not supported".into()),
        }
    }

    fn selector(&self, v: &theirs::VectorSelector) -> Planned<Selector> {
        if !v.matchers.or_matchers.is_empty() {
            return self
                .refuse(scan::find_word(self.text, "or"), "`or` between label matchers is not supported".into());
        }
        let mut matchers = Vec::new();
        if let Some(name) = &v.name {
            matchers.push(Matcher::equal(METRIC_NAME, name));
        }
        for m in &v.matchers.matchers {
            let matcher = match m.op {
                their_label::MatchOp::Equal => Ok(Matcher::equal(&m.name, &m.value)),
                their_label::MatchOp::NotEqual => Ok(Matcher::not_equal(&m.name, &m.value)),
                their_label::MatchOp::Re(_) => Matcher::regex(&m.name, &m.value),
                their_label::MatchOp::NotRe(_) => Matcher::not_regex(&m.name, &m.value),
            };
            match matcher {
                Ok(m) => matchers.push(m),
                Err(e) => {
                    let message = format!("{:?} is not a regular expression: {e}", m.value);
                    return self.refuse(scan::find_text(self.text, &m.value), message);
                }
            }
        }
        if matchers.iter().all(|m| m.matches("")) {
            return self.refuse(None, "vector selector must contain at least one non-empty matcher".into());
        }
        let shift = Shift { offset: offset(v.offset.as_ref()), at: at(v.at.as_ref()) };
        Ok(Selector { matchers, shift, remembered: Mutex::default() })
    }

    fn binary(&self, b: &theirs::BinaryExpr, depth: usize) -> Planned<Node> {
        use theirs::token::*;
        let op = match b.op.id() {
            T_ADD => BinaryOp::Add,
            T_SUB => BinaryOp::Sub,
            T_MUL => BinaryOp::Mul,
            T_DIV => BinaryOp::Div,
            T_MOD => BinaryOp::Mod,
            T_POW => BinaryOp::Pow,
            T_ATAN2 => BinaryOp::Atan2,
            T_EQLC => BinaryOp::Eq,
            T_NEQ => BinaryOp::Ne,
            T_GTR => BinaryOp::Gt,
            T_LSS => BinaryOp::Lt,
            T_GTE => BinaryOp::Ge,
            T_LTE => BinaryOp::Le,
            T_LAND => BinaryOp::And,
            T_LOR => BinaryOp::Or,
            T_LUNLESS => BinaryOp::Unless,
            _ => return self.refuse(None, format!("the operator {} is not supported", b.op)),
        };
        let lhs = self.node(&b.lhs, depth + 1)?;
        let rhs = self.node(&b.rhs, depth + 1)?;
        for side in [&lhs, &rhs] {
            if !matches!(side.type_of(), Type::Scalar | Type::Vector) {
                let message = "binary expression must contain only scalar and instant vector types";
                return self.refuse(None, message.into());
            }
        }
        let (lhs_scalar, rhs_scalar) = (lhs.is_scalar(), rhs.is_scalar());
        let bool_modifier = b.modifier.as_ref().is_some_and(|m| m.return_bool);
        if op.is_set() && (lhs_scalar || rhs_scalar) {
            return self.refuse(None, format!("set operator {} not allowed in binary scalar expression", b.op));
        }
        if op.is_comparison() && lhs_scalar && rhs_scalar && !bool_modifier {
            return self.refuse(None, "comparisons between scalars must use BOOL modifier".into());
        }
        let mut matching =
            Matching { on: false, labels: Vec::new(), cardinality: Cardinality::OneToOne, include: Vec::new() };
        if let Some(m) = &b.modifier {
            if m.fill_values.lhs.is_some() || m.fill_values.rhs.is_some() {
                let place = ["fill", "fill_left", "fill_right"].iter().find_map(|w| scan::find_word(self.text, w));
                return self.refuse(place, "the fill modifiers are experimental and not supported".into());
            }
            if (lhs_scalar || rhs_scalar) && m.matching.is_some() {
                return self.refuse(None, "vector matching only allowed between instant vectors".into());
            }
            matching.on = m.is_matching_on();
            matching.labels = m.matching.as_ref().map_or_else(Vec::new, |l| names(l.labels()));
            use theirs::VectorMatchCardinality as Theirs;
            (matching.cardinality, matching.include) = match &m.card {
                Theirs::ManyToOne(include) => (Cardinality::ManyToOne, names(include)),
                Theirs::OneToMany(include) => (Cardinality::OneToMany, names(include)),
                Theirs::OneToOne | Theirs::ManyToMany => (Cardinality::OneToOne, Vec::new()),
            };
            if op.is_set() && matching.cardinality != Cardinality::OneToOne {
                return self.refuse(None, format!("no grouping allowed for {:?} operation", b.op.to_string()));
            }
        }
        Ok(Node::Binary(Box::new(Binary { op, lhs, rhs, lhs_scalar, rhs_scalar, bool_modifier, matching })))
    }

    fn aggregate(&self, a: &theirs::AggregateExpr, depth: usize) -> Planned<Node> {
        use theirs::token::*;
        let op = match a.op.id() {
            T_SUM => AggregateOp::Sum,
            T_AVG => AggregateOp::Avg,
            T_MIN => AggregateOp::Min,
            T_MAX => AggregateOp::Max,
            T_COUNT => AggregateOp::Count,
            T_GROUP => AggregateOp::Group,
            T_STDDEV => AggregateOp::Stddev,
            T_STDVAR => AggregateOp::Stdvar,
            T_TOPK => AggregateOp::Topk,
            T_BOTTOMK => AggregateOp::Bottomk,
            T_QUANTILE => AggregateOp::Quantile,
            T_COUNT_VALUES => AggregateOp::CountValues,
            _ => {
                let name = a.op.to_string();
                let message = format!("the aggregation operator {name} is not supported");
                return self.refuse(scan::find_call(self.text, &name), message);
            }
        };
        let node = self.node(&a.expr, depth + 1)?;
        self.expect(Type::Vector, &node, "aggregation expression")?;
        let parameter = a.param.as_ref().map(|p| self.node(p, depth + 1)).transpose()?;
        let expected = match op {
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Quantile => Some(Type::Scalar),
            AggregateOp::CountValues => Some(Type::Text),
            _ => None,
        };
        match (&parameter, expected) {
            (Some(p), Some(t)) => self.expect(t, p, "aggregation parameter")?,
            (None, None) => {}
            _ => return self.refuse(None, format!("wrong number of arguments for aggregate expression {}", a.op)),
        }
        if let (AggregateOp::CountValues, Some(Node::Text(label))) = (op, &parameter)
            && label.is_empty()
        {
            return self.refuse(scan::find_text(self.text, ""), "invalid label name \"\" in count_values()".into());
        }
        let without = matches!(a.modifier, Some(theirs::LabelModifier::Exclude(_)));
        let labels = a.modifier.as_ref().map_or_else(Vec::new, |m| names(m.labels()));
        Ok(Node::Aggregate(Box::new(Aggregate { op, parameter, node, without, labels })))
    }

    fn expect(&self, expected: Type, node: &Node, place: &str) -> Planned<()> {
        if node.type_of() == expected {
            return Ok(());
        }
        self.refuse(None, format!("expected type {} in {place}, got {}", expected.name(), node.type_of().name()))
    }

    fn call(&self, c: &theirs::Call, depth: usize) -> Planned<Node> {
        let name = c.func.name;
        let place = scan::find_call(self.text, name);
        let Some(function) = functions::find(name) else {
            return self.refuse(place, format!("the function {name}() is not supported"));
        };
        let given = c.args.args.len();
        let (least, most) = (function.arguments.len() - function.optional, function.arguments.len());
        if given < least || (given > most && !function.variadic) {
            let expected = match (least == most, function.variadic) {
                (_, true) => format!("at least {least}"),
                (true, _) => format!("{least}"),
                (false, _) => format!("{least} to {most}"),
            };
            return self.refuse(place, format!("expected {expected} argument(s) in call to {name}(), got {given}"));
        }
        let mut arguments = Vec::with_capacity(given);
        for (i, argument) in c.args.args.iter().enumerate() {
            let node = self.node(argument, depth + 1)?;
            let expected = function.arguments.get(i).or(function.arguments.last()).copied().unwrap_or(Type::Vector);
            if node.type_of() != expected {
                let message = format!(
                    "expected type {} in call to function {name}(), got {}",
                    expected.name(),
                    node.type_of().name()
                );
                return self.refuse(place, message);
            }
            arguments.push(node);
        }
        let mut call = Call { function, arguments, labels: Labels::empty(), regex: None };
        match function.kind {
            Kind::Absent | Kind::AbsentOverTime => call.labels = absent_labels(call.arguments.first()),
            Kind::LabelReplace => {
                self.check_label_name(call.arguments.get(1), name)?;
                if let Some(Node::Text(pattern)) = call.arguments.get(4) {
                    match anchored(pattern) {
                        Ok(regex) => call.regex = Some(regex),
                        Err(e) => {
                            let message = format!("invalid regular expression in {name}(): {pattern:?}: {e}");
                            return self.refuse(scan::find_text(self.text, pattern), message);
                        }
                    }
                }
            }
            Kind::LabelJoin => self.check_label_name(call.arguments.get(1), name)?,
            _ => {}
        }
        Ok(Node::Call(Box::new(call)))
    }

    fn check_label_name(&self, argument: Option<&Node>, function: &str) -> Planned<()> {
        match argument {
            Some(Node::Text(name)) if name.is_empty() => self.refuse(
                scan::find_text(self.text, ""),
                format!("invalid destination label name in {function}(): \"\""),
            ),
            _ => Ok(()),
        }
    }
}

/// What `absent` can say about the series that is not there: its labels as far as the selector fixes them.
fn absent_labels(argument: Option<&Node>) -> Labels {
    let matchers = match argument {
        Some(Node::Selector(s)) => &s.matchers,
        Some(Node::Range(r)) => match &r.source {
            RangeSource::Selector(s) => &s.matchers,
            RangeSource::Subquery { .. } => return Labels::empty(),
        },
        _ => return Labels::empty(),
    };
    let mut builder = LabelsBuilder::default();
    let mut seen: Vec<&str> = Vec::new();
    for m in matchers.iter().filter(|m| *m.name != *METRIC_NAME) {
        if matches!(m.op, crate::history::MatchOp::Equal) && !seen.contains(&&*m.name) {
            builder.set(&m.name, &m.value);
            seen.push(&m.name);
        } else {
            builder.remove(&m.name);
        }
    }
    builder.build()
}

fn names(labels: &their_label::Labels) -> Vec<Box<str>> {
    labels.labels.iter().map(|l| l.as_str().into()).collect()
}

fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}

fn offset(offset: Option<&theirs::Offset>) -> i64 {
    match offset {
        None => 0,
        Some(theirs::Offset::Pos(d)) => millis(*d),
        Some(theirs::Offset::Neg(d)) => -millis(*d),
    }
}

fn at(at: Option<&theirs::AtModifier>) -> Option<At> {
    // To the nearest millisecond, as Prometheus rounds.
    let rounded = |d: Duration| i64::try_from((d.as_nanos() + 500_000) / 1_000_000).unwrap_or(i64::MAX);
    let of_epoch = |time: SystemTime| match time.duration_since(UNIX_EPOCH) {
        Ok(d) => rounded(d),
        Err(e) => -rounded(e.duration()),
    };
    Some(match at? {
        theirs::AtModifier::Start => At::Start,
        theirs::AtModifier::End => At::End,
        theirs::AtModifier::At(time) => At::Time(of_epoch(*time)),
    })
}
