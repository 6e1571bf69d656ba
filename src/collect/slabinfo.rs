//! `slabinfo`: the kernel's own objects by slab, from `/proc/slabinfo`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_slabinfo_active_objects`, `node_slabinfo_objects` | gauge | `slab` |
//! | `node_slabinfo_object_size_bytes` | gauge | `slab` |
//! | `node_slabinfo_objects_per_slab`, `node_slabinfo_pages_per_slab` | gauge | `slab` |
//!
//! The file is for root only. The kernel locks each slab's lists to count it, so it is not read at every tick.
//!
//! Configuration: `slabs_include`, `slabs_exclude`.

use super::memo::Memo;
use super::search::{Search, passes};
use super::{CollectError, Collector, KernelFile, Roots, fields, lines, number};
use crate::model::Writer;

crate::section! {
    /// `collectors.slabinfo`.
    pub struct SlabinfoConfig {
        /// The only slabs exported: a few, where a leak is suspected (`^dentry|inode_cache`).
        pub slabs_include: Option<Search> = None,
        /// Slabs left out, of those that `slabs_include` matches.
        pub slabs_exclude: Option<Search> = None,
    }
}

/// Name and help of a line's fields behind the slab's name, in the file's order (version 2.1).
const FAMILIES: [(&str, &str); 5] = [
    ("node_slabinfo_active_objects", "The number of objects that are currently active (i.e., in use)."),
    (
        "node_slabinfo_objects",
        "The total number of allocated objects (i.e., objects that are both in use and not in use).",
    ),
    ("node_slabinfo_object_size_bytes", "The size of objects in this slab, in bytes."),
    ("node_slabinfo_objects_per_slab", "The number of objects stored in each slab."),
    ("node_slabinfo_pages_per_slab", "The number of pages allocated for each slab."),
];

/// The `slabinfo` collector.
pub struct Slabinfo {
    file: KernelFile,
    config: SlabinfoConfig,
    /// By name; `None` for a slab that is left out.
    slabs: Memo<Option<[Option<f64>; FAMILIES.len()]>>,
}

impl Slabinfo {
    pub fn new(config: &SlabinfoConfig, roots: &Roots) -> Slabinfo {
        Slabinfo { file: KernelFile::new(roots.proc("slabinfo")), config: config.clone(), slabs: Memo::new() }
    }
}

impl Collector for Slabinfo {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let SlabinfoConfig { slabs_include, slabs_exclude } = &self.config;
        let mut fault = None;
        self.slabs.begin();
        for (i, line) in lines(self.file.read()?).enumerate() {
            if line.starts_with(b"slabinfo - ") || line.starts_with(b"#") {
                continue;
            }
            let mut found = fields(line);
            let Some(name) = found.next() else { continue };
            let make = || passes(slabs_include.as_ref(), slabs_exclude.as_ref(), name).then(Default::default);
            let Some(Some(values)) = self.slabs.next(name, make) else { continue };
            for value in values {
                *value = found.next().and_then(number);
                if value.is_none() {
                    fault.get_or_insert_with(|| (i + 1, String::from_utf8_lossy(name).into_owned()));
                }
            }
        }
        self.slabs.end();
        for (i, (name, help)) in FAMILIES.iter().enumerate() {
            let mut family = out.gauge(name, help, ["slab"]);
            for (slab, values) in self.slabs.iter() {
                if let Some(value) = values.as_ref().and_then(|values| *values.get(i)?) {
                    family.put([slab], value);
                }
            }
        }
        match fault {
            None => Ok(()),
            Some((line, slab)) => Err(CollectError::parse(self.file.path(), line, format!("{slab}: not five numbers"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const GOOD: &str = "slabinfo - version: 2.1\n\
        # name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit>\n\
        tw_sock_TCP          704    864    256   32    2 : tunables    0    0    0 : slabdata     27     27      0\n\
        kmalloc-8192         132    148   8192    4    8 : tunables    0    0    0 : slabdata     37     37      0\n";

    fn lines(config: SlabinfoConfig) -> Vec<String> {
        let tree = Tree::new(&[("proc/slabinfo", GOOD)]);
        Runner::new(Slabinfo::new(&config, &tree.roots())).lines()
    }

    fn build(roots: &Roots) -> Slabinfo {
        Slabinfo::new(&SlabinfoConfig::default(), roots)
    }

    #[test]
    fn objects_by_slab() {
        let expected = [
            "node_slabinfo_active_objects{slab=\"tw_sock_TCP\"} 704",
            "node_slabinfo_active_objects{slab=\"kmalloc-8192\"} 132",
            "node_slabinfo_objects{slab=\"tw_sock_TCP\"} 864",
            "node_slabinfo_objects{slab=\"kmalloc-8192\"} 148",
            "node_slabinfo_object_size_bytes{slab=\"tw_sock_TCP\"} 256",
            "node_slabinfo_object_size_bytes{slab=\"kmalloc-8192\"} 8192",
            "node_slabinfo_objects_per_slab{slab=\"tw_sock_TCP\"} 32",
            "node_slabinfo_objects_per_slab{slab=\"kmalloc-8192\"} 4",
            "node_slabinfo_pages_per_slab{slab=\"tw_sock_TCP\"} 2",
            "node_slabinfo_pages_per_slab{slab=\"kmalloc-8192\"} 8",
        ];
        assert_eq!(lines(SlabinfoConfig::default()), expected);
    }

    #[test]
    fn both_patterns_count() {
        let (include, exclude) = (Some(Search::fixed("TCP|kmalloc")), Some(Search::fixed("^kmalloc")));
        assert_eq!(lines(SlabinfoConfig { slabs_include: include.clone(), slabs_exclude: None }).len(), 10);
        let both = lines(SlabinfoConfig { slabs_include: include, slabs_exclude: exclude });
        assert!(both.len() == 5 && both[0].contains("tw_sock_TCP"), "{both:?}");
    }

    #[test]
    fn a_bad_line_is_named_and_the_rest_is_served() {
        let tree = Tree::new(&[("proc/slabinfo", "a 1 2 x 4 5\nb 1 2 3 4 5\n")]);
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(lines.len(), 9);
        assert!(error.ends_with("slabinfo:1: a: not five numbers"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&[("proc/slabinfo", GOOD)], build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/slabinfo"], |name| name.starts_with("node_slabinfo_"), build);
    }
}
