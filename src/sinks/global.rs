//! Alertmanager's `global`: what holds for all routes and sinks that do not say otherwise.

use std::path::PathBuf;
use std::time::Duration;

use super::email::check_hello;
use super::http::{HttpConfig, one_of};
use super::{Smarthost, Text, TlsConfig};
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

fn check(config: &mut GlobalConfig, node: &Node, faults: &mut Faults) {
    check_hello(&config.smtp_hello, node.get("smtp_hello").map_or(node.at, |n| n.at), faults);
    for (value, has_value, file, has_file) in [
        (
            "smtp_auth_password",
            config.smtp_auth_password.is_some(),
            "smtp_auth_password_file",
            config.smtp_auth_password_file.is_some(),
        ),
        (
            "smtp_auth_secret",
            config.smtp_auth_secret.is_some(),
            "smtp_auth_secret_file",
            config.smtp_auth_secret_file.is_some(),
        ),
    ] {
        one_of(node, faults, value, file, has_value, has_file);
    }
}
