//! The configuration section `actions`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::entry::Trigger;
use crate::alerting::matcher::Matchers;
use crate::model::Labels;
use crate::pool::{LimitsConfig, resolve_command};
use crate::section;
use crate::sinks::{RunLimits, check_timeout};
use crate::yaml::{Faults, FromYaml, Node, Value};

/// How long a command may run where the configuration does not say.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Long enough for a service to come up, and for its alert to end.
const COOL_DOWN: Duration = Duration::from_secs(300);
/// What three runs have not mended, a fourth will not either.
const MAX_PER_HOUR: usize = 3;

section! {
    check = check;
    /// A command that is run when an alert begins to fire, or ends.
    pub struct ActionConfig {
        /// How it is called: by rules, in messages and in the audit log.
        pub name: String = String::new(),
        /// The program and its arguments; no shell is involved, and nothing is filled in.
        pub command: Vec<String> = Vec::new(),
        /// When it is run: firing, resolved or both.
        pub on: ActionOn = ActionOn::Firing,
        /// The alerts it is for, beside those of the rules that name it.
        pub matchers: Matchers = Matchers::default(),
        /// The least time between two runs for one alert; what comes earlier waits, as long as the alert fires.
        pub cool_down: Duration = COOL_DOWN,
        /// The most runs in any hour, for all alerts together; what is over is not run. 0: no limit.
        pub max_per_hour: usize = MAX_PER_HOUR,
        /// After how long it is run again while the alert still fires; 0: never.
        pub repeat: Duration = Duration::ZERO,
        /// Whether it is only decided, told and written down, but not run.
        pub dry_run: bool = false,
        /// How long it may run; then it and all it started is killed.
        pub timeout: Duration = TIMEOUT,
        /// Environment variables for it, beside PATH, HOME, LANG, TZ and those that describe the alert.
        pub env: BTreeMap<String, String> = BTreeMap::new(),
        /// The directory that it starts in; by default the agent's.
        pub directory: Option<PathBuf> = None,
        /// What it may use of the host, and as whom.
        pub limits: LimitsConfig = LimitsConfig::default(),
    }
}

/// When an action is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ActionOn {
    Firing,
    Resolved,
    Both,
}

impl ActionOn {
    const ALL: [(&'static str, ActionOn); 3] =
        [("firing", ActionOn::Firing), ("resolved", ActionOn::Resolved), ("both", ActionOn::Both)];
}

impl FromYaml for ActionOn {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let found = ActionOn::ALL.into_iter().find(|(word, _)| node.as_str() == Some(word));
        if found.is_none() {
            faults.unexpected(node, "firing, resolved or both");
        }
        found.map(|(_, on)| on)
    }

    fn as_yaml(&self) -> Option<Value> {
        let word = ActionOn::ALL.into_iter().find(|(_, on)| on == self);
        word.map(|(word, _)| Value::plain(word))
    }
}

fn check(config: &mut ActionConfig, node: &Node, faults: &mut Faults) {
    let at = |key: &str| node.place(key);
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if config.name.is_empty() {
        faults.error(at("name"), "an action needs a name");
    } else if !config.name.chars().all(is_name) {
        faults.error(at("name"), "the name of an action has letters, digits, '-', '_' and '.' only");
    }
    if config.command.first().is_none_or(String::is_empty) {
        faults.error(at("command"), "an action needs a command: a list of the program and its arguments");
    }
    if config.command.iter().any(|argument| argument.contains("{{")) {
        let message = "nothing is filled into a command's arguments: the alert is in its environment (WATCHFIRE_*) and on \
                       its standard input";
        faults.error(at("command"), message);
    }
    if !config.repeat.is_zero() && config.repeat < config.cool_down {
        faults.warn(at("repeat"), "repeat is shorter than cool_down: it is run again only after that");
    }
    if !config.repeat.is_zero() && config.on == ActionOn::Resolved {
        faults.error(at("repeat"), "repeat has no meaning for an action that is run when an alert ends");
    }
    check_timeout(node, faults, &mut config.timeout, TIMEOUT);
    config.run_limits().check(node, faults);
}

impl ActionConfig {
    /// Makes relative paths start at `dir`, the directory of the configuration's file.
    pub fn resolve_paths(&mut self, dir: &Path) {
        resolve_command(&mut self.command, &mut self.directory, dir);
    }

    pub(crate) fn run_limits(&self) -> RunLimits {
        RunLimits { cool_down: self.cool_down, max_per_hour: self.max_per_hour, dry_run: self.dry_run }
    }

    /// Whether it is for an alert with these labels, whose rule names these actions.
    pub(crate) fn is_for(&self, labels: &Labels, named: &[String]) -> bool {
        let matchers = &self.matchers.0;
        let matches = !matchers.is_empty() && matchers.iter().all(|m| m.matches(labels.get(&m.name)));
        matches || named.contains(&self.name)
    }

    /// Whether it is run for that.
    pub(crate) fn wants(&self, trigger: Trigger) -> bool {
        match trigger {
            Trigger::Firing => self.on != ActionOn::Resolved,
            Trigger::Resolved => self.on != ActionOn::Firing,
            Trigger::Repeat => self.on != ActionOn::Resolved && !self.repeat.is_zero(),
        }
    }
}

/// Checks the list as a whole: each name is there once, and something leads to each action. `named`: the actions that
/// rules name. `node` is the list.
pub fn check_actions(actions: &[ActionConfig], node: Option<&Node>, named: &BTreeSet<&str>, faults: &mut Faults) {
    let mut known = BTreeSet::new();
    for (action, node) in actions.iter().zip(node.map(Node::items).unwrap_or_default()) {
        let name = action.name.as_str();
        let at = node.place("name");
        if !name.is_empty() && !known.insert(name) {
            faults.error(at, format!("there are two actions named {name:?}"));
        } else if action.matchers.0.is_empty() && !named.contains(name) {
            faults.warn(at, format!("nothing leads to the action {name:?}: it has no matchers, and no rule names it"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Document;

    fn read(text: &str) -> (ActionConfig, String) {
        let mut faults = Faults::default();
        let config = Document::parse("w.yaml", text, &mut faults).read(&mut faults);
        (config, faults.to_string())
    }

    #[test]
    fn an_action_is_careful_unless_it_is_told_otherwise() {
        let (action, said) = read("name: restart-nginx\ncommand: [systemctl, restart, nginx]\n");
        assert_eq!(said, "");
        let limits = RunLimits { cool_down: Duration::from_secs(300), max_per_hour: 3, dry_run: false };
        assert_eq!((action.run_limits(), action.on, action.repeat), (limits, ActionOn::Firing, Duration::ZERO));
        assert!(action.wants(Trigger::Firing) && !action.wants(Trigger::Resolved) && !action.wants(Trigger::Repeat));
    }

    #[test]
    fn it_is_for_the_alerts_that_it_matches_and_for_those_of_rules_that_name_it() {
        let (action, _) = read("name: a\ncommand: [x]\nmatchers: [alertname=Disk, 'team=~\"db|web\"']\n");
        let labels = |name: &str, team: &str| Labels::from_pairs([("alertname", name), ("team", team)]);
        assert!(action.is_for(&labels("Disk", "db"), &[]) && !action.is_for(&labels("Disk", "ops"), &[]));
        assert!(action.is_for(&labels("Cpu", "ops"), &["b".into(), "a".into()]));
        let (bare, _) = read("name: a\ncommand: [x]\n");
        assert!(!bare.is_for(&labels("Disk", "db"), &["b".into()]), "no matchers match nothing");
    }

    #[test]
    fn relative_paths_start_at_the_files_directory() {
        let (mut action, said) = read("name: a\ncommand: [mend/nginx.sh, x/y]\ndirectory: d\n");
        action.resolve_paths(Path::new("/etc/watchfire"));
        assert_eq!(
            (said.as_str(), action.command),
            ("", ["/etc/watchfire/mend/nginx.sh", "x/y"].map(String::from).to_vec())
        );
        assert_eq!(action.directory.as_deref(), Some(Path::new("/etc/watchfire/d")));
    }

    #[test]
    fn what_makes_no_sense_is_said_where_it_stands() {
        for (text, fault) in [
            ("command: [x]\n", "w.yaml:1:1: an action needs a name"),
            ("name: a/b\ncommand: [x]\n", "w.yaml:1:7: the name of an action has letters"),
            ("name: a\ncommand: []\n", "w.yaml:2:10: an action needs a command"),
            ("name: a\ncommand: [kill, '{{ .Labels.pid }}']\n", "w.yaml:2:10: nothing is filled into"),
            ("name: a\ncommand: [x]\non: always\n", "w.yaml:3:5: expected firing, resolved or both"),
            ("name: a\ncommand: [x]\nrepeat: 1m\n", "w.yaml:3:9: warning: repeat is shorter than cool_down"),
            ("name: a\ncommand: [x]\nrepeat: 1h\non: resolved\n", "w.yaml:3:9: repeat has no meaning"),
            ("name: a\ncommand: [x]\ncool_down: 8d\n", "w.yaml:3:12: cool_down is longer than 7d"),
            ("name: a\ncommand: [x]\nlimits: {nice: 40}\n", "w.yaml:3:16: niceness is from -20 to 19"),
            ("name: a\ncommand: [x]\nlimits: {mem: 1MiB}\n", "w.yaml:3:10: unknown key \"mem\""),
            ("name: a\ncommand: [x]\nmax_per_hour: 4000\n", "w.yaml:3:15: max_per_hour is more than 3600"),
        ] {
            let (_, said) = read(text);
            assert!(said.contains(fault), "{fault}:\n{said}");
        }
    }
}
