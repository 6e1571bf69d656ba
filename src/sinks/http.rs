//! Outgoing HTTP for sinks: Alertmanager's `http_config`, a client that is built when it is first needed, and errors that
//! name the host and nothing else of the URL.

use std::borrow::Cow;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use reqwest::{Client, Method, Proxy, RequestBuilder, Response, StatusCode, Url, multipart, redirect};
use tokio::sync::Mutex;

use super::{Delivered, DeliveryError, Reason, not_supported};
use crate::model::Timestamp;
use crate::section;
use crate::yaml::{Faults, Node, Secret};

section! {
    check = check;
    foreign = alertmanagers_http;
    /// How requests are made.
    pub struct HttpConfig {
        /// A user and a password for the far side.
        pub basic_auth: Option<BasicAuth> = None,
        /// An `Authorization` header for the far side.
        pub authorization: Option<Authorization> = None,
        /// How the far side's certificate is checked.
        pub tls_config: TlsConfig = TlsConfig::default(),
        /// Whether redirects are followed: those that keep the method (307, 308), at most 10.
        pub follow_redirects: bool = true,
        /// A proxy for all requests. Proxies in the agent's environment are not used.
        pub proxy_url: Option<Secret> = None,
    }
}

section! {
    check = |s: &mut BasicAuth, node: &Node, faults: &mut Faults| {
        one_of(node, faults, "password", "password_file", s.password.is_some(), s.password_file.is_some());
    };
    /// A user and a password.
    pub struct BasicAuth {
        /// The user.
        pub username: String = String::new(),
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
            faults.error(node.get("type").map_or(node.at, |n| n.at), "for Basic, write basic_auth instead");
        }
    };
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
    foreign = alertmanagers_tls;
    /// How the far side's certificate is checked.
    pub struct TlsConfig {
        /// A file of certificates (PEM) that are trusted instead of the system's.
        pub ca_file: Option<PathBuf> = None,
        /// Whether any certificate is taken. Then anybody on the way can read and answer.
        pub insecure_skip_verify: bool = false,
    }
}

fn alertmanagers_http(key: &str) -> Option<String> {
    let instead = match key {
        "oauth2" | "bearer_token" | "bearer_token_file" => "use authorization or basic_auth",
        "no_proxy" | "proxy_from_environment" | "proxy_connect_header" => "use proxy_url where a proxy is wanted",
        "http_headers" => "put a proxy between that adds them, and name it in url",
        "enable_http2" => "the far side chooses; leave it out",
        _ => return None,
    };
    Some(not_supported(key, instead))
}

fn alertmanagers_tls(key: &str) -> Option<String> {
    let instead = match key {
        "ca" => "use ca_file",
        "cert" | "cert_file" | "key" | "key_file" | "server_name" | "min_version" | "max_version" => {
            "put a proxy between that does it, and name it in url"
        }
        _ => return None,
    };
    Some(not_supported(key, instead))
}

fn check(config: &mut HttpConfig, node: &Node, faults: &mut Faults) {
    if config.basic_auth.is_some() && config.authorization.is_some() {
        faults.error(node.at, "basic_auth and authorization exclude each other: give one");
    }
    if let Some(proxy) = &config.proxy_url
        && Url::parse(proxy.expose()).ok().is_none_or(|url| !matches!(url.scheme(), "http" | "https"))
    {
        let at = node.get("proxy_url").map_or(node.at, |n| n.at);
        faults.error(at, "proxy_url is not an http or https URL");
    }
}

/// Of two keys for one thing at most one may be given.
pub(super) fn one_of(node: &Node, faults: &mut Faults, value: &str, file: &str, has_value: bool, has_file: bool) {
    if has_value && has_file {
        faults.error(
            node.get(file).map_or(node.at, |n| n.at),
            format!("{value} and {file} exclude each other: give one"),
        );
    }
}

impl HttpConfig {
    /// Makes relative paths start at `dir`.
    pub fn resolve_paths(&mut self, dir: &Path) {
        let auth = self.basic_auth.as_mut().and_then(|a| a.password_file.as_mut());
        let authorization = self.authorization.as_mut().and_then(|a| a.credentials_file.as_mut());
        let ca = self.tls_config.ca_file.as_mut();
        for path in [auth, authorization, ca].into_iter().flatten() {
            *path = dir.join(&path);
        }
    }
}

/// A URL as it may be shown: what stands before an @ is a user and a password, wherever somebody put it.
pub fn without_user(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, rest)| rest)
}

/// A request to the far side.
pub(super) struct Outgoing {
    method: Method,
    /// Never shown but for its host.
    url: String,
    headers: Vec<(String, String)>,
    body: Body,
    /// What must not be shown when the answer quotes it, beside the URL and the credentials of the configuration.
    secrets: Vec<String>,
}

enum Body {
    Bytes(Vec<u8>),
    Multipart(multipart::Form),
}

impl Outgoing {
    pub fn new(method: Method, url: impl Into<String>, body: Vec<u8>) -> Outgoing {
        Outgoing { method, url: url.into(), headers: Vec::new(), body: Body::Bytes(body), secrets: Vec::new() }
    }

    /// A POST of JSON.
    pub fn json(url: impl Into<String>, body: Vec<u8>) -> Outgoing {
        Outgoing::new(Method::POST, url, body).header("Content-Type", "application/json")
    }

    /// A POST of a form with files.
    pub fn multipart(url: impl Into<String>, form: multipart::Form) -> Outgoing {
        Outgoing { body: Body::Multipart(form), ..Outgoing::new(Method::POST, url, Vec::new()) }
    }

    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Outgoing {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// A header whose value is never shown.
    pub fn secret_header(mut self, name: impl Into<String>, value: impl Into<String>, secret: &str) -> Outgoing {
        self.secrets.push(secret.to_string());
        self.header(name, value)
    }

    /// Something in the body or a header that is never shown.
    pub fn secret(mut self, secret: &str) -> Outgoing {
        self.secrets.push(secret.to_string());
        self
    }
}

/// What the far side answered, with a status of success.
pub(super) struct Answer {
    pub status: StatusCode,
    pub body: Vec<u8>,
}

/// The bytes of an answer that are read.
const MAX_ANSWER: usize = 1 << 20;

/// What is asked of an API.
pub enum Question {
    Get,
    /// A POST of a form, of JSON, of nothing.
    Form(String),
    Json(String),
    Post,
    Delete,
}

/// The certificates of the system take memory and time to read, so a client is built at the first request.
pub struct HttpClient {
    config: HttpConfig,
    timeout: Duration,
    client: Mutex<Option<Client>>,
}

impl HttpClient {
    /// `timeout` is for a whole request, the answer included.
    pub fn new(config: &HttpConfig, timeout: Duration) -> HttpClient {
        HttpClient { config: config.clone(), timeout, client: Mutex::new(None) }
    }

    /// Asks once, and gives the status and the whole of the answer; the error says who has
    /// not answered, and why.
    pub async fn ask(&self, url: &str, question: Question) -> Result<(u16, Vec<u8>), String> {
        let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(url) = parsed else { return Err(format!("{}: not an http or https URL", without_user(url))) };
        let host = host(&url);
        let of_host = |why: String| format!("{host}: {why}");
        let client = self.client().await.map_err(of_host)?;
        let request = match question {
            Question::Get => client.get(url),
            Question::Form(form) => {
                client.post(url).header("Content-Type", "application/x-www-form-urlencoded").body(form)
            }
            Question::Json(json) => client.post(url).header("Content-Type", "application/json").body(json),
            Question::Post => client.post(url),
            Question::Delete => client.delete(url),
        };
        let (request, _) = self.authorize(request).map_err(of_host)?;
        let response = request.send().await.map_err(|e| of_host(why(e, self.timeout)))?;
        let status = response.status().as_u16();
        let body = response.bytes().await.map_err(|e| of_host(why(e, self.timeout)))?;
        Ok((status, body.to_vec()))
    }

    /// Posts JSON, and reads the answer's status as confirmation or failure. `id` goes into the header
    /// `Idempotency-Key`.
    pub(super) async fn post_json(&self, url: &str, id: &str, body: Vec<u8>) -> Result<Delivered, DeliveryError> {
        let answer = self.send(Outgoing::json(url, body).header("Idempotency-Key", id)).await?;
        Ok(Delivered { answer: answer.status.to_string() })
    }

    /// Sends a request, and gives the answer if its status is a success. Any other answer is an error that says what the
    /// far side said, without secrets: 408, 429 and 5xx may pass, others last.
    ///
    /// # Errors
    /// Who did not take it, and why.
    pub(super) async fn send(&self, outgoing: Outgoing) -> Result<Answer, DeliveryError> {
        // What a parser says of a URL may quote it.
        let url = Url::parse(&outgoing.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| DeliveryError::lasting(Reason::Other, "the URL is not an http or https URL"))?;
        let host = host(&url);
        let client = self.client().await.map_err(|e| DeliveryError::passing(Reason::Other, format!("{host}: {e}")))?;
        let mut request = client.request(outgoing.method, url.clone());
        for (name, value) in outgoing.headers {
            request = request.header(name, value);
        }
        request = match outgoing.body {
            Body::Bytes(bytes) => request.body(bytes),
            Body::Multipart(form) => request.multipart(form),
        };
        let (request, mut secrets) =
            self.authorize(request).map_err(|e| DeliveryError::passing(Reason::Other, format!("{host}: {e}")))?;
        secrets.extend(outgoing.secrets);
        match request.send().await {
            Ok(response) => judge(&host, &url, &secrets, response).await,
            Err(error) => {
                let reason = if error.is_timeout() { Reason::Timeout } else { Reason::Other };
                Err(DeliveryError::passing(reason, format!("{host}: {}", why(error, self.timeout))))
            }
        }
    }

    async fn client(&self) -> Result<Client, String> {
        let mut client = self.client.lock().await;
        if let Some(client) = client.as_ref() {
            return Ok(client.clone());
        }
        let config = self.config.clone();
        let timeout = self.timeout;
        // It reads files.
        let built = tokio::task::spawn_blocking(move || build(&config, timeout)).await.map_err(|e| e.to_string())??;
        *client = Some(built.clone());
        Ok(built)
    }

    /// Adds the credentials; the second is the secrets that the request holds.
    fn authorize(&self, request: RequestBuilder) -> Result<(RequestBuilder, Vec<String>), String> {
        if let Some(auth) = &self.config.basic_auth {
            let password = secret(auth.password.as_ref(), auth.password_file.as_deref())?;
            return Ok((request.basic_auth(&auth.username, Some(&password)), vec![password]));
        }
        if let Some(auth) = &self.config.authorization {
            let credentials = secret(auth.credentials.as_ref(), auth.credentials_file.as_deref())?;
            let header = format!("{} {credentials}", auth.kind);
            return Ok((request.header("Authorization", header), vec![credentials]));
        }
        Ok((request, Vec::new()))
    }
}

/// A secret, from the configuration or from its file.
pub(super) fn secret(value: Option<&Secret>, file: Option<&Path>) -> Result<String, String> {
    match (value, file) {
        (_, Some(file)) => match std::fs::read_to_string(file) {
            Ok(text) => Ok(text.trim().to_string()),
            Err(error) => Err(format!("cannot read {}: {error}", file.display())),
        },
        (Some(secret), None) => Ok(secret.expose().to_string()),
        (None, None) => Ok(String::new()),
    }
}

/// Makes ring the cryptography of rustls in this process.
pub(super) fn install_crypto() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // It fails when another part has installed one, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

fn build(config: &HttpConfig, timeout: Duration) -> Result<Client, String> {
    install_crypto();
    let mut builder = Client::builder()
        .user_agent(concat!("Watchfire/", env!("CARGO_PKG_VERSION")))
        .timeout(timeout)
        .pool_max_idle_per_host(1)
        .pool_idle_timeout(Duration::from_secs(60))
        .no_proxy()
        .redirect(if config.follow_redirects { redirect::Policy::custom(follow) } else { redirect::Policy::none() });
    if let Some(proxy) = &config.proxy_url {
        builder = builder.proxy(Proxy::all(proxy.expose()).map_err(|_| "the proxy's URL is not valid".to_string())?);
    }
    if config.tls_config.insecure_skip_verify {
        builder = builder.tls_danger_accept_invalid_certs(true);
    } else if let Some(file) = &config.tls_config.ca_file {
        let pem = std::fs::read(file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
        let certificates =
            reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| format!("{}: {e}", file.display()))?;
        if certificates.is_empty() {
            return Err(format!("{} holds no certificate", file.display()));
        }
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(|e| format!("cannot set up the HTTP client: {}", causes(&e)))
}

/// Other redirects turn a POST into a GET without its body: it would be answered with 200 and nobody be told.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let keeps_method = matches!(attempt.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    if !keeps_method {
        attempt.stop()
    } else if attempt.previous().len() > 10 {
        attempt.error("more than 10 redirects")
    } else {
        attempt.follow()
    }
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"))
}

/// Why a request got no answer; without its URL.
fn why(error: reqwest::Error, timeout: Duration) -> String {
    if error.is_timeout() {
        return format!("no answer within {}", crate::model::format_duration(timeout));
    }
    causes(&error.without_url())
}

/// An error's chain of causes on one line, each said once.
fn causes(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        next = cause.source();
    }
    said
}

/// The characters of an answer's body that an error message shows.
const SHOWN: usize = 200;

async fn judge(host: &str, url: &Url, secrets: &[String], mut response: Response) -> Result<Answer, DeliveryError> {
    let status = response.status();
    if status.is_success() {
        let mut body = Vec::new();
        // What follows a success cannot make a failure of it.
        while let Ok(Some(bytes)) = response.chunk().await
            && body.len() < MAX_ANSWER
        {
            body.extend_from_slice(&bytes);
        }
        return Ok(Answer { status, body });
    }
    let retry_after = response.headers().get("Retry-After").and_then(|v| parse_retry_after(v.to_str().ok()?));
    let said = match response.chunk().await {
        Ok(Some(bytes)) => without_secrets(&String::from_utf8_lossy(&bytes), url, secrets),
        Ok(None) | Err(_) => String::new(),
    };
    let mut message = format!("{host} answered {status}");
    if status.is_redirection() {
        message.push_str(", which is not followed: give the address it moved to");
    } else if !said.is_empty() {
        message.push_str(&format!(": {said}"));
    }
    let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
    let reason = if status.is_server_error() { Reason::ServerError } else { Reason::ClientError };
    Err(DeliveryError { retry: passing, retry_after, reason, message })
}

/// Seconds, or an HTTP date (RFC 9110, 10.2.3).
fn parse_retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp().as_millisecond();
    let millis = at.saturating_sub(Timestamp::now().as_millis());
    Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}

/// The beginning of an answer's body on one line, without anything secret that it may quote.
fn without_secrets(body: &str, url: &Url, secrets: &[String]) -> String {
    let mut said = body.split_whitespace().collect::<Vec<_>>().join(" ");
    // First, as a secret may have some in it.
    said.retain(|c| !c.is_control());
    let whole = [url.as_str(), url.query().unwrap_or(""), url.path(), url.username(), url.password().unwrap_or("")];
    let whole = whole.into_iter().chain(secrets.iter().map(String::as_str)).filter(|part| part.len() > 1);
    // A token may stand alone, too; what is shorter is none, and might be any word.
    let segments = url.path_segments().into_iter().flatten().map(Cow::Borrowed);
    let tokens = segments.chain(url.query_pairs().map(|(_, value)| value)).filter(|token| token.len() >= 8);
    for part in whole.map(Cow::Borrowed).chain(tokens) {
        said = said.replace(part.as_ref(), "<secret>");
    }
    said.chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(parse_retry_after("120"), Some(Duration::from_secs(120)));
        assert_eq!(parse_retry_after("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        let later = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(100);
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&later).unwrap();
        let parsed = parse_retry_after(&date).unwrap();
        assert!((98..=100).contains(&parsed.as_secs()), "{parsed:?}");
        assert_eq!(parse_retry_after("soon"), None);
    }

    #[test]
    fn what_an_answer_quotes_of_the_secrets_is_not_shown() {
        let url = Url::parse("https://me:pass@example.org/hook/TOKEN?key=abc").unwrap();
        let said = without_secrets("no /hook/TOKEN?key=abc\n for me, pass or hunter2", &url, &["hunter2".to_string()]);
        assert_eq!(said, "no <secret>?<secret> for <secret>, <secret> or <secret>");
        let url = Url::parse("https://example.org/T0/0123456789?key=abc%20defgh").unwrap();
        let said = without_secrets("token 0123456789 or abc defgh at T0", &url, &[]);
        assert_eq!(said, "token <secret> or <secret> at T0");
        let said = without_secrets("hunt\u{2}er2", &url, &["hunter2".to_string()]);
        assert_eq!(said, "<secret>", "though there is a control character in it");
    }

    #[test]
    fn no_answer_makes_it_panic() {
        Fuzz::of(&["120", "Fri, 31 Dec 1999 23:59:59 GMT"]).texts(|text| {
            let _ = parse_retry_after(text);
        });
        let url = Url::parse("https://me:pass@example.org/hook/TOKEN123?key=abc").unwrap();
        Fuzz::of(&["no /hook/TOKEN123?key=abc\n for me, pass or hunter2"]).texts(|text| {
            let said = without_secrets(text, &url, &["hunter2".to_string()]);
            assert!(said.chars().count() <= SHOWN && !said.contains("hunter2"), "{said}");
        });
    }
}
