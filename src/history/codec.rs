//! Bytes and bits: variable-length integers, and a bit stream written and read from the most significant bit.

/// Appends `value` in groups of seven bits, the least significant first.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads what [`put_varint`] wrote and moves `at` past it. Bytes that are not there read as zero.
#[inline]
pub fn take_varint(bytes: &[u8], at: &mut usize) -> u64 {
    let mut value = 0;
    let mut shift = 0;
    while let Some(byte) = bytes.get(*at) {
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 || shift > 63 {
            break;
        }
    }
    value
}

/// Maps small integers of either sign to small unsigned ones.
#[inline]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[inline]
pub fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Writes bits to the end of a byte vector; the last byte is filled up with zeros.
pub struct BitWriter<'o> {
    out: &'o mut Vec<u8>,
    /// Bits not yet written, in the low end.
    pending: u64,
    count: u32,
}

impl<'o> BitWriter<'o> {
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        BitWriter { out, pending: 0, count: 0 }
    }

    /// The low `bits` (at most 64) of `value`.
    pub fn put(&mut self, value: u64, bits: u32) {
        if bits > 32 {
            self.put(value >> 32, bits - 32);
            return self.put(value & 0xffff_ffff, 32);
        }
        self.pending = (self.pending << bits) | (value & ((1 << bits) - 1));
        self.count += bits;
        while self.count >= 8 {
            self.count -= 8;
            self.out.push((self.pending >> self.count) as u8);
        }
    }

    pub fn finish(self) {
        if self.count > 0 {
            self.out.push((self.pending << (8 - self.count)) as u8);
        }
    }
}

/// Reads what [`BitWriter`] wrote. Bits past the end read as zero.
#[derive(Clone)]
pub struct BitReader<'b> {
    bytes: &'b [u8],
    /// In bits.
    at: usize,
}

impl<'b> BitReader<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        BitReader { bytes, at: 0 }
    }

    /// The next 57 bits at least, in the high end of a word, without moving.
    #[inline]
    pub fn peek(&self) -> u64 {
        let start = self.at >> 3;
        let word = match self.bytes.get(start..start + 8).and_then(|b| b.first_chunk::<8>()) {
            Some(chunk) => u64::from_be_bytes(*chunk),
            None => {
                let mut chunk = [0; 8];
                let rest = self.bytes.get(start..).unwrap_or(&[]);
                for (to, from) in chunk.iter_mut().zip(rest) {
                    *to = *from;
                }
                u64::from_be_bytes(chunk)
            }
        };
        word << (self.at & 7)
    }

    #[inline]
    pub fn skip(&mut self, bits: u32) {
        self.at += bits as usize;
    }

    /// The next `bits` (at most 64).
    #[inline]
    pub fn take(&mut self, bits: u32) -> u64 {
        if bits == 0 {
            return 0;
        }
        if bits > 56 {
            let high = self.take(bits - 32);
            return (high << 32) | self.take(32);
        }
        let value = self.peek() >> (64 - bits);
        self.skip(bits);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(values in prop::collection::vec((any::<u64>(), 0u32..=64), 0..50)) {
            let mut bytes = Vec::new();
            let mut w = BitWriter::new(&mut bytes);
            for (v, n) in &values {
                w.put(*v, *n);
            }
            w.finish();
            let mut r = BitReader::new(&bytes);
            for (v, n) in &values {
                let masked = if *n == 64 { *v } else { v & ((1 << n) - 1) };
                prop_assert_eq!(r.take(*n), masked);
            }
            let mut bytes = Vec::new();
            for (v, _) in &values {
                put_varint(&mut bytes, *v);
                put_varint(&mut bytes, zigzag(*v as i64));
            }
            let mut at = 0;
            for (v, _) in &values {
                prop_assert_eq!(take_varint(&bytes, &mut at), *v);
                prop_assert_eq!(unzigzag(take_varint(&bytes, &mut at)), *v as i64);
            }
        }
    }
}
