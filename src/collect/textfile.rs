//! `textfile`: metrics that other programs leave in files, `*.prom` in the text exposition format.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | whatever the files say | | |
//! | `node_textfile_mtime_seconds` | gauge, seconds since 1970 | `file` |
//! | `node_textfile_scrape_error` | gauge, 1 when a file or folder could not be read | |
//!
//! A file is read when it has changed (its inode, size or times) and served from memory until it changes again. One that
//! is not well-formed, has timestamps, is no regular file, or is too large is left out as a whole and named in the log,
//! once; the others are served. Where two files have a family of one name with different types or help texts, the first
//! (in the order of folders and names) is served.
//!
//! Writers should write another file and rename it to `NAME.prom`; a file caught half-written is refused where its last
//! line is cut.
//!
//! Configuration: `directory`, a folder, a pattern (`/srv/*/metrics`), or a list of these.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{CollectError, Collector, Roots};
use crate::exposition::families::{self, Kept, Merged};
use crate::exposition::parse::parse;
use crate::model::Writer;
use crate::yaml::{Faults, FromYaml, Node};

crate::section! {
    /// `collectors.textfile`.
    pub struct TextfileConfig {
        /// Folders with *.prom files, or patterns of folders; one or a list.
        pub directory: Directories = Directories::default(),
    }
}

/// Folders or patterns of folders: a text or a list of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directories(pub Vec<String>);

impl FromYaml for Directories {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        match node.as_str() {
            Some(text) => Some(Directories(vec![text.to_string()])),
            None => Vec::from_yaml(node, faults).map(Directories),
        }
    }
}

/// Larger files are refused.
const MAX_SIZE: u64 = 64 << 20;
/// A folder with more files is refused.
const MAX_FILES: usize = 10_000;
/// Files with more samples are refused.
const MAX_SAMPLES: usize = 100_000;

/// The `textfile` collector.
pub struct Textfile {
    directories: Vec<String>,
    /// In the order of folders and names.
    files: Vec<TextFile>,
    merged: Vec<Merged>,
    conflicts: bool,
    /// Folders that could not be read, and why.
    failed: Vec<(PathBuf, String)>,
}

/// A file and what came of it.
struct TextFile {
    path: PathBuf,
    /// As the path is shown.
    label: String,
    version: Option<Version>,
    modified: f64,
    content: Result<Vec<Kept>, Refusal>,
}

/// What differs once a file has been written anew.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    fn of(metadata: &Metadata) -> Version {
        Version {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Why a file is not served: `FILE: reason` or `FILE:LINE:COLUMN: reason`.
#[derive(Clone, PartialEq, Eq)]
struct Refusal {
    message: String,
    /// Whether it may go away without the file being changed, so that it is to be tried again.
    transient: bool,
}

impl Textfile {
    pub fn new(config: &TextfileConfig, _: &Roots) -> Textfile {
        Textfile {
            directories: config.directory.0.iter().filter(|d| !d.is_empty()).cloned().collect(),
            files: Vec::new(),
            merged: Vec::new(),
            conflicts: false,
            failed: Vec::new(),
        }
    }

    /// Brings the files up to date; whether anything has changed.
    fn refresh(&mut self) -> bool {
        let mut changed = false;
        let mut at = 0;
        let mut failed = Vec::new();
        for folder in self.directories.iter().flat_map(|d| crate::glob::expand(d)) {
            let paths = match list(&folder) {
                Ok(paths) => paths,
                Err(error) => {
                    failed.push((folder, error.to_string()));
                    continue;
                }
            };
            for path in paths {
                let known = self.files.iter().skip(at).position(|f| f.path == path);
                match known {
                    Some(gone) => changed |= self.files.drain(at..at + gone).count() > 0,
                    None => {
                        changed = true;
                        self.files.insert(at, TextFile::new(path));
                    }
                }
                if let Some(file) = self.files.get_mut(at) {
                    changed |= file.refresh();
                }
                at += 1;
            }
        }
        changed |= self.files.drain(at..).count() > 0;
        for (folder, error) in failed.iter().filter(|f| !self.failed.contains(f)) {
            tracing::warn!("cannot read the textfile directory {}: {error}", folder.display());
        }
        self.failed = failed;
        changed
    }

    fn merge(&mut self) {
        let files: Vec<_> = self.files.iter().map(|f| (f.label.as_str(), f.kept())).collect();
        let (merged, conflicts) = families::merge(&files);
        for conflict in &conflicts {
            let file = files.get(conflict.file).map_or("", |(label, _)| label);
            tracing::warn!("textfile {file}: not served: {}", conflict.text);
        }
        self.conflicts = !conflicts.is_empty();
        self.merged = merged;
    }
}

impl Collector for Textfile {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        if self.refresh() {
            self.merge();
        }
        families::write(&self.merged, |i| self.files.get(i).map_or(&[], TextFile::kept), out);
        let help = "Unixtime mtime of textfiles successfully read.";
        let mut modified = out.gauge("node_textfile_mtime_seconds", help, ["file"]);
        for file in self.files.iter().filter(|f| f.content.is_ok()) {
            modified.put([file.label.as_bytes()], file.modified);
        }
        let failed = self.conflicts || !self.failed.is_empty() || self.files.iter().any(|f| f.content.is_err());
        let help = "1 if there was an error opening or reading a file, 0 otherwise";
        out.gauge("node_textfile_scrape_error", help, []).put([], f64::from(u8::from(failed)));
        Ok(())
    }
}

/// The `*.prom` files of a folder, in order.
fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name.as_bytes().ends_with(b".prom") {
            if paths.len() >= MAX_FILES {
                return Err(io::Error::other(format!("more than {MAX_FILES} *.prom files")));
            }
            paths.push(folder.join(name));
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

impl TextFile {
    fn new(path: PathBuf) -> TextFile {
        TextFile { label: path.display().to_string(), path, version: None, modified: 0.0, content: Ok(Vec::new()) }
    }

    fn kept(&self) -> &[Kept] {
        self.content.as_deref().unwrap_or_default()
    }

    /// Reads the file if it has changed; whether what is served may have changed.
    fn refresh(&mut self) -> bool {
        let version = fs::metadata(&self.path).map(|m| Version::of(&m)).ok();
        let again = matches!(&self.content, Err(refusal) if refusal.transient);
        if version.is_some() && version == self.version && !again {
            return false;
        }
        let content = self.read();
        if let Err(refusal) = &content
            && self.content.as_ref().err() != Some(refusal)
        {
            tracing::warn!("textfile {}", refusal.message);
        }
        let served = content.is_ok() || self.content.is_ok();
        self.content = content;
        served
    }

    fn read(&mut self) -> Result<Vec<Kept>, Refusal> {
        self.version = None;
        let label = &self.label;
        let unreadable = |e: io::Error| Refusal { message: format!("{label}: {e}"), transient: true };
        let refuse = |what: String| Refusal { message: format!("{label}{what}"), transient: false };
        // Without O_NONBLOCK a FIFO would hang until somebody writes to it.
        let nonblock = OFlags::NONBLOCK.bits() as i32;
        let file = File::options().read(true).custom_flags(nonblock).open(&self.path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        self.version = Some(Version::of(&metadata));
        self.modified = metadata.mtime() as f64;
        if !metadata.is_file() {
            return Err(refuse(": not a regular file".to_string()));
        }
        let mut text = Vec::with_capacity(metadata.len().min(MAX_SIZE) as usize);
        file.take(MAX_SIZE + 1).read_to_end(&mut text).map_err(unreadable)?;
        if text.len() as u64 > MAX_SIZE {
            return Err(refuse(format!(": larger than {} MiB", MAX_SIZE >> 20)));
        }
        let families = parse(&text).map_err(|e| refuse(format!(":{}:{}: {}", e.line, e.column, e.reason)))?;
        if families.iter().map(|f| f.samples.len()).sum::<usize>() > MAX_SAMPLES {
            return Err(refuse(format!(": more than {MAX_SAMPLES} samples")));
        }
        if let Some(sample) = families.iter().flat_map(|f| &f.samples).find(|s| s.timestamp.is_some()) {
            return Err(refuse(format!(":{}: timestamps are not supported in textfiles", sample.line)));
        }
        Ok(families.iter().map(Kept::new).collect())
    }
}

#[cfg(test)]
mod tests;
