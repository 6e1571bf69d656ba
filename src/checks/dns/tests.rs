//! The check against name servers of its own, and the reading of messages.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use super::super::net::testing::{Ran, faults, nobody, run, section, serve};
use super::super::tls::testing::{BOTH, Own};
use super::super::verdict::State;
use super::message::{Other, Question};
use super::*;
use crate::fuzz::Fuzz;
use crate::sinks::TlsConfig;

const LIMIT: Duration = Duration::from_secs(10);

async fn probe(text: &str) -> Ran {
    run(section::<DnsCheck>(text).build(), LIMIT).await
}

/// A record whose name is that of the question: type, time to live, data.
fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut record = vec![0xc0, 12];
    record.extend(kind.to_be_bytes());
    record.extend(1_u16.to_be_bytes());
    record.extend(300_u32.to_be_bytes());
    record.extend((data.len() as u16).to_be_bytes());
    record.extend(data);
    record
}

/// An answer to a question: flags beside that it is one, and the records of each part.
fn answer(question: &[u8], flags: u16, parts: [&[Vec<u8>]; 3]) -> Vec<u8> {
    let mut message = question.to_vec();
    message[2..4].copy_from_slice(&(0x8000 | flags).to_be_bytes());
    for (number, part) in parts.iter().enumerate() {
        message[6 + 2 * number..8 + 2 * number].copy_from_slice(&(part.len() as u16).to_be_bytes());
        message.extend(part.concat());
    }
    message
}

/// A server that answers each question with these messages.
async fn server(answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1024];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            for message in answers(&buffer[..length]) {
                let _ = socket.send_to(&message, from).await;
            }
        }
    });
    address
}

fn two_addresses(question: &[u8]) -> Vec<u8> {
    answer(
        question,
        0x0180,
        [&[record(1, &[192, 0, 2, 1]), record(1, &[192, 0, 2, 2])], &[record(2, &[0xc0, 12])], &[]],
    )
}

#[tokio::test]
async fn an_answer_as_it_should_be_is_told_with_all_its_figures() {
    let address = server(|question| vec![two_addresses(question)]).await;
    let ran = probe(&format!("target: {address}\nquery_name: www.example.org")).await;
    assert!(ran.ok().starts_with(&format!("{address} answered NOERROR with 2 records after ")), "{}", ran.ok());
    for (sample, value) in [
        ("probe_dns_answer_rrs", 2.0),
        ("probe_dns_authority_rrs", 1.0),
        ("probe_dns_additional_rrs", 0.0),
        ("probe_dns_query_succeeded", 1.0),
        ("probe_ip_protocol", 4.0),
    ] {
        assert_eq!(ran.value(sample), Some(value), "{sample}");
    }
    assert!(ran.value("probe_dns_duration_seconds{phase=\"request\"}").unwrap() > 0.0);
    assert!(ran.value("probe_dns_duration_seconds{phase=\"connect\"}").unwrap() > 0.0);
    assert!(ran.value("probe_dns_duration_seconds{phase=\"resolve\"}").is_some());
    assert_eq!(ran.value("probe_dns_serial"), None);
}

#[tokio::test]
async fn the_start_of_a_zone_has_its_serial_number() {
    let address = server(|question| {
        let mut data = b"\x02ns\xc0\x0c\x05admin\xc0\x0c".to_vec();
        for number in [2_026_112_601_u32, 7200, 3600, 1_209_600, 300] {
            data.extend(number.to_be_bytes());
        }
        vec![answer(question, 0, [&[record(6, &data)], &[], &[]])]
    });
    let check = "query_name: example.org\nquery_type: SOA\nvalidate_answer_rrs: {fail_if_not_matches_regexp: \
                 ['SOA\\tns\\.example\\.org\\. admin\\.example\\.org\\. 2026112601 7200 3600 1209600 300$']}";
    let ran = probe(&format!("target: {}\n{check}", address.await)).await;
    ran.ok();
    assert_eq!(ran.value("probe_dns_serial"), Some(2_026_112_601.0));
}

#[tokio::test]
async fn codes_and_records_are_held_against_what_they_must_be() {
    let address = server(|question| vec![answer(question, 3, [&[], &[], &[]])]).await;
    let target = format!("target: {address}\nquery_name: no.example.org");
    let ran = probe(&target).await;
    assert!(ran.critical().starts_with(&format!("{address} answered NXDOMAIN with 0 records after ")));
    assert_eq!(ran.value("probe_dns_query_succeeded"), Some(1.0));
    probe(&format!("{target}\nvalid_rcodes: [NXDOMAIN]")).await.ok();
    let wanted = "valid_rcodes: [NXDOMAIN]\nvalidate_answer_rrs: {fail_if_none_matches_regexp: [a]}";
    let ran = probe(&format!("{target}\n{wanted}")).await;
    assert_eq!(ran.critical(), "the answer has no record, so none with \"a\", as it must");

    let address = server(|question| vec![two_addresses(question)]).await;
    for (rule, problem) in [
        ("fail_if_matches_regexp: ['192\\.0\\.2\\.9']", ""),
        (
            "fail_if_matches_regexp: ['192\\.0\\.2\\.2']",
            "the answer has \"192\\\\.0\\\\.2\\\\.2\" in \"a.example. 300 IN A 192.0.2.2\", as it must not",
        ),
        ("fail_if_all_match_regexp: ['\\.1$']", ""),
        (
            "fail_if_all_match_regexp: [192, 300]",
            "the answer has \"192\", \"300\" in all of its records, as it must not",
        ),
        ("fail_if_not_matches_regexp: ['^a\\.example\\.\\t300\\tIN\\tA\\t192']", ""),
        (
            "fail_if_not_matches_regexp: ['\\.1$']",
            "the answer has no \"\\\\.1$\" in \"a.example. 300 IN A 192.0.2.2\", as it must",
        ),
        ("fail_if_none_matches_regexp: ['\\.1$']", ""),
        ("fail_if_none_matches_regexp: [q, z]", "the answer has \"q\", \"z\" in none of its records, as it must"),
    ] {
        let check = format!("target: {address}\nquery_name: a.example\nvalidate_answer_rrs: {{{rule}}}");
        let ran = probe(&check).await;
        if problem.is_empty() {
            ran.ok();
        } else {
            assert_eq!(ran.critical(), problem);
        }
    }
    let check = "query_name: a.example\nvalidate_authority_rrs: {fail_if_matches_regexp: [NS]}";
    let ran = probe(&format!("target: {address}\n{check}")).await;
    assert!(ran.critical().starts_with("the authority section has \"NS\" in "), "{}", ran.critical());
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_told_from_one_that_answers_nonsense() {
    const SHORT: Duration = Duration::from_millis(300);
    let short = async |address: SocketAddr| {
        run(section::<DnsCheck>(&format!("target: {address}\nquery_name: a.example")).build(), SHORT).await
    };
    let address = server(|_| Vec::new()).await;
    let ran = short(address).await;
    assert_eq!(ran.critical(), format!("asked {address}: no answer within 300ms"));
    assert_eq!(ran.value("probe_dns_query_succeeded"), Some(0.0));
    assert!(ran.time < LIMIT / 2, "{:?}", ran.time);
    let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let ran = short(gone).await;
    assert_eq!(ran.critical(), format!("asked {gone}: refused"));
    // Others' answers, and answers to other questions, are none; the right one may still come behind them.
    let strange = |question: &[u8]| {
        let mut other = two_addresses(question);
        other[0] ^= 1;
        let mut another = two_addresses(question);
        another[13] = b'b';
        vec![b"nonsense".to_vec(), question.to_vec(), other, another]
    };
    let address = server(move |question| strange(question)).await;
    let ran = short(address).await;
    let said = format!("asked {address}: no answer within 300ms, but 4 messages that are none");
    assert_eq!(ran.critical(), said);
    let address = server(move |question| [strange(question), vec![two_addresses(question)]].concat()).await;
    short(address).await.ok();
    let address = server(|question| {
        let mut cut = two_addresses(question);
        cut.truncate(cut.len() - 1);
        vec![cut]
    });
    let address = address.await;
    let ran = short(address).await;
    assert_eq!(ran.critical(), format!("what {address} answered is malformed"));
    let address = server(|question| vec![answer(question, 0x0200, [&[record(1, &[192, 0, 2, 1])], &[], &[]])]).await;
    let ran = short(address).await;
    assert!(ran.ok().contains("with 1 record, cut off after"));
}

#[tokio::test]
async fn by_tcp_and_over_tls_it_is_the_same_question() {
    let over_tcp = serve(|mut stream| async move {
        let length = stream.read_u16().await.unwrap();
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await.unwrap();
        let answer = two_addresses(&question);
        stream.write_all(&(answer.len() as u16).to_be_bytes()).await.unwrap();
        stream.write_all(&answer).await.unwrap();
    });
    let target = format!("target: {}\nquery_name: a.example\ntransport_protocol: tcp", over_tcp.await);
    probe(&target).await.ok();

    let half = serve(|mut stream| async move {
        let _ = stream.read_u16().await;
        let _ = stream.write_all(&[0, 100, 1, 2]).await;
    });
    let half = half.await;
    let ran = probe(&format!("target: {half}\nquery_name: a.example\ntransport_protocol: tcp")).await;
    assert!(ran.critical().starts_with(&format!("asked {half}: the connection was ")), "{}", ran.critical());
    let address = nobody().await;
    let ran = probe(&format!("target: {address}\nquery_name: a.example\ntransport_protocol: tcp")).await;
    assert_eq!(ran.critical(), format!("connect to {address}: refused"));

    let authority = Own::authority("authority");
    let acceptor = Own::signed_by(&authority, "localhost", (2090, 1, 1)).acceptor(&[b"dot"], &BOTH);
    let over_tls = serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let length = stream.read_u16().await.unwrap();
            let mut question = vec![0; usize::from(length)];
            stream.read_exact(&mut question).await.unwrap();
            let answer = two_addresses(&question);
            stream.write_all(&[&(answer.len() as u16).to_be_bytes(), answer.as_slice()].concat()).await.unwrap();
            stream.flush().await.unwrap();
        }
    });
    let mut check: DnsCheck = section(&format!(
        "target: localhost:{}\npreferred_ip_protocol: ip4\nquery_name: a.example\ntransport_protocol: tcp\ndns_over_tls: true",
        over_tls.await.port()
    ));
    check.tls_config = TlsConfig { ca: Some(authority.pem.clone()), ..TlsConfig::default() };
    let ran = run(check.build(), LIMIT).await;
    ran.ok();
    assert_eq!(ran.value("probe_ssl_earliest_cert_expiry"), Some(3_786_912_000.0));
}

#[tokio::test]
async fn without_a_target_the_server_of_this_hosts_resolver_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let resolver = dir.path().join("resolv.conf");
    let server = async |text: Option<&str>| {
        if let Some(text) = text {
            std::fs::write(&resolver, text).unwrap();
        }
        let config: DnsCheck = section("query_name: a.example");
        DnsProbe { config, resolver: resolver.clone() }.server_of_this_host().await.unwrap().host
    };
    assert_eq!(server(None).await, "127.0.0.1");
    let text = "# nameserver 192.0.2.9\nsearch example.org\nnameserver nonsense\nnameserver  2001:db8::53 \nnameserver 192.0.2.2";
    assert_eq!(server(Some(text)).await, "2001:db8::53");
    assert_eq!(server(Some("search example.org\n")).await, "127.0.0.1");
    let check: DnsCheck = section("query_name: a.example");
    let probe: Arc<dyn Probe> = Arc::new(DnsProbe { config: check, resolver: dir.path().into() });
    let ran = run(probe, LIMIT).await;
    assert_eq!(ran.verdict.state, State::Unknown);
    assert!(ran.verdict.summary.starts_with("cannot read /"), "{}", ran.verdict.summary);
}

/// A question, and an answer to it with a record of each kind that is written in its own way.
fn example() -> (Question, Vec<u8>) {
    let question = Question::new("a.example", 255, 1).unwrap();
    let records = [
        record(28, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        record(5, b"\x03w.w\xc0\x0e"),
        record(15, b"\x00\x0a\x04mail\xc0\x0c"),
        record(16, b"\x05a \"b\\\x02\x01\xff"),
        record(33, b"\x00\x01\x00\x02\x01\xbb\x00"),
        record(257, b"\x00\x05issueca.example"),
        record(43, b"\x12\x34\x08\x02\xab\xcd"),
        record(48, b"\x01\x01\x03\x08key"),
        record(52, b"\x03\x01\x01\xab\xcd"),
        record(44, b"\x01\x02\xab\xcd"),
        record(999, b"\x01\x02"),
        record(998, b""),
    ];
    let message = question.message(7, true);
    (question, answer(&message, 0, [&records, &[], &[]]))
}

#[test]
fn records_are_written_as_in_zone_files() {
    let (question, message) = example();
    let response = Response::parse(&message, 7, &question).unwrap();
    let texts: Vec<&str> =
        response.answers.iter().map(|record| record.text.strip_prefix("a.example.\t300\tIN\t").unwrap()).collect();
    assert_eq!(
        texts,
        [
            "AAAA\t2001:db8::1",
            "CNAME\tw\\.w.example.",
            "MX\t10 mail.a.example.",
            "TXT\t\"a \\\"b\\\\\" \"\\001\\255\"",
            "SRV\t1 2 443 .",
            "CAA\t0 issue \"ca.example\"",
            "DS\t4660 8 2 ABCD",
            "DNSKEY\t257 3 8 a2V5",
            "TLSA\t3 1 1 abcd",
            "SSHFP\t1 2 ABCD",
            "TYPE999\t\\# 2 0102",
            "TYPE998\t\\# 0",
        ]
    );
}

#[test]
fn names_go_over_the_wire_as_labels() {
    let wire = |name: &str| Question::new(name, 1, 1).map(|question| question.name);
    assert_eq!(wire("a.example").as_deref(), Some(b"\x01a\x07example\0".as_slice()));
    assert_eq!(wire("a.example."), wire("a.example"));
    assert_eq!(wire(".").as_deref(), Some(b"\0".as_slice()));
    for name in ["a..b", ".a", &"x".repeat(64), &"abcdefg.".repeat(33)] {
        assert_eq!(wire(name), None, "{name}");
    }
    let check: DnsCheck = section("query_name: bücher.example");
    assert_eq!(check.question().unwrap().name, b"\x0dxn--bcher-kva\x07example\0");
}

#[test]
fn a_name_that_leads_to_itself_or_to_the_back_is_malformed() {
    let question = Question::new("a.example", 1, 1).unwrap();
    let message = question.message(7, true);
    for pointer in [[0xc0, 27], [0xc0, 40], [0xff, 0xff], [0x80, 0]] {
        let mut bad = record(1, &[192, 0, 2, 1]);
        bad[..2].copy_from_slice(&pointer);
        let bad = answer(&message, 0, [&[bad], &[], &[]]);
        assert_eq!(Response::parse(&bad, 7, &question).unwrap_err(), Other::Malformed, "{pointer:?}");
    }
}

#[test]
fn no_message_makes_it_panic() {
    let (question, message) = example();
    Fuzz::of(&[message, two_addresses(&question.message(7, true))]).bytes(|bytes| {
        let _ = Response::parse(bytes, 7, &question);
        // With the header of an answer, so that more of them are read.
        let mut answer = bytes.to_vec();
        if let Some(head) = answer.first_chunk_mut::<6>() {
            *head = [0, 7, 0x80, 0, 0, 0];
        }
        let _ = Response::parse(&answer, 7, &question);
    });
}

#[test]
fn what_cannot_be_meant_is_said_with_its_place() {
    for (text, fault) in [
        ("query_type: A", "c:1:1: a dns check needs a query_name"),
        ("query_name: a..b", "c:1:13: query_name is no name"),
        ("{query_name: a, query_type: AAAB}", "c:1:29: there is no type \"AAAB\": did you mean AAAA?"),
        ("{query_name: a, query_class: INN}", "c:1:30: there is no class \"INN\""),
        ("{query_name: a, valid_rcodes: [NOEROR]}", "c:1:32: there is no code \"NOEROR\": did you mean NOERROR?"),
        ("{query_name: a, transport_protocol: sctp}", "c:1:37: transport_protocol is udp or tcp"),
        ("{query_name: a, dns_over_tls: true}", "c:1:31: dns_over_tls goes by TCP"),
        ("{query_name: a, certificate_warning: 1d}", "c:1:38: without dns_over_tls"),
    ] {
        let said = faults::<DnsCheck>(text);
        assert!(said.iter().any(|said| said.starts_with(fault)), "{text}: {said:?}");
    }
    let check: DnsCheck = section("{query_name: a, query_type: TYPE65280, query_class: CH}");
    assert_eq!(check.question().map(|question| (question.kind, question.class)), Some((65280, 3)));
}
