//! A query: parsed, planned, ready to be evaluated again and again.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::ahead::Grid;
use super::annotations::Annotations;
use super::error::{EvalError, QueryError};
use super::eval::{Collected, Eval};
use super::plan::{Context, Extent, Extra, Node, RangeSource, Selector, Shift, Type};
use super::planner::{Plan, plan};
use super::syntax;
use super::value::Value;
use crate::history::{History, Matcher};
use crate::model::{METRIC_NAME, Timestamp};

/// How a query is evaluated, and how much it may take.
#[derive(Clone, Debug)]
pub struct EvalOptions {
    /// How old the newest sample of a series may be for an instant selector to find it.
    pub lookback: Duration,
    /// The step of subqueries that name none: the evaluation interval.
    pub subquery_step: Duration,
    /// Samples that one evaluation may hold in memory at once, as Prometheus counts them.
    pub max_samples: usize,
    /// Bytes that these samples and the label sets that the evaluation makes may take at once.
    pub max_bytes: usize,
    /// When to give up.
    pub deadline: Option<Instant>,
    /// Set by who does not want the result any more.
    pub canceled: Option<Arc<AtomicBool>>,
}

impl Default for EvalOptions {
    /// Prometheus' defaults.
    fn default() -> Self {
        EvalOptions {
            lookback: Duration::from_secs(300),
            subquery_step: Duration::from_secs(60),
            max_samples: 50_000_000,
            max_bytes: 256 << 20,
            deadline: None,
            canceled: None,
        }
    }
}

/// What a selector of a query reads.
#[derive(Clone, Debug)]
pub struct SelectorInfo<'q> {
    /// The metric name, when the selector fixes one.
    pub name: Option<&'q str>,
    pub matchers: &'q [Matcher],
    /// How far before the time of evaluation it may look: range, offset and the ranges of subqueries around it, without
    /// the lookback. With an absolute `@` time there is no telling, and it counts as none.
    pub reach: Duration,
    /// Whether it looks back by the lookback besides: an instant selector does, and a range that is `anchored` or
    /// `smoothed`.
    pub looks_back: bool,
    /// Whether it is a range selector.
    pub is_range: bool,
}

/// A query that can be evaluated.
pub struct Query {
    text: String,
    plan: Plan,
}

impl std::fmt::Debug for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Query").field(&self.text).finish()
    }
}

impl Query {
    /// Parses, checks and plans an expression.
    ///
    /// # Errors
    ///
    /// What is wrong with the text, or what in it cannot be evaluated here, with the place where that is known.
    pub fn parse(text: &str) -> Result<Query, QueryError> {
        let expr = syntax::parse(text)?;
        Ok(Query { plan: plan(&expr, text, None)?, text: text.to_string() })
    }

    /// The plan for a query over these times, where it hangs on them.
    fn plan_for(&self, start: i64, end: i64, step: i64) -> Result<Option<Node>, EvalError> {
        if !self.plan.contextual {
            return Ok(None);
        }
        let context = Some(Context { start, end, step });
        let planned = syntax::parse(&self.text).and_then(|expr| plan(&expr, &self.text, context));
        planned.map(|p| Some(p.root)).map_err(|e| EvalError::Failed(e.to_string()))
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether durations in it hang on the times of the evaluation; then those that [`Query::selectors`] tells are not
    /// those that it looks back.
    pub fn is_contextual(&self) -> bool {
        self.plan.contextual
    }

    /// What the query evaluates to at one time.
    pub fn value_type(&self) -> Type {
        self.plan.root.type_of()
    }

    /// The value at one time.
    pub fn instant(&self, history: &History, at: Timestamp, options: &EvalOptions) -> Result<Value, EvalError> {
        self.instant_annotated(history, at, options).0
    }

    /// The value at one time, and what there is to say about it; also where the evaluation fails.
    pub fn instant_annotated(
        &self,
        history: &History,
        at: Timestamp,
        options: &EvalOptions,
    ) -> (Result<Value, EvalError>, Annotations) {
        let at = at.as_millis();
        let mut eval = Eval::new(history, at, at, options);
        let value = self.plan_for(at, at, 0).and_then(|own| eval.node(own.as_ref().unwrap_or(&self.plan.root), at));
        (value, eval.annotations)
    }

    /// The values from `start` to `end`, both included, every `step`, as a matrix.
    pub fn range(
        &self,
        history: &History,
        start: Timestamp,
        end: Timestamp,
        step: Duration,
        options: &EvalOptions,
    ) -> Result<Value, EvalError> {
        self.range_annotated(history, start, end, step, options).0
    }

    /// As [`Query::range`], with what there is to say about the evaluation.
    pub fn range_annotated(
        &self,
        history: &History,
        start: Timestamp,
        end: Timestamp,
        step: Duration,
        options: &EvalOptions,
    ) -> (Result<Value, EvalError>, Annotations) {
        let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        let (start, end) = (start.as_millis(), end.as_millis());
        let mut eval = Eval::new(history, start, end, options);
        eval.grid = Grid { step, until: end };
        let matrix = self.check_range(step).and_then(|()| self.plan_for(start, end, step)).and_then(|own| {
            let mut collected = Collected::default();
            eval.collect(&mut collected, own.as_ref().unwrap_or(&self.plan.root), (start, end), step)?;
            collected.series.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
            Ok(Value::Matrix(collected.series))
        });
        (matrix, eval.annotations)
    }

    fn check_range(&self, step: i64) -> Result<(), EvalError> {
        if !matches!(self.value_type(), Type::Scalar | Type::Vector) {
            return Err(EvalError::Failed(format!(
                "invalid expression type {:?} for range query, must be scalar or instant vector",
                self.value_type().name()
            )));
        }
        if step == 0 {
            return Err(EvalError::failed("the step of a range query must be greater than 0"));
        }
        Ok(())
    }

    /// The matchers, when the expression is a selector of series and nothing else.
    pub fn as_selector(&self) -> Option<&[Matcher]> {
        match &self.plan.root {
            Node::Selector(selector) if selector.shift == Shift::default() => Some(&selector.matchers),
            _ => None,
        }
    }

    pub(super) fn root(&self) -> &Node {
        &self.plan.root
    }

    /// What the query reads, in the order of the text.
    pub fn selectors(&self) -> Vec<SelectorInfo<'_>> {
        let mut out = Vec::new();
        visit(&self.plan.root, 0, &mut |standing| out.push(info(standing)));
        out
    }

    /// Calls `see` with each selector, and the range that it is read over, in milliseconds; 0 for an instant selector.
    pub(super) fn each_selector(&self, see: &mut impl FnMut(&Selector, i64)) {
        visit(&self.plan.root, 0, &mut |standing| see(standing.selector, standing.range.unwrap_or(0)));
    }
}

/// A selector as it stands in a query.
struct Standing<'q> {
    selector: &'q Selector,
    /// How far before the time of evaluation what stands around it may move it, in milliseconds.
    around: i64,
    /// Of a range selector, in milliseconds.
    range: Option<i64>,
}

/// Visits all selectors, in the order of the text.
fn visit<'q>(node: &'q Node, around: i64, see: &mut impl FnMut(Standing<'q>)) {
    match node {
        Node::Number(_) | Node::Text(_) => {}
        Node::Selector(selector) => see(Standing { selector, around, range: None }),
        Node::Range(range) => match &range.source {
            RangeSource::Selector(selector) => see(Standing { selector, around, range: Some(range.range) }),
            RangeSource::Subquery { node, shift, .. } => {
                visit(node, reach(around, *shift).saturating_add(range.range), see);
            }
        },
        Node::Negate(inner) => visit(inner, around, see),
        Node::Binary(b) => {
            visit(&b.lhs, around, see);
            visit(&b.rhs, around, see);
        }
        Node::Aggregate(a) => {
            if let Some(parameter) = &a.parameter {
                visit(parameter, around, see);
            }
            visit(&a.node, around, see);
        }
        Node::Call(call) => {
            call.arguments.iter().for_each(|a| visit(a, around, see));
            // What `info` reads besides its argument.
            if let Extra::Info(info) = &call.extra {
                see(Standing { selector: &info.selector, around, range: None });
            }
        }
    }
}

fn reach(around: i64, shift: Shift) -> i64 {
    if shift.at.is_some() { 0 } else { around.saturating_add(shift.offset) }
}

/// The name that the matchers fix.
pub(super) fn fixed_name(matchers: &[Matcher]) -> Option<&str> {
    let is_name = |m: &&Matcher| *m.name == *METRIC_NAME && matches!(m.op, crate::history::MatchOp::Equal);
    matchers.iter().find(is_name).map(|m| &*m.value)
}

fn info(standing: Standing<'_>) -> SelectorInfo<'_> {
    let Standing { selector, around, range } = standing;
    let millis = reach(around, selector.shift).saturating_add(range.unwrap_or(0)).max(0);
    SelectorInfo {
        name: fixed_name(&selector.matchers),
        matchers: &selector.matchers,
        reach: Duration::from_millis(millis.unsigned_abs()),
        looks_back: range.is_none() || selector.extent != Extent::Range,
        is_range: range.is_some(),
    }
}

/// Lays an expression out over lines, each not much longer than 100 characters.
pub fn pretty(text: &str) -> Result<String, QueryError> {
    syntax::parse(text).map(|expr| syntax::pretty(&expr))
}
