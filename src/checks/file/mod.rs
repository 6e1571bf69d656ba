//! `file`: whether a file, or those that a pattern names, are as old, as large, as many and as unchanged as they should be.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `watchfire_check_files` | gauge: paths that match | |
//! | `watchfire_check_file_sum_bytes` | gauge: the sizes of all | |
//! | `watchfire_check_file_newest_mtime_seconds`, `_oldest_mtime_seconds` | gauge: when the newest and the oldest were changed last, in seconds since 1970; absent without a file | |
//! | `watchfire_check_file_mtime_seconds` | gauge: when its content was changed last, in seconds since 1970 | `path` |
//! | `watchfire_check_file_size_bytes` | gauge | `path` |
//! | `watchfire_check_file_checksum_info` | gauge, always 1; with `checksum` | `path`, `sha256` |
//! | `watchfire_check_file_changes_total` | counter: changes of the checksum that were seen; with `checksum` | `path` |
//!
//! Those with `path` are of the first hundred by name. What is looked at is what a symbolic link points to; below a
//! directory, with `recursive`, only regular files count and no link is followed. A FIFO or a device is never opened.

mod checksum;
mod config;
mod seen;

use std::fs::{self, Metadata};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, SystemTime};

pub use config::{AgeBounds, ChecksumConfig, FileConfig, Permissions, Which};

use self::checksum::Sums;
use self::seen::Seen;
use super::local::{Findings, HostPattern, group_id, is_absent, name_of_user, span, things, user_id};
use super::{Families, Look, State, Verdict};
use crate::collect::Roots;

/// Paths that are looked at in a run; where there are more, the check says that it does not know.
const MAX_PATHS: u64 = 1_000_000;
/// Directories within each other that are looked through.
const MAX_DEPTH: usize = 64;

impl FileConfig {
    /// The check, of the host below these roots.
    pub fn build(&self, roots: &Roots) -> Arc<dyn Look> {
        Arc::new(FileCheck {
            config: self.clone(),
            pattern: HostPattern::new(&self.path, roots),
            roots: roots.clone(),
            sums: Mutex::default(),
        })
    }
}

struct FileCheck {
    config: FileConfig,
    pattern: HostPattern,
    roots: Roots,
    /// What was hashed, kept from run to run. Locked for a run, by the one thread that runs it.
    sums: Mutex<Sums>,
}

/// One run.
struct Run<'r> {
    check: &'r FileCheck,
    now: SystemTime,
    owner: Option<u32>,
    group: Option<u32>,
    sums: &'r mut Sums,
    findings: Findings,
    seen: Seen,
}

impl Look for FileCheck {
    fn look(&self, out: &mut Families) -> Verdict {
        let mut sums = match self.sums.try_lock() {
            Ok(sums) => sums,
            Err(TryLockError::Poisoned(broken)) => broken.into_inner(),
            Err(TryLockError::WouldBlock) => return Verdict::unknown("the run before this one still reads"),
        };
        let account = |name: &Option<String>, id: fn(&str, &Roots) -> Result<u32, String>| {
            name.as_deref().map(|name| id(name, &self.roots)).transpose()
        };
        let (owner, group) = match (account(&self.config.owner, user_id), account(&self.config.group, group_id)) {
            (Ok(owner), Ok(group)) => (owner, group),
            (Err(why), _) | (_, Err(why)) => return Verdict::unknown(why),
        };
        let (findings, seen) = (Findings::default(), Seen::default());
        let mut run = Run { check: self, now: SystemTime::now(), owner, group, sums: &mut sums, findings, seen };
        run.visit();
        run.judge_all();
        run.seen.write(out);
        run.sums.end_run();
        let Run { findings, seen, now, .. } = run;
        findings.verdict(|| self.describe(&seen, now))
    }
}

impl FileCheck {
    /// What was found, where all is well.
    fn describe(&self, seen: &Seen, now: SystemTime) -> String {
        let path = self.pattern.as_str();
        let Some(newest) = &seen.newest else { return format!("nothing is at {path}") };
        let (age, size) = (old(age(now, newest.modified)), seen.bytes());
        match seen.count {
            1 => format!("{}: {age}, {size}", newest.path),
            count => format!("{} at {path}: the newest {age}, {size} together", things(count, "file", "files")),
        }
    }
}

impl Run<'_> {
    fn visit(&mut self) {
        let pattern = &self.check.pattern;
        pattern.visit(&mut |path| match path {
            Ok(path) => self.path(path),
            Err((folder, error)) => self.unread(folder, &error),
        });
    }

    fn path(&mut self, path: &Path) -> ControlFlow<()> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() && self.check.config.recursive => self.below(path, 0),
            Ok(metadata) => self.file(path, &metadata),
            Err(error) if is_absent(&error) => ControlFlow::Continue(()),
            Err(error) => self.unread(path, &error),
        }
    }

    /// The regular files below a directory.
    fn below(&mut self, folder: &Path, depth: usize) -> ControlFlow<()> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => return ControlFlow::Continue(()),
            Err(error) => return self.unread(folder, &error),
        };
        for entry in entries {
            let metadata = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)));
            match metadata {
                Ok((path, metadata)) if metadata.is_dir() && depth < MAX_DEPTH => self.below(&path, depth + 1)?,
                Ok((path, metadata)) if metadata.is_file() => self.file(&path, &metadata)?,
                Ok(_) => {}
                Err(error) if is_absent(&error) => {}
                // Of the directory itself: it would be told again and again.
                Err(error) => return self.unread(folder, &error),
            }
        }
        ControlFlow::Continue(())
    }

    fn unread(&mut self, path: &Path, error: &io::Error) -> ControlFlow<()> {
        let shown = || format!("cannot look at {}: {error}", self.check.pattern.shown(path));
        self.findings.add(State::Unknown, shown);
        ControlFlow::Continue(())
    }

    fn file(&mut self, path: &Path, metadata: &Metadata) -> ControlFlow<()> {
        if self.seen.count == MAX_PATHS {
            self.findings.add(State::Unknown, || format!("more than {MAX_PATHS} files: not all were looked at"));
            return ControlFlow::Break(());
        }
        let shown = self.check.pattern.shown(path);
        // A file system that tells no time of change has none that is too long ago.
        let modified = metadata.modified().unwrap_or(self.now);
        self.seen.add(&shown, path, metadata, modified);
        if self.check.config.of == Which::All {
            self.judge(&shown, path, metadata, modified);
        }
        ControlFlow::Continue(())
    }

    /// What is wrong with one file.
    fn judge(&mut self, shown: &str, path: &Path, metadata: &Metadata, modified: SystemTime) {
        let (config, findings) = (&self.check.config, &mut self.findings);
        let bad = config.severity.0;
        let age = age(self.now, modified);
        let whole = Duration::try_from_secs_f64(age).unwrap_or_default();
        if let Some(limit) = config.age.older_than.filter(|limit| whole > *limit) {
            // "26 h old (limit 26 h)" would leave everybody wondering.
            let old = if span(whole) == span(limit) { format!("a little over {} old", span(limit)) } else { old(age) };
            findings.add(bad, || format!("{shown} is {old} (limit {})", span(limit)));
        }
        if let Some(limit) = config.age.newer_than.filter(|limit| whole < *limit) {
            findings.add(bad, || format!("{shown} was changed {} ago (limit {})", span(whole), span(limit)));
        }
        if let Some(fault) = config.size.fault(metadata.len()) {
            findings.add(bad, || format!("{shown} {fault}"));
        }
        if let Some(allowed) = config.permissions.filter(|allowed| metadata.mode() & 0o7777 & !allowed.0 != 0) {
            let mode = Permissions(metadata.mode() & 0o7777);
            findings.add(bad, || format!("{shown} has permissions {mode} (at most {allowed} wanted)"));
        }
        if self.owner.is_some_and(|owner| owner != metadata.uid()) {
            let owner = || name_of_user(metadata.uid(), &self.check.roots);
            findings.add(bad, || {
                format!("{shown} belongs to {}, not {}", owner(), config.owner.as_deref().unwrap_or_default())
            });
        }
        if self.group.is_some_and(|group| group != metadata.gid()) {
            findings.add(bad, || {
                let wanted = config.group.as_deref().unwrap_or_default();
                format!("{shown} belongs to the group {}, not {wanted}", metadata.gid())
            });
        }
        if config.checksum.is_some() {
            self.hash(shown, path, metadata);
        }
    }

    fn hash(&mut self, shown: &str, path: &Path, metadata: &Metadata) {
        let config = &self.check.config;
        let Some(checksum) = &config.checksum else { return };
        match self.sums.hash(path, metadata, checksum.limit, self.now) {
            Ok(sum) => {
                self.seen.add_sum(shown, &sum);
                let (is, bad) = (sum.short(), checksum.sha256.as_ref().filter(|wanted| !sum.is(wanted)));
                if let Some(wanted) = bad {
                    let wanted = wanted.get(..checksum::SHORT).unwrap_or(wanted);
                    self.findings.add(config.severity.0, || format!("{shown} has SHA-256 {is}..., not {wanted}..."));
                } else if sum.changed {
                    self.findings.add(checksum.changed.0, || format!("{shown} has changed: SHA-256 is now {is}..."));
                }
            }
            Err(why) => self.findings.add(State::Unknown, || format!("{shown}: {why}")),
        }
    }

    /// What is wrong with all together.
    fn judge_all(&mut self) {
        let (check, config) = (self.check, &self.check.config);
        if config.of == Which::Newest
            && let Some(newest) = self.seen.newest.clone()
        {
            self.judge(&newest.path, &newest.real, &newest.metadata, newest.modified);
        }
        let path = check.pattern.as_str();
        // What could not be looked at may be there.
        if self.seen.count == 0 && self.findings.is_empty() {
            let default = if config.count.is_set() { State::Ok } else { State::Critical };
            self.findings.add(config.missing.map_or(default, |missing| missing.0), || match check.pattern.has_meta() {
                true => format!("no file matches {path}"),
                false => format!("{path} is missing"),
            });
        }
        let bad = config.severity.0;
        if let Some(fault) = config.count.fault(self.seen.count) {
            let count = things(self.seen.count, "file", "files");
            self.findings.add(bad, || format!("{count} at {path} ({fault})"));
        }
        if let Some(fault) = config.total_size.fault(self.seen.total) {
            self.findings.add(bad, || format!("all at {path} together {fault}"));
        }
    }
}

/// Seconds since then; negative when it is yet to come.
fn age(now: SystemTime, then: SystemTime) -> f64 {
    match now.duration_since(then) {
        Ok(past) => past.as_secs_f64(),
        Err(future) => -future.duration().as_secs_f64(),
    }
}

/// An age for people.
fn old(age: f64) -> String {
    match Duration::try_from_secs_f64(age) {
        Ok(age) => format!("{} old", span(age)),
        Err(_) => format!("changed {} in the future", span(Duration::try_from_secs_f64(-age).unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests;
