//! What the end-to-end tests share: the real binary, the peers it is held against, and small clients.
#![allow(dead_code, unused_imports, reason = "each test file is a crate of its own and uses a part of this")]

mod agent;
mod http;
mod metrics;
mod peers;
mod process;
mod readme;
mod server;
pub mod trees;
mod webhook;

use std::time::{Duration, Instant};

pub use agent::{Agent, Setup, always_firing, binary, run};
pub use http::{Response, form, percent_encoded, post_form, post_json, request, request_to};
pub use metrics::Metrics;
pub use peers::{Prometheus, alertmanager, node_exporter_page, peer, plugin};
pub use process::{Child, Named, free_port};
pub use readme::snippets;
pub use server::Server;
pub use webhook::{Behaviour, Post, Receiver};

/// Asks until there is an answer. Machines that build while they test are slow: `within` is for failures, not for timing.
pub fn eventually<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// How long anything may take that happens within a second on an idle machine.
pub const SOON: Duration = Duration::from_secs(30);
