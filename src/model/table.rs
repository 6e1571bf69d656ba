//! The table of series: each label set once, as a small integer.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashTable;

use super::{Labels, LabelsBuilder};

/// A series' place in the table, and so in every array that is kept by series. Dense; reused once the series is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SeriesId(pub u32);

impl SeriesId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A series: its identity, held by reference by the layouts that report it and the chunks that keep it.
#[derive(Debug)]
pub struct Series {
    pub id: SeriesId,
    /// With the target labels (`job`, `instance`), as history and rules see it.
    pub labels: Labels,
}

/// All series that anything refers to.
///
/// One lock guards the whole: it is taken when a layout changes or a rule gives a new series, not per sample.
pub struct SeriesTable {
    target: Labels,
    hasher: RandomState,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    by_labels: HashTable<Arc<Series>>,
    free: Vec<SeriesId>,
    next: u32,
}

impl SeriesTable {
    /// `target`: labels added to every sampled series (`job`, `instance`); empty for none.
    pub fn new(target: Labels) -> SeriesTable {
        SeriesTable { target, hasher: RandomState::new(), inner: Mutex::default() }
    }

    pub fn target(&self) -> &Labels {
        &self.target
    }

    /// The series of exactly these labels, made if it is new.
    pub fn intern(&self, labels: Labels) -> Arc<Series> {
        let hash = self.hasher.hash_one(&labels);
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *guard;
        if let Some(found) = inner.by_labels.find(hash, |s| s.labels == labels) {
            return found.clone();
        }
        let id = inner.free.pop().unwrap_or_else(|| {
            inner.next += 1;
            SeriesId(inner.next - 1)
        });
        let series = Arc::new(Series { id, labels });
        inner.by_labels.insert_unique(hash, series.clone(), |s| self.hasher.hash_one(&s.labels));
        series
    }

    /// The series of a sample that the agent takes itself: target labels are added, and a label that has the name of
    /// one of these is kept as `exported_NAME`, as a Prometheus server does with `honor_labels: false`.
    pub fn intern_sampled(&self, mut labels: LabelsBuilder) -> Arc<Series> {
        for (name, value) in self.target.iter() {
            let own = labels.get(name).to_string();
            if !own.is_empty() {
                labels.set(&format!("exported_{name}"), &own);
            }
            labels.set(name, value);
        }
        self.intern(labels.build())
    }

    /// Forgets the series that nothing refers to any more; their ids are given out again.
    pub fn sweep(&self) {
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *guard;
        let free = &mut inner.free;
        inner.by_labels.retain(|s| {
            let used = Arc::strong_count(s) > 1;
            if !used {
                free.push(s.id);
            }
            used
        });
        if inner.by_labels.capacity() > 2 * inner.by_labels.len() + 64 {
            inner.by_labels.shrink_to_fit(|s| self.hasher.hash_one(&s.labels));
        }
    }

    /// Series in the table.
    pub fn len(&self) -> usize {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).by_labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One more than the largest id ever given out: the length an array by [`SeriesId`] needs.
    pub fn id_bound(&self) -> usize {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).next as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_made_once_and_its_id_is_reused_after_it_is_gone() {
        let table = SeriesTable::new(Labels::from_pairs([("job", "node"), ("instance", "h:9100")]));
        let a = table.intern_sampled(Labels::from_pairs([("__name__", "m"), ("job", "x")]).builder());
        assert_eq!(a.labels.to_string(), "m{exported_job=\"x\", instance=\"h:9100\", job=\"node\"}");
        let again = table.intern(a.labels.clone());
        assert_eq!(a.id, again.id);
        let id = a.id;
        drop((a, again));
        table.sweep();
        assert!(table.is_empty());
        assert_eq!(table.intern(Labels::from_pairs([("__name__", "n")])).id, id);
        assert_eq!(table.id_bound(), 1);
    }
}
