//! `meminfo_numa`: memory by NUMA node, from `/sys/devices/system/node/nodeN/{meminfo,numastat}`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_memory_numa_NAME` | gauge, bytes or pages | `node`; of each line of `meminfo`: `MemFree`, `Active_anon` |
//! | `node_memory_numa_NAME_total` | counter | `node`; of each line of `numastat`: `numa_miss`, `other_node` |
//!
//! Configuration: none.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::meminfo::field_name;
use super::sysfs::{Attributes, names};
use super::{CollectError, Collector, Roots, fields, lines, number};
use crate::model::{MetricType, Writer};

crate::section! {
    /// `collectors.meminfo_numa`.
    pub struct MeminfoNumaConfig {}
}

/// More lines than the two files have; what a broken file has beyond is not looked at.
const MAX_FAMILIES: usize = 1024;

/// The `meminfo_numa` collector.
pub struct MeminfoNuma {
    folder: PathBuf,
    attributes: Attributes,
    families: Vec<Family>,
}

/// What a line is exported as.
struct Family {
    kind: MetricType,
    key: Vec<u8>,
    /// Name and help; `None` where no metric can have this name.
    metric: Option<(String, String)>,
}

/// A node's numbers, by family.
struct NumaNode {
    number: Vec<u8>,
    values: Vec<Option<f64>>,
    /// The family that the next line is expected to be of: the files of all nodes have the same lines.
    expected: usize,
}

impl MeminfoNuma {
    pub fn new(_: &MeminfoNumaConfig, roots: &Roots) -> MeminfoNuma {
        let folder = roots.sys("devices/system/node");
        MeminfoNuma { folder, attributes: Attributes::default(), families: Vec::new() }
    }
}

impl Family {
    fn new(kind: MetricType, key: &[u8]) -> Family {
        let suffix = if kind == MetricType::Counter { "_total" } else { "" };
        let metric = field_name(key).map(|name| {
            let field = name + suffix;
            (format!("node_memory_numa_{field}"), format!("Memory information field {field}."))
        });
        Family { kind, key: key.to_vec(), metric }
    }
}

impl NumaNode {
    fn set(&mut self, families: &mut Vec<Family>, kind: MetricType, key: &[u8], value: f64) {
        let is = |family: &Family| family.kind == kind && family.key == key;
        let found = match families.get(self.expected).is_some_and(is) {
            true => Some(self.expected),
            false => families.iter().position(is),
        };
        let at = found.unwrap_or(families.len());
        if at == families.len() {
            if at == MAX_FAMILIES {
                return;
            }
            families.push(Family::new(kind, key));
        }
        self.expected = at + 1;
        if self.values.len() <= at {
            self.values.resize(at + 1, None);
        }
        if let Some(place) = self.values.get_mut(at) {
            *place = Some(value);
        }
    }
}

/// A line of `meminfo`, `Node 0 MemFree: 53030372 kB`: key, and bytes or pages.
fn memory(line: &[u8]) -> Option<(&[u8], f64)> {
    let mut found = fields(line).skip(2);
    let key = found.next()?.strip_suffix(b":")?;
    let value = found.next().and_then(number)?;
    match found.next() {
        None => Some((key, value)),
        Some(b"kB") => Some((key, value * 1024.0)),
        Some(_) => None,
    }
}

/// A line of `numastat`, `numa_hit 193460335812`.
fn statistic(line: &[u8]) -> Option<(&[u8], f64)> {
    let mut found = fields(line);
    Some((found.next()?, found.next().and_then(number)?))
}

/// The lines of a file: its name, what they are, and how they are read.
type Lines = (&'static str, MetricType, fn(&[u8]) -> Option<(&[u8], f64)>);
const FILES: [Lines; 2] = [("meminfo", MetricType::Gauge, memory), ("numastat", MetricType::Counter, statistic)];

impl Collector for MeminfoNuma {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut result = Ok(());
        let mut nodes = Vec::new();
        for name in names(&self.folder)? {
            let Some(number) = name.as_bytes().strip_prefix(b"node") else { continue };
            if number.is_empty() || !number.iter().all(u8::is_ascii_digit) {
                continue;
            }
            let mut node = NumaNode { number: number.to_vec(), values: Vec::new(), expected: 0 };
            for (file, kind, parse) in FILES {
                let path = self.folder.join(&name).join(file);
                let text = match self.attributes.text(&path) {
                    Ok(text) => text.unwrap_or_default(),
                    Err(error) => {
                        result = result.and(Err(error));
                        continue;
                    }
                };
                for (i, line) in lines(text).enumerate() {
                    match parse(line) {
                        Some((key, value)) => node.set(&mut self.families, kind, key, value),
                        None => {
                            let what = "not a name and a number";
                            result = result.and_then(|()| Err(CollectError::parse(&path, i + 1, what)));
                        }
                    }
                }
            }
            nodes.push(node);
        }
        for (i, family) in self.families.iter().enumerate() {
            let Some((name, help)) = &family.metric else { continue };
            let mut samples = out.family(family.kind, name, help, ["node"]);
            for (node, value) in nodes.iter().filter_map(|n| Some((n, (*n.values.get(i)?)?))) {
                samples.put([&node.number], value);
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const GOOD: [(&str, &str); 4] = [
        ("sys/devices/system/node/node0/meminfo", "Node 0 MemFree: 2 kB\nNode 0 Active(anon): 1 kB\n"),
        ("sys/devices/system/node/node0/numastat", "numa_hit 193460335812\nother_node 7\n"),
        ("sys/devices/system/node/node10/meminfo", "Node 10 MemFree: 3 kB\nNode 10 HugePages_Free:     4\n"),
        ("sys/devices/system/node/node10/numastat", "numa_hit 5\n"),
    ];

    fn build(roots: &Roots) -> MeminfoNuma {
        MeminfoNuma::new(&MeminfoNumaConfig::default(), roots)
    }

    #[test]
    fn bytes_pages_and_counters_by_node() {
        let tree = Tree::new(&GOOD);
        tree.write("sys/devices/system/node/has_cpu", "0,10\n");
        let mut run = Runner::new(build(&tree.roots()));
        let expected = [
            "node_memory_numa_MemFree{node=\"0\"} 2048",
            "node_memory_numa_MemFree{node=\"10\"} 3072",
            "node_memory_numa_Active_anon{node=\"0\"} 1024",
            "node_memory_numa_numa_hit_total{node=\"0\"} 193460335812",
            "node_memory_numa_numa_hit_total{node=\"10\"} 5",
            "node_memory_numa_other_node_total{node=\"0\"} 7",
            "node_memory_numa_HugePages_Free{node=\"10\"} 4",
        ];
        assert_eq!(run.lines(), expected);
        assert_eq!(run.lines(), expected);
        std::fs::remove_dir_all(tree.path("sys/devices/system/node/node0")).unwrap();
        assert_eq!(run.lines().len(), 3, "a node that is taken out");
    }

    #[test]
    fn a_bad_line_is_named_and_the_rest_is_served() {
        let tree = Tree::new(&GOOD);
        tree.write("sys/devices/system/node/node0/meminfo", "Node 0 MemFree: x kB\nNode 0 Dirty: 1 kB\n");
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(lines.len(), 6);
        assert!(error.ends_with("node0/meminfo:1: not a name and a number"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&GOOD, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["sys/devices/system/node"], |name| name.starts_with("node_memory_numa_"), build);
    }
}
