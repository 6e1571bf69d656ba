//! One notification in place of two: what a newer one says anyway need not be told, and nothing that it does not say is
//! lost.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::{Row, Waiting, row_key};
use crate::alerting::group::alert_order;
use crate::alerting::log::Told;
use crate::alerting::plan::Target;
use crate::sinks::{Fingerprint, Notification, NotifiedAlert, Status};
use crate::state::{Batch, Table};

/// Whether `new` says all that `old` says, so that `old` need not be told: what fires in it still does, since the same
/// moment, and what was resolved in it has not fired again. (What was resolved may have to be added: [`add_resolved`].)
pub(super) fn includes(new: &Notification, old: &Notification) -> bool {
    let there: HashMap<Fingerprint, &NotifiedAlert> = new.alerts.iter().map(|a| (a.fingerprint(), a)).collect();
    old.alerts.iter().all(|alert| match there.get(&alert.fingerprint()) {
        Some(newer) => newer.status() == alert.status() && newer.starts_at == alert.starts_at,
        None => alert.status() == Status::Resolved,
    })
}

/// Adds what was resolved in `old` and is not in `new`.
pub(super) fn add_resolved(new: &mut Notification, old: &Notification) {
    let Told { firing, resolved, .. } = Told::of(&new.alerts);
    let there = |fingerprint: &Fingerprint| firing.contains(fingerprint) || resolved.contains(fingerprint);
    let missing = old.alerts.iter().filter(|a| a.status() == Status::Resolved && !there(&a.fingerprint())).cloned();
    new.alerts.extend(missing);
    new.alerts.sort_by(alert_order);
}

/// What was resolved in `gone`, which will not be told, is told by the one that took its place in the lane; what fires
/// is in there anyway, since each tells of its whole group. False if there is none.
pub(super) fn hand_on(
    rows: &mut VecDeque<Waiting>,
    place: usize,
    gone: &Notification,
    target: &Target,
    batch: &mut Batch,
) -> bool {
    let Some(next) = rows.get_mut(place) else { return false };
    let mut notification = (*next.notification).clone();
    add_resolved(&mut notification, gone);
    if notification.alerts.len() > next.notification.alerts.len() {
        let notification = Arc::new(notification);
        next.notification = Arc::clone(&notification);
        batch.put(Table::Queue, row_key(next.number), &Row { target: target.clone(), notification });
    }
    true
}
