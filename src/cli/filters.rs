//! node_exporter's filters as flags: `--collector.netdev.device-exclude` and the like, for unit files that have them.
//!
//! Each is a key of the collector in `collectors:` too, by the same name with `_` for `-`.

use clap::{Arg, ArgMatches, Command};

use crate::collect::CollectorsConfig;
use crate::collect::search::Search;

/// A flag that takes a pattern.
struct Filter {
    /// Without the dashes in front.
    flag: &'static str,
    help: &'static str,
    set: fn(&mut CollectorsConfig, Search),
}

const FILTERS: &[Filter] = &[
    Filter {
        flag: "collector.diskstats.device-include",
        help: "The only disks exported",
        set: |c, p| c.diskstats.options.device_include = Some(p),
    },
    Filter {
        flag: "collector.diskstats.device-exclude",
        help: "Disks left out",
        set: |c, p| c.diskstats.options.device_exclude = p,
    },
    Filter {
        flag: "collector.filesystem.mount-points-include",
        help: "The only mount points exported",
        set: |c, p| c.filesystem.options.mount_points_include = Some(p),
    },
    Filter {
        flag: "collector.filesystem.mount-points-exclude",
        help: "Mount points left out",
        set: |c, p| c.filesystem.options.mount_points_exclude = p,
    },
    Filter {
        flag: "collector.filesystem.fs-types-include",
        help: "The only types of filesystems exported",
        set: |c, p| c.filesystem.options.fs_types_include = Some(p),
    },
    Filter {
        flag: "collector.filesystem.fs-types-exclude",
        help: "Types of filesystems left out",
        set: |c, p| c.filesystem.options.fs_types_exclude = p,
    },
    Filter {
        flag: "collector.netclass.ignored-devices",
        help: "Network interfaces whose properties are left out",
        set: |c, p| c.netclass.options.ignored_devices = p,
    },
    Filter {
        flag: "collector.netdev.device-include",
        help: "The only network interfaces exported",
        set: |c, p| c.netdev.options.device_include = Some(p),
    },
    Filter {
        flag: "collector.netdev.device-exclude",
        help: "Network interfaces left out",
        set: |c, p| c.netdev.options.device_exclude = Some(p),
    },
    Filter {
        flag: "collector.netstat.fields",
        help: "Which protocol statistics are exported, as PROTOCOL_NAME",
        set: |c, p| c.netstat.options.fields = p,
    },
    Filter {
        flag: "collector.vmstat.fields",
        help: "Which fields of /proc/vmstat are exported",
        set: |c, p| c.vmstat.options.fields = p,
    },
];

/// The flags that were given, with their patterns.
#[derive(Clone, Default, Debug)]
pub(super) struct Filters(Vec<(usize, Search)>);

impl Filters {
    pub fn augment(command: Command) -> Command {
        FILTERS.iter().fold(command, |command, filter| {
            let arg = Arg::new(filter.flag).long(filter.flag).value_name("REGEX").value_parser(Search::new);
            command.arg(arg.help_heading(super::flags::HEADING).help(filter.help))
        })
    }

    pub fn of(matches: &ArgMatches) -> Filters {
        let given = FILTERS.iter().enumerate();
        Filters(given.filter_map(|(i, f)| Some((i, matches.get_one::<Search>(f.flag)?.clone()))).collect())
    }

    pub fn apply(&self, config: &mut CollectorsConfig) {
        for (i, pattern) in &self.0 {
            if let Some(filter) = FILTERS.get(*i) {
                (filter.set)(config, pattern.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::FromYaml;

    #[test]
    fn every_filter_is_a_key_of_its_collector_by_the_same_name() {
        let mut keys = Vec::new();
        CollectorsConfig::key_paths("", &mut keys);
        for filter in FILTERS {
            let key = filter.flag.trim_start_matches("collector.").replace('-', "_");
            assert!(keys.iter().any(|k| k.trim_start_matches('.') == key), "{key} is not in {keys:?}");
        }
    }

    #[test]
    fn a_pattern_that_is_none_is_refused() {
        let parse = |flag: &str| Filters::augment(Command::new("watchfire")).try_get_matches_from(["watchfire", flag]);
        let refused = parse("--collector.netdev.device-exclude=(").unwrap_err().to_string();
        assert!(refused.contains("not a regular expression"), "{refused}");
        let mut config = CollectorsConfig::default();
        Filters::of(&parse("--collector.netdev.device-exclude=^lo$").unwrap()).apply(&mut config);
        let pattern = config.netdev.options.device_exclude.unwrap();
        assert!(pattern.is_match(b"lo") && !pattern.is_match(b"eth0"));
    }
}
