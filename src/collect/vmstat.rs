//! `vmstat`: the memory management's counters, from `/proc/vmstat`.
//!
//! | metric | type |
//! | --- | --- |
//! | `node_vmstat_NAME` | untyped |
//!
//! Untyped, because some are counters, some are gauges and the file does not say which.
//!
//! Configuration: `fields`, the pattern of names to export.

use super::memo::Memo;
use super::search::Search;
use super::{CollectError, Collector, KernelFile, Roots, lines, number, split_once, trim};
use crate::model::{MetricType, Writer};

crate::section! {
    /// `collectors.vmstat`.
    pub struct VmstatConfig {
        /// Which fields of /proc/vmstat are exported.
        pub fields: Search = Search::fixed("^(oom_kill|pgpg|pswp|pg.*fault).*"),
    }
}

/// The `vmstat` collector.
pub struct Vmstat {
    file: KernelFile,
    wanted: Search,
    /// By field: what it is exported as, if at all.
    families: Memo<Option<(String, String)>>,
}

impl Vmstat {
    pub fn new(config: &VmstatConfig, roots: &Roots) -> Vmstat {
        Vmstat { file: KernelFile::new(roots.proc("vmstat")), wanted: config.fields.clone(), families: Memo::new() }
    }
}

/// Name and help of a field's family; `None` when it is not wanted or no metric can have this name.
fn family(field: &[u8], wanted: &Search) -> Option<(String, String)> {
    let field =
        std::str::from_utf8(field).ok().filter(|f| f.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))?;
    wanted
        .is_match(field.as_bytes())
        .then(|| (format!("node_vmstat_{field}"), format!("/proc/vmstat information field {field}.")))
}

impl Collector for Vmstat {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut fault = None;
        self.families.begin();
        for (i, line) in lines(self.file.read()?).enumerate() {
            let (field, value) = split_once(line, b' ').unwrap_or((line, b""));
            let Some(Some((name, help))) = self.families.next(field, || family(field, &self.wanted)) else { continue };
            match number(trim(value)) {
                Some(value) => {
                    out.family(MetricType::Untyped, name, help, []).put([], value);
                }
                None => {
                    fault.get_or_insert_with(|| (i + 1, name.clone()));
                }
            }
        }
        self.families.end();
        match fault {
            None => Ok(()),
            Some((line, name)) => Err(CollectError::parse(self.file.path(), line, format!("{name}: not a number"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const GOOD: &str = "nr_free_pages 977769\npgpgin 7344136\npswpout 35045\npgmajfault 507162\noom_kill 0\n";

    fn build(roots: &Roots) -> Vmstat {
        Vmstat::new(&VmstatConfig::default(), roots)
    }

    #[test]
    fn the_wanted_fields() {
        let tree = Tree::new(&[("proc/vmstat", GOOD)]);
        let expected = [
            "node_vmstat_pgpgin 7344136",
            "node_vmstat_pswpout 35045",
            "node_vmstat_pgmajfault 507162",
            "node_vmstat_oom_kill 0",
        ];
        assert_eq!(Runner::new(build(&tree.roots())).lines(), expected);
        let config = VmstatConfig { fields: Search::fixed("free") };
        assert_eq!(Runner::new(Vmstat::new(&config, &tree.roots())).lines(), ["node_vmstat_nr_free_pages 977769"]);
    }

    #[test]
    fn a_bad_line_is_named_and_the_rest_is_served() {
        let tree = Tree::new(&[("proc/vmstat", "pgpgin\npgpgout 1\n")]);
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(lines, ["node_vmstat_pgpgout 1"]);
        assert!(error.ends_with("vmstat:1: node_vmstat_pgpgin: not a number"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&[("proc/vmstat", GOOD)], build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/vmstat"], |name| name.starts_with("node_vmstat_"), build);
    }
}
