//! Ten thousand alerts at once.

use super::*;

#[test]
fn ten_thousand_alerts_at_once_are_grouped_and_taken_in_in_good_time() {
    let mut agent = Agent::new("");
    let instances: Vec<String> = (0..10_000).map(|i| i.to_string()).collect();
    let began = std::time::Instant::now();
    agent.tell("Storm", &instances.iter().map(String::as_str).collect::<Vec<_>>());
    agent.tell("Storm", &instances.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(agent.attempts.len(), 1);
    assert_eq!(agent.attempts[0].notification.alerts.len(), 10_000);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn ten_thousand_alerts_at_once_are_grouped_in_good_time_and_make_as_many_rows_as_groups() {
    for (group_by, groups) in [("[alertname]", 1), ("['...']", 10_000)] {
        let config = CONFIG.replace("[alertname]", group_by)
            + "inhibit_rules: [{source_matchers: [alertname=Disk], \
             target_matchers: [alertname=Disk, x=y], equal: [instance]}]\n";
        let mut agent = Agent::new(&config);
        let names: Vec<String> = (0..10_000).map(|i| i.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let began = std::time::Instant::now();
        agent.tell("Disk", &names);
        agent.until(10);
        let count = |table: Table| agent.rows.borrow().keys().filter(|(t, _)| *t == table).count();
        assert_eq!(
            (count(Table::Alerts), count(Table::Queue), count(Table::NotificationLog)),
            (10_000, groups, groups)
        );
        // Without optimisation, on a machine that does much else.
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    }
}
