//! What a new process does to itself before it becomes the command, so that this gets no more than its limits.
//!
//! It runs between clone and exec, in the agent's memory: system calls only, and those as the kernel has them. The C
//! library's `setuid` and its like would change all threads that it believes to be in this process, which are the agent's.

use std::ffi::{CStr, CString, c_int, c_long};
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::cgroup::ControlGroup;
use super::limits::{IoPriority, Limits};
use super::users::{Identity, Unknown};

/// Which limit could not be put in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Limit {
    Cpu,
    Memory,
    OpenFiles,
    Nice,
    Io,
    Network,
    Group,
    User,
}

impl Limit {
    const ALL: [Limit; 8] = [
        Limit::Cpu,
        Limit::Memory,
        Limit::OpenFiles,
        Limit::Nice,
        Limit::Io,
        Limit::Network,
        Limit::Group,
        Limit::User,
    ];

    /// As the configuration calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Limit::Cpu => "cpu",
            Limit::Memory => "memory",
            Limit::OpenFiles => "open_files",
            Limit::Nice => "nice",
            Limit::Io => "io",
            Limit::Network => "network",
            Limit::Group => "group",
            Limit::User => "user",
        }
    }

    /// As a number, for the word of memory through which the new process tells what failed.
    pub(super) fn code(self) -> i32 {
        self as i32
    }

    pub(super) fn of_code(code: i32) -> Option<Limit> {
        Limit::ALL.into_iter().find(|limit| limit.code() == code)
    }
}

/// The limits of a command in the form in which system calls take them.
#[derive(Default)]
pub(super) struct Confinement {
    resources: Vec<(Limit, c_int, libc::rlimit64)>,
    /// Where a process enters its control group.
    procs: Option<CString>,
    /// The number, and as text.
    nice: Option<(c_int, CString)>,
    io: Option<c_int>,
    pub(super) identity: Option<Identity>,
    offline: Option<Maps>,
}

/// What a user namespace has to be told so that everybody keeps his number in it.
struct Maps {
    users: CString,
    groups: CString,
}

impl Confinement {
    /// Finds out what the limits mean on this host.
    pub(super) fn new(limits: &Limits, group: Option<&ControlGroup>) -> Result<Confinement, Unknown> {
        let Limits { cpu, memory, open_files, nice, io, user, group: user_group, network } = limits;
        let mut resources = Vec::new();
        let mut limit = |limit, resource, soft: u64, hard: u64| {
            resources.push((limit, resource, libc::rlimit64 { rlim_cur: soft, rlim_max: hard }));
        };
        if let Some(time) = cpu {
            let seconds = whole_seconds(*time);
            limit(Limit::Cpu, libc::RLIMIT_CPU as c_int, seconds, seconds.saturating_add(1));
        }
        if let Some(bytes) = memory
            && !group.is_some_and(ControlGroup::limits_memory)
        {
            // Of the limits that a process has, this counts what it may write to and has for itself, since Linux 4.7:
            // heap, private mappings, stacks of threads. RLIMIT_AS counts what is only reserved too, which programs in Go,
            // Java or JavaScript do by the gigabyte without using it; RLIMIT_RSS has no effect.
            limit(Limit::Memory, libc::RLIMIT_DATA as c_int, *bytes, *bytes);
        }
        if let Some(files) = open_files {
            limit(Limit::OpenFiles, libc::RLIMIT_NOFILE as c_int, *files, *files);
        }
        let identity = Identity::find(user.as_deref(), user_group.as_deref())?.filter(|identity| !identity.is_own());
        let offline = if *network { None } else { Some(Maps::new(identity.as_ref())) };
        Ok(Confinement {
            resources,
            procs: group.map(|group| group.procs().to_owned()),
            nice: nice.map(|nice| (c_int::from(nice), CString::new(nice.to_string()).unwrap_or_default())),
            io: io.map(io_priority),
            identity,
            offline,
        })
    }

    /// Puts the limits in force for the calling process. On failure `errno` says why.
    ///
    /// # Safety
    /// Only for a process between clone and exec; it makes nothing but system calls.
    pub(super) unsafe fn apply(&self) -> Result<(), Limit> {
        // SAFETY: system calls with numbers, and pointers to what `self` holds.
        unsafe {
            // What needs a privilege comes before the privileges go.
            if let Some(procs) = &self.procs {
                write(procs, c"0", Limit::Memory)?;
            }
            for (limit, resource, values) in &self.resources {
                let none = ptr::null_mut::<libc::rlimit64>();
                done(libc::syscall(libc::SYS_prlimit64, 0, *resource, ptr::from_ref(values), none), *limit)?;
            }
            if let Some((nice, text)) = &self.nice {
                done(libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, *nice), Limit::Nice)?;
                // Its session is a scheduling group of its own (sched(7), autogroup), within which alone that counts: the
                // group has to be nice, too. Where there are none, or where the kernel has it not so soon again, so be it.
                let _not_grouped = write(c"/proc/self/autogroup", text, Limit::Nice);
            }
            if let Some(priority) = self.io {
                done(libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, priority), Limit::Io)?;
            }
            let offline = match &self.offline {
                None => true,
                Some(_) => libc::unshare(libc::CLONE_NEWNET) == 0,
            };
            if let Some(Identity { uid, gid, groups, .. }) = &self.identity {
                done(libc::syscall(SETGROUPS, groups.len(), groups.as_ptr()), Limit::Group)?;
                done(libc::syscall(SETRESGID, *gid, *gid, *gid), Limit::Group)?;
                done(libc::syscall(SETRESUID, *uid, *uid, *uid), Limit::User)?;
            }
            if let Some(maps) = &self.offline
                && !offline
            {
                maps.unshare()?;
            }
        }
        Ok(())
    }
}

impl Maps {
    fn new(identity: Option<&Identity>) -> Maps {
        let (uid, gid) = identity.map_or_else(
            || (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
            |identity| (identity.uid, identity.gid),
        );
        let map = |number: u32| CString::new(format!("{number} {number} 1")).unwrap_or_default();
        Maps { users: map(uid), groups: map(gid) }
    }

    /// Without privileges, there is a way out of the network through a user namespace.
    unsafe fn unshare(&self) -> Result<(), Limit> {
        // SAFETY: as in `apply`.
        unsafe {
            done(libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET).into(), Limit::Network)?;
            // Since Linux 3.19 who may not set groups may map his own.
            write(c"/proc/self/setgroups", c"deny", Limit::Network)?;
            write(c"/proc/self/uid_map", &self.users, Limit::Network)?;
            write(c"/proc/self/gid_map", &self.groups, Limit::Network)
        }
    }
}

/// Writes a text to a file at once.
unsafe fn write(path: &CStr, text: &CStr, limit: Limit) -> Result<(), Limit> {
    let bytes = text.to_bytes();
    // SAFETY: as in `Confinement::apply`.
    unsafe {
        let file = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        done(file.into(), limit)?;
        done(libc::write(file, bytes.as_ptr().cast(), bytes.len()) as c_long, limit)
        // The descriptor is closed by exec.
    }
}

fn done(result: c_long, limit: Limit) -> Result<(), Limit> {
    if result < 0 { Err(limit) } else { Ok(()) }
}

/// The launch of a command that becomes another user in the agent's memory. From that change until it has left by exec,
/// nobody may look into it: that user could read and change the agent. The kernel sees to that (the memory is no longer
/// "dumpable", see `ptrace(2)`), but for good: the agent could not read its own files in /proc any more unless it is root.
/// So this undoes it, when no such launch is under way any more.
pub(super) struct Transit(());

struct UnderWay {
    launches: usize,
    /// Whether the memory was dumpable before the first of them.
    dumpable: bool,
}

static UNDER_WAY: Mutex<UnderWay> = Mutex::new(UnderWay { launches: 0, dumpable: false });

impl Transit {
    /// To be held while a command with this identity is launched.
    pub(super) fn begin(identity: Option<&Identity>) -> Option<Transit> {
        identity?;
        let mut under_way = under_way();
        if under_way.launches == 0 {
            // SAFETY: it takes no pointer.
            under_way.dumpable = unsafe { libc::prctl(libc::PR_GET_DUMPABLE) == 1 };
        }
        under_way.launches += 1;
        Some(Transit(()))
    }
}

impl Drop for Transit {
    fn drop(&mut self) {
        let mut under_way = under_way();
        under_way.launches = under_way.launches.saturating_sub(1);
        if under_way.launches == 0 && under_way.dumpable {
            // SAFETY: it takes no pointer.
            unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
        }
    }
}

/// Nothing panics while it is held.
fn under_way() -> MutexGuard<'static, UnderWay> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

/// <linux/ioprio.h>; not in libc.
const IOPRIO_WHO_PROCESS: c_int = 1;

fn io_priority(priority: IoPriority) -> c_int {
    let (class, level) = match priority {
        IoPriority::RealTime(level) => (1, level),
        IoPriority::BestEffort(level) => (2, level),
        IoPriority::Idle => (3, 0),
    };
    class << 13 | c_int::from(level)
}

/// Numbers of users and groups have 32 bits; these architectures have older calls for 16.
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
const SETGROUPS: c_long = libc::SYS_setgroups32;
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
const SETRESGID: c_long = libc::SYS_setresgid32;
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
const SETRESUID: c_long = libc::SYS_setresuid32;
#[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
const SETGROUPS: c_long = libc::SYS_setgroups;
#[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
const SETRESGID: c_long = libc::SYS_setresgid;
#[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
const SETRESUID: c_long = libc::SYS_setresuid;
