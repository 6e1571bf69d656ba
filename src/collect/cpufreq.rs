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
use super::{CollectError, Collector, Roots, fields};
use crate::model::Writer;

crate::section! {
    /// `collectors.cpufreq`.
    pub struct CpufreqConfig {
        /// Whether the current frequency is read from the hardware, as only root may; with `cpu.info`, the current
        /// frequencies are those of /proc/cpuinfo.
        pub current: bool = true,
    }
}

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

/// The `cpufreq` collector.
pub struct Cpufreq {
    folder: PathBuf,
    current: bool,
    reading: Reading,
}

impl Cpufreq {
    pub fn new(config: &CpufreqConfig, roots: &Roots) -> Cpufreq {
        Cpufreq { folder: roots.sys("devices/system/cpu"), current: config.current, reading: Reading::default() }
    }
}

impl Collector for Cpufreq {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut cpus = Vec::new();
        for (cpu, folder) in numbered(&self.folder, "cpu")? {
            let folder = folder.join("cpufreq");
            // A host that cannot scale has no such folder, and one failed look-up a CPU is all it costs.
            let Some(governor) = self.reading.text(&folder.join("scaling_governor")).map(<[u8]>::to_vec) else {
                continue;
            };
            let kilohertz = FREQUENCIES.map(|(file, ..)| match file {
                CURRENT if !self.current => None,
                _ => self.reading.number(&folder.join(file)),
            });
            let [available] = self.reading.texts(&folder, ["scaling_available_governors"]);
            cpus.push((cpu, kilohertz, governor, available.unwrap_or_default()));
        }
        for (i, (_, metric, help)) in FREQUENCIES.iter().enumerate() {
            let mut family = out.gauge(metric, help, ["cpu"]);
            for (cpu, kilohertz, ..) in &cpus {
                if let Some(kilohertz) = kilohertz[i] {
                    family.put([cpu], kilohertz * 1000.0);
                }
            }
        }
        let help = "Current enabled CPU frequency governor.";
        let mut family = out.gauge("node_cpu_scaling_governor", help, ["cpu", "governor"]);
        for (cpu, _, governor, available) in &cpus {
            for each in fields(available) {
                family.put([cpu, each], f64::from(u8::from(each == governor)));
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
