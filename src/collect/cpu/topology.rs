//! CPUs as sysfs shows them: throttled, isolated, on line.

use std::collections::BTreeSet;
use std::path::Path;

use crate::collect::cpulist::{contains, numbers};
use crate::collect::file::may_keep;
use crate::collect::{KernelFile, Roots, number, read_small, trim};
use crate::model::Writer;

/// Files of cores and packages that stay open, and the share of the agent's descriptors that they may be: a 16th.
const MAX_OPEN: usize = 1024;
const OPEN_PART: u64 = 16;

/// What there is of each CPU under `/sys/devices/system/cpu`.
pub(super) struct Topology {
    directory: std::path::PathBuf,
    /// Fixed at boot.
    isolated: Vec<String>,
    /// Which CPUs are on line, as a list of ranges.
    online: KernelFile,
    /// All CPUs, by number; empty where they cannot be put off line.
    switchable: Vec<(u32, String)>,
    packages: Vec<(String, KernelFile)>,
    cores: Vec<(String, String, KernelFile)>,
    /// Of these files, how many of each kind may stay open.
    keep: usize,
    listed: bool,
}

impl Topology {
    pub fn new(roots: &Roots) -> Topology {
        let directory = roots.sys("devices/system/cpu");
        let mut buffer = Vec::new();
        let isolated = read_small(&directory.join("isolated"), &mut buffer).unwrap_or(b"");
        Topology {
            isolated: numbers(isolated).map(|n| n.to_string()).collect(),
            online: KernelFile::new(directory.join("online")),
            directory,
            switchable: Vec::new(),
            packages: Vec::new(),
            cores: Vec::new(),
            keep: may_keep(MAX_OPEN, OPEN_PART) / 2,
            listed: false,
        }
    }

    /// Writes the samples; `changed`: CPUs came or went. What sysfs does not have is absent, and no failure.
    pub fn collect(&mut self, changed: bool, out: &mut Writer) {
        if changed || !self.listed {
            self.list();
            self.listed = true;
        }
        let help = "Whether each core is isolated, information from /sys/devices/system/cpu/isolated.";
        let mut family = out.gauge("node_cpu_isolated", help, ["cpu"]);
        for cpu in &self.isolated {
            family.put([cpu.as_bytes()], 1.0);
        }
        let help = "Number of times this CPU package has been throttled.";
        let mut family = out.counter("node_cpu_package_throttles_total", help, ["package"]);
        for (i, (package, file)) in self.packages.iter_mut().enumerate() {
            if let Some(count) = count(file, i < self.keep) {
                family.put([package.as_bytes()], count);
            }
        }
        let help = "Number of times this CPU core has been throttled.";
        let mut family = out.counter("node_cpu_core_throttles_total", help, ["package", "core"]);
        for (i, (package, core, file)) in self.cores.iter_mut().enumerate() {
            if let Some(count) = count(file, i < self.keep) {
                family.put([package.as_bytes(), core.as_bytes()], count);
            }
        }
        if let Some(online) = (!self.switchable.is_empty()).then(|| self.online.read().ok()).flatten() {
            let help = "CPUs that are online and being scheduled.";
            let mut family = out.gauge("node_cpu_online", help, ["cpu"]);
            for (cpu, label) in &self.switchable {
                family.put([label.as_bytes()], f64::from(contains(online, *cpu)));
            }
        }
    }

    /// Lists the CPUs, and of each core and package the first CPU's files.
    fn list(&mut self) {
        let mut cpus: Vec<u32> = std::fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("cpu")?.parse().ok())
            .collect();
        cpus.sort_unstable();
        let (mut cores, mut packages) = (BTreeSet::new(), BTreeSet::new());
        self.cores.clear();
        self.packages.clear();
        let mut buffer = Vec::new();
        for cpu in &cpus {
            let cpu = self.directory.join(format!("cpu{cpu}"));
            let Some(package) = id(&cpu.join("topology/physical_package_id"), &mut buffer) else { continue };
            let Some(core) = id(&cpu.join("topology/core_id"), &mut buffer) else { continue };
            let path = cpu.join("thermal_throttle/core_throttle_count");
            if path.exists() && cores.insert((package, core)) {
                self.cores.push((package.to_string(), core.to_string(), KernelFile::new(path)));
            }
            let path = cpu.join("thermal_throttle/package_throttle_count");
            if path.exists() && packages.insert(package) {
                self.packages.push((package.to_string(), KernelFile::new(path)));
            }
        }
        self.switchable.clear();
        if self.directory.join("cpu0/online").exists() {
            self.switchable.extend(cpus.iter().map(|cpu| (*cpu, cpu.to_string())));
        }
    }
}

/// A count in a file that stays open, or not.
fn count(file: &mut KernelFile, keep: bool) -> Option<f64> {
    let count = file.read().ok().and_then(|text| number(trim(text)));
    if !keep {
        file.close();
    }
    count
}

/// A whole number in a file of its own. A package that firmware does not number is -1 there, and has no counters.
fn id(path: &Path, buffer: &mut Vec<u8>) -> Option<u64> {
    std::str::from_utf8(read_small(path, buffer).ok()?).ok()?.parse().ok()
}
