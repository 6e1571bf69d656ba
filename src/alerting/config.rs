//! The configuration section `alerting`: Alertmanager's own tree.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::flapping::FlappingConfig;
use super::heartbeat::HeartbeatConfig;
use super::inhibit::InhibitRuleConfig;
use super::interval::TimeIntervalConfig;
use super::matcher::Matchers;
use crate::section;
use crate::sinks::{AlertmanagerConfig, GlobalConfig, LogConfig, ReceiverConfig, SinkConfig, Templates};
use crate::yaml::{Document, Faults, FromYaml, Node, Pattern, Value, read_text};
use check::check;

section! {
    check = check;
    foreign = prometheus_key;
    /// Where alerts go, and when.
    pub struct AlertingConfig {
        /// An Alertmanager's file, which is read in place of the keys below; relative to this file.
        pub config_file: Option<PathBuf> = None,
        /// Damps alerts that begin to fire again and again.
        pub flapping: FlappingConfig = FlappingConfig::default(),
        /// What holds for all routes.
        pub global: GlobalConfig = GlobalConfig::default(),
        /// Files with templates for the texts of messages; relative to this file, globs allowed.
        pub templates: Templates = Templates::default(),
        /// The root of the routing tree. Without one, every alert goes to the log at once, grouped by its name.
        pub route: Option<RouteConfig> = None,
        /// Who can be told.
        pub receivers: Vec<ReceiverConfig> = Vec::new(),
        /// Alerts that are not told while others fire.
        pub inhibit_rules: Vec<InhibitRuleConfig> = Vec::new(),
        /// Times by name, in which routes are muted or active.
        pub time_intervals: Vec<TimeIntervalConfig> = Vec::new(),
        /// The older key for time_intervals.
        pub mute_time_intervals: Vec<TimeIntervalConfig> = Vec::new(),
        /// An outside service that notices when the agent or the host is dead.
        pub heartbeat: Option<HeartbeatConfig> = None,
        /// Alertmanagers that every alert is forwarded to, whatever the routes say; as in Prometheus' file.
        pub alertmanagers: Vec<AlertmanagerConfig> = Vec::new(),
    }
}

/// Keys that are not Alertmanager's, and stay where `config_file` is.
const OURS: [&str; 4] = ["config_file", "flapping", "heartbeat", "alertmanagers"];

section! {
    /// A node of the routing tree. What it does not say, it takes from the node above.
    pub struct RouteConfig {
        /// Who is told. The root must say.
        pub receiver: Option<String> = None,
        /// The labels by which alerts are grouped into one notification; `['...']`: each alert on its own.
        pub group_by: Option<GroupBy> = None,
        /// How long a new group waits for more alerts before the first notification.
        pub group_wait: Option<Duration> = None,
        /// How long after a notification a change of the group is told.
        pub group_interval: Option<Duration> = None,
        /// How long after a notification a group that still fires is told again.
        pub repeat_interval: Option<Duration> = None,
        /// What alerts must meet to come here: `severity="page"`, `team=~"db|web"`.
        pub matchers: Matchers = Matchers::default(),
        /// Labels that must have these values; the older way to write matchers.
        pub equal: BTreeMap<String, String> as "match" = BTreeMap::new(),
        /// Labels that must match these regular expressions; the older way to write matchers.
        pub regex: BTreeMap<String, Pattern> as "match_re" = BTreeMap::new(),
        /// Names of times in which nothing is told from here. Not for the root.
        pub mute_time_intervals: Vec<String> = Vec::new(),
        /// Names of times outside of which nothing is told from here. Not for the root.
        pub active_time_intervals: Vec<String> = Vec::new(),
        /// Whether alerts that come here go on to the nodes that follow.
        pub goes_on: bool as "continue" = false,
        /// The nodes below.
        pub routes: Routes = Routes::default(),
    }
}

/// What Prometheus has beside `alertmanagers` and this program has not.
fn prometheus_key(key: &str) -> Option<String> {
    (key == "alert_relabel_configs").then(|| {
        "\"alert_relabel_configs\" is a key of Prometheus' that this version does not support: choose with routes what is \
         forwarded (alertmanager_configs), and set labels in global.external_labels or in the rules"
            .to_string()
    })
}

/// The nodes below a node of the routing tree.
#[derive(Clone, Default, Debug)]
pub struct Routes(pub Vec<RouteConfig>);

// The keys of a node are those of the root: no paths of their own, which would have no end.
impl FromYaml for Routes {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        Vec::from_yaml(node, faults).map(Routes)
    }

    fn as_yaml(&self) -> Option<Value> {
        self.0.as_yaml()
    }
}

/// By what alerts are grouped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GroupBy {
    /// By all labels: each alert is a group.
    All,
    /// By these labels; by none: all alerts are one group.
    Labels(Vec<String>),
}

impl Default for GroupBy {
    fn default() -> Self {
        GroupBy::Labels(Vec::new())
    }
}

impl FromYaml for GroupBy {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Value::Sequence(items) = &node.value else {
            faults.unexpected(node, "a list of label names, or ['...'] for all");
            return None;
        };
        let mut names: Vec<String> = Vec::new();
        let mut all = false;
        for item in items {
            match item.as_str() {
                Some("...") => all = true,
                Some("") | None => faults.unexpected(item, "a label name"),
                Some(name) if names.iter().any(|n| n == name) => {
                    faults.error(item.at, format!("{name:?} is in group_by twice"));
                }
                Some(name) => names.push(name.to_string()),
            }
        }
        if all && !names.is_empty() {
            faults.error(node.at, "'...' means all labels: there can be no others beside it");
        }
        Some(if all { GroupBy::All } else { GroupBy::Labels(names) })
    }

    fn as_yaml(&self) -> Option<Value> {
        match self {
            GroupBy::All => Value::list([Value::text("...")]),
            GroupBy::Labels(names) => names.as_yaml(),
        }
    }
}

impl AlertingConfig {
    /// The name of the receiver and the route that are there when the configuration has none.
    const DEFAULT_RECEIVER: &'static str = "log";

    /// The root route and the receivers in force.
    pub(super) fn effective(&self) -> (RouteConfig, Vec<ReceiverConfig>) {
        let forwarding = self.forwarding().into_iter().map(|_| ReceiverConfig {
            name: Self::FORWARDING_RECEIVER.to_string(),
            alertmanager_configs: self.alertmanagers.clone(),
            ..ReceiverConfig::default()
        });
        if let Some(route) = &self.route {
            return (route.clone(), self.receivers.iter().cloned().chain(forwarding).collect());
        }
        let route = RouteConfig {
            receiver: Some(Self::DEFAULT_RECEIVER.to_string()),
            // A storm of one kind is one notification, and another kind does not wait for it.
            group_by: Some(GroupBy::Labels(vec!["alertname".to_string()])),
            ..RouteConfig::default()
        };
        let log = ReceiverConfig {
            name: Self::DEFAULT_RECEIVER.to_string(),
            log_configs: vec![LogConfig::default()],
            ..ReceiverConfig::default()
        };
        (route, std::iter::once(log).chain(forwarding).collect())
    }

    /// The name of the receiver that stands for `alertmanagers`.
    const FORWARDING_RECEIVER: &'static str = "alertmanagers";

    /// The route to `alertmanagers`, which every alert takes whatever else it takes.
    pub(super) fn forwarding(&self) -> Option<RouteConfig> {
        (!self.alertmanagers.is_empty()).then(|| RouteConfig {
            receiver: Some(Self::FORWARDING_RECEIVER.to_string()),
            // They are grouped there; here only so that one change does not bring all alerts along.
            group_by: Some(GroupBy::Labels(vec!["alertname".to_string()])),
            group_wait: Some(Duration::ZERO),
            ..RouteConfig::default()
        })
    }

    /// Makes relative paths start at `dir`, the directory of the configuration's file.
    pub fn resolve_paths(&mut self, dir: &Path) {
        if let Some(path) = &mut self.config_file {
            *path = dir.join(&*path);
        }
        self.receivers.iter_mut().for_each(|receiver| receiver.resolve_paths(dir));
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.resolve_paths(dir);
        }
        self.alertmanagers.iter_mut().for_each(|forwarding| forwarding.resolve_paths(dir));
    }
}

impl AlertingConfig {
    /// Reads `config_file` in place of Alertmanager's keys. `node` is the section, for the place of its faults; `faults`
    /// must have been told of its file, and of the faults that follow those of the other file name that one.
    pub fn read_config_file(&mut self, node: Option<&Node>, faults: &mut Faults) {
        let (Some(path), Some(node)) = (self.config_file.clone(), node) else { return };
        for (key, _) in node.entries().iter().filter(|(key, _)| !OURS.contains(&key.name.as_str())) {
            faults.error(key.at, format!("{:?} is read from {}: say it there", key.name, path.display()));
        }
        let at = node.place("config_file");
        let text = match read_text(&path) {
            Ok(text) => text,
            Err(error) => return faults.error(at, format!("cannot read {}: {error}", path.display())),
        };
        let mut of_file = faults.begin_anew();
        let document = Document::parse(&path.display().to_string(), &text, &mut of_file);
        for (key, _) in document.root.entries().iter().filter(|(key, _)| OURS.contains(&key.name.as_str())) {
            of_file.error(
                key.at,
                format!("{:?} is no key of an Alertmanager's file: say it beside config_file", key.name),
            );
        }
        if document.root.get("route").is_none_or(Node::is_null) {
            of_file.error(document.root.at, "an Alertmanager's file needs a route");
        }
        let mut file: AlertingConfig = document.read(&mut of_file);
        file.resolve_paths(path.parent().unwrap_or(Path::new("")));
        faults.extend(of_file);
        file.config_file = self.config_file.take();
        file.flapping = self.flapping.clone();
        file.heartbeat = self.heartbeat.take();
        file.alertmanagers = std::mem::take(&mut self.alertmanagers);
        *self = file;
    }
}

mod check;

#[cfg(test)]
mod tests;
