//! The supervised pool: does work for the rest of the agent, a few tasks at a time, and leaves nothing behind.
//!
//! A [`Task`] is submitted to the [`Pool`] and gives a [`Handle`]; its [`Outcome`] says how it ended. That a task fails,
//! hangs, panics or does not exist is a value in the outcome, never a panic and never a hang. A task is a command, a call
//! that blocks, or a future that waits; each kind has places of its own (a [`Lane`]). While these are taken, tasks wait in
//! a bounded queue per [`Class`]; a full queue is [`SubmitError::QueueFull`]. A [`Stream`] is a command that stays, and
//! takes no place.
//!
//! ```text
//!     Pool ── submit ──> Held ──> Lanes: FairQueue ── a place ──┬─ run ── Image, pipes ──> spawner ──> launch (clone, exec)
//!      │                  others'   of each class in turn       │   │                        │           confine, cgroup
//!      │ schedule         ends,                                 │   └─ feed, drain, end ── Child (pidfd) ── guard's table
//!      ▼                  next try                              ├─ threads ── a worker thread
//!     timekeeper: Agenda of deadlines,                          └─ futures ── the runtime
//!     tries, runs on Schedule                                         │
//!                                              Results by id <────────┴──> callback, Outcome
//! ```
//!
//! What holds for every command:
//!
//! - It gets no shell, a cleaned environment, none of the agent's ambient capabilities, and a session (thus a process
//!   group) of its own; on request [`Limits`].
//! - It has a time limit. Past it, or when it is cancelled, its whole group gets SIGTERM, after a grace period SIGKILL.
//!   When the command itself has ended, what it left behind in its group is killed; a daemon that must stay has to
//!   leave the group, as daemons do (`setsid`). Out of a control group of its own, which it has where its memory is limited
//!   and control groups are delegated, there is no way.
//! - What cannot be ended (it has become another user, or waits in the kernel) holds up nobody, is counted, and is not run
//!   again before it has ended.
//! - Its output is read to the end and kept up to a limit, so it never blocks on a full pipe.
//! - It is killed by the kernel when the agent dies, however that happens; what it started in turn is killed by the
//!   [`guard`].

mod agenda;
mod backoff;
mod batch;
mod capture;
mod cgroup;
mod child;
mod config;
mod confine;
mod cron;
mod frames;
mod futures;
mod group;
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
mod place;
mod program;
mod queue;
mod remains;
mod run;
mod schedule;
mod secrets;
mod shared;
mod spawner;
mod stream;
mod supervisor;
mod surroundings;
mod table;
mod tail;
mod task;
mod threads;
mod timekeeper;
mod users;
mod view;

pub use backoff::Backoff;
pub use capture::{Chunk, Chunks, Source};
pub use config::PoolConfig;
pub use cron::Cron;
pub use frames::{Frame, Framing};
pub use handle::Handle;
pub use latest::{Latest, Run};
pub use limits::{IoPriority, Limits};
pub use outcome::{Outcome, Output, StartError, StartStep, Status, Usage};
pub use program::program_fault;
pub use schedule::{RunError, Schedule, ScheduleError};
pub use secrets::Secrets;
pub use stream::{Next, Stream, Tick};
pub use supervisor::{Pool, Queued, SubmitError};
pub use surroundings::{IoClass, LimitsConfig, resolve_command};
pub use task::{Answer, Class, Lane, Task};
pub use threads::Running;
pub use view::{EndedView, LogView, QueuedView, RunView, RunningView, SaidView, ScheduledView, StreamView, View};

#[cfg(test)]
mod tests;
