//! The table of what runs, in memory that the agent and its guard share.

use std::fs::File;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

/// More than commands that any sensible configuration runs at a time. Only what is used takes memory.
const SLOTS: usize = 4096;
const LENGTH: usize = SLOTS * size_of::<Slot>();

/// One process group.
#[repr(C)]
pub(super) struct Slot {
    /// The number of the group and of its first process; 0 when there is none.
    leader: AtomicI32,
    /// A moment when that process was there already: nanoseconds since the host was started.
    seen: AtomicU64,
}

impl Slot {
    /// Enters a process, which calls this itself: only system calls, and stores to shared memory.
    pub(super) fn enter(&self, leader: libc::pid_t) {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: it only writes to the argument.
        unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
        #[allow(clippy::useless_conversion, reason = "these have 32 bits elsewhere")]
        let (seconds, nanos) = (i64::from(now.tv_sec).unsigned_abs(), i64::from(now.tv_nsec).unsigned_abs());
        self.seen.store(seconds.saturating_mul(1_000_000_000).saturating_add(nanos), Ordering::Relaxed);
        self.leader.store(leader, Ordering::Release);
    }

    fn clear(&self) {
        self.leader.store(0, Ordering::Release);
    }

    /// The group, and when its first process was there already.
    pub(super) fn read(&self) -> Option<(rustix::process::Pid, u64)> {
        let leader = rustix::process::Pid::from_raw(self.leader.load(Ordering::Acquire))?;
        Some((leader, self.seen.load(Ordering::Relaxed)))
    }
}

/// The table, mapped.
pub(super) struct Table {
    slots: NonNull<Slot>,
    file: OwnedFd,
    /// The slots that nobody has.
    free: Mutex<Vec<u16>>,
}

// SAFETY: the mapping is this value's alone, as long as it lives, and holds only atomics.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

impl Table {
    /// A new table. Other processes know nothing of it unless they are given its file.
    pub(super) fn create() -> io::Result<Arc<Table>> {
        let file = memfd_create("watchfire-guard", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, u64::try_from(LENGTH).unwrap_or(u64::MAX))?;
        let free = (0..u16::try_from(SLOTS).unwrap_or(u16::MAX)).rev().collect();
        Ok(Arc::new(Table { slots: map(&file)?, file, free: Mutex::new(free) }))
    }

    /// A table that somebody else made.
    pub(super) fn open(file: OwnedFd) -> io::Result<Table> {
        let file = File::from(file);
        // Shorter, it would end this process when it is read.
        if file.metadata()?.len() < u64::try_from(LENGTH).unwrap_or(u64::MAX) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is not the table of an agent"));
        }
        let file = OwnedFd::from(file);
        Ok(Table { slots: map(&file)?, file, free: Mutex::default() })
    }

    pub(super) fn file(&self) -> io::Result<OwnedFd> {
        rustix::io::fcntl_dupfd_cloexec(self.file.as_fd(), 3).map_err(io::Error::from)
    }

    pub(super) fn slots(&self) -> &[Slot] {
        // SAFETY: so many slots are mapped as long as this lives; zeroed memory is a slot, and its atomics may be changed
        // by others at any time.
        unsafe { std::slice::from_raw_parts(self.slots.as_ptr(), SLOTS) }
    }

    /// Takes a slot, if there is one left.
    pub(super) fn claim(self: &Arc<Self>) -> Option<Claim> {
        let index = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(Claim { table: Arc::clone(self), index })
    }
}

fn map(file: &OwnedFd) -> io::Result<NonNull<Slot>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping of a file, at a place of the kernel's choice.
    let start = unsafe { libc::mmap(ptr::null_mut(), LENGTH, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    match NonNull::new(start.cast()) {
        Some(slots) if start != libc::MAP_FAILED => Ok(slots),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nobody can have a reference to it any more.
        unsafe { libc::munmap(self.slots.as_ptr().cast(), LENGTH) };
    }
}

/// A slot that somebody has. Dropping it takes out who was entered.
pub(super) struct Claim {
    table: Arc<Table>,
    index: u16,
}

impl Claim {
    pub(super) fn slot(&self) -> Option<&Slot> {
        self.table.slots().get(usize::from(self.index))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(slot) = self.slot() {
            slot.clear();
        }
        self.table.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.index);
    }
}
