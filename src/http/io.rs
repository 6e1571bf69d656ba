//! A socket that tells its [`Slot`] what happens on it, and closes without losing the last answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::connections::Slot;

/// What a client may still send into a closed connection before it is cut.
const MAX_DRAINED: usize = 4 << 20;

pub(super) struct WatchedIo {
    stream: TcpStream,
    slot: Arc<Slot>,
    /// Bytes thrown away since our side was closed; `None` while it is open.
    drained: Option<usize>,
}

impl WatchedIo {
    pub fn new(stream: TcpStream, slot: Arc<Slot>) -> WatchedIo {
        WatchedIo { stream, slot, drained: None }
    }
}

impl Drop for WatchedIo {
    /// Who has not taken an answer in time does not get the rest from the kernel either, which would keep it, megabytes
    /// maybe, for as long as the client likes: the connection is reset.
    fn drop(&mut self) {
        if self.slot.is_answering() {
            // If it fails, the kernel's own limits on orphans apply.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for WatchedIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.slot.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WatchedIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.slot.flushed();
        Poll::Ready(Ok(()))
    }

    /// Closes our side, then reads what the client still sends until it closes its own. To close at once with bytes
    /// unread would have the kernel reset the connection, and the client might lose the answer that says why (431).
    /// The slot's phase limits the time.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.drained.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.slot.closing();
            self.drained = Some(0);
        }
        let mut scratch = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            let drained = self.drained.unwrap_or(0) + buf.filled().len();
            self.drained = Some(drained);
            if buf.filled().is_empty() || drained > MAX_DRAINED {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
