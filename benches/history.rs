//! What history costs: appending a tick of 2,000 series, bytes per sample, and rules evaluated over it.
//!
//! `cargo bench --bench history` works on made-up series of the kinds a host has; `-- --real SECONDS` samples this
//! host's /proc once a second instead, for that long; `-- --many SERIES` appends a few ticks of so many.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use watchfire::history::{DiskMetrics, History, HistoryLimits, Matcher, Place};
use watchfire::model::{Labels, Section, SeriesTable, Snapshot, Timestamp, Writer};
use watchfire::promql::{EvalOptions, Query, Value};

const START: i64 = 1_700_000_000_000;

fn history() -> History {
    let day = Duration::from_secs(86_400);
    History::new(HistoryLimits { retention: day, max_bytes: 1 << 30, max_series: 1 << 20 })
}

fn snapshot(time: i64, section: Arc<Section>) -> Snapshot {
    Snapshot { time: Timestamp::from_millis(time), sections: vec![section], ..Snapshot::empty() }
}

/// A small generator, so that every run has the same data.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Zero or one in `n`, else as many as comes.
    fn seldom(&mut self, n: u64, most: u64) -> u64 {
        if self.below(n) == 0 { self.below(most) } else { 0 }
    }
}

/// A kind of series, how many of it a host of 2,000 series has, and its next value.
type Step = fn(f64, &mut Random) -> f64;
const KINDS: &[(&str, usize, Step)] = &[
    ("constant", 1050, |v, _| v),
    ("seldom_total", 250, |v, r| v + r.seldom(30, 5) as f64),
    ("node_cpu_seconds_total", 200, |v, r| ((v * 100.0).round() + r.below(30) as f64) / 100.0),
    ("bytes_total", 150, |v, r| v + r.seldom(3, 40_000) as f64),
    ("sectors_bytes_total", 60, |v, r| v + (r.seldom(4, 300) * 512) as f64),
    ("memory_bytes", 100, |v, r| (v + (r.seldom(2, 400) as f64 - 100.0) * 4096.0).max(0.0)),
    ("count_total", 100, |v, r| v + 800.0 + r.below(300) as f64),
    ("load", 40, |v, r| ((v * 100.0).round() + r.seldom(5, 9) as f64 - 0.0).rem_euclid(800.0) / 100.0),
    ("ratio", 50, |_, r| r.below(200) as f64 / (r.below(20) + 190) as f64),
];

struct Host {
    writer: Writer,
    values: Vec<(usize, f64)>,
    random: Random,
}

impl Host {
    fn new() -> Host {
        let table = Arc::new(SeriesTable::new(Labels::from_pairs([("job", "node"), ("instance", "host:9100")])));
        let values =
            KINDS.iter().enumerate().flat_map(|(k, (_, n, _))| (0..*n).map(move |i| (k, (i * 37 % 4096) as f64)));
        Host { writer: Writer::new("bench", table, 1 << 20), values: values.collect(), random: Random(0x9e37_79b9) }
    }

    fn tick(&mut self) -> Arc<Section> {
        for (kind, value) in &mut self.values {
            *value = KINDS[*kind].2(*value, &mut self.random);
        }
        let mut at = self.values.iter();
        for (name, count, _) in KINDS {
            let mut family = self.writer.counter(name, "", ["device", "mode"]);
            for i in 0..*count {
                let device = format!("dev{}", i / 8);
                let mode = format!("mode{}", i % 8);
                family.put([device.as_bytes(), mode.as_bytes()], at.next().map_or(0.0, |v| v.1));
            }
        }
        self.writer.finish().0
    }
}

/// Fills a history; returns it, its last time, and the mean and longest time of an append.
fn fill(ticks: i64, mut next: impl FnMut() -> Arc<Section>) -> (History, i64, Duration, Duration) {
    let mut history = history();
    let (mut total, mut longest) = (Duration::ZERO, Duration::ZERO);
    let mut time = START;
    for i in 0..ticks {
        let section = next();
        time = START + i * 1000;
        let snapshot = snapshot(time, section);
        let begin = Instant::now();
        history.append_snapshot(&snapshot);
        let took = begin.elapsed();
        if i > 0 {
            total += took;
            longest = longest.max(took);
        }
    }
    let begin = Instant::now();
    history.gc(Timestamp::from_millis(time));
    println!("gc                          {:>10.1?}", begin.elapsed());
    (history, time, total / (ticks - 1).max(1) as u32, longest)
}

/// The same two hours, written to the disk as they come, and read again.
fn on_disk() {
    let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let metrics = DiskMetrics::register(&prometheus::Registry::new()).unwrap_or_else(|e| panic!("{e}"));
    let place = Place { dir: dir.path().join("history"), metrics: metrics.clone() };
    let mut host = Host::new();
    let mut history = history();
    history.open(&place, &SeriesTable::new(Labels::empty()), Timestamp::from_millis(START));
    let clock = Instant::now();
    let (mut appends, mut slices) = (Vec::new(), Vec::new());
    let ticks = 7200;
    for i in 0..ticks {
        let snapshot = snapshot(START + i * 1000, host.tick());
        let begin = Instant::now();
        history.append_snapshot(&snapshot);
        appends.push(begin.elapsed());
        let begin = Instant::now();
        history.persist(clock + Duration::from_secs(i as u64));
        slices.push(begin.elapsed());
        // Here two hours take seconds: the disk has not the time that it has else.
        while metrics.unwritten.get() > 50_000 {
            std::thread::yield_now();
        }
    }
    history.close();
    println!("\nthe same, written to the disk");
    for (what, mut times) in [("append one tick", appends), ("write heads, between ticks", slices)] {
        let mean = times.iter().sum::<Duration>() / times.len() as u32;
        times.sort_unstable();
        let (most, longest) = (times[times.len() * 99 / 100], times[times.len() - 1]);
        println!("{what:<27} {mean:>10.1?}   of a hundred {most:.1?}, longest {longest:.1?}");
    }
    println!("written                     {:>10.2} KB a second", metrics.written.get() as f64 / ticks as f64 / 1e3);
    println!("on the disk                 {:>10.2} MB", metrics.size.get() as f64 / 1e6);
    let now = Timestamp::from_millis(START + ticks * 1000);
    for _ in 0..3 {
        let mut again = self::history();
        let begin = Instant::now();
        again.open(&place, &SeriesTable::new(Labels::empty()), now);
        println!("read at the start           {:>10.1?}   {} samples", begin.elapsed(), again.stats().samples);
        assert_eq!(again.stats().samples, history.stats().samples);
    }
}

/// Ticks of a great many series.
fn many(series: usize) {
    let table = Arc::new(SeriesTable::new(Labels::from_pairs([("job", "node"), ("instance", "host:9100")])));
    let mut writer = Writer::new("many", table, series);
    let names: Vec<String> = (0..series).map(|i| i.to_string()).collect();
    for most in [50_000, series] {
        let mut history = History::new(HistoryLimits { max_series: most, ..HistoryLimits::default() });
        let before = resident();
        let mut times = Vec::new();
        for tick in 0..30 {
            let mut family = writer.gauge("many", "", ["device"]);
            for (i, name) in names.iter().enumerate() {
                family.put([name.as_bytes()], (tick * (i % 7)) as f64);
            }
            let snapshot = snapshot(START + tick as i64 * 1000, writer.finish().0);
            let begin = Instant::now();
            history.append_snapshot(&snapshot);
            times.push(begin.elapsed());
        }
        let stats = history.stats();
        println!(
            "{series} series offered, {most} allowed: {} kept; first tick {:.1?}, another {:.1?}; {:.0} bytes a series, {:.1} MB resident",
            stats.series,
            times[0],
            times[1..].iter().sum::<Duration>() / 29,
            stats.bytes as f64 / stats.series as f64,
            (resident() - before) / 1e6
        );
    }
}

fn report(history: &History, mean: Duration, longest: Duration) {
    let s = history.stats();
    let per_sample = s.bytes as f64 / s.samples as f64;
    println!("series                      {:>10}", s.series);
    println!("append one tick             {mean:>10.1?}   longest {longest:.1?}   limit 1 ms");
    println!("append one sample           {:>10.1?}", mean / s.series.max(1) as u32);
    println!("chunks                      {:>10}", s.chunks);
    println!("memory                      {:>10.2} MB", s.bytes as f64 / 1e6);
    println!("bytes a sample              {per_sample:>10.3}   aim 1.5, ratio {:.2}", per_sample / 1.5);
}

/// Resident memory of this process in bytes; `/proc/self/statm`, field 2.
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()).unwrap_or(0.0) * 4096.0
}

const RULES: &[&str] = &[
    "memory_bytes > 1e12",
    "100 * (1 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"mode3\"}[1m]))) > 90",
    "sum by (device) (rate(bytes_total[5m])) > 1e9",
    "predict_linear(memory_bytes{mode=\"mode0\"}[1h], 4 * 3600) < 0 and memory_bytes{mode=\"mode0\"} < 1e6",
    "memory_bytes{mode=\"mode1\"} / on (device) memory_bytes{mode=\"mode2\"} > 5",
    "max_over_time(load{device=\"dev1\"}[10m]) > 9",
    "count(seldom_total{device=~\"dev(1|2|3)\"} offset 5m) > 100",
    "absent(load{device=\"dev0\", mode=\"mode0\"})",
];

fn rules(history: &History, now: i64) {
    println!("\none evaluation at the newest sample:");
    let at = Timestamp::from_millis(now);
    let options = EvalOptions::default();
    let mut total = Duration::ZERO;
    for text in RULES {
        let query = match Query::parse(text) {
            Ok(query) => query,
            Err(e) => panic!("{text}: {e}"),
        };
        let _ = query.instant(history, at, &options);
        let rounds = 200;
        let begin = Instant::now();
        for _ in 0..rounds {
            if let Err(e) = black_box(query.instant(history, at, &options)) {
                panic!("{text}: {e}");
            }
        }
        let took = begin.elapsed() / rounds;
        total += took;
        println!("  {took:>10.1?}  {text}");
    }
    let share = total.as_secs_f64() / RULES.len() as f64 * 35.0 * 100.0;
    println!("35 such rules a second      {share:>10.3} % of a core");

    let query = Query::parse("sum by (device) (rate(bytes_total[5m]))").unwrap_or_else(|e| panic!("{e}"));
    let begin = Instant::now();
    let value = query.range(history, at - Duration::from_secs(3600), at, Duration::from_secs(15), &options);
    let points = match value {
        Ok(Value::Matrix(m)) => m.iter().map(|s| s.points.len()).sum::<usize>(),
        other => panic!("{other:?}"),
    };
    println!("range, 150 series, 241 steps {:>9.1?}   {points} points", begin.elapsed());
    let begin = Instant::now();
    let found = history.select(&[Matcher::equal("mode", "mode3"), Matcher::not_equal("device", "dev1")]).len();
    println!("select {found:<5} of all series  {:>9.1?}", begin.elapsed());
}

const FILES: &[&str] = &[
    "/proc/vmstat",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/net/dev",
    "/proc/net/snmp",
    "/proc/net/sockstat",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/pressure/cpu",
    "/proc/pressure/io",
    "/proc/softirqs",
    "/proc/uptime",
];

/// Every number in the files, by file, line and column.
fn real_section(writer: &mut Writer) -> Arc<Section> {
    let mut seen: HashMap<String, f64> = HashMap::new();
    let mut order = Vec::new();
    for file in FILES {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        for (line, words) in text.lines().enumerate() {
            for (column, word) in words.split([' ', '\t', ':', '=']).enumerate() {
                if let Ok(value) = word.parse::<f64>() {
                    let unit = if words.ends_with(" kB") { 1024.0 } else { 1.0 };
                    let key = format!("{file}:{line}:{column}");
                    seen.insert(key.clone(), value * unit);
                    order.push(key);
                }
            }
        }
    }
    let mut family = writer.gauge("real", "", ["place"]);
    for key in order {
        family.put([key.as_bytes()], seen.get(&key).copied().unwrap_or(0.0));
    }
    writer.finish().0
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let real = arguments.iter().position(|a| a == "--real").and_then(|i| arguments.get(i + 1)?.parse::<i64>().ok());
    if let Some(seconds) = real {
        let mut writer = Writer::new("real", Arc::new(SeriesTable::new(Labels::empty())), 1 << 20);
        let (history, _, mean, longest) = fill(seconds, || {
            std::thread::sleep(Duration::from_secs(1));
            real_section(&mut writer)
        });
        report(&history, mean, longest);
        return;
    }
    let many_series = arguments.iter().position(|a| a == "--many").and_then(|i| arguments.get(i + 1)?.parse().ok());
    if let Some(series) = many_series {
        return many(series);
    }
    let mut host = Host::new();
    let before = resident();
    let (history, now, mean, longest) = fill(7200, || host.tick());
    println!("two hours of 2,000 series, one sample a second");
    report(&history, mean, longest);
    println!("resident memory gained      {:>10.2} MB", (resident() - before) / 1e6);
    for (name, ..) in KINDS {
        let series = history.select(&[Matcher::equal("__name__", name)]);
        let bytes: usize = series.iter().map(|s| s.size()).sum();
        println!("  {name:<24}  {:>10.3} bytes a sample", bytes as f64 / (series.len() * 7200) as f64);
    }
    rules(&history, now);
    on_disk();
}
