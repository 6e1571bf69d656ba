//! The client against real servers: TLS of every kind, proxies, servers that give out tokens.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::super::testing::{Own, Seen, far_side};
use super::super::{DeliveryError, Reason};
use super::*;
use crate::yaml::{Document, Faults};

fn config(text: &str) -> HttpConfig {
    let mut faults = Faults::default();
    let config = Document::parse("h", text, &mut faults).read(&mut faults);
    assert!(faults.is_empty(), "{faults}");
    config
}

fn client(config: &HttpConfig) -> HttpClient {
    HttpClient::new(config, Duration::from_secs(10))
}

async fn get(client: &HttpClient, url: &str) -> Result<String, DeliveryError> {
    let answer = client.send(Outgoing::new(reqwest::Method::GET, url, Vec::new())).await?;
    Ok(String::from_utf8(answer.body).unwrap())
}

/// An HTTPS server which says how many bytes of a client's certificate it was shown, and which version of TLS is spoken.
async fn https(own: &Own, clients: Option<&Own>, versions: &[&'static rustls::SupportedProtocolVersion]) -> SocketAddr {
    install_crypto();
    let certificates = tls::certificates("own", own.pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(own.key.serialize_pem().as_bytes()).unwrap();
    let builder = rustls::ServerConfig::builder_with_protocol_versions(versions);
    let builder = match clients {
        Some(authority) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add_parsable_certificates(tls::certificates("ca", authority.pem.as_bytes()).unwrap());
            builder.with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(certificates, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let (_, session) = stream.get_ref();
                let shown = session.peer_certificates().and_then(|c| c.first()).is_some();
                let said = format!("{shown} {:?}", session.protocol_version().unwrap());
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{said}", said.len());
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

const BOTH: [&rustls::SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

#[tokio::test]
async fn a_self_signed_certificate_of_an_authority_is_taken_when_it_is_the_very_one() {
    let own = Own::authority("localhost");
    let url = format!("https://localhost:{}/", https(&own, None, &BOTH).await.port());
    let trusting = |pem: &str| HttpConfig {
        tls_config: TlsConfig { ca: Some(pem.to_string()), ..TlsConfig::default() },
        ..HttpConfig::default()
    };
    assert_eq!(get(&client(&trusting(&own.pem)), &url).await.as_deref(), Ok("false TLSv1_3"));
    let error = get(&client(&trusting(&Own::authority("localhost").pem)), &url).await.unwrap_err();
    assert!(error.retry && error.message.contains("certificate"), "another of that name is not: {error}");
    // The name counts for it as for any other.
    let own = Own::authority("elsewhere");
    let url = format!("https://localhost:{}/", https(&own, None, &BOTH).await.port());
    let error = get(&client(&trusting(&own.pem)), &url).await.unwrap_err();
    assert!(error.message.contains("not valid for name"), "{error}");
    // So does the time.
    let mut own = Own::authority("localhost");
    own.params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    own.pem = own.params.self_signed(&own.key).unwrap().pem();
    let url = format!("https://localhost:{}/", https(&own, None, &BOTH).await.port());
    let error = get(&client(&trusting(&own.pem)), &url).await.unwrap_err();
    assert!(error.message.contains("expired"), "{error}");
}

#[tokio::test]
async fn https_trusts_the_given_authority_or_the_systems_or_anybody() {
    let dir = tempfile::tempdir().unwrap();
    let own = Own::authority("localhost");
    own.write(dir.path(), "ca");
    let url = format!("https://localhost:{}/", https(&own, None, &BOTH).await.port());
    let with = |tls: &str| {
        let mut config = config(&format!("tls_config: {{{tls}}}"));
        config.resolve_paths(dir.path());
        client(&config)
    };
    get(&with("ca_file: ca.pem"), &url).await.unwrap();
    get(&with("insecure_skip_verify: true"), &url).await.unwrap();
    let error = get(&with(""), &url).await.unwrap_err();
    assert!(error.retry && error.message.to_lowercase().contains("certificat"), "{error}");
    let error = get(&with("ca_file: none.pem"), &url).await.unwrap_err();
    assert!(error.message.contains("cannot read") && error.message.contains("none.pem"), "{error}");
}

#[tokio::test]
async fn a_certificate_of_the_agents_is_shown_and_read_again_when_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, other) = (Own::authority("authority"), Own::authority("other"));
    authority.write(dir.path(), "ca");
    let own = Own::signed_by(&authority, "localhost");
    let url = format!("https://localhost:{}/", https(&own, Some(&authority), &BOTH).await.port());
    let mut with = config("tls_config: {ca_file: ca.pem, cert_file: me.pem, key_file: me.key, max_version: TLS12}");
    with.resolve_paths(dir.path());
    Own::signed_by(&other, "me").write(dir.path(), "me");
    let client = client(&with);
    let error = get(&client, &url).await.unwrap_err();
    assert!(error.retry, "{error}");
    // Of another length, as clocks of file systems may be coarse.
    let good = Own::signed_by(&authority, "me.example.org");
    good.write(dir.path(), "me");
    assert_eq!(get(&client, &url).await.as_deref(), Ok("true TLSv1_2"));
    std::fs::remove_file(dir.path().join("me.key")).unwrap();
    let error = get(&client, &url).await.unwrap_err();
    assert!(error.message.contains("cannot read") && error.message.contains("me.key"), "{error}");
    std::fs::write(dir.path().join("me.key"), "no key").unwrap();
    let error = get(&client, &url).await.unwrap_err();
    assert!(error.message.ends_with("me.key holds no private key (PEM, not encrypted)"), "{error}");
    other.write(dir.path(), "me");
    good.write(dir.path(), "good");
    std::fs::copy(dir.path().join("good.pem"), dir.path().join("me.pem")).unwrap();
    let error = get(&client, &url).await.unwrap_err();
    assert!(error.message.contains("do not go together"), "{error}");
}

#[tokio::test]
async fn the_name_of_the_certificate_and_the_version_of_tls_are_as_they_are_set() {
    let authority = Own::authority("authority");
    let own = Own::signed_by(&authority, "inside.example.org");
    let url = format!("https://127.0.0.1:{}/", https(&own, None, &[&rustls::version::TLS12]).await.port());
    let with = |server_name: &str, min_version| HttpConfig {
        tls_config: TlsConfig {
            ca: Some(authority.pem.clone()),
            server_name: server_name.to_string(),
            min_version,
            ..TlsConfig::default()
        },
        ..HttpConfig::default()
    };
    assert_eq!(get(&client(&with("inside.example.org", None)), &url).await.as_deref(), Ok("false TLSv1_2"));
    let error = get(&client(&with("", None)), &url).await.unwrap_err();
    assert!(error.message.contains("not valid for name"), "{error}");
    let error = get(&client(&with("inside.example.org", Some(TlsVersion::Tls13))), &url).await.unwrap_err();
    assert!(error.message.to_lowercase().contains("version"), "{error}");
}

#[tokio::test]
async fn headers_come_from_the_configuration_and_files_and_are_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("token"), "hunter3\n").unwrap();
    std::fs::write(dir.path().join("user"), "me\n").unwrap();
    std::fs::write(dir.path().join("password"), "hunter4\n").unwrap();
    let (address, seen) = far_side(vec![(403, vec![], "not for hunter2 or hunter3 or hunter4")]).await;
    let mut with = config(
        "http_headers: {X-Scope: {values: [open], secrets: [hunter2], files: [token]}}\n\
         basic_auth: {username_file: user, password_file: password}\n",
    );
    with.resolve_paths(dir.path());
    let error = get(&client(&with), &format!("http://{address}/")).await.unwrap_err();
    assert!(error.message.ends_with(": not for <secret> or <secret> or <secret>"), "{error}");
    let seen = seen.lock().unwrap()[0].clone();
    let scopes: Vec<&str> = seen.headers.iter().filter(|(n, _)| n == "x-scope").map(|(_, v)| v.as_str()).collect();
    assert_eq!(scopes, ["open", "hunter2", "hunter3"]);
    assert_eq!(seen.header("authorization"), "Basic bWU6aHVudGVyNA==");
    std::fs::remove_file(dir.path().join("token")).unwrap();
    let error = get(&client(&with), &format!("http://{address}/")).await.unwrap_err();
    assert!(error.retry && error.message.contains("token"), "{error}");
}

fn oauth2(server: SocketAddr) -> HttpConfig {
    config(&format!(
        "oauth2: {{client_id: 'me:1', client_secret: hunter2, scopes: [a, b], token_url: 'http://{server}/token', \
         endpoint_params: {{audience: here}}}}"
    ))
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_renewed_when_it_is_refused() {
    const FIRST: &str = r#"{"access_token": "one", "token_type": "bearer", "expires_in": 3600}"#;
    const SECOND: &str = r#"{"access_token": "two", "token_type": "bearer", "expires_in": "3600"}"#;
    let (server, asked) = far_side(vec![(200, vec![], FIRST), (200, vec![], SECOND)]).await;
    let answers = [200, 200, 401, 200, 401, 401].map(|status| (status, vec![], ""));
    let (address, seen) = far_side(answers.to_vec()).await;
    let client = client(&oauth2(server));
    let url = format!("http://{address}/");
    let tokens = |seen: &Arc<Mutex<Vec<Seen>>>| -> Vec<String> {
        seen.lock().unwrap().iter().map(|s| s.header("authorization").to_string()).collect()
    };
    for _ in 0..3 {
        client.post_json(&url, "id", b"{}".to_vec()).await.unwrap();
    }
    assert_eq!(tokens(&seen), ["Bearer one", "Bearer one", "Bearer one", "Bearer two"]);
    assert_eq!(seen.lock().unwrap()[3].body, b"{}");
    let first = asked.lock().unwrap()[0].clone();
    assert_eq!(String::from_utf8(first.body.clone()).unwrap(), "grant_type=client_credentials&scope=a+b&audience=here");
    // "me%3A1:hunter2"
    assert_eq!(first.header("authorization"), "Basic bWUlM0ExOmh1bnRlcjI=");
    // One that refuses new ones too is asked twice and no more.
    let error = client.post_json(&url, "id", Vec::new()).await.unwrap_err();
    assert!(!error.retry && error.message.contains("401"), "{error}");
    assert_eq!((seen.lock().unwrap().len(), asked.lock().unwrap().len()), (6, 3));
}

#[tokio::test]
async fn a_token_that_expires_soon_is_not_kept_and_a_server_may_want_the_form() {
    const TOKEN: &str = r#"{"access_token": "one", "expires_in": 5}"#;
    let answers = [(400, "no header, hunter2"), (200, TOKEN), (200, TOKEN)].map(|(s, text)| (s, vec![], text));
    let (server, asked) = far_side(answers.to_vec()).await;
    let (address, _) = far_side(vec![(200, vec![], "")]).await;
    let client = client(&oauth2(server));
    for _ in 0..2 {
        get(&client, &format!("http://{address}/")).await.unwrap();
    }
    let asked = asked.lock().unwrap();
    let bodies: Vec<String> = asked.iter().map(|s| String::from_utf8(s.body.clone()).unwrap()).collect();
    assert!(bodies[1].ends_with("&client_id=me%3A1&client_secret=hunter2") && bodies[2] == bodies[1], "{bodies:?}");
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_it_is_said_why_without_the_secret() {
    let (address, seen) = far_side(vec![(200, vec![], "")]).await;
    let (server, _) = far_side(vec![(401, vec![], "hunter2 is not the secret of me:1")]).await;
    let url = format!("http://{address}/");
    let error = get(&client(&oauth2(server)), &url).await.unwrap_err();
    let expected =
        format!("{address}: no token for it: {server} answered 401 Unauthorized: <secret> is not the secret of me:1");
    assert_eq!((error.retry, error.message), (false, expected));
    let (server, _) = far_side(vec![(200, vec![], "<html>sign in</html>")]).await;
    let error = get(&client(&oauth2(server)), &url).await.unwrap_err();
    assert_eq!(error.message, format!("{address}: no token for it: {server} answered 200 OK with no access_token"));
    assert!(error.retry && seen.lock().unwrap().is_empty());
}

/// A proxy that connects where it is told, by CONNECT or SOCKS 5; gives what it was asked, one text a connection.
async fn proxy_server() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let memory = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let memory = Arc::clone(&memory);
            tokio::spawn(async move {
                let mut first = [0; 2048];
                let length = stream.read(&mut first).await.unwrap();
                let first = &first[..length];
                let port =
                    if first[0] == 5 { socks(&mut stream, first, &memory).await } else { connect(first, &memory) };
                let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                if first[0] != 5 {
                    stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.unwrap();
                }
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut far).await;
            });
        }
    });
    (address, asked)
}

fn connect(request: &[u8], memory: &Mutex<Vec<String>>) -> u16 {
    let text = String::from_utf8_lossy(request).into_owned();
    let port = text.split([':', ' ']).nth(2).unwrap().parse().unwrap();
    memory.lock().unwrap().push(text);
    port
}

/// RFC 1928 and 1929, as far as a client with a password needs them.
async fn socks(stream: &mut TcpStream, greeting: &[u8], memory: &Mutex<Vec<String>>) -> u16 {
    assert!(greeting[2..].contains(&2), "{greeting:?}");
    stream.write_all(&[5, 2]).await.unwrap();
    let mut said = [0; 512];
    let length = stream.read(&mut said).await.unwrap();
    memory.lock().unwrap().push(String::from_utf8_lossy(&said[..length]).into_owned());
    stream.write_all(&[1, 0]).await.unwrap();
    let length = stream.read(&mut said).await.unwrap();
    let port = u16::from_be_bytes([said[length - 2], said[length - 1]]);
    stream.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]).await.unwrap();
    port
}

#[tokio::test]
async fn https_goes_through_a_proxy_with_its_headers_and_its_password() {
    let authority = Own::authority("authority");
    let own = Own::signed_by(&authority, "localhost");
    let url = format!("https://localhost:{}/", https(&own, None, &BOTH).await.port());
    let (proxy, asked) = proxy_server().await;
    let with = |proxy_url: String, no_proxy: &str| HttpConfig {
        proxy_url: Some(Secret::new(proxy_url)),
        no_proxy: no_proxy.to_string(),
        tls_config: TlsConfig { ca: Some(authority.pem.clone()), ..TlsConfig::default() },
        ..HttpConfig::default()
    };
    let headers = BTreeMap::from([("X-Proxy".to_string(), vec![Secret::new("hunter2")])]);
    let connect = HttpConfig { proxy_connect_header: headers, ..with(format!("http://me:pass@{proxy}"), "") };
    get(&client(&connect), &url).await.unwrap();
    let said = asked.lock().unwrap()[0].to_ascii_lowercase();
    assert!(said.starts_with("connect localhost:") && said.contains("\r\nx-proxy: hunter2\r\n"), "{said}");
    assert!(said.contains("\r\nproxy-authorization: basic bwu6cgfzcw==\r\n"), "{said}");
    get(&client(&with(format!("socks5h://me:pass@{proxy}"), "")), &url).await.unwrap();
    assert_eq!(asked.lock().unwrap()[1], "\u{1}\u{2}me\u{4}pass");
    // What is to be reached without it is.
    get(&client(&with(format!("http://{proxy}"), "example.org,localhost")), &url).await.unwrap();
    assert_eq!(asked.lock().unwrap().len(), 2);
    // One that is not there is said, and its password is not.
    let error = get(&client(&with("http://me:hunter2@127.0.0.1:1".to_string(), "")), &url).await.unwrap_err();
    assert!(error.retry && error.reason == Reason::Other && !error.message.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn http_2_is_spoken_unless_it_is_switched_off() {
    for (enabled, expected) in [(true, &[b"h2".to_vec(), b"http/1.1".to_vec()][..]), (false, &[])] {
        install_crypto();
        let own = Own::authority("localhost");
        let certificates = tls::certificates("own", own.pem.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(own.key.serialize_pem().as_bytes()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let offered = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let start =
                tokio_rustls::LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await.unwrap();
            let offered: Vec<Vec<u8>> =
                start.client_hello().alpn().map(|all| all.map(<[u8]>::to_vec).collect()).unwrap_or_default();
            let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key);
            let _ = start.into_stream(Arc::new(config.unwrap())).await;
            offered
        });
        let with = HttpConfig { enable_http2: enabled, ..HttpConfig::default() };
        let _ = get(&client(&with), &url).await;
        assert_eq!(offered.await.unwrap(), expected);
    }
}
