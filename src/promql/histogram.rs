//! Quantiles of classic histograms: series of buckets, each counting what is not above its label `le`.

use hashbrown::HashMap;

use super::calls::without_bucket;
use super::math::almost_equal;
use super::value::Sample;
use crate::model::{Labels, Timestamp};

/// Relative differences between counts of neighbouring buckets that are taken for rounding errors.
const TOLERANCE: f64 = 1e-12;

#[derive(Clone, Copy)]
struct Bucket {
    upper: f64,
    count: f64,
}

/// The quantile of each histogram in the vector. Elements without a label `le` that is a number are left out.
pub fn quantiles(q: f64, vector: &[Sample], time: Timestamp) -> Vec<Sample> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut histograms: Vec<(Labels, Vec<Bucket>)> = Vec::new();
    for s in vector {
        let Ok(upper) = s.labels.get("le").parse::<f64>() else { continue };
        let labels = without_bucket(&s.labels);
        let place = *places.entry(labels).or_insert_with_key(|labels| {
            histograms.push((labels.clone(), Vec::new()));
            histograms.len() - 1
        });
        if let Some((_, buckets)) = histograms.get_mut(place) {
            buckets.push(Bucket { upper, count: s.value });
        }
    }
    histograms.into_iter().map(|(labels, buckets)| Sample { labels, value: quantile(q, buckets), time }).collect()
}

fn quantile(q: f64, mut buckets: Vec<Bucket>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    if buckets.last().is_none_or(|b| b.upper != f64::INFINITY) {
        return f64::NAN;
    }
    buckets.dedup_by(|later, earlier| {
        let same = later.upper == earlier.upper;
        if same {
            earlier.count += later.count;
        }
        same
    });
    make_monotonic(&mut buckets);
    let [.., before_last, last] = buckets.as_slice() else { return f64::NAN };
    let observations = last.count;
    if observations == 0.0 || observations.is_nan() {
        return f64::NAN;
    }
    let mut rank = q * observations;
    let finite = buckets.get(..buckets.len() - 1).unwrap_or(&[]);
    let Some((b, bucket)) = finite.iter().enumerate().find(|(_, b)| b.count >= rank) else {
        return before_last.upper;
    };
    if b == 0 && bucket.upper <= 0.0 {
        return bucket.upper;
    }
    let (mut start, mut count) = (0.0, bucket.count);
    if let Some(previous) = b.checked_sub(1).and_then(|i| buckets.get(i)) {
        start = previous.upper;
        count -= previous.count;
        rank -= previous.count;
    }
    start + (bucket.upper - start) * (rank / count)
}

/// Buckets are scraped one after the other and summed in floating point: a count below its predecessor's is raised.
fn make_monotonic(buckets: &mut [Bucket]) {
    let Some(first) = buckets.first() else { return };
    let mut previous = first.count;
    for b in buckets.iter_mut().skip(1) {
        if b.count < previous || almost_equal(previous, b.count, TOLERANCE) {
            b.count = previous;
        }
        previous = b.count;
    }
}
