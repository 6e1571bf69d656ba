//! Where the program of a command is looked for.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where programs are looked for when the environment has no `PATH`.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The files that a program without a slash in its name may be, in order.
pub(super) fn candidates<'p>(program: &'p OsStr, path: &'p OsStr) -> impl Iterator<Item = PathBuf> + 'p {
    std::env::split_paths(path).map(move |dir| dir.join(program))
}

/// Why a command could not be started as this host is now. `None`: it could, or nobody can tell, as of a folder that only
/// others may look into. `path`: the `PATH` that the command is given in place of the agent's.
pub fn program_fault(program: &str, path: Option<&str>) -> Option<String> {
    if program.contains('/') {
        return match look_at(Path::new(program)) {
            Found::Program | Found::Hidden => None,
            Found::Other => Some(format!("no program: {program:?} cannot be executed")),
            Found::Nothing => Some(format!("no program {program:?} is there")),
        };
    }
    let inherited = std::env::var_os("PATH");
    let path = path.map(OsStr::new).or(inherited.as_deref()).unwrap_or(OsStr::new(DEFAULT_PATH));
    let mut other = None;
    for candidate in candidates(OsStr::new(program), path) {
        match look_at(&candidate) {
            Found::Program | Found::Hidden => return None,
            Found::Other => other = other.or(Some(candidate)),
            Found::Nothing => {}
        }
    }
    Some(match other {
        Some(other) => format!("no program: {:?} cannot be executed", other.display().to_string()),
        None => format!("no program {program:?} is in the PATH {}", path.to_string_lossy()),
    })
}

enum Found {
    Program,
    /// Something that cannot be executed.
    Other,
    Nothing,
    /// It is not for us to see.
    Hidden,
}

fn look_at(path: &Path) -> Found {
    match fs::metadata(path) {
        // Whose it is does not matter: a command may run as another user.
        Ok(metadata) if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 => Found::Program,
        Ok(_) => Found::Other,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Found::Nothing,
        Err(_) => Found::Hidden,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_where_it_is_named_or_in_the_path_and_can_be_executed() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::create_dir(path("bin")).unwrap();
        for (name, mode) in [("bin/runs", 0o755), ("text", 0o644), ("bin/text", 0o644)] {
            fs::write(path(name), "#!/bin/sh\n").unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let in_path = |program: &str| program_fault(program, Some(&format!("/nowhere:{}", path("bin"))));
        assert_eq!((in_path("runs"), program_fault(&path("bin/runs"), None)), (None, None));
        assert_eq!(in_path("gone"), Some(format!("no program \"gone\" is in the PATH /nowhere:{}", path("bin"))));
        let cannot = |name: &str| Some(format!("no program: {:?} cannot be executed", path(name)));
        assert_eq!(in_path("text"), cannot("bin/text"));
        assert_eq!(
            (program_fault(&path("text"), None), program_fault(&path("bin"), None)),
            (cannot("text"), cannot("bin"))
        );
        assert_eq!(program_fault("/nowhere/x", None), Some("no program \"/nowhere/x\" is there".to_string()));
        assert_eq!(program_fault("sh", None), None, "by the agent's own");
    }
}
