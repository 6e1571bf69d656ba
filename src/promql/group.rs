//! Groups of samples by some of their labels, without building these labels for each sample.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use hashbrown::HashTable;

use crate::model::{Labels, METRIC_NAME};

/// Which labels count.
#[derive(Clone, Copy)]
pub enum By<'l> {
    /// These alone.
    These(&'l [Box<str>]),
    /// All but these and the metric name.
    AllBut(&'l [Box<str>]),
}

impl By<'_> {
    pub fn keeps(&self, name: &str) -> bool {
        match self {
            By::These(names) => names.iter().any(|n| **n == *name),
            By::AllBut(names) => *name != *METRIC_NAME && !names.iter().any(|n| **n == *name),
        }
    }

    /// The labels that count, in order of name.
    pub fn of<'s>(&'s self, labels: &'s Labels) -> impl Iterator<Item = (&'s str, &'s str)> {
        labels.iter().filter(|(name, _)| self.keeps(name))
    }

    pub fn labels(&self, labels: &Labels) -> Labels {
        Labels::from_pairs(self.of(labels))
    }
}

/// Finds groups; each is known by its number, in the order in which they came, and by one of its members.
pub struct Groups<'l> {
    by: By<'l>,
    hasher: RandomState,
    table: HashTable<(u64, usize)>,
    members: Vec<Labels>,
}

impl<'l> Groups<'l> {
    pub fn new(by: By<'l>) -> Self {
        Groups { by, hasher: RandomState::new(), table: HashTable::new(), members: Vec::new() }
    }

    fn hash(&self, labels: &Labels) -> u64 {
        let mut state = self.hasher.build_hasher();
        for pair in self.by.of(labels) {
            pair.hash(&mut state);
        }
        state.finish()
    }

    fn is_of(&self, group: usize, labels: &Labels) -> bool {
        self.members.get(group).is_some_and(|member| self.by.of(member).eq(self.by.of(labels)))
    }

    /// The group that the labels belong to.
    pub fn find(&self, labels: &Labels) -> Option<usize> {
        if self.members.is_empty() {
            return None;
        }
        let hash = self.hash(labels);
        self.table.find(hash, |(h, group)| *h == hash && self.is_of(*group, labels)).map(|(_, group)| *group)
    }

    /// The group that the labels belong to, and whether it is new.
    pub fn insert(&mut self, labels: &Labels) -> (usize, bool) {
        let hash = self.hash(labels);
        if let Some((_, group)) = self.table.find(hash, |(h, group)| *h == hash && self.is_of(*group, labels)) {
            return (*group, false);
        }
        let group = self.members.len();
        self.members.push(labels.clone());
        self.table.insert_unique(hash, (hash, group), |(h, _)| *h);
        (group, true)
    }
}
