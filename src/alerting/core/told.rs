//! Alerts as rules and others tell them.

use std::sync::Arc;
use std::time::Duration;

use super::{Core, Mono, Now};
use crate::alerting::known::{Known, Posted};
use crate::alerting::log::log_key;
use crate::alerting::remedy::Trigger;
use crate::alerting::view::PostedAlert;
use crate::model::{Labels, Timestamp};
use crate::rules::Alert;
use crate::sinks::{Details, Fingerprint, NotifiedAlert, Status};
use crate::state::{Batch, Table};

/// Alerts that are known at the same time: what posts too many of them is refused and takes no memory.
const MAX_KNOWN: usize = 100_000;

/// An alert as somebody tells it.
struct Telling {
    alert: NotifiedAlert,
    /// For how long that holds at least.
    valid_for: Duration,
    posted: Option<Posted>,
    /// The actions that its rule names.
    actions: Arc<[String]>,
}

impl Core {
    /// Alerts as rules tell them. Gives how many were refused because too many are known.
    pub(super) fn told_by_rules(&mut self, alerts: Vec<Alert>, now: Now, batch: &mut Batch) -> usize {
        let mut refused = 0;
        for alert in alerts {
            let (valid_for, actions) = (alert.valid_for, Arc::clone(&alert.actions));
            let telling = Telling { alert: self.complete_rules(alert), valid_for, posted: None, actions };
            refused += usize::from(!self.told(telling, now, batch));
        }
        refused
    }

    /// Alerts from elsewhere on the host, with Alertmanager's rules for what they do not say. Gives how many were refused
    /// because too many are known.
    pub(super) fn told_by_others(&mut self, alerts: Vec<PostedAlert>, now: Now, batch: &mut Batch) -> usize {
        let mut refused = 0;
        for alert in alerts {
            let telling = self.complete_posted(alert, now);
            refused += usize::from(!self.told(telling, now, batch));
        }
        refused
    }

    /// Takes an alert in; `false`: it is refused.
    fn told(&mut self, telling: Telling, now: Now, batch: &mut Batch) -> bool {
        let Telling { mut alert, valid_for, posted, actions } = telling;
        let fingerprint = alert.fingerprint();
        let known = self.alerts.get(&fingerprint);
        if known.is_none() {
            if alert.status() == Status::Resolved && !self.was_notified(&alert.labels, fingerprint) {
                // Nobody was told that it fires: nothing to take back.
                return true;
            }
            if self.alerts.len() >= MAX_KNOWN {
                return false;
            }
        }
        let fired = known.is_some_and(|known| known.alert.status() == Status::Firing);
        // The end of one that flaps may be held back: to others it has fired all the time.
        let is_news = fired != alert.ends_at.is_none() || (fired && self.flaps.holds(fingerprint));
        if self.damp(fingerprint, &mut alert, now, batch) {
            // It is told as firing; that the rule, or who posts it, is still there counts.
            self.alerts.change(&fingerprint, |known| {
                (known.told, known.updated, known.valid_for) = (Mono::of(now.mono), now.wall, valid_for);
            });
            return true;
        }
        let at = Mono::of(now.mono);
        let known = self.alerts.get(&fingerprint);
        // Since when it fires by the monotonic clock, which does not jump.
        let starts_at = at.before(Duration::from_millis(now.wall.millis_since(alert.starts_at).max(0).unsigned_abs()));
        let as_known = known.is_some_and(|known| {
            (known.alert.starts_at, known.alert.ends_at) == (alert.starts_at, alert.ends_at)
                && known.alert.details.flapping == alert.details.flapping
                && known.actions == actions
                // A time-out need not be known after a restart.
                && (known.posted == posted || posted.is_some_and(|p| p.timeout) && known.posted.is_some_and(|k| k.timeout))
        });
        if let Some(known) = known.filter(|known| known.alert.starts_at == alert.starts_at) {
            alert.details.actions.clone_from(&known.alert.details.actions);
        }
        // What came from elsewhere can be posted by whoever reaches the agent: nothing is run because of it.
        if is_news && posted.is_none() {
            let trigger = if alert.ends_at.is_none() { Trigger::Firing } else { Trigger::Resolved };
            self.remedies.notice(fingerprint, trigger);
        }
        let labels = alert.labels.clone();
        let groups = known.map_or(0, |known| known.groups);
        let in_groups = as_known && alert.status() == Status::Firing;
        let known = Known { alert, told: at, updated: now.wall, valid_for, posted, actions, groups };
        if !as_known {
            batch.put(Table::Alerts, fingerprint.to_string(), &known.row());
        }
        let limit = known.limit(self.plan.resolve_timeout);
        self.alerts.insert(fingerprint, known);
        self.next_look = self.next_look.min(limit);
        if in_groups {
            // What fires stays in its groups: nothing to do for most of what is told.
            return true;
        }
        self.index(fingerprint);
        for route in &self.plan.root.dispatch(&labels) {
            self.join(route, &labels, fingerprint, |_| (at.after(route.group_wait), false));
            // One that has fired for longer than the group would wait has waited enough.
            let id = (route.id, route.group_labels(&labels));
            let waited = starts_at.after(route.group_wait) < at;
            if waited && self.groups.get(&id).is_some_and(|group| !group.flushed && group.next_flush() > at) {
                self.groups.reschedule(&id, at);
            }
        }
        true
    }

    /// Counts how often an alert begins to fire. `true`: it ends, and the end is held back because it flaps.
    fn damp(&mut self, fingerprint: Fingerprint, alert: &mut NotifiedAlert, now: Now, batch: &mut Batch) -> bool {
        let config = &self.plan.flapping;
        let known = self.alerts.get(&fingerprint).map(|known| &known.alert);
        let fires = known.filter(|known| known.status() == Status::Firing);
        let held = self.flaps.holds(fingerprint);
        match alert.ends_at {
            None if fires.is_some() && !held => alert.details.flapping = fires.and_then(|known| known.details.flapping),
            None => alert.details.flapping = self.flaps.begins(fingerprint, config, now, batch),
            Some(_) if fires.is_none() => return false,
            Some(end) => {
                let holds = held || self.flaps.ends(fingerprint, end, now, batch);
                self.next_look = self.next_look.min(Mono::of(now.mono).after(config.calm));
                return holds;
            }
        }
        if let Some(flapping) = fires.filter(|_| alert.details.flapping.is_some()) {
            // To those who are told, it has fired all the time.
            alert.starts_at = alert.starts_at.min(flapping.starts_at);
        }
        if alert.details.flapping.is_some() {
            self.next_look = self.next_look.min(Mono::of(now.mono).after(config.calm));
        }
        false
    }

    /// The labels with those that every alert has.
    fn complete_labels(&self, labels: &Labels) -> Labels {
        labels.or(&self.plan.external_labels)
    }

    fn complete_rules(&self, alert: Alert) -> NotifiedAlert {
        NotifiedAlert {
            labels: self.complete_labels(&alert.labels),
            annotations: alert.annotations,
            starts_at: alert.starts_at,
            ends_at: alert.ends_at,
            value: alert.value,
            generator_url: self.plan.generator_url(&alert.expr),
            expr: alert.expr,
            details: Details { threshold: alert.threshold, top: alert.top, ..Details::default() },
        }
    }

    fn complete_posted(&self, posted: PostedAlert, now: Now) -> Telling {
        let PostedAlert { labels, annotations, starts_at, ends_at, generator_url } = posted;
        let labels = self.complete_labels(&labels);
        let mut starts_at = starts_at.or(ends_at).unwrap_or(now.wall);
        let mut timeout = ends_at.is_none();
        let mut until = ends_at.unwrap_or(now.wall + self.plan.resolve_timeout);
        let known = self.alerts.get(&Fingerprint::of(&labels));
        if let Some((known, before)) = known.and_then(|known| Some((known, known.posted?))) {
            // Two tellings that overlap are one alert.
            let (known_from, known_until) = (known.alert.starts_at, known.alert.ends_at);
            let known_until = known_until.unwrap_or(Timestamp::from_millis(before.until));
            let within = |t: Timestamp| known_from < t && t < known_until;
            if within(until) || within(starts_at) {
                starts_at = starts_at.min(known_from);
                // What ended later counts of two ends; of what still fires, what was said to end later, if it was said.
                let counts = match until <= now.wall {
                    true => known.alert.status() == Status::Resolved,
                    false => !before.timeout,
                };
                if counts && known_until > until {
                    (until, timeout) = (known_until, before.timeout);
                }
            }
        }
        let resolved = until <= now.wall;
        let left = u64::try_from(until.millis_since(now.wall)).unwrap_or(0);
        Telling {
            alert: NotifiedAlert {
                labels,
                annotations,
                starts_at,
                ends_at: resolved.then_some(until),
                value: f64::NAN,
                generator_url,
                expr: String::new(),
                details: Details::default(),
            },
            valid_for: Duration::from_millis(left),
            posted: Some(Posted { until: until.as_millis(), timeout }),
            actions: Arc::default(),
        }
    }

    fn was_notified(&self, labels: &Labels, fingerprint: Fingerprint) -> bool {
        self.plan.root.dispatch(labels).iter().any(|route| {
            let key = route.group_key(&route.group_labels(labels));
            let recipients = self.plan.recipients.get(&route.receiver).map(Vec::as_slice).unwrap_or_default();
            recipients.iter().any(|recipient| {
                let entry = self.log.get(&log_key(&recipient.target, &key));
                entry.is_some_and(|entry| entry.told.firing.contains(&fingerprint))
            })
        })
    }
}
