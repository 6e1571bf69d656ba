//! `softirqs`: soft interrupts by CPU and kind, from `/proc/softirqs`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_softirqs_functions_total` | counter | `cpu`, `type`: `HI`, `TIMER`, `NET_RX`, ... |
//!
//! The host's sums by kind are `node_softirqs_total`, of the collector `stat`.
//!
//! Configuration: none.

use super::columns::{CpuColumns, Row};
use super::{CollectError, Collector, KernelFile, Roots, lines, split_once, trim};
use crate::model::Writer;

crate::section! {
    /// `collectors.softirqs`.
    pub struct SoftirqsConfig {}
}

/// The `softirqs` collector.
pub struct Softirqs {
    file: KernelFile,
    columns: CpuColumns,
}

impl Softirqs {
    pub fn new(_: &SoftirqsConfig, roots: &Roots) -> Softirqs {
        Softirqs { file: KernelFile::new(roots.proc("softirqs")), columns: CpuColumns::default() }
    }
}

impl Collector for Softirqs {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let Softirqs { file, columns } = self;
        let mut rows = lines(file.read()?).enumerate();
        columns.set_header(rows.next().map_or(b"", |(_, header)| header));
        let mut fault = None;
        let mut family = out.counter("node_softirqs_functions_total", "Softirq counts per CPU.", ["cpu", "type"]);
        for (i, row) in rows {
            let Some((kind, row)) = split_once(row, b':') else { continue };
            match columns.read(row) {
                Row::Full(_) => columns.values().for_each(|(cpu, count)| {
                    family.put([cpu, trim(kind)], count);
                }),
                Row::Short | Row::Bad => {
                    fault.get_or_insert_with(|| (i + 1, String::from_utf8_lossy(trim(kind)).into_owned()));
                }
            }
        }
        match fault {
            None => Ok(()),
            Some((line, kind)) => {
                Err(CollectError::parse(self.file.path(), line, format!("{kind}: not a number for each CPU")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const GOOD: &str = "                    CPU0       CPU1       \n          HI:          7          1\n     \
        NET_RX:      43066     104508\n";

    fn build(roots: &Roots) -> Softirqs {
        Softirqs::new(&SoftirqsConfig::default(), roots)
    }

    #[test]
    fn counts_by_cpu_and_kind() {
        let tree = Tree::new(&[("proc/softirqs", GOOD)]);
        let expected = [
            "node_softirqs_functions_total{cpu=\"0\",type=\"HI\"} 7",
            "node_softirqs_functions_total{cpu=\"1\",type=\"HI\"} 1",
            "node_softirqs_functions_total{cpu=\"0\",type=\"NET_RX\"} 43066",
            "node_softirqs_functions_total{cpu=\"1\",type=\"NET_RX\"} 104508",
        ];
        assert_eq!(Runner::new(build(&tree.roots())).lines(), expected);
    }

    #[test]
    fn a_bad_row_is_named_and_the_others_are_served() {
        let tree = Tree::new(&[("proc/softirqs", "CPU0 CPU1\nHI: 1\nRCU: 1 2\n")]);
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(lines.len(), 2);
        assert!(error.ends_with("softirqs:2: HI: not a number for each CPU"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&[("proc/softirqs", GOOD)], build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/softirqs"], |name| name == "node_softirqs_functions_total", build);
    }
}
