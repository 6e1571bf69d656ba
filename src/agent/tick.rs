//! The tick: sample, store, serve. Between ticks: evaluate rules, a few at a time, and hand over what they tell.
//!
//! Rules never hold up the sampling for longer than one rule may take, and the next tick not at all: rules that are not
//! reached before it wait for their turn after it. What they gave is served with the next samples, and at once when all
//! that were due are evaluated.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use prometheus::Registry;

use super::clock::{self, Grid, Stretches};
use super::culprits::culprits;
use super::heap;
use super::instruments::Instruments;
use super::kept::Kept;
use super::lookback::lookbacks;
use super::memory::Memory;
use super::own::Own;
use super::shared::{Alerts, Shared};
use crate::alerting::Alerting;
use crate::checks::{Board, ChecksCollector};
use crate::collect::{Collector, Planned, Roots, Sampler, Sampling};
use crate::config::{Config, ConfigFile};
use crate::exposition::copy_registry;
use crate::history::{Place, SharedHistory};
use crate::http::CollectorState;
use crate::model::{Section, SeriesTable, Snapshot, Timestamp, Writer};
use crate::rules::{Evaluation, Patience, RuleEngine, Settings};
use crate::state::Store;

/// How often history lets go of what is too old.
const GC_INTERVAL: Duration = Duration::from_secs(60);

/// Series of the agent's own instruments.
const OWN_SERIES: usize = 5_000;

/// How long one rule may take: half of the sampling's interval, but neither less than an ordinary rule needs on a slow
/// machine, nor more than somebody who wants the host sampled should wait.
fn rule_budget(interval: Duration) -> Duration {
    (interval / 2).clamp(Duration::from_millis(500), Duration::from_secs(1))
}

/// What the tick thread is asked to do besides ticking.
pub enum Command {
    /// Sample now, for a request that finds the last snapshot too old; history does not see it.
    Sample,
    /// Go on with this configuration.
    Reload(Box<(Config, Roots)>),
    Stop,
}

/// Where a tick's results go.
pub struct Outlets {
    pub shared: Arc<Shared>,
    pub alerting: Alerting,
    pub store: Store,
    pub registry: Registry,
    pub instruments: Arc<Instruments>,
    /// Where history is kept over a restart.
    pub history: Option<Place>,
    /// How the checks stand.
    pub checks: Arc<Board>,
}

/// The tick thread.
pub struct Ticker {
    outlets: Outlets,
    table: Arc<SeriesTable>,
    interval: Duration,
    sampler: Sampler,
    memory: Memory,
    stretches: Stretches,
    rules: RuleEngine,
    own: Own,
    own_writer: Writer,
    scrape_writer: Writer,
    kept: Kept,
    /// What the rules give on `/metrics`, as it is served.
    rules_section: Arc<Section>,
    /// Rules have been evaluated since it was made.
    evaluated: bool,
    /// Alerts have come, gone or changed their states since they were saved.
    changed: bool,
    last_gc: Instant,
    /// The time that its samples carry.
    last_tick: Timestamp,
}

impl Ticker {
    /// The error says what could not be started.
    pub fn new(config: Config, roots: &Roots, instance: &str, outlets: Outlets) -> Result<Ticker, String> {
        let target = super::target_labels(&config.file, instance);
        let table = Arc::new(SeriesTable::new(target));
        let sampler = sampler(&config.file, roots, &outlets.checks, &table);
        let settings = rule_settings(&config, &sampler);
        let interval = config.file.global.scrape_interval;
        // First, so that it is read while the rest is made.
        let memory = Memory::start(
            config.file.history.limits(),
            lookbacks(&config.rules, &settings),
            interval,
            outlets.history.clone(),
            &table,
            outlets.instruments.clone(),
        )
        .map_err(|e| format!("cannot start the thread that reads history: {e}"))?;
        let mut rules =
            RuleEngine::new(config.rules, settings, table.clone(), &outlets.registry).map_err(|e| e.to_string())?;
        let kept = Kept::load(outlets.store.clone());
        Ok(Ticker {
            interval,
            sampler,
            memory,
            stretches: Stretches::default(),
            kept,
            rules_section: rules.section(),
            evaluated: false,
            // Alerts that were restored are shown.
            changed: true,
            rules,
            own: Own::default(),
            own_writer: Writer::new("agent", table.clone(), OWN_SERIES),
            scrape_writer: Writer::new("scrape", table.clone(), 10).hidden(),
            table,
            outlets,
            last_gc: Instant::now(),
            last_tick: Timestamp::MIN,
        })
    }

    /// What it appends to.
    pub fn history(&self) -> &SharedHistory {
        self.memory.history()
    }

    /// Ticks until it is told to stop, or nobody is left to tell it.
    pub fn run(mut self, inbox: &Receiver<Command>) {
        let mut grid = Grid::new(self.interval, Instant::now());
        loop {
            let until_tick = grid.next().saturating_duration_since(Instant::now());
            let wait = if self.rules.has_work() { Duration::ZERO } else { until_tick };
            match inbox.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) if Instant::now() >= grid.next() => self.tick(&mut grid),
                Err(RecvTimeoutError::Timeout) => self.evaluate(grid.next()),
                // A request that came while a tick was at work has its answer: to sample again would be work for nothing,
                // and rates over the few milliseconds since.
                Ok(Command::Sample) if self.outlets.shared.renew() => {}
                Ok(Command::Sample) => {
                    let snapshot = self.sample(Timestamp::now(), Sampling::Request);
                    self.publish(&snapshot);
                }
                Ok(Command::Reload(new)) => {
                    let (config, roots) = *new;
                    self.reload(config, &roots);
                    if self.interval != grid.interval() {
                        grid = Grid::new(self.interval, Instant::now());
                    }
                }
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    self.kept.close(&mut self.rules);
                    self.memory.close();
                    return;
                }
            }
        }
    }

    fn tick(&mut self, grid: &mut Grid) {
        let started = Instant::now();
        let tick = grid.tick(started, Timestamp::now(), clock::uptime());
        self.outlets.instruments.ticks_missed.inc_by(tick.missed);
        if tick.jump_ms != 0 {
            tracing::warn!(by_ms = tick.jump_ms, "the wall clock was set");
            self.outlets.instruments.clock_jumps.inc();
            let follows = self.stretches.clock_was_set(tick.time, tick.jump_ms);
            if tick.jump_ms < 0 {
                self.rules.abandon();
                if !follows {
                    self.memory.forget_all();
                }
            }
        }
        if self.rules.has_work() {
            // Not all rules were reached: what there is of the others does not wait for them.
            self.show_rules();
        }

        let mut snapshot = self.sample(tick.time, Sampling::Tick);
        let scrape = self.scrape_section(&snapshot, started.elapsed());
        snapshot.sections.insert(0, scrape);
        // First: who asks does not wait for history to be read.
        self.publish(&snapshot);
        self.memory.append(&snapshot);
        self.last_tick = tick.time;
        self.show_collectors();
        if started - self.last_gc >= GC_INTERVAL {
            self.last_gc = started;
            self.memory.gc(tick.time);
            self.table.sweep();
            heap::trim();
        }
        self.memory.report();
        self.outlets.instruments.tick_seconds.observe(started.elapsed().as_secs_f64());

        // The ticks are stopped before alerting is: it cannot have ended but by a panic.
        assert!(self.outlets.alerting.is_running(), "nothing delivers alerts any more");
        if !self.memory.is_whole() {
            self.outlets.shared.started();
            return;
        }
        let last_sample = self.memory.last_before_restart();
        self.kept.restore(&mut self.rules, last_sample);
        self.changed |= self.kept.catch_up(&mut self.rules, last_sample);
        let ended = self.rules.tick(self.memory.history(), tick.time, self.kept.clock(started));
        self.hand_over(ended);
        if !self.rules.has_work() {
            self.show_rules();
        }
        if self.kept.save_clock(&self.rules) {
            // Values in their texts may be others by now.
            self.show_alerts();
        }
    }

    /// Evaluates rules whose turn it is, for moments.
    fn evaluate(&mut self, next_tick: Instant) {
        let patience = Patience { next_tick, budget: rule_budget(self.interval) };
        let evaluation = self.rules.work(self.memory.history(), Some(patience));
        self.hand_over(evaluation);
        self.evaluated = true;
        if !self.rules.has_work() {
            self.show_rules();
        }
    }

    fn hand_over(&mut self, evaluation: Evaluation) {
        if evaluation.changed && !evaluation.alerts.is_empty() {
            // Before they are told: after a crash, an alert of which somebody has heard must go on as the same.
            self.kept.save(&mut self.rules);
        }
        self.outlets.alerting.receive(evaluation.alerts);
        self.changed |= evaluation.changed;
    }

    /// Serves what the rules have given, where that is not served already; keeps the alerts and shows them on the page;
    /// writes of history what is to be written.
    fn show_rules(&mut self) {
        if std::mem::take(&mut self.evaluated) {
            let section = self.rules.section();
            if !same(&section, &self.rules_section) {
                self.rules_section = section.clone();
                self.outlets.shared.publish_rules(section);
            }
            self.outlets.shared.show_rules(self.rules.view());
        }
        if std::mem::take(&mut self.changed) {
            self.kept.save(&mut self.rules);
            self.show_alerts();
        }
        self.memory.tidy(self.last_tick);
        self.outlets.shared.started();
    }

    /// Shows the alerts on the page.
    fn show_alerts(&self) {
        let alerts = Alerts { active: self.rules.active_alerts(), target: self.table.target().clone() };
        self.outlets.shared.show_alerts(alerts);
    }

    /// The samples of all collectors and of the agent itself.
    fn sample(&mut self, time: Timestamp, sampling: Sampling) -> Snapshot {
        let mut snapshot = self.sampler.sample(time, sampling);
        if let Err(error) = self.own.collect(&mut self.own_writer) {
            tracing::debug!(%error, "the agent's own figures");
        }
        copy_registry(&self.outlets.registry, &mut self.own_writer);
        // First, so that nobody's textfile can speak for the agent: of two samples of one series the first counts.
        snapshot.sections.insert(0, self.own_writer.finish().0);
        snapshot
    }

    /// Serves the samples, and with them what the rules gave last.
    fn publish(&self, snapshot: &Snapshot) {
        let sections = snapshot.sections.iter().chain([&self.rules_section]).cloned().collect();
        self.outlets.shared.publish(Arc::new(Snapshot { time: snapshot.time, taken: snapshot.taken, sections }));
    }

    /// What a server notes of each scrape, so that rules which ask for it find it.
    fn scrape_section(&mut self, snapshot: &Snapshot, took: Duration) -> Arc<Section> {
        let out = &mut self.scrape_writer;
        out.gauge("up", "Whether the host was sampled.", []).put([], 1.0);
        out.gauge("scrape_duration_seconds", "How long the sampling took.", []).put([], took.as_micros() as f64 / 1e6);
        out.gauge("scrape_samples_scraped", "Samples taken.", []).put([], snapshot.len() as f64);
        out.finish().0
    }

    fn show_collectors(&self) {
        let status = self.sampler.status();
        self.outlets.shared.update_overview(|overview| {
            overview.collectors.resize_with(status.len(), CollectorState::default);
            for (shown, status) in overview.collectors.iter_mut().zip(status) {
                if shown.name != status.name {
                    shown.name = status.name.to_string();
                }
                shown.took = status.duration;
                shown.series = status.series;
                shown.no_data = status.no_data;
                if shown.error != status.error {
                    shown.error.clone_from(&status.error);
                }
            }
        });
    }

    /// Another configuration: the collectors are made anew, history and the states of alerts go on.
    fn reload(&mut self, config: Config, roots: &Roots) {
        self.interval = config.file.global.scrape_interval;
        let file = &config.file;
        let planned = planned(file, roots, &self.outlets.checks);
        self.sampler.replace(planned, &self.table, file.global.collector_series_limit);
        let settings = rule_settings(&config, &self.sampler);
        self.memory.reload(config.file.history.limits(), lookbacks(&config.rules, &settings), self.interval);
        self.rules.replace(config.rules, settings);
        // What is gone is not served any more, even if nothing is left to evaluate.
        self.evaluated = true;
    }
}

/// Whether two sections say the same.
fn same(a: &Section, b: &Section) -> bool {
    // By bits, as NaN is NaN here.
    let values = || a.values.iter().map(|v| v.to_bits()).eq(b.values.iter().map(|v| v.to_bits()));
    Arc::ptr_eq(&a.layout, &b.layout) && values()
}

fn sampler(file: &ConfigFile, roots: &Roots, checks: &Arc<Board>, table: &Arc<SeriesTable>) -> Sampler {
    Sampler::new(planned(file, roots, checks), table, file.global.collector_series_limit)
}

/// The collectors that are to run, and where there are checks, the one that says how they stand.
fn planned(file: &ConfigFile, roots: &Roots, checks: &Arc<Board>) -> Vec<Planned> {
    let mut planned = file.collectors.plan(&file.processes, roots);
    if !file.checks.0.is_empty() {
        planned.push(ChecksCollector::plan(checks.clone()));
    }
    planned
}

fn rule_settings(config: &Config, sampler: &Sampler) -> Settings {
    Settings {
        interval: config.file.global.evaluation_interval,
        query_offset: config.file.global.rule_query_offset,
        lookback: config.file.query.lookback_delta,
        external_labels: config.file.global.external_labels.clone(),
        external_url: super::external_url(&config.file),
        culprits: culprits(sampler.top()),
        ..Settings::default()
    }
}
