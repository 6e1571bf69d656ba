//! History as the tick thread keeps it: read from the disk while the first ticks are served, appended to, trimmed, written
//! to the disk, measured.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::instruments::Instruments;
use super::lookback::{self, Lookback};
use crate::history::{History, HistoryLimits, HistoryStats, Keep, Place, SharedHistory};
use crate::model::{SeriesTable, Snapshot, Timestamp};

/// How long a series that was there before a restart is waited for: at the first ticks a slow collector may have nothing
/// yet.
const GRACE: Duration = Duration::from_secs(15);
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
                let thread =
                    std::thread::Builder::new().name("watchfire-history".to_string()).spawn(move || {
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
        let history = match reading.done.recv_timeout(self.interval / 4) {
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
        held.iter().for_each(|snapshot| shared.append_snapshot(snapshot));
        self.whole_since = Some(Instant::now());
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
