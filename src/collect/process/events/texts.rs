//! /proc/PID/cmdline and cgroup of processes that have just executed a program: they may be gone when the next pass comes.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use hashbrown::HashMap;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::collect::Roots;

/// Of one file; a longer command line is cut off.
const MOST_BYTES: usize = 64 << 10;
/// Of all files that are read between two passes.
const BUDGET: usize = 4 << 20;
const MOST_PROCESSES: usize = 10_000;
/// A process that lives longer has a row in the table, which knows more.
const PASSES: u32 = 2;

/// What is to be read of a process when it executes a program.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(in crate::collect::process) struct AtExec {
    pub cmdline: bool,
    pub cgroup: bool,
}

/// What was read of a process.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Text {
    pub cmdline: Option<Arc<[u8]>>,
    pub cgroup: Option<Arc<[u8]>>,
}

/// What was read of the youngest processes.
pub(super) struct Texts {
    processes: HashMap<u32, (u32, Text)>,
    pass: u32,
    left: usize,
}

impl Default for Texts {
    fn default() -> Texts {
        Texts { processes: HashMap::new(), pass: 0, left: BUDGET }
    }
}

impl Texts {
    pub fn insert(&mut self, pid: u32, text: Text) {
        let length = |text: &Option<Arc<[u8]>>| text.as_ref().map_or(0, |text| text.len());
        let bytes = length(&text.cmdline) + length(&text.cgroup);
        // What it had before it executed another program is wrong by now.
        self.processes.remove(&pid);
        if bytes > 0 && bytes <= self.left && self.processes.len() < MOST_PROCESSES {
            self.left -= bytes;
            self.processes.insert(pid, (self.pass, text));
        }
    }

    /// A child is a copy of its parent until it executes a program itself.
    pub fn fork(&mut self, parent: u32, child: u32) {
        if self.processes.is_empty() {
            return;
        }
        // Whatever had this pid before has ended.
        self.processes.remove(&child);
        if self.processes.len() < MOST_PROCESSES
            && let Some((_, text)) = self.processes.get(&parent)
        {
            let text = text.clone();
            self.processes.insert(child, (self.pass, text));
        }
    }

    /// What is known of a process that has ended.
    pub fn take(&mut self, pid: u32) -> Text {
        if self.processes.is_empty() {
            return Text::default();
        }
        self.processes.remove(&pid).map(|(_, text)| text).unwrap_or_default()
    }

    pub fn end_pass(&mut self) {
        self.pass = self.pass.wrapping_add(1);
        self.left = BUDGET;
        let pass = self.pass;
        self.processes.retain(|_, (of, _)| pass.wrapping_sub(*of) < PASSES);
    }
}

/// Reads them.
pub(super) struct Reader {
    wanted: AtExec,
    path: PathBuf,
    procfs: Option<OwnedFd>,
    buffer: Vec<u8>,
}

impl Reader {
    pub fn new(wanted: AtExec, roots: &Roots) -> Reader {
        Reader { wanted, path: roots.proc(""), procfs: None, buffer: Vec::new() }
    }

    pub fn wants_any(&self) -> bool {
        self.wanted.cmdline || self.wanted.cgroup
    }

    pub fn read(&mut self, pid: u32) -> Text {
        let AtExec { cmdline, cgroup } = self.wanted;
        Text {
            cmdline: if cmdline { self.file(pid, "cmdline") } else { None },
            cgroup: if cgroup { self.file(pid, "cgroup") } else { None },
        }
    }

    /// `None` where it has ended, or has none.
    fn file(&mut self, pid: u32, name: &str) -> Option<Arc<[u8]>> {
        self.buffer.resize(MOST_BYTES, 0);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let folder = match &self.procfs {
            Some(folder) => folder,
            None => {
                let folder = rustix::fs::open(&self.path, flags | OFlags::DIRECTORY, Mode::empty()).ok()?;
                self.procfs.insert(folder)
            }
        };
        let file = rustix::fs::openat(folder, format!("{pid}/{name}"), flags, Mode::empty()).ok()?;
        let length = loop {
            match rustix::io::read(&file, &mut self.buffer[..]) {
                Ok(length) => break length,
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        };
        self.buffer.get(..length).filter(|text| !text.is_empty()).map(Arc::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(cmdline: &[u8]) -> Text {
        Text { cmdline: Some(cmdline.into()), cgroup: None }
    }

    #[test]
    fn a_process_that_ends_takes_its_text_along() {
        let mut texts = Texts::default();
        texts.insert(7, text(b"old"));
        texts.insert(7, text(b"new"));
        assert_eq!(texts.take(7), text(b"new"));
        assert_eq!(texts.take(7), Text::default());
        texts.insert(7, text(b"old"));
        texts.insert(7, Text::default());
        assert_eq!(texts.take(7), Text::default(), "it executed another program, of which nothing could be read");
    }

    #[test]
    fn a_child_has_its_parents_text() {
        let mut texts = Texts::default();
        texts.insert(7, text(b"x"));
        texts.insert(8, text(b"of another, before"));
        texts.fork(7, 8);
        texts.fork(1, 9);
        assert_eq!((texts.take(8), texts.take(9)), (text(b"x"), Text::default()));
    }

    #[test]
    fn memory_is_bounded() {
        let mut texts = Texts::default();
        for pid in 0..2 * MOST_PROCESSES as u32 {
            texts.insert(pid, text(b"x"));
            texts.fork(pid, pid + 1_000_000);
        }
        assert_eq!(texts.processes.len(), MOST_PROCESSES);
        texts.end_pass();
        assert_eq!(texts.processes.len(), MOST_PROCESSES, "one that ends in the pass after it began");
        texts.end_pass();
        assert_eq!(texts.processes.len(), 0);
        for pid in 0..1000 {
            texts.insert(pid, text(&[b'x'; MOST_BYTES]));
        }
        assert_eq!(texts.processes.len(), BUDGET / MOST_BYTES);
    }

    #[test]
    fn files_are_read_where_they_are_asked_for_and_cut_off_where_they_are_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots { procfs: folder.path().into(), ..Roots::default() };
        std::fs::create_dir(folder.path().join("7")).unwrap();
        std::fs::write(folder.path().join("7/cmdline"), vec![b'x'; MOST_BYTES + 5]).unwrap();
        std::fs::write(folder.path().join("7/cgroup"), "").unwrap();
        let read = Reader::new(AtExec { cmdline: true, cgroup: true }, &roots).read(7);
        assert_eq!((read.cmdline.unwrap().len(), read.cgroup), (MOST_BYTES, None));
        assert_eq!(Reader::new(AtExec { cmdline: false, cgroup: true }, &roots).read(7), Text::default());
        assert_eq!(Reader::new(AtExec { cmdline: true, cgroup: true }, &roots).read(8), Text::default());
    }
}
