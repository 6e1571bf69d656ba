//! TLS for sinks that do not speak HTTP: mail and syslog.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::TlsConfig;

/// Makes a connection to `host` an encrypted one. Files are read each time, so that new certificates count at once.
///
/// # Errors
/// Which file cannot be used, or why the handshake failed.
pub(super) async fn encrypt<S>(config: &TlsConfig, host: &str, stream: S) -> Result<TlsStream<S>, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // The name that is asked for, too: one machine may stand for several servers.
    let name = if config.server_name.is_empty() { host } else { &config.server_name };
    let name = ServerName::try_from(name.to_string()).map_err(|_| format!("{name:?} is not the name of a server"))?;
    let config = config.clone();
    let client = tokio::task::spawn_blocking(move || config.client_config()).await.map_err(|e| e.to_string())??;
    TlsConnector::from(Arc::new(client)).connect(name, stream).await.map_err(|e| format!("TLS failed: {e}"))
}
