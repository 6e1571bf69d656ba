//! The sampler: runs the collectors that are due and puts their sections together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lane::{Failure, Lane, PATIENCE, Unit};
use super::usage::Usage;
use super::{Collector, LaneKind};
use crate::model::{Section, SeriesTable, Snapshot, Timestamp, Writer};

/// A collector as it is to be run.
pub struct Planned {
    pub name: &'static str,
    pub collector: Box<dyn Collector>,
    /// All that the collector was made from: one that is planned again from the same goes on where it was.
    pub made_from: String,
    /// How often it runs; at each tick when not longer than that.
    pub interval: Duration,
    /// How long a run may take.
    pub timeout: Duration,
    pub lane: LaneKind,
}

/// When a collector runs next.
struct Schedule {
    interval: Duration,
    next: Option<Instant>,
}

/// What stands in `node_scrape_collector_*` for one collector.
#[derive(Clone, Debug)]
pub struct CollectorStatus {
    pub name: &'static str,
    pub success: bool,
    /// Of the last run that ended.
    pub duration: Duration,
    pub series: usize,
    /// Samples refused in the last run because of the limit of series.
    pub dropped: usize,
    pub error: Option<String>,
}

pub struct Sampler {
    lanes: Vec<PlannedLane>,
    usage: Usage,
    usage_writer: Writer,
    scrape_writer: Writer,
    status: Vec<CollectorStatus>,
    /// Beside each status, what the next tick is held against.
    memory: Vec<Remembered>,
}

/// What is kept of a collector's last run.
#[derive(Default)]
struct Remembered {
    failure: Option<Failure>,
    /// Samples dropped in all runs.
    dropped_total: f64,
    /// What the last run gave: as long as it is the same, the collector has not run again.
    section: Option<Arc<Section>>,
}

impl Sampler {
    /// A sampler of these collectors, each with at most `limit` series.
    pub fn new(planned: Vec<Planned>, table: &Arc<SeriesTable>, limit: usize) -> Sampler {
        Sampler {
            lanes: lanes(planned, table, limit, Vec::new()),
            usage: Usage::default(),
            usage_writer: Writer::new("usage", table.clone(), limit),
            scrape_writer: Writer::new("scrape", table.clone(), limit),
            status: Vec::new(),
            memory: Vec::new(),
        }
    }

    /// Other collectors, after a reload. One on a lane of its own that is made from the same as before stays, with the
    /// counters that it has built up (a process group's must not go back).
    pub fn replace(&mut self, planned: Vec<Planned>, table: &Arc<SeriesTable>, limit: usize) {
        let before = std::mem::take(&mut self.lanes);
        let usage = std::mem::take(&mut self.usage);
        *self =
            Sampler { lanes: lanes(planned, table, limit, before), usage, ..Sampler::new(Vec::new(), table, limit) };
    }

    /// Runs what is due and gives the samples of this moment.
    ///
    /// `all`: every collector runs, and each is waited for until its deadline, as a single sampling wants it; a tick
    /// runs those whose interval has passed, and takes from a lane that is late what it gave before.
    pub fn sample(&mut self, time: Timestamp, all: bool) -> Snapshot {
        let taken = Instant::now();
        for PlannedLane { lane, schedules, .. } in &mut self.lanes {
            lane.start(schedules.iter_mut().enumerate().filter_map(|(i, s)| s.is_due(taken, all).then_some(i)));
        }
        for (i, PlannedLane { lane, .. }) in self.lanes.iter_mut().enumerate() {
            // The shared lane is waited for until its deadlines: they are short, and an overrun leaves one behind.
            let patience = if all || i == 0 { Duration::from_secs(3600) } else { PATIENCE };
            lane.wait(taken + patience);
        }
        let sections = self.gather();
        Snapshot { time, taken, sections }
    }

    /// How each collector fared in its last run.
    pub fn status(&self) -> &[CollectorStatus] {
        &self.status
    }

    fn gather(&mut self) -> Vec<Arc<Section>> {
        let mut sections = Vec::with_capacity(self.status.len() + 4);
        let mut seen = 0;
        let Sampler { status, memory, .. } = self;
        for PlannedLane { lane, .. } in &self.lanes {
            lane.outcomes(|name, stuck, outcome| {
                if status.len() <= seen {
                    status.push(CollectorStatus {
                        name,
                        success: false,
                        duration: Duration::ZERO,
                        series: 0,
                        dropped: 0,
                        error: None,
                    });
                    memory.push(Remembered::default());
                }
                let (Some(entry), Some(before)) = (status.get_mut(seen), memory.get_mut(seen)) else { return };
                seen += 1;
                match outcome {
                    Some(outcome) if !stuck => {
                        entry.success = outcome.error.is_none();
                        entry.duration = outcome.duration;
                        entry.series = outcome.section.values.len();
                        entry.dropped = outcome.stats.dropped;
                        if before.dropped_total == 0.0 && entry.dropped > 0 {
                            tracing::warn!(
                                collector = name,
                                kept = entry.series,
                                dropped = entry.dropped,
                                "more series than global.collector_series_limit: the rest is dropped"
                            );
                        }
                        if !before.section.as_ref().is_some_and(|s| Arc::ptr_eq(s, &outcome.section)) {
                            before.dropped_total += outcome.stats.dropped as f64;
                            before.section = Some(outcome.section.clone());
                        }
                        let error = outcome.error.as_ref().map(|f| f.message.as_str());
                        if entry.error.as_deref() != error {
                            entry.error = error.map(str::to_string);
                        }
                        if before.failure != outcome.error {
                            log_change(name, outcome.error.as_ref());
                            before.failure.clone_from(&outcome.error);
                        }
                        sections.push(outcome.section.clone());
                    }
                    _ => {
                        entry.success = false;
                        entry.series = 0;
                        if stuck {
                            entry.error = Some("hangs: left out until it comes back".to_string());
                            before.failure = None;
                        }
                    }
                }
            });
        }
        self.usage.write(&sections, &mut self.usage_writer);
        sections.push(self.usage_writer.finish().0);
        sections.push(self.scrape_section());
        sections
    }

    fn scrape_section(&mut self) -> Arc<Section> {
        let out = &mut self.scrape_writer;
        let mut family = out.gauge(
            "node_scrape_collector_duration_seconds",
            "How long the collector's last run took, in seconds.",
            ["collector"],
        );
        for s in &self.status {
            // To the microsecond: digits behind that are noise, and cost memory in history.
            family.put([s.name.as_bytes()], s.duration.as_micros() as f64 / 1e6);
        }
        let mut family = out.gauge(
            "node_scrape_collector_success",
            "Whether the collector's last run succeeded: 0 also while it hangs and is left out.",
            ["collector"],
        );
        for s in &self.status {
            family.put([s.name.as_bytes()], f64::from(u8::from(s.success)));
        }
        let mut family = out.counter(
            "watchfire_collector_dropped_samples_total",
            "Samples refused because the collector reached its limit of series.",
            ["collector"],
        );
        for (s, before) in self.status.iter().zip(&self.memory) {
            family.put([s.name.as_bytes()], before.dropped_total);
        }
        out.finish().0
    }
}

/// The lanes for these collectors; `before` are those to take over from.
fn lanes(
    planned: Vec<Planned>,
    table: &Arc<SeriesTable>,
    limit: usize,
    mut before: Vec<PlannedLane>,
) -> Vec<PlannedLane> {
    let (mut shared, mut slow) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    let mut lanes = Vec::new();
    for p in planned {
        let schedule = Schedule { interval: p.interval, next: None };
        let same = before.iter().position(|lane| p.lane == LaneKind::Own && lane.is_of(p.name, &p.made_from));
        if let Some(mut lane) = same.map(|i| before.swap_remove(i)) {
            lane.schedules = vec![schedule];
            lane.lane.set_deadline(p.timeout);
            lanes.push(lane);
            continue;
        }
        let writer = Writer::new(p.name, table.clone(), limit);
        let unit = Unit { name: p.name, collector: p.collector, writer, table: table.clone(), limit };
        match p.lane {
            LaneKind::Shared => {
                shared.0.push((unit, p.timeout));
                shared.1.push(schedule);
            }
            LaneKind::Slow => {
                slow.0.push((unit, p.timeout));
                slow.1.push(schedule);
            }
            LaneKind::Own => lanes.push(PlannedLane {
                lane: Lane::new(p.name, vec![(unit, p.timeout)]),
                schedules: vec![schedule],
                made_from: Some((p.name, p.made_from)),
            }),
        }
    }
    lanes.insert(0, PlannedLane { lane: Lane::new("host", shared.0), schedules: shared.1, made_from: None });
    if !slow.0.is_empty() {
        lanes.push(PlannedLane { lane: Lane::new("slow", slow.0), schedules: slow.1, made_from: None });
    }
    lanes
}

/// A lane and when its collectors are due.
struct PlannedLane {
    lane: Lane,
    schedules: Vec<Schedule>,
    /// The collector of a lane of its own, and what it was made from.
    made_from: Option<(&'static str, String)>,
}

impl PlannedLane {
    fn is_of(&self, name: &str, made_from: &str) -> bool {
        self.made_from.as_ref().is_some_and(|(n, from)| *n == name && from == made_from)
    }
}

impl Schedule {
    fn is_due(&mut self, now: Instant, all: bool) -> bool {
        // A little early is in time: ticks come with some jitter.
        const SLACK: Duration = Duration::from_millis(5);
        match self.next {
            Some(next) if !all && now + SLACK < next => false,
            _ => {
                self.next = Some(now + self.interval);
                true
            }
        }
    }
}

fn log_change(collector: &str, error: Option<&Failure>) {
    match error {
        None => tracing::info!(collector, "collector works again"),
        Some(Failure { message, no_data: true }) => tracing::debug!(collector, "{message}"),
        Some(Failure { message, no_data: false }) => tracing::warn!(collector, "collector failed: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::collect::CollectError;
    use crate::model::Labels;

    struct Plain(f64);
    impl Collector for Plain {
        fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
            self.0 += 1.0;
            out.gauge("runs", "Runs.", []).put([], self.0);
            Ok(())
        }
    }

    struct Hangs(mpsc::Receiver<()>);
    impl Collector for Hangs {
        fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
            self.0.recv().map_err(|e| CollectError::Other(e.to_string()))?;
            out.gauge("came_back", "Came back.", []).put([], 1.0);
            Ok(())
        }
    }

    struct Panics;
    impl Collector for Panics {
        fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
            out.gauge("half", "Half.", []).put([], 1.0);
            panic!("on purpose");
        }
    }

    fn planned(name: &'static str, collector: Box<dyn Collector>, lane: LaneKind) -> Planned {
        Planned {
            name,
            collector,
            made_from: name.to_string(),
            interval: Duration::ZERO,
            timeout: Duration::from_millis(50),
            lane,
        }
    }

    fn value(snapshot: &Snapshot, line: &str) -> Option<f64> {
        snapshot.sections.iter().find_map(|s| {
            let i = (0..s.layout.len()).find(|i| s.layout.prefix(*i).trim_ascii_end() == line.as_bytes())?;
            s.values.get(i).copied()
        })
    }

    fn success(snapshot: &Snapshot, name: &str) -> Option<f64> {
        value(snapshot, &format!("node_scrape_collector_success{{collector=\"{name}\"}}"))
    }

    #[test]
    fn a_hanging_collector_is_left_out_and_comes_back_while_the_others_go_on() {
        for lane in [LaneKind::Shared, LaneKind::Slow, LaneKind::Own] {
            let (release, wait) = mpsc::channel();
            let table = Arc::new(SeriesTable::new(Labels::empty()));
            let plans = vec![
                planned("hangs", Box::new(Hangs(wait)), lane),
                planned("plain", Box::new(Plain(0.0)), LaneKind::Shared),
            ];
            let mut sampler = Sampler::new(plans, &table, 100);
            for run in 1..=4 {
                let snapshot = sampler.sample(Timestamp::now(), false);
                assert_eq!(value(&snapshot, "runs"), Some(f64::from(run)), "{lane:?}");
                assert_eq!(success(&snapshot, "hangs"), Some(0.0));
                assert_eq!(success(&snapshot, "plain"), Some(1.0));
            }
            let started = Instant::now();
            sampler.sample(Timestamp::now(), false);
            assert!(started.elapsed() < Duration::from_millis(45), "a tick is not delayed by what is known to hang");
            release.send(()).unwrap();
            release.send(()).unwrap();
            release.send(()).unwrap();
            let back = (0..100).any(|_| {
                std::thread::sleep(Duration::from_millis(5));
                let snapshot = sampler.sample(Timestamp::now(), false);
                value(&snapshot, "came_back") == Some(1.0) && success(&snapshot, "hangs") == Some(1.0)
            });
            assert!(back, "{lane:?}");
            let status = sampler.status().iter().find(|s| s.name == "hangs").unwrap();
            assert_eq!(status.error, None, "what came back is no longer said to hang");
        }
    }

    #[test]
    fn samples_past_the_limit_are_counted_once_a_run_however_many_ticks_there_are() {
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        let mut plan = planned("plain", Box::new(Plain(0.0)), LaneKind::Shared);
        plan.interval = Duration::from_secs(3600);
        let mut sampler = Sampler::new(vec![plan], &table, 0);
        for _ in 0..3 {
            sampler.sample(Timestamp::now(), false);
        }
        assert_eq!(sampler.memory[0].dropped_total, 1.0);
        sampler.sample(Timestamp::now(), true);
        assert_eq!(sampler.memory[0].dropped_total, 2.0);
    }

    #[test]
    fn after_a_reload_what_is_made_from_the_same_goes_on_where_it_was() {
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        let plan = |from: &str| Planned {
            made_from: from.to_string(),
            ..planned("plain", Box::new(Plain(0.0)), LaneKind::Own)
        };
        let mut sampler = Sampler::new(vec![plan("a")], &table, 100);
        assert_eq!(value(&sampler.sample(Timestamp::now(), true), "runs"), Some(1.0));
        sampler.replace(vec![plan("a")], &table, 100);
        assert_eq!(value(&sampler.sample(Timestamp::now(), true), "runs"), Some(2.0));
        sampler.replace(vec![plan("b")], &table, 100);
        assert_eq!(value(&sampler.sample(Timestamp::now(), true), "runs"), Some(1.0));
    }

    #[test]
    fn a_panic_stops_neither_the_collector_nor_the_others() {
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        let mut plans = vec![
            planned("panics", Box::new(Panics), LaneKind::Shared),
            planned("plain", Box::new(Plain(0.0)), LaneKind::Shared),
        ];
        // Printing a panic's backtrace takes its time.
        plans[0].timeout = Duration::from_secs(30);
        let mut sampler = Sampler::new(plans, &table, 100);
        for run in 1..=3 {
            let snapshot = sampler.sample(Timestamp::now(), true);
            assert_eq!((success(&snapshot, "panics"), success(&snapshot, "plain")), (Some(0.0), Some(1.0)));
            assert_eq!(value(&snapshot, "runs"), Some(f64::from(run)));
        }
        assert!(sampler.status()[0].error.as_deref().is_some_and(|e| e.contains("panicked")));
    }

    #[test]
    fn a_collector_with_an_interval_runs_only_when_it_is_due() {
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        let mut plan = planned("plain", Box::new(Plain(0.0)), LaneKind::Shared);
        plan.interval = Duration::from_secs(3600);
        let mut sampler = Sampler::new(vec![plan], &table, 100);
        for _ in 0..3 {
            assert_eq!(value(&sampler.sample(Timestamp::now(), false), "runs"), Some(1.0));
        }
        assert_eq!(value(&sampler.sample(Timestamp::now(), true), "runs"), Some(2.0));
    }
}
