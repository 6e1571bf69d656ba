//! Asks btrfs mounts for their devices: see `linux/btrfs.h`.
//!
//! None of these requests needs a privilege beyond opening the mount, and none of them changes or waits for anything on
//! disk.

use std::collections::HashSet;
use std::path::Path;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

use crate::collect::filesystem::mounts::Mount;

/// The kinds of errors that a device's are counted by, in the kernel's order.
pub(super) const ERRORS: [&str; 5] = ["write", "read", "flush", "corruption", "generation"];

/// statfs(2) says so of a btrfs mount.
const BTRFS_SUPER_MAGIC: u32 = 0x9123_683e;

/// A device's number goes up with each that was ever added; past so many, no more are looked for.
const MAX_DEVICE_ID: u64 = 4096;

/// `struct btrfs_ioctl_fs_info_args`: max_id, num_devices, fsid.
type FsInfo = [u64; 128];
/// `struct btrfs_ioctl_dev_info_args`: devid, uuid, bytes_used, total_bytes, ..., path, of 1024 bytes, at the end.
type DevInfo = [u64; 512];
/// `struct btrfs_ioctl_get_dev_stats`: devid, nr_items, flags, values.
type DevStats = [u64; 129];

const MAGIC: u8 = 0x94;
const FS_INFO: Opcode = opcode::read::<FsInfo>(MAGIC, 31);
const DEV_INFO: Opcode = opcode::read_write::<DevInfo>(MAGIC, 30);
const GET_DEV_STATS: Opcode = opcode::read_write::<DevStats>(MAGIC, 52);
/// Where in a `DevInfo` the path begins.
const PATH: usize = 384;

/// A device of a filesystem.
#[derive(Debug)]
pub(super) struct Device {
    /// The last part of its path: `sda1`.
    pub name: Vec<u8>,
    pub uuid: String,
    /// Bytes.
    pub size: u64,
    /// Bytes that are allocated to block groups.
    pub used: u64,
    /// By kind: see [`ERRORS`].
    pub errors: [u64; ERRORS.len()],
}

/// The devices of the filesystems that could be asked, by the filesystem's UUID.
pub(super) struct Devices(Vec<(String, Vec<Device>)>);

impl Devices {
    /// Asks one mount of each filesystem. One that cannot be asked is left out: there may be another.
    pub fn ask(mounts: &[Mount]) -> Devices {
        let mut known: Vec<(String, Vec<Device>)> = Vec::new();
        // A host with containers may have a mount of the same filesystem for each of them.
        let mut done: HashSet<&[u8]> = HashSet::new();
        for mount in mounts {
            if done.contains(&*mount.device) {
                continue;
            }
            let Ok((fd, [max_id, count, uuid @ ..])) = open(&mount.path) else { continue };
            let uuid = uuid_text(&uuid);
            if known.iter().all(|(other, _)| *other != uuid) {
                let Ok(devices) = devices(&fd, max_id, count) else { continue };
                known.push((uuid, devices));
            }
            done.insert(&mount.device);
        }
        Devices(known)
    }

    /// Those of the filesystem with this UUID.
    pub fn of(&self, uuid: &[u8]) -> Option<&[Device]> {
        self.0.iter().find(|(other, _)| other.as_bytes() == uuid).map(|(_, devices)| &**devices)
    }
}

/// Opens a mount, and asks for the filesystem's highest device number, number of devices, and UUID.
fn open(mount: &Path) -> Result<(OwnedFd, [u64; 4])> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::open(mount, flags, Mode::empty())?;
    // The table is of a moment ago, or of another tree: numbers of requests mean other things to other filesystems.
    if rustix::fs::fstatfs(&fd)?.f_type as u32 != BTRFS_SUPER_MAGIC {
        return Err(Errno::NOTTY);
    }
    let mut info: FsInfo = [0; _];
    // SAFETY: the kernel writes a `btrfs_ioctl_fs_info_args`, which is as long as `FsInfo`, as the request's number says;
    // any bytes are whole numbers.
    unsafe { ioctl(&fd, Updater::<FS_INFO, FsInfo>::new(&mut info)) }?;
    let [max_id, count, uuid_a, uuid_b, ..] = info;
    Ok((fd, [max_id, count, uuid_a, uuid_b]))
}

fn devices(fd: &OwnedFd, max_id: u64, count: u64) -> Result<Vec<Device>> {
    let mut devices = Vec::new();
    for id in 0..=max_id.min(MAX_DEVICE_ID) {
        match device(fd.as_fd(), id) {
            Ok(device) => devices.push(device),
            // The numbers of devices that were taken out are not used again.
            Err(Errno::NODEV) => {}
            Err(error) => return Err(error),
        }
        if devices.len() as u64 >= count {
            break;
        }
    }
    Ok(devices)
}

fn device(fd: impl AsFd, id: u64) -> Result<Device> {
    let mut info: DevInfo = [0; _];
    info[0] = id;
    // SAFETY: the kernel reads and writes a `btrfs_ioctl_dev_info_args`, which is as long as `DevInfo`, as the request's
    // number says; any bytes are whole numbers.
    unsafe { ioctl(&fd, Updater::<DEV_INFO, DevInfo>::new(&mut info)) }?;
    let mut stats: DevStats = [0; _];
    stats[0] = id;
    stats[1] = ERRORS.len() as u64;
    // SAFETY: as above, with a `btrfs_ioctl_get_dev_stats`. Its second number says for how many values there is room.
    unsafe { ioctl(&fd, Updater::<GET_DEV_STATS, DevStats>::new(&mut stats)) }?;

    let [_, uuid_a, uuid_b, used, size, ..] = info;
    let [_, _, _, write, read, flush, corruption, generation, ..] = stats;
    let path: Vec<u8> = info[PATH..].iter().flat_map(|n| n.to_ne_bytes()).take_while(|b| *b != 0).collect();
    Ok(Device {
        name: path.rsplit(|b| *b == b'/').next().unwrap_or_default().to_vec(),
        uuid: uuid_text(&[uuid_a, uuid_b]),
        size,
        used,
        errors: [write, read, flush, corruption, generation],
    })
}

/// A UUID as it is written, in hexadecimal digits with dashes.
fn uuid_text(uuid: &[u64; 2]) -> String {
    let mut text = String::with_capacity(36);
    for (i, byte) in uuid.iter().flat_map(|n| n.to_ne_bytes()).enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_in_the_kernels_byte_order() {
        let uuid = [u64::from_be(0x0011_2233_4455_6677), u64::from_be(0x8899_aabb_ccdd_eeff)];
        assert_eq!(uuid_text(&uuid), "00112233-4455-6677-8899-aabbccddeeff");
    }
}
