//! The heartbeat: an outside service is called again and again, and misses it when the agent or the host is dead.
//!
//! It is sent only while alerting hears of the alert `Watchdog`, which fires always (`rules/watchdog.yaml`): so it says that
//! the host is sampled, rules are evaluated and alerts arrive, and not just that a process is there. `Watchdog` goes no
//! further, unless a route asks for it by its name. When no heartbeat is acknowledged for three intervals, the alert
//! `WatchfireHeartbeatNotAcknowledged` fires, and goes where alerts go.
//!
//! | metric | |
//! | --- | --- |
//! | `watchfire_heartbeat_interval_seconds` | as configured |
//! | `watchfire_heartbeat_last_success_timestamp_seconds` | the last one that was acknowledged; 0: none since the start |
//! | `watchfire_heartbeat_sent_total` | tries |
//! | `watchfire_heartbeat_failed_total` | tries that were not acknowledged |

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::{Gauge, IntCounter, Registry};
use reqwest::Method;
use tokio::runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::config::RouteConfig;
use super::matcher::MatchOp;
use crate::model::Timestamp;
use crate::rules::Alert;
use crate::section;
use crate::sinks::{
    DeliveryError, GlobalConfig, HttpClient, HttpConfig, Outgoing, Reason, is_http, is_set, one_of, secret,
};
use crate::yaml::{Faults, FromYaml, Node, Secret, Value};

section! {
    check = check;
    /// An outside service that is called as long as all is well, and notices when it is not called.
    pub struct HeartbeatConfig {
        /// What is called.
        pub url: Option<Secret> = None,
        /// A file that holds the URL; read every time.
        pub url_file: Option<PathBuf> = None,
        /// How often it is called.
        pub interval: Duration = Duration::from_secs(60),
        /// The time for one request, the answer included.
        pub timeout: Duration = Duration::from_secs(10),
        /// How it is called: `POST`, `GET` or `HEAD`.
        pub method: HeartbeatMethod = HeartbeatMethod::Post,
        /// How requests are made.
        pub http_config: Option<HttpConfig> = None,
    }
}

/// How an outside service wants to be called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeartbeatMethod {
    Post,
    Get,
    Head,
}

impl HeartbeatMethod {
    fn of_http(self) -> Method {
        match self {
            HeartbeatMethod::Post => Method::POST,
            HeartbeatMethod::Get => Method::GET,
            HeartbeatMethod::Head => Method::HEAD,
        }
    }
}

impl FromYaml for HeartbeatMethod {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        match node.as_str() {
            Some("POST") => Some(HeartbeatMethod::Post),
            Some("GET") => Some(HeartbeatMethod::Get),
            Some("HEAD") => Some(HeartbeatMethod::Head),
            _ => {
                faults.unexpected(node, "POST, GET or HEAD");
                None
            }
        }
    }

    fn as_yaml(&self) -> Option<Value> {
        Some(Value::plain(self.of_http().as_str()))
    }
}

fn check(config: &mut HeartbeatConfig, node: &Node, faults: &mut Faults) {
    one_of(node, faults, "url", "url_file", config.url.is_some(), config.url_file.is_some());
    let at = |key: &str| node.place(key);
    if config.url.is_none() && config.url_file.is_none() && !is_set(node, "url") {
        faults.error(node.at, "a heartbeat needs a url or a url_file");
    }
    if config.url.as_ref().is_some_and(|url| !is_http(url.expose())) {
        faults.error(at("url"), "url is not an http or https URL");
    }
    if config.interval < Duration::from_secs(1) {
        faults.error(at("interval"), "interval is less than a second");
    }
    if config.timeout.is_zero() || config.timeout > config.interval {
        faults.error(at("timeout"), "timeout must be more than 0, and not more than interval");
    }
}

impl HeartbeatConfig {
    pub(super) fn inherit(&mut self, global: &GlobalConfig) {
        self.http_config.get_or_insert_with(|| global.http_config.clone());
    }

    pub(super) fn resolve_paths(&mut self, dir: &Path) {
        if let Some(path) = &mut self.url_file {
            *path = dir.join(&path);
        }
        if let Some(http) = &mut self.http_config {
            http.resolve_paths(dir);
        }
    }
}

/// The alert that fires always.
pub(super) const WATCHDOG: &str = "Watchdog";

/// Whether a route asks for the alert that fires always by its name.
fn is_routed(route: &RouteConfig) -> bool {
    let named = |matchers: &super::Matchers| {
        matchers.0.iter().any(|m| m.name == "alertname" && m.op == MatchOp::Equal && m.value == WATCHDOG)
    };
    let older = route.equal.get("alertname").is_some_and(|value| value == WATCHDOG);
    older || named(&route.matchers) || route.routes.0.iter().any(is_routed)
}

/// When alerting last heard of the alert that fires always, and for how long that is good.
type Heard = Option<(Instant, Duration)>;

/// The heartbeat as alerting sees it. Clones are the same.
#[derive(Clone)]
pub(super) struct Heartbeat(Arc<Inner>);

struct Inner {
    heard: watch::Sender<Heard>,
    /// Whether the alert that fires always ends here.
    ends_here: AtomicBool,
    registry: Registry,
    running: Mutex<Option<Running>>,
}

/// A heartbeat that is configured.
struct Running {
    task: JoinHandle<()>,
    metrics: Metrics,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Heartbeat {
    /// None as yet.
    pub fn new(registry: &Registry) -> Heartbeat {
        Heartbeat(Arc::new(Inner {
            heard: watch::Sender::new(None),
            ends_here: AtomicBool::new(false),
            registry: registry.clone(),
            running: Mutex::new(None),
        }))
    }

    /// Sends heartbeats as configured from now on; none without a configuration.
    ///
    /// # Errors
    /// When the instruments are registered already.
    pub fn configure(
        &self,
        config: Option<&HeartbeatConfig>,
        route: Option<&RouteConfig>,
        runtime: &runtime::Handle,
    ) -> prometheus::Result<()> {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        let before = running.take().map(|running| running.metrics.clone());
        self.0.ends_here.store(config.is_some() && !route.is_some_and(is_routed), Ordering::Relaxed);
        let Some(config) = config else {
            return before.map_or(Ok(()), |metrics| metrics.unregister(&self.0.registry));
        };
        let metrics = before.map_or_else(|| Metrics::register(&self.0.registry), Ok)?;
        metrics.interval.set(config.interval.as_secs_f64());
        let beats = beats(config.clone(), self.0.heard.subscribe(), metrics.clone());
        *running = Some(Running { task: runtime.spawn(beats), metrics });
        Ok(())
    }

    /// Sends no more.
    pub fn stop(&self) {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Hears of the alert that fires always, and takes it out of what is to be told others.
    pub fn hear(&self, alerts: &mut Vec<Alert>) {
        let is_watchdog = |alert: &Alert| alert.labels.get("alertname") == WATCHDOG;
        if let Some(alert) = alerts.iter().find(|alert| is_watchdog(alert) && !alert.is_resolved()) {
            self.0.heard.send_replace(Some((Instant::now(), alert.valid_for)));
        }
        if self.0.ends_here.load(Ordering::Relaxed) {
            alerts.retain(|alert| !is_watchdog(alert));
        }
    }
}

/// Whether all is well. Rules tell of what fires four times before it is not valid any more: three times it may be missed.
fn is_alive(heard: Heard, interval: Duration, now: Instant) -> bool {
    heard.is_some_and(|(at, valid_for)| now.duration_since(at) <= (interval * 2).max(valid_for / 4 * 3))
}

/// The longest wait between tries within an interval.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

async fn beats(config: HeartbeatConfig, mut heard: watch::Receiver<Heard>, metrics: Metrics) {
    // Until rules have been evaluated for the first time there is nothing to say.
    if heard.wait_for(Option::is_some).await.is_err() {
        return;
    }
    let client = HttpClient::new(&config.http_config.clone().unwrap_or_default(), config.timeout);
    let mut ticks = interval(config.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    let mut silent = false;
    loop {
        ticks.tick().await;
        let next = Instant::now() + config.interval;
        let mut backoff = (config.interval / 10).min(Duration::from_secs(1));
        loop {
            let alive = is_alive(*heard.borrow(), config.interval, Instant::now());
            if alive == silent {
                silent = !alive;
                match alive {
                    true => tracing::info!("rules are evaluated again: heartbeats are sent"),
                    false => tracing::error!("the alert that fires always is not told any more: no heartbeat is sent"),
                }
            }
            if !alive {
                break;
            }
            metrics.sent.inc();
            let error = match beat(&config, &client).await {
                Ok(()) => {
                    metrics.last_success.set(Timestamp::now().as_millis() as f64 / 1e3);
                    if std::mem::take(&mut failing) {
                        tracing::info!("the heartbeat is acknowledged again");
                    }
                    break;
                }
                Err(error) => error,
            };
            metrics.failed.inc();
            if !std::mem::replace(&mut failing, true) {
                tracing::warn!(%error, "the heartbeat is not acknowledged; it is tried again");
            }
            let wait = backoff.max(error.retry_after.unwrap_or_default());
            if Instant::now() + wait >= next {
                break;
            }
            sleep(wait).await;
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }
}

async fn beat(config: &HeartbeatConfig, client: &HttpClient) -> Result<(), DeliveryError> {
    let url = secret(config.url.as_ref(), config.url_file.as_deref())
        .map_err(|e| DeliveryError::passing(Reason::Other, e))?;
    client.send(Outgoing::new(config.method.of_http(), url, Vec::new())).await.map(drop)
}

#[derive(Clone)]
struct Metrics {
    interval: Gauge,
    last_success: Gauge,
    sent: IntCounter,
    failed: IntCounter,
}

impl Metrics {
    fn register(registry: &Registry) -> prometheus::Result<Metrics> {
        let metrics = Metrics {
            interval: Gauge::new("watchfire_heartbeat_interval_seconds", "How often a heartbeat is sent.")?,
            last_success: Gauge::new(
                "watchfire_heartbeat_last_success_timestamp_seconds",
                "When a heartbeat was acknowledged last, 0 if none was since the start.",
            )?,
            sent: IntCounter::new("watchfire_heartbeat_sent_total", "Heartbeats that were sent.")?,
            failed: IntCounter::new(
                "watchfire_heartbeat_failed_total",
                "Heartbeats that were sent and not acknowledged.",
            )?,
        };
        registry.register(Box::new(metrics.interval.clone()))?;
        registry.register(Box::new(metrics.last_success.clone()))?;
        registry.register(Box::new(metrics.sent.clone()))?;
        registry.register(Box::new(metrics.failed.clone()))?;
        Ok(metrics)
    }

    fn unregister(self, registry: &Registry) -> prometheus::Result<()> {
        registry.unregister(Box::new(self.interval))?;
        registry.unregister(Box::new(self.last_success))?;
        registry.unregister(Box::new(self.sent))?;
        registry.unregister(Box::new(self.failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerting::AlertingConfig;
    use crate::model::Labels;
    use crate::sinks::testing::far_side;
    use crate::yaml::Document;

    fn alerting(text: &str) -> (AlertingConfig, String) {
        let mut faults = Faults::default();
        let config = Document::parse("t", text, &mut faults).read(&mut faults);
        (config, faults.to_string())
    }

    fn alert(name: &str, resolved: bool, valid_for: Duration) -> Alert {
        Alert {
            labels: Labels::from_pairs([("alertname", name)]),
            annotations: Labels::empty(),
            starts_at: Timestamp::from_millis(0),
            ends_at: resolved.then(Timestamp::now),
            valid_for,
            value: 1.0,
            expr: "vector(1)".to_string(),
            threshold: None,
            top: Default::default(),
            actions: Default::default(),
        }
    }

    /// A heartbeat to this URL that has heard of the watchdog as valid for so long.
    fn started(config: &AlertingConfig, registry: &Registry, valid_for: Duration) -> Heartbeat {
        let heartbeat = Heartbeat::new(registry);
        let runtime = runtime::Handle::current();
        heartbeat.configure(config.heartbeat.as_ref(), config.route.as_ref(), &runtime).unwrap();
        heartbeat.hear(&mut vec![alert(WATCHDOG, false, valid_for)]);
        heartbeat
    }

    async fn until(what: impl Fn() -> bool) {
        for _ in 0..1000 {
            if what() {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("it does not come");
    }

    fn metric(registry: &Registry, name: &str) -> Option<f64> {
        let family = registry.gather().into_iter().find(|f| f.name() == name)?;
        family.get_metric().first().map(|m| m.get_counter().value() + m.get_gauge().value())
    }

    #[test]
    fn what_cannot_be_is_said() {
        for (text, fault) in [
            ("heartbeat: {}", "t:1:12: a heartbeat needs a url or a url_file"),
            ("heartbeat: {url: ''}", "t:1:12: a heartbeat needs a url or a url_file"),
            ("heartbeat: {url: 'ftp://hidden/'}", "t:1:18: url is not an http or https URL"),
            ("heartbeat: {url: 'http://x/', url_file: y}", "t:1:41: url and url_file exclude each other"),
            ("heartbeat: {url: 'http://x/', interval: 5s}", "t:1:12: timeout must be more than 0, and not more than"),
            ("heartbeat: {url: 'http://x/', method: PUT}", "t:1:39: expected POST, GET or HEAD, found PUT"),
        ] {
            let (_, said) = alerting(text);
            assert!(said.starts_with(fault) && !said.contains("hidden"), "{text}: {said}");
        }
        let (config, said) =
            alerting("heartbeat: {url: 'http://x/hidden'}\nglobal: {http_config: {proxy_url: 'http://p/'}}");
        assert!(said.is_empty() && !format!("{config:?}").contains("hidden"), "{said}");
        assert!(config.heartbeat.unwrap().http_config.unwrap().proxy_url.is_some(), "it inherits");
    }

    #[test]
    fn the_alert_that_fires_always_goes_no_further_unless_a_route_names_it() {
        let passed = |text: &str| {
            let (config, _) = alerting(text);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let heartbeat = Heartbeat::new(&Registry::new());
            heartbeat.configure(config.heartbeat.as_ref(), config.route.as_ref(), runtime.handle()).unwrap();
            let mut alerts = ["Disk", WATCHDOG].map(|name| alert(name, false, Duration::ZERO)).to_vec();
            heartbeat.hear(&mut alerts);
            alerts.len()
        };
        let heartbeat = "heartbeat: {url: 'http://127.0.0.1:1/'}\nreceivers: [{name: a}]\n";
        assert_eq!(passed(heartbeat), 1);
        assert_eq!(passed(&format!("{heartbeat}route: {{receiver: a, routes: [{{matchers: ['a=b']}}]}}\n")), 1);
        let named = ["matchers: ['alertname=Watchdog']", "match: {alertname: Watchdog}"];
        for matcher in named {
            assert_eq!(
                passed(&format!("{heartbeat}route: {{receiver: a, routes: [{{routes: [{{{matcher}}}]}}]}}\n")),
                2
            );
        }
        assert_eq!(passed("{}"), 2, "without a heartbeat it is an alert like any other");
    }

    #[test]
    fn three_tellings_may_be_missed_and_two_intervals() {
        let now = Instant::now();
        let alive = |ago: u64, valid_for: u64, interval: u64| {
            let [ago, valid_for, interval] = [ago, valid_for, interval].map(Duration::from_secs);
            is_alive(Some((now, valid_for)), interval, now + ago)
        };
        assert!(alive(180, 240, 10) && !alive(181, 240, 10));
        assert!(alive(600, 240, 300) && !alive(601, 240, 300));
        assert!(!is_alive(None, Duration::from_secs(60), now));
    }

    #[tokio::test]
    async fn it_is_sent_each_interval_and_tried_again_within_it() {
        let answers = [500, 200].map(|status| (status, vec![], "no"));
        let (address, seen) = far_side(answers.to_vec()).await;
        let (config, said) =
            alerting(&format!("heartbeat: {{url: 'http://{address}/ping', interval: 1s, timeout: 1s, method: HEAD}}"));
        assert!(said.is_empty(), "{said}");
        let registry = Registry::new();
        let began = Instant::now();
        let heartbeat = started(&config, &registry, Duration::from_secs(240));
        until(|| seen.lock().unwrap().len() >= 2).await;
        assert!(began.elapsed() < Duration::from_secs(1), "the second try is within the interval");
        until(|| seen.lock().unwrap().len() >= 3).await;
        assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
        assert_eq!(seen.lock().unwrap()[0].path, "/ping");
        until(|| metric(&registry, "watchfire_heartbeat_last_success_timestamp_seconds").unwrap() > 1e9).await;
        assert_eq!(metric(&registry, "watchfire_heartbeat_failed_total"), Some(1.0));
        assert!(metric(&registry, "watchfire_heartbeat_sent_total").unwrap() >= 2.0);
        assert_eq!(metric(&registry, "watchfire_heartbeat_interval_seconds"), Some(1.0));
        // Another configuration goes on, and none ends it.
        let runtime = runtime::Handle::current();
        heartbeat.configure(config.heartbeat.as_ref(), None, &runtime).unwrap();
        heartbeat.configure(None, None, &runtime).unwrap();
        let sent = seen.lock().unwrap().len();
        sleep(Duration::from_millis(1200)).await;
        assert!(seen.lock().unwrap().len() <= sent + 1, "at most one was on its way");
        assert_eq!(metric(&registry, "watchfire_heartbeat_sent_total"), None);
    }

    #[tokio::test]
    async fn it_is_not_sent_when_the_watchdog_is_not_told_any_more() {
        let (address, seen) = far_side(vec![(200, vec![], "")]).await;
        let (config, _) = alerting(&format!("heartbeat: {{url: 'http://{address}/', interval: 1s, timeout: 1s}}"));
        let heartbeat = started(&config, &Registry::new(), Duration::ZERO);
        // A resolved one says nothing.
        heartbeat.hear(&mut vec![alert(WATCHDOG, true, Duration::from_secs(240))]);
        sleep(Duration::from_millis(4500)).await;
        let sent = seen.lock().unwrap().len();
        assert!((2..=3).contains(&sent), "at 0, 1 and 2 seconds: {sent}");
        heartbeat.hear(&mut vec![alert(WATCHDOG, false, Duration::ZERO)]);
        until(|| seen.lock().unwrap().len() > sent).await;
    }
}
