//! TLS from the web configuration.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CipherSuite, DigitallySignedStruct, DistinguishedName, Error, NamedGroup, RootCertStore, ServerConfig,
    SignatureScheme, SupportedProtocolVersion, version,
};

use super::web_file::{Checked, TlsSection};
use crate::yaml::{Faults, Node, Position};

/// TLS as the listeners use it.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub config: Arc<ServerConfig>,
    /// Every client has shown a certificate of a trusted authority.
    pub clients_are_verified: bool,
}

/// Loads certificates and keys; `None` without TLS, and where something is wrong, which is added to `faults`.
pub(super) fn load(checked: &Checked, faults: &mut Faults) -> Option<Tls> {
    let section = checked.file.tls_server_config.as_ref()?;
    let node = checked.document.root.get("tls_server_config")?;
    Loader { section, node, faults }.load(checked.file.http_server_config.http2)
}

/// What is asked of clients, by Go's names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClientAuth {
    None,
    Request,
    RequireAny,
    VerifyIfGiven,
    RequireAndVerify,
}

struct Loader<'a> {
    section: &'a TlsSection,
    node: &'a Node,
    faults: &'a mut Faults,
}

impl Loader<'_> {
    fn at(&self, key: &str) -> Position {
        self.node.get(key).map_or(self.node.at, |n| n.at)
    }

    fn fault<T>(&mut self, key: &str, message: impl Into<String>) -> Option<T> {
        let at = self.at(key);
        self.faults.error(at, message);
        None
    }

    fn load(mut self, http2: bool) -> Option<Tls> {
        let section = self.section;
        if section.cert_file.is_none() && section.key_file.is_none() && self.node.entries().is_empty() {
            return None;
        }
        let chain = match &section.cert_file {
            Some(path) => self.certificates("cert_file", path),
            None => self.fault("cert_file", "TLS needs a cert_file"),
        };
        let key = match &section.key_file {
            Some(path) => match PrivateKeyDer::from_pem_file(path) {
                Ok(key) => Some(key),
                Err(e) => self.fault("key_file", format!("no private key in {}: {e}", path.display())),
            },
            None => self.fault("key_file", "TLS needs a key_file"),
        };
        let auth = self.client_auth();
        let versions = self.versions();
        let provider = Arc::new(self.provider()?);
        let verifier = self.verifier(auth?, &provider);
        let (chain, key, versions, verifier) = (chain?, key?, versions?, verifier?);

        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions);
        let config = builder.and_then(|b| match verifier {
            Some(verifier) => b.with_client_cert_verifier(verifier).with_single_cert(chain, key),
            None => b.with_no_client_auth().with_single_cert(chain, key),
        });
        match config {
            Ok(mut config) => {
                let protocols: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
                config.ignore_client_order = section.prefer_server_cipher_suites;
                config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
                let clients_are_verified = auth == Some(ClientAuth::RequireAndVerify);
                Some(Tls { config: Arc::new(config), clients_are_verified })
            }
            Err(e) => self.fault("cert_file", format!("the certificate and its key cannot be used: {e}")),
        }
    }

    fn certificates(&mut self, key: &str, path: &Path) -> Option<Vec<CertificateDer<'static>>> {
        let read = CertificateDer::pem_file_iter(path).and_then(|certificates| certificates.collect());
        match read {
            Ok(chain) if Vec::is_empty(&chain) => self.fault(key, format!("no certificate in {}", path.display())),
            Ok(chain) => Some(chain),
            Err(e) => self.fault(key, format!("cannot read the certificates in {}: {e}", path.display())),
        }
    }

    fn client_auth(&mut self) -> Option<ClientAuth> {
        let auth = match self.section.client_auth_type.as_str() {
            "" | "NoClientCert" => ClientAuth::None,
            "RequestClientCert" => ClientAuth::Request,
            "RequireAnyClientCert" | "RequireClientCert" => ClientAuth::RequireAny,
            "VerifyClientCertIfGiven" => ClientAuth::VerifyIfGiven,
            "RequireAndVerifyClientCert" => ClientAuth::RequireAndVerify,
            other => {
                return self.fault(
                    "client_auth_type",
                    format!(
                        "{other:?} is not one of NoClientCert, RequestClientCert, RequireAnyClientCert, \
                         VerifyClientCertIfGiven, RequireAndVerifyClientCert"
                    ),
                );
            }
        };
        let verifies = matches!(auth, ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify);
        match &self.section.client_ca_file {
            None if verifies => self.fault("client_auth_type", "certificates are verified against a client_ca_file"),
            Some(_) if auth == ClientAuth::None => {
                self.fault("client_ca_file", "a client_ca_file needs a client_auth_type that uses it")
            }
            _ => Some(auth),
        }
    }

    /// `Some(None)`: clients are not asked.
    fn verifier(
        &mut self,
        auth: ClientAuth,
        provider: &Arc<CryptoProvider>,
    ) -> Option<Option<Arc<dyn ClientCertVerifier>>> {
        if auth == ClientAuth::None {
            return Some(None);
        }
        if matches!(auth, ClientAuth::Request | ClientAuth::RequireAny) {
            let mandatory = auth == ClientAuth::RequireAny;
            return Some(Some(Arc::new(AnyCertificate { mandatory, provider: provider.clone() })));
        }
        let path = self.section.client_ca_file.as_ref()?;
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates("client_ca_file", path)? {
            if let Err(e) = roots.add(certificate) {
                return self.fault("client_ca_file", format!("an authority in {}: {e}", path.display()));
            }
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let builder = if auth == ClientAuth::VerifyIfGiven { builder.allow_unauthenticated() } else { builder };
        match builder.build() {
            Ok(verifier) => Some(Some(verifier)),
            Err(e) => self.fault("client_ca_file", e.to_string()),
        }
    }

    /// The cryptography, cut down to the cipher suites and curves that are asked for.
    fn provider(&mut self) -> Option<CryptoProvider> {
        let mut provider = ring::default_provider();
        let wanted = &self.section.cipher_suites;
        if !wanted.is_empty() {
            // As in Go, those of TLS 1.3 are not a matter of choice.
            provider
                .cipher_suites
                .retain(|suite| suite.tls13().is_some() || wanted.iter().any(|name| is_suite(suite.suite(), name)));
            if provider.cipher_suites.iter().all(|suite| suite.tls13().is_some()) {
                return self.fault("cipher_suites", "none of these cipher suites is safe and supported");
            }
        }
        if !self.section.curve_preferences.is_empty() {
            let known = provider.kx_groups;
            let wanted = self.section.curve_preferences.iter().map(|name| (name, curve(name)));
            let wanted: Vec<_> =
                wanted.map(|(name, group)| (name, known.iter().find(|k| Some(k.name()) == group))).collect();
            if let Some((name, _)) = wanted.iter().find(|(_, group)| group.is_none()) {
                return self.fault("curve_preferences", format!("{name:?} is not one of X25519, CurveP256, CurveP384"));
            }
            provider.kx_groups = wanted.into_iter().filter_map(|(_, group)| group.copied()).collect();
        }
        Some(provider)
    }

    fn versions(&mut self) -> Option<Vec<&'static SupportedProtocolVersion>> {
        let min = self.version("min_version", &self.section.min_version);
        let max = self.version("max_version", &self.section.max_version);
        let (min, max) = (min?, max?);
        if min > max {
            return self.fault("max_version", "max_version is below min_version");
        }
        let all = [(12, &version::TLS12), (13, &version::TLS13)];
        Some(all.into_iter().filter(|(n, _)| (min..=max).contains(n)).map(|(_, v)| v).collect())
    }

    fn version(&mut self, key: &str, name: &str) -> Option<u8> {
        match name {
            "TLS12" => Some(12),
            "TLS13" => Some(13),
            "TLS10" | "TLS11" => self.fault(key, format!("{name} is not safe and not supported: TLS12 or TLS13")),
            other => self.fault(key, format!("{other:?} is not a TLS version: TLS12 or TLS13")),
        }
    }
}

/// Whether a cipher suite has this name in Go, which leaves out the hash of ChaCha20's.
fn is_suite(suite: CipherSuite, name: &str) -> bool {
    suite.as_str().is_some_and(|own| own == name || own.strip_suffix("_SHA256").is_some_and(|s| s == name))
}

/// A curve by Go's name.
fn curve(name: &str) -> Option<NamedGroup> {
    match name {
        "X25519" => Some(NamedGroup::X25519),
        "CurveP256" => Some(NamedGroup::secp256r1),
        "CurveP384" => Some(NamedGroup::secp384r1),
        _ => None,
    }
}

/// Takes any certificate whose key the client has, as Go's `RequestClientCert` and `RequireAnyClientCert` do. It proves
/// nothing about who the client is, and nothing here takes it as a proof.
#[derive(Debug)]
struct AnyCertificate {
    mandatory: bool,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
