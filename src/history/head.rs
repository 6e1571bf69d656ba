//! The open end of a series: cheap to append to, small, and free for as long as the value does not change.
//!
//! Values are kept as a stream of bytes, at first of differences of integers (see [`decimal`](super::decimal)), and
//! as differing bytes of floats once a value comes that is no short decimal number. Equal neighbours are counted.

use super::chunk::{Chunk, Column, LATEST, MOST_SAMPLES, drive};
use super::codec::{put_varint, take_varint, unzigzag, zigzag};
use super::decimal;
use super::times::{Times, TimesIter};

/// A head is sealed when its stream has this many bytes; see also [`Head::is_full`].
const SEAL_INTEGER_BYTES: usize = 384;
const SEAL_FLOAT_BYTES: usize = 768;
/// A head is sealed at this many samples, so that a constant series, too, can be forgotten piece by piece.
const SEAL_SAMPLES: u32 = 1800;

/// What [`decimal::to_integer`] gives is not larger: differences do not overflow.
const MOST_INTEGER: u64 = 1 << 53;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// All values have the same bits.
    Constant,
    Integers {
        exponent: u8,
    },
    Floats,
}

/// The newest samples of a series.
#[derive(Clone)]
pub struct Head {
    times: Times,
    mode: Mode,
    first: u64,
    last: u64,
    /// The last value as an integer, in `Mode::Integers`.
    integer: i64,
    /// Values equal to the one before that are not in the stream yet.
    equal: u32,
    stream: Vec<u8>,
}

impl Default for Head {
    fn default() -> Head {
        Head {
            times: Times::default(),
            mode: Mode::Constant,
            first: 0,
            last: 0,
            integer: 0,
            equal: 0,
            stream: Vec::new(),
        }
    }
}

/// Buffers for sealing, shared by all heads.
#[derive(Default)]
pub struct Scratch {
    integers: Vec<i64>,
    floats: Vec<f64>,
    bytes: Vec<u8>,
}

impl Head {
    /// Samples in the head.
    pub fn len(&self) -> u32 {
        self.times.count
    }

    pub fn is_empty(&self) -> bool {
        self.times.count == 0
    }

    /// Time of the first sample, milliseconds since the epoch.
    pub fn start(&self) -> i64 {
        self.times.start
    }

    /// The newest sample; meaningless when the head is empty.
    #[inline]
    pub fn last(&self) -> (i64, f64) {
        (self.times.last, f64::from_bits(self.last))
    }

    /// Bytes on the heap.
    pub fn heap_size(&self) -> usize {
        self.stream.capacity() + self.times.heap_size()
    }

    /// Whether it is time to seal. `salt` spreads the series over time, so that they are not all sealed in one tick.
    #[inline]
    pub fn is_full(&self, salt: u32) -> bool {
        let spread = (salt.wrapping_mul(61) % 128) as usize;
        let bytes = match self.mode {
            Mode::Constant => usize::MAX,
            Mode::Integers { .. } => SEAL_INTEGER_BYTES + spread,
            Mode::Floats => SEAL_FLOAT_BYTES + spread,
        };
        self.times.count >= SEAL_SAMPLES - 4 * spread as u32 || self.stream.len() >= bytes
    }

    /// Whether a sample of this time can be appended before the head is sealed; it is later than the last.
    #[inline]
    pub fn fits(&self, time: i64) -> bool {
        self.times.count == 0 || Times::fits(time, self.times.last, self.times.start)
    }

    /// Appends a sample that [`Head::fits`].
    #[inline]
    pub fn push(&mut self, time: i64, value: f64) {
        if self.times.count == 0 {
            self.times.begin(time);
            self.mode = Mode::Constant;
            self.first = value.to_bits();
            self.last = value.to_bits();
            self.equal = 0;
            self.stream.clear();
            return;
        }
        self.times.push(time);
        if value.to_bits() == self.last {
            self.equal += 1;
        } else {
            self.push_changed(value);
        }
    }

    fn push_changed(&mut self, value: f64) {
        loop {
            match self.mode {
                Mode::Constant => self.leave_constant(value),
                Mode::Integers { exponent } => match decimal::to_integer(value, exponent) {
                    Some(integer) => {
                        self.flush_equal();
                        put_varint(&mut self.stream, zigzag(integer - self.integer));
                        self.integer = integer;
                        self.last = value.to_bits();
                        return;
                    }
                    None => self.recode(value, exponent),
                },
                Mode::Floats => {
                    self.flush_equal();
                    put_float(&mut self.stream, value.to_bits() ^ self.last);
                    self.last = value.to_bits();
                    return;
                }
            }
        }
    }

    /// Chooses the mode that holds the value so far and this one.
    fn leave_constant(&mut self, value: f64) {
        let first = f64::from_bits(self.first);
        self.mode = Mode::Floats;
        if let Some(exponent) = decimal::exponent_of(first, 0).and_then(|e| decimal::exponent_of(value, e))
            && let Some(integer) = decimal::to_integer(first, exponent)
        {
            self.mode = Mode::Integers { exponent };
            self.integer = integer;
        }
    }

    /// Writes the stream anew with more decimals, or as floats, because `value` does not fit.
    #[cold]
    fn recode(&mut self, value: f64, exponent: u8) {
        let count = self.times.count.saturating_sub(1) as usize;
        let mut all = self.values();
        let values: Vec<f64> = (0..count).map(|_| all.advance()).collect();
        self.mode = decimal::exponent_of(value, exponent + 1)
            .filter(|e| values.iter().all(|v| decimal::to_integer(*v, *e).is_some()))
            .map_or(Mode::Floats, |exponent| Mode::Integers { exponent });
        self.stream.clear();
        self.equal = 0;
        self.last = self.first;
        if let Mode::Integers { exponent } = self.mode {
            self.integer = decimal::to_integer(f64::from_bits(self.first), exponent).unwrap_or(0);
        }
        for v in values.get(1..).unwrap_or(&[]) {
            if v.to_bits() == self.last {
                self.equal += 1;
            } else {
                self.push_changed(*v);
            }
        }
    }

    fn flush_equal(&mut self) {
        if self.equal > 0 {
            self.stream.push(0);
            put_varint(&mut self.stream, u64::from(self.equal));
            self.equal = 0;
        }
    }

    /// Makes a chunk of the head's samples, and the head empty.
    pub fn seal(&mut self, scratch: &mut Scratch) -> Chunk {
        let count = self.times.count as usize;
        let column = match self.mode {
            Mode::Constant => Column::Constant(self.first),
            Mode::Integers { exponent } => {
                scratch.integers.clear();
                let mut values = self.values();
                scratch.integers.extend((0..count).map(|_| {
                    values.advance();
                    values.integer
                }));
                Column::Integers { exponent, values: &scratch.integers }
            }
            Mode::Floats => {
                scratch.floats.clear();
                let mut values = self.values();
                scratch.floats.extend((0..count).map(|_| values.advance()));
                Column::Floats(&scratch.floats)
            }
        };
        let chunk = Chunk::seal(&self.times, column, &mut scratch.bytes);
        self.times.count = 0;
        self.stream.clear();
        chunk
    }

    /// Gives back what an idle head holds on the heap.
    pub fn release(&mut self) {
        *self = Head::default();
    }

    fn values(&self) -> HeadValues<'_> {
        HeadValues::new(self.mode, self.first, &self.stream)
    }

    /// Appends the head as [`Head::read`] reads it.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(match self.mode {
            Mode::Constant => 0,
            Mode::Floats => 1,
            Mode::Integers { exponent } => exponent + 2,
        });
        out.extend_from_slice(&self.first.to_le_bytes());
        put_varint(out, zigzag(self.times.start));
        put_varint(out, u64::from(self.times.count));
        self.times.write(out);
        out.extend_from_slice(&self.stream);
    }

    /// The samples of a head that [`Head::write`] wrote; nothing where it cannot be one.
    pub fn read(bytes: &[u8]) -> Option<HeadIter<'_>> {
        let mut at = 0;
        let (mode, first, start, count) = Head::read_begin(bytes, &mut at)?;
        let times = Times::read(start, count, bytes, &mut at);
        Some(HeadIter { times, values: HeadValues::new(mode, first, bytes.get(at..)?) })
    }

    /// The head that [`Head::write`] wrote, to go on with; nothing where it is not what that writes. What [`Head::read`]
    /// makes of such a one can still be appended, sample by sample.
    pub fn restore(bytes: &[u8]) -> Option<Head> {
        let mut at = 0;
        let (mode, first, start, count) = Head::read_begin(bytes, &mut at)?;
        let times = Times::restore(start, count, bytes, &mut at)?;
        let stream = bytes.get(at..)?;
        if matches!(mode, Mode::Integers { exponent } if decimal::to_integer(f64::from_bits(first), exponent).is_none())
        {
            return None;
        }
        let mut values = HeadValues::new(mode, first, stream);
        // The first stands before the stream; what comes after it is like its last.
        values.equal = 0;
        let mut written = 1;
        while values.at < stream.len() {
            values.advance();
            written = std::mem::take(&mut values.equal).saturating_add(written + 1);
            if written > u64::from(count) || values.integer.unsigned_abs() > MOST_INTEGER {
                return None;
            }
        }
        let is_whole = values.at == stream.len() && (mode != Mode::Constant || stream.is_empty());
        let equal = count - u32::try_from(written).ok()?;
        let (last, integer) = (values.bits, values.integer);
        is_whole.then(|| Head { times, mode, first, last, integer, equal, stream: stream.to_vec() })
    }

    /// Mode, first value, first time and number of samples.
    fn read_begin(bytes: &[u8], at: &mut usize) -> Option<(Mode, u64, i64, u32)> {
        let mode = match *bytes.first()? {
            0 => Mode::Constant,
            1 => Mode::Floats,
            other => Mode::Integers { exponent: other - 2 },
        };
        let first = u64::from_le_bytes(*bytes.get(1..)?.first_chunk()?);
        *at = 9;
        let start = Some(unzigzag(take_varint(bytes, at))).filter(|start| start.abs() <= LATEST)?;
        let count = u32::try_from(take_varint(bytes, at)).ok().filter(|n| (1..=MOST_SAMPLES).contains(n))?;
        Some((mode, first, start, count))
    }

    pub fn iter(&self) -> HeadIter<'_> {
        HeadIter { times: self.times.iter(), values: self.values() }
    }
}

/// Five zero bits of a float's XOR are rare, whole zero bytes are not: how many of these stand at the end, how many
/// bytes follow, and these.
fn put_float(out: &mut Vec<u8>, xor: u64) {
    let end = xor.trailing_zeros() / 8;
    let bytes = 8 - xor.leading_zeros() / 8 - end;
    out.push((bytes << 4 | end) as u8);
    let shifted = (xor >> (8 * end)).to_le_bytes();
    out.extend_from_slice(shifted.get(..bytes as usize).unwrap_or(&shifted));
}

struct HeadValues<'h> {
    mode: Mode,
    bits: u64,
    integer: i64,
    equal: u64,
    stream: &'h [u8],
    at: usize,
}

impl<'h> HeadValues<'h> {
    fn new(mode: Mode, first: u64, stream: &'h [u8]) -> HeadValues<'h> {
        let integer = match mode {
            Mode::Integers { exponent } => decimal::to_integer(f64::from_bits(first), exponent).unwrap_or(0),
            _ => 0,
        };
        HeadValues { mode, bits: first, integer, equal: 1, stream, at: 0 }
    }

    /// The next value; after the last, that again.
    #[inline]
    fn advance(&mut self) -> f64 {
        if self.equal > 0 {
            self.equal -= 1;
            return f64::from_bits(self.bits);
        }
        let Some(&byte) = self.stream.get(self.at) else { return f64::from_bits(self.bits) };
        if byte == 0 {
            self.at += 1;
            self.equal = take_varint(self.stream, &mut self.at).saturating_sub(1);
            return f64::from_bits(self.bits);
        }
        match self.mode {
            Mode::Integers { exponent } => {
                self.integer = self.integer.wrapping_add(unzigzag(take_varint(self.stream, &mut self.at)));
                self.bits = (self.integer as f64 / decimal::power(exponent)).to_bits();
            }
            Mode::Floats | Mode::Constant => {
                self.at += 1;
                let (count, end) = (usize::from(byte >> 4), u32::from(byte & 7));
                let mut word = [0; 8];
                let bytes = self.stream.get(self.at..self.at + count).unwrap_or(&[]);
                for (to, from) in word.iter_mut().zip(bytes) {
                    *to = *from;
                }
                self.at += count;
                self.bits ^= u64::from_le_bytes(word) << (8 * end);
            }
        }
        f64::from_bits(self.bits)
    }
}

/// Iterates over a head's times and values.
pub struct HeadIter<'h> {
    times: TimesIter<'h>,
    values: HeadValues<'h>,
}

impl HeadIter<'_> {
    /// Gives `take` the samples later than `after`, in order, until it returns false.
    pub fn read(mut self, after: i64, take: impl FnMut(i64, f64) -> bool) -> bool {
        let constant = f64::from_bits(self.values.bits);
        match self.values.mode {
            Mode::Constant => drive(self.times, after, || constant, take),
            _ => drive(self.times, after, || self.values.advance(), take),
        }
    }
}

impl Iterator for HeadIter<'_> {
    type Item = (i64, f64);

    #[inline]
    fn next(&mut self) -> Option<(i64, f64)> {
        let time = self.times.next()?;
        Some((time, self.values.advance()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_constant_costs_nothing_until_it_changes() {
        let mut head = Head::default();
        for i in 0..1000 {
            head.push(i * 1000, 0.5);
        }
        assert_eq!(head.heap_size(), 0);
        head.push(1_000_000, 0.75);
        assert_eq!(head.iter().last(), Some((1_000_000, 0.75)));
        assert_eq!(head.iter().filter(|(_, v)| *v == 0.5).count(), 1000);
    }

    fn any_value() -> impl Strategy<Value = u64> {
        prop_oneof![
            Just(0u64),
            (0i32..4).prop_map(|v| f64::from(v).to_bits()),
            (-5_000_000i32..5_000_000).prop_map(|v| (f64::from(v) / 100.0).to_bits()),
            Just((-0.0f64).to_bits()),
            Just(f64::INFINITY.to_bits()),
            any::<u64>(),
        ]
    }

    proptest! {
        #[test]
        fn head_and_chunk_give_back_what_was_pushed(
            whole in prop::collection::vec((0i64..1000).prop_map(|v| (v as f64).to_bits()), 0..60),
            mixed in prop::collection::vec(any_value(), 0..60),
        ) {
            let mut head = Head::default();
            let mut expected = Vec::new();
            for (i, bits) in whole.iter().chain(&mixed).enumerate() {
                head.push(i as i64 * 1000, f64::from_bits(*bits));
                expected.push((i as i64 * 1000, *bits));
                let got: Vec<_> = head.iter().map(|(t, v)| (t, v.to_bits())).collect();
                prop_assert_eq!(&got, &expected);
                prop_assert_eq!(head.last().1.to_bits(), *bits);
                let mut bytes = Vec::new();
                head.write(&mut bytes);
                let restored = Head::restore(&bytes).unwrap();
                for next in [f64::from_bits(*bits), 12.0, 0.25] {
                    let (mut here, mut there) = (head.clone(), restored.clone());
                    for ahead in 1..4 {
                        here.push((i as i64 + ahead) * 1000, next);
                        there.push((i as i64 + ahead) * 1000, next);
                    }
                    let all = |head: &Head| head.iter().map(|(t, v)| (t, v.to_bits())).collect::<Vec<_>>();
                    prop_assert_eq!(all(&here), all(&there), "a head that was restored goes on where it stood");
                }
            }
            if !expected.is_empty() {
                let chunk = head.seal(&mut Scratch::default());
                prop_assert_eq!(chunk.iter().map(|(t, v)| (t, v.to_bits())).collect::<Vec<_>>(), expected);
                prop_assert!(head.is_empty());
            }
        }
    }
}
