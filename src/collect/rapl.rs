//! `rapl`: the energy that packages, cores and memory have used, from `/sys/class/powercap`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_rapl_ZONE_joules_total` (`package`, `core`, `uncore`, `dram`, `psys` and so on) | counter | `index`, `path` |
//! | `node_rapl_joules_total` (with `enable_zone_label`, instead) | counter | `index`, `path`, `rapl_zone` |
//!
//! The kernel lets only root read the counters: for others there is no data. They wrap around at `max_energy_range_uj`,
//! within minutes on a busy package, which rate() takes for a restart.
//!
//! Configuration: `enable_zone_label`.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::devices::{Reading, devices};
use super::sysfs::Attributes;
use super::{CollectError, Collector, Roots};
use crate::model::Writer;

crate::section! {
    /// `collectors.rapl`.
    pub struct RaplConfig {
        /// Whether all zones are one metric with the label `rapl_zone`, which is easier to sum than a metric for each zone.
        pub enable_zone_label: bool = false,
    }
}

/// The `rapl` collector.
pub struct Rapl {
    class: PathBuf,
    zone_label: bool,
    reading: Reading,
    attributes: Attributes,
}

/// A zone and what it has used.
struct Zone {
    /// `package`, `core`; without the number that the kernel may give it.
    name: String,
    /// The kernel's number of it, or how many zones of this name came before.
    index: String,
    path: PathBuf,
    joules: f64,
}

impl Rapl {
    pub fn new(config: &RaplConfig, roots: &Roots) -> Rapl {
        Rapl {
            class: roots.sys("class/powercap"),
            zone_label: config.enable_zone_label,
            reading: Reading::default(),
            attributes: Attributes::default(),
        }
    }

    fn read(&mut self) -> Result<Vec<Zone>, CollectError> {
        let mut zones: Vec<Zone> = Vec::new();
        let mut next: HashMap<String, u64> = HashMap::new();
        for (_, folder) in devices(&self.class)? {
            let Some((name, index)) = self.name(&folder, &next) else { continue };
            next.insert(name.clone(), index.saturating_add(1));
            let file = folder.join("energy_uj");
            let microjoules = match self.attributes.number(&file) {
                Ok(Some(microjoules)) => microjoules,
                Ok(None) => continue,
                Err(CollectError::Read { error, .. }) if error.kind() == ErrorKind::PermissionDenied => {
                    return Err(CollectError::NoData(format!("{}: only root may read it", file.display())));
                }
                Err(error) => {
                    self.reading.keep(error);
                    continue;
                }
            };
            zones.push(Zone { name, index: index.to_string(), path: folder, joules: microjoules / 1e6 });
        }
        Ok(zones)
    }

    /// The zone's name and index. A folder without a name is no zone but a control type.
    fn name(&mut self, folder: &Path, next: &HashMap<String, u64>) -> Option<(String, u64)> {
        let name = String::from_utf8_lossy(self.reading.text(&folder.join("name"))?).into_owned();
        if let Some((stem, number)) = name.split_once('-')
            && let Ok(number) = number.parse()
        {
            return Some((stem.to_string(), number));
        }
        let index = next.get(&name).copied().unwrap_or(0);
        Some((name, index))
    }
}

impl Collector for Rapl {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut zones = self.read()?;
        if self.zone_label {
            let labels = ["index", "path", "rapl_zone"];
            let mut family = out.counter("node_rapl_joules_total", "Current RAPL value in joules", labels);
            for zone in &zones {
                let path = zone.path.as_os_str().as_bytes();
                family.put([zone.index.as_bytes(), path, zone.name.as_bytes()], zone.joules);
            }
            return self.reading.finish();
        }
        zones.sort_by(|a, b| a.name.cmp(&b.name));
        for same in zones.chunk_by(|a, b| a.name == b.name) {
            let Some(Zone { name, .. }) = same.first() else { continue };
            let metric: String =
                name.chars().map(|c| if c.is_ascii_alphanumeric() || c == ':' { c } else { '_' }).collect();
            let metric = format!("node_rapl_{metric}_joules_total");
            let help = format!("Current RAPL {name} value in joules");
            let mut family = out.counter(&metric, &help, ["index", "path"]);
            for zone in same {
                family.put([zone.index.as_bytes(), zone.path.as_os_str().as_bytes()], zone.joules);
            }
        }
        self.reading.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const FILES: [(&str, &str); 11] = [
        ("sys/class/powercap/intel-rapl/enabled", "1\n"),
        ("sys/class/powercap/intel-rapl:0/name", "package-0\n"),
        ("sys/class/powercap/intel-rapl:0/energy_uj", "240422366267\n"),
        ("sys/class/powercap/intel-rapl:0:0/name", "dram\n"),
        ("sys/class/powercap/intel-rapl:0:0/energy_uj", "1500000\n"),
        ("sys/class/powercap/intel-rapl:1/name", "package-1\n"),
        ("sys/class/powercap/intel-rapl:1/energy_uj", "2\n"),
        ("sys/class/powercap/intel-rapl:1:0/name", "dram\n"),
        ("sys/class/powercap/intel-rapl:1:0/energy_uj", "2500000\n"),
        ("sys/class/powercap/intel-rapl-mmio:0/name", "package-0\n"),
        ("sys/class/powercap/intel-rapl-mmio:0/energy_uj", "7000000\n"),
    ];

    fn build(roots: &Roots) -> Rapl {
        Rapl::new(&RaplConfig::default(), roots)
    }

    /// Lines, with the paths without the tree's own.
    fn run(tree: &Tree, enable_zone_label: bool) -> Vec<String> {
        let class = tree.path("sys/class/powercap");
        let lines = Runner::new(Rapl::new(&RaplConfig { enable_zone_label }, &tree.roots())).lines();
        lines.iter().map(|l| l.replace(&format!("{}/", class.display()), "")).collect()
    }

    #[test]
    fn joules_by_zone() {
        assert_eq!(
            run(&Tree::new(&FILES), false),
            [
                "node_rapl_dram_joules_total{index=\"0\",path=\"intel-rapl:0:0\"} 1.5",
                "node_rapl_dram_joules_total{index=\"1\",path=\"intel-rapl:1:0\"} 2.5",
                "node_rapl_package_joules_total{index=\"0\",path=\"intel-rapl-mmio:0\"} 7",
                "node_rapl_package_joules_total{index=\"0\",path=\"intel-rapl:0\"} 240422.366267",
                "node_rapl_package_joules_total{index=\"1\",path=\"intel-rapl:1\"} 0.000002",
            ]
        );
    }

    #[test]
    fn zones_may_be_a_label() {
        let lines = run(&Tree::new(&FILES), true);
        assert_eq!(lines.len(), 5);
        let dram = "node_rapl_joules_total{index=\"1\",path=\"intel-rapl:1:0\",rapl_zone=\"dram\"} 2.5";
        assert!(lines.iter().any(|l| l == dram), "{lines:?}");
    }

    #[test]
    fn a_host_that_counts_no_energy_has_no_data() {
        let (lines, error) = Runner::new(build(&Tree::new::<&str>(&[]).roots())).failure();
        assert!(lines.is_empty() && error.starts_with("no data:"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["sys/class/powercap"], |name| name.starts_with("node_rapl_"), build);
    }
}
