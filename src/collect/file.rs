//! Kernel files: opened once, read anew every tick into a buffer that stays.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::CollectError;

/// More than any file that is read this way has; what a broken or hostile file gives beyond is an error.
const MAX_SIZE: usize = 16 << 20;

/// A file of procfs or sysfs that is read again and again.
///
/// It stays open and is read with pread from its start: the kernel makes its text anew for each read from 0. It is
/// opened again after a failure, so that a file that comes back (a module loaded, a tree mounted) is found.
#[derive(Debug)]
pub struct KernelFile {
    path: PathBuf,
    file: Option<File>,
    buffer: Vec<u8>,
}

impl KernelFile {
    pub fn new(path: impl Into<PathBuf>) -> KernelFile {
        KernelFile { path: path.into(), file: None, buffer: Vec::new() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the file until it is read again.
    pub fn close(&mut self) {
        self.file = None;
    }

    /// The file's whole content now. A file that does not exist is [`CollectError::NoData`].
    pub fn read(&mut self) -> Result<&[u8], CollectError> {
        match self.fill() {
            Ok(length) => Ok(&self.buffer[..length]),
            Err(error) => {
                self.file = None;
                Err(CollectError::read(&self.path, error))
            }
        }
    }

    /// The file's number, of a file that has nothing else.
    pub fn number(&mut self) -> Result<f64, CollectError> {
        let number = super::number(super::trim(self.read()?));
        number.ok_or_else(|| CollectError::parse(&self.path, 1, "not a number"))
    }

    fn fill(&mut self) -> io::Result<usize> {
        if self.buffer.is_empty() {
            self.buffer.resize(4096, 0);
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(&self.path)?),
        };
        let mut length = 0;
        loop {
            if length == self.buffer.len() {
                if length >= MAX_SIZE {
                    return Err(io::Error::other(format!("larger than {MAX_SIZE} bytes")));
                }
                self.buffer.resize(2 * length, 0);
            }
            match file.read_at(&mut self.buffer[length..], length as u64) {
                Ok(0) => return Ok(length),
                Ok(n) => length += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// How many descriptors a collector may keep that would like one for each device, CPU or process of the host: `most`, and
/// at most a `part`th of those that the agent may have. Connections and the files that are opened in passing need theirs.
pub(super) fn may_keep(most: usize, part: u64) -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    most.min(usize::try_from(limit / part).unwrap_or(usize::MAX))
}

/// Reads a small file once (a sysfs attribute), into a buffer of the caller's; the text without its line feed.
pub fn read_small<'b>(path: &Path, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], CollectError> {
    buffer.clear();
    let read = |buffer: &mut Vec<u8>| File::open(path)?.take(MAX_SIZE as u64).read_to_end(buffer);
    read(buffer).map_err(|e| CollectError::read(path, e))?;
    Ok(super::trim(buffer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_anew_grows_shrinks_goes_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let mut file = KernelFile::new(&path);
        assert!(matches!(file.read(), Err(CollectError::NoData(_))));
        for size in [3, 10_000, 0, 4096, 1] {
            std::fs::write(&path, vec![b'x'; size]).unwrap();
            assert_eq!(file.read().unwrap().len(), size);
        }
    }
}
