//! A netlink socket on which the kernel reports by itself, and how it is noticed that reports were lost.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

use crate::collect::{fields, lines};

/// Longer than any report.
const BUFFER: usize = 8 << 10;

/// A socket that never blocks.
pub(super) struct Socket {
    fd: Arc<OwnedFd>,
    buffer: Box<[u8]>,
    /// Names it in /proc/net/netlink.
    inode: u64,
    /// What the kernel could not put into it, ever.
    dropped: u64,
}

/// What is in a socket.
pub(super) enum Received<'s> {
    Messages(&'s [u8]),
    /// All has been received.
    Empty,
    /// So many reports found no room. What came before them is still to be received.
    Lost(u64),
}

impl Socket {
    /// `size`: bytes of memory that may be used by what waits in it.
    pub fn open(protocol: Protocol, size: usize) -> io::Result<Socket> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(protocol))?;
        // Beyond the system's limit where that is permitted.
        set_socket_recv_buffer_size_force(&fd, size).or_else(|_| set_socket_recv_buffer_size(&fd, size))?;
        let inode = rustix::fs::fstat(&fd)?.st_ino;
        Ok(Socket { fd: Arc::new(fd), buffer: vec![0; BUFFER].into(), inode, dropped: 0 })
    }

    /// Gives it an address, and has it receive what is sent to `groups` (a set of bits).
    pub fn join(&self, groups: u32) -> io::Result<()> {
        Ok(bind(&*self.fd, &SocketAddrNetlink::new(0, groups))?)
    }

    /// Lets only those messages in for which the program does not return 0.
    pub fn filter(&self, program: &mut [libc::sock_filter]) -> io::Result<()> {
        attach_filter(&self.fd, program)
    }

    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        send(&*self.fd, message, SendFlags::empty())?;
        Ok(())
    }

    /// The next datagram.
    pub fn receive(&mut self) -> io::Result<Received<'_>> {
        let length = loop {
            match recv(&*self.fd, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => break length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Received::Empty),
                Err(Errno::NOBUFS) => return Ok(Received::Lost(self.newly_dropped())),
                Err(error) => return Err(error.into()),
            }
        };
        Ok(Received::Messages(self.buffer.get(..length).unwrap_or_default()))
    }

    /// Waits for the first message for which `answer` gives something; `None` when there is none in `time`.
    pub fn wait<T>(&mut self, time: Duration, mut answer: impl FnMut(&[u8]) -> Option<T>) -> io::Result<Option<T>> {
        let limit = Instant::now() + time;
        loop {
            match self.receive()? {
                Received::Messages(messages) => {
                    if let Some(answer) = answer(messages) {
                        return Ok(Some(answer));
                    }
                }
                Received::Lost(_) => {}
                Received::Empty => {
                    let left = limit.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(None);
                    }
                    let left = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ };
                    let mut fds = [PollFd::from_borrowed_fd(self.fd.as_fd(), PollFlags::IN)];
                    match poll(&mut fds, Some(&left)) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
    }

    /// To wait for what comes while somebody else has the socket.
    pub fn waitable(&self) -> Arc<OwnedFd> {
        self.fd.clone()
    }

    /// How many reports found no room since the last call, at least one.
    fn newly_dropped(&mut self) -> u64 {
        let table = std::fs::read("/proc/self/net/netlink").unwrap_or_default();
        let dropped = dropped(&table, self.inode).unwrap_or(0).max(self.dropped.saturating_add(1));
        let new = dropped - self.dropped;
        self.dropped = dropped;
        new
    }
}

pub(super) fn attach_filter(socket: &OwnedFd, program: &mut [libc::sock_filter]) -> io::Result<()> {
    let len = program.len().try_into().map_err(io::Error::other)?;
    let program = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    let size = size_of::<libc::sock_fprog>() as libc::socklen_t;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
    // SAFETY: the kernel reads a `sock_fprog`, whose size is given, and `len` instructions from where it points to, all of
    // which outlive the call; it writes to none of them.
    match unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const program).cast(), size) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The column `Drops` of /proc/net/netlink for the socket of this number, which is the last column.
fn dropped(table: &[u8], inode: u64) -> Option<u64> {
    lines(table).skip(1).find_map(|line| {
        let mut columns = fields(line).skip(8);
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
        let drops = number(columns.next()?)?;
        (number(columns.next()?)? == inode).then_some(drops)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    #[test]
    fn the_kernel_counts_what_found_no_room() {
        let table = b"sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n\
            00000000e3f5f0a5 11  4138       00000001 0        0        0     2        77       31337   \n\
            000000001c9b3a7e 16  0          00000000 0        0        0     2        0        1055    \n\
            cut 16 0\n";
        assert_eq!(dropped(table, 31337), Some(77));
        assert_eq!(dropped(table, 1055), Some(0));
        assert_eq!(dropped(table, 7), None);
    }

    #[test]
    fn no_table_makes_it_panic() {
        let table = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n\
            00000000e3f5f0a5 11  4138       00000001 0        0        0     2        77       31337   \n";
        Fuzz::of(&[table]).bytes(|table| {
            let _ = dropped(table, 31337);
        });
    }
}
