//! Operators that keep some elements of each group as they are.

use super::EvalError;
use crate::model::Labels;
use crate::promql::annotations::general;
use crate::promql::group::{By, Groups};
use crate::promql::hash::xxhash64;
use crate::promql::value::Sample;

/// The `k` of `topk`; below 1 it is 0.
pub fn count_of(k: f64) -> Result<usize, EvalError> {
    if k < 1.0 {
        return Ok(0);
    }
    if k.is_nan() {
        return Err(EvalError::failed("Parameter value is NaN"));
    }
    if k >= i64::MAX as f64 {
        return Err(EvalError::Failed(format!("Scalar value {} overflows int64", general(k, None))));
    }
    Ok(k as usize)
}

/// The elements by group, in the order in which they came.
fn grouped(by: By<'_>, vector: Vec<Sample>, mut take: impl FnMut(&mut Vec<Sample>, Sample)) -> Vec<Vec<Sample>> {
    let mut groups = Groups::new(by);
    let mut members: Vec<Vec<Sample>> = Vec::new();
    for s in vector {
        let (group, new) = groups.insert(&s.labels);
        if new {
            members.push(Vec::new());
        }
        if let Some(m) = members.get_mut(group) {
            take(m, s);
        }
    }
    members
}

/// The `k` largest or smallest of each group, in that order; NaN comes last in either.
///
/// Which ones of equal elements are kept is as Prometheus has it: that hangs on the heap they are kept in.
pub fn extremes(by: By<'_>, vector: Vec<Sample>, k: usize, largest: bool) -> Vec<Sample> {
    // Whether `a` stands nearer to being thrown out than `b`.
    let less = |a: f64, b: f64| a.is_nan() || less_known(a, b, largest);
    let mut members = grouped(by, vector, |heap, s| {
        if heap.len() < k {
            heap.push(s);
            rise(heap, &less);
        } else if let Some(root) = heap.first_mut()
            && (if root.value.is_nan() { !s.value.is_nan() } else { less_known(root.value, s.value, largest) })
        {
            *root = s;
            sink(heap, &less);
        }
    });
    for heap in &mut members {
        heap.sort_by(|a, b| {
            let order = if largest { b.value.partial_cmp(&a.value) } else { a.value.partial_cmp(&b.value) };
            order.unwrap_or_else(|| a.value.is_nan().cmp(&b.value.is_nan()))
        });
    }
    members.into_iter().flatten().collect()
}

/// Whether `a`, which is not NaN, gives way to `b`.
fn less_known(a: f64, b: f64, largest: bool) -> bool {
    if largest { a < b } else { a > b }
}

/// Brings the last element of a heap to its place.
fn rise(heap: &mut [Sample], less: &impl Fn(f64, f64) -> bool) {
    let mut child = heap.len().saturating_sub(1);
    while child > 0 {
        let parent = (child - 1) / 2;
        let (Some(c), Some(p)) = (heap.get(child), heap.get(parent)) else { return };
        if !less(c.value, p.value) {
            return;
        }
        heap.swap(child, parent);
        child = parent;
    }
}

/// Brings the first element of a heap to its place.
fn sink(heap: &mut [Sample], less: &impl Fn(f64, f64) -> bool) {
    let mut parent = 0;
    loop {
        let mut child = 2 * parent + 1;
        let Some(left) = heap.get(child) else { return };
        let mut value = left.value;
        if let Some(right) = heap.get(child + 1).filter(|right| less(right.value, value)) {
            child += 1;
            value = right.value;
        }
        if heap.get(parent).is_none_or(|p| !less(value, p.value)) {
            return;
        }
        heap.swap(parent, child);
        parent = child;
    }
}

/// The first `k` elements of each group.
pub fn first(by: By<'_>, vector: Vec<Sample>, k: usize) -> Vec<Sample> {
    let members = grouped(by, vector, |members, s| {
        if members.len() < k {
            members.push(s);
        }
    });
    members.into_iter().flatten().collect()
}

/// About this part of the elements: always the same ones, chosen by a hash of their labels; a negative ratio chooses
/// those that its complement does not.
pub fn ratio(mut vector: Vec<Sample>, ratio: f64) -> Vec<Sample> {
    vector.retain(|s| {
        let place = hash(&s.labels) as f64 / u64::MAX as f64;
        if ratio < 0.0 { place >= 1.0 + ratio } else { place < ratio }
    });
    vector
}

/// The hash that Prometheus has of a label set: of all names and values, each after its length.
fn hash(labels: &Labels) -> u64 {
    let mut bytes = Vec::new();
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        let length = text.len();
        match u8::try_from(length) {
            Ok(short) if short < 255 => bytes.push(short),
            _ => {
                let [low, middle, high, ..] = length.to_le_bytes();
                bytes.extend([255, low, middle, high]);
            }
        }
        bytes.extend(text.as_bytes());
    }
    xxhash64(&bytes)
}
