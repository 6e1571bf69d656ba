use super::*;
use crate::sinks::notification::tests::example;
use crate::sinks::{Details, TopProcess};

fn fill(text: &str, n: &Notification) -> String {
    let texts = Texts::default();
    texts.plain(&Text::new(text), &texts.data(n)).unwrap()
}

/// What an operator may be woken by.
fn woken() -> Notification {
    let mut n = example();
    for alert in &mut n.alerts {
        alert.expr = "1 - node_filesystem_avail_bytes / node_filesystem_size_bytes > 0.9".into();
        alert.details = Details {
            threshold: Some(0.9),
            top: vec![TopProcess { pid: 812, name: "mysqld".into(), cpu: 1.25, memory: 1_610_612_736 }],
            flapping: Some(7),
        };
    }
    n
}

#[test]
fn the_list_says_what_an_operator_asks_first() {
    let said = fill("{{ template \"__text_alert_list\" .Alerts.Firing }}", &woken());
    for line in [
        "FIRING DiskFull (page)",
        "disk <full> & \"loud\"",
        "Value: 97% (threshold 90%)",
        "Flapping: began to fire 7 times of late",
        "Labels: instance=a",
        "Busiest: mysqld (pid 812) 125% CPU, 1.5GiB",
        "Graph: http://host:9100/graph?g0.expr=up&g0.tab=1",
    ] {
        assert!(said.lines().any(|l| l.starts_with(line)), "{line} is not in\n{said}");
    }
    let said = fill("{{ template \"__text_alert_list\" .Alerts.Resolved }}", &woken());
    assert!(said.contains("Time: lasted 30s, from 14 Nov") && !said.contains("mysqld"), "{said}");
}

#[test]
fn the_embedded_templates_call_none_that_is_not_there() {
    assert_eq!(embedded().missing(), []);
}
