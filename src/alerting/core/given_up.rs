//! Notifications that were given up: what becomes of the alerts in them, and another try when people want one.

use std::sync::Arc;
use std::time::Duration;

use super::{Actions, Core, Mono, Now};
use crate::alerting::dead::Letter;
use crate::alerting::known::Known;
use crate::alerting::log::{Told, log_key};
use crate::alerting::plan::Target;
use crate::alerting::queue::Attempt;
use crate::sinks::{Notification, NotifiedAlert, Status};
use crate::state::{Batch, Table};

impl Core {
    /// Keeps a notification that is not tried any more.
    pub(super) fn bury(
        &mut self,
        number: u64,
        target: Target,
        notification: Arc<Notification>,
        (error, failures): (String, u32),
        now: Now,
        batch: &mut Batch,
    ) {
        let letter = Letter { target, notification, error, given_up: now.wall.as_millis(), failures };
        self.dead.bury(number, letter, batch);
    }

    /// A target that knows that an alert fires has refused, for good, to hear of its end: as Alertmanager does, it is told
    /// again when the group would be looked at next, and so on until it listens.
    pub(super) fn tell_ends_again(&mut self, refused: &Attempt, now: Mono, batch: &mut Batch) {
        let notification = Arc::clone(&refused.notification);
        for alert in notification.alerts.iter().filter(|alert| alert.status() == Status::Resolved) {
            let fingerprint = alert.fingerprint();
            if self.log.get(&refused.lane).is_some_and(|entry| entry.told.firing.contains(&fingerprint)) {
                self.tell_end(&refused.target, &notification.group_key, alert, now, batch);
            }
        }
    }

    /// Sees to it that the end of an alert is told when its group is looked at next.
    fn tell_end(&mut self, target: &Target, group_key: &str, alert: &NotifiedAlert, now: Mono, batch: &mut Batch) {
        let fingerprint = alert.fingerprint();
        for route in self.plan.root.dispatch(&alert.labels) {
            if route.receiver != target.receiver || route.group_key(&route.group_labels(&alert.labels)) != group_key {
                continue;
            }
            if !self.alerts.contains(&fingerprint) {
                let known = Known {
                    alert: alert.clone(),
                    told: now,
                    updated: alert.ends_at.unwrap_or_default(),
                    valid_for: Duration::ZERO,
                    posted: None,
                    actions: Arc::default(),
                    groups: 0,
                };
                batch.put(Table::Alerts, fingerprint.to_string(), &known.row());
                self.alerts.insert(fingerprint, known);
            }
            self.join(&route, &alert.labels, fingerprint, |_| (now.after(route.group_interval), true));
        }
    }

    /// Puts a notification that was given up into the queue again, as it is. Where its alerts stand otherwise by now, that
    /// is told after it. `false`: there is none of this number, or its target is no longer configured.
    pub fn retry(&mut self, number: u64, now: Now) -> (bool, Actions) {
        let mut actions = Actions::default();
        let configured = self.dead.get(number).is_some_and(|letter| self.plan.has(&letter.target));
        if let Some(letter) = configured.then(|| self.dead.take(number, &mut actions.batch)).flatten() {
            self.put_back(letter, now, &mut actions.batch);
        }
        self.finish(now, &mut actions);
        (configured, actions)
    }

    fn put_back(&mut self, letter: Letter, now: Now, batch: &mut Batch) {
        let at = Mono::of(now.mono);
        let Letter { target, notification, .. } = letter;
        let lane = log_key(&target, &notification.group_key);
        self.queue.put_back(&target, lane.clone(), Arc::clone(&notification), at, batch);
        self.log.told_again(&lane, Told::of(&notification.alerts), now, batch);
        self.tell_ends_after(&target, &lane, &notification, now, batch);
    }

    /// A notification is told behind all that was told since: of those of its alerts that have ended meanwhile, and that
    /// its target will think to fire, the end is told after it.
    pub(super) fn tell_ends_after(
        &mut self,
        target: &Target,
        lane: &str,
        notification: &Notification,
        now: Now,
        batch: &mut Batch,
    ) {
        let wants_ends = self
            .plan
            .recipients
            .values()
            .flatten()
            .any(|recipient| *recipient.target == *target && recipient.send_resolved);
        for alert in notification.alerts.iter().filter(|alert| wants_ends && alert.status() == Status::Firing) {
            let fingerprint = alert.fingerprint();
            let told = self.log.get(lane).is_some_and(|entry| entry.told.firing.contains(&fingerprint));
            if told && !self.alerts.contains(&fingerprint) {
                let mut alert = alert.clone();
                alert.ends_at = Some(now.wall.max(alert.starts_at));
                self.tell_end(target, &notification.group_key, &alert, Mono::of(now.mono), batch);
            }
        }
    }

    /// Throws away a notification that was given up. `false`: there is none of this number.
    pub fn discard(&mut self, number: u64) -> (bool, Actions) {
        let mut actions = Actions::default();
        let there = self.dead.take(number, &mut actions.batch).is_some();
        (there, actions)
    }

    /// The number of notifications that were given up and are kept.
    pub fn dead_letters(&self) -> usize {
        self.dead.len()
    }
}
