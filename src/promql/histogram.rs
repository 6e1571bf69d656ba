//! Classic histograms: series of buckets, each counting what is not above its label `le`.

use hashbrown::HashMap;

use super::annotations::{Annotations, Place, Raised, general};
use super::math::almost_equal;
use super::value::Sample;
use crate::model::{Labels, Timestamp};

/// Relative differences between counts of neighbouring buckets that are taken for rounding errors.
const TOLERANCE: f64 = 1e-12;

/// The label of a bucket's upper bound.
const BOUND: &str = "le";

#[derive(Clone, Copy)]
struct Bucket {
    upper: f64,
    count: f64,
}

/// A histogram, by the labels of its result.
pub struct Histogram {
    pub labels: Labels,
    /// In order of their bounds; of each bound one.
    buckets: Vec<Bucket>,
}

/// The histograms in a vector. Elements without a label `le` that is a number are left out, and told.
pub fn histograms(vector: &[Sample], annotations: &mut Annotations, place: Place) -> Vec<Histogram> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut found: Vec<Histogram> = Vec::new();
    for s in vector {
        let bound = s.labels.get(BOUND);
        let Some(upper) = bound.parse::<f64>().ok().filter(|b| !b.is_nan()) else {
            annotations.bad_bucket_label(bound, place);
            continue;
        };
        // Histograms of two names are two, though the results bear no name.
        let key = Labels::from_pairs(s.labels.iter().filter(|(name, _)| *name != BOUND));
        let place = *places.entry(key).or_insert_with_key(|key| {
            found.push(Histogram { labels: key.without_name(), buckets: Vec::new() });
            found.len() - 1
        });
        if let Some(histogram) = found.get_mut(place) {
            histogram.buckets.push(Bucket { upper, count: s.value });
        }
    }
    for histogram in &mut found {
        histogram.buckets.sort_by(|a, b| a.upper.partial_cmp(&b.upper).unwrap_or(std::cmp::Ordering::Equal));
        histogram.buckets.dedup_by(|later, earlier| {
            let same = later.upper == earlier.upper;
            if same {
                earlier.count += later.count;
            }
            same
        });
    }
    found
}

impl Histogram {
    /// The quantile `q`; and how far counts had to be raised for it, where a bucket counts less than one below it.
    pub fn quantile(&self, q: f64) -> (f64, Option<Raised>) {
        if q.is_nan() {
            return (f64::NAN, None);
        }
        if q < 0.0 {
            return (f64::NEG_INFINITY, None);
        }
        if q > 1.0 {
            return (f64::INFINITY, None);
        }
        if self.buckets.last().is_none_or(|b| b.upper != f64::INFINITY) {
            return (f64::NAN, None);
        }
        let mut buckets = self.buckets.clone();
        let raised = make_monotonic(&mut buckets);
        (rank(q, &buckets), raised)
    }

    /// Which part of the observations lies between two values.
    pub fn fraction(&self, lower: f64, upper: f64) -> f64 {
        let Some(last) = self.buckets.last().filter(|b| b.upper == f64::INFINITY) else { return f64::NAN };
        let count = last.count;
        if count == 0.0 || lower.is_nan() || upper.is_nan() {
            return f64::NAN;
        }
        if lower >= upper {
            return 0.0;
        }
        let below = |value: f64| self.rank_below(value).filter(|r| *r <= count || r.is_nan()).unwrap_or(count);
        (below(upper) - below(lower)) / count
    }

    /// How many observations are below the value; none where it is above all buckets.
    fn rank_below(&self, value: f64) -> Option<f64> {
        let starts_above_zero = self.buckets.first().is_some_and(|b| b.upper > 0.0);
        let mut start = if starts_above_zero { 0.0 } else { f64::NEG_INFINITY };
        let mut rank = 0.0;
        for bucket in &self.buckets {
            if start >= value {
                return Some(rank);
            }
            if bucket.upper > value {
                // In a bucket without end there is nothing to interpolate between.
                if start == f64::NEG_INFINITY {
                    return Some(bucket.count);
                }
                return Some(rank + (bucket.count - rank) * (value - start) / (bucket.upper - start));
            }
            (start, rank) = (bucket.upper, bucket.count);
        }
        None
    }
}

fn rank(q: f64, buckets: &[Bucket]) -> f64 {
    let [.., before_last, last] = buckets else { return f64::NAN };
    let observations = last.count;
    if observations == 0.0 {
        return f64::NAN;
    }
    let mut rank = q * observations;
    let finite = buckets.get(..buckets.len() - 1).unwrap_or(&[]);
    // A search by halves, as Prometheus': where counts are NaN it matters which are looked at.
    let b = finite.partition_point(|b| !matches!(b.count.partial_cmp(&rank), Some(o) if o.is_ge()));
    let Some(bucket) = finite.get(b) else { return before_last.upper };
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
/// What is no rounding error is told.
fn make_monotonic(buckets: &mut [Bucket]) -> Option<Raised> {
    let mut previous = buckets.first()?.count;
    let mut raised: Option<Raised> = None;
    for b in buckets.iter_mut().skip(1) {
        if b.count == previous {
            continue;
        }
        let rounding = almost_equal(previous, b.count, TOLERANCE);
        if !rounding && b.count < previous {
            let most = previous - b.count;
            let all = raised.get_or_insert(Raised { lowest: b.upper, highest: b.upper, most });
            all.lowest = all.lowest.min(b.upper);
            all.highest = all.highest.max(b.upper);
            all.most = all.most.max(most);
        }
        if rounding || b.count < previous {
            b.count = previous;
        } else {
            previous = b.count;
        }
    }
    raised
}

/// Quantiles of each histogram, told of where it had to be mended.
pub fn quantiles(
    q: f64,
    histograms: &[Histogram],
    time: Timestamp,
    annotations: &mut Annotations,
    place: Place,
) -> Vec<Sample> {
    let of = |h: &Histogram| {
        let (value, raised) = h.quantile(q);
        if let Some(raised) = raised {
            annotations.forced_monotonicity(raised, time, place);
        }
        Sample { labels: h.labels.clone(), value, time }
    };
    histograms.iter().map(of).collect()
}

/// A quantile as a label's value, as OpenMetrics writes it: whole numbers with `.0`.
pub fn openmetrics_float(value: f64) -> String {
    // Without the sign of -0.
    let text = general(if value == 0.0 { 0.0 } else { value }, None);
    if !value.is_finite() || text.contains(['e', '.']) { text } else { text + ".0" }
}
