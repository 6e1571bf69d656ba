//! Binary operators: arithmetic, comparison, sets, and how the elements of two vectors find each other.

use hashbrown::HashSet;

use super::error::EvalError;
use super::eval::{Eval, unique};
use super::group::{By, Groups};
use super::plan::{Binary, BinaryOp, Cardinality, Matching, Node};
use super::value::{Sample, Value};
use crate::model::{Labels, METRIC_NAME, Timestamp};

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
        // A row of operators nests on its left. It is gone down in a loop, as it may be long.
        let mut row = Vec::new();
        let mut first = b;
        while let Node::Binary(inner) = &first.lhs {
            row.push(first);
            first = inner;
        }
        let before = *self.held();
        let lhs = self.node(&first.lhs, now)?;
        let mut value = self.joined(first, lhs, now)?;
        while let Some(b) = row.pop() {
            self.settle(before, &value)?;
            value = self.joined(b, value, now)?;
        }
        Ok(value)
    }

    /// The value of an operator, with what stands on its left.
    fn joined(&mut self, b: &Binary, lhs: Value, now: i64) -> Result<Value, EvalError> {
        Ok(match (b.lhs_scalar, b.rhs_scalar) {
            (true, true) => Value::Scalar(apply(b.op, lhs.into_scalar()?, self.scalar(&b.rhs, now)?)),
            (true, false) => {
                let scalar = lhs.into_scalar()?;
                let vector = self.vector(&b.rhs, now)?;
                Value::Vector(unique(self.with_scalar(b, vector, |v| apply(b.op, scalar, v))?)?)
            }
            (false, true) => {
                let vector = lhs.into_vector(now)?;
                let scalar = self.scalar(&b.rhs, now)?;
                Value::Vector(unique(self.with_scalar(b, vector, |v| apply(b.op, v, scalar))?)?)
            }
            (false, false) => {
                let lhs = lhs.into_vector(now)?;
                let rhs = self.vector(&b.rhs, now)?;
                let time = Timestamp::from_millis(now);
                Value::Vector(unique(if b.op.is_set() { set(b, lhs, rhs) } else { self.matched(b, lhs, rhs, time)? })?)
            }
        })
    }

    fn with_scalar(
        &mut self,
        b: &Binary,
        mut vector: Vec<Sample>,
        value: impl Fn(f64) -> f64,
    ) -> Result<Vec<Sample>, EvalError> {
        if is_filter(b) {
            vector.retain(|s| value(s.value) != 0.0);
            return Ok(vector);
        }
        for s in &mut vector {
            s.value = value(s.value);
            s.labels = self.nameless(&s.labels)?;
        }
        Ok(vector)
    }

    fn matched(
        &mut self,
        b: &Binary,
        lhs: Vec<Sample>,
        rhs: Vec<Sample>,
        time: Timestamp,
    ) -> Result<Vec<Sample>, EvalError> {
        let m = &b.matching;
        let fills = m.fill_left.is_some() || m.fill_right.is_some();
        if (lhs.is_empty() && rhs.is_empty()) || (!fills && (lhs.is_empty() || rhs.is_empty())) {
            return Ok(Vec::new());
        }
        let swapped = m.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
        let (fill_many, fill_one) = if swapped { (m.fill_right, m.fill_left) } else { (m.fill_left, m.fill_right) };

        let by = by(m);
        let mut groups = Groups::new(by);
        for s in &one {
            // Each is a group of its own, so a group's number is its element's place.
            let (group, new) = groups.insert(&s.labels);
            if !new {
                let other = one.get(group).map_or_else(Labels::empty, |o| o.labels.clone());
                return Err(duplicates(&by, &s.labels, &other, swapped));
            }
        }

        let mut matches = Matches { b, by, swapped, seen: HashSet::new(), matched: vec![false; one.len()] };
        let mut out = Vec::new();
        for s in &many {
            let (group, _) = groups.insert(&s.labels);
            let result = match (one.get(group), fill_one) {
                (Some(other), _) => matches.pair(self, group, s, other)?,
                (None, Some(value)) => {
                    let missing = Sample { labels: by.labels(&s.labels), value, time };
                    matches.pair(self, group, s, &missing)?
                }
                (None, None) => None,
            };
            out.extend(result);
        }
        if let Some(value) = fill_many {
            for (group, other) in one.iter().enumerate() {
                if matches.is_matched(group) {
                    continue;
                }
                let missing = Sample { labels: by.labels(&other.labels), value, time };
                out.extend(matches.pair(self, group, &missing, other)?);
            }
        }
        Ok(out)
    }
}

fn duplicates(by: &By<'_>, a: &Labels, b: &Labels, swapped: bool) -> EvalError {
    let side = if swapped { "left" } else { "right" };
    let mut pair = [braced(a), braced(b)];
    // Whichever comes first: the message is the same.
    pair.sort();
    EvalError::Failed(format!(
        "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}];many-to-many \
         matching not allowed: matching labels must be unique on one side",
        braced(&by.labels(a)),
        pair.join(", ")
    ))
}

/// Whether the result keeps the left side's value and name: a comparison that filters.
fn is_filter(b: &Binary) -> bool {
    b.op.is_comparison() && !b.bool_modifier
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

/// Elements of two sides that have found each other.
struct Matches<'b> {
    b: &'b Binary,
    by: By<'b>,
    /// The "many" side stands on the right.
    swapped: bool,
    /// Of many to one: each group's results.
    seen: HashSet<(usize, Labels)>,
    /// By group.
    matched: Vec<bool>,
}

impl Matches<'_> {
    fn is_matched(&self, group: usize) -> bool {
        self.matched.get(group).copied().unwrap_or(false)
    }

    /// The result of two elements of a group, if there is one.
    fn pair(
        &mut self,
        eval: &mut Eval<'_>,
        group: usize,
        many: &Sample,
        one: &Sample,
    ) -> Result<Option<Sample>, EvalError> {
        let (left, right) = if self.swapped { (one.value, many.value) } else { (many.value, one.value) };
        let mut value = apply(self.b.op, left, right);
        let labels = result_labels(self.b, &self.by, &many.labels, &one.labels);
        eval.built(&labels)?;
        // Before the comparison filters: whether a query is legal does not hang on today's values.
        let again = self.is_matched(group);
        if let Some(matched) = self.matched.get_mut(group) {
            *matched = true;
        }
        if self.b.matching.cardinality == Cardinality::OneToOne {
            let first = if group < self.matched.len() { !again } else { self.seen.insert((group, Labels::empty())) };
            if !first {
                return Err(EvalError::failed(
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                ));
            }
        } else if !self.seen.insert((group, labels.clone())) {
            return Err(EvalError::failed("multiple matches for labels: grouping labels must ensure unique matches"));
        }
        if is_filter(self.b) {
            if value == 0.0 {
                return Ok(None);
            }
            value = left;
        }
        eval.load(1)?;
        Ok(Some(Sample { labels, value, time: many.time }))
    }
}

fn result_labels(b: &Binary, by: &By<'_>, many: &Labels, one: &Labels) -> Labels {
    let keeps_name = is_filter(b);
    if b.matching.cardinality == Cardinality::OneToOne {
        return match by {
            By::These(_) => Labels::from_pairs(by.of(many).filter(|(name, _)| keeps_name || *name != METRIC_NAME)),
            By::AllBut(names) if names.is_empty() && keeps_name => many.clone(),
            By::AllBut(names) => Labels::from_pairs(
                many.iter()
                    .filter(|(name, _)| !names.iter().any(|n| **n == **name) && (keeps_name || *name != METRIC_NAME)),
            ),
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
