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
}
