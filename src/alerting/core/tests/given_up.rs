//! What is refused for good, and what people do about it.

use super::*;
use crate::sinks::Reason;

fn refusal() -> Result<(), DeliveryError> {
    Err(DeliveryError { retry: false, retry_after: None, reason: Reason::ClientError, message: "403".to_string() })
}

impl Agent {
    /// Lets a sink refuse what is due until it is given up.
    fn give_up(&mut self) {
        for _ in 0..4 {
            self.end(refusal);
            self.until(self.seconds + 300);
        }
        self.end(refusal);
        assert!(matches!(self.endings.last(), Some(Ending::GivenUp(_))));
    }

    /// Lets a sink refuse whatever is due for so long that the first of it is given up.
    fn refuse(&mut self) {
        for _ in 0..5 {
            self.end(refusal);
            self.until(self.seconds + 300);
        }
    }
}

#[test]
fn what_is_refused_for_good_is_told_again_as_long_as_it_fires() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a"]);
    let mut tries = 0;
    for second in 1..1000 {
        agent.until(second);
        if second % 60 == 0 {
            agent.tell("Disk", &["a"]);
        }
        tries += agent.end(refusal).len();
        if agent.endings.iter().any(|e| matches!(e, Ending::GivenUp(_))) {
            break;
        }
    }
    assert_eq!(tries, 5);
    agent.tell("Disk", &["a"]);
    agent.until(agent.seconds + 60);
    assert_eq!(agent.deliver(), ["a"]);
    assert_eq!(agent.core.dead_letters(), 0, "it has been told after all");
}

#[test]
fn the_end_of_what_a_target_knows_is_told_until_it_listens() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a"]);
    agent.until(10);
    assert_eq!(agent.deliver(), ["a"]);
    agent.tell("Disk", &["-a"]);
    let mut tries = 0;
    // The password has expired, and is mended after the weekend.
    while agent.seconds < 200_000 {
        agent.until(agent.seconds + 1);
        tries += agent.end(refusal).len();
    }
    assert!((1000..10_000).contains(&tries), "{tries}");
    agent.until(agent.seconds + 400);
    assert_eq!(agent.deliver(), ["-a"]);
    agent.until(agent.seconds + 1000);
    assert!(agent.deliver().is_empty());
    assert!(agent.rows.borrow().is_empty(), "nothing is left: {:?}", agent.rows.borrow().keys());
}

#[test]
fn what_is_given_up_is_kept_and_can_be_tried_again_or_thrown_away() {
    let mut agent = Agent::new(CONFIG);
    agent.valid_for = Duration::from_secs(100_000);
    agent.tell("Disk", &["a"]);
    agent.until(10);
    agent.refuse();
    agent.end(refusal);
    agent.tell("Disk", &["-a"]);
    agent.until(agent.seconds + 60);
    agent.refuse();
    agent.attempts.clear();
    agent.restart(1);
    let seen = agent.core.view_undelivered();
    let dead: Vec<_> =
        seen.iter().filter(|u| u.given_up.is_some()).map(|u| (u.number, u.firing, u.error.clone())).collect();
    assert_eq!(dead.len(), 1, "{seen:#?}");
    assert_eq!((dead[0].1, dead[0].2.as_str(), agent.core.dead_letters()), (1, "403", 1));

    // What waits goes on; the other is told as it was, and since it has ended by now, that is told after it.
    assert_eq!(agent.deliver(), ["-a"]);
    let (retried, actions) = agent.core.retry(dead[0].0, time(agent.seconds));
    assert!(retried && agent.core.dead_letters() == 0);
    agent.act(actions);
    agent.restart(1);
    assert_eq!(agent.deliver(), ["a"]);
    agent.until(agent.seconds + 60);
    assert_eq!(agent.deliver(), ["-a"]);
    assert!(!agent.core.retry(dead[0].0, time(agent.seconds)).0 && !agent.core.discard(dead[0].0).0);
    agent.until(agent.seconds + 60);
    assert!(agent.rows.borrow().is_empty(), "{:?}", agent.rows.borrow().keys());
}

#[test]
fn what_waits_for_a_receiver_that_goes_is_kept_too() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a"]);
    agent.until(10);
    agent.handle(Event::Plan(Box::new(plan(&CONFIG.replace("ops", "others")))));
    let dead = agent.core.view_undelivered().remove(0);
    assert_eq!((dead.target.receiver.as_str(), dead.error.as_str()), ("ops", "its receiver is no longer configured"));
    assert!(!agent.core.retry(dead.number, time(10)).0, "there is nobody to tell");
    assert!(agent.core.discard(dead.number).0 && agent.core.dead_letters() == 0);
    // When it is back, it has still to be told.
    agent.attempts.clear();
    agent.handle(Event::Plan(Box::new(plan(CONFIG))));
    agent.until(80);
    assert_eq!(agent.deliver(), ["a"]);
}

#[test]
fn the_number_of_what_was_given_up_is_not_given_again_after_a_restart() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a"]);
    agent.until(10);
    agent.tell("Disk", &["-a"]);
    agent.refuse();
    agent.refuse();
    assert_eq!((agent.core.dead_letters(), agent.core.waiting()), (2, 0));
    agent.restart(1);
    agent.tell("Cpu", &["b"]);
    agent.refuse();
    agent.end(refusal);
    let dead = agent.core.view_undelivered().into_iter().filter(|undelivered| undelivered.given_up.is_some());
    assert_eq!(
        dead.map(|dead| (dead.number, dead.alerts)).collect::<Vec<_>>(),
        [(0, "Disk".to_string()), (1, "Disk".to_string()), (2, "Cpu".to_string())]
    );
}

#[test]
fn what_was_under_way_to_a_receiver_that_goes_may_have_arrived_and_its_end_is_told_when_it_is_back() {
    let mut agent = Agent::new(CONFIG);
    agent.tell("Disk", &["a"]);
    agent.until(10);
    agent.attempts.clear();
    agent.handle(Event::Plan(Box::new(plan(&CONFIG.replace("ops", "others")))));
    agent.until(20);
    assert_eq!(agent.deliver(), ["a"]);
    agent.tell("Disk", &["-a"]);
    agent.handle(Event::Plan(Box::new(plan(CONFIG))));
    assert_eq!(agent.deliver(), ["-a"]);
}

#[test]
fn after_a_restart_it_is_known_what_was_given_up_and_what_had_been_delivered_before() {
    let mut agent = Agent::new(CONFIG);
    agent.valid_for = Duration::from_secs(100_000);
    agent.tell("Disk", &["a"]);
    agent.until(10);
    agent.give_up();
    agent.restart(1);
    agent.tell("Disk", &["a"]);
    agent.until(agent.seconds + 60);
    assert_eq!(agent.deliver(), ["a"], "given up before, so it is told again");

    agent.restart(1);
    agent.tell("Disk", &["a", "b"]);
    agent.until(agent.seconds + 60);
    agent.give_up();
    agent.tell("Disk", &["-a", "-b"]);
    agent.until(agent.seconds + 60);
    assert_eq!(agent.deliver(), ["-a -b"], "who was told of a has to know its end");
}

#[test]
fn a_repetition_that_was_given_up_is_told_after_a_restart_even_if_the_clock_was_set_back() {
    let mut agent = Agent::new(CONFIG);
    agent.valid_for = Duration::from_secs(100_000);
    agent.tell("Disk", &["a"]);
    agent.until(10);
    assert_eq!(agent.deliver(), ["a"]);
    agent.until(4000);
    agent.give_up();
    agent.skew = -100_000;
    agent.restart(1);
    agent.tell("Disk", &["a"]);
    agent.until(agent.seconds + 60);
    assert_eq!(agent.deliver(), ["a"]);
}

#[test]
fn what_failed_or_was_cut_short_before_it_was_refused_may_have_arrived_so_its_end_is_told() {
    for cut_short in [false, true] {
        let mut agent = Agent::new(CONFIG);
        agent.valid_for = Duration::from_secs(100_000);
        agent.tell("Disk", &["a"]);
        agent.until(10);
        if cut_short {
            agent.restart(1);
            agent.tell("Disk", &["a"]);
        } else {
            agent.end(|| Err(DeliveryError::passing(Reason::Timeout, "timeout")));
            agent.until(20);
        }
        agent.give_up();
        agent.tell("Disk", &["-a"]);
        agent.until(agent.seconds + 60);
        assert_eq!(agent.deliver(), ["-a"], "cut short: {cut_short}");
    }
}
