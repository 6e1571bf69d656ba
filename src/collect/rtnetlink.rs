//! The kernel's list of network devices over rtnetlink (`man 7 rtnetlink`): names, 64-bit counters, addresses.
//!
//! One request, one dump. The replies come from the kernel, yet every length in them is checked all the same.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP_REQUEST: u16 = 0x301;
/// The list changed while it was being dumped.
const NLM_F_DUMP_INTR: u16 = 0x10;
const IFLA_IFNAME: u16 = 3;
const IFLA_STATS64: u16 = 23;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// `struct nlmsghdr`, and `struct ifinfomsg` behind it, which is the longest that a request needs.
const HEADER: usize = 16;
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
/// What the kernel fills at most in one go.
const BUFFER: usize = 32 << 10;
/// The kernel answers at once or not at all.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How often a dump that a change interrupted is asked for again; after that it is taken as it is.
const RETRIES: usize = 2;

/// `struct rtnl_link_stats64`, up to `rx_nohandler` (Linux 4.6): packets, bytes and errors since the device came up.
pub const STATS: usize = 24;

/// A device of the dump.
#[derive(Default)]
pub struct Link<'m> {
    pub index: u32,
    /// `ARPHRD_*`.
    pub kind: u16,
    /// `IFF_*`, as `dev_get_flags` of the kernel gives them.
    pub flags: u32,
    pub name: &'m [u8],
    /// All attributes, for [`attributes`].
    pub attributes: &'m [u8],
    /// In the order of `struct rtnl_link_stats64`; those that an old kernel has not are left out.
    pub stats: [Option<u64>; STATS],
}

/// An address of the dump.
pub struct Address {
    /// The device that has it.
    pub index: u32,
    pub address: IpAddr,
    pub prefix_length: u8,
}

/// A socket to the kernel's routing layer.
pub struct Rtnetlink {
    socket: Option<OwnedFd>,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Rtnetlink {
    pub fn new() -> Rtnetlink {
        Rtnetlink { socket: None, buffer: Vec::new(), sequence: 0 }
    }

    /// Calls `reset` and then `each` for every device; both again from the start when the list changed meanwhile.
    pub fn links<S>(
        &mut self,
        state: &mut S,
        reset: fn(&mut S),
        mut each: impl FnMut(&mut S, &Link),
    ) -> io::Result<()> {
        self.dump(RTM_GETLINK, state, reset, |state, kind, body| {
            if kind == RTM_NEWLINK
                && let Some(link) = parse_link(body)
            {
                each(state, &link);
            }
        })
    }

    /// As [`links`](Rtnetlink::links), for every IPv4 and IPv6 address.
    pub fn addresses<S>(
        &mut self,
        state: &mut S,
        reset: fn(&mut S),
        mut each: impl FnMut(&mut S, &Address),
    ) -> io::Result<()> {
        self.dump(RTM_GETADDR, state, reset, |state, kind, body| {
            if kind == RTM_NEWADDR
                && let Some(address) = parse_address(body)
            {
                each(state, &address);
            }
        })
    }

    fn dump<S>(
        &mut self,
        request: u16,
        state: &mut S,
        reset: fn(&mut S),
        mut each: impl FnMut(&mut S, u16, &[u8]),
    ) -> io::Result<()> {
        for attempt in 0.. {
            reset(state);
            match self.dump_once(request, |kind, body| each(state, kind, body)) {
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

    /// Whether the dump was interrupted.
    fn dump_once(&mut self, request: u16, mut each: impl FnMut(u16, &[u8])) -> io::Result<bool> {
        if self.buffer.is_empty() {
            self.buffer.resize(BUFFER, 0);
        }
        let socket = match &self.socket {
            Some(socket) => socket,
            None => self.socket.insert(open()?),
        };
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = [0; HEADER + LINK_HEADER];
        message[..4].copy_from_slice(&((HEADER + LINK_HEADER) as u32).to_ne_bytes());
        message[4..6].copy_from_slice(&request.to_ne_bytes());
        message[6..8].copy_from_slice(&DUMP_REQUEST.to_ne_bytes());
        message[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        send(socket, &message, SendFlags::empty())?;
        let mut interrupted = false;
        loop {
            let length = match recv(socket, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((length, _)) => length,
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let mut rest = self.buffer.get(..length).unwrap_or_default();
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
                    NLMSG_DONE => return Ok(interrupted),
                    NLMSG_ERROR => {
                        let errno = message.body.first_chunk().map_or(0, |b| i32::from_ne_bytes(*b));
                        return Err(io::Error::from_raw_os_error(errno.saturating_neg()));
                    }
                    kind => each(kind, message.body),
                }
            }
        }
    }
}

fn open() -> io::Result<OwnedFd> {
    // No protocol is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(TIMEOUT))?;
    Ok(socket)
}

struct Message<'m> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'m [u8],
}

/// The first message, and what is behind it; `None` when there is no whole one.
fn split_message(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let (header, _) = bytes.split_first_chunk::<HEADER>()?;
    let length = u32_at(header, 0)? as usize;
    let body = bytes.get(HEADER..length)?;
    let message = Message { kind: u16_at(header, 4)?, flags: u16_at(header, 6)?, sequence: u32_at(header, 8)?, body };
    Some((message, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// Attributes: type and content.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)?;
        let content = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, content))
    })
}

fn parse_link(body: &[u8]) -> Option<Link<'_>> {
    let mut link = Link {
        index: u32_at(body, 4)?,
        kind: u16_at(body, 2)?,
        flags: u32_at(body, 8)?,
        attributes: body.get(LINK_HEADER..)?,
        ..Link::default()
    };
    for (kind, content) in attributes(link.attributes) {
        match kind {
            IFLA_IFNAME => link.name = content.split(|b| *b == 0).next().unwrap_or_default(),
            IFLA_STATS64 => {
                for (cell, bytes) in link.stats.iter_mut().zip(content.as_chunks::<8>().0) {
                    *cell = Some(u64::from_ne_bytes(*bytes));
                }
            }
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}

fn parse_address(body: &[u8]) -> Option<Address> {
    let prefix_length = *body.get(1)?;
    let index = u32_at(body, 4)?;
    let mut address = None;
    for (kind, content) in attributes(body.get(ADDRESS_HEADER..)?) {
        let ip = match content.len() {
            4 => content.first_chunk::<4>().map(|b| IpAddr::V4(Ipv4Addr::from(*b))),
            16 => content.first_chunk::<16>().map(|b| IpAddr::V6(Ipv6Addr::from(*b))),
            _ => None,
        };
        // On a point-to-point device IFA_ADDRESS is the other end.
        if kind == IFA_LOCAL || (kind == IFA_ADDRESS && address.is_none()) {
            address = ip;
        }
    }
    Some(Address { index, address: address?, prefix_length })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_ne_bytes(*b))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_ne_bytes(*b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An attribute with its padding.
    fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
        let mut bytes = ((4 + content.len()) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn link_body(name: &[u8], stats: usize) -> Vec<u8> {
        let mut body = vec![0; LINK_HEADER];
        body[4..8].copy_from_slice(&7u32.to_ne_bytes());
        body.extend(attribute(IFLA_IFNAME, name));
        let counters: Vec<u8> = (1..=stats as u64).flat_map(u64::to_ne_bytes).collect();
        body.extend(attribute(IFLA_STATS64, &counters));
        body
    }

    #[test]
    fn a_link_has_its_name_and_the_counters_that_its_kernel_knows() {
        let body = link_body(b"eth0\0", 23);
        let link = parse_link(&body).unwrap();
        assert_eq!((link.index, link.name), (7, &b"eth0"[..]));
        assert_eq!((link.stats[0], link.stats[22], link.stats[23]), (Some(1), Some(23), None));
        let body = link_body(b"eth0\0", 30);
        assert_eq!(parse_link(&body).unwrap().stats[23], Some(24));
    }

    #[test]
    fn the_address_of_a_point_to_point_device_is_its_own_end() {
        let mut body = vec![2, 24, 0, 0];
        body.extend(3u32.to_ne_bytes());
        body.extend(attribute(IFA_ADDRESS, &[10, 0, 0, 2]));
        body.extend(attribute(IFA_LOCAL, &[10, 0, 0, 1]));
        let address = parse_address(&body).unwrap();
        assert_eq!((address.index, address.prefix_length), (3, 24));
        assert_eq!(address.address, IpAddr::from([10, 0, 0, 1]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_loop(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0..200usize) {
            let mut rest = &bytes[..];
            while let Some((message, tail)) = split_message(rest) {
                prop_assert!(tail.len() < rest.len());
                rest = tail;
                let _ = (parse_link(message.body), parse_address(message.body));
            }
            let _ = (parse_link(&bytes), parse_address(&bytes));
            let body = link_body(b"eth0\0", 24);
            let _ = parse_link(&body[..cut.min(body.len())]);
        }
    }
}
