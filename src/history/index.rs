//! The label index: for each name and value of a label, the series that have it.

use hashbrown::{HashMap, HashSet};

use super::matcher::{MatchOp, Matcher};
use crate::model::{Labels, METRIC_NAME, SeriesId};

/// Which series have a label with a value.
struct Postings {
    ids: Vec<SeriesId>,
    /// Changes with `ids`; never given twice.
    generation: u64,
}

/// Postings by label name and value.
pub(super) struct Index {
    names: HashMap<Box<str>, HashMap<Box<str>, Postings>>,
    generation: u64,
}

/// Generations are unique among all indexes of the process, so that what a query has cached from one history is not
/// taken for another's.
pub fn next_generation() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

impl Index {
    pub fn new() -> Index {
        Index { names: HashMap::new(), generation: next_generation() }
    }

    pub fn insert(&mut self, id: SeriesId, labels: &Labels) {
        self.generation = next_generation();
        for (name, value) in labels.iter() {
            let values = match self.names.get_mut(name) {
                Some(values) => values,
                None => self.names.entry(name.into()).or_default(),
            };
            let postings = match values.get_mut(value) {
                Some(postings) => postings,
                None => values.entry(value.into()).or_insert(Postings { ids: Vec::new(), generation: 0 }),
            };
            postings.ids.push(id);
            postings.generation = self.generation;
        }
    }

    /// Removes series, given with their labels.
    pub fn remove<'l>(&mut self, gone: impl Iterator<Item = (SeriesId, &'l Labels)> + Clone) {
        self.generation = next_generation();
        let ids: HashSet<SeriesId> = gone.clone().map(|(id, _)| id).collect();
        let mut touched: HashSet<(&str, &str)> = HashSet::new();
        for (name, value) in gone.flat_map(|(_, labels)| labels.iter()) {
            if !touched.insert((name, value)) {
                continue;
            }
            let Some(values) = self.names.get_mut(name) else { continue };
            if let Some(postings) = values.get_mut(value) {
                postings.ids.retain(|id| !ids.contains(id));
                postings.generation = self.generation;
                if postings.ids.is_empty() {
                    values.remove(value);
                }
            }
            if values.is_empty() {
                self.names.remove(name);
            }
        }
    }

    fn postings(&self, name: &str, value: &str) -> Option<&Postings> {
        self.names.get(name)?.get(value)
    }

    /// A number that changes when the answer to [`Index::candidates`] of these matchers may have changed.
    pub fn generation(&self, matchers: &[Matcher]) -> u64 {
        match matchers.iter().find(|m| matches!(m.op, MatchOp::Equal) && *m.name == *METRIC_NAME) {
            Some(m) => self.postings(&m.name, &m.value).map_or(0, |p| p.generation),
            None => self.generation,
        }
    }

    /// The series among which all are that the matchers match; `None` when that is all series.
    pub fn candidates(&self, matchers: &[Matcher]) -> Option<Vec<SeriesId>> {
        let equal = matchers.iter().filter(|m| matches!(m.op, MatchOp::Equal) && !m.value.is_empty());
        let shortest =
            equal.map(|m| self.postings(&m.name, &m.value).map_or(&[][..], |p| &p.ids)).min_by_key(|p| p.len());
        if let Some(ids) = shortest {
            return Some(ids.to_vec());
        }
        // What does not match the empty value must have the label: only the values of that label are looked at.
        let present = matchers.iter().find(|m| !m.matches(""))?;
        let Some(values) = self.names.get(&present.name) else { return Some(Vec::new()) };
        Some(values.iter().filter(|(v, _)| present.matches(v)).flat_map(|(_, p)| p.ids.iter().copied()).collect())
    }

    /// Names of labels.
    pub fn label_names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|n| &**n)
    }

    /// Values of a label.
    pub fn label_values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.names.get(name).into_iter().flat_map(|values| values.keys().map(|v| &**v))
    }

    /// Bytes that a series of these labels takes in the index, near enough: an id in each list, and its part of keys.
    pub fn size_of(labels: &Labels) -> usize {
        labels.len() * 16 + 96
    }
}
