//! The tick: sample, store, evaluate, hand over.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

use prometheus::Registry;

use super::clock::{self, Grid};
use super::instruments::Instruments;
use super::own::Own;
use super::shared::Shared;
use crate::alerting::Alerting;
use crate::collect::{Collector, Roots, Sampler, Sampling};
use crate::config::Config;
use crate::exposition::copy_registry;
use crate::history::{History, HistoryStats, SharedHistory};
use crate::http::{ActiveAlert, CollectorState};
use crate::model::{Labels, Section, SeriesTable, Snapshot, Timestamp, Writer};
use crate::rules::{RuleEngine, RulesState, SavedAlert, SavedState, Settings};
use crate::state::{Batch, Store, Table};

/// How often history lets go of what is too old.
const GC_INTERVAL: Duration = Duration::from_secs(60);

/// How often the time that pending alerts have lasted is saved, so that a crash costs no more of it than this.
const SAVE_INTERVAL: Duration = Duration::from_secs(15);

/// Series of the agent's own instruments.
const OWN_SERIES: usize = 5_000;

/// The row in which the states of all alerts are kept.
const STATE_KEY: &str = "rules";

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
}

/// The tick thread.
pub struct Ticker {
    outlets: Outlets,
    table: Arc<SeriesTable>,
    interval: Duration,
    sampler: Sampler,
    history: SharedHistory,
    rules: RuleEngine,
    own: Own,
    own_writer: Writer,
    scrape_writer: Writer,
    /// The monotonic clock's zero, as rules and the store's times count from it.
    epoch: Instant,
    last_gc: Instant,
    last_save: Instant,
    /// Some alert was pending when the states were saved last.
    pending: bool,
    last_stats: HistoryStats,
}

impl Ticker {
    /// The error is that of registering instruments twice.
    pub fn new(config: Config, roots: &Roots, instance: &str, outlets: Outlets) -> prometheus::Result<Ticker> {
        let target = Labels::from_pairs([("job", config.file.global.job.as_str()), ("instance", instance)]);
        let table = Arc::new(SeriesTable::new(target));
        let settings = rule_settings(&config, instance);
        let mut rules = RuleEngine::new(config.rules, settings, table.clone(), &outlets.registry)?;
        let epoch = Instant::now();
        for (_, saved) in outlets.store.load::<RulesState>(Table::AlertStates) {
            rules.restore_state(&saved, Timestamp::now(), Duration::ZERO);
        }
        Ok(Ticker {
            interval: config.file.global.scrape_interval,
            sampler: sampler(&config.file, roots, &table),
            history: SharedHistory::new(History::new(config.file.history.limits()).into()),
            rules,
            own: Own::default(),
            own_writer: Writer::new("agent", table.clone(), OWN_SERIES),
            scrape_writer: Writer::new("scrape", table.clone(), 10).hidden(),
            table,
            outlets,
            epoch,
            last_gc: epoch,
            last_save: epoch,
            pending: false,
            last_stats: HistoryStats::default(),
        })
    }

    /// Ticks until it is told to stop, or nobody is left to tell it.
    pub fn run(mut self, inbox: &Receiver<Command>) {
        let mut grid = Grid::new(self.interval, Instant::now());
        loop {
            let wait = grid.next().saturating_duration_since(Instant::now());
            match inbox.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => self.tick(&mut grid),
                // A request that came while a tick was at work has its answer: to sample again would be work for nothing,
                // and rates over the few milliseconds since.
                Ok(Command::Sample) if self.outlets.shared.renew() => {}
                Ok(Command::Sample) => {
                    let snapshot = self.sample(Timestamp::now(), Sampling::Request);
                    self.publish(snapshot);
                }
                Ok(Command::Reload(new)) => {
                    let (config, roots) = *new;
                    self.reload(config, &roots);
                    if self.interval != grid.interval() {
                        grid = Grid::new(self.interval, Instant::now());
                    }
                }
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    self.save_state();
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
        }

        let mut snapshot = self.sample(tick.time, Sampling::Tick);
        let scrape = self.scrape_section(&snapshot, started.elapsed());
        snapshot.sections.insert(0, scrape);
        write(&self.history).append_snapshot(&snapshot);

        let mono = started.duration_since(self.epoch);
        let evaluation = self.rules.evaluate(&self.history, tick.time, mono);
        // The ticks are stopped before alerting is: it cannot have ended but by a panic.
        assert!(self.outlets.alerting.is_running(), "nothing delivers alerts any more");
        self.outlets.alerting.receive(evaluation.alerts);
        self.publish(snapshot);
        self.outlets.shared.started();
        self.show_collectors();

        if evaluation.changed || self.pending && started - self.last_save >= SAVE_INTERVAL {
            self.save_state();
        }
        if started - self.last_gc >= GC_INTERVAL {
            self.last_gc = started;
            write(&self.history).gc(tick.time);
            self.table.sweep();
        }
        self.report_history();
        self.outlets.instruments.tick_seconds.observe(started.elapsed().as_secs_f64());
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

    /// Serves the samples, and with them what the rules have recorded.
    fn publish(&mut self, mut snapshot: Snapshot) {
        snapshot.sections.push(self.rules.section());
        self.outlets.shared.publish(Arc::new(snapshot));
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
                if shown.error != status.error {
                    shown.error.clone_from(&status.error);
                }
            }
        });
    }

    /// Keeps the states of all alerts over a restart, and shows them on the page.
    fn save_state(&mut self) {
        self.last_save = Instant::now();
        let state = self.rules.snapshot_state(Timestamp::now(), self.last_save.duration_since(self.epoch));
        self.pending = state.alerts.iter().any(|a| a.state == SavedState::Pending);
        let mut batch = Batch::default();
        batch.put(Table::AlertStates, STATE_KEY, &state);
        self.outlets.store.write(batch);
        let target = self.table.target();
        let mut alerts: Vec<ActiveAlert> = state.alerts.iter().filter_map(|a| shown_alert(a, target)).collect();
        alerts.sort_by(|a, b| (a.state, &a.name, &a.labels).cmp(&(b.state, &b.name, &b.labels)));
        self.outlets.shared.update_overview(|overview| overview.alerts = alerts);
    }

    fn report_history(&mut self) {
        let stats = write(&self.history).stats();
        let last = std::mem::replace(&mut self.last_stats, stats);
        let own = &self.outlets.instruments;
        own.history_series.set(stats.series as i64);
        own.history_samples.set(stats.samples as i64);
        own.history_bytes.set(stats.bytes as i64);
        own.history_refused.inc_by(stats.out_of_order + stats.duplicates - last.out_of_order - last.duplicates);
        own.history_dropped.inc_by(stats.dropped_series - last.dropped_series);
    }

    /// Another configuration: the collectors are made anew, history and the states of alerts go on.
    fn reload(&mut self, config: Config, roots: &Roots) {
        self.interval = config.file.global.scrape_interval;
        let file = &config.file;
        let planned = file.collectors.plan(&file.processes, roots);
        self.sampler.replace(planned, &self.table, file.global.collector_series_limit);
        write(&self.history).set_limits(config.file.history.limits());
        let instance = self.table.target().get("instance").to_string();
        let settings = rule_settings(&config, &instance);
        self.rules.replace(config.rules, settings);
    }
}

/// An alert as the page shows it; nothing for one that is resolved.
fn shown_alert(alert: &SavedAlert, target: &Labels) -> Option<ActiveAlert> {
    let state = match alert.state {
        SavedState::Pending => "pending",
        SavedState::Firing { .. } => "firing",
        SavedState::Resolved { .. } => return None,
    };
    let text = |name: &str, from: &BTreeMap<String, String>| from.get(name).cloned().unwrap_or_default();
    // The labels of this host stand above all of them.
    let others: Vec<_> = alert
        .labels
        .iter()
        .filter(|(name, value)| {
            !matches!(name.as_str(), "alertname" | "severity") && target.get(name) != value.as_str()
        })
        .collect();
    Some(ActiveAlert {
        name: text("alertname", &alert.labels),
        severity: text("severity", &alert.labels),
        state,
        since: Timestamp::from_millis(alert.active_at),
        summary: text("summary", &alert.annotations),
        labels: if others.is_empty() { String::new() } else { Labels::from_pairs(others).to_string() },
    })
}

/// The tick thread is the only one that writes; a panic of a reader leaves history as it was.
fn write(history: &RwLock<History>) -> RwLockWriteGuard<'_, History> {
    history.write().unwrap_or_else(PoisonError::into_inner)
}

fn sampler(file: &crate::config::ConfigFile, roots: &Roots, table: &Arc<SeriesTable>) -> Sampler {
    Sampler::new(file.collectors.plan(&file.processes, roots), table, file.global.collector_series_limit)
}

fn rule_settings(config: &Config, instance: &str) -> Settings {
    Settings {
        interval: config.file.global.evaluation_interval,
        external_labels: config.file.global.external_labels.clone(),
        external_url: super::external_url(instance),
        ..Settings::default()
    }
}
