//! Random series such as hosts have, and worse.

use std::time::Duration;

use watchfire::history::{History, HistoryLimits, is_stale_marker, stale_marker};
use watchfire::model::{Labels, SeriesTable, Timestamp};

use super::random::Random;

/// The last sample's time, in milliseconds.
pub const END: i64 = 1_800_000;

/// The next value of a series, from its last one.
type Next = fn(&mut Random, f64) -> f64;

pub struct Series {
    pub labels: Labels,
    pub points: Vec<(i64, f64)>,
}

pub struct Data {
    pub series: Vec<Series>,
}

impl Data {
    pub fn random(random: &mut Random) -> Data {
        let mut data = Data { series: Vec::new() };
        for instance in ["a:9100", "b:9100", "c10:9100"] {
            for code in ["200", "404", "500"] {
                let labels = [("__name__", "requests_total"), ("instance", instance), ("job", "web"), ("code", code)];
                data.add(&labels, 15_000, random, counter);
            }
            for mode in ["user", "idle"] {
                let labels = [("__name__", "cpu_seconds_total"), ("instance", instance), ("mode", mode)];
                data.add(&labels, 1_000, random, counter);
            }
            let gauges: [(&str, Next); 4] =
                [("memory_bytes", walk), ("temperature", wild), ("load", small), ("flag", flag)];
            for (name, kind) in gauges {
                data.add(&[("__name__", name), ("instance", instance), ("job", "web")], 15_000, random, kind);
            }
            data.histogram(instance, random);
            let version = random.pick(&["1.0", "1.1"]);
            let labels = [
                ("__name__", "target_info"),
                ("instance", instance),
                ("job", "web"),
                ("version", version),
                ("dc", "x"),
            ];
            data.add(&labels, 60_000, random, |_, _| 1.0);
        }
        data.add(
            &[("__name__", "build_info"), ("instance", "a:9100"), ("job", "web"), ("go", "1.2")],
            60_000,
            random,
            one,
        );
        data.add(&[("__name__", "size_bytes"), ("job", "web")], 30_000, random, walk);
        data.add(&[("__name__", "größe.bytes"), ("étage", "2"), ("job", "web")], 15_000, random, walk);
        data.add(&[("__name__", "größe.bytes"), ("étage", "10"), ("job", "db")], 15_000, random, walk);
        data.add(&[("__name__", "rare"), ("x", "1")], 400_000, random, small);
        data.add(&[("__name__", "dates"), ("x", "1")], 60_000, random, |r, _| r.unit() * 4e9 - 1e9);
        data.add(&[("__name__", "dates"), ("x", "2")], 60_000, random, |r, _| (r.unit() - 0.5) * 2e19);
        data
    }

    fn add(
        &mut self,
        labels: &[(&str, &str)],
        interval: i64,
        random: &mut Random,
        next: impl Fn(&mut Random, f64) -> f64,
    ) {
        // Scrapes are never quite on time, and some series come late or go early.
        let jitter = if random.one_in(2) { 1 } else { interval / 10 };
        let from = if random.one_in(6) { random.below(END as usize) as i64 } else { 0 };
        let from = if interval < 15_000 { from.max(END - 400_000) } else { from };
        let to = if random.one_in(6) { random.below(END as usize) as i64 } else { END };
        let mut points: Vec<(i64, f64)> = Vec::new();
        let (mut value, mut gap) = (random.below(5) as f64, 0);
        let mut time = from;
        while time <= to {
            let at = time + random.below(jitter as usize) as i64;
            time += interval;
            if gap > 0 {
                gap -= 1;
                continue;
            }
            if random.one_in(60) {
                gap = random.below(30);
                if random.one_in(2) {
                    points.push((at, stale_marker()));
                    continue;
                }
            }
            value = next(random, value);
            points.push((at, value));
        }
        self.series.push(Series { labels: Labels::from_pairs(labels.iter().copied()), points });
    }

    fn histogram(&mut self, instance: &str, random: &mut Random) {
        let bounds: &[&str] = match random.below(5) {
            0 => &["0.1", "0.5", "1"],
            1 => &["-1", "0", "1", "+Inf", "oops"],
            2 => &["0.1", "1", "1.0", "+Inf"],
            _ => &["0.1", "0.5", "1", "2.5", "+Inf"],
        };
        for bound in bounds {
            let scale = bound.parse::<f64>().unwrap_or(1.0).clamp(0.0, 10.0);
            let labels = [("__name__", "latency_bucket"), ("instance", instance), ("job", "web"), ("le", bound)];
            // Mostly in order of their bounds, not always.
            self.add(&labels, 15_000, random, move |r, v| (v + scale + r.unit() * 0.3).floor());
        }
    }

    pub fn history(&self) -> History {
        let table = SeriesTable::new(Labels::empty());
        let limits = HistoryLimits { retention: Duration::MAX, max_bytes: usize::MAX, max_series: usize::MAX };
        let mut history = History::new(limits);
        for s in &self.series {
            let series = table.intern(s.labels.clone());
            for (time, value) in &s.points {
                history.append(&series, Timestamp::from_millis(*time), *value);
            }
        }
        history
    }

    /// For the peer.
    pub fn json(&self) -> serde_json::Value {
        let text = |v: f64| if is_stale_marker(v) { "stale".to_string() } else { format!("{v:e}") };
        let series = self.series.iter().map(|s| {
            let labels: serde_json::Map<_, _> =
                s.labels.iter().map(|(n, v)| (n.to_string(), v.to_string().into())).collect();
            let points = s.points.iter().map(|(t, v)| serde_json::json!({"t": t, "v": text(*v)}));
            serde_json::json!({"labels": labels, "points": points.collect::<Vec<_>>()})
        });
        serde_json::json!({"series": series.collect::<Vec<_>>()})
    }
}

fn counter(random: &mut Random, value: f64) -> f64 {
    match random.below(100) {
        0 => 0.0,
        1..20 => value,
        n if n % 2 == 0 => value + random.below(1000) as f64,
        _ => value + random.unit(),
    }
}

fn walk(random: &mut Random, value: f64) -> f64 {
    value + (random.unit() - 0.5) * 1e6
}

fn small(random: &mut Random, _: f64) -> f64 {
    random.below(4) as f64
}

fn flag(random: &mut Random, value: f64) -> f64 {
    if random.one_in(20) { 1.0 - value.min(1.0) } else { value.min(1.0) }
}

fn one(_: &mut Random, _: f64) -> f64 {
    1.0
}

fn wild(random: &mut Random, value: f64) -> f64 {
    match random.below(30) {
        0 => f64::NAN,
        1 => f64::INFINITY,
        2 => f64::NEG_INFINITY,
        3 => 1.7e308,
        4 => -1.7e308,
        // Smaller ones have no logarithm in Go.
        5 => 2.3e-308,
        6 => -0.0,
        7 => 1e16,
        _ if value.is_finite() && value.abs() < 1e6 => value + (random.unit() - 0.5) * 10.0,
        _ => random.unit() * 100.0 - 50.0,
    }
}
