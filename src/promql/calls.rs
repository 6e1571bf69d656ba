//! Calls of functions.

use std::cmp::Ordering;

use super::aggregate::sort_by_value;
use super::error::EvalError;
use super::eval::{Eval, unique};
use super::functions::Kind;
use super::histogram;
use super::plan::{Call, Node, Range};
use super::value::{Sample, Value};
use crate::model::{Labels, METRIC_NAME, Timestamp};

impl Eval<'_> {
    pub(super) fn call(&mut self, call: &Call, now: i64) -> Result<Value, EvalError> {
        let time = Timestamp::from_millis(now);
        let alone = |value: f64| vec![Sample { labels: Labels::empty(), value, time }];
        let vector = match call.function.kind {
            Kind::Pi => return Ok(Value::Scalar(std::f64::consts::PI)),
            Kind::Time => return Ok(Value::Scalar(now as f64 / 1000.0)),
            Kind::Scalar => {
                let vector = self.vector_argument(call, 0, now)?;
                return Ok(Value::Scalar(match vector.as_slice() {
                    [one] => one.value,
                    _ => f64::NAN,
                }));
            }
            Kind::Vector => alone(self.scalar_argument(call, 0, now)?),
            Kind::Map(f) => mapped(self.vector_argument(call, 0, now)?, f)?,
            Kind::Date(f) if call.arguments.is_empty() => alone(f(now as f64 / 1000.0)),
            Kind::Date(f) => mapped(self.vector_argument(call, 0, now)?, f)?,
            Kind::Range { function, keeps_name } => {
                let (range, parameter) = self.range_argument(call, now)?;
                let mut out = Vec::new();
                self.windows(range, now, parameter, |labels, without_name, window| {
                    if let Some(value) = function(window) {
                        let labels = if keeps_name { labels } else { without_name };
                        out.push(Sample { labels: labels.clone(), value, time });
                    }
                })?;
                unique(out)?
            }
            Kind::Absent => match self.vector_argument(call, 0, now)?.is_empty() {
                true => vec![Sample { labels: call.labels.clone(), value: 1.0, time }],
                false => Vec::new(),
            },
            Kind::AbsentOverTime => {
                let (range, _) = self.range_argument(call, now)?;
                let mut found = false;
                self.windows(range, now, 0.0, |_, _, _| found = true)?;
                match found {
                    true => Vec::new(),
                    false => vec![Sample { labels: call.labels.clone(), value: 1.0, time }],
                }
            }
            Kind::Clamp => {
                let vector = self.vector_argument(call, 0, now)?;
                let (low, high) = (self.scalar_argument(call, 1, now)?, self.scalar_argument(call, 2, now)?);
                if low > high {
                    return Ok(Value::Vector(Vec::new()));
                }
                mapped(vector, |v| go_max(low, go_min(high, v)))?
            }
            Kind::ClampMin => {
                let vector = self.vector_argument(call, 0, now)?;
                let low = self.scalar_argument(call, 1, now)?;
                mapped(vector, |v| go_max(low, v))?
            }
            Kind::ClampMax => {
                let vector = self.vector_argument(call, 0, now)?;
                let high = self.scalar_argument(call, 1, now)?;
                mapped(vector, |v| go_min(high, v))?
            }
            Kind::Round => {
                let vector = self.vector_argument(call, 0, now)?;
                let nearest = if call.arguments.len() > 1 { self.scalar_argument(call, 1, now)? } else { 1.0 };
                // Dividing by the inverse keeps 0.1 and its like exact.
                let inverse = 1.0 / nearest;
                mapped(vector, |v| (v * inverse + 0.5).floor() / inverse)?
            }
            Kind::Timestamp => match call.arguments.first() {
                Some(Node::Selector(selector)) => unique(self.timestamps(selector, now)?)?,
                _ => mapped(self.vector_argument(call, 0, now)?, |_| now as f64 / 1000.0)?,
            },
            Kind::Sort | Kind::SortDescending => {
                let mut vector = self.vector_argument(call, 0, now)?;
                sort_by_value(&mut vector, matches!(call.function.kind, Kind::SortDescending));
                vector
            }
            Kind::SortByLabel | Kind::SortByLabelDescending => {
                let mut vector = self.vector_argument(call, 0, now)?;
                let descending = matches!(call.function.kind, Kind::SortByLabelDescending);
                let order = |a: &Sample, b: &Sample| {
                    let texts = (1..call.arguments.len()).map(|i| text_argument(call, i));
                    let by_labels = texts.map(|l| natural_order(a.labels.get(l), b.labels.get(l)));
                    let order = by_labels.fold(Ordering::Equal, Ordering::then).then_with(|| a.labels.cmp(&b.labels));
                    if descending { order.reverse() } else { order }
                };
                vector.sort_by(order);
                vector
            }
            Kind::LabelReplace => label_replace(call, self.vector_argument(call, 0, now)?)?,
            Kind::LabelJoin => label_join(call, self.vector_argument(call, 0, now)?)?,
            Kind::HistogramQuantile => {
                let quantile = self.scalar_argument(call, 0, now)?;
                unique(histogram::quantiles(quantile, &self.vector_argument(call, 1, now)?, time))?
            }
        };
        Ok(Value::Vector(vector))
    }

    fn vector_argument(&mut self, call: &Call, i: usize, now: i64) -> Result<Vec<Sample>, EvalError> {
        call.arguments.get(i).map_or(Ok(Vec::new()), |node| self.vector(node, now))
    }

    fn scalar_argument(&mut self, call: &Call, i: usize, now: i64) -> Result<f64, EvalError> {
        call.arguments.get(i).map_or(Ok(f64::NAN), |node| self.scalar(node, now))
    }

    /// The range among the arguments, and the value of the scalar beside it.
    fn range_argument<'c>(&mut self, call: &'c Call, now: i64) -> Result<(&'c Range, f64), EvalError> {
        let mut found = None;
        let mut parameter = f64::NAN;
        for argument in &call.arguments {
            match argument {
                Node::Range(range) => found = Some(range),
                other => parameter = self.scalar(other, now)?,
            }
        }
        found.map(|r| (&**r, parameter)).ok_or_else(|| EvalError::failed("expected a range vector"))
    }
}

fn text_argument(call: &Call, i: usize) -> &str {
    match call.arguments.get(i) {
        Some(Node::Text(text)) => text,
        _ => "",
    }
}

fn mapped(mut vector: Vec<Sample>, f: impl Fn(f64) -> f64) -> Result<Vec<Sample>, EvalError> {
    for s in &mut vector {
        s.value = f(s.value);
        s.labels = s.labels.without_name();
    }
    unique(vector)
}

/// The larger; NaN if either is, as Go has it.
fn go_max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// The smaller; NaN if either is, as Go has it.
fn go_min(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

/// `label_replace(v, destination, replacement, source, pattern)`.
fn label_replace(call: &Call, mut vector: Vec<Sample>) -> Result<Vec<Sample>, EvalError> {
    let (destination, replacement, source) = (text_argument(call, 1), text_argument(call, 2), text_argument(call, 3));
    let Some(regex) = &call.regex else { return Ok(vector) };
    for s in &mut vector {
        let Some(captures) = regex.captures(s.labels.get(source)) else { continue };
        let mut value = String::new();
        captures.expand(replacement, &mut value);
        let mut builder = s.labels.builder();
        builder.set(destination, &value);
        s.labels = builder.build();
    }
    unique(vector)
}

/// `label_join(v, destination, separator, source...)`.
fn label_join(call: &Call, mut vector: Vec<Sample>) -> Result<Vec<Sample>, EvalError> {
    let (destination, separator) = (text_argument(call, 1), text_argument(call, 2));
    for s in &mut vector {
        let values: Vec<&str> = (3..call.arguments.len()).map(|i| s.labels.get(text_argument(call, i))).collect();
        let mut builder = s.labels.builder();
        builder.set(destination, &values.join(separator));
        s.labels = builder.build();
    }
    unique(vector)
}

/// Runs of digits compare as numbers: `node2` stands before `node10`.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
        let (n, m) = (digits(a), digits(b));
        if n > 0 && m > 0 {
            let ((x, a_rest), (y, b_rest)) = (a.split_at(n), b.split_at(m));
            let (x, y) = (x.trim_start_matches('0'), y.trim_start_matches('0'));
            match x.len().cmp(&y.len()).then_with(|| x.cmp(y)) {
                Ordering::Equal => (a, b) = (a_rest, b_rest),
                other => return other,
            }
            continue;
        }
        let (mut x, mut y) = (a.chars(), b.chars());
        match (x.next(), y.next()) {
            (Some(c), Some(d)) if c == d => (a, b) = (x.as_str(), y.as_str()),
            (c, d) => return c.cmp(&d),
        }
    }
}

/// The labels of a histogram's bucket, without what makes it a bucket.
pub(super) fn without_bucket(labels: &Labels) -> Labels {
    Labels::from_pairs(labels.iter().filter(|(name, _)| !matches!(*name, METRIC_NAME | "le")))
}
