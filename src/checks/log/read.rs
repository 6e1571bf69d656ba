//! Cutting lines out of a file, from a place on, within a bound.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Read at once.
const CHUNK: usize = 64 << 10;

/// Where reading goes on: behind a line, or within one that is too long.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Offset {
    pub bytes: u64,
    /// Whether the rest of the line here has been looked at, or is not to be.
    pub within_line: bool,
}

/// What was read.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Progress {
    pub lines: u64,
    pub bytes: u64,
    /// Lines that were longer than is looked at.
    pub cut: u64,
}

impl Progress {
    pub fn add(&mut self, more: Progress) {
        self.lines += more.lines;
        self.bytes += more.bytes;
        self.cut += more.cut;
    }
}

/// Reads lines into a buffer that is there for the length of a run.
pub struct Reader {
    buffer: Vec<u8>,
    max_line: usize,
}

impl Reader {
    pub fn new(max_line: u64) -> Reader {
        let max_line = usize::try_from(max_line).unwrap_or(CHUNK);
        Reader { buffer: vec![0; max_line + CHUNK], max_line }
    }

    /// Gives each complete line from the place on, without its end, and moves the place behind it; at least one piece
    /// and no more than some `budget` bytes. What has no line end yet is left for the next time, unless it is too long.
    pub fn read(
        &mut self,
        file: &File,
        at: &mut Offset,
        budget: u64,
        each: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Progress> {
        let mut progress = Progress::default();
        let mut filled = 0;
        while progress.bytes < budget {
            let free = self.buffer.get_mut(filled..).unwrap_or_default();
            let read = match file.read_at(free, at.bytes + filled as u64) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            filled += read;
            let taken = self.take(filled, at, &mut progress, each);
            at.bytes += taken as u64;
            progress.bytes += taken as u64;
            self.buffer.copy_within(taken..filled, 0);
            filled -= taken;
        }
        Ok(progress)
    }

    /// Gives what is complete at the beginning of the buffer; how much of it that was.
    fn take(&self, filled: usize, at: &mut Offset, progress: &mut Progress, each: &mut dyn FnMut(&[u8])) -> usize {
        let text = self.buffer.get(..filled).unwrap_or_default();
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', text) {
            let line = text.get(start..end).unwrap_or_default();
            start = end + 1;
            if !std::mem::take(&mut at.within_line) {
                self.give(line, progress, each);
            }
        }
        let rest = text.get(start..).unwrap_or_default();
        if at.within_line {
            return filled;
        }
        if rest.len() <= self.max_line {
            return start;
        }
        self.give(rest, progress, each);
        at.within_line = true;
        filled
    }

    fn give(&self, line: &[u8], progress: &mut Progress, each: &mut dyn FnMut(&[u8])) {
        progress.lines += 1;
        progress.cut += u64::from(line.len() > self.max_line);
        let line = line.get(..self.max_line).unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // Who goes on writing behind the old end of a file that was emptied leaves zeros before it.
        let zeros = line.iter().take_while(|b| **b == 0).count();
        each(line.get(zeros..).unwrap_or_default());
    }

    /// The line that stands at the end of a file that nobody writes any more, though it has no end.
    pub fn last(&mut self, file: &File, at: &mut Offset, each: &mut dyn FnMut(&[u8])) -> io::Result<Progress> {
        let mut progress = Progress::default();
        let read = file.read_at(&mut self.buffer, at.bytes)?;
        if read > 0 && !at.within_line {
            let line = self.buffer.get(..read).unwrap_or_default();
            self.give(line, &mut progress, each);
        }
        progress.bytes = read as u64;
        at.bytes += read as u64;
        Ok(progress)
    }
}
