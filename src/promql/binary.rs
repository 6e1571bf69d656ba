//! Binary operators: arithmetic, comparison, sets, and how the elements of two vectors find each other.

use std::collections::HashSet;

use super::error::EvalError;
use super::eval::{Eval, unique};
use super::group::{By, Groups};
use super::plan::{Binary, BinaryOp, Cardinality, Matching};
use super::value::{Sample, Value};
use crate::model::{Labels, METRIC_NAME};

/// The value of `a op b`: for a comparison 1 or 0.
fn apply(op: BinaryOp, a: f64, b: f64) -> f64 {
    let truth = |t: bool| if t { 1.0 } else { 0.0 };
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => a.powf(b),
        BinaryOp::Atan2 => a.atan2(b),
        BinaryOp::Eq => truth(a == b),
        BinaryOp::Ne => truth(a != b),
        BinaryOp::Gt => truth(a > b),
        BinaryOp::Lt => truth(a < b),
        BinaryOp::Ge => truth(a >= b),
        BinaryOp::Le => truth(a <= b),
        // Sets have no values of their own: see `Eval::set`.
        BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => a,
    }
}

impl Eval<'_> {
    pub(super) fn binary(&mut self, b: &Binary, now: i64) -> Result<Value, EvalError> {
        Ok(match (b.lhs_scalar, b.rhs_scalar) {
            (true, true) => Value::Scalar(apply(b.op, self.scalar(&b.lhs, now)?, self.scalar(&b.rhs, now)?)),
            (true, false) => {
                let scalar = self.scalar(&b.lhs, now)?;
                let vector = self.vector(&b.rhs, now)?;
                Value::Vector(unique(with_scalar(b, vector, |v| apply(b.op, scalar, v)))?)
            }
            (false, true) => {
                let vector = self.vector(&b.lhs, now)?;
                let scalar = self.scalar(&b.rhs, now)?;
                Value::Vector(unique(with_scalar(b, vector, |v| apply(b.op, v, scalar)))?)
            }
            (false, false) => {
                let lhs = self.vector(&b.lhs, now)?;
                let rhs = self.vector(&b.rhs, now)?;
                Value::Vector(unique(if b.op.is_set() { set(b, lhs, rhs) } else { matched(b, lhs, rhs)? })?)
            }
        })
    }
}

/// Whether the result keeps the left side's value and name: a comparison that filters.
fn is_filter(b: &Binary) -> bool {
    b.op.is_comparison() && !b.bool_modifier
}

fn with_scalar(b: &Binary, mut vector: Vec<Sample>, value: impl Fn(f64) -> f64) -> Vec<Sample> {
    if is_filter(b) {
        vector.retain(|s| value(s.value) != 0.0);
        return vector;
    }
    for s in &mut vector {
        s.value = value(s.value);
        s.labels = s.labels.without_name();
    }
    vector
}

fn by(matching: &Matching) -> By<'_> {
    if matching.on { By::These(&matching.labels) } else { By::AllBut(&matching.labels) }
}

fn set(b: &Binary, mut lhs: Vec<Sample>, rhs: Vec<Sample>) -> Vec<Sample> {
    let mut groups = Groups::new(by(&b.matching));
    let (of, other) = if b.op == BinaryOp::Or { (&lhs, rhs) } else { (&rhs, Vec::new()) };
    for s in of {
        groups.insert(&s.labels);
    }
    match b.op {
        BinaryOp::Or => lhs.extend(other.into_iter().filter(|s| groups.find(&s.labels).is_none())),
        BinaryOp::And => lhs.retain(|s| groups.find(&s.labels).is_some()),
        _ => lhs.retain(|s| groups.find(&s.labels).is_none()),
    }
    lhs
}

fn matched(b: &Binary, lhs: Vec<Sample>, rhs: Vec<Sample>) -> Result<Vec<Sample>, EvalError> {
    if lhs.is_empty() || rhs.is_empty() {
        return Ok(Vec::new());
    }
    let by = by(&b.matching);
    let swapped = b.matching.cardinality == Cardinality::OneToMany;
    let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };

    let mut groups = Groups::new(by);
    for s in &one {
        // Each is a group of its own, so a group's number is its element's place.
        let (group, new) = groups.insert(&s.labels);
        if !new {
            let side = if swapped { "left" } else { "right" };
            let other = one.get(group).map_or_else(Labels::empty, |o| o.labels.clone());
            let group = braced(&by.labels(&s.labels));
            return Err(EvalError::Failed(format!(
                "found duplicate series for the match group {group} on the {side} hand-side of the operation: \
                 [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
                braced(&s.labels),
                braced(&other)
            )));
        }
    }

    let mut taken = vec![false; one.len()];
    let mut results: HashSet<Labels> = HashSet::new();
    let mut out = Vec::new();
    for s in many {
        let Some(partner) = groups.find(&s.labels) else { continue };
        let Some(other) = one.get(partner) else { continue };
        // Before the comparison filters: whether a query is legal does not hang on today's values.
        if b.matching.cardinality == Cardinality::OneToOne && std::mem::replace(&mut taken[partner], true) {
            return Err(EvalError::failed(
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
            ));
        }
        let (left, right) = if swapped { (other.value, s.value) } else { (s.value, other.value) };
        let mut value = apply(b.op, left, right);
        if is_filter(b) {
            if value == 0.0 {
                continue;
            }
            value = left;
        }
        let labels = result_labels(b, &by, &s.labels, &other.labels);
        if b.matching.cardinality != Cardinality::OneToOne && !results.insert(labels.clone()) {
            return Err(EvalError::failed("multiple matches for labels: grouping labels must ensure unique matches"));
        }
        out.push(Sample { labels, value, time: s.time });
    }
    Ok(out)
}

fn result_labels(b: &Binary, by: &By<'_>, many: &Labels, one: &Labels) -> Labels {
    let keeps_name = is_filter(b);
    if b.matching.cardinality == Cardinality::OneToOne {
        return match by {
            By::These(_) => Labels::from_pairs(by.of(many).filter(|(name, _)| keeps_name || *name != METRIC_NAME)),
            By::AllBut(names) if names.is_empty() && keeps_name => many.clone(),
            By::AllBut(names) => Labels::from_pairs(many.iter().filter(|(name, _)| {
                if *name == METRIC_NAME { keeps_name } else { !names.iter().any(|n| **n == **name) }
            })),
        };
    }
    if b.matching.include.is_empty() {
        return if keeps_name { many.clone() } else { many.without_name() };
    }
    let mut builder = many.builder();
    if !keeps_name {
        builder.remove(METRIC_NAME);
    }
    for name in &b.matching.include {
        builder.set(name, one.get(name));
    }
    builder.build()
}

/// As Prometheus prints labels in its messages.
fn braced(labels: &Labels) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(n, v)| format!("{n}=\"{}\"", crate::model::escape_label_value(v))).collect();
    format!("{{{}}}", pairs.join(", "))
}
