//! The table of mounts: `/proc/PID/mountinfo`, see proc_pid_mountinfo(5).

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::collect::{Roots, fields, lines, split_once};

/// A mounted filesystem.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(in crate::collect) struct Mount {
    /// What is mounted: `/dev/sda1`, `server:/export`.
    pub device: Vec<u8>,
    /// Where, as the host names it.
    pub mountpoint: Vec<u8>,
    /// The same, as it is reached from here.
    pub path: PathBuf,
    pub fstype: Vec<u8>,
    pub major: Vec<u8>,
    pub minor: Vec<u8>,
    /// Whether the mount or the filesystem as a whole is read-only.
    pub readonly: bool,
}

impl Mount {
    /// Whether a question about it may wait for another machine, or for a process that serves it.
    pub fn may_hang(&self) -> bool {
        const KINDS: [&[u8]; 17] = [
            b"9p",
            b"acfs",
            b"afs",
            b"beegfs",
            b"ceph",
            b"cifs",
            b"coda",
            b"gfs2",
            b"glusterfs",
            b"gpfs",
            b"lustre",
            b"ncpfs",
            b"ocfs2",
            b"orangefs",
            b"smb3",
            b"smbfs",
            b"virtiofs",
        ];
        self.fstype.starts_with(b"fuse") || self.fstype.starts_with(b"nfs") || KINDS.contains(&&*self.fstype)
    }
}

/// The mounts of the table's text, in its order. What is not a line of such a table is left out and counted from 1 in
/// the second value: the number of the first such line.
pub(in crate::collect) fn parse(text: &[u8], roots: &Roots) -> (Vec<Mount>, Option<usize>) {
    let mut mounts = Vec::new();
    let mut fault = None;
    for (i, line) in lines(text).enumerate() {
        match parse_line(line, roots) {
            Some(mount) => mounts.push(mount),
            None => {
                fault.get_or_insert(i + 1);
            }
        }
    }
    (mounts, fault)
}

fn parse_line(line: &[u8], roots: &Roots) -> Option<Mount> {
    // id parent major:minor root mountpoint options [optional fields] - type device superoptions
    let mut found = fields(line);
    let (major, minor) = split_once(found.nth(2)?, b':')?;
    let mountpoint = unescape(found.nth(1)?);
    let options = found.next()?;
    found.find(|f| *f == b"-")?;
    let (fstype, device) = (found.next()?, found.next()?);
    // A filesystem without any super options has none to be looked at.
    let super_options = found.next().unwrap_or(b"");
    let numeric = |n: &[u8]| !n.is_empty() && n.iter().all(u8::is_ascii_digit);
    if !numeric(major) || !numeric(minor) {
        return None;
    }
    let mountpoint = without_rootfs(mountpoint, roots);
    let read_only = |options: &[u8]| options.split(|b| *b == b',').any(|o| o == b"ro");
    Some(Mount {
        device: unescape(device),
        path: roots.root(Path::new(std::ffi::OsStr::from_bytes(&mountpoint))),
        mountpoint,
        fstype: fstype.to_vec(),
        major: major.to_vec(),
        minor: minor.to_vec(),
        readonly: read_only(options) || read_only(super_options),
    })
}

/// A mount point as the host names it: where the table is that of a container which sees the host's root below
/// `rootfs`, without that.
fn without_rootfs(mountpoint: Vec<u8>, roots: &Roots) -> Vec<u8> {
    let rootfs = roots.rootfs.as_os_str().as_bytes();
    let rootfs = rootfs.strip_suffix(b"/").unwrap_or(rootfs);
    match mountpoint.strip_prefix(rootfs) {
        Some([]) => b"/".to_vec(),
        Some(below) if below.starts_with(b"/") => below.to_vec(),
        _ => mountpoint,
    }
}

/// With the kernel's octal escapes (space, tab, line feed, backslash) resolved.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) = (byte, after) {
            out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
            rest = after;
        } else {
            out.push(byte);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    fn one(line: &str, rootfs: &str) -> Mount {
        let roots = Roots { rootfs: rootfs.into(), ..Roots::default() };
        let (mounts, fault) = parse(line.as_bytes(), &roots);
        assert_eq!((mounts.len(), fault), (1, None), "{line}");
        mounts.into_iter().next().unwrap()
    }

    #[test]
    fn a_line_with_and_without_optional_fields() {
        let mount = one("29 1 259:2 / / rw,relatime shared:1 master:2 - ext4 /dev/dm-2 errors=remount-ro,data", "/");
        assert_eq!((&*mount.device, &*mount.mountpoint, &*mount.fstype), (&b"/dev/dm-2"[..], &b"/"[..], &b"ext4"[..]));
        assert_eq!((&*mount.major, &*mount.minor, mount.readonly), (&b"259"[..], &b"2"[..], false));
        assert!(one("33 24 0:28 / /x ro,nosuid - tmpfs tmpfs rw", "/").readonly);
        assert!(one("33 24 0:28 / /x rw - tmpfs tmpfs ro,mode=755", "/").readonly);
    }

    #[test]
    fn escapes_are_resolved() {
        assert_eq!(one(r"1 1 0:1 / /a\040b\011c\134d\0 rw - t s o", "/").mountpoint, b"/a b\tc\\d\\0");
    }

    #[test]
    fn the_prefix_of_a_container_is_taken_off() {
        for (mountpoint, rootfs, expected) in [
            ("/host", "/host", "/"),
            ("/host/var", "/host/", "/var"),
            ("/hostess", "/host", "/hostess"),
            ("/var", "/", "/var"),
            ("/", "/", "/"),
        ] {
            let mount = one(&format!("1 1 0:1 / {mountpoint} rw - t s o"), rootfs);
            assert_eq!(String::from_utf8_lossy(&mount.mountpoint), expected);
        }
        assert_eq!(one("1 1 0:1 / /host/var rw - t s o", "/host").path, Path::new("/host/var"));
    }

    #[test]
    fn what_may_hang() {
        for (fstype, expected) in
            [("nfs4", true), ("cifs", true), ("fuse.sshfs", true), ("ext4", false), ("tmpfs", false)]
        {
            assert_eq!(one(&format!("1 1 0:1 / /x rw - {fstype} s o"), "/").may_hang(), expected, "{fstype}");
        }
    }

    #[test]
    fn what_is_no_line_of_the_table_is_left_out() {
        let roots = Roots::default();
        let (mounts, fault) = parse(b"1 1 0:1 / /x rw - t s o\n1 1 0x1 / /y rw - t s\n1 1 0:1\n", &roots);
        assert_eq!((mounts.len(), fault), (1, Some(2)));
    }

    #[test]
    fn no_list_of_mounts_makes_it_panic() {
        let good = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                    30 22 0:26 / /mnt/a\\040b\\011c ro,nosuid master:2 propagate_from:3 - nfs4 host:/x ro,vers=4.2\n";
        let roots = Roots { rootfs: "/host".into(), ..Roots::default() };
        Fuzz::of(&[good]).words(&["\\134", "\\0", " - ", "/host/"]).bytes(|text| {
            assert!(parse(text, &roots).0.len() <= text.len());
        });
    }
}
