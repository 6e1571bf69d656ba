//! Checks: what is looked at from time to time, by a command or by the agent itself, and becomes metrics and alerts.
//!
//! A run ends with a [`Verdict`] and writes what it found into [`Families`]; the latest of all checks is served at each
//! tick.

mod families;
pub mod file;
mod local;
pub mod log;
mod probe;
pub mod process;
pub mod systemd;
mod verdict;

pub use families::Families;
pub use probe::{Look, Probe, Probing};
pub use verdict::{State, Verdict};
