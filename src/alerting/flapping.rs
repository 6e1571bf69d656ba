//! Flapping: an alert that begins to fire again and again is told as one that lasts, until it is calm.
//!
//! It flaps once it has begun to fire `times` times within `within`. From then on its end is held back: it stays told as
//! firing, and the notification says that it flaps. When it has stayed as it is for `calm`, away or firing, it flaps no
//! more, and an end that was held back is told. Nothing of that is lost in a restart.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::core::{Mono, Now};
use crate::model::Timestamp;
use crate::section;
use crate::sinks::Fingerprint;
use crate::state::{Batch, Table};
use crate::yaml::{Faults, Node};

section! {
    check = check;
    /// Damps alerts that begin to fire again and again.
    pub struct FlappingConfig {
        /// An alert that has begun to fire so often flaps: its ends are not told one by one. 0: none ever does.
        pub times: u32 = 5,
        /// Within what time it has to begin so often.
        pub within: Duration = Duration::from_secs(30 * 60),
        /// For how long it must stay away until its end is told, or go on firing until its next end is told at once.
        pub calm: Duration = Duration::from_secs(10 * 60),
    }
}

/// Beginnings that are remembered of one alert.
const MAX_TIMES: u32 = 1_000;

fn check(config: &mut FlappingConfig, node: &Node, faults: &mut Faults) {
    let at = |key: &str| node.place(key);
    if config.times == 1 || config.times > MAX_TIMES {
        let message = format!("times must be from 2 to {MAX_TIMES}, or 0: an alert that begins once does not flap");
        faults.error(at("times"), message);
    }
    if config.calm.is_zero() {
        faults.error(at("calm"), "calm cannot be 0; times: 0 switches the damping off");
    }
}

/// One alert.
#[derive(Default, Debug)]
struct Flap {
    /// When it began to fire, those within the time that counts.
    begins: VecDeque<Mono>,
    /// How often that was of late, while it flaps.
    flapping: Option<u32>,
    /// The end that is held back.
    held: Option<Timestamp>,
    /// When it last began or ended.
    changed: Mono,
    /// It has a row.
    stored: bool,
}

/// As it is stored; times by the wall clock, in milliseconds.
#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    begins: Vec<i64>,
    flapping: Option<u32>,
    held: Option<i64>,
    changed: i64,
}

/// An alert that does not flap any more, and its end if it has ended.
pub(super) type Calmed = (Fingerprint, Option<Timestamp>);

/// All alerts that began to fire of late.
#[derive(Default, Debug)]
pub(super) struct Flaps(HashMap<Fingerprint, Flap>);

impl Flap {
    fn put(&mut self, fingerprint: Fingerprint, now: Now, batch: &mut Batch) {
        let wall = |at: Mono| (now.wall - at.until(Mono::of(now.mono))).as_millis();
        let row = Row {
            begins: self.begins.iter().map(|at| wall(*at)).collect(),
            flapping: self.flapping,
            held: self.held.map(Timestamp::as_millis),
            changed: wall(self.changed),
        };
        self.stored = true;
        batch.put(Table::Flapping, fingerprint.to_string(), &row);
    }
}

impl Flaps {
    /// Takes over a stored one.
    pub fn restore(&mut self, key: &str, row: Row, now: Now) {
        let Ok(fingerprint) = u64::from_str_radix(key, 16) else { return };
        // A clock that was set back since makes it now at most.
        let mono = |wall: i64| {
            let age = now.wall.millis_since(Timestamp::from_millis(wall)).max(0);
            Mono::of(now.mono).before(Duration::from_millis(age.unsigned_abs()))
        };
        let flap = Flap {
            begins: row.begins.into_iter().map(mono).collect(),
            flapping: row.flapping,
            held: row.held.map(Timestamp::from_millis),
            changed: mono(row.changed),
            stored: true,
        };
        self.0.insert(Fingerprint(fingerprint), flap);
    }

    /// Takes over a stored one of an earlier run, unless this one knows of it.
    pub fn restore_older(&mut self, key: &str, row: Row, now: Now) {
        let known =
            u64::from_str_radix(key, 16).is_ok_and(|fingerprint| self.0.contains_key(&Fingerprint(fingerprint)));
        if !known {
            self.restore(key, row, now);
        }
    }

    /// An alert begins to fire. How often it did so of late, if it flaps.
    pub fn begins(
        &mut self,
        fingerprint: Fingerprint,
        config: &FlappingConfig,
        now: Now,
        batch: &mut Batch,
    ) -> Option<u32> {
        if config.times == 0 {
            return None;
        }
        let at = Mono::of(now.mono);
        let flap = self.0.entry(fingerprint).or_default();
        flap.begins.retain(|begin| *begin > at.before(config.within));
        if flap.begins.len() >= MAX_TIMES as usize {
            flap.begins.pop_front();
        }
        flap.begins.push_back(at);
        flap.changed = at;
        flap.held = None;
        let times = u32::try_from(flap.begins.len()).unwrap_or(u32::MAX);
        if times >= config.times || flap.flapping.is_some() {
            flap.flapping = Some(times);
        }
        // Most alerts begin once; a restart that forgets this makes nothing worse.
        if times > 1 || flap.stored {
            flap.put(fingerprint, now, batch);
        }
        flap.flapping
    }

    /// An alert that fires ends. Whether the end is held back.
    pub fn ends(&mut self, fingerprint: Fingerprint, at: Timestamp, now: Now, batch: &mut Batch) -> bool {
        let Some(flap) = self.0.get_mut(&fingerprint).filter(|flap| flap.flapping.is_some()) else { return false };
        flap.held = Some(at);
        flap.changed = Mono::of(now.mono);
        flap.put(fingerprint, now, batch);
        true
    }

    /// Whether the end of an alert is held back.
    pub fn holds(&self, fingerprint: Fingerprint) -> bool {
        self.0.get(&fingerprint).is_some_and(|flap| flap.held.is_some())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that have become calm, in order; `next` is brought forward to when the next does.
    pub fn calmed(&mut self, config: &FlappingConfig, now: Mono, next: &mut Mono, batch: &mut Batch) -> Vec<Calmed> {
        let mut calmed = Vec::new();
        self.0.retain(|fingerprint, flap| {
            let over = match flap.flapping {
                Some(_) if config.times == 0 => now,
                Some(_) => flap.changed.after(config.calm),
                None => flap.begins.back().map_or(now, |last| last.after(config.within)),
            };
            if over > now {
                *next = (*next).min(over);
                return true;
            }
            if flap.flapping.is_some() {
                calmed.push((*fingerprint, flap.held));
            }
            if flap.stored {
                batch.remove(Table::Flapping, fingerprint.to_string());
            }
            false
        });
        // The hash map's order must not decide anything.
        calmed.sort_unstable();
        calmed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALERT: Fingerprint = Fingerprint(0xabc);

    fn at(seconds: u64) -> Now {
        Now { mono: Duration::from_secs(seconds), wall: Timestamp::from_millis(1_000_000 + seconds as i64 * 1000) }
    }

    fn config() -> FlappingConfig {
        FlappingConfig { times: 3, within: Duration::from_secs(100), calm: Duration::from_secs(50) }
    }

    fn begins(flaps: &mut Flaps, seconds: u64) -> Option<u32> {
        flaps.begins(ALERT, &config(), at(seconds), &mut Batch::default())
    }

    fn ends(flaps: &mut Flaps, seconds: u64) -> bool {
        flaps.ends(ALERT, at(seconds).wall, at(seconds), &mut Batch::default())
    }

    fn calmed(flaps: &mut Flaps, seconds: u64) -> Vec<Calmed> {
        flaps.calmed(&config(), Mono::of(at(seconds).mono), &mut Mono::default(), &mut Batch::default())
    }

    #[test]
    fn an_alert_that_begins_often_enough_in_the_time_flaps_and_its_end_is_held_back_until_it_is_calm() {
        let mut flaps = Flaps::default();
        assert_eq!((begins(&mut flaps, 0), ends(&mut flaps, 5)), (None, false));
        assert_eq!((begins(&mut flaps, 10), ends(&mut flaps, 15)), (None, false));
        assert_eq!((begins(&mut flaps, 20), ends(&mut flaps, 25)), (Some(3), true));
        assert_eq!((begins(&mut flaps, 30), flaps.holds(ALERT)), (Some(4), false));
        assert!(ends(&mut flaps, 35) && flaps.holds(ALERT));
        assert!(calmed(&mut flaps, 84).is_empty());
        assert_eq!(calmed(&mut flaps, 85), [(ALERT, Some(at(35).wall))]);
        // It starts anew.
        assert_eq!(begins(&mut flaps, 90), None);
    }

    #[test]
    fn one_that_fires_on_is_calm_too() {
        let mut flaps = Flaps::default();
        assert_eq!([0, 1, 2].map(|t| begins(&mut flaps, t)), [None, None, Some(3)]);
        assert_eq!(calmed(&mut flaps, 52), [(ALERT, None)]);
        assert!(!ends(&mut flaps, 53) && flaps.is_empty());
    }

    #[test]
    fn beginnings_long_ago_do_not_count() {
        let mut flaps = Flaps::default();
        assert_eq!([0, 60, 101, 161].map(|t| begins(&mut flaps, t)), [None; 4]);
        assert_eq!(begins(&mut flaps, 190), Some(3));
    }

    #[test]
    fn what_flaps_and_what_is_held_back_survive_a_restart() {
        let (mut flaps, mut batch) = (Flaps::default(), Batch::default());
        for i in 0..3 {
            flaps.begins(ALERT, &config(), at(i), &mut batch);
        }
        flaps.ends(ALERT, at(3).wall, at(3), &mut batch);
        let last = batch.changes().last().unwrap();
        assert_eq!((batch.changes().len(), last.key.as_str()), (3, "0000000000000abc"), "the first is not stored");
        let mut again = Flaps::default();
        // The monotonic clock begins again.
        let now = Now { mono: Duration::from_secs(1), wall: at(20).wall };
        again.restore(&last.key, serde_json::from_slice(last.row.as_ref().unwrap()).unwrap(), now);
        assert!(again.holds(ALERT));
        let (mut batch, mut next) = (Batch::default(), Mono::of(Duration::MAX));
        assert!(again.calmed(&config(), Mono::of(now.mono), &mut next, &mut batch).is_empty());
        assert_eq!(next, Mono::of(Duration::from_secs(1 + 50 - 17)));
        assert_eq!(again.calmed(&config(), next, &mut Mono::default(), &mut batch), [(ALERT, Some(at(3).wall))]);
        assert!(batch.changes()[0].row.is_none());
    }

    #[test]
    fn it_can_be_switched_off_and_lets_go_what_it_holds() {
        let mut flaps = Flaps::default();
        assert_eq!([0, 1, 2].map(|t| begins(&mut flaps, t)), [None, None, Some(3)]);
        assert!(ends(&mut flaps, 3));
        let off = FlappingConfig { times: 0, ..config() };
        let let_go = flaps.calmed(&off, Mono::of(at(4).mono), &mut Mono::default(), &mut Batch::default());
        assert_eq!(let_go, [(ALERT, Some(at(3).wall))]);
        assert_eq!(flaps.begins(ALERT, &off, at(5), &mut Batch::default()), None);
    }
}
