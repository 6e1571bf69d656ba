//! The processes that use most: `watchfire_process_*`, and a list of them for whoever wants to name the culprit.
//!
//! The top N by CPU, by resident memory, by I/O and by open files are served once they have been there for
//! `processes.top_after`, and what has left the top for `processes.top_grace` more, so that a process at the edge gives a
//! line and not dots. Those of the first pass are served at once. Who hardly uses CPU, I/O or files is not in these tops,
//! however idle the others are. At most twice the 4 N are served. The list knows no delays.

mod cmdline;
mod families;
mod served;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::procfs::ProcFs;
use super::table::{Comm, Table};
use super::users::Users;
use crate::collect::KernelFile;
use crate::collect::Roots;

pub(super) use cmdline::CommandLines;
pub(super) use families::Host;
use served::Served;

/// Share of a CPU below which a process is not among those that use CPU.
const LEAST_CPU: f32 = 0.001;

/// Bytes a second below which a process is not among those that do I/O.
const LEAST_IO: f32 = 4096.0;

/// Open files below which a process is not among those that have many.
const LEAST_FILES: u32 = 16;

/// After how many passes it is looked up again whether the kernel counts waiting for disks.
const ACCOUNTING_PASSES: u32 = 60;

/// One of the processes that use most at this moment.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TopProcess {
    pub pid: u32,
    pub comm: Comm,
    /// CPUs used since the last tick: 1 is one CPU without a pause.
    pub cpu_ratio: f32,
    pub resident_bytes: u64,
}

/// The top processes of the last tick, by CPU and then memory, the greatest first: to be cloned to whoever reads it.
#[derive(Clone, Default, Debug)]
pub struct TopProcesses(Arc<ArcSwap<Vec<TopProcess>>>);

impl TopProcesses {
    /// The list as it stands; it does not change any more.
    pub fn load(&self) -> Arc<Vec<TopProcess>> {
        self.0.load_full()
    }
}

/// The N greatest of a measure.
struct Greatest {
    n: usize,
    /// Measure and row, the greatest first.
    rows: Vec<(f64, u32)>,
}

impl Greatest {
    fn offer(&mut self, measure: f64, row: u32) {
        let full = self.rows.len() >= self.n;
        // Most are too small.
        if full && self.rows.last().is_none_or(|(least, _)| measure <= *least) {
            return;
        }
        if full {
            self.rows.pop();
        }
        let at = self.rows.partition_point(|(m, _)| *m >= measure);
        self.rows.insert(at, (measure, row));
    }
}

/// What of the configuration is about the top.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub n: usize,
    pub after: Duration,
    pub grace: Duration,
}

/// The processes that use most.
pub(super) struct Top {
    by_cpu: Greatest,
    by_memory: Greatest,
    by_io: Greatest,
    by_files: Greatest,
    terms: Terms,
    first: bool,
    /// By pid.
    served: Vec<Served>,
    list: TopProcesses,
    /// The list before the last, to be filled anew when nobody reads it any more.
    spare: Option<Arc<Vec<TopProcess>>>,
    users: Users,
    command_lines: CommandLines,
    delay_accounting: DelayAccounting,
}

impl Top {
    pub fn new(terms: Terms, command_lines: CommandLines, roots: &Roots) -> Top {
        let greatest = || Greatest { n: terms.n, rows: Vec::with_capacity(terms.n) };
        Top {
            by_cpu: greatest(),
            by_memory: greatest(),
            by_io: greatest(),
            by_files: greatest(),
            terms,
            first: true,
            served: Vec::new(),
            list: TopProcesses::default(),
            spare: None,
            users: Users::new(roots),
            command_lines,
            delay_accounting: DelayAccounting::new(roots),
        }
    }

    pub fn list(&self) -> TopProcesses {
        self.list.clone()
    }

    /// Finds the top of this moment.
    pub fn update(&mut self, table: &Table, procfs: &mut ProcFs, page_size: u64, now: Instant) {
        for greatest in [&mut self.by_cpu, &mut self.by_memory, &mut self.by_io, &mut self.by_files] {
            greatest.rows.clear();
        }
        if self.terms.n > 0 {
            for (row, p) in table.rows().iter().enumerate() {
                let row = row as u32;
                if p.cpu_ratio >= LEAST_CPU {
                    self.by_cpu.offer(p.cpu_ratio.into(), row);
                }
                if p.resident_pages > 0 {
                    self.by_memory.offer(p.resident_pages.into(), row);
                }
                let io = p.read_rate + p.write_rate;
                if io >= LEAST_IO {
                    self.by_io.offer(io.into(), row);
                }
                if p.open_files >= LEAST_FILES {
                    self.by_files.offer(p.open_files.into(), row);
                }
            }
        }
        self.serve(table, now);
        let delay_accounting = self.delay_accounting.is_on();
        for served in &mut self.served {
            if let Some(process) = table.get(served.pid)
                && served.shown
            {
                served.read(process, procfs, &self.command_lines, delay_accounting, now);
            }
        }
        self.publish(table, page_size);
    }

    fn serve(&mut self, table: &Table, now: Instant) {
        let tops = [&self.by_cpu, &self.by_memory, &self.by_io, &self.by_files];
        for (_, row) in tops.into_iter().flat_map(|top| &top.rows) {
            let Some(p) = table.rows().get(*row as usize) else { continue };
            let new = Served::new(p, now, self.first);
            match self.served.binary_search_by_key(&p.pid, |s| s.pid) {
                Ok(at) if self.served[at].start == p.start => self.served[at].last_in = now,
                Ok(at) => self.served[at] = new,
                Err(at) => self.served.insert(at, new),
            }
        }
        self.first = false;
        self.served.retain(|served| {
            now.saturating_duration_since(served.last_in) <= self.terms.grace
                && table.get(served.pid).is_some_and(|p| p.start == served.start)
        });
        for served in &mut self.served {
            served.shown |= served.last_in.saturating_duration_since(served.since) >= self.terms.after;
        }
        let most = 8 * self.terms.n;
        while self.served.len() > most
            && let Some((at, _)) = self.served.iter().enumerate().min_by_key(|(_, served)| served.last_in)
        {
            self.served.remove(at);
        }
    }

    fn publish(&mut self, table: &Table, page_size: u64) {
        let mut next = self.spare.take().unwrap_or_default();
        if Arc::get_mut(&mut next).is_none() {
            next = Arc::default();
        }
        let Some(list) = Arc::get_mut(&mut next) else { return };
        list.clear();
        for (_, row) in self.by_cpu.rows.iter().chain(&self.by_memory.rows) {
            let Some(p) = table.rows().get(*row as usize) else { continue };
            if list.iter().all(|listed| listed.pid != p.pid) {
                list.push(TopProcess {
                    pid: p.pid,
                    comm: p.comm,
                    cpu_ratio: p.cpu_ratio,
                    resident_bytes: p.resident_bytes(page_size),
                });
            }
        }
        self.spare = Some(self.list.0.swap(next));
    }
}

/// Whether the kernel counts what threads wait for disks, which it does not by default since Linux 5.14.
struct DelayAccounting {
    file: KernelFile,
    on: bool,
    pass: u32,
}

impl DelayAccounting {
    fn new(roots: &Roots) -> DelayAccounting {
        DelayAccounting { file: KernelFile::new(roots.proc("sys/kernel/task_delayacct")), on: false, pass: 0 }
    }

    fn is_on(&mut self) -> bool {
        if self.pass.is_multiple_of(ACCOUNTING_PASSES) {
            // Without the file it always counts.
            self.on = self.file.read().map_or(true, |text| crate::collect::trim(text) == b"1");
        }
        self.pass = self.pass.wrapping_add(1);
        self.on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(processes: &[(u32, f32, u64)]) -> Table {
        let mut table = Table::default();
        let pids: Vec<u32> = processes.iter().map(|p| p.0).collect();
        table.update(
            &pids,
            |p, _| {
                let (_, cpu, resident) = processes.iter().find(|q| q.0 == p.pid).unwrap();
                (p.cpu_ratio, p.resident_pages, p.state) = (*cpu, *resident as u32, b'S');
                true
            },
            drop,
        );
        table
    }

    fn top(n: usize) -> Top {
        let terms = Terms { n, after: Duration::from_secs(5), grace: Duration::from_secs(30) };
        Top::new(terms, CommandLines::new(None), &Roots::default())
    }

    fn update(top: &mut Top, table: &Table, now: Instant) {
        top.update(table, &mut ProcFs::new(&Roots::default()), 1, now);
    }

    fn served(top: &Top) -> Vec<u32> {
        top.served.iter().filter(|s| s.shown).map(|s| s.pid).collect()
    }

    #[test]
    fn the_union_of_the_tops_is_served_and_listed() {
        let mut top = top(2);
        let list = top.list();
        update(&mut top, &table(&[(1, 0.0, 9), (2, 0.5, 1), (3, 0.9, 2), (4, 0.1, 3), (5, 0.0, 8)]), Instant::now());
        assert_eq!(served(&top), [1, 2, 3, 5]);
        assert_eq!(list.load().iter().map(|p| p.pid).collect::<Vec<_>>(), [3, 2, 1, 5]);
    }

    #[test]
    fn an_idle_process_is_not_among_those_that_use_cpu() {
        let mut top = top(3);
        update(&mut top, &table(&[(1, 0.0, 0), (2, 0.0001, 0)]), Instant::now());
        assert!(served(&top).is_empty());
    }

    #[test]
    fn what_leaves_the_top_is_served_for_the_grace_period_and_what_ends_is_not() {
        let mut top = top(1);
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        update(&mut top, &table(&[(1, 0.5, 0), (2, 0.0, 0), (3, 0.4, 0)]), start);
        for seconds in [1, 20] {
            update(&mut top, &table(&[(1, 0.1, 0), (2, 0.9, 0), (3, 0.4, 0)]), after(seconds));
        }
        assert_eq!(served(&top), [1, 2]);
        update(&mut top, &table(&[(1, 0.1, 0), (2, 0.9, 0), (3, 0.4, 0)]), after(31));
        assert_eq!(served(&top), [2]);
        update(&mut top, &table(&[(1, 0.0, 0), (3, 0.0, 0)]), after(32));
        assert!(served(&top).is_empty());
    }

    #[test]
    fn a_newcomer_is_listed_at_once_and_served_when_it_has_stayed() {
        let mut top = top(1);
        let list = top.list();
        let start = Instant::now();
        update(&mut top, &table(&[(1, 0.5, 0)]), start);
        for (seconds, shown) in [(1, &[1][..]), (4, &[1]), (6, &[1, 2])] {
            update(&mut top, &table(&[(1, 0.1, 0), (2, 0.9, 0)]), start + Duration::from_secs(seconds));
            assert_eq!(served(&top), shown);
            assert_eq!(list.load()[0].pid, 2);
        }
    }

    #[test]
    fn however_fast_the_top_changes_the_number_served_is_bounded() {
        let mut top = top(2);
        let start = Instant::now();
        for i in 0..50u32 {
            let processes: Vec<_> = (1..=50).map(|pid| (pid, if pid / 2 == i { 0.9 } else { 0.0 }, 0)).collect();
            update(&mut top, &table(&processes), start + Duration::from_millis(i.into()));
            assert!(top.served.len() <= 16);
        }
        assert_eq!(top.served.len(), 16);
    }

    #[test]
    fn a_list_that_is_being_read_does_not_change() {
        let mut top = top(1);
        let handle = top.list();
        let mut lists = Vec::new();
        for i in 1..5u32 {
            update(&mut top, &table(&[(i, 0.5, 1)]), Instant::now());
            lists.push(handle.load());
        }
        assert_eq!(lists.iter().map(|l| l[0].pid).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }
}
