//! From a name to an address to a connection.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use super::super::families::Families;
use super::super::verdict::Verdict;
use super::{Clock, HostPort, IpProtocol, why};

/// Names that are looked up at a time. The system's resolver holds a thread until it has an answer, however long that
/// takes and whether or not it is still wanted: checks shall not take all threads when it hangs.
static LOOKUPS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(32)));

/// Where a host is.
pub struct Found {
    /// One, or two of different protocols: the preferred one first.
    pub addresses: Vec<IpAddr>,
    /// The time it took.
    pub lookup: Duration,
}

/// Finds a host's addresses. As in blackbox_exporter, IPv6 goes before IPv4 unless the other is preferred; with
/// `fallback`, what is not preferred is taken where there is nothing else.
///
/// # Errors
/// That there is no such name, or no such address.
pub async fn resolve(
    host: &str,
    preferred: Option<IpProtocol>,
    fallback: bool,
    clock: &Clock,
) -> Result<Found, Verdict> {
    let began = Instant::now();
    let preferred = preferred.unwrap_or(IpProtocol::Ip6);
    let all = match host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => {
            let looked_up = clock.within(|| format!("look up {host}"), look_up(host)).await?;
            looked_up.map_err(|e| Verdict::critical(format!("look up {host}: {}", why(&e))))?
        }
    };
    let first = |wanted: bool| all.iter().copied().find(|ip| (IpProtocol::of(*ip) == preferred) == wanted);
    let other = if fallback { first(false) } else { None };
    let addresses: Vec<IpAddr> = first(true).into_iter().chain(other).collect();
    if addresses.is_empty() {
        let message = match all.is_empty() {
            true => format!("{host} has no address"),
            false => format!("{host} has no {} address, and ip_protocol_fallback is off", preferred.name()),
        };
        return Err(Verdict::critical(message));
    }
    Ok(Found { addresses, lookup: began.elapsed() })
}

async fn look_up(host: &str) -> io::Result<Vec<IpAddr>> {
    let permit = Arc::clone(&LOOKUPS).acquire_owned().await.map_err(io::Error::other)?;
    let host = host.to_string();
    let lookup = tokio::task::spawn_blocking(move || {
        let found = (host.as_str(), 0).to_socket_addrs().map(|all| all.map(|address| address.ip()).collect());
        drop(permit);
        found
    });
    lookup.await.map_err(io::Error::other)?
}

/// Connects to the first of the addresses that takes the connection. While there is another, one gets half of the time.
///
/// # Errors
/// Why none did.
pub async fn connect(
    addresses: &[IpAddr],
    port: u16,
    source: Option<IpAddr>,
    clock: &Clock,
) -> Result<(TcpStream, IpAddr), Verdict> {
    let mut failed = String::new();
    for (number, ip) in addresses.iter().enumerate() {
        let to = SocketAddr::new(*ip, port);
        let is_last = number + 1 == addresses.len();
        let time = if is_last { clock.left() } else { clock.left() / 2 };
        let why = match tokio::time::timeout(time, dial(to, source)).await {
            Ok(Ok(stream)) => return Ok((stream, *ip)),
            Ok(Err(error)) => why(&error),
            Err(_) => format!("no answer within {}", clock.limit()),
        };
        failed.push_str(&format!("{}{to}: {why}", if failed.is_empty() { "connect to " } else { ", " }));
    }
    Err(Verdict::critical(failed))
}

async fn dial(to: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(to).await
}

/// Writes what all probes have that look for an address: `ip` is the one that they took.
pub fn write_address(lookup: Duration, ip: IpAddr, out: &mut Families) {
    let help = "How long it took to find the address of the target.";
    out.gauge("probe_dns_lookup_time_seconds", help, &[], lookup.as_secs_f64());
    let protocol = if ip.is_ipv4() { 4.0 } else { 6.0 };
    out.gauge("probe_ip_protocol", "The version of IP that the probe took.", &[], protocol);
    let help = "A hash of the address that the probe took: a change of it is one of the address.";
    out.gauge("probe_ip_addr_hash", help, &[], f64::from(hash(ip)));
}

/// FNV-1a over the bytes of the address: the same number as blackbox_exporter has.
fn hash(ip: IpAddr) -> u32 {
    let fold = |bytes: &[u8]| {
        bytes.iter().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
    };
    match ip {
        IpAddr::V4(ip) => fold(&ip.octets()),
        IpAddr::V6(ip) => fold(&ip.octets()),
    }
}

impl HostPort {
    /// The target with its port, for people.
    pub fn with_port(&self, port: u16) -> HostPort {
        HostPort { host: self.host.clone(), port: Some(port) }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use tokio::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn the_preferred_protocol_goes_first_and_the_other_only_where_it_may() {
        let clock = Clock::start(SOON);
        let found = async |host: &str, preferred, fallback| {
            resolve(host, preferred, fallback, &clock).await.map(|found| found.addresses).map_err(|v| v.summary)
        };
        assert_eq!(found("127.0.0.1", None, true).await, Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]));
        let strict = found("127.0.0.1", Some(IpProtocol::Ip6), false).await;
        assert_eq!(strict, Err("127.0.0.1 has no IPv6 address, and ip_protocol_fallback is off".to_string()));
        assert_eq!(found("::1", Some(IpProtocol::Ip4), true).await, Ok(vec![IpAddr::V6(Ipv6Addr::LOCALHOST)]));
        let first = found("localhost", Some(IpProtocol::Ip4), true).await.unwrap();
        assert_eq!(first.first(), Some(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let none = found("no.such.name.invalid", None, true).await.unwrap_err();
        assert!(none.starts_with("look up no.such.name.invalid: "), "{none}");
        assert!(!none.contains("os error") && !none.contains("failed to lookup"), "{none}");
    }

    #[tokio::test]
    async fn a_host_that_listens_on_the_other_protocol_only_is_reached_and_who_refuses_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let both = [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let clock = Clock::start(SOON);
        assert_eq!(connect(&both, port, None, &clock).await.unwrap().1, both[1]);
        let from = connect(&both, port, Some("127.0.0.2".parse().unwrap()), &clock).await.unwrap();
        assert_eq!(from.0.local_addr().unwrap().ip().to_string(), "127.0.0.2");
        drop(listener);
        let verdict = connect(&both[1..], port, None, &clock).await.unwrap_err();
        assert_eq!(verdict, Verdict::critical(format!("connect to 127.0.0.1:{port}: refused")));
        let verdict = connect(&both, port, None, &clock).await.unwrap_err();
        assert!(verdict.summary.ends_with(&format!(", 127.0.0.1:{port}: refused")), "{}", verdict.summary);
    }

    #[test]
    fn the_hash_is_that_of_fnv() {
        assert_eq!(hash("127.0.0.1".parse().unwrap()), 3_668_918_509);
        assert_eq!(hash("::1".parse().unwrap()), 1_751_717_746);
    }
}
