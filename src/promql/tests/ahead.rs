//! What is read ahead, kept from step to step or left out changes no result, to the bit.

use std::sync::Arc;
use std::time::Duration;

use crate::history::{History, HistoryLimits, Matcher, Thinning, stale_marker};
use crate::model::{Labels, Series, SeriesTable, Timestamp};
use crate::promql::functions::{self, Kind, Window};
use crate::promql::plan::Extent;
use crate::promql::{EvalOptions, Query, Value};

/// A small generator, so that every run has the same data.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n.max(1)
    }
}

/// How the values of a series go on.
const COURSES: &[fn(f64, &mut Random) -> f64] = &[
    // A counter that begins anew now and then, at a border of chunks or elsewhere.
    |v, r| if r.below(400) == 0 { 0.0 } else { v + r.below(5000) as f64 },
    |v, _| v + 3.0,
    |v, r| if r.below(700) == 0 { v + 1.0 } else { v },
    |v, r| v + r.below(3001) as f64 - 1500.0,
    |_, r| r.below(1000) as f64 / (r.below(50) + 1) as f64,
    |_, r| [0.0, -0.0, 1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -3.5][r.below(7) as usize],
    // Long runs of nothing but NaN or one zero.
    |v, r| match r.below(500) {
        0 => f64::NAN,
        1 => -0.0,
        2 => 0.0,
        _ => v,
    },
    // A counter that NaN hides the falls of.
    |v, r| match r.below(60) {
        0 => f64::NAN,
        _ if v.is_nan() => r.below(100) as f64,
        _ => v + 1.0,
    },
];

struct World {
    history: History,
    table: SeriesTable,
}

impl World {
    /// Series `x{n=...}` with that many samples about a second apart, gaps and staleness markers among them. They end in
    /// the 10,000th second.
    fn new(seed: u64, samples: i64) -> World {
        let limits = HistoryLimits { retention: Duration::from_secs(1 << 30), max_bytes: 1 << 30, max_series: 1000 };
        let mut world = World { history: History::new(limits), table: SeriesTable::new(Labels::empty()) };
        let mut random = Random(seed);
        for (n, next) in COURSES.iter().enumerate() {
            let series = world.series("x", n);
            let mut time = 10_000_000 - samples * 1000;
            let mut value = random.below(1000) as f64;
            while time < 10_000_000 {
                let is_stale = random.below(150) == 0;
                value = next(value, &mut random);
                let stored = if is_stale { stale_marker() } else { value };
                world.history.append(&series, Timestamp::from_millis(time), stored);
                time += match random.below(100) {
                    0 => 400_000,
                    1 => 30_000,
                    n if n < 20 => 1 + n as i64 * 100,
                    _ => 1000,
                };
            }
        }
        world
    }

    fn series(&self, name: &str, n: usize) -> Arc<Series> {
        self.table.intern(Labels::from_pairs([("__name__", name), ("n", &n.to_string())]))
    }
}

/// Values to the bit.
type Exact = Vec<(String, i64, u64)>;

fn exact(value: &Value) -> Exact {
    let mut out = Vec::new();
    match value {
        Value::Scalar(v) => out.push((String::new(), 0, v.to_bits())),
        Value::String(_) => {}
        Value::Vector(v) => out.extend(v.iter().map(|s| (s.labels.to_string(), s.time.as_millis(), s.value.to_bits()))),
        Value::Matrix(m) => {
            for s in m {
                out.extend(s.points.iter().map(|p| (s.labels.to_string(), p.time, p.value.to_bits())));
            }
        }
    }
    out
}

fn evaluated(query: &Query, history: &History, at: i64) -> Value {
    query
        .instant(history, Timestamp::from_millis(at), &EvalOptions::default())
        .unwrap_or_else(|e| panic!("{query:?}: {e}"))
}

/// The results at each time by itself, in the order of a matrix.
fn one_by_one(query: &Query, history: &History, times: impl Iterator<Item = i64>) -> Exact {
    let mut out: Exact = Vec::new();
    for at in times {
        let value = evaluated(query, history, at);
        out.extend(exact(&value).into_iter().map(|(labels, _, bits)| (labels, at, bits)));
    }
    out.sort();
    out
}

fn in_one(query: &Query, history: &History, (start, end, step): (i64, i64, i64)) -> Exact {
    let (from, to) = (Timestamp::from_millis(start), Timestamp::from_millis(end));
    let step = Duration::from_millis(step.unsigned_abs());
    let value = query.range(history, from, to, step, &EvalOptions::default());
    let mut out = exact(&value.unwrap_or_else(|e| panic!("{query:?}: {e}")));
    out.sort();
    out
}

const RANGE_FUNCTIONS: &[&str] = &[
    "absent_over_time",
    "avg_over_time",
    "changes",
    "count_over_time",
    "delta",
    "deriv",
    "first_over_time",
    "idelta",
    "increase",
    "irate",
    "last_over_time",
    "mad_over_time",
    "max_over_time",
    "min_over_time",
    "present_over_time",
    "rate",
    "resets",
    "stddev_over_time",
    "sum_over_time",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
    "integral",
];

fn expressions() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for function in RANGE_FUNCTIONS {
        for range in
            ["x[1m]", "x[5m]", "x[7s] offset 20s", "x[2m] offset -1m", "x[3m] @ 9500", "x[90s:7s]", "x{n=\"0\"}[40m]"]
        {
            all.push(format!("{function}({range})"));
        }
    }
    let others = [
        "x",
        "x offset 1m",
        "x offset -30s",
        "x @ 9600",
        "x{n=\"1\"} @ 9600 offset 5m",
        "timestamp(x)",
        "timestamp(x @ 9600 offset 1m)",
        "-x",
        "x > 100",
        "sum(x)",
        "count by (n) (rate(x[1m]))",
        "x + on (n) rate(x[1m])",
        "absent(x{n=\"9\"})",
        "predict_linear(x[2m], 60)",
        "predict_linear(x[2m] @ 9500, 60)",
        "quantile_over_time(0.3, x[2m])",
        "quantile_over_time(scalar(x{n=\"4\"}) % 1, x[1m])",
        "clamp_max(x, scalar(x{n=\"1\"}))",
        "double_exponential_smoothing(x[2m], 0.3, 0.4)",
        "integral(x[2m], 1)",
        "{n=~\"0|1\"}",
        "rate({n=\"1\"}[1m])",
        "increase(x[2m] anchored)",
        "changes(x[2m] anchored)",
        "rate(x[1m] smoothed)",
        "delta(x[1m] smoothed offset 10s)",
        "x smoothed",
        "max_over_time(rate(x[1m])[3m:10s])",
        "min_over_time(x[5m:30s] offset 1m)",
        "sum_over_time(x[2m:11s] @ 9500)",
        "count_over_time((x > 100)[4m:20s])",
        "avg_over_time(max_over_time(x[1m:5s])[5m:30s])",
        "sum_over_time(count_over_time(rate(x[30s])[2m:10s])[3m:40s] offset -40s)",
        "max_over_time((x @ 9500)[5m:1m])",
        "last_over_time(count_values(\"v\", x{n=\"6\"})[3m:15s])",
        "rate(x[1m:10s]) + on (n) x",
        "max_over_time(x[10s:3s])",
        "sum_over_time((x offset 1m)[1m:9s])",
        "present_over_time(x[30s:1s] offset 2m)",
    ];
    all.extend(others.map(str::to_string));
    all
}

#[test]
fn a_range_query_gives_what_each_of_its_steps_gives_alone() {
    let world = World::new(0x1234_5678, 3000);
    for (i, text) in expressions().iter().enumerate() {
        let query = Query::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let grids = [(9_400_000, 9_520_000, 1000), (9_100_500, 10_100_500, 15_000), (7_000_000, 10_400_000, 200_000)];
        // Another of them for each expression; the longest is slow without optimization.
        let (start, end, step) = grids[i % 3];
        let alone = one_by_one(&query, &world.history, (start..=end).step_by(step as usize));
        let together = in_one(&query, &world.history, (start, end, step));
        assert!(together == alone, "{text} from {start} to {end} every {step}");
    }
}

#[test]
fn a_subquery_gives_what_each_of_its_steps_gives_alone() {
    let world = World::new(0x9876_5432, 2000);
    for text in expressions().iter().skip(3).step_by(4) {
        let inner = Query::parse(text).unwrap();
        let query = Query::parse(&format!("({text})[6m:12s]")).unwrap();
        let mut together = exact(&evaluated(&query, &world.history, 9_700_500));
        together.sort();
        let times = (9_340_500i64 / 12_000 + 1) * 12_000..=9_700_500;
        assert!(together == one_by_one(&inner, &world.history, times.step_by(12_000)), "{text}");
    }
}

#[test]
fn a_query_with_little_room_gives_the_same_as_long_as_there_is_any() {
    let world = World::new(0x5555_1234, 2000);
    let (start, end) = (Timestamp::from_millis(9_000_000), Timestamp::from_millis(9_990_000));
    for text in ["x", "rate(x[5m])", "max_over_time(rate(x[1m])[3m:10s])"] {
        let query = Query::parse(text).unwrap();
        let range = |options: &EvalOptions| query.range(&world.history, start, end, Duration::from_secs(10), options);
        let whole = exact(&range(&EvalOptions::default()).unwrap());
        let few = |max_samples| EvalOptions { max_samples, ..EvalOptions::default() };
        let rooms = [few(900), few(1400), few(4000), EvalOptions { max_bytes: 90_000, ..EvalOptions::default() }];
        let results: Vec<Value> = rooms.iter().filter_map(|options| range(options).ok()).collect();
        assert!(results.len() > 1, "{text}");
        assert!(results.iter().all(|value| exact(value) == whole), "{text}");
    }
}

#[test]
fn what_a_function_can_do_without_does_not_change_its_result() {
    let mut random = Random(77);
    for seed in 1..6 {
        let world = World::new(seed * 0x1357_9bdf, 40_000);
        for series in world.history.select(&[Matcher::equal("__name__", "x")]) {
            for round in 0..12 {
                let at = |seconds| Timestamp::from_millis(10_000_000 - seconds * 1000);
                // Twice the same, so that a summary that is there already is tried too.
                let (start, end) = match round % 3 {
                    0 => (at(50_000), at(-1)),
                    _ => (at(10_000 + random.below(30_000) as i64), at(random.below(9000) as i64)),
                };
                let mut all = Vec::new();
                series.read(start, end, &mut all);
                for name in functions::names() {
                    let function = functions::find(name).unwrap();
                    let Kind::Range { function, thinning, .. } = function.kind else { continue };
                    let mut kept = Vec::new();
                    let count = series.read_thinned(start, end, thinning, &mut kept);
                    assert_eq!((count, kept.is_empty()), (all.len(), all.is_empty()), "{name}");
                    if thinning == Thinning::No || all.is_empty() {
                        continue;
                    }
                    let (start, end) = (start.as_millis(), end.as_millis());
                    let whole =
                        Window { points: &all, count, extent: Extent::Range, start, end, now: end, parameter: 0.5 };
                    let thinned = Window { points: &kept, ..whole };
                    let bits = |v: Option<f64>| v.map(f64::to_bits);
                    assert_eq!(bits(function(&thinned)), bits(function(&whole)), "{name} of {}", series.labels());
                }
            }
        }
    }
}

#[test]
fn a_long_range_is_not_read_again_at_each_evaluation() {
    let world = World::new(99, 200_000);
    let query = Query::parse("min_over_time(x{n=\"3\"}[3d])").unwrap();
    let time = |query: &Query| {
        let began = std::time::Instant::now();
        let value = exact(&evaluated(query, &world.history, 10_000_000));
        (value, began.elapsed())
    };
    let (first, long) = time(&query);
    let (again, short) = (0..5).map(|_| time(&query)).min_by_key(|(_, took)| *took).unwrap();
    assert_eq!(first, again);
    assert!(short < long / 4, "{short:?} after {long:?}");
}
