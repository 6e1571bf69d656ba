//! What a run has seen, and its metrics.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::checksum::Sum;
use crate::checks::Families;
use crate::checks::local::Bytes;

/// Files that have series of their own: the first by name, so that they stay the same ones.
const MAX_SERIES: usize = 100;

#[derive(Default)]
pub struct Seen {
    pub count: u64,
    /// Of their sizes.
    pub total: u64,
    pub newest: Option<Newest>,
    oldest: Option<SystemTime>,
    files: BTreeMap<String, Numbers>,
}

/// The file that was changed last.
#[derive(Clone)]
pub struct Newest {
    /// As the host names it.
    pub path: String,
    /// As it is reached from here.
    pub real: PathBuf,
    pub metadata: Metadata,
    pub modified: SystemTime,
}

struct Numbers {
    modified: SystemTime,
    size: u64,
    /// Its checksum, and how often that has changed.
    sum: Option<(String, u64)>,
}

impl Seen {
    pub fn add(&mut self, shown: &str, real: &Path, metadata: &Metadata, modified: SystemTime) {
        self.count += 1;
        self.total = self.total.saturating_add(metadata.len());
        if self.newest.as_ref().is_none_or(|newest| newest.modified < modified) {
            let metadata = metadata.clone();
            self.newest = Some(Newest { path: shown.to_string(), real: real.to_path_buf(), metadata, modified });
        }
        if self.oldest.is_none_or(|oldest| modified < oldest) {
            self.oldest = Some(modified);
        }
        let is_full = self.files.len() == MAX_SERIES;
        if is_full && self.files.last_key_value().is_some_and(|(last, _)| last.as_str() < shown) {
            return;
        }
        self.files.insert(shown.to_string(), Numbers { modified, size: metadata.len(), sum: None });
        if self.files.len() > MAX_SERIES {
            self.files.pop_last();
        }
    }

    pub fn add_sum(&mut self, shown: &str, sum: &Sum) {
        if let Some(numbers) = self.files.get_mut(shown) {
            numbers.sum = Some((sum.to_string(), sum.changes));
        }
    }

    /// The sum of the sizes, for people.
    pub fn bytes(&self) -> Bytes {
        Bytes(self.total)
    }

    pub fn write(&self, out: &mut Families) {
        out.gauge("watchfire_check_files", "Paths that the check's path matches.", &[], self.count as f64);
        out.gauge("watchfire_check_file_sum_bytes", "The sizes of all files of the check.", &[], self.total as f64);
        if let Some(newest) = &self.newest {
            let help = "When the content of the newest file was changed last, in seconds since 1970.";
            out.gauge("watchfire_check_file_newest_mtime_seconds", help, &[], mtime(newest.modified));
        }
        if let Some(oldest) = self.oldest {
            let help = "When the content of the oldest file was changed last, in seconds since 1970.";
            out.gauge("watchfire_check_file_oldest_mtime_seconds", help, &[], mtime(oldest));
        }
        for (path, numbers) in &self.files {
            let labels = [("path", path.as_str())];
            let help = "When the file's content was changed last, in seconds since 1970.";
            out.gauge("watchfire_check_file_mtime_seconds", help, &labels, mtime(numbers.modified));
            out.gauge("watchfire_check_file_size_bytes", "Size of the file.", &labels, numbers.size as f64);
            if let Some((sum, changes)) = &numbers.sum {
                let help = "Changes of the file's checksum since the check was begun.";
                out.counter("watchfire_check_file_changes_total", help, &labels, *changes as f64);
                let labels = [("path", path.as_str()), ("sha256", sum.as_str())];
                out.gauge("watchfire_check_file_checksum_info", "The file's checksum; always 1.", &labels, 1.0);
            }
        }
    }
}

/// A time as a metric: seconds since 1970, with their fraction.
fn mtime(time: SystemTime) -> f64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}
