//! The third stage: the log of what was notified, and whether that is still what is so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::core::{Mono, Now};
use super::plan::Target;
use super::route::DEFAULT_REPEAT_INTERVAL;
use crate::model::Timestamp;
use crate::sinks::{Fingerprint, NotifiedAlert, Status};
use crate::state::{Batch, Table};

/// Which alerts of a group fire and which are resolved.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(super) struct Told {
    pub firing: BTreeSet<Fingerprint>,
    pub resolved: BTreeSet<Fingerprint>,
    /// Those that fire and flap.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub flapping: BTreeSet<Fingerprint>,
}

impl Told {
    pub fn of<'a>(alerts: impl IntoIterator<Item = &'a NotifiedAlert>) -> Told {
        Told::of_members(alerts.into_iter().map(|alert| (alert.fingerprint(), alert)))
    }

    /// Of alerts whose fingerprints are known.
    pub fn of_members<'a>(alerts: impl IntoIterator<Item = (Fingerprint, &'a NotifiedAlert)>) -> Told {
        let mut told = Told::default();
        for (fingerprint, alert) in alerts {
            match alert.status() {
                Status::Firing => told.firing.insert(fingerprint),
                Status::Resolved => told.resolved.insert(fingerprint),
            };
            if alert.details.flapping.is_some() && alert.status() == Status::Firing {
                told.flapping.insert(fingerprint);
            }
        }
        told
    }
}

/// What one target has been told of one group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// By the last notification that became due, which may still be in the queue.
    pub told: Told,
    /// By the last notification that was confirmed, and perhaps by those that were given up since.
    pub confirmed: Option<Told>,
    /// Those that ended since, of which this target was not told because they were silenced, muted or inhibited: when they
    /// fire again, that is news.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    lapsed: BTreeSet<Fingerprint>,
    /// A repetition is due the next time that the group is looked at, whatever clocks say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    again: bool,
    /// When, by the wall clock, in milliseconds.
    at_wall: i64,
    /// How long it is remembered without anything new, in milliseconds.
    keep: u64,
    /// When, by the monotonic clock: what counts while the agent runs.
    #[serde(skip)]
    pub at: Mono,
}

/// Whether a group is to be notified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    No,
    /// Something is new.
    Change,
    /// It still fires, and the repeat interval has passed.
    Repeat,
}

/// Alertmanager's rule for whether to notify.
pub(super) fn need(entry: Option<&Entry>, now: &Told, send_resolved: bool, repeat: Duration, at: Mono) -> Need {
    let Some(entry) = entry else {
        // What is resolved is told only to whom was told that it fires.
        return if now.firing.is_empty() { Need::No } else { Need::Change };
    };
    if !now.firing.is_disjoint(&entry.lapsed) {
        return Need::Change;
    }
    if !now.firing.is_subset(&entry.told.firing) || !now.flapping.is_subset(&entry.told.flapping) {
        return Need::Change;
    }
    if now.firing.is_empty() {
        return if entry.told.firing.is_empty() { Need::No } else { Need::Change };
    }
    if send_resolved && !now.resolved.is_subset(&entry.told.resolved) {
        return Need::Change;
    }
    if entry.again || entry.at < at.before(repeat) { Need::Repeat } else { Need::No }
}

/// Alerts of an earlier run that this one takes over.
#[derive(Default, Debug)]
pub(super) struct Came {
    pub all: BTreeSet<Fingerprint>,
    /// Those that this run knew already.
    pub met: BTreeSet<Fingerprint>,
}

/// All entries.
#[derive(Default, Debug)]
pub(super) struct Log {
    entries: BTreeMap<String, Entry>,
}

/// By what an entry, and a lane of the queue, is found.
pub(super) fn log_key(target: &Target, group_key: &str) -> String {
    format!("{target}:{group_key}")
}

impl Log {
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Takes over a stored entry.
    pub fn restore(&mut self, key: String, mut entry: Entry, now: Now) {
        // A clock that was set back since makes it now at most.
        let age = now.wall.millis_since(Timestamp::from_millis(entry.at_wall)).max(0);
        entry.at = Mono::of(now.mono).before(Duration::from_millis(age.unsigned_abs()));
        self.entries.insert(key, entry);
    }

    /// Takes over an entry of an earlier run that this run has changed: what it says of the alerts that `came` with it, as
    /// far as the entry of this run says nothing of them.
    pub fn restore_older(&mut self, key: String, mut older: Entry, came: &Came, now: Now, batch: &mut Batch) {
        let own = self.entries.get(&key).map(|entry| entry.told.clone()).unwrap_or_default();
        let is_said = |f: &Fingerprint| own.firing.contains(f) || own.resolved.contains(f);
        let cut = |told: &mut Told| told.firing.retain(|f| came.all.contains(f) && !is_said(f));
        cut(&mut older.told);
        older.confirmed.iter_mut().for_each(cut);
        if older.told.firing.is_empty() {
            return;
        }
        // Whether this run has told that they ended, and forgotten it, is not known: should they fire, that is news.
        let met: Vec<Fingerprint> = older.told.firing.intersection(&came.met).copied().collect();
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.told.firing.extend(older.told.firing);
            if let Some(confirmed) = older.confirmed {
                entry.confirmed.get_or_insert_default().firing.extend(confirmed.firing);
            }
        } else {
            self.restore(key.clone(), older, now);
        }
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.lapsed.extend(met);
            batch.put(Table::NotificationLog, key, entry);
        }
    }

    /// A notification has become due.
    pub fn due(&mut self, key: &str, told: Told, repeat: Duration, now: Now, batch: &mut Batch) {
        let confirmed = self.entries.remove(key).and_then(|entry| entry.confirmed);
        // As Alertmanager: long enough for the next repetition to find it.
        let keep = u64::try_from(repeat.as_millis()).unwrap_or(u64::MAX).saturating_mul(2);
        let entry = Entry {
            told,
            confirmed,
            lapsed: BTreeSet::new(),
            again: false,
            at_wall: now.wall.as_millis(),
            keep,
            at: Mono::of(now.mono),
        };
        batch.put(Table::NotificationLog, key, &entry);
        self.entries.insert(key.to_string(), entry);
    }

    /// A notification has been confirmed; `last`: no other of its group is in the queue.
    pub fn confirmed(&mut self, key: &str, told: Told, last: bool, now: Now, batch: &mut Batch) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.confirmed = Some(told);
        entry.at_wall = now.wall.as_millis();
        entry.at = Mono::of(now.mono);
        if last && entry.told.firing.is_empty() {
            // Nothing fires and all has been told: the same as nothing known.
            self.forget(key, batch);
        } else {
            batch.put(Table::NotificationLog, key, entry);
        }
    }

    /// A notification was given up that told `tried`, which is empty where it is certain that no try arrived. After the
    /// `last` of the queue, what the target knows is what was confirmed before, and perhaps that: so the group is notified
    /// again the next time it is looked at, whatever of it still holds.
    pub fn given_up(&mut self, key: &str, tried: Told, last: bool, batch: &mut Batch) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if !tried.firing.is_empty() {
            entry.confirmed.get_or_insert_default().firing.extend(tried.firing);
        }
        if last {
            let Some(confirmed) = &entry.confirmed else { return self.forget(key, batch) };
            entry.told.clone_from(confirmed);
            // So long ago that a repetition is due, if the clock does not jump.
            entry.again = true;
            entry.at = entry.at.before(Duration::from_millis(entry.keep));
            entry.at_wall = entry.at_wall.saturating_sub_unsigned(entry.keep);
        }
        batch.put(Table::NotificationLog, key, entry);
    }

    /// Alerts have ended without being told so.
    pub fn lapse(&mut self, key: &str, ended: &BTreeSet<Fingerprint>, batch: &mut Batch) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let before = entry.lapsed.len();
        entry.lapsed.extend(ended.intersection(&entry.told.firing));
        if entry.lapsed.len() > before {
            batch.put(Table::NotificationLog, key, entry);
        }
    }

    /// A notification that was given up long ago is told after all, behind all that was told since.
    pub fn told_again(&mut self, key: &str, told: Told, now: Now, batch: &mut Batch) {
        let entry = self.entries.entry(key.to_string()).or_insert_with(|| Entry {
            told: Told::default(),
            confirmed: None,
            lapsed: BTreeSet::new(),
            again: false,
            at_wall: now.wall.as_millis(),
            keep: u64::try_from(DEFAULT_REPEAT_INTERVAL.as_millis()).unwrap_or(u64::MAX).saturating_mul(2),
            at: Mono::of(now.mono),
        });
        entry.told.firing.retain(|fingerprint| !told.resolved.contains(fingerprint));
        entry.told.resolved.retain(|fingerprint| !told.firing.contains(fingerprint));
        entry.told.firing.extend(told.firing);
        entry.told.resolved.extend(told.resolved);
        entry.told.flapping.extend(told.flapping);
        batch.put(Table::NotificationLog, key, entry);
    }

    pub fn forget(&mut self, key: &str, batch: &mut Batch) {
        if self.entries.remove(key).is_some() {
            batch.remove(Table::NotificationLog, key);
        }
    }

    /// Forgets entries that nothing has happened to for long, the agent's absence included, and whose alerts are not
    /// `known` any more: as long as one is, its end has still to be told.
    pub fn purge(&mut self, now: Mono, known: impl Fn(&Fingerprint) -> bool, batch: &mut Batch) {
        let old: Vec<String> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.at < now.before(Duration::from_millis(entry.keep)))
            .filter(|(_, entry)| !entry.told.firing.iter().any(&known))
            .map(|(key, _)| key.clone())
            .collect();
        old.iter().for_each(|key| self.forget(key, batch));
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPEAT: Duration = Duration::from_secs(100);

    fn told(firing: &[u64], resolved: &[u64]) -> Told {
        let set = |ids: &[u64]| ids.iter().copied().map(Fingerprint).collect();
        Told { firing: set(firing), resolved: set(resolved), flapping: BTreeSet::new() }
    }

    fn at(seconds: u64) -> Now {
        Now { mono: Duration::from_secs(seconds), wall: Timestamp::from_millis(seconds as i64 * 1000) }
    }

    fn needed(before: Option<Told>, now: Told, send_resolved: bool, seconds: u64) -> Need {
        let mut log = Log::default();
        if let Some(before) = before {
            log.due("k", before, REPEAT, at(0), &mut Batch::default());
        }
        need(log.get("k"), &now, send_resolved, REPEAT, Mono::of(at(seconds).mono))
    }

    #[test]
    fn a_group_is_notified_when_something_is_new() {
        assert_eq!(needed(None, told(&[1], &[]), true, 1), Need::Change);
        assert_eq!(needed(Some(told(&[1], &[])), told(&[1, 2], &[]), true, 1), Need::Change);
        assert_eq!(needed(Some(told(&[1, 2], &[])), told(&[1], &[2]), true, 1), Need::Change);
        assert_eq!(needed(Some(told(&[1], &[])), told(&[], &[1]), true, 1), Need::Change);
    }

    #[test]
    fn and_not_when_nothing_is() {
        assert_eq!(needed(None, told(&[], &[1]), true, 1), Need::No);
        assert_eq!(needed(Some(told(&[1], &[])), told(&[1], &[]), true, 1), Need::No);
        assert_eq!(needed(Some(told(&[1, 2], &[])), told(&[1], &[]), true, 1), Need::No);
        assert_eq!(needed(Some(told(&[1, 2], &[])), told(&[1], &[2]), false, 1), Need::No);
        assert_eq!(needed(Some(told(&[], &[1])), told(&[], &[1]), true, 1), Need::No);
    }

    #[test]
    fn what_still_fires_is_repeated_after_the_repeat_interval() {
        assert_eq!(needed(Some(told(&[1], &[])), told(&[1], &[]), true, 100), Need::No);
        assert_eq!(needed(Some(told(&[1], &[])), told(&[1], &[]), true, 101), Need::Repeat);
    }

    #[test]
    fn after_a_restart_ages_follow_the_wall_clock_and_never_lie_in_the_future() {
        let mut log = Log::default();
        log.due("k", told(&[1], &[]), REPEAT, at(1000), &mut Batch::default());
        let entry = log.get("k").cloned().unwrap();
        let again = |wall: i64| {
            let mut log = Log::default();
            let now = Now { mono: Duration::from_secs(5), wall: Timestamp::from_millis(wall * 1000) };
            log.restore("k".to_string(), entry.clone(), now);
            log.get("k").unwrap().at
        };
        assert_eq!(again(1060), Mono::of(Duration::from_secs(5)).before(Duration::from_secs(60)));
        assert_eq!(again(0), Mono::of(Duration::from_secs(5)));
    }
}
