//! `http_config`, with the keys that Alertmanager and Prometheus have: how requests are made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reqwest::Url;

use super::super::not_supported;
use crate::section;
use crate::yaml::{Faults, FromYaml, Node, Secret, Value};

section! {
    check = check_http;
    foreign = refs;
    /// How requests are made.
    pub struct HttpConfig {
        /// A user and a password for the far side.
        pub basic_auth: Option<BasicAuth> = None,
        /// An `Authorization` header for the far side.
        pub authorization: Option<Authorization> = None,
        /// A token for the far side that a server gives out.
        pub oauth2: Option<OAuth2> = None,
        /// The older way to write `authorization` with `credentials`.
        pub bearer_token: Option<Secret> = None,
        /// The older way to write `authorization` with `credentials_file`.
        pub bearer_token_file: Option<PathBuf> = None,
        /// How the far side's certificate is checked, and which is shown to it.
        pub tls_config: TlsConfig = TlsConfig::default(),
        /// Whether redirects are followed: those that keep the method (307, 308), at most 10.
        pub follow_redirects: bool = true,
        /// Whether HTTP/2 is spoken where the far side can, over TLS.
        pub enable_http2: bool = true,
        /// A proxy for all requests: `http://`, `https://` or `socks5://`.
        pub proxy_url: Option<Secret> = None,
        /// Hosts, domains, addresses and networks that are reached without the proxy, with commas between.
        pub no_proxy: String = String::new(),
        /// Whether the proxies of the agent's environment are used: `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`.
        pub proxy_from_environment: bool = false,
        /// Headers for the proxy when it is asked to connect (`CONNECT`), by name.
        pub proxy_connect_header: BTreeMap<String, Vec<Secret>> = BTreeMap::new(),
        /// More headers for the far side, by name.
        pub http_headers: BTreeMap<String, Header> = BTreeMap::new(),
    }
}

section! {
    check = |s: &mut BasicAuth, node: &Node, faults: &mut Faults| {
        one_of(node, faults, "username", "username_file", !s.username.is_empty(), s.username_file.is_some());
        one_of(node, faults, "password", "password_file", s.password.is_some(), s.password_file.is_some());
    };
    foreign = refs;
    /// A user and a password.
    pub struct BasicAuth {
        /// The user.
        pub username: String = String::new(),
        /// A file that holds the user's name; read at every request.
        pub username_file: Option<PathBuf> = None,
        /// The password.
        pub password: Option<Secret> = None,
        /// A file that holds the password; read at every request.
        pub password_file: Option<PathBuf> = None,
    }
}

section! {
    check = |s: &mut Authorization, node: &Node, faults: &mut Faults| {
        one_of(node, faults, "credentials", "credentials_file", s.credentials.is_some(), s.credentials_file.is_some());
        if s.kind.eq_ignore_ascii_case("basic") {
            faults.error(node.place("type"), "for Basic, write basic_auth instead");
        }
    };
    foreign = refs;
    /// An `Authorization` header.
    pub struct Authorization {
        /// The scheme.
        pub kind: String as "type" = "Bearer".to_string(),
        /// What follows it.
        pub credentials: Option<Secret> = None,
        /// A file that holds it; read at every request.
        pub credentials_file: Option<PathBuf> = None,
    }
}

section! {
    check = check_oauth2;
    foreign = foreign_oauth2;
    /// A token by OAuth 2.0, with the client's own credentials (RFC 6749, 4.4).
    pub struct OAuth2 {
        /// By what the server that gives out tokens knows the agent.
        pub client_id: String = String::new(),
        /// The secret to it.
        pub client_secret: Option<Secret> = None,
        /// A file that holds the secret; read whenever a token is asked for.
        pub client_secret_file: Option<PathBuf> = None,
        /// What the token shall be good for.
        pub scopes: Vec<String> = Vec::new(),
        /// Where tokens are given out.
        pub token_url: String = String::new(),
        /// More parameters of that request, by name.
        pub endpoint_params: BTreeMap<String, Secret> = BTreeMap::new(),
        /// As `tls_config` above, for that server.
        pub tls_config: TlsConfig = TlsConfig::default(),
        /// As `proxy_url` above, for that server.
        pub proxy_url: Option<Secret> = None,
        /// As `no_proxy` above, for that server.
        pub no_proxy: String = String::new(),
        /// As `proxy_from_environment` above, for that server.
        pub proxy_from_environment: bool = false,
        /// As `proxy_connect_header` above, for that server.
        pub proxy_connect_header: BTreeMap<String, Vec<Secret>> = BTreeMap::new(),
    }
}

section! {
    check = check_tls;
    foreign = refs;
    /// How the far side's certificate is checked, and which is shown to it.
    pub struct TlsConfig {
        /// Certificates (PEM) that are trusted instead of the system's. A server's own, self-signed, can be one of them.
        pub ca: Option<String> = None,
        /// A file of such certificates; read again when it changes.
        pub ca_file: Option<PathBuf> = None,
        /// The agent's own certificate (PEM), with those that it was signed by.
        pub cert: Option<String> = None,
        /// A file of it; read again when it changes.
        pub cert_file: Option<PathBuf> = None,
        /// The key to it (PEM).
        pub key: Option<Secret> = None,
        /// A file of the key; read again when it changes.
        pub key_file: Option<PathBuf> = None,
        /// The name that the far side's certificate must have, when it is not that of the URL.
        pub server_name: String = String::new(),
        /// Whether any certificate is taken. Then anybody on the way can read and answer.
        pub insecure_skip_verify: bool = false,
        /// The least version of TLS: `TLS12` or `TLS13`.
        pub min_version: Option<TlsVersion> = None,
        /// The highest version of TLS: `TLS12` or `TLS13`.
        pub max_version: Option<TlsVersion> = None,
    }
}

section! {
    /// A header: all that is given of it is sent.
    pub struct Header {
        /// Its values.
        pub values: Vec<String> = Vec::new(),
        /// Values that are not shown.
        pub secrets: Vec<Secret> = Vec::new(),
        /// Files that hold values; read at every request.
        pub files: Vec<PathBuf> = Vec::new(),
    }
}

/// A version of TLS that can be spoken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

impl FromYaml for TlsVersion {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        match node.as_str() {
            Some("TLS12") => Some(TlsVersion::Tls12),
            Some("TLS13") => Some(TlsVersion::Tls13),
            Some("TLS10" | "TLS11") => {
                faults
                    .error(node.at, "TLS 1.0 and 1.1 are broken, and not spoken: write TLS12, and renew the far side");
                None
            }
            _ => {
                faults.unexpected(node, "TLS12 or TLS13");
                None
            }
        }
    }

    fn as_yaml(&self) -> Option<Value> {
        Some(Value::plain(match self {
            TlsVersion::Tls12 => "TLS12",
            TlsVersion::Tls13 => "TLS13",
        }))
    }
}

/// Prometheus' references to a manager of secrets.
fn refs(key: &str) -> Option<String> {
    let of = key.strip_suffix("_ref")?;
    let known = matches!(of, "username" | "password" | "credentials" | "ca" | "cert" | "key" | "client_secret");
    known.then(|| not_supported(key, &format!("write the secret to a file, and name it in {of}_file")))
}

fn foreign_oauth2(key: &str) -> Option<String> {
    const BY_KEY: [&str; 11] = [
        "grant_type",
        "client_certificate_key",
        "client_certificate_key_file",
        "client_certificate_key_ref",
        "client_certificate_key_id",
        "signature_algorithm",
        "iss",
        "sub",
        "aud",
        "claims",
        "audience",
    ];
    if BY_KEY.contains(&key) {
        return Some(not_supported(key, "use client_secret, or client_secret_file"));
    }
    refs(key)
}

/// Of two keys for one thing at most one may be given.
pub(crate) fn one_of(node: &Node, faults: &mut Faults, value: &str, file: &str, has_value: bool, has_file: bool) {
    if has_value && has_file {
        faults.error(node.place(file), format!("{value} and {file} exclude each other: give one"));
    }
}

/// Whether something stands at the key, right or wrong. An empty text says nothing, as in Alertmanager.
pub(crate) fn is_set(node: &Node, key: &str) -> bool {
    node.get(key).is_some_and(|value| !value.is_null() && value.as_str() != Some(""))
}

/// The URL if it is one of HTTP. What a parser says of a URL may quote it, so nothing more is said.
pub(super) fn http_url(url: &str) -> Option<Url> {
    Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}

/// Whether it is a URL of HTTP.
pub(crate) fn is_http(url: &str) -> bool {
    http_url(url).is_some()
}

/// What the keys of `http_config` cannot say each for itself. `node` is where they stand.
pub(crate) fn check_http(config: &mut HttpConfig, node: &Node, faults: &mut Faults) {
    one_of(
        node,
        faults,
        "bearer_token",
        "bearer_token_file",
        config.bearer_token.is_some(),
        config.bearer_token_file.is_some(),
    );
    let bearer = config.bearer_token.is_some() || config.bearer_token_file.is_some();
    let ways = [
        ("basic_auth", config.basic_auth.is_some()),
        ("authorization", config.authorization.is_some()),
        ("oauth2", config.oauth2.is_some()),
        ("bearer_token", bearer),
    ];
    let given: Vec<&str> = ways.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect();
    if given.len() > 1 {
        faults.error(node.at, format!("{} exclude each other: give one", given.join(" and ")));
    } else if bearer {
        config.authorization = Some(Authorization {
            credentials: config.bearer_token.take(),
            credentials_file: config.bearer_token_file.take(),
            ..Authorization::default()
        });
    }
    check_proxy(config, node, faults);
    for key in node.get("http_headers").map(Node::entries).unwrap_or_default().iter().map(|(key, _)| key) {
        // The request's own, and what other keys say.
        const RESERVED: [&str; 14] = [
            "authorization",
            "host",
            "content-encoding",
            "content-length",
            "content-type",
            "user-agent",
            "connection",
            "keep-alive",
            "proxy-authenticate",
            "proxy-authorization",
            "www-authenticate",
            "accept-encoding",
            "transfer-encoding",
            "idempotency-key",
        ];
        if RESERVED.contains(&key.name.to_ascii_lowercase().as_str()) {
            faults.error(key.at, format!("the header {:?} cannot be set here: the request has its own", key.name));
        } else if !is_header_name(&key.name) {
            faults.error(key.at, format!("{:?} cannot be the name of a header", key.name));
        }
    }
}

fn is_header_name(name: &str) -> bool {
    reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_ok()
}

fn check_proxy(config: &HttpConfig, node: &Node, faults: &mut Faults) {
    let at = |key: &str| node.place(key);
    if let Some(proxy) = &config.proxy_url {
        let known = Url::parse(proxy.expose()).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h")
                && url.host_str().is_some_and(|h| !h.is_empty())
        });
        if !known {
            faults.error(at("proxy_url"), "proxy_url is not an http, https or socks5 URL");
        }
    }
    if config.proxy_from_environment && (config.proxy_url.is_some() || !config.no_proxy.is_empty()) {
        let message = "the environment says which proxies there are, and for what: no proxy_url or no_proxy beside it";
        faults.error(at("proxy_from_environment"), message);
    } else if config.proxy_url.is_none() && !config.no_proxy.is_empty() {
        faults.error(at("no_proxy"), "no_proxy without a proxy_url means nothing: give both or none");
    }
    if !config.proxy_connect_header.is_empty() && config.proxy_url.is_none() && !config.proxy_from_environment {
        faults
            .error(at("proxy_connect_header"), "proxy_connect_header without a proxy means nothing: give a proxy_url");
    }
    for key in node.get("proxy_connect_header").map(Node::entries).unwrap_or_default().iter().map(|(key, _)| key) {
        if !is_header_name(&key.name) {
            faults.error(key.at, format!("{:?} cannot be the name of a header", key.name));
        }
    }
}

fn check_oauth2(config: &mut OAuth2, node: &Node, faults: &mut Faults) {
    let (secret, file) = (config.client_secret.is_some(), config.client_secret_file.is_some());
    one_of(node, faults, "client_secret", "client_secret_file", secret, file);
    if !secret && !file && !is_set(node, "client_secret") {
        faults.error(node.at, "oauth2 needs a client_secret or a client_secret_file");
    }
    if config.client_id.is_empty() {
        faults.error(node.at, "oauth2 needs a client_id");
    }
    if !is_http(&config.token_url) {
        faults.error(node.place("token_url"), "oauth2 needs a token_url, an http or https URL");
    }
    check_proxy(&config.http(), node, faults);
}

fn check_tls(config: &mut TlsConfig, node: &Node, faults: &mut Faults) {
    one_of(node, faults, "ca", "ca_file", config.ca.is_some(), config.ca_file.is_some());
    one_of(node, faults, "cert", "cert_file", config.cert.is_some(), config.cert_file.is_some());
    one_of(node, faults, "key", "key_file", config.key.is_some(), config.key_file.is_some());
    let cert = config.cert.is_some() || config.cert_file.is_some();
    let key = config.key.is_some() || config.key_file.is_some();
    if cert != key {
        faults.error(node.at, "a certificate of the agent's needs both: cert or cert_file, and key or key_file");
    }
    if let (Some(min), Some(max)) = (config.min_version, config.max_version)
        && min > max
    {
        faults.error(node.place("min_version"), "min_version is above max_version");
    }
    if let Err(why) = super::tls::check(config) {
        faults.error(node.at, why);
    }
}

fn joined<'a>(dir: &Path, paths: impl IntoIterator<Item = Option<&'a mut PathBuf>>) {
    for path in paths.into_iter().flatten() {
        *path = dir.join(&path);
    }
}

impl HttpConfig {
    /// Makes relative paths start at `dir`.
    pub fn resolve_paths(&mut self, dir: &Path) {
        if let Some(auth) = &mut self.basic_auth {
            joined(dir, [auth.username_file.as_mut(), auth.password_file.as_mut()]);
        }
        if let Some(oauth2) = &mut self.oauth2 {
            joined(dir, [oauth2.client_secret_file.as_mut()]);
            oauth2.tls_config.resolve_paths(dir);
        }
        let authorization = self.authorization.as_mut().and_then(|a| a.credentials_file.as_mut());
        joined(dir, [authorization, self.bearer_token_file.as_mut()]);
        self.tls_config.resolve_paths(dir);
        joined(dir, self.http_headers.values_mut().flat_map(|header| &mut header.files).map(Some));
    }
}

impl TlsConfig {
    /// Makes relative paths start at `dir`.
    pub fn resolve_paths(&mut self, dir: &Path) {
        joined(dir, [self.ca_file.as_mut(), self.cert_file.as_mut(), self.key_file.as_mut()]);
    }
}

impl OAuth2 {
    /// How the server is asked that gives out tokens.
    pub(super) fn http(&self) -> HttpConfig {
        HttpConfig {
            tls_config: self.tls_config.clone(),
            proxy_url: self.proxy_url.clone(),
            no_proxy: self.no_proxy.clone(),
            proxy_from_environment: self.proxy_from_environment,
            proxy_connect_header: self.proxy_connect_header.clone(),
            ..HttpConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Document;

    fn read(text: &str) -> (HttpConfig, Vec<String>) {
        let mut faults = Faults::default();
        let config = Document::parse("h", text, &mut faults).read(&mut faults);
        (config, faults.iter().map(|f| f.to_string().lines().next().unwrap_or_default().to_string()).collect())
    }

    const EVERYTHING: &str = r#"
oauth2:
  client_id: me
  client_secret: hunter2
  scopes: [a, b]
  token_url: https://login.example.org/token
  endpoint_params: {audience: hunter3}
  tls_config: {server_name: login}
  proxy_from_environment: true
tls_config: {ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem, server_name: x, min_version: TLS12, max_version: TLS13}
follow_redirects: false
enable_http2: false
proxy_url: socks5://me:hunter4@proxy.example.org:1080
no_proxy: example.com,10.0.0.0/8
proxy_connect_header: {X-Proxy: [hunter5]}
http_headers:
  X-Scope: {values: [a, b], secrets: [hunter6], files: [token]}
"#;

    #[test]
    fn every_key_is_taken_and_no_secret_shown() {
        let (mut config, said) = read(EVERYTHING);
        assert!(said.is_empty(), "{said:?}");
        config.resolve_paths(Path::new("/etc/watchfire"));
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter"), "{shown}");
        for path in
            ["/etc/watchfire/ca.pem", "/etc/watchfire/cert.pem", "/etc/watchfire/key.pem", "/etc/watchfire/token"]
        {
            assert!(shown.contains(path), "{path}");
        }
    }

    #[test]
    fn the_older_way_to_give_a_token_means_the_same() {
        let (config, said) = read("bearer_token: hunter2\n");
        assert!(said.is_empty(), "{said:?}");
        let authorization = config.authorization.unwrap();
        assert_eq!((authorization.kind.as_str(), authorization.credentials), ("Bearer", Some(Secret::new("hunter2"))));
        let (config, _) = read("bearer_token_file: token\n");
        assert_eq!(config.authorization.unwrap().credentials_file, Some("token".into()));
    }

    #[test]
    fn what_cannot_be_meant_is_said_with_its_place() {
        for (text, fault) in [
            ("basic_auth: {username: a, username_file: b}", "h:1:42: username and username_file exclude each other"),
            ("basic_auth: {username: a}\nbearer_token: b", "h:1:1: basic_auth and bearer_token exclude each other"),
            ("basic_auth: {password_ref: a}", "h:1:14: \"password_ref\" is a key of Alertmanager's that this version"),
            ("authorization: {type: basic, credentials: a}", "h:1:23: for Basic, write basic_auth instead"),
            ("proxy_url: ftp://hidden", "h:1:12: proxy_url is not an http, https or socks5 URL"),
            ("no_proxy: a", "h:1:11: no_proxy without a proxy_url means nothing"),
            ("proxy_from_environment: true\nproxy_url: http://p", "h:1:25: the environment says which proxies"),
            ("proxy_connect_header: {A: [b]}", "h:1:23: proxy_connect_header without a proxy"),
            ("http_headers: {Content-Type: {values: [a]}}", "h:1:16: the header \"Content-Type\" cannot be set here"),
            ("http_headers: {'a b': {values: [a]}}", "h:1:16: \"a b\" cannot be the name of a header"),
            ("oauth2: {client_id: a, token_url: 'http://x/'}", "h:1:9: oauth2 needs a client_secret or"),
            (
                "oauth2: {client_id: a, client_secret: '', token_url: 'http://x/'}",
                "h:1:9: oauth2 needs a client_secret or",
            ),
            ("oauth2: {client_id: a, client_secret: b}", "h:1:9: oauth2 needs a token_url"),
            (
                "oauth2: {client_id: a, client_secret: b, token_url: 'http://x/', grant_type: c}",
                "h:1:66: \"grant_type\"",
            ),
            ("tls_config: {cert_file: a}", "h:1:13: a certificate of the agent's needs both"),
            ("tls_config: {min_version: TLS13, max_version: TLS12}", "h:1:27: min_version is above max_version"),
            ("tls_config: {min_version: TLS10}", "h:1:27: TLS 1.0 and 1.1 are broken"),
            ("tls_config: {ca: nonsense}", "h:1:13: ca holds no certificate (PEM)"),
            ("tls_config: {server_name: 'a b'}", "h:1:13: server_name is not the name of a host"),
        ] {
            let (_, said) = read(text);
            assert!(said.iter().any(|s| s.starts_with(fault)), "{text}: {said:?}");
            assert!(!said.join("").contains("hidden"));
        }
    }
}
