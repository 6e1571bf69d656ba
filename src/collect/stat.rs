//! `stat`: what the kernel counts since boot, from `/proc/stat`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_intr_total`, `node_context_switches_total`, `node_forks_total` | counter | |
//! | `node_boot_time_seconds`, `node_procs_running`, `node_procs_blocked` | gauge | |
//! | `node_softirqs_total` (with `softirq`) | counter | `vector` |
//!
//! Configuration: `softirq`.

use super::{CollectError, Collector, KernelFile, Roots, fields, lines, number};
use crate::model::{MetricType, Writer};

crate::section! {
    /// `collectors.stat`.
    pub struct StatConfig {
        /// Whether soft interrupts are exported, a series for each of their ten kinds.
        pub softirq: bool = false,
    }
}

/// Word at the line's start, type, name, help.
const FAMILIES: [(&str, MetricType, &str, &str); 6] = [
    ("intr", MetricType::Counter, "node_intr_total", "Total number of interrupts serviced."),
    ("ctxt", MetricType::Counter, "node_context_switches_total", "Total number of context switches."),
    ("processes", MetricType::Counter, "node_forks_total", "Total number of forks."),
    ("btime", MetricType::Gauge, "node_boot_time_seconds", "Node boot time, in unixtime."),
    ("procs_running", MetricType::Gauge, "node_procs_running", "Number of processes in runnable state."),
    (
        "procs_blocked",
        MetricType::Gauge,
        "node_procs_blocked",
        "Number of processes blocked waiting for I/O to complete.",
    ),
];

/// The kinds of soft interrupts in the order of the line, after their sum.
const SOFTIRQS: [&str; 10] =
    ["hi", "timer", "net_tx", "net_rx", "block", "block_iopoll", "tasklet", "sched", "hrtimer", "rcu"];

/// The `stat` collector.
pub struct Stat {
    file: KernelFile,
    softirq: bool,
}

impl Stat {
    pub fn new(config: &StatConfig, roots: &Roots) -> Stat {
        Stat { file: KernelFile::new(roots.proc("stat")), softirq: config.softirq }
    }
}

impl Collector for Stat {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut fault = None;
        for (i, line) in lines(self.file.read()?).enumerate() {
            let mut found = fields(line);
            let word = found.next().unwrap_or(b"");
            if let Some((_, kind, name, help)) = FAMILIES.iter().find(|f| f.0.as_bytes() == word) {
                match found.next().and_then(number) {
                    Some(value) => {
                        out.family(*kind, name, help, []).put([], value);
                    }
                    None => {
                        fault.get_or_insert((i + 1, *name));
                    }
                }
            } else if word == b"softirq" && self.softirq {
                let name = "node_softirqs_total";
                let mut family = out.counter(name, "Number of softirq calls.", ["vector"]);
                for (vector, value) in SOFTIRQS.iter().zip(found.skip(1)) {
                    match number(value) {
                        Some(value) => {
                            family.put([vector.as_bytes()], value);
                        }
                        None => {
                            fault.get_or_insert((i + 1, name));
                        }
                    }
                }
            }
        }
        match fault {
            None => Ok(()),
            Some((line, name)) => Err(CollectError::parse(self.file.path(), line, format!("{name}: not a number"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics, starting};

    const GOOD: &str = "cpu  301854 612 111922 8979004 3552 2 3944 0 44 36\nintr 8885917 17 0 0\nctxt 38014093\n\
        btime 1418183276\nprocesses 26442\nprocs_running 2\nprocs_blocked 0\n\
        softirq 5057579 250191 1481983 1647 211099 186066 0 1783454 622196 12499 508444\n";

    fn build(roots: &Roots) -> Stat {
        Stat::new(&StatConfig { softirq: true }, roots)
    }

    #[test]
    fn counters_and_gauges() {
        let tree = Tree::new(&[("proc/stat", GOOD)]);
        let expected = [
            "node_intr_total 8885917",
            "node_context_switches_total 38014093",
            "node_boot_time_seconds 1418183276",
            "node_forks_total 26442",
            "node_procs_running 2",
            "node_procs_blocked 0",
        ];
        assert_eq!(Runner::new(Stat::new(&StatConfig::default(), &tree.roots())).lines(), expected);
        let lines = Runner::new(build(&tree.roots())).lines();
        assert_eq!(starting(&lines, "node_softirqs_total").len(), 10);
        assert!(lines.contains(&"node_softirqs_total{vector=\"rcu\"} 508444".to_string()));
    }

    #[test]
    fn what_is_missing_is_absent_and_what_is_wrong_is_named() {
        let tree = Tree::new(&[("proc/stat", "ctxt x\nprocesses 1\n")]);
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(lines, ["node_forks_total 1"]);
        assert!(error.ends_with("stat:1: node_context_switches_total: not a number"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&[("proc/stat", GOOD)], build);
    }

    #[test]
    fn as_node_exporter() {
        let own = |name: &str| name == "node_softirqs_total" || FAMILIES.iter().any(|f| f.2 == name);
        conforms(&["proc/stat"], own, build);
    }
}
