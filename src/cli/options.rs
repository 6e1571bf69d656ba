//! Every collector's own keys as flags, by node_exporter's names for them, so that an existing unit file keeps working.
//!
//! A key `device_exclude` of the collector `netdev` is the flag `--collector.netdev.device-exclude`; one that is on or off
//! needs no value, and has `--no-collector.NAME.KEY` beside it. Where node_exporter spells one otherwise, that stands in
//! `SPELLINGS`.

use clap::{Arg, ArgAction, ArgMatches, Command, error::ErrorKind};

use crate::collect::{COLLECTORS, CollectorsConfig};
use crate::yaml::{Faults, FromYaml, Key, KeyInfo, Node, Position, Value};

/// Flags that are not spelt as their keys: the collector, the key, the flag without dashes in front. The first for a key
/// is the one that the help shows; those that node_exporter has given up come behind it.
const SPELLINGS: &[(&str, &str, &str)] = &[
    ("bcache", "priority_stats", "collector.bcache.priorityStats"),
    ("cpu", "info_flags_include", "collector.cpu.info.flags-include"),
    ("cpu", "info_bugs_include", "collector.cpu.info.bugs-include"),
    ("diskstats", "device_exclude", "collector.diskstats.device-exclude"),
    ("diskstats", "device_exclude", "collector.diskstats.ignored-devices"),
    ("filesystem", "mount_points_exclude", "collector.filesystem.mount-points-exclude"),
    ("filesystem", "mount_points_exclude", "collector.filesystem.ignored-mount-points"),
    ("filesystem", "fs_types_exclude", "collector.filesystem.fs-types-exclude"),
    ("filesystem", "fs_types_exclude", "collector.filesystem.ignored-fs-types"),
    ("netclass", "with_stats", "collector.netclass_rtnl.with-stats"),
    ("netdev", "device_include", "collector.netdev.device-include"),
    ("netdev", "device_include", "collector.netdev.device-whitelist"),
    ("netdev", "device_exclude", "collector.netdev.device-exclude"),
    ("netdev", "device_exclude", "collector.netdev.device-blacklist"),
    ("powersupplyclass", "ignored_supplies", "collector.powersupply.ignored-supplies"),
    ("qdisc", "device_include", "collector.qdisc.device-include"),
    ("qdisc", "device_include", "collector.qdisk.device-include"),
    ("qdisc", "device_exclude", "collector.qdisc.device-exclude"),
    ("qdisc", "device_exclude", "collector.qdisk.device-exclude"),
    ("systemd", "unit_include", "collector.systemd.unit-include"),
    ("systemd", "unit_include", "collector.systemd.unit-whitelist"),
    ("systemd", "unit_exclude", "collector.systemd.unit-exclude"),
    ("systemd", "unit_exclude", "collector.systemd.unit-blacklist"),
];

/// A collector's key as a flag.
struct OptionFlag {
    /// Without the dashes in front.
    flag: String,
    old: Vec<&'static str>,
    collector: &'static str,
    info: KeyInfo,
}

impl OptionFlag {
    fn no_flag(&self) -> String {
        format!("no-{}", self.flag)
    }
}

/// The flags of all collectors, by name.
fn option_flags() -> Vec<OptionFlag> {
    let mut collectors = COLLECTORS.to_vec();
    collectors.sort_by_key(|c| c.name);
    let flags = collectors.iter().flat_map(|c| c.options.iter().map(|info| (c.name, *info)));
    flags
        .map(|(collector, info)| {
            let mut spelt = SPELLINGS.iter().filter(|s| (s.0, s.1) == (collector, info.key)).map(|s| s.2);
            let plain = || format!("collector.{collector}.{}", info.key.replace('_', "-"));
            OptionFlag { flag: spelt.next().map_or_else(plain, str::to_string), old: spelt.collect(), collector, info }
        })
        .collect()
}

/// The options that were given: collector, key, value.
#[derive(Clone, Default, Debug)]
pub(super) struct Options(Vec<(&'static str, &'static str, Node)>);

impl Options {
    pub fn augment(command: Command) -> Command {
        option_flags().into_iter().fold(command, |command, option| {
            let arg = Arg::new(option.flag.clone())
                .long(option.flag.clone())
                .aliases(option.old.iter().copied())
                .action(ArgAction::Append)
                .hide_short_help(true)
                .help_heading("Options of collectors (each is a key of the collector in the configuration too)")
                .help(option.info.about.trim().trim_end_matches('.').to_string());
            if !option.info.switch {
                return command.arg(arg.value_name("VALUE"));
            }
            let no_flag = option.no_flag();
            let off = Arg::new(no_flag.clone()).long(no_flag).action(ArgAction::SetTrue).hide(true);
            let on = arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("true|false");
            command.arg(on).arg(off.overrides_with(option.flag))
        })
    }

    /// The error names the flags and what is wrong with their values.
    pub fn of(matches: &ArgMatches) -> Result<Options, clap::Error> {
        let mut given = Vec::new();
        for option in option_flags() {
            let off = option.info.switch && matches.get_flag(&option.no_flag());
            let values = matches.get_many::<String>(&option.flag).into_iter().flatten();
            let mut values: Vec<Node> = if off { vec![scalar("false")] } else { values.map(|v| scalar(v)).collect() };
            let value = match values.len() {
                0 => continue,
                1 => values.remove(0),
                _ => Node { at: Position::default(), value: Value::Sequence(values) },
            };
            given.push((option, value));
        }
        // Each collector's together, for what must not be said of two of them at once.
        for together in given.chunk_by(|a, b| a.0.collector == b.0.collector) {
            let Some((first, _)) = together.first() else { continue };
            let keys = together.iter().map(|(option, value)| (key(option.info.key), value.clone())).collect();
            let mut faults = Faults::default();
            CollectorsConfig::from_yaml(&mapping(vec![(key(first.collector), mapping(keys))]), &mut faults);
            if let Some(fault) = faults.iter().next() {
                let flags: Vec<String> = together.iter().map(|(option, _)| format!("--{}", option.flag)).collect();
                let message = format!("{}: {}\n", flags.join(", "), fault.message);
                return Err(clap::Error::raw(ErrorKind::ValueValidation, message));
            }
        }
        Ok(Options(given.into_iter().map(|(option, value)| (option.collector, option.info.key, value)).collect()))
    }

    pub fn apply(&self, config: &mut CollectorsConfig) {
        for (collector, key, value) in &self.0 {
            // They are known and well-formed, as `of` has seen.
            config.read_option(collector, key, value, &mut Faults::default());
        }
    }
}

fn scalar(text: &str) -> Node {
    // An empty plain text would be no value at all, and leave the default.
    let plain = !text.is_empty();
    Node { at: Position::default(), value: Value::Scalar { text: text.to_string(), plain, block: false } }
}

fn key(name: &str) -> Key {
    Key { name: name.to_string(), at: Position::default() }
}

fn mapping(entries: Vec<(Key, Node)>) -> Node {
    Node { at: Position::default(), value: Value::Mapping(entries) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<CollectorsConfig, String> {
        let command = Options::augment(Command::new("watchfire"));
        let matches = command.try_get_matches_from(["watchfire"].iter().chain(flags)).map_err(|e| e.to_string())?;
        let mut config = CollectorsConfig::default();
        Options::of(&matches).map_err(|e| e.to_string())?.apply(&mut config);
        Ok(config)
    }

    #[test]
    fn every_spelling_is_of_a_key_that_is_there() {
        for (collector, key, flag) in SPELLINGS {
            let info = COLLECTORS.iter().find(|c| c.name == *collector).unwrap_or_else(|| panic!("{flag}"));
            assert!(info.options.iter().any(|o| o.key == *key), "{flag}");
        }
    }

    #[test]
    fn flags_are_read_as_the_keys_are() {
        let config = parse(&[
            "--collector.netdev.device-blacklist=^lo$",
            "--collector.netclass.ignore-invalid-speed",
            "--no-collector.netclass.netlink",
            "--collector.textfile.directory",
            "/a",
            "--collector.textfile.directory=/b",
        ])
        .unwrap();
        let pattern = config.netdev.options.device_exclude.unwrap();
        assert!(pattern.is_match(b"lo") && !pattern.is_match(b"eth0"));
        assert!(config.netclass.options.ignore_invalid_speed && !config.netclass.options.netlink);
        assert_eq!(config.textfile.options.directory.0, ["/a", "/b"]);
    }

    #[test]
    fn an_empty_pattern_is_none_as_unit_files_have_it() {
        let config = parse(&[
            "--collector.diskstats.device-exclude=",
            "--collector.diskstats.device-include=^sd",
            "--collector.netdev.device-exclude=",
            "--collector.netdev.device-include",
            "",
        ])
        .unwrap();
        let disks = &config.diskstats.options;
        assert!(disks.device_exclude.is_empty() && disks.device_include.is_some());
        let devices = &config.netdev.options;
        assert!(devices.device_include.is_none() && devices.device_exclude.is_none());
        assert!(parse(&["--collector.netclass.ignore-invalid-speed="]).unwrap_err().contains("true or false"));
    }

    #[test]
    fn what_a_key_would_not_take_is_refused_by_the_flags_name() {
        let refused = parse(&["--collector.netdev.device-exclude=("]).unwrap_err();
        assert!(refused.contains("--collector.netdev.device-exclude: not a regular expression"), "{refused}");
        let refused = parse(&["--collector.netdev.device-exclude=a", "--collector.netdev.device-include=b"]);
        assert!(refused.unwrap_err().contains("device_include and device_exclude exclude each other"));
        assert!(parse(&["--collector.netclass.ignore-invalid-speed=maybe"]).unwrap_err().contains("true or false"));
    }
}
