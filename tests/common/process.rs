//! Child processes that never outlive the test, and ports for them.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A port of 127.0.0.1 that is free now.
///
/// Below the range from which the kernel takes ports for outgoing connections, so that none of those takes it before
/// the program under test binds it.
pub fn free_port() -> u16 {
    const FIRST: u16 = 18_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (process::id() % u32::from(COUNT)) as u16;
    loop {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A child process whose standard error is kept; killed when dropped.
pub struct Child {
    child: process::Child,
    log: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
    ended: Option<ExitStatus>,
}

impl Child {
    pub fn spawn(command: &mut Command) -> Child {
        Child::spawn_with(command, Stdio::null())
    }

    pub fn spawn_with(command: &mut Command, stdin: Stdio) -> Child {
        let program = command.get_program().to_os_string();
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {}: {e}", program.display()));
        let log = Arc::new(Mutex::new(String::new()));
        let mut stderr = child.stderr.take().expect("it is piped");
        let lines = log.clone();
        // Ends with the child, which holds the other end.
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(n @ 1..) = stderr.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..n]);
                lines.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Child { child, log, reader, ended: None }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard error.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it is not reaped yet");
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("it is our child");
        }
        self.ended
    }

    /// Waits for its end, and for what it wrote last.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                // What it has started may still hold the pipe: that is not waited for.
                let read = Instant::now() + Duration::from_secs(2);
                while !self.reader.is_finished() && Instant::now() < read {
                    std::thread::sleep(Duration::from_millis(5));
                }
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("process {} is still there after {within:?}; its log:\n{}", self.id(), self.log());
    }

    /// SIGKILL, and gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.ended = self.child.wait().ok();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.kill();
        }
    }
}

/// A process under a name of its own, for a minute at most; killed when dropped.
pub struct Named {
    child: Child,
    _dir: tempfile::TempDir,
}

impl Named {
    /// Burns CPU.
    pub fn burning(name: &str) -> Named {
        Named::start(name, "/bin/sh", &["-c", "ulimit -t 60; while :; do :; done"])
    }

    /// Does nothing.
    pub fn sleeping(name: &str) -> Named {
        Named::start(name, "/bin/sleep", &["60"])
    }

    fn start(name: &str, program: &str, args: &[&str]) -> Named {
        let dir = tempfile::tempdir().expect("a temporary directory");
        // The kernel names a process after the file that it was started by.
        let link = dir.path().join(name);
        let program = fs::canonicalize(program).expect("it is there on every Linux");
        std::os::unix::fs::symlink(program, &link).expect("a link");
        let child = Child::spawn(Command::new(&link).args(args));
        let comm = Path::new("/proc").join(child.id().to_string()).join("comm");
        super::eventually("the process has its name", super::SOON, || {
            (fs::read_to_string(&comm).ok()?.strip_suffix('\n')? == name).then_some(())
        });
        Named { child, _dir: dir }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }
}
