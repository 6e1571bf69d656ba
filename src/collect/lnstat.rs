//! `lnstat`: what the network stack's caches count by CPU, from the files of `/proc/net/stat` (`arp_cache`, `rt_cache`,
//! `nf_conntrack`, ...).
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_lnstat_NAME_total` | counter | `subsystem`: the file, `cpu`; of each of the file's columns |
//!
//! `node_lnstat_entries_total` is no counter, but how many entries there are now, the same for each CPU. The kernel's
//! counters are 32 bits wide and wrap.
//!
//! Configuration: none.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::memo::Memo;
use super::sysfs::names;
use super::{CollectError, Collector, KernelFile, Roots, fields, lines};
use crate::model::Writer;

crate::section! {
    /// `collectors.lnstat`.
    pub struct LnstatConfig {}
}

/// More columns than any of the files has; what a broken one has beyond is not looked at.
const MAX_COLUMNS: usize = 64;
/// More than the columns of all files together.
const MAX_FAMILIES: usize = 1024;

/// The `lnstat` collector.
pub struct Lnstat {
    folder: PathBuf,
    /// By file name.
    subsystems: Memo<Subsystem>,
    /// The columns of all files by metric, made anew when a file comes, goes or changes its columns.
    families: Vec<Family>,
}

/// A file: the names of its columns, and below them a line for each CPU.
struct Subsystem {
    file: KernelFile,
    header: Vec<u8>,
    columns: usize,
    /// Row by row.
    values: Vec<f64>,
}

struct Family {
    column: Vec<u8>,
    name: String,
    /// Subsystem and column, in the order of the subsystems.
    places: Vec<(usize, usize)>,
}

impl Lnstat {
    pub fn new(_: &LnstatConfig, roots: &Roots) -> Lnstat {
        Lnstat { folder: roots.proc("net/stat"), subsystems: Memo::new(), families: Vec::new() }
    }

    fn find_families(&mut self) {
        self.families.clear();
        for (subsystem, (_, table)) in self.subsystems.iter().enumerate() {
            for (i, column) in fields(&table.header).take(MAX_COLUMNS).enumerate() {
                let valid = column.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
                let Some(text) = std::str::from_utf8(column).ok().filter(|_| valid) else { continue };
                let at = self.families.iter().position(|f| f.column == column).unwrap_or(self.families.len());
                if at == self.families.len() && at < MAX_FAMILIES {
                    let name = format!("node_lnstat_{text}_total");
                    self.families.push(Family { column: column.to_vec(), name, places: Vec::new() });
                }
                if let Some(family) = self.families.get_mut(at) {
                    family.places.push((subsystem, i));
                }
            }
        }
    }
}

impl Subsystem {
    /// Reads the file; sets `changed` when its columns are not those of the last run.
    fn read(&mut self, changed: &mut bool) -> Result<(), CollectError> {
        let Subsystem { file, header, columns, values } = self;
        values.clear();
        let mut rows = lines(file.read()?).enumerate();
        let names = rows.next().map_or(&b""[..], |(_, names)| names);
        if header != names {
            *changed = true;
            *header = names.to_vec();
            *columns = fields(names).take(MAX_COLUMNS).count();
        }
        let mut fault = None;
        for (i, row) in rows {
            let before = values.len();
            values.extend(fields(row).take(*columns).map_while(hexadecimal));
            if values.len() != before + *columns {
                values.truncate(before);
                fault = Some(i + 1);
                break;
            }
        }
        match fault {
            None => Ok(()),
            Some(line) => Err(CollectError::parse(file.path(), line, "not a hexadecimal number for each column")),
        }
    }

    /// A column's values, CPU by CPU.
    fn column(&self, column: usize) -> impl Iterator<Item = f64> {
        self.values.chunks(self.columns.max(1)).filter_map(move |row| row.get(column).copied())
    }
}

fn hexadecimal(text: &[u8]) -> Option<f64> {
    Some(u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()? as f64)
}

impl Collector for Lnstat {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut result = Ok(());
        let mut changed = false;
        self.subsystems.begin();
        for name in names(&self.folder)? {
            let make = || Subsystem {
                file: KernelFile::new(self.folder.join(&name)),
                header: Vec::new(),
                columns: 0,
                values: Vec::new(),
            };
            let Some(subsystem) = self.subsystems.next(name.as_bytes(), make) else { continue };
            result = result.and(subsystem.read(&mut changed));
        }
        changed |= self.subsystems.end();
        if changed {
            self.find_families();
        }
        for Family { name, places, .. } in &self.families {
            let mut family = out.counter(name, "linux network cache stats", ["subsystem", "cpu"]);
            let mut subsystems = self.subsystems.iter().enumerate();
            for (at, column) in places {
                let Some((_, (subsystem, table))) = subsystems.find(|(i, _)| i == at) else { continue };
                for (cpu, value) in table.column(*column).enumerate() {
                    family.put([subsystem, itoa::Buffer::new().format(cpu).as_bytes()], value);
                }
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const GOOD: [(&str, &str); 2] = [
        ("proc/net/stat/arp_cache", "entries  allocs \n00000014  00000001\n00000014  0000000d\n"),
        ("proc/net/stat/nf_conntrack", "entries  searched found\n00000021  00000000 000000ff\n"),
    ];

    fn build(roots: &Roots) -> Lnstat {
        Lnstat::new(&LnstatConfig::default(), roots)
    }

    #[test]
    fn columns_by_file_and_cpu() {
        let tree = Tree::new(&GOOD);
        let mut run = Runner::new(build(&tree.roots()));
        let expected = [
            "node_lnstat_entries_total{subsystem=\"arp_cache\",cpu=\"0\"} 20",
            "node_lnstat_entries_total{subsystem=\"arp_cache\",cpu=\"1\"} 20",
            "node_lnstat_entries_total{subsystem=\"nf_conntrack\",cpu=\"0\"} 33",
            "node_lnstat_allocs_total{subsystem=\"arp_cache\",cpu=\"0\"} 1",
            "node_lnstat_allocs_total{subsystem=\"arp_cache\",cpu=\"1\"} 13",
            "node_lnstat_searched_total{subsystem=\"nf_conntrack\",cpu=\"0\"} 0",
            "node_lnstat_found_total{subsystem=\"nf_conntrack\",cpu=\"0\"} 255",
        ];
        assert_eq!(run.lines(), expected);
        assert_eq!(run.lines(), expected);
    }

    #[test]
    fn a_cache_that_comes_or_goes_is_seen_in_the_next_run() {
        let tree = Tree::new(&GOOD);
        let mut run = Runner::new(build(&tree.roots()));
        assert_eq!(run.lines().len(), 7);
        tree.remove("proc/net/stat/arp_cache");
        assert_eq!(run.lines().len(), 3);
        tree.write("proc/net/stat/a_cache", "found\n1\n");
        assert_eq!(
            run.lines(),
            [
                "node_lnstat_found_total{subsystem=\"a_cache\",cpu=\"0\"} 1",
                "node_lnstat_found_total{subsystem=\"nf_conntrack\",cpu=\"0\"} 255",
                "node_lnstat_entries_total{subsystem=\"nf_conntrack\",cpu=\"0\"} 33",
                "node_lnstat_searched_total{subsystem=\"nf_conntrack\",cpu=\"0\"} 0",
            ]
        );
    }

    #[test]
    fn a_bad_line_is_named_and_the_rest_is_served() {
        let tree = Tree::new(&GOOD);
        tree.write("proc/net/stat/arp_cache", "entries allocs\n1 2\n3\n");
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(lines.len(), 2 + 3);
        assert!(error.ends_with("arp_cache:3: not a hexadecimal number for each column"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&GOOD, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/net/stat"], |name| name.starts_with("node_lnstat_"), build);
    }
}
