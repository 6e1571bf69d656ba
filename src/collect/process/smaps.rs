//! The proportional memory of processes: /proc/PID/smaps_rollup, where each page counts by how many processes have it.
//!
//! The kernel walks all page tables of a process for it, which takes from 20 us to a second for one of many gigabytes. So
//! processes are read in turn, each once in `processes.smaps_interval`, those first that never were, when they have lived
//! for some seconds; and after a reading that took long there is a pause: all of them together take no more than two
//! thousandths of a CPU.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::parse;
use super::pass::CLOCK_TICKS;
use super::procfs::ProcFs;
use super::table::{Files, Process, Table};

/// CPU time that readings may take in a second.
const A_SECOND: Duration = Duration::from_millis(2);

/// What may be saved up of it: enough for the some hundred processes that are there at the start.
const SAVED: Duration = Duration::from_millis(20);

/// How old a process must be to be read: on a host that builds or runs scripts most never will.
const GROWN_UP: Duration = Duration::from_secs(5);

/// The turns of reading.
pub(super) struct Smaps {
    interval: Duration,
    /// The pid at which the next pass goes on, and that for those that were never read.
    next: u32,
    next_new: u32,
    /// CPU time that was taken and is not paid for yet, with [`SAVED`] to spare.
    owed: Duration,
    last: Option<Instant>,
    /// Rows that the time since the last pass has made due.
    due: f64,
}

impl Smaps {
    pub fn new(interval: Duration) -> Smaps {
        Smaps { interval, next: 0, next_new: 0, owed: Duration::ZERO, last: None, due: 0.0 }
    }

    /// Reads those whose turn it is. `uptime`: the time since boot.
    pub fn run(&mut self, table: &mut Table, procfs: &mut ProcFs, now: Instant, uptime: Duration) {
        let grown_up = (uptime.saturating_sub(GROWN_UP).as_secs_f64() * CLOCK_TICKS) as u64;
        let since = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.last = Some(now);
        self.owed = self.owed.saturating_sub(A_SECOND.mul_f64(since.as_secs_f64().min(3600.0)));
        let rows = table.rows_mut();
        self.due += rows.len() as f64 * since.as_secs_f64() / self.interval.as_secs_f64().max(0.001);
        self.due = self.due.min(rows.len() as f64);
        for at in turns(rows, self.next_new) {
            let Some(process) = rows.get_mut(at) else { return };
            if !is_asked(process) || process.known.has(Files::SMAPS) || process.start > grown_up {
                continue;
            }
            self.next_new = process.pid;
            if !self.read(process, procfs) {
                return;
            }
        }
        for at in turns(rows, self.next) {
            if self.due < 1.0 {
                return;
            }
            let Some(process) = rows.get_mut(at) else { return };
            if is_asked(process) && process.known.has(Files::SMAPS) && !self.read(process, procfs) {
                return;
            }
            self.next = process.pid.saturating_add(1);
            self.due -= 1.0;
        }
    }

    /// `false` when there is no time left to read it.
    fn read(&mut self, process: &mut Process, procfs: &mut ProcFs) -> bool {
        if self.owed > SAVED {
            return false;
        }
        let began = cpu_time();
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
        self.owed += cpu_time().saturating_sub(began);
        true
    }
}

/// All rows, from that of the process `pid` on.
fn turns(rows: &[Process], pid: u32) -> impl Iterator<Item = usize> + use<> {
    let start = rows.partition_point(|p| p.pid < pid);
    (start..rows.len()).chain(0..start)
}

/// Of this thread.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
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

    const UPTIME: Duration = Duration::from_secs(3600);

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
        smaps.run(&mut table, &mut procfs, start, UPTIME);
        assert_eq!(read(&table), [(1, 5), (3, 7)]);
        assert!(table.get(2).unwrap().closed.has(Files::SMAPS));
        for pid in [1, 3] {
            std::fs::write(dir.path().join(format!("{pid}/smaps_rollup")), "Pss: 8 kB\nSwapPss: 0 kB\n").unwrap();
        }
        let first_read_again = |table: &Table| read(table).iter().position(|(_, kib)| *kib == 8);
        smaps.run(&mut table, &mut procfs, start + Duration::from_secs(5), UPTIME);
        assert_eq!(first_read_again(&table), None);
        smaps.run(&mut table, &mut procfs, start + Duration::from_secs(11), UPTIME);
        assert_eq!(read(&table), [(1, 8), (3, 7)]);
        smaps.run(&mut table, &mut procfs, start + Duration::from_secs(32), UPTIME);
        assert_eq!(read(&table), [(1, 8), (3, 8)]);
    }

    #[test]
    fn one_that_is_just_born_is_not_worth_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut procfs = ProcFs::new(&Roots { procfs: dir.path().into(), ..Roots::default() });
        let mut table = table(dir.path(), &[(1, Some(5))]);
        table.get_mut(1).unwrap().start = 100 * 10;
        procfs.list(&mut Vec::new()).unwrap();
        let mut smaps = Smaps::new(Duration::from_secs(30));
        for (uptime, values) in [(14, &[][..]), (16, &[(1, 5)])] {
            smaps.run(&mut table, &mut procfs, Instant::now(), Duration::from_secs(uptime));
            assert_eq!(read(&table), values);
        }
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
        smaps.run(&mut table, &mut procfs, start + Duration::from_secs(200), UPTIME);
        assert_eq!(read(&table), []);
        smaps.run(&mut table, &mut procfs, start + Duration::from_secs(300), UPTIME);
        assert_eq!(read(&table), [(1, 5)]);
    }
}
