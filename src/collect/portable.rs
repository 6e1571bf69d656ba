//! `portable`: the host as the `sysinfo` crate sees it, under node_exporter's and process-exporter's names, for systems
//! and sandboxes that have not the kernel files that the other collectors read.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_load1`, `node_load5`, `node_load15` | gauge | |
//! | `watchfire_cpu_usage_ratio` | gauge, 0 to 1, of all CPUs | |
//! | `watchfire_cpu_core_usage_ratio` | gauge, 0 to 1 | `cpu` |
//! | `node_memory_{MemTotal,MemFree,MemAvailable,SwapTotal,SwapFree}_bytes` | gauge | |
//! | `node_filesystem_{size,avail}_bytes`, `node_filesystem_readonly` | gauge | `device`, `fstype`, `mountpoint` |
//! | `node_disk_{read,written}_bytes_total` | counter | `device` |
//! | `node_network_{receive,transmit}_{bytes,packets,errs}_total` | counter | `device` |
//! | `node_hwmon_temp_celsius`, `node_hwmon_temp_crit_celsius` | gauge | `chip`, `sensor` |
//! | `node_hwmon_sensor_label` | gauge, always 1 | `chip`, `label`, `sensor` |
//! | `node_boot_time_seconds`, `node_time_seconds` | gauge, since 1970 | |
//! | `node_uname_info` | gauge, always 1 | `sysname`, `release`, `version`, `machine`, `nodename`, `domainname` |
//! | `namedprocess_namegroup_num_procs` | gauge | `groupname` |
//! | `namedprocess_namegroup_cpu_seconds_total` | counter | `groupname`, `mode` (always `total`) |
//! | `namedprocess_namegroup_memory_bytes` | gauge | `groupname`, `memtype` (`resident`, `virtual`) |
//!
//! What sysinfo does not know is absent, not made up: CPU seconds by mode, free space that only root may use, the split
//! of a process' CPU time. It always reads the host's own files, whatever the roots are.
//!
//! Configuration: `cpu`, `memory`, `disks`, `networks`, `temperatures`, `processes`: which parts are read.

mod processes;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sysinfo::{Components, CpuRefreshKind, DiskRefreshKind, Disks, Networks, RefreshKind, System};

use self::processes::Processes;
use super::window::Window;
use super::{CollectError, Collector, Roots, Sampling};
use crate::model::Writer;

crate::section! {
    /// `collectors.portable`.
    pub struct PortableConfig {
        /// Load and use of the CPUs.
        pub cpu: bool = true,
        /// Memory and swap.
        pub memory: bool = true,
        /// Filesystems, and bytes read from and written to their devices.
        pub disks: bool = true,
        /// Network devices.
        pub networks: bool = true,
        /// Temperatures.
        pub temperatures: bool = true,
        /// Processes by name.
        pub processes: bool = true,
    }
}

/// The `portable` collector.
pub struct Portable {
    config: PortableConfig,
    /// `None` until the first run, and after a run in which it could not be had.
    system: Option<System>,
    disks: Option<Disks>,
    networks: Option<Networks>,
    temperatures: Option<Components>,
    cpu_use: CpuUse,
    /// What this run is for.
    sampling: Sampling,
    processes: Processes,
}

impl Portable {
    pub fn new(config: &PortableConfig, _: &Roots) -> Portable {
        Portable {
            config: config.clone(),
            system: None,
            disks: None,
            networks: None,
            temperatures: None,
            cpu_use: CpuUse::default(),
            sampling: Sampling::Tick,
            processes: Processes::default(),
        }
    }
}

/// When sysinfo read the times of CPUs: use is the difference of two readings, which it keeps to itself.
#[derive(Default)]
struct CpuUse {
    window: Window,
    known: bool,
}

impl Collector for Portable {
    fn begin(&mut self, sampling: Sampling) {
        self.sampling = sampling;
    }

    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut result = host(out);
        let system = get(&mut self.system, || System::new_with_specifics(RefreshKind::nothing()), "the system");
        match system {
            Ok(system) => {
                if self.config.cpu {
                    cpu(system, &mut self.cpu_use, self.sampling, out);
                }
                if self.config.memory {
                    memory(system, out);
                }
                if self.config.processes {
                    self.processes.collect(system, out);
                }
            }
            Err(error) => result = Err(error),
        }
        if self.config.disks {
            result = result.and(get(&mut self.disks, Disks::new, "disks").map(|d| disks(d, out)));
        }
        if self.config.networks {
            result = result.and(get(&mut self.networks, Networks::new, "networks").map(|n| networks(n, out)));
        }
        if self.config.temperatures {
            let components = get(&mut self.temperatures, Components::new, "temperatures");
            result = result.and(components.map(|c| temperatures(c, out)));
        }
        result
    }
}

/// What is there, or is made now.
fn get<'s, T>(
    slot: &'s mut Option<T>,
    make: impl FnOnce() -> Result<T, sysinfo::Error>,
    what: &str,
) -> Result<&'s mut T, CollectError> {
    match slot {
        Some(there) => Ok(there),
        None => match make() {
            Ok(made) => Ok(slot.insert(made)),
            Err(error) => Err(CollectError::Other(format!("sysinfo cannot read {what}: {error}"))),
        },
    }
}

/// What does not need a [`System`].
fn host(out: &mut Writer) -> Result<(), CollectError> {
    if let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) {
        out.gauge("node_time_seconds", "System time in seconds since epoch (1970).", []).put([], now.as_secs_f64());
    }
    let boot = System::boot_time();
    if let Ok(boot) = &boot {
        out.gauge("node_boot_time_seconds", "Node boot time, in unixtime.", []).put([], *boot as f64);
    }
    let sysname = match std::env::consts::OS {
        "linux" => "Linux",
        "macos" => "Darwin",
        "freebsd" => "FreeBSD",
        other => other,
    };
    let release = System::kernel_version().unwrap_or_default();
    let node = System::host_name().unwrap_or_default();
    let machine = System::cpu_arch();
    let labels = ["sysname", "release", "version", "machine", "nodename", "domainname"];
    let values = [sysname, &release, "", &machine, &node, ""].map(str::as_bytes);
    let help = "Labeled system information as provided by the uname system call.";
    out.gauge("node_uname_info", help, labels).put(values, 1.0);
    boot.map(|_| ()).map_err(|e| CollectError::Other(format!("sysinfo cannot read the boot time: {e}")))
}

fn cpu(system: &mut System, times: &mut CpuUse, sampling: Sampling, out: &mut Writer) {
    if let Ok(load) = System::load_average() {
        out.gauge("node_load1", "1m load average.", []).put([], load.one);
        out.gauge("node_load5", "5m load average.", []).put([], load.five);
        out.gauge("node_load15", "15m load average.", []).put([], load.fifteen);
    }
    let step = times.window.step(Instant::now(), sampling);
    if step.restart {
        system.refresh_cpu_specifics(CpuRefreshKind::nothing().with_usage());
        times.known |= step.seconds.is_some();
    }
    if times.known {
        let help = "Share of all CPU time since the last tick that was neither idle nor waiting for I/O.";
        out.gauge("watchfire_cpu_usage_ratio", help, []).put([], ratio(system.global_cpu_usage()));
        let help = "Share of a CPU's time since the last tick that was neither idle nor waiting for I/O.";
        let mut cores = out.gauge("watchfire_cpu_core_usage_ratio", help, ["cpu"]);
        for (i, cpu) in system.cpus().iter().enumerate() {
            cores.put([itoa::Buffer::new().format(i).as_bytes()], ratio(cpu.usage()));
        }
    }
}

/// From percent.
fn ratio(percent: f32) -> f64 {
    (f64::from(percent) / 100.0).clamp(0.0, 1.0)
}

fn memory(system: &mut System, out: &mut Writer) {
    system.refresh_memory();
    macro_rules! field {
        ($name:literal, $value:expr) => {
            out.gauge(
                concat!("node_memory_", $name, "_bytes"),
                concat!("Memory information field ", $name, "_bytes."),
                [],
            )
            .put([], $value as f64);
        };
    }
    field!("MemTotal", system.total_memory());
    field!("MemFree", system.free_memory());
    field!("MemAvailable", system.available_memory());
    field!("SwapTotal", system.total_swap());
    field!("SwapFree", system.free_swap());
}

fn disks(disks: &mut Disks, out: &mut Writer) {
    disks.refresh_specifics(true, DiskRefreshKind::nothing().with_storage().with_io_usage());
    let mut list: Vec<_> = disks.iter().collect();
    list.sort_unstable_by(|a, b| a.mount_point().cmp(b.mount_point()));
    list.dedup_by(|a, b| a.mount_point() == b.mount_point());
    let mut family = |name, help, value: fn(&sysinfo::Disk) -> f64| {
        let mut family = out.gauge(name, help, ["device", "fstype", "mountpoint"]);
        for disk in &list {
            let labels = [disk.name(), disk.file_system(), disk.mount_point().as_os_str()];
            family.put(labels.map(std::ffi::OsStr::as_encoded_bytes), value(disk));
        }
    };
    family("node_filesystem_size_bytes", "Filesystem size in bytes.", |d| d.total_space() as f64);
    let help = "Filesystem space available to non-root users in bytes.";
    family("node_filesystem_avail_bytes", help, |d| d.available_space() as f64);
    let help = "Filesystem read-only status.";
    family("node_filesystem_readonly", help, |d| f64::from(u8::from(d.is_read_only())));

    // A device that is mounted twice is one device.
    list.sort_by(|a, b| a.name().cmp(b.name()));
    list.dedup_by(|a, b| a.name() == b.name());
    let mut family = |name, help, value: fn(sysinfo::DiskUsage) -> u64| {
        let mut family = out.counter(name, help, ["device"]);
        for disk in &list {
            // `sda1`, as the kernel names it, of `/dev/sda1`.
            let device = disk.name().as_encoded_bytes();
            let device = device.rsplit(|b| *b == b'/').next().unwrap_or(device);
            family.put([device], value(disk.usage()) as f64);
        }
    };
    let help = "The total number of bytes read successfully.";
    family("node_disk_read_bytes_total", help, |u| u.total_read_bytes);
    let help = "The total number of bytes written successfully.";
    family("node_disk_written_bytes_total", help, |u| u.total_written_bytes);
}

fn networks(networks: &mut Networks, out: &mut Writer) {
    networks.refresh(true);
    let mut list: Vec<_> = networks.iter().collect();
    list.sort_unstable_by(|a, b| a.0.cmp(b.0));
    macro_rules! family {
        ($name:literal, $method:ident) => {{
            let help = concat!("Network device statistic ", $name, ".");
            let mut family = out.counter(concat!("node_network_", $name, "_total"), help, ["device"]);
            for (name, data) in &list {
                family.put([name.as_encoded_bytes()], data.$method() as f64);
            }
        }};
    }
    family!("receive_bytes", total_received);
    family!("receive_packets", total_packets_received);
    family!("receive_errs", total_errors_on_received);
    family!("transmit_bytes", total_transmitted);
    family!("transmit_packets", total_packets_transmitted);
    family!("transmit_errs", total_errors_on_transmitted);
}

fn temperatures(components: &mut Components, out: &mut Writer) {
    components.refresh(true);
    let mut list: Vec<_> = components
        .iter()
        .map(|c| {
            let (chip, sensor) = chip_and_sensor(c.id().unwrap_or_else(|| c.label()));
            (chip, sensor, c)
        })
        .collect();
    list.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    let mut family = |name, help, value: fn(&sysinfo::Component) -> Option<f32>| {
        let mut family = out.gauge(name, help, ["chip", "sensor"]);
        for (chip, sensor, component) in &list {
            if let Some(value) = value(component).filter(|v| v.is_finite()) {
                family.put([chip.as_bytes(), sensor.as_bytes()], value.into());
            }
        }
    };
    let help = "Hardware monitor for temperature (input)";
    family("node_hwmon_temp_celsius", help, sysinfo::Component::temperature);
    let help = "Hardware monitor for temperature (crit)";
    family("node_hwmon_temp_crit_celsius", help, sysinfo::Component::critical);
    let help = "Label for given chip and sensor";
    let mut family = out.gauge("node_hwmon_sensor_label", help, ["chip", "label", "sensor"]);
    for (chip, sensor, component) in &list {
        family.put([chip, component.label(), sensor].map(str::as_bytes), 1.0);
    }
}

/// `hwmon0` and `temp1` of sysinfo's `hwmon0_1`; another system's identifier is the chip, and its only sensor `temp1`.
fn chip_and_sensor(id: &str) -> (&str, String) {
    match id.rsplit_once('_') {
        Some((chip, number))
            if !chip.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) && !number.is_empty() =>
        {
            (chip, format!("temp{number}"))
        }
        _ => (id, "temp1".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Runner;

    fn runner() -> Runner<Portable> {
        Runner::new(Portable::new(&PortableConfig::default(), &Roots::default()))
    }

    fn value(lines: &[String], series: &str) -> f64 {
        let found = lines.iter().find_map(|l| l.strip_prefix(series)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no {series} in {lines:#?}")).parse().unwrap()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn on_linux_it_agrees_with_the_kernel_files() {
        let (lines, result) = runner().run();
        result.unwrap();
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
        let kilobytes = |field: &str| -> f64 {
            let line = meminfo.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':')).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        assert_eq!(value(&lines, "node_memory_MemTotal_bytes"), kilobytes("MemTotal") * 1024.0);
        let total = kilobytes("MemTotal") * 1024.0;
        for field in ["MemFree", "MemAvailable", "SwapTotal", "SwapFree"] {
            let got = value(&lines, &format!("node_memory_{field}_bytes"));
            assert!((got - kilobytes(field) * 1024.0).abs() < 0.1 * total, "{field}: {got}");
        }
        let loads = std::fs::read_to_string("/proc/loadavg").unwrap();
        let load15: f64 = loads.split(' ').nth(2).unwrap().parse().unwrap();
        assert!((value(&lines, "node_load15") - load15).abs() < 0.5);
        let boot = std::fs::read_to_string("/proc/stat").unwrap();
        let boot: f64 = boot.lines().find_map(|l| l.strip_prefix("btime ")?.parse().ok()).unwrap();
        assert!((value(&lines, "node_boot_time_seconds") - boot).abs() <= 1.0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn on_linux_its_network_counters_are_those_of_proc_net_dev() {
        let lines = runner().run().0;
        let dev = std::fs::read_to_string("/proc/net/dev").unwrap();
        for line in dev.lines().skip(2) {
            let (device, counters) = line.split_once(':').unwrap();
            let counters: Vec<f64> = counters.split_whitespace().map(|c| c.parse().unwrap()).collect();
            let series = format!("node_network_receive_bytes_total{{device=\"{}\"}}", device.trim());
            // It may have received more in between.
            let got = value(&lines, &series);
            assert!(got <= counters[0] && got >= 0.9 * counters[0] - 1e6, "{series} {got} {}", counters[0]);
        }
    }

    #[test]
    fn cpu_use_is_a_ratio_from_the_second_run_on() {
        let mut runner = runner();
        assert!(!runner.run().0.iter().any(|l| l.starts_with("watchfire_cpu")));
        std::thread::sleep(sysinfo::MINIMUM_CPU_UPDATE_INTERVAL);
        let lines = runner.run().0;
        assert!((0.0..=1.0).contains(&value(&lines, "watchfire_cpu_usage_ratio")));
        assert!((0.0..=1.0).contains(&value(&lines, "watchfire_cpu_core_usage_ratio{cpu=\"0\"}")));
    }

    #[test]
    fn the_root_filesystem_and_this_very_process_are_seen() {
        let (section, _) = runner().section();
        let types: Vec<_> = section.layout.families().map(|(f, _)| format!("{} {}", f.name, f.kind.as_str())).collect();
        let lines = crate::collect::testing::lines(&section);
        assert!(lines.iter().any(|l| l.starts_with("namedprocess_namegroup_num_procs{")), "{lines:#?}");
        for expected in ["namedprocess_namegroup_cpu_seconds_total counter", "node_network_receive_bytes_total counter"]
        {
            assert!(types.iter().any(|t| t == expected), "{types:?}");
        }
    }

    #[test]
    fn parts_that_are_off_are_not_read() {
        let config = PortableConfig { networks: false, processes: false, disks: false, ..PortableConfig::default() };
        let (lines, _) = Runner::new(Portable::new(&config, &Roots::default())).run();
        for part in ["node_network_", "namedprocess_", "node_filesystem_", "node_disk_"] {
            assert!(!lines.iter().any(|l| l.starts_with(part)), "{part}");
        }
    }

    #[test]
    fn components_become_chips_and_sensors() {
        assert_eq!(chip_and_sensor("hwmon0_12"), ("hwmon0", "temp12".to_string()));
        assert_eq!(chip_and_sensor("thermal_zone0"), ("thermal_zone0", "temp1".to_string()));
        assert_eq!(chip_and_sensor("TC0P"), ("TC0P", "temp1".to_string()));
    }
}
