//! What a block device is: udev's record of it, and the little that sysfs adds.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::collect::{Roots, lines, number, read_small, split_once};

/// The properties that are exported, by their names in udev's database.
const PROPERTIES: [&str; 20] = [
    "ID_PATH",
    "ID_WWN",
    "ID_MODEL",
    "ID_REVISION",
    "SCSI_IDENT_SERIAL",
    "ID_SERIAL_SHORT",
    "ID_SERIAL",
    "ID_FS_TYPE",
    "ID_FS_USAGE",
    "ID_FS_UUID",
    "ID_FS_VERSION",
    "DM_NAME",
    "DM_UUID",
    "DM_VG_NAME",
    "DM_LV_NAME",
    "DM_LV_LAYER",
    "ID_ATA",
    "ID_ATA_WRITE_CACHE",
    "ID_ATA_WRITE_CACHE_ENABLED",
    "ID_ATA_ROTATION_RATE_RPM",
];

/// Properties of ATA disks that are numbers: property, metric, help.
pub(super) const ATA: [(&str, &str, &str); 3] = [
    ("ID_ATA_WRITE_CACHE", "node_disk_ata_write_cache", "ATA disk has a write cache."),
    ("ID_ATA_WRITE_CACHE_ENABLED", "node_disk_ata_write_cache_enabled", "ATA disk has its write cache enabled."),
    ("ID_ATA_ROTATION_RATE_RPM", "node_disk_ata_rotation_rate_rpm", "ATA disk rotation rate in RPMs (0 for SSDs)."),
];

/// A device's identity. What is not known is empty, as node_exporter has it.
#[derive(Default)]
pub(super) struct Identity {
    major: Vec<u8>,
    minor: Vec<u8>,
    rotational: Vec<u8>,
    /// By [`PROPERTIES`].
    properties: [Vec<u8>; PROPERTIES.len()],
    record: PathBuf,
    version: Option<Version>,
}

/// What changes when udev replaces a record: inode, seconds and nanoseconds of its change; all 0 where there is none.
type Version = (u64, i64, i64);

impl Identity {
    /// Reads all again, if udev's record is another than before.
    pub fn refresh(&mut self, major: &[u8], minor: &[u8], name: &[u8], roots: &Roots) {
        if self.major != major || self.minor != minor {
            *self = Identity { major: major.to_vec(), minor: minor.to_vec(), ..Identity::default() };
            let (major, minor) = (String::from_utf8_lossy(major), String::from_utf8_lossy(minor));
            self.record = roots.udev_data.join(format!("b{major}:{minor}"));
        }
        let version = |m: Metadata| (m.ino(), m.ctime(), m.ctime_nsec());
        let version = std::fs::metadata(&self.record).map(version).unwrap_or_default();
        if self.version == Some(version) {
            return;
        }
        self.version = Some(version);
        self.properties = Default::default();
        let mut buffer = Vec::new();
        if let Ok(text) = read_small(&self.record, &mut buffer) {
            for line in lines(text) {
                let Some((name, value)) = line.strip_prefix(b"E:").and_then(|l| split_once(l, b'=')) else { continue };
                let slot = PROPERTIES.iter().zip(&mut self.properties).find(|(p, _)| p.as_bytes() == name);
                if let Some((_, slot)) = slot {
                    *slot = value.to_vec();
                }
            }
        }
        // A name with a slash in it (cciss/c0d0) has an exclamation mark there in sysfs.
        let name = String::from_utf8_lossy(name).replace('/', "!");
        let rotational = roots.sys(Path::new("block").join(name).join("queue/rotational"));
        let rotational = read_small(&rotational, &mut buffer).ok();
        self.rotational = rotational.filter(|r| number(r).is_some()).unwrap_or(b"0").to_vec();
    }

    fn property(&self, name: &str) -> &[u8] {
        PROPERTIES.iter().zip(&self.properties).find(|(p, _)| **p == name).map_or(b"", |(_, value)| value)
    }

    /// major, minor, path, wwn, model, serial, revision, rotational.
    pub fn info(&self) -> [&[u8]; 8] {
        // The serial number printed on the disk, or the next best; virtio disks have but the last.
        let serials = ["SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL"];
        let serial = serials.into_iter().map(|s| self.property(s)).find(|s| !s.is_empty()).unwrap_or(b"");
        let [path, wwn, model, revision] =
            ["ID_PATH", "ID_WWN", "ID_MODEL", "ID_REVISION"].map(|name| self.property(name));
        [&self.major, &self.minor, path, wwn, model, serial, revision, &self.rotational]
    }

    /// type, usage, uuid, version; `None` where no filesystem (or what stands for one) is known.
    pub fn filesystem(&self) -> Option<[&[u8]; 4]> {
        let values = ["ID_FS_TYPE", "ID_FS_USAGE", "ID_FS_UUID", "ID_FS_VERSION"].map(|name| self.property(name));
        (!values[0].is_empty()).then_some(values)
    }

    /// name, uuid, vg_name, lv_name, lv_layer; `None` for what is not of the device mapper.
    pub fn device_mapper(&self) -> Option<[&[u8]; 5]> {
        let names = ["DM_NAME", "DM_UUID", "DM_VG_NAME", "DM_LV_NAME", "DM_LV_LAYER"];
        let values = names.map(|name| self.property(name));
        (!values[0].is_empty()).then_some(values)
    }

    /// A number of [`ATA`], by its place there; `None` for other disks.
    pub fn ata(&self, place: usize) -> Option<f64> {
        let (name, _, _) = ATA.get(place)?;
        (!self.property("ID_ATA").is_empty()).then(|| number(self.property(name)))?
    }
}
