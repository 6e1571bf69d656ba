//! The same alerts to us and to Debian's `prometheus-alertmanager`: the same notifications come out.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::tests::rig;
use super::*;
use crate::sinks::testing::{Alertmanager, Seen, far_side};

fn config(hook: std::net::SocketAddr) -> String {
    format!(
        r#"
route:
  receiver: web.hook
  group_by: [alertname]
  group_wait: 1s
  group_interval: 2s
  repeat_interval: 1h
  routes:
    - matchers: [severity="page", 'team=~"db|w<b>"']
      match_re: {{instance: '[a-z]'}}
      receiver: pager
      group_by: [team, instance]
      continue: true
    - match: {{severity: info}}
      group_by: ['...']
    - matchers: ['alertname=Disk']
receivers:
  - name: web.hook
    webhook_configs: [{{url: 'http://{hook}/all', max_alerts: 2}}]
  - name: pager
    webhook_configs: [{{url: 'http://{hook}/pager', send_resolved: false}}]
"#
    )
}

fn alerts(resolved: bool, starts_at: Timestamp) -> Vec<Alert> {
    let sets: [&[(&str, &str)]; 6] = [
        &[("alertname", "Disk"), ("instance", "b"), ("job", "node"), ("severity", "page"), ("team", "db")],
        &[("alertname", "Disk"), ("instance", "a"), ("severity", "page"), ("team", "db")],
        &[("alertname", "Disk"), ("instance", "c"), ("severity", "page"), ("team", "w<b>"), ("z", "q\"uo\\te")],
        &[("alertname", "Cpu"), ("instance", "a"), ("severity", "info")],
        &[("alertname", "Cpu"), ("instance", "b"), ("severity", "info"), ("unit", "°C & 🔥")],
        &[("alertname", "Mem"), ("instance", "Z9"), ("severity", "page"), ("team", "db")],
    ];
    let alert = |(i, set): (usize, &&[(&str, &str)])| Alert {
        labels: Labels::from_pairs(set.iter().copied()),
        annotations: Labels::from_pairs([
            ("summary", "a <b> & \"c\"\n\u{2028}"),
            ("nr", if i == 1 { "one" } else { "n" }),
        ]),
        starts_at,
        // One goes on.
        ends_at: (resolved && i != 2).then(|| starts_at + Duration::from_millis(1500)),
        valid_for: Duration::from_secs(240),
        value: 1.0,
        expr: "rate(x[5m]) > 0 and y{a=\"b c\"}".to_string(),
        threshold: Some(0.0),
        top: Vec::new(),
        actions: Arc::default(),
    };
    sets.iter().enumerate().map(alert).collect()
}

/// The alerts as JSON for Alertmanager's API.
fn posted(alerts: &[Alert], plan: &Plan) -> String {
    let one = |alert: &Alert| {
        let map =
            |labels: &Labels| labels.iter().map(|(n, v)| (n.to_string(), v.into())).collect::<serde_json::Map<_, _>>();
        let mut json = serde_json::json!({
            "labels": map(&alert.labels),
            "annotations": map(&alert.annotations),
            "startsAt": alert.starts_at.to_string(),
            "generatorURL": plan.generator_url(&alert.expr),
        });
        if let Some(ends_at) = alert.ends_at {
            json["endsAt"] = ends_at.to_string().into();
        }
        json
    };
    serde_json::to_string(&alerts.iter().map(one).collect::<Vec<_>>()).unwrap()
}

/// What arrived: by path and group, in order.
async fn arrived(memory: &Mutex<Vec<Seen>>, count: usize) -> BTreeMap<String, Vec<String>> {
    for _ in 0..6000 {
        if memory.lock().unwrap().len() >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What should not come has a moment to come.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for seen in memory.lock().unwrap().iter() {
        let json: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
        let group = format!("{} {}", seen.path, json["groupKey"].as_str().unwrap());
        all.entry(group).or_default().push(String::from_utf8(seen.body.clone()).unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_are_byte_for_byte_those_of_alertmanager() {
    let dir = tempfile::tempdir().unwrap();
    let (their_hook, theirs) = far_side(vec![(200, vec![], "")]).await;
    let (our_hook, ours) = far_side(vec![(200, vec![], "")]).await;
    let Some(peer) = Alertmanager::start(dir.path(), &config(their_hook)).await else { return };

    let options = Options { external_url: "http://host.example:9093".to_string(), ..Options::default() };
    let text = config(our_hook);
    let plan = Plan::new(&super::tests::config(&text), Labels::empty(), &options.external_url);
    let rig = rig(dir.path(), &text, options);
    let starts_at = Timestamp::now();
    let mut expected = 0;
    for (resolved, more) in [(false, 7), (true, 4)] {
        let alerts = alerts(resolved, starts_at);
        peer.post(posted(&alerts, &plan)).await;
        rig.alerting.receive(alerts);
        expected += more;
        let (theirs, ours) = (arrived(&theirs, expected).await, arrived(&ours, expected).await);
        for (group, said) in &theirs {
            assert_eq!(ours.get(group), Some(said), "{group}");
        }
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
        assert_eq!(theirs.values().map(Vec::len).sum::<usize>(), expected, "{:?}\n{}", theirs.keys(), peer.log());
    }
    rig.alerting.shutdown(Duration::from_secs(5)).await;
}
