//! The sampler: runs the collectors that are due and puts their sections together.

use std::mem::take;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lane::{Failure, Lane, Limits, PATIENCE, Unit};
use super::process::TopProcesses;
use super::usage::Usage;
use super::{Collector, LaneKind, Sampling};
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
    /// It is off unless somebody switches it on: whoever has done so expects that it finds something.
    pub wanted: bool,
    /// The list of the top processes, of the collector that makes it.
    pub top: Option<TopProcesses>,
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
    /// How old the result of that run is; `None` for one that runs in every tick.
    pub age: Option<Duration>,
    pub series: usize,
    /// Samples refused in the last run because of the limit of series.
    pub dropped: usize,
    pub error: Option<String>,
    /// That is all: what the collector reads is not there, and nobody has said that it should be.
    pub no_data: bool,
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
    /// As in [`Planned`].
    wanted: bool,
    failure: Option<Failure>,
    /// Samples dropped in all runs.
    dropped_total: f64,
    /// It was said that some are dropped.
    said_dropped: bool,
    /// What the last run gave: as long as it is the same, the collector has not run again.
    section: Option<Arc<Section>>,
}

impl Sampler {
    /// A sampler of these collectors, each with at most `limit` series.
    pub fn new(planned: Vec<Planned>, table: &Arc<SeriesTable>, limit: usize) -> Sampler {
        let mut sampler = Sampler {
            lanes: Vec::new(),
            usage: Usage::default(),
            // As many as the collectors' series give, which are limited.
            usage_writer: Writer::new("usage", table.clone(), usize::MAX),
            scrape_writer: Writer::new("scrape", table.clone(), usize::MAX),
            status: Vec::new(),
            memory: Vec::new(),
        };
        sampler.replace(planned, table, limit);
        sampler
    }

    /// Other collectors, after a reload. One on a lane of its own that is made from the same as before stays, with the
    /// counters that it has built up (a process group's must not go back). What was counted of a collector goes on with
    /// the one that has its name.
    pub fn replace(&mut self, planned: Vec<Planned>, table: &Arc<SeriesTable>, limit: usize) {
        let wanted: Vec<&str> = planned.iter().filter(|p| p.wanted).map(|p| p.name).collect();
        self.lanes = lanes(planned, table, limit, take(&mut self.lanes));
        let mut before: Vec<_> = take(&mut self.status).into_iter().zip(take(&mut self.memory)).collect();
        for PlannedLane { lane, .. } in &self.lanes {
            lane.outcomes(|name, _, _| {
                let known =
                    before.iter().position(|(status, _)| status.name == name).map(|at| before.swap_remove(at).1);
                let wanted = wanted.contains(&name);
                self.memory.push(Remembered { wanted, said_dropped: false, ..known.unwrap_or_default() });
                self.status.push(CollectorStatus {
                    name,
                    success: false,
                    duration: Duration::ZERO,
                    age: None,
                    series: 0,
                    dropped: 0,
                    error: None,
                    no_data: false,
                });
            });
        }
    }

    /// Runs what is due and gives the samples of this moment.
    ///
    /// In a tick, and for a request, those run whose interval has passed, and a lane that is late gives what it gave
    /// before.
    pub fn sample(&mut self, time: Timestamp, sampling: Sampling) -> Snapshot {
        let taken = Instant::now();
        let all = sampling == Sampling::Once;
        for PlannedLane { lane, schedules, .. } in &mut self.lanes {
            let due = schedules.iter_mut().enumerate().filter_map(|(i, s)| s.is_due(taken, all).then_some(i));
            lane.start(due, sampling);
        }
        for (i, PlannedLane { lane, .. }) in self.lanes.iter_mut().enumerate() {
            // The shared lane is waited for until its deadlines: they are short, and an overrun leaves one behind.
            let patience = if all || i == 0 { Duration::from_secs(3600) } else { PATIENCE };
            lane.wait(taken + patience);
        }
        let sections = self.gather(taken, sampling);
        Snapshot { time, taken, sections }
    }

    /// The processes that use most, as each pass over them leaves the list; `None` where no collector passes over them.
    pub fn top(&self) -> Option<TopProcesses> {
        self.lanes.iter().find_map(|lane| lane.top.clone())
    }

    /// How each collector fared in its last run.
    pub fn status(&self) -> &[CollectorStatus] {
        &self.status
    }

    fn gather(&mut self, taken: Instant, sampling: Sampling) -> Vec<Arc<Section>> {
        let mut sections = Vec::with_capacity(self.status.len() + 4);
        // In the order of the lanes, as `replace` has listed them.
        let mut known = self.status.iter_mut().zip(&mut self.memory);
        for PlannedLane { lane, schedules, in_ticks, .. } in &self.lanes {
            let mut schedules = schedules.iter();
            lane.outcomes(|name, stuck, outcome| {
                let Some((entry, before)) = known.next() else { return };
                let in_ticks = *in_ticks && schedules.next().is_some_and(|s| s.interval.is_zero());
                let began = outcome.filter(|_| !in_ticks).map(|o| o.began);
                entry.age = began.map(|began| taken.saturating_duration_since(began));
                match outcome {
                    Some(outcome) if !stuck => {
                        entry.success = outcome.error.is_none();
                        entry.duration = outcome.duration;
                        entry.series = outcome.section.values.len();
                        entry.dropped = outcome.stats.dropped;
                        if entry.dropped > 0 && !std::mem::replace(&mut before.said_dropped, true) {
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
                        // What somebody has switched on and is not there is a failure as any other.
                        entry.no_data = outcome.error.as_ref().is_some_and(|f| f.no_data) && !before.wanted;
                        let error = outcome.error.as_ref().map(|f| f.message.as_str());
                        if entry.error.as_deref() != error {
                            entry.error = error.map(str::to_string);
                        }
                        if before.failure != outcome.error {
                            log_change(name, error, entry.no_data);
                            before.failure.clone_from(&outcome.error);
                        }
                        sections.push(outcome.section.clone());
                    }
                    _ => {
                        entry.success = false;
                        entry.series = 0;
                        if stuck {
                            entry.error = Some("hangs: left out until it comes back".to_string());
                            entry.no_data = false;
                            before.failure = None;
                        }
                    }
                }
            });
        }
        self.usage.write(&sections, sampling, &mut self.usage_writer);
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
        let mut family = out.gauge(
            "watchfire_collector_age_seconds",
            "How long ago the run began whose result is served, of collectors that do not run in every tick.",
            ["collector"],
        );
        for s in &self.status {
            if let Some(age) = s.age {
                family.put([s.name.as_bytes()], (age.as_secs_f64() * 10.0).round() / 10.0);
            }
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
        let limits = Limits { deadline: p.timeout, series: limit };
        let schedule = Schedule { interval: p.interval, next: None };
        let same = before.iter().position(|lane| p.lane == LaneKind::Own && lane.is_of(p.name, &p.made_from));
        if let Some(mut lane) = same.map(|i| before.swap_remove(i)) {
            lane.schedules = vec![schedule];
            lane.lane.set_limits(limits);
            lanes.push(lane);
            continue;
        }
        let writer = Writer::new(p.name, table.clone(), limit);
        let unit = Unit { name: p.name, collector: p.collector, writer, table: table.clone() };
        match p.lane {
            LaneKind::Shared => {
                shared.0.push((unit, limits));
                shared.1.push(schedule);
            }
            LaneKind::Slow => {
                slow.0.push((unit, limits));
                slow.1.push(schedule);
            }
            LaneKind::Own => lanes.push(PlannedLane {
                lane: Lane::new(p.name, vec![(unit, limits)]),
                schedules: vec![schedule],
                in_ticks: false,
                made_from: Some((p.name, p.made_from)),
                top: p.top,
            }),
        }
    }
    lanes.insert(
        0,
        PlannedLane {
            lane: Lane::new("host", shared.0),
            schedules: shared.1,
            in_ticks: true,
            made_from: None,
            top: None,
        },
    );
    if !slow.0.is_empty() {
        lanes.push(PlannedLane {
            lane: Lane::new("slow", slow.0),
            schedules: slow.1,
            in_ticks: false,
            made_from: None,
            top: None,
        });
    }
    lanes
}

/// A lane and when its collectors are due.
struct PlannedLane {
    lane: Lane,
    schedules: Vec<Schedule>,
    /// Ticks wait for it.
    in_ticks: bool,
    /// The collector of a lane of its own, and what it was made from.
    made_from: Option<(&'static str, String)>,
    /// The list that the collector of a lane of its own makes.
    top: Option<TopProcesses>,
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

fn log_change(collector: &str, error: Option<&str>, no_data: bool) {
    match error {
        None => tracing::info!(collector, "collector works again"),
        Some(message) if no_data => tracing::debug!(collector, "{message}"),
        Some(message) => tracing::warn!(collector, "collector failed: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::collect::CollectError;
    use crate::collect::testing::logged;
    use crate::model::Labels;

    struct Plain(f64);
    impl Collector for Plain {
        fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
            self.0 += 1.0;
            out.gauge("runs", "Runs.", []).put([], self.0);
            Ok(())
        }
    }

    struct Two;
    impl Collector for Two {
        fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
            out.gauge("two", "Two.", ["n"]).put([b"1"], 1.0).put([b"2"], 2.0);
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
            wanted: false,
            top: None,
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
                let snapshot = sampler.sample(Timestamp::now(), Sampling::Tick);
                assert_eq!(value(&snapshot, "runs"), Some(f64::from(run)), "{lane:?}");
                assert_eq!(success(&snapshot, "hangs"), Some(0.0));
                assert_eq!(success(&snapshot, "plain"), Some(1.0));
            }
            let started = Instant::now();
            sampler.sample(Timestamp::now(), Sampling::Tick);
            assert!(started.elapsed() < Duration::from_millis(45), "a tick is not delayed by what is known to hang");
            release.send(()).unwrap();
            release.send(()).unwrap();
            release.send(()).unwrap();
            let back = (0..100).any(|_| {
                std::thread::sleep(Duration::from_millis(5));
                let snapshot = sampler.sample(Timestamp::now(), Sampling::Tick);
                value(&snapshot, "came_back") == Some(1.0) && success(&snapshot, "hangs") == Some(1.0)
            });
            assert!(back, "{lane:?}");
            let status = sampler.status().iter().find(|s| s.name == "hangs").unwrap();
            assert_eq!(status.error, None, "what came back is no longer said to hang");
        }
    }

    struct Absent;
    impl Collector for Absent {
        fn collect(&mut self, _: &mut Writer) -> Result<(), CollectError> {
            Err(CollectError::NoData("no bus".to_string()))
        }
    }

    #[test]
    fn what_is_not_there_is_a_failure_where_somebody_has_switched_it_on() {
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        let plans = || {
            [("asked", true), ("ordinary", false)]
                .map(|(name, wanted)| Planned { wanted, ..planned(name, Box::new(Absent), LaneKind::Shared) })
        };
        let mut sampler = Sampler::new(plans().into(), &table, 100);
        let said = logged(|| {
            for _ in 0..3 {
                sampler.sample(Timestamp::now(), Sampling::Tick);
            }
        });
        assert_eq!(said.matches("WARN").count(), 1, "{said}");
        assert!(said.contains("asked") && said.contains("no bus"), "{said}");
        let absent: Vec<_> = sampler.status().iter().map(|s| (s.name, s.no_data)).collect();
        assert_eq!(absent, [("asked", false), ("ordinary", true)]);
    }

    #[test]
    fn samples_past_the_limit_are_counted_once_a_run_however_many_ticks_there_are() {
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        let mut plan = planned("plain", Box::new(Plain(0.0)), LaneKind::Shared);
        plan.interval = Duration::from_secs(3600);
        let mut sampler = Sampler::new(vec![plan], &table, 0);
        for _ in 0..3 {
            sampler.sample(Timestamp::now(), Sampling::Tick);
        }
        assert_eq!(sampler.memory[0].dropped_total, 1.0);
        sampler.sample(Timestamp::now(), Sampling::Once);
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
        assert_eq!(value(&sampler.sample(Timestamp::now(), Sampling::Once), "runs"), Some(1.0));
        sampler.replace(vec![plan("a")], &table, 100);
        assert_eq!(value(&sampler.sample(Timestamp::now(), Sampling::Once), "runs"), Some(2.0));
        sampler.replace(vec![plan("b")], &table, 100);
        assert_eq!(value(&sampler.sample(Timestamp::now(), Sampling::Once), "runs"), Some(1.0));
    }

    #[test]
    fn a_reload_brings_its_limit_of_series_to_all_collectors_and_what_was_dropped_stays_counted() {
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        let plans = || {
            [LaneKind::Own, LaneKind::Shared].map(|lane| {
                let name = if lane == LaneKind::Own { "kept" } else { "made_anew" };
                planned(name, Box::new(Two), lane)
            })
        };
        let mut sampler = Sampler::new(plans().into(), &table, 2);
        let mut run = |limit: usize, runs: usize| {
            sampler.replace(plans().into(), &table, limit);
            let snapshots: Vec<_> = (0..runs).map(|_| sampler.sample(Timestamp::now(), Sampling::Once)).collect();
            let last = snapshots.last().unwrap();
            ["kept", "made_anew"].map(|name| {
                let section = last.sections.iter().find(|s| s.name == name).unwrap();
                let dropped = format!("watchfire_collector_dropped_samples_total{{collector=\"{name}\"}}");
                (section.values.len(), value(last, &dropped))
            })
        };
        for (limit, runs, series, dropped) in [(2, 1, 2, 0.0), (1, 2, 1, 2.0), (0, 1, 0, 4.0), (2, 2, 2, 4.0)] {
            assert_eq!(run(limit, runs), [(series, Some(dropped)); 2], "a limit of {limit}");
        }
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
            let snapshot = sampler.sample(Timestamp::now(), Sampling::Once);
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
            assert_eq!(value(&sampler.sample(Timestamp::now(), Sampling::Tick), "runs"), Some(1.0));
        }
        let age = |snapshot: &Snapshot| value(snapshot, "watchfire_collector_age_seconds{collector=\"plain\"}");
        std::thread::sleep(Duration::from_millis(100));
        assert!(age(&sampler.sample(Timestamp::now(), Sampling::Tick)).is_some_and(|age| age >= 0.1));
        let snapshot = sampler.sample(Timestamp::now(), Sampling::Once);
        assert_eq!((value(&snapshot, "runs"), age(&snapshot)), (Some(2.0), Some(0.0)));
    }
}
