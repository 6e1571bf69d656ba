//! What the process pass costs, against a bare loop that only opens, reads and closes the same files, and against
//! process-exporter on the same processes; and what short processes cost.
//!
//! Starts `PROCESSES=2000` idle processes and `BUSY=50` that work a little all the time, and measures CPU time, the least of
//! some rounds:
//!
//! - the bare loop: `stat`, `status` and `io`, each opened, read once and closed, and `stat()` of `fd`, whose size is the
//!   number of descriptors on Linux 6.2 and later;
//! - a full pass, in which every process is read in full (`refresh_ticks: 1`);
//! - the ordinary tick, in which most of them sleep;
//! - the first pass, which also reads `limits` and `schedstat` of each process;
//! - both passes once a second, when the CPU's caches hold other things, against a scrape of process-exporter, a second
//!   apart too (`SCRAPES=0` leaves it out);
//! - the memory of the table of processes, and of the whole collector;
//! - a second of ticks and of the kernel's reports beside programs that start others (`forks.rs`).
//!
//! The limit of open files is raised to the hard one, so that `kept_files` is what the configuration says. Run with
//! `cargo bench --bench process`, as root for the reports and where there may be fewer processes than that.

#[path = "../common/mod.rs"]
mod common;
mod crowd;
mod forks;
mod peer;

use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::time::{ClockId, clock_gettime};

use common::{Counting, LIVE};
use crowd::Crowd;
use peer::Peer;
use watchfire::collect::process::{Processes, ProcessesCollectorConfig, ProcessesConfig};
use watchfire::collect::{Collector, Roots};
use watchfire::model::{Labels, SeriesTable, Writer};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Ticks in which a busy process has run since the last one are so far apart.
const APART: Duration = Duration::from_millis(20);

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if crowd::run(&args) || forks::run(&args) {
        return;
    }
    raise_file_limit();
    let number = |name, default| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (idle, busy) = (number("PROCESSES", 2000), number("BUSY", 50));
    // process-exporter needs a millisecond a process.
    let scrapes = number("SCRAPES", (20_000 / idle.max(1)).clamp(2, 5));
    let crowd = Crowd::start(idle, busy);
    let mut pids: Vec<u32> = Vec::new();
    let mut kernel_threads = 0;
    for entry in std::fs::read_dir("/proc").expect("procfs").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        match std::fs::read_link(entry.path().join("exe")) {
            Ok(_) => pids.push(pid),
            Err(_) => kernel_threads += 1,
        }
    }
    println!("{} processes, {busy} of them busy, and {kernel_threads} kernel threads\n", pids.len());
    against_the_bare_loop(&pids);
    against_the_peer(scrapes);
    memory();
    drop(crowd);
    forks::measure();
}

/// The configuration of a full pass.
fn every_tick() -> ProcessesConfig {
    ProcessesConfig { refresh_ticks: 1, ..ProcessesConfig::default() }
}

fn against_the_bare_loop(pids: &[u32]) {
    let paths: Vec<[CString; 4]> = pids
        .iter()
        .map(|pid| {
            ["stat", "status", "io", "fd"].map(|f| CString::new(format!("/proc/{pid}/{f}")).expect("no zero byte"))
        })
        .collect();
    let (mut buffer, mut buffer_of_stat) = (vec![0; 8192], vec![0; 8192]);
    let kept = |kept_files| ProcessesConfig { kept_files, ..ProcessesConfig::default() };
    let cycle = ProcessesConfig::default().refresh_ticks;
    let mut full = Pass::new(&every_tick(), false);
    let mut full_without_kept = Pass::new(&ProcessesConfig { kept_files: 0, ..every_tick() }, false);
    let mut ordinary = Pass::new(&ProcessesConfig::default(), false);
    let mut without_kept = Pass::new(&kept(0), false);
    let mut all_kept = Pass::new(&kept(100_000), false);
    let mut node = Pass::new(&ProcessesConfig { enabled: false, ..ProcessesConfig::default() }, true);

    // What is measured, in how many ticks. The turns of the processes go round in refresh_ticks ticks: the mean of these
    // is what a tick costs.
    let mut measured: [(&str, u32, &mut dyn FnMut()); 10] = [
        ("bare loop: stat, status, io, fd", 1, &mut || bare_loop(&paths, &mut buffer)),
        ("bare loop: stat", 1, &mut || paths.iter().for_each(|[stat, ..]| read(stat, &mut buffer_of_stat))),
        ("the list of processes", 1, &mut || drop(std::fs::read_dir("/proc").map(Iterator::count))),
        ("full pass (at most 1.3)", 1, &mut || full.tick()),
        ("full pass, no files kept open", 1, &mut || full_without_kept.tick()),
        ("first pass", 1, &mut || drop(Pass::new(&every_tick(), false))),
        ("ordinary tick (at most 0.5)", cycle, &mut || ordinary.tick()),
        ("ordinary tick, no files kept open", cycle, &mut || without_kept.tick()),
        ("ordinary tick, as many kept open as there may be", cycle, &mut || all_kept.tick()),
        ("ordinary tick, only node_processes_*", cycle, &mut || node.tick()),
    ];
    let rounds = (30_000 / pids.len()).clamp(3, 15);
    // In turn, so that what else the machine does meets all of them.
    let mut least = [f64::INFINITY; 10];
    for _ in 0..rounds {
        for ((_, ticks, work), least) in measured.iter_mut().zip(&mut least) {
            let mut used = Duration::ZERO;
            for _ in 0..*ticks {
                std::thread::sleep(APART);
                let before = cpu();
                work();
                used += cpu() - before;
            }
            *least = least.min(used.as_secs_f64() * 1e6 / f64::from(*ticks) / pids.len() as f64);
        }
    }
    println!("{:<58} {:>10} {:>8}", "", "us/process", "ratio");
    for ((name, ..), us) in measured.iter().zip(least) {
        println!("{name:<58} {us:>10.2} {:>8.3}", us / least[0]);
    }
}

fn against_the_peer(scrapes: usize) {
    // A pass of ours, once a second, the mean of a cycle.
    let paced = |config: &ProcessesConfig, ticks: u32| {
        let mut pass = Pass::new(config, false);
        let mut used = Duration::ZERO;
        for _ in 0..ticks {
            std::thread::sleep(Duration::from_secs(1));
            let before = cpu();
            pass.tick();
            used += cpu() - before;
        }
        used.as_secs_f64() / f64::from(ticks)
    };
    let ours = [
        ("full pass", paced(&every_tick(), 5)),
        ("full pass, without smaps", paced(&ProcessesConfig { smaps: false, ..every_tick() }, 5)),
        ("ordinary tick", paced(&ProcessesConfig::default(), ProcessesConfig::default().refresh_ticks)),
    ];
    let peer = Peer::find().filter(|_| scrapes > 0);
    let theirs = peer.map(|peer| {
        let without = ["-threads=false", "-gather-smaps=false"];
        [&[][..], &without].map(|flags| peer.cpu_of_a_scrape(flags, scrapes))
    });
    println!("\n{:<41} {:>10} {:>12} {:>12}", "once a second", "ms", "of defaults", "of without");
    for (name, seconds) in ours {
        let ratios = theirs.map(|theirs| theirs.map(|t| format!(" {:>12.3}", seconds / t)).concat());
        println!("{name:<41} {:>10.2}{}", seconds * 1e3, ratios.unwrap_or_default());
    }
    let Some([defaults, without]) = theirs else {
        println!("process-exporter is not installed, or left out: no comparison");
        return;
    };
    println!("{:<41} {:>10.2} {:>12}", "process-exporter, defaults", defaults * 1e3, "(at most 0.1)");
    println!("{:<41} {:>10.2} {:>25}", "process-exporter, no threads, no smaps", without * 1e3, "(at most 0.167)");
}

fn memory() {
    let before = LIVE.load(Ordering::Relaxed);
    let mut pass = Pass::new(&ProcessesConfig::default(), false);
    (0..3).for_each(|_| pass.tick());
    let all = LIVE.load(Ordering::Relaxed) - before;
    let processes = pass.processes.len().max(1);
    let table = pass.processes.heap_size() / processes;
    println!(
        "\n{table} bytes a process in the table (at most 200), {} with all else of the collector",
        all / processes as i64
    );
}

/// A process pass with its writer.
pub struct Pass {
    processes: Processes,
    out: Writer,
}

impl Pass {
    /// After its first pass.
    pub fn new(config: &ProcessesConfig, node: bool) -> Pass {
        let node_config = ProcessesCollectorConfig::default();
        let processes = Processes::new(config, node.then_some(&node_config), &Roots::default());
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        let mut pass = Pass { processes, out: Writer::new("processes", table, 100_000) };
        pass.tick();
        pass
    }

    pub fn tick(&mut self) {
        self.processes.collect(&mut self.out).expect("procfs");
        self.out.finish();
    }
}

/// CPU time of this thread.
pub fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn bare_loop(paths: &[[CString; 4]], buffer: &mut [u8]) {
    for [stat, status, io, fd] in paths {
        read(stat, buffer);
        read(status, buffer);
        read(io, buffer);
        let _ = std::hint::black_box(rustix::fs::statat(CWD, fd, AtFlags::empty()));
    }
}

fn read(path: &CString, buffer: &mut [u8]) {
    if let Ok(file) = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        let _ = std::hint::black_box(rustix::io::read(&file, buffer));
    }
}

fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
