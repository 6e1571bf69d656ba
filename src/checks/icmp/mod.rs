//! The `icmp` check: echo requests, as `ping` sends them.
//!
//! Options and metrics are blackbox_exporter's; beyond them, more than one packet can be sent, and the share of those that
//! were lost counts. Who may send them differs: see [`socket`].

mod config;
mod flight;
mod packet;
mod socket;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

pub use config::IcmpCheck;

use super::families::Families;
use super::net::{Clock, resolve, took, why, write_address};
use super::probe::{Probe, Probing};
use super::verdict::{State, Verdict};
use flight::Flight;
use socket::Socket;

/// From one packet to the next.
const PACE: Duration = Duration::from_millis(200);

struct IcmpProbe {
    config: IcmpCheck,
    /// The next identifier: probes that run at a time, and agents on one host, are told apart by it.
    id: AtomicU16,
}

impl IcmpCheck {
    pub fn build(&self) -> Arc<dyn Probe> {
        let id = AtomicU16::new(RandomState::new().hash_one(0) as u16);
        Arc::new(IcmpProbe { config: self.clone(), id })
    }
}

/// What a probe has found so far.
#[derive(Default)]
struct Report {
    found: Option<(Duration, IpAddr)>,
    resolve: Duration,
    setup: Duration,
    sent: u32,
    /// The times of those that came back.
    times: Vec<Duration>,
    hop_limit: Option<u8>,
    /// Why the last one that failed did.
    error: Option<io::Error>,
}

impl Report {
    /// The mean of the times.
    fn rtt(&self) -> Option<Duration> {
        let count = u32::try_from(self.times.len()).ok().filter(|count| *count > 0)?;
        Some(self.times.iter().sum::<Duration>() / count)
    }

    /// The share of packets that did not come back.
    fn loss(&self) -> f64 {
        1.0 - self.times.len() as f64 / f64::from(self.sent.max(1))
    }

    fn write(&self, out: &mut Families) {
        if let Some((lookup, ip)) = self.found {
            write_address(lookup, ip, out);
        }
        let rtt = self.rtt().unwrap_or_default();
        for (phase, time) in [("resolve", self.resolve), ("setup", self.setup), ("rtt", rtt)] {
            let help = "How long each phase took; rtt is the mean of the packets that came back.";
            out.gauge("probe_icmp_duration_seconds", help, &[("phase", phase)], time.as_secs_f64());
        }
        if let Some(hops) = self.hop_limit {
            let help = "The hop limit (time to live) that the last reply came with.";
            out.gauge("probe_icmp_reply_hop_limit", help, &[], f64::from(hops));
        }
        if self.sent > 0 {
            let help = "The share of packets that did not come back.";
            out.gauge("probe_icmp_packet_loss_ratio", help, &[], self.loss());
        }
    }
}

impl Probe for IcmpProbe {
    fn probe<'a>(&'a self, limit: Duration, out: &'a mut Families) -> Probing<'a> {
        Box::pin(async move {
            let clock = Clock::start(limit);
            let mut report = Report::default();
            let end = self.run(&clock, &mut report).await;
            report.write(out);
            clock.end(end, out)
        })
    }
}

impl IcmpProbe {
    async fn run(&self, clock: &Clock, report: &mut Report) -> Result<Verdict, Verdict> {
        let config = &self.config;
        let Some(target) = &config.target else { return Err(Verdict::unknown("there is no target")) };
        let began = Instant::now();
        let found = resolve(&target.host, config.preferred_ip_protocol, config.ip_protocol_fallback, clock).await;
        report.resolve = began.elapsed();
        let found = found?;
        let began = Instant::now();
        let (socket, ip) = self.open(&found.addresses)?;
        report.setup = began.elapsed();
        report.found = Some((found.lookup, ip));
        // How long it takes is up to the clock: it ends before all packets are back, if need be.
        let _ = tokio::time::timeout(clock.left(), self.converse(&socket, ip, report)).await;
        self.judge(ip, clock, report)
    }

    /// A socket to the first address that there is a way to.
    fn open(&self, addresses: &[IpAddr]) -> Result<(Socket, IpAddr), Verdict> {
        let mut failed = Verdict::unknown("there is no address");
        for ip in addresses {
            match Socket::open(*ip, &self.config) {
                Ok(socket) => return Ok((socket, *ip)),
                Err(verdict) => failed = verdict,
            }
        }
        Err(failed)
    }

    /// Sends the packets, each some time after the last, and gathers what comes back.
    async fn converse(&self, socket: &Socket, ip: IpAddr, report: &mut Report) {
        let id = self.id.fetch_add(1, Ordering::Relaxed);
        let mut flight = Flight::new(socket, ip.is_ipv6(), id, self.config.payload_size);
        for number in 1..=self.config.packets {
            flight.send(report).await;
            if number < self.config.packets {
                let _ = tokio::time::timeout(PACE, flight.gather(report, false)).await;
            }
        }
        flight.gather(report, true).await;
    }

    fn judge(&self, ip: IpAddr, clock: &Clock, report: &Report) -> Result<Verdict, Verdict> {
        let (packets, sent) = (self.config.packets, report.sent);
        let error = report.error.as_ref().map(|error| match error.raw_os_error() {
            Some(libc::EMSGSIZE) => "the packet is longer than the way there takes (dont_fragment)".to_string(),
            _ => why(error),
        });
        let Some(rtt) = report.rtt() else {
            let why = error.unwrap_or_else(|| format!("no answer within {}", clock.limit()));
            return Err(Verdict::critical(format!("ping {ip}: {why}")));
        };
        if sent < packets {
            let summary =
                format!("there was only time for {sent} of {packets} packets: the check needs a longer timeout");
            return Err(Verdict::unknown(summary));
        }
        if report.loss() > self.config.max_loss {
            let lost = packets as usize - report.times.len();
            let why = error.map_or(String::new(), |why| format!(" ({why})"));
            let summary = format!("{ip} answered after {}, but {lost} of {packets} packets were lost{why}", took(rtt));
            return Err(Verdict::new(State::Warning, summary));
        }
        Ok(Verdict::ok(format!("{ip} answered after {}", took(rtt))))
    }
}
