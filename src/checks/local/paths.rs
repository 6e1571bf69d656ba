//! Paths of the host that a pattern names, one after the other: a spool directory may have millions.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::collect::Roots;
use crate::glob::{has_meta, matches};

/// A path, or a pattern of paths as [`glob`](crate::glob) has them, in the host's own names.
#[derive(Clone, Debug)]
pub struct HostPattern {
    root: PathBuf,
    text: String,
}

/// What is told of a path that was found, or of a directory that could not be read.
pub type Found<'f> = &'f mut dyn FnMut(Result<&Path, (&Path, io::Error)>) -> ControlFlow<()>;

impl HostPattern {
    pub fn new(text: &str, roots: &Roots) -> HostPattern {
        HostPattern { root: roots.root("/"), text: text.to_string() }
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it may stand for several.
    pub fn has_meta(&self) -> bool {
        has_meta(&self.text)
    }

    /// The path as the host names it, for people.
    pub fn shown(&self, path: &Path) -> String {
        match path.strip_prefix(&self.root) {
            Ok(below) => format!("/{}", below.display()),
            Err(_) => path.display().to_string(),
        }
    }

    /// Tells each path that the pattern matches, in no order, until it is told to stop; a path that is no pattern
    /// whether it is there or not. A directory that is gone by then matches nothing.
    pub fn visit(&self, found: Found<'_>) {
        let components: Vec<&str> = self.text.split('/').filter(|c| !c.is_empty()).collect();
        if !self.has_meta() {
            let _ = found(Ok(&components.iter().fold(self.root.clone(), |path, c| path.join(c))));
            return;
        }
        let _ = visit(&self.root, &components, found);
    }
}

fn visit(base: &Path, components: &[&str], found: Found<'_>) -> ControlFlow<()> {
    let Some((first, rest)) = components.split_first() else {
        return if base.symlink_metadata().is_ok() { found(Ok(base)) } else { ControlFlow::Continue(()) };
    };
    if !has_meta(first) {
        return visit(&base.join(first), rest, found);
    }
    let entries = match fs::read_dir(base) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return ControlFlow::Continue(()),
        Err(error) => return found(Err((base, error))),
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            // The directory has gone from under us, or its disk is broken; either way it gives no more.
            Err(error) if is_absent(&error) => break,
            Err(error) => return found(Err((base, error))),
        };
        let name = entry.file_name();
        if matches(first.as_bytes(), name.as_bytes()) {
            let path = base.join(name);
            if rest.is_empty() { found(Ok(&path))? } else { visit(&path, rest, found)? }
        }
    }
    ControlFlow::Continue(())
}

/// Whether an error says that there is nothing.
pub fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Opens a regular file, and nothing else: a FIFO would block, and opening some devices does something.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let is_file = |metadata: fs::Metadata| match metadata.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("not a regular file")),
    };
    is_file(fs::metadata(path)?)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    // It may have become another since.
    is_file(file.metadata()?)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Tree;

    fn found(pattern: &HostPattern) -> Vec<String> {
        let mut list = Vec::new();
        pattern.visit(&mut |path| {
            list.push(match path {
                Ok(path) => pattern.shown(path),
                Err((path, error)) => format!("{}: {error}", pattern.shown(path)),
            });
            ControlFlow::Continue(())
        });
        list.sort();
        list
    }

    #[test]
    fn patterns_find_what_the_host_has() {
        let tree = Tree::new(&[("root/a/x.log", ""), ("root/b/x.log", ""), ("root/b/y.log", ""), ("root/c", "")]);
        let of = |text: &str| found(&HostPattern::new(text, &tree.roots()));
        assert_eq!(of("/*/x.log"), ["/a/x.log", "/b/x.log"]);
        assert_eq!(of("/[ab]/*.log"), ["/a/x.log", "/b/x.log", "/b/y.log"]);
        assert_eq!(of("/nothing/here"), ["/nothing/here"], "no pattern: told as it is");
        assert!(of("/nothing/*").is_empty() && of("/c/*").is_empty(), "no directory");
    }

    #[test]
    fn a_circle_of_links_ends() {
        let tree = Tree::new(&[("root/d/f", "")]);
        std::os::unix::fs::symlink(".", tree.path("root/d/loop")).unwrap();
        std::os::unix::fs::symlink("self", tree.path("root/d/self")).unwrap();
        let of = |text: &str| found(&HostPattern::new(text, &tree.roots()));
        let all = of("/d/*/*/f");
        assert!(all.len() == 2 && all[0] == "/d/loop/loop/f", "{all:?}");
        assert!(all[1].starts_with("/d/self: "), "the failure is told: {all:?}");
    }

    #[test]
    fn only_regular_files_are_opened() {
        let tree = Tree::new(&[("root/f", "x")]);
        let fifo = tree.path("root/fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(open_regular(&tree.path("root/f")).is_ok());
        for path in [fifo, tree.path("root"), "/dev/null".into()] {
            assert_eq!(open_regular(&path).unwrap_err().to_string(), "not a regular file");
        }
    }
}
