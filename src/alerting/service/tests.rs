use std::path::Path;
use std::sync::Mutex;

use tokio::net::TcpListener;

use super::*;
use crate::pool::PoolConfig;
use crate::sinks::testing::{Seen, far_side};
use crate::yaml::{Document, Faults};

/// An agent's alerting with all it needs.
pub(super) struct Rig {
    pub alerting: Alerting,
    pub registry: Registry,
}

pub(super) fn config(text: &str) -> AlertingConfig {
    let mut faults = Faults::default();
    let config = Document::parse("t.yaml", text, &mut faults).read(&mut faults);
    assert!(!faults.has_errors(), "{faults}");
    config
}

pub(super) fn rig(dir: &Path, text: &str, options: Options) -> Rig {
    let registry = Registry::new();
    let store = Store::open(dir, &registry).unwrap();
    rig_on(store, registry, text, options)
}

fn rig_on(store: Store, registry: Registry, text: &str, options: Options) -> Rig {
    let runtime = runtime::Handle::current();
    let pool = Pool::new(PoolConfig::default(), &registry, runtime.clone()).unwrap();
    let alerting = Alerting::start(&config(text), options, store, pool, &registry, &runtime).unwrap();
    Rig { alerting, registry }
}

fn alert(name: &str, resolved: bool) -> Alert {
    Alert {
        labels: Labels::from_pairs([("alertname", name)]),
        annotations: Labels::empty(),
        starts_at: Timestamp::from_millis(1_700_000_000_000),
        ends_at: resolved.then(Timestamp::now),
        valid_for: Duration::from_secs(240),
        value: 1.0,
        expr: "up".to_string(),
        threshold: None,
        top: Vec::new(),
        actions: Arc::default(),
    }
}

/// A webhook at `address`, told at once.
fn webhook(address: std::net::SocketAddr) -> String {
    format!(
        "route: {{receiver: hook, group_by: [alertname], group_interval: 1s}}\n\
         receivers: [{{name: hook, webhook_configs: [{{url: 'http://{address}/', timeout: 5s}}]}}]\n"
    )
}

/// Waits until the far side has seen so many requests; what they said: status and name.
async fn seen(memory: &Mutex<Vec<Seen>>, count: usize) -> Vec<String> {
    for _ in 0..1000 {
        if memory.lock().unwrap().len() >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let said = |s: &Seen| {
        let json: serde_json::Value = serde_json::from_slice(&s.body).unwrap();
        format!("{} {}", json["status"].as_str().unwrap(), json["groupLabels"]["alertname"].as_str().unwrap())
    };
    memory.lock().unwrap().iter().map(said).collect()
}

fn metric(registry: &Registry, name: &str, label: Option<&str>) -> f64 {
    let family = registry.gather().into_iter().find(|f| f.name() == name).unwrap_or_else(|| panic!("no {name}"));
    let has = |m: &&prometheus::proto::Metric| label.is_none_or(|l| m.get_label().iter().any(|p| p.value() == l));
    let of = |m: &prometheus::proto::Metric| {
        m.get_counter().value() + m.get_gauge().value() + m.get_histogram().get_sample_count() as f64
    };
    family.get_metric().iter().filter(has).map(of).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_arrives_firing_and_resolved_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (address, memory) = far_side(vec![(200, vec![], "")]).await;
    let rig = rig(dir.path(), &webhook(address), Options::default());
    rig.alerting.receive(vec![alert("Disk", false)]);
    assert_eq!(seen(&memory, 1).await, ["firing Disk"]);
    rig.alerting.receive(vec![alert("Disk", true)]);
    assert_eq!(seen(&memory, 2).await, ["firing Disk", "resolved Disk"]);
    assert_eq!(rig.alerting.shutdown(Duration::from_secs(5)).await, 0);
    let value = |name: &str, label: Option<&str>| metric(&rig.registry, name, label);
    assert_eq!(value("watchfire_alerts_received_total", Some("firing")), 1.0);
    assert_eq!(value("watchfire_alerts_received_total", Some("resolved")), 1.0);
    assert_eq!(value("watchfire_notifications_total", Some("hook")), 2.0);
    assert_eq!(value("watchfire_notifications_failed_total", None), 0.0);
    assert_eq!(value("watchfire_notification_latency_seconds", Some("webhook")), 2.0);
    assert_eq!(value("watchfire_notification_queue_length", Some("hook")), 0.0);
    assert_eq!(value("watchfire_notification_queue_oldest_seconds", Some("hook")), 0.0);
    assert_eq!(value("watchfire_alerts", None), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_fails_is_tried_again_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (address, memory) = far_side(vec![(503, vec![], ""), (500, vec![], ""), (200, vec![], "")]).await;
    let rig = rig(dir.path(), &webhook(address), Options::default());
    rig.alerting.receive(vec![alert("Disk", false)]);
    seen(&memory, 1).await;
    rig.alerting.receive(vec![alert("Disk", true)]);
    assert_eq!(seen(&memory, 4).await, ["firing Disk", "firing Disk", "firing Disk", "resolved Disk"]);
    rig.alerting.shutdown(Duration::from_secs(5)).await;
    assert_eq!(metric(&rig.registry, "watchfire_notifications_retried_total", Some("serverError")), 2.0);
    let ids: Vec<String> = memory.lock().unwrap().iter().map(|s| s.header("idempotency-key").to_string()).collect();
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3], "{ids:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_hangs_delays_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, memory) = far_side(vec![(200, vec![], "")]).await;
    let text = format!(
        "route: {{receiver: both, group_by: ['...']}}\n\
         receivers: [{{name: both, webhook_configs: [{{url: 'http://{}/', timeout: 60s}}, {{url: 'http://{address}/'}}]}}]\n",
        silent.local_addr().unwrap()
    );
    let rig = rig(dir.path(), &text, Options::default());
    let began = std::time::Instant::now();
    rig.alerting.receive((0..50).map(|i| alert(&format!("A{i}"), false)).collect());
    assert_eq!(seen(&memory, 50).await.len(), 50);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    // The last answer may still be on its way.
    while metric(&rig.registry, "watchfire_notification_queue_length", None) > 50.0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(metric(&rig.registry, "watchfire_notification_queue_oldest_seconds", None) > 0.0);
    assert_eq!(rig.alerting.shutdown(Duration::from_millis(100)).await, 50, "these stay for the next start");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_shown_by_receiver_from_the_start_and_until_the_receiver_goes() {
    let dir = tempfile::tempdir().unwrap();
    let (address, memory) = far_side(vec![(503, vec![], "")]).await;
    let text = |second: &str| {
        format!(
            "route: {{receiver: hook, group_by: ['...']}}\n\
             receivers: [{{name: hook, webhook_configs: [{{url: 'http://{address}/'}}, {{url: 'http://{address}/'}}]}},\n\
             {{name: {second}, webhook_configs: [{{url: 'http://{address}/'}}]}}]\n"
        )
    };
    let rig = rig(dir.path(), &text("idle"), Options::default());
    let shown = |name: &str| {
        let family = rig.registry.gather().into_iter().find(|f| f.name() == name).unwrap();
        let label = |m: &prometheus::proto::Metric, name: &str| {
            m.get_label().iter().find(|l| l.name() == name).unwrap().value().to_string()
        };
        let of = |m: &prometheus::proto::Metric| (label(m, "receiver"), label(m, "integration"), m.get_gauge().value());
        family.get_metric().iter().map(of).collect::<Vec<_>>()
    };
    let series = |receiver: &str, value: f64| (receiver.to_string(), "webhook".to_string(), value);
    for name in ["watchfire_notification_queue_length", "watchfire_notification_queue_oldest_seconds"] {
        assert_eq!(shown(name), [series("hook", 0.0), series("idle", 0.0)]);
    }
    rig.alerting.receive(vec![alert("Disk", false)]);
    seen(&memory, 2).await;
    assert_eq!(shown("watchfire_notification_queue_length"), [series("hook", 2.0), series("idle", 0.0)]);
    let ages = shown("watchfire_notification_queue_oldest_seconds");
    assert!(ages[0].2 > 0.0 && ages[0].2 < 60.0 && ages[1].2 == 0.0, "{ages:?}");
    let later = shown("watchfire_notification_queue_oldest_seconds");
    assert!(later[0].2 > ages[0].2, "it grows by itself");
    rig.alerting.reload(&config(&text("other")), Options::default()).await;
    assert_eq!(rig.alerting.receivers().await, ["hook", "other"]);
    assert_eq!(shown("watchfire_notification_queue_length"), [series("hook", 2.0), series("other", 0.0)]);
    rig.alerting.shutdown(Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_store_has_that_opens_late_is_told_before_what_is_new_and_survives() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("watchfire.redb");
    let (address, memory) = far_side(vec![(503, vec![], "")]).await;
    let first = rig(dir.path(), &webhook(address), Options::default());
    first.alerting.receive(vec![alert("Disk", false)]);
    seen(&memory, 1).await;
    assert_eq!(first.alerting.shutdown(Duration::from_secs(5)).await, 1);
    drop(first);

    let kept = dir.path().join("kept");
    let hide = || {
        std::fs::rename(&file, &kept).unwrap();
        std::fs::create_dir(&file).unwrap();
    };
    // The file is closed by the task, which ends when nobody can tell it anything any more.
    for _ in 0..1000 {
        if Store::open(dir.path(), &Registry::new()).is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    hide();
    let (address, memory) = far_side(vec![(503, vec![], ""), (503, vec![], ""), (200, vec![], "")]).await;
    let registry = Registry::new();
    let store = Store::unavailable(dir.path(), &registry, Duration::from_millis(20)).unwrap();
    let second = rig_on(store, registry, &webhook(address), Options::default());
    second.alerting.receive(vec![alert("Cpu", false)]);
    assert_eq!(seen(&memory, 1).await, ["firing Cpu"]);
    std::fs::remove_dir(&file).unwrap();
    std::fs::rename(&kept, &file).unwrap();
    assert_eq!(seen(&memory, 2).await[1], "firing Disk");
    second.alerting.receive(vec![alert("Disk", true)]);
    let said = seen(&memory, 5).await;
    let place = |what: &str| said.iter().rposition(|s| s == what);
    assert!(place("firing Disk") < place("resolved Disk") && place("firing Cpu").is_some(), "{said:?}");
    assert_eq!(second.alerting.shutdown(Duration::from_secs(5)).await, 0);
    let alerts = second.alerting.alerts().await;
    assert!(alerts.is_empty(), "after a stop nothing answers");
}

#[test]
fn what_is_not_delivered_when_the_agent_dies_is_delivered_after_its_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let first = runtime();
    first.block_on(async {
        // Nobody listens at this port.
        let (address, memory) = far_side(vec![(500, vec![], "")]).await;
        let rig = rig(dir.path(), &webhook(address), Options::default());
        rig.alerting.receive(vec![alert("Disk", false), alert("Cpu", false)]);
        seen(&memory, 2).await;
        rig.alerting.receive(vec![alert("Disk", true)]);
        tokio::time::sleep(Duration::from_millis(1200)).await;
    });
    // No shutdown: all tasks are dropped where they stand.
    drop(first);
    runtime().block_on(async {
        let (address, memory) = far_side(vec![(200, vec![], "")]).await;
        let rig = rig(dir.path(), &webhook(address), Options::default());
        let mut said = seen(&memory, 3).await;
        assert!(said.iter().position(|s| s == "firing Disk") < said.iter().position(|s| s == "resolved Disk"));
        said.sort();
        assert_eq!(said, ["firing Cpu", "firing Disk", "resolved Disk"]);
        assert_eq!(rig.alerting.shutdown(Duration::from_secs(5)).await, 0);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_tries_what_waits_once_more_and_keeps_what_fails() {
    let dir = tempfile::tempdir().unwrap();
    let (address, memory) = far_side(vec![(503, vec![], ""), (503, vec![], ""), (200, vec![], "")]).await;
    for left in [1, 0] {
        let rig = rig(dir.path(), &webhook(address), Options::default());
        if left == 1 {
            rig.alerting.receive(vec![alert("Disk", false)]);
        }
        // The second start finds it in the store, and tries it at once.
        let tried = || metric(&rig.registry, "watchfire_notification_latency_seconds", Some("webhook"));
        while tried() < 1.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let began = std::time::Instant::now();
        assert_eq!(rig.alerting.shutdown(Duration::from_secs(30)).await, left);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        // After the stop nothing is taken and nothing hangs.
        rig.alerting.receive(vec![alert("Disk", true)]);
        assert_eq!(rig.alerting.shutdown(Duration::from_secs(10)).await, 0);
    }
    assert_eq!(memory.lock().unwrap().len(), 3, "a first try, a last one, and one after the next start");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_sink_is_back_the_groups_that_wait_are_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut answers = vec![(503, vec![], ""); 8];
    answers.push((200, vec![], ""));
    let (address, memory) = far_side(answers).await;
    let rig = rig(dir.path(), &webhook(address), Options::default());
    rig.alerting.receive(vec![alert("Disk", false), alert("Cpu", false)]);
    // After four tries each, both wait for at least four seconds.
    seen(&memory, 8).await;
    let back = std::time::Instant::now();
    rig.alerting.receive(vec![alert("Memory", false)]);
    let mut said = seen(&memory, 11).await.split_off(9);
    assert!(back.elapsed() < Duration::from_secs(3), "{:?}", back.elapsed());
    said.sort();
    assert_eq!(said, ["firing Cpu", "firing Disk"]);
    assert_eq!(rig.alerting.shutdown(Duration::from_secs(5)).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_changes_where_alerts_go() {
    let dir = tempfile::tempdir().unwrap();
    let (one, first) = far_side(vec![(200, vec![], "")]).await;
    let (two, second) = far_side(vec![(200, vec![], "")]).await;
    let rig = rig(dir.path(), &webhook(one), Options::default());
    rig.alerting.receive(vec![alert("Disk", false)]);
    seen(&first, 1).await;
    rig.alerting.reload(&config(&webhook(two)), Options::default()).await;
    rig.alerting.receive(vec![alert("Disk", true)]);
    assert_eq!(seen(&second, 1).await, ["resolved Disk"], "the receiver has the same name: it goes on");
    rig.alerting.shutdown(Duration::from_secs(5)).await;
    assert_eq!(first.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec_and_log_deliver_through_the_same_path() {
    let dir = tempfile::tempdir().unwrap();
    let (out, log) = (dir.path().join("out"), dir.path().join("log"));
    let text = format!(
        "route: {{receiver: local}}\nreceivers:\n- name: local\n  exec_configs:\n  - command: [sh, -c, 'echo \
         $WATCHFIRE_STATUS $WATCHFIRE_ALERTNAME >> {}']\n  log_configs:\n  - path: {}\n",
        out.display(),
        log.display()
    );
    let rig = rig(dir.path(), &text, Options::default());
    rig.alerting.receive(vec![alert("Disk", false)]);
    assert_eq!(rig.alerting.shutdown(Duration::from_secs(20)).await, 0);
    assert_eq!(std::fs::read_to_string(out).unwrap(), "firing Disk\n");
    assert!(std::fs::read_to_string(log).unwrap().contains(r#""labels":{"alertname":"Disk"}"#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_can_ask_post_and_silence_and_what_they_did_survives() {
    let dir = tempfile::tempdir().unwrap();
    let (address, memory) = far_side(vec![(200, vec![], "")]).await;
    let first = rig(dir.path(), &webhook(address), Options::default());
    let posted = PostedAlert {
        labels: Labels::from_pairs([("alertname", "Posted")]),
        annotations: Labels::empty(),
        starts_at: None,
        ends_at: None,
        generator_url: String::new(),
    };
    assert!(first.alerting.post(vec![posted.clone()]).await);
    assert_eq!(seen(&memory, 1).await, ["firing Posted"]);
    assert_eq!(first.alerting.receivers().await, ["hook"]);
    let now = Timestamp::now();
    let silence = Silence {
        id: String::new(),
        matchers: crate::alerting::parse_matchers("alertname=Posted").unwrap(),
        starts_at: now,
        ends_at: now + Duration::from_secs(600),
        updated_at: now,
        created_by: String::new(),
        comment: String::new(),
    };
    let id = first.alerting.set_silence(silence.clone()).await.unwrap();
    assert_eq!(first.alerting.alerts().await[0].silenced_by, std::slice::from_ref(&id));
    let group = first.alerting.groups().await.remove(0);
    assert_eq!((group.receiver.as_str(), group.alerts[0].receivers.as_slice()), ("hook", &["hook".to_string()][..]));
    first.alerting.shutdown(Duration::from_secs(5)).await;
    assert_eq!(first.alerting.expire_silence(&id).await, Err(SilenceError::Gone));
    assert!(!first.alerting.post(vec![posted]).await && first.alerting.silences().await.is_empty());
    drop(first);

    let again = rig(dir.path(), &webhook(address), Options::default());
    let kept = again.alerting.silences().await.remove(0);
    assert_eq!((kept.id.as_str(), &kept.matchers), (id.as_str(), &silence.matchers));
    again.alerting.expire_silence(&id).await.unwrap();
    assert_eq!(again.alerting.expire_silence("nothing").await, Err(SilenceError::NotFound));
    assert!(again.alerting.silences().await[0].ends_at <= Timestamp::now());
    again.alerting.shutdown(Duration::from_secs(5)).await;
}
