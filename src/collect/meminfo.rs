//! `meminfo`: memory by use, from `/proc/meminfo`.
//!
//! | metric | type | from |
//! | --- | --- | --- |
//! | `node_memory_NAME_bytes` | gauge | each line in kB: `MemFree`, `Active_anon` (of `Active(anon)`) |
//! | `node_memory_NAME` | gauge | each line without a unit: `HugePages_Total` |
//!
//! Configuration: none.

use super::memo::Memo;
use super::{CollectError, Collector, KernelFile, Roots, fields, lines, number};
use crate::model::Writer;

crate::section! {
    /// `collectors.meminfo`.
    pub struct MeminfoConfig {}
}

/// The `meminfo` collector.
pub struct Meminfo {
    file: KernelFile,
    lines: Memo<Line>,
}

/// A line without its number.
struct Line {
    /// As the file gives it: one that is garbled once must not hide the line for good.
    unit: Option<Box<[u8]>>,
    family: Option<Family>,
}

impl Line {
    fn new(key: &[u8], unit: Option<&[u8]>) -> Line {
        let family = key.strip_suffix(b":").and_then(|key| Family::new(key, unit));
        Line { unit: unit.map(Box::from), family }
    }
}

/// What a line is exported as.
struct Family {
    name: String,
    help: String,
    /// Bytes, or pages, a unit of the file.
    scale: f64,
}

impl Family {
    /// From a line's key (`Active(anon)`) and unit; `None` where no metric can have this name, or the unit is unknown.
    fn new(key: &[u8], unit: Option<&[u8]>) -> Option<Family> {
        let (suffix, scale) = match unit {
            None => ("", 1.0),
            Some(b"kB") => ("_bytes", 1024.0),
            Some(_) => return None,
        };
        let field = field_name(key)? + suffix;
        Some(Family { name: format!("node_memory_{field}"), help: format!("Memory information field {field}."), scale })
    }
}

/// A key as metrics name it, `Active_anon` for `Active(anon)`; `None` where no metric can have this name.
pub(super) fn field_name(key: &[u8]) -> Option<String> {
    let name = |byte: &u8| match byte {
        b'(' => Some('_'),
        b if b.is_ascii_alphanumeric() || *b == b'_' => Some(char::from(*b)),
        _ => None,
    };
    key.strip_suffix(b")").unwrap_or(key).iter().map(name).collect()
}

impl Meminfo {
    pub fn new(_: &MeminfoConfig, roots: &Roots) -> Meminfo {
        Meminfo { file: KernelFile::new(roots.proc("meminfo")), lines: Memo::new() }
    }
}

impl Collector for Meminfo {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut fault = None;
        self.lines.begin();
        for (i, line) in lines(self.file.read()?).enumerate() {
            let mut found = fields(line);
            let Some(key) = found.next() else { continue };
            let (value, unit) = (found.next().and_then(number), found.next());
            let known = self.lines.next(key, || Line::new(key, unit)).map(|known| {
                if known.unit.as_deref() != unit {
                    *known = Line::new(key, unit);
                }
                known
            });
            match (known.and_then(|known| known.family.as_ref()), value) {
                (Some(family), Some(value)) => {
                    out.gauge(&family.name, &family.help, []).put([], value * family.scale);
                }
                _ => {
                    fault.get_or_insert_with(|| (i + 1, String::from_utf8_lossy(key).into_owned()));
                }
            }
        }
        self.lines.end();
        match fault {
            None => Ok(()),
            Some((line, key)) => {
                Err(CollectError::parse(self.file.path(), line, format!("{key} not a name and a number")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const GOOD: &str = "MemTotal:        3742148 kB\nActive(anon):    2020004 kB\nHugePages_Total:       3\n\
        Hugepagesize:       2048 kB\n";

    fn build(roots: &Roots) -> Meminfo {
        Meminfo::new(&MeminfoConfig::default(), roots)
    }

    #[test]
    fn kilobytes_become_bytes_and_counts_stay() {
        let tree = Tree::new(&[("proc/meminfo", GOOD)]);
        let expected = [
            "node_memory_MemTotal_bytes 3831959552",
            "node_memory_Active_anon_bytes 2068484096",
            "node_memory_HugePages_Total 3",
            "node_memory_Hugepagesize_bytes 2097152",
        ];
        assert_eq!(Runner::new(build(&tree.roots())).lines(), expected);
    }

    #[test]
    fn a_bad_line_is_named_and_the_rest_is_served() {
        let tree = Tree::new(&[("proc/meminfo", "MemTotal: 1 kB\nMemFree: x kB\nDirty: 2 kB\n")]);
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(lines, ["node_memory_MemTotal_bytes 1024", "node_memory_Dirty_bytes 2048"]);
        assert!(error.ends_with("meminfo:2: MemFree: not a name and a number"), "{error}");
    }

    #[test]
    fn a_unit_that_is_garbled_once_does_not_hide_its_line_for_good() {
        let tree = Tree::new(&[("proc/meminfo", GOOD)]);
        let mut run = Runner::new(build(&tree.roots()));
        let good = run.lines();
        tree.write("proc/meminfo", GOOD.replace("2020004 kB", "2020004 kC"));
        assert_eq!(run.run().0.len(), 3);
        tree.write("proc/meminfo", GOOD);
        assert_eq!(run.lines(), good);
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&[("proc/meminfo", GOOD)], build);
    }

    #[test]
    fn as_node_exporter() {
        let belongs = |name: &str| name.starts_with("node_memory_") && !name.starts_with("node_memory_numa_");
        conforms(&["proc/meminfo"], belongs, build);
    }
}
