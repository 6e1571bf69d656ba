//! The configuration section `alerting`: Alertmanager's own tree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::flapping::FlappingConfig;
use super::heartbeat::HeartbeatConfig;
use super::inhibit::InhibitRuleConfig;
use super::interval::TimeIntervalConfig;
use super::matcher::Matchers;
use crate::section;
use crate::sinks::{AlertmanagerConfig, GlobalConfig, LogConfig, ReceiverConfig, SinkConfig, Templates};
use crate::yaml::{Document, Faults, FromYaml, Node, Pattern, Value, nearest, read_text};

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
        let at = node.get("config_file").map_or(node.at, |named| named.at);
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

/// What the parts cannot say of themselves: who refers to whom.
fn check(config: &mut AlertingConfig, node: &Node, faults: &mut Faults) {
    let mut names = BTreeSet::new();
    let receivers = node.get("receivers");
    for (receiver, at) in config.receivers.iter_mut().zip(receivers.map(Node::items).unwrap_or_default()) {
        receiver.inherit(&config.global, at, faults);
        let resending = receiver.entries().iter().filter(|(_, _, sink)| sink.resend().is_some()).count();
        if resending > 0 && resending < receiver.entries().len() {
            let message = "beside alertmanager_configs all sinks of a receiver are told changes within seconds: give \
                           the others a receiver of their own, and a route with continue to each";
            faults.warn(at.at, message);
        }
    }
    if let Some(heartbeat) = &mut config.heartbeat {
        heartbeat.inherit(&config.global);
    }
    for forwarding in &mut config.alertmanagers {
        forwarding.inherit(&config.global, node, faults);
    }
    for receiver in receivers.map(Node::items).unwrap_or_default() {
        let named = receiver.get("name");
        match named.and_then(Node::as_str) {
            None | Some("") => faults.error(receiver.at, "a receiver needs a name"),
            Some(AlertingConfig::FORWARDING_RECEIVER) if !config.alertmanagers.is_empty() => {
                let message = "this name is that of the receiver which stands for alertmanagers: take another";
                faults.error(named.map_or(receiver.at, |n| n.at), message);
            }
            Some(name) if !names.insert(name) => {
                faults.error(named.map_or(receiver.at, |n| n.at), format!("there are two receivers named {name:?}"));
            }
            Some(_) => {}
        }
    }
    let intervals = interval_names(node, faults);
    let Some(route) = node.get("route").filter(|route| !route.is_null()) else {
        if let Some(receivers) = receivers.filter(|r| !r.items().is_empty()) {
            faults.error(receivers.at, "receivers without a route are never told: add a route that names one");
        }
        return;
    };
    if config.route.is_none() {
        // It is not a mapping, which has been said.
        return;
    }
    let mut used = BTreeSet::new();
    check_root(route, faults);
    check_route(route, &names, &mut used, faults);
    check_times(route, &intervals, faults);
    for receiver in receivers.map(Node::items).unwrap_or_default() {
        if let Some(named) = receiver.get("name")
            && let Some(name) = named.as_str().filter(|name| !used.contains(name))
        {
            faults.warn(named.at, format!("no route leads to the receiver {name:?}"));
        }
    }
}

fn check_root(route: &Node, faults: &mut Faults) {
    if route.get("receiver").is_none_or(|named| named.is_null() || named.as_str() == Some("")) {
        faults.error(route.at, "the root route needs a receiver: every alert must go somewhere");
    }
    for key in ["matchers", "match", "match_re", "continue", "mute_time_intervals", "active_time_intervals"] {
        // An empty one, which generated files have, says nothing.
        if let Some((key, _)) = route.entries().iter().find(|(k, value)| k.name == key && says_something(value)) {
            let why = if key.name.ends_with("_time_intervals") { "always tells" } else { "takes every alert" };
            faults.error(key.at, format!("the root route {why}, so it cannot have {:?}", key.name));
        }
    }
}

fn says_something(node: &Node) -> bool {
    match &node.value {
        Value::Null => false,
        Value::Scalar { text, .. } => text != "false",
        Value::Sequence(items) => !items.is_empty(),
        Value::Mapping(entries) => !entries.is_empty(),
    }
}

/// The names of all time intervals; that each is there once is checked.
fn interval_names<'a>(node: &'a Node, faults: &mut Faults) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    let keys = ["time_intervals", "mute_time_intervals"];
    for interval in keys.into_iter().filter_map(|key| node.get(key)).flat_map(Node::items) {
        if let Some(named) = interval.get("name")
            && let Some(name) = named.as_str()
            && !names.insert(name)
        {
            faults.error(named.at, format!("there are two time intervals named {name:?}"));
        }
    }
    names
}

/// Checks that the time intervals that a node and those below it name are there.
fn check_times(route: &Node, intervals: &BTreeSet<&str>, faults: &mut Faults) {
    let keys = ["mute_time_intervals", "active_time_intervals"];
    for named in keys.into_iter().filter_map(|key| route.get(key)).flat_map(Node::items) {
        if let Some(name) = named.as_str().filter(|name| !intervals.contains(name)) {
            let hint = known_names(name, intervals, "there are no time_intervals");
            faults.error(named.at, format!("the time interval {name:?} is not defined, {hint}"));
        }
    }
    for below in route.get("routes").map(Node::items).unwrap_or_default() {
        check_times(below, intervals, faults);
    }
}

/// What to say of a name that is none of these.
fn known_names(name: &str, names: &BTreeSet<&str>, none: &str) -> String {
    match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None if names.is_empty() => none.to_string(),
        None => format!("there are: {}", names.iter().copied().collect::<Vec<_>>().join(", ")),
    }
}

/// Checks a node and those below it; `used` collects the receivers that are named.
fn check_route<'a>(route: &'a Node, names: &BTreeSet<&str>, used: &mut BTreeSet<&'a str>, faults: &mut Faults) {
    if let Some(named) = route.get("receiver")
        && let Some(name) = named.as_str().filter(|name| !name.is_empty())
    {
        used.insert(name);
        if !names.contains(name) {
            let hint = known_names(name, names, "there are no receivers");
            faults.error(named.at, format!("the receiver {name:?} is not defined, {hint}"));
        }
    }
    for key in ["group_interval", "repeat_interval"] {
        if let Some(value) = route.get(key)
            && value.as_str().is_some_and(|text| crate::model::parse_duration(text) == Ok(Duration::ZERO))
        {
            faults.error(value.at, format!("{key} cannot be 0"));
        }
    }
    for below in route.get("routes").map(Node::items).unwrap_or_default() {
        check_route(below, names, used, faults);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Document;

    fn read(text: &str) -> (AlertingConfig, Faults) {
        let mut faults = Faults::default();
        let config = Document::parse("a.yaml", text, &mut faults).read(&mut faults);
        (config, faults)
    }

    /// The first lines of the faults, without the excerpts.
    fn said(text: &str) -> Vec<String> {
        read(text).1.iter().map(|f| f.to_string().lines().next().unwrap_or_default().to_string()).collect()
    }

    #[test]
    fn an_alertmanager_file_is_read_as_it_is() {
        let (config, faults) = read(
            r#"
global:
  resolve_timeout: 10m
route:
  receiver: web.hook
  group_by: ['alertname']
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 1h
  routes:
    - matchers: [ severity="page", team=~"db|web" ]
      receiver: pager
      continue: true
receivers:
  - name: web.hook
    webhook_configs:
      - url: 'http://127.0.0.1:5001/'
        max_alerts: 5
        http_config:
          basic_auth: {username: me, password: hunter2}
          tls_config: {insecure_skip_verify: true}
  - name: pager
    exec_configs:
      - command: [page, ops]
"#,
        );
        assert!(faults.is_empty(), "{faults}");
        assert_eq!(config.global.resolve_timeout, Duration::from_secs(600));
        let (route, receivers) = config.effective();
        assert_eq!(route.routes.0[0].matchers.0.len(), 2);
        assert_eq!(receivers[0].webhook_configs[0].max_alerts, 5);
        assert!(!format!("{config:?}").contains("hunter2") && !format!("{config:?}").contains("5001"));
    }

    #[test]
    fn without_a_route_everything_goes_to_the_log_at_once() {
        let (route, receivers) = AlertingConfig::default().effective();
        assert_eq!(route.receiver.as_deref(), Some("log"));
        assert_eq!((receivers.len(), receivers[0].log_configs.len()), (1, 1));
        assert_eq!(super::super::route::Route::root(&route).group_wait, Duration::ZERO);
    }

    #[test]
    fn every_fault_is_said_in_one_go_with_its_place() {
        let text = r#"
route:
  receiver: opz
  matchers: [a=b]
  group_by: [x, x]
  group_interval: 0s
  routes:
    - receiver: ops
      matchers: [severity]
      group_wait: 5
      match_re: {a: '('}
    - reciever: ops
receivers:
  - name: ops
    webhook_configs:
      - url: ftp://secret-host/x
      - {}
  - name: ops
  - name: idle
  - log_configs: [{pth: x}]
"#;
        assert_eq!(
            said(text),
            [
                "a.yaml:5:17: \"x\" is in group_by twice",
                "a.yaml:9:18: \"severity\" is not a matcher: there is no operator after the name; write name=\"value\", \
                 with one of = != =~ !~",
                "a.yaml:10:19: \"5\" is a duration without a unit: write a number with a unit, such as 500ms, 15s, 5m, \
                 1h30m or 2d",
                "a.yaml:11:21: not a regular expression: a parenthesis is not closed",
                "a.yaml:12:7: unknown key \"reciever\", did you mean \"receiver\"?",
                "a.yaml:16:14: url is not an http or https URL",
                "a.yaml:17:9: a webhook needs a url or a url_file",
                "a.yaml:20:20: unknown key \"pth\", did you mean \"path\"?",
                "a.yaml:18:11: there are two receivers named \"ops\"",
                "a.yaml:20:5: a receiver needs a name",
                "a.yaml:4:3: the root route takes every alert, so it cannot have \"matchers\"",
                "a.yaml:3:13: the receiver \"opz\" is not defined, did you mean \"ops\"?",
                "a.yaml:6:19: group_interval cannot be 0",
                "a.yaml:19:11: warning: no route leads to the receiver \"idle\"",
            ]
        );
        assert!(!read(text).1.to_string().contains("secret-host"));
    }

    #[test]
    fn receivers_and_routes_need_each_other() {
        assert_eq!(
            said("receivers: [{name: a}]"),
            ["a.yaml:1:12: receivers without a route are never told: add a route that names one"]
        );
        assert_eq!(
            said("route: {group_wait: 1s}"),
            ["a.yaml:1:8: the root route needs a receiver: every alert must go somewhere"]
        );
        assert_eq!(
            said("route: {receiver: a}"),
            ["a.yaml:1:19: the receiver \"a\" is not defined, there are no receivers"]
        );
    }

    #[test]
    fn what_only_alertmanager_has_is_said_to_be_so_with_what_to_do() {
        let text = r#"
global:
  smtp: x
route:
  receiver: a
receivers:
  - name: a
    wechat_configs: [{channel: x}]
    wechad_configs: []
"#;
        let said = said(text);
        assert_eq!(
            said.get(1).map(String::as_str),
            Some(
                "a.yaml:8:5: \"wechat_configs\" is a key of Alertmanager's that this version does not support: use \
                 exec_configs with a command that tells wechat, or webhook_configs with a bridge to it"
            )
        );
        assert!(said[0].starts_with("a.yaml:3:3: unknown key \"smtp\""), "{said:?}");
        assert!(said[2].starts_with("a.yaml:9:5: unknown key \"wechad_configs\""), "{said:?}");
    }

    #[test]
    fn times_and_inhibition_are_read_as_in_alertmanager() {
        let (config, faults) = read(
            r#"
route:
  receiver: a
  routes:
    - matchers: [severity="info"]
      mute_time_intervals: [night, weekend]
      active_time_intervals: [office]
receivers:
  - name: a
inhibit_rules:
  - source_matchers: [severity="critical"]
    target_match: {severity: info}
    target_match_re: {job: 'a|b'}
    equal: [instance]
time_intervals:
  - name: night
    time_intervals:
      - times: [{start_time: 22:00, end_time: 24:00}, {start_time: 00:00, end_time: 06:00}]
        location: Europe/Vienna
  - name: office
    time_intervals: [{weekdays: ['monday:friday']}]
mute_time_intervals:
  - name: weekend
    time_intervals: [{weekdays: [saturday, sunday]}]
"#,
        );
        assert!(faults.is_empty(), "{faults}");
        assert_eq!(config.inhibit_rules[0].equal, ["instance"]);
        assert_eq!((config.time_intervals.len(), config.mute_time_intervals[0].name.as_str()), (2, "weekend"));
    }

    #[test]
    fn faults_of_times_are_said_with_their_place() {
        assert_eq!(
            said(
                r#"
route:
  receiver: a
  mute_time_intervals: [night]
  routes:
    - mute_time_intervals: [nigth]
      routes:
        - active_time_intervals: [office]
receivers:
  - name: a
time_intervals:
  - name: night
    time_intervals: [{weekday: [x]}]
  - name: night
  - time_intervals: []
"#
            ),
            [
                "a.yaml:13:23: unknown key \"weekday\", did you mean \"weekdays\"?",
                "a.yaml:15:5: a time interval needs a name",
                "a.yaml:14:11: there are two time intervals named \"night\"",
                "a.yaml:4:3: the root route always tells, so it cannot have \"mute_time_intervals\"",
                "a.yaml:6:29: the time interval \"nigth\" is not defined, did you mean \"night\"?",
                "a.yaml:8:35: the time interval \"office\" is not defined, there are: night",
            ]
        );
    }

    /// The section as it is once the file that it names has been read, and the first lines of all faults.
    fn with_file(section: &str, file: &str) -> (AlertingConfig, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("am").join("alertmanager.yml");
        std::fs::create_dir(dir.path().join("am")).unwrap();
        std::fs::write(&path, file).unwrap();
        let mut faults = Faults::default();
        let document = Document::parse("w.yaml", section, &mut faults);
        let mut config: AlertingConfig = document.read(&mut faults);
        config.resolve_paths(dir.path());
        config.read_config_file(Some(&document.root), &mut faults);
        // The next fault is one of the configuration again.
        faults.warn(Default::default(), "next");
        let shorten = |text: String| text.replace(&format!("{}/", dir.path().display()), "");
        let said = faults.iter().map(|f| shorten(f.to_string().lines().next().unwrap_or_default().to_string()));
        let said: Vec<String> = said.collect();
        assert_eq!(said.last().map(String::as_str), Some("w.yaml: warning: next"));
        if let Some(log) = config.receivers.first().and_then(|r| r.log_configs.first()) {
            assert_eq!(log.path, Some(dir.path().join("am").join("x.log")));
        }
        (config, said[..said.len() - 1].to_vec())
    }

    #[test]
    fn an_alertmanagers_file_can_be_named_and_its_paths_start_where_it_is() {
        let file = "route: {receiver: a}\nreceivers: [{name: a, log_configs: [{path: x.log}]}]\n";
        let (config, said) = with_file("config_file: am/alertmanager.yml\nflapping: {times: 7}\n", file);
        assert!(said.is_empty(), "{said:?}");
        assert_eq!((config.receivers.len(), config.flapping.times), (1, 7));
        assert_eq!(config.effective().0.receiver.as_deref(), Some("a"));
    }

    #[test]
    fn what_is_wrong_with_the_named_file_names_it_and_nothing_may_be_said_twice() {
        let (_, said) = with_file(
            "config_file: am/alertmanager.yml\nroute: {receiver: b}\nreceivers: [{name: b}]\n",
            "global: {resolve_timout: 1m}\nflapping: {}\n",
        );
        assert_eq!(
            said,
            [
                "w.yaml:2:1: \"route\" is read from am/alertmanager.yml: say it there",
                "w.yaml:3:1: \"receivers\" is read from am/alertmanager.yml: say it there",
                "am/alertmanager.yml:2:1: \"flapping\" is no key of an Alertmanager's file: say it beside config_file",
                "am/alertmanager.yml:1:1: an Alertmanager's file needs a route",
                "am/alertmanager.yml:1:10: unknown key \"resolve_timout\", did you mean \"resolve_timeout\"?",
            ]
        );
        let (_, said) = with_file("config_file: am/none.yml\n", "");
        assert_eq!(said, ["w.yaml:1:14: cannot read am/none.yml: No such file or directory (os error 2)"]);
    }

    #[test]
    fn an_exec_without_a_command_and_two_ways_to_authorize_are_faults() {
        let text = "route: {receiver: a}\nreceivers:\n  - name: a\n    exec_configs: [{timeout: 0s}]\n    webhook_configs:\n      \
                    - url: http://x\n        http_config: {authorization: {credentials: a, credentials_file: b}, \
                    basic_auth: {username: u}}\n";
        let said = said(text).join("\n");
        for part in ["exec_configs needs a command", "timeout is 0", "exclude each other: give one"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}
