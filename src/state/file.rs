//! The database file: opening, setting aside, transactions.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{
    Builder, CommitError, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
    TableError, TransactionError,
};

use super::batch::Table;
use super::directory;
use crate::model::Timestamp;

const FILE_NAME: &str = "watchfire.redb";
/// The agent has 13 MB in all, and the rows are few.
const CACHE_BYTES: usize = 1 << 20;
/// Damaged files that are kept for people to look at; older ones are removed.
const DAMAGED_KEPT: usize = 3;
const DAMAGED: &str = "watchfire.redb.damaged-";
/// The format of the rows. A file with another number is refused: reading it wrong would be worse.
const FORMAT: &str = "1";
const FORMAT_KEY: &str = "format";

/// Rows to write: new contents, or `None` for removals.
pub(super) type Rows = BTreeMap<(Table, String), Option<Vec<u8>>>;

/// Why the store cannot be used at all. `Display` says what to do.
#[derive(Debug)]
pub enum OpenError {
    /// The directory cannot be created or written.
    Directory { dir: PathBuf, source: io::Error },
    /// Another agent has the store open.
    InUse { file: PathBuf },
    /// The file cannot be opened.
    File { file: PathBuf, source: io::Error },
    /// The file was written by a later version.
    Format { file: PathBuf, found: String },
    /// The thread that writes could not be started.
    Thread(io::Error),
    /// The instruments are registered already.
    Metrics(prometheus::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Directory { dir, source }
                if matches!(source.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists) =>
            {
                write!(
                    f,
                    "{} cannot be the storage directory: it, or what it lies in, is a file; name another with \
                     --storage.path",
                    dir.display()
                )
            }
            OpenError::Directory { dir, source } => write!(
                f,
                "cannot write to the storage directory {}: {source}; make it writable for this user, or name another \
                 with --storage.path",
                dir.display()
            ),
            OpenError::InUse { file } => write!(
                f,
                "{} is in use by another agent; stop that one, or give this one its own directory with --storage.path",
                file.display()
            ),
            OpenError::File { file, source } => {
                write!(
                    f,
                    "cannot open {}: {source}; mend it, or name another directory with --storage.path",
                    file.display()
                )
            }
            OpenError::Format { file, found } => write!(
                f,
                "{} has the format {found:?}, this version reads {FORMAT:?}; use the version that wrote it, or move the \
                 file away",
                file.display()
            ),
            OpenError::Thread(source) => write!(f, "cannot start the thread that writes the store: {source}"),
            OpenError::Metrics(source) => write!(f, "cannot register the store's instruments: {source}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Directory { source, .. } | OpenError::File { source, .. } | OpenError::Thread(source) => {
                Some(source)
            }
            OpenError::Metrics(source) => Some(source),
            OpenError::InUse { .. } | OpenError::Format { .. } => None,
        }
    }
}

/// What went wrong with an open file.
#[derive(Debug)]
pub(super) enum FileError {
    /// The disk: it may get better.
    Disk(String),
    /// The content: it will not.
    Damaged(String),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (FileError::Disk(message) | FileError::Damaged(message)) = self;
        f.write_str(message)
    }
}

impl From<StorageError> for FileError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Corrupted(_) => FileError::Damaged(error.to_string()),
            other => FileError::Disk(other.to_string()),
        }
    }
}

impl From<TableError> for FileError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            other => FileError::Damaged(other.to_string()),
        }
    }
}

impl From<TransactionError> for FileError {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => error.into(),
            other => FileError::Disk(other.to_string()),
        }
    }
}

impl From<CommitError> for FileError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => error.into(),
            other => FileError::Disk(other.to_string()),
        }
    }
}

/// The opened file.
pub(super) struct File {
    database: Database,
}

/// How an opening went.
pub(super) enum Opened {
    File(File),
    /// The file was damaged and set aside under this name; here is a fresh one.
    Fresh(File, PathBuf),
    /// The disk is full or fails: it may get better.
    Unavailable(String),
}

fn definition(table: Table) -> TableDefinition<'static, &'static str, &'static [u8]> {
    TableDefinition::new(table.name())
}

/// Whether waiting may help: the disk is full or its quota used up, or it reads and writes badly.
fn may_pass(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// Runs what the database library may panic at when the file is damaged.
fn guarded<T>(work: impl FnOnce() -> Result<T, FileError>) -> Result<T, FileError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(FileError::Damaged("the database library panicked at it".to_string())))
}

impl File {
    /// Opens the file in `dir`, which is created when it is not there.
    pub(super) fn open(dir: &Path) -> Result<Opened, OpenError> {
        match directory::create(dir) {
            Ok(()) => {}
            Err(source) if may_pass(&source) => return Ok(Opened::Unavailable(source.to_string())),
            Err(source) => return Err(OpenError::Directory { dir: dir.to_path_buf(), source }),
        }
        let path = dir.join(FILE_NAME);
        match File::attempt(&path)? {
            Ok(file) => Ok(Opened::File(file)),
            Err(FileError::Disk(message)) => Ok(Opened::Unavailable(message)),
            Err(FileError::Damaged(message)) => {
                tracing::error!(file = %path.display(), error = message, "the store is damaged: it is set aside");
                let aside =
                    set_aside(dir, &path).map_err(|source| OpenError::Directory { dir: dir.to_path_buf(), source })?;
                match File::attempt(&path)? {
                    Ok(file) => Ok(Opened::Fresh(file, aside)),
                    Err(error) => Ok(Opened::Unavailable(error.to_string())),
                }
            }
        }
    }

    fn attempt(path: &Path) -> Result<Result<File, FileError>, OpenError> {
        let at = |source| OpenError::File { file: path.to_path_buf(), source };
        // Created here, for its mode.
        match OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path) {
            Ok(_) => {}
            Err(source) if may_pass(&source) => return Ok(Err(FileError::Disk(source.to_string()))),
            Err(source)
                if matches!(source.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) =>
            {
                let dir = path.parent().unwrap_or(path).to_path_buf();
                return Err(OpenError::Directory { dir, source });
            }
            Err(source) => return Err(at(source)),
        }
        let mut in_use = false;
        let mut failure = None;
        let file = guarded(|| {
            // The check reads the file once; it is small, and without it a damaged one may panic much later.
            let opened = Builder::new().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).create(path);
            match opened {
                Ok(database) => {
                    let file = File { database };
                    file.load(Table::Meta)?;
                    Ok(Some(file))
                }
                Err(DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch) => {
                    in_use = true;
                    Ok(None)
                }
                // The library says with this kind that the file is not one of its own.
                Err(DatabaseError::Storage(StorageError::Io(error)))
                    if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
                {
                    Err(FileError::Damaged(error.to_string()))
                }
                Err(DatabaseError::Storage(StorageError::Io(error))) if may_pass(&error) => {
                    Err(FileError::Disk(error.to_string()))
                }
                Err(DatabaseError::Storage(StorageError::Io(error))) => {
                    failure = Some(error);
                    Ok(None)
                }
                Err(error) => Err(FileError::Damaged(error.to_string())),
            }
        });
        match file {
            Ok(Some(file)) => file.check_format(path),
            Ok(None) if in_use => Err(OpenError::InUse { file: path.to_path_buf() }),
            Ok(None) => Err(at(failure.unwrap_or_else(|| io::Error::other("it cannot be opened")))),
            Err(error) => Ok(Err(error)),
        }
    }

    fn check_format(self, path: &Path) -> Result<Result<File, FileError>, OpenError> {
        let meta = match self.load(Table::Meta) {
            Ok(meta) => meta,
            Err(error) => return Ok(Err(error)),
        };
        match meta.iter().find(|(key, _)| key == FORMAT_KEY) {
            None => {
                let row = ((Table::Meta, FORMAT_KEY.to_string()), Some(FORMAT.as_bytes().to_vec()));
                Ok(self.write(&Rows::from([row])).map(|()| self))
            }
            Some((_, found)) if found == FORMAT.as_bytes() => Ok(Ok(self)),
            Some((_, found)) => {
                Err(OpenError::Format { file: path.to_path_buf(), found: String::from_utf8_lossy(found).into_owned() })
            }
        }
    }

    /// Writes all rows in one synced transaction.
    pub(super) fn write(&self, rows: &Rows) -> Result<(), FileError> {
        guarded(|| {
            let transaction = self.database.begin_write()?;
            for table in Table::ALL {
                let mut of_table = rows.iter().filter(|((t, _), _)| *t == table).peekable();
                if of_table.peek().is_none() {
                    continue;
                }
                let mut open = transaction.open_table(definition(table))?;
                for ((_, key), row) in of_table {
                    match row {
                        Some(row) => drop(open.insert(key.as_str(), row.as_slice())?),
                        None => drop(open.remove(key.as_str())?),
                    }
                }
            }
            transaction.commit()?;
            Ok(())
        })
    }

    /// All rows of a table in order of key.
    pub(super) fn load(&self, table: Table) -> Result<Vec<(String, Vec<u8>)>, FileError> {
        guarded(|| {
            let transaction = self.database.begin_read()?;
            let open = match transaction.open_table(definition(table)) {
                Ok(open) => open,
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                Err(error) => return Err(error.into()),
            };
            let mut rows = Vec::new();
            for row in open.iter()? {
                let (key, value) = row?;
                rows.push((key.value().to_string(), value.value().to_vec()));
            }
            Ok(rows)
        })
    }
}

/// Renames the file, and removes all but the last few that were renamed before.
fn set_aside(dir: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut millis = Timestamp::now().as_millis();
    let mut aside = dir.join(format!("{DAMAGED}{millis}"));
    while aside.exists() {
        millis += 1;
        aside = dir.join(format!("{DAMAGED}{millis}"));
    }
    fs::rename(path, &aside)?;
    let mut old: Vec<PathBuf> = fs::read_dir(dir)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|p| p.file_name().is_some_and(|name| name.to_string_lossy().starts_with(DAMAGED)))
        .collect();
    old.sort();
    for path in old.iter().rev().skip(DAMAGED_KEPT) {
        // One file too many is no reason to stop.
        let _ = fs::remove_file(path);
    }
    Ok(aside)
}
