//! TLS and passwords of the web configuration.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

/// alice:secret
const ALICE: &str = "Authorization: Basic YWxpY2U6c2VjcmV0\r\n";

struct Files {
    directory: tempfile::TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Files {
    /// A directory with `server.pem`, `server.key` and `ca.pem`.
    fn new() -> Files {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let files = Files { directory: tempfile::tempdir().unwrap(), authority };
        files.write("ca.pem", &files.authority.pem());
        let (certificate, key) = files.certificate("localhost");
        files.write("server.pem", &certificate);
        files.write("server.key", &key);
        files
    }

    fn certificate(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_string()]).unwrap();
        (params.signed_by(&key, &self.authority).unwrap().pem(), key.serialize_pem())
    }

    fn write(&self, name: &str, text: &str) -> &Path {
        std::fs::write(self.directory.path().join(name), text).unwrap();
        self.directory.path()
    }

    fn access(&self, text: &str) -> Result<Access, String> {
        let path = self.write("web.yml", text).join("web.yml");
        Access::load(&path).map_err(|faults| faults.to_string())
    }

    fn client(&self, alpn: &[&[u8]], certificate: bool) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = if certificate {
            let (certificate, key) = self.certificate("client");
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
        config
    }

    async fn connect(&self, server: &Running, certificate: bool) -> std::io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::new(self.client(&[b"http/1.1"], certificate)));
        connector.connect(ServerName::try_from("localhost").unwrap(), server.connect().await).await
    }
}

fn password_file() -> String {
    format!("basic_auth_users:\n  alice: {}\n", bcrypt::hash("secret", 4).unwrap())
}

const TLS: &str = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";

fn start_secure(access: Access) -> Running {
    start_with(&config(), access, Agent::new(50, Duration::ZERO))
}

#[tokio::test]
async fn with_passwords_nothing_is_answered_without_one() {
    let server = start_secure(Files::new().access(&password_file()).unwrap());
    for (method, path) in
        [("GET", "/metrics"), ("GET", "/"), ("GET", "/-/healthy"), ("POST", "/-/reload"), ("GET", "/nothing")]
    {
        let answer = server.request(method, path, "").await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Basic realm="));
        let wrong = server.request(method, path, "Authorization: Basic YWxpY2U6d3Jvbmc=\r\n").await;
        assert_eq!(wrong.status, 401, "{path}");
        let right = server.request(method, path, ALICE).await;
        assert_eq!(right.status, if path == "/nothing" { 404 } else { 200 }, "{path}");
    }
    assert_eq!(server.agent.reloads.load(Ordering::Relaxed), 1);
    assert_eq!(server.metric("watchfire_http_failed_logins_total"), 10.0);
}

#[tokio::test]
async fn another_web_configuration_can_be_put_in_force() {
    let files = Files::new();
    let server = start_secure(Access::default());
    assert_eq!(server.get("/metrics").await.status, 200);
    let text = "http_server_config:\n  headers:\n    X-Frame-Options: deny\n".to_string() + &password_file();
    server.web.set_access(files.access(&text).unwrap());
    let answer = server.get("/metrics").await;
    assert_eq!((answer.status, answer.header("x-frame-options")), (401, Some("deny")));
    server.web.set_access(Access::default());
    assert_eq!(server.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn tls_serves_http1_and_http2() {
    let files = Files::new();
    let text = format!(
        "{TLS}  cipher_suites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305]\n  curve_preferences: [CurveP256]\n  \
         max_version: TLS12\n"
    );
    let server = start_secure(files.access(&text).unwrap());
    let mut stream = files.connect(&server, false).await.unwrap();
    let suite = stream.get_ref().1.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256);
    for _ in 0..2 {
        send(&mut stream, "GET", "/metrics", "").await;
        assert_eq!(receive(&mut stream, "GET").await.unwrap().status, 200);
    }
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(files.client(&[b"h2"], false))
        .resolve("localhost", server.address)
        .build()
        .unwrap();
    let url = format!("https://localhost:{}", server.address.port());
    for _ in 0..3 {
        let answer = client.get(format!("{url}/metrics")).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));
        assert!(answer.text().await.unwrap().contains("node_forks_total"));
    }
    let head = client.head(format!("{url}/metrics")).send().await.unwrap();
    assert_eq!(head.status().as_u16(), 200);
    assert!(head.bytes().await.unwrap().is_empty());
    assert_eq!(client.post(format!("{url}/-/reload")).send().await.unwrap().status().as_u16(), 200);
}

#[tokio::test]
async fn a_client_certificate_can_be_required() {
    let files = Files::new();
    let text = format!("{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n");
    let server = start_secure(files.access(&text).unwrap());
    let mut stream = files.connect(&server, true).await.unwrap();
    send(&mut stream, "GET", "/metrics", "").await;
    assert_eq!(receive(&mut stream, "GET").await.unwrap().status, 200);
    // In TLS 1.3 the client learns of the refusal when it reads.
    if let Ok(mut stream) = files.connect(&server, false).await {
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").await;
        assert!(receive(&mut stream, "GET").await.is_none());
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut_off() {
    let files = Files::new();
    let config = WebConfig { read_header_timeout: Duration::from_millis(300), ..config() };
    let server = start_with(&config, files.access(TLS).unwrap(), Agent::new(5, Duration::ZERO));
    let mut stream = server.connect().await;
    stream.write_all(b"\x16\x03\x01").await.unwrap();
    assert!(receive(&mut stream, "GET").await.is_none());
    server.all_closed().await;
}

#[test]
fn what_is_wrong_with_certificates_is_named_with_its_place() {
    let files = Files::new();
    let refused = |text: &str| files.access(text).err().unwrap_or_default();
    for (text, part) in [
        ("tls_server_config:\n  cert_file: server.pem\n", "a key_file"),
        (
            "tls_server_config:\n  cert_file: gone.pem\n  key_file: server.key\n",
            "web.yml:2:14: cannot read the certificates in",
        ),
        ("tls_server_config:\n  cert_file: server.pem\n  key_file: ca.pem\n", "web.yml:3:13: no private key in"),
        (&format!("{TLS}  min_version: TLS10\n"), "web.yml:4:16: TLS10 is not safe"),
        (&format!("{TLS}  client_auth_type: Maybe\n"), "web.yml:4:21: \"Maybe\" is not one of"),
        (&format!("{TLS}  client_auth_type: RequireAndVerifyClientCert\n"), "against a client_ca_file"),
        (&format!("{TLS}  client_ca_file: ca.pem\n"), "needs a client_auth_type"),
        (&format!("{TLS}  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]\n"), "web.yml:4:18: none of these"),
        (&format!("{TLS}  curve_preferences: [X25519, CurveP521]\n"), "web.yml:4:22: \"CurveP521\" is not one of"),
        (&format!("{TLS}  client_allowed_sans: [a]\n"), "unknown key \"client_allowed_sans\""),
    ] {
        assert!(refused(text).contains(part), "{part}: {}", refused(text));
    }
    let (other, _) = files.certificate("localhost");
    files.write("server.pem", &other);
    assert!(refused(TLS).contains("the certificate and its key cannot be used"), "{}", refused(TLS));
}
