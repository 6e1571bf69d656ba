//! The keys of an `http` check.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};

use super::super::local::Bytes;
use super::super::net::{Ip, IpProtocol, Regexp};
use crate::section;
use crate::sinks::{Address, Authorization, BasicAuth, TlsConfig, one_of};
use crate::yaml::{Faults, Node, Secret, nearest};

section! {
    check = check;
    foreign = foreign;
    /// A request, and what its answer must be.
    pub struct HttpCheck {
        /// What is asked for: an http or https URL. A user and a password in it are sent as `basic_auth`.
        pub url: Option<Address> = None,
        /// The method of the request.
        pub method: String = "GET".to_string(),
        /// Headers of the request, by name. They are not sent to another host that a redirect leads to.
        pub headers: BTreeMap<String, Secret> = BTreeMap::new(),
        /// The body of the request.
        pub body: Option<Secret> = None,
        /// A file that holds the body; read at every run.
        pub body_file: Option<PathBuf> = None,
        /// The statuses that the answer may have; when there are none, 200 to 299.
        pub valid_status_codes: Vec<u16> = Vec::new(),
        /// The versions that the answer may have: `HTTP/1.0`, `HTTP/1.1`, `HTTP/2.0`; when there are none, any.
        pub valid_http_versions: Vec<String> = Vec::new(),
        /// Whether redirects are followed.
        pub follow_redirects: bool = true,
        /// So many redirects are followed; one more is a failure.
        pub max_redirects: u32 = 10,
        /// Whether it is a failure that the last answer came over TLS.
        pub fail_if_ssl: bool = false,
        /// Whether it is a failure that the last answer did not come over TLS.
        pub fail_if_not_ssl: bool = false,
        /// It is a failure when one of these is found in the body.
        pub fail_if_body_matches_regexp: Vec<Regexp> = Vec::new(),
        /// It is a failure when one of these is not found in the body.
        pub fail_if_body_not_matches_regexp: Vec<Regexp> = Vec::new(),
        /// It is a failure when one of these is found in a header.
        pub fail_if_header_matches: Vec<HeaderMatch> = Vec::new(),
        /// It is a failure when one of these is found in no header of its name.
        pub fail_if_header_not_matches: Vec<HeaderMatch> = Vec::new(),
        /// So many bytes of the body are read; a longer one is a failure.
        pub body_size_limit: Bytes = Bytes(10 << 20),
        /// A user and a password for the far side.
        pub basic_auth: Option<BasicAuth> = None,
        /// An `Authorization` header for the far side.
        pub authorization: Option<Authorization> = None,
        /// The older way to write `authorization` with `credentials`.
        pub bearer_token: Option<Secret> = None,
        /// The older way to write `authorization` with `credentials_file`.
        pub bearer_token_file: Option<PathBuf> = None,
        /// How the far side's certificate is checked, and which is shown to it.
        pub tls_config: TlsConfig = TlsConfig::default(),
        /// The run is a warning when the certificate has less than this left; an expired one is a failure anyway.
        pub certificate_warning: Option<Duration> = None,
        /// Whether HTTP/2 is spoken where the far side can, over TLS.
        pub enable_http2: bool = true,
        /// The version of IP that is tried first: `ip4` or `ip6`, which it is when not set.
        pub preferred_ip_protocol: Option<IpProtocol> = None,
        /// Whether the other version is taken where there is no address of the preferred one, or nothing answers there.
        pub ip_protocol_fallback: bool = true,
        /// The address of this host's that the connection is made from.
        pub source_ip_address: Option<Ip> = None,
    }
}

section! {
    check = |s: &mut HeaderMatch, node: &Node, faults: &mut Faults| {
        if HeaderName::from_bytes(s.header.as_bytes()).is_err() {
            faults.error(node.place("header"), "header is not the name of a header");
        }
        if s.regexp.is_none() && node.get("regexp").is_none() {
            faults.error(node.at, "a match needs a regexp");
        }
    };
    /// A header, and what is looked for in it.
    pub struct HeaderMatch {
        /// Its name.
        pub header: String = String::new(),
        /// What is looked for.
        pub regexp: Option<Regexp> = None,
        /// Whether the header may be missing; else that is a failure.
        pub allow_missing: bool = false,
    }
}

/// Versions as they may be written, and as Go writes them.
pub(super) const VERSIONS: [(&str, &str); 4] =
    [("HTTP/1.0", "HTTP/1.0"), ("HTTP/1.1", "HTTP/1.1"), ("HTTP/2.0", "HTTP/2.0"), ("HTTP/2", "HTTP/2.0")];

fn check(config: &mut HttpCheck, node: &Node, faults: &mut Faults) {
    let at = |key: &str| node.place(key);
    if config.url.is_none() && node.get("url").is_none() {
        faults.error(node.at, "an http check needs a url");
    }
    if Method::from_bytes(config.method.as_bytes()).is_err() || config.method.eq_ignore_ascii_case("connect") {
        faults.error(at("method"), format!("{:?} is no method of a request", config.method));
    }
    for (key, value) in node.get("headers").map(Node::entries).unwrap_or_default() {
        if HeaderName::from_bytes(key.name.as_bytes()).is_err() {
            faults.error(key.at, format!("{:?} cannot be the name of a header", key.name));
        } else if ["content-length", "transfer-encoding", "connection"]
            .contains(&key.name.to_ascii_lowercase().as_str())
        {
            faults.error(key.at, format!("the header {:?} cannot be set here: the request has its own", key.name));
        } else if value.as_str().is_some_and(|value| HeaderValue::from_str(value).is_err()) {
            faults.error(value.at, format!("what the header {:?} is set to cannot stand in a header", key.name));
        }
    }
    one_of(node, faults, "body", "body_file", config.body.is_some(), config.body_file.is_some());
    for (status, of) in
        config.valid_status_codes.iter().zip(node.get("valid_status_codes").map(Node::items).unwrap_or_default())
    {
        if !(100..600).contains(status) {
            faults.error(of.at, format!("{status} is no status of an answer: they go from 100 to 599"));
        }
    }
    for (version, of) in
        config.valid_http_versions.iter().zip(node.get("valid_http_versions").map(Node::items).unwrap_or_default())
    {
        let known = || VERSIONS.iter().map(|(written, _)| *written);
        if !known().any(|known| known == version) {
            let near = nearest(version, known()).map_or(String::new(), |near| format!(": did you mean {near}?"));
            faults.error(of.at, format!("there is no version {version:?}{near}"));
        }
    }
    if config.fail_if_ssl && config.fail_if_not_ssl {
        faults.error(at("fail_if_not_ssl"), "fail_if_ssl and fail_if_not_ssl together fail always: give one");
    }
    check_credentials(config, node, faults);
}

/// One way to say who asks, and bearer_token as the other way to write authorization.
fn check_credentials(config: &mut HttpCheck, node: &Node, faults: &mut Faults) {
    let (token, file) = (config.bearer_token.is_some(), config.bearer_token_file.is_some());
    one_of(node, faults, "bearer_token", "bearer_token_file", token, file);
    let ways = [
        ("basic_auth", config.basic_auth.is_some()),
        ("authorization", config.authorization.is_some()),
        ("bearer_token", token || file),
    ];
    let given: Vec<&str> = ways.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect();
    if given.len() > 1 {
        faults.error(node.at, format!("{} exclude each other: give one", given.join(" and ")));
    } else if token || file {
        config.authorization = Some(Authorization {
            credentials: config.bearer_token.take(),
            credentials_file: config.bearer_token_file.take(),
            ..Authorization::default()
        });
    }
}

/// Keys of blackbox_exporter's that mean nothing here.
fn foreign(key: &str) -> Option<String> {
    let instead = match key {
        "no_follow_redirects" => "write follow_redirects: false",
        "fail_if_matches_regexp" => "write fail_if_body_matches_regexp",
        "fail_if_not_matches_regexp" => "write fail_if_body_not_matches_regexp",
        "compression" => "bodies are asked for without compression",
        "proxy_url"
        | "no_proxy"
        | "proxy_from_environment"
        | "proxy_connect_header"
        | "skip_resolve_phase_with_proxy" => "a check connects by itself, as its phases are timed",
        "oauth2" => "give the token as authorization, with credentials_file",
        "enable_http3" => "HTTP/3 is not spoken",
        "fail_if_body_json_matches_cel" | "fail_if_body_json_not_matches_cel" => {
            "look for what has to be there by fail_if_body_matches_regexp or fail_if_body_not_matches_regexp"
        }
        _ => return None,
    };
    Some(format!("{key:?} is a key of blackbox_exporter's that is not supported here: {instead}"))
}

impl HttpCheck {
    /// Makes relative paths start at `dir`.
    pub fn resolve_paths(&mut self, dir: &Path) {
        let join = |path: &mut Option<PathBuf>| {
            if let Some(path) = path {
                *path = dir.join(&path);
            }
        };
        join(&mut self.body_file);
        join(&mut self.bearer_token_file);
        if let Some(auth) = &mut self.basic_auth {
            join(&mut auth.username_file);
            join(&mut auth.password_file);
        }
        if let Some(authorization) = &mut self.authorization {
            join(&mut authorization.credentials_file);
        }
        self.tls_config.resolve_paths(dir);
    }
}
