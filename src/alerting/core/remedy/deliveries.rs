//! Commands of `exec` receivers: run only as often as they may be, and written down as actions are.

use std::time::Duration;

use super::{Deed, millis};
use crate::alerting::core::{Actions, Core, Ended, Mono, Now};
use crate::alerting::plan::Commanded;
use crate::alerting::queue::Attempt;
use crate::alerting::remedy::{Decision, Entry, Result as Outcome, Trigger};
use crate::sinks::{DeliveryError, Reason, Status};

impl Core {
    /// Lets a delivery be tried; one that runs a command only as often as that may be run. What comes too early waits.
    pub(in crate::alerting::core) fn admit(&mut self, attempt: Attempt, now: Now, actions: &mut Actions) {
        let Some(command) = self.plan.command(&attempt.target) else { return actions.attempts.push(attempt) };
        let (at, name) = (Mono::of(now.mono), attempt.target.to_string());
        let ledger = &mut self.remedies.ledger;
        let result = match ledger.decide(&command.limits, &name, &attempt.lane, Some(attempt.number), at) {
            Decision::CoolsDown(until) | Decision::TooMany(until) => return self.queue.postpone(&attempt, until),
            Decision::Run => Outcome::Running,
            Decision::DryRun => Outcome::DryRun,
        };
        ledger.count(&name, &attempt.lane, Some(attempt.number), at);
        let entry = of_delivery(name, &attempt, &command, result, now);
        let number = self.remedies.audit.add(entry, &mut actions.batch);
        if result == Outcome::DryRun {
            self.report(number, None, actions);
            self.ended(Ended { attempt, result: Ok(()) }, now, actions);
        } else {
            self.remedies.delivering.insert(attempt.number, (attempt.target.clone(), number));
            actions.attempts.push(attempt);
        }
    }

    /// A delivery has ended; if it ran a command, that is written down.
    pub(in crate::alerting::core) fn delivered(&mut self, ended: &Ended, now: Now, actions: &mut Actions) {
        let Some((_, number)) = self.remedies.delivering.remove(&ended.attempt.number) else { return };
        let (result, said) = match &ended.result {
            Ok(()) => (Outcome::Ok, "exit 0".to_string()),
            Err(DeliveryError { reason: Reason::Timeout, message, .. }) => (Outcome::Timeout, message.clone()),
            Err(error) => (Outcome::Failed, error.message.clone()),
        };
        let mut took = Duration::ZERO;
        let change = |entry: &mut Entry| {
            took = entry.since.until(Mono::of(now.mono));
            (entry.result, entry.said, entry.took) = (result, said, Some(millis(took)));
        };
        self.remedies.audit.change(number, change, &mut actions.batch);
        actions.deeds.extend(self.deed(number, Some(took)).map(|deed| Deed { delivers: true, ..deed }));
    }
}

/// The row of a command that delivers a notification.
fn of_delivery(name: String, attempt: &Attempt, command: &Commanded, result: Outcome, now: Now) -> Entry {
    let notification = &attempt.notification;
    let shared = notification.common_labels();
    Entry {
        at: now.wall.as_millis(),
        action: name,
        alert: shared.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        subject: attempt.lane.clone(),
        command: command.argv.clone(),
        trigger: match notification.status() {
            Status::Firing => Trigger::Firing,
            Status::Resolved => Trigger::Resolved,
        },
        result,
        said: String::new(),
        took: None,
        output: String::new(),
        ordered: false,
        since: Mono::of(now.mono),
    }
}
