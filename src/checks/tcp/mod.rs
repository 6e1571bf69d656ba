//! The `tcp` check: a connection, TLS if that is wanted, and a dialogue over it.
//!
//! Options and metrics are blackbox_exporter's, without `probe_expect_info`. As in the `http` check, the other version of
//! IP is tried where the preferred one takes no connection.

mod config;
mod dialogue;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use config::{Step, TcpCheck};

use super::families::Families;
use super::net::{Clock, Stream, connect, resolve, took, write_address};
use super::probe::{Probe, Probing};
use super::tls::{Shown, handshake};
use super::verdict::Verdict;
use dialogue::Dialogue;

struct TcpProbe {
    config: TcpCheck,
}

impl TcpCheck {
    pub fn build(&self) -> Arc<dyn Probe> {
        Arc::new(TcpProbe { config: self.clone() })
    }
}

/// What is written at the end, however far the probe got.
#[derive(Default)]
struct Report {
    failed_due_to_regex: bool,
    shown: Option<Shown>,
}

impl Probe for TcpProbe {
    fn probe<'a>(&'a self, limit: Duration, out: &'a mut Families) -> Probing<'a> {
        Box::pin(async move {
            let clock = Clock::start(limit);
            let mut report = Report::default();
            let end = self.run(&clock, &mut report, out).await;
            let failed = f64::from(u8::from(report.failed_due_to_regex));
            let help = "Whether it is a regular expression that the probe failed by.";
            out.gauge("probe_failed_due_to_regex", help, &[], failed);
            if let Some(shown) = &report.shown {
                shown.write(out);
            }
            clock.end(end, out)
        })
    }
}

impl TcpProbe {
    async fn run(&self, clock: &Clock, report: &mut Report, out: &mut Families) -> Result<Verdict, Verdict> {
        let config = &self.config;
        let Some((target, port)) = config.target.as_ref().and_then(|target| Some((target, target.port?))) else {
            return Err(Verdict::unknown("there is no target to connect to"));
        };
        let found = resolve(&target.host, config.preferred_ip_protocol, config.ip_protocol_fallback, clock).await?;
        let source = config.source_ip_address.map(|source| source.0);
        let connected = connect(&found.addresses, port, source, clock).await;
        let taken = connected.as_ref().ok().map(|(_, ip)| *ip).or(found.addresses.first().copied());
        if let Some(ip) = taken {
            write_address(found.lookup, ip, out);
        }
        let (stream, _) = connected?;
        let _ = stream.set_nodelay(true);
        let mut stream: Box<dyn Stream> = Box::new(stream);
        if config.tls {
            stream =
                Box::new(handshake(&config.tls_config, &target.host, &[], stream, clock, &mut report.shown).await?);
        }
        let began = Instant::now();
        let time = clock.elapsed();
        if !config.query_response.is_empty() {
            let dialogue = Dialogue::new(stream, config, &target.host, clock);
            dialogue.run(report).await?;
        }
        if let Some(shown) = &report.shown {
            shown.check_expiry(config.certificate_warning)?;
        }
        let how = if config.tls { "connected over TLS" } else { "connected" };
        Ok(Verdict::ok(match config.query_response.len() {
            0 => format!("{how} after {}", took(time)),
            _ => format!("{how}, and answered as expected after {}", took(time + began.elapsed())),
        }))
    }
}
