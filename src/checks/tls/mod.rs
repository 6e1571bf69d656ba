//! TLS of checks: the handshake, what the far side showed in it, and what is wrong with that.
//!
//! A certificate that is refused has been looked at nevertheless: its expiry is what has to be known most when it is past.

mod certificate;
mod leaf;
mod refusal;
mod seen;
#[cfg(test)]
pub(super) mod testing;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ProtocolVersion;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::families::Families;
use super::net::{Clock, with_files};
use super::verdict::{State, Verdict};
use crate::model::Timestamp;
use crate::sinks::TlsConfig;
use certificate::Certificate;
use leaf::Leaf;
pub use refusal::span;
use seen::Seen;

/// What the far side showed in a handshake.
#[derive(Default)]
pub struct Shown {
    /// Its own certificate, and those that it sent with it.
    certificates: Vec<Certificate>,
    /// The end of the chain that is trusted and lasts longest, in seconds since 1970; `None` where none is trusted.
    chain_ends: Option<i64>,
    /// What its own certificate says.
    leaf: Option<Leaf>,
    /// `None` where the handshake failed.
    session: Option<(&'static str, String)>,
}

impl Shown {
    /// Writes what blackbox_exporter has of it.
    pub fn write(&self, out: &mut Families) {
        if let Some(earliest) = self.earliest() {
            let help = "When the first of the certificates that the far side showed expires, in seconds since 1970.";
            out.gauge("probe_ssl_earliest_cert_expiry", help, &[], earliest as f64);
        }
        if let Some(ends) = self.chain_ends {
            let help = "When the trusted chain of certificates that lasts longest expires, in seconds since 1970.";
            out.gauge("probe_ssl_last_chain_expiry_timestamp_seconds", help, &[], ends as f64);
        }
        if let (Some(leaf), Some(_)) = (&self.leaf, &self.session) {
            leaf.write(out);
        }
        if let Some((version, cipher)) = &self.session {
            out.gauge("probe_tls_version_info", "The version of TLS that is spoken.", &[("version", *version)], 1.0);
            out.gauge("probe_tls_cipher_info", "The cipher that is used.", &[("cipher", cipher)], 1.0);
        }
    }

    fn earliest(&self) -> Option<i64> {
        self.certificates.iter().map(|certificate| certificate.not_after).min()
    }

    /// What is to be said when a certificate has less than `warning` left.
    ///
    /// # Errors
    /// When it expires, or that it has expired, which is only taken where no certificate is checked.
    pub fn check_expiry(&self, warning: Option<Duration>) -> Result<(), Verdict> {
        let (Some(warning), Some(ends)) = (warning, self.chain_ends.or(self.earliest())) else { return Ok(()) };
        let left = ends.saturating_sub(Timestamp::now().as_millis() / 1000);
        if left < 0 {
            return Err(Verdict::critical(format!("the certificate expired {} ago", span(left.unsigned_abs()))));
        }
        if left.unsigned_abs() < warning.as_secs() {
            let summary = format!("the certificate expires in {}", span(left.unsigned_abs()));
            return Err(Verdict::new(State::Warning, summary));
        }
        Ok(())
    }
}

/// Speaks TLS over a connection, as a client that wants to talk to `host` by one of `protocols`. What was shown goes into
/// `shown`, whatever the end.
///
/// # Errors
/// Why there is no connection that can be trusted.
pub async fn handshake<S>(
    config: &TlsConfig,
    host: &str,
    protocols: &[&[u8]],
    stream: S,
    clock: &Clock,
    shown: &mut Option<Shown>,
) -> Result<TlsStream<S>, Verdict>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = if config.server_name.is_empty() { host } else { &config.server_name };
    let server = ServerName::try_from(name.to_string())
        .map_err(|_| Verdict::critical(format!("{name:?} is no name that a certificate could have")))?;
    let seen = Arc::new(Seen::default());
    let (of_client, watching) = (config.clone(), Arc::clone(&seen));
    let are_files = [&config.ca_file, &config.cert_file, &config.key_file].into_iter().any(Option::is_some);
    let client = with_files(are_files, move || of_client.client_config_around(|inner| Seen::around(inner, watching)));
    let client = clock.within(|| "read the files of tls_config".to_string(), client).await?;
    let mut client = client.map_err(Verdict::unknown)?;
    client.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let connecting = TlsConnector::from(Arc::new(client)).connect(server, stream);
    let end = clock.within(|| format!("TLS with {host}"), connecting).await;
    let mut found = seen.take(!config.insecure_skip_verify);
    let end = end.and_then(|end| end.map_err(|error| failed(&error, name, &found.certificates)));
    if let Ok(stream) = &end {
        found.session = Some(session(stream));
    }
    *shown = Some(found);
    end
}

/// The version of TLS and the cipher, in Go's words.
fn session<S>(stream: &TlsStream<S>) -> (&'static str, String) {
    let (_, connection) = stream.get_ref();
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        _ => "unknown",
    };
    let cipher = connection.negotiated_cipher_suite();
    let cipher = cipher.map_or("unknown", |cipher| cipher.suite().as_str().unwrap_or("unknown"));
    // rustls marks those of version 1.3.
    (version, cipher.replace("TLS13_", "TLS_"))
}

fn failed(error: &io::Error, name: &str, certificates: &[Certificate]) -> Verdict {
    let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    Verdict::critical(match of_tls {
        Some(rustls::Error::InvalidCertificate(why)) => refusal::why(why, name, certificates.first()),
        Some(rustls::Error::InvalidMessage(_)) => "what answers does not speak TLS".to_string(),
        Some(rustls::Error::AlertReceived(alert)) => format!("the far side refused TLS: {alert:?}"),
        Some(error) => format!("TLS failed: {error}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the far side closed the connection during the TLS handshake".to_string()
        }
        None => format!("TLS failed: {}", super::net::why(error)),
    })
}
