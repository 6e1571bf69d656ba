//! Where an alert with given labels goes and when, for people: the routing tree with how each route stands to it, the
//! times in which routes tell nothing, and the inhibition rules that concern it.

use std::sync::Arc;
use std::time::Duration;

use super::inhibit::{InhibitRule, meets};
use super::matcher::Matcher;
use super::plan::Plan;
use super::route::Route;
use crate::model::{Labels, Timestamp};

/// How far ahead the end of a time is looked for.
const AHEAD: Duration = Duration::from_secs(8 * 24 * 3600);

/// How a route stands to an alert.
#[derive(Clone, PartialEq, Debug)]
pub enum Stand {
    /// The alert is told from here.
    Taken,
    /// It came here, and went on to a route below.
    Passed,
    /// It does not meet this matcher.
    Refused(Matcher),
    /// It did not come here: the route above refused it, or an earlier one kept it.
    Unreached,
    /// Nobody asked about an alert.
    Open,
}

/// A time by name that a route is muted or active in.
#[derive(Clone, PartialEq, Debug)]
pub struct Times {
    pub name: String,
    /// Whether the route tells nothing in it; otherwise, it tells nothing outside of it.
    pub mutes: bool,
    /// Whether it is that time.
    pub holds: bool,
    /// When that changes, if it does within eight days; to the minute.
    pub until: Option<Timestamp>,
}

/// A route and how it stands to an alert.
#[derive(Clone, Debug)]
pub struct Step {
    pub route: Arc<Route>,
    pub stand: Stand,
    pub times: Vec<Times>,
    /// Because of its times it tells nothing at the moment that was asked about.
    pub muted: bool,
    /// The steps below.
    pub below: Vec<Step>,
}

/// An inhibition rule that concerns an alert.
#[derive(Clone, Debug)]
pub struct Inhibition {
    pub rule: Arc<InhibitRule>,
    /// While the alert fires, others are not told.
    pub is_source: bool,
    /// It is not told while others fire.
    pub is_target: bool,
}

/// The way of an alert.
#[derive(Clone, Debug)]
pub struct Path {
    /// Its labels with those that every alert gets; `None`: the whole tree was asked for.
    pub labels: Option<Labels>,
    pub root: Step,
    /// The route that every alert takes too, where all are forwarded.
    pub beside: Option<Step>,
    /// The receivers that are told, in order; one that is told twice is there twice.
    pub receivers: Vec<String>,
    /// The rules that concern it; without labels, all.
    pub inhibitions: Vec<Inhibition>,
}

impl Path {
    /// The way of an alert with these labels at this moment; without labels, the tree.
    pub fn of(plan: &Plan, labels: Option<&Labels>, at: Timestamp) -> Path {
        let labels = labels.map(|labels| {
            let mut all = labels.builder();
            for (name, value) in plan.external_labels.iter().filter(|(name, _)| !labels.has(name)) {
                all.set(name, value);
            }
            all.build()
        });
        let mut path = Path {
            root: step(plan, &plan.root, labels.as_ref(), true, at),
            beside: plan.root.beside.as_ref().map(|route| step(plan, route, labels.as_ref(), true, at)),
            receivers: Vec::new(),
            inhibitions: inhibitions(plan, labels.as_ref()),
            labels,
        };
        if let Some(labels) = &path.labels {
            path.receivers = plan.root.dispatch(labels).iter().map(|route| route.receiver.clone()).collect();
        }
        path
    }
}

/// A route and those below it. `reached`: the alert has come as far as this.
fn step(plan: &Plan, route: &Arc<Route>, labels: Option<&Labels>, reached: bool, at: Timestamp) -> Step {
    let refused = labels.and_then(|labels| route.matchers.iter().find(|m| !m.matches(labels.get(&m.name))));
    let mut inside = reached && refused.is_none();
    let mut below = Vec::with_capacity(route.routes.len());
    for next in &route.routes {
        let step = step(plan, next, labels, inside, at);
        inside &= !step.took() || next.goes_on;
        below.push(step);
    }
    let stand = match (labels, refused) {
        (None, _) => Stand::Open,
        _ if !reached => Stand::Unreached,
        (_, Some(matcher)) => Stand::Refused(matcher.clone()),
        _ if below.iter().any(Step::took) => Stand::Passed,
        _ => Stand::Taken,
    };
    let times = [(&route.mute, true), (&route.active, false)].into_iter();
    let times = times.flat_map(|(names, mutes)| names.iter().map(move |name| times_of(plan, name, mutes, at)));
    let muted = plan.muting(route, at).next().is_some();
    Step { route: Arc::clone(route), stand, times: times.collect(), muted, below }
}

impl Step {
    /// Whether the alert is told from here or below.
    fn took(&self) -> bool {
        matches!(self.stand, Stand::Taken | Stand::Passed)
    }
}

fn times_of(plan: &Plan, name: &str, mutes: bool, at: Timestamp) -> Times {
    const MINUTE: Duration = Duration::from_secs(60);
    let holds = plan.is_in(name, at);
    // Times begin and end with a minute.
    let next_minute = Timestamp::from_millis(at.as_millis().div_euclid(60_000).saturating_mul(60_000)) + MINUTE;
    let minutes = std::iter::successors(Some(next_minute), |minute| Some(*minute + MINUTE));
    let until = minutes.take_while(|minute| *minute <= at + AHEAD).find(|minute| plan.is_in(name, *minute) != holds);
    Times { name: name.to_string(), mutes, holds, until }
}

fn inhibitions(plan: &Plan, labels: Option<&Labels>) -> Vec<Inhibition> {
    let all = plan.inhibit_rules.iter().map(|rule| Inhibition {
        rule: Arc::clone(rule),
        is_source: labels.is_some_and(|labels| meets(&rule.source, labels)),
        is_target: labels.is_some_and(|labels| meets(&rule.target, labels)),
    });
    all.filter(|found| labels.is_none() || found.is_source || found.is_target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerting::AlertingConfig;
    use crate::yaml::{Document, Faults};

    const TREE: &str = r#"
route:
  receiver: default
  routes:
  - {receiver: db, matchers: [team="db"], continue: true, routes: [{receiver: page, matchers: [severity="page"]}]}
  - {receiver: both, matchers: ['team=~"db|web"'], mute_time_intervals: [night]}
  - {receiver: web, matchers: [team="web"], active_time_intervals: [never, night]}
receivers: [{name: default}, {name: db}, {name: page}, {name: both}, {name: web}]
inhibit_rules:
- {source_matchers: [severity="page"], target_matchers: [team="web"]}
time_intervals:
- {name: night, time_intervals: [{times: [{start_time: '00:00', end_time: '06:30'}]}]}
- {name: never, time_intervals: [{years: ['1990']}]}
"#;

    fn plan(text: &str) -> Plan {
        let mut faults = Faults::default();
        let config: AlertingConfig = Document::parse("t.yaml", text, &mut faults).read(&mut faults);
        assert!(!faults.has_errors(), "{faults}");
        Plan::new(&config, Labels::from_pairs([("site", "north")]), "")
    }

    /// 1970-01-01 at this time of the day.
    fn at(hour: i64, minute: i64) -> Timestamp {
        Timestamp::from_millis((hour * 60 + minute) * 60_000 + 30_000)
    }

    fn stands(step: &Step) -> String {
        let own = match &step.stand {
            Stand::Taken => "taken".to_string(),
            Stand::Passed => "passed".to_string(),
            Stand::Refused(matcher) => format!("refused by {matcher}"),
            Stand::Unreached => "unreached".to_string(),
            Stand::Open => "open".to_string(),
        };
        let below = step.below.iter().map(|below| format!("; {}", stands(below)));
        format!("{}: {own}{}", step.route.receiver, below.collect::<String>())
    }

    #[test]
    fn each_route_says_how_it_stands_to_an_alert() {
        let plan = plan(TREE);
        let path = |pairs: &[(&str, &str)]| {
            let path = Path::of(&plan, Some(&Labels::from_pairs(pairs.iter().copied())), at(0, 0));
            (stands(&path.root), path.receivers)
        };
        let (stands, receivers) = path(&[("team", "db"), ("severity", "page")]);
        assert_eq!(stands, "default: passed; db: passed; page: taken; both: taken; web: unreached");
        assert_eq!(receivers, ["page", "both"]);
        let (stands, receivers) = path(&[("team", "x")]);
        assert_eq!(
            stands,
            "default: taken; db: refused by team=\"db\"; page: unreached; both: refused by team=~\"db|web\"; web: refused \
             by team=\"web\""
        );
        assert_eq!(receivers, ["default"]);
    }

    #[test]
    fn times_say_whether_they_hold_and_until_when() {
        let plan = plan(TREE);
        let labels = Labels::from_pairs([("team", "web")]);
        let (night, day) = (Path::of(&plan, Some(&labels), at(6, 0)), Path::of(&plan, Some(&labels), at(7, 0)));
        let minute = |hour, minute| Some(at(hour, minute) - Duration::from_secs(30));
        let both = |path: &Path| {
            (path.root.below[1].muted, path.root.below[1].times[0].holds, path.root.below[1].times[0].until)
        };
        assert_eq!(both(&night), (true, true, minute(6, 30)));
        assert_eq!(both(&day), (false, false, minute(24, 0)));
        // One of the times in which it is active is enough; one that never comes has no end.
        assert_eq!((night.root.below[2].muted, day.root.below[2].muted), (false, true));
        assert_eq!(day.root.below[2].times[0].until, None);
    }

    #[test]
    fn without_labels_it_is_the_tree_and_with_some_the_rules_that_concern_them() {
        let plan = plan(TREE);
        let path = Path::of(&plan, None, at(0, 0));
        assert!(stands(&path.root).matches("open").count() == 5 && path.receivers.is_empty());
        assert_eq!(path.inhibitions.len(), 1);
        let of = |name, value| Path::of(&plan, Some(&Labels::from_pairs([(name, value)])), at(0, 0)).inhibitions;
        let web = of("team", "web");
        assert!(
            web[0].is_target && !web[0].is_source && of("severity", "page")[0].is_source && of("a", "b").is_empty()
        );
    }

    #[test]
    fn labels_of_every_alert_count_and_what_is_forwarded_is_told_too() {
        let plan = plan(
            "route: {receiver: a, routes: [{receiver: b, matchers: [site=north]}]}\nreceivers: [{name: a}, {name: b}]\n\
             alertmanagers: [{static_configs: [{targets: ['127.0.0.1:1']}]}]\n",
        );
        let path = Path::of(&plan, Some(&Labels::from_pairs([("x", "y")])), at(0, 0));
        assert_eq!(path.receivers, ["b", "alertmanagers"]);
        assert_eq!(path.beside.map(|step| step.stand), Some(Stand::Taken));
    }
}
