//! The proportional memory of processes: /proc/PID/smaps_rollup, where each page counts by how many processes have it.
//!
//! The kernel walks all page tables of a process for it, which takes from 20 us to a second for one of many gigabytes. So
//! processes are read in turn, each once in `processes.smaps_interval`, new ones first, and after a reading that took long
//! there is a pause: all of them together take no more than a thousandth of a CPU.

use std::time::{Duration, Instant};

use super::parse;
use super::procfs::ProcFs;
use super::table::{Files, Process, Table};

/// What a second of readings may take.
const A_SECOND: Duration = Duration::from_millis(1);

/// The turns of reading.
pub(super) struct Smaps {
    interval: Duration,
    /// The pid at which the next pass goes on.
    next: u32,
    /// How long ago, in the time that it may take, what has been read would have been paid for.
    owed: Duration,
    last: Option<Instant>,
    /// Rows that the time since the last pass has made due.
    due: f64,
}

impl Smaps {
    pub fn new(interval: Duration) -> Smaps {
        Smaps { interval, next: 0, owed: Duration::ZERO, last: None, due: 0.0 }
    }

    /// Reads those whose turn it is.
    pub fn run(&mut self, table: &mut Table, procfs: &mut ProcFs, now: Instant) {
        let since = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.last = Some(now);
        self.owed = self.owed.saturating_sub(A_SECOND.mul_f64(since.as_secs_f64().min(3600.0)));
        let rows = table.rows_mut();
        self.due += rows.len() as f64 * since.as_secs_f64() / self.interval.as_secs_f64().max(0.001);
        self.due = self.due.min(rows.len() as f64);
        for process in rows.iter_mut().filter(|p| is_asked(p) && !p.known.has(Files::SMAPS)) {
            if !self.read(process, procfs) {
                return;
            }
        }
        let start = rows.partition_point(|p| p.pid < self.next);
        for at in (start..rows.len()).chain(0..start) {
            if self.due < 1.0 {
                return;
            }
            let Some(process) = rows.get_mut(at) else { return };
            if is_asked(process) && !self.read(process, procfs) {
                return;
            }
            self.next = process.pid.saturating_add(1);
            self.due -= 1.0;
        }
    }

    /// `false` when there is no time left to read it.
    fn read(&mut self, process: &mut Process, procfs: &mut ProcFs) -> bool {
        if self.owed > A_SECOND {
            return false;
        }
        let began = Instant::now();
        match procfs.read(process.pid, "smaps_rollup").ok().and_then(parse::smaps_rollup) {
            Some(smaps) => {
                let kib = |kib: u64| u32::try_from(kib).unwrap_or(u32::MAX);
                process.proportional_kib = kib(smaps.proportional_kib);
                process.proportional_swapped_kib = kib(smaps.proportional_swapped_kib);
                process.known.insert(Files::SMAPS);
            }
            // Not for us, not there before Linux 4.14, or ending: not tried again as long as it runs the same program.
            None => process.closed.insert(Files::SMAPS),
        }
        self.owed += began.elapsed();
        true
    }
}

fn is_asked(process: &Process) -> bool {
    process.is_known()
        && !process.kernel_thread
        && !matches!(process.state, b'Z' | b'X')
        && !process.closed.has(Files::SMAPS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::Roots;

    /// Rows of these pids, with a file for each that has a number of kilobytes.
    fn table(dir: &std::path::Path, processes: &[(u32, Option<u64>)]) -> Table {
        for (pid, kib) in processes {
            std::fs::create_dir_all(dir.join(pid.to_string())).unwrap();
            if let Some(kib) = kib {
                let text = format!("1-2 ---p 0 0 0 [rollup]\nRss: 9 kB\nPss:  {kib} kB\nSwapPss: 3 kB\n");
                std::fs::write(dir.join(format!("{pid}/smaps_rollup")), text).unwrap();
            }
        }
        let pids: Vec<u32> = processes.iter().map(|p| p.0).collect();
        let mut table = Table::default();
        let admit = |p: &mut Process, _| {
            p.state = b'S';
            true
        };
        table.update(&pids, admit, drop);
        table
    }

    fn read(table: &Table) -> Vec<(u32, u32)> {
        table.rows().iter().filter(|p| p.known.has(Files::SMAPS)).map(|p| (p.pid, p.proportional_kib)).collect()
    }

    #[test]
    fn new_processes_are_read_at_once_and_all_in_turn() {
        let dir = tempfile::tempdir().unwrap();
        let mut procfs = ProcFs::new(&Roots { procfs: dir.path().into(), ..Roots::default() });
        let mut table = table(dir.path(), &[(1, Some(5)), (2, None), (3, Some(7))]);
        procfs.list(&mut Vec::new()).unwrap();
        let mut smaps = Smaps::new(Duration::from_secs(30));
        let start = Instant::now();
        smaps.run(&mut table, &mut procfs, start);
        assert_eq!(read(&table), [(1, 5), (3, 7)]);
        assert!(table.get(2).unwrap().closed.has(Files::SMAPS));
        for pid in [1, 3] {
            std::fs::write(dir.path().join(format!("{pid}/smaps_rollup")), "Pss: 8 kB\nSwapPss: 0 kB\n").unwrap();
        }
        let first_read_again = |table: &Table| read(table).iter().position(|(_, kib)| *kib == 8);
        smaps.run(&mut table, &mut procfs, start + Duration::from_secs(5));
        assert_eq!(first_read_again(&table), None);
        smaps.run(&mut table, &mut procfs, start + Duration::from_secs(11));
        assert_eq!(read(&table), [(1, 8), (3, 7)]);
        smaps.run(&mut table, &mut procfs, start + Duration::from_secs(32));
        assert_eq!(read(&table), [(1, 8), (3, 8)]);
    }

    #[test]
    fn a_long_reading_is_followed_by_a_pause() {
        let dir = tempfile::tempdir().unwrap();
        let mut procfs = ProcFs::new(&Roots { procfs: dir.path().into(), ..Roots::default() });
        let mut table = table(dir.path(), &[(1, Some(5))]);
        procfs.list(&mut Vec::new()).unwrap();
        let mut smaps = Smaps::new(Duration::from_secs(1));
        let start = Instant::now();
        smaps.last = Some(start);
        smaps.owed = Duration::from_millis(500);
        smaps.run(&mut table, &mut procfs, start + Duration::from_secs(400));
        assert_eq!(read(&table), []);
        smaps.run(&mut table, &mut procfs, start + Duration::from_secs(500));
        assert_eq!(read(&table), [(1, 5)]);
    }
}
