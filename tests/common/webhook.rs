//! A webhook receiver that keeps what it gets, and fails or hangs when told to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::server::Server;

/// How it answers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Behaviour {
    Answer(u16),
    /// Takes the request, and answers 200 only after this time.
    Delay(Duration),
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Post {
    pub at: Instant,
    pub path: String,
    pub head: String,
    pub json: Value,
    pub behaviour: Behaviour,
}

impl Post {
    pub fn status(&self) -> &str {
        self.json["status"].as_str().unwrap_or_default()
    }

    /// The alerts by this name.
    pub fn alerts(&self, alertname: &str) -> Vec<&Value> {
        let all = self.json["alerts"].as_array().map(Vec::as_slice).unwrap_or_default();
        all.iter().filter(|a| a["labels"]["alertname"] == alertname).collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|l| l.split(':').next().is_some_and(|k| k.eq_ignore_ascii_case(name)))?;
        line.split_once(':').map(|(_, value)| value.trim())
    }
}

struct Shared {
    posts: Mutex<Vec<Post>>,
    behaviour: Mutex<Behaviour>,
}

pub struct Receiver {
    pub port: u16,
    shared: Arc<Shared>,
    _server: Server,
}

impl Receiver {
    pub fn start() -> Receiver {
        Receiver::start_on(0)
    }

    /// Starts it on a port that was refusing connections so far.
    pub fn start_on(port: u16) -> Receiver {
        let shared = Arc::new(Shared { posts: Mutex::default(), behaviour: Mutex::new(Behaviour::Answer(200)) });
        let ours = shared.clone();
        let server = Server::start(port, move |head, body| Some(ours.take(head, body)));
        Receiver { port: server.port, shared, _server: server }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn behave(&self, behaviour: Behaviour) {
        *locked(&self.shared.behaviour) = behaviour;
    }

    /// All requests so far, in the order in which they came.
    pub fn posts(&self) -> Vec<Post> {
        locked(&self.shared.posts).clone()
    }

    /// Requests to this path so far.
    pub fn posts_to(&self, path: &str) -> Vec<Post> {
        self.posts().into_iter().filter(|p| p.path == path).collect()
    }

    /// Waits for the first request that is as wanted.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Post) -> bool) -> Post {
        super::eventually(what, super::SOON, || self.posts().into_iter().find(|p| wanted(p)))
    }

    /// Waits for an alert with this status, answered 200 at once.
    pub fn wait_for_alert(&self, alertname: &str, status: &str) -> Post {
        self.wait_for(&format!("{alertname} is {status} at the webhook"), |p| {
            p.behaviour == Behaviour::Answer(200) && p.alerts(alertname).iter().any(|a| a["status"] == status)
        })
    }
}

impl Shared {
    /// Keeps a request; with which status it is answered.
    fn take(&self, head: &str, body: &[u8]) -> u16 {
        let behaviour = *locked(&self.behaviour);
        locked(&self.posts).push(Post {
            at: Instant::now(),
            path: head.split(' ').nth(1).unwrap_or_default().to_string(),
            head: head.to_string(),
            json: serde_json::from_slice(body).unwrap_or(Value::Null),
            behaviour,
        });
        match behaviour {
            Behaviour::Answer(status) => status,
            Behaviour::Delay(delay) => {
                std::thread::sleep(delay);
                200
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
