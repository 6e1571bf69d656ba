//! The server: listeners, the connections that they accept, and HTTP on these.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_LENGTH, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prometheus::Registry;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::api::{Api, QueryConfig};
use super::connections::{Admitted, Connections, Limits, Slot};
use super::instruments::Instruments;
use super::io::WatchedIo;
use super::reply::{Reply, text};
use super::routes::Routes;
use super::{Access, App, WebConfig, config, listen};

/// Bytes of a request's header; a longer one is answered 431.
const MAX_HEADER: usize = 64 << 10;
/// Streams of one HTTP/2 connection at a time.
const MAX_STREAMS: u32 = 32;
/// Refusals that are being told to clients at a time; beyond, connections are just closed.
const MAX_REFUSALS: usize = 32;
/// How long a client gets to take a refusal.
const REFUSAL_TIME: Duration = Duration::from_millis(500);
/// How long a listener waits when the process or the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the server cannot start: one line that says what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// The HTTP server, bound to its addresses.
pub struct Server<A> {
    listeners: Vec<TcpListener>,
    shared: Arc<Shared<A>>,
}

struct Shared<A> {
    routes: Routes<A>,
    access: Arc<ArcSwap<Access>>,
    connections: Arc<Connections>,
    instruments: Instruments,
    refusals: Semaphore,
}

/// Changes a running server.
#[derive(Clone)]
pub struct WebHandle {
    access: Arc<ArcSwap<Access>>,
    api: Arc<Api>,
}

impl WebHandle {
    /// Puts another web configuration in force: passwords and headers from the next request on, TLS from the next
    /// connection on.
    pub fn set_access(&self, access: Access) {
        self.access.store(Arc::new(access));
    }

    /// Puts other limits of queries in force, from the next one on.
    pub fn set_query_limits(&self, config: QueryConfig) {
        self.api.set_limits(config);
    }
}

impl<A: App> Server<A> {
    /// Binds all addresses and registers the server's own metrics. Must be called within a tokio runtime; nothing is
    /// accepted before [`run`](Server::run).
    pub fn bind(config: &WebConfig, access: Access, registry: &Registry, app: Arc<A>) -> Result<Server<A>, StartError> {
        config::check_telemetry_path(&config.telemetry_path).map_err(StartError)?;
        let instruments = Instruments::new(registry).map_err(|e| StartError(format!("metrics of the server: {e}")))?;
        let listeners = match config.systemd_socket {
            true => listen::from_systemd(),
            false => config.listen_addresses.iter().map(listen::bind).collect(),
        };
        let limits = Limits {
            connections: config.max_connections,
            header: config.read_header_timeout,
            idle: config.idle_timeout,
            write: config.write_timeout,
        };
        let api = Api::new(registry, answer_time(&limits));
        let api = api.map_err(|e| StartError(format!("metrics of queries: {e}")))?;
        let shared = Shared {
            routes: Routes::new(app, config, api),
            access: Arc::new(ArcSwap::from_pointee(access)),
            connections: Arc::new(Connections::new(limits)),
            instruments,
            refusals: Semaphore::new(MAX_REFUSALS),
        };
        Ok(Server { listeners: listeners.map_err(StartError)?, shared: Arc::new(shared) })
    }

    /// The addresses that are listened on, with the ports that were free for port 0.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|l| l.local_addr().ok()).collect()
    }

    pub fn handle(&self) -> WebHandle {
        WebHandle { access: self.shared.access.clone(), api: self.shared.routes.api() }
    }

    /// Serves until `shutdown` is true (or its sender gone); then accepts no more and gives requests that are in work
    /// `grace` to end.
    pub async fn run(self, shutdown: watch::Receiver<bool>, grace: Duration) {
        let mut listeners = JoinSet::new();
        for listener in self.listeners {
            let secure = self.shared.access.load().tls.is_some();
            if let Ok(address) = listener.local_addr() {
                tracing::info!(%address, tls = secure, "listening");
            }
            listeners.spawn(accept(listener, self.shared.clone(), shutdown.clone(), grace));
        }
        let end = async { while listeners.join_next().await.is_some() {} };
        tokio::select! {
            () = self.shared.connections.reap() => {}
            () = end => {}
        }
    }
}

/// Accepts connections on one listener until the shutdown, then waits for those that are open.
async fn accept<A: App>(
    listener: TcpListener,
    shared: Arc<Shared<A>>,
    mut shutdown: watch::Receiver<bool>,
    grace: Duration,
) {
    let mut open = JoinSet::new();
    let stop = shutdown.clone();
    let mut stopped = std::pin::pin!(stopped(&mut shutdown));
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => break,
            accepted = listener.accept() => accepted,
            Some(_) = open.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => begin(stream, peer, &shared, &stop, &mut open),
            Err(e) if is_of_one_connection(&e) => {}
            Err(e) => {
                tracing::warn!(error = %e, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    // What is not done then is dropped with the set.
    let _ = tokio::time::timeout(grace, async { while open.join_next().await.is_some() {} }).await;
}

/// Ends when the shutdown begins.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and so the agent.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The connection is gone before it was accepted: nothing is wrong with the listener.
fn is_of_one_connection(e: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(e.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn begin<A: App>(
    stream: TcpStream,
    peer: SocketAddr,
    shared: &Arc<Shared<A>>,
    stop: &watch::Receiver<bool>,
    open: &mut JoinSet<()>,
) {
    let shared = shared.clone();
    match shared.connections.admit() {
        Some(place) => {
            open.spawn(serve(stream, peer.ip(), shared, place, stop.clone()));
        }
        None => {
            shared.instruments.rejected.inc();
            let secure = shared.access.load().tls.is_some();
            if !secure {
                open.spawn(async move { refuse(stream, &shared.refusals).await });
            }
        }
    }
}

/// Tells a client that there is no place for it.
async fn refuse(mut stream: TcpStream, refusals: &Semaphore) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n\
        content-length: 22\r\nretry-after: 1\r\nconnection: close\r\n\r\nToo many connections.\n";
    let Ok(_permit) = refusals.try_acquire() else { return };
    let say = async {
        stream.write_all(ANSWER).await?;
        stream.shutdown().await?;
        // The request is read and dropped: to close with it unread would reset the connection and lose the answer.
        let mut scratch = [0; 1024];
        while stream.read(&mut scratch).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    let _ = tokio::time::timeout(REFUSAL_TIME, say).await;
}

/// Serves one connection until it ends, is too slow, or has to make room for another.
async fn serve<A: App>(
    stream: TcpStream,
    peer: IpAddr,
    shared: Arc<Shared<A>>,
    place: Admitted,
    stop: watch::Receiver<bool>,
) {
    shared.instruments.connections.set(i64::try_from(shared.connections.len()).unwrap_or(i64::MAX));
    let slot = place.slot.clone();
    tokio::select! {
        () = slot.closed() => {}
        () = speak(stream, peer, &shared, &slot, stop) => {}
    }
    drop(place);
    shared.instruments.connections.set(i64::try_from(shared.connections.len()).unwrap_or(i64::MAX));
}

async fn speak<A: App>(
    stream: TcpStream,
    peer: IpAddr,
    shared: &Arc<Shared<A>>,
    slot: &Arc<Slot>,
    mut stop: watch::Receiver<bool>,
) {
    // An answer is written at once: waiting to fill a packet would only delay its end. If it fails, it is so.
    let _ = stream.set_nodelay(true);
    let io = WatchedIo::new(stream, slot.clone());
    let tls = shared.access.load().tls.as_ref().map(|tls| tls.config.clone());
    let Some(config) = tls else { return speak_http1(io, peer, shared, slot, stop).await };
    let handshake = tokio::select! {
        handshake = TlsAcceptor::from(config).accept(io) => handshake,
        () = stopped(&mut stop) => return,
    };
    match handshake {
        Ok(io) if io.get_ref().1.alpn_protocol() == Some(b"h2") => speak_http2(io, peer, shared, slot, stop).await,
        Ok(io) => speak_http1(io, peer, shared, slot, stop).await,
        Err(e) => tracing::debug!(%peer, error = %e, "TLS handshake failed"),
    }
}

async fn speak_http1<A: App, I: AsyncRead + AsyncWrite + Unpin>(
    io: I,
    peer: IpAddr,
    shared: &Arc<Shared<A>>,
    slot: &Arc<Slot>,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(|request| answer(request, peer, shared.clone(), slot.clone()));
    let mut builder = http1::Builder::new();
    // The slot's phases limit the times, for every kind of connection alike.
    builder.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_HEADER);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(io), service));
    let result = tokio::select! {
        result = &mut connection => result,
        // Who has not sent a whole request yet is not waited for.
        () = stopped(&mut stop) => if slot.is_waiting() { return } else {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    report_end(peer, result);
}

async fn speak_http2<A: App, I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    io: I,
    peer: IpAddr,
    shared: &Arc<Shared<A>>,
    slot: &Arc<Slot>,
    mut stop: watch::Receiver<bool>,
) {
    slot.multiplexed();
    let (shared, slot) = (shared.clone(), slot.clone());
    let service = service_fn(move |request| answer(request, peer, shared.clone(), slot.clone()));
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEADER as u32);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(io), service));
    let result = tokio::select! {
        result = &mut connection => result,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    report_end(peer, result);
}

/// Clients break connections in many ways: nothing that an operator needs to hear of.
fn report_end(peer: IpAddr, result: hyper::Result<()>) {
    if let Err(e) = result {
        tracing::debug!(%peer, error = %e, "connection ended");
    }
}

/// Answers one request, in any case: with a 503 when it takes too long.
async fn answer<A: App>(
    request: Request<Incoming>,
    peer: IpAddr,
    shared: Arc<Shared<A>>,
    slot: Arc<Slot>,
) -> Result<Response<Reply>, std::convert::Infallible> {
    let (started, in_work) = (Instant::now(), slot.begin_request());
    let access = shared.access.load_full();
    let (method, path) = (request.method().clone(), request.uri().path().to_string());
    let answer = shared.routes.answer(request, peer, &access, &shared.instruments);
    let mut response = match tokio::time::timeout(answer_time(shared.connections.limits()), answer).await {
        Ok(response) => response,
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "This takes too long; the agent is busy.\n"),
    };
    finish_headers(&mut response, &access);
    if method == Method::HEAD {
        response.body_mut().clear();
    }
    let took = started.elapsed();
    let (label, code) = (shared.routes.label(&path), response.status());
    shared.instruments.answered(label, code.as_str(), took);
    tracing::debug!(%peer, %method, path, %code, ?took, "answered");
    response.body_mut().in_work = Some(in_work);
    Ok(response)
}

/// How long making an answer may take: as long is then left to write it.
fn answer_time(limits: &Limits) -> Duration {
    limits.write / 2
}

fn finish_headers(response: &mut Response<Reply>, access: &Access) {
    let length = response.body().len().filter(|_| response.status() != StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in &access.headers {
        let name: &HeaderName = name;
        headers.insert(name, value.clone());
    }
}
