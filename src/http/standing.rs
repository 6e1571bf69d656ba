//! What alerting knows of the alerts that the page for people shows: which are silenced, which come from elsewhere, and
//! what is not delivered.

use std::collections::HashMap;

use super::{ActiveAlert, Overview, Undelivery};
use crate::alerting::{AlertView, Undelivered};
use crate::model::{Labels, Timestamp};
use crate::sinks::Fingerprint;

/// Adds it. `external`: the labels that alerting adds to those of rules.
pub(super) fn add(
    overview: &mut Overview,
    views: &[AlertView],
    undelivered: &[Undelivered],
    external: &Labels,
    now: Timestamp,
) {
    let active = views.iter().filter(|view| view.ends_at > now && view.alert.ends_at.is_none());
    let mut known: HashMap<Fingerprint, &AlertView> = active.map(|view| (view.alert.fingerprint(), view)).collect();
    for alert in overview.alerts.iter_mut().filter(|alert| alert.state == "firing") {
        if let Some(view) = known.remove(&Fingerprint::of(&with(&alert.all_labels, external))) {
            alert.note = note(view);
        }
    }
    // Those that no rule here knows.
    let mut others: Vec<&AlertView> = known.into_values().collect();
    others.sort_by(|a, b| a.alert.labels.cmp(&b.alert.labels));
    overview.alerts.extend(others.into_iter().map(from_elsewhere));
    // One that has not failed is on its way.
    let failed = undelivered.iter().filter(|n| n.given_up.is_none() && n.failures > 0).count();
    overview.undelivered = Undelivery { failed, dead: undelivered.iter().filter(|n| n.given_up.is_some()).count() };
}

fn with(labels: &Labels, external: &Labels) -> Labels {
    let mut all = labels.builder();
    for (name, value) in external.iter().filter(|(name, _)| !labels.has(name)) {
        all.set(name, value);
    }
    all.build()
}

/// Why nobody is told of it, or not as often as it begins.
fn note(view: &AlertView) -> &'static str {
    match () {
        () if !view.silenced_by.is_empty() => "silenced",
        () if !view.inhibited_by.is_empty() => "inhibited",
        () if !view.muted_by.is_empty() => "muted",
        () if view.alert.details.flapping.is_some() => "flapping",
        () => "",
    }
}

fn from_elsewhere(view: &AlertView) -> ActiveAlert {
    let labels = &view.alert.labels;
    let others = Labels::from_pairs(labels.iter().filter(|(name, _)| !matches!(*name, "alertname" | "severity")));
    ActiveAlert {
        name: labels.get("alertname").to_string(),
        severity: labels.get("severity").to_string(),
        state: "firing",
        since: view.alert.starts_at,
        summary: view.alert.annotations.get("summary").to_string(),
        labels: if others.is_empty() { String::new() } else { others.to_string() },
        all_labels: labels.clone(),
        note: note(view),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerting::Target;
    use crate::sinks::{Details, NotifiedAlert};

    fn view(labels: &[(&str, &str)]) -> AlertView {
        AlertView {
            alert: NotifiedAlert {
                labels: Labels::from_pairs(labels.iter().copied()),
                annotations: Labels::from_pairs([("summary", "so it is")]),
                starts_at: Timestamp::default(),
                ends_at: None,
                value: 1.0,
                generator_url: String::new(),
                expr: String::new(),
                details: Details::default(),
            },
            ends_at: Timestamp::MAX,
            updated_at: Timestamp::default(),
            receivers: Vec::new(),
            silenced_by: Vec::new(),
            inhibited_by: Vec::new(),
            muted_by: Vec::new(),
        }
    }

    #[test]
    fn alerts_of_rules_are_found_by_their_labels_and_others_are_added() {
        let firing = |name: &str, state| ActiveAlert {
            name: name.to_string(),
            state,
            all_labels: Labels::from_pairs([("alertname", name)]),
            ..ActiveAlert::default()
        };
        let mut overview = Overview {
            alerts: vec![firing("Disk", "firing"), firing("Cpu", "firing"), firing("Soon", "pending")],
            ..Overview::default()
        };
        let mut disk = view(&[("alertname", "Disk"), ("site", "lab")]);
        disk.silenced_by.push("x".to_string());
        let cpu = view(&[("alertname", "Cpu"), ("site", "lab")]);
        let mut far = view(&[("alertname", "Far"), ("severity", "page"), ("host", "h")]);
        far.inhibited_by.push(Fingerprint(1));
        let mut over = view(&[("alertname", "Over")]);
        over.ends_at = Timestamp::default();
        let external = Labels::from_pairs([("site", "lab")]);
        add(&mut overview, &[disk, cpu, far, over], &[], &external, Timestamp::from_millis(5));
        let lines: Vec<String> =
            overview.alerts.iter().map(|a| format!("{} {} {} {}", a.name, a.state, a.note, a.labels)).collect();
        assert_eq!(
            lines,
            ["Disk firing silenced ", "Cpu firing  ", "Soon pending  ", "Far firing inhibited {host=\"h\"}"]
        );
    }

    #[test]
    fn what_has_failed_and_what_was_given_up_is_counted() {
        let mut overview = Overview::default();
        let one = |failures, given_up| Undelivered {
            number: 1,
            target: Target { receiver: "r".into(), integration: "log".into(), index: 0 },
            group_key: String::new(),
            alerts: String::new(),
            firing: 1,
            resolved: 0,
            at: Timestamp::default(),
            failures,
            error: String::new(),
            given_up,
        };
        let all = [one(0, None), one(2, None), one(9, Some(Timestamp::default())), one(0, Some(Timestamp::default()))];
        add(&mut overview, &[], &all, &Labels::empty(), Timestamp::default());
        assert_eq!((overview.undelivered.failed, overview.undelivered.dead), (1, 2));
    }
}
