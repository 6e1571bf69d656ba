//! 20,000 series to text: ours against `prometheus::TextEncoder` on the same data, in the same run.
//!
//! Prints the CPU time of the thread per page, the ratio, and the allocations of a page in a steady state. Aim of
//! DESIGN.md: at most 1/5 of the encoder's CPU. Its cost of gathering the families out of a registry, which ours has no
//! equivalent of, is left out, and so would make the ratio only better.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prometheus::proto::{Counter, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};
use rustix::time::{ClockId, clock_gettime};
use watchfire::exposition::{Format, Pages};
use watchfire::model::{Labels, SeriesTable, Snapshot, Timestamp, Writer};

const FAMILIES: usize = 200;
const SERIES: usize = 100;
const ROUNDS: u32 = 60;
/// Of both, the best of this many is compared: other programs on the machine make only the slower ones slower.
const REPEATS: usize = 7;

/// Counts the allocations of the program.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes unchanged to the system's allocator, which keeps the contract; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a host counts: bytes and events, seconds in hundredths, ratios, and numbers that stay zero.
fn value(family: usize, series: usize) -> f64 {
    let n = (family * SERIES + series) as f64;
    match family % 4 {
        0 => (n * 7_919_357.0).floor(),
        1 => (n * 1234.57).floor() / 100.0,
        2 => (n + 1.0).recip(),
        _ => 0.0,
    }
}

fn name(family: usize) -> String {
    format!("node_something_{family:03}_transmit_bytes_total")
}

fn labels(series: usize) -> [(&'static str, String); 3] {
    [("cpu", (series % 16).to_string()), ("device", format!("eth{series}")), ("mode", "transmit".to_string())]
}

const HELP: &str = "Something of a network device that is counted in bytes.";

fn snapshot() -> Snapshot {
    let mut writer = Writer::new("bench", Arc::new(SeriesTable::new(Labels::empty())), FAMILIES * SERIES);
    for family in 0..FAMILIES {
        let name = name(family);
        let mut out = writer.counter(&name, HELP, ["cpu", "device", "mode"]);
        for series in 0..SERIES {
            let labels = labels(series);
            out.put([0, 1, 2].map(|i: usize| labels[i].1.as_bytes()), value(family, series));
        }
    }
    Snapshot { time: Timestamp::default(), taken: Instant::now(), sections: vec![writer.finish().0] }
}

fn families() -> Vec<MetricFamily> {
    let metric = |family, series| {
        let pairs = labels(series).map(|(name, text)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_string());
            pair.set_value(text);
            pair
        });
        let mut metric = Metric::from_label(pairs.to_vec());
        let mut counter = Counter::default();
        counter.set_value(value(family, series));
        metric.set_counter(counter);
        metric
    };
    let family = |family| {
        let mut message = MetricFamily::default();
        message.set_name(name(family));
        message.set_help(HELP.to_string());
        message.set_field_type(MetricType::COUNTER);
        message.set_metric((0..SERIES).map(|series| metric(family, series)).collect());
        message
    };
    (0..FAMILIES).map(family).collect()
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// CPU time of one run of `work`.
fn measure(work: &mut dyn FnMut()) -> Duration {
    let start = cpu();
    (0..ROUNDS).for_each(|_| work());
    (cpu() - start) / ROUNDS
}

fn main() {
    let (snapshot, families, pages) = (snapshot(), families(), Pages::new());
    let encoder = TextEncoder::new();
    let mut size = 0;
    let mut ours = || {
        let page = pages.encode(&snapshot, Format::Text).expect("text has no errors");
        size = black_box(page).len();
    };
    let mut their_size = 0;
    let mut theirs = || {
        // As exporters do it: a buffer that keeps its capacity would help it by a few percent.
        let mut page = Vec::new();
        encoder.encode(&families, &mut page).expect("the families are complete");
        their_size = black_box(page).len();
    };

    let (mut our_best, mut their_best) = (Duration::MAX, Duration::MAX);
    for _ in 0..REPEATS {
        our_best = our_best.min(measure(&mut ours));
        their_best = their_best.min(measure(&mut theirs));
    }
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    ours();
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;

    let series = FAMILIES * SERIES;
    let each = |d: Duration| d.as_secs_f64() * 1e9 / series as f64;
    println!("{series} series to text, thread CPU time, best of {REPEATS}:");
    println!("  watchfire               {our_best:>10.2?}  {:>6.1} ns a series  {size} bytes", each(our_best));
    println!(
        "  prometheus::TextEncoder {their_best:>10.2?}  {:>6.1} ns a series  {their_size} bytes",
        each(their_best)
    );
    println!(
        "  ratio                   {:>10.3}  (aim: at most 0.2)",
        our_best.as_secs_f64() / their_best.as_secs_f64()
    );
    println!("  allocations a page      {allocations:>10}");
}
