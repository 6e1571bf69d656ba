//! The check against servers that do as they should, and against all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::super::net::testing::{Ran, faults, nobody, run, section, serve};
use super::super::tls::testing::{BOTH, Own};
use super::super::verdict::State;
use super::*;
use crate::sinks::TlsConfig;

const LIMIT: Duration = Duration::from_secs(10);

async fn probe(text: &str) -> Ran {
    run(section::<HttpCheck>(text).build(), LIMIT).await
}

/// Reads the head of a request, and the body that it announces.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            break;
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    head + &String::from_utf8_lossy(&body)
}

/// A server that answers every request with these bytes, and closes the connection then.
async fn answers(bytes: impl Into<Vec<u8>>) -> String {
    let bytes = Arc::new(bytes.into());
    let address = serve(move |mut stream| {
        let bytes = Arc::clone(&bytes);
        async move {
            request(&mut stream).await;
            let _ = stream.write_all(&bytes).await;
        }
    });
    format!("http://{}/", address.await)
}

/// A server that answers with what it was asked.
async fn echoes() -> String {
    let address = serve(|mut stream| async move {
        let said = request(&mut stream).await;
        let _ = stream.write_all(ok(&said).as_bytes()).await;
    });
    address.await.to_string()
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

#[tokio::test]
async fn an_answer_as_it_should_be_is_told_with_all_its_figures() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\nhello";
    let ran = probe(&format!("url: {}", answers(answer).await)).await;
    assert!(ran.ok().starts_with("answered 200 OK after "), "{}", ran.ok());
    for (sample, value) in [
        ("probe_http_status_code", 200.0),
        ("probe_http_content_length", 5.0),
        ("probe_http_uncompressed_body_length", 5.0),
        ("probe_http_redirects", 0.0),
        ("probe_http_ssl", 0.0),
        ("probe_http_version", 1.1),
        ("probe_failed_due_to_regex", 0.0),
        ("probe_http_last_modified_timestamp_seconds", 1_445_412_480.0),
        ("probe_ip_protocol", 4.0),
    ] {
        assert_eq!(ran.value(sample), Some(value), "{sample}");
    }
    for phase in ["connect", "processing", "transfer"] {
        let time = ran.value(&format!("probe_http_duration_seconds{{phase=\"{phase}\"}}")).unwrap();
        assert!(time > 0.0 && time < 5.0, "{phase}: {time}");
    }
    assert_eq!(ran.value("probe_http_duration_seconds{phase=\"tls\"}"), Some(0.0));
    assert!(ran.value("probe_http_duration_seconds{phase=\"resolve\"}").is_some());
    assert!(ran.value("probe_dns_lookup_time_seconds").is_some() && ran.value("probe_ip_addr_hash").is_some());
    assert_eq!(ran.value("probe_ssl_earliest_cert_expiry"), None);
}

#[tokio::test]
async fn statuses_and_versions_are_right_where_they_are_named() {
    let down = answers("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
    let ran = probe(&format!("url: {down}")).await;
    assert!(ran.critical().starts_with("answered 503 Service Unavailable after "), "{}", ran.critical());
    assert_eq!(ran.value("probe_http_status_code"), Some(503.0));
    probe(&format!("{{url: '{down}', valid_status_codes: [200, 503]}}")).await.ok();
    let old = answers("HTTP/1.0 200 OK\r\n\r\nbody").await;
    let ran = probe(&format!("{{url: '{old}', valid_http_versions: [HTTP/1.1, HTTP/2]}}")).await;
    assert!(ran.critical().ends_with(", but by HTTP/1.0"), "{}", ran.critical());
    let ran = probe(&format!("{{url: '{old}', valid_http_versions: [HTTP/1.0]}}")).await;
    ran.ok();
    assert_eq!((ran.value("probe_http_version"), ran.value("probe_http_content_length")), (Some(1.0), Some(-1.0)));
    let ran = probe(&format!("{{url: '{old}', fail_if_not_ssl: true}}")).await;
    assert!(ran.critical().ends_with(", but without TLS (fail_if_not_ssl)"));
}

#[tokio::test]
async fn the_request_is_as_it_was_configured() {
    let address = echoes().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("body"), "from a file").unwrap();
    std::fs::write(dir.path().join("token"), "hunter2\n").unwrap();
    let wanted = |seen: &[&str]| {
        let seen: Vec<String> = seen.iter().map(|seen| format!("{seen:?}")).collect();
        format!("fail_if_body_not_matches_regexp: [{}]", seen.join(", "))
    };
    for (config, seen) in [
        (
            format!("url: 'http://{address}/a?b=c#d'"),
            vec!["^GET /a\\?b=c HTTP/1.1", "user-agent: Watchfire/", "accept: "],
        ),
        (format!("url: 'http://me:h%40x@{address}/'"), vec!["authorization: Basic bWU6aEB4"]),
        (
            format!("url: 'http://{address}/'\nmethod: POST\nbody: hello\nheaders: {{Host: a.example, X-Y: z}}"),
            vec!["^POST / ", "host: a.example\\s", "x-y: z", "hello$"],
        ),
        (
            format!("url: 'http://{address}/'\nmethod: PUT\nbody_file: body\nbearer_token_file: token"),
            vec!["^PUT / ", "authorization: Bearer hunter2\\s", "from a file$"],
        ),
        (
            format!("url: 'http://{address}/'\nbasic_auth: {{username: me, password_file: token}}"),
            vec!["authorization: Basic bWU6aHVudGVyMg=="],
        ),
        (
            format!("url: 'http://{address}/'\nauthorization: {{type: Token, credentials: x}}"),
            vec!["authorization: Token x\\s"],
        ),
    ] {
        let mut check: HttpCheck = section(&format!("{config}\n{}", wanted(&seen)));
        check.resolve_paths(dir.path());
        run(check.build(), LIMIT).await.ok();
    }
    let mut check: HttpCheck = section(&format!("url: 'http://{address}/'\nbody_file: missing"));
    check.resolve_paths(dir.path());
    let ran = run(check.build(), LIMIT).await;
    assert_eq!(ran.verdict.state, State::Unknown);
    assert!(ran.verdict.summary.starts_with("cannot read /"), "{}", ran.verdict.summary);
}

#[tokio::test]
async fn what_stands_in_the_answer_is_looked_for() {
    let url = answers("HTTP/1.1 200 OK\r\nX-A: one\r\nX-A: two\r\nContent-Length: 12\r\n\r\nall is well\n").await;
    for (config, problem) in [
        ("fail_if_body_not_matches_regexp: [well]", ""),
        ("fail_if_body_not_matches_regexp: [well, bad]", "the body does not have \"bad\", as it must"),
        ("fail_if_body_matches_regexp: ['(?i)ALL']", "the body has \"(?i)ALL\", as it must not"),
        ("fail_if_header_matches: [{header: x-a, regexp: tw}]", "the header x-a has \"tw\", as it must not"),
        ("fail_if_header_matches: [{header: X-A, regexp: three}]", ""),
        ("fail_if_header_not_matches: [{header: X-A, regexp: ^two$}]", ""),
        ("fail_if_header_not_matches: [{header: X-A, regexp: x}]", "the header X-A does not have \"x\", as it must"),
        ("fail_if_header_not_matches: [{header: X-B, regexp: x}]", "the header X-B is missing"),
        ("fail_if_header_not_matches: [{header: X-B, regexp: x, allow_missing: true}]", ""),
    ] {
        let ran = probe(&format!("url: {url}\n{config}")).await;
        if problem.is_empty() {
            ran.ok();
        } else {
            assert_eq!(ran.critical(), problem);
        }
        let by_regexp = f64::from(u8::from(!problem.is_empty()));
        assert_eq!(ran.value("probe_failed_due_to_regex"), Some(by_regexp), "{config}");
    }
}

#[tokio::test]
async fn who_does_not_answer_is_said_to_do_so_and_how() {
    let address = nobody().await;
    let ran = probe(&format!("url: http://{address}/")).await;
    assert_eq!(ran.critical(), format!("connect to {address}: refused"));
    assert_eq!(ran.value("probe_http_status_code"), Some(0.0));
    assert_eq!(ran.value("probe_ip_protocol"), Some(4.0), "the address is known");

    let closes = serve(|mut stream| async move {
        request(&mut stream).await;
    });
    let ran = probe(&format!("url: http://{}/", closes.await)).await;
    assert_eq!(ran.critical(), "connected, but no answer: the far side closed the connection");

    let half_closes = serve(|mut stream| async move {
        let _ = stream.shutdown().await;
        tokio::time::sleep(LIMIT).await;
    });
    let ran = probe(&format!("url: http://{}/", half_closes.await)).await;
    assert!(ran.critical().starts_with("connected, but no answer: "), "{}", ran.critical());
    assert!(ran.time < LIMIT / 2);

    for garbage in [b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec(), vec![0xff; 100], b"HTTP/1.1 abc\r\n\r\n".to_vec()] {
        let ran = probe(&format!("url: {}", answers(garbage).await)).await;
        assert_eq!(ran.critical(), "connected, but what answers does not speak HTTP");
    }
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(10_000_000));
    probe(&format!("url: {}", answers(long).await)).await.critical();
    let cut = answers("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello").await;
    let ran = probe(&format!("url: {cut}")).await;
    assert!(
        ran.critical().starts_with("answered 200 OK, but its body broke off after 5 bytes: "),
        "{}",
        ran.critical()
    );
    assert_eq!(ran.value("probe_http_uncompressed_body_length"), Some(5.0));
}

#[tokio::test]
async fn a_far_side_that_hangs_is_waited_for_no_longer_than_the_limit() {
    const SHORT: Duration = Duration::from_millis(400);
    let mute = serve(|mut stream| async move {
        request(&mut stream).await;
        tokio::time::sleep(LIMIT).await;
    });
    let mute = mute.await;
    let endless = serve(|mut stream| async move {
        request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello").await;
        tokio::time::sleep(LIMIT).await;
    });
    let endless = endless.await;
    for (url, said) in [
        (format!("http://{mute}/"), format!("connected to {mute}: no answer within 400ms")),
        (
            format!("http://{endless}/"),
            "answered 200 OK, but of its body, 5 bytes came and no end: no answer within 400ms".to_string(),
        ),
    ] {
        let ran = run(section::<HttpCheck>(&format!("url: {url}")).build(), SHORT).await;
        assert_eq!(ran.critical(), said);
        assert!(ran.time < LIMIT / 2, "{:?}", ran.time);
    }
    // One who does not even take the handshake.
    let silent = serve(|stream| async move {
        tokio::time::sleep(LIMIT).await;
        drop(stream);
    });
    let ran = run(section::<HttpCheck>(&format!("url: https://{}/", silent.await)).build(), SHORT).await;
    assert_eq!(ran.critical(), "TLS with 127.0.0.1: no answer within 400ms");
}

#[tokio::test]
async fn a_body_without_end_is_read_to_the_limit_only() {
    let address = serve(|mut stream| async move {
        request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'x'; 65536]).await.is_ok() {}
    });
    let url = format!("http://{}/", address.await);
    let ran = probe(&format!("{{url: '{url}', body_size_limit: 1MB}}")).await;
    assert_eq!(ran.critical(), "answered 200 OK, but its body is longer than 1 MiB (body_size_limit)");
    let read = ran.value("probe_http_uncompressed_body_length").unwrap();
    assert!((1_048_576.0..3_000_000.0).contains(&read), "{read}");
}

#[tokio::test]
async fn redirects_are_followed_and_counted_and_have_an_end() {
    let last = answers(ok("here")).await;
    let first = answers(redirect(&last)).await;
    let ran = probe(&format!("{{url: '{first}', fail_if_body_not_matches_regexp: [here]}}")).await;
    assert!(ran.ok().ends_with(" and a redirect"), "{}", ran.ok());
    assert_eq!(ran.value("probe_http_redirects"), Some(1.0));
    let ran = probe(&format!("{{url: '{first}', follow_redirects: false}}")).await;
    assert!(ran.critical().starts_with("answered 302 Found after "), "{}", ran.critical());
    probe(&format!("{{url: '{first}', follow_redirects: false, valid_status_codes: [302]}}")).await.ok();
    let around = answers(redirect("/again?token=hunter2")).await;
    let ran = probe(&format!("url: {around}")).await;
    let host = around.trim_start_matches("http://").trim_end_matches('/');
    assert_eq!(ran.critical(), format!("redirected more than 10 times, the last time to {host}"));
    assert_eq!(ran.value("probe_http_redirects"), Some(11.0));
    let away = answers(redirect("ftp://hunter2/")).await;
    let ran = probe(&format!("url: {away}")).await;
    assert_eq!(ran.critical(), "answered 302 Found, to what is not an http URL");
    let ran = probe(&format!("url: {}", answers("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n").await)).await;
    assert!(ran.critical().starts_with("answered 302 Found after "), "without a place to go");
}

#[tokio::test]
async fn what_is_for_one_host_is_not_sent_to_another() {
    let other = echoes().await.replace("127.0.0.1", "localhost");
    let url = answers(redirect(&format!("http://{other}/"))).await;
    let secrets = "bearer_token: hunter2\nheaders: {X-Key: hunter3}\nfail_if_body_matches_regexp: [hunter]";
    probe(&format!("url: {url}\npreferred_ip_protocol: ip4\n{secrets}")).await.ok();
    let same = other.replace("localhost", "127.0.0.1");
    let url = answers(redirect(&format!("http://{same}/"))).await;
    let secrets =
        "bearer_token: hunter2\nheaders: {X-Key: hunter3}\nfail_if_body_not_matches_regexp: [hunter2, hunter3]";
    probe(&format!("url: {url}\n{secrets}")).await.ok();
}

#[tokio::test]
async fn a_page_that_waits_for_its_cookie_gets_it_and_a_form_is_posted_once() {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    let address = serve(move |mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            let request = request(&mut stream).await;
            let first = seen.fetch_add(1, Ordering::Relaxed) == 0;
            assert_eq!(request.starts_with("POST "), first, "{request}");
            let answer = match request.contains("cookie: id=7") {
                true => ok(&request),
                false => redirect("/").replace("\r\nContent", "\r\nSet-Cookie: id=7; Path=/\r\nContent"),
            };
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    probe(&format!("url: http://{}/\nmethod: POST\nbody: x", address.await)).await.ok();
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

/// An HTTPS server that answers `hello`, by HTTP/2 where that is agreed on.
async fn https(own: &Own, protocols: &[&[u8]]) -> String {
    let acceptor = own.acceptor(protocols, &BOTH);
    let address = serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                let io = hyper_util::rt::TokioIo::new(stream);
                let executor = hyper_util::rt::TokioExecutor::new();
                let answer = |request: hyper::Request<hyper::body::Incoming>| async move {
                    let body = format!("hello {}", request.uri());
                    Ok::<_, std::convert::Infallible>(hyper::Response::new(http_body_util::Full::<bytes::Bytes>::from(
                        body,
                    )))
                };
                let service = hyper::service::service_fn(answer);
                let _ = hyper::server::conn::http2::Builder::new(executor).serve_connection(io, service).await;
                return;
            }
            request(&mut stream).await;
            let _ = stream.write_all(ok("hello").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    format!("https://localhost:{}/", address.await.port())
}

/// Trusts an authority, at an address of IPv4.
fn trusting(url: &str, authority: &Own, more: &str) -> Arc<dyn Probe> {
    let mut check: HttpCheck = section(&format!("url: {url}\npreferred_ip_protocol: ip4\n{more}"));
    check.tls_config = TlsConfig { ca: Some(authority.pem.clone()), ..check.tls_config };
    check.build()
}

#[tokio::test]
async fn over_tls_the_certificates_and_the_version_are_told() {
    let authority = Own::authority("authority");
    let url = https(&Own::signed_by(&authority, "localhost", (2090, 1, 2)), &[b"h2", b"http/1.1"]).await;
    let ran = run(trusting(&url, &authority, "valid_http_versions: [HTTP/2.0]"), LIMIT).await;
    ran.ok();
    let ends = 3_786_998_400.0;
    assert_eq!(ran.value("probe_ssl_earliest_cert_expiry"), Some(ends));
    assert_eq!(ran.value("probe_ssl_last_chain_expiry_timestamp_seconds"), Some(ends));
    assert_eq!(ran.value("probe_tls_version_info{version=\"TLS 1.3\"}"), Some(1.0));
    assert!(ran.lines.iter().any(|line| line.starts_with("probe_tls_cipher_info{cipher=\"TLS_")), "{:?}", ran.lines);
    assert_eq!((ran.value("probe_http_ssl"), ran.value("probe_http_version")), (Some(1.0), Some(2.0)));
    assert!(ran.value("probe_http_duration_seconds{phase=\"tls\"}").unwrap() > 0.0);
    let old = "enable_http2: false\ntls_config: {max_version: TLS12}\nvalid_http_versions: [HTTP/1.1]";
    let ran = run(trusting(&url, &authority, old), LIMIT).await;
    ran.ok();
    assert_eq!(ran.value("probe_tls_version_info{version=\"TLS 1.2\"}"), Some(1.0));
    let ran = run(trusting(&url, &authority, "fail_if_ssl: true"), LIMIT).await;
    assert!(ran.critical().ends_with(", but over TLS (fail_if_ssl)"));
    let ran = run(trusting(&url, &authority, "certificate_warning: 100y"), LIMIT).await;
    assert_eq!(ran.verdict.state, State::Warning);
    assert!(ran.verdict.summary.starts_with("the certificate expires in "), "{}", ran.verdict.summary);
    assert!(ran.verdict.summary.ends_with(" days"), "{}", ran.verdict.summary);
    let from_plain = answers(redirect(&url)).await;
    let ran = run(trusting(&from_plain, &authority, "fail_if_not_ssl: true"), LIMIT).await;
    ran.ok();
}

#[tokio::test]
async fn certificates_that_are_refused_are_told_nevertheless() {
    let authority = Own::authority("authority");
    let expired = https(&Own::signed_by(&authority, "localhost", (2020, 1, 1)), &[]).await;
    let ran = run(trusting(&expired, &authority, ""), LIMIT).await;
    assert!(ran.critical().starts_with("the certificate expired ") && ran.critical().ends_with(" days ago"));
    assert_eq!(ran.value("probe_ssl_earliest_cert_expiry"), Some(1_577_836_800.0));
    assert_eq!(ran.value("probe_ssl_last_chain_expiry_timestamp_seconds"), None);
    let anything = "tls_config: {insecure_skip_verify: true}";
    let ran = run(trusting(&expired, &authority, anything), LIMIT).await;
    ran.ok();
    assert_eq!(ran.value("probe_ssl_earliest_cert_expiry"), Some(1_577_836_800.0));
    assert_eq!(ran.value("probe_ssl_last_chain_expiry_timestamp_seconds"), None, "nobody has checked it");
    let ran = run(trusting(&expired, &authority, &format!("{anything}\ncertificate_warning: 1d")), LIMIT).await;
    assert!(ran.critical().starts_with("the certificate expired "));

    let elsewhere = https(&Own::signed_by(&authority, "elsewhere.example", (2090, 1, 1)), &[]).await;
    let ran = run(trusting(&elsewhere, &authority, ""), LIMIT).await;
    assert_eq!(ran.critical(), "the certificate is not for localhost, but for elsewhere.example");
    assert!(ran.value("probe_ssl_earliest_cert_expiry").is_some());
    run(trusting(&elsewhere, &authority, "tls_config: {server_name: elsewhere.example}"), LIMIT).await.ok();

    let ran = run(trusting(&elsewhere, &Own::authority("another"), ""), LIMIT).await;
    assert_eq!(ran.critical(), "the certificate is signed by nobody who is trusted");

    let plain = serve(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    let ran = run(trusting(&format!("https://{}/", plain.await), &authority, ""), LIMIT).await;
    assert_eq!(ran.critical(), "what answers does not speak TLS");
    assert_eq!(ran.value("probe_http_ssl"), Some(0.0));
}

#[tokio::test]
async fn a_probe_that_is_dropped_leaves_no_connection() {
    let authority = Own::authority("authority");
    let own = Own::signed_by(&authority, "localhost", (2090, 1, 1));
    let (acceptor, open) = (own.acceptor(&[b"h2"], &BOTH), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&open);
    let address = serve(move |stream| {
        let (acceptor, counter) = (acceptor.clone(), Arc::clone(&counter));
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            counter.fetch_add(1, Ordering::Relaxed);
            // It takes requests and never answers, until the other side closes.
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
            counter.fetch_sub(1, Ordering::Relaxed);
        }
    });
    let probe = trusting(&format!("https://localhost:{}/", address.await.port()), &authority, "");
    for _ in 0..5 {
        let mut families = Families::new(Arc::default());
        let probing = probe.probe(LIMIT, &mut families);
        assert!(tokio::time::timeout(Duration::from_millis(200), probing).await.is_err());
    }
    for _ in 0..500 {
        if open.load(Ordering::Relaxed) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} connections are still open", open.load(Ordering::Relaxed));
}

#[test]
fn what_cannot_be_meant_is_said_with_its_place() {
    for (text, fault) in [
        ("method: GET", "c:1:1: an http check needs a url"),
        ("url: ftp://hunter2/", "c:1:6: not an http or https URL"),
        ("{url: 'http://a/', method: 'G T'}", "c:1:28: \"G T\" is no method"),
        ("{url: 'http://a/', headers: {'a b': c}}", "c:1:30: \"a b\" cannot be the name of a header"),
        (
            "{url: 'http://a/', headers: {Content-Length: 1}}",
            "c:1:30: the header \"Content-Length\" cannot be set here",
        ),
        ("{url: 'http://a/', body: a, body_file: b}", "c:1:40: body and body_file exclude each other"),
        ("{url: 'http://a/', valid_status_codes: [200, 2000]}", "c:1:46: 2000 is no status"),
        (
            "{url: 'http://a/', valid_http_versions: [HTTP/1.2]}",
            "c:1:42: there is no version \"HTTP/1.2\": did you mean",
        ),
        ("{url: 'http://a/', fail_if_ssl: true, fail_if_not_ssl: true}", "c:1:56: fail_if_ssl and fail_if_not_ssl"),
        (
            "{url: 'http://a/', basic_auth: {username: a}, bearer_token: b}",
            "c:1:1: basic_auth and bearer_token exclude",
        ),
        ("{url: 'http://a/', fail_if_body_matches_regexp: ['(']}", "c:1:50: not a regular expression"),
        ("{url: 'http://a/', fail_if_header_matches: [{header: a}]}", "c:1:45: a match needs a regexp"),
        ("{url: 'http://a/', proxy_url: b}", "c:1:20: \"proxy_url\" is a key of blackbox_exporter's that"),
        ("{url: 'http://a/', body_size_limit: much}", "c:1:37: expected a number of bytes"),
        ("{url: 'http://a/', preferred_ip_protocol: ip5}", "c:1:43: expected ip4 or ip6"),
    ] {
        let said = faults::<HttpCheck>(text);
        assert!(said.iter().any(|said| said.starts_with(fault)), "{text}: {said:?}");
        assert!(!said.join("").contains("hunter"));
    }
}
