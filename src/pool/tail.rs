//! The last that a stream has written, for people who want to see what it does.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::capture::Source;
use super::outcome::Output;

/// The bytes that are kept of each output.
const KEPT: usize = 4096;

/// The end of what was written.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        let last = bytes.get(bytes.len().saturating_sub(KEPT)..).unwrap_or(bytes);
        self.cut |= last.len() < bytes.len();
        self.bytes.extend_from_slice(last);
        // Not at every piece, which would move all the bytes each time.
        if self.bytes.len() > 2 * KEPT {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        let over = self.bytes.len().saturating_sub(KEPT);
        self.bytes.drain(..over);
        self.cut |= over > 0;
    }

    fn output(&mut self) -> Output {
        self.shorten();
        Output { bytes: self.bytes.clone(), truncated: self.cut }
    }
}

/// The last that the present run of a stream has written.
#[derive(Default)]
pub(super) struct Said(Mutex<[Tail; 2]>);

impl Said {
    fn lock(&self) -> MutexGuard<'_, [Tail; 2]> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what was written.
    pub(super) fn push(&self, source: Source, bytes: &[u8]) {
        let [stdout, stderr] = &mut *self.lock();
        match source {
            Source::Stdout => stdout.push(bytes),
            Source::Stderr => stderr.push(bytes),
        }
    }

    /// The last of standard output and of standard error.
    pub(super) fn outputs(&self) -> [Output; 2] {
        let [stdout, stderr] = &mut *self.lock();
        [stdout.output(), stderr.output()]
    }

    /// Another run begins, which has said nothing.
    pub(super) fn clear(&self) {
        *self.lock() = Default::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_kept_in_whatever_pieces_they_come() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(|n| n.to_string().into_bytes()).collect();
        for piece in [1, 7, KEPT, 3 * KEPT] {
            let said = Said::default();
            text.chunks(piece).for_each(|bytes| said.push(Source::Stderr, bytes));
            let [stdout, stderr] = said.outputs();
            assert_eq!(stdout, Output::default());
            assert!(stderr.truncated && text.ends_with(&stderr.bytes) && stderr.bytes.len() == KEPT, "{piece}");
            said.clear();
            assert_eq!(said.outputs()[1], Output::default());
        }
    }
}
