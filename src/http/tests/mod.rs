//! The server as clients see it: real connections on 127.0.0.1.

mod api;
mod limits;
mod peers;
mod routes;
mod secure;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prometheus::Registry;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{About, Access, App, Overview, Server, WebConfig, WebHandle};
use crate::alerting::Alerting;
use crate::checks::Board;
use crate::history::{History, HistoryLimits, SharedHistory};
use crate::model::{Labels, SeriesTable, Snapshot, Timestamp, Writer};
use crate::pool::{Pool, PoolConfig};
use crate::rules::GroupView;

/// An agent whose every sampling gives the next snapshot.
struct Agent {
    writer: Mutex<Writer>,
    latest: Mutex<Option<Arc<Snapshot>>>,
    series: usize,
    samplings: AtomicUsize,
    sampling_takes: Duration,
    reloads: AtomicUsize,
    reload_fails: AtomicBool,
    ready: AtomicBool,
    history: SharedHistory,
    pool: Pool,
    checks: Arc<Board>,
}

impl Agent {
    fn new(series: usize, sampling_takes: Duration) -> Arc<Agent> {
        Arc::new(Agent {
            writer: Mutex::new(Writer::new("test", Arc::new(SeriesTable::new(Labels::empty())), 1_000_000)),
            latest: Mutex::new(None),
            series,
            samplings: AtomicUsize::new(0),
            sampling_takes,
            reloads: AtomicUsize::new(0),
            reload_fails: AtomicBool::new(false),
            ready: AtomicBool::new(true),
            history: SharedHistory::new(History::new(HistoryLimits::default()).into()),
            pool: Pool::new(PoolConfig::default(), &Registry::new(), tokio::runtime::Handle::current()).unwrap(),
            checks: Arc::default(),
        })
    }

    fn tick(&self, taken: Instant) {
        let mut writer = self.writer.lock().unwrap();
        let mut family = writer.counter("node_forks_total", "Forks.", ["series"]);
        for n in 0..self.series {
            family.put([format!("{n:0>100}").as_bytes()], n as f64);
        }
        let sections = vec![writer.finish().0];
        *self.latest.lock().unwrap() = Some(Arc::new(Snapshot { time: Timestamp::now(), taken, sections }));
    }
}

impl App for Agent {
    fn latest(&self) -> Option<Arc<Snapshot>> {
        self.latest.lock().unwrap().clone()
    }

    async fn sample(&self) -> Option<Arc<Snapshot>> {
        self.samplings.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(self.sampling_takes).await;
        self.tick(Instant::now());
        self.latest()
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    async fn reload(&self) -> Result<(), String> {
        self.reloads.fetch_add(1, Ordering::Relaxed);
        if self.reload_fails.load(Ordering::Relaxed) { Err("watchfire.yaml:1:1: no".into()) } else { Ok(()) }
    }

    fn overview(&self) -> Overview {
        Overview { host: "testhost".into(), ..Overview::default() }
    }

    fn history(&self) -> Option<SharedHistory> {
        Some(self.history.clone())
    }

    fn charts(&self) -> Arc<crate::chart::Drawer> {
        let drawer = crate::chart::Drawer::default();
        drawer.set_history(self.history.clone());
        Arc::new(drawer)
    }

    fn rules(&self) -> Arc<Vec<Arc<GroupView>>> {
        Arc::default()
    }

    fn alerting(&self) -> Option<Alerting> {
        None
    }

    fn pool(&self) -> Option<Pool> {
        Some(self.pool.clone())
    }

    fn checks(&self) -> Option<Arc<Board>> {
        Some(self.checks.clone())
    }

    fn about(&self) -> Arc<About> {
        Arc::new(About { target: Labels::from_pairs([("job", "node"), ("instance", "h:1")]), ..About::default() })
    }
}

/// A running server.
struct Running {
    agent: Arc<Agent>,
    address: SocketAddr,
    registry: Registry,
    web: WebHandle,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

fn config() -> WebConfig {
    WebConfig { listen_addresses: vec!["127.0.0.1:0".parse().unwrap()], ..WebConfig::default() }
}

fn start() -> Running {
    start_with(&config(), Access::default(), Agent::new(50, Duration::ZERO))
}

fn start_with(config: &WebConfig, access: Access, agent: Arc<Agent>) -> Running {
    let registry = Registry::new();
    let server = Server::bind(config, access, &registry, agent.clone()).unwrap();
    let (address, web) = (server.local_addresses()[0], server.handle());
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(server.run(stopped, Duration::from_secs(2)));
    Running { agent, address, registry, web, stop, task }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// One request on a connection of its own.
    async fn request(&self, method: &str, path: &str, headers: &str) -> Answer {
        let mut stream = self.connect().await;
        send(&mut stream, method, path, headers).await;
        receive(&mut stream, method).await.expect("an answer")
    }

    async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "").await
    }

    fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|f| f.name() == name);
        let metrics = family.into_iter().flat_map(|f| f.get_metric());
        metrics.map(|m| m.get_counter().value() + m.get_gauge().value()).sum()
    }

    /// Waits until the server has no connection, and gives the time it took.
    async fn all_closed(&self) -> Duration {
        let start = Instant::now();
        while self.metric("watchfire_http_connections") > 0.0 {
            assert!(start.elapsed() < Duration::from_secs(20), "connections are still open");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        start.elapsed()
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find_map(|l| l.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)));
        line.map(|(_, value)| value)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, method: &str, path: &str, headers: &str) {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
}

/// The next answer on a connection; `None` when it is closed first.
async fn receive<S: AsyncRead + Unpin>(stream: &mut S, method: &str) -> Option<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return None,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer { status, head, body: Vec::new() };
    let length: usize = answer.header("content-length").map_or(0, |l| l.parse().unwrap());
    if method != "HEAD" {
        answer.body.resize(length, 0);
        stream.read_exact(&mut answer.body).await.unwrap();
    }
    Some(answer)
}
