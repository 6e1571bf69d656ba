//! The `email` sink: a mail for each notification, over SMTP.
//!
//! A mail has the notification as text and as HTML, and a chart of what it is about: in the place where the HTML refers to
//! `cid:chart`, else as a file of its own. The templates' data has a field `Chart` that says whether there is one.
//! `Message-ID` is the same at every try of one notification, so that mail systems can tell a repetition, and all mails
//! of a group refer to the same `References`, so that mail programs show them as one thread.
//!
//! 4xx answers, time-outs and connections that fail are tried again until they go well, 5xx answers a few times. Of
//! several recipients those that are accepted get the mail whatever the server says of the others; one that may be
//! accepted later (greylisting) is tried again, without the others.

mod message;
mod smtp;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lettre::Address;
use tracing::warn;

use self::smtp::{Credentials, Dialogue, Refused, Security};
use super::http::{is_set, secret};
use super::message::{check_secret, check_timeout, inherit_secret, is_given, template};
use super::{
    Delivered, Delivery, DeliveryError, GlobalConfig, Notification, Reason, Sink, SinkConfig, SinkContext, Text,
    TlsConfig,
};
use crate::section;
use crate::yaml::{Faults, FromYaml, Node, Secret, Value};

/// How long a mail may take where the configuration does not say: servers that look for spam think it over.
const TIMEOUT: Duration = Duration::from_secs(30);

section! {
    check = check;
    foreign = elsewhere;
    /// A mail for each notification.
    pub struct EmailConfig {
        /// Who gets it: addresses with commas between.
        pub to: Text = Text::default(),
        /// Who it is from; `smtp_from` of `global` when not set.
        pub from: Option<Text> = None,
        /// The mail server, HOST:PORT; `smtp_smarthost` of `global` when not set.
        pub smarthost: Option<Smarthost> = None,
        /// The name by which the agent introduces itself to the server.
        pub hello: Option<String> = None,
        /// The user at the mail server.
        pub auth_username: Option<String> = None,
        /// The user's password, for AUTH PLAIN and LOGIN.
        pub auth_password: Option<Secret> = None,
        /// A file that holds the password; read for every mail.
        pub auth_password_file: Option<PathBuf> = None,
        /// The user's secret for AUTH CRAM-MD5.
        pub auth_secret: Option<Secret> = None,
        /// A file that holds the secret; read for every mail.
        pub auth_secret_file: Option<PathBuf> = None,
        /// Whom to act for, with AUTH PLAIN.
        pub auth_identity: Option<String> = None,
        /// Whether a server that does not offer STARTTLS gets no mail.
        pub require_tls: Option<bool> = None,
        /// Whether the connection is encrypted from the first byte; when not set, it is with port 465.
        pub force_implicit_tls: Option<bool> = None,
        /// How the server's certificate is checked.
        pub tls_config: Option<TlsConfig> = None,
        /// More headers, or others in place of `Subject`, `From`, `To` and so on.
        pub headers: BTreeMap<String, Text> = BTreeMap::new(),
        /// The mail as HTML; empty: none.
        pub html: Text = template("email.default.html"),
        /// The mail as text; empty: none.
        pub text: Text = template("email.default.text"),
        /// Whether a chart of the first alert's expression is in it.
        pub chart: bool = true,
        /// Whether mails of a group are shown as a thread.
        pub threading: ThreadingConfig = ThreadingConfig::default(),
        /// The time for one mail, from the connection to the confirmation.
        pub timeout: Duration = TIMEOUT,
        /// Whether resolved alerts are sent too.
        pub send_resolved: bool = false,
    }
}

section! {
    check = |s: &mut ThreadingConfig, node: &Node, faults: &mut Faults| {
        if !matches!(s.thread_by_date.as_str(), "daily" | "none") {
            faults.error(node.place("thread_by_date"), "thread_by_date is daily or none");
        }
    };
    /// How mails of a group are shown.
    pub struct ThreadingConfig {
        /// Whether they are one thread.
        pub enabled: bool = true,
        /// `daily`: a new thread every day; `none`: one for ever.
        pub thread_by_date: String = "daily".to_string(),
    }
}

/// Keys that people write and that never were, in Alertmanager neither.
fn elsewhere(key: &str) -> Option<String> {
    let instead = match key {
        "subject" => "it is a header: headers: {Subject: '...'}",
        "body" => "it is text, html, or both",
        _ => return None,
    };
    Some(format!("there is no key {key:?} of a mail: {instead}"))
}

fn check(config: &mut EmailConfig, node: &Node, faults: &mut Faults) {
    let at = |key: &str| node.place(key);
    if config.to.as_str().trim().is_empty() {
        faults.error(at("to"), "an email needs a to: the address of who gets it");
    }
    for (key, text) in [("to", Some(&config.to)), ("from", config.from.as_ref())] {
        let text = text.map_or("", Text::as_str);
        if !text.is_empty()
            && !text.contains("{{")
            && let Err(error) = message::addresses(key, text)
        {
            faults.error(at(key), error);
        }
    }
    check_secret(node, faults, "auth_password", &config.auth_password, &config.auth_password_file);
    check_secret(node, faults, "auth_secret", &config.auth_secret, &config.auth_secret_file);
    // To Alertmanager an empty one is none.
    config.hello.take_if(|hello| hello.is_empty());
    if let Some(hello) = &config.hello {
        check_hello(hello, at("hello"), faults);
    }
    let mut names = BTreeSet::new();
    for (key, _) in node.get("headers").map(Node::entries).unwrap_or_default() {
        if let Err(error) = message::header_name(&key.name) {
            faults.error(key.at, error);
        } else if !names.insert(key.name.to_ascii_lowercase()) {
            faults.error(key.at, format!("the header {} is given twice", key.name));
        }
    }
    if config.html.is_empty() && config.text.is_empty() {
        faults.error(node.at, "html and text are both empty: there would be nothing in the mail");
    }
    check_timeout(node, faults, &mut config.timeout, TIMEOUT);
}

/// Says what is wrong with a name for EHLO.
pub(super) fn check_hello(hello: &str, at: crate::yaml::Position, faults: &mut Faults) {
    let allowed = |c: char| c.is_ascii_graphic();
    if hello.is_empty() || !hello.chars().all(allowed) {
        faults.error(at, "hello is a host's name, or an address in brackets");
    }
}

impl SinkConfig for EmailConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn inherit(&mut self, global: &GlobalConfig, node: &Node, faults: &mut Faults) {
        fn take<T: Clone>(ours: &mut Option<T>, theirs: &Option<T>) {
            if ours.is_none() {
                ours.clone_from(theirs);
            }
        }
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        (self.auth_username, self.auth_identity) = (given(&self.auth_username), given(&self.auth_identity));
        self.from.take_if(|from| from.is_empty());
        take(&mut self.from, &global.smtp_from.clone().filter(|from| !from.is_empty()));
        take(&mut self.smarthost, &global.smtp_smarthost);
        take(&mut self.hello, &Some(global.smtp_hello.clone()));
        take(&mut self.auth_username, &given(&global.smtp_auth_username));
        take(&mut self.auth_identity, &given(&global.smtp_auth_identity));
        let password = (&mut self.auth_password, &mut self.auth_password_file);
        inherit_secret(password, (&global.smtp_auth_password, &global.smtp_auth_password_file));
        let secret = (&mut self.auth_secret, &mut self.auth_secret_file);
        inherit_secret(secret, (&global.smtp_auth_secret, &global.smtp_auth_secret_file));
        take(&mut self.require_tls, &Some(global.smtp_require_tls));
        take(&mut self.force_implicit_tls, &global.smtp_force_implicit_tls);
        take(&mut self.tls_config, &Some(global.smtp_tls_config.clone()));
        // What is wrong with one that is there has been said.
        if self.smarthost.is_none() && !is_set(node, "smarthost") {
            faults.error(node.at, "an email needs a smarthost here, or a smtp_smarthost in alerting.global");
        }
        if self.from.is_none() && !is_set(node, "from") {
            faults.error(node.at, "an email needs a from here, or a smtp_from in alerting.global");
        }
        let has_secret = is_given(&self.auth_password, &self.auth_password_file)
            || is_given(&self.auth_secret, &self.auth_secret_file);
        if self.auth_username.is_some() && !has_secret {
            faults.error(node.at, "there is an auth_username, but neither an auth_password nor an auth_secret");
        }
    }

    fn resolve_paths(&mut self, dir: &Path) {
        for path in [&mut self.auth_password_file, &mut self.auth_secret_file].into_iter().flatten() {
            *path = dir.join(&path);
        }
        if let Some(tls) = &mut self.tls_config {
            tls.resolve_paths(dir);
        }
    }

    fn build(&self, context: &SinkContext) -> Arc<dyn Sink> {
        Arc::new(EmailSink { config: self.clone(), context: context.clone(), told: Mutex::default() })
    }
}

/// Where a mail server is: `HOST:PORT`, `[ADDRESS]:PORT` for one of IPv6.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Smarthost {
    pub host: String,
    pub port: u16,
}

impl Smarthost {
    fn parse(text: &str) -> Option<Smarthost> {
        let (host, port) = text.rsplit_once(':')?;
        let port = match port {
            "smtp" => 25,
            "smtps" | "submissions" => 465,
            "submission" => 587,
            number => number.parse().ok().filter(|port| *port != 0)?,
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        // Without brackets, an address of IPv6 and its port cannot be told apart.
        let fits =
            !host.is_empty() && host.chars().all(|c| c.is_ascii_graphic()) && (bare.is_some() || !host.contains(':'));
        fits.then(|| Smarthost { host: host.to_string(), port })
    }
}

impl fmt::Display for Smarthost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl FromYaml for Smarthost {
    const EMPTY_IS_NONE: bool = true;

    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let text = String::from_yaml(node, faults)?;
        let parsed = Smarthost::parse(&text);
        if parsed.is_none() {
            faults.error(node.at, "a smarthost is HOST:PORT, such as mail.example.org:587");
        }
        parsed
    }

    fn as_yaml(&self) -> Option<Value> {
        Some(Value::text(self.to_string()))
    }
}

/// Notifications of which some recipients have been told and others are tried again, at most: those that were given up
/// in between are not taken out.
const MAX_TOLD: usize = 1000;

struct EmailSink {
    config: EmailConfig,
    context: SinkContext,
    /// Who has been told already, by the notification's id. Not kept over a restart: then they are told twice. Held for
    /// a look or a note only.
    told: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl Sink for EmailSink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(async move {
            let server = self.config.smarthost.as_ref().map_or(String::new(), Smarthost::to_string);
            let late = |_| {
                let limit = crate::model::format_duration(self.config.timeout);
                DeliveryError::passing(Reason::Timeout, format!("{server}: the mail was not confirmed within {limit}"))
            };
            tokio::time::timeout(self.config.timeout, self.send(notification)).await.map_err(late)?
        })
    }
}

impl EmailSink {
    async fn send(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let Some(smarthost) = &self.config.smarthost else {
            return Err(DeliveryError::lasting(Reason::Other, "there is no smarthost"));
        };
        let mail = message::compose(&self.config, &self.context, notification).await?;
        let told = self.told().get(&notification.id).cloned().unwrap_or_default();
        let to: Vec<Address> = mail.to.iter().filter(|to| !told.contains(to.as_ref() as &str)).cloned().collect();
        let credentials = self.credentials().map_err(|e| DeliveryError::passing(Reason::Other, e))?;
        let tls = self.config.tls_config.clone().unwrap_or_default();
        let hello = self.config.hello.as_deref().unwrap_or("localhost");
        let mut dialogue = Dialogue::open(smarthost, hello, self.security(smarthost), &tls).await?;
        if let Some(credentials) = credentials {
            dialogue.authenticate(&credentials).await?;
        }
        let sent = dialogue.mail(&mail.from, &to, &mail.bytes).await?;
        dialogue.quit().await;

        let passing = sent.refused.iter().any(|refused| refused.passing);
        match (passing, &sent.confirmed) {
            (true, Some(_)) => self.remember(&notification.id, &to, &sent.refused),
            (true, None) => {}
            (false, _) => drop(self.told().remove(&notification.id)),
        }
        let refused: Vec<String> = sent.refused.iter().map(|r| format!("{} ({})", r.recipient, r.said)).collect();
        let refused = format!("{smarthost} refuses {}", refused.join(", "));
        match sent.confirmed {
            _ if passing => Err(DeliveryError::passing(Reason::ServerError, refused)),
            Some(answer) if sent.refused.is_empty() => Ok(Delivered { answer }),
            // To try it again would keep what follows from those who do get their mail.
            Some(answer) => {
                warn!(receiver = notification.receiver, "not all are told by mail: {refused}");
                Ok(Delivered { answer: format!("{answer}; but {refused}") })
            }
            None if told.is_empty() => Err(DeliveryError::lasting(Reason::ClientError, refused)),
            None => {
                warn!(receiver = notification.receiver, "not all are told by mail: {refused}");
                Ok(Delivered { answer: format!("told to the others before; but {refused}") })
            }
        }
    }

    fn told(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, BTreeSet<String>>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, id: &str, to: &[Address], refused: &[Refused]) {
        let mut told = self.told();
        if told.len() >= MAX_TOLD {
            told.clear();
        }
        let accepted = to.iter().map(Address::to_string).filter(|to| refused.iter().all(|r| r.recipient != *to));
        told.entry(id.to_string()).or_default().extend(accepted);
    }

    fn security(&self, smarthost: &Smarthost) -> Security {
        if self.config.force_implicit_tls.unwrap_or(smarthost.port == 465) {
            Security::Implicit
        } else if self.config.require_tls.unwrap_or(true) {
            Security::StartTls
        } else {
            Security::None
        }
    }

    /// `None` without a user. Files are read now.
    fn credentials(&self) -> Result<Option<Credentials>, String> {
        let c = &self.config;
        let Some(username) = c.auth_username.clone().filter(|user| !user.is_empty()) else { return Ok(None) };
        Ok(Some(Credentials {
            username,
            identity: c.auth_identity.clone().unwrap_or_default(),
            password: secret(c.auth_password.as_ref(), c.auth_password_file.as_deref())?,
            secret: secret(c.auth_secret.as_ref(), c.auth_secret_file.as_deref())?,
        }))
    }
}
