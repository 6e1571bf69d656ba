//! The files that are followed, and how they are known again.
//!
//! A file is the one it was as long as it is the same inode and still begins with what has been read of it. So:
//!
//! - **moved away, and another in its place**: the old one stays open and is read to its end, for a while longer, since
//!   who writes it may not have noticed yet; the new one is read from its beginning. When the old one is found under a
//!   name that is followed too (`app.log*`), it goes on where it was. After a restart it is looked for beside its old name.
//! - **copied and emptied** (logrotate's `copytruncate`): it is shorter than it was, or begins with something else. It is
//!   read from its beginning, and what had not been read from the copy, which is found beside it by what it begins with.
//! - **copied and replaced** (editors): what begins with all that has been read goes on where that was.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::SeekFrom;

use super::config::Start;
use super::is_compressed;
use super::positions::{Position, Positions};
use super::print::Print;
use super::read::{Offset, Progress, Reader};
use crate::checks::local::{is_absent, open_regular};

/// Names beside a file that are looked at for where it has gone.
const MAX_BESIDE: usize = 10_000;

/// A path that is to be followed.
pub struct Wanted {
    pub path: PathBuf,
    /// The pattern that it is from.
    pub of: usize,
    /// Whether that names this path alone, so that it must be a file.
    pub is_plain: bool,
}

/// A file, wherever it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Id {
    device: u64,
    inode: u64,
}

impl Id {
    fn of(metadata: &Metadata) -> Id {
        Id { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// A file that is there.
struct There {
    path: PathBuf,
    of: usize,
    id: Id,
    size: u64,
    modified: SystemTime,
    /// Where the file system tells it.
    created: Option<SystemTime>,
}

/// A file that is followed.
pub struct Followed {
    pub path: PathBuf,
    /// The pattern that it is from; none for one that was found beside its old name.
    of: Option<usize>,
    id: Id,
    file: File,
    size: u64,
    at: Offset,
    print: Print,
    /// Since when it is gone from all paths that are followed.
    left: Option<Instant>,
    is_over: bool,
}

/// What is no longer where it was, but not read to its end.
struct Lost {
    path: PathBuf,
    id: Id,
    at: Offset,
    print: Print,
}

impl Lost {
    /// Whether this file is what was lost, or a copy of it.
    fn is(&self, path: &Path, id: Id, file: &File) -> bool {
        // Of which nothing has been read, that begins with anything.
        let is_like = || !self.print.is_empty() && (self.print.is_telling() || is_successor(&self.path, path));
        // After a reboot a device may have another number.
        let is_it = id == self.id || id.inode == self.id.inode && path == self.path;
        (is_it || is_like()) && self.print.fits(file)
    }
}

/// Whether this is how a file would be called that was moved away: beside it, its name continued.
fn is_successor(old: &Path, new: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
    old.parent() == new.parent() && name(new).starts_with(&name(old))
}

/// All files of a check.
pub struct Files {
    start: Start,
    most: usize,
    list: Vec<Followed>,
    /// Where the files are to be begun that are there but not followed: beyond the limit, or not for us to read.
    passed: HashMap<Id, u64>,
    lost: Vec<Lost>,
    /// Whether there has been a run.
    has_begun: bool,
    /// When the positions were kept that the next run goes on from.
    resumed: Option<SystemTime>,
    rotations: u64,
}

impl Files {
    pub fn new(start: Start, most: usize) -> Files {
        Files {
            start,
            most,
            list: Vec::new(),
            passed: HashMap::new(),
            lost: Vec::new(),
            has_begun: false,
            resumed: None,
            rotations: 0,
        }
    }

    /// Goes on from positions that were kept.
    pub fn restore(&mut self, kept: Positions) {
        // Kernels stamp files with a clock that lags some milliseconds behind.
        let saved_at = Duration::from_secs(kept.saved_at.saturating_sub(1));
        self.resumed = SystemTime::UNIX_EPOCH.checked_add(saved_at);
        self.lost = kept.files.into_iter().take(2 * self.most).map(lost).collect();
    }

    /// The positions now.
    pub fn positions(&self) -> Vec<Position> {
        let position = |file: &Followed| {
            Some(Position {
                // A name that is no text is not worth a format of its own.
                path: file.path.to_str()?.to_string(),
                device: file.id.device,
                inode: file.id.inode,
                within_line: file.at.within_line,
                print: file.print,
            })
        };
        self.list.iter().filter_map(position).collect()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Followed> {
        self.list.iter_mut()
    }

    /// How many are followed, without those that have left.
    pub fn len(&self) -> usize {
        self.list.iter().filter(|file| file.left.is_none()).count()
    }

    /// Whether there is a file of this pattern, or has been just now: one that was moved away is about to have a
    /// successor.
    pub fn has(&self, pattern: usize) -> bool {
        self.list.iter().any(|file| file.of == Some(pattern))
    }

    pub fn lag(&self) -> u64 {
        self.list.iter().map(Followed::pending).sum()
    }

    pub fn rotations(&self) -> u64 {
        self.rotations
    }

    /// Finds out what has become of the files; tells of those that cannot be read.
    pub fn refresh(&mut self, wanted: &[Wanted], now: Instant, problem: &mut dyn FnMut(&Path, &io::Error)) {
        let mut there = look_at(wanted, problem);
        self.passed.retain(|id, _| there.iter().any(|t| t.id == *id));
        // Those beyond the limit are the ones that nobody has written to for the longest.
        there.sort_by_key(|t| std::cmp::Reverse(t.modified));
        for beyond in there.split_off(there.len().min(self.most)) {
            let begin = match self.list.iter().position(|file| file.id == beyond.id) {
                Some(place) => self.list.swap_remove(place).at.bytes,
                None => self.beginning(&beyond),
            };
            self.passed.entry(beyond.id).or_insert(begin);
        }
        let mut rotations = 0;
        for file in &mut self.list {
            match there.iter().position(|t| t.id == file.id) {
                Some(place) => rotations += file.stays(there.swap_remove(place), &mut self.lost),
                None => rotations += file.leaves(now),
            }
        }
        self.rotations += rotations;
        // Of several that could go on where another was, the oldest does.
        there.sort_by(|a, b| (a.modified, &a.path).cmp(&(b.modified, &b.path)));
        for new in there {
            match open_regular(&new.path) {
                Ok(file) => self.add(new, file),
                Err(error) => {
                    let begin = match self.lost.iter().position(|lost| lost.id == new.id) {
                        Some(place) => self.lost.swap_remove(place).at.bytes,
                        None => self.beginning(&new),
                    };
                    self.passed.entry(new.id).or_insert(begin);
                    if !is_absent(&error) {
                        problem(&new.path, &error);
                    }
                }
            }
        }
        for lost in std::mem::take(&mut self.lost) {
            self.list.extend(lost.search(now));
        }
        self.has_begun = true;
        self.resumed = None;
    }

    /// Where a file is begun of which nothing is known.
    fn beginning(&self, new: &There) -> u64 {
        let is_new = match self.resumed {
            // Nobody has told where it comes from: it may be one that the check was not about before.
            Some(kept) => new.created.is_some_and(|created| created > kept),
            None => self.has_begun,
        };
        if is_new || self.start == Start::Beginning { 0 } else { new.size }
    }

    /// Follows a file that has not been followed.
    fn add(&mut self, new: There, file: File) {
        let is_it = |lost: &Lost| lost.is(&new.path, new.id, &file);
        let same = self.lost.iter().position(|lost| lost.id == new.id && is_it(lost));
        let found = same.or_else(|| self.lost.iter().position(is_it));
        let copied = || self.list.iter().position(|f| f.print.is_telling() && f.print.fits(&file));
        let (at, print) = if let Some(place) = found {
            let lost = self.lost.swap_remove(place);
            (lost.at, lost.print)
        } else if let Some(place) = copied() {
            let original = self.list.get(place).filter(|f| f.left.is_none());
            if original.is_some() {
                // All that it has is, or was, in the other too.
                begun_at(&file, new.size)
            } else {
                let original = self.list.swap_remove(place);
                (original.at, original.print)
            }
        } else {
            let begin = self.passed.get(&new.id).copied().filter(|begin| *begin <= new.size);
            begun_at(&file, begin.unwrap_or_else(|| self.beginning(&new)))
        };
        self.passed.remove(&new.id);
        let There { path, of, id, size, .. } = new;
        self.list.push(Followed { path, of: Some(of), id, file, size, at, print, left: None, is_over: false });
    }

    /// Forgets files that have left and have been read.
    pub fn end_run(&mut self) {
        self.list.retain(|file| !file.is_over);
        let mut left: Vec<Instant> = self.list.iter().filter_map(|file| file.left).collect();
        if left.len() > self.most {
            // Each has a descriptor, and space on the disk that nobody else can free.
            left.sort_unstable_by_key(|since| std::cmp::Reverse(*since));
            let oldest = left.get(self.most - 1).copied();
            self.list.retain(|file| file.left.is_none() || file.left >= oldest);
        }
    }
}

fn lost(kept: Position) -> Lost {
    Lost {
        path: kept.path.into(),
        id: Id { device: kept.device, inode: kept.inode },
        at: Offset { bytes: kept.print.offset(), within_line: kept.within_line },
        print: kept.print,
    }
}

impl Lost {
    /// Looks for it beside its old name, and has it read to its end.
    fn search(self, now: Instant) -> Option<Followed> {
        let entries = fs::read_dir(self.path.parent()?).ok()?;
        for entry in entries.take(MAX_BESIDE).filter_map(Result::ok) {
            let path = entry.path();
            if is_compressed(&path) || !is_successor(&self.path, &path) && entry.ino() != self.id.inode {
                continue;
            }
            let opened = open_regular(&path).and_then(|file| Ok((file.metadata()?, file)));
            let Ok((metadata, file)) = opened else { continue };
            let id = Id::of(&metadata);
            if self.is(&path, id, &file) {
                let (size, at, print) = (metadata.len(), self.at, self.print);
                return Some(Followed { path, of: None, id, file, size, at, print, left: Some(now), is_over: false });
            }
        }
        None
    }
}

/// The files that there are, each once.
fn look_at(wanted: &[Wanted], problem: &mut dyn FnMut(&Path, &io::Error)) -> Vec<There> {
    let mut there: Vec<There> = Vec::new();
    let mut ids = HashSet::new();
    for Wanted { path, of, is_plain } in wanted {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => {
                let (id, size) = (Id::of(&metadata), metadata.len());
                let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                if ids.insert(id) {
                    let created = metadata.created().ok();
                    there.push(There { path: path.clone(), of: *of, id, size, modified, created });
                }
            }
            Ok(_) if *is_plain => problem(path, &io::Error::other("not a regular file")),
            Ok(_) => {}
            Err(error) if is_absent(&error) => {}
            Err(error) => problem(path, &error),
        }
    }
    there
}

/// A place that nothing is known of but where it is.
fn begun_at(file: &File, bytes: u64) -> (Offset, Print) {
    let within_line = bytes > 0 && !ends_line(file, bytes);
    (Offset { bytes, within_line }, Print::of(file, bytes).unwrap_or_default())
}

/// Whether a line ends just before this place.
fn ends_line(file: &File, at: u64) -> bool {
    let mut before = [0];
    let read = file.read_exact_at(&mut before, at - 1);
    read.is_ok() && before == *b"\n"
}

/// Where the first data is: who goes on writing behind the old end of a file that was emptied leaves a hole before it.
fn first_data(file: &File) -> u64 {
    rustix::fs::seek(file, SeekFrom::Data(0)).unwrap_or(0)
}

impl Followed {
    /// Bytes that have not been read.
    pub fn pending(&self) -> u64 {
        self.size.saturating_sub(self.at.bytes)
    }

    /// It is still there; whether it has been moved or emptied.
    fn stays(&mut self, there: There, lost: &mut Vec<Lost>) -> u64 {
        let is_moved = self.path != there.path;
        self.size = there.size;
        let is_same = self.size >= self.at.bytes && self.print.fits(&self.file);
        if !is_same {
            lost.push(Lost { path: self.path.clone(), id: self.id, at: self.at, print: self.print });
            self.begin_anew();
        }
        (self.path, self.of, self.left) = (there.path, Some(there.of), None);
        u64::from(is_moved || !is_same)
    }

    /// It is at no path that is followed.
    fn leaves(&mut self, now: Instant) -> u64 {
        let leaves_now = self.left.is_none();
        self.left.get_or_insert(now);
        self.size = self.file.metadata().map_or(self.at.bytes, |metadata| metadata.len());
        if self.size < self.at.bytes {
            self.begin_anew();
        }
        u64::from(leaves_now)
    }

    fn begin_anew(&mut self) {
        self.at = Offset { bytes: first_data(&self.file), within_line: false };
        self.print = Print::of(&self.file, self.at.bytes).unwrap_or_default();
    }

    /// Reads lines, about `budget` bytes of them. One that has left longer than `grace` ago and has no more is over;
    /// a last line without an end is then looked at too.
    pub fn read(
        &mut self,
        reader: &mut Reader,
        budget: u64,
        (now, grace): (Instant, Duration),
        each: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Progress> {
        let mut progress = reader.read(&self.file, &mut self.at, budget, each)?;
        let is_late = self.left.is_some_and(|since| now.duration_since(since) >= grace);
        if is_late && progress.bytes < budget {
            progress.add(reader.last(&self.file, &mut self.at, each)?);
            self.is_over = true;
        }
        if progress.bytes > 0 {
            // None when it has been emptied just now: the old one will not fit, and the next run sees to it.
            self.print = Print::of(&self.file, self.at.bytes).unwrap_or(self.print);
        }
        Ok(progress)
    }
}
