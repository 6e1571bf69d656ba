//! `btrfs`: mounted btrfs filesystems, from `/sys/fs/btrfs/UUID/`, and their devices from ioctl(2) on a mount.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_btrfs_info` | gauge, always 1 | `uuid`, `label` |
//! | `node_btrfs_global_rsv_size_bytes` | gauge, bytes | `uuid` |
//! | `node_btrfs_commits_total`, `node_btrfs_commit_seconds_total` | counter | `uuid` |
//! | `node_btrfs_last_commit_seconds`, `_max_commit_seconds` | gauge, seconds | `uuid` |
//! | `node_btrfs_reserved_bytes` | gauge, bytes | `uuid`, `block_group_type` |
//! | `node_btrfs_used_bytes`, `_size_bytes`, `_allocation_ratio` | gauge | `uuid`, `block_group_type`, `mode` |
//! | `node_btrfs_device_size_bytes` | gauge, bytes | `uuid`, `device`, and `btrfs_dev_uuid` where a mount can be asked |
//! | `node_btrfs_device_unused_bytes` | gauge, bytes | `uuid`, `device`, `btrfs_dev_uuid` |
//! | `node_btrfs_device_errors_total` | counter | `uuid`, `device`, `btrfs_dev_uuid`, `type`: `write`, `read`, `flush`, `corruption`, `generation` |
//!
//! A device's errors and what of it is unused are not in sysfs. A mount is asked for them, one of each filesystem; where
//! none can be opened (by another user than root), sizes from sysfs are what there is.
//!
//! Configuration: none.

mod devices;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use self::devices::{Device, Devices};
use super::filesystem::mounts::{self, Mount};
use super::gathered::{Gathered, Label};
use super::sysfs::{Attributes, names, names_if_any};
use super::{CollectError, Collector, KernelFile, Roots, fields, lines, number};
use crate::model::MetricType::{self, Counter, Gauge};
use crate::model::Writer;

crate::section! {
    /// `collectors.btrfs`.
    pub struct BtrfsConfig {}
}

/// The unit of a device's `size` in sysfs, whatever its own is.
const SECTOR: f64 = 512.0;

/// Kinds of block groups; `mixed` is data and metadata together, on small filesystems.
const BLOCK_GROUPS: [&str; 4] = ["data", "metadata", "system", "mixed"];

/// Lines of `commit_stats` (Linux 6.1): key, type, name, help and divisor.
const COMMITS: [(&str, MetricType, &str, &str, f64); 4] = [
    ("commits", Counter, "node_btrfs_commits_total", "The total number of commits that have occurred.", 1.0),
    (
        "last_commit_ms",
        Gauge,
        "node_btrfs_last_commit_seconds",
        "Duration of the most recent commit, in seconds.",
        1000.0,
    ),
    ("max_commit_ms", Gauge, "node_btrfs_max_commit_seconds", "Duration of the slowest commit, in seconds.", 1000.0),
    (
        "total_commit_ms",
        Counter,
        "node_btrfs_commit_seconds_total",
        "Sum of the duration of all commits, in seconds.",
        1000.0,
    ),
];

const DEVICE_SIZE: (&str, &str) = ("node_btrfs_device_size_bytes", "Size of a device that is part of the filesystem.");

/// The `btrfs` collector.
pub struct Btrfs {
    path: PathBuf,
    /// Of the first process and, where that may not be read, of the agent itself.
    mounts: [KernelFile; 2],
    roots: Roots,
    attributes: Attributes,
}

impl Btrfs {
    pub fn new(_: &BtrfsConfig, roots: &Roots) -> Btrfs {
        Btrfs {
            path: roots.sys("fs/btrfs"),
            mounts: ["1/mountinfo", "self/mountinfo"].map(|path| KernelFile::new(roots.proc(path))),
            roots: roots.clone(),
            attributes: Attributes::default(),
        }
    }

    /// What is mounted, and where, of type btrfs.
    fn mounts(&mut self) -> Vec<Mount> {
        let [first, own] = &mut self.mounts;
        let Ok(text) = first.read().or_else(|_| own.read()) else { return Vec::new() };
        let (mut mounts, _) = mounts::parse(text, &self.roots);
        mounts.retain(|m| m.fstype == b"btrfs");
        mounts
    }

    fn filesystem(&mut self, folder: &Path, uuid: Label, asked: Option<&[Device]>, out: &mut Gathered) {
        let label = out.keep(self.attributes.text(&folder.join("label"))).flatten().unwrap_or_default();
        out.gauge("node_btrfs_info", "Filesystem information", &[uuid, ("label", label)], 1.0);
        let reserve = self.attributes.number(&folder.join("allocation/global_rsv_size"));
        if let Some(Some(size)) = out.keep(reserve) {
            out.gauge("node_btrfs_global_rsv_size_bytes", "Size of global reserve.", &[uuid], size);
        }
        self.commits(&folder.join("commit_stats"), uuid, out);

        // There is one entry a device, as a link to it.
        let devices = out.keep(names(&folder.join("devices"))).unwrap_or_default();
        for group in BLOCK_GROUPS {
            let labels = [uuid, ("block_group_type", group.as_bytes())];
            self.block_group(&folder.join("allocation").join(group), labels, devices.len(), out);
        }
        match asked {
            Some(asked) => asked.iter().for_each(|device| device.write(uuid, out)),
            None => {
                for device in &devices {
                    let size = self.attributes.number(&folder.join("devices").join(device).join("size"));
                    if let Some(Some(sectors)) = out.keep(size) {
                        let labels = [uuid, ("device", device.as_bytes())];
                        out.gauge(DEVICE_SIZE.0, DEVICE_SIZE.1, &labels, sectors * SECTOR);
                    }
                }
            }
        }
    }

    fn commits(&mut self, path: &Path, uuid: Label, out: &mut Gathered) {
        let text = out.keep(self.attributes.text(path)).flatten().unwrap_or_default();
        for (key, kind, name, help, divisor) in COMMITS {
            let is_line = |line: &&[u8]| fields(line).next() == Some(key.as_bytes());
            let found = lines(text).enumerate().find(|(_, line)| is_line(line));
            // node_exporter has 0 where the kernel does not count.
            let value = found.map_or(Ok(0.0), |(i, line)| {
                let value = fields(line).nth(1).and_then(number);
                value.ok_or_else(|| CollectError::parse(path, i + 1, format!("{key}: not a number")))
            });
            if let Some(value) = out.keep(value) {
                out.add(kind, name, help, &[uuid], value / divisor);
            }
        }
    }

    fn block_group(&mut self, folder: &Path, labels: [Label; 2], devices: usize, out: &mut Gathered) {
        let Ok(members) = names(folder) else { return };
        if let Some(Some(reserved)) = out.keep(self.attributes.number(&folder.join("bytes_reserved"))) {
            out.gauge("node_btrfs_reserved_bytes", "Amount of space reserved for a data type", &labels, reserved);
        }
        let [uuid, group] = labels;
        // Among the attributes, each profile that is in use has a folder.
        for mode in members.iter().filter(|name| folder.join(name).is_dir()) {
            let labels = [uuid, group, ("mode", mode.as_bytes())];
            for (file, name, help) in [
                ("used_bytes", "node_btrfs_used_bytes", "Amount of used space by a layout/data type"),
                ("total_bytes", "node_btrfs_size_bytes", "Amount of space allocated for a layout/data type"),
            ] {
                if let Some(Some(value)) = out.keep(self.attributes.number(&folder.join(mode).join(file))) {
                    out.gauge(name, help, &labels, value);
                }
            }
            if let Some(ratio) = ratio(mode.as_bytes(), devices) {
                let help = "Data allocation ratio for a layout/data type";
                out.gauge("node_btrfs_allocation_ratio", help, &labels, ratio);
            }
        }
    }
}

impl Collector for Btrfs {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        // A host without any is well, as it is for node_exporter. Beside the filesystems there is `features`.
        let mut filesystems = names_if_any(&self.path)?;
        filesystems.retain(|name| name.as_bytes().contains(&b'-'));
        if filesystems.is_empty() {
            return Ok(());
        }
        let devices = Devices::ask(&self.mounts());
        let mut gathered = Gathered::default();
        for name in &filesystems {
            let folder = self.path.join(name);
            let asked = devices.of(name.as_bytes());
            let uuid = gathered.keep(self.attributes.text(&folder.join("metadata_uuid"))).flatten();
            let uuid = uuid.filter(|text| !text.is_empty()).unwrap_or(name.as_bytes()).to_vec();
            self.filesystem(&folder, ("uuid", &uuid), asked, &mut gathered);
        }
        gathered.write(out)
    }
}

/// Bytes on the devices for a byte of data, with so many devices.
fn ratio(mode: &[u8], devices: usize) -> Option<f64> {
    let parity = |disks: usize| (devices > disks).then(|| devices as f64 / (devices - disks) as f64);
    match mode {
        b"single" | b"raid0" => Some(1.0),
        b"dup" | b"raid1" | b"raid10" => Some(2.0),
        b"raid1c3" => Some(3.0),
        b"raid1c4" => Some(4.0),
        b"raid5" => parity(1),
        b"raid6" => parity(2),
        _ => None,
    }
}

impl Device {
    fn write(&self, uuid: Label, out: &mut Gathered) {
        let labels = [uuid, ("device", &*self.name), ("btrfs_dev_uuid", self.uuid.as_bytes())];
        out.gauge(DEVICE_SIZE.0, DEVICE_SIZE.1, &labels, self.size as f64);
        let help = "Unused bytes on a device that is part of the filesystem.";
        out.gauge("node_btrfs_device_unused_bytes", help, &labels, self.size.saturating_sub(self.used) as f64);
        for (kind, count) in devices::ERRORS.iter().zip(self.errors) {
            let labels = [labels[0], labels[1], labels[2], ("type", kind.as_bytes())];
            let help = "Errors reported for the device";
            out.counter("node_btrfs_device_errors_total", help, &labels, count as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics, starting};

    const FILES: [(&str, &str); 9] = [
        ("sys/fs/btrfs/features/raid1c34", "0\n"),
        ("sys/fs/btrfs/dead-beef/label", "archive\n"),
        ("sys/fs/btrfs/dead-beef/metadata_uuid", "beef-dead\n"),
        ("sys/fs/btrfs/dead-beef/commit_stats", "commits 12\nlast_commit_ms 1500\nmax_commit_ms 2000\n"),
        ("sys/fs/btrfs/dead-beef/allocation/data/bytes_reserved", "7\n"),
        ("sys/fs/btrfs/dead-beef/allocation/data/raid5/used_bytes", "10\n"),
        ("sys/fs/btrfs/dead-beef/allocation/data/raid5/total_bytes", "20\n"),
        ("sys/fs/btrfs/dead-beef/devices/sda/size", "2\n"),
        ("sys/fs/btrfs/dead-beef/devices/sdb/size", "4\n"),
    ];

    fn build(roots: &Roots) -> Btrfs {
        Btrfs::new(&BtrfsConfig::default(), roots)
    }

    #[test]
    fn a_filesystem_that_only_sysfs_tells_of() {
        let uuid = "uuid=\"beef-dead\"";
        let expected = [
            format!("node_btrfs_info{{{uuid},label=\"archive\"}} 1"),
            format!("node_btrfs_commits_total{{{uuid}}} 12"),
            format!("node_btrfs_last_commit_seconds{{{uuid}}} 1.5"),
            format!("node_btrfs_max_commit_seconds{{{uuid}}} 2"),
            format!("node_btrfs_commit_seconds_total{{{uuid}}} 0"),
            format!("node_btrfs_reserved_bytes{{{uuid},block_group_type=\"data\"}} 7"),
            format!("node_btrfs_used_bytes{{{uuid},block_group_type=\"data\",mode=\"raid5\"}} 10"),
            format!("node_btrfs_size_bytes{{{uuid},block_group_type=\"data\",mode=\"raid5\"}} 20"),
            format!("node_btrfs_allocation_ratio{{{uuid},block_group_type=\"data\",mode=\"raid5\"}} 2"),
            format!("node_btrfs_device_size_bytes{{{uuid},device=\"sda\"}} 1024"),
            format!("node_btrfs_device_size_bytes{{{uuid},device=\"sdb\"}} 2048"),
        ];
        assert_eq!(Runner::new(build(&Tree::new(&FILES).roots())).lines(), expected);
    }

    #[test]
    fn a_mount_that_is_not_what_the_table_says_is_not_asked() {
        let tree = Tree::new(&FILES);
        // It is there, but some other filesystem.
        tree.write("root/mnt/file", "");
        tree.write("proc/1/mountinfo", "29 1 0:30 / /mnt rw - btrfs /dev/sda rw\n");
        let lines = Runner::new(build(&tree.roots())).lines();
        assert_eq!(starting(&lines, "node_btrfs_device").len(), 2, "{lines:?}");
    }

    #[test]
    fn what_an_answer_of_the_mount_gives() {
        let device =
            Device { name: b"sda".to_vec(), uuid: "c0ffee".into(), size: 100, used: 30, errors: [1, 2, 3, 4, 5] };
        let tree = Tree::new(&FILES);
        let mut collector = build(&tree.roots());
        let mut gathered = Gathered::default();
        collector.filesystem(&tree.path("sys/fs/btrfs/dead-beef"), ("uuid", b"u"), Some(&[device]), &mut gathered);
        struct Once(Option<Gathered>);
        impl Collector for Once {
            fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
                self.0.take().unwrap().write(out)
            }
        }
        let lines = Runner::new(Once(Some(gathered))).lines();
        let labels = "uuid=\"u\",device=\"sda\",btrfs_dev_uuid=\"c0ffee\"";
        let expected = [
            format!("node_btrfs_device_size_bytes{{{labels}}} 100"),
            format!("node_btrfs_device_unused_bytes{{{labels}}} 70"),
            format!("node_btrfs_device_errors_total{{{labels},type=\"write\"}} 1"),
            format!("node_btrfs_device_errors_total{{{labels},type=\"read\"}} 2"),
            format!("node_btrfs_device_errors_total{{{labels},type=\"flush\"}} 3"),
            format!("node_btrfs_device_errors_total{{{labels},type=\"corruption\"}} 4"),
            format!("node_btrfs_device_errors_total{{{labels},type=\"generation\"}} 5"),
        ];
        assert_eq!(starting(&lines, "node_btrfs_device"), expected);
    }

    #[test]
    fn ratios() {
        assert_eq!([ratio(b"raid6", 4), ratio(b"raid6", 2), ratio(b"raid5", 0)], [Some(2.0), None, None]);
        assert_eq!([ratio(b"raid1c4", 9), ratio(b"dup", 1), ratio(b"new", 1)], [Some(4.0), Some(2.0), None]);
    }

    #[test]
    fn nothing_is_mounted() {
        let tree = Tree::new(&FILES[..1]);
        assert!(Runner::new(build(&tree.roots())).lines().is_empty());
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["sys/fs/btrfs"], |name| name.starts_with("node_btrfs_"), build);
    }
}
