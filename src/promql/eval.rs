//! The evaluation of a plan at one time, and at a row of times.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hashbrown::HashMap;

use super::EvalOptions;
use super::error::EvalError;
use super::plan::Node;
use super::value::{RangeSeries, Sample, Value};
use crate::history::{History, Point};
use crate::model::{Labels, Timestamp};

/// Times in milliseconds.
pub(super) struct Eval<'h> {
    pub history: &'h History,
    /// What `@ start()` and `@ end()` are.
    pub start: i64,
    pub end: i64,
    pub lookback: i64,
    /// The step of subqueries that name none.
    pub default_step: i64,
    /// A buffer, used again for each series.
    pub points: Vec<Point>,
    deadline: Option<Instant>,
    canceled: Option<Arc<AtomicBool>>,
    /// Samples that may still be loaded.
    samples_left: usize,
}

impl<'h> Eval<'h> {
    pub fn new(history: &'h History, start: i64, end: i64, options: &EvalOptions) -> Eval<'h> {
        let millis = |d: std::time::Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        Eval {
            history,
            start,
            end,
            lookback: millis(options.lookback),
            default_step: millis(options.subquery_step),
            points: Vec::new(),
            deadline: options.deadline,
            canceled: options.canceled.clone(),
            samples_left: options.max_samples,
        }
    }

    pub fn load(&mut self, samples: usize) -> Result<(), EvalError> {
        self.samples_left = self.samples_left.checked_sub(samples).ok_or(EvalError::TooManySamples)?;
        Ok(())
    }

    pub fn check_deadline(&self) -> Result<(), EvalError> {
        if self.canceled.as_ref().is_some_and(|canceled| canceled.load(Ordering::Relaxed)) {
            return Err(EvalError::Canceled);
        }
        match self.deadline {
            Some(deadline) if Instant::now() > deadline => Err(EvalError::TimedOut),
            _ => Ok(()),
        }
    }

    pub fn node(&mut self, node: &Node, now: i64) -> Result<Value, EvalError> {
        Ok(match node {
            Node::Number(v) => Value::Scalar(*v),
            Node::Text(s) => Value::String(s.clone()),
            Node::Selector(selector) => Value::Vector(self.instant_vector(selector, now)?),
            Node::Range(range) => {
                let mut out = Vec::new();
                self.windows(range, now, 0.0, |labels, _, window| {
                    out.push(RangeSeries { labels: labels.clone(), points: window.points.to_vec() });
                })?;
                Value::Matrix(out)
            }
            Node::Negate(inner) => match self.node(inner, now)? {
                Value::Vector(mut vector) => {
                    for s in &mut vector {
                        s.value = -s.value;
                        s.labels = s.labels.without_name();
                    }
                    Value::Vector(unique(vector)?)
                }
                Value::Scalar(v) => Value::Scalar(-v),
                other => other,
            },
            Node::Binary(binary) => self.binary(binary, now)?,
            Node::Aggregate(aggregate) => Value::Vector(self.aggregate(aggregate, now)?),
            Node::Call(call) => self.call(call, now)?,
        })
    }

    /// The value of an expression that the plan knows to be a vector.
    pub fn vector(&mut self, node: &Node, now: i64) -> Result<Vec<Sample>, EvalError> {
        match self.node(node, now)? {
            Value::Vector(v) => Ok(v),
            Value::Scalar(value) => {
                Ok(vec![Sample { labels: Labels::empty(), value, time: Timestamp::from_millis(now) }])
            }
            Value::String(_) | Value::Matrix(_) => Err(EvalError::failed("expected an instant vector")),
        }
    }

    /// The value of an expression that the plan knows to be a scalar.
    pub fn scalar(&mut self, node: &Node, now: i64) -> Result<f64, EvalError> {
        match self.node(node, now)? {
            Value::Scalar(v) => Ok(v),
            _ => Err(EvalError::failed("expected a scalar")),
        }
    }

    /// The expression's values from `first` to `end` every `step`, by series.
    pub fn steps(&mut self, node: &Node, first: i64, end: i64, step: i64) -> Result<Vec<RangeSeries>, EvalError> {
        let mut collected = Collected::default();
        let mut at = first;
        while at <= end {
            self.check_deadline()?;
            let samples = self.vector(node, at)?;
            self.load(samples.len())?;
            collected.add(at, samples);
            match at.checked_add(step) {
                Some(next) => at = next,
                None => break,
            }
        }
        Ok(collected.series)
    }
}

/// Instant vectors of successive times, sorted into series.
#[derive(Default)]
pub(super) struct Collected {
    places: HashMap<Labels, usize>,
    pub series: Vec<RangeSeries>,
}

impl Collected {
    pub fn add(&mut self, time: i64, samples: Vec<Sample>) {
        for sample in samples {
            let point = Point { time, value: sample.value };
            let place = *self.places.entry(sample.labels).or_insert_with_key(|labels| {
                self.series.push(RangeSeries { labels: labels.clone(), points: Vec::new() });
                self.series.len() - 1
            });
            if let Some(series) = self.series.get_mut(place) {
                series.points.push(point);
            }
        }
    }
}

/// Refuses a vector in which two elements have the same labels.
pub(super) fn unique(vector: Vec<Sample>) -> Result<Vec<Sample>, EvalError> {
    let twice = if vector.len() <= 16 {
        vector.iter().enumerate().any(|(i, a)| vector.iter().skip(i + 1).any(|b| a.labels == b.labels))
    } else {
        let mut seen = HashSet::with_capacity(vector.len());
        !vector.iter().all(|s| seen.insert(&s.labels))
    };
    if twice {
        return Err(EvalError::failed("vector cannot contain metrics with the same labelset"));
    }
    Ok(vector)
}
