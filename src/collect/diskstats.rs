//! `diskstats`: what the block devices do, from `/proc/diskstats`, and what they are, from udev's database and sysfs.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_disk_{reads,writes,discards}_{completed,merged}_total`, `node_disk_flush_requests_total` | counter | `device` |
//! | `node_disk_{read,written}_bytes_total`, `node_disk_discarded_sectors_total` | counter | `device` |
//! | `node_disk_{read,write,discard,flush_requests}_time_seconds_total` | counter | `device` |
//! | `node_disk_io_time_seconds_total`, `node_disk_io_time_weighted_seconds_total` | counter | `device` |
//! | `node_disk_io_now` | gauge | `device` |
//! | `node_disk_info` | gauge, always 1 | `device`, `major`, `minor`, `path`, `wwn`, `model`, `serial`, `revision`, `rotational` |
//! | `node_disk_filesystem_info` | gauge, always 1 | `device`, `type`, `usage`, `uuid`, `version` |
//! | `node_disk_device_mapper_info` | gauge, always 1 | `device`, `name`, `uuid`, `vg_name`, `lv_name`, `lv_layer` |
//! | `node_disk_ata_write_cache`, `node_disk_ata_write_cache_enabled`, `node_disk_ata_rotation_rate_rpm` | gauge | `device` |
//!
//! What a device is, is read again when udev's record of it changes (`/run/udev/data/bMAJOR:MINOR`).
//!
//! Configuration: `device_include`, `device_exclude`.

mod identity;

use self::identity::{ATA, Identity};
use super::memo::Memo;
use super::search::{Filter, Search, check_pair};
use super::{CollectError, Collector, KernelFile, Roots, fields, lines, number};
use crate::model::{MetricType, Writer};
use crate::yaml::{Faults, Node};

/// RAM disks, loop devices, floppies, and the partitions of disks.
const DEVICE_EXCLUDE: &str = r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$";

crate::section! {
    check = |section: &mut DiskstatsConfig, node: &Node, faults: &mut Faults| {
        check_pair(
            ("device_include", &section.device_include),
            ("device_exclude", &section.device_exclude, &Search::fixed(DEVICE_EXCLUDE)),
            node,
            faults,
        );
    };
    /// `collectors.diskstats`.
    pub struct DiskstatsConfig {
        /// The only devices exported; not together with `device_exclude`.
        pub device_include: Option<Search> = None,
        /// Devices left out.
        pub device_exclude: Search = Search::fixed(DEVICE_EXCLUDE),
    }
}

/// Bytes of a sector in /proc/diskstats, whatever the device's own are.
const SECTOR: f64 = 512.0;
/// Times are in milliseconds. Multiplied rather than divided, for node_exporter's last digit.
const MILLISECOND: f64 = 1.0 / 1000.0;

/// Name, type, help and scale of each field of a line after the device's name, in the file's order.
/// Discards came with Linux 4.18, flushes with 5.5.
const FAMILIES: [(&str, MetricType, &str, f64); 17] = {
    use MetricType::{Counter, Gauge};
    [
        ("node_disk_reads_completed_total", Counter, "The total number of reads completed successfully.", 1.0),
        ("node_disk_reads_merged_total", Counter, "The total number of reads merged.", 1.0),
        ("node_disk_read_bytes_total", Counter, "The total number of bytes read successfully.", SECTOR),
        ("node_disk_read_time_seconds_total", Counter, "The total number of seconds spent by all reads.", MILLISECOND),
        ("node_disk_writes_completed_total", Counter, "The total number of writes completed successfully.", 1.0),
        ("node_disk_writes_merged_total", Counter, "The number of writes merged.", 1.0),
        ("node_disk_written_bytes_total", Counter, "The total number of bytes written successfully.", SECTOR),
        (
            "node_disk_write_time_seconds_total",
            Counter,
            "This is the total number of seconds spent by all writes.",
            MILLISECOND,
        ),
        ("node_disk_io_now", Gauge, "The number of I/Os currently in progress.", 1.0),
        ("node_disk_io_time_seconds_total", Counter, "Total seconds spent doing I/Os.", MILLISECOND),
        (
            "node_disk_io_time_weighted_seconds_total",
            Counter,
            "The weighted # of seconds spent doing I/Os.",
            MILLISECOND,
        ),
        ("node_disk_discards_completed_total", Counter, "The total number of discards completed successfully.", 1.0),
        ("node_disk_discards_merged_total", Counter, "The total number of discards merged.", 1.0),
        ("node_disk_discarded_sectors_total", Counter, "The total number of sectors discarded successfully.", 1.0),
        (
            "node_disk_discard_time_seconds_total",
            Counter,
            "This is the total number of seconds spent by all discards.",
            MILLISECOND,
        ),
        ("node_disk_flush_requests_total", Counter, "The total number of flush requests completed successfully", 1.0),
        (
            "node_disk_flush_requests_time_seconds_total",
            Counter,
            "This is the total number of seconds spent by all flush requests.",
            MILLISECOND,
        ),
    ]
};

/// Fewer fields than every kernel since 2.6.25 gives, for partitions too.
const MIN_FIELDS: usize = 11;

/// The `diskstats` collector.
pub struct Diskstats {
    file: KernelFile,
    roots: Roots,
    filter: Filter,
    /// By name; `None` for a device that is left out.
    devices: Memo<Option<Device>>,
}

/// A device's line, and what it is.
struct Device {
    values: [Option<f64>; FAMILIES.len()],
    identity: Identity,
}

impl Diskstats {
    pub fn new(config: &DiskstatsConfig, roots: &Roots) -> Diskstats {
        Diskstats {
            file: KernelFile::new(roots.proc("diskstats")),
            roots: roots.clone(),
            filter: Filter { include: config.device_include.clone(), exclude: config.device_exclude.clone() },
            devices: Memo::new(),
        }
    }

    /// Reads all lines. What is wrong with one of them, if anything; the others count.
    fn read(&mut self) -> Result<Option<CollectError>, CollectError> {
        let mut fault = None;
        self.devices.begin();
        for (i, line) in lines(self.file.read()?).enumerate() {
            let mut found = fields(line);
            let (Some(major), Some(minor), Some(name)) = (found.next(), found.next(), found.next()) else { continue };
            let make = || {
                self.filter.wants(name).then(|| Device { values: Default::default(), identity: Identity::default() })
            };
            let Some(Some(device)) = self.devices.next(name, make) else { continue };
            device.values = Default::default();
            for (value, field) in device.values.iter_mut().zip(found) {
                *value = number(field);
                if value.is_none() {
                    fault.get_or_insert((i + 1, String::from_utf8_lossy(name).into_owned()));
                }
            }
            if device.values.iter().flatten().count() < MIN_FIELDS {
                device.values = Default::default();
            }
            device.identity.refresh(major, minor, name, &self.roots);
        }
        self.devices.end();
        let path = self.file.path();
        Ok(fault.map(|(line, name)| CollectError::parse(path, line, format!("{name}: not a number"))))
    }

    /// The devices that are exported.
    fn devices(&self) -> impl Iterator<Item = (&[u8], &Device)> {
        self.devices.iter().filter_map(|(name, d)| Some((name, d.as_ref()?)))
    }

    fn write_identities(&self, out: &mut Writer) {
        let labels = ["device", "major", "minor", "path", "wwn", "model", "serial", "revision", "rotational"];
        let mut family = out.gauge("node_disk_info", "Info of /sys/block/<block_device>.", labels);
        for (name, device) in self.devices() {
            let [major, minor, path, wwn, model, serial, revision, rotational] = device.identity.info();
            family.put([name, major, minor, path, wwn, model, serial, revision, rotational], 1.0);
        }
        let labels = ["device", "type", "usage", "uuid", "version"];
        let mut family = out.gauge("node_disk_filesystem_info", "Info about disk filesystem.", labels);
        for (name, device) in self.devices() {
            if let Some([kind, usage, uuid, version]) = device.identity.filesystem() {
                family.put([name, kind, usage, uuid, version], 1.0);
            }
        }
        let labels = ["device", "name", "uuid", "vg_name", "lv_name", "lv_layer"];
        let mut family = out.gauge("node_disk_device_mapper_info", "Info about disk device mapper.", labels);
        for (name, device) in self.devices() {
            if let Some([dm_name, uuid, vg, lv, layer]) = device.identity.device_mapper() {
                family.put([name, dm_name, uuid, vg, lv, layer], 1.0);
            }
        }
        for (i, (_, metric, help)) in ATA.iter().enumerate() {
            let mut family = out.gauge(metric, help, ["device"]);
            for (name, device) in self.devices() {
                if let Some(value) = device.identity.ata(i) {
                    family.put([name], value);
                }
            }
        }
    }
}

impl Collector for Diskstats {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let fault = self.read()?;
        for (i, (name, kind, help, scale)) in FAMILIES.iter().enumerate() {
            let mut family = out.family(*kind, name, help, ["device"]);
            for (device, value) in self.devices().filter_map(|(n, d)| Some((n, (*d.values.get(i)?)?))) {
                family.put([device], value * scale);
            }
        }
        self.write_identities(out);
        fault.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics, starting};
    use crate::yaml::Document;

    const STATS: &str = "   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0\n\
        \x20  8       0 sda 326552 841 9657779 84 41822 2895 1972905 5007 0 60730 67070 68851 0 1925173784 11130\n\
        \x20  8       1 sda1 250 0 2000 36 0 0 0 0 0 36 36\n\
        \x20252       0 dm-0 59910002 0 1003337218 46229572 39231014 0 505696880 1158557800 0 11325968 1206301256\n";
    const SDA: &str = "S:disk/by-id/wwn-0x7c72382b8de36a64\nI:73815117\nE:ID_ATA=1\nE:ID_MODEL=TOSHIBA_KSDB4U86\n\
        E:ID_REVISION=0102\nE:ID_SERIAL=TOSHIBA_2160\nE:ID_SERIAL_SHORT=2160\nE:ID_ATA_WRITE_CACHE=1\n\
        E:ID_ATA_WRITE_CACHE_ENABLED=0\nE:ID_ATA_ROTATION_RATE_RPM=7200\nE:ID_WWN=0x7c72382b8de36a64\n\
        E:ID_PATH=pci-0000:3b:00.0-sas-phy7-lun-0\nE:ID_FS_UUID=cVVv6j\nE:ID_FS_VERSION=LVM2 001\n\
        E:ID_FS_TYPE=LVM2_member\nE:ID_FS_USAGE=raid\nG:systemd\n";
    const DM: &str = "E:DM_NAME=system-root\nE:DM_UUID=LVM-NWE\nE:DM_VG_NAME=system\nE:DM_LV_NAME=root\n";
    const FILES: [(&str, &str); 4] =
        [("proc/diskstats", STATS), ("udev/b8:0", SDA), ("udev/b252:0", DM), ("sys/block/sda/queue/rotational", "1\n")];

    fn build(roots: &Roots) -> Diskstats {
        Diskstats::new(&DiskstatsConfig::default(), roots)
    }

    #[test]
    fn disks_without_their_partitions() {
        let lines = Runner::new(build(&Tree::new(&FILES).roots())).lines();
        assert_eq!(
            starting(&lines, "node_disk_read_bytes_total"),
            [
                "node_disk_read_bytes_total{device=\"sda\"} 4944782848",
                "node_disk_read_bytes_total{device=\"dm-0\"} 513708655616"
            ]
        );
        assert_eq!(
            starting(&lines, "node_disk_discard_time"),
            ["node_disk_discard_time_seconds_total{device=\"sda\"} 11.13"]
        );
        assert!(starting(&lines, "node_disk_flush").is_empty());
        assert!(lines.contains(&"node_disk_io_time_seconds_total{device=\"sda\"} 60.730000000000004".to_string()));
    }

    #[test]
    fn what_the_devices_are() {
        let tree = Tree::new(&FILES);
        let lines = Runner::new(build(&tree.roots())).lines();
        assert_eq!(
            lines.iter().filter(|l| l.contains("_info") || l.contains("_ata_")).collect::<Vec<_>>(),
            [
                "node_disk_info{device=\"sda\",major=\"8\",minor=\"0\",path=\"pci-0000:3b:00.0-sas-phy7-lun-0\",\
                 wwn=\"0x7c72382b8de36a64\",model=\"TOSHIBA_KSDB4U86\",serial=\"2160\",revision=\"0102\",\
                 rotational=\"1\"} 1",
                "node_disk_info{device=\"dm-0\",major=\"252\",minor=\"0\",path=\"\",wwn=\"\",model=\"\",serial=\"\",\
                 revision=\"\",rotational=\"0\"} 1",
                "node_disk_filesystem_info{device=\"sda\",type=\"LVM2_member\",usage=\"raid\",uuid=\"cVVv6j\",\
                 version=\"LVM2 001\"} 1",
                "node_disk_device_mapper_info{device=\"dm-0\",name=\"system-root\",uuid=\"LVM-NWE\",vg_name=\"system\",\
                 lv_name=\"root\",lv_layer=\"\"} 1",
                "node_disk_ata_write_cache{device=\"sda\"} 1",
                "node_disk_ata_write_cache_enabled{device=\"sda\"} 0",
                "node_disk_ata_rotation_rate_rpm{device=\"sda\"} 7200",
            ]
        );
    }

    #[test]
    fn a_device_that_udev_learns_about_later_gets_its_identity() {
        let tree = Tree::new(&FILES[..1]);
        let mut run = Runner::new(build(&tree.roots()));
        assert!(starting(&run.lines(), "node_disk_ata").is_empty());
        tree.write("udev/b8:0", SDA);
        assert_eq!(starting(&run.lines(), "node_disk_ata").len(), 3);
        tree.remove("udev/b8:0");
        assert!(starting(&run.lines(), "node_disk_ata").is_empty());
    }

    #[test]
    fn a_chosen_list_of_devices() {
        let tree = Tree::new(&FILES);
        let config = DiskstatsConfig { device_include: Some(Search::fixed("^sda1$")), ..Default::default() };
        let lines = Runner::new(Diskstats::new(&config, &tree.roots())).lines();
        assert_eq!(starting(&lines, "node_disk_io_now"), ["node_disk_io_now{device=\"sda1\"} 0"]);
    }

    #[test]
    fn include_and_exclude_exclude_each_other() {
        let mut faults = Faults::default();
        let text = "device_include: ^sd\ndevice_exclude: ^vd\n";
        let _: DiskstatsConfig = Document::parse("f.yaml", text, &mut faults).read(&mut faults);
        assert!(faults.to_string().contains("device_include and device_exclude exclude each other"), "{faults}");
    }

    #[test]
    fn a_bad_line_is_named_and_the_rest_is_served() {
        let tree =
            Tree::new(&[("proc/diskstats", " 8 0 sda 1 x 3 4 5 6 7 8 9 10 11\n 8 16 sdb 1 2 3 4 5 6 7 8 9 10 11\n")]);
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(starting(&lines, "node_disk_io_now"), ["node_disk_io_now{device=\"sdb\"} 9"]);
        assert!(error.ends_with("diskstats:1: sda: not a number"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/diskstats", "udev", "sys/block"], |name| name.starts_with("node_disk_"), build);
    }
}
