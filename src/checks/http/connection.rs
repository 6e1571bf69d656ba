//! One request over a connection of its own: each phase is timed.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{ACCEPT, AUTHORIZATION, COOKIE, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response, Uri, Version};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;

use super::super::net::{Clock, Stream, connect, resolve};
use super::super::tls::handshake;
use super::super::verdict::Verdict;
use super::answer::Answer;
use super::config::HttpCheck;
use super::report::Report;
use super::request::Plan;
use crate::sinks::TlsConfig;

/// Sends the request and gives the head of the answer.
///
/// # Errors
/// Why there is none.
pub(super) async fn ask(
    config: &HttpCheck,
    plan: &Plan,
    clock: &Clock,
    report: &mut Report,
) -> Result<Answer, Verdict> {
    let (stream, is_http2) = open(config, plan, clock, report).await?;
    let began = Instant::now();
    let asking = async {
        let tasks = Tasks::default();
        let response = send(stream, is_http2, request(plan, is_http2)?, &tasks).await;
        response.map(|response| Answer { response, _tasks: tasks })
    };
    let answered = clock.within(|| format!("connected to {}", plan.host()), asking).await;
    report.phases.processing += began.elapsed();
    let answer = answered??;
    report.heard(&answer.response, plan.url.scheme() == "https");
    Ok(answer)
}

/// Connects, with TLS where the URL wants it; also says whether HTTP/2 was agreed on.
async fn open(
    config: &HttpCheck,
    plan: &Plan,
    clock: &Clock,
    report: &mut Report,
) -> Result<(Box<dyn Stream>, bool), Verdict> {
    let target = plan.host();
    let began = Instant::now();
    let found = resolve(&target.host, config.preferred_ip_protocol, config.ip_protocol_fallback, clock).await;
    report.phases.resolve += began.elapsed();
    let found = found?;
    if let (None, Some(first)) = (report.found, found.addresses.first()) {
        report.found = Some((found.lookup, *first));
    }
    let began = Instant::now();
    let port = target.port.unwrap_or(80);
    let source = config.source_ip_address.map(|source| source.0);
    let connected = connect(&found.addresses, port, source, clock).await;
    report.phases.connect += began.elapsed();
    let (stream, ip) = connected?;
    if report.redirects == 0 {
        report.found = Some((found.lookup, ip));
    }
    // One small request: there is nothing to put together with it.
    let _ = stream.set_nodelay(true);
    if plan.url.scheme() != "https" {
        return Ok((Box::new(stream), false));
    }
    let tls_config = if plan.is_first_host { config.tls_config.clone() } else { for_others(&config.tls_config) };
    let protocols: &[&[u8]] = if config.enable_http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    let began = Instant::now();
    let stream = handshake(&tls_config, &target.host, protocols, stream, clock, &mut report.shown).await;
    report.phases.tls += began.elapsed();
    let stream = stream?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok((Box::new(stream), is_http2))
}

/// TLS for hosts that a redirect leads to: the name is that of the first, and so is who the agent says that it is.
fn for_others(config: &TlsConfig) -> TlsConfig {
    TlsConfig { server_name: String::new(), cert: None, cert_file: None, key: None, key_file: None, ..config.clone() }
}

fn request(plan: &Plan, is_http2: bool) -> Result<Request<Full<Bytes>>, Verdict> {
    let unsendable = |_| Verdict::unknown("the request cannot be sent: its URL or a header is malformed");
    let host = match &plan.host_header {
        Some(host) => host.clone(),
        None => HeaderValue::from_str(&plan.authority()).map_err(|e| unsendable(e.to_string()))?,
    };
    let uri = match is_http2 {
        // Without a header for the host: it stands in the URL there (RFC 9113, 8.3.1).
        true => format!("{}://{}{}", plan.url.scheme(), String::from_utf8_lossy(host.as_bytes()), plan.path()),
        false => plan.path(),
    };
    let uri: Uri = uri.parse().map_err(|e: hyper::http::uri::InvalidUri| unsendable(e.to_string()))?;
    let mut request = Request::new(Full::new(plan.body.clone()));
    *request.method_mut() = plan.method.clone();
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    if !is_http2 {
        headers.insert(HOST, host);
    }
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("Watchfire/", env!("CARGO_PKG_VERSION"))));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    if let Some(authorization) = &plan.authorization {
        headers.insert(AUTHORIZATION, authorization.clone());
    }
    headers.extend(plan.headers.clone());
    if let Some(cookies) = plan.cookies.header(&plan.url) {
        headers.insert(COOKIE, cookies);
    }
    Ok(request)
}

async fn send(
    stream: Box<dyn Stream>,
    is_http2: bool,
    request: Request<Full<Bytes>>,
    tasks: &Tasks,
) -> Result<Response<Incoming>, Verdict> {
    let io = TokioIo::new(stream);
    let response = if is_http2 {
        let runs = Runs(Arc::clone(&tasks.0));
        let (mut sender, connection) = http2::handshake(runs.clone(), io).await.map_err(failed)?;
        hyper::rt::Executor::execute(&runs, async {
            // How it ends is told to who waits for the answer.
            let _ = connection.await;
        });
        sender.send_request(request).await
    } else {
        let (mut sender, connection) = http1::handshake(io).await.map_err(failed)?;
        hyper::rt::Executor::execute(&Runs(Arc::clone(&tasks.0)), async {
            let _ = connection.await;
        });
        sender.send_request(request).await
    };
    response.map_err(failed)
}

/// Why there is no answer, or no more of it.
pub(super) fn why(error: &hyper::Error) -> String {
    if error.is_parse() {
        return "what came is not HTTP".to_string();
    }
    if error.is_incomplete_message() {
        return "the far side closed the connection".to_string();
    }
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return super::super::net::why(io);
        }
        cause = inner.source();
    }
    super::super::net::shown(&error.to_string())
}

fn failed(error: hyper::Error) -> Verdict {
    Verdict::critical(match error.is_parse() {
        true => "connected, but what answers does not speak HTTP".to_string(),
        false => format!("connected, but no answer: {}", why(&error)),
    })
}

/// What runs for a connection. It all ends when this is dropped.
#[derive(Default)]
pub(super) struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

/// Where a connection of HTTP/2 begins tasks of its own.
#[derive(Clone)]
struct Runs(Arc<Mutex<JoinSet<()>>>);

impl<F> hyper::rt::Executor<F> for Runs
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        let run = async {
            future.await;
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).spawn(run);
    }
}

impl Report {
    /// Keeps what the head of an answer says.
    fn heard(&mut self, response: &Response<Incoming>, is_tls: bool) {
        self.status = response.status().as_u16();
        self.version = match response.version() {
            Version::HTTP_10 => 1.0,
            Version::HTTP_2 => 2.0,
            _ => 1.1,
        };
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let length = header(hyper::header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        self.content_length = length.map_or(-1.0, |length| length as f64);
        let modified = header(hyper::header::LAST_MODIFIED).and_then(|at| jiff::fmt::rfc2822::parse(at.trim()).ok());
        self.last_modified = modified.map(|at| at.timestamp().as_second());
        self.is_tls = is_tls;
        if !is_tls {
            self.shown = None;
        }
    }
}
