//! From the tree of the text to what is evaluated. What cannot be evaluated is refused here.

mod calls;
mod durations;

use super::annotations::Place;
use super::error::QueryError;
use super::plan::*;
use super::syntax::{self, Expr, ExprKind, Side};
use crate::history::Matcher;
use crate::model::METRIC_NAME;

/// Levels of the tree, so that no evaluation runs out of stack. A row of operators counts as one.
const MAX_DEPTH: usize = 150;

type Planned<T> = Result<T, QueryError>;

/// A plan, and whether it holds only for the query that it was made for.
pub struct Plan {
    pub root: Node,
    pub contextual: bool,
}

/// Plans a parsed expression. Without a context what speaks of the query gets some value: such a plan tells types and
/// selectors, but has to be made again to be evaluated.
pub fn plan(expr: &Expr, text: &str, context: Option<Context>) -> Planned<Plan> {
    let mut planner = Planner { text, context, contextual: false };
    let root = planner.node(expr, 0)?;
    Ok(Plan { root, contextual: planner.contextual })
}

struct Planner<'t> {
    text: &'t str,
    context: Option<Context>,
    /// Whether something has asked for the context.
    contextual: bool,
}

impl Planner<'_> {
    fn refuse<T>(&self, offset: usize, message: impl Into<String>) -> Planned<T> {
        Err(QueryError::at(message, self.text, offset))
    }

    /// Where an argument stands; parentheses around it do not count.
    fn place(&self, expr: &Expr) -> Place {
        match &expr.kind {
            ExprKind::Paren(inner) => self.place(inner),
            _ => Place::new(self.text, expr.start),
        }
    }

    fn node(&mut self, expr: &Expr, depth: usize) -> Planned<Node> {
        if depth > MAX_DEPTH {
            let message = format!("the expression is nested more than {MAX_DEPTH} levels deep");
            return self.refuse(expr.start, message);
        }
        match &expr.kind {
            ExprKind::Number(n) => Ok(Node::Number(*n)),
            ExprKind::Text(s) => Ok(Node::Text(s.clone())),
            ExprKind::Paren(inner) => self.node(inner, depth + 1),
            ExprKind::Unary { negative, expr: inner } => {
                let node = self.node(inner, depth + 1)?;
                match node.type_of() {
                    Type::Scalar | Type::Vector if *negative => Ok(Node::Negate(Box::new(node))),
                    Type::Scalar | Type::Vector => Ok(node),
                    other => {
                        let message = format!(
                            "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
                            other.name()
                        );
                        self.refuse(expr.start, message)
                    }
                }
            }
            ExprKind::Selector(s) => Ok(Node::Selector(Box::new(self.selector(s, expr.start)?))),
            ExprKind::Matrix { selector, range } => {
                let source = RangeSource::Selector(self.selector(selector, expr.start)?);
                Ok(Node::Range(Box::new(Range { source, range: self.positive_millis(range, expr.start)? })))
            }
            ExprKind::Subquery(s) => self.subquery(s, expr.start, depth),
            ExprKind::Binary(b) => self.binary(b, expr.start, depth),
            ExprKind::Aggregate(a) => self.aggregate(a, expr.start, depth),
            ExprKind::Call(c) => self.call(c, expr.start, depth),
        }
    }

    fn subquery(&mut self, s: &syntax::Subquery, start: usize, depth: usize) -> Planned<Node> {
        let node = self.node(&s.expr, depth + 1)?;
        if node.type_of() != Type::Vector {
            let message = format!("subquery is only allowed on instant vector, got {} instead", node.type_of().name());
            return self.refuse(start, message);
        }
        let shift = self.shift(&s.modifiers, start)?;
        let step = s.step.as_ref().map(|d| self.positive_millis(d, start)).transpose()?;
        let range = self.positive_millis(&s.range, start)?;
        Ok(Node::Range(Box::new(Range { source: RangeSource::Subquery { node, step, shift }, range })))
    }

    fn shift(&mut self, modifiers: &syntax::Modifiers, start: usize) -> Planned<Shift> {
        let offset = modifiers.offset.as_ref().map_or(Ok(0), |d| self.millis(d, start))?;
        Ok(Shift { offset, at: modifiers.at })
    }

    fn selector(&mut self, s: &syntax::VectorSelector, start: usize) -> Planned<Selector> {
        let mut matchers: Vec<Matcher> = s.name.iter().map(|name| Matcher::equal(METRIC_NAME, name)).collect();
        matchers.extend(self.matchers(s)?);
        if s.name.is_some() && matchers.iter().skip(1).any(|m| *m.name == *METRIC_NAME) {
            return self.refuse(start, "metric name must not be set twice");
        }
        if matchers.iter().all(|m| m.matches("")) {
            return self.refuse(start, "vector selector must contain at least one non-empty matcher");
        }
        let extent = match (s.anchored, s.smoothed) {
            (_, true) => Extent::Smoothed,
            (true, _) => Extent::Anchored,
            _ => Extent::Range,
        };
        let shift = self.shift(&s.modifiers, start)?;
        Ok(Selector::new(matchers, shift, extent))
    }

    fn matchers(&self, s: &syntax::VectorSelector) -> Planned<Vec<Matcher>> {
        let matcher = |m: &syntax::LabelMatcher| {
            let matcher = match m.op {
                syntax::MatchOp::Equal => Ok(Matcher::equal(&m.name, &m.value)),
                syntax::MatchOp::NotEqual => Ok(Matcher::not_equal(&m.name, &m.value)),
                syntax::MatchOp::Regex => Matcher::regex(&m.name, &m.value),
                syntax::MatchOp::NotRegex => Matcher::not_regex(&m.name, &m.value),
            };
            matcher.or_else(|e| self.refuse(m.value_at, format!("{:?} is not a regular expression: {e}", m.value)))
        };
        s.matchers.iter().map(matcher).collect()
    }

    fn binary(&mut self, b: &syntax::Binary, start: usize, depth: usize) -> Planned<Node> {
        // A row of operators nests on its left. It is gone down in a loop: people write rows of hundreds.
        let mut row = vec![(b, start)];
        let mut first = &b.lhs;
        while let ExprKind::Binary(inner) = &first.kind {
            row.push((inner, first.start));
            first = &inner.lhs;
        }
        let mut lhs = self.node(first, depth + 1)?;
        while let Some((b, start)) = row.pop() {
            lhs = self.joined(b, start, lhs, depth)?;
        }
        Ok(lhs)
    }

    /// An operator, and what stands on its right, behind what stands on its left.
    fn joined(&mut self, b: &syntax::Binary, start: usize, lhs: Node, depth: usize) -> Planned<Node> {
        let op = b.op;
        let rhs = self.node(&b.rhs, depth + 1)?;
        for (side, expr) in [(&lhs, &b.lhs), (&rhs, &b.rhs)] {
            if !matches!(side.type_of(), Type::Scalar | Type::Vector) {
                let message = "binary expression must contain only scalar and instant vector types";
                return self.refuse(expr.start, message);
            }
        }
        let m = &b.modifier;
        let (lhs_scalar, rhs_scalar) = (lhs.is_scalar(), rhs.is_scalar());
        let (on, labels) = m.matching.as_ref().map_or((false, &[][..]), |(on, labels)| (*on, labels));
        let refusal = if m.return_bool && !op.is_comparison() {
            Some((b.op_at, "bool modifier can only be used on comparison operators".to_string()))
        } else if op.is_comparison() && lhs_scalar && rhs_scalar && !m.return_bool {
            Some((b.op_at, "comparisons between scalars must use BOOL modifier".into()))
        } else if let Some(both) = labels.iter().find(|l| on && m.include.contains(l)) {
            Some((b.op_at, format!("label {both:?} must not occur in ON and GROUP clause at once")))
        } else if op.is_set() && (lhs_scalar || rhs_scalar) {
            Some((start, format!("set operator {:?} not allowed in binary scalar expression", b.op_text)))
        } else {
            self.matching_refusal(b, lhs_scalar || rhs_scalar, labels).map(|message| (start, message))
        };
        if let Some((offset, message)) = refusal {
            return self.refuse(offset, message);
        }
        let matching = Matching {
            on,
            labels: boxed(labels),
            cardinality: match m.group {
                Side::Neither => Cardinality::OneToOne,
                Side::Left => Cardinality::ManyToOne,
                Side::Right => Cardinality::OneToMany,
            },
            include: boxed(&m.include),
            fill_left: m.fill_left,
            fill_right: m.fill_right,
        };
        let bool_modifier = m.return_bool;
        Ok(Node::Binary(Box::new(Binary { op, lhs, rhs, lhs_scalar, rhs_scalar, bool_modifier, matching })))
    }

    /// What is wrong with how the elements of two sides are to find each other.
    fn matching_refusal(&self, b: &syntax::Binary, scalar: bool, labels: &[String]) -> Option<String> {
        let fills = b.modifier.fill_left.is_some() || b.modifier.fill_right.is_some();
        if scalar && !labels.is_empty() {
            return Some("vector matching only allowed between instant vectors".into());
        }
        if scalar && fills {
            return Some("filling in missing series only allowed between instant vectors".into());
        }
        if b.op.is_set() && b.modifier.group != Side::Neither {
            return Some(format!("no grouping allowed for {:?} operation", b.op_text));
        }
        (b.op.is_set() && fills).then(|| "filling in missing series not allowed for set operators".into())
    }

    fn aggregate(&mut self, a: &syntax::Aggregate, start: usize, depth: usize) -> Planned<Node> {
        let (op, parameter_type) = match a.op.as_str() {
            "sum" => (AggregateOp::Sum, None),
            "avg" => (AggregateOp::Avg, None),
            "min" => (AggregateOp::Min, None),
            "max" => (AggregateOp::Max, None),
            "count" => (AggregateOp::Count, None),
            "group" => (AggregateOp::Group, None),
            "stddev" => (AggregateOp::Stddev, None),
            "stdvar" => (AggregateOp::Stdvar, None),
            "topk" => (AggregateOp::Topk, Some(Type::Scalar)),
            "bottomk" => (AggregateOp::Bottomk, Some(Type::Scalar)),
            "quantile" => (AggregateOp::Quantile, Some(Type::Scalar)),
            "limitk" => (AggregateOp::Limitk, Some(Type::Scalar)),
            "limit_ratio" => (AggregateOp::LimitRatio, Some(Type::Scalar)),
            "count_values" => (AggregateOp::CountValues, Some(Type::Text)),
            other => return self.refuse(start, format!("unknown aggregation operator {other}")),
        };
        let expected = 1 + usize::from(parameter_type.is_some());
        let (parameter_expr, expr) = match a.arguments.as_slice() {
            [] => return self.refuse(start, "no arguments for aggregate expression provided"),
            [expr] if expected == 1 => (None, expr),
            [parameter, expr] if expected == 2 => (Some(parameter), expr),
            other => {
                // What is wrong within an argument may be why there are too many.
                for argument in other {
                    self.node(argument, depth + 1)?;
                }
                let message = format!(
                    "wrong number of arguments for aggregate expression provided, expected {expected}, got {}",
                    other.len()
                );
                return self.refuse(start, message);
            }
        };
        let node = self.node(expr, depth + 1)?;
        self.expect(Type::Vector, &node, expr, "aggregation expression")?;
        let parameter = parameter_expr.map(|p| self.node(p, depth + 1)).transpose()?;
        let mut place = Place::default();
        if let (Some(p), Some(expr), Some(t)) = (&parameter, parameter_expr, parameter_type) {
            self.expect(t, p, expr, "aggregation parameter")?;
            place = self.place(expr);
            if matches!(p, Node::Text(label) if label.is_empty()) {
                return self.refuse(expr.start, "invalid label name \"\" in count_values()");
            }
        }
        let (without, labels) = a.grouping.as_ref().map_or((false, &[][..]), |(without, labels)| (*without, labels));
        Ok(Node::Aggregate(Box::new(Aggregate { op, parameter, place, node, without, labels: boxed(labels) })))
    }

    fn expect(&self, expected: Type, node: &Node, expr: &Expr, context: &str) -> Planned<()> {
        let got = node.type_of();
        if got == expected {
            return Ok(());
        }
        self.refuse(expr.start, format!("expected type {} in {context}, got {}", expected.name(), got.name()))
    }
}

fn boxed(names: &[String]) -> Vec<Box<str>> {
    names.iter().map(|n| n.as_str().into()).collect()
}
