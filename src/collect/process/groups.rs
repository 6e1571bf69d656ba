//! Groups of processes under one name, as process-exporter gives them.
//!
//! A group that has lost its last process stays, with its counters and `num_procs` 0, so that its end can be seen. Past
//! `processes.max_groups` the group that has been empty longest, for a quarter of an hour at least, makes room for a new
//! one; if there is none, the processes go to `other`. Groups that are wanted are there from the start, and stay.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use hashbrown::HashTable;

use super::exits::{Exits, Reason};
use super::table::{Counts, Files, Process};
use super::threads::OfGroup;

/// How long a group must have been empty before it makes room for another.
pub(super) const EMPTY_FOR: Duration = Duration::from_secs(900);

/// Where the processes go for which there is no group left.
pub(super) const OTHER: &str = "other";

/// A group's place in [`Groups`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct GroupId(pub(super) u32);

impl GroupId {
    /// Of a process that is in no group.
    pub const NONE: GroupId = GroupId(u32::MAX);
}

impl Default for GroupId {
    fn default() -> GroupId {
        GroupId::NONE
    }
}

/// What the processes of a group have and are at this moment.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Now {
    pub processes: u32,
    pub threads: u64,
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    pub swapped_bytes: u64,
    pub proportional_bytes: u64,
    pub proportional_swapped_bytes: u64,
    pub open_files: u64,
    pub worst_ratio: f64,
    /// Clock ticks since boot.
    pub oldest: Option<u64>,
    /// By [`STATES`].
    pub states: [u32; STATES.len()],
    /// The longest that one of them has been waiting in the kernel, milliseconds.
    pub waiting: u32,
    /// Zombies that one of them has not waited for.
    pub zombie_children: u32,
}

/// process-exporter's words for states; all others are the last.
pub(super) const STATES: [&str; 5] = ["Running", "Sleeping", "Waiting", "Zombie", "Other"];

pub(super) fn state_index(letter: u8) -> usize {
    match letter {
        b'R' => 0,
        b'S' => 1,
        b'D' => 2,
        b'Z' => 3,
        _ => 4,
    }
}

#[derive(Debug)]
pub(super) struct Group {
    pub name: Box<str>,
    pub counts: Counts,
    pub now: Now,
    /// What could be read of any of its processes at all.
    pub known: Files,
    pub exits: Exits,
    /// Of its processes' threads, where they are read.
    pub threads: Option<Box<OfGroup>>,
    /// How many processes there should be at least.
    pub wanted: Option<u32>,
    /// Whether one of them has ever waited for a second in the kernel, and whether one has ever left a zombie: what is
    /// always 0 need not be served.
    pub ever_waited: bool,
    pub ever_left_zombies: bool,
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

    /// The group of this name, made if there is none.
    pub fn named(&mut self, name: &str) -> GroupId {
        if let Some(id) = self.find(name) {
            return id;
        }
        if self.groups.len() < self.max {
            return self.insert(name, None);
        }
        if let Some(place) = self.longest_empty() {
            return self.insert(name, Some(place));
        }
        self.other()
    }

    /// The group of those for which there is none.
    pub fn other(&mut self) -> GroupId {
        // One more than there may be, once, unless a process has that very name.
        let other = self.find(OTHER).unwrap_or_else(|| self.insert(OTHER, None));
        self.other = Some(other);
        other
    }

    /// There should be so many processes in the group of this name.
    pub fn want(&mut self, name: &str, processes: u32) {
        let id = self.find(name).unwrap_or_else(|| self.insert(name, None));
        if let Some(group) = self.groups.get_mut(id.0 as usize) {
            group.wanted = Some(processes);
        }
    }

    fn find(&mut self, name: &str) -> Option<GroupId> {
        let same = |at: &u32| self.groups.get(*at as usize).is_some_and(|g| *g.name == *name);
        let at = *self.by_name.find(self.hasher.hash_one(name), same)?;
        // Not to make room for another in this pass: its process is counted only at the end.
        self.groups.get_mut(at as usize)?.last_seen = self.now;
        Some(GroupId(at))
    }

    fn longest_empty(&self) -> Option<u32> {
        let unwanted = self.groups.iter().enumerate().filter(|(_, group)| group.wanted.is_none());
        let (at, group) = unwanted.min_by_key(|(_, group)| group.last_seen)?;
        let empty = group.now.processes == 0 && self.now.saturating_duration_since(group.last_seen) >= EMPTY_FOR;
        (empty && self.other != Some(GroupId(at as u32))).then_some(at as u32)
    }

    fn insert(&mut self, name: &str, place: Option<u32>) -> GroupId {
        let group = Group {
            name: name.into(),
            counts: Counts::default(),
            now: Now::default(),
            known: Files::default(),
            exits: Exits::default(),
            threads: None,
            wanted: None,
            ever_waited: false,
            ever_left_zombies: false,
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

    /// What is known of the threads of a group.
    pub fn threads_mut(&mut self, id: GroupId) -> Option<&mut OfGroup> {
        Some(self.groups.get_mut(id.0 as usize)?.threads.get_or_insert_default())
    }

    /// Counts processes of the group that have ended for this reason; `peak_bytes` is the most memory that one had.
    pub fn ended(&mut self, id: GroupId, reason: Reason, processes: u32, peak_bytes: u64) {
        if let Some(group) = self.groups.get_mut(id.0 as usize) {
            group.exits.add(reason, processes, peak_bytes, self.now);
        }
    }

    /// Begins a pass at this time.
    pub fn begin(&mut self, now: Instant) {
        self.now = now;
    }

    /// When this pass began.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Begins to count who is there.
    pub fn begin_count(&mut self) {
        for group in &mut self.groups {
            group.now = Now::default();
        }
    }

    /// Counts a process in its group. `page_size`: bytes; `ms`: the time of this pass as rows have it.
    pub fn count(&mut self, p: &Process, page_size: u64, ms: u32) {
        let Some(group) = self.groups.get_mut(p.group.0 as usize) else { return };
        group.last_seen = self.now;
        group.known.insert(p.known);
        let now = &mut group.now;
        now.processes += 1;
        now.threads += u64::from(p.threads);
        let add = |sum: &mut u64, bytes: u64| *sum = sum.saturating_add(bytes);
        add(&mut now.resident_bytes, u64::from(p.resident_pages).saturating_mul(page_size));
        add(&mut now.virtual_bytes, p.virtual_bytes);
        add(&mut now.swapped_bytes, u64::from(p.swapped_kib) << 10);
        add(&mut now.proportional_bytes, u64::from(p.proportional_kib) << 10);
        add(&mut now.proportional_swapped_bytes, u64::from(p.proportional_swapped_kib) << 10);
        now.open_files += u64::from(p.open_files);
        if p.known.has(Files::LIMITS) && p.max_files > 0 {
            now.worst_ratio = now.worst_ratio.max(f64::from(p.open_files) / f64::from(p.max_files));
        }
        now.oldest = Some(now.oldest.map_or(p.start, |oldest| oldest.min(p.start)));
        if let Some(state) = now.states.get_mut(state_index(p.state)) {
            *state += 1;
        }
        if p.state == b'D' {
            now.waiting = now.waiting.max(ms.wrapping_sub(p.waiting_since));
            group.ever_waited |= now.waiting >= 1000;
        }
    }

    /// Counts a zombie whose parent is in this group.
    pub fn count_zombie_child(&mut self, id: GroupId) {
        if let Some(group) = self.groups.get_mut(id.0 as usize) {
            group.now.zombie_children += 1;
            group.ever_left_zombies = true;
        }
    }

    /// All groups, empty ones too.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Processes in the group `other` because there may be no more groups.
    pub fn overflow(&self) -> u32 {
        self.other.and_then(|id| self.groups.get(id.0 as usize)).map_or(0, |group| group.now.processes)
    }

    /// By name.
    pub fn in_order(&self) -> impl Iterator<Item = &Group> {
        self.order.iter().filter_map(|at| self.groups.get(*at as usize))
    }

    /// The same, for what changes with being served.
    pub fn each_in_order(&mut self, mut each: impl FnMut(&mut Group)) {
        for at in &self.order {
            if let Some(group) = self.groups.get_mut(*at as usize) {
                each(group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pass that sees these.
    fn groups_of(groups: &mut Groups, names: &[&str]) -> Vec<String> {
        let mut processes: Vec<Process> = Vec::new();
        for name in names {
            processes.push(Process { group: groups.named(name), ..Process::new(1) });
        }
        groups.begin_count();
        processes.iter().for_each(|p| groups.count(p, 4096, 0));
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
    fn a_wanted_group_is_there_before_its_processes_and_never_makes_room() {
        let mut groups = Groups::new(1);
        groups.want("db", 2);
        assert_eq!(groups.in_order().map(|g| (&*g.name, g.wanted)).collect::<Vec<_>>(), [("db", Some(2))]);
        groups.begin(Instant::now() + 2 * EMPTY_FOR);
        assert_eq!(groups_of(&mut groups, &["web", "db"]), ["other", "db"]);
    }

    #[test]
    fn a_process_in_no_group_counts_in_none() {
        let mut groups = Groups::new(1);
        groups.begin_count();
        groups.count(&Process::new(1), 4096, 0);
        groups.add(GroupId::NONE, &Counts { user: 1, ..Counts::default() });
        assert_eq!(groups.len(), 0);
    }
}
