//! Rules in Prometheus' format: groups of recording and alerting rules, evaluated over history.
//!
//! [`read_file`], [`read_groups`] and [`read_rule_files`] read and check them; a [`RuleEngine`] evaluates them, tick by
//! tick and in small turns, and gives the [`Alert`]s that are to be told. Time is an argument everywhere. The states of an alert and their
//! transitions are in `alert.rs`, and nothing else is.

mod alert;
mod engine;
mod event;
mod file;
mod files;
mod group;
pub mod lint;
mod metrics;
mod outputs;
pub mod replay;
mod rule;
mod saved;
mod spec;
mod stock;
pub mod unit;
mod view;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_stock;
#[cfg(test)]
mod tests_turns;
#[cfg(test)]
mod tests_world;

pub use alert::{ActiveAlert, Moment, State};
pub use engine::{Evaluation, Patience, RuleEngine, Settings};
pub use event::{Alert, Culprits};
pub use file::{read_document, read_file, read_groups};
pub use files::{read_rule_files, rule_documents};
pub use saved::{SavedAlert, SavedState, StateChanges};
pub use spec::{AlertingSpec, GroupSpec, RecordingSpec, RuleSpec};
pub use stock::{STOCK_FILE, STOCK_RULES, stock_groups, watchdog_groups};
pub use view::{AlertView, GroupView, RuleView};
