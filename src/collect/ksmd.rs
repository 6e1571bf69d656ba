//! `ksmd`: kernel samepage merging, from `/sys/kernel/mm/ksm`.
//!
//! | metric | type | unit |
//! | --- | --- | --- |
//! | `node_ksmd_full_scans_total` | counter | |
//! | `node_ksmd_general_profit_bytes` | gauge | bytes; negative where merging costs more than it saves |
//! | `node_ksmd_merge_across_nodes`, `node_ksmd_run` | gauge | as the files have them |
//! | `node_ksmd_pages_{shared,sharing,to_scan,unshared,volatile}` | gauge | pages |
//! | `node_ksmd_sleep_seconds` | gauge | seconds |
//!
//! Not there in a kernel without `CONFIG_KSM`; `general_profit` came with Linux 6.1.
//!
//! Configuration: none.

use std::path::PathBuf;

use super::sysfs::Attributes;
use super::{CollectError, Collector, Roots};
use crate::model::{MetricType, Writer};

crate::section! {
    /// `collectors.ksmd`.
    pub struct KsmdConfig {}
}

/// File, type, name, help, and how many of the file's unit make one of the metric's.
const FAMILIES: [(&str, MetricType, &str, &str, f64); 10] = {
    use MetricType::{Counter, Gauge};
    [
        (
            "full_scans",
            Counter,
            "node_ksmd_full_scans_total",
            "How many times all mergeable areas have been scanned.",
            1.0,
        ),
        (
            "general_profit",
            Gauge,
            "node_ksmd_general_profit_bytes",
            "How much memory KSM saves, less what it needs for itself.",
            1.0,
        ),
        (
            "merge_across_nodes",
            Gauge,
            "node_ksmd_merge_across_nodes",
            "Specifies if pages from different NUMA nodes can be merged.",
            1.0,
        ),
        ("pages_shared", Gauge, "node_ksmd_pages_shared", "How many shared pages are being used.", 1.0),
        (
            "pages_sharing",
            Gauge,
            "node_ksmd_pages_sharing",
            "How many more sites are sharing them i.e. how much saved.",
            1.0,
        ),
        ("pages_to_scan", Gauge, "node_ksmd_pages_to_scan", "How many pages to scan before ksmd goes to sleep.", 1.0),
        (
            "pages_unshared",
            Gauge,
            "node_ksmd_pages_unshared",
            "How many pages unique but repeatedly checked for merging.",
            1.0,
        ),
        (
            "pages_volatile",
            Gauge,
            "node_ksmd_pages_volatile",
            "How many pages changing too fast to be placed in a tree.",
            1.0,
        ),
        ("run", Gauge, "node_ksmd_run", "The status of ksmd: 0 stopped, 1 running, 2 stopped and all unmerged.", 1.0),
        (
            "sleep_millisecs",
            Gauge,
            "node_ksmd_sleep_seconds",
            "How many seconds ksmd should sleep before next scan.",
            1000.0,
        ),
    ]
};

/// The `ksmd` collector.
pub struct Ksmd {
    folder: PathBuf,
    attributes: Attributes,
}

impl Ksmd {
    pub fn new(_: &KsmdConfig, roots: &Roots) -> Ksmd {
        Ksmd { folder: roots.sys("kernel/mm/ksm"), attributes: Attributes::default() }
    }
}

impl Collector for Ksmd {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        if !self.folder.exists() {
            return Err(CollectError::NoData(format!("{}: no such folder", self.folder.display())));
        }
        let mut result = Ok(());
        for (file, kind, name, help, unit) in FAMILIES {
            match self.attributes.number(&self.folder.join(file)) {
                Ok(Some(value)) => {
                    out.family(kind, name, help, []).put([], value / unit);
                }
                Ok(None) => {}
                Err(error) => result = result.and(Err(error)),
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
        ("sys/kernel/mm/ksm/full_scans", "323\n"),
        ("sys/kernel/mm/ksm/general_profit", "-1044480\n"),
        ("sys/kernel/mm/ksm/pages_sharing", "255\n"),
        ("sys/kernel/mm/ksm/sleep_millisecs", "20\n"),
    ];

    fn build(roots: &Roots) -> Ksmd {
        Ksmd::new(&KsmdConfig::default(), roots)
    }

    #[test]
    fn what_this_kernel_has() {
        let tree = Tree::new(&GOOD);
        let expected = [
            "node_ksmd_full_scans_total 323",
            "node_ksmd_general_profit_bytes -1044480",
            "node_ksmd_pages_sharing 255",
            "node_ksmd_sleep_seconds 0.02",
        ];
        assert_eq!(Runner::new(build(&tree.roots())).lines(), expected);
        let without = Tree::new::<&str>(&[]);
        let (lines, error) = Runner::new(build(&without.roots())).failure();
        assert!(lines.is_empty() && error.starts_with("no data:"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&GOOD, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["sys/kernel/mm/ksm"], |name| name.starts_with("node_ksmd_"), build);
    }
}
