//! The `alertmanager` sink: forwards alerts to one or several Alertmanagers by their API, as Prometheus does.
//!
//! The keys are those of Prometheus' section `alertmanagers`. All of the Alertmanagers get every alert, and one that takes
//! it is enough, as those of a cluster tell each other what they told. An alert that fires is said to end in four times
//! `resend_delay`, and is sent again every `resend_delay` (by the core: see [`SinkConfig::resend`]), so that it is resolved
//! there when the agent is gone. What is resolved is said to end when it did.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use super::http::{HttpClient, check_http, is_http};
use super::message::{TIMEOUT, check_timeout, client, resolve};
use super::notification::as_map;
use super::{
    Delivered, Delivery, DeliveryError, GlobalConfig, HttpConfig, Notification, NotifiedAlert, Reason, Sink,
    SinkConfig, SinkContext, not_supported,
};
use crate::model::{Labels, Timestamp};
use crate::section;
use crate::yaml::{Faults, FromYaml, Node, Section, Value};

section! {
    /// What there is to say beside how requests are made.
    pub struct Alertmanagers {
        /// Where the Alertmanagers are.
        pub static_configs: Vec<Targets> = Vec::new(),
        /// How they are spoken to: `http` or `https`.
        pub scheme: String = "http".to_string(),
        /// What stands before `/api/v2/alerts` in their URLs.
        pub path_prefix: String = "/".to_string(),
        /// The time for one request, the answer included.
        pub timeout: Duration = TIMEOUT,
        /// The version of their API: only `v2` is left.
        pub api_version: String = "v2".to_string(),
        /// How often an alert that fires is sent again.
        pub resend_delay: Duration = Duration::from_secs(60),
        /// Whether resolved alerts are sent too; if not, they end there when nothing is heard of them any more.
        pub send_resolved: bool = true,
    }
}

section! {
    foreign = |key: &str| (key == "labels").then(|| not_supported(key, "leave it out: it is of use for relabelling only"));
    /// Some of the Alertmanagers.
    pub struct Targets {
        /// Each `HOST:PORT`.
        pub targets: Vec<String> = Vec::new(),
    }
}

/// Alertmanagers that are told alerts, with the keys of `http_config` beside their own, as Prometheus has it.
#[derive(Clone, Debug, Default)]
pub struct AlertmanagerConfig {
    pub keys: Alertmanagers,
    /// `None`: as for all.
    pub http: Option<HttpConfig>,
}

impl FromYaml for AlertmanagerConfig {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Value::Mapping(entries) = &node.value else {
            faults.unexpected(node, "a mapping");
            return None;
        };
        let mut config = AlertmanagerConfig::default();
        for (key, value) in entries {
            if config.keys.read_key(&key.name, value, faults) {
                continue;
            }
            let mut http = config.http.take().unwrap_or_default();
            if http.read_key(&key.name, value, faults) {
                config.http = Some(http);
            } else if let Some(message) = prometheus(&key.name) {
                faults.error(key.at, message);
            } else {
                faults.unknown_key(key.at, &key.name, &[Alertmanagers::KEYS, HttpConfig::KEYS].concat());
            }
        }
        if let Some(http) = &mut config.http {
            check_http(http, node, faults);
        }
        check(&mut config.keys, node, faults);
        Some(config)
    }

    fn key_paths(path: &str, paths: &mut Vec<String>) {
        Alertmanagers::key_paths(path, paths);
    }

    fn as_yaml(&self) -> Option<Value> {
        let both = [self.keys.as_yaml(), self.http.as_ref().and_then(HttpConfig::as_yaml)];
        let entries = both.into_iter().flatten().flat_map(|part| match part {
            Value::Mapping(entries) => entries,
            _ => Vec::new(),
        });
        Some(Value::Mapping(entries.collect()))
    }
}

/// What Prometheus has there and this program has not.
fn prometheus(key: &str) -> Option<String> {
    let instead = match key {
        "http_config" => "write its keys right here, beside static_configs, as Prometheus has them",
        "relabel_configs" | "alert_relabel_configs" => {
            "choose with a route what is forwarded, and set labels in global.external_labels or in the rules"
        }
        "sigv4" | "azuread" | "google_iam" => "use basic_auth, authorization or oauth2, or a proxy that signs",
        _ if key.ends_with("_sd_configs") => "name the Alertmanagers in static_configs",
        _ => return None,
    };
    Some(format!("{key:?} is a key of Prometheus' that this version does not support: {instead}"))
}

fn check(keys: &mut Alertmanagers, node: &Node, faults: &mut Faults) {
    check_timeout(node, faults, &mut keys.timeout, TIMEOUT);
    let at = |key: &str| node.place(key);
    let groups = node.get("static_configs").map(Node::items).unwrap_or_default();
    if groups.iter().all(|group| group.get("targets").is_none_or(|targets| targets.items().is_empty())) {
        faults.error(node.at, "there is no Alertmanager: name one with static_configs: [{targets: ['HOST:PORT']}]");
    }
    if !matches!(keys.scheme.as_str(), "http" | "https") {
        faults.error(at("scheme"), "scheme is http or https");
        return;
    }
    if keys.api_version != "v2" {
        faults.error(at("api_version"), "only v2 is spoken: newer Alertmanagers have no other either");
    }
    if keys.resend_delay < Duration::from_secs(1) {
        faults.error(at("resend_delay"), "resend_delay is less than a second");
    }
    for target in groups.iter().filter_map(|group| group.get("targets")).flat_map(Node::items) {
        let Some(name) = target.as_str() else { continue };
        if name.contains("://") || name.contains(['/', '@', '?', '#']) || !is_http(&keys.url(name)) {
            faults.error(target.at, "not a HOST:PORT; scheme and path_prefix have keys of their own");
        }
    }
}

impl Alertmanagers {
    fn url(&self, target: &str) -> String {
        let prefix = self.path_prefix.trim_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        format!("{}://{target}{slash}{prefix}/api/v2/alerts", self.scheme)
    }
}

impl SinkConfig for AlertmanagerConfig {
    fn send_resolved(&self) -> bool {
        self.keys.send_resolved
    }

    fn resend(&self) -> Option<Duration> {
        Some(self.keys.resend_delay)
    }

    fn inherit(&mut self, global: &GlobalConfig, _: &Node, _: &mut Faults) {
        self.http.get_or_insert_with(|| global.http_config.clone());
    }

    fn resolve_paths(&mut self, dir: &Path) {
        resolve(dir, [], &mut self.http);
    }

    fn build(&self, _: &SinkContext) -> Arc<dyn Sink> {
        Arc::new(AlertmanagerSink::new(self))
    }
}

struct AlertmanagerSink {
    client: Arc<HttpClient>,
    targets: Vec<(String, String)>,
    resend_delay: Duration,
    /// Those that did not take the last they were sent, so that it is said once.
    failing: Mutex<BTreeSet<String>>,
}

/// An alert as the API takes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Posted<'a> {
    #[serde(with = "as_map")]
    labels: Labels,
    #[serde(with = "as_map")]
    annotations: Labels,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
}

/// Alerts in one request at most, as Prometheus has it.
const BATCH: usize = 256;

impl AlertmanagerSink {
    fn new(config: &AlertmanagerConfig) -> AlertmanagerSink {
        let targets = config.keys.static_configs.iter().flat_map(|some| &some.targets);
        AlertmanagerSink {
            client: Arc::new(client(config.http.as_ref(), config.keys.timeout)),
            targets: targets.map(|target| (target.clone(), config.keys.url(target))).collect(),
            resend_delay: config.keys.resend_delay,
            failing: Mutex::default(),
        }
    }

    /// One that fires ends when it has not been sent again for some time, whenever that began.
    fn posted<'a>(&self, alert: &'a NotifiedAlert) -> Posted<'a> {
        Posted {
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            starts_at: alert.starts_at.to_string(),
            ends_at: alert
                .ends_at
                .unwrap_or_else(|| Timestamp::now() + self.resend_delay.saturating_mul(4))
                .to_string(),
            generator_url: &alert.generator_url,
        }
    }

    async fn forward(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let batches: Arc<Vec<Vec<u8>>> = Arc::new(
            notification
                .alerts
                .chunks(BATCH)
                .map(|alerts| alerts.iter().map(|alert| self.posted(alert)).collect::<Vec<_>>())
                // Texts always have a JSON form.
                .map(|alerts| serde_json::to_vec(&alerts).unwrap_or_default())
                .collect(),
        );
        let mut all = JoinSet::new();
        for (target, url) in self.targets.clone() {
            let (client, batches, id) = (Arc::clone(&self.client), Arc::clone(&batches), notification.id.clone());
            all.spawn(async move {
                let mut answer = Ok(Delivered::default());
                for batch in batches.iter() {
                    answer = client.post_json(&url, &id, batch.clone()).await;
                    if answer.is_err() {
                        break;
                    }
                }
                (target, answer)
            });
        }
        let mut ended = Vec::new();
        while let Some(one) = all.join_next().await {
            match one {
                Ok(one) => ended.push(one),
                Err(error) => {
                    return Err(DeliveryError::passing(Reason::Other, format!("a fault of the sink: {error}")));
                }
            }
        }
        ended.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.say(&ended);
        verdict(ended)
    }

    /// Says which of them does not take alerts while others do; that none does is said of the sink as a whole.
    fn say(&self, ended: &[(String, Result<Delivered, DeliveryError>)]) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let some_took_it = ended.iter().any(|(_, answer)| answer.is_ok());
        for (target, answer) in ended {
            match answer {
                Ok(_) if failing.remove(target) => tracing::info!(target, "the Alertmanager takes alerts again"),
                Err(error) if some_took_it && failing.insert(target.clone()) => {
                    tracing::warn!(target, %error, "one of the Alertmanagers does not take alerts, others do");
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// One that has taken it is enough.
fn verdict(ended: Vec<(String, Result<Delivered, DeliveryError>)>) -> Result<Delivered, DeliveryError> {
    let all = ended.len();
    let (taken, failed): (Vec<_>, Vec<_>) = ended.into_iter().map(|(_, answer)| answer).partition(Result::is_ok);
    let errors: Vec<DeliveryError> = failed.into_iter().filter_map(Result::err).collect();
    let said: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
    let said = said.join("; ");
    match taken.into_iter().next() {
        Some(answer) if errors.is_empty() && all == 1 => answer,
        Some(_) if errors.is_empty() => Ok(Delivered { answer: format!("all {all} have taken it") }),
        Some(_) => Ok(Delivered { answer: format!("{} of {all} have taken it; {said}", all - errors.len()) }),
        None => Err(DeliveryError {
            retry: errors.iter().any(|error| error.retry),
            retry_after: errors.iter().filter_map(|error| error.retry_after).min(),
            reason: errors.first().map_or(Reason::Other, |error| error.reason),
            message: if said.is_empty() { "there is no Alertmanager".to_string() } else { said },
        }),
    }
}

impl Sink for AlertmanagerSink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(self.forward(notification))
    }
}

#[cfg(test)]
mod tests {
    use super::super::notification::tests::example;
    use super::super::testing::far_side;
    use super::*;
    use crate::yaml::Document;

    fn read(text: &str) -> (AlertmanagerConfig, Vec<String>) {
        let mut faults = Faults::default();
        let config = Document::parse("a", text, &mut faults).read(&mut faults);
        (config, faults.iter().map(|f| f.to_string().lines().next().unwrap_or_default().to_string()).collect())
    }

    fn sink(text: &str) -> AlertmanagerSink {
        let (config, said) = read(text);
        assert!(said.is_empty(), "{said:?}");
        AlertmanagerSink::new(&config)
    }

    #[tokio::test]
    async fn all_alertmanagers_are_told_in_prometheus_words() {
        let (one, first) = far_side(vec![(200, vec![], "")]).await;
        let (two, second) = far_side(vec![(200, vec![], "")]).await;
        let sink = sink(&format!(
            "static_configs: [{{targets: ['{one}']}}, {{targets: ['{two}']}}]\npath_prefix: /am/\n\
             basic_auth: {{username: me, password: hunter2}}\nresend_delay: 10m\n"
        ));
        assert_eq!(sink.deliver(&example()).await.unwrap().answer, "all 2 have taken it");
        let began = Timestamp::now();
        for seen in [first, second] {
            let seen = seen.lock().unwrap()[0].clone();
            assert_eq!(seen.path, "/am/api/v2/alerts");
            assert_eq!(seen.header("authorization"), "Basic bWU6aHVudGVyMg==");
            let json: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
            assert_eq!(json[0]["labels"]["instance"], "a");
            assert_eq!(json[0]["startsAt"], "2023-11-14T22:13:20.5Z");
            assert_eq!(json[0]["generatorURL"], "http://host:9100/graph?g0.expr=up&g0.tab=1");
            assert_eq!(json[1]["endsAt"], "2023-11-14T22:13:50Z", "it is resolved");
            let ends: jiff::Timestamp = json[0]["endsAt"].as_str().unwrap().parse().unwrap();
            let ahead = ends.as_millisecond() - began.as_millis();
            assert!((2_390_000..=2_400_000).contains(&ahead), "four times the delay: {ahead}");
        }
    }

    #[tokio::test]
    async fn one_that_takes_it_is_enough_and_none_is_a_failure() {
        let (one, _) = far_side(vec![(200, vec![], "")]).await;
        let (two, _) = far_side(vec![(400, vec![], "bad"), (503, vec![("Retry-After", "7".to_string())], "")]).await;
        let both = sink(&format!("static_configs: [{{targets: ['{one}', '{two}']}}]"));
        let answer = both.deliver(&example()).await.unwrap().answer;
        assert_eq!(answer, format!("1 of 2 have taken it; {two} answered 400 Bad Request: bad"));
        let none = sink(&format!("static_configs: [{{targets: ['127.0.0.1:1', '{two}']}}]"));
        let error = none.deliver(&example()).await.unwrap_err();
        assert!(error.retry && error.retry_after == Some(Duration::from_secs(7)), "{error:?}");
        assert!(error.message.contains("127.0.0.1:1: ") && error.message.contains("; "), "{error}");
    }

    #[tokio::test]
    async fn many_alerts_are_sent_in_several_requests() {
        let (one, seen) = far_side(vec![(200, vec![], "")]).await;
        let sink = sink(&format!("static_configs: [{{targets: ['{one}']}}]"));
        let mut notification = example();
        let alert = notification.alerts[0].clone();
        notification.alerts = vec![alert; 600];
        assert_eq!(sink.deliver(&notification).await.unwrap().answer, "200 OK");
        let lengths: Vec<usize> = seen
            .lock()
            .unwrap()
            .iter()
            .map(|s| serde_json::from_slice::<Vec<serde_json::Value>>(&s.body).unwrap().len())
            .collect();
        assert_eq!(lengths, [256, 256, 88]);
    }

    #[test]
    fn what_prometheus_has_and_we_have_not_is_said() {
        for (text, fault) in [
            ("{}", "a:1:1: there is no Alertmanager"),
            ("static_configs: [{targets: []}]", "a:1:1: there is no Alertmanager"),
            ("static_configs: [{targets: ['http://x:1']}]", "a:1:29: not a HOST:PORT"),
            ("static_configs: [{targets: [a], labels: {b: c}}]", "a:1:33: \"labels\" is a key"),
            ("static_configs: []\nscheme: ftp", "a:2:9: scheme is http or https"),
            ("static_configs: []\napi_version: v1", "a:2:14: only v2"),
            ("static_configs: []\ntimeout: 0s", "a:2:10: warning: timeout is 0, which is taken for the default, 10s"),
            ("dns_sd_configs: []", "a:1:1: \"dns_sd_configs\" is a key of Prometheus' that this version does not"),
            ("static_configs: []\nrelabel_configs: []", "a:2:1: \"relabel_configs\" is a key of Prometheus'"),
            ("static_configs: []\nhttp_config: {}", "a:2:1: \"http_config\" is a key"),
            ("static_configs: []\nbasic_aut: {}", "a:2:1: unknown key \"basic_aut\", did you mean \"basic_auth\"?"),
            ("static_configs: []\nno_proxy: a", "a:2:11: no_proxy without a proxy_url"),
        ] {
            let (_, said) = read(text);
            assert!(said.iter().any(|s| s.starts_with(fault)), "{text}: {said:?}");
        }
    }
}
