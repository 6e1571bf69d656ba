//! Asks filesystems for their use: those that may hang on threads of their own, so that a dead server holds up nothing.
//!
//! A mount that does not answer keeps one thread until it does: a system call that waits for a dead NFS server cannot
//! be called off. There are only so many threads; where all hang, the remaining mounts that may hang too are not
//! asked, and count as hanging.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Threads that wait for filesystems, however many are configured.
const MAX_THREADS: usize = 64;

/// A filesystem's use, in bytes and file nodes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Usage {
    pub size: f64,
    pub free: f64,
    /// What others than root may still use.
    pub available: f64,
    pub files: f64,
    pub files_free: f64,
}

/// What a mount answered; the error as text, as it stands in the label.
pub type Answer = Result<Usage, Arc<str>>;

/// The question itself: statfs(2), or what a test puts in its place.
pub type StatFs = Arc<dyn Fn(&Path) -> io::Result<Usage> + Send + Sync>;

/// statfs(2).
pub fn statfs(path: &Path) -> io::Result<Usage> {
    let s = rustix::fs::statfs(path)?;
    let block = s.f_bsize as f64;
    Ok(Usage {
        size: s.f_blocks as f64 * block,
        free: s.f_bfree as f64 * block,
        available: s.f_bavail as f64 * block,
        files: s.f_files as f64,
        files_free: s.f_ffree as f64,
    })
}

/// Asks now, on this thread.
pub fn ask(statfs: &StatFs, path: &Path) -> Answer {
    statfs(path).map_err(|e| reason(&e))
}

/// An error's text as node_exporter gives it: `no such file or directory`.
fn reason(error: &io::Error) -> Arc<str> {
    let text = error.to_string();
    let text = text.split_once(" (os error").map_or(&*text, |(text, _)| text);
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(chars).collect::<String>().into()
}

/// The threads, and what they are to ask.
pub struct Probes {
    statfs: StatFs,
    max_threads: usize,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// There is a question, or the end.
    work: Condvar,
    /// There is an answer.
    done: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Arc<Probe>>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Shared {
    /// A thread that panics holding the lock leaves the state whole: every change of it is one step.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One mount's questions and answers.
pub struct Probe {
    path: PathBuf,
    /// Taken only with the state's lock held, or by itself.
    turn: Mutex<Turn>,
}

#[derive(Default)]
struct Turn {
    /// Since when an answer is awaited.
    asked: Option<Instant>,
    last: Option<Answer>,
}

impl Probe {
    pub fn new(path: &Path) -> Arc<Probe> {
        Arc::new(Probe { path: path.to_path_buf(), turn: Mutex::default() })
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when an answer is awaited, if one is.
    pub fn asked(&self) -> Option<Instant> {
        self.turn().asked
    }

    /// The last answer.
    pub fn last(&self) -> Option<Answer> {
        self.turn().last.clone()
    }
}

impl Probes {
    /// With at most so many threads: between one and [`MAX_THREADS`].
    pub fn new(statfs: StatFs, max_threads: usize) -> Probes {
        let shared = Shared { state: Mutex::default(), work: Condvar::new(), done: Condvar::new() };
        Probes { statfs, max_threads: max_threads.clamp(1, MAX_THREADS), shared: Arc::new(shared) }
    }

    /// Asks each of `probes` that is not being asked already, and waits for these answers, at most `patience`.
    pub fn ask<'p>(&self, probes: impl Iterator<Item = &'p Arc<Probe>> + Clone, patience: Duration) {
        let start = Instant::now();
        let mut state = self.shared.lock();
        // What is not mounted any more need not be asked.
        state.queue.retain(|probe| Arc::strong_count(probe) > 1);
        for probe in probes.clone() {
            let mut turn = probe.turn();
            if turn.asked.is_none() {
                turn.asked = Some(start);
                state.queue.push_back(probe.clone());
            }
        }
        while state.threads < self.max_threads && state.idle < state.queue.len() {
            let (shared, statfs) = (self.shared.clone(), self.statfs.clone());
            let thread = std::thread::Builder::new().name("statfs".into()).stack_size(128 << 10);
            // Joined by nobody: one that hangs in the kernel could not be waited for. It ends when `Probes` has ended.
            if thread.spawn(move || answer(&shared, &statfs)).is_err() {
                break;
            }
            state.threads += 1;
            state.idle += 1;
        }
        self.shared.work.notify_all();
        // Those that were asked before this run are overdue, and not waited for again.
        while probes.clone().any(|p| p.asked() == Some(start)) {
            let left = patience.saturating_sub(start.elapsed());
            if left.is_zero() {
                return;
            }
            state = self.shared.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.queue.clear();
        self.shared.work.notify_all();
    }
}

/// A thread's life: takes questions until the end. It is counted as idle when it starts.
fn answer(shared: &Shared, statfs: &StatFs) {
    let mut state = shared.lock();
    loop {
        if state.closed {
            return;
        }
        let Some(probe) = state.queue.pop_front() else {
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        state.idle -= 1;
        drop(state);
        let answer = ask(statfs, &probe.path);
        state = shared.lock();
        state.idle += 1;
        *probe.turn() = Turn { asked: None, last: Some(answer) };
        shared.done.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_as_node_exporter_words_them() {
        let text = |errno: rustix::io::Errno| reason(&io::Error::from(errno)).to_string();
        assert_eq!(text(rustix::io::Errno::NOENT), "no such file or directory");
        assert_eq!(text(rustix::io::Errno::ACCESS), "permission denied");
        assert_eq!(text(rustix::io::Errno::NOTCONN), "transport endpoint is not connected");
    }

    #[test]
    fn a_crowd_of_dead_mounts_takes_a_bounded_number_of_threads() {
        let gate = Arc::new(Mutex::new(()));
        let closed = gate.lock().unwrap();
        let inside = Arc::new(Mutex::new(0));
        let statfs: StatFs = {
            let (gate, inside) = (gate.clone(), inside.clone());
            Arc::new(move |_: &Path| {
                *inside.lock().unwrap() += 1;
                drop(gate.lock());
                Err(io::ErrorKind::NotFound.into())
            })
        };
        let probes = Probes::new(statfs, 3);
        let mounts: Vec<_> = (0..40).map(|i| Probe::new(Path::new(&i.to_string()))).collect();
        for _ in 0..3 {
            probes.ask(mounts.iter(), Duration::from_millis(30));
        }
        assert!(mounts.iter().all(|m| m.asked().is_some()));
        assert_eq!((probes.shared.lock().threads, *inside.lock().unwrap()), (3, 3));
        drop(closed);
        let end = Instant::now() + Duration::from_secs(20);
        while mounts.iter().any(|m| m.last().is_none()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(mounts.iter().all(|m| m.asked().is_none() && m.last().is_some()));
    }
}
