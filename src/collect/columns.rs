//! Tables with a column for each CPU: `/proc/interrupts`, `/proc/softirqs`.

use super::{fields, number, trim};

/// More CPUs than Linux can have; columns beyond are not looked at.
const MAX_CPUS: usize = 65_536;

/// The columns of such a table, and the numbers of one of its rows.
#[derive(Debug, Default)]
pub(super) struct CpuColumns {
    header: Vec<u8>,
    cpus: Vec<Box<[u8]>>,
    row: Vec<f64>,
}

/// What a row of the table has.
#[derive(Debug, PartialEq)]
pub(super) enum Row<'t> {
    /// A number for each CPU, and the text behind them.
    Full(&'t [u8]),
    /// Fewer numbers: a row that is not about CPUs.
    Short,
    /// Something else in a number's place.
    Bad,
}

impl CpuColumns {
    /// Reads the table's first line, `CPU0 CPU2 ...`; costs one comparison as long as it stays.
    pub fn set_header(&mut self, header: &[u8]) {
        if self.header != header {
            self.header = header.to_vec();
            self.cpus = fields(header).filter_map(|f| f.strip_prefix(b"CPU")).take(MAX_CPUS).map(Into::into).collect();
        }
    }

    /// Reads what stands behind a row's name; the numbers are [`values`](CpuColumns::values) until the next row.
    pub fn read<'t>(&mut self, row: &'t [u8]) -> Row<'t> {
        self.row.clear();
        let mut rest = row;
        for _ in &self.cpus {
            rest = rest.trim_ascii_start();
            let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
            let (cell, behind) = rest.split_at(end);
            match number(cell) {
                Some(value) => self.row.push(value),
                None if cell.is_empty() => return Row::Short,
                None => return Row::Bad,
            }
            rest = behind;
        }
        Row::Full(trim(rest))
    }

    /// CPUs and their numbers in the row that was read last.
    pub fn values(&self) -> impl Iterator<Item = (&[u8], f64)> {
        self.cpus.iter().map(|cpu| &**cpu).zip(self.row.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::interrupts::{Interrupts, InterruptsConfig};
    use crate::collect::softirqs::{Softirqs, SoftirqsConfig};
    use crate::collect::testing::{Runner, Tree};
    use crate::model::Section;

    #[test]
    fn numbers_by_cpu_and_the_text_behind_them() {
        let mut columns = CpuColumns::default();
        columns.set_header(b"           CPU0       CPU2       ");
        assert_eq!(columns.read(b"         18          0  IR-IO-APIC    2-edge      timer"), {
            Row::Full(b"IR-IO-APIC    2-edge      timer")
        });
        assert_eq!(columns.values().collect::<Vec<_>>(), [(&b"0"[..], 18.0), (b"2", 0.0)]);
        assert_eq!(columns.read(b" 3 4 "), Row::Full(b""));
        assert_eq!(columns.read(b"          0"), Row::Short);
        assert_eq!(columns.read(b" 1 x"), Row::Bad);
        columns.set_header(b"CPU7");
        assert_eq!(columns.read(b"5"), Row::Full(b""));
        assert_eq!(columns.values().collect::<Vec<_>>(), [(&b"7"[..], 5.0)]);
    }
    /// A table of 256 CPUs with a row for each of `names`, all its numbers `value`.
    fn table(names: &[&str], value: u32) -> String {
        let header: String = (0..256).map(|cpu| format!(" CPU{cpu}")).collect();
        let cells = format!(" {value:10}").repeat(256);
        names.iter().fold(header + "\n", |table, name| table + name + ":" + &cells + "   PCI-MSI 3-edge mlx5\n")
    }

    #[test]
    fn wide_tables_keep_their_series_from_run_to_run_and_those_of_the_rows_that_stay() {
        let tree = Tree::new::<&str>(&[]);
        let (roots, interrupts) = (tree.roots(), InterruptsConfig::default());
        let mut interrupts = Runner::new(Interrupts::new(&interrupts, &roots));
        let mut softirqs = Runner::new(Softirqs::new(&SoftirqsConfig::default(), &roots));
        let mut run = |names: &[&str], value| {
            tree.write("proc/interrupts", table(names, value));
            tree.write("proc/softirqs", table(names, value));
            [interrupts.section().0, softirqs.section().0]
        };
        let first = run(&["1", "24", "LOC"], 7);
        let second = run(&["1", "24", "LOC"], 8);
        for (first, second) in first.iter().zip(&second) {
            assert_eq!((first.values.len(), second.values[767]), (768, 8.0));
            assert!(std::sync::Arc::ptr_eq(&first.layout, &second.layout));
        }
        let third = run(&["24", "30", "LOC"], 9);
        for (second, third) in second.iter().zip(&third) {
            let ids = |section: &Section, rows: std::ops::Range<usize>| -> Vec<_> {
                let series = &section.layout.series()[rows.start * 256..rows.end * 256];
                series.iter().flatten().map(|series| series.id).collect()
            };
            assert_eq!(ids(second, 1..2), ids(third, 0..1));
            assert_eq!(ids(second, 2..3), ids(third, 2..3));
            assert_eq!(ids(third, 1..2).len(), 256);
        }
    }
}
