//! The processes that are measured: many that sleep, some that work, each a copy of this program that has executed
//! nothing, since 20,000 of those are started in a second and take little memory.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// The arguments that make this program the parent of a crowd: how many sleep, how many work.
const PARENT: &str = "--crowd";

/// Under so many names, so that there are groups.
const NAMES: usize = 50;

/// A busy process works for so long out of ten milliseconds: fifty of them have all run whenever one looks, and leave
/// the CPUs to the benchmark.
const WORK: Duration = Duration::from_micros(50);

const PID_MAX: &str = "/proc/sys/kernel/pid_max";

/// The processes; they end with this value, and with this program however it ends: their parent waits for the end of its
/// standard input, and they die with it.
pub struct Crowd {
    parent: Child,
    input: Option<ChildStdin>,
    /// What `pid_max` was before it was raised.
    pid_max: Option<String>,
}

impl Crowd {
    pub fn start(idle: usize, busy: usize) -> Crowd {
        let before = std::fs::read_to_string(PID_MAX).unwrap_or_default();
        let room = before.trim().parse().unwrap_or(usize::MAX);
        let pid_max = (room < 2 * (idle + busy) && std::fs::write(PID_MAX, "4194304").is_ok()).then_some(before);
        let mut parent = Command::new(std::env::current_exe().expect("this program"))
            .args([PARENT, &idle.to_string(), &busy.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the parent of the crowd");
        let input = parent.stdin.take();
        let crowd = Crowd { input, pid_max, parent };
        crowd.wait(idle + busy)
    }

    fn wait(mut self, wanted: usize) -> Crowd {
        let mut line = String::new();
        let output = self.parent.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("its parent says how many there are");
        assert_eq!(line.trim().parse(), Ok(wanted), "not all processes could be started: limits of processes, memory?");
        // Until all of them sleep.
        std::thread::sleep(Duration::from_secs(2));
        self
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.parent.wait();
        if let Some(before) = &self.pid_max {
            let _ = std::fs::write(PID_MAX, before);
        }
    }
}

/// Is the parent of a crowd, if the arguments say so.
pub fn run(args: &[String]) -> bool {
    let Some(at) = args.iter().position(|a| a == PARENT) else { return false };
    let number = |at: usize| args.get(at).and_then(|n| n.parse().ok()).unwrap_or(0);
    let (idle, busy): (usize, usize) = (number(at + 1), number(at + 2));
    let mut children = Vec::with_capacity(idle + busy);
    for n in 0..idle + busy {
        match fork(|| if n < idle { sleep(n) } else { work() }) {
            Some(pid) => children.push(pid),
            None => break,
        }
    }
    println!("{}", children.len());
    let _ = std::io::stdout().flush();
    let _ = std::io::stdin().read(&mut [0]);
    for pid in &children {
        // SAFETY: children of ours that nobody has waited for: the ids are theirs.
        unsafe { libc::kill(*pid, libc::SIGKILL) };
    }
    for pid in children {
        // SAFETY: no status is asked for.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    }
    true
}

fn fork(child: impl FnOnce()) -> Option<i32> {
    // SAFETY: this program has one thread, so its copy is whole.
    match unsafe { libc::fork() } {
        -1 => None,
        0 => {
            // SAFETY: a signal for the time when the parent ends.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            child();
            std::process::exit(0)
        }
        pid => Some(pid),
    }
}

fn name(name: &str) {
    let name = std::ffi::CString::new(name).expect("no zero byte");
    // SAFETY: it ends with a zero byte.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

fn sleep(n: usize) {
    name(&format!("idle-{}", n % NAMES));
    loop {
        // SAFETY: it only waits.
        unsafe { libc::pause() };
    }
}

fn work() {
    name("busy");
    loop {
        std::thread::sleep(Duration::from_millis(10));
        let began = Instant::now();
        while began.elapsed() < WORK {
            std::hint::spin_loop();
        }
    }
}
