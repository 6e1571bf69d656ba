//! The audit log: what was decided about actions, and what came of it. Kept in the store.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::entry::{Entry, Result, Trigger};
use crate::alerting::core::{Mono, Now};
use crate::alerting::queue::row_key;
use crate::model::Timestamp;
use crate::state::{Batch, Table};

/// The last so many are kept,
const MAX_ENTRIES: usize = 1_000;
/// and until there are so many more: letting one go looks at all.
const SLACK: usize = 100;
/// For so long.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

/// All rows, by number.
#[derive(Default)]
pub struct Audit {
    entries: BTreeMap<u64, Entry>,
    next_number: u64,
}

impl Audit {
    /// A number that is not to be given again.
    pub fn skip(&mut self, number: u64) {
        self.next_number = self.next_number.max(number.saturating_add(1));
    }

    /// Takes over a stored row, unless this run has one of its number; whether it did.
    pub fn restore(&mut self, number: u64, mut entry: Entry, now: Now) -> bool {
        if self.entries.contains_key(&number) {
            return false;
        }
        self.skip(number);
        // A clock that was set back since makes it now at most.
        let age = now.wall.millis_since(Timestamp::from_millis(entry.at)).max(0);
        entry.since = Mono::of(now.mono).before(Duration::from_millis(age.unsigned_abs()));
        self.entries.insert(number, entry);
        true
    }

    pub fn add(&mut self, entry: Entry, batch: &mut Batch) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        batch.put(Table::Actions, row_key(number), &entry);
        self.entries.insert(number, entry);
        if self.entries.len() >= MAX_ENTRIES + SLACK {
            self.trim(batch);
        }
        number
    }

    /// Changes a row that is still there, and gives it.
    pub fn change(&mut self, number: u64, change: impl FnOnce(&mut Entry), batch: &mut Batch) -> Option<&Entry> {
        let entry = self.entries.get_mut(&number)?;
        change(entry);
        batch.put(Table::Actions, row_key(number), entry);
        Some(entry)
    }

    pub fn get(&self, number: u64) -> Option<&Entry> {
        self.entries.get(&number)
    }

    /// All, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &Entry)> {
        self.entries.iter().map(|(number, entry)| (*number, entry))
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the last run of an action for an alert was because it fired: its end has then to be answered.
    pub fn awaits_end(&self, action: &str, subject: &str) -> bool {
        let of = self.iter().filter(|(_, e)| e.action == action && e.subject == subject && e.counts());
        // Rows of an earlier run of the agent may have higher numbers, where they were found late.
        let last = of.max_by_key(|(number, entry)| (entry.since, *number));
        last.is_some_and(|(_, entry)| entry.trigger != Trigger::Resolved)
    }

    /// Lets those go that are too many: the oldest of the action that has most, so that one that is busy does not push out
    /// what is known of the others; and of those that were not run, as long as they are more than half.
    fn trim(&mut self, batch: &mut Batch) {
        // Of each action those that were not run, and those that were.
        let mut of: BTreeMap<&str, [VecDeque<u64>; 2]> = BTreeMap::new();
        for (number, entry) in &self.entries {
            let [not_run, ran] = of.entry(&entry.action).or_default();
            if entry.counts() { ran.push_back(*number) } else { not_run.push_back(*number) }
        }
        let mut gone = Vec::new();
        while self.entries.len() - gone.len() > MAX_ENTRIES {
            let Some([not_run, ran]) = of.values_mut().max_by_key(|[not_run, ran]| not_run.len() + ran.len()) else {
                break;
            };
            let longer = if ran.len() >= not_run.len() { ran } else { not_run };
            gone.extend(longer.pop_front());
        }
        gone.into_iter().for_each(|number| self.forget(number, batch));
    }

    fn forget(&mut self, number: u64, batch: &mut Batch) {
        self.entries.remove(&number);
        batch.remove(Table::Actions, row_key(number));
    }

    /// Lets those go that are old. What still runs is not.
    pub fn purge(&mut self, now: Timestamp, batch: &mut Batch) {
        let is_old = |e: &Entry| Timestamp::from_millis(e.at) + RETENTION <= now && e.result != Result::Running;
        let old: Vec<u64> = self.entries.iter().filter(|(_, e)| is_old(e)).map(|(number, _)| *number).collect();
        old.into_iter().for_each(|number| self.forget(number, batch));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(action: &str, result: Result) -> Entry {
        Entry {
            at: 1_000_000,
            action: action.into(),
            alert: BTreeMap::from([("alertname".to_string(), "Down".to_string())]),
            subject: "s".into(),
            command: vec!["true".into()],
            trigger: Trigger::Firing,
            result,
            said: String::new(),
            took: None,
            output: String::new(),
            ordered: false,
            since: Mono::default(),
        }
    }

    fn count(audit: &Audit, action: &str, result: Result) -> usize {
        audit.iter().filter(|(_, e)| e.action == action && e.result == result).count()
    }

    #[test]
    fn one_action_that_is_busy_does_not_push_out_what_is_known_of_another() {
        let (mut audit, mut batch) = (Audit::default(), Batch::default());
        audit.add(entry("rare", Result::Ok), &mut batch);
        for _ in 0..400 {
            audit.add(entry("busy", Result::Ok), &mut batch);
        }
        for _ in 0..3_000 {
            audit.add(entry("busy", Result::Skipped), &mut batch);
        }
        let within = |audit: &Audit| (MAX_ENTRIES..MAX_ENTRIES + SLACK).contains(&audit.entries.len());
        assert!(within(&audit));
        assert_eq!(count(&audit, "rare", Result::Ok), 1);
        assert_eq!(count(&audit, "busy", Result::Ok), 400, "a storm of what is not run leaves what was");
        for _ in 0..3_000 {
            audit.add(entry("busy", Result::Ok), &mut batch);
        }
        assert!(within(&audit) && count(&audit, "rare", Result::Ok) == 1);
        let stored = batch.changes().iter().map(|c| if c.row.is_some() { 1 } else { -1 }).sum::<i32>();
        assert_eq!(stored, audit.entries.len() as i32, "the store has what memory has");
    }

    #[test]
    fn a_row_comes_back_from_the_store_and_goes_after_a_month() {
        let now = |seconds: i64| Now {
            mono: Duration::from_secs(7),
            wall: Timestamp::from_millis(1_000_000 + seconds * 1000),
        };
        let (mut audit, mut batch) = (Audit::default(), Batch::default());
        let row = serde_json::to_vec(&entry("a", Result::Ok)).unwrap();
        assert!(audit.restore(41, serde_json::from_slice(&row).unwrap(), now(10)));
        assert_eq!(audit.get(41).unwrap().since, Mono::of(Duration::from_secs(7)).before(Duration::from_secs(10)));
        assert!(!audit.restore(41, entry("b", Result::Ok), now(10)), "what this run has is newer");
        assert_eq!(audit.add(entry("a", Result::Running), &mut batch), 42);
        audit.purge(now(30 * 24 * 3600 - 1).wall, &mut batch);
        assert_eq!(audit.entries.len(), 2);
        audit.purge(now(30 * 24 * 3600).wall, &mut batch);
        assert_eq!(audit.iter().map(|(number, _)| number).collect::<Vec<_>>(), [42], "it still runs");
    }
}
