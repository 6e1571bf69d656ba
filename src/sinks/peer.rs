//! What Debian's `prometheus-alertmanager` tells the services that it has too is what these sinks tell them: it says by a
//! webhook what its notification is, and our sinks are given the same one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::service::tests::read;
use super::testing::{Alertmanager, Seen, context, far_side};
use super::{Details, Notification, NotifiedAlert, OpsgenieConfig, PagerdutyConfig, Sink, SinkConfig, VictoropsConfig};
use crate::model::{Labels, Timestamp};

mod chats;

/// The entries, with FAR for the far side and LONG for a text that is too long everywhere.
const PAGERDUTY: &str = r#"{routing_key: 'R{{ len .Alerts }}', url: 'http://FAR/pd', client: us, client_url: 'http://us',
    description: '{{ .CommonLabels.unit }} LONG', severity: '{{ .CommonLabels.severity }}', class: disk,
    details: {firing: '{{ range .Alerts.Firing }}{{ .Labels.SortedPairs.Values | join ", " }};{{ end }}',
      resolved: '{{ range .Alerts.Resolved }}{{ .Labels.instance }};{{ end }}', more: '{{ .CommonAnnotations.summary }}'},
    component: sda, group: '{{ .GroupLabels.alertname | toLower }}', source: host,
    links: [{href: 'http://l?a=1&b=2', text: runbook}, {href: '{{ .CommonLabels.nothing }}', text: nowhere}],
    images: [{src: 'http://i/p.png', alt: a picture}, {alt: nothing}]}"#;
const OPSGENIE: &str = r#"{api_key: 'G{{ len .Alerts }}', api_url: 'http://FAR/og', message: '{{ .Status }} LONG', source: us,
    description: '{{ .CommonAnnotations.summary }}', entity: sda, details: {severity: sev1, more: '{{ .ExternalURL }}'},
    tags: ' a,,{{ .CommonLabels.severity }}', actions: look, note: n, priority: P1, update_alerts: true,
    responders: [{name: 'db,{{ .CommonLabels.severity }}', type: teams}, {username: me, type: user},
      {id: '{{ .CommonLabels.nothing }}', type: '{{ .CommonLabels.nothing }}'}]}"#;
const VICTOROPS: &str = r#"{api_url: 'http://FAR/vo', api_key: k7, routing_key: 'db {{ .CommonLabels.severity }}',
    entity_display_name: '{{ .CommonLabels.unit }}', state_message: '{{ .CommonAnnotations.summary }} LONG',
    monitoring_tool: us, message_type: '{{ if eq .CommonLabels.severity "page" }}WARNING{{ end }}',
    custom_fields: {shelf: '{{ len .Alerts.Firing }}'}}"#;

fn entry(text: &str, far: SocketAddr) -> String {
    text.replace("FAR", &far.to_string()).replace("LONG", &"ü".repeat(21_000))
}

fn config(far: SocketAddr) -> String {
    format!(
        "route: {{receiver: all, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
         receivers:\n- name: all\n  webhook_configs: [{{url: 'http://{far}/hook'}}]\n  \
         pagerduty_configs: [{}]\n  opsgenie_configs: [{}]\n  victorops_configs: [{}]\n",
        entry(PAGERDUTY, far),
        entry(OPSGENIE, far),
        entry(VICTOROPS, far)
    )
}

/// The notification that a webhook was told.
fn notification(hook: &[u8]) -> Notification {
    let json: Value = serde_json::from_slice(hook).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let labels = |value: &Value| {
        let pairs = value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), text(value)));
        Labels::from_pairs(pairs.collect::<Vec<_>>())
    };
    let time = |value: &Value| {
        let at: jiff::Timestamp = value.as_str().unwrap().parse().unwrap();
        Timestamp::from_millis(at.as_millisecond())
    };
    let alert = |alert: &Value| NotifiedAlert {
        labels: labels(&alert["labels"]),
        annotations: labels(&alert["annotations"]),
        starts_at: time(&alert["startsAt"]),
        ends_at: (alert["status"] == "resolved").then(|| time(&alert["endsAt"])),
        value: 1.0,
        generator_url: text(&alert["generatorURL"]),
        expr: String::new(),
        details: Details::default(),
    };
    Notification {
        id: "n".to_string(),
        receiver: "all".to_string(),
        group_key: text(&json["groupKey"]),
        group_labels: labels(&json["groupLabels"]),
        at: Timestamp::now(),
        external_url: text(&json["externalURL"]),
        alerts: json["alerts"].as_array().unwrap().iter().map(alert).collect(),
    }
}

/// What a service was asked, with its JSON as it came.
fn asked(seen: &[Seen]) -> Vec<String> {
    let mut all: Vec<String> = seen
        .iter()
        .filter(|s| s.path != "/hook")
        .map(|s| {
            let headers = [s.header("content-type"), s.header("authorization")];
            format!("{} {} {headers:?} {}", s.method, s.path, String::from_utf8_lossy(&s.body))
        })
        .collect();
    all.sort_unstable();
    all
}

/// Waits until the peer has asked so often, and gives what it asked since `from`.
async fn arrived(peer: &Alertmanager, memory: &Mutex<Vec<Seen>>, from: usize, to: usize) -> Vec<Seen> {
    for _ in 0..6000 {
        if memory.lock().unwrap().len() >= to {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What should not come has a moment to come.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let seen = memory.lock().unwrap()[from..].to_vec();
    assert_eq!(seen.len(), to - from, "{seen:#?}\n{}", peer.log());
    seen
}

/// Tells it of two alerts.
async fn post(peer: &Alertmanager, starts_at: Timestamp, ends_at: Option<Timestamp>) {
    let alert = |instance: &str| {
        let mut alert = json!({
            "labels": {"alertname": "Disk", "instance": instance, "severity": "page", "unit": "°C & <b>"},
            "annotations": {"summary": "a <b> & \"c\"\n\u{2028}"}, "startsAt": starts_at.to_string(),
        });
        if let Some(ends_at) = ends_at {
            alert["endsAt"] = ends_at.to_string().into();
        }
        alert
    };
    peer.post(json!([alert("a"), alert("b")]).to_string()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incident_services_are_asked_byte_for_byte_what_alertmanager_asks_them() {
    let dir = tempfile::tempdir().unwrap();
    let (far, theirs) = far_side(vec![(200, vec![], "{}")]).await;
    let Some(peer) = Alertmanager::start(dir.path(), &config(far)).await else { return };

    let (our_far, ours) = far_side(vec![(200, vec![], "{}")]).await;
    let sinks: [Arc<dyn Sink>; 3] = [
        read::<PagerdutyConfig>(&entry(PAGERDUTY, our_far), "{}").0.build(&context()),
        read::<OpsgenieConfig>(&entry(OPSGENIE, our_far), "{}").0.build(&context()),
        read::<VictoropsConfig>(&entry(VICTOROPS, our_far), "{}").0.build(&context()),
    ];
    let starts_at = Timestamp::now();
    // Firing: a webhook, an event, three for Opsgenie, one for VictorOps. Resolved: one each.
    for (ends_at, from, to) in [(None, 0, 6), (Some(Timestamp::now()), 6, 10)] {
        post(&peer, starts_at, ends_at).await;
        let theirs = arrived(&peer, &theirs, from, to).await;
        let told = notification(&theirs.iter().find(|s| s.path == "/hook").unwrap().body);
        for sink in &sinks {
            sink.deliver(&told).await.unwrap();
        }
        let ours = std::mem::take(&mut *ours.lock().unwrap());
        assert_eq!(asked(&ours), asked(&theirs));
    }
}
