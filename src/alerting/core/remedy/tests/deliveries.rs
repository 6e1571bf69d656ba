use super::*;
use crate::sinks::{DeliveryError, Reason};

fn exec(limits: &str) -> String {
    format!(
        "route: {{receiver: ops, group_by: [alertname], group_wait: 0s, group_interval: 1s}}\n\
         receivers: [{{name: ops, exec_configs: [{{command: [notify, me]{limits}}}]}}]\n"
    )
}

fn delivered(agent: &mut Agent) -> Vec<String> {
    let status = |a: &Attempt| a.notification.status().as_str().to_string();
    let said = agent.attempts.iter().map(status).collect();
    agent.told();
    said
}

#[test]
fn the_command_of_a_receiver_is_written_down_as_actions_are() {
    let mut agent = Agent::with(&exec(""), "[]");
    agent.fires("Down", 0);
    assert_eq!(agent.log(), ["firing running"]);
    agent.until(3);
    assert_eq!(delivered(&mut agent), ["firing"]);
    let (_, entry) = agent.core.view_actions().remove(0);
    assert_eq!((entry.action.as_str(), entry.command), ("ops/exec[0]", vec!["notify".to_string(), "me".to_string()]));
    assert_eq!((entry.alert["alertname"].as_str(), entry.took), ("Down", Some(3000)));
    assert_eq!(agent.log(), ["firing ok exit 0"]);
    agent.ends("Down", 0);
    agent.until(10);
    let attempt = agent.attempts.remove(0);
    let error = DeliveryError::passing(Reason::Timeout, "exec:ops timed out after 30s");
    agent.handle(Event::Ended(Ended { attempt, result: Err(error) }));
    assert_eq!(agent.log()[1], "resolved timeout exec:ops timed out after 30s");
    assert_eq!(agent.deeds.len(), 2);
}

#[test]
fn what_comes_within_the_cool_down_waits_and_is_then_told() {
    let mut agent = Agent::with(&exec(", cool_down: 1m"), "[]");
    agent.fires("Down", 0);
    assert_eq!(delivered(&mut agent), ["firing"]);
    agent.until(10);
    agent.ends("Down", 0);
    agent.fires("Other", 10);
    assert_eq!(delivered(&mut agent), ["firing"], "another group does not wait");
    agent.until(40);
    agent.fires("Down", 40);
    agent.until(59);
    assert!(agent.attempts.is_empty());
    let oldest = |agent: &Agent| agent.core.queues().next().unwrap().2;
    assert_eq!(oldest(&agent), Some(Duration::from_secs(60)), "what may not be told yet is not late");
    agent.core.assert_counted();
    agent.until(60);
    assert_eq!(delivered(&mut agent), ["resolved"]);
    agent.until(120);
    assert_eq!(delivered(&mut agent), ["firing"]);
    assert_eq!(agent.core.waiting(), 0);
}

#[test]
fn what_is_tried_again_does_not_wait_for_itself_but_counts() {
    let mut agent = Agent::with(&exec(", cool_down: 10m, max_per_hour: 2"), "[]");
    agent.fires("Down", 0);
    for _ in 0..2 {
        let attempt = agent.attempts.remove(0);
        let error = DeliveryError::passing(Reason::ServerError, "busy");
        agent.handle(Event::Ended(Ended { attempt, result: Err(error) }));
        agent.until(agent.seconds + 30);
    }
    assert!(agent.attempts.is_empty(), "two in an hour");
    agent.until(3599);
    assert!(agent.attempts.is_empty());
    agent.until(3660);
    assert_eq!(delivered(&mut agent), ["firing"], "nothing is lost");
}

#[test]
fn a_dry_run_confirms_and_runs_nothing() {
    let mut agent = Agent::with(&exec(", dry_run: true"), "[]");
    agent.fires("Down", 0);
    agent.until(5);
    assert!(agent.attempts.is_empty() && agent.core.waiting() == 0);
    assert_eq!(
        (agent.log(), agent.deeds[0].line.as_str()),
        (vec!["firing dry_run".to_string()], "ops/exec[0]: dry run, would have run notify me")
    );
}

#[test]
fn a_receiver_that_goes_and_an_agent_that_dies_interrupt_its_command() {
    let mut agent = Agent::with(&exec(""), "[]");
    agent.fires("Down", 0);
    agent.handle(Event::Plan(Box::new(plan(ROUTE, "[]"))));
    assert_eq!(agent.log(), ["firing interrupted its receiver is no longer configured"]);
    let mut agent = Agent::with(&exec(", cool_down: 1m"), "[]");
    agent.fires("Down", 0);
    agent.restart(1, &exec(", cool_down: 1m"), "[]");
    assert_eq!(agent.log(), ["firing interrupted the agent ended while it ran"]);
    agent.until(60);
    assert_eq!(delivered(&mut agent), ["firing"], "it is delivered when it may be");
}
