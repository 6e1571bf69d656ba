//! An alert that alerting knows, and how it is kept over a restart.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::core::{Mono, Now};
use crate::model::Timestamp;
use crate::sinks::{Fingerprint, NotifiedAlert, Status};

/// An alert that is known.
pub(super) struct Known {
    /// As groups and notifications have it.
    pub alert: NotifiedAlert,
    /// When somebody last told of it.
    pub told: Mono,
    /// The same by the wall clock.
    pub updated: Timestamp,
    /// How long that holds at least, from then on.
    pub valid_for: Duration,
    /// What came with it, if it is from elsewhere; rules have nothing of that.
    pub posted: Option<Posted>,
    /// The actions that its rule names.
    pub actions: Arc<[String]>,
    /// How many groups it is in.
    pub groups: usize,
}

/// The alerts that are known. How many of them fire is counted as they come, change and go: it is asked after each event,
/// when there may be tens of thousands.
#[derive(Default)]
pub(super) struct Alerts {
    by_fingerprint: HashMap<Fingerprint, Known>,
    firing: usize,
}

impl Alerts {
    pub fn get(&self, fingerprint: &Fingerprint) -> Option<&Known> {
        self.by_fingerprint.get(fingerprint)
    }

    pub fn contains(&self, fingerprint: &Fingerprint) -> bool {
        self.by_fingerprint.contains_key(fingerprint)
    }

    /// In no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&Fingerprint, &Known)> {
        self.by_fingerprint.iter()
    }

    pub fn len(&self) -> usize {
        self.by_fingerprint.len()
    }

    /// How many fire.
    pub fn firing(&self) -> usize {
        self.firing
    }

    /// Takes one in, in place of what was known of it.
    pub fn insert(&mut self, fingerprint: Fingerprint, known: Known) {
        self.firing += known.fires();
        let before = self.by_fingerprint.insert(fingerprint, known);
        self.firing -= before.map_or(0, |known| known.fires());
    }

    pub fn remove(&mut self, fingerprint: &Fingerprint) {
        let gone = self.by_fingerprint.remove(fingerprint);
        self.firing -= gone.map_or(0, |known| known.fires());
    }

    /// Changes one, if it is known.
    pub fn change<T>(&mut self, fingerprint: &Fingerprint, change: impl FnOnce(&mut Known) -> T) -> Option<T> {
        let known = self.by_fingerprint.get_mut(fingerprint)?;
        self.firing -= known.fires();
        let result = change(known);
        self.firing += known.fires();
        Some(result)
    }

    /// Takes all out of their groups.
    pub fn leave_groups(&mut self) {
        self.by_fingerprint.values_mut().for_each(|known| known.groups = 0);
    }
}

/// What is known of an alert from elsewhere on the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Posted {
    /// Until when it holds, as it was told, by the wall clock, in milliseconds.
    pub until: i64,
    /// Nobody said until when: it is so because of `resolve_timeout`.
    pub timeout: bool,
}

/// The row of an alert in the store.
#[derive(Serialize, Deserialize)]
struct Row<A> {
    #[serde(flatten)]
    alert: A,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    posted: Option<Posted>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    actions: Vec<String>,
}

/// As [`Known`] is read from the store.
pub(super) struct Stored(Row<NotifiedAlert>);

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Row::deserialize(from).map(Stored)
    }
}

impl Known {
    /// After a restart: what was told before it holds for the time that everybody has to tell again.
    pub fn restore(stored: Stored, resolve_timeout: Duration, now: Now) -> Known {
        let Row { alert, posted, actions } = stored.0;
        let left = posted.map(|posted| {
            let left = Timestamp::from_millis(posted.until).millis_since(now.wall);
            // Nobody could tell it while the agent was away.
            u64::try_from(left)
                .ok()
                .filter(|left| *left > 0 && !posted.timeout)
                .map_or(resolve_timeout, Duration::from_millis)
        });
        let valid_for = left.unwrap_or(Duration::ZERO);
        Known {
            alert,
            told: Mono::of(now.mono),
            updated: now.wall,
            valid_for,
            posted,
            actions: actions.into(),
            groups: 0,
        }
    }

    /// 1 if it fires, to be counted.
    fn fires(&self) -> usize {
        usize::from(self.alert.status() == Status::Firing)
    }

    /// What the store keeps.
    pub fn row(&self) -> impl Serialize + use<'_> {
        Row { alert: &self.alert, posted: self.posted, actions: self.actions.to_vec() }
    }

    /// Until when what was told holds.
    pub fn limit(&self, resolve_timeout: Duration) -> Mono {
        match self.posted {
            Some(_) => self.told.after(self.valid_for),
            None => self.told.after(self.valid_for.max(resolve_timeout)),
        }
    }

    /// When it ends if nobody tells of it again, or ended, by the wall clock.
    pub fn ends_at(&self, resolve_timeout: Duration) -> Timestamp {
        match (self.alert.ends_at, self.posted) {
            (Some(ended), _) => ended,
            (None, Some(posted)) => Timestamp::from_millis(posted.until),
            (None, None) => self.updated + self.valid_for.max(resolve_timeout),
        }
    }
}
