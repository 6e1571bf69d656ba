//! Alerts fire, end and flap; people silence; the agent dies and is reloaded; commands take their time. Whatever comes, no
//! limit is broken, and nothing is run twice.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::alerting::simulation::Random;

const ACTIONS: [&str; 2] = [
    "[{name: a, command: [x], matchers: ['alertname=~\"D.*\"'], cool_down: 1m, max_per_hour: 4, repeat: 2m},
      {name: b, command: [x], matchers: [alertname=D1], on: both, cool_down: 30s, max_per_hour: 3}]",
    "[{name: a, command: [x], matchers: ['alertname=~\"D.*\"'], cool_down: 1m, max_per_hour: 4, on: both}]",
];
const NAMES: [&str; 3] = ["D1", "D2", "D3"];

#[derive(Default)]
struct Seen {
    /// When runs began, by action; and by action and alert.
    runs: BTreeMap<String, Vec<u64>>,
    /// When the last was, and whether it was because the alert had ended.
    of_alerts: BTreeMap<(String, String), (u64, bool)>,
    numbers: BTreeSet<u64>,
    /// Commands under way: number, action, and when they end.
    under_way: Vec<(u64, String, u64)>,
    silenced_until: BTreeMap<&'static str, u64>,
}

fn check(agent: &mut Agent, seen: &mut Seen, random: &mut Random, fires: &BTreeMap<&str, Option<u64>>) {
    for order in std::mem::take(&mut agent.orders) {
        let (name, now) = (order.action.name.clone(), agent.seconds);
        let alert = order.alert.alerts[0].labels.get("alertname").to_string();
        assert!(seen.numbers.insert(order.number), "{} is run twice", order.number);
        let silenced = seen.silenced_until.get(alert.as_str()).filter(|until| **until > now);
        assert_eq!(silenced, None, "{alert} at {now}: {:#?}", agent.core.view_silences());
        assert!(!seen.under_way.iter().any(|(_, running, _)| *running == name), "{name} runs already");
        let resolved = order.trigger == crate::alerting::Trigger::Resolved;
        assert_eq!(fires[alert.as_str()].is_none(), resolved, "{alert}");
        let last = seen.of_alerts.insert((name.clone(), alert.clone()), (now, resolved));
        let cool = order.action.cool_down.as_secs();
        let is_answer = resolved && last.is_some_and(|(_, resolved)| !resolved);
        let is_cool = last.is_none_or(|(last, _)| now - last >= cool);
        assert!(is_answer || is_cool, "{name} for {alert} at {now} and {last:?}");
        let runs = seen.runs.entry(name.clone()).or_default();
        runs.push(now);
        let within = runs.iter().filter(|began| **began + 3600 > now).count();
        assert!(is_answer || within <= order.action.max_per_hour, "{name}: {runs:?}");
        seen.under_way.push((order.number, name, now + random.below(40)));
    }
    agent.told();
}

fn world(seed: u64) -> usize {
    let mut random = Random::of(seed);
    let flapping = *random.one_of(&["{times: 0}", "{times: 3, within: 5m, calm: 1m}"]);
    let alerting = format!("{ROUTE}flapping: {flapping}\n");
    let mut actions = *random.one_of(&ACTIONS);
    let (mut agent, mut seen) = (Agent::with(&alerting, actions), Seen::default());
    // Since when each fires.
    let mut fires: BTreeMap<&str, Option<u64>> = NAMES.map(|name| (name, None)).into();
    while agent.seconds < 1500 {
        let now = agent.seconds + 1;
        agent.until(now);
        check(&mut agent, &mut seen, &mut random, &fires);
        let (ended, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut seen.under_way).into_iter().partition(|run| run.2 <= now);
        seen.under_way = rest;
        for (number, ..) in ended {
            agent.done(number, *random.one_of(&[Outcome::Ok, Outcome::Failed]), "exit");
            check(&mut agent, &mut seen, &mut random, &fires);
        }
        if random.once_in(20) {
            agent.full = !agent.full;
        }
        if !agent.full {
            agent.begin();
            check(&mut agent, &mut seen, &mut random, &fires);
        }
        match random.below(60) {
            0..4 => {
                let name = *random.one_of(&NAMES);
                let since = fires.get_mut(name).unwrap();
                match since.take() {
                    Some(since) => agent.ends(name, since),
                    None => {
                        *since = Some(now);
                        agent.fires(name, now);
                    }
                }
            }
            4 => {
                let (name, until) = (*random.one_of(&NAMES), now + random.below(200));
                agent.silence(&format!("alertname={name}"), until + 1);
                let known = seen.silenced_until.entry(name).or_default();
                *known = (*known).max(until);
            }
            5 if random.once_in(3) => {
                agent.restart(random.below(30), &alerting, actions);
                seen.under_way.clear();
                return_to(&mut agent, &fires);
            }
            6 if random.once_in(3) => {
                actions = *random.one_of(&ACTIONS);
                agent.handle(Event::Plan(Box::new(plan(&alerting, actions))));
            }
            7..10 => return_to(&mut agent, &fires),
            _ => {}
        }
        check(&mut agent, &mut seen, &mut random, &fires);
    }
    seen.numbers.len()
}

/// Rules tell again what fires.
fn return_to(agent: &mut Agent, fires: &BTreeMap<&str, Option<u64>>) {
    for (name, since) in fires {
        if let Some(since) = since {
            agent.fires(name, *since);
        }
    }
}

#[test]
fn whatever_comes_no_limit_is_broken_and_nothing_is_run_twice() {
    let mut runs = 0;
    for seed in 1..50 {
        runs += match std::panic::catch_unwind(|| world(seed)) {
            Ok(runs) => runs,
            Err(panic) => {
                eprintln!("the seed is {seed}");
                std::panic::resume_unwind(panic);
            }
        };
    }
    assert!(runs > 150, "{runs}");
}
