//! One pass over all processes: what of each has to be read, and what has not.
//!
//! Most processes sleep from one tick to the next, and to open, read and close `stat`, `status` and `io` of each and count
//! its descriptors again costs five times what it takes to see that it slept, and 25 times where the file that shows it
//! stays open:
//!
//! - A process with one thread has not run when `schedstat` shows the same nanoseconds on a CPU as before, and one that
//!   has not run has changed nothing: no CPU time, fault, context switch, byte or descriptor. Nothing else is read.
//! - If it has run, or has several threads (`schedstat` is of the main thread alone), `stat` is read. Where that shows
//!   neither CPU time nor faults nor a change of memory or threads, `status`, `io` and `fd` of a process with several
//!   threads are left for later: its threads ran for less than a clock tick (10 ms).
//! - Every `refresh_ticks` ticks each process is read in full, a part of them in each tick. This bounds what the two
//!   rules above can miss: context switches, bytes and descriptors of threads that hardly run, memory that the kernel
//!   takes from a sleeper, a sleeper that was woken but has not run yet.
//!
//! One file of each of the first `kept_files` processes stays open.

use std::time::Instant;

use super::ends::{Ends, Waited};
use super::groups::{GroupId, Groups};
use super::namer::Namer;
use super::parse;
use super::procfs::{ProcFs, Unread};
use super::table::{Comm, Counts, Files, Process, Reported, TICK_NS, Table, Used, take};
use crate::collect::window::{Step, Window};
use crate::collect::{CollectError, Roots, Sampling};

/// Clock ticks a second in all that the kernel tells (`USER_HZ`), on every architecture that Rust has.
pub(super) const CLOCK_TICKS: f64 = 100.0;

/// Limits are set once, as a rule: they are read in every so manieth full reading of a process.
const LIMITS_EVERY: u32 = 16;

/// Reads that failed, by file; what is not for us is counted once a process.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct ReadErrors {
    pub stat: u64,
    pub status: u64,
    pub io: u64,
    pub fd: u64,
    pub limits: u64,
}

/// How a pass is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// Whether more than `stat` is read.
    pub details: bool,
    pub refresh_ticks: u32,
    pub kept_files: usize,
}

/// The processes, and how they are read.
pub(super) struct Pass {
    pub table: Table,
    pub procfs: ProcFs,
    pub errors: ReadErrors,
    pub ends: Ends,
    pub namer: Namer,
    options: Options,
    pids: Vec<u32>,
    tick: u32,
    began: Instant,
    first: bool,
    window: Window,
    kept: usize,
    pub page_size: u64,
    found: Found,
}

/// What a pass comes across and deals with at its end.
#[derive(Default)]
struct Found {
    /// Processes that have ended.
    gone: Vec<Process>,
    /// Parents whose children have used more.
    waited: Vec<Waited>,
    /// Processes that are in no group by themselves, and what they have used.
    nameless: Vec<(u32, Counts)>,
}

/// Names that a process may take in turn, and be in the group of each.
const MOST_RENAMES: u8 = 8;

/// The longest line of ancestors that is followed.
const MOST_ANCESTORS: usize = 64;

impl Pass {
    pub fn new(roots: &Roots, options: Options, ends: Ends, namer: Namer) -> Pass {
        Pass {
            table: Table::default(),
            procfs: ProcFs::new(roots),
            errors: ReadErrors::default(),
            ends,
            namer,
            options,
            pids: Vec::new(),
            tick: 0,
            began: Instant::now(),
            first: true,
            window: Window::default(),
            kept: 0,
            page_size: rustix::param::page_size() as u64,
            found: Found::default(),
        }
    }

    /// Reads what has changed; what the processes have used since the last pass is added to their groups.
    pub fn run(&mut self, groups: &mut Groups, sampling: Sampling) -> Result<(), CollectError> {
        let rescan = self.ends.begin(&mut self.table);
        self.procfs.list(&mut self.pids)?;
        let now = Instant::now();
        let step = self.window.step(now, sampling);
        let mut reader = Reader {
            procfs: &mut self.procfs,
            namer: &mut self.namer,
            groups,
            errors: &mut self.errors,
            options: self.options,
            tick: self.tick,
            first: self.first,
            rescan,
            now: now.duration_since(self.began).as_millis() as u32,
            step,
            // Closing is seen with the next pass: until then fewer are opened than could be.
            may_keep: self.options.kept_files.saturating_sub(self.kept),
            used: Counts::default(),
            newborn: false,
            nameless: false,
            recheck: false,
            found: &mut self.found,
        };
        let mut gone = Vec::new();
        self.table.update(
            &self.pids,
            |process, new| {
                let there = if new { reader.admit(process) } else { reader.visit(process) };
                reader.rate(process);
                there
            },
            |process| gone.push(process),
        );
        self.found.gone.append(&mut gone);
        self.name_by_ancestors(groups);
        let Found { gone, waited, .. } = &mut self.found;
        self.ends.finish(&mut self.table, groups, &mut self.namer, gone, waited, now);
        self.kept = self.table.rows().iter().filter(|p| p.kept.is_some()).count();
        self.first = false;
        self.tick = self.tick.wrapping_add(1);
        Ok(())
    }

    /// Whether no more than one pass has been made.
    pub fn is_first(&self) -> bool {
        self.tick <= 1
    }

    /// The time of this pass, as rows have it.
    pub fn ms(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.began).as_millis() as u32
    }

    /// A process that is in no group by itself is in that of its next ancestor that is in one.
    fn name_by_ancestors(&mut self, groups: &mut Groups) {
        for (pid, used) in self.found.nameless.drain(..) {
            let group = self.table.get(pid).map_or(GroupId::NONE, |p| ancestors_group(&self.table, p.ppid));
            groups.add(group, &used);
            if let Some(process) = self.table.get_mut(pid) {
                process.group = group;
            }
        }
    }

    /// Bytes that grow with the number of processes.
    pub fn heap_size(&self) -> usize {
        self.table.heap_size() + self.pids.capacity() * size_of::<u32>()
    }
}

/// The group of the process `pid`, or of its next ancestor that is in one.
pub(super) fn ancestors_group(table: &Table, mut pid: u32) -> GroupId {
    for _ in 0..MOST_ANCESTORS {
        match table.get(pid) {
            Some(process) if process.group != GroupId::NONE => return process.group,
            Some(process) => pid = process.ppid,
            None => break,
        }
    }
    GroupId::NONE
}

/// What a pass needs for each process.
struct Reader<'a> {
    procfs: &'a mut ProcFs,
    namer: &'a mut Namer,
    groups: &'a mut Groups,
    errors: &'a mut ReadErrors,
    options: Options,
    tick: u32,
    /// Whether this is the first pass: what was used before it is not ours to count.
    first: bool,
    /// Whether all processes are read in full, since it is not known what has happened.
    rescan: bool,
    /// Milliseconds, which wrap around.
    now: u32,
    step: Step,
    may_keep: usize,
    /// What the process at hand has used since it was last read.
    used: Counts,
    /// Whether it was born since the last pass, so that all it has used is new.
    newborn: bool,
    /// Whether it is in no group by itself.
    nameless: bool,
    /// Whether it is to be named anew though nothing shows that it is another program.
    recheck: bool,
    found: &'a mut Found,
}

/// What reading `stat` showed.
enum Seen {
    /// Another process has this pid now.
    Other,
    Same {
        changed: bool,
    },
}

impl Reader<'_> {
    /// Reads a process for the first time; `false` when it has ended meanwhile.
    ///
    /// As process-exporter does, one that is there in the first pass counts from now on, and one that comes later from
    /// its birth.
    fn admit(&mut self, p: &mut Process) -> bool {
        self.begin(!self.first);
        match self.stat(p) {
            Ok(_) => {}
            Err(Unread::Gone) => return false,
            // Kept, so that what is not for us is neither tried nor counted again in each tick.
            Err(error) => return error == Unread::Denied,
        }
        if p.threads == 1 {
            p.ran = self.procfs.read(p.pid, "schedstat").ok().and_then(parse::schedstat).unwrap_or(0);
        }
        self.details(p);
        self.limits(p);
        if self.first {
            self.used = Counts::default();
        }
        self.account(p, None);
        true
    }

    /// Begins with a process.
    fn begin(&mut self, newborn: bool) {
        self.used = Counts::default();
        self.newborn = newborn;
        self.nameless = false;
        self.recheck = false;
    }

    /// Brings a process up to date; `false` when it has ended.
    fn visit(&mut self, p: &mut Process) -> bool {
        self.begin(false);
        let part = p.pid.wrapping_add(self.tick);
        let executed = p.reported == Reported::Exec;
        let due = part.is_multiple_of(self.options.refresh_ticks) || executed || self.rescan;
        if !p.is_known() {
            return !due || self.admit_hidden(p);
        }
        let mut ran = None;
        // Where all is read in every tick, there is nothing to be spared.
        if p.threads == 1 && p.ran != 0 && self.options.refresh_ticks > 1 {
            match self.kept(p, Files::SCHEDSTAT).map(parse::schedstat) {
                Ok(Some(now)) => ran = Some(now),
                Ok(None) => p.ran = 0,
                Err(Unread::Gone) => return self.replace(p),
                Err(_) => {}
            }
        }
        self.recheck = due && self.namer.recheck();
        let slept = ran == Some(p.ran);
        if slept && !due {
            p.io_at = self.now;
            return true;
        }
        let changed = match self.stat(p) {
            Ok(Seen::Same { changed }) => changed || ran.is_some() && !slept,
            Ok(Seen::Other) | Err(Unread::Gone) => return self.replace(p),
            // What it was in the last tick is better than nothing.
            Err(_) => return true,
        };
        let on_cpu = ran.map(|now| now.saturating_sub(p.ran));
        if on_cpu.is_some_and(|ns| ns > 0) {
            p.waiting_since = self.now;
        }
        match ran {
            Some(ran) => p.ran = ran,
            // It has come back to one thread, or never had another.
            None if p.threads != 1 => p.ran = 0,
            None if p.ran == 0 && due => {
                p.ran = self.procfs.read(p.pid, "schedstat").ok().and_then(parse::schedstat).unwrap_or(0);
            }
            None => {}
        }
        if changed || due {
            self.details(p);
            if executed || due && (part / self.options.refresh_ticks).is_multiple_of(LIMITS_EVERY) {
                self.limits(p);
            }
        }
        self.account(p, on_cpu);
        true
    }

    /// A process that could not be read so far counts, if it can be read now, from now on.
    fn admit_hidden(&mut self, p: &mut Process) -> bool {
        let first = std::mem::replace(&mut self.first, true);
        let there = self.admit(p);
        self.first = first;
        there
    }

    /// The pid of a process that has ended may be that of a new one.
    fn replace(&mut self, p: &mut Process) -> bool {
        let old = std::mem::replace(p, Process::new(p.pid));
        self.found.gone.push(old);
        self.admit(p)
    }

    /// Reads `stat` into the row.
    fn stat(&mut self, p: &mut Process) -> Result<Seen, Unread> {
        let now = self.now;
        let several = p.threads > 1 || p.is_known() && (p.ran == 0 || self.options.refresh_ticks == 1);
        let text = if several { self.kept(p, Files::STAT) } else { self.procfs.read(p.pid, "stat") };
        let parsed = text.and_then(|text| parse::stat(text).ok_or(Unread::Failed));
        let stat = match parsed {
            Ok(stat) => stat,
            Err(error) => {
                refused(error, p, Files::STAT, &mut self.errors.stat);
                return Err(error);
            }
        };
        if p.is_known() && p.start != stat.start {
            return Ok(Seen::Other);
        }
        let fresh = !p.is_known();
        let comm = Comm::new(if stat.kernel_thread { worker(stat.comm) } else { stat.comm });
        let executed = p.reported == Reported::Exec;
        let renamed = !fresh && !executed && p.comm != comm;
        let other = fresh || executed || renamed;
        let ticks = |counter: &mut u64, ticks| take(counter, ticks, fresh).saturating_mul(TICK_NS);
        let used = Counts {
            user: ticks(&mut p.read.user, stat.user),
            system: ticks(&mut p.read.system, stat.system),
            minor_faults: p.read.minor_faults.take(stat.minor_faults, fresh),
            major_faults: p.read.major_faults.take(stat.major_faults, fresh),
            ..Counts::default()
        };
        let waited = ticks(&mut p.children, stat.children_user.saturating_add(stat.children_system));
        let waited_system = stat.children_system;
        let resident_pages = u32::try_from(stat.resident_pages).unwrap_or(u32::MAX);
        let worked = used != Counts::default();
        let changed = other
            || worked
            || p.virtual_bytes != stat.virtual_bytes
            || p.resident_pages != resident_pages
            || p.threads != stat.threads;
        if worked || p.state != stat.state {
            p.waiting_since = now;
        }
        p.virtual_bytes = stat.virtual_bytes;
        p.resident_pages = resident_pages;
        p.threads = stat.threads;
        p.start = stat.start;
        p.state = stat.state;
        p.ppid = stat.ppid;
        p.kernel_thread = stat.kernel_thread;
        p.known.insert(Files::STAT);
        self.used = used;
        // What the children of one that was there before us have used is not ours to count.
        if waited > 0 && (!fresh || self.newborn) {
            let system = (waited as f64 * waited_system as f64 / p.children.max(1) as f64) as u64;
            self.found.waited.push(Waited { pid: p.pid, ns: waited, system });
        }
        if other {
            p.comm = comm;
            p.renames = p.renames.saturating_add(u8::from(renamed));
            if executed {
                p.reported = Reported::Nothing;
            }
            // A program that was executed may be of another user.
            p.closed = Files::default();
        }
        // One that tells by its name what it does just now would leave a group for each of its names.
        if fresh || executed || renamed && p.renames < MOST_RENAMES || self.recheck {
            self.name(p);
        }
        Ok(Seen::Same { changed })
    }

    /// Finds the group of a process.
    fn name(&mut self, p: &mut Process) {
        match self.namer.name(p, self.procfs) {
            Some(name) => p.group = self.groups.named(&name),
            None => {
                p.group = GroupId::NONE;
                self.nameless = self.namer.children();
            }
        }
    }

    /// Reads a file that may stay open.
    fn kept(&mut self, p: &mut Process, file: Files) -> Result<&[u8], Unread> {
        let schedstat = file == Files::SCHEDSTAT;
        if p.kept.is_some() && schedstat != p.kept_schedstat {
            p.kept = None;
            self.may_keep += 1;
        }
        if p.kept.is_none() {
            let opened = self.procfs.open(p.pid, if schedstat { "schedstat" } else { "stat" })?;
            if self.may_keep == 0 {
                return self.procfs.read_open(&opened);
            }
            self.may_keep -= 1;
            p.kept = Some(opened);
            p.kept_schedstat = schedstat;
        }
        match &p.kept {
            Some(kept) => self.procfs.read_open(kept),
            None => Err(Unread::Failed),
        }
    }

    /// Reads `status`, `io` and the number of descriptors.
    fn details(&mut self, p: &mut Process) {
        if !self.options.details {
            return;
        }
        // A kernel thread has no memory and no files.
        if p.kernel_thread {
            return;
        }
        if !p.closed.has(Files::STATUS) {
            let before = p.known.has(Files::STATUS);
            let read = self.procfs.read(p.pid, "status").and_then(|text| parse::status(text).ok_or(Unread::Failed));
            if let Some(status) = taken(read, p, Files::STATUS, &mut self.errors.status) {
                p.uid = status.uid;
                p.swapped_kib = u32::try_from(status.swapped >> 10).unwrap_or(u32::MAX);
                let voluntary = p.read.voluntary.take(status.voluntary, !before);
                let nonvoluntary = p.read.nonvoluntary.take(status.nonvoluntary, !before);
                // Of one that is read for the first time only now, nobody knows when it was.
                if before || self.newborn {
                    self.used.voluntary = voluntary;
                    self.used.nonvoluntary = nonvoluntary;
                }
            }
        }
        // One that has ended but is not waited for has neither files nor anything new to tell of its I/O. One with more
        // threads has lost only the main one.
        if matches!(p.state, b'Z' | b'X') && p.threads <= 1 {
            p.open_files = 0;
            return;
        }
        if !p.closed.has(Files::IO) {
            let before = p.known.has(Files::IO);
            let read = self.procfs.read(p.pid, "io").and_then(|text| parse::io(text).ok_or(Unread::Failed));
            if let Some((read_bytes, write_bytes)) = taken(read, p, Files::IO, &mut self.errors.io) {
                // What came since the last reading counts as far as that is not longer ago than the last tick; the time of
                // the reading is known to the millisecond.
                let share = match (before, f64::from(self.now.wrapping_sub(p.io_at)) / 1000.0) {
                    (true, age) if age > self.step.elapsed + 0.002 => (self.step.elapsed / age) as f32,
                    // All of a new process' bytes are of this tick; of those of the first pass nothing is known.
                    (false, _) if self.first => 0.0,
                    _ => 1.0,
                };
                let read_bytes = take(&mut p.read.read_bytes, read_bytes, !before);
                let write_bytes = take(&mut p.read.write_bytes, write_bytes, !before);
                p.used.read_bytes += read_bytes as f32 * share;
                p.used.write_bytes += write_bytes as f32 * share;
                if before || self.newborn {
                    self.used.read_bytes = read_bytes;
                    self.used.write_bytes = write_bytes;
                }
                p.io_at = self.now;
            }
        }
        if !p.closed.has(Files::FD) {
            let read = self.procfs.open_files(p.pid);
            if let Some(open) = taken(read, p, Files::FD, &mut self.errors.fd) {
                p.open_files = open;
            }
        }
    }

    fn limits(&mut self, p: &mut Process) {
        if !self.options.details || p.kernel_thread || p.closed.has(Files::LIMITS) {
            return;
        }
        let read = self.procfs.read(p.pid, "limits");
        let read = read.and_then(|text| parse::open_files_limit(text).ok_or(Unread::Failed));
        if let Some(limit) = taken(read, p, Files::LIMITS, &mut self.errors.limits) {
            p.max_files = u32::try_from(limit).unwrap_or(u32::MAX);
        }
    }

    /// Adds what was used, and what the main thread ran, where that is known more finely.
    fn account(&mut self, p: &mut Process, on_cpu: Option<u64>) {
        match self.nameless {
            true => self.found.nameless.push((p.pid, self.used)),
            false => self.groups.add(p.group, &self.used),
        }
        p.used.cpu += (on_cpu.unwrap_or_else(|| self.used.cpu()) as f64 / 1e9) as f32;
    }

    /// Makes rates of what the process has used.
    fn rate(&self, p: &mut Process) {
        if let Some(seconds) = self.step.seconds {
            let per_second = 1.0 / seconds as f32;
            // Clock ticks are coarse: one too many would look like more CPUs than there are threads to use them.
            p.cpu_ratio = (p.used.cpu * per_second).min(p.threads.max(1) as f32);
            p.read_rate = p.used.read_bytes * per_second;
            p.write_rate = p.used.write_bytes * per_second;
        }
        if self.step.restart {
            p.used = Used::default();
        }
    }
}

/// What was read, or a note of why not.
fn taken<T>(read: Result<T, Unread>, p: &mut Process, file: Files, errors: &mut u64) -> Option<T> {
    match read {
        Ok(value) => {
            p.known.insert(file);
            Some(value)
        }
        Err(error) => {
            refused(error, p, file, errors);
            None
        }
    }
}

/// Notes a failure to read: what is not for us is counted once a process, and not tried again as long as it runs the
/// same program.
fn refused(error: Unread, p: &mut Process, file: Files, errors: &mut u64) {
    match error {
        // The kernel does not have the file, or the process has just ended, which the next tick will see.
        Unread::Gone => p.closed.insert(file),
        Unread::Denied => {
            p.closed.insert(file);
            if !p.denied.has(file) {
                p.denied.insert(file);
                *errors += 1;
            }
        }
        Unread::Failed => *errors += 1,
    }
}

/// The name of a kernel thread without what it works on just now (`kworker/0:1-events`, `kworker/u8:2+flush`), which
/// changes from one reading to the next.
fn worker(comm: &[u8]) -> &[u8] {
    let Some(colon) = memchr::memchr(b':', comm).filter(|_| comm.starts_with(b"kworker/")) else { return comm };
    let end = memchr::memchr2(b'-', b'+', &comm[colon..]).map_or(comm.len(), |at| colon + at);
    &comm[..end]
}
