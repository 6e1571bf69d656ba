//! What lies in a file that could not be opened at the start: nothing is written over it before those have seen it whose
//! it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use tokio::sync::oneshot;

use super::{Pending, Shared, Store, lock};
use crate::state::batch::Table;
use crate::state::file::{File, FileError, Rows};

/// The rows of tables as they lie in the file, in order of key.
pub type StoredRows = BTreeMap<Table, Vec<StoredRow>>;

/// A row that lies in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredRow {
    pub key: String,
    /// The JSON text.
    pub row: Vec<u8>,
    /// Another row of this key, or its removal, has been handed over since the start.
    pub overtaken: bool,
}

/// Tables of which nothing is written until their owner has taken over what lies in them.
///
/// Dropped before that, they stay so: when the store closes, what is new is put beside what lies there.
pub struct Unseen {
    /// Does not keep the file open.
    shared: Weak<Shared>,
    tables: &'static [Table],
    rows: oneshot::Receiver<StoredRows>,
}

/// The store's side of [`Unseen`].
pub(super) struct Claim {
    tables: &'static [Table],
    /// Until the rows are handed over.
    rows: Option<oneshot::Sender<StoredRows>>,
}

impl Store {
    /// Claims tables for their owner, before it reads or writes them: where the file could not be opened at the start, and
    /// has not been since. Otherwise `None`; then [`Store::load_text`] gives all there is.
    pub fn unseen(&self, tables: &'static [Table]) -> Option<Unseen> {
        let shared = &self.owner.shared;
        let mut pending = lock(&shared.pending);
        if pending.seen {
            return None;
        }
        let (sender, rows) = oneshot::channel();
        pending.claims.push(Claim { tables, rows: Some(sender) });
        drop(pending);
        shared.work.notify_one();
        Some(Unseen { shared: Arc::downgrade(shared), tables, rows })
    }
}

impl Unseen {
    /// Waits until the file can be opened, and gives what lies in it; once. `None`: the store has ended.
    pub async fn rows(&mut self) -> Option<StoredRows> {
        (&mut self.rows).await.ok()
    }

    /// As [`Unseen::rows`], without waiting.
    pub fn rows_now(&mut self) -> Option<StoredRows> {
        self.rows.try_recv().ok()
    }

    /// The owner has taken over what lies there: from now on it is written over.
    pub fn taken_over(self) {
        let Some(shared) = self.shared.upgrade() else { return };
        lock(&shared.pending).claims.retain(|claim| claim.tables != self.tables);
        shared.work.notify_one();
    }
}

impl Shared {
    /// Hands what lies in a file that is open for the first time to those whose it is.
    pub(super) fn hand_over(&self, file: &File) -> Result<(), FileError> {
        loop {
            let tables = {
                let mut pending = lock(&self.pending);
                let Some(claim) = pending.claims.iter().find(|claim| claim.rows.is_some()) else {
                    pending.seen = true;
                    return Ok(());
                };
                claim.tables
            };
            let stored = tables.iter().map(|table| Ok((*table, file.load(*table)?)));
            let stored: Vec<_> = stored.collect::<Result<_, FileError>>()?;
            let mut pending = self.make(lock(&self.pending));
            let rows = stored.into_iter().map(|(table, rows)| (table, pending.compared(table, rows))).collect();
            let claim = pending.claims.iter_mut().find(|claim| claim.tables == tables);
            if let Some(sender) = claim.and_then(|claim| claim.rows.take()) {
                // Who asked may have gone.
                let _ = sender.send(rows);
            }
        }
    }

    /// Takes what is to be written now. `closing`: nobody will look at what lies in the file any more. It is left as it is,
    /// since it may matter more than what this run has known without it, and what is new is put beside it.
    pub(super) fn take_due(&self, file: &File, closing: bool) -> Result<Rows, FileError> {
        let mut pending = self.make(lock(&self.pending));
        let rows = std::mem::take(&mut pending.rows);
        if pending.claims.is_empty() {
            return Ok(rows);
        }
        let (withheld, mut due): (Rows, Rows) =
            rows.into_iter().partition(|((table, _), _)| pending.is_withheld(*table));
        if !closing {
            pending.rows = withheld;
            return Ok(due);
        }
        let mut there = BTreeSet::new();
        for table in Table::ALL.into_iter().filter(|table| pending.is_withheld(*table)) {
            there.extend(file.load(table)?.into_iter().map(|(key, _)| (table, key)));
        }
        due.extend(withheld.into_iter().filter(|(key, row)| row.is_some() && !there.contains(key)));
        Ok(due)
    }
}

impl Pending {
    /// Whether what lies in a table has still to be seen by its owner.
    fn is_withheld(&self, table: Table) -> bool {
        self.claims.iter().any(|claim| claim.tables.contains(&table))
    }

    /// Whether there is something to do with the file: to write, or to look for.
    pub(super) fn has_work(&self) -> bool {
        !self.rows.is_empty() || !self.seen && !self.claims.is_empty()
    }

    /// Whether that can be done now.
    pub(super) fn is_due(&self) -> bool {
        if !self.seen {
            return self.has_work();
        }
        let waits = |table: &Table| {
            let first = self.rows.range((*table, String::new())..).next();
            first.is_some_and(|((of, _), _)| of == table)
        };
        Table::ALL.iter().any(|table| waits(table) && !self.is_withheld(*table))
    }

    fn compared(&self, table: Table, rows: Vec<(String, Vec<u8>)>) -> Vec<StoredRow> {
        let compared = |(key, row)| {
            let at = (table, key);
            let overtaken = self.rows.contains_key(&at);
            StoredRow { key: at.1, row, overtaken }
        };
        rows.into_iter().map(compared).collect()
    }
}
