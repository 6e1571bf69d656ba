//! An action end to end: nginx is killed, the agent sees it, starts it again, and says so in the message about the end.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use common::{Receiver, SOON, Setup, eventually, free_port, peer, request, run, snippets};

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

/// The README's example, with this nginx in place of the host's and a message to this receiver.
fn example(nginx: &Nginx, program: &Path, hook: &Receiver) -> String {
    let readme = include_str!("../README.md");
    let example = snippets(readme).into_iter().map(|(_, text)| text).find(|text| text.contains("[restart-nginx]"));
    let example = example.expect("the README shows an action");
    let config = nginx.config.display();
    // Not another nginx of this host.
    let processes = format!("processes: {{groups: [{{name: nginx, exe: [nginx], cmdline: ['{config}']}}]}}\n");
    let start = format!(
        "    command: [sh, -c, 'echo \"$WATCHFIRE_ALERTNAME with $TOKEN\"; exec {program} -c {config}']\n\
         \x20   env: {{TOKEN: hunter2hunter2}}\n",
        program = program.display(),
    );
    let alerting = format!(
        "alerting:\n  route: {{receiver: web, group_by: [alertname], group_interval: 1s}}\n\
         \x20 receivers: [{{name: web, webhook_configs: [{{url: '{hook}'}}]}}]\n",
        hook = hook.url("/hook"),
    );
    let restart = "    command: [systemctl, restart, nginx]\n";
    assert!(example.contains(restart), "{example}");
    format!("stock_rules: false\n{processes}{}{alerting}", example.replace(restart, &start))
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
    let setup = Setup::new(&example(&nginx, &program, &hook));
    let agent = setup.start();
    let group = [("groupname", "nginx")];
    agent.wait_for("namedprocess_namegroup_num_procs", &group, |processes| processes == 1.0);
    let counted =
        |result| agent.metrics().value("watchfire_actions_total", &[("action", "restart-nginx"), ("result", result)]);
    assert_eq!((counted("ok"), counted("failed")), (Some(0.0), Some(0.0)), "counters are there from the start");
    assert!(actions(&setup).is_empty() && hook.posts().is_empty());

    nginx.kill();
    eventually("nginx is gone", SOON, || (!nginx.answers()).then_some(()));
    hook.wait_for_alert("NginxDown", "firing");
    eventually("nginx answers again", SOON, || nginx.answers().then_some(()));
    let told = hook.wait_for_alert("NginxDown", "resolved");
    let said = told.alerts("NginxDown")[0]["actions"][0].as_str().unwrap_or_default().to_string();
    assert!(said.starts_with("restart-nginx: exit 0 after ") && said.ends_with(" s"), "{said:?}");

    let rows = actions(&setup);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((&rows[0]["result"], &rows[0]["trigger"]), (&Value::from("ok"), &Value::from("firing")));
    assert_eq!(rows[0]["alert"]["alertname"], "NginxDown");
    assert_eq!(rows[0]["output"], "NginxDown with ***");
    assert_eq!(counted("ok"), Some(1.0));
    assert!(!agent.log().contains("hunter2") && agent.log().contains(&said), "{}", agent.log());
    let listed = run(&["actions", "--url", &format!("http://127.0.0.1:{}", setup.port)]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("restart-nginx") && listed.contains("ok") && listed.contains("NginxDown"), "{listed}");

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
    eventually("it is known to run", SOON, || (actions(&setup)[0]["result"] == "running").then_some(()));
    agent.kill();
    let agent = setup.start();
    let rows = eventually("it is told", SOON, || Some(actions(&setup)).filter(|rows| rows[0]["result"] != "running"));
    assert_eq!((rows.len(), &rows[0]["result"]), (1, &Value::from("interrupted")));
    hook.wait_for("the message says so", |post| {
        // Whether it was stored in time that it had begun, is a matter of chance.
        let said =
            |action: &Value| action.as_str().is_some_and(|a| a.starts_with("slow: interrupted: the agent ended"));
        post.alerts("Always").iter().any(|a| said(&a["actions"][0]))
    });
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(fs::read_to_string(&runs).expect("the file"), "\n", "once");
    agent.kill();
}

#[test]
fn an_action_that_the_pool_has_no_place_for_is_said_to_wait_until_it_begins() {
    let hook = Receiver::start();
    let setup = Setup::new(&format!(
        r#"
stock_rules: false
pool: {{max_concurrent: 1}}
actions:
  - {{name: long, command: [sleep, '600'], matchers: [alertname=Always]}}
  - {{name: longer, command: [sleep, '600'], matchers: [alertname=Always]}}
  - {{name: mend, command: [sh, -c, 'pwd; ulimit -n'], matchers: [alertname=Always], directory: /, limits: {{open_files: 99}}}}
groups: [{{name: g, interval: 1s, rules: [{{alert: Always, expr: vector(1)}}]}}]
alerting:
  route: {{receiver: web, group_by: [alertname], group_interval: 1s, repeat_interval: 1s}}
  receivers: [{{name: web, webhook_configs: [{{url: '{hook}'}}]}}]
"#,
        hook = hook.url("/hook")
    ));
    let agent = setup.start();
    let row = || actions(&setup).into_iter().find(|row| row["action"] == "mend");
    let row_once = |result: &str| eventually(result, SOON, || row().filter(|row| row["result"] == result));
    let waits = row_once("waiting");
    assert_eq!(waits["said"], "waits for a place");
    let url = format!("http://127.0.0.1:{}", setup.port);
    let listed = run(&["actions", "--url", &url]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("waits for a place"), "{listed:?}");
    let told = |line: &str| {
        hook.wait_for(line, |post| {
            post.alerts("Always").iter().any(|a| a["actions"].as_array().is_some_and(|all| all.contains(&line.into())))
        });
    };
    told("mend: waits for a place");

    for other in ["long", "longer"] {
        assert!(run(&["pool", "cancel", &format!("action:{other}"), "--url", &url]).status.success());
    }
    let ended = row_once("ok");
    assert_eq!(ended["output"], "/\n99");
    assert!(ended["at"].as_str() > waits["at"].as_str(), "its time is that of its begin: {ended} {waits}");
    told("long: interrupted: it was cancelled");
    agent.kill();
}
