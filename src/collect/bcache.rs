//! `bcache`: caches of block devices in front of slower ones, from `/sys/fs/bcache/UUID/`.
//!
//! | metric | type | labels | file |
//! | --- | --- | --- | --- |
//! | `node_bcache_average_key_size_sectors`, `_btree_cache_size_bytes`, `_cache_available_percent`, `_congested`, `_root_usage_percent`, `_tree_depth` | gauge | `uuid` | by that name |
//! | `node_bcache_active_journal_entries`, `_btree_nodes`, `_btree_read_average_duration_seconds` | gauge | `uuid` | `internal/` |
//! | `node_bcache_cache_read_races_total` | counter | `uuid` | `internal/` |
//! | `node_bcache_dirty_data_bytes` | gauge | `uuid`, `backing_device` | `bdevN/dirty_data` |
//! | `node_bcache_dirty_target_bytes`, `_writeback_rate`, `_writeback_rate_proportional_term`, `_writeback_rate_integral_term`, `_writeback_change` | gauge | the same | `bdevN/writeback_rate_debug` |
//! | `node_bcache_bypassed_bytes_total`, `_cache_{hits,misses,bypass_hits,bypass_misses,miss_collisions,readaheads}_total` | counter | the same | `bdevN/stats_total/` |
//! | `node_bcache_io_errors` | gauge | `uuid`, `cache_device` | `cacheN/` |
//! | `node_bcache_metadata_written_bytes_total`, `_written_bytes_total` | counter | the same | `cacheN/` |
//! | `node_bcache_priority_stats_{unused,metadata}_percent` | gauge | the same | `cacheN/priority_stats`, when asked for |
//!
//! Configuration: `priority_stats`.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::gathered::{Gathered, Label};
use super::sysfs::{Attributes, names, names_if_any};
use super::{CollectError, Collector, Roots, fields, lines, number, split_once};
use crate::model::MetricType::{self, Counter, Gauge};
use crate::model::Writer;

crate::section! {
    /// `collectors.bcache`.
    pub struct BcacheConfig {
        /// Whether `priority_stats` of each cache is read too: the kernel sorts all the cache's buckets for it.
        pub priority_stats: bool = false,
    }
}

/// An attribute: its file, or the key of its line, and what it is exported as.
type Attribute = (&'static str, MetricType, &'static str, &'static str);

const SET: [Attribute; 10] = [
    ("average_key_size", Gauge, "node_bcache_average_key_size_sectors", "Average data per key in the btree (sectors)."),
    (
        "btree_cache_size",
        Gauge,
        "node_bcache_btree_cache_size_bytes",
        "Amount of memory currently used by the btree cache.",
    ),
    (
        "cache_available_percent",
        Gauge,
        "node_bcache_cache_available_percent",
        "Percentage of cache device without dirty data, usable for writeback (may contain clean cached data).",
    ),
    ("congested", Gauge, "node_bcache_congested", "Congestion."),
    (
        "root_usage_percent",
        Gauge,
        "node_bcache_root_usage_percent",
        "Percentage of the root btree node in use (tree depth increases if too high).",
    ),
    ("tree_depth", Gauge, "node_bcache_tree_depth", "Depth of the btree."),
    (
        "internal/active_journal_entries",
        Gauge,
        "node_bcache_active_journal_entries",
        "Number of journal entries that are newer than the index.",
    ),
    ("internal/btree_nodes", Gauge, "node_bcache_btree_nodes", "Total nodes in the btree."),
    (READ_DURATION, Gauge, "node_bcache_btree_read_average_duration_seconds", "Average btree read duration."),
    (
        "internal/cache_read_races",
        Counter,
        "node_bcache_cache_read_races_total",
        "Number of reads from the cache whose bucket was reused meanwhile, so that what was read was stale.",
    ),
];

/// node_exporter takes it for nanoseconds, whatever its name says.
const READ_DURATION: &str = "internal/btree_read_average_duration_us";

const BACKING: [Attribute; 8] = [
    ("dirty_data", Gauge, "node_bcache_dirty_data_bytes", "Amount of dirty data for this backing device in the cache."),
    (
        "stats_total/bypassed",
        Counter,
        "node_bcache_bypassed_bytes_total",
        "Amount of IO (both reads and writes) that has bypassed the cache.",
    ),
    (
        "stats_total/cache_hits",
        Counter,
        "node_bcache_cache_hits_total",
        "Hits counted per individual IO as bcache sees them.",
    ),
    (
        "stats_total/cache_misses",
        Counter,
        "node_bcache_cache_misses_total",
        "Misses counted per individual IO as bcache sees them.",
    ),
    (
        "stats_total/cache_bypass_hits",
        Counter,
        "node_bcache_cache_bypass_hits_total",
        "Hits for IO intended to skip the cache.",
    ),
    (
        "stats_total/cache_bypass_misses",
        Counter,
        "node_bcache_cache_bypass_misses_total",
        "Misses for IO intended to skip the cache.",
    ),
    (
        "stats_total/cache_miss_collisions",
        Counter,
        "node_bcache_cache_miss_collisions_total",
        "Instances where data insertion from cache miss raced with write (data already present).",
    ),
    // Gone since Linux 5.13.
    (
        "stats_total/cache_readaheads",
        Counter,
        "node_bcache_cache_readaheads_total",
        "Count of times readahead occurred.",
    ),
];

/// Lines of `writeback_rate_debug`, since Linux 4.12 with the terms of its controller.
const WRITEBACK: [Attribute; 5] = [
    (
        "target",
        Gauge,
        "node_bcache_dirty_target_bytes",
        "Current dirty data target threshold for this backing device in bytes.",
    ),
    ("rate", Gauge, "node_bcache_writeback_rate", "Current writeback rate for this backing device in bytes."),
    (
        "proportional",
        Gauge,
        "node_bcache_writeback_rate_proportional_term",
        "Current result of proportional controller, part of writeback rate",
    ),
    (
        "integral",
        Gauge,
        "node_bcache_writeback_rate_integral_term",
        "Current result of integral controller, part of writeback rate",
    ),
    ("change", Gauge, "node_bcache_writeback_change", "Last writeback rate change step for this backing device."),
];

const CACHE: [Attribute; 3] = [
    ("io_errors", Gauge, "node_bcache_io_errors", "Number of errors that have occurred, decayed by io_error_halflife."),
    (
        "metadata_written",
        Counter,
        "node_bcache_metadata_written_bytes_total",
        "Sum of all non data writes (btree writes and all other metadata).",
    ),
    ("written", Counter, "node_bcache_written_bytes_total", "Sum of all data that has been written to the cache."),
];

const PRIORITY: [Attribute; 2] = [
    (
        "Unused",
        Gauge,
        "node_bcache_priority_stats_unused_percent",
        "The percentage of the cache that doesn't contain any data.",
    ),
    ("Metadata", Gauge, "node_bcache_priority_stats_metadata_percent", "Bcache's metadata overhead."),
];

/// The `bcache` collector.
pub struct Bcache {
    path: PathBuf,
    priority_stats: bool,
    attributes: Attributes,
}

impl Bcache {
    pub fn new(config: &BcacheConfig, roots: &Roots) -> Bcache {
        Bcache {
            path: roots.sys("fs/bcache"),
            priority_stats: config.priority_stats,
            attributes: Attributes::default(),
        }
    }

    /// Reads attributes that are files with one number each.
    fn files(&mut self, folder: &Path, list: &[Attribute], labels: &[Label], out: &mut Gathered) {
        for (file, kind, name, help) in list {
            let path = folder.join(file);
            let read = self.attributes.text(&path).and_then(|text| text.map(|t| parse(&path, 0, t)).transpose());
            if let Some(Some(value)) = out.keep(read) {
                let scale = if *file == READ_DURATION { 1e-9 } else { 1.0 };
                out.add(*kind, name, help, labels, value * scale);
            }
        }
    }

    /// Reads attributes that are lines of one file: `key: number`.
    fn lines(&mut self, path: &Path, list: &[Attribute], labels: &[Label], out: &mut Gathered) {
        let Some(Some(text)) = out.keep(self.attributes.text(path)) else { return };
        for (i, line) in lines(text).enumerate() {
            let Some((key, value)) = split_once(line, b':') else { continue };
            let Some((_, kind, name, help)) = list.iter().find(|a| a.0.as_bytes() == key) else { continue };
            let value = fields(value).next().unwrap_or(b"");
            let value = [&b"/sec"[..], b"%"].iter().find_map(|s| value.strip_suffix(*s)).unwrap_or(value);
            if let Some(value) = out.keep(parse(path, i + 1, value)) {
                out.add(*kind, name, help, labels, value);
            }
        }
    }
}

impl Collector for Bcache {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut gathered = Gathered::default();
        // A host without any is well, as it is for node_exporter. Beside the sets there are files to register devices with.
        for set in names_if_any(&self.path)?.iter().filter(|n| n.as_bytes().contains(&b'-')) {
            let folder = self.path.join(set);
            let uuid = ("uuid", set.as_bytes());
            self.files(&folder, &SET, &[uuid], &mut gathered);
            let members = gathered.keep(names(&folder)).unwrap_or_default();
            for member in &members {
                let path = folder.join(member);
                if is_numbered(member.as_bytes(), b"bdev") {
                    let labels = [uuid, ("backing_device", member.as_bytes())];
                    self.files(&path, &BACKING, &labels, &mut gathered);
                    self.lines(&path.join("writeback_rate_debug"), &WRITEBACK, &labels, &mut gathered);
                } else if is_numbered(member.as_bytes(), b"cache") {
                    let labels = [uuid, ("cache_device", member.as_bytes())];
                    self.files(&path, &CACHE, &labels, &mut gathered);
                    if self.priority_stats {
                        self.lines(&path.join("priority_stats"), &PRIORITY, &labels, &mut gathered);
                    }
                }
            }
        }
        gathered.write(out)
    }
}

/// `bdev0` and the like.
fn is_numbered(name: &[u8], kind: &[u8]) -> bool {
    name.strip_prefix(kind).is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit))
}

fn parse(path: &Path, line: usize, text: &[u8]) -> Result<f64, CollectError> {
    let no_number = || CollectError::parse(path, line, format!("{:?} is no number", String::from_utf8_lossy(text)));
    human(text).ok_or_else(no_number)
}

/// A number as `bch_hprint()` of the kernel prints it: `1.1M` is 1 MiB and 1 of 10 parts, each some 102 KiB.
///
/// What it prints behind the point is a number between 0 and 1023, divided by 100: so much is put right here, as
/// node_exporter does.
fn human(text: &[u8]) -> Option<f64> {
    let (sign, text) = text.strip_prefix(b"-").map_or((1.0, text), |rest| (-1.0, rest));
    let (digits, factor) = match text.split_last() {
        Some((unit, digits)) if unit.is_ascii_alphabetic() => {
            let power = b"kMGTPEZY".iter().position(|u| u == unit)?;
            (digits, 1024f64.powi(power as i32 + 1))
        }
        _ => (text, 1.0),
    };
    let (whole, part) = split_once(digits, b'.').unwrap_or((digits, b"0"));
    let decimal = |digits: &[u8]| digits.iter().all(u8::is_ascii_digit).then(|| number(digits)).flatten();
    Some(sign * ((decimal(whole)? + decimal(part)? / 10.24) * factor).trunc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics, starting};

    const DEBUG: &str = "rate:\t\t4.0M/sec\ndirty:\t\t954.7M\ntarget:\t\t36.7G\nproportional:\t-920.7M\n\
        integral:\t-17.1M\nchange:\t\t0.0k/sec\nnext io:\t-7969ms\n";
    const FILES: [(&str, &str); 9] = [
        ("sys/fs/bcache/dead-beef/tree_depth", "1\n"),
        ("sys/fs/bcache/dead-beef/btree_cache_size", "9.9M\n"),
        ("sys/fs/bcache/dead-beef/internal/btree_nodes", "14\n"),
        ("sys/fs/bcache/dead-beef/bdev0/dirty_data", "1.5k\n"),
        ("sys/fs/bcache/dead-beef/bdev0/writeback_rate_debug", DEBUG),
        ("sys/fs/bcache/dead-beef/bdev0/stats_total/cache_hits", "546\n"),
        ("sys/fs/bcache/dead-beef/cache0/io_errors", "0\n"),
        ("sys/fs/bcache/dead-beef/cache0/priority_stats", "Unused:\t\t99%\nMetadata:\t0%\nQuantiles:\t[0 1]\n"),
        ("sys/fs/bcache/register", ""),
    ];

    fn build(roots: &Roots) -> Bcache {
        Bcache::new(&BcacheConfig { priority_stats: true }, roots)
    }

    #[test]
    fn a_cache_set_with_its_devices() {
        let lines = Runner::new(build(&Tree::new(&FILES).roots())).lines();
        let expected = [
            "node_bcache_btree_cache_size_bytes{uuid=\"dead-beef\"} 10358784",
            "node_bcache_tree_depth{uuid=\"dead-beef\"} 1",
            "node_bcache_btree_nodes{uuid=\"dead-beef\"} 14",
            "node_bcache_dirty_data_bytes{uuid=\"dead-beef\",backing_device=\"bdev0\"} 1524",
            "node_bcache_cache_hits_total{uuid=\"dead-beef\",backing_device=\"bdev0\"} 546",
            "node_bcache_writeback_rate{uuid=\"dead-beef\",backing_device=\"bdev0\"} 4194304",
            "node_bcache_dirty_target_bytes{uuid=\"dead-beef\",backing_device=\"bdev0\"} 39388708864",
            "node_bcache_writeback_rate_proportional_term{uuid=\"dead-beef\",backing_device=\"bdev0\"} -965406720",
            "node_bcache_writeback_rate_integral_term{uuid=\"dead-beef\",backing_device=\"bdev0\"} -17928192",
            "node_bcache_writeback_change{uuid=\"dead-beef\",backing_device=\"bdev0\"} 0",
            "node_bcache_io_errors{uuid=\"dead-beef\",cache_device=\"cache0\"} 0",
            "node_bcache_priority_stats_unused_percent{uuid=\"dead-beef\",cache_device=\"cache0\"} 99",
            "node_bcache_priority_stats_metadata_percent{uuid=\"dead-beef\",cache_device=\"cache0\"} 0",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn priority_stats_only_when_asked_for() {
        let tree = Tree::new(&FILES);
        let lines = Runner::new(Bcache::new(&BcacheConfig::default(), &tree.roots())).lines();
        assert!(starting(&lines, "node_bcache_priority").is_empty() && !lines.is_empty());
    }

    #[test]
    fn a_host_without_caches_and_a_file_with_rubbish() {
        let tree = Tree::new::<&str>(&[]);
        assert!(Runner::new(build(&tree.roots())).lines().is_empty());
        let tree = Tree::new(&FILES);
        tree.write("sys/fs/bcache/dead-beef/tree_depth", "deep\n");
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(lines.len(), 12);
        assert!(error.ends_with("dead-beef/tree_depth: \"deep\" is no number"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        let paths = ["sys/fs/bcache", "sys/devices/pci0000:00/0000:00:0d.0"];
        conforms(&paths, |name| name.starts_with("node_bcache_"), build);
    }
}
