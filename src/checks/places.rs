//! Where checks have read log files to, kept in the store: one row a check.
//!
//! The store may open late, as on a full disk. Until then nobody knows what lies in it, and nothing is written over that:
//! what checks keep meanwhile waits here, and a check that has a row there goes on from the row.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::log::{Earlier, Place, Positions};
use crate::state::{Batch, Store, Table, Unseen};

/// The places of all checks that have one.
pub struct Places {
    store: Store,
    /// Held for moments: the store takes rows without waiting for the disk.
    rows: Mutex<Rows>,
}

struct Rows {
    /// What the store has and could not be read at the start.
    unseen: Option<Unseen>,
    /// As they are, or are to be, in the store.
    kept: HashMap<String, Positions>,
    /// Which place of each name is in force. A run of what the check was before may still be under way, and what it has
    /// read counts for nothing.
    in_force: HashMap<String, u64>,
    /// The number of the last place.
    last: u64,
}

/// The place of a check.
struct Row {
    places: Arc<Places>,
    check: String,
    number: u64,
}

impl Places {
    /// Reads what the store has.
    pub fn load(store: Store) -> Arc<Places> {
        let unseen = store.unseen(&[Table::LogPositions]);
        let kept = match unseen {
            None => store.load(Table::LogPositions).into_iter().collect(),
            Some(_) => HashMap::new(),
        };
        let rows = Rows { unseen, kept, in_force: HashMap::new(), last: 0 };
        Arc::new(Places { store, rows: Mutex::new(rows) })
    }

    /// The place of a check that begins; one that had this name before keeps nothing any more.
    pub fn place(self: &Arc<Self>, check: &str) -> Arc<dyn Place> {
        let mut rows = self.rows();
        rows.last += 1;
        let number = rows.last;
        rows.in_force.insert(check.to_string(), number);
        drop(rows);
        Arc::new(Row { places: self.clone(), check: check.to_string(), number })
    }

    /// Forgets all but these checks.
    pub fn retain(&self, checks: &HashSet<&str>) {
        let mut rows = self.rows();
        let mut batch = Batch::default();
        rows.in_force.retain(|check, _| checks.contains(check.as_str()));
        rows.kept.retain(|check, _| {
            let stays = checks.contains(check.as_str());
            if !stays {
                batch.remove(Table::LogPositions, check);
            }
            stays
        });
        if rows.unseen.is_none() {
            self.store.write(batch);
        }
    }

    /// The rows, with what the store turns out to have where it could not be read at the start.
    fn rows(&self) -> MutexGuard<'_, Rows> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = rows.unseen.as_mut().and_then(Unseen::rows_now) {
            let found = found.into_values().flatten().map(|stored| (stored.key, stored.row));
            self.store.write(rows.take_over(found));
            if let Some(unseen) = rows.unseen.take() {
                unseen.taken_over();
            }
        }
        rows
    }
}

impl Rows {
    /// Takes in what lies in the store, which goes before what was kept meanwhile; what is to be changed there.
    fn take_over(&mut self, found: impl Iterator<Item = (String, Vec<u8>)>) -> Batch {
        let mut batch = Batch::default();
        let meanwhile = std::mem::take(&mut self.kept);
        for (check, row) in found {
            match serde_json::from_slice(&row) {
                Ok(positions) if self.in_force.contains_key(&check) => drop(self.kept.insert(check, positions)),
                _ => batch.remove(Table::LogPositions, check),
            }
        }
        for (check, positions) in meanwhile {
            if let Entry::Vacant(free) = self.kept.entry(check) {
                batch.put(Table::LogPositions, free.key(), &positions);
                free.insert(positions);
            }
        }
        batch
    }
}

impl Place for Row {
    fn load(&self) -> Earlier {
        let rows = self.places.rows();
        match (&rows.unseen, rows.kept.get(&self.check)) {
            (Some(_), _) => Earlier::Unknown,
            (None, None) => Earlier::Nothing,
            (None, Some(positions)) => Earlier::At(positions.clone()),
        }
    }

    fn save(&self, positions: &Positions) {
        let mut rows = self.places.rows();
        if rows.in_force.get(&self.check) != Some(&self.number) {
            return;
        }
        rows.kept.insert(self.check.clone(), positions.clone());
        if rows.unseen.is_none() {
            let mut batch = Batch::default();
            batch.put(Table::LogPositions, &self.check, positions);
            self.places.store.write(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use prometheus::Registry;
    use rustix::fs::{CWD, RenameFlags, renameat_with};

    use super::*;

    fn open(dir: &Path) -> Store {
        Store::open(dir, &Registry::new()).unwrap()
    }

    /// Positions that differ by this number.
    fn at(saved_at: u64) -> Positions {
        Positions { saved_at, ..Positions::default() }
    }

    fn stored(store: &Store) -> Vec<(String, u64)> {
        let rows = store.load::<Positions>(Table::LogPositions);
        rows.into_iter().map(|(check, positions)| (check, positions.saved_at)).collect()
    }

    #[test]
    fn what_was_kept_is_there_after_a_restart_and_what_is_gone_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::load(open(dir.path()));
        let [a, b] = ["a", "b"].map(|check| places.place(check));
        assert_eq!(a.load(), Earlier::Nothing);
        a.save(&at(1));
        b.save(&at(2));
        a.save(&at(3));
        drop((a, b, places));

        let store = open(dir.path());
        let places = Places::load(store.clone());
        let a = places.place("a");
        places.retain(&HashSet::from(["a"]));
        assert_eq!(a.load(), Earlier::At(at(3)));
        assert_eq!(stored(&store), [("a".to_string(), 3)]);
        assert_eq!(places.place("b").load(), Earlier::Nothing);
    }

    #[test]
    fn what_a_check_was_before_keeps_nothing_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let places = Places::load(store.clone());
        let before = places.place("a");
        before.save(&at(1));
        let now = places.place("a");
        before.save(&at(2));
        assert_eq!(now.load(), Earlier::At(at(1)));
        places.retain(&HashSet::new());
        now.save(&at(3));
        assert!(stored(&store).is_empty());
    }

    #[test]
    fn a_store_that_opens_late_gives_what_lies_in_it_before_it_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::load(open(dir.path()));
        for check in ["a", "gone"] {
            places.place(check).save(&at(1));
        }
        drop(places);
        let (file, aside) = (dir.path().join("watchfire.redb"), dir.path().join("aside"));
        // What is no file cannot be opened.
        std::fs::create_dir(&aside).unwrap();
        let exchange = || renameat_with(CWD, &file, CWD, &aside, RenameFlags::EXCHANGE).unwrap();
        exchange();
        let store = Store::unavailable(dir.path(), &Registry::new(), Duration::from_millis(20)).unwrap();
        let places = Places::load(store.clone());
        let [a, new] = ["a", "new"].map(|check| places.place(check));
        places.retain(&HashSet::from(["a", "new"]));
        assert_eq!(a.load(), Earlier::Unknown);
        a.save(&at(2));
        new.save(&at(3));

        exchange();
        let begun = Instant::now();
        while a.load() == Earlier::Unknown {
            assert!(begun.elapsed() < Duration::from_secs(30), "it does not open");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!((a.load(), new.load()), (Earlier::At(at(1)), Earlier::At(at(3))));
        assert_eq!(stored(&store), [("a".to_string(), 1), ("new".to_string(), 3)]);
        a.save(&at(4));
        assert_eq!(stored(&store), [("a".to_string(), 4), ("new".to_string(), 3)]);
    }
}
