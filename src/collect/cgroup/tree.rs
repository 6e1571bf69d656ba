//! Which cgroups there are, and their files, held open as far as that is affordable.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::names::Place;
use super::sources::{METRICS, Source, V1, V2, Values};
use crate::collect::{CollectError, Roots};

/// Files of cgroups that stay open: reading one that does costs a third of opening, reading and closing it, but a
/// process may by default have 1,024. The shallowest cgroups, which live longest, come first.
const MAX_OPEN: usize = 256;
/// Folders that a scan looks into, and how deep they may lie: far more than a host has.
const MAX_FOLDERS: usize = 50_000;
const MAX_DEPTH: usize = 32;
/// More than the longest file: a line for each of some thousand devices.
const MAX_FILE: usize = 1 << 20;
const READ_SIZE: usize = 32 << 10;

/// The hierarchies of a host.
pub struct Hierarchies {
    pub base: PathBuf,
    pub sources: &'static [Source],
    /// The folders below `base` that are the roots of trees; two may be one tree (`cpu` and `cpuacct`).
    roots: Vec<&'static str>,
}

impl Hierarchies {
    /// `None`: there are none.
    pub fn find(roots: &Roots) -> Option<Hierarchies> {
        let base = roots.sys("fs/cgroup");
        if base.join("cgroup.controllers").exists() {
            return Some(Hierarchies { base, sources: &V2, roots: vec![""] });
        }
        let mut found: Vec<&'static str> = V1.iter().map(|s| s.hierarchy).filter(|h| base.join(h).is_dir()).collect();
        found.dedup();
        if found.is_empty() { None } else { Some(Hierarchies { base, sources: &V1, roots: found }) }
    }

    /// The file in which the kernel counts cgroups: as long as it says the same, none came (one that goes is seen when
    /// it is read).
    pub fn counts(&self, roots: &Roots) -> PathBuf {
        if self.is_v2() { self.base.join("cgroup.stat") } else { roots.proc("cgroups") }
    }

    pub fn is_v2(&self) -> bool {
        self.roots == [""]
    }

    /// Writes the path of a cgroup's file.
    fn write_path(&self, source: &Source, group: &str, name: &str, path: &mut String) {
        path.clear();
        path.push_str(&self.base.to_string_lossy());
        if !source.hierarchy.is_empty() {
            path.push('/');
            path.push_str(source.hierarchy);
        }
        for part in [group, "/", name] {
            path.push_str(part);
        }
    }

    /// The paths of all cgroups but the root, by depth and then by name.
    fn scan(&self) -> Vec<(usize, String)> {
        let mut found: BTreeMap<(usize, String), ()> = BTreeMap::new();
        let mut looked_into = 0;
        for root in &self.roots {
            let root = self.base.join(root);
            let mut level = vec![String::new()];
            for depth in 1..=MAX_DEPTH {
                let mut next = Vec::new();
                for parent in &level {
                    looked_into += 1;
                    if looked_into > MAX_FOLDERS {
                        break;
                    }
                    children(&root.join(parent.trim_start_matches('/')), |name| next.push(format!("{parent}/{name}")));
                }
                found.extend(next.iter().map(|path| ((depth, path.clone()), ())));
                level = next;
            }
        }
        found.into_keys().collect()
    }
}

/// The names of the folders in a folder; one that has just gone has none.
fn children(folder: &Path, mut each: impl FnMut(&str)) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir())
            && let Some(name) = entry.file_name().to_str()
        {
            each(name);
        }
    }
}

enum Handle {
    /// To be opened.
    Closed,
    Open(File),
    /// The cgroup has no such file: its controller is off.
    Missing,
}

/// A cgroup.
pub struct Group {
    pub path: String,
    pub place: Place,
    pub values: Values,
    /// Whether there was anything to read the last time.
    present: bool,
    /// One for each source.
    handles: Vec<Handle>,
}

/// The cgroups that are exported.
#[derive(Default)]
pub struct Groups {
    pub list: Vec<Group>,
    /// How many more there are that would be.
    pub dropped: usize,
    open: usize,
    buffer: Vec<u8>,
    path: String,
}

impl Groups {
    /// Brings the list up to date: those that `wants` picks, the shallowest `max` of them.
    pub fn rescan(&mut self, hierarchies: &Hierarchies, max: usize, wants: impl Fn(&str) -> bool) {
        let mut before: HashMap<String, Group> = self.list.drain(..).map(|g| (g.path.clone(), g)).collect();
        self.dropped = 0;
        for (_, path) in hierarchies.scan() {
            if !wants(&path) {
                continue;
            }
            if self.list.len() >= max {
                self.dropped += 1;
                continue;
            }
            let group = before.remove(&path).unwrap_or_else(|| {
                let handles = hierarchies.sources.iter().map(|_| Handle::Closed).collect();
                Group { place: Place::of(&path), path, values: [None; METRICS], present: false, handles }
            });
            self.list.push(group);
        }
        self.open = 0;
        for handle in self.list.iter_mut().flat_map(|g| &mut g.handles) {
            match handle {
                Handle::Missing => *handle = Handle::Closed,
                Handle::Open(_) => self.open += 1,
                Handle::Closed => {}
            }
        }
    }

    /// Keeps none, and counts them as dropped.
    pub fn drop_all(&mut self) {
        self.dropped += self.list.len();
        self.list.clear();
        self.open = 0;
    }

    /// Reads all files. Whether a cgroup is gone; and the first thing that is wrong with one, which holds up no other.
    pub fn read(&mut self, hierarchies: &Hierarchies) -> (bool, Result<(), CollectError>) {
        self.buffer.resize(self.buffer.len().max(READ_SIZE), 0);
        let (mut gone, mut result) = (false, Ok(()));
        for Group { path: group, values, present, handles, .. } in &mut self.list {
            *values = [None; METRICS];
            let was_present = std::mem::take(present);
            for (source, handle) in hierarchies.sources.iter().zip(handles) {
                let mut open = |name: &str| {
                    hierarchies.write_path(source, group, name, &mut self.path);
                    File::open(&self.path)
                };
                let outcome = match handle.read(source, &mut open, &mut self.open, &mut self.buffer) {
                    Ok(None) => continue,
                    Ok(Some(length)) => {
                        *present = true;
                        let text = self.buffer.get(..length).unwrap_or_default();
                        source.form.read(text, values).map_err(|(line, what)| (line, Err(what)))
                    }
                    Err(e) => Err((0, Ok(e))),
                };
                if let Err((line, why)) = outcome
                    && result.is_ok()
                {
                    hierarchies.write_path(source, group, source.names.first().unwrap_or(&""), &mut self.path);
                    let path = Path::new(&self.path);
                    result = Err(match why {
                        Ok(error) => CollectError::read(path, error),
                        Err(what) => CollectError::parse(path, line, what),
                    });
                }
            }
            gone |= was_present && !*present;
        }
        (gone, result)
    }
}

impl Handle {
    /// Reads the file into the buffer: its length; `None` when it is not there.
    fn read(
        &mut self,
        source: &Source,
        open: &mut impl FnMut(&str) -> io::Result<File>,
        opened: &mut usize,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Option<usize>> {
        let read = match self {
            Handle::Missing => return Ok(None),
            Handle::Open(file) => match fill(file, buffer) {
                // Its cgroup is gone; there may be another by this name, as when a service was restarted.
                Err(e) if is_absent(&e) => {
                    *opened = opened.saturating_sub(1);
                    *self = Handle::Closed;
                    return self.read(source, open, opened, buffer);
                }
                read => read,
            },
            Handle::Closed => {
                let absent = Err(io::Error::from(io::ErrorKind::NotFound));
                let file = source.names.iter().fold(absent, |found, name| match found {
                    Err(e) if is_absent(&e) => open(name),
                    found => found,
                });
                file.and_then(|file| {
                    let read = fill(&file, buffer);
                    if read.is_ok() && *opened < MAX_OPEN {
                        *opened += 1;
                        *self = Handle::Open(file);
                    }
                    read
                })
            }
        };
        let Err(error) = read else { return read.map(Some) };
        if matches!(self, Handle::Open(_)) {
            *opened = opened.saturating_sub(1);
        }
        let absent = is_absent(&error);
        *self = if absent { Handle::Missing } else { Handle::Closed };
        if absent { Ok(None) } else { Err(error) }
    }
}

/// The whole of a file. The kernel makes the text of these in one piece, so that a read that does not fill the buffer
/// was all of it.
fn fill(file: &File, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut length = 0;
    loop {
        let room = buffer.get_mut(length..).unwrap_or_default();
        let size = room.len();
        match file.read_at(room, length as u64) {
            Ok(n) if n < size => return Ok(length + n),
            Ok(n) => length += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        }
        if length >= MAX_FILE {
            return Err(io::Error::other(format!("larger than {MAX_FILE} bytes")));
        }
        buffer.resize(2 * length, 0);
    }
}

/// Whether an error says that the file or its cgroup is not there, or that the kernel has it switched off.
fn is_absent(error: &io::Error) -> bool {
    let nothing = [Errno::NODEV, Errno::NOTDIR, Errno::OPNOTSUPP];
    error.kind() == io::ErrorKind::NotFound || nothing.iter().any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}
