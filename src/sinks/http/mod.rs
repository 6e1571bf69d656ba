//! Outgoing HTTP for sinks: Alertmanager's `http_config`, a client that is built when it is first needed, and errors that
//! name the host and nothing else of the URL.

mod answer;
mod client;
mod config;
mod oauth2;
mod proxy;
#[cfg(test)]
mod tests;
mod tls;

use std::path::Path;
use std::sync::Once;

use crate::yaml::Secret;

pub(super) use answer::Answer;
pub(crate) use client::Outgoing;
pub use client::{HttpClient, Question};
pub(super) use config::check_http;
pub use config::{Authorization, BasicAuth, Header, HttpConfig, OAuth2, TlsConfig, TlsVersion};
pub(crate) use config::{is_http, is_set, one_of};

/// A URL as it may be shown: what stands before an @ is a user and a password, wherever somebody put it.
pub fn without_user(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, rest)| rest)
}

/// A secret, from the configuration or from its file.
pub(crate) fn secret(value: Option<&Secret>, file: Option<&Path>) -> Result<String, String> {
    match (value, file) {
        (_, Some(file)) => match std::fs::read_to_string(file) {
            Ok(text) => Ok(text.trim().to_string()),
            Err(error) => Err(format!("cannot read {}: {error}", file.display())),
        },
        (Some(secret), None) => Ok(secret.expose().to_string()),
        (None, None) => Ok(String::new()),
    }
}

/// Makes ring the cryptography of rustls in this process.
pub(super) fn install_crypto() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // It fails when another part has installed one, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
