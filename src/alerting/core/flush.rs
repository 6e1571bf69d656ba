//! What time brings: alerts that end, groups that are looked at, and the stages on the way to the queue.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Actions, Core, Ending, Mono, Now, Report, Suppressed};
use crate::alerting::group::{GroupId, alert_order};
use crate::alerting::log::{Need, Told, log_key, need};
use crate::alerting::remedy::Trigger;
use crate::alerting::route::Route;
use crate::model::{Labels, Timestamp};
use crate::sinks::{Fingerprint, Notification, NotifiedAlert, Status};
use crate::state::{Batch, Table};

/// How often old log entries are looked for while there are any.
const PURGE_INTERVAL: Duration = Duration::from_secs(15 * 60);

/// An alert of a group.
type Member<'a> = (Fingerprint, &'a NotifiedAlert);

impl Core {
    /// What time brings: alerts that are not told any more, groups to look at, deliveries to try.
    pub(super) fn finish(&mut self, now: Now, actions: &mut Actions) {
        let at = Mono::of(now.mono);
        // What becomes due after the last call is found by the next start, from the alerts in the store.
        if !self.queue.is_stopping() {
            if self.next_look <= at {
                self.look(now, &mut actions.batch);
            }
            // Before anybody is told, so that it is told too.
            self.act_upon(now, actions);
            while let Some(id) = self.groups.due(at) {
                self.flush(&id, now, actions);
            }
            if self.next_sweep <= at {
                self.groups.sweep();
                self.has_empty_groups = false;
                self.next_sweep = at.next_multiple_of(self.plan.sweep_interval);
            }
        }
        for attempt in self.queue.tries(at) {
            self.admit(attempt, now, actions);
        }
    }

    /// Resolves alerts that nobody has told of for too long, lets go what has become calm, and forgets what is old.
    fn look(&mut self, now: Now, batch: &mut Batch) {
        let at = Mono::of(now.mono);
        self.log.purge(at, |fingerprint| self.alerts.contains(fingerprint), batch);
        self.silences.purge(now.wall, batch);
        self.dead.purge(now.wall, batch);
        self.remedies.purge(now, batch);
        let mut next = at.after(PURGE_INTERVAL);
        for (fingerprint, end) in self.flaps.calmed(&self.plan.flapping, at, &mut next, batch) {
            self.calmed(fingerprint, end, batch);
        }
        let mut ended: Vec<(Fingerprint, Timestamp)> = Vec::new();
        for (fingerprint, known) in self.alerts.iter() {
            if known.alert.ends_at.is_some() || self.flaps.holds(*fingerprint) {
                continue;
            }
            let limit = known.limit(self.plan.resolve_timeout);
            if limit <= at {
                let end = known.posted.map_or(now.wall, |posted| Timestamp::from_millis(posted.until));
                ended.push((*fingerprint, end.max(known.alert.starts_at)));
            } else {
                next = next.min(limit);
            }
        }
        ended.sort_unstable();
        for (fingerprint, end) in ended {
            let Some(known) = self.alerts.get(&fingerprint) else { continue };
            // The end of one from elsewhere is an end like others; where a rule has gone, there is nothing to wait for.
            if known.posted.is_some() && self.flaps.ends(fingerprint, end, now, batch) {
                next = next.min(at.after(self.plan.flapping.calm));
                continue;
            }
            self.alerts.change(&fingerprint, |known| {
                known.alert.ends_at = Some(end);
                batch.put(Table::Alerts, fingerprint.to_string(), &known.row());
            });
            self.notice_end(fingerprint);
            self.index(fingerprint);
        }
        self.next_look = next;
    }

    /// An alert does not flap any more; `end`: it has ended.
    fn calmed(&mut self, fingerprint: Fingerprint, end: Option<Timestamp>, batch: &mut Batch) {
        self.alerts.change(&fingerprint, |known| {
            match end {
                // That it flapped is said with its end.
                Some(end) => known.alert.ends_at = Some(end.max(known.alert.starts_at)),
                None => known.alert.details.flapping = None,
            }
            batch.put(Table::Alerts, fingerprint.to_string(), &known.row());
        });
        if end.is_some() {
            self.notice_end(fingerprint);
        }
        self.index(fingerprint);
    }

    /// An alert of a rule has ended without being told to have.
    fn notice_end(&mut self, fingerprint: Fingerprint) {
        if self.alerts.get(&fingerprint).is_some_and(|known| known.posted.is_none()) {
            self.remedies.notice(fingerprint, Trigger::Resolved);
        }
    }

    /// Looks at a group: whom is it news? Mostly it is to nobody, so alerts are copied only where it is.
    fn flush(&mut self, id: &GroupId, now: Now, actions: &mut Actions) {
        let at = Mono::of(now.mono);
        let Some(group) = self.groups.get_mut(id) else { return };
        group.flushed = true;
        let route = Arc::clone(&group.route);
        let (key, labels) = (group.key.clone(), group.labels.clone());
        let members = group.members.iter();
        let mut alerts: Vec<Member> = members.filter_map(|f| Some((*f, &self.alerts.get(f)?.alert))).collect();
        self.groups.reschedule(id, at.after(route.group_interval));
        let resolved: BTreeSet<Fingerprint> =
            alerts.iter().filter(|(_, alert)| alert.status() == Status::Resolved).map(|(f, _)| *f).collect();
        self.suppress(&route, &mut alerts, now, actions);
        let told = Told::of_members(alerts.iter().copied());
        let alerts: Vec<Fingerprint> = alerts.iter().map(|(fingerprint, _)| *fingerprint).collect();
        self.lapse(&route, &key, &resolved, &told, &mut actions.batch);
        if !alerts.is_empty() {
            self.notify(&route, (key, labels), &alerts, &told, now, actions);
        }
        self.leave(id, &resolved, &mut actions.batch);
    }

    /// Leaves out what is not to be told now, in Alertmanager's order of stages.
    fn suppress(&self, route: &Route, alerts: &mut Vec<Member>, now: Now, actions: &mut Actions) {
        let mut stage = |why: Suppressed, alerts: &mut Vec<Member>, kept: &dyn Fn(&NotifiedAlert) -> bool| {
            let before = alerts.len();
            alerts.retain(|(_, alert)| kept(alert));
            if alerts.len() < before {
                *actions.suppressed.entry(why).or_default() += before - alerts.len();
            }
        };
        stage(Suppressed::Inhibition, alerts, &|alert| self.inhibitor.inhibiting(&alert.labels).is_none());
        let inactive = !route.active.is_empty() && !self.plan.is_within(&route.active, now.wall);
        stage(Suppressed::ActiveTime, alerts, &|_| !inactive);
        let muted = self.plan.is_within(&route.mute, now.wall);
        stage(Suppressed::MuteTime, alerts, &|_| !muted);
        stage(Suppressed::Silence, alerts, &|alert| self.silences.of(&alert.labels, now.wall).next().is_none());
    }

    /// Ends that are not told leave the group all the same, as in Alertmanager. There, an alert that then fires again waits
    /// for the repeat interval, as one that has fired all along; here it is news.
    fn lapse(&mut self, route: &Route, key: &str, resolved: &BTreeSet<Fingerprint>, told: &Told, batch: &mut Batch) {
        let unsaid: BTreeSet<Fingerprint> = resolved.difference(&told.resolved).copied().collect();
        if unsaid.is_empty() {
            return;
        }
        for recipient in self.plan.recipients.get(&route.receiver).map(Vec::as_slice).unwrap_or_default() {
            let lane = log_key(&recipient.target, key);
            self.log.lapse(&lane, &unsaid, batch);
        }
    }

    /// Puts a notification of a group into the queue for each target to which it is news: of these alerts, which stand as
    /// `told` says.
    fn notify(
        &mut self,
        route: &Route,
        (key, labels): (String, Labels),
        alerts: &[Fingerprint],
        told: &Told,
        now: Now,
        actions: &mut Actions,
    ) {
        let at = Mono::of(now.mono);
        for recipient in self.plan.recipients.get(&route.receiver).map(Vec::as_slice).unwrap_or_default() {
            let lane = log_key(&recipient.target, &key);
            let repeat = recipient.resend.map_or(route.repeat_interval, |resend| resend.min(route.repeat_interval));
            let need = need(self.log.get(&lane), told, recipient.send_resolved, repeat, at);
            // A repetition of what still waits to be told at all is none.
            if need == Need::No || (need == Need::Repeat && self.queue.waits(&recipient.target, &lane)) {
                continue;
            }
            let known = alerts.iter().filter_map(|fingerprint| Some(&self.alerts.get(fingerprint)?.alert));
            let sent = known.filter(|alert| recipient.send_resolved || alert.status() == Status::Firing);
            let mut sent: Vec<NotifiedAlert> = sent.cloned().collect();
            sent.iter_mut().for_each(|alert| alert.details.check = self.plan.checks.of(alert));
            if sent.is_empty() {
                // All is resolved, and this target does not want to know.
                self.log.forget(&lane, &mut actions.batch);
                continue;
            }
            sent.sort_by(alert_order);
            let notification = Notification {
                id: format!("{:016x}-{}", self.run, self.queue.next_number()),
                receiver: route.receiver.clone(),
                group_key: key.clone(),
                group_labels: labels.clone(),
                at: now.wall,
                external_url: self.plan.external_url.clone(),
                alerts: sent,
            };
            self.log.due(&lane, told.clone(), route.repeat_interval, now, &mut actions.batch);
            let about = notification.alert_names();
            let dropped = self.queue.push(&recipient.target, lane.clone(), notification, at, &mut actions.batch);
            if dropped > 0 {
                let target = (*recipient.target).clone();
                actions.endings.push(Report { target, lane, alerts: about, ending: Ending::TooMany(dropped) });
            }
        }
    }

    /// Takes resolved alerts, which have been told now, out of their group, and forgets those that are in no other.
    fn leave(&mut self, id: &GroupId, resolved: &BTreeSet<Fingerprint>, batch: &mut Batch) {
        let Some(group) = self.groups.get_mut(id) else { return };
        group.members.retain(|fingerprint| !resolved.contains(fingerprint));
        self.has_empty_groups |= group.members.is_empty();
        for fingerprint in resolved {
            let left = self.alerts.change(fingerprint, |known| {
                known.groups = known.groups.saturating_sub(1);
                known.groups
            });
            if left == Some(0) {
                self.alerts.remove(fingerprint);
                batch.remove(Table::Alerts, fingerprint.to_string());
            }
        }
    }
}
