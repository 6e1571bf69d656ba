//! The guard: a small process that ends what commands started in turn when the agent is killed.
//!
//! The kernel kills a command when the agent dies, but not the command's children. While the agent lives it ends a whole
//! group itself. The guard waits for the agent's end, and kills the groups that are still in the table which the two
//! share. It is started with the first command, is replaced when somebody kills it, and ends with the agent.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::child::try_reap;
use super::group::Stat;
use super::launch::{ChildEnds, Image, Launched, Launcher};
use super::outcome::{StartError, StartStep};
use super::table::{Claim, Table};
use super::task::Command;

/// How often the guard asks for the agent on a kernel that does not tell (before Linux 5.3).
const LOOK: Duration = Duration::from_secs(1);

/// So many guards are started in a row, and then none for a while.
const STARTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(60);

/// The agent's side: keeps the guard running.
pub(super) struct Guarding {
    argv: Vec<OsString>,
    table: Arc<Table>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    guard: Option<Launched>,
    /// When a guard was started last, and how often of late.
    last: Option<Instant>,
    starts: u32,
}

impl State {
    /// Whether a guard may be started now: one that cannot be started, or ends at once, is no reason to make every
    /// command cost twice.
    fn may_start(&mut self) -> bool {
        if self.last.is_none_or(|last| last.elapsed() >= PAUSE) {
            self.starts = 0;
        } else if self.starts >= STARTS {
            return false;
        }
        self.last = Some(Instant::now());
        self.starts += 1;
        true
    }
}

impl Guarding {
    /// The guard is started by this command line, later.
    pub(super) fn new(argv: Vec<OsString>) -> io::Result<Guarding> {
        Ok(Guarding { argv, table: Table::create()?, state: Mutex::default() })
    }

    /// Sees to it that the guard runs, and takes a slot for a command that is about to be started. It is started without
    /// when there is none to be had: the guard is the second line of defence.
    pub(super) fn prepare(&self, launcher: &mut Launcher) -> Option<Claim> {
        // Another thread that starts the guard just now may hang in that; it is not waited for.
        if let Some(mut state) = self.try_lock() {
            if state.guard.as_ref().is_some_and(|guard| try_reap(guard.pid)) {
                state.guard = None;
            }
            if state.guard.is_none() && state.may_start() {
                let started = self.start(launcher);
                state.guard = started.map_err(|error| tracing::warn!("no guard for commands: {error}")).ok();
            }
        }
        self.table.claim()
    }

    fn start(&self, launcher: &mut Launcher) -> Result<Launched, StartError> {
        let command = Command { argv: self.argv.clone(), ..Command::default() };
        let mut image = Image::new(&command)?;
        image.survives = true;
        let null = || rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let ends = || -> io::Result<ChildEnds> {
            Ok(ChildEnds { stdin: self.table.file()?, stdout: above(null()?)?, stderr: above(null()?)? })
        };
        let ends = ends().map_err(|error| image.error(StartStep::Pipes, error))?;
        launcher.launch(&image, &ends, None, None)
    }

    /// Ends the guard, and returns when it is reaped.
    pub(super) async fn end(&self) {
        let Some(guard) = self.try_lock().and_then(|mut state| state.guard.take()) else { return };
        // It is not reaped yet, so this is its number and nobody else's.
        let _gone = rustix::process::kill_process(guard.pid, Signal::KILL);
        while !try_reap(guard.pid) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            // Nothing panics while it is held.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

fn above(fd: OwnedFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(&fd, 3)?)
}

/// The guard's side, in a process of its own that the agent has started, with the table as its standard input: waits for
/// the agent's end, kills what is left, and returns.
///
/// # Errors
/// When the standard input is not such a table.
pub fn run() -> io::Result<()> {
    let agent = rustix::process::getppid();
    ignore_signals();
    let table = Table::open(rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3)?)?;
    if let Some(agent) = agent {
        wait_for_end(agent);
    }
    for (leader, seen) in table.slots().iter().filter_map(super::table::Slot::read) {
        if !is_stranger(leader, seen) {
            let _gone = rustix::process::kill_process_group(leader, Signal::KILL);
        }
    }
    Ok(())
}

/// What ends the agent may be sent to all its processes, by a terminal or a service manager: the guard ends when the
/// agent has.
fn ignore_signals() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2] {
        // SAFETY: it takes no pointer, and to be ignored is for the kernel alone to do.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

fn wait_for_end(agent: Pid) {
    let is_parent = || rustix::process::getppid() == Some(agent);
    let pidfd = rustix::process::pidfd_open(agent, PidfdFlags::empty());
    // Asked after the descriptor was had: so that is the agent's.
    while is_parent() {
        match &pidfd {
            Ok(pidfd) => {
                let _interrupted = poll(&mut [PollFd::new(pidfd, PollFlags::IN)], None);
            }
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}

/// Whether a number that was a group's belongs to a process now that was started later. As long as the group has a
/// member its number is not given away; but the table may tell of one that has just ended.
fn is_stranger(leader: Pid, seen: u64) -> bool {
    let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
    Stat::read(&leader.to_string()).is_some_and(|stat| stat.started.saturating_mul(tick) > seen)
}

#[cfg(test)]
mod tests {
    use super::super::table::Slot;
    use super::*;

    #[test]
    fn a_process_that_was_started_after_its_number_was_entered_is_a_stranger() {
        let table = Table::create().unwrap();
        let claim = table.claim().unwrap();
        let slot = claim.slot().unwrap();
        slot.enter(rustix::process::getpid().as_raw_nonzero().get());
        let (me, seen) = slot.read().unwrap();
        assert!(!is_stranger(me, seen));
        assert!(is_stranger(me, 0));
        drop(claim);
        assert!(table.slots().iter().all(|slot| Slot::read(slot).is_none()));
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let file = OwnedFd::from(tempfile::tempfile().unwrap());
        assert!(Table::open(file).is_err());
        let other = Table::open(Table::create().unwrap().file().unwrap()).unwrap();
        assert!(other.slots().iter().all(|slot| slot.read().is_none()));
    }
}
