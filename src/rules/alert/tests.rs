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
        ActiveAlert::kept(1, Labels::empty(), 1.0, State::Pending, Moment { wall: at(0).wall, mono: -held })
    };
    let mut alerts = Alerts::new(timing(60, 0));
    alerts.restore(labels.clone(), pending(50_000), at(0), Duration::from_secs(30));
    alerts.step(at(5), vec![finding(1.0)]).unwrap();
    assert_eq!(letter(&alerts), 'p');
    alerts.step(at(10), vec![finding(1.0)]).unwrap();
    assert_eq!(letter(&alerts), 'F');

    let firing = State::Firing { since: at(0).wall, kept_since: None };
    let mut alerts = Alerts::new(timing(60, 0));
    let alert = ActiveAlert::kept(1, Labels::empty(), 1.0, firing, Moment { wall: at(0).wall, mono: -1_000_000 });
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

#[test]
fn what_is_known_late_of_an_alert_counts_where_it_waits_or_is_not_known() {
    let firing = State::Firing { since: at(0).wall, kept_since: None };
    let ended = State::Resolved { since: at(0).wall, at: at(0) };
    let late = |alerts: &mut Alerts, state: State| {
        let began = Moment { wall: at(0).wall, mono: -1_000_000 };
        let alert = ActiveAlert::kept(7, Labels::empty(), 1.0, state, began);
        alerts.restore_late(finding(1.0).labels, alert, at(20), Duration::from_secs(30));
        let began = alerts.iter().next().map(|(_, a)| a.active_at == began);
        let (unsaved, gone) = alerts.take_changes(&mut 100);
        (letter(alerts), began, unsaved.iter().map(|(number, _, _)| *number).collect::<Vec<_>>(), gone)
    };
    let evaluated = |hold: u64| {
        let mut alerts = Alerts::new(timing(hold, 0));
        alerts.step(at(15), vec![finding(1.0)]).unwrap();
        alerts
    };
    assert_eq!(late(&mut Alerts::new(timing(60, 0)), firing), ('F', Some(true), vec![7], vec![]));
    assert_eq!(late(&mut evaluated(60), State::Pending), ('p', Some(true), vec![7], vec![]));
    assert_eq!(late(&mut evaluated(60), firing), ('F', Some(true), vec![7], vec![]));
    assert_eq!(late(&mut evaluated(60), ended), ('p', Some(false), vec![100], vec![7]));
    assert_eq!(late(&mut evaluated(0), firing), ('F', Some(false), vec![100], vec![7]));
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
