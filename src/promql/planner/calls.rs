//! Calls of functions: their arguments, and what some need besides.

use super::{Planned, Planner};
use crate::history::{MatchOp, Matcher};
use crate::model::{Labels, LabelsBuilder, METRIC_NAME};
use crate::promql::annotations::Place;
use crate::promql::functions::{self, Function, Kind};
use crate::promql::plan::*;
use crate::promql::syntax::{self, Expr, ExprKind};
use crate::re2::Re2;
use crate::yaml::nearest;

/// What needs samples of another kind than those that history keeps.
const NATIVE_HISTOGRAM_FUNCTIONS: &[&str] =
    &["histogram_avg", "histogram_count", "histogram_stddev", "histogram_stdvar", "histogram_sum"];

/// The metric that `info` reads when it is told of none.
const TARGET_INFO: &str = "target_info";

impl Planner<'_> {
    pub(super) fn call(&mut self, c: &syntax::Call, start: usize, depth: usize) -> Planned<Node> {
        let name = c.name.as_str();
        let Some(function) = functions::find(name) else { return self.unknown(name, start) };
        self.check_count(function, c.arguments.len(), start)?;
        if let Kind::Context(part) = function.kind {
            self.contextual = true;
            return Ok(Node::Number(self.context.map_or(0.0, part)));
        }
        let mut arguments = Vec::with_capacity(c.arguments.len());
        for (i, argument) in c.arguments.iter().enumerate() {
            if matches!(function.kind, Kind::Info) && i == 1 {
                continue;
            }
            let node = self.node(argument, depth + 1)?;
            let expected = function.argument(i);
            if node.type_of() != expected {
                let message = format!(
                    "expected type {} in call to function {name:?}, got {}",
                    expected.name(),
                    node.type_of().name()
                );
                return self.refuse(argument.start, message);
            }
            arguments.push(node);
        }
        self.check_extent(function, &arguments, start)?;
        let extra = self.extra(function, c, &arguments)?;
        let place = Place::new(self.text, start);
        let places = c.arguments.iter().map(|a| self.place(a)).collect();
        Ok(Node::Call(Box::new(Call { function, arguments, place, places, extra })))
    }

    fn unknown(&self, name: &str, start: usize) -> Planned<Node> {
        if NATIVE_HISTOGRAM_FUNCTIONS.contains(&name) {
            return self.refuse(start, format!("{name}() reads native histograms, and history keeps none"));
        }
        if name == "start_timestamp" {
            return self.refuse(start, "start_timestamp() reads start timestamps, and history keeps none");
        }
        let mut message = format!("unknown function {name}()");
        if let Some(near) = nearest(name, functions::names()) {
            message += &format!(", did you mean {near}()?");
        }
        self.refuse(start, message)
    }

    fn check_count(&self, function: &Function, given: usize, start: usize) -> Planned<()> {
        let (least, most) = function.count();
        if (least..=most).contains(&given) {
            return Ok(());
        }
        let expected = match (least == most, given < least) {
            (true, _) => format!("{least}"),
            (_, true) => format!("at least {least}"),
            (_, false) => format!("at most {most}"),
        };
        self.refuse(start, format!("expected {expected} argument(s) in call to {:?}, got {given}", function.name))
    }

    /// Only some functions know what to do with samples beside the range.
    fn check_extent(&self, function: &Function, arguments: &[Node], start: usize) -> Planned<()> {
        let extent = arguments.iter().find_map(|a| match a {
            Node::Range(range) => match &range.source {
                RangeSource::Selector(s) => Some(s.extent),
                RangeSource::Subquery { .. } => None,
            },
            _ => None,
        });
        let (modifier, functions): (&str, &[&str]) = match extent {
            Some(Extent::Anchored) => ("anchored", &["changes", "delta", "increase", "rate", "resets"]),
            Some(Extent::Smoothed) => ("smoothed", &["delta", "increase", "rate"]),
            _ => return Ok(()),
        };
        if functions.contains(&function.name) {
            return Ok(());
        }
        let message =
            format!("{modifier} modifier can only be used with: {} - not with {}", functions.join(", "), function.name);
        self.refuse(start, message)
    }

    fn extra(&mut self, function: &Function, c: &syntax::Call, arguments: &[Node]) -> Planned<Extra> {
        Ok(match function.kind {
            Kind::Absent | Kind::AbsentOverTime => Extra::Labels(absent_labels(arguments.first())),
            Kind::LabelReplace => {
                self.check_label_name("destination", function, c, arguments, 1)?;
                let Some(Node::Text(pattern)) = arguments.get(4) else { return Ok(Extra::None) };
                match Re2::whole(pattern) {
                    Ok(regex) => Extra::Regex(regex),
                    Err(e) => {
                        let message = format!("invalid regular expression in {}(): {pattern:?}: {e}", function.name);
                        return self.refuse(c.arguments.get(4).map_or(0, |a| a.start), message);
                    }
                }
            }
            Kind::LabelJoin => {
                self.check_label_name("destination", function, c, arguments, 1)?;
                for i in 3..arguments.len() {
                    self.check_label_name("source", function, c, arguments, i)?;
                }
                Extra::None
            }
            Kind::Sort | Kind::SortDescending | Kind::SortByLabel | Kind::SortByLabelDescending
                if arguments.iter().all(Node::is_invariant) =>
            {
                Extra::Invariant
            }
            Kind::Info => Extra::Info(self.info_selector(c)?),
            _ => Extra::None,
        })
    }

    fn check_label_name(
        &self,
        role: &str,
        function: &Function,
        c: &syntax::Call,
        arguments: &[Node],
        i: usize,
    ) -> Planned<()> {
        match (arguments.get(i), c.arguments.get(i)) {
            (Some(Node::Text(name)), Some(expr)) if name.is_empty() => {
                self.refuse(expr.start, format!("invalid {role} label name in {}(): \"\"", function.name))
            }
            _ => Ok(()),
        }
    }

    /// The second argument of `info`, which is no expression: its matchers alone count.
    fn info_selector(&mut self, c: &syntax::Call) -> Planned<InfoSelector> {
        let mut matchers = Vec::new();
        if let Some(argument) = c.arguments.get(1) {
            match &argument.kind {
                ExprKind::Selector(s) if s.name.is_none() => matchers = self.matchers(s)?,
                ExprKind::Selector(_) => {
                    return self.refuse(argument.start, "expected label selectors only, got vector selector instead");
                }
                _ => return self.refuse(argument.start, "expected label selectors only"),
            }
        }
        let (mut name, data): (Vec<Matcher>, Vec<Matcher>) =
            matchers.into_iter().partition(|m| *m.name == *METRIC_NAME);
        if name.is_empty() {
            name.push(Matcher::equal(METRIC_NAME, TARGET_INFO));
        } else if name.iter().all(|m| matches!(m.op, MatchOp::NotEqual | MatchOp::NotRegex(_)))
            && let Ok(any) = Matcher::regex(METRIC_NAME, ".+_info")
        {
            name.push(any);
        }
        let mut references = References::default();
        if let Some(first) = c.arguments.first() {
            self.references(first, Shift::default(), &mut references)?;
        }
        let matchers = name.iter().chain(&data).cloned().collect();
        let selector = Selector::new(matchers, references.shared().unwrap_or_default(), Extent::Range);
        Ok(InfoSelector { name, data, selector })
    }

    /// The times that the selectors of an expression look at. Tells whether there is a selector in it.
    fn references(&mut self, expr: &Expr, around: Shift, out: &mut References) -> Planned<bool> {
        let within = |inner: Shift| match inner.at {
            // The same time is the same, however it is written.
            Some(At::Time(t)) => Shift { offset: 0, at: Some(At::Time(t.saturating_sub(inner.offset))) },
            Some(_) => inner,
            None => Shift { offset: inner.offset.saturating_add(around.offset), at: around.at },
        };
        let children: Vec<&Expr> = match &expr.kind {
            // They are no vectors, so whatever they look at is not what the labels are for.
            ExprKind::Number(_) | ExprKind::Text(_) => return Ok(false),
            ExprKind::Selector(selector) | ExprKind::Matrix { selector, .. } => {
                out.found.push(within(self.shift(&selector.modifiers, expr.start)?));
                return Ok(true);
            }
            ExprKind::Subquery(s) => {
                let around = within(self.shift(&s.modifiers, expr.start)?);
                return self.references(&s.expr, around, out);
            }
            ExprKind::Paren(inner) | ExprKind::Unary { expr: inner, .. } => vec![inner],
            ExprKind::Binary(b) => vec![&b.lhs, &b.rhs],
            ExprKind::Aggregate(a) => a.arguments.last().into_iter().collect(),
            ExprKind::Call(c) if functions::find(&c.name).is_some_and(|f| f.returns == Type::Scalar) => {
                return Ok(false);
            }
            ExprKind::Call(c) if c.name == "info" => c.arguments.first().into_iter().collect(),
            ExprKind::Call(c) => c.arguments.iter().collect(),
        };
        let mut any = false;
        for child in children {
            any |= self.references(child, around, out)?;
        }
        let scalar = matches!(&expr.kind, ExprKind::Binary(_) | ExprKind::Paren(_) | ExprKind::Unary { .. });
        out.without |= !any && !scalar;
        Ok(any)
    }
}

/// The times that the vectors of an expression are of.
#[derive(Default)]
struct References {
    found: Vec<Shift>,
    /// Whether there is a vector that comes of no selector, and so is of the time of evaluation.
    without: bool,
}

impl References {
    /// The time that all of them are of.
    fn shared(&self) -> Option<Shift> {
        let first = *self.found.first()?;
        (!self.without && self.found.iter().all(|s| *s == first)).then_some(first)
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
    // These three are Prometheus' labels of metadata.
    for m in matchers.iter().filter(|m| !matches!(&*m.name, METRIC_NAME | "__type__" | "__unit__")) {
        if matches!(m.op, MatchOp::Equal) && !seen.contains(&&*m.name) {
            builder.set(&m.name, &m.value);
            seen.push(&m.name);
        } else {
            builder.remove(&m.name);
        }
    }
    builder.build()
}
