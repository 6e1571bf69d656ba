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
//! Memory is what the tables hold. Run with `cargo bench --bench process`.

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
    let mut buffer = vec![0; 8192];
    let bare = least(|| bare_loop(&paths, &mut buffer)) / pids.len() as f64;
    let stat_alone = least(|| {
        for [stat, ..] in &paths {
            read(stat, &mut buffer);
        }
    }) / pids.len() as f64;

    let every_tick = ProcessesConfig { refresh_ticks: 1, ..ProcessesConfig::default() };
    let full = Pass::new(&every_tick, false);
    let full_without_kept = Pass::new(&ProcessesConfig { kept_files: 0, ..every_tick.clone() }, false);
    let first = least(|| drop(Pass::new(&every_tick, false)));
    let ordinary = Pass::new(&ProcessesConfig::default(), false);
    let without_kept = Pass::new(&ProcessesConfig { kept_files: 0, ..ProcessesConfig::default() }, false);
    let all_kept = Pass::new(&ProcessesConfig { kept_files: 100_000, ..ProcessesConfig::default() }, false);
    let node = Pass::new(&ProcessesConfig { enabled: false, ..ProcessesConfig::default() }, true);

    println!("{:<58} {:>10} {:>8}", "", "us/process", "ratio");
    let line = |name: &str, us: f64| println!("{name:<58} {us:>10.2} {:>8.3}", us / bare);
    line("bare loop: stat, status, io, fd", bare);
    line("bare loop: stat", stat_alone);
    let processes = pids.len() as f64;
    line("full pass (at most 1.3)", full.least() / processes);
    line("full pass, no files kept open", full_without_kept.least() / processes);
    line("first pass", first / processes);
    // The parts of the full reading go round in refresh_ticks ticks: their mean is what a tick costs.
    let (mut pass, rounds) = (ordinary, 2 * ProcessesConfig::default().refresh_ticks as usize);
    line("ordinary tick (at most 0.5)", pass.mean(rounds) / processes);
    println!("    {} bytes a process", pass.processes.heap_size() / pass.processes.len().max(1));
    line("ordinary tick, no files kept open", { without_kept }.mean(rounds) / processes);
    line("ordinary tick, as many kept open as there may be", { all_kept }.mean(rounds) / processes);
    line("ordinary tick, only node_processes_*", { node }.mean(rounds) / processes);
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

    fn least(mut self) -> f64 {
        least(|| self.tick())
    }

    fn mean(&mut self, ticks: usize) -> f64 {
        self.tick();
        let before = cpu();
        (0..ticks).for_each(|_| self.tick());
        (cpu() - before).as_secs_f64() * 1e6 / ticks as f64
    }
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// The least CPU time of some rounds, microseconds.
fn least(mut work: impl FnMut()) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            let before = cpu();
            work();
            (cpu() - before).as_secs_f64() * 1e6
        })
        .fold(f64::INFINITY, f64::min)
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
