//! `xfs`: what mounted XFS filesystems do, from `/sys/fs/xfs/DEVICE/stats/stats` (Linux 4.4).
//!
//! | metric | line |
//! | --- | --- |
//! | `node_xfs_extent_allocation_{extents,blocks}_{allocated,freed}_total` | `extent_alloc` |
//! | `node_xfs_allocation_btree_{lookups,compares,records_inserted,records_deleted}_total` | `abt` |
//! | `node_xfs_block_mapping_{reads,writes,unmaps}_total`, `_extent_list_{insertions,deletions,lookups,compares}_total` | `blk_map` |
//! | `node_xfs_block_map_btree_{lookups,compares,records_inserted,records_deleted}_total` | `bmbt` |
//! | `node_xfs_directory_operation_{lookup,create,remove,getdents}_total` | `dir` |
//! | `node_xfs_inode_operation_{attempts,found,recycled,missed,duplicates,reclaims,attribute_changes}_total` | `ig` |
//! | `node_xfs_{write,read}_calls_total` | `rw` |
//! | `node_xfs_vnode_{active,allocate,get,hold,release,reclaim,remove}_total` | `vnodes` |
//!
//! All are counters labelled `device`; the kernel counts in 32 bits, so they start over.
//!
//! Configuration: none.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::gathered::Gathered;
use super::sysfs::{Attributes, names_if_any};
use super::{CollectError, Collector, Roots, fields, lines, number};
use crate::model::Writer;

crate::section! {
    /// `collectors.xfs`.
    pub struct XfsConfig {}
}

/// A line: its first word, and for each number behind it the name after `node_xfs_` and the help.
type Line = (&'static str, &'static [(&'static str, &'static str)]);

/// The lines that are exported, in the file's order.
const LINES: [Line; 8] = [
    (
        "extent_alloc",
        &[
            ("node_xfs_extent_allocation_extents_allocated_total", "Number of extents allocated for a filesystem."),
            ("node_xfs_extent_allocation_blocks_allocated_total", "Number of blocks allocated for a filesystem."),
            ("node_xfs_extent_allocation_extents_freed_total", "Number of extents freed for a filesystem."),
            ("node_xfs_extent_allocation_blocks_freed_total", "Number of blocks freed for a filesystem."),
        ],
    ),
    (
        "abt",
        &[
            ("node_xfs_allocation_btree_lookups_total", "Number of allocation B-tree lookups for a filesystem."),
            ("node_xfs_allocation_btree_compares_total", "Number of allocation B-tree compares for a filesystem."),
            (
                "node_xfs_allocation_btree_records_inserted_total",
                "Number of allocation B-tree records inserted for a filesystem.",
            ),
            (
                "node_xfs_allocation_btree_records_deleted_total",
                "Number of allocation B-tree records deleted for a filesystem.",
            ),
        ],
    ),
    (
        "blk_map",
        &[
            ("node_xfs_block_mapping_reads_total", "Number of block map for read operations for a filesystem."),
            ("node_xfs_block_mapping_writes_total", "Number of block map for write operations for a filesystem."),
            ("node_xfs_block_mapping_unmaps_total", "Number of block unmaps (deletes) for a filesystem."),
            (
                "node_xfs_block_mapping_extent_list_insertions_total",
                "Number of extent list insertions for a filesystem.",
            ),
            ("node_xfs_block_mapping_extent_list_deletions_total", "Number of extent list deletions for a filesystem."),
            ("node_xfs_block_mapping_extent_list_lookups_total", "Number of extent list lookups for a filesystem."),
            ("node_xfs_block_mapping_extent_list_compares_total", "Number of extent list compares for a filesystem."),
        ],
    ),
    (
        "bmbt",
        &[
            ("node_xfs_block_map_btree_lookups_total", "Number of block map B-tree lookups for a filesystem."),
            ("node_xfs_block_map_btree_compares_total", "Number of block map B-tree compares for a filesystem."),
            (
                "node_xfs_block_map_btree_records_inserted_total",
                "Number of block map B-tree records inserted for a filesystem.",
            ),
            (
                "node_xfs_block_map_btree_records_deleted_total",
                "Number of block map B-tree records deleted for a filesystem.",
            ),
        ],
    ),
    (
        "dir",
        &[
            (
                "node_xfs_directory_operation_lookup_total",
                "Number of lookups of file names that the kernel's cache of names did not have.",
            ),
            (
                "node_xfs_directory_operation_create_total",
                "Number of times a new directory entry was created for a filesystem.",
            ),
            (
                "node_xfs_directory_operation_remove_total",
                "Number of times an existing directory entry was removed for a filesystem.",
            ),
            ("node_xfs_directory_operation_getdents_total", "Number of times a directory of a filesystem was listed."),
        ],
    ),
    (
        "ig",
        &[
            (
                "node_xfs_inode_operation_attempts_total",
                "Number of times the OS looked for an XFS inode in the inode cache.",
            ),
            ("node_xfs_inode_operation_found_total", "Number of times an XFS inode was found in the inode cache."),
            (
                "node_xfs_inode_operation_recycled_total",
                "Number of times an XFS inode found in the cache was being recycled, and could not be used.",
            ),
            ("node_xfs_inode_operation_missed_total", "Number of times an XFS inode was not in the inode cache."),
            (
                "node_xfs_inode_operation_duplicates_total",
                "Number of times a missing XFS inode had been added to the cache by another process meanwhile.",
            ),
            (
                "node_xfs_inode_operation_reclaims_total",
                "Number of times an XFS inode was taken out of the cache to free memory.",
            ),
            (
                "node_xfs_inode_operation_attribute_changes_total",
                "Number of times the OS explicitly changed the attributes of an XFS inode.",
            ),
        ],
    ),
    (
        "rw",
        &[
            ("node_xfs_write_calls_total", "Number of write(2) system calls made to files in a filesystem."),
            ("node_xfs_read_calls_total", "Number of read(2) system calls made to files in a filesystem."),
        ],
    ),
    (
        "vnodes",
        &[
            ("node_xfs_vnode_active_total", "Number of vnodes not on free lists for a filesystem."),
            ("node_xfs_vnode_allocate_total", "Number of times vn_alloc called for a filesystem."),
            ("node_xfs_vnode_get_total", "Number of times vn_get called for a filesystem."),
            ("node_xfs_vnode_hold_total", "Number of times vn_hold called for a filesystem."),
            ("node_xfs_vnode_release_total", "Number of times vn_rele called for a filesystem."),
            ("node_xfs_vnode_reclaim_total", "Number of times vn_reclaim called for a filesystem."),
            ("node_xfs_vnode_remove_total", "Number of times vn_remove called for a filesystem."),
        ],
    ),
];

/// The `xfs` collector.
pub struct Xfs {
    path: PathBuf,
    attributes: Attributes,
}

impl Xfs {
    pub fn new(_: &XfsConfig, roots: &Roots) -> Xfs {
        Xfs { path: roots.sys("fs/xfs"), attributes: Attributes::default() }
    }
}

impl Collector for Xfs {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut gathered = Gathered::default();
        // A host without any is well, as it is for node_exporter.
        for device in names_if_any(&self.path)? {
            // Beside the devices there are `stats`, their sum, and `debug`.
            let path = self.path.join(&device).join("stats/stats");
            let Some(Some(text)) = gathered.keep(self.attributes.text(&path)) else { continue };
            for (i, line) in lines(text).enumerate() {
                let mut found = fields(line);
                let word = found.next().unwrap_or(b"");
                let Some((_, families)) = LINES.iter().find(|l| l.0.as_bytes() == word) else { continue };
                for ((name, help), field) in families.iter().zip(found) {
                    let value = number(field).ok_or_else(|| CollectError::parse(&path, i + 1, "not a number"));
                    if let Some(value) = gathered.keep(value) {
                        gathered.counter(name, help, &[("device", device.as_bytes())], value);
                    }
                }
            }
        }
        gathered.write(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const FILES: [(&str, &str); 3] = [
        ("sys/fs/xfs/sda1/stats/stats", "extent_alloc 1 872 0 7\nqm 1 2\nrw 28 3\n"),
        ("sys/fs/xfs/dm-0/stats/stats", "extent_alloc 2 0\n"),
        ("sys/fs/xfs/stats/stats", "extent_alloc 3 872 0 7\n"),
    ];

    fn build(roots: &Roots) -> Xfs {
        Xfs::new(&XfsConfig::default(), roots)
    }

    #[test]
    fn each_filesystem_and_not_their_sum() {
        let expected = [
            "node_xfs_extent_allocation_extents_allocated_total{device=\"dm-0\"} 2",
            "node_xfs_extent_allocation_extents_allocated_total{device=\"sda1\"} 1",
            "node_xfs_extent_allocation_blocks_allocated_total{device=\"dm-0\"} 0",
            "node_xfs_extent_allocation_blocks_allocated_total{device=\"sda1\"} 872",
            "node_xfs_extent_allocation_extents_freed_total{device=\"sda1\"} 0",
            "node_xfs_extent_allocation_blocks_freed_total{device=\"sda1\"} 7",
            "node_xfs_write_calls_total{device=\"sda1\"} 28",
            "node_xfs_read_calls_total{device=\"sda1\"} 3",
        ];
        assert_eq!(Runner::new(build(&Tree::new(&FILES).roots())).lines(), expected);
    }

    #[test]
    fn a_bad_number_is_named_and_the_rest_is_served() {
        let tree = Tree::new(&[("sys/fs/xfs/sda1/stats/stats", "rw x 3\n")]);
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(lines, ["node_xfs_read_calls_total{device=\"sda1\"} 3"]);
        assert!(error.ends_with("stats/stats:1: not a number"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["sys/fs/xfs"], |name| name.starts_with("node_xfs_"), build);
    }
}
