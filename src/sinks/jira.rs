//! The `jira` sink: issues in Jira, of the cloud or of one's own data center.
//!
//! A group of alerts is one issue, found again by a label with the hash of the group key that Alertmanager uses too
//! (`ALERT{...}`). What fires makes an issue or, where one is open, brings it up to date; one that was closed within
//! `reopen_duration` is opened again by the transition `reopen_transition`. What is over brings the issue up to date and
//! takes the transition `resolve_transition`; without an open issue nothing is to do.
//!
//! A repeated delivery finds the issue that the first has made. (Jira's search may be some seconds behind: a repetition
//! within them can make a second issue. The protocol has nothing against that.)
//!
//! Summaries are cut at 255 characters, descriptions at 32,767. Version 3 of the API wants a description as a document
//! (JSON); a text that is none becomes one of plain paragraphs. A chart is attached to an issue when it is made.

mod field;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::multipart::Form;
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::address::Address;
use super::http::{Answer, Outgoing, is_set};
use super::message::{Message, TIMEOUT, chart, check_timeout, client, cut, resolve, template};
use super::service::group_hash;
use super::{
    Charts, Delivered, Delivery, DeliveryError, GlobalConfig, HttpClient, HttpConfig, Notification, Reason, Sink,
    SinkConfig, SinkContext, Status, Text, Texts,
};
use crate::section;
use crate::yaml::{Faults, Node};

pub use field::{Field, JiraText};

/// Characters of a summary that are taken.
const MAX_SUMMARY: usize = 255;
/// Characters of a description that are taken.
const MAX_DESCRIPTION: usize = 32_767;

section! {
    check = check;
    /// Issues in Jira.
    pub struct JiraConfig {
        /// The API, if not that of `global`: `https://example.atlassian.net/rest/api/3`.
        pub api_url: Option<Address> = None,
        /// `cloud`, `datacenter`, or `auto`: by whether the host is one of atlassian.net.
        pub api_type: String = "auto".to_string(),
        /// The key of the project.
        pub project: Text = Text::default(),
        /// The kind of issue, by its name.
        pub issue_type: Text = Text::default(),
        /// The issue in a line.
        pub summary: JiraText = JiraText::default(),
        /// The whole of it.
        pub description: JiraText = JiraText::default(),
        /// Labels, beside the one by which the issue is found again.
        pub labels: Vec<Text> = Vec::new(),
        /// The priority, by its name; none where that comes out empty.
        pub priority: Text = template("jira.default.priority"),
        /// More fields of the issue, as Jira's API takes them; the texts in them may be templates.
        pub fields: BTreeMap<String, Field> = BTreeMap::new(),
        /// The transition that opens a closed issue again, by its name.
        pub reopen_transition: String = String::new(),
        /// The transition that closes an issue, by its name.
        pub resolve_transition: String = String::new(),
        /// The resolution of issues that are to be left alone, by its name.
        pub wont_fix_resolution: String = String::new(),
        /// How long after it was closed an issue is opened again, rather than a new one made.
        pub reopen_duration: Duration = Duration::ZERO,
        /// Whether a chart is attached to a new issue.
        pub chart: bool = true,
        /// Whether issues are closed when their alerts are resolved.
        pub send_resolved: bool = true,
        /// The time for one request, the answer included; a delivery takes up to four.
        pub timeout: Duration = TIMEOUT,
        /// How requests are made; most often with `basic_auth`, a user's mail address and API token.
        pub http_config: Option<HttpConfig> = None,
    }
}

fn check(config: &mut JiraConfig, node: &Node, faults: &mut Faults) {
    check_timeout(node, faults, &mut config.timeout, TIMEOUT);
    if config.project.is_empty() {
        faults.error(node.at, "jira_configs needs a project: its key");
    }
    if config.issue_type.is_empty() {
        faults.error(node.at, "jira_configs needs an issue_type, such as Task");
    }
    if !["auto", "cloud", "datacenter"].contains(&config.api_type.as_str()) {
        faults.error(node.place("api_type"), "api_type is one of auto, cloud, datacenter");
    }
}

impl SinkConfig for JiraConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn inherit(&mut self, global: &GlobalConfig, node: &Node, faults: &mut Faults) {
        self.http_config.get_or_insert_with(|| global.http_config.clone());
        if self.api_url.is_none() {
            self.api_url = global.jira_api_url.clone();
        }
        // The URL's own fault has been said already if it is there.
        if self.api_url.is_none() && !is_set(node, "api_url") {
            faults.error(node.at, "jira_configs needs an api_url, or jira_api_url under global");
        }
    }

    fn resolve_paths(&mut self, dir: &Path) {
        resolve(dir, [], &mut self.http_config);
    }

    fn build(&self, context: &SinkContext) -> Arc<dyn Sink> {
        Arc::new(JiraSink::new(self, Arc::clone(&context.texts), context.charts.clone()))
    }
}

struct JiraSink {
    config: JiraConfig,
    client: HttpClient,
    texts: Arc<Texts>,
    charts: Option<Arc<dyn Charts>>,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    issues: Vec<Issue>,
}

#[derive(Deserialize)]
struct Issue {
    key: String,
    #[serde(default)]
    fields: Value,
}

impl Issue {
    fn is_done(&self) -> bool {
        self.fields.pointer("/status/statusCategory/key").and_then(Value::as_str) == Some("done")
    }
}

#[derive(Deserialize)]
struct Transitions {
    #[serde(default)]
    transitions: Vec<Transition>,
}

#[derive(Deserialize)]
struct Transition {
    id: String,
    name: String,
}

impl JiraSink {
    fn new(config: &JiraConfig, texts: Arc<Texts>, charts: Option<Arc<dyn Charts>>) -> JiraSink {
        let client = client(config.http_config.as_ref(), config.timeout);
        JiraSink { client, config: config.clone(), texts, charts }
    }

    async fn send(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let Some(api) = &self.config.api_url else {
            return Err(DeliveryError::lasting(Reason::Other, "no api_url"));
        };
        let fill = Message::new(&self.texts, notification);
        let label = format!("ALERT{{{}}}", group_hash(notification));
        let project = fill.plain(&self.config.project)?;
        let firing = notification.status() == Status::Firing;
        let Some(issue) = self.search(api, &project, &label, firing).await? else {
            if !firing {
                return Ok(Delivered { answer: "no open issue to close".to_string() });
            }
            return self.create(api, &fill, &project, label, notification).await;
        };
        let key = issue.key.as_str();
        let fields = self.fields(&fill, &project, label, false)?;
        let url = api.below(["issue", key]);
        let answer = self.ask(Method::PUT, url, Some(json!({ "fields": fields })), &notification.id).await?;
        let transition = match (firing, issue.is_done()) {
            (true, true) => &self.config.reopen_transition,
            (false, false) => &self.config.resolve_transition,
            (true, false) | (false, true) => "",
        };
        if !transition.is_empty() {
            self.pass(api, key, transition, &notification.id).await?;
        }
        Ok(Delivered { answer: format!("{} for {key}", answer.status) })
    }

    /// The issue of the group: an open one, or one that is to be opened again.
    async fn search(
        &self,
        api: &Address,
        project: &str,
        label: &str,
        firing: bool,
    ) -> Result<Option<Issue>, DeliveryError> {
        let config = &self.config;
        let mut query = String::new();
        if !config.wont_fix_resolution.is_empty() {
            query.push_str(&format!("resolution != {} and ", quoted(&config.wont_fix_resolution)));
        }
        let minutes = config.reopen_duration.as_secs() / 60;
        if firing && !config.reopen_transition.is_empty() && minutes > 0 {
            query.push_str(&format!("(resolutiondate is EMPTY OR resolutiondate >= -{minutes}m) and "));
        } else {
            query.push_str("statusCategory != Done and ");
        }
        let (project, label) = (quoted(project), quoted(label));
        query.push_str(&format!("project={project} and labels={label} order by status ASC,resolutiondate DESC"));
        let body = json!({ "jql": query, "fields": ["status"], "maxResults": 2 });
        let answer = self.ask(Method::POST, self.search_url(api), Some(body), "").await?;
        Ok(read::<Found>(&answer)?.issues.into_iter().next())
    }

    /// The cloud has taken the older search away, which is the only one of a data center.
    fn search_url(&self, api: &Address) -> Url {
        let host = api.url().host_str().unwrap_or_default();
        let cloud = match self.config.api_type.as_str() {
            "auto" => host == "atlassian.net" || host.ends_with(".atlassian.net"),
            kind => kind == "cloud",
        };
        if !cloud {
            return api.below(["search"]);
        }
        let mut url = api.below(["search", "jql"]);
        // It is there in version 3 only.
        url.set_path(&url.path().replacen("/2/", "/3/", 1));
        url
    }

    async fn create(
        &self,
        api: &Address,
        fill: &Message<'_>,
        project: &str,
        label: String,
        about: &Notification,
    ) -> Result<Delivered, DeliveryError> {
        let fields = self.fields(fill, project, label, true)?;
        let body = json!({ "fields": fields });
        let answer = self.ask(Method::POST, api.below(["issue"]), Some(body), &about.id).await?;
        let Ok(issue) = read::<Issue>(&answer) else {
            return Ok(answer.delivered());
        };
        if let Some(part) = chart(self.config.chart, self.charts.as_ref(), about).await {
            let url = api.below(["issue", issue.key.as_str(), "attachments"]);
            // Without this header the request is taken for one that another site has a browser make.
            let request =
                Outgoing::multipart(url, Form::new().part("file", part)).header("X-Atlassian-Token", "no-check");
            // The issue is there: a picture that is missing does not undo it.
            if let Err(error) = self.client.send(request).await {
                tracing::debug!(issue = issue.key, %error, "the chart was not attached");
            }
        }
        Ok(Delivered { answer: format!("{} for {}", answer.status, issue.key) })
    }

    /// The fields of the issue. Not all are for one that is there already.
    fn fields(
        &self,
        fill: &Message<'_>,
        project: &str,
        label: String,
        new: bool,
    ) -> Result<Map<String, Value>, DeliveryError> {
        let config = &self.config;
        let mut labels = vec![label];
        for label in &config.labels {
            labels.push(fill.plain(label)?);
        }
        labels.sort_unstable();
        let mut fields = Map::new();
        fields.insert("project".to_string(), json!({ "key": project }));
        fields.insert("issuetype".to_string(), json!({ "name": fill.plain(&config.issue_type)? }));
        fields.insert("labels".to_string(), json!(labels));
        if new || config.summary.0.enable_update {
            fields.insert(
                "summary".to_string(),
                json!(cut(config.summary.filled(fill, "jira.default.summary")?, MAX_SUMMARY)),
            );
        }
        if new || config.description.0.enable_update {
            let text = cut(config.description.filled(fill, "jira.default.description")?, MAX_DESCRIPTION);
            let version_3 =
                config.api_url.as_ref().is_some_and(|api| api.url().path().trim_end_matches('/').ends_with("/3"));
            fields.insert("description".to_string(), if version_3 { document(&text) } else { json!(text) });
        }
        let priority = fill.plain(&config.priority)?;
        if !priority.is_empty() {
            fields.insert("priority".to_string(), json!({ "name": priority }));
        }
        for (name, field) in &config.fields {
            fields.insert(name.clone(), field.filled(fill)?);
        }
        Ok(fields)
    }

    /// Takes the issue through a transition.
    async fn pass(&self, api: &Address, key: &str, name: &str, id: &str) -> Result<(), DeliveryError> {
        let url = api.below(["issue", key, "transitions"]);
        let there = read::<Transitions>(&self.ask(Method::GET, url.clone(), None, "").await?)?.transitions;
        let Some(transition) = there.iter().find(|transition| transition.name == name) else {
            let names: Vec<&str> = there.iter().map(|transition| transition.name.as_str()).collect();
            let message = format!("{key} has no transition {name:?} now, but: {}", names.join(", "));
            return Err(DeliveryError::lasting(Reason::ClientError, message));
        };
        let body = json!({ "transition": { "id": transition.id } });
        self.ask(Method::POST, url, Some(body), &format!("{id}-transition")).await.map(drop)
    }

    /// `id`: the request's idempotency key, `""` for those that change nothing.
    async fn ask(&self, method: Method, url: Url, body: Option<Value>, id: &str) -> Result<Answer, DeliveryError> {
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        // The names of statuses and transitions come in the language that is asked for.
        let mut request =
            Outgoing::new(method, url, body).header("Content-Type", "application/json").header("Accept-Language", "en");
        if !id.is_empty() {
            request = request.header("Idempotency-Key", id);
        }
        self.client.send(request).await
    }
}

fn read<T: for<'de> Deserialize<'de>>(answer: &Answer) -> Result<T, DeliveryError> {
    serde_json::from_slice(&answer.body).map_err(|e| answer.unusable(&format!("what is not Jira's JSON: {e}")))
}

/// A text in Jira's query language.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A description for version 3 of the API, in Atlassian's document format.
fn document(text: &str) -> Value {
    if let Ok(document @ Value::Object(_)) = serde_json::from_str(text) {
        return document;
    }
    let paragraph = |line: &str| match line.trim_end() {
        "" => json!({ "type": "paragraph" }),
        line => json!({ "type": "paragraph", "content": [{ "type": "text", "text": line }] }),
    };
    json!({ "type": "doc", "version": 1, "content": text.lines().map(paragraph).collect::<Vec<_>>() })
}

impl Sink for JiraSink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(self.send(notification))
    }
}

#[cfg(test)]
mod tests;
