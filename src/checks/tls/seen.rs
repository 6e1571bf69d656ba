//! Looking over the shoulder of what checks certificates.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use super::Shown;
use super::certificate::{Certificate, chain_ends};
use super::leaf::Leaf;

/// Certificates of a handshake that are looked at; a chain has three or four.
const MAX_CERTIFICATES: usize = 16;

/// What a handshake has shown.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Held only to put something in or take it out.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    certificates: Vec<Certificate>,
    leaf: Option<Leaf>,
    is_trusted: bool,
}

impl Seen {
    /// Has the certificates looked at that `inner` checks.
    pub fn around(inner: Arc<dyn ServerCertVerifier>, seen: Arc<Seen>) -> Arc<dyn ServerCertVerifier> {
        Arc::new(Watching { inner, seen })
    }

    /// What was shown; `checks`: whether it was really checked.
    pub fn take(&self, checks: bool) -> Shown {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { certificates, leaf, is_trusted } = std::mem::take(&mut *state);
        let chain_ends = if checks && is_trusted { chain_ends(&certificates) } else { None };
        Shown { certificates, chain_ends, leaf, session: None }
    }
}

#[derive(Debug)]
struct Watching {
    inner: Arc<dyn ServerCertVerifier>,
    seen: Arc<Seen>,
}

impl ServerCertVerifier for Watching {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let end = self.inner.verify_server_cert(certificate, others, name, ocsp, now);
        let all = std::iter::once(certificate).chain(others).take(MAX_CERTIFICATES);
        let certificates = all.filter_map(|der| Certificate::parse(der)).collect();
        let state = State { certificates, leaf: Leaf::parse(certificate), is_trusted: end.is_ok() };
        *self.seen.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        end
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
