//! What a probe has found so far, and how it becomes metrics.

use std::net::IpAddr;
use std::time::Duration;

use super::super::families::Families;
use super::super::net::write_address;
use super::super::tls::Shown;

/// What there is to write at the end, however far the probe got: what it did not get to is 0, as in blackbox_exporter.
#[derive(Default)]
pub(super) struct Report {
    pub phases: Phases,
    /// How long the first host's address was looked for, and the one that was taken.
    pub found: Option<(Duration, IpAddr)>,
    pub status: u16,
    pub version: f64,
    /// As the answer says; -1 where it does not.
    pub content_length: f64,
    pub body_length: u64,
    pub redirects: u32,
    pub is_tls: bool,
    pub failed_due_to_regex: bool,
    /// Seconds since 1970.
    pub last_modified: Option<i64>,
    /// Of the last connection over TLS.
    pub shown: Option<Shown>,
}

/// Times, over all redirects.
#[derive(Default)]
pub(super) struct Phases {
    pub resolve: Duration,
    pub connect: Duration,
    pub tls: Duration,
    /// From the request to the head of the answer.
    pub processing: Duration,
    /// The rest of the last answer.
    pub transfer: Duration,
}

impl Report {
    pub fn write(&self, out: &mut Families) {
        if let Some((lookup, ip)) = self.found {
            write_address(lookup, ip, out);
        }
        let phases = [
            ("resolve", self.phases.resolve),
            ("connect", self.phases.connect),
            ("tls", self.phases.tls),
            ("processing", self.phases.processing),
            ("transfer", self.phases.transfer),
        ];
        for (phase, time) in phases {
            let help = "How long each phase of the request took, over all redirects.";
            out.gauge("probe_http_duration_seconds", help, &[("phase", phase)], time.as_secs_f64());
        }
        let flag = |flag: bool| f64::from(u8::from(flag));
        for (name, help, value) in [
            ("probe_http_status_code", "The status of the answer, 0 without one.", f64::from(self.status)),
            ("probe_http_version", "The version of the answer.", self.version),
            (
                "probe_http_content_length",
                "The length of the body that the answer announced, -1 where it did not.",
                self.content_length,
            ),
            ("probe_http_uncompressed_body_length", "The bytes of the body that were read.", self.body_length as f64),
            ("probe_http_redirects", "The number of redirects.", f64::from(self.redirects)),
            ("probe_http_ssl", "Whether the last answer came over TLS.", flag(self.is_tls)),
            (
                "probe_failed_due_to_regex",
                "Whether it is a regular expression that the probe failed by.",
                flag(self.failed_due_to_regex),
            ),
        ] {
            out.gauge(name, help, &[], value);
        }
        if let Some(at) = self.last_modified {
            let help = "What the answer's header Last-Modified says, in seconds since 1970.";
            out.gauge("probe_http_last_modified_timestamp_seconds", help, &[], at as f64);
        }
        if let Some(shown) = &self.shown {
            shown.write(out);
        }
    }
}
