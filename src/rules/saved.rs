//! What a restart must not forget: pending and firing alerts, and those resolved of late, a row each.
//!
//! A row is written when its alert comes or changes its state, and not touched while that lasts: moments in it are those of
//! the clock that [`RuleEngine`](super::RuleEngine) is evaluated by, which goes on after a restart where it stood.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::alert::{ActiveAlert, Moment, State};
use crate::model::{Labels, Timestamp, TopProcess};

/// Rows to write: alerts that came or changed their state, and those that are gone. Cheap to make; the rows themselves
/// are made where they are written.
#[derive(Debug, Default)]
pub struct StateChanges {
    pub(super) changed: Vec<Changed>,
    pub(super) gone: Vec<u64>,
}

/// An alert to be kept.
#[derive(Debug)]
pub(super) struct Changed {
    pub number: u64,
    pub file: Arc<str>,
    pub group: Arc<str>,
    pub rule: Arc<str>,
    pub nth: usize,
    pub labels: Labels,
    pub alert: ActiveAlert,
}

impl StateChanges {
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.gone.is_empty()
    }

    /// The rows, by the numbers of the alerts; nothing for an alert that is gone.
    pub fn into_rows(self) -> impl Iterator<Item = (u64, Option<SavedAlert>)> {
        let changed = self.changed.into_iter().map(|c| (c.number, Some(SavedAlert::of(&c))));
        changed.chain(self.gone.into_iter().map(|number| (number, None)))
    }
}

/// An alert as it is kept. Times are milliseconds: `_at` and `since` by the wall clock, `_mono` by the clock of
/// evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedAlert {
    pub file: String,
    pub group: String,
    pub rule: String,
    /// Which of the alerting rules of that name in the group.
    pub nth: usize,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// The bits of the value: JSON has neither NaN nor infinity.
    pub value_bits: u64,
    /// When the condition began to hold.
    pub active_at: i64,
    pub active_mono: i64,
    pub state: SavedState,
    /// The processes that used most of the host when it began to fire.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<TopProcess>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SavedState {
    Pending,
    Firing { since: i64, kept_mono: Option<i64> },
    Resolved { since: i64, at: i64, at_mono: i64 },
}

fn pairs(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
}

impl SavedAlert {
    fn of(changed: &Changed) -> SavedAlert {
        let Changed { file, group, rule, nth, labels, alert, .. } = changed;
        SavedAlert {
            file: file.to_string(),
            group: group.to_string(),
            rule: rule.to_string(),
            nth: *nth,
            labels: pairs(labels),
            annotations: pairs(&alert.annotations),
            value_bits: alert.value.to_bits(),
            active_at: alert.active_at.wall.as_millis(),
            active_mono: alert.active_at.mono,
            top: alert.top.to_vec(),
            state: match alert.state {
                State::Pending => SavedState::Pending,
                State::Firing { since, kept_since } => {
                    SavedState::Firing { since: since.as_millis(), kept_mono: kept_since }
                }
                State::Resolved { since, at } => {
                    SavedState::Resolved { since: since.as_millis(), at: at.wall.as_millis(), at_mono: at.mono }
                }
            },
        }
    }

    /// The same told by a clock that shows so much less.
    pub fn earlier(mut self, by: Duration) -> SavedAlert {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.active_mono = self.active_mono.saturating_sub(by);
        match &mut self.state {
            SavedState::Pending | SavedState::Firing { kept_mono: None, .. } => {}
            SavedState::Firing { kept_mono: Some(mono), .. } | SavedState::Resolved { at_mono: mono, .. } => {
                *mono = mono.saturating_sub(by);
            }
        }
        self
    }

    /// The alert as it was when the clock of evaluation stood where it stands `now`.
    pub(super) fn restored(&self, number: u64, now: Moment) -> (Labels, ActiveAlert) {
        // What is later than now lies: it would last for ever.
        let mono = |mono: i64| mono.min(now.mono);
        let moment = |wall: i64, at: i64| Moment { wall: Timestamp::from_millis(wall), mono: mono(at) };
        let since = Timestamp::from_millis;
        let state = match self.state {
            SavedState::Pending => State::Pending,
            SavedState::Firing { since: at, kept_mono } => {
                State::Firing { since: since(at), kept_since: kept_mono.map(mono) }
            }
            SavedState::Resolved { since: from, at, at_mono } => {
                State::Resolved { since: since(from), at: moment(at, at_mono) }
            }
        };
        let active_at = moment(self.active_at, self.active_mono);
        let value = f64::from_bits(self.value_bits);
        let mut alert = ActiveAlert::kept(number, Labels::from_pairs(&self.annotations), value, state, active_at);
        alert.top = self.top.as_slice().into();
        (Labels::from_pairs(&self.labels), alert)
    }
}
