//! Control groups (version 2) of commands' own.
//!
//! A limit of memory is one of all processes of a command together there, and none of them can leave, as they can leave a
//! process group. It takes a group that is delegated to the agent: that of a service with `Delegate=yes`, or one that the
//! agent's user owns. As the kernel has it, a group with controllers has processes in leaves only, so the agent moves into
//! one, too.

use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Access, access, getxattr};
use rustix::process::{Pid, Signal};

/// What the agent's own leaf is called.
const AGENT: &str = "watchfire-agent";
/// What the groups of commands are called, before their number.
const COMMAND: &str = "watchfire-command-";
/// The processes that a command in a group of its own can have.
const PROCESSES: u64 = 512;

/// The group that is delegated, below which commands get theirs.
pub(super) struct ControlGroups {
    dir: PathBuf,
    has_memory: bool,
    next: AtomicU64,
    /// Groups that could not be removed because a process in them had not ended.
    stale: Arc<Mutex<Vec<PathBuf>>>,
}

impl ControlGroups {
    /// Finds the group that is delegated to the agent, if there is one, and makes it ready.
    pub(super) fn find() -> io::Result<Option<ControlGroups>> {
        let own = own_group(&fs::read_to_string("/proc/self/cgroup")?, &fs::read_to_string("/proc/self/mountinfo")?);
        let Some(own) = own else { return Ok(None) };
        let dir = match delegated(&own, is_marked, is_owned) {
            None => return Ok(None),
            Some(dir) => dir.to_path_buf(),
        };
        if dir == own {
            move_processes(&own, &own.join(AGENT))?;
        }
        enable(&dir)?;
        ControlGroups::at(dir).map(Some)
    }

    /// Uses this group, in which no process is.
    pub(super) fn at(dir: PathBuf) -> io::Result<ControlGroups> {
        let enabled = fs::read_to_string(dir.join("cgroup.subtree_control"))?;
        let has_memory = enabled.split_whitespace().any(|controller| controller == "memory");
        // What an agent before this one left when it was killed.
        let mut stale = Vec::new();
        for entry in fs::read_dir(&dir)?.flatten() {
            if is_left_behind(&entry.file_name()) {
                kill(&entry.path());
                stale.push(entry.path());
            }
        }
        let stale = Arc::new(Mutex::new(stale));
        Ok(ControlGroups { dir, has_memory, next: AtomicU64::new(0), stale })
    }

    /// Makes a group for a command that may have so much memory. `None` when that fails: then other limits must do.
    pub(super) fn make(&self, memory: u64) -> Option<ControlGroup> {
        lock(&self.stale).retain(|dir| !is_gone(fs::remove_dir(dir)));
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // Two agents may share a group; numbers of processes do not repeat among them.
        let dir = self.dir.join(format!("{COMMAND}{}-{number}", std::process::id()));
        match self.prepare(&dir, memory) {
            Ok(group) => Some(group),
            Err(error) => {
                tracing::warn!(group = %dir.display(), "no control group for a command: {error}");
                let _not_there = fs::remove_dir(&dir);
                None
            }
        }
    }

    fn prepare(&self, dir: &Path, memory: u64) -> io::Result<ControlGroup> {
        fs::create_dir(dir)?;
        if self.has_memory {
            fs::write(dir.join("memory.max"), memory.to_string())?;
            // Without swap there is no such file; with it, the limit would be one of what is not swapped out.
            let _no_swap = fs::write(dir.join("memory.swap.max"), "0");
            // One process that is ended for want of memory takes the others along: they are one command.
            let _old_kernel = fs::write(dir.join("memory.oom.group"), "1");
        }
        let _not_enabled = fs::write(dir.join("pids.max"), PROCESSES.to_string());
        let procs = CString::new(dir.join("cgroup.procs").into_os_string().into_vec())?;
        let (dir, stale) = (dir.to_path_buf(), Arc::clone(&self.stale));
        Ok(ControlGroup { dir, procs, limits_memory: self.has_memory, stale })
    }
}

/// The group of one command. When it is dropped, whoever is in it is killed, and it is removed.
pub(super) struct ControlGroup {
    dir: PathBuf,
    procs: CString,
    limits_memory: bool,
    stale: Arc<Mutex<Vec<PathBuf>>>,
}

impl ControlGroup {
    /// The file by which processes enter.
    pub(super) fn procs(&self) -> &CStr {
        &self.procs
    }

    /// Whether it keeps its members to the memory they may have.
    pub(super) fn limits_memory(&self) -> bool {
        self.limits_memory
    }

    pub(super) fn kill(&self) {
        kill(&self.dir);
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        self.kill();
        // Those that were killed take a moment to be gone.
        if !is_gone(fs::remove_dir(&self.dir)) {
            lock(&self.stale).push(self.dir.clone());
        }
    }
}

/// Kills all members of a group.
fn kill(dir: &Path) {
    if fs::write(dir.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    // Before Linux 5.14. Who is quick to fork gets away for the moment; the next to look finds his children.
    for _ in 0..10 {
        let members = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        if members.is_empty() {
            return;
        }
        for pid in members.lines().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
            let _gone = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

fn is_gone(removed: io::Result<()>) -> bool {
    removed.map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |()| true)
}

/// Nothing panics while this lock is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The group that is the agent's to divide: its own, or the one above when the service manager has put the agent into a
/// leaf (`DelegateSubgroup=`), or the agent itself has when it was here before. That its user owns the one above says
/// nothing else: so it is with all services of a user's own manager, which would not find the commands of this one there.
fn delegated(own: &Path, is_marked: impl Fn(&Path) -> bool, is_owned: impl Fn(&Path) -> bool) -> Option<&Path> {
    let is_leaf = own.file_name().is_some_and(|name| name == AGENT);
    let parent = own.parent().filter(|parent| is_marked(parent) || (is_leaf && is_owned(parent)));
    parent.or_else(|| Some(own).filter(|own| is_marked(own) || is_owned(own)))
}

/// Whether the service manager says that a group is delegated.
fn is_marked(dir: &Path) -> bool {
    ["user.delegate", "trusted.delegate"].iter().any(|name| {
        let mut value = [0_u8; 4];
        getxattr(dir, *name, &mut value).is_ok_and(|length| value.get(..length) == Some(b"1"))
    })
}

/// Whether a group is the agent's user's.
fn is_owned(dir: &Path) -> bool {
    // Root may write everywhere: that says nothing.
    !rustix::process::geteuid().is_root()
        && ["cgroup.procs", "cgroup.subtree_control"]
            .iter()
            .all(|file| access(dir.join(file), Access::WRITE_OK).is_ok())
        && access(dir, Access::WRITE_OK).is_ok()
}

/// Whether this is the name of a command's group whose agent is no more: another one may share the group above, with
/// commands of its own.
fn is_left_behind(name: &OsStr) -> bool {
    let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(COMMAND)) else { return false };
    let agent = rest.split('-').next().unwrap_or_default();
    // A number may have been given to something else since, which is called otherwise.
    let program = |pid: &str| fs::read(format!("/proc/{pid}/comm")).ok();
    let is_alive = agent.parse().is_ok_and(|pid: u32| pid != std::process::id()) && program(agent) == program("self");
    !is_alive
}

/// Moves all processes of a group into one below it.
fn move_processes(from: &Path, to: &Path) -> io::Result<()> {
    if let Err(error) = fs::create_dir(to)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    for pid in fs::read_to_string(from.join("cgroup.procs"))?.lines() {
        match fs::write(to.join("cgroup.procs"), pid) {
            // It has ended meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            moved => moved?,
        }
    }
    Ok(())
}

/// Has the groups below this one account for memory and processes, as far as this one does.
fn enable(dir: &Path) -> io::Result<()> {
    let available = fs::read_to_string(dir.join("cgroup.controllers"))?;
    let wanted = available.split_whitespace().filter(|controller| ["memory", "pids"].contains(controller));
    for controller in wanted {
        fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"))?;
    }
    Ok(())
}

/// The directory of the agent's own group, from the contents of `/proc/self/cgroup` and `/proc/self/mountinfo`.
fn own_group(groups: &str, mounts: &str) -> Option<PathBuf> {
    let own = Path::new(groups.lines().find_map(|line| line.strip_prefix("0::"))?);
    mounts.lines().find_map(|line| {
        let (mount, of) = line.split_once(" - ")?;
        if of.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        // In a container, a part of the tree may be mounted that does not hold the agent.
        let below = own.strip_prefix(root).ok()?;
        // As proc(5) has it, a space in a path is `\040`.
        (!at.contains('\\')).then(|| Path::new(at).join(below))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_above_is_divided_only_where_it_was_meant_for_the_agent() {
        let found = |own: &'static str, marked: &[&str], owned: &[&str]| {
            let is = |list: &[&str], dir: &Path| list.iter().any(|one| Path::new(one) == dir);
            delegated(Path::new(own), |dir| is(marked, dir), |dir| is(owned, dir)).map(|dir| dir.to_str().unwrap())
        };
        let (app, service, leaf) = ("/app.slice", "/app.slice/w.service", "/app.slice/w.service/watchfire-agent");
        assert_eq!(found(service, &[], &[app, service]), Some(service), "a user's manager owns all of them");
        assert_eq!(found(service, &[service], &[]), Some(service));
        assert_eq!(found(leaf, &[service], &[]), Some(service));
        assert_eq!(found(leaf, &[], &[app, service, leaf]), Some(service), "it has been here before");
        assert_eq!(found("/app.slice/w.service/sub", &[service], &[]), Some(service));
        assert_eq!(found(service, &[], &[app]), None);
        assert_eq!(found(service, &[], &[]), None);
    }

    #[test]
    fn the_agents_own_group_is_found_below_where_the_tree_is_mounted() {
        let mounts = "24 1 0:22 / /proc rw - proc proc rw\n\
                      30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let group = |groups: &str, mounts: &str| own_group(groups, mounts).map(|dir| dir.display().to_string());
        let service = "1:name=systemd:/x\n0::/system.slice/watchfire.service\n";
        assert_eq!(group(service, mounts).as_deref(), Some("/sys/fs/cgroup/system.slice/watchfire.service"));
        assert_eq!(group("0::/\n", mounts).as_deref(), Some("/sys/fs/cgroup/"));
        let container = "30 24 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(group("0::/docker/abc/x\n", container).as_deref(), Some("/sys/fs/cgroup/x"));
        assert_eq!(group("0::/elsewhere\n", container), None);
        assert_eq!(group("4:memory:/a\n", mounts), None);
        assert_eq!(group("0::/\n", "24 1 0:22 / /proc rw - proc proc rw\nnonsense\n"), None);
    }
}
