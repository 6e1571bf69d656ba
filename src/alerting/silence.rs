//! Silences: what people do not want to hear of for a while. The rules for setting and changing them are Alertmanager's.
//!
//! They follow the wall clock, as people wrote them, also when it jumps.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::matcher::Matcher;
use super::view::{Silence, SilenceError, SilenceState};
use crate::model::{Labels, Timestamp};
use crate::state::{Batch, Table};

/// How long a silence is remembered after its end, as in Alertmanager.
const RETENTION: Duration = Duration::from_secs(120 * 3600);
/// Far more than people write; each is looked at for each alert that is to be told.
const MAX_SILENCES: usize = 10_000;

/// All silences, the ended ones included until they are forgotten.
#[derive(Default, Debug)]
pub(super) struct Silences {
    by_id: BTreeMap<String, Silence>,
}

/// A silence as it is stored; times in milliseconds.
#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    matchers: Vec<Matcher>,
    starts_at: i64,
    ends_at: i64,
    updated_at: i64,
    created_by: String,
    comment: String,
}

impl Silences {
    /// Takes over a stored one.
    pub fn restore(&mut self, id: String, row: Row) {
        let silence = Silence {
            id: id.clone(),
            matchers: row.matchers,
            starts_at: Timestamp::from_millis(row.starts_at),
            ends_at: Timestamp::from_millis(row.ends_at),
            updated_at: Timestamp::from_millis(row.updated_at),
            created_by: row.created_by,
            comment: row.comment,
        };
        self.by_id.insert(id, silence);
    }

    fn put(&mut self, silence: Silence, batch: &mut Batch) {
        let row = Row {
            matchers: silence.matchers.clone(),
            starts_at: silence.starts_at.as_millis(),
            ends_at: silence.ends_at.as_millis(),
            updated_at: silence.updated_at.as_millis(),
            created_by: silence.created_by.clone(),
            comment: silence.comment.clone(),
        };
        batch.put(Table::Silences, silence.id.clone(), &row);
        self.by_id.insert(silence.id.clone(), silence);
    }

    /// Sets a new silence, or changes one that is known. A change that would alter the past ends the old one and makes a
    /// new one; so does one of a silence that has ended. Gives the identifier. `new_id` makes one.
    pub fn set(
        &mut self,
        mut silence: Silence,
        now: Timestamp,
        new_id: impl FnOnce() -> String,
        batch: &mut Batch,
    ) -> Result<String, SilenceError> {
        check(&silence, now).map_err(SilenceError::Invalid)?;
        let before = match silence.id.as_str() {
            "" => None,
            id => Some(self.by_id.get(id).ok_or(SilenceError::NotFound)?.clone()),
        };
        silence.updated_at = now;
        if before.as_ref().is_some_and(|before| can_become(before, &silence, now)) {
            let id = silence.id.clone();
            self.put(silence, batch);
            return Ok(id);
        }
        if self.by_id.len() >= MAX_SILENCES {
            return Err(SilenceError::Invalid(format!("there are {MAX_SILENCES} silences already")));
        }
        if let Some(before) = before {
            self.expire(&before.id, now, batch)?;
        }
        silence.id = new_id();
        silence.starts_at = silence.starts_at.max(now);
        let id = silence.id.clone();
        self.put(silence, batch);
        Ok(id)
    }

    /// Ends a silence now. One that has ended stays as it is.
    pub fn expire(&mut self, id: &str, now: Timestamp, batch: &mut Batch) -> Result<(), SilenceError> {
        let mut silence = self.by_id.get(id).ok_or(SilenceError::NotFound)?.clone();
        match silence.state(now) {
            SilenceState::Expired => return Ok(()),
            SilenceState::Active => silence.ends_at = now,
            SilenceState::Pending => (silence.starts_at, silence.ends_at) = (now, now),
        }
        silence.updated_at = now;
        self.put(silence, batch);
        Ok(())
    }

    /// Those that keep an alert from being told now.
    pub fn of<'a>(&'a self, labels: &'a Labels, now: Timestamp) -> impl Iterator<Item = &'a Silence> {
        self.by_id.values().filter(move |s| s.state(now) == SilenceState::Active && s.matches(labels))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Silence> {
        self.by_id.values()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Forgets those that ended long ago.
    pub fn purge(&mut self, now: Timestamp, batch: &mut Batch) {
        self.by_id.retain(|id, silence| {
            let kept = silence.ends_at + RETENTION > now;
            if !kept {
                batch.remove(Table::Silences, id.clone());
            }
            kept
        });
    }
}

fn check(silence: &Silence, now: Timestamp) -> Result<(), String> {
    if silence.matchers.is_empty() {
        return Err("a silence needs at least one matcher".to_string());
    }
    if silence.matchers.iter().any(|matcher| matcher.name.is_empty()) {
        return Err("a matcher needs the name of a label".to_string());
    }
    // As in Alertmanager, a negative matcher counts as one that does not match the empty value.
    if silence.matchers.iter().all(|matcher| !matcher.op.is_negative() && matcher.matches("")) {
        return Err("at least one matcher must not match the empty string: this would silence everything".to_string());
    }
    if silence.starts_at >= silence.ends_at {
        return Err("a silence must start before it ends".to_string());
    }
    if silence.ends_at < now {
        return Err("the end of a silence cannot be in the past".to_string());
    }
    Ok(())
}

/// Whether a silence can be changed into another without altering what was silenced up to now.
fn can_become(old: &Silence, new: &Silence, now: Timestamp) -> bool {
    let second = |t: Timestamp| t.as_millis().div_euclid(1000);
    old.matchers == new.matchers
        && match old.state(now) {
            SilenceState::Active => second(old.starts_at) == second(new.starts_at),
            SilenceState::Pending => new.starts_at >= now,
            SilenceState::Expired => false,
        }
}

#[cfg(test)]
mod tests {
    use super::super::matcher::parse_matchers;
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn silence(matchers: &str, starts_at: i64, ends_at: i64) -> Silence {
        Silence {
            id: String::new(),
            matchers: parse_matchers(matchers).unwrap(),
            starts_at: at(starts_at),
            ends_at: at(ends_at),
            updated_at: at(0),
            created_by: "me".to_string(),
            comment: "work".to_string(),
        }
    }

    /// Sets silences at a time; new ones are called by the time.
    fn set(silences: &mut Silences, silence: Silence, now: i64) -> Result<String, SilenceError> {
        silences.set(silence, at(now), || format!("at-{now}"), &mut Batch::default())
    }

    fn why(silence: Silence) -> String {
        set(&mut Silences::default(), silence, 100).unwrap_err().to_string()
    }

    #[test]
    fn a_silence_that_makes_no_sense_is_refused_with_the_reason() {
        assert!(why(silence("", 100, 200)).contains("at least one matcher"));
        assert!(why(silence("a=\"\",b=~\".*\"", 100, 200)).contains("must not match the empty string"));
        assert!(why(silence("a=b", 200, 200)).contains("must start before"));
        assert!(why(silence("a=b", 10, 99)).contains("in the past"));
        assert!(set(&mut Silences::default(), silence("a!=b", 100, 200), 100).is_ok());
        let mut unknown = silence("a=b", 100, 200);
        unknown.id = "x".to_string();
        assert_eq!(set(&mut Silences::default(), unknown, 100), Err(SilenceError::NotFound));
    }

    #[test]
    fn a_silence_holds_from_its_start_to_its_end_by_the_wall_clock() {
        let mut silences = Silences::default();
        // What begins in the past begins now.
        assert_eq!(set(&mut silences, silence("a=b", 50, 200), 100), Ok("at-100".to_string()));
        assert_eq!(set(&mut silences, silence("a=~b|c", 150, 160), 101), Ok("at-101".to_string()));
        let by = |value: &str, now: i64| {
            let labels = Labels::from_pairs([("a", value)]);
            silences.of(&labels, at(now)).map(|s| s.id.clone()).collect::<Vec<_>>()
        };
        assert!(by("b", 99).is_empty());
        assert_eq!(by("b", 100), ["at-100"]);
        assert_eq!(by("b", 155), ["at-100", "at-101"]);
        assert_eq!(by("c", 155), ["at-101"]);
        assert!(by("b", 200).is_empty() && by("d", 155).is_empty());
    }

    #[test]
    fn a_change_that_leaves_the_past_as_it_was_keeps_the_identifier() {
        let mut silences = Silences::default();
        let id = set(&mut silences, silence("a=b", 100, 200), 100).unwrap();
        let known = |silences: &Silences, id: &str| silences.iter().find(|s| s.id == id).cloned().unwrap();
        let mut longer = known(&silences, &id);
        longer.ends_at = at(300);
        assert_eq!(set(&mut silences, longer.clone(), 150), Ok(id.clone()));
        // Other matchers: the old one ends, a new one begins now.
        longer.matchers = parse_matchers("a=c").unwrap();
        assert_eq!(set(&mut silences, longer, 160), Ok("at-160".to_string()));
        assert_eq!(known(&silences, &id).ends_at, at(160));
        assert_eq!((known(&silences, "at-160").starts_at, known(&silences, "at-160").ends_at), (at(160), at(300)));
        // One that has ended is not changed any more.
        let mut again = known(&silences, &id);
        again.ends_at = at(500);
        assert_eq!(set(&mut silences, again, 170), Ok("at-170".to_string()));
    }

    #[test]
    fn an_expired_one_is_remembered_for_five_days_and_stored_until_then() {
        let mut silences = Silences::default();
        let (active, pending) = (
            set(&mut silences, silence("a=b", 0, 900), 100).unwrap(),
            set(&mut silences, silence("a=b", 500, 900), 101).unwrap(),
        );
        let mut batch = Batch::default();
        for id in [&active, &pending, &pending] {
            silences.expire(id, at(200), &mut batch).unwrap();
        }
        assert_eq!(silences.expire("x", at(200), &mut batch), Err(SilenceError::NotFound));
        assert_eq!(batch.changes().len(), 2, "expiring again changes nothing");
        assert!(silences.iter().all(|s| s.state(at(200)) == SilenceState::Expired && s.ends_at == at(200)));
        let row: Row = serde_json::from_slice(batch.changes()[0].row.as_ref().unwrap()).unwrap();
        let mut restored = Silences::default();
        restored.restore(active.clone(), row);
        assert_eq!(restored.by_id.get(&active), silences.by_id.get(&active));

        silences.purge(at(200 + 120 * 3600 - 1), &mut batch);
        assert!(!silences.is_empty());
        silences.purge(at(200 + 120 * 3600), &mut batch);
        assert!(silences.is_empty() && batch.changes().iter().filter(|change| change.row.is_none()).count() == 2);
    }
}
