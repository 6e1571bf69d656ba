//! The `http` check: a request, what the answer must be, and how long each phase of it took.
//!
//! Options and metrics are blackbox_exporter's. What differs: where IPv6 and IPv4 are both there and the preferred one
//! takes no connection, the other is tried (unless `ip_protocol_fallback` is off); a body is read to at most
//! `body_size_limit`, which has a default; headers and credentials do not follow a redirect to another host.

mod answer;
mod config;
mod connection;
mod credentials;
mod report;
mod request;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use config::{HeaderMatch, HttpCheck};

use super::families::Families;
use super::net::Clock;
use super::probe::{Probe, Probing};
use super::verdict::Verdict;
use answer::Answer;
use credentials::Prepared;
use report::Report;
use request::Plan;

struct HttpProbe {
    config: HttpCheck,
}

impl HttpCheck {
    pub fn build(&self) -> Arc<dyn Probe> {
        Arc::new(HttpProbe { config: self.clone() })
    }
}

impl Probe for HttpProbe {
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

impl HttpProbe {
    /// Asks, follows redirects, judges the last answer.
    async fn run(&self, clock: &Clock, report: &mut Report) -> Result<Verdict, Verdict> {
        let config = &self.config;
        let Some(address) = &config.url else { return Err(Verdict::unknown("there is no url to ask")) };
        let prepared = clock.within(|| "read the files".to_string(), Prepared::read(config)).await?;
        let prepared = prepared.map_err(Verdict::unknown)?;
        let mut plan = Plan::first(config, address.url(), &prepared)?;
        loop {
            let mut answer = connection::ask(config, &plan, clock, report).await?;
            plan.cookies.take(&plan.url, answer.response.headers());
            let next = if config.follow_redirects { plan.next(&answer)? } else { None };
            let Some(next) = next else { return self.judge(&mut answer, clock, report).await };
            report.redirects += 1;
            if report.redirects > config.max_redirects {
                let (limit, to) = (config.max_redirects, next.host());
                let summary = format!("redirected more than {limit} times, the last time to {to}");
                return Err(Verdict::critical(summary));
            }
            plan = next;
        }
    }

    async fn judge(&self, answer: &mut Answer, clock: &Clock, report: &mut Report) -> Result<Verdict, Verdict> {
        let config = &self.config;
        let took = clock.elapsed();
        let body = answer.read(config, clock, report).await;
        // What is wrong with the status says more than what is wrong with the rest.
        let summary = answer.judge(config, took, report.redirects)?;
        let body = body?;
        if report.is_tls && config.fail_if_ssl {
            return Err(Verdict::critical(format!("{summary}, but over TLS (fail_if_ssl)")));
        }
        if !report.is_tls && config.fail_if_not_ssl {
            return Err(Verdict::critical(format!("{summary}, but without TLS (fail_if_not_ssl)")));
        }
        let matched = answer.match_texts(config, body, clock).await;
        report.failed_due_to_regex = matched.is_err();
        matched?;
        if let Some(shown) = &report.shown {
            shown.check_expiry(config.certificate_warning)?;
        }
        Ok(Verdict::ok(summary))
    }
}
