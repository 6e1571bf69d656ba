//! Messages to sockets of this process, and to a real rsyslog and a real journal.

use std::net::TcpListener as Free;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::super::journald;
use super::super::notification::tests::example;
use super::super::testing::{Process, certificates, context, eventually, missing};
use super::*;
use crate::model::Labels;
use crate::yaml::Document;

fn read(yaml: &str) -> (SyslogConfig, String) {
    let mut faults = Faults::default();
    let config = Document::parse("syslog.yml", yaml, &mut faults).read(&mut faults);
    (config, faults.to_string())
}

fn sink(yaml: &str) -> Arc<dyn Sink> {
    let (config, faults) = read(&format!("message: 'Platz läuft aus'\n{yaml}"));
    assert_eq!(faults, "");
    config.build(&context())
}

#[tokio::test]
async fn a_message_over_udp_is_of_rfc_5424() {
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut n = example();
    n.alerts[0].labels =
        Labels::from_pairs([("alertname", "Disk full"), ("severity", "a\"b\\c]d\ne"), ("instance", "h:1")]);
    let address = format!("address: udp://{}\nfacility: local3\n", receiver.local_addr().unwrap());
    let answer = sink(&address).deliver(&n).await.unwrap().answer;
    assert!(answer.starts_with("sent to udp://127.0.0.1:"), "{answer}");
    let mut buffer = [0; 4096];
    let length = receiver.recv(&mut buffer).await.unwrap();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let expected = format!(
        "<156>1 2023-11-14T22:14:20Z {host} watchfire {} Diskfull [watchfire@32473 alertname=\"Disk full\" \
         status=\"firing\" severity=\"a\\\"b\\\\c\\]d e\" instance=\"h:1\" value=\"0.97\" receiver=\"ops.team\" \
         fingerprint=\"{}\" id=\"s-7\"] Platz läuft aus",
        std::process::id(),
        n.alerts[0].fingerprint()
    );
    assert_eq!(std::str::from_utf8(&buffer[..length]).unwrap(), expected);
    let length = receiver.recv(&mut buffer).await.unwrap();
    // A notice of the facility: it is over.
    assert!(buffer[..length].starts_with(b"<157>1 "));
}

#[tokio::test]
async fn a_long_message_is_cut_where_a_receiver_would_and_has_no_line_breaks() {
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = receiver.local_addr().unwrap();
    let (mut config, _) = read(&format!("address: udp://{address}\n"));
    config.message = Text::new(format!("one\ntwo{}", "ü".repeat(5000)));
    config.build(&context()).deliver(&example()).await.unwrap();
    let mut buffer = [0; 9000];
    let length = receiver.recv(&mut buffer).await.unwrap();
    let text = std::str::from_utf8(&buffer[..length]).unwrap();
    assert!((2047..=2048).contains(&length) && text.contains("] one twoüü"), "{length}: {text}");
}

#[tokio::test]
async fn each_message_is_of_its_own_alert_by_default() {
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (config, _) = read(&format!("address: udp://{}\n", receiver.local_addr().unwrap()));
    let mut n = example();
    n.alerts[1].annotations = Labels::from_pairs([("summary", "the other disk")]);
    config.build(&context()).deliver(&n).await.unwrap();
    for (summary, not) in [("disk <full>", "the other disk"), ("the other disk", "disk <full>")] {
        let mut buffer = [0; 4096];
        let length = receiver.recv(&mut buffer).await.unwrap();
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        assert!(text.contains(summary) && !text.contains(not), "{text}");
    }
}

#[tokio::test]
async fn without_a_receiver_it_is_tried_again() {
    let port = Free::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for address in [format!("tcp://127.0.0.1:{port}"), "unix:///no/such/log".to_string()] {
        let error = sink(&format!("address: {address}\n")).deliver(&example()).await.unwrap_err();
        assert!(error.retry && error.message.starts_with(&format!("cannot send to {address}: ")), "{error:?}");
    }
}

/// Takes octet-counted messages apart.
fn frames(mut bytes: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(space) = bytes.iter().position(|b| *b == b' ') {
        let length: usize = std::str::from_utf8(&bytes[..space]).unwrap().parse().unwrap();
        all.push(String::from_utf8(bytes[space + 1..][..length].to_vec()).unwrap());
        bytes = &bytes[space + 1 + length..];
    }
    all
}

#[tokio::test]
async fn over_tls_the_receivers_certificate_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let chain = CertificateDer::pem_file_iter(dir.path().join("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(dir.path().join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let server = server.with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("address: tls://localhost:{}\n", listener.local_addr().unwrap().port());
    let received = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            return all;
        }
    });
    let error = sink(&address).deliver(&example()).await.unwrap_err();
    assert!(error.retry && error.message.contains("TLS failed: invalid peer certificate"), "{error:?}");
    let ca = dir.path().join("ca.pem").display().to_string();
    sink(&format!("{address}tls_config: {{ca_file: {ca}}}\n")).deliver(&example()).await.unwrap();
    let frames = frames(&received.await.unwrap());
    assert_eq!(frames.len(), 2);
    assert!(frames.iter().all(|frame| frame.starts_with("<2") && frame.ends_with("] Platz läuft aus")), "{frames:?}");
}

/// An rsyslog that writes what it has understood as JSON lines.
struct Rsyslog {
    dir: tempfile::TempDir,
    port: u16,
    _process: Process,
}

impl Rsyslog {
    fn start() -> Option<Rsyslog> {
        let program = ["/usr/sbin/rsyslogd", "/usr/bin/rsyslogd"].into_iter().find(|p| Path::new(p).exists());
        let Some(program) = program else {
            missing("rsyslog");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let port = Free::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let properties = [
            "app-name",
            "procid",
            "msgid",
            "msg",
            "hostname",
            "structured-data",
            "syslogseverity-text",
            "inputname",
            "syslogfacility-text",
            "protocol-version",
            "timegenerated",
            "programname",
        ];
        let template: String =
            properties.iter().map(|p| format!("property(outname=\"{p}\" name=\"{p}\" format=\"jsonf\")\n")).collect();
        let config = format!(
            "module(load=\"imuxsock\" SysSock.Use=\"off\")\nmodule(load=\"imudp\")\nmodule(load=\"imtcp\")\n\
             template(name=\"t\" type=\"list\" option.jsonf=\"on\") {{\n{template}}}\n\
             input(type=\"imuxsock\" Socket=\"{at}/log\")\n\
             input(type=\"imudp\" address=\"127.0.0.1\" port=\"{port}\")\n\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")\n\
             action(type=\"omfile\" file=\"{at}/out\" template=\"t\")\n"
        );
        std::fs::write(dir.path().join("conf"), config).unwrap();
        let arguments = ["-n", "-f", &format!("{at}/conf"), "-i", &format!("{at}/pid")].map(String::from);
        let errors = std::fs::File::create(dir.path().join("errors")).unwrap();
        let child = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(errors).spawn().unwrap();
        let rsyslog = Rsyslog { dir, port, _process: Process(child) };
        eventually("rsyslog listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Some(rsyslog)
    }

    fn messages(&self, count: usize) -> Vec<Value> {
        eventually("rsyslog has written", || {
            let text = std::fs::read_to_string(self.dir.path().join("out")).unwrap_or_default();
            let ours: Vec<Value> = text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .filter(|message: &Value| message["programname"] == "watchfire")
                .collect();
            (ours.len() >= count).then_some(ours)
        })
    }
}

#[tokio::test]
async fn rsyslog_understands_every_format() {
    let Some(rsyslog) = Rsyslog::start() else { return };
    let socket = format!("unix://{}", rsyslog.dir.path().join("log").display());
    for (n, address) in
        [socket, format!("udp://127.0.0.1:{}", rsyslog.port), format!("tcp://127.0.0.1:{}", rsyslog.port)]
            .iter()
            .enumerate()
    {
        sink(&format!("address: {address}\nfacility: local1\n")).deliver(&example()).await.unwrap();
        let messages = rsyslog.messages(2 * (n + 1)).split_off(2 * n);
        let severities: Vec<&str> = messages.iter().map(|m| m["syslogseverity-text"].as_str().unwrap()).collect();
        assert_eq!(severities, ["crit", "notice"], "{address}");
        for message in &messages {
            assert_eq!(message["msg"].as_str().unwrap().trim(), "Platz läuft aus", "{address}");
            assert_eq!(message["syslogfacility-text"], "local1");
            assert_eq!(message["procid"], std::process::id().to_string());
            if !address.starts_with("unix") {
                assert_eq!((&message["msgid"], &message["protocol-version"]), (&"DiskFull".into(), &"1".into()));
                let data = message["structured-data"].as_str().unwrap();
                assert!(data.starts_with("[watchfire@32473 alertname=\"DiskFull\" status="), "{data}");
            }
        }
    }
}

#[tokio::test]
async fn systemds_journal_understands_what_comes_over_its_log_socket() {
    let Some(journal) = journald::tests::Journal::start() else { return };
    let address = format!("address: unix://{}\n", journal.socket("dev-log").display());
    sink(&address).deliver(&example()).await.unwrap();
    let entries = journal.entries("SYSLOG_IDENTIFIER=watchfire", 2);
    assert_eq!(entries[0]["MESSAGE"], "Platz läuft aus");
    assert_eq!((&entries[0]["PRIORITY"], &entries[1]["PRIORITY"]), (&"2".into(), &"5".into()));
    assert_eq!(
        (&entries[0]["SYSLOG_FACILITY"], &entries[0]["SYSLOG_PID"]),
        (&"3".into(), &std::process::id().to_string().into())
    );
}

#[test]
fn addresses_are_read_as_they_are_written() {
    for (text, shown) in [
        ("unix:///dev/log", "unix:///dev/log"),
        ("udp://logs", "udp://logs:514"),
        ("tcp://10.0.0.1", "tcp://10.0.0.1:601"),
        ("tls://[::1]", "tls://[::1]:6514"),
        ("tcp://[fe80::1]:99", "tcp://[fe80::1]:99"),
    ] {
        assert_eq!(SyslogAddress::parse(text).map(|a| a.to_string()).as_deref(), Some(shown), "{text}");
    }
    for wrong in
        ["/dev/log", "unix://dev/log", "udp://", "tcp://h:0", "tcp://h:x", "tls://[::1", "http://h", "udp://a b"]
    {
        assert_eq!(SyslogAddress::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn what_is_wrong_is_said_when_it_is_read() {
    for (yaml, expected) in [
        ("address: logs.example.org", "an address is unix:///dev/log, udp://HOST:PORT"),
        ("facility: deamon", "there is no facility \"deamon\": did you mean daemon?"),
        ("app_name: a b", "an app_name has 1 to 48 letters"),
        ("format: rfc3164", "format is rfc5424 or local"),
        ("timeout: 0s", "timeout is 0"),
    ] {
        let (_, faults) = read(yaml);
        assert!(faults.contains(expected), "{yaml}: {faults}");
    }
}
