//! Remediation: commands that are run when an alert begins to fire, or ends.
//!
//! ```text
//!   an alert begins or ends      [super::core] notices it, and asks which actions are for it
//!       |
//!   decide       [ledger]        now, later, or not at all: cool-down, runs in an hour, silences, another run under way
//!       |
//!   write down   [audit]         a row in the store, before anything is run: an action is run at most once
//!       |
//!   run          [acting]      when the pool has a place; the alert is in its environment and on its standard input
//!       |
//!   tell         [entry]         a line with the alert, for the next notification; metrics, the log
//! ```
//!
//! What is run stands in the configuration and nowhere else. Alerts that came through the API are not acted upon: whoever
//! may reach the agent's address can post them. Labels reach a command in its environment and on its standard input,
//! never among its arguments.
//!
//! The command of an `exec` receiver is held to the same limits by the same code, and its runs are in the same audit log;
//! but it delivers a notification, so what comes too early waits and is not left out.

mod acting;
mod audit;
mod config;
mod entry;
mod ledger;
mod metrics;
mod run;

pub(super) use acting::Acting;
pub(super) use audit::Audit;
pub use config::{ActionConfig, ActionOn, check_actions};
pub use entry::{Entry, Result, Trigger};
pub(super) use entry::{NO_PLACE, provisional};
pub(super) use ledger::{Decision, Ledger};
pub(super) use metrics::Metrics;
pub(super) use run::{Done, Order};
