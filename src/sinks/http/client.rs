//! The client: built at the first request, built anew when a file of its certificates has changed.

use std::error::Error;
use std::time::Duration;

use base64::Engine;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url, multipart, redirect};
use tokio::sync::Mutex;

use super::super::{Delivered, DeliveryError, Reason};
use super::answer::{Answer, judge};
use super::config::{HttpConfig, http_url};
use super::oauth2::Tokens;
use super::tls::Stamp;
use super::{install_crypto, proxy, secret, without_user};

/// A request to the far side.
pub(crate) struct Outgoing {
    method: Method,
    /// Never shown but for its host.
    url: String,
    headers: Vec<(String, String)>,
    basic_auth: Option<(String, String)>,
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
        Outgoing {
            method,
            url: url.into(),
            headers: Vec::new(),
            basic_auth: None,
            body: Body::Bytes(body),
            secrets: Vec::new(),
        }
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

    /// A user and a password of the sink's own, where the service wants them.
    pub fn basic_auth(mut self, user: impl Into<String>, password: impl Into<String>) -> Outgoing {
        let (user, password) = (user.into(), password.into());
        self.secrets.extend([in_header(&user, &password), password.clone()]);
        self.basic_auth = Some((user, password));
        self
    }

    /// Something in the body or a header that is never shown.
    pub fn secret(mut self, secret: &str) -> Outgoing {
        self.secrets.push(secret.to_string());
        self
    }
}

/// What is asked of an API.
pub enum Question {
    Get,
    /// A POST of a form, of JSON, of nothing.
    Form(String),
    Json(String),
    Post,
    Delete,
}

/// Makes requests as an `http_config` says.
pub struct HttpClient {
    config: HttpConfig,
    timeout: Duration,
    tokens: Option<Box<Tokens>>,
    built: Mutex<Option<Built>>,
}

struct Built {
    client: Client,
    /// What the files of its certificates were.
    stamps: Vec<Stamp>,
}

/// Why there is no answer.
enum Failed {
    /// The request could not be made.
    Setup(String),
    /// No token for it was to be had.
    Token(DeliveryError),
    Request(reqwest::Error),
}

impl HttpClient {
    /// `timeout` is for a whole request, the answer included.
    pub fn new(config: &HttpConfig, timeout: Duration) -> HttpClient {
        let tokens = config.oauth2.as_ref().map(|oauth2| Box::new(Tokens::new(oauth2, timeout)));
        HttpClient { config: config.clone(), timeout, tokens, built: Mutex::new(None) }
    }

    /// Asks once, and gives the status and the whole of the answer; the error says who has not answered, and why.
    pub async fn ask(&self, url: &str, question: Question) -> Result<(u16, Vec<u8>), String> {
        let Some(url) = http_url(url) else { return Err(format!("{}: not an http or https URL", without_user(url))) };
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
        let (response, _) = self.answered(request).await.map_err(|failed| match failed {
            Failed::Setup(why) => of_host(why),
            Failed::Token(error) => of_host(error.message),
            Failed::Request(error) => of_host(why(error, self.timeout)),
        })?;
        let status = response.status().as_u16();
        let body = response.bytes().await.map_err(|e| of_host(why(e, self.timeout)))?;
        Ok((status, body.to_vec()))
    }

    /// Posts JSON, and reads the answer's status as confirmation or failure. `id` goes into the header
    /// `Idempotency-Key`.
    pub(crate) async fn post_json(&self, url: &str, id: &str, body: Vec<u8>) -> Result<Delivered, DeliveryError> {
        self.send(Outgoing::json(url, body).header("Idempotency-Key", id)).await.map(|answer| answer.delivered())
    }

    /// Sends a request, and gives the answer if its status is a success. Any other answer is an error that says what the
    /// far side said, without secrets: 408, 429 and 5xx may pass, others last.
    ///
    /// # Errors
    /// Who did not take it, and why.
    pub(crate) async fn send(&self, outgoing: Outgoing) -> Result<Answer, DeliveryError> {
        let url = http_url(&outgoing.url)
            .ok_or_else(|| DeliveryError::lasting(Reason::Other, "the URL is not an http or https URL"))?;
        let host = host(&url);
        let client = self.client().await.map_err(|e| DeliveryError::passing(Reason::Other, format!("{host}: {e}")))?;
        let mut request = client.request(outgoing.method, url.clone());
        for (name, value) in outgoing.headers {
            request = request.header(name, value);
        }
        if let Some((user, password)) = outgoing.basic_auth {
            request = request.basic_auth(user, Some(password));
        }
        request = match outgoing.body {
            Body::Bytes(bytes) => request.body(bytes),
            Body::Multipart(form) => request.multipart(form),
        };
        match self.answered(request).await {
            Ok((response, mut secrets)) => {
                secrets.extend(outgoing.secrets);
                // The client makes a header of them.
                if let Some(password) = url.password() {
                    let (user, password) = (decoded(url.username()), decoded(password));
                    secrets.extend([in_header(&user, &password), password]);
                }
                judge(host, url, secrets, response).await
            }
            Err(Failed::Setup(why)) => Err(DeliveryError::passing(Reason::Other, format!("{host}: {why}"))),
            Err(Failed::Token(error)) => {
                Err(DeliveryError { message: format!("{host}: no token for it: {}", error.message), ..error })
            }
            Err(Failed::Request(error)) => {
                let reason = if error.is_timeout() { Reason::Timeout } else { Reason::Other };
                Err(DeliveryError::passing(reason, format!("{host}: {}", why(error, self.timeout))))
            }
        }
    }

    async fn client(&self) -> Result<Client, String> {
        let mut built = self.built.lock().await;
        let tls = &self.config.tls_config;
        let has_files = tls.ca_file.is_some() || tls.cert_file.is_some() || tls.key_file.is_some();
        if let Some(built) = built.as_ref().filter(|_| !has_files) {
            return Ok(built.client.clone());
        }
        let known = built.as_ref().map(|built| built.stamps.clone());
        let config = self.config.clone();
        let timeout = self.timeout;
        // It reads files.
        let anew = tokio::task::spawn_blocking(move || {
            // Looked at before they are read: what changes in between is seen at the next request.
            let stamps = config.tls_config.stamps();
            if known.as_ref() == Some(&stamps) {
                return Ok(None);
            }
            build(&config, timeout).map(|client| Some(Built { client, stamps }))
        });
        match (anew.await.map_err(|e| e.to_string())??, built.as_ref()) {
            (None, Some(built)) => Ok(built.client.clone()),
            (anew, _) => {
                *built = anew;
                built.as_ref().map(|built| built.client.clone()).ok_or_else(|| "there is no client".to_string())
            }
        }
    }

    /// Sends with credentials; and once more with a new token if the far side does not take the one that was thought to
    /// be good still. The second is the secrets that the request holds.
    async fn answered(&self, request: RequestBuilder) -> Result<(Response, Vec<String>), Failed> {
        let request = self.dress(request).map_err(Failed::Setup)?;
        let Some(tokens) = &self.tokens else {
            let (request, secrets) = request;
            return Ok((request.send().await.map_err(Failed::Request)?, secrets));
        };
        let (request, mut secrets) = request;
        // A body that is read as it is sent cannot be sent twice: then the next try has the new token.
        let again = request.try_clone();
        let token = tokens.get().await.map_err(Failed::Token)?;
        secrets.push(token.text.clone());
        let response = request.header("Authorization", token.header()).send().await.map_err(Failed::Request)?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok((response, secrets));
        }
        tokens.refused(&token).await;
        let Some(again) = again.filter(|_| !token.is_new) else { return Ok((response, secrets)) };
        let token = tokens.get().await.map_err(Failed::Token)?;
        secrets.push(token.text.clone());
        let response = again.header("Authorization", token.header()).send().await.map_err(Failed::Request)?;
        Ok((response, secrets))
    }

    /// Adds the headers that the configuration says; the second is the secrets among them.
    fn dress(&self, mut request: RequestBuilder) -> Result<(RequestBuilder, Vec<String>), String> {
        let mut secrets = Vec::new();
        for (name, header) in &self.config.http_headers {
            for value in &header.values {
                request = request.header(name, value);
            }
            for value in header
                .secrets
                .iter()
                .map(|value| Ok(value.expose().to_string()))
                .chain(header.files.iter().map(|file| secret(None, Some(file))))
            {
                let value: String = value?;
                request = request.header(name, &value);
                secrets.push(value);
            }
        }
        if let Some(auth) = &self.config.basic_auth {
            let user = match &auth.username_file {
                Some(file) => secret(None, Some(file))?,
                None => auth.username.clone(),
            };
            let password = secret(auth.password.as_ref(), auth.password_file.as_deref())?;
            request = request.basic_auth(&user, Some(&password));
            secrets.extend([in_header(&user, &password), password]);
        }
        if let Some(auth) = &self.config.authorization {
            let credentials = secret(auth.credentials.as_ref(), auth.credentials_file.as_deref())?;
            request = request.header("Authorization", format!("{} {credentials}", auth.kind));
            secrets.push(credentials);
        }
        Ok((request, secrets))
    }
}

/// A user and a password as they stand in `Authorization` (RFC 7617).
fn in_header(user: &str, password: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
}

/// A part of a URL without its escapes.
fn decoded(part: &str) -> String {
    // It is no form: in that these have a meaning.
    let escaped = part.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(escaped.as_bytes()).map(|(text, _)| text.into_owned()).collect()
}

fn build(config: &HttpConfig, timeout: Duration) -> Result<Client, String> {
    install_crypto();
    let mut tls = config.tls_config.client_config()?;
    tls.alpn_protocols = if config.enable_http2 { vec![b"h2".into(), b"http/1.1".into()] } else { Vec::new() };
    let mut builder = Client::builder()
        .user_agent(concat!("Watchfire/", env!("CARGO_PKG_VERSION")))
        .timeout(timeout)
        .pool_max_idle_per_host(1)
        .pool_idle_timeout(Duration::from_secs(60))
        .no_proxy()
        .tls_backend_preconfigured(tls)
        .redirect(if config.follow_redirects { redirect::Policy::custom(follow) } else { redirect::Policy::none() });
    if !config.enable_http2 {
        builder = builder.http1_only();
    }
    for proxy in proxy::proxies(config, |name| std::env::var(name).ok())? {
        builder = builder.proxy(proxy);
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
