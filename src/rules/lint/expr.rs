//! What in an expression is probably not as it was meant.

use std::collections::BTreeSet;
use std::time::Duration;

use super::metrics::{Metric, known, values_of};
use super::{Linter, Remark};
use crate::history::{MatchOp, Matcher};
use crate::model::{METRIC_NAME, MetricType, format_duration};
use crate::promql::{BinaryKind, Matching, Query, Shape};
use crate::yaml::nearest;

/// Functions of counters: what they give is right although the counter begins anew at times.
const OF_COUNTERS: [&str; 3] = ["rate", "irate", "increase"];

/// Functions that need two samples in their range.
const OF_TWO: [&str; 9] =
    ["rate", "irate", "increase", "delta", "idelta", "deriv", "predict_linear", "changes", "resets"];

/// Functions whose result over a counter says how long the host has been up rather than what it does.
const NOT_OF_COUNTERS: [&str; 7] =
    ["avg_over_time", "sum_over_time", "quantile_over_time", "stddev_over_time", "stdvar_over_time", "delta", "deriv"];

/// Functions that give each value on, at most rounded or bounded.
const PASS_ON: [&str; 9] =
    ["abs", "ceil", "floor", "round", "clamp", "clamp_min", "clamp_max", "label_replace", "label_join"];

/// The labels of the target, which all series have.
const TARGET: [&str; 2] = ["job", "instance"];

impl Linter {
    pub(super) fn remarks(&mut self, query: &Query) -> Vec<Remark> {
        let mut remarks = Vec::new();
        self.walk(&query.shape(), None, &mut remarks);
        remarks
    }

    /// `within`: the function that the expression is an argument of.
    fn walk(&mut self, shape: &Shape<'_>, within: Option<&'static str>, out: &mut Vec<Remark>) {
        match shape {
            Shape::Number(_) | Shape::Text(_) => {}
            Shape::Selector { matchers, range } => self.selector(matchers, *range, within, out),
            Shape::Subquery(inner) | Shape::Negation(inner) => self.walk(inner, None, out),
            Shape::Aggregation { inner, by, .. } => {
                self.grouping(by.unwrap_or_default(), inner, out);
                self.walk(inner, None, out);
            }
            Shape::Call { name, arguments } => arguments.iter().for_each(|a| self.walk(a, Some(name), out)),
            Shape::Binary { kind, lhs, rhs, matching } => {
                self.walk(lhs, None, out);
                self.walk(rhs, None, out);
                if *kind == BinaryKind::Comparison || *kind == BinaryKind::Truth {
                    self.comparison(lhs, rhs, out);
                    self.comparison(rhs, lhs, out);
                }
                self.matching(lhs, rhs, *matching, out);
            }
        }
    }

    fn selector(
        &mut self,
        matchers: &[Matcher],
        range: Option<Duration>,
        within: Option<&'static str>,
        out: &mut Vec<Remark>,
    ) {
        let Some(name) = name_of(matchers) else { return };
        let metric = self.metric(name);
        // Whether it is there is what the rule asks.
        let absent = matches!(within, Some("absent" | "absent_over_time"));
        if metric.is_none() && !absent && !self.recorded.contains(name) {
            self.unknown(name, out);
        }
        if let (Some(range), Some(function)) = (range, within) {
            self.range(name, metric, range, function, out);
        }
        if let Some(metric) = metric {
            for matcher in matchers.iter().filter(|m| *m.name != *METRIC_NAME) {
                self.matcher(name, metric, matcher, out);
            }
        }
    }

    /// What is known of a metric; nothing of one that rules record.
    fn metric(&self, name: &str) -> Option<Metric> {
        if self.recorded.contains(name) { None } else { known().get(name) }
    }

    fn unknown(&mut self, name: &str, out: &mut Vec<Remark>) {
        if !self.meant.contains_key(name) {
            let near = known().nearest(name, &self.recorded).map(str::to_string);
            self.meant.insert(name.to_string(), near);
        }
        let hint = match self.meant.get(name).cloned().flatten() {
            Some(near) => format!(", did you mean {near}?"),
            None if known().is_open(name) => return,
            None => String::new(),
        };
        let message = format!("no collector and no rule gives {name}, unless a textfile or a check does{hint}");
        out.push(Remark { message, word: name.to_string() });
    }

    fn range(
        &self,
        name: &str,
        metric: Option<Metric>,
        range: Duration,
        function: &'static str,
        out: &mut Vec<Remark>,
    ) {
        let word = name.to_string();
        let interval = self.settings.scrape_interval;
        if OF_TWO.contains(&function) && range < interval.saturating_mul(2) {
            let (range, interval) = (format_duration(range), format_duration(interval));
            let message = format!(
                "{function}() needs two samples, and a range of {range} holds at most one: they come every {interval}"
            );
            out.push(Remark { message, word: word.clone() });
        }
        match metric.map(|m| m.kind) {
            Some(MetricType::Gauge) if OF_COUNTERS.contains(&function) => {
                let message =
                    format!("{name} is a gauge: {function}() takes each fall for a restart; take delta() or deriv()");
                out.push(Remark { message, word });
            }
            Some(MetricType::Counter) if NOT_OF_COUNTERS.contains(&function) => {
                let message =
                    format!("{name} is a counter, which only grows: take rate() or increase() instead of {function}()");
                out.push(Remark { message, word });
            }
            _ => {}
        }
    }

    /// A counter as it is, compared with something.
    fn comparison(&self, side: &Shape<'_>, with: &Shape<'_>, out: &mut Vec<Remark>) {
        // Whether anything was counted since the start is a question that has an answer.
        if matches!(with, Shape::Number(number) if *number == 0.0) || !self.counters(with).is_empty() {
            return;
        }
        for name in self.counters(side) {
            let message = format!(
                "{name} is a counter, which only grows until the host or the program starts anew: compare its rate() or \
                 increase()"
            );
            out.push(Remark { message, word: name.to_string() });
        }
    }

    /// The counters whose values the result has, as they are.
    fn counters<'s>(&self, shape: &'s Shape<'_>) -> BTreeSet<&'s str> {
        match shape {
            Shape::Selector { matchers, range: None } => {
                let name = name_of(matchers).filter(|n| self.metric(n).is_some_and(|m| m.kind == MetricType::Counter));
                name.into_iter().collect()
            }
            Shape::Negation(inner) | Shape::Aggregation { inner, counts: false, .. } => self.counters(inner),
            Shape::Call { name, arguments } if PASS_ON.contains(name) => {
                arguments.first().map(|a| self.counters(a)).unwrap_or_default()
            }
            Shape::Binary { kind, lhs, rhs, .. } => {
                let (left, right) = (self.counters(lhs), self.counters(rhs));
                match kind {
                    // What has been counted in between, or which part of it.
                    BinaryKind::Difference | BinaryKind::Ratio if !left.is_empty() && !right.is_empty() => {
                        BTreeSet::new()
                    }
                    BinaryKind::Difference | BinaryKind::Ratio | BinaryKind::OtherArithmetic | BinaryKind::Or => {
                        left.union(&right).copied().collect()
                    }
                    BinaryKind::Comparison | BinaryKind::Restriction => left,
                    BinaryKind::Truth => BTreeSet::new(),
                }
            }
            _ => BTreeSet::new(),
        }
    }

    /// A label, or a value of it, that the metric never has.
    fn matcher(&self, name: &str, metric: Metric, matcher: &Matcher, out: &mut Vec<Remark>) {
        if matcher.matches("") {
            return;
        }
        let label = &*matcher.name;
        let mut never = |message: String| out.push(Remark { message, word: label.to_string() });
        let target = match label {
            "job" => self.settings.job.as_deref(),
            "instance" => self.settings.instance.as_deref(),
            _ => None,
        };
        if let Some(value) = target.filter(|value| !value.is_empty() && !matcher.matches(value)) {
            let key = format!("global.{label}");
            return never(format!("{matcher} never matches: {label} is {value:?} here, as {key} says"));
        }
        if !TARGET.contains(&label) && !metric.may_have(label) && !is_of_parts(label) {
            let labels = metric.labels.filter(|l| *l != "-").unwrap_or("none but job and instance");
            let near = nearest(label, labels.split(','));
            let hint = near.map_or_else(|| format!("its labels: {labels}"), |near| format!("did you mean {near}?"));
            return never(format!("{matcher} never matches: {name} has no label {label}, {hint}"));
        }
        let Some(values) = values_of(name, label) else { return };
        if values.iter().any(|value| matcher.matches(value)) {
            return;
        }
        let plain = matches!(matcher.op, MatchOp::Equal);
        let hint = match nearest(&matcher.value, values.iter().copied()).filter(|_| plain) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("its values: {}", values.join(", ")),
        };
        never(format!("{matcher} never matches: {label} of {name} has no such value, {hint}"));
    }

    /// `by` a label that nothing has, and that one has with nearly that name.
    fn grouping(&self, by: &[Box<str>], inner: &Shape<'_>, out: &mut Vec<Remark>) {
        let Some(labels) = (if by.is_empty() { None } else { self.labels(inner) }) else { return };
        for label in by.iter().filter(|label| !labels.contains(&***label)) {
            if let Some(near) = nearest(label, labels.iter().map(String::as_str)) {
                let message = format!("by ({label}): nothing here has the label {label}, did you mean {near}?");
                out.push(Remark { message, word: label.to_string() });
            }
        }
    }

    /// `on` a label that only one side has; or sides that are aggregated by different labels.
    fn matching(&self, lhs: &Shape<'_>, rhs: &Shape<'_>, matching: Matching<'_>, out: &mut Vec<Remark>) {
        let (Some(left), Some(right)) = (self.labels(lhs), self.labels(rhs)) else { return };
        let sides = [(&left, &right, "right"), (&right, &left, "left")];
        for (has, lacks, side) in sides {
            match matching {
                Matching::On(labels) => {
                    let missing = labels.iter().find(|l| has.contains(&***l) && !lacks.contains(&***l));
                    if let Some(label) = missing {
                        let message = format!(
                            "on ({label}) never matches: the {side} side has no label {label}, which the other has"
                        );
                        out.push(Remark { message, word: label.to_string() });
                    }
                }
                Matching::Ignoring(ignored) if is_grouped(lhs) && is_grouped(rhs) => {
                    let missing = has.difference(lacks).find(|l| !ignored.iter().any(|i| **i == ***l));
                    if let Some(label) = missing {
                        let message = format!(
                            "the sides never match: the {side} one has no label {label}, which the other has; write \
                             on (...) or ignoring ({label})"
                        );
                        out.push(Remark { message, word: label.clone() });
                    }
                }
                Matching::Ignoring(_) => {}
            }
        }
    }

    /// The labels that a result may have, without the name; `None` where that is not known.
    fn labels(&self, shape: &Shape<'_>) -> Option<BTreeSet<String>> {
        match shape {
            Shape::Selector { matchers, .. } => {
                let metric = self.metric(name_of(matchers)?)?;
                let own = metric.labels?.split(',').filter(|l| *l != "-");
                Some(own.chain(TARGET).map(str::to_string).collect())
            }
            Shape::Negation(inner) | Shape::Subquery(inner) => self.labels(inner),
            Shape::Aggregation { by: Some(by), inner, .. } => {
                let inner = self.labels(inner)?;
                Some(by.iter().map(|l| l.to_string()).filter(|l| inner.contains(l)).collect())
            }
            Shape::Call { name, arguments } if OF_TWO.contains(name) || name.ends_with("_over_time") => {
                self.labels(arguments.iter().find(|a| matches!(a, Shape::Selector { .. } | Shape::Subquery(_)))?)
            }
            Shape::Call {
                name: "abs" | "ceil" | "floor" | "round" | "clamp" | "clamp_min" | "clamp_max",
                arguments,
            } => self.labels(arguments.first()?),
            _ => None,
        }
    }
}

fn name_of(matchers: &[Matcher]) -> Option<&str> {
    let named = matchers.iter().find(|m| *m.name == *METRIC_NAME && matches!(m.op, MatchOp::Equal));
    named.map(|m| &*m.value)
}

fn is_of_parts(label: &str) -> bool {
    matches!(label, "le" | "quantile")
}

/// Whether an aggregation says which labels its result has.
fn is_grouped(shape: &Shape<'_>) -> bool {
    matches!(shape, Shape::Aggregation { by: Some(by), .. } if !by.is_empty())
}
