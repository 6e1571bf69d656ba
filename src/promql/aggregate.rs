//! Aggregation operators.

use std::cmp::Ordering;

use super::error::EvalError;
use super::eval::{Eval, unique};
use super::group::{By, Groups};
use super::math::{self, KahanSum, Mean, Variance};
use super::plan::{Aggregate, AggregateOp, Node};
use super::value::Sample;
use crate::model::{Labels, Timestamp};

impl Eval<'_> {
    pub(super) fn aggregate(&mut self, a: &Aggregate, now: i64) -> Result<Vec<Sample>, EvalError> {
        let parameter = match &a.parameter {
            Some(node) if node.is_scalar() => self.scalar(node, now)?,
            _ => 0.0,
        };
        let vector = self.vector(&a.node, now)?;
        let by = if a.without { By::AllBut(&a.labels) } else { By::These(&a.labels) };
        match a.op {
            AggregateOp::Topk | AggregateOp::Bottomk => Ok(pick(by, vector, count_of(parameter)?, a.op)),
            AggregateOp::CountValues => {
                let label = match &a.parameter {
                    Some(Node::Text(label)) => label.as_str(),
                    _ => "",
                };
                count_values(by, &vector, label)
            }
            _ => Ok(fold(by, &vector, a.op, parameter, Timestamp::from_millis(now))),
        }
    }
}

/// The `k` of `topk`.
fn count_of(k: f64) -> Result<usize, EvalError> {
    if k.is_nan() {
        return Err(EvalError::failed("Parameter value is NaN"));
    }
    if k >= i64::MAX as f64 || k <= i64::MIN as f64 {
        return Err(EvalError::Failed(format!("Scalar value {k} overflows int64")));
    }
    Ok(k.max(0.0) as usize)
}

/// What an operator keeps of a group.
enum Folded {
    Sum(KahanSum),
    Mean(Mean),
    Extreme(f64),
    Count(f64),
    Variance(Variance),
    Values(Vec<f64>),
}

impl Folded {
    fn new(op: AggregateOp, first: f64) -> Folded {
        match op {
            AggregateOp::Sum => Folded::Sum(KahanSum::default()),
            AggregateOp::Avg => Folded::Mean(Mean::default()),
            AggregateOp::Min | AggregateOp::Max => Folded::Extreme(first),
            AggregateOp::Stddev | AggregateOp::Stdvar => Folded::Variance(Variance::default()),
            AggregateOp::Quantile => Folded::Values(Vec::new()),
            _ => Folded::Count(0.0),
        }
    }

    fn add(&mut self, op: AggregateOp, value: f64) {
        match self {
            Folded::Sum(sum) => sum.add(value),
            Folded::Mean(mean) => mean.add(value),
            Folded::Extreme(best) => {
                let better = if op == AggregateOp::Min { value < *best } else { value > *best };
                if better || best.is_nan() {
                    *best = value;
                }
            }
            Folded::Count(count) => *count += 1.0,
            Folded::Variance(variance) => variance.add(value),
            Folded::Values(values) => values.push(value),
        }
    }

    fn value(&mut self, op: AggregateOp, parameter: f64) -> f64 {
        match self {
            Folded::Sum(sum) => sum.total(),
            Folded::Mean(mean) => mean.value(),
            Folded::Extreme(best) => *best,
            Folded::Count(_) if op == AggregateOp::Group => 1.0,
            Folded::Count(count) => *count,
            Folded::Variance(variance) if op == AggregateOp::Stddev => variance.value().sqrt(),
            Folded::Variance(variance) => variance.value(),
            Folded::Values(values) => math::quantile(parameter, values),
        }
    }
}

fn fold(by: By<'_>, vector: &[Sample], op: AggregateOp, parameter: f64, time: Timestamp) -> Vec<Sample> {
    let mut groups = Groups::new(by);
    let mut folded: Vec<(Labels, Folded)> = Vec::new();
    for s in vector {
        let (group, new) = groups.insert(&s.labels);
        if new {
            folded.push((by.labels(&s.labels), Folded::new(op, s.value)));
        }
        if let Some((_, f)) = folded.get_mut(group) {
            f.add(op, s.value);
        }
    }
    let sample = |(labels, mut f): (Labels, Folded)| Sample { labels, value: f.value(op, parameter), time };
    folded.into_iter().map(sample).collect()
}

/// The `k` largest or smallest of each group, in that order; NaN comes last in either.
fn pick(by: By<'_>, vector: Vec<Sample>, k: usize, op: AggregateOp) -> Vec<Sample> {
    let mut groups = Groups::new(by);
    let mut members: Vec<Vec<Sample>> = Vec::new();
    for s in vector {
        let (group, new) = groups.insert(&s.labels);
        if new {
            members.push(Vec::new());
        }
        if let Some(m) = members.get_mut(group) {
            m.push(s);
        }
    }
    let order = |a: &Sample, b: &Sample| {
        let values = if op == AggregateOp::Topk { (b.value, a.value) } else { (a.value, b.value) };
        values.0.partial_cmp(&values.1).unwrap_or_else(|| a.value.is_nan().cmp(&b.value.is_nan()))
    };
    for m in &mut members {
        m.sort_by(order);
        m.truncate(k);
    }
    members.into_iter().flatten().collect()
}

fn count_values(by: By<'_>, vector: &[Sample], label: &str) -> Result<Vec<Sample>, EvalError> {
    let mut counts: Vec<Sample> = Vec::new();
    let mut places = hashbrown::HashMap::new();
    for s in vector {
        let mut builder = by.labels(&s.labels).builder();
        builder.set(label, &format_value(s.value));
        let labels = builder.build();
        let place = *places.entry(labels).or_insert_with_key(|labels| {
            counts.push(Sample { labels: labels.clone(), value: 0.0, time: s.time });
            counts.len() - 1
        });
        if let Some(count) = counts.get_mut(place) {
            count.value += 1.0;
        }
    }
    unique(counts)
}

/// A value as label: all digits, no exponent.
fn format_value(value: f64) -> String {
    match value {
        v if v.is_nan() => "NaN".into(),
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        v => v.to_string(),
    }
}

/// Ascending or descending by value, NaN last in either.
pub(super) fn sort_by_value(vector: &mut [Sample], descending: bool) {
    vector.sort_by(|a, b| match a.value.partial_cmp(&b.value) {
        Some(order) if descending => order.reverse(),
        Some(order) => order,
        None if a.value.is_nan() && b.value.is_nan() => Ordering::Equal,
        None => a.value.is_nan().cmp(&b.value.is_nan()),
    });
}
