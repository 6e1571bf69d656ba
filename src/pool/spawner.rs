//! The thread that starts commands.
//!
//! The kernel kills a command when the *thread* that started it ends (see [`launch`](super::launch)). Threads of the
//! runtime come and go, so one thread does nothing but start commands, and every command keeps it alive: it ends when
//! the pool is closed and the last [`Child`] is reaped. It also reaps what nobody waits for any more.
//!
//! A start can hang: executing a file on a dead network mount waits in the kernel, and this thread with it. After
//! [`STALL`] another thread takes over what still waits, and the first one is left to its fate.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Pid;
use tokio::sync::oneshot;

use super::cgroup::ControlGroups;
use super::child::{Child, kill_group, own_peak, try_reap};
use super::guard::Guarding;
use super::launch::{ChildEnds, Image, Launcher};
use super::outcome::{StartError, StartStep};
use super::table::Claim;

/// A start takes about a millisecond; one that takes this long hangs.
const STALL: Duration = Duration::from_secs(1);

/// With this many threads hanging in starts, something is wrong that more threads do not cure.
const MAX_THREADS: usize = 8;

/// How often a process that was killed but has not ended is looked at.
const REAP_INTERVAL: Duration = Duration::from_millis(20);

/// A thread that starts commands; it lives as long as a clone of this.
#[derive(Clone)]
pub(super) struct Spawner {
    requests: mpsc::Sender<Request>,
    number: usize,
}

enum Request {
    Start(Ticket, Spawner),
    TakeOver(Pid),
}

/// A command to start: whoever takes it out does it.
type Ticket = Arc<Mutex<Option<Start>>>;

struct Start {
    image: Image,
    ends: ChildEnds,
    guarding: Option<Arc<Guarding>>,
    groups: Option<Arc<ControlGroups>>,
    reply: oneshot::Sender<Result<Child, StartError>>,
}

impl Spawner {
    fn begin(number: usize, starting: Arc<AtomicUsize>) -> io::Result<Spawner> {
        let (requests, inbox) = mpsc::channel();
        // What runs here is shallow; what takes space is the stack of the new process, which is elsewhere.
        std::thread::Builder::new().name("pool-spawner".into()).stack_size(128 * 1024).spawn(move || {
            serve(&inbox, &starting);
        })?;
        Ok(Spawner { requests, number })
    }

    /// Kills the group of an unreaped process and reaps it, in the background.
    pub(super) fn take_over(&self, leader: Pid) {
        // The thread ends only when the last sender is gone, so there is somebody to receive this.
        let _ = self.requests.send(Request::TakeOver(leader));
    }
}

fn serve(inbox: &mpsc::Receiver<Request>, starting: &AtomicUsize) {
    let mut launcher = Launcher::new();
    let mut killed: Vec<Pid> = Vec::new();
    loop {
        let request = if killed.is_empty() {
            inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            inbox.recv_timeout(REAP_INTERVAL)
        };
        match request {
            Ok(Request::Start(ticket, spawner)) => {
                // Not in the condition below: there the lock would be held while the command starts.
                let start = lock(&ticket).take();
                if let Some(start) = start {
                    starting.fetch_add(1, Ordering::Relaxed);
                    serve_start(&mut launcher, start, spawner);
                    starting.fetch_sub(1, Ordering::Relaxed);
                }
            }
            Ok(Request::TakeOver(leader)) => {
                kill_group(leader);
                killed.push(leader);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if killed.is_empty() => return,
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(REAP_INTERVAL),
        }
        killed.retain(|leader| !try_reap(*leader));
    }
}

fn serve_start(launcher: &mut Launcher, start: Start, spawner: Spawner) {
    let Start { image, ends, guarding, groups, reply } = start;
    if reply.is_closed() {
        return;
    }
    let agent_peak = own_peak();
    let entry = guarding.and_then(|guarding| guarding.prepare(launcher));
    // Only for what is limited: a group of its own costs as much as the start of a small command.
    let group = image.limits.memory.and_then(|memory| groups?.make(memory));
    let launched = launcher.launch(&image, &ends, entry.as_ref().and_then(Claim::slot), group.as_ref());
    let result = launched.map(|launched| Child::new(launched, entry, group, agent_peak, spawner));
    // When nobody waits any more the child comes back, is dropped, and so is killed and reaped by this thread.
    let _ = reply.send(result);
}

/// The pool's threads that start commands: one, begun at the first command, and more only when one hangs.
pub(super) struct Spawners {
    current: Mutex<Option<Spawner>>,
    begun: AtomicUsize,
    /// Threads in the midst of a start. One that was left and got out of it is no trouble: it lives for its commands.
    starting: Arc<AtomicUsize>,
    guarding: Mutex<Option<Arc<Guarding>>>,
    groups: Mutex<Option<Arc<ControlGroups>>>,
}

impl Spawners {
    pub(super) fn new() -> Spawners {
        Spawners {
            current: Mutex::new(None),
            begun: AtomicUsize::new(0),
            starting: Arc::new(AtomicUsize::new(0)),
            guarding: Mutex::new(None),
            groups: Mutex::new(None),
        }
    }

    /// Has a guard watch over the commands that are started from now on.
    pub(super) fn guard(&self, guarding: Guarding) {
        lock(&self.guarding).get_or_insert(Arc::new(guarding));
    }

    /// Has commands whose memory is limited run in control groups of their own.
    pub(super) fn contain(&self, groups: ControlGroups) {
        *lock(&self.groups) = Some(Arc::new(groups));
    }

    /// Starts a command. If this is dropped before it is done, the command is not started, or killed.
    pub(super) async fn start(&self, image: Image, ends: ChildEnds) -> Result<Child, StartError> {
        let thread_error = image.error(StartStep::Thread, io::Error::from_raw_os_error(libc::EAGAIN));
        let (reply, mut result) = oneshot::channel();
        let ticket = Arc::new(Mutex::new(Some(Start {
            image,
            ends,
            guarding: lock(&self.guarding).clone(),
            groups: lock(&self.groups).clone(),
            reply,
        })));
        loop {
            let spawner = match self.current() {
                Ok(spawner) => spawner,
                Err(source) => return Err(StartError { source: source.into(), ..thread_error }),
            };
            let number = spawner.number;
            let _ = spawner.requests.clone().send(Request::Start(Arc::clone(&ticket), spawner));
            match tokio::time::timeout(STALL, &mut result).await {
                Ok(Ok(started)) => return started,
                Ok(Err(_)) => {
                    self.replace(number);
                    return Err(thread_error);
                }
                Err(_) => {
                    self.replace(number);
                    if lock(&ticket).is_none() {
                        // This very start hangs: no other thread can help.
                        return result.await.unwrap_or(Err(thread_error));
                    }
                }
            }
        }
    }

    /// Lets the thread end when the last command is reaped, and ends the guard.
    pub(super) async fn close(&self) {
        lock(&self.current).take();
        let guarding = lock(&self.guarding).take();
        if let Some(guarding) = guarding {
            guarding.end().await;
        }
    }

    fn current(&self) -> io::Result<Spawner> {
        let mut current = lock(&self.current);
        if let Some(spawner) = &*current {
            return Ok(spawner.clone());
        }
        if self.starting.load(Ordering::Relaxed) >= MAX_THREADS {
            let message = format!("{MAX_THREADS} of them hang executing a file; is a network mount dead?");
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        let spawner = Spawner::begin(self.begun.fetch_add(1, Ordering::Relaxed), Arc::clone(&self.starting))?;
        Ok(current.insert(spawner).clone())
    }

    /// Leaves a thread that hangs, unless that has been done.
    fn replace(&self, number: usize) {
        let mut current = lock(&self.current);
        if current.as_ref().is_some_and(|spawner| spawner.number == number) {
            tracing::warn!(thread = number, "starting a command hangs; another thread starts the next ones");
            *current = None;
        }
    }
}

/// Nothing panics while one of these locks is held, so a poisoned one still guards whole values.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{Mode, OFlags};

    use super::super::task::Command;
    use super::*;

    #[tokio::test]
    async fn threads_that_were_left_and_recovered_are_no_reason_to_start_nothing() {
        let spawners = Spawners::new();
        let mut children = Vec::new();
        for number in 0..=MAX_THREADS {
            let null = || rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
            let ends = ChildEnds { stdin: null(), stdout: null(), stderr: null() };
            let command = Command { argv: ["sleep", "1000"].map(Into::into).to_vec(), ..Command::default() };
            children.push(spawners.start(Image::new(&command).unwrap(), ends).await.unwrap());
            spawners.replace(number);
        }
        assert_eq!(children.len(), MAX_THREADS + 1);
    }
}
