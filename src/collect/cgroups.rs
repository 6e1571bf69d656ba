//! `cgroups`: how many control groups there are of each subsystem of version 1, from `/proc/cgroups`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_cgroups_cgroups` | gauge | `subsys_name` |
//! | `node_cgroups_enabled` | gauge, 1 or 0 | `subsys_name` |
//!
//! A number that only grows is a leak of groups. Where all subsystems are on version 2, each shows the host's one tree.
//!
//! Configuration: none.

use super::memo::Memo;
use super::{CollectError, Collector, KernelFile, Roots, fields, lines, number};
use crate::model::Writer;

crate::section! {
    /// `collectors.cgroups`.
    pub struct CgroupsConfig {}
}

/// Name and help of a line's third and fourth field.
const FAMILIES: [(&str, &str); 2] = [
    ("node_cgroups_cgroups", "Current cgroup number of the subsystem."),
    ("node_cgroups_enabled", "Whether the subsystem is enabled."),
];

/// The `cgroups` collector.
pub struct Cgroups {
    file: KernelFile,
    subsystems: Memo<[f64; FAMILIES.len()]>,
}

impl Cgroups {
    pub fn new(_: &CgroupsConfig, roots: &Roots) -> Cgroups {
        Cgroups { file: KernelFile::new(roots.proc("cgroups")), subsystems: Memo::new() }
    }
}

impl Collector for Cgroups {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut fault = None;
        self.subsystems.begin();
        for (i, line) in lines(self.file.read()?).enumerate().filter(|(_, l)| !l.starts_with(b"#")) {
            let mut found = fields(line);
            let (name, _, groups, enabled) = (found.next(), found.next(), found.next(), found.next());
            match (name, groups.and_then(number), enabled.and_then(number)) {
                (Some(name), Some(groups), Some(enabled)) => {
                    if let Some(values) = self.subsystems.next(name, Default::default) {
                        *values = [groups, enabled];
                    }
                }
                _ => {
                    fault.get_or_insert(i + 1);
                }
            }
        }
        self.subsystems.end();
        for (i, (name, help)) in FAMILIES.iter().enumerate() {
            let mut family = out.gauge(name, help, ["subsys_name"]);
            for (subsystem, value) in self.subsystems.iter().filter_map(|(s, values)| Some((s, values.get(i)?))) {
                family.put([subsystem], *value);
            }
        }
        match fault {
            None => Ok(()),
            Some(line) => Err(CollectError::parse(self.file.path(), line, "not a name and three numbers")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const GOOD: &str = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t5\t47\t1\nmemory\t7\t234\t0\n";

    fn build(roots: &Roots) -> Cgroups {
        Cgroups::new(&CgroupsConfig::default(), roots)
    }

    #[test]
    fn groups_by_subsystem() {
        let tree = Tree::new(&[("proc/cgroups", GOOD)]);
        let expected = [
            "node_cgroups_cgroups{subsys_name=\"cpuset\"} 47",
            "node_cgroups_cgroups{subsys_name=\"memory\"} 234",
            "node_cgroups_enabled{subsys_name=\"cpuset\"} 1",
            "node_cgroups_enabled{subsys_name=\"memory\"} 0",
        ];
        assert_eq!(Runner::new(build(&tree.roots())).lines(), expected);
    }

    #[test]
    fn a_bad_line_is_named_and_the_rest_is_served() {
        let tree = Tree::new(&[("proc/cgroups", "cpuset 5\nmemory 7 234 1\n")]);
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(lines.len(), 2);
        assert!(error.ends_with("cgroups:1: not a name and three numbers"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&[("proc/cgroups", GOOD)], build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/cgroups"], |name| name.starts_with("node_cgroups_"), build);
    }
}
