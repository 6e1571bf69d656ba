//! Notifications that were given up: kept for people to see, to try again or to throw away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::plan::Target;
use super::queue::{row_key, shared};
use super::view::Undelivered;
use crate::model::Timestamp;
use crate::sinks::{Fingerprint, Notification, NotifiedAlert};
use crate::state::{Batch, Table};

/// The last so many are kept,
const MAX_LETTERS: usize = 1_000;
/// as long as they have no more alerts than this all together: they are held in memory.
const MAX_ALERTS: usize = 10_000;
/// And for so long.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// A notification that was given up, as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Letter {
    pub target: Target,
    #[serde(with = "shared")]
    pub notification: Arc<Notification>,
    /// Why.
    pub error: String,
    /// When, by the wall clock, in milliseconds.
    pub given_up: i64,
    /// Tries that had failed by then.
    pub failures: u32,
}

/// All of them, by the number that each had in the queue.
#[derive(Default, Debug)]
pub(super) struct DeadLetters {
    letters: BTreeMap<u64, Letter>,
    alerts: usize,
}

impl DeadLetters {
    pub fn restore(&mut self, number: u64, letter: Letter) {
        self.alerts += letter.notification.alerts.len();
        self.letters.insert(number, letter);
    }

    /// A notification tells, or is given up in place of, all that some of these tell: they are no longer needed.
    pub fn supersede(&mut self, target: &Target, notification: &Notification, batch: &mut Batch) {
        let old = |letter: &Letter| letter.target == *target && says_all(notification, &letter.notification);
        let gone: Vec<u64> = self.letters.iter().filter(|(_, l)| old(l)).map(|(number, _)| *number).collect();
        for number in gone {
            self.take(number, batch);
        }
    }

    /// Keeps one more, and lets the oldest go where they are too many.
    pub fn bury(&mut self, number: u64, letter: Letter, batch: &mut Batch) {
        // A group that is refused again and again leaves one.
        self.supersede(&letter.target, &letter.notification, batch);
        batch.put(Table::DeadLetters, row_key(number), &letter);
        self.restore(number, letter);
        while self.letters.len() > MAX_LETTERS || self.alerts > MAX_ALERTS && self.letters.len() > 1 {
            let Some(oldest) = self.letters.keys().next().copied() else { break };
            self.take(oldest, batch);
        }
    }

    pub fn get(&self, number: u64) -> Option<&Letter> {
        self.letters.get(&number)
    }

    pub fn take(&mut self, number: u64, batch: &mut Batch) -> Option<Letter> {
        let letter = self.letters.remove(&number)?;
        self.alerts = self.alerts.saturating_sub(letter.notification.alerts.len());
        batch.remove(Table::DeadLetters, row_key(number));
        Some(letter)
    }

    pub fn len(&self) -> usize {
        self.letters.len()
    }

    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    pub fn view(&self) -> impl Iterator<Item = Undelivered> {
        self.letters.iter().map(|(number, letter)| Undelivered {
            failures: letter.failures,
            error: letter.error.clone(),
            given_up: Some(Timestamp::from_millis(letter.given_up)),
            ..Undelivered::of(*number, &letter.target, &letter.notification)
        })
    }

    /// Lets those go that were given up long ago.
    pub fn purge(&mut self, now: Timestamp, batch: &mut Batch) {
        let old = |letter: &Letter| Timestamp::from_millis(letter.given_up) + RETENTION <= now;
        let gone: Vec<u64> = self.letters.iter().filter(|(_, l)| old(l)).map(|(number, _)| *number).collect();
        for number in gone {
            self.take(number, batch);
        }
    }
}

/// Whether a notification of the same group says of each alert of an older one the same.
fn says_all(new: &Notification, old: &Notification) -> bool {
    if new.group_key != old.group_key {
        return false;
    }
    let said: BTreeMap<Fingerprint, &NotifiedAlert> = new.alerts.iter().map(|a| (a.fingerprint(), a)).collect();
    old.alerts.iter().all(|alert| {
        let newer = said.get(&alert.fingerprint());
        newer.is_some_and(|newer| newer.status() == alert.status() && newer.starts_at == alert.starts_at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    fn letter(alerts: usize, given_up: i64) -> Letter {
        let alert = NotifiedAlert {
            labels: Labels::from_pairs([("alertname", "X")]),
            annotations: Labels::empty(),
            starts_at: Timestamp::from_millis(given_up),
            ends_at: None,
            value: 1.0,
            generator_url: String::new(),
            expr: String::new(),
            details: Default::default(),
        };
        let notification = Notification {
            id: "i".to_string(),
            receiver: "r".to_string(),
            group_key: format!("g{alerts}"),
            group_labels: Labels::empty(),
            at: Timestamp::default(),
            external_url: String::new(),
            alerts: vec![alert; alerts],
        };
        Letter {
            target: Target { receiver: "r".into(), integration: "webhook".into(), index: 0 },
            notification: Arc::new(notification),
            error: "403".to_string(),
            given_up,
            failures: 5,
        }
    }

    #[test]
    fn the_last_thousand_are_kept_and_fewer_if_they_are_large() {
        let (mut dead, mut batch) = (DeadLetters::default(), Batch::default());
        (0..1100).for_each(|number| dead.bury(number, letter(1, number as i64), &mut batch));
        assert_eq!((dead.len(), dead.view().next().map(|l| l.number)), (1000, Some(100)));
        assert_eq!(batch.changes().iter().filter(|change| change.row.is_none()).count(), 100);
        dead.bury(2000, letter(9_900, 0), &mut batch);
        assert_eq!((dead.len(), dead.alerts), (101, 10_000));
        dead.bury(2001, letter(20_000, 0), &mut batch);
        assert_eq!((dead.len(), dead.alerts), (1, 20_000));
    }

    #[test]
    fn one_that_says_the_same_of_the_same_group_takes_the_place_of_the_older() {
        let (mut dead, mut batch) = (DeadLetters::default(), Batch::default());
        dead.bury(1, letter(1, 0), &mut batch);
        dead.bury(2, letter(1, 0), &mut batch);
        dead.bury(3, letter(1, 7), &mut batch);
        assert_eq!(dead.view().map(|l| l.number).collect::<Vec<_>>(), [2, 3]);
        let told = letter(1, 7);
        let other = Target { receiver: "s".into(), ..told.target.clone() };
        dead.supersede(&other, &told.notification, &mut batch);
        assert_eq!(dead.len(), 2, "to each its own");
        dead.supersede(&told.target, &told.notification, &mut batch);
        assert_eq!(dead.view().map(|l| l.number).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn after_seven_days_they_go() {
        let (mut dead, mut batch) = (DeadLetters::default(), Batch::default());
        dead.bury(1, letter(1, 0), &mut batch);
        dead.bury(2, letter(1, 1000), &mut batch);
        let week = 7 * 24 * 3600 * 1000;
        dead.purge(Timestamp::from_millis(week - 1), &mut batch);
        assert_eq!(dead.len(), 2);
        dead.purge(Timestamp::from_millis(week), &mut batch);
        let seen: Vec<Undelivered> = dead.view().collect();
        assert_eq!((seen.len(), seen[0].number, seen[0].given_up), (1, 2, Some(Timestamp::from_millis(1000))));
        assert_eq!((seen[0].firing, seen[0].resolved, seen[0].failures, seen[0].error.as_str()), (1, 0, 5, "403"));
    }
}
