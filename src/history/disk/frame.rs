//! Frames: what a file is made of, so that a damaged byte costs the frame it is in and no other.
//!
//! A frame is `wfh` and the version of the format, a kind, the payload's length (four bytes, little-endian), the CRC32 of
//! kind, length and payload (four bytes), and the payload. Whatever is not a frame is passed over up to the next one.

use memchr::memmem;

/// How a frame begins; the last byte is the version of the format.
pub const MAGIC: [u8; 4] = *b"wfh\x01";
/// Bytes before the payload.
const HEAD: usize = 13;
/// No payload is longer.
pub const MAX_PAYLOAD: usize = 1 << 20;

/// What a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// The first of a file.
    File = b'F',
    Chunk = b'C',
    Head = b'H',
    Ticks = b'T',
}

/// Begins a frame at the end of `out`; [`finish`] wants the place that it returns.
pub fn begin(out: &mut Vec<u8>, kind: Kind) -> usize {
    let at = out.len();
    out.extend_from_slice(&MAGIC);
    out.push(kind as u8);
    out.extend_from_slice(&[0; 8]);
    at
}

/// Ends the frame that was begun at `at`. One that is longer than may be read is taken back: nobody names a series in a
/// million letters.
pub fn finish(out: &mut Vec<u8>, at: usize) {
    if out.len().saturating_sub(at) > HEAD + MAX_PAYLOAD {
        out.truncate(at);
    }
    let Some(frame) = out.get_mut(at..).filter(|frame| !frame.is_empty()) else { return };
    let length = frame.len().saturating_sub(HEAD) as u32;
    if let Some(place) = frame.get_mut(5..9) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    let sum = checksum(frame);
    if let Some(place) = frame.get_mut(9..HEAD) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
}

/// Of a whole frame: kind, length and payload.
fn checksum(frame: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(frame.get(4..9).unwrap_or(&[]));
    sum.update(frame.get(HEAD..).unwrap_or(&[]));
    sum.finalize()
}

/// The frames of a file that are whole.
pub struct Frames<'b> {
    bytes: &'b [u8],
    at: usize,
    /// Bytes that were no frames.
    pub lost: u64,
    /// In so many places.
    pub places: u32,
    /// Bytes of a last frame that was not written to its end, as after a crash.
    pub tail: u64,
    /// Bytes whose checksum may still be taken in vain.
    patience: usize,
}

impl<'b> Frames<'b> {
    pub fn new(bytes: &'b [u8]) -> Frames<'b> {
        // A file made up so that each of its bytes seems to begin a long frame must not take for ever.
        let patience = bytes.len().saturating_mul(16).saturating_add(MAX_PAYLOAD);
        Frames { bytes, at: 0, lost: 0, places: 0, tail: 0, patience }
    }

    /// The frame at a place: its kind, its payload, where it ends.
    fn frame_at(&mut self, at: usize) -> Option<(u8, &'b [u8], usize)> {
        let rest = self.bytes.get(at..)?;
        if !rest.starts_with(&MAGIC) {
            return None;
        }
        let length = u32::from_le_bytes(*rest.get(5..)?.first_chunk()?) as usize;
        let sum = u32::from_le_bytes(*rest.get(9..)?.first_chunk()?);
        if length > MAX_PAYLOAD || length > self.patience {
            return None;
        }
        let frame = rest.get(..HEAD + length)?;
        if checksum(frame) != sum {
            self.patience -= length;
            return None;
        }
        Some((*frame.get(4)?, frame.get(HEAD..)?, at + frame.len()))
    }
}

impl<'b> Iterator for Frames<'b> {
    type Item = (u8, &'b [u8]);

    fn next(&mut self) -> Option<(u8, &'b [u8])> {
        let from = self.at;
        let mut at = from;
        while at < self.bytes.len() {
            if let Some((kind, payload, end)) = self.frame_at(at) {
                if at > from {
                    self.lost += (at - from) as u64;
                    self.places += 1;
                }
                self.at = end;
                return Some((kind, payload));
            }
            let Some(rest) = self.bytes.get(at + 1..) else { break };
            match memmem::find(rest, &MAGIC) {
                Some(next) => at += 1 + next,
                None => break,
            }
        }
        let rest = self.bytes.get(from..).unwrap_or(&[]);
        if is_torn(rest) {
            self.tail = rest.len() as u64;
        } else if !rest.is_empty() {
            self.lost += rest.len() as u64;
            self.places += 1;
        }
        self.at = self.bytes.len();
        None
    }
}

/// Whether this is the beginning of a frame that was not written to its end, as far as one can tell.
fn is_torn(rest: &[u8]) -> bool {
    let magic = rest.get(..MAGIC.len()).unwrap_or(rest);
    let length = rest.get(5..).and_then(|r| r.first_chunk()).map_or(u32::MAX, |length| u32::from_le_bytes(*length));
    MAGIC.starts_with(magic) && rest.len() < HEAD.saturating_add(length as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(payloads: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for payload in payloads {
            let at = begin(&mut out, Kind::Chunk);
            out.extend_from_slice(payload);
            finish(&mut out, at);
        }
        out
    }

    #[test]
    fn any_one_byte_costs_the_frame_that_it_is_in() {
        let payloads: [&[u8]; 4] = [b"first", b"", b"wfh\x01C in the midst", b"last"];
        let good = file(&payloads);
        assert_eq!(Frames::new(&good).map(|(_, p)| p).collect::<Vec<_>>(), payloads);
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                let mut frames = Frames::new(&bad);
                let read: Vec<&[u8]> = frames.by_ref().map(|(_, p)| p).collect();
                assert_eq!(read.len(), payloads.len() - 1, "byte {at}");
                assert!(read.iter().all(|p| payloads.contains(p)), "byte {at}");
                assert!(frames.lost + frames.tail > 0);
            }
        }
    }

    #[test]
    fn a_file_that_is_cut_gives_the_frames_before_the_cut() {
        let good = file(&[b"first", b"second", b"third"]);
        for end in 0..good.len() {
            let mut frames = Frames::new(&good[..end]);
            let whole = [18, 37, 55].iter().filter(|n| **n <= end).count();
            assert_eq!(frames.by_ref().count(), whole, "{end}");
            assert_eq!((frames.lost, frames.places), (0, 0), "{end}");
        }
    }

    #[test]
    fn a_file_that_seems_to_begin_frames_everywhere_is_read_in_time() {
        let mut bytes = Vec::new();
        while bytes.len() < 4 << 20 {
            bytes.extend_from_slice(&MAGIC);
            bytes.extend_from_slice(&[b'C', 0, 0, 0x10, 0]);
        }
        let began = std::time::Instant::now();
        assert_eq!(Frames::new(&bytes).count(), 0);
        assert!(began.elapsed().as_secs() < 20);
    }
}
