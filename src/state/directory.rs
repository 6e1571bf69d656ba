//! Where the store lives.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The mode of a directory that the store creates: what is in it (labels, annotations) is nobody else's business.
pub const DIRECTORY_MODE: u32 = 0o700;

/// The directory when none is given: `$STATE_DIRECTORY` (systemd; the first of several), else
/// `$XDG_STATE_HOME/watchfire`, else `~/.local/state/watchfire`. `None` when none of these variables is set.
///
/// `var` looks an environment variable up.
pub fn default_directory(var: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name: &str| var(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(given) = var("STATE_DIRECTORY").filter(|v| !v.is_empty()) {
        // systemd.exec(5): several directories of one unit are separated by colons.
        let first = given.to_string_lossy().split(':').next().map(PathBuf::from);
        return first.filter(|p| !p.as_os_str().is_empty());
    }
    // The XDG specification: a relative path is to be ignored.
    if let Some(state) = path("XDG_STATE_HOME").filter(|p| p.is_absolute()) {
        return Some(state.join("watchfire"));
    }
    path("HOME").map(|home| home.join(".local/state/watchfire"))
}

/// Creates the directory, and those above it, unless it is there.
pub(super) fn create(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(vars: &[(&str, &str)]) -> Option<PathBuf> {
        default_directory(|name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into()))
    }

    #[test]
    fn systemd_comes_first_then_xdg_then_home() {
        let all = [("STATE_DIRECTORY", "/var/lib/watchfire"), ("XDG_STATE_HOME", "/x"), ("HOME", "/home/a")];
        assert_eq!(with(&all), Some("/var/lib/watchfire".into()));
        assert_eq!(with(&all[1..]), Some("/x/watchfire".into()));
        assert_eq!(with(&all[2..]), Some("/home/a/.local/state/watchfire".into()));
        assert_eq!(with(&[]), None);
    }

    #[test]
    fn of_several_state_directories_the_first_counts_and_empty_or_relative_ones_do_not() {
        assert_eq!(with(&[("STATE_DIRECTORY", "/a:/b")]), Some("/a".into()));
        assert_eq!(
            with(&[("STATE_DIRECTORY", ""), ("XDG_STATE_HOME", "rel"), ("HOME", "/h")]),
            Some("/h/.local/state/watchfire".into())
        );
    }
}
