//! What must hold: when a notification becomes due, and in the end.

use std::collections::{BTreeMap, BTreeSet};

use super::world::{Due, World, told};
use crate::alerting::plan::Target;
use crate::alerting::route::Route;
use crate::model::Labels;
use crate::sinks::{Fingerprint, Notification, Status};
use crate::state::Table;

/// What a target heard last, by group, of an alert.
type Heard<'a> = BTreeMap<(&'a Target, &'a str, Fingerprint), Status>;

impl World {
    /// One that becomes due goes to the right receiver, and tells nothing that is silenced, inhibited or muted. (What was
    /// due before and is merged into it has been checked then.)
    pub(super) fn check_due(&self, target: &Target, notification: &Notification, due: &Due) {
        let alert = notification.alerts.iter().find(|alert| alert.fingerprint() == due.1).unwrap();
        let labels = &alert.labels;
        assert_eq!(target.receiver, notification.receiver);
        let routes = self.plan().root.dispatch(labels);
        let leads = |route: &&std::sync::Arc<Route>| {
            route.receiver == target.receiver && route.group_key(&route.group_labels(labels)) == notification.group_key
        };
        let route = routes.iter().find(leads);
        let route = route.unwrap_or_else(|| panic!("{labels} does not lead to {target}"));
        let wall = self.now().wall;
        let silence = self.silences.iter().find(|s| s.starts_at <= wall && wall < s.ends_at && s.matches(labels));
        assert_eq!(silence.map(|s| &s.id), None, "{labels} is silenced");
        assert!(!self.is_muted(route), "{labels} is muted at {wall}");
        assert!(!self.is_inhibited(labels), "{labels} is inhibited");
    }

    /// By the one rule of the configurations.
    fn is_inhibited(&self, labels: &Labels) -> bool {
        if self.plan().inhibit_rules.is_empty() || labels.get("alertname") != "Disk" {
            return false;
        }
        let both = labels.get("severity") == "page";
        let views = self.core.as_ref().unwrap().view_alerts(self.now());
        views.iter().map(|view| &view.alert).filter(|source| source.ends_at.is_none()).any(|source| {
            source.labels.get("severity") == "page"
                && source.labels.get("team") == labels.get("team")
                && !(both && source.labels.get("alertname") == "Disk")
        })
    }

    fn is_muted(&self, route: &Route) -> bool {
        let minute = self.now().wall.as_millis().div_euclid(60_000).rem_euclid(1440);
        let is_in = |name: &String| match name.as_str() {
            "noon" => (723..726).contains(&minute),
            _ => (723..1440).contains(&minute),
        };
        route.mute.iter().any(is_in) || !route.active.is_empty() && !route.active.iter().any(is_in)
    }

    /// Whether something in this run may have kept the end of an alert from being told.
    fn may_be_suppressed(&self, route: &Route, labels: &Labels) -> bool {
        self.silences.iter().any(|silence| silence.matches(labels))
            || !route.mute.is_empty()
            || !route.active.is_empty()
            || !self.plan().inhibit_rules.is_empty() && labels.get("alertname") == "Disk"
    }

    /// In the end, when nothing is under way.
    pub(super) fn check(&self) {
        let core = self.core.as_ref().unwrap();
        assert_eq!(core.waiting(), 0, "the queue is empty in the end");
        assert!(self.rows.keys().all(|(table, _)| *table != Table::Queue), "and so is the stored one");
        let heard = self.check_arrived();
        for source in self.sources.iter().filter(|source| source.ever_fired) {
            self.check_heard(&heard, &source.known_as, source.ends_at.is_none());
        }
        // Nothing is kept that nobody needs.
        let firing: BTreeSet<Fingerprint> = self
            .sources
            .iter()
            .filter(|source| source.ever_fired && source.ends_at.is_none())
            .map(|source| Fingerprint::of(&source.known_as))
            .collect();
        assert_eq!(core.alerts(), (firing.len(), 0));
        assert_eq!(self.rows.keys().filter(|(table, _)| *table == Table::Alerts).count(), firing.len());
        let dead = self.rows.keys().filter(|(table, _)| *table == Table::DeadLetters).count();
        assert_eq!(core.dead_letters(), dead);
    }

    /// All that was due has arrived, or was given up; in order per target and group. A repetition may come, but nothing
    /// older than what has come.
    fn check_arrived(&self) -> Heard<'_> {
        let (mut arrived, mut heard) = (BTreeSet::new(), Heard::new());
        for a in &self.arrived {
            for due in told(&a.target, &a.notification) {
                let status = if due.3 { Status::Resolved } else { Status::Firing };
                heard.insert((&a.target, &a.notification.group_key, due.1), status);
                arrived.insert(due);
            }
        }
        let missing: Vec<_> = self.due.difference(&arrived).filter(|due| !self.given_up.contains(due)).collect();
        assert!(missing.is_empty(), "due and not delivered: {missing:?}");

        let mut last: BTreeMap<(&Target, &str), usize> = BTreeMap::new();
        for arrived in &self.arrived {
            let before = last.insert((&arrived.target, &arrived.notification.group_key), arrived.serial).unwrap_or(0);
            assert!(before <= arrived.serial, "{} got notification {} after {before}", arrived.target, arrived.serial);
        }
        heard
    }

    /// What each target heard last of an alert is how it stands.
    fn check_heard(&self, heard: &Heard<'_>, labels: &Labels, fires: bool) {
        for route in self.plan().root.dispatch(labels) {
            let quiet = route.receiver == "quiet";
            for recipient in &self.plan().recipients[&route.receiver] {
                let target = &*recipient.target;
                let key = route.group_key(&route.group_labels(labels));
                let last = heard.get(&(target, key.as_str(), Fingerprint::of(labels))).copied();
                if fires {
                    if !self.is_inhibited(labels) {
                        assert_eq!(last, Some(Status::Firing), "{target}: {labels}");
                    }
                } else if !quiet && last.is_some() && !self.replanned && !self.may_be_suppressed(&route, labels) {
                    assert_eq!(last, Some(Status::Resolved), "{target}: {labels}");
                }
            }
        }
    }
}
