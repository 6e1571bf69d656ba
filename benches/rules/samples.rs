//! Samples, a second apart, for a history and as OpenMetrics text.

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use watchfire::collect::process::ProcessesConfig;
use watchfire::collect::{CollectorsConfig, Roots, Sampler, Sampling};
use watchfire::history::History;
use watchfire::model::{Labels, METRIC_NAME, SeriesTable, Timestamp};

/// How a series goes on.
#[derive(Clone, Copy)]
enum Course {
    Constant,
    /// By so much at most each second.
    Counter(u64),
    /// Around its value, by so much at most each second.
    Gauge(f64),
}

/// Series with one sample a second.
pub struct Samples {
    start: Timestamp,
    seconds: u32,
    series: Vec<(Labels, f64, Course)>,
}

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

fn device(name: &str, i: usize) -> Labels {
    let device = format!("device{i}");
    Labels::from_pairs([(METRIC_NAME, name), ("job", "node"), ("instance", "host:9100"), ("device", &device)])
}

fn gauge(i: usize) -> (Labels, f64, Course) {
    (device("memory_bytes", i), 1e9 + i as f64 * 4096.0, Course::Gauge(400.0 * 4096.0))
}

impl Samples {
    /// So many counters `requests_total` and as many gauges `memory_bytes`.
    pub fn counters_and_gauges(start: Timestamp, seconds: u32, count: usize) -> Samples {
        let counter = |i| (device("requests_total", i), i as f64 * 1e6, Course::Counter(2_000));
        Samples { start, seconds, series: (0..count).map(counter).chain((0..count).map(gauge)).collect() }
    }

    /// One gauge `memory_bytes`.
    pub fn one_gauge(start: Timestamp, seconds: u32) -> Samples {
        Samples { start, seconds, series: vec![gauge(0)] }
    }

    /// The series that a sampling of this host has; counters and gauges go on from their values.
    pub fn of_this_host(start: Timestamp, seconds: u32) -> Samples {
        let target = Labels::from_pairs([("job", "node"), ("instance", "host:9100")]);
        let table = Arc::new(SeriesTable::new(target));
        let planned = CollectorsConfig::default().plan(&ProcessesConfig::default(), &Roots::default());
        let mut sampler = Sampler::new(planned, &table, 100_000);
        let mut series = Vec::new();
        let mut random = Random(7);
        for section in &sampler.sample(Timestamp::now(), Sampling::Once).sections {
            for (series_of, value) in section.layout.series().iter().zip(&section.values) {
                let Some(one) = series_of else { continue };
                let name = one.labels.metric_name();
                // What stands still on an idle host stands still here.
                let course = match random.below(3) {
                    0 if name.ends_with("_total") => Course::Counter((value / 1e4) as u64 + 2),
                    0 => Course::Gauge((value / 100.0).round()),
                    _ => Course::Constant,
                };
                series.push((one.labels.clone(), *value, course));
            }
        }
        series.push((
            Labels::from_pairs([(METRIC_NAME, "up"), ("job", "node"), ("instance", "host:9100")]),
            1.0,
            Course::Constant,
        ));
        Samples { start, seconds, series }
    }

    /// Each sample, series by series, until `end`.
    fn each(&self, end: Timestamp, mut take: impl FnMut(&Labels, Timestamp, f64)) {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for (labels, first, course) in &self.series {
            let mut value = *first;
            for second in 0..self.seconds {
                let time = self.start + Duration::from_secs(second.into());
                if time > end {
                    break;
                }
                take(labels, time, value);
                value += match course {
                    Course::Constant => 0.0,
                    Course::Counter(most) => random.below(*most) as f64,
                    Course::Gauge(most) => ((random.below(2001) as f64 - 1000.0) / 1000.0 * most).round(),
                };
            }
        }
    }

    pub fn fill(&self, history: &mut History, table: &SeriesTable, now: Timestamp) {
        let mut current = None;
        // Some seconds further, as the evaluations go on after `now`.
        self.each(now + Duration::from_secs(60), |labels, time, value| {
            let series = match &current {
                Some((of, series)) if of == labels => Arc::clone(series),
                _ => table.intern(labels.clone()),
            };
            history.append(&series, time, value);
            current = Some((labels.clone(), series));
        });
    }

    pub fn write_openmetrics(&self, path: &Path) -> std::io::Result<()> {
        let mut out = BufWriter::new(std::fs::File::create(path)?);
        let mut line = String::new();
        let mut failed = None;
        self.each(self.start + Duration::from_secs(self.seconds.into()), |labels, time, value| {
            line.clear();
            let name = labels.metric_name();
            let pairs: Vec<String> = labels
                .iter()
                .filter(|(n, _)| *n != METRIC_NAME)
                .map(|(n, v)| format!("{n}=\"{}\"", v.escape_default()))
                .collect();
            let _ = writeln!(line, "{name}{{{}}} {value:?} {}", pairs.join(","), time.as_millis() / 1000);
            if let Err(error) = out.write_all(line.as_bytes()) {
                failed = Some(error);
            }
        });
        out.write_all(b"# EOF\n")?;
        out.flush()?;
        failed.map_or(Ok(()), Err)
    }
}
