//! `zoneinfo`: memory by node and zone, from `/proc/zoneinfo`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_zoneinfo_{min,low,high,spanned,present,managed,scanned}_pages` | gauge | `node`, `zone` |
//! | `node_zoneinfo_nr_NAME_pages`, `node_zoneinfo_nr_kernel_stacks` | gauge | `node`, `zone` |
//! | `node_zoneinfo_nr_{dirtied,written}_total` | counter | `node`, `zone` |
//! | `node_zoneinfo_numa_{hit,miss,foreign,interleave,local,other}_total` | counter | `node`, `zone` |
//! | `node_zoneinfo_protection_N` | gauge, pages | `node`, `zone` |
//!
//! What the kernel counts for a whole node stands with the node's first zone. The kernel locks each zone while it writes
//! the zone's CPUs, so the file is not read at every tick.
//!
//! Configuration: none.

use super::{CollectError, Collector, KernelFile, Roots, fields, lines, number};
use crate::model::MetricType::{self, Counter, Gauge};
use crate::model::Writer;

crate::section! {
    /// `collectors.zoneinfo`.
    pub struct ZoneinfoConfig {}
}

/// A line's first word, type, name, help. Those that this kernel does not have are absent.
const FAMILIES: [(&str, MetricType, &str, &str); 34] = [
    ("nr_free_pages", Gauge, "node_zoneinfo_nr_free_pages", "Total number of free pages in the zone"),
    ("min", Gauge, "node_zoneinfo_min_pages", "Zone watermark pages_min"),
    ("low", Gauge, "node_zoneinfo_low_pages", "Zone watermark pages_low"),
    ("high", Gauge, "node_zoneinfo_high_pages", "Zone watermark pages_high"),
    ("scanned", Gauge, "node_zoneinfo_scanned_pages", "Pages scanned since last reclaim"),
    ("spanned", Gauge, "node_zoneinfo_spanned_pages", "Total pages spanned by the zone, including holes"),
    ("present", Gauge, "node_zoneinfo_present_pages", "Physical pages existing within the zone"),
    ("managed", Gauge, "node_zoneinfo_managed_pages", "Present pages managed by the buddy system"),
    ("nr_active_anon", Gauge, "node_zoneinfo_nr_active_anon_pages", "Number of anonymous pages recently more used"),
    ("nr_inactive_anon", Gauge, "node_zoneinfo_nr_inactive_anon_pages", "Number of anonymous pages recently less used"),
    ("nr_isolated_anon", Gauge, "node_zoneinfo_nr_isolated_anon_pages", "Temporary isolated pages from anon lru"),
    ("nr_anon_pages", Gauge, "node_zoneinfo_nr_anon_pages", "Number of anonymous pages currently used by the system"),
    (
        "nr_anon_transparent_hugepages",
        Gauge,
        "node_zoneinfo_nr_anon_transparent_hugepages",
        "Number of anonymous transparent huge pages currently used by the system",
    ),
    ("nr_active_file", Gauge, "node_zoneinfo_nr_active_file_pages", "Number of active pages with file-backing"),
    ("nr_inactive_file", Gauge, "node_zoneinfo_nr_inactive_file_pages", "Number of inactive pages with file-backing"),
    ("nr_isolated_file", Gauge, "node_zoneinfo_nr_isolated_file_pages", "Temporary isolated pages from file lru"),
    ("nr_file_pages", Gauge, "node_zoneinfo_nr_file_pages", "Number of file pages"),
    ("nr_slab_reclaimable", Gauge, "node_zoneinfo_nr_slab_reclaimable_pages", "Number of reclaimable slab pages"),
    ("nr_slab_unreclaimable", Gauge, "node_zoneinfo_nr_slab_unreclaimable_pages", "Number of unreclaimable slab pages"),
    ("nr_mlock_stack", Gauge, "node_zoneinfo_nr_mlock_stack_pages", "mlock()ed pages found and moved off LRU"),
    ("nr_kernel_stack", Gauge, "node_zoneinfo_nr_kernel_stacks", "Number of kernel stacks"),
    ("nr_mapped", Gauge, "node_zoneinfo_nr_mapped_pages", "Number of mapped pages"),
    ("nr_dirty", Gauge, "node_zoneinfo_nr_dirty_pages", "Number of dirty pages"),
    ("nr_writeback", Gauge, "node_zoneinfo_nr_writeback_pages", "Number of writeback pages"),
    ("nr_unevictable", Gauge, "node_zoneinfo_nr_unevictable_pages", "Number of unevictable pages"),
    ("nr_shmem", Gauge, "node_zoneinfo_nr_shmem_pages", "Number of shmem pages (included tmpfs/GEM pages)"),
    ("nr_dirtied", Counter, "node_zoneinfo_nr_dirtied_total", "Page dirtyings since bootup"),
    ("nr_written", Counter, "node_zoneinfo_nr_written_total", "Page writings since bootup"),
    ("numa_hit", Counter, "node_zoneinfo_numa_hit_total", "Allocated in intended node"),
    ("numa_miss", Counter, "node_zoneinfo_numa_miss_total", "Allocated in non intended node"),
    ("numa_foreign", Counter, "node_zoneinfo_numa_foreign_total", "Was intended here, hit elsewhere"),
    ("numa_interleave", Counter, "node_zoneinfo_numa_interleave_total", "Interleaver preferred this zone"),
    ("numa_local", Counter, "node_zoneinfo_numa_local_total", "Allocation from local node"),
    ("numa_other", Counter, "node_zoneinfo_numa_other_total", "Allocation from other node"),
];

/// Name and help of the pages of a zone that are kept from what could do with the zone N and those above it.
const PROTECTION: [(&str, &str); 6] = [
    ("node_zoneinfo_protection_0", "Protection array 0. field"),
    ("node_zoneinfo_protection_1", "Protection array 1. field"),
    ("node_zoneinfo_protection_2", "Protection array 2. field"),
    ("node_zoneinfo_protection_3", "Protection array 3. field"),
    ("node_zoneinfo_protection_4", "Protection array 4. field"),
    ("node_zoneinfo_protection_5", "Protection array 5. field"),
];

/// More zones than the 1024 nodes that Linux can have, with their at most six zones.
const MAX_ZONES: usize = 8192;

/// The `zoneinfo` collector.
pub struct Zoneinfo {
    file: KernelFile,
}

/// A zone's lines.
struct Zone<'t> {
    node: &'t [u8],
    name: &'t [u8],
    values: [Option<f64>; FAMILIES.len()],
    protection: [Option<f64>; PROTECTION.len()],
}

impl<'t> Zone<'t> {
    /// From the line that begins one: `Node 0, zone   Normal`.
    fn new(line: &'t [u8]) -> Option<Zone<'t>> {
        let mut found = fields(line);
        let (Some(b"Node"), Some(node), Some(b"zone"), Some(name)) =
            (found.next(), found.next(), found.next(), found.next())
        else {
            return None;
        };
        let node = node.strip_suffix(b",").unwrap_or(node);
        Some(Zone { node, name, values: [None; FAMILIES.len()], protection: [None; PROTECTION.len()] })
    }

    /// Takes a line's number if it is one of those exported; the error is the name of one that is none.
    fn read(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let mut found = fields(line);
        let word = found.next().unwrap_or_default();
        if word == b"protection:" {
            let numbers = line.split(|b| !b.is_ascii_digit()).filter(|n| !n.is_empty());
            for (pages, text) in self.protection.iter_mut().zip(numbers) {
                *pages = number(text);
            }
        } else if let Some(i) = FAMILIES.iter().position(|f| f.0.as_bytes() == word)
            && let Some(value) = self.values.get_mut(i)
        {
            *value = Some(found.next().and_then(number).ok_or(FAMILIES.get(i).map_or("", |f| f.2))?);
        }
        Ok(())
    }
}

impl Zoneinfo {
    pub fn new(_: &ZoneinfoConfig, roots: &Roots) -> Zoneinfo {
        Zoneinfo { file: KernelFile::new(roots.proc("zoneinfo")) }
    }
}

impl Collector for Zoneinfo {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut fault = None;
        let mut zones: Vec<Zone<'_>> = Vec::new();
        let mut in_cpus = false;
        for (i, line) in lines(self.file.read()?).enumerate() {
            if line.starts_with(b"Node") {
                match Zone::new(line) {
                    Some(zone) if zones.len() < MAX_ZONES => zones.push(zone),
                    Some(_) => break,
                    None => {
                        fault.get_or_insert_with(|| (i + 1, "not \"Node N, zone NAME\"".to_string()));
                    }
                }
                in_cpus = false;
            } else if line.trim_ascii() == b"pagesets" {
                // From here on each CPU's own pages, most of the file.
                in_cpus = true;
            } else if !in_cpus
                && let Some(zone) = zones.last_mut()
                && let Err(name) = zone.read(line)
            {
                fault.get_or_insert_with(|| (i + 1, format!("{name}: not a number")));
            }
        }
        for (i, (_, kind, name, help)) in FAMILIES.iter().enumerate() {
            let mut family = out.family(*kind, name, help, ["node", "zone"]);
            for (zone, value) in zones.iter().filter_map(|z| Some((z, (*z.values.get(i)?)?))) {
                family.put([zone.node, zone.name], value);
            }
        }
        for (i, (name, help)) in PROTECTION.iter().enumerate() {
            let mut family = out.gauge(name, help, ["node", "zone"]);
            for (zone, value) in zones.iter().filter_map(|z| Some((z, (*z.protection.get(i)?)?))) {
                family.put([zone.node, zone.name], value);
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
    use crate::collect::testing::{Runner, Tree, conforms, never_panics, starting};

    const GOOD: &str = "Node 0, zone      DMA\n  per-node stats\n      nr_inactive_anon 95612\n      \
        nr_dirtied   1189097\n      nr_kernel_stack 3608\n  pages free     2949\n        boost    0\n        \
        min      8\n        high     14\n        protection: (0, 2039, 31932, 31932, 31932)\n      \
        nr_free_pages 2949\n      numa_hit     1\n  pagesets\n    cpu: 0\n              count: 0\n              \
        high:  7\n  vm stats threshold: 8\n  node_unreclaimable:  0\n  start_pfn:           1\n\
        Node 0, zone   Normal\n  pages free     5\n        min      15809\n";

    fn build(roots: &Roots) -> Zoneinfo {
        Zoneinfo::new(&ZoneinfoConfig::default(), roots)
    }

    #[test]
    fn pages_and_counters_by_node_and_zone() {
        let lines = Runner::new(build(&Tree::new(&[("proc/zoneinfo", GOOD)]).roots())).lines();
        let zone = |name: &str, value: u32| format!("node_zoneinfo_{name}{{node=\"0\",zone=\"DMA\"}} {value}");
        let mut expected = vec![
            zone("nr_free_pages", 2949),
            zone("min_pages", 8),
            "node_zoneinfo_min_pages{node=\"0\",zone=\"Normal\"} 15809".to_string(),
            zone("high_pages", 14),
            zone("nr_inactive_anon_pages", 95612),
            zone("nr_kernel_stacks", 3608),
            zone("nr_dirtied_total", 1189097),
            zone("numa_hit_total", 1),
        ];
        let protection = [0, 2039, 31932, 31932, 31932].into_iter().enumerate();
        expected.extend(protection.map(|(i, pages)| zone(&format!("protection_{i}"), pages)));
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_bad_line_is_named_and_the_rest_is_served() {
        let tree = Tree::new(&[("proc/zoneinfo", GOOD.replace("min      8", "min      x"))]);
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(starting(&lines, "node_zoneinfo_min_pages").len(), 1);
        assert!(error.ends_with("zoneinfo:8: node_zoneinfo_min_pages: not a number"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&[("proc/zoneinfo", GOOD)], build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/zoneinfo"], |name| name.starts_with("node_zoneinfo_"), build);
    }
}
