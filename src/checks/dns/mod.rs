//! The `dns` check: a question to a name server, and what its answer must be.
//!
//! Options and metrics are blackbox_exporter's. What differs: without a `target`, the server of this host's resolver is
//! asked; `query_type` is `A` when not set; `fail_if_all_match_regexp` fails when all match, as its name says.
//!
//! The messages are read and written here: most of the work is to write records as zone files have them, which is what
//! regular expressions look into, and crates that read messages do not write them so.

mod config;
mod exchange;
mod message;
mod record;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use config::{DnsCheck, RecordChecks};

use super::families::Families;
use super::net::{Clock, HostPort, Regexp, shown, took, with_files, write_address};
use super::probe::{Probe, Probing};
use super::verdict::Verdict;
use config::rcode_name;
use exchange::{Report, ask};
use message::Response;
use record::Record;

/// Where the system's resolver is told its servers.
const RESOLVER: &str = "/etc/resolv.conf";

struct DnsProbe {
    config: DnsCheck,
    resolver: PathBuf,
}

impl DnsCheck {
    pub fn build(&self) -> Arc<dyn Probe> {
        Arc::new(DnsProbe { config: self.clone(), resolver: RESOLVER.into() })
    }
}

impl Probe for DnsProbe {
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

impl Report {
    fn write(&self, out: &mut Families) {
        if let Some((lookup, ip)) = self.found {
            write_address(lookup, ip, out);
        }
        for (phase, time) in [("resolve", self.resolve), ("connect", self.connect), ("request", self.request)] {
            let help = "How long each phase of the question took.";
            out.gauge("probe_dns_duration_seconds", help, &[("phase", phase)], time.as_secs_f64());
        }
        let response = self.response.as_ref();
        let count = |records: fn(&Response) -> &Vec<Record>| response.map_or(0.0, |all| records(all).len() as f64);
        for (name, help, count) in [
            ("probe_dns_answer_rrs", "The records of the answer.", count(|all| &all.answers)),
            ("probe_dns_authority_rrs", "The records that name who is responsible.", count(|all| &all.authorities)),
            ("probe_dns_additional_rrs", "Further records.", count(|all| &all.additionals)),
        ] {
            out.gauge(name, help, &[], count);
        }
        let succeeded = f64::from(u8::from(response.is_some()));
        out.gauge("probe_dns_query_succeeded", "Whether there was an answer.", &[], succeeded);
        if let Some(serial) = response.and_then(|all| all.answers.iter().find_map(|record| record.serial)) {
            out.gauge("probe_dns_serial", "The serial number of the zone.", &[], f64::from(serial));
        }
        if let Some(shown) = &self.shown {
            shown.write(out);
        }
    }
}

impl DnsProbe {
    async fn run(&self, clock: &Clock, report: &mut Report) -> Result<Verdict, Verdict> {
        let config = &self.config;
        let question = config.question().ok_or_else(|| Verdict::unknown("what is asked for cannot be asked for"))?;
        let target = match &config.target {
            Some(target) => target.clone(),
            None => {
                let server = clock.within(|| format!("read {RESOLVER}"), self.server_of_this_host()).await?;
                server.map_err(Verdict::unknown)?
            }
        };
        let default = if config.dns_over_tls { 853 } else { 53 };
        let target = target.with_port(target.port.unwrap_or(default));
        ask(config, &question, &target, clock, report).await?;
        let response = report.response.as_ref().ok_or_else(|| Verdict::critical("no answer"))?;
        let code = rcode_name(response.rcode);
        let is_cut = if response.is_truncated { ", cut off" } else { "" };
        let (count, time) = (response.answers.len(), took(report.request));
        let records = if count == 1 { "record" } else { "records" };
        let summary = format!("{target} answered {code} with {count} {records}{is_cut} after {time}");
        if !config.valid_rcodes.contains(&code) {
            return Err(Verdict::critical(summary));
        }
        config.validate_answer_rrs.check("the answer", &response.answers)?;
        config.validate_authority_rrs.check("the authority section", &response.authorities)?;
        config.validate_additional_rrs.check("the additional section", &response.additionals)?;
        if let Some(shown) = &report.shown {
            shown.check_expiry(config.certificate_warning)?;
        }
        Ok(Verdict::ok(summary))
    }

    /// The first server of the system's resolver; as there, the one on this host when none is named.
    async fn server_of_this_host(&self) -> Result<HostPort, String> {
        let path = self.resolver.clone();
        let text = with_files(true, move || match std::fs::read_to_string(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(format!("cannot read {}: {error}", path.display()))
            }
            text => Ok(text.unwrap_or_default()),
        });
        let named = |line: &str| {
            let mut words = line.split_ascii_whitespace();
            let is_server = words.next() == Some("nameserver");
            words.next().filter(|address| is_server && address.parse::<std::net::IpAddr>().is_ok()).map(str::to_string)
        };
        let host = text.await?.lines().find_map(named).unwrap_or_else(|| "127.0.0.1".to_string());
        Ok(HostPort { host, port: None })
    }
}

impl RecordChecks {
    /// # Errors
    /// What a record has that it must not, or has not that it must.
    fn check(&self, section: &str, records: &[Record]) -> Result<(), Verdict> {
        let missing = self.fail_if_not_matches_regexp.first().or(self.fail_if_none_matches_regexp.first());
        if let (true, Some(wanted)) = (records.is_empty(), missing) {
            let summary = format!("{section} has no record, so none with {:?}, as it must", wanted.as_str());
            return Err(Verdict::critical(summary));
        }
        for record in records {
            let found = |regexp: &&Regexp| regexp.is_match(&record.text);
            let of_record = || shown(&record.text);
            if let Some(bad) = self.fail_if_matches_regexp.iter().find(found) {
                let bad = bad.as_str();
                return Err(Verdict::critical(format!("{section} has {:?} in {:?}, as it must not", bad, of_record())));
            }
            if let Some(good) = self.fail_if_not_matches_regexp.iter().find(|regexp| !found(regexp)) {
                let summary = format!("{section} has no {:?} in {:?}, as it must", good.as_str(), of_record());
                return Err(Verdict::critical(summary));
            }
        }
        let in_all = |regexp: &Regexp| records.iter().all(|record| regexp.is_match(&record.text));
        let all = &self.fail_if_all_match_regexp;
        if !all.is_empty() && !records.is_empty() && all.iter().all(in_all) {
            let summary = format!("{section} has {} in all of its records, as it must not", list(all));
            return Err(Verdict::critical(summary));
        }
        let in_any = |regexp: &Regexp| records.iter().any(|record| regexp.is_match(&record.text));
        let any = &self.fail_if_none_matches_regexp;
        if !any.is_empty() && !any.iter().any(in_any) {
            return Err(Verdict::critical(format!("{section} has {} in none of its records, as it must", list(any))));
        }
        Ok(())
    }
}

fn list(regexps: &[Regexp]) -> String {
    regexps.iter().map(|regexp| format!("{:?}", regexp.as_str())).collect::<Vec<_>>().join(", ")
}
