//! `cpu`: what the CPUs spend their time on, from `/proc/stat`; how they are, from `/sys/devices/system/cpu`; what they
//! are, from `/proc/cpuinfo`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_cpu_seconds_total` | counter | `cpu`, `mode`: user, nice, system, idle, iowait, irq, softirq, steal |
//! | `node_cpu_guest_seconds_total` (with `guest`) | counter | `cpu`, `mode`: user, nice; part of these above too |
//! | `node_cpu_isolated` | gauge | `cpu`: only isolated ones |
//! | `node_cpu_package_throttles_total` | counter | `package` |
//! | `node_cpu_core_throttles_total` | counter | `package`, `core` |
//! | `node_cpu_online` | gauge | `cpu`; where CPUs can be put off line |
//! | `node_cpu_info` (with `info`) | gauge | `package`, `core`, `cpu`, `vendor`, `family`, `model`, ... |
//! | `node_cpu_frequency_hertz` (with `info`) | gauge | `package`, `core`, `cpu` |
//! | `node_cpu_flag_info`, `node_cpu_bug_info` (with their patterns) | gauge | `flag`, `bug` |
//!
//! Configuration: `guest`, `info`, `info_flags_include`, `info_bugs_include`.

mod info;
mod topology;

use self::info::Info;
use self::topology::Topology;
use super::memo::Memo;
use super::search::Search;
use super::{CollectError, Collector, KernelFile, Roots, fields, lines, number};
use crate::model::Writer;

crate::section! {
    /// `collectors.cpu`.
    pub struct CpuConfig {
        /// Whether the time spent in guests (virtual machines) is exported.
        pub guest: bool = true,
        /// Whether models and frequencies of /proc/cpuinfo are exported.
        pub info: bool = false,
        /// Which of the CPUs' flags are exported, with `info`.
        pub info_flags_include: Option<Search> = None,
        /// Which of the CPUs' known bugs are exported, with `info`.
        pub info_bugs_include: Option<Search> = None,
    }
}

/// The modes of a `cpu` line of /proc/stat, in its order; after them come guest and guest_nice.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

/// The place of idle in a `cpu` line.
const IDLE: usize = 3;

/// Kernel time in /proc is in hundredths of a second (USER_HZ), whatever the kernel's own tick.
const USER_HZ: f64 = 100.0;

/// A CPU whose idle time falls by this many ticks was taken off line and came back: its counters begin anew. By less,
/// it is the kernel's accounting that wavers, and the counters stand still.
const JUMP_BACK: f64 = 3.0 * USER_HZ;

/// A CPU's counters, in ticks; fields that the kernel does not give are absent.
type Times = [Option<f64>; 10];

/// The `cpu` collector.
pub struct Cpu {
    stat: KernelFile,
    times: Memo<Times>,
    guest: bool,
    topology: Topology,
    info: Option<Info>,
}

impl CpuConfig {
    /// Whether /proc/cpuinfo is exported: any of its keys says so.
    pub(super) fn has_info(&self) -> bool {
        self.info || self.info_flags_include.is_some() || self.info_bugs_include.is_some()
    }
}

impl Cpu {
    pub fn new(config: &CpuConfig, roots: &Roots) -> Cpu {
        Cpu {
            stat: KernelFile::new(roots.proc("stat")),
            times: Memo::new(),
            guest: config.guest,
            topology: Topology::new(roots),
            info: config.has_info().then(|| Info::new(config, roots)),
        }
    }

    /// Reads the `cpuN` lines. Whether CPUs came or went, and what is wrong with a line, if anything; the others count.
    fn read_times(&mut self) -> Result<(bool, Option<CollectError>), CollectError> {
        let mut fault = None;
        self.times.begin();
        for (i, line) in lines(self.stat.read()?).enumerate() {
            let mut found = fields(line);
            let cpu = found.next().and_then(|f| f.strip_prefix(b"cpu")).filter(|c| !c.is_empty());
            let Some(cpu) = cpu else { continue };
            let mut now = Times::default();
            for (place, field) in now.iter_mut().zip(found) {
                *place = number(field).filter(|n| *n >= 0.0);
                if place.is_none() {
                    fault.get_or_insert(i + 1);
                }
            }
            if let Some(before) = self.times.next(cpu, Times::default) {
                advance(before, now);
            }
        }
        let changed = self.times.end();
        let what = "a CPU's time is not a number";
        Ok((changed, fault.map(|line| CollectError::parse(self.stat.path(), line, what))))
    }

    fn write_times(&self, out: &mut Writer) {
        let mut family = out.counter("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.", ["cpu", "mode"]);
        for (cpu, times) in self.times.iter() {
            for (mode, ticks) in MODES.iter().zip(times) {
                if let Some(ticks) = ticks {
                    family.put([cpu, mode.as_bytes()], ticks / USER_HZ);
                }
            }
        }
        if self.guest {
            let help = "Seconds the CPUs spent in guests (VMs) for each mode.";
            let mut family = out.counter("node_cpu_guest_seconds_total", help, ["cpu", "mode"]);
            for (cpu, times) in self.times.iter() {
                for (mode, ticks) in ["user", "nice"].iter().zip(times.iter().skip(MODES.len())) {
                    if let Some(ticks) = ticks {
                        family.put([cpu, mode.as_bytes()], ticks / USER_HZ);
                    }
                }
            }
        }
    }
}

/// Brings a CPU's counters forward, and never back unless the CPU was off line in between.
fn advance(times: &mut Times, now: Times) {
    if let (Some(before), Some(now)) = (times[IDLE], now[IDLE])
        && before - now >= JUMP_BACK
    {
        *times = Times::default();
    }
    for (time, now) in times.iter_mut().zip(now) {
        *time = match (*time, now) {
            (Some(before), Some(now)) => Some(now.max(before)),
            (_, now) => now,
        };
    }
}

impl Collector for Cpu {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let info = self.info.as_mut().map_or(Ok(()), |info| info.collect(out));
        let (changed, fault) = self.read_times()?;
        self.write_times(out);
        // A CPU's files in sysfs come and go with its line in /proc/stat.
        self.topology.collect(changed, out);
        fault.map_or(info, Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, SERIES, Tree, conforms, never_panics_of_many, starting};

    const STAT: &str = "cpu  301854 612 111922 8979004 3552 2 3944 0 44 36\n\
        cpu0 44490 19 21045 1087069 220 1 3410 0 2 1\ncpu1 47869 23 16474 1110787 591 0 46 0 3 2\nctxt 38014093\n";

    fn build(roots: &Roots) -> Cpu {
        Cpu::new(&CpuConfig::default(), roots)
    }

    #[test]
    fn seconds_by_cpu_and_mode() {
        let tree = Tree::new(&[("proc/stat", STAT)]);
        let lines = Runner::new(build(&tree.roots())).lines();
        assert_eq!(lines.len(), 2 * 10);
        assert_eq!(
            starting(&lines, "node_cpu_seconds_total{cpu=\"0\"")[..4],
            [
                "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 444.9",
                "node_cpu_seconds_total{cpu=\"0\",mode=\"nice\"} 0.19",
                "node_cpu_seconds_total{cpu=\"0\",mode=\"system\"} 210.45",
                "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 10870.69",
            ]
        );
        assert_eq!(
            starting(&lines, "node_cpu_guest_seconds_total{cpu=\"1\""),
            [
                "node_cpu_guest_seconds_total{cpu=\"1\",mode=\"user\"} 0.03",
                "node_cpu_guest_seconds_total{cpu=\"1\",mode=\"nice\"} 0.02",
            ]
        );
    }

    #[test]
    fn counters_stand_still_when_the_kernel_wavers_and_begin_anew_after_a_hotplug() {
        let tree = Tree::new(&[("proc/stat", "cpu0 100 0 0 5000 700\n")]);
        let mut run = Runner::new(build(&tree.roots()));
        let line = |mode: &str, value: f64| format!("node_cpu_seconds_total{{cpu=\"0\",mode=\"{mode}\"}} {value}");
        run.lines();
        tree.write("proc/stat", "cpu0 101 0 0 4990 699\n");
        let lines = run.lines();
        assert!(lines.contains(&line("user", 1.01)), "{lines:?}");
        assert!(lines.contains(&line("idle", 50.0)) && lines.contains(&line("iowait", 7.0)), "{lines:?}");
        tree.write("proc/stat", "cpu0 1 0 0 20 3\n");
        let lines = run.lines();
        assert!(lines.contains(&line("idle", 0.2)) && lines.contains(&line("user", 0.01)), "{lines:?}");
    }

    #[test]
    fn an_older_kernels_missing_fields_are_absent() {
        let tree = Tree::new(&[("proc/stat", "cpu0 1 2 3 4 5 6 7\n")]);
        assert_eq!(Runner::new(build(&tree.roots())).lines().len(), 7);
    }

    #[test]
    fn a_cpu_goes_off_line_and_comes_back() {
        let tree = Tree::new(&[("proc/stat", STAT)]);
        let mut run = Runner::new(build(&tree.roots()));
        run.lines();
        tree.write("proc/stat", "cpu1 47869 23 16474 1110787 591 0 46 0 3 2\n");
        assert_eq!(run.lines().len(), 10);
        tree.write("proc/stat", STAT);
        assert_eq!(run.lines().len(), 20);
    }

    const CPUINFO: &str = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 142\n\
        model name\t: Intel(R) Core(TM) i7\nstepping\t: 10\nmicrocode\t: 0xb4\ncpu MHz\t\t: 799.998\n\
        cache size\t: 8192 KB\nphysical id\t: 0\ncore id\t\t: 0\nflags\t\t: fpu aes avx\nbugs\t\t: mds swapgs\n\n\
        processor\t: 1\nmodel name\t: Intel(R) Core(TM) i7\ncpu MHz\t\t: 800.037\ncore id\t\t: 1\n\n";

    fn with_info() -> CpuConfig {
        CpuConfig {
            info: true,
            info_flags_include: Some(Search::fixed("^(aes|avx.?|constant_tsc)$")),
            info_bugs_include: Some(Search::fixed("^(cpu_meltdown|spectre_.*|mds)$")),
            ..CpuConfig::default()
        }
    }

    #[test]
    fn info_on_demand() {
        let tree = Tree::new(&[("proc/stat", STAT), ("proc/cpuinfo", CPUINFO)]);
        assert!(starting(&Runner::new(build(&tree.roots())).lines(), "node_cpu_info").is_empty());
        let lines = Runner::new(Cpu::new(&with_info(), &tree.roots())).lines();
        let info = starting(&lines, "node_cpu_info");
        assert_eq!(info.len(), 2);
        assert!(info[0].contains("cpu=\"0\"") && info[0].contains("cachesize=\"8192 KB\""), "{info:?}");
        assert_eq!(
            lines[2..7],
            [
                "node_cpu_frequency_hertz{package=\"0\",core=\"0\",cpu=\"0\"} 799998000",
                "node_cpu_frequency_hertz{package=\"\",core=\"1\",cpu=\"1\"} 800037000",
                "node_cpu_flag_info{flag=\"aes\"} 1",
                "node_cpu_flag_info{flag=\"avx\"} 1",
                "node_cpu_bug_info{bug=\"mds\"} 1",
            ]
        );
    }

    #[test]
    fn info_of_other_machines() {
        let tree = Tree::new(&[("proc/stat", STAT)]);
        let config = CpuConfig { info_flags_include: Some(Search::fixed("^(asimd|aes)$")), ..CpuConfig::default() };
        for (cpuinfo, expected) in [
            (
                "processor\t: 0\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd aes\nCPU implementer\t: 0x41\n\n\
                 Hardware\t: BCM2835\nModel\t\t: Raspberry Pi 4\n",
                ["cpu=\"0\",vendor=\"\",family=\"\",model=\"\",", "node_cpu_flag_info{flag=\"asimd\"} 1"],
            ),
            (
                "processor\t: 8\ncpu\t\t: POWER9, altivec supported\nclock\t\t: 3425.000000MHz\n\n\
                 timebase\t: 512000000\nmodel\t\t: 8375-42A\n",
                [
                    "cpu=\"8\",vendor=\"POWER9, altivec supported\",family=\"\",model=\"\",",
                    "node_cpu_frequency_hertz{package=\"\",core=\"\",cpu=\"8\"} 3425000000",
                ],
            ),
            (
                "processor\t: 1\nhart\t\t: 2\nisa\t\t: rv64imafdc\nmmu\t\t: sv39\n",
                ["core=\"2\",cpu=\"1\"", "model_name=\"rv64imafdc\""],
            ),
            (
                "system type\t: MediaTek\nprocessor\t: 0\ncpu model\t: MIPS 1004Kc\nisa\t\t: mips1 mips2\n",
                ["cpu=\"0\"", "model_name=\"MIPS 1004Kc\""],
            ),
        ] {
            tree.write("proc/cpuinfo", cpuinfo);
            let lines = Runner::new(Cpu::new(&config, &tree.roots())).lines();
            for part in expected {
                assert!(lines.iter().any(|l| l.contains(part)), "{part} in {lines:?}");
            }
        }
    }

    const SYS: &str = "sys/devices/system/cpu";

    fn sys_tree() -> Tree {
        let tree = Tree::new(&[("proc/stat", STAT)]);
        for (cpu, package, core, throttles) in [(0, "0", "0", "5"), (1, "0", "1", "7"), (2, "0", "0", "5")] {
            tree.write(&format!("{SYS}/cpu{cpu}/topology/physical_package_id"), format!("{package}\n"));
            tree.write(&format!("{SYS}/cpu{cpu}/topology/core_id"), format!("{core}\n"));
            tree.write(&format!("{SYS}/cpu{cpu}/thermal_throttle/core_throttle_count"), format!("{throttles}\n"));
        }
        tree.write(&format!("{SYS}/cpu0/thermal_throttle/package_throttle_count"), "30\n");
        tree.write(&format!("{SYS}/cpu0/online"), "1\n");
        tree.write(&format!("{SYS}/online"), "0-1\n");
        tree.write(&format!("{SYS}/isolated"), "1,3-4\n");
        tree
    }

    #[test]
    fn throttles_are_counted_once_a_core_and_once_a_package() {
        let lines = Runner::new(build(&sys_tree().roots())).lines();
        assert_eq!(
            lines[20..],
            [
                "node_cpu_isolated{cpu=\"1\"} 1",
                "node_cpu_isolated{cpu=\"3\"} 1",
                "node_cpu_isolated{cpu=\"4\"} 1",
                "node_cpu_package_throttles_total{package=\"0\"} 30",
                "node_cpu_core_throttles_total{package=\"0\",core=\"0\"} 5",
                "node_cpu_core_throttles_total{package=\"0\",core=\"1\"} 7",
                "node_cpu_online{cpu=\"0\"} 1",
                "node_cpu_online{cpu=\"1\"} 1",
                "node_cpu_online{cpu=\"2\"} 0",
            ]
        );
    }

    #[test]
    fn cpus_that_cannot_go_off_line_are_not_reported_as_on_line() {
        let tree = sys_tree();
        tree.remove("sys/devices/system/cpu/cpu0/online");
        assert!(starting(&Runner::new(build(&tree.roots())).lines(), "node_cpu_online").is_empty());
    }

    #[test]
    fn garbage_never_panics() {
        let files = [
            ("proc/stat", STAT),
            ("proc/cpuinfo", CPUINFO),
            ("sys/devices/system/cpu/online", "0-1\n"),
            ("sys/devices/system/cpu/isolated", "1,3-4\n"),
            ("sys/devices/system/cpu/cpu0/online", "1\n"),
            ("sys/devices/system/cpu/cpu0/topology/physical_package_id", "0\n"),
            ("sys/devices/system/cpu/cpu0/topology/core_id", "0\n"),
            ("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "5\n"),
            ("sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "30\n"),
        ];
        never_panics_of_many(SERIES, &files, |roots| Cpu::new(&with_info(), roots));
    }

    #[test]
    fn as_node_exporter() {
        let others = ["node_cpu_scaling_", "node_cpu_vulnerabilities_"];
        let belongs = |name: &str| name.starts_with("node_cpu_") && !others.iter().any(|o| name.starts_with(o));
        conforms(&["proc/stat", "proc/cpuinfo", "sys/devices/system/cpu", "sys/bus/cpu"], belongs, |roots| {
            Cpu::new(&with_info(), roots)
        });
    }
}
