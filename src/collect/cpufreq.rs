//! `cpufreq`: the CPUs' frequencies and governors, from `/sys/devices/system/cpu/cpuN/cpufreq/`.
//!
//! | metric | type | labels | file |
//! | --- | --- | --- | --- |
//! | `node_cpu_frequency_hertz`, `_avg_hertz`, `_min_hertz`, `_max_hertz` | gauge | `cpu` | `cpuinfo_{cur,avg,min,max}_freq` |
//! | `node_cpu_scaling_frequency_hertz`, `_min_hertz`, `_max_hertz` | gauge | `cpu` | `scaling_{cur,min,max}_freq` |
//! | `node_cpu_scaling_governor` | gauge, 1 for the one in force | `cpu`, `governor` | `scaling_governor`, `scaling_available_governors` |
//!
//! `cpuinfo_cur_freq` is for root only; `cpuinfo_avg_freq` came with Linux 6.15, and has no value while the CPU is idle.
//! Kernels before 5.18 sleep 10 ms or more to measure a CPU's frequency, and some ask the firmware for it: this is why it
//! is not read at each tick.
//!
//! Configuration: `current`.

use std::path::PathBuf;

use super::devices::{Reading, numbered};
use super::file::may_keep;
use super::sysfs::Folder;
use super::{CollectError, Collector, KernelFile, Roots, fields};
use crate::model::Writer;

crate::section! {
    /// `collectors.cpufreq`.
    pub struct CpufreqConfig {
        /// Whether the current frequency is read from the hardware, as only root may; with `cpu.info`, the current
        /// frequencies are those of /proc/cpuinfo.
        pub current: bool = true,
    }
}

const GOVERNOR: &str = "scaling_governor";
const AVAILABLE: &str = "scaling_available_governors";
/// The file for which the kernel asks the hardware.
const CURRENT: &str = "cpuinfo_cur_freq";

/// The file, what it is exported as, help.
const FREQUENCIES: [(&str, &str, &str); 7] = [
    (CURRENT, "node_cpu_frequency_hertz", "Current CPU thread frequency in hertz."),
    ("cpuinfo_avg_freq", "node_cpu_frequency_avg_hertz", "Average CPU thread frequency in hertz."),
    ("cpuinfo_min_freq", "node_cpu_frequency_min_hertz", "Minimum CPU thread frequency in hertz."),
    ("cpuinfo_max_freq", "node_cpu_frequency_max_hertz", "Maximum CPU thread frequency in hertz."),
    ("scaling_cur_freq", "node_cpu_scaling_frequency_hertz", "Current scaled CPU thread frequency in hertz."),
    ("scaling_min_freq", "node_cpu_scaling_frequency_min_hertz", "Minimum scaled CPU thread frequency in hertz."),
    ("scaling_max_freq", "node_cpu_scaling_frequency_max_hertz", "Maximum scaled CPU thread frequency in hertz."),
];

/// Of these, what the hardware can do does not change.
const FIXED: [usize; 2] = [2, 3];
/// After so many runs it is read again all the same, and files that were not there are looked for: another driver may
/// have been loaded. The CPUs take turns.
const REFRESH: usize = 20;
/// Folders that stay open, and the share of the agent's descriptors that they may be: a 16th.
const MAX_OPEN: usize = 512;
const OPEN_PART: u64 = 16;

/// The `cpufreq` collector.
pub struct Cpufreq {
    folder: PathBuf,
    current: bool,
    /// Which CPUs there are; where it says nothing, the folder is listed in each run.
    present: KernelFile,
    known: Vec<u8>,
    cpus: Vec<Cpu>,
    runs: usize,
    reading: Reading,
}

struct Cpu {
    number: Vec<u8>,
    folder: Folder,
    /// Whether it was so in the last run.
    scales: bool,
    /// Which of the files there are.
    has: [bool; FREQUENCIES.len()],
    kilohertz: [Option<f64>; FREQUENCIES.len()],
    governor: Vec<u8>,
    available: Vec<u8>,
}

impl Cpufreq {
    pub fn new(config: &CpufreqConfig, roots: &Roots) -> Cpufreq {
        let folder = roots.sys("devices/system/cpu");
        Cpufreq {
            present: KernelFile::new(folder.join("present")),
            folder,
            current: config.current,
            known: Vec::new(),
            cpus: Vec::new(),
            runs: 0,
            reading: Reading::default(),
        }
    }

    /// Lists the CPUs where they may be others than before.
    fn list(&mut self) -> Result<(), CollectError> {
        let present = self.present.read().unwrap_or_default();
        if !present.is_empty() && self.known == present {
            return Ok(());
        }
        self.known = present.to_vec();
        let listed = numbered(&self.folder, "cpu")?;
        if !self.cpus.iter().map(|c| &c.number).eq(listed.iter().map(|(number, _)| number)) {
            let cpu = |(number, folder): (Vec<u8>, PathBuf)| Cpu {
                number,
                folder: Folder::new(folder.join("cpufreq")),
                scales: false,
                has: [false; FREQUENCIES.len()],
                kilohertz: [None; FREQUENCIES.len()],
                governor: Vec::new(),
                available: Vec::new(),
            };
            self.cpus = listed.into_iter().map(cpu).collect();
        }
        Ok(())
    }
}

impl Cpu {
    /// Reads what there is; `all`: what does not change too.
    fn read(&mut self, mut all: bool, keep_open: bool, current: bool, reading: &mut Reading) {
        let mut governor = reading.text_in(&self.folder, GOVERNOR);
        if governor.is_none() || !self.scales {
            // It has been off line, or is new.
            all = true;
            if keep_open {
                self.folder.open();
                governor = reading.text_in(&self.folder, GOVERNOR);
            }
        }
        // A host that cannot scale has no such folder, and failed look-ups are all it costs.
        self.scales = governor.is_some();
        let Some(governor) = governor else { return };
        self.governor.clear();
        self.governor.extend_from_slice(governor);
        for (i, (file, ..)) in FREQUENCIES.iter().enumerate().filter(|(_, (file, ..))| *file != CURRENT || current) {
            if all {
                self.has[i] = self.folder.has(file);
            }
            if self.has[i] && (all || !FIXED.contains(&i)) {
                self.kilohertz[i] = reading.number_in(&self.folder, file);
            } else if !self.has[i] {
                self.kilohertz[i] = None;
            }
        }
        if all {
            self.available.clear();
            self.available.extend_from_slice(reading.text_in(&self.folder, AVAILABLE).unwrap_or_default());
        }
    }
}

impl Collector for Cpufreq {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        self.list()?;
        let run = self.runs;
        self.runs = self.runs.wrapping_add(1);
        let keep = may_keep(MAX_OPEN, OPEN_PART);
        for (i, cpu) in self.cpus.iter_mut().enumerate() {
            let all = run.wrapping_add(i).is_multiple_of(REFRESH);
            cpu.read(all, i < keep, self.current, &mut self.reading);
        }
        let cpus = || self.cpus.iter().filter(|c| c.scales);
        for (i, (_, metric, help)) in FREQUENCIES.iter().enumerate() {
            let mut family = out.gauge(metric, help, ["cpu"]);
            for cpu in cpus() {
                if let Some(kilohertz) = cpu.kilohertz[i] {
                    family.put([&cpu.number], kilohertz * 1000.0);
                }
            }
        }
        let help = "Current enabled CPU frequency governor.";
        let mut family = out.gauge("node_cpu_scaling_governor", help, ["cpu", "governor"]);
        for cpu in cpus() {
            for each in fields(&cpu.available) {
                family.put([&cpu.number, each], f64::from(u8::from(each == cpu.governor)));
            }
        }
        self.reading.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const FILES: [(&str, &str); 6] = [
        ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "schedutil\n"),
        ("sys/devices/system/cpu/cpu1/cpufreq/scaling_available_governors", "performance schedutil \n"),
        ("sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "1400000\n"),
        ("sys/devices/system/cpu/cpu1/cpufreq/cpuinfo_avg_freq", "2100000\n"),
        ("sys/devices/system/cpu/cpu1/cpufreq/cpuinfo_max_freq", "3700000\n"),
        ("sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "x\n"),
    ];

    fn build(roots: &Roots) -> Cpufreq {
        Cpufreq::new(&CpufreqConfig::default(), roots)
    }

    #[test]
    fn frequencies_and_the_governor_in_force() {
        let tree = Tree::new(&FILES);
        let mut run = Runner::new(build(&tree.roots()));
        for _ in 0..2 {
            assert_eq!(
                run.lines(),
                [
                    "node_cpu_frequency_avg_hertz{cpu=\"1\"} 2100000000",
                    "node_cpu_frequency_max_hertz{cpu=\"1\"} 3700000000",
                    "node_cpu_scaling_frequency_hertz{cpu=\"1\"} 1400000000",
                    "node_cpu_scaling_governor{cpu=\"1\",governor=\"performance\"} 0",
                    "node_cpu_scaling_governor{cpu=\"1\",governor=\"schedutil\"} 1",
                ]
            );
        }
    }

    #[test]
    fn the_hardware_is_asked_unless_it_is_not_to_be() {
        let tree = Tree::new(&FILES);
        tree.write("sys/devices/system/cpu/cpu1/cpufreq/cpuinfo_cur_freq", "1399000\n");
        for current in [true, false] {
            let lines = Runner::new(Cpufreq::new(&CpufreqConfig { current }, &tree.roots())).lines();
            let said = lines.contains(&"node_cpu_frequency_hertz{cpu=\"1\"} 1399000000".to_string());
            assert_eq!((lines.len(), said), (5 + usize::from(current), current), "{lines:?}");
        }
    }

    #[test]
    fn what_a_new_driver_brings_is_found_in_time() {
        let tree = Tree::new(&FILES);
        let mut run = Runner::new(build(&tree.roots()));
        run.lines();
        for (name, value) in [("cpuinfo_max_freq", "3900000"), ("scaling_max_freq", "3800000")] {
            tree.write(&format!("sys/devices/system/cpu/cpu1/cpufreq/{name}"), value);
        }
        let lines = (0..REFRESH).map(|_| run.lines()).last().unwrap_or_default().join("\n");
        assert!(lines.contains("node_cpu_frequency_max_hertz{cpu=\"1\"} 3900000000"), "{lines}");
        assert!(lines.contains("node_cpu_scaling_frequency_max_hertz{cpu=\"1\"} 3800000000"), "{lines}");
    }

    #[test]
    fn a_host_that_cannot_scale_has_nothing_to_say() {
        let tree = Tree::new(&[("sys/devices/system/cpu/cpu0/online", "1\n")]);
        assert!(Runner::new(build(&tree.roots())).lines().is_empty());
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["sys/devices/system/cpu"], |name| name.starts_with("node_cpu_scaling_"), build);
    }
}
