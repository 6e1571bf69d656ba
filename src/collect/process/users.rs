//! Names of users, from etc/passwd of the host.

use std::path::PathBuf;
use std::time::SystemTime;

use hashbrown::HashMap;

use super::parse;
use crate::collect::{Roots, lines, read_small};

/// Users that are remembered; past these, names are looked up anew.
const MOST: usize = 10_000;

/// The names that have been looked up.
pub(super) struct Users {
    path: PathBuf,
    /// The number itself for a user that the file does not name (one of a directory service, or of a container).
    names: HashMap<u32, Box<str>>,
    changed: Option<SystemTime>,
    buffer: Vec<u8>,
}

impl Users {
    pub fn new(roots: &Roots) -> Users {
        Users { path: roots.root("/etc/passwd"), names: HashMap::new(), changed: None, buffer: Vec::new() }
    }

    /// The name of a user that has been looked up; else empty.
    pub fn name(&self, uid: u32) -> &str {
        self.names.get(&uid).map_or("", |name| name)
    }

    /// Looks a user up, once.
    pub fn look_up(&mut self, uid: u32) {
        if self.names.contains_key(&uid) {
            return;
        }
        let changed = std::fs::metadata(&self.path).and_then(|m| m.modified()).ok();
        if changed != self.changed || self.names.len() >= MOST {
            // Who had no name before may have one now.
            self.names.clear();
            self.changed = changed;
        }
        let name = read_small(&self.path, &mut self.buffer).ok().and_then(|text| name_in(text, uid));
        self.names.insert(uid, name.unwrap_or_else(|| uid.to_string().into()));
        self.buffer = Vec::new();
    }
}

/// The name of a user in the text of etc/passwd: `name:password:uid:...`.
fn name_in(text: &[u8], uid: u32) -> Option<Box<str>> {
    lines(text).find_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let number = parse::integer(fields.nth(1)?)?;
        (number == u64::from(uid)).then(|| String::from_utf8_lossy(name).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    #[test]
    fn users_are_named_by_the_host_or_by_their_number() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        let text = "root:x:0:0::/:/bin/sh\n:x:5:\nbroken\nwww-data:x:33:33::/:/x\n";
        std::fs::write(dir.path().join("etc/passwd"), text).unwrap();
        let mut users = Users::new(&Roots { rootfs: dir.path().into(), ..Roots::default() });
        for (uid, name) in [(0, "root"), (33, "www-data"), (5, "5"), (4000, "4000")] {
            users.look_up(uid);
            assert_eq!(users.name(uid), name);
        }
    }
    #[test]
    fn no_list_of_users_makes_it_panic() {
        Fuzz::of(&["root:x:0:0::/:/bin/sh\n:x:5:\nbroken\nwww-data:x:33:33::/:/x\n"]).bytes(|text| {
            let _ = (name_in(text, 33), name_in(text, u32::MAX));
        });
    }
}
