//! The `pagerduty` sink: events for PagerDuty's Events API, version 2 with a `routing_key`, version 1 with a `service_key`.
//!
//! A group of alerts is one incident there: its name (`dedup_key`, in version 1 `incident_key`) is the hash of the group
//! key that Alertmanager uses too, so a repeated delivery changes nothing, and an incident that an Alertmanager opened is
//! resolved from here. Of what is too long the summary is cut (1024 characters) and the details left out (512,000 bytes).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::address::Address;
use super::http::Outgoing;
use super::message::{
    Message, TIMEOUT, check_secret, check_timeout, client, cut, is_given, json, need_secret, resolve, template,
};
use super::service::group_hash;
use super::{
    Delivered, Delivery, DeliveryError, GlobalConfig, HttpClient, HttpConfig, Notification, Sink, SinkConfig,
    SinkContext, Status, Text, Texts,
};
use crate::section;
use crate::yaml::{Faults, Node, Secret};

/// Characters of a summary (version 2) or description (version 1) that are taken.
const MAX_SUMMARY: usize = 1024;
/// Bytes of an event that are taken.
const MAX_EVENT: usize = 512_000;
/// Where events of version 1 go.
const VERSION_1: &str = "https://events.pagerduty.com/generic/2010-04-15/create_event.json";

section! {
    check = check;
    /// Incidents at PagerDuty.
    pub struct PagerdutyConfig {
        /// The integration key of a service with "Events API v2".
        pub routing_key: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub routing_key_file: Option<PathBuf> = None,
        /// The integration key of a service with the older "Prometheus" integration.
        pub service_key: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub service_key_file: Option<PathBuf> = None,
        /// Where events of version 2 go, if not where `global` says.
        pub url: Option<Address> = None,
        /// Who reports.
        pub client: Text = template("pagerduty.default.client"),
        /// Where people find who reports.
        pub client_url: Text = template("pagerduty.default.clientURL"),
        /// The incident in a line.
        pub description: Text = template("pagerduty.default.description"),
        /// `critical`, `error`, `warning` or `info`.
        pub severity: Text = Text::new("error"),
        /// What has the trouble; as `client` when not said.
        pub source: Option<Text> = None,
        /// What kind of trouble it is.
        pub class: Text = Text::default(),
        /// The part of the source that has it.
        pub component: Text = Text::default(),
        /// What belongs together.
        pub group: Text = Text::default(),
        /// More of it by name, beside `firing`, `resolved`, `num_firing` and `num_resolved`, which are there in any case.
        pub details: BTreeMap<String, Text> = BTreeMap::new(),
        /// Pictures to show, by their URL.
        pub images: Vec<PagerdutyImage> = Vec::new(),
        /// Links to show.
        pub links: Vec<PagerdutyLink> = Vec::new(),
        /// Whether incidents are resolved when their alerts are.
        pub send_resolved: bool = true,
        /// The time for one request, the answer included.
        pub timeout: Duration = TIMEOUT,
        /// How requests are made.
        pub http_config: Option<HttpConfig> = None,
    }
}

section! {
    /// A picture of an incident.
    pub struct PagerdutyImage {
        /// Its URL; one that comes out empty is left out.
        pub src: Text = Text::default(),
        /// What it shows.
        pub alt: Text = Text::default(),
        /// Where it leads.
        pub href: Text = Text::default(),
    }
}

section! {
    /// A link of an incident.
    pub struct PagerdutyLink {
        /// Where it leads; one that comes out empty is left out.
        pub href: Text = Text::default(),
        /// What it says.
        pub text: Text = Text::default(),
    }
}

/// The details that are there in any case, unless they are given otherwise.
const DETAILS: [(&str, &str); 4] = [
    ("firing", r#"{{ template "pagerduty.default.instances" .Alerts.Firing }}"#),
    ("resolved", r#"{{ template "pagerduty.default.instances" .Alerts.Resolved }}"#),
    ("num_firing", "{{ .Alerts.Firing | len }}"),
    ("num_resolved", "{{ .Alerts.Resolved | len }}"),
];

fn check(config: &mut PagerdutyConfig, node: &Node, faults: &mut Faults) {
    check_timeout(node, faults, &mut config.timeout, TIMEOUT);
    let PagerdutyConfig { routing_key, routing_key_file, service_key, service_key_file, .. } = config;
    check_secret(node, faults, "routing_key", routing_key, routing_key_file);
    check_secret(node, faults, "service_key", service_key, service_key_file);
    let given = is_given(routing_key, routing_key_file) || is_given(service_key, service_key_file);
    need_secret(node, faults, "pagerduty_configs", "routing_key", given, " (or the older service_key)");
    for (name, text) in DETAILS {
        config.details.entry(name.to_string()).or_insert_with(|| Text::new(text));
    }
}

impl SinkConfig for PagerdutyConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn inherit(&mut self, global: &GlobalConfig, _: &Node, _: &mut Faults) {
        self.http_config.get_or_insert_with(|| global.http_config.clone());
        self.url.get_or_insert_with(|| global.pagerduty_url.clone());
    }

    fn resolve_paths(&mut self, dir: &Path) {
        resolve(dir, [&mut self.routing_key_file, &mut self.service_key_file], &mut self.http_config);
    }

    fn build(&self, context: &SinkContext) -> Arc<dyn Sink> {
        Arc::new(PagerdutySink::new(self, Arc::clone(&context.texts)))
    }
}

struct PagerdutySink {
    config: PagerdutyConfig,
    client: HttpClient,
    texts: Arc<Texts>,
    /// Where events of version 1 go.
    version_1: String,
}

/// An event of either version; as Alertmanager writes it, with the same fields in the same order.
#[derive(Serialize, Default)]
struct Event {
    #[serde(skip_serializing_if = "String::is_empty")]
    routing_key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    service_key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    dedup_key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    incident_key: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    event_type: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    event_action: &'static str,
    payload: Option<Payload>,
    #[serde(skip_serializing_if = "String::is_empty")]
    client: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    client_url: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    details: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<Image>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Link>,
}

#[derive(Serialize)]
struct Payload {
    summary: String,
    source: String,
    severity: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    class: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    component: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    group: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    custom_details: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Image {
    src: String,
    alt: String,
    href: String,
}

#[derive(Serialize)]
struct Link {
    href: String,
    text: String,
}

impl PagerdutySink {
    fn new(config: &PagerdutyConfig, texts: Arc<Texts>) -> PagerdutySink {
        PagerdutySink {
            client: client(config.http_config.as_ref(), config.timeout),
            config: config.clone(),
            texts,
            version_1: VERSION_1.to_string(),
        }
    }

    async fn send(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let config = &self.config;
        let fill = Message::new(&self.texts, notification);
        let version_1 = config.service_key.is_some() || config.service_key_file.is_some();
        let (url, key, event) = if version_1 {
            let key = fill.secret("service_key", config.service_key.as_ref(), config.service_key_file.as_deref())?;
            (self.version_1.as_str(), key.clone(), self.version_1(&fill, notification, key)?)
        } else {
            let key = fill.secret("routing_key", config.routing_key.as_ref(), config.routing_key_file.as_deref())?;
            let url = config.url.as_ref().map_or("", Address::as_str);
            (url, key.clone(), self.version_2(&fill, notification, key)?)
        };
        let request = Outgoing::json(url, encode(event)?).header("Idempotency-Key", &notification.id).secret(&key);
        match self.client.send(request).await {
            Ok(answer) => Ok(answer.delivered()),
            // Version 1 says so that there were too many.
            Err(error) if version_1 && error.message.contains(" answered 403 ") => {
                Err(DeliveryError { retry: true, ..error })
            }
            Err(error) => Err(error),
        }
    }

    fn version_1(&self, fill: &Message<'_>, about: &Notification, key: String) -> Result<Event, DeliveryError> {
        let config = &self.config;
        let mut event = Event {
            service_key: key,
            incident_key: group_hash(about),
            event_type: action(about),
            description: cut(fill.plain(&config.description)?, MAX_SUMMARY),
            details: fill.map(&config.details)?,
            ..Event::default()
        };
        if about.status() == Status::Firing {
            event.client = fill.plain(&config.client)?;
            event.client_url = fill.plain(&config.client_url)?;
        }
        Ok(event)
    }

    fn version_2(&self, fill: &Message<'_>, about: &Notification, key: String) -> Result<Event, DeliveryError> {
        let config = &self.config;
        let mut images = Vec::new();
        for image in &config.images {
            let (src, alt, href) = (fill.plain(&image.src)?, fill.plain(&image.alt)?, fill.plain(&image.href)?);
            images.push(Image { src, alt, href });
        }
        images.retain(|image| !image.src.is_empty());
        let mut links = Vec::new();
        for link in &config.links {
            links.push(Link { href: fill.plain(&link.href)?, text: fill.plain(&link.text)? });
        }
        links.retain(|link| !link.href.is_empty());
        // An empty severity is refused.
        let severity = if config.severity.is_empty() { "error".to_string() } else { fill.plain(&config.severity)? };
        let source = config.source.as_ref().filter(|source| !source.is_empty()).unwrap_or(&config.client);
        let payload = Payload {
            summary: cut(fill.plain(&config.description)?, MAX_SUMMARY),
            source: fill.plain(source)?,
            severity,
            class: fill.plain(&config.class)?,
            component: fill.plain(&config.component)?,
            group: fill.plain(&config.group)?,
            custom_details: fill.map(&config.details)?,
        };
        Ok(Event {
            routing_key: key,
            dedup_key: group_hash(about),
            event_action: action(about),
            payload: Some(payload),
            client: fill.plain(&config.client)?,
            client_url: fill.plain(&config.client_url)?,
            images,
            links,
            ..Event::default()
        })
    }
}

fn action(notification: &Notification) -> &'static str {
    match notification.status() {
        Status::Firing => "trigger",
        Status::Resolved => "resolve",
    }
}

/// The event as JSON, without its details where it is too large with them.
fn encode(mut event: Event) -> Result<Vec<u8>, DeliveryError> {
    let whole = json(&event)?;
    if whole.len() <= MAX_EVENT {
        return Ok(whole);
    }
    let why = format!("The details are left out: with them the event has more than {MAX_EVENT} bytes.");
    let instead = BTreeMap::from([("error".to_string(), why)]);
    match &mut event.payload {
        Some(payload) => payload.custom_details = instead,
        None => event.details = instead,
    }
    json(&event)
}

impl Sink for PagerdutySink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(self.send(notification))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::notification::tests::example;
    use super::super::service::tests::{GROUP, read, resolved};
    use super::super::testing::far_side;
    use super::*;

    const TEXTS: &str = "{client: us, client_url: 'http://us', description: disk full, \
         details: {firing: f, resolved: r, num_firing: '1', num_resolved: '0', more: '<b>'}, \
         severity: critical, class: disk, component: sda, group: db, \
         links: [{href: 'http://l', text: runbook}, {text: nowhere}], \
         images: [{src: 'http://i/p.png', alt: a picture, href: 'http://i'}, {alt: nothing}], ";

    fn sink(address: std::net::SocketAddr, more: &str) -> PagerdutySink {
        let entry = format!("{TEXTS}url: 'http://{address}/v2/enqueue', {more}}}");
        let (config, faults) = read::<PagerdutyConfig>(&entry, "{}");
        assert_eq!(faults, "");
        let mut sink = PagerdutySink::new(&config, Arc::default());
        sink.version_1 = format!("http://{address}/v1");
        sink
    }

    #[tokio::test]
    async fn a_group_triggers_an_incident_and_resolves_it() {
        let (address, seen) = far_side(vec![(202, vec![], r#"{"status":"success"}"#)]).await;
        let sink = sink(address, "routing_key: R7");
        assert_eq!(sink.deliver(&example()).await.unwrap().answer, "202 Accepted");
        sink.deliver(&resolved()).await.unwrap();
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen[0].path, "/v2/enqueue");
        assert_eq!(seen[0].header("content-type"), "application/json");
        assert_eq!(seen[0].header("idempotency-key"), "s-7");
        let body: Value = serde_json::from_slice(&seen[0].body).unwrap();
        let details = json!({"firing": "f", "more": "<b>", "num_firing": "1", "num_resolved": "0", "resolved": "r"});
        let mut expected = json!({
            "routing_key": "R7", "dedup_key": GROUP, "event_action": "trigger",
            "payload": {
                "summary": "disk full", "source": "us", "severity": "critical", "class": "disk", "component": "sda",
                "group": "db", "custom_details": details,
            },
            "client": "us", "client_url": "http://us",
            "images": [{"src": "http://i/p.png", "alt": "a picture", "href": "http://i"}],
            "links": [{"href": "http://l", "text": "runbook"}],
        });
        assert_eq!(body, expected);
        expected["event_action"] = "resolve".into();
        assert_eq!(serde_json::from_slice::<Value>(&seen[1].body).unwrap(), expected);
    }

    #[tokio::test]
    async fn a_service_key_makes_events_of_version_1_where_403_means_too_many() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, "S7\n").unwrap();
        let (address, seen) = far_side(vec![(200, vec![], ""), (200, vec![], ""), (403, vec![], "S7 too often")]).await;
        let sink = sink(address, &format!("service_key_file: '{}'", file.display()));
        sink.deliver(&example()).await.unwrap();
        sink.deliver(&resolved()).await.unwrap();
        let error = sink.deliver(&example()).await.unwrap_err();
        assert!(error.retry && error.message.ends_with("answered 403 Forbidden: <secret> too often"), "{error}");
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen[0].path, "/v1");
        let body: Value = serde_json::from_slice(&seen[0].body).unwrap();
        assert_eq!(body["service_key"], "S7");
        assert_eq!(body["incident_key"], GROUP);
        assert_eq!((&body["event_type"], &body["client"]), (&json!("trigger"), &json!("us")));
        assert_eq!((&body["description"], &body["details"]["more"]), (&json!("disk full"), &json!("<b>")));
        let body: Value = serde_json::from_slice(&seen[1].body).unwrap();
        assert_eq!((&body["event_type"], body.get("client")), (&json!("resolve"), None));
    }

    #[tokio::test]
    async fn what_is_too_long_is_cut_and_what_is_too_large_goes_without_details() {
        let (address, seen) = far_side(vec![(202, vec![], "")]).await;
        let mut sink = sink(address, "routing_key: R7");
        sink.config.description = Text::new("ä".repeat(2000));
        sink.config.details.insert("firing".to_string(), Text::new("x".repeat(600_000)));
        sink.deliver(&example()).await.unwrap();
        let body: Value = serde_json::from_slice(&seen.lock().unwrap()[0].body).unwrap();
        let summary = body["payload"]["summary"].as_str().unwrap();
        assert!(summary.chars().count() == 1024 && summary.ends_with("ä…"), "{summary}");
        let details = &body["payload"]["custom_details"];
        assert_eq!(
            details,
            &json!({"error": "The details are left out: with them the event has more than 512000 bytes."})
        );
    }

    #[tokio::test]
    async fn a_refusal_lasts_too_many_pass_and_no_error_shows_the_key() {
        let answers = vec![
            (400, vec![], r#"{"status":"invalid event","errors":["routing_key hunter2hunter2 is wrong"]}"#),
            (429, vec![("Retry-After", "7".to_string())], ""),
            (500, vec![], ""),
        ];
        let (address, _) = far_side(answers).await;
        let sink = sink(address, "routing_key: hunter2hunter2");
        let error = sink.deliver(&example()).await.unwrap_err();
        assert!(!error.retry && error.message.contains("routing_key <secret> is wrong"), "{error}");
        let error = sink.deliver(&example()).await.unwrap_err();
        assert_eq!((error.retry, error.retry_after), (true, Some(Duration::from_secs(7))));
        assert!(sink.deliver(&example()).await.unwrap_err().retry);
        assert!(!format!("{:?}", sink.config).contains("hunter2"));
    }

    #[test]
    fn the_defaults_are_alertmanagers_and_a_key_is_needed() {
        let (config, faults) = read::<PagerdutyConfig>("{routing_key: a}", "{pagerduty_url: 'http://proxy/x'}");
        assert_eq!(faults, "");
        assert_eq!(config.url, Address::new("http://proxy/x"));
        assert!(config.send_resolved && config.details.len() == 4);
        assert_eq!(config.description.as_str(), "{{ template \"pagerduty.default.description\" . }}");
        let (config, _) = read::<PagerdutyConfig>("{service_key: a}", "{}");
        assert_eq!(config.url, Address::new("https://events.pagerduty.com/v2/enqueue"));
        let faults = |entry: &str| read::<PagerdutyConfig>(entry, "{}").1;
        assert_eq!(
            faults("{class: x}"),
            "pagerduty_configs needs a routing_key or a routing_key_file (or the older service_key)"
        );
        assert_eq!(
            faults("{routing_key: a, routing_key_file: b}"),
            "routing_key and routing_key_file exclude each other: give one"
        );
    }
}
