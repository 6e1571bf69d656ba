//! Numerics that several functions share, as Prometheus does them.

/// A sum with Neumaier's compensation: exact where plain addition loses digits.
#[derive(Clone, Copy, Default, Debug)]
pub struct KahanSum {
    pub sum: f64,
    pub compensation: f64,
}

impl KahanSum {
    /// A sum that begins with its first term: of -0 alone it is -0.
    pub fn of(first: f64) -> KahanSum {
        KahanSum { sum: first, compensation: 0.0 }
    }

    #[inline]
    pub fn add(&mut self, x: f64) {
        let t = self.sum + x;
        if t.is_infinite() {
            self.compensation = 0.0;
        } else if self.sum.abs() >= x.abs() {
            self.compensation += (self.sum - t) + x;
        } else {
            self.compensation += (x - t) + self.sum;
        }
        self.sum = t;
    }

    pub fn total(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.compensation }
    }
}

/// A mean: a sum while it does not overflow, incremental from then on.
#[derive(Clone, Copy, Default, Debug)]
pub struct Mean {
    sum: KahanSum,
    count: f64,
    incremental: bool,
}

impl Mean {
    pub fn of(first: f64) -> Mean {
        let mut mean = Mean::default();
        mean.add(first);
        mean
    }

    #[inline]
    pub fn add(&mut self, x: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.sum = KahanSum::of(x);
            return;
        }
        if !self.incremental {
            let mut next = self.sum;
            next.add(x);
            if !next.sum.is_infinite() {
                self.sum = next;
                return;
            }
            self.incremental = true;
            self.sum.sum /= self.count - 1.0;
            self.sum.compensation /= self.count - 1.0;
        }
        let q = (self.count - 1.0) / self.count;
        self.sum.sum *= q;
        self.sum.compensation *= q;
        self.sum.add(x / self.count);
    }

    pub fn value(self) -> f64 {
        if self.incremental {
            self.sum.sum + self.sum.compensation
        } else {
            self.sum.sum / self.count + self.sum.compensation / self.count
        }
    }
}

/// Population variance by Welford's method.
#[derive(Clone, Copy, Default, Debug)]
pub struct Variance {
    count: f64,
    mean: KahanSum,
    squares: KahanSum,
}

impl Variance {
    pub fn add(&mut self, x: f64) {
        self.count += 1.0;
        let delta = x - (self.mean.sum + self.mean.compensation);
        self.mean.add(delta / self.count);
        self.squares.add(delta * (x - (self.mean.sum + self.mean.compensation)));
    }

    pub fn value(self) -> f64 {
        (self.squares.sum + self.squares.compensation) / self.count
    }
}

/// Population variance of a group's values: as [`Variance`], without compensation.
#[derive(Clone, Copy, Debug)]
pub struct GroupVariance {
    count: f64,
    mean: f64,
    squares: f64,
}

impl GroupVariance {
    pub fn of(first: f64) -> GroupVariance {
        GroupVariance { count: 1.0, mean: first, squares: if first.is_finite() { 0.0 } else { f64::NAN } }
    }

    pub fn add(&mut self, x: f64) {
        self.count += 1.0;
        let delta = x - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (x - self.mean);
    }

    pub fn value(self) -> f64 {
        self.squares / self.count
    }
}

/// 180 / pi and its inverse, to the nearest.
pub const DEGREES: f64 = 57.295_779_513_082_32;
pub const RADIANS: f64 = 0.017_453_292_519_943_295;

/// The larger, as Go has it: NaN if either is, but infinity beats it; 0 is more than -0.
pub fn max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { b } else { a }
    } else if a > b {
        a
    } else {
        b
    }
}

/// The smaller, as Go has it: NaN if either is, but negative infinity beats it; -0 is less than 0.
pub fn min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { a } else { b }
    } else if a < b {
        a
    } else {
        b
    }
}

/// Milliseconds as seconds, as Go does it: whole ones and the rest by themselves.
pub fn seconds(millis: i64) -> f64 {
    (millis / 1000) as f64 + ((millis % 1000) * 1_000_000) as f64 / 1e9
}

/// Order with NaN before everything else.
pub fn nan_first(a: &f64, b: &f64) -> std::cmp::Ordering {
    a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// The quantile `q` of the values, interpolated between neighbours; the values are sorted on the way.
pub fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_unstable_by(nan_first);
    let rank = q * (values.len() - 1) as f64;
    let lower = (rank.floor() as usize).min(values.len() - 1);
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    if weight == 0.0 {
        return values[lower];
    }
    values[lower] * (1.0 - weight) + values[upper] * weight
}

/// Whether two numbers differ by no more than `epsilon` in proportion, as Prometheus' `almost.Equal` has it.
pub fn almost_equal(a: f64, b: f64, epsilon: f64) -> bool {
    // Smaller than this a number is as good as zero.
    const MIN_NORMAL: f64 = f64::MIN_POSITIVE;
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    if a == b {
        return true;
    }
    let size = a.abs() + b.abs();
    let difference = (a - b).abs();
    if a == 0.0 || b == 0.0 || size < MIN_NORMAL {
        return difference < epsilon * MIN_NORMAL;
    }
    difference / size.min(f64::MAX) < epsilon
}

/// A value as text: all digits, no exponent.
pub fn format_value(value: f64) -> String {
    match value {
        v if v.is_nan() => "NaN".into(),
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        v => v.to_string(),
    }
}
