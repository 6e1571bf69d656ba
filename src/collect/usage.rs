//! The ready-made gauges: use as a ratio and rates per second, from what the other collectors just read.
//!
//! Nothing is read here: the numbers come from the sections of `cpu`, `meminfo`, `filesystem` and `netdev` of the same
//! tick, so that a simple threshold (`watchfire_memory_usage_ratio > 0.9`) needs no PromQL, and agrees with the rest.
//!
//! | metric | labels | unit |
//! | --- | --- | --- |
//! | `watchfire_cpu_usage_ratio` | | share of all CPUs that was neither idle nor waiting for I/O, 0 to 1 |
//! | `watchfire_memory_usage_ratio` | | 1 - MemAvailable / MemTotal |
//! | `watchfire_swap_usage_ratio` | | 1 - SwapFree / SwapTotal; absent without swap |
//! | `watchfire_filesystem_usage_ratio` | device, fstype, mountpoint | used / (used + available), as `df` shows it |
//! | `watchfire_network_{receive,transmit}_{bytes,packets}_per_second` | device | per second |

use std::sync::Arc;
use std::time::Instant;

use super::Sampling;
use super::window::Window;
use crate::model::{Layout, METRIC_NAME, Section, Writer};

/// A measured share, to a hundredth of a per cent: what stands behind that is noise, which reads badly and does not
/// compress.
pub(super) fn ratio(share: f64) -> f64 {
    (share * 1e4).round() / 1e4
}

/// The positions in a section of what is derived from, kept as long as its layout stands.
#[derive(Default)]
struct Source {
    layout: Option<Arc<Layout>>,
    entries: Vec<Entry>,
}

/// A group of positions that give one value each tick: a device's columns, or the whole section's.
struct Entry {
    labels: Vec<Vec<u8>>,
    positions: Vec<Option<usize>>,
    /// Of columns that rates are made of: the counters that they are differences from, and the last rates.
    base: [Option<f64>; NETWORK.len()],
    rates: [Option<f64>; NETWORK.len()],
}

impl Source {
    /// Looks the positions up anew when the layout has changed. Series of the families `names` that agree in the labels
    /// `by` make one entry, with a position for each name.
    fn update(&mut self, section: &Section, names: &[&str], by: &[&str]) {
        if self.layout.as_ref().is_some_and(|l| Arc::ptr_eq(l, &section.layout)) {
            return;
        }
        let mut entries: Vec<Entry> = Vec::new();
        let mut index = hashbrown::HashMap::<Vec<Vec<u8>>, usize>::new();
        for (position, series) in section.layout.series().iter().enumerate() {
            let Some(series) = series else { continue };
            let Some(column) = names.iter().position(|n| *n == series.labels.get(METRIC_NAME)) else { continue };
            let labels: Vec<Vec<u8>> = by.iter().map(|n| series.labels.get(n).as_bytes().to_vec()).collect();
            let entry = *index.entry(labels.clone()).or_insert_with(|| {
                let before = self.entries.iter().find(|e| e.labels == labels);
                let (base, rates) = before.map(|e| (e.base, e.rates)).unwrap_or_default();
                entries.push(Entry { labels, positions: vec![None; names.len()], base, rates });
                entries.len() - 1
            });
            if let Some(slot) = entries.get_mut(entry).and_then(|e| e.positions.get_mut(column)) {
                *slot = Some(position);
            }
        }
        self.entries = entries;
        self.layout = Some(section.layout.clone());
    }
}

impl Entry {
    fn value(&self, section: &Section, column: usize) -> Option<f64> {
        section.values.get((*self.positions.get(column)?)?).copied()
    }
}

/// State between ticks: positions and the last counters.
#[derive(Default)]
pub(super) struct Usage {
    cpu: CpuUsage,
    memory: Source,
    filesystems: Source,
    network: Network,
}

#[derive(Default)]
struct CpuUsage {
    layout: Option<Arc<Layout>>,
    busy: Vec<usize>,
    idle: Vec<usize>,
    base: Option<(f64, f64)>,
    window: Window,
    ratio: Option<f64>,
}

#[derive(Default)]
struct Network {
    source: Source,
    /// The last section, and when it was new: it stays the same as long as its collector does not run again.
    current: Option<(Arc<Section>, Instant)>,
    window: Window,
}

const MEMORY: [&str; 4] = [
    "node_memory_MemTotal_bytes",
    "node_memory_MemAvailable_bytes",
    "node_memory_SwapTotal_bytes",
    "node_memory_SwapFree_bytes",
];
const FILESYSTEM: [&str; 3] =
    ["node_filesystem_size_bytes", "node_filesystem_free_bytes", "node_filesystem_avail_bytes"];
const NETWORK: [&str; 4] = [
    "node_network_receive_bytes_total",
    "node_network_transmit_bytes_total",
    "node_network_receive_packets_total",
    "node_network_transmit_packets_total",
];
const NETWORK_RATES: [(&str, &str); 4] = [
    ("watchfire_network_receive_bytes_per_second", "Bytes received per second, since the last tick."),
    ("watchfire_network_transmit_bytes_per_second", "Bytes sent per second, since the last tick."),
    ("watchfire_network_receive_packets_per_second", "Packets received per second, since the last tick."),
    ("watchfire_network_transmit_packets_per_second", "Packets sent per second, since the last tick."),
];

impl Usage {
    /// Writes the gauges of this tick from the sections of the collectors.
    pub fn write(&mut self, sections: &[Arc<Section>], sampling: Sampling, out: &mut Writer) {
        let of = |name: &str| sections.iter().find(|s| s.name == name);
        if let Some(section) = of("cpu") {
            self.cpu.write(section, sampling, out);
        }
        if let Some(section) = of("meminfo").or_else(|| of("portable")) {
            self.memory.update(section, &MEMORY, &[]);
            write_memory(&self.memory, section, out);
        }
        if let Some(section) = of("filesystem").or_else(|| of("portable")) {
            self.filesystems.update(section, &FILESYSTEM, &["device", "fstype", "mountpoint"]);
            write_filesystems(&self.filesystems, section, out);
        }
        if let Some(section) = of("netdev").or_else(|| of("portable")) {
            self.network.write(section, sampling, out);
        }
    }
}

impl CpuUsage {
    fn write(&mut self, section: &Section, sampling: Sampling, out: &mut Writer) {
        if !self.layout.as_ref().is_some_and(|l| Arc::ptr_eq(l, &section.layout)) {
            self.busy.clear();
            self.idle.clear();
            for (position, series) in section.layout.series().iter().enumerate() {
                let Some(series) = series.as_ref().filter(|s| s.labels.metric_name() == "node_cpu_seconds_total")
                else {
                    continue;
                };
                let idle = matches!(series.labels.get("mode"), "idle" | "iowait");
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

impl Network {
    fn write(&mut self, section: &Arc<Section>, sampling: Sampling, out: &mut Writer) {
        self.source.update(section, &NETWORK, &["device"]);
        let now = match &self.current {
            Some((current, at)) if Arc::ptr_eq(current, section) => *at,
            _ => self.current.insert((section.clone(), Instant::now())).1,
        };
        let step = self.window.step(now, sampling);
        for entry in &mut self.source.entries {
            let counters: [_; NETWORK.len()] = std::array::from_fn(|column| entry.value(section, column));
            if let Some(seconds) = step.seconds {
                for ((rate, now), base) in entry.rates.iter_mut().zip(counters).zip(entry.base) {
                    // A counter that went back was reset: its rate is known again at the next tick.
                    let more = now.zip(base).map(|(now, base)| now - base).filter(|more| *more >= 0.0);
                    *rate = more.map(|more| (more / seconds * 10.0).round() / 10.0);
                }
            }
            if step.restart {
                entry.base = counters;
            }
        }
        for (column, (name, help)) in NETWORK_RATES.iter().enumerate() {
            let mut family = out.gauge(name, help, ["device"]);
            for entry in &self.source.entries {
                if let ([device], Some(Some(rate))) = (&entry.labels[..], entry.rates.get(column)) {
                    family.put([device], *rate);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(last.len(), 7);
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
