//! Checks: what is looked at from time to time, by a command or by the agent itself, and becomes metrics and alerts.
//!
//! ```text
//!     Checks (the configuration) ── Runner ─┬─ schedule ──> pool ──> a command, a probe, a look
//!                                           │                           │ output        │ Verdict, Families
//!                                           │                        format ────────────┤
//!                                           │                           │ lines, blocks │
//!                                           └─ stream ────> pool ──> a command that stays, and its ends
//!     a tick <── ChecksCollector <── Board: how each check stands <─────────────────────┘
//! ```
//!
//! A run ends with a [`Verdict`] and writes what it found into [`Families`]; so does each result of a stream, whose command
//! goes on. The latest of all checks is served at each tick. Other parts read the [`Board`].

mod board;
mod collector;
mod config;
pub mod dns;
mod families;
pub mod file;
pub mod format;
pub mod http;
pub mod icmp;
mod local;
pub mod log;
mod net;
mod places;
mod probe;
pub mod process;
mod run;
mod runner;
mod stream;
pub mod systemd;
pub mod tcp;
mod tls;
mod verdict;

pub use board::{Board, CommandUse, Ended, LastRun, Standing};
pub use collector::ChecksCollector;
pub use config::{CHECK, Check, CheckConfig, Checks};
pub use families::Families;
pub use probe::{Look, Probe, Probing};
pub use runner::{Runner, task_id};
pub use stream::{StreamConfig, StreamSignal};
pub use verdict::{State, Verdict};
