//! What collectors of sysfs trees share: folders in order, and attributes that may be absent.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat};
use rustix::io::{Errno, read};

use super::{CollectError, number, trim};

/// The kernel gives an attribute in one page of 4 KiB or more; a few binary ones are longer.
const PAGE: usize = 4096;
const MAX_ATTRIBUTE: usize = 64 << 10;
/// More entries than any folder of these trees has; what a broken or hostile tree holds beyond is not looked at.
const MAX_ENTRIES: usize = 65_536;

/// The names in a folder, in byte order, without those that begin with a dot. A folder that is not there is
/// [`CollectError::NoData`].
pub(super) fn names(folder: &Path) -> Result<Vec<OsString>, CollectError> {
    let at = |error| CollectError::read(folder, error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(at)?.take(MAX_ENTRIES) {
        let name = entry.map_err(at)?.file_name();
        if !name.as_bytes().starts_with(b".") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The same, and no names where there is no such folder.
pub(super) fn names_if_any(folder: &Path) -> Result<Vec<OsString>, CollectError> {
    match names(folder) {
        Err(CollectError::NoData(_)) => Ok(Vec::new()),
        names => names,
    }
}

/// Reads attributes one after the other into one buffer.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    buffer: Vec<u8>,
}

impl Attributes {
    /// An attribute's text, without white space around it. `None`: there is no such attribute, or the driver has no value
    /// for it now (a sensor that is not connected, a device that is down or asleep).
    pub fn text(&mut self, path: &Path) -> Result<Option<&[u8]>, CollectError> {
        match self.fill(CWD, path) {
            Ok(length) => Ok(Some(trim(self.buffer.get(..length).unwrap_or_default()))),
            Err(e) if is_absent(e) => Ok(None),
            Err(e) => Err(CollectError::read(path, e.into())),
        }
    }

    /// The same of an attribute in a folder that may be open.
    pub fn text_in(&mut self, folder: &Folder, name: &str) -> Result<Option<&[u8]>, CollectError> {
        let Some(open) = &folder.open else { return self.text(&folder.path_of(name)) };
        match self.fill(open, Path::new(name)) {
            Ok(length) => Ok(Some(trim(self.buffer.get(..length).unwrap_or_default()))),
            Err(e) if is_absent(e) => Ok(None),
            Err(e) => Err(CollectError::read(&folder.path_of(name), e.into())),
        }
    }

    /// Reads a file into the buffer; how many bytes there are.
    fn fill(&mut self, folder: impl AsFd, path: &Path) -> rustix::io::Result<usize> {
        let file = openat(folder, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        self.buffer.resize(self.buffer.len().max(PAGE), 0);
        let mut length = 0;
        loop {
            let room = self.buffer.get_mut(length..).unwrap_or_default();
            let wanted = room.len();
            match read(&file, room) {
                Ok(n) => {
                    length += n;
                    // What fits is given at once: less than there is room for is all.
                    if n < wanted || length >= MAX_ATTRIBUTE {
                        return Ok(length);
                    }
                }
                Err(Errno::INTR) => continue,
                Err(e) => return Err(e),
            }
            self.buffer.resize(2 * length, 0);
        }
    }

    /// An attribute that is a decimal number; the error is a text that is none.
    pub fn number(&mut self, path: &Path) -> Result<Option<f64>, CollectError> {
        let Some(text) = self.text(path)? else { return Ok(None) };
        match number(text) {
            Some(number) => Ok(Some(number)),
            None => Err(CollectError::parse(path, 0, format!("{:?} is no number", String::from_utf8_lossy(text)))),
        }
    }
}

/// A device's folder, which may stay open: a look-up below it costs half of one by its whole path.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    open: Option<OwnedFd>,
}

impl Folder {
    pub fn new(path: PathBuf) -> Folder {
        Folder { path, open: None }
    }

    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Whether it has such an entry, be it one that cannot be read now.
    pub fn has(&self, name: &str) -> bool {
        match &self.open {
            Some(open) => statat(open, name, AtFlags::empty()).is_ok(),
            None => self.path_of(name).exists(),
        }
    }

    /// Opens it, again if it is open: it may have been removed and be there anew.
    pub fn open(&mut self) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        self.open = openat(CWD, &self.path, flags, Mode::empty()).ok();
    }
}

/// Whether an error only says that there is nothing to read.
fn is_absent(error: Errno) -> bool {
    const NOTHING: [Errno; 11] = [
        Errno::AGAIN,
        Errno::NOENT,
        Errno::NOTDIR,
        Errno::ISDIR,
        Errno::NODEV,
        Errno::NXIO,
        Errno::IO,
        Errno::INVAL,
        Errno::NODATA,
        Errno::OPNOTSUPP,
        Errno::TIMEDOUT,
    ];
    NOTHING.contains(&error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Tree;

    #[test]
    fn attributes_are_there_absent_or_wrong() {
        let tree = Tree::new(&[("sys/d/speed", " 12\n"), ("sys/d/name", "eth\n"), ("sys/d/.hidden", "")]);
        let mut attributes = Attributes::default();
        assert_eq!(attributes.number(&tree.path("sys/d/speed")).unwrap(), Some(12.0));
        assert_eq!(attributes.text(&tree.path("sys/d/name")).unwrap(), Some(&b"eth"[..]));
        assert_eq!(attributes.number(&tree.path("sys/d/none")).unwrap(), None);
        assert_eq!(attributes.text(&tree.path("sys/d")).unwrap(), None);
        let wrong = attributes.number(&tree.path("sys/d/name")).unwrap_err().to_string();
        assert!(wrong.ends_with("sys/d/name: \"eth\" is no number"), "{wrong}");
        assert_eq!(names(&tree.path("sys/d")).unwrap(), ["name", "speed"]);
        assert!(matches!(names(&tree.path("sys/none")), Err(CollectError::NoData(_))));
        assert!(names_if_any(&tree.path("sys/none")).unwrap().is_empty());
    }
}
