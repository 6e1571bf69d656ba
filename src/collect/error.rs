//! Why a collector could not give its samples.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A collector's failure.
#[derive(Debug)]
pub enum CollectError {
    /// What the collector reads is not there: the kernel has not the feature, or the host not the device.
    NoData(String),
    /// A file could not be read.
    Read { path: PathBuf, error: io::Error },
    /// A file does not say what it should.
    Parse {
        path: PathBuf,
        /// From 1; 0 when the file as a whole is meant.
        line: usize,
        /// Which field, and what is wrong with it.
        what: String,
    },
    /// A system call failed, or something else that no file stands for.
    Other(String),
}

impl CollectError {
    /// A failure to read `path`; a file that does not exist is [`CollectError::NoData`].
    pub fn read(path: &Path, error: io::Error) -> CollectError {
        match error.kind() {
            io::ErrorKind::NotFound => CollectError::NoData(format!("{}: no such file", path.display())),
            _ => CollectError::Read { path: path.to_path_buf(), error },
        }
    }

    pub fn parse(path: &Path, line: usize, what: impl Into<String>) -> CollectError {
        CollectError::Parse { path: path.to_path_buf(), line, what: what.into() }
    }
}

impl fmt::Display for CollectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CollectError::NoData(what) => write!(f, "no data: {what}"),
            CollectError::Read { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            CollectError::Parse { path, line: 0, what } => write!(f, "{}: {what}", path.display()),
            CollectError::Parse { path, line, what } => write!(f, "{}:{line}: {what}", path.display()),
            CollectError::Other(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for CollectError {}
