//! What short processes cost: a collector that ticks each second beside programs that start others as fast as they are
//! told to.

use std::ffi::CString;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use watchfire::collect::process::ProcessesConfig;
use watchfire::yaml::{Document, Faults};

use crate::common::Running;
use crate::{Pass, cpu};

/// The arguments that make this program one that starts others: how many a second (0: as many as it can), for how many
/// seconds, how many milliseconds each lives.
const FORKER: &str = "--start-others";
/// The argument that makes this program one that is started, and lives for so many milliseconds.
const SHORT: &str = "--live";

const SECONDS: u32 = 5;

/// Groups that need the command line of each process, which has to be read as soon as it executes a program.
const BY_COMMAND_LINE: &str = "groups: [{name: '{{.Matches.x}}', cmdline: ['--(?P<x>[a-z]+)']}, {cmdline: ['.+']}]\n";

/// Plays one of the parts above, if the arguments say so.
pub fn run(args: &[String]) -> bool {
    let number = |at: usize| args.get(at).and_then(|n| n.parse().ok()).unwrap_or(0);
    match args.get(1).map(String::as_str) {
        Some(SHORT) => std::thread::sleep(Duration::from_millis(number(2))),
        Some(FORKER) => fork(number(2) as u32, Duration::from_secs(number(3)), &args[4]),
        _ => return false,
    }
    true
}

pub fn measure() {
    let grouped = config(BY_COMMAND_LINE);
    let default = config("");
    println!("\nshort processes, ticks of a second: percent of a core");
    let heads = ["forks/s", "ticks", "reports", "both", "more", "us/fork"];
    println!("{:<46}{}", "", heads.map(|h| format!("{h:>9}")).concat());
    let mut nothing = f64::INFINITY;
    for (name, config, pace) in [
        ("nothing is started", &default, None),
        ("nothing is started", &default, None),
        ("100 a second", &default, Some((100, "0"))),
        ("1,000 a second (at most 2 more)", &default, Some((1000, "0"))),
        ("1,000 a second, each lives for 100 ms", &default, Some((1000, "100"))),
        ("1,000 a second, groups by command line", &grouped, Some((1000, "0"))),
        ("as many as there can be", &default, Some((0, "0"))),
    ] {
        let Some(used) = sample(config, pace) else {
            println!("the kernel does not report processes here (CAP_NET_ADMIN?): not measured");
            return;
        };
        let both = used.ticks + used.reports;
        if pace.is_none() {
            nothing = nothing.min(both);
        }
        let more = both - nothing;
        let per_fork = pace.map(|_| format!("{:>9.2}", more * 1e4 / used.forks)).unwrap_or_default();
        let values = [used.ticks, used.reports, both, more].map(|v| format!("{v:>9.2}")).concat();
        println!("{name:<46}{:>9.0}{values}{per_fork}", used.forks);
    }
}

/// Percent of a core.
struct Used {
    /// Processes started, a second; those that nobody here has started among them.
    forks: f64,
    ticks: f64,
    reports: f64,
}

/// `None` where the kernel does not report processes.
fn sample(config: &ProcessesConfig, pace: Option<(u32, &str)>) -> Option<Used> {
    let mut pass = Pass::new(config, false);
    reports_cpu()?;
    let program = std::env::current_exe().expect("this program");
    // One alone, which waits for what it has started, does not start a thousand on a busy machine.
    let forkers = 2 * std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    let start = |(rate, live): (u32, &str)| {
        let args = [FORKER, &(rate / forkers).to_string(), &(SECONDS + 2).to_string(), live];
        Running(Command::new(&program).args(args).stdin(Stdio::null()).spawn().expect("one that starts others"))
    };
    let forkers: Vec<Running> = (0..forkers).filter_map(|_| pace.map(start)).collect();
    std::thread::sleep(Duration::from_secs(1));
    // What has happened until now is not measured.
    pass.tick();
    let (began, forks, reports) = (Instant::now(), processes_started(), reports_cpu()?);
    let mut ticks = Duration::ZERO;
    for n in 1..=SECONDS {
        std::thread::sleep((began + Duration::from_secs(n.into())).saturating_duration_since(Instant::now()));
        let before = cpu();
        pass.tick();
        ticks += cpu() - before;
    }
    let seconds = began.elapsed().as_secs_f64();
    let used = Used {
        forks: (processes_started() - forks) / seconds,
        ticks: ticks.as_secs_f64() * 100.0 / seconds,
        reports: (reports_cpu()? - reports) * 100.0 / seconds,
    };
    drop(forkers);
    Some(used)
}

fn config(text: &str) -> ProcessesConfig {
    let mut faults = Faults::default();
    let config = Document::parse("processes", text, &mut faults).read(&mut faults);
    assert_eq!(faults.to_string(), "");
    config
}

/// CPU seconds of the thread that takes the kernel's reports.
fn reports_cpu() -> Option<f64> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?.flatten();
    let listens = |task: &std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == "process-events")
    };
    let used = tasks.filter(listens).filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    let used: Vec<f64> = used.collect();
    (!used.is_empty()).then(|| used.iter().sum::<f64>() / 1e9)
}

/// Processes and threads that have been started since boot.
fn processes_started() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").expect("procfs");
    let line = stat.lines().find_map(|line| line.strip_prefix("processes "));
    line.and_then(|n| n.parse().ok()).expect("a number of processes")
}

/// Starts programs, `rate` a second, and waits for each.
fn fork(rate: u32, time: Duration, live: &str) {
    let program = std::env::current_exe().expect("this program");
    let program = CString::new(program.into_os_string().into_encoded_bytes()).expect("no zero byte");
    let args = [program.clone(), CString::from(c"--live"), CString::new(live).expect("no zero byte")];
    assert_eq!(args[1].to_bytes(), SHORT.as_bytes());
    let mut argv: Vec<*mut libc::c_char> = args.iter().map(|a| a.as_ptr().cast_mut()).collect();
    argv.push(std::ptr::null_mut());
    let began = Instant::now();
    let mut started = 0u32;
    while began.elapsed() < time {
        let due = match rate {
            0 => u32::MAX,
            rate => (began.elapsed().as_secs_f64() * f64::from(rate)) as u32,
        };
        if started < due {
            let mut pid = 0;
            // SAFETY: a path and arguments that end with zero bytes, a list of them that ends with null.
            let failed = unsafe {
                libc::posix_spawn(
                    &mut pid,
                    program.as_ptr(),
                    std::ptr::null(),
                    std::ptr::null(),
                    argv.as_ptr(),
                    std::ptr::null(),
                )
            };
            assert_eq!(failed, 0, "a program that ends at once");
            started += 1;
        } else {
            std::thread::sleep(Duration::from_micros(500));
        }
        // As many at once as there may be with no pace, and all that have ended.
        let wait = if rate == 0 { 0 } else { libc::WNOHANG };
        // SAFETY: no status is asked for.
        while unsafe { libc::waitpid(-1, std::ptr::null_mut(), wait) } > 0 {}
    }
    // SAFETY: likewise.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) } > 0 {}
}
