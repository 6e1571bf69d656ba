//! From alert to confirmed notification: stages in the order in which an alert meets them.
//!
//! ```text
//!   rules::Alert
//!       |
//!   dispatch      [route]    which routes it takes, and by what it is grouped there
//!       |
//!   damp          [flapping] what begins again and again is told as one that lasts
//!       |
//!   aggregate     [group]    waits with others: group_wait, then every group_interval
//!       |
//!   suppress      [inhibit], [interval], [silence]: what nobody wants to hear now is left out
//!       |
//!   deduplicate   [log]      is anything new since the last notification, or has repeat_interval passed?
//!       |
//!   queue         [queue]    a row in the store from here on, in order per receiver and group
//!       |
//!   deliver       [service]  sinks; retried until confirmed or given up ([dead]); [outage]: what the log says of failures
//! ```
//!
//! [path] says of one alert where it would go, and [trial] takes one the whole way to a receiver.
//!
//! Beside it, [remedy] runs commands when alerts fire or end, and has what came of it told with them.
//!
//! Beside it stands [heartbeat] too, which hears of one alert that fires always, and has an outside service know it.
//!
//! The semantics are Alertmanager's. All of the logic is [`Core`]: alerts, outcomes of deliveries and the time go in, rows
//! to store and deliveries to try come out. It does no input or output and asks no clock, so the simulation test runs it
//! through thousands of faults. [`Alerting`] is the thin shell around it that has a clock, a store and sinks.
//!
//! What has to survive a restart are rows in `state/`: the alerts that are known and which of them flap, silences, what was
//! run, the log of what was notified, and every notification from the moment it is due until a sink confirms it. Where the store
//! cannot be read at the start, the core begins without them and takes them over when it can be ([`Event::Read`]).

mod as_alertmanager;
mod config;
mod core;
mod dead;
mod flapping;
mod group;
mod heartbeat;
mod inhibit;
mod interval;
mod known;
mod log;
mod matcher;
mod metrics;
mod outage;
mod path;
mod plan;
mod queue;
mod remedy;
mod route;
mod said;
mod service;
mod silence;
#[cfg(test)]
mod simulation;
mod trial;
mod view;

pub use config::{AlertingConfig, GroupBy, RouteConfig, Routes};
pub use core::{Actions, Core, Deed, Ended, Ending, Event, Now, Report, Suppressed};
pub use flapping::FlappingConfig;
pub use heartbeat::{HeartbeatConfig, HeartbeatMethod};
pub use inhibit::{InhibitRule, InhibitRuleConfig};
pub use interval::{
    DaysOfMonth, Location, Months, TimeInterval, TimeIntervalConfig, TimeRange, TimeRangeConfig, Weekdays, Years,
};
pub use matcher::{MatchOp, Matcher, Matchers, parse_matchers};
pub use path::{Inhibition, Path, Stand, Step, Times};
pub use plan::{Plan, Recipient, Target};
pub use queue::{Attempt, Rate};
pub use remedy::{ActionConfig, ActionOn, Entry as ActionEntry, Result as ActionResult, Trigger, check_actions};
pub use route::Route;
pub use said::ChecksSaid;
pub use service::{Alerting, Options};
pub use trial::{Trial, Tried};
pub use view::{AlertView, GroupView, PostedAlert, Silence, SilenceError, SilenceState, Undelivered};
