//! Watchfire makes a host observable and wakes the right person when it hurts: a Prometheus exporter and an alerting
//! agent in one program.
//!
//! # How a tick runs
//!
//! ```text
//!     /proc /sys netlink   files   commands
//!             \             |          |
//!              [collect] ---+------ [pool]
//!                   |
//!                   |  samples, once a tick, into [model]
//!                   v
//!               [agent]          the tick: sample, store, serve; then evaluate, hand over
//!               /        \
//!      [exposition]    [history]                   text, protobuf | compressed series in memory, and on the disk
//!             |             \
//!         [http] -------- [promql]                 queries over history: of rules, and over HTTP
//!                             \
//!                           [rules]                groups, recording rules, the alert state machine
//!                               |  Alert
//!                               v
//!                         [alerting]               routes, grouping, silences, the durable queue
//!                               |  Notification
//!                               v
//!                           [sinks]                mail, chats, pagers, webhook, commands, logs
//! ```
//!
//! Beside them: [checks], what is looked at from time to time in the pool, and collected at each tick; [chart], pictures
//! of what alerts are about, out of history; [state], the embedded transactional store;
//! [template], Go templates; [re2], Go's regular expressions; [yaml], YAML with positions and all of a file's faults at
//! once; [glob], shell patterns over paths; [dbus], calls over D-Bus; [config], which puts together the sections that each
//! part owns; [cli].
//!
//! Imports run down this picture and never back up. One OS thread, the *tick thread*, has the host sampled, appends to
//! history and, in the time until the next tick, evaluates rules: one at a time, each within a bound, so that samplings
//! are on time whatever the rules are, and rules that are not reached go on after the next tick. Collectors run on
//! *lanes*, threads of their own that can be left behind when a read hangs: one that ticks wait for, one for what is slow
//! by nature, and one each for what may hang. The tokio runtime serves HTTP and delivers alerts; queries over HTTP run on
//! threads of low priority, over copies of what they look at. What joins them is an immutable [`model::Snapshot`], which
//! replaces the last one as a whole, and one channel of alerts.

pub mod agent;
pub mod alerting;
pub mod chart;
pub mod checks;
pub mod cli;
pub mod collect;
pub mod config;
pub mod dbus;
pub mod exposition;
#[cfg(test)]
mod fuzz;
pub mod glob;
pub mod history;
pub mod http;
pub mod model;
pub mod pool;
pub mod promql;
pub mod re2;
pub mod rules;
pub mod sinks;
pub mod state;
pub mod template;
pub mod yaml;
