//! A question goes to a server, its answer comes back.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use super::super::net::{Clock, Found, HostPort, Stream, connect, resolve, why};
use super::super::tls::{Shown, handshake};
use super::super::verdict::Verdict;
use super::config::DnsCheck;
use super::message::{Other, Question, Response};

/// What a probe has found so far.
#[derive(Default)]
pub(super) struct Report {
    pub found: Option<(Duration, IpAddr)>,
    pub resolve: Duration,
    pub connect: Duration,
    pub request: Duration,
    pub response: Option<Response>,
    pub shown: Option<Shown>,
}

/// Asks a server; the answer goes into the report.
///
/// # Errors
/// Why there is none.
pub(super) async fn ask(
    config: &DnsCheck,
    question: &Question,
    target: &HostPort,
    clock: &Clock,
    report: &mut Report,
) -> Result<(), Verdict> {
    let began = Instant::now();
    let found = resolve(&target.host, config.preferred_ip_protocol, config.ip_protocol_fallback, clock).await;
    report.resolve = began.elapsed();
    let found = found?;
    report.found = found.addresses.first().map(|first| (found.lookup, *first));
    // Not to be guessed by who would answer in the server's place.
    let id = RandomState::new().hash_one(target.port) as u16;
    let message = question.message(id, config.recursion_desired);
    if config.transport_protocol == "udp" {
        by_udp(config, question, target, (id, &message), &found, clock, report).await
    } else {
        by_tcp(config, question, target, (id, &message), &found, clock, report).await
    }
}

async fn by_udp(
    config: &DnsCheck,
    question: &Question,
    target: &HostPort,
    (id, message): (u16, &[u8]),
    found: &Found,
    clock: &Clock,
    report: &mut Report,
) -> Result<(), Verdict> {
    let began = Instant::now();
    let (socket, ip) = open_udp(config, target, &found.addresses).await?;
    report.found = Some((found.lookup, ip));
    report.connect = began.elapsed();
    let began = Instant::now();
    let mut strange = 0;
    let asking = async {
        socket.send(message).await?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length = socket.recv(&mut buffer).await?;
            match Response::parse(buffer.get(..length).unwrap_or_default(), id, question) {
                Err(Other::NotTheAnswer) => strange += 1,
                other => return Ok::<_, io::Error>(other),
            }
        }
    };
    let answered = clock.within(|| format!("asked {target}"), asking).await;
    report.request = began.elapsed();
    let answered = answered.map_err(|mut verdict| {
        if strange > 0 {
            verdict.summary.push_str(&format!(", but {strange} messages that are none"));
        }
        verdict
    })?;
    let response = answered.map_err(|e| Verdict::critical(format!("asked {target}: {}", why(&e))))?;
    report.response = Some(response.map_err(|_| malformed(target))?);
    Ok(())
}

fn malformed(target: &HostPort) -> Verdict {
    Verdict::critical(format!("what {target} answered is malformed"))
}

/// A socket that takes only what comes from the server, at the first address that there is a way to.
async fn open_udp(config: &DnsCheck, target: &HostPort, addresses: &[IpAddr]) -> Result<(UdpSocket, IpAddr), Verdict> {
    let mut failed = String::new();
    for ip in addresses {
        let any = match (config.source_ip_address, ip) {
            (Some(source), _) => source.0,
            (None, IpAddr::V4(_)) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            (None, IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let opened = async {
            let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
            socket.connect(SocketAddr::new(*ip, target.port.unwrap_or(53))).await?;
            Ok::<_, io::Error>(socket)
        };
        match opened.await {
            Ok(socket) => return Ok((socket, *ip)),
            Err(error) => {
                failed.push_str(&format!("{}{ip}: {}", if failed.is_empty() { "" } else { ", " }, why(&error)))
            }
        }
    }
    Err(Verdict::critical(format!("ask {target}: {failed}")))
}

async fn by_tcp(
    config: &DnsCheck,
    question: &Question,
    target: &HostPort,
    (id, message): (u16, &[u8]),
    found: &Found,
    clock: &Clock,
    report: &mut Report,
) -> Result<(), Verdict> {
    let began = Instant::now();
    let source = config.source_ip_address.map(|source| source.0);
    let connected = connect(&found.addresses, target.port.unwrap_or(53), source, clock).await;
    report.connect = began.elapsed();
    let (stream, ip) = connected?;
    report.found = Some((found.lookup, ip));
    let _ = stream.set_nodelay(true);
    let mut stream: Box<dyn Stream> = Box::new(stream);
    if config.dns_over_tls {
        let over = handshake(&config.tls_config, &target.host, &[b"dot"], stream, clock, &mut report.shown).await;
        report.connect = began.elapsed();
        stream = Box::new(over?);
    }
    let began = Instant::now();
    let answered = clock.within(|| format!("asked {target}"), converse(stream, message)).await;
    report.request = began.elapsed();
    let bytes = answered?.map_err(|e| Verdict::critical(format!("asked {target}: {}", why(&e))))?;
    report.response = Some(Response::parse(&bytes, id, question).map_err(|_| malformed(target))?);
    Ok(())
}

/// A message each way, with its length before it (RFC 7766, 8).
async fn converse(mut stream: Box<dyn Stream>, message: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut whole = length.to_be_bytes().to_vec();
    whole.extend_from_slice(message);
    stream.write_all(&whole).await?;
    stream.flush().await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}
