//! What collectors of sysfs trees share: folders in order, and attributes that may be absent.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;

use super::{CollectError, number, trim};

/// The kernel gives an attribute in one page; a few binary ones are longer.
const MAX_ATTRIBUTE: u64 = 64 << 10;
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
        self.buffer.clear();
        let read = File::open(path).and_then(|f| f.take(MAX_ATTRIBUTE).read_to_end(&mut self.buffer));
        match read {
            Ok(_) => Ok(Some(trim(&self.buffer))),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(CollectError::read(path, e)),
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

/// Whether an error only says that there is nothing to read.
fn is_absent(error: &io::Error) -> bool {
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
    NOTHING.iter().any(|e| error.raw_os_error() == Some(e.raw_os_error()))
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
