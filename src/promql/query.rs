//! A query: parsed, planned, ready to be evaluated again and again.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use super::error::{EvalError, QueryError};
use super::eval::{Collected, Eval};
use super::plan::{self, Node, RangeSource, Selector, Shift, Type};
use super::value::{RangeSeries, Value};
use super::{functions, scan};
use crate::history::{History, Matcher};
use crate::model::{METRIC_NAME, Timestamp};
use crate::yaml::nearest;

/// How a query is evaluated, and how much it may take.
#[derive(Clone, Debug)]
pub struct EvalOptions {
    /// How old the newest sample of a series may be for an instant selector to find it.
    pub lookback: Duration,
    /// The step of subqueries that name none: the evaluation interval.
    pub subquery_step: Duration,
    /// Samples that one evaluation may look at in all.
    pub max_samples: usize,
    /// When to give up.
    pub deadline: Option<Instant>,
}

impl Default for EvalOptions {
    /// Prometheus' defaults.
    fn default() -> Self {
        EvalOptions {
            lookback: Duration::from_secs(300),
            subquery_step: Duration::from_secs(60),
            max_samples: 50_000_000,
            deadline: None,
        }
    }
}

/// What a selector of a query reads.
#[derive(Clone, Debug)]
pub struct SelectorInfo<'q> {
    /// The metric name, when the selector fixes one.
    pub name: Option<&'q str>,
    pub matchers: &'q [Matcher],
    /// How far before the time of evaluation it may look: range, offset and the ranges of subqueries around it; for
    /// an instant selector without the lookback. With an absolute `@` time there is no telling, and it counts as none.
    pub reach: Duration,
    /// Whether it is a range selector; an instant one looks back by the lookback besides.
    pub is_range: bool,
}

/// A query that can be evaluated.
pub struct Query {
    text: String,
    root: Node,
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
        scan::check(text)?;
        // The parser is not ours, and this text comes from outside: a panic in it must not end the agent.
        let parsed = std::panic::catch_unwind(AssertUnwindSafe(|| promql_parser::parser::parse(text)));
        let expr = match parsed {
            Ok(Ok(expr)) => expr,
            Ok(Err(message)) => return Err(parser_error(&message, text)),
            Err(_) => return Err(QueryError::new("the parser failed on this expression")),
        };
        Ok(Query { root: plan::plan(&expr, text)?, text: text.to_string() })
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the query evaluates to at one time.
    pub fn value_type(&self) -> Type {
        self.root.type_of()
    }

    /// The value at one time.
    pub fn instant(&self, history: &History, at: Timestamp, options: &EvalOptions) -> Result<Value, EvalError> {
        let at = at.as_millis();
        Eval::new(history, at, at, options).node(&self.root, at)
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
        let mut run = self.start_range(start, end, step, options.clone())?;
        while run.step(history)? {}
        Ok(run.finish())
    }

    /// Begins a range evaluation whose steps are taken one by one, so that a lock on the history need not be held
    /// over the whole.
    pub fn start_range(
        &self,
        start: Timestamp,
        end: Timestamp,
        step: Duration,
        options: EvalOptions,
    ) -> Result<RangeRun<'_>, EvalError> {
        if !matches!(self.value_type(), Type::Scalar | Type::Vector) {
            return Err(EvalError::Failed(format!(
                "invalid expression type {:?} for range query, must be scalar or instant vector",
                self.value_type().name()
            )));
        }
        let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        if step == 0 {
            return Err(EvalError::failed("the step of a range query must be greater than 0"));
        }
        let (start, end) = (start.as_millis(), end.as_millis());
        Ok(RangeRun { query: self, start, end, step, next: Some(start), options, collected: Collected::default() })
    }

    pub(super) fn root(&self) -> &Node {
        &self.root
    }

    /// What the query reads, in the order of the text.
    pub fn selectors(&self) -> Vec<SelectorInfo<'_>> {
        let mut out = Vec::new();
        collect_selectors(&self.root, 0, &mut out);
        out
    }
}

/// A range evaluation under way.
pub struct RangeRun<'q> {
    query: &'q Query,
    start: i64,
    end: i64,
    step: i64,
    next: Option<i64>,
    options: EvalOptions,
    collected: Collected,
}

impl RangeRun<'_> {
    /// Evaluates the next step; false when there is none.
    pub fn step(&mut self, history: &History) -> Result<bool, EvalError> {
        let Some(at) = self.next.filter(|at| *at <= self.end) else { return Ok(false) };
        let mut eval = Eval::new(history, self.start, self.end, &self.options);
        eval.check_deadline()?;
        let samples = eval.vector(&self.query.root, at)?;
        self.options.max_samples =
            self.options.max_samples.checked_sub(samples.len()).ok_or(EvalError::TooManySamples)?;
        self.collected.add(at, samples);
        self.next = at.checked_add(self.step);
        Ok(true)
    }

    /// The matrix of all steps taken, sorted by labels.
    pub fn finish(self) -> Value {
        let mut series: Vec<RangeSeries> = self.collected.series;
        series.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        Value::Matrix(series)
    }
}

fn collect_selectors<'q>(node: &'q Node, around: i64, out: &mut Vec<SelectorInfo<'q>>) {
    match node {
        Node::Number(_) | Node::Text(_) => {}
        Node::Selector(selector) => out.push(info(selector, around, 0, false)),
        Node::Range(range) => match &range.source {
            RangeSource::Selector(selector) => out.push(info(selector, around, range.range, true)),
            RangeSource::Subquery { node, shift, .. } => {
                collect_selectors(node, reach(around, *shift).saturating_add(range.range), out);
            }
        },
        Node::Negate(inner) => collect_selectors(inner, around, out),
        Node::Binary(b) => {
            collect_selectors(&b.lhs, around, out);
            collect_selectors(&b.rhs, around, out);
        }
        Node::Aggregate(a) => {
            if let Some(parameter) = &a.parameter {
                collect_selectors(parameter, around, out);
            }
            collect_selectors(&a.node, around, out);
        }
        Node::Call(call) => call.arguments.iter().for_each(|a| collect_selectors(a, around, out)),
    }
}

fn reach(around: i64, shift: Shift) -> i64 {
    if shift.at.is_some() { 0 } else { around.saturating_add(shift.offset) }
}

fn info(selector: &Selector, around: i64, range: i64, is_range: bool) -> SelectorInfo<'_> {
    let millis = reach(around, selector.shift).saturating_add(range).max(0);
    let is_name = |m: &&Matcher| *m.name == *METRIC_NAME && matches!(m.op, crate::history::MatchOp::Equal);
    SelectorInfo {
        name: selector.matchers.iter().find(is_name).map(|m| &*m.value),
        matchers: &selector.matchers,
        reach: Duration::from_millis(millis.unsigned_abs()),
        is_range,
    }
}

/// Finds the place for what the parser says.
fn parser_error(message: &str, text: &str) -> QueryError {
    if let Some(name) = message.strip_prefix("unknown function with name '").and_then(|m| m.strip_suffix('\'')) {
        let mut message = format!("unknown function {name}()");
        if let Some(near) = nearest(name, functions::names()) {
            message += &format!(", did you mean {near}()?");
        }
        return match scan::find_call(text, name) {
            Some(offset) => QueryError::at(message, text, offset),
            None => QueryError::new(message),
        };
    }
    if message == "invalid promql query" || message == "ParseError" {
        return QueryError::new(if text.trim().is_empty() { "no expression found in input" } else { "parse error" });
    }
    let quoted = |before: &str| message.split_once(before)?.1.split_once('\'').map(|(name, _)| name);
    match quoted("call to function '").or_else(|| quoted("call to '")).and_then(|name| scan::find_call(text, name)) {
        Some(offset) => QueryError::at(message, text, offset),
        None => QueryError::new(message),
    }
}
