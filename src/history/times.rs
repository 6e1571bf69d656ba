//! Times of samples: a start, a step, and an exception for each place where the step changes.
//!
//! Ticks lie on a grid, so a chunk's times cost nothing per sample; a missed tick costs some four bytes.

use super::codec::{put_varint, take_varint};

/// Times as they are appended.
#[derive(Clone, Default)]
pub struct Times {
    /// Milliseconds since the epoch.
    pub start: i64,
    pub last: i64,
    pub count: u32,
    /// Between the first two samples; zero until there are two.
    first_step: u32,
    step: u32,
    /// Intervals of the current step since the last exception.
    repeats: u32,
    /// Per exception: how often the step before was repeated, and the new step.
    exceptions: Vec<u8>,
}

impl Times {
    pub fn begin(&mut self, time: i64) {
        self.exceptions.clear();
        *self = Times {
            start: time,
            last: time,
            count: 1,
            exceptions: std::mem::take(&mut self.exceptions),
            ..Times::default()
        };
    }

    /// Whether a sample `step` milliseconds after the last can be appended here.
    pub fn fits(time: i64, last: i64, start: i64) -> bool {
        // Sums of steps stay within what a chunk's header holds.
        time > last && time.saturating_sub(start) <= i64::from(u32::MAX)
    }

    /// Appends a time for which [`Times::fits`] holds.
    #[inline]
    pub fn push(&mut self, time: i64) {
        let step = (time - self.last) as u32;
        self.last = time;
        self.count += 1;
        if step == self.step {
            self.repeats += 1;
        } else if self.count == 2 {
            (self.first_step, self.step, self.repeats) = (step, step, 1);
        } else {
            put_varint(&mut self.exceptions, u64::from(self.repeats));
            put_varint(&mut self.exceptions, u64::from(step));
            (self.step, self.repeats) = (step, 1);
        }
    }

    /// The times that [`Times::write`] wrote, to go on with; nothing where it cannot have written this. Moves `at` past it.
    pub fn restore(start: i64, count: u32, bytes: &[u8], at: &mut usize) -> Option<Times> {
        let first_step = u32::try_from(take_varint(bytes, at)).ok()?;
        let length = usize::try_from(take_varint(bytes, at)).ok()?;
        let end = at.checked_add(length)?;
        let exceptions = bytes.get(*at..end)?;
        *at = end;
        let (mut step, mut repeats, mut span) = (first_step, count.checked_sub(1)?, 0u64);
        let mut place = 0;
        while place < exceptions.len() {
            let before = u32::try_from(take_varint(exceptions, &mut place)).ok().filter(|n| *n > 0)?;
            // The last sample has the last step.
            repeats = repeats.checked_sub(before).filter(|rest| *rest > 0)?;
            span += u64::from(before) * u64::from(step);
            step = u32::try_from(take_varint(exceptions, &mut place)).ok().filter(|s| *s > 0)?;
        }
        span += u64::from(repeats) * u64::from(step);
        let span = u32::try_from(span).ok()?;
        let is_sound = place == exceptions.len() && (first_step > 0) == (count > 1);
        let last = start + i64::from(span);
        is_sound.then(|| Times { start, last, count, first_step, step, repeats, exceptions: exceptions.to_vec() })
    }

    pub fn heap_size(&self) -> usize {
        self.exceptions.capacity()
    }

    pub fn iter(&self) -> TimesIter<'_> {
        TimesIter::new(self.start, self.count, self.first_step, &self.exceptions)
    }

    /// Appends first step and exceptions; returns how many bytes of these are exceptions.
    pub fn write(&self, out: &mut Vec<u8>) {
        put_varint(out, u64::from(self.first_step));
        put_varint(out, self.exceptions.len() as u64);
        out.extend_from_slice(&self.exceptions);
    }

    /// Reads what [`Times::write`] wrote, and moves `at` past it.
    pub fn read<'b>(start: i64, count: u32, bytes: &'b [u8], at: &mut usize) -> TimesIter<'b> {
        let step = take_varint(bytes, at) as u32;
        let length = take_varint(bytes, at) as usize;
        let from = *at;
        *at = from.saturating_add(length);
        TimesIter::new(start, count, step, bytes.get(from..*at).unwrap_or(&[]))
    }
}

/// Iterates over times, in milliseconds.
#[derive(Clone)]
pub struct TimesIter<'b> {
    next: i64,
    left: u32,
    step: u32,
    /// Intervals until the next exception; `u32::MAX` when there is none.
    until: u32,
    exceptions: &'b [u8],
    at: usize,
}

impl<'b> TimesIter<'b> {
    fn new(start: i64, count: u32, step: u32, exceptions: &'b [u8]) -> Self {
        let mut iter = TimesIter { next: start, left: count, step, until: u32::MAX, exceptions, at: 0 };
        iter.load_exception();
        iter
    }

    /// The last time, if all are in order.
    pub fn end_in_order(mut self) -> Option<i64> {
        if self.until == u32::MAX {
            let steps = i64::from(self.left.checked_sub(1)?);
            return (steps == 0 || self.step > 0).then(|| self.next + steps * i64::from(self.step));
        }
        let mut last = self.next()?;
        for time in self {
            if time <= last {
                return None;
            }
            last = time;
        }
        Some(last)
    }

    fn load_exception(&mut self) {
        self.until = match self.at < self.exceptions.len() {
            true => take_varint(self.exceptions, &mut self.at) as u32,
            false => u32::MAX,
        };
    }

    /// Moves past the samples at and before `time` where that is a matter of arithmetic; returns how many these were.
    pub fn skip_through(&mut self, time: i64) -> u32 {
        if self.until != u32::MAX || self.step == 0 || time < self.next {
            return 0;
        }
        let steps = time.saturating_sub(self.next) / i64::from(self.step) + 1;
        let skipped = u32::try_from(steps).unwrap_or(u32::MAX).min(self.left);
        self.left -= skipped;
        self.next += i64::from(skipped) * i64::from(self.step);
        skipped
    }
}

impl Iterator for TimesIter<'_> {
    type Item = i64;

    #[inline]
    fn next(&mut self) -> Option<i64> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let time = self.next;
        if self.until == 0 {
            self.step = take_varint(self.exceptions, &mut self.at) as u32;
            self.load_exception();
        }
        // In a file, a step may be said to be repeated no times.
        self.until = if self.until == u32::MAX { u32::MAX } else { self.until.saturating_sub(1) };
        self.next += i64::from(self.step);
        Some(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_regular_grid_costs_nothing_per_sample() {
        let mut times = Times::default();
        times.begin(1_000);
        for i in 1..1000 {
            times.push(1_000 + i * 1_000);
        }
        assert_eq!(times.heap_size(), 0);
        let mut iter = times.iter();
        assert_eq!(iter.skip_through(500_500), 500);
        assert_eq!(iter.next(), Some(501_000));
    }

    #[test]
    fn steps_that_are_repeated_no_times_do_not_stop_a_reader() {
        // A step of 7, then 0 times, a step of 5, 0 times, a step of 3.
        let bytes = [7, 4, 0, 5, 0, 3];
        assert_eq!(Times::read(0, 5, &bytes, &mut 0).count(), 5);
        assert!(Times::restore(0, 5, &bytes, &mut 0).is_none());
    }

    proptest! {
        #[test]
        fn any_times_come_back(start in -1_000_000i64..1_000_000, steps in prop::collection::vec(
            prop_oneof![Just(1000u32), Just(2000), 1u32..5_000_000], 0..200)) {
            let mut times = Times::default();
            times.begin(start);
            let mut expected = vec![start];
            for s in steps {
                let t = times.last + i64::from(s);
                times.push(t);
                expected.push(t);
            }
            prop_assert_eq!(times.iter().collect::<Vec<_>>(), expected.clone());
            let mut bytes = Vec::new();
            times.write(&mut bytes);
            let mut at = 0;
            let read: Vec<_> = Times::read(start, expected.len() as u32, &bytes, &mut at).collect();
            prop_assert_eq!(read, expected.clone());
            prop_assert_eq!(at, bytes.len());
            let mut restored = Times::restore(start, expected.len() as u32, &bytes, &mut 0).unwrap();
            for step in [1000, 1000, 7] {
                times.push(times.last + step);
                restored.push(restored.last + step);
            }
            prop_assert_eq!(restored.iter().collect::<Vec<_>>(), times.iter().collect::<Vec<_>>());
        }
    }
}
