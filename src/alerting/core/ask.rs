//! What others ask of the core, and tell it, beside alerts of rules: alerts and groups as they stand, silences.

use super::{Actions, Core, Now, next_random};
use crate::alerting::group::{alert_order, labels_order};
use crate::alerting::known::Known;
use crate::alerting::view::{AlertView, GroupView, PostedAlert, Silence, SilenceError, Undelivered};
use crate::sinks::Fingerprint;

impl Core {
    /// All alerts that are known, in order of their fingerprints.
    pub fn view_alerts(&self, now: Now) -> Vec<AlertView> {
        let mut known: Vec<(&Fingerprint, &Known)> = self.alerts.iter().collect();
        known.sort_unstable_by_key(|(fingerprint, _)| **fingerprint);
        known.into_iter().map(|(_, known)| self.view(known, now)).collect()
    }

    /// All groups, in Alertmanager's order: by labels, then by receiver.
    pub fn view_groups(&self, now: Now) -> Vec<GroupView> {
        let mut views: Vec<GroupView> = self
            .groups
            .iter()
            .filter(|group| !group.members.is_empty())
            .map(|group| {
                // An alert may be muted here and told in another group.
                let muted_by: Vec<String> = self.plan.muting(&group.route, now.wall).map(str::to_string).collect();
                let mut alerts: Vec<AlertView> = group
                    .members
                    .iter()
                    .filter_map(|fingerprint| self.alerts.get(fingerprint))
                    .map(|known| AlertView { muted_by: muted_by.clone(), ..self.view(known, now) })
                    .collect();
                alerts.sort_by(|a, b| alert_order(&a.alert, &b.alert));
                GroupView {
                    labels: group.labels.clone(),
                    receiver: group.route.receiver.clone(),
                    key: group.key.clone(),
                    alerts,
                }
            })
            .collect();
        views.sort_by(|a, b| labels_order(&a.labels, &b.labels).then_with(|| a.receiver.cmp(&b.receiver)));
        views
    }

    fn view(&self, known: &Known, now: Now) -> AlertView {
        let labels = &known.alert.labels;
        let routes = self.plan.root.dispatch(labels);
        let mut receivers: Vec<String> = routes.iter().map(|route| route.receiver.clone()).collect();
        receivers.sort_unstable();
        receivers.dedup();
        let muting: Vec<Vec<&str>> = routes.iter().map(|route| self.plan.muting(route, now.wall).collect()).collect();
        let told_somewhere = muting.iter().any(Vec::is_empty);
        let mut muted_by: Vec<String> =
            muting.into_iter().flatten().filter(|_| !told_somewhere).map(str::to_string).collect();
        muted_by.sort_unstable();
        muted_by.dedup();
        AlertView {
            alert: known.alert.clone(),
            ends_at: known.ends_at(self.plan.resolve_timeout),
            updated_at: known.updated,
            receivers,
            silenced_by: self.silences.of(labels, now.wall).map(|silence| silence.id.clone()).collect(),
            inhibited_by: self.inhibitor.inhibiting(labels).into_iter().collect(),
            muted_by,
        }
    }

    /// All silences, those that ended included until they are forgotten; in order of their identifiers.
    pub fn view_silences(&self) -> Vec<Silence> {
        self.silences.iter().cloned().collect()
    }

    /// All notifications that were given up, and then all that wait to be confirmed, the oldest of each first.
    pub fn view_undelivered(&self) -> Vec<Undelivered> {
        self.dead.view().chain(self.queue.view()).collect()
    }

    /// The names of all receivers, in the order of the configuration.
    pub fn receivers(&self) -> Vec<String> {
        self.plan.receivers.clone()
    }

    /// Sets a silence, with Alertmanager's rules; gives its identifier.
    ///
    /// # Errors
    /// When it makes no sense, or names one that is not known.
    pub fn set_silence(&mut self, silence: Silence, now: Now) -> (Result<String, SilenceError>, Actions) {
        let mut actions = Actions::default();
        let random = &mut self.random;
        let set = self.silences.set(silence, now.wall, || uuid(random), &mut actions.batch);
        self.finish(now, &mut actions);
        (set, actions)
    }

    /// Ends a silence now.
    ///
    /// # Errors
    /// When it is not known.
    pub fn expire_silence(&mut self, id: &str, now: Now) -> (Result<(), SilenceError>, Actions) {
        let mut actions = Actions::default();
        let expired = self.silences.expire(id, now.wall, &mut actions.batch);
        self.finish(now, &mut actions);
        (expired, actions)
    }

    /// Takes alerts from elsewhere. Gives how many were refused because too many are known.
    pub fn post(&mut self, alerts: Vec<PostedAlert>, now: Now) -> (usize, Actions) {
        let mut actions = Actions::default();
        let refused = self.told_by_others(alerts, now, &mut actions.batch);
        actions.refused = refused;
        self.finish(now, &mut actions);
        (refused, actions)
    }
}

/// In the form of a version-4 UUID.
fn uuid(random: &mut u64) -> String {
    let (high, low) = (next_random(random), next_random(random));
    let time = format!("{:08x}-{:04x}-4{:03x}", high >> 32, (high >> 16) & 0xffff, high & 0xfff);
    format!("{time}-{:04x}-{:012x}", (low >> 48) & 0x3fff | 0x8000, low & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_the_form_of_uuids_of_version_4() {
        let form = crate::yaml::Pattern::fixed("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}");
        let mut random = 1;
        let all: std::collections::BTreeSet<String> = (0..1000).map(|_| uuid(&mut random)).collect();
        assert_eq!(all.len(), 1000);
        assert!(all.iter().all(|id| form.is_match(id)), "{all:?}");
    }
}
