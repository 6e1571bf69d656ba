//! The log of ticks: what was appended since heads were written, a few bytes for each sample that is not what it was.
//!
//! A frame is the run (see [`put_head`](super::record::put_head)), a counter of ticks, the time of its samples, and a row
//! of operations. Each is a number `n << 3 | operation` in seven-bit groups:
//!
//! | operation | what it says |
//! | --- | --- |
//! | 0 | the next `n` series have their base's value |
//! | 1, 2 | the next series' value is its base's and `n` (zigzag) wholes, or hundredths, more |
//! | 3 | the XOR with its base's value follows: `n` is how many bytes, and how many zero bytes stand behind them |
//! | 4, 5, 6 | the same without a base: the value itself, which becomes the base |
//! | 7 | `n` is 0: the number of the next series follows; 1: the time of what follows, as a difference to the frame's |
//!
//! The next series is that of the next number, as ticks name series in the same order again and again. Each series gets
//! another base every [`RENEWAL`] ticks, in turn; a frame that is lost therefore costs itself and, of the series whose
//! bases were in it, what is left until then.

use super::frame::{self, Kind};
use crate::history::codec::{put_varint, take_varint, unzigzag, zigzag};
use crate::history::decimal;

const SAME: u64 = 0;
const WHOLES: u64 = 1;
const HUNDREDTHS: u64 = 2;
const XOR: u64 = 3;
/// Added to the three before.
const ANEW: u64 = 3;
const CONTROL: u64 = 7;

/// A series has the same base for at most so many ticks.
const RENEWAL: u32 = 16;
/// Series of neighbouring numbers get another base in the same tick.
const TURN: u64 = 64;
/// A frame that is longer is ended, and another begun.
const SPLIT_BYTES: usize = 128 << 10;
/// So many samples, too, are a frame's most: what it says of many samples may be short.
const SPLIT_SAMPLES: u64 = 1 << 16;

/// What the log remembers of a series.
#[derive(Clone, Copy, Default, Debug)]
pub struct Mark {
    /// Its number; zero until it has one.
    pub number: u64,
    base: u64,
    /// The tick in which the base was given.
    given: u32,
}

impl Mark {
    /// The next sample speaks for itself.
    pub fn forget_base(&mut self) {
        self.given = 0;
    }
}

/// The first tick whose bases are still in use for this series.
fn oldest_base(tick: u32, number: u64) -> u32 {
    let turn = (u64::from(tick).wrapping_add(number / TURN) % u64::from(RENEWAL)) as u32;
    tick.saturating_sub(turn)
}

/// Writes frames of ticks.
pub struct TickWriter {
    run: u64,
    /// Counted from [`RENEWAL`], so that no base is as old as zero.
    tick: u32,
    /// Where the frame begins in the buffer that is written to.
    frame: Option<usize>,
    frame_time: i64,
    time: i64,
    next: u64,
    same: u64,
    samples: u64,
}

impl TickWriter {
    pub fn new(run: u64) -> TickWriter {
        TickWriter { run, tick: RENEWAL, frame: None, frame_time: 0, time: 0, next: 0, same: 0, samples: 0 }
    }

    pub fn run(&self) -> u64 {
        self.run
    }

    /// Another tick begins.
    pub fn advance(&mut self) {
        self.tick = self.tick.saturating_add(1);
    }

    /// Adds a sample of a series that has a number.
    pub fn sample(&mut self, out: &mut Vec<u8>, mark: &mut Mark, time: i64, value: f64) {
        let begin = match self.frame {
            Some(begin) => begin,
            None => self.begin(out, time),
        };
        if time != self.time {
            self.end_same(out);
            out.push((1 << 3 | CONTROL) as u8);
            put_varint(out, zigzag(time.wrapping_sub(self.frame_time)));
            self.time = time;
        }
        if mark.number != self.next {
            self.end_same(out);
            out.push(CONTROL as u8);
            put_varint(out, mark.number);
        }
        self.next = mark.number.wrapping_add(1);
        self.samples += 1;
        let bits = value.to_bits();
        let has_base = mark.given >= oldest_base(self.tick, mark.number);
        if has_base && mark.base == bits {
            self.same += 1;
        } else {
            self.end_same(out);
            match has_base {
                true => put_value(out, mark.base, value, 0),
                false => {
                    put_value(out, 0, value, ANEW);
                    (mark.base, mark.given) = (bits, self.tick);
                }
            }
        }
        if out.len() - begin > SPLIT_BYTES || self.samples >= SPLIT_SAMPLES {
            self.finish(out);
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>, time: i64) -> usize {
        let begin = frame::begin(out, Kind::Ticks);
        put_varint(out, self.run);
        put_varint(out, u64::from(self.tick));
        put_varint(out, zigzag(time));
        (self.frame, self.frame_time, self.time) = (Some(begin), time, time);
        (self.next, self.same, self.samples) = (0, 0, 0);
        begin
    }

    fn end_same(&mut self, out: &mut Vec<u8>) {
        if self.same > 0 {
            put_varint(out, self.same << 3 | SAME);
            self.same = 0;
        }
    }

    /// Ends the frame, if one is begun.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(begin) = self.frame.take() {
            self.end_same(out);
            frame::finish(out, begin);
        }
    }
}

fn put_value(out: &mut Vec<u8>, base: u64, value: f64, anew: u64) {
    for (operation, exponent) in [(WHOLES, 0), (HUNDREDTHS, 2)] {
        let integers = (decimal::to_integer(f64::from_bits(base), exponent), decimal::to_integer(value, exponent));
        // Wider ones would not be shorter.
        if let (Some(base), Some(value)) = integers
            && (value - base).unsigned_abs() < 1 << 45
        {
            return put_varint(out, zigzag(value - base) << 3 | (operation + anew));
        }
    }
    let xor = value.to_bits() ^ base;
    let end = if xor == 0 { 0 } else { xor.trailing_zeros() / 8 };
    let bytes = 8 - xor.leading_zeros() / 8 - end;
    put_varint(out, u64::from(bytes << 3 | end) << 3 | (XOR + anew));
    let shifted = (xor >> (8 * end)).to_le_bytes();
    out.extend_from_slice(shifted.get(..bytes as usize).unwrap_or(&shifted));
}

/// What a reader remembers of a series.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Which series it is, to the reader.
    pub series: usize,
    base: u64,
    given: u32,
}

impl Known {
    pub fn new(series: usize) -> Known {
        Known { series, base: 0, given: 0 }
    }
}

/// Series by their numbers in one run.
pub type Numbers = hashbrown::HashMap<u64, Known>;

/// The run that a frame of ticks belongs to.
pub fn run_of(frame: &[u8]) -> u64 {
    take_varint(frame, &mut 0)
}

/// Gives `take` the samples of a frame whose series are known: which, time in milliseconds, value.
pub fn read(frame: &[u8], numbers: &mut Numbers, mut take: impl FnMut(usize, i64, f64)) {
    let mut at = 0;
    let _run = take_varint(frame, &mut at);
    let tick = take_varint(frame, &mut at) as u32;
    let frame_time = unzigzag(take_varint(frame, &mut at));
    let (mut time, mut next, mut left) = (frame_time, 0u64, SPLIT_SAMPLES);
    while at < frame.len() {
        let word = take_varint(frame, &mut at);
        let (operation, n) = (word & 7, word >> 3);
        match operation {
            CONTROL if n == 0 => next = take_varint(frame, &mut at),
            CONTROL => time = frame_time.wrapping_add(unzigzag(take_varint(frame, &mut at))),
            SAME => {
                let Some(rest) = left.checked_sub(n) else { return };
                left = rest;
                for number in next..next.saturating_add(n) {
                    if let Some(known) = numbers.get(&number).filter(|k| k.given >= oldest_base(tick, number)) {
                        take(known.series, time, f64::from_bits(known.base));
                    }
                }
                next = next.saturating_add(n);
            }
            _ => {
                let Some(rest) = left.checked_sub(1) else { return };
                left = rest;
                let (kind, anew) = if operation > XOR { (operation - ANEW, true) } else { (operation, false) };
                let bytes = match kind {
                    XOR => take_xor(frame, &mut at, n),
                    _ => 0,
                };
                if let Some(known) = numbers.get_mut(&next)
                    && (anew || known.given >= oldest_base(tick, next))
                {
                    let base = if anew { 0 } else { known.base };
                    let bits = match kind {
                        WHOLES => moved(base, n, 0),
                        HUNDREDTHS => moved(base, n, 2),
                        _ => base ^ bytes,
                    };
                    if anew {
                        (known.base, known.given) = (bits, tick);
                    }
                    take(known.series, time, f64::from_bits(bits));
                }
                next = next.saturating_add(1);
            }
        }
    }
}

/// The base's value, and so many units more.
fn moved(base: u64, n: u64, exponent: u8) -> u64 {
    let base = decimal::to_integer(f64::from_bits(base), exponent).unwrap_or(0);
    (base.wrapping_add(unzigzag(n)) as f64 / decimal::power(exponent)).to_bits()
}

fn take_xor(frame: &[u8], at: &mut usize, n: u64) -> u64 {
    let (count, end) = ((n >> 3 & 15).min(8) as usize, (n & 7) as u32);
    let mut word = [0; 8];
    let from = *at;
    *at = from.saturating_add(count);
    for (to, byte) in word.iter_mut().zip(frame.get(from..*at).unwrap_or(&[])) {
        *to = *byte;
    }
    u64::from_le_bytes(word) << (8 * end)
}
