//! Types of keys that checks over a network have.

use std::fmt;
use std::net::IpAddr;

use crate::yaml::{Faults, FromYaml, Node, Value};

/// A host's name or address, with or without a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPort {
    /// An IPv6 address stands here without brackets.
    pub host: String,
    pub port: Option<u16>,
}

impl HostPort {
    /// `HOST`, `HOST:PORT`, `ADDRESS`, `[ADDRESS]:PORT`; `None` for what is none of them.
    pub fn parse(text: &str) -> Option<HostPort> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
            }
            // Without brackets, colons are those of the address.
            None if text.matches(':').count() > 1 => (text.parse::<IpAddr>().is_ok().then_some(text)?, None),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port = match port {
            Some(port) => Some(port.parse().ok().filter(|port| *port != 0)?),
            None => None,
        };
        let is_name = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '/' | '@' | '?' | '#');
        (!host.is_empty() && host.chars().all(is_name)).then(|| HostPort { host: host.to_string(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(port) = self.port else { return f.write_str(&self.host) };
        if self.host.contains(':') { write!(f, "[{}]:{port}", self.host) } else { write!(f, "{}:{port}", self.host) }
    }
}

impl FromYaml for HostPort {
    const EMPTY_IS_NONE: bool = true;

    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let parsed = node.as_str().and_then(HostPort::parse);
        if parsed.is_none() {
            faults.unexpected(node, "HOST, HOST:PORT or [ADDRESS]:PORT");
        }
        parsed
    }

    fn as_yaml(&self) -> Option<Value> {
        Some(Value::text(self.to_string()))
    }
}

/// A version of the Internet Protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IpProtocol {
    Ip4,
    Ip6,
}

impl IpProtocol {
    pub fn of(address: IpAddr) -> IpProtocol {
        if address.is_ipv4() { IpProtocol::Ip4 } else { IpProtocol::Ip6 }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            IpProtocol::Ip4 => "IPv4",
            IpProtocol::Ip6 => "IPv6",
        }
    }
}

impl FromYaml for IpProtocol {
    const EMPTY_IS_NONE: bool = true;

    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        match node.as_str() {
            Some("ip4") => Some(IpProtocol::Ip4),
            Some("ip6") => Some(IpProtocol::Ip6),
            _ => {
                faults.unexpected(node, "ip4 or ip6");
                None
            }
        }
    }

    fn as_yaml(&self) -> Option<Value> {
        Some(Value::plain(if *self == IpProtocol::Ip4 { "ip4" } else { "ip6" }))
    }
}

/// An address of this host's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ip(pub IpAddr);

impl FromYaml for Ip {
    const EMPTY_IS_NONE: bool = true;

    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let parsed = node.as_str().and_then(|text| text.parse().ok()).map(Ip);
        if parsed.is_none() {
            faults.unexpected(node, "an IP address");
        }
        parsed
    }

    fn as_yaml(&self) -> Option<Value> {
        Some(Value::text(self.0.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        let parse = |text: &str| HostPort::parse(text).map(|h| (h.host.clone(), h.port, h.to_string()));
        let parsed = |host: &str, port, shown: &str| Some((host.to_string(), port, shown.to_string()));
        assert_eq!(parse("a.example"), parsed("a.example", None, "a.example"));
        assert_eq!(parse("a.example:25"), parsed("a.example", Some(25), "a.example:25"));
        assert_eq!(parse("::1"), parsed("::1", None, "::1"));
        assert_eq!(parse("[::1]:25"), parsed("::1", Some(25), "[::1]:25"));
        assert_eq!(parse("[::1]"), parsed("::1", None, "::1"));
        for text in ["", ":25", "a:", "a:0", "a:70000", "a:b:c", "[::1", "[::1]25", "a b", "http://a"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn no_text_makes_it_panic() {
        Fuzz::of(&["[::1]:25", "a.example:25"]).texts(|text| {
            let _ = HostPort::parse(text);
        });
    }
}
