//! Bad input and hostile clients, each by name, against the real binary.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use common::{Response, SOON, Setup, eventually, request, run};

/// A configuration that cannot be used: what is in it, and what must be said of it.
const INVALID: &[(&str, &str, &[&str])] = &[
    (
        "an unknown key",
        "global:\n  scrape_intervall: 5s\n",
        &[
            "watchfire.yaml:2:3: unknown key \"scrape_intervall\", did you mean \"scrape_interval\"?",
            "scrape_intervall: 5s",
        ],
    ),
    ("a wrong type", "web:\n  max_connections: many\n", &["watchfire.yaml:2:20: expected", "many"]),
    ("YAML that is none", "global: {scrape_interval: 5s\nweb: [\n", &["watchfire.yaml:"]),
    (
        "a rule with a syntax error",
        "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: sum(node_load1\n",
        &["watchfire.yaml:5:", "expr", "sum(node_load1"],
    ),
    (
        "a function that is not there",
        "groups: [{name: g, rules: [{alert: A, expr: 'rat(x[5m]) > 1'}]}]\n",
        &["watchfire.yaml:1:", "rat"],
    ),
    (
        "a template with a syntax error",
        "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    annotations:\n      summary: '{{ $labels.x '\n",
        &["watchfire.yaml:7:", "summary"],
    ),
    (
        "a receiver that is not defined",
        "alerting:\n  route: {receiver: pagers}\n  receivers: [{name: pager}]\n",
        &["watchfire.yaml:2:", "\"pagers\"", "\"pager\""],
    ),
    ("a rule file that is not there", "rule_files: [not-there.yaml]\n", &["watchfire.yaml:1:", "not-there.yaml"]),
    (
        "several faults",
        "stock_rule: true\nglobal: {scrape_interval: soon}\nhistory: 7\n",
        &["watchfire.yaml:1:1: unknown key \"stock_rule\"", "watchfire.yaml:2:27:", "watchfire.yaml:3:10:"],
    ),
];

#[test]
fn a_configuration_that_is_wrong_is_refused_with_every_fault_and_its_place() {
    for (what, text, parts) in INVALID {
        let setup = Setup::new(text);
        let checked = run(&["check", "config", &setup.config_file()]);
        let said = String::from_utf8_lossy(&checked.stderr);
        assert_eq!(checked.status.code(), Some(2), "{what}: {said}");
        let (code, started) = setup.fails();
        assert_eq!(code, Some(2), "{what}: {started}");
        for part in *parts {
            assert!(said.contains(part), "{what}: {part:?} is not in\n{said}");
            assert!(started.contains(part), "{what}: {part:?} is not in\n{started}");
        }
        assert!(!said.contains("panicked") && !started.contains("panicked"), "{what}");
    }
}

#[test]
fn an_alias_bomb_is_refused_before_it_takes_memory_or_time() {
    let mut text = String::from("a: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let alias = format!("*a{}", i - 1);
        text.push_str(&format!("b{i}: &a{i} [{}]\n", vec![alias; 10].join(", ")));
    }
    text.push_str("groups: *a11\n");
    let setup = Setup::new(&text);
    let started = Instant::now();
    let (code, said) = setup.fails();
    assert_eq!(code, Some(2), "{said}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert!(said.contains("watchfire.yaml:") && said.contains("alias"), "{said}");
    assert!(said.len() < 100_000, "the message is not a bomb either: {} bytes", said.len());
}

#[test]
fn a_warning_about_the_configuration_is_a_line_of_the_log_that_says_so_once() {
    let agent = Setup::new("collectors:\n  textfile:\n    directory: nowhere\n").start();
    let log = agent.wait_for_log("there is no folder");
    let line = log.lines().find(|line| line.contains("there is no folder")).expect("it was there");
    assert!(line.contains("WARN") && line.contains("watchfire.yaml:3:16: there is no folder"), "{line}");
}

#[test]
fn a_port_in_use_is_an_error_that_says_what_to_do() {
    let first = Setup::new("").start();
    let mut second = Setup::new("");
    second.port = first.port;
    let (code, said) = second.fails();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("127.0.0.1:{}", first.port)) && said.contains("--web.listen-address"), "{said}");
    assert_eq!(first.get("/-/healthy").status, 200);
}

#[test]
fn a_storage_directory_that_cannot_be_used_is_an_error_that_names_it() {
    let setup = Setup::new("");
    setup.write("state", "a file, no directory");
    let (code, said) = setup.fails();
    assert_eq!(code, Some(1), "{said}");
    let path = setup.path("state").display().to_string();
    assert!(said.contains(&path) && said.contains("--storage.path"), "{said}");

    let setup = Setup::new("");
    let first = setup.start();
    let mut second = setup.clone();
    second.port = common::free_port();
    let (code, said) = second.fails();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("in use by another agent") && said.contains("--storage.path"), "{said}");
    assert_eq!(first.get("/-/healthy").status, 200);
}

#[test]
fn of_textfiles_with_a_broken_line_only_these_are_refused_and_they_are_named() {
    let setup = Setup::new("");
    setup.write("textfiles/good.prom", "# TYPE backup_age_seconds gauge\nbackup_age_seconds{job=\"a\"} 12\n");
    setup.write("textfiles/broken.prom", "fine 1\nbroken{x=} 2\n");
    let directory = setup.path("textfiles").display().to_string();
    let agent = setup.clone().flag(format!("--collector.textfile.directory={directory}")).start();
    assert_eq!(agent.wait_for("backup_age_seconds", &[("job", "a")], |_| true), 12.0);
    let metrics = agent.metrics();
    assert_eq!(metrics.value("node_textfile_scrape_error", &[]), Some(1.0));
    assert_eq!(metrics.value("fine", &[]), None, "no part of the broken file is served");
    let files: Vec<_> = metrics.samples("node_textfile_mtime_seconds", &[]).map(|(labels, _)| labels).collect();
    assert!(files.len() == 1 && files[0].contains("good.prom"), "{files:?}");
    let log = agent.wait_for_log("broken.prom");
    assert!(log.contains("broken.prom:2:"), "{log}");
    assert_eq!(metrics.value("node_scrape_collector_success", &[("collector", "meminfo")]), Some(1.0));

    setup.write("textfiles/broken.prom", "fine 1\nmended{x=\"y\"} 2\n");
    assert_eq!(agent.wait_for("mended", &[("x", "y")], |_| true), 2.0);
    agent.wait_for("node_textfile_scrape_error", &[], |v| v == 0.0);
}

#[test]
fn a_textfile_that_contradicts_a_collector_is_not_served_and_named_once() {
    let setup = Setup::new("");
    setup.write(
        "textfiles/a.prom",
        "# TYPE node_load1 counter\nnode_load1 -1\n# TYPE node_load5 gauge\nnode_load5 -1\n",
    );
    let directory = setup.path("textfiles").display().to_string();
    let agent = setup.clone().flag(format!("--collector.textfile.directory={directory}")).start();
    for i in 0..3 {
        // Another family each time, so that the page is made anew.
        setup.write("textfiles/b.prom", &format!("test_{i} 1\n"));
        agent.wait_for(&format!("test_{i}"), &[], |v| v == 1.0);
        let metrics = agent.metrics();
        for name in ["node_load1", "node_load5"] {
            assert_eq!(metrics.samples(name, &[]).count(), 1, "{name}");
            assert!(metrics.value(name, &[]).is_some_and(|v| v >= 0.0), "the collector's own is served");
        }
    }
    agent.wait_for("watchfire_exposition_left_out_samples", &[("reason", "type_conflict")], |v| v == 1.0);
    agent.wait_for("watchfire_exposition_left_out_samples", &[("reason", "duplicate")], |v| v == 1.0);
    assert_eq!(agent.log().matches("\"family\":\"node_load1\"").count(), 1, "{}", agent.log());
}

/// Writes as far as the other side takes it, and reads what it answers.
fn exchange(port: u16, bytes: &[u8]) -> Option<Response> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a time limit");
    stream.set_write_timeout(Some(SOON)).expect("a time limit");
    let _ = stream.write_all(bytes);
    let mut raw = Vec::new();
    // A reset behind the answer is no answer lost.
    let _ = stream.read_to_end(&mut raw);
    Response::parse(&raw).ok()
}

#[test]
fn hostile_clients_get_nowhere_and_metrics_still_answer() {
    let config = "web: {max_connections: 20, read_header_timeout: 1s, write_timeout: 2s, idle_timeout: 2s}\n";
    let agent = Setup::new(config).start();

    let long = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "a".repeat(1 << 20));
    let refused = exchange(agent.port, long.as_bytes());
    assert!(refused.as_ref().is_none_or(|r| r.status == 431), "{refused:?}");
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "X-Many: a\r\n".repeat(20_000));
    let refused = exchange(agent.port, many.as_bytes());
    assert!(refused.as_ref().is_none_or(|r| r.status == 431), "{refused:?}");
    for garbage in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"\0\0\0\0\r\n\r\n", b"BREW coffee\r\n\r\n"] {
        let refused = exchange(agent.port, garbage);
        assert!(refused.as_ref().is_none_or(|r| (400..500).contains(&r.status)), "{refused:?}");
    }
    assert_eq!(agent.get("/metrics").status, 200);

    // More of them than there may be connections: half never end their header, half never read their answer.
    let mut clients: Vec<(TcpStream, Instant)> = Vec::new();
    for i in 0..24 {
        let mut stream = TcpStream::connect(("127.0.0.1", agent.port)).expect("it listens");
        let head =
            if i % 2 == 0 { "GET /metrics HTTP/1.1\r\nX-Slow: " } else { "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" };
        stream.write_all(head.as_bytes()).expect("it takes a few bytes");
        stream.set_read_timeout(Some(Duration::from_millis(10))).expect("a time limit");
        clients.push((stream, Instant::now()));
    }
    // A client that comes in the first moment may be told to come again; then there is a place for it.
    eventually("an honest client is answered", Duration::from_secs(5), || {
        request(agent.port, "GET", "/metrics", &[]).ok().filter(|r| r.status == 200)
    });
    // One more byte now and then prolongs nothing: every one of them is closed.
    eventually("slow clients are closed", SOON, || {
        clients.retain_mut(|(stream, since)| {
            let sent = stream.write_all(b"a");
            let mut byte = [0];
            let read = stream.read(&mut byte);
            let open = sent.is_ok()
                && !matches!(read, Ok(0))
                && !read.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset);
            open && since.elapsed() < SOON
        });
        clients.is_empty().then_some(())
    });
    assert_eq!(agent.get("/metrics").status, 200);
    eventually("their places are free", SOON, || {
        agent.metrics().value("watchfire_http_connections", &[]).is_none_or(|open| open <= 2.0).then_some(())
    });
}

#[test]
fn without_a_home_the_storage_directory_must_be_named() {
    let setup = Setup::new("");
    let output = common::binary()
        .args([
            format!("--config.file={}", setup.config_file()),
            format!("--web.listen-address=127.0.0.1:{}", setup.port),
        ])
        .env_remove("HOME")
        .env_remove("XDG_STATE_HOME")
        .env_remove("STATE_DIRECTORY")
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.status.signal()), (Some(1), None), "{said}");
    assert!(said.contains("--storage.path"), "{said}");
}
