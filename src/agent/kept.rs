//! Alert states over a restart: a row for each alert, and one that says how far the clock of evaluation has come.
//!
//! That clock is the monotonic one and goes on after a restart where it stood. So a row that says since when something
//! lasts stays true while it lasts and the agent with it, and is written only when its alert comes or changes its state.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;
use crate::rules::{RuleEngine, SavedAlert};
use crate::state::{Batch, Store, Table};

/// How often the clock is saved while alerts wait for time to pass, so that a crash costs no more of it than this.
const SAVE_INTERVAL: Duration = Duration::from_secs(15);

/// The row in which the clock is kept; those of alerts have numbers for keys.
const CLOCK_KEY: &str = "clock";

#[derive(Serialize, Deserialize)]
struct Clock {
    /// Milliseconds for which agents have evaluated rules on this store.
    mono: u64,
    /// The wall clock at that moment, in milliseconds.
    wall: Option<i64>,
}

/// What is kept of the alerts, and the clock that it is told by.
pub struct Kept {
    store: Store,
    /// What is still to be put back.
    saved: Option<Saved>,
    started: Instant,
    /// What the clock showed then.
    shown: Duration,
    /// The clock as it was saved last.
    last_save: Instant,
}

/// What the store had at the start.
struct Saved {
    alerts: Vec<(u64, SavedAlert)>,
    clock: Option<Clock>,
}

impl Clock {
    /// What the clock showed when the last sample was taken before the restart: it was saved some seconds earlier.
    fn at(&self, last_sample: Option<Timestamp>) -> Duration {
        let saved = Duration::from_millis(self.mono);
        let since = self.wall.zip(last_sample).map_or(0, |(wall, last)| last.as_millis().saturating_sub(wall));
        // What is longer was no agent's evaluating, but a clock that was set.
        match u64::try_from(since).map(Duration::from_millis) {
            Ok(since) if since <= 2 * SAVE_INTERVAL => saved.saturating_add(since),
            _ => saved,
        }
    }
}

impl Kept {
    /// Reads what the store has. Rows that are not understood are removed.
    pub fn load(store: Store) -> Kept {
        let started = Instant::now();
        let mut clock = None;
        let mut alerts = Vec::new();
        let mut strange = Batch::default();
        for (key, row) in store.load_text(Table::AlertStates) {
            if key == CLOCK_KEY {
                clock = serde_json::from_slice::<Clock>(&row).ok();
                continue;
            }
            match (key.parse(), serde_json::from_slice::<SavedAlert>(&row)) {
                (Ok(number), Ok(alert)) => alerts.push((number, alert)),
                _ => {
                    tracing::warn!(key, "the state of an alert is not understood: it begins anew");
                    strange.remove(Table::AlertStates, key);
                }
            }
        }
        store.write(strange);
        Kept { store, saved: Some(Saved { alerts, clock }), started, shown: Duration::ZERO, last_save: started }
    }

    /// Puts the alerts that the store had back to their rules, once, before these are evaluated. `last_sample`: the newest
    /// sample that history has from before the restart, if it has any.
    pub fn restore(&mut self, rules: &mut RuleEngine, last_sample: Option<Timestamp>) {
        let Some(Saved { alerts, clock }) = self.saved.take() else { return };
        let now = Timestamp::now();
        self.started = Instant::now();
        self.shown = clock.map_or(Duration::ZERO, |clock| clock.at(last_sample));
        let gap = last_sample.map(|last| Duration::from_millis(now.millis_since(last).max(0).unsigned_abs()));
        rules.restore(alerts, now, self.shown, gap);
    }

    /// What the clock of evaluation shows at a moment of this run.
    pub fn clock(&self, at: Instant) -> Duration {
        self.shown.saturating_add(at.saturating_duration_since(self.started))
    }

    /// Saves what has changed of the alerts.
    pub fn save(&mut self, rules: &mut RuleEngine) {
        let changes = rules.take_changes();
        if changes.is_empty() {
            return;
        }
        self.last_save = Instant::now();
        let clock = self.clock_row();
        self.store.write_later(move || {
            let mut batch = clock;
            for (number, row) in changes.into_rows() {
                match row {
                    Some(row) => batch.put(Table::AlertStates, number.to_string(), &row),
                    None => batch.remove(Table::AlertStates, number.to_string()),
                }
            }
            batch
        });
    }

    /// Saves the clock if alerts wait for time to pass, when it is time for that. Whether it was.
    pub fn save_clock(&mut self, rules: &RuleEngine) -> bool {
        let due = self.last_save.elapsed() >= SAVE_INTERVAL;
        if due {
            self.last_save = Instant::now();
            if rules.is_waiting() {
                self.store.write(self.clock_row());
            }
        }
        due
    }

    /// The last word: everything as it stands.
    pub fn close(mut self, rules: &mut RuleEngine) {
        self.save(rules);
        if rules.is_waiting() {
            self.store.write(self.clock_row());
        }
    }

    fn clock_row(&self) -> Batch {
        let mut batch = Batch::default();
        let mono = u64::try_from(self.clock(Instant::now()).as_millis()).unwrap_or(u64::MAX);
        let wall = Some(Timestamp::now().as_millis());
        batch.put(Table::AlertStates, CLOCK_KEY, &Clock { mono, wall });
        batch
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, RwLock};

    use prometheus::Registry;

    use super::*;
    use crate::history::{History, HistoryConfig};
    use crate::model::{Labels, SeriesTable};
    use crate::rules::{Settings, read_file};
    use crate::yaml::Faults;

    /// A run of an agent on this directory, whose one alert waits for an hour.
    fn run(dir: &Path) -> (RuleEngine, Kept, Store) {
        let mut faults = Faults::default();
        let text = "groups: [{name: g, rules: [{alert: Waits, expr: vector(1), for: 1h}]}]";
        let rules = read_file("r.yaml", text, &mut faults);
        assert!(faults.is_empty(), "{faults}");
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        let mut engine = RuleEngine::new(rules, Settings::default(), table, &Registry::new()).unwrap();
        let store = Store::open(dir, &Registry::new()).unwrap();
        let mut kept = Kept::load(store.clone());
        kept.restore(&mut engine, None);
        (engine, kept, store)
    }

    fn evaluate(engine: &mut RuleEngine, clock: Duration) {
        let history = RwLock::new(History::new(HistoryConfig::default().limits()));
        engine.evaluate(&history, Timestamp::now(), clock);
    }

    #[test]
    fn an_alert_that_waits_goes_on_waiting_after_a_crash_though_its_row_is_old() {
        let dir = tempfile::tempdir().unwrap();
        let (mut engine, mut kept, store) = run(dir.path());
        kept.shown = Duration::from_secs(100);
        let began = kept.clock(Instant::now());
        evaluate(&mut engine, began);
        kept.save(&mut engine);
        let active = engine.active_alerts();
        kept.shown += Duration::from_secs(600);
        kept.last_save -= SAVE_INTERVAL;
        assert!(kept.save_clock(&engine));
        drop((engine, kept, store));

        let (mut engine, kept, _store) = run(dir.path());
        let lasted = kept.clock(Instant::now()) - began;
        // The row has whole milliseconds.
        assert!((599_999..660_000).contains(&lasted.as_millis()), "{lasted:?}");
        evaluate(&mut engine, kept.clock(Instant::now()));
        let again = engine.active_alerts();
        assert_eq!(again.len(), 1);
        assert_eq!((&again[0].0, again[0].1.active_at), (&active[0].0, active[0].1.active_at));
    }

    #[test]
    fn rows_that_are_not_understood_do_not_stop_the_start_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let (_, _, store) = run(dir.path());
        let mut rows = Batch::default();
        rows.put(Table::AlertStates, "rules", &serde_json::json!({"alerts": []}));
        rows.put(Table::AlertStates, "7", &serde_json::json!({"file": "r.yaml"}));
        rows.put(Table::AlertStates, CLOCK_KEY, &"noon");
        store.write(rows);
        drop(store);
        let (mut engine, mut kept, store) = run(dir.path());
        evaluate(&mut engine, kept.clock(Instant::now()));
        kept.save(&mut engine);
        let keys: Vec<String> = store.load_text(Table::AlertStates).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["0", CLOCK_KEY]);
    }
    #[test]
    fn what_had_lasted_is_known_to_the_last_sample_before_the_crash() {
        let saved = Clock { mono: 100_000, wall: Some(1_700_000_000_000) };
        let after = |ms: i64| saved.at(Some(Timestamp::from_millis(1_700_000_000_000 + ms))).as_millis();
        assert_eq!((after(0), after(14_000)), (100_000, 114_000));
        assert_eq!((after(-5_000), after(3_600_000)), (100_000, 100_000), "a clock that was set says nothing");
        assert_eq!(saved.at(None).as_secs(), 100);
    }
}
