//! By what a file is known again: its beginning, and what stands just before the place that has been read to.

use std::fs::File;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

/// Bytes of the beginning: more than most lines begin alike with.
const HEAD: usize = 256;
/// Bytes before the place: files may all begin with the same header.
const TAIL: usize = 64;

/// The checksums of the two, of a file that has been read up to a place.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Print {
    head: u32,
    tail: u32,
    /// The place.
    offset: u64,
}

impl Print {
    /// Of a file that has been read up to here.
    pub fn of(file: &File, offset: u64) -> Option<Print> {
        let head = checksum(file, 0, offset.min(HEAD as u64))?;
        let tail = offset.min(TAIL as u64);
        Some(Print { head, tail: checksum(file, offset - tail, tail)?, offset })
    }

    /// Whether this file still begins with what has been read of that one; so it is that one, or a copy of it.
    pub fn fits(&self, file: &File) -> bool {
        Print::of(file, self.offset).is_some_and(|print| print == *self)
    }

    /// How far it has been read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether so much has been read that another file will not fit by chance.
    pub fn is_telling(&self) -> bool {
        self.offset >= HEAD as u64
    }

    pub fn is_empty(&self) -> bool {
        self.offset == 0
    }
}

/// The checksum of a piece; none where the file has not all of it.
fn checksum(file: &File, at: u64, length: u64) -> Option<u32> {
    let mut piece = [0; HEAD];
    let piece = piece.get_mut(..usize::try_from(length).ok()?)?;
    file.read_exact_at(piece, at).ok()?;
    Some(crc32fast::hash(piece))
}
