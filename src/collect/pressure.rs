//! `pressure`: time lost waiting for resources (PSI), from `/proc/pressure/{cpu,io,memory,irq}`.
//!
//! | metric | type | line |
//! | --- | --- | --- |
//! | `node_pressure_{cpu,io,memory}_waiting_seconds_total` | counter | `some`: at least one task waited |
//! | `node_pressure_{io,memory,irq}_stalled_seconds_total` | counter | `full`: no task could go on |
//!
//! Not there before Linux 4.20, or with `psi=0`. `irq` came with Linux 6.1. The `full` line of `cpu` has no meaning
//! for a whole host, and is left out.
//!
//! Configuration: none.

use super::{CollectError, Collector, KernelFile, Roots, fields, lines, number};
use crate::model::Writer;

crate::section! {
    /// `collectors.pressure`.
    pub struct PressureConfig {}
}

/// File, line, name, help.
const FAMILIES: [(&str, &str, &str, &str); 6] = [
    (
        "cpu",
        "some",
        "node_pressure_cpu_waiting_seconds_total",
        "Total time in seconds that processes have waited for CPU time",
    ),
    (
        "io",
        "some",
        "node_pressure_io_waiting_seconds_total",
        "Total time in seconds that processes have waited due to IO congestion",
    ),
    (
        "io",
        "full",
        "node_pressure_io_stalled_seconds_total",
        "Total time in seconds no process could make progress due to IO congestion",
    ),
    (
        "memory",
        "some",
        "node_pressure_memory_waiting_seconds_total",
        "Total time in seconds that processes have waited for memory",
    ),
    (
        "memory",
        "full",
        "node_pressure_memory_stalled_seconds_total",
        "Total time in seconds no process could make progress due to memory congestion",
    ),
    (
        "irq",
        "full",
        "node_pressure_irq_stalled_seconds_total",
        "Total time in seconds no process could make progress due to IRQ congestion",
    ),
];

/// The `pressure` collector.
pub struct Pressure {
    files: [(&'static str, KernelFile); 4],
}

impl Pressure {
    pub fn new(_: &PressureConfig, roots: &Roots) -> Pressure {
        let files = ["cpu", "io", "memory", "irq"];
        Pressure { files: files.map(|f| (f, KernelFile::new(roots.proc("pressure").join(f)))) }
    }
}

impl Collector for Pressure {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut result = Ok(());
        for (resource, file) in &mut self.files {
            let read = match file.read() {
                Ok(text) => {
                    write(resource, text, out).map_err(|(line, what)| CollectError::parse(file.path(), line, what))
                }
                Err(CollectError::NoData(_)) if *resource == "irq" => Ok(()),
                Err(CollectError::Read { path, error }) if error.raw_os_error() == Some(EOPNOTSUPP) => {
                    Err(CollectError::NoData(format!("{}: off in this kernel (psi=0)", path.display())))
                }
                Err(error) => Err(error),
            };
            result = result.and(read);
        }
        result
    }
}

const EOPNOTSUPP: i32 = rustix::io::Errno::OPNOTSUPP.raw_os_error();

/// Writes the samples of one file; what is wrong with it as line and text.
fn write(resource: &str, text: &[u8], out: &mut Writer) -> Result<(), (usize, String)> {
    for (i, line) in lines(text).enumerate() {
        let mut found = fields(line);
        let kind = found.next().unwrap_or(b"");
        let known = |f: &&(&str, &str, &str, &str)| f.0 == resource && f.1.as_bytes() == kind;
        let Some((_, _, name, help)) = FAMILIES.iter().find(known) else { continue };
        let total = found.find_map(|f| f.strip_prefix(b"total=")).and_then(number);
        let Some(total) = total else { return Err((i + 1, format!("{name}: no total"))) };
        // Microseconds; divided in two steps, as node_exporter does, for the same last digit.
        out.counter(name, help, []).put([], total / 1000.0 / 1000.0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const BOTH: &str = "some avg10=0.18 avg60=0.34 avg300=0.10 total=159886802\n\
        full avg10=0.18 avg60=0.34 avg300=0.10 total=159229614\n";
    const FULL: &str = "full avg10=0.00 avg60=0.00 avg300=0.00 total=8494";
    const GOOD: [(&str, &str); 4] = [
        ("proc/pressure/cpu", BOTH),
        ("proc/pressure/io", BOTH),
        ("proc/pressure/memory", BOTH),
        ("proc/pressure/irq", FULL),
    ];

    fn build(roots: &Roots) -> Pressure {
        Pressure::new(&PressureConfig::default(), roots)
    }

    #[test]
    fn waiting_and_stalled_seconds() {
        let tree = Tree::new(&GOOD);
        let mut run = Runner::new(build(&tree.roots()));
        let expected = [
            "node_pressure_cpu_waiting_seconds_total 159.886802",
            "node_pressure_io_waiting_seconds_total 159.886802",
            "node_pressure_io_stalled_seconds_total 159.229614",
            "node_pressure_memory_waiting_seconds_total 159.886802",
            "node_pressure_memory_stalled_seconds_total 159.229614",
            "node_pressure_irq_stalled_seconds_total 0.008494",
        ];
        assert_eq!(run.lines(), expected);
    }

    #[test]
    fn an_older_kernel_has_no_irq_pressure_and_an_old_one_none() {
        let tree = Tree::new(&GOOD);
        tree.remove("proc/pressure/irq");
        assert_eq!(Runner::new(build(&tree.roots())).lines().len(), 5);
        let empty = Tree::new::<&str>(&[]);
        let (lines, error) = Runner::new(build(&empty.roots())).failure();
        assert!(lines.is_empty() && error.starts_with("no data:"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&GOOD, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/pressure"], |name| name.starts_with("node_pressure_"), build);
    }
}
