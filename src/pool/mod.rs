//! The supervised pool: runs commands for the rest of the agent, a few at a time, and never leaves one behind.
//!
//! A [`Task`] is submitted to the [`Pool`] and gives a [`Handle`]; its [`Outcome`] says how it ended. That a command
//! fails, hangs or does not exist is a value in the outcome, never a panic and never a hang. While all places are taken,
//! tasks wait in a bounded queue per [`Class`]; a full queue is [`SubmitError::QueueFull`].
//!
//! ```text
//!     Pool ── submit ──> FairQueue ── a free place ──> run ── Image, pipes ──> spawner thread ──> launch (clone, exec)
//!                                                       │                                            │
//!                                     Outcome <─────────┴── feed, drain, time limit, cancel ──── Child (pidfd)
//! ```
//!
//! What holds for every command:
//!
//! - It gets no shell, a cleaned environment, none of the agent's ambient capabilities, and a session (thus a process
//!   group) of its own.
//! - It has a time limit. Past it, or when it is cancelled, its whole group gets SIGTERM, after a grace period SIGKILL.
//!   When the command itself has ended, what it left behind in its group is killed; a daemon that must stay has to
//!   leave the group, as daemons do (`setsid`).
//! - Its output is read to the end and kept up to a limit, so it never blocks on a full pipe.
//! - It is killed by the kernel when the agent dies, however that happens. That covers the command, not what it
//!   started in turn: under systemd the unit's control group takes care of those.

mod agenda;
mod backoff;
mod child;
mod config;
mod confine;
mod cron;
mod futures;
pub mod guard;
mod handle;
mod held;
mod job;
mod lanes;
mod latest;
mod launch;
mod limits;
mod metrics;
mod outcome;
mod queue;
mod run;
mod schedule;
mod shared;
mod spawner;
mod supervisor;
mod table;
mod task;
mod threads;
mod timekeeper;
mod users;

pub use backoff::Backoff;
pub use config::PoolConfig;
pub use cron::Cron;
pub use handle::Handle;
pub use latest::{Latest, Run};
pub use limits::{IoPriority, Limits};
pub use outcome::{Outcome, Output, StartError, StartStep, Status, Usage};
pub use schedule::{RunError, Schedule, ScheduleError};
pub use supervisor::{Pool, Queued, SubmitError};
pub use task::{Answer, Class, Lane, Task};
pub use threads::Running;

#[cfg(test)]
mod tests;
