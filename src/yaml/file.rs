//! Files that a configuration names.

use std::fs;
use std::io;
use std::path::Path;

/// Larger than any file that people write.
const MAX_SIZE: u64 = 16 << 20;

/// The text of a file; an error where it is no file, or one that nobody has written by hand.
pub fn read_text(path: &Path) -> io::Result<String> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if metadata.len() > MAX_SIZE {
        return Err(io::Error::other(format!("larger than {} MiB", MAX_SIZE >> 20)));
    }
    fs::read_to_string(path)
}
