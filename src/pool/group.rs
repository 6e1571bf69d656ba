//! What belongs to the process group of a command.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, test_kill_process_group};
use tokio::time::{Instant, sleep};

/// Between two looks for those that are left; the first come sooner.
const LOOK: Duration = Duration::from_millis(50);

/// What proc(5) says of a process in `/proc/PID/stat`.
pub(super) struct Stat {
    /// Whether it has ended and only waits to be reaped.
    dead: bool,
    /// The number of its group, which is that of the group's first process.
    group: i32,
    /// When it was started: clock ticks since the host was.
    pub(super) started: u64,
}

impl Stat {
    /// `None` when there is no such process.
    pub(super) fn read(pid: &str) -> Option<Stat> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        // The name, which may hold anything, ends with the last ')'.
        let mut fields = stat.rsplit(')').next()?.split_ascii_whitespace();
        let dead = matches!(fields.next()?, "Z" | "X" | "x");
        let group = fields.nth(1)?.parse().ok()?;
        // Field 22; the last taken was field 5.
        let started = fields.nth(16)?.parse().ok()?;
        Some(Stat { dead, group, started })
    }
}

/// Who is in a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Members {
    /// Nobody whom /proc shows.
    None,
    /// Only processes that have ended.
    Dead,
    Alive,
}

/// Looks through all processes for the members of a group.
pub(super) fn members(leader: Pid) -> Members {
    let mut found = Members::None;
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !name.as_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        match name.to_str().and_then(Stat::read) {
            Some(stat) if stat.group != leader.as_raw_nonzero().get() => {}
            Some(stat) if stat.dead => found = Members::Dead,
            Some(_) => return Members::Alive,
            None => {}
        }
    }
    found
}

/// Waits until nobody of a group lives any more, but not longer than `limit`.
pub(super) async fn members_ended(leader: Pid, limit: Duration) {
    let began = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        let look = Instant::now();
        if members(leader) != Members::Alive {
            return;
        }
        let left = limit.saturating_sub(began.elapsed());
        if left.is_zero() {
            return;
        }
        // Where there are very many processes, to look at them is a twentieth of the time at most.
        pause = (pause * 2).min(LOOK).max(look.elapsed() * 20);
        sleep(pause.min(left)).await;
    }
}

/// What is left of a group that was killed and whose first process has been reaped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rest {
    /// Nothing, or what has been killed and only has to vanish.
    Killed,
    /// Processes that have become another user's and may not be signalled.
    OtherUsers,
}

/// Waits until such a group is gone, but not longer than `limit`. Being killed takes its time; and in a container whose
/// first process does not reap orphans, dead members stay for ever. If that first process is the agent, they are reaped
/// here.
pub(super) async fn gone(leader: Pid, limit: Duration) -> Rest {
    let began = Instant::now();
    // As long as the group has a member its number is not given to another process, and to ask is no signal.
    loop {
        let asked = test_kill_process_group(leader);
        if asked == Err(Errno::SRCH) {
            return Rest::Killed;
        }
        if began.elapsed() >= limit {
            return if asked == Err(Errno::PERM) && lives(leader) { Rest::OtherUsers } else { Rest::Killed };
        }
        if !matches!(rustix::process::waitpgid(leader, WaitOptions::NOHANG), Ok(Some(_))) {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Whether a group whose first process has been reaped still has a living member.
pub(super) fn lives(leader: Pid) -> bool {
    // Those whom /proc hides from the agent (`hidepid`) are taken to live.
    test_kill_process_group(leader) != Err(Errno::SRCH) && members(leader) != Members::Dead
}

/// Whether the agent may not signal a process, which has not been reaped, because it is another user's now.
pub(super) fn is_out_of_reach(pid: Pid) -> bool {
    rustix::process::test_kill_process(pid) == Err(Errno::PERM)
}

/// Sends a signal to every process of a group that may be signalled.
pub(super) fn signal(leader: Pid, signal: Signal) {
    // That a group is gone is what a signal would have been sent for. Who may not be signalled is found when the rest is
    // gone: one who may is enough for the kernel to say that all went well.
    let _gone = rustix::process::kill_process_group(leader, signal);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_members_as_long_as_one_is_not_reaped() {
        use std::os::unix::process::CommandExt;
        let mut child = std::process::Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
        let leader = Pid::from_child(&child);
        assert_eq!(members(leader), Members::Alive);
        assert!(Stat::read(&leader.to_string()).unwrap().started > 0);
        child.kill().unwrap();
        while members(leader) == Members::Alive {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!((members(leader), lives(leader)), (Members::Dead, false));
        child.wait().unwrap();
        assert_eq!((members(leader), lives(leader)), (Members::None, false));
    }
}
