//! Allocations of a steady tick, counted: sampling, and history with what it writes to the disk.
//!
//! `cargo bench --bench steady` prints them beside the number of series: in a steady tick none is made per series.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{ALLOCATIONS, Counting};
use watchfire::collect::process::ProcessesConfig;
use watchfire::collect::{CollectError, Collector, CollectorsConfig, LaneKind, Planned, Roots, Sampler, Sampling};
use watchfire::history::{DiskMetrics, History, HistoryLimits, Place};
use watchfire::model::{Labels, SeriesTable, Timestamp, Writer};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// As many series as asked for, each with a value that moves.
struct Many {
    devices: Vec<String>,
    tick: f64,
}

impl Collector for Many {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        self.tick += 1.0;
        let mut family = out.counter("many_total", "Many.", ["device"]);
        for device in &self.devices {
            family.put([device.as_bytes()], self.tick);
        }
        Ok(())
    }
}

fn main() {
    let table = || Arc::new(SeriesTable::new(Labels::from_pairs([("job", "node")])));
    println!("allocations in one steady tick (median of 100)");
    for count in [1_000, 10_000, 100_000] {
        let devices = (0..count).map(|i| format!("device{i}")).collect();
        let plan = Planned {
            name: "many",
            collector: Box::new(Many { devices, tick: 0.0 }),
            made_from: String::new(),
            interval: Duration::ZERO,
            timeout: Duration::from_secs(10),
            lane: LaneKind::Shared,
            wanted: false,
            top: None,
        };
        let table = table();
        report(&format!("{count} synthetic series"), Sampler::new(vec![plan], &table, 1_000_000));
    }
    let table = table();
    let plans = CollectorsConfig::default().plan(&ProcessesConfig::default(), &Roots::default());
    report("this host", Sampler::new(plans, &table, 1_000_000));
}

fn report(what: &str, mut sampler: Sampler) {
    let mut history = History::new(HistoryLimits { max_series: 1_000_000, ..HistoryLimits::default() });
    let dir = tempfile::tempdir().expect("a temporary directory");
    let metrics = DiskMetrics::register(&prometheus::Registry::new()).expect("a fresh registry");
    let place = Place { dir: dir.path().join("history"), metrics: metrics.clone() };
    history.open(&place, &SeriesTable::new(Labels::empty()), Timestamp::now());
    let start = Timestamp::now();
    let mut sampling = Vec::new();
    let mut storing = Vec::new();
    let mut series = 0;
    for tick in 0..120u64 {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let snapshot = sampler.sample(start + Duration::from_secs(tick), Sampling::Tick);
        let between = ALLOCATIONS.load(Ordering::Relaxed);
        history.append_snapshot(&snapshot);
        let after = ALLOCATIONS.load(Ordering::Relaxed);
        history.persist(std::time::Instant::now());
        while metrics.unwritten.get() > 0 {
            std::thread::yield_now();
        }
        series = snapshot.len();
        if tick >= 20 {
            sampling.push(between - before);
            storing.push(after - between);
        }
    }
    sampling.sort_unstable();
    storing.sort_unstable();
    println!(
        "  {what:<26} {series:>7} series: sampling {:>5}, history {:>5}",
        sampling[sampling.len() / 2],
        storing[storing.len() / 2]
    );
}
