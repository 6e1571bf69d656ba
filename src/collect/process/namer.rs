//! The name of a process' group, from what the process pass or the report of an end knows of it.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::config::ProcessesConfig;
use super::events::{AtExec, Exit};
use super::naming::{Facts, LONGEST_COMMAND, Naming};
use super::parse;
use super::pass::CLOCK_TICKS;
use super::procfs::ProcFs;
use super::table::Process;
use super::users::Users;
use crate::collect::Roots;

/// The group of all kernel threads, where processes are named by `comm`: their parent's.
const KERNEL_THREADS: &str = "kthreadd";

/// Finds names.
pub(super) struct Namer {
    naming: Naming,
    users: Users,
    /// Seconds since 1970.
    boot_time: u64,
    children: bool,
    recheck: bool,
}

impl Namer {
    pub fn new(config: &ProcessesConfig, roots: &Roots) -> Namer {
        let naming = Naming::new(&config.groups);
        Namer {
            users: Users::new(roots),
            boot_time: 0,
            children: config.children && !naming.is_by_comm(),
            recheck: config.recheck && !naming.is_by_comm(),
            naming,
        }
    }

    /// What has to be read of a process as soon as it executes a program, since it may be gone when the pass comes.
    pub fn at_exec(&self) -> AtExec {
        AtExec { cmdline: self.naming.needs_cmdline(), cgroup: self.naming.needs_cgroups() }
    }

    /// Whether a process without a name is in the group of its parent.
    pub fn children(&self) -> bool {
        self.children
    }

    /// Whether a process is named anew whenever it is read in full.
    pub fn recheck(&self) -> bool {
        self.recheck
    }

    /// How often the template of a name failed.
    pub fn failures(&self) -> u64 {
        self.naming.failures()
    }

    pub fn set_boot_time(&mut self, seconds: u64) {
        self.boot_time = seconds;
    }

    /// The name of the group of a process whose `stat` has been read; `None` if it is in none by itself.
    pub fn name<'p>(&mut self, process: &'p Process, procfs: &mut ProcFs) -> Option<Cow<'p, str>> {
        if self.naming.is_by_comm() {
            return Some(by_comm(process.comm.as_bytes(), process.kernel_thread));
        }
        let Namer { naming, users, boot_time, .. } = self;
        // The table has the start of a kernel thread's name only.
        let whole = match process.kernel_thread {
            true => procfs.read(process.pid, "stat").ok().and_then(parse::stat).map(|stat| stat.comm.to_vec()),
            false => None,
        };
        let comm = whole.as_deref().unwrap_or(process.comm.as_bytes());
        let mut facts = OfProcess { process, comm, procfs, users, boot_time: *boot_time };
        naming.name(&mut facts).map(Cow::Owned)
    }

    /// The same of processes that have ended and were never read. Where its command line was not read in time, its name
    /// is all of it.
    pub fn name_ended<'e>(&mut self, exit: &'e Exit) -> Option<Cow<'e, str>> {
        if self.naming.is_by_comm() {
            return Some(by_comm(exit.comm.as_bytes(), exit.kernel_thread));
        }
        self.naming.name(&mut OfExit { exit, users: &mut self.users }).map(Cow::Owned)
    }
}

fn by_comm(comm: &[u8], kernel_thread: bool) -> Cow<'_, str> {
    if kernel_thread { KERNEL_THREADS.into() } else { String::from_utf8_lossy(comm) }
}

struct OfProcess<'a> {
    process: &'a Process,
    comm: &'a [u8],
    procfs: &'a mut ProcFs,
    users: &'a mut Users,
    boot_time: u64,
}

impl Facts for OfProcess<'_> {
    fn pid(&self) -> u32 {
        self.process.pid
    }

    fn comm(&self) -> &[u8] {
        self.comm
    }

    fn started(&self) -> Duration {
        let after_boot = Duration::from_millis(self.process.start.saturating_mul(1000 / CLOCK_TICKS as u64));
        Duration::from_secs(self.boot_time).saturating_add(after_boot)
    }

    fn cmdline(&mut self) -> &[u8] {
        if self.process.kernel_thread {
            return b"";
        }
        self.procfs.read_start(self.process.pid, "cmdline", LONGEST_COMMAND).unwrap_or_default()
    }

    fn username(&mut self) -> &str {
        let status = self.procfs.read(self.process.pid, "status").ok().and_then(parse::status);
        let uid = status.map_or(self.process.uid, |status| status.uid);
        self.users.look_up(uid);
        self.users.name(uid)
    }

    fn cgroups(&mut self) -> &[u8] {
        self.procfs.read(self.process.pid, "cgroup").unwrap_or_default()
    }
}

struct OfExit<'a> {
    exit: &'a Exit,
    users: &'a mut Users,
}

impl Facts for OfExit<'_> {
    fn pid(&self) -> u32 {
        self.exit.pid
    }

    fn comm(&self) -> &[u8] {
        self.exit.comm.as_bytes()
    }

    fn started(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(self.exit.age)
    }

    fn cmdline(&mut self) -> &[u8] {
        match &self.exit.cmdline {
            _ if self.exit.kernel_thread => b"",
            Some(cmdline) => cmdline,
            None => self.exit.comm.as_bytes(),
        }
    }

    fn username(&mut self) -> &str {
        let Some(uid) = self.exit.uid else { return "" };
        self.users.look_up(uid);
        self.users.name(uid)
    }

    fn cgroups(&mut self) -> &[u8] {
        self.exit.cgroup.as_deref().unwrap_or_default()
    }
}
