//! Rows and the changes to them.

use serde::Serialize;

/// The kinds of rows. A row is a JSON value under a key that is a text; keys are in byte order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Table {
    /// What `rules/` must remember of its alerts.
    AlertStates,
    /// The alerts that `alerting/` knows, by fingerprint.
    Alerts,
    /// Notifications that are due and not confirmed, by their number.
    Queue,
    /// What was notified last, by group, receiver and integration.
    NotificationLog,
    /// Silences, by identifier.
    Silences,
    /// Alerts that begin to fire again and again, by fingerprint.
    Flapping,
    /// Notifications that were given up, by their number.
    DeadLetters,
    /// What was decided about actions and what came of it, by number.
    Actions,
    /// How far checks have read log files, by the check's name.
    LogPositions,
    /// The store's own: its format, its identity, counters.
    Meta,
}

impl Table {
    /// All tables.
    pub const ALL: [Table; 10] = [
        Table::AlertStates,
        Table::Alerts,
        Table::Queue,
        Table::NotificationLog,
        Table::Silences,
        Table::Flapping,
        Table::DeadLetters,
        Table::Actions,
        Table::LogPositions,
        Table::Meta,
    ];

    /// The name in the file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Table::AlertStates => "alert_states",
            Table::Alerts => "alerts",
            Table::Queue => "queue",
            Table::NotificationLog => "notification_log",
            Table::Silences => "silences",
            Table::Flapping => "flapping",
            Table::DeadLetters => "dead_letters",
            Table::Actions => "actions",
            Table::LogPositions => "log_positions",
            Table::Meta => "meta",
        }
    }
}

/// One row's change: its new content, or `None` when it is removed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    pub table: Table,
    pub key: String,
    /// The JSON text.
    pub row: Option<Vec<u8>>,
}

/// Changes that are made all together or not at all.
#[derive(Clone, Default, Debug)]
pub struct Batch {
    changes: Vec<Change>,
    failed: u64,
}

impl Batch {
    /// Sets a row. A value that has no JSON form (a map whose keys are not texts) is left out, logged, and counted as an
    /// error of the store.
    pub fn put<V: Serialize>(&mut self, table: Table, key: impl Into<String>, value: &V) {
        let key = key.into();
        match serde_json::to_vec(value) {
            Ok(row) => self.changes.push(Change { table, key, row: Some(row) }),
            Err(error) => {
                tracing::error!(table = table.name(), key, %error, "a row has no JSON form and is not kept");
                self.failed += 1;
            }
        }
    }

    /// Removes a row, if it is there.
    pub fn remove(&mut self, table: Table, key: impl Into<String>) {
        self.changes.push(Change { table, key: key.into(), row: None });
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.failed == 0
    }

    /// The changes in the order in which they were made.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    pub(super) fn into_parts(self) -> (Vec<Change>, u64) {
        (self.changes, self.failed)
    }
}
