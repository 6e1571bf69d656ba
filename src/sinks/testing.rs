//! A far side for tests: an HTTP server that answers as told and remembers what it saw.

mod alertmanager;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use prometheus::Registry;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::net::TcpListener;

pub(crate) use self::alertmanager::Alertmanager;
use super::SinkContext;
use crate::pool::{Pool, PoolConfig};

/// What a far side saw of a request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }
}

/// A status, headers, a body.
pub(crate) type Answer = (u16, Vec<(&'static str, String)>, &'static str);

/// A far side that answers as told, forever the last way, and remembers what it saw.
pub(crate) async fn far_side(answers: Vec<Answer>) -> (SocketAddr, Arc<Mutex<Vec<Seen>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let memory = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (memory, answers) = (Arc::clone(&memory), answers.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (memory, answers) = (Arc::clone(&memory), answers.clone());
                async move {
                    let method = request.method().to_string();
                    let path = request.uri().to_string();
                    let header = |(n, v): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
                        (n.to_string(), v.to_str().unwrap().to_string())
                    };
                    let headers = request.headers().iter().map(header).collect();
                    let body = request.into_body().collect().await.unwrap().to_bytes().to_vec();
                    let number = {
                        let mut memory = memory.lock().unwrap();
                        memory.push(Seen { method, path, headers, body });
                        memory.len() - 1
                    };
                    let (status, headers, body) = answers.get(number).or(answers.last()).unwrap().clone();
                    let mut response = Response::builder().status(status);
                    for (name, value) in headers {
                        response = response.header(name, value);
                    }
                    Ok::<_, Infallible>(response.body(Full::new(Bytes::from(body))).unwrap())
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, seen)
}

/// A client for tests: plain HTTP only.
pub(crate) fn client() -> reqwest::Client {
    super::http::install_crypto();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

/// What sinks are built with, without charts.
pub(crate) fn context() -> SinkContext {
    let pool = Pool::new(PoolConfig::default(), &Registry::new(), tokio::runtime::Handle::current()).unwrap();
    SinkContext { pool, texts: Arc::default(), charts: None }
}

/// A certificate and its key.
pub(crate) struct Own {
    pub params: CertificateParams,
    pub pem: String,
    pub key: KeyPair,
}

impl Own {
    pub fn authority(name: &str) -> Own {
        let mut params = CertificateParams::new([name.to_string()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        Own { pem: params.self_signed(&key).unwrap().pem(), params, key }
    }

    pub fn signed_by(authority: &Own, name: &str) -> Own {
        let params = CertificateParams::new([name.to_string()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&authority.params, &authority.key);
        Own { pem: params.signed_by(&key, &issuer).unwrap().pem(), params, key }
    }

    pub fn write(&self, dir: &Path, name: &str) {
        std::fs::write(dir.join(format!("{name}.pem")), &self.pem).unwrap();
        std::fs::write(dir.join(format!("{name}.key")), self.key.serialize_pem()).unwrap();
    }
}

/// Writes an authority, `ca.pem`, and a certificate of it for localhost, `server.pem` and `server.key`.
pub(crate) fn certificates(dir: &Path) {
    let authority = Own::authority("authority");
    authority.write(dir, "ca");
    Own::signed_by(&authority, "localhost").write(dir, "server");
}

/// Says that a test is skipped because a package is missing; fails where peers are required.
pub(crate) fn missing(package: &str) {
    assert!(
        std::env::var_os("WATCHFIRE_REQUIRE_PEERS").is_none(),
        "{package} is not installed, and peers are required"
    );
    eprintln!("skipped: {package} is not installed");
}

/// Waits for something that other processes bring about.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it is not so after 30 s: {what}");
}

/// A process that ends with the test.
pub(crate) struct Process(pub std::process::Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
