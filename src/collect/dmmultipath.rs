//! `dmmultipath`: disks that are reached by several paths, from `/sys/block/dm-N/` of those with a UUID `mpath-...`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_dmmultipath_device_info` | gauge, always 1 | `device`, `sysfs_name`, `uuid` |
//! | `node_dmmultipath_device_active` | gauge, 0 when suspended | `device`, `sysfs_name` |
//! | `node_dmmultipath_device_size_bytes` | gauge, bytes | the same |
//! | `node_dmmultipath_device_paths`, `_paths_active`, `_paths_failed` | gauge | the same |
//! | `node_dmmultipath_path_state` | gauge, always 1 | `device`, `path`, `state` |
//!
//! A path's state is that of its disk (`/sys/block/PATH/device/state`): `running` (SCSI) and `live` (NVMe) are well.
//!
//! Configuration: none.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::gathered::Gathered;
use super::sysfs::{Attributes, names, names_if_any};
use super::{CollectError, Collector, Roots};
use crate::model::Writer;

crate::section! {
    /// `collectors.dmmultipath`.
    pub struct DmmultipathConfig {}
}

/// The unit of `size`, whatever the device's own is.
const SECTOR: f64 = 512.0;

/// The `dmmultipath` collector.
pub struct Dmmultipath {
    path: PathBuf,
    attributes: Attributes,
}

impl Dmmultipath {
    pub fn new(_: &DmmultipathConfig, roots: &Roots) -> Dmmultipath {
        Dmmultipath { path: roots.sys("block"), attributes: Attributes::default() }
    }

    fn device(&mut self, sysfs_name: &OsStr, out: &mut Gathered) -> Result<(), CollectError> {
        let folder = self.path.join(sysfs_name);
        let Some(uuid) = self.attributes.text(&folder.join("dm/uuid"))?.map(<[u8]>::to_vec) else { return Ok(()) };
        if !uuid.starts_with(b"mpath-") {
            return Ok(());
        }
        let name = self.attributes.text(&folder.join("dm/name"))?.unwrap_or_default().to_vec();
        let labels = [("device", &*name), ("sysfs_name", sysfs_name.as_bytes())];
        let help = "Non-numeric information about a DM-multipath device.";
        out.gauge("node_dmmultipath_device_info", help, &[labels[0], labels[1], ("uuid", &uuid)], 1.0);
        if let Some(suspended) = out.keep(self.attributes.number(&folder.join("dm/suspended"))).flatten() {
            let help = "Whether the multipath device-mapper device is active (1) or suspended (0).";
            out.gauge("node_dmmultipath_device_active", help, &labels, f64::from(suspended != 1.0));
        }
        if let Some(sectors) = out.keep(self.attributes.number(&folder.join("size"))).flatten() {
            let help = "Size of the multipath device in bytes, read from /sys/block/<dm>/size.";
            out.gauge("node_dmmultipath_device_size_bytes", help, &labels, sectors * SECTOR);
        }

        let paths = names_if_any(&folder.join("slaves"))?;
        let mut active = 0;
        for path in &paths {
            let state = self.path.join(path).join("device/state");
            let state = out.keep(self.attributes.text(&state)).flatten().unwrap_or_default();
            active += usize::from(matches!(state, b"running" | b"live"));
            let help = "State of the device beneath a path, as read from /sys/block/<dev>/device/state.";
            let labels = [labels[0], ("path", path.as_bytes()), ("state", state)];
            out.gauge("node_dmmultipath_path_state", help, &labels, 1.0);
        }
        for (name, help, count) in [
            ("node_dmmultipath_device_paths", "Number of paths for a multipath device.", paths.len()),
            (
                "node_dmmultipath_device_paths_active",
                "Number of paths in active state (SCSI running or NVMe live) for a multipath device.",
                active,
            ),
            (
                "node_dmmultipath_device_paths_failed",
                "Number of paths not in active state for a multipath device.",
                paths.len() - active,
            ),
        ] {
            out.gauge(name, help, &labels, count as f64);
        }
        Ok(())
    }
}

impl Collector for Dmmultipath {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut gathered = Gathered::default();
        for name in names(&self.path)?.iter().filter(|n| n.as_bytes().starts_with(b"dm-")) {
            let read = self.device(name, &mut gathered);
            gathered.keep(read);
        }
        gathered.write(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics, starting};

    const FILES: [(&str, &str); 7] = [
        ("sys/block/dm-0/dm/uuid", "LVM-abc\n"),
        ("sys/block/dm-1/dm/uuid", "mpath-3600\n"),
        ("sys/block/dm-1/dm/name", "mpathA\n"),
        ("sys/block/dm-1/dm/suspended", "1\n"),
        ("sys/block/dm-1/size", "1000\n"),
        ("sys/block/dm-1/slaves/sda/dev", ""),
        ("sys/block/dm-1/slaves/nvme0n1/dev", ""),
    ];

    fn build(roots: &Roots) -> Dmmultipath {
        Dmmultipath::new(&DmmultipathConfig::default(), roots)
    }

    #[test]
    fn a_device_that_has_lost_a_path() {
        let tree = Tree::new(&FILES);
        tree.write("sys/block/nvme0n1/device/state", "live\n");
        tree.write("sys/block/sda/device/state", "offline\n");
        let expected = [
            "node_dmmultipath_device_info{device=\"mpathA\",sysfs_name=\"dm-1\",uuid=\"mpath-3600\"} 1",
            "node_dmmultipath_device_active{device=\"mpathA\",sysfs_name=\"dm-1\"} 0",
            "node_dmmultipath_device_size_bytes{device=\"mpathA\",sysfs_name=\"dm-1\"} 512000",
            "node_dmmultipath_path_state{device=\"mpathA\",path=\"nvme0n1\",state=\"live\"} 1",
            "node_dmmultipath_path_state{device=\"mpathA\",path=\"sda\",state=\"offline\"} 1",
            "node_dmmultipath_device_paths{device=\"mpathA\",sysfs_name=\"dm-1\"} 2",
            "node_dmmultipath_device_paths_active{device=\"mpathA\",sysfs_name=\"dm-1\"} 1",
            "node_dmmultipath_device_paths_failed{device=\"mpathA\",sysfs_name=\"dm-1\"} 1",
        ];
        assert_eq!(Runner::new(build(&tree.roots())).lines(), expected);
        // A disk that is gone altogether has no state, and is not well.
        tree.remove("sys/block/nvme0n1/device/state");
        let lines = Runner::new(build(&tree.roots())).lines();
        assert!(starting(&lines, "node_dmmultipath_device_paths_failed")[0].ends_with(" 2"), "{lines:?}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["sys/block"], |name| name.starts_with("node_dmmultipath_"), build);
    }
}
