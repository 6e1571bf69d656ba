//! Actions: when each is decided, and what comes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Actions, Core, Mono, Now};
use crate::alerting::plan::Target;
use crate::alerting::remedy::{
    ActionConfig, Audit, Decision, Done, Entry, Ledger, NO_PLACE, Order, Result as Outcome, Trigger, provisional,
};
use crate::model::format_duration;
use crate::sinks::{Fingerprint, Notification, NotifiedAlert, Status};
use crate::state::{Batch, Table};

/// How often it is looked whether an alert is still silenced or inhibited for which an action waits.
const LOOK: Duration = Duration::from_secs(5);
/// The last so many lines are told with an alert.
const MAX_LINES: usize = 5;

/// An action for an alert.
type Key = (String, Fingerprint);

/// What is known of actions.
#[derive(Default)]
pub(super) struct Remedies {
    audit: Audit,
    ledger: Ledger,
    /// Alerts that have begun to fire, or ended, of which nothing is decided yet.
    news: Vec<(Fingerprint, Trigger)>,
    waiting: BTreeMap<Key, Waiting>,
    /// The actions under way: one run of each at a time.
    running: BTreeMap<String, Run>,
    /// When what still fires is acted upon again.
    repeats: BTreeMap<Key, Mono>,
    /// The commands of `exec` receivers under way, by the number of the notification; with the row of the audit log.
    delivering: BTreeMap<u64, (Target, u64)>,
}

/// An action that is due, and cannot be run yet.
struct Waiting {
    /// Its row of the audit log.
    number: u64,
    trigger: Trigger,
    /// When to look again.
    look: Mono,
    /// An alert that has ended: it may be forgotten before the action is run.
    ended: Option<NotifiedAlert>,
}

struct Run {
    number: u64,
    fingerprint: Fingerprint,
}

/// What is to be decided.
struct Case {
    action: Arc<ActionConfig>,
    fingerprint: Fingerprint,
    trigger: Trigger,
    alert: NotifiedAlert,
    /// Its row of the audit log, if it has waited.
    row: Option<u64>,
}

impl Case {
    fn key(&self) -> Key {
        (self.action.name.clone(), self.fingerprint)
    }
}

/// What is decided.
enum Verdict {
    Run,
    DryRun,
    Wait(String, Mono),
    Skip(String),
    /// It is not wanted any more.
    Gone(&'static str),
}

/// What became of an action, for metrics and the log.
#[derive(Clone, PartialEq, Debug)]
pub struct Deed {
    pub action: String,
    pub result: Outcome,
    /// How long the command ran, where one did.
    pub took: Option<Duration>,
    /// As it is told with the alert.
    pub line: String,
    /// A delivery that was tried, of which the log says what it says of all deliveries.
    pub delivers: bool,
}

impl Remedies {
    /// A number of the audit log that is not to be given again.
    pub fn skip(&mut self, number: u64) {
        self.audit.skip(number);
    }

    /// Takes over a stored row of the audit log.
    pub fn restore(&mut self, number: u64, entry: Entry, now: Now) {
        let (action, subject, counts) = (entry.action.clone(), entry.subject.clone(), entry.counts());
        if self.audit.restore(number, entry, now)
            && let Some(entry) = self.audit.get(number).filter(|_| counts)
        {
            self.ledger.count(&action, &subject, None, entry.since);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.audit.is_empty()
    }

    /// When something has to be decided.
    pub fn next(&self) -> Option<Mono> {
        let waiting = self.waiting.values().map(|waiting| waiting.look);
        waiting.chain(self.repeats.values().copied()).min()
    }

    /// Forgets what is old.
    pub fn purge(&mut self, now: Now, batch: &mut Batch) {
        self.audit.purge(now.wall, batch);
        self.ledger.purge(Mono::of(now.mono));
    }

    /// An alert has begun to fire, or ended. What to do about it is decided when all that comes with it is known.
    pub fn notice(&mut self, fingerprint: Fingerprint, trigger: Trigger) {
        self.news.push((fingerprint, trigger));
    }
}

impl Core {
    /// The audit log, the newest first, with the rows' numbers.
    pub fn view_actions(&self) -> Vec<(u64, Entry)> {
        self.remedies.audit.iter().rev().map(|(number, entry)| (number, entry.clone())).collect()
    }

    /// An alert fires, and its end is not only held back because it flaps.
    fn fires(&self, fingerprint: Fingerprint) -> bool {
        let fires = self.alerts.get(&fingerprint).is_some_and(|known| known.alert.status() == Status::Firing);
        fires && !self.flaps.holds(fingerprint)
    }

    fn is_for(&self, action: &ActionConfig, fingerprint: Fingerprint) -> bool {
        self.alerts.get(&fingerprint).is_some_and(|known| action.is_for(&known.alert.labels, &known.actions))
    }

    /// Decides what is to be done about alerts now.
    pub(super) fn act_upon(&mut self, now: Now, actions: &mut Actions) {
        let at = Mono::of(now.mono);
        for (fingerprint, trigger) in std::mem::take(&mut self.remedies.news) {
            let all = self.plan.actions.iter().filter(|action| self.is_for(action, fingerprint));
            let all: Vec<Arc<ActionConfig>> = all.cloned().collect();
            for action in all {
                let key = (action.name.clone(), fingerprint);
                if trigger == Trigger::Resolved {
                    self.remedies.repeats.remove(&key);
                }
                let waited = self.remedies.waiting.get(&key).map(|waiting| waiting.trigger);
                // What waited for the alert to be otherwise is over.
                self.reconsider(key, now, actions);
                let is_same = |waited: Trigger| (waited == Trigger::Resolved) == (trigger == Trigger::Resolved);
                if action.wants(trigger) && !waited.is_some_and(is_same) {
                    self.consider(&action, fingerprint, trigger, now, actions);
                }
            }
        }
        let waited = self.remedies.waiting.iter().filter(|(_, waiting)| waiting.look <= at);
        let waited: Vec<Key> = waited.map(|(key, _)| key.clone()).collect();
        waited.into_iter().for_each(|key| self.reconsider(key, now, actions));
        let due: Vec<Key> =
            self.remedies.repeats.iter().filter(|(_, due)| **due <= at).map(|(k, _)| k.clone()).collect();
        for key in due {
            self.remedies.repeats.remove(&key);
            let wanted =
                |action: &Arc<ActionConfig>| !self.remedies.waiting.contains_key(&key) && self.is_for(action, key.1);
            if let Some(action) = self.plan.action(&key.0).filter(wanted) {
                self.consider(&action, key.1, Trigger::Repeat, now, actions);
            }
        }
    }

    /// Decides of an action that is due for an alert.
    fn consider(
        &mut self,
        action: &Arc<ActionConfig>,
        fingerprint: Fingerprint,
        trigger: Trigger,
        now: Now,
        actions: &mut Actions,
    ) {
        let Some(known) = self.alerts.get(&fingerprint) else { return };
        let case = Case { action: Arc::clone(action), fingerprint, trigger, alert: known.alert.clone(), row: None };
        self.decide(case, now, actions);
    }

    /// Decides of an action that waits.
    fn reconsider(&mut self, key: Key, now: Now, actions: &mut Actions) {
        let Some(waiting) = self.remedies.waiting.remove(&key) else { return };
        if self.remedies.audit.get(waiting.number).is_none() {
            // There were too many.
            return;
        }
        let alert = waiting.ended.or_else(|| Some(self.alerts.get(&key.1)?.alert.clone()));
        let (number, trigger) = (waiting.number, waiting.trigger);
        match (self.plan.action(&key.0), alert) {
            (Some(action), Some(_)) if trigger != Trigger::Resolved && !self.is_for(&action, key.1) => {
                self.not_run(number, key.1, "it is no longer for this alert", now, actions);
            }
            (Some(action), Some(alert)) => {
                self.decide(Case { action, fingerprint: key.1, trigger, alert, row: Some(number) }, now, actions);
            }
            (None, _) => self.not_run(number, key.1, "it is no longer configured", now, actions),
            (_, None) => self.not_run(number, key.1, ENDED, now, actions),
        }
    }

    fn verdict(&self, case: &Case, now: Now) -> Verdict {
        let (at, labels) = (Mono::of(now.mono), &case.alert.labels);
        match (case.trigger, self.fires(case.fingerprint)) {
            (Trigger::Firing | Trigger::Repeat, false) => return Verdict::Gone(ENDED),
            (Trigger::Resolved, true) => return Verdict::Gone("the alert fires again"),
            _ => {}
        }
        let inhibited = self.inhibitor.inhibiting(labels).map(|_| "the alert is inhibited");
        let silenced = || self.silences.of(labels, now.wall).next().map(|_| "the alert is silenced");
        if let Some(why) = inhibited.or_else(silenced) {
            return match case.trigger {
                // Somebody is at work on it, and knows.
                Trigger::Resolved => Verdict::Skip(why.to_string()),
                Trigger::Firing | Trigger::Repeat => Verdict::Wait(why.to_string(), at.after(LOOK)),
            };
        }
        if let Some(run) = self.remedies.running.get(&case.action.name) {
            let has_begun = self.remedies.audit.get(run.number).is_none_or(|entry| !entry.ordered);
            let why = if has_begun { "it is still being run" } else { "another run of it waits for a place" };
            return Verdict::Wait(why.to_string(), at.after(LOOK));
        }
        let subject = case.fingerprint.to_string();
        let is_answer =
            case.trigger == Trigger::Resolved && self.remedies.audit.awaits_end(&case.action.name, &subject);
        let limits = if is_answer { case.action.run_limits().of_answer() } else { case.action.run_limits() };
        match self.remedies.ledger.decide(&limits, &case.action.name, &subject, None, at) {
            Decision::Run => Verdict::Run,
            Decision::DryRun => Verdict::DryRun,
            Decision::CoolsDown(until) => {
                Verdict::Wait(format!("it was run less than {} before", format_duration(limits.cool_down)), until)
            }
            Decision::TooMany(_) => match limits.max_per_hour {
                1 => Verdict::Skip("1 run in the last hour is the limit".to_string()),
                most => Verdict::Skip(format!("{most} runs in the last hour are the limit")),
            },
        }
    }

    fn decide(&mut self, case: Case, now: Now, actions: &mut Actions) {
        let at = Mono::of(now.mono);
        let (result, said) = match self.verdict(&case, now) {
            Verdict::Gone(why) => {
                if let Some(number) = case.row {
                    self.not_run(number, case.fingerprint, why, now, actions);
                }
                return;
            }
            Verdict::Wait(why, look) => {
                let number = match case.row.filter(|row| self.remedies.audit.get(*row).is_some_and(|e| e.said == why)) {
                    Some(row) => row,
                    None => self.note(&case, Outcome::Waiting, false, why, now, actions),
                };
                let ended = (case.trigger == Trigger::Resolved).then(|| case.alert.clone());
                let waiting = Waiting { number, trigger: case.trigger, look, ended };
                self.remedies.waiting.insert(case.key(), waiting);
                return;
            }
            Verdict::Skip(why) => (Outcome::Skipped, why),
            Verdict::DryRun => (Outcome::DryRun, String::new()),
            Verdict::Run => (Outcome::Waiting, NO_PLACE.to_string()),
        };
        let is_ordered = result == Outcome::Waiting;
        if case.trigger != Trigger::Resolved && !case.action.repeat.is_zero() {
            self.remedies.repeats.insert(case.key(), at.after(case.action.repeat));
        }
        let number = self.note(&case, result, is_ordered, said, now, actions);
        if !is_ordered {
            if result == Outcome::DryRun {
                self.remedies.ledger.count(&case.action.name, &case.fingerprint.to_string(), None, at);
            }
            self.report(number, None, actions);
            return;
        }
        let run = Run { number, fingerprint: case.fingerprint };
        self.remedies.running.insert(case.action.name.clone(), run);
        let alert = Notification {
            id: format!("{:016x}-a{number}", self.run),
            receiver: case.action.name.clone(),
            group_key: format!("{{}}:{}", case.alert.labels),
            group_labels: case.alert.labels.clone(),
            at: now.wall,
            external_url: self.plan.external_url.clone(),
            alerts: vec![case.alert],
        };
        actions.orders.push(Order { number, action: case.action, trigger: case.trigger, alert });
    }

    /// Writes down what was decided, and tells it with the alert; gives the row's number.
    fn note(
        &mut self,
        case: &Case,
        result: Outcome,
        ordered: bool,
        said: String,
        now: Now,
        actions: &mut Actions,
    ) -> u64 {
        let entry = Entry {
            at: now.wall.as_millis(),
            action: case.action.name.clone(),
            alert: case.alert.labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            subject: case.fingerprint.to_string(),
            command: case.action.command.clone(),
            trigger: case.trigger,
            result,
            said,
            took: None,
            output: String::new(),
            ordered,
            since: Mono::of(now.mono),
        };
        let line = entry.line();
        let batch = &mut actions.batch;
        let replaced = case.row.filter(|row| self.remedies.audit.get(*row).is_some());
        let number = match replaced {
            Some(row) => {
                self.remedies.audit.change(row, |known| *known = entry, batch);
                row
            }
            None => self.remedies.audit.add(entry, batch),
        };
        self.tell_line(case.fingerprint, &case.action.name, line, batch);
        number
    }

    /// An action that waited is not run.
    fn not_run(&mut self, number: u64, fingerprint: Fingerprint, why: &str, now: Now, actions: &mut Actions) {
        let skipped = |entry: &mut Entry| {
            (entry.result, entry.said) = (Outcome::Skipped, why.to_string());
            (entry.at, entry.since) = (now.wall.as_millis(), Mono::of(now.mono));
        };
        self.close(number, fingerprint, skipped, actions);
        self.report(number, None, actions);
    }

    /// Changes a row of the audit log, and what is told with the alert.
    fn close(&mut self, number: u64, fingerprint: Fingerprint, change: impl FnOnce(&mut Entry), actions: &mut Actions) {
        let changed = self.remedies.audit.change(number, change, &mut actions.batch);
        if let Some((action, line)) = changed.map(|entry| (entry.action.clone(), entry.line())) {
            self.tell_line(fingerprint, &action, line, &mut actions.batch);
        }
    }

    fn report(&self, number: u64, took: Option<Duration>, actions: &mut Actions) {
        actions.deeds.extend(self.deed(number, took));
    }

    fn deed(&self, number: u64, took: Option<Duration>) -> Option<Deed> {
        let entry = self.remedies.audit.get(number)?;
        let (action, line) = (entry.action.clone(), entry.line());
        Some(Deed { action, result: entry.result, took, line, delivers: false })
    }

    /// Tells something with an alert from its next notification on, if it is still known.
    fn tell_line(&mut self, fingerprint: Fingerprint, action: &str, line: String, batch: &mut Batch) {
        self.alerts.change(&fingerprint, |known| {
            let lines = &mut known.alert.details.actions;
            if let Some(place) = lines.iter().rposition(|line| provisional(line, action)) {
                lines.remove(place);
            }
            lines.push(line);
            let superfluous = lines.len().saturating_sub(MAX_LINES);
            lines.drain(..superfluous);
            batch.put(Table::Alerts, fingerprint.to_string(), &known.row());
        });
    }

    /// The action under way of this number, and the alert it is for.
    fn under_way(&self, number: u64) -> Option<Key> {
        let found = self.remedies.running.iter().find(|(_, run)| run.number == number);
        found.map(|(action, run)| (action.clone(), run.fingerprint))
    }

    /// A command that was ordered has begun: from now on it counts.
    pub(super) fn begun(&mut self, number: u64, now: Now, actions: &mut Actions) {
        let Some((action, fingerprint)) = self.under_way(number) else { return };
        let at = Mono::of(now.mono);
        self.remedies.ledger.count(&action, &fingerprint.to_string(), None, at);
        let begun = |entry: &mut Entry| {
            (entry.result, entry.ordered) = (Outcome::Running, false);
            entry.said.clear();
            (entry.at, entry.since) = (now.wall.as_millis(), at);
        };
        self.close(number, fingerprint, begun, actions);
    }

    /// A command that was ordered has ended, or could not be begun.
    pub(super) fn done(&mut self, number: u64, done: Done, now: Now, actions: &mut Actions) {
        let Some((action, fingerprint)) = self.under_way(number) else { return };
        self.remedies.running.remove(&action);
        let Done { result, said, took, output } = done;
        let ended = |entry: &mut Entry| {
            (entry.result, entry.said, entry.output) = (result, said, output);
            (entry.ordered, entry.took) = (false, took.map(millis));
        };
        self.close(number, fingerprint, ended, actions);
        self.report(number, took, actions);
        let at = Mono::of(now.mono);
        for (_, waiting) in self.remedies.waiting.iter_mut().filter(|((of, _), _)| *of == action) {
            waiting.look = waiting.look.min(at);
        }
    }
}

const ENDED: &str = "the alert has ended";

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

mod deliveries;
mod kept;

#[cfg(test)]
mod tests;
