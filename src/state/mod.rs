//! The embedded store: what must outlive the agent, in one file, written in transactions.
//!
//! Parts hand over a [`Batch`] of rows; the store's own thread (`state`) writes everything that has gathered as one
//! transaction. [`Store::write`] therefore never waits for a disk, so the tick thread can call it
//! ([`Store::write_later`] does not even wait for the rows' JSON text); who must not go on
//! before the rows are safe awaits [`Store::settled`] (the notification queue does, before it calls a sink).
//!
//! Every transaction is synced. Rows are few and written only when something changed (an idle agent writes nothing), and
//! what a cheaper, unsynced commit would save is lost exactly when it is needed: after a crash. Several changes at once
//! share one sync.
//!
//! A disk that fails or is full does not stop the agent: rows that could not be written stay in memory, the store says so
//! (`watchfire_storage_up`, the log) and tries again. A damaged file is set aside and a fresh one begun. Where the file
//! could not be opened at the start, parts claim their tables ([`Store::unseen`]): once it opens they are given what lies
//! there, and nothing of theirs is written before they have taken it over.

mod batch;
mod directory;
mod file;
mod metrics;
mod store;

pub use batch::{Batch, Change, Table};
pub use directory::{DIRECTORY_MODE, default_directory};
pub use file::OpenError;
pub use store::{Store, StoredRow, StoredRows, Unseen};
