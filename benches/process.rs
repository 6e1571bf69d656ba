//! What the process pass costs, against a bare loop that only opens, reads and closes the same files.
//!
//! Starts idle processes (`PROCESSES=2000` of them by default: this program again, waiting for its input to end), and measures
//! the CPU time of this thread, the least of some rounds, per process:
//!
//! - the bare loop: `stat`, `status` and `io`, each opened, read once and closed, and `stat()` of `fd`, whose size is the
//!   number of descriptors on Linux 6.2 and later;
//! - a full pass, in which every process is read in full (`refresh_ticks: 1`);
//! - the ordinary tick, in which they sleep;
//! - the first pass, which also reads `limits` and `schedstat` of each process.
//!
//! Memory is what the table of processes holds. The limit of open files is raised to the hard one, so that
//! `kept_files` is what the configuration says. Run with `cargo bench --bench process`.

use std::ffi::CString;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::time::{ClockId, clock_gettime};

use watchfire::collect::process::{Processes, ProcessesCollectorConfig, ProcessesConfig};
use watchfire::collect::{Collector, Roots};
use watchfire::model::{Labels, SeriesTable, Writer};

/// The argument that makes this program one of the idle processes.
const IDLE: &str = "--wait-idly";

const ROUNDS: usize = 15;

fn main() {
    if std::env::args().any(|a| a == IDLE) {
        return wait();
    }
    let count = std::env::var("PROCESSES").ok().and_then(|n| n.parse().ok()).unwrap_or(2000).clamp(1, 20_000);
    let _idle = Idle::start(count);

    let mut pids: Vec<u32> = Vec::new();
    let mut kernel_threads = 0;
    for entry in std::fs::read_dir("/proc").expect("procfs").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        match std::fs::read_link(entry.path().join("exe")) {
            Ok(_) => pids.push(pid),
            Err(_) => kernel_threads += 1,
        }
    }
    println!("{} processes and {kernel_threads} kernel threads\n", pids.len());

    let paths: Vec<[CString; 4]> = pids
        .iter()
        .map(|pid| {
            ["stat", "status", "io", "fd"].map(|f| CString::new(format!("/proc/{pid}/{f}")).expect("no zero byte"))
        })
        .collect();
    let (mut buffer, mut buffer_of_stat) = (vec![0; 8192], vec![0; 8192]);
    let every_tick = ProcessesConfig { refresh_ticks: 1, ..ProcessesConfig::default() };
    let kept = |kept_files| ProcessesConfig { kept_files, ..ProcessesConfig::default() };
    let cycle = ProcessesConfig::default().refresh_ticks;
    let mut full = Pass::new(&every_tick, false);
    let mut full_without_kept = Pass::new(&ProcessesConfig { kept_files: 0, ..every_tick.clone() }, false);
    let mut ordinary = Pass::new(&ProcessesConfig::default(), false);
    let mut without_kept = Pass::new(&kept(0), false);
    let mut all_kept = Pass::new(&kept(100_000), false);
    let mut node = Pass::new(&ProcessesConfig { enabled: false, ..ProcessesConfig::default() }, true);

    // What is measured, in how many ticks. The turns of the processes go round in refresh_ticks ticks: the mean of these
    // is what a tick costs.
    let mut measured: [(&str, u32, &mut dyn FnMut()); 9] = [
        ("bare loop: stat, status, io, fd", 1, &mut || bare_loop(&paths, &mut buffer)),
        ("bare loop: stat", 1, &mut || paths.iter().for_each(|[stat, ..]| read(stat, &mut buffer_of_stat))),
        ("full pass (at most 1.3)", 1, &mut || full.tick()),
        ("full pass, no files kept open", 1, &mut || full_without_kept.tick()),
        ("first pass", 1, &mut || drop(Pass::new(&every_tick, false))),
        ("ordinary tick (at most 0.5)", cycle, &mut || ordinary.tick()),
        ("ordinary tick, no files kept open", cycle, &mut || without_kept.tick()),
        ("ordinary tick, as many kept open as there are processes", cycle, &mut || all_kept.tick()),
        ("ordinary tick, only node_processes_*", cycle, &mut || node.tick()),
    ];
    // In turn, so that what else the machine does meets all of them.
    let mut least = [f64::INFINITY; 9];
    for _ in 0..ROUNDS {
        for ((_, ticks, work), least) in measured.iter_mut().zip(&mut least) {
            let before = cpu();
            (0..*ticks).for_each(|_| work());
            let used = (cpu() - before).as_secs_f64() * 1e6 / f64::from(*ticks) / pids.len() as f64;
            *least = least.min(used);
        }
    }
    println!("{:<58} {:>10} {:>8}", "", "us/process", "ratio");
    for ((name, ..), us) in measured.iter().zip(least) {
        println!("{name:<58} {us:>10.2} {:>8.3}", us / least[0]);
    }
    println!("\n{} bytes a process", ordinary.processes.heap_size() / ordinary.processes.len().max(1));
}

/// A process pass with its writer.
struct Pass {
    processes: Processes,
    out: Writer,
}

impl Pass {
    /// After its first pass.
    fn new(config: &ProcessesConfig, node: bool) -> Pass {
        let node_config = ProcessesCollectorConfig::default();
        let processes = Processes::new(config, node.then_some(&node_config), &Roots::default());
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        let mut pass = Pass { processes, out: Writer::new("processes", table, 100_000) };
        pass.tick();
        pass
    }

    fn tick(&mut self) {
        self.processes.collect(&mut self.out).expect("procfs");
        self.out.finish();
    }
}

fn cpu() -> Duration {
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

/// The idle processes; they end with this value, and with this program however it ends, since they wait for the end of
/// their standard input.
struct Idle(Vec<Child>);

impl Idle {
    fn start(count: usize) -> Idle {
        let program = std::env::current_exe().expect("this program");
        let mut idle = Idle(Vec::with_capacity(count));
        // One pipe a child: its other end is here.
        raise_file_limit();
        for _ in 0..count {
            let child = Command::new(&program).arg(IDLE).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
            idle.0.push(child.expect("a child"));
        }
        // Until all wait.
        std::thread::sleep(Duration::from_secs(2));
        idle
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}

fn wait() {
    let _ = std::io::stdin().read(&mut [0]);
}

fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
