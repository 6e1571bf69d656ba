//! `buddyinfo`: free blocks of memory by size, from `/proc/buddyinfo`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_buddyinfo_blocks` | gauge | `node`, `zone`, `size`: the order, 0 for a page, 1 for two, 2 for four, ... |
//!
//! Many small blocks and few large ones: memory is fragmented.
//!
//! Configuration: none.

use super::{CollectError, Collector, KernelFile, Roots, fields, lines, number};
use crate::model::Writer;

crate::section! {
    /// `collectors.buddyinfo`.
    pub struct BuddyinfoConfig {}
}

/// The `buddyinfo` collector.
pub struct Buddyinfo {
    file: KernelFile,
}

impl Buddyinfo {
    pub fn new(_: &BuddyinfoConfig, roots: &Roots) -> Buddyinfo {
        Buddyinfo { file: KernelFile::new(roots.proc("buddyinfo")) }
    }
}

impl Collector for Buddyinfo {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut fault = None;
        let help = "Count of free blocks according to size.";
        let mut family = out.gauge("node_buddyinfo_blocks", help, ["node", "zone", "size"]);
        // Node 0, zone   Normal   4381   1093    185 ...
        for (i, line) in lines(self.file.read()?).enumerate() {
            let mut found = fields(line);
            let (Some(b"Node"), Some(node), Some(b"zone"), Some(zone)) =
                (found.next(), found.next(), found.next(), found.next())
            else {
                fault.get_or_insert((i + 1, "not \"Node N, zone NAME\" and numbers"));
                continue;
            };
            let node = node.strip_suffix(b",").unwrap_or(node);
            for (order, blocks) in found.enumerate() {
                match number(blocks) {
                    Some(blocks) => {
                        family.put([node, zone, itoa::Buffer::new().format(order).as_bytes()], blocks);
                    }
                    None => {
                        fault.get_or_insert((i + 1, "a count is not a number"));
                    }
                }
            }
        }
        match fault {
            None => Ok(()),
            Some((line, what)) => Err(CollectError::parse(self.file.path(), line, what)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const GOOD: &str = "Node 0, zone      DMA      1      0 \nNode 1, zone   Normal   4381   1093 \n";

    fn build(roots: &Roots) -> Buddyinfo {
        Buddyinfo::new(&BuddyinfoConfig::default(), roots)
    }

    #[test]
    fn blocks_by_node_zone_and_order() {
        let tree = Tree::new(&[("proc/buddyinfo", GOOD)]);
        let expected = [
            "node_buddyinfo_blocks{node=\"0\",zone=\"DMA\",size=\"0\"} 1",
            "node_buddyinfo_blocks{node=\"0\",zone=\"DMA\",size=\"1\"} 0",
            "node_buddyinfo_blocks{node=\"1\",zone=\"Normal\",size=\"0\"} 4381",
            "node_buddyinfo_blocks{node=\"1\",zone=\"Normal\",size=\"1\"} 1093",
        ];
        assert_eq!(Runner::new(build(&tree.roots())).lines(), expected);
    }

    #[test]
    fn a_bad_line_is_named_and_the_rest_is_served() {
        let tree = Tree::new(&[("proc/buddyinfo", "Node 0, zone DMA 1 x 3\nNode 1\n")]);
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(lines.len(), 2);
        assert!(error.ends_with("buddyinfo:1: a count is not a number"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&[("proc/buddyinfo", GOOD)], build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/buddyinfo"], |name| name.starts_with("node_buddyinfo_"), build);
    }
}
