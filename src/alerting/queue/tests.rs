use super::*;
use crate::model::{Labels, Timestamp};
use crate::sinks::{NotifiedAlert, Reason, Status};

fn target(receiver: &str) -> Target {
    Target { receiver: receiver.to_string(), integration: "webhook".to_string(), index: 0 }
}

/// A notification of alerts: those with a name in capitals fire.
fn notification(alerts: &str) -> Notification {
    let alert = |c: char| NotifiedAlert {
        labels: Labels::from_pairs([("alertname", c.to_ascii_lowercase().to_string())]),
        annotations: Labels::empty(),
        starts_at: Timestamp::from_millis(1000),
        ends_at: c.is_ascii_lowercase().then(|| Timestamp::from_millis(2000)),
        value: 1.0,
        generator_url: String::new(),
        expr: String::new(),
        details: Default::default(),
    };
    Notification {
        id: String::new(),
        receiver: "r".to_string(),
        group_key: String::new(),
        group_labels: Labels::empty(),
        at: Timestamp::default(),
        external_url: String::new(),
        alerts: alerts.chars().map(alert).collect(),
    }
}

fn said(notification: &Notification) -> String {
    let name = |a: &NotifiedAlert| match a.status() {
        Status::Firing => a.labels.get("alertname").to_ascii_uppercase(),
        Status::Resolved => a.labels.get("alertname").to_string(),
    };
    notification.alerts.iter().map(name).collect()
}

fn at(seconds: u64) -> Mono {
    Mono::of(Duration::from_secs(seconds))
}

fn push(queue: &mut Queue, receiver: &str, lane: &str, alerts: &str) -> usize {
    queue.push(&target(receiver), lane.to_string(), notification(alerts), at(0), &mut Batch::default())
}

fn tries(queue: &mut Queue, seconds: u64) -> Vec<Attempt> {
    queue.tries(at(seconds))
}

fn error(retry: bool, retry_after: Option<u64>) -> DeliveryError {
    let retry_after = retry_after.map(Duration::from_secs);
    DeliveryError { retry, retry_after, reason: Reason::Other, message: String::new() }
}

fn fail(queue: &mut Queue, attempt: &Attempt, error: &DeliveryError, seconds: u64) -> Verdict {
    queue.failed(attempt, error, 1.0, at(seconds), &mut Batch::default())
}

#[test]
fn notifications_of_a_group_go_one_after_the_other_and_groups_side_by_side() {
    let mut queue = Queue::default();
    push(&mut queue, "r", "one", "A");
    push(&mut queue, "r", "one", "a");
    push(&mut queue, "r", "two", "B");
    let first = tries(&mut queue, 0);
    assert_eq!(first.iter().map(|t| said(&t.notification)).collect::<Vec<_>>(), ["A", "B"]);
    assert!(tries(&mut queue, 0).is_empty());
    assert!(!queue.confirmed(&first[0], at(0), &mut Batch::default()).unwrap().1);
    let second = tries(&mut queue, 0);
    assert_eq!(said(&second[0].notification), "a");
    assert!(queue.confirmed(&second[0], at(0), &mut Batch::default()).unwrap().1);
    assert!(queue.confirmed(&second[0], at(0), &mut Batch::default()).is_none());
    assert_eq!(queue.len(), 1);
}

#[test]
fn one_target_gets_a_few_at_a_time_and_does_not_hold_up_another() {
    let mut queue = Queue::default();
    for lane in 0..10 {
        push(&mut queue, "slow", &lane.to_string(), "A");
    }
    push(&mut queue, "other", "lane", "B");
    let first = tries(&mut queue, 0);
    let of = |receiver: &str| first.iter().filter(|t| t.target.receiver == receiver).count();
    assert_eq!((of("slow"), of("other")), (MAX_IN_FLIGHT, 1));
    assert_eq!(queue.next_try(), None);
}

#[test]
fn what_fails_is_tried_again_later_and_later() {
    let mut queue = Queue::default();
    push(&mut queue, "r", "lane", "A");
    let mut now = 0;
    let mut waits = Vec::new();
    for _ in 0..12 {
        let attempt = tries(&mut queue, now).remove(0);
        assert_eq!(fail(&mut queue, &attempt, &error(true, None), now), Verdict::Again);
        let next = queue.next_try().unwrap().since_start().as_secs();
        assert!(tries(&mut queue, next - 1).is_empty());
        waits.push(next - now);
        now = next;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
}

#[test]
fn jitter_spreads_the_tries_over_half_of_the_wait() {
    assert_eq!(FAILED.wait(4, 0.0), Duration::from_secs(4));
    assert_eq!(FAILED.wait(4, 1.0), Duration::from_secs(8));
    assert_eq!(FAILED.wait(u32::MAX, 1.0), Duration::from_secs(300));
}

#[test]
fn what_is_refused_is_tried_a_few_times_and_given_up() {
    let mut queue = Queue::default();
    push(&mut queue, "r", "lane", "A");
    push(&mut queue, "r", "lane", "a");
    let mut now = 0;
    let mut verdicts = Vec::new();
    while verdicts.last() != Some(&Verdict::GivenUp { last: false, may_have_arrived: false, failures: 5 }) {
        let attempt = tries(&mut queue, now).remove(0);
        verdicts.push(fail(&mut queue, &attempt, &error(false, None), now));
        now = now.max(queue.next_try().unwrap().since_start().as_secs());
    }
    assert_eq!(verdicts.len(), MAX_REFUSALS as usize);
    assert!((300..600).contains(&now), "some minutes: {now}");
    assert_eq!(said(&tries(&mut queue, now)[0].notification), "a");
}

#[test]
fn a_target_that_asks_to_be_left_alone_is_left_alone_with_all_its_groups() {
    let mut queue = Queue::default();
    push(&mut queue, "r", "one", "A");
    let attempt = tries(&mut queue, 0).remove(0);
    fail(&mut queue, &attempt, &error(true, Some(60)), 0);
    push(&mut queue, "r", "two", "B");
    push(&mut queue, "other", "lane", "C");
    let now: Vec<_> = tries(&mut queue, 59).iter().map(|t| said(&t.notification)).collect();
    assert_eq!(now, ["C"]);
    assert_eq!(queue.next_try(), Some(at(60)));
    assert_eq!(tries(&mut queue, 60).len(), 2);
}

#[test]
fn what_waits_is_replaced_by_what_says_all_of_it_and_more() {
    for (old, new, waiting) in [
        ("A", "AB", vec!["AB"]),
        ("Ab", "AC", vec!["AbC"]),
        ("b", "b", vec!["b"]),
        // Each of these would take back something that was never told.
        ("A", "a", vec!["A", "a"]),
        ("a", "A", vec!["a", "A"]),
        ("AB", "A", vec!["AB", "A"]),
    ] {
        let mut queue = Queue::default();
        push(&mut queue, "r", "lane", old);
        push(&mut queue, "r", "lane", new);
        let mut found = Vec::new();
        while let Some(attempt) = tries(&mut queue, 0).pop() {
            found.push(said(&attempt.notification));
            queue.confirmed(&attempt, at(0), &mut Batch::default());
        }
        assert_eq!(found, waiting, "{old} then {new}");
    }
}

#[test]
fn what_is_under_way_is_not_replaced_and_a_replacement_does_not_come_sooner() {
    let mut queue = Queue::default();
    push(&mut queue, "r", "lane", "A");
    let attempt = tries(&mut queue, 0).remove(0);
    push(&mut queue, "r", "lane", "AB");
    assert_eq!(queue.len(), 2);
    fail(&mut queue, &attempt, &error(true, None), 0);
    assert!(tries(&mut queue, 0).is_empty());

    let mut queue = Queue::default();
    push(&mut queue, "r", "lane", "A");
    let attempt = tries(&mut queue, 0).remove(0);
    fail(&mut queue, &attempt, &error(true, None), 0);
    push(&mut queue, "r", "lane", "AB");
    assert!(tries(&mut queue, 0).is_empty());
    assert_eq!(said(&tries(&mut queue, 1)[0].notification), "AB");
}

#[test]
fn a_lane_has_a_limit_and_the_oldest_go() {
    let mut queue = Queue::default();
    let dropped: usize =
        (0..MAX_LANE + 10).map(|i| push(&mut queue, "r", "lane", if i % 2 == 0 { "A" } else { "a" })).sum();
    assert_eq!((dropped, queue.len()), (10, MAX_LANE));
    let attempt = tries(&mut queue, 0).remove(0);
    assert_eq!(attempt.number, 10);
    // The one that is under way stays, and no other is tried beside it.
    assert_eq!(push(&mut queue, "r", "lane", "A"), 1);
    assert!(tries(&mut queue, 0).is_empty());
    assert!(queue.confirmed(&attempt, at(0), &mut Batch::default()).is_some());
    assert_eq!(tries(&mut queue, 0)[0].number, 12);
}

#[test]
fn the_ends_in_what_has_to_go_are_told_by_what_follows() {
    let mut queue = Queue::default();
    push(&mut queue, "r", "lane", "Ab");
    for i in 1..MAX_LANE {
        push(&mut queue, "r", "lane", if i % 2 == 0 { "A" } else { "a" });
    }
    push(&mut queue, "r", "lane", "A");
    assert_eq!(said(&tries(&mut queue, 0)[0].notification), "ab");

    let mut queue = Queue::default();
    push(&mut queue, "r", "lane", "Ab");
    push(&mut queue, "r", "lane", "aB");
    push(&mut queue, "r", "lane", "Ab");
    let mut batch = Batch::default();
    for seconds in [0, 1000, 2000, 3000, 4000] {
        let attempt = tries(&mut queue, seconds).remove(0);
        assert_eq!(said(&attempt.notification), "Ab");
        queue.failed(&attempt, &error(false, None), 1.0, at(seconds), &mut batch);
    }
    // B fires again there: its former end is not told.
    assert_eq!(said(&tries(&mut queue, 4000)[0].notification), "aB");
}

#[test]
fn what_goes_well_ends_the_waiting_of_other_groups_a_few_at_a_time() {
    let mut queue = Queue::default();
    for lane in 0..10 {
        push(&mut queue, "r", &lane.to_string(), "A");
    }
    push(&mut queue, "other", "lane", "B");
    loop {
        let failing = tries(&mut queue, 0);
        if failing.is_empty() {
            break;
        }
        for attempt in &failing {
            fail(&mut queue, attempt, &error(true, None), 0);
        }
    }
    push(&mut queue, "r", "refused", "C");
    let refused = tries(&mut queue, 0).remove(0);
    fail(&mut queue, &refused, &error(false, None), 0);
    push(&mut queue, "r", "new", "D");
    let probe = tries(&mut queue, 0).remove(0);
    queue.confirmed(&probe, at(0), &mut Batch::default());
    let released = tries(&mut queue, 0);
    assert_eq!(released.iter().filter(|t| t.target == target("r")).count(), MAX_IN_FLIGHT);
    assert_eq!(released.len(), MAX_IN_FLIGHT, "not of another target");
    // It was well for a moment only: the others wait as before.
    for attempt in &released {
        fail(&mut queue, attempt, &error(true, None), 0);
    }
    assert!(tries(&mut queue, 0).is_empty());
    // It is well again: one after the other, all come.
    push(&mut queue, "r", "newer", "E");
    let mut delivered = 0;
    loop {
        let under_way = tries(&mut queue, 0);
        assert!(under_way.len() <= MAX_IN_FLIGHT);
        if under_way.is_empty() {
            break;
        }
        for attempt in &under_way {
            queue.confirmed(attempt, at(0), &mut Batch::default());
        }
        delivered += under_way.len();
    }
    assert_eq!(delivered, 11);
    assert_eq!(queue.len(), 2, "what was refused and the other target's");
}

#[test]
fn at_the_last_call_all_that_waits_is_tried_once_and_no_more() {
    let mut queue = Queue::default();
    push(&mut queue, "r", "one", "A");
    push(&mut queue, "r", "one", "a");
    push(&mut queue, "r", "two", "B");
    push(&mut queue, "held", "lane", "C");
    for attempt in tries(&mut queue, 0) {
        let hold = (attempt.target == target("held")).then_some(60);
        fail(&mut queue, &attempt, &error(true, hold), 0);
    }
    push(&mut queue, "r", "three", "D");
    let under_way = tries(&mut queue, 0).remove(0);
    assert!(tries(&mut queue, 0).is_empty());
    queue.last_call(at(0));
    let last = tries(&mut queue, 0);
    assert_eq!(last.iter().map(|t| said(&t.notification)).collect::<Vec<_>>(), ["A", "B"]);
    // What follows what was delivered has its try too; what follows what was not, has not: that would be out of order.
    queue.confirmed(&last[0], at(0), &mut Batch::default());
    fail(&mut queue, &last[1], &error(true, None), 0);
    fail(&mut queue, &under_way, &error(true, None), 0);
    let next = tries(&mut queue, 0);
    assert_eq!(next.iter().map(|t| said(&t.notification)).collect::<Vec<_>>(), ["a"]);
    fail(&mut queue, &next[0], &error(true, None), 0);
    assert!(tries(&mut queue, 30).is_empty());
    assert_eq!(queue.len(), 4);
}

#[test]
fn every_change_of_the_queue_is_a_change_of_a_row() {
    let mut queue = Queue::default();
    let mut batch = Batch::default();
    let rows = |batch: &Batch| {
        batch
            .changes()
            .iter()
            .map(|c| format!("{}{}", if c.row.is_some() { '+' } else { '-' }, c.key))
            .collect::<Vec<_>>()
    };
    queue.push(&target("r"), "lane".to_string(), notification("A"), at(0), &mut batch);
    queue.push(&target("r"), "lane".to_string(), notification("AB"), at(0), &mut batch);
    let key = row_key;
    assert_eq!(rows(&batch), [format!("+{}", key(0)), format!("-{}", key(0)), format!("+{}", key(1))]);
    let mut batch = Batch::default();
    let attempt = tries(&mut queue, 0).remove(0);
    queue.confirmed(&attempt, at(0), &mut batch);
    assert_eq!(rows(&batch), [format!("-{}", key(1))]);
    queue.push(&target("r"), "lane".to_string(), notification("A"), at(0), &mut Batch::default());
    let mut batch = Batch::default();
    let gone = queue.retain(|_| false, &mut batch);
    assert_eq!(gone.iter().map(|(target, rows)| (target.clone(), rows.len())).collect::<Vec<_>>(), [(target("r"), 1)]);
    assert_eq!(rows(&batch), [format!("-{}", key(2))]);
}

#[test]
fn a_rate_holds_in_every_span_and_what_is_over_waits_for_all_tries_too() {
    let mut queue = Queue::default();
    let rate = Rate { tries: 2, per: Duration::from_secs(60) };
    queue.limit(BTreeMap::from([(target("r"), rate)]));
    push(&mut queue, "other", "lane", "A");
    push(&mut queue, "r", "one", "A");
    push(&mut queue, "r", "two", "B");
    push(&mut queue, "r", "three", "C");
    let first = tries(&mut queue, 0);
    assert_eq!(first.len(), 3, "the limit of one is not that of another");
    fail(&mut queue, &first[1], &error(true, None), 10);
    assert_eq!(queue.next_try(), Some(at(60)));
    assert!(tries(&mut queue, 59).is_empty());
    // What waits meanwhile is merged with what is newer.
    push(&mut queue, "r", "three", "CD");
    let said: Vec<String> = tries(&mut queue, 60).iter().map(|t| said(&t.notification)).collect();
    assert_eq!(said, ["CD", "A"]);
    assert_eq!(queue.next_try(), None);
}

#[test]
fn what_is_put_back_ends_the_waiting_of_what_stands_before_it() {
    let mut queue = Queue::default();
    push(&mut queue, "r", "one", "A");
    push(&mut queue, "r", "two", "B");
    for attempt in tries(&mut queue, 0) {
        fail(&mut queue, &attempt, &error(false, None), 0);
    }
    assert!(tries(&mut queue, 1).is_empty());
    queue.put_back(&target("r"), "one".to_string(), Arc::new(notification("a")), at(1), &mut Batch::default());
    let tried = tries(&mut queue, 1);
    assert_eq!(tried.iter().map(|t| said(&t.notification)).collect::<Vec<_>>(), ["A"], "in order, and no other lane");
    queue.put_back(&target("r"), "one".to_string(), Arc::new(notification("A")), at(1), &mut Batch::default());
    assert!(tries(&mut queue, 1).is_empty(), "it is under way");
}

#[test]
fn what_is_older_goes_in_front_of_what_waits_and_behind_what_is_under_way() {
    let mut queue = Queue::default();
    queue.skip(99);
    push(&mut queue, "r", "busy", "A");
    let first = tries(&mut queue, 0);
    push(&mut queue, "r", "busy", "B");
    push(&mut queue, "r", "idle", "C");
    let row = |alerts: &str| Row { target: target("r"), notification: Arc::new(notification(alerts)) };
    let older = [(1, "busy", "X"), (2, "idle", "Y"), (3, "busy", "Z"), (4, "new", "N")];
    queue.restore_older(older.map(|(number, lane, alerts)| (number, lane.to_string(), row(alerts))), at(5));
    assert_eq!(queue.of(&target("r")), (7, Some(at(0))));
    assert_eq!(queue.tells_of(&target("r"), "busy").len(), 3);
    let mut order = Vec::new();
    let mut under_way = first;
    while let Some(attempt) = under_way.pop() {
        order.push(format!("{} {}", attempt.lane, said(&attempt.notification)));
        queue.confirmed(&attempt, at(6), &mut Batch::default()).unwrap();
        under_way.extend(tries(&mut queue, 6));
    }
    let of = |lane: &str| order.iter().filter_map(|s| s.strip_prefix(lane)).collect::<String>();
    assert_eq!([of("busy "), of("idle "), of("new ")], ["AXZB", "YC", "N"]);
    assert_eq!((queue.len(), queue.of(&target("r"))), (0, (0, None)));
}

#[test]
fn what_waits_is_counted_by_target_with_the_oldest() {
    let mut queue = Queue::default();
    let put = |queue: &mut Queue, lane: &str, alerts: &str, seconds: u64| {
        queue.push(&target("r"), lane.to_string(), notification(alerts), at(seconds), &mut Batch::default());
    };
    assert_eq!(queue.of(&target("r")), (0, None));
    put(&mut queue, "one", "A", 3);
    // It takes the place of the other, and has waited since then.
    put(&mut queue, "one", "A", 5);
    put(&mut queue, "two", "B", 7);
    assert_eq!((queue.of(&target("r")), queue.of(&target("s"))), ((2, Some(at(3))), (0, None)));
    let first = tries(&mut queue, 7).remove(0);
    queue.confirmed(&first, at(7), &mut Batch::default());
    assert_eq!(queue.of(&target("r")), (1, Some(at(7))));
    // Alternating, none is merged: the lane becomes too long.
    (0..MAX_LANE + 10).for_each(|n| put(&mut queue, "two", ["b", "B"][n % 2], 10 + n as u64));
    assert_eq!(queue.of(&target("r")), (MAX_LANE, Some(at(7))), "the oldest is under way and stays");
    assert_eq!(queue.counted(), BTreeMap::from([(target("r"), queue.of(&target("r")))]));
    queue.retain(|_| false, &mut Batch::default());
    assert_eq!((queue.len(), queue.of(&target("r"))), (0, (0, None)));
}
