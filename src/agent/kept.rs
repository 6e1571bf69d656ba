//! Alert states over a restart: a row for each alert, and one that says how far the clock of evaluation has come.
//!
//! That clock is the monotonic one and goes on after a restart where it stood. So a row that says since when something
//! lasts stays true while it lasts and the agent with it, and is written only when its alert comes or changes its state.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;
use crate::rules::{RuleEngine, SavedAlert};
use crate::state::{Batch, Store, Table, Unseen};

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
    /// What the store has and could not be read at the start. Until it is, nothing is written: rows of two runs, whose
    /// moments are those of two clocks, would make alerts that never were.
    unseen: Option<Unseen>,
    /// What is still to be put back.
    saved: Option<Saved>,
    started: Instant,
    /// What the clock showed then.
    shown: Duration,
    /// The clock as it was saved last.
    last_save: Instant,
}

/// What the store had at the start.
#[derive(Default)]
struct Saved {
    alerts: Vec<(u64, SavedAlert)>,
    clock: Option<Clock>,
}

impl Saved {
    /// Of rows. Those that are not understood are removed.
    fn read(rows: impl IntoIterator<Item = (String, Vec<u8>)>, strange: &mut Batch) -> Saved {
        let mut saved = Saved::default();
        for (key, row) in rows {
            if key == CLOCK_KEY {
                saved.clock = serde_json::from_slice::<Clock>(&row).ok();
                continue;
            }
            match (key.parse(), serde_json::from_slice::<SavedAlert>(&row)) {
                (Ok(number), Ok(alert)) => saved.alerts.push((number, alert)),
                _ => {
                    tracing::warn!(key, "the state of an alert is not understood: it begins anew");
                    strange.remove(Table::AlertStates, key);
                }
            }
        }
        saved
    }

    /// What the clock showed when the agent ended.
    fn clock(&self, last_sample: Option<Timestamp>) -> Duration {
        self.clock.as_ref().map_or(Duration::ZERO, |clock| clock.at(last_sample))
    }
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
        let unseen = store.unseen(&[Table::AlertStates]);
        let mut strange = Batch::default();
        let saved = match unseen {
            None => Saved::read(store.load_text(Table::AlertStates), &mut strange),
            Some(_) => Saved::default(),
        };
        store.write(strange);
        Kept { store, unseen, saved: Some(saved), started, shown: Duration::ZERO, last_save: started }
    }

    /// Puts the alerts that the store had back to their rules, once, before these are evaluated. `last_sample`: the newest
    /// sample that history has from before the restart, if it has any.
    pub fn restore(&mut self, rules: &mut RuleEngine, last_sample: Option<Timestamp>) {
        let Some(saved) = self.saved.take() else { return };
        let now = Timestamp::now();
        self.started = Instant::now();
        self.shown = saved.clock(last_sample);
        let gap = last_sample.map(|last| Duration::from_millis(now.millis_since(last).max(0).unsigned_abs()));
        rules.restore(saved.alerts, now, self.shown, gap);
    }

    /// Puts back what the store turns out to have, where it could not be read at the start. Whether that was now.
    pub fn catch_up(&mut self, rules: &mut RuleEngine, last_sample: Option<Timestamp>) -> bool {
        let Some(rows) = self.unseen.as_mut().and_then(Unseen::rows_now) else { return false };
        let rows = rows.into_values().flatten().map(|stored| (stored.key, stored.row));
        let mut strange = Batch::default();
        let saved = Saved::read(rows, &mut strange);
        // At the start of this run, when its clock showed nothing, that one would have gone on from here.
        let stood = saved.clock(last_sample);
        let alerts = saved.alerts.into_iter().map(|(number, alert)| (number, alert.earlier(stood)));
        rules.restore_late(alerts, Timestamp::now(), self.clock(Instant::now()));
        self.store.write(strange);
        let unseen = self.unseen.take();
        self.save(rules);
        if let Some(unseen) = unseen {
            unseen.taken_over();
        }
        true
    }

    /// What the clock of evaluation shows at a moment of this run.
    pub fn clock(&self, at: Instant) -> Duration {
        self.shown.saturating_add(at.saturating_duration_since(self.started))
    }

    /// Saves what has changed of the alerts.
    pub fn save(&mut self, rules: &mut RuleEngine) {
        if self.unseen.is_some() {
            return;
        }
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
            self.write_clock(rules);
        }
        due
    }

    /// The last word: everything as it stands.
    pub fn close(mut self, rules: &mut RuleEngine) {
        self.save(rules);
        self.write_clock(rules);
    }

    fn write_clock(&self, rules: &RuleEngine) {
        if rules.is_waiting() && self.unseen.is_none() {
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
    use std::fs;
    use std::path::Path;
    use std::sync::{Arc, RwLock};
    use std::thread;

    use prometheus::Registry;
    use rustix::fs::{CWD, RenameFlags, renameat_with};

    use super::*;
    use crate::history::{History, HistoryConfig};
    use crate::model::{Labels, SeriesTable};
    use crate::rules::{Settings, read_file};
    use crate::yaml::Faults;

    /// A run of an agent on this directory, whose one alert waits for an hour.
    fn run(dir: &Path) -> (RuleEngine, Kept, Store) {
        run_on(Store::open(dir, &Registry::new()).unwrap())
    }

    fn run_on(store: Store) -> (RuleEngine, Kept, Store) {
        let mut faults = Faults::default();
        let text = "groups: [{name: g, rules: [{alert: Waits, expr: vector(1), for: 1h}]}]";
        let rules = read_file("r.yaml", text, &mut faults);
        assert!(faults.is_empty(), "{faults}");
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        let mut engine = RuleEngine::new(rules, Settings::default(), table, &Registry::new()).unwrap();
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
    fn what_had_lasted_before_a_start_without_the_store_counts_once_the_store_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let (mut engine, mut kept, store) = run(dir.path());
        kept.shown = Duration::from_secs(100);
        evaluate(&mut engine, kept.clock(Instant::now()));
        kept.save(&mut engine);
        let active = engine.active_alerts();
        kept.shown += Duration::from_secs(600);
        kept.close(&mut engine);
        drop((engine, store));

        let (file, aside) = (dir.path().join("watchfire.redb"), dir.path().join("aside"));
        fs::rename(&file, &aside).unwrap();
        fs::create_dir(&file).unwrap();
        let rest = Duration::from_millis(20);
        let (mut engine, mut kept, store) = run_on(Store::unavailable(dir.path(), &Registry::new(), rest).unwrap());
        evaluate(&mut engine, kept.clock(Instant::now()));
        kept.save(&mut engine);
        assert!(!kept.catch_up(&mut engine, None));
        assert!(store.load_text(Table::AlertStates).is_empty(), "nothing is written over what is not known");
        // In one step: between two the store could begin a fresh file.
        renameat_with(CWD, &aside, CWD, &file, RenameFlags::EXCHANGE).unwrap();
        while !kept.catch_up(&mut engine, None) {
            thread::sleep(rest);
        }
        let shown = kept.clock(Instant::now());
        evaluate(&mut engine, shown);
        kept.save(&mut engine);
        let again = engine.active_alerts();
        assert_eq!((again.len(), again[0].1.active_at.wall), (1, active[0].1.active_at.wall));
        let lasted = shown.as_millis() as i64 - again[0].1.active_at.mono;
        assert!((599_999..660_000).contains(&lasted), "{lasted}");
        kept.close(&mut engine);
        drop((engine, store));

        // By the clock of the second run, which is the one that is stored.
        let (engine, kept, _store) = run(dir.path());
        let again = engine.active_alerts();
        let lasted = kept.clock(Instant::now()).as_millis() as i64 - again[0].1.active_at.mono;
        assert!((599_999..660_000).contains(&lasted), "{lasted}");
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
