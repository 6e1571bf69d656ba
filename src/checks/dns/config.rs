//! The keys of a `dns` check.

use std::path::Path;
use std::time::Duration;

use super::super::net::{HostPort, Ip, IpProtocol, Regexp};
use super::message::Question;
use super::record::{CLASSES, KINDS, number};
use crate::section;
use crate::sinks::TlsConfig;
use crate::yaml::{Faults, Node, nearest};

section! {
    check = check;
    /// A question to a name server, and what its answer must be.
    pub struct DnsCheck {
        /// The server: `HOST` or `HOST:PORT`. When not set, the first one in /etc/resolv.conf.
        pub target: Option<HostPort> = None,
        /// How it is asked: `udp` or `tcp`.
        pub transport_protocol: String = "udp".to_string(),
        /// Whether it is asked over TLS; only by `tcp`.
        pub dns_over_tls: bool = false,
        /// How the server's certificate is checked, and which is shown to it.
        pub tls_config: TlsConfig = TlsConfig::default(),
        /// The run is a warning when the certificate has less than this left; an expired one is a failure anyway.
        pub certificate_warning: Option<Duration> = None,
        /// The name that is asked for.
        pub query_name: String = String::new(),
        /// The type of records that is asked for: `A`, `AAAA`, `MX`, `TYPE123`... (blackbox_exporter asks for `ANY` when
        /// not told otherwise, which many servers no longer answer.)
        pub query_type: String = "A".to_string(),
        /// The class of records that is asked for.
        pub query_class: String = "IN".to_string(),
        /// Whether the server shall ask others for what it does not know.
        pub recursion_desired: bool = true,
        /// The codes that the answer may have.
        pub valid_rcodes: Vec<String> = vec!["NOERROR".to_string()],
        /// What the records of the answer must be.
        pub validate_answer_rrs: RecordChecks = RecordChecks::default(),
        /// What the records must be that name who is responsible.
        pub validate_authority_rrs: RecordChecks = RecordChecks::default(),
        /// What further records must be.
        pub validate_additional_rrs: RecordChecks = RecordChecks::default(),
        /// The version of IP that is tried first: `ip4` or `ip6`, which it is when not set.
        pub preferred_ip_protocol: Option<IpProtocol> = None,
        /// Whether the other version is taken where there is no address of the preferred one, or nothing answers there.
        pub ip_protocol_fallback: bool = true,
        /// The address of this host's that the question is sent from.
        pub source_ip_address: Option<Ip> = None,
    }
}

section! {
    /// What the records of a part of an answer must be. A record is looked into as zone files have it, with a tabulator
    /// between its name, time to live, class, type and data: `example.org.	300	IN	A	192.0.2.1`.
    pub struct RecordChecks {
        /// It is a failure when one of these is found in any record.
        pub fail_if_matches_regexp: Vec<Regexp> = Vec::new(),
        /// It is a failure when all of these are found in all records.
        pub fail_if_all_match_regexp: Vec<Regexp> = Vec::new(),
        /// It is a failure when one of these is missing in any record, or there is none.
        pub fail_if_not_matches_regexp: Vec<Regexp> = Vec::new(),
        /// It is a failure when none of these is found in any record.
        pub fail_if_none_matches_regexp: Vec<Regexp> = Vec::new(),
    }
}

/// Codes of answers, by their numbers.
const RCODES: [&str; 11] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
    "NOTZONE",
];

/// The name of a code.
pub(super) fn rcode_name(code: u16) -> String {
    RCODES.get(usize::from(code)).map_or_else(|| format!("RCODE{code}"), |name| name.to_string())
}

fn check(config: &mut DnsCheck, node: &Node, faults: &mut Faults) {
    let at = |key: &str| node.place(key);
    if config.query_name.is_empty() {
        faults.error(node.at, "a dns check needs a query_name");
    } else if config.question().is_none() && config.kind().is_some() && config.class().is_some() {
        faults.error(at("query_name"), "query_name is no name: labels have 1 to 63 bytes, the whole at most 253");
    }
    let hint = |word: &str, known: &[(&str, u16)]| {
        let near = nearest(word, known.iter().map(|(name, _)| *name));
        near.map_or(String::new(), |near| format!(": did you mean {near}?"))
    };
    if config.kind().is_none() {
        let message = format!("there is no type {:?}{}", config.query_type, hint(&config.query_type, &KINDS));
        faults.error(at("query_type"), message);
    }
    if config.class().is_none() {
        let message = format!("there is no class {:?}{}", config.query_class, hint(&config.query_class, &CLASSES));
        faults.error(at("query_class"), message);
    }
    for (code, of) in config.valid_rcodes.iter().zip(node.get("valid_rcodes").map(Node::items).unwrap_or_default()) {
        if !RCODES.contains(&code.as_str()) {
            let near = nearest(code, RCODES).map_or(String::new(), |near| format!(": did you mean {near}?"));
            faults.error(of.at, format!("there is no code {code:?}{near}"));
        }
    }
    match config.transport_protocol.as_str() {
        "tcp" => {}
        "udp" if config.dns_over_tls => {
            faults.error(at("dns_over_tls"), "dns_over_tls goes by TCP: write transport_protocol: tcp");
        }
        "udp" => {}
        _ => faults.error(at("transport_protocol"), "transport_protocol is udp or tcp"),
    }
    if config.certificate_warning.is_some() && !config.dns_over_tls {
        faults.error(at("certificate_warning"), "without dns_over_tls, there is no certificate");
    }
}

impl DnsCheck {
    /// What is asked; `None` where that cannot be.
    pub(super) fn question(&self) -> Option<Question> {
        Question::new(&ascii(&self.query_name)?, self.kind()?, self.class()?)
    }

    fn kind(&self) -> Option<u16> {
        number(&self.query_type, &KINDS, "TYPE")
    }

    fn class(&self) -> Option<u16> {
        number(&self.query_class, &CLASSES, "CLASS")
    }

    /// Makes relative paths start at `dir`.
    pub fn resolve_paths(&mut self, dir: &Path) {
        self.tls_config.resolve_paths(dir);
    }
}

/// A name as it is asked for: one with other letters than ASCII's is written in them, as in URLs (IDNA).
fn ascii(name: &str) -> Option<String> {
    if name.is_ascii() {
        return Some(name.to_string());
    }
    let url = reqwest::Url::parse(&format!("http://{name}/")).ok()?;
    url.host_str().filter(|host| host.is_ascii()).map(str::to_string)
}
