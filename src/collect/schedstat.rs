//! `schedstat`: the scheduler's account of each CPU, from `/proc/schedstat`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_schedstat_running_seconds_total` | counter | `cpu` |
//! | `node_schedstat_waiting_seconds_total` | counter | `cpu` |
//! | `node_schedstat_timeslices_total` | counter | `cpu` |
//!
//! Not there in a kernel without `CONFIG_SCHEDSTATS`; all 0 where `kernel.sched_schedstats` is off.
//!
//! Configuration: none.

use super::memo::Memo;
use super::{CollectError, Collector, KernelFile, Roots, fields, lines, number};
use crate::model::Writer;

crate::section! {
    /// `collectors.schedstat`.
    pub struct SchedstatConfig {}
}

/// The three fields that are exported begin behind this many; the file has them so since version 14 (Linux 2.6.23).
const BEFORE: usize = 6;

const NANOSECONDS: f64 = 1e9;

/// Name, help and unit of these fields.
const FAMILIES: [(&str, &str, f64); 3] = [
    ("node_schedstat_running_seconds_total", "Number of seconds CPU spent running a process.", NANOSECONDS),
    (
        "node_schedstat_waiting_seconds_total",
        "Number of seconds spent by processing waiting for this CPU.",
        NANOSECONDS,
    ),
    ("node_schedstat_timeslices_total", "Number of timeslices executed by CPU.", 1.0),
];

/// The `schedstat` collector.
pub struct Schedstat {
    file: KernelFile,
    cpus: Memo<[f64; FAMILIES.len()]>,
}

impl Schedstat {
    pub fn new(_: &SchedstatConfig, roots: &Roots) -> Schedstat {
        Schedstat { file: KernelFile::new(roots.proc("schedstat")), cpus: Memo::new() }
    }
}

impl Collector for Schedstat {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut fault = None;
        self.cpus.begin();
        for (i, line) in lines(self.file.read()?).enumerate() {
            // Below each CPU stand its scheduling domains, most of the file.
            let Some(line) = line.strip_prefix(b"cpu") else { continue };
            let mut found = fields(line);
            let cpu = found.next().unwrap_or_default();
            let mut numbers = found.skip(BEFORE).map(number);
            let (Some(Some(running)), Some(Some(waiting)), Some(Some(slices))) =
                (numbers.next(), numbers.next(), numbers.next())
            else {
                fault.get_or_insert(i + 1);
                continue;
            };
            if let Some(cpu) = self.cpus.next(cpu, Default::default) {
                *cpu = [running, waiting, slices];
            }
        }
        self.cpus.end();
        for (i, (name, help, unit)) in FAMILIES.iter().enumerate() {
            let mut family = out.counter(name, help, ["cpu"]);
            for (cpu, value) in self.cpus.iter().filter_map(|(cpu, values)| Some((cpu, values.get(i)?))) {
                family.put([cpu], value / unit);
            }
        }
        match fault {
            None => Ok(()),
            Some(line) => Err(CollectError::parse(self.file.path(), line, "a CPU without its nine numbers")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const GOOD: &str = "version 15\ntimestamp 15819019232\n\
        cpu0 498494191 0 3533438552 2553969831 3853684107 2465731542 2045936778163039 343796328169361 4767485306\n\
        domain0 00000000,00000003 212499247 210112015 1861015 1860405436 536440 369895\n\
        cpu1 0 0 0 0 0 0 1500000000 250000000 7\n";

    fn build(roots: &Roots) -> Schedstat {
        Schedstat::new(&SchedstatConfig::default(), roots)
    }

    #[test]
    fn seconds_run_and_waited_by_cpu() {
        let tree = Tree::new(&[("proc/schedstat", GOOD)]);
        let expected = [
            "node_schedstat_running_seconds_total{cpu=\"0\"} 2045936.778163039",
            "node_schedstat_running_seconds_total{cpu=\"1\"} 1.5",
            "node_schedstat_waiting_seconds_total{cpu=\"0\"} 343796.328169361",
            "node_schedstat_waiting_seconds_total{cpu=\"1\"} 0.25",
            "node_schedstat_timeslices_total{cpu=\"0\"} 4767485306",
            "node_schedstat_timeslices_total{cpu=\"1\"} 7",
        ];
        assert_eq!(Runner::new(build(&tree.roots())).lines(), expected);
    }

    #[test]
    fn a_bad_line_is_named_and_the_other_cpus_are_served() {
        let tree = Tree::new(&[("proc/schedstat", "cpu0 1 2 3\ncpu1 0 0 0 0 0 0 1 2 3\n")]);
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(lines.len(), 3);
        assert!(error.ends_with("schedstat:1: a CPU without its nine numbers"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&[("proc/schedstat", GOOD)], build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/schedstat"], |name| name.starts_with("node_schedstat_"), build);
    }
}
