//! `bcachefs`: mounted bcachefs filesystems, from `/sys/fs/bcachefs/UUID/`.
//!
//! | metric | type | labels | file |
//! | --- | --- | --- | --- |
//! | `node_bcachefs_info` | gauge, always 1 | `uuid` | |
//! | `node_bcachefs_btree_cache_size_bytes` | gauge | `uuid` | `btree_cache_size` |
//! | `node_bcachefs_compression_{compressed,uncompressed}_bytes` | gauge | `uuid`, `algorithm` | `compression_stats` |
//! | `node_bcachefs_errors_total` | counter | `uuid`, `error_type` | `errors` |
//! | `node_bcachefs_COUNTER_total` | counter | `uuid` | `counters/COUNTER`, since the filesystem was made |
//! | `node_bcachefs_btree_writes_total` | counter | `uuid`, `type` | `btree_write_stats` |
//! | `node_bcachefs_btree_write_average_size_bytes` | gauge | `uuid`, `type` | `btree_write_stats` |
//! | `node_bcachefs_device_info` | gauge, always 1 | `uuid`, `device`, `label`, `state` | `dev-N/` |
//! | `node_bcachefs_device_{bucket_size_bytes,buckets,durability}` | gauge | `uuid`, `device` | `dev-N/` |
//! | `node_bcachefs_device_io_done_bytes_total` | counter | `uuid`, `device`, `operation`, `data_type` | `dev-N/io_done` |
//! | `node_bcachefs_device_io_errors_total` | counter | `uuid`, `device`, `type` | `dev-N/io_errors`, since the filesystem was made |
//!
//! Configuration: none.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::gathered::{Gathered, Label, metric_name};
use super::sysfs::{Attributes, names, names_if_any};
use super::{CollectError, Collector, Roots, fields, lines, number, split_once, trim};
use crate::model::Writer;

crate::section! {
    /// `collectors.bcachefs`.
    pub struct BcachefsConfig {}
}

/// The `bcachefs` collector.
pub struct Bcachefs {
    path: PathBuf,
    attributes: Attributes,
}

impl Bcachefs {
    pub fn new(_: &BcachefsConfig, roots: &Roots) -> Bcachefs {
        Bcachefs { path: roots.sys("fs/bcachefs"), attributes: Attributes::default() }
    }

    fn filesystem(&mut self, folder: &Path, members: &[impl AsRef<OsStr>], uuid: Label, out: &mut Gathered) {
        out.gauge("node_bcachefs_info", "Filesystem information.", &[uuid], 1.0);
        if let Some(size) = self.number(&folder.join("btree_cache_size"), out) {
            let help = "Btree cache memory usage in bytes.";
            out.gauge("node_bcachefs_btree_cache_size_bytes", help, &[uuid], size);
        }
        self.table(&folder.join("compression_stats"), out, |algorithm, [compressed, uncompressed], out| {
            let labels = [uuid, ("algorithm", algorithm)];
            let name = "node_bcachefs_compression_compressed_bytes";
            out.gauge(name, "Compressed size by algorithm.", &labels, compressed);
            let name = "node_bcachefs_compression_uncompressed_bytes";
            out.gauge(name, "Uncompressed size by algorithm.", &labels, uncompressed);
        });
        self.errors(&folder.join("errors"), uuid, out);
        self.counters(&folder.join("counters"), uuid, out);
        self.table(&folder.join("btree_write_stats"), out, |kind, [count, size], out| {
            let labels = [uuid, ("type", kind)];
            out.counter("node_bcachefs_btree_writes_total", "Number of btree writes by type.", &labels, count);
            let name = "node_bcachefs_btree_write_average_size_bytes";
            out.gauge(name, "Average btree write size by type.", &labels, size);
        });
        for member in members {
            let member = member.as_ref();
            if let Some(device) = member.as_bytes().strip_prefix(b"dev-") {
                self.device(&folder.join(member), uuid, ("device", device), out);
            }
        }
    }

    /// An attribute that is a number for people.
    fn number(&mut self, path: &Path, out: &mut Gathered) -> Option<f64> {
        let text = out.keep(self.attributes.text(path))??;
        out.keep(parse(path, 0, text))
    }

    /// Reads a table with a line of titles: a name, and two numbers behind it.
    fn table(&mut self, path: &Path, out: &mut Gathered, mut row: impl FnMut(&[u8], [f64; 2], &mut Gathered)) {
        let Some(Some(text)) = out.keep(self.attributes.text(path)) else { return };
        for (i, line) in lines(text).enumerate().skip(1) {
            let mut found = fields(line);
            let (Some(name), Some(first), Some(second)) = (found.next(), found.next(), found.next()) else { continue };
            let numbers = parse(path, i + 1, first).and_then(|f| Ok([f, parse(path, i + 1, second)?]));
            if let Some(numbers) = out.keep(numbers) {
                row(name.strip_suffix(b":").unwrap_or(name), numbers, out);
            }
        }
    }

    fn errors(&mut self, path: &Path, uuid: Label, out: &mut Gathered) {
        let Some(Some(text)) = out.keep(self.attributes.text(path)) else { return };
        for (i, line) in lines(text).enumerate() {
            let mut found = fields(line);
            let (Some(kind), Some(count)) = (found.next(), found.next()) else { continue };
            if let Some(count) = out.keep(parse(path, i + 1, count)) {
                let labels = [uuid, ("error_type", kind)];
                out.counter("node_bcachefs_errors_total", "Error count by error type.", &labels, count);
            }
        }
    }

    fn counters(&mut self, folder: &Path, uuid: Label, out: &mut Gathered) {
        // An older kernel has none.
        let list = out.keep(names_if_any(folder)).unwrap_or_default();
        for counter in list {
            let path = folder.join(&counter);
            let Some(Some(text)) = out.keep(self.attributes.text(&path)) else { continue };
            for (i, line) in lines(text).enumerate() {
                let Some(count) = line.strip_prefix(b"since filesystem creation:") else { continue };
                if let Some(count) = out.keep(parse(&path, i + 1, count)) {
                    let name = format!("node_bcachefs_{}_total", metric_name(counter.as_bytes()));
                    let help = format!("Bcachefs counter {} since filesystem creation.", counter.to_string_lossy());
                    out.counter(&name, &help, &[uuid], count);
                }
            }
        }
    }

    fn device(&mut self, folder: &Path, uuid: Label, device: Label, out: &mut Gathered) {
        let mut text = |file| {
            let text = out.keep(self.attributes.text(&folder.join(file))).flatten();
            text.map(<[u8]>::to_vec).unwrap_or_default()
        };
        let (label, state) = (text("label"), text("state"));
        let labels = [uuid, device, ("label", &*label), ("state", &*state)];
        out.gauge("node_bcachefs_device_info", "Device information.", &labels, 1.0);
        for (file, name, help) in [
            ("bucket_size", "node_bcachefs_device_bucket_size_bytes", "Bucket size in bytes."),
            ("nbuckets", "node_bcachefs_device_buckets", "Total number of buckets."),
            ("durability", "node_bcachefs_device_durability", "Device durability setting."),
        ] {
            if let Some(value) = self.number(&folder.join(file), out) {
                out.gauge(name, help, &[uuid, device], value);
            }
        }
        // Sections by operation: `read:`, then a line a type of data, then `write:`.
        self.sections(&folder.join("io_done"), out, |operation, data_type, value, out| {
            let Some(operation) = operation.strip_suffix(b":") else { return };
            let labels = [uuid, device, ("operation", operation), ("data_type", data_type)];
            let help = "IO bytes by operation type and data type.";
            out.counter("node_bcachefs_device_io_done_bytes_total", help, &labels, value);
        });
        // Sections by the time since which is counted.
        self.sections(&folder.join("io_errors"), out, |since, kind, value, out| {
            if since == b"IO errors since filesystem creation" {
                let labels = [uuid, device, ("type", kind)];
                out.counter("node_bcachefs_device_io_errors_total", "IO errors by error type.", &labels, value);
            }
        });
    }

    /// Reads a file of sections: a title, and lines `key: number` below it.
    fn sections(&mut self, path: &Path, out: &mut Gathered, mut row: impl FnMut(&[u8], &[u8], f64, &mut Gathered)) {
        let Some(Some(text)) = out.keep(self.attributes.text(path)) else { return };
        let mut title: &[u8] = b"";
        for (i, line) in lines(text).enumerate() {
            match split_once(trim(line), b':') {
                Some((key, value)) if !trim(value).is_empty() => {
                    if let Some(value) = out.keep(parse(path, i + 1, value)) {
                        row(title, trim(key), value, out);
                    }
                }
                _ => title = trim(line),
            }
        }
    }
}

impl Collector for Bcachefs {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut gathered = Gathered::default();
        for filesystem in names(&self.path)? {
            let folder = self.path.join(&filesystem);
            // What is no folder is no filesystem.
            if let Ok(members) = names(&folder) {
                self.filesystem(&folder, &members, ("uuid", filesystem.as_bytes()), &mut gathered);
            }
        }
        gathered.write(out)
    }
}

fn parse(path: &Path, line: usize, text: &[u8]) -> Result<f64, CollectError> {
    let text = trim(text);
    let no_number = || CollectError::parse(path, line, format!("{:?} is no number", String::from_utf8_lossy(text)));
    human(text).ok_or_else(no_number)
}

/// A number as the filesystem prints it for people: `2.05G`, with powers of 1024; whole, as node_exporter has it.
fn human(text: &[u8]) -> Option<f64> {
    let (digits, factor) = match text.split_last() {
        Some((unit, digits)) if unit.is_ascii_alphabetic() => {
            let power = b"kmgtpe".iter().position(|u| *u == unit.to_ascii_lowercase())?;
            (digits, 1024f64.powi(power as i32 + 1))
        }
        _ => (text, 1.0),
    };
    number(digits).filter(|n| n.is_finite()).map(|n| (n * factor).trunc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const FILES: [(&str, &str); 10] = [
        ("sys/fs/bcachefs/dead-beef/btree_cache_size", "2.05G\n"),
        ("sys/fs/bcachefs/dead-beef/compression_stats", "type  compressed  uncompressed\nlz4  48.9G  71.2G  62.5k\n"),
        ("sys/fs/bcachefs/dead-beef/errors", "bset_bad_csum  2  1767112063\n"),
        (
            "sys/fs/bcachefs/dead-beef/counters/sync-fs",
            "since mount:                   5732\nsince filesystem creation:     42023\n",
        ),
        ("sys/fs/bcachefs/dead-beef/btree_write_stats", "        nr  size\ninitial:  3298401  100k\n"),
        ("sys/fs/bcachefs/dead-beef/dev-0/label", "disk\n"),
        ("sys/fs/bcachefs/dead-beef/dev-0/state", "[rw] ro evacuating spare \n"),
        ("sys/fs/bcachefs/dead-beef/dev-0/nbuckets", "953880\n"),
        ("sys/fs/bcachefs/dead-beef/dev-0/io_done", "read:\nsb          :       86016\nwrite:\nbtree : 7\n"),
        (
            "sys/fs/bcachefs/dead-beef/dev-0/io_errors",
            "IO errors since filesystem creation\n  read:    3\nIO errors since 8 y ago\n  read:    1\n",
        ),
    ];

    fn build(roots: &Roots) -> Bcachefs {
        Bcachefs::new(&BcachefsConfig::default(), roots)
    }

    #[test]
    fn a_filesystem_with_its_devices() {
        let lines = Runner::new(build(&Tree::new(&FILES).roots())).lines();
        let uuid = "uuid=\"dead-beef\"";
        let device = "uuid=\"dead-beef\",device=\"0\"";
        let expected = [
            format!("node_bcachefs_info{{{uuid}}} 1"),
            format!("node_bcachefs_btree_cache_size_bytes{{{uuid}}} 2201170739"),
            format!("node_bcachefs_compression_compressed_bytes{{{uuid},algorithm=\"lz4\"}} 52505975193"),
            format!("node_bcachefs_compression_uncompressed_bytes{{{uuid},algorithm=\"lz4\"}} 76450417868"),
            format!("node_bcachefs_errors_total{{{uuid},error_type=\"bset_bad_csum\"}} 2"),
            format!("node_bcachefs_sync_fs_total{{{uuid}}} 42023"),
            format!("node_bcachefs_btree_writes_total{{{uuid},type=\"initial\"}} 3298401"),
            format!("node_bcachefs_btree_write_average_size_bytes{{{uuid},type=\"initial\"}} 102400"),
            format!("node_bcachefs_device_info{{{device},label=\"disk\",state=\"[rw] ro evacuating spare\"}} 1"),
            format!("node_bcachefs_device_buckets{{{device}}} 953880"),
            format!("node_bcachefs_device_io_done_bytes_total{{{device},operation=\"read\",data_type=\"sb\"}} 86016"),
            format!("node_bcachefs_device_io_done_bytes_total{{{device},operation=\"write\",data_type=\"btree\"}} 7"),
            format!("node_bcachefs_device_io_errors_total{{{device},type=\"read\"}} 3"),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn no_filesystem_and_a_file_with_rubbish() {
        let tree = Tree::new::<&str>(&[]);
        assert!(Runner::new(build(&tree.roots())).failure().1.starts_with("no data:"));
        let tree = Tree::new(&FILES);
        tree.write("sys/fs/bcachefs/dead-beef/errors", "fine 1\nbset_bad_csum many\n");
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(lines.len(), 13);
        assert!(error.ends_with("dead-beef/errors:2: \"many\" is no number"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["sys/fs/bcachefs"], |name| name.starts_with("node_bcachefs_"), build);
    }
}
