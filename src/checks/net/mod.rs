//! What the checks over a network share: their time, addresses and how they are reached, and the types of their keys.

mod address;
mod clock;
mod regexp;
#[cfg(test)]
pub mod testing;
mod values;

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

pub use address::{Found, connect, resolve, write_address};
pub use clock::{Clock, took, write_success};
pub use regexp::Regexp;
pub use values::{HostPort, Ip, IpProtocol};

/// What bytes go over: with and without TLS.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Why a system call failed, in as few words as say it.
pub fn why(error: &io::Error) -> String {
    let known = match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused",
        io::ErrorKind::ConnectionReset => "the connection was reset",
        io::ErrorKind::BrokenPipe => "the connection was closed",
        io::ErrorKind::HostUnreachable => "no route to the host",
        io::ErrorKind::NetworkUnreachable => "no route to its network",
        io::ErrorKind::TimedOut => "no answer",
        io::ErrorKind::PermissionDenied => "this host forbids it",
        io::ErrorKind::UnexpectedEof => "the connection was closed too early",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_string();
    }
    let text = error.to_string();
    let text = text.split_once(" (os error ").map_or(text.as_str(), |(text, _)| text);
    text.strip_prefix("failed to lookup address information: ").unwrap_or(text).to_string()
}

/// Runs what reads files on a thread that may block, where there are files; else at once.
///
/// # Errors
/// That of `run`.
pub async fn with_files<T: Send + 'static>(
    are_files: bool,
    run: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    if are_files { tokio::task::spawn_blocking(run).await.map_err(|e| e.to_string())? } else { run() }
}

/// A text from the far side as it may stand in a line: without control characters, and not long.
pub fn shown(text: &str) -> String {
    const LONGEST: usize = 100;
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.trim().chars().take(LONGEST).map(clean).collect();
    if text.trim().chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}
