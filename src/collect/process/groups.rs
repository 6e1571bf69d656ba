//! Groups of processes under one name, as process-exporter gives them: `namedprocess_namegroup_*`.
//!
//! The name is the process' `comm`; kernel threads are all in the group of their parent, `kthreadd`. A process that
//! takes another name goes to that group with what it uses from then on. A group that has lost its last process stays,
//! with its counters and `num_procs` 0, so that its end can be seen. Past `processes.max_groups` the group that has been
//! empty longest, for a quarter of an hour at least, makes room for a new one; if there is none, the processes go to
//! `other`.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use hashbrown::HashTable;

use super::pass::CLOCK_TICKS;
use super::table::{Counts, Files, Process};
use crate::model::Writer;

/// How long a group must have been empty before it makes room for another.
const EMPTY_FOR: Duration = Duration::from_secs(900);

/// Where the processes go for which there is no group left.
const OTHER: &str = "other";

/// A group's place in [`Groups`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct GroupId(u32);

/// What the processes of a group have and are at this moment.
#[derive(Clone, Copy, Default, Debug)]
struct Now {
    processes: u32,
    threads: u64,
    resident_bytes: u64,
    virtual_bytes: u64,
    swapped_bytes: u64,
    open_files: u64,
    worst_ratio: f64,
    /// Clock ticks since boot.
    oldest: Option<u64>,
    /// By [`STATES`].
    states: [u32; STATES.len()],
}

/// process-exporter's words for states; all others are the last.
const STATES: [&str; 5] = ["Running", "Sleeping", "Waiting", "Zombie", "Other"];

fn state_index(letter: u8) -> usize {
    match letter {
        b'R' => 0,
        b'S' => 1,
        b'D' => 2,
        b'Z' => 3,
        _ => 4,
    }
}

#[derive(Debug)]
struct Group {
    name: Box<str>,
    counts: Counts,
    now: Now,
    /// What could be read of any of its processes at all.
    known: Files,
    last_seen: Instant,
}

/// All groups.
pub(super) struct Groups {
    groups: Vec<Group>,
    by_name: HashTable<u32>,
    hasher: RandomState,
    /// By name.
    order: Vec<u32>,
    other: Option<GroupId>,
    max: usize,
    now: Instant,
}

impl Groups {
    pub fn new(max: usize) -> Groups {
        Groups {
            groups: Vec::new(),
            by_name: HashTable::new(),
            hasher: RandomState::new(),
            order: Vec::new(),
            other: None,
            max,
            now: Instant::now(),
        }
    }

    /// The group of a process, made if there is none.
    pub fn of(&mut self, process: &Process) -> GroupId {
        if process.kernel_thread {
            return self.named("kthreadd");
        }
        let comm = process.comm;
        self.named(&String::from_utf8_lossy(comm.as_bytes()))
    }

    fn named(&mut self, name: &str) -> GroupId {
        if let Some(id) = self.find(name) {
            return id;
        }
        if self.groups.len() < self.max {
            return self.insert(name, None);
        }
        if let Some(place) = self.longest_empty() {
            return self.insert(name, Some(place));
        }
        // One more than there may be, once, unless a process has that very name.
        let other = self.find(OTHER).unwrap_or_else(|| self.insert(OTHER, None));
        self.other = Some(other);
        other
    }

    fn find(&mut self, name: &str) -> Option<GroupId> {
        let same = |at: &u32| self.groups.get(*at as usize).is_some_and(|g| *g.name == *name);
        let at = *self.by_name.find(self.hasher.hash_one(name), same)?;
        // Not to make room for another in this pass: its process is counted only at the end.
        self.groups.get_mut(at as usize)?.last_seen = self.now;
        Some(GroupId(at))
    }

    fn longest_empty(&self) -> Option<u32> {
        let (at, group) = self.groups.iter().enumerate().min_by_key(|(_, g)| g.last_seen)?;
        let empty = group.now.processes == 0 && self.now.saturating_duration_since(group.last_seen) >= EMPTY_FOR;
        (empty && self.other != Some(GroupId(at as u32))).then_some(at as u32)
    }

    fn insert(&mut self, name: &str, place: Option<u32>) -> GroupId {
        let group = Group {
            name: name.into(),
            counts: Counts::default(),
            now: Now::default(),
            known: Files::default(),
            last_seen: self.now,
        };
        let at = place.unwrap_or(self.groups.len() as u32);
        match self.groups.get_mut(at as usize) {
            Some(old) => {
                let hash = self.hasher.hash_one(&*old.name);
                *old = group;
                if let Ok(entry) = self.by_name.find_entry(hash, |other| *other == at) {
                    entry.remove();
                }
            }
            None => self.groups.push(group),
        }
        let hash = self.hasher.hash_one(name);
        let (groups, hasher) = (&self.groups, &self.hasher);
        self.by_name
            .insert_unique(hash, at, |at| hasher.hash_one(groups.get(*at as usize).map_or("", |group| &*group.name)));
        self.order.clear();
        self.order.extend(0..self.groups.len() as u32);
        self.order.sort_unstable_by(|a, b| groups[*a as usize].name.cmp(&groups[*b as usize].name));
        GroupId(at)
    }

    pub fn name(&self, id: GroupId) -> &str {
        self.groups.get(id.0 as usize).map_or("", |group| &group.name)
    }

    /// Adds what a process of the group has used.
    pub fn add(&mut self, id: GroupId, used: &Counts) {
        if let Some(group) = self.groups.get_mut(id.0 as usize) {
            group.counts.add(used);
        }
    }

    /// Begins a pass at this time.
    pub fn begin(&mut self, now: Instant) {
        self.now = now;
    }

    /// Begins to count who is there.
    pub fn begin_count(&mut self) {
        for group in &mut self.groups {
            group.now = Now::default();
        }
    }

    /// Counts a process in its group.
    pub fn count(&mut self, p: &Process) {
        let Some(group) = self.groups.get_mut(p.group.0 as usize) else { return };
        group.last_seen = self.now;
        group.known.insert(p.known);
        let now = &mut group.now;
        now.processes += 1;
        now.threads += u64::from(p.threads);
        now.resident_bytes = now.resident_bytes.saturating_add(p.resident_bytes);
        now.virtual_bytes = now.virtual_bytes.saturating_add(p.virtual_bytes);
        now.swapped_bytes = now.swapped_bytes.saturating_add(p.swapped_bytes);
        now.open_files += u64::from(p.open_files);
        if p.known.has(Files::LIMITS) && p.max_files > 0 {
            now.worst_ratio = now.worst_ratio.max(f64::from(p.open_files) / f64::from(p.max_files));
        }
        now.oldest = Some(now.oldest.map_or(p.start, |oldest| oldest.min(p.start)));
        if let Some(state) = now.states.get_mut(state_index(p.state)) {
            *state += 1;
        }
    }

    /// Writes all families. `boot_time`: seconds since 1970.
    pub fn write(&self, out: &mut Writer, boot_time: Option<u64>) {
        self.write_gauges(out, boot_time);
        self.write_counters(out);
        out.gauge("watchfire_process_groups", "Groups of processes, empty ones too.", [])
            .put([], self.groups.len() as f64);
        let folded = self.other.and_then(|id| self.groups.get(id.0 as usize)).map_or(0, |g| g.now.processes);
        out.gauge(
            "watchfire_process_groups_overflow_processes",
            "Processes in the group other because processes.max_groups was reached.",
            [],
        )
        .put([], f64::from(folded));
    }

    fn in_order(&self) -> impl Iterator<Item = &Group> {
        self.order.iter().filter_map(|at| self.groups.get(*at as usize))
    }

    /// A gauge or counter with no other label than the group; a group for which there is no value is left out.
    fn family(&self, out: &mut Writer, counter: bool, name: &str, help: &str, value: impl Fn(&Group) -> Option<f64>) {
        let mut family = match counter {
            true => out.counter(name, help, ["groupname"]),
            false => out.gauge(name, help, ["groupname"]),
        };
        for group in self.in_order() {
            if let Some(value) = value(group) {
                family.put([group.name.as_bytes()], value);
            }
        }
    }

    fn write_gauges(&self, out: &mut Writer, boot_time: Option<u64>) {
        let gauge = |out: &mut Writer, name, help, value: fn(&Now) -> u64| {
            self.family(out, false, name, help, |group| Some(value(&group.now) as f64));
        };
        gauge(out, "namedprocess_namegroup_num_procs", "number of processes in this group", |g| g.processes.into());
        gauge(out, "namedprocess_namegroup_num_threads", "Number of threads", |g| g.threads);

        let mut memory = out.gauge(
            "namedprocess_namegroup_memory_bytes",
            "number of bytes of memory in use",
            ["groupname", "memtype"],
        );
        for Group { name, now, known, .. } in self.in_order() {
            let name = name.as_bytes();
            memory.put([name, b"resident"], now.resident_bytes as f64);
            if known.has(Files::STATUS) {
                memory.put([name, b"swapped"], now.swapped_bytes as f64);
            }
            memory.put([name, b"virtual"], now.virtual_bytes as f64);
        }

        let name = "namedprocess_namegroup_open_filedesc";
        let help = "number of open file descriptors for this group";
        self.family(out, false, name, help, |g| g.known.has(Files::FD).then_some(g.now.open_files as f64));
        let name = "namedprocess_namegroup_worst_fd_ratio";
        let help = "the worst (closest to 1) ratio between open fds and max fds among all procs in this group";
        self.family(out, false, name, help, |g| {
            (g.known.has(Files::FD) && g.known.has(Files::LIMITS)).then_some(g.now.worst_ratio)
        });
        let name = "namedprocess_namegroup_oldest_start_time_seconds";
        let help = "start time in seconds since 1970/01/01 of oldest process in group";
        self.family(out, false, name, help, |g| {
            Some(boot_time?.saturating_add(g.now.oldest? / CLOCK_TICKS as u64) as f64)
        });

        let name = "namedprocess_namegroup_states";
        let help = "Number of processes in states Running, Sleeping, Waiting, Zombie, or Other";
        let mut states = out.gauge(name, help, ["groupname", "state"]);
        for group in self.in_order() {
            for (state, count) in STATES.iter().zip(group.now.states) {
                states.put([group.name.as_bytes(), state.as_bytes()], f64::from(count));
            }
        }
    }

    fn write_counters(&self, out: &mut Writer) {
        let labels = ["groupname", "mode"];
        let mut cpu = out.counter("namedprocess_namegroup_cpu_seconds_total", "Cpu user usage in seconds", labels);
        for Group { name, counts, .. } in self.in_order() {
            cpu.put([name.as_bytes(), b"system"], counts.system as f64 / CLOCK_TICKS);
            cpu.put([name.as_bytes(), b"user"], counts.user as f64 / CLOCK_TICKS);
        }
        let labels = ["groupname", "ctxswitchtype"];
        let name = "namedprocess_namegroup_context_switches_total";
        let mut switches = out.counter(name, "Context switches", labels);
        for Group { name, counts, .. } in self.in_order().filter(|g| g.known.has(Files::STATUS)) {
            switches.put([name.as_bytes(), b"nonvoluntary"], counts.nonvoluntary as f64);
            switches.put([name.as_bytes(), b"voluntary"], counts.voluntary as f64);
        }
        let counter = |out: &mut Writer, name, help, file, value: fn(&Counts) -> u64| {
            self.family(out, true, name, help, |g| g.known.has(file).then(|| value(&g.counts) as f64));
        };
        let name = "namedprocess_namegroup_major_page_faults_total";
        counter(out, name, "Major page faults", Files::STAT, |c| c.major_faults);
        let name = "namedprocess_namegroup_minor_page_faults_total";
        counter(out, name, "Minor page faults", Files::STAT, |c| c.minor_faults);
        let name = "namedprocess_namegroup_read_bytes_total";
        counter(out, name, "number of bytes read by this group", Files::IO, |c| c.read_bytes);
        let name = "namedprocess_namegroup_write_bytes_total";
        counter(out, name, "number of bytes written by this group", Files::IO, |c| c.write_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::process::table::Comm;

    fn process(comm: &str) -> Process {
        let mut p = Process::new(1);
        p.comm = Comm::new(comm.as_bytes());
        p
    }

    /// A pass that sees these.
    fn groups_of(groups: &mut Groups, comms: &[&str]) -> Vec<String> {
        let mut processes: Vec<Process> = comms.iter().map(|comm| process(comm)).collect();
        processes.iter_mut().for_each(|p| p.group = groups.of(p));
        groups.begin_count();
        processes.iter().for_each(|p| groups.count(p));
        processes.iter().map(|p| groups.name(p.group).to_string()).collect()
    }

    #[test]
    fn past_the_limit_processes_go_to_other() {
        let mut groups = Groups::new(2);
        assert_eq!(groups_of(&mut groups, &["a", "b", "c", "a", "d"]), ["a", "b", "other", "a", "other"]);
        assert_eq!(groups.groups.len(), 3);
        let mut groups = Groups::new(2);
        assert_eq!(groups_of(&mut groups, &["a", "other", "c"]), ["a", "other", "other"]);
        assert_eq!(groups.groups.len(), 2, "a process may have that name itself");
    }

    #[test]
    fn a_group_that_has_been_empty_for_long_makes_room() {
        let mut groups = Groups::new(2);
        let start = Instant::now();
        groups.begin(start);
        groups_of(&mut groups, &["old", "kept", "more"]);
        groups.begin(start + EMPTY_FOR / 2);
        assert_eq!(groups_of(&mut groups, &["kept", "new"]), ["kept", "other"]);
        groups.begin(start + EMPTY_FOR);
        assert_eq!(groups_of(&mut groups, &["new", "kept", "more"]), ["new", "kept", "other"]);
        let order: Vec<&str> = groups.in_order().map(|g| &*g.name).collect();
        assert_eq!(order, ["kept", "new", "other"]);
    }

    #[test]
    fn kernel_threads_are_in_the_group_of_their_parent() {
        let mut groups = Groups::new(9);
        let mut p = process("kworker/0:1");
        p.kernel_thread = true;
        let id = groups.of(&p);
        assert_eq!(groups.name(id), "kthreadd");
    }
}
