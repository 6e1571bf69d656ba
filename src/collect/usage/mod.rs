//! The ready-made gauges: utilisation, saturation and errors of each resource, from what the other collectors just read.
//!
//! Nothing is read here: the numbers come from the sections of `cpu`, `meminfo`, `pressure`, `filesystem`, `diskstats`,
//! `netdev`, `netclass`, `errors` and `edac` of the same tick, so that a simple threshold
//! (`watchfire_memory_usage_ratio > 0.9`) needs no PromQL, and agrees with the rest.
//!
//! | metric | labels | unit |
//! | --- | --- | --- |
//! | `watchfire_cpu_usage_ratio` | | share of all CPUs that was neither idle nor waiting for I/O, 0 to 1 |
//! | `watchfire_cpu_run_queue_ratio` | | tasks that run or wait for a CPU, for each CPU; above 1 some wait |
//! | `watchfire_cpu_throttles_per_second` | | how often cores were slowed down because of heat; absent where that is not counted |
//! | `watchfire_cpu_errors_per_second` | kind: machine_check, corrected, deferred | hardware errors per second |
//! | `watchfire_{cpu,memory,io}_pressure_ratio` | | share of the time in which some task waited for it (PSI), 0 to 1 |
//! | `watchfire_memory_usage_ratio` | | 1 - MemAvailable / MemTotal |
//! | `watchfire_memory_errors_per_second` | kind: correctable, uncorrectable | errors per second; absent without ECC memory |
//! | `watchfire_swap_usage_ratio` | | 1 - SwapFree / SwapTotal; absent without swap |
//! | `watchfire_filesystem_usage_ratio` | device, fstype, mountpoint | used / (used + available), as `df` shows it |
//! | `watchfire_disk_busy_ratio` | device | share of the time in which the disk had something to do, 0 to 1 |
//! | `watchfire_disk_queue_length` | device | operations that were waiting or under way, on average |
//! | `watchfire_disk_{read,write}_latency_seconds` | device | time that an operation took, on average; absent while there is none |
//! | `watchfire_disk_errors_per_second` | device, kind: io, timeout, bus, raid | errors per second, where the device counts them |
//! | `watchfire_network_{receive,transmit}_{bytes,packets}_per_second` | device | per second |
//! | `watchfire_network_usage_ratio` | device | the busier direction's share of the link's speed, where that is known |
//! | `watchfire_network_{errors,drops}_per_second` | device | packets in both directions, per second |

mod errors;
mod network;
mod source;

use std::sync::Arc;
use std::time::Instant;

use self::errors::Errors;
use self::network::Network;
use self::source::{Entry, Rates, Source};
use super::Sampling;
use super::window::Window;
use crate::model::{Layout, Section, Writer};

/// A measured share, to a hundredth of a per cent: what stands behind that is noise, which reads badly and does not
/// compress.
pub(super) fn ratio(share: f64) -> f64 {
    (share * 1e4).round() / 1e4
}

/// A rate or a time to so many parts of its unit, for the same reason.
fn round(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

/// State between ticks: positions and the last counters.
#[derive(Default)]
pub(super) struct Usage {
    cpu: CpuUsage,
    run_queue: Source,
    pressure: Rates,
    memory: Source,
    filesystems: Source,
    disks: Rates,
    network: Network,
    errors: Errors,
}

#[derive(Default)]
struct CpuUsage {
    layout: Option<Arc<Layout>>,
    busy: Vec<usize>,
    idle: Vec<usize>,
    cpus: usize,
    base: Option<(f64, f64)>,
    window: Window,
    ratio: Option<f64>,
}

const MEMORY: [&str; 4] = [
    "node_memory_MemTotal_bytes",
    "node_memory_MemAvailable_bytes",
    "node_memory_SwapTotal_bytes",
    "node_memory_SwapFree_bytes",
];
const FILESYSTEM: [&str; 3] =
    ["node_filesystem_size_bytes", "node_filesystem_free_bytes", "node_filesystem_avail_bytes"];
const PRESSURE: [&str; 3] = [
    "node_pressure_cpu_waiting_seconds_total",
    "node_pressure_memory_waiting_seconds_total",
    "node_pressure_io_waiting_seconds_total",
];
const PRESSURE_RATIOS: [(&str, &str); 3] = [
    ("watchfire_cpu_pressure_ratio", "Share of the time since the last tick in which some task waited for a CPU."),
    ("watchfire_memory_pressure_ratio", "Share of the time since the last tick in which some task waited for memory."),
    ("watchfire_io_pressure_ratio", "Share of the time since the last tick in which some task waited for I/O."),
];
const DISK: [&str; 6] = [
    "node_disk_io_time_seconds_total",
    "node_disk_io_time_weighted_seconds_total",
    "node_disk_reads_completed_total",
    "node_disk_read_time_seconds_total",
    "node_disk_writes_completed_total",
    "node_disk_write_time_seconds_total",
];

impl Usage {
    /// Writes the gauges of this tick from the sections of the collectors.
    pub fn write(&mut self, sections: &[Arc<Section>], sampling: Sampling, out: &mut Writer) {
        let of = |name: &str| sections.iter().find(|s| s.name == name);
        if let Some(section) = of("cpu") {
            self.cpu.write(section, sampling, out);
            self.errors.write_throttles(section, sampling, out);
        }
        if let Some(section) = of("stat").filter(|_| self.cpu.cpus > 0) {
            self.run_queue.update(section, &["node_procs_running"], &[]);
            write_run_queue(&self.run_queue, self.cpu.cpus, section, out);
        }
        if let Some(section) = of("pressure") {
            write_pressure(self.pressure.update(section, &PRESSURE, &[], sampling), out);
        }
        if let Some(section) = of("meminfo").or_else(|| of("portable")) {
            self.memory.update(section, &MEMORY, &[]);
            write_memory(&self.memory, section, out);
        }
        if let Some(section) = of("filesystem").or_else(|| of("portable")) {
            self.filesystems.update(section, &FILESYSTEM, &["device", "fstype", "mountpoint"]);
            write_filesystems(&self.filesystems, section, out);
        }
        if let Some(section) = of("diskstats") {
            write_disks(self.disks.update(section, &DISK, &["device"], sampling), out);
        }
        if let Some(section) = of("netdev").or_else(|| of("portable")) {
            self.network.write(section, of("netclass").map(|s| &**s), sampling, out);
        }
        if let Some(section) = of("errors") {
            self.errors.write(section, sampling, out);
        }
        if let Some(section) = of("edac") {
            self.errors.write_memory(section, sampling, out);
        }
    }
}

impl CpuUsage {
    fn write(&mut self, section: &Section, sampling: Sampling, out: &mut Writer) {
        if !self.layout.as_ref().is_some_and(|l| Arc::ptr_eq(l, &section.layout)) {
            self.busy.clear();
            self.idle.clear();
            self.cpus = 0;
            for (position, series) in section.layout.series().iter().enumerate() {
                let Some(series) = series.as_ref().filter(|s| s.labels.metric_name() == "node_cpu_seconds_total")
                else {
                    continue;
                };
                let mode = series.labels.get("mode");
                self.cpus += usize::from(mode == "idle");
                let idle = matches!(mode, "idle" | "iowait");
                if idle { &mut self.idle } else { &mut self.busy }.push(position);
            }
            self.layout = Some(section.layout.clone());
            self.base = None;
            self.window = Window::default();
        }
        let sum = |positions: &[usize]| positions.iter().filter_map(|p| section.values.get(*p)).sum::<f64>();
        let (busy, idle) = (sum(&self.busy), sum(&self.idle));
        let step = self.window.step(Instant::now(), sampling);
        if let (Some(_), Some((base_busy, base_idle))) = (step.seconds, self.base) {
            let (busy, idle) = (busy - base_busy, idle - base_idle);
            if busy + idle > 0.0 {
                self.ratio = Some(ratio((busy / (busy + idle)).clamp(0.0, 1.0)));
            }
        }
        if step.restart {
            self.base = Some((busy, idle));
        }
        if let Some(ratio) = self.ratio {
            out.gauge(
                "watchfire_cpu_usage_ratio",
                "Share of all CPU time since the last tick that was neither idle nor waiting for I/O.",
                [],
            )
            .put([], ratio);
        }
    }
}

fn write_run_queue(source: &Source, cpus: usize, section: &Section, out: &mut Writer) {
    let Some(running) = source.entries.first().and_then(|e| e.value(section, 0)) else { return };
    let help = "Tasks that run or wait for a CPU, for each CPU; above 1 some wait.";
    out.gauge("watchfire_cpu_run_queue_ratio", help, []).put([], ratio(running / cpus as f64));
}

fn write_pressure(entries: &[Entry], out: &mut Writer) {
    let Some(entry) = entries.first() else { return };
    for (column, (name, help)) in PRESSURE_RATIOS.iter().enumerate() {
        if let Some(share) = entry.rate(column) {
            out.gauge(name, help, []).put([], ratio(share.min(1.0)));
        }
    }
}

fn write_memory(source: &Source, section: &Section, out: &mut Writer) {
    let Some(entry) = source.entries.first() else { return };
    let used = |total: Option<f64>, free: Option<f64>| match (total?, free?) {
        (total, free) if total > 0.0 => Some(ratio((1.0 - free / total).clamp(0.0, 1.0))),
        _ => None,
    };
    if let Some(ratio) = used(entry.value(section, 0), entry.value(section, 1)) {
        out.gauge("watchfire_memory_usage_ratio", "Share of memory that is not available to programs.", [])
            .put([], ratio);
    }
    if let Some(ratio) = used(entry.value(section, 2), entry.value(section, 3)) {
        out.gauge("watchfire_swap_usage_ratio", "Share of swap space in use.", []).put([], ratio);
    }
}

fn write_filesystems(source: &Source, section: &Section, out: &mut Writer) {
    let mut family = out.gauge(
        "watchfire_filesystem_usage_ratio",
        "Share of the filesystem's space for ordinary users that is in use, as df shows it.",
        ["device", "fstype", "mountpoint"],
    );
    for entry in &source.entries {
        let values = (entry.value(section, 0), entry.value(section, 1), entry.value(section, 2));
        let (Some(size), Some(free), Some(available)) = values else { continue };
        let used = size - free;
        if let ([device, fstype, mountpoint], true) = (&entry.labels[..], used + available > 0.0) {
            family.put([device, fstype, mountpoint], ratio((used / (used + available)).clamp(0.0, 1.0)));
        }
    }
}

/// A gauge for each entry that has a value.
fn write_each(
    (name, help): (&'static str, &'static str),
    entries: &[Entry],
    out: &mut Writer,
    value: impl Fn(usize, &Entry) -> Option<f64>,
) {
    let mut family = out.gauge(name, help, ["device"]);
    for (i, entry) in entries.iter().enumerate() {
        if let ([device], Some(value)) = (&entry.labels[..], value(i, entry)) {
            family.put([device], value);
        }
    }
}

fn write_disks(entries: &[Entry], out: &mut Writer) {
    let busy = ("watchfire_disk_busy_ratio", "Share of the time since the last tick in which the disk had work to do.");
    write_each(busy, entries, out, |_, e| Some(ratio(e.rate(0)?.min(1.0))));
    let queue = ("watchfire_disk_queue_length", "Operations waiting or under way, on average since the last tick.");
    write_each(queue, entries, out, |_, e| Some(round(e.rate(1)?, 1e3)));
    for (metric, count, time) in [
        (("watchfire_disk_read_latency_seconds", "Time that a read took, on average since the last tick."), 2, 3),
        (("watchfire_disk_write_latency_seconds", "Time that a write took, on average since the last tick."), 4, 5),
    ] {
        let latency = |_, e: &Entry| {
            let operations = e.rate(count).filter(|n| *n > 0.0)?;
            Some(round(e.rate(time)? / operations, 1e6))
        };
        write_each(metric, entries, out, latency);
    }
}

#[cfg(test)]
mod tests {
    use super::network::NETWORK;
    use super::*;
    use crate::collect::window::SHORTEST;
    use crate::model::{Labels, SeriesTable};

    fn section(name: &'static str, write: impl FnOnce(&mut Writer), writer: &mut Writer) -> Arc<Section> {
        write(writer);
        let (section, _) = writer.finish();
        assert_eq!(section.name, name);
        section
    }

    fn lines(section: &Section) -> Vec<String> {
        (0..section.layout.len())
            .map(|i| format!("{}{}", String::from_utf8_lossy(section.layout.prefix(i)), section.values[i]))
            .collect()
    }

    #[test]
    fn ratios_and_rates_come_from_the_sections_of_the_tick() {
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        let [mut cpu, mut mem, mut fs, mut net] =
            ["cpu", "meminfo", "filesystem", "netdev"].map(|n| Writer::new(n, table.clone(), 100));
        let mut out = Writer::new("usage", table.clone(), 100);
        let mut usage = Usage::default();
        let mut last = Vec::new();
        for tick in 0..2 {
            std::thread::sleep(SHORTEST);
            let t = f64::from(tick);
            let sections = [
                section(
                    "cpu",
                    |w| {
                        let mut f = w.counter("node_cpu_seconds_total", "", ["cpu", "mode"]);
                        f.put([b"0", b"idle"], 100.0 + 3.0 * t).put([b"0", b"user"], 50.0 + t);
                    },
                    &mut cpu,
                ),
                section(
                    "meminfo",
                    |w| {
                        w.gauge(MEMORY[0], "", []).put([], 1000.0);
                        w.gauge(MEMORY[1], "", []).put([], 250.0);
                        w.gauge(MEMORY[2], "", []).put([], 0.0);
                        w.gauge(MEMORY[3], "", []).put([], 0.0);
                    },
                    &mut mem,
                ),
                section(
                    "filesystem",
                    |w| {
                        for (name, value) in FILESYSTEM.iter().zip([100.0, 30.0, 20.0]) {
                            w.gauge(name, "", ["device", "fstype", "mountpoint"])
                                .put([b"/dev/a", b"ext4", b"/"], value);
                        }
                    },
                    &mut fs,
                ),
                section(
                    "netdev",
                    |w| {
                        for name in NETWORK {
                            w.counter(name, "", ["device"]).put([b"eth0"], 1000.0 * t);
                        }
                    },
                    &mut net,
                ),
            ];
            usage.write(&sections, Sampling::Tick, &mut out);
            last = lines(&out.finish().0);
        }
        assert_eq!(last[0], "watchfire_cpu_usage_ratio 0.25");
        assert_eq!(last[1], "watchfire_memory_usage_ratio 0.75");
        assert_eq!(
            last[2],
            "watchfire_filesystem_usage_ratio{device=\"/dev/a\",fstype=\"ext4\",mountpoint=\"/\"} 0.7778"
        );
        assert!(last[3].starts_with("watchfire_network_receive_bytes_per_second{device=\"eth0\"} "), "{last:?}");
        assert_eq!(last.len(), 9, "errors and drops too");
    }

    #[test]
    fn saturation_and_errors_of_each_resource() {
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        let [mut stat, mut cpu, mut psi, mut disk, mut net, mut class, mut errors, mut edac] =
            ["stat", "cpu", "pressure", "diskstats", "netdev", "netclass", "errors", "edac"]
                .map(|n| Writer::new(n, table.clone(), 100));
        let mut out = Writer::new("usage", table.clone(), 100);
        let mut usage = Usage::default();
        let began = Instant::now();
        let mut last = Vec::new();
        for tick in 0..2 {
            std::thread::sleep(SHORTEST);
            // What a counter has made since the first tick when it grows by so much a second.
            let since = if tick == 0 { 0.0 } else { began.elapsed().as_secs_f64() - SHORTEST.as_secs_f64() };
            let grown = |rate: f64| 5.0 + rate * since;
            let cpus = |w: &mut Writer| {
                let mut f = w.counter("node_cpu_seconds_total", "", ["cpu", "mode"]);
                f.put([b"0", b"idle"], grown(1.0)).put([b"1", b"idle"], grown(1.0));
                let mut f = w.counter("node_cpu_core_throttles_total", "", ["package", "core"]);
                f.put([b"0", b"0"], grown(2.0)).put([b"0", b"1"], grown(3.0));
            };
            let errors_of = |w: &mut Writer| {
                let mut f = w.counter("watchfire_disk_errors_total", "", ["device", "kind"]);
                f.put([b"sda", b"io"], grown(6.0)).put([b"sda", b"timeout"], 1.0);
                w.counter("watchfire_cpu_errors_total", "", ["kind"]).put([b"corrected"], grown(9.0));
            };
            let memory_errors = |w: &mut Writer| {
                for (name, rate) in
                    [("node_edac_correctable_errors_total", 8.0), ("node_edac_uncorrectable_errors_total", 0.0)]
                {
                    let mut f = w.counter(name, "", ["controller"]);
                    f.put([b"0"], grown(rate)).put([b"1"], grown(rate));
                }
            };
            let columns = |names: &'static [&'static str], rates: &'static [f64]| {
                move |w: &mut Writer| {
                    for (name, rate) in names.iter().zip(rates) {
                        w.counter(name, "", ["device"]).put([b"x"], grown(*rate));
                    }
                }
            };
            let sections = [
                section(
                    "stat",
                    |w| {
                        w.gauge("node_procs_running", "", []).put([], 3.0);
                    },
                    &mut stat,
                ),
                section("cpu", cpus, &mut cpu),
                section(
                    "pressure",
                    |w| {
                        for name in PRESSURE {
                            w.counter(name, "", []).put([], grown(0.25));
                        }
                    },
                    &mut psi,
                ),
                section("diskstats", columns(&DISK, &[0.5, 4.0, 100.0, 0.2, 0.0, 0.0]), &mut disk),
                section("netdev", columns(&NETWORK, &[1e6, 5e6, 10.0, 20.0, 3.0, 4.0, 0.0, 2.0]), &mut net),
                section(
                    "netclass",
                    |w| {
                        let mut speeds = w.gauge("node_network_speed_bytes", "", ["device"]);
                        speeds.put([b"y"], -1.0).put([b"x"], 1e7);
                    },
                    &mut class,
                ),
                section("errors", errors_of, &mut errors),
                section("edac", memory_errors, &mut edac),
            ];
            usage.write(&sections, Sampling::Tick, &mut out);
            last = lines(&out.finish().0);
        }
        let about = |name: &str, wanted: f64| {
            let line = last.iter().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("{name}: {last:#?}"));
            let value: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            assert!((value / wanted - 1.0).abs() < 0.2, "{line}, wanted {wanted}");
        };
        about("watchfire_cpu_run_queue_ratio", 1.5);
        about("watchfire_memory_pressure_ratio", 0.25);
        about("watchfire_disk_busy_ratio{device=\"x\"}", 0.5);
        about("watchfire_disk_queue_length{device=\"x\"}", 4.0);
        about("watchfire_disk_read_latency_seconds{device=\"x\"}", 0.002);
        assert!(!last.iter().any(|l| l.starts_with("watchfire_disk_write_latency")), "nothing was written: {last:#?}");
        about("watchfire_network_usage_ratio{device=\"x\"}", 0.5);
        about("watchfire_network_errors_per_second{device=\"x\"}", 7.0);
        about("watchfire_network_drops_per_second{device=\"x\"}", 2.0);
        about("watchfire_disk_errors_per_second{device=\"sda\",kind=\"io\"}", 6.0);
        about("watchfire_cpu_errors_per_second{kind=\"corrected\"}", 9.0);
        about("watchfire_memory_errors_per_second{kind=\"correctable\"}", 16.0);
        about("watchfire_cpu_throttles_per_second", 5.0);
        for quiet in [
            "watchfire_disk_errors_per_second{device=\"sda\",kind=\"timeout\"} 0",
            "watchfire_memory_errors_per_second{kind=\"uncorrectable\"} 0",
        ] {
            assert!(last.iter().any(|l| l == quiet), "{quiet}: {last:#?}");
        }
    }

    #[test]
    fn the_rates_of_a_tick_cover_all_of_the_time_since_the_last_whatever_was_asked_for_in_between() {
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        let [mut cpu, mut net] = ["cpu", "netdev"].map(|n| Writer::new(n, table.clone(), 100));
        let mut out = Writer::new("usage", table.clone(), 100);
        let mut usage = Usage::default();
        let mut run = |[busy, idle, bytes]: [f64; 3], sampling: Sampling| {
            let write_cpu = |w: &mut Writer| {
                let mut family = w.counter("node_cpu_seconds_total", "", ["cpu", "mode"]);
                family.put([b"0", b"idle"], idle).put([b"0", b"user"], busy);
            };
            let write_net = |w: &mut Writer| {
                w.counter(NETWORK[0], "", ["device"]).put([b"eth0"], bytes);
            };
            let sections = [section("cpu", write_cpu, &mut cpu), section("netdev", write_net, &mut net)];
            usage.write(&sections, sampling, &mut out);
            out.finish().0.values.to_vec()
        };
        let began = Instant::now();
        assert!(run([0.0, 0.0, 0.0], Sampling::Tick).is_empty());
        std::thread::sleep(SHORTEST);
        assert_eq!(run([1.0, 0.0, 1e9], Sampling::Request)[0], 1.0);
        std::thread::sleep(SHORTEST);
        let tick = run([1.0, 3.0, 1e9], Sampling::Tick);
        let window = began.elapsed().as_secs_f64();
        assert_eq!(tick[0], 0.25);
        let (least, most) = (1e9 / window - 1.0, 1e9 / (2 * SHORTEST).as_secs_f64());
        assert!(tick[1] >= least && tick[1] <= most, "what came before the request counts too: {tick:?}");
        assert_eq!(run([9.0, 3.0, 9e9], Sampling::Request), tick, "moments later: the last rates");
    }
}
