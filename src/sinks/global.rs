//! Alertmanager's `global`: what holds for all routes and sinks that do not say otherwise.

use std::path::PathBuf;
use std::time::Duration;

use super::address::Address;
use super::http::{HttpConfig, one_of};
use super::message::check_secret_url;
use crate::section;
use crate::yaml::{Faults, Node, Secret};

section! {
    check = check;
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
        /// The token of a Slack app, which posts to app_url; instead of a webhook.
        pub slack_app_token: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub slack_app_token_file: Option<PathBuf> = None,
        /// Where Slack apps post to.
        pub slack_app_url: Address = Address::fixed("https://slack.com/api/chat.postMessage"),
        /// The incoming webhook of Mattermost that mattermost_configs post to.
        pub mattermost_webhook_url: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub mattermost_webhook_url_file: Option<PathBuf> = None,
        /// The Rocket.Chat server.
        pub rocketchat_api_url: Address = Address::fixed("https://open.rocket.chat/"),
        /// The access token for Rocket.Chat.
        pub rocketchat_token: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub rocketchat_token_file: Option<PathBuf> = None,
        /// The user ID that belongs to the token.
        pub rocketchat_token_id: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub rocketchat_token_id_file: Option<PathBuf> = None,
        /// The Telegram Bot API.
        pub telegram_api_url: Address = Address::fixed("https://api.telegram.org"),
        /// The token of the Telegram bot.
        pub telegram_bot_token: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub telegram_bot_token_file: Option<PathBuf> = None,
        /// The messages endpoint of Webex.
        pub webex_api_url: Address = Address::fixed("https://webexapis.com/v1/messages"),
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
    }
}

fn check(global: &mut GlobalConfig, node: &Node, faults: &mut Faults) {
    let g = global;
    check_secret_url(node, faults, "slack_api_url", &g.slack_api_url, &g.slack_api_url_file);
    let file = &g.mattermost_webhook_url_file;
    check_secret_url(node, faults, "mattermost_webhook_url", &g.mattermost_webhook_url, file);
    let mut one = |key: &str, value: bool, file: bool| one_of(node, faults, key, &format!("{key}_file"), value, file);
    one("slack_app_token", g.slack_app_token.is_some(), g.slack_app_token_file.is_some());
    one("rocketchat_token", g.rocketchat_token.is_some(), g.rocketchat_token_file.is_some());
    one("rocketchat_token_id", g.rocketchat_token_id.is_some(), g.rocketchat_token_id_file.is_some());
    one("telegram_bot_token", g.telegram_bot_token.is_some(), g.telegram_bot_token_file.is_some());
    one("opsgenie_api_key", g.opsgenie_api_key.is_some(), g.opsgenie_api_key_file.is_some());
    one("victorops_api_key", g.victorops_api_key.is_some(), g.victorops_api_key_file.is_some());
}
