//! Where notifications go: one file per sink, each behind the one trait [`Sink`].
//!
//! A sink tries once and says how it went; when to try again is decided by `alerting/`, from what [`DeliveryError`] says.
//! Each sink's configuration stands beside it, with Alertmanager's keys where Alertmanager has the sink.

mod address;
mod alertmanager;
mod aws;
mod context;
mod desktop;
mod discord;
mod email;
#[cfg(test)]
mod every;
mod exec;
mod global;
mod gotify;
mod http;
mod jira;
mod journald;
mod log;
mod matrix;
mod mattermost;
mod message;
mod msteams;
mod msteamsv2;
mod notification;
mod ntfy;
mod opsgenie;
mod pagerduty;
mod payload;
#[cfg(test)]
mod peer;
mod pushover;
mod receiver;
mod rocketchat;
mod service;
mod severity;
mod slack;
mod sns;
mod syslog;
mod telegram;
#[cfg(test)]
pub(crate) mod testing;
mod text;
mod tls;
mod victorops;
mod webex;
mod webhook;

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::yaml::{Faults, Node};

pub use crate::model::TopProcess;
pub use address::Address;
pub use alertmanager::{AlertmanagerConfig, Alertmanagers, Targets};
pub use aws::Sigv4;
pub use context::{Chart, Charts, SinkContext};
pub use desktop::DesktopConfig;
pub use discord::DiscordConfig;
pub use email::{EmailConfig, Smarthost, ThreadingConfig};
pub use exec::{ExecConfig, RunLimits};
pub(crate) use exec::{ToldCommand, secrets, tail};
pub use global::GlobalConfig;
pub use gotify::GotifyConfig;
pub use http::{
    Authorization, BasicAuth, Header, HttpClient, HttpConfig, OAuth2, Question, TlsConfig, TlsVersion, without_user,
};
pub(crate) use http::{Outgoing, is_http, is_set, one_of, secret};
pub use jira::JiraConfig;
pub use journald::JournaldConfig;
pub use log::LogConfig;
pub use matrix::MatrixConfig;
pub use mattermost::MattermostConfig;
pub(crate) use message::check_timeout;
pub use msteams::MsTeamsConfig;
pub use msteamsv2::MsTeamsV2Config;
#[cfg(test)]
pub use notification::tests::example;
pub use notification::{CheckSaid, Details, Fingerprint, Notification, NotifiedAlert, Status};
pub use ntfy::NtfyConfig;
pub use opsgenie::OpsgenieConfig;
pub use pagerduty::PagerdutyConfig;
pub use payload::webhook_version_4;
pub use pushover::PushoverConfig;
pub use receiver::ReceiverConfig;
pub use rocketchat::RocketchatConfig;
pub use slack::SlackConfig;
pub use sns::SnsConfig;
pub use syslog::{SyslogAddress, SyslogConfig};
pub use telegram::TelegramConfig;
pub use text::{Templates, Text, Texts};
pub use victorops::VictoropsConfig;
pub use webex::WebexConfig;
pub use webhook::WebhookConfig;

/// One entry of a receiver's `*_configs`: how one place is told.
pub trait SinkConfig: fmt::Debug + Send + Sync {
    /// Whether resolved alerts are told too.
    fn send_resolved(&self) -> bool;

    /// How often what fires is told again however seldom its route says, where the far side forgets what it does not hear
    /// of. Such a far side does the grouping and repeating itself, so changes are told it at once.
    fn resend(&self) -> Option<Duration> {
        None
    }

    /// Takes from `global` what the entry, which stands at `node`, does not say itself, and says what is missing then.
    fn inherit(&mut self, _global: &GlobalConfig, _node: &Node, _faults: &mut Faults) {}

    /// Makes relative paths start at `dir`, the directory of the configuration's file.
    fn resolve_paths(&mut self, _dir: &Path) {}

    /// The command that delivers, and how often it may be run, where that is how it is done.
    fn command(&self) -> Option<(&[String], RunLimits)> {
        None
    }

    /// What delivers to that place.
    fn build(&self, context: &SinkContext) -> Arc<dyn Sink>;
}

/// What delivers notifications to one place.
pub trait Sink: Send + Sync {
    /// Tries once to deliver. Ends within the sink's own time limit; when the future is dropped before, the notification
    /// may or may not arrive.
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a>;
}

/// A delivery under way.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Result<Delivered, DeliveryError>> + Send + 'a>>;

/// The far side has confirmed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Delivered {
    /// What it answered, for people: `200 OK`, `exited with code 0`.
    pub answer: String,
}

/// Why a delivery failed, and what that means for the next try.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeliveryError {
    /// Whether it may go well by itself later. If not (the far side refuses this very notification), it is still tried a
    /// few times, since people mend configurations, and then given up.
    pub retry: bool,
    /// How long the far side asks to be left alone.
    pub retry_after: Option<Duration>,
    /// The kind of failure, for metrics.
    pub reason: Reason,
    /// What was done, where, and why it failed; without secrets.
    pub message: String,
}

/// The kinds of failures, as `reason` in metrics.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    /// The far side refuses what it was sent.
    ClientError,
    /// The far side failed.
    ServerError,
    /// No answer in time.
    Timeout,
    /// No connection, a file that cannot be written, a command that cannot be started.
    Other,
}

impl Reason {
    pub const ALL: [Reason; 4] = [Reason::ClientError, Reason::ServerError, Reason::Timeout, Reason::Other];

    /// As Alertmanager calls it in its metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::ClientError => "clientError",
            Reason::ServerError => "serverError",
            Reason::Timeout => "contextDeadlineExceeded",
            Reason::Other => "other",
        }
    }
}

/// What to say of a key that stands in an Alertmanager's configuration and means nothing here.
pub(crate) fn not_supported(key: &str, instead: &str) -> String {
    format!("{key:?} is a key of Alertmanager's that this version does not support: {instead}")
}

impl DeliveryError {
    /// A failure that may pass.
    pub(crate) fn passing(reason: Reason, message: impl Into<String>) -> DeliveryError {
        DeliveryError { retry: true, retry_after: None, reason, message: message.into() }
    }

    /// A failure that will not pass by itself.
    pub(crate) fn lasting(reason: Reason, message: impl Into<String>) -> DeliveryError {
        DeliveryError { retry: false, retry_after: None, reason, message: message.into() }
    }
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DeliveryError {}
