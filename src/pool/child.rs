//! A running command: waiting for its end, signalling its group, reaping it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::cgroup::ControlGroup;
use super::group;
use super::launch::Launched;
use super::outcome::{Status, Usage};
use super::spawner::Spawner;
use super::table::Claim;

/// A process that this value owns until it is reaped: as long as it is not, its number, which is also that of its
/// process group, cannot be given to another process, so signals sent through this value never hit a stranger.
pub(super) struct Child {
    pid: Pid,
    pidfd: Option<OwnedFd>,
    /// Known to have ended.
    ended: AtomicBool,
    reaped: bool,
    /// The agent's own peak of resident memory, in bytes, when the process was made.
    agent_peak: u64,
    /// Its entry for the guard; gone when it is reaped.
    _entry: Option<Claim>,
    /// Its control group, if it has one of its own.
    group: Option<ControlGroup>,
    /// Keeps the thread alive that made the process, and takes the process over when this value is dropped too early.
    spawner: Spawner,
}

impl Child {
    pub(super) fn new(
        launched: Launched,
        entry: Option<Claim>,
        group: Option<ControlGroup>,
        agent_peak: u64,
        spawner: Spawner,
    ) -> Child {
        let Launched { pid, pidfd } = launched;
        Child { pid, pidfd, ended: AtomicBool::new(false), reaped: false, agent_peak, _entry: entry, group, spawner }
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits until the process has ended. It stays unreaped.
    ///
    /// # Errors
    /// When the process cannot be waited for, because somebody else has reaped it.
    pub(super) async fn exited(&self) -> io::Result<()> {
        if self.ended.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.until_ended().await?;
        self.ended.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn until_ended(&self) -> io::Result<()> {
        if let Some(pidfd) = &self.pidfd {
            // SAFETY: the borrowed descriptor stays open, and the same, until `registered` is gone.
            let registered = unsafe { AsyncFd::register_with_interest(pidfd.as_fd(), Interest::READABLE) };
            // It fails when the system's limit of descriptors watched is reached; then there is still the way below.
            if let Ok(registered) = registered {
                let _ready = registered.readable().await?;
            }
        }
        // With a pidfd this only makes sure that the process is still there to be reaped. Without one, before Linux 5.3,
        // nothing tells when a process ends but SIGCHLD, which belongs to the whole program.
        let mut pause = Duration::from_millis(1);
        while !is_zombie(self.pid)? {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Sends a signal to every process of the group.
    pub(super) fn signal_group(&self, signal: Signal) {
        group::signal(self.pid, signal);
    }

    /// Kills every process of the group, and of the control group, which none can leave.
    pub(super) fn kill_all(&self) {
        self.signal_group(Signal::KILL);
        if let Some(group) = &self.group {
            group.kill();
        }
    }

    /// Sends a signal to the process alone.
    pub(super) fn signal(&self, signal: Signal) {
        let _gone = rustix::process::kill_process(self.pid, signal);
    }

    /// Takes the exit status of the process, which has ended.
    pub(super) fn reap(mut self) -> (Status, Usage) {
        match wait4(self.pid) {
            Ok(None) => (Status::Lost(Arc::new(io::ErrorKind::WouldBlock.into())), Usage::default()),
            Ok(Some((status, usage))) => {
                self.reaped = true;
                let status = if libc::WIFSIGNALED(status) {
                    Status::Signaled(libc::WTERMSIG(status))
                } else {
                    Status::Exited(libc::WEXITSTATUS(status))
                };
                (status, self.usage(&usage))
            }
            Err(error) => {
                self.reaped = true;
                (Status::Lost(error.into()), Usage::default())
            }
        }
    }

    fn usage(&self, usage: &libc::rusage) -> Usage {
        let max_rss = peak_bytes(usage);
        Usage {
            user: duration(usage.ru_utime),
            system: duration(usage.ru_stime),
            max_rss: (max_rss > self.agent_peak).then_some(max_rss),
            major_faults: u64::try_from(usage.ru_majflt).unwrap_or(0),
            minor_faults: u64::try_from(usage.ru_minflt).unwrap_or(0),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            self.spawner.take_over(self.pid);
        }
    }
}

/// Kills the group of a process, unless somebody else has reaped it: the number could be a stranger's by now.
pub(super) fn kill_group(leader: Pid) {
    if is_zombie(leader).is_ok() {
        group::signal(leader, Signal::KILL);
    }
}

/// Whether a child has ended and waits to be reaped.
///
/// # Errors
/// `ECHILD` when there is no such child: it has been reaped.
fn is_zombie(pid: Pid) -> io::Result<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(rustix::process::waitid(WaitId::Pid(pid), options)?.is_some())
}

/// Reaps the process if it has ended; `false` when it is still there.
pub(super) fn try_reap(pid: Pid) -> bool {
    !matches!(wait4(pid), Ok(None))
}

/// The agent's own peak of resident memory, in bytes.
pub(super) fn own_peak() -> u64 {
    // SAFETY: all-zero is a valid rusage, and getrusage only writes to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    peak_bytes(&usage)
}

/// `ru_maxrss` is in KiB.
fn peak_bytes(usage: &libc::rusage) -> u64 {
    u64::try_from(usage.ru_maxrss).unwrap_or(0).saturating_mul(1024)
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    seconds.saturating_add(Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0)))
}

/// Reaps the process if it has ended: wait status and resource use.
fn wait4(pid: Pid) -> io::Result<Option<(i32, libc::rusage)>> {
    let mut status = 0;
    // SAFETY: all-zero is a valid rusage, and wait4 only writes to it and to the status.
    let (result, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(pid.as_raw_nonzero().get(), &raw mut status, libc::WNOHANG, &raw mut usage), usage)
    };
    match result {
        0 => Ok(None),
        done if done > 0 => Ok(Some((status, usage))),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::launch::{ChildEnds, Image};
    use super::super::spawner::Spawners;
    use super::super::task::Command;
    use super::super::tests::rights::is_root_or_skipped;
    use super::*;

    async fn start(script: &str) -> Child {
        let null = || OwnedFd::from(std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").unwrap());
        let ends = ChildEnds { stdin: null(), stdout: null(), stderr: null() };
        let image =
            Image::new(&Command { argv: ["sh", "-c", script].map(Into::into).to_vec(), ..Command::default() }).unwrap();
        Spawners::new().start(image, ends).await.unwrap()
    }

    #[tokio::test]
    async fn the_end_is_seen_with_and_without_a_pidfd_and_leaves_the_status_to_be_taken() {
        for without_pidfd in [false, true] {
            let mut child = start("sleep 0.05; exit 5").await;
            if without_pidfd {
                child.pidfd = None;
            }
            assert!(!try_reap(child.pid));
            child.exited().await.unwrap();
            assert!(matches!(child.reap().0, Status::Exited(5)));
        }
    }

    #[tokio::test]
    async fn an_exit_status_that_somebody_else_took_is_an_end_of_its_own() {
        for without_pidfd in [false, true] {
            let mut child = start("exit 5").await;
            if without_pidfd {
                child.pidfd = None;
            }
            while !try_reap(child.pid) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(child.exited().await.unwrap_err().raw_os_error(), Some(libc::ECHILD));
            assert!(matches!(child.reap().0, Status::Lost(_)));
        }
    }

    #[tokio::test]
    async fn a_child_that_is_dropped_is_killed_and_reaped() {
        let child = start("trap '' TERM; sleep 1000 & wait").await;
        let stat = format!("/proc/{}/stat", child.pid);
        assert!(std::path::Path::new(&stat).exists());
        drop(child);
        while std::path::Path::new(&stat).exists() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    #[tokio::test]
    async fn as_long_as_a_command_is_not_reaped_its_number_is_given_to_nobody() {
        let child = start("exit 0").await;
        child.exited().await.unwrap();
        let number = child.pid.as_raw_nonzero().get();
        for _ in 0..20 {
            // The kernel is asked for just this number next.
            if std::fs::write("/proc/sys/kernel/ns_last_pid", (number - 1).to_string()).is_err() {
                if is_root_or_skipped("choose numbers of processes") {
                    eprintln!("skipped: not even root can choose numbers of processes here");
                }
                return;
            }
            let mut other = std::process::Command::new("true").spawn().unwrap();
            assert_ne!(i32::try_from(other.id()).unwrap(), number);
            other.wait().unwrap();
        }
        assert!(matches!(child.reap().0, Status::Exited(0)));
    }
}
