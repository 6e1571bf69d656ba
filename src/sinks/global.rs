//! Alertmanager's `global`: what holds for all routes and sinks that do not say otherwise.

use std::path::PathBuf;
use std::time::Duration;

use super::address::Address;
use super::email::check_hello;
use super::http::HttpConfig;
use super::message::{check_secret, check_secret_url, check_url};
use super::{Smarthost, Text, TlsConfig, not_supported};
use crate::section;
use crate::yaml::{Faults, Node, Secret};

section! {
    check = check;
    foreign = alertmanagers;
    /// What holds for all routes and receivers that do not say otherwise.
    pub struct GlobalConfig {
        /// An alert that is not told again for so long counts as resolved, the rule having been taken away for instance.
        pub resolve_timeout: Duration = Duration::from_secs(5 * 60),
        /// How requests are made.
        pub http_config: HttpConfig = HttpConfig::default(),
        /// The incoming webhook of Slack that slack_configs post to.
        pub slack_api_url: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub slack_api_url_file: Option<PathBuf> = None,
        /// The token of a Slack app, which posts to slack_app_url; instead of a webhook.
        pub slack_app_token: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub slack_app_token_file: Option<PathBuf> = None,
        /// Where Slack apps post to.
        pub slack_app_url: String = "https://slack.com/api/chat.postMessage".to_string(),
        /// The incoming webhook of Mattermost that mattermost_configs post to.
        pub mattermost_webhook_url: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub mattermost_webhook_url_file: Option<PathBuf> = None,
        /// The Rocket.Chat server.
        pub rocketchat_api_url: String = "https://open.rocket.chat/".to_string(),
        /// The access token for Rocket.Chat.
        pub rocketchat_token: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub rocketchat_token_file: Option<PathBuf> = None,
        /// The user ID that belongs to the token.
        pub rocketchat_token_id: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub rocketchat_token_id_file: Option<PathBuf> = None,
        /// The Telegram Bot API.
        pub telegram_api_url: String = "https://api.telegram.org".to_string(),
        /// The token of the Telegram bot.
        pub telegram_bot_token: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub telegram_bot_token_file: Option<PathBuf> = None,
        /// The messages endpoint of Webex.
        pub webex_api_url: String = "https://webexapis.com/v1/messages".to_string(),
        /// Where PagerDuty takes events.
        pub pagerduty_url: Address = Address::fixed("https://events.pagerduty.com/v2/enqueue"),
        /// Where Opsgenie takes alerts.
        pub opsgenie_api_url: Address = Address::fixed("https://api.opsgenie.com/"),
        /// The key of an integration at Opsgenie.
        pub opsgenie_api_key: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub opsgenie_api_key_file: Option<PathBuf> = None,
        /// Where VictorOps takes alerts.
        pub victorops_api_url: Address =
            Address::fixed("https://alert.victorops.com/integrations/generic/20131114/alert/"),
        /// The key of the integration at VictorOps.
        pub victorops_api_key: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub victorops_api_key_file: Option<PathBuf> = None,
        /// Where Jira's API is: `https://example.atlassian.net/rest/api/3`.
        pub jira_api_url: Option<Address> = None,
        /// Who mails are from.
        pub smtp_from: Option<Text> = None,
        /// The mail server, HOST:PORT.
        pub smtp_smarthost: Option<Smarthost> = None,
        /// The name by which the agent introduces itself to mail servers.
        pub smtp_hello: String = "localhost".to_string(),
        /// The user at the mail server.
        pub smtp_auth_username: Option<String> = None,
        /// The user's password, for AUTH PLAIN and LOGIN.
        pub smtp_auth_password: Option<Secret> = None,
        /// A file that holds the password; read for every mail.
        pub smtp_auth_password_file: Option<PathBuf> = None,
        /// The user's secret for AUTH CRAM-MD5.
        pub smtp_auth_secret: Option<Secret> = None,
        /// A file that holds the secret; read for every mail.
        pub smtp_auth_secret_file: Option<PathBuf> = None,
        /// Whom to act for, with AUTH PLAIN.
        pub smtp_auth_identity: Option<String> = None,
        /// Whether a mail server that does not offer STARTTLS gets no mail.
        pub smtp_require_tls: bool = true,
        /// Whether connections to mail servers are encrypted from the first byte; when not set, they are with port 465.
        pub smtp_force_implicit_tls: Option<bool> = None,
        /// How the certificates of mail servers are checked.
        pub smtp_tls_config: TlsConfig = TlsConfig::default(),
    }
}

/// What Alertmanager has, or had, and this program has not.
fn alertmanagers(key: &str) -> Option<String> {
    let service = ["wechat", "hipchat"].into_iter().find(|service| key.starts_with(&format!("{service}_")))?;
    Some(not_supported(key, &format!("take it out, and tell {service} with exec_configs or webhook_configs")))
}

fn check(config: &mut GlobalConfig, node: &Node, faults: &mut Faults) {
    let c = config;
    if c.smtp_hello.is_empty() {
        // To Alertmanager it is the same.
        c.smtp_hello = "localhost".to_string();
    }
    check_hello(&c.smtp_hello, node.place("smtp_hello"), faults);
    for (key, url, file) in [
        ("slack_api_url", &c.slack_api_url, &c.slack_api_url_file),
        ("mattermost_webhook_url", &c.mattermost_webhook_url, &c.mattermost_webhook_url_file),
    ] {
        check_secret_url(node, faults, key, url, file);
    }
    for (key, value, file) in [
        ("slack_app_token", &c.slack_app_token, &c.slack_app_token_file),
        ("rocketchat_token", &c.rocketchat_token, &c.rocketchat_token_file),
        ("rocketchat_token_id", &c.rocketchat_token_id, &c.rocketchat_token_id_file),
        ("telegram_bot_token", &c.telegram_bot_token, &c.telegram_bot_token_file),
        ("opsgenie_api_key", &c.opsgenie_api_key, &c.opsgenie_api_key_file),
        ("victorops_api_key", &c.victorops_api_key, &c.victorops_api_key_file),
        ("smtp_auth_password", &c.smtp_auth_password, &c.smtp_auth_password_file),
        ("smtp_auth_secret", &c.smtp_auth_secret, &c.smtp_auth_secret_file),
    ] {
        check_secret(node, faults, key, value, file);
    }
    for (key, url) in [
        ("slack_app_url", &c.slack_app_url),
        ("rocketchat_api_url", &c.rocketchat_api_url),
        ("telegram_api_url", &c.telegram_api_url),
        ("webex_api_url", &c.webex_api_url),
    ] {
        check_url(node, faults, key, url);
    }
}
