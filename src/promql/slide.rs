//! Ranges that move forward over the samples of one series.

use crate::history::{Point, Thinning};

/// The samples of one range after the other.
pub struct Slide<'p> {
    points: &'p [Point],
    thinning: Thinning,
    /// The range is `from..to`.
    from: usize,
    to: usize,
    /// Places of samples that the one before them does not rise to.
    falls: Vec<usize>,
    /// How many of these lie before the second sample of the range.
    passed: usize,
    /// A thinned range.
    thin: Vec<Point>,
}

impl<'p> Slide<'p> {
    /// Over samples in order of time.
    pub fn new(points: &'p [Point], thinning: Thinning) -> Slide<'p> {
        let falls = match thinning {
            Thinning::Rises => {
                // NaN is neither more nor less than anything.
                let rises = |pair: &[Point]| matches!(pair, [a, b] if a.value <= b.value);
                points.windows(2).enumerate().filter(|(_, pair)| !rises(pair)).map(|(i, _)| i + 1).collect()
            }
            _ => Vec::new(),
        };
        Slide { points, thinning, from: 0, to: 0, falls, passed: 0, thin: Vec::new() }
    }

    /// The samples later than `after` and not later than `until`, without those that thinning leaves out, and how many
    /// there are with them. Neither time may be earlier than at the last call.
    pub fn to(&mut self, after: i64, until: i64) -> (&[Point], usize) {
        let ahead = |from: usize, time: i64| {
            let rest = self.points.get(from..).unwrap_or(&[]);
            from + rest.iter().take_while(|p| p.time <= time).count()
        };
        self.from = ahead(self.from, after);
        self.to = ahead(self.to.max(self.from), until);
        let all = self.points.get(self.from..self.to).unwrap_or(&[]);
        let [first, between @ .., last] = all else { return (all, all.len()) };
        if between.is_empty() {
            return (all, all.len());
        }
        match self.thinning {
            Thinning::Ends => {
                self.thin.clear();
                self.thin.extend([first, last]);
            }
            Thinning::Rises => {
                let second = self.from + 1;
                self.passed += self.falls.iter().skip(self.passed).take_while(|i| **i < second).count();
                let falls = self.falls.get(self.passed..).unwrap_or(&[]);
                let falls = falls.get(..falls.partition_point(|i| *i < self.to)).unwrap_or(&[]);
                if falls.len() > all.len() / 4 {
                    return (all, all.len());
                }
                self.thin.clear();
                self.thin.push(*first);
                let mut seen = self.from;
                // Both sides of each fall, and the last one.
                for place in falls.iter().flat_map(|i| [i - 1, *i]).chain([self.to - 1]) {
                    if place > seen {
                        seen = place;
                        self.thin.extend(self.points.get(place));
                    }
                }
            }
            _ => return (all, all.len()),
        }
        (&self.thin, all.len())
    }
}
