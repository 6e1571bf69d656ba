//! The output of a command, as it comes.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::broadcast;

use super::outcome::Output;

/// How many pieces of output wait for a reader that is slow; a piece has at most 64 KiB.
const PIECES: usize = 64;

/// Which of its two outputs a command wrote to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a command wrote at once, as a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// Where it wrote it.
    pub source: Source,
    /// The bytes.
    pub bytes: Bytes,
}

/// The output of a running task, for whoever wants to see it as it comes.
pub struct Chunks {
    pub(super) receiver: broadcast::Receiver<Chunk>,
    pub(super) lost: u64,
}

impl Chunks {
    /// Waits for more output; `None` when there will be none.
    pub async fn next(&mut self) -> Option<Chunk> {
        loop {
            match self.receiver.recv().await {
                Ok(chunk) => return Some(chunk),
                Err(broadcast::error::RecvError::Lagged(lost)) => self.lost = self.lost.saturating_add(lost),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// The number of pieces that were not read in time and are lost. A slow reader never slows the command.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

/// Where those are told who want to see output as it comes.
#[derive(Default)]
pub(super) struct Tap(Mutex<TapState>);

#[derive(Default)]
enum TapState {
    /// Nobody wants to know: as a rule.
    #[default]
    Shut,
    Open(broadcast::Sender<Chunk>),
    /// There will be no more output.
    Over,
}

impl Tap {
    fn state(&self) -> MutexGuard<'_, TapState> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What comes from now on.
    pub(super) fn chunks(&self) -> Chunks {
        let mut state = self.state();
        let receiver = match &*state {
            TapState::Open(sender) => sender.subscribe(),
            TapState::Shut => {
                let (sender, receiver) = broadcast::channel(PIECES);
                *state = TapState::Open(sender);
                receiver
            }
            TapState::Over => broadcast::channel(1).1,
        };
        Chunks { receiver, lost: 0 }
    }

    pub(super) fn tell(&self, source: Source, bytes: &[u8]) {
        if let TapState::Open(sender) = &*self.state() {
            // Nobody may be left who listens.
            let _ = sender.send(Chunk { source, bytes: Bytes::copy_from_slice(bytes) });
        }
    }

    pub(super) fn close(&self) {
        *self.state() = TapState::Over;
    }
}

/// One stream of output: reads all, keeps the first part.
pub(super) struct Capture {
    pipe: pipe::Receiver,
    limit: usize,
    pub(super) kept: Output,
}

impl Capture {
    pub(super) fn new(pipe: OwnedFd, limit: usize) -> io::Result<Capture> {
        Ok(Capture { pipe: pipe::Receiver::from_owned_fd(pipe)?, limit, kept: Output::default() })
    }

    /// Reads until the last process has closed its end, and shows all to `each`.
    pub(super) async fn drain(&mut self, mut each: impl FnMut(&[u8])) {
        let Output { bytes, truncated } = &mut self.kept;
        while bytes.len() < self.limit {
            let (known, room) = (bytes.len(), self.limit.saturating_sub(bytes.len()));
            match (&mut self.pipe).take(u64::try_from(room).unwrap_or(u64::MAX)).read_buf(bytes).await {
                Ok(0) | Err(_) => return,
                Ok(_) => each(bytes.get(known..).unwrap_or_default()),
            }
        }
        let mut first = [0];
        if !matches!(self.pipe.read(&mut first).await, Ok(1..)) {
            return;
        }
        each(&first);
        *truncated = true;
        // As much as a pipe holds; taken only for those who say more than is kept.
        let mut more = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = self.pipe.read(&mut more).await {
            each(more.get(..length).unwrap_or_default());
        }
    }
}
