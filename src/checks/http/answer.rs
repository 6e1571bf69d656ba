//! The answer: reading it, and whether it is as it should be.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Response, Version};

use super::super::net::{Clock, Regexp, took};
use super::super::verdict::Verdict;
use super::config::{HeaderMatch, HttpCheck, VERSIONS};
use super::connection::{Tasks, why};
use super::report::Report;

/// A body of this length is matched where nothing else waits.
const LONG_BODY: usize = 64 << 10;

pub(super) struct Answer {
    pub response: Response<Incoming>,
    /// What the rest of it comes through.
    pub _tasks: Tasks,
}

impl Answer {
    /// Reads the body; gives it where it is looked at, else nothing.
    ///
    /// # Errors
    /// That it is too long, or does not end, or ends too early.
    pub async fn read(&mut self, config: &HttpCheck, clock: &Clock, report: &mut Report) -> Result<Vec<u8>, Verdict> {
        let began = Instant::now();
        let end = self.read_within(config, clock, &mut report.body_length).await;
        report.phases.transfer += began.elapsed();
        end
    }

    async fn read_within(&mut self, config: &HttpCheck, clock: &Clock, length: &mut u64) -> Result<Vec<u8>, Verdict> {
        let is_looked_at =
            !config.fail_if_body_matches_regexp.is_empty() || !config.fail_if_body_not_matches_regexp.is_empty();
        let status = self.response.status();
        let mut body = Vec::new();
        loop {
            let came = *length;
            let doing = || format!("answered {status}, but of its body, {came} bytes came and no end");
            let Some(frame) = clock.within(doing, self.response.body_mut().frame()).await? else { break };
            let broken = |e| format!("answered {status}, but its body broke off after {came} bytes: {}", why(&e));
            let Ok(data) = frame.map_err(|e| Verdict::critical(broken(e)))?.into_data() else { continue };
            *length += data.len() as u64;
            if *length > config.body_size_limit.0 {
                let limit = config.body_size_limit;
                let summary = format!("answered {status}, but its body is longer than {limit} (body_size_limit)");
                return Err(Verdict::critical(summary));
            }
            if is_looked_at {
                body.extend_from_slice(&data);
            }
        }
        Ok(body)
    }

    /// Judges the head of the answer; says how it was when it was right.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn judge(&self, config: &HttpCheck, time: Duration, redirects: u32) -> Result<String, Verdict> {
        let status = self.response.status();
        let mut summary = format!("answered {status} after {}", took(time));
        match redirects {
            0 => {}
            1 => summary.push_str(" and a redirect"),
            more => summary.push_str(&format!(" and {more} redirects")),
        }
        let is_valid = match config.valid_status_codes.as_slice() {
            [] => status.is_success(),
            valid => valid.contains(&status.as_u16()),
        };
        if !is_valid {
            return Err(Verdict::critical(summary));
        }
        let version = match self.response.version() {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2.0",
            _ => "HTTP/1.1",
        };
        let named = |valid: &String| VERSIONS.iter().any(|(written, go)| written == valid && *go == version);
        if !config.valid_http_versions.is_empty() && !config.valid_http_versions.iter().any(named) {
            return Err(Verdict::critical(format!("{summary}, but by {version}")));
        }
        Ok(summary)
    }

    /// Looks for what must be, and must not be, in headers and body.
    ///
    /// # Errors
    /// What is there, or is not.
    pub async fn match_texts(&self, config: &HttpCheck, body: Vec<u8>, clock: &Clock) -> Result<(), Verdict> {
        for header in &config.fail_if_header_matches {
            let found = self.find(header)?;
            if found == Some(true) {
                let summary = format!("the header {} has {:?}, as it must not", header.header, text(header));
                return Err(Verdict::critical(summary));
            }
        }
        for header in &config.fail_if_header_not_matches {
            let found = self.find(header)?;
            if found == Some(false) {
                let summary = format!("the header {} does not have {:?}, as it must", header.header, text(header));
                return Err(Verdict::critical(summary));
            }
        }
        let (bad, good) = (&config.fail_if_body_matches_regexp, &config.fail_if_body_not_matches_regexp);
        if bad.is_empty() && good.is_empty() {
            return Ok(());
        }
        if body.len() < LONG_BODY {
            return match_body(bad, good, &body);
        }
        let (bad, good) = (bad.clone(), good.clone());
        let matching = tokio::task::spawn_blocking(move || match_body(&bad, &good, &body));
        let matched = clock.within(|| "look for regular expressions in the body".to_string(), matching).await?;
        matched.map_err(|e| Verdict::unknown(format!("the body could not be looked at: {e}")))?
    }

    /// Whether one of the headers of this name has it; `None` for one that is missing and may be.
    fn find(&self, wanted: &HeaderMatch) -> Result<Option<bool>, Verdict> {
        let mut values = self.response.headers().get_all(wanted.header.as_str()).iter().peekable();
        if values.peek().is_none() {
            let missing = || Verdict::critical(format!("the header {} is missing", wanted.header));
            return if wanted.allow_missing { Ok(None) } else { Err(missing()) };
        }
        let is_match = |value: &hyper::header::HeaderValue| {
            let value = String::from_utf8_lossy(value.as_bytes());
            wanted.regexp.as_ref().is_some_and(|regexp| regexp.is_match(&value))
        };
        Ok(Some(values.any(is_match)))
    }
}

fn text(header: &HeaderMatch) -> &str {
    header.regexp.as_ref().map_or("", Regexp::as_str)
}

fn match_body(bad: &[Regexp], good: &[Regexp], body: &[u8]) -> Result<(), Verdict> {
    let body = String::from_utf8_lossy(body);
    if let Some(found) = bad.iter().find(|regexp| regexp.is_match(&body)) {
        return Err(Verdict::critical(format!("the body has {:?}, as it must not", found.as_str())));
    }
    if let Some(missing) = good.iter().find(|regexp| !regexp.is_match(&body)) {
        return Err(Verdict::critical(format!("the body does not have {:?}, as it must", missing.as_str())));
    }
    Ok(())
}
