//! What a process that has ended used.

use super::super::events::Exit;
use super::super::table::{Counts, Files, Process, TICK_NS, take};

/// All that a process and the children that it has waited for are known to have used, nanoseconds.
pub(super) fn whole(process: &Process) -> u64 {
    process.read.cpu().saturating_add(process.children.saturating_mul(TICK_NS))
}

/// What a process used after it was last read, in whole clock ticks: a zombie's `stat` or its parent's has the rest. The
/// row is as if it had been read.
pub(super) fn rest(p: &mut Process, exit: &Exit) -> Counts {
    let used = &exit.used;
    let all = used.run_ns / TICK_NS;
    let more = all.saturating_sub(p.read.user.saturating_add(p.read.system));
    let in_user = share(all, used.user_ns, used.system_ns).saturating_sub(p.read.user).min(more);
    p.read.user = p.read.user.saturating_add(in_user);
    p.read.system = p.read.system.saturating_add(more - in_user);
    let mut rest = Counts {
        user: in_user.saturating_mul(TICK_NS),
        system: (more - in_user).saturating_mul(TICK_NS),
        minor_faults: p.read.minor_faults.take(used.minor_faults, false),
        major_faults: p.read.major_faults.take(used.major_faults, false),
        ..Counts::default()
    };
    // Of several threads only the main one's are counted.
    if p.known.has(Files::STATUS) && p.threads == 1 {
        rest.voluntary = p.read.voluntary.take(used.voluntary, false);
        rest.nonvoluntary = p.read.nonvoluntary.take(used.nonvoluntary, false);
    }
    if p.known.has(Files::IO) {
        rest.read_bytes = take(&mut p.read.read_bytes, used.read_bytes, false);
        rest.write_bytes = take(&mut p.read.write_bytes, used.write_bytes, false);
    }
    rest
}

/// What processes that were never read have used.
pub(super) fn counts(exit: &Exit) -> Counts {
    let used = &exit.used;
    let user = share(used.run_ns, used.user_ns, used.system_ns);
    Counts {
        user,
        system: used.run_ns.saturating_sub(user),
        minor_faults: used.minor_faults,
        major_faults: used.major_faults,
        voluntary: used.voluntary,
        nonvoluntary: used.nonvoluntary,
        read_bytes: used.read_bytes,
        write_bytes: used.write_bytes,
    }
}

/// The part of `all` that was in user mode, by the kernel's coarse count; as there, all of it where that says nothing.
fn share(all: u64, user: u64, system: u64) -> u64 {
    match user.saturating_add(system) {
        0 => all,
        both => (u128::from(all) * u128::from(user) / u128::from(both)) as u64,
    }
}
