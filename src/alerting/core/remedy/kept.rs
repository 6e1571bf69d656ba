//! What becomes of actions over a restart, a reload, and when rows of an earlier run are found late.

use std::collections::{BTreeMap, BTreeSet};

use super::{Key, Waiting};
use crate::alerting::core::{Actions, Core, Mono, Now};
use crate::alerting::remedy::{Entry, Result as Outcome, Trigger};
use crate::sinks::Fingerprint;

impl Core {
    /// Another plan is in force, or rows of an earlier run have come: what was under way then is over, what waited waits
    /// on, and what still fires is acted upon again when it is time.
    pub(in crate::alerting::core) fn settle_actions(&mut self, now: Now, actions: &mut Actions) {
        self.let_go_of_gone(actions);
        let runs: BTreeSet<u64> = self.remedies.running.values().map(|run| run.number).collect();
        let runs: BTreeSet<u64> =
            runs.into_iter().chain(self.remedies.delivering.values().map(|(_, row)| *row)).collect();
        let is_open = |entry: &Entry| matches!(entry.result, Outcome::Running | Outcome::Waiting);
        let open = self.remedies.audit.iter().filter(|(number, entry)| is_open(entry) && !runs.contains(number));
        let open: Vec<(u64, Outcome, Trigger, Key)> = open
            .map(|(number, entry)| {
                // What runs for a group has no alert.
                let fingerprint = Fingerprint(u64::from_str_radix(&entry.subject, 16).unwrap_or(0));
                (number, entry.result, entry.trigger, (entry.action.clone(), fingerprint))
            })
            .collect();
        let at = Mono::of(now.mono);
        for (number, result, trigger, key) in open {
            if let Some(waiting) = self.remedies.waiting.get_mut(&key).filter(|waiting| waiting.number == number) {
                // The plan may say otherwise of it.
                waiting.look = at;
            } else if result == Outcome::Running {
                self.interrupted(number, key.1, "the agent ended while it ran", actions);
            } else if self.remedies.audit.get(number).is_some_and(|entry| entry.ordered) {
                // It may have begun just then, and is run at most once.
                self.interrupted(number, key.1, "the agent ended when it was to be run", actions);
            } else if trigger == Trigger::Resolved || self.remedies.waiting.contains_key(&key) || !self.fires(key.1) {
                self.not_run(number, key.1, "the agent was started anew", now, actions);
            } else {
                self.remedies.waiting.insert(key, Waiting { number, trigger, look: at, ended: None });
            }
        }
        self.repeat_on();
    }

    /// Commands of receivers that are no longer configured are broken off.
    fn let_go_of_gone(&mut self, actions: &mut Actions) {
        let mut gone = Vec::new();
        self.remedies.delivering.retain(|_, (target, row)| {
            let kept = self.plan.has(target);
            gone.extend((!kept).then_some(*row));
            kept
        });
        for row in gone {
            self.interrupted(row, Fingerprint(0), "its receiver is no longer configured", actions);
        }
    }

    fn interrupted(&mut self, number: u64, fingerprint: Fingerprint, why: &str, actions: &mut Actions) {
        let interrupted = |entry: &mut Entry| {
            (entry.result, entry.said, entry.ordered) = (Outcome::Interrupted, why.to_string(), false);
        };
        self.close(number, fingerprint, interrupted, actions);
        self.report(number, None, actions);
    }

    /// Works out anew when what still fires is acted upon again: that long after it was last decided.
    fn repeat_on(&mut self) {
        let mut repeats: BTreeMap<Key, Mono> = BTreeMap::new();
        let decided = self.remedies.audit.iter().map(|(_, entry)| entry);
        for entry in decided.filter(|e| e.trigger != Trigger::Resolved && (e.result != Outcome::Waiting || e.ordered)) {
            let Some(action) = self.plan.action(&entry.action).filter(|a| a.wants(Trigger::Repeat)) else { continue };
            let Ok(subject) = u64::from_str_radix(&entry.subject, 16) else { continue };
            if self.fires(Fingerprint(subject)) {
                repeats.insert((entry.action.clone(), Fingerprint(subject)), entry.since.after(action.repeat));
            }
        }
        self.remedies.repeats = repeats;
    }
}
