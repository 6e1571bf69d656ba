//! Mails to a real server, aiosmtpd, which takes them apart with Python's own parser.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::message::testing::{chart_of, context};
use super::super::notification::tests::example;
use super::super::testing::{Process, certificates, eventually, missing};
use super::*;
use crate::yaml::Document;

const PASSWORD: &str = "s3cret:pass";
/// Not a picture, but bytes of every kind.
fn picture() -> Vec<u8> {
    (0..3000u32).map(|n| (n * 7 % 256) as u8).collect()
}

/// The entry that these lines are, with what it takes from `global`, and what is wrong with it.
fn read(yaml: &str, global: &str) -> (EmailConfig, String) {
    let mut faults = Faults::default();
    let global: GlobalConfig = Document::parse("global.yml", global, &mut faults).read(&mut faults);
    let document = Document::parse("email.yml", yaml, &mut faults);
    let mut config: EmailConfig = document.read(&mut faults);
    config.inherit(&global, &document.root, &mut faults);
    (config, faults.to_string())
}

fn sink_with(yaml: &str, charts: bool) -> Arc<dyn Sink> {
    let (config, faults) = read(yaml, "{}");
    assert_eq!(faults, "");
    config.build(&context(charts.then(|| chart_of(|_, _| Some(picture())))))
}

fn sink(yaml: &str) -> Arc<dyn Sink> {
    sink_with(yaml, false)
}

/// Texts that need no templates but those here.
const TEXTS: &str = "html: <p>Plattenplatz</p>\ntext: Plattenplatz\n";

struct Server {
    dir: TempDir,
    _child: Process,
    port: u16,
}

impl Server {
    /// `None` without the server's package.
    fn start(tls: &str, mut options: Value) -> Option<Server> {
        let dir = tempfile::tempdir().unwrap();
        certificates(dir.path());
        options["tls"] = tls.into();
        options["cert"] = dir.path().join("server.pem").display().to_string().into();
        options["key"] = dir.path().join("server.key").display().to_string().into();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/smtpd.py");
        let mut child = Command::new("/usr/bin/python3")
            .args([script, dir.path().to_str().unwrap(), &options.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let mut said = String::new();
        for line in BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok) {
            if let Some(port) = line.strip_prefix("ready ") {
                return Some(Server { dir, _child: Process(child), port: port.parse().unwrap() });
            }
            said = line;
        }
        let _ = child.wait();
        assert!(said.contains("No module named 'aiosmtpd'"), "the mail server does not start: {said}");
        missing("python3-aiosmtpd");
        None
    }

    /// An entry for this server, which trusts its authority, with more lines.
    fn entry(&self, more: &str) -> String {
        format!(
            "to: ops@example.org\nfrom: Wächter <agent@example.org>\nsmarthost: localhost:{}\n\
             tls_config: {{ca_file: {}}}\n{more}",
            self.port,
            self.dir.path().join("ca.pem").display()
        )
    }

    fn mails(&self) -> Vec<Value> {
        let mail = |n: usize| std::fs::read(self.dir.path().join(format!("{n}.json"))).ok();
        (0..).map_while(mail).map(|bytes| serde_json::from_slice(&bytes).unwrap()).collect()
    }

    /// The only mail.
    fn mail(&self) -> Value {
        let mails = self.mails();
        assert_eq!(mails.len(), 1);
        mails.into_iter().next().unwrap()
    }
}

fn header<'v>(mail: &'v Value, name: &str) -> &'v str {
    let of_name = |pair: &&Value| pair[0].as_str().unwrap().eq_ignore_ascii_case(name);
    let found: Vec<&Value> = mail["headers"].as_array().unwrap().iter().filter(of_name).collect();
    assert!(found.len() < 2, "{name} is there twice");
    found.first().map_or("", |pair| pair[1].as_str().unwrap())
}

fn types(mail: &Value) -> Vec<&str> {
    mail["parts"].as_array().unwrap().iter().map(|part| part["type"].as_str().unwrap()).collect()
}

fn bytes(part: &Value) -> Vec<u8> {
    STANDARD.decode(part["bytes"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_mail_has_both_texts_and_the_picture_in_its_place() {
    let Some(server) = Server::start("starttls", json!({"auth": ["PLAIN"]})) else { return };
    let entry = server.entry(
        "hello: host.example\nauth_username: watch\nauth_password: 's3cret:pass'\n\
         headers: {subject: 'Plattenplatz für „/“ wird knapp — sehr knapp', X-Team: blau, Reply-To: 'Jörg <j@example.org>'}\n\
         text: |\n  Platz läuft aus.\n  .\n  Ende\nhtml: '<p>Übel <img src=\"cid:chart\"></p>'\n",
    );
    let entry = entry.replacen("to: ops@example.org", "to: 'ops@example.org, \"Müller, Jo\" <jo@example.org>'", 1);
    let answer = sink_with(&entry, true).deliver(&example()).await.unwrap().answer;
    assert_eq!(answer, "250 kept it");

    let mail = server.mail();
    assert_eq!(mail["from"], "agent@example.org");
    assert_eq!(mail["to"], json!(["ops@example.org", "jo@example.org"]));
    assert_eq!((&mail["encrypted"], &mail["mechanism"]), (&json!(true), &json!("PLAIN")));
    assert_eq!((&mail["hello"], &mail["defects"]), (&json!("host.example"), &json!([])));
    assert_eq!(header(&mail, "Subject"), "Plattenplatz für „/“ wird knapp — sehr knapp");
    assert_eq!(header(&mail, "From"), "Wächter <agent@example.org>");
    assert_eq!(header(&mail, "To"), "ops@example.org, \"Müller, Jo\" <jo@example.org>");
    assert_eq!(header(&mail, "Reply-To"), "Jörg <j@example.org>");
    assert_eq!((header(&mail, "X-Team"), header(&mail, "Auto-Submitted")), ("blau", "auto-generated"));
    assert_eq!(header(&mail, "Date"), "Tue, 14 Nov 2023 22:14:20 +0000");

    assert_eq!(types(&mail), ["multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png"]);
    let text = |n: usize| mail["parts"][n]["text"].as_str().unwrap().replace("\r\n", "\n");
    assert_eq!(text(1), "Platz läuft aus.\n.\nEnde\n");
    assert_eq!(text(3).trim_end(), "<p>Übel <img src=\"cid:chart\"></p>");
    let image = &mail["parts"][4];
    assert_eq!((&image["id"], &image["disposition"]), (&json!("<chart>"), &json!("inline")));
    assert_eq!(bytes(image), picture());
}

#[tokio::test]
async fn what_is_said_by_default_is_who_and_what_and_has_the_picture_in_it() {
    let Some(server) = Server::start("none", json!({})) else { return };
    sink_with(&server.entry("require_tls: false\n"), true).deliver(&example()).await.unwrap();
    let mail = server.mail();
    assert!(header(&mail, "Subject").contains("DiskFull"), "{}", header(&mail, "Subject"));
    let part = |n: usize| mail["parts"][n]["text"].as_str().unwrap();
    assert!(part(1).contains("disk <full> & \"loud\""), "{}", part(1));
    assert!(part(3).contains("disk &lt;full&gt;") && part(3).contains("cid:chart"), "{}", part(3));
    assert_eq!(bytes(&mail["parts"][4]), picture());
    // Without a picture, there is no place for one.
    sink(&server.entry("require_tls: false\n")).deliver(&example()).await.unwrap();
    let mails = server.mails();
    assert_eq!(types(&mails[1]), ["multipart/alternative", "text/plain", "text/html"]);
    assert!(!mails[1]["parts"][2]["text"].as_str().unwrap().contains("cid:chart"));
}

#[tokio::test]
async fn a_picture_that_the_text_has_no_place_for_is_a_file() {
    let Some(server) = Server::start("none", json!({})) else { return };
    let entry = server.entry("require_tls: false\nhtml: ''\ntext: See the chart.\nheaders: {Subject: x}\n");
    sink_with(&entry, true).deliver(&example()).await.unwrap();
    let mail = server.mail();
    assert_eq!(types(&mail), ["multipart/mixed", "multipart/alternative", "text/plain", "image/png"]);
    let image = &mail["parts"][3];
    assert_eq!((&image["file"], &image["disposition"]), (&json!("chart.png"), &json!("attachment")));
    assert_eq!(bytes(image), picture());
    assert_eq!(mail["encrypted"], false);
}

#[tokio::test]
async fn tls_from_the_start_and_every_way_to_log_in() {
    for (offered, credentials) in [
        ("LOGIN", "auth_password: 's3cret:pass'"),
        ("PLAIN", "auth_password_file: FILE"),
        ("CRAM-MD5", "auth_secret: 's3cret:pass'"),
        ("CRAM-MD5", "auth_secret_file: FILE"),
    ] {
        let Some(server) = Server::start("implicit", json!({"auth": [offered]})) else { return };
        let file = server.dir.path().join("password");
        std::fs::write(&file, "s3cret:pass\n").unwrap();
        let credentials = credentials.replace("FILE", file.to_str().unwrap());
        let entry = server.entry(&format!(
            "{TEXTS}headers: {{Subject: x}}\nforce_implicit_tls: true\nauth_username: watch\n{credentials}\n"
        ));
        // The certificate is for a name, not for the address.
        let entry =
            entry.replacen("localhost:", "127.0.0.1:", 1).replacen("{ca_file", "{server_name: localhost, ca_file", 1);
        sink(&entry).deliver(&example()).await.unwrap();
        let mail = server.mail();
        assert_eq!((&mail["mechanism"], &mail["authenticated"]), (&json!(offered), &json!(true)));
        assert_eq!(mail["encrypted"], true);
    }
}

#[tokio::test]
async fn a_wrong_password_is_said_in_the_servers_words_without_it() {
    for mechanism in ["PLAIN", "LOGIN"] {
        let Some(server) = Server::start("starttls", json!({"auth": [mechanism]})) else { return };
        let entry =
            server.entry(&format!("{TEXTS}auth_username: watch\nauth_password: hunter2\nheaders: {{Subject: x}}\n"));
        let error = sink(&entry).deliver(&example()).await.unwrap_err();
        assert!(!error.retry && error.reason == Reason::ClientError, "{error:?}");
        let expected = format!("localhost:{} refuses AUTH {mechanism} of user \"watch\": 535 5.7.8", server.port);
        assert!(error.message.starts_with(&expected), "{error}");
        assert!(!format!("{error:?}").contains("hunter2") && !format!("{:?}", read(&entry, "{}")).contains("hunter2"));
        assert_eq!(server.mails().len(), 0);
    }
}

#[tokio::test]
async fn who_is_greylisted_gets_it_later_and_the_others_get_it_once() {
    let late = ["450 4.7.1 come back in a minute", "450 4.7.1 come back in a minute"];
    let Some(server) = Server::start("none", json!({"refuse": {"jo@example.org": late}})) else { return };
    let entry = server.entry(&format!("require_tls: false\n{TEXTS}headers: {{Subject: x}}\n"));
    let sink = sink(&entry.replacen("to: ops@example.org", "to: ops@example.org, jo@example.org", 1));
    for _ in 0..2 {
        let error = sink.deliver(&example()).await.unwrap_err();
        assert!(error.retry && error.reason == Reason::ServerError, "{error:?}");
        let expected = "refuses jo@example.org (450 4.7.1 come back in a minute)";
        assert!(error.message.ends_with(expected), "{error}");
    }
    sink.deliver(&example()).await.unwrap();
    let to: Vec<Value> = server.mails().iter().map(|mail| mail["to"].clone()).collect();
    assert_eq!(to, [json!(["ops@example.org"]), json!(["jo@example.org"])]);
    let ids: BTreeSet<String> = server.mails().iter().map(|mail| header(mail, "Message-ID").to_string()).collect();
    assert_eq!(ids.len(), 1);

    // The next notification is for both again.
    sink.deliver(&Notification { id: "s-8".to_string(), ..example() }).await.unwrap();
    let mails = server.mails();
    assert_eq!(mails[2]["to"], json!(["ops@example.org", "jo@example.org"]));
    assert_ne!(header(&mails[2], "Message-ID"), header(&mails[0], "Message-ID"));
    // All of a group are one thread.
    assert_eq!(header(&mails[2], "References"), header(&mails[0], "References"));
    assert!(header(&mails[0], "In-Reply-To").contains("-2023-11-14@"), "{}", header(&mails[0], "In-Reply-To"));
}

#[tokio::test]
async fn one_recipient_that_does_not_exist_keeps_nothing_from_the_others() {
    let nobody = ["550 5.1.1 no such user"; 4];
    let Some(server) = Server::start("none", json!({"refuse": {"jo@example.org": nobody}})) else { return };
    let entry = server.entry(&format!("require_tls: false\n{TEXTS}headers: {{Subject: x}}\n"));
    let both = sink(&entry.replacen("to: ops@example.org", "to: jo@example.org, ops@example.org", 1));
    let answer = both.deliver(&example()).await.unwrap().answer;
    assert!(answer.ends_with("refuses jo@example.org (550 5.1.1 no such user)"), "{answer}");
    assert_eq!(server.mail()["to"], json!(["ops@example.org"]));

    let error = sink(&entry.replacen("ops@", "jo@", 1)).deliver(&example()).await.unwrap_err();
    assert!(!error.retry && error.message.ends_with("refuses jo@example.org (550 5.1.1 no such user)"), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_busy_is_tried_again_and_one_that_does_not_want_the_mail_is_not_for_ever() {
    let answers = ["451 4.3.0 try later", "554 5.6.0 no alerts please"];
    let Some(server) = Server::start("none", json!({"answer": answers})) else { return };
    let sink = sink(&server.entry(&format!("require_tls: false\n{TEXTS}headers: {{Subject: x}}\n")));
    let error = sink.deliver(&example()).await.unwrap_err();
    assert!(error.retry && error.message.ends_with("refuses the mail: 451 4.3.0 try later"), "{error:?}");
    let error = sink.deliver(&example()).await.unwrap_err();
    assert!(!error.retry && error.message.ends_with("refuses the mail: 554 5.6.0 no alerts please"), "{error:?}");
}

#[tokio::test]
async fn nothing_is_said_to_a_server_that_cannot_be_trusted() {
    let credentials = format!("{TEXTS}auth_username: watch\nauth_password: {PASSWORD:?}\nheaders: {{Subject: x}}\n");
    let Some(server) = Server::start("none", json!({"auth": ["PLAIN"]})) else { return };
    let error = sink(&server.entry(&credentials)).deliver(&example()).await.unwrap_err();
    assert!(!error.retry && error.message.contains("does not offer STARTTLS"), "{error:?}");

    for (tls, more) in [("starttls", ""), ("implicit", "force_implicit_tls: true\n")] {
        let Some(server) = Server::start(tls, json!({"auth": ["PLAIN"]})) else { return };
        let entry = server.entry(&format!("{credentials}{more}"));
        // The system's authorities do not know it.
        let trusting = entry.split_once("tls_config").unwrap().0.to_string() + &credentials + more;
        let error = sink(&trusting).deliver(&example()).await.unwrap_err();
        assert!(error.retry && error.message.contains("TLS failed: invalid peer certificate"), "{error:?}");
        assert_eq!(server.mails().len(), 0);
        let reckless = format!("{trusting}tls_config: {{insecure_skip_verify: true}}\n");
        sink(&reckless).deliver(&example()).await.unwrap();
        assert_eq!(server.mails().len(), 1);
    }
}

/// A server that says these lines, one at each line it is told and the first at once, and keeps what it is told.
async fn scripted(lines: &'static [&'static str]) -> (u16, tokio::task::JoinHandle<String>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut all, mut buffer) = (String::new(), [0; 1024]);
        for line in lines {
            stream.write_all(line.as_bytes()).await.unwrap();
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(n) => all.push_str(std::str::from_utf8(&buffer[..n]).unwrap()),
            }
        }
        all
    });
    (port, heard)
}

fn scripted_entry(port: u16, more: &str) -> String {
    format!(
        "to: a@example.org\nfrom: b@example.org\nsmarthost: '127.0.0.1:{port}'\n{TEXTS}headers: {{Subject: x}}\n{more}"
    )
}

#[tokio::test]
async fn answers_that_come_before_tls_does_are_not_believed() {
    let lines = &["220 hello\r\n", "250-host\r\n250 STARTTLS\r\n", "220 go\r\n250 AUTH PLAIN\r\n"];
    let (port, _) = scripted(lines).await;
    let error = sink(&scripted_entry(port, "")).deliver(&example()).await.unwrap_err();
    assert!(error.message.contains("more was sent than the answer to STARTTLS"), "{error}");
}

#[tokio::test]
async fn a_server_that_quotes_the_password_does_not_bring_it_into_the_log() {
    let lines =
        &["220 hello\r\n", "250-host\r\n250 AUTH PLAIN\r\n", "500 what is AHdhdGNoAGh1bnRlcjI= hunter2\r\n", ""];
    let (port, heard) = scripted(lines).await;
    let more = "require_tls: false\nauth_username: watch\nauth_password: hunter2\n";
    let error = sink(&scripted_entry(port, more)).deliver(&example()).await.unwrap_err();
    assert!(error.message.ends_with("500 what is <secret> <secret>"), "{error}");
    assert_eq!(heard.await.unwrap(), "EHLO localhost\r\nAUTH PLAIN AHdhdGNoAGh1bnRlcjI=\r\n");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let (port, heard) = scripted(&["", "", ""]).await;
    let sink = sink(&scripted_entry(port, "timeout: 100ms\n"));
    let error = sink.deliver(&example()).await.unwrap_err();
    assert!(error.retry && error.reason == Reason::Timeout, "{error:?}");
    assert!(error.message.ends_with("the mail was not confirmed within 100ms"), "{error}");
    heard.abort();

    let error = self::sink(&scripted_entry(1, "")).deliver(&example()).await.unwrap_err();
    assert!(error.retry && error.message.starts_with("127.0.0.1:1: cannot connect: "), "{error:?}");
}

#[tokio::test]
async fn what_is_no_mail_server_is_said_to_be_none() {
    for lines in [&["HTTP/1.1 400 Bad Request\r\n"], &["220"], &["\u{fffd}\r\n"]] as [&[&str]; 3] {
        let (port, _) = scripted(lines).await;
        let error = sink(&scripted_entry(port, "timeout: 2s\n")).deliver(&example()).await.unwrap_err();
        assert!(error.retry, "{error:?}");
    }
    let (port, _) = scripted(&["421 4.3.2 closing\r\n"]).await;
    let error = sink(&scripted_entry(port, "")).deliver(&example()).await.unwrap_err();
    assert!(error.retry && error.message.ends_with("refuses the connection: 421 4.3.2 closing"), "{error:?}");
}

#[tokio::test]
async fn no_text_can_put_another_header_into_the_mail() {
    let Some(server) = Server::start("none", json!({})) else { return };
    let subject = r#"headers: {Subject: "{{ \"gone\\r\\nBcc: all@example.org\\r\\n\\r\\nbody\" }}", X-Long: "LONG"}"#;
    let subject = subject.replace("LONG", &"ü".repeat(3000));
    let sink = sink(&server.entry(&format!("require_tls: false\n{TEXTS}{subject}\n")));
    sink.deliver(&example()).await.unwrap();
    let mail = server.mail();
    assert_eq!(header(&mail, "Subject"), "gone  Bcc: all@example.org    body");
    assert_eq!(header(&mail, "Bcc"), "");
    let longest = mail["raw"].as_str().unwrap().lines().map(str::len).max().unwrap();
    assert!(longest < 998, "{longest}");
    assert_eq!(mail["to"], json!(["ops@example.org"]));
}

#[test]
fn an_alertmanagers_file_can_be_pasted() {
    let global = "smtp_smarthost: 'smtp.example.org:587'\nsmtp_from: alertmanager@example.org\n\
                  smtp_auth_username: alertmanager\nsmtp_auth_password: password\nsmtp_require_tls: false\n";
    let (config, faults) = read("to: team-X+alerts@example.org\n", global);
    assert_eq!(faults, "");
    assert_eq!(config.smarthost.map(|s| s.to_string()).as_deref(), Some("smtp.example.org:587"));
    assert_eq!(config.from.as_ref().map(Text::as_str), Some("alertmanager@example.org"));
    assert_eq!((config.require_tls, config.send_resolved), (Some(false), false));
    assert_eq!(config.hello.as_deref(), Some("localhost"));
    // A file of the entry's own is not mixed with the global password.
    let (config, faults) = read("to: a@example.org\nauth_password_file: p\nsmarthost: '[::1]:25'\n", global);
    assert_eq!((faults.as_str(), config.auth_password), ("", None));
    assert_eq!(config.smarthost.map(|s| s.to_string()).as_deref(), Some("[::1]:25"));
}

#[test]
fn what_is_empty_is_not_said_and_is_that_of_global_as_in_alertmanager() {
    let global =
        "{smtp_smarthost: 'h:25', smtp_from: x@y.z, smtp_auth_username: u, smtp_auth_password: p, smtp_hello: ''}";
    let empty =
        "{to: a@b.c, from: '', smarthost: '', auth_username: '', auth_password: '', auth_password_file: '', hello: ''}";
    let (config, faults) = read(empty, global);
    assert_eq!(faults, "");
    assert_eq!((config.smarthost.is_some(), config.from.is_some()), (true, true));
    assert_eq!((config.auth_username.as_deref(), config.auth_password), (Some("u"), Some(Secret::new("p"))));
    assert_eq!((config.auth_password_file, config.hello.as_deref()), (None, Some("localhost")));
    let (_, faults) = read("{to: a@b.c, smarthost: ''}", "{smtp_from: x@y.z, smtp_smarthost: ''}");
    assert!(faults.contains("an email needs a smarthost"), "{faults}");
}

#[test]
fn what_could_not_be_sent_is_said_when_it_is_read() {
    let wrong = [
        ("{}", "needs a to"),
        ("to: a@b.c", "an email needs a smarthost"),
        ("to: a@b.c", "an email needs a from"),
        ("to: nobody", "to is not a list of mail addresses"),
        ("to: a@b.c, d e@f.g", "to is not a list of mail addresses"),
        ("smarthost: localhost", "a smarthost is HOST:PORT, such as mail.example.org:587"),
        ("smarthost: '::1:25'", "a smarthost is HOST:PORT"),
        ("smarthost: 'h:0'", "a smarthost is HOST:PORT"),
        ("auth_username: me", "neither an auth_password nor an auth_secret"),
        ("{auth_password: a, auth_password_file: b}", "exclude each other"),
        ("headers: {Subject: a, subject: b}", "the header subject is given twice"),
        ("headers: {content-type: text/html}", "the header content-type says how the mail is put together"),
        ("headers: {'a b': c}", "\"a b\" is not the name of a header"),
        ("{html: '', text: ''}", "nothing in the mail"),
        ("hello: 'a b'", "hello is a host's name"),
        ("timeout: 0s", "timeout is 0"),
        ("threading: {thread_by_date: weekly}", "thread_by_date is daily or none"),
    ];
    for (yaml, expected) in wrong {
        let (_, faults) = read(yaml, "{}");
        assert!(faults.contains(expected), "{yaml}: {faults}");
    }
}

/// Configures an exim that keeps all mail of users it knows in one file.
fn exim(dir: &str, port: u16) -> String {
    format!(
        "primary_hostname = mail.example\nspool_directory = {dir}/spool\nlog_file_path = {dir}/%slog\n\
         pid_file_path = {dir}/pid\ndaemon_smtp_ports = {port}\nlocal_interfaces = 127.0.0.1\nkeep_environment =\n\
         tls_advertise_hosts = *\ntls_certificate = {dir}/server.pem\ntls_privatekey = {dir}/server.key\n\
         acl_smtp_rcpt = rcpt\nacl_smtp_data = accept\n\
         begin acl\nrcpt:\n  deny !authenticated = *\n  deny !encrypted = *\n  accept\n\
         begin routers\nall:\n  driver = accept\n  transport = keep\n\
         begin transports\nkeep:\n  driver = appendfile\n  file = {dir}/mail\n  user = Debian-exim\n\
         begin authenticators\ncram:\n  driver = cram_md5\n  public_name = CRAM-MD5\n  \
         server_secret = ${{if eq{{$auth1}}{{watch}}{{s3cret:pass}}fail}}\n  server_set_id = $auth1\n"
    )
}

#[tokio::test]
async fn another_mail_server_takes_it_too() {
    let program = "/usr/sbin/exim4";
    if !std::path::Path::new(program).exists() {
        return missing("exim4-daemon-light");
    }
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root can start exim with a configuration of its own");
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    certificates(dir.path());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(at("conf"), exim(dir.path().to_str().unwrap(), port)).unwrap();
    let log = std::fs::File::create(at("out")).unwrap();
    let mut command = Command::new(program);
    command.args(["-bdf", "-C", &at("conf")]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let _exim = Process(command.spawn().unwrap());
    eventually("exim listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());

    let entry = format!(
        "to: ops@example.org\nfrom: agent@example.org\nsmarthost: localhost:{port}\nauth_username: watch\n\
         auth_secret: 's3cret:pass'\ntls_config: {{ca_file: {}}}\nheaders: {{Subject: Plätze}}\n\
         text: \"Läuft aus.\\n.\\n\"\nhtml: '<img src=\"cid:chart\">'\n",
        at("ca.pem")
    );
    let answer = sink_with(&entry, true).deliver(&example()).await.unwrap().answer;
    assert!(answer.starts_with("250 OK id="), "{answer}");
    let mail = eventually("the mail is there", || std::fs::read(at("mail")).ok().filter(|mail| !mail.is_empty()));
    let mail = String::from_utf8(mail).unwrap();
    assert!(mail.contains("multipart/alternative") && mail.contains("Content-ID: <chart>"), "{mail}");
    let log = std::fs::read_to_string(at("mainlog")).unwrap();
    assert!(log.contains(" P=esmtpsa X=TLS1.3:") && log.contains(" A=cram:watch "), "{log}");
}
