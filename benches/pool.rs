//! The pool against the bare system calls: what a check costs beyond fork and exec, memory of what waits, and the time to
//! start a command from a large process.
//!
//! `cargo bench --bench pool` runs 1,000 checks of `/bin/true` at 10 s interval for 20 s, as the agent does, guard
//! included, and as many `/bin/true` in the same rhythm by `posix_spawn` and `waitpid` alone. The rhythm counts: what
//! starts after a pause finds cold caches, and a loop without pauses would make the kernel look cheaper than it is to
//! anybody who starts commands now and then. CPU is that of this process and all its children, as the kernel counts it.

mod common;

use std::ffi::{CString, c_char};
use std::hint::black_box;
use std::ptr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::{Counting, LIVE};
use prometheus::Registry;
use tokio::runtime::{Builder, Handle};
use watchfire::checks::{Checks, Ended, Runner, State};
use watchfire::collect::Roots;
use watchfire::pool::{Pool, PoolConfig, Queued, Task, guard};
use watchfire::yaml::{Document, Faults, FromYaml};

const CHECKS: usize = 1000;
const INTERVAL: Duration = Duration::from_secs(10);
const TIME: Duration = Duration::from_secs(20);
/// Whose memory is measured.
const WAITING: usize = 10_000;
/// Commands that are timed, of which the middle one counts.
const STARTS: usize = 300;
const LARGE: usize = 1 << 30;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    // The guard is this very program.
    if std::env::args().nth(1).as_deref() == Some("guard") {
        guard::run().expect("the table of the pool");
        return;
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(std::env::var("BT").map_or(2, |n| n.parse().expect("n")))
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        checks().await;
        waiting().await;
        starts().await;
    });
}

fn pool(config: PoolConfig) -> Pool {
    let pool = Pool::new(config, &Registry::new(), Handle::current()).expect("a registry of its own");
    pool.with_guard(["/proc/self/exe", "guard"]).expect("memory for the table");
    pool
}

/// CPU time of this process and of its children that were waited for.
fn cpu() -> Duration {
    [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN].into_iter().map(usage).sum()
}

fn usage(who: i32) -> Duration {
    // SAFETY: all zero is a valid value of this plain structure.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is one such structure, to be written.
    let done = unsafe { libc::getrusage(who, &raw mut usage) };
    assert_eq!(done, 0, "getrusage");
    let time = |t: libc::timeval| Duration::new(t.tv_sec.unsigned_abs(), t.tv_usec.unsigned_abs() as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

async fn checks() {
    let text: String = (0..CHECKS)
        .map(|n| format!("- {{name: check-{n}, command: [/bin/true], format: exit, interval: 10s}}\n"))
        .collect();
    let mut faults = Faults::default();
    let node = Document::parse("bench", &text, &mut faults).root;
    let checks = Checks::from_yaml(&node, &mut faults).expect("valid checks");

    let pool = pool(PoolConfig::default());
    let runner = Runner::new(pool.clone(), Roots::default());
    let before = cpu();
    runner.set(&checks);
    tokio::time::sleep(TIME).await;
    let ours = cpu() - before;
    let all = runner.board().all();
    let runs: u64 = all.iter().flat_map(|check| check.runs).sum();
    let ok = Ended::ALL.iter().position(|ended| *ended == Ended::With(State::Ok)).expect("one of them");
    let well: u64 = all.iter().map(|check| check.runs[ok]).sum();
    assert_eq!(runs, well, "all end well");
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;

    let count = usize::try_from(runs).expect("a small number");
    let paced = bare(count, TIME / u32::try_from(count.max(1)).expect("a small number"));
    let unpaced = bare(count, Duration::ZERO);
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / count.max(1) as f64;
    println!("{CHECKS} checks of /bin/true at {INTERVAL:?}, {count} runs in {TIME:?}, CPU of all processes:");
    println!("  checks, pool and guard         {:>8.1} us a run", each(ours));
    println!(
        "  bare posix_spawn and waitpid   {:>8.1} us a run in the same rhythm, {:.1} us without pauses",
        each(paced),
        each(unpaced)
    );
    println!("  ratio                          {:>8.2}  (aim: at most 1.30)", ours.as_secs_f64() / paced.as_secs_f64());
}

/// CPU of so many `/bin/true` one after the other, from each to the next `pause`.
fn bare(count: usize, pause: Duration) -> Duration {
    let program = CString::new("/bin/true").expect("no NUL");
    let (before, begun) = (cpu(), Instant::now());
    for n in 1..=count {
        spawn_and_wait(&program);
        let next = begun + pause * u32::try_from(n).unwrap_or(u32::MAX);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    cpu() - before
}

fn spawn_and_wait(program: &CString) {
    let argv: [*mut c_char; 2] = [program.as_ptr().cast_mut(), ptr::null_mut()];
    let env: [*mut c_char; 1] = [ptr::null_mut()];
    let (mut pid, mut status) = (0, 0);
    // SAFETY: the lists end with null, what they hold lives through the call, and nothing of it is written to.
    let spawned = unsafe {
        libc::posix_spawn(&raw mut pid, program.as_ptr(), ptr::null(), ptr::null(), argv.as_ptr(), env.as_ptr())
    };
    assert_eq!(spawned, 0, "posix_spawn");
    // SAFETY: `status` is a number, to be written.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!((waited, status), (pid, 0), "waitpid");
}

async fn waiting() {
    let pool = pool(PoolConfig { max_concurrent: 1, queue: WAITING, ..PoolConfig::default() });
    let first = pool.submit(Task::command(["sleep", "1000"]).timeout(Duration::from_secs(2000))).expect("a place");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = LIVE.load(Ordering::Relaxed);
    for n in 0..WAITING {
        let command = ["/usr/lib/nagios/plugins/check_tcp", "-H", "127.0.0.1", "-p", "80"];
        let task = Task::command(command).id(format!("check:service-{n}")).env("LC_ALL", "C").then(|_| {});
        pool.submit(task).expect("there is room in the queue");
    }
    let bytes = LIVE.load(Ordering::Relaxed) - before;
    println!(
        "{WAITING} tasks that wait: {:.1} MB, {} bytes each  (aim: at most 20 MB)",
        bytes as f64 / 1e6,
        bytes / WAITING as i64
    );
    first.cancel();
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
}

async fn starts() {
    let pool = pool(PoolConfig::default());
    // The first have to find their memory and files.
    middle(&pool).await;
    let program = CString::new("/bin/true").expect("no NUL");
    let (little, little_bare) = (middle(&pool).await, middle_bare(&program));
    let mut memory = vec![0_u8; LARGE];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    let (large, large_bare) = (middle(&pool).await, middle_bare(&program));
    black_box(&memory);
    drop(memory);
    // What else the machine did in one of the two would pass for a difference.
    let (again, again_bare) = (middle(&pool).await, middle_bare(&program));
    let (little, little_bare) = (little.min(again), little_bare.min(again_bare));
    let ratio = |large: Duration, little: Duration| large.as_secs_f64() / little.as_secs_f64();
    println!("from start to end of /bin/true, the middle of {STARTS}, without and with 1 GiB of memory in use:");
    println!("  pool          {little:>9.1?} {large:>9.1?}  ratio {:.2}  (aim: at most 1.1)", ratio(large, little));
    println!("  posix_spawn   {little_bare:>9.1?} {large_bare:>9.1?}  ratio {:.2}", ratio(large_bare, little_bare));
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
}

async fn middle(pool: &Pool) -> Duration {
    let mut times = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let begun = Instant::now();
        let outcome = pool.submit(Task::command(["/bin/true"])).expect("a place").wait().await;
        times.push(begun.elapsed());
        assert!(outcome.success(), "{}", outcome.status);
    }
    times.sort_unstable();
    times[STARTS / 2]
}

fn middle_bare(program: &CString) -> Duration {
    let mut times: Vec<Duration> = (0..STARTS)
        .map(|_| {
            let begun = Instant::now();
            spawn_and_wait(program);
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[STARTS / 2]
}
