//! Netlink sockets (`man 7 netlink`): one request, one dump; and what messages are made of.
//!
//! The replies come from the kernel, yet every length in them is checked all the same.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice, recv, send, socket_with,
};

pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP_REQUEST: u16 = 0x301;
/// The list changed while it was being dumped.
const NLM_F_DUMP_INTR: u16 = 0x10;
/// Of an attribute's type: the rest says that it is nested, or in network byte order.
const NLA_TYPE_MASK: u16 = 0x3fff;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// The part of generic netlink that knows the others (`linux/genetlink.h`).
pub(super) const GENL_ID_CTRL: u16 = 16;
pub(super) const CTRL_CMD_GETFAMILY: u8 = 3;
pub(super) const CTRL_ATTR_FAMILY_ID: u16 = 1;
pub(super) const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// `struct genlmsghdr`: the command, its version, nothing.
pub(super) const GENL_HEADER: usize = 4;
/// What the kernel fills at most in one go.
const BUFFER: usize = 32 << 10;
/// The kernel answers at once or not at all.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How often a dump that a change interrupted is asked for again; after that it is taken as it is.
const RETRIES: usize = 2;

/// A socket to a part of the kernel, opened when it is first asked.
pub(super) struct Netlink {
    protocol: Option<Protocol>,
    socket: Option<OwnedFd>,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Netlink {
    /// `None` is the routing layer, which is number 0; for others see `rustix::net::netlink`.
    pub fn new(protocol: Option<Protocol>) -> Netlink {
        Netlink { protocol, socket: None, buffer: Vec::new(), sequence: 0 }
    }

    /// Asks for a list: `reset`, then `each` for every message with its type and body; both again from the start when the
    /// list changed meanwhile. `request` is what follows the header, padded to a multiple of four bytes.
    pub fn dump<S>(
        &mut self,
        kind: u16,
        request: &[u8],
        state: &mut S,
        reset: fn(&mut S),
        mut each: impl FnMut(&mut S, u16, &[u8]),
    ) -> io::Result<()> {
        for attempt in 0.. {
            reset(state);
            match self.dump_once(kind, request, |kind, body| each(state, kind, body)) {
                Ok(true) if attempt < RETRIES => {}
                Ok(_) => return Ok(()),
                Err(error) => {
                    // What is left of the dump must not be taken for the next one.
                    self.socket = None;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// The number of a family of generic netlink; `None` when the kernel has none of this name.
    pub fn family(&mut self, name: &[u8]) -> io::Result<Option<u16>> {
        let mut number = None;
        let reset = |number: &mut Option<u16>| *number = None;
        self.dump(GENL_ID_CTRL, &[CTRL_CMD_GETFAMILY, 1, 0, 0], &mut number, reset, |number, kind, body| {
            let family = body.get(GENL_HEADER..).unwrap_or_default();
            if kind == GENL_ID_CTRL && attribute(family, CTRL_ATTR_FAMILY_NAME).map(text) == Some(name) {
                *number = attribute(family, CTRL_ATTR_FAMILY_ID).and_then(|id| u16_at(id, 0));
            }
        })?;
        Ok(number)
    }

    /// Whether the dump was interrupted.
    fn dump_once(&mut self, kind: u16, request: &[u8], mut each: impl FnMut(u16, &[u8])) -> io::Result<bool> {
        if self.buffer.is_empty() {
            self.buffer.resize(BUFFER, 0);
        }
        let socket = match &self.socket {
            Some(socket) => socket,
            None => self.socket.insert(open(self.protocol)?),
        };
        self.sequence = self.sequence.wrapping_add(1);
        let request = message(kind, DUMP_REQUEST, self.sequence, request);
        send(socket, &request, SendFlags::empty())?;
        let mut interrupted = false;
        loop {
            let length = match recv(socket, &mut self.buffer[..], RecvFlags::TRUNC) {
                Ok((_, length)) => length,
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let Some(mut rest) = self.buffer.get(..length) else {
                return Err(io::Error::other(format!(
                    "an answer of {length} bytes is longer than the kernel makes them"
                )));
            };
            if rest.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            while let Some((message, tail)) = split_message(rest) {
                rest = tail;
                if message.sequence != self.sequence {
                    continue;
                }
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind {
                    NLMSG_DONE | NLMSG_ERROR => {
                        let code = message.body.first_chunk().map_or(0, |b| i32::from_ne_bytes(*b));
                        if code < 0 || message.kind == NLMSG_ERROR {
                            return Err(io::Error::from_raw_os_error(code.saturating_neg()));
                        }
                        return Ok(interrupted);
                    }
                    kind => each(kind, message.body),
                }
            }
        }
    }

    fn device_name(&mut self, index: u32) -> Option<String> {
        let socket = match &self.socket {
            Some(socket) => socket,
            None => self.socket.insert(open(self.protocol).ok()?),
        };
        netdevice::index_to_name(socket, index).ok()
    }
}

/// Names of network devices, each asked for once.
#[derive(Default)]
pub(super) struct DeviceNames {
    names: BTreeMap<u32, Option<String>>,
}

impl DeviceNames {
    /// `None` when there is no device with this index (any more).
    pub fn name(&mut self, index: u32, netlink: &mut Netlink) -> Option<&str> {
        self.names.entry(index).or_insert_with(|| netlink.device_name(index)).as_deref()
    }
}

fn open(protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(TIMEOUT))?;
    Ok(socket)
}

pub(super) fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    // The sender: this socket, whatever its address is.
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes
}

pub(super) struct Message<'m> {
    pub kind: u16,
    flags: u16,
    pub sequence: u32,
    pub body: &'m [u8],
}

/// The first message, and what is behind it; `None` when there is no whole one.
pub(super) fn split_message(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let (header, _) = bytes.split_first_chunk::<HEADER>()?;
    let length = u32_at(header, 0)? as usize;
    let body = bytes.get(HEADER..length)?;
    let message = Message { kind: u16_at(header, 4)?, flags: u16_at(header, 6)?, sequence: u32_at(header, 8)?, body };
    Some((message, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// Attributes: type and content.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & NLA_TYPE_MASK;
        let content = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, content))
    })
}

/// The content of the first attribute of this type.
pub(super) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(k, _)| *k == kind).map(|(_, content)| content)
}

/// A text up to its zero byte.
pub(super) fn text(content: &[u8]) -> &[u8] {
    content.split(|b| *b == 0).next().unwrap_or_default()
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_ne_bytes(*b))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_ne_bytes(*b))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|b| u64::from_ne_bytes(*b))
}

/// What the tests of netlink collectors share: a kernel that answers what it is told to, and the running one.
#[cfg(test)]
pub(super) mod testing {
    use std::process::Command;

    use rustix::net::{SocketFlags, SocketType, socketpair};
    use rustix::thread::UnshareFlags;

    use super::*;

    /// An attribute with its padding.
    pub fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
        let mut bytes = ((4 + content.len()) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// The datagrams with which the kernel answers the `sequence`th request (from 1): the messages, and the end.
    pub fn answer(sequence: u32, messages: &[(u16, Vec<u8>)]) -> Vec<Vec<u8>> {
        let end = (NLMSG_DONE, vec![0; 4]);
        messages.iter().chain([&end]).map(|(kind, body)| message(*kind, 2, sequence, body)).collect()
    }

    /// A refusal of the `sequence`th request.
    pub fn refusal(sequence: u32, errno: rustix::io::Errno) -> Vec<Vec<u8>> {
        vec![message(NLMSG_ERROR, 0, sequence, &(-errno.raw_os_error()).to_ne_bytes())]
    }

    /// A socket at whose other end these datagrams wait, and then nothing more. The other end must be kept.
    pub fn answering(datagrams: &[Vec<u8>]) -> (Netlink, OwnedFd) {
        let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let (kernel, socket) = pair.expect("a pair of sockets");
        for datagram in datagrams {
            send(&kernel, datagram, SendFlags::empty()).expect("a datagram that fits");
        }
        set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_millis(50))).expect("a timeout");
        (Netlink { socket: Some(socket), ..Netlink::new(None) }, kernel)
    }

    /// Runs `test` in a network namespace of its own, made up by `commands`. Skips it, saying so, where that is not
    /// permitted or a command fails.
    pub fn in_namespace(commands: &[&str], test: impl FnOnce() + Send) {
        let run = || -> Result<(), String> {
            // SAFETY: only this thread moves to the new namespace, and it ends with the test.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.map_err(|e| format!("unshare: {e}"))?;
            for command in commands {
                let mut words = command.split(' ');
                let done = Command::new(words.next().unwrap_or_default()).args(words).output();
                let done = done.map_err(|e| format!("{command}: {e}"))?;
                if !done.status.success() {
                    return Err(format!("{command}: {}", String::from_utf8_lossy(&done.stderr).trim()));
                }
            }
            test();
            Ok(())
        };
        std::thread::scope(|scope| {
            match scope.spawn(run).join() {
                Ok(Ok(())) => {}
                Ok(Err(why)) => eprintln!("skipped: {why}"),
                Err(panic) => std::panic::resume_unwind(panic),
            };
        });
    }
}

#[cfg(test)]
mod tests {

    use super::testing::{answer, answering, refusal};
    use super::*;
    use crate::fuzz::Fuzz;

    fn bodies(netlink: &mut Netlink) -> io::Result<Vec<Vec<u8>>> {
        let mut bodies = Vec::new();
        netlink.dump(18, &[0; 4], &mut bodies, Vec::clear, |bodies, _, body| bodies.push(body.to_vec()))?;
        Ok(bodies)
    }

    #[test]
    fn a_dump_is_all_messages_up_to_its_end() {
        let mut datagrams = answer(7, &[(16, b"of another request..".to_vec())]);
        datagrams.extend(answer(1, &[(16, b"one ".to_vec()), (16, b"two".to_vec())]));
        let (mut netlink, _kernel) = answering(&datagrams);
        assert_eq!(bodies(&mut netlink).unwrap(), [&b"one "[..], b"two"]);
    }

    #[test]
    fn a_dump_that_changed_meanwhile_is_asked_for_again() {
        let mut datagrams = vec![message(16, NLM_F_DUMP_INTR, 1, b"old.")];
        datagrams.extend(answer(1, &[]));
        datagrams.extend(answer(2, &[(16, b"new.".to_vec())]));
        let (mut netlink, _kernel) = answering(&datagrams);
        assert_eq!(bodies(&mut netlink).unwrap(), [b"new."]);
    }

    #[test]
    fn a_refusal_and_silence_are_errors() {
        let (mut netlink, _kernel) = answering(&refusal(1, rustix::io::Errno::PERM));
        assert_eq!(bodies(&mut netlink).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let (mut netlink, _kernel) = answering(&[]);
        assert_eq!(bodies(&mut netlink).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn no_bytes_make_it_panic_or_loop() {
        let good = [message(16, 0, 1, b"one "), answer(7, &[(16, b"two".to_vec()), (20, vec![0; 30])]).concat()];
        Fuzz::of(&good).bytes(|bytes| {
            let mut rest = bytes;
            while let Some((_, tail)) = split_message(rest) {
                assert!(tail.len() < rest.len());
                rest = tail;
            }
            assert!(attributes(bytes).count() <= bytes.len() / 4);
        });
        // Through a socket, as much as fits into it.
        Fuzz::of(&good).bytes(|bytes| {
            let bytes = &bytes[..bytes.len().min(8192)];
            let (mut netlink, kernel) = answering(&[message(16, 0, 1, bytes), bytes.to_vec()]);
            drop(kernel);
            let _ = bodies(&mut netlink);
        });
    }
}
