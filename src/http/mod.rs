//! Serving: the HTTP listeners, the routes, and who may use them.
//!
//! A request runs through these in order: [`connections`] counts and limits connections and closes those that are too
//! slow, [`io`] tells it what a connection is doing, [`server`] speaks HTTP on it, [`access`] asks for the credentials of
//! the web configuration, [`routes`] finds who answers. `/metrics` is [`scrape`]: the freshness rule, the negotiated
//! format, and one encoding for all who ask for the same.
//!
//! `/api/v1` is [`api`]: Prometheus' HTTP API, whose queries run on threads of their own. `/api/v2` is [`api2`]:
//! Alertmanager's. `/api/checks` and `/api/pool` are [`own`]: how the checks stand, and what the pool runs. `/chart.png` is a picture of an alert, drawn as queries are evaluated.
//!
//! What the server needs from the agent is the trait [`App`]. Nothing here waits for a tick except for a snapshot that is
//! too old, and nothing in a tick waits for anything here.

mod access;
mod actions;
mod api;
mod api2;
mod app;
mod base64;
mod config;
mod connections;
mod front;
mod instruments;
mod io;
mod listen;
mod own;
mod reply;
mod routes;
mod scrape;
mod selection;
mod server;
mod standing;
#[cfg(test)]
mod tests;
mod tls;
mod users;
mod web_file;

pub use access::Access;
pub use api::{MAX_CONCURRENCY, QueryConfig};
pub use app::{About, ActiveAlert, App, CollectorState, FailingCheck, Overview, Undelivery};
pub use config::{ExternalUrl, ListenAddress, WebConfig, check_telemetry_path};
pub use scrape::MAX_AGE;
pub use server::{Server, StartError, WebHandle};
