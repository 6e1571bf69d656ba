use super::*;
use crate::history::is_stale_marker;
use crate::rules::{read_file, stock_groups};
use crate::yaml::Faults;

const S: Duration = Duration::from_secs(1);

fn groups(text: &str) -> Vec<GroupSpec> {
    let mut faults = Faults::default();
    let groups = read_file("r.yml", text, &mut faults);
    assert!(!faults.has_errors(), "{faults}");
    groups
}

fn needs(text: &str) -> Needs {
    Needs::of(&groups(text), S, Duration::ZERO, Duration::from_secs(300))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000 + second * 1000)
}

fn series(name: &str) -> Labels {
    Labels::from_pairs([("__name__", name)])
}

/// Samples at these seconds.
fn points(samples: &[(i64, f64)]) -> Vec<Point> {
    samples.iter().map(|(second, value)| Point { time: at(*second).as_millis(), value: *value }).collect()
}

fn replay(text: &str, recorders: Recorders) -> Replay {
    let groups = groups(text);
    let needs = Needs::of(&groups, S, Duration::ZERO, Duration::from_secs(300));
    Replay::new(groups, &needs, Settings::default(), S, recorders).unwrap()
}

/// What became of an alert: the first letter of the state, the seconds of its beginning and end.
fn spans(rules: &[Replayed], alert: &str) -> Vec<(char, i64, i64)> {
    let rule = rules.iter().find(|rule| rule.spec.name() == alert).unwrap();
    let second = |time: Timestamp| time.millis_since(at(0)) / 1000;
    let spans = rule.instances.iter().flat_map(|instance| &instance.spans);
    spans.map(|s| (if s.stage == Stage::Firing { 'f' } else { 'p' }, second(s.from), second(s.to))).collect()
}

#[test]
fn rules_read_what_they_look_at_as_far_back_as_they_look() {
    let needs = needs(
        "groups: [{name: g, rules: [\
         {record: own, expr: 'rate(a{x=\"1\"}[10m])'},\
         {alert: A, expr: 'max_over_time(own[30m]) > 1 and b offset 1h > 0 or a > 3', for: 5m,\
          annotations: {s: '{{ range query \"sum(c)\" }}{{ end }}', t: '{{ printf \"d{e=%q}\" \"d{e=\\\"%s\\\"}\" }}'}}]}]",
    );
    let reads: Vec<(&str, Option<u64>)> =
        needs.reads().iter().map(|r| (r.selector.as_str(), r.reach.map(|d| d.as_secs() / 60))).collect();
    let bare = |name: &str| format!("{{__name__=\"{name}\"}}");
    let expected = [("a", 15), ("b", 65), ("c", 5), ("d", 5)].map(|(name, minutes)| (bare(name), Some(minutes)));
    assert_eq!(reads, expected.each_ref().map(|(selector, minutes)| (selector.as_str(), *minutes)));
    let minutes = needs.warm_up().as_secs() / 60;
    assert_eq!(minutes, 35, "the alert may have been pending for five, and by then looks at what was recorded before");
    let anywhere = self::needs("groups: [{name: g, rules: [{record: r, expr: 'a @ 5'}]}]");
    assert!(anywhere.reads()[0].reach.is_none() && anywhere.furthest().is_none());
}

#[test]
fn the_stock_rules_read_the_series_that_they_name_and_no_others() {
    let stock = Needs::of(&stock_groups(&mut Faults::default()), S, Duration::ZERO, Duration::from_secs(300));
    assert_eq!(stock.warm_up(), Duration::from_secs(2 * 3600 + 15), "the longest that one of them waits");
    assert!(stock.reads().len() > 20 && stock.reads().iter().all(|read| read.selector.contains("__name__=\"")));
}

#[test]
fn alerts_are_pending_and_fire_when_they_would_have() {
    let text = "groups: [{name: g, rules: [{alert: A, expr: a > 1, for: 2s, keep_firing_for: 1s}]}]";
    let mut replay = replay(text, Recorders::default());
    // Samples come in slices, of which one may overlap.
    for slice in [0..4, 3..9, 9..12] {
        let samples: Vec<(i64, f64)> =
            slice.clone().map(|s| (s, if (2..7).contains(&s) { s as f64 } else { 0.0 })).collect();
        replay.take(series("a"), points(&samples));
        let ticked = if slice.start == 3 { 4 } else { slice.start };
        (ticked..slice.end).for_each(|second| replay.tick(at(second), true));
        replay.forget();
    }
    let rules = replay.finish();
    assert_eq!(spans(&rules, "A"), [('p', 2, 4), ('f', 4, 8)]);
    let alert = &rules[0].instances[0];
    assert_eq!((alert.fired, alert.worst), (1, Some((6.0, at(6)))));
    assert_eq!((alert.total(Stage::Firing), rules[0].evaluations), (S * 4, 12));
}

#[test]
fn a_series_ends_at_the_first_tick_that_has_no_sample_of_it() {
    let text = "groups: [{name: g, rules: [{alert: Gone, expr: absent(a)}, {alert: Low, expr: a < 5}]}]";
    let mut replay = replay(text, Recorders::default());
    replay.take(series("a"), points(&[(0, 3.0), (1, 2.0), (2, 4.0), (5, 9.0)]));
    (0..7).for_each(|second| replay.tick(at(second), true));
    let stale = |replay: &Replay| {
        let history = replay.history.read().unwrap();
        history.all().find(|s| s.labels() == &series("a")).map(|s| is_stale_marker(s.last().value))
    };
    assert_eq!(stale(&replay), Some(true));
    let rules = replay.finish();
    assert_eq!(spans(&rules, "Gone"), [('f', 3, 5), ('f', 6, 6)]);
    assert_eq!(spans(&rules, "Low"), [('f', 0, 3)]);
    let low = &rules[1].instances[0];
    assert_eq!(low.worst, Some((2.0, at(1))), "where little is asked for, the least is the worst");
}

#[test]
fn a_series_that_a_rule_recorded_ends_when_an_evaluation_has_not_given_it() {
    let text = "groups: [{name: g, rules: [{alert: Gone, expr: absent(r)}]}]";
    let records = [("r".to_string(), S * 5)].into();
    let mut replay = replay(text, Recorders { records, ..Recorders::default() });
    replay.take(series("r"), points(&[(0, 1.0), (5, 1.0), (15, 1.0)]));
    (0..17).for_each(|second| replay.tick(at(second), true));
    assert_eq!(spans(&replay.finish(), "Gone"), [('f', 13, 15)], "it may have been late");
}

#[test]
fn what_the_rules_record_is_that_of_the_replay() {
    let text = "groups: [{name: g, rules: [{record: r, expr: a * 2}, {alert: A, expr: r > 3},\
                {alert: B, expr: 'ALERTS{alertname=\"A\"} == 1'}, {alert: C, expr: 'ALERTS{alertname=\"Z\"}'}]}]";
    let mut replay = replay(text, Recorders { otherwise: S, ..Recorders::default() });
    let alert =
        |name: &str| Labels::from_pairs([("__name__", "ALERTS"), ("alertname", name), ("alertstate", "firing")]);
    replay.take(series("a"), points(&[(0, 1.0), (1, 2.0), (2, 2.0), (3, 1.0)]));
    replay.take(series("r"), points(&[(0, 9.0), (1, 9.0), (2, 9.0), (3, 9.0)]));
    replay.take(alert("A"), points(&[(0, 1.0), (1, 1.0), (2, 1.0), (3, 1.0)]));
    replay.take(alert("Z"), points(&[(2, 1.0), (3, 1.0)]));
    (0..4).for_each(|second| replay.tick(at(second), true));
    let rules = replay.finish();
    assert_eq!(spans(&rules, "A"), [('f', 1, 3)]);
    assert_eq!(spans(&rules, "B"), [('f', 1, 3)]);
    assert_eq!(spans(&rules, "C"), [('f', 2, 3)], "what other rules gave is the agent's");
}

#[test]
fn a_pause_of_the_agent_is_no_time_in_which_anything_has_lasted() {
    let text = "groups: [{name: g, rules: [{alert: A, expr: a > 1, for: 1m}]}]";
    let mut replay = replay(text, Recorders::default());
    replay.take(series("a"), points(&[(0, 2.0), (1, 2.0), (600, 2.0), (601, 2.0)]));
    [0, 1, 600, 601].iter().for_each(|second| replay.tick(at(*second), true));
    assert_eq!(spans(&replay.finish(), "A"), [('p', 0, 2), ('p', 600, 601)]);
}

#[test]
fn what_came_before_the_time_that_is_asked_about_counts_and_is_not_shown() {
    let text =
        "groups: [{name: g, rules: [{alert: A, expr: a > 1, for: 3s}, {alert: B, expr: '{__name__=~\"a|b\"}'}]}]";
    let mut replay = replay(text, Recorders::default());
    let seconds: Vec<(i64, f64)> = (0..8).map(|second| (second, 2.0)).collect();
    replay.take(series("a"), points(&seconds));
    replay.take(series("b"), points(&seconds));
    (0..2).for_each(|second| replay.fill(at(second)));
    (2..8).for_each(|second| replay.tick(at(second), second >= 4));
    let rules = replay.finish();
    assert_eq!(spans(&rules, "A"), [('p', 4, 5), ('f', 5, 7)]);
    let trouble = rules[1].trouble.as_ref().unwrap();
    assert_eq!((trouble.times, trouble.first, rules[1].evaluations), (4, at(4), 4));
    assert!(trouble.error.contains("same labelset after applying alert labels"), "{}", trouble.error);
}
