//! Range queries as a dashboard asks for them: an hour of 150 series. Beside them stands what their steps cost when each is
//! a query of its own, which shows what is gained by reading samples once.

use std::sync::Arc;
use std::time::Duration;

use super::samples::Samples;
use super::server::Server;
use super::thread_cpu;
use watchfire::history::{History, HistoryLimits};
use watchfire::model::{Labels, SeriesTable, Timestamp};
use watchfire::promql::{EvalOptions, Query};

/// How often each query is asked.
const TIMES: u32 = 10;

const QUERIES: &[(&str, &str, u64)] = &[
    ("rate, 15 s steps", "rate(requests_total[5m])", 15),
    ("gauge, 15 s steps", "memory_bytes", 15),
    ("rate, 1 s steps", "rate(requests_total[5m])", 1),
    ("gauge, 1 s steps", "memory_bytes", 1),
    ("max of a rate, 15 s", "max_over_time(rate(requests_total[1m])[10m:15s])", 15),
];

pub fn measure(now: Timestamp, server: Option<&Server>) {
    let hour = Duration::from_secs(3600);
    let samples = Samples::counters_and_gauges(now - hour - Duration::from_secs(700), 3600 + 700, 150);
    let day = Duration::from_secs(86_400);
    let mut history = History::new(HistoryLimits { retention: day, max_bytes: 1 << 30, max_series: 1 << 20 });
    samples.fill(&mut history, &Arc::new(SeriesTable::new(Labels::empty())), now);
    let server = server.map(|server| server.start(&samples));
    for (name, text, step) in QUERIES {
        let query = Query::parse(text).expect("a query");
        let (start, step) = (now - hour, Duration::from_secs(*step));
        let before = thread_cpu();
        for _ in 0..TIMES {
            query.range(&history, start, now, step, &EvalOptions::default()).expect("a result");
        }
        let ours = (thread_cpu() - before) / f64::from(TIMES);
        let before = thread_cpu();
        let mut at = start;
        while at <= now {
            query.instant(&history, at, &EvalOptions::default()).expect("a result");
            at = at + step;
        }
        let alone = thread_cpu() - before;
        print!("{name:<20} {:>8.3} ms (its steps alone {:.3} ms)", ours * 1e3, alone * 1e3);
        match &server {
            Some(server) => {
                let theirs = server.cpu_of_a_range(text, (start, now, step), TIMES);
                println!("; Prometheus {:>8.3} ms; ratio {:.3} (aim 0.5)", theirs * 1e3, ours / theirs);
            }
            None => println!(),
        }
    }
}
