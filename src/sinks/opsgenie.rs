//! The `opsgenie` sink: alerts for Opsgenie's Alert API, version 2.
//!
//! A group of alerts is one alert there: its `alias` is the hash of the group key that Alertmanager uses too, so a
//! repeated delivery is only counted there, and what an Alertmanager opened is closed from here. What fires creates the
//! alert, with `update_alerts` it then changes message and description of the one that is there, and what is over closes
//! it. The message is cut at 130 characters.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, Url};
use serde::Serialize;

use super::address::Address;
use super::http::Outgoing;
use super::message::{Message, TIMEOUT, check_secret, check_timeout, cut, inherit_needed, json, resolve, template};
use super::service::{client_with_own_key, group_hash};
use super::{
    Delivered, Delivery, DeliveryError, GlobalConfig, HttpClient, HttpConfig, Notification, Reason, Sink, SinkConfig,
    SinkContext, Status, Text, Texts,
};
use crate::section;
use crate::yaml::{Faults, Node, Secret};

/// Characters of a message that are taken.
const MAX_MESSAGE: usize = 130;

section! {
    check = check;
    /// Alerts at Opsgenie.
    pub struct OpsgenieConfig {
        /// The key of an API integration, if not that of `global`. It is sent in place of what `http_config` authorizes with.
        pub api_key: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub api_key_file: Option<PathBuf> = None,
        /// Where alerts go, if not where `global` says.
        pub api_url: Option<Address> = None,
        /// The alert in a line.
        pub message: Text = template("opsgenie.default.message"),
        /// The whole of it.
        pub description: Text = template("opsgenie.default.description"),
        /// Who reports.
        pub source: Text = template("opsgenie.default.source"),
        /// More of it by name, beside the labels that all alerts of the group share.
        pub details: BTreeMap<String, Text> = BTreeMap::new(),
        /// What has the trouble.
        pub entity: Text = Text::default(),
        /// Who is told.
        pub responders: Vec<OpsgenieResponder> = Vec::new(),
        /// What can be done about it, by names with commas between them.
        pub actions: Text = Text::default(),
        /// Tags with commas between them.
        pub tags: Text = Text::default(),
        /// A note.
        pub note: Text = Text::default(),
        /// `P1` to `P5`.
        pub priority: Text = Text::default(),
        /// Whether message and description of an alert that is there already are changed.
        pub update_alerts: bool = false,
        /// Whether alerts are closed when they are resolved.
        pub send_resolved: bool = true,
        /// The time for one request, the answer included.
        pub timeout: Duration = TIMEOUT,
        /// How requests are made.
        pub http_config: Option<HttpConfig> = None,
    }
}

section! {
    check = check_responder;
    /// Who is told, by one of id, name and username.
    pub struct OpsgenieResponder {
        /// By an id.
        pub id: Text = Text::default(),
        /// By a name; of `teams`: several with commas between them.
        pub name: Text = Text::default(),
        /// By a user's name.
        pub username: Text = Text::default(),
        /// `team`, `teams`, `user`, `escalation` or `schedule`.
        pub kind: Text as "type" = Text::default(),
    }
}

fn check(config: &mut OpsgenieConfig, node: &Node, faults: &mut Faults) {
    check_timeout(node, faults, &mut config.timeout, TIMEOUT);
    check_secret(node, faults, "api_key", &config.api_key, &config.api_key_file);
}

fn check_responder(responder: &mut OpsgenieResponder, node: &Node, faults: &mut Faults) {
    const KINDS: [&str; 5] = ["team", "teams", "user", "escalation", "schedule"];
    if [&responder.id, &responder.name, &responder.username].into_iter().all(Text::is_empty) {
        faults.error(node.at, "a responder needs an id, a name or a username");
    }
    let kind = responder.kind.as_str();
    if !kind.contains("{{") && !KINDS.contains(&kind.to_lowercase().as_str()) {
        let at = node.place("type");
        faults.error(at, format!("a responder's type is one of {}", KINDS.join(", ")));
    }
}

impl SinkConfig for OpsgenieConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn inherit(&mut self, global: &GlobalConfig, node: &Node, faults: &mut Faults) {
        self.http_config.get_or_insert_with(|| global.http_config.clone());
        self.api_url.get_or_insert_with(|| global.opsgenie_api_url.clone());
        let all = (&global.opsgenie_api_key, &global.opsgenie_api_key_file);
        inherit_needed(node, faults, ("opsgenie", "api_key"), (&mut self.api_key, &mut self.api_key_file), all);
    }

    fn resolve_paths(&mut self, dir: &Path) {
        resolve(dir, [&mut self.api_key_file], &mut self.http_config);
    }

    fn build(&self, context: &SinkContext) -> Arc<dyn Sink> {
        Arc::new(OpsgenieSink::new(self, Arc::clone(&context.texts)))
    }
}

struct OpsgenieSink {
    config: OpsgenieConfig,
    client: HttpClient,
    texts: Arc<Texts>,
}

/// As Alertmanager writes it, with the same fields in the same order.
#[derive(Serialize)]
struct Create {
    alias: String,
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    details: BTreeMap<String, String>,
    source: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    responders: Vec<Responder>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    priority: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    entity: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<String>,
}

#[derive(Serialize, Default, PartialEq)]
struct Responder {
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(rename = "type")]
    kind: String,
}

/// One request of those that a notification takes.
struct Step {
    method: Method,
    url: Url,
    body: Vec<u8>,
    /// What tells its `Idempotency-Key` from those of the others.
    suffix: &'static str,
}

impl OpsgenieSink {
    fn new(config: &OpsgenieConfig, texts: Arc<Texts>) -> OpsgenieSink {
        let client = client_with_own_key(config.http_config.as_ref(), config.timeout);
        OpsgenieSink { client, config: config.clone(), texts }
    }

    async fn send(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let fill = Message::new(&self.texts, notification);
        let steps = self.steps(&fill, notification)?;
        let key = fill.secret("api_key", self.config.api_key.as_ref(), self.config.api_key_file.as_deref())?;
        let mut answer = String::new();
        for step in steps {
            let request = Outgoing::new(step.method, step.url, step.body)
                .header("Content-Type", "application/json")
                .header("Idempotency-Key", format!("{}{}", notification.id, step.suffix))
                .secret_header("Authorization", format!("GenieKey {key}"), &key);
            answer = self.client.send(request).await?.status.to_string();
        }
        Ok(Delivered { answer })
    }

    fn steps(&self, fill: &Message<'_>, about: &Notification) -> Result<Vec<Step>, DeliveryError> {
        let config = &self.config;
        let Some(api) = &config.api_url else {
            return Err(DeliveryError::lasting(Reason::Other, "no api_url"));
        };
        let alias = group_hash(about);
        let of_alias = |what: &str| {
            let mut url = api.below(["v2", "alerts", &alias, what]);
            url.query_pairs_mut().append_pair("identifierType", "alias");
            url
        };
        let source = fill.plain(&config.source)?;
        if about.status() == Status::Resolved {
            let body = json(&BTreeMap::from([("source", source)]))?;
            return Ok(vec![Step { method: Method::POST, url: of_alias("close"), body, suffix: "" }]);
        }
        let mut details: BTreeMap<String, String> =
            about.common_labels().iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        details.extend(fill.map(&config.details)?);
        let create = Create {
            alias: alias.clone(),
            message: cut(fill.plain(&config.message)?, MAX_MESSAGE),
            description: fill.plain(&config.description)?,
            details,
            source,
            responders: self.responders(fill)?,
            tags: split(&fill.plain(&config.tags)?),
            note: fill.plain(&config.note)?,
            priority: fill.plain(&config.priority)?,
            entity: fill.plain(&config.entity)?,
            actions: split(&fill.plain(&config.actions)?),
        };
        let url = api.below(["v2", "alerts"]);
        let mut steps = vec![Step { method: Method::POST, url, body: json(&create)?, suffix: "" }];
        if config.update_alerts {
            for (what, text, suffix) in
                [("message", &create.message, "-message"), ("description", &create.description, "-description")]
            {
                let said = Some((what, text)).filter(|(_, text)| !text.is_empty());
                let body = json(&said.into_iter().collect::<BTreeMap<_, _>>())?;
                steps.push(Step { method: Method::PUT, url: of_alias(what), body, suffix });
            }
        }
        Ok(steps)
    }

    fn responders(&self, fill: &Message<'_>) -> Result<Vec<Responder>, DeliveryError> {
        let mut all = Vec::new();
        for of in &self.config.responders {
            let responder = Responder {
                id: fill.plain(&of.id)?,
                name: fill.plain(&of.name)?,
                username: fill.plain(&of.username)?,
                kind: fill.plain(&of.kind)?,
            };
            if responder.kind == "teams" {
                let team = |name| Responder { name, kind: "team".to_string(), ..Responder::default() };
                all.extend(split(&responder.name).into_iter().map(team));
            } else if responder != Responder::default() {
                all.push(responder);
            }
        }
        Ok(all)
    }
}

/// What stands between commas and is not empty.
fn split(text: &str) -> Vec<String> {
    text.trim().split(',').filter(|part| !part.is_empty()).map(str::to_string).collect()
}

impl Sink for OpsgenieSink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(self.send(notification))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::notification::tests::example;
    use super::super::service::tests::{GROUP, read, resolved};
    use super::super::testing::{Answer, Seen, far_side};
    use super::*;

    const TEXTS: &str = "api_key: hunter2hunter2, message: disk full, description: all of it, source: us, entity: sda, \
         details: {severity: sev1, more: x}, tags: 'a,,b', actions: ' look ', note: n, priority: P1, \
         responders: [{name: 'db,web', type: teams}, {username: me, type: user}, {id: '{{ \"\" }}', type: '{{ \"\" }}'}]";

    async fn deliver(
        answers: Vec<Answer>,
        more: &str,
        about: &Notification,
    ) -> (Result<Delivered, DeliveryError>, Vec<Seen>) {
        let (address, seen) = far_side(answers).await;
        let entry = format!("{{{TEXTS}, api_url: 'http://{address}/og'{more}}}");
        let (config, faults) = read::<OpsgenieConfig>(&entry, "{http_config: {authorization: {credentials: other}}}");
        assert_eq!(faults, "");
        let result = OpsgenieSink::new(&config, Arc::default()).deliver(about).await;
        let seen = seen.lock().unwrap().clone();
        (result, seen)
    }

    #[tokio::test]
    async fn what_fires_creates_an_alert_and_what_is_over_closes_it() {
        let (result, seen) = deliver(vec![(202, vec![], "")], "", &example()).await;
        assert_eq!(result.unwrap().answer, "202 Accepted");
        assert_eq!((seen.len(), seen[0].method.as_str(), seen[0].path.as_str()), (1, "POST", "/og/v2/alerts"));
        assert_eq!(seen[0].header("content-type"), "application/json");
        assert_eq!(seen[0].header("idempotency-key"), "s-7");
        let authorization = |seen: &Seen| seen.headers.iter().filter(|(name, _)| name == "authorization").count();
        assert_eq!((authorization(&seen[0]), seen[0].header("authorization")), (1, "GenieKey hunter2hunter2"));
        assert_eq!(
            serde_json::from_slice::<Value>(&seen[0].body).unwrap(),
            json!({
                "alias": GROUP, "message": "disk full", "description": "all of it", "source": "us", "entity": "sda",
                "details": {"alertname": "DiskFull", "severity": "sev1", "more": "x"},
                "responders": [
                    {"name": "db", "type": "team"}, {"name": "web", "type": "team"}, {"username": "me", "type": "user"}
                ],
                "tags": ["a", "b"], "actions": ["look"], "note": "n", "priority": "P1",
            })
        );

        let (result, seen) = deliver(vec![(202, vec![], "")], "", &resolved()).await;
        result.unwrap();
        assert_eq!(seen[0].path, format!("/og/v2/alerts/{GROUP}/close?identifierType=alias"));
        assert_eq!((seen[0].method.as_str(), seen[0].body.as_slice()), ("POST", b"{\"source\":\"us\"}\n".as_slice()));
    }

    #[tokio::test]
    async fn an_alert_that_is_there_is_brought_up_to_date_where_that_is_wanted() {
        let (result, seen) = deliver(vec![(202, vec![], "")], ", update_alerts: true", &example()).await;
        result.unwrap();
        let said: Vec<String> = seen
            .iter()
            .map(|s| {
                let body = String::from_utf8_lossy(&s.body[..40.min(s.body.len())]).trim_end().to_string();
                format!("{} {} {} {body}", s.header("idempotency-key"), s.method, s.path)
            })
            .collect();
        assert!(said[0].starts_with("s-7 POST /og/v2/alerts "), "{said:?}");
        let of = |what: &str, text: &str| {
            format!("s-7-{what} PUT /og/v2/alerts/{GROUP}/{what}?identifierType=alias {{\"{what}\":\"{text}\"}}")
        };
        assert_eq!(said[1..], [of("message", "disk full"), of("description", "all of it")]);
    }

    #[tokio::test]
    async fn a_long_message_is_cut() {
        let (address, seen) = far_side(vec![(202, vec![], "")]).await;
        let config = OpsgenieConfig {
            api_key: Some(Secret::new("k")),
            api_url: Address::new(&format!("http://{address}")),
            message: Text::new("ä".repeat(200)),
            description: Text::default(),
            source: Text::default(),
            ..OpsgenieConfig::default()
        };
        OpsgenieSink::new(&config, Arc::default()).deliver(&example()).await.unwrap();
        let body: Value = serde_json::from_slice(&seen.lock().unwrap()[0].body).unwrap();
        assert_eq!(body["message"], format!("{}…", "ä".repeat(129)));
    }

    #[tokio::test]
    async fn a_step_that_fails_fails_the_whole_and_no_error_shows_the_key() {
        let answers = vec![(202, vec![], ""), (422, vec![], "{\"message\":\"key hunter2hunter2 may not\"}")];
        let (result, seen) = deliver(answers, ", update_alerts: true", &example()).await;
        let error = result.unwrap_err();
        assert_eq!(seen.len(), 2);
        assert!(!error.retry && error.message.contains("key <secret> may not"), "{error}");
        let (result, _) = deliver(vec![(429, vec![("Retry-After", "3".to_string())], "")], "", &example()).await;
        let error = result.unwrap_err();
        assert_eq!((error.retry, error.retry_after), (true, Some(Duration::from_secs(3))));
    }

    #[test]
    fn the_key_may_stand_under_global_and_is_needed() {
        let read = |entry: &str, global: &str| read::<OpsgenieConfig>(entry, global);
        let (config, faults) = read("{}", "{opsgenie_api_key: a, opsgenie_api_url: 'http://o/'}");
        assert_eq!((faults.as_str(), config.api_key.map(|k| k.expose().to_string())), ("", Some("a".to_string())));
        assert_eq!(config.api_url, Address::new("http://o/"));
        let (config, _) = read("{api_key_file: f}", "{opsgenie_api_key: a}");
        assert!(config.api_key.is_none());
        assert_eq!(
            read("{responders: [{type: boss}]}", "{}").1,
            "a responder needs an id, a name or a username\n\
             a responder's type is one of team, teams, user, escalation, schedule\n\
             opsgenie_configs needs an api_key or an api_key_file, or opsgenie_api_key under global"
        );
    }
}
