//! Users and groups of the host, as its C library knows them: from /etc/passwd or wherever else it is told to look.
//!
//! It may wait for a network there. So this is called only by the thread that starts commands, which is replaced when it
//! hangs.

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// Whom a command runs as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    pub(super) uid: libc::uid_t,
    pub(super) gid: libc::gid_t,
    /// The supplementary groups.
    pub(super) groups: Vec<libc::gid_t>,
    /// Where the user is known, the user's home directory as an environment variable.
    pub(super) home: Option<CString>,
}

/// Which of the two is not to be had, and why.
pub(super) type Unknown = (&'static str, io::Error);

impl Identity {
    /// Finds a user and a group, each by name or number; what is not given is the agent's own. `None` when neither is
    /// given.
    pub(super) fn find(user: Option<&str>, group: Option<&str>) -> Result<Option<Identity>, Unknown> {
        let unknown = |text: String| io::Error::new(io::ErrorKind::NotFound, text);
        let group = match group {
            None => None,
            Some(name) => match (group_by_name(name).map_err(|error| ("group", error))?, name.parse()) {
                (Some(gid), _) | (None, Ok(gid)) => Some(gid),
                (None, Err(_)) => return Err(("group", unknown(format!("there is no group {name:?} on this host")))),
            },
        };
        let Some(name) = user else {
            return Ok(group.map(|gid| {
                let uid = rustix::process::geteuid().as_raw();
                Identity { uid, gid, groups: vec![gid], home: None }
            }));
        };
        let entry = user_by(name).map_err(|error| ("user", error))?;
        match (entry, name.parse(), group) {
            (Some(entry), _, group) => {
                let gid = group.unwrap_or(entry.gid);
                let groups = groups_of(&entry.name, gid);
                Ok(Some(Identity { uid: entry.uid, gid, groups, home: Some(entry.home) }))
            }
            (None, Ok(uid), Some(gid)) => Ok(Some(Identity { uid, gid, groups: vec![gid], home: None })),
            // The agent's own group would be root's as a rule.
            (None, Ok(uid), None) => {
                Err(("group", unknown(format!("user {uid} is not known here, and so has none: name one"))))
            }
            (None, Err(_), _) => Err(("user", unknown(format!("there is no user {name:?} on this host")))),
        }
    }

    /// Whether the agent is this already, so that nothing needs to be changed, and no privilege for it.
    pub(super) fn is_own(&self) -> bool {
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        own == (self.uid, self.gid) && own.0 != 0
    }
}

struct Entry {
    name: CString,
    uid: libc::uid_t,
    gid: libc::gid_t,
    home: CString,
}

/// The room that an entry needs is not known before; these are tried.
const ROOMS: [usize; 4] = [1024, 16 * 1024, 256 * 1024, 4 * 1024 * 1024];

fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a NUL byte in the name"))
}

/// A user by name, or by number if there is no such name.
fn user_by(name: &str) -> io::Result<Option<Entry>> {
    let text = c_string(name)?;
    // SAFETY: the arguments are what getpwnam_r wants: a C string, and room that it only writes to.
    let named =
        user(|entry, room, length, found| unsafe { libc::getpwnam_r(text.as_ptr(), entry, room, length, found) })?;
    match (named, name.parse()) {
        (None, Ok(uid)) => {
            // SAFETY: as above, with a number.
            user(|entry, room, length, found| unsafe { libc::getpwuid_r(uid, entry, room, length, found) })
        }
        (named, _) => Ok(named),
    }
}

fn user(
    ask: impl Fn(*mut libc::passwd, *mut c_char, usize, *mut *mut libc::passwd) -> c_int,
) -> io::Result<Option<Entry>> {
    for length in ROOMS {
        let mut room = vec![0; length];
        let mut entry = MaybeUninit::<libc::passwd>::uninit();
        let mut found = ptr::null_mut();
        match ask(entry.as_mut_ptr(), room.as_mut_ptr(), length, &raw mut found) {
            libc::ERANGE => {}
            // Not all systems agree that nobody found is no error.
            0 | libc::ENOENT | libc::ESRCH if found.is_null() => return Ok(None),
            0 => {
                // SAFETY: it was found, so `entry` is filled in, with C strings that lie in `room`.
                let entry = unsafe {
                    let entry = entry.assume_init();
                    Entry {
                        name: CStr::from_ptr(entry.pw_name).to_owned(),
                        uid: entry.pw_uid,
                        gid: entry.pw_gid,
                        home: home(CStr::from_ptr(entry.pw_dir)),
                    }
                };
                return Ok(Some(entry));
            }
            errno => return Err(io::Error::from_raw_os_error(errno)),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ERANGE))
}

fn home(dir: &CStr) -> CString {
    CString::new([b"HOME=", dir.to_bytes()].concat()).unwrap_or_default()
}

fn group_by_name(name: &str) -> io::Result<Option<libc::gid_t>> {
    let text = c_string(name)?;
    for length in ROOMS {
        let mut room = vec![0; length];
        let mut entry = MaybeUninit::<libc::group>::uninit();
        let mut found = ptr::null_mut();
        // SAFETY: a C string, and room that it only writes to.
        let errno =
            unsafe { libc::getgrnam_r(text.as_ptr(), entry.as_mut_ptr(), room.as_mut_ptr(), length, &raw mut found) };
        match errno {
            libc::ERANGE => {}
            0 | libc::ENOENT | libc::ESRCH if found.is_null() => return Ok(None),
            // SAFETY: it was found, so `entry` is filled in.
            0 => return Ok(Some(unsafe { entry.assume_init() }.gr_gid)),
            errno => return Err(io::Error::from_raw_os_error(errno)),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ERANGE))
}

/// The groups that a user is in, with `gid` among them.
fn groups_of(name: &CStr, gid: libc::gid_t) -> Vec<libc::gid_t> {
    let mut room: c_int = 64;
    // The kernel takes at most 65,536; the count is told when there is not enough room.
    for _ in 0..3 {
        let mut groups = vec![0; usize::try_from(room).unwrap_or(64)];
        // SAFETY: `groups` has room for `room` numbers, and `room` is set to how many there are.
        let all = unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &raw mut room) };
        if all >= 0 {
            groups.truncate(usize::try_from(room).unwrap_or(0));
            return groups;
        }
        room = room.clamp(64, 65_536);
    }
    vec![gid]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_found_by_name_and_by_number() {
        let by_name = Identity::find(Some("root"), None).unwrap().unwrap();
        assert_eq!((by_name.uid, by_name.gid, by_name.home.as_deref()), (0, 0, Some(c"HOME=/root")));
        assert!(by_name.groups.contains(&0));
        assert_eq!(Identity::find(Some("0"), None).unwrap().unwrap(), by_name);
        let other_group = Identity::find(Some("root"), Some("daemon")).unwrap().unwrap();
        assert_eq!((other_group.uid, other_group.gid), (0, 1));
        assert!(other_group.groups.contains(&1));
        assert_eq!(Identity::find(None, Some("1")).unwrap().unwrap().gid, 1);
        assert_eq!(Identity::find(None, None).unwrap(), None);
        let numbers = Identity::find(Some("77777"), Some("88888")).unwrap().unwrap();
        assert_eq!((numbers.uid, numbers.gid, numbers.groups, numbers.home), (77_777, 88_888, vec![88_888], None));
    }

    #[test]
    fn who_is_not_there_is_named() {
        let said = |user, group| Identity::find(user, group).map_err(|(what, error)| format!("{what}: {error}"));
        assert_eq!(said(Some("nobody-such"), None).unwrap_err(), "user: there is no user \"nobody-such\" on this host");
        assert_eq!(said(None, Some("no-such")).unwrap_err(), "group: there is no group \"no-such\" on this host");
        let expected = "group: user 77777 is not known here, and so has none: name one";
        assert_eq!(said(Some("77777"), None).unwrap_err(), expected);
        assert_eq!(said(Some("a\0b"), None).unwrap_err(), "user: a NUL byte in the name");
    }
}
