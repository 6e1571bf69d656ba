//! Rules in Prometheus' format: groups of recording and alerting rules, evaluated over history.
//!
//! [`read_file`], [`read_groups`] and [`read_rule_files`] read and check them; a [`RuleEngine`] evaluates them, tick by
//! tick, and gives the [`Alert`]s that are to be told. Time is an argument everywhere. The states of an alert and their
//! transitions are in `alert.rs`, and nothing else is.

mod alert;
mod engine;
mod event;
mod file;
mod glob;
mod group;
mod metrics;
mod outputs;
mod rule;
mod saved;
mod spec;
mod stock;

#[cfg(test)]
mod tests;

pub use engine::{Evaluation, RuleEngine, Settings};
pub use event::Alert;
pub use file::{read_file, read_groups};
pub use glob::read_rule_files;
pub use saved::{RulesState, SavedAlert, SavedState};
pub use spec::{AlertingSpec, GroupSpec, RecordingSpec, RuleSpec};
pub use stock::{STOCK_FILE, STOCK_RULES, stock_groups};
