//! The configuration in force as an alertmanager.yml, for clients that ask for it and read it with Alertmanager's own
//! strict reader: `amtool config show`, `amtool config routes test`.
//!
//! What Alertmanager 0.25 (that of Debian) does not know is left out: keys, and whole sinks. What it cannot do without
//! and is not there in a form that it knows (a file that holds a URL) is replaced by something that stands for a secret.

use super::config::AlertingConfig;
use crate::yaml::{FromYaml, Node, Value};

/// The keys of the root, in Alertmanager's order.
const ROOT: [&str; 6] = ["global", "route", "inhibit_rules", "receivers", "mute_time_intervals", "time_intervals"];

const ROUTE: &[&str] = &[
    "receiver",
    "group_by",
    "match",
    "match_re",
    "matchers",
    "mute_time_intervals",
    "active_time_intervals",
    "continue",
    "group_wait",
    "group_interval",
    "repeat_interval",
];

const INHIBIT_RULE: &[&str] = &[
    "source_match",
    "source_match_re",
    "source_matchers",
    "target_match",
    "target_match_re",
    "target_matchers",
    "equal",
];

/// A sink that Alertmanager has: its list in a receiver, its keys, and of each of the last lists one that must be there.
type Known = (&'static str, &'static str, &'static [&'static [&'static str]]);

/// All take these two beside their own.
const OF_ALL: [&str; 2] = ["send_resolved", "http_config"];

const SINKS: &[Known] = &[
    ("webhook_configs", "url max_alerts", &[&["url"]]),
    (
        "email_configs",
        "to from hello smarthost auth_username auth_password auth_password_file auth_secret auth_identity headers html \
         text require_tls tls_config",
        &[&["to"], &["from"], &["smarthost"]],
    ),
    (
        "slack_configs",
        "api_url api_url_file channel username color title title_link pretext text fields short_fields footer fallback \
         callback_id icon_emoji icon_url image_url thumb_url link_names mrkdwn_in actions",
        &[&["api_url", "api_url_file"]],
    ),
    (
        "pagerduty_configs",
        "service_key service_key_file routing_key routing_key_file url client client_url description details images \
         links source severity class component group",
        &[&["routing_key", "routing_key_file", "service_key", "service_key_file"]],
    ),
    (
        "opsgenie_configs",
        "api_key api_key_file api_url message description source details entity responders actions tags note priority \
         update_alerts",
        &[&["api_key", "api_key_file"]],
    ),
    (
        "pushover_configs",
        "user_key token title message url url_title sound priority retry expire html",
        &[&["user_key"], &["token"]],
    ),
    (
        "victorops_configs",
        "api_key api_key_file api_url routing_key message_type state_message entity_display_name monitoring_tool \
         custom_fields",
        &[&["api_key", "api_key_file"], &["routing_key"]],
    ),
    (
        "sns_configs",
        "api_url sigv4 topic_arn phone_number target_arn subject message attributes",
        &[&["topic_arn", "phone_number", "target_arn"]],
    ),
    (
        "telegram_configs",
        "api_url bot_token chat_id message disable_notifications parse_mode",
        &[&["bot_token"], &["chat_id"]],
    ),
    ("discord_configs", "webhook_url title message", &[&["webhook_url"]]),
    ("webex_configs", "api_url message room_id", &[&["room_id"]]),
];

/// The keys within these, wherever they stand.
const WITHIN: &[(&str, &str)] = &[
    (
        "http_config",
        "basic_auth authorization oauth2 bearer_token bearer_token_file tls_config follow_redirects enable_http2 proxy_url",
    ),
    ("basic_auth", "username password password_file"),
    ("authorization", "type credentials credentials_file"),
    ("oauth2", "client_id client_secret client_secret_file scopes token_url endpoint_params tls_config proxy_url"),
    ("tls_config", "ca_file cert_file key_file server_name insecure_skip_verify min_version"),
];

const SECRET: &str = "<secret>";
/// Where only a URL is taken; nobody has this name (RFC 6761).
const SECRET_URL: &str = "https://secret.invalid/";

impl AlertingConfig {
    /// The whole as the text of an alertmanager.yml, with `<secret>` for what is secret.
    pub fn alertmanager_yaml(&self) -> String {
        let (route, receivers) = self.effective();
        let root = self.as_yaml();
        let root = root.as_ref();
        let take = |key: &str| match key {
            "route" => route.as_yaml().map(|route| only_route(&route)),
            "receivers" => {
                Value::list(receivers.iter().filter_map(|receiver| Some(only_receiver(&receiver.as_yaml()?))))
            }
            "global" => child(root?, key).map(|global| only(global, &["resolve_timeout"])),
            "inhibit_rules" => {
                Value::list(items(child(root?, key)?).iter().map(|rule| only(&rule.value, INHIBIT_RULE)))
            }
            _ => child(root?, key).cloned(),
        };
        Value::mapping(ROOT.map(|key| (key, take(key)))).map(|all| all.to_yaml()).unwrap_or_default()
    }
}

fn child<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    entries(value).find(|(name, _)| *name == key).map(|(_, value)| value)
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let entries: &[_] = if let Value::Mapping(entries) = value { entries } else { &[] };
    entries.iter().map(|(key, node)| (key.name.as_str(), &node.value))
}

fn items(value: &Value) -> &[Node] {
    if let Value::Sequence(items) = value { items } else { &[] }
}

/// The mapping with no other keys.
fn only(value: &Value, keys: &[&str]) -> Value {
    let kept = entries(value).filter(|(key, _)| keys.contains(key)).map(|(key, value)| (key, Some(value.clone())));
    Value::mapping(kept).unwrap_or(Value::Mapping(Vec::new()))
}

fn only_route(route: &Value) -> Value {
    let kept = entries(route).filter_map(|(key, value)| match key {
        "routes" => Some((key, Value::list(items(value).iter().map(|below| only_route(&below.value))))),
        key => ROUTE.contains(&key).then(|| (key, Some(value.clone()))),
    });
    Value::mapping(kept).unwrap_or(Value::Mapping(Vec::new()))
}

fn only_receiver(receiver: &Value) -> Value {
    let kept = entries(receiver).filter_map(|(key, value)| {
        if key == "name" {
            return Some((key, Some(value.clone())));
        }
        let sink = SINKS.iter().find(|(name, ..)| *name == key)?;
        Some((key, Value::list(items(value).iter().map(|entry| only_entry(&entry.value, sink)))))
    });
    Value::mapping(kept).unwrap_or(Value::Mapping(Vec::new()))
}

fn only_entry(entry: &Value, (_, keys, required): &Known) -> Value {
    let known = |key: &str| keys.split(' ').chain(OF_ALL).any(|known| known == key);
    // What was not given is missing there.
    let is_given = |key: &str, value: &Value| {
        let is_required = required.iter().any(|alternatives| alternatives.contains(&key));
        !is_required || !matches!(value, Value::Scalar { text, .. } if text.is_empty() || text == "0")
    };
    let given = entries(entry).filter(|(key, value)| known(key) && is_given(key, value));
    let mut kept: Vec<(&str, Option<Value>)> = given.map(|(key, value)| (key, Some(kept_below(key, value)))).collect();
    for alternatives in *required {
        let there = kept.iter().any(|(key, _)| alternatives.contains(key));
        if !there && let Some(key) = alternatives.first() {
            let value = match *key {
                "url" => Value::text(SECRET_URL),
                "chat_id" => Value::plain("1"),
                "smarthost" => Value::text("localhost:25"),
                _ => Value::text(SECRET),
            };
            kept.push((key, Some(value)));
        }
    }
    Value::mapping(kept).unwrap_or(Value::Mapping(Vec::new()))
}

/// What Alertmanager knows of a key's value, and what of it may be shown.
fn kept_below(key: &str, value: &Value) -> Value {
    if let Some((_, known)) = WITHIN.iter().find(|(name, _)| *name == key) {
        let kept = entries(value).filter(|(key, _)| known.split(' ').any(|known| known == *key));
        let kept = kept.map(|(key, value)| (key, Some(kept_below(key, value))));
        return Value::mapping(kept).unwrap_or(Value::Mapping(Vec::new()));
    }
    match (key, value) {
        ("url" | "proxy_url", Value::Scalar { text, .. }) if text == SECRET => Value::text(SECRET_URL),
        ("url" | "api_url" | "token_url", Value::Scalar { text, .. }) => Value::text(without_credentials(text)),
        _ => value.clone(),
    }
}

/// A URL without what stands before the @ of its host.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_string() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Document, Faults};

    fn shown(text: &str) -> String {
        let mut faults = Faults::default();
        let config: AlertingConfig = Document::parse("a.yaml", text, &mut faults).read(&mut faults);
        assert!(!faults.has_errors(), "{faults}");
        config.alertmanager_yaml()
    }

    #[test]
    fn the_default_is_a_route_to_a_receiver_that_alertmanager_knows_no_sinks_of() {
        assert_eq!(
            shown(""),
            "global:\n  resolve_timeout: 5m\nroute:\n  receiver: log\n  group_by:\n  - alertname\n  continue: false\n\
             receivers:\n- name: log\n"
        );
    }

    #[test]
    fn routes_and_receivers_are_shown_without_secrets_and_without_what_is_not_alertmanagers() {
        let text = shown(
            r#"
route:
  receiver: a
  group_wait: 30s
  routes:
  - {matchers: ['team=~"db|web"', x!=y], receiver: b, continue: true, group_by: ['...']}
  - {match_re: {team: 'd.*'}, receiver: a}
receivers:
- name: a
  webhook_configs:
  - url: http://u:hidden1@example.org/hidden2
    timeout: 3s
    http_config: {basic_auth: {username: me, password: hidden3}, proxy_url: 'http://p:hidden4@proxy', tls_config: {ca_file: /ca.pem}}
  - url_file: /run/secret
    send_resolved: false
  exec_configs: [{command: [x]}]
- name: b
  log_configs: [{}]
"#,
        );
        assert!(!text.contains("hidden"), "{text}");
        for part in [
            "  group_wait: 30s\n  continue: false\n  routes:\n  - receiver: b\n    group_by:\n    - \"...\"\n",
            "    matchers:\n    - \"team=~\\\"db|web\\\"\"\n    - \"x!=\\\"y\\\"\"\n",
            "    match_re:\n      team: \"d.*\"\n",
            "  webhook_configs:\n  - url: \"https://secret.invalid/\"\n    send_resolved: true\n    max_alerts: 0\n",
            "        password: \"<secret>\"\n",
            "      proxy_url: \"https://secret.invalid/\"\n",
            "        ca_file: /ca.pem\n",
            "- name: b\n",
        ] {
            assert!(text.contains(part), "{part}\n is not in\n{text}");
        }
        for part in ["timeout: 3s", "exec_configs", "log_configs", "url_file"] {
            assert!(!text.contains(part), "{part} is in\n{text}");
        }
        assert_eq!(text.matches("https://secret.invalid/").count(), 3, "{text}");
    }
}
