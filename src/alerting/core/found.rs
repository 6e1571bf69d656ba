//! A start at which the store cannot be read, and what it turns out to have from before once it can.

use super::{Actions, Core, Mono, Now, parse};
use crate::alerting::dead::Letter;
use crate::alerting::known::{Known, Stored};
use crate::alerting::log::{Came, Entry, Told, log_key};
use crate::alerting::plan::Plan;
use crate::alerting::queue::{Row, row_key};
use crate::state::{Batch, StoredRow, StoredRows, Table};

/// The least number with which a run begins that cannot read the store: below it is room for all that may lie there.
const LEAST_FIRST_NUMBER: u64 = 1 << 40;

/// What has a number, and lies in the store.
enum Numbered {
    Waiting(Row),
    Dead(Letter),
}

impl Numbered {
    fn table(&self) -> Table {
        match self {
            Numbered::Waiting(_) => Table::Queue,
            Numbered::Dead(_) => Table::DeadLetters,
        }
    }

    fn put(&self, number: u64, batch: &mut Batch) {
        match self {
            Numbered::Waiting(row) => batch.put(Table::Queue, row_key(number), row),
            Numbered::Dead(letter) => batch.put(Table::DeadLetters, row_key(number), letter),
        }
    }
}

/// The rows of a table that can be read, each with whether this run has written or removed another of its key.
fn read<V: serde::de::DeserializeOwned>(rows: &StoredRows, table: Table) -> impl Iterator<Item = (&str, bool, V)> {
    let value = move |stored: &'_ StoredRow| parse(table, &stored.key, &stored.row);
    rows.get(&table)
        .into_iter()
        .flatten()
        .filter_map(move |stored| Some((&*stored.key, stored.overtaken, value(stored)?)))
}

impl Core {
    /// As [`Core::restore`], where the store cannot be read: nothing is known of before until [`Event::Read`](super::Event)
    /// tells.
    pub fn unread(plan: Plan, seed: u64, now: Now) -> (Core, Actions) {
        let (mut core, actions) = Core::restore(plan, seed, now, |_| Vec::new());
        // Microseconds: more than there can have been notifications. Where the clock was set back since, the old rows get
        // other numbers.
        let micros = u64::try_from(now.wall.as_millis()).unwrap_or(0).saturating_mul(1000);
        core.queue.skip(micros.max(LEAST_FIRST_NUMBER));
        core.remedies.skip(micros.max(LEAST_FIRST_NUMBER));
        core.first_number = core.queue.next_number();
        (core, actions)
    }

    /// Takes over what lies in the store from before this run, which has known nothing of it. What this run knows itself is
    /// newer.
    pub(super) fn take_over(&mut self, rows: StoredRows, now: Now, actions: &mut Actions) {
        let before = self.looks();
        let batch = &mut actions.batch;
        let mut came = Came::default();
        for (_, overtaken, stored) in read::<Stored>(&rows, Table::Alerts) {
            let mut known = Known::restore(stored, self.plan.resolve_timeout, now);
            let fingerprint = known.alert.fingerprint();
            came.all.insert(fingerprint);
            if overtaken || self.alerts.contains(&fingerprint) {
                came.met.insert(fingerprint);
            }
            if self.alerts.contains(&fingerprint) {
                continue;
            }
            if overtaken {
                // This run has seen it end, and need not have told those who knew from before that it fires.
                known.alert.ends_at.get_or_insert(now.wall.max(known.alert.starts_at));
                batch.put(Table::Alerts, fingerprint.to_string(), &known.row());
            }
            self.alerts.insert(fingerprint, known);
        }
        for (key, overtaken, entry) in read::<Entry>(&rows, Table::NotificationLog) {
            match overtaken || self.log.get(key).is_some() {
                true => self.log.restore_older(key.to_string(), entry, &came, now, batch),
                false => self.log.restore(key.to_string(), entry, now),
            }
        }
        let late = self.take_over_numbered(&rows, now, batch);
        for (id, _, row) in read(&rows, Table::Silences).filter(|(_, overtaken, _)| !overtaken) {
            self.silences.restore(id.to_string(), row);
        }
        for (key, _, row) in read(&rows, Table::Flapping).filter(|(_, overtaken, _)| !overtaken) {
            self.flaps.restore_older(key, row, now);
        }
        for (key, _, entry) in read(&rows, Table::Actions).filter(|(_, overtaken, _)| !overtaken) {
            let Ok(number) = key.parse() else { continue };
            self.remedies.restore(number, entry, now);
        }
        self.settle_actions(now, actions);
        self.regroup(&before, now, actions);
        for (lane, row) in late {
            self.tell_ends_after(&row.target, &lane, &row.notification, now, &mut actions.batch);
        }
    }

    /// Those with numbers, which are older than all that has one in this run. Gives those that wait, and their lanes.
    fn take_over_numbered(&mut self, rows: &StoredRows, now: Now, batch: &mut Batch) -> Vec<(String, Row)> {
        let waiting = read(rows, Table::Queue).map(|(key, _, row)| (key, Numbered::Waiting(row)));
        let dead = read(rows, Table::DeadLetters).map(|(key, _, letter)| (key, Numbered::Dead(letter)));
        let mut old: Vec<(u64, Numbered)> = Vec::new();
        for (key, numbered) in waiting.chain(dead) {
            match key.parse() {
                Ok(number) => old.push((number, numbered)),
                Err(_) => tracing::warn!(key, "a stored row has no number: left out"),
            }
        }
        old.sort_by_key(|(number, _)| *number);
        if old.last().is_some_and(|(number, _)| *number >= self.first_number) {
            self.renumber(&mut old, batch);
        }
        let (mut queued, mut late) = (Vec::new(), Vec::new());
        for (number, numbered) in old {
            match numbered {
                Numbered::Waiting(row) => {
                    let lane = log_key(&row.target, &row.notification.group_key);
                    // What this run has told already, or is telling, it is told behind.
                    let told_after = self.queue.tells_of(&row.target, &lane);
                    let last =
                        row.notification.alerts.iter().filter(|alert| !told_after.contains(&alert.fingerprint()));
                    self.log.told_again(&lane, Told::of(last), now, batch);
                    late.push((lane.clone(), row.clone()));
                    queued.push((number, lane, row));
                }
                Numbered::Dead(letter) => self.dead.restore(number, letter),
            }
        }
        self.queue.restore_older(queued, Mono::of(now.mono));
        late
    }

    /// Gives old rows other numbers, in their order: the last ones before this run's first.
    fn renumber(&self, old: &mut [(u64, Numbered)], batch: &mut Batch) {
        let own = self.first_number..self.queue.next_number();
        for (number, numbered) in old.iter() {
            // In place of one whose number this run has given too, that one is written or removed already.
            let replaced = match numbered {
                Numbered::Waiting(_) => own.contains(number),
                Numbered::Dead(_) => self.dead.get(*number).is_some(),
            };
            if !replaced {
                batch.remove(numbered.table(), row_key(*number));
            }
        }
        let first = self.first_number.saturating_sub(u64::try_from(old.len()).unwrap_or(u64::MAX));
        for (place, (number, numbered)) in (first..).zip(old) {
            *number = place;
            numbered.put(place, batch);
        }
    }
}

#[cfg(test)]
mod tests;
