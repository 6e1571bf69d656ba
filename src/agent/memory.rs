//! History as the tick thread keeps it: read from the disk while the first ticks are served, appended to, trimmed, written
//! to the disk, measured.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::clock::TOLERANCE_MS;
use super::instruments::Instruments;
use super::lookback::{self, Lookback};
use crate::history::{History, HistoryLimits, HistoryStats, Keep, Place, SharedHistory};
use crate::model::{SeriesTable, Snapshot, Timestamp};

/// How long a series that was there before a restart is waited for: at the first ticks a slow collector may have nothing
/// yet.
const GRACE: Duration = Duration::from_secs(15);
/// For how long a tick waits for history to be read, at most: who asks for metrics waits, too.
const PATIENCE: Duration = Duration::from_millis(500);
/// Ticks that are held, at most, while history is read.
const MOST_HELD: usize = 120;

/// History, and what is still to be done to it.
pub struct Memory {
    history: SharedHistory,
    limits: HistoryLimits,
    /// What rules look back on.
    lookbacks: Vec<Lookback>,
    interval: Duration,
    reading: Option<Reading>,
    /// The newest sample from before the restart.
    last_before: Option<Timestamp>,
    /// Since when history is whole, until the series are ended that did not come again.
    whole_since: Option<Instant>,
    /// The lookbacks are to be held against the limits.
    unchecked: bool,
    /// The byte limit has cut history shorter than it should be, and that was said.
    short: bool,
    last: HistoryStats,
    instruments: Arc<Instruments>,
}

/// History is being read by a thread of its own.
struct Reading {
    done: Receiver<History>,
    thread: JoinHandle<()>,
    /// The ticks since.
    held: VecDeque<Snapshot>,
}

/// The tick thread is the only one that writes; a panic of a reader leaves history as it was.
fn write(history: &RwLock<History>) -> RwLockWriteGuard<'_, History> {
    history.write().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// Begins to read what is on the disk, if there is a place for it.
    ///
    /// # Errors
    /// When the thread for it cannot be started.
    pub fn start(
        limits: HistoryLimits,
        lookbacks: Vec<Lookback>,
        interval: Duration,
        place: Option<Place>,
        table: &Arc<SeriesTable>,
        instruments: Arc<Instruments>,
    ) -> std::io::Result<Memory> {
        let mut history = History::new(limits);
        history.set_keeps(keeps(&lookbacks, limits));
        let mut memory = Memory {
            history: SharedHistory::new(History::new(limits).into()),
            limits,
            lookbacks,
            interval,
            reading: None,
            last_before: None,
            whole_since: None,
            unchecked: true,
            short: false,
            last: HistoryStats::default(),
            instruments,
        };
        match place {
            None => *write(&memory.history) = history,
            Some(place) => {
                let (send, done) = sync_channel(1);
                let table = table.clone();
                let thread = std::thread::Builder::new().name("watchfire-history".to_string()).spawn(move || {
                    history.open(&place, &table, Timestamp::now());
                    // Who stops so soon does not want it any more.
                    let _ = send.send(history);
                })?;
                memory.reading = Some(Reading { done, thread, held: VecDeque::new() });
            }
        }
        Ok(memory)
    }

    pub fn history(&self) -> &SharedHistory {
        &self.history
    }

    /// Whether everything that was on the disk is here, so that rules can be evaluated.
    pub fn is_whole(&self) -> bool {
        self.reading.is_none()
    }

    /// The time of the newest sample that the disk had, if there was one.
    pub fn last_before_restart(&self) -> Option<Timestamp> {
        self.last_before
    }

    /// Appends a tick, after what is on the disk. While that is being read, which is waited for a little, the tick is held.
    pub fn append(&mut self, snapshot: &Snapshot) {
        let Some(reading) = &mut self.reading else { return write(&self.history).append_snapshot(snapshot) };
        reading.held.push_back(Snapshot {
            time: snapshot.time,
            taken: snapshot.taken,
            sections: snapshot.sections.clone(),
        });
        if reading.held.len() > MOST_HELD {
            reading.held.pop_front();
        }
        let history = match reading.done.recv_timeout((self.interval / 4).min(PATIENCE)) {
            Ok(history) => Some(history),
            Err(RecvTimeoutError::Timeout) => return,
            Err(RecvTimeoutError::Disconnected) => {
                tracing::error!("reading history panicked (a bug: please report it): it begins anew, in memory only");
                None
            }
        };
        let held = self.reading.take().map(|reading| reading.held).unwrap_or_default();
        let mut shared = write(&self.history);
        if let Some(history) = history {
            *shared = history;
        }
        // They may have changed meanwhile.
        shared.set_limits(self.limits);
        shared.set_keeps(keeps(&self.lookbacks, self.limits));
        let newest = shared.newest();
        if held.front().is_some_and(|first| newest.millis_since(first.time) > TOLERANCE_MS) {
            tracing::warn!(
                newest = %newest,
                "the clock was set back while the agent was down: nobody knows how old history is, and it begins anew"
            );
            shared.forget_all();
        } else if newest > Timestamp::MIN {
            self.last_before = Some(newest);
        }
        held.iter().for_each(|snapshot| shared.append_snapshot(snapshot));
        self.whole_since = Some(Instant::now());
    }

    /// What there is is not as old as it seems, as the clock was set back.
    pub fn forget_all(&mut self) {
        tracing::warn!("history begins anew: after the clock was set back, it is not as old as it says");
        match &mut self.reading {
            // What is being read is later than now, and is forgotten for that.
            Some(reading) => reading.held.clear(),
            None => write(&self.history).forget_all(),
        }
    }

    /// Goes on with what is to be written to the disk; ends the series that a restart was the end of.
    pub fn tidy(&mut self, now: Timestamp) {
        if !self.is_whole() {
            return;
        }
        let mut history = write(&self.history);
        let grace = GRACE.max(2 * self.interval);
        if self.whole_since.is_some_and(|since| since.elapsed() >= grace) {
            self.whole_since = None;
            history.end_silent(now);
        }
        history.persist(Instant::now());
        if std::mem::take(&mut self.unchecked) {
            lookback::check(&history, &self.lookbacks, self.limits, self.interval);
        }
    }

    /// Forgets what is too old or too much.
    pub fn gc(&mut self, now: Timestamp) {
        let shortage = write(&self.history).gc(now);
        // Once it is cut, history is short until it has grown again to what it should be.
        let wanted = lookback::longest(&self.lookbacks, self.limits);
        match shortage {
            Some(shortage) if !self.short => {
                self.short = true;
                lookback::report(&self.lookbacks, self.limits, now, shortage.cutoff);
            }
            None if self.last.oldest.is_some_and(|oldest| oldest <= (now - wanted).as_millis()) => self.short = false,
            _ => {}
        }
    }

    /// Other limits and rules.
    pub fn reload(&mut self, limits: HistoryLimits, lookbacks: Vec<Lookback>, interval: Duration) {
        (self.limits, self.lookbacks, self.interval) = (limits, lookbacks, interval);
        (self.unchecked, self.short) = (true, false);
        if self.is_whole() {
            let mut history = write(&self.history);
            history.set_limits(limits);
            history.set_keeps(keeps(&self.lookbacks, limits));
        }
    }

    /// Tells the instruments how much there is.
    pub fn report(&mut self) {
        let stats = self.history.read().unwrap_or_else(PoisonError::into_inner).stats();
        let last = std::mem::replace(&mut self.last, stats);
        let own = &self.instruments;
        own.history_series.set(stats.series as i64);
        own.history_samples.set(stats.samples as i64);
        own.history_bytes.set(stats.bytes as i64);
        own.history_oldest.set(stats.oldest.unwrap_or(0) / 1000);
        own.history_refused.inc_by(stats.out_of_order + stats.duplicates - last.out_of_order - last.duplicates);
        own.history_dropped.inc_by(stats.dropped_series - last.dropped_series);
    }

    /// The last word: what is not on the disk is written.
    pub fn close(mut self) {
        match self.reading.take() {
            Some(reading) => {
                drop(reading.done);
                // A panic of the thread has been reported by the panic itself.
                let _ = reading.thread.join();
            }
            None => write(&self.history).close(),
        }
    }
}

/// What is looked further back on than everything is kept.
fn keeps(lookbacks: &[Lookback], limits: HistoryLimits) -> Vec<Keep> {
    lookbacks.iter().filter(|l| l.keep.reach > limits.retention).map(|l| l.keep.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use prometheus::Registry;

    use super::*;
    use crate::agent::clock::Stretches;
    use crate::history::DiskMetrics;
    use crate::model::{Labels, Writer};
    use crate::rules::{RuleEngine, Settings, State, read_file};
    use crate::yaml::Faults;

    const T0: i64 = 1_700_000_000;
    /// What would be wrong with a host on which nothing happens but that its clock is set.
    const RULES: &str = "
groups:
- name: g
  rules:
  - {alert: Fast, expr: 'rate(c_total[1m]) > 150'}
  - {alert: Slow, expr: 'rate(c_total[1m]) < 50', for: 1m}
  - {alert: Reset, expr: 'resets(c_total[10m]) > 0'}
  - {alert: Changed, expr: 'changes(g[1h]) > 0 or delta(g[5m]) != 0'}
  - {alert: Gone, expr: 'absent(c_total)'}
  - {alert: Filling, expr: 'predict_linear(c_total[5m], 3600) > 1e7'}
";

    struct Agent {
        memory: Memory,
        rules: RuleEngine,
        writer: Writer,
        stretches: Stretches,
        /// Real seconds, and by how much the clock is wrong.
        now: i64,
        wrong: i64,
    }

    impl Agent {
        fn start(dir: &Path, now: i64, wrong: i64) -> Agent {
            let mut faults = Faults::default();
            let specs = read_file("r.yaml", RULES, &mut faults);
            assert!(faults.is_empty(), "{faults}");
            let table = Arc::new(SeriesTable::new(Labels::empty()));
            let registry = Registry::new();
            let place = Place { dir: dir.join("history"), metrics: DiskMetrics::register(&registry).unwrap() };
            let memory = Memory::start(
                HistoryLimits::default(),
                lookback::lookbacks(&specs, &Settings::default()),
                Duration::from_secs(1),
                Some(place),
                &table,
                Arc::new(Instruments::new(&registry).unwrap()),
            )
            .unwrap();
            let rules = RuleEngine::new(specs, Settings::default(), table.clone(), &registry).unwrap();
            let writer = Writer::new("test", table, 10);
            Agent { memory, rules, writer, stretches: Stretches::default(), now, wrong }
        }

        fn time(&self) -> Timestamp {
            Timestamp::from_millis((T0 + self.now + self.wrong) * 1000)
        }

        fn set_clock(&mut self, wrong: i64) {
            let jump = wrong - std::mem::replace(&mut self.wrong, wrong);
            if !self.stretches.clock_was_set(self.time(), jump * 1000) && jump < 0 {
                self.memory.forget_all();
            }
        }

        /// So many seconds in which nothing happens: a hundred a second.
        fn run(&mut self, seconds: i64) {
            for _ in 0..seconds {
                self.writer.counter("c_total", "", []).put([], (self.now * 100) as f64);
                self.writer.gauge("g", "", []).put([], 5.0);
                let sections = vec![self.writer.finish().0];
                let time = self.time();
                self.memory.append(&Snapshot { time, sections, ..Snapshot::empty() });
                while !self.memory.is_whole() {
                    std::thread::sleep(Duration::from_millis(1));
                    self.memory.append(&Snapshot { time, ..Snapshot::empty() });
                }
                let mono = Duration::from_secs(self.now.unsigned_abs());
                self.rules.evaluate(self.memory.history(), time, mono);
                let mut active = self.rules.active_alerts();
                active.retain(|(_, alert)| alert.state != State::Pending);
                assert!(active.is_empty(), "{} s, the clock off by {} s: {active:?}", self.now, self.wrong);
                self.memory.tidy(time);
                self.now += 1;
            }
        }
    }

    #[test]
    fn a_clock_that_is_set_an_hour_back_and_a_day_forward_raises_no_wrong_alert() {
        let dir = tempfile::tempdir().unwrap();
        let mut agent = Agent::start(dir.path(), 0, 0);
        agent.run(700);
        for wrong in [-3600, 86_400 - 3600, 0, -3, 0, 86_400, -10, 3, -86_400, 0] {
            agent.set_clock(wrong);
            agent.run(150);
        }
        agent.memory.close();
    }

    #[test]
    fn a_tick_does_not_wait_long_for_history_to_be_read_however_rare_ticks_are() {
        let registry = Registry::new();
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        let instruments = Arc::new(Instruments::new(&registry).unwrap());
        let minute = Duration::from_secs(60);
        let mut memory =
            Memory::start(HistoryLimits::default(), Vec::new(), minute, None, &table, instruments).unwrap();
        let (send, done) = sync_channel(1);
        memory.reading = Some(Reading { done, thread: std::thread::spawn(|| ()), held: VecDeque::new() });
        let began = Instant::now();
        memory.append(&Snapshot { time: Timestamp::from_millis(T0 * 1000), ..Snapshot::empty() });
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert!(!memory.is_whole());
        drop(send);
    }

    #[test]
    fn a_clock_that_is_set_while_the_agent_is_down_raises_no_wrong_alert() {
        let dir = tempfile::tempdir().unwrap();
        let mut now = 0;
        for wrong in [0, -3600, 0, 86_400, 0, -86_400] {
            let mut agent = Agent::start(dir.path(), now, wrong);
            agent.run(100);
            now = agent.now + 5;
            agent.memory.close();
        }
    }
}
