//! The alert state machine: inactive, pending, firing, and for a while resolved.
//!
//! Time is an argument, by both clocks: how long something has lasted is measured on the monotonic clock, so that a
//! step of the wall clock neither fires nor resolves anything; what people see is the wall clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::event::Alert;
use crate::model::{Labels, Timestamp, TopProcess};

/// How long a resolved alert is kept, and told again, so that a receiver that was down learns of its end.
const RESOLVED_RETENTION: Duration = Duration::from_secs(15 * 60);

/// Of alerts of a rule that begin to fire at once, so many carry the processes of that moment: in a storm of thousands
/// nobody reads them of each.
const MOST_WITH_TOP: usize = 50;

/// One moment by both clocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    pub wall: Timestamp,
    /// Milliseconds on the monotonic clock. Signed: what was restored may have begun before that clock.
    pub mono: i64,
}

impl Moment {
    /// `mono`: time since any fixed moment.
    pub fn new(wall: Timestamp, mono: Duration) -> Moment {
        Moment { wall, mono: millis(mono) }
    }

    /// Milliseconds since an earlier moment of the monotonic clock.
    pub fn since(self, mono: i64) -> i64 {
        self.mono.saturating_sub(mono)
    }
}

fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}

/// Where an alert stands. One that is inactive is not there at all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    /// The condition holds, but not for as long as the rule wants.
    Pending,
    Firing {
        since: Timestamp,
        /// Since when it only fires because of `keep_firing_for`.
        kept_since: Option<i64>,
    },
    Resolved {
        since: Timestamp,
        at: Moment,
    },
}

/// What the rule's expression gave for one label set, with the rule's texts expanded.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub labels: Labels,
    pub annotations: Labels,
    pub value: f64,
}

/// One alert of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveAlert {
    pub annotations: Labels,
    pub value: f64,
    pub state: State,
    /// When the condition began to hold.
    pub active_at: Moment,
    /// The processes that used most of the host when it began to fire.
    pub top: Arc<[TopProcess]>,
    last_sent: Option<i64>,
    /// Restored after a restart, and not seen since: left as it is until this moment.
    restored_until: Option<i64>,
    /// The number under which it is kept over a restart, once it is.
    kept_as: Option<u64>,
    /// It came or changed its state since it was kept last.
    unsaved: bool,
}

/// When an alert changes its state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// `for`
    pub hold: Duration,
    /// `keep_firing_for`
    pub keep_firing: Duration,
    /// How much earlier than exactly on time an evaluation may come and still count as on time: ticks are on a grid of
    /// the wall clock, and their distance on the monotonic clock varies by some microseconds.
    pub slack: Duration,
}

impl Timing {
    fn reached(&self, elapsed: i64, wanted: Duration) -> bool {
        elapsed.saturating_add(millis(self.slack)) >= millis(wanted)
    }
}

/// The alerts of one rule.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    timing: Timing,
    /// What the rule's expression compares with.
    threshold: Option<f64>,
    /// The actions that the rule names.
    actions: Arc<[String]>,
    active: BTreeMap<Labels, ActiveAlert>,
    /// Numbers under which alerts were kept that are gone.
    gone: Vec<u64>,
}

/// Two results of a rule have the same labels once its own labels are applied.
#[derive(Clone, Debug, PartialEq)]
pub struct DuplicateLabels(pub Labels);

impl Alerts {
    pub fn new(timing: Timing) -> Alerts {
        Alerts { timing, ..Alerts::default() }
    }

    /// Those of a rule whose expression compares with this number.
    pub fn over(self, threshold: Option<f64>) -> Alerts {
        Alerts { threshold, ..self }
    }

    /// Those of a rule that names these actions.
    pub fn acted_upon(self, actions: Arc<[String]>) -> Alerts {
        Alerts { actions, ..self }
    }

    /// Takes over the alerts of a rule that this one replaces.
    pub fn take_over(&mut self, old: &mut Alerts) {
        self.active = std::mem::take(&mut old.active);
        self.gone.append(&mut old.gone);
    }

    /// Alerts that are pending, firing or resolved of late, in order of their labels.
    pub fn iter(&self) -> impl Iterator<Item = (&Labels, &ActiveAlert)> {
        self.active.iter()
    }

    /// Those that are pending or firing.
    pub fn pending_or_firing(&self) -> impl Iterator<Item = (&Labels, &ActiveAlert)> {
        self.active.iter().filter(|(_, a)| !matches!(a.state, State::Resolved { .. }))
    }

    /// Forgets all alerts, and gives those that fired, as resolved: who was told of them must be told of the end.
    pub fn end_all(&mut self, now: Moment, expr: &str) -> Vec<Alert> {
        self.gone.extend(self.active.values().filter_map(|a| a.kept_as));
        self.active.retain(|_, a| matches!(a.state, State::Firing { .. }) && a.last_sent.is_some());
        for alert in self.active.values_mut() {
            if let State::Firing { since, .. } = alert.state {
                alert.state = State::Resolved { since, at: now };
                alert.last_sent = None;
            }
        }
        let ended = self.due(now, Duration::ZERO, expr);
        self.active.clear();
        ended
    }

    /// One evaluation: what the expression gave `now`. True if an alert came, went or changed its state. Nothing changes
    /// if two findings have the same labels.
    pub fn step(&mut self, now: Moment, findings: Vec<Finding>) -> Result<bool, DuplicateLabels> {
        let mut found = BTreeMap::new();
        for f in findings {
            if found.contains_key(&f.labels) {
                return Err(DuplicateLabels(f.labels));
            }
            found.insert(f.labels.clone(), f);
        }
        let timing = self.timing;
        let gone = &mut self.gone;
        let mut changed = false;
        self.active.retain(|labels, alert| {
            let before = alert.state;
            let keep = found.contains_key(labels) || alert.miss(now, &timing);
            changed |= !keep || alert.noted(alert.state != before);
            if !keep {
                gone.extend(alert.kept_as);
            }
            keep
        });
        for (labels, finding) in found {
            match self.active.get_mut(&labels) {
                Some(alert) if !matches!(alert.state, State::Resolved { .. }) => changed |= alert.hit(finding),
                resolved => {
                    changed = true;
                    let kept_as = resolved.and_then(|a| a.kept_as);
                    self.active.insert(labels, ActiveAlert { kept_as, ..ActiveAlert::new(now, finding) });
                }
            }
        }
        for alert in self.active.values_mut() {
            changed |= alert.ripen(now, &timing);
        }
        Ok(changed)
    }

    /// Notes with the alerts that have begun to fire `now` which processes use most of the host; `find` is called if
    /// there are any.
    pub fn note_top(&mut self, now: Moment, find: impl FnOnce() -> Vec<TopProcess>) {
        let begins = |a: &&mut ActiveAlert| {
            a.last_sent.is_none() && matches!(a.state, State::Firing { since, .. } if since == now.wall)
        };
        let mut beginning = self.active.values_mut().filter(begins).take(MOST_WITH_TOP).peekable();
        if beginning.peek().is_some() {
            let top: Arc<[TopProcess]> = find().into();
            beginning.for_each(|alert| alert.top = top.clone());
        }
    }

    /// Whether what has lasted for some time decides what becomes of an alert.
    pub fn is_waiting(&self) -> bool {
        let waits = |a: &ActiveAlert| matches!(a.state, State::Pending | State::Firing { kept_since: Some(_), .. });
        self.active.values().any(waits)
    }

    /// The alerts that came or changed their state since the last call, each under its number: `next` is the first
    /// that is free. And the numbers of those that are gone.
    pub fn take_changes(&mut self, next: &mut u64) -> (Vec<(u64, Labels, ActiveAlert)>, Vec<u64>) {
        let mut number = || std::mem::replace(next, next.saturating_add(1));
        let mut unsaved = Vec::new();
        for (labels, alert) in self.active.iter_mut().filter(|(_, a)| a.unsaved) {
            alert.unsaved = false;
            unsaved.push((*alert.kept_as.get_or_insert_with(&mut number), labels.clone(), alert.clone()));
        }
        (unsaved, std::mem::take(&mut self.gone))
    }

    /// The alerts that are to be told now: those that fire or are resolved, and have not been told since their state
    /// changed or for `resend`.
    pub fn due(&mut self, now: Moment, resend: Duration, expr: &str) -> Vec<Alert> {
        let mut due = Vec::new();
        for (labels, alert) in &mut self.active {
            let (starts_at, ends_at, changed) = match alert.state {
                State::Pending => continue,
                State::Firing { since, .. } => (since, None, alert.last_sent.is_none()),
                State::Resolved { since, at } => {
                    (since, Some(at.wall), alert.last_sent.is_none_or(|sent| sent < at.mono))
                }
            };
            if !changed && alert.last_sent.is_some_and(|sent| !self.timing.reached(now.since(sent), resend)) {
                continue;
            }
            alert.last_sent = Some(now.mono);
            due.push(Alert {
                labels: labels.clone(),
                annotations: alert.annotations.clone(),
                starts_at,
                ends_at,
                valid_for: resend.saturating_mul(4),
                value: alert.value,
                expr: expr.to_string(),
                threshold: self.threshold,
                top: alert.top.to_vec(),
                actions: self.actions.clone(),
            });
        }
        due
    }

    /// Puts back an alert from before a restart, with what it had already lasted. If the expression does not give it at
    /// once it is left alone for `grace`, in which the history that the expression looks at fills again.
    pub fn restore(&mut self, labels: Labels, mut alert: ActiveAlert, now: Moment, grace: Duration) {
        alert.restored_until = Some(now.mono.saturating_add(millis(grace)));
        let twice = self.active.insert(labels, alert);
        self.gone.extend(twice.and_then(|a| a.kept_as));
    }

    /// As [`Alerts::restore`], where the rule has been evaluated before this was known. Of what fires, or has fired, that
    /// knows better; what it has found to wait may have waited for longer, or fired.
    pub fn restore_late(&mut self, labels: Labels, mut alert: ActiveAlert, now: Moment, grace: Duration) {
        let ended = matches!(alert.state, State::Resolved { .. });
        if self.active.get(&labels).is_some_and(|known| ended || known.state != State::Pending) {
            self.gone.extend(alert.kept_as);
            return;
        }
        // Its row has moments of another clock.
        alert.unsaved = true;
        self.restore(labels, alert, now, grace);
    }
}

impl ActiveAlert {
    fn new(now: Moment, finding: Finding) -> ActiveAlert {
        ActiveAlert {
            annotations: finding.annotations,
            value: finding.value,
            state: State::Pending,
            active_at: now,
            top: Arc::default(),
            last_sent: None,
            restored_until: None,
            kept_as: None,
            unsaved: true,
        }
    }

    /// An alert as it was kept under a number; it counts as told, long ago.
    pub fn kept(number: u64, annotations: Labels, value: f64, state: State, active_at: Moment) -> ActiveAlert {
        ActiveAlert {
            annotations,
            value,
            state,
            active_at,
            top: Arc::default(),
            last_sent: Some(i64::MIN),
            restored_until: None,
            kept_as: Some(number),
            unsaved: false,
        }
    }

    /// Notes that it is to be kept anew if its state has `changed`; gives that back.
    fn noted(&mut self, changed: bool) -> bool {
        self.unsaved |= changed;
        changed
    }

    /// The condition still holds. True if that changes its state.
    fn hit(&mut self, finding: Finding) -> bool {
        self.value = finding.value;
        self.annotations = finding.annotations;
        self.restored_until = None;
        let State::Firing { kept_since, .. } = &mut self.state else { return false };
        let was_kept = kept_since.take().is_some();
        self.noted(was_kept)
    }

    /// The condition does not hold any more. False when the alert is to be forgotten.
    fn miss(&mut self, now: Moment, timing: &Timing) -> bool {
        if self.restored_until.is_some_and(|until| now.mono < until) {
            return true;
        }
        self.restored_until = None;
        match self.state {
            State::Pending => false,
            State::Firing { since, kept_since } => {
                let kept_since = kept_since.unwrap_or(now.mono);
                self.state = if timing.reached(now.since(kept_since), timing.keep_firing) {
                    State::Resolved { since, at: now }
                } else {
                    State::Firing { since, kept_since: Some(kept_since) }
                };
                true
            }
            State::Resolved { at, .. } => now.since(at.mono) <= millis(RESOLVED_RETENTION),
        }
    }

    /// A pending alert fires once it has lasted for as long as the rule wants. True if it now does.
    fn ripen(&mut self, now: Moment, timing: &Timing) -> bool {
        // One that was only just restored waits until it is seen again.
        let ripe = self.state == State::Pending
            && self.restored_until.is_none()
            && timing.reached(now.since(self.active_at.mono), timing.hold);
        if ripe {
            self.state = State::Firing { since: now.wall, kept_since: None };
        }
        self.noted(ripe)
    }
}

#[cfg(test)]
mod tests;
