//! What others may ask of alerting, and tell it: alerts, groups, silences as Alertmanager's API has them, and what is
//! not delivered.

use std::fmt;

use super::matcher::Matcher;
use super::plan::Target;
use crate::model::{Labels, Timestamp};
use crate::sinks::{Fingerprint, Notification, NotifiedAlert, Status};

/// An alert and how it stands.
#[derive(Clone, PartialEq, Debug)]
pub struct AlertView {
    pub alert: NotifiedAlert,
    /// Until when it holds without being told again, or when it ended.
    pub ends_at: Timestamp,
    pub updated_at: Timestamp,
    /// The receivers that its routes lead to.
    pub receivers: Vec<String>,
    /// The silences that match it now.
    pub silenced_by: Vec<String>,
    /// The alerts that inhibit it now.
    pub inhibited_by: Vec<Fingerprint>,
    /// The time intervals that mute it now: in the group that is looked at, or where it is looked at alone, in all groups;
    /// then none where it is told in one of them.
    pub muted_by: Vec<String>,
}

/// The alerts of one group.
#[derive(Clone, PartialEq, Debug)]
pub struct GroupView {
    pub labels: Labels,
    pub receiver: String,
    pub key: String,
    pub alerts: Vec<AlertView>,
}

/// Alerts that match all of the matchers are not told between its start and its end.
#[derive(Clone, PartialEq, Debug)]
pub struct Silence {
    /// A UUID.
    pub id: String,
    pub matchers: Vec<Matcher>,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub updated_at: Timestamp,
    pub created_by: String,
    pub comment: String,
}

/// Where a silence stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SilenceState {
    Active,
    Pending,
    Expired,
}

impl Silence {
    pub fn state(&self, now: Timestamp) -> SilenceState {
        if now < self.starts_at {
            SilenceState::Pending
        } else if now < self.ends_at {
            SilenceState::Active
        } else {
            SilenceState::Expired
        }
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name)))
    }
}

/// Why a silence is not set or expired.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SilenceError {
    NotFound,
    /// What is wrong with it.
    Invalid(String),
    /// The agent ends.
    Gone,
}

impl fmt::Display for SilenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SilenceError::NotFound => f.write_str("there is no such silence"),
            SilenceError::Invalid(why) => f.write_str(why),
            SilenceError::Gone => f.write_str("the agent ends"),
        }
    }
}

impl std::error::Error for SilenceError {}

/// An alert from elsewhere on the host.
#[derive(Clone, PartialEq, Debug)]
pub struct PostedAlert {
    pub labels: Labels,
    pub annotations: Labels,
    pub starts_at: Option<Timestamp>,
    /// In the past: it is resolved. In the future: it holds until then.
    pub ends_at: Option<Timestamp>,
    pub generator_url: String,
}

/// A notification that is not delivered: it waits, or was given up.
#[derive(Clone, PartialEq, Debug)]
pub struct Undelivered {
    /// Its number in the queue, or among what was given up.
    pub number: u64,
    pub target: Target,
    pub group_key: String,
    /// The names of its alerts.
    pub alerts: String,
    pub firing: usize,
    pub resolved: usize,
    /// When it became due.
    pub at: Timestamp,
    /// Tries that have failed in this run.
    pub failures: u32,
    /// What the last failure was; `""` where there was none.
    pub error: String,
    /// When it was given up; `None` while it waits.
    pub given_up: Option<Timestamp>,
}

impl Undelivered {
    /// Of a notification that has not been tried.
    pub(super) fn of(number: u64, target: &Target, notification: &Notification) -> Undelivered {
        Undelivered {
            number,
            target: target.clone(),
            group_key: notification.group_key.clone(),
            alerts: notification.alert_names(),
            firing: notification.count(Status::Firing),
            resolved: notification.count(Status::Resolved),
            at: notification.at,
            failures: 0,
            error: String::new(),
            given_up: None,
        }
    }
}
