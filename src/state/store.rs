//! The store as others see it, and the thread that writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use prometheus::Registry;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::batch::{Batch, Table};
use super::file::{File, FileError, OpenError, Opened, Rows};
use super::metrics::Metrics;
use unseen::Claim;
pub use unseen::{StoredRow, StoredRows, Unseen};

/// How long the writing thread waits before it tries a disk again that failed.
const REST: Duration = Duration::from_secs(10);
/// redb's own recursion is shallow; the default of 2 MiB would only be address space, but this says what is needed.
const STACK: usize = 512 * 1024;

/// The embedded store. Clones are the same store; when the last is dropped, everything is written and the file closed.
#[derive(Clone)]
pub struct Store {
    owner: Arc<Owner>,
}

/// Ends the thread when the last clone of the store goes.
struct Owner {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    /// `None`: a store in memory only.
    dir: Option<PathBuf>,
    metrics: Metrics,
    /// `None` while the disk does not let us. Held during a transaction; taken before `pending`.
    file: Mutex<Option<File>>,
    /// Held for a few instructions only: whoever writes rows takes it, the tick thread too.
    pending: Mutex<Pending>,
    /// Told when there is something to write, or the store ends.
    work: Condvar,
    /// Told when no batch is still to be made.
    made: Condvar,
    /// The number of the last batch that a transaction was tried for.
    tried: watch::Sender<u64>,
    /// How long a disk that failed is left alone.
    rest: Duration,
}

/// Makes a batch, on the thread that writes.
type Make = Box<dyn FnOnce() -> Batch + Send>;

#[derive(Default)]
struct Pending {
    /// What the file does not have yet, newest content only.
    rows: Rows,
    /// Batches still to be made, all newer than `rows`.
    unmade: Vec<Make>,
    /// The thread is making batches: they belong between `rows` and `unmade`.
    making: bool,
    /// The number of the last batch that was handed over.
    batch: u64,
    closing: bool,
    /// The file has been open. Until then nobody knows what lies in it.
    seen: bool,
    /// Tables whose owners have still to see what lies in them.
    claims: Vec<Claim>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that leaves the data half changed can panic while a lock is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Opens the store in `dir`, which is created with mode 0700 when it is not there, and registers its instruments.
    ///
    /// A full or failing disk is no error: the store then begins in memory and goes to the disk when it can. A damaged
    /// file is set aside.
    ///
    /// # Errors
    /// When the directory cannot be written, another agent uses it, or a later version wrote it.
    pub fn open(dir: &Path, registry: &Registry) -> Result<Store, OpenError> {
        let metrics = Metrics::register(registry).map_err(OpenError::Metrics)?;
        let file = accept(File::open(dir)?, &metrics);
        Store::start(Some(dir.to_path_buf()), file, metrics, REST)
    }

    /// A store without a file: for tests, and for commands that must leave nothing behind.
    ///
    /// # Errors
    /// When the thread cannot be started or the instruments are registered already.
    pub fn in_memory(registry: &Registry) -> Result<Store, OpenError> {
        let metrics = Metrics::register(registry).map_err(OpenError::Metrics)?;
        Store::start(None, None, metrics, REST)
    }

    /// A store whose file cannot be opened yet, as on a full disk; that is tried again every so often.
    #[cfg(test)]
    pub fn unavailable(dir: &Path, registry: &Registry, rest: Duration) -> Result<Store, OpenError> {
        let metrics = Metrics::register(registry).map_err(OpenError::Metrics)?;
        Store::start(Some(dir.to_path_buf()), None, metrics, rest)
    }

    fn start(dir: Option<PathBuf>, file: Option<File>, metrics: Metrics, rest: Duration) -> Result<Store, OpenError> {
        let seen = dir.is_none() || file.is_some();
        let shared = Arc::new(Shared {
            dir,
            metrics,
            file: Mutex::new(file),
            pending: Mutex::new(Pending { seen, ..Pending::default() }),
            work: Condvar::new(),
            made: Condvar::new(),
            tried: watch::Sender::new(0),
            rest,
        });
        let writer = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("state".to_string())
            .stack_size(STACK)
            .spawn(move || writer.run())
            .map_err(OpenError::Thread)?;
        Ok(Store { owner: Arc::new(Owner { shared, thread: Mutex::new(Some(thread)) }) })
    }

    /// Hands rows over to be written soon, all of them in one transaction. Never waits for the disk.
    pub fn write(&self, batch: Batch) {
        if batch.is_empty() {
            return;
        }
        let shared = &self.owner.shared;
        let mut pending = lock(&shared.pending);
        if pending.unmade.is_empty() && !pending.making {
            pending.rows.append(&mut shared.rows([batch]));
            shared.count(&pending);
        } else {
            pending.unmade.push(Box::new(|| batch));
        }
        pending.batch += 1;
        drop(pending);
        shared.work.notify_one();
    }

    /// As [`Store::write`], of a batch that the store's own thread makes: for many rows whose JSON text would take the
    /// caller too long. Batches are written in the order in which they were handed over, of either kind.
    pub fn write_later(&self, make: impl FnOnce() -> Batch + Send + 'static) {
        let shared = &self.owner.shared;
        let mut pending = lock(&shared.pending);
        pending.unmade.push(Box::new(make));
        pending.batch += 1;
        drop(pending);
        shared.work.notify_one();
    }

    /// Waits until everything handed over before is on the disk, or the store knows that the disk does not take it (then
    /// it is safe in memory only, and the store has said so).
    pub async fn settled(&self) {
        let wanted = lock(&self.owner.shared.pending).batch;
        let mut tried = self.owner.shared.tried.subscribe();
        // The sender lives as long as `self`.
        let _ = tried.wait_for(|tried| *tried >= wanted).await;
    }

    /// All rows of a table, in order of key, for the start: parts then keep in memory what they need. (While the disk fails,
    /// only rows that are in memory are seen.) Rows that cannot be read as `V` are left out and logged.
    pub fn load<V: DeserializeOwned>(&self, table: Table) -> Vec<(String, V)> {
        let read = |(key, row): (String, Vec<u8>)| match serde_json::from_slice(&row) {
            Ok(value) => Some((key, value)),
            Err(error) => {
                tracing::warn!(table = table.name(), key, %error, "a row of the store is not understood: left out");
                None
            }
        };
        self.load_text(table).into_iter().filter_map(read).collect()
    }

    /// All rows of a table as JSON text, in order of key; as [`Store::load`].
    pub fn load_text(&self, table: Table) -> Vec<(String, Vec<u8>)> {
        let shared = &self.owner.shared;
        let unmade = |pending: &mut Pending| pending.making || !pending.unmade.is_empty();
        drop(shared.made.wait_while(lock(&shared.pending), unmade).unwrap_or_else(PoisonError::into_inner));
        // In this order, so that no row is between the two.
        let file = lock(&shared.file);
        let pending = lock(&shared.pending);
        let stored = match file.as_ref().map(|file| file.load(table)) {
            None => Vec::new(),
            Some(Ok(rows)) => rows,
            Some(Err(error)) => {
                tracing::error!(table = table.name(), %error, "the store cannot be read");
                shared.metrics.errors.inc();
                Vec::new()
            }
        };
        let mut rows: BTreeMap<String, Vec<u8>> = stored.into_iter().collect();
        for ((_, key), row) in pending.rows.iter().filter(|((t, _), _)| *t == table) {
            match row {
                Some(row) => drop(rows.insert(key.clone(), row.clone())),
                None => drop(rows.remove(key)),
            }
        }
        rows.into_iter().collect()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        lock(&self.shared.pending).closing = true;
        self.shared.work.notify_one();
        if let Some(thread) = lock(&self.thread).take() {
            // A panic of the thread has been reported by the panic itself.
            let _ = thread.join();
        }
    }
}

/// The file of an opening, counted.
fn accept(opened: Opened, metrics: &Metrics) -> Option<File> {
    match opened {
        Opened::File(file) => {
            metrics.up.set(1);
            Some(file)
        }
        Opened::Fresh(file, aside) => {
            metrics.damaged.inc();
            metrics.up.set(1);
            tracing::error!(kept_as = %aside.display(), "the store was damaged; a fresh one is begun");
            Some(file)
        }
        Opened::Unavailable(error) => {
            metrics.errors.inc();
            metrics.up.set(0);
            tracing::error!(error, "the store cannot be written: the agent goes on from memory and tries again");
            None
        }
    }
}

impl Shared {
    /// The rows of batches, newest content only.
    fn rows(&self, batches: impl IntoIterator<Item = Batch>) -> Rows {
        let mut rows = Rows::new();
        for batch in batches {
            let (changes, failed) = batch.into_parts();
            self.metrics.errors.inc_by(failed);
            rows.extend(changes.into_iter().map(|change| ((change.table, change.key), change.row)));
        }
        rows
    }

    fn count(&self, pending: &Pending) {
        self.metrics.unwritten.set(i64::try_from(pending.rows.len()).unwrap_or(i64::MAX));
    }

    /// The thread: writes whenever there is something to write.
    fn run(&self) {
        // Until when a disk that failed is left alone.
        let mut rest: Option<Instant> = None;
        loop {
            let closing = self.wait(rest);
            if self.dir.is_some() {
                rest = if self.write(closing) { None } else { Some(Instant::now() + self.rest) };
            }
            if closing {
                let batch = lock(&self.pending).batch;
                self.tried.send_replace(batch);
                return;
            }
        }
    }

    /// Makes the batches that are still to be made, without the lock.
    fn make<'p>(&'p self, mut pending: MutexGuard<'p, Pending>) -> MutexGuard<'p, Pending> {
        while !pending.unmade.is_empty() {
            let unmade = std::mem::take(&mut pending.unmade);
            pending.making = true;
            drop(pending);
            let mut rows = self.rows(unmade.into_iter().map(|make| make()));
            pending = lock(&self.pending);
            pending.making = false;
            pending.rows.append(&mut rows);
            self.count(&pending);
        }
        self.made.notify_all();
        pending
    }

    /// Waits until there is something to write to a disk that can be tried; whether the store is closing.
    fn wait(&self, rest: Option<Instant>) -> bool {
        let mut pending = lock(&self.pending);
        loop {
            pending = self.make(pending);
            if pending.closing {
                return true;
            }
            let left = rest.map(|until| until.saturating_duration_since(Instant::now())).filter(|d| !d.is_zero());
            if self.dir.is_none() || left.is_some() {
                // Nothing is tried now: whoever waits has to go on with what is in memory.
                self.tried.send_replace(pending.batch);
            } else if pending.is_due() || pending.batch > *self.tried.borrow() {
                return false;
            }
            pending = match left {
                Some(left) if pending.is_due() => {
                    self.work.wait_timeout(pending, left).unwrap_or_else(PoisonError::into_inner).0
                }
                _ => self.work.wait(pending).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// One transaction with everything that has gathered; what fails goes back. Whether it did not fail.
    fn write(&self, closing: bool) -> bool {
        let mut file = lock(&self.file);
        // What it counts is in the rows then.
        let batch = self.make(lock(&self.pending)).batch;
        let failure = self.transaction(&mut file, closing).err();
        if let Some(error) = &failure {
            self.metrics.errors.inc();
            if self.metrics.up.get() != 0 {
                tracing::error!(error, "the store cannot be written: the agent goes on from memory and tries again");
            }
            self.metrics.up.set(0);
        }
        self.count(&lock(&self.pending));
        self.tried.send_replace(batch);
        failure.is_none()
    }

    fn transaction(&self, file: &mut Option<File>, closing: bool) -> Result<(), String> {
        if !lock(&self.pending).has_work() {
            return Ok(());
        }
        let fault = |error: FileError| error.to_string();
        if file.is_none() {
            *file = self.reopen()?;
        }
        let Some(open) = file.as_ref() else { return Err("it cannot be opened".to_string()) };
        if !lock(&self.pending).seen
            && let Err(error) = self.hand_over(open)
        {
            *file = None;
            return Err(fault(error));
        }
        let rows = self.take_due(open, closing).map_err(fault)?;
        // Whether a file that was just opened can be written, an empty transaction says too.
        if rows.is_empty() && self.metrics.up.get() != 0 {
            return Ok(());
        }
        match open.write(&rows) {
            Ok(()) => {
                self.metrics.transactions.inc();
                if self.metrics.up.get() == 0 {
                    tracing::info!("the store can be written again");
                }
                self.metrics.up.set(1);
                Ok(())
            }
            Err(error) => {
                // After an I/O error the library wants the file closed and opened again; a damaged one is set aside then.
                *file = None;
                let mut pending = lock(&self.pending);
                for (key, row) in rows {
                    // What came meanwhile is newer.
                    pending.rows.entry(key).or_insert(row);
                }
                Err(fault(error))
            }
        }
    }

    fn reopen(&self) -> Result<Option<File>, String> {
        let Some(dir) = &self.dir else { return Ok(None) };
        match File::open(dir).map_err(|e| e.to_string())? {
            Opened::Unavailable(error) => Err(error),
            opened => {
                let up = self.metrics.up.get();
                let file = accept(opened, &self.metrics);
                // Whether it is up, the first transaction says.
                self.metrics.up.set(up);
                Ok(file)
            }
        }
    }
}

mod unseen;

#[cfg(test)]
mod tests;
