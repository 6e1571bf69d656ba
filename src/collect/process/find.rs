//! Processes as checks look for them: by id, or by control group, name and user. Unlike a pass it keeps nothing.

use super::parse;
use super::pass::CLOCK_TICKS;
use super::procfs::{ProcFs, Unread};
use crate::collect::{CollectError, Roots, read_small};

/// Bytes of a command line that are looked at.
const LONGEST_COMMAND: usize = 64 << 10;
/// What the kernel keeps of a process' name.
const COMM_LENGTH: usize = 15;

/// A process that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    pub pid: u32,
    /// `comm`, of at most 15 bytes.
    pub name: Vec<u8>,
    /// Clock ticks since boot.
    pub start: u64,
    /// Whether it has ended and only waits for its parent to notice.
    pub is_zombie: bool,
}

impl Process {
    /// Whether it has this name, of which the kernel keeps the first 15 bytes.
    pub fn is_named(&self, name: &str) -> bool {
        let name = name.as_bytes();
        self.name == name || self.name.len() == COMM_LENGTH && name.starts_with(&self.name)
    }
}

/// Looks for processes.
pub struct Finder {
    procfs: ProcFs,
    roots: Roots,
    /// Processes that could not be looked at: hidden from this user, or for want of a descriptor.
    unread: u64,
}

impl Finder {
    pub fn new(roots: &Roots) -> Result<Finder, CollectError> {
        let mut procfs = ProcFs::new(roots);
        procfs.open_root().map_err(|error| CollectError::read(&roots.proc(""), error.into()))?;
        Ok(Finder { procfs, roots: roots.clone(), unread: 0 })
    }

    /// The ids of all processes.
    pub fn all(&mut self) -> Result<Vec<u32>, CollectError> {
        let mut pids = Vec::new();
        self.procfs.list(&mut pids)?;
        Ok(pids)
    }

    /// A process by its id; `None` where there is none, or none that may be looked at.
    pub fn process(&mut self, pid: u32) -> Option<Process> {
        let read = self.procfs.read(pid, "stat").map(|text| {
            let stat = parse::stat(text)?;
            let is_zombie = matches!(stat.state, b'Z' | b'X' | b'x');
            Some(Process { pid, name: stat.comm.to_vec(), start: stat.start, is_zombie })
        });
        self.seen(read).flatten()
    }

    /// Its command line, the words with a space between each two; empty for a kernel thread.
    pub fn command_line(&mut self, pid: u32) -> Option<String> {
        let read = self.procfs.read_start(pid, "cmdline", LONGEST_COMMAND).map(|raw| {
            let end = raw.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
            String::from_utf8_lossy(raw.get(..end).unwrap_or(raw)).replace('\0', " ")
        });
        self.seen(read)
    }

    /// Its effective user.
    pub fn user(&mut self, pid: u32) -> Option<u32> {
        let read = self.procfs.read(pid, "status").map(|text| Some(parse::status(text)?.uid));
        self.seen(read).flatten()
    }

    /// Whether it runs in this unit, or in a control group below the unit's.
    pub fn is_in_unit(&mut self, pid: u32, unit: &str) -> bool {
        let read = self
            .procfs
            .read(pid, "cgroup")
            .map(|text| parse::cgroup(text).split(|b| *b == b'/').any(|component| component == unit.as_bytes()));
        self.seen(read).unwrap_or(false)
    }

    /// When it was started, in seconds since 1970; `None` where the time of boot is not known.
    pub fn started(&self, process: &Process) -> Option<f64> {
        let mut buffer = Vec::new();
        let boot = parse::value_of(read_small(&self.roots.proc("stat"), &mut buffer).ok()?, b"btime")?;
        Some(boot as f64 + process.start as f64 / CLOCK_TICKS)
    }

    /// How many processes could not be looked at so far.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    fn seen<T>(&mut self, read: Result<T, Unread>) -> Option<T> {
        if matches!(read, Err(Unread::Denied | Unread::Failed)) {
            self.unread += 1;
        }
        read.ok()
    }
}
