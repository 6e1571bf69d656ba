//! The evaluation of a plan at one time, and at a row of times.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hashbrown::HashMap;

use super::EvalOptions;
use super::ahead::{Ahead, Grid};
use super::annotations::Annotations;
use super::error::EvalError;
use super::plan::Node;
use super::value::{RangeSeries, Sample, Value};
use super::window;
use crate::history::{History, Point, Thinning};
use crate::model::Labels;

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
    pub annotations: Annotations,
    /// Whether this is one of the steps of a range.
    pub in_range: bool,
    /// The steps that are still to come.
    pub grid: Grid,
    /// What has been read for these.
    pub ahead: Ahead,
    deadline: Option<Instant>,
    max_samples: usize,
    max_bytes: usize,
    held: Held,
    /// Label sets that were built since the deadline was looked at.
    unchecked: u32,
    canceled: Option<Arc<AtomicBool>>,
}

/// What an evaluation holds in memory at the moment.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Held {
    samples: usize,
    /// Of label sets that the evaluation has built.
    bytes: usize,
}

impl Held {
    pub fn add(&mut self, samples: usize, bytes: usize) {
        self.samples = self.samples.saturating_add(samples);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub fn subtract(&mut self, samples: usize, bytes: usize) {
        self.samples = self.samples.saturating_sub(samples);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub fn add_all(&mut self, other: Held) {
        self.add(other.samples, other.bytes);
    }

    pub fn subtract_all(&mut self, other: Held) {
        self.subtract(other.samples, other.bytes);
    }

    /// How much more it is than what was held before.
    pub fn less(mut self, before: Held) -> Held {
        self.subtract_all(before);
        self
    }
}

/// Label sets that take no more than this need not be looked at one by one.
const FEW_BYTES: usize = 64 * 1024;

/// So many label sets are built between two looks at the clock.
const UNCHECKED: u32 = 256;

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
            annotations: Annotations::default(),
            in_range: start != end,
            grid: Grid { step: 0, until: end },
            ahead: Ahead::default(),
            deadline: options.deadline,
            max_samples: options.max_samples,
            max_bytes: options.max_bytes,
            held: Held::default(),
            unchecked: 0,
            canceled: options.canceled.clone(),
        }
    }

    /// What is held by those that this evaluation is a part of, and later by itself too.
    pub fn held(&mut self) -> &mut Held {
        &mut self.held
    }

    /// So many samples are held from now on.
    pub fn load(&mut self, samples: usize) -> Result<(), EvalError> {
        self.held.samples = self.held.samples.saturating_add(samples);
        self.check_held()
    }

    /// So many samples are held no more.
    pub fn unload(&mut self, samples: usize) {
        self.held.samples = self.held.samples.saturating_sub(samples);
    }

    fn check_held(&self) -> Result<(), EvalError> {
        if self.held.samples.saturating_add(self.ahead.held.samples) > self.max_samples {
            return Err(EvalError::TooManySamples(self.max_samples));
        }
        if self.held_bytes() > self.max_bytes {
            return Err(EvalError::TooMuchMemory(self.max_bytes));
        }
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        let samples = self.held.samples.saturating_add(self.ahead.held.samples).saturating_mul(size_of::<Sample>());
        samples.saturating_add(self.held.bytes).saturating_add(self.ahead.held.bytes)
    }

    /// A label set that was not there before.
    pub fn built(&mut self, labels: &Labels) -> Result<(), EvalError> {
        self.held.bytes = self.held.bytes.saturating_add(labels.heap_size());
        self.unchecked += 1;
        if self.unchecked >= UNCHECKED {
            self.unchecked = 0;
            self.check_deadline()?;
        }
        self.check_held()
    }

    /// How many bytes a label set may take that is made next.
    pub fn room(&self) -> usize {
        self.max_bytes.saturating_sub(self.held_bytes())
    }

    /// What is to be made would not find room.
    pub fn no_room(&self) -> EvalError {
        EvalError::TooMuchMemory(self.max_bytes)
    }

    /// The labels without the metric name.
    pub fn nameless(&mut self, labels: &Labels) -> Result<Labels, EvalError> {
        if !labels.has(crate::model::METRIC_NAME) {
            return Ok(labels.clone());
        }
        let labels = labels.without_name();
        self.built(&labels)?;
        Ok(labels)
    }

    /// Of all that has been held since, only this value still is.
    pub fn settle(&mut self, before: Held, value: &Value) -> Result<(), EvalError> {
        let mut bytes = self.held.bytes.saturating_sub(before.bytes);
        let (samples, labels): (usize, Vec<&Labels>) = match value {
            Value::Scalar(_) | Value::String(_) => (1, Vec::new()),
            Value::Vector(v) if bytes <= FEW_BYTES => (v.len(), Vec::new()),
            Value::Vector(v) => (v.len(), v.iter().map(|s| &s.labels).collect()),
            Value::Matrix(m) => (m.iter().map(|s| s.points.len()).sum(), m.iter().map(|s| &s.labels).collect()),
        };
        if bytes > FEW_BYTES {
            bytes = bytes.min(labels.iter().map(|l| l.heap_size()).sum());
        }
        self.held = Held { samples: before.samples.saturating_add(samples), bytes: before.bytes.saturating_add(bytes) };
        self.check_held()
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
        let before = self.held;
        let value = self.evaluate(node, now)?;
        self.settle(before, &value)?;
        Ok(value)
    }

    fn evaluate(&mut self, node: &Node, now: i64) -> Result<Value, EvalError> {
        Ok(match node {
            Node::Number(v) => Value::Scalar(*v),
            Node::Text(s) => Value::String(s.clone()),
            Node::Selector(selector) => Value::Vector(self.instant_vector(selector, now)?),
            Node::Range(range) => {
                let mut out = Vec::new();
                let mut samples = 0;
                self.windows(range, now, 0.0, Thinning::No, |eval, labels, _, window| {
                    let points = window::matrix(window);
                    samples += points.len();
                    // Beside those of the series that is read.
                    if samples > eval.max_samples {
                        return Err(EvalError::TooManySamples(eval.max_samples));
                    }
                    if !points.is_empty() {
                        out.push(RangeSeries { labels: labels.clone(), points });
                    }
                    Ok(())
                })?;
                Value::Matrix(out)
            }
            Node::Negate(inner) => match self.node(inner, now)? {
                Value::Vector(mut vector) => {
                    for s in &mut vector {
                        s.value = -s.value;
                        s.labels = self.nameless(&s.labels)?;
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
        self.node(node, now)?.into_vector(now)
    }

    /// The value of an expression that the plan knows to be a scalar.
    pub fn scalar(&mut self, node: &Node, now: i64) -> Result<f64, EvalError> {
        self.node(node, now)?.into_scalar()
    }

    /// The expression's values from `first` to `end` every `step`, by series.
    pub fn steps(&mut self, node: &Node, first: i64, end: i64, step: i64) -> Result<Vec<RangeSeries>, EvalError> {
        let mut collected = Collected::default();
        let around = (self.in_range, self.grid);
        (self.in_range, self.grid) = (first != end, Grid { step, until: end });
        self.collect(&mut collected, node, (first, end), step)?;
        (self.in_range, self.grid) = around;
        // Series that begin late stand where they would if they had been there from the first step on.
        let mut series = collected.series;
        series.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        Ok(series)
    }

    /// Adds the expression's values at each step; returns which is the one after the last.
    pub fn collect(
        &mut self,
        collected: &mut Collected,
        node: &Node,
        (first, end): (i64, i64),
        step: i64,
    ) -> Result<i64, EvalError> {
        let mut at = first;
        while at <= end {
            self.check_deadline()?;
            let bytes = self.held.bytes;
            let samples = self.vector(node, at)?;
            // The samples are held on, but of label sets only those of new series.
            self.held.bytes = bytes.saturating_add(collected.add(at, samples));
            match at.checked_add(step) {
                Some(next) => at = next,
                None => return Ok(i64::MAX),
            }
        }
        Ok(at)
    }
}

/// Instant vectors of successive times, sorted into series.
#[derive(Default)]
pub(super) struct Collected {
    places: HashMap<Labels, usize>,
    pub series: Vec<RangeSeries>,
    /// The places of the last vector's elements: those of the next are mostly the same.
    last: Vec<usize>,
}

impl Collected {
    /// Tells how many bytes the labels of new series take.
    pub fn add(&mut self, time: i64, samples: Vec<Sample>) -> usize {
        let mut bytes = 0;
        self.last.resize(samples.len(), usize::MAX);
        for (sample, last) in samples.into_iter().zip(&mut self.last) {
            let point = Point { time, value: sample.value };
            if let Some(series) = self.series.get_mut(*last).filter(|s| s.labels == sample.labels) {
                series.points.push(point);
                continue;
            }
            let place = *self.places.entry(sample.labels).or_insert_with_key(|labels| {
                bytes += labels.heap_size();
                self.series.push(RangeSeries { labels: labels.clone(), points: Vec::new() });
                self.series.len() - 1
            });
            *last = place;
            if let Some(series) = self.series.get_mut(place) {
                series.points.push(point);
            }
        }
        bytes
    }

    /// Takes in a series that is not among these.
    pub fn adopt(&mut self, series: RangeSeries) {
        self.places.insert(series.labels.clone(), self.series.len());
        self.series.push(series);
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
