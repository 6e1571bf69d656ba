//! The configuration: one YAML file, made of the sections that the parts own.
//!
//! [`Config::load`] reads the file and the rule files it names, and gives either a whole valid configuration or all that
//! is wrong with it.

mod commands;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::alerting::{ActionConfig, AlertingConfig, check_actions};
use crate::checks::Checks;
use crate::collect::CollectorsConfig;
use crate::collect::process::ProcessesConfig;
use crate::history::HistoryConfig;
use crate::http::{QueryConfig, WebConfig};
use crate::model::Labels;
use crate::pool::PoolConfig;
use crate::rules::{self, GroupSpec, RuleSpec};
use crate::yaml::{Document, Faults, Node};

crate::section! {
    check = check_global;
    /// `global`: what holds for all parts.
    pub struct GlobalConfig {
        /// How often the host is sampled. Longer saves CPU; alerts and graphs get coarser.
        pub scrape_interval: Duration = Duration::from_secs(1),
        /// How often rules are evaluated whose group says nothing of it.
        pub evaluation_interval: Duration = Duration::from_secs(1),
        /// How far back in time rules are evaluated whose group says nothing of it.
        pub rule_query_offset: Duration = Duration::ZERO,
        /// Labels added to every alert that leaves the host, to tell hosts apart where alerts meet.
        pub external_labels: Labels = Labels::empty(),
        /// The label `job` of every series in history: rule files written for a server filter by it.
        pub job: String = "node".to_string(),
        /// The label `instance` of every series in history; HOST:PORT when empty.
        pub instance: String = String::new(),
        /// Series that one collector may have; what is beyond is dropped and counted.
        pub collector_series_limit: usize = 200_000,
    }
}

fn check_global(global: &mut GlobalConfig, node: &Node, faults: &mut Faults) {
    let intervals = [("scrape_interval", global.scrape_interval), ("evaluation_interval", global.evaluation_interval)];
    for (key, value) in intervals {
        if value < Duration::from_millis(100) {
            faults.error(node.place(key), "shorter than 100ms, the least that makes sense");
        }
    }
}

crate::section! {
    /// `storage`: where state is kept over a restart.
    pub struct StorageConfig {
        /// The directory. When not set: `$STATE_DIRECTORY`, else `$XDG_STATE_HOME/watchfire`, else
        /// `~/.local/state/watchfire`.
        pub path: Option<PathBuf> = None,
    }
}

crate::section! {
    /// The whole file.
    pub struct ConfigFile {
        /// What holds for all parts.
        pub global: GlobalConfig = GlobalConfig::default(),
        /// How the agent is reached over HTTP.
        pub web: WebConfig = WebConfig::default(),
        /// Where state is kept over a restart.
        pub storage: StorageConfig = StorageConfig::default(),
        /// What is read of the host.
        pub collectors: CollectorsConfig = CollectorsConfig::default(),
        /// What is read of processes.
        pub processes: ProcessesConfig = ProcessesConfig::default(),
        /// How much the agent remembers.
        pub history: HistoryConfig = HistoryConfig::default(),
        /// What queries over HTTP may take.
        pub query: QueryConfig = QueryConfig::default(),
        /// Whether the embedded rules are evaluated beside one's own.
        pub stock_rules: bool = true,
        /// Files with rules, in Prometheus' format; relative to this file, globs allowed.
        pub rule_files: Node = Node::null(),
        /// Groups of rules, written right here.
        pub groups: Node = Node::null(),
        /// Who is told, and how: Alertmanager's tree.
        pub alerting: AlertingConfig = AlertingConfig::default(),
        /// What is looked at from time to time.
        pub checks: Checks = Checks::default(),
        /// Commands that are run when alerts fire or end.
        pub actions: Vec<ActionConfig> = Vec::new(),
        /// How commands are run.
        pub pool: PoolConfig = PoolConfig::default(),
    }
}

impl ConfigFile {
    /// Makes relative paths start at `dir`, the directory of the file; those of flags start where the agent does.
    fn resolve_paths(&mut self, dir: &Path) {
        for path in [&mut self.web.config_file, &mut self.storage.path].into_iter().flatten() {
            *path = dir.join(&*path);
        }
        for directory in &mut self.collectors.textfile.options.directory.0 {
            *directory = dir.join(&*directory).to_string_lossy().into_owned();
        }
        self.processes.resolve_paths(dir);
        self.alerting.resolve_paths(dir);
        self.checks.resolve_paths(dir);
        self.actions.iter_mut().for_each(|action| action.resolve_paths(dir));
    }
}

/// A valid configuration.
pub struct Config {
    pub file: ConfigFile,
    /// Stock rules, rule files and inline groups.
    pub rules: Vec<GroupSpec>,
    /// What is probably not as it was meant.
    pub warnings: Faults,
}

impl Config {
    /// Reads the file (embedded defaults without one), puts `flags` over it, and reads the rule files it names.
    ///
    /// The error is all that is wrong, warnings included.
    pub fn load(path: Option<&Path>, flags: impl FnOnce(&mut ConfigFile)) -> Result<Config, Faults> {
        let mut faults = Faults::default();
        let text = match path.map(std::fs::read_to_string).transpose() {
            Ok(text) => text.unwrap_or_default(),
            Err(error) => {
                let name = path.unwrap_or(Path::new("")).display().to_string();
                faults.enter(std::sync::Arc::new(crate::yaml::Source::new(name, "")));
                faults.error(Default::default(), format!("cannot read the configuration file: {error}"));
                return Err(faults);
            }
        };
        let name = path.map_or("defaults".to_string(), |p| p.display().to_string());
        let document = Document::parse(&name, &text, &mut faults);
        let mut file: ConfigFile = document.read(&mut faults);
        let base = path.and_then(Path::parent).unwrap_or(Path::new(""));
        file.resolve_paths(base);
        flags(&mut file);
        file.processes.read_groups_file(document.root.get("processes"), &mut faults);
        file.alerting.read_config_file(document.root.get("alerting"), &mut faults);
        // Those of an Alertmanager's file start where that is.
        let of_file = file.alerting.config_file.as_deref().and_then(Path::parent).unwrap_or(base).to_path_buf();
        file.alerting.templates.read(&of_file, &mut faults);

        // They have no faults, as their tests show, and would name their own file for those of the next.
        let mut groups = if file.stock_rules { rules::stock_groups(&mut Faults::default()) } else { Vec::new() };
        if file.alerting.heartbeat.is_some() {
            groups.extend(rules::watchdog_groups(&mut Faults::default()));
        }
        let actions: BTreeSet<&str> = file.actions.iter().map(|action| action.name.as_str()).collect();
        groups.extend(rules::read_groups(&file.groups, &document.source, Some(&actions), &mut faults));
        groups.extend(rules::read_rule_files(&file.rule_files, base, &actions, &mut faults));
        check_actions(&file.actions, document.root.get("actions"), &named_actions(&groups), &mut faults);
        if let Some(textfile) = document.root.get("collectors").and_then(|c| c.get("textfile")) {
            warn_of_missing(textfile, base, &mut faults);
        }
        commands::warn_of_missing(&document.root, base, &mut faults);
        if faults.has_errors() {
            return Err(faults);
        }
        Ok(Config { file, rules: groups, warnings: faults })
    }

    /// Rules in all groups.
    pub fn rule_count(&self) -> usize {
        self.rules.iter().map(|g| g.rules.len()).sum()
    }
}

/// The actions that rules name.
fn named_actions(groups: &[GroupSpec]) -> BTreeSet<&str> {
    let named = groups.iter().flat_map(|group| &group.rules).filter_map(|rule| match rule {
        RuleSpec::Alerting(rule) => Some(&*rule.actions),
        RuleSpec::Recording(_) => None,
    });
    named.flatten().map(String::as_str).collect()
}

/// Names the folders that `collectors.textfile.directory` gives by name and that are not there: most are slips, and the
/// collector only fails at each tick.
fn warn_of_missing(textfile: &Node, base: &Path, faults: &mut Faults) {
    let Some(named) = textfile.get("directory") else { return };
    for node in std::iter::once(named).chain(named.items()) {
        let Some(name) = node.as_str().filter(|n| !n.contains(['*', '?', '[']) && !n.is_empty()) else { continue };
        if !base.join(name).is_dir() {
            faults.warn(node.at, format!("there is no folder {name:?}: nothing is read from it until there is one"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    fn load(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watchfire.yaml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path), |_| {}).map_err(|f| f.to_string().replace(&format!("{}/", dir.path().display()), ""))
    }

    #[test]
    fn without_a_file_the_defaults_hold_with_the_stock_rules() {
        let config = Config::load(None, |_| {}).map_err(|f| f.to_string()).unwrap();
        assert!(config.rule_count() > 20 && config.warnings.is_empty());
        assert_eq!(load("stock_rules: false\n").map(|c| c.rule_count()), Ok(0));
    }

    #[test]
    fn every_fault_of_every_part_is_said_at_once_with_its_place() {
        let said = load(
            "global: {scrape_intervall: 1s}\n\
             processes: {top: many}\n\
             groups:\n- name: g\n  rules:\n  - alert: A\n    expr: rate(x[5m]\n\
             rule_files: [none/*.yaml, missing.yaml]\n\
             alerting: {route: {receiver: nobody}, receivers: [{name: somebody}]}\n",
        )
        .err()
        .unwrap();
        for part in [
            "watchfire.yaml:1:10: unknown key \"scrape_intervall\", did you mean \"scrape_interval\"?",
            "watchfire.yaml:2:18: expected a whole number",
            "watchfire.yaml:7:",
            "watchfire.yaml:9:30: the receiver \"nobody\" is not defined",
        ] {
            assert!(said.contains(part), "{part}:\n{said}");
        }
    }

    #[test]
    fn actions_and_the_rules_that_name_them_are_held_against_each_other() {
        let action = |name: &str, more: &str| format!("- {{name: {name}, command: [\"true\"]{more}}}\n");
        let rule = |name: &str| format!("groups: [{{name: g, rules: [{{alert: A, expr: up, actions: [{name}]}}]}}]\n");
        let text = format!("actions:\n{}{}{}", action("mend", ""), action("idle", ""), action("mend", ""));
        let said = load(&format!("{text}{}", rule("mned"))).err().unwrap();
        for part in [
            "watchfire.yaml:3:10: warning: nothing leads to the action \"idle\"",
            "watchfire.yaml:4:10: there are two actions named \"mend\"",
            "watchfire.yaml:5:59: the action \"mned\" is not defined, did you mean \"mend\"?",
        ] {
            assert!(said.contains(part), "{part}:\n{said}");
        }
        let text = format!("actions:\n{}{}", action("a", ""), action("b", ", matchers: [x=y]"));
        let config = load(&format!("{text}{}", rule("a"))).unwrap();
        assert!(config.warnings.is_empty(), "{}", config.warnings);
    }

    #[test]
    fn a_folder_for_textfiles_that_is_not_there_is_named_and_is_no_error() {
        let warned = |text: &str| load(text).map(|c| c.warnings.to_string()).unwrap();
        let said = warned("collectors:\n  textfile:\n    directory: [., nowhere, 'any/*']\n");
        assert!(
            said.contains(":3:20: warning: there is no folder \"nowhere\"") && said.matches("no folder").count() == 1,
            "{said}"
        );
        assert!(warned("collectors: {textfile: {directory: gone}}\n").contains("no folder \"gone\""));
    }

    #[test]
    fn a_command_whose_program_is_not_there_is_named_and_is_no_error() {
        let config = load(
            "checks:\n\
             - {name: a, format: exit, command: [check_nowhere]}\n\
             - {name: b, format: exit, command: [sh, -c, x]}\n\
             - {name: c, format: exit, command: [scripts/c.sh]}\n\
             - {name: d, format: exit, command: [sh], env: {PATH: /nowhere}}\n\
             actions:\n\
             - {name: a, matchers: [x=y], command: [/nowhere/mend]}\n\
             - {name: b, matchers: [x=y], command: [scripts/mend.sh]}\n\
             alerting: {route: {receiver: r}, receivers: [{name: r, exec_configs: [{command: [/bin/sh]}, {command: [/etc]}]}]}\n",
        );
        let said = config.map(|config| config.warnings.to_string()).unwrap();
        for part in [
            "watchfire.yaml:2:37: warning: no program \"check_nowhere\" is in the PATH ",
            "watchfire.yaml:4:37: warning: no program \"",
            "watchfire.yaml:5:37: warning: no program \"sh\" is in the PATH /nowhere: until there is one",
            "watchfire.yaml:7:40: warning: no program \"/nowhere/mend\" is there",
            "watchfire.yaml:8:40: warning: no program \"",
            "watchfire.yaml:9:104: warning: no program: \"/etc\" cannot be executed",
        ] {
            assert!(said.contains(part), "{part}:\n{said}");
        }
        assert_eq!(said.matches("warning: ").count(), 6, "{said}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let faults = Config::load(Some(Path::new("/nowhere/watchfire.yaml")), |_| {}).err().unwrap().to_string();
        assert!(faults.starts_with("/nowhere/watchfire.yaml: cannot read the configuration file"), "{faults}");
    }

    #[test]
    fn relative_paths_start_at_the_file_and_those_of_flags_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("watchfire.yaml");
        std::fs::write(directory.path().join("groups.yml"), "process_names: [{comm: [a]}]\n").unwrap();
        let text = "web: {config_file: web.yml}\nstorage: {path: state}\ncollectors: {textfile: {directory: metrics}}\n\
                    processes: {groups_file: groups.yml}\n\
                    alerting:\n  route: {receiver: a}\n  receivers: [{name: a, log_configs: [{path: alerts.json}]}]\n";
        std::fs::write(&path, text).unwrap();
        let load = |flags: fn(&mut ConfigFile)| Config::load(Some(&path), flags).unwrap_or_else(|f| panic!("{f}")).file;
        let file = load(|_| {});
        assert_eq!(file.web.config_file, Some(directory.path().join("web.yml")));
        assert_eq!(file.storage.path, Some(directory.path().join("state")));
        assert_eq!(file.processes.groups_file, Some(directory.path().join("groups.yml")));
        assert_eq!(file.processes.groups.0.map(|items| items.len()), Some(1));
        assert_eq!(Path::new(&file.collectors.textfile.options.directory.0[0]), directory.path().join("metrics"));
        assert_eq!(file.alerting.receivers[0].log_configs[0].path, Some(directory.path().join("alerts.json")));
        let file = load(|file| file.storage.path = Some("here".into()));
        assert_eq!(file.storage.path, Some("here".into()));
    }

    #[test]
    fn no_file_makes_it_panic() {
        // Each key of the file, and each collector's.
        let example = include_str!("../../config.example.yaml");
        let mut good: Vec<String> = Vec::new();
        for line in example.lines().filter(|line| !line.trim_start().starts_with('#') && !line.is_empty()) {
            let depth = line.len() - line.trim_start().len();
            match good.last_mut() {
                Some(_) if depth == 2 && line.ends_with(':') => good.push(format!("collectors:\n{line}\n")),
                Some(last) if depth > 0 => *last += &format!("{line}\n"),
                _ => good.push(format!("{line}\n")),
            }
        }
        assert!(good.len() > 40, "{}", good.len());
        good.push(
            "alerting:\n  route: {receiver: a, group_by: [b], routes: [{matchers: [c=~d], continue: true}]}\n  \
                   receivers: [{name: a, webhook_configs: [{url: 'http://x/', max_alerts: 3}]}]\n"
                .to_string(),
        );
        Fuzz::of(&good).heap(64 << 20).texts(|text| {
            let mut faults = Faults::default();
            let document = Document::parse("c.yaml", text, &mut faults);
            let file: ConfigFile = document.read(&mut faults);
            rules::read_groups(&file.groups, &document.source, None, &mut faults);
            let _ = faults.to_string();
        });
    }
}
