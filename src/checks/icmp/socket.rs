//! Sockets for ICMP.
//!
//! A datagram socket for it is open to the groups in `net.ipv4.ping_group_range` (icmp(7)); the kernel puts an identifier
//! of its own into packets, and gives only the replies to them. Where that is not permitted, a raw socket is, to who has
//! CAP_NET_RAW; it gets all packets of ICMP.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, ipproto, socket_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::super::net::why;
use super::super::verdict::Verdict;
use super::config::IcmpCheck;

pub(super) struct Socket {
    fd: AsyncFd<OwnedFd>,
    is_raw: bool,
}

impl Socket {
    /// A socket that takes only what comes from `ip`.
    ///
    /// # Errors
    /// A verdict: unknown where the agent may not, critical where there is no way.
    pub fn open(ip: IpAddr, config: &IcmpCheck) -> Result<Socket, Verdict> {
        let (family, protocol) = match ip {
            IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
            IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let open = |kind| socket_with(family, kind, flags, Some(protocol));
        let denied = |errno| matches!(errno, Errno::ACCESS | Errno::PERM | Errno::PROTONOSUPPORT);
        let (fd, is_raw) = match open(SocketType::DGRAM) {
            Ok(fd) => (Ok(fd), false),
            Err(errno) if denied(errno) => (open(SocketType::RAW), true),
            Err(errno) => (Err(errno), false),
        };
        let fd = fd.map_err(|errno| match errno {
            Errno::ACCESS | Errno::PERM => Verdict::unknown(
                "ping is not permitted: the agent needs a group within net.ipv4.ping_group_range, or CAP_NET_RAW",
            ),
            Errno::AFNOSUPPORT => Verdict::unknown(format!("ping {ip}: this host does not speak that version of IP")),
            errno => Verdict::unknown(format!("ping {ip}: no socket: {}", why(&errno.into()))),
        })?;
        let failed = |error: io::Error| Verdict::critical(format!("ping {ip}: {}", why(&error)));
        options(&fd, ip, config).map_err(failed)?;
        if let Some(source) = config.source_ip_address {
            bind(&fd, &SocketAddr::new(source.0, 0)).map_err(|errno| failed(errno.into()))?;
        }
        connect(&fd, &SocketAddr::new(ip, 0)).map_err(|errno| failed(errno.into()))?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        // SAFETY: the descriptor is owned, so it stays open, and the same, until it is dropped with what it is put into.
        let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
        let fd = registered.map_err(|error| failed(error.into()))?;
        Ok(Socket { fd, is_raw })
    }

    /// Whether all packets of ICMP come, with any identifier.
    pub fn is_raw(&self) -> bool {
        self.is_raw
    }

    pub async fn send(&self, packet: &[u8]) -> io::Result<()> {
        let send = |fd: &OwnedFd| Ok(rustix::net::send(fd, packet, rustix::net::SendFlags::empty())?);
        self.fd.async_io(Interest::WRITABLE, send).await.map(drop)
    }

    /// The length of the next packet, and the hop limit that it came with.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Option<u8>)> {
        // Errors come without anything to read.
        self.fd.async_io(Interest::READABLE | Interest::ERROR, |fd| receive(fd, buffer)).await
    }
}

fn options(fd: &OwnedFd, ip: IpAddr, config: &IcmpCheck) -> io::Result<()> {
    let ttl = config.ttl.and_then(|ttl| libc::c_int::try_from(ttl).ok());
    match ip {
        IpAddr::V4(_) => {
            let set = |option, value| set(fd, libc::IPPROTO_IP, option, value);
            set(libc::IP_RECVTTL, 1)?;
            // What routers say of packets that they cannot send on becomes the error of a call.
            set(libc::IP_RECVERR, 1)?;
            ttl.map_or(Ok(()), |ttl| set(libc::IP_TTL, ttl))?;
            if config.dont_fragment { set(libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO) } else { Ok(()) }
        }
        IpAddr::V6(_) => {
            let set = |option, value| set(fd, libc::IPPROTO_IPV6, option, value);
            set(libc::IPV6_RECVHOPLIMIT, 1)?;
            set(libc::IPV6_RECVERR, 1)?;
            ttl.map_or(Ok(()), |ttl| set(libc::IPV6_UNICAST_HOPS, ttl))?;
            // Only the sender takes packets of IPv6 apart.
            if config.dont_fragment { set(libc::IPV6_DONTFRAG, 1) } else { Ok(()) }
        }
    }
}

fn set(fd: &OwnedFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = mem::size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads an integer, whose size is given, from where it points to, and keeps nothing of it.
    match unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const value).cast(), size) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Room for what comes beside a packet; a hop limit takes 24 bytes, and begins where an integer may.
#[repr(align(8))]
struct Beside([MaybeUninit<u8>; 256]);

/// rustix has no messages beside a packet but descriptors and credentials.
fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, Option<u8>)> {
    let mut beside = Beside([MaybeUninit::zeroed(); 256]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: a `msghdr` of zeroes is one that names no memory.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut beside.0).cast();
    message.msg_controllen = mem::size_of::<Beside>() as _;
    // SAFETY: what the message points to is as long as it says, belongs to this function and outlives the call.
    let length = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let mut hop_limit = None;
    // SAFETY: the kernel has filled in `message`, and the macros stay within the length that it gives; the memory that
    // they lead to was zeroed before, so that all of it may be read. A hop limit is an integer, which may lie anywhere.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(found) = header.as_ref() {
            let is_limit = matches!(
                (found.cmsg_level, found.cmsg_type),
                (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT)
            );
            if is_limit && found.cmsg_len >= libc::CMSG_LEN(mem::size_of::<libc::c_int>() as u32) as _ {
                let value = libc::CMSG_DATA(header).cast::<libc::c_int>().read_unaligned();
                hop_limit = u8::try_from(value).ok();
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Ok((length, hop_limit))
}
