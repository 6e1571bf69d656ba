//! Aggregation operators.

mod pick;

use super::error::EvalError;
use super::eval::{Eval, unique};
use super::group::{By, Groups};
use super::math::{self, GroupVariance, KahanSum, Mean, format_value};
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
            AggregateOp::Topk | AggregateOp::Bottomk => match pick::count_of(parameter)? {
                0 => Ok(Vec::new()),
                k => Ok(pick::extremes(by, vector, k, a.op == AggregateOp::Topk)),
            },
            AggregateOp::Limitk => Ok(pick::first(by, vector, pick::count_of(parameter)?)),
            AggregateOp::LimitRatio => {
                if parameter.is_nan() {
                    return Err(EvalError::failed("Ratio value is NaN"));
                }
                self.annotations.check_ratio(parameter, a.place);
                Ok(pick::ratio(vector, parameter.clamp(-1.0, 1.0)))
            }
            AggregateOp::CountValues => {
                let label = match &a.parameter {
                    Some(Node::Text(label)) => label.as_str(),
                    _ => "",
                };
                self.count_values(a, &vector, label)
            }
            _ => {
                if a.op == AggregateOp::Quantile {
                    self.annotations.check_quantile(parameter, a.place);
                }
                self.fold(by, &vector, a.op, parameter, Timestamp::from_millis(now))
            }
        }
    }

    fn fold(
        &mut self,
        by: By<'_>,
        vector: &[Sample],
        op: AggregateOp,
        parameter: f64,
        time: Timestamp,
    ) -> Result<Vec<Sample>, EvalError> {
        let mut groups = Groups::new(by);
        let mut folded: Vec<(Labels, Folded)> = Vec::new();
        for s in vector {
            let (group, new) = groups.insert(&s.labels);
            if new {
                let labels = by.labels(&s.labels);
                self.built(&labels)?;
                folded.push((labels, Folded::new(op, s.value)));
            } else if let Some((_, f)) = folded.get_mut(group) {
                f.add(op, s.value);
            }
        }
        let sample = |(labels, mut f): (Labels, Folded)| Sample { labels, value: f.value(op, parameter), time };
        Ok(folded.into_iter().map(sample).collect())
    }

    fn count_values(&mut self, a: &Aggregate, vector: &[Sample], label: &str) -> Result<Vec<Sample>, EvalError> {
        // The new label is one of those that are grouped by, whatever the others are.
        let mut labels = a.labels.clone();
        if !a.without {
            labels.push(label.into());
        }
        let by = if a.without { By::AllBut(&labels) } else { By::These(&labels) };
        let mut counts: Vec<Sample> = Vec::new();
        let mut places = hashbrown::HashMap::new();
        for s in vector {
            let mut builder = s.labels.builder();
            builder.set(label, &format_value(s.value));
            builder.retain(|name| by.keeps(name));
            let labels = builder.build();
            self.built(&labels)?;
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
}

/// What an operator keeps of a group.
enum Folded {
    Sum(KahanSum),
    Mean(Mean),
    Extreme(f64),
    Count(f64),
    Variance(GroupVariance),
    Values(Vec<f64>),
}

impl Folded {
    fn new(op: AggregateOp, first: f64) -> Folded {
        match op {
            AggregateOp::Sum => Folded::Sum(KahanSum::of(first)),
            AggregateOp::Avg => Folded::Mean(Mean::of(first)),
            AggregateOp::Min | AggregateOp::Max => Folded::Extreme(first),
            AggregateOp::Stddev | AggregateOp::Stdvar => Folded::Variance(GroupVariance::of(first)),
            AggregateOp::Quantile => Folded::Values(vec![first]),
            _ => Folded::Count(1.0),
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
