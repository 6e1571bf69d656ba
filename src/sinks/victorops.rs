//! The `victorops` sink: alerts for VictorOps (Splunk On-Call), by its REST integration.
//!
//! A group of alerts is one incident there: its `entity_id` is the hash of the group key that Alertmanager uses too, so a
//! repeated delivery changes nothing there, and what an Alertmanager opened recovers from here. The state's message is cut
//! at 20,480 characters.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::address::Address;
use super::http::Outgoing;
use super::message::{
    Message, TIMEOUT, check_secret, check_timeout, client, cut, inherit_needed, json, resolve, secret_now, template,
};
use super::service::group_hash;
use super::{
    Delivered, Delivery, DeliveryError, GlobalConfig, HttpClient, HttpConfig, Notification, Sink, SinkConfig,
    SinkContext, Status, Text, Texts,
};
use crate::section;
use crate::yaml::{Faults, Node, Secret};

/// Characters of a state's message that are taken.
const MAX_STATE: usize = 20_480;

section! {
    check = check;
    /// Incidents at VictorOps.
    pub struct VictoropsConfig {
        /// The key of the REST integration, if not that of `global`.
        pub api_key: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub api_key_file: Option<PathBuf> = None,
        /// Where alerts go, if not where `global` says.
        pub api_url: Option<Address> = None,
        /// Which team is told.
        pub routing_key: Text = Text::default(),
        /// How bad it is while it fires: `CRITICAL`, `WARNING` or `INFO`.
        pub message_type: Text = Text::new("CRITICAL"),
        /// The whole of it.
        pub state_message: Text = template("victorops.default.state_message"),
        /// The incident in a line.
        pub entity_display_name: Text = template("victorops.default.entity_display_name"),
        /// Who reports.
        pub monitoring_tool: Text = template("victorops.default.monitoring_tool"),
        /// More fields by name.
        pub custom_fields: BTreeMap<String, Text> = BTreeMap::new(),
        /// Whether incidents recover when their alerts are resolved.
        pub send_resolved: bool = true,
        /// The time for one request, the answer included.
        pub timeout: Duration = TIMEOUT,
        /// How requests are made.
        pub http_config: Option<HttpConfig> = None,
    }
}

/// The fields that have their own keys or meaning.
const RESERVED: [&str; 7] = [
    "routing_key",
    "message_type",
    "state_message",
    "entity_display_name",
    "monitoring_tool",
    "entity_id",
    "entity_state",
];

fn check(config: &mut VictoropsConfig, node: &Node, faults: &mut Faults) {
    check_timeout(node, faults, &mut config.timeout, TIMEOUT);
    check_secret(node, faults, "api_key", &config.api_key, &config.api_key_file);
    if config.routing_key.is_empty() {
        faults.error(node.at, "victorops_configs needs a routing_key: the team that is told");
    }
    for (key, _) in node.get("custom_fields").map_or(&[][..], Node::entries) {
        if RESERVED.contains(&key.name.as_str()) {
            faults.error(key.at, format!("{:?} is no custom field: it has a meaning of its own", key.name));
        }
    }
}

impl SinkConfig for VictoropsConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn inherit(&mut self, global: &GlobalConfig, node: &Node, faults: &mut Faults) {
        self.http_config.get_or_insert_with(|| global.http_config.clone());
        self.api_url.get_or_insert_with(|| global.victorops_api_url.clone());
        let all = (&global.victorops_api_key, &global.victorops_api_key_file);
        inherit_needed(node, faults, ("victorops", "api_key"), (&mut self.api_key, &mut self.api_key_file), all);
    }

    fn resolve_paths(&mut self, dir: &Path) {
        resolve(dir, [&mut self.api_key_file], &mut self.http_config);
    }

    fn build(&self, context: &SinkContext) -> Arc<dyn Sink> {
        Arc::new(VictoropsSink::new(self, Arc::clone(&context.texts)))
    }
}

struct VictoropsSink {
    config: VictoropsConfig,
    client: HttpClient,
    texts: Arc<Texts>,
}

impl VictoropsSink {
    fn new(config: &VictoropsConfig, texts: Arc<Texts>) -> VictoropsSink {
        VictoropsSink { client: client(config.http_config.as_ref(), config.timeout), config: config.clone(), texts }
    }

    async fn send(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let config = &self.config;
        let fill = Message::new(&self.texts, notification);
        let body = json(&self.fields(&fill, notification)?)?;
        let key = secret_now(config.api_key.as_ref(), config.api_key_file.as_deref())?;
        let routing_key = fill.plain(&config.routing_key)?;
        let url = config.api_url.as_ref().map(|api| api.below([key.as_str(), routing_key.as_str()]).to_string());
        let request = Outgoing::json(url.unwrap_or_default(), body);
        let answer = self.client.send(request.header("Idempotency-Key", &notification.id).secret(&key)).await?;
        Ok(answer.delivered())
    }

    fn fields(&self, fill: &Message<'_>, about: &Notification) -> Result<BTreeMap<String, String>, DeliveryError> {
        let config = &self.config;
        let message_type = match (about.status(), fill.plain(&config.message_type)?) {
            (Status::Resolved, _) => "RECOVERY".to_string(),
            (Status::Firing, kind) if ["INFO", "WARNING", "CRITICAL"].contains(&kind.as_str()) => kind,
            // Better woken for nothing than not by a kind that is not known there.
            (Status::Firing, _) => "CRITICAL".to_string(),
        };
        let mut fields = fill.map(&config.custom_fields)?;
        fields.extend([
            ("message_type".to_string(), message_type),
            ("entity_id".to_string(), group_hash(about)),
            ("entity_display_name".to_string(), fill.plain(&config.entity_display_name)?),
            ("state_message".to_string(), cut(fill.plain(&config.state_message)?, MAX_STATE)),
            ("monitoring_tool".to_string(), fill.plain(&config.monitoring_tool)?),
        ]);
        Ok(fields)
    }
}

impl Sink for VictoropsSink {
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

    fn sink(address: std::net::SocketAddr, more: &str) -> VictoropsSink {
        let entry = format!(
            "{{api_url: 'http://{address}/vo', api_key: k7, routing_key: 'db team', entity_display_name: disk, \
              state_message: full, monitoring_tool: us, custom_fields: {{shelf: '3'}}{more}}}"
        );
        let (config, faults) = read::<VictoropsConfig>(&entry, "{}");
        assert_eq!(faults, "");
        VictoropsSink::new(&config, Arc::default())
    }

    #[tokio::test]
    async fn a_group_is_an_incident_that_recovers() {
        let (address, seen) = far_side(vec![(200, vec![], "{\"result\":\"success\"}")]).await;
        let sink = sink(address, ", message_type: WARNING");
        assert_eq!(sink.deliver(&example()).await.unwrap().answer, "200 OK");
        sink.deliver(&resolved()).await.unwrap();
        let seen = seen.lock().unwrap().clone();
        assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("POST", "/vo/k7/db%20team"));
        assert_eq!(seen[0].header("content-type"), "application/json");
        assert_eq!(seen[0].header("idempotency-key"), "s-7");
        let mut expected = json!({
            "message_type": "WARNING", "entity_id": GROUP, "entity_display_name": "disk", "state_message": "full",
            "monitoring_tool": "us", "shelf": "3",
        });
        assert_eq!(serde_json::from_slice::<Value>(&seen[0].body).unwrap(), expected);
        expected["message_type"] = "RECOVERY".into();
        assert_eq!(serde_json::from_slice::<Value>(&seen[1].body).unwrap(), expected);
    }

    #[tokio::test]
    async fn a_kind_that_is_not_known_is_critical_and_a_long_message_is_cut() {
        let (address, seen) = far_side(vec![(200, vec![], "")]).await;
        let mut sink = sink(address, ", message_type: page");
        sink.config.state_message = Text::new("ä".repeat(30_000));
        sink.deliver(&example()).await.unwrap();
        let body: Value = serde_json::from_slice(&seen.lock().unwrap()[0].body).unwrap();
        assert_eq!(
            (&body["message_type"], body["state_message"].as_str().map(|s| s.chars().count())),
            (&json!("CRITICAL"), Some(20_480))
        );
    }

    #[tokio::test]
    async fn no_error_shows_the_key_however_short() {
        let answers = vec![(404, vec![], "no integration k7"), (503, vec![("Retry-After", "9".to_string())], "")];
        let (address, _) = far_side(answers).await;
        let sink = sink(address, "");
        let error = sink.deliver(&example()).await.unwrap_err();
        assert!(!error.retry && error.message.ends_with(": no integration <secret>"), "{error}");
        let error = sink.deliver(&example()).await.unwrap_err();
        assert_eq!((error.retry, error.retry_after), (true, Some(Duration::from_secs(9))));
        assert!(!format!("{:?}", sink.config).contains("k7"));
    }

    #[test]
    fn what_is_needed_is_said() {
        let faults = |entry: &str, global: &str| read::<VictoropsConfig>(entry, global).1;
        assert_eq!(faults("{routing_key: r}", "{victorops_api_key_file: f}"), "");
        assert_eq!(
            faults("{custom_fields: {entity_id: x}}", "{}"),
            "victorops_configs needs a routing_key: the team that is told\n\
             \"entity_id\" is no custom field: it has a meaning of its own\n\
             victorops_configs needs an api_key or an api_key_file, or victorops_api_key under global"
        );
    }
}
