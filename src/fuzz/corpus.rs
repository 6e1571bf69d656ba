//! Damaged inputs out of good ones: bits, bytes, lines, fields and numbers changed, pieces of others put in, ends cut off;
//! and some that are noise altogether.

use std::collections::BTreeSet;

/// A generator of numbers that is fast and gives the same for the same seed (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `end`; 0 where that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn bytes(&mut self, most: usize, out: &mut Vec<u8>) {
        // Some letters are rarer in noise than in what is read.
        const LIKELY: &[u8] = b" \t\n\r0123456789abcxyzABCXYZ_-+.,:;=~!@#$%^&*/\\|?<>()[]{}\"'`\0\x7f\x80\xff";
        let any = self.once_in(2);
        for _ in 0..self.below(most + 1) {
            let byte = if any { self.next() as u8 } else { *self.pick(LIKELY) };
            out.push(byte);
        }
    }
}

/// What a parser would rather not find in a number's or a field's place.
const EVIL: [&[u8]; 32] = [
    b"",
    b"0",
    b"1",
    b"-1",
    b"-0",
    b"127",
    b"128",
    b"255",
    b"256",
    b"32768",
    b"65535",
    b"65536",
    b"2147483647",
    b"-2147483648",
    b"4294967295",
    b"4294967296",
    b"9007199254740993",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"99999999999999999999999999999999999999999",
    b"1e308",
    b"1e999",
    b"-1e-999",
    b"0.0000000000000000000000001",
    b"NaN",
    b"+Inf",
    b"0x10",
    b"0xffffffffffffffff",
    b"\xef\xbf\xbd",
    b"\xff",
];

/// No input is longer.
const LONGEST: usize = 256 << 10;
/// Of a repetition, most are no longer.
const LONG: usize = 2 << 10;

/// Good inputs, and the words they are made of.
pub struct Corpus {
    good: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
}

impl Corpus {
    pub fn of<S: AsRef<[u8]>>(good: &[S]) -> Corpus {
        let good: Vec<Vec<u8>> = good.iter().map(|g| g.as_ref().to_vec()).collect();
        assert!(!good.is_empty(), "something to begin with");
        let is_part = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || *b >= 0x80;
        let runs = good.iter().flat_map(|g| g.chunk_by(|a, b| is_part(a) == is_part(b)));
        let words: BTreeSet<&[u8]> = runs.filter(|word| word.len() < 40).collect();
        let words = words.into_iter().chain(EVIL).map(<[u8]>::to_vec).collect();
        Corpus { good, words }
    }

    pub fn add_words(&mut self, words: &[&str]) {
        self.words.extend(words.iter().map(|word| word.as_bytes().to_vec()));
    }

    /// An input: a good one that is damaged, words in any order, or noise.
    pub fn make(&self, random: &mut Random, out: &mut Vec<u8>) {
        out.clear();
        match random.below(16) {
            0 => random.bytes(300, out),
            1 | 2 => {
                let between = *random.pick(&[" ", "", "\n", "\t", ","]);
                for _ in 0..random.below(30) {
                    out.extend_from_slice(random.pick::<Vec<u8>>(&self.words));
                    out.extend_from_slice(between.as_bytes());
                }
            }
            _ => {
                out.extend_from_slice(random.pick::<Vec<u8>>(&self.good));
                self.damage(random, out);
            }
        }
    }

    /// Damages an input, in one place or several.
    pub fn damage(&self, random: &mut Random, text: &mut Vec<u8>) {
        for _ in 0..=random.below(3) * random.below(3) {
            self.change(random, text);
        }
        text.truncate(LONGEST);
    }

    fn change(&self, random: &mut Random, text: &mut Vec<u8>) {
        let at = random.below(text.len() + 1);
        match random.below(18) {
            0 => {
                if let Some(byte) = text.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            1 => {
                if let Some(byte) = text.get_mut(at) {
                    *byte = random.next() as u8;
                }
            }
            2 => text.truncate(at),
            3 => drop(text.drain(..at)),
            4 => {
                let end = (at + 1 + random.below(20)).min(text.len());
                text.drain(at..end);
            }
            5 => {
                let mut noise = Vec::new();
                random.bytes(12, &mut noise);
                text.splice(at..at, noise);
            }
            // The start of this and the end of another.
            6 => {
                let other = random.pick(&self.good);
                text.truncate(at);
                text.extend_from_slice(&other[random.below(other.len() + 1)..]);
            }
            // A piece of another within this.
            7 => {
                let other = random.pick(&self.good);
                let start = random.below(other.len() + 1);
                let end = (start + random.below(80)).min(other.len());
                text.splice(at..at, other[start..end].iter().copied());
            }
            8 => {
                let line = around(text, at, |b| b == b'\n');
                text.drain(line.start..(line.end + 1).min(text.len()));
            }
            9 => {
                let line = around(text, at, |b| b == b'\n');
                let copy = [&text[line], b"\n"].concat();
                let to = around(text, random.below(text.len() + 1), |b| b == b'\n').start;
                text.splice(to..to, copy);
            }
            10 | 11 => {
                let field = around(text, at, |b| b.is_ascii_whitespace());
                text.splice(field, random.pick(&EVIL).iter().copied());
            }
            12 | 13 => {
                let start = text[at..].iter().position(u8::is_ascii_digit).map_or(at, |n| at + n);
                let number = around(text, start, |b| !b.is_ascii_digit());
                text.splice(number, random.pick(&EVIL).iter().copied());
            }
            14 => {
                text.splice(at..at, random.pick::<Vec<u8>>(&self.words).iter().copied());
            }
            15 => {
                let word = around(text, at, |b| !b.is_ascii_alphanumeric() && b != b'_');
                text.splice(word, random.pick::<Vec<u8>>(&self.words).iter().copied());
            }
            16 => repeat(random, text, at),
            // A length or a number of binary input.
            _ => {
                let number = match random.below(5) {
                    0 => 0,
                    1 => u64::MAX,
                    2 => 1 << random.below(64),
                    3 => text.len() as u64 + random.below(9) as u64,
                    _ => random.below(40) as u64,
                };
                let width = *random.pick(&[2, 4, 8]);
                let mut bytes = number.to_le_bytes();
                if random.once_in(8) {
                    bytes[..width].reverse();
                }
                let at = if random.once_in(4) { at } else { at & !(width - 1) };
                text.iter_mut().skip(at).zip(&bytes[..width]).for_each(|(cell, byte)| *cell = *byte);
            }
        }
    }
}

/// A piece again and again: a few times; seldom, until the whole is long.
fn repeat(random: &mut Random, text: &mut Vec<u8>, at: usize) {
    let piece = match random.below(3) {
        0 => at..(at + 1).min(text.len()),
        1 => at..(at + 1 + random.below(30)).min(text.len()),
        _ => {
            let line = around(text, at, |b| b == b'\n');
            line.start..(line.end + 1).min(text.len())
        }
    };
    if piece.is_empty() {
        return;
    }
    let most = if random.once_in(500) { LONGEST } else { LONG };
    let times = (1 + random.below(most / piece.len() + 1)).min(most);
    let more = text[piece.clone()].repeat(times);
    text.splice(piece.end..piece.end, more);
}

/// The stretch around a place, between two bytes that are `ends` or the text's own.
fn around(text: &[u8], at: usize, ends: impl Fn(u8) -> bool) -> std::ops::Range<usize> {
    let start = text[..at].iter().rposition(|b| ends(*b)).map_or(0, |n| n + 1);
    let end = text[at..].iter().position(|b| ends(*b)).map_or(text.len(), |n| at + n);
    start..end
}
