//! The configuration as the core uses it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::AlertingConfig;
use super::flapping::FlappingConfig;
use super::inhibit::InhibitRule;
use super::interval::TimeInterval;
use super::queue::Rate;
use super::remedy::ActionConfig;
use super::route::Route;
use super::said::ChecksSaid;
use crate::model::{Labels, Timestamp};
use crate::sinks::RunLimits;

/// One way of telling one receiver: its second webhook, for instance.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Target {
    pub receiver: String,
    /// The sink's name: `webhook`.
    pub integration: String,
    /// Its place among the receiver's sinks of this kind, from 0.
    pub index: usize,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}[{}]", self.receiver, self.integration, self.index)
    }
}

/// A target and what the core must know of it.
#[derive(Clone, Debug)]
pub struct Recipient {
    pub target: Arc<Target>,
    pub send_resolved: bool,
    /// What tries are limited to.
    pub rate: Option<Rate>,
    /// How often what fires is told again at least.
    pub resend: Option<Duration>,
    /// The command that tells, where one does.
    pub command: Option<Arc<Commanded>>,
}

/// A command that delivers notifications.
#[derive(Clone, Debug)]
pub struct Commanded {
    pub argv: Vec<String>,
    pub limits: RunLimits,
}

/// Routes, receivers and what goes into every notification.
#[derive(Clone, Debug)]
pub struct Plan {
    pub root: Arc<Route>,
    /// The names of all receivers, in the order of the configuration.
    pub receivers: Vec<String>,
    /// By receiver.
    pub recipients: BTreeMap<String, Vec<Recipient>>,
    pub resolve_timeout: Duration,
    pub(super) inhibit_rules: Vec<Arc<InhibitRule>>,
    /// By name.
    pub(super) intervals: BTreeMap<String, Vec<TimeInterval>>,
    pub flapping: FlappingConfig,
    /// What is run when alerts fire or end.
    pub(super) actions: Vec<Arc<ActionConfig>>,
    /// What goes into the alerts about checks.
    pub(super) checks: ChecksSaid,
    /// How often groups that have become empty are forgotten; until then one that comes to life again keeps its interval.
    /// As in Alertmanager, each multiple of it since the start.
    pub sweep_interval: Duration,
    /// Added to every alert that does not have them.
    pub external_labels: Labels,
    /// Where people find this agent, without a slash at its end; may be empty.
    pub external_url: String,
}

/// Alertmanager's.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

impl Plan {
    pub fn new(config: &AlertingConfig, external_labels: Labels, external_url: &str) -> Plan {
        let (route, receivers) = config.effective();
        let mut recipients: BTreeMap<String, Vec<Recipient>> = BTreeMap::new();
        for receiver in &receivers {
            let sinks = receiver.entries().into_iter().map(|(integration, index, sink)| Recipient {
                target: Arc::new(Target { receiver: receiver.name.clone(), integration: integration.into(), index }),
                send_resolved: sink.send_resolved(),
                rate: receiver.rate_limit.as_ref().map(|r| Rate { tries: r.notifications, per: r.per }),
                resend: sink.resend(),
                command: sink.command().map(|(argv, limits)| Arc::new(Commanded { argv: argv.to_vec(), limits })),
            });
            recipients.insert(receiver.name.clone(), sinks.collect());
        }
        let resend = |receiver: &str| recipients.get(receiver)?.iter().filter_map(|recipient| recipient.resend).min();
        Plan {
            root: Route::root(&route).beside(config.forwarding().map(|c| Route::root(&c))).hastened(&resend),
            receivers: receivers.iter().map(|receiver| receiver.name.clone()).collect(),
            recipients,
            resolve_timeout: config.global.resolve_timeout,
            inhibit_rules: config.inhibit_rules.iter().map(|rule| Arc::new(InhibitRule::new(rule))).collect(),
            intervals: config
                .time_intervals
                .iter()
                .chain(&config.mute_time_intervals)
                .map(|named| (named.name.clone(), named.time_intervals.clone()))
                .collect(),
            flapping: config.flapping.clone(),
            actions: Vec::new(),
            checks: ChecksSaid::default(),
            sweep_interval: SWEEP_INTERVAL,
            external_labels,
            external_url: external_url.trim_end_matches('/').to_string(),
        }
    }

    /// With what is run when alerts fire or end.
    #[must_use]
    pub fn acting(self, actions: &[ActionConfig]) -> Plan {
        Plan { actions: actions.iter().cloned().map(Arc::new).collect(), ..self }
    }

    /// With what checks say.
    #[must_use]
    pub fn citing(self, checks: ChecksSaid) -> Plan {
        Plan { checks, ..self }
    }

    /// The action of this name.
    pub(super) fn action(&self, name: &str) -> Option<Arc<ActionConfig>> {
        self.actions.iter().find(|action| action.name == name).cloned()
    }

    /// The command that delivers to a target, where one does.
    pub(super) fn command(&self, target: &Target) -> Option<Arc<Commanded>> {
        let recipients = self.recipients.get(&target.receiver)?;
        recipients.iter().find(|recipient| *recipient.target == *target)?.command.clone()
    }

    pub(super) fn has(&self, target: &Target) -> bool {
        self.recipients.get(&target.receiver).is_some_and(|all| all.iter().any(|r| *r.target == *target))
    }

    /// Whether it is the time of this name.
    pub(super) fn is_in(&self, name: &str, now: Timestamp) -> bool {
        self.intervals.get(name).is_some_and(|times| times.iter().any(|times| times.contains(now)))
    }

    /// Whether it is one of these times.
    pub(super) fn is_within(&self, names: &[String], now: Timestamp) -> bool {
        names.iter().any(|name| self.is_in(name, now))
    }

    /// The names of the intervals because of which a route tells nothing now.
    pub(super) fn muting<'a>(&'a self, route: &'a Route, now: Timestamp) -> impl Iterator<Item = &'a str> {
        let inactive = !route.active.is_empty() && !self.is_within(&route.active, now);
        let active = route.active.iter().filter(move |_| inactive);
        active.chain(route.mute.iter().filter(move |name| self.is_in(name, now))).map(String::as_str)
    }

    /// A link to the expression, as Prometheus makes it.
    pub(super) fn generator_url(&self, expr: &str) -> String {
        let mut escaped = String::with_capacity(expr.len() + 16);
        for byte in expr.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
                b' ' => escaped.push('+'),
                _ => escaped.push_str(&format!("%{byte:02X}")),
            }
        }
        format!("{}/graph?g0.expr={escaped}&g0.tab=1", self.external_url)
    }
}
