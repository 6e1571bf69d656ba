//! `zfs`: OpenZFS, from its kstats in `/proc/spl/kstat/zfs/`.
//!
//! | metric | type | labels | file |
//! | --- | --- | --- | --- |
//! | `node_zfs_{abd,arc,dbuf,dmu_tx,dnode,fm,vdev_cache,vdev_mirror,xuio,zfetch,zil}_NAME` | untyped | | `abdstats`, `arcstats` and so on: see `MODULES` |
//! | `node_zfs_zpool_NAME` | untyped | `zpool` | `POOL/io` (before OpenZFS 2) |
//! | `node_zfs_zpool_dataset_NAME` | untyped | `zpool`, `dataset` | `POOL/objset-*` |
//! | `node_zfs_zpool_state` | gauge | `zpool`, `state` | `POOL/state` |
//!
//! Which names there are is up to the version of OpenZFS; all whole numbers are exported, by the names they have there.
//!
//! Configuration: none.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::gathered::{Gathered, Label, metric_name};
use super::sysfs::{Attributes, names};
use super::{CollectError, Collector, Roots, fields, first_field, lines, number, trim};
use crate::model::MetricType::Untyped;
use crate::model::Writer;

crate::section! {
    /// `collectors.zfs`.
    pub struct ZfsConfig {}
}

/// The kstats of the module as a whole, and what their metrics begin with.
const MODULES: [(&str, &str); 11] = [
    ("abdstats", "node_zfs_abd"),
    ("arcstats", "node_zfs_arc"),
    ("dbufstats", "node_zfs_dbuf"),
    ("dmu_tx", "node_zfs_dmu_tx"),
    ("dnodestats", "node_zfs_dnode"),
    ("fm", "node_zfs_fm"),
    ("vdev_cache_stats", "node_zfs_vdev_cache"),
    ("vdev_mirror_stats", "node_zfs_vdev_mirror"),
    ("xuio_stats", "node_zfs_xuio"),
    ("zfetchstats", "node_zfs_zfetch"),
    ("zil", "node_zfs_zil"),
];

const STATES: [&str; 7] = ["online", "degraded", "faulted", "offline", "removed", "unavail", "suspended"];

/// The `zfs` collector.
pub struct Zfs {
    path: PathBuf,
    attributes: Attributes,
}

impl Zfs {
    pub fn new(_: &ZfsConfig, roots: &Roots) -> Zfs {
        Zfs { path: roots.proc("spl/kstat/zfs"), attributes: Attributes::default() }
    }

    fn module(&mut self, file: &str, prefix: &str, out: &mut Gathered) {
        let path = self.path.join(file);
        let Some(Some(text)) = out.keep(self.attributes.text(&path)) else { return };
        each_named(&path, text, out, |name, value, out| {
            let help = format!("kstat.zfs.misc.{file}.{}", String::from_utf8_lossy(name));
            out.add(Untyped, &format!("{prefix}_{}", metric_name(name)), &help, &[], value);
        });
    }

    fn pool(&mut self, folder: &Path, pool: Label, out: &mut Gathered) {
        let path = folder.join("io");
        if let Some(Some(text)) = out.keep(self.attributes.text(&path)) {
            io(&path, text, pool, out);
        }
        // What is no folder is no pool.
        for member in names(folder).unwrap_or_default() {
            if member.as_bytes().starts_with(b"objset-") {
                let path = folder.join(&member);
                // It goes when the dataset is unmounted.
                let Some(Some(text)) = out.keep(self.attributes.text(&path)) else { continue };
                let dataset = ("dataset", dataset_name(text));
                each_named(&path, text, out, |name, value, out| {
                    let metric = format!("node_zfs_zpool_dataset_{}", metric_name(name));
                    let help = format!("kstat.zfs.misc.objset.{}", String::from_utf8_lossy(name));
                    out.add(Untyped, &metric, &help, &[pool, dataset], value);
                });
            }
        }
        if let Some(Some(text)) = out.keep(self.attributes.text(&folder.join("state"))) {
            for state in STATES {
                let is = f64::from(text.eq_ignore_ascii_case(state.as_bytes()));
                let labels = [pool, ("state", state.as_bytes())];
                out.gauge("node_zfs_zpool_state", "kstat.zfs.misc.state", &labels, is);
            }
        }
    }
}

impl Collector for Zfs {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut gathered = Gathered::default();
        for name in names(&self.path)? {
            match MODULES.iter().find(|m| m.0.as_bytes() == name.as_bytes()) {
                Some((file, prefix)) => self.module(file, prefix, &mut gathered),
                None => self.pool(&self.path.join(&name), ("zpool", name.as_bytes()), &mut gathered),
            }
        }
        gathered.write(out)
    }
}

/// Reads a kstat of named values: a line about it, a line of titles, then `name type data`, of which the whole numbers
/// of 64 bits, with a sign and without, are of use.
fn each_named(path: &Path, text: &[u8], out: &mut Gathered, mut row: impl FnMut(&[u8], f64, &mut Gathered)) {
    for (i, line) in lines(text).enumerate().skip(2) {
        let mut found = fields(line);
        let (Some(name), Some(b"3" | b"4"), Some(value)) = (found.next(), found.next(), found.next()) else { continue };
        let not_a_number =
            || CollectError::parse(path, i + 1, format!("{}: not a number", String::from_utf8_lossy(name)));
        if let Some(value) = out.keep(number(value).ok_or_else(not_a_number)) {
            row(name, value, out);
        }
    }
}

/// The dataset of an objset kstat: the rest of its line, for a name may have spaces.
fn dataset_name(text: &[u8]) -> &[u8] {
    let named = lines(text).find_map(|line| line.strip_prefix(b"dataset_name"));
    named.and_then(|rest| trim(rest).strip_prefix(b"7")).map_or(b"", trim)
}

/// Reads a kstat of I/O: a line of names that begins with `nread`, and one of numbers below it.
fn io(path: &Path, text: &[u8], pool: Label, out: &mut Gathered) {
    let mut rows = lines(text).enumerate().skip_while(|(_, line)| first_field(line) != b"nread");
    let (Some((_, titles)), Some((i, values))) = (rows.next(), rows.next()) else { return };
    for (name, value) in fields(titles).zip(fields(values)) {
        let not_a_number =
            || CollectError::parse(path, i + 1, format!("{}: not a number", String::from_utf8_lossy(name)));
        if let Some(value) = out.keep(number(value).ok_or_else(not_a_number)) {
            let help = format!("kstat.zfs.misc.io.{}", String::from_utf8_lossy(name));
            out.add(Untyped, &format!("node_zfs_zpool_{}", metric_name(name)), &help, &[pool], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics, starting};

    const ARC: &str = "6 1 0x01 91 4368 5266997922 97951858082072\nname                            type data\n\
        hits                            4    8772612\nmemory_available_bytes          3    -92\n\
        what-it-is                      7    text\n";
    const OBJSET: &str = "24 1 0x01 7 2160 221611904716 7145015038451\nname                            type data\n\
        dataset_name                    7    tank/a set with  space\nnread                           4    28\n";
    const IO: &str = "12 3 0x00 1 80 79205351707403 395818011156865\nnread    nwritten reads\n1884160  3206144  22\n";
    const FILES: [(&str, &str); 5] = [
        ("proc/spl/kstat/zfs/arcstats", ARC),
        ("proc/spl/kstat/zfs/dbgmsg", "not\nof\nuse 4 1\n"),
        ("proc/spl/kstat/zfs/tank/io", IO),
        ("proc/spl/kstat/zfs/tank/objset-0x36", OBJSET),
        ("proc/spl/kstat/zfs/tank/state", "DEGRADED\n"),
    ];

    fn build(roots: &Roots) -> Zfs {
        Zfs::new(&ZfsConfig::default(), roots)
    }

    #[test]
    fn the_module_and_a_pool() {
        let lines = Runner::new(build(&Tree::new(&FILES).roots())).lines();
        let expected = [
            "node_zfs_arc_hits 8772612",
            "node_zfs_arc_memory_available_bytes -92",
            "node_zfs_zpool_nread{zpool=\"tank\"} 1884160",
            "node_zfs_zpool_nwritten{zpool=\"tank\"} 3206144",
            "node_zfs_zpool_reads{zpool=\"tank\"} 22",
            "node_zfs_zpool_dataset_nread{zpool=\"tank\",dataset=\"tank/a set with  space\"} 28",
        ];
        assert_eq!(lines[..6], expected);
        let states = starting(&lines, "node_zfs_zpool_state");
        assert_eq!(states.len(), 7);
        let holds: Vec<_> = states.iter().filter(|l| l.ends_with(" 1")).collect();
        assert_eq!(holds, [&"node_zfs_zpool_state{zpool=\"tank\",state=\"degraded\"} 1"]);
    }

    #[test]
    fn no_module_and_a_bad_number() {
        let tree = Tree::new::<&str>(&[]);
        assert!(Runner::new(build(&tree.roots())).failure().1.starts_with("no data:"));
        let tree = Tree::new(&FILES);
        tree.write("proc/spl/kstat/zfs/arcstats", ARC.replace("8772612", "many"));
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(lines.len(), 12);
        assert!(error.ends_with("arcstats:3: hits: not a number"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/spl"], |name| name.starts_with("node_zfs_"), build);
    }
}
