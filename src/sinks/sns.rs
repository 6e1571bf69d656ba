//! The `sns` sink: publishes to AWS' Simple Notification Service: a topic, an endpoint of an application, or a telephone.
//!
//! The keys are Alertmanager's. One difference: what is sent to a FIFO topic is known by the notification's own identifier,
//! not by that of its group, so that an end within five minutes is not taken for a repetition of the beginning.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, Url};

use super::aws::{Provider, Signing, Sigv4, sha256, signature};
use super::http::{HttpClient, Outgoing, is_http};
use super::message::{TIMEOUT, check_timeout, client, resolve, template};
use super::service::group_hash;
use super::{
    Delivered, Delivery, DeliveryError, GlobalConfig, HttpConfig, Notification, Reason, Sink, SinkConfig, SinkContext,
    Text, Texts,
};
use crate::model::Timestamp;
use crate::section;
use crate::yaml::{Faults, Node};

section! {
    check = check;
    /// A message of AWS' Simple Notification Service for each notification.
    pub struct SnsConfig {
        /// Where the service is reached; by the region when it is not set.
        pub api_url: Text = Text::default(),
        /// Who asks.
        pub sigv4: Sigv4 = Sigv4::default(),
        /// The topic that is published to.
        pub topic_arn: Text = Text::default(),
        /// Or the telephone that gets an SMS: `+4930123456`.
        pub phone_number: Text = Text::default(),
        /// Or the endpoint of an application on somebody's device.
        pub target_arn: Text = Text::default(),
        /// The subject, for those who get it by mail.
        pub subject: Text = template("sns.default.subject"),
        /// The message.
        pub message: Text = template("sns.default.message"),
        /// Attributes by which subscribers choose, by name.
        pub attributes: BTreeMap<String, Text> = BTreeMap::new(),
        /// Whether resolved alerts are sent too.
        pub send_resolved: bool = true,
        /// The time for one request, the answer included.
        pub timeout: Duration = TIMEOUT,
        /// How requests are made.
        pub http_config: Option<HttpConfig> = None,
    }
}

fn check(config: &mut SnsConfig, node: &Node, faults: &mut Faults) {
    check_timeout(node, faults, &mut config.timeout, TIMEOUT);
    let given = [&config.topic_arn, &config.phone_number, &config.target_arn].iter().filter(|t| !t.is_empty()).count();
    if given != 1 {
        faults.error(node.at, "an sns entry needs one of topic_arn, phone_number and target_arn");
    }
    let url = config.api_url.as_str();
    if !url.is_empty() && !url.contains("{{") && !is_http(url) {
        faults.error(node.place("api_url"), "api_url is not an http or https URL");
    }
}

impl SinkConfig for SnsConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn inherit(&mut self, global: &GlobalConfig, _: &Node, _: &mut Faults) {
        self.http_config.get_or_insert_with(|| global.http_config.clone());
    }

    fn resolve_paths(&mut self, dir: &Path) {
        resolve(dir, [], &mut self.http_config);
    }

    fn build(&self, context: &SinkContext) -> Arc<dyn Sink> {
        Arc::new(SnsSink::new(self, &context.texts))
    }
}

/// What the service takes at most: bytes of a message, characters of an SMS, characters of a subject.
const MAX_MESSAGE: usize = 256 * 1024;
const MAX_SMS: usize = 1600;
const MAX_SUBJECT: usize = 99;
const FORM: &str = "application/x-www-form-urlencoded";

struct SnsSink {
    config: SnsConfig,
    client: HttpClient,
    provider: Provider,
    texts: Arc<Texts>,
}

impl SnsSink {
    fn new(config: &SnsConfig, texts: &Arc<Texts>) -> SnsSink {
        SnsSink {
            client: client(config.http_config.as_ref(), config.timeout),
            provider: Provider::new(&config.sigv4),
            config: config.clone(),
            texts: Arc::clone(texts),
        }
    }

    async fn publish(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let form = self.form(notification)?;
        let no_region = || DeliveryError::lasting(Reason::Other, "no region: set sigv4.region, or $AWS_REGION");
        let region = self.provider.region().ok_or_else(no_region)?;
        let data = self.texts.data(notification);
        let url = match self.texts.plain(&self.config.api_url, &data)? {
            url if url.is_empty() => {
                let china = if region.starts_with("cn-") { ".cn" } else { "" };
                format!("https://sns.{region}.amazonaws.com{china}/")
            }
            url => url,
        };
        let no_url = |_| DeliveryError::lasting(Reason::Other, "api_url is not an http or https URL");
        let parsed = Url::parse(&url).map_err(no_url)?;
        let credentials = self.provider.credentials().await?;
        let signing = Signing {
            method: "POST",
            url: &parsed,
            content_type: Some(FORM),
            body: form.as_bytes(),
            region: &region,
            service: "sns",
        };
        let headers = signature(&signing, &credentials, Timestamp::now());
        let mut request = Outgoing::new(Method::POST, parsed.as_str(), form.into_bytes())
            .header("Content-Type", FORM)
            .header("Accept", "application/json")
            .header("Idempotency-Key", &notification.id)
            .secret(&credentials.secret_key);
        if let Some(token) = &credentials.session_token {
            request = request.secret(token);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = self.client.send(request).await?;
        Ok(answer.delivered())
    }

    /// The call `Publish` as a form.
    fn form(&self, notification: &Notification) -> Result<String, DeliveryError> {
        let data = self.texts.data(notification);
        let filled = |text: &Text| self.texts.plain(text, &data);
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", "Publish").append_pair("Version", "2010-03-31");
        let topic = filled(&self.config.topic_arn)?;
        let phone = filled(&self.config.phone_number)?;
        for (name, value) in
            [("TopicArn", &topic), ("PhoneNumber", &phone), ("TargetArn", &filled(&self.config.target_arn)?)]
        {
            if !value.is_empty() {
                form.append_pair(name, value);
            }
        }
        if topic.ends_with(".fifo") {
            form.append_pair("MessageDeduplicationId", &sha256(notification.id.as_bytes()));
            form.append_pair("MessageGroupId", &group_hash(notification));
        }
        let subject: String =
            filled(&self.config.subject)?.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let subject: String = subject.trim().chars().take(MAX_SUBJECT).collect();
        if !subject.is_empty() {
            form.append_pair("Subject", &subject);
        }
        let whole = filled(&self.config.message)?;
        let message = if phone.is_empty() {
            let end = (0..=MAX_MESSAGE.min(whole.len())).rev().find(|end| whole.is_char_boundary(*end));
            end.and_then(|end| whole.get(..end)).unwrap_or_default()
        } else {
            whole.char_indices().nth(MAX_SMS).and_then(|(end, _)| whole.get(..end)).unwrap_or(&whole)
        };
        form.append_pair("Message", message);
        let mut attributes = Vec::new();
        for (name, value) in &self.config.attributes {
            attributes.push((filled(&Text::new(name))?, filled(value)?));
        }
        if message.len() < whole.len() {
            attributes.push(("truncated".to_string(), "true".to_string()));
        }
        for (number, (name, value)) in (1..).zip(attributes) {
            let entry = format!("MessageAttributes.entry.{number}");
            form.append_pair(&format!("{entry}.Name"), &name);
            form.append_pair(&format!("{entry}.Value.DataType"), "String");
            form.append_pair(&format!("{entry}.Value.StringValue"), &value);
        }
        Ok(form.finish())
    }
}

impl Sink for SnsSink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(self.publish(notification))
    }
}

#[cfg(test)]
mod tests {
    use super::super::aws::Credentials;
    use super::super::notification::tests::example;
    use super::super::testing::far_side;
    use super::*;
    use crate::yaml::Document;

    fn read(text: &str) -> (SnsConfig, String) {
        let mut faults = Faults::default();
        let config = Document::parse("s", text, &mut faults).read(&mut faults);
        (config, faults.to_string())
    }

    fn sink(text: &str) -> SnsSink {
        let (config, said) = read(text);
        assert!(said.is_empty(), "{said}");
        SnsSink::new(&config, &Arc::default())
    }

    const KEY: &str = "sigv4: {region: eu-west-1, access_key: AKID, secret_key: hunter2hunter2}\n";

    #[tokio::test]
    async fn a_message_is_published_with_a_signature_that_the_service_finds_right() {
        let (address, seen) = far_side(vec![(200, vec![], "{}"), (403, vec![], "hunter2hunter2 is wrong")]).await;
        let sink = sink(&format!(
            "{KEY}api_url: 'http://{address}/'\ntopic_arn: arn:aws:sns:eu-west-1:1:ops.fifo\n\
             subject: \"on\\nfire\"\nmessage: 'it is {{{{ \"HOT\" | toLower }}}} & so on'\nattributes: {{team: db}}\n"
        ));
        assert_eq!(sink.deliver(&example()).await.unwrap_or_else(|e| panic!("{e}")).answer, "200 OK");
        let request = seen.lock().unwrap()[0].clone();
        let form: BTreeMap<String, String> = form_urlencoded::parse(&request.body).into_owned().collect();
        for (name, value) in [
            ("Action", "Publish"),
            ("TopicArn", "arn:aws:sns:eu-west-1:1:ops.fifo"),
            ("Subject", "on fire"),
            ("Message", "it is hot & so on"),
            ("MessageAttributes.entry.1.Name", "team"),
            ("MessageAttributes.entry.1.Value.StringValue", "db"),
            ("MessageDeduplicationId", &sha256(b"s-7")),
        ] {
            assert_eq!(form.get(name).map(String::as_str), Some(value), "{form:?}");
        }
        // The service signs what it got, with the key that it knows.
        let at: jiff::Timestamp = request.header("x-amz-date").parse().unwrap();
        let at = at.as_millisecond();
        let url = Url::parse(&format!("http://{}/", request.header("host"))).unwrap();
        let signing = Signing {
            method: "POST",
            url: &url,
            content_type: Some(request.header("content-type")),
            body: &request.body,
            region: "eu-west-1",
            service: "sns",
        };
        let secret_key = "hunter2hunter2".to_string();
        let credentials = Credentials { access_key: "AKID".to_string(), secret_key, session_token: None };
        let signed = signature(&signing, &credentials, Timestamp::from_millis(at));
        assert_eq!(signed[0].1, request.header("authorization"));

        let error = sink.deliver(&example()).await.unwrap_err();
        assert!(!error.retry && error.message.ends_with(": <secret> is wrong"), "{error}");
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let long = "ü".repeat(200_000);
        let sms = sink(&format!("{KEY}phone_number: '+4930123456'\nsubject: ''\nmessage: {long}\n"));
        let form = sms.form(&example()).unwrap_or_else(|e| panic!("{e}"));
        let form: BTreeMap<String, String> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        assert_eq!(form["Message"].chars().count(), 1600);
        assert_eq!(form["MessageAttributes.entry.1.Name"], "truncated");
        assert!(!form.contains_key("Subject"));
        let topic = sink(&format!("{KEY}topic_arn: a\nsubject: {long}\nmessage: {long}\n"));
        let form = topic.form(&example()).unwrap_or_else(|e| panic!("{e}"));
        let form: BTreeMap<String, String> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        assert_eq!((form["Message"].len(), form["Subject"].chars().count()), (MAX_MESSAGE, MAX_SUBJECT));
    }

    #[test]
    fn what_cannot_be_is_said() {
        for (text, fault) in [
            ("{}", "s:1:1: an sns entry needs one of topic_arn, phone_number and target_arn"),
            ("topic_arn: a\nphone_number: b", "s:1:1: an sns entry needs one of"),
            ("topic_arn: a\napi_url: x", "s:2:10: api_url is not an http or https URL"),
            ("topic_arn: a\nsigv4: {access_key: b}", "s:2:8: access_key and secret_key belong together"),
            ("topic_arn: a\nsigv4: {role_arn: b}", "s:2:9: \"role_arn\" is a key of Alertmanager's that this version"),
            ("topic_arn: '{{ if }}'", "s:1:19: the template is not valid"),
        ] {
            let (_, said) = read(text);
            assert!(said.starts_with(fault), "{text}: {said}");
        }
        let (config, _) = read(&format!("{KEY}topic_arn: a"));
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
