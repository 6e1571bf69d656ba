//! The thread that writes: it takes what the journal hands over, in order, and never makes it wait.
//!
//! When the disk does not take something, everything that follows is dropped until the journal begins anew: what has a
//! hole in it is no history. It is said once, until all of it is on the disk again.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use prometheus::{IntCounter, IntGauge, Registry};

use super::record::{FileKind, FileName};

/// Who may look into the directory and the files: what is in labels is nobody else's business.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// What buffers keep between two writes.
const SPARE: usize = 256 << 10;

/// The instruments of what is on the disk.
#[derive(Clone)]
pub struct DiskMetrics {
    pub up: IntGauge,
    pub written: IntCounter,
    pub errors: IntCounter,
    pub damaged: IntCounter,
    pub size: IntGauge,
    pub unwritten: IntGauge,
}

impl DiskMetrics {
    pub fn register(registry: &Registry) -> prometheus::Result<DiskMetrics> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone())).map(|()| gauge)
        };
        Ok(DiskMetrics {
            up: gauge(
                "watchfire_history_storage_up",
                "Whether history is written to the disk. While it cannot be, it is in memory only.",
            )?,
            written: counter("watchfire_history_written_bytes_total", "Bytes of history written to the disk.")?,
            errors: counter("watchfire_history_storage_errors_total", "Times that history could not be written.")?,
            damaged: counter(
                "watchfire_history_damaged_bytes_total",
                "Bytes of history's files that were not readable at the start.",
            )?,
            size: gauge("watchfire_history_disk_bytes", "Bytes that history takes on the disk, near enough.")?,
            unwritten: gauge("watchfire_history_unwritten_bytes", "Bytes of history that wait to be written.")?,
        })
    }
}

/// What the thread is to do.
pub enum Task {
    /// A new file of its kind; what follows goes there.
    Open(FileName),
    /// So many of the bytes that were handed over.
    Append(FileKind, usize),
    /// Everything so far is to be on the disk; chunks in files before this one then are.
    Sync(u64),
    Remove(FileName),
    /// After a failure: from here on all is new.
    Restart,
}

#[derive(Default)]
struct Queue {
    tasks: Vec<Task>,
    bytes: Vec<u8>,
    closing: bool,
}

struct Shared {
    dir: PathBuf,
    metrics: DiskMetrics,
    queue: Mutex<Queue>,
    work: Condvar,
    failed: AtomicBool,
    /// Of the last [`Task::Sync`] that was done.
    safe: AtomicU64,
}

/// The journal's end of it. When it is dropped, everything is written.
pub struct DiskWriter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Shared {
    /// Nothing is written from here on, until all is begun anew. Said once, until that has come to its end.
    fn fail(&self, error: &io::Error) {
        self.failed.store(true, Ordering::Release);
        self.metrics.errors.inc();
        if self.metrics.up.get() != 0 {
            self.metrics.up.set(0);
            tracing::error!(
                dir = %self.dir.display(),
                %error,
                "history cannot be written to the disk: it goes on in memory only, and is tried again every ten seconds"
            );
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    // Nothing that leaves the queue half changed can panic.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the directory, and takes it for this process alone for as long as the file is open.
pub fn take_directory(dir: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(dir)?;
    let handle = File::open(dir)?;
    rustix::fs::flock(&handle, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => io::Error::other("it is in use by another agent"),
        error => error.into(),
    })?;
    Ok(handle)
}

impl DiskWriter {
    /// `handle`: of [`take_directory`]; `safe`: the number from which on there are no files.
    pub fn start(dir: &Path, handle: File, safe: u64, metrics: DiskMetrics) -> io::Result<DiskWriter> {
        let shared = Arc::new(Shared {
            dir: dir.to_path_buf(),
            metrics,
            queue: Mutex::default(),
            work: Condvar::new(),
            failed: AtomicBool::new(false),
            safe: AtomicU64::new(safe),
        });
        shared.metrics.up.set(1);
        let run = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("history".to_string())
            .stack_size(256 << 10)
            .spawn(move || Disk { shared: &run, handle, chunks: None, log: None }.run())?;
        Ok(DiskWriter { shared, thread: Some(thread) })
    }

    pub fn metrics(&self) -> &DiskMetrics {
        &self.shared.metrics
    }

    /// Whether something could not be written since the last [`Task::Restart`] was handed over.
    pub fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Acquire)
    }

    /// Begins anew after a failure.
    pub fn restart(&self) {
        let mut queue = lock(&self.shared.queue);
        queue.tasks.clear();
        queue.bytes.clear();
        queue.tasks.push(Task::Restart);
        self.shared.failed.store(false, Ordering::Release);
        drop(queue);
        self.shared.work.notify_one();
    }

    /// Chunks in files before this one are on the disk for sure.
    pub fn safe(&self) -> u64 {
        self.shared.safe.load(Ordering::Acquire)
    }

    /// Hands a task over.
    pub fn push(&self, task: Task) {
        lock(&self.shared.queue).tasks.push(task);
        self.shared.work.notify_one();
    }

    /// Hands bytes over, to be appended; returns how many wait.
    pub fn append(&self, kind: FileKind, bytes: &[u8]) -> usize {
        let mut queue = lock(&self.shared.queue);
        queue.bytes.extend_from_slice(bytes);
        match queue.tasks.last_mut() {
            Some(Task::Append(last, length)) if *last == kind => *length += bytes.len(),
            _ => queue.tasks.push(Task::Append(kind, bytes.len())),
        }
        let waiting = queue.bytes.len();
        self.shared.metrics.unwritten.set(waiting as i64);
        drop(queue);
        self.shared.work.notify_one();
        waiting
    }

    /// Bytes that wait to be written.
    pub fn waiting(&self) -> usize {
        lock(&self.shared.queue).bytes.len()
    }

    /// So much waits that nothing more is taken.
    pub fn give_up(&self, waiting: usize) {
        if !self.has_failed() {
            self.shared.fail(&io::Error::other(format!("the disk is too slow: {waiting} bytes wait for it")));
        }
    }
}

impl Drop for DiskWriter {
    fn drop(&mut self) {
        lock(&self.shared.queue).closing = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic itself.
            let _ = thread.join();
        }
    }
}

/// The thread's own.
struct Disk<'s> {
    shared: &'s Shared,
    /// The directory, locked.
    handle: File,
    chunks: Option<File>,
    log: Option<File>,
}

impl Disk<'_> {
    fn run(mut self) {
        let mut batch = Queue::default();
        loop {
            {
                let mut queue = lock(&self.shared.queue);
                while queue.tasks.is_empty() && !queue.closing {
                    queue = self.shared.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
                if queue.tasks.is_empty() {
                    return;
                }
                std::mem::swap(&mut queue.tasks, &mut batch.tasks);
                std::mem::swap(&mut queue.bytes, &mut batch.bytes);
                self.shared.metrics.unwritten.set(0);
            }
            self.work(&batch);
            batch.tasks.clear();
            batch.bytes.clear();
            batch.bytes.shrink_to(SPARE);
        }
    }

    fn work(&mut self, batch: &Queue) {
        let mut rest = batch.bytes.as_slice();
        for task in &batch.tasks {
            let bytes = match task {
                Task::Append(_, length) => rest.split_off(..*length).unwrap_or(&[]),
                _ => &[],
            };
            if matches!(task, Task::Restart) {
                (self.chunks, self.log) = (None, None);
            }
            if self.shared.failed.load(Ordering::Acquire) {
                continue;
            }
            match self.perform(task, bytes) {
                Ok(()) if matches!(task, Task::Sync(_)) && self.shared.metrics.up.get() == 0 => {
                    tracing::info!(dir = %self.shared.dir.display(), "all of history is on the disk again");
                    self.shared.metrics.up.set(1);
                }
                Ok(()) => {}
                Err(error) => {
                    (self.chunks, self.log) = (None, None);
                    self.shared.fail(&error);
                }
            }
        }
    }

    fn perform(&mut self, task: &Task, bytes: &[u8]) -> io::Result<()> {
        match task {
            Task::Open(name) => {
                let path = self.shared.dir.join(name.to_string());
                let file = OpenOptions::new().append(true).create_new(true).mode(FILE_MODE).open(path)?;
                if let Some(ended) = self.file(name.kind).replace(file) {
                    ended.sync_data()?;
                }
            }
            Task::Append(kind, _) => {
                let Some(file) = self.file(*kind) else { return Err(io::Error::other("no file is open")) };
                file.write_all(bytes)?;
                // A file that was removed takes what is written, for nobody.
                if rustix::fs::fstat(&*file)?.st_nlink == 0 {
                    self.shared.safe.store(0, Ordering::Release);
                    return Err(io::Error::other("the file was removed while it was written"));
                }
                self.shared.metrics.written.inc_by(bytes.len() as u64);
            }
            Task::Sync(safe) => {
                for file in [&self.chunks, &self.log].into_iter().flatten() {
                    file.sync_data()?;
                }
                // The names of new files, too.
                self.handle.sync_all()?;
                self.shared.safe.store(*safe, Ordering::Release);
            }
            Task::Remove(name) => match fs::remove_file(self.shared.dir.join(name.to_string())) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => done?,
            },
            Task::Restart => {
                if rustix::fs::fstat(&self.handle)?.st_nlink == 0 || !self.shared.dir.is_dir() {
                    self.shared.safe.store(0, Ordering::Release);
                    self.handle = take_directory(&self.shared.dir)?;
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, kind: FileKind) -> &mut Option<File> {
        match kind {
            FileKind::Chunks => &mut self.chunks,
            FileKind::Log => &mut self.log,
        }
    }
}
