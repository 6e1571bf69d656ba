//! `softnet`: what each CPU's packet backlog does, from `/proc/net/softnet_stat`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_softnet_processed_total` | counter | `cpu` |
//! | `node_softnet_dropped_total` | counter | `cpu` |
//! | `node_softnet_times_squeezed_total` | counter | `cpu` |
//! | `node_softnet_cpu_collision_total` | counter | `cpu` |
//! | `node_softnet_received_rps_total` | counter | `cpu` |
//! | `node_softnet_flow_limit_count_total` | counter | `cpu` |
//! | `node_softnet_backlog_len` | gauge, packets | `cpu` |
//!
//! The kernel's counters are 32 bits wide and wrap. No configuration keys.

use super::{CollectError, Collector, KernelFile, Roots, fields, lines};
use crate::model::{MetricType, Writer};

crate::section! {
    /// `collectors.softnet`.
    pub struct SoftnetConfig {}
}

/// Fewer columns than the oldest kernel that is known (2.6.23) has.
const MIN_COLUMNS: usize = 9;
/// With this many columns (Linux 5.10) the line says which CPU it is about; before, the lines count the online CPUs.
const COLUMNS_WITH_CPU: usize = 13;
const CPU_COLUMN: usize = 12;

/// Columns, and what they are exported as. A column that this kernel has not yet is 0, as in node_exporter.
const FAMILIES: [(usize, MetricType, &str, &str); 7] = [
    (0, MetricType::Counter, "node_softnet_processed_total", "Number of processed packets"),
    (1, MetricType::Counter, "node_softnet_dropped_total", "Number of dropped packets"),
    (
        2,
        MetricType::Counter,
        "node_softnet_times_squeezed_total",
        "Number of times processing packets ran out of quota",
    ),
    (
        8,
        MetricType::Counter,
        "node_softnet_cpu_collision_total",
        "Number of collision occur while obtaining device lock while transmitting",
    ),
    (9, MetricType::Counter, "node_softnet_received_rps_total", "Number of times cpu woken up received_rps"),
    (10, MetricType::Counter, "node_softnet_flow_limit_count_total", "Number of times flow limit has been reached"),
    (11, MetricType::Gauge, "node_softnet_backlog_len", "Softnet backlog status"),
];

/// The `softnet` collector.
pub struct Softnet {
    file: KernelFile,
    rows: Vec<[u32; COLUMNS_WITH_CPU]>,
}

impl Softnet {
    pub fn new(_: &SoftnetConfig, roots: &Roots) -> Softnet {
        Softnet { file: KernelFile::new(roots.proc("net/softnet_stat")), rows: Vec::new() }
    }
}

impl Collector for Softnet {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        self.rows.clear();
        let parsed = parse(self.file.read()?, &mut self.rows);
        for (column, kind, name, help) in FAMILIES {
            let mut family = out.family(kind, name, help, ["cpu"]);
            for row in &self.rows {
                let mut cpu = itoa::Buffer::new();
                family.put([cpu.format(row[CPU_COLUMN]).as_bytes()], row[column].into());
            }
        }
        parsed.map_err(|(line, what)| CollectError::parse(self.file.path(), line, what))
    }
}

/// Adds the rows up to the first line that cannot be read, which is the error.
fn parse(text: &[u8], rows: &mut Vec<[u32; COLUMNS_WITH_CPU]>) -> Result<(), (usize, String)> {
    for (i, line) in lines(text).enumerate() {
        let mut row = [0; COLUMNS_WITH_CPU];
        row[CPU_COLUMN] = i as u32;
        let mut columns = 0;
        for (cell, field) in row.iter_mut().zip(fields(line)) {
            columns += 1;
            *cell = std::str::from_utf8(field)
                .ok()
                .and_then(|f| u32::from_str_radix(f, 16).ok())
                .ok_or_else(|| (i + 1, format!("column {columns} is not a hexadecimal number of 32 bits")))?;
        }
        if columns < MIN_COLUMNS {
            return Err((i + 1, format!("{columns} columns, expected at least {MIN_COLUMNS}")));
        }
        rows.push(row);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{conforms, never_panics};

    const LINUX_4: &str = "\
00049279 00000000 00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
000dfb82 00000029 0000000a 00000000 00000000 00000000 00000000 00000000 00000003 00000004 00000005
";
    /// CPU 1 is offline.
    const LINUX_6: &str = "\
00000010 00000001 00000002 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000007 00000000 00000000 00000000
00000020 00000001 00000002 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000008 00000002 00000000 00000000
";

    fn rows(text: &str) -> Vec<[u32; COLUMNS_WITH_CPU]> {
        let mut rows = Vec::new();
        assert_eq!(parse(text.as_bytes(), &mut rows), Ok(()));
        rows
    }

    #[test]
    fn before_linux_5_10_lines_count_the_cpus() {
        let rows = rows(LINUX_4);
        assert_eq!(rows[1], [0xdfb82, 0x29, 0xa, 0, 0, 0, 0, 0, 3, 4, 5, 0, 1]);
        assert_eq!((rows[0][0], rows[0][CPU_COLUMN]), (299641, 0));
    }

    #[test]
    fn since_linux_5_10_the_line_names_its_cpu() {
        assert_eq!(rows(LINUX_6).iter().map(|r| (r[CPU_COLUMN], r[11])).collect::<Vec<_>>(), [(0, 7), (2, 8)]);
    }

    #[test]
    fn a_bad_line_is_named_and_those_before_it_are_kept() {
        for (text, kept, message) in [
            (format!("{LINUX_4}0 1 2\n"), 2, (3, "3 columns, expected at least 9")),
            ("0 1 xyz 3 4 5 6 7 8".to_string(), 0, (1, "column 3 is not a hexadecimal number of 32 bits")),
        ] {
            let mut rows = Vec::new();
            assert_eq!(parse(text.as_bytes(), &mut rows), Err((message.0, message.1.to_string())));
            assert_eq!(rows.len(), kept);
        }
    }

    #[test]
    fn the_capture_of_node_exporter_gives_what_it_gives() {
        conforms(
            &["proc/net/softnet_stat"],
            |name| name.starts_with("node_softnet_"),
            |roots| Softnet::new(&SoftnetConfig::default(), roots),
        );
    }

    #[test]
    fn damaged_files_never_panic() {
        for capture in [LINUX_4, LINUX_6] {
            never_panics(&[("proc/net/softnet_stat", capture)], |roots| Softnet::new(&SoftnetConfig::default(), roots));
        }
    }
}
