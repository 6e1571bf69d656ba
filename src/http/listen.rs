//! Binding the addresses to listen on, or taking the sockets that systemd has bound.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_setfd};
use tokio::net::{TcpListener, TcpSocket};

use super::ListenAddress;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 1024;

/// Binds one address. Without a host: all of IPv6 and IPv4 by one socket, or of IPv4 where there is no IPv6.
pub(super) fn bind(address: &ListenAddress) -> Result<TcpListener, String> {
    let bound = if address.host.is_empty() {
        listen(SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port))).or_else(|e| match no_ipv6(&e) {
            true => listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port))),
            false => Err(e),
        })
    } else {
        resolve(address).and_then(listen)
    };
    bound.map_err(|e| explain(address, &e))
}

/// The first descriptor that systemd hands over (sd_listen_fds(3)).
const FIRST: RawFd = 3;
/// More sockets than any unit has.
const MAX_SOCKETS: RawFd = 256;

/// The sockets that systemd hands over, by `$LISTEN_PID` and `$LISTEN_FDS`. To be called once: it takes them.
pub(super) fn from_systemd() -> Result<Vec<TcpListener>, String> {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<RawFd>().ok());
    let ours = variable("LISTEN_PID").is_some_and(|pid| i64::from(pid) == i64::from(std::process::id()));
    let count = variable("LISTEN_FDS").filter(|n| ours && (1..=MAX_SOCKETS).contains(n));
    let count = count.ok_or(
        "systemd has handed over no socket: --web.systemd-socket is for a service that a unit of type .socket starts; \
         without it, --web.listen-address says where to listen",
    )?;
    (FIRST..FIRST + count)
        .map(|fd| adopt(fd).map_err(|e| format!("the socket {fd} that systemd hands over: {e}")))
        .collect()
}

/// A listening TCP socket that is open as descriptor `fd`.
fn adopt(fd: RawFd) -> io::Result<TcpListener> {
    // SAFETY: it is only borrowed for this call, which fails if it is not open.
    fcntl_setfd(unsafe { BorrowedFd::borrow_raw(fd) }, FdFlags::CLOEXEC)?;
    // SAFETY: it is open, as the call above has shown, and was before the program began, so that nothing here owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    if !rustix::net::sockopt::socket_acceptconn(&socket)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
    }
    let listener = std::net::TcpListener::from(socket);
    // An error for what is no socket of the Internet's.
    listener.local_addr()?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    // After a restart the port can be bound while old connections still time out.
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() {
        // Whatever net.ipv6.bindv6only says: `[::]` stands for both, any other address for itself.
        let only = address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        rustix::net::sockopt::set_ipv6_v6only(&socket, only)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The host's first IPv4 address, else its first, as Go chooses.
fn resolve(address: &ListenAddress) -> io::Result<SocketAddr> {
    let found: Vec<SocketAddr> = (address.host.as_str(), address.port).to_socket_addrs()?.collect();
    let best = found.iter().find(|a| a.is_ipv4()).or(found.first());
    best.copied().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
}

fn no_ipv6(e: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL].iter().any(|errno| e.raw_os_error() == Some(errno.raw_os_error()))
}

/// What went wrong and what to do about it.
fn explain(address: &ListenAddress, e: &io::Error) -> String {
    let hint = match e.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another program uses this port ({}). Stop it, or listen elsewhere, for example with --web.listen-address=:{}",
            if address.port == 9100 { "node_exporter's default is the same" } else { "ss -ltnp shows which" },
            address.port.checked_add(1).unwrap_or(9100),
        ),
        io::ErrorKind::PermissionDenied => format!(
            "ports below 1024 need the capability CAP_NET_BIND_SERVICE; --web.listen-address=:{} needs none",
            9100
        ),
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; --web.listen-address takes one that `ip address` shows, or none"
                .to_string()
        }
        _ => format!("{e}; --web.listen-address chooses the address"),
    };
    format!("cannot listen on {address}: {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_without_host_takes_ipv4_and_ipv6() {
        let listener = bind(&":0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        if listener.local_addr().unwrap().is_ipv6() {
            tokio::net::TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_an_error_that_says_what_to_do() {
        let first = bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let address = ListenAddress { host: "127.0.0.1".into(), port: first.local_addr().unwrap().port() };
        let said = bind(&address).unwrap_err();
        assert!(said.contains(&format!("cannot listen on {address}: another program uses this port")), "{said}");
        assert!(said.contains("--web.listen-address="), "{said}");
    }

    #[tokio::test]
    async fn a_socket_that_was_handed_over_is_served_and_what_is_none_is_refused() {
        use std::os::fd::IntoRawFd;
        let ready = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = ready.local_addr().unwrap();
        let listener = adopt(ready.into_raw_fd()).unwrap();
        let (client, accepted) = tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
        assert!(client.is_ok() && accepted.is_ok());

        let plain = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(adopt(plain.into_raw_fd()).is_err());
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(adopt(file.into_raw_fd()).is_err());
        assert!(from_systemd().unwrap_err().contains("--web.systemd-socket"), "tests have no such sockets");
    }

    #[tokio::test]
    async fn an_address_that_the_machine_has_not_is_named() {
        let said = bind(&"192.0.2.1:9100".parse().unwrap()).unwrap_err();
        assert!(said.contains("192.0.2.1:9100") && said.contains("no such address"), "{said}");
    }
}
