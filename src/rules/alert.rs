//! The alert state machine: inactive, pending, firing, and for a while resolved.
//!
//! Time is an argument, by both clocks: how long something has lasted is measured on the monotonic clock, so that a
//! step of the wall clock neither fires nor resolves anything; what people see is the wall clock.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::Alert;
use crate::model::{Labels, Timestamp};

/// How long a resolved alert is kept, and told again, so that a receiver that was down learns of its end.
const RESOLVED_RETENTION: Duration = Duration::from_secs(15 * 60);

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
    last_sent: Option<i64>,
    /// Restored after a restart, and not seen since: left as it is until this moment.
    restored_until: Option<i64>,
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
    active: BTreeMap<Labels, ActiveAlert>,
}

/// Two results of a rule have the same labels once its own labels are applied.
#[derive(Clone, Debug, PartialEq)]
pub struct DuplicateLabels(pub Labels);

impl Alerts {
    pub fn new(timing: Timing) -> Alerts {
        Alerts { timing, active: BTreeMap::new() }
    }

    /// Takes over the alerts of a rule that this one replaces.
    pub fn take_over(&mut self, old: &mut Alerts) {
        self.active = std::mem::take(&mut old.active);
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
        let mut changed = false;
        self.active.retain(|labels, alert| {
            let before = alert.state;
            let keep = found.contains_key(labels) || alert.miss(now, &timing);
            changed |= !keep || alert.state != before;
            keep
        });
        for (labels, finding) in found {
            match self.active.get_mut(&labels) {
                Some(alert) if !matches!(alert.state, State::Resolved { .. }) => alert.hit(finding),
                _ => {
                    changed = true;
                    self.active.insert(labels, ActiveAlert::new(now, finding));
                }
            }
        }
        for alert in self.active.values_mut() {
            changed |= alert.ripen(now, &timing);
        }
        Ok(changed)
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
                value: alert.value,
                expr: expr.to_string(),
            });
        }
        due
    }

    /// Puts back an alert from before a restart, with what it had already lasted. If the expression does not give it at
    /// once it is left alone for `grace`, in which the history that the expression looks at fills again.
    pub fn restore(&mut self, labels: Labels, mut alert: ActiveAlert, now: Moment, grace: Duration) {
        alert.restored_until = Some(now.mono.saturating_add(millis(grace)));
        self.active.insert(labels, alert);
    }
}

impl ActiveAlert {
    fn new(now: Moment, finding: Finding) -> ActiveAlert {
        ActiveAlert {
            annotations: finding.annotations,
            value: finding.value,
            state: State::Pending,
            active_at: now,
            last_sent: None,
            restored_until: None,
        }
    }

    /// An alert as it was saved; it counts as told, long ago.
    pub fn saved(annotations: Labels, value: f64, state: State, active_at: Moment) -> ActiveAlert {
        ActiveAlert { annotations, value, state, active_at, last_sent: Some(i64::MIN), restored_until: None }
    }

    /// The condition still holds.
    fn hit(&mut self, finding: Finding) {
        self.value = finding.value;
        self.annotations = finding.annotations;
        self.restored_until = None;
        if let State::Firing { kept_since, .. } = &mut self.state {
            *kept_since = None;
        }
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
        ripe
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STEP: u64 = 15;

    fn timing(hold: u64, keep: u64) -> Timing {
        Timing { hold: Duration::from_secs(hold), keep_firing: Duration::from_secs(keep), slack: Duration::ZERO }
    }

    fn at(secs: u64) -> Moment {
        Moment::new(Timestamp::from_millis(1_700_000_000_000 + secs as i64 * 1000), Duration::from_secs(secs))
    }

    fn finding(value: f64) -> Finding {
        Finding {
            labels: Labels::from_pairs([("alertname", "A")]),
            annotations: Labels::from_pairs([("value", value.to_string())]),
            value,
        }
    }

    fn letter(alerts: &Alerts) -> char {
        match alerts.iter().next().map(|(_, a)| a.state) {
            None => '.',
            Some(State::Pending) => 'p',
            Some(State::Firing { kept_since: None, .. }) => 'F',
            Some(State::Firing { .. }) => 'k',
            Some(State::Resolved { .. }) => 'r',
        }
    }

    /// One evaluation every 15 s: `#` the condition holds, `.` it does not.
    fn run(timing: Timing, conditions: &str) -> String {
        let mut alerts = Alerts::new(timing);
        let step = |(i, c): (usize, char)| {
            let found = if c == '#' { vec![finding(i as f64)] } else { vec![] };
            alerts.step(at(i as u64 * STEP), found).unwrap();
            letter(&alerts)
        };
        conditions.chars().enumerate().map(step).collect()
    }

    #[test]
    fn an_alert_goes_through_its_states() {
        let minute_later = ".".repeat(61);
        let table: [(&str, u64, u64, &str, &str); 14] = [
            ("nothing is found", 0, 0, "....", "...."),
            ("without for it fires at once", 0, 0, "#", "F"),
            ("and is resolved at once", 0, 0, "##.", "FFr"),
            ("with for it is pending until it has lasted", 30, 0, "####", "ppFF"),
            ("a for shorter than the interval waits one evaluation", 1, 0, "##", "pF"),
            ("a pending alert that ends was nothing", 30, 0, "##..", "pp.."),
            ("and begins anew", 30, 0, "##.###", "pp.ppF"),
            ("a resolved one begins anew as pending", 30, 0, "###.###", "ppFrppF"),
            ("and fires at once without for", 0, 0, "#.#.", "FrFr"),
            ("keep_firing_for holds it", 0, 30, "#....", "Fkkrr"),
            ("a gap shorter than that does not show", 0, 30, "#..#...", "FkkFkkr"),
            ("each gap counts for itself", 0, 30, "#..#..#..#...", "FkkFkkFkkFkkr"),
            ("it does not hold what is only pending", 30, 30, "#.###.", "p.ppFk"),
            ("after a kept alert is resolved for is waited for again", 30, 15, "###..##", "ppFkrpp"),
        ];
        for (what, hold, keep, conditions, states) in table {
            assert_eq!(run(timing(hold, keep), conditions), states, "{what}");
        }
        let states = run(timing(0, 0), &format!("#{minute_later}.."));
        assert_eq!(states, format!("F{}..", "r".repeat(61)), "a resolved alert is forgotten after 15 minutes");
    }

    #[test]
    fn value_and_annotations_follow_and_the_beginning_stays() {
        let mut alerts = Alerts::new(timing(30, 60));
        for (i, value) in [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)] {
            alerts.step(at(i * STEP), vec![finding(value)]).unwrap();
        }
        alerts.step(at(4 * STEP), vec![]).unwrap();
        let (_, alert) = alerts.iter().next().unwrap();
        assert_eq!((alert.value, alert.annotations.get("value")), (4.0, "4"));
        assert_eq!(alert.active_at, at(0));
        assert_eq!(alert.state, State::Firing { since: at(30).wall, kept_since: Some(at(60).mono) });
    }

    #[test]
    fn alerts_of_a_rule_that_is_gone_are_resolved() {
        let mut alerts = Alerts::new(timing(0, 0));
        alerts.step(at(0), vec![finding(1.0)]).unwrap();
        alerts.due(at(0), Duration::from_secs(60), "x");
        let ended = alerts.end_all(at(5), "x");
        assert_eq!(ended.iter().map(|a| a.ends_at).collect::<Vec<_>>(), [Some(at(5).wall)]);
        assert_eq!(letter(&alerts), '.');
        let mut pending = Alerts::new(timing(30, 0));
        pending.step(at(0), vec![finding(1.0)]).unwrap();
        assert_eq!(pending.end_all(at(5), "x"), []);
    }

    #[test]
    fn two_results_with_the_same_labels_change_nothing() {
        let mut alerts = Alerts::new(timing(0, 0));
        alerts.step(at(0), vec![finding(1.0)]).unwrap();
        let before = alerts.clone();
        let twice = alerts.step(at(15), vec![finding(2.0), finding(3.0)]);
        assert_eq!(twice, Err(DuplicateLabels(finding(2.0).labels)));
        assert_eq!(alerts.active, before.active);
    }

    #[test]
    fn alerts_are_told_when_they_change_and_again_after_a_while() {
        let mut alerts = Alerts::new(timing(15, 0));
        let minute = Duration::from_secs(60);
        let mut told = String::new();
        for i in 0..24 {
            alerts.step(at(i * STEP), if i < 12 { vec![finding(1.0)] } else { vec![] }).unwrap();
            told.push(match alerts.due(at(i * STEP), minute, "x").as_slice() {
                [] => '.',
                [a] if a.is_resolved() => 'r',
                [_] => 'F',
                _ => '?',
            });
        }
        assert_eq!(told, ".F...F...F..r...r...r...");
    }

    #[test]
    fn an_alert_says_when_it_began_to_fire_and_when_it_ended() {
        let mut alerts = Alerts::new(timing(15, 0));
        for i in 0..3 {
            alerts.step(at(i * STEP), vec![finding(1.0)]).unwrap();
        }
        let firing = alerts.due(at(30), Duration::ZERO, "up == 0").remove(0);
        assert_eq!((firing.starts_at, firing.ends_at, firing.expr.as_str()), (at(15).wall, None, "up == 0"));
        alerts.step(at(45), vec![]).unwrap();
        let resolved = alerts.due(at(45), Duration::ZERO, "").remove(0);
        assert_eq!((resolved.starts_at, resolved.ends_at), (at(15).wall, Some(at(45).wall)));
    }

    #[test]
    fn a_step_of_the_wall_clock_neither_fires_nor_resolves() {
        let mut alerts = Alerts::new(timing(60, 0));
        alerts.step(at(0), vec![finding(1.0)]).unwrap();
        let year_later = Moment { wall: at(365 * 86_400).wall, mono: 15_000 };
        alerts.step(year_later, vec![finding(1.0)]).unwrap();
        assert_eq!(letter(&alerts), 'p');
        let long_before = Moment { wall: Timestamp::from_millis(0), mono: 60_000 };
        alerts.step(long_before, vec![finding(1.0)]).unwrap();
        assert_eq!(letter(&alerts), 'F');
        assert_eq!(alerts.iter().next().unwrap().1.active_at.wall, at(0).wall);
    }

    #[test]
    fn a_tick_a_little_early_is_on_time() {
        let early = Timing { slack: Duration::from_millis(500), ..timing(30, 0) };
        let mut alerts = Alerts::new(early);
        for mono in [0, 15_001, 29_999] {
            alerts.step(Moment { wall: at(0).wall, mono }, vec![finding(1.0)]).unwrap();
        }
        assert_eq!(letter(&alerts), 'F');
    }

    #[test]
    fn a_restored_alert_goes_on_where_it_was() {
        let labels = finding(1.0).labels;
        let pending = |held: i64| {
            ActiveAlert::saved(Labels::empty(), 1.0, State::Pending, Moment { wall: at(0).wall, mono: -held })
        };
        let mut alerts = Alerts::new(timing(60, 0));
        alerts.restore(labels.clone(), pending(50_000), at(0), Duration::from_secs(30));
        alerts.step(at(5), vec![finding(1.0)]).unwrap();
        assert_eq!(letter(&alerts), 'p');
        alerts.step(at(10), vec![finding(1.0)]).unwrap();
        assert_eq!(letter(&alerts), 'F');

        let firing = State::Firing { since: at(0).wall, kept_since: None };
        let mut alerts = Alerts::new(timing(60, 0));
        let alert = ActiveAlert::saved(Labels::empty(), 1.0, firing, Moment { wall: at(0).wall, mono: -1_000_000 });
        alerts.restore(labels, alert, at(0), Duration::from_secs(30));
        let states: String = [1, 15, 29, 30]
            .map(|s| {
                alerts.step(at(s), vec![]).unwrap();
                letter(&alerts)
            })
            .into_iter()
            .collect();
        assert_eq!(states, "FFFr", "while history fills it is left alone");
    }

    /// The state after the last of `conditions`, said as a whole and without any memory of states in between.
    fn model(hold: usize, keep: usize, conditions: &[bool]) -> char {
        let steps = conditions.len();
        let mut firing_from: Option<usize> = None;
        let mut resolved_at: Option<usize> = None;
        let mut i = 0;
        while i < steps {
            let streak = conditions[i..].iter().take_while(|c| **c).count();
            match firing_from {
                None if streak > hold => {
                    firing_from = Some(i + hold);
                    resolved_at = None;
                    i += streak;
                }
                None if streak > 0 => {
                    resolved_at = None;
                    if i + streak == steps {
                        return 'p';
                    }
                    i += streak;
                }
                None => i += 1,
                Some(_) => {
                    let gap = conditions[i..].iter().take_while(|c| !**c).count();
                    if gap > keep {
                        firing_from = None;
                        resolved_at = Some(i + keep);
                        i += keep + 1;
                    } else {
                        i += gap + conditions[i + gap..].iter().take_while(|c| **c).count();
                    }
                }
            }
        }
        match (firing_from, resolved_at, conditions.last()) {
            (Some(_), _, Some(true)) => 'F',
            (Some(_), _, _) => 'k',
            (None, Some(at), _) if steps - 1 - at <= 60 => 'r',
            _ => '.',
        }
    }

    proptest! {
        #[test]
        fn states_are_those_of_the_model(
            hold in 0usize..6,
            keep in 0usize..6,
            runs in prop::collection::vec((any::<bool>(), 1usize..9), 1..20),
            quiet in 0usize..80,
        ) {
            let mut conditions: Vec<bool> = runs.into_iter().flat_map(|(c, n)| std::iter::repeat_n(c, n)).collect();
            conditions.extend(std::iter::repeat_n(false, quiet));
            let text: String = conditions.iter().map(|c| if *c { '#' } else { '.' }).collect();
            let expected: String = (1..=conditions.len()).map(|n| model(hold, keep, &conditions[..n])).collect();
            prop_assert_eq!(run(timing(hold as u64 * STEP, keep as u64 * STEP), &text), expected);
        }

        #[test]
        fn alerts_do_not_touch_one_another(presence in prop::collection::vec((any::<bool>(), any::<bool>()), 1..60)) {
            let name = |n: &str| Finding { labels: Labels::from_pairs([("alertname", n)]), ..finding(1.0) };
            let (mut both, mut first) = (Alerts::new(timing(30, 15)), Alerts::new(timing(30, 15)));
            for (i, (a, b)) in presence.into_iter().enumerate() {
                let found = |which: bool, n: &str| which.then(|| name(n)).into_iter();
                both.step(at(i as u64 * STEP), found(a, "A").chain(found(b, "B")).collect()).unwrap();
                first.step(at(i as u64 * STEP), found(a, "A").collect()).unwrap();
                let of_a = |alerts: &Alerts| alerts.active.get(&name("A").labels).cloned();
                prop_assert_eq!(of_a(&both), of_a(&first));
            }
        }
    }
}
