//! What a restart must not forget: pending and firing alerts, and those resolved of late.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::alert::{ActiveAlert, Moment, State};
use crate::model::{Labels, Timestamp};

/// The alerts of all rules, to be kept over a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RulesState {
    pub alerts: Vec<SavedAlert>,
}

/// An alert as it is kept. Times are milliseconds; those that were measured on the monotonic clock are lengths, as that
/// clock does not outlive the process.
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
    /// For how long it had held.
    pub active_for: i64,
    pub state: SavedState,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SavedState {
    Pending,
    Firing { since: i64, kept_for: Option<i64> },
    Resolved { since: i64, at: i64, ago: i64 },
}

fn pairs(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
}

impl SavedAlert {
    /// An alert as it stands `now`; the rule it belongs to is still to be named.
    pub(super) fn of(labels: &Labels, alert: &ActiveAlert, now: Moment) -> SavedAlert {
        SavedAlert {
            file: String::new(),
            group: String::new(),
            rule: String::new(),
            nth: 0,
            labels: pairs(labels),
            annotations: pairs(&alert.annotations),
            value_bits: alert.value.to_bits(),
            active_at: alert.active_at.wall.as_millis(),
            active_for: now.since(alert.active_at.mono),
            state: match alert.state {
                State::Pending => SavedState::Pending,
                State::Firing { since, kept_since } => {
                    SavedState::Firing { since: since.as_millis(), kept_for: kept_since.map(|k| now.since(k)) }
                }
                State::Resolved { since, at } => {
                    SavedState::Resolved { since: since.as_millis(), at: at.wall.as_millis(), ago: now.since(at.mono) }
                }
            },
        }
    }

    /// The alert, on the clocks as they stand `now`.
    pub(super) fn restored(&self, now: Moment) -> (Labels, ActiveAlert) {
        let before = |length: i64| now.mono.saturating_sub(length.max(0));
        let wall = Timestamp::from_millis;
        let state = match self.state {
            SavedState::Pending => State::Pending,
            SavedState::Firing { since, kept_for } => {
                State::Firing { since: wall(since), kept_since: kept_for.map(before) }
            }
            SavedState::Resolved { since, at, ago } => {
                State::Resolved { since: wall(since), at: Moment { wall: wall(at), mono: before(ago) } }
            }
        };
        let active_at = Moment { wall: wall(self.active_at), mono: before(self.active_for) };
        let value = f64::from_bits(self.value_bits);
        let alert = ActiveAlert::saved(Labels::from_pairs(&self.annotations), value, state, active_at);
        (Labels::from_pairs(&self.labels), alert)
    }
}
