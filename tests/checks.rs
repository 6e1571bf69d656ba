//! Checks as their users have them: plugins of others run unchanged by the real binary, and what they find served.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use common::{Agent, Receiver, SOON, Setup, eventually, free_port, plugin};
use rustix::process::{Pid, Signal, kill_process};

/// Answers every request with a short page, as long as the test runs.
fn http_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            // A client that only connects says nothing.
            if matches!(stream.read(&mut request), Ok(1..)) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n");
            }
        }
    });
    port
}

fn state(agent: &Agent, check: &str) -> f64 {
    agent.wait_for("watchfire_check_state", &[("check", check)], |_| true)
}

#[test]
fn the_plugins_of_monitoring_plugins_run_unchanged() {
    let names = ["check_disk", "check_load", "check_procs", "check_http", "check_tcp"];
    let Some(plugins) = names.map(plugin).into_iter().collect::<Option<Vec<_>>>() else { return };
    let [disk, load, procs, http, tcp] = &*plugins else { unreachable!("as many as names") };
    let (port, nobody) = (http_server(), free_port());
    let check = |name: &str, command: &str| {
        format!(
            "- {{name: {name}, command: [{command}], format: nagios, interval: 1s, timeout: 1s, labels: {{by: plugin}}}}\n"
        )
    };
    let agent = Setup::new(&format!(
        "checks:\n{}{}{}{}{}{}{}",
        check("disk", &format!("{}, -w, 0%, -c, 0%, -p, /", disk.display())),
        check("load", &format!("{}, -w, '9000,9000,9000', -c, '9001,9001,9001'", load.display())),
        check("procs", &format!("{}, -w, '90000', -c, '90001'", procs.display())),
        check("none", &format!("{}, -C, no-such-command, -c, '1:'", procs.display())),
        check("http", &format!("{}, -I, 127.0.0.1, -p, '{port}'", http.display())),
        check("tcp", &format!("{}, -H, 127.0.0.1, -p, '{port}'", tcp.display())),
        check("refused", &format!("{}, -H, 127.0.0.1, -p, '{nobody}'", tcp.display())),
    ))
    .start();

    for check in ["disk", "load", "procs", "http", "tcp"] {
        assert_eq!(state(&agent, check), 0.0, "{check}: {}", agent.log());
    }
    assert_eq!((state(&agent, "none"), state(&agent, "refused")), (2.0, 2.0));
    let metrics = agent.metrics();
    let value = |name: &str, labels: &[(&str, &str)]| {
        let found = metrics.value(&format!("watchfire_check_{name}"), labels);
        found.unwrap_or_else(|| panic!("no watchfire_check_{name}{labels:?} in:\n{}", metrics.0))
    };
    let disk = [("check", "disk"), ("by", "plugin"), ("perfdata", "/"), ("unit", "bytes")];
    assert!(value("perfdata_value", &disk) > 0.0);
    assert!(value("perfdata_max", &disk) >= value("perfdata_value", &disk));
    for load in ["load1", "load5", "load15"] {
        let labels = [("check", "load"), ("perfdata", load), ("unit", "")];
        assert!(value("perfdata_value", &labels) >= 0.0);
        let threshold = |severity| {
            let of = [("severity", severity), ("bound", "upper")];
            value("perfdata_threshold", &[&labels[..], &of[..]].concat())
        };
        assert_eq!((threshold("warning"), threshold("critical")), (9000.0, 9001.0));
    }
    assert!(value("perfdata_value", &[("check", "procs"), ("perfdata", "procs"), ("unit", "")]) >= 1.0);
    assert_eq!(value("perfdata_value", &[("check", "none"), ("perfdata", "procs")]), 0.0);
    for check in ["http", "tcp"] {
        let took = value("perfdata_value", &[("check", check), ("perfdata", "time"), ("unit", "seconds")]);
        assert!((0.0..1.0).contains(&took), "{check}: {took}");
    }
    assert!(value("perfdata_value", &[("check", "http"), ("perfdata", "size"), ("unit", "bytes")]) >= 6.0);

    // What holds for every check.
    assert_eq!(value("success", &[("check", "disk")]), 1.0);
    assert_eq!(value("exit_code", &[("check", "refused")]), 2.0);
    assert_eq!(value("interval_seconds", &[("check", "disk")]), 1.0);
    assert!(value("runs_total", &[("check", "disk"), ("result", "ok")]) >= 1.0);
    assert!(value("duration_seconds", &[("check", "disk")]) > 0.0);
    assert!(value("cpu_seconds_total", &[("check", "disk")]) > 0.0);
    assert!(value("last_run_timestamp_seconds", &[("check", "disk")]) > 1.7e9);
    // Rules and queries see them as all else.
    let answer = agent.get("/api/v1/query?query=count(watchfire_check_state%7Bby%3D%22plugin%22%7D)").json();
    assert_eq!(answer["data"]["result"][0]["value"][1], "7", "{answer}");
}

#[test]
fn a_script_of_ones_own_beside_the_configuration_is_run_and_a_reload_puts_changes_in_force() {
    let script = "#!/bin/sh\necho \"# TYPE jobs gauge\"\necho \"jobs{state=\\\"waiting\\\"} $WAITING\"\n";
    let config = |waiting: u32, more: &str| {
        format!(
            "checks:\n- {{name: jobs, command: [checks/jobs.sh], format: prometheus, interval: 1s, timeout: 1s, \
             env: {{WAITING: '{waiting}'}}}}\n{more}"
        )
    };
    let exit = "- {name: fine, command: ['true'], format: exit, interval: 1s, timeout: 1s}\n";
    let setup = Setup::new(&config(3, exit));
    setup.write("checks/jobs.sh", script);
    fs::set_permissions(setup.path("checks/jobs.sh"), fs::Permissions::from_mode(0o755)).expect("it may be executed");
    let agent = setup.start();
    let jobs = [("check", "jobs"), ("state", "waiting")];
    agent.wait_for("jobs", &jobs, |value| value == 3.0);
    let fine = [("check", "fine"), ("result", "ok")];
    let before = agent.wait_for("watchfire_check_runs_total", &fine, |runs| runs >= 1.0);

    setup.write("watchfire.yaml", &config(5, exit));
    assert_eq!(agent.reload().status, 200);
    agent.wait_for("jobs", &jobs, |value| value == 5.0);
    agent.wait_for("watchfire_check_runs_total", &fine, |runs| runs > before);

    setup.write("watchfire.yaml", &config(5, ""));
    assert_eq!(agent.reload().status, 200);
    eventually("what is gone is not served", SOON, || {
        agent.metrics().value("watchfire_check_state", &[("check", "fine")]).is_none().then_some(())
    });

    setup.write("watchfire.yaml", "{}\n");
    assert_eq!(agent.reload().status, 200);
    eventually("nothing of checks is served", SOON, || (!agent.metrics().0.contains("watchfire_check_")).then_some(()));
}

#[test]
fn what_the_agent_looks_at_by_itself_is_served_beside_what_commands_find() {
    let (port, nobody) = (http_server(), free_port());
    let each = "interval: 1s, timeout: 1s";
    let agent = Setup::new(&format!(
        "checks:\n\
         - {{name: page, http: {{url: 'http://127.0.0.1:{port}/', fail_if_body_not_matches_regexp: [hello]}}, {each}}}\n\
         - {{name: refused, tcp: {{target: '127.0.0.1:{nobody}'}}, {each}}}\n\
         - {{name: missing, file: {{path: /nowhere/at/all}}, {each}}}\n\
         - {{name: agent, process: {{pattern: 'storage\\.path='}}, {each}}}\n"
    ))
    .start();
    assert_eq!((state(&agent, "page"), state(&agent, "agent")), (0.0, 0.0), "{}", agent.log());
    assert_eq!((state(&agent, "refused"), state(&agent, "missing")), (2.0, 2.0));
    let metrics = agent.metrics();
    assert_eq!(metrics.value("probe_success", &[("check", "page")]), Some(1.0));
    assert_eq!(metrics.value("probe_success", &[("check", "refused")]), Some(0.0));
    assert_eq!(metrics.value("probe_http_status_code", &[("check", "page")]), Some(200.0));
    assert!(metrics.value("watchfire_check_processes", &[("check", "agent")]).is_some_and(|count| count >= 1.0));
    let failed = [("check", "refused"), ("result", "critical")];
    assert!(metrics.value("watchfire_check_runs_total", &failed).is_some_and(|runs| runs >= 1.0));
    assert_eq!(metrics.value("watchfire_check_exit_code", &[("check", "page")]), None, "it is no command");
    // Why, is in the log.
    agent.wait_for_log("refused");
}

#[test]
fn what_is_wrong_with_checks_is_said_at_the_start_with_its_place() {
    let (code, said) =
        Setup::new("checks:\n- {name: a, command: [x]}\n- {name: a, command: [x], format: exit}\n").fails();
    assert_eq!(code, Some(2));
    assert!(said.contains("watchfire.yaml:2:22: format is missing"), "{said}");
    assert!(said.contains("watchfire.yaml:3:10: the check"), "{said}");
}

#[test]
fn a_check_of_a_log_goes_on_where_it_was_when_the_agent_was_killed() {
    let setup = Setup::new("");
    let log = setup.path("app.log");
    let write = |text: &str| {
        let opened = fs::OpenOptions::new().append(true).create(true).open(&log);
        opened.and_then(|mut file| file.write_all(text.as_bytes())).expect("the log can be written");
    };
    write("ERROR before it is looked at\n");
    let config = |name: &str| {
        format!(
            "checks:\n- {{name: {name}, interval: 1s, timeout: 1s, log: {{path: {}, patterns: [{{name: errors, match: ERROR}}], \
             critical: {{at_least: 4}}}}}}\n",
            log.display()
        )
    };
    setup.write("watchfire.yaml", &config("app"));
    let errors = [("check", "app"), ("pattern", "errors")];
    let of_critical = [("check", "app"), ("result", "critical")];
    let matches = "watchfire_check_log_matches_total";

    let agent = setup.start();
    agent.wait_for(matches, &errors, |count| count == 0.0);
    write("ERROR 1\nERROR 2\n");
    agent.wait_for(matches, &errors, |count| count == 2.0);
    // Written soon after the run has ended.
    std::thread::sleep(std::time::Duration::from_millis(300));
    agent.kill();
    write("ERROR 3\nINFO\nERROR 4\nERROR 5\nERROR 6\n");

    let agent = setup.start();
    agent.wait_for(matches, &errors, |count| count >= 4.0);
    agent.wait_for("watchfire_check_runs_total", &[("check", "app"), ("result", "ok")], |runs| runs >= 2.0);
    let metrics = agent.metrics();
    assert_eq!(metrics.value(matches, &errors), Some(4.0), "those that are new");
    assert_eq!(metrics.value("watchfire_check_runs_total", &of_critical), Some(1.0), "in one run");

    // What has another name begins anew.
    setup.write("watchfire.yaml", &config("other"));
    assert_eq!(agent.reload().status, 200);
    assert_eq!(agent.wait_for(matches, &[("check", "other"), ("pattern", "errors")], |_| true), 0.0);
}

#[test]
fn an_alert_about_a_check_says_what_the_check_said() {
    let web = Receiver::start();
    let setup = Setup::new(&format!(
        "stock_rules: false\n\
         groups:\n\
         - {{name: test, interval: 1s, rules: [{{alert: Failing, expr: watchfire_check_state >= 2}}]}}\n\
         alerting:\n\
         \x20 route: {{receiver: web, group_wait: 0s, group_interval: 1s}}\n\
         \x20 receivers: [{{name: web, webhook_configs: [{{url: '{}'}}]}}]\n\
         checks:\n\
         - {{name: root, command: [sh, -c, 'echo \"DISK CRITICAL - <b>/</b> 99% used|/=99%\"; exit 2'], format: nagios, \
         interval: 1s, timeout: 1s}}\n",
        web.url("/")
    ));
    let _agent = setup.start();
    let post = web.wait_for_alert("Failing", "firing");
    let alert = post.alerts("Failing")[0];
    assert_eq!(alert["labels"]["check"], "root");
    assert_eq!(
        alert["check"],
        serde_json::json!({"state": "critical", "summary": "DISK CRITICAL - <b>/</b> 99% used"})
    );
}

#[test]
fn commands_that_stay_are_heard_or_asked_and_started_again_when_they_end_and_end_with_the_agent() {
    let speaks = "#!/bin/sh\necho $$ > speaks.pid\necho \"going down\" >&2\nn=0\n\
                  while :; do n=$((n + 1)); echo \"gpu,card=0 temp=40,said=$n\"; sleep 0.2; done\n";
    let asked =
        "#!/bin/sh\necho $$ > asked.pid\nn=0\nwhile read -r line; do n=$((n + 1)); echo \"asked value=$n\"; done\n";
    let setup = Setup::new(
        "checks:\n\
         - {name: gpu, command: [./speaks.sh], directory: ., format: influx, interval: 1s, stream: {restart_delay: 3s}}\n\
         - {name: asked, command: [./asked.sh], directory: ., format: influx, interval: 1s, stream: {signal: stdin}}\n",
    );
    for (name, script) in [("speaks.sh", speaks), ("asked.sh", asked)] {
        setup.write(name, script);
        fs::set_permissions(setup.path(name), fs::Permissions::from_mode(0o755)).expect("it may be executed");
    }
    let pid = |name: &str| -> i32 {
        eventually("it has begun", SOON, || fs::read_to_string(setup.path(name)).ok()?.trim().parse().ok())
    };
    let agent = setup.start();
    assert_eq!((state(&agent, "gpu"), state(&agent, "asked")), (0.0, 0.0), "{}", agent.log());
    let card = [("check", "gpu"), ("card", "0")];
    assert_eq!(agent.wait_for("gpu_temp", &card, |_| true), 40.0);
    agent.wait_for("gpu_said", &card, |said| said >= 5.0);
    agent.wait_for("asked", &[("check", "asked")], |asked| asked >= 3.0);

    let first = pid("speaks.pid");
    kill_process(Pid::from_raw(first).expect("a pid"), Signal::KILL).expect("it runs");
    agent.wait_for("watchfire_check_state", &[("check", "gpu")], |state| state == 2.0);
    assert_eq!(agent.metrics().value("gpu_temp", &card), None, "it says nothing of now");
    agent.wait_for_log("ended: was killed by SIGKILL: going down; started again in 3s");
    agent.wait_for("watchfire_check_state", &[("check", "gpu")], |state| state == 0.0);
    agent.wait_for("gpu_said", &card, |said| said >= 1.0);
    let (second, other) = (pid("speaks.pid"), pid("asked.pid"));
    assert_ne!(first, second);

    agent.terminate(SOON);
    for pid in [second, other] {
        assert!(!fs::exists(format!("/proc/{pid}")).unwrap_or(true), "{pid} has outlived the agent");
    }
}
