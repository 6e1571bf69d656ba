//! An action end to end: nginx is killed, the agent sees it, starts it again, and says so in the message about the end.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use common::{Receiver, SOON, Setup, eventually, free_port, peer, request, run};

/// An nginx of its own, in one process.
struct Nginx {
    config: PathBuf,
    pid_file: PathBuf,
    port: u16,
}

impl Nginx {
    fn new(dir: &Path) -> Nginx {
        let (config, pid_file, port) = (dir.join("nginx.conf"), dir.join("nginx.pid"), free_port());
        let text = format!(
            "daemon on;\nmaster_process off;\npid {pid};\nerror_log {dir}/error.log;\nevents {{}}\n\
             http {{\n  access_log off;\n  client_body_temp_path {dir}/a;\n  proxy_temp_path {dir}/b;\n\
             \x20 fastcgi_temp_path {dir}/c;\n  uwsgi_temp_path {dir}/d;\n  scgi_temp_path {dir}/e;\n\
             \x20 server {{ listen 127.0.0.1:{port}; return 200 \"well\\n\"; }}\n}}\n",
            pid = pid_file.display(),
            dir = dir.display(),
        );
        fs::write(&config, text).expect("a configuration");
        Nginx { config, pid_file, port }
    }

    fn answers(&self) -> bool {
        request(self.port, "GET", "/", &[]).is_ok_and(|answer| answer.status == 200)
    }

    fn kill(&self) {
        let pid = fs::read_to_string(&self.pid_file).ok().and_then(|text| text.trim().parse().ok());
        // Its own process, which wrote this file: nothing else has been given its number in the life of a test.
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let _gone = kill_process(pid, Signal::KILL);
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last rows of the audit log.
fn actions(setup: &Setup) -> Vec<Value> {
    let answer = request(setup.port, "GET", "/api/actions", &[]).expect("an answer");
    assert_eq!(answer.status, 200);
    answer.json().as_array().cloned().unwrap_or_default()
}

#[test]
fn nginx_is_killed_started_again_and_the_message_about_the_end_says_so() {
    let Some(program) = peer("nginx") else { return };
    let dir = tempfile::tempdir().expect("a directory");
    // nginx may drop its rights.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("rights");
    let nginx = Nginx::new(dir.path());
    let begun = Command::new(&program).arg("-c").arg(&nginx.config).status().expect("nginx starts");
    assert!(begun.success());
    eventually("nginx answers", SOON, || nginx.answers().then_some(()));

    let hook = Receiver::start();
    let setup = Setup::new(&format!(
        r#"
stock_rules: false
processes:
  groups: [{{name: web, exe: [nginx], cmdline: ['{config}']}}]
actions:
  - name: start-nginx
    command: [sh, -c, 'echo "$WATCHFIRE_ALERTNAME with $TOKEN"; exec {program} -c {config}']
    env: {{TOKEN: hunter2hunter2}}
groups:
  - name: g
    interval: 1s
    rules:
      - alert: NginxDown
        expr: absent(namedprocess_namegroup_num_procs{{groupname="web"}} > 0)
        for: 3s
        annotations: {{summary: nginx is not running}}
        actions: [start-nginx]
alerting:
  route: {{receiver: web, group_by: [alertname], group_interval: 1s}}
  receivers: [{{name: web, webhook_configs: [{{url: '{hook}'}}]}}]
"#,
        config = nginx.config.display(),
        program = program.display(),
        hook = hook.url("/hook"),
    ));
    let agent = setup.start();
    let group = [("groupname", "web")];
    agent.wait_for("namedprocess_namegroup_num_procs", &group, |processes| processes == 1.0);
    let counted =
        |result| agent.metrics().value("watchfire_actions_total", &[("action", "start-nginx"), ("result", result)]);
    assert_eq!((counted("ok"), counted("failed")), (Some(0.0), Some(0.0)), "counters are there from the start");
    assert!(actions(&setup).is_empty() && hook.posts().is_empty());

    nginx.kill();
    eventually("nginx is gone", SOON, || (!nginx.answers()).then_some(()));
    hook.wait_for_alert("NginxDown", "firing");
    eventually("nginx answers again", SOON, || nginx.answers().then_some(()));
    let told = hook.wait_for_alert("NginxDown", "resolved");
    let said = told.alerts("NginxDown")[0]["actions"][0].as_str().unwrap_or_default().to_string();
    assert!(said.starts_with("start-nginx: exit 0 after ") && said.ends_with(" s"), "{said:?}");

    let rows = actions(&setup);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((&rows[0]["result"], &rows[0]["trigger"]), (&Value::from("ok"), &Value::from("firing")));
    assert_eq!(rows[0]["alert"]["alertname"], "NginxDown");
    assert_eq!(rows[0]["output"], "NginxDown with ***");
    assert_eq!(counted("ok"), Some(1.0));
    assert!(!agent.log().contains("hunter2") && agent.log().contains(&said), "{}", agent.log());
    let listed = run(&["actions", "--url", &format!("http://127.0.0.1:{}", setup.port)]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("start-nginx") && listed.contains("ok") && listed.contains("NginxDown"), "{listed}");

    // It is killed again: the action cools down, and an agent that is killed meanwhile still knows that.
    nginx.kill();
    eventually("the action waits", SOON, || (actions(&setup)[0]["result"] == "waiting").then_some(()));
    agent.kill();
    let agent = setup.start();
    let rows = eventually("the audit log is there", SOON, || Some(actions(&setup)).filter(|rows| rows.len() == 2));
    assert_eq!((&rows[0]["result"], &rows[1]["result"]), (&Value::from("waiting"), &Value::from("ok")));
    assert_eq!(rows[0]["said"], "it was run less than 5m before");
    std::thread::sleep(Duration::from_secs(2));
    assert!(!nginx.answers(), "it is not started before it may be");
    agent.kill();
}

#[test]
fn a_command_that_is_under_way_when_the_agent_is_killed_is_interrupted_and_not_run_again() {
    let hook = Receiver::start();
    let setup = Setup::new("");
    let runs = setup.path("runs");
    setup.write(
        "watchfire.yaml",
        &format!(
            r#"
stock_rules: false
actions:
  - name: slow
    command: [sh, -c, 'echo >> {runs}; exec sleep 600']
    matchers: [alertname=Always]
groups: [{{name: g, interval: 1s, rules: [{{alert: Always, expr: vector(1)}}]}}]
alerting:
  route: {{receiver: web, group_by: [alertname], group_interval: 1s, repeat_interval: 1s}}
  receivers: [{{name: web, webhook_configs: [{{url: '{hook}'}}]}}]
"#,
            runs = runs.display(),
            hook = hook.url("/hook")
        ),
    );
    let agent = setup.start();
    eventually("it is run", SOON, || fs::read_to_string(&runs).ok().filter(|text| !text.is_empty()));
    assert_eq!(actions(&setup)[0]["result"], "running");
    agent.kill();
    let agent = setup.start();
    let rows = eventually("it is told", SOON, || Some(actions(&setup)).filter(|rows| rows[0]["result"] != "running"));
    assert_eq!((rows.len(), &rows[0]["result"]), (1, &Value::from("interrupted")));
    hook.wait_for("the message says so", |post| {
        post.alerts("Always").iter().any(|a| a["actions"][0] == "slow: interrupted: the agent ended while it ran")
    });
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(fs::read_to_string(&runs).expect("the file"), "\n", "once");
    agent.kill();
}
