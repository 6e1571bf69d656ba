//! Bad input, hostile clients and things that hang: each by name, against the real binary.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Agent, Behaviour, Child, Receiver, Response, SOON, Setup, eventually, request, run};
use rustix::process::{Pid, Signal};

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
        "a duplicate rule",
        "groups:\n- name: g\n  rules:\n  - {alert: A, expr: up == 0}\n  - {alert: A, expr: up == 0}\n",
        &["watchfire.yaml:5:", "duplicate", "line 4"],
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

/// Watches ticks for some seconds: they go on, and a request is answered at once.
fn assert_ticks_go_on(agent: &Agent) {
    const WATCHED: f64 = 4.0;
    let ticks = || agent.metrics().value("watchfire_tick_duration_seconds_count", &[]).expect("ticks are counted");
    let (began, first) = (Instant::now(), ticks());
    let mut last_time = 0.0;
    let mut longest = Duration::ZERO;
    while began.elapsed().as_secs_f64() < WATCHED {
        let asked = Instant::now();
        let now = agent.metrics().value("node_time_seconds", &[]).expect("the time");
        longest = longest.max(asked.elapsed());
        assert!(now >= last_time, "samples go backwards");
        last_time = now;
        std::thread::sleep(Duration::from_millis(100));
    }
    let ticked = ticks() - first;
    assert!(ticked >= WATCHED - 2.0, "{ticked} ticks in {WATCHED} s");
    assert!(longest < Duration::from_secs(2), "a request took {longest:?}");
}

fn make_fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o644.into(), 0).expect("a FIFO");
}

#[test]
fn a_textfile_that_is_a_fifo_delays_no_tick_and_is_named() {
    let setup = Setup::new("");
    setup.write("textfiles/good.prom", "test_good 1\n");
    make_fifo(&setup.path("textfiles/hung.prom"));
    let directory = setup.path("textfiles").display().to_string();
    let agent = setup.flag(format!("--collector.textfile.directory={directory}")).start();
    assert_ticks_go_on(&agent);
    let metrics = agent.metrics();
    assert_eq!(metrics.value("test_good", &[]), Some(1.0));
    assert_eq!(metrics.value("node_textfile_scrape_error", &[]), Some(1.0));
    agent.wait_for_log("hung.prom");
}

#[test]
fn a_kernel_file_that_hangs_takes_its_collector_out_and_no_other() {
    // A tree in which one file never answers, as files of a dead network mount do.
    let setup = Setup::new("");
    let proc = setup.path("proc");
    fs::create_dir_all(proc.join("net")).unwrap();
    for file in ["stat", "meminfo", "uptime", "net/dev"] {
        fs::copy(Path::new("/proc").join(file), proc.join(file)).unwrap_or_else(|e| panic!("/proc/{file}: {e}"));
    }
    make_fifo(&proc.join("loadavg"));
    let agent = setup.clone().flag(format!("--path.procfs={}", proc.display())).start();
    assert_ticks_go_on(&agent);
    agent.wait_for("node_scrape_collector_success", &[("collector", "loadavg")], |v| v == 0.0);
    let metrics = agent.metrics();
    assert_eq!(metrics.value("node_load1", &[]), None);
    assert_eq!(metrics.value("node_scrape_collector_success", &[("collector", "meminfo")]), Some(1.0));
    let total = fs::read_to_string("/proc/meminfo").unwrap();
    let total: f64 = total.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(metrics.value("node_memory_MemTotal_bytes", &[]), Some(total * 1024.0));
    assert!(agent.log().contains("loadavg"), "the log names it: {}", agent.log());

    // A mount that comes back: what hung ends in an error, and the next reading finds the file.
    setup.write("proc/back", "1.50 0.75 0.25 1/100 1234\n");
    let fifo = fs::OpenOptions::new().write(true).open(proc.join("loadavg")).expect("somebody reads");
    fs::rename(proc.join("back"), proc.join("loadavg")).unwrap();
    drop(fifo);
    assert_eq!(agent.wait_for("node_load1", &[], |_| true), 1.5);
    agent.wait_for("node_scrape_collector_success", &[("collector", "loadavg")], |v| v == 1.0);
}

/// Whether this user may make namespaces with mounts of their own.
fn may_mount() -> bool {
    let tried = Command::new("unshare").args(["-m", "-p", "-f", "--mount-proc", "true"]).output();
    tried.is_ok_and(|output| output.status.success())
}

#[test]
fn a_mount_whose_server_is_dead_delays_no_tick_and_is_reported() {
    // A FUSE file system whose server never answers: what asks for it hangs in the kernel, as with a dead NFS server.
    // It is mounted in a namespace of the agent's own, so that it hangs nobody else.
    let fuse = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    let (Ok(fuse), true) = (fuse, may_mount()) else {
        eprintln!("skipped: it takes root and /dev/fuse to make a mount that hangs");
        return;
    };
    let setup = Setup::new("collectors: {filesystem: {interval: 1s, mount_timeout: 1s}}\n");
    let mount = setup.path("dead");
    fs::create_dir(&mount).unwrap();
    let agent = setup.command();
    let mut command = Command::new("unshare");
    command
        .args(["-m", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-c"])
        .arg("mount -i -t fuse server \"$0\" -o fd=0,rootmode=40000,user_id=0,group_id=0 && exec \"$@\"")
        .arg(&mount)
        .arg(agent.get_program())
        .args(agent.get_args());
    let agent = Agent::started(Child::spawn_with(&mut command, fuse.into()), setup.port);
    assert_ticks_go_on(&agent);
    let of = mount.display().to_string();
    agent.wait_for("node_filesystem_device_error", &[("mountpoint", &of)], |v| v == 1.0);
    let metrics = agent.metrics();
    assert_eq!(metrics.samples("node_filesystem_size_bytes", &[("mountpoint", &of)]).count(), 0);
    assert!(metrics.value("node_filesystem_size_bytes", &[("mountpoint", "/")]).is_some_and(|size| size > 0.0));
    assert!(metrics.value("watchfire_filesystem_usage_ratio", &[("mountpoint", "/")]).is_some());

    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", agent.id())).unwrap();
    let pid = children.trim().parse().ok().and_then(Pid::from_raw).expect("the agent is the one child");
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    let (code, log) = agent.wait(SOON);
    assert_eq!(code, Some(0), "what hangs in the kernel does not hold up the end: {log}");
}

#[test]
fn an_agent_whose_collector_hangs_still_stops() {
    let setup = Setup::new("");
    let proc = setup.path("proc");
    fs::create_dir_all(&proc).unwrap();
    fs::copy("/proc/stat", proc.join("stat")).unwrap();
    make_fifo(&proc.join("loadavg"));
    let agent = setup.clone().flag(format!("--path.procfs={}", proc.display())).start();
    agent.wait_for("node_scrape_collector_success", &[("collector", "loadavg")], |v| v == 0.0);
    let (code, log) = agent.terminate(SOON);
    assert_eq!(code, Some(0), "{log}");
}

/// An inline rule that always fires, by this name.
fn firing(alertname: &str) -> String {
    format!(
        "stock_rules: false\ngroups: [{{name: g, interval: 1s, rules: [{{alert: {alertname}, expr: vector(1)}}]}}]\n"
    )
}

#[test]
fn a_reload_swaps_all_or_keeps_the_old_and_says_why() {
    let setup = Setup::new(&(firing("Inline") + "rule_files: ['rules/*.yaml']\n"));
    setup.write("rules/a.yaml", "groups: [{name: f, interval: 1s, rules: [{alert: FromFile, expr: vector(1)}]}]\n");
    let agent = setup.start();
    let fires = |name: &str| agent.wait_for("ALERTS", &[("alertname", name), ("alertstate", "firing")], |v| v == 1.0);
    let gone = |name: &str| {
        eventually(&format!("{name} is gone"), SOON, || {
            agent.metrics().value("ALERTS", &[("alertname", name)]).is_none().then_some(())
        });
    };
    fires("Inline");
    fires("FromFile");

    // A rule file that is wrong: over HTTP, and by SIGHUP.
    setup.write("rules/a.yaml", "groups:\n- name: f\n  rules:\n  - {alert: Broken, expr: 'vector(1'}\n");
    let refused = agent.reload();
    assert_eq!(refused.status, 500, "{}", refused.text());
    assert!(refused.text().contains("a.yaml:4:") && refused.text().contains("vector(1"), "{}", refused.text());
    agent.wait_for("watchfire_config_last_reload_successful", &[], |v| v == 0.0);
    let before = agent.log().len();
    agent.signal(Signal::HUP);
    eventually("the log says why", SOON, || agent.log()[before..].contains("a.yaml:4:").then_some(()));
    fires("FromFile");
    fires("Inline");

    // A main file that is wrong.
    setup.write("watchfire.yaml", "globl: {}\n");
    let refused = agent.reload();
    assert_eq!(refused.status, 500);
    assert!(refused.text().contains("watchfire.yaml:1:1: unknown key \"globl\""), "{}", refused.text());
    fires("Inline");

    // One that is right.
    setup.write("watchfire.yaml", &firing("Renamed"));
    let taken = agent.reload();
    assert_eq!(taken.status, 200, "{}", taken.text());
    fires("Renamed");
    gone("Inline");
    gone("FromFile");
    agent.wait_for("watchfire_config_last_reload_successful", &[], |v| v == 1.0);
    setup.write("watchfire.yaml", &firing("BySignal"));
    agent.signal(Signal::HUP);
    fires("BySignal");
    gone("Renamed");

    // What only a restart can change is said, and the rest is taken.
    setup.write("watchfire.yaml", &(firing("Last") + "web: {max_connections: 7}\nglobal: {job: other}\n"));
    assert_eq!(agent.reload().status, 200);
    fires("Last");
    for key in ["web.max_connections", "global.job"] {
        let said = agent.log().lines().any(|l| l.contains(key) && l.contains("restart"));
        assert!(said, "{key}: {}", agent.log());
    }
    assert!(!agent.log().contains("storage.path"), "{}", agent.log());

    assert_eq!(agent.get("/-/reload").status, 405, "a link cannot reload");
    let from_elsewhere = request(agent.port, "POST", "/-/reload", &[("Origin", "https://evil.example")]).unwrap();
    assert_eq!(from_elsewhere.status, 403);
}

#[test]
fn sigterm_finishes_the_delivery_that_is_under_way() {
    let web = Receiver::start();
    let delay = Duration::from_secs(2);
    web.behave(Behaviour::Delay(delay));
    let setup = Setup::new(&format!(
        "{}alerting:\n  route: {{receiver: web, group_wait: 0s}}\n  \
         receivers: [{{name: web, webhook_configs: [{{url: '{}'}}]}}]\n",
        firing("Slow"),
        web.url("/")
    ));
    let agent = setup.start();
    let asked = web.wait_for("a delivery is under way", |_| true);
    let (code, log) = agent.terminate(SOON);
    assert_eq!(code, Some(0), "{log}");
    assert!(asked.at.elapsed() >= delay - Duration::from_millis(200), "the answer was not waited for: {log}");
    assert!(asked.at.elapsed() < Duration::from_secs(12), "that was longer than the grace period: {log}");

    // It is confirmed: the next agent does not send it again.
    let agent = setup.start();
    let count = agent.metrics().value("watchfire_tick_duration_seconds_count", &[]).unwrap_or(0.0);
    agent.wait_for("watchfire_tick_duration_seconds_count", &[], |v| v >= count + 3.0);
    assert_eq!(web.posts().len(), 1);
}

#[test]
fn sigterm_does_not_wait_for_ever_and_what_is_not_delivered_is_kept() {
    let web = Receiver::start();
    web.behave(Behaviour::Answer(503));
    let setup = Setup::new(&format!(
        "{}alerting:\n  route: {{receiver: web, group_wait: 0s}}\n  \
         receivers: [{{name: web, webhook_configs: [{{url: '{}'}}]}}]\n",
        firing("Refused"),
        web.url("/")
    ));
    let agent = setup.start();
    web.wait_for("a try", |_| true);
    let (code, log) = agent.terminate(Duration::from_secs(20));
    assert_eq!(code, Some(0), "{log}");
    web.behave(Behaviour::Answer(200));
    let _agent = setup.start();
    web.wait_for_alert("Refused", "firing");
}

/// Whether a process with this in its command line is there.
fn runs(part: &str) -> bool {
    let processes = fs::read_dir("/proc").expect("it is there on Linux").flatten();
    processes
        .filter_map(|p| fs::read(p.path().join("cmdline")).ok())
        .any(|c| String::from_utf8_lossy(&c).contains(part))
}

#[test]
fn a_command_that_hangs_delays_nobody_and_ends_with_the_agent() {
    let web = Receiver::start();
    // A number of seconds that nobody else sleeps.
    let sleep = format!("{}.25", 300 + std::process::id());
    let setup = Setup::new(&format!(
        "{}alerting:\n  route: {{receiver: all, group_wait: 0s}}\n  receivers:\n  - name: all\n    \
         exec_configs: [{{command: [/bin/sh, -c, 'sleep {sleep} & sleep {sleep}'], timeout: 1h}}]\n    \
         webhook_configs: [{{url: '{}'}}]\n",
        firing("Hangs"),
        web.url("/")
    ));
    let agent = setup.start();
    web.wait_for_alert("Hangs", "firing");
    eventually("the command runs", SOON, || runs(&sleep).then_some(()));
    agent.wait_for("watchfire_pool_tasks_running", &[("class", "sink")], |v| v == 1.0);
    assert_ticks_go_on(&agent);
    let (code, log) = agent.terminate(SOON);
    assert_eq!(code, Some(0), "{log}");
    assert!(!runs(&sleep), "what the command started is still there");
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
