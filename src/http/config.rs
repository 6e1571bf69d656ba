//! The section `web` of the configuration.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::yaml::{Faults, FromYaml, Node, Pattern};

/// Paths that have their own meaning and cannot be where the metrics are.
const RESERVED: &str = "/-/";

crate::section! {
    check = check;
    /// How the agent is reached over HTTP.
    pub struct WebConfig {
        /// Addresses to listen on, `HOST:PORT`; without a host all addresses of the machine, IPv4 and IPv6.
        pub listen_addresses: Vec<ListenAddress> = vec![ListenAddress { host: String::new(), port: 9100 }],
        /// Whether the sockets that systemd hands over are taken instead (a unit of type .socket).
        pub systemd_socket: bool = false,
        /// Where people reach the agent: what links in notifications, graphs and charts begin with. When not set,
        /// `http://` and the instance, `https://` where there is TLS.
        pub external_url: Option<ExternalUrl> = None,
        /// The path of the metrics.
        pub telemetry_path: String = "/metrics".to_string(),
        /// A file with TLS and passwords, in the format of Prometheus' exporter-toolkit.
        pub config_file: Option<PathBuf> = None,
        /// Web pages that may read `/api/v1` from a browser: their origins, as a regular expression for the whole, such as
        /// `https://grafana\.example`. Without one, none may: whoever looks at a foreign page could otherwise show it
        /// this host. Grafana itself asks from its server and needs nothing here.
        pub cors_origin: Option<Pattern> = None,
        /// Connections at a time. At the limit a new one takes the place of one that makes no request, or gets a 503.
        pub max_connections: usize = 512,
        /// A request's header, and a TLS handshake, must be complete within this time.
        pub read_header_timeout: Duration = Duration::from_secs(10),
        /// An answer must be made and taken within this time.
        pub write_timeout: Duration = Duration::from_secs(30),
        /// A connection without requests is closed after this time; longer than a server's scrape interval spares
        /// a new connection for each scrape.
        pub idle_timeout: Duration = Duration::from_secs(150),
    }
}

fn check(web: &mut WebConfig, node: &Node, faults: &mut Faults) {
    let at = |key: &str| node.place(key);
    if web.listen_addresses.is_empty() {
        faults.error(at("listen_addresses"), "at least one address to listen on is needed");
    }
    for (i, address) in web.listen_addresses.iter().enumerate() {
        if let Some(earlier) = web.listen_addresses.iter().take(i).find(|a| a.overlaps(address)) {
            let item = node.get("listen_addresses").and_then(|list| list.items().get(i));
            let place = item.map_or(node.at, |n| n.at);
            faults.error(place, format!("{address} is listened on already, as {earlier} stands before it"));
        }
    }
    if let Err(e) = check_telemetry_path(&web.telemetry_path) {
        faults.error(at("telemetry_path"), e);
    }
    if web.max_connections == 0 {
        faults.error(at("max_connections"), "at least one connection must be possible");
    }
    let timeouts = [
        ("read_header_timeout", web.read_header_timeout),
        ("write_timeout", web.write_timeout),
        ("idle_timeout", web.idle_timeout),
    ];
    for (key, timeout) in timeouts {
        if timeout.is_zero() {
            faults.error(at(key), "must be longer than 0: a slow client could hold a connection for ever");
        }
    }
}

/// Says what is wrong with the path of the metrics, from the file or a flag.
pub fn check_telemetry_path(path: &str) -> Result<(), String> {
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && !b"?#%\"<>\\".contains(&b));
    if !path.starts_with('/') || !plain {
        return Err(format!("{path:?} is not a path: it begins with / and has no special characters"));
    }
    if path.starts_with(RESERVED) {
        return Err(format!("{path:?} cannot be the path of the metrics: {RESERVED} is kept for the agent itself"));
    }
    Ok(())
}

/// The URL that links to the agent begin with, without a slash at its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExternalUrl(String);

impl ExternalUrl {
    /// Where the agent is when nothing is said: at its own address.
    pub fn of(instance: &str, tls: bool) -> ExternalUrl {
        ExternalUrl(format!("{}://{instance}", if tls { "https" } else { "http" }))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ExternalUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<ExternalUrl, String> {
        const HOW: &str = "an external URL is such as https://example.org/watchfire, without a user, query or fragment";
        let url = text.trim().trim_end_matches('/');
        let parsed = url.parse::<hyper::Uri>().ok().filter(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
                && uri.query().is_none()
                && !url.contains(['@', '#'])
        });
        parsed.map(|_| ExternalUrl(url.to_string())).ok_or_else(|| HOW.to_string())
    }
}

impl FromYaml for ExternalUrl {
    const EMPTY_IS_NONE: bool = true;

    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Some(text) = node.as_str() else {
            faults.unexpected(node, "a URL");
            return None;
        };
        text.parse().map_err(|e: String| faults.error(node.at, e)).ok()
    }
}

/// An address to listen on, as Go writes it: `:9100`, `127.0.0.1:9100`, `[::1]:9100`, `localhost:9100`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenAddress {
    /// A name or an address without brackets; empty: all addresses of the machine.
    pub host: String,
    /// 0: one that is free.
    pub port: u16,
}

impl ListenAddress {
    /// Whether both cannot be listened on at once: they are the same, or one stands for all addresses.
    fn overlaps(&self, other: &ListenAddress) -> bool {
        let all = |a: &ListenAddress| matches!(a.host.as_str(), "" | "::");
        let same_host = self.host == other.host || all(self) || all(other);
        self.port == other.port && self.port != 0 && same_host
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<ListenAddress, String> {
        const HOW: &str = "write HOST:PORT, such as :9100, 127.0.0.1:9100 or [::1]:9100";
        let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("{text:?} has no port: {HOW}"))?;
        let port = port.parse().map_err(|_| format!("{port:?} is not a port (0 to 65535): {HOW}"))?;
        let bare = match host.strip_prefix('[').map(|h| h.strip_suffix(']')) {
            Some(inner) => inner.ok_or_else(|| format!("{text:?} has a bracket that is not closed: {HOW}"))?,
            None if host.contains(':') => return Err(format!("an IPv6 address stands in brackets: {HOW}")),
            None => host,
        };
        if bare.chars().any(|c| c.is_whitespace() || matches!(c, '/' | '[' | ']')) {
            return Err(format!("{bare:?} is not a host: {HOW}"));
        }
        Ok(ListenAddress { host: bare.to_string(), port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromYaml for ListenAddress {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Some(text) = node.as_str() else {
            faults.unexpected(node, "an address such as :9100");
            return None;
        };
        text.parse().map_err(|e: String| faults.error(node.at, e)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;
    use crate::yaml::Document;

    #[test]
    fn an_external_url_is_one_that_paths_can_follow() {
        for (text, url) in [
            ("https://a.example", "https://a.example"),
            ("http://web-1:9100/", "http://web-1:9100"),
            (" https://a.example/watchfire/web-1// ", "https://a.example/watchfire/web-1"),
            ("http://[::1]:9100/x", "http://[::1]:9100/x"),
        ] {
            assert_eq!(text.parse::<ExternalUrl>().unwrap().as_str(), url);
        }
        let wrong =
            ["a.example", "/x", "ftp://a", "http://", "http://a/?b", "http://a/#b", "http://me:x@a", "http://a b"];
        for text in wrong {
            assert!(text.parse::<ExternalUrl>().is_err(), "{text}");
        }
        assert_eq!(ExternalUrl::of("web-1:9100", true).as_str(), "https://web-1:9100");
        let mut faults = Faults::default();
        let config: WebConfig = Document::parse("w", "external_url: a.example", &mut faults).read(&mut faults);
        assert_eq!(config.external_url, None);
        assert!(faults.to_string().starts_with("w:1:15: an external URL is such as https://"), "{faults}");
    }

    #[test]
    fn addresses_are_read_as_go_writes_them() {
        for text in [":9100", "127.0.0.1:9100", "[::1]:9100", "[::]:0", "localhost:80", "0.0.0.0:1"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for text in ["", "9100", "localhost", "::1:9100", "[::1:9100", "host:http", ":99999", "a b:1", "http://x:1"] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_fault_of_the_section_is_named() {
        let mut faults = Faults::default();
        let text =
            "listen_addresses: ['9100']\ntelemetry_path: metrics\nmax_connections: 0\nwrite_timeout: 0s\nport: 1\n";
        Document::parse("t.yaml", text, &mut faults).read::<WebConfig>(&mut faults);
        let said = faults.to_string();
        for part in [
            "t.yaml:1:20: \"9100\" has no port",
            "t.yaml:1:19: at least one address",
            "t.yaml:2:17: \"metrics\" is not a path",
            "t.yaml:3:18: at least one connection",
            "t.yaml:4:16: must be longer than 0",
            "t.yaml:5:1: unknown key \"port\"",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let mut faults = Faults::default();
        let text = "listen_addresses: ['127.0.0.1:9100', ':9101', '127.0.0.1:9101', ':0', ':0', '127.0.0.1:9100']\n";
        Document::parse("t.yaml", text, &mut faults).read::<WebConfig>(&mut faults);
        let said = faults.to_string();
        assert!(said.contains("t.yaml:1:47: 127.0.0.1:9101 is listened on already, as :9101 stands"), "{said}");
        assert!(said.contains("t.yaml:1:77: 127.0.0.1:9100 is listened on already") && faults.len() == 2, "{said}");
        assert!(check_telemetry_path("/").is_ok() && check_telemetry_path("/-/ready").is_err());
    }

    #[test]
    fn no_address_or_path_makes_it_panic() {
        Fuzz::of(&["127.0.0.1:9100", "[::1]:9100", "localhost:80", "/metrics/a-b"]).texts(|text| {
            if let Ok(address) = text.parse::<ListenAddress>() {
                let _ = address.to_string();
            }
            let _ = check_telemetry_path(text);
        });
    }
}
