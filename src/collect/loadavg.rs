//! `loadavg`: the load averages, from `/proc/loadavg`.
//!
//! | metric | type |
//! | --- | --- |
//! | `node_load1`, `node_load5`, `node_load15` | gauge |
//!
//! Configuration: none.

use super::{CollectError, Collector, KernelFile, Roots, fields, number};
use crate::model::Writer;

crate::section! {
    /// `collectors.loadavg`.
    pub struct LoadavgConfig {}
}

/// Families in the order of the file's fields.
const FAMILIES: [(&str, &str); 3] =
    [("node_load1", "1m load average."), ("node_load5", "5m load average."), ("node_load15", "15m load average.")];

/// The `loadavg` collector.
pub struct Loadavg {
    file: KernelFile,
}

impl Loadavg {
    pub fn new(_: &LoadavgConfig, roots: &Roots) -> Loadavg {
        Loadavg { file: KernelFile::new(roots.proc("loadavg")) }
    }
}

impl Collector for Loadavg {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut loads = [None; 3];
        for (load, field) in loads.iter_mut().zip(fields(self.file.read()?)) {
            *load = number(field);
        }
        for (load, (name, help)) in loads.into_iter().zip(FAMILIES) {
            let Some(load) = load else {
                return Err(CollectError::parse(self.file.path(), 1, format!("{name}: not a number")));
            };
            out.gauge(name, help, []).put([], load);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const GOOD: &str = "0.21 0.37 0.39 1/719 19737\n";

    fn build(roots: &Roots) -> Loadavg {
        Loadavg::new(&LoadavgConfig::default(), roots)
    }

    #[test]
    fn three_averages() {
        let tree = Tree::new(&[("proc/loadavg", GOOD)]);
        assert_eq!(
            Runner::new(build(&tree.roots())).lines(),
            ["node_load1 0.21", "node_load5 0.37", "node_load15 0.39"]
        );
    }

    #[test]
    fn a_short_file_is_an_error_that_names_the_field() {
        let tree = Tree::new(&[("proc/loadavg", "0.21 x")]);
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert!(lines == ["node_load1 0.21"] && error.ends_with("loadavg:1: node_load5: not a number"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&[("proc/loadavg", GOOD)], build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/loadavg"], |name| name.starts_with("node_load"), build);
    }
}
