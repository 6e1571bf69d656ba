//! The keys of a `tcp` check.

use std::path::Path;
use std::time::Duration;

use super::super::net::{HostPort, Ip, IpProtocol, Regexp};
use crate::section;
use crate::sinks::TlsConfig;
use crate::yaml::{Faults, Node, Secret};

section! {
    check = |s: &mut TcpCheck, node: &Node, faults: &mut Faults| {
        let at = |key: &str| node.place(key);
        match &s.target {
            Some(target) if target.port.is_none() => faults.error(at("target"), "target needs a port: HOST:PORT"),
            None if node.get("target").is_none() => faults.error(node.at, "a tcp check needs a target"),
            _ => {}
        }
        let upgrades = s.query_response.iter().filter(|step| step.starttls).count();
        if upgrades + usize::from(s.tls) > 1 {
            faults.error(at("query_response"), "TLS begins once: by tls, or by one step's starttls");
        }
        if s.certificate_warning.is_some() && upgrades == 0 && !s.tls {
            faults.error(at("certificate_warning"), "without tls or a step's starttls, there is no certificate");
        }
    };
    /// A connection, and what is said over it.
    pub struct TcpCheck {
        /// What is connected to: `HOST:PORT`.
        pub target: Option<HostPort> = None,
        /// Whether TLS is spoken from the beginning.
        pub tls: bool = false,
        /// How the far side's certificate is checked, and which is shown to it.
        pub tls_config: TlsConfig = TlsConfig::default(),
        /// The run is a warning when the certificate has less than this left; an expired one is a failure anyway.
        pub certificate_warning: Option<Duration> = None,
        /// What is expected and sent, one after the other.
        pub query_response: Vec<Step> = Vec::new(),
        /// The version of IP that is tried first: `ip4` or `ip6`, which it is when not set.
        pub preferred_ip_protocol: Option<IpProtocol> = None,
        /// Whether the other version is taken where there is no address of the preferred one, or nothing answers there.
        pub ip_protocol_fallback: bool = true,
        /// The address of this host's that the connection is made from.
        pub source_ip_address: Option<Ip> = None,
    }
}

section! {
    check = |s: &mut Step, node: &Node, faults: &mut Faults| {
        if s.expect.is_none() && node.get("expect").is_none() && s.send.is_none() && !s.starttls {
            faults.error(node.at, "a step has something to expect or to send, or starttls");
        }
    };
    foreign = |key: &str| (key == "labels" || key == "expect_bytes").then(|| format!(
        "{key:?} is a key of blackbox_exporter's that is not supported here: lines are only looked for by expect"
    ));
    /// A step of a dialogue: what stands in it is done in this order.
    pub struct Step {
        /// Lines are read until this is found in one.
        pub expect: Option<Regexp> = None,
        /// A line to send; `${1}` stands for what the first group of `expect` has matched.
        pub send: Option<Secret> = None,
        /// Whether TLS begins then.
        pub starttls: bool = false,
    }
}

impl TcpCheck {
    /// Makes relative paths start at `dir`.
    pub fn resolve_paths(&mut self, dir: &Path) {
        self.tls_config.resolve_paths(dir);
    }
}
