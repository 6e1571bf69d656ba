//! `/api/notifications`: notifications that wait to be delivered, and those that were given up.

use serde::Serialize;

use super::Brain;
use super::error::Refusal;
use super::time::Printed;
use crate::alerting::Undelivered;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    number: u64,
    /// `waiting` or `dead`.
    state: &'static str,
    receiver: &'a str,
    integration: &'a str,
    index: usize,
    group_key: &'a str,
    /// The names of its alerts.
    alerts: &'a str,
    firing: usize,
    resolved: usize,
    /// When it became due.
    at: Printed,
    failures: u32,
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    given_up_at: Option<Printed>,
}

fn shown(notification: &Undelivered) -> Shown<'_> {
    Shown {
        number: notification.number,
        state: if notification.given_up.is_some() { "dead" } else { "waiting" },
        receiver: &notification.target.receiver,
        integration: &notification.target.integration,
        index: notification.target.index,
        group_key: &notification.group_key,
        alerts: &notification.alerts,
        firing: notification.firing,
        resolved: notification.resolved,
        at: Printed(notification.at),
        failures: notification.failures,
        error: &notification.error,
        given_up_at: notification.given_up.map(Printed),
    }
}

pub(super) async fn list<B: Brain>(brain: &B) -> Vec<u8> {
    let mut all = brain.undelivered().await;
    // What waits first, the oldest first.
    all.sort_by_key(|n| (n.given_up.is_some(), n.at, n.number));
    super::json(&all.iter().map(shown).collect::<Vec<_>>())
}

pub(super) async fn retry<B: Brain>(brain: &B, number: &str) -> Result<(), Refusal> {
    let known = read(number)?;
    if brain.retry(known).await {
        return Ok(());
    }
    let kept = brain.undelivered().await.into_iter().find(|n| n.number == known && n.given_up.is_some());
    Err(kept.map_or_else(
        || unknown(number),
        |kept| {
            let receiver = kept.target.receiver;
            let message = format!(
                "the receiver {receiver:?} of notification {number} is no longer configured: configure it again, or \
                 discard the notification"
            );
            Refusal::said(409, message)
        },
    ))
}

pub(super) async fn discard<B: Brain>(brain: &B, number: &str) -> Result<(), Refusal> {
    match brain.discard(read(number)?).await {
        true => Ok(()),
        false => Err(unknown(number)),
    }
}

fn read(number: &str) -> Result<u64, Refusal> {
    number.parse().map_err(|_| Refusal::said(400, format!("{number:?} is not the number of a notification")))
}

fn unknown(number: &str) -> Refusal {
    Refusal::said(404, format!("no notification {number} was given up"))
}
