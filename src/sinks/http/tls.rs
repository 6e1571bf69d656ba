//! TLS as the client speaks it: whose certificates are trusted, what is shown of its own, which versions.
//!
//! Trusted are the system's authorities, read once for all clients when the first certificate has to be checked, or those
//! that are given. As in Go, a server's own certificate can be given too: what rustls finds wrong with that, that it is one
//! of an authority or signed by nobody who is known, does not matter when it is the very one.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};

use super::config::{TlsConfig, TlsVersion};
use crate::yaml::Secret;

/// What a file was when it was read: another time, size or place means another content.
pub(super) type Stamp = Option<(i64, i64, u64, u64)>;

impl TlsConfig {
    /// What its files are at the moment; it touches the disk only where there are some.
    pub(super) fn stamps(&self) -> Vec<Stamp> {
        let files = [&self.ca_file, &self.cert_file, &self.key_file];
        let stamp = |path: &Path| fs::metadata(path).ok().map(|m| (m.mtime(), m.mtime_nsec(), m.size(), m.ino()));
        files.into_iter().flatten().map(|path| stamp(path)).collect()
    }

    /// TLS as this says. Reads the files, so it may block.
    ///
    /// # Errors
    /// Which file cannot be read, or does not hold what it should.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, String> {
        self.client_config_around(|verifier| verifier)
    }

    /// The same, with something around what checks certificates: for those who look at them.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn client_config_around(
        &self,
        around: impl FnOnce(Arc<dyn ServerCertVerifier>) -> Arc<dyn ServerCertVerifier>,
    ) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let given = pem_text("ca", self.ca.as_deref(), self.ca_file.as_deref())?;
        let given = given.map(|(name, text)| certificates(&name, &text)).transpose()?;
        let verifier = Verifier {
            trust: match given {
                _ if self.insecure_skip_verify => Trust::Anybody,
                Some(given) => Trust::given(given, &provider)?,
                None => Trust::System,
            },
            name: self.name()?,
            provider: Arc::clone(&provider),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions())
            .map_err(|e| format!("tls_config: {e}"))?
            .dangerous()
            .with_custom_certificate_verifier(around(Arc::new(verifier)));
        let own = pem_text("cert", self.cert.as_deref(), self.cert_file.as_deref())?;
        let key = pem_text("key", self.key.as_ref().map(Secret::expose), self.key_file.as_deref())?;
        match (own, key) {
            (Some((cert_name, cert)), Some((key_name, key))) => {
                let chain = certificates(&cert_name, &cert)?;
                // What is wrong with a key is not said in detail.
                let key = PrivateKeyDer::from_pem_slice(&key)
                    .map_err(|_| format!("{key_name} holds no private key (PEM, not encrypted)"))?;
                let set = builder.with_client_auth_cert(chain, key);
                set.map_err(|e| format!("{cert_name} and {key_name} do not go together: {e}"))
            }
            _ => Ok(builder.with_no_client_auth()),
        }
    }

    fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let all = [(TlsVersion::Tls13, &TLS13), (TlsVersion::Tls12, &TLS12)];
        let wanted = |version: TlsVersion| {
            self.min_version.is_none_or(|min| version >= min) && self.max_version.is_none_or(|max| version <= max)
        };
        all.into_iter().filter(|(version, _)| wanted(*version)).map(|(_, version)| version).collect()
    }

    fn name(&self) -> Result<Option<ServerName<'static>>, String> {
        let name = Some(self.server_name.clone()).filter(|name| !name.is_empty());
        name.map(|name| ServerName::try_from(name).map_err(|_| "server_name is not the name of a host".to_string()))
            .transpose()
    }
}

/// What is wrong with what stands in the configuration itself; files are read later.
pub(super) fn check(config: &TlsConfig) -> Result<(), String> {
    config.name()?;
    let inline = |text: &Option<String>, name: &str| {
        text.as_deref().map_or(Ok(()), |text| certificates(name, text.as_bytes()).map(drop))
    };
    inline(&config.ca, "ca")?;
    inline(&config.cert, "cert")?;
    match &config.key {
        Some(key) => PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
            .map(drop)
            .map_err(|_| "key holds no private key (PEM, not encrypted)".to_string()),
        None => Ok(()),
    }
}

/// A text in PEM, from the configuration or a file, and how to call it.
fn pem_text(key: &str, text: Option<&str>, file: Option<&Path>) -> Result<Option<(String, Vec<u8>)>, String> {
    match (text, file) {
        (_, Some(file)) => match fs::read(file) {
            Ok(text) => Ok(Some((file.display().to_string(), text))),
            Err(error) => Err(format!("cannot read {}: {error}", file.display())),
        },
        (Some(text), None) => Ok(Some((key.to_string(), text.as_bytes().to_vec()))),
        (None, None) => Ok(None),
    }
}

pub(super) fn certificates(name: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => Err(format!("{name} holds no certificate (PEM)")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

/// Who is trusted.
#[derive(Debug)]
enum Trust {
    Anybody,
    System,
    Given { authorities: Arc<WebPkiServerVerifier>, exact: Vec<CertificateDer<'static>> },
}

impl Trust {
    fn given(exact: Vec<CertificateDer<'static>>, provider: &Arc<CryptoProvider>) -> Result<Trust, String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(exact.iter().cloned());
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
        let authorities = authorities.map_err(|e| format!("the certificates that are to be trusted: {e}"))?;
        Ok(Trust::Given { authorities, exact })
    }
}

/// The system's authorities, which take some hundred kilobytes: the same for all clients.
fn system(provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    static SYSTEM: Mutex<Option<Arc<dyn ServerCertVerifier>>> = Mutex::new(None);
    let mut known = SYSTEM.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = known.as_ref() {
        return Ok(Arc::clone(known));
    }
    let read: Arc<dyn ServerCertVerifier> = Arc::new(rustls_platform_verifier::Verifier::new(Arc::clone(provider))?);
    *known = Some(Arc::clone(&read));
    Ok(read)
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    /// The name that certificates must have instead of that of the URL.
    name: Option<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = self.name.as_ref().unwrap_or(name);
        match &self.trust {
            Trust::Anybody => Ok(ServerCertVerified::assertion()),
            Trust::System => system(&self.provider)?.verify_server_cert(certificate, others, name, ocsp, now),
            Trust::Given { authorities, exact } => {
                match authorities.verify_server_cert(certificate, others, name, ocsp, now) {
                    Err(error) if exact.contains(certificate) && is_of_the_chain(&error) => {
                        verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                        Ok(ServerCertVerified::assertion())
                    }
                    other => other,
                }
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether nothing but who has signed it is wrong with a certificate. Its time and purpose are checked before that, so
/// they are right then.
fn is_of_the_chain(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => true,
        // The type behind it is that of a crate which is none of ours.
        Error::InvalidCertificate(CertificateError::Other(other)) => other.0.to_string() == "CaUsedAsEndEntity",
        _ => false,
    }
}
