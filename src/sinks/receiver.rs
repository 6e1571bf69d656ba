//! A receiver: a name, and a list of entries for each sink.

use std::path::Path;
use std::time::Duration;

use super::{ExecConfig, GlobalConfig, LogConfig, SinkConfig, WebhookConfig, not_supported};
use crate::section;
use crate::yaml::{Faults, Node};

section! {
    foreign = alertmanagers;
    /// Who can be told, and how.
    pub struct ReceiverConfig {
        /// The name that routes use.
        pub name: String = String::new(),
        /// Each an HTTP POST in Alertmanager's format.
        pub webhook_configs: Vec<WebhookConfig> = Vec::new(),
        /// Each a command to run.
        pub exec_configs: Vec<ExecConfig> = Vec::new(),
        /// Each JSON lines to a file or standard error.
        pub log_configs: Vec<LogConfig> = Vec::new(),
        /// How many notifications each of these takes in a time; what is over waits, and is told together.
        pub rate_limit: Option<RateLimitConfig> = None,
    }
}

section! {
    check = check_rate;
    /// At most so many notifications in any span of so much time; tries that fail count. No limit where it is not said.
    pub struct RateLimitConfig {
        /// How many.
        pub notifications: usize = 10,
        /// In what time.
        pub per: Duration = Duration::from_secs(60),
    }
}

fn check_rate(config: &mut RateLimitConfig, node: &Node, faults: &mut Faults) {
    let at = |key: &str| node.get(key).map_or(node.at, |n| n.at);
    if !(1..=10_000).contains(&config.notifications) {
        faults.error(at("notifications"), "notifications must be from 1 to 10000; leave rate_limit out for no limit");
    }
    if config.per.is_zero() || config.per > Duration::from_secs(7 * 24 * 3600) {
        faults.error(at("per"), "per must be longer than 0 and at most 7d");
    }
}

/// The sinks in the order in which a receiver's are told: the name, and the field of its entries. One line a sink.
macro_rules! sinks {
    ($with:ident) => {
        $with! {
            webhook: webhook_configs,
            exec: exec_configs,
            log: log_configs,
        }
    };
}

/// An entry of a receiver: the sink's name, the place among those of its kind, from 0, the configuration.
pub type Entry<'a> = (&'static str, usize, &'a dyn SinkConfig);
/// As [`Entry`], to be changed.
pub type EntryMut<'a> = (&'static str, usize, &'a mut dyn SinkConfig);

impl ReceiverConfig {
    /// All its entries.
    pub fn entries(&self) -> Vec<Entry<'_>> {
        let mut all: Vec<Entry<'_>> = Vec::new();
        macro_rules! add {
            ($($name:ident: $field:ident,)*) => {$(
                let entries = self.$field.iter().enumerate();
                all.extend(entries.map(|(i, entry)| (stringify!($name), i, entry as &dyn SinkConfig)));
            )*};
        }
        sinks!(add);
        all
    }

    /// All its entries, to be changed.
    pub fn entries_mut(&mut self) -> Vec<EntryMut<'_>> {
        let mut all: Vec<EntryMut<'_>> = Vec::new();
        macro_rules! add {
            ($($name:ident: $field:ident,)*) => {$(
                let entries = self.$field.iter_mut().enumerate();
                all.extend(entries.map(|(i, entry)| (stringify!($name), i, entry as &mut dyn SinkConfig)));
            )*};
        }
        sinks!(add);
        all
    }

    /// Lets each entry take from `global` what it does not say itself. `node`: where the receiver stands.
    pub fn inherit(&mut self, global: &GlobalConfig, node: &Node, faults: &mut Faults) {
        for (name, index, entry) in self.entries_mut() {
            let at = node.get(&format!("{name}_configs")).and_then(|all| all.items().get(index)).unwrap_or(node);
            entry.inherit(global, at, faults);
        }
    }

    /// Makes relative paths start at `dir`, the directory of the configuration's file.
    pub fn resolve_paths(&mut self, dir: &Path) {
        self.entries_mut().into_iter().for_each(|(_, _, entry)| entry.resolve_paths(dir));
    }
}

/// What Alertmanager has and this program has not.
fn alertmanagers(key: &str) -> Option<String> {
    const SERVICES: [&str; 2] = ["incidentio", "wechat"];
    let service = SERVICES.into_iter().find(|service| key.strip_suffix("_configs") == Some(service))?;
    let instead =
        format!("use exec_configs with a command that tells {service}, or webhook_configs with a bridge to it");
    Some(not_supported(key, &instead))
}
