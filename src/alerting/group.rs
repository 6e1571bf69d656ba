//! The second stage: aggregation groups, and the order of alerts within a notification.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::core::Mono;
use super::route::Route;
use crate::model::Labels;
use crate::sinks::{Fingerprint, NotifiedAlert};

/// The alerts of one route that have the same group labels.
#[derive(Debug)]
pub(super) struct Group {
    pub route: Arc<Route>,
    pub labels: Labels,
    pub key: String,
    pub members: BTreeSet<Fingerprint>,
    /// Whether it has been looked at for notification since it began.
    pub flushed: bool,
    next_flush: Mono,
}

/// What a group is found by: the route's place in the tree and the group labels.
pub(super) type GroupId = (usize, Labels);

/// All groups, and which has to be looked at next.
#[derive(Default, Debug)]
pub(super) struct Groups {
    groups: BTreeMap<GroupId, Group>,
    by_flush: BTreeSet<(Mono, GroupId)>,
}

impl Groups {
    /// The group that alerts with these labels have on this route. A new one is first looked at when `first_flush`,
    /// called with its key, says; the second of its result is whether it counts as flushed.
    pub fn of(
        &mut self,
        route: &Arc<Route>,
        labels: &Labels,
        first_flush: impl FnOnce(&str) -> (Mono, bool),
    ) -> &mut Group {
        let group_labels = route.group_labels(labels);
        let id = (route.id, group_labels.clone());
        self.groups.entry(id.clone()).or_insert_with(|| {
            let key = route.group_key(&group_labels);
            let (next_flush, flushed) = first_flush(&key);
            self.by_flush.insert((next_flush, id));
            Group { route: Arc::clone(route), labels: group_labels, key, members: BTreeSet::new(), flushed, next_flush }
        })
    }

    pub fn get(&self, id: &GroupId) -> Option<&Group> {
        self.groups.get(id)
    }

    pub fn get_mut(&mut self, id: &GroupId) -> Option<&mut Group> {
        self.groups.get_mut(id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// Looks at a group at another time.
    pub fn reschedule(&mut self, id: &GroupId, at: Mono) {
        if let Some(group) = self.groups.get_mut(id) {
            self.by_flush.remove(&(group.next_flush, id.clone()));
            group.next_flush = at;
            self.by_flush.insert((at, id.clone()));
        }
    }

    /// Forgets those that are empty.
    pub fn sweep(&mut self) {
        let by_flush = &mut self.by_flush;
        self.groups.retain(|id, group| {
            let stays = !group.members.is_empty();
            if !stays {
                by_flush.remove(&(group.next_flush, id.clone()));
            }
            stays
        });
    }

    /// When the next group has to be looked at.
    pub fn next_flush(&self) -> Option<Mono> {
        self.by_flush.first().map(|(at, _)| *at)
    }

    /// The group that has to be looked at first, if it is time.
    pub fn due(&self, now: Mono) -> Option<GroupId> {
        self.by_flush.first().filter(|(at, _)| *at <= now).map(|(_, id)| id.clone())
    }
}

impl Group {
    pub fn next_flush(&self) -> Mono {
        self.next_flush
    }
}

/// Alertmanager's order: by job, by instance (who has none comes last), by the number of labels, then label by label.
pub(super) fn alert_order(a: &NotifiedAlert, b: &NotifiedAlert) -> Ordering {
    for name in ["job", "instance"] {
        let order = match (a.labels.get(name), b.labels.get(name)) {
            ("", "") => Ordering::Equal,
            ("", _) => Ordering::Greater,
            (_, "") => Ordering::Less,
            (x, y) => x.cmp(y),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    labels_order(&a.labels, &b.labels)
}

/// Alertmanager's order of label sets: by their number, then label by label.
pub(super) fn labels_order(a: &Labels, b: &Labels) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| {
        // Of two sets, at the first name that only one has, the one without it comes first.
        let (mut x, mut y) = (a.iter(), b.iter());
        loop {
            match (x.next(), y.next()) {
                (None, None) => return Ordering::Equal,
                (None, Some(_)) => return Ordering::Less,
                (Some(_), None) => return Ordering::Greater,
                (Some((m, v)), Some((n, w))) => {
                    let order = n.cmp(m).then_with(|| v.cmp(w));
                    if order != Ordering::Equal {
                        return order;
                    }
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn alerts_are_in_alertmanagers_order() {
        let alert = |labels: &[(&str, &str)]| NotifiedAlert {
            labels: Labels::from_pairs(labels.iter().copied()),
            annotations: Labels::empty(),
            starts_at: Timestamp::default(),
            ends_at: None,
            value: 0.0,
            generator_url: String::new(),
            expr: String::new(),
            details: Default::default(),
        };
        let expected = [
            alert(&[("job", "a"), ("instance", "z"), ("x", "1"), ("y", "1")]),
            alert(&[("job", "b"), ("instance", "a")]),
            alert(&[("job", "b")]),
            alert(&[("instance", "a")]),
            alert(&[("z", "1")]),
            // Of as many labels: the set without the first name that differs.
            alert(&[("b", "1"), ("d", "1")]),
            alert(&[("a", "1"), ("d", "0")]),
            alert(&[("a", "1"), ("d", "1")]),
        ];
        let mut shuffled: Vec<_> = expected.iter().rev().cloned().collect();
        shuffled.sort_by(alert_order);
        assert_eq!(shuffled, expected);
    }
}
