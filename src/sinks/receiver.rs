//! A receiver: a name, and a list of entries for each sink.

use std::path::Path;
use std::time::Duration;

use super::{
    AlertmanagerConfig, DesktopConfig, DiscordConfig, EmailConfig, ExecConfig, GlobalConfig, GotifyConfig, JiraConfig,
    JournaldConfig, LogConfig, MatrixConfig, MattermostConfig, MsTeamsConfig, MsTeamsV2Config, NtfyConfig,
    OpsgenieConfig, PagerdutyConfig, PushoverConfig, RocketchatConfig, SinkConfig, SlackConfig, SnsConfig,
    SyslogConfig, TelegramConfig, VictoropsConfig, WebexConfig, WebhookConfig, not_supported,
};
use crate::section;
use crate::yaml::{Faults, Node};

section! {
    foreign = alertmanagers;
    /// Who can be told, and how.
    pub struct ReceiverConfig {
        /// The name that routes use.
        pub name: String = String::new(),
        /// Each an HTTP POST in Alertmanager's format.
        pub webhook_configs: Vec<WebhookConfig> = Vec::new(),
        /// Each a message to a channel of Slack.
        pub slack_configs: Vec<SlackConfig> = Vec::new(),
        /// Each a message to a channel of Discord.
        pub discord_configs: Vec<DiscordConfig> = Vec::new(),
        /// Each a message of a Telegram bot.
        pub telegram_configs: Vec<TelegramConfig> = Vec::new(),
        /// Each a message to a channel of Mattermost.
        pub mattermost_configs: Vec<MattermostConfig> = Vec::new(),
        /// Each a message to a channel of Rocket.Chat.
        pub rocketchat_configs: Vec<RocketchatConfig> = Vec::new(),
        /// Each a message to a channel of Microsoft Teams by an old connector.
        pub msteams_configs: Vec<MsTeamsConfig> = Vec::new(),
        /// Each a message to a channel of Microsoft Teams by a workflow.
        pub msteamsv2_configs: Vec<MsTeamsV2Config> = Vec::new(),
        /// Each a message to a room of Webex.
        pub webex_configs: Vec<WebexConfig> = Vec::new(),
        /// Each a message to telephones by Pushover.
        pub pushover_configs: Vec<PushoverConfig> = Vec::new(),
        /// Each incidents at PagerDuty.
        pub pagerduty_configs: Vec<PagerdutyConfig> = Vec::new(),
        /// Each alerts at Opsgenie.
        pub opsgenie_configs: Vec<OpsgenieConfig> = Vec::new(),
        /// Each incidents at VictorOps.
        pub victorops_configs: Vec<VictoropsConfig> = Vec::new(),
        /// Each issues in Jira.
        pub jira_configs: Vec<JiraConfig> = Vec::new(),
        /// Each messages by ntfy.
        pub ntfy_configs: Vec<NtfyConfig> = Vec::new(),
        /// Each messages on a Gotify server.
        pub gotify_configs: Vec<GotifyConfig> = Vec::new(),
        /// Each messages to a room of Matrix.
        pub matrix_configs: Vec<MatrixConfig> = Vec::new(),
        /// Each a mail.
        pub email_configs: Vec<EmailConfig> = Vec::new(),
        /// Each one Alertmanager, or several, that alerts are forwarded to.
        pub alertmanager_configs: Vec<AlertmanagerConfig> = Vec::new(),
        /// Each a message of AWS' Simple Notification Service.
        pub sns_configs: Vec<SnsConfig> = Vec::new(),
        /// Each a command to run.
        pub exec_configs: Vec<ExecConfig> = Vec::new(),
        /// Each JSON lines to a file or standard error.
        pub log_configs: Vec<LogConfig> = Vec::new(),
        /// Each messages to a syslog, of this host or another.
        pub syslog_configs: Vec<SyslogConfig> = Vec::new(),
        /// Each entries in systemd's journal.
        pub journald_configs: Vec<JournaldConfig> = Vec::new(),
        /// Each a bubble on somebody's screen.
        pub desktop_configs: Vec<DesktopConfig> = Vec::new(),
        /// How many notifications each of these takes in a time; what is over waits, and is told together.
        pub rate_limit: Option<RateLimitConfig> = None,
    }
}

section! {
    check = check_rate;
    /// At most so many notifications in any span of so much time; tries that fail count. No limit where it is not said.
    pub struct RateLimitConfig {
        /// How many.
        pub notifications: usize = 10,
        /// In what time.
        pub per: Duration = Duration::from_secs(60),
    }
}

fn check_rate(config: &mut RateLimitConfig, node: &Node, faults: &mut Faults) {
    let at = |key: &str| node.place(key);
    if !(1..=10_000).contains(&config.notifications) {
        faults.error(at("notifications"), "notifications must be from 1 to 10000; leave rate_limit out for no limit");
    }
    if config.per.is_zero() || config.per > Duration::from_secs(7 * 24 * 3600) {
        faults.error(at("per"), "per must be longer than 0 and at most 7d");
    }
}

/// The sinks in the order in which a receiver's are told: the name, and the field of its entries. One line a sink.
macro_rules! sinks {
    ($with:ident) => {
        $with! {
            webhook: webhook_configs,
            slack: slack_configs,
            discord: discord_configs,
            telegram: telegram_configs,
            mattermost: mattermost_configs,
            rocketchat: rocketchat_configs,
            msteams: msteams_configs,
            msteamsv2: msteamsv2_configs,
            webex: webex_configs,
            pushover: pushover_configs,
            pagerduty: pagerduty_configs,
            opsgenie: opsgenie_configs,
            victorops: victorops_configs,
            jira: jira_configs,
            ntfy: ntfy_configs,
            gotify: gotify_configs,
            matrix: matrix_configs,
            email: email_configs,
            alertmanager: alertmanager_configs,
            sns: sns_configs,
            exec: exec_configs,
            log: log_configs,
            syslog: syslog_configs,
            journald: journald_configs,
            desktop: desktop_configs,
        }
    };
}

/// An entry of a receiver: the sink's name, the place among those of its kind, from 0, the configuration.
pub type Entry<'a> = (&'static str, usize, &'a dyn SinkConfig);
/// As [`Entry`], to be changed.
pub type EntryMut<'a> = (&'static str, usize, &'a mut dyn SinkConfig);

impl ReceiverConfig {
    /// All its entries.
    pub fn entries(&self) -> Vec<Entry<'_>> {
        let mut all: Vec<Entry<'_>> = Vec::new();
        macro_rules! add {
            ($($name:ident: $field:ident,)*) => {$(
                let entries = self.$field.iter().enumerate();
                all.extend(entries.map(|(i, entry)| (stringify!($name), i, entry as &dyn SinkConfig)));
            )*};
        }
        sinks!(add);
        all
    }

    /// All its entries, to be changed.
    pub fn entries_mut(&mut self) -> Vec<EntryMut<'_>> {
        let mut all: Vec<EntryMut<'_>> = Vec::new();
        macro_rules! add {
            ($($name:ident: $field:ident,)*) => {$(
                let entries = self.$field.iter_mut().enumerate();
                all.extend(entries.map(|(i, entry)| (stringify!($name), i, entry as &mut dyn SinkConfig)));
            )*};
        }
        sinks!(add);
        all
    }

    /// Lets each entry take from `global` what it does not say itself. `node`: where the receiver stands.
    pub fn inherit(&mut self, global: &GlobalConfig, node: &Node, faults: &mut Faults) {
        for (name, index, entry) in self.entries_mut() {
            let at = node.get(&format!("{name}_configs")).and_then(|all| all.items().get(index)).unwrap_or(node);
            entry.inherit(global, at, faults);
        }
    }

    /// Makes relative paths start at `dir`, the directory of the configuration's file.
    pub fn resolve_paths(&mut self, dir: &Path) {
        self.entries_mut().into_iter().for_each(|(_, _, entry)| entry.resolve_paths(dir));
    }
}

/// What Alertmanager has and this program has not.
fn alertmanagers(key: &str) -> Option<String> {
    const SERVICES: [&str; 2] = ["incidentio", "wechat"];
    if key == "hipchat_configs" {
        return Some(
            "\"hipchat_configs\" is a key of old Alertmanagers' for a service that is no more: take it out".to_string(),
        );
    }
    let service = SERVICES.into_iter().find(|service| key.strip_suffix("_configs") == Some(service))?;
    let instead =
        format!("use exec_configs with a command that tells {service}, or webhook_configs with a bridge to it");
    Some(not_supported(key, &instead))
}
