//! Reading /proc/PID: relative to one descriptor of /proc, into one buffer, with one read a file.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Mode, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;

use crate::collect::{CollectError, Roots};

/// What `fstatfs` gives for procfs.
const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// More than any file here has: `status` of a process in the most groups there can be (65,536) is below it.
const MAX_SIZE: usize = 1 << 20;

/// Why a file of a process could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unread {
    /// It is not there, or its process has ended.
    Gone,
    /// Not for us.
    Denied,
    /// Something else, such as no descriptor left: it may work the next time.
    Failed,
}

impl From<Errno> for Unread {
    fn from(error: Errno) -> Unread {
        match error {
            Errno::NOENT | Errno::SRCH | Errno::NOTDIR => Unread::Gone,
            Errno::ACCESS | Errno::PERM => Unread::Denied,
            _ => Unread::Failed,
        }
    }
}

/// The tree of processes.
pub(super) struct ProcFs {
    path: PathBuf,
    dir: Option<OwnedFd>,
    /// Whether the size of PID/fd is the number of open files: Linux 6.2 and later.
    sized_fd: bool,
    buffer: Vec<u8>,
    entries: Vec<u8>,
    name: String,
}

impl ProcFs {
    pub(super) fn new(roots: &Roots) -> ProcFs {
        ProcFs {
            path: roots.proc(""),
            dir: None,
            sized_fd: false,
            buffer: vec![0; 8 << 10],
            entries: Vec::with_capacity(32 << 10),
            name: String::with_capacity(64),
        }
    }

    /// Whether this is the running kernel's, and not a captured tree.
    pub(super) fn is_real(roots: &Roots) -> bool {
        rustix::fs::statfs(roots.proc("")).is_ok_and(|fs| u64::try_from(fs.f_type) == Ok(PROC_SUPER_MAGIC))
    }

    /// The ids of all processes now, ascending.
    pub(super) fn list(&mut self, pids: &mut Vec<u32>) -> Result<(), CollectError> {
        let listed = self.open_root().and_then(|()| {
            let dir = self.dir.as_ref().ok_or(Errno::BADF)?;
            rustix::fs::seek(dir, SeekFrom::Start(0))?;
            numbers_in(dir, &mut self.entries, pids)
        });
        if let Err(error) = listed {
            self.dir = None;
            return Err(CollectError::read(&self.path, error.into()));
        }
        Ok(())
    }

    pub(super) fn open_root(&mut self) -> Result<(), Errno> {
        if self.dir.is_none() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let dir = rustix::fs::open(&self.path, flags, Mode::empty())?;
            // In a captured tree the size of a folder says nothing about its entries.
            self.sized_fd = rustix::fs::fstatfs(&dir).is_ok_and(|fs| u64::try_from(fs.f_type) == Ok(PROC_SUPER_MAGIC))
                && rustix::fs::statat(&dir, c"self/fd", AtFlags::empty()).is_ok_and(|fd| fd.st_size > 0);
            self.dir = Some(dir);
        }
        Ok(())
    }

    fn open_at(&mut self, flags: OFlags) -> Result<OwnedFd, Unread> {
        let dir = self.dir.as_ref().ok_or(Unread::Failed)?;
        Ok(rustix::fs::openat(dir, self.name.as_str(), flags | OFlags::CLOEXEC, Mode::empty())?)
    }

    fn set_name(&mut self, pid: u32, file: &str) {
        self.name.clear();
        self.name.push_str(itoa::Buffer::new().format(pid));
        self.name.push('/');
        self.name.push_str(file);
    }

    pub(super) fn open(&mut self, pid: u32, file: &str) -> Result<OwnedFd, Unread> {
        self.set_name(pid, file);
        self.open_at(OFlags::RDONLY)
    }

    /// The text of an open file, made anew by the kernel.
    pub(super) fn read_open(&mut self, file: &OwnedFd) -> Result<&[u8], Unread> {
        let mut length = 0;
        loop {
            match rustix::io::pread(file, &mut self.buffer[length..], length as u64) {
                // The kernel gives the whole text at once when there is room for it: a second read, to find the end,
                // would cost a third of the first.
                Ok(n) if length + n < self.buffer.len() => return Ok(&self.buffer[..length + n]),
                Ok(n) => {
                    length += n;
                    if length >= MAX_SIZE {
                        return Err(Unread::Failed);
                    }
                    self.buffer.resize(2 * length, 0);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The text of /proc/PID/`file`.
    pub(super) fn read(&mut self, pid: u32, file: &str) -> Result<&[u8], Unread> {
        let file = self.open(pid, file)?;
        self.read_open(&file)
    }

    /// How many files the process has open.
    pub(super) fn open_files(&mut self, pid: u32) -> Result<u32, Unread> {
        self.set_name(pid, "fd");
        if self.sized_fd {
            let dir = self.dir.as_ref().ok_or(Unread::Failed)?;
            let size = rustix::fs::statat(dir, self.name.as_str(), AtFlags::empty())?.st_size;
            return u32::try_from(size).map_err(|_| Unread::Failed);
        }
        let folder = self.open_at(OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut count = 0;
        each_number(&folder, &mut self.entries, |_| count += 1)?;
        Ok(count)
    }

    /// The ids of the process' threads.
    pub(super) fn tasks(&mut self, pid: u32, tids: &mut Vec<u32>) -> Result<(), Unread> {
        self.set_name(pid, "task");
        let folder = self.open_at(OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(numbers_in(&folder, &mut self.entries, tids)?)
    }

    /// The first bytes of /proc/PID/`file`, which may have very many.
    pub(super) fn read_start(&mut self, pid: u32, file: &str, most: usize) -> Result<&[u8], Unread> {
        let file = self.open(pid, file)?;
        if self.buffer.len() < most {
            self.buffer.resize(most, 0);
        }
        let mut length = 0;
        while length < most {
            match rustix::io::pread(&file, &mut self.buffer[length..most], length as u64) {
                Ok(0) => break,
                Ok(n) => length += n,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(&self.buffer[..length])
    }

    /// The text of /proc/PID/task/TID/`file`.
    pub(super) fn read_thread(&mut self, pid: u32, tid: u32, file: &str) -> Result<&[u8], Unread> {
        self.set_name(pid, "task/");
        self.name.push_str(itoa::Buffer::new().format(tid));
        self.name.push('/');
        self.name.push_str(file);
        let file = self.open_at(OFlags::RDONLY)?;
        self.read_open(&file)
    }

    /// Whether there is a /proc/PID/`file`.
    pub(super) fn has(&mut self, pid: u32, file: &str) -> bool {
        self.set_name(pid, file);
        let Some(dir) = &self.dir else { return false };
        rustix::fs::statat(dir, self.name.as_str(), AtFlags::empty()).is_ok()
    }
}

/// The entries of a folder that are numbers, ascending.
fn numbers_in(folder: &OwnedFd, buffer: &mut Vec<u8>, numbers: &mut Vec<u32>) -> Result<(), Errno> {
    numbers.clear();
    each_number(folder, buffer, |n| {
        // A host has as many processes after a tick as before it, about: no doubling.
        if numbers.len() == numbers.capacity() {
            numbers.reserve_exact(numbers.len() / 16 + 64);
        }
        numbers.push(n);
    })?;
    // procfs lists in this order anyway.
    if !numbers.is_sorted() {
        numbers.sort_unstable();
    }
    numbers.dedup();
    Ok(())
}

fn each_number(folder: &OwnedFd, buffer: &mut Vec<u8>, mut each: impl FnMut(u32)) -> Result<(), Errno> {
    let mut entries = RawDir::new(folder, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name.first().is_some_and(u8::is_ascii_digit)
            && let Some(number) = super::parse::integer(name).and_then(|n| u32::try_from(n).ok())
        {
            each(number);
        }
    }
    Ok(())
}
