//! Sealed chunks: some hundreds of samples of one series, compressed by whichever encoding is the shortest.
//!
//! Values are one of
//! - *constant*: eight bytes for all of them;
//! - *integers*: the values are whole multiples of `1 / 10^exponent`; the residuals (first differences less a base,
//!   or second differences), divided by their common divisor, are written in a prefix code of four lengths which are
//!   chosen for this chunk;
//! - *floats*: each is XORed with the one before, and what differs is written (Facebook's Gorilla, section 4.1.2).
//!
//! All are exact to the bit, for NaN's payloads and negative zero too.

use super::codec::{BitReader, BitWriter, put_varint, take_varint, unzigzag, zigzag};
use super::decimal;
use super::times::{Times, TimesIter};

const CONSTANT: u8 = 0;
const INTEGERS: u8 = 1;
const INTEGERS_SECOND: u8 = 2;
const FLOATS: u8 = 3;

/// A sealed chunk.
#[derive(Clone)]
pub struct Chunk {
    /// Time of the first sample, milliseconds since the epoch.
    pub start: i64,
    /// Milliseconds from the first to the last sample.
    span: u32,
    pub count: u16,
    /// By which mark the file is known that it stands in on the disk; 0 for none.
    pub file: u16,
    data: Box<[u8]>,
}

/// No chunk has more samples, by far: a head is sealed before.
pub(super) const MOST_SAMPLES: u32 = 8192;
/// Times in files are within some 30 million years of the epoch: sums of them do not overflow.
pub(super) const LATEST: i64 = 1 << 60;

/// The values of a chunk that is to be sealed.
pub enum Column<'v> {
    Constant(u64),
    Integers { exponent: u8, values: &'v [i64] },
    Floats(&'v [f64]),
}

impl Chunk {
    /// `out` is scratch space.
    pub fn seal(times: &Times, column: Column<'_>, out: &mut Vec<u8>) -> Chunk {
        out.clear();
        out.push(CONSTANT);
        times.write(out);
        match column {
            Column::Constant(bits) => out.extend_from_slice(&bits.to_le_bytes()),
            Column::Integers { exponent, values } => out[0] = write_integers(exponent, values, out),
            Column::Floats(values) => {
                out[0] = FLOATS;
                write_floats(values, out);
            }
        }
        Chunk {
            start: times.start,
            span: (times.last - times.start) as u32,
            count: times.count as u16,
            file: 0,
            data: out.as_slice().into(),
        }
    }

    /// Appends the chunk as [`Chunk::read`] reads it.
    pub fn write(&self, out: &mut Vec<u8>) {
        put_varint(out, zigzag(self.start));
        put_varint(out, u64::from(self.span));
        put_varint(out, u64::from(self.count));
        out.extend_from_slice(&self.data);
    }

    /// A chunk that [`Chunk::write`] wrote; nothing where it cannot be one.
    pub fn read(bytes: &[u8]) -> Option<Chunk> {
        let mut at = 0;
        let start = unzigzag(take_varint(bytes, &mut at));
        let span = u32::try_from(take_varint(bytes, &mut at)).ok()?;
        let count = u32::try_from(take_varint(bytes, &mut at)).ok().filter(|n| (1..=MOST_SAMPLES).contains(n))?;
        let chunk = Chunk { start, span, count: count as u16, file: 0, data: bytes.get(at..)?.into() };
        let mut at = 1;
        let is_sound = start.abs() <= LATEST
            && chunk.data.first().is_some_and(|kind| *kind <= FLOATS)
            && Times::read(start, count, &chunk.data, &mut at).end_in_order() == Some(chunk.end());
        is_sound.then_some(chunk)
    }

    /// Time of the last sample.
    pub fn end(&self) -> i64 {
        self.start + i64::from(self.span)
    }

    /// Bytes it takes, with those that the allocator adds.
    pub fn size(&self) -> usize {
        size_of::<Chunk>() + self.data.len() + 8
    }

    pub fn iter(&self) -> ChunkIter<'_> {
        let mut at = 1;
        let times = Times::read(self.start, self.count.into(), &self.data, &mut at);
        let rest = self.data.get(at..).unwrap_or(&[]);
        let values = match self.data.first() {
            Some(&INTEGERS) => Values::Integers(Integers::read(rest, false)),
            Some(&INTEGERS_SECOND) => Values::Integers(Integers::read(rest, true)),
            Some(&FLOATS) => Values::Floats(Floats::read(rest)),
            _ => Values::Constant(f64::from_le_bytes(rest.first_chunk().copied().unwrap_or_default())),
        };
        ChunkIter { times, values }
    }
}

/// Iterates over a chunk's times and values.
pub struct ChunkIter<'b> {
    times: TimesIter<'b>,
    values: Values<'b>,
}

enum Values<'b> {
    Constant(f64),
    Integers(Integers<'b>),
    Floats(Floats<'b>),
}

impl Values<'_> {
    #[inline]
    fn next(&mut self) -> f64 {
        match self {
            Values::Constant(v) => *v,
            Values::Integers(i) => i.next(),
            Values::Floats(f) => f.next(),
        }
    }
}

impl ChunkIter<'_> {
    /// Gives `take` the samples later than `after`, in order, until it returns false.
    pub fn read(self, after: i64, take: impl FnMut(i64, f64) -> bool) -> bool {
        // One loop for each encoding, rather than one that asks at every sample.
        match self.values {
            Values::Constant(v) => drive(self.times, after, || v, take),
            Values::Integers(mut i) => drive(self.times, after, || i.next(), take),
            Values::Floats(mut f) => drive(self.times, after, || f.next(), take),
        }
    }
}

/// Pairs times later than `after` with values until `take` returns false; says whether it never did.
#[inline]
pub(super) fn drive(
    mut times: TimesIter<'_>,
    after: i64,
    mut next: impl FnMut() -> f64,
    mut take: impl FnMut(i64, f64) -> bool,
) -> bool {
    for _ in 0..times.skip_through(after) {
        next();
    }
    for time in times {
        let value = next();
        if time > after && !take(time, value) {
            return false;
        }
    }
    true
}

impl Iterator for ChunkIter<'_> {
    type Item = (i64, f64);

    #[inline]
    fn next(&mut self) -> Option<(i64, f64)> {
        let time = self.times.next()?;
        Some((time, self.values.next()))
    }
}

/// How residuals are written: `0`, `10`, `110` or `111`, then as many bits as the class has.
#[derive(Clone, Copy)]
struct Code {
    widths: [u8; 4],
    /// Bits for all residuals.
    cost: u64,
}

impl Code {
    /// The cheapest code; `lengths[n]` residuals need `n` bits.
    fn choose(lengths: &[u32; 65]) -> Code {
        let longest = lengths.iter().rposition(|n| *n > 0).unwrap_or(0);
        let mut below = [0u64; 66];
        for (i, n) in lengths.iter().enumerate() {
            below[i + 1] = below[i] + u64::from(*n);
        }
        let through = |width: usize| below[width + 1];
        let all = through(longest);
        let mut best = Code { widths: [longest as u8; 4], cost: u64::MAX };
        let mut consider = |a: usize, b: usize, c: usize| {
            let cost = through(a) * (1 + a as u64)
                + (through(b) - through(a)) * (2 + b as u64)
                + (through(c) - through(b)) * (3 + c as u64)
                + (all - through(c)) * (3 + longest as u64);
            if cost < best.cost {
                best = Code { widths: [a as u8, b as u8, c as u8, longest as u8], cost };
            }
        };
        // Only lengths that occur are worth a class.
        let used = |width: &usize| lengths[*width] > 0;
        for a in (0..=longest).filter(used) {
            for b in (a..=longest).filter(used) {
                for c in (b..=longest).filter(used) {
                    consider(a, b, c);
                }
            }
        }
        best
    }

    fn put(&self, out: &mut BitWriter<'_>, residual: u64) {
        let [a, b, c, d] = self.widths.map(u32::from);
        let length = 64 - residual.leading_zeros();
        if length <= a {
            out.put(0, 1);
            out.put(residual, a);
        } else if length <= b {
            out.put(0b10, 2);
            out.put(residual, b);
        } else if length <= c {
            out.put(0b110, 3);
            out.put(residual, c);
        } else {
            out.put(0b111, 3);
            out.put(residual, d);
        }
    }
}

fn lengths_of(residuals: impl Iterator<Item = i64>) -> [u32; 65] {
    let mut lengths = [0; 65];
    for r in residuals {
        lengths[64 - zigzag(r).leading_zeros() as usize] += 1;
    }
    lengths
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Differences of neighbours. The values are below 2^53, so nothing here overflows.
fn differences(values: &[i64]) -> impl Iterator<Item = i64> + '_ {
    values.windows(2).map(|w| w[1] - w[0])
}

/// Writes all values; returns which kind it chose.
fn write_integers(exponent: u8, values: &[i64], out: &mut Vec<u8>) -> u8 {
    let first = values.first().copied().unwrap_or(0);
    let divisor =
        differences(values).fold(0, |g, d| if g == 1 { 1 } else { greatest_common_divisor(g, d.unsigned_abs()) });
    let divisor = divisor.max(1) as i64;
    let steps = || differences(values).map(|d| d / divisor);
    let count = values.len().saturating_sub(1) as i64;
    let mean = if count > 0 { (values[values.len() - 1] - first) / divisor / count } else { 0 };
    let seconds = || {
        let mut before = 0;
        steps().map(move |d| d - std::mem::replace(&mut before, d))
    };
    let plain = Code::choose(&lengths_of(steps()));
    let based = Code::choose(&lengths_of(steps().map(|d| d - mean)));
    let second = Code::choose(&lengths_of(seconds()));

    out.push(exponent);
    put_varint(out, divisor as u64);
    put_varint(out, zigzag(first));
    let (kind, base, code) = if second.cost < plain.cost.min(based.cost) {
        (INTEGERS_SECOND, 0, second)
    } else if based.cost < plain.cost {
        (INTEGERS, mean, based)
    } else {
        (INTEGERS, 0, plain)
    };
    put_varint(out, zigzag(base));
    out.extend_from_slice(&code.widths);
    let mut bits = BitWriter::new(out);
    if kind == INTEGERS_SECOND {
        seconds().for_each(|r| code.put(&mut bits, zigzag(r)));
    } else {
        steps().for_each(|d| code.put(&mut bits, zigzag(d - base)));
    }
    bits.finish();
    kind
}

struct Integers<'b> {
    power: f64,
    divisor: i64,
    base: i64,
    second: bool,
    widths: [u8; 4],
    value: i64,
    step: i64,
    started: bool,
    bits: BitReader<'b>,
}

impl<'b> Integers<'b> {
    fn read(bytes: &'b [u8], second: bool) -> Self {
        let mut at = 1;
        let divisor = take_varint(bytes, &mut at) as i64;
        let value = unzigzag(take_varint(bytes, &mut at));
        let base = unzigzag(take_varint(bytes, &mut at));
        let widths = bytes.get(at..).and_then(|b| b.first_chunk()).copied().unwrap_or_default();
        Integers {
            power: decimal::power(bytes.first().copied().unwrap_or(0)),
            divisor,
            base,
            second,
            widths,
            value,
            step: 0,
            started: false,
            bits: BitReader::new(bytes.get(at + 4..).unwrap_or(&[])),
        }
    }

    #[inline]
    fn next(&mut self) -> f64 {
        if self.started {
            let word = self.bits.peek();
            let class = (word.leading_ones() as usize).min(3);
            let (prefix, width) = ((class as u32 + 1).min(3), u32::from(self.widths[class]));
            let residual = if width == 0 {
                self.bits.skip(prefix);
                0
            } else if prefix + width <= 57 {
                // One look at the stream for both, as nearly always.
                self.bits.skip(prefix + width);
                (word << prefix) >> (64 - width)
            } else {
                self.bits.skip(prefix);
                self.bits.take(width)
            };
            let residual = unzigzag(residual);
            self.step = if self.second { self.step.wrapping_add(residual) } else { self.base.wrapping_add(residual) };
            self.value = self.value.wrapping_add(self.step.wrapping_mul(self.divisor));
        }
        self.started = true;
        self.value as f64 / self.power
    }
}

fn write_floats(values: &[f64], out: &mut Vec<u8>) {
    let Some((first, rest)) = values.split_first() else { return };
    let mut previous = first.to_bits();
    out.extend_from_slice(&previous.to_le_bytes());
    let mut bits = BitWriter::new(out);
    let (mut leading, mut length) = (u32::MAX, 0);
    for value in rest {
        let xor = value.to_bits() ^ previous;
        previous = value.to_bits();
        if xor == 0 {
            bits.put(0, 1);
            continue;
        }
        let (zeros, end) = (xor.leading_zeros().min(31), xor.trailing_zeros());
        let needed = 64 - zeros - end;
        let window_end = 64u32.saturating_sub(leading.saturating_add(length));
        // The last window is used again while a new one would not pay for its eleven bits.
        if leading != u32::MAX && zeros >= leading && end >= window_end && length < needed + 11 {
            bits.put(0b10, 2);
            bits.put(xor >> window_end, length);
        } else {
            (leading, length) = (zeros, needed);
            bits.put(0b11, 2);
            bits.put(u64::from(leading), 5);
            bits.put(u64::from(length - 1), 6);
            bits.put(xor >> end, length);
        }
    }
    bits.finish();
}

struct Floats<'b> {
    value: u64,
    started: bool,
    leading: u32,
    length: u32,
    bits: BitReader<'b>,
}

impl<'b> Floats<'b> {
    fn read(bytes: &'b [u8]) -> Self {
        let value = u64::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default());
        let bits = BitReader::new(bytes.get(8..).unwrap_or(&[]));
        Floats { value, started: false, leading: 0, length: 0, bits }
    }

    #[inline]
    fn next(&mut self) -> f64 {
        if self.started && self.bits.take(1) == 1 {
            if self.bits.take(1) == 1 {
                self.leading = self.bits.take(5) as u32;
                self.length = self.bits.take(6) as u32 + 1;
            }
            let end = 64u32.saturating_sub(self.leading + self.length);
            self.value ^= self.bits.take(self.length) << end;
        }
        self.started = true;
        f64::from_bits(self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn times(count: usize) -> Times {
        let mut times = Times::default();
        times.begin(0);
        (1..count).for_each(|i| times.push(i as i64 * 1000));
        times
    }

    fn values(chunk: &Chunk) -> Vec<u64> {
        chunk.iter().map(|(_, v)| v.to_bits()).collect()
    }

    proptest! {
        #[test]
        fn floats_of_any_kind_come_back_to_the_bit(bits in prop::collection::vec(
            prop_oneof![any::<u64>(), Just((-0.0f64).to_bits()), Just(0x7ff0_0000_0000_0002),
                        any::<f64>().prop_map(f64::to_bits), (0u32..5).prop_map(|v| f64::from(v).to_bits())], 1..100)) {
            let floats: Vec<f64> = bits.iter().map(|b| f64::from_bits(*b)).collect();
            let chunk = Chunk::seal(&times(floats.len()), Column::Floats(&floats), &mut Vec::new());
            prop_assert_eq!(values(&chunk), bits);
        }

        #[test]
        fn integers_come_back_to_the_bit(exponent in 0u8..=6, scale in 1i64..5000, start in -9_000_000_000_000_000i64..9_000_000_000_000_000,
                                         steps in prop::collection::vec(prop_oneof![Just(0i64), -10i64..10, -100_000i64..1_000_000], 0..200)) {
            let mut integers = vec![start];
            for s in steps {
                integers.push((integers[integers.len() - 1] + s * scale).clamp(-9_007_199_254_740_991, 9_007_199_254_740_991));
            }
            let expected: Vec<u64> = integers.iter().map(|i| (*i as f64 / decimal::power(exponent)).to_bits()).collect();
            let chunk = Chunk::seal(&times(integers.len()), Column::Integers { exponent, values: &integers }, &mut Vec::new());
            prop_assert_eq!(values(&chunk), expected);
        }
    }

    #[test]
    fn a_steady_counter_takes_about_a_bit_a_sample() {
        let integers: Vec<i64> = (0..240).map(|i| i * 100 + 7).collect();
        let column = Column::Integers { exponent: 2, values: &integers };
        let chunk = Chunk::seal(&times(240), column, &mut Vec::new());
        assert!(chunk.data.len() < 50, "{}", chunk.data.len());
        let mut read = Vec::new();
        chunk.iter().read(100_000, |t, v| {
            read.push((t, v));
            t < 102_000
        });
        assert_eq!(read, [(101_000, 101.07), (102_000, 102.07)]);
    }
}
