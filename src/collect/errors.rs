//! `errors`: what disks, filesystems and CPUs have got wrong, where the kernel counts it and reading it costs little.
//!
//! | metric | type | labels | from |
//! | --- | --- | --- | --- |
//! | `watchfire_disk_errors_total` | counter | `device`, `kind="io"`: commands that a SCSI, SATA or USB disk did not complete | `/sys/block/sdX/device/ioerr_cnt` |
//! | the same | counter | `device`, `kind="timeout"`: commands that it did not answer in time (Linux 5.18) | `/sys/block/sdX/device/iotmo_cnt` |
//! | the same | counter | `device`, `kind="bus"`: PCIe errors of an NVMe controller that were not corrected | `/sys/class/nvme/nvmeN/device/aer_dev_{nonfatal,fatal}` |
//! | the same | counter | `device`, `kind="raid"`: read errors of a disk in an array that the others have made good | `/sys/block/mdN/md/dev-X/errors` |
//! | `watchfire_filesystem_errors` | gauge | `device`, `fstype="ext4"`: errors that the filesystem has recorded since it was last checked | `/sys/fs/ext4/X/errors_count` |
//! | `watchfire_cpu_errors_total` | counter | `kind`: `machine_check`; `corrected`, interrupts for corrected errors; `deferred`, for data found bad before it was used | `/proc/interrupts`: MCE, THR, DFR |
//!
//! `device` is the kernel's name. A device that media are taken out of answers each look for one with an error, and is
//! left out. What btrfs and memory have got wrong, `btrfs` and `edac` say; an NVMe disk's own log of errors is not in
//! sysfs, and asking for it is a command that some count as an error. Rates of it all are among the ready-made gauges.
//!
//! Configuration: none.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::devices::{Device, Reading, devices_if_any, numbered};
use super::gathered::Gathered;
use super::{CollectError, Collector, Roots, fields, number, split_once, trim};
use crate::model::Writer;

crate::section! {
    /// `collectors.errors`.
    pub struct ErrorsConfig {}
}

const DISK: (&str, &str) = ("watchfire_disk_errors_total", "Errors of a disk, by where they were noticed.");
const FILESYSTEM: (&str, &str) =
    ("watchfire_filesystem_errors", "Errors that the filesystem has recorded since it was last checked.");
const CPU: (&str, &str) = ("watchfire_cpu_errors_total", "Hardware errors that the CPUs have reported, by severity.");

/// Files of a SCSI disk, and the label of what they count.
const SCSI: [(&str, &str); 2] = [("ioerr_cnt", "io"), ("iotmo_cnt", "timeout")];
/// Files of a PCI device, each with the line that is the sum of the others.
const AER: [(&str, &[u8]); 2] = [("aer_dev_nonfatal", b"TOTAL_ERR_NONFATAL"), ("aer_dev_fatal", b"TOTAL_ERR_FATAL")];
/// Rows of /proc/interrupts, and the label of what they count.
const INTERRUPTS: [(&[u8], &str); 3] = [(b"MCE", "machine_check"), (b"THR", "corrected"), (b"DFR", "deferred")];

/// Far more than /proc/interrupts has on the largest machines.
const MAX_INTERRUPTS: u64 = 64 << 20;

/// The `errors` collector.
pub struct Errors {
    interrupts: PathBuf,
    block: PathBuf,
    nvme: PathBuf,
    ext4: PathBuf,
}

impl Errors {
    pub fn new(_: &ErrorsConfig, roots: &Roots) -> Errors {
        Errors {
            interrupts: roots.proc("interrupts"),
            block: roots.sys("block"),
            nvme: roots.sys("class/nvme"),
            ext4: roots.sys("fs/ext4"),
        }
    }
}

/// One run: what was found, and whether there is anything at all.
#[derive(Default)]
struct Run {
    reading: Reading,
    found: Gathered,
    any: bool,
}

impl Collector for Errors {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut run = Run::default();
        for (name, folder) in run.folders(&self.block) {
            if name.starts_with(b"sd") {
                run.scsi(&name, &folder);
            } else if name.starts_with(b"md") {
                run.array(&folder.join("md"));
            }
        }
        for (number, folder) in numbered(&self.nvme, "nvme").unwrap_or_else(|error| run.none(error)) {
            run.nvme(&[b"nvme", &*number].concat(), &folder.join("device"));
        }
        for (name, folder) in run.folders(&self.ext4) {
            if let Some(errors) = run.reading.number(&folder.join("errors_count")) {
                let labels = [("device", &*name), ("fstype", b"ext4")];
                run.any = true;
                run.found.gauge(FILESYSTEM.0, FILESYSTEM.1, &labels, errors);
            }
        }
        run.interrupts(&self.interrupts);
        let Run { mut reading, found, any } = run;
        found.write(out)?;
        reading.finish()?;
        any.then_some(()).ok_or_else(|| CollectError::NoData("nothing here counts its errors".to_string()))
    }
}

impl Run {
    fn none(&mut self, error: CollectError) -> Vec<Device> {
        self.reading.keep(error);
        Vec::new()
    }

    fn folders(&mut self, of: &Path) -> Vec<Device> {
        devices_if_any(of).unwrap_or_else(|error| self.none(error))
    }

    fn disk(&mut self, device: &[u8], kind: &str, errors: f64) {
        self.any = true;
        self.found.counter(DISK.0, DISK.1, &[("device", device), ("kind", kind.as_bytes())], errors);
    }

    fn scsi(&mut self, name: &[u8], folder: &Path) {
        if self.reading.number(&folder.join("removable")) == Some(1.0) {
            return;
        }
        for (file, kind) in SCSI {
            if let Some(errors) = self.reading.number(&folder.join("device").join(file)) {
                self.disk(name, kind, errors);
            }
        }
    }

    /// The members of an array, which have a folder `dev-NAME` each.
    fn array(&mut self, folder: &Path) {
        for (member, folder) in self.folders(folder) {
            let Some(device) = member.strip_prefix(b"dev-") else { continue };
            if let Some(errors) = self.reading.number(&folder.join("errors")) {
                self.disk(device, "raid", errors);
            }
        }
    }

    fn nvme(&mut self, name: &[u8], device: &Path) {
        let mut sum = None;
        for (file, total) in AER {
            let text = self.reading.text(&device.join(file)).unwrap_or_default();
            let row = text.split(|b| *b == b'\n').map(fields).find_map(|mut row| {
                let is_total = row.next() == Some(total);
                is_total.then(|| row.next().and_then(number)).flatten()
            });
            if let Some(errors) = row.filter(|n| n.is_finite()) {
                *sum.get_or_insert(0.0) += errors;
            }
        }
        if let Some(errors) = sum {
            self.disk(name, "bus", errors);
        }
    }

    /// A row after the other: on a machine of hundreds of CPUs the file is a megabyte, of which three rows are wanted.
    fn interrupts(&mut self, path: &Path) {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return,
            Err(error) => return self.reading.keep(CollectError::read(path, error)),
        };
        let mut file = BufReader::new(file.take(MAX_INTERRUPTS));
        let mut row = Vec::new();
        loop {
            row.clear();
            match file.read_until(b'\n', &mut row) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => return self.reading.keep(CollectError::read(path, error)),
            }
            let Some((name, counts)) = split_once(&row, b':') else { continue };
            let Some((_, kind)) = INTERRUPTS.iter().find(|(row, _)| *row == trim(name)) else { continue };
            let counts = fields(counts).take_while(|field| field.iter().all(u8::is_ascii_digit)).filter_map(number);
            self.any = true;
            self.found.counter(CPU.0, CPU.1, &[("kind", kind.as_bytes())], counts.sum());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, never_panics};

    const FILES: [(&str, &str); 16] = [
        ("sys/block/sda/removable", "0\n"),
        ("sys/block/sda/device/ioerr_cnt", "0x1f\n"),
        ("sys/block/sda/device/iotmo_cnt", "0x2\n"),
        ("sys/block/sdb/removable", "1\n"),
        ("sys/block/sdb/device/ioerr_cnt", "0xffff\n"),
        ("sys/block/sr0/device/ioerr_cnt", "0x10\n"),
        ("sys/block/md0/md/level", "raid1\n"),
        ("sys/block/md0/md/dev-sda2/errors", "20\n"),
        ("sys/class/nvme/nvme0/device/aer_dev_nonfatal", "Undefined 0\nDLP 2\nTOTAL_ERR_NONFATAL 2\n"),
        ("sys/class/nvme/nvme0/device/aer_dev_fatal", "Undefined 0\nDLP 1\nTOTAL_ERR_FATAL 1\n"),
        ("sys/class/nvme/nvme1/device/vendor", "0x144d\n"),
        ("sys/fs/ext4/sda1/errors_count", "3\n"),
        ("sys/fs/ext4/sda1/first_error_time", "1700000000\n"),
        ("sys/fs/ext4/dm-0/errors_count", "0\n"),
        ("sys/fs/ext4/features/lazy_itable_init", "supported\n"),
        (
            "proc/interrupts",
            "            CPU0       CPU1\n  0:         36          0   IO-APIC    2-edge      timer\n\
             ERR:          4\nTHR:          5          6   Threshold APIC interrupts\n\
             DFR:          0          0   Deferred Error APIC interrupts\n\
             MCE:          1          0   Machine check exceptions\nMCP:        200        201   Machine check polls\n",
        ),
    ];

    fn build(roots: &Roots) -> Errors {
        Errors::new(&ErrorsConfig::default(), roots)
    }

    #[test]
    fn errors_by_disk_filesystem_and_kind() {
        assert_eq!(
            Runner::new(build(&Tree::new(&FILES).roots())).lines(),
            [
                "watchfire_disk_errors_total{device=\"sda2\",kind=\"raid\"} 20",
                "watchfire_disk_errors_total{device=\"sda\",kind=\"io\"} 31",
                "watchfire_disk_errors_total{device=\"sda\",kind=\"timeout\"} 2",
                "watchfire_disk_errors_total{device=\"nvme0\",kind=\"bus\"} 3",
                "watchfire_filesystem_errors{device=\"dm-0\",fstype=\"ext4\"} 0",
                "watchfire_filesystem_errors{device=\"sda1\",fstype=\"ext4\"} 3",
                "watchfire_cpu_errors_total{kind=\"corrected\"} 11",
                "watchfire_cpu_errors_total{kind=\"deferred\"} 0",
                "watchfire_cpu_errors_total{kind=\"machine_check\"} 1",
            ]
        );
    }

    #[test]
    fn a_host_that_counts_no_errors_has_no_data() {
        let tree = Tree::new(&[("proc/interrupts", "  CPU0\n 0: 36 IO-APIC\n"), ("sys/block/vda/size", "8\n")]);
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert!(lines.is_empty() && error.starts_with("no data: "), "{lines:?} {error}");
        let (lines, error) = Runner::new(build(&Tree::new::<&str>(&[]).roots())).failure();
        assert!(lines.is_empty() && error.starts_with("no data: "), "{lines:?} {error}");
    }

    #[test]
    fn a_count_that_is_none_is_named_and_the_others_are_served() {
        let tree = Tree::new(&FILES);
        tree.write("sys/block/sda/device/ioerr_cnt", "many\n");
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert!(error.ends_with("sda/device/ioerr_cnt: \"many\" is no number"), "{error}");
        assert_eq!(lines.len(), 8, "{lines:#?}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&FILES, build);
    }
}
