//! The check against servers that speak, and against all others.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::super::net::testing::{Ran, faults, nobody, run, section, serve};
use super::super::tls::testing::{BOTH, Own};
use super::super::verdict::State;
use super::*;
use crate::sinks::TlsConfig;

const LIMIT: Duration = Duration::from_secs(10);

async fn probe(text: &str) -> Ran {
    run(section::<TcpCheck>(text).build(), LIMIT).await
}

#[tokio::test]
async fn a_port_that_is_open_is_told_from_one_that_is_not() {
    let address = serve(|_| async {}).await;
    let ran = probe(&format!("target: {address}")).await;
    assert!(ran.ok().starts_with("connected after "), "{}", ran.ok());
    assert_eq!((ran.value("probe_ip_protocol"), ran.value("probe_failed_due_to_regex")), (Some(4.0), Some(0.0)));
    let address = nobody().await;
    let ran = probe(&format!("target: {address}")).await;
    assert_eq!(ran.critical(), format!("connect to {address}: refused"));
    // A name that is on this host, over whichever version of IP there is somebody.
    let port = serve(|_| async {}).await.port();
    probe(&format!("target: localhost:{port}")).await.ok();
    let ran = probe("target: '127.0.0.1:1'\nsource_ip_address: '::1'").await;
    assert!(ran.critical().starts_with("connect to 127.0.0.1:1: "), "{}", ran.critical());
}

/// A mail server as far as it greets, and answers each line with what it was.
async fn greets(mut stream: TcpStream) {
    let _ = stream.write_all(b"220-mail.example ESMTP\r\n220 id 77\r\n").await;
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let _ = lines.get_mut().write_all(format!("250 {line}\r\n").as_bytes()).await;
    }
}

#[tokio::test]
async fn a_dialogue_goes_as_it_should() {
    let address = serve(greets).await;
    let ran = probe(&format!(
        "target: {address}\nquery_response:\n  - {{expect: '^220.*id ([0-9]+)$', send: 'EHLO a${{1}}'}}\n  \
         - expect: ^250 EHLO a77$\n  - send: QUIT\n  - expect: QUIT"
    ))
    .await;
    assert!(ran.ok().starts_with("connected, and answered as expected after "), "{}", ran.ok());
    assert_eq!(ran.value("probe_failed_due_to_regex"), Some(0.0));
}

#[tokio::test]
async fn a_dialogue_that_goes_otherwise_says_how_and_shows_nothing_that_was_sent() {
    let address = serve(greets).await;
    let text = format!("target: {address}\nquery_response: [{{expect: ^220, send: 'AUTH hunter2'}}, {{expect: ^535}}]");
    let ran = run(section::<TcpCheck>(&text).build(), Duration::from_millis(400)).await;
    assert!(
        ran.critical().starts_with("connected, then waited for \"^535\", the last line was "),
        "{}",
        ran.critical()
    );
    assert!(ran.critical().ends_with("was \"250 <sent>\": no answer within 400ms"), "{}", ran.critical());
    assert_eq!(ran.value("probe_failed_due_to_regex"), Some(1.0));

    let repeats = serve(|stream| async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let word = line.split(' ').next_back().unwrap_or_default();
            let _ = lines.get_mut().write_all(format!("who is {word}?\r\n").as_bytes()).await;
        }
    });
    let text = format!("target: {}\nquery_response: [{{send: 'PASS hunter2'}}, {{expect: ^ok}}]", repeats.await);
    let ran = run(section::<TcpCheck>(&text).build(), Duration::from_millis(400)).await;
    assert!(ran.critical().contains("the last line was \"who is <sent>?\""), "{}", ran.critical());

    let closes = serve(|mut stream| async move {
        let _ = stream.write_all(b"421 busy\n").await;
    });
    let text = format!("target: {}\nquery_response: [{{expect: ^220}}]", closes.await);
    let ran = probe(&text).await;
    assert_eq!(ran.critical(), "the far side ended without \"^220\", the last line was \"421 busy\"");
    assert_eq!(ran.value("probe_failed_due_to_regex"), Some(1.0));

    let half = serve(|mut stream| async move {
        let _ = stream.write_all(b"220 ready").await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    probe(&format!("target: {}\nquery_response: [{{expect: ready, send: x}}]", half.await)).await.ok();

    let mute = serve(|stream| async move {
        tokio::time::sleep(LIMIT).await;
        drop(stream);
    });
    let check: TcpCheck = section(&format!("target: {}\nquery_response: [{{expect: ^220}}]", mute.await));
    let ran = run(check.build(), Duration::from_millis(300)).await;
    assert_eq!(ran.critical(), "connected, then waited for \"^220\": no answer within 300ms");
    assert!(ran.time < LIMIT / 2, "{:?}", ran.time);
    assert_eq!(ran.value("probe_failed_due_to_regex"), Some(0.0));
}

#[tokio::test]
async fn garbage_without_end_is_read_to_the_limit_of_a_line() {
    let address = serve(|mut stream| async move { while stream.write_all(&[0xff; 4096]).await.is_ok() {} });
    let ran = probe(&format!("target: {}\nquery_response: [{{expect: ^220}}]", address.await)).await;
    assert_eq!(ran.critical(), "connected, but what came has no end of a line within 64 KiB");
    // Lines without end, and none is the right one.
    let address = serve(|mut stream| async move { while stream.write_all(b"no\x1b[2J\n").await.is_ok() {} });
    let check: TcpCheck = section(&format!("target: {}\nquery_response: [{{expect: ^220}}]", address.await));
    let ran = run(check.build(), Duration::from_millis(300)).await;
    assert!(ran.critical().contains("the last line was \"no [2J\": no answer within"), "{}", ran.critical());
}

fn trusting(text: &str, authority: &Own) -> Arc<dyn Probe> {
    let mut check: TcpCheck = section(text);
    check.tls_config = TlsConfig { ca: Some(authority.pem.clone()), ..check.tls_config };
    check.build()
}

#[tokio::test]
async fn tls_begins_with_the_connection_or_in_the_middle_of_it() {
    let authority = Own::authority("authority");
    let own = Own::signed_by(&authority, "localhost", (2090, 1, 1));
    let acceptor = own.acceptor(&[], &BOTH);
    let of_start = acceptor.clone();
    let port = serve(move |stream| {
        let acceptor = of_start.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let _ = stream.write_all(b"hello\n").await;
            let _ = stream.shutdown().await;
        }
    });
    let target = format!("target: localhost:{}\npreferred_ip_protocol: ip4\n", port.await.port());
    let ran =
        run(trusting(&format!("{target}tls: true\nquery_response: [{{expect: hello}}]"), &authority), LIMIT).await;
    assert!(ran.ok().starts_with("connected over TLS, and answered"), "{}", ran.ok());
    assert_eq!(ran.value("probe_ssl_earliest_cert_expiry"), Some(3_786_912_000.0));
    assert_eq!(ran.value("probe_ssl_last_chain_expiry_timestamp_seconds"), Some(3_786_912_000.0));
    assert_eq!(ran.value("probe_tls_version_info{version=\"TLS 1.3\"}"), Some(1.0));
    let ran = run(trusting(&format!("{target}tls: true\ncertificate_warning: 100y"), &authority), LIMIT).await;
    assert_eq!(ran.verdict.state, State::Warning, "{}", ran.verdict.summary);

    let expired = Own::signed_by(&authority, "localhost", (2020, 1, 1)).acceptor(&[], &BOTH);
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&said);
    let starts = move |acceptor: tokio_rustls::TlsAcceptor, seen: Arc<Mutex<Vec<String>>>| {
        serve(move |mut stream| {
            let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
            async move {
                // With something that would be taken for said under TLS by who keeps what came before it.
                let _ = stream.write_all(b"220 ready\n").await;
                let mut line = [0; 9];
                let _ = stream.read_exact(&mut line).await;
                seen.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
                let _ = stream.write_all(b"220 go\n").await;
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let _ = stream.write_all(b"safe\n").await;
                let _ = stream.shutdown().await;
            }
        })
    };
    let steps = "query_response: [{expect: ^220, send: STARTTLS}, {expect: go, starttls: true}, {expect: ^safe$}]";
    let port = starts(acceptor, Arc::clone(&seen)).await.port();
    let target = |port| format!("target: localhost:{port}\npreferred_ip_protocol: ip4\n{steps}");
    let ran = run(trusting(&target(port), &authority), LIMIT).await;
    ran.ok();
    assert_eq!(*said.lock().unwrap(), ["STARTTLS\n"]);
    assert!(ran.value("probe_ssl_earliest_cert_expiry").is_some());
    let port = starts(expired, seen).await.port();
    let ran = run(trusting(&target(port), &authority), LIMIT).await;
    assert!(ran.critical().starts_with("the certificate expired "), "{}", ran.critical());
    assert_eq!(ran.value("probe_ssl_earliest_cert_expiry"), Some(1_577_836_800.0));
}

#[test]
fn what_cannot_be_meant_is_said_with_its_place() {
    for (text, fault) in [
        ("tls: true", "c:1:1: a tcp check needs a target"),
        ("target: a.example", "c:1:9: target needs a port"),
        ("target: a:b:c", "c:1:9: expected HOST, HOST:PORT"),
        ("{target: 'a:1', tls: true, query_response: [{starttls: true}]}", "c:1:44: TLS begins once"),
        ("{target: 'a:1', certificate_warning: 1d}", "c:1:38: without tls or a step's starttls"),
        ("{target: 'a:1', query_response: [{}]}", "c:1:34: a step has something to expect"),
        ("{target: 'a:1', query_response: [{expect: a, labels: []}]}", "c:1:46: \"labels\" is a key of blackbox"),
    ] {
        let said = faults::<TcpCheck>(text);
        assert!(said.iter().any(|said| said.starts_with(fault)), "{text}: {said:?}");
    }
}
