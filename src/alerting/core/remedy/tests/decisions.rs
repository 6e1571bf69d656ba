use super::*;

#[test]
fn what_begins_to_fire_is_acted_upon_once_and_the_next_notification_says_what_came_of_it() {
    let mut agent = Agent::new(RESTART);
    agent.fires("Down", 0);
    agent.fires("Other", 0);
    assert_eq!(agent.ordered(), ["restart firing"]);
    let alert = &agent.orders[0].alert;
    assert_eq!((alert.alerts.len(), alert.alerts[0].labels.get("alertname")), (1, "Down"));
    assert_eq!(alert.receiver, "restart");
    agent.until(2);
    agent.ran();
    agent.fires("Down", 0);
    agent.until(10);
    assert_eq!(agent.told(), [vec!["restart: exit 0 after 1.2 s".to_string()], vec![]]);
    agent.until(40);
    agent.fires("Down", 0);
    agent.ends("Down", 0);
    agent.until(70);
    assert_eq!(agent.told(), [["restart: exit 0 after 1.2 s"]], "its end tells it too");
    assert!(agent.orders.is_empty());
    assert_eq!(agent.log(), ["firing ok exit 0"]);
    assert_eq!(agent.deeds.len(), 1);
    assert_eq!(agent.deeds[0].took, Some(Duration::from_millis(1200)));
}

#[test]
fn an_action_that_still_runs_is_told_to_have_been_started() {
    let mut agent = Agent::new(RESTART);
    agent.fires("Down", 0);
    agent.until(10);
    assert_eq!(agent.told(), [["restart: started"]]);
    agent.done(agent.orders[0].number, Outcome::Failed, "exit 1");
    agent.ends("Down", 0);
    agent.until(70);
    assert_eq!(agent.told(), [["restart: exit 1 after 1.2 s: out"]]);
}

#[test]
fn what_the_pool_has_no_place_for_waits_and_runs_from_when_it_begins() {
    let mut agent = Agent::new(RESTART);
    agent.full = true;
    agent.fires("Down", 0);
    agent.until(10);
    assert_eq!(agent.told(), [["restart: waits for a place"]]);
    assert_eq!(agent.log(), ["firing waiting waits for a place"]);
    agent.until(30);
    agent.begin();
    let (_, entry) = agent.core.view_actions().remove(0);
    assert_eq!((entry.result, entry.at, entry.said.as_str()), (Outcome::Running, time(30).wall.as_millis(), ""));
    agent.ran();
    agent.ends("Down", 0);
    agent.until(70);
    assert_eq!(agent.told(), [["restart: exit 0 after 1.2 s"]]);
    agent.fires("Down", 70);
    agent.until(329);
    assert_eq!(agent.orders.len(), 0, "it cools down from when it began");
    agent.until(330);
    assert_eq!(agent.ordered(), ["restart firing"]);
}

#[test]
fn what_never_began_does_not_count() {
    let mut agent = Agent::new("[{name: a, command: [x], matchers: [alertname=Down], max_per_hour: 1}]");
    agent.full = true;
    agent.fires("Down", 0);
    agent.queued.clear();
    let done = Done { result: Outcome::Skipped, said: "it was cancelled".into(), took: None, output: String::new() };
    agent.handle(Event::Done(agent.orders[0].number, done));
    agent.until(10);
    assert_eq!(agent.told(), [["a: not run: it was cancelled"]]);
    agent.ends("Down", 0);
    agent.until(20);
    agent.fires("Down", 20);
    assert_eq!(agent.log(), ["firing skipped it was cancelled", "firing waiting waits for a place"]);
}

#[test]
fn a_rule_names_its_actions() {
    let mut agent = Agent::new("[{name: a, command: [x]}, {name: b, command: [x]}]");
    agent.tell_named("Any", 0, true, &["b"]);
    assert_eq!(agent.ordered(), ["b firing"]);
}

#[test]
fn what_fires_again_within_the_cool_down_waits_for_its_end_if_it_fires_on() {
    let mut agent = Agent::new(RESTART);
    agent.fires("Down", 0);
    agent.ran();
    agent.until(20);
    agent.ends("Down", 0);
    agent.until(100);
    agent.fires("Down", 100);
    assert!(agent.orders.is_empty());
    agent.until(120);
    agent.told();
    agent.until(299);
    assert!(agent.orders.is_empty());
    assert_eq!(agent.log(), ["firing ok exit 0", "firing waiting it was run less than 5m before"]);
    agent.until(300);
    assert_eq!(agent.ordered(), ["restart firing"]);
    agent.ran();
    assert_eq!(agent.log(), ["firing ok exit 0", "firing ok exit 0"]);

    agent.until(400);
    agent.ends("Down", 100);
    agent.fires("Down", 400);
    agent.ends("Down", 400);
    assert_eq!(agent.log()[2], "firing skipped the alert has ended");
    agent.until(1000);
    assert!(agent.orders.is_empty(), "what has ended meanwhile is not mended");
}

#[test]
fn more_often_in_an_hour_than_it_may_be_it_is_not_run_and_that_is_said() {
    let actions = "[{name: restart, command: [x], matchers: ['alertname=~\"D.*\"'], cool_down: 0s, max_per_hour: 2}]";
    let mut agent = Agent::new(actions);
    for (i, name) in ["D1", "D2", "D3"].into_iter().enumerate() {
        agent.until(i as u64);
        agent.fires(name, i as u64);
        agent.ran();
    }
    let said = ["firing ok exit 0", "firing ok exit 0", "firing skipped 2 runs in the last hour are the limit"];
    assert_eq!(agent.log(), said);
    agent.until(12);
    let told = agent.told();
    assert_eq!(told[2], ["restart: not run: 2 runs in the last hour are the limit"]);
    assert_eq!(agent.deeds[2].result, Outcome::Skipped);
    agent.until(3600);
    agent.fires("D4", 3600);
    assert_eq!(agent.ordered(), ["restart firing"]);
}

const BOTH: &str = "[{name: valve, command: [x], matchers: ['alertname=~\"D.*\"'], on: both}]";

#[test]
fn what_was_run_when_an_alert_began_is_run_when_it_ends_whatever_the_limits_say() {
    let mut agent = Agent::new(BOTH);
    let mut runs = Vec::new();
    for at in [0, 400, 800] {
        agent.until(at);
        agent.fires("Down", at);
        runs.extend(agent.ordered());
        agent.ran();
        agent.until(at + 60);
        agent.ends("Down", at);
        runs.extend(agent.ordered());
        agent.ran();
        agent.until(at + 200);
        agent.told();
    }
    // Firing is held to the three runs of an hour, of which the ends are some.
    assert_eq!(runs, ["valve firing", "valve resolved", "valve firing", "valve resolved"]);
    let limit = "skipped 3 runs in the last hour are the limit";
    assert_eq!(agent.log()[4..], [format!("firing {limit}"), format!("resolved {limit}")]);
}

#[test]
fn an_end_that_answers_no_run_is_held_to_the_limits() {
    let mut agent = Agent::new(BOTH);
    for (i, name) in ["D1", "D2", "D3", "D4"].into_iter().enumerate() {
        agent.until(i as u64);
        agent.fires(name, i as u64);
        agent.ran();
    }
    agent.until(20);
    agent.ends("D4", 3);
    agent.ends("D1", 0);
    agent.ran();
    assert_eq!(
        agent.log()[3..],
        [
            "firing skipped 3 runs in the last hour are the limit",
            "resolved skipped 3 runs in the last hour are the limit",
            "resolved ok exit 0"
        ]
    );
    let mut agent = Agent::new("[{name: tidy, command: [x], on: resolved, matchers: [alertname=Down]}]");
    for at in [0, 100] {
        agent.until(at);
        agent.fires("Down", at);
        agent.ends("Down", at);
        agent.ran();
    }
    assert_eq!(agent.log(), ["resolved ok exit 0", "resolved waiting it was run less than 5m before"]);
}

#[test]
fn what_is_silenced_is_acted_upon_when_the_silence_is_over() {
    let mut agent = Agent::new(RESTART);
    agent.silence("alertname=Down", 600);
    agent.fires("Down", 0);
    agent.until(599);
    assert_eq!((agent.orders.len(), agent.log()), (0, vec!["firing waiting the alert is silenced".to_string()]));
    agent.until(606);
    assert_eq!(agent.ordered(), ["restart firing"]);
    agent.ran();

    let both = "[{name: tidy, command: [x], on: resolved, matchers: [alertname=Down]}]";
    let mut agent = Agent::new(both);
    agent.fires("Down", 0);
    agent.until(20);
    agent.told();
    agent.silence("alertname=Down", 600);
    agent.ends("Down", 0);
    assert_eq!(agent.log(), ["resolved skipped the alert is silenced"]);
}

#[test]
fn what_is_inhibited_is_not_acted_upon_whatever_comes_first() {
    let inhibit = "inhibit_rules: [{source_matchers: [alertname=Root], target_matchers: [alertname=Down]}]\n";
    let mut agent = Agent::with(&format!("{ROUTE}{inhibit}"), RESTART);
    let labels = |name| Labels::from_pairs([("alertname", name)]);
    let alert = |name| Alert {
        labels: labels(name),
        annotations: Labels::empty(),
        starts_at: time(0).wall,
        ends_at: None,
        valid_for: Duration::from_secs(100_000),
        value: 1.0,
        expr: String::new(),
        threshold: None,
        top: Vec::new(),
        actions: Arc::default(),
    };
    agent.handle(Event::Alerts(vec![alert("Down"), alert("Root")]));
    assert_eq!(agent.log(), ["firing waiting the alert is inhibited"]);
    agent.until(30);
    agent.handle(Event::Alerts(vec![Alert { ends_at: Some(time(30).wall), ..alert("Root") }]));
    agent.until(36);
    assert_eq!(agent.ordered(), ["restart firing"]);
}

#[test]
fn times_in_which_nobody_is_told_do_not_keep_an_action_from_being_run() {
    let muted = "route: {receiver: ops, routes: [{receiver: ops, mute_time_intervals: [always]}]}\n\
                 receivers: [{name: ops, webhook_configs: [{url: 'http://x'}]}]\n\
                 time_intervals: [{name: always, time_intervals: [{years: ['1970:2100']}]}]\n";
    let mut agent = Agent::with(muted, RESTART);
    agent.fires("Down", 0);
    assert_eq!(agent.ordered(), ["restart firing"]);
}

#[test]
fn what_flaps_is_acted_upon_only_as_often_as_the_cool_down_lets_it() {
    let flapping = "flapping: {times: 3, within: 10m, calm: 5m}\n";
    let mut agent = Agent::with(&format!("{ROUTE}{flapping}"), RESTART);
    let mut runs = Vec::new();
    for at in (0..900).step_by(30) {
        agent.until(at);
        agent.fires("Down", at);
        runs.extend(std::iter::repeat_n(at, agent.orders.len()));
        agent.ran();
        agent.until(at + 15);
        agent.ends("Down", at);
    }
    assert_eq!(runs, [0, 300, 600]);
    agent.until(5000);
    assert!(agent.orders.is_empty(), "its end is held back, but it has ended");
}

#[test]
fn an_action_may_be_repeated_while_the_alert_fires() {
    let actions =
        "[{name: tidy, command: [x], matchers: [alertname=Down], cool_down: 1m, repeat: 5m, max_per_hour: 4}]";
    let mut agent = Agent::new(actions);
    agent.fires("Down", 0);
    let mut runs = Vec::new();
    for at in 0..2000 {
        agent.until(at);
        runs.extend(agent.ordered().into_iter().map(|order| format!("{at} {order}")));
        agent.ran();
    }
    assert_eq!(runs, ["0 tidy firing", "300 tidy repeat", "600 tidy repeat", "900 tidy repeat"]);
    assert_eq!(agent.log()[4..], ["repeat skipped 4 runs in the last hour are the limit"; 3]);
    agent.ends("Down", 0);
    agent.until(9000);
    assert_eq!(agent.log().len(), 7, "when it has ended, nothing is repeated");
}

#[test]
fn a_dry_run_is_decided_told_and_written_down_and_nothing_is_run() {
    let mut agent = Agent::new("[{name: a, command: [rm, -rf, /x], matchers: [alertname=Down], dry_run: true}]");
    agent.fires("Down", 0);
    agent.until(10);
    assert_eq!(agent.told(), [["a: dry run, would have run rm -rf /x"]]);
    assert!(agent.orders.is_empty());
    assert_eq!((agent.log(), agent.deeds[0].result), (vec!["firing dry_run".to_string()], Outcome::DryRun));
}

#[test]
fn one_run_of_an_action_at_a_time_and_an_end_is_not_forgotten_meanwhile() {
    let actions = "[{name: a, command: [x], matchers: ['alertname=~\"D.*\"'], on: both, cool_down: 0s}]";
    let mut agent = Agent::new(actions);
    agent.fires("D1", 0);
    agent.fires("D2", 0);
    agent.until(10);
    agent.told();
    assert_eq!(agent.ordered(), ["a firing"]);
    agent.until(20);
    agent.ends("D1", 0);
    agent.until(100);
    agent.told();
    assert_eq!(agent.log()[1..], ["firing waiting it is still being run", "resolved waiting it is still being run"]);
    let mut order = Vec::new();
    while !agent.orders.is_empty() {
        order.extend(agent.ordered());
        assert_eq!(agent.orders.len(), 1);
        agent.ran();
    }
    order.sort();
    assert_eq!(order, ["a firing", "a firing", "a resolved"]);
}

#[test]
fn what_was_posted_to_the_agent_runs_nothing() {
    let mut agent = Agent::new(RESTART);
    let posted = crate::alerting::PostedAlert {
        labels: Labels::from_pairs([("alertname", "Down"), ("instance", "i")]),
        annotations: Labels::empty(),
        starts_at: None,
        ends_at: None,
        generator_url: String::new(),
    };
    let (_, actions) = agent.core.post(vec![posted], time(0));
    agent.act(actions);
    agent.until(1000);
    assert!(agent.orders.is_empty() && agent.log().is_empty());
}

#[test]
fn after_the_last_call_nothing_is_begun_and_what_runs_is_still_written_down() {
    let mut agent = Agent::new(RESTART);
    agent.fires("Down", 0);
    agent.handle(Event::Stop);
    agent.fires("Down", 0);
    agent.ran();
    assert_eq!((agent.log(), agent.orders.len()), (vec!["firing ok exit 0".to_string()], 0));
}
