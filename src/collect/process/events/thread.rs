//! The thread that receives what the kernel reports as soon as it comes, within a bound on how often.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use super::sources::{Sources, Waitable};
use super::texts::{AtExec, Reader};
use crate::collect::Roots;

/// How often the sockets are emptied at most: a quiet host's processes are seen as they begin, and a storm of them costs
/// a hundred wake-ups a second.
const WINDOW: Duration = Duration::from_millis(100);
const MOST_IN_WINDOW: u32 = 10;
/// How long ends alone are left to wait: those of threads are frequent on some hosts, and no text is read at an end. Ten
/// thousand and more find room in the socket.
const ENDS_AFTER: Duration = Duration::from_millis(200);
/// Of how many processes that executed a program in one go the texts are read: the last ones, which are the likeliest to
/// be alive.
const MOST_TEXTS: usize = 32;

/// What the thread and the pass share.
struct Shared {
    /// Guards the sources with all that comes from them; held while they are emptied, never while /proc is read.
    sources: Mutex<Sources>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Receives all that has been reported.
    fn empty(&self, reader: &mut Reader, executed: &mut Vec<u32>) {
        executed.clear();
        let mut sources = self.lock();
        sources.receive_births(executed);
        let last = executed.get(executed.len().saturating_sub(MOST_TEXTS)..).unwrap_or_default();
        if reader.wants_any() && !last.is_empty() {
            // To read of a process can take as long as that holds its memory.
            drop(sources);
            let texts: Vec<_> = last.iter().map(|pid| (*pid, reader.read(*pid))).collect();
            sources = self.lock();
            for (pid, text) in texts {
                sources.texts.insert(pid, text);
            }
        }
        sources.receive_ends();
        executed.shrink_to(1024);
    }
}

/// The thread, as the pass sees it.
pub(super) struct Thread {
    shared: Arc<Shared>,
    reader: Reader,
    executed: Vec<u32>,
    running: Option<(JoinHandle<()>, Arc<OwnedFd>)>,
}

impl Thread {
    pub fn start(at_exec: AtExec, roots: &Roots) -> Thread {
        Thread::with(Sources::open(roots), at_exec, roots)
    }

    pub fn with(sources: Sources, at_exec: AtExec, roots: &Roots) -> Thread {
        let waitable = sources.waitable();
        let mut thread = Thread {
            shared: Arc::new(Shared { sources: Mutex::new(sources) }),
            reader: Reader::new(at_exec, roots),
            executed: Vec::new(),
            running: None,
        };
        if waitable.births.is_some() || waitable.ends.is_some() {
            let (shared, reader) = (thread.shared.clone(), Reader::new(at_exec, roots));
            match spawn(shared, waitable, reader) {
                Ok(running) => thread.running = Some(running),
                Err(error) => thread.lock().close(&format!("its thread cannot be started: {error}")),
            }
        }
        thread
    }

    pub fn empty(&mut self) {
        self.shared.empty(&mut self.reader, &mut self.executed);
    }

    pub fn lock(&self) -> MutexGuard<'_, Sources> {
        self.shared.lock()
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some((thread, stop)) = self.running.take() {
            // It fails for an overflow alone, which wakes as well.
            let _ = rustix::io::write(&*stop, &1u64.to_ne_bytes());
            let _ = thread.join();
        }
    }
}

type Running = (JoinHandle<()>, Arc<OwnedFd>);

fn spawn(shared: Arc<Shared>, waitable: Waitable, reader: Reader) -> std::io::Result<Running> {
    let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
    let stopped = stop.clone();
    let builder = std::thread::Builder::new().name("process-events".to_string()).stack_size(256 << 10);
    let thread = builder.spawn(move || run(&shared, waitable, &stopped, reader))?;
    Ok((thread, stop))
}

fn run(shared: &Shared, mut waitable: Waitable, stop: &OwnedFd, mut reader: Reader) {
    let mut executed = Vec::new();
    let mut pace = Pace::default();
    let mut emptied = None;
    while waitable.births.is_some() || waitable.ends.is_some() {
        let wait_for_ends = emptied.map_or(Duration::ZERO, |at: Instant| ENDS_AFTER.saturating_sub(at.elapsed()));
        let (ends, time) = match &waitable.ends {
            Some(_) if !wait_for_ends.is_zero() => (None, Some(wait_for_ends)),
            ends => (ends.as_deref(), None),
        };
        match wait(stop, waitable.births.as_deref().into_iter().chain(ends), time) {
            Woken::ToStop => return,
            Woken::ByTime => continue,
            Woken::BySocket => {}
        }
        shared.empty(&mut reader, &mut executed);
        waitable = shared.lock().waitable();
        let now = Instant::now();
        emptied = Some(now);
        if let Some(rest) = pace.rest(now)
            && wait(stop, std::iter::empty(), Some(rest)) == Woken::ToStop
        {
            return;
        }
    }
}

#[derive(PartialEq, Eq)]
enum Woken {
    ToStop,
    BySocket,
    ByTime,
}

/// Waits for one of the sockets, or for the time to pass.
fn wait<'f>(stop: &'f OwnedFd, sockets: impl Iterator<Item = &'f OwnedFd>, time: Option<Duration>) -> Woken {
    let all = std::iter::once(stop).chain(sockets);
    let mut fds: Vec<_> = all.map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)).collect();
    let time = time.map(|time| Timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos() as _ });
    match poll(&mut fds, time.as_ref()) {
        Ok(0) | Err(Errno::INTR) => Woken::ByTime,
        Ok(_) if fds.first().is_some_and(|stop| !stop.revents().is_empty()) => Woken::ToStop,
        Ok(_) => Woken::BySocket,
        Err(error) => {
            // The pass still empties the sockets: late, and losing more in a storm.
            tracing::warn!(%error, "cannot wait for reports on processes");
            Woken::ToStop
        }
    }
}

/// When the sockets may be emptied again.
#[derive(Default)]
struct Pace {
    window: Option<Instant>,
    times: u32,
}

impl Pace {
    /// Counts a time; how long to rest before the next.
    fn rest(&mut self, now: Instant) -> Option<Duration> {
        match self.window {
            Some(began) if now.saturating_duration_since(began) < WINDOW => {
                self.times += 1;
                let rest = WINDOW.saturating_sub(now.saturating_duration_since(began));
                (self.times >= MOST_IN_WINDOW).then_some(rest)
            }
            _ => {
                (self.window, self.times) = (Some(now), 1);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_met_ten_times_in_a_tenth_of_a_second() {
        let mut pace = Pace::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        for ms in 0..9 {
            assert_eq!(pace.rest(at(ms)), None);
        }
        assert_eq!(pace.rest(at(30)), Some(Duration::from_millis(70)));
        assert_eq!(pace.rest(at(100)), None, "a new window");
        assert_eq!(pace.rest(at(101)), None);
    }
}
